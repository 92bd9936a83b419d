"""A WebSocket as a StreamReader and a StreamWriter, and as a transport."""

import asyncio
import contextlib
import hashlib
import random

import pytest
from peers import (
    BINARY,
    CLOSE,
    CONT,
    PATIENCE,
    TEXT,
    Unhandled,
    against_client,
    against_server,
    close_payload,
    pair,
    raw_server,
    until,
)

import wsfast
from wsfast import State, create_websocket_stream
from wsfast.streams import WebSocketTransport

both_sides = pytest.mark.parametrize("side", [against_client, against_server])


async def soon(awaitable):
    async with asyncio.timeout(PATIENCE):
        return await awaitable


# --- Reading ----------------------------------------------------------------------------------


async def test_the_pair_are_those_of_asyncio():
    """E3, ST1: all that takes asyncio's streams takes these; ``limit`` is the reader's."""
    async with against_client() as (_, ws):
        reader, writer = create_websocket_stream(ws, limit=4)
        assert isinstance(reader, asyncio.StreamReader)
        assert isinstance(writer, asyncio.StreamWriter)
        assert isinstance(writer.transport, asyncio.Transport)
        assert writer.get_extra_info("websocket") is ws
        assert writer.get_extra_info("peername") == ws.remote_address
        assert writer.get_extra_info("nothing", 5) == 5
        assert writer.can_write_eof()
        assert repr(ws) in repr(writer.transport)


@both_sides
async def test_reading_knows_no_boundaries(side):
    """ST2: what comes in messages is read as if it came in one; text comes as UTF-8."""
    async with side() as (peer, ws):
        reader, _ = create_websocket_stream(ws)
        for opcode, data in (TEXT, "one\ntw"), (BINARY, b"o\n"), (TEXT, ""), (BINARY, b"\xff\0"):
            peer.send(opcode, data)
        peer.send(TEXT, "€", fin=True)
        assert await soon(reader.readline()) == b"one\n"
        assert await soon(reader.readuntil(b"o\n")) == b"two\n"
        assert await soon(reader.readexactly(3)) == b"\xff\0\xe2"
        assert await soon(reader.read(10)) == b"\x82\xac"


async def test_lines_can_be_iterated_over_until_the_end():
    """ST7: the end of the connection is the end of the stream."""
    async with against_client() as (peer, ws):
        reader, writer = create_websocket_stream(ws)
        peer.send(TEXT, "a\nb")
        peer.send(TEXT, "c\nd")
        peer.close()
        assert await peer.closed() == (1000, "")
        await peer.wait_closed()
        assert [line async for line in reader] == [b"a\n", b"bc\n", b"d"]
        assert reader.at_eof()
        assert writer.is_closing()
        await soon(writer.wait_closed())


@pytest.mark.parametrize("fragments", [False, True])
async def test_what_came_before_the_stream_was_made_is_read(fragments):
    """ST2: nothing is lost in between."""
    async with against_client(max_queue=2) as (peer, ws):
        for number in range(10):
            peer.send(BINARY, str(number).encode())
        await until(lambda: not ws.is_reading)
        reader, _ = create_websocket_stream(ws)
        assert await soon(reader.readexactly(10)) == b"0123456789"


async def test_a_stream_of_a_connection_that_is_closed_has_what_nobody_received():
    """ST7: the connection's end may come before the stream is made."""
    async with against_client() as (peer, ws):
        peer.send(TEXT, "one")
        peer.send(BINARY, b"two")
        peer.close()
        assert await peer.closed() == (1000, "")
        await peer.wait_closed()
        await soon(ws.wait_closed())
        reader, writer = create_websocket_stream(ws)
        assert await soon(reader.read()) == b"onetwo"
        await soon(writer.wait_closed())
        with pytest.raises(wsfast.ConnectionClosedOK):
            writer.write(b"x")
        reader, _ = create_websocket_stream(ws)
        assert await soon(reader.read()) == b""


