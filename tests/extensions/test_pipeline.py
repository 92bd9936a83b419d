"""Messages in sessions that answer later: order, errors and closing; rows PL1-PL13."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plugged import DROPPED, Desk, Stack, both_ways, outgoing, passes, styles

from wsfast.exceptions import (
    ExtensionError,
    InvalidState,
    PayloadTooBig,
    wire_error,
)
from wsfast.extensions import Message

# Order


@styles
async def test_pl1_messages_come_out_in_the_order_in_which_they_went_in(style):
    desk = Desk(style, b"a")
    stack = Stack(outgoing(desk))
    for data in b"1", b"2", b"3":
        stack.send(data)
    await passes()
    assert desk.seen == [b"1", b"2", b"3"]  # PL2: at once, not one after the other
    desk.answer(b"3")
    desk.answer(b"2")
    await passes()
    assert stack.out == []
    desk.answer(b"1")
    await passes()
    assert stack.out == [b"1a", b"2a", b"3a"]


@styles
async def test_pl1_the_next_session_gets_messages_in_the_order_of_the_wire(style):
    """The scenario of the original: the first of two messages takes longer in both sessions."""
    first, second = Desk(style, b"a"), Desk(style, b"b")
    stack = Stack(outgoing(first), outgoing(second))
    stack.send(b"1")
    stack.send(b"2")
    await passes()
    first.answer(b"2")  # after 20 ms
    await passes()
    assert second.seen == []
    first.answer(b"1")  # after 100 ms
    await passes()
    assert second.seen == [b"1a", b"2a"]
    second.answer(b"2a")
    await passes()
    assert stack.out == []
    second.answer(b"1a")
    await passes()
    assert stack.out == [b"1ab", b"2ab"]


@styles
async def test_pl2_the_first_leaves_as_soon_as_it_is_done(style):
    first, second = Desk(style, b"a"), Desk(style, b"b")
    stack = Stack(outgoing(first), outgoing(second))
    stack.send(b"1")
    stack.send(b"2")
    await passes()
    first.answer(b"1")
    await passes()
    second.answer(b"1a")
    await passes()
    assert stack.out == [b"1ab"]
    first.answer(b"2")
    await passes()
    second.answer(b"2a")
    await passes()
    assert stack.out == [b"1ab", b"2ab"]


@styles
async def test_pl1_a_session_that_answers_at_once_does_not_overtake(style):
    desk = Desk(style, b"b")
    stack = Stack({}, outgoing(desk), {})
    stack.send(b"1")
    stack.send(b"2")
    await passes()
    assert desk.seen == [b"1f", b"2f"]
    desk.answer(b"2f")
    desk.answer(b"1f")
    await passes()
    assert stack.out == [b"1fbt", b"2fbt"]
    # With nothing waiting, the plain loop is taken again.
    stack.receive(b"3")
    assert stack.out[2:] == [b"3tsf"]


@styles
async def test_pl1_incoming_messages_go_the_other_way(style):
    first, second = Desk(style, b"a"), Desk(style, b"b")
    stack = Stack(
        {"process_incoming_message": first.process}, {"process_incoming_message": second.process}
    )
    stack.receive(b"1")
    stack.receive(b"2")
    await passes()
    second.answer(b"2")
    second.answer(b"1")
    await passes()
    first.answer(b"2b")
    first.answer(b"1b")
    await passes()
    assert stack.out == [b"1ba", b"2ba"]


@styles
async def test_pl3_the_directions_do_not_wait_for_each_other(style):
    out, into = Desk(style, b"o"), Desk(style, b"i")
    stack = Stack(both_ways(out, into))
    stack.send(b"1")
    stack.receive(b"2")
    await passes()
    into.answer(b"2")
    await passes()
    assert stack.out == [b"2i"]
    out.answer(b"1")
    await passes()
    assert stack.out == [b"2i", b"1o"]


async def test_pl4_thousands_of_messages_may_wait():
    """Without recursion: the last answers first, so that all leave at once."""
    first, second = Desk("callback", b"a"), Desk("callback", b"b")
    stack = Stack(outgoing(first), {}, outgoing(second))
    data = [b"%d" % number for number in range(10_000)]
    for item in data:
        stack.send(item)
    for item in reversed(data):
        first.answer(item)
    assert second.seen == [item + b"as" for item in data]
    for item in reversed(second.seen):
        second.answer(item)
    assert stack.out == [item + b"asb" for item in data]


@given(st.data())
def test_pl1_any_order_of_answers_gives_the_same_order(data):
    desks = [Desk("callback", tag) for tag in (b"a", b"b", b"c")]
    stack = Stack(*map(outgoing, desks))
    waiting = [b"1", b"2", b"3", b"4", b"5"]
    while len(stack.out) < 5:
        steps = [(desk, item) for desk in desks for item in desk.open]
        if waiting:
            steps.append((None, waiting[0]))
        desk, item = data.draw(st.sampled_from(steps))
        if desk is None:
            stack.send(waiting.pop(0))
        else:
            desk.answer(item)
    assert stack.out == [b"1abc", b"2abc", b"3abc", b"4abc", b"5abc"]
    for desk, tags in zip(desks, (b"", b"a", b"ab"), strict=True):
        assert desk.seen == [b"%d" % number + tags for number in range(1, 6)]


# Errors


async def five_fails(style, at_once):
    """Three messages out; three in, of which the second fails. Returns the stack and its desks."""
    out = [Desk(style, b"a"), Desk(style, b"b")]
    into = [Desk(style, b"d"), Desk(style, b"c")]
    process = into[1].process

    def fail_at_5(message):
        if message.data == b"5":
            raise OSError("no")
        return process(message)

    def fail_at_5_with_callback(message, callback):
        if message.data == b"5":
            raise OSError("no")
        process(message, callback)

    stages = [both_ways(*desks) for desks in zip(out, into, strict=True)]
    if at_once:
        stages[1]["process_incoming_message"] = (
            fail_at_5_with_callback if style == "callback" else fail_at_5
        )
    stack = Stack(*stages)

    def push(error, message):
        stack.push(error, message)
        if isinstance(error, ExtensionError):
            stack.close()

    for data in b"1", b"2", b"3":
        stack.extensions.process_outgoing_message(Message(data=data), push)
    for data in b"4", b"5", b"6":
        stack.extensions.process_incoming_message(Message(data=data), push)
    await passes()
    return stack, out, into


@styles
@pytest.mark.parametrize("at_once", [True, False], ids=["raised", "later"])
async def test_pl6_an_error_comes_in_its_turn_and_only_in_its_direction(style, at_once):
    """The scenario of the original: [4cd], error, [1ab], [2ab], [3ab], close.

    Unlike there, the message behind the error is not forgotten, but refused (PL12).
    """
    stack, out, into = await five_fails(style, at_once)
    if not at_once:
        into[1].answer(b"5", OSError("no"))
    await passes()
    assert stack.out == []
    into[1].answer(b"4")
    await passes()
    into[0].answer(b"4c")
    await passes()
    assert stack.out == [b"4cd", "second: no", DROPPED]
    assert b"6c" not in into[0].seen
    assert stack.closed == [0, 0]
    for data in b"1", b"2", b"3":
        out[0].answer(data)
    await passes()
    assert stack.closed == [1, 0]  # PL10: the first one has no more to do
    for data in b"3a", b"2a", b"1a":
        out[1].answer(data)
    await passes()
    assert stack.out == [
        *[b"4cd", "second: no", DROPPED],
        *[b"1ab", b"2ab", b"3ab", "close"],
    ]
    assert stack.closed == [1, 1]


@styles
async def test_pl8_no_later_session_sees_a_message_that_failed(style):
    first, second = Desk(style, b"a"), Desk(style, b"b")
    stack = Stack(outgoing(first), outgoing(second))
    stack.send(b"1")
    await passes()
    first.answer(b"1", OSError("no"))
    await passes()
    assert stack.out == ["first: no"]
    assert second.seen == []


@styles
async def test_pl9_after_an_error_new_messages_are_refused_in_its_direction_only(style):
    desk = Desk(style, b"a")
    stack = Stack(outgoing(desk))
    stack.send(b"1")
    await passes()
    desk.answer(b"1", OSError("no"))
    await passes()
    stack.send(b"2")
    with pytest.raises(InvalidState, match="failed at a message before: first: no") as caught:
        stack.extensions.process_outgoing_message(Message())
    assert isinstance(caught.value.__cause__, ExtensionError)
    stack.receive(b"3")
    assert stack.out == ["first: no", DROPPED, b"3f"]
    assert desk.seen == [b"1"]


async def test_pl6_what_is_sent_before_the_error_came_out_is_refused_behind_it():
    first, second = Desk("callback", b"a"), Desk("callback", b"b")
    stack = Stack(outgoing(first), outgoing(second))
    stack.send(b"1")
    stack.send(b"2")
    first.answer(b"1")
    first.answer(b"2", OSError("no"))
    stack.send(b"3")
    future = stack.extensions.process_outgoing_message(Message(data=b"4"))
    assert stack.out == []
    assert not future.done()
    second.answer(b"1a")
    assert stack.out == [b"1ab", "first: no", DROPPED]
    with pytest.raises(InvalidState):
        await future
    assert first.seen == [b"1", b"2"]


async def test_pl6_of_two_errors_the_one_in_front_counts():
    first, second = Desk("callback", b"a"), Desk("callback", b"b")
    stack = Stack(outgoing(first), outgoing(second))
    for data in b"1", b"2", b"3", b"4":
        stack.send(data)
    first.answer(b"1")
    first.answer(b"2")
    first.answer(b"3", OSError("later"))
    second.answer(b"2a", OSError("sooner"))
    assert stack.out == []
    second.answer(b"1a")
    assert stack.out == [b"1ab", "second: sooner", DROPPED, DROPPED]


@styles
async def test_pl6_messages_behind_an_error_are_not_worked_on_any_more(style):
    """PL7: and what their tasks still do is cancelled."""
    desk = Desk(style, b"a")
    stack = Stack(outgoing(desk), {})
    for data in b"1", b"2", b"3":
        stack.send(data)
    await passes()
    desk.answer(b"3")
    desk.answer(b"1", OSError("no"))
    await passes()
    assert stack.out == ["first: no", DROPPED, DROPPED]
    assert desk.cancelled == ([b"2"] if style == "coroutine" else [])
    desk.answer(b"2")  # too late
    await passes()
    assert stack.out == ["first: no", DROPPED, DROPPED]


@pytest.mark.parametrize("later", [False, True], ids=["at once", "later"])
@pytest.mark.parametrize("first", [None, OSError("no")], ids=["message", "error"])
def test_pl6_only_the_first_call_of_a_callback_counts(first, later):
    calls = []

    def process(message, callback):
        calls.append((message, callback))
        if not later:
            answer(message, callback)

    def answer(message, callback):
        callback(first, None if first else message)
        callback(None, message)
        callback(OSError("second"), None)

    stack = Stack({"process_outgoing_message": process})
    stack.send(b"1")
    if later:
        answer(*calls[0])
    assert stack.out == ["first: no" if first else b"1"]


def test_pl6_what_a_session_raises_after_it_has_answered_is_logged(caplog):
    def process(message, callback):
        callback(None, message)
        raise OSError("after")

    stack = Stack({"process_outgoing_message": process})
    stack.send(b"1")
    assert stack.out == [b"1"]
    assert [str(record.exc_info[1]) for record in caplog.records] == ["after"]


@styles
async def test_errors_of_the_protocol_stay_what_they_are(style):
    for error in PayloadTooBig(2, 1, "Message"), wire_error("WS_ERR_INVALID_UTF8"):
        desk = Desk(style, b"a")
        stack = Stack({"process_incoming_message": desk.process})
        future = stack.extensions.process_incoming_message(Message(data=b"1"), None)
        await passes()
        desk.answer(b"1", error)
        with pytest.raises(type(error)) as caught:
            await future
        assert caught.value is error


@pytest.mark.parametrize(
    ("close_code", "expected"),
    [(1007, 1007), (4000, 4000), (1006, 1010), (7, 1010), ("1007", 1010), (None, 1010)],
)
def test_an_exception_may_say_with_which_code_the_connection_fails(close_code, expected):
    class Failure(Exception):
        pass

    def process(message):
        failure = Failure()
        failure.close_code = close_code
        raise failure

    stack = Stack({"process_incoming_message": process})
    with pytest.raises(ExtensionError, match="^first: Failure$") as caught:
        stack.extensions.process_incoming_message(Message())
    assert caught.value.close_code == expected


@pytest.mark.parametrize("later", [False, True], ids=["at once", "later"])
def test_an_error_that_is_no_exception_is_told_in_its_words(later):
    calls = []

    def process(message, callback):
        calls.append(callback)
        if not later:
            callback("ENOENT", None)

    stack = Stack({"process_outgoing_message": process})
    stack.send(b"1")
    calls[0]("ENOENT")
    assert stack.out == ["first: ENOENT"]


async def test_a_session_must_give_a_message():
    async def coroutine(message):
        return None

    for process in (
        lambda message: None,
        coroutine,
        lambda message, callback: callback(None, None),
        lambda message, callback: callback(),
    ):
        stack = Stack({"process_outgoing_message": process})
        stack.send(b"1")
        await passes()
        assert stack.out == ["first: the session gave None instead of a message"]


async def test_a_session_whose_task_is_cancelled_fails_its_message():
    tasks = []

    async def process(message):
        tasks.append(asyncio.current_task())
        await asyncio.get_running_loop().create_future()

    stack = Stack({"process_outgoing_message": process})
    future = stack.extensions.process_outgoing_message(Message())
    await passes()
    tasks[0].cancel()
    with pytest.raises(ExtensionError, match="^first: CancelledError$"):
        await future


# Closing


@styles
async def test_pl10_closing_waits_until_messages_have_come_out(style):
    desk = Desk(style, b"a")
    stack = Stack(outgoing(desk))
    stack.send(b"1")
    stack.close()
    await passes()
    assert (stack.out, stack.closed) == ([], [0])
    desk.answer(b"1")
    await passes()
    assert (stack.out, stack.closed) == ([b"1a", "close"], [1])


@styles
async def test_pl10_each_session_is_closed_once_as_soon_as_nothing_comes_to_it(style):
    desks = [Desk(style, tag) for tag in (b"a", b"b", b"c")]
    stack = Stack(*map(outgoing, desks))
    stack.send(b"1")
    stack.close()
    await passes()
    for closed, (desk, data) in enumerate(zip(desks, (b"1", b"1a", b"1ab"), strict=True)):
        assert stack.closed == [1] * closed + [0] * (3 - closed)
        desk.answer(data)
        await passes()
    assert stack.closed == [1, 1, 1]
    assert stack.out == [b"1abc", "close"]
    stack.close()
    assert stack.closed == [1, 1, 1]


@styles
async def test_pl5_a_session_that_something_will_come_to_stays_open(style):
    """Both directions count: of the incoming one the first session is the last."""
    first, second = Desk(style, b"a"), Desk(style, b"b")
    stack = Stack({"process_incoming_message": first.process}, outgoing(second))
    stack.receive(b"1")
    stack.send(b"2")
    stack.close()
    await passes()
    assert stack.closed == [0, 0]
    second.answer(b"2f")
    await passes()
    assert stack.closed == [0, 1]
    first.answer(b"1s")
    await passes()
    assert stack.closed == [1, 1]
    assert stack.out == [b"2fb", b"1sa", "close"]


@styles
async def test_pl11_a_message_behind_an_error_that_never_ends_does_not_block_closing(style):
    first, second = Desk(style, b"a"), Desk(style, b"b")
    stack = Stack(outgoing(first), outgoing(second))
    for data in b"1", b"2", b"3":
        stack.send(data)
    await passes()
    first.answer(b"1")
    first.answer(b"2")
    await passes()
    second.answer(b"1a", OSError("no"))
    await passes()
    stack.close()
    assert stack.out == ["second: no", DROPPED, DROPPED, "close"]
    assert stack.closed == [1, 1]


@styles
async def test_pl12_nothing_that_is_sent_after_closing_hangs(style):
    desk = Desk(style, b"a")
    stack = Stack(outgoing(desk))
    future = stack.extensions.process_outgoing_message(Message(data=b"1"))
    stack.close()
    stack.send(b"2")
    stack.receive(b"3")
    for process in (
        stack.extensions.process_outgoing_message,
        stack.extensions.process_incoming_message,
    ):
        with pytest.raises(InvalidState, match="the extensions are closed"):
            process(Message())
    await passes()
    desk.answer(b"1")
    assert (await future).data == b"1a"
    assert stack.out == [DROPPED, DROPPED, "close"]
    assert desk.seen == [b"1"]


async def test_pl13_nobody_waits_for_a_session_to_close(caplog):
    event = asyncio.Event()
    closing = []

    async def close():
        closing.append(asyncio.current_task())
        await event.wait()
        raise OSError("cannot close")

    stack = Stack({"close": close})
    await stack.extensions.close()
    await passes()
    assert not closing[0].done()
    event.set()
    await passes()
    assert [str(record.exc_info[1]) for record in caplog.records] == ["cannot close"]


def test_pl13_a_coroutine_cannot_close_a_session_without_a_loop(caplog):
    async def close():
        raise AssertionError

    stack = Stack({"close": close})
    stack.close()
    assert stack.out == ["close"]
    assert [str(record.exc_info[1]) for record in caplog.records] == ["no running event loop"]


async def test_xc8_the_awaitable_of_close_waits_and_may_be_cancelled():
    desk = Desk("coroutine", b"a")
    stack = Stack(outgoing(desk))
    stack.send(b"1")
    await passes()
    stack.extensions.close()  # ignored
    cancelled, waiting = (asyncio.create_task(stack.extensions.close()) for _ in range(2))
    await passes()
    cancelled.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    assert not waiting.done()
    desk.answer(b"1")
    await waiting
    assert stack.closed == [1]
