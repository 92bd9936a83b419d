"""A handshake takes time in proportion to its bytes, whatever they are and however they come."""

import time

import pytest

from wsfast.exceptions import InvalidHandshake, InvalidURI
from wsfast.extensions import parse_extensions
from wsfast.forwarded import TrustedProxies, find_client
from wsfast.protocol import http
from wsfast.protocol.handshake import OriginPolicy
from wsfast.protocol.headers import (
    Headers,
    parse_authorization_basic,
    parse_subprotocols,
    parse_token_list,
)
from wsfast.protocol.http import HeadReader, ResponseReader, parse_request, parse_response
from wsfast.uri import parse_uri

pytestmark = pytest.mark.growth

# security.md section 1.8: t(2n) / t(n) below 2.5 is linear, 4 would be quadratic. It is taken over
# three doublings, where noise counts less.
LIMIT = 2.5**3


@pytest.fixture
def no_limits(monkeypatch):
    """Lifts the limits, so that there is something to measure."""
    for name in ("MAX_LINE", "MAX_HEADERS", "MAX_HEAD", "MAX_BODY"):
        monkeypatch.setattr(http, name, 2**30)


def measure(function, data, number):
    """The best time of several runs, each of ``number`` calls."""
    best = float("inf")
    for _ in range(5):
        start = time.process_time()
        for _ in range(number):
            try:
                function(data)
            except (InvalidHandshake, InvalidURI):
                pass
        best = min(best, time.process_time() - start)
    return best


def assert_linear(function, make, size=2**15):
    number = 1
    while (small := measure(function, make(size), number)) < 0.002 and number < 1000:
        number *= 4
    large = measure(function, make(8 * size), number)
    assert large < LIMIT * small, f"{size}: {small:.6f} s, {8 * size}: {large:.6f} s"


def byte_by_byte(make_reader):
    def feed(data):
        reader = make_reader()
        for number in range(len(data)):
            reader.feed(data[number : number + 1])

    return feed


HEADS = {
    "one long line": lambda size: b"GET /" + b"a" * size,
    "many lines": lambda size: b"GET / HTTP/1.1\r\n" + b"X: a\r\n" * (size // 6),
    "many CRs": lambda size: b"GET / HTTP/1.1\r\n" + b"\r" * size,
    "CRs and line feeds": lambda size: b"GET / HTTP/1.1\r\nX: " + b"\r\r\n" * (size // 3),
}


@pytest.mark.usefixtures("no_limits")
@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)
def test_1_8_tungstenite_cve_2023_43669_a_head_that_comes_byte_by_byte(head):
    assert_linear(byte_by_byte(HeadReader), head)


@pytest.mark.usefixtures("no_limits")
@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)
def test_a_head_that_comes_whole(head):
    assert_linear(lambda data: HeadReader().feed(data), head)


