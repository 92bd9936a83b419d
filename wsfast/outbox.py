"""The outbox: sends that take time, and what queues behind them.

A message whose parts come one after the other (from an async iterable, from a file) keeps the
connection's data frames to itself until its last frame, because the frames of two messages cannot
be mixed (RFC 6455 section 5.4). Pings and pongs go between its frames. A large message is
compressed in a thread, and the next waits for it, because it may refer to it. A large message that
is sent in fragments leaves as the peer takes them, so that pings and pongs go between these, too.
"""

from __future__ import annotations

import asyncio
import inspect
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator
from functools import partial
from typing import TYPE_CHECKING, Any

from ._backend import valid_utf8
from .awaitables import Failed, Operation
from .exceptions import SendFailed
from .frames import Opcode, State
from .offload import LARGE, offload

if TYPE_CHECKING:
    from .connection import WebSocket

__all__ = ["Outbox", "as_part", "read_parts"]

READ_SIZE = 65536

# Why reading is stopped: what came is answered faster than the answers are compressed.
IN_OUTBOX = 32


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
    """What waits in the outbox for its turn. Awaiting it waits until it is done."""

    __slots__ = ("_awaited", "connection", "done", "error", "waiter")

    size = 0  # of what it keeps, in bytes

    def __init__(self, connection: WebSocket) -> None:
        super().__init__()
        self._awaited = False
        self.connection = connection
        self.done = False
        self.error: BaseException | None = None
        self.waiter: asyncio.Future[None] | None = None

    @property
    def is_awaited(self) -> bool:
        """Whether somebody waits for it, and so gets to know its error."""
        return self._awaited

    async def run(self) -> None:
        """Do it."""
        raise NotImplementedError

    def cancelled(self) -> None:
        """Nobody waits any more, and it is not done: that does not take it back."""

    def begin(self) -> Any:
        self._awaited = True
        return self._wait()

    async def _wait(self) -> None:
        if not self.done:
            self.waiter = asyncio.get_running_loop().create_future()
            try:
                await self.waiter
            except asyncio.CancelledError:
                if not self.done:
                    self.cancelled()
                raise
        if self.error is not None:
            raise self.error

    def finish(self, error: BaseException | None) -> None:
        """It is done, or cannot be."""
        self.done = True
        self.error = error
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)
        elif error is not None and not self._awaited:
            self.connection.send_failed(error)


class Whole(Job):
    """A message, or a fragment sent by hand, that is all there."""

    __slots__ = ("binary", "compress", "data", "fin")

    def __init__(
        self, connection: WebSocket, data: Any, binary: bool | None, fin: bool, compress: bool
    ) -> None:
        super().__init__(connection)
        # As it is now: it may be changed before it is its turn.
        self.binary = bool(binary) if isinstance(data, str) else binary
        self.data = as_part(data)
        self.fin = fin
        self.compress = compress
        if self.binary is False and fin and not valid_utf8(self.data):
            raise ValueError("data sent as text must be valid UTF-8")

    @property
    def size(self) -> int:  # type: ignore[override]
        return len(self.data)

    async def run(self) -> None:
        connection = self.connection
        deflate = connection.deflate
        if (
            deflate is not None
            and len(self.data) >= max(LARGE, deflate.parameters.threshold)
            and self.compress
            and self.fin
            and not connection.is_sending_fragments
        ):
            limit = deflate.parameters.concurrency_limit
            compressed = await offload(limit, partial(deflate.compress, self.data))
            opcode = Opcode.TEXT if self.binary is False else Opcode.BINARY
            connection.send_deflated(opcode, compressed, len(self.data))
        else:
            connection.message(self.data, binary=self.binary, fin=self.fin, compress=self.compress)
        await connection.outbox.send_rest()


class Rest(Job):
    """What a slow peer has not taken of a message in fragments."""

    __slots__ = ()

    async def run(self) -> None:
        await self.connection.outbox.send_rest()


class Parts(Job):
    """A message whose parts come one after the other, each to be a fragment."""

    __slots__ = ("binary", "compress", "fin", "parts")

    def __init__(
        self,
        connection: WebSocket,
        parts: AsyncIterable[Any],
        binary: bool | None,
        fin: bool,
        compress: bool,
    ) -> None:
        super().__init__(connection)
        self.parts = parts
        self.binary = binary
        self.fin = fin
        self.compress = compress

    def cancelled(self) -> None:
        # What is a whole message is sent all the same; this cannot be.
        if self.connection.outbox is not None:
            self.connection.outbox.give_up("cancelled while sending a fragmented message")

    async def run(self) -> None:
        connection = self.connection
        try:
            await self._send_parts()
        except Exception as error:
            if connection.is_sending_fragments:
                failure = SendFailed("error in fragmented message")
                failure.__cause__ = error
                connection.fail(failure)
            raise

    async def _send_parts(self) -> None:
        """Send each part as a fragment, and an empty last one, since the end is not foreseen."""
        connection = self.connection
        binary = self.binary
        is_text: bool | None = None
        try:
            async for part in self.parts:
                if is_text is None:
                    is_text = isinstance(part, str)
                    binary = not is_text if binary is None else binary
                elif isinstance(part, str) != is_text:
                    raise TypeError("the fragments of a message must be all str or all bytes-like")
                data = as_part(part)
                connection.message(data, binary=binary, fin=False, compress=self.compress)
                await connection.outbox.send_rest()
            if is_text is not None:
                connection.message(b"", fin=self.fin)
                await connection.drain()
        finally:
            close = getattr(self.parts, "aclose", None)
            if close is not None:
                await close()


