"""The option ``codec``, and `HeaderJSON`: a header, a line feed, and JSON."""

import array
import asyncio
import contextlib
import itertools
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from peers import (
    BINARY,
    CLOSE,
    PATIENCE,
    TEXT,
    Accepted,
    against_client,
    client_of,
    close_payload,
    echo,
    frame,
    pair,
    parse_close,
    until,
    uri_of,
)

import wsfast
from wsfast import HeaderJSON, HeaderMessage
from wsfast.codec import decoding_class

CODEC = HeaderJSON()


def serve(handler=echo, **options):
    return wsfast.serve(handler, "127.0.0.1", 0, codec=CODEC, **options)


# --- HeaderJSON -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (
            ("price", {"EUR": 5, "list": [1, 2.5, None, True]}),
            'price\n{"EUR":5,"list":[1,2.5,null,true]}',
        ),
        (("", None), "\nnull"),
        (("\xfc\r", "\u20ac\n"), '\xfc\r\n"\u20ac\\n"'),
        (HeaderMessage("a b", []), "a b\n[]"),
    ],
)
def test_a_message_is_a_header_a_line_feed_and_json(message, text):
    """M7: ``Header\\n`` and compact JSON, in UTF-8 as it is."""
    assert CODEC.encode(message) == text
    decoded = CODEC.decode(text, False)
    assert type(decoded) is HeaderMessage
    assert decoded == message
    assert (decoded.header, decoded.payload) == message


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(st.text().filter(lambda text: "\n" not in text), json_values)
def test_whatever_is_encoded_is_decoded_to_the_same(header, payload):
    """M7"""
    assert CODEC.decode(CODEC.encode((header, payload)), False) == (header, payload)


@given(st.text() | json_values.map(lambda value: f"h\n{json.dumps(value)}"))
def test_whatever_is_decoded_nothing_but_a_protocol_error_is_raised(text):
    """M7"""
    message = None
    with contextlib.suppress(wsfast.ProtocolError):
        message = CODEC.decode(text, False)
    if message is not None:
        assert CODEC.decode(CODEC.encode(message), False) == message


BAD = [
    ("no line feed", "there is no line feed behind the header"),
    ("", "there is no line feed behind the header"),
    ("h\n", "the payload is not JSON: Expecting value: line 1 column 1 (char 0)"),
    ("h\n{} {}", "the payload is not JSON: Extra data: line 1 column 4 (char 3)"),
    ("h\n{'a': 1}", "the payload is not JSON: Expecting property name"),
    ("h\n[1,]", "the payload is not JSON: "),
    ("h\n01", "the payload is not JSON: Extra data"),
    ("h\n\ufeff{}", "the payload is not JSON: Expecting value"),
    ("h\nNaN", "the payload is not JSON: NaN is not a number"),
    ("h\n[-Infinity]", "the payload is not JSON: -Infinity is not a number"),
    ("h\n1e999", "the payload is not JSON: a number is out of range"),
    ("h\n" + "9" * 5000, "the payload is not JSON: "),
    ("h\n" + "[" * 200_000, "the payload is nested too deeply"),
]


@pytest.mark.parametrize(("text", "problem"), BAD, ids=range(len(BAD)))
def test_what_is_not_a_message_is_an_error_with_1007(text, problem):
    """M7"""
    with pytest.raises(wsfast.ProtocolError) as caught:
        CODEC.decode(text, False)
    assert str(caught.value).startswith(f"Invalid message: {problem}")
    assert (caught.value.code, caught.value.close_code) == ("WS_ERR_INVALID_MESSAGE", 1007)


def test_a_binary_message_is_an_error_with_1003():
    """M7"""
    with pytest.raises(wsfast.ProtocolError, match="Invalid message: it must be text") as caught:
        CODEC.decode(b"h\n{}", True)
    assert caught.value.close_code == 1003


@pytest.mark.parametrize("name", ["a", "a\nb"])
def test_repeated_names_are_as_json_has_them(name):
    """M7: the last counts."""
    key = json.dumps(name)
    assert CODEC.decode(f"h\n{{{key}:1,{key}:2}}", False).payload == {name: 2}


