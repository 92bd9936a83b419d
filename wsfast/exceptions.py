"""Every exception that wsfast raises.

The tree, the names and the arguments are those of the ``websockets`` library, so that code which
catches them keeps working. Every exception has a stable string ``code`` that programs may compare,
and the errors that fail a connection have the ``close_code`` that the peer gets::

    WebSocketException
    |-- ConnectionClosed                WS_ERR_CONNECTION_CLOSED
    |   |-- ConnectionClosedOK
    |   `-- ConnectionClosedError
    |-- NetworkError (an OSError)       ECONNRESET, ECONNREFUSED, ...
    |-- OpenTimeout (a TimeoutError)    WS_ERR_OPEN_TIMEOUT
    |-- InvalidURI                      WS_ERR_INVALID_URI
    |-- InvalidProxy                    WS_ERR_INVALID_PROXY
    |-- InvalidHandshake                WS_ERR_INVALID_HANDSHAKE
    |   |-- SecurityError               WS_ERR_HANDSHAKE_TOO_LARGE
    |   |   |-- RequestLineTooLong
    |   |   |-- StatusLineTooLong
    |   |   |-- HeaderLineTooLong
    |   |   `-- TooManyHeaders
    |   |-- InvalidMessage              WS_ERR_INVALID_HTTP
    |   |-- InvalidMethod               WS_ERR_INVALID_METHOD
    |   |-- InvalidPath                 WS_ERR_INVALID_PATH
    |   |-- InvalidStatus               WS_ERR_UNEXPECTED_RESPONSE
    |   |-- InvalidHeader               WS_ERR_INVALID_HEADER
    |   |   |-- InvalidHeaderFormat
    |   |   |-- InvalidHeaderValue
    |   |   |-- InvalidOrigin           WS_ERR_INVALID_ORIGIN
    |   |   |-- InvalidUpgrade          WS_ERR_INVALID_UPGRADE
    |   |   `-- InvalidVersion          WS_ERR_INVALID_VERSION
    |   |-- NegotiationError            WS_ERR_NEGOTIATION
    |   |   |-- DuplicateParameter
    |   |   |-- InvalidParameterName
    |   |   |-- InvalidParameterValue
    |   |   `-- UnexpectedExtension     WS_ERR_UNEXPECTED_EXTENSION
    |   `-- ProxyError                  WS_ERR_PROXY
    |       |-- InvalidProxyMessage     WS_ERR_INVALID_PROXY_HTTP
    |       `-- InvalidProxyStatus      WS_ERR_UNEXPECTED_PROXY_RESPONSE
    |-- ProtocolError                   one of ``WIRE_ERRORS``
    |   |-- PayloadTooBig               WS_ERR_UNSUPPORTED_MESSAGE_LENGTH
    |   `-- TooManyFragments            WS_ERR_TOO_MANY_BUFFERED_PARTS
    |-- ExtensionError                  WS_ERR_EXTENSION
    |-- KeepaliveTimeout                WS_ERR_KEEPALIVE_TIMEOUT, WS_ERR_IDLE_TIMEOUT, ...
    |-- SendFailed                      WS_ERR_SEND_FAILED
    |-- WriteBufferFull                 WS_ERR_WRITE_BUFFER_FULL
    |-- InvalidState                    WS_ERR_INVALID_STATE
    `-- ConcurrencyError                WS_ERR_CONCURRENCY
"""

from __future__ import annotations

import errno
import re
import socket
import ssl
from typing import TYPE_CHECKING, Any

from .frames import Close, is_close_code, visible

if TYPE_CHECKING:
    from .protocol.http import Response

