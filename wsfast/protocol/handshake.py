"""The opening handshake of RFC 6455 section 4, as functions: the server's half, the client's half.

Nothing here does I/O. The server's checks stand in the order in which they are made; each raises
its own exception, and `rejection` turns an exception into the response that tells the client.
"""

from __future__ import annotations

import binascii
import email.utils
import hashlib
import re
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from http import HTTPStatus

from .._version import __version__
from ..exceptions import (
    InvalidHandshake,
    InvalidHeader,
    InvalidHeaderValue,
    InvalidMethod,
    InvalidOrigin,
    InvalidPath,
    InvalidStatus,
    InvalidUpgrade,
    InvalidVersion,
    NegotiationError,
    RequestLineTooLong,
    SecurityError,
)
from ..typing import HeadersLike
from ..uri import WebSocketURI
from .headers import (
    Bearer,
    Headers,
    build_authorization_basic,
    is_token,
    parse_subprotocols,
    parse_token_list,
)
from .http import Request, Response

__all__ = [
    "SERVER",
    "USER_AGENT",
    "VERSIONS",
    "OriginPolicy",
    "Upgrade",
    "accept_head",
    "accept_key",
    "accept_response",
    "build_request",
    "check_method",
    "check_origin",
    "check_path",
    "check_response",
    "check_selected_subprotocol",
    "check_subprotocols",
    "check_upgrade",
    "closing_response",
    "generate_key",
    "http_date",
    "offered_subprotocols",
    "rejection",
    "select_subprotocol",
    "text_response",
    "upgrade_response",
]

SERVER = f"wsfast/{__version__}"
"""What a server may say about itself in the Server header."""

USER_AGENT = f"wsfast/{__version__}"
"""What a client says about itself in the User-Agent header."""

VERSIONS = (13, 8)
"""The versions of the protocol: RFC 6455, and hybi-07 to -12, which has the same frames."""

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
# 16 bytes in base64 (RFC 6455 section 4.1, item 7).
_KEY = re.compile(r"[A-Za-z0-9+/]{22}==")
_ORIGIN_HEADERS = {13: "Origin", 8: "Sec-WebSocket-Origin"}


# Both sides


def accept_key(key: str) -> str:
    """The Sec-WebSocket-Accept for a Sec-WebSocket-Key (RFC 6455 section 4.2.2, item 5.4)."""
    digest = hashlib.sha1(key.encode() + _GUID, usedforsecurity=False).digest()
    return binascii.b2a_base64(digest, newline=False).decode()


def generate_key() -> str:
    """A random Sec-WebSocket-Key; every request needs one of its own."""
    return binascii.b2a_base64(secrets.token_bytes(16), newline=False).decode()


def check_subprotocols(subprotocols: Sequence[str]) -> list[str]:
    """Validate the ``subprotocols`` option of either side and return it as a list.

    Raises:
        TypeError: it is one ``str``, or has something else than ``str`` in it.
        ValueError: a name is not a token, or is repeated.
    """
    if isinstance(subprotocols, str):
        raise TypeError("subprotocols must be a list, not a str")
    if not isinstance(subprotocols, Iterable):
        raise TypeError(f"subprotocols must be a list, not {subprotocols!r}")
    names = list(subprotocols)
    for name in names:
        if not isinstance(name, str):
            raise TypeError(f"a subprotocol must be a str, not {name!r}")
        if not is_token(name) or names.count(name) > 1:
            raise ValueError(f"An invalid or duplicated subprotocol was specified: {name!r}")
    return names


def http_date(timestamp: float) -> str:
    """A Date header (RFC 9110 section 6.6.1) for seconds since the epoch."""
    return email.utils.formatdate(timestamp, usegmt=True)


# The server


def check_method(request: Request) -> None:
    """Refuse any method but GET.

    Raises:
        InvalidMethod: 405.
    """
    if request.method != "GET":
        raise InvalidMethod(request.method)


def check_path(request: Request, path: str | None) -> None:
    """Refuse any path but ``path``, which is compared up to the "?"; None allows all.

    Raises:
        InvalidPath: 404.
    """
    if path is not None and request.path.partition("?")[0] != path:
        raise InvalidPath(request.path)


@dataclass(slots=True)
class Upgrade:
    """What a valid request for a WebSocket says.

    Args:
        version: 13 or 8.
        key: the Sec-WebSocket-Key.
    """

    version: int
    key: str


