import re
import subprocess
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wsfast.exceptions import InvalidHandshake, InvalidMessage, SecurityError
from wsfast.protocol import http
from wsfast.protocol.headers import Headers
from wsfast.protocol.http import Request, Response, parse_request, parse_response

pytestmark = pytest.mark.usefixtures("http_parser")

GET = b"GET / HTTP/1.1\r\n"
HOST = b"Host: localhost\r\n"

# Requests


def test_a_request_is_read():
    head = (
        b"GET /chat?room=1 HTTP/1.1\r\nHost: localhost:8080\r\n"
        b"uPgRaDe:\t websocket \t\r\nX-Empty:\r\nX-Latin:caf\xe9\r\nUpgrade: x\r\n\r\n"
    )
    request = parse_request(head)
    assert (request.method, request.path, request.protocol) == (
        "GET",
        "/chat?room=1",
        "HTTP/1.1",
    )
    assert list(request.headers.raw_items()) == [
        ("Host", "localhost:8080"),
        ("uPgRaDe", "websocket"),
        ("X-Empty", ""),
        ("X-Latin", "caf\xe9"),
        ("Upgrade", "x"),
    ]


@pytest.mark.parametrize("method", ["POST", "OPTIONS", "HEAD", "PROPFIND", "MADE-UP", "get", "!"])
def test_any_token_is_a_method(method):
    assert parse_request(method.encode() + b" / HTTP/1.1\r\n" + HOST + b"\r\n").method == method


@pytest.mark.parametrize(
    ("line", "path"),
    [
        (b"GET / HTTP/1.1", "/"),
        (b"GET //a/../b?c=d?e%00 HTTP/1.1", "//a/../b?c=d?e%00"),
        (b'GET /?"<>\\^`{|}[] HTTP/1.1', '/?"<>\\^`{|}[]'),
        (b"GET http://localhost/chat?a HTTP/1.1", "/chat?a"),
        (b"GET WS://LOCALHOST?a HTTP/1.1", "/?a"),
        (b"GET https://localhost HTTP/1.1", "/"),
        (b"OPTIONS * HTTP/1.1", "*"),
        (b"CONNECT localhost:443 HTTP/1.1", "localhost:443"),
    ],
)
def test_the_target_of_a_request_becomes_its_path(line, path):
    assert parse_request(line + b"\r\n" + HOST + b"\r\n").path == path


@pytest.mark.parametrize(
    "target",
    [b"*", b"chat", b"http://other/", b"http://user@localhost/", b"ftp://localhost/", b"?a"],
)
def test_1_8_a_target_that_is_no_path_on_this_host_is_refused(target):
    with pytest.raises(InvalidMessage) as caught:
        parse_request(b"GET " + target + b" HTTP/1.1\r\n" + HOST + b"\r\n")
    assert str(caught.value) == f"invalid request target: {target.decode()}"


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        (b"GET /  HTTP/1.1", "GET /  HTTP/1.1"),
        (b"GET  / HTTP/1.1", "GET  / HTTP/1.1"),
        (b"GET / HTTP/1.1 ", "GET / HTTP/1.1 "),
        (b"GET\t/\tHTTP/1.1", r"GET\t/\tHTTP/1.1"),
        (b"GET / HTTP/1.1\r", r"GET / HTTP/1.1\r"),
        (b"GET /\rX HTTP/1.1", r"GET /\rX HTTP/1.1"),
        (b"GET /\n HTTP/1.1", r"GET /\n HTTP/1.1"),
        (b"GET /\0 HTTP/1.1", r"GET /\x00 HTTP/1.1"),
        (b"GET /\x7f HTTP/1.1", r"GET /\x7f HTTP/1.1"),
        (b"GET /\x1b[2J HTTP/1.1", r"GET /\x1b[2J HTTP/1.1"),
        (b"GET /\x9b2J HTTP/1.1", r"GET /\x9b2J HTTP/1.1"),
        (b"GET /caf\xc3\xa9 HTTP/1.1", "GET /caf\xc3\xa9 HTTP/1.1"),
        (b"GET /#a HTTP/1.1", "GET /#a HTTP/1.1"),
        (b"GET /", "GET /"),
        (b"GET HTTP/1.1", "GET HTTP/1.1"),
        (b"GET / http/1.1", "GET / http/1.1"),
        (b"GET / HTTP/1", "GET / HTTP/1"),
        (b"GET / HTTP/1.1.1", "GET / HTTP/1.1.1"),
        (b"GET / HTTP/\xb91.1", "GET / HTTP/\xb91.1"),
        (b"GET / HTTP/11.1", "GET / HTTP/11.1"),
        (b"GET / ICAP/1.0", "GET / ICAP/1.0"),
        (b"G(T / HTTP/1.1", "G(T / HTTP/1.1"),
        (b"GET /" + b"a" * 100 + b" ", "GET /" + "a" * 67 + "..."),
    ],
    ids=ascii,
)
def test_1_8_a_malformed_request_line_is_refused_and_shown_safely(line, shown):
    with pytest.raises(InvalidMessage) as caught:
        parse_request(line + b"\r\n" + HOST + b"\r\n")
    assert str(caught.value) == f"invalid HTTP request line: {shown}"


