"""wsfast with a listener."""

import asyncio
from time import perf_counter

from serial import MAX_SIZE, count, data, report, uri

import wsfast


async def main():
    ws = await wsfast.connect(
        uri, max_size=MAX_SIZE, max_write_buffer=2 * MAX_SIZE, ping_interval=None
    )
    last = ws.loop.create_future()
    left = count

    @ws.on("message")
    def message(answer, is_binary):
        nonlocal left
        left -= 1
        if left:
            ws.send(data)
        else:
            last.set_result(answer)

    start = perf_counter()
    ws.send(data)
    report(start, await last)
    await ws.close()


asyncio.run(main())
