"""Timeouts after the opening handshake. What is short here is what is tested."""

import asyncio
import itertools

import pytest
from peers import (
    BINARY,
    CLOSE,
    PATIENCE,
    PING,
    PONG,
    TEXT,
    Accepted,
    against_client,
    against_server,
    close_payload,
    hold,
    raw_server,
    until,
)

import wsfast

SHORT = 0.05
# Of what must not run out during a test.
LONG = PATIENCE

both_sides = pytest.mark.parametrize("side", [against_client, against_server])


def record(ws):
    events = []
    ws.on("error", lambda error: events.append(error.code))
    ws.on("close", lambda code, reason: events.append(code))
    return events


async def ended(ws):
    async with asyncio.timeout(PATIENCE):
        await ws.wait_closed()
    return ws.closed_error().__cause__


# --- Pings ------------------------------------------------------------------------------------


@both_sides
async def test_pings_are_sent_in_every_interval_and_their_pongs_give_the_latency(side):
    """M4, M17"""
    async with side(ping_interval=SHORT, ping_timeout=LONG) as (peer, ws):
        payloads = []
        for _ in range(4):
            came = await peer.frame()
            assert came.opcode == PING
            payloads.append(came.payload)
            peer.send(PONG, came.payload)
        await until(lambda: ws.latency > 0)
        assert [len(payload) for payload in payloads] == [4] * 4
        assert len(set(payloads)) == 4
        assert ws.state is wsfast.State.OPEN


@both_sides
async def test_a_peer_that_does_not_answer_is_failed_with_1011(side):
    """M4, M19"""
    async with side(ping_interval=SHORT, ping_timeout=SHORT) as (peer, ws):
        events = record(ws)
        while (came := await peer.frame()).opcode == PING:
            pass
        assert (came.opcode, came.payload) == (CLOSE, close_payload(1011, "keepalive ping timeout"))
        await peer.wait_closed()
        error = await ended(ws)
        assert isinstance(error, wsfast.KeepaliveTimeout)
        assert error.code == "WS_ERR_KEEPALIVE_TIMEOUT"
        assert events == ["WS_ERR_KEEPALIVE_TIMEOUT", 1006]


async def test_messages_are_no_answer_to_a_ping():
    async with against_client(ping_interval=SHORT, ping_timeout=SHORT) as (peer, ws):
        ws.discard()

        async def talk():
            while True:
                peer.send(TEXT, "x")
                peer.send(PONG, b"no answer")
                await asyncio.sleep(SHORT / 10)

        talking = asyncio.create_task(talk())
        try:
            while (await peer.frame()).opcode == PING:
                pass
        finally:
            talking.cancel()


@both_sides
async def test_recv_raises_as_soon_as_the_peer_is_found_dead(side):
    """The closing handshake with somebody who is dead takes close_timeout: no need to wait."""
    options = {"ping_interval": SHORT, "ping_timeout": SHORT, "close_timeout": LONG}
    async with side(**options) as (peer, ws):
        peer.stop_reading()
        async with asyncio.timeout(LONG / 2):
            with pytest.raises(wsfast.ConnectionClosedError) as caught:
                await ws.recv()
        assert isinstance(caught.value.__cause__, wsfast.KeepaliveTimeout)
        peer.go_on_reading()


async def test_a_dead_peer_is_gone_after_the_close_timeout():
    options = {"ping_interval": SHORT, "ping_timeout": SHORT, "close_timeout": SHORT}
    async with against_client(**options) as (peer, ws):
        peer.stop_reading()
        error = await ended(ws)
        assert error.code == "WS_ERR_KEEPALIVE_TIMEOUT"


async def test_a_late_pong_for_an_earlier_ping_does_not_count_for_a_later_one():
    async with against_client(ping_interval=SHORT, ping_timeout=2 * SHORT) as (peer, ws):
        came = await peer.frame()
        peer.send(PONG, came.payload)
        while (came := await peer.frame()).opcode == PING:
            pass
        assert came.payload == close_payload(1011, "keepalive ping timeout")


async def test_no_pings_are_sent_without_an_interval():
    async with against_client(ping_interval=None, ping_timeout=SHORT) as (peer, ws):
        await asyncio.sleep(3 * SHORT)
        ws.send("first")
        assert (await peer.frame()).payload == b"first"


