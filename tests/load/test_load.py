"""Many connections at once, and many loops in turn: nothing is lost, and nothing is left."""

import asyncio
import contextlib
import gc
import os
import resource
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import wsfast

pytestmark = pytest.mark.load

CONNECTIONS = 5000
MESSAGES = 20
RUNS = 200
CLIENTS = 2
# What is open besides connections, and then some.
OTHER_FILES = 200
TIMEOUT = 240


class Usage:
    """What this process holds on to."""

    def __init__(self):
        # Some cycles are only found in the second pass, behind a finalizer of the first.
        gc.collect()
        gc.collect()
        self.files = len(os.listdir("/proc/self/fd"))
        self.threads = threading.active_count()
        self.blocks = sys.getallocatedblocks()
        self.connections = sum(isinstance(item, wsfast.WebSocket) for item in gc.get_objects())
        with open("/proc/self/statm") as statm:
            self.resident = int(statm.read().split()[1]) * resource.getpagesize()


@pytest.fixture
def many_files():
    """Allows this process to open as many files as the test needs."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = CONNECTIONS + OTHER_FILES
    if hard != resource.RLIM_INFINITY and hard < needed:
        pytest.skip(f"may open {hard} files, and {needed} are needed: raise `ulimit -Hn`")
    if soft != resource.RLIM_INFINITY and soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


class Crowd:
    """Client processes that share a number of connections."""

    def __init__(self, url, connections):
        self.url = url
        self.share = connections // CLIENTS
        self.processes = []

    async def __aenter__(self):
        environment = {**os.environ}
        environment.pop("WSFAST_PURE", None)
        if wsfast.BACKEND == "pure":
            environment["WSFAST_PURE"] = "1"
        client = str(Path(__file__).with_name("client.py"))
        for _ in range(CLIENTS):
            self.processes.append(
                await asyncio.create_subprocess_exec(
                    *[sys.executable, client, self.url, str(self.share), str(MESSAGES)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    env=environment,
                )
            )
        return self

    async def __aexit__(self, *exc_info):
        for process in self.processes:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
            await process.wait()

    async def says(self, line):
        for process in self.processes:
            assert (await process.stdout.readline()).decode() == f"{line}\n"

    async def go(self):
        for process in self.processes:
            process.stdin.write(b"go\n")
        await self.says("done")
        for process in self.processes:
            assert await process.wait() == 0


async def echo_in_coroutine(sock, opened):
    async def handler(ws):
        opened.add(ws.id)
        async for message in ws:
            await ws.send(message)

    return wsfast.serve(handler, sock=sock, ping_interval=None, open_timeout=60)


async def echo_in_listener(sock, opened):
    server = wsfast.WebSocketServer(sock=sock, ping_interval=None, open_timeout=60)

    @server.on("connection")
    def connection(ws, request):
        opened.add(ws.id)

        @ws.on("message")
        def message(data, is_binary):
            ws.send(data)

    return server


@pytest.mark.timeout(TIMEOUT + 30)
@pytest.mark.parametrize("serve", [echo_in_coroutine, echo_in_listener])
def test_five_thousand_connections_at_once_lose_nothing_and_leave_nothing(many_files, serve):
    async def crowd(url, opened, connections):
        opened.clear()
        async with Crowd(url, connections) as clients:
            await clients.says("open")
            assert len(opened) == connections
            assert len(os.listdir("/proc/self/fd")) > connections
            await clients.go()

    async def main():
        opened = set()
        usages = []
        with socket.create_server(("127.0.0.1", 0), backlog=1024) as sock:
            url = f"ws://127.0.0.1:{sock.getsockname()[1]}"
            async with asyncio.timeout(TIMEOUT), await serve(sock, opened):
                # The first crowd only warms up: caches, free lists, the allocator's arenas.
                for connections in (200, CONNECTIONS, CONNECTIONS):
                    await crowd(url, opened, connections)
                    opened.clear()
                    # A closed connection takes a few turns of the loop to be gone on this side.
                    await settled()
                    usages.append((Usage(), len(asyncio.all_tasks())))
        return usages

    (warm, warm_tasks), (first, first_tasks), (second, second_tasks) = asyncio.run(main())
    for usage in (first, second):
        assert usage.connections == 0
        assert usage.files == warm.files
        assert usage.threads <= warm.threads
        # Less than one block a connection: nothing of any of them is left.
        assert usage.blocks - warm.blocks < CONNECTIONS / 2
    assert first_tasks == second_tasks == warm_tasks
    # What the allocator keeps of the first crowd is enough for the second.
    assert second.resident - first.resident < 2**22


async def settled():
    """Wait until no connection is left but those that stay."""
    for _ in range(500):
        await asyncio.sleep(0.01)
        if len(os.listdir("/proc/self/fd")) < OTHER_FILES:
            return
    raise AssertionError("connections are still open")


# --- Loops one after the other ----------------------------------------------------------------


async def echo(ws):
    async for message in ws:
        await ws.send(message)


@contextlib.asynccontextmanager
async def connected(count=3):
    with socket.create_server(("127.0.0.1", 0)) as sock:
        url = f"ws://127.0.0.1:{sock.getsockname()[1]}"
        async with wsfast.serve(echo, sock=sock), contextlib.AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(wsfast.connect(url)) for _ in range(count)]
            for ws in clients:
                await ws.send("hello")
                assert await ws.recv() == "hello"
            yield clients


async def that_ends():
    async with connected():
        pass
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def that_raises():
    async with connected():
        raise KeyError("as it may happen")


async def that_is_cancelled():
    """Its server and its clients are left to asyncio.run, which cancels their tasks."""
    ready = asyncio.Event()

    async def serve():
        async with connected():
            ready.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(serve())
    await ready.wait()
    assert not task.done()


async def whose_clients_terminate():
    async with connected() as clients:
        for ws in clients:
            ws.terminate()


@pytest.mark.timeout(TIMEOUT)
@pytest.mark.parametrize(
    "main", [that_ends, that_raises, that_is_cancelled, whose_clients_terminate]
)
def test_a_loop_that_is_run_again_and_again_leaves_nothing(main):
    def run(times):
        for _ in range(times):
            with contextlib.suppress(KeyError):
                asyncio.run(main())
        return Usage()

    warm = run(20)
    after = run(RUNS)
    assert after.files == warm.files
    assert after.threads == warm.threads
    assert after.connections == 0
    # One connection that is kept per run would be more than twenty.
    assert (after.blocks - warm.blocks) / RUNS < 10
