"""`serve` and `WebSocketServer`: their life, their handlers and connections, what they log."""

import asyncio
import logging
import socket

import pytest
from peers import (
    CLOSE,
    PATIENCE,
    TEXT,
    Accepted,
    client_of,
    close_payload,
    echo,
    exchange,
    raw_client,
    request,
    until,
    uri_of,
)

import wsfast


def serve(handler=echo, **options):
    return wsfast.serve(handler, "127.0.0.1", 0, **options)


async def round_trip(uri):
    async with asyncio.timeout(PATIENCE), wsfast.connect(uri) as ws:
        await ws.send("hello")
        assert await ws.recv() == "hello"


# --- Its life ---------------------------------------------------------------------------------


async def test_awaiting_a_server_starts_it():
    server = await serve()
    assert server.is_serving
    await round_trip(uri_of(server))
    await server.close()
    assert not server.is_serving


async def test_a_closed_server_can_be_started_again():
    server = serve()
    for _ in range(2):
        async with server:
            await round_trip(uri_of(server))


async def test_starting_a_server_that_listens_changes_nothing():
    """As in ``server = await serve(...)`` and ``async with server:`` behind it."""
    server = await serve()
    sockets = server.sockets
    async with server:
        assert await server.start() is server
        assert server.sockets == sockets
        await round_trip(uri_of(server))
    assert not server.is_serving
    assert all(sock.fileno() < 0 for sock in sockets)


@pytest.mark.parametrize("no_server", [False, True])
async def test_a_server_that_closes_cannot_be_started_before_it_has(no_server):
    server = wsfast.WebSocketServer(no_server=True) if no_server else serve()
    await server.start()
    closing = server.close()
    with pytest.raises(RuntimeError, match=r"closing; await wait_closed\(\) before you start it"):
        await server.start()
    await closing
    async with server:
        assert server.is_serving
    assert not server.is_serving


def test_a_server_may_live_again_in_another_event_loop():
    """What was waited for is of the loop in which it was."""
    server = serve()

    async def live():
        async with server, asyncio.timeout(PATIENCE):
            forever = asyncio.create_task(server.serve_forever())
            async with wsfast.connect(uri_of(server)) as ws:
                await ws.send("hello")
                assert await ws.recv() == "hello"
                server.close()
                await forever

    for _ in range(2):
        asyncio.run(live())


def test_a_server_that_was_not_closed_cannot_be_started_in_another_event_loop():
    server = serve()

    async def start_again():
        with pytest.raises(RuntimeError, match="not closed in the event loop that it is of"):
            await server.start()

    async def close():
        await server.close()

    with asyncio.Runner() as first, asyncio.Runner() as second:
        first.run(server.start())
        second.run(start_again())
        first.run(close())


async def test_a_socket_that_cannot_listen_leaves_the_server_as_it_was():
    errors = []
    connected, other = socket.socketpair()
    with connected, other:
        server = wsfast.WebSocketServer(sock=connected)
        server.on("error", errors.append)
        for _ in range(2):
            with pytest.raises(OSError) as caught:
                await server.start()
            assert errors.pop() is caught.value
            assert server.sockets == ()
            assert not server.is_serving


def test_a_port_in_the_place_of_the_host_is_called_so():
    with pytest.raises(TypeError, match="host must be a str, several, or None, not 8765"):
        wsfast.WebSocketServer(8765)


async def test_serve_forever_starts_the_server_and_ends_when_it_is_closed():
    server = wsfast.WebSocketServer("127.0.0.1", 0)
    listening = asyncio.Event()
    server.on("listening", listening.set)
    task = asyncio.create_task(server.serve_forever())
    await listening.wait()
    assert server.is_serving
    server.close()
    await task


async def test_cancelling_serve_forever_closes_the_server():
    async with serve() as server, wsfast.connect(uri_of(server)) as ws:
        task = asyncio.create_task(server.serve_forever())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not server.is_serving
        await ws.wait_closed()
        assert ws.close_code == 1001


async def test_a_server_that_was_not_started_is_closed_already():
    server = serve()
    await server.close()
    await server.wait_closed()