def check_upgrade(headers: Headers) -> Upgrade:
    """Check that the request asks for a WebSocket, in a version that we speak, with a valid key.

    Raises:
        InvalidUpgrade: 426; Upgrade must be "websocket" and Connection must list "upgrade".
        InvalidVersion: 426; the version is neither 13 nor 8.
        InvalidHeader: 400; the key is missing, repeated or malformed.
    """
    _check_upgrade_tokens(headers)
    version = _VERSIONS_BY_TEXT.get(headers.get_only("Sec-WebSocket-Version"))
    if version is None:
        versions = headers.get_all("Sec-WebSocket-Version")
        raise InvalidVersion("Sec-WebSocket-Version", ", ".join(versions) if versions else None)
    key = headers.get_only("Sec-WebSocket-Key")
    if key is None:
        raise _not_one(headers, "Sec-WebSocket-Key")
    if not _KEY.fullmatch(key):
        raise InvalidHeaderValue("Sec-WebSocket-Key", key)
    return Upgrade(version, key)


# As text, because "013" and " 13" are not the version 13 for everybody on the way.
_VERSIONS_BY_TEXT: dict[str | None, int] = {str(version): version for version in VERSIONS}


def _check_upgrade_tokens(headers: Headers) -> None:
    # RFC 6455 section 4.2.1, items 3 and 4. Firefox sends "Connection: keep-alive, Upgrade".
    for name, wanted in ("Upgrade", "websocket"), ("Connection", "upgrade"):
        value = headers.get_only(name)
        if value is not None and value.lower() == wanted:
            continue  # nearly always it is that and nothing else
        values = headers.get_all(name)
        if not values:
            raise InvalidUpgrade(name)
        try:
            tokens = parse_token_list(name, values)
        except InvalidHeader as error:
            raise InvalidUpgrade(name, error.value) from None
        # A second protocol would leave open which one the 101 switches to.
        if wanted not in tokens or (name == "Upgrade" and len(tokens) > 1):
            raise InvalidUpgrade(name, ", ".join(values))


def _not_one(headers: Headers, name: str) -> InvalidHeader:
    values = headers.get_all(name)
    if not values:
        return InvalidHeader(name)
    return InvalidHeader(name, ", ".join(values), f"there are several {name} headers")


class OriginPolicy:
    """Which web sites may connect. It is what keeps a foreign page from using a user's cookies.

    Args:
        origins: the allowed origins, or None for all. An origin is a ``str`` such as
            ``"https://example.com:8443"``, compared as a whole (scheme, host and port, where a
            default port may be left out and case does not matter); a compiled pattern, which must
            match the whole origin; or None for clients that send no origin, as those that are not
            browsers do.

    Raises:
        TypeError, ValueError: one of them is not an origin.
    """

    __slots__ = ("_exact", "_patterns", "_without")

    def __init__(self, origins: Iterable[str | re.Pattern[str] | None] | None) -> None:
        if origins is not None and (isinstance(origins, str) or not isinstance(origins, Iterable)):
            raise TypeError(f"origins must be a list, not {origins!r}")
        self._exact: set[str] | None = None
        self._patterns: list[re.Pattern[str]] = []
        self._without = False
        if origins is None:
            return
        self._exact = set()
        for origin in origins:
            if origin is None:
                self._without = True
            elif isinstance(origin, re.Pattern) and isinstance(origin.pattern, str):
                self._patterns.append(origin)
            elif isinstance(origin, str):
                if "*" in origin:
                    # It would match no origin at all.
                    raise ValueError(f"an origin has no *, as {origin!r}; use re.compile()")
                normal = _normal_origin(origin)
                if normal is None:
                    raise ValueError(
                        f'an origin must be like "https://example.com", not {origin!r}'
                    )
                self._exact.add(normal)
            else:
                raise TypeError(f"an origin must be a str, a pattern or None, not {origin!r}")

    def allows(self, origin: str | None) -> bool:
        """Tell whether a request with this origin, or with none, may connect."""
        if self._exact is None:
            return True
        if origin is None:
            return self._without
        return (
            origin in self._exact
            or _normal_origin(origin) in self._exact
            or any(pattern.fullmatch(origin) for pattern in self._patterns)
        )


# RFC 6454 section 6.2, or what browsers send for a page without an origin.
_ORIGIN = re.compile(
    r"([A-Za-z][A-Za-z0-9+.\-]*)://"
    r"([^\x00-\x20/?#@:\[\]\\]+|\[[0-9A-Fa-f:.]+\])"
    r"(?::([0-9]{1,5}))?"
)
_DEFAULT_PORTS = {("http", "80"), ("https", "443"), ("ws", "80"), ("wss", "443")}