async def test_the_messages_are_the_streams():
    """E3: nobody else receives."""
    async with against_client() as (_, ws):
        _, _writer = create_websocket_stream(ws)
        with pytest.raises(wsfast.ConcurrencyError):
            await ws.recv()


@pytest.mark.parametrize("binary_type", ["bytes", "bytearray", "memoryview", "fragments"])
async def test_the_types_of_messages_do_not_matter_to_a_stream(binary_type):
    """ST2: nor whether text is bytes."""
    async with against_client(binary_type=binary_type, text_type="bytes") as (peer, ws):
        reader, _ = create_websocket_stream(ws)
        peer.send(BINARY, b"ab", fin=False)
        peer.send(CONT, b"c")
        peer.send(TEXT, "d€", fin=False)
        peer.send(CONT, "f")
        assert await soon(reader.readexactly(8)) == "abcd€f".encode()


# --- Writing ----------------------------------------------------------------------------------


@both_sides
async def test_each_write_is_a_binary_message(side):
    """ST2: one message each, several buffers together one; an empty write none."""
    async with side() as (peer, ws):
        _, writer = create_websocket_stream(ws)
        writer.write(b"one")
        writer.write(bytearray(b"two"))
        writer.write(memoryview(b"xthreex")[1:-1])
        writer.write(b"")
        writer.writelines([b"fo", b"ur"])
        await soon(writer.drain())
        came = [await peer.frame() for _ in range(4)]
        assert [(each.opcode, each.payload, each.fin) for each in came] == [
            (BINARY, b"one", True),
            (BINARY, b"two", True),
            (BINARY, b"three", True),
            (BINARY, b"four", True),
        ]


async def test_text_is_sent_on_request():
    """ST2: ``text=True`` is for peers that want text; what is no UTF-8 raises, and is not sent."""
    async with against_client() as (peer, ws):
        _, writer = create_websocket_stream(ws, text=True)
        writer.write("grün".encode())
        with pytest.raises(ValueError, match="must be valid UTF-8"):
            writer.write(b"\xff")
        writer.write(b"x")
        assert await peer.frame() == (TEXT, "grün".encode(), True, False)
        assert await peer.frame() == (TEXT, b"x", True, False)


@pytest.mark.parametrize("data", ["text", 5, None, [b"x"]])
async def test_only_bytes_can_be_written(data):
    """ST2: as by asyncio's transports; a str has to be encoded."""
    async with against_client() as (_, ws):
        _, writer = create_websocket_stream(ws)
        with pytest.raises(TypeError, match="data must be bytes-like, not "):
            writer.write(data)


# --- Back-pressure ----------------------------------------------------------------------------


async def test_a_full_reader_pauses_the_connection():
    """ST5: reading goes on when half of it is read, and nothing is lost."""
    data = random.Random(5).randbytes(100_000)
    async with against_client() as (peer, ws):
        reader, writer = create_websocket_stream(ws, limit=1000)
        for start in range(0, len(data), 500):
            peer.send(BINARY, data[start : start + 500])
        await until(lambda: ws.is_paused)
        assert not writer.transport.is_reading()
        await asyncio.sleep(0.01)
        assert len(reader._buffer) < 3000
        assert await soon(reader.readexactly(2000)) == data[:2000]
        assert writer.transport.is_reading()
        assert await soon(reader.readexactly(98_000)) == data[2000:]
        assert not ws.is_paused


@both_sides
async def test_drain_waits_while_the_peer_is_slow(side):
    """ST5: above ``write_limit``, until a quarter of it."""
    async with side(write_limit=10_000) as (peer, ws):
        _, writer = create_websocket_stream(ws)
        assert writer.transport.get_write_buffer_limits() == (2500, 10_000)
        peer.stop_reading()
        written = 0
        while not ws.is_blocked:
            writer.write(bytes(1000))
            written += 1000
        assert writer.transport.get_write_buffer_size() > 10_000
        draining = asyncio.create_task(writer.drain())
        await asyncio.sleep(0.01)
        assert not draining.done()
        peer.go_on_reading()
        while written:
            written -= len((await peer.frame()).payload)
        await soon(draining)
        assert writer.transport.get_write_buffer_size() < 2500


