"""wsfast against the Python library websockets: asyncio and threads, client and server."""

import asyncio
import contextlib
import threading

import pytest
import websockets.asyncio.client
import websockets.asyncio.server
import websockets.exceptions
import websockets.sync.client
import websockets.sync.server

import wsfast

TIMEOUT = 30
SIZES = [0, 1, 125, 126, 65535, 65536, 2**20]
CLOSES = [(1000, ""), (1001, "going away"), (3000, "grün"), (4999, "x" * 123)]


def messages(payload):
    for size in SIZES:
        yield payload(size)
        yield payload(size).decode()


async def echo(ws):
    async for message in ws:
        await ws.send(message)


def echo_in_thread(connection):
    for message in connection:
        connection.send(message)


@contextlib.asynccontextmanager
async def asyncio_server(handler, **options):
    async with websockets.asyncio.server.serve(handler, "127.0.0.1", 0, **options) as server:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@contextlib.contextmanager
def thread_server(handler, **options):
    with websockets.sync.server.serve(handler, "127.0.0.1", 0, **options) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"ws://127.0.0.1:{server.socket.getsockname()[1]}"
        finally:
            server.shutdown()
            thread.join(TIMEOUT)


# --- A wsfast client --------------------------------------------------------------------------


async def test_an_asyncio_server_echoes_every_length_form(payload):
    async with (
        asyncio.timeout(TIMEOUT),
        asyncio_server(echo, compression=None) as url,
        wsfast.connect(url) as ws,
    ):
        for message in messages(payload):
            await ws.send(message)
            assert await ws.recv() == message


async def test_a_threading_server_echoes_every_length_form(payload):
    async with asyncio.timeout(TIMEOUT):
        with thread_server(echo_in_thread, compression=None) as url:
            async with wsfast.connect(url) as ws:
                for message in messages(payload):
                    await ws.send(message)
                    assert await ws.recv() == message


async def test_fragments_go_both_ways_with_an_asyncio_server():
    async def handler(ws):
        parts = [part async for part in ws.recv_streaming()]
        assert len(parts) > 1
        assert "".join(parts) == "one, two"
        await ws.send(["three, ", "", "four"])

    async with (
        asyncio.timeout(TIMEOUT),
        asyncio_server(handler, compression=None) as url,
        wsfast.connect(url) as ws,
    ):
        await ws.send(["one, ", "", "two"])
        assert await ws.recv() == "three, four"


@pytest.mark.parametrize(("code", "reason"), CLOSES)
async def test_the_close_code_of_an_asyncio_server_is_told(code, reason):
    async def handler(ws):
        await ws.close(code, reason)

    async with (
        asyncio.timeout(TIMEOUT),
        asyncio_server(handler) as url,
        wsfast.connect(url) as ws,
    ):
        with pytest.raises(wsfast.ConnectionClosed):
            await ws.recv()
        await ws.wait_closed()
    assert (ws.close_code, ws.close_reason, ws.was_clean) == (code, reason, True)


@pytest.mark.parametrize(("code", "reason"), CLOSES)
async def test_an_asyncio_server_sees_the_close_code_of_wsfast(watch, code, reason):
    async def handler(ws):
        await ws.wait_closed()
        return ws.close_code, ws.close_reason

    watched, done = watch(handler)
    async with asyncio.timeout(TIMEOUT), asyncio_server(watched) as url:
        async with wsfast.connect(url) as ws:
            await ws.close(code, reason)
        assert await done == (code, reason)


async def test_a_threading_server_sees_the_close_code_of_wsfast():
    seen = []

    def handler(connection):
        with contextlib.suppress(websockets.exceptions.ConnectionClosed):
            connection.recv()
        seen.append((connection.close_code, connection.close_reason))

    async with asyncio.timeout(TIMEOUT):
        with thread_server(handler) as url:
            async with wsfast.connect(url) as ws:
                await ws.close(3000, "done")
    assert seen == [(3000, "done")]


async def test_a_server_that_aborts_is_1006():
    async def handler(ws):
        ws.transport.abort()

    async with (
        asyncio.timeout(TIMEOUT),
        asyncio_server(handler) as url,
        wsfast.connect(url) as ws,
    ):
        with pytest.raises(wsfast.ConnectionClosedError):
            await ws.recv()
    assert (ws.close_code, ws.was_clean) == (1006, False)


