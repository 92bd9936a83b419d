"""How sessions answer, and what runs in between: futures, callbacks, tasks, no loop at all."""

import asyncio
import gc
import threading

import pytest
from plugged import DROPPED, Desk, Plugin, Stack, outgoing, passes, styles

from wsfast.exceptions import (
    ConcurrencyError,
    ExtensionError,
    InvalidState,
)
from wsfast.extensions import Message

# Futures


@styles
async def test_without_a_callback_there_is_a_future_of_the_loop(style):
    desk = Desk(style, b"a")
    stack = Stack(outgoing(desk))
    futures = [
        stack.extensions.process_outgoing_message(Message(data=data)) for data in (b"1", b"2")
    ]
    assert all(map(asyncio.isfuture, futures))
    await passes()
    desk.answer(b"2", OSError("no"))
    desk.answer(b"1")
    assert (await futures[0]).data == b"1a"
    with pytest.raises(ExtensionError, match="^first: no$"):
        await futures[1]


@styles
async def test_a_future_may_be_ignored(style):
    """The loop's exception handler must not hear of errors that nobody asked for."""
    desk = Desk(style, b"a")
    stack = Stack(outgoing(desk))
    for data in b"1", b"2":
        stack.extensions.process_outgoing_message(Message(data=data))
    await passes()
    desk.answer(b"1", OSError("no"))
    await passes()
    del desk, stack
    gc.collect()


@styles
async def test_a_future_that_is_cancelled_does_not_disturb_the_order(style):
    desk = Desk(style, b"a")
    stack = Stack(outgoing(desk), {})
    first = stack.extensions.process_outgoing_message(Message(data=b"1"))
    stack.send(b"2")
    await passes()
    first.cancel()
    desk.answer(b"2")
    await passes()
    assert stack.out == []
    desk.answer(b"1")
    await passes()
    assert stack.out == [b"2as"]
    assert first.cancelled()


async def test_the_loop_being_shut_down_ends_all():
    """As asyncio.run does it: sessions' tasks are cancelled."""
    desk = Desk("coroutine", b"a")
    stack = Stack(outgoing(desk))
    stack.send(b"1")
    await passes()
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()
    await passes()
    assert stack.out == ["first: CancelledError"]


# Without a loop


def test_callbacks_need_no_loop_even_when_they_are_called_later():
    first, second = Desk("callback", b"a"), Desk("callback", b"b")
    stack = Stack(outgoing(first), outgoing(second))
    stack.send(b"1")
    stack.send(b"2")
    first.answer(b"2")
    first.answer(b"1")
    second.answer(b"2a")
    stack.close()
    second.answer(b"1a")
    assert stack.out == [b"1ab", b"2ab", "close"]


def test_sessions_that_answer_at_once_need_no_loop():
    def process(message, callback):
        message.data += b"c"
        callback(None, message)

    stack = Stack({"process_outgoing_message": process}, {})
    message = Message(data=b"1")
    assert stack.extensions.process_outgoing_message(message) is message
    assert message.data == b"1cs"


def test_a_message_that_has_to_be_waited_for_needs_a_loop_or_a_callback():
    desk = Desk("callback", b"a")
    stack = Stack(outgoing(desk))
    with pytest.raises(RuntimeError, match="no running event loop"):
        stack.extensions.process_outgoing_message(Message(data=b"1"))
    with pytest.raises(RuntimeError, match="no running event loop"):
        stack.extensions.process_outgoing_message(Message(data=b"2"))
    stack.send(b"3")
    assert desk.seen == [b"1", b"3"]
    desk.answer(b"3")
    desk.answer(b"1")
    assert stack.out == [b"3a"]


def test_a_coroutine_needs_a_loop():
    desk = Desk("coroutine", b"a")
    stack = Stack(outgoing(desk))
    stack.send(b"1")
    stack.send(b"2")
    assert stack.out == ["first: no running event loop", DROPPED]


# How sessions answer


async def test_any_awaitable_is_awaited():
    class Later:
        def __init__(self, message):
            self.message = message

        def __await__(self):
            yield from asyncio.sleep(0).__await__()
            return self.message

    stack = Stack({"process_outgoing_message": Later}, {})
    message = await stack.extensions.process_outgoing_message(Message(data=b"1"))
    assert message.data == b"1s"


async def test_a_coroutine_may_take_a_callback():
    async def process(message, callback):
        await asyncio.sleep(0)
        if message.data == b"2":
            raise OSError("no")
        callback(None, message)

    stack = Stack({"process_outgoing_message": process})
    for data in b"1", b"2", b"3":
        stack.send(data)
    await passes()
    assert stack.out == [b"1", "first: no", DROPPED]


@pytest.mark.parametrize(
    ("process", "takes_callback"),
    [
        (lambda message: message, False),
        (lambda message, callback: callback(None, message), True),
        (lambda message, done: done(None, message), True),
        (lambda message, callback=None: callback(None, message), True),
        (lambda message, level=9: message, False),
        (lambda message, *rest, callback=None: message, False),
        (lambda *anything: anything[0] if len(anything) == 1 else None, False),
    ],
)
def test_a_second_parameter_without_default_or_named_callback_takes_a_callback(
    process, takes_callback
):
    stack = Stack({"process_outgoing_message": process})
    stack.send(b"1")
    assert stack.out == [b"1"]