def _normal_origin(origin: str) -> str | None:
    """Bring an origin into the form in which browsers send it; None if it is not one."""
    if origin == "null":
        return origin
    match = _ORIGIN.fullmatch(origin)
    if match is None:
        return None
    scheme, host, port = match.groups()
    scheme = scheme.lower()
    if not host.isascii():
        try:
            host = host.encode("idna").decode()
        except UnicodeError:
            return None
    host = host.lower()
    if port is None or (scheme, port) in _DEFAULT_PORTS:
        return f"{scheme}://{host}"
    return f"{scheme}://{host}:{port}"


def check_origin(headers: Headers, version: int, policy: OriginPolicy) -> str | None:
    """Find the request's origin and check that it may connect.

    Args:
        headers: those of the request.
        version: 13, or 8, in which the header had another name.
        policy: who may connect.

    Returns:
        The origin, None if the client sent none.

    Raises:
        InvalidOrigin: 403.
    """
    name = _ORIGIN_HEADERS[version]
    origin = headers.get_only(name)
    if origin is None and name in headers:
        origins = ", ".join(headers.get_all(name))
        raise InvalidOrigin(origins, "there are several Origin headers")
    if not policy.allows(origin):
        raise InvalidOrigin(origin)
    return origin


def offered_subprotocols(headers: Headers) -> list[str]:
    """The subprotocols that the client offers, in the order of its preference.

    Raises:
        InvalidHeaderFormat: 400.
    """
    values = headers.get_all("Sec-WebSocket-Protocol")
    return parse_subprotocols(values) if values else []


def select_subprotocol(offered: Sequence[str], supported: Sequence[str]) -> str | None:
    """The first supported subprotocol that the client offers; None if there is none."""
    for name in supported:
        if name in offered:
            return name
    return None


def check_selected_subprotocol(selected: str | None, offered: Sequence[str]) -> str | None:
    """Check what a custom ``select_subprotocol`` returned, and return it.

    Raises:
        ValueError: the client did not offer it, so that it would fail the connection.
    """
    if selected is not None and selected not in offered:
        raise ValueError(f"select_subprotocol chose {selected!r}, which the client did not offer")
    return selected


def accept_response(
    key: str,
    *,
    subprotocol: str | None = None,
    extensions: str | None = None,
    server_header: str | None = None,
    additional_headers: HeadersLike = (),
    date: str | None = None,
) -> Response:
    """The 101 response (RFC 6455 section 4.2.2).

    Args:
        key: the request's Sec-WebSocket-Key, checked.
        subprotocol: the selected one.
        extensions: the value of Sec-WebSocket-Extensions.
        server_header: the value of Server.
        additional_headers: further headers.
        date: the value of Date; see `http_date`.

    Raises:
        TypeError, ValueError: a header cannot be sent.
    """
    headers = Headers(
        [
            ("Upgrade", "websocket"),
            ("Connection", "Upgrade"),
            ("Sec-WebSocket-Accept", accept_key(key)),
        ]
    )
    optional = (
        ("Sec-WebSocket-Protocol", subprotocol),
        ("Sec-WebSocket-Extensions", extensions),
        ("Date", date),
        ("Server", server_header),
    )
    for name, value in optional:
        if value is not None:
            headers[name] = value
    headers.update(additional_headers)
    return Response(101, "Switching Protocols", headers)


def accept_head(
    key: str, subprotocol: str | None, extensions: str | None, server_header: str | None
) -> bytes:
    """What `accept_response` serializes to, as most servers send it; the arguments are checked."""
    optional = ""
    if subprotocol is not None:
        optional = f"Sec-WebSocket-Protocol: {subprotocol}\r\n"
    if extensions is not None:
        optional += f"Sec-WebSocket-Extensions: {extensions}\r\n"
    if server_header is not None:
        optional += f"Server: {server_header}\r\n"
    head = (
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Accept: {accept_key(key)}\r\n{optional}\r\n"
    )
    return head.encode("iso-8859-1")


