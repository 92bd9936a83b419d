"""wsfast's client with a listener."""

import asyncio

from measure import BLOCK, Measurement, uri

import wsfast

measurement = Measurement()
messages = total = 0


def message(data, is_binary):
    global messages, total
    messages += 1
    total += len(data)
    if messages == BLOCK:
        measurement.add_block(total)
        messages = total = 0


async def main():
    ws = await wsfast.connect(uri, ping_interval=None)
    ws.on("message", message)
    await ws.wait_closed()


asyncio.run(main())