def test_methods_of_a_class_are_looked_at_once_and_told_apart_from_those_of_another():
    class WithCallback:
        def process_outgoing_message(self, message, callback):
            callback(None, message)

    for _ in range(2):
        for session, data in (WithCallback(), b"1"), (Plugin("x").create(), b"1x"):
            stack = Stack({"process_outgoing_message": session.process_outgoing_message})
            stack.send(b"1")
            assert stack.out == [data]


def test_any_object_with_the_attributes_is_a_message():
    """And a session may return another one than it got."""

    class Mine:
        def __init__(self, data):
            self.rsv1 = self.rsv2 = self.rsv3 = False
            self.opcode = 2
            self.data = data

    stack = Stack({"process_outgoing_message": lambda message: Mine(message.data + b"1")}, {})
    result = stack.extensions.process_outgoing_message(Message(data=b"0"))
    assert type(result) is Mine
    assert result.data == b"01s"
    assert stack.extensions.process_incoming_message(Mine(b"0")).data == b"0sf"


# User code in between


def test_a_callback_may_send_the_next_message():
    desk = Desk("callback", b"a")
    stack = Stack(outgoing(desk))

    def push(error, message):
        stack.push(error, message)
        if message.data == b"1a":
            stack.send(b"3")

    stack.extensions.process_outgoing_message(Message(data=b"1"), push)
    stack.send(b"2")
    desk.answer(b"2")
    desk.answer(b"1")
    desk.answer(b"3")
    assert stack.out == [b"1a", b"2a", b"3a"]


def test_a_callback_may_close():
    desk = Desk("callback", b"a")
    stack = Stack(outgoing(desk), {})

    def push(error, message):
        stack.push(error, message)
        stack.close()

    stack.extensions.process_outgoing_message(Message(data=b"1"), push)
    stack.send(b"2")
    desk.answer(b"1")
    assert stack.out == [b"1as"]
    desk.answer(b"2")
    assert stack.out == [b"1as", b"2as", "close"]
    assert stack.closed == [1, 1]


def test_closing_in_the_callback_of_an_error_waits_for_those_behind_it():
    desk = Desk("callback", b"a")
    stack = Stack(outgoing(desk))

    def push(error, message):
        stack.push(error, message)
        stack.close()

    stack.extensions.process_outgoing_message(Message(data=b"1"), push)
    stack.send(b"2")
    desk.answer(b"1", OSError("no"))
    assert stack.out == ["first: no", DROPPED, "close"]


def test_a_session_may_close_the_container_while_it_works():
    """It is closed when it is done."""
    seen = []

    def process(message):
        stack.close()
        seen.append(stack.closed)
        return message

    stack = Stack({"process_outgoing_message": process}, {})
    stack.send(b"1")
    assert seen == [[0, 0]]
    assert stack.closed == [1, 1]
    assert stack.out == ["close", b"1s"]


def test_a_session_may_close_the_container_and_answer_later():
    desk = Desk("callback", b"b")

    def process(message):
        stack.close()
        return message

    stack = Stack({"process_outgoing_message": process}, outgoing(desk))
    stack.send(b"1")
    assert stack.closed == [1, 0]
    desk.answer(b"1")
    assert stack.closed == [1, 1]
    assert stack.out == [b"1b", "close"]


def test_a_session_cannot_send_in_the_direction_that_it_works_in():
    def process(message):
        stack.send(b"2")
        return message

    stack = Stack({"process_outgoing_message": process})
    stack.send(b"1")
    assert stack.out == ["first: a session cannot send a message the way it is just working in"]
    with pytest.raises(InvalidState) as caught:
        stack.extensions.process_outgoing_message(Message())
    assert isinstance(caught.value.__cause__.__cause__, ConcurrencyError)


def test_a_session_may_send_in_the_other_direction():
    def process(message):
        stack.send(b"2")
        return message

    stack = Stack({"process_incoming_message": process})
    stack.receive(b"1")
    assert stack.out == [b"2f", b"1"]


def test_what_a_callback_raises_does_not_stop_the_others(caplog):
    desk = Desk("callback", b"a")
    stack = Stack(outgoing(desk))

    def push(error, message):
        raise OSError("mine")

    stack.extensions.process_outgoing_message(Message(data=b"1"), push)
    stack.send(b"2")
    desk.answer(b"2")
    desk.answer(b"1")
    assert stack.out == [b"2a"]
    assert [str(record.exc_info[1]) for record in caplog.records] == ["mine"]


def test_what_a_callback_raises_at_once_is_the_callers():
    stack = Stack({})
    with pytest.raises(ZeroDivisionError):
        stack.extensions.process_outgoing_message(Message(), lambda error, message: 1 / 0)
    stack.send(b"1")
    assert stack.out == [b"1f"]


async def test_a_session_may_work_in_a_thread():
    async def process(message):
        message.data = await asyncio.to_thread(
            lambda: message.data + b"%d" % (threading.get_ident() != main)
        )
        return message

    main = threading.get_ident()
    stack = Stack({"process_outgoing_message": process})
    futures = [
        stack.extensions.process_outgoing_message(Message(data=data)) for data in (b"1", b"2")
    ]
    assert [message.data for message in await asyncio.gather(*futures)] == [b"11", b"21"]
    await stack.extensions.close()
    assert stack.closed == [1]