async def test_drain_waits_for_what_is_compressed():
    """ST5: a large message is compressed in a thread, and those behind it wait for it."""
    data = random.Random(1).randbytes(300_000)
    async with pair(compression="deflate", server_options={"compression": True}) as (ws, other):
        _, writer = create_websocket_stream(ws)
        reader, _ = create_websocket_stream(other)
        writer.write(data)
        writer.write(b"end")
        await soon(asyncio.gather(writer.drain(), writer.drain()))
        assert ws.outbox is None
        assert await soon(reader.readexactly(300_003)) == data + b"end"


async def test_large_data_arrives_through_two_streams():
    """ST5: a writer much faster than the reader at the other end."""
    data = random.Random(2).randbytes(8_000_000)
    async with pair(compression=None) as (ws, other):
        _, writer = create_websocket_stream(ws)
        reader, _ = create_websocket_stream(other)

        async def write():
            for start in range(0, len(data), 50_000):
                writer.write(data[start : start + 50_000])
                await writer.drain()
            writer.write_eof()

        writing = asyncio.create_task(write())
        digest = hashlib.sha256()
        while part := await soon(reader.read(10_000)):
            digest.update(part)
            await asyncio.sleep(0)
        await soon(writing)
        assert digest.digest() == hashlib.sha256(data).digest()
        await soon(writer.wait_closed())


@pytest.mark.parametrize("reads", [False, True])
async def test_a_full_stream_that_is_closing_takes_no_end_of_data(reads):
    """ST5: the connection reads on for the close frame; what does not fit ends the stream."""
    async with against_client() as (peer, ws):
        reader, writer = create_websocket_stream(ws, limit=1000)
        peer.send(BINARY, bytes(5000))
        await until(lambda: ws.is_paused)
        writer.write_eof()
        assert (await peer.frame()).opcode == CLOSE
        received = asyncio.create_task(reader.read()) if reads else None
        for _ in range(300):
            peer.send(BINARY, bytes(10_000))
        peer.close()
        assert await peer.rest() == b""
        await peer.wait_closed()
        if received is not None:
            assert len(await soon(received)) == 3_005_000
            await soon(writer.wait_closed())
            return
        with pytest.raises(wsfast.WebSocketException, match="the stream is full"):
            await soon(writer.wait_closed())
        assert len(reader._buffer) < 1_100_000
        with pytest.raises(wsfast.WebSocketException, match="the stream is full"):
            await reader.read()


# --- The end ----------------------------------------------------------------------------------


@both_sides
async def test_write_eof_begins_the_closing_handshake(side):
    """ST7: what was written leaves before, and what the peer had sent is still read."""
    async with side() as (peer, ws):
        reader, writer = create_websocket_stream(ws)
        writer.write(b"last")
        writer.write_eof()
        writer.write_eof()
        assert writer.is_closing()
        with pytest.raises(RuntimeError, match="cannot write after write_eof"):
            writer.write(b"x")
        assert (await peer.frame()).payload == b"last"
        assert await peer.frame() == (CLOSE, close_payload(1000), True, ws.client)
        peer.send(BINARY, b"not yet")
        peer.close()
        await peer.wait_closed()
        assert await soon(reader.read()) == b"not yet"
        await soon(writer.wait_closed())


@both_sides
async def test_close_reads_no_more(side):
    """ST7: what is in the reader stays, what comes is dropped; a full reader is no hindrance."""
    async with side() as (peer, ws):
        reader, writer = create_websocket_stream(ws, limit=2)
        peer.send(BINARY, b"before")
        await until(lambda: ws.is_paused)
        peer.send(BINARY, b"after")
        writer.write(b"last")
        writer.close()
        writer.close()
        assert (await peer.frame()).payload == b"last"
        assert await peer.frame() == (CLOSE, close_payload(1000), True, ws.client)
        peer.send(BINARY, b"much later")
        peer.close()
        await peer.wait_closed()
        await soon(writer.wait_closed())
        assert await soon(reader.read()) == b"before"


