import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wsfast.exceptions import (
    HeaderLineTooLong,
    InvalidHandshake,
    InvalidMessage,
    RequestLineTooLong,
    SecurityError,
    StatusLineTooLong,
    TooManyHeaders,
)
from wsfast.protocol import http
from wsfast.protocol.headers import Headers
from wsfast.protocol.http import (
    HeadReader,
    Request,
    Response,
    ResponseReader,
    parse_request,
    parse_response,
)

pytestmark = pytest.mark.usefixtures("http_parser")

GET = b"GET / HTTP/1.1\r\n"
HOST = b"Host: localhost\r\n"


def cut(data, how):
    """Cuts bytes into what arrives at once."""
    size = {"whole": max(len(data), 1), "byte by byte": 1, "in threes": 3}[how]
    return [data[start : start + size] for start in range(0, len(data), size)]


@pytest.fixture(params=["whole", "byte by byte", "in threes"])
def feed(request):
    """Feeds bytes to a reader until it has a result."""

    def feed(reader, data):
        pieces = cut(data, request.param)
        for number, piece in enumerate(pieces):
            result = reader.feed(piece)
            if result is not None:
                return result[0], result[1] + b"".join(pieces[number + 1 :])
        return None

    return feed


# Finding the end of a head

HEAD = b"GET /chat HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\r\n"


@pytest.mark.parametrize(
    "behind", [b"", b"\x81\x80\0\0\0\0", b"GET / HTTP/1.1\r\n\r\n", b"\n" * 300]
)
def test_a_head_ends_at_the_blank_line_and_what_is_behind_is_kept(feed, behind):
    assert feed(HeadReader(), HEAD + behind) == (HEAD, behind)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_a_head_may_come_in_any_kind_of_buffer(kind):
    head, rest = HeadReader().feed(kind(HEAD + b"\x81\x80"))
    assert (type(head), head) == (bytes, HEAD)
    assert (type(rest), rest) == (bytes, b"\x81\x80")


def test_a_head_that_comes_whole_is_not_copied():
    assert HeadReader().feed(HEAD)[0] is HEAD


def test_nothing_is_returned_before_the_blank_line_is_complete(feed):
    for size in range(len(HEAD)):
        assert feed(HeadReader(), HEAD[:size]) is None


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00",  # TLS
        b"\r\nGET / HTTP/1.1\r\n",
        b"\n",
        b" GET / HTTP/1.1\r\n",
        b"\0",
        b"\x81\x85\0\0\0\0hello",
        b"\xefGET",
        b"(",
    ],
)
def test_what_cannot_be_a_request_is_refused_at_its_first_byte(feed, data):
    with pytest.raises(InvalidMessage, match="did not receive a valid HTTP request"):
        HeadReader().feed(data[:1])
    with pytest.raises(InvalidMessage, match="did not receive a valid HTTP request"):
        feed(HeadReader(), data + b"\r\n\r\n")


@pytest.mark.parametrize("data", [b"SSH-2.0-OpenSSH_9.2", b"\x16\x03", b"h", b"\r\n", b"ICY 200"])
def test_what_cannot_be_a_response_is_refused_at_its_first_byte(feed, data):
    with pytest.raises(InvalidMessage, match="did not receive a valid HTTP response"):
        HeadReader("response").feed(data[:1])
    with pytest.raises(InvalidMessage, match="did not receive a valid HTTP response"):
        feed(HeadReader("response"), data + b"\r\n\r\n")


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n\n",
        b"GET / HTTP/1.1\r\nX: a\nb: c\r\nHost: a\r\n\r\n",
    ],
)
def test_1_8_a_bare_lf_is_refused(feed, head):
    with pytest.raises(InvalidMessage, match="a line of the HTTP head ends without CR"):
        feed(HeadReader(), head)


# Limits


def request_line(size):
    return b"GET /" + b"a" * (size - 14) + b" HTTP/1.1\r\n"


def header_line(size):
    return b"X: " + b"a" * (size - 3) + b"\r\n"


def status_line(size):
    return b"HTTP/1.1 101 " + b"a" * (size - 13) + b"\r\n"


def test_1_8_a_request_line_of_8192_bytes_is_read(feed):
    head = request_line(8192) + HOST + b"\r\n"
    assert feed(HeadReader(), head) == (head, b"")
    assert len(parse_request(head).path) == 8192 - 13


def test_1_8_a_request_line_of_8193_bytes_is_refused(feed):
    with pytest.raises(RequestLineTooLong, match="the request line is longer than 8192 bytes"):
        feed(HeadReader(), request_line(8193) + HOST + b"\r\n")


def test_1_8_a_request_line_is_refused_at_its_8193rd_byte():
    reader = HeadReader()
    line = b"GET /" + b"a" * 8187
    assert len(line) == 8192
    assert reader.feed(line) is None
    with pytest.raises(RequestLineTooLong):
        reader.feed(b"a")


def test_1_8_a_status_line_of_8192_bytes_is_read(feed):
    head = status_line(8192) + b"\r\n"
    assert feed(HeadReader("response"), head) == (head, b"")
    assert len(parse_response(head).reason_phrase) == 8192 - 13


