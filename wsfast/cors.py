"""CORS: which web sites may read the HTTP answers of a WebSocket server (the Fetch standard).

Browsers open WebSockets without asking, so that the option ``origins`` has to keep foreign pages
off. For what ``process_request`` answers they ask, and look for these headers.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from .exceptions import InvalidOrigin
from .options import check_flag, check_int
from .protocol.handshake import OriginPolicy
from .protocol.headers import Headers, is_token
from .protocol.http import Request, Response

if TYPE_CHECKING:
    import re

__all__ = ["CORS", "check_cors"]


class CORS:
    """The option ``cors`` of a server: which pages may read its HTTP answers, and send what.

    Preflight requests are answered, with 204 or with 403, before ``process_request``: they come
    without credentials, which a hook that asks for them would refuse. Answers to all requests that
    do not open a WebSocket get the headers that their origin has a right to; the origin of a page
    that is not allowed is never repeated. Without the server's option ``origins``, the same origins
    may open WebSockets.

    Args:
        origins: "*" or ``["*"]`` for all, or a list as the server's ``origins``.
        methods: the methods that pages may use. What they do is for ``process_request`` to say.
        headers: the headers of requests that pages may set, besides the harmless ones.
        credentials: whether browsers may send cookies and the like, and show pages the answer.
        max_age: for how many seconds browsers need not ask again; None for their default.

    Raises:
        TypeError, ValueError: an argument is not valid; among them "*" with ``credentials``, which
            would hand the data of a browser's user to every site.
    """

    __slots__ = ("_any", "_credentials", "_preflight", "policy")

    def __init__(
        self,
        origins: str | Iterable[str | re.Pattern[str] | None] | OriginPolicy,
        methods: Iterable[str] = ("GET",),
        headers: Iterable[str] = (),
        credentials: bool = False,
        max_age: int | None = None,
    ) -> None:
        if origins is None:
            raise TypeError('origins of CORS must be a list, or "*"')
        if not isinstance(origins, (str, OriginPolicy)) and isinstance(origins, Iterable):
            origins = list(origins)
        self._any = origins in ("*", ["*"])
        if not isinstance(origins, OriginPolicy):
            origins = OriginPolicy(None if self._any else origins)
        self.policy = origins
        check_flag("credentials", credentials)
        self._credentials = credentials
        lists = {
            "Access-Control-Allow-Methods": tokens("methods", methods),
            "Access-Control-Allow-Headers": tokens("headers", headers),
        }
        if credentials and (self._any or any("*" in names for names in lists.values())):
            raise ValueError('"*" and credentials exclude each other; list what is allowed')
        self._preflight = {name: ", ".join(names) for name, names in lists.items() if names}
        if max_age is not None:
            check_int("max_age", max_age, 0)
            self._preflight["Access-Control-Max-Age"] = str(max_age)

    def preflight(self, request: Request) -> Response | None:
        """The answer to a preflight request; None if it is not one.

        Raises:
            InvalidOrigin: 403; the page is of an origin that is not allowed.
        """
        headers = request.headers
        if request.method != "OPTIONS" or "Access-Control-Request-Method" not in headers:
            return None
        if self._allowed(headers) is None:
            raise InvalidOrigin(headers.get_only("Origin"))
        response = Response(204, "No Content", Headers(self._preflight))
        response.headers["Vary"] = "Access-Control-Request-Method, Access-Control-Request-Headers"
        return response

    def apply(self, response: Response, request: Request) -> Response:
        """A response with the headers for the origin of its request, which it may have already."""
        headers = response.headers.copy()
        if not self._any:
            # For caches: to another origin it would be another answer, even if this one has none.
            headers["Vary"] = "Origin"
        allowed = self._allowed(request.headers)
        if allowed is not None and "Access-Control-Allow-Origin" not in headers:
            headers["Access-Control-Allow-Origin"] = allowed
            if self._credentials:
                headers["Access-Control-Allow-Credentials"] = "true"
        return Response(response.status_code, response.reason_phrase, headers, response.body)

    def _allowed(self, headers: Headers) -> str | None:
        """The value of Access-Control-Allow-Origin, None if there must be none."""
        origin = headers.get_only("Origin")
        if origin is None or not self.policy.allows(origin):
            return None
        return "*" if self._any else origin


def check_cors(cors: Any, origins: OriginPolicy | None) -> CORS | None:
    """The option ``cors``: None or False, a `CORS`, or True for one with the server's origins."""
    if cors is None or cors is False or isinstance(cors, CORS):
        return cors or None
    if cors is not True:
        raise TypeError(f"cors must be a CORS or a bool, not {cors!r}")
    if origins is None:
        raise ValueError("cors=True needs origins; or give a CORS")
    return CORS(origins)


def tokens(name: str, values: Any) -> list[str]:
    """A list of methods or of names of headers."""
    if isinstance(values, (str, bytes)) or not isinstance(values, Iterable):
        raise TypeError(f"{name} of CORS must be a list, not {values!r}")
    names = list(values)
    for value in names:
        if not isinstance(value, str):
            raise TypeError(f"one of the {name} of CORS must be a str, not {value!r}")
        if not is_token(value):
            raise ValueError(f"one of the {name} of CORS is not a token: {value!r}")
    return names
