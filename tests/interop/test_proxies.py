"""M14, C24: clients through real proxies: tinyproxy, squid, microsocks and Dante."""

import asyncio
import contextlib
import os
import shutil
import socket
import ssl
import string
import time
from typing import NamedTuple

import pytest

import wsfast

pytestmark = pytest.mark.interop

TIMEOUT = 30
USER, PASSWORD = "user", "pass-word"

TINYPROXY = string.Template("""\
Port $port
Listen 127.0.0.1
Allow 127.0.0.1
Timeout 600
MaxClients 100
LogLevel Warning
$more
""")

# As root, squid becomes another user, who cannot write to the directory of a test.
SQUID = string.Template("""\
http_port 127.0.0.1:$port
https_port 127.0.0.1:$tls_port tls-cert=$pem
http_access allow localhost
http_access deny all
cache deny all
cache_log /dev/null
access_log none
pid_filename none
netdb_filename none
pinger_enable off
shutdown_lifetime 0 seconds
$more
""")

DANTE = string.Template("""\
logoutput: stderr
internal: 127.0.0.1 port = $port
external: lo
clientmethod: none
socksmethod: none
client pass { from: 127.0.0.0/8 to: 0.0.0.0/0 }
socks pass { from: 127.0.0.0/8 to: 0.0.0.0/0 command: connect }
$more
""")


class Running(NamedTuple):
    """A proxy at work: its ports, and the user name and the password that it asks for."""

    port: int
    tls_port: int
    user_info: str


@contextlib.contextmanager
def running(run_peer, folder, program, arguments, template=None, user_info="", **values):
    """Run a proxy until the block ends."""
    # Debian puts some where the path of a user does not lead.
    path = shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
    if path is None:
        pytest.skip(f"{program} is not installed: `make interop` installs it")
    with socket.create_server(("127.0.0.1", 0)) as one:
        with socket.create_server(("127.0.0.1", 0)) as two:
            port, tls_port = one.getsockname()[1], two.getsockname()[1]
    config = folder / f"{program}.conf"
    values = {"more": "", **values, "port": port, "tls_port": tls_port, "config": config}
    if template is not None:
        config.write_text(template.substitute(values))
    command = [path, *(argument.format(**values) for argument in arguments)]
    with run_peer(command, cwd=folder) as peer:
        wait_for_port(peer, port)
        if "pem" in values:
            wait_for_port(peer, tls_port)
        yield Running(port, tls_port, user_info)


def wait_for_port(peer, port):
    """Most of them do not say when they listen."""
    deadline = time.monotonic() + TIMEOUT
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        assert peer.process.poll() is None, peer.process.stdout.read()
        assert time.monotonic() < deadline, "the proxy does not listen"
        time.sleep(0.02)


def tinyproxy(run_peer, folder, **options):
    return running(run_peer, folder, "tinyproxy", ["-d", "-c", "{config}"], TINYPROXY, **options)


def squid(run_peer, folder, identity, **options):
    pem = folder / "squid.pem"
    pem.write_bytes(identity["key"] + identity["cert"])
    arguments = ["-N", "-f", "{config}"]
    return running(run_peer, folder, "squid", arguments, SQUID, pem=pem, **options)


def dante(run_peer, folder, **options):
    arguments = ["-f", "{config}", "-p", str(folder / "pid")]
    return running(run_peer, folder, "danted", arguments, DANTE, **options)


def microsocks(run_peer, folder, *credentials, **options):
    arguments = ["-i", "127.0.0.1", "-p", "{port}", *credentials]
    return running(run_peer, folder, "microsocks", arguments, **options)


@pytest.fixture(scope="session")
def start(run_peer, tmp_path_factory, identity):
    """A context manager for a proxy, by its name."""

    def start(name):
        folder = tmp_path_factory.mktemp(name)
        user_info = f"{USER}:{PASSWORD.replace('-', '%2D')}"
        return {
            "tinyproxy": lambda: tinyproxy(run_peer, folder),
            "tinyproxy-auth": lambda: tinyproxy(
                run_peer, folder, more=f"BasicAuth {USER} {PASSWORD}", user_info=user_info
            ),
            "squid": lambda: squid(run_peer, folder, identity),
            "dante": lambda: dante(run_peer, folder),
            "microsocks": lambda: microsocks(run_peer, folder),
            "microsocks-auth": lambda: microsocks(
                run_peer, folder, "-u", USER, "-P", PASSWORD, user_info=user_info
            ),
        }[name]()

    return start


WAYS = [
    ("tinyproxy", "http"),
    ("tinyproxy-auth", "http"),
    ("squid", "http"),
    ("squid", "https"),
    ("dante", "socks4"),
    ("dante", "socks5"),
    ("dante", "socks5h"),
    ("microsocks", "socks5"),
    ("microsocks", "socks5h"),
    ("microsocks-auth", "socks5h"),
]


@pytest.fixture(scope="session", params=WAYS, ids="-".join)
def through(request, start, ca):
    """The options of a client that goes through a proxy."""
    name, scheme = request.param
    with start(name) as proxy:
        yield options_of(proxy, scheme, ca)


def options_of(proxy, scheme, ca):
    port = proxy.tls_port if scheme == "https" else proxy.port
    user_info = f"{proxy.user_info}@" if proxy.user_info else ""
    options = {"proxy": f"{scheme}://{user_info}127.0.0.1:{port}"}
    if scheme == "https":
        options["proxy_ssl"] = ssl.create_default_context(cadata=ca.decode())
    return options


