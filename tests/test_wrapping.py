"""`wrap`: connections whose upgrade was done by hand, with two events and two methods."""

import asyncio
import gc
import socket

import pytest
from external import KINDS, external, socket_pair
from peers import (
    ACCEPT,
    CLOSE,
    KEY,
    PATIENCE,
    PING,
    PONG,
    TEXT,
    close_payload,
    raw_client,
    request,
    until,
    uri_of,
)

import wsfast

kinds = pytest.mark.parametrize("kind", KINDS)

HELLO = "818537fa213d7f9f4d5158"  # RFC 6455 section 5.7: "Hello", masked


def echo(where, head=b"", **options):
    """A wrapped connection that answers, and the closes that it tells."""
    ws = wsfast.wrap(where, head=head, **options)
    closes = []
    ws.on("message", lambda data, is_binary: ws.send(data))
    ws.on("close", lambda code, reason: closes.append((code, reason)))
    return ws, closes


def upgrade_by_hand(head, where, rest):
    """What a server that speaks HTTP itself does: key, SHA-1, 101."""
    lines = head.decode().split("\r\n")
    key = next(line.split(": ")[1] for line in lines if line.startswith("Sec-WebSocket-Key"))
    response = wsfast.upgrade_response(key)
    if isinstance(where, tuple):
        where[1].write(response)
    elif isinstance(where, socket.socket):
        where.send(response)
    else:
        where.write(response)
    echo(where, rest)


# --- Both ends ----------------------------------------------------------------------------------


@kinds
async def test_a_server_made_by_hand_echoes(kind):
    """F8, F10: over streams, transports and sockets, against a client that knows nothing of it."""
    async with external(kind, upgrade_by_hand) as address:
        async with wsfast.connect(uri_of(address), compression=None) as ws:
            for message in "hello", b"\x00\xff", "é" * 50_000, b"x" * 500_000:
                await ws.send(message)
                assert await ws.recv() == message
        assert ws.close_code == 1000


@kinds
async def test_what_came_behind_the_upgrade_is_not_lost(kind):
    """F8, F13."""
    async with external(kind, upgrade_by_hand) as address:
        data = request() + bytes.fromhex(HELLO) * 2
        async with raw_client(address, data) as peer:
            assert (await peer.head()).headers["sec-websocket-accept"] == ACCEPT
            assert await peer.read(14) == "810548656c6c6f" * 2


async def test_a_message_goes_each_way_over_a_socketpair():
    """F8: no HTTP at all."""
    one, two = socket.socketpair()
    server, closes = echo(one)
    client = wsfast.wrap(two, client=True)
    came = asyncio.Queue()
    client.on("message", lambda data, is_binary: came.put_nowait((data, is_binary)))
    async with asyncio.timeout(PATIENCE):
        for message in "hello", b"\x00\xff":
            client.send(message)
            assert await came.get() == (message, isinstance(message, bytes))
        await client.close(4000, "bye")
    await until(lambda: closes)
    assert closes == [(4000, "bye")]


