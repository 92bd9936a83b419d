"""`handle_upgrade`: connections that another server accepted, whose request it read."""

import asyncio
import contextlib
import ssl

import pytest
from external import KINDS, external, socket_pair
from peers import (
    ACCEPT,
    CLOSE,
    KEY,
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
)

import wsfast

kinds = pytest.mark.parametrize("kind", KINDS)

CLOSE_FRAME = b"\x88"
HELLO = "818537fa213d7f9f4d5158"  # RFC 6455 section 5.7: "Hello", masked


def parsed(**changed):
    """A request as another server has it, with its own parser."""
    headers = wsfast.Headers(
        {
            "Host": "localhost",
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Key": KEY,
            "Sec-WebSocket-Version": "13",
        }
    )
    return wsfast.Request(changed.pop("path", "/"), headers, **changed)


# --- Accepted -----------------------------------------------------------------------------------


@kinds
@pytest.mark.parametrize("ready", [False, True])
async def test_a_connection_of_another_server_becomes_a_websocket(kind, ready):
    """SV5, SV6: over streams, transports and sockets; the request as bytes or as an object."""
    server = wsfast.WebSocketServer(no_server=True)

    async def upgrade(head, where, rest):
        given = parsed(path="/chat?x=1") if ready else head
        ws = await server.handle_upgrade(given, where, rest)
        assert server.clients == {ws}
        if ready:
            assert ws.request is given
        assert ws.path == "/chat?x=1"
        assert ws.remote_address is not None
        await echo(ws)

    async with external(
        kind, lambda *arguments: asyncio.ensure_future(upgrade(*arguments))
    ) as address:
        async with raw_client(address, request("/chat?x=1")) as peer:
            assert (await peer.head()).headers["sec-websocket-accept"] == ACCEPT
            peer.write(HELLO)
            assert await peer.read(7) == "810548656c6c6f"
            peer.close()
            assert await peer.closed() == (1000, "")
        await until(lambda: not server.clients)
        await server.close()


@kinds
async def test_data_sent_along_with_the_request_is_not_lost(kind):
    """SV6: ``head`` is replayed, and so is what waits in a StreamReader."""
    async with wsfast.serve(echo, no_server=True) as server:
        async with external(kind, server.handle_upgrade) as address:
            data = request() + bytes.fromhex(HELLO)
            async with raw_client(address, data) as peer:
                assert (await peer.head()).status == 101
                assert await peer.read(7) == "810548656c6c6f"
                peer.close()
                await peer.closed()


async def test_what_was_read_ahead_comes_behind_head():
    async with wsfast.serve(echo, no_server=True) as server:
        reader = asyncio.StreamReader()
        async with socket_pair() as (sock, peer):
            _, writer = await asyncio.open_connection(sock=sock)
            reader.feed_data(frame(TEXT, "two", mask=b"abcd"))
            ws = await server.handle_upgrade(
                request(), (reader, writer), frame(TEXT, "one", mask=b"abcd")
            )
            assert ws is not None
            assert (await peer.head()).status == 101
            assert [(await peer.frame()).payload for _ in range(2)] == [b"one", b"two"]


async def test_the_request_may_come_by_and_by():
    async with wsfast.serve(echo, no_server=True) as server, socket_pair() as (sock, peer):
        opening = server.handle_upgrade(b"GET / HT", sock)
        assert not opening.done()
        peer.write(request()[8:])
        assert (await opening).path == "/"
        assert (await peer.head()).status == 101


@kinds
async def test_it_acts_at_the_call_and_nobody_has_to_wait(kind):
    connected = []

    def upgrade(*arguments):
        opening = server.handle_upgrade(*arguments)
        connected.append(opening.result())

    async with wsfast.WebSocketServer(no_server=True) as server:
        async with external(kind, upgrade) as address, client_of(address):
            (ws,) = connected
            assert ws.state is wsfast.State.OPEN


@kinds
async def test_messages_and_close_can_be_sent_at_once(kind):
    """Also over a socket that asyncio has no transport for yet."""

    def upgrade(*arguments):
        ws = server.handle_upgrade(*arguments).result()
        ws.send("a" * 100_000)
        ws.close(4000, "bye")

    async with wsfast.WebSocketServer(no_server=True) as server:
        async with external(kind, upgrade) as address, client_of(address) as peer:
            assert await peer.frame() == (TEXT, b"a" * 100_000, True, False)
            assert await peer.frame() == (CLOSE, close_payload(4000, "bye"), True, False)
            peer.close(4000, "bye")
            assert await peer.rest() == b""