@both_sides
async def test_abort_sends_no_close_frame(side):
    """ST6: to destroy the stream is to terminate the connection; one's own doing is no error."""
    async with side() as (peer, ws):
        reader, writer = create_websocket_stream(ws)
        writer.transport.abort()
        assert writer.is_closing()
        await soon(writer.wait_closed())
        assert await reader.read() == b""
        assert ws.close_code == 1006
        assert ws.close_sent is None


@pytest.mark.parametrize("code", [1000, 1001, None])
async def test_a_normal_close_is_the_end_of_the_stream(code):
    """ST7: also without a code, as a stream of ws closes."""
    async with against_client() as (peer, ws):
        reader, writer = create_websocket_stream(ws)
        peer.send(TEXT, "x")
        peer.close(code)
        await peer.closed()
        await peer.wait_closed()
        assert await soon(reader.read()) == b"x"
        await soon(writer.wait_closed())
        assert ws.was_clean


@both_sides
@pytest.mark.parametrize("code", [1011, 4000])
async def test_another_close_code_is_an_error(side, code):
    """ST6: a peer that failed has not sent all there is."""
    async with side() as (peer, ws):
        reader, writer = create_websocket_stream(ws)
        peer.send(TEXT, "x")
        assert await soon(reader.readexactly(1)) == b"x"
        peer.close(code)
        await peer.frame()
        await peer.wait_closed()
        for awaitable in reader.read(), writer.wait_closed(), writer.drain():
            with pytest.raises(wsfast.ConnectionClosedError, match=f"received {code}"):
                await soon(awaitable)


@both_sides
async def test_the_end_of_tcp_alone_is_an_error(side):
    """ST7: unlike ws, whose streams then end as if all had come."""
    async with side() as (peer, ws):
        reader, _ = create_websocket_stream(ws)
        peer.write_eof()
        await peer.wait_closed()
        with pytest.raises(wsfast.ConnectionClosedError, match="no close frame received or sent"):
            await soon(reader.read())


@both_sides
async def test_an_error_of_the_connection_is_raised_by_both(side):
    """ST6: and the close frame that tells the peer leaves."""
    with Unhandled() as contexts:
        async with side() as (peer, ws):
            reader, writer = create_websocket_stream(ws)
            peer.send(TEXT, "x", rsv=4)
            assert await peer.closed() == (1002, "Invalid WebSocket frame: RSV1 must be clear")
            await peer.wait_closed()
            for awaitable in reader.read(), writer.wait_closed(), writer.drain():
                with pytest.raises(wsfast.ProtocolError, match="RSV1 must be clear"):
                    await soon(awaitable)
    assert contexts == []


@both_sides
async def test_a_reset_is_raised(side):
    """ST6: with its code."""
    async with side() as (peer, ws):
        reader, _ = create_websocket_stream(ws)
        peer.reset()
        with pytest.raises(wsfast.NetworkError) as caught:
            await soon(reader.read())
        assert caught.value.code == "ECONNRESET"


async def test_what_is_written_behind_the_peers_close_frame_raises():
    """ST4: at the call, before and after the end of the connection."""
    async with against_server() as (peer, ws):
        reader, writer = create_websocket_stream(ws)
        peer.close(4000)
        await until(lambda: ws.state is State.CLOSING)
        with pytest.raises(wsfast.ConnectionClosedError, match="received 4000"):
            writer.write(b"x")
        await peer.wait_closed()
        await soon(ws.wait_closed())
        with pytest.raises(wsfast.ConnectionClosedError, match="received 4000"):
            writer.write(b"x")


async def test_those_who_drain_are_woken_by_the_end():
    """ST4: a peer that goes away while much waits to be written."""
    async with against_client(write_limit=1000) as (peer, ws):
        reader, writer = create_websocket_stream(ws)
        peer.stop_reading()
        while not ws.is_blocked:
            writer.write(bytes(10_000))
        draining = asyncio.create_task(writer.drain())
        await asyncio.sleep(0)
        ws.terminate()
        with pytest.raises((ConnectionError, wsfast.ConnectionClosedError)):
            await soon(draining)
            writer.write(b"x")


