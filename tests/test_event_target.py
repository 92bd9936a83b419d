"""The WHATWG form: event objects, attributes for listeners, and how they go with those of `on`."""

import asyncio
import dataclasses

import pytest
from peers import BINARY, CONT, TEXT, Accepted, Unhandled, client_of, until, uri_of

import wsfast
from wsfast.event_target import (
    CloseEvent,
    ErrorEvent,
    Event,
    EventTarget,
    MessageEvent,
    WebSocket,
)

# --- The events -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "defaults"),
    [
        (Event, {"type": "x", "target": None}),
        (MessageEvent, {"type": "x", "target": None, "data": None}),
        (CloseEvent, {"type": "x", "target": None, "code": 0, "reason": "", "was_clean": False}),
        (ErrorEvent, {"type": "x", "target": None, "error": None, "message": ""}),
    ],
)
def test_an_event_has_its_attributes_and_their_defaults(kind, defaults):
    """E9, ET4, ET5, ET6: each is an `Event`, too; the attributes can be listed, and not set."""
    event = kind("x")
    assert isinstance(event, Event)
    assert dataclasses.asdict(event) == defaults
    for name, value in defaults.items():
        assert getattr(event, name) == value
        with pytest.raises(AttributeError):
            setattr(event, name, value)


def test_an_event_takes_its_attributes():
    """E9, ET4, ET5, ET6: by name."""
    target, error = object(), ValueError("why")
    assert Event("open", target).target is target
    assert MessageEvent("message", target, data=b"x").data == b"x"
    event = CloseEvent("close", code=1000, reason="bye", was_clean=True)
    assert (event.code, event.reason, event.was_clean) == (1000, "bye", True)
    event = ErrorEvent("error", error=error, message="why")
    assert (event.error, event.message) == (error, "why")
    with pytest.raises(TypeError):
        Event()


# --- Listeners --------------------------------------------------------------------------------


class Target(EventTarget):
    """Has the events of a WebSocket, and nothing else."""

    EVENTS = wsfast.WebSocket.EVENTS
    was_clean = True

    def __init__(self, loop=None):
        self._listeners = ()
        self.loop = loop


def test_a_listener_gets_an_event_of_the_type():
    """ET1, ET4, ET5, ET6: with the target, and what the type has."""
    target, events = Target(), []
    for name in "open", "message", "close", "error":
        target.add_event_listener(name, events.append)
    error = ValueError("why")
    target.emit("open")
    target.emit("message", "text", False)
    target.emit("message", b"\xff", True)
    target.emit("close", 4000, "bye")
    target.emit("error", error)
    assert [event.target for event in events] == [target] * 5
    assert [event.type for event in events] == ["open", "message", "message", "close", "error"]
    opened, text, binary, closed, failed = events
    assert type(opened) is Event
    assert (text.data, binary.data) == ("text", b"\xff")
    assert (closed.code, closed.reason, closed.was_clean) == (4000, "bye", True)
    assert (failed.error, failed.message) == (error, "why")


def test_text_is_always_str():
    """ET4: also where the connection gives it as bytes."""
    target, events = Target(), []
    target.onmessage = events.append
    target.emit("message", b"gr\xc3\xbcn", False)
    target.emit("message", b"\xff", False)
    target.emit("message", bytearray(b"x"), True)
    assert [event.data for event in events] == ["grün", "\ufffd", b"x"]


@pytest.mark.parametrize("name", ["ping", "upgrade", "foo", ""])
def test_other_types_are_ignored(name):
    """ET1: only close, error, message and open are events of the form."""
    target = Target()
    target.add_event_listener(name, print)
    target.remove_event_listener(name, print)
    target.dispatch_event(Event(name))
    assert target._listeners == ()


def test_a_listener_is_added_only_once():
    """ET1: for a type; as one that is to be called once, too."""
    target, calls = Target(), []
    for _ in range(2):
        target.add_event_listener("open", calls.append)
        target.add_event_listener("close", calls.append)
    target.add_event_listener("open", calls.append, once=True)
    assert len(target.listeners("open")) == 1
    target.emit("open")
    target.emit("open")
    target.emit("close", 1000, "")
    assert [event.type for event in calls] == ["open", "open", "close"]


def test_a_listener_may_be_called_once():
    """ET1: it is gone when it is called, and may be added again by itself."""
    target, calls = Target(), []

    def listener(event):
        calls.append(len(target.listeners("open")))
        if len(calls) == 1:
            target.add_event_listener("open", listener, once=True)

    target.add_event_listener("open", listener, once=True)
    for _ in range(3):
        target.emit("open")
    assert calls == [0, 0]


