"""What `recv` and a `send` to a slow peer wait for; compiled, it is in `_waiting.pxi`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..exceptions import ConcurrencyError, ConnectionClosedOK
from .protocol import CLOSED
from .reasons import QUEUE_FULL
from .waiter import Waiter

if TYPE_CHECKING:
    from collections.abc import Generator

    from .core import Connection

__all__ = ["BATCH", "FRAGMENT", "MESSAGE", "Drain", "Receive"]

# What a Receive takes.
MESSAGE, FRAGMENT, BATCH = range(3)


class Receive(Waiter):
    """The awaitable of `recv`."""

    __slots__ = ("_connection", "_decode", "_iterating", "_unit")

    def __init__(
        self,
        connection: Connection,
        unit: int,
        decode: bool | None = None,
        iterating: bool = False,
    ) -> None:
        self._connection = connection
        self._unit = unit
        self._decode = decode
        self._iterating = iterating
        # As Waiter does it, without another call.
        self._loop = connection.loop
        self._asyncio_future_blocking = self._callback = self._cancelled = self._steps = None

    def __await__(self) -> Generator[Any, None, Any]:
        connection = self._connection
        if connection._receiver is not None:
            raise ConcurrencyError(
                "cannot call recv while another coroutine is already running recv"
            )
        if connection.message_listener is not None:
            raise ConcurrencyError("cannot call recv while a message listener is attached")
        try:
            while not connection._queue or (result := self._take(connection)) is None:
                if connection._discarding:
                    error = connection.closed_error()
                    if self._iterating and isinstance(error, ConnectionClosedOK):
                        raise StopAsyncIteration
                    raise error
                connection._receiver = self
                if connection._stopped & QUEUE_FULL:
                    # Of a message that comes in fragments there may be more than the queue takes.
                    connection._go_on(QUEUE_FULL)
                self._asyncio_future_blocking = True
                yield self
            waiting = len(connection._queue)
            if connection._stopped & QUEUE_FULL and waiting <= connection._max_queue // 4:
                connection._go_on(QUEUE_FULL)
            return result
        finally:
            self._asyncio_future_blocking = None
            if connection._receiver is self:
                connection._receiver = None

    def _take(self, connection: Connection) -> Any:
        if self._unit == MESSAGE and self._decode is None and not connection._handling:
            return connection._queue.take_message()
        if self._unit == FRAGMENT:
            return connection._queue.take_fragment()
        result = connection._next_message(self._decode)
        if self._unit == MESSAGE or result is None:
            return result
        batch = [result]
        while (message := connection._next_message(self._decode)) is not None:
            batch.append(message)
        return batch


class Drain(Waiter):
    """The awaitable of a `send` that found the peer slow."""

    __slots__ = ("_connection", "_reader")

    def __init__(self, connection: Connection) -> None:
        Waiter.__init__(self, connection.loop)
        self._connection = connection
        self._reader = connection._reader  # of the life of the connection that it waits in

    def __await__(self) -> Generator[Any, None, None]:
        connection = self._connection
        try:
            while connection._blocked and not self._is_over():
                if self not in connection._drains:
                    connection._drains.append(self)
                self._asyncio_future_blocking = True
                yield self
        finally:
            self._asyncio_future_blocking = None
            if self in connection._drains:
                connection._drains.remove(self)
        if self._is_over():
            raise connection.closed_error()

    def _is_over(self) -> bool:
        connection = self._connection
        return connection.state is CLOSED or connection._reader is not self._reader
