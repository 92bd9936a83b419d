"""C24, M14: clients behind proxies, which are played by hand; tests/interop has real ones."""

import asyncio
import socket
import ssl

import pytest
from peers import PATIENCE, echo, raw_server, uri_of
from proxies import (
    ESTABLISHED,
    Tunnels,
    proxy_of,
    refused,
    round_trip,
    serve,
    server_address,
    within,
)

import wsfast
from wsfast import dial
from wsfast.proxy import parse_proxy
from wsfast.tunnel import ConnectAnswer, open_through


@pytest.fixture(params=["ws", "wss"])
def server_tls(request, identity, ca):
    """The options of a server and of a client, with and without TLS between them."""
    return ({}, {}) if request.param == "ws" else (identity, {"ca": ca})


@pytest.fixture(params=["http", "https"])
def proxy_tls(request, files, ca):
    """The options of a proxy and of a client, with and without TLS between them."""
    if request.param == "http":
        return {}, {}
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files["all"])
    return {"ssl": context}, {"proxy_ssl": ssl.create_default_context(cadata=ca.decode())}


# --- Through ----------------------------------------------------------------------------------


async def test_c24_messages_go_through_a_proxy(server_tls, proxy_tls):
    """C24, M14: ws: and wss:, with and without TLS to the proxy."""
    tunnels = Tunnels()
    async with serve(**server_tls[0]) as server, proxy_of(tunnels, **proxy_tls[0]) as proxy:
        uri = uri_of(server, "/path?query")
        await round_trip(uri, proxy=proxy, **server_tls[1], **proxy_tls[1])
    (head,) = tunnels.heads
    host, port = server_address(uri)
    assert head.line == f"CONNECT {host}:{port} HTTP/1.1"
    assert head.headers == {
        "host": f"{host}:{port}",
        "user-agent": f"wsfast/{wsfast.__version__}",
    }


@pytest.mark.parametrize(
    "answer",
    [
        "HTTP/1.0 200 Connection established\r\n\r\n",
        "HTTP/1.0 200 OK\r\nProxy-agent: old\r\n\r\n",
        "HTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 299 \r\n\r\n",
        # RFC 9110 section 9.3.6: a client must ignore both.
        "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 103 Early Hints\r\nLink: </>\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: " + "x" * 8000 + "\r\n\r\n",
    ],
)
async def test_m14_each_2xx_opens_the_tunnel(answer, proxy_tls):
    async with serve() as server, proxy_of(Tunnels(answer), **proxy_tls[0]) as proxy:
        await round_trip(uri_of(server), "hello", proxy=proxy, **proxy_tls[1])


@pytest.mark.parametrize("chunk", [1, 2, 3, 5])
async def test_m14_the_answer_may_come_in_pieces(chunk, proxy_tls):
    tunnels = Tunnels("HTTP/1.1 200 OK\r\nX: \r\n\r\n", chunk=chunk)
    async with serve() as server, proxy_of(tunnels, **proxy_tls[0]) as proxy:
        await round_trip(uri_of(server), "hello", proxy=proxy, **proxy_tls[1])


async def test_m14_what_comes_right_behind_the_answer_is_the_servers(proxy_tls):
    """A server that does not even wait for the request, in one piece with the proxy's answer."""
    refusal = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nfull"

    async def play(peer):
        await peer.head()
        peer.write((ESTABLISHED + refusal).encode())
        await peer.rest()

    async with proxy_of(play, **proxy_tls[0]) as proxy:
        error = await refused(
            wsfast.InvalidStatus, "ws://server.example", proxy=proxy, **proxy_tls[1]
        )
    assert (error.response.status_code, error.response.body) == (503, b"full")


async def test_m14_what_comes_in_front_of_the_tls_handshake_is_refused(proxy_tls, ca):
    async def play(peer):
        await peer.head()
        peer.write((ESTABLISHED + "HTTP/1.1 503 Service Unavailable\r\n\r\n").encode())
        await peer.rest()

    async with proxy_of(play, **proxy_tls[0]) as proxy:
        with pytest.raises((wsfast.ProxyError, wsfast.NetworkError)) as caught:
            await within(wsfast.connect("wss://a", ca=ca, proxy=proxy, **proxy_tls[1]))
    if proxy_tls[0]:
        assert str(caught.value) == "something came through the proxy before the TLS handshake"
    else:
        assert caught.value.code == "WRONG_VERSION_NUMBER"


