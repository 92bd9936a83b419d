"""A closed connection may begin another life, in which all is as new, but for its counters."""

import asyncio

import pytest
from deflating import let_compress
from frames import BINARY, CLOSE, CONT, PING, PONG, TEXT, ZERO, close, frame
from twins import BACKENDS, FakeLoop, RecordingDriver, make_connection

from wsfast.exceptions import ConnectionClosedError, InvalidState
from wsfast.frames import State
from wsfast.options import Options

HELLO = frame(TEXT, "hello", key=ZERO)


@pytest.fixture(params=BACKENDS, ids=str)
def backend(request):
    return request.param


def live_again(backend, connection, **options):
    """Begin another life, on another driver."""
    backend.core.Connection.__init__(
        connection,
        Options(**options),
        RecordingDriver(),
        connection.loop,
        client=False,
        generate_mask=lambda: ZERO,
    )
    return connection


def lose(connection, error=None):
    connection.lost(error)
    return connection


def opcodes(connection):
    return [item.opcode for item in connection.driver.frames]


def start(connection, awaitable):
    async def wait():
        return await awaitable

    task = connection.loop.create_task(wait())
    connection.loop.run_until_idle()
    return task


@pytest.mark.parametrize("state", ["open", "closing"])
def test_a_connection_that_is_not_closed_cannot_begin_another_life(backend, state):
    connection = make_connection(backend)
    if state == "closing":
        connection.close()
    with pytest.raises(InvalidState, match="the connection is not closed"):
        live_again(backend, connection)
    connection.received(HELLO)
    assert start(connection, connection.recv()).result() == "hello"


def test_everything_is_as_new(backend):
    connection = make_connection(backend, max_queue=2, write_limit=10)
    let_compress(backend, connection)
    connection.received(HELLO * 3)
    connection.pause()
    connection.driver.waiting = 11
    connection.send("part", fin=False)
    connection.received(frame(PING, b"late", key=ZERO))
    connection.discard()
    connection.deadline = 5.0
    connection.fail(OSError("broken"))
    lose(connection)
    live_again(backend, connection)
    new = make_connection(backend)
    for name in (
        *("state", "close_code", "close_reason", "close_sent", "close_received", "error"),
        *("is_paused", "is_reading", "is_blocked", "is_sending_fragments", "is_ending"),
        *("buffered_amount", "deadline", "outbox", "negotiated", "deflate", "fragments"),
    ):
        assert getattr(connection, name) == getattr(new, name), name
    assert str(connection.closed_error()) == str(new.closed_error())
    connection.send("whole")
    connection.received(HELLO)
    connection.loop.run_until_idle()
    assert start(connection, connection.recv()).result() == "hello"
    assert [(item.opcode, item.payload) for item in connection.driver.frames] == [(TEXT, b"whole")]


def test_a_life_may_begin_with_the_opening_handshake(backend):
    connection = lose(make_connection(backend))
    backend.core.Connection.__init__(
        connection,
        Options(),
        RecordingDriver(),
        connection.loop,
        client=True,
        state=State.CONNECTING,
        generate_mask=lambda: ZERO,
    )
    assert connection.state is State.CONNECTING
    assert connection.client is True
    connection.open()
    connection.received(frame(TEXT, "unmasked"))
    assert start(connection, connection.recv()).result() == "unmasked"


def test_the_options_are_those_of_the_new_life(backend):
    connection = lose(make_connection(backend, max_size=1, auto_pong=False, fragment_size=1))
    live_again(backend, connection, max_size=5)
    connection.received(HELLO + frame(PING, b"", key=ZERO))
    connection.send("whole")
    connection.loop.run_until_idle()
    assert opcodes(connection) == [PONG, TEXT]


def test_what_the_user_has_set_stays(backend):
    connection = make_connection(backend)
    got = []
    connection.message_listener = lambda *message: got.append(message)
    connection.text_type = "bytes"
    connection.binary_type = "fragments"
    connection.tells_pings = False
    live_again(backend, lose(connection))
    parts = frame(BINARY, b"1", fin=False, key=ZERO) + frame(CONT, b"2", key=ZERO)
    connection.received(HELLO + parts + frame(PING, b"", key=ZERO))
    assert got == [(b"hello", False), ([b"1", b"2"], True)]
    assert "ping" not in [event[0] for event in connection.events if isinstance(event, tuple)]


