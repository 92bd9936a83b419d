"""The form that browsers have: ``onmessage``, ``add_event_listener`` and event objects.

`WebSocket` is the class to use, and to hand to a server or to `connect` as ``websocket_class``; it
has the attributes of the WHATWG standard, too, in snake case. All that `wsfast.WebSocket` has works
besides; of the listeners of ``on`` and those added here none affects the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from . import connection
from .events import EventSource
from .frames import State

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["CloseEvent", "ErrorEvent", "Event", "EventTarget", "MessageEvent", "WebSocket"]


@dataclass(frozen=True, slots=True, eq=False)
class Event:
    """What a listener is called with.

    Args:
        type: "open", "message", "close" or "error".
        target: the WebSocket.
    """

    type: str
    target: Any = None


@dataclass(frozen=True, slots=True, eq=False)
class MessageEvent(Event):
    """A message came.

    Args:
        data: str if it is text.
    """

    data: Any = None


@dataclass(frozen=True, slots=True, eq=False)
class CloseEvent(Event):
    """The connection is closed.

    Args:
        code: that of the peer's close frame, 1005 if it had none, 1006 if none came.
        reason: that of the peer's close frame.
        was_clean: whether close frames went both ways.
    """

    code: int = 0
    reason: str = ""
    was_clean: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class ErrorEvent(Event):
    """Something failed.

    Args:
        error: the exception.
        message: its text.
    """

    error: BaseException | None = None
    message: str = ""


def message_event(target: Any, data: Any, is_binary: bool) -> MessageEvent:
    if not is_binary and isinstance(data, bytes):  # text_type="bytes"
        data = data.decode(errors="replace")
    return MessageEvent("message", target, data)


def close_event(target: Any, code: int, reason: str) -> CloseEvent:
    return CloseEvent("close", target, code, reason, target.was_clean)


def error_event(target: Any, error: BaseException) -> ErrorEvent:
    return ErrorEvent("error", target, error, str(error))


def open_event(target: Any) -> Event:
    return Event("open", target)


# How the arguments of a listener of `on` become an event.
EVENTS: dict[str, Callable[..., Event]] = {
    "open": open_event,
    "message": message_event,
    "close": close_event,
    "error": error_event,
}


class Handler:
    """A listener of `on` that calls one which takes an event.

    Args:
        attribute: whether it is that of ``onopen`` and the like.
    """

    __slots__ = ("attribute", "listener", "once", "target", "type")

    def __init__(
        self,
        target: EventTarget,
        type: str,
        listener: Callable[[Any], object],
        *,
        once: bool = False,
        attribute: bool = False,
    ) -> None:
        self.target = target
        self.type = type
        self.listener = listener
        self.once = once
        self.attribute = attribute

    def __call__(self, *arguments: Any) -> None:
        self.handle(EVENTS[self.type](self.target, *arguments))

    def handle(self, event: Event) -> None:
        if self.once:
            self.target.off(self.type, self)
        self.listener(event)


def handler_attribute(type: str) -> Any:
    """A property that is a listener, or None."""

    def get(target: EventTarget) -> Callable[[Any], object] | None:
        handler = target._attribute_handler(type)
        return None if handler is None else handler.listener

    def replace(target: EventTarget, listener: object) -> None:
        handler = target._attribute_handler(type)
        if callable(listener):  # first, because it may be refused
            added = Handler(target, type, listener, attribute=True)
            target._add_listener(type, listener, added)
        if handler is not None:
            target.off(type, handler)

    return property(get, replace, doc=f"Called with every {type!r} event; None for nothing.")


class EventTarget(EventSource):
    """Event objects for something with the events of a WebSocket.

    The types are "open", "message", "close" and "error". A listener is a function; WHATWG's objects
    with a ``handleEvent`` method are what bound methods are in Python.
    """

    __slots__ = ()

    onopen = handler_attribute("open")
    onmessage = handler_attribute("message")
    onclose = handler_attribute("close")
    onerror = handler_attribute("error")

    def add_event_listener(
        self, type: str, listener: Callable[[Any], object], *, once: bool = False
    ) -> None:
        """Call ``listener`` with every event of a type.

        Adding it again does nothing, nor does a type that there is not.

        Args:
            once: whether only the next time.

        Raises:
            TypeError: the listener cannot be called, or is a coroutine function.
        """
        if type in EVENTS and self._find_handler(type, listener) is None:
            self._add_listener(type, listener, Handler(self, type, listener, once=once))

    def remove_event_listener(self, type: str, listener: Callable[[Any], object]) -> None:
        """Take back an ``add_event_listener``."""
        handler = self._find_handler(type, listener)
        if handler is not None:
            self.off(type, handler)

    def dispatch_event(self, event: Event) -> None:
        """Call the listeners of the event's type, those of this class, with an event of one's own.

        What a listener raises goes to the loop's exception handler.
        """
        for handler in self._handlers(event.type):
            try:
                handler.handle(event)
            except Exception as error:
                self.listener_failed(error, event.type)

    def _handlers(self, type: str) -> list[Handler]:
        if type not in EVENTS:
            return []
        return [known for known in self.listeners(type) if isinstance(known, Handler)]

    def _find_handler(self, type: str, listener: object) -> Handler | None:
        for handler in self._handlers(type):
            if not handler.attribute and handler.listener == listener:
                return handler
        return None

    def _attribute_handler(self, type: str) -> Handler | None:
        return next((each for each in self._handlers(type) if each.attribute), None)


class Constant:
    """A number that its class and the instances have, which these cannot change."""

    __slots__ = ("value",)

    def __init__(self, value: int) -> None:
        self.value = value

    def __get__(self, instance: object, owner: type) -> int:
        return self.value

    def __set__(self, instance: object, value: object) -> None:
        raise AttributeError("the constants of a WebSocket cannot be changed")


class WebSocket(EventTarget, connection.WebSocket):
    """A `wsfast.WebSocket` with the WHATWG's attributes and events."""

    __slots__ = ()

    CONNECTING: ClassVar[Constant] = Constant(State.CONNECTING)
    OPEN: ClassVar[Constant] = Constant(State.OPEN)
    CLOSING: ClassVar[Constant] = Constant(State.CLOSING)
    CLOSED: ClassVar[Constant] = Constant(State.CLOSED)

    @property
    def ready_state(self) -> int:
        """The ``state``: 0 to 3, ``CONNECTING`` to ``CLOSED``."""
        return int(self.state)

    @property
    def protocol(self) -> str:
        """The ``subprotocol``, or an empty str."""
        return self.subprotocol or ""
