"""What sessions answer: at once, by an awaitable, or by a callback."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable
from types import FunctionType
from typing import Any
from weakref import WeakKeyDictionary

from .interface import Process, Session

__all__ = ["Answer", "begin", "close_session", "processor"]

logger = logging.getLogger("wsfast.extensions")

# Whether a function takes a callback, for each that was looked at.
_TAKES_CALLBACK: WeakKeyDictionary[FunctionType, bool] = WeakKeyDictionary()
# The loop alone does not keep its tasks.
_closings: set[asyncio.Future[Any]] = set()


class Answer:
    """What a session has answered or will answer; also the callback that it gets."""

    __slots__ = ("_task", "done", "error", "listener", "message")

    def __init__(self) -> None:
        self.done = False
        self.error: object = None
        self.message: Any = None
        self.listener: Callable[[object, Any], None] | None = None
        self._task: asyncio.Future[Any] | None = None

    def __call__(self, error: object = None, message: Any = None) -> None:
        """Take the answer, if it is the first one."""
        if self.done:
            return
        self.done = True
        if error is None and message is None:
            error = no_message()
        self.error = error
        self.message = None if error is not None else message
        if self.listener is not None:
            self.listener(self.error, self.message)

    def follow(self, awaitable: Any, *, errors_only: bool = False) -> None:
        """Take what ``awaitable`` gives; with ``errors_only``, what it raises."""
        future = run(awaitable)
        if future is not awaitable:
            self._task = future
        future.add_done_callback(self._failed if errors_only else self._finished)

    def cancel(self) -> None:
        """Take no answer any more."""
        self.done = True
        if self._task is not None:
            self._task.cancel()

    def _finished(self, future: asyncio.Future[Any]) -> None:
        error = error_of(future)
        self(error, None if error else future.result())

    def _failed(self, future: asyncio.Future[Any]) -> None:
        error = error_of(future)
        if error is not None:
            self(error)


def no_message() -> TypeError:
    """The error of a session that answered None."""
    return TypeError("the session gave None instead of a message")


def run(awaitable: Any) -> asyncio.Future[Any]:
    """The future of an awaitable, which is started if need be.

    Raises:
        RuntimeError: there is no running event loop.
    """
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        if inspect.iscoroutine(awaitable):
            awaitable.close()  # or it complains that nobody awaited it
        raise
    future: asyncio.Future[Any] = asyncio.ensure_future(awaitable, loop=loop)
    return future


def error_of(future: asyncio.Future[Any]) -> BaseException | None:
    """What a finished future raises, which counts as looked at then."""
    if future.cancelled():
        return asyncio.CancelledError()
    return future.exception()


def begin(result: Any) -> Answer | None:
    """The answer of a session that did not return its message; None if ``result`` is the message.

    Args:
        result: what its function has returned.

    Raises:
        TypeError: ``result`` is None.
        RuntimeError: ``result`` is an awaitable, and there is no running event loop.
    """
    if result is None:
        raise no_message()
    if isinstance(result, Answer):
        return result
    if not inspect.isawaitable(result):
        return None
    answer = Answer()
    answer.follow(result)
    return answer


def processor(function: Process) -> Callable[[Any], Any]:
    """A session's function as one that takes only the message.

    Returns:
        ``function`` itself, unless it takes a callback: then one that returns an `Answer`.
    """
    return with_callback(function) if takes_callback(function) else function


def takes_callback(function: Process) -> bool:
    """Whether a second positional parameter is there to take a callback."""
    method = getattr(function, "__func__", None)
    if isinstance(method, FunctionType) and method in _TAKES_CALLBACK:
        return _TAKES_CALLBACK[method]
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # as of some functions that are written in C
        return False
    positional = [
        item
        for item in parameters
        if item.kind in (item.POSITIONAL_ONLY, item.POSITIONAL_OR_KEYWORD)
    ]
    takes = len(positional) > 1 and (
        positional[1].name == "callback" or positional[1].default is inspect.Parameter.empty
    )
    if isinstance(method, FunctionType):
        _TAKES_CALLBACK[method] = takes
    return takes


def with_callback(function: Process) -> Callable[[Any], Any]:
    """Give ``function`` an `Answer` to call, and return it."""

    def process(message: Any) -> Any:
        answer = Answer()
        try:
            returned = function(message, answer)
            if returned is not None and inspect.isawaitable(returned):
                answer.follow(returned, errors_only=True)
        except Exception:
            if not answer.done:
                answer.cancel()
                raise
            logger.exception("a session failed after it had answered")
        return answer

    return process


def close_session(name: str, session: Session) -> None:
    """Close a session; what that raises is logged, and nobody waits for it."""
    try:
        returned = session.close()
        if inspect.isawaitable(returned):
            future = run(returned)
            _closings.add(future)
            future.add_done_callback(lambda future: closed(name, future))
    except Exception:
        logger.exception("the session of extension %s failed to close", name)


def closed(name: str, future: asyncio.Future[Any]) -> None:
    """What a session's closing that took longer ends with."""
    _closings.discard(future)
    error = error_of(future)
    if error is not None:
        logger.error("the session of extension %s failed to close", name, exc_info=error)