def upgrade_response(
    key: str, *, subprotocol: str | None = None, headers: HeadersLike = ()
) -> bytes:
    """The bytes of the response that opens a WebSocket, for who writes HTTP by hand.

    Args:
        key: the request's Sec-WebSocket-Key.
        subprotocol: one of those that the request offers.
        headers: further headers.

    Raises:
        InvalidHeaderValue: the key is not 16 bytes in base64.
        TypeError: the key is not a str.
        TypeError, ValueError: a header cannot be sent.
    """
    if not isinstance(key, str):
        raise TypeError(f"key must be the str of a Sec-WebSocket-Key, not {key!r}")
    if not _KEY.fullmatch(key):
        raise InvalidHeaderValue("Sec-WebSocket-Key", key)
    return accept_response(key, subprotocol=subprotocol, additional_headers=headers).serialize()


def text_response(
    status: int, text: str, headers: HeadersLike = (), *, date: str | None = None
) -> Response:
    """A plain-text response that ends the connection.

    Args:
        status: the status code.
        text: the body.
        headers: further headers.
        date: the value of Date; see `http_date`.
    """
    body = text.encode()
    response = Response(status, _reason_phrase(status), Headers(headers), body)
    response.headers["Content-Type"] = "text/plain; charset=utf-8"
    return closing_response(response, date=date)


def _reason_phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


def closing_response(
    response: Response, *, date: str | None = None, head: bool = False
) -> Response:
    """Complete a response that is not 101, as one from ``process_request``, for sending.

    It is the last on its connection, so that nothing that came behind the request can pass for
    another request, nor for frames.

    Args:
        response: the response, which is left as it is.
        date: the value of Date, unless the response has one.
        head: the request was a HEAD: there is the length of a body, and none (RFC 9110 section
            9.3.2).
    """
    headers = response.headers.copy()
    options = ",".join(headers.get_all("Connection")).lower().split(",")
    if "close" not in [option.strip(" \t") for option in options]:
        _replace(headers, "Connection", "close")
    # The length may be that of a body which was left out already.
    has_length = head and not response.body and "Content-Length" in headers
    # RFC 9110 section 8.6: a 204 has no Content-Length.
    if response.status_code != 204 and "Transfer-Encoding" not in headers and not has_length:
        _replace(headers, "Content-Length", str(len(response.body)))
    if date is not None and "Date" not in headers:
        headers["Date"] = date
    body = b"" if head else response.body
    return Response(response.status_code, response.reason_phrase, headers, body)


def _replace(headers: Headers, name: str, value: str) -> None:
    if name in headers:
        del headers[name]
    headers[name] = value


# What tells the client which exception: the status and further headers. The first match counts.
_REJECTIONS: tuple[tuple[type[Exception], int, dict[str, str]], ...] = (
    (RequestLineTooLong, 414, {}),
    (SecurityError, 431, {}),
    (InvalidMethod, 405, {"Allow": "GET"}),
    (InvalidPath, 404, {}),
    # RFC 9110 sections 15.5.22 and 7.8: a 426 says what to upgrade to.
    (InvalidUpgrade, 426, {"Upgrade": "websocket", "Connection": "close, Upgrade"}),
    (
        InvalidVersion,
        426,
        {
            "Upgrade": "websocket",
            "Connection": "close, Upgrade",
            # RFC 6455 section 4.4: which versions would do.
            "Sec-WebSocket-Version": ", ".join(map(str, VERSIONS)),
        },
    ),
    (InvalidOrigin, 403, {}),
    (InvalidHandshake, 400, {}),
)


def rejection(exc: BaseException, *, date: str | None = None) -> Response:
    """The response for an exception of the server's checks.

    Args:
        exc: the exception. The client gets to know what an `InvalidHandshake` says; of any other
            exception, 500 and no more.
        date: the value of Date; see `http_date`.
    """
    for exception, status, headers in _REJECTIONS:
        if isinstance(exc, exception):
            text = f"Failed to open a WebSocket connection: {exc}.\n"
            response = text_response(status, text, headers, date=date)
            if isinstance(exc, InvalidMethod) and exc.method == "HEAD":
                response.body = b""  # RFC 9110 section 9.3.2
            return response
    text = "Failed to open a WebSocket connection: the server has an internal error.\n"
    return text_response(500, text, date=date)


# The client

# They belong to the handshake, so that nobody else may set them.
_RESERVED_HEADERS = {
    "connection": "",
    "content-length": "",
    "sec-websocket-extensions": "; see extensions",
    "sec-websocket-key": "",
    "sec-websocket-protocol": "; see subprotocols",
    "sec-websocket-version": "; see protocol_version",
    "transfer-encoding": "",
    "upgrade": "",
}


