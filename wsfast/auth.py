"""HTTP Basic authentication (RFC 7617) in front of a WebSocket server."""

from __future__ import annotations

import hmac
import inspect
import secrets
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, TypeAlias, cast

from .exceptions import InvalidHeader
from .protocol.handshake import text_response
from .protocol.headers import build_www_authenticate_basic, parse_authorization_basic
from .protocol.http import Request, Response

__all__ = ["basic_auth"]

Credentials: TypeAlias = tuple[str, str]
CheckCredentials: TypeAlias = Callable[[str, str], bool | Awaitable[bool]]
ProcessRequest: TypeAlias = Callable[[Any, Request], Response | Awaitable[Response | None] | None]


def basic_auth(
    realm: str = "",
    credentials: Credentials | Iterable[Credentials] | None = None,
    check_credentials: CheckCredentials | None = None,
) -> ProcessRequest:
    """Make a ``process_request`` that lets in who knows a user name and its password.

    A connection that is let in has the user name as its attribute ``username``; any other request
    gets 401::

        serve(handler, "", 443, ssl=..., process_request=basic_auth("chat", ("user", "password")))

    Args:
        realm: what the credentials are for; browsers may show it.
        credentials: a pair of user name and password, or several.
        check_credentials: a function or a coroutine function, called with user name and password,
            that returns whether they are right. It should compare with ``hmac.compare_digest``.

    Returns:
        A function, or a coroutine function if ``check_credentials`` is one.

    Raises:
        TypeError: neither or both of the last two are given, or one is not what it should be.
        ValueError: the realm has control characters, or a user name has a colon.
    """
    if (credentials is None) == (check_credentials is None):
        raise TypeError("provide either credentials or check_credentials")
    challenge = {"WWW-Authenticate": build_www_authenticate_basic(realm)}
    check = _compare_with(credentials) if check_credentials is None else check_credentials

    def read(request: Request) -> tuple[str, str]:
        values = request.headers.get_all("Authorization")
        if len(values) != 1:
            raise _Refused("Invalid credentials" if values else "Missing credentials")
        try:
            username, password = parse_authorization_basic(values[0])
        except InvalidHeader:
            raise _Refused("Unsupported credentials") from None
        try:
            return username.decode(), password.decode()
        except UnicodeDecodeError:
            raise _Refused("Invalid credentials") from None

    def decide(ws: Any, username: str, right: object) -> None:
        if not isinstance(right, bool):
            # Above all a coroutine, which is true and would let everybody in.
            raise TypeError(f"check_credentials must return a bool, not {right!r}")
        if not right:
            raise _Refused("Invalid credentials")
        ws.username = username

    def process_request(ws: Any, request: Request) -> Response | None:
        try:
            username, password = read(request)
            decide(ws, username, check(username, password))
        except _Refused as refused:
            return text_response(401, f"{refused}\n", challenge)
        return None

    async def process_request_async(ws: Any, request: Request) -> Response | None:
        try:
            username, password = read(request)
            decide(ws, username, await cast(Awaitable[bool], check(username, password)))
        except _Refused as refused:
            return text_response(401, f"{refused}\n", challenge)
        return None

    return process_request_async if inspect.iscoroutinefunction(check) else process_request


class _Refused(Exception):
    """The request does not have the right credentials."""


def _compare_with(credentials: object) -> Callable[[str, str], bool]:
    """A ``check_credentials`` that takes as long for a user that it does not know."""
    pairs = [credentials] if _is_pair(credentials) else credentials
    if isinstance(pairs, (str, bytes)) or not isinstance(pairs, Iterable):
        raise TypeError(f"invalid credentials argument: {credentials!r}")
    passwords: dict[str, bytes] = {}
    for pair in pairs:
        if not _is_pair(pair):
            raise TypeError(f"invalid credentials argument: {credentials!r}")
        username, password = pair
        if ":" in username:
            raise ValueError("the user name of Basic credentials cannot have a colon")
        passwords[username] = password.encode()
    nobody = secrets.token_bytes(32)

    def check(username: str, password: str) -> bool:
        # As bytes, because compare_digest() raises for a str that is not ASCII.
        expected = passwords.get(username, nobody)
        return hmac.compare_digest(password.encode(), expected) and expected is not nobody

    return check


def _is_pair(value: object) -> bool:
    return (
        isinstance(value, tuple)
        and len(value) == 2
        and all(isinstance(item, str) for item in value)
    )
