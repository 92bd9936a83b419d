"""`serve` and `WebSocketServer`: where they listen, whom they let in, and what they call."""

import asyncio
import fcntl
import logging
import os
import socket
from email.utils import parsedate_to_datetime

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
    frame,
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


def has_ipv6():
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="there is no ::1")


# --- Where it listens -------------------------------------------------------------------------


async def test_port_0_is_a_free_port_that_address_tells():
    async with wsfast.serve(echo, "127.0.0.1", 0) as server:
        host, port = server.address()
        assert host == "127.0.0.1"
        assert port > 0
        await round_trip(f"ws://127.0.0.1:{port}")
    assert server.address() is None
    assert server.sockets == ()


@needs_ipv6
async def test_one_server_listens_on_several_hosts():
    async with wsfast.serve(echo, ["127.0.0.1", "::1"], 0) as server:
        assert len(server.sockets) == 2
        for sock in server.sockets:
            host, port = sock.getsockname()[:2]
            await round_trip(f"ws://[{host}]:{port}" if ":" in host else f"ws://{host}:{port}")


@needs_ipv6
async def test_no_host_is_every_address_of_both_families():
    async with wsfast.serve(echo, None, 0) as server:
        for sock in server.sockets:
            loopback = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "[::1]"}[sock.family]
            await round_trip(f"ws://{loopback}:{sock.getsockname()[1]}")


async def test_a_unix_socket_is_served(tmp_path):
    path = str(tmp_path / "socket")
    async with wsfast.serve(echo, unix_path=path) as server:
        assert server.address() == path
        await round_trip(f"ws+unix:{path}:/")


async def test_a_given_socket_is_served():
    with socket.create_server(("127.0.0.1", 0)) as sock:
        async with wsfast.serve(echo, sock=sock) as server:
            assert server.address() == sock.getsockname()
            await round_trip(uri_of(server))


async def test_a_given_unix_socket_is_served(tmp_path):
    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(path)
        async with wsfast.serve(echo, sock=sock):
            await round_trip(f"ws+unix:{path}:/")


async def test_an_address_in_use_is_an_oserror():
    async with serve() as server:
        with pytest.raises(OSError, match="address already in use"):
            await wsfast.serve(echo, *server.address())


async def test_two_servers_share_a_port_with_reuse_port():
    async with (
        serve(reuse_port=True) as first,
        wsfast.serve(echo, *first.address(), reuse_port=True) as second,
    ):
        assert second.address() == first.address()


async def test_connections_have_no_delay_and_are_not_inherited():
    handler = Accepted()
    async with serve(handler) as server, client_of(server):
        ws = await handler.get()
        sock = ws.get_extra_info("socket")
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert fcntl.fcntl(sock.fileno(), fcntl.F_GETFD) & fcntl.FD_CLOEXEC
        for listening in server.sockets:
            assert not os.get_inheritable(listening.fileno())


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


# --- Connections ------------------------------------------------------------------------------


async def test_the_open_connections_are_kept():
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
    async with serve(client_tracking=False) as server, wsfast.connect(uri_of(server)) as ws:
        with pytest.raises(AttributeError, match="client_tracking is off"):
            server.connections  # noqa: B018
        await ws.send("hello")
        assert await ws.recv() == "hello"


async def test_clients_above_max_connections_get_503():
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


# --- Subprotocols -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("offered", "selected"),
    [
        ("chat", "chat"),
        ("superchat, chat", "superchat"),
        ("chat, superchat", "superchat"),
        ("CHAT", None),
        ("other", None),
        (None, None),
    ],
)
async def test_the_servers_order_chooses_the_subprotocol(offered, selected):
    handler = Accepted()
    headers = {} if offered is None else {"Sec-WebSocket-Protocol": offered}
    async with (
        serve(handler, subprotocols=["superchat", "chat"]) as server,
        raw_client(server, request(**headers)) as peer,
    ):
        assert (await peer.head()).headers.get("sec-websocket-protocol") == selected
        assert (await handler.get()).subprotocol == selected