@pytest.mark.parametrize(
    ("message", "kind", "text"),
    [
        (("a\nb", {}), ValueError, "a header cannot have a line feed"),
        (("h", math.nan), ValueError, "Out of range float values"),
        (("h", [math.inf]), ValueError, "Out of range float values"),
        (("h", object()), TypeError, "not JSON serializable"),
        ((5, {}), TypeError, "a header must be a str, not int"),
        ((b"h", {}), TypeError, "a header must be a str, not bytes"),
        ("ab", TypeError, "a message must be a pair of header and payload, not str"),
        (["h", {}], TypeError, "a message must be a pair of header and payload, not list"),
        (("h",), TypeError, "a message must be a pair of header and payload, not tuple"),
        ({"h": 1}, TypeError, "a message must be a pair of header and payload, not dict"),
    ],
)
async def test_what_cannot_be_encoded_is_told_at_the_send(message, kind, text):
    """M7"""
    async with pair(codec=CODEC) as (ws, other):
        with pytest.raises(kind, match=text):
            ws.send(message)
        await ws.send(("h", 1))
        assert await other.recv() == "h\n1"


async def test_half_of_a_surrogate_pair_is_told_at_the_send():
    """M7: JSON has it, UTF-8 has not."""
    async with pair(codec=CODEC) as (ws, _):
        with pytest.raises(UnicodeEncodeError):
            ws.send(("h", "\ud800"))


# --- Connections ------------------------------------------------------------------------------


async def test_handlers_and_clients_deal_in_messages():
    """M7: from end to end, by every way of receiving."""
    async with serve() as server, wsfast.connect(uri_of(server), codec=CODEC) as ws:
        await ws.send(("a", {"n": 1}))
        assert await ws.recv() == HeaderMessage("a", {"n": 1})
        await ws.send(HeaderMessage("b", []))
        message = await anext(ws)
        assert (message.header, message.payload) == ("b", [])
        for number in range(3):
            ws.send(("c", number))
        batch = []
        while len(batch) < 3:
            batch += await ws.recv_batch()
        assert batch == [("c", 0), ("c", 1), ("c", 2)]
        await ws.send(("d", "\u20ac"))
        async for batch in ws.batches():
            assert batch == [("d", "\u20ac")]
            break


async def test_iteration_ends_with_the_connection():
    """M7"""

    async def handler(ws):
        await ws.send(("only", None))

    async with serve(handler) as server, wsfast.connect(uri_of(server), codec=CODEC) as ws:
        assert [message async for message in ws] == [("only", None)]


async def test_listeners_get_messages():
    """M7: one listener, several, and none."""
    async with serve() as server, wsfast.connect(uri_of(server), codec=CODEC) as ws:
        first, second = asyncio.Queue(), asyncio.Queue()
        ws.on("message", lambda message, is_binary: first.put_nowait((message, is_binary)))
        await ws.send(("a", 1))
        async with asyncio.timeout(PATIENCE):
            assert await first.get() == (HeaderMessage("a", 1), False)
            ws.on("message", lambda message, is_binary: second.put_nowait(message))
            await ws.send(("b", 2))
            assert await second.get() == ("b", 2)
            assert await first.get() == (("b", 2), False)
            ws.off("message")
            await ws.send(("c", 3))
            assert await ws.recv() == ("c", 3)
        assert first.empty()
        assert second.empty()


async def test_servers_of_the_event_style_have_codecs_too():
    """M7"""
    server = wsfast.WebSocketServer("127.0.0.1", 0, codec=CODEC)

    @server.on("connection")
    def connection(ws, request):
        @ws.on("message")
        def message(data, is_binary):
            ws.send((data.header.upper(), data.payload))

    async with server, wsfast.connect(uri_of(server), codec=CODEC) as ws:
        await ws.send(("hello", [1]))
        assert await ws.recv() == ("HELLO", [1])


