"""Connecting again: when, how often, and what is not tried again."""

from __future__ import annotations

import asyncio
import random
import ssl
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any

from ._backend import Connection
from .awaitables import Failed
from .connecting import Opening
from .exceptions import (
    ConnectionClosed,
    InvalidMessage,
    InvalidProxyStatus,
    InvalidStatus,
    NetworkError,
    ProxyError,
    SendFailed,
    WriteBufferFull,
)
from .frames import State
from .options import FOREVER, check_time
from .outbox import Whole

if TYPE_CHECKING:
    from .client import connect
    from .connection import WebSocket

__all__ = ["Reconnection", "Schedule", "backoff", "process_exception"]

# RFC 6455 section 7.4.1: trying again would end the same way.
FINAL_CODES = {1000, 1002, 1003, 1007, 1008, 1009, 1010, 1015}

# Those of a server, or of what stands in front of it, that may be back in a moment.
PASSING_STATUSES = {500, 502, 503, 504}

# Of a SOCKS proxy that does not reach the server: RFC 1928 section 6, and 91 of SOCKS4.
PASSING_REPLIES = {1, 3, 4, 5, 6, 91}


def backoff(first: float = 0.5, factor: float = 2.0, longest: float = 60.0) -> Iterator[float]:
    """Delays that grow exponentially, each cut by up to a half at random.

    A server that comes back is not met by all its clients at once (RFC 6455 section 7.2.3).

    Args:
        first: the first delay, in seconds.
        factor: how much longer each is than the one before.
        longest: where they stop growing, in seconds.

    Raises:
        TypeError, ValueError: at the call; a time is not positive, or the factor is below 1.
    """
    check_time("first", first)
    check_time("longest", longest)
    if isinstance(factor, bool) or not isinstance(factor, (int, float)):
        raise TypeError(f"factor must be a number, not {factor!r}")
    if not factor >= 1:
        raise ValueError(f"factor must be at least 1, not {factor!r}")
    return growing(first, factor, longest)


def growing(first: float, factor: float, longest: float) -> Iterator[float]:
    """The delays; a generator, which would check nothing before it is asked for the first."""
    delay = min(first, longest)
    while True:
        yield delay * random.uniform(0.5, 1.0)
        delay = min(delay * factor, longest)


def process_exception(error: Exception) -> Exception | None:
    """Decide whether to connect again after ``error``: None to do so, or the exception to raise.

    What may pass is tried again: a server that cannot be reached, does not answer in time, hangs up
    in the opening handshake or answers it with 500, 502, 503 or 504; a proxy that does not reach
    the server; a connection that is lost, or closed by either side with another code than 1000 and
    those that say that one side does what the other does not accept. Certificates that are not
    valid, other statuses and other answers are not.
    """
    if isinstance(error, ConnectionClosed):
        close = error.rcvd or error.sent
        return error if close is not None and close.code in FINAL_CODES else None
    if isinstance(error, (InvalidStatus, InvalidProxyStatus)):
        return None if error.response.status_code in PASSING_STATUSES else error
    if isinstance(error, NetworkError) and isinstance(error.__cause__, ssl.CertificateError):
        return error
    if isinstance(error, OSError):  # an OpenTimeout, too
        return None
    if isinstance(error, InvalidMessage) and isinstance(error.__cause__, EOFError):
        return None
    if isinstance(error, ProxyError):
        return None if getattr(error.__cause__, "error_code", None) in PASSING_REPLIES else error
    return error


class Schedule:
    """When to connect again, from what the user set.

    Args:
        process_exception: as the function of this name.
        delays: makes an iterator of delays, as `backoff`.
        min_uptime: how long, in seconds, a connection must have been open for the delays to start
            over.
        max_attempts: how often to try again in a row; None for no limit.
        max_elapsed: how long to try, in seconds; None for no limit.
    """

    def __init__(
        self,
        process_exception: Callable[[Exception], Exception | None],
        delays: Callable[[], Iterator[float]],
        min_uptime: float,
        max_attempts: int | None,
        max_elapsed: float | None,
    ) -> None:
        self._process_exception = process_exception
        self._make_delays = delays
        self._min_uptime = min_uptime
        self._max_attempts = max_attempts
        self._max_elapsed = max_elapsed
        self._delays = iter(delays())
        self._attempts = 0
        self._down_since: float | None = None
        self._open_since: float | None = None
        self.is_exhausted = False
        """Whether one of the limits was reached."""

    @property
    def is_open(self) -> bool:
        """Whether there is a connection, as far as is known here."""
        return self._open_since is not None

    def opened(self) -> None:
        """A connection is open."""
        self._open_since = monotonic()

    def next_delay(self, error: Exception | None) -> float | Exception:
        """How long to wait, in seconds, before the next attempt; or why there is none.

        Args:
            error: what ended the connection, or made the last attempt fail; None if the user asks
                for another connection.

        Returns:
            The delay; or the exception that ``process_exception`` returns or raises; or ``error``,
            if one of the limits is reached; or what is wrong with the delays.
        """
        try:
            return self._next_delay(error, monotonic())
        except Exception as failure:
            return failure

    def _next_delay(self, error: Exception | None, now: float) -> float | Exception:
        if self._open_since is not None and now - self._open_since >= self._min_uptime:
            self._delays = iter(self._make_delays())
            self._attempts = 0
            self._down_since = None
        self._open_since = None
        if self._down_since is None:
            self._down_since = now
        if error is None:
            return self._draw() or 0.0
        verdict = self._process_exception(error)
        if verdict is not None:
            if not isinstance(verdict, Exception):
                raise TypeError(
                    f"process_exception must return an exception or None, not {verdict!r}"
                )
            return verdict
        self._attempts += 1
        delay = self._draw()
        self.is_exhausted = (
            delay is None
            or (self._max_attempts is not None and self._attempts > self._max_attempts)
            or (
                self._max_elapsed is not None and now + delay - self._down_since > self._max_elapsed
            )
        )
        return error if delay is None or self.is_exhausted else delay

    def _draw(self) -> float | None:
        """The next of the delays, None if there is none."""
        delay = next(self._delays, None)
        if delay is not None and not (isinstance(delay, (int, float)) and 0 <= delay <= FOREVER):
            raise ValueError(f"reconnect_delays must give numbers of seconds, not {delay!r}")
        return delay