async def test_a_send_that_nobody_awaited_fails_the_stream():
    """ST6: an "error" of an open connection closes it with 1011."""
    async with against_client() as (peer, ws):
        reader, writer = create_websocket_stream(ws)
        ws.send(b"x", fin=False)
        ws.send([b"another message", b"between the fragments"])
        with pytest.raises(wsfast.ConcurrencyError):
            await soon(reader.read())
        assert (await peer.frame()).payload == b"x"
        assert (await peer.frame()).payload == close_payload(1011)
        peer.close(1011)
        await peer.wait_closed()
        await soon(ws.wait_closed())


async def test_a_stream_leaves_no_listener_behind():
    """ST7: at its end nothing of it is held by the connection."""
    async with against_client() as (peer, ws):
        calls = []
        ws.on("close", lambda code, reason: calls.append(code))
        _, writer = create_websocket_stream(ws)
        peer.close()
        await peer.closed()
        await peer.wait_closed()
        await soon(writer.wait_closed())
        for event in "open", "message", "error":
            assert ws.listeners(event) == []
        assert len(ws.listeners("close")) == 1
        await soon(ws.wait_closed())
    assert calls == [1000]


# --- While connecting -------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def connecting(**options):
    """A connection that is not open yet, a function that opens it, and the peer."""
    peers = asyncio.Queue()
    go, done = asyncio.Event(), asyncio.Event()

    async def play(peer):
        await go.wait()
        await peer.accept()
        peers.put_nowait(peer)
        await done.wait()

    async def accept():
        go.set()
        return await soon(peers.get())

    async with raw_server(play) as uri:
        ws = wsfast.WebSocket(uri, **options)
        try:
            yield ws, accept
        finally:
            ws.terminate()
            await soon(ws.wait_closed())
            go.set()
            done.set()


async def test_what_is_written_while_connecting_is_sent_when_the_connection_is_open():
    """ST3: in order, as it was when it was written, and `drain` waits above ``write_limit``."""
    async with connecting(write_limit=1000) as (ws, accept):
        reader, writer = create_websocket_stream(ws)
        data = bytearray(b"one")
        writer.write(data)
        await soon(writer.drain())
        data[:] = b"xxx"
        writer.write(b"two" * 500)
        assert writer.transport.get_write_buffer_size() == 1503
        draining = asyncio.create_task(writer.drain())
        await asyncio.sleep(0)
        assert not draining.done()
        assert not writer.is_closing()
        peer = await accept()
        assert (await peer.frame()).payload == b"one"
        assert (await peer.frame()).payload == b"two" * 500
        await soon(draining)
        peer.send(TEXT, "x")
        assert await soon(reader.readexactly(1)) == b"x"


async def test_text_written_while_connecting_is_checked_at_once():
    """ST3: no error comes late that could come early."""
    async with connecting() as (ws, accept):
        _, writer = create_websocket_stream(ws, text=True)
        with pytest.raises(ValueError, match="must be valid UTF-8"):
            writer.write(b"\xff")
        writer.write(b"x")
        assert await (await accept()).frame() == (TEXT, b"x", True, True)


@pytest.mark.parametrize("method", ["write_eof", "close"])
async def test_the_end_waits_for_the_connection_and_for_what_was_written(method):
    """ST3: what was written while connecting is not lost."""
    async with connecting() as (ws, accept):
        reader, writer = create_websocket_stream(ws)
        writer.write(b"last")
        getattr(writer, method)()
        with pytest.raises(RuntimeError, match="cannot write after write_eof"):
            writer.write(b"x")
        peer = await accept()
        assert (await peer.frame()).payload == b"last"
        assert (await peer.frame()).payload == close_payload(1000)
        peer.close()
        await peer.wait_closed()
        assert await soon(reader.read()) == b""
        await soon(writer.wait_closed())