@pytest.mark.parametrize("is_async", [False, True])
async def test_select_subprotocol_chooses(is_async):
    seen = []

    def select(ws, offered):
        seen.append((ws.path, offered))
        return offered[-1]

    async def select_async(ws, offered):
        await asyncio.sleep(0)
        return select(ws, offered)

    async with (
        serve(select_subprotocol=select_async if is_async else select) as server,
        client_of(server, "/x", sec_websocket_protocol="a, b"),
    ):
        pass
    assert seen == [("/x", ["a", "b"])]


async def test_select_subprotocol_cannot_choose_what_the_client_did_not_offer(caplog):
    async with serve(select_subprotocol=lambda ws, offered: "mine") as server:
        head, body = await exchange(server, request(sec_websocket_protocol="a"))
    assert head.status == 500
    assert "mine" not in body
    assert "chose 'mine', which the client did not offer" in caplog.text


# --- Hooks of the handshake -------------------------------------------------------------------


def teapot(ws, request):
    return wsfast.Response(418, "I'm a teapot", wsfast.Headers({"X-Tea": "green"}), b"tea\n")


async def wait_and_teapot(ws, request):
    await asyncio.sleep(0)
    return teapot(ws, request)


@pytest.mark.parametrize("process_request", [teapot, wait_and_teapot])
async def test_process_request_answers_in_plain_http(process_request):
    async with serve(process_request=process_request) as server:
        head, body = await exchange(server, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert head.line == "HTTP/1.1 418 I'm a teapot"
    assert parsedate_to_datetime(head.headers.pop("date"))
    assert head.headers == {"x-tea": "green", "connection": "close", "content-length": "4"}
    assert body == "tea\n"


async def test_process_request_sees_the_connection_and_lets_it_pass():
    seen = {}

    def process_request(ws, request):
        ws.user = request.headers["X-User"]
        seen.update(state=ws.state, peer=ws.remote_address, path=ws.path, response=ws.response)

    handler = Accepted()
    async with (
        serve(handler, process_request=process_request) as server,
        client_of(server, "/x", x_user="me") as peer,
    ):
        ws = await handler.get()
        assert ws.user == "me"
        assert seen == {
            "state": wsfast.State.CONNECTING,
            "peer": peer.socket.getsockname(),
            "path": "/x",
            "response": None,
        }


def add_header(ws, request, response):
    response.headers["Set-Cookie"] = "a=1"
    response.headers["Set-Cookie"] = "b=2"


def replace(ws, request, response):
    return wsfast.Response(403, "No", wsfast.Headers(), b"no\n")


async def replace_later(ws, request, response):
    await asyncio.sleep(0)
    return replace(ws, request, response)


async def test_process_response_may_change_the_response():
    handler = Accepted()
    async with (
        serve(handler, process_response=add_header) as server,
        wsfast.connect(uri_of(server)) as ws,
    ):
        assert ws.response.headers.get_all("Set-Cookie") == ["a=1", "b=2"]
        assert (await handler.get()).response.headers == ws.response.headers


@pytest.mark.parametrize("process_response", [replace, replace_later])
async def test_process_response_may_refuse(process_response):
    handler = Accepted()
    async with serve(handler, process_response=process_response) as server:
        head, body = await exchange(server, request())
    assert (head.status, body) == (403, "no\n")
    assert handler.connections.empty()


def unauthorized():
    return wsfast.Response(407, "Pay first", wsfast.Headers(), b"")


@pytest.mark.parametrize(
    ("verdict", "status", "text"),
    [
        (True, 101, ""),
        (False, 401, "The server refused the client.\n"),
        (unauthorized(), 407, ""),
    ],
)
@pytest.mark.parametrize("is_async", [False, True])
async def test_verify_client_decides(verdict, status, text, is_async):
    seen = []

    def verify(info):
        seen.append((info.origin, info.request.path, info.secure))
        return verdict

    async def verify_later(info):
        await asyncio.sleep(0)
        return verify(info)

    async with (
        serve(verify_client=verify_later if is_async else verify) as server,
        raw_client(server, request("/x", origin="https://a")) as peer,
    ):
        head = await peer.head()
        assert head.status == status
        if status != 101:
            assert (await peer.rest()).decode() == text
    assert seen == [("https://a", "/x", False)]


def fail(*arguments):
    raise RuntimeError("the database password is hunter2")


async def fail_later(*arguments):
    await asyncio.sleep(0)
    fail()


@pytest.mark.parametrize("failing", [fail, fail_later])
@pytest.mark.parametrize(
    "hook", ["process_request", "verify_client", "select_subprotocol", "process_response"]
)
async def test_a_hook_that_raises_is_answered_with_500_and_logged(hook, failing, caplog):
    async with serve(**{hook: failing}) as server:
        head, body = await exchange(server, request())
    assert head.status == 500
    assert body == "Failed to open a WebSocket connection: the server has an internal error.\n"
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert record.getMessage() == "opening handshake failed"
    assert "hunter2" in caplog.text


@pytest.mark.parametrize("verdict", [None, 1, "yes", wait_and_teapot])
async def test_verify_client_must_decide_by_a_bool(verdict, caplog):
    """What is only true, as a function that was not called, must not let everybody in."""
    async with serve(verify_client=lambda info: verdict) as server:
        head, _ = await exchange(server, request())
    assert head.status == 500
    assert "verify_client must return a bool or a Response" in caplog.text


@pytest.mark.parametrize("hook", ["process_request", "process_response"])
async def test_a_hook_that_returns_something_else_is_answered_with_500(hook, caplog):
    async with serve(**{hook: lambda *arguments: (200, "OK")}) as server:
        head, _ = await exchange(server, request())
    assert head.status == 500
    assert f"{hook} must return a Response or None, not (200, 'OK')" in caplog.text


async def test_what_a_client_sends_while_a_hook_is_awaited_comes_through_in_order():
    handler = Accepted()
    go = asyncio.Event()

    async def process_request(ws, request):
        await go.wait()

    async with (
        serve(echo, process_request=process_request) as server,
        raw_client(server, request()) as peer,
    ):
        peer.send(TEXT, "one")
        await until(lambda: server._handshakes)
        await asyncio.sleep(0)
        peer.send(TEXT, "two")
        await peer.writer.drain()
        go.set()
        assert (await peer.head()).status == 101
        assert [(await peer.frame()).payload for _ in range(2)] == [b"one", b"two"]
    assert handler.connections.empty()


async def test_messages_that_came_during_a_hook_are_held_back_like_any_others():
    """The queue is full of what came with the request: reading must not go on."""
    handler = Accepted()

    async def process_request(ws, request):
        await asyncio.sleep(0)

    glued = b"".join(frame(TEXT, "x" * 100, mask=b"abcd") for _ in range(40))
    async with (
        serve(handler, process_request=process_request, max_queue=4) as server,
        raw_client(server, request() + glued) as peer,
    ):
        assert (await peer.head()).status == 101
        ws = await handler.get()
        await until(lambda: not ws.is_reading)
        received = ws.stats.wire_bytes_received
        for _ in range(20):
            peer.write(glued)
            await asyncio.sleep(0.001)
        assert ws.stats.wire_bytes_received == received
        for _ in range(40 * 21):
            assert await ws.recv() == "x" * 100


async def test_a_hook_is_cancelled_when_its_client_is_given_up():
    cancelled = asyncio.Event()

    async def process_request(ws, request):
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    async with (
        serve(process_request=process_request, open_timeout=0.1) as server,
        raw_client(server, request()) as peer,
    ):
        assert await peer.rest() == b""
        async with asyncio.timeout(PATIENCE):
            await cancelled.wait()


# --- Event style ------------------------------------------------------------------------------


async def test_the_event_style_echoes_and_tells_the_life_of_the_server():
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
    sizes = [0, 1, 125, 126, 65535, 65536, 2**20]
    async with serve() as server, wsfast.connect(uri_of(server)) as ws:
        for size in sizes:
            for data in "é" * (size // 2), bytes(size):
                await ws.send(data)
                assert await ws.recv() == data


async def test_a_message_above_max_size_is_refused_at_its_header():
    async with serve(max_size=10) as server, client_of(server) as peer:
        peer.send(TEXT, "x" * 10)
        assert (await peer.frame()).payload == b"x" * 10
        peer.send(TEXT, "", length=11)
        came = await peer.frame()
        reason = "Frame size of 11 exceeds maximum of 10"
        assert (came.opcode, came.payload) == (CLOSE, close_payload(1009, reason))