def test_the_counters_go_on(backend):
    names = [
        *("messages_received", "messages_sent", "frames_received", "frames_sent"),
        *("bytes_received", "bytes_sent", "wire_bytes_received", "wire_bytes_sent"),
        *("fragments_received", "fragments_sent", "biggest_received", "biggest_sent"),
        *("pings_received", "pings_sent", "pongs_received", "pongs_sent"),
    ]
    connection = make_connection(backend)
    lives = []
    for _ in range(2):
        connection.received(HELLO + frame(PING, b"1", key=ZERO) + frame(PONG, b"1", key=ZERO))
        connection.received(frame(TEXT, "a", fin=False, key=ZERO) + frame(CONT, "b", key=ZERO))
        connection.send("x", fin=False)
        connection.send("y")
        connection.ping(b"1")
        connection.loop.run_until_idle()
        lose(connection)
        lives.append([getattr(connection, name) for name in names])
        live_again(backend, connection)
    once, twice = lives
    largest = {"biggest_received": 5, "biggest_sent": 2}
    assert min(once) > 0
    for name, first, second in zip(names, once, twice, strict=True):
        assert second == largest.get(name, 2 * first), name
    assert once[names.index("messages_received")] == 2


def test_messages_that_nobody_received_can_still_be_received_but_not_one_that_was_begun(backend):
    connection = make_connection(backend)
    connection.received(HELLO * 2 + frame(TEXT, "begun", fin=False, key=ZERO))
    live_again(backend, lose(connection))
    connection.received(frame(TEXT, "new", key=ZERO))
    for message in ("hello", "hello", "new"):
        assert start(connection, connection.recv()).result() == message


def test_what_was_held_is_gone(backend):
    connection = make_connection(backend)
    cork = connection.cork()
    with cork:
        connection.send("old")
        live_again(backend, lose(connection))
        connection.send("new")
        # The end of the block that corked the life before is nothing to this one.
        assert [item.payload for item in connection.driver.frames] == [b"new"]
    connection.loop.run_until_idle()
    assert [item.payload for item in connection.driver.frames] == [b"new"]
    with connection.cork():
        connection.send("held")
        assert len(connection.driver.frames) == 1
    assert len(connection.driver.frames) == 2


def test_a_flush_that_was_scheduled_does_no_harm(backend):
    connection = make_connection(backend)
    for number in range(20):
        connection.send(str(number))
    first = connection.driver
    live_again(backend, lose(connection))
    for number in range(20):
        connection.send(f"new {number}")
    connection.loop.run_until_idle()
    assert all(not item.payload.startswith(b"new") for item in first.frames)
    expected = [f"new {number}".encode() for number in range(20)]
    assert [item.payload for item in connection.driver.frames] == expected


def test_a_turn_that_was_scheduled_does_no_harm(backend):
    """What came with the opening handshake waits for a turn of this life, not of the one before."""
    connection = make_connection(backend)
    got = []
    connection.message_listener = lambda message, is_binary: got.append(message)
    connection.received(frame(TEXT, "x", key=ZERO) * 300)
    assert len(got) == 256
    assert connection.loop.ready
    live_again(backend, lose(connection))
    del got[:]
    connection.loop.call_soon(got.append, "between")
    connection.receive_soon(HELLO)
    connection.loop.run_until_idle()
    assert got == ["between", "hello"]


def test_a_task_that_waits_for_a_message_waits_for_those_of_the_new_life(backend):
    connection = make_connection(backend)
    task = start(connection, connection.recv())
    connection.lost(None)
    live_again(backend, connection)
    connection.loop.run_until_idle()
    assert not task.done()
    connection.received(HELLO)
    connection.loop.run_until_idle()
    assert task.result() == "hello"


