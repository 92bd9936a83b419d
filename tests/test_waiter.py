"""What a task waits for, without a task: the protocol of asyncio's futures and of coroutines."""

import asyncio
import contextvars
import sys

import pytest
from frames import TEXT, ZERO, frame
from twins import BACKENDS, make_connection

MESSAGE = frame(TEXT, "message", key=ZERO)


@pytest.fixture(params=BACKENDS, ids=str)
def backend(request):
    return request.param


def test_it_is_a_coroutine_and_a_future_only_while_it_waits(backend):
    connection = make_connection(backend)
    waiter = connection.recv()
    assert asyncio.iscoroutine(waiter)
    assert not asyncio.isfuture(waiter)
    assert waiter.__iter__() is waiter
    waiting = waiter.__await__()
    assert next(waiting) is waiter
    waiting.close()
    assert waiter.send(None) is waiter
    assert waiter._asyncio_future_blocking is True
    assert asyncio.futures._get_loop(waiter) is connection.loop
    connection.received(MESSAGE)
    with pytest.raises(StopIteration) as caught:
        next(waiter)
    assert caught.value.value == "message"
    assert not asyncio.isfuture(waiter)


def test_it_calls_back_once_with_itself_in_the_context_that_was_given(backend):
    variable = contextvars.ContextVar("variable")
    context = contextvars.copy_context()
    context.run(variable.set, "of the task")
    connection = make_connection(backend)
    waiter = connection.recv()
    waiter.send(None)
    calls = []
    waiter.add_done_callback(lambda it: calls.append((it, variable.get())), context=context)
    connection.received(MESSAGE)
    assert calls == [(waiter, "of the task")]
    connection.received(MESSAGE)
    connection.loop.run_until_idle()
    assert len(calls) == 1
    assert waiter.result() is None


def test_it_is_called_by_the_loop_when_no_context_was_given(backend):
    connection = make_connection(backend)
    waiter = connection.recv()
    waiter.send(None)
    calls = []
    waiter.add_done_callback(calls.append)
    connection.received(MESSAGE)
    assert calls == []
    connection.loop.run_until_idle()
    assert calls == [waiter]


def test_a_callback_can_be_taken_back(backend):
    connection = make_connection(backend)
    waiter = connection.recv()
    waiter.send(None)
    calls = []
    waiter.add_done_callback(calls.append)
    assert waiter.remove_done_callback(calls.append) == 1
    assert waiter.remove_done_callback(calls.append) == 0
    connection.received(MESSAGE)
    connection.loop.run_until_idle()
    assert calls == []


def test_cancel_calls_back_later_and_the_result_is_the_cancellation(backend):
    connection = make_connection(backend)
    waiter = connection.recv()
    assert waiter.cancel() is False  # it does not wait yet
    waiter.send(None)
    calls = []
    waiter.add_done_callback(calls.append, context=contextvars.copy_context())
    assert waiter.cancel("the reason") is True
    assert waiter.cancel("another") is False
    assert calls == []
    connection.loop.run_until_idle()
    assert calls == [waiter]
    with pytest.raises(asyncio.CancelledError, match="the reason"):
        waiter.result()
    waiter.close()
    assert waiter.cancel() is False


def test_a_task_may_wake_up_without_reason_and_waits_on(backend):
    connection = make_connection(backend)
    waiter = connection.recv()
    assert waiter.send(None) is waiter
    waiter._asyncio_future_blocking = False
    assert waiter.send(None) is waiter
    assert waiter._asyncio_future_blocking is True
    connection.received(MESSAGE)
    with pytest.raises(StopIteration):
        waiter.send(None)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="needs eager tasks")
async def test_eager_tasks_are_woken_too(backend):
    loop = asyncio.get_running_loop()
    loop.set_task_factory(asyncio.eager_task_factory)
    connection = make_connection(backend, loop=loop)
    connection.received(MESSAGE)
    task = asyncio.create_task(connection.recv())
    assert task.done()
    assert await task == "message"

    async def take():
        return [message async for message in connection]

    task = asyncio.create_task(take())
    loop.call_soon(connection.received, MESSAGE * 2 + frame(8, b"\x03\xe8", key=ZERO))
    assert await task == ["message", "message"]