@pytest.mark.parametrize(("size", "head"), [(125, "817d"), (126, "817e007e"), (65536, "817f")])
async def test_lengths_have_three_encodings(size, head):
    """F9."""
    async with socket_pair() as (sock, peer):
        ws = wsfast.wrap(sock)
        await ws.send("x" * size)
        assert await peer.read(len(head) // 2) == head
        ws.websocket.terminate()


async def test_one_message_goes_to_many():
    """F9: what `broadcast` takes is the whole WebSocket."""
    async with socket_pair() as (sock, peer), socket_pair() as (other, second):
        connections = [wsfast.wrap(sock), wsfast.wrap(other)]
        wsfast.broadcast([ws.websocket for ws in connections], "hi")
        assert await peer.read(4) == await second.read(4) == "81026869"
        for ws in connections:
            ws.websocket.terminate()


async def test_a_client_masks():
    async with socket_pair() as (sock, peer):
        ws = wsfast.wrap(sock, client=True)
        ws.send("hello")
        assert await peer.frame() == (TEXT, b"hello", True, True)
        ws.websocket.terminate()


# --- The end ------------------------------------------------------------------------------------


async def test_a_parser_error_is_told_to_the_peer_before_the_end():
    """F12, F16: a frame without a mask."""
    async with socket_pair() as (sock, peer):
        _, closes = echo(sock)
        peer.write("810548656c6c6f")
        assert (await peer.closed())[0] == 1002
        await peer.wait_closed()
        await until(lambda: closes)
    assert closes == [(1006, "")]


async def test_the_limits_hold():
    """F14."""
    async with socket_pair() as (sock, peer):
        echo(sock, max_size=10)
        peer.send(TEXT, "", length=11)
        reason = "Frame size of 11 exceeds maximum of 10"
        assert await peer.closed() == (1009, reason)


async def test_pings_are_answered_and_sent():
    async with socket_pair() as (sock, peer):
        echo(sock, ping_interval=0.05)
        peer.send(PING, b"x")
        assert await peer.frame() == (PONG, b"x", True, False)
        assert (await peer.frame()).opcode == PING


async def test_it_lives_as_long_as_its_connection_and_no_longer():
    """F15: nobody keeps it."""
    import weakref

    async with socket_pair() as (sock, peer):
        ws, closes = echo(sock)
        reference = weakref.ref(ws.websocket)
        del ws, sock
        gc.collect()
        peer.write(HELLO)
        assert await peer.read(7) == "810548656c6c6f"
        peer.close()
        assert await peer.closed() == (1000, "")
        await peer.wait_closed()
        await until(lambda: closes)
        for _ in range(3):
            await asyncio.sleep(0)
        gc.collect()
        assert reference() is None


async def test_close_can_be_awaited():
    async with socket_pair() as (sock, peer):
        ws, closes = echo(sock)
        closing = asyncio.ensure_future(ws.close(1001, "later"))
        assert await peer.frame() == (CLOSE, close_payload(1001, "later"), True, False)
        assert not closing.done()
        peer.close(1001, "later")
        await peer.wait_closed()
        await closing
        assert closes == [(1001, "later")]


# --- Arguments ----------------------------------------------------------------------------------


@pytest.mark.parametrize("event", ["open", "error", "ping", "", None])
async def test_it_has_two_events_only(event):
    async with socket_pair() as (sock, _):
        ws = wsfast.wrap(sock)
        with pytest.raises(ValueError, match="the events are message, close"):
            ws.on(event, print)
        ws.websocket.terminate()


async def test_listeners_are_functions_and_may_be_decorated():
    async with socket_pair() as (sock, peer):
        ws = wsfast.wrap(sock)
        with pytest.raises(TypeError, match="cannot be a coroutine function"):

            @ws.on("message")
            async def wrong(data, is_binary): ...

        @ws.on("message")
        def message(data, is_binary):
            ws.send(data)

        peer.write(HELLO)
        assert await peer.read(7) == "810548656c6c6f"


async def test_bad_arguments_are_refused_and_take_nothing():
    async with socket_pair() as (sock, _):
        for options, error in [
            ({"nonsense": 1}, TypeError),
            ({"max_size": -1}, ValueError),
            ({"client": 1}, TypeError),
            ({"head": "x"}, TypeError),
            ({"driver": "x"}, ValueError),
        ]:
            with pytest.raises(error):
                wsfast.wrap(sock, **options)
        assert sock.fileno() >= 0
    with pytest.raises(TypeError, match="a connection must be a transport, a socket, or a pair"):
        wsfast.wrap("socket")


async def test_a_connection_can_be_wrapped_only_once():
    async with socket_pair() as (sock, _):
        ws = wsfast.wrap(sock)
        with pytest.raises(RuntimeError, match="handed over before"):
            wsfast.wrap(sock)
        ws.websocket.terminate()


async def test_a_transport_that_is_closing_is_refused():
    async with socket_pair() as (sock, _):
        streams = await asyncio.open_connection(sock=sock)
        streams[1].close()
        with pytest.raises(ConnectionError, match="closed already"):
            wsfast.wrap(streams)
        await streams[1].wait_closed()


# --- What HTTP by hand needs --------------------------------------------------------------------


def test_the_response_is_that_of_the_rfc():
    """F10: RFC 6455 section 1.3."""
    assert wsfast.accept_key(KEY) == ACCEPT
    assert wsfast.upgrade_response(KEY) == (
        b"HTTP/1.1 101 Switching Protocols\r\n"
        b"Upgrade: websocket\r\n"
        b"Connection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + ACCEPT.encode() + b"\r\n\r\n"
    )


def test_the_response_may_have_a_subprotocol_and_headers():
    response = wsfast.upgrade_response(KEY, subprotocol="chat", headers={"X-Y": "z"})
    assert response.endswith(b"\r\nSec-WebSocket-Protocol: chat\r\nX-Y: z\r\n\r\n")


@pytest.mark.parametrize("key", ["", "short", KEY + "\r\nX: y", KEY[:-1], "é" * 24])
def test_a_key_that_is_none_is_refused(key):
    with pytest.raises(wsfast.InvalidHeaderValue, match="Sec-WebSocket-Key"):
        wsfast.upgrade_response(key)


@pytest.mark.parametrize("key", [KEY.encode(), None])
def test_a_key_that_is_no_str_is_refused(key):
    with pytest.raises(TypeError, match=f"key must be the str of a Sec-WebSocket-Key, not {key}"):
        wsfast.upgrade_response(key)


def test_headers_that_would_break_the_response_are_refused():
    with pytest.raises(ValueError):
        wsfast.upgrade_response(KEY, headers={"X": "a\r\nY: b"})
    with pytest.raises(ValueError):
        wsfast.upgrade_response(KEY, subprotocol="a\r\nY: b")
