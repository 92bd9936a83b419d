"""The event style: listeners, in which order they are called, and what becomes of their errors."""

import asyncio
import functools
import logging

import pytest
from peers import (
    BINARY,
    PATIENCE,
    PING,
    PONG,
    TEXT,
    Accepted,
    Unhandled,
    against_client,
    against_server,
    client_of,
    until,
    uri_of,
)

import wsfast


async def test_messages_are_given_to_the_listener_with_their_type():
    """EV2: text is str, unlike in ws, whose second argument alone tells it from binary."""
    events = []
    async with against_client() as (peer, ws):
        ws.on("message", lambda data, is_binary: events.append((data, is_binary)))
        peer.send(TEXT, "é")
        peer.send(BINARY, b"\xff")
        peer.send(TEXT, "")
        await until(lambda: len(events) == 3)
    assert events == [("é", False), (b"\xff", True), ("", False)]


async def test_a_listener_may_answer_without_awaiting():
    async with against_client() as (peer, ws):
        ws.on("message", lambda data, is_binary: ws.send(data.upper()))
        for word in "one", "two", "three":
            peer.send(TEXT, word)
        assert [(await peer.frame()).payload for _ in range(3)] == [b"ONE", b"TWO", b"THREE"]


async def test_on_once_and_off_are_methods_and_decorators():
    calls = []
    async with against_client() as (peer, ws):

        @ws.on("pong")
        def always(data):
            calls.append(("always", data))

        @ws.once("pong")
        def first(data):
            calls.append(("once", data))

        def method(data):
            calls.append(("method", data))

        assert ws.on("pong", method) is method
        assert ws.once("pong", method) is method
        assert len(ws.listeners("pong")) == 4
        assert callable(always)
        assert callable(first)
        for data in b"1", b"2":
            peer.send(PONG, data)
        await until(lambda: calls[-1:] == [("method", b"2")])
        ws.off("pong", method)
        assert ws.listeners("pong") == [always]
        ws.off("pong")
        assert ws.listeners("pong") == []
        peer.send(PING, b"")
        peer.send(PONG, b"3")
        assert (await peer.frame()).opcode == PONG
    assert calls == [
        ("always", b"1"),
        ("once", b"1"),
        ("method", b"1"),
        ("method", b"1"),
        ("always", b"2"),
        ("method", b"2"),
    ]


@pytest.mark.parametrize("order", [("on", "once"), ("once", "on")])
async def test_the_same_listener_may_be_added_for_once_and_for_ever(order):
    calls = []
    async with against_client() as (peer, ws):
        for method in order:
            getattr(ws, method)("pong", calls.append)
        for data in b"1", b"2", b"3":
            peer.send(PONG, data)
        await until(lambda: b"3" in calls)
    assert calls == [b"1", b"1", b"2", b"3"]


async def test_once_can_be_taken_back_and_off_of_a_stranger_does_nothing():
    async with against_client() as (_, ws):
        ws.once("message", print)
        ws.off("message", len)
        assert len(ws.listeners("message")) == 1
        ws.off("message", print)
        assert ws.listeners("message") == []


async def test_a_listener_may_remove_itself_and_add_others():
    calls = []
    async with against_client() as (peer, ws):

        def first(data, is_binary):
            calls.append(("first", data))
            ws.off("message", first)
            ws.on("message", second)

        def second(data, is_binary):
            calls.append(("second", data))

        ws.on("message", first)
        for number in range(3):
            peer.send(TEXT, str(number))
        await until(lambda: len(calls) == 3)
    assert calls == [("first", "0"), ("second", "1"), ("second", "2")]


async def test_several_listeners_are_called_in_their_order():
    calls = []
    async with against_client() as (peer, ws):
        ws.on("message", lambda data, is_binary: calls.append(1))
        ws.on("message", lambda data, is_binary: calls.append(2))
        peer.send(TEXT, "x")
        await until(lambda: len(calls) == 2)
    assert calls == [1, 2]


@pytest.mark.parametrize("event", ["mesage", "connection", "data", ""])
async def test_an_event_that_does_not_exist_is_refused(event):
    async with against_client() as (_, ws):
        for method in ws.on, ws.once, ws.off:
            with pytest.raises(ValueError, match="the events are close, error, message, open, p"):
                method(event, print)
        with pytest.raises(ValueError, match=f"there is no event '{event}'"):
            ws.listeners(event)


