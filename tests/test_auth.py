import asyncio
import functools
import inspect
from types import SimpleNamespace

import pytest

from wsfast.auth import basic_auth
from wsfast.protocol.headers import Headers, build_authorization_basic
from wsfast.protocol.http import Request


def attempt(hook, *authorizations):
    """What a server does with the hook: the response, if any, and the name of who is let in."""
    ws = SimpleNamespace()
    request = Request("/", Headers([("Authorization", value) for value in authorizations]))
    response = hook(ws, request)
    if inspect.isawaitable(response):
        response = asyncio.run(_wait_for(response))
    return response, getattr(ws, "username", None)


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


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({}, TypeError, "provide either credentials or check_credentials"),
        (
            {"credentials": ("a", "b"), "check_credentials": right},
            TypeError,
            "provide either credentials or check_credentials",
        ),
        ({"credentials": 42}, TypeError, "invalid credentials argument: 42"),
        ({"credentials": "ab"}, TypeError, "invalid credentials argument: 'ab'"),
        ({"credentials": ("a", 5)}, TypeError, "invalid credentials argument: ('a', 5)"),
        ({"credentials": [("a", "b"), "cd"]}, TypeError, "invalid credentials argument: "),
        ({"credentials": ("a:b", "c")}, ValueError, "cannot have a colon"),
        ({"credentials": ("a", "b"), "realm": "a\r\nb"}, ValueError, "cannot hold"),
    ],
)
def test_wrong_arguments_are_refused_at_once(arguments, error, message):
    with pytest.raises(error) as caught:
        basic_auth(**arguments)
    assert message in str(caught.value)
