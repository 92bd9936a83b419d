"""Sends a text and prints what comes back, with listeners: python send_text.py ws://host/path"""

import asyncio
import sys

import wsfast


async def main(url):
    ws = wsfast.WebSocket(url)  # connects in the background
    ws.on("error", print)

    @ws.on("open")
    def opened():
        ws.send("something")

    @ws.on("message")
    def received(data, is_binary):
        print("received:", data)
        ws.close()

    await ws.wait_closed()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