@pytest.fixture(params=["ws", "wss"])
def serve(request, identity, ca):
    """An async context manager for a server; gives its address and the options of a client."""

    @contextlib.asynccontextmanager
    async def serve(handler, **options):
        secure = request.param == "wss"
        if secure:
            options.update(identity)
        async with wsfast.serve(handler, "127.0.0.1", 0, **options) as server:
            port = server.address()[1]
            yield f"{request.param}://127.0.0.1:{port}", {"ca": ca} if secure else {}

    return serve


async def echo(ws):
    async for message in ws:
        await ws.send(message)


async def test_m14_messages_of_all_sizes_go_through(serve, through):
    async with (
        asyncio.timeout(TIMEOUT),
        serve(echo, max_size=2**24) as (uri, options),
        wsfast.connect(uri, max_size=2**24, compression=None, **options, **through) as ws,
    ):
        for size in 0, 1, 125, 126, 65535, 65536, 2**20, 2**23:
            message = os.urandom(size)
            await ws.send(message)
            assert await ws.recv() == message
        await ws.send("gr\xfcn")
        assert await ws.recv() == "gr\xfcn"


async def test_m14_many_messages_both_ways_go_through(serve, through):
    async def talk(ws):
        for number in range(500):
            await ws.send(f"{number} " * 20)

    async with (
        asyncio.timeout(TIMEOUT),
        serve(talk) as (uri, options),
        wsfast.connect(uri, **options, **through) as ws,
    ):
        await talk(ws)
        received = [message async for message in ws]
    assert received == [f"{number} " * 20 for number in range(500)]
    assert (ws.close_code, ws.was_clean) == (1000, True)


async def test_m14_close_codes_go_through(serve, through, watch):
    async def handler(ws):
        if ws.path == "/server":
            await ws.close(4000, "by the server")
        await ws.wait_closed()
        return ws.close_code, ws.close_reason, ws.was_clean

    async with asyncio.timeout(TIMEOUT):
        watched, done = watch(handler)
        async with serve(watched) as (uri, options):
            async with wsfast.connect(f"{uri}/server", **options, **through) as ws:
                await ws.wait_closed()
            assert (ws.close_code, ws.close_reason) == (4000, "by the server")
            assert await done == (4000, "by the server", True)
        watched, done = watch(handler)
        async with serve(watched) as (uri, options):
            async with wsfast.connect(uri, **options, **through) as ws:
                await ws.close(4001, "by the client")
            assert await done == (4001, "by the client", True)


async def test_m14_the_name_of_the_server_may_be_localhost(through):
    """Which the proxy resolves, or this side does, to an address of either family."""
    if not socket.has_dualstack_ipv6():
        pytest.skip("there is no IPv6")
    with socket.create_server(("", 0), family=socket.AF_INET6, dualstack_ipv6=True) as sock:
        port = sock.getsockname()[1]
        async with asyncio.timeout(TIMEOUT), wsfast.serve(echo, sock=sock):
            async with wsfast.connect(f"ws://localhost:{port}", **through) as ws:
                await ws.send("hello")
                assert await ws.recv() == "hello"


async def test_m14_a_server_that_is_not_there_is_an_error_of_the_proxy(through):
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
    async with asyncio.timeout(TIMEOUT):
        with pytest.raises(wsfast.ProxyError) as caught:
            await wsfast.connect(f"ws://127.0.0.1:{port}", **through)
    if through["proxy"].startswith("http"):
        assert isinstance(caught.value, wsfast.InvalidProxyStatus)
        assert caught.value.response.status_code // 100 == 5
        assert caught.value.response.body
    else:
        assert str(caught.value) == "failed to connect to SOCKS proxy"


async def test_m14_the_environment_names_the_proxy(through, monkeypatch):
    if "proxy_ssl" in through:
        pytest.skip("the system does not trust the proxy of the tests")
    async with asyncio.timeout(TIMEOUT), wsfast.serve(echo, "127.0.0.1", 0) as server:
        uri = f"ws://127.0.0.1:{server.address()[1]}"
        monkeypatch.setenv("all_proxy", through["proxy"])
        async with wsfast.connect(uri) as ws:
            port = ws.remote_address[1]
            assert port == int(through["proxy"].rpartition(":")[2])
            await ws.send("hello")
            assert await ws.recv() == "hello"
        monkeypatch.setenv("no_proxy", "example.com, 127.0.0.1")
        async with wsfast.connect(uri) as ws:
            assert ws.remote_address == server.address()


@pytest.mark.parametrize("user_info", ["", "user:wrong@", "other:pass-word@"])
@pytest.mark.parametrize(
    ("name", "scheme", "error"),
    [
        ("tinyproxy-auth", "http", wsfast.InvalidProxyStatus),
        ("microsocks-auth", "socks5", wsfast.ProxyError),
    ],
)
async def test_m14_wrong_credentials_are_refused(start, name, scheme, error, user_info):
    with start(name) as proxy:
        async with asyncio.timeout(TIMEOUT):
            with pytest.raises(error) as caught:
                address = f"{scheme}://{user_info}127.0.0.1:{proxy.port}"
                await wsfast.connect("ws://127.0.0.1:1", proxy=address)
    assert type(caught.value) is error
    if error is wsfast.InvalidProxyStatus:
        # Missing ones, or for tinyproxy wrong ones.
        assert caught.value.response.status_code == (401 if user_info else 407)


@pytest.mark.parametrize("scheme", ["http", "https", "socks4", "socks4a", "socks5", "socks5h"])
async def test_m14_a_proxy_that_is_not_there_refuses_the_connection(scheme):
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
    with pytest.raises(wsfast.NetworkError) as caught:
        await wsfast.connect("ws://127.0.0.1:1", proxy=f"{scheme}://127.0.0.1:{port}")
    assert caught.value.code == "ECONNREFUSED"