async def test_the_listening_address_is_logged(caplog):
    with caplog.at_level(logging.INFO, "wsfast.server"):
        async with serve() as server:
            host, port = server.address()
    assert f"server listening on {host}:{port}" in caplog.messages
    assert caplog.messages[-2:] == ["server closing", "server closed"]


# --- Handlers ---------------------------------------------------------------------------------


async def test_a_connection_closes_with_1000_when_its_handler_returns():
    async def handler(ws):
        await ws.send("bye")

    async with serve(handler) as server, client_of(server) as peer:
        assert await peer.frame() == (TEXT, b"bye", True, False)
        assert (await peer.frame()).payload == close_payload(1000)
        peer.close()
        assert await peer.rest() == b""


async def test_a_connection_closes_with_1011_when_its_handler_raises(caplog):
    async def handler(ws):
        raise RuntimeError("the database password is hunter2")

    async with serve(handler) as server, client_of(server) as peer:
        assert (await peer.frame()).payload == close_payload(1011)
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert record.name == "wsfast.server"
    assert record.getMessage() == "connection handler failed"
    assert "hunter2" in caplog.text


async def test_a_handler_that_meets_the_end_of_the_connection_is_not_a_failure(caplog):
    async def handler(ws):
        while True:
            await ws.recv()

    async with serve(handler) as server, client_of(server) as peer:
        peer.close(4000)
        assert await peer.closed() == (4000, "")
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_a_handler_that_is_no_coroutine_function_fails_its_connections(caplog):
    async with serve(lambda ws: None) as server, client_of(server) as peer:
        assert (await peer.frame()).payload == close_payload(1011)
    assert "connection handler failed" in caplog.text
    assert "During handling" not in caplog.text  # of an exception that is no business of the user


async def test_a_handler_may_be_an_object_with_a_coroutine_method():
    handler = Accepted()
    async with serve(handler) as server, client_of(server, "/chat?x=1"):
        ws = await handler.get()
        assert ws.path == "/chat?x=1"
        assert ws.server is server


@pytest.mark.parametrize("handler", [None, "handler", 5])
def test_a_handler_that_cannot_be_called_is_refused(handler):
    with pytest.raises(TypeError, match="handler must be a coroutine function"):
        serve(handler)


# --- Logs -------------------------------------------------------------------------------------


async def test_the_life_of_connections_is_logged_for_debugging_only(caplog):
    with caplog.at_level(logging.DEBUG, "wsfast"):
        async with serve() as server:
            await round_trip(uri_of(server))
            uri = uri_of(server)
            with pytest.raises(wsfast.NetworkError):
                await server.close()
                await round_trip(uri)
    ended = "connection closed: sent 1000 (OK); then received 1000 (OK)"
    client = [record for record in caplog.records if record.name == "wsfast.client"]
    assert [record.getMessage() for record in client] == [f"connected to {uri}", ended]
    assert {record.levelno for record in client} == {logging.DEBUG}
    ended = "connection closed: received 1000 (OK); then sent 1000 (OK)"
    assert ("wsfast.server", logging.DEBUG, ended) in caplog.record_tuples


async def test_a_client_that_breaks_the_protocol_is_one_line(caplog):
    with caplog.at_level(logging.INFO, "wsfast"):
        async with serve() as server, client_of(server) as peer:
            peer.send(TEXT, "x", rsv=4)
            assert (await peer.closed())[0] == 1002
            await peer.wait_closed()
            await until(lambda: "failed" in caplog.text)
    assert [record.getMessage() for record in caplog.records[1:2]] == [
        "connection failed: Invalid WebSocket frame: RSV1 must be clear"
    ]


# --- Connections ------------------------------------------------------------------------------


async def test_the_open_connections_are_kept():
    """SV11, SE9, M8."""
    handler = Accepted()
    async with serve(handler) as server:
        assert server.connections == set()
        async with client_of(server), client_of(server) as peer:
            first, second = await handler.get(), await handler.get()
            assert server.connections == {first, second}
            peer.close()
            await peer.rest()
            await until(lambda: len(server.connections) == 1)
            assert server.connections < {first, second}


