"""A client that hangs up when its server is gone, though nobody told:

    python heartbeat_client.py URL [INTERVAL LATENCY [built-in]]

The server is to send a ping every INTERVAL seconds (30), which may be on its way for LATENCY
seconds (1). The recipe of ws's README cuts the connection when none came. The built-in way is an
option, which takes anything that comes for a sign of life.
"""

import asyncio
import sys

import wsfast


async def by_hand(url, patience):
    loop = asyncio.get_running_loop()
    ws = wsfast.WebSocket(url, ping_interval=None)
    timer = None

    def heartbeat(data=b""):
        nonlocal timer
        if timer is not None:
            timer.cancel()
        # Not close(), which would wait for an answer.
        timer = loop.call_later(patience, ws.terminate)

    @ws.on("ping")
    def ping(data):
        print("ping", flush=True)
        heartbeat()

    @ws.on("close")
    def closed(code, reason):
        print("closed:", code, flush=True)
        if timer is not None:
            timer.cancel()

    ws.on("open", heartbeat)
    ws.on("error", print)
    await ws.wait_closed()


async def built_in(url, patience):
    options = {"idle_timeout": patience, "close_timeout": 1}
    async with wsfast.connect(url, ping_interval=None, **options) as ws:
        ws.on("ping", lambda data: print("ping", flush=True))
        await ws.wait_closed()
        print("closed:", ws.close_code, ws.error, flush=True)


def main(url, interval="30", latency="1", way="by hand"):
    run = built_in if way == "built-in" else by_hand
    asyncio.run(run(url, float(interval) + float(latency)))


if __name__ == "__main__":
    main(*sys.argv[1:])
