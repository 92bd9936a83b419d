"""Requests, byte by byte, and what a server answers: status, headers and body."""

import asyncio
import re
from email.utils import parsedate_to_datetime

import pytest
from peers import ACCEPT, KEY, TEXT, echo, exchange, frame, raw_client, request

import wsfast
from wsfast.protocol import http

LIMIT_LINE = 8192
LIMIT_HEADERS = 128


@pytest.fixture(params=["h11", "httptools"], autouse=True)
def http_parser(request, monkeypatch):
    """Runs every test of this file with each of the libraries that read header lines."""
    if request.param not in http.PARSERS:
        pytest.skip(f"{request.param} is not installed")
    monkeypatch.setattr(http, "HTTP_PARSER", request.param)


def serve(**options):
    return wsfast.serve(echo, "127.0.0.1", 0, **options)


def says(what):
    return f"Failed to open a WebSocket connection: {what}.\n"


def line(text):
    """The request with another request line."""
    return request().replace(b"GET / HTTP/1.1", text)


def with_line(text):
    """The request with one more header line."""
    return request().replace(b"\r\n\r\n", b"\r\n" + text + b"\r\n\r\n")


async def test_a_request_is_answered_with_101_and_nothing_superfluous():
    """M2"""
    async with serve() as server, raw_client(server, request()) as peer:
        head = await peer.head()
        assert head.line == "HTTP/1.1 101 Switching Protocols"
        assert head.headers == {
            "upgrade": "websocket",
            "connection": "Upgrade",
            "sec-websocket-accept": ACCEPT,
            "server": f"wsfast/{wsfast.__version__}",
        }


async def test_the_server_header_can_be_chosen_or_left_out():
    async with serve(server_header="mine") as server, raw_client(server, request()) as peer:
        assert (await peer.head()).headers["server"] == "mine"
    async with serve(server_header=None) as server, raw_client(server, request()) as peer:
        assert "server" not in (await peer.head()).headers


async def test_frames_glued_behind_the_request_are_processed():
    """SV6: data sent along with the request."""
    glued = frame(TEXT, "one", mask=b"abcd") + frame(TEXT, "two", mask=b"abcd")
    async with serve() as server, raw_client(server, request() + glued) as peer:
        assert (await peer.head()).status == 101
        assert await peer.read(10) == "81036f6e65810374776f"


async def test_a_request_may_come_byte_by_byte():
    async with serve() as server, raw_client(server) as peer:
        for byte in request():
            peer.write(bytes([byte]))
            await peer.writer.drain()
            await asyncio.sleep(0)
        assert (await peer.head()).status == 101


ACCEPTABLE = {
    "Firefox's Connection header": request(connection="keep-alive, Upgrade"),
    "any case": request(connection="UPGRADE", upgrade="WebSocket"),
    "version 8": request(sec_websocket_version="8"),
    "a query": request("/chat?room=1&x=%20"),
    "an absolute target": line(b"GET http://localhost/chat HTTP/1.1"),
    "Content-Length: 0": request(content_length="0"),
    "a port in Host": request(host="localhost:8080"),
    "an IPv6 Host": request(host="[::1]:8080"),
    "an unknown extension": request(sec_websocket_extensions="constructor; x=1"),
    "an offer of permessage-deflate": request(sec_websocket_extensions="permessage-deflate"),
    "an origin": request(origin="https://example.com"),
    "a subprotocol that the server does not speak": request(sec_websocket_protocol="chat"),
    "a request line of the longest length": line(b"GET /" + b"x" * 8178 + b" HTTP/1.1"),
    "a header line of the longest length": with_line(b"X: " + b"x" * (LIMIT_LINE - 3)),
    "as many headers as allowed": with_line(
        b"\r\n".join(b"X-%d: y" % number for number in range(LIMIT_HEADERS - 5))
    ),
}


