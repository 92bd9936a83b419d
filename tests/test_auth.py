import asyncio
import functools
import inspect
from types import SimpleNamespace

import pytest
from peers import echo, exchange, request, uri_of

import wsfast
from wsfast.auth import Bearer, basic_auth, bearer_auth
from wsfast.protocol.headers import Headers, build_authorization_basic
from wsfast.protocol.http import Request


def attempt(hook, *authorizations, attribute="username"):
    """What a server does with the hook: the response, if any, and who is let in."""
    ws = SimpleNamespace()
    request = Request("/", Headers([("Authorization", value) for value in authorizations]))
    response = hook(ws, request)
    if inspect.isawaitable(response):
        response = asyncio.run(_wait_for(response))
    return response, getattr(ws, attribute, None)


async def _wait_for(awaitable):
    return await awaitable


def right(username, password):
    return (username, password) == ("us\xe9r", "p\u20ac:ss")


async def right_async(username, password):
    await asyncio.sleep(0)
    return right(username, password)


HOOKS = {
    "a pair": basic_auth("chat", ("us\xe9r", "p\u20ac:ss")),
    "pairs": basic_auth("chat", [("other", "x"), ("us\xe9r", "p\u20ac:ss")]),
    "pairs of an iterator": basic_auth("chat", iter([("us\xe9r", "p\u20ac:ss")])),
    "a function": basic_auth("chat", check_credentials=right),
    "a coroutine function": basic_auth("chat", check_credentials=right_async),
    "a partial": basic_auth("chat", check_credentials=functools.partial(right_async)),
}

hooks = pytest.mark.parametrize("hook", HOOKS.values(), ids=HOOKS)


@hooks
def test_who_has_the_credentials_is_let_in_by_name(hook):
    """M14, M19"""
    authorization = build_authorization_basic("us\xe9r", "p\u20ac:ss")
    assert attempt(hook, authorization) == (None, "us\xe9r")


@hooks
@pytest.mark.parametrize(
    ("username", "password"),
    [
        ("us\xe9r", "wrong"),
        ("us\xe9r", ""),
        ("unknown", "p\u20ac:ss"),
        ("", ""),
        ("us\xe9r", "\xe9"),
    ],
)
def test_1_10_wrong_credentials_get_401_and_are_not_repeated(hook, username, password):
    """M14"""
    authorization = build_authorization_basic(username, password)
    response, name = attempt(hook, authorization)
    assert name is None
    assert response.status_code == 401
    assert response.body == b"Invalid credentials\n"
    assert authorization.encode().removeprefix(b"Basic ") not in response.serialize()


@hooks
@pytest.mark.parametrize(
    ("authorizations", "body"),
    [
        ([], b"Missing credentials\n"),
        (["Bearer secret"], b"Unsupported credentials\n"),
        (["Basic !"], b"Unsupported credentials\n"),
        (["Basic /zr+"], b"Invalid credentials\n"),  # not UTF-8
        ([build_authorization_basic("us\xe9r", "p\u20ac:ss")] * 2, b"Invalid credentials\n"),
    ],
)
def test_1_10_anything_else_gets_401_with_a_challenge(hook, authorizations, body):
    response, name = attempt(hook, *authorizations)
    assert name is None
    assert response.serialize() == (
        b"HTTP/1.1 401 Unauthorized\r\n"
        b'WWW-Authenticate: Basic realm="chat", charset="UTF-8"\r\n'
        b"Content-Type: text/plain; charset=utf-8\r\n"
        b"Connection: close\r\n"
        b"Content-Length: %d\r\n"
        b"\r\n" % len(body) + body
    )


def test_the_hook_is_a_coroutine_function_if_the_check_is_one():
    assert inspect.iscoroutinefunction(HOOKS["a coroutine function"])
    assert inspect.iscoroutinefunction(HOOKS["a partial"])
    assert not inspect.iscoroutinefunction(HOOKS["a function"])
    assert not inspect.iscoroutinefunction(HOOKS["a pair"])


@pytest.mark.parametrize("answer", [1, "yes", None, 0])
def test_1_10_an_answer_that_is_not_a_bool_lets_nobody_in(answer):
    hook = basic_auth(check_credentials=lambda username, password: answer)
    with pytest.raises(TypeError, match="check_credentials must return a bool"):
        attempt(hook, build_authorization_basic("a", "b"))


