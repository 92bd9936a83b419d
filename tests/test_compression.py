"""permessage-deflate over real connections: who agrees on what, and what it takes."""

import contextlib
import gc
import time
import zlib

import pytest
from compressing import OFFER, RSV1, Gate, compression, deflating_client, large, noise, soon
from peers import (
    BINARY,
    CLOSE,
    TEXT,
    Accepted,
    close_payload,
    exchange,
    hold,
    pair,
    raw_server,
    request,
    until,
    uri_of,
)
from plugged import Plugin

import wsfast
from wsfast.exceptions import NegotiationError, UnexpectedExtension
from wsfast.extensions import PerMessageDeflate
from wsfast.offload import LARGE
from wsfast.protocol import ClientProtocol, ServerProtocol

# --- What is agreed ---------------------------------------------------------------------------


@pytest.mark.parametrize("server", [True, "deflate", PerMessageDeflate()], ids=repr)
@pytest.mark.parametrize("client", [True, "deflate", PerMessageDeflate(level=1)], ids=repr)
async def test_both_ends_compress_if_both_want_it(server, client):
    """C18, PD1."""
    async with pair({"compression": server}, compression=client) as (ws, other):
        assert ws.extensions == other.extensions == ("permessage-deflate",)
        header = ws.response.headers["Sec-WebSocket-Extensions"]
        assert header.split(";")[0] == "permessage-deflate"
        assert other.response.headers["Sec-WebSocket-Extensions"] == header
        assert other.request.headers["Sec-WebSocket-Extensions"].startswith(OFFER)
        for sender, receiver in (ws, other), (other, ws):
            await sender.send("Hello " * 1000)
            assert await soon(receiver.recv()) == "Hello " * 1000
            assert receiver.stats.wire_bytes_received < 1000 < receiver.stats.bytes_received


@pytest.mark.parametrize(
    ("server", "client"),
    [(None, True), (False, "deflate"), (True, None), (PerMessageDeflate(), False), (None, None)],
)
async def test_neither_end_compresses_if_one_does_not_want_it(server, client):
    """C18, SV13, PD1."""
    async with pair({"compression": server}, compression=client) as (ws, other):
        assert ws.extensions == other.extensions == ()
        assert "Sec-WebSocket-Extensions" not in ws.response.headers
        assert other.response == ws.response or "Sec-WebSocket-Extensions" not in str(
            other.response.headers
        )
        await ws.send("Hello " * 1000)
        assert await soon(other.recv()) == "Hello " * 1000
        assert other.stats.wire_bytes_received > 6000


async def test_a_server_that_is_made_by_its_class_compresses_too():
    handler = Accepted()
    server = wsfast.WebSocketServer("127.0.0.1", 0, compression="deflate")
    server.on("connection", lambda ws, request: handler.connections.put_nowait(ws))
    async with server, wsfast.connect(uri_of(server)) as ws:
        assert ws.extensions == (await handler.get()).extensions == ("permessage-deflate",)


@pytest.mark.parametrize(
    "offer",
    [
        "permessage-deflate; server_max_window_bits=7",
        "permessage-deflate; server_max_window_bits=16",
        "permessage-deflate; server_max_window_bits=08",
        "permessage-deflate; server_max_window_bits",
        "permessage-deflate; client_max_window_bits=abc",
        "permessage-deflate; server_no_context_takeover=1",
        "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
        "permessage-deflate; unknown",
        "x-webkit-deflate-frame",
        "permessage-bzip2",
    ],
)
async def test_an_offer_that_is_not_acceptable_is_declined(offer):
    async with deflating_client(offer) as (peer, reader, ws):
        assert ws.extensions == ()
        assert "Sec-WebSocket-Extensions" not in ws.response.headers
        await ws.send("Hello")
        assert await peer.read(7) == "8105" + b"Hello".hex()
        peer.write("c180 00000000")
        assert (await peer.closed())[0] == 1002


