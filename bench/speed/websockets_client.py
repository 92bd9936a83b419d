"""websockets, on uvloop."""

from time import perf_counter

import uvloop
from serial import MAX_SIZE, count, data, report, uri
from websockets.asyncio.client import connect


async def main():
    async with connect(
        uri, max_size=MAX_SIZE, compression=None, max_queue=None, ping_interval=None
    ) as ws:
        start = perf_counter()
        for _ in range(count):
            await ws.send(data)
            answer = await ws.recv()
        report(start, answer)


uvloop.run(main())
