"""The events of a client's WebSocket, made with an address, until it is open or fails."""

import asyncio
import contextlib
import logging

import pytest
from peers import PATIENCE, TEXT, Unhandled, pair, raw_server, until

import wsfast
from wsfast import State, WebSocket

BEFORE = "WebSocket was closed before the connection was established"


def answer(status, *headers, body=b""):
    """A response that is no 101."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


def answering(data):
    """Play a server that refuses."""

    async def play(peer):
        peer.request = await peer.head()
        peer.write(data)
        await peer.rest()

    return play


async def accepting(peer):
    """Play a server that accepts and says so."""
    await peer.accept(Set_Cookie="a=b")
    peer.send(TEXT, "hello")
    await peer.rest()


async def silent(peer):
    """Play a server that never answers."""
    await peer.rest()


def record(ws, *names):
    """The events that came, with their arguments."""
    events = []
    for name in names or ("open", "message", "error", "close"):
        ws.on(name, lambda *arguments, name=name: events.append((name, *arguments)))
    return events


@contextlib.asynccontextmanager
async def opening(play, **options):
    """A WebSocket made with the address of a server that plays."""
    async with raw_server(play) as uri:
        ws = WebSocket(uri, **options)
        try:
            yield ws
        finally:
            ws.terminate()
            await ended(ws)


async def ended(ws):
    async with asyncio.timeout(PATIENCE):
        await ws.wait_closed()


async def test_open_is_told_once_and_before_the_first_message():
    """E1, EV1: without arguments."""
    async with opening(accepting) as ws:
        assert isinstance(ws, WebSocket)
        assert ws.state is State.CONNECTING
        events = record(ws)
        await until(lambda: len(events) == 2)
        assert ws.state is State.OPEN
    assert events == [("open",), ("message", "hello", False), ("close", 1006, "")]


async def test_a_server_never_sees_open():
    """EV1: its connections are open when they are handed over."""
    async with pair() as (ws, other):
        assert other.state is State.OPEN
        events = record(other)
        await other.send("x")
        assert await ws.recv() == "x"
        await ws.close()
        await ended(other)
    assert events == [("close", 1000, "")]


async def test_an_error_before_the_opening_is_told():
    """EV5: once, and then the close with 1006."""
    async with raw_server(silent) as uri:
        pass
    ws = WebSocket(uri)
    events = record(ws)
    await ended(ws)
    (name, error), close = events
    assert (name, error.code) == ("error", "ECONNREFUSED")
    assert close == ("close", 1006, "")


async def test_upgrade_is_told_before_the_response_is_checked():
    """EV6: with the response, to read its cookies, for example."""
    async with opening(accepting) as ws:
        events = record(ws, "upgrade", "open")
        ws.on("upgrade", lambda response: events.append(ws.state))
        await until(lambda: len(events) == 3)
        name, response = events[0]
        assert (name, response.status_code) == ("upgrade", 101)
        assert response.headers["Set-Cookie"] == "a=b"
        assert events[1:] == [State.CONNECTING, ("open",)]

    async def lie(peer):
        await peer.accept(Sec_WebSocket_Accept="wrong")
        await peer.rest()

    async with opening(lie) as ws:
        events = record(ws, "upgrade", "open", "error")
        await ended(ws)
        assert [event[0] for event in events] == ["upgrade", "error"]


@pytest.mark.parametrize("method", ["close", "terminate"])
async def test_a_connection_may_be_given_up_at_upgrade(method):
    """EV6, L10: it never opens."""
    async with opening(accepting) as ws:
        events = record(ws)
        ws.on("upgrade", lambda response: getattr(ws, method)())
        await ended(ws)
        assert events == [("error", ws.error), ("close", 1006, "")]
        assert str(ws.error) == BEFORE


async def test_redirect_is_told_with_the_address_and_the_request():
    """EV7: before the request leaves, which may still be changed."""
    seen = []

    async def target(peer):
        seen.append((await peer.head()).headers.get("x-token"))
        peer.write(answer("403 Forbidden"))
        await peer.rest()

    async with raw_server(target) as uri:
        play = answering(answer("302 Found", f"Location: {uri}there"))
        async with opening(play, follow_redirects=True) as ws:
            events = record(ws, "redirect", "error")

            @ws.on("redirect")
            def redirect(url, request):
                request.headers["X-Token"] = "secret"

            await ended(ws)
    (name, url, request), (_, error) = events
    assert (name, url, request.path) == ("redirect", f"{uri}there", "/there")
    assert ws.url == f"{uri}there"
    assert seen == ["secret"]
    assert error.response.status_code == 403


@pytest.mark.parametrize("method", ["close", "terminate"])
async def test_a_connection_may_be_given_up_at_a_redirect(method):
    """EV7, L10: the request does not leave."""
    play = answering(answer("302 Found", "Location: /there"))
    async with opening(play, follow_redirects=True) as ws:
        events = record(ws)
        ws.on("redirect", lambda url, request: getattr(ws, method)())
        await ended(ws)
        assert events == [("error", ws.error), ("close", 1006, "")]
        assert str(ws.error) == BEFORE


async def test_another_answer_is_an_error():
    """EV8: unless somebody listens for it."""
    async with opening(answering(answer("401 Unauthorized", body=b"who?"))) as ws:
        events = record(ws)
        await ended(ws)
    (name, error), close = events
    assert (name, error.code) == ("error", "WS_ERR_UNEXPECTED_RESPONSE")
    assert (error.response.status_code, error.response.body) == (401, b"who?")
    assert close == ("close", 1006, "")


async def test_an_unexpected_response_is_the_listeners():
    """EV8: no error is told, and the connection is neither open nor closed until it is closed."""
    async with opening(answering(answer("401 Unauthorized", body=b"who?"))) as ws:
        events = record(ws)
        responses = record(ws, "unexpected-response")
        await until(lambda: responses)
        ((_, request, response),) = responses
        assert request.headers["Sec-WebSocket-Version"] == "13"
        assert (response.status_code, response.body) == (401, b"who?")
        await asyncio.sleep(0.01)
        assert ws.state is State.CONNECTING
        assert events == []
        ws.close()
        await ended(ws)
        assert [event[0] for event in events] == ["error", "close"]


@pytest.mark.parametrize("method", ["close", "terminate"])
@pytest.mark.parametrize("when", ["at once", "connected", "answered"])
async def test_closing_before_the_opening_is_an_error_and_a_close(method, when):
    """L10: "open" never comes, whenever it is; doing it again changes nothing."""
    connected = asyncio.Event()

    async def play(peer):
        await peer.head()
        connected.set()
        await peer.rest()

    async with opening(play) as ws:
        events = record(ws)
        if when == "connected":
            await connected.wait()
        getattr(ws, method)()
        getattr(ws, method)()
        await ended(ws)
        assert events == [("error", ws.error), ("close", 1006, "")]
        assert str(ws.error) == BEFORE
        assert ws.state is State.CLOSED
        getattr(ws, method)()
        await asyncio.sleep(0)
        assert len(events) == 2
        connected.set()


async def test_closing_at_an_error_changes_nothing():
    """L10: from its listener."""
    async with opening(answering(answer("403 Forbidden"))) as ws:
        events = record(ws)
        ws.on("error", lambda error: (ws.close(), ws.terminate()))
        await ended(ws)
        assert [event[0] for event in events] == ["error", "close"]
        assert ws.error.response.status_code == 403


@pytest.mark.parametrize("event", ["open", "upgrade", "error", "close", "unexpected-response"])
async def test_what_a_listener_raises_is_reported_and_changes_nothing(event):
    """EV9: also before the connection is open."""
    play = accepting if event in ("open", "upgrade") else answering(answer("403 Forbidden"))
    with Unhandled() as contexts:
        async with opening(play) as ws:
            ws.on("error", lambda error: None)

            @ws.on(event)
            def listener(*arguments):
                raise ValueError(event)

            if play is accepting:
                assert await ws.recv() == "hello"
            elif event == "unexpected-response":
                await until(lambda: contexts)
            else:
                await ended(ws)
    assert [str(context["exception"]) for context in contexts] == [event]


@pytest.mark.parametrize("reconnect", [False, True])
@pytest.mark.parametrize("event", [None, "error"])
async def test_a_connection_that_cannot_be_made_is_reported_if_nobody_listens(event, reconnect):
    """EV10: those who made it in the background may never ask; of several attempts the last is."""
    options = {"reconnect_delays": lambda: iter([0.0]), "max_attempts": 1, "reconnect": reconnect}
    with Unhandled() as contexts:
        async with opening(answering(answer("503 Service Unavailable")), **options) as ws:
            if event is not None:
                ws.on(event, lambda error: None)
            await ended(ws)
            with pytest.raises(wsfast.ConnectionClosedError) as caught:
                await ws.recv()
            assert caught.value.__cause__ is ws.error
            await asyncio.sleep(0)
    assert [context["exception"] for context in contexts] == ([] if event else [ws.error])


async def test_a_connection_that_was_given_up_is_no_warning(caplog):
    """EV10: it is what the user wants."""
    async with opening(silent) as ws:
        ws.close()
        await ended(ws)
    assert [each for each in caplog.records if each.levelno > logging.DEBUG] == []
