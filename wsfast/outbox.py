"""The outbox: sends that take time, and what queues behind them.

A message whose parts come one after the other (from an async iterable, from a file) keeps the
connection's data frames to itself until its last frame, because the frames of two messages cannot
be mixed (RFC 6455 section 5.4). Pings and pongs go between its frames.
"""

from __future__ import annotations

import asyncio
import inspect
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator
from typing import TYPE_CHECKING, Any

from ._backend import valid_utf8
from .awaitables import Operation
from .exceptions import SendFailed
from .frames import State

if TYPE_CHECKING:
    from .connection import WebSocket

__all__ = ["Outbox", "as_part", "read_parts"]

READ_SIZE = 65536


async def read_parts(file: Any) -> AsyncIterator[Any]:
    """The parts of a file-like object, whose ``read`` may block or be a coroutine function."""
    loop = asyncio.get_running_loop()
    asynchronous = inspect.iscoroutinefunction(file.read)
    first = True
    while True:
        if asynchronous:
            part = await file.read(READ_SIZE)
        else:
            part = await loop.run_in_executor(None, file.read, READ_SIZE)
        if not part and not first:
            return
        yield part  # of an empty file once: it is an empty message
        first = False


class Job(Operation[None]):
    """A message in the outbox. Awaiting it waits until it is sent."""

    __slots__ = ("_awaited", "_outbox", "binary", "data", "done", "error", "fin", "parts", "waiter")

    def __init__(
        self,
        outbox: Outbox,
        data: Any,
        binary: bool | None,
        fin: bool,
        parts: AsyncIterable[Any] | None,
    ) -> None:
        super().__init__()
        self._outbox = outbox
        self._awaited = False
        self.data = data
        self.binary = binary
        self.fin = fin
        self.parts = parts
        self.done = False
        self.error: BaseException | None = None
        self.waiter: asyncio.Future[None] | None = None

    def begin(self) -> Any:
        self._awaited = True
        return self._wait()

    async def _wait(self) -> None:
        if not self.done:
            self.waiter = asyncio.get_running_loop().create_future()
            try:
                await self.waiter
            except asyncio.CancelledError:
                # What is a whole message is sent all the same; what comes in parts cannot be.
                if self.parts is not None and not self.done:
                    self._outbox.give_up("cancelled while sending a fragmented message")
                raise
        if self.error is not None:
            raise self.error

    def finish(self, error: BaseException | None) -> None:
        """The message is sent, or cannot be."""
        self.done = True
        self.error = error
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)
        elif error is not None and not self._awaited:
            self._outbox.connection.send_failed(error)


class Outbox:
    """The jobs of a connection that cannot be done at once, in order.

    Args:
        connection: whose ``outbox`` this is while there are jobs.
    """

    def __init__(self, connection: WebSocket) -> None:
        self.connection = connection
        self._jobs: deque[Job] = deque()
        self._task: asyncio.Task[None] | None = None

    def put(
        self,
        data: Any,
        binary: bool | None = None,
        fin: bool = True,
        parts: AsyncIterable[Any] | None = None,
    ) -> Job:
        """Queue a message; ``parts`` instead of ``data`` if it comes in parts.

        Raises:
            TypeError, ValueError: ``data`` cannot be sent.
        """
        if parts is None:
            # As it is now: it may be changed before it is its turn.
            binary = bool(binary) if isinstance(data, str) else binary
            data = as_part(data)
            if binary is False and fin and not valid_utf8(data):
                raise ValueError("data sent as text must be valid UTF-8")
        job = Job(self, data, binary, fin, parts)
        self._jobs.append(job)
        if self._task is None:
            self._task = self.connection.loop.create_task(self._run())
            self._task.add_done_callback(self._end)
            if self.connection.state is not State.OPEN:  # an eager task has begun already
                self.stop()
        return job

    def give_up(self, reason: str) -> None:
        """Fail the connection because a message cannot be finished."""
        self.connection.fail(SendFailed(reason))
        self.stop()

    def stop(self) -> None:
        """Nothing more can be sent: let everybody know who waits."""
        if self._task is not None:
            self._task.cancel()

    async def _run(self) -> None:
        connection = self.connection
        while self._jobs:
            job = self._jobs[0]
            try:
                if job.parts is None:
                    connection.message(job.data, binary=job.binary, fin=job.fin)
                    await connection.drain()
                else:
                    await self._send_parts(job.parts, job.binary, job.fin)
            except Exception as error:
                self._jobs.popleft()
                job.finish(error)
                if job.parts is not None and connection.is_sending_fragments:
                    failure = SendFailed("error in fragmented message")
                    failure.__cause__ = error
                    connection.fail(failure)
            else:
                self._jobs.popleft()
                job.finish(None)
        connection.outbox = None

    def _end(self, task: asyncio.Task[None]) -> None:
        """No further job can be done, if there is one; ``_run`` may not even have begun."""
        if self.connection.outbox is self:
            self.connection.outbox = None
        while self._jobs:
            self._jobs.popleft().finish(self.connection.closed_error())

    async def _send_parts(self, parts: AsyncIterable[Any], binary: bool | None, fin: bool) -> None:
        """Send each part as a fragment, and an empty last one, since the end is not foreseen."""
        connection = self.connection
        is_text: bool | None = None
        try:
            async for part in parts:
                if is_text is None:
                    is_text = isinstance(part, str)
                    binary = not is_text if binary is None else binary
                elif isinstance(part, str) != is_text:
                    raise TypeError("the fragments of a message must be all str or all bytes-like")
                connection.message(as_part(part), binary=binary, fin=False)
                await connection.drain()
            if is_text is not None:
                connection.message(b"", fin=fin)
                await connection.drain()
        finally:
            close = getattr(parts, "aclose", None)
            if close is not None:
                await close()


def as_part(data: Any) -> bytes:
    """The bytes of a fragment."""
    if isinstance(data, str):
        return data.encode()
    try:
        return memoryview(data).tobytes()
    except TypeError:
        raise TypeError(
            "the fragments of a message must be str or bytes-like, not " + type(data).__name__
        ) from None