class Closing(Job):
    """The closing handshake, behind the messages that came before."""

    __slots__ = ("code", "reason")

    def __init__(self, connection: WebSocket, code: int | None, reason: str) -> None:
        super().__init__(connection)
        self.code = code
        self.reason = reason

    async def run(self) -> None:
        self.connection.close_now(self.code, self.reason)


class Outbox:
    """The jobs of a connection that cannot be done at once, in order.

    Args:
        connection: whose ``outbox`` this is while there are jobs.
    """

    def __init__(self, connection: WebSocket) -> None:
        self.connection = connection
        self.size = 0
        """How many bytes wait for their turn."""
        self.rest: tuple[int, int, bytes, int, bool] | None = None
        """What is left of a message in fragments; see `Connection.send_rest`."""
        self._jobs: deque[Job] = deque()
        self._task: asyncio.Task[None] | None = None
        self._stopped = False

    @property
    def rest_size(self) -> int:
        """How many bytes are left of a message in fragments."""
        return 0 if self.rest is None else len(self.rest[2]) - self.rest[3]

    def send_in_fragments(self, data: Any, binary: bool | None, compress: bool) -> Any:
        """Send a message in fragments: at once what the peer takes, then as it takes the rest.

        Raises:
            TypeError, ValueError: ``data`` cannot be sent.
        """
        connection = self.connection
        job = Rest(connection)
        self._jobs.append(job)  # what is sent meanwhile, by who makes a masking key, comes behind
        try:
            connection.message(data, binary=binary, compress=compress)
            self._send_some()
        finally:
            if self.rest is None:
                self._jobs.popleft()
                if self._jobs:
                    self._count(-self._jobs[0].size)
                else:
                    connection.outbox = None
        if self.rest is None:
            return connection.drain()
        self._start()
        return job

    def _send_some(self) -> None:
        """Send of a message in fragments what the peer takes."""
        connection = self.connection
        rest, self.rest = self.rest, None
        if rest is None:
            return
        try:
            self.rest = connection.send_rest(*rest)
        except Exception as error:
            if connection.state is State.OPEN:
                failure = SendFailed("error in fragmented message")
                failure.__cause__ = error
                connection.fail(failure)
            raise

    async def send_rest(self) -> None:
        """Send what is left of a message in fragments, and wait while the peer is slow."""
        connection = self.connection
        self._send_some()
        while self.rest is not None:
            await connection.drain()
            # One pass of the loop to read what has come since, so that pings are answered.
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            self._send_some()
        await connection.drain()

    def put(
        self,
        data: Any,
        binary: bool | None = None,
        fin: bool = True,
        compress: bool = True,
    ) -> Any:
        """Queue a message that is all there, or a fragment.

        Raises:
            TypeError, ValueError: ``data`` cannot be sent.
        """
        return self._add(Whole(self.connection, data, binary, fin, compress))

    def put_parts(
        self, parts: AsyncIterable[Any], binary: bool | None, fin: bool, compress: bool
    ) -> Any:
        """Queue a message that comes in parts."""
        return self._add(Parts(self.connection, parts, binary, fin, compress))

    def close(self, code: int | None, reason: str) -> None:
        """Close the connection when the messages that are there have left.

        One that comes in parts may never end: with such a one the connection is failed.
        """
        if any(isinstance(job, Parts) for job in self._jobs):
            self.give_up("close during fragmented message")
        else:
            self._add(Closing(self.connection, code, reason))

    @property
    def is_closing(self) -> bool:
        """Whether the last of the jobs is to close the connection."""
        return bool(self._jobs) and isinstance(self._jobs[-1], Closing)

    def _count(self, size: int) -> None:
        self.size += size
        self.connection.sends_waiting(IN_OUTBOX, self.size)

    def _add(self, job: Job) -> Any:
        if self.is_closing:
            return Failed(self.connection, self.connection.closed_error)
        if self._jobs:
            self._count(job.size)
        self._jobs.append(job)
        self._start()
        return job

    def _start(self) -> None:
        if self._task is None:
            self._task = self.connection.loop.create_task(self._run())
            self._task.add_done_callback(self._end)
            if self.connection.state is not State.OPEN:  # an eager task has begun already
                self.stop()

    def give_up(self, reason: str) -> None:
        """Fail the connection because a message cannot be finished."""
        self.connection.fail(SendFailed(reason))
        self.stop()

    def stop(self) -> None:
        """Nothing more can be sent: let everybody know who waits."""
        if self._task is not None and not self._stopped:
            self._stopped = True  # a second time would cancel its cleaning up
            self._task.cancel()

    async def wait_stopped(self) -> None:
        """Wait until nothing more is done here."""
        if self._task is not None:
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        while self._jobs:
            try:
                await self._jobs[0].run()
            except Exception as error:
                self._jobs.popleft().finish(error)
            else:
                self._jobs.popleft().finish(None)
            if self._jobs:
                self._count(-self._jobs[0].size)
        self.connection.outbox = None

    def _end(self, task: asyncio.Task[None]) -> None:
        """No further job can be done, if there is one; ``_run`` may not even have begun."""
        if self.connection.outbox is self:
            self.connection.outbox = None
        if self._jobs and self.connection.state is State.OPEN:
            # Who cancels all tasks of a loop cancels this one, too. What it was at is lost, and the
            # next message may refer to it.
            self.connection.fail(SendFailed("cancelled while sending"))
        while self._jobs:
            self._jobs.popleft().finish(self.connection.closed_error())
        self._count(-self.size)


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