async def test_pings_without_a_timeout_fail_nobody():
    async with against_client(ping_interval=SHORT, ping_timeout=None) as (peer, ws):
        for _ in range(4):
            assert (await peer.frame()).opcode == PING
        assert ws.state is wsfast.State.OPEN


async def test_a_connection_that_we_paused_is_not_failed():
    async with against_client(ping_interval=SHORT, ping_timeout=SHORT) as (peer, ws):
        ws.pause()
        for _ in range(5):
            came = await peer.frame()
            assert came.opcode == PING
            peer.send(PONG, came.payload)
        assert ws.stats.frames_received == 0
        assert ws.state is wsfast.State.OPEN
        ws.resume()
        peer.send(TEXT, "alive")
        assert await ws.recv() == "alive"


async def test_a_connection_whose_queue_is_full_is_not_failed():
    options = {"ping_interval": SHORT, "ping_timeout": SHORT, "idle_timeout": SHORT}
    async with against_client(max_queue=1, **options) as (peer, ws):
        for number in range(3):
            peer.send(TEXT, str(number))
        for _ in range(4):
            came = await peer.frame()
            assert came.opcode == PING
            peer.send(PONG, came.payload)
        assert [await ws.recv() for _ in range(3)] == ["0", "1", "2"]
        assert ws.state is wsfast.State.OPEN


async def test_one_connection_that_fails_to_ping_does_not_end_the_clock_of_the_others():
    """Connections of a client with the same timeouts share one clock."""
    options = {"ping_interval": SHORT, "ping_timeout": LONG, "close_timeout": LONG}

    def generate_mask():
        raise RuntimeError("no masks left")

    async with raw_server(hold) as uri:
        broken = await wsfast.connect(uri, generate_mask=generate_mask, **options)
        async with against_server(**options) as (peer, _):
            for _ in range(3):
                assert (await peer.frame()).opcode == PING
        assert str(await ended(broken)) == "no masks left"


# --- Silence ----------------------------------------------------------------------------------


@both_sides
async def test_a_connection_on_which_nothing_comes_is_failed_after_the_idle_timeout(side):
    """M19"""
    async with side(idle_timeout=SHORT) as (peer, ws):
        events = record(ws)
        came = await peer.frame()
        reason = f"nothing came for {SHORT} seconds"
        assert (came.opcode, came.payload) == (CLOSE, close_payload(1001, reason))
        await peer.wait_closed()
        assert (await ended(ws)).code == "WS_ERR_IDLE_TIMEOUT"
        assert events == ["WS_ERR_IDLE_TIMEOUT", 1006]


async def test_anything_that_comes_ends_the_idleness():
    async with against_client(idle_timeout=4 * SHORT) as (peer, ws):
        ws.discard()
        whole = bytes.fromhex("818537fa213d7f9f4d5158")
        for byte in itertools.islice(itertools.cycle(whole), 3 * len(whole)):
            peer.write(bytes([byte]))
            await asyncio.sleep(SHORT / 2)
        assert ws.state is wsfast.State.OPEN
        assert ws.stats.messages_received == 3


# --- Writing ----------------------------------------------------------------------------------


@both_sides
@pytest.mark.parametrize("option", ["write_timeout", "ping_timeout"])
async def test_a_peer_that_never_reads_is_failed(side, option):
    async with side(**{option: SHORT}, max_write_buffer=None) as (peer, ws):
        events = record(ws)
        peer.stop_reading()
        while not ws.is_blocked:
            ws.send(bytes(2**20))
        waiting = asyncio.create_task(ws.send("x"))
        error = await ended(ws)
        assert error.code == "WS_ERR_WRITE_TIMEOUT"
        assert str(error) == f"the peer read nothing for {SHORT} seconds"
        assert events == ["WS_ERR_WRITE_TIMEOUT", 1006]
        with pytest.raises(wsfast.ConnectionClosedError):
            await waiting


async def test_a_peer_that_reads_slowly_is_not_failed():
    async with against_client(write_timeout=4 * SHORT, max_write_buffer=None) as (peer, ws):
        peer.stop_reading()
        while not ws.is_blocked:
            ws.send(bytes(2**20))
        # The kernel lets the sender go on only when there is room for more than a little.
        while ws.is_blocked:
            peer.go_on_reading()
            await peer.exactly(2**17)
            peer.stop_reading()
            await asyncio.sleep(SHORT / 5)
        assert ws.state is wsfast.State.OPEN
        ws.terminate()