def test_1_10_a_coroutine_is_no_answer():
    coroutine = right_async("a", "b")
    hook = basic_auth(check_credentials=lambda username, password: coroutine)
    with pytest.raises(TypeError, match="check_credentials must return a bool"):
        attempt(hook, build_authorization_basic("a", "b"))
    coroutine.close()


def test_1_10_an_unknown_user_is_compared_too(monkeypatch):
    """M14"""
    compared = []

    def compare_digest(a, b):
        compared.append((type(a), type(b)))
        return a == b

    monkeypatch.setattr("hmac.compare_digest", compare_digest)
    attempt(basic_auth("", ("a", "b")), build_authorization_basic("a", "x"))
    attempt(basic_auth("", ("a", "b")), build_authorization_basic("unknown", "x"))
    assert compared == [(bytes, bytes)] * 2


def test_1_10_the_realm_is_quoted():
    response, _ = attempt(basic_auth('a"b\\', ("a", "b")))
    assert response.headers["WWW-Authenticate"] == r'Basic realm="a\"b\\", charset="UTF-8"'


# Without what was given, in which there may be a password.
NOT_PAIRS = "invalid credentials argument: it must be a pair of str, or several"


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({}, TypeError, "provide either credentials or check_credentials"),
        (
            {"credentials": ("a", "b"), "check_credentials": right},
            TypeError,
            "provide either credentials or check_credentials",
        ),
        ({"credentials": 42}, TypeError, NOT_PAIRS),
        ({"credentials": "ab"}, TypeError, NOT_PAIRS),
        ({"credentials": ("a", 5)}, TypeError, NOT_PAIRS),
        ({"credentials": [("a", "b"), "cd"]}, TypeError, NOT_PAIRS),
        ({"credentials": ("a:b", "c")}, ValueError, "cannot have a colon"),
        ({"credentials": ("a", "b"), "realm": "a\r\nb"}, ValueError, "cannot hold"),
    ],
)
def test_wrong_arguments_are_refused_at_once(arguments, error, message):
    with pytest.raises(error) as caught:
        basic_auth(**arguments)
    assert message in str(caught.value)


# --- Bearer -----------------------------------------------------------------------------------

TOKEN = "mF_9.B5f-4.1JqM~+/=="


def right_token(token):
    return token == TOKEN


async def right_token_async(token):
    await asyncio.sleep(0)
    return right_token(token)


BEARER_HOOKS = {
    "a token": bearer_auth("chat", TOKEN),
    "tokens": bearer_auth("chat", ["other", TOKEN, "another"]),
    "tokens of an iterator": bearer_auth("chat", iter([TOKEN])),
    "a function": bearer_auth("chat", check_token=right_token),
    "a coroutine function": bearer_auth("chat", check_token=right_token_async),
}

bearer_hooks = pytest.mark.parametrize("hook", BEARER_HOOKS.values(), ids=BEARER_HOOKS)


@bearer_hooks
@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER "])
def test_who_has_the_token_is_let_in(hook, scheme):
    """M14, M19"""
    assert attempt(hook, f"{scheme} {TOKEN}", attribute="token") == (None, TOKEN)


@bearer_hooks
@pytest.mark.parametrize("token", ["wrong", TOKEN[:-1], TOKEN + "=", TOKEN.lower()])
def test_1_10_a_wrong_token_gets_401_and_is_not_repeated(hook, token):
    """M14: RFC 6750 section 3."""
    response, let_in = attempt(hook, f"Bearer {token}", attribute="token")
    assert let_in is None
    assert response.serialize() == (
        b"HTTP/1.1 401 Unauthorized\r\n"
        b'WWW-Authenticate: Bearer realm="chat", error="invalid_token"\r\n'
        b"Content-Type: text/plain; charset=utf-8\r\n"
        b"Connection: close\r\n"
        b"Content-Length: 20\r\n"
        b"\r\n"
        b"Invalid credentials\n"
    )


