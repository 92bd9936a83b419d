"""The clock of many connections: one timer looks after all their deadlines.

A connection, or a handshake, has `tick(now)`. While there is none, there is no timer.
"""

from __future__ import annotations

import asyncio
import weakref
from time import monotonic
from typing import Any

__all__ = ["Sweep", "shared_sweep"]


class Sweep:
    """Calls `tick` of everything in it, once per interval.

    Args:
        interval: in seconds.
    """

    __slots__ = ("_handle", "_interval", "_members")

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._members: set[Any] = set()
        self._handle: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._members)

    def add(self, member: Any) -> None:
        """Look after ``member`` from now on."""
        self._members.add(member)
        if self._handle is None:
            self._schedule()

    def discard(self, member: Any) -> None:
        """Stop looking after ``member``."""
        self._members.discard(member)
        if not self._members and self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _run(self) -> None:
        self._handle = None
        now = monotonic()
        for member in tuple(self._members):
            member.tick(now)
        if self._members:
            self._schedule()

    def _schedule(self) -> None:
        # The loop is not kept: what `sweeps` holds must not keep it alive.
        self._handle = asyncio.get_running_loop().call_later(self._interval, self._run)


sweeps: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, dict[float, Sweep]] = (
    weakref.WeakKeyDictionary()
)


def shared_sweep(loop: asyncio.AbstractEventLoop, interval: float) -> Sweep:
    """The sweep that the client connections of a loop share."""
    by_interval = sweeps.setdefault(loop, {})
    if interval not in by_interval:
        by_interval[interval] = Sweep(interval)
    return by_interval[interval]
