"""Prints how long a message to a server and back takes: python round_trip_time.py URL [INTERVAL]

Messages are timed at an echo server, as in ws's README; pings at any server.
"""

import asyncio
import sys
import time

import wsfast


async def main(url, interval="0.5"):
    async with wsfast.connect(url) as ws:
        for _ in range(3):
            await ws.send(repr(time.perf_counter()))
            sent = float(await ws.recv())
            print(f"message: {(time.perf_counter() - sent) * 1000:.3f} ms", flush=True)

            pong = await ws.ping()
            print(f"ping: {await pong * 1000:.3f} ms", flush=True)
            await asyncio.sleep(float(interval))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
