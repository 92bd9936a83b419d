"""The queue of the messages that wait for recv()."""

import random
import sys
from collections import deque

import pytest
from frames import BINARY, CONT, TEXT
from twins import BACKENDS


@pytest.fixture(params=BACKENDS, ids=str)
def queue(request):
    return request.param.queue.MessageQueue()


def test_messages_come_out_in_the_order_in_which_they_went_in(queue):
    assert len(queue) == 0
    assert queue.take_message() is None
    assert queue.take_fragment() is None
    for item in ("a", b"b", "", b""):
        queue.append(item)
    assert len(queue) == 4
    assert [queue.take_message() for _ in range(5)] == ["a", b"b", "", b"", None]
    assert len(queue) == 0


def test_it_is_a_queue_whatever_goes_in_and_out(queue):
    rng = random.Random(5)
    model = deque()
    for number in range(5000):
        if rng.random() < (0.7 if number // 500 % 2 else 0.3):
            queue.append(str(number))
            model.append(str(number))
        else:
            assert queue.take_message() == (model.popleft() if model else None)
        if rng.random() < 0.002:
            queue.clear()
            model.clear()
        assert len(queue) == len(model)


def test_fragments_are_joined_to_a_message(queue):
    queue.append((TEXT, b"\xc3", False))
    assert queue.take_message() is None
    queue.append((CONT, b"\xa9", False))
    assert queue.take_message() is None
    queue.append((CONT, b"", True))
    queue.append("next")
    queue.append((BINARY, b"whole", True))
    assert [queue.take_message() for _ in range(4)] == ["é", "next", b"whole", None]


def test_messages_are_fragments_too(queue):
    queue.append((BINARY, b"a", False))
    queue.append((CONT, b"b", True))
    queue.append("text")
    queue.append(b"binary")
    assert [queue.take_fragment() for _ in range(5)] == [
        (BINARY, b"a", False),
        (CONT, b"b", True),
        (TEXT, "text", True),
        (BINARY, b"binary", True),
        None,
    ]


def test_the_rest_of_a_message_is_skipped(queue):
    for item in ((CONT, b"a", False), (CONT, b"b", True), (TEXT, b"c", True)):
        queue.append(item)
    assert queue.take_message() == "c"
    queue.append((CONT, b"d", True))
    assert queue.take_message() is None
    assert len(queue) == 0


def test_what_was_taken_is_let_go(queue):
    for take in (queue.take_message, queue.take_fragment, queue.clear):
        item = b"an object of our own %d" % random.randrange(10**9)
        before = sys.getrefcount(item)
        for _ in range(20):
            queue.append(item)
        assert sys.getrefcount(item) == before + 20
        while len(queue):
            take()
        assert sys.getrefcount(item) == before


@pytest.mark.parametrize("count", [0, 1, 40])
def test_fragments_of_a_message_that_is_not_finished_can_be_dropped(queue, count):
    before = [str(number) for number in range(count)]
    for item in [*before, (TEXT, b"a", False), (CONT, b"b", True)]:
        queue.append(item)
    queue.drop_incomplete()
    assert len(queue) == count + 2
    queue.append((BINARY, b"c", False))
    for _ in range(30):
        queue.append((CONT, b"d", False))
    queue.drop_incomplete()
    assert len(queue) == count + 2
    assert [queue.take_message() for _ in range(count + 2)] == [*before, "ab", None]
    for _ in range(2):
        queue.append((BINARY, b"c", False))
    queue.drop_incomplete()
    assert len(queue) == 0
    queue.append("last")
    assert queue.take_message() == "last"
