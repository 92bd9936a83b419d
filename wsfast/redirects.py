"""Where a redirect leads, and what is not taken along (RFC 9110 section 15.4).

Credentials belong to the host that they were given for: by the user with the first address, or by
the last Location. What was dropped once does not come back on the way.
"""

from __future__ import annotations

import re
import urllib.parse
from typing import NamedTuple

from .exceptions import InvalidURI, RedirectError
from .protocol.headers import Headers
from .protocol.http import Response
from .uri import WebSocketURI, parse_uri

__all__ = ["Target", "location", "next_target"]

# They tell who the user is.
CREDENTIALS = ("Authorization", "Cookie", "Proxy-Authorization")

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*:")


class Target(NamedTuple):
    """What a request is made for and with.

    Args:
        uri: the address.
        headers: the additional headers.
        auth: the user name and password, or other credentials, that the user gave.
    """

    uri: WebSocketURI
    headers: Headers
    auth: object


def location(response: Response) -> str | None:
    """Where a response leads to; None if nowhere."""
    if 300 <= response.status_code <= 399:
        return response.headers.get_only("Location")
    return None


def next_target(
    first: Target, current: Target, to: str, *, keep: bool, allow_insecure: bool
) -> Target:
    """What to request after a redirect.

    Args:
        first: what the user asked for.
        current: what was redirected; its headers have the Authorization that was sent.
        to: the Location header.
        keep: whether a listener decides what to take along: nothing is dropped.
        allow_insecure: whether to go from wss to ws.

    Raises:
        InvalidURI: it does not lead to the address of a WebSocket.
        RedirectError: it leads from wss to ws.
    """
    uri = resolve(current.uri, to)
    before = first.uri, current.uri
    downgrade = not uri.secure and any(known.secure for known in before)
    if downgrade and not allow_insecure:
        raise RedirectError(f"cannot follow redirect to non-secure URI {uri}")
    other = any(place(known) != place(uri) for known in before)
    if keep or not (other or downgrade):
        return Target(uri, current.headers, current.auth)
    headers = current.headers.copy()
    for name in (*CREDENTIALS, "Host") if other else CREDENTIALS:
        if name in headers:
            del headers[name]
    return Target(uri, headers, None)


def place(uri: WebSocketURI) -> tuple[str | None, str]:
    """Tells one host and port, or one Unix socket, from another."""
    return uri.unix_path, uri.host_header


def resolve(base: WebSocketURI, to: str) -> WebSocketURI:
    """The address that a Location is, seen from another address (RFC 3986 section 5)."""
    if _SCHEME.match(to):
        return parse_uri(to)
    if not to or re.search(r"[\x00-\x20\x7f\\]", to):
        # The resolver would drop some of them in silence.
        raise InvalidURI(to, "Invalid URL: it has control characters, blanks or a backslash")
    if base.unix_path is None:
        return parse_uri(urllib.parse.urljoin(str(base), to))
    if to.startswith("//"):
        raise InvalidURI(to, "Invalid URL: it has a host and no scheme")
    # The path of a Unix socket is no part of what is resolved.
    path = urllib.parse.urljoin(f"ws://localhost{base.resource_name}", to)
    return parse_uri(str(base).removesuffix(base.resource_name) + path[len("ws://localhost") :])
