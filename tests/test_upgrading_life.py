"""`handle_upgrade`: what cannot be handed over; the life of a server that listens on nothing."""

import asyncio
import socket
import ssl

import pytest
from external import KINDS, external, socket_pair
from peers import CLOSE, client_of, close_payload, echo, request

import wsfast

kinds = pytest.mark.parametrize("kind", KINDS)


# --- Once ---------------------------------------------------------------------------------------


@kinds
async def test_a_connection_can_be_handed_over_only_once(kind):
    """SV6: twice with one socket is an error, also for another server, and whatever came of it."""
    errors = []

    def upgrade(head, where, rest):
        server.handle_upgrade(head, where, rest)
        for other in server, wsfast.WebSocketServer(no_server=True):
            with pytest.raises(RuntimeError, match="handed over before") as caught:
                other.handle_upgrade(head, where, rest)
            errors.append(caught.value)
        with pytest.raises(RuntimeError, match="handed over before"):
            wsfast.wrap(where)

    async with wsfast.WebSocketServer(no_server=True) as server:
        async with external(kind, upgrade) as address, client_of(address):
            assert len(errors) == 2


async def test_a_socket_that_is_closed_is_refused():
    sock = socket.socket()
    sock.close()
    with pytest.raises(RuntimeError, match="closed"):
        wsfast.WebSocketServer(no_server=True).handle_upgrade(request(), sock)


@pytest.mark.parametrize("where", [None, 5, "socket", (1, 2), ()])
async def test_what_is_no_connection_is_refused(where):
    server = wsfast.WebSocketServer(no_server=True)
    with pytest.raises(TypeError, match="a connection must be a transport, a socket, or a pair"):
        server.handle_upgrade(request(), where)


async def test_a_socket_with_tls_is_refused():
    context = ssl.create_default_context()
    with context.wrap_socket(
        socket.socket(), server_hostname="localhost", do_handshake_on_connect=False
    ) as sock:
        with pytest.raises(TypeError, match="use asyncio for TLS"):
            wsfast.WebSocketServer(no_server=True).handle_upgrade(request(), sock)


async def test_a_socket_of_datagrams_is_refused():
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        with pytest.raises(TypeError, match="the socket must be one of streams"):
            wsfast.WebSocketServer(no_server=True).handle_upgrade(request(), sock)


async def test_arguments_of_other_types_are_refused_and_take_nothing():
    server = wsfast.WebSocketServer(no_server=True)
    async with socket_pair() as (sock, _):
        with pytest.raises(
            TypeError, match="request must be a wsfast.Request or bytes-like, not str"
        ):
            server.handle_upgrade("GET /", sock)
        with pytest.raises(TypeError, match="head must be bytes-like, not str"):
            server.handle_upgrade(request(), sock, "head")
        with pytest.raises(TypeError, match="headers must be a Headers"):
            server.handle_upgrade(wsfast.Request("/", {}), sock)
        assert sock.fileno() >= 0


# --- The life of the server ---------------------------------------------------------------------


async def test_options_of_listening_are_of_no_use_without_it():
    """SV1: exactly one of port, sock, unix_path and no_server."""
    for options in {}, {"no_server": False}, {"no_server": True, "port": 0}:
        with pytest.raises(ValueError, match='exactly one of "port", "sock", "unix_path" and "no'):
            wsfast.WebSocketServer(**options)
    with pytest.raises(ValueError, match="host is of no use with no_server"):
        wsfast.WebSocketServer("localhost", no_server=True)
    with pytest.raises(TypeError, match="no_server must be a bool"):
        wsfast.WebSocketServer(no_server="yes")


async def test_it_has_no_address():
    """SE6: `address` raises."""
    server = wsfast.WebSocketServer(no_server=True)
    with pytest.raises(RuntimeError, match='operating in "no_server" mode'):
        server.address()
    assert server.sockets == ()


async def test_nothing_is_listening_nor_told_to_be():
    """SE1: "listening" comes from listening."""
    events = []
    server = wsfast.WebSocketServer(no_server=True)
    server.on("listening", lambda: events.append("listening"))
    server.on("close", lambda: events.append("close"))
    async with server:
        assert server.is_serving
    assert not server.is_serving
    assert events == ["close"]