async def test_the_first_offer_that_is_acceptable_is_taken():
    offer = "x-other, permessage-deflate; unknown, permessage-deflate; server_no_context_takeover"
    async with deflating_client(offer) as (peer, _, ws):
        header = ws.response.headers["Sec-WebSocket-Extensions"]
        assert "server_no_context_takeover" in header
        for _ in range(2):
            await ws.send("Hello" * 300)
        first, second = await peer.frame(), await peer.frame()
        assert first == second
        assert first.opcode == TEXT | RSV1


@pytest.mark.parametrize(
    "offer",
    [
        ";",
        "permessage-deflate;",
        "permessage-deflate; ;",
        "permessage-deflate; a=",
        'permessage-deflate; a="',
        'permessage-deflate; a="b c"',
        "permessage deflate",
        "permessage-deflate,, =",
        "\xe9",
    ],
)
@pytest.mark.parametrize("compression", [None, True])
async def test_a_malformed_offer_is_a_bad_request(offer, compression):
    async with wsfast.serve(Accepted(), "127.0.0.1", 0, compression=compression) as server:
        head, body = await exchange(server, request(sec_websocket_extensions=offer))
        assert head.status == 400
        assert "Sec-WebSocket-Extensions" in body


@pytest.mark.parametrize(
    "answer",
    [
        "permessage-deflate; server_max_window_bits=7",
        "permessage-deflate; server_max_window_bits=16",
        "permessage-deflate; server_max_window_bits=08",
        "permessage-deflate; server_max_window_bits=+10",
        "permessage-deflate; server_max_window_bits=1e1",
        "permessage-deflate; server_max_window_bits=abc",
        "permessage-deflate; server_max_window_bits",
        "permessage-deflate; client_max_window_bits",
        "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
        "permessage-deflate; server_no_context_takeover=true",
        "permessage-deflate; unknown",
        "permessage-deflate, permessage-deflate",
        "permessage-deflate; ;",
        'permessage-deflate; server_max_window_bits=""',
    ],
)
async def test_undici_2229_a_client_refuses_an_answer_and_closes_with_1010(answer):
    frames = []

    async def play(peer):
        await peer.accept(Sec_WebSocket_Extensions=answer)
        frames.append(await peer.frame())
        frames.append(await peer.rest())

    async with raw_server(play) as uri:
        with pytest.raises(wsfast.InvalidHandshake) as caught:
            await wsfast.connect(uri, compression=True)
    came, rest = frames
    assert (came.opcode, came.masked, rest) == (CLOSE, True, b"")
    assert came.payload == close_payload(1010, str(caught.value)[:123])


async def test_a_client_that_offers_nothing_gets_no_compression():
    async def play(peer):
        await peer.accept(Sec_WebSocket_Extensions=OFFER)
        assert "sec-websocket-extensions" not in peer.request.headers
        assert (await peer.frame()).payload[:2] == (1010).to_bytes(2, "big")

    async with raw_server(play) as uri:
        with pytest.raises(UnexpectedExtension, match="no extension was requested"):
            await wsfast.connect(uri, compression=None)


# --- Beside other extensions ------------------------------------------------------------------


async def test_of_two_that_want_rsv1_the_server_takes_the_first():
    options = {"extensions": [Plugin("tag", rsv1=True)], "compression": True}
    async with pair(options, **options) as (ws, other):
        assert ws.extensions == other.extensions == ("tag",)
        assert other.request.headers["Sec-WebSocket-Extensions"].startswith("tag, permessage-de")


async def test_a_client_refuses_a_server_that_takes_two_with_rsv1():
    async def play(peer):
        await peer.accept(Sec_WebSocket_Extensions="tag, permessage-deflate")
        assert (await peer.frame()).payload[:2] == (1010).to_bytes(2, "big")

    async with raw_server(play) as uri:
        with pytest.raises(NegotiationError, match='use the RSV1 bit: "tag" and "permessage-de'):
            await wsfast.connect(uri, extensions=[Plugin("tag", rsv1=True)], compression=True)