async def test_a_decorator_without_its_event_is_refused():
    async with against_client() as (_, ws):
        for decorate in ws.on, ws.once:
            with pytest.raises(ValueError, match="the events are close, error, message"):

                @decorate
                def message(data, is_binary):
                    raise AssertionError("never called")


async def coroutine_listener(*arguments):
    raise AssertionError("never called")


@pytest.mark.parametrize("event", ["message", "ping", "pong", "close", "error"])
async def test_a_coroutine_function_is_refused_with_what_to_do_instead(event):
    async with against_client() as (_, ws):
        for method in ws.on, ws.once:
            with pytest.raises(TypeError, match="cannot be a coroutine function") as caught:
                method(event, coroutine_listener)
            instead = "start a task in it"
            if event == "message":
                instead = "use `async for message in ws`, or start a task"
            assert str(caught.value).endswith(f"would not wait for it; {instead}")
            with pytest.raises(TypeError, match="cannot be a coroutine function"):
                method(event)(coroutine_listener)
            with pytest.raises(TypeError, match="cannot be a coroutine function"):
                method(event, functools.partial(coroutine_listener, 1))
        assert ws.listeners(event) == []


@pytest.mark.parametrize("listener", [5, "print"])
async def test_what_cannot_be_called_is_refused(listener):
    async with against_client() as (_, ws):
        with pytest.raises(TypeError, match="a listener must be a function"):
            ws.on("message", listener)


class Method:
    """Listeners that are methods, which are a new object at each look."""

    def __init__(self):
        self.calls = []

    def message(self, data, is_binary):
        self.calls.append(data)


async def test_methods_can_be_added_and_removed():
    listener = Method()
    async with against_client() as (peer, ws):
        ws.on("message", listener.message)
        peer.send(TEXT, "one")
        await until(lambda: listener.calls)
        ws.off("message", listener.message)
        peer.send(TEXT, "two")
        assert await ws.recv() == "two"
    assert listener.calls == ["one"]


# --- Errors of listeners ----------------------------------------------------------------------


class Broken(Exception):
    pass


@pytest.mark.parametrize("count", [1, 2])
async def test_what_a_message_listener_raises_is_reported_and_the_connection_lives(count):
    """EV9: it reaches the loop's exception handler, and the parser goes on."""

    def listener(data, is_binary):
        ws.send(data)
        raise Broken(data)

    with Unhandled() as contexts:
        async with against_client() as (peer, ws):
            for _ in range(count):
                ws.on("message", listener)
            for word in "one", "two":
                peer.send(TEXT, word)
            received = [(await peer.frame()).payload.decode() for _ in range(2 * count)]
            assert ws.state is wsfast.State.OPEN
    assert received == ["one"] * count + ["two"] * count
    assert [str(context["exception"]) for context in contexts] == received
    assert {type(context["exception"]) for context in contexts} == {Broken}
    assert contexts[0]["message"] == "a 'message' listener raised an exception"
    assert contexts[0]["websocket"] is ws


@pytest.mark.parametrize("error", [asyncio.CancelledError, GeneratorExit])
async def test_a_listener_that_raises_no_ordinary_exception_does_not_break_the_connection(error):
    """EV9: as the result of a cancelled future does."""

    def listener(data, is_binary):
        if data == "one":
            raise error
        ws.send(data)

    with Unhandled() as contexts:
        async with against_client() as (peer, ws):
            ws.on("message", listener)
            for word in "one", "two":
                peer.send(TEXT, word)
            assert (await peer.frame()).payload == b"two"
    assert [type(context["exception"]) for context in contexts] == [error]


@pytest.mark.parametrize("event", ["ping", "pong", "close", "error"])
async def test_what_other_listeners_raise_is_reported_and_the_others_are_called(event):
    """EV9: whatever the event."""
    calls = []

    def listener(*arguments):
        raise Broken

    with Unhandled() as contexts:
        async with against_client() as (peer, ws):
            ws.on(event, listener)
            ws.on(event, lambda *arguments: calls.append(event))
            peer.send(PING, b"")
            peer.send(PONG, b"")
            assert (await peer.frame()).opcode == PONG
            peer.reset()
            await until(lambda: ws.state is wsfast.State.CLOSED)
    assert calls == [event]
    assert contexts[0]["message"] == f"a '{event}' listener raised an exception"