__all__ = [
    "ConcurrencyError",
    "ConnectionClosed",
    "ConnectionClosedError",
    "ConnectionClosedOK",
    "DuplicateParameter",
    "ExtensionError",
    "HeaderLineTooLong",
    "InvalidHandshake",
    "InvalidHeader",
    "InvalidHeaderFormat",
    "InvalidHeaderValue",
    "InvalidMessage",
    "InvalidMethod",
    "InvalidOrigin",
    "InvalidParameterName",
    "InvalidParameterValue",
    "InvalidPath",
    "InvalidProxy",
    "InvalidProxyMessage",
    "InvalidProxyStatus",
    "InvalidState",
    "InvalidStatus",
    "InvalidURI",
    "InvalidUpgrade",
    "InvalidVersion",
    "KeepaliveTimeout",
    "NegotiationError",
    "NetworkError",
    "OpenTimeout",
    "PayloadTooBig",
    "ProtocolError",
    "ProxyError",
    "RedirectError",
    "RequestLineTooLong",
    "SecurityError",
    "SendFailed",
    "StatusLineTooLong",
    "TooManyFragments",
    "TooManyHeaders",
    "UnexpectedExtension",
    "WebSocketException",
    "WriteBufferFull",
]


def printable(text: str | bytes, limit: int = 75) -> str:
    """Make what a peer sent fit for one line of a log or a terminal: short, no control characters.

    Args:
        text: what to show; bytes are taken as ISO-8859-1.
        limit: the most characters of it.
    """
    if isinstance(text, bytes):
        text = text.decode("iso-8859-1")
    if len(text) > limit:
        text = text[: limit - 3] + "..."
    return visible(text)


class WebSocketException(Exception):
    """The base of all exceptions of wsfast."""

    code = "WS_ERR"

    def __reduce__(self) -> tuple[Any, ...]:
        # Not by __init__, whose arguments are not always those that Exception keeps.
        return restore, (type(self), self.args, self.__dict__)


def restore(
    kind: type[WebSocketException], arguments: tuple[Any, ...], attributes: dict[str, Any]
) -> WebSocketException:
    """Make a pickled exception again."""
    error = kind.__new__(kind, *arguments)
    error.__dict__.update(attributes)
    return error


class ConnectionClosed(WebSocketException):
    """The connection is closed, or closing, so that the call cannot be carried out.

    Args:
        rcvd: the close frame that came from the peer, if one did.
        sent: the close frame that left, if one did.
        rcvd_then_sent: which came first, when there are both.

    What went wrong below, if anything did, is the ``__cause__``.
    """

    code = "WS_ERR_CONNECTION_CLOSED"

    def __init__(
        self, rcvd: Close | None, sent: Close | None, rcvd_then_sent: bool | None = None
    ) -> None:
        super().__init__(rcvd, sent, rcvd_then_sent)
        self.rcvd = rcvd
        self.sent = sent
        self.rcvd_then_sent = rcvd_then_sent

    @property
    def close_code(self) -> int:
        """The received close code: 1005 if the frame had none, 1006 if no frame came."""
        return 1006 if self.rcvd is None else self.rcvd.code

    @property
    def reason(self) -> str:
        """The received close reason."""
        return "" if self.rcvd is None else self.rcvd.reason

    def __str__(self) -> str:
        if self.rcvd is None:
            if self.sent is None:
                return "no close frame received or sent"
            return f"sent {self.sent}; no close frame received"
        if self.sent is None:
            return f"received {self.rcvd}; no close frame sent"
        if self.rcvd_then_sent:
            return f"received {self.rcvd}; then sent {self.sent}"
        return f"sent {self.sent}; then received {self.rcvd}"


class ConnectionClosedOK(ConnectionClosed):
    """Both sides closed with 1000, 1001 or no code."""


class ConnectionClosedError(ConnectionClosed):
    """The connection ended in any other way."""


def connection_closed(
    rcvd: Close | None, sent: Close | None, rcvd_then_sent: bool | None
) -> ConnectionClosed:
    """The exception for how a connection ended."""
    clean = {1000, 1001, 1005}
    ok = rcvd is not None and sent is not None and rcvd.code in clean and sent.code in clean
    return (ConnectionClosedOK if ok else ConnectionClosedError)(rcvd, sent, rcvd_then_sent)


RESOLVER_ERRORS = {getattr(socket, name): name for name in dir(socket) if name.startswith("EAI_")}