@pytest.mark.parametrize("data", ACCEPTABLE.values(), ids=ACCEPTABLE.keys())
async def test_a_request_is_accepted_with(data):
    """An unknown extension, for instance, is ignored."""
    async with serve() as server, raw_client(server, data) as peer:
        head = await peer.head()
        assert head.status == 101
        assert "sec-websocket-extensions" not in head.headers
        assert "sec-websocket-protocol" not in head.headers


BODY = "a WebSocket handshake cannot have a body"
NO_KEY = "missing Sec-WebSocket-Key header"
TOO_LONG = "the headers are longer than 8192 bytes a line or 65536 bytes in all"


def bad_key(key):
    return request(sec_websocket_key=key), 400, f"invalid Sec-WebSocket-Key header: {key}"


REFUSED = {
    # Syntax and limits.
    "garbage": (b"\x16\x03\x01\x00\xa5\x01", 400, "did not receive a valid HTTP request"),
    "two spaces": (line(b"GET  / HTTP/1.1"), 400, "invalid HTTP request line: GET  / HTTP/1.1"),
    "a tab": (line(b"GET\t/ HTTP/1.1"), 400, r"invalid HTTP request line: GET\t/ HTTP/1.1"),
    "a fragment": (line(b"GET /#x HTTP/1.1"), 400, "invalid HTTP request line: GET /#x HTTP/1.1"),
    "HTTP/1.0": (
        line(b"GET / HTTP/1.0"),
        400,
        "unsupported protocol; expected HTTP/1.1: HTTP/1.0",
    ),
    "HTTP/2.0": (
        line(b"GET / HTTP/2.0"),
        400,
        "unsupported protocol; expected HTTP/1.1: HTTP/2.0",
    ),
    "no version": (line(b"GET /"), 400, "invalid HTTP request line: GET /"),
    "a bare LF": (
        request().replace(b"\r\nHost", b"\nHost"),
        400,
        "a line of the HTTP head ends without CR",
    ),
    "a bare CR": (with_line(b"X: a\rb"), 400, "the X header has control characters"),
    "NUL in a value": (with_line(b"X: a\0b"), 400, "the X header has control characters"),
    "ESC in a value": (with_line(b"X: \x1b[2J"), 400, "the X header has control characters"),
    "a folded line": (with_line(b"X: a\r\n b"), 400, "a header line starts with a blank"),
    "a blank before the colon": (
        with_line(b"X : a"),
        400,
        "a header has a blank before its colon: X : a",
    ),
    "no colon": (with_line(b"nonsense"), 400, "a header line has no colon: nonsense"),
    "a bad header name": (with_line(b"X(: a"), 400, "invalid header name: X("),
    "no Host": (request(without=["Host"]), 400, "missing Host header"),
    "two Hosts": (with_line(b"Host: b"), 400, "there are several Host headers"),
    "a slash in Host": (request(host="a/b"), 400, "invalid Host header: a/b"),
    "a query in Host": (request(host="a?b"), 400, "invalid Host header: a?b"),
    "userinfo in Host": (request(host="a@b"), 400, "invalid Host header: a@b"),
    "a body": (request(content_length="5"), 400, BODY),
    "a chunked body": (request(transfer_encoding="chunked"), 400, BODY),
    "another target": (
        line(b"GET http://other/ HTTP/1.1"),
        400,
        "invalid request target: http://other/",
    ),
    "a long request line": (
        line(b"GET /" + b"x" * 8179 + b" HTTP/1.1"),
        414,
        "the request line is longer than 8192 bytes",
    ),
    "a long header line": (with_line(b"X: " + b"x" * (LIMIT_LINE - 2)), 431, TOO_LONG),
    "a long head": (with_line(b"\r\n".join([b"X: " + b"x" * 8000] * 9)), 431, TOO_LONG),
    "a header line without an end": (b"GET / HTTP/1.1\r\nX: " + b"x" * 9000, 431, TOO_LONG),
    "many headers": (
        with_line(b"\r\n".join(b"X-%d: y" % number for number in range(LIMIT_HEADERS - 4))),
        431,
        "there are more than 128 headers",
    ),
    # Upgrade tokens.
    "no Upgrade": (request(without=["Upgrade"]), 426, "missing Upgrade header"),
    "no Connection": (request(without=["Connection"]), 426, "missing Connection header"),
    "another Upgrade": (request(upgrade="h2c"), 426, "invalid Upgrade header: h2c"),
    "websocketx": (request(upgrade="websocketx"), 426, "invalid Upgrade header: websocketx"),
    "two upgrades": (
        request(upgrade="websocket, h2c"),
        426,
        "invalid Upgrade header: websocket, h2c",
    ),
    "Connection: notupgrade": (
        request(connection="notupgrade"),
        426,
        "invalid Connection header: notupgrade",
    ),
    # Version.
    "no version header": (
        request(without=["Sec-WebSocket-Version"]),
        426,
        "missing Sec-WebSocket-Version header",
    ),
    **{
        f"version {version!r}": (
            request(sec_websocket_version=version),
            426,
            f"invalid Sec-WebSocket-Version header: {version}",
        )
        for version in ("0", "7", "12", "14", "013", "13, 8", "1\xb3")
    },
    "two versions": (
        with_line(b"Sec-WebSocket-Version: 13"),
        426,
        "invalid Sec-WebSocket-Version header: 13, 13",
    ),
    # Key.
    "no key": (request(without=["Sec-WebSocket-Key"]), 400, NO_KEY),
    "an empty key": (request(sec_websocket_key=""), 400, "empty Sec-WebSocket-Key header"),
    "two keys": (
        with_line(b"Sec-WebSocket-Key: " + KEY.encode()),
        400,
        "there are several Sec-WebSocket-Key headers",
    ),
    "a key of 15 bytes": bad_key("AAAAAAAAAAAAAAAAAAAA"),
    "a key of 17 bytes": bad_key("AAAAAAAAAAAAAAAAAAAAAAA="),
    "a key in another alphabet": bad_key("AAAAAAAAAAAAAAAAAAAA-_=="),
    "a key with junk": bad_key("dGhl!!IHNhbXBsZSBub25jZQ=="),
    "a key with a blank": bad_key("dGhlIHNhbXBs ZSBub25jZQ=="),
    # Subprotocols and origins, on any server.
    "an empty subprotocol": (
        request(sec_websocket_protocol="a,,b"),
        400,
        "invalid Sec-WebSocket-Protocol header: Unexpected character at index 2",
    ),
    "a repeated subprotocol": (
        request(sec_websocket_protocol="a, a"),
        400,
        'invalid Sec-WebSocket-Protocol header: The "a" subprotocol is duplicated',
    ),
    "a subprotocol that is not ASCII": (
        request(sec_websocket_protocol="a\x80"),
        400,
        "invalid Sec-WebSocket-Protocol header: Unexpected character at index 1",
    ),
    "two origins": (
        request(origin="https://a") .replace(b"\r\n\r\n", b"\r\nOrigin: https://b\r\n\r\n"),
        403,
        "there are several Origin headers",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("data", "status", "what"), REFUSED.values(), ids=REFUSED.keys())
async def test_a_request_is_refused_with(data, status, what):
    """Each answer has its status, its text and the headers that belong to it."""
    async with serve() as server:
        head, body = await exchange(server, data)
    assert head.status == status
    assert body == says(what)
    assert head.headers["content-length"] == str(len(body.encode()))
    assert head.headers["content-type"] == "text/plain; charset=utf-8"
    assert parsedate_to_datetime(head.headers["date"])
    if status == 426:
        assert head.headers["upgrade"] == "websocket"
        assert head.headers["connection"] == "close, Upgrade"
    else:
        assert head.headers["connection"] == "close"
    is_version = "Sec-WebSocket-Version" in what
    assert head.headers.get("sec-websocket-version") == ("13, 8" if is_version else None)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "CONNECT", "BREW", "get"])