async def test_what_a_connection_listener_raises_is_reported_and_the_connection_lives():
    """EV9: also if it is a coroutine function."""
    server = wsfast.WebSocketServer("127.0.0.1", 0)

    @server.on("connection")
    def connection(ws, request):
        ws.on("message", lambda data, is_binary: ws.send(data))
        raise Broken

    @server.on("connection")
    async def connection_later(ws, request):
        raise Broken

    with Unhandled() as contexts:
        async with server, client_of(server) as peer:
            peer.send(TEXT, "hello")
            assert (await peer.frame()).payload == b"hello"
    assert [type(context["exception"]) for context in contexts] == [Broken, Broken]
    messages = {context["message"] for context in contexts}
    assert messages == {"a 'connection' listener raised an exception"}


# --- Late listeners ---------------------------------------------------------------------------


async def test_a_listener_added_late_gets_all_that_came_before_in_order():
    received = []
    async with against_client(max_queue=4) as (peer, ws):
        for number in range(100):
            peer.send(TEXT, str(number))
        await until(lambda: not ws.is_reading)
        ws.on("message", lambda data, is_binary: received.append(data))
        assert received == []
        await until(lambda: len(received) == 100)
    assert received == [str(number) for number in range(100)]


async def test_a_listener_added_after_the_close_frame_gets_what_came_before_it():
    received = []
    async with against_client() as (peer, ws):
        for number in range(5):
            peer.send(TEXT, str(number))
        peer.close()
        await until(lambda: ws.state is wsfast.State.CLOSING)
        ws.on("message", lambda data, is_binary: received.append(data))
        ws.on("close", lambda code, reason: received.append(code))
        await peer.closed()
        await peer.wait_closed()
        await until(lambda: len(received) == 6)
    assert received == ["0", "1", "2", "3", "4", 1000]


async def test_a_listener_added_after_the_end_gets_what_nobody_received():
    """As a handler does that had something to do, while its client said something and went."""
    received = []
    async with against_client() as (peer, ws):
        for number in range(3):
            peer.send(TEXT, str(number))
        peer.close()
        await peer.closed()
        await peer.wait_closed()
        await ws.wait_closed()
        ws.on("message", lambda data, is_binary: received.append(data))
        await until(lambda: len(received) == 3)
    assert received == ["0", "1", "2"]


async def test_coroutine_style_and_event_style_can_follow_each_other():
    received = []
    async with against_client() as (peer, ws):
        for number in range(3):
            peer.send(TEXT, str(number))
        assert await ws.recv() == "0"
        ws.once("message", lambda data, is_binary: received.append(data))
        await until(lambda: received)
        assert await ws.recv() == "2"
    assert received == ["1"]


async def test_a_coroutine_connection_listener_may_take_its_time():
    received = []
    server = wsfast.WebSocketServer("127.0.0.1", 0)
    go = asyncio.Event()

    @server.on("connection")
    async def connection(ws, request):
        await go.wait()
        ws.on("message", lambda data, is_binary: received.append(data))

    async with server, client_of(server) as peer:
        for number in range(30):
            peer.send(TEXT, str(number))
        peer.send(PING, b"")
        await peer.writer.drain()
        go.set()
        assert (await peer.frame()).opcode == PONG
        await until(lambda: len(received) == 30)
    assert received == [str(number) for number in range(30)]


async def test_no_message_is_delivered_after_pause_until_resume():
    received = []

    def listener(data, is_binary):
        received.append(data)
        if data == "3":
            ws.pause()

    async with against_client() as (peer, ws):
        ws.on("message", listener)
        for number in range(10):
            peer.send(TEXT, str(number))
        await until(lambda: ws.is_paused)
        await asyncio.sleep(0.01)
        assert received == ["0", "1", "2", "3"]
        ws.resume()
        await until(lambda: len(received) == 10)