async def test_keepalive_pings_of_wsfast_are_answered_and_tell_the_latency():
    async with (
        asyncio.timeout(TIMEOUT),
        asyncio_server(echo) as url,
        wsfast.connect(url, ping_interval=0.02) as ws,
    ):
        pongs = asyncio.Semaphore(0)
        ws.on("pong", lambda data: pongs.release())
        for _ in range(3):
            await pongs.acquire()
        assert 0 < ws.latency < TIMEOUT


async def test_keepalive_pings_of_a_server_are_answered(watch):
    async def handler(ws):
        # websockets tells of a pong by the latency alone.
        while not ws.latency:
            await asyncio.sleep(0.01)
        return ws.latency

    watched, done = watch(handler)
    async with (
        asyncio.timeout(TIMEOUT),
        asyncio_server(watched, ping_interval=0.02) as url,
        wsfast.connect(url) as ws,
    ):
        assert 0 < await done < TIMEOUT
        with pytest.raises(wsfast.ConnectionClosedOK):
            await ws.recv()


async def test_subprotocol_and_headers_are_those_that_the_server_sees(watch):
    async def handler(ws):
        return ws.request.path, ws.request.headers, ws.subprotocol

    watched, done = watch(handler)
    async with asyncio.timeout(TIMEOUT), asyncio_server(watched, subprotocols=["second"]) as url:
        connecting = wsfast.connect(
            f"{url}/path?q=1",
            subprotocols=["first", "second"],
            origin="https://example.com",
            additional_headers={"X-Custom": "value"},
        )
        async with connecting as ws:
            assert ws.subprotocol == "second"
            path, headers, subprotocol = await done
    assert (path, subprotocol) == ("/path?q=1", "second")
    assert headers["Origin"] == "https://example.com"
    assert headers["X-Custom"] == "value"


async def test_a_refusal_by_a_server_is_told_with_its_body():
    def refuse(connection, request):
        return connection.respond(401, "not you\n")

    async with asyncio.timeout(TIMEOUT), asyncio_server(echo, process_request=refuse) as url:
        with pytest.raises(wsfast.InvalidStatus) as caught:
            await wsfast.connect(url)
    assert caught.value.response.status_code == 401
    assert caught.value.response.body == b"not you\n"


# --- A wsfast server --------------------------------------------------------------------------


async def test_an_asyncio_client_gets_every_length_form_back(serving, payload):
    async with (
        asyncio.timeout(TIMEOUT),
        serving(echo) as url,
        websockets.asyncio.client.connect(url, compression=None) as ws,
    ):
        for message in messages(payload):
            await ws.send(message)
            assert await ws.recv() == message


async def test_a_threading_client_gets_every_length_form_back(serving, payload):
    def client(url):
        with websockets.sync.client.connect(url, compression=None) as connection:
            for message in messages(payload):
                connection.send(message)
                assert connection.recv(timeout=TIMEOUT) == message

    async with asyncio.timeout(TIMEOUT), serving(echo) as url:
        await asyncio.to_thread(client, url)


async def test_a_client_that_offers_compression_is_served_without(serving):
    async with (
        asyncio.timeout(TIMEOUT),
        serving(echo) as url,
        websockets.asyncio.client.connect(url) as ws,
    ):
        assert "Sec-WebSocket-Extensions" not in ws.response.headers
        await ws.send("not compressed")
        assert await ws.recv() == "not compressed"


async def test_fragments_go_both_ways_with_an_asyncio_client(serving):
    async def handler(ws):
        assert await ws.recv() == "one, two"
        await ws.send([b"three, ", b"", b"four"])
        await ws.wait_closed()

    async with (
        asyncio.timeout(TIMEOUT),
        serving(handler) as url,
        websockets.asyncio.client.connect(url, compression=None) as ws,
    ):
        await ws.send(["one, ", "", "two"])
        parts = [part async for part in ws.recv_streaming()]
        assert len(parts) > 1
        assert b"".join(parts) == b"three, four"


@pytest.mark.parametrize(("code", "reason"), CLOSES)
async def test_an_asyncio_client_sees_the_close_code_of_wsfast(serving, code, reason):
    async def handler(ws):
        await ws.close(code, reason)

    async with (
        asyncio.timeout(TIMEOUT),
        serving(handler) as url,
        websockets.asyncio.client.connect(url) as ws,
    ):
        with pytest.raises(websockets.exceptions.ConnectionClosed):
            await ws.recv()
        assert (ws.close_code, ws.close_reason) == (code, reason)


