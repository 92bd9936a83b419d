"""Starts the peers, and ends them: each is waited for by the line in which it tells its port."""

import asyncio
import contextlib
import json
import os
import queue
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

# wsfast is imported where it is used: this file is read before `--backend` has picked one.

HERE = Path(__file__).parent
START_TIMEOUT = 30
STOP_TIMEOUT = 10


class Peer:
    """A process that a test talks to. A thread reads what it prints, so that it never blocks."""

    def __init__(self, command, **options):
        self.lines = queue.SimpleQueue()
        self.printed = []
        self.process = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            **options,
        )
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        for line in self.process.stdout:
            self.lines.put(line)
        self.lines.put(None)

    def wait_for(self, pattern):
        """Wait for a line that matches, and return the match."""
        deadline = time.monotonic() + START_TIMEOUT
        while True:
            try:
                line = self.lines.get(timeout=max(0, deadline - time.monotonic()))
            except queue.Empty:
                line = None
            if line is None:
                raise AssertionError(f"no line like {pattern!r} in\n{''.join(self.printed)}")
            self.printed.append(line)
            if match := re.search(pattern, line):
                return match

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.reader.join(STOP_TIMEOUT)
        self.process.stdout.close()


@contextlib.contextmanager
def running(command, **options):
    peer = Peer(command, **options)
    try:
        yield peer
    finally:
        peer.stop()


@pytest.fixture(scope="session")
def run_peer():
    """The context manager that starts a peer and ends it."""
    return running


@pytest.fixture(scope="session")
def wsfast_serve():
    """A context manager for a `wsfast serve` process, on the backend of the tests."""
    import wsfast

    @contextlib.contextmanager
    def serve(*arguments, path=None):
        environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
        environment.pop("WSFAST_PURE", None)
        if wsfast.BACKEND == "pure":
            environment["WSFAST_PURE"] = "1"
        if path is not None:
            paths = [str(path), environment.get("PYTHONPATH")]
            environment["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
        command = [sys.executable, "-m", "wsfast", "serve", "--host", "127.0.0.1", "--port", "0"]
        with running([*command, *arguments], env=environment) as peer:
            yield peer.wait_for(r"http://127\.0\.0\.1:(\d+)")[1]

    return serve


@pytest.fixture(scope="session")
def serving():
    """An async context manager for a wsfast server in the test's loop; gives its address."""
    import wsfast

    @contextlib.asynccontextmanager
    async def serve(handler, **options):
        sock = socket.create_server(("127.0.0.1", 0), backlog=128)
        port = sock.getsockname()[1]
        with sock:
            async with wsfast.serve(handler, sock=sock, **options):
                yield f"ws://127.0.0.1:{port}"

    return serve


@pytest.fixture(scope="session")
def watch():
    """Wraps a handler, so that a test can wait for what it returns, or fail with what it raises."""

    def wrap(handler):
        done = asyncio.get_running_loop().create_future()

        async def watched(ws):
            try:
                done.set_result(await handler(ws))
            except Exception as exc:
                done.set_exception(exc)

        return watched, done

    return wrap


@pytest.fixture(scope="session")
def node():
    path = shutil.which("node")
    if path is None or not (HERE / "node_modules" / "ws").is_dir():
        pytest.skip("Node's ws is not installed: `make interop` installs it")
    return path


@pytest.fixture(scope="session")
def ws_server(node):
    """The address of a server of Node's ws; peer_server.mjs tells what its paths do."""
    with running([node, HERE / "peer_server.mjs"]) as peer:
        port = peer.wait_for(r"^(\d+)$")[1]
        yield f"ws://127.0.0.1:{port}"


class Script:
    """A process of Node that runs a test's script; prelude.mjs says what the script has."""

    def __init__(self, process):
        self.process = process

    async def told(self):
        """What the script tells next: a list."""
        line = await self.process.stdout.readline()
        if not line:
            raise AssertionError(f"the script ended with {await self.process.wait()}")
        return json.loads(line)

    async def ended(self):
        """All that it tells until it ends, as it must by itself."""
        told = [json.loads(line) async for line in self.process.stdout]
        assert await self.process.wait() == 0
        return told


@pytest.fixture(scope="session")
def script(node):
    """An async context manager that runs a script; what it is given is in global variables."""

    @contextlib.asynccontextmanager
    async def run(source, **given):
        process = await asyncio.create_subprocess_exec(
            *[node, "--import", HERE / "prelude.mjs", "--input-type=module", "--eval", source],
            cwd=HERE,
            env={**os.environ, "GIVEN": json.dumps(given)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            limit=2**24,
        )
        try:
            yield Script(process)
        finally:
            if process.returncode is None:
                process.kill()
            # What it printed is read, since its end is only told behind that.
            await process.communicate()

    return run


@pytest.fixture(scope="session")
def script_server(script):
    """The same for a script that listens; gives the script and its address."""

    @contextlib.asynccontextmanager
    async def run(source, *, scheme="ws", **given):
        async with script(source, **given) as running:
            [port] = await running.told()
            yield running, f"{scheme}://127.0.0.1:{port}"

    return run


@pytest.fixture(scope="session")
def payload():
    """Bytes that are text as well."""

    def make(size):
        return (bytes(range(128)) * (size // 128 + 1))[:size]

    return make
