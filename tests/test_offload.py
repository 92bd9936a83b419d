"""Threads for what takes long: how many at once, cancelling, other loops, child processes."""

import asyncio
import os
import threading
import time

import pytest
from peers import PATIENCE, until

from wsfast import offload as offloading
from wsfast.offload import offload


class Work:
    """What runs in threads until it is told to end; it counts how many do."""

    def __init__(self):
        self.running = self.most = 0
        self._lock = threading.Lock()
        self._go_on = threading.Semaphore(0)

    def __call__(self):
        with self._lock:
            self.running += 1
            self.most = max(self.most, self.running)
        ended = self._go_on.acquire(timeout=PATIENCE)
        with self._lock:
            self.running -= 1
        assert ended
        return "done"

    def end(self, count=1):
        self._go_on.release(count)


async def test_the_result_and_the_exception_are_the_functions():
    assert await offload(1, lambda: 5) == 5
    with pytest.raises(ZeroDivisionError):
        await offload(1, lambda: 1 / 0)
    assert await offload(1, lambda: 5) == 5


async def test_a_limit_counts_what_runs_under_other_limits():
    work = Work()
    first = [asyncio.create_task(offload(0, work)) for _ in range(3)]
    await until(lambda: work.running == 3)
    second = asyncio.create_task(offload(3, work))
    third = asyncio.create_task(offload(4, work))
    await until(lambda: work.running == 4)
    work.end(2)
    await until(lambda: work.running == 3)
    work.end(3)
    assert await asyncio.gather(*first, second, third) == ["done"] * 5
    assert work.most == 4


async def test_who_waits_may_be_cancelled():
    work = Work()
    running = asyncio.create_task(offload(1, work))
    await until(lambda: work.running == 1)
    waiting = [asyncio.create_task(offload(1, work)) for _ in range(3)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    waiting[1].cancel()
    work.end(2)
    assert await asyncio.gather(running, waiting[2]) == ["done"] * 2
    assert waiting[0].cancelled()
    assert await offload(1, lambda: 1) == 1


async def test_who_is_cancelled_when_it_is_his_turn_leaves_it_to_the_next():
    work = Work()
    running = asyncio.create_task(offload(1, work))
    await until(lambda: work.running == 1)
    waiting = asyncio.create_task(offload(1, work))
    await asyncio.sleep(0)
    work.end()
    while offloading.threads._waiting:  # without the loop, which would let him begin
        time.sleep(0.001)
    waiting.cancel()
    assert await offload(1, lambda: 1) == 1
    assert await running == "done"


async def test_a_thread_whose_waiter_is_cancelled_counts_until_it_ends():
    work = Work()
    task = asyncio.create_task(offload(1, work))
    await until(lambda: work.running == 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    waiting = asyncio.create_task(offload(1, lambda: 1))
    await asyncio.sleep(0)
    assert not waiting.done()
    work.end()
    assert await waiting == 1


def test_a_loop_that_was_closed_is_passed_over():
    work = Work()

    async def leave():
        tasks = [asyncio.ensure_future(offload(1, work)) for _ in range(2)]
        await until(lambda: work.running == 1)
        return tasks

    loop = asyncio.new_event_loop()
    tasks = loop.run_until_complete(leave())
    for task in tasks:
        task.cancel()
    loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
    loop.close()
    work.end()
    assert asyncio.run(asyncio.wait_for(offload(1, lambda: 1), PATIENCE)) == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="only Unix has fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_child_process_has_threads_of_its_own():
    assert asyncio.run(offload(1, lambda: 1)) == 1
    child = os.fork()
    if child == 0:
        status = 1
        try:
            status = asyncio.run(asyncio.wait_for(offload(1, lambda: 1), PATIENCE)) - 1
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