class Reconnection:
    """What lets a WebSocket live again.

    Args:
        config: how to connect.
        resend_limit: how many bytes of messages to keep while there is no connection.
    """

    def __init__(self, config: connect, resend_limit: int) -> None:
        self._config = config
        self._schedule = config.schedule()
        self._resend_limit = resend_limit
        self._kept: deque[Whole] = deque()
        self._kept_size = 0
        self._opening: Opening | None = None
        self._task: asyncio.Task[None] | None = None
        self._is_begun = False  # the task
        self._stopped = False
        self.is_over = False
        """Whether there will be no further attempt."""
        self.error: Exception | None = None
        """What to tell at the end, if it is not the error of the last connection."""

    @property
    def is_waiting(self) -> bool:
        """Whether the delay before the next attempt is not over."""
        return self._opening is not None and self._opening.is_waiting

    def stop(self) -> None:
        """The user closes: do not connect again."""
        self._stopped = True

    def opened(self, websocket: WebSocket) -> None:
        """The connection is open: send what was kept."""
        self._schedule.opened()
        while self._kept and websocket.state is State.OPEN:
            message = self._kept.popleft()
            self._kept_size -= message.size
            try:
                # It is encoded, if there is a codec.
                Connection.send(
                    websocket, message.data, binary=message.binary, compress=message.compress
                )
            except Exception as error:  # of generate_mask
                message.finish(error)
            else:
                message.finish(None)

    def begin(self, websocket: WebSocket) -> bool:
        """The connection is lost, or cannot be made; returns whether to connect again."""
        error: Any = websocket.closed_error() if self._schedule.is_open else websocket.error
        delay = error if self._stopped else self._schedule.next_delay(error)
        if delay is None or isinstance(delay, Exception):
            if delay is not error:
                self.error = delay
            self._end(websocket)
            return False
        self._config.reconnecting(error, delay)
        self._is_begun = False
        self._task = websocket.loop.create_task(self._run(websocket, delay, error))
        self._task.add_done_callback(partial(self._done, websocket))
        return True

    def _done(self, websocket: WebSocket, task: asyncio.Task[None]) -> None:
        # Who cancels all tasks of a loop may cancel this one before it begins.
        if task.cancelled() and not self._is_begun:
            self._end(websocket)
            websocket.tell_closed()

    async def _run(self, websocket: WebSocket, delay: float, error: Exception) -> None:
        self._is_begun = True
        try:
            # An eager task runs in the middle of the last life's end.
            await asyncio.sleep(0)
            if websocket.outbox is not None:
                await websocket.outbox.wait_stopped()
        except asyncio.CancelledError:
            self._stopped = True
        if self._stopped:
            self._end(websocket)
            websocket.tell_closed()
            return
        self._opening = Opening(self._config, websocket)
        self._opening.is_waiting = True
        websocket.emit("reconnecting", delay, error)
        # An exception that this ends with knows this frame, which is not to keep the WebSocket.
        del websocket, error
        await self._opening.run_in_background(delay)

    def _end(self, websocket: WebSocket) -> None:
        self.is_over = True
        if websocket.error is None and not all(message.is_awaited for message in self._kept):
            self.error = self.error or SendFailed("messages kept for the next connection are lost")
        websocket._send_failure_told = True  # by that error, before the end is told
        while self._kept:
            self._kept.popleft().finish(websocket.closed_error())
        self._kept_size = 0

    def keep(self, websocket: WebSocket, data: Any, binary: bool | None, compress: bool) -> Any:
        """Keep a message for the next connection; returns the awaitable of its sending."""
        if self.is_over or self._stopped or not self._resend_limit:
            return Failed(websocket, websocket.closed_error)
        message = Whole(websocket, data, binary, True, compress)
        size = self._kept_size + message.size
        if size > self._resend_limit:
            return Failed(websocket, WriteBufferFull(size, self._resend_limit))
        self._kept_size = size
        self._kept.append(message)
        return message