# Why a certificate is not accepted: OpenSSL's numbers (X509_V_ERR_...), by the names that Node has.
CERTIFICATE_ERRORS = {
    2: "UNABLE_TO_GET_ISSUER_CERT",
    3: "UNABLE_TO_GET_CRL",
    4: "UNABLE_TO_DECRYPT_CERT_SIGNATURE",
    5: "UNABLE_TO_DECRYPT_CRL_SIGNATURE",
    6: "UNABLE_TO_DECODE_ISSUER_PUBLIC_KEY",
    7: "CERT_SIGNATURE_FAILURE",
    8: "CRL_SIGNATURE_FAILURE",
    9: "CERT_NOT_YET_VALID",
    10: "CERT_HAS_EXPIRED",
    11: "CRL_NOT_YET_VALID",
    12: "CRL_HAS_EXPIRED",
    13: "ERROR_IN_CERT_NOT_BEFORE_FIELD",
    14: "ERROR_IN_CERT_NOT_AFTER_FIELD",
    15: "ERROR_IN_CRL_LAST_UPDATE_FIELD",
    16: "ERROR_IN_CRL_NEXT_UPDATE_FIELD",
    17: "OUT_OF_MEM",
    18: "DEPTH_ZERO_SELF_SIGNED_CERT",
    19: "SELF_SIGNED_CERT_IN_CHAIN",
    20: "UNABLE_TO_GET_ISSUER_CERT_LOCALLY",
    21: "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
    22: "CERT_CHAIN_TOO_LONG",
    23: "CERT_REVOKED",
    25: "PATH_LENGTH_EXCEEDED",
    26: "INVALID_PURPOSE",
    27: "CERT_UNTRUSTED",
    28: "CERT_REJECTED",
    62: "ERR_TLS_CERT_ALTNAME_INVALID",  # of the host's name
    64: "ERR_TLS_CERT_ALTNAME_INVALID",  # of its address
    79: "INVALID_CA",
}


class NetworkError(WebSocketException, OSError):
    """The network, or the operating system, or TLS, failed. ``code`` is a name that is stable.

    That is the system's name, as in ``ECONNREFUSED`` and ``ECONNRESET``; the resolver's, as in
    ``EAI_NONAME``; one of ``CERTIFICATE_ERRORS``, as in ``CERT_HAS_EXPIRED``; OpenSSL's for what
    else goes wrong in TLS. The original error is the ``__cause__``.
    """

    @classmethod
    def wrap(cls, error: BaseException) -> NetworkError:
        """A NetworkError that tells what ``error`` tells, with ``error`` as its cause."""
        number = error.errno if isinstance(error, OSError) and error.errno else 0
        wrapped = cls(number, str(error) or type(error).__name__)
        if isinstance(error, ssl.SSLCertVerificationError):
            wrapped.code = CERTIFICATE_ERRORS.get(error.verify_code, "CERTIFICATE_VERIFY_FAILED")
        elif isinstance(error, ssl.SSLError):
            # One that OpenSSL did not report has no reason.
            wrapped.code = getattr(error, "reason", None) or "WS_ERR_TLS"
        elif isinstance(error, socket.gaierror):
            wrapped.code = RESOLVER_ERRORS.get(number, "WS_ERR_NETWORK")
        else:
            wrapped.code = errno.errorcode.get(number, "WS_ERR_NETWORK")
        wrapped.__cause__ = error
        return wrapped

    def __str__(self) -> str:
        return str(self.strerror)


class InvalidURI(WebSocketException):
    """The address is not one that a WebSocket can connect to."""

    code = "WS_ERR_INVALID_URI"

    def __init__(self, uri: str, msg: str) -> None:
        super().__init__(uri, msg)
        self.uri = uri
        self.msg = msg

    def __str__(self) -> str:
        return f"{without_userinfo(self.uri)} isn't a valid URI: {self.msg}"

    def __repr__(self) -> str:
        return f"InvalidURI({without_userinfo(self.uri)!r}, {self.msg!r})"