async def coroutine_listener(event):
    raise AssertionError("never called")


@pytest.mark.parametrize("listener", [None, 5, "print", coroutine_listener])
def test_what_is_no_listener_is_refused(listener):
    """ET1: an object with handleEvent is a bound method in Python."""
    target = Target()
    target.onopen = print
    with pytest.raises(TypeError, match="a listener"):
        target.add_event_listener("open", listener)
    if listener is coroutine_listener:
        with pytest.raises(TypeError, match="a listener"):
            target.onopen = listener
    assert target.onopen is print


class Methods:
    """Listeners that are bound methods: a new object at each look."""

    def __init__(self):
        self.events = []

    def handle_event(self, event):
        self.events.append(event)


def test_methods_can_be_added_and_removed():
    """ET1, ET2: what WHATWG has handleEvent for."""
    target, listener = Target(), Methods()
    target.add_event_listener("open", listener.handle_event)
    target.add_event_listener("open", listener.handle_event)
    target.emit("open")
    target.remove_event_listener("open", listener.handle_event)
    target.emit("open")
    assert len(listener.events) == 1


def test_only_listeners_of_the_form_are_removed():
    """ET2: those of ``on`` and of the attribute stay; taking back a stranger does nothing."""
    target, calls = Target(), []
    target.on("open", calls.append)
    target.onopen = calls.append
    target.add_event_listener("open", calls.append)
    target.add_event_listener("open", calls.append)
    target.remove_event_listener("open", calls.append)
    target.remove_event_listener("open", calls.append)
    target.remove_event_listener("open", print)
    assert len(target.listeners("open")) == 2
    assert target.onopen == calls.append


def test_off_knows_only_its_own():
    """ET2, ET3: what was added by the form is taken back by the form."""
    target = Target()
    target.add_event_listener("open", print)
    target.onopen = print
    target.on("open", print)
    target.off("open", print)
    assert len(target.listeners("open")) == 2
    target.off("open")
    assert target.onopen is None


@pytest.mark.parametrize("name", ["open", "message", "close", "error"])
def test_each_event_has_an_attribute(name):
    """ET3: None until it is set, and for what cannot be called; it replaces only itself."""
    target, attribute = Target(), f"on{name}"
    assert getattr(target, attribute) is None
    target.on(name, print)
    target.add_event_listener(name, print)
    assert getattr(target, attribute) is None
    for listener in len, print:
        setattr(target, attribute, listener)
        assert getattr(target, attribute) is listener
        assert len(target.listeners(name)) == 3
    for other in None, "print", 5:
        setattr(target, attribute, print)
        setattr(target, attribute, other)
        assert getattr(target, attribute) is None
        assert len(target.listeners(name)) == 2


async def test_an_event_of_ones_own_can_be_dispatched():
    """ET1: to the listeners of the form; what one raises is reported, and the others are called."""
    with Unhandled() as contexts:
        target, events = Target(asyncio.get_running_loop()), []

        def broken(event):
            raise ValueError("why")

        target.on("message", events.append)
        target.add_event_listener("message", broken)
        target.add_event_listener("message", events.append, once=True)
        target.onmessage = events.append
        event = MessageEvent("message", data="x")
        target.dispatch_event(event)
        assert events == [event, event]
        target.dispatch_event(event)
        assert events == [event] * 3
    assert [str(context["exception"]) for context in contexts] == ["why", "why"]


# --- The WebSocket ----------------------------------------------------------------------------


def test_the_constants_are_on_the_class_and_cannot_be_changed_on_an_instance():
    """K1: CONNECTING 0, OPEN 1, CLOSING 2, CLOSED 3."""
    names = "CONNECTING", "OPEN", "CLOSING", "CLOSED"
    assert [getattr(WebSocket, name) for name in names] == [0, 1, 2, 3]