@kinds
async def test_terminate_ends_it_at_once(kind):
    def upgrade(*arguments):
        server.handle_upgrade(*arguments).result().terminate()

    async with wsfast.WebSocketServer(no_server=True) as server:
        async with external(kind, upgrade) as address, raw_client(address, request()) as peer:
            with contextlib.suppress(ConnectionResetError):
                assert CLOSE_FRAME not in await peer.rest()
            await until(lambda: not server.clients)


async def test_reading_can_be_paused_before_there_is_a_transport():
    """The queue is full of what came with the request: reading must not go on."""
    early = b"".join(frame(TEXT, "x" * 100, mask=b"abcd") for _ in range(40))
    async with (
        wsfast.WebSocketServer(no_server=True, max_queue=4) as server,
        socket_pair() as (sock, peer),
    ):
        ws = await server.handle_upgrade(request(), sock, early)
        await until(lambda: ws.stats.messages_received == 40 and not ws.is_reading)
        for _ in range(5):
            await asyncio.sleep(0)
        received = ws.stats.wire_bytes_received
        for _ in range(20):
            peer.write(early)
            await asyncio.sleep(0.001)
        assert ws.stats.wire_bytes_received == received
        for _ in range(40 * 21):
            assert await ws.recv() == "x" * 100


async def test_any_duplex_transport_will_do():
    """SV6: as here one that stays in memory."""

    class Memory(asyncio.Transport):
        def __init__(self):
            super().__init__({"peername": "memory"})
            self.protocol = None
            self.written = b""
            self.closing = False

        def set_protocol(self, protocol):
            self.protocol = protocol

        def get_protocol(self):
            return self.protocol

        def write(self, data):
            self.written += data

        def get_write_buffer_size(self):
            return 0

        def set_write_buffer_limits(self, high=None, low=None):
            pass

        def pause_reading(self):
            pass

        def resume_reading(self):
            pass

        def is_closing(self):
            return self.closing

        def can_write_eof(self):
            return False

        def close(self):
            if not self.closing:
                self.closing = True
                asyncio.get_running_loop().call_soon(self.protocol.connection_lost, None)

        abort = close

    transport = Memory()
    async with wsfast.serve(echo, no_server=True) as server:
        ws = await server.handle_upgrade(request(), transport)
        assert ws.remote_address == "memory"
        head, _, _ = transport.written.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 ")
        transport.written = b""
        transport.protocol.data_received(bytes.fromhex(HELLO))
        await until(lambda: transport.written)
        assert transport.written.hex() == "810548656c6c6f"
        transport.protocol.data_received(frame(CLOSE, close_payload(1000), mask=b"abcd"))
        await ws.wait_closed()


async def test_a_listening_server_takes_connections_over_too():
    """SV6: existing server."""
    handler = Accepted()
    async with (
        wsfast.serve(handler, "127.0.0.1", 0) as server,
        socket_pair() as (sock, peer),
        client_of(server),
    ):
        ws = await server.handle_upgrade(request(), sock)
        assert (await peer.head()).status == 101
        other = await handler.get()
        assert server.clients == {ws, other} | {await handler.get()}


async def test_streams_that_nobody_keeps_stay_open():
    """A StreamWriter closes its transport when it is collected."""
    import gc

    opened = []

    async def upgrade(head, streams, rest):
        opened.append(await server.handle_upgrade(head, streams, rest))

    async with wsfast.serve(echo, no_server=True) as server:
        async with (
            external("streams", lambda *given: asyncio.ensure_future(upgrade(*given))) as address,
            client_of(address) as peer,
        ):
            await until(lambda: opened)
            await asyncio.sleep(0)
            gc.collect()
            peer.write(HELLO)
            assert await peer.read(7) == "810548656c6c6f"


@pytest.mark.parametrize("reset", [False, True])
async def test_the_streams_are_told_of_the_end(reset):
    """So that nobody waits for ever who waits for them."""

    async def upgrade(head, streams, rest):
        await server.handle_upgrade(head, streams, rest)
        reader, writer = streams
        with contextlib.suppress(ConnectionResetError):
            await writer.wait_closed()
        assert reset or reader.at_eof()
        ended.set()

    ended = asyncio.Event()
    async with wsfast.serve(echo, no_server=True) as server:
        async with external(
            "streams", lambda *given: asyncio.ensure_future(upgrade(*given))
        ) as address:
            async with client_of(address) as peer:
                assert not ended.is_set()
                if reset:
                    peer.reset()
                else:
                    peer.close()
                    await peer.closed()
                    await peer.wait_closed()
                async with asyncio.timeout(PATIENCE):
                    await ended.wait()