class InvalidProxy(WebSocketException):
    """The address is not one of a proxy that can be used."""

    code = "WS_ERR_INVALID_PROXY"

    def __init__(self, proxy: str, msg: str) -> None:
        super().__init__(proxy, msg)
        self.proxy = proxy
        self.msg = msg

    def __str__(self) -> str:
        return f"{without_userinfo(self.proxy)} isn't a valid proxy: {self.msg}"

    def __repr__(self) -> str:
        return f"InvalidProxy({without_userinfo(self.proxy)!r}, {self.msg!r})"


def without_userinfo(uri: str) -> str:
    """An address without its user name and its password, which do not belong in a log.

    It need not be a valid one: they may stand behind no scheme, or have a line feed in them.
    """
    return printable(re.sub(r"(?s)\A([A-Za-z][A-Za-z0-9+.\-]*:/+)?.*@", r"\1***@", uri), 200)


class InvalidHandshake(WebSocketException):
    """The opening handshake failed."""

    code = "WS_ERR_INVALID_HANDSHAKE"


class SecurityError(InvalidHandshake):
    """The handshake exceeds a limit that protects this side."""

    code = "WS_ERR_HANDSHAKE_TOO_LARGE"


class RequestLineTooLong(SecurityError):
    """The request line is longer than allowed."""


class StatusLineTooLong(SecurityError):
    """The status line is longer than allowed."""


class HeaderLineTooLong(SecurityError):
    """A header line, or all of them together, is longer than allowed."""


class TooManyHeaders(SecurityError):
    """There are more headers than allowed."""


class RedirectError(SecurityError):
    """There are more redirects than allowed, or one leads where it must not."""

    code = "WS_ERR_REDIRECT"


class InvalidMessage(InvalidHandshake):
    """The peer does not speak valid HTTP/1.1."""

    code = "WS_ERR_INVALID_HTTP"


class InvalidMethod(InvalidHandshake):
    """The request method is not GET."""

    code = "WS_ERR_INVALID_METHOD"

    def __init__(self, method: str) -> None:
        super().__init__(method)
        self.method = method

    def __str__(self) -> str:
        return f"the method is {printable(self.method)}; a WebSocket handshake needs GET"


class InvalidPath(InvalidHandshake):
    """The server does not serve WebSockets at the requested path."""

    code = "WS_ERR_INVALID_PATH"

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.path = path

    def __str__(self) -> str:
        return "there is no WebSocket at this path"


class InvalidStatus(InvalidHandshake):
    """The server answered the handshake with something else than 101. See ``response``."""

    code = "WS_ERR_UNEXPECTED_RESPONSE"

    def __init__(self, response: Response) -> None:
        super().__init__(response)
        self.response = response

    def __str__(self) -> str:
        return f"Unexpected server response: {self.response.status_code}"


class InvalidHeader(InvalidHandshake):
    """A header is missing or wrong.

    Args:
        name: the header's name.
        value: its value, None when it is missing.
        msg: what to say instead of the default sentence.
    """

    code = "WS_ERR_INVALID_HEADER"

    def __init__(self, name: str, value: str | None = None, msg: str | None = None) -> None:
        super().__init__(name, value)
        self.name = name
        self.value = value
        self.msg = msg

    def __str__(self) -> str:
        if self.msg is not None:
            return self.msg
        if self.value is None:
            return f"missing {self.name} header"
        if self.value == "":
            return f"empty {self.name} header"
        return f"invalid {self.name} header: {printable(self.value)}"


class InvalidHeaderFormat(InvalidHeader):
    """A header cannot be parsed."""


class InvalidHeaderValue(InvalidHeader):
    """A header can be parsed but its value is not acceptable."""


class InvalidOrigin(InvalidHeader):
    """The request's origin is not among the allowed ones."""

    code = "WS_ERR_INVALID_ORIGIN"

    def __init__(self, origin: str | None, msg: str | None = None) -> None:
        super().__init__("Origin", origin, msg)


class InvalidUpgrade(InvalidHeader):
    """The Upgrade or the Connection header does not ask for a WebSocket."""

    code = "WS_ERR_INVALID_UPGRADE"