FIELDS = {
    "many": lambda size: b"X: a\r\n" * (size // 6),
    "a long value": lambda size: b"X: " + b"a" * size + b"\r\n",
    "a long name": lambda size: b"X" * size + b": a\r\n",
    "a long name without colon": lambda size: b"X" * size + b"\r\n",
    "blanks": lambda size: b"X: " + b" \t" * (size // 2) + b"a\r\n",
    "blanks at the end": lambda size: b"X: a" + b" \t" * (size // 2) + b"\r\n",
    "blanks before a control": lambda size: b"X: " + b" " * size + b"\0\r\n",
    "blanks in a length": lambda size: b"Content-Length: " + b" " * size + b"0 \r\n",
    "many colons": lambda size: b"X" + b":" * size + b"\r\n",
    "many, the last one broken": lambda size: b"X: a\r\n" * (size // 6) + b"X\r\n",
    "many lengths": lambda size: b"Content-Length: 0\r\n" * (size // 19),
}


@pytest.mark.parametrize("parser", http.PARSERS)
@pytest.mark.parametrize("fields", FIELDS.values(), ids=FIELDS)
def test_header_lines(fields, parser, monkeypatch):
    monkeypatch.setattr(http, "HTTP_PARSER", parser)
    assert_linear(
        parse_request, lambda size: b"GET / HTTP/1.1\r\nHost: a\r\n" + fields(size) + b"\r\n"
    )
    assert_linear(parse_response, lambda size: b"HTTP/1.1 200 OK\r\n" + fields(size) + b"\r\n")


LINES = {
    "a long method": lambda size: b"G" * size,
    "a long path": lambda size: b"GET /" + b"a" * size,
    "many blanks": lambda size: b"GET " + b" " * size,
    "many versions": lambda size: b"GET /" + b" HTTP/1.1" * (size // 9),
    "a long host": lambda size: b"GET http://" + b"a" * size + b" HTTP/1.1",
    "a long reason": lambda size: b"HTTP/1.1 101 " + b"a" * size + b"\0",
}


@pytest.mark.parametrize("line", LINES.values(), ids=LINES)
def test_start_lines(line):
    for parse in parse_request, parse_response:
        assert_linear(parse, lambda size: line(size) + b"\r\nHost: a\r\n\r\n")


@pytest.mark.usefixtures("no_limits")
@pytest.mark.parametrize(
    "head",
    [b"Transfer-Encoding: chunked\r\n\r\n", b"\r\n", b"Content-Length: 100000000\r\n\r\n"],
    ids=["chunked", "until the end", "length"],
)
def test_the_body_of_a_response_that_comes_in_small_pieces(head):
    def feed(size):
        reader = ResponseReader()
        reader.feed(b"HTTP/1.1 500 x\r\n" + head)
        for _ in range(size // 6):
            reader.feed(b"1\r\na\r\n")

    assert_linear(feed, lambda size: size)


VALUES = {
    "blanks": lambda size: " " * size,
    "a token and blanks": lambda size: "a" + " " * size,
    "blanks before a token": lambda size: "a," + " " * size + "a b",
    "commas": lambda size: "," * size,
    "blanks and commas": lambda size: "a" + " ," * (size // 2),
    "a long token": lambda size: "a" * size + "\x80",
    "many tokens": lambda size: ",".join(map(str, range(size // 6))),
    "quotes": lambda size: 'a;b="' + "\\c" * (size // 2),
    "backslashes": lambda size: 'a;b="' + "\\" * size,
    "repeated parameters": lambda size: "a" + ";b" * (size // 2),
}


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
def test_1_8_ws_cve_2021_32640_lists(value):
    assert_linear(lambda text: parse_subprotocols([text]), value)
    assert_linear(parse_extensions, value)
    assert_linear(lambda text: parse_extensions(text, strict=True), value)
    assert_linear(lambda text: parse_token_list("Connection", [text]), value)
    assert_linear(lambda text: parse_authorization_basic(f"Basic {text}"), value)


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
def test_origins(value):
    policy = OriginPolicy(["https://a.com"])
    assert_linear(lambda text: policy.allows(f"https://{text}"), value)
    assert_linear(lambda text: policy.allows(text), value)


CHAINS = {
    **VALUES,
    "addresses": lambda size: "10.0.0.2," * (size // 9) + "10.0.0.2",
    "elements": lambda size: "for=10.0.0.2," * (size // 13) + "for=10.0.0.2",
    "parameters": lambda size: "".join(f"a{n}=b;" for n in range(size // 9)) + "for=10.0.0.2",
    "quoted": lambda size: 'for="' + "\\c" * (size // 2) + '"',
    "digits": lambda size: "1" * size,
    "colons": lambda size: ":" * size,
}


@pytest.mark.parametrize("value", CHAINS.values(), ids=CHAINS)
@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded"])
def test_chains_of_proxies(value, header):
    trusted = TrustedProxies(["10.0.0.0/8"], header=header)

    def find(text):
        find_client(trusted, ("10.0.0.1", 80), False, Headers([(header, text)]))

    assert_linear(find, value)


PARTS = {
    "an authority": lambda size: "ws://" + "a" * size,
    "colons": lambda size: "ws://" + ":" * size,
    "at signs": lambda size: "ws://" + "@" * size,
    "brackets": lambda size: "ws://" + "[" * size,
    "labels": lambda size: "ws://" + "a." * (size // 2),
    "labels in another script": lambda size: "ws://" + "\xfc." * (size // 2),
    "user info": lambda size: "ws://" + "a" * size + "@localhost",
    "escapes": lambda size: "ws://" + "%41" * (size // 3) + "@localhost",
    "a path": lambda size: "ws://localhost/" + "/" * size,
    "a path in another script": lambda size: "ws://localhost/" + "\xfca" * (size // 2),
    "question marks": lambda size: "ws://localhost/" + "?" * size,
    "a scheme": lambda size: "a" * size,
    "a socket": lambda size: "ws+unix:/" + ":" * size,
}


@pytest.mark.parametrize("uri", PARTS.values(), ids=PARTS)
def test_addresses(uri):
    assert_linear(parse_uri, uri)