async def test_methods_other_than_get_are_refused(method):
    async with serve() as server:
        head, body = await exchange(server, line(f"{method} / HTTP/1.1".encode()))
    assert head.line == "HTTP/1.1 405 Method Not Allowed"
    assert head.headers["allow"] == "GET"
    assert body == says(f"the method is {method}; a WebSocket handshake needs GET")


async def test_the_answer_to_head_has_no_body():
    async with serve() as server:
        head, body = await exchange(server, line(b"HEAD / HTTP/1.1"))
    assert head.status == 405
    assert int(head.headers["content-length"]) > 0
    assert body == ""


async def page(ws, request):
    return wsfast.Response(200, "OK", wsfast.Headers(), b"a page")


def fail(ws, request):
    raise KeyError


def broken(ws, request):
    return wsfast.Response(200, "OK\r\n", wsfast.Headers(), b"a page")


@pytest.mark.parametrize(
    ("hook", "status"), [(page, 200), (fail, 500), (broken, 500)], ids=["page", "fail", "broken"]
)
async def test_the_answer_of_a_hook_to_head_has_the_length_of_a_body_and_none(hook, status):
    """RFC 9110 section 9.3.2."""
    async with serve(process_request=hook) as server:
        head, body = await exchange(server, line(b"HEAD / HTTP/1.1"))
        same, sent = await exchange(server, line(b"GET / HTTP/1.1"))
    assert head.status == same.status == status
    assert head.headers["content-length"] == same.headers["content-length"] == str(len(sent))
    assert body == ""
    assert sent != ""