# --- The end ----------------------------------------------------------------------------------


def record(ws):
    events = []
    ws.on("error", lambda error: events.append(("error", error.code)))
    ws.on("close", lambda code, reason: events.append(("close", code, reason)))
    return events


async def test_close_is_told_once_with_code_and_reason():
    """EV4: exactly once; the reason is a str."""
    async with against_client() as (peer, ws):
        events = record(ws)
        peer.close(4000, "grün")
        await peer.closed()
        await peer.wait_closed()
        await ws.wait_closed()
        ws.close()
        ws.terminate()
    assert events == [("close", 4000, "grün")]


async def test_a_reset_is_told_as_an_error_and_then_the_close():
    """EV5: ws tells only the close of it."""
    async with against_client() as (peer, ws):
        events = record(ws)
        peer.reset()
        await ws.wait_closed()
        await asyncio.sleep(0)
        error = ws.closed_error()
    assert events == [("error", "ECONNRESET"), ("close", 1006, "")]
    assert isinstance(error.__cause__, wsfast.NetworkError)
    assert error.__cause__.code == "ECONNRESET"


async def test_the_end_of_the_stream_without_a_close_frame_is_only_a_close():
    """L13, EV5: the half-close is answered, and the code is 1006."""
    async with against_client() as (peer, ws):
        events = record(ws)
        peer.write_eof()
        assert await peer.rest() == b""
        await ws.wait_closed()
    assert events == [("close", 1006, "")]


@pytest.mark.parametrize("side", [against_client, against_server])
async def test_a_peer_that_breaks_the_protocol_is_told_as_an_error_and_then_the_close(side):
    """EV5, L11: at most one error, and never behind the close."""
    async with side() as (peer, ws):
        events = record(ws)
        peer.send(TEXT, "x", rsv=4)
        assert await peer.closed() == (1002, "Invalid WebSocket frame: RSV1 must be clear")
        await peer.wait_closed()
        await ws.wait_closed()
    assert events == [("error", "WS_ERR_UNEXPECTED_RSV_1"), ("close", 1006, "")]


async def test_terminate_is_only_a_close():
    """EV5: what the user does is no error."""
    async with against_client() as (_, ws):
        events = record(ws)
        ws.terminate()
        await ws.wait_closed()
    assert events == [("close", 1006, "")]


async def test_a_send_that_fails_unawaited_is_told_once():
    """EV5, EV10: with a listener for "error"."""
    async with against_client() as (peer, ws):
        events = record(ws)
        ws.close()
        for _ in range(3):
            ws.send("lost")
        await until(lambda: events)
        assert events == [("error", "WS_ERR_CONNECTION_CLOSED")]
        peer.close()
        assert (await peer.frame()).payload == b"\x03\xe8"
        assert await peer.rest() == b""
        await peer.wait_closed()
        await ws.wait_closed()
    assert events == [("error", "WS_ERR_CONNECTION_CLOSED"), ("close", 1000, "")]


@pytest.mark.parametrize("side", [against_client, against_server])
@pytest.mark.parametrize("place", ["message", "close", "error"])
async def test_no_error_comes_behind_the_close(side, place, caplog):
    """EV5: what is sent there is logged, with the attributes of all records."""

    def send(*_):
        if place == "message":
            ws.terminate()
        ws.send("lost")

    with caplog.at_level(logging.INFO, "wsfast"):
        async with side() as (peer, ws):
            events = record(ws)
            ws.on(place, send)
            remote = ws.remote_address
            peer.send(TEXT, "x", rsv=4 if place == "error" else 0)
            if place == "close":
                peer.close(1000)
            if place != "message":
                await peer.frame()
                await peer.wait_closed()
            await ws.wait_closed()
            await until(lambda: "a message was sent" in caplog.text)
    assert [name for name, *_ in events] == (["error"] if place == "error" else []) + ["close"]
    (logged,) = (each for each in caplog.records if each.event == "send_failed")
    assert logged.levelno == logging.INFO
    assert logged.websocket is ws
    assert logged.connection_id == str(ws.id)
    assert logged.remote_address == remote
    assert logged.error_code == "WS_ERR_CONNECTION_CLOSED"