async def test_the_open_connections_are_not_kept_without_client_tracking():
    """SV11, M8."""
    async with serve(client_tracking=False) as server, wsfast.connect(uri_of(server)) as ws:
        with pytest.raises(AttributeError, match="client_tracking is off"):
            server.connections  # noqa: B018
        await ws.send("hello")
        assert await ws.recv() == "hello"


async def test_clients_above_max_connections_get_503():
    """SV12."""
    async with serve(max_connections=1) as server:
        async with client_of(server) as peer:
            head, body = await exchange(server, request())
            assert head.line == "HTTP/1.1 503 Service Unavailable"
            assert body == "The server has too many connections.\n"
            peer.close()
            await peer.rest()
        await until(lambda: not server.connections)
        async with client_of(server):
            pass


async def test_max_connections_holds_for_handshakes_that_run_at_once():
    go = asyncio.Event()

    async def process_request(ws, request):
        await go.wait()

    async with (
        serve(max_connections=1, process_request=process_request) as server,
        raw_client(server, request()) as one,
        raw_client(server, request()) as two,
    ):
        await until(lambda: len(server._handshakes) == 2)
        go.set()
        statuses = [(await peer.head()).status for peer in (one, two)]
        assert sorted(statuses) == [101, 503]


# --- Event style ------------------------------------------------------------------------------


async def test_the_event_style_echoes_and_tells_the_life_of_the_server():
    """SE1, SE2, SE5, SV15, E2: "listening", "connection" and "close"."""
    events = []
    server = wsfast.WebSocketServer("127.0.0.1", 0)
    server.on("listening", lambda: events.append("listening"))
    server.on("close", lambda: events.append("close"))

    @server.on("connection")
    def connection(ws, request):
        events.append(request.path)

        @ws.on("message")
        def message(data, is_binary):
            ws.send(data)

    async with server, client_of(server, "/x") as peer:
        peer.send(TEXT, "hello")
        assert (await peer.frame()).payload == b"hello"
    assert events == ["listening", "/x", "close"]


async def test_a_connection_listener_may_be_a_coroutine_function():
    server = wsfast.WebSocketServer("127.0.0.1", 0)

    @server.on("connection")
    async def connection(ws, request):
        await ws.send(request.path)
        await ws.close(4000, "enough")

    async with server, client_of(server, "/x") as peer:
        assert (await peer.frame()).payload == b"/x"
        assert (await peer.frame()).payload == close_payload(4000, "enough")
        peer.close()


async def test_handler_and_listener_go_together():
    events = []
    async with serve() as server:
        server.on("connection", lambda ws, request: events.append(ws))
        await round_trip(uri_of(server))
    assert len(events) == 1


async def test_a_close_frame_from_the_client_is_answered_and_the_server_closes_first():
    """L18: as the RFC wants it; the client waits for it."""
    async with serve() as server, client_of(server) as peer:
        peer.write("888237fa213d3412")  # 1000
        assert await peer.read(4) == "880203e8"
        assert await peer.rest() == b""


async def test_a_close_frame_without_a_code_is_answered_without_one():
    async with serve() as server, client_of(server) as peer:
        peer.write("888037fa213d")
        assert await peer.read(2) == "8800"
        assert await peer.rest() == b""


async def test_messages_of_both_types_and_all_sizes_come_back():
    """M6"""
    sizes = [0, 1, 125, 126, 65535, 65536, 2**20]
    async with serve() as server, wsfast.connect(uri_of(server)) as ws:
        for size in sizes:
            for data in "é" * (size // 2), bytes(size):
                await ws.send(data)
                assert await ws.recv() == data


async def test_a_message_above_max_size_is_refused_at_its_header():
    """SV12, M8, M10."""
    async with serve(max_size=10) as server, client_of(server) as peer:
        peer.send(TEXT, "x" * 10)
        assert (await peer.frame()).payload == b"x" * 10
        peer.send(TEXT, "", length=11)
        came = await peer.frame()
        reason = "Frame size of 11 exceeds maximum of 10"
        assert (came.opcode, came.payload) == (CLOSE, close_payload(1009, reason))
