"""Extensions over real connections, on both sides: order, errors, the end, back-pressure."""

import asyncio
from pathlib import Path

import pytest
from peers import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    close_payload,
    until,
)
from plugged import Desk, Plugin, against, passes, soon

import wsfast
from wsfast.exceptions import ExtensionError
from wsfast.extensions import stack

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
KEY = b"0123456789abcdef"
STYLES = ["callback", "future", "coroutine"]
RSV = {4: 0x40, 2: 0x20, 1: 0x10}  # as `Peer.frame` has them, beside the opcode


@pytest.fixture(params=["server", "client"])
def side(request):
    return request.param


@pytest.fixture(params=STYLES)
def style(request):
    return request.param


# --- Order (the scenario of the seed) ---------------------------------------------------------


async def test_messages_come_in_their_order_however_the_sessions_finish(side, style):
    slow, quick = Desk(style, b"s"), Desk(style, b"q")
    extensions = (
        Plugin("slow", process_incoming_message=slow.process),
        Plugin("quick", process_incoming_message=quick.process),
    )
    async with against(side, *extensions) as (peer, ws):
        assert ws.extensions == ("slow", "quick")
        for data in b"1", b"2", b"3":
            peer.send(BINARY, data)
        await until(lambda: len(quick.seen) == 3)  # incoming ones go the other way
        quick.answer(b"3")
        quick.answer(b"2")
        await passes()
        assert slow.seen == []
        quick.answer(b"1")
        await until(lambda: slow.seen == [b"1q", b"2q", b"3q"])
        receive = asyncio.ensure_future(take(ws, 3))
        slow.answer(b"2q")
        slow.answer(b"3q")
        await passes()
        assert ws.messages_received == 0
        slow.answer(b"1q")
        assert await soon(receive) == [b"1qs", b"2qs", b"3qs"]


async def take(ws, count):
    return [await ws.recv() for _ in range(count)]


async def test_messages_go_out_in_their_order_and_pings_pass_them(side, style):
    slow, quick = Desk(style, b"s"), Desk(style, b"q")
    extensions = (
        Plugin("slow", process_outgoing_message=slow.process),
        Plugin("quick", process_outgoing_message=quick.process),
    )
    async with against(side, *extensions) as (peer, ws):
        sends = [asyncio.ensure_future(as_coroutine(ws.send(data))) for data in (b"1", b"2", b"3")]
        await until(lambda: slow.seen == [b"1", b"2", b"3"])
        for data in b"3", b"1", b"2":
            slow.answer(data)
        await until(lambda: quick.seen == [b"1s", b"2s", b"3s"])
        quick.answer(b"2s")
        ws.ping(b"!")
        assert (await peer.frame()).opcode == PING
        peer.send(PING, b"?")
        assert (await peer.frame()).opcode == PONG
        assert not any(send.done() for send in sends)
        quick.answer(b"1s")
        assert [(await peer.frame()).payload for _ in range(2)] == [b"1sq", b"2sq"]
        await soon(asyncio.gather(*sends[:2]))
        assert not sends[2].done()
        quick.answer(b"3s")
        assert (await peer.frame()).payload == b"3sq"
        await soon(sends[2])
        assert ws.stats.messages_sent == 3
        assert ws.stats.bytes_sent == 9


async def as_coroutine(awaitable):
    return await awaitable


async def test_cancelling_the_wait_takes_no_message_back(side):
    desk = Desk("future", b"!")
    async with against(side, Plugin("x", process_outgoing_message=desk.process)) as (peer, ws):
        task = asyncio.ensure_future(as_coroutine(ws.send(b"one")))
        await until(lambda: desk.open)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        desk.answer(b"one")
        assert (await peer.frame()).payload == b"one!"
        second = ws.send(b"two")
        desk.answer(b"two")
        await soon(second)
        assert (await peer.frame()).payload == b"two!"


# --- Errors -----------------------------------------------------------------------------------


class Custom(Exception):
    close_code = 4321


@pytest.mark.parametrize(("error", "code"), [(ValueError("no"), 1010), (Custom("no"), 4321)])
async def test_an_error_comes_behind_the_messages_before_it(side, style, error, code):
    desk = Desk(style, b"!")
    extension = Plugin("x", process_incoming_message=desk.process)
    async with against(side, extension) as (peer, ws):
        for data in b"1", b"2", b"3":
            peer.send(BINARY, data)
        await until(lambda: len(desk.open) == 3)
        desk.answer(b"2", error)
        if style == "callback":
            desk.answer(b"3")
        await passes()
        assert ws.state.name == "OPEN"
        desk.answer(b"1")
        assert await soon(ws.recv()) == b"1!"
        with pytest.raises(wsfast.ConnectionClosedError) as caught:
            await soon(ws.recv())
        cause = caught.value.__cause__
        assert isinstance(cause, ExtensionError)
        assert (str(cause), cause.close_code, cause.__cause__) == ("x: no", code, error)
        assert await peer.closed() == (code, "x: no")
        peer.writer.close()
        await soon(ws.wait_closed())
        assert extension.closed == [1]


