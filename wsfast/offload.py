"""Threads for what takes so long that the event loop should not wait for it."""

from __future__ import annotations

import asyncio
import functools
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["LARGE", "offload"]

T = TypeVar("T")

# A thread costs 0.1 ms more than doing it here; this takes 1.4 ms at the default level.
LARGE = 2**17
"""Compressing as many bytes takes so long that the other connections should not wait for it."""

# What "unlimited" means: more threads than that would only wait for each other.
MAX_THREADS = 64


async def offload(limit: int, function: Callable[[], T]) -> T:
    """Run ``function`` in a thread.

    Args:
        limit: how many may run at once in the process; 0 for no limit.
        function: what takes long, and lets other threads run meanwhile.
    """
    return await asyncio.get_running_loop().run_in_executor(executor(limit), function)


@functools.cache
def executor(limit: int) -> ThreadPoolExecutor:
    """The threads that those with this limit share. They are started when they are needed."""
    return ThreadPoolExecutor(limit or MAX_THREADS, thread_name_prefix="wsfast")
