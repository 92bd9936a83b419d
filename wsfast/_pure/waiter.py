"""The pure twin of `wsfast._waiter`: the same protocol. See `_waiter.pyi`, and `_waiter.pyx`."""

from __future__ import annotations

from asyncio import CancelledError, current_task
from collections.abc import Coroutine
from typing import Any

__all__ = ["SENT", "Sent", "Waiter"]


class Waiter(Coroutine[Any, Any, Any]):
    """What a task waits for: a coroutine to asyncio, and to its task a future."""

    __slots__ = (
        "_asyncio_future_blocking",
        "_callback",
        "_cancelled",
        "_context",
        "_loop",
        "_waiting",
    )

    def __init__(self, loop: Any) -> None:
        self._loop = loop
        self._asyncio_future_blocking: bool | None = None
        self._callback: Any = None
        self._context: Any = None
        self._cancelled: Any = None
        self._waiting = False

    def poll(self) -> bool:
        """Raise StopIteration with the result, or the error, or register and return False."""
        raise NotImplementedError

    def forget(self) -> None:
        """Take the registration back."""

    def wake(self, directly: bool) -> bool:
        """Resume the task that waits: True if it ran, False if it will.

        Directly, that is without a pass of the loop, only from the loop's own call, and not where
        the task's context is in use.
        """
        callback, context = self._callback, self._context
        if callback is None:
            return False
        self._callback = None
        if directly and context is not None and current_task(self._loop) is None:
            try:
                context.run(callback, self)
            except RuntimeError:
                if self._callback is not None:
                    raise
            else:
                return True
        self._loop.call_soon(callback, self, context=context)
        return False

    def __await__(self) -> Any:
        return self

    def __iter__(self) -> Any:
        return self

    def __next__(self) -> Any:
        if not self._waiting:
            self.begin()
        try:
            self.poll()
        except BaseException:
            self._waiting = False
            self._asyncio_future_blocking = None
            self.forget()
            raise
        self._waiting = True
        self._asyncio_future_blocking = True
        return self

    def begin(self) -> None:
        """Refuse what cannot be waited for."""

    def send(self, value: Any) -> Any:
        return self.__next__()

    def throw(self, typ: Any, value: Any = None, traceback: Any = None) -> Any:
        self.close()
        if value is None:
            value = typ if isinstance(typ, BaseException) else typ()
        raise value

    def close(self) -> None:
        if self._waiting:
            self._waiting = False
            self.forget()

    # The part of asyncio.Future that a task uses. Without get_loop() it takes _loop.

    def add_done_callback(self, callback: Any, *, context: Any = None) -> None:
        self._callback = callback
        self._context = context

    def remove_done_callback(self, callback: Any) -> int:
        count = int(self._callback is not None)
        self._callback = None
        return count

    def cancel(self, msg: Any = None) -> bool:
        if not self._waiting or self._cancelled is not None:
            return False
        self._cancelled = (msg,) if msg is not None else ()
        callback, self._callback = self._callback, None
        if callback is not None:
            # Never at once: cancel() is called by other tasks.
            self._loop.call_soon(callback, self, context=self._context)
        return True

    def result(self) -> None:
        if self._cancelled is not None:
            arguments, self._cancelled = self._cancelled, None
            raise CancelledError(*arguments)


class Sent(Coroutine[Any, Any, None]):
    """The awaitable of a `send` that is done."""

    __slots__ = ()

    def __await__(self) -> Any:
        return self

    def __iter__(self) -> Any:
        return self

    def __next__(self) -> Any:
        raise StopIteration

    def send(self, value: Any) -> Any:
        raise StopIteration

    def throw(self, typ: Any, value: Any = None, traceback: Any = None) -> Any:
        if value is None:
            value = typ if isinstance(typ, BaseException) else typ()
        raise value

    def close(self) -> None:
        pass


SENT = Sent()
