"""Awaitables that act when they are made, or when they are awaited, but never complain.

The coroutine of an ``async def`` that nobody awaits warns, and one that raises early raises late.
These are coroutines to asyncio (`create_task`, `wait_for`, `gather` take them) without either.
"""

from __future__ import annotations

import inspect
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Completion", "Deferred", "Failed", "Operation"]

T = TypeVar("T")


class Operation(Coroutine[Any, Any, T]):
    """Something that can be awaited, or not."""

    __slots__ = ("_iterator",)

    def __init__(self) -> None:
        self._iterator: Iterator[Any] | None = None

    def begin(self) -> Any:
        """Called at the first await: the result, or the awaitable to wait for."""
        raise NotImplementedError

    def __await__(self) -> Any:
        return self

    def __iter__(self) -> Any:
        return self

    def __next__(self) -> Any:
        return self.send(None)

    def send(self, value: Any) -> Any:
        iterator = self._iterator
        if iterator is None:
            waited = self.begin()
            if not inspect.isawaitable(waited):
                raise StopIteration(waited)
            iterator = self._iterator = waited.__await__()
        return next(iterator) if value is None else iterator.send(value)  # type: ignore[attr-defined]

    def throw(self, typ: Any, value: Any = None, traceback: Any = None) -> Any:
        if value is None:
            value = typ if isinstance(typ, BaseException) else typ()
        throw = getattr(self._iterator, "throw", None)
        if throw is None:
            raise value
        return throw(value)

    def close(self) -> None:
        close = getattr(self._iterator, "close", None)
        if close is not None:
            close()


class Completion(Operation[T]):
    """The end of something that was begun.

    Args:
        wait: called at the first await; returns the awaitable to wait for.
    """

    __slots__ = ("_wait",)

    def __init__(self, wait: Callable[[], Any]) -> None:
        super().__init__()
        self._wait = wait

    def begin(self) -> Any:
        return self._wait()


class Deferred(Operation[Any]):
    """A call made on another thread than the connection's: it acts when the loop awaits it."""

    __slots__ = ("_arguments", "_function", "_options")

    def __init__(self, function: Callable[..., Any], *arguments: Any, **options: Any) -> None:
        super().__init__()
        self._function = function
        self._arguments = arguments
        self._options = options

    def begin(self) -> Any:
        return self._function(*self._arguments, **self._options)


class Failed(Operation[Any]):
    """A call that the connection's state does not allow: awaiting it raises.

    If nobody awaits it, the connection is told once, so that the error is not lost.

    Args:
        connection: has `send_failed(error)`.
        error: the exception, or a function that makes it.
    """

    __slots__ = ("_awaited", "_connection", "_error")

    def __init__(self, connection: Any, error: Any) -> None:
        super().__init__()
        self._connection = connection
        self._error = error
        self._awaited = False

    def begin(self) -> Any:
        self._awaited = True
        raise self._error if isinstance(self._error, BaseException) else self._error()

    def __del__(self) -> None:
        if not self._awaited:
            error = self._error if isinstance(self._error, BaseException) else self._error()
            self._connection.send_failed(error)
