"""Threads for what takes so long that the event loop should not wait for it."""

from __future__ import annotations

import asyncio
import os
import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["LARGE", "offload"]

T = TypeVar("T")

# A thread costs 0.1 ms more than doing it here; this takes 1.4 ms at the default level.
LARGE = 2**17
"""Compressing as many bytes takes so long that the other connections should not wait for it."""

# More threads than that would only wait for each other.
MAX_THREADS = 64


class Threads:
    """The threads of the process, and who waits for one.

    What runs is counted in the thread, because it runs on when nobody waits for it any more.
    """

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(MAX_THREADS, thread_name_prefix="wsfast")
        self._lock = threading.Lock()
        self._running = 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    async def run(self, limit: int, function: Callable[[], T]) -> T:
        """See `offload`."""
        loop = asyncio.get_running_loop()
        with self._lock:
            turn = None
            if limit and self._running >= limit:
                turn = loop.create_future()
                self._waiting.append((limit, turn))
            else:
                self._running += 1
        if turn is not None:
            try:
                await turn
            except asyncio.CancelledError:
                self._give_up(turn)
                raise
        # Shielded, or what is cancelled before it begins would never end.
        return await asyncio.shield(loop.run_in_executor(self._executor, self._work, function))

    def _work(self, function: Callable[[], T]) -> T:
        try:
            return function()
        finally:
            self._end()

    def _end(self) -> None:
        """One has ended: it is the turn of the next whose limit allows it."""
        with self._lock:
            self._running -= 1
            self._wake()

    def _wake(self) -> None:
        while self._waiting and self._running < self._waiting[0][0]:
            _, turn = self._waiting.popleft()
            try:
                turn.get_loop().call_soon_threadsafe(take_turn, turn)
            except RuntimeError:
                continue  # its loop is closed
            self._running += 1

    def _give_up(self, turn: asyncio.Future[None]) -> None:
        """Whoever waited for this turn does not want it any more."""
        with self._lock:
            waiting = deque(entry for entry in self._waiting if entry[1] is not turn)
            if len(waiting) == len(self._waiting):
                self._running -= 1  # it had come
            self._waiting = waiting
            self._wake()


def take_turn(turn: asyncio.Future[None]) -> None:
    if not turn.done():
        turn.set_result(None)


async def offload(limit: int, function: Callable[[], T]) -> T:
    """Run a function in a thread.

    Args:
        limit: how many may run in the process for it to begin; 0 for no limit.
        function: what takes long, and lets other threads run meanwhile.

    Returns:
        What the function returns; what it raises is raised.
    """
    return await threads.run(limit, function)


threads = Threads()


def forget_threads() -> None:
    """A child process has none of its parent's threads."""
    global threads
    threads = Threads()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=forget_threads)
