"""recv(): the awaitable, its wake-up from the dispatch, and cancellation that loses nothing."""

import asyncio
import contextvars
import gc
import warnings

import pytest
from frames import BINARY, CLOSE, CONT, TEXT, ZERO, close, frame
from twins import BACKENDS, make_connection

from wsfast.exceptions import (
    ConcurrencyError,
    ConnectionClosed,
    ConnectionClosedError,
    ConnectionClosedOK,
)
from wsfast.frames import State


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


async def take(connection, got):
    """Receive all there is."""
    async for message in connection:
        got.append(message)


async def settle():
    """Let the tasks run that can."""
    for _ in range(5):
        await asyncio.sleep(0)


async def cancelled(*tasks):
    """Cancel tasks and wait for their end."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


# What is received


async def test_messages_are_received_in_order_with_their_types(backend):
    connection = running(backend)
    connection.received(frame(TEXT, "é", key=ZERO) + frame(BINARY, b"\xff", key=ZERO))
    assert await connection.recv() == "é"
    assert await connection.recv() == b"\xff"


async def test_the_type_can_be_chosen(backend):
    connection = running(backend)
    both = frame(TEXT, "é", key=ZERO) + frame(BINARY, "é", key=ZERO)
    connection.received(both * 2)
    assert [await connection.recv(True), await connection.recv(decode=True)] == ["é", "é"]
    octets = [await connection.recv(decode=False), await connection.recv(False)]
    assert octets == [b"\xc3\xa9", b"\xc3\xa9"]


async def test_the_messages_of_a_connection_end_when_it_is_closed_normally(backend):
    connection = running(backend)
    connection.received(texts(1, 2) + close(1000, key=ZERO))
    assert [message async for message in connection] == ["1", "2"]
    assert [message async for message in connection] == []
    with pytest.raises(ConnectionClosedOK):
        await connection.recv()


async def test_the_messages_of_a_connection_that_fails_end_with_the_error(backend):
    connection = running(backend)
    connection.received(texts(1) + frame(TEXT, b"\xff", key=ZERO))
    got = []

    with pytest.raises(ConnectionClosedError) as caught:
        await take(connection, got)
    assert got == ["1"]
    assert caught.value.__cause__.code == "WS_ERR_INVALID_UTF8"
    assert caught.value.sent.code == 1007


async def test_what_came_before_the_end_is_received_first(backend):
    connection = running(backend)
    connection.received(texts(1, 2))
    connection.eof()
    connection.lost(None)
    assert await connection.recv() == "1"
    assert await connection.recv() == "2"
    for _ in range(2):
        with pytest.raises(ConnectionClosedError, match="no close frame received or sent"):
            await connection.recv()


async def test_a_waiting_task_is_told_of_the_end(backend):
    for end in ("close", "error", "eof", "lost", "abort"):
        connection = running(backend)
        task = asyncio.create_task(connection.recv())
        await settle()
        if end == "close":
            connection.received(close(1001, key=ZERO))
        elif end == "error":
            connection.received(b"\xff\xff")
        elif end == "eof":
            connection.eof()
            connection.lost(None)
        elif end == "lost":
            connection.lost(OSError(104, "reset"))
        else:
            connection.abort()
            connection.lost(None)
        with pytest.raises(ConnectionClosed):
            await task


async def test_recv_is_accepted_wherever_a_coroutine_is(backend):
    connection = running(backend)
    assert asyncio.iscoroutine(connection.recv())
    connection.received(texts(*range(8)))
    assert await asyncio.create_task(connection.recv()) == "0"
    assert await asyncio.ensure_future(connection.recv()) == "1"
    assert await asyncio.wait_for(connection.recv(), 10) == "2"
    assert await asyncio.gather(connection.recv()) == ["3"]
    assert await asyncio.shield(connection.recv()) == "4"
    async with asyncio.TaskGroup() as group:
        task = group.create_task(connection.recv())
    assert task.result() == "5"
    async with asyncio.timeout(10):
        assert await connection.recv() == "6"
    done, _ = await asyncio.wait([asyncio.create_task(connection.recv())])
    assert [task.result() for task in done] == ["7"]


async def test_two_connections_are_received_from_together(backend):
    one, other = running(backend), running(backend)
    both = asyncio.gather(one.recv(), other.recv())
    await settle()
    other.received(texts("other"))
    one.received(texts("one"))
    assert await both == ["one", "other"]


def test_recv_that_is_not_awaited_does_nothing(backend):
    connection = make_connection(backend)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        connection.recv()
        connection.recv().close()
        connection.__anext__()
        gc.collect()
    connection.received(texts(1))
    with pytest.raises(StopIteration) as caught:
        connection.recv().send(None)
    assert caught.value.value == "1"


def test_an_exception_thrown_in_comes_out(backend):
    connection = make_connection(backend)
    for thrown in (KeyError("a"), KeyError):
        waiting = connection.recv()
        assert waiting.send(None) is waiting
        with pytest.raises(KeyError):
            waiting.throw(thrown)
    with pytest.raises(KeyError):
        connection.recv().throw(KeyError, KeyError("a"), None)
    # None of them is waiting any more.
    waiting = connection.recv()
    assert waiting.send(None) is waiting
    waiting.close()


async def test_recv_can_be_awaited_from_a_task_in_plain_python(backend):
    connection = running(backend)

    async def take():
        return [message async for message in connection]

    task = asyncio.tasks._PyTask(take(), loop=asyncio.get_running_loop())
    await settle()
    await from_dispatch(connection.received, texts(1, 2))
    connection.received(close(1000, key=ZERO))
    assert await task == ["1", "2"]


# Fragments


async def test_fragments_are_received_as_they_come(backend):
    connection = running(backend)
    connection.fragments = True
    connection.received(frame(TEXT, "a", fin=False, key=ZERO))
    assert await connection.recv_fragment() == (TEXT, b"a", False)
    waiting = asyncio.create_task(connection.recv_fragment())
    await settle()
    connection.received(frame(CONT, "b", key=ZERO))
    assert await waiting == (CONT, b"b", True)


async def test_whole_messages_are_fragments_too(backend):
    connection = running(backend)
    connection.received(texts("é") + frame(BINARY, b"b", key=ZERO))
    assert await connection.recv_fragment() == (TEXT, "é", True)
    assert await connection.recv_fragment() == (BINARY, b"b", True)


async def test_fragments_are_put_together_for_recv(backend):
    connection = running(backend)
    connection.fragments = True
    connection.received(frame(TEXT, b"\xc3", fin=False, key=ZERO) + frame(CONT, key=ZERO)[:0])
    waiting = asyncio.create_task(connection.recv())
    await settle()
    assert not waiting.done()
    connection.received(frame(CONT, b"\xa9", key=ZERO) + frame(BINARY, b"b", key=ZERO))
    assert await waiting == "é"
    assert await connection.recv() == b"b"


async def test_the_rest_of_a_message_that_was_given_up_is_skipped(backend):
    connection = running(backend)
    connection.fragments = True
    connection.received(
        frame(TEXT, "a", fin=False, key=ZERO)
        + frame(CONT, "b", fin=False, key=ZERO)
        + frame(CONT, "c", key=ZERO)
        + texts("next")
    )
    assert await connection.recv_fragment() == (TEXT, b"a", False)
    connection.fragments = False
    assert await connection.recv() == "next"


async def test_a_message_of_more_fragments_than_the_queue_takes_is_received(backend):
    connection = running(backend, max_queue=2)
    connection.fragments = True
    task = asyncio.create_task(connection.recv())
    await settle()
    connection.received(frame(TEXT, "a", fin=False, key=ZERO))
    for _ in range(10):
        assert connection.is_reading
        connection.received(frame(CONT, "b", fin=False, key=ZERO))
        await settle()
    connection.received(frame(CONT, "c", key=ZERO))
    assert await task == "a" + "b" * 10 + "c"


# Two at once


async def test_two_recv_at_once_are_refused_and_the_first_goes_on(backend):
    connection = running(backend)
    first = asyncio.create_task(connection.recv())
    await settle()
    for second in (connection.recv(), connection.recv_fragment(), connection.__anext__()):
        with pytest.raises(ConcurrencyError, match="already running recv") as caught:
            await second
        assert caught.value.code == "WS_ERR_CONCURRENCY"
        assert isinstance(caught.value, RuntimeError)
    connection.received(texts(1))
    assert await first == "1"
    connection.received(texts(2))
    assert await connection.recv() == "2"


async def test_recv_with_a_listener_is_refused_when_awaited(backend):
    connection = running(backend)
    connection.received(texts(1))
    connection.message_listener = lambda data, is_binary: None
    waiting = connection.recv()
    with pytest.raises(ConcurrencyError, match="a message listener is attached"):
        await waiting
    connection.message_listener = None
    assert await connection.recv() == "1"


# The wake-up


async def test_a_task_is_woken_from_the_dispatch_itself(backend):
    connection = running(backend)
    order = []

    async def take():
        order.append(await connection.recv())

    task = asyncio.create_task(take())
    await settle()

    def dispatch():
        connection.received(texts("message"))
        order.append("behind the dispatch")

    await from_dispatch(dispatch)
    assert order == ["message", "behind the dispatch"]
    assert task.done()


async def test_a_task_is_woken_by_the_loop_when_another_task_runs(backend):
    connection = running(backend)
    got = []

    async def take():
        got.append(await connection.recv())

    task = asyncio.create_task(take())
    await settle()
    connection.received(texts("message"))  # from this task
    assert got == []
    await task
    assert got == ["message"]


async def test_a_task_is_woken_by_the_loop_when_its_context_is_in_use(backend):
    connection = running(backend)
    got = []
    context = contextvars.copy_context()

    async def take():
        got.append(await connection.recv())

    task = asyncio.get_running_loop().create_task(take(), context=context)
    await settle()

    def dispatch():
        context.run(connection.received, texts("message"))
        return list(got)

    assert await from_dispatch(dispatch) == []
    await task
    assert got == ["message"]


async def test_one_read_wakes_a_task_once(backend):
    connection = running(backend)
    turns = []

    async def take():
        async for message in connection:
            turns[-1].append(message)

    task = asyncio.create_task(take())
    await settle()
    for numbers in ([0], range(16), range(100)):
        turns.append([])
        await from_dispatch(connection.received, texts(*numbers))
        assert turns[-1] == [str(i) for i in numbers]
    await cancelled(task)


async def test_the_woken_task_is_the_current_task_and_has_its_own_context(backend):
    variable = contextvars.ContextVar("variable", default="none")
    connection = running(backend)
    seen = []

    async def take():
        variable.set("of the task")
        async for _ in connection:
            seen.append((variable.get(), asyncio.current_task()))
            variable.set("of the task")

    task = asyncio.create_task(take())
    await settle()

    def dispatch():
        variable.set("of the dispatch")
        connection.received(texts(1))
        return variable.get(), asyncio.current_task()

    assert await from_dispatch(dispatch) == ("of the dispatch", None)
    assert seen == [("of the task", task)]
    await cancelled(task)


async def test_what_a_woken_task_raises_stays_in_the_task(backend):
    connection = running(backend)

    async def take():
        raise ValueError(await connection.recv())

    task = asyncio.create_task(take())
    await settle()
    await from_dispatch(connection.received, texts("message", "more"))
    with pytest.raises(ValueError, match="message"):
        await task
    assert await connection.recv() == "more"


async def test_a_woken_task_may_do_anything_to_its_connection(backend):
    def close_it(connection):
        connection.close()

    def fail_it(connection):
        connection.fail(ValueError("enough"))

    def end_it(connection):
        connection.abort()
        connection.lost(None)

    def feed_it(connection):
        connection.received(texts("more"))

    for act in (close_it, fail_it, end_it, feed_it):
        connection = running(backend)

        async def take(connection=connection, act=act):
            await connection.recv()
            act(connection)
            return [message async for message in connection]

        task = asyncio.create_task(take())
        await settle()
        await from_dispatch(connection.received, texts(1, 2))
        if connection.state is State.OPEN or act is close_it:
            connection.received(close(1000, key=ZERO))
        if act in (close_it, feed_it):
            assert (await task)[0] == "2"
        else:
            with pytest.raises(ConnectionClosedError):
                await task


async def test_a_woken_task_may_wait_for_something_else_meanwhile(backend):
    connection = running(backend)
    got = []

    async def take():
        while True:
            got.append(await connection.recv())
            await asyncio.sleep(0)

    task = asyncio.create_task(take())
    await settle()
    await from_dispatch(connection.received, texts(1, 2, 3))
    while len(got) < 3:
        await asyncio.sleep(0)
    assert got == ["1", "2", "3"]
    await cancelled(task)


# What comes before a close frame or an error is answered first

BEFORE = {
    "close frame": (close(1000, key=ZERO), (CLOSE, b"\x03\xe8")),
    "bad frame": (
        frame(3, key=ZERO),
        (CLOSE, b"\x03\xeaInvalid WebSocket frame: invalid opcode 3"),
    ),
}


@pytest.mark.parametrize(("end", "answer"), BEFORE.values(), ids=BEFORE)
@pytest.mark.parametrize("count", [1, 2, 16, 255, 256, 257, 300, 700])
def test_what_a_listener_answers_leaves_before_the_end(backend, count, end, answer):
    connection = make_connection(backend)
    connection.message_listener = lambda data, is_binary: connection.send(data)
    connection.received(texts(*range(count)) + end)
    connection.loop.run_until_idle()
    sent = [(item.opcode, item.payload) for item in connection.driver.frames]
    assert sent == [*((TEXT, str(i).encode()) for i in range(count)), answer]
    assert connection.driver.names().count("shutdown_write") == 1
    assert connection.driver.names().index("shutdown_write") > 0


@pytest.mark.parametrize(("end", "answer"), BEFORE.values(), ids=BEFORE)
@pytest.mark.parametrize("count", [1, 2, 16, 255, 256, 257, 300, 700])
@pytest.mark.parametrize("max_queue", [1, 16, None])
def test_what_a_waiting_task_answers_leaves_before_the_end(backend, count, end, answer, max_queue):
    connection = make_connection(backend, max_queue=max_queue)

    async def echo():
        async for message in connection:
            await connection.send(message)

    task = connection.loop.create_task(echo())
    connection.loop.run_until_idle()
    connection.received(texts(*range(count)) + end)
    connection.loop.run_until_idle()
    sent = [(item.opcode, item.payload) for item in connection.driver.frames]
    assert sent == [*((TEXT, str(i).encode()) for i in range(count)), answer]
    assert task.done()
    assert (task.exception() is None) is (end is BEFORE["close frame"][0])


@pytest.mark.parametrize(("end", "answer"), BEFORE.values(), ids=BEFORE)
@pytest.mark.parametrize("count", [1, 300])
async def test_what_a_waiting_task_answers_leaves_first_on_a_real_loop(backend, count, end, answer):
    for dispatch in (True, False):  # woken from the dispatch, and by the loop
        connection = running(backend)

        async def echo(connection=connection):
            async for message in connection:
                await connection.send(message)

        task = asyncio.create_task(echo())
        await settle()
        if dispatch:
            await from_dispatch(connection.received, texts(*range(count)) + end)
        else:
            connection.received(texts(*range(count)) + end)
        await asyncio.wait([task])
        sent = [(item.opcode, item.payload) for item in connection.driver.frames]
        assert sent == [*((TEXT, str(i).encode()) for i in range(count)), answer]
        task.exception()


async def test_what_comes_behind_a_postponed_end_is_dropped(backend):
    connection = running(backend)

    async def take():
        return [message async for message in connection]

    task = asyncio.create_task(take())
    await settle()
    connection.received(texts(1) + close(1000, key=ZERO))  # postponed: this task runs
    assert connection.close_received is None
    connection.received(texts(2))
    assert connection.eof() is True
    assert await task == ["1"]
    assert connection.close_code == 1000
    await settle()
    assert connection.state is State.CLOSING


async def test_a_postponed_end_is_acted_on_when_the_connection_is_lost(backend):
    connection = running(backend)
    task = asyncio.create_task(connection.recv())
    await settle()
    connection.received(texts(1) + close(1001, key=ZERO))
    connection.lost(None)
    assert await task == "1"
    assert connection.close_code == 1001
    assert connection.state is State.CLOSED
