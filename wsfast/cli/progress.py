"""How far a load is, while it runs."""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import TYPE_CHECKING, TextIO

from .report import plural, short

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from .loading import Load

__all__ = ["Progress"]

# In seconds: how often the line of a terminal changes, and how often a line is added elsewhere.
REFRESH = 0.2
REPORT = 1.0


class Progress:
    """Shows a load's progress inside a ``with`` block.

    Args:
        load: the load.
        stream: where to; a terminal has one line that changes, anything else gets a line every
            second, or ten in all if that is fewer.
    """

    def __init__(self, load: Load, stream: TextIO) -> None:
        self._load = load
        self._stream = stream
        self._terminal = stream.isatty()
        self._interval = REFRESH if self._terminal else max(REPORT, (load.plan.duration or 0) / 10)
        self._seen = (0, 0.0)
        self._timer: asyncio.TimerHandle | None = None

    def __enter__(self) -> None:
        self._show()

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._terminal:
            self._write("\r\x1b[K")

    def _show(self) -> None:
        line = self._line()
        if self._terminal:
            self._write(f"\r\x1b[K{line[: self._width() - 1]}")
        elif self._timer is not None:  # not before the first second is over
            self._write(f"{line}\n")
        self._timer = asyncio.get_running_loop().call_later(self._interval, self._show)

    def _write(self, text: str) -> None:
        with contextlib.suppress(OSError):  # nobody looks any more
            self._stream.write(text)
            self._stream.flush()

    def _width(self) -> int:
        try:
            return os.get_terminal_size(self._stream.fileno()).columns or 80
        except OSError:
            return 80

    def _line(self) -> str:
        load, plan = self._load, self._load.plan
        bad = load.failed + load.lost
        failed = [f"{bad:,} failed"] if bad else []
        if load.phase == "opening":
            parts = [f"opening connections: {load.opened:,} of {plan.connections:,}"]
        elif load.phase == "sending":
            parts = [self._when(), self._rate(), *self._latency(), f"{load.open:,} open"]
        elif load.phase == "waiting" and plan.echo:
            parts = [f"waiting for {plural(load.in_flight, 'answer')}"]
        elif load.phase == "waiting":
            parts = ["waiting until all is read"]
        else:
            parts = [f"closing {plural(load.open, 'connection')}"]
        return ", ".join(parts + failed)

    def _when(self) -> str:
        plan, load = self._load.plan, self._load
        if plan.messages is not None:
            return f"{self._count():,} of {plural(plan.messages, 'message')}"
        if plan.duration is not None:
            return f"{load.time:.1f} of {plan.duration:g} s"
        return f"{load.time:.1f} s"

    def _count(self) -> int:
        return self._load.answered if self._load.plan.echo else self._load.sent

    def _rate(self) -> str:
        count, time = self._count(), self._load.time
        before, then = self._seen
        self._seen = count, time
        return f"{(count - before) / max(time - then, 1e-9):,.0f} messages/s"

    def _latency(self) -> Iterator[str]:
        latency = self._load.latency
        if latency.count:
            yield f"p50 {short(latency.percentile(50) / 1e6)} ms"
            yield f"p99 {short(latency.percentile(99) / 1e6)} ms"
        elif self._load.plan.echo:
            yield "no answers yet"