async def test_the_end_alone_waits_too():
    """ST3: for ``write_eof``; ``close`` with nothing written gives the connection up."""
    async with connecting() as (ws, accept):
        reader, writer = create_websocket_stream(ws)
        writer.write_eof()
        assert ws.state is State.CONNECTING
        peer = await accept()
        assert (await peer.frame()).payload == close_payload(1000)
        peer.close()
        await peer.wait_closed()
        await soon(writer.wait_closed())
    async with connecting() as (ws, accept):
        reader, writer = create_websocket_stream(ws)
        writer.close()
        await soon(writer.wait_closed())
        assert await reader.read() == b""
        assert ws.state is State.CLOSED


async def test_abort_gives_up_what_is_connecting():
    """ST6: it is one's own doing."""
    async with connecting() as (ws, _):
        reader, writer = create_websocket_stream(ws)
        writer.write(b"lost")
        writer.transport.abort()
        assert await soon(reader.read()) == b""
        await soon(writer.wait_closed())


@pytest.mark.parametrize("method", [None, "write_eof", "close"])
async def test_a_connection_that_fails_raises(method):
    """ST3, ST6: when reading, draining, and waiting for the end; an end is no end any more."""
    async with raw_server(refuse) as uri:
        ws = wsfast.WebSocket(uri)
        reader, writer = create_websocket_stream(ws)
        writer.write(b"lost")
        if method is not None:
            getattr(writer, method)()
        for awaitable in reader.read(), writer.wait_closed(), writer.drain():
            with pytest.raises(wsfast.InvalidStatus) as caught:
                await soon(awaitable)
            assert caught.value.response.status_code == 403
        await soon(ws.wait_closed())


async def refuse(peer):
    await peer.head()
    peer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
    await peer.rest()


async def test_a_stream_does_not_go_on_in_another_connection():
    """ST1: the bytes would not be those that follow."""
    async with raw_server(refuse) as uri:
        ws = wsfast.WebSocket(uri, reconnect=True)
        with pytest.raises(ValueError, match="reconnect must be False"):
            create_websocket_stream(ws)
        await soon(ws.close())


async def test_a_stream_is_of_bytes():
    """ST1: not of what a codec makes of messages."""
    async with against_client(codec=wsfast.HeaderJSON()) as (_, ws):
        with pytest.raises(ValueError, match="codec must be None"):
            create_websocket_stream(ws)


@pytest.mark.parametrize("taken", ["a listener", "a stream"])
async def test_messages_have_one_receiver(taken):
    """ST1: each would have all of them, and the end of one would be that of the other."""
    async with against_client() as (_, ws):
        if taken == "a listener":
            ws.on("message", lambda data, is_binary: None)
        else:
            streams = create_websocket_stream(ws)
        with pytest.raises(wsfast.ConcurrencyError, match="there can be one"):
            create_websocket_stream(ws)
        if taken == "a stream":
            streams[1].close()


# --- The transport ----------------------------------------------------------------------------


class Recorder(asyncio.Protocol):
    def __init__(self):
        self.calls = []

    def connection_made(self, transport):
        self.calls.append(("made", transport))

    def data_received(self, data):
        self.calls.append(("data", data))

    def connection_lost(self, error):
        self.calls.append(("lost", error))


async def test_the_transport_serves_any_protocol():
    """E3: what is written for asyncio's transports runs over a WebSocket."""
    first, second = Recorder(), Recorder()
    async with against_client() as (peer, ws):
        transport = WebSocketTransport(ws, first)
        peer.send(TEXT, "é")
        peer.send(TEXT, "")
        await until(lambda: len(first.calls) == 2)
        transport.set_protocol(second)
        assert transport.get_protocol() is second
        transport.pause_reading()
        peer.send(TEXT, "y")
        assert not transport.is_reading()
        transport.resume_reading()
        await until(lambda: len(second.calls) == 1)
        peer.close()
        await peer.closed()
        await peer.wait_closed()
        await until(lambda: len(second.calls) == 2)
    assert first.calls == [("made", transport), ("data", "é".encode())]
    assert second.calls == [("data", b"y"), ("lost", None)]
