import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsfast.exceptions import (
    HeaderLineTooLong,
    InvalidHandshake,
    InvalidMessage,
    RequestLineTooLong,
    StatusLineTooLong,
    TooManyHeaders,
)
from wsfast.protocol.http import HeadReader, parse_request, parse_response

GET = b"GET / HTTP/1.1\r\n"
HOST = b"Host: localhost\r\n"

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


@settings(max_examples=200, deadline=None)
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