async def test_m14_credentials_go_to_the_proxy_and_not_to_the_server(proxy_tls):
    async def handler(ws):
        await ws.send(str(dict(ws.request.headers.raw_items())))

    tunnels = Tunnels(credentials=("us@er", "pass:word"))
    async with (
        serve(handler) as server,
        proxy_of(tunnels, user_info="us%40er:pass%3Aword", **proxy_tls[0]) as proxy,
        asyncio.timeout(PATIENCE),
        wsfast.connect(
            uri_of(server),
            proxy=proxy,
            auth=("server", "secret"),
            additional_headers={"X-Secret": "1"},
            **proxy_tls[1],
        ) as ws,
    ):
        headers = await ws.recv()
    assert "Proxy-Authorization" not in headers
    assert "Authorization" in headers
    (head,) = tunnels.heads
    assert set(head.headers) == {"host", "user-agent", "proxy-authorization"}


async def test_m14_the_proxy_gets_the_name_and_resolves_it():
    heads = []

    async def play(peer):
        heads.append(await peer.head())

    async with proxy_of(play) as proxy:
        for uri in (
            "wss://m\xfcller.example",
            "ws://[2001:db8::1]:8080",
            "ws://host.example./path",
        ):
            await refused(wsfast.InvalidProxyMessage, uri, proxy=proxy, user_agent_header=None)
        await refused(
            wsfast.InvalidProxyMessage, "ws://a", host="b.example", port=1234, proxy=proxy
        )
    assert [head.line.split(" ")[1] for head in heads] == [
        "xn--mller-kva.example:443",
        "[2001:db8::1]:8080",
        "host.example.:80",
        "b.example:1234",
    ]
    assert [head.headers["host"] for head in heads] == [head.line.split(" ")[1] for head in heads]
    assert ["user-agent" in head.headers for head in heads] == [False, False, False, True]


async def test_c24_a_name_cannot_break_the_request():
    async with proxy_of(Tunnels()) as proxy:
        for host in "a\r\nX: y", "a b", "", "\xe4" * 64:
            with pytest.raises(ValueError):
                await within(wsfast.connect("ws://a", host=host, proxy=proxy))


async def test_c24_the_way_to_the_proxy_may_begin_at_a_local_address():
    peers = []

    async def play(peer):
        await peer.head()
        peers.append(peer.writer.get_extra_info("peername"))

    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        local = sock.getsockname()
    async with proxy_of(play) as proxy:
        await refused(wsfast.InvalidProxyMessage, "ws://a", proxy=proxy, local_address=local)
    assert peers == [local]


async def test_c24_closing_goes_through_the_proxy(server_tls, proxy_tls):
    """The close code, and then the end of both connections, whoever begins."""
    codes = asyncio.Queue()

    async def handler(ws):
        if ws.path == "/server":
            await ws.close(4001, "server")
        await ws.wait_closed()
        codes.put_nowait((ws.close_code, ws.was_clean))

    async with (
        serve(handler, **server_tls[0]) as server,
        proxy_of(Tunnels(), **proxy_tls[0]) as proxy,
    ):
        options = {"proxy": proxy, **server_tls[1], **proxy_tls[1]}
        async with asyncio.timeout(PATIENCE):
            async with wsfast.connect(uri_of(server), **options) as ws:
                await ws.close(4000, "client")
            assert (ws.close_code, ws.was_clean) == (4000, True)
            assert await codes.get() == (4000, True)
            async with wsfast.connect(uri_of(server, "/server"), **options) as ws:
                await ws.wait_closed()
            assert (ws.close_code, ws.close_reason, ws.was_clean) == (4001, "server", True)
            assert await codes.get() == (4001, True)


async def test_c24_a_connection_through_a_proxy_can_be_terminated(server_tls, proxy_tls):
    async with (
        serve(**server_tls[0]) as server,
        proxy_of(Tunnels(), **proxy_tls[0]) as proxy,
        asyncio.timeout(PATIENCE),
    ):
        ws = await wsfast.connect(uri_of(server), proxy=proxy, **server_tls[1], **proxy_tls[1])
        ws.terminate()
        await ws.wait_closed()
        assert ws.close_code == 1006


async def test_c24_many_connections_go_through_a_proxy_at_once(server_tls, proxy_tls):
    async with (
        serve(**server_tls[0]) as server,
        proxy_of(Tunnels(), **proxy_tls[0]) as proxy,
        asyncio.TaskGroup() as group,
    ):
        for number in range(20):
            options = {"proxy": proxy, **server_tls[1], **proxy_tls[1]}
            group.create_task(round_trip(uri_of(server), f"{number}", **options))


# --- Which proxy ------------------------------------------------------------------------------


