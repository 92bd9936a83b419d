"""Broadcasts between what a connection sends by itself."""

from collections import deque

import pytest
from frames import BINARY, CLOSE, TEXT, frame
from twins import BACKENDS, FakeLoop, make_connection


@pytest.fixture(params=BACKENDS, ids=str)
def backend(request):
    return request.param


def test_a_broadcast_keeps_its_place(backend):
    for held in (0, 2):
        connection = make_connection(backend)
        for number in range(held):
            connection.send(str(number))
        assert (
            backend.broadcast.send_to_all((connection,), frame(BINARY, b"to all"), 6, False) == []
        )
        connection.send("behind")
        connection.loop.run_until_idle()
        payloads = [item.payload for item in connection.driver.frames]
        assert payloads == [b"0", b"1", b"to all", b"behind"][2 - held :]
        assert connection.messages_sent == held + 2
        assert connection.bytes_sent == held + 6 + 6
        assert connection.wire_bytes_sent == len(connection.driver.sent)


def test_broadcasts_of_one_pass_leave_at_once_and_then_together(backend):
    loop = FakeLoop()
    connections = tuple(make_connection(backend, loop=loop) for _ in range(3))
    send_to_all = backend.broadcast.send_to_all
    frames = [frame(TEXT, str(number)) for number in range(4)]
    for number in range(3):
        # To the others it is the first.
        assert send_to_all(connections[: number + 1], frames[number], 1, False) == []
    assert [connection.driver.writes for connection in connections] == [
        [frames[0]],
        [frames[1]],
        [frames[2]],
    ]
    loop.run_pending()
    assert [connection.driver.writes[1:] for connection in connections] == [
        [frames[1] + frames[2]],
        [frames[2]],
        [],
    ]
    loop.run_until_idle()
    assert loop.ready == deque()


def test_a_large_broadcast_leaves_from_where_it_is(backend):
    connection = make_connection(backend)
    small, large = frame(TEXT, "small"), frame(BINARY, bytes(100_000))
    send_to_all = backend.broadcast.send_to_all
    for data in (small, small, large):
        assert send_to_all((connection,), data, len(data), False) == []
    connection.loop.run_until_idle()
    assert connection.driver.sent == small + small + large


def test_a_send_behind_a_broadcast_that_waits_leaves_behind_it(backend):
    connection = make_connection(backend)
    for number in range(3):
        backend.broadcast.send_to_all((connection,), frame(TEXT, str(number)), 1, False)
    connection.close()
    assert [item.payload for item in connection.driver.frames][:3] == [b"0", b"1", b"2"]
    assert connection.driver.frames[3].opcode == CLOSE


def test_broadcasts_do_not_wait_in_any_number(backend):
    connection = make_connection(backend)
    data = frame(BINARY, bytes(10_000))
    for _ in range(20):
        backend.broadcast.send_to_all((connection,), data, 10_000, False)
    assert len(connection.driver.sent) > 100_000
    connection.loop.run_until_idle()
    assert connection.driver.sent == data * 20


def test_it_is_told_whom_a_broadcast_was_not_sent_to(backend):
    def in_fragments(connection):
        connection.send("beginning", fin=False)

    def blocked(connection):
        connection.driver.waiting = 10**6
        connection.send("too much")

    def closing(connection):
        connection.close()

    client = make_connection(backend, client=True)
    splitting = make_connection(backend, fragment_size=2)
    others = [make_connection(backend) for _ in range(3)]
    for connection, prepare in zip(others, (in_fragments, blocked, closing), strict=True):
        prepare(connection)
        connection.driver.forget()
    connections = (client, splitting, *others)
    left_out = [client, splitting, *others[:2]]
    data = frame(TEXT, "abc")
    assert backend.broadcast.send_to_all(connections, data, 3, False) == left_out
    assert not any(connection.driver.writes for connection in connections)
    assert backend.broadcast.send_to_all(connections, data, 3, True) == left_out[:3]
    others[1].loop.run_until_idle()
    assert [bool(connection.driver.writes) for connection in connections] == [0, 0, 0, 1, 0]


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_a_connection_that_fails_at_the_end_of_a_round_does_not_concern_the_others(backend, error):
    loop = FakeLoop()
    connections = tuple(make_connection(backend, loop=loop) for _ in range(3))

    def fail(connection, buffers):
        raise error

    for number in range(2):
        backend.broadcast.send_to_all(connections, frame(TEXT, str(number)), 1, False)
    connections[0].driver.write = fail
    if error is KeyboardInterrupt:
        with pytest.raises(KeyboardInterrupt):
            loop.run_pending()
        loop.run_until_idle()
    else:
        loop.run_until_idle()
        assert connections[0].driver.names()[-1] == "abort"
    for connection in connections[1:]:
        assert [item.payload for item in connection.driver.frames] == [b"0", b"1"]
        connection.send("x")
        connection.send("y")
        loop.run_until_idle()
        assert [item.payload for item in connection.driver.frames][2:] == [b"x", b"y"]
