"""Listeners: `on`, `once` and `off`, as methods and as decorators."""

from __future__ import annotations

from inspect import isawaitable, iscoroutinefunction
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["EventSource"]

F = TypeVar("F", bound="Callable[..., Any]")

# Event, listener, event, listener. There are few, and most connections have one: a dictionary of
# lists would be most of what an idle connection needs.
Listeners: TypeAlias = "tuple[Any, ...]"


def pairs(listeners: Listeners) -> Iterator[tuple[str, Callable[..., Any]]]:
    """The listeners with their events."""
    items = iter(listeners)
    return zip(items, items)  # noqa: B905 (strict costs as much as the rest)


class EventSource:
    """Something with events. A subclass names them, and has a ``loop``."""

    __slots__ = ()

    EVENTS: ClassVar[frozenset[str]] = frozenset()
    COROUTINE_EVENTS: ClassVar[frozenset[str]] = frozenset()

    if TYPE_CHECKING:
        loop: Any

        @property
        def _listeners(self) -> Listeners: ...
        @_listeners.setter
        def _listeners(self, value: Listeners) -> None: ...

    def on(self, event: str, listener: Callable[..., Any] | None = None) -> Any:
        """Call ``listener`` at every ``event``; without a listener, a decorator that does so.

        Raises:
            ValueError: there is no such event.
            TypeError: the listener cannot be called, or is a coroutine function where the event
                takes none.
        """
        self._check_event(event)  # here, in case that it is a function: `@ws.on` without its event
        if listener is None:
            return lambda function: self._add_listener(event, function, function)
        return self._add_listener(event, listener, listener)

    def once(self, event: str, listener: Callable[..., Any] | None = None) -> Any:
        """Like `on`, but only for the next time."""
        self._check_event(event)
        if listener is None:
            return lambda function: self.once(event, function)

        def call_once(*arguments: Any) -> Any:
            self.off(event, call_once)
            return listener(*arguments)

        call_once.__wrapped__ = listener  # type: ignore[attr-defined]
        return self._add_listener(event, listener, call_once)

    def off(self, event: str, listener: Callable[..., Any] | None = None) -> None:
        """Remove ``listener``, or all listeners, from ``event``."""
        self._check_event(event)
        left: list[Any] = []
        found = False
        for name, known in pairs(self._listeners):
            if (
                name == event
                and listener in (None, known, getattr(known, "__wrapped__", None))
                and not (found and listener is not None)
            ):
                found = True
            else:
                left += name, known
        self._listeners = tuple(left)
        self._listeners_changed(event)

    def listeners(self, event: str) -> list[Callable[..., Any]]:
        """The listeners of ``event``, in the order in which they are called."""
        self._check_event(event)
        return [listener for name, listener in pairs(self._listeners) if name == event]

    def emit(self, event: str, *arguments: Any) -> bool:
        """Call the listeners of ``event``; whether there was one.

        What a listener raises goes to the loop's exception handler.
        """
        called = False
        for name, listener in pairs(self._listeners):
            if name != event:
                continue
            called = True
            try:
                result = listener(*arguments)
            except (KeyboardInterrupt, SystemExit):
                raise
            except BaseException as error:
                self.listener_failed(error, event)
            else:
                if result is not None and event in self.COROUTINE_EVENTS and isawaitable(result):
                    self._run_listener(result)
        return called

    def listener_failed(self, error: BaseException, event: str = "message") -> None:
        """Report what a listener raised."""
        self.loop.call_exception_handler(
            {
                "message": f"a {event!r} listener raised an exception",
                "exception": error,
                "websocket": self,
            }
        )

    def _run_listener(self, awaitable: Any) -> None:
        """Let a coroutine listener run."""
        raise NotImplementedError

    def _check_event(self, event: str) -> None:
        if event not in self.EVENTS:
            names = ", ".join(sorted(self.EVENTS))
            raise ValueError(f"there is no event {event!r}; the events are {names}")

    def _add_listener(self, event: str, listener: F, function: Callable[..., Any]) -> F:
        if not callable(listener):
            raise TypeError(f"a listener must be a function, not {type(listener).__name__}")
        if event not in self.COROUTINE_EVENTS and iscoroutinefunction(listener):
            instead = "start a task in it"
            if event == "message":
                instead = "use `async for message in ws`, or start a task"
            raise TypeError(
                f"a listener for {event!r} cannot be a coroutine function, because the next event "
                f"would not wait for it; {instead}"
            )
        self._listeners += (event, function)
        self._listeners_changed(event)
        return listener

    def _listeners_changed(self, event: str) -> None:
        """A listener was added or removed."""