def test_1_8_a_status_line_of_8193_bytes_is_refused(feed):
    with pytest.raises(StatusLineTooLong, match="the status line is longer than 8192 bytes"):
        feed(HeadReader("response"), status_line(8193) + b"\r\n")


@pytest.mark.parametrize("kind", ["request", "response"])
def test_1_8_a_header_line_of_8192_bytes_is_read(feed, kind):
    first = {"request": GET + HOST, "response": b"HTTP/1.1 101 \r\n"}[kind]
    head = first + header_line(8192) + b"\r\n"
    assert feed(HeadReader(kind), head) == (head, b"")
    parse = {"request": parse_request, "response": parse_response}[kind]
    assert len(parse(head).headers["X"]) == 8192 - 3


@pytest.mark.parametrize("kind", ["request", "response"])
@pytest.mark.parametrize("end", [b"\r\n\r\n", b"\r\r\n\r\n", b"\n", b""])
def test_1_8_a_header_line_of_8193_bytes_is_refused(feed, kind, end):
    first = {"request": GET + HOST, "response": b"HTTP/1.1 101 \r\n"}[kind]
    line = b"X: " + b"a" * 8190
    with pytest.raises(HeaderLineTooLong, match="longer than 8192 bytes a line"):
        feed(HeadReader(kind), first + line + end)


def test_1_8_128_headers_are_read(feed):
    head = GET + HOST + b"X: a\r\n" * 127 + b"\r\n"
    assert feed(HeadReader(), head) == (head, b"")
    assert len(parse_request(head).headers.get_all("X")) == 127


@pytest.mark.parametrize("value", [b"a", b"a" * 400], ids=["short", "long"])
def test_1_8_129_headers_are_refused(feed, value):
    with pytest.raises(TooManyHeaders, match="more than 128 headers"):
        feed(HeadReader(), GET + HOST + b"X: %b\r\n" % value * 128 + b"\r\n")


def head_of(size):
    head = GET + HOST + header_line(8190) * 7
    return head + header_line(size - len(head) - 4) + b"\r\n"


def test_1_8_a_head_of_65536_bytes_is_read(feed):
    head = head_of(65536)
    assert len(head) == 65536
    assert feed(HeadReader(), head) == (head, b"")
    assert len(parse_request(head).headers.get_all("X")) == 8


def test_1_8_a_head_of_65537_bytes_is_refused(feed):
    with pytest.raises(HeaderLineTooLong, match="or 65536 bytes in all"):
        feed(HeadReader(), head_of(65537))


def test_what_is_behind_a_head_does_not_count_for_its_limits(feed):
    behind = b"\x82\xff" + b"\n" * 100_000
    head = head_of(60_000)
    assert feed(HeadReader(), head + behind) == (head, behind)


@pytest.mark.parametrize(
    ("kind", "data", "where"),
    [
        ("request", b"", "request line"),
        ("request", b"GET / HTTP/1.1", "request line"),
        ("request", b"GET / HTTP/1.1\r\n", "headers"),
        ("request", b"GET / HTTP/1.1\r\nHost: a\r\n", "headers"),
        ("response", b"", "status line"),
        ("response", b"HTTP/1.1 101 Switching Protocols\r\n", "headers"),
    ],
)
def test_a_connection_that_ends_in_a_head_is_told_where(feed, kind, data, where):
    reader = HeadReader(kind)
    assert feed(reader, data) is None
    with pytest.raises(InvalidMessage, match=f"^connection closed while reading HTTP {where}$"):
        reader.eof()


LINES = [
    b"GET / HTTP/1.1\r\n",
    b"a" * 8191,
    b"a" * 8192,
    b"a",
    b"X: y\r\n",
    b"X: y\r\n" * 127,
    b"X: y\n",
    b"\r",
    b"\n",
    b"\r\n",
    b" ",
    b"b" * 4000 + b"\r\n",
]


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    pieces=st.lists(st.sampled_from(LINES), max_size=20),
    sizes=st.lists(st.integers(1, 9000), min_size=1),
)
def test_the_answer_does_not_depend_on_how_the_bytes_are_cut(pieces, sizes):
    data = b"".join(pieces)

    def outcome(chunks):
        reader = HeadReader()
        for number, chunk in enumerate(chunks):
            try:
                result = reader.feed(chunk)
            except InvalidHandshake as error:
                return type(error), str(error)
            if result is not None:
                return result[0], result[1] + b"".join(chunks[number + 1 :])
        return None

    chunks, start = [], 0
    while start < len(data):
        size = sizes[len(chunks) % len(sizes)]
        chunks.append(data[start : start + size])
        start += size
    assert outcome(chunks) == outcome([data])


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


# Responses with their bodies


def test_a_101_is_complete_with_its_head_and_the_first_frames_are_kept(feed):
    head = b"HTTP/1.1 101 Switching Protocols\r\nContent-Length: 5\r\n\r\n"
    response, rest = feed(ResponseReader(), head + b"\x81\x05hello")
    assert (response.status_code, response.body, rest) == (101, b"", b"\x81\x05hello")


