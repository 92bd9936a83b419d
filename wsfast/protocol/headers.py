"""HTTP headers: the multi-dict, and the values that a WebSocket handshake reads and writes.

Everything received was decoded as ISO-8859-1, so that no byte is lost and none grows a meaning it
does not have on the wire. Only SP and HTAB are blanks here: ``str.strip()`` would take more.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from typing import Any

from ..exceptions import InvalidHeaderFormat, printable
from ..typing import HeadersLike
from .scanner import TOKEN, Scanner

__all__ = [
    "Bearer",
    "Headers",
    "MultipleValuesError",
    "build_authorization_basic",
    "build_quoted_string",
    "build_www_authenticate_basic",
    "build_www_authenticate_bearer",
    "check_header",
    "is_token",
    "parse_authorization_basic",
    "parse_authorization_bearer",
    "parse_subprotocols",
    "parse_token_list",
]

# RFC 9110 section 5.5: visible characters, blanks, and the upper half of ISO-8859-1.
_FIELD_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
# RFC 7617 section 2: the scheme is case-insensitive, the credentials are one token68.
_BASIC = re.compile(r"[Bb][Aa][Ss][Ii][Cc] +([A-Za-z0-9+/]+={0,2})")
# RFC 6750 section 2.1.
_TOKEN68 = re.compile(r"[A-Za-z0-9\-._~+/]+=*")
_BEARER = re.compile(rf"[Bb][Ee][Aa][Rr][Ee][Rr] +({_TOKEN68.pattern})")
_CONTROLS = re.compile(r"[\x00-\x1f\x7f]")
# What opening handshakes have, as it is received, with how it is shown and looked up: one look here
# instead of decoding.
_NAMES = {
    name.encode(): (name, name.lower())
    for name in (
        "Accept-Encoding",
        "Accept-Language",
        "Cache-Control",
        "Connection",
        "Cookie",
        "Host",
        "Origin",
        "Pragma",
        "Sec-WebSocket-Extensions",
        "Sec-WebSocket-Key",
        "Sec-WebSocket-Protocol",
        "Sec-WebSocket-Version",
        "Upgrade",
        "User-Agent",
    )
}


# Their values do not belong in a log: a token from a file often has its line feed.
_SECRET = {"authorization", "cookie", "proxy-authorization", "set-cookie"}


def is_token(text: str) -> bool:
    """Tell whether ``text`` is a token, as the names of headers and subprotocols must be."""
    return TOKEN.fullmatch(text) is not None


def check_header(name: str, value: str) -> None:
    """Refuse a header that cannot be sent, or that would be read as something else.

    Raises:
        TypeError: the name or the value is not a ``str``.
        ValueError: the name is not a token, or the value has control characters (HTAB is fine),
            which could start a header of their own, or characters outside ISO-8859-1. This is a
            mistake on this side, and so it is not an ``InvalidHandshake``.
    """
    if not isinstance(name, str):
        raise TypeError(f"the name of a header must be a str, not {name!r}")
    if not isinstance(value, str):
        raise TypeError(f"the value of the {name} header must be a str, not {type(value).__name__}")
    if not TOKEN.fullmatch(name):
        raise ValueError(f"invalid header name: {name!r}")
    if not _FIELD_VALUE.fullmatch(value):
        shown = "***" if name.lower() in _SECRET else printable(value)
        raise ValueError(f"invalid {name} header: {shown}")


class MultipleValuesError(LookupError):
    """``headers[name]`` found several headers of this name; ``headers.get_all(name)`` has them."""


class Headers(MutableMapping[str, str]):
    """The headers of a request or a response: a dict that ignores case and knows repeated headers.

    ``headers[name] = value`` adds a header and leaves those of the same name; to replace them, do
    ``del headers[name]`` before. ``headers[name]`` raises ``KeyError`` if there is no such header
    and ``MultipleValuesError`` if there are several. Iterating gives the names in lower case, each
    once; `raw_items` gives what is on the wire.

    Args:
        headers: what to start with: another ``Headers``, a mapping, or pairs of name and value.

    Raises:
        TypeError, ValueError: as `check_header`, here and wherever a header is added.
    """

    __slots__ = ("_index", "_items")

    def __init__(self, *headers: HeadersLike, **named: str) -> None:
        self._items: list[tuple[str, str]] = []
        # By name in lower case; a list only where a name repeats.
        self._index: dict[str, str | list[str]] = {}
        if headers or named:
            self.update(*headers, **named)

    def add_received(self, name: bytes, value: bytes) -> None:
        """Add a header that was received, and checked; there may be blanks around the value."""
        shown, key = _NAMES.get(name) or (name.decode(), name.lower().decode())
        text = value.strip(b" \t").decode("latin1")
        self._items.append((shown, text))
        if key in self._index:
            self._repeat(key, text)
        else:
            self._index[key] = text

    def _repeat(self, key: str, value: str) -> None:
        """Index a further header of the same name."""
        values = self._index[key]
        if isinstance(values, str):
            self._index[key] = [values, value]
        else:
            values.append(value)

    def __str__(self) -> str:
        return "".join([f"{name}: {value}\r\n" for name, value in self._items]) + "\r\n"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._items!r})"

    def serialize(self) -> bytes:
        """The header lines and the blank line behind them."""
        return str(self).encode("iso-8859-1")

    def copy(self) -> Headers:
        """Headers of their own with the same content."""
        headers = self.__class__.__new__(self.__class__)
        headers._items = self._items.copy()
        headers._index = {
            key: values if isinstance(values, str) else values.copy()
            for key, values in self._index.items()
        }
        return headers

    # Mapping

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.lower() in self._index

    def __iter__(self) -> Iterator[str]:
        return iter(self._index)

    def __len__(self) -> int:
        return len(self._index)

    def __getitem__(self, name: str) -> str:
        values = self._index[name.lower()]
        if isinstance(values, str):
            return values
        raise MultipleValuesError(name)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Headers):
            return NotImplemented
        return self._index == other._index

    # Changes

    def __setitem__(self, name: str, value: str) -> None:
        check_header(name, value)
        self._items.append((name, value))
        key = name.lower()
        if key in self._index:
            self._repeat(key, value)
        else:
            self._index[key] = value

    def __delitem__(self, name: str) -> None:
        name = name.lower()
        del self._index[name]
        self._items = [item for item in self._items if item[0].lower() != name]

    def clear(self) -> None:
        """Remove all headers."""
        self._items = []
        self._index = {}

    # MutableMapping takes one mapping and would lose what repeats in it.
    def update(self, *headers: HeadersLike, **named: str) -> None:  # type: ignore[override]
        """Add all headers of another ``Headers``, of a mapping, or of pairs of name and value."""
        for source in (*headers, named):
            items: Iterable[tuple[str, str]]
            if isinstance(source, Headers):
                items = source.raw_items()
            elif isinstance(source, Mapping):
                items = source.items()
            else:
                items = source
            for name, value in items:
                self[name] = value

    # Repeated headers

    def get_all(self, name: str) -> list[str]:
        """The values of all headers of this name, in their order; none gives an empty list."""
        values = self._index.get(name.lower())
        if values is None:
            return []
        return [values] if isinstance(values, str) else values.copy()

    def get_only(self, name: str) -> str | None:
        """The value of the only header of this name; None if there is none, or several."""
        values = self._index.get(name.lower())
        return values if isinstance(values, str) else None

    def raw_items(self) -> Iterator[tuple[str, str]]:
        """All headers in their order, with the names as they were written."""
        return iter(self._items)

    def __reduce__(self) -> tuple[Any, ...]:
        return Headers, (self._items,)


def parse_token_list(name: str, values: Iterable[str]) -> list[str]:
    """Read headers that list tokens, as Connection does (RFC 9110 section 5.6.1).

    Args:
        name: the header's name, for the error.
        values: the values of all headers of this name.

    Returns:
        The tokens in lower case, without empty elements.

    Raises:
        InvalidHeaderFormat: an element is not a token.
    """
    tokens = []
    for value in values:
        for element in value.split(","):
            token = element.strip(" \t")
            if TOKEN.fullmatch(token):
                tokens.append(token.lower())
            elif token:
                raise InvalidHeaderFormat(name, value)
    return tokens


def parse_subprotocols(values: Iterable[str]) -> list[str]:
    """Read the Sec-WebSocket-Protocol headers of a request (RFC 6455 section 11.3.4).

    Args:
        values: the values of all headers of this name; they count as one list.

    Returns:
        The names in the order of the client's preference.

    Raises:
        InvalidHeaderFormat: the list is not made of tokens with a comma between (an empty element
            is an error here), or a name is repeated. The message says where.
    """
    scanner = Scanner("Sec-WebSocket-Protocol", ", ".join(values))
    names: dict[str, None] = {}
    separator = ","
    while separator:
        name = scanner.token()
        if name in names:
            raise scanner.invalid(f'The "{name}" subprotocol is duplicated')
        names[name] = None
        separator = scanner.separator(",")
    return list(names)


def build_quoted_string(text: str) -> str:
    r"""Put ``text`` in quotes, with ``"`` and ``\`` escaped (RFC 9110 section 5.6.4).

    Raises:
        ValueError: ``text`` has control characters or characters outside ISO-8859-1.
    """
    if not _FIELD_VALUE.fullmatch(text):
        raise ValueError(f"a quoted string cannot hold {text!r}")
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def build_www_authenticate_basic(realm: str) -> str:
    """The WWW-Authenticate header that asks for Basic credentials in UTF-8 (RFC 7617)."""
    return f'Basic realm={build_quoted_string(realm)}, charset="UTF-8"'


def build_authorization_basic(username: str, password: str) -> str:
    """The Authorization header for a user name and a password (RFC 7617 section 2).

    Raises:
        ValueError: the user name has a colon, or one of them has control characters.
    """
    if ":" in username:
        raise ValueError("the user name of Basic credentials cannot have a colon")
    if _CONTROLS.search(username) or _CONTROLS.search(password):
        raise ValueError("Basic credentials cannot have control characters")
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()


def parse_authorization_basic(header: str) -> tuple[bytes, bytes]:
    """Read an Authorization header with Basic credentials.

    Returns:
        User name and password as bytes, which is what can be compared in constant time. Clients
        should, but need not, encode them in UTF-8.

    Raises:
        InvalidHeaderFormat: it is not of the Basic scheme, or cannot be decoded. The message does
            not repeat the header, which may be a secret of another scheme.
    """
    match = _BASIC.fullmatch(header)
    if match is not None:
        try:
            credentials = base64.b64decode(match[1], validate=True)
        except binascii.Error:
            pass
        else:
            username, colon, password = credentials.partition(b":")
            if colon:
                return username, password
    raise InvalidHeaderFormat("Authorization", None, "invalid Authorization header")


class Bearer:
    """A token to authenticate with (RFC 6750): for the option ``auth`` of a client.

    Args:
        token: ASCII letters, digits and ``-._~+/``, and ``=`` at the end.

    Raises:
        TypeError, ValueError: the token cannot be sent. The text does not show it.
    """

    __slots__ = ("token",)

    def __init__(self, token: str) -> None:
        if not isinstance(token, str):
            raise TypeError(f"a token must be a str, not {type(token).__name__}")
        if not _TOKEN68.fullmatch(token):
            raise ValueError("a token has only letters, digits and -._~+/, and = at the end")
        self.token = token

    def __repr__(self) -> str:
        return "Bearer(...)"


def build_www_authenticate_bearer(realm: str) -> str:
    """The WWW-Authenticate header that asks for a token (RFC 6750 section 3)."""
    return f"Bearer realm={build_quoted_string(realm)}"


def parse_authorization_bearer(header: str) -> str:
    """Read an Authorization header with a token.

    Raises:
        InvalidHeaderFormat: it is not of the Bearer scheme. The message does not repeat it.
    """
    match = _BEARER.fullmatch(header)
    if match is None:
        raise InvalidHeaderFormat("Authorization", None, "invalid Authorization header")
    return match[1]