async def test_m14_the_environment_says_which_proxy(monkeypatch):
    tunnels = Tunnels()
    async with serve() as server, proxy_of(tunnels) as proxy:
        monkeypatch.setenv("ws_proxy", proxy)
        await round_trip(uri_of(server), "hello")
        assert len(tunnels.heads) == 1
        await round_trip(uri_of(server), "hello", proxy=None)
        monkeypatch.setenv("no_proxy", "127.0.0.0/8")
        await round_trip(uri_of(server), "hello")
        assert len(tunnels.heads) == 1
        await round_trip(uri_of(server), "hello", proxy=proxy)
        assert len(tunnels.heads) == 2


async def test_c24_there_is_no_proxy_for_a_socket_or_a_unix_socket(monkeypatch, tmp_path):
    """C24: the user, or the address, has said already how to connect."""
    monkeypatch.setenv("all_proxy", "http://127.0.0.1:1")
    path = str(tmp_path / "socket")
    async with serve() as server:
        for proxy in True, "http://127.0.0.1:1":
            sock = socket.create_connection(server.address())
            await round_trip(uri_of(server), "hello", sock=sock, proxy=proxy)
    async with wsfast.serve(echo, unix_path=path) as server:
        for proxy in True, "http://127.0.0.1:1":
            await round_trip(uri_of(server), "hello", proxy=proxy)


async def test_c24_create_connection_comes_before_the_proxy():
    """C24: who connects by themselves goes through proxies by themselves."""

    async def create_connection(host, port):
        return await dial.open_socket(asyncio.get_running_loop(), host, port, None)

    async with serve() as server:
        proxy = "http://127.0.0.1:1"
        await round_trip(uri_of(server), "hello", create_connection=create_connection, proxy=proxy)


async def test_m14_the_target_of_a_redirect_has_a_proxy_of_its_own(monkeypatch):
    async def redirect(peer):
        await peer.head()
        peer.write(
            b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n"
            + f"Location: {uri_of(server)}\r\n\r\n".encode()
        )

    tunnels = Tunnels()
    async with serve() as server, raw_server(redirect) as uri, proxy_of(tunnels) as proxy:
        monkeypatch.setenv("ws_proxy", proxy)
        monkeypatch.setenv("no_proxy", f"127.0.0.1:{server_address(uri)[1]}")
        await round_trip(uri, "hello")
        assert [head.line.split(" ")[1] for head in tunnels.heads] == [
            ":".join(server_address(uri_of(server)))
        ]
        monkeypatch.delenv("no_proxy")
        await round_trip(uri, "hello")
        assert len(tunnels.heads) == 3


@pytest.mark.parametrize(
    ("status", "again"), [(502, True), (503, True), (407, False), (403, False), (200, False)]
)
def test_m14_it_is_tried_again_when_the_proxy_does_not_reach_the_server(status, again):
    error = wsfast.InvalidProxyStatus(wsfast.Response(status, "", wsfast.Headers()))
    assert wsfast.process_exception(error) is (None if again else error)


def test_m14_a_bad_option_is_refused_at_the_call():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    with pytest.raises(wsfast.InvalidProxy):
        wsfast.connect("ws://a", proxy="ftp://proxy")
    with pytest.raises(TypeError, match="proxy must be"):
        wsfast.connect("ws://a", proxy=False)
    with pytest.raises(TypeError, match="proxy_ssl must be an SSLContext"):
        wsfast.connect("ws://a", proxy_ssl=True)
    with pytest.raises(ValueError, match="incompatible with an http:// proxy"):
        wsfast.connect("ws://a", proxy="http://proxy", proxy_ssl=context)


async def test_m14_a_bad_address_in_the_environment_is_an_error_of_the_connection(monkeypatch):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    monkeypatch.setenv("ws_proxy", "ftp://proxy")
    await refused(wsfast.InvalidProxy, "ws://a")
    monkeypatch.setenv("ws_proxy", "http://proxy")
    error = await refused(ValueError, "ws://a", proxy_ssl=context)
    assert str(error) == "proxy_ssl argument is incompatible with an http:// proxy"


# --- What goes wrong --------------------------------------------------------------------------


def answering(answer):
    async def play(peer):
        await peer.head()
        peer.write(answer.encode("iso-8859-1"))

    return play