async def test_an_error_at_once_is_no_different(side):
    def fail(message):
        if message.data == b"bad":
            raise Custom("no")
        return message

    async with against(side, Plugin("x", process_incoming_message=fail)) as (peer, ws):
        for data in b"good", b"bad", b"behind":
            peer.send(BINARY, data)
        assert await soon(ws.recv()) == b"good"
        with pytest.raises(wsfast.ConnectionClosedError):
            await soon(ws.recv())
        assert await peer.closed() == (4321, "x: no")


async def test_a_message_that_could_not_be_sent_is_told_to_who_waits(side, style):
    desk = Desk(style, b"!")
    async with against(side, Plugin("x", process_outgoing_message=desk.process)) as (peer, ws):
        first, second, third = (ws.send(data) for data in (b"1", b"2", b"3"))
        await until(lambda: len(desk.open) == 3)
        desk.answer(b"2", ValueError("no"))
        desk.answer(b"1")
        await soon(first)
        for send in second, third, ws.send(b"4"):
            with pytest.raises(wsfast.ConnectionClosedError) as caught:
                await soon(send)
            assert str(caught.value.__cause__) == "x: no"
        assert (await peer.frame()).payload == b"1!"
        assert await peer.closed() == (1010, "x: no")


async def test_a_session_that_gives_no_message_is_an_error(side):
    for result in None, 5, object():
        extension = Plugin("x", process_outgoing_message=lambda message, result=result: result)
        async with against(side, extension) as (peer, ws):
            with pytest.raises(wsfast.ConnectionClosedError):
                await soon(ws.send(b"1"))
            assert (await peer.closed())[0] in (1010, 1011)


async def test_errors_of_one_direction_leave_the_other_to_its_order():
    desk = Desk("future", b"!")
    extension = Plugin("x", process_incoming_message=desk.process)
    async with against("server", extension) as (peer, ws):
        peer.send(BINARY, b"1")
        await until(lambda: desk.open)
        await ws.send(b"out")
        assert (await peer.frame()).payload == b"outx"
        desk.answer(b"1", ValueError("no"))
        assert await peer.closed() == (1010, "x: no")


class NoKey(Exception):
    """Raised by the function that makes masking keys."""


async def test_without_a_masking_key_the_connection_ends(style):
    keys = [b"abcd"]

    def generate_mask():
        if not keys:
            raise NoKey("no key")
        return keys.pop()

    desk = Desk(style, b"!")
    options = {"generate_mask": generate_mask, "close_timeout": 0.1}
    extension = Plugin("x", process_outgoing_message=desk.process)
    async with against("client", extension, **options) as (peer, ws):
        sends = [ws.send(data) for data in (b"1", b"2", b"3")]
        await until(lambda: len(desk.open) == 3)
        for data in b"1", b"2", b"3":
            desk.answer(data)
        await soon(sends[0])
        for send in sends[1:]:
            with pytest.raises(wsfast.ConnectionClosedError) as caught:
                await soon(send)
            assert isinstance(caught.value.__cause__, NoKey)
        assert (await peer.frame()).payload == b"1!"
        assert await peer.rest() == b""
        await soon(ws.wait_closed())


# --- The end ----------------------------------------------------------------------------------


async def test_a_close_frame_waits_for_the_messages_before_it(side, style):
    desk = Desk(style, b"!")
    extension = Plugin("x", process_incoming_message=desk.process)
    async with against(side, extension) as (peer, ws):
        for data in b"1", b"2":
            peer.send(BINARY, data)
        peer.close(1000, "bye")
        await until(lambda: len(desk.open) == 2)
        desk.answer(b"2")
        await passes()
        assert ws.state.name == "OPEN"
        assert ws.close_received is None
        desk.answer(b"1")
        assert await soon(ws.recv()) == b"1!"
        assert await soon(ws.recv()) == b"2!"
        with pytest.raises(wsfast.ConnectionClosedOK):
            await soon(ws.recv())
        frame = await peer.frame()
        assert (frame.opcode, frame.payload) == (CLOSE, close_payload(1000, "bye"))
        peer.writer.close()
        await soon(ws.wait_closed())
        assert extension.closed == [1]
        assert ws.was_clean


async def test_replies_to_the_last_messages_are_sent_before_the_close_frame(style):
    desk = Desk(style, b"!")
    extension = Plugin("x", process_incoming_message=desk.process)
    async with against("server", extension) as (peer, ws):
        ws.on("message", lambda data, is_binary: ws.send(data))
        peer.send(BINARY, b"1")
        peer.close()
        await until(lambda: desk.open)
        desk.answer(b"1")
        assert (await peer.frame()).payload == b"1!x"
        assert (await peer.frame()).opcode == CLOSE