async def test_only_the_path_is_served_and_its_query_does_not_count():
    """SV4, M8: other than in ws it is 404."""
    async with serve(path="/chat") as server:
        for path in "/", "/chat/", "/chatter", "/CHAT", "/x?/chat", "/%63hat":
            head, body = await exchange(server, request(path))
            assert (head.status, body) == (404, says("there is no WebSocket at this path"))
        async with raw_client(server, request("/chat?x=1")) as peer:
            assert (await peer.head()).status == 101


ORIGINS = ["https://example.com", "http://[::1]:8080", re.compile(r"https://\w+\.example\.org")]
ALLOWED = [
    "https://example.com",
    "HTTPS://EXAMPLE.COM",
    "https://example.com:443",
    "http://[::1]:8080",
    "https://a.example.org",
]
FOREIGN = [
    None,
    "",
    "null",
    "http://example.com",
    "https://example.com:8443",
    "https://example.com.evil",
    "https://evil-example.com",
    "https://example.com/",
    "https://user@example.com",
    "http://[::1]",
    "https://a.example.org.evil",
    "xhttps://a.example.org",
    "https://a.b.example.org",
]


@pytest.mark.parametrize("version", ["13", "8"])
async def test_origins_are_compared_as_a_whole(version):
    """SV9, M13, M19: the origin, of both versions."""
    name = {"13": "Origin", "8": "Sec-WebSocket-Origin"}[version]
    async with serve(origins=ORIGINS) as server:
        for origin in ALLOWED:
            data = request(sec_websocket_version=version, **{name: origin})
            async with raw_client(server, data) as peer:
                assert (await peer.head()).status == 101, origin
        for origin in FOREIGN:
            given = {} if origin is None else {name: origin}
            head, body = await exchange(server, request(sec_websocket_version=version, **given))
            assert head.status == 403, origin
            problem = "missing" if origin is None else "invalid" if origin else "empty"
            assert body.startswith(
                f"Failed to open a WebSocket connection: {problem} Origin header"
            )


async def test_clients_without_an_origin_connect_only_if_none_is_listed():
    """M13"""
    async with serve(origins=["https://a", None]) as server:
        async with raw_client(server, request()) as peer:
            assert (await peer.head()).status == 101
        head, _ = await exchange(server, request(origin="null"))
        assert head.status == 403


