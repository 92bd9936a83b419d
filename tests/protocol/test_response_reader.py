import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wsfast.exceptions import InvalidHandshake, InvalidMessage, SecurityError
from wsfast.protocol.http import ResponseReader

pytestmark = pytest.mark.usefixtures("http_parser")


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
    with pytest.raises(SecurityError):
        for _ in range(1000):
            reader.feed(b"X: " + b"a" * 1000 + b"\r\n")


def test_1_9_interim_responses_are_skipped(feed):
    data = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + b"HTTP/1.1 100 \r\n\r\n" * 7
    response, rest = feed(ResponseReader(), data + b"HTTP/1.1 101 \r\n\r\n\x81\x00")
    assert (response.status_code, rest) == (101, b"\x81\x00")


def test_1_9_endless_interim_responses_are_refused(feed):
    with pytest.raises(SecurityError, match="more than 8 interim responses"):
        feed(ResponseReader(), b"HTTP/1.1 103 Early Hints\r\n\r\n" * 9)


PIECES = [
    b"HTTP/1.1 ",
    b"101 ",
    b"103 ",
    b"401 ",
    b"204 ",
    b"x\r\n",
    b"\r\n",
    b"Content-Length: 3\r\n",
    b"Content-Length: 0\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Connection: close\r\n",
    b"3\r\nabc\r\n",
    b"0\r\n\r\n",
    b"abc",
]


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(pieces=st.lists(st.one_of(st.sampled_from(PIECES), st.binary(max_size=3)), max_size=12))
def test_whatever_comes_only_invalid_handshake_is_raised_and_cutting_changes_nothing(pieces):
    def outcome(chunks):
        reader = ResponseReader()
        try:
            for chunk in chunks:
                result = reader.feed(chunk)
                if result is not None:
                    return result[0]
            return reader.eof()
        except InvalidHandshake as error:
            return type(error), str(error)

    whole = b"".join(pieces)
    bytewise = [bytes([byte]) for byte in whole]
    assert outcome([whole]) == outcome(pieces) == outcome(bytewise)
