"""Rates: what a server or a connection does in a second, over the last seconds."""

from __future__ import annotations

import asyncio
from collections import deque
from inspect import iscoroutinefunction
from time import monotonic
from typing import TYPE_CHECKING, NamedTuple

from .options import check_function, check_time
from .statistics import ServerStatistics, Statistics

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from types import TracebackType

    from .connection import WebSocket
    from .server import WebSocketServer

__all__ = ["Monitor", "Rates"]


class Rates(NamedTuple):
    """What happened in each second, on average; of a single connection only the traffic.

    Args:
        seconds: the time of which this is the average, at most a window and an interval.
        connects: connections that were opened.
        closes: connections that ended.
        refusals: clients that were refused.
        errors: what `ServerStatistics.errors` counts.
    """

    seconds: float
    connects: float
    closes: float
    refusals: float
    errors: float
    messages_received: float
    messages_sent: float
    bytes_received: float
    bytes_sent: float
    frames_received: float
    frames_sent: float
    wire_bytes_received: float
    wire_bytes_sent: float
    messages_dropped: float


TRAFFIC = Rates._fields[5:]
Totals = tuple[float, ...]


class Monitor:
    """Looks at the counters of a server or a connection once in an interval.

    Use it as a context manager, or `start` and `stop` it. ``async for rates in monitor`` gets the
    rates after each interval; who takes longer than that misses some. Iteration ends when the
    monitor is stopped, which it is at the end of a connection.

    It costs nothing for a message, and nothing at all while it is stopped. An interval costs about
    a microsecond for each open connection.

    Args:
        source: a `WebSocketServer` or a `WebSocket`.
        window: over how many seconds the rates are averages.
        interval: how many seconds pass from one look at the counters to the next.
        on_sample: called with the `Rates` after each interval. What it raises goes to the loop's
            exception handler.

    Raises:
        TypeError, ValueError: an argument is not valid. The text names it.
    """

    def __init__(
        self,
        source: WebSocketServer | WebSocket,
        window: float = 10.0,
        interval: float = 1.0,
        *,
        on_sample: Callable[[Rates], object] | None = None,
    ) -> None:
        if not isinstance(getattr(source, "stats", None), (Statistics, ServerStatistics)):
            raise TypeError(f"source must be a WebSocketServer or a WebSocket, not {source!r}")
        check_time("window", window)
        check_time("interval", interval)
        if interval > window:
            raise ValueError(f"interval must be at most the window, {window!r}, not {interval!r}")
        check_function("on_sample", on_sample)
        if iscoroutinefunction(on_sample):
            raise TypeError("on_sample cannot be a coroutine function; use `async for` instead")
        self._source = source
        self._window = window
        self._interval = interval
        self._on_sample = on_sample
        self._history: deque[tuple[float, Totals]] = deque()
        self._handle: asyncio.TimerHandle | None = None
        self._waiters: list[asyncio.Future[Rates | None]] = []

    def start(self) -> Monitor:
        """Begin, in the running loop.

        Raises:
            RuntimeError: it was started and not stopped.
        """
        if self._handle is not None:
            raise RuntimeError("the monitor is started already")
        self._history.clear()
        self._history.append(self._look())
        self._schedule()
        return self

    def stop(self) -> None:
        """End; nothing happens if it was stopped. `rates` keeps its last answer."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
            self._history.append(self._look())
            self._tell(None)

    def rates(self) -> Rates:
        """The rates up to now; zeros if it was never started."""
        if not self._history:
            return Rates(*[0.0] * len(Rates._fields))
        begin, before = self._history[0]
        end, after = self._history[-1] if self._handle is None else self._look()
        seconds = end - begin
        changes = [new - old for old, new in zip(before, after, strict=True)]
        return Rates(seconds, *[change / seconds if seconds else 0.0 for change in changes])

    async def __aenter__(self) -> Monitor:
        return self.start()

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    async def __aiter__(self) -> AsyncIterator[Rates]:
        while self._handle is not None:
            waiter: asyncio.Future[Rates | None] = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            rates = await waiter
            if rates is None:
                return
            yield rates

    def _schedule(self) -> None:
        loop = asyncio.get_running_loop()
        self._handle = loop.call_later(self._interval, self._run, loop)

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        history = self._history
        history.append(self._look())
        begin = history[-1][0] - self._window
        while len(history) > 2 and history[1][0] <= begin:
            history.popleft()
        self._schedule()
        rates = self.rates()
        if self._on_sample is not None:
            try:
                self._on_sample(rates)
            except Exception as error:
                loop.call_exception_handler(
                    {"message": "on_sample raised an exception", "exception": error}
                )
        self._tell(rates)
        if getattr(self._source, "is_over", False):
            self.stop()

    def _look(self) -> tuple[float, Totals]:
        return monotonic(), totals(self._source.stats)

    def _tell(self, rates: Rates | None) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(rates)


def totals(stats: Statistics | ServerStatistics) -> Totals:
    """The counters that `Rates` are made of."""
    life = [0, 0, 0, 0]
    if isinstance(stats, ServerStatistics):
        groups = stats.closes, stats.handshakes_refused, stats.errors
        life = [stats.handshakes_accepted, *(sum(group.values()) for group in groups)]
        stats = stats.traffic
    return (*life, *(getattr(stats, name) for name in TRAFFIC))
