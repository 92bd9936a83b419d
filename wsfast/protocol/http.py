"""HTTP/1.1 heads: requests and responses, the limits on them, and what is refused in them.

A head is judged here in three steps. `HeadReader` finds its end and holds it to the limits. The
start line and the shape of the header lines are checked against one strict grammar (RFC 9112
sections 3 to 5), so that leniency of a library never decides. Then a library reads the header
lines: httptools where it is installed, else h11. Both get only what the grammar lets through, and
so both give the same answer.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple, NoReturn

import h11

from ..exceptions import (
    HeaderLineTooLong,
    InvalidMessage,
    RequestLineTooLong,
    SecurityError,
    StatusLineTooLong,
    TooManyHeaders,
    printable,
)
from .headers import Headers

try:
    import httptools
except ImportError:
    HTTP_PARSER = "h11"
else:
    HTTP_PARSER = "httptools"

__all__ = [
    "HTTP_PARSER",
    "MAX_BODY",
    "MAX_HEAD",
    "MAX_HEADERS",
    "MAX_INTERIM_RESPONSES",
    "MAX_LINE",
    "PARSERS",
    "HeadReader",
    "Request",
    "Response",
    "ResponseReader",
    "parse_request",
    "parse_response",
]

MAX_LINE = 8192
"""The longest request line, status line or header line, without its CRLF."""

MAX_HEADERS = 128
"""The most header lines."""

MAX_HEAD = 65536
"""The longest head: start line, header lines and blank line, with their CRLFs."""

MAX_BODY = 2**20
"""The longest body of a response that is not 101."""

MAX_INTERIM_RESPONSES = 8
"""The most responses like 103 Early Hints before the one that counts."""

# The quantifiers are possessive: nothing is ever tried twice, so the time is linear.
_TCHAR = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]"
# Any visible character is fine in the target, except "#" (RFC 9112 section 3.2).
_METHOD_TARGET = rb"(%b++) ([!\"$-~]++) " % _TCHAR
_REQUEST_LINE = re.compile(rb"%b(HTTP/[0-9]\.[0-9]\r\n)" % _METHOD_TARGET)
# RFC 9112 section 4. The blank before an absent reason may be absent, too.
_STATUS_LINE = re.compile(
    rb"(HTTP/[0-9]\.[0-9]) ([1-9][0-9][0-9])(?: ([\t\x20-\x7e\x80-\xff]*+))?\r\n"
)
_FIELD = rb"%b++:[\t\x20-\x7e\x80-\xff]*+\r\n" % _TCHAR
_FIELDS = re.compile(rb"(?:%b)*+\r\n" % _FIELD)
_FIELD_NAME = re.compile(rb"%b++" % _TCHAR)
_FIELD_VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*+")
# The headers that say where a body ends; the value is still with the blanks behind it.
_FRAMING = re.compile(rb"\r\n(content-length|transfer-encoding):[ \t]*+([^\r]*+)", re.IGNORECASE)
# What nearly every request is, in one pass: by the same grammar, and with none of those.
_PLAIN_REQUEST = re.compile(
    rb"%b(HTTP/1\.1\r\n)(?:(?!(?i:content-length):)(?!(?i:transfer-encoding):)%b)*+\r\n"
    % (_METHOD_TARGET, _FIELD)
)
# RFC 9110 section 7.2, RFC 3986 section 3.2: a name, an IPv4 address or an IPv6 address in
# brackets, and a port. Not "/", "?", "#", "@" and blanks, with which it could pass for more.
_HOST = re.compile(r"(?:[A-Za-z0-9\-._~%!$&'()*+,;=]++|\[[0-9A-Fa-f:.]++\])(?::[0-9]*+)?")
_ABSOLUTE_TARGET = re.compile(r"(?:https?|wss?)://([^/?]*+)(.*)", re.IGNORECASE)
_METHOD = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_TARGET = re.compile(r"[!\"$-~]+")
_REASON = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_CONTENT_LENGTH = re.compile(rb"[0-9]{1,18}")
_CR = 0x0D


@dataclass
class Request:
    """An HTTP request.

    Args:
        path: the path and the query.
        headers: the headers.
        method: the method.
        protocol: the HTTP version.
    """

    path: str
    headers: Headers
    method: str = "GET"
    protocol: str = "HTTP/1.1"

    def serialize(self) -> bytes:
        """The request as bytes.

        Raises:
            ValueError: the method or the path would break the request line.
        """
        if not _METHOD.fullmatch(self.method):
            raise ValueError(f"invalid request method: {self.method!r}")
        if not _TARGET.fullmatch(self.path):
            raise ValueError(f"invalid request path: {self.path!r}")
        line = f"{self.method} {self.path} HTTP/1.1\r\n"
        return line.encode() + self.headers.serialize()


@dataclass
class Response:
    """An HTTP response.

    Args:
        status_code: the status, three digits.
        reason_phrase: the words behind it.
        headers: the headers.
        body: the body.

    Raises:
        TypeError: the headers are not a ``Headers``, or the body is not ``bytes``.
    """

    status_code: int
    reason_phrase: str
    headers: Headers
    body: bytes = b""

    def __post_init__(self) -> None:
        if not isinstance(self.headers, Headers):
            raise TypeError(f"headers must be a Headers, not {self.headers!r}")
        if not isinstance(self.body, bytes):
            raise TypeError(f"body must be bytes, not {self.body!r}")

    def serialize(self) -> bytes:
        """The response as bytes.

        Raises:
            ValueError: the status or the reason would break the status line, or a body would be
                taken for what follows a 101.
        """
        if not 100 <= self.status_code <= 999:
            raise ValueError(f"invalid status code: {self.status_code!r}")
        if not _REASON.fullmatch(self.reason_phrase):
            raise ValueError(f"invalid reason phrase: {self.reason_phrase!r}")
        if self.body and self.status_code < 200:  # RFC 9110 section 15.2
            raise ValueError(f"a {self.status_code:d} has no body")
        line = f"HTTP/1.1 {self.status_code:d} {self.reason_phrase}\r\n"
        return line.encode("iso-8859-1") + self.headers.serialize() + self.body


class _Kind(NamedTuple):
    """What differs between the head of a request and that of a response."""

    name: str
    line: str
    first_bytes: bytes
    line_too_long: type[SecurityError]


_KINDS = {
    "request": _Kind(
        "request",
        "request line",
        bytes(byte for byte in range(128) if re.fullmatch(_TCHAR, bytes([byte]))),
        RequestLineTooLong,
    ),
    "response": _Kind("response", "status line", b"H", StatusLineTooLong),
}

_TOO_LONG = f"the headers are longer than {MAX_LINE} bytes a line or {MAX_HEAD} bytes in all"


class HeadReader:
    """Collects bytes until a head is complete, and refuses it as soon as it breaks a limit.

    The answer depends on the bytes only, not on how they are cut, and every byte is looked at
    once.

    Args:
        kind: "request" or "response".
    """

    __slots__ = ("_buffer", "_count", "_kind", "_line")

    def __init__(self, kind: Literal["request", "response"] = "request") -> None:
        self._kind = _KINDS[kind]
        self._buffer = bytearray()
        self._line = 0  # where the unfinished line starts
        self._count = 0  # finished lines

    def feed(self, data: bytes | bytearray | memoryview) -> tuple[bytes, bytes] | None:
        """Take bytes.

        Returns:
            None while the head is incomplete; then the head, with the blank line, and what came
            behind it.

        Raises:
            InvalidMessage: this is not HTTP.
            RequestLineTooLong, StatusLineTooLong, HeaderLineTooLong, TooManyHeaders: a limit.
        """
        buffer = self._buffer
        kind = self._kind
        if not buffer:
            data = bytes(data)
            # Nearly always the head comes whole, and then a few searches in C tell all.
            lines, blank, rest = data.partition(b"\r\n\r\n")
            if (
                blank
                and len(lines) <= MAX_LINE
                and data[0] in kind.first_bytes
                and lines.count(b"\n") == lines.count(b"\r\n") <= MAX_HEADERS
            ):
                return data[: len(lines) + 4], rest
        seen = len(buffer)
        buffer += data
        if buffer and buffer[0] not in kind.first_bytes:
            raise InvalidMessage(f"did not receive a valid HTTP {kind.name}")
        while True:
            newline = buffer.find(b"\n", seen)
            end = newline if newline >= 0 else len(buffer)
            self._check_size(end)
            if newline < 0:
                return None
            if buffer[end - 1] != _CR:
                raise InvalidMessage("a line of the HTTP head ends without CR")
            seen = end + 1
            if end - self._line == 1:
                return bytes(buffer[:seen]), bytes(buffer[seen:])
            if self._count > MAX_HEADERS:
                raise TooManyHeaders(f"there are more than {MAX_HEADERS} headers")
            self._count += 1
            self._line = seen

    def _check_size(self, end: int) -> None:
        """Hold the line from ``_line`` to ``end``, finished or not, and the head to the limits."""
        size = end - self._line
        if size > MAX_LINE and (size > MAX_LINE + 1 or self._buffer[end - 1] != _CR):
            if self._count == 0:
                kind = self._kind
                raise kind.line_too_long(f"the {kind.line} is longer than {MAX_LINE} bytes")
            raise HeaderLineTooLong(_TOO_LONG)
        if end >= MAX_HEAD:
            raise HeaderLineTooLong(_TOO_LONG)

    def eof(self) -> NoReturn:
        """Raise the ``InvalidMessage`` for a connection that ends in the middle of a head."""
        where = "headers" if self._count else self._kind.line
        raise InvalidMessage(f"connection closed while reading HTTP {where}")


# Reads the header lines of a head, with the blank line, which are what the grammar allows.
FieldParser = Callable[[bytes], Headers]


def _parse_with_h11(fields: bytes) -> Headers:
    # As those of a response, because h11 looks for Host in a request, and so do we.
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=2 * MAX_HEAD)
    connection.receive_data(b"HTTP/1.1 200 OK\r\n" + fields)
    try:
        event = connection.next_event()
    except h11.RemoteProtocolError as error:
        raise InvalidMessage("invalid HTTP headers") from error
    assert isinstance(event, h11.Response)
    headers = Headers()
    for name, value in event.headers.raw_items():
        headers.add_received(name, value)
    return headers


class _Callbacks:
    """What httptools calls."""

    __slots__ = ("on_header",)

    def __init__(self, on_header: Callable[[bytes, bytes], None]) -> None:
        self.on_header = on_header


def _parse_with_httptools(fields: bytes) -> Headers:
    # As those of a response: in a request llhttp reports Upgrade by an exception.
    headers = Headers()
    parser = httptools.HttpResponseParser(_Callbacks(headers.add_received))
    try:
        parser.feed_data(b"HTTP/1.1 200 OK\r\n" + fields)
    except httptools.HttpParserError as error:
        raise InvalidMessage("invalid HTTP headers") from error
    return headers


PARSERS: dict[str, FieldParser] = {"h11": _parse_with_h11}
"""The libraries that can read header lines, by name."""

if HTTP_PARSER == "httptools":
    PARSERS["httptools"] = _parse_with_httptools


def _check_fields(head: bytes, start: int) -> None:
    """Hold the header lines of ``head``, from ``start`` on, to the grammar of RFC 9112 section 5.

    Obsolete line folding (section 5.2) and blanks before the colon (section 5.1) are not in it.
    """
    if _FIELDS.fullmatch(head, start):
        return
    for line in head[start:].split(b"\r\n"):
        name, colon, value = line.partition(b":")
        if line[:1] in (b" ", b"\t"):
            raise InvalidMessage("a header line starts with a blank")
        if not colon:
            raise InvalidMessage(f"a header line has no colon: {printable(line)}")
        if name[-1:] in (b" ", b"\t"):
            raise InvalidMessage(f"a header has a blank before its colon: {printable(line)}")
        if not _FIELD_NAME.fullmatch(name):
            raise InvalidMessage(f"invalid header name: {printable(name)}")
        if not _FIELD_VALUE.fullmatch(value):
            raise InvalidMessage(f"the {printable(name)} header has control characters")
    raise InvalidMessage("the HTTP head has no blank line at its end")


def _find_framing(head: bytes, start: int) -> list[tuple[bytes, bytes]]:
    """The headers that say where a body ends, with their names in lower case.

    They are judged before a library sees them, because each has an opinion of its own on them.
    """
    return [(name.lower(), value) for name, value in _FRAMING.findall(head, start - 2)]


def _check_protocol(protocol: bytes, tunnel: bool = False) -> None:
    if protocol != b"HTTP/1.1" and not (tunnel and protocol == b"HTTP/1.0"):
        raise InvalidMessage(f"unsupported protocol; expected HTTP/1.1: {protocol.decode()}")


def _first_line(head: bytes) -> str:
    return printable(head.partition(b"\r\n")[0])


def parse_request(head: bytes) -> Request:
    """Read the head of a request, as `HeadReader` returns it.

    Raises:
        InvalidMessage: it is not strictly HTTP/1.1 (RFC 9112), has no Host or several, or announces
            a body, which a request to open a WebSocket does not have.
    """
    request = _PLAIN_REQUEST.fullmatch(head) or _check_request(head)
    method, path = request[1].decode(), request[2].decode()
    headers = PARSERS[HTTP_PARSER](head[request.end(3) :])
    host = _check_host(headers)
    if path[0] != "/":
        path = _origin_form(path, host, method)
    return Request(path, headers, method)


def _check_request(head: bytes) -> re.Match[bytes]:
    """Step by step, for what is unusual; returns the request line with its parts."""
    line = _REQUEST_LINE.match(head)
    if line is None:
        raise InvalidMessage(f"invalid HTTP request line: {_first_line(head)}")
    _check_protocol(line[3][:-2])
    _check_fields(head, line.end())
    framing = _find_framing(head, line.end())
    if framing not in ([], [(b"content-length", b"0")]):
        # What a proxy takes for a body must never become our frames.
        raise InvalidMessage("a WebSocket handshake cannot have a body")
    return line


def _check_host(headers: Headers) -> str:
    """RFC 9112 section 3.2: exactly one Host, and a valid one."""
    host = headers.get_only("Host")
    if host is None:
        several = "Host" in headers
        raise InvalidMessage("there are several Host headers" if several else "missing Host header")
    if not _HOST.fullmatch(host):
        raise InvalidMessage(f"invalid Host header: {printable(host)}")
    return host


def _origin_form(target: str, host: str, method: str) -> str:
    """Turn the target of a request that does not start with "/" into a path and a query.

    RFC 6455 section 4.2.1 allows an absolute URI. What it calls the host and what Host does must
    be the same (RFC 9112 section 3.2), or else one of them misleads somebody on the way.
    """
    absolute = _ABSOLUTE_TARGET.fullmatch(target)
    if absolute is not None and absolute[1].lower() == host.lower():
        path = absolute[2]
        return path if path.startswith("/") else "/" + path
    if method == "GET":
        raise InvalidMessage(f"invalid request target: {printable(target)}")
    return target  # "OPTIONS *" is fine as HTTP; the method is refused later


def parse_response(head: bytes, tunnel: bool = False) -> Response:
    """Read the head of a response, as `HeadReader` returns it.

    Args:
        head: the head.
        tunnel: whether it answers CONNECT. Many proxies still do so in HTTP/1.0.

    Raises:
        InvalidMessage: it is not strictly HTTP/1.1 (RFC 9112).
        SecurityError: it is ambiguous, or absurd, about where its body ends.
    """
    line = _STATUS_LINE.match(head)
    if line is None:
        raise InvalidMessage(f"invalid HTTP status line: {_first_line(head)}")
    protocol, status_code, reason_phrase = line.groups()
    _check_protocol(protocol, tunnel)
    start = line.end()
    _check_fields(head, start)
    framing = _find_framing(head, start)
    if len(framing) > 1:
        raise SecurityError("the response says more than once where its body ends")
    for name, value in framing:
        # int() would take "+5", "1_000" and digits of other scripts.
        if name == b"content-length" and not _CONTENT_LENGTH.fullmatch(value):
            raise SecurityError(f"invalid Content-Length header: {printable(value)}")
        if name == b"transfer-encoding" and value != b"chunked":
            raise SecurityError(f"unsupported Transfer-Encoding header: {printable(value)}")
    headers = PARSERS[HTTP_PARSER](head[start:])
    return Response(int(status_code), str(reason_phrase or b"", "iso-8859-1"), headers)


class ResponseReader:
    """Collects bytes until a response is complete.

    A 101 is complete with its head. Any other response is read with its body, because the body
    often says why the server refused. Interim responses like 103 are skipped (RFC 9110 section
    15.2).

    Args:
        tunnel: whether this answers CONNECT. Then a 2xx is complete with its head, too, whatever
            that says of a body (RFC 9110 section 9.3.6).
    """

    __slots__ = ("_body", "_connection", "_head", "_interim", "_response", "_tunnel")

    def __init__(self, tunnel: bool = False) -> None:
        self._tunnel = tunnel
        self._head = HeadReader("response")
        self._interim = 0
        self._response: Response | None = None
        self._connection: h11.Connection
        self._body = bytearray()

    def feed(self, data: bytes | bytearray | memoryview) -> tuple[Response, bytes] | None:
        """Take bytes.

        Returns:
            None while the response is incomplete; then the response and, if it is a 101 or opens
            a tunnel, what came behind it.

        Raises:
            InvalidMessage: this is not strictly HTTP/1.1.
            SecurityError: the head or the body is too large, or broken.
        """
        while self._response is None:
            result = self._head.feed(data)
            if result is None:
                return None
            head, data = result
            response = parse_response(head, self._tunnel)
            if response.status_code == 101 or (self._tunnel and response.status_code // 100 == 2):
                return response, data
            if response.status_code >= 200:
                self._start_body(response, head)
                break
            self._interim += 1
            if self._interim > MAX_INTERIM_RESPONSES:
                raise SecurityError(f"more than {MAX_INTERIM_RESPONSES} interim responses")
            self._head = HeadReader("response")
        if data:  # none would tell h11 that the connection ended
            self._connection.receive_data(bytes(data))
        return self._read_body()

    @property
    def in_body(self) -> bool:
        """Whether the head is complete, and the body is not."""
        return self._response is not None

    def eof(self) -> Response:
        """The connection ended: return the response, if this is how it says that it is complete.

        Raises:
            InvalidMessage: it is not complete.
        """
        if self._response is None:
            self._head.eof()
        self._connection.receive_data(b"")
        try:
            result = self._read_body()
        except SecurityError as error:
            raise InvalidMessage("connection closed while reading HTTP body") from error
        assert result is not None
        return result[0]

    def _start_body(self, response: Response, head: bytes) -> None:
        length = response.headers.get("Content-Length")
        if length is not None and int(length) > MAX_BODY:
            raise SecurityError(f"the body of the response is longer than {MAX_BODY} bytes")
        self._response = response
        # h11 must know the request to tell where the body of the response ends.
        self._connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=2 * MAX_HEAD)
        self._connection.send(h11.Request(method="GET", target="/", headers=[("Host", "host")]))
        self._connection.send(h11.EndOfMessage())
        self._connection.receive_data(head)

    def _read_body(self) -> tuple[Response, bytes] | None:
        assert self._response is not None
        while True:
            try:
                event = self._connection.next_event()
            except h11.RemoteProtocolError as error:
                raise SecurityError(f"invalid body of the response: {error}") from error
            if event is h11.NEED_DATA:
                return None
            if isinstance(event, h11.Data):
                if len(event.data) > MAX_BODY - len(self._body):
                    raise SecurityError(f"the body of the response is longer than {MAX_BODY} bytes")
                self._body += event.data
            elif isinstance(event, h11.EndOfMessage):
                self._response.body = bytes(self._body)
                return self._response, b""
