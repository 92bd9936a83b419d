"""The addresses of WebSockets: ``ws:``, ``wss:``, ``http:``, ``https:`` and ``ws+unix:``.

The address is split here and not by ``urllib.parse``, which drops tabs and line feeds in silence
and lets through what a strict reader of the same address would refuse.
"""

from __future__ import annotations

import ipaddress
import re
import urllib.parse
from dataclasses import dataclass, field

from .exceptions import InvalidURI

__all__ = ["WebSocketURI", "parse_uri", "split_authority", "split_uri"]

_SCHEMES = {"ws": False, "http": False, "wss": True, "https": True}
_DEFAULT_PORTS = {False: 80, True: 443}

# RFC 3986 appendix B and section 3.2. A backslash is refused because browsers take it for a slash.
_URI = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]*):(?://([^/?#]*))?([^?#]*)(?:\?([^#]*))?(#.*)?")
_AUTHORITY = re.compile(r"(?:([^@\\]*)@)?(\[[^\[\]@\\]*\]|[^:\[\]@\\]*)(?::([0-9]{0,5}))?")
# What Unicode calls a line or a paragraph separator is in, too.
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
# RFC 1035 section 2.3.4, and a dot at the end.
_MAX_HOST = 254
_HOST = re.compile(r"[a-z0-9_.\-]+")


@dataclass(frozen=True)
class WebSocketURI:
    """The parts of an address.

    Args:
        secure: whether to use TLS.
        host: the host's name in ASCII, or its IP address without brackets.
        port: the port, with the scheme's default filled in.
        path: the path; "/" if the address has none.
        query: the query without its "?", empty if the address has none.
        username: the user name, decoded.
        password: the password, decoded; present if and only if there is a user name.
        unix_path: the Unix socket to connect to, instead of host and port.
    """

    secure: bool
    host: str
    port: int
    path: str
    query: str
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    unix_path: str | None = None

    @property
    def resource_name(self) -> str:
        """The path and the query, as they stand in a request line (RFC 6455 section 3)."""
        return f"{self.path}?{self.query}" if self.query else self.path

    @property
    def user_info(self) -> tuple[str, str] | None:
        """User name and password."""
        if self.username is None:
            return None
        return self.username, self.password or ""

    @property
    def host_header(self) -> str:
        """The Host header: a default port is left out, an IPv6 address stands in brackets."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.secure] else f"{host}:{self.port}"

    def __str__(self) -> str:
        """The address in its normal form, without the user name and the password."""
        if self.unix_path is not None:
            return f"ws+unix:{urllib.parse.quote(self.unix_path)}:{self.resource_name}"
        scheme = "wss" if self.secure else "ws"
        return f"{scheme}://{self.host_header}{self.resource_name}"


def parse_uri(uri: str) -> WebSocketURI:
    """Split an address into its parts.

    Args:
        uri: ``ws://`` or ``wss://`` (or ``http://`` or ``https://``, which mean the same) with
            host, port, path and query as in any URL; or ``ws+unix:/path/of/socket:/path?query``.
            The host's name and the path may be written in any script; user name, password and the
            socket's path are percent-decoded.

    Raises:
        InvalidURI: it is none of these, or has a fragment.
    """
    scheme, authority, path, query, fragment = split_uri(uri)
    if scheme != "ws+unix" and scheme not in _SCHEMES:
        raise InvalidURI(uri, _WRONG_SCHEME)
    # RFC 6455 section 3.
    if fragment is not None:
        raise InvalidURI(uri, "The URL contains a fragment identifier")
    query = _escape(query or "")
    if scheme == "ws+unix":
        socket_path, path = _split_unix_path(uri, authority, path)
        return WebSocketURI(False, "localhost", 80, path, query, unix_path=socket_path)
    secure = _SCHEMES[scheme]
    host, port, username, password = split_authority(uri, authority)
    if port is None:
        port = _DEFAULT_PORTS[secure]
    return WebSocketURI(secure, host, port, _escape(path or "/"), query, username, password)


def split_uri(uri: str) -> tuple[str, str | None, str, str | None, str | None]:
    """Split an address into scheme in lower case, authority, path, query and fragment.

    Raises:
        InvalidURI: it is none.
    """
    match = None if _CONTROLS.search(uri) or uri != uri.strip(" ") else _URI.fullmatch(uri)
    if match is None:
        raise InvalidURI(uri, "Invalid URL: it is not of the form scheme://host/path")
    scheme, authority, path, query, fragment = match.groups()
    return scheme.lower(), authority, path, query, fragment


_WRONG_SCHEME = 'The URL\'s protocol must be one of "ws:", "wss:", "http:", "https:", or "ws+unix:"'


def _escape(text: str) -> str:
    """Make an IRI's path or query a URI's (RFC 3987 section 3.1); what is ASCII stays."""
    return re.sub(r"[^!-~]+", lambda match: urllib.parse.quote(match[0]), text)


def _unescape(uri: str, text: str) -> str:
    try:
        decoded = urllib.parse.unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise InvalidURI(uri, "Invalid URL: a percent-encoded part is not UTF-8") from None
    if _CONTROLS.search(decoded):
        raise InvalidURI(uri, "Invalid URL: a percent-encoded part has control characters")
    return decoded


def _split_unix_path(uri: str, authority: str | None, path: str) -> tuple[str, str]:
    socket_path, _, path = path.partition(":")
    if not socket_path and not authority:
        raise InvalidURI(uri, "The URL's pathname is empty")
    if authority or not socket_path.startswith("/") or path[:1] not in ("", "/"):
        raise InvalidURI(uri, "Invalid URL: it is not of the form ws+unix:/path/of/socket:/path")
    # With one slash: what starts with two would not be a path when it is written out again.
    return "/" + _unescape(uri, socket_path.lstrip("/")), _escape(path or "/")


def split_authority(
    uri: str, authority: str | None
) -> tuple[str, int | None, str | None, str | None]:
    """Split what stands between // and the path, into host, port, user name and password.

    Raises:
        InvalidURI: it is not valid; the error is about ``uri``, the whole address.
    """
    parts = _AUTHORITY.fullmatch(authority or "")
    if parts is None:
        raise InvalidURI(uri, "Invalid URL: it needs a valid host and port behind //")
    userinfo, host, port = parts.groups()
    number = int(port) if port else None
    if number is not None and not 1 <= number <= 65535:
        raise InvalidURI(uri, "Invalid URL: the port must be between 1 and 65535")
    username, password = _split_userinfo(uri, userinfo) if userinfo else (None, None)
    return _ascii_host(uri, host), number, username, password


def _split_userinfo(uri: str, userinfo: str) -> tuple[str, str]:
    username, _, password = userinfo.partition(":")
    username, password = _unescape(uri, username), _unescape(uri, password)
    if ":" in username:
        # RFC 7617 section 2 has no way to send it.
        raise InvalidURI(uri, "Invalid URL: the user name has a colon")
    return username, password


def _ascii_host(uri: str, host: str) -> str:
    try:
        if host.startswith("["):
            # Not with a zone, which has a meaning on this machine only.
            if "%" in host:
                raise ValueError
            ipaddress.IPv6Address(host[1:-1])
            return host[1:-1].lower()
        if len(host) > _MAX_HOST:
            raise ValueError
        # IDNA turns some characters into "/", "@" and the like, so the result is checked.
        name = host.encode("idna").decode().lower()
    except ValueError:
        name = ""
    if not _HOST.fullmatch(name) or len(name) > _MAX_HOST:
        raise InvalidURI(uri, "Invalid URL: the host is empty or not valid")
    return name