async def test_our_close_frame_goes_behind_the_messages_on_their_way_out(side, style):
    desk = Desk(style, b"!")
    extension = Plugin("x", process_outgoing_message=desk.process)
    async with against(side, extension) as (peer, ws):
        sends = [ws.send(data) for data in (b"1", b"2")]
        closed = ws.close(1000, "bye")
        assert ws.state.name == "CLOSING"
        with pytest.raises(wsfast.ConnectionClosed):
            await ws.send(b"too late")
        await until(lambda: len(desk.open) == 2)
        desk.answer(b"2")
        desk.answer(b"1")
        assert [(await peer.frame()).payload for _ in range(2)] == [b"1!", b"2!"]
        frame = await peer.frame()
        assert (frame.opcode, frame.payload) == (CLOSE, close_payload(1000, "bye"))
        for send in sends:
            await soon(send)
        peer.close(1000, "bye")
        peer.writer.close()
        await soon(closed)
        assert ws.was_clean
        assert extension.closed == [1]


async def test_what_the_peer_closed_before_it_could_be_sent_raises(side):
    desk = Desk("future", b"!")
    async with against(side, Plugin("x", process_outgoing_message=desk.process)) as (peer, ws):
        send = ws.send(b"1")
        await until(lambda: desk.open)
        peer.close()
        assert (await peer.frame()).opcode == CLOSE
        desk.answer(b"1")
        with pytest.raises(wsfast.ConnectionClosed):
            await soon(send)


@pytest.mark.parametrize("how", ["our close", "their close", "their end", "reset", "terminate"])
async def test_a_session_that_never_answers_does_not_keep_the_connection(side, style, how):
    incoming, outgoing = Desk(style, b"!"), Desk(style, b"!")
    extension = Plugin(
        "x",
        process_incoming_message=incoming.process,
        process_outgoing_message=outgoing.process,
    )
    options = {"close_timeout": 0.2, "ping_interval": None}
    async with against(side, extension, **options) as (peer, ws):
        peer.send(BINARY, b"in")
        send = ws.send(b"out")
        await until(lambda: incoming.open and outgoing.open)
        if how == "our close":
            ws.close()
        elif how == "their close":
            peer.close()
        elif how == "their end":
            peer.write_eof()
        elif how == "reset":
            peer.reset()
        else:
            ws.terminate()
        await soon(ws.wait_closed())
        with pytest.raises(wsfast.ConnectionClosed):
            await soon(send)
        with pytest.raises(wsfast.ConnectionClosed):
            await soon(ws.recv())
        if how.startswith("their") or how == "our close":
            assert ws.error.code == "WS_ERR_CLOSE_TIMEOUT"
        # So that no task of theirs is left.
        for desk in incoming, outgoing:
            for data in list(desk.open):
                desk.answer(data)
        await passes()
        assert extension.closed == [1]


async def test_answers_behind_the_end_change_nothing(side, style):
    incoming, outgoing = Desk(style, b"!"), Desk(style, b"!")
    extension = Plugin(
        "x",
        process_incoming_message=incoming.process,
        process_outgoing_message=outgoing.process,
    )
    async with against(side, extension) as (peer, ws):
        peer.send(BINARY, b"in")
        ws.send(b"out")
        await until(lambda: incoming.open and outgoing.open)
        ws.terminate()
        await soon(ws.wait_closed())
        before = ws.stats
        incoming.answer(b"in")
        outgoing.answer(b"out")
        await passes()
        assert ws.stats == before
        assert extension.closed == [1]


# --- Back-pressure ----------------------------------------------------------------------------


async def test_reading_stops_while_sessions_have_too_many_messages(side):
    desk = Desk("future", b"")
    async with against(side, Plugin("x", process_incoming_message=desk.process)) as (peer, ws):
        count = 3 * stack.MAX_INCOMING
        for number in range(count):
            peer.send(BINARY, b"%d" % number)
        peer.send(PING, b"behind")
        await until(lambda: not ws.is_reading)
        assert len(desk.seen) == stack.MAX_INCOMING
        receive = asyncio.ensure_future(take(ws, count))
        done = 0
        while done < count:
            await until(lambda: desk.open)
            assert len(desk.open) <= stack.MAX_INCOMING
            for data in list(desk.open):
                desk.answer(data)
                done += 1
        assert await soon(receive) == [b"%d" % number for number in range(count)]
        assert (await peer.frame()).payload == b"behind"
        assert ws.is_reading


async def test_reading_stops_while_nobody_receives(side):
    async def process(message):
        return message

    async with against(side, Plugin("x", process_incoming_message=process), max_queue=4) as (
        peer,
        ws,
    ):
        for number in range(200):
            peer.send(BINARY, b"%d" % number)
        await until(lambda: not ws.is_reading)
        assert await soon(take(ws, 200)) == [b"%d" % number for number in range(200)]
