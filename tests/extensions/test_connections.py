"""Extensions over real connections, on both sides: order, errors, the end, limits."""

import asyncio
import contextlib
import runpy
import sys
import zlib
from pathlib import Path

import pytest
from deflating import HELLO, TAIL
from peers import (
    BINARY,
    CLOSE,
    CONT,
    PATIENCE,
    PING,
    PONG,
    TEXT,
    Accepted,
    client_of,
    close_payload,
    pair,
    raw_server,
    until,
)
from plugged import Desk, Plugin, passes

import wsfast
from wsfast.exceptions import ExtensionError
from wsfast.extensions import Message, PerMessageDeflate, stack
from wsfast.protocol import ClientProtocol, ServerProtocol

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
KEY = b"0123456789abcdef"
STYLES = ["callback", "future", "coroutine"]
RSV = {4: 0x40, 2: 0x20, 1: 0x10}  # as `Peer.frame` has them, beside the opcode


async def soon(awaitable):
    async with asyncio.timeout(PATIENCE):
        return await awaitable


@contextlib.asynccontextmanager
async def against(side, *extensions, offer=None, **options):
    """A raw peer, and the end of its connection that is tested: a "server" or a "client"."""
    header = offer or ", ".join(extension.name for extension in extensions)
    options = {"extensions": list(extensions), "compression": None, **options}
    if side == "server":
        handler = Accepted()
        async with (
            wsfast.serve(handler, "127.0.0.1", 0, **options) as server,
            client_of(server, Sec_WebSocket_Extensions=header) as peer,
        ):
            ws = await handler.get()
            yield peer, ws
            ws.terminate()
        return
    peers, done = asyncio.Queue(), asyncio.Event()

    async def play(peer):
        await peer.accept(Sec_WebSocket_Extensions=header)
        peers.put_nowait(peer)
        await done.wait()

    async with raw_server(play) as uri:
        try:
            ws = await wsfast.connect(uri, **options)
            yield await peers.get(), ws
            ws.terminate()
            await ws.wait_closed()
        finally:
            done.set()


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


# --- Frames -----------------------------------------------------------------------------------


async def test_fragments_are_gathered_in_both_directions(side):
    extension = Plugin("x", rsv2=True)
    async with against(side, extension) as (peer, ws):
        peer.send(BINARY, b"o", fin=False, rsv=2)
        peer.send(PING, b"")
        peer.send(CONT, b"", fin=False)
        peer.send(CONT, b"ne")
        assert await soon(ws.recv()) == b"onex"
        assert (await peer.frame()).opcode == PONG
        ws.send(b"t", fin=False)
        ws.send(b"w", fin=False)
        await ws.send(b"o")
        assert await peer.frame() == (BINARY, b"twox", True, side == "client")
        ws.send([b"th", b"re", b"e"])
        assert (await peer.frame()).payload == b"threex"

        async def parts():
            yield "fo"
            yield "ur"

        await ws.send(parts())
        frame = await peer.frame()
        assert (frame.opcode, frame.payload, frame.fin) == (TEXT, b"fourx", True)
        assert ws.stats.messages_sent == 3


async def test_only_the_first_frame_has_the_bits(side):
    def mark(message):
        message.rsv1 = message.rsv3 = True
        message.opcode = 2
        return message

    extension = Plugin("x", rsv1=True, rsv3=True, process_outgoing_message=mark)
    async with against(side, extension, fragment_size=2) as (peer, ws):
        await ws.send("abcde")
        frames = [await peer.frame() for _ in range(3)]
        assert [frame.opcode for frame in frames] == [BINARY | RSV[4] | RSV[1], CONT, CONT]
        assert b"".join(frame.payload for frame in frames) == b"abcde"
        assert [frame.fin for frame in frames] == [False, False, True]


async def test_recv_streaming_gives_a_message_as_one_part(side):
    async with against(side, Plugin("x")) as (peer, ws):
        for _ in range(2):
            peer.send(TEXT, "a", fin=False)
            peer.send(CONT, "b")
            assert [part async for part in ws.recv_streaming()] == ["abx"]
        peer.send(BINARY, b"c")
        assert await soon(ws.recv()) == b"cx"


@pytest.mark.parametrize(
    ("opcode", "rsv", "fin"),
    [(TEXT, 4, True), (TEXT, 1, True), (TEXT, 7, True), (PING, 2, True), (CLOSE, 2, True)],
)
async def test_bits_that_nobody_uses_are_refused(side, opcode, rsv, fin):
    async with against(side, Plugin("x", rsv2=True)) as (peer, ws):
        peer.send(opcode, b"", rsv=rsv, fin=fin)
        assert (await peer.closed())[0] == 1002
        with pytest.raises(wsfast.ConnectionClosedError):
            await ws.recv()


