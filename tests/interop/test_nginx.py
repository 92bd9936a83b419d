"""wsfast behind nginx, which most servers stand behind."""

import asyncio
import contextlib
import os
import shutil
import socket
import string

import pytest
from example_programs import EXAMPLES, program

import wsfast

pytestmark = pytest.mark.interop

TIMEOUT = 30
# How long nginx lets a connection be silent, in seconds.
IDLE = 1

CONFIG = string.Template("""\
daemon off;
$user
worker_processes 1;
pid $directory/nginx.pid;
error_log stderr notice;
events { worker_connections 256; }
http {
    access_log off;
    client_body_temp_path $directory/body;
    proxy_temp_path $directory/proxy;
    fastcgi_temp_path $directory/fastcgi;
    uwsgi_temp_path $directory/uwsgi;
    scgi_temp_path $directory/scgi;
    $servers
}
""")

EXAMPLE = (EXAMPLES / "nginx.conf").read_text()


def configuration(port, upstream, tls, files):
    """The example, with what a user of it changes, and a shorter time."""
    text = EXAMPLE
    for before, after in (
        ("127.0.0.1:8765", upstream),
        ("listen 443 ssl", f"listen 127.0.0.1:{port}{' ssl' if tls else ''}"),
        ("/etc/ssl/example.com.crt", str(files["cert"])),
        ("/etc/ssl/example.com.key", str(files["key"])),
        ("proxy_read_timeout 60s", f"proxy_read_timeout {IDLE}s"),
    ):
        assert text.count(before) == 1
        text = text.replace(before, after)
    return text


async def echo(ws):
    async for message in ws:
        await ws.send(message)


TRUST = {"trusted_proxies": ["127.0.0.0/8", "unix"]}


@pytest.fixture
def run_nginx(run_peer, tmp_path, files):
    """A context manager for nginx in front of an address; gives its port."""
    # Debian puts it where the path of a user does not lead.
    nginx = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
    if nginx is None:
        pytest.skip("nginx is not installed: `make interop` installs it")

    @contextlib.contextmanager
    def run(upstream, tls):
        with socket.create_server(("127.0.0.1", 0)) as sock:
            port = sock.getsockname()[1]
            values = {
                "directory": tmp_path,
                # Nobody else gets to the directory of a test.
                "user": "user root;" if os.getuid() == 0 else "",
                "servers": configuration(port, upstream, tls, files),
            }
            config = tmp_path / "nginx.conf"
            config.write_text(CONFIG.substitute(values))
            # nginx takes over the socket, as in an upgrade of itself, so the port is ours.
            process = run_peer(
                [nginx, "-p", tmp_path, "-c", config, "-e", "stderr"],
                env={**os.environ, "NGINX": f"{sock.fileno()};"},
                pass_fds=[sock.fileno()],
            )
            with process as peer:
                peer.wait_for("start worker process ")
                yield port

    return run


@pytest.fixture
def behind_nginx(run_nginx, serving, tmp_path):
    """An async context manager for a wsfast server behind nginx; gives the address of nginx."""

    @contextlib.asynccontextmanager
    async def start(handler, tls=False, unix=False, **options):
        path = str(tmp_path / "upstream")
        server = (
            wsfast.serve(handler, unix_path=path, **options)
            if unix
            else serving(handler, **options)
        )
        async with server as url:
            upstream = f"unix:{path}" if unix else url.removeprefix("ws://")
            with run_nginx(upstream, tls) as port:
                yield f"{'wss' if tls else 'ws'}://127.0.0.1:{port}"

    return start


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536, 2**20])
async def test_text_and_bytes_pass_through_nginx(behind_nginx, payload, size):
    async with (
        asyncio.timeout(TIMEOUT),
        behind_nginx(echo) as url,
        wsfast.connect(f"{url}/echo") as ws,
    ):
        for message in (payload(size), payload(size).decode()):
            await ws.send(message)
            assert await ws.recv() == message


async def test_the_headers_that_nginx_adds_are_seen(behind_nginx, watch):
    async def handler(ws):
        return ws.request.path, ws.request.headers

    watched, done = watch(handler)
    async with (
        asyncio.timeout(TIMEOUT),
        behind_nginx(watched) as url,
        wsfast.connect(f"{url}/a/path?q=1"),
    ):
        path, headers = await done
    assert path == "/a/path?q=1"
    assert headers["Connection"] == "upgrade"
    assert headers["X-Forwarded-For"] == "127.0.0.1"


async def test_nginx_ends_tls(behind_nginx, ca, watch):
    """The server sees a plain connection, and is told that the client's is not."""

    async def handler(ws):
        await echo(ws)
        return ws.get_extra_info("sslcontext"), ws.forwarded

    watched, done = watch(handler)
    async with asyncio.timeout(TIMEOUT), behind_nginx(watched, tls=True, **TRUST) as url:
        async with wsfast.connect(url, ca=ca) as ws:
            for message in "text", b"x" * 100_000:
                await ws.send(message)
                assert await ws.recv() == message
        context, forwarded = await done
    assert context is None
    host = url.removeprefix("wss://")
    assert forwarded == wsfast.Forwarded(("127.0.0.1", None), "wss", host)


# --- Whose connection it is --------------------------------------------------------------------


async def tell_client(ws):
    return ws.client_address, ws.forwarded.scheme, ws.request.headers["X-Forwarded-For"]


