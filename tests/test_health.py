"""What a connection tells about the peer: the latency, when it was heard of, missed pings."""

from time import monotonic

import pytest
from peers import PATIENCE, PING, PONG, TEXT, against_client, against_server, until

SHORT = 0.05
LONG = PATIENCE

both_sides = pytest.mark.parametrize("side", [against_client, against_server])


@both_sides
async def test_the_peer_was_last_heard_of_when_the_connection_was_opened(side):
    """M17: last_received."""
    begin = monotonic()
    async with side() as (peer, ws):
        assert begin <= ws.last_received <= monotonic()
        assert ws.last_received == ws.last_received


@both_sides
async def test_whatever_came_was_heard(side):
    """M17: last_received; half a frame counts."""
    async with side(ping_interval=None) as (peer, ws):
        for data in b"\x89", b"\x00" if side is against_server else b"\x80\x00\x00\x00\x00":
            before = monotonic()
            seen = ws.stats.wire_bytes_received
            peer.write(data)
            await until(lambda: ws.stats.wire_bytes_received > seen)  # noqa: B023
            assert before <= ws.last_received <= monotonic()
        noticed = ws.last_received
        ws.send("what goes out is not heard")
        assert ws.last_received == noticed


async def test_it_is_noticed_when_nobody_asks():
    """M17: last_received has the resolution of the timeouts."""
    async with against_client(ping_interval=SHORT, ping_timeout=LONG) as (peer, ws):
        peer.send(TEXT, "x")
        assert await ws.recv() == "x"
        for _ in range(2):
            assert (await peer.frame()).opcode == PING
        assert ws.last_received <= monotonic()
        noticed = monotonic()
        assert ws.last_received < noticed


async def test_a_closed_connection_tells_what_was_noticed():
    async with against_client() as (peer, ws):
        noticed = ws.last_received
        peer.close()
        await peer.closed()
        await peer.wait_closed()
        await ws.wait_closed()
        assert ws.last_received >= noticed
        assert ws.missed_pings == 0


@both_sides
async def test_pings_without_an_answer_are_missed_when_the_next_one_is_sent(side):
    """M17: missed_pings."""
    async with side(ping_interval=SHORT, ping_timeout=None) as (peer, ws):
        assert ws.missed_pings == 0
        for number in range(3):
            came = await peer.frame()
            assert came.opcode == PING
            assert ws.missed_pings >= number
        peer.send(PONG, came.payload)
        await until(lambda: ws.latency > 0)
        assert ws.missed_pings == 0


async def test_pings_of_the_application_are_not_missed():
    async with against_client(ping_interval=None) as (peer, ws):
        for _ in range(3):
            await ws.ping()
        assert ws.missed_pings == 0
