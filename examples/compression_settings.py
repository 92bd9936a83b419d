"""Both ends of a connection that compresses, with settings on either side: run it and read."""

import asyncio
import json

import wsfast
from wsfast.extensions import PerMessageDeflate


async def echo(ws):
    async for message in ws:
        await ws.send(message)


async def main():
    compression = PerMessageDeflate(
        level=3,  # of zlib, 0 to 9: speed against size
        mem_level=7,  # 1 to 9: memory for each compressor
        max_window_bits=10,  # 9 to 15: memory against size
        no_context_takeover=True,  # keep nothing between messages, with thousands of clients
        threshold=1024,  # bytes; what is smaller is sent as it is
        concurrency_limit=10,  # threads for large messages
    )
    async with wsfast.serve(echo, "127.0.0.1", 0, compression=compression) as server:
        url = f"ws://127.0.0.1:{server.address()[1]}"
        text = json.dumps([{"name": f"item {i}", "in_stock": True} for i in range(1000)])
        async with wsfast.connect(url) as ws:  # a client offers it by itself
            await ws.send(text)
            await ws.recv()
            print(*ws.extensions, len(text), "bytes took", ws.stats.wire_bytes_received)
        async with wsfast.connect(url, compression=None) as ws:  # unless it is told not to
            await ws.send(text)
            await ws.recv()
            print("without:", len(text), "bytes took", ws.stats.wire_bytes_received)


if __name__ == "__main__":
    asyncio.run(main())