@pytest.mark.parametrize("protocol", ["HTTP/1.0", "HTTP/0.9", "HTTP/1.2", "HTTP/2.0", "HTTP/3.0"])
def test_1_8_any_version_of_http_but_1_1_is_refused(protocol):
    with pytest.raises(InvalidMessage) as caught:
        parse_request(f"GET / {protocol}\r\nHost: localhost\r\n\r\n".encode())
    assert str(caught.value) == f"unsupported protocol; expected HTTP/1.1: {protocol}"


BROKEN_FIELDS = [
    (b" X: a\r\n", "a header line starts with a blank"),
    (b"\tX: a\r\n", "a header line starts with a blank"),
    (b"X: a\r\n b\r\n", "a header line starts with a blank"),
    (b"X: a\r\n\tb\r\n", "a header line starts with a blank"),
    (b"X\r\n", "a header line has no colon: X"),
    (b"X : a\r\n", "a header has a blank before its colon: X : a"),
    (b"X\t: a\r\n", r"a header has a blank before its colon: X\t: a"),
    (b": a\r\n", "invalid header name: "),
    (b"X Y: a\r\n", "invalid header name: X Y"),
    (b"X(: a\r\n", "invalid header name: X("),
    (b"X\x80: a\r\n", r"invalid header name: X\x80"),
    (b"X\0: a\r\n", r"invalid header name: X\x00"),
    (b"X\r: a\r\n", r"invalid header name: X\r"),
    (b"X: a\rb\r\n", "the X header has control characters"),
    (b"X: a\nb: c\r\n", "the X header has control characters"),
    (b"X: a\r\r\n", "the X header has control characters"),
    (b"X: \0\r\n", "the X header has control characters"),
    (b"X: a\x0b\r\n", "the X header has control characters"),
    (b"X: a\x1c\r\n", "the X header has control characters"),
    (b"X: a\x7f\r\n", "the X header has control characters"),
]


@pytest.mark.parametrize(("line", "message"), BROKEN_FIELDS, ids=ascii)
@pytest.mark.parametrize("place", ["first", "last"])
def test_1_8_a_malformed_header_line_is_refused(line, message, place):
    lines = line + HOST if place == "first" else HOST + line
    with pytest.raises(InvalidMessage) as caught:
        parse_request(GET + lines + b"\r\n")
    assert str(caught.value) == message
    with pytest.raises(InvalidMessage) as caught:
        parse_response(b"HTTP/1.1 101 \r\n" + lines + b"\r\n")
    assert str(caught.value) == message


@pytest.mark.parametrize("end", [b"", b"\r", b"\r\n", b"\r\n\r\nX: a", b"\r\n\r\n\r\n"])
def test_a_head_without_a_blank_line_at_its_end_is_refused(end):
    with pytest.raises(InvalidMessage):
        parse_request(b"GET / HTTP/1.1\r\nHost: a" + end)


@pytest.mark.parametrize("value", [b"\x85", b"\xa0", b"\x80\xff", b"a\x85"])
def test_1_8_the_upper_half_of_iso_8859_1_is_neither_a_control_nor_a_blank(value):
    request = parse_request(GET + HOST + b"X: " + value + b" \r\n\r\n")
    assert request.headers["X"] == value.decode("iso-8859-1")