async def test_close_closes_the_connections_and_waits_for_them():
    """SE5: "close" comes when all connections are gone."""
    events = []
    server = wsfast.WebSocketServer(no_server=True)
    server.on("disconnection", lambda ws: events.append(ws))
    server.on("close", lambda: events.append("close"))
    async with socket_pair() as (sock, peer):
        ws = await server.handle_upgrade(request(), sock)
        assert (await peer.head()).status == 101
        closing = server.close(1012, "back soon")
        assert await peer.frame() == (CLOSE, close_payload(1012, "back soon"), True, False)
        assert events == []
        peer.close(1012, "back soon")
        await peer.wait_closed()
        await closing
        assert events == [ws, "close"]
        await server.close()
        assert events == [ws, "close"]


async def test_a_server_without_a_single_upgrade_can_be_closed():
    """SE5: "close" comes without any connection, too."""
    server = wsfast.WebSocketServer(no_server=True)
    closed = asyncio.Event()
    server.on("close", closed.set)
    await server.close()
    assert closed.is_set()
    await server.wait_closed()


@pytest.mark.parametrize("wait", [False, True])
async def test_upgrades_during_close_and_after_it_get_503(wait):
    """SE7."""
    server = wsfast.WebSocketServer(no_server=True)
    async with socket_pair() as (sock, peer), socket_pair() as (other, refused):
        await server.handle_upgrade(request(), sock)
        closing = server.close(close_connections=False)
        if wait:
            peer.close()
            await peer.wait_closed()
            await closing
            closing = server.wait_closed()
        assert await server.handle_upgrade(request(), other) is None
        head, body = await refused.response()
        assert (head.status, body) == (503, "The server is closing.\n")
        await refused.wait_closed()
        if not wait:
            peer.close()
            await peer.wait_closed()
        await closing


async def test_a_closed_server_can_be_started_again():
    server = wsfast.serve(echo, no_server=True)
    for _ in range(2):
        async with server, socket_pair() as (sock, peer):
            assert await server.handle_upgrade(request(), sock) is not None
            assert (await peer.head()).status == 101


async def test_a_server_that_does_not_listen_can_be_waited_for():
    server = wsfast.WebSocketServer(no_server=True)
    task = asyncio.create_task(server.serve_forever())
    await asyncio.sleep(0)
    assert not task.done()
    server.close()
    await task


async def test_the_limits_of_the_server_hold():
    """SV12: max_connections, and the timeouts that its sweep looks after."""
    async with (
        wsfast.WebSocketServer(no_server=True, max_connections=1, ping_interval=0.05) as server,
        socket_pair() as (sock, peer),
        socket_pair() as (other, refused),
    ):
        assert await server.handle_upgrade(request(), sock) is not None
        assert await server.handle_upgrade(request(), other) is None
        assert (await refused.head()).status == 503
        assert (await peer.head()).status == 101
        assert (await peer.frame()).opcode == 9


async def test_a_request_that_does_not_come_is_given_up():
    async with (
        wsfast.WebSocketServer(no_server=True, open_timeout=0.05) as server,
        socket_pair() as (sock, peer),
    ):
        assert await server.handle_upgrade(b"GET / HTTP/1.1\r\n", sock) is None
        assert await peer.rest() == b""


async def test_addresses_of_a_unix_socket_are_known_behind_its_end():
    """Also if nobody asked before: not every loop can tell when the socket is closed."""
    server = wsfast.WebSocketServer(no_server=True)
    async with server, socket_pair() as (sock, peer):
        ws = await server.handle_upgrade(request(), sock)
        assert (await peer.head()).status == 101
        ws.terminate()
        await peer.wait_closed()
        await ws.wait_closed()
        await asyncio.sleep(0)  # in which the loop closes the socket
        assert (ws.remote_address, ws.local_address) == ("", "")
        assert ws.client_address is None
        assert repr(ws) == "<WebSocket server CLOSED >"
