"""Listeners that are attached while messages wait, and a connection that ends meanwhile."""

import pytest
from frames import TEXT, ZERO, close, frame
from twins import BACKENDS, make_connection

from wsfast.frames import State


@pytest.fixture(params=BACKENDS, ids=str)
def backend(request):
    return request.param


def texts(*numbers):
    return b"".join(frame(TEXT, str(number), key=ZERO) for number in numbers)


def attach(connection, pauses=False):
    """Attach a listener, as `on` does it; what it got stands between the other events."""

    def listener(data, is_binary):
        connection.events.append(data)
        if pauses:
            connection.pause()

    connection.message_listener = listener
    connection.deliver_soon()


@pytest.mark.parametrize("pauses", [False, True])
@pytest.mark.parametrize("passes", [0, 1])
def test_l14_what_waits_is_delivered_before_the_end_of_a_lost_connection(backend, pauses, passes):
    """L14: also to a listener that was attached late, and paused."""
    connection = make_connection(backend, max_queue=2)
    connection.received(texts(1, 2, 3, 4, 5))
    attach(connection, pauses)
    for _ in range(passes):
        connection.loop.run_until_idle()
    connection.lost(None)
    assert connection.events == ["1", "2", "3", "4", "5", "closed"]
    connection.loop.run_until_idle()
    assert connection.events == ["1", "2", "3", "4", "5", "closed"]


@pytest.mark.parametrize("pauses", [False, True])
def test_a_listener_attached_at_last_gets_what_nobody_received(backend, pauses):
    """A client that says something and goes, and a handler that has something to do before."""
    connection = make_connection(backend)
    connection.received(texts(1, 2) + close(1000, key=ZERO))
    connection.eof()
    connection.lost(None)
    assert connection.state is State.CLOSED
    connection.events.clear()
    attach(connection, pauses)
    assert connection.events == []
    connection.loop.run_until_idle()
    assert connection.events == ["1", "2"]
