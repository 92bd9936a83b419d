"""Sends numbers as they are in memory: python send_binary.py ws://host/path"""

import array
import asyncio
import sys

import wsfast


async def main(url):
    ws = wsfast.WebSocket(url)
    ws.on("error", print)

    @ws.on("open")
    def opened():
        # Whatever has a buffer can be sent: an array, a part of one, what NumPy has.
        ws.send(array.array("f", [i / 2 for i in range(5)]))

    @ws.on("message")
    def received(data, is_binary):
        print("received:", *array.array("f", data))
        ws.close()

    await ws.wait_closed()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