async def test_checks_are_made_in_their_order():
    """Everything is wrong at first; each correction shows the next complaint."""

    def process_request(ws, request):
        if request.path != "/x":
            return wsfast.Response(418, "I'm a teapot", wsfast.Headers(), b"short and stout")

    wrong = {
        "upgrade": "h2c",
        "sec_websocket_version": "1",
        "sec_websocket_key": "bad",
        "origin": "https://evil",
        "sec_websocket_protocol": ",",
        "without": ["Host"],
    }
    steps = [
        (400, {"without": []}),
        (418, None),
        (405, None),
        (404, None),
        (426, {"upgrade": "websocket"}),
        (426, {"sec_websocket_version": "13"}),
        (400, {"sec_websocket_key": KEY}),
        (403, {"origin": "https://good"}),
        (401, None),
        (400, {"sec_websocket_protocol": "chat"}),
        (500, None),
    ]
    seen = []
    verdicts = iter([False, True, True])

    def process_response(ws, request, response):
        raise RuntimeError("this comes last")

    async with serve(
        path="/right",
        origins=["https://good"],
        process_request=process_request,
        verify_client=lambda info: next(verdicts),
        process_response=process_response,
    ) as server:
        method, path = "POST", "/"
        for status, correction in steps:
            data = request(path, **wrong).replace(b"GET", method.encode())
            head, _ = await exchange(server, data)
            seen.append(head.status)
            wrong |= correction or {}
            if status == 418:
                path = "/x"
            elif status == 405:
                method = "GET"
            elif status == 404:
                # From here on process_request must let another path in.
                server.path = "/x"
    assert seen == [status for status, _ in steps]


async def test_nothing_behind_a_refused_request_is_another_request_or_a_frame():
    called = []
    data = line(b"POST / HTTP/1.1") + request() + frame(TEXT, "x", mask=b"abcd")
    async with serve(process_request=lambda ws, request: called.append(request.method)) as server:
        head, body = await exchange(server, data)
        assert head.status == 405
        assert body.count("HTTP/1.1") == 0
    assert called == ["POST"]


@pytest.mark.parametrize("size", [1, 10, 100_000, 3_000_000])
async def test_the_answer_arrives_though_the_client_goes_on_sending(size):
    """A close() with unread input would reset the connection and lose the answer."""
    async with serve() as server:
        head, body = await exchange(server, b"POST / HTTP/1.1\r\nHost: a\r\n\r\n" + b"x" * size)
    assert head.status == 405
    assert body.endswith("needs GET.\n")


async def test_a_client_that_goes_away_in_the_middle_of_a_request_is_forgotten():
    async with serve() as server:
        for data in b"", b"GET / HTT", request()[:-1]:
            async with raw_client(server, data) as peer:
                peer.write_eof()
                assert await peer.rest() == b""
            async with raw_client(server, data) as peer:
                await asyncio.sleep(0)
                peer.reset()


@pytest.mark.parametrize("drip", [b"", b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nX: "])
async def test_a_request_that_takes_too_long_is_closed(drip):
    """M19: A deadline: bytes that keep dripping do not help (slow-loris)."""
    async with serve(open_timeout=0.1) as server, raw_client(server, drip) as peer:

        async def go_on():
            while True:
                peer.write(b"x" if drip else b"G")
                await asyncio.sleep(0.01)

        dripping = asyncio.create_task(go_on())
        try:
            assert await read_until_closed(peer) == b""
        finally:
            dripping.cancel()


async def test_a_refused_client_that_does_not_go_is_closed():
    async with serve(close_timeout=0.1) as server, raw_client(server, b"\0\0") as peer:
        head = await peer.head()
        assert head.status == 400

        async def go_on():
            while True:
                peer.write(b"x")
                await asyncio.sleep(0.01)

        dripping = asyncio.create_task(go_on())
        try:
            while not peer.writer.transport.is_closing():
                await asyncio.sleep(0.01)
        finally:
            dripping.cancel()


async def read_until_closed(peer):
    try:
        return await peer.rest()
    except ConnectionResetError:
        return b""