@pytest.mark.parametrize(
    ("lines", "body"),
    [
        (b"Content-Length: 5\r\n\r\nhello", b"hello"),
        (b"Content-Length: 0\r\n\r\n", b""),
        (
            b"Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\nT: a\r\n\r\n",
            b"hello",
        ),
    ],
    ids=["length", "empty", "chunked"],
)
def test_a_body_is_read_until_its_end(feed, lines, body):
    reader = ResponseReader()
    data = b"HTTP/1.1 401 Unauthorized\r\n" + lines
    assert feed(reader, data[:-1]) is None
    response, rest = reader.feed(data[-1:])
    assert (response.status_code, response.body, rest) == (401, body, b"")


def test_nothing_behind_a_body_is_kept():
    data = b"HTTP/1.1 401 \r\nContent-Length: 5\r\n\r\nhelloHTTP/1.1 101 \r\n\r\n"
    response, rest = ResponseReader().feed(data)
    assert (response.body, rest) == (b"hello", b"")


@pytest.mark.parametrize("status", [b"204", b"304"])
def test_some_statuses_have_no_body(feed, status):
    response, _ = feed(ResponseReader(), b"HTTP/1.1 " + status + b" x\r\n\r\n")
    assert response.body == b""


def test_a_body_without_length_ends_with_the_connection(feed):
    reader = ResponseReader()
    assert feed(reader, b"HTTP/1.1 401 Unauthorized\r\n\r\nhello") is None
    assert reader.feed(b"") is None
    assert reader.eof().body == b"hello"


@pytest.mark.parametrize(
    "lines",
    [b"Content-Length: 6\r\n\r\nhello", b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"],
)
def test_a_connection_that_ends_in_a_body_is_an_error(feed, lines):
    reader = ResponseReader()
    assert feed(reader, b"HTTP/1.1 401 Unauthorized\r\n" + lines) is None
    with pytest.raises(InvalidMessage, match=r"^connection closed while reading HTTP body$"):
        reader.eof()


def test_a_connection_that_ends_in_the_head_of_a_response_is_an_error():
    with pytest.raises(InvalidMessage, match=r"^connection closed while reading HTTP status line$"):
        ResponseReader().eof()


BODIES = {
    "length": lambda size: b"Content-Length: %d\r\n\r\n" % size + b"a" * size,
    "chunked": lambda size: (
        b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (size, b"a" * size)
    ),
    "until the end": lambda size: b"\r\n" + b"a" * size,
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_1_9_a_body_of_1_mib_is_read(body):
    reader = ResponseReader()
    result = reader.feed(b"HTTP/1.1 500 x\r\n" + body(2**20))
    response = result[0] if result else reader.eof()
    assert len(response.body) == 2**20


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_1_9_a_body_of_1_mib_and_a_byte_is_refused(body):
    with pytest.raises(SecurityError, match="longer than 1048576 bytes"):
        ResponseReader().feed(b"HTTP/1.1 500 x\r\n" + body(2**20 + 1))


def test_1_9_a_body_that_is_declared_too_long_is_refused_before_it_comes():
    with pytest.raises(SecurityError, match="longer than 1048576 bytes"):
        ResponseReader().feed(b"HTTP/1.1 500 x\r\nContent-Length: 1048577\r\n\r\n")


@pytest.mark.parametrize("size", [b"0x5", b"+5", b"-5", b"5_0", b" 5", b"", b"\xb2", b"f" * 21])
def test_1_9_a_malformed_chunk_size_is_refused(feed, size):
    data = b"HTTP/1.1 500 x\r\nTransfer-Encoding: chunked\r\n\r\n" + size + b"\r\nhello\r\n"
    with pytest.raises(SecurityError, match=r"^invalid body of the response: "):
        feed(ResponseReader(), data)


def test_1_9_a_chunk_of_16_hex_digits_is_refused_after_1_mib():
    reader = ResponseReader()
    reader.feed(b"HTTP/1.1 500 x\r\nTransfer-Encoding: chunked\r\n\r\n" + b"f" * 16 + b"\r\n")
    reader.feed(b"a" * 2**20)
    with pytest.raises(SecurityError, match="longer than 1048576 bytes"):
        reader.feed(b"a")


def test_1_9_endless_trailers_are_refused():
    reader = ResponseReader()
    reader.feed(b"HTTP/1.1 500 x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n")
    with pytest.raises(SecurityError):  # noqa: PT012 - whichever piece is the one too many
        for _ in range(1000):
            reader.feed(b"X: " + b"a" * 1000 + b"\r\n")


def test_1_9_interim_responses_are_skipped(feed):
    data = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + b"HTTP/1.1 100 \r\n\r\n" * 7
    response, rest = feed(ResponseReader(), data + b"HTTP/1.1 101 \r\n\r\n\x81\x00")
    assert (response.status_code, rest) == (101, b"\x81\x00")


def test_1_9_endless_interim_responses_are_refused(feed):
    with pytest.raises(SecurityError, match="more than 8 interim responses"):
        feed(ResponseReader(), b"HTTP/1.1 103 Early Hints\r\n\r\n" * 9)


# Both libraries

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