async def test_a_permessage_deflate_that_is_given_takes_the_place_of_compression():
    given = PerMessageDeflate(threshold=2**20)
    options = {"extensions": [given], "compression": PerMessageDeflate(threshold=0)}
    async with deflating_client(**options) as (peer, _, ws):
        assert ws.extensions == ("permessage-deflate",)
        await ws.send("Hello")
        assert await peer.read(7) == "8105" + b"Hello".hex()


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"compression": "gzip"}, ValueError, "compression"),
        ({"compression": 5}, TypeError, "compression"),
        ({"compression": PerMessageDeflate}, TypeError, "compression"),
        ({"extensions": "permessage-deflate"}, TypeError, "extensions"),
        ({"extensions": 5}, TypeError, "extensions"),
        ({"extensions": [5]}, TypeError, "extension"),
        ({"extensions": [PerMessageDeflate]}, TypeError, "PerMessageDeflate"),
        ({"extensions": [Plugin("a"), Plugin("a")]}, TypeError, '"a" is already registered'),
        ({"extensions": [Plugin("a b")]}, ValueError, "token"),
    ],
)
def test_an_option_that_is_wrong_is_named_at_the_call(options, error, words):
    for call in (
        lambda: wsfast.serve(Accepted(), "127.0.0.1", 0, **options),
        lambda: wsfast.WebSocketServer("127.0.0.1", 0, **options),
        lambda: wsfast.connect("ws://localhost", **options),
        lambda: ClientProtocol("ws://localhost", **options),
        lambda: ServerProtocol(**options),
    ):
        with pytest.raises(error, match=words):
            call()


def test_protocols_without_io_compress():
    client = ClientProtocol("ws://localhost", compression="deflate")
    server = ServerProtocol(compression=True)

    def carry(sender, receiver):
        for data in sender.data_to_send():
            receiver.receive_data(data) if data else receiver.receive_eof()
        return receiver.events_received()

    client.send_request(client.connect())
    (asked,) = carry(client, server)
    server.send_response(server.accept(asked))
    carry(server, client)
    assert client.extensions == server.extensions == ("permessage-deflate",)
    for sender, receiver in (client, server), (server, client):
        sender.send_text("Hello")
        large = noise(LARGE) * 2
        sender.send_binary(large)
        sender.send_text("Hello", compress=False)
        sender.send_text("Hel", fin=False)
        sender.send_text("lo")
        came = carry(sender, receiver)
        assert [getattr(event, "data", event) for event in came] == ["Hello", large] + ["Hello"] * 2


@pytest.fixture
def gate():
    gate = Gate()
    yield gate
    gate.open()


# --- Memory -----------------------------------------------------------------------------------


def idle(ws, seconds, since):
    """Let the connection believe that time has passed."""
    return ws.on_deadline(since + seconds)


async def test_the_compressor_of_an_idle_connection_is_freed(gate):
    options = {"compression": compression(gate), "ping_interval": None, "idle_timeout": None}
    async with deflating_client(**options) as (_, reader, ws):
        since = time.monotonic()
        await ws.send(b"Hello")
        assert len(gate.compressors) == 1
        idle(ws, 0, since)
        idle(ws, 29, since)
        assert len(gate.compressors) == 1
        for seconds in 31, 62:
            idle(ws, seconds, since)
        gc.collect()
        assert len(gate.compressors) == 0
        await ws.send(b"Hello")
        assert [await reader.message() for _ in range(2)] == [b"Hello", b"Hello"]
        # Not while a thread has it, however long that takes.
        ws.send(large())
        await until(lambda: gate.running == 1)
        for seconds in 100, 200, 300:
            assert idle(ws, seconds, since) <= since + seconds + 30
        assert len(gate.compressors) == 1
        gate.open()
        await until(lambda: ws.outbox is None)
        await ws.send(b"Hello")
        await soon(reader.message())
        assert await soon(reader.message()) == b"Hello"


@pytest.mark.parametrize("how", ["close", "lost", "in a thread"])
async def test_the_contexts_are_freed_at_the_end_though_the_connection_is_kept(gate, how):
    """L16."""
    async with deflating_client(compression=compression(gate)) as (peer, reader, ws):
        await ws.send(b"Hello")
        assert await reader.message() == b"Hello"
        assert len(gate.compressors) == 1
        if how == "close":
            peer.close()
            await peer.rest()
            peer.writer.close()
        elif how == "lost":
            peer.reset()
        else:
            ws.send(large())
            await until(lambda: gate.running == 1)
            peer.reset()
        with contextlib.suppress(wsfast.ConnectionClosed):
            await soon(ws.recv())
        await soon(ws.wait_closed())
        gate.open()
        await until(lambda: gate.running == 0)
        await until(lambda: not gate.compressors)