async def test_a_bit_on_a_continuation_is_refused(side):
    async with against(side, Plugin("x", rsv2=True)) as (peer, ws):
        peer.send(TEXT, b"a", rsv=2, fin=False)
        peer.send(CONT, b"b", rsv=2)
        assert (await peer.closed())[0] == 1002


async def test_the_session_sees_the_bits_and_the_type(side):
    seen = []

    def look(message):
        seen.append((message.rsv1, message.rsv2, message.rsv3, message.opcode, message.data))
        return Message(opcode=TEXT, data=b"seen")

    extension = Plugin("x", rsv1=True, rsv3=True, process_incoming_message=look)
    async with against(side, extension) as (peer, ws):
        peer.send(BINARY, b"\xff", rsv=5)
        peer.send(TEXT, b"\xff")
        assert await soon(take(ws, 2)) == ["seen", "seen"]
        assert seen == [(True, False, True, 2, b"\xff"), (False, False, False, 1, b"\xff")]


# --- Limits -----------------------------------------------------------------------------------


async def test_what_sessions_make_is_limited_as_well(side):
    def grow(message):
        message.data *= 100
        return message

    async with against(side, Plugin("x", process_incoming_message=grow), max_size=500) as (
        peer,
        ws,
    ):
        peer.send(BINARY, b"12345")
        assert len(await soon(ws.recv())) == 500
        peer.send(BINARY, b"123456")
        code, reason = await peer.closed()
        assert (code, reason) == (1009, "Message size of 600 exceeds maximum of 500")


async def test_what_comes_is_limited_before_the_sessions_get_it(side):
    seen = []
    extension = Plugin("x", process_incoming_message=lambda message: seen.append(message))
    async with against(side, extension, max_size=5) as (peer, _):
        peer.send(BINARY, b"123456")
        assert (await peer.closed())[0] == 1009
        assert seen == []


async def test_text_is_checked_behind_the_sessions(side):
    def decode(message):
        message.data = bytes.fromhex(message.data.decode())
        return message

    async with against(side, Plugin("x", process_incoming_message=decode)) as (peer, ws):
        peer.send(TEXT, "e282ac")
        assert await soon(ws.recv()) == "€"
        peer.send(BINARY, b"ff")
        assert await soon(ws.recv()) == b"\xff"
        peer.send(TEXT, "ff")
        assert (await peer.closed())[0] == 1007


# --- Beside permessage-deflate ----------------------------------------------------------------


async def test_messages_are_tagged_and_then_compressed(side):
    async with against(
        side, Plugin("tag", rsv3=True), PerMessageDeflate(), offer="tag, permessage-deflate"
    ) as (peer, ws):
        assert ws.extensions == ("tag", "permessage-deflate")
        peer.send(TEXT, HELLO, rsv=4)
        assert await soon(ws.recv()) == "Hellot"
        await ws.send("Hello")
        frame = await peer.frame()
        assert frame.opcode == TEXT | RSV[4]
        inflated = zlib.decompressobj(-15).decompress(frame.payload + TAIL)
        assert inflated == b"Hellot"


async def test_compress_false_holds_beside_other_extensions(side):
    async with against(
        side, Plugin("tag", rsv3=True), PerMessageDeflate(), offer="tag, permessage-deflate"
    ) as (peer, ws):
        await ws.send("Hello", compress=False)
        frame = await peer.frame()
        assert (frame.opcode, frame.payload) == (TEXT, b"Hellot")
        ws.send("Hel", fin=False, compress=False)
        ws.send("lo")
        assert (await peer.frame()).payload == b"Hellot"
        ws.send("Hel", fin=False)
        ws.send("lo", compress=False)
        assert (await peer.frame()).opcode == TEXT | RSV[4]


@pytest.mark.parametrize("size", [2**20 + 1, 3 * 2**20])
@pytest.mark.parametrize("limit", [4 * 2**20, None])
async def test_the_limit_of_the_connection_holds_beside_other_extensions(size, limit):
    options = {"extensions": [Plugin("tag", rsv3=True)], "compression": True, "max_size": limit}
    async with pair(options, **options) as (ws, other):
        await ws.send(bytes(size))
        assert await soon(other.recv()) == bytes(size) + b"tt"


async def test_a_lower_limit_holds_beside_other_extensions():
    options = {"extensions": [Plugin("tag", rsv3=True)], "compression": True, "max_size": 1000}
    async with pair(options, **options) as (ws, other):
        ws.send(bytes(2000))
        with pytest.raises(wsfast.ConnectionClosedError) as caught:
            await soon(other.recv())
        assert caught.value.sent.code == 1009