async def test_a_transport_that_its_protocol_paused_goes_on():
    """A StreamReader stops reading when it is full; and so may writing be stopped."""

    async def upgrade(head, streams, rest):
        reader, writer = streams
        await until(lambda: not writer.transport.is_reading())
        ws = await server.handle_upgrade(head, streams, rest)
        sizes.append(len(await ws.recv()))

    sizes = []
    async with wsfast.WebSocketServer(no_server=True) as server:
        async with external(
            "streams", lambda *given: asyncio.ensure_future(upgrade(*given)), limit=1000
        ) as address:
            async with raw_client(address, request()) as peer:
                peer.send(TEXT, "x" * 500_000)
                assert (await peer.head()).status == 101
                await until(lambda: sizes)
    assert sizes == [500_000]


async def test_a_blocked_transport_holds_the_senders_back():
    """What the other server wrote waits still: `await send()` waits behind it."""
    async with (
        wsfast.WebSocketServer(no_server=True) as server,
        socket_pair() as (sock, peer),
    ):
        peer.stop_reading()
        reader, writer = await asyncio.open_connection(sock=sock)
        waiting = 4_000_000
        writer.write(b"x" * waiting)
        assert writer.transport.get_write_buffer_size() > 2**20
        ws = await server.handle_upgrade(request(), (reader, writer))
        sending = asyncio.ensure_future(ws.send("hello"))
        for _ in range(10):
            await asyncio.sleep(0)
        assert not sending.done()
        peer.go_on_reading()
        assert await peer.exactly(waiting) == b"x" * waiting
        async with asyncio.timeout(PATIENCE):
            await sending
        assert (await peer.head()).status == 101
        assert (await peer.frame()).payload == b"hello"


async def test_tls_of_asyncio_is_seen_as_secure(identity, files):
    seen = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files["all"])
    trusting = ssl.create_default_context(cafile=files["ca"])
    verify = lambda info: seen.append(info.secure) or True  # noqa: E731
    async with wsfast.serve(echo, no_server=True, verify_client=verify) as server:
        for kind in "streams", "transport":
            async with external(kind, server.handle_upgrade, ssl=context) as address:
                async with client_of(address, ssl=trusting) as peer:
                    peer.write(HELLO)
                    assert await peer.read(7) == "810548656c6c6f"
                    peer.close()
                    await peer.closed()
    assert seen == [True, True]


# --- Events and handlers ------------------------------------------------------------------------


@kinds
async def test_connection_is_emitted_by_the_user_with_what_the_user_likes(kind):
    """SE2: not by itself."""
    events = []
    server = wsfast.WebSocketServer(no_server=True)

    @server.on("connection")
    def connection(ws, request, *extra):
        events.append((request.path, *extra))
        ws.on("message", lambda data, is_binary: ws.send(data))

    async def upgrade(head, where, rest):
        ws = await server.handle_upgrade(head, where, rest)
        assert events == []
        server.emit("connection", ws, ws.request, "alice", 5)

    async with (
        server,
        external(kind, lambda *given: asyncio.ensure_future(upgrade(*given))) as address,
        raw_client(address, request("/x") + bytes.fromhex(HELLO)) as peer,
    ):
        assert (await peer.head()).status == 101
        assert await peer.read(7) == "810548656c6c6f"
    assert events == [("/x", "alice", 5)]


async def test_a_connection_listener_may_be_a_coroutine_function_here_too():
    server = wsfast.WebSocketServer(no_server=True)

    @server.on("connection")
    async def connection(ws, name):
        await ws.send(name)

    async with server, socket_pair() as (sock, peer):
        ws = await server.handle_upgrade(request(), sock)
        server.emit("connection", ws, "alice")
        assert (await peer.head()).status == 101
        assert (await peer.frame()).payload == b"alice"


# --- Refused ------------------------------------------------------------------------------------

REFUSED = {
    "400": (request(without=["Sec-WebSocket-Key"]), 400),
    "401": (request("/private"), 401),
    "404": (request("/elsewhere"), 404),
    "405": (request().replace(b"GET", b"POST"), 405),
    "426 for Hixie-76": (request(without=["Sec-WebSocket-Version", "Sec-WebSocket-Key"]), 426),
    "426 for the upgrade": (request(upgrade="h2c"), 426),
    "400 for HTTP/1.0": (request().replace(b"HTTP/1.1", b"HTTP/1.0"), 400),
    "400 for a body": (request(content_length="5"), 400),
}


@kinds
@pytest.mark.parametrize(("data", "status"), REFUSED.values(), ids=REFUSED)
async def test_a_refused_client_gets_its_answer_and_the_connection_is_closed(kind, data, status):
    """SV4, SV6, SV7: bad path, Hixie-76, and the others: the same answers as to any client."""
    results = []

    async def upgrade(*given):
        results.append(await server.handle_upgrade(*given))

    async with wsfast.WebSocketServer(
        no_server=True, verify_client=lambda info: info.request.path != "/private"
    ) as server:
        server.should_handle = lambda request: request.path != "/elsewhere"
        async with external(kind, lambda *given: asyncio.ensure_future(upgrade(*given))) as address:
            head, body = await exchange(address, data + b"more")
            assert head.status == status
            assert head.headers["connection"].startswith("close")
            assert body
    assert results == [None]