async def test_without_takeover_idle_connections_have_no_compressors(gate):
    options = {"compression": compression(gate, no_context_takeover=True)}
    handler = Accepted()
    async with (
        wsfast.serve(handler, "127.0.0.1", 0, **options) as server,
        contextlib.AsyncExitStack() as stack,
    ):
        clients = [
            await stack.enter_async_context(wsfast.connect(uri_of(server))) for _ in range(10)
        ]
        servers = [await handler.get() for _ in clients]
        for ws in servers:
            await ws.send(b"Hello" * 500)
        for ws in clients:
            assert await soon(ws.recv()) == b"Hello" * 500
        assert len(gate.compressors) == 1


# --- A preset dictionary ----------------------------------------------------------------------


async def test_a_dictionary_is_good_for_the_first_message_and_harms_no_other():
    dictionary = b"what both ends know of each message, before they have said a word"
    words = [b"%d: " % i + dictionary + b"!" * i for i in range(6)]
    server = PerMessageDeflate(deflate_options={"dictionary": dictionary})
    client = PerMessageDeflate(inflate_options={"dictionary": dictionary})
    for first in "send", "broadcast":
        async with pair({"compression": server}, compression=client) as (ws, other):
            for i, data in enumerate(words):
                if (i % 2 == 0) == (first == "send"):
                    await other.send(data)
                else:
                    wsfast.broadcast([other], data)
                assert await soon(ws.recv()) == data
            assert ws.stats.wire_bytes_received < ws.stats.bytes_received


# --- Receiving --------------------------------------------------------------------------------


async def test_recv_streaming_gives_what_is_there_of_a_compressed_message():
    async with pair({"compression": True}, compression=True) as (ws, other):
        for text in "first €", "second":
            received = []
            ws.send(text[:-2], fin=False)
            async for part in other.recv_streaming():
                received.append(part)
                if len(received) == 1:
                    ws.send(text[-2:], fin=False)
                    ws.send("")
            assert "".join(received) == text
            assert received[0] == text[:-2]
        await ws.send(b"whole")
        assert await soon(other.recv()) == b"whole"


async def test_a_raw_server_may_answer_uncompressed_on_a_compressed_connection():
    async def play(peer):
        await peer.accept(Sec_WebSocket_Extensions=OFFER)
        peer.send(TEXT, "plain")
        peer.write("c107 f248cdc9c90700")
        peer.send(TEXT, "plain")
        peer.write("c105 f200110000")
        await hold_open(peer)

    async def hold_open(peer):
        while (await peer.frame()).opcode != CLOSE:
            pass
        peer.close()

    async with raw_server(play) as uri, wsfast.connect(uri, compression=True) as ws:
        assert [await soon(ws.recv()) for _ in range(4)] == ["plain", "Hello"] * 2


async def test_a_bomb_closes_the_connection_with_1009():
    bomb = zlib.compressobj(9, wbits=-15)
    data = bomb.compress(bytes(50_000_000)) + bomb.flush(zlib.Z_SYNC_FLUSH)
    async with deflating_client(max_size=2**20) as (peer, _, ws):
        peer.send(BINARY, data[:-4], rsv=4)
        code, reason = await peer.closed()
        assert code == 1009
        assert reason.startswith("Message size of 1048577 exceeds maximum of 1048576")
        with pytest.raises(wsfast.ConnectionClosedError) as caught:
            await ws.recv()
        assert isinstance(caught.value.__cause__, wsfast.PayloadTooBig)


async def test_a_held_connection_is_not_disturbed_by_an_offer():
    async with raw_server(hold) as uri, wsfast.connect(uri, compression=True) as ws:
        assert ws.extensions == ()