@pytest.mark.parametrize(
    ("answer", "status", "body"),
    [
        ("HTTP/1.1 407 Who\r\nContent-Length: 4\r\n\r\nno\r\n", 407, b"no\r\n"),
        ("HTTP/1.1 407 Who\r\nContent-Length: 100000\r\n\r\n" + "x" * 10**5, 407, b"x" * 10**5),
        ("HTTP/1.0 403 Filtered\r\n\r\nnot this one", 403, b"not this one"),
        ("HTTP/1.1 502 Bad Gateway\r\n\r\n", 502, b""),
        ("HTTP/1.1 503 \r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n", 503, b"no"),
        ("HTTP/1.1 302 Found\r\nLocation: http://a/\r\nContent-Length: 0\r\n\r\n", 302, b""),
        ("HTTP/1.1 101 Switching Protocols\r\n\r\n", 101, b""),
    ],
)
async def test_m14_a_refusal_of_the_proxy_is_told(answer, status, body, proxy_tls):
    async with proxy_of(answering(answer), **proxy_tls[0]) as proxy:
        error = await refused(wsfast.InvalidProxyStatus, "ws://a", proxy=proxy, **proxy_tls[1])
    assert str(error) == f"proxy rejected connection: HTTP {status}"
    assert error.code == "WS_ERR_UNEXPECTED_PROXY_RESPONSE"
    assert (error.response.status_code, error.response.body) == (status, body)


@pytest.mark.parametrize("user_info", ["", "user:wrong", "wrong:password", "user:"])
async def test_m14_wrong_credentials_are_refused(user_info, proxy_tls):
    tunnels = Tunnels(credentials=("user", "password"))
    async with proxy_of(tunnels, user_info=user_info, **proxy_tls[0]) as proxy:
        error = await refused(wsfast.InvalidProxyStatus, "ws://a", proxy=proxy, **proxy_tls[1])
    assert error.response.status_code == 407
    assert error.response.headers["Proxy-Authenticate"] == "Basic"
    assert error.response.body == b"who dares"


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        ("", "connection closed while reading HTTP status line"),
        ("HTTP/1.1 200 OK\r\n", "connection closed while reading HTTP headers"),
        ("SSH-2.0-OpenSSH_9.2\r\n", "did not receive a valid HTTP response"),
        ("HTTP/2.0 200 OK\r\n\r\n", "unsupported protocol; expected HTTP/1.1: HTTP/2.0"),
        ("HTTP/1.1 200 OK\n\n", "a line of the HTTP head ends without CR"),
        ("HTTP/1.1 200 OK\r\nbad\r\n\r\n", "a header line has no colon: bad"),
        ("HTTP/1.1 20 OK\r\n\r\n", "invalid HTTP status line: HTTP/1.1 20 OK"),
        ("HTTP/1.1 200 " + "x" * 8192, "the status line is longer than 8192 bytes"),
        ("HTTP/1.1 200 OK\r\n" + "X: y\r\n" * 200, "there are more than 128 headers"),
        (
            "HTTP/1.1 407 \r\nContent-Length: 2000000\r\n\r\n",
            "the body of the response is longer than 1048576 bytes",
        ),
        (
            "HTTP/1.1 407 \r\nContent-Length: 5\r\n\r\nno",
            "connection closed while reading HTTP body",
        ),
        ("HTTP/1.1 103 \r\n\r\n" * 9, "more than 8 interim responses"),
    ],
)
async def test_m14_what_is_no_answer_in_http_is_refused(answer, cause, proxy_tls):
    async with proxy_of(answering(answer), **proxy_tls[0]) as proxy:
        error = await refused(wsfast.InvalidProxyMessage, "ws://a", proxy=proxy, **proxy_tls[1])
    assert str(error) == "did not receive a valid HTTP response from proxy"
    assert error.code == "WS_ERR_INVALID_PROXY_HTTP"
    assert isinstance(error, wsfast.ProxyError)
    assert str(error.__cause__) == cause


async def test_m14_nobody_listens_where_the_proxy_should_be():
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
    for scheme in "http", "https", "socks4", "socks4a", "socks5", "socks5h":
        error = await refused(wsfast.NetworkError, "ws://a", proxy=f"{scheme}://127.0.0.1:{port}")
        assert error.code == "ECONNREFUSED"


async def test_m14_the_proxy_resets_the_connection(proxy_tls):
    async def play(peer):
        await peer.head()
        peer.reset()

    async with proxy_of(play, **proxy_tls[0]) as proxy:
        error = await refused(wsfast.NetworkError, "ws://a", proxy=proxy, **proxy_tls[1])
    assert error.code == "ECONNRESET"


async def test_m14_a_proxy_that_does_not_answer_is_left_after_open_timeout(proxy_tls):
    left = asyncio.Event()

    async def play(peer):
        await peer.head()
        await peer.rest()
        left.set()

    async with proxy_of(play, **proxy_tls[0]) as proxy:
        error = await refused(
            wsfast.OpenTimeout, "ws://a", proxy=proxy, open_timeout=0.1, **proxy_tls[1]
        )
        assert str(error) == "timed out during opening handshake"
        await within(left.wait())


