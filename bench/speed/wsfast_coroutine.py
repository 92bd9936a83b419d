"""wsfast with a coroutine."""

import asyncio
from time import perf_counter

from serial import MAX_SIZE, count, data, report, uri

import wsfast


async def main():
    async with wsfast.connect(
        uri, max_size=MAX_SIZE, max_write_buffer=2 * MAX_SIZE, ping_interval=None
    ) as ws:
        start = perf_counter()
        for _ in range(count):
            await ws.send(data)
            answer = await ws.recv()
        report(start, answer)


asyncio.run(main())
