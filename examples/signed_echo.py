"""Both ends of an echo whose messages are compressed and signed: run it and read what it prints.

The extension itself is in signature.py, and knows nothing of wsfast.
"""

import asyncio

from signature import Signature

import wsfast

KEY = b"what both ends know, and nobody else"


async def echo(ws):
    async for message in ws:
        await ws.send(message)


async def main():
    options = {"extensions": [Signature(KEY)], "compression": "deflate"}
    async with wsfast.serve(echo, "127.0.0.1", 0, **options) as server:
        port = server.sockets[0].getsockname()[1]
        async with wsfast.connect(f"ws://127.0.0.1:{port}", **options) as ws:
            await ws.send("hello " * 100)
            reply = await ws.recv()
            print(*ws.extensions, sep=", ")
            print(len(reply), "characters came back")


if __name__ == "__main__":
    asyncio.run(main())
