"""The pure twin of `wsfast._waiter`: the same protocol. See `_waiter.pyi`, and `_waiter.pyx`.

One thing differs: what runs while a task waits is a generator, which plain Python resumes much
faster than it calls a method that then raises StopIteration.
"""

from __future__ import annotations

from asyncio import CancelledError, Future, Task, current_task
from collections.abc import Coroutine, Generator
from typing import Any

__all__ = ["SENT", "Sent", "Waiter"]


def no_task_runs(loop: Any) -> bool:
    """Whether no task runs, so that one may be resumed in a call of the loop.

    Not in one that `nest_asyncio` changed: it is run again in calls of its own, and such a call is
    not made again before it ends.
    """
    return current_task(loop) is None and not getattr(loop, "_nest_patched", False)


class Waiter(Coroutine[Any, Any, Any]):
    """What a task waits for: a coroutine to asyncio, and to its task a future."""

    __slots__ = (
        "_asyncio_future_blocking",
        "_callback",
        "_cancelled",
        "_context",
        "_loop",
        "_steps",
    )

    def __init__(self, loop: Any) -> None:
        self._loop = loop
        # None while nobody waits.
        self._asyncio_future_blocking: bool | None = None
        self._callback: Any = None
        self._cancelled: Any = None
        self._steps: Generator[Any, None, Any] | None = None

    def __await__(self) -> Generator[Any, None, Any]:
        """Register, yield the waiter until there is something to return, and take it back."""
        raise NotImplementedError

    def wake(self, directly: bool) -> bool:
        """Resume the task that waits: True if it ran, False if it will.

        Directly, that is without a pass of the loop, only from the loop's own call, and not where
        the task's context is in use.
        """
        callback = self._callback
        if callback is None:
            return False
        context = self._context
        self._callback = None
        if directly and context is not None and no_task_runs(self._loop):
            try:
                context.run(callback, FINISHED if is_of_task(callback) else self)
            except RuntimeError:
                if self._callback is not None:
                    raise
            else:
                return True
        self._loop.call_soon(callback, self, context=context)
        return False

    # The part of a coroutine that `create_task` and the like use

    def send(self, value: Any) -> Any:
        if self._steps is None:
            self._steps = self.__await__()
        try:
            return self._steps.send(value)
        except BaseException:
            self._steps = None
            raise

    def __iter__(self) -> Any:
        return self

    def __next__(self) -> Any:
        return self.send(None)

    def throw(self, typ: Any, value: Any = None, traceback: Any = None) -> Any:
        self.close()
        if value is None:
            value = typ if isinstance(typ, BaseException) else typ()
        raise value

    def close(self) -> None:
        if self._steps is not None:
            self._steps.close()
            self._steps = None

    # The part of asyncio.Future that a task uses. Without get_loop() it takes _loop.

    def add_done_callback(self, callback: Any, *, context: Any = None) -> None:
        self._callback = callback
        self._context = context

    def remove_done_callback(self, callback: Any) -> int:
        count = int(self._callback is not None)
        self._callback = None
        return count

    def cancel(self, msg: Any = None) -> bool:
        if self._asyncio_future_blocking is None or self._cancelled is not None:
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


def is_of_task(callback: Any) -> bool:
    """Whether it is what asyncio's own tasks register. See `_waiter.pyx`."""
    return type(getattr(callback, "__self__", None)) is Task


class NoLoop:
    def get_debug(self) -> bool:
        return False


FINISHED: Any = Future(loop=NoLoop())  # type: ignore[arg-type]
FINISHED.set_result(None)


# It is at its end: awaiting it costs no exception.
DONE = iter(())
next(DONE, None)


class Sent(Coroutine[Any, Any, None]):
    """The awaitable of a `send` that is done."""

    __slots__ = ()

    def __await__(self) -> Any:
        return DONE

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