def build_request(
    uri: WebSocketURI,
    key: str,
    *,
    subprotocols: Sequence[str] = (),
    extensions: str | None = None,
    origin: str | None = None,
    additional_headers: HeadersLike = (),
    auth: str | tuple[str, str] | Bearer | None = None,
    user_agent: str | None = USER_AGENT,
    version: int = 13,
) -> Request:
    """The request that opens a WebSocket (RFC 6455 section 4.1).

    Args:
        uri: the address.
        key: a new `generate_key`.
        subprotocols: to offer, in the order of preference.
        extensions: the value of Sec-WebSocket-Extensions.
        origin: the value of Origin.
        additional_headers: further headers. Host, Origin, Authorization and User-Agent given here
            count instead of what the other arguments say.
        auth: user name and password, as a pair or with a colon between, for a Basic Authorization
            header, unless the address has them; or a `Bearer`.
        user_agent: the value of User-Agent; None for no such header.
        version: 13 or 8.

    Raises:
        TypeError, ValueError: an argument is not valid, or a header cannot be sent or belongs to
            the handshake.
    """
    if isinstance(version, (bool, float)) or version not in _ORIGIN_HEADERS:
        raise ValueError(f"Unsupported protocol version: {version} (supported versions: 8, 13)")
    additional = Headers(additional_headers)
    for name in additional:
        if name in _RESERVED_HEADERS:
            raise ValueError(f"additional_headers cannot have {name}{_RESERVED_HEADERS[name]}")
    names = check_subprotocols(subprotocols)
    headers = Headers()
    for name, value in (
        ("Host", uri.host_header),
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Key", key),
        ("Sec-WebSocket-Version", str(version)),
        ("Sec-WebSocket-Protocol", ",".join(names) or None),
        ("Sec-WebSocket-Extensions", extensions),
        (_ORIGIN_HEADERS[version], origin),
        ("Authorization", _authorization(uri, auth)),
        ("User-Agent", user_agent),
    ):
        if value is not None and name not in additional:
            headers[name] = value
    headers.update(additional)
    return Request(uri.resource_name, headers)


def _authorization(uri: WebSocketURI, auth: str | tuple[str, str] | Bearer | None) -> str | None:
    if uri.user_info is not None:
        return build_authorization_basic(*uri.user_info)
    if auth is None:
        return None
    if isinstance(auth, Bearer):
        return f"Bearer {auth.token}"
    if isinstance(auth, str):
        username, colon, password = auth.partition(":")
        if not colon:
            raise ValueError('auth must be like "user:password"')
    elif isinstance(auth, tuple) and len(auth) == 2 and all(isinstance(i, str) for i in auth):
        username, password = auth
    else:
        # Without its value, which may be half right.
        raise TypeError("auth must be a tuple of user name and password, or a Bearer")
    return build_authorization_basic(username, password)


def check_response(
    response: Response,
    key: str,
    *,
    subprotocols: Sequence[str] = (),
    require_subprotocol: bool = False,
) -> str | None:
    """Check the response to `build_request` (RFC 6455 section 4.1).

    Args:
        response: the response.
        key: the key of the request.
        subprotocols: those of the request.
        require_subprotocol: whether the server must select one of them.

    Returns:
        The selected subprotocol, None if the server selected none.

    Raises:
        InvalidStatus: the status is not 101.
        InvalidUpgrade: the response does not switch to WebSocket.
        InvalidHeader: Sec-WebSocket-Accept is not the one for the key.
        NegotiationError: the subprotocol is not one of those offered, or required but missing.
    """
    if response.status_code != 101:
        raise InvalidStatus(response)
    headers = response.headers
    try:
        _check_upgrade_tokens(headers)
    except InvalidUpgrade as error:
        msg = f"Invalid {error.name} header"
        raise InvalidUpgrade(error.name, error.value, msg) from None
    accepts = headers.get_all("Sec-WebSocket-Accept")
    if accepts != [accept_key(key)]:
        raise InvalidHeader(
            "Sec-WebSocket-Accept", ", ".join(accepts), "Invalid Sec-WebSocket-Accept header"
        )
    return _check_subprotocol(
        headers.get_all("Sec-WebSocket-Protocol"), subprotocols, require_subprotocol
    )


def _check_subprotocol(answer: list[str], offered: Sequence[str], required: bool) -> str | None:
    if not answer:
        if required:
            raise NegotiationError("Server sent no subprotocol")
        return None
    if not offered:
        raise NegotiationError("Server sent a subprotocol but none was requested")
    if len(answer) > 1 or answer[0] not in offered:
        raise NegotiationError("Server sent an invalid subprotocol")
    return answer[0]