async def test_a_send_behind_the_close_of_a_client_that_could_not_connect_is_logged(caplog):
    with caplog.at_level(logging.INFO, "wsfast"):
        ws = wsfast.WebSocket("ws://127.0.0.1:1/")
        events = []
        ws.on("error", lambda error: events.append("error"))
        ws.on("close", lambda code, reason: (events.append("close"), ws.send("lost")))
        await until(lambda: "a message was sent" in caplog.text)
    assert events == ["error", "close"]


async def test_a_send_that_fails_awaited_is_told_to_whoever_awaits_only():
    async with against_client() as (_, ws):
        events = record(ws)
        ws.close()
        results = await asyncio.gather(ws.send("a"), ws.send("b"), return_exceptions=True)
        assert [type(result) for result in results] == [wsfast.ConnectionClosedError] * 2
        await asyncio.sleep(0)
    assert ("error", "WS_ERR_CONNECTION_CLOSED") not in events


# --- Errors that nobody listens for -----------------------------------------------------------


@pytest.mark.parametrize("side", [against_client, against_server])
async def test_a_message_to_one_who_is_gone_is_logged_if_nobody_listens(side, caplog):
    """EV10: once for a connection, at INFO: whoever sends may be late for many reasons."""
    with Unhandled() as contexts, caplog.at_level(logging.INFO, "wsfast"):
        async with side() as (_, ws):
            ws.close(4000)
            for _ in range(3):
                ws.send("lost")
            await until(lambda: "was closed" in caplog.text)
            await asyncio.sleep(0.01)
    name = "wsfast.client" if ws.client else "wsfast.server"
    text = "a message was sent when the connection was closed: sent 4000 (private use); no close "
    (record,) = (each for each in caplog.record_tuples if "was closed" in each[2])
    assert record == (name, logging.INFO, f"{text}frame received")
    assert contexts == []


@pytest.mark.parametrize("side", [against_client, against_server])
async def test_any_other_send_that_fails_is_reported_if_nobody_listens(side):
    """EV10: it is a mistake in the program, such as to mix two messages."""
    with Unhandled() as contexts:
        async with side() as (_, ws):
            ws.send(b"x", fin=False)
            ws.send([b"y", b"z"])
            ws.send([b"y", b"z"])
            await until(lambda: contexts)
            assert ws.state is wsfast.State.OPEN
    (context,) = contexts
    assert isinstance(context["exception"], wsfast.ConcurrencyError)
    assert context["websocket"] is ws
    assert context["message"] == (
        "a send that nobody awaited failed, and there is no 'error' listener"
    )


@pytest.mark.parametrize("side", [against_client, against_server])
@pytest.mark.parametrize(("data", "level"), [("c100", logging.INFO), ("", logging.DEBUG)])
async def test_the_error_that_ends_a_connection_is_logged_and_raised(side, data, level, caplog):
    """EV10: a bad peer at INFO, a mere reset at DEBUG; recv() and send() raise both."""
    with Unhandled() as contexts, caplog.at_level(logging.DEBUG, "wsfast"):
        async with side() as (peer, ws):
            if data:
                peer.write(data)
                await peer.frame()
                await peer.wait_closed()
            else:
                peer.reset()
            for act in ws.recv, lambda: ws.send("x"):
                with pytest.raises(wsfast.ConnectionClosedError) as caught:
                    await act()
                assert caught.value.__cause__ is ws.error is not None
            await ws.wait_closed()
    name = "wsfast.client" if ws.client else "wsfast.server"
    ends = [each for each in caplog.record_tuples if each[2].startswith("connection ")]
    text = f"failed: {ws.error}" if data else f"closed: {ws.closed_error()}"
    assert (name, level, f"connection {text}") in ends
    assert max(each[1] for each in ends) == level
    assert contexts == []


async def test_close_listeners_of_the_server_see_who_is_left():
    """SE9."""
    left = []
    handler = Accepted()
    async with wsfast.serve(handler, "127.0.0.1", 0) as server:
        async with wsfast.connect(uri_of(server)), asyncio.timeout(PATIENCE):
            ws = await handler.get()
            ws.on("close", lambda code, reason: left.append(len(server.connections)))
        await ws.wait_closed()
    assert left == [0]
