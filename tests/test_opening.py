"""The hooks of the opening handshake, and that nothing of it is left.

The rows are those of the table of ws's features.
"""

import asyncio
import contextlib
import gc
import socket
import ssl
import weakref

import pytest
from hosts import (
    CLOSED_BEFORE,
    FAILURES,
    Record,
    connect,
    host,
    never_answer,
    refuse,
    refused_uri,
)
from peers import (
    PATIENCE,
    echo,
    raw_server,
    uri_of,
)

import wsfast
from wsfast.tls import server_context

# --- finish_request ---------------------------------------------------------------------------


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_finish_request_may_add_headers_late(asynchronous):
    """C9: for every request, with the connection, when the transport is there."""
    calls = []

    def add(request, ws):
        calls.append((request.path, type(ws), ws.state))
        request.headers["X-Late"] = str(len(calls))

    async def add_later(request, ws):
        await asyncio.sleep(0)
        add(request, ws)

    async with host({"/": "/next"}) as server:
        ws = await connect(server("/"), finish_request=add_later if asynchronous else add)
        await ws.close()
        state = wsfast.State.CONNECTING
        assert calls == [("/", wsfast.WebSocket, state), ("/next", wsfast.WebSocket, state)]
        assert [head.headers["x-late"] for head in server.heads] == ["1", "2"]
        assert ws.request.headers["X-Late"] == "2"


@pytest.mark.parametrize("how", ["close", "terminate", "cancelled"])
async def test_a_socket_that_nothing_is_made_of_is_closed(how):
    """The task that opens has not begun when it is not wanted any more."""
    left, right = socket.socketpair()
    with left, right:
        before = asyncio.all_tasks()
        ws = wsfast.WebSocket("ws://localhost/", sock=left)
        record = Record(ws)
        if how == "cancelled":
            (task,) = asyncio.all_tasks() - before
            task.cancel()
        else:
            getattr(ws, how)()
        await record.until("close")
        assert record.names == ["error", "close"]
        assert str(record.events[0][1]) == CLOSED_BEFORE
        async with asyncio.timeout(PATIENCE):
            await ws.wait_closed()
        await asyncio.sleep(0)
        assert left.fileno() == -1


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_what_finish_request_raises_is_raised_and_nothing_is_sent(asynchronous):
    """C9."""

    def fail(request, ws):
        raise ZeroDivisionError("in the hook")

    async def fail_later(request, ws):
        await asyncio.sleep(0)
        fail(request, ws)

    received = []

    async def play(peer):
        received.append(await peer.rest())

    hook = fail_later if asynchronous else fail
    async with raw_server(play) as uri:
        with pytest.raises(ZeroDivisionError, match="in the hook"):
            await connect(uri, finish_request=hook)
        record = Record(wsfast.WebSocket(uri, finish_request=hook))
        await record.until("close")
        assert record.names == ["error", "close"]
        assert isinstance(record.events[0][1], ZeroDivisionError)
    assert not any(received)


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("how", ["close", "terminate"])
async def test_finish_request_may_close(asynchronous, how):
    """C9, L10: nothing is sent."""

    def close(request, ws):
        getattr(ws, how)()

    async def close_later(request, ws):
        await asyncio.sleep(0)
        close(request, ws)

    received = []

    async def play(peer):
        received.append(await peer.rest())

    hook = close_later if asynchronous else close
    async with raw_server(play) as uri:
        record = Record(wsfast.WebSocket(uri, finish_request=hook))
        await record.until("close")
        assert record.names == ["error", "close"]
        assert str(record.events[0][1]) == CLOSED_BEFORE
        with pytest.raises(wsfast.InvalidHandshake, match=f"^{CLOSED_BEFORE}$"):
            await connect(uri, finish_request=hook)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert not any(received)


async def test_a_header_that_cannot_be_sent_is_refused_late_too():
    """C9, DESIGN 4.11: no CR or LF goes out."""
    received = []

    def add(request, ws):
        request.headers["X"] = "a\r\nInjected: 1"

    async def play(peer):
        received.append(await peer.rest())

    async with raw_server(play) as uri:
        with pytest.raises(ValueError, match="X|CR|header"):
            await connect(uri, finish_request=add)
    assert not any(received)