@pytest.mark.parametrize("unix", [False, True], ids=["tcp", "unix"])
async def test_nginx_is_believed_if_it_is_trusted(behind_nginx, watch, unix):
    """M14: also through a Unix socket, on which a client has no address of its own."""
    watched, done = watch(tell_client)
    async with (
        asyncio.timeout(TIMEOUT),
        behind_nginx(watched, unix=unix, **TRUST) as url,
        wsfast.connect(url, local_address=("127.0.0.2", 0)),
    ):
        # It is one of those that are trusted, and there is nobody behind it.
        assert await done == (("127.0.0.2", None), "ws", "127.0.0.2")


@pytest.mark.parametrize("unix", [False, True], ids=["tcp", "unix"])
async def test_a_client_that_says_something_else_of_itself_is_not_believed(
    behind_nginx, watch, unix
):
    """M14: nginx adds behind it where its connection came from, and that counts."""
    watched, done = watch(tell_client)
    headers = {"X-Forwarded-For": "192.0.2.1", "X-Forwarded-Proto": "https"}
    trust = {"trusted_proxies": ["unix" if unix else "127.0.0.1"]}
    async with (
        asyncio.timeout(TIMEOUT),
        behind_nginx(watched, unix=unix, **trust) as url,
        wsfast.connect(url, additional_headers=headers, local_address=("127.0.0.2", 0)),
    ):
        assert await done == (("127.0.0.2", None), "ws", "192.0.2.1, 127.0.0.2")


async def test_nobody_is_believed_who_is_not_trusted(behind_nginx, watch):
    """M14: by default no one; the address is that of nginx."""
    for trust in {}, {"trusted_proxies": ["192.0.2.0/24", "unix"]}:
        watched, done = watch(tell_client)
        async with (
            asyncio.timeout(TIMEOUT),
            behind_nginx(watched, **trust) as url,
            wsfast.connect(url, local_address=("127.0.0.2", 0)),
        ):
            (host, port), scheme, header = await done
        assert (host, scheme, header) == ("127.0.0.1", "ws", "127.0.0.2")
        assert port > 0


@pytest.mark.parametrize("trust", [True, False])
async def test_a_server_that_prints_who_is_connected(run_nginx, ca, trust):
    """The example that the configuration is made for."""
    with program("client_address.py", 0, *["127.0.0.1"] * trust) as server:
        with run_nginx(f"127.0.0.1:{server.port()}", tls=True) as port:
            for spoofed in {}, {"X-Forwarded-For": "192.0.2.1", "X-Forwarded-Proto": "http"}:
                connecting = wsfast.connect(
                    f"wss://127.0.0.1:{port}",
                    ca=ca,
                    additional_headers=spoofed,
                    local_address=("127.0.0.2", 0),
                )
                async with asyncio.timeout(TIMEOUT), connecting:
                    client = "127.0.0.2 by wss" if trust else "127.0.0.1 by ws"
                    line = await asyncio.to_thread(server.line)
                    assert line == f"connected from 127.0.0.1: a client at {client}"
        server.stop()


async def test_many_connections_pass_through_nginx_at_once(behind_nginx):
    async def client(url, number):
        async with wsfast.connect(url) as ws:
            for round_trip in range(20):
                await ws.send(f"{number}: {round_trip}")
                assert await ws.recv() == f"{number}: {round_trip}"

    async with asyncio.timeout(TIMEOUT), behind_nginx(echo) as url, asyncio.TaskGroup() as group:
        for number in range(50):
            group.create_task(client(url, number))


async def test_close_codes_pass_through_nginx_both_ways(behind_nginx, watch):
    async def handler(ws):
        if ws.request.path == "/server":
            await ws.close(4000, "by the server")
        await ws.wait_closed()
        return ws.close_code, ws.close_reason, ws.was_clean

    async with asyncio.timeout(TIMEOUT):
        watched, done = watch(handler)
        async with behind_nginx(watched) as url:
            async with wsfast.connect(f"{url}/server") as ws:
                await ws.wait_closed()
            assert (ws.close_code, ws.close_reason) == (4000, "by the server")
            assert ws.was_clean
            assert await done == (4000, "by the server", True)
        watched, done = watch(handler)
        async with behind_nginx(watched) as url:
            async with wsfast.connect(f"{url}/client") as ws:
                await ws.close(4001, "by the client")
            assert await done == (4001, "by the client", True)


async def test_a_refusal_passes_through_nginx(behind_nginx):
    async with asyncio.timeout(TIMEOUT), behind_nginx(echo, origins=["https://a.b"]) as url:
        with pytest.raises(wsfast.InvalidStatus) as caught:
            await wsfast.connect(url, origin="https://example.com")
    assert caught.value.response.status_code == 403


async def test_keepalive_keeps_a_silent_connection_open_through_nginx(behind_nginx):
    async with (
        asyncio.timeout(TIMEOUT),
        behind_nginx(echo, ping_interval=IDLE / 4) as url,
        wsfast.connect(url) as ws,
    ):
        pings = asyncio.Semaphore(0)
        ws.on("ping", lambda data: pings.release())
        # Longer than nginx waits.
        for _ in range(6):
            await pings.acquire()
        await ws.send("still there")
        assert await ws.recv() == "still there"


async def test_a_silent_connection_that_nginx_cuts_is_1006_on_both_sides(behind_nginx, watch):
    async def handler(ws):
        with pytest.raises(wsfast.ConnectionClosedError):
            await ws.recv()
        return ws.close_code

    watched, done = watch(handler)
    async with (
        asyncio.timeout(TIMEOUT),
        behind_nginx(watched, ping_interval=None) as url,
        wsfast.connect(url, ping_interval=None) as ws,
    ):
        with pytest.raises(wsfast.ConnectionClosedError):
            await ws.recv()
        assert ws.close_code == 1006
        assert await done == 1006