async def test_m14_a_server_behind_the_proxy_that_does_not_answer_is_left(
    server_tls, proxy_tls, files
):
    """Which with wss: is in the middle of the TLS handshake."""

    async def silent(peer):
        await peer.rest()

    scheme = "wss" if server_tls[0] else "ws"
    async with (
        raw_server(silent, scheme=scheme) as uri,
        proxy_of(Tunnels(), **proxy_tls[0]) as proxy,
    ):
        options = {"proxy": proxy, "open_timeout": 0.1, **server_tls[1], **proxy_tls[1]}
        await refused(wsfast.OpenTimeout, uri, **options)


async def test_m14_the_certificate_of_the_proxy_is_verified(files, ca, authority):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("other.example").configure_cert(context)
    trusting = ssl.create_default_context(cadata=ca.decode())
    async with proxy_of(Tunnels(), ssl=context) as proxy:
        error = await refused(wsfast.NetworkError, "ws://a", proxy=proxy)
        assert error.code == "UNABLE_TO_GET_ISSUER_CERT_LOCALLY"
        error = await refused(wsfast.NetworkError, "ws://a", proxy=proxy, proxy_ssl=trusting)
        assert "not valid for '127.0.0.1'" in str(error)


async def test_m14_the_certificate_of_the_server_is_verified(identity, proxy_tls):
    async with serve(**identity) as server, proxy_of(Tunnels(), **proxy_tls[0]) as proxy:
        error = await refused(wsfast.NetworkError, uri_of(server), proxy=proxy, **proxy_tls[1])
        assert error.code == "UNABLE_TO_GET_ISSUER_CERT_LOCALLY"


async def test_m14_a_proxy_without_tls_is_told_where_tls_is_expected():
    async def play(peer):
        assert await peer.read(3) == "160301"  # a record of TLS
        peer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await peer.rest()

    async with proxy_of(play) as proxy:
        error = await refused(wsfast.NetworkError, "ws://a", proxy=proxy.replace("http:", "https:"))
    assert isinstance(error.__cause__, ssl.SSLError)


async def test_c24_a_server_that_does_not_end_tls_is_left_after_close_timeout(
    identity, files, proxy_tls, ca
):
    """It answers the close frame, and then nothing: neither TLS nor TCP is closed."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files["all"])
    closed = asyncio.Event()

    async def play(peer):
        await peer.accept()
        await peer.frame()
        peer.close()
        peer.stop_reading()
        await closed.wait()
        peer.writer.transport.abort()

    async with (
        raw_server(play, scheme="wss", ssl=context) as uri,
        proxy_of(Tunnels(), **proxy_tls[0]) as proxy,
        asyncio.timeout(PATIENCE),
    ):
        ws = await wsfast.connect(uri, ca=ca, proxy=proxy, close_timeout=0.1, **proxy_tls[1])
        await ws.close()
        assert ws.close_code == 1000
        closed.set()


async def test_c24_cancelling_leaves_nothing(proxy_tls):
    reached, left = asyncio.Event(), asyncio.Event()

    async def play(peer):
        await peer.head()
        reached.set()
        await peer.rest()
        left.set()

    async def connect(proxy):
        await wsfast.connect("ws://a", proxy=proxy, **proxy_tls[1])

    async with proxy_of(play, **proxy_tls[0]) as proxy:
        task = asyncio.create_task(connect(proxy))
        await within(reached.wait())
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await within(left.wait())


# --- Pieces -----------------------------------------------------------------------------------


def test_m14_no_byte_behind_the_blank_line_is_asked_for():
    """Whatever stands in front of it."""
    for head in (
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 200 \r\nA: \r\nB:\r\n\r\n",
        b"HTTP/1.1 103 \r\n\r\nHTTP/1.1 200 \r\n\r\n",
    ):
        answer, taken, done = ConnectAnswer(), 0, False
        while not done:
            size = answer.wanted
            assert taken + size <= len(head)
            done = answer.feed(head[taken : taken + size]) is not None
            taken += size
        assert taken == len(head)


async def test_c24_what_is_opened_is_a_socket_like_any_other():
    loop = asyncio.get_running_loop()
    async with serve() as server, proxy_of(Tunnels()) as proxy:
        sock = await open_through(loop, parse_proxy(proxy), *server.address())
        assert sock.getblocking() is False
        await round_trip(uri_of(server), "hello", sock=sock)