@pytest.mark.parametrize("first", ["signature", "deflate"])
async def test_signed_and_compressed_messages_between_both_ends(first):
    signature = runpy.run_path(str(EXAMPLES / "signature.py"))["Signature"](KEY)
    extensions = [signature, PerMessageDeflate()]
    if first == "deflate":
        extensions.reverse()
    options = {"extensions": extensions, "fragment_size": 1000, "max_size": None}
    async with pair(options, **options) as (ws, other):
        assert len(ws.extensions) == 2
        assert ws.extensions == other.extensions
        for data in "text", b"\x00\xff", "", b"many words " * 10_000, "é" * 5000:
            for sender, receiver in (ws, other), (other, ws):
                await sender.send(data)
                assert await soon(receiver.recv()) == data
        await ws.close()
        assert ws.was_clean


async def test_a_message_that_was_changed_on_its_way_is_refused():
    signature = runpy.run_path(str(EXAMPLES / "signature.py"))["Signature"](KEY)
    async with against("server", signature, offer="message-signature; nonce=" + "n" * 33) as (
        peer,
        ws,
    ):
        peer.send(TEXT, b"x" * 16 + b"forged", rsv=1)
        assert await peer.closed() == (1008, "message-signature: message 1 is not from the peer")
        with pytest.raises(wsfast.ConnectionClosedError):
            await ws.recv()


async def test_the_example_program_runs():
    program = await asyncio.create_subprocess_exec(
        *(sys.executable, "signed_echo.py"),
        cwd=EXAMPLES,
        env={"PYTHONPATH": str(EXAMPLES.parent)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, problems = await soon(program.communicate())
    assert problems == b""
    assert out.decode().splitlines() == [
        "message-signature, permessage-deflate",
        "600 characters came back",
    ]


# --- Without I/O ------------------------------------------------------------------------------


def carry(sender, receiver):
    """Let a protocol read what another wrote; the events."""
    for data in sender.data_to_send():
        if data:
            receiver.receive_data(data)
        else:
            receiver.receive_eof()
    return receiver.events_received()


def opened(*extensions, **options):
    """A client and a server without I/O, which have agreed on extensions."""
    client = ClientProtocol("ws://localhost", extensions=extensions, **options)
    server = ServerProtocol(extensions=extensions, **options)
    client.send_request(client.connect())
    (request,) = carry(client, server)
    server.send_response(server.accept(request))
    carry(server, client)
    return client, server


def test_protocols_without_io_need_no_loop_for_sessions_that_answer_at_once():
    extension = Plugin("tag", rsv3=True)
    client, server = opened(extension, compression=True)
    assert client.extensions == server.extensions == ("tag", "permessage-deflate")
    for sender, receiver in (client, server), (server, client):
        sender.send_text("Hello")
        sender.send_binary(b"a", fin=False)
        sender.send_binary(b"b")
        events = carry(sender, receiver)
        assert [event.data for event in events] == ["Hellott", b"abtt"]
    client.close(1000, "bye")
    carry(client, server)
    carry(server, client)
    assert client.close_received.reason == "bye"
    server.receive_eof()
    client.receive_eof()
    assert extension.closed == [1, 1]


def test_protocols_without_io_wait_for_callbacks():
    out, into = Desk("callback", b"o"), Desk("callback", b"i")
    extension = Plugin(
        "x", process_outgoing_message=out.process, process_incoming_message=into.process
    )
    client, server = opened(extension)
    client.send_text("1")
    client.send_text("2")
    client.close(1000)
    assert client.data_to_send() == []
    out.answer(b"2")
    out.answer(b"1")
    assert carry(client, server) == []
    assert into.seen == [b"1o", b"2o"]
    assert server.close_received is None
    into.answer(b"2o")
    assert server.events_received() == []
    into.answer(b"1o")
    events = server.events_received()
    assert [event.data for event in events[:2]] == ["1oi", "2oi"]
    assert server.close_received.code == 1000
    carry(server, client)
    assert client.close_received.code == 1000


def test_protocols_without_io_tell_an_error_behind_what_was_before():
    into = Desk("callback", b"i")
    client, server = opened(Plugin("x", process_incoming_message=into.process))
    for number in b"1", b"2":
        client.send_binary(number)
    carry(client, server)
    into.answer(b"2x", ValueError("no"))
    assert server.events_received() == []
    into.answer(b"1x")
    (event,) = server.events_received()
    assert event.data == b"1xi"
    assert str(server.error) == "x: no"
    carry(server, client)
    assert client.close_received.code == 1010