@pytest.mark.parametrize(
    ("host", "valid"),
    [
        (b"localhost", True),
        (b"EXAMPLE.com:8080", True),
        (b"127.0.0.1:80", True),
        (b"[::1]:8080", True),
        (b"my_service-1.local.", True),
        (b"localhost:", True),
        (b"", False),
        (b":80", False),
        (b"a/b", False),
        (b"a?b", False),
        (b"a#b", False),
        (b"user@a", False),
        (b"a b", False),
        (b"a\tb", False),
        (b"a:b", False),
        (b"a:80:80", False),
        (b"[::1", False),
        (b"::1", False),
        (b"a\\b", False),
        (b"caf\xe9", False),
        (b"a:\xb2", False),
    ],
)
def test_1_8_starlette_cve_2026_48710_the_host_must_be_nothing_but_a_host(host, valid):
    head = GET + b"Host: " + host + b"\r\n\r\n"
    if valid:
        assert parse_request(head).headers["Host"] == host.decode()
    else:
        with pytest.raises(InvalidMessage, match=r"^invalid Host header: "):
            parse_request(head)


def test_1_8_a_request_without_host_is_refused():
    with pytest.raises(InvalidMessage, match=r"^missing Host header$"):
        parse_request(GET + b"X: a\r\n\r\n")


@pytest.mark.parametrize("second", [b"Host: localhost\r\n", b"hOST: other\r\n", b"host:\r\n"])
def test_1_8_aiohttp_cve_2026_34525_a_request_with_two_hosts_is_refused(second):
    with pytest.raises(InvalidMessage, match=r"^there are several Host headers$"):
        parse_request(GET + HOST + second + b"\r\n")


@pytest.mark.parametrize(
    "line",
    [
        b"Content-Length: 5",
        b"content-LENGTH:5",
        b"Content-Length:",
        b"Content-Length: 00",
        b"Content-Length: +0",
        b"Content-Length: 0, 0",
        b"Content-Length: 0 5",
        b"Content-Length: -1",
        b"Transfer-Encoding: chunked",
        b"Transfer-Encoding: identity",
        b"transfer-encoding:",
        b"Content-Length: 0\r\nTransfer-Encoding: chunked",
        b"Content-Length: 0\r\nContent-Length: 5",
        b"Content-Length: 0\r\nContent-Length: 0",
        b"Content-Length: 0 ",
    ],
)
def test_1_8_a_request_with_a_body_is_refused(line):
    with pytest.raises(InvalidMessage, match=r"^a WebSocket handshake cannot have a body$"):
        parse_request(GET + HOST + line + b"\r\n\r\n")
    with pytest.raises(InvalidMessage, match=r"^a WebSocket handshake cannot have a body$"):
        parse_request(GET + line + b"\r\n" + HOST + b"\r\n")


@pytest.mark.parametrize(
    "line", [b"Content-Length: 0", b"content-length:0", b"Content-Length:\t 0"]
)
def test_1_8_a_body_of_0_bytes_is_no_body(line):
    assert parse_request(GET + HOST + line + b"\r\n\r\n").headers["Content-Length"] == "0"


def test_the_name_of_a_header_in_the_value_of_another_means_nothing():
    head = GET + HOST + b"X: a Transfer-Encoding: chunked\r\nX-Content-Length: 5\r\n\r\n"
    assert parse_request(head).headers["X"] == "a Transfer-Encoding: chunked"


def test_a_request_is_serialised():
    request = Request("/chat?a=b", Headers(Host="localhost"))
    assert request.serialize() == b"GET /chat?a=b HTTP/1.1\r\nHost: localhost\r\n\r\n"
    assert parse_request(request.serialize()) == request


@pytest.mark.parametrize(
    "path", ["", "/a b", "/\r\nX: y", "/\n", "/\0", "/caf\xe9", "/#a", "/\x7f"]
)
def test_1_8_tetsuo_pulse_3489_a_path_that_breaks_the_request_line_is_refused(path):
    with pytest.raises(ValueError, match=r"^invalid request path: "):
        Request(path, Headers()).serialize()


@pytest.mark.parametrize("method", ["", "G T", "GET\r\n", "G\xc9T"])
def test_a_method_that_breaks_the_request_line_is_refused(method):
    with pytest.raises(ValueError, match=r"^invalid request method: "):
        Request("/", Headers(), method).serialize()


# Responses


@pytest.mark.parametrize(
    ("line", "status_code", "reason_phrase"),
    [
        (b"HTTP/1.1 101 Switching Protocols", 101, "Switching Protocols"),
        (b"HTTP/1.1 101 ", 101, ""),
        (b"HTTP/1.1 101", 101, ""),
        (b"HTTP/1.1 404 caf\xe9\tnot found", 404, "caf\xe9\tnot found"),
        (b"HTTP/1.1 999 x", 999, "x"),
    ],
)
def test_a_response_is_read(line, status_code, reason_phrase):
    response = parse_response(line + b"\r\nX: a\r\nX: b\r\n\r\n")
    headers = Headers([("X", "a"), ("X", "b")])
    assert response == Response(status_code, reason_phrase, headers)


