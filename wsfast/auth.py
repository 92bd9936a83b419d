"""HTTP authentication in front of a WebSocket server: Basic (RFC 7617) and Bearer (RFC 6750)."""

from __future__ import annotations

import hmac
import inspect
import secrets
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, NamedTuple, TypeAlias, cast

from .exceptions import InvalidHeader
from .protocol.handshake import text_response
from .protocol.headers import (
    Bearer,
    build_www_authenticate_basic,
    build_www_authenticate_bearer,
    parse_authorization_basic,
    parse_authorization_bearer,
)
from .protocol.http import Request, Response

__all__ = ["Bearer", "basic_auth", "bearer_auth"]

Credentials: TypeAlias = tuple[str, str]
CheckCredentials: TypeAlias = Callable[[str, str], bool | Awaitable[bool]]
CheckToken: TypeAlias = Callable[[str], bool | Awaitable[bool]]
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
    challenge = build_www_authenticate_basic(realm)
    check = _compare_with(credentials) if check_credentials is None else check_credentials

    def read(header: str) -> tuple[str, ...]:
        username, password = parse_authorization_basic(header)
        try:
            return username.decode(), password.decode()
        except UnicodeDecodeError:
            raise _Refused("Invalid credentials", challenge) from None

    return _process_request(
        _Scheme("username", "check_credentials", challenge, challenge, read, check)
    )


def bearer_auth(
    realm: str = "",
    tokens: str | Iterable[str] | None = None,
    check_token: CheckToken | None = None,
) -> ProcessRequest:
    """Make a ``process_request`` that lets in who has a token (RFC 6750), as `Bearer` sends it.

    A connection that is let in has the token as its attribute ``token``; any other request gets
    401. Browsers do not let a page set the header: there, use a cookie, or a first message.

    Args:
        realm: what the tokens are for.
        tokens: a token, or several.
        check_token: a function or a coroutine function, called with the token, that returns whether
            it is right. It should compare with ``hmac.compare_digest``.

    Returns:
        A function, or a coroutine function if ``check_token`` is one.

    Raises:
        TypeError: neither or both of the last two are given, or one is not what it should be.
        ValueError: the realm has control characters, or a token is none that can be sent.
    """
    if (tokens is None) == (check_token is None):
        raise TypeError("provide either tokens or check_token")
    challenge = build_www_authenticate_bearer(realm)
    check = _find_in(tokens) if check_token is None else check_token

    def read(header: str) -> tuple[str, ...]:
        return (parse_authorization_bearer(header),)

    # RFC 6750 section 3.1: only who sent a token is told that it is wrong.
    refusal = f'{challenge}, error="invalid_token"'
    return _process_request(_Scheme("token", "check_token", challenge, refusal, read, check))


class _Scheme(NamedTuple):
    """What differs between Basic and Bearer."""

    attribute: str  # of the connection: the first of the credentials
    check_name: str
    challenge: str
    refusal: str  # the challenge for credentials that are wrong
    read: Callable[[str], tuple[str, ...]]
    check: Callable[..., bool | Awaitable[bool]]


def _process_request(scheme: _Scheme) -> ProcessRequest:
    """The hook for a scheme."""

    def read(request: Request) -> tuple[str, ...]:
        values = request.headers.get_all("Authorization")
        if len(values) != 1:
            text = "Invalid credentials" if values else "Missing credentials"
            raise _Refused(text, scheme.challenge)
        try:
            return scheme.read(values[0])
        except InvalidHeader:
            raise _Refused("Unsupported credentials", scheme.challenge) from None

    def decide(ws: Any, credentials: tuple[str, ...], right: object) -> None:
        if not isinstance(right, bool):
            # Above all a coroutine, which is true and would let everybody in.
            raise TypeError(f"{scheme.check_name} must return a bool, not {right!r}")
        if not right:
            raise _Refused("Invalid credentials", scheme.refusal)
        setattr(ws, scheme.attribute, credentials[0])

    def process_request(ws: Any, request: Request) -> Response | None:
        try:
            credentials = read(request)
            decide(ws, credentials, scheme.check(*credentials))
        except _Refused as refused:
            return refused.response
        return None

    async def process_request_async(ws: Any, request: Request) -> Response | None:
        try:
            credentials = read(request)
            decide(ws, credentials, await cast(Awaitable[bool], scheme.check(*credentials)))
        except _Refused as refused:
            return refused.response
        return None

    return process_request_async if inspect.iscoroutinefunction(scheme.check) else process_request


class _Refused(Exception):
    """The request does not have the right credentials."""

    def __init__(self, text: str, challenge: str) -> None:
        super().__init__(text)
        self.response = text_response(401, f"{text}\n", {"WWW-Authenticate": challenge})


def _compare_with(credentials: object) -> Callable[[str, str], bool]:
    """A ``check_credentials`` that takes as long for a user that it does not know."""
    pairs = [credentials] if _is_pair(credentials) else credentials
    if isinstance(pairs, (str, bytes)) or not isinstance(pairs, Iterable):
        raise _not_credentials()
    passwords: dict[str, bytes] = {}
    for pair in pairs:
        if not _is_pair(pair):
            raise _not_credentials()
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


def _not_credentials() -> TypeError:
    """The error for what is no pair. It does not show it: there may be a password in it."""
    return TypeError("invalid credentials argument: it must be a pair of str, or several")


def _find_in(tokens: object) -> CheckToken:
    """A ``check_token`` that takes as long for each."""
    values = [tokens] if isinstance(tokens, str) else tokens
    if isinstance(values, bytes) or not isinstance(values, Iterable):
        raise TypeError("tokens must be a str, or several")
    known = []
    for value in values:
        # Without its value, which is a secret.
        if not isinstance(value, str):
            raise TypeError(f"a token must be a str, not {type(value).__name__}")
        known.append(Bearer(value).token.encode())

    def check(token: str) -> bool:
        given = token.encode()
        found = False
        for value in known:  # all of them
            found |= hmac.compare_digest(given, value)
        return found

    return check


def _is_pair(value: object) -> bool:
    return (
        isinstance(value, tuple)
        and len(value) == 2
        and all(isinstance(item, str) for item in value)
    )