async def test_a_peer_for_whom_too_much_waits_is_failed():
    async with against_client(max_write_buffer=2**22, write_limit=2**16) as (peer, ws):
        events = record(ws)
        peer.stop_reading()
        while ws.state is wsfast.State.OPEN:
            ws.send(bytes(2**18))
        error = await ended(ws)
        assert isinstance(error, wsfast.WriteBufferFull)
        assert error.size > error.max_size == 2**22
        assert str(error) == f"Write buffer of {error.size} bytes exceeds maximum of {2**22}"
        assert events == ["WS_ERR_WRITE_BUFFER_FULL", 1006]


async def test_messages_up_to_the_maximum_of_the_write_buffer_are_kept():
    async with against_client(max_write_buffer=2**25) as (peer, ws):
        peer.stop_reading()
        for _ in range(31):
            ws.send(bytes(2**20))
        peer.go_on_reading()
        for _ in range(31):
            came = await peer.frame()
            assert (came.opcode, len(came.payload)) == (BINARY, 2**20)


# --- Closing ----------------------------------------------------------------------------------


@both_sides
async def test_a_peer_that_never_answers_the_close_frame_is_cut_off(side):
    """M19, L2, C8: after ``close_timeout``; without its close frame the code is 1006."""
    async with side(close_timeout=SHORT) as (peer, ws):
        events = record(ws)
        closing = ws.close(1000, "bye")
        assert (await peer.frame()).payload == close_payload(1000, "bye")
        async with asyncio.timeout(PATIENCE):
            await closing
        assert ws.close_code == 1006
        assert not ws.was_clean
        assert (await ended(ws)).code == "WS_ERR_CLOSE_TIMEOUT"
        assert events == ["WS_ERR_CLOSE_TIMEOUT", 1006]


@both_sides
async def test_the_close_timeout_is_a_deadline_whatever_comes(side):
    """L2: as if nothing came."""
    async with side(close_timeout=2 * SHORT) as (peer, ws):
        ws.close()

        async def talk():
            while True:
                peer.send(TEXT, "x")
                peer.send(PING, b"x")
                await asyncio.sleep(SHORT / 10)

        talking = asyncio.create_task(talk())
        try:
            await ended(ws)
        finally:
            talking.cancel()


async def test_a_client_that_never_closes_its_side_is_cut_off_and_the_close_was_clean():
    async with against_client(close_timeout=SHORT) as (peer, ws):
        events = record(ws)
        peer.close(4000)
        assert (await peer.frame()).payload == close_payload(4000)
        assert await ended(ws) is None
        assert ws.was_clean
        assert events == [4000]


async def test_a_server_that_never_closes_its_side_is_cut_off_and_the_close_was_clean():
    async with against_server(close_timeout=SHORT) as (peer, ws):
        events = record(ws)
        ws.close()
        assert (await peer.frame()).payload == close_payload(1000)
        peer.close()
        assert await ended(ws) is None
        assert ws.was_clean
        assert isinstance(ws.closed_error(), wsfast.ConnectionClosedOK)
        assert events == [1000]


async def test_a_peer_that_never_reads_is_cut_off_at_the_close_timeout():
    async with against_client(close_timeout=SHORT, max_write_buffer=None) as (peer, ws):
        peer.stop_reading()
        while not ws.is_blocked:
            ws.send(bytes(2**20))
        ws.close()
        assert (await ended(ws)).code == "WS_ERR_CLOSE_TIMEOUT"


async def test_without_timeouts_a_connection_waits_as_long_as_it_takes():
    handler = Accepted()
    options = dict.fromkeys(
        ["open_timeout", "close_timeout", "ping_interval", "ping_timeout", "idle_timeout"]
    )
    async with wsfast.serve(handler, "127.0.0.1", 0, **options) as server:
        uri = "ws://{}:{}".format(*server.address())
        async with wsfast.connect(uri, **options) as ws:
            await ws.send("x")
            assert await (await handler.get()).recv() == "x"