async def test_finish_request_counts_for_open_timeout():
    """C9, C13."""
    cancelled = []

    async def wait(request, ws):
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    async with raw_server(lambda peer: peer.rest()) as uri:
        with pytest.raises(TimeoutError, match="opening handshake"):
            await connect(uri, finish_request=wait, open_timeout=0.05)
        await asyncio.sleep(0)
    assert cancelled == [True]


async def test_a_finish_request_that_is_cancelled_by_itself_does_not_make_connect_hang():
    """C9."""

    async def cancel(request, ws):
        asyncio.current_task().cancel()
        await asyncio.sleep(0)

    async with raw_server(lambda peer: peer.rest()) as uri:
        with pytest.raises(wsfast.InvalidHandshake, match="^finish_request was cancelled$"):
            await connect(uri, finish_request=cancel, open_timeout=None)
        await asyncio.sleep(0)


async def test_a_server_that_hangs_up_while_finish_request_runs():
    """C9: what it waits for is cancelled."""
    ended = asyncio.Event()

    async def wait(request, ws):
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async def play(peer):
        peer.writer.close()

    async with raw_server(play) as uri:
        with pytest.raises(wsfast.InvalidMessage):
            await connect(uri, finish_request=wait)
        async with asyncio.timeout(PATIENCE):
            await ended.wait()


# --- create_connection, websocket_class and the rest ------------------------------------------


async def make_socket(name, port):
    sock = socket.socket()
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, (name, port))
    return sock


async def make_blocking_socket(name, port):
    return socket.create_connection((name, port))


async def make_transport(name, port):
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_connection(asyncio.Protocol, name, port)
    return transport


MAKERS = [make_socket, make_blocking_socket, make_transport]


@pytest.mark.parametrize("secure", [False, True])
@pytest.mark.parametrize("make", MAKERS)
async def test_the_transport_may_come_from_a_function(make, secure, identity, ca):
    """C24: a socket or a transport, and TLS is started on it."""
    calls = []

    async def create(name, port):
        calls.append((name, port))
        return await make(name, port)

    server_options, options = (identity, {"ca": ca}) if secure else ({}, {})
    async with wsfast.serve(echo, "127.0.0.1", 0, **server_options) as server:
        uri = uri_of(server)
        async with asyncio.timeout(PATIENCE):
            async with wsfast.connect(uri, create_connection=create, **options) as ws:
                for data in "hello", bytes(2**18):
                    await ws.send(data)
                    assert await ws.recv() == data
                assert ws.remote_address == server.address()
                assert (ws.get_extra_info("ssl_object") is not None) == secure

            ws = wsfast.WebSocket(uri, create_connection=create, **options)
            await Record(ws).until("open")
            await ws.close()
        assert calls == [server.address()] * 2


@pytest.mark.parametrize("made", [None, "socket", 5, (1, 2)])
async def test_something_else_from_create_connection_is_a_type_error(made):
    """C24."""

    async def create(name, port):
        return made

    with pytest.raises(TypeError, match="create_connection must return a socket or a transport"):
        await connect("ws://localhost/", create_connection=create)


async def test_what_create_connection_raises_is_raised():
    """C24: an error of the network as one of ours, others as they are."""

    async def refuse(name, port):
        raise ConnectionRefusedError(111, "no")

    async def fail(name, port):
        raise ZeroDivisionError

    with pytest.raises(wsfast.NetworkError) as caught:
        await connect("ws://localhost/", create_connection=refuse)
    assert caught.value.code == "ECONNREFUSED"
    with pytest.raises(ZeroDivisionError):
        await connect("ws://localhost/", create_connection=fail)


@pytest.mark.parametrize("make", MAKERS)
async def test_a_certificate_that_is_not_valid_closes_what_was_made(make, identity):
    """C24: nothing is left open."""
    async with wsfast.serve(echo, "127.0.0.1", 0, **identity) as server:
        with pytest.raises(wsfast.NetworkError) as caught:
            await connect(uri_of(server), create_connection=make)
        assert isinstance(caught.value.__cause__, ssl.SSLCertVerificationError)


