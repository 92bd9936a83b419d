"""What extensions get and give over real connections: frames, limits, beside permessage-deflate."""

import asyncio
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
    PING,
    PONG,
    TEXT,
    pair,
    until,
)
from plugged import Desk, Plugin, against, soon
from twins import RecordingDriver

import wsfast
from wsfast.extensions import Message, PerMessageDeflate
from wsfast.protocol import ClientProtocol, ServerProtocol

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
KEY = b"0123456789abcdef"
STYLES = ["callback", "future", "coroutine"]
RSV = {4: 0x40, 2: 0x20, 1: 0x10}  # as `Peer.frame` has them, beside the opcode


@pytest.fixture(params=["server", "client"])
def side(request):
    return request.param


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


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"rsv1": True}, "a message has a reserved bit that no extension uses"),
        ({"opcode": 9}, "the opcode of a message is 1 or 2, not 9"),
        ({"opcode": None}, "the opcode of a message is 1 or 2, not None"),
    ],
)
async def test_what_a_session_makes_must_be_a_message(side, changes, words):
    def spoil(message):
        for name, value in changes.items():
            setattr(message, name, value)
        return message

    extension = Plugin("x", rsv2=True, process_outgoing_message=spoil)
    async with against(side, extension) as (peer, ws):
        with pytest.raises(wsfast.ConnectionClosedError):
            await ws.send("a")
        assert await peer.closed() == (1010, words)


async def test_an_incoming_message_stays_one(side):
    def spoil(message):
        message.opcode = 8
        return message

    async with against(side, Plugin("x", process_incoming_message=spoil)) as (peer, ws):
        peer.send(TEXT, b"a")
        assert await peer.closed() == (1010, "the opcode of a message is 1 or 2, not 8")
        with pytest.raises(wsfast.ConnectionClosedError):
            await ws.recv()


async def test_the_session_sees_the_bits_and_the_type(side):
    seen = []

    def look(message):
        seen.append((message.rsv1, message.rsv2, message.rsv3, message.opcode, message.data))
        return Message(opcode=TEXT, data=b"seen")

    extension = Plugin("x", rsv1=True, rsv3=True, process_incoming_message=look)
    async with against(side, extension) as (peer, ws):
        peer.send(BINARY, b"\xff", rsv=5)
        peer.send(TEXT, b"\xff")
        assert [await soon(ws.recv()), await soon(ws.recv())] == ["seen", "seen"]
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
        # Extensions may make messages smaller, by a bit.
        peer.send(BINARY, bytes(5 + 64 + 1))
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


async def test_compress_false_holds_behind_a_session_that_makes_messages_anew(side):
    class Anew:
        def __init__(self, message):
            self.rsv1 = self.rsv2 = self.rsv3 = False
            self.opcode = message.opcode
            self.data = message.data

    extension = Plugin("x", process_outgoing_message=Anew)
    async with against(side, extension, PerMessageDeflate(), offer="x, permessage-deflate") as (
        peer,
        ws,
    ):
        for compress in (True, False, True):
            await ws.send("Hello", compress=compress)
            assert (await peer.frame()).opcode == (TEXT | RSV[4] if compress else TEXT)


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


# --- Types and lives --------------------------------------------------------------------------


@pytest.mark.parametrize("text_type", ["str", "bytes"])
async def test_what_comes_out_is_of_the_type_that_is_wanted(side, text_type):
    options = {"text_type": text_type, "binary_type": "fragments"}
    async with against(side, Plugin("x"), **options) as (peer, ws):
        peer.send(TEXT, "é", fin=False)
        peer.send(CONT, "!")
        peer.send(BINARY, b"1", fin=False)
        peer.send(CONT, b"2")
        expected = "é!x" if text_type == "str" else "é!x".encode()
        assert await soon(ws.recv()) == expected
        assert await soon(ws.recv()) == [b"12x"]
        assert (ws.stats.biggest_received, ws.stats.messages_received) == (4, 2)


async def test_text_that_comes_out_need_not_be_valid(side):
    async with against(side, Plugin("x"), skip_utf8_validation=True) as (peer, ws):
        peer.send(TEXT, b"a\xff")
        assert await soon(ws.recv()) == "a\ufffdx"
        peer.send(TEXT, b"a\xff")
        assert await soon(ws.recv(decode=False)) == b"a\xffx"


@pytest.mark.parametrize("style", STYLES)
async def test_what_comes_out_too_late_is_not_sent_in_another_life(style):
    desk = Desk(style, b"")
    extension = Plugin("x", process_outgoing_message=desk.process)
    async with against("client", extension) as (_, ws):
        ws.send(b"late")
        await until(lambda: desk.seen)
        options, release, request = ws.options, ws._release, ws.request
        ws.terminate()
        await ws.wait_closed()
        driver = RecordingDriver()
        loop = asyncio.get_running_loop()
        ws.begin(
            options=options,
            driver=driver,
            loop=loop,
            client=True,
            request=request,
            release=release,
        )
        ws.open()
        if desk.open:
            desk.answer(b"late")
        for _ in range(5):
            await asyncio.sleep(0)
        await ws.send(b"now")
        assert [item.payload for item in driver.frames] == [b"now"]
        ws.lost(None)
