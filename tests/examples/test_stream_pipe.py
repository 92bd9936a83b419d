"""examples/stream_pipe.py: a process with real pipes, against a server."""

import asyncio
import contextlib
import hashlib
import os
import random
import sys
from pathlib import Path

import pytest
from peers import PATIENCE, Accepted, until, uri_of

import wsfast

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "stream_pipe.py"
DATA = random.Random(1).randbytes(8_000_000)
DIGEST = hashlib.sha256(DATA).digest()


@contextlib.asynccontextmanager
async def process(uri):
    """The example, with pipes."""
    started = await asyncio.create_subprocess_exec(
        sys.executable,
        str(EXAMPLE),
        uri,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    try:
        async with asyncio.timeout(3 * PATIENCE):
            yield started
    finally:
        with contextlib.suppress(ProcessLookupError):
            started.kill()
        await started.communicate()


@contextlib.asynccontextmanager
async def piped(**options):
    """The example, and the server's end of its connection."""
    handler = Accepted()
    async with wsfast.serve(handler, "127.0.0.1", 0, **options) as server:
        async with process(uri_of(server)) as started:
            yield started, await handler.get()


async def write_all(writer, data=DATA):
    for start in range(0, len(data), 50_000):
        writer.write(data[start : start + 50_000])
        await writer.drain()


async def test_what_is_piped_in_arrives_and_the_end_of_the_input_closes():
    """ST5, ST7: the server reads more slowly than the process writes."""
    async with piped() as (started, ws):
        writing = asyncio.create_task(write_all(started.stdin))
        digest = hashlib.sha256()
        first = await ws.recv()
        digest.update(first)
        await until(lambda: not ws.is_reading)
        assert not writing.done()
        left = len(DATA) - len(first)
        while left:
            message = await ws.recv()
            left -= len(message)
            digest.update(message)
        assert digest.digest() == DIGEST
        await writing
        started.stdin.close()
        await ws.wait_closed()
        assert (ws.close_code, ws.was_clean) == (1000, True)
        assert await started.stdout.read() == b""
        assert await started.wait() == 0


async def test_what_comes_is_piped_out_as_fast_as_it_is_read():
    """ST5, ST7: the server is held up by whoever does not read the process's output."""
    async with piped(write_limit=10_000) as (started, ws):
        _, writer = wsfast.create_websocket_stream(ws)

        async def send():
            await write_all(writer)
            writer.write_eof()

        sending = asyncio.create_task(send())
        await until(lambda: ws.is_blocked)
        assert not sending.done()
        digest = hashlib.sha256()
        while data := await started.stdout.read(65536):
            digest.update(data)
        await sending
        assert digest.digest() == DIGEST
        assert await started.wait() == 0
        await writer.wait_closed()


async def test_both_ways_at_once():
    """ST2, ST7: lines that come back until the input ends."""
    async with piped() as (started, ws):
        ws.on("message", lambda data, is_binary: ws.send(data.upper()))
        for line in b"one\n", b"two\n", b"three\n":
            started.stdin.write(line)
            assert await started.stdout.readline() == line.upper()
        started.stdin.write(b"last\n")
        started.stdin.close()
        assert await started.stdout.read() == b"LAST\n"
        assert await started.wait() == 0


@pytest.mark.parametrize("code", [1011, 4000])
async def test_an_error_ends_the_process_with_a_status(code):
    """ST6: it is not taken for the end of the data."""
    async with piped() as (started, ws):
        ws.send(b"x")
        await ws.close(code, "why")
        output, errors = await started.communicate()
        assert output == b"x"
        assert f"received {code}" in errors.decode()
        assert started.returncode == 1