async def test_both_sides_can_have_it():
    """E9, ET3, K1: ``websocket_class`` is for `connect` and for servers."""
    handler, events = Accepted(), []
    async with wsfast.serve(
        handler, "127.0.0.1", 0, subprotocols=["chat"], websocket_class=WebSocket
    ) as server:
        async with wsfast.connect(
            uri_of(server), subprotocols=["chat"], websocket_class=WebSocket
        ) as ws:
            other = await handler.get()
            for each in ws, other:
                assert type(each) is WebSocket
                assert each.ready_state == each.OPEN == 1
                assert each.protocol == "chat"
                assert each.buffered_amount == 0
                for name in "CONNECTING", "OPEN", "CLOSING", "CLOSED":
                    with pytest.raises(AttributeError, match="cannot be changed"):
                        setattr(each, name, 5)
                with pytest.raises(AttributeError):
                    each.ready_state = 3
            other.onmessage = lambda event: event.target.send(event.data)
            other.onclose = events.append
            ws.add_event_listener("message", events.append)
            ws.send("text")
            ws.send(b"\xff")
            await until(lambda: len(events) == 2)
            assert [event.data for event in events] == ["text", b"\xff"]
            ws.close(4000, "bye")
            assert ws.ready_state == ws.CLOSING == 2
        assert ws.ready_state == ws.CLOSED == 3
        await other.wait_closed()
    assert (events[2].code, events[2].reason, events[2].was_clean) == (4000, "bye", True)
    assert events[2].target is other


async def test_the_protocol_is_empty_if_none_was_chosen():
    """W5: and the class works in the coroutine style."""
    handler = Accepted()
    async with wsfast.serve(handler, "127.0.0.1", 0, websocket_class=WebSocket) as server:
        async with client_of(server) as peer:
            ws = await handler.get()
            assert ws.protocol == ""
            peer.send(TEXT, "x")
            assert await ws.recv() == "x"
            peer.close()
            await peer.closed()


async def test_an_error_and_the_close_are_told():
    """ET5, ET6: a connection that ends with an error was not clean."""
    handler, events = Accepted(), []
    async with wsfast.serve(handler, "127.0.0.1", 0, websocket_class=WebSocket) as server:
        async with client_of(server) as peer:
            ws = await handler.get()
            ws.onerror = ws.onclose = events.append
            peer.send(BINARY, b"", rsv=4)
            assert (await peer.closed())[0] == 1002
            await peer.wait_closed()
            await ws.wait_closed()
    failed, closed = events
    assert (failed.type, failed.error, failed.target) == ("error", ws.error, ws)
    assert failed.message == "Invalid WebSocket frame: RSV1 must be clear"
    assert (closed.code, closed.reason, closed.was_clean) == (1006, "", False)


async def test_what_a_listener_raises_is_reported():
    """EV9, ET1: and the connection lives."""
    handler = Accepted()
    with Unhandled() as contexts:
        async with wsfast.serve(handler, "127.0.0.1", 0, websocket_class=WebSocket) as server:
            async with client_of(server) as peer:
                ws = await handler.get()

                def broken(event):
                    ws.send(event.data)
                    raise ValueError(event.data)

                ws.onmessage = broken
                for word in "one", "two":
                    peer.send(TEXT, word)
                    assert (await peer.frame()).payload == word.encode()
    assert [str(context["exception"]) for context in contexts] == ["one", "two"]


async def test_open_is_told_to_a_client_made_by_its_address():
    """ET3, EV1: the form of browsers."""
    handler, events = Accepted(), []
    async with wsfast.serve(handler, "127.0.0.1", 0) as server:
        ws = WebSocket(uri_of(server))
        assert ws.ready_state == ws.CONNECTING == 0
        ws.onopen = events.append
        ws.add_event_listener("open", events.append)
        await until(lambda: len(events) == 2)
        assert ws.ready_state == ws.OPEN
        assert {(event.type, event.target) for event in events} == {("open", ws)}
        await ws.close()


async def test_the_types_of_messages_can_be_chosen():
    """K4, ET4: a type that there is not is an error, not ignored; an event's text is str."""
    handler, events = Accepted(), []
    options = {"websocket_class": WebSocket, "text_type": "bytes"}
    async with wsfast.serve(handler, "127.0.0.1", 0, **options) as server:
        async with client_of(server) as peer:
            ws = await handler.get()
            assert ws.binary_type == "bytes"
            ws.onmessage = events.append
            ws.binary_type = "bytearray"
            peer.send(BINARY, b"x")
            peer.send(TEXT, "grün")
            await until(lambda: len(events) == 2)
            ws.binary_type = "fragments"
            peer.send(BINARY, b"x", fin=False)
            peer.send(CONT, b"y")
            await until(lambda: len(events) == 3)
            with pytest.raises(ValueError, match="binary_type"):
                ws.binary_type = "blob"
    assert [event.data for event in events] == [bytearray(b"x"), "grün", [b"x", b"y"]]
    assert type(events[0].data) is bytearray
