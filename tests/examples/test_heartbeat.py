"""The heartbeat of both sides and the round-trip time, each against another implementation."""

import asyncio
from types import SimpleNamespace

import pytest
import websockets
from example_programs import output, program
from peers import CLOSE, PING, PONG, client_of, close_payload, raw_server
from websockets.asyncio.server import serve

SHORT = 0.25


async def answer(peer, count):
    """Answer that many pings; returns the first frame after them that is no ping, if any."""
    for _ in range(count):
        came = await peer.frame()
        assert came.opcode == PING
        peer.send(PONG, came.payload)
    assert (await peer.frame()).opcode == PING


async def test_a_server_cuts_off_clients_that_do_not_answer():
    """M17: ws's recipe of a heartbeat."""
    with program("heartbeat_server.py", 0, SHORT) as server:
        port = server.port()
        async with (
            websockets.connect(f"ws://127.0.0.1:{port}", ping_interval=None) as alive,
            client_of(SimpleNamespace(address=lambda: ("127.0.0.1", port))) as peer,
        ):
            await answer(peer, 3)
            assert await peer.rest() == b""
            assert await asyncio.to_thread(server.line) == "closed: 1006"
            await (await alive.ping())
        server.stop()


async def test_a_server_fails_clients_that_do_not_answer_by_itself():
    """M17: the built-in keepalive."""
    with program("heartbeat_server.py", 0, SHORT, "built-in") as server:
        port = server.port()
        async with (
            websockets.connect(f"ws://127.0.0.1:{port}", ping_interval=None) as alive,
            client_of(SimpleNamespace(address=lambda: ("127.0.0.1", port))) as peer,
        ):
            await answer(peer, 3)
            while (came := await peer.frame()).opcode == PING:
                pass
            assert came == (CLOSE, close_payload(1011, "keepalive ping timeout"), True, False)
            await peer.wait_closed()
            line = await asyncio.to_thread(server.line)
            assert line == "closed: 1006 keepalive ping timeout"
            await (await alive.ping())
        server.stop()


@pytest.mark.parametrize(
    ("way", "goodbye", "last"),
    [
        ("by hand", False, "closed: 1006"),
        ("built-in", True, f"closed: 1006 nothing came for {2 * SHORT} seconds"),
    ],
)
async def test_a_client_hangs_up_when_no_ping_comes(way, goodbye, last):
    """M17: the other half of the recipe."""
    seen = []

    async def play(peer):
        await peer.accept()
        for _ in range(3):
            await asyncio.sleep(SHORT)
            peer.send(PING, b"?")
            assert (await peer.frame()).opcode == PONG
        seen.append(await peer.rest())

    async with raw_server(play) as uri:
        printed = await asyncio.to_thread(output, "heartbeat_client.py", uri, SHORT, SHORT, way)
    assert printed.splitlines() == ["ping", "ping", "ping", last]
    assert bool(seen[0]) == goodbye


async def test_the_time_of_messages_and_pings():
    """M17: ws's recipe of the round-trip time."""

    async def echo(ws):
        async for message in ws:
            await ws.send(message)

    async with serve(echo, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        url = f"ws://127.0.0.1:{port}"
        printed = await asyncio.to_thread(output, "round_trip_time.py", url, 0)
    lines = [line.split() for line in printed.splitlines()]
    assert [line[0] for line in lines] == ["message:", "ping:"] * 3
    assert all(float(line[1]) > 0 and line[2] == "ms" for line in lines)
