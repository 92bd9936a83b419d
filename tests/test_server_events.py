"""What a server tells by its events, and what its listeners may change."""

import asyncio
import shutil
import socket
import subprocess

import pytest
from peers import (
    ACCEPT,
    PATIENCE,
    TEXT,
    Accepted,
    client_of,
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


# --- "error" ------------------------------------------------------------------------------------


async def test_an_address_that_cannot_be_listened_on_is_told_and_raised():
    """SE1: bind failure."""
    errors = []
    with socket.create_server(("127.0.0.1", 0)) as taken:
        server = wsfast.WebSocketServer("127.0.0.1", taken.getsockname()[1])
        server.on("error", errors.append)
        for start in server.start, server.__aenter__, server.serve_forever:
            with pytest.raises(OSError, match="address already in use") as caught:
                await start()
            assert errors.pop() is caught.value
    assert errors == []
    assert not server.is_serving


def test_run_tells_it_too():
    """SE1."""
    errors = []
    with socket.create_server(("127.0.0.1", 0)) as taken:
        server = wsfast.WebSocketServer("127.0.0.1", taken.getsockname()[1])
        server.on("error", errors.append)
        with pytest.raises(OSError, match="address already in use"):
            server.run()
    assert len(errors) == 1


async def test_a_server_that_could_not_listen_may_try_again():
    server = wsfast.WebSocketServer("127.0.0.1", 0)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        server._port = taken.getsockname()[1]
        with pytest.raises(OSError):
            await server.start()
    async with server:
        assert server.is_serving


# --- "headers" ----------------------------------------------------------------------------------


async def test_headers_may_be_changed_before_the_101_is_written():
    """SE3."""
    handler = Accepted()
    async with serve(handler) as server:

        @server.on("headers")
        def headers(headers, request):
            assert request.path == "/x"
            headers["Set-Cookie"] = "a=b"
            del headers["Server"]

        async with raw_client(server, request("/x")) as peer:
            head = await peer.head()
            assert head.status == 101
            assert head.headers["set-cookie"] == "a=b"
            assert "server" not in head.headers
            assert head.headers["sec-websocket-accept"] == ACCEPT
        ws = await handler.get()
        assert ws.response.headers["Set-Cookie"] == "a=b"


async def test_headers_come_behind_process_response_and_only_for_a_101():
    """SE3."""
    told = []

    def process_response(ws, request, response):
        if request.path == "/refused":
            return wsfast.Response(403, "No", wsfast.Headers())
        response.headers["X-Hook"] = "1"

    async with serve(process_response=process_response) as server:
        server.on("headers", lambda headers, request: told.append(headers["X-Hook"]))
        head, _ = await exchange(server, request("/refused"))
        assert head.status == 403
        assert told == []
        async with client_of(server):
            assert told == ["1"]


async def test_headers_see_the_subprotocol_and_the_extensions():
    told = []
    async with serve(subprotocols=["chat"], compression=True) as server:
        server.on("headers", lambda headers, request: told.append(headers))
        async with wsfast.connect(uri_of(server), subprotocols=["chat"]) as ws:
            await ws.send("hello")
            assert await ws.recv() == "hello"
    assert told[0]["Sec-WebSocket-Protocol"] == "chat"
    assert told[0]["Sec-WebSocket-Extensions"].startswith("permessage-deflate")


async def test_a_header_that_cannot_be_sent_is_answered_with_500(caplog):
    async with serve(compression=True) as server:
        server.on("headers", lambda headers, request: headers.update({name: value}))
        name, value = "Sec-WebSocket-Extensions", "permessage-deflate; x=1"
        head, _ = await exchange(server, request())
        assert head.status == 500
    assert "cannot change Sec-WebSocket-Extensions" in caplog.text


# --- "client-error" -----------------------------------------------------------------------------

BAD = {
    "method": (request().replace(b"GET", b"POST"), wsfast.InvalidMethod, 405),
    "upgrade": (request(upgrade="h2c"), wsfast.InvalidUpgrade, 426),
    "key": (request(without=["Sec-WebSocket-Key"]), wsfast.InvalidHeader, 400),
    "version": (request(sec_websocket_version="7"), wsfast.InvalidVersion, 426),
    "subprotocol": (request(sec_websocket_protocol=","), wsfast.InvalidHeader, 400),
    "extensions": (request(sec_websocket_extensions="a;;"), wsfast.InvalidHeader, 400),
    "body": (request(content_length="5"), wsfast.InvalidMessage, 400),
    "no HTTP": (b"\x16\x03\x01\r\n\r\n", wsfast.InvalidMessage, 400),
}


@pytest.mark.parametrize(("data", "kind", "status"), BAD.values(), ids=BAD)
async def test_a_request_that_is_no_valid_handshake_is_told_before_its_answer(data, kind, status):
    """SE4."""
    told = []
    async with serve(compression=True) as server:

        @server.on("client-error")
        def client_error(error, response, request):
            told.append((error, request))
            response.status_code, response.reason_phrase = 400, "Nonsense"
            response.headers["X-Was"] = str(status_of(response))
            response.body += b"Try again.\n"

        def status_of(response):
            return response.status_code

        head, body = await exchange(server, data)
        assert head.line == "HTTP/1.1 400 Nonsense"
        assert body.endswith(".\nTry again.\n")
    ((error, parsed),) = told
    assert isinstance(error, kind)
    if kind is wsfast.InvalidMessage:
        assert parsed is None
    else:
        assert parsed.headers["Host"] == "localhost"


async def test_without_a_listener_each_gets_the_usual_answer():
    """SE4."""
    async with serve(compression=True) as server:
        for data, _, status in BAD.values():
            head, body = await exchange(server, data)
            assert head.status == status
            assert body.startswith("Failed to open a WebSocket connection: ")


async def test_what_is_valid_but_refused_is_no_error_of_the_client():
    """SE4: not for the path, verify_client, 503, nor for a foreign origin."""
    told = []
    async with serve(
        path="/x",
        origins=[None],
        max_connections=1,
        verify_client=lambda info: "no" not in info.request.path,
    ) as server:
        server.on("client-error", lambda *arguments: told.append(arguments))
        for data, status in [
            (request("/y"), 404),
            (request("/x", origin="https://evil"), 403),
            (request("/x?no"), 401),
        ]:
            assert (await exchange(server, data))[0].status == status
        async with client_of(server, "/x"):
            assert (await exchange(server, request("/x")))[0].status == 503
    assert told == []


async def test_a_listener_cannot_open_what_is_no_valid_handshake(caplog):
    async with serve() as server:

        @server.on("client-error")
        def client_error(error, response, request):
            response.status_code = 101

        head, body = await exchange(server, request(without=["Sec-WebSocket-Key"]))
        assert head.status == 500
        assert server.clients == set()
    assert "a bad request cannot be answered with 101" in caplog.text


async def test_a_listener_cannot_break_the_answer(caplog):
    async with serve() as server:

        @server.on("client-error")
        def client_error(error, response, request):
            response.reason_phrase = "a\r\nX: b"

        head, _ = await exchange(server, request(without=["Sec-WebSocket-Key"]))
        assert head.status == 500
        assert "x" not in head.headers


async def test_what_such_listeners_raise_is_reported_and_the_answer_is_sent():
    reported = []
    asyncio.get_running_loop().set_exception_handler(
        lambda loop, context: reported.append(context["message"])
    )
    async with serve() as server:
        for event in "client-error", "headers", "disconnection":
            server.on(event, lambda *arguments: 1 / 0)
        head, _ = await exchange(server, request(without=["Sec-WebSocket-Key"]))
        assert head.status == 400
        async with client_of(server):
            pass
    assert reported == [
        "a 'client-error' listener raised an exception",
        "a 'headers' listener raised an exception",
        "a 'disconnection' listener raised an exception",
    ]


# --- "connection" and "disconnection" -----------------------------------------------------------


async def test_each_connection_is_told_at_its_beginning_and_at_its_end():
    """SE2."""
    events = []
    server = wsfast.WebSocketServer("127.0.0.1", 0)
    server.on("connection", lambda ws, request: events.append((ws, request.path)))
    server.on("disconnection", lambda ws: events.append((ws, ws.close_code)))
    async with server:
        for path, code in ("/a", 4000), ("/b", 1000):
            async with client_of(server, path) as peer:
                peer.close(code)
                await peer.rest()
            await until(lambda: not server.clients)
    (one, _), _, (two, _), _ = events
    assert events == [(one, "/a"), (one, 4000), (two, "/b"), (two, 1000)]


async def test_a_connection_that_was_never_open_is_not_told():
    events = []
    server = wsfast.WebSocketServer("127.0.0.1", 0, process_request=lambda ws, request: None)
    server.on("connection", lambda ws, request: events.append(ws))
    server.on("disconnection", lambda ws: events.append(ws))
    async with server:
        await exchange(server, request(without=["Sec-WebSocket-Key"]))
        async with raw_client(server, request()[:-2]) as peer:
            peer.write_eof()
            await peer.rest()
    assert events == []


@pytest.mark.parametrize("end", ["close", "terminate"])
async def test_the_clients_are_up_to_date_when_an_end_is_told(end):
    """SE9: on close and on terminate, before any "close" listener."""
    counts = []
    server = wsfast.WebSocketServer("127.0.0.1", 0)

    def count(*arguments):
        counts.append(len(server.clients))

    @server.on("connection")
    def connection(ws, request):
        count()
        ws.on("close", count)
        if end == "terminate":
            ws.terminate()

    server.on("disconnection", count)
    async with server, raw_client(server, request()) as peer:
        if end == "close":
            await peer.head()
            peer.close()
            await peer.closed()
            await peer.wait_closed()
        await until(lambda: len(counts) == 3)
    assert counts == [1, 0, 0]


async def test_clients_is_another_name_of_connections():
    """SE9, SV11."""
    handler = Accepted()
    async with serve(handler) as server, client_of(server):
        ws = await handler.get()
        assert server.clients == server.connections == {ws}
    async with serve(client_tracking=False) as server:
        with pytest.raises(AttributeError, match="client_tracking is off"):
            server.clients  # noqa: B018


async def test_a_client_that_goes_before_it_is_accepted_is_no_connection():
    """SV6, SE2: FIN before accept."""
    events = []
    waiting = asyncio.Event()
    cancelled = asyncio.Event()

    async def verify(info):
        waiting.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    server = wsfast.WebSocketServer("127.0.0.1", 0, verify_client=verify)
    server.on("connection", lambda *arguments: events.append(arguments))
    async with server, raw_client(server, request()) as peer:
        await waiting.wait()
        peer.write_eof()
        assert await peer.rest() == b""
        await cancelled.wait()
    assert events == []


async def test_what_comes_during_a_hook_is_bounded():
    """Reading goes on to learn of the end, but not for ever."""
    go = asyncio.Event()
    handler = Accepted()

    async def verify(info):
        await go.wait()
        return True

    async with serve(handler, verify_client=verify, max_queue=None) as server:
        async with raw_client(server, request()) as peer:
            message = frame(TEXT, "x" * 1000, mask=b"abcd")
            count = 20_000_000 // len(message)
            peer.write(message * count)
            await until(lambda: any(opening._paused for opening in server._handshakes))
            (opening,) = server._handshakes
            assert len(opening._rest) < 1_000_000
            go.set()
            ws = await handler.get()
            async with asyncio.timeout(PATIENCE):
                for _ in range(count):
                    assert len(await ws.recv()) == 1000


# --- What else a server is made of --------------------------------------------------------------


async def test_should_handle_can_be_overridden():
    """SE8, SV4: by default it compares the path."""

    class Server(wsfast.WebSocketServer):
        def should_handle(self, request):
            return request.headers["Host"] == "chat.example.com"

    async with Server("127.0.0.1", 0) as server:
        head, body = await exchange(server, request("/x"))
        assert head.status == 404
        async with client_of(server, "/x", host="chat.example.com"):
            pass
    server = wsfast.WebSocketServer(port=0, path="/chat")
    for path, handled in ("/chat", True), ("/chat?x", True), ("/chat/", False), ("/", False):
        assert server.should_handle(wsfast.Request(path, wsfast.Headers())) is handled


@pytest.mark.parametrize("answer", [None, 1, "yes"])
async def test_should_handle_must_answer_with_a_bool(answer, caplog):
    """SE8."""
    async with serve() as server:
        server.should_handle = lambda request: answer
        head, _ = await exchange(server, request())
        assert head.status == 500
    assert "should_handle must return a bool" in caplog.text


async def test_connections_are_of_the_given_class():
    """SV14."""

    class Mine(wsfast.WebSocket):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.name = "mine"

    handler = Accepted()
    async with serve(handler, websocket_class=Mine) as server, client_of(server):
        ws = await handler.get()
        assert type(ws) is Mine
        assert ws.name == "mine"
    for wrong in None, "WebSocket", dict, wsfast.WebSocketServer:
        with pytest.raises(TypeError, match="websocket_class"):
            wsfast.WebSocketServer(port=0, websocket_class=wrong)


async def test_the_options_can_be_seen():
    """SV16, SV12: with their defaults, and as they reach the connections."""
    handler = Accepted()
    server = serve(handler, max_size=5, close_timeout=3)
    assert (server.options.max_size, server.options.close_timeout) == (5, 3)
    assert server.options.max_fragments == wsfast.Options().max_fragments
    async with server, client_of(server):
        assert (await handler.get()).options is server.options


async def test_messages_are_not_compressed_unless_asked_for():
    """SV13."""
    for options, agreed in ({}, False), ({"compression": True}, True):
        async with serve(**options) as server:
            data = request(sec_websocket_extensions="permessage-deflate")
            async with raw_client(server, data) as peer:
                assert ("sec-websocket-extensions" in (await peer.head()).headers) is agreed


@pytest.mark.skipif(shutil.which("ss") is None, reason="ss tells the backlog")
async def test_the_backlog_is_that_of_the_socket(tmp_path):
    """SV3."""
    path = str(tmp_path / "socket")
    async with wsfast.serve(echo, unix_path=path, backlog=7):
        listed = subprocess.run(["ss", "-xl"], capture_output=True, text=True).stdout
        (line,) = [line for line in listed.splitlines() if path in line]
        assert line.split()[3] == "7"