async def test_a_websocket_that_connects_by_itself_has_a_codec_too():
    """M7"""
    received = asyncio.Queue()
    async with serve() as server, asyncio.timeout(PATIENCE):
        ws = wsfast.WebSocket(uri_of(server), codec=CODEC)
        ws.on("open", lambda: ws.send(("a", 1)))
        ws.on("message", lambda message, is_binary: received.put_nowait(message))
        assert await received.get() == HeaderMessage("a", 1)
        await ws.close()


async def test_a_class_of_the_user_may_have_a_codec():
    """M7"""

    class Named(wsfast.WebSocket):
        name = "own"

    async with (
        serve() as server,
        wsfast.connect(uri_of(server), codec=CODEC, websocket_class=Named) as ws,
    ):
        assert isinstance(ws, Named)
        assert ws.name == "own"
        await ws.send(("a", 1))
        assert await ws.recv() == ("a", 1)


async def test_a_connection_with_a_codec_is_what_it_was():
    """M7: the class is a subclass, one for each; without a codec there is nothing of it."""
    async with serve() as server, wsfast.connect(uri_of(server)) as ws:
        assert type(ws) is wsfast.WebSocket
        (other,) = server.connections
        assert isinstance(other, wsfast.WebSocket)
        assert type(other) is decoding_class(wsfast.WebSocket)
        assert repr(other).startswith("<WebSocket server OPEN")


async def test_other_threads_may_send_and_receive():
    """M7: they act when the loop awaits them; the message is encoded at the call, once."""
    loop = asyncio.get_running_loop()
    async with serve() as server, wsfast.connect(uri_of(server), codec=CODEC) as ws:

        def talk():
            with pytest.raises(ValueError, match="line feed"):
                ws.send(("a\n", 1))
            asyncio.run_coroutine_threadsafe(ws.send(("a", 1)), loop).result(PATIENCE)
            return asyncio.run_coroutine_threadsafe(ws.recv(), loop).result(PATIENCE)

        assert await asyncio.to_thread(talk) == ("a", 1)


async def test_a_receive_that_is_cancelled_loses_nothing():
    """M7"""
    async with pair({"codec": CODEC}) as (ws, other):
        receiving = asyncio.create_task(other.recv())
        await asyncio.sleep(0)
        receiving.cancel()
        await asyncio.wait([receiving])
        await ws.send("a\n1")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(other.wait_closed(), 0)
        assert await asyncio.wait_for(other.recv(), PATIENCE) == ("a", 1)


async def test_how_to_decode_is_for_the_codec_to_say():
    """M7"""
    async with pair(codec=CODEC) as (ws, _):
        for function in ws.recv, ws.recv_batch:
            with pytest.raises(TypeError, match="takes no decode"):
                function(decode=False)


@pytest.mark.parametrize("slow", ["drop", "wait"])
@pytest.mark.parametrize("kind", [str, bytes, lambda data: array.array("b", data.encode())])
async def test_what_is_broadcast_is_encoded_already(slow, kind):
    """M7: the same for each, even to one that is in the middle of a message."""

    class Raw:
        encode = staticmethod(str)

        @staticmethod
        def decode(data, is_binary):
            return data, is_binary

    async with pair({"codec": Raw(), "compression": True}, codec=Raw()) as (ws, other):
        large = "x" * 500_000  # which is compressed in a thread
        other.send(large)
        data = "text" if kind is str else kind("text") if kind is not bytes else b"text"
        await wsfast.broadcast([other], data, slow=slow)
        assert await ws.recv() == (large, False)
        assert await ws.recv() == (("text", False) if kind is str else (b"text", True))


# --- What cannot be decoded -------------------------------------------------------------------


async def receive_by_recv(ws, received):
    with pytest.raises(wsfast.ConnectionClosedError) as caught:
        while True:
            received.append(await ws.recv())
    return caught.value.__cause__


async def receive_by_iteration(ws, received):
    with pytest.raises(wsfast.ConnectionClosedError) as caught:
        async for message in ws:
            received.append(message)
    return caught.value.__cause__


async def receive_by_batch(ws, received):
    with pytest.raises(wsfast.ConnectionClosedError) as caught:
        while True:
            received += await ws.recv_batch()
    return caught.value.__cause__


