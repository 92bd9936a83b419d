"""The server under load: on three ports an echo, one that pushes and one that broadcasts.

usage: server.py event|coroutine epoll|asyncio asyncio|uvloop [CERTIFICATE]

Prints the ports, serves until its standard input ends, and fails if anything is left then: a
connection, or memory that nothing refers to any more.
"""

import asyncio
import contextlib
import ctypes
import gc
import logging
import os
import sys
from pathlib import Path

import wsfast

# asyncio's transports warn of what is written before they tell that the connection is lost.
logging.getLogger("asyncio").setLevel(logging.ERROR)

STYLE, DRIVER, LOOP, *CERTIFICATE = sys.argv[1:]

# What bench/load.c expects of a server that sends on its own account.
MESSAGE = "0123456789abcdef" * 64
# Of every kind: held with others, too large for that, not ASCII, in fragments.
MIXED = ["text", b"\x00\xff" * 100, "\N{SNOWMAN}" * 2000, os.urandom(20_000), "x" * 20_000]
# Slow readers are to block their connections often, and some to be cut off.
LIMITS = {"write_limit": 2**16, "max_write_buffer": 2**20, "max_size": 2**21}
OPTIONS = {
    "host": "127.0.0.1",
    "port": 0,
    "driver": DRIVER,
    "ping_interval": None,  # the load generator takes no pings
    "close_timeout": 0.5,
    "compression": True,  # for those that offer it: the load generator does not, our clients do
    **LIMITS,
}
if CERTIFICATE:
    OPTIONS["cert"] = OPTIONS["key"] = Path(CERTIFICATE[0]).read_bytes()


def broadcast(server):
    """Send to all, and do each of the three things with those who are slow."""
    for slow in ("drop", "wait", "close"):
        wsfast.broadcast(server.connections, MESSAGE, slow=slow)


def push(ws, asked):
    """Send some messages; gives what to await before the next."""
    if asked == "go":
        return [ws.send(MESSAGE) for _ in range(4)][-1]
    ws.pong(b"unasked")
    sent = [ws.send(item) for item in MIXED]
    return [*sent, ws.send(iter(MIXED[:1] * 3))][-1]


class Listeners:
    """One of the three servers, in event style."""

    def __init__(self, work):
        self.server = wsfast.WebSocketServer(**OPTIONS)
        self.server.on("connection", getattr(self, work))

    def echo(self, ws, request):
        ws.on("message", lambda data, is_binary: ws.send(data))

    def push(self, ws, request):
        ws.once("message", lambda data, is_binary: self.push_on(ws, data))

    def push_on(self, ws, asked):
        """Push without waiting for the reader, who is cut off in the end if he is slow."""
        if ws.state is wsfast.State.OPEN:
            push(ws, asked)
            self.server.loop.call_later(0.001, self.push_on, ws, asked)

    def broadcast(self, ws, request):
        ws.on("message", lambda data, is_binary: broadcast(self.server))


class Coroutines:
    """One of the three servers, in coroutine style."""

    def __init__(self, work):
        self.server = wsfast.serve(getattr(self, work), **OPTIONS)

    async def echo(self, ws):
        async for message in ws:
            await ws.send(message)

    async def push(self, ws):
        asked = await ws.recv()
        while True:
            await push(ws, asked)
            await asyncio.sleep(0)

    async def broadcast(self, ws):
        async for batch in ws.batches():
            for _ in batch:
                broadcast(self.server)


async def main():
    make = Listeners if STYLE == "event" else Coroutines
    async with contextlib.AsyncExitStack() as stack:
        servers = [make(work).server for work in ("echo", "push", "broadcast")]
        for server in servers:
            await stack.enter_async_context(server)
        print(*[server.address()[1] for server in servers], flush=True)
        await asyncio.to_thread(sys.stdin.read)


factory = None
if LOOP == "uvloop":
    import uvloop

    factory = uvloop.new_event_loop
with asyncio.Runner(loop_factory=factory) as runner:
    runner.run(main())
gc.collect()
left = [item for item in gc.get_objects() if isinstance(item, wsfast.WebSocket)]
if left:
    sys.exit(f"{len(left)} connections are left: {left}")
# Nothing else may refer to this frame, and the sanitizer does not look where frames are linked.
frame = sys._getframe()
look_for_leaks = getattr(ctypes.CDLL(None), "__lsan_do_recoverable_leak_check", int)
if look_for_leaks():
    sys.exit("memory is lost; the sanitizer's report says which")