@bearer_hooks
@pytest.mark.parametrize(
    ("authorizations", "body"),
    [
        ([], b"Missing credentials\n"),
        ([build_authorization_basic("a", "b")], b"Unsupported credentials\n"),
        (["Bearer"], b"Unsupported credentials\n"),
        (["Bearer "], b"Unsupported credentials\n"),
        ([f"Bearer{TOKEN}"], b"Unsupported credentials\n"),
        ([f"Bearer {TOKEN} "], b"Unsupported credentials\n"),
        ([f"Bearer {TOKEN}, x"], b"Unsupported credentials\n"),
        (["Bearer \xe9"], b"Unsupported credentials\n"),
        ([f"Bearer {TOKEN}"] * 2, b"Invalid credentials\n"),
    ],
)
def test_1_10_anything_but_a_token_gets_401_with_a_challenge(hook, authorizations, body):
    """M14"""
    response, let_in = attempt(hook, *authorizations, attribute="token")
    assert let_in is None
    assert (response.status_code, response.body) == (401, body)
    assert response.headers["WWW-Authenticate"] == 'Bearer realm="chat"'


def test_1_10_every_token_is_compared(monkeypatch):
    """M14: so that the time does not tell which one begins alike."""
    compared = []

    def compare_digest(a, b):
        compared.append((a, b))
        return a == b

    monkeypatch.setattr("hmac.compare_digest", compare_digest)
    attempt(bearer_auth("", ["a", "b", "c"]), "Bearer a")
    assert compared == [(b"a", b"a"), (b"a", b"b"), (b"a", b"c")]


@pytest.mark.parametrize("answer", [1, "yes", None, 0])
def test_1_10_only_a_bool_says_that_a_token_is_right(answer):
    """M14"""
    hook = bearer_auth(check_token=lambda token: answer)
    with pytest.raises(TypeError, match="check_token must return a bool"):
        attempt(hook, "Bearer a")


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({}, TypeError, "provide either tokens or check_token"),
        ({"tokens": "a", "check_token": right_token}, TypeError, "provide either tokens or"),
        ({"tokens": 42}, TypeError, "tokens must be a str, or several"),
        ({"tokens": b"secret"}, TypeError, "tokens must be a str, or several"),
        ({"tokens": [b"secret"]}, TypeError, "a token must be a str, not bytes"),
        ({"tokens": ["a", "secret "]}, ValueError, "a token has only letters, digits and"),
        ({"tokens": ""}, ValueError, "a token has only letters, digits and"),
        ({"tokens": "a", "realm": "a\r\nb"}, ValueError, "cannot hold"),
    ],
)
def test_wrong_arguments_of_bearer_auth_are_refused_at_once(arguments, error, message):
    """M14: the text does not show what may be half a secret."""
    with pytest.raises(error) as caught:
        bearer_auth(**arguments)
    assert message in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("token", ["", " ", "a b", "a\r\nX: y", "\xe9", "a,b", "=a", 'a"'])
def test_a_token_that_cannot_be_sent_is_refused(token):
    """M14"""
    with pytest.raises(ValueError, match="a token has only") as caught:
        Bearer(token)
    assert repr(token) not in str(caught.value)


@pytest.mark.parametrize("token", [None, 5, b"a", ("a",)])
def test_a_token_is_a_str(token):
    """M14"""
    with pytest.raises(TypeError, match="a token must be a str"):
        Bearer(token)


def test_a_token_is_not_shown():
    """M14"""
    assert repr(Bearer("secret")) == "Bearer(...)"


async def test_clients_authenticate_with_a_token():
    """M14, M19: from end to end."""
    guard = bearer_auth("chat", TOKEN)
    async with wsfast.serve(echo, "127.0.0.1", 0, process_request=guard) as server:
        async with wsfast.connect(uri_of(server), auth=Bearer(TOKEN)) as ws:
            assert ws.request.headers["Authorization"] == f"Bearer {TOKEN}"
            (other,) = server.connections
            assert other.token == TOKEN
        for auth in None, Bearer("wrong"), "user:password":
            with pytest.raises(wsfast.InvalidStatus) as caught:
                await wsfast.connect(uri_of(server), auth=auth)
            assert caught.value.response.status_code == 401
        head, _ = await exchange(server, request(authorization="Basic x"))
        assert head.headers["www-authenticate"] == 'Bearer realm="chat"'