async def test_a_refused_page_may_read_why():
    """M13: as at any other server."""
    async with (
        wsfast.WebSocketServer(no_server=True, cors=wsfast.CORS(["https://a.example"])) as server,
        socket_pair() as (sock, peer),
    ):
        data = request(origin="https://a.example", without=["Sec-WebSocket-Key"])
        assert await server.handle_upgrade(data, sock) is None
        head, _ = await peer.response()
        assert head.status == 400
        assert head.headers["access-control-allow-origin"] == "https://a.example"


INVALID = {
    "HTTP/1.0": parsed(protocol="HTTP/1.0"),
    "a path that is none": parsed(path="a b"),
    "a target of another kind": parsed(path="*"),
}


@pytest.mark.parametrize("given", INVALID.values(), ids=INVALID)
async def test_a_request_that_another_parser_let_through_is_refused(given):
    async with (
        wsfast.WebSocketServer(no_server=True) as server,
        socket_pair() as (sock, peer),
    ):
        assert await server.handle_upgrade(given, sock) is None
        head, _ = await peer.response()
        assert head.status == 400


@pytest.mark.parametrize("name", ["Content-Length", "Transfer-Encoding", "Host"])
async def test_headers_that_another_parser_let_through_are_refused(name):
    given = parsed()
    given.headers[name] = "5"
    async with (
        wsfast.WebSocketServer(no_server=True) as server,
        socket_pair() as (sock, peer),
    ):
        assert await server.handle_upgrade(given, sock) is None
        head, _ = await peer.response()
        assert head.status == 400


async def test_an_absolute_target_is_a_path():
    async with (
        wsfast.serve(echo, no_server=True, path="/chat") as server,
        socket_pair() as (sock, peer),
    ):
        ws = await server.handle_upgrade(parsed(path="http://localhost/chat"), sock)
        assert ws.path == "/chat"


@kinds
async def test_a_client_that_goes_before_it_is_accepted_is_no_connection(kind):
    """SV6: FIN before accept."""
    results = []
    waiting = asyncio.Event()

    async def verify(info):
        waiting.set()
        await asyncio.Event().wait()

    async def upgrade(*given):
        results.append(await server.handle_upgrade(*given))

    async with wsfast.WebSocketServer(no_server=True, verify_client=verify) as server:
        async with external(kind, lambda *given: asyncio.ensure_future(upgrade(*given))) as address:
            async with raw_client(address, request()) as peer:
                await waiting.wait()
                peer.write_eof()
                assert await peer.rest() == b""
                await until(lambda: results)
    assert results == [None]
    assert server.clients == set()


async def test_streams_that_are_at_their_end_are_no_connection():
    """SV6: FIN before the upgrade."""

    async def upgrade(head, streams, rest):
        reader, _ = streams
        while not reader.at_eof():
            await asyncio.sleep(0)
        results.append(await server.handle_upgrade(head, streams, rest))

    results = []
    async with wsfast.WebSocketServer(no_server=True) as server:
        async with external(
            "streams", lambda *given: asyncio.ensure_future(upgrade(*given))
        ) as address:
            async with raw_client(address, request()) as peer:
                peer.write_eof()
                assert await peer.rest() == b""
    assert results == [None]


async def test_a_transport_that_is_closing_is_no_connection():
    async with wsfast.WebSocketServer(no_server=True) as server, socket_pair() as (sock, _):
        streams = await asyncio.open_connection(sock=sock)
        streams[1].close()
        assert await server.handle_upgrade(request(), streams[1].transport) is None
        await streams[1].wait_closed()


async def test_whoever_waits_no_more_gives_the_connection_up():
    waiting = asyncio.Event()
    cancelled = asyncio.Event()

    async def verify(info):
        waiting.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    async with (
        wsfast.WebSocketServer(no_server=True, verify_client=verify) as server,
        socket_pair() as (sock, peer),
    ):
        opening = server.handle_upgrade(request(), sock)
        await waiting.wait()
        opening.cancel()
        assert await peer.rest() == b""
        await cancelled.wait()
        assert server.clients == set()


async def test_whoever_waits_no_more_at_the_last_moment_has_no_connection():
    go = asyncio.Event()

    async def verify(info):
        await go.wait()
        opening.cancel()
        return True

    async with (
        wsfast.WebSocketServer(no_server=True, verify_client=verify) as server,
        socket_pair() as (sock, peer),
    ):
        opening = server.handle_upgrade(request(), sock)
        go.set()
        await peer.rest()
        await until(lambda: not server.clients)