@pytest.mark.parametrize(("code", "reason"), CLOSES)
async def test_wsfast_sees_the_close_code_of_an_asyncio_client(serving, watch, code, reason):
    async def handler(ws):
        await ws.wait_closed()
        return ws.close_code, ws.close_reason, ws.was_clean

    watched, done = watch(handler)
    async with asyncio.timeout(TIMEOUT), serving(watched) as url:
        async with websockets.asyncio.client.connect(url) as ws:
            await ws.close(code, reason)
            # The answer to a close frame has its code.
            assert ws.close_code == code
        assert await done == (code, reason, True)


async def test_wsfast_sees_the_close_code_of_a_threading_client(serving, watch):
    async def handler(ws):
        await ws.wait_closed()
        return ws.close_code, ws.close_reason, ws.was_clean

    def client(url):
        with websockets.sync.client.connect(url) as connection:
            connection.close(3000, "done")

    watched, done = watch(handler)
    async with asyncio.timeout(TIMEOUT), serving(watched) as url:
        await asyncio.to_thread(client, url)
        assert await done == (3000, "done", True)


async def test_a_client_that_aborts_is_1006(serving, watch):
    async def handler(ws):
        with pytest.raises(wsfast.ConnectionClosedError):
            await ws.recv()
        return ws.close_code, ws.was_clean

    watched, done = watch(handler)
    async with asyncio.timeout(TIMEOUT), serving(watched) as url:
        async with websockets.asyncio.client.connect(url) as ws:
            ws.transport.abort()
        assert await done == (1006, False)


async def test_keepalive_pings_of_a_client_are_answered(serving):
    async with (
        asyncio.timeout(TIMEOUT),
        serving(echo) as url,
        websockets.asyncio.client.connect(url, ping_interval=0.02) as ws,
    ):
        # websockets tells of a pong by the latency alone.
        while not ws.latency:
            await asyncio.sleep(0.01)
        # On uvloop, whose clock counts milliseconds, websockets may measure nothing.
        assert 0 <= await (await ws.ping()) < TIMEOUT


async def test_keepalive_pings_of_a_wsfast_server_tell_the_latency(serving, watch):
    async def handler(ws):
        pongs = asyncio.Semaphore(0)
        ws.on("pong", lambda data: pongs.release())
        for _ in range(3):
            await pongs.acquire()
        return ws.latency

    watched, done = watch(handler)
    async with (
        asyncio.timeout(TIMEOUT),
        serving(watched, ping_interval=0.02) as url,
        websockets.asyncio.client.connect(url),
    ):
        assert 0 < await done < TIMEOUT


async def test_subprotocol_and_headers_are_those_that_the_client_sent(serving, watch):
    async def handler(ws):
        return ws.request.path, ws.request.headers, ws.subprotocol

    watched, done = watch(handler)
    async with asyncio.timeout(TIMEOUT), serving(watched, subprotocols=["second"]) as url:
        connecting = websockets.asyncio.client.connect(
            f"{url}/path?q=1",
            subprotocols=["first", "second"],
            origin="https://example.com",
            additional_headers={"X-Custom": "value"},
        )
        async with connecting as ws:
            assert ws.subprotocol == "second"
            path, headers, subprotocol = await done
    assert (path, subprotocol) == ("/path?q=1", "second")
    assert headers["Origin"] == "https://example.com"
    assert headers["X-Custom"] == "value"


async def test_a_client_is_told_why_it_is_refused(serving):
    async with asyncio.timeout(TIMEOUT), serving(echo, origins=["https://example.com"]) as url:
        with pytest.raises(websockets.exceptions.InvalidStatus) as caught:
            await websockets.asyncio.client.connect(url, origin="https://example.org")
    assert caught.value.response.status_code == 403
    assert caught.value.response.body


async def test_a_server_that_closes_tells_asyncio_clients_1001(serving):
    async with asyncio.timeout(TIMEOUT):
        async with serving(echo) as url:
            ws = await websockets.asyncio.client.connect(url)
        await ws.wait_closed()
    assert ws.close_code == 1001
