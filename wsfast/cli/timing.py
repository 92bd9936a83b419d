"""An event loop whose timers are exact enough to send at a rate."""

from __future__ import annotations

import asyncio
import select
import selectors

__all__ = ["new_event_loop"]


def new_event_loop() -> asyncio.AbstractEventLoop:
    """An event loop that wakes up to the microsecond where it would to the millisecond."""
    if hasattr(selectors, "EpollSelector"):
        return asyncio.SelectorEventLoop(PreciseSelector())
    return asyncio.new_event_loop()


if hasattr(selectors, "EpollSelector"):

    class PreciseSelector(selectors.EpollSelector):
        """epoll counts its timeouts in milliseconds, and select() in microseconds."""

        def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
            if timeout is not None and timeout > 0:
                # The epoll instance is a file that is readable when something is ready.
                select.select((self.fileno(),), (), (), timeout)
                timeout = 0
            return super().select(timeout)
