"""The clock of many connections: one timer looks after all their deadlines.

A connection, or a handshake, has `tick(now)`. While there is none, there is no timer.
"""

from __future__ import annotations

import asyncio
import weakref
from time import monotonic
from typing import Any

__all__ = ["Clients", "Sweep"]


class Sweep:
    """Calls `tick` of everything in some sets, once per interval.

    Args:
        interval: in seconds.
        groups: the sets. Whoever adds to one of them calls `start`.
    """

    __slots__ = ("_groups", "_handle", "_interval")

    def __init__(self, interval: float, *groups: set[Any]) -> None:
        self._interval = interval
        self._groups = groups
        self._handle: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """There is something to look after."""
        if self._handle is None:
            # The loop is not kept: what `clients` holds must not keep it alive.
            self._handle = asyncio.get_running_loop().call_later(self._interval, self._run)

    def stop_if_idle(self) -> None:
        """Something went away."""
        if self._handle is not None and not any(self._groups):
            self._handle.cancel()
            self._handle = None

    def _run(self) -> None:
        self._handle = None
        now = monotonic()
        for group in self._groups:
            for member in tuple(group):
                member.tick(now)
        if any(self._groups):
            self.start()


class Clients:
    """The client connections of a loop with the same interval, which share a sweep."""

    __slots__ = ("_members", "_sweep")

    def __init__(self, interval: float) -> None:
        self._members: set[Any] = set()
        self._sweep = Sweep(interval, self._members)

    def add(self, member: Any) -> None:
        """Look after ``member`` from now on."""
        self._members.add(member)
        self._sweep.start()

    def discard(self, member: Any) -> None:
        """Stop looking after ``member``."""
        self._members.discard(member)
        self._sweep.stop_if_idle()

    @classmethod
    def of(cls, loop: asyncio.AbstractEventLoop, interval: float) -> Clients:
        """Those of ``loop``."""
        by_interval = clients.setdefault(loop, {})
        if interval not in by_interval:
            by_interval[interval] = cls(interval)
        return by_interval[interval]


clients: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, dict[float, Clients]] = (
    weakref.WeakKeyDictionary()
)
