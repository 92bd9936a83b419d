"""The examples with servers of other people, and of one's own, against the `websockets` library."""

import asyncio
import contextlib
import http.client
import ssl

import pytest
import websockets
from example_programs import program


@contextlib.contextmanager
def running(name, *arguments):
    """The program, and the port on which it listens."""
    with program(name, *arguments) as server:
        yield server, server.port()
        server.stop()


async def read(server):
    return await asyncio.to_thread(server.line)


async def fetch(port, method="GET", path="/", context=None, **headers):
    """The status, the headers and the body of a response."""

    def run():
        if context is None:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        else:
            connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=10, context=context)
        with contextlib.closing(connection):
            connection.request(method, path, headers=headers)
            response = connection.getresponse()
            return response.status, response.headers, response.read().decode()

    return await asyncio.to_thread(run)


async def refused(uri, **options):
    """The status with which a client is refused."""
    with pytest.raises(websockets.InvalidStatus) as caught:
        await websockets.connect(uri, proxy=None, **options)
    return caught.value.response.status_code


def connect(uri, **options):
    return websockets.connect(uri, proxy=None, **options)


async def closed_with(ws):
    """The code with which the other end closes."""
    await ws.wait_closed()
    return ws.close_code


async def test_websockets_on_an_https_server(tmp_path, identity, ca):
    """SV5, SV6: external HTTPS server."""
    for name, data in identity.items():
        (tmp_path / name).write_bytes(data)
    context = ssl.create_default_context(cadata=ca.decode())
    with program("external_https_server.py", tmp_path / "cert", tmp_path / "key", 0) as server:
        port = server.port()
        async with connect(f"wss://127.0.0.1:{port}", ssl=context) as ws:
            assert await ws.recv() == "something"
            await ws.send("hello")
            assert await read(server) == "received: hello"
            assert (await fetch(port, context=context))[2] == "hello\n"
            server.process.terminate()
            assert await closed_with(ws) == 1001
        server.finish()


async def test_two_servers_on_one_port():
    """SV6, SE8: told apart by the path."""
    with running("two_servers.py", 0) as (server, port):
        async with (
            connect(f"ws://127.0.0.1:{port}/shouting") as shouting,
            connect(f"ws://127.0.0.1:{port}/counting?x=1") as counting,
        ):
            for ws, answer in (shouting, "HELLO"), (counting, "5"):
                await ws.send("hello")
                assert await ws.recv() == answer
            await counting.send("x" * 1001)
            assert await closed_with(counting) == 1009
        with pytest.raises(websockets.InvalidMessage):
            await connect(f"ws://127.0.0.1:{port}/other")


async def test_only_known_clients_get_a_websocket():
    """SE2, SV6: authentication in the upgrade, and its result for the listener."""
    with running("client_authentication.py", 0) as (server, port):
        uri = f"ws://127.0.0.1:{port}"
        assert await refused(uri) == 401
        assert await refused(uri, additional_headers={"Authorization": "Bearer x"}) == 401
        for user, token in ("alice", "correct-horse"), ("bob", "battery-staple"):
            headers = {"Authorization": f"Bearer {token}"}
            async with connect(uri, additional_headers=headers) as ws:
                await ws.send("hello")
                assert await read(server) == f"received message hello from user {user}"


async def test_websockets_in_an_aiohttp_application():
    """SV5, SV6."""
    with program("aiohttp_app.py", 0) as server:
        address = server.line().split()[3].removeprefix("http://")
        port = int(address.rpartition(":")[2])
        async with connect(f"ws://{address}/ws?x=1") as ws:
            for message in "hello", b"\x00\xff", "é" * 100_000:
                await ws.send(message)
                assert await ws.recv() == message
            assert (await fetch(port))[2] == "1 visits\n"
            status, _, body = await fetch(port, path="/ws")
            assert (status, body) == (426, UPGRADE_MISSING)
            server.process.terminate()
            assert await closed_with(ws) == 1001
        assert "Traceback" not in server.finish()


UPGRADE_MISSING = "Failed to open a WebSocket connection: missing Upgrade header.\n"


async def test_http_by_hand_and_websocket_over_it():
    """F8, F9, F10, F16."""
    with program("from_scratch.py", 0) as server:
        port = server.port()
        assert (await fetch(port))[0] == 400
        assert await read(server) == "GET / HTTP/1.1"
        uri = f"ws://127.0.0.1:{port}/chat"
        async with connect(uri) as one, connect(uri) as two:
            assert [await read(server) for _ in range(2)] == ["GET /chat HTTP/1.1"] * 2
            for message in "hello", b"x" * 70_000:
                await one.send(message)
                assert await one.recv() == await two.recv() == message
            await two.close(4000)
            assert await read(server) == "closed with 4000"
            server.process.terminate()
            assert await closed_with(one) == 1001
        assert server.finish() == "closed with 1001\n"


async def test_who_logs_out_has_no_websocket_any_more():
    """SV6, SV7: as express-session-parse of ws."""
    with running("session_login.py", 0) as (server, port):
        uri = f"ws://127.0.0.1:{port}"
        assert "<title>Sessions</title>" in (await fetch(port))[2]
        assert await refused(uri) == 401
        assert await refused(uri, additional_headers={"Cookie": "session=x"}) == 401

        status, headers, _ = await fetch(port, "POST", "/login")
        assert status == 200
        user = (await read(server)).rpartition(" ")[2]
        cookie = {"Cookie": headers["Set-Cookie"].partition(";")[0]}
        async with connect(uri, additional_headers=cookie) as ws:
            await ws.send("hello")
            assert await ws.recv() == "thank you"
            assert await read(server) == f"received message hello from user {user}"
            async with connect(uri, additional_headers=cookie) as other:
                assert await closed_with(ws) == 4001
                assert (await fetch(port, "DELETE", "/logout", **cookie))[0] == 200
                assert await closed_with(other) == 4000
                assert other.close_reason == "logged out"
        assert await refused(uri, additional_headers=cookie) == 401
        # Without the cookie nobody is logged out.
        assert (await fetch(port, "DELETE", "/logout"))[0] == 200