async def receive_by_listener(ws, received):
    errors = []
    ws.on("error", errors.append)
    ws.on("message", lambda message, is_binary: received.append(message))
    await ws.wait_closed()
    (error,) = errors
    return error


ways = pytest.mark.parametrize(
    "receive", [receive_by_recv, receive_by_iteration, receive_by_batch, receive_by_listener]
)


@ways
@pytest.mark.parametrize(
    ("bad", "code", "reason"),
    [
        (frame(TEXT, b"h{}", mask=bytes(4)), 1007, "there is no line feed behind the header"),
        (frame(TEXT, b"h\n{", mask=bytes(4)), 1007, "the payload is not JSON: Expecting property"),
        (frame(BINARY, b"h\n{}", mask=bytes(4)), 1003, "it must be text"),
    ],
)
async def test_what_is_not_a_message_fails_the_connection(receive, bad, code, reason):
    """M7: with 1007 or 1003, behind what came before it; what comes behind it is dropped."""
    received = []
    async with against_client(codec=CODEC) as (peer, ws):
        good = frame(TEXT, b"a\n1", mask=bytes(4)) + frame(TEXT, b"b\n2", mask=bytes(4))
        peer.write(good + bad + frame(TEXT, b"c\n3", mask=bytes(4)))
        async with asyncio.timeout(PATIENCE):
            receiving = asyncio.create_task(receive(ws, received))
            sent, text = await peer.closed()
            await peer.wait_closed()
            error = await receiving
    assert received == [("a", 1), ("b", 2)]
    assert (sent, text[:80]) == (code, str(error)[:80])
    assert str(error).startswith(f"Invalid message: {reason}")
    assert (error.code, error.close_code) == ("WS_ERR_INVALID_MESSAGE", code)
    assert ws.close_code == 1006


@ways
async def test_every_receive_behind_a_bad_message_raises(receive):
    """M7"""
    async with against_client(codec=CODEC) as (peer, ws):
        peer.send(TEXT, "bad")
        async with asyncio.timeout(PATIENCE):
            receiving = asyncio.create_task(receive(ws, []))
            await peer.closed()
            await peer.wait_closed()
            await receiving
        ws.off("message")
        for _ in range(2):
            with pytest.raises(wsfast.ConnectionClosedError):
                await ws.recv()


async def test_replies_to_the_messages_before_a_bad_one_leave_first():
    """M7: even when they are received as one batch (RFC 6455 section 7.1.7)."""

    async def handler(ws):
        async for batch in ws.batches():
            for message in batch:
                await ws.send(message)

    async with serve(handler) as server, client_of(server) as peer:
        peer.write(frame(TEXT, b"a\n1", mask=bytes(4)) + frame(TEXT, b"bad", mask=bytes(4)))
        assert (await peer.frame()).payload == b"a\n1"
        assert (await peer.closed())[0] == 1007


async def test_a_bad_message_that_is_received_after_the_end_is_told_all_the_same():
    """M7"""
    async with against_client(codec=CODEC) as (peer, ws):
        peer.send(TEXT, "bad")
        peer.close(1000)
        assert await peer.closed() == (1000, "")
        await peer.wait_closed()
        await asyncio.wait_for(ws.wait_closed(), PATIENCE)
        with pytest.raises(wsfast.ProtocolError, match="no line feed"):
            await ws.recv()


async def test_a_listener_that_raises_fails_nothing():
    """M7: a ValueError of the program is not one of the codec."""
    failures = []
    loop = asyncio.get_running_loop()
    async with serve() as server, wsfast.connect(uri_of(server), codec=CODEC) as ws:
        handler = loop.get_exception_handler()
        loop.set_exception_handler(lambda loop, context: failures.append(context["exception"]))
        try:

            @ws.on("message")
            def message(data, is_binary):
                raise ValueError("of the program")

            await ws.send(("a", 1))
            async with asyncio.timeout(PATIENCE):
                while not failures:
                    await asyncio.sleep(0)
        finally:
            loop.set_exception_handler(handler)
        assert ws.state is wsfast.State.OPEN
        assert str(failures[0]) == "of the program"


