"""The closing handshake, from both sides and in every order."""

import asyncio

import pytest
from peers import (
    BINARY,
    CLOSE,
    CONT,
    PATIENCE,
    PING,
    TEXT,
    against_client,
    against_server,
    close_payload,
    pair,
)

import wsfast
from wsfast import State

both_sides = pytest.mark.parametrize("side", [against_client, against_server])


async def soon(awaitable):
    async with asyncio.timeout(PATIENCE):
        return await awaitable


def ending(ws):
    """How a connection says that it ended."""
    return ws.close_code, ws.close_reason, ws.close_sent, ws.close_received, ws.was_clean


# --- Begun by us ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "wire"),
    [
        ((), "880203e8"),
        ((1000, ""), "880203e8"),
        ((1000, "bye"), "880503e8627965"),
        ((1014,), "880203f6"),
        ((3000, "é"), "88040bb8c3a9"),
        ((4999, "x" * 123), "887d1387" + "78" * 123),
        ((None,), "8800"),
    ],
)
async def test_the_close_frame_has_the_code_and_the_reason(arguments, wire):
    """W14, L3: no code is an empty close frame, and 1005 to the peer."""
    async with against_client() as (peer, ws):
        closing = ws.close(*arguments)
        assert ws.state is State.CLOSING
        assert await peer.read(len(wire) // 2) == wire
        peer.send(CLOSE, bytes.fromhex(wire)[2:])
        assert await peer.rest() == b""
        await peer.wait_closed()
        await soon(closing)
        code = (arguments or (1000,))[0] or 1005
        reason = arguments[1] if len(arguments) > 1 else ""
        sent = wsfast.Close(code, reason)
        assert ending(ws) == (code, reason, sent, sent, True)
        assert ws.state is State.CLOSED


@pytest.mark.parametrize(
    ("arguments", "kind"),
    [
        ((0,), ValueError),
        ((999,), ValueError),
        ((1004,), ValueError),
        ((1005,), ValueError),
        ((1006,), ValueError),
        ((1015,), ValueError),
        ((2999,), ValueError),
        ((5000,), ValueError),
        ((2**70,), ValueError),
        ((None, "why"), ValueError),
        ((1000, "é" * 62), ValueError),
        ((1000, "\ud800"), ValueError),
        (("1000",), TypeError),
        ((1000.0,), TypeError),
        ((True,), TypeError),
        ((1000, None), TypeError),
    ],
)
async def test_bad_arguments_raise_at_the_call_and_change_nothing(arguments, kind):
    """L4, L5: also a reason without a code, which ws ignores."""
    async with against_client() as (peer, ws):
        with pytest.raises(kind):
            ws.close(*arguments)
        assert ws.state is State.OPEN
        peer.send(TEXT, "hello")
        assert await soon(ws.recv()) == "hello"


@both_sides
async def test_what_the_peer_sent_before_its_close_frame_is_delivered(side):
    """L8: though we closed first."""
    async with side() as (peer, ws):
        ws.close()
        assert (await peer.frame()).opcode == CLOSE
        for number in range(3):
            peer.send(TEXT, str(number))
        peer.send(PING, b"not answered any more")
        peer.close(4000, "last")
        assert [await soon(ws.recv()) for _ in range(3)] == ["0", "1", "2"]
        with pytest.raises(wsfast.ConnectionClosedError) as caught:
            await soon(ws.recv())
        assert str(caught.value) == "sent 1000 (OK); then received 4000 (private use) last"


async def test_closing_again_changes_nothing():
    """L9: while closing, and when closed."""
    async with against_client() as (peer, ws):
        first = ws.close(4000, "first")
        second = ws.close(4001, "second")
        assert (await peer.frame()).payload == close_payload(4000, "first")
        peer.close(4000, "first")
        assert await peer.rest() == b""
        await peer.wait_closed()
        await soon(asyncio.gather(first, second, ws.wait_closed(), ws.close()))
        ws.terminate()
        assert ws.close_code == 4000


async def test_nothing_can_be_sent_behind_a_close_frame():
    """W9."""
    async with against_client() as (peer, ws):
        ws.close()
        sends = [ws.send("x"), ws.send(b"x", fin=False), ws.send(["x"]), ws.ping(), ws.pong()]
        for awaitable in sends:
            with pytest.raises(wsfast.ConnectionClosedError, match="sent 1000 .* no close frame"):
                await awaitable
        peer.close()
        assert await peer.closed() == (1000, "")


# --- Begun by the peer ------------------------------------------------------------------------


@both_sides
@pytest.mark.parametrize("payload", [b"", close_payload(1000), close_payload(4999, "x" * 123)])
async def test_a_close_frame_is_echoed(side, payload):
    """L6: with its code and reason, and an empty one as empty."""
    async with side() as (peer, ws):
        peer.send(CLOSE, payload)
        assert (await peer.frame())[:2] == (CLOSE, payload)
        await peer.wait_closed()
        await soon(ws.wait_closed())
        assert ws.was_clean
        assert ws.close_sent == ws.close_received


async def test_the_server_ends_the_tcp_connection_first():
    """F6, L18: as RFC 6455 section 7.1.1 wants it, unlike ws, where both do."""
    async with against_client() as (peer, _):
        peer.close()
        assert await peer.closed() == (1000, "")
    async with against_server() as (peer, ws):
        peer.close()
        assert (await peer.frame()).opcode == CLOSE
        await asyncio.sleep(0.05)
        assert not peer.reader.at_eof()
        assert ws.state is State.CLOSING
        await peer.wait_closed()
        await soon(ws.wait_closed())


@both_sides
async def test_what_comes_behind_a_close_frame_is_ignored(side):
    """L7: the socket is read on, so that its end can be seen."""
    async with side() as (peer, ws):
        peer.close(4000)
        peer.send(TEXT, "too late")
        peer.write(b"\xff" * 100)
        with pytest.raises(wsfast.ConnectionClosedError):
            await soon(ws.recv())
        assert (await peer.frame()).payload == close_payload(4000)
        assert ws.close_code == 4000
        assert ws.error is None


@both_sides
async def test_a_close_frame_inside_a_fragmented_message_is_echoed(side):
    async with side() as (peer, ws):
        peer.send(BINARY, b"x", fin=False)
        peer.send(CONT, b"y", fin=False)
        peer.close(1001)
        assert (await peer.frame()).payload == close_payload(1001)
        with pytest.raises(wsfast.ConnectionClosedOK):
            await soon(ws.recv())


@both_sides
async def test_close_frames_that_cross_end_the_handshake(side):
    async with side() as (peer, ws):
        peer.close(4001)
        ws.close(4000)
        assert (await peer.frame()).payload in (close_payload(4000), close_payload(4001))
        await peer.wait_closed()
        await soon(ws.wait_closed())
        assert ws.close_code == 4001
        assert ws.was_clean


@both_sides
@pytest.mark.parametrize(
    ("opcode", "payload", "rsv"),
    [
        (CLOSE, b"\x03", 0),
        (CLOSE, close_payload(1005), 0),
        (TEXT, b"", 4),
        (3, b"", 0),
        (15, b"", 0),
    ],
)
async def test_a_broken_frame_is_answered_with_1002(side, opcode, payload, rsv):
    """F16, L11: the peer sees the code, and we have 1006."""
    async with side() as (peer, ws):
        peer.send(opcode, payload, rsv=rsv)
        assert (await peer.closed())[0] == 1002
        await peer.wait_closed()
        await soon(ws.wait_closed())
        assert ws.close_code == 1006
        assert ws.close_sent.code == 1002
        assert isinstance(ws.error, wsfast.ProtocolError)
        assert not ws.was_clean


# --- Without a handshake ----------------------------------------------------------------------


@both_sides
async def test_terminate_sends_no_close_frame(side):
    """W15, L9, EV5: 1006 on both sides."""
    async with side() as (peer, ws):
        ws.terminate()
        try:
            assert await peer.rest() == b""
        except ConnectionResetError:
            pass
        await soon(ws.wait_closed())
        assert ending(ws) == (1006, "", None, None, False)
        with pytest.raises(wsfast.ConnectionClosedError, match="no close frame received or sent"):
            await ws.send("x")


@both_sides
async def test_terminate_ends_a_closing_handshake(side):
    """W15."""
    async with side() as (_, ws):
        closing = ws.close()
        ws.terminate()
        await soon(closing)
        assert ws.close_code == 1006
        assert ws.close_sent == (1000, "")


async def test_those_who_wait_for_the_end_may_be_cancelled():
    async with pair() as (ws, other):
        waiting = [asyncio.create_task(ws.wait_closed()) for _ in range(3)]
        closing = asyncio.create_task(asyncio.wait_for(ws.wait_closed(), 0.01))
        with pytest.raises(TimeoutError):
            await closing
        waiting[1].cancel()
        await asyncio.sleep(0)
        await soon(other.close())
        results = await soon(asyncio.gather(*waiting, return_exceptions=True))
        assert [type(result) for result in results].count(asyncio.CancelledError) == 1


@pytest.mark.parametrize("error", [None, RuntimeError, asyncio.CancelledError])
async def test_a_block_closes_the_connection_at_its_end(error):
    codes = []
    async with against_client() as (peer, ws):

        async def use():
            async with ws:
                if error is not None:
                    raise error

        using = asyncio.create_task(use())
        came = await peer.frame()
        codes.append(int.from_bytes(came.payload, "big"))
        peer.send(CLOSE, came.payload)
        await peer.rest()
        await peer.wait_closed()
        await asyncio.wait([using])
        assert ws.state is State.CLOSED
        assert using.cancelled() or type(using.exception()) is (error or type(None))
    assert codes == [1000 if error is None else 1011]


async def test_both_ends_agree_on_how_it_ended():
    async with pair() as (ws, other):
        await soon(ws.close(4000, "bye"))
        await soon(other.wait_closed())
        assert ending(ws) == ending(other)
        assert "sent 4000" in str(ws.closed_error())
        assert str(ws.closed_error()).startswith("sent")
        assert str(other.closed_error()).startswith("received")