def test_a_response_without_headers_is_read():
    assert parse_response(b"HTTP/1.1 101 \r\n\r\n") == Response(101, "", Headers())


@pytest.mark.parametrize(
    "line",
    [
        b"HTTP/1.1 \xef\xbc\x9101 x",  # a fullwidth digit
        b"HTTP/1.1 \xb901 x",
        b"HTTP/1.1 +101 x",
        b"HTTP/1.1 1_1 x",
        b"HTTP/1.1 101x",
        b"HTTP/1.1 101\tx",
        b"HTTP/1.1  101 x",
        b"HTTP/1.1 1010 x",
        b"HTTP/1.1 10 x",
        b"HTTP/1.1 099 x",
        b"HTTP/1.1 null",
        b"HTTP/1.1",
        b"HTTP/1.1 ",
        b"HTTP/1.1 101 a\0b",
        b"HTTP/1.1 101 a\rb",
        b"HTTP/1.1 101 a\x1b[2J",
        b"http/1.1 101 x",
        b"HTTP/1.1 101 x\n",
        b"HTTP/x.1 101 x",
        b"HTTP 101",
    ],
    ids=ascii,
)
def test_1_9_a_malformed_status_line_is_refused_and_shown_safely(line):
    with pytest.raises(InvalidMessage, match=r"^invalid HTTP status line: [ -~\xa1-\xff]*$"):
        parse_response(line + b"\r\n\r\n")


@pytest.mark.parametrize("protocol", ["HTTP/1.0", "HTTP/2.0"])
def test_1_9_a_response_in_another_version_of_http_is_refused(protocol):
    with pytest.raises(InvalidMessage) as caught:
        parse_response(f"{protocol} 101 Switching Protocols\r\n\r\n".encode())
    assert str(caught.value) == f"unsupported protocol; expected HTTP/1.1: {protocol}"


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (b"Content-Length: 1_000\r\n", "invalid Content-Length header: 1_000"),
        (b"Content-Length: +5\r\n", "invalid Content-Length header: +5"),
        (b"Content-Length: -5\r\n", "invalid Content-Length header: -5"),
        (b"Content-Length: \xb2\r\n", "invalid Content-Length header: \xb2"),
        (b"Content-Length:\r\n", "invalid Content-Length header: "),
        (b"Content-Length: 5, 5\r\n", "invalid Content-Length header: 5, 5"),
        (b"Content-Length: 1%b\r\n" % (b"0" * 30), "invalid Content-Length header: 1" + "0" * 30),
        (
            b"Transfer-Encoding: gzip, chunked\r\n",
            "unsupported Transfer-Encoding header: gzip, chunked",
        ),
        (b"Transfer-Encoding: chunked \r\n", "unsupported Transfer-Encoding header: chunked "),
        (b"Content-Length: 5\r\n" * 2, "the response says more than once where its body ends"),
        (
            b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
            "the response says more than once where its body ends",
        ),
    ],
)
def test_1_9_a_response_that_is_unclear_about_its_end_is_refused(lines, message):
    with pytest.raises(SecurityError) as caught:
        parse_response(b"HTTP/1.1 403 Forbidden\r\n" + lines + b"\r\n")
    assert str(caught.value) == message


def test_a_response_is_serialised():
    response = Response(403, "Forbidden", Headers({"Content-Length": "5"}), b"hello")
    assert response.serialize() == b"HTTP/1.1 403 Forbidden\r\nContent-Length: 5\r\n\r\nhello"


@pytest.mark.parametrize("reason", ["a\r\nX: y", "\n", "\0", "\u20ac"])
def test_1_9_a_reason_that_breaks_the_status_line_is_refused(reason):
    with pytest.raises(ValueError, match=r"^invalid reason phrase: "):
        Response(200, reason, Headers()).serialize()


@pytest.mark.parametrize("status", [0, 99, 1000, -101])
def test_a_status_that_breaks_the_status_line_is_refused(status):
    with pytest.raises(ValueError, match=f"^invalid status code: {status}$"):
        Response(status, "", Headers()).serialize()