# --- Codecs of users --------------------------------------------------------------------------


class Numbers:
    """Binary messages, each a number."""

    def encode(self, message):
        return message.to_bytes(4, "big") if isinstance(message, int) else message

    def decode(self, data, is_binary):
        if not is_binary:
            raise wsfast.ProtocolError("numbers are binary", "MY_CODE", 4003)
        if len(data) != 4:
            raise ValueError("a number has 4 bytes")
        return int.from_bytes(data, "big")


async def test_a_codec_may_be_anything_with_its_two_methods():
    """M7"""
    async with pair({"codec": Numbers()}) as (ws, other):
        other.send(258)
        assert await ws.recv() == bytes.fromhex("00000102")
        await ws.send(bytes.fromhex("00000103"))
        assert await other.recv() == 259
        with pytest.raises(TypeError, match="a codec must return str or bytes, not list"):
            other.send([1])


@pytest.mark.parametrize(
    ("data", "code", "reason", "kind"),
    [
        (b"123", 1007, "Invalid message: a number has 4 bytes", "WS_ERR_INVALID_MESSAGE"),
        ("text", 4003, "numbers are binary", "MY_CODE"),
    ],
)
async def test_a_codec_says_what_is_wrong_by_its_exceptions(data, code, reason, kind):
    """M7"""
    async with against_client(codec=Numbers()) as (peer, ws):
        peer.send(TEXT if isinstance(data, str) else BINARY, data)
        receiving = asyncio.create_task(ws.recv())
        assert parse_close((await peer.frame()).payload) == (code, reason)
        peer.write(frame(CLOSE, close_payload(code), mask=bytes(4)))
        await peer.wait_closed()
        with pytest.raises(wsfast.ConnectionClosedError) as caught:
            await receiving
        assert caught.value.__cause__.code == kind


@pytest.mark.parametrize("value", [HeaderJSON, "json", json, print, object()])
@pytest.mark.parametrize("make", [wsfast.WebSocketServer, wsfast.connect])
def test_a_codec_has_two_methods(make, value):
    """M7"""
    arguments = ("localhost", 80) if make is wsfast.WebSocketServer else ("ws://localhost/",)
    with pytest.raises(TypeError, match="codec must have the methods encode and decode"):
        make(*arguments, codec=value)


def test_messages_without_a_connection_have_no_codec():
    """M7"""
    from wsfast.protocol import ServerProtocol

    with pytest.raises(TypeError, match="codec is an option of connections"):
        ServerProtocol(codec=CODEC)


async def test_a_websocket_that_connects_again_keeps_its_codec():
    """M7, M3: also behind a reconnection, and for what is sent while there is no connection."""
    handler = Accepted()
    received = asyncio.Queue()
    opened = asyncio.Queue()
    async with serve(handler) as server, asyncio.timeout(PATIENCE):
        ws = wsfast.WebSocket(
            uri_of(server),
            codec=CODEC,
            reconnect=True,
            reconnect_delays=lambda: itertools.repeat(0),
            resend_limit=1000,
        )
        ws.on("open", lambda: opened.put_nowait(None))
        ws.on("message", lambda message, is_binary: received.put_nowait(message))
        await opened.get()
        first = await handler.get()
        first.send(("a", 1))
        assert await received.get() == HeaderMessage("a", 1)
        first.terminate()
        await until(lambda: ws.state is wsfast.State.CONNECTING)
        ws.send(("b", 2))
        second = await handler.get()
        assert await second.recv() == ("b", 2)
        second.send(("c", 3))
        assert await received.get() == HeaderMessage("c", 3)
        await ws.close()


@pytest.mark.parametrize("option", ["text_type", "binary_type"])
def test_a_codec_decides_what_messages_are(option):
    """M7: it is given str and bytes."""
    value = {"text_type": "bytes", "binary_type": "bytearray"}[option]
    with pytest.raises(ValueError, match=rf"^{option} is of no use with codec"):
        wsfast.Options(codec=CODEC, **{option: value})