@pytest.mark.parametrize("make", MAKERS)
async def test_closing_while_the_tls_handshake_waits_closes_what_was_made(make):
    """C24, L10."""
    connected = asyncio.Event()

    async def play(peer):
        connected.set()
        await peer.rest()

    async with raw_server(play) as uri:
        ws = wsfast.WebSocket(uri.replace("ws:", "wss:"), create_connection=make)
        record = Record(ws)
        async with asyncio.timeout(PATIENCE):
            await connected.wait()
        await asyncio.sleep(0)
        ws.terminate()
        await record.until("close")
        assert record.names == ["error", "close"]


class Counting(wsfast.WebSocket):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.opened_count = 0
        self.on("open", self.count)

    def count(self):
        self.opened_count += 1


async def test_a_subclass_may_be_used():
    """By `connect`, and by itself."""
    async with wsfast.serve(echo, "127.0.0.1", 0) as server:
        async with wsfast.connect(uri_of(server), websocket_class=Counting) as ws:
            assert type(ws) is Counting
            assert ws.opened_count == 1
        ws = Counting(uri_of(server))
        await Record(ws).until("open")
        assert ws.opened_count == 1
        await ws.close()
    with pytest.raises(TypeError, match="websocket_class"):
        wsfast.connect("ws://localhost/", websocket_class=object)


async def test_a_subclass_that_takes_an_unexpected_response_does_not_make_connect_hang():
    """EV8: `connect` has nothing else to return."""

    class Taking(wsfast.WebSocket):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.on("unexpected-response", lambda request, response: None)

    async with raw_server(refuse) as uri:
        with pytest.raises(wsfast.InvalidStatus):
            await connect(uri, websocket_class=Taking)


async def test_masking_keys_are_those_of_the_user():
    """C12: for messages, and for the close frame."""
    keys = iter([b"\x00\x00\x00\x00", b"\x01\x02\x03\x04", b"\xff\xff\xff\xff"])
    wire = []

    async def play(peer):
        await peer.accept()
        wire.append(await peer.read(8))
        wire.append(await peer.read(8))
        wire.append(await peer.read(8))
        peer.close()

    async with raw_server(play) as uri:
        ws = wsfast.WebSocket(uri, generate_mask=lambda: next(keys))
        await Record(ws).until("open")
        ws.send("hi")
        ws.send(b"hi")
        await ws.close()
    assert wire == ["8182000000006869", "828201020304696b", "8882fffffffffc17"]


async def test_version_8_is_spoken():
    """C17, C19: with the Origin header of its time."""
    async with host() as server:
        ws = wsfast.WebSocket(server("/"), protocol_version=8, origin="https://a.example")
        await Record(ws).until("open")
        await ws.close()
        (head,) = server.heads
        assert head.headers["sec-websocket-version"] == "8"
        assert head.headers["sec-websocket-origin"] == "https://a.example"
        assert "origin" not in head.headers


async def test_there_is_no_origin_by_default():
    """C17."""
    async with host() as server:
        for origin in None, "https://a.example":
            ws = wsfast.WebSocket(server("/"), origin=origin)
            await Record(ws).until("open")
            await ws.close()
        assert [head.headers.get("origin") for head in server.heads] == [None, "https://a.example"]


async def test_ip_addresses_are_not_asked_for_by_sni(identity, ca):
    """C26: names are, others only if server_hostname says so."""
    names = []
    context = server_context(None, identity["cert"], identity["key"], None, None)
    context.sni_callback = lambda sock, name, context: names.append(name)
    async with wsfast.serve(echo, "127.0.0.1", 0, ssl=context) as server:
        uri = uri_of(server)
        by_name = uri.replace("127.0.0.1", "localhost")
        for address, options in (
            (uri, {"ca": ca}),
            (by_name, {"ca": ca}),
            (uri, {"ca": ca, "server_hostname": "localhost"}),
            (by_name, {"verify": False, "server_hostname": ""}),
        ):
            ws = wsfast.WebSocket(address, **options)
            await Record(ws).until("open")
            await ws.close()
    assert names == [None, "localhost", "localhost", None]


async def test_small_frames_leave_at_once():
    """C27: on what connect opened, and on what a function made."""
    async with wsfast.serve(echo, "127.0.0.1", 0) as server:
        for options in (
            {},
            {"create_connection": make_socket},
            {"create_connection": make_transport},
        ):
            ws = wsfast.WebSocket(uri_of(server), **options)
            await Record(ws).until("open")
            sock = ws.get_extra_info("socket")
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            await ws.close()