class InvalidVersion(InvalidHeader):
    """The WebSocket version is not one that this side speaks."""

    code = "WS_ERR_INVALID_VERSION"


class NegotiationError(InvalidHandshake):
    """The two sides could not agree on a subprotocol or an extension."""

    code = "WS_ERR_NEGOTIATION"


class DuplicateParameter(NegotiationError):
    """A parameter of an extension is repeated."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name

    def __str__(self) -> str:
        return f"duplicate parameter: {self.name}"


class InvalidParameterName(NegotiationError):
    """A parameter of an extension has an unknown name."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name

    def __str__(self) -> str:
        return f"invalid parameter name: {self.name}"


class InvalidParameterValue(NegotiationError):
    """A parameter of an extension has an invalid value."""

    def __init__(self, name: str, value: str | None) -> None:
        super().__init__(name, value)
        self.name = name
        self.value = value

    def __str__(self) -> str:
        if self.value is None:
            return f"missing value for parameter {self.name}"
        return f"invalid value for parameter {self.name}: {self.value}"


class UnexpectedExtension(NegotiationError):
    """The server's 101 has an extension that the client did not offer. The server gets 1010."""

    code = "WS_ERR_UNEXPECTED_EXTENSION"
    close_code = 1010


class ProxyError(InvalidHandshake):
    """The proxy did not open the way to the server."""

    code = "WS_ERR_PROXY"


class InvalidProxyMessage(ProxyError):
    """The proxy does not answer in valid HTTP. What is wrong with it is the ``__cause__``."""

    code = "WS_ERR_INVALID_PROXY_HTTP"


class InvalidProxyStatus(ProxyError):
    """The proxy refused, for example with 407 for missing credentials. See ``response``."""

    code = "WS_ERR_UNEXPECTED_PROXY_RESPONSE"

    def __init__(self, response: Response) -> None:
        super().__init__(response)
        self.response = response

    def __str__(self) -> str:
        return f"proxy rejected connection: HTTP {self.response.status_code}"


# What a peer can do wrong on the wire after the handshake: the stable code, the close code that
# answers it (RFC 6455 section 7.4.1), and the words. Both backends raise from this one table.
WIRE_ERRORS: dict[str, tuple[int, str]] = {
    "WS_ERR_UNEXPECTED_RSV_1": (1002, "Invalid WebSocket frame: RSV1 must be clear"),
    "WS_ERR_UNEXPECTED_RSV_2_3": (1002, "Invalid WebSocket frame: RSV2 and RSV3 must be clear"),
    "WS_ERR_INVALID_OPCODE": (1002, "Invalid WebSocket frame: invalid opcode {}"),
    "WS_ERR_EXPECTED_FIN": (1002, "Invalid WebSocket frame: FIN must be set"),
    "WS_ERR_EXPECTED_MASK": (1002, "Invalid WebSocket frame: MASK must be set"),
    "WS_ERR_UNEXPECTED_MASK": (1002, "Invalid WebSocket frame: MASK must be clear"),
    "WS_ERR_INVALID_CONTROL_PAYLOAD_LENGTH": (
        1002,
        "Invalid WebSocket frame: invalid payload length {}",
    ),
    "WS_ERR_NON_MINIMAL_PAYLOAD_LENGTH": (
        1002,
        "Invalid WebSocket frame: payload length {} is not in its shortest form",
    ),
    "WS_ERR_NEGATIVE_PAYLOAD_LENGTH": (
        1002,
        "Invalid WebSocket frame: the first bit of a 64-bit payload length must be clear",
    ),
    "WS_ERR_INVALID_CLOSE_CODE": (1002, "Invalid WebSocket frame: invalid status code {}"),
    "WS_ERR_INVALID_UTF8": (1007, "Invalid WebSocket frame: invalid UTF-8 sequence"),
    "WS_ERR_INVALID_COMPRESSED_DATA": (1007, "Invalid WebSocket frame: invalid compressed data"),
}