def test_a_task_that_waits_is_told_of_the_end_if_there_is_no_new_life(backend):
    connection = make_connection(backend)
    task = start(connection, connection.recv())
    connection.lost(None)
    connection.loop.run_until_idle()
    with pytest.raises(ConnectionClosedError):
        task.result()
    live_again(backend, connection)
    connection.received(HELLO)
    assert start(connection, connection.recv()).result() == "hello"


def test_a_life_may_begin_where_the_end_of_the_one_before_is_told(backend):
    connection = make_connection(backend)
    task = start(connection, connection.recv())
    done = []

    def on_closed():
        if not done:
            done.append(True)
            live_again(backend, connection)

    type(connection).on_closed = lambda self: on_closed()
    connection.received(frame(TEXT, "old", fin=False, key=ZERO))
    connection.lost(None)
    assert connection.state is State.OPEN
    connection.loop.run_until_idle()
    assert not task.done()
    connection.received(HELLO)
    connection.loop.run_until_idle()
    assert task.result() == "hello"


def test_a_life_may_begin_while_the_one_before_reads(backend):
    """What is left of the input is nothing to the new life."""
    connection = make_connection(backend)
    got = []

    def listener(message, is_binary):
        got.append(message)
        if len(got) == 1:
            connection.abort()
            connection.lost(None)
            live_again(backend, connection)

    connection.message_listener = listener
    connection.received(HELLO + frame(TEXT, "old", key=ZERO) + close(1000, key=ZERO))
    assert got == ["hello"]
    connection.received(frame(TEXT, "new", key=ZERO))
    assert got == ["hello", "new"]
    assert connection.close_received is None
    connection.loop.run_until_idle()
    assert opcodes(connection) == []


def test_who_waits_for_a_slow_peer_is_told_of_the_end(backend):
    connection = make_connection(backend, write_limit=10)
    connection.driver.waiting = 11
    task = start(connection, connection.send("to a slow peer"))
    assert not task.done()
    connection.lost(None)
    live_again(backend, connection)
    connection.loop.run_until_idle()
    with pytest.raises(ConnectionClosedError):
        task.result()


def test_compression_may_be_agreed_on_again(backend):
    connection = make_connection(backend)
    let_compress(backend, connection, threshold=0)
    connection.send("text " * 10)
    live_again(backend, lose(connection))
    connection.send("text " * 10)
    assert [item.rsv for item in connection.driver.frames] == [0]
    live_again(backend, lose(connection))
    let_compress(backend, connection, threshold=0)
    connection.send("text " * 10)
    assert [item.rsv for item in connection.driver.frames] == [4]


def test_the_closing_handshake_is_done_once_in_each_life(backend):
    connection = make_connection(backend)
    for code in (1000, 3000):
        connection.received(close(code, "bye", key=ZERO))
        assert connection.close_code == code
        assert opcodes(connection) == [CLOSE]
        assert connection.driver.names()[-1] == "shutdown_write"
        live_again(backend, lose(connection))
    assert [event for event in connection.events if event == "closed"] == ["closed"] * 2


def test_a_life_may_be_on_another_loop(backend):
    connection = make_connection(backend)
    connection.send("x")
    connection.send("held")
    lose(connection)
    loop = FakeLoop()
    backend.core.Connection.__init__(
        connection, Options(), RecordingDriver(), loop, client=False, generate_mask=lambda: ZERO
    )
    assert connection.loop is loop
    connection.send("x")
    connection.send("held")
    loop.run_until_idle()
    assert len(connection.driver.frames) == 2


async def test_iteration_goes_on_on_a_real_loop(backend):
    loop = asyncio.get_running_loop()
    connection = make_connection(backend, loop=loop)
    got = []

    async def take():
        got.extend([message async for message in connection])

    task = asyncio.create_task(take())
    await asyncio.sleep(0)
    for _ in range(3):
        connection.received(HELLO)
        await asyncio.sleep(0)
        connection.lost(None)
        live_again(backend, connection)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    connection.received(close(1000, key=ZERO))
    await task
    assert got == ["hello"] * 3
