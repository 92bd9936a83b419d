"""Listeners: `on`, `once` and `off`, as methods and as decorators."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["EventSource"]

F = TypeVar("F", bound="Callable[..., Any]")


class EventSource:
    """Something with events. A subclass names them, and has a ``loop``."""

    __slots__ = ()

    EVENTS: ClassVar[frozenset[str]] = frozenset()
    COROUTINE_EVENTS: ClassVar[frozenset[str]] = frozenset()

    if TYPE_CHECKING:
        loop: Any

        @property
        def _listeners(self) -> dict[str, list[Callable[..., Any]]] | None: ...
        @_listeners.setter
        def _listeners(self, value: dict[str, list[Callable[..., Any]]] | None) -> None: ...

    def on(self, event: str, listener: Callable[..., Any] | None = None) -> Any:
        """Call ``listener`` at every ``event``; without a listener, a decorator that does so.

        Raises:
            ValueError: there is no such event.
            TypeError: the listener cannot be called, or is a coroutine function where the event
                takes none.
        """
        if listener is None:
            return lambda function: self._add_listener(event, function, function)
        return self._add_listener(event, listener, listener)

    def once(self, event: str, listener: Callable[..., Any] | None = None) -> Any:
        """Like `on`, but only for the next time."""
        if listener is None:
            return lambda function: self.once(event, function)

        def call_once(*arguments: Any) -> Any:
            self.off(event, listener)
            return listener(*arguments)

        call_once.__wrapped__ = listener  # type: ignore[attr-defined]
        return self._add_listener(event, listener, call_once)

    def off(self, event: str, listener: Callable[..., Any] | None = None) -> None:
        """Remove ``listener``, or all listeners, from ``event``."""
        self._check_event(event)
        listeners = (self._listeners or {}).get(event, [])
        for known in listeners:
            if listener in (None, known, getattr(known, "__wrapped__", None)):
                listeners = [other for other in listeners if other is not known]
                if listener is not None:
                    break
        if self._listeners is not None:
            self._listeners[event] = listeners
        self._listeners_changed(event)

    def listeners(self, event: str) -> list[Callable[..., Any]]:
        """The listeners of ``event``, in the order in which they are called."""
        self._check_event(event)
        return list((self._listeners or {}).get(event, ()))

    def emit(self, event: str, *arguments: Any) -> bool:
        """Call the listeners of ``event``; whether there was one.

        What a listener raises goes to the loop's exception handler.
        """
        listeners = self._listeners and self._listeners.get(event)
        if not listeners:
            return False
        for listener in tuple(listeners):
            try:
                result = listener(*arguments)
            except (KeyboardInterrupt, SystemExit):
                raise
            except BaseException as error:
                self.listener_failed(error, event)
            else:
                if inspect.isawaitable(result) and event in self.COROUTINE_EVENTS:
                    self._run_listener(result)
        return True

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
        self._check_event(event)
        if not callable(listener):
            raise TypeError(f"a listener must be a function, not {type(listener).__name__}")
        if inspect.iscoroutinefunction(listener) and event not in self.COROUTINE_EVENTS:
            raise TypeError(
                f"a listener for {event!r} cannot be a coroutine function, because the next event "
                "would not wait for it; use `async for message in ws`, or start a task"
            )
        if self._listeners is None:
            self._listeners = {}
        self._listeners.setdefault(event, []).append(function)
        self._listeners_changed(event)
        return listener

    def _listeners_changed(self, event: str) -> None:
        """A listener was added or removed."""
