"""Keeps a connection, with listeners: python reconnecting_listeners.py URL"""

import asyncio
import sys

import wsfast


async def main(url):
    # What is sent while there is no connection is kept for the next, up to 64 KiB.
    ws = wsfast.WebSocket(url, reconnect=True, resend_limit=65536)

    @ws.on("open")
    def opened():
        print("open", flush=True)

    @ws.on("message")
    def received(data, is_binary):
        print("received:", data, flush=True)

    @ws.on("reconnecting")
    def reconnecting(delay, error):
        print(f"again in {delay:.1f} s: {error}", flush=True)
        ws.send("I was away")

    @ws.on("close")
    def closed(code, reason):
        print("closed:", code, flush=True)

    await ws.wait_closed()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