class ProtocolError(WebSocketException):
    """The peer broke the protocol. The connection is failed with ``close_code``."""

    def __init__(self, message: str, code: str = "WS_ERR_PROTOCOL", close_code: int = 1002) -> None:
        super().__init__(message)
        self.code = code
        self.close_code = close_code


def wire_error(code: str, number: int | None = None) -> ProtocolError:
    """The ProtocolError for ``code``, one of ``WIRE_ERRORS``."""
    close_code, message = WIRE_ERRORS[code]
    return ProtocolError(message.format(number), code, close_code)


class PayloadTooBig(ProtocolError):
    """A frame or a message is larger than allowed.

    Args:
        size: the size in bytes that the header declares; of a fragmented message, its sum so far.
        max_size: the limit in bytes.
        unit: "Frame" or "Message".
    """

    def __init__(self, size: int, max_size: int, unit: str = "Frame") -> None:
        super().__init__(
            f"{unit} size of {size} exceeds maximum of {max_size}",
            "WS_ERR_UNSUPPORTED_MESSAGE_LENGTH",
            1009,
        )
        self.size = size
        self.max_size = max_size


class TooManyFragments(ProtocolError):
    """A message has more fragments than allowed; empty ones count."""

    def __init__(self, max_fragments: int) -> None:
        super().__init__(
            f"Message has more than {max_fragments} fragments",
            "WS_ERR_TOO_MANY_BUFFERED_PARTS",
            1009,
        )
        self.max_fragments = max_fragments


class ExtensionError(WebSocketException):
    """An extension could not process a message. The connection is failed with ``close_code``.

    Args:
        message: the name of the extension and what went wrong.
        close_code: 1010, unless the extension's own exception says otherwise.
    """

    code = "WS_ERR_EXTENSION"

    def __init__(self, message: str, close_code: int = 1010) -> None:
        super().__init__(message)
        self.close_code = close_code

    @classmethod
    def wrap(cls, name: str, error: object) -> ExtensionError | ProtocolError:
        """What to raise for an error that came out of an extension's session.

        Args:
            name: the name of the extension.
            error: an exception, or whatever a session passed to its callback instead of one.

        Returns:
            ``error`` if it is a ``ProtocolError``, which says all that is needed. Otherwise an
            ``ExtensionError`` with its text, its ``close_code`` if it has one that may be sent,
            and itself as the cause.
        """
        if isinstance(error, ProtocolError):
            return error
        wrapped = cls(f"{name}: {str(error) or type(error).__name__}")
        close_code = getattr(error, "close_code", None)
        if isinstance(close_code, int) and is_close_code(close_code):
            wrapped.close_code = close_code
        if isinstance(error, BaseException):
            wrapped.__cause__ = error
        return wrapped


class OpenTimeout(WebSocketException, TimeoutError):
    """The opening handshake of a client took longer than ``open_timeout``."""

    code = "WS_ERR_OPEN_TIMEOUT"


class KeepaliveTimeout(WebSocketException):
    """The peer, or the way to it, is not alive: no pong, no traffic, or no progress in writing."""

    def __init__(self, message: str, code: str, close_code: int = 1011) -> None:
        super().__init__(message)
        self.code = code
        self.close_code = close_code


class SendFailed(WebSocketException):
    """A message that was being sent in fragments could not be finished. The peer gets 1011."""

    code = "WS_ERR_SEND_FAILED"
    close_code = 1011


class WriteBufferFull(WebSocketException):
    """The peer reads so slowly that ``max_write_buffer`` bytes wait for it."""

    code = "WS_ERR_WRITE_BUFFER_FULL"
    close_code = 1008

    def __init__(self, size: int, max_size: int) -> None:
        super().__init__(f"Write buffer of {size} bytes exceeds maximum of {max_size}")
        self.size = size
        self.max_size = max_size


class InvalidState(WebSocketException):
    """The call is not possible in the connection's state."""

    code = "WS_ERR_INVALID_STATE"


class ConcurrencyError(WebSocketException, RuntimeError):
    """Two calls at once that exclude each other, as two ``recv()`` of one connection."""

    code = "WS_ERR_CONCURRENCY"