def test_a_body_that_would_be_taken_for_what_follows_is_refused():
    """A 101 ends with its head (RFC 9110 section 15.2); then come frames."""
    with pytest.raises(ValueError, match="^a 101 has no body$"):
        Response(101, "Switching Protocols", Headers(), b"\x81\x00").serialize()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((200, "OK", {"X": "y"}), "headers must be a Headers, not {'X': 'y'}"),
        ((200, "OK", Headers(), "hello"), "body must be bytes, not 'hello'"),
        ((200, "OK", Headers(), None), "body must be bytes, not None"),
    ],
)
def test_a_response_of_wrong_types_is_refused_where_it_is_made(arguments, message):
    with pytest.raises(TypeError) as caught:
        Response(*arguments)
    assert str(caught.value) == message


# Both libraries


@pytest.mark.parametrize(
    "fields", [b"X : a\r\n\r\n", b"X: a\0\r\n\r\n", b"Content-Length: a\r\n\r\n", b"\0: a\r\n\r\n"]
)
def test_what_only_a_library_refuses_is_refused(fields, http_parser):
    with pytest.raises(InvalidMessage, match=r"^invalid HTTP headers$"):
        http.PARSERS[http_parser](fields)


@pytest.mark.parametrize("installed", [True, False])
def test_httptools_is_used_where_it_is_installed(installed):
    if installed and "httptools" not in http.PARSERS:
        pytest.skip("httptools is not installed")
    hide = "" if installed else "sys.modules['httptools'] = None;"
    code = f"import sys; {hide} from wsfast.protocol import http; print(http.HTTP_PARSER)"
    name = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout
    assert name.split() == [b"httptools" if installed else b"h11"]


TOKENS = st.sampled_from(
    b"Host Connection Upgrade Content-Length Transfer-Encoding TE Expect Proxy-Connection "
    b"Keep-Alive Trailer X !#$%&'*+-.^_`|~ HTTP2-Settings".split()
)
VALUES = st.one_of(
    st.sampled_from(
        b"localhost upgrade keep-alive,Upgrade close websocket h2c 0 5 00 chunked Chunked "
        b"gzip,chunked identity 100-continue".split()
    ),
    st.binary(max_size=6),
)
BLANKS = st.sampled_from([b"", b" ", b"\t", b" \t "])
FIELDS = st.builds(lambda *parts: b"".join(parts), TOKENS, st.just(b":"), BLANKS, VALUES, BLANKS)
METHODS = st.sampled_from([b"GET / HTTP/1.1", b"get * HTTP/1.1", b"GET http://a/b HTTP/1.1"])
STARTS = st.sampled_from(
    [
        b"GET / HTTP/1.1",
        b"GET /|? HTTP/1.1",
        b"CONNECT a:1 HTTP/1.1",
        b"PRI * HTTP/2.0",
        b"HTTP/1.1 101 Switching Protocols",
        b"HTTP/1.1 200 OK",
        b"HTTP/1.1 204",
        b"HTTP/1.1 304 \xff",
    ]
)


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(start=STARTS, fields=st.lists(FIELDS, max_size=5), host=st.booleans())
def test_both_libraries_give_the_same_answer(start, fields, host, monkeypatch):
    if "httptools" not in http.PARSERS:
        pytest.skip("httptools is not installed")
    head = b"\r\n".join([start, *[b"Host: a"] * host, *fields]) + b"\r\n\r\n"
    parse = parse_response if start.startswith(b"HTTP") else parse_request

    def outcome(name):
        with monkeypatch.context() as patch:
            patch.setattr(http, "HTTP_PARSER", name)
            try:
                return parse(head)
            except InvalidHandshake as error:
                return type(error), str(error)

    answer = outcome("h11")
    assert outcome("httptools") == answer
    if isinstance(answer, (Request, Response)):
        for name, value in answer.headers.raw_items():
            assert re.fullmatch(r"[\t -~\x80-\xff]*", value), name
        assert parse(answer.serialize()).headers == answer.headers


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(start=METHODS | STARTS, fields=st.lists(FIELDS, max_size=5), host=st.booleans())
def test_the_one_pass_over_a_request_and_the_steps_give_the_same_answer(
    start, fields, host, monkeypatch
):
    head = b"\r\n".join([start, *[b"Host: a"] * host, *fields]) + b"\r\n\r\n"

    def outcome():
        try:
            return parse_request(head)
        except InvalidHandshake as error:
            return type(error), str(error)

    answer = outcome()
    with monkeypatch.context() as patch:
        patch.setattr(http, "_PLAIN_REQUEST", re.compile(rb"(?!)"))
        assert outcome() == answer
