"""wsfast's client with a coroutine."""

import asyncio

from measure import BLOCK, Measurement, uri

import wsfast


async def main():
    measurement = Measurement()
    messages = total = 0
    async with wsfast.connect(uri, ping_interval=None) as ws:
        async for data in ws:
            messages += 1
            total += len(data)
            if messages == BLOCK:
                measurement.add_block(total)
                messages = total = 0


asyncio.run(main())