async def test_several_listeners_and_once():
    async with wsfast.serve(echo, "127.0.0.1", 0) as server:
        calls = []
        ws = wsfast.WebSocket(uri_of(server))
        ws.once("open", lambda: calls.append(1))
        ws.on("open", lambda: calls.append(2))

        @ws.once("close")
        def closed(code, reason):
            calls.append(code)

        await Record(ws).until("open")
        await ws.close()
        assert calls == [1, 2, 1000]


# --- Nothing is left --------------------------------------------------------------------------


@contextlib.contextmanager
def without_collector():
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


async def open_and_close(uri, **options):
    ws = wsfast.WebSocket(uri, **options)
    record = Record(ws)
    await record.until("open")
    await ws.close()
    return weakref.ref(ws)


async def fail(uri, **options):
    ws = wsfast.WebSocket(uri, **options)
    ws.on("error", lambda error: None)
    await ws.wait_closed()
    assert ws.error is not None
    return weakref.ref(ws)


async def close_early(uri, passes, **options):
    ws = wsfast.WebSocket(uri, **options)
    ws.on("error", lambda error: None)
    for _ in range(passes):
        await asyncio.sleep(0)
    ws.terminate()
    await ws.wait_closed()
    return weakref.ref(ws)


async def until_freed(reference):
    async with asyncio.timeout(PATIENCE):
        for _ in range(1000):
            if reference() is None:
                return
            await asyncio.sleep(0)
    assert reference() is None, gc.get_referrers(reference())


async def test_a_websocket_is_freed_at_its_end():
    """Without the garbage collector: there is no cycle."""

    def finish(request, ws):
        pass

    async with host({"/": "/next"}) as server:
        options = {"follow_redirects": True, "finish_request": finish, "reconnect": True}
        with without_collector():
            await until_freed(await open_and_close(server("/"), **options))
            await until_freed(await open_and_close(server("/next")))


@pytest.mark.parametrize("failure", [*FAILURES, "refused", "redirect", "hook", "timeout"])
async def test_a_websocket_that_was_not_opened_is_freed(failure):
    """Without the garbage collector: an error keeps the frames that it came through."""
    options = {}

    def hook(request, ws):
        raise ZeroDivisionError

    if failure == "hook":
        options["finish_request"] = hook
    play = FAILURES[failure][0] if failure in FAILURES else never_answer
    if failure == "timeout":
        options["open_timeout"] = 0.05
    async with raw_server(play) as uri, host({"/": "ftp://x/"}) as server:
        if failure == "refused":
            uri = refused_uri()
        if failure == "redirect":
            uri = server("/")
            options["follow_redirects"] = True
        with without_collector():
            await until_freed(await fail(uri, **options))


@pytest.mark.parametrize("limit", ["max_attempts", "404", "process_exception"])
async def test_a_websocket_that_connected_again_is_freed(limit):
    """Whatever ended it."""
    statuses = iter([503, 503, 404 if limit == "404" else 503])

    async def play(peer):
        await peer.head()
        peer.write(f"HTTP/1.1 {next(statuses)} X\r\nContent-Length: 0\r\n\r\n".encode())

    options = {"reconnect": True, "reconnect_delays": lambda: [0, 0, 0]}
    if limit == "max_attempts":
        options["max_attempts"] = 2
    elif limit == "process_exception":
        verdicts = iter([None, None, ValueError()])
        options["process_exception"] = lambda error: next(verdicts)
    async with raw_server(play) as uri:
        with without_collector():
            await until_freed(await fail(uri, **options))


@pytest.mark.parametrize("passes", [0, 1, 2, 5])
async def test_a_websocket_that_was_closed_early_is_freed(passes):
    async with raw_server(never_answer) as uri:
        with without_collector():
            await until_freed(await close_early(uri, passes))


async def test_what_connect_raises_keeps_no_websocket():
    """Also if `connect` is what is called."""
    made = []

    class Noted(wsfast.WebSocket):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            made.append(weakref.ref(self))

    async with raw_server(refuse) as uri:
        with without_collector():
            with contextlib.suppress(wsfast.InvalidStatus):
                await connect(uri, websocket_class=Noted)
            await until_freed(made[0])
