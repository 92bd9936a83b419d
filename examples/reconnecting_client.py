"""Prints what a server sends, and connects again when it is gone: python reconnecting_client.py URL

It ends when the server closes the connection with 1000, or refuses it with a status like 404.
"""

import asyncio
import sys

import wsfast


async def main(url):
    async for ws in wsfast.connect(url):
        print("connected", flush=True)
        try:
            async for message in ws:
                print("received:", message, flush=True)
        except wsfast.ConnectionClosedError as error:
            print("lost:", error, flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
