"""websockets' client, on uvloop."""

import uvloop
from measure import BLOCK, Measurement, uri
from websockets.asyncio.client import connect


async def main():
    measurement = Measurement()
    messages = total = 0
    async with connect(uri, compression=None, max_queue=None, ping_interval=None) as ws:
        async for data in ws:
            messages += 1
            total += len(data)
            if messages == BLOCK:
                measurement.add_block(total)
                messages = total = 0


uvloop.run(main())
