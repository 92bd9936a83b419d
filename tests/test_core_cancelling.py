"""A recv() that is cancelled, at any point, loses no message."""

import asyncio
import random

import pytest
from frames import PONG, TEXT, ZERO, frame
from twins import BACKENDS, make_connection


@pytest.fixture(params=BACKENDS, ids=str)
def backend(request):
    return request.param


def texts(*numbers):
    """Text messages to a server, each with a number."""
    return b"".join(frame(TEXT, str(number), key=ZERO) for number in numbers)


def running(backend, **options):
    """A connection on the loop that runs."""
    return make_connection(backend, loop=asyncio.get_running_loop(), **options)


async def from_dispatch(call, *arguments):
    """Make a call as a driver makes it: from the loop, with no task around."""
    loop = asyncio.get_running_loop()
    done = loop.create_future()

    def run():
        try:
            done.set_result(call(*arguments))
        except BaseException as error:
            done.set_exception(error)

    loop.call_soon(run)
    return await done


async def settle():
    """Let the tasks run that can."""
    for _ in range(5):
        await asyncio.sleep(0)


async def cancelled(*tasks):
    """Cancel tasks and wait for their end."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_cancelled_recv_before_it_began_takes_nothing(backend):
    connection = running(backend)
    connection.received(texts(1))
    task = asyncio.create_task(connection.recv())
    await cancelled(task)
    assert task.cancelled()
    assert await connection.recv() == "1"


async def test_a_cancelled_recv_that_waits_lets_the_next_one_wait(backend):
    connection = running(backend)
    task = asyncio.create_task(connection.recv())
    await settle()
    task.cancel("the reason")
    with pytest.raises(asyncio.CancelledError, match="the reason"):
        await task
    connection.received(texts(1))
    assert await connection.recv() == "1"


async def test_a_recv_cancelled_after_its_message_came_loses_nothing(backend):
    connection = running(backend)
    task = asyncio.create_task(connection.recv())
    await settle()
    connection.received(texts(1))  # the task is to be woken by the loop
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert await connection.recv() == "1"


async def test_a_recv_cancelled_before_its_message_comes_loses_nothing(backend):
    connection = running(backend)
    task = asyncio.create_task(connection.recv())
    await settle()
    task.cancel()
    connection.received(texts(1))
    await asyncio.wait([task])
    assert task.cancelled()
    assert await connection.recv() == "1"


async def test_a_recv_cancelled_in_the_dispatch_of_its_message_loses_nothing(backend):
    for order in ("before", "behind"):
        connection = running(backend)
        task = asyncio.create_task(connection.recv())
        await settle()

        def dispatch(order=order, task=task, connection=connection):
            if order == "before":
                task.cancel()
            connection.received(texts(1))
            if order == "behind":
                task.cancel()

        await from_dispatch(dispatch)
        await asyncio.wait([task])
        if order == "before":
            assert task.cancelled()
            assert await connection.recv() == "1"
        else:
            assert task.result() == "1"


async def test_a_task_cancelled_by_its_own_wake_up_receives_on(backend):
    connection = running(backend)
    got = []

    async def take():
        try:
            while True:
                got.append(await connection.recv())
                if len(got) == 2:
                    asyncio.current_task().cancel()
        except asyncio.CancelledError:
            got.append("cancelled")
            while True:
                got.append(await connection.recv())

    task = asyncio.create_task(take())
    await settle()
    await from_dispatch(connection.received, texts(1, 2))
    await settle()
    await from_dispatch(connection.received, texts(3))
    assert got == ["1", "2", "cancelled", "3"]
    await cancelled(task)


async def test_a_timeout_of_recv_loses_nothing(backend):
    connection = running(backend)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(connection.recv(), 0.001)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.001):
            await connection.recv()
    connection.received(texts(1))
    assert await asyncio.wait_for(connection.recv(), 10) == "1"


async def test_a_task_group_that_fails_ends_a_recv(backend):
    connection = running(backend)

    async def fail():
        await asyncio.sleep(0)
        raise ValueError("the other one")

    async def both():
        async with asyncio.TaskGroup() as group:
            group.create_task(connection.recv())
            group.create_task(fail())

    with pytest.raises(ExceptionGroup):
        await both()
    connection.received(texts(1))
    assert await connection.recv() == "1"


async def test_cancelling_twice_is_like_cancelling_once(backend):
    connection = running(backend)
    task = asyncio.create_task(connection.recv())
    await settle()
    assert task.cancel()
    assert task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()


async def test_random_cancellations_lose_no_message(backend):
    rng = random.Random(17)
    for _ in range(60):
        connection = running(backend, max_queue=rng.choice([1, 4, None]))
        got = []
        total = 40
        sent = 0

        async def take(connection=connection, got=got):
            while True:
                got.append(await connection.recv())

        task = asyncio.create_task(take())
        while len(got) < total:
            for _ in range(rng.randrange(3)):
                await asyncio.sleep(0)
            action = rng.randrange(4)
            if action == 0:
                task.cancel()
            elif action == 1 and task.done():
                task = asyncio.create_task(take())
            elif sent < total:
                count = min(rng.randrange(1, 5), total - sent)
                numbers = range(sent, sent + count)
                sent += count
                if action == 2:
                    connection.received(texts(*numbers))
                else:
                    await from_dispatch(connection.received, texts(*numbers))
        assert got == [str(i) for i in range(total)]
        await cancelled(task)
        # Other tasks that wait are served as before.
        waiting = asyncio.create_task(connection.recv())
        await settle()
        connection.received(texts("last") + frame(PONG, key=ZERO))
        assert await waiting == "last"
