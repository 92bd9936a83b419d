"""How a connection deals with a peer that does not read what is sent."""

import asyncio

import pytest
from frames import CLOSE, PING, PONG, TEXT, ZERO, Frame, close, frame, wire
from twins import BACKENDS, make_connection

from wsfast.exceptions import ConnectionClosed, ProtocolError, WriteBufferFull
from wsfast.frames import State


@pytest.fixture(params=BACKENDS, ids=str)
def backend(request):
    return request.param


def texts(*numbers):
    """Text messages to a server, each with a number."""
    return b"".join(frame(TEXT, str(number), key=ZERO) for number in numbers)


def slow(backend, loop=None, **options):
    """A connection of which more waits to be written than the limit."""
    options = {"write_limit": 100, "max_write_buffer": 1000, **options}
    connection = make_connection(backend, loop=loop, **options)
    connection.driver.waiting = 101
    connection.send("x")
    assert connection.is_blocked
    connection.driver.forget()
    return connection


def test_at_the_write_limit_nothing_is_blocked_and_one_byte_past_it_is(backend):
    connection = make_connection(backend, write_limit=100, max_write_buffer=200)
    connection.driver.waiting = 100
    connection.send("x")
    assert not connection.is_blocked
    assert connection.is_reading
    connection.driver.waiting = 101
    connection.send("x")
    connection.loop.run_until_idle()
    assert connection.is_blocked
    assert not connection.is_reading
    assert not connection.is_paused
    assert connection.driver.calls[-1] == "pause"
    connection.writable()
    assert not connection.is_blocked
    assert connection.is_reading
    assert connection.driver.calls[-1] == "resume"


def test_a_client_reads_on_while_its_writes_are_blocked(backend):
    """Or two ends that are both in the middle of sending would wait for each other."""
    connection = make_connection(backend, client=True, write_limit=100, max_write_buffer=1000)
    connection.driver.waiting = 101
    connection.send("x")
    connection.loop.run_until_idle()
    assert connection.is_blocked
    assert connection.is_reading
    got = []
    connection.message_listener = lambda data, is_binary: got.append(data)
    connection.received(frame(TEXT, "y"))
    assert got == ["y"]
    connection.driver.waiting = 1001
    connection.send("z")
    connection.loop.run_until_idle()
    assert isinstance(connection.error, WriteBufferFull)


def test_the_buffered_amount_is_what_is_held_and_what_the_driver_has(backend):
    """W2."""
    connection = make_connection(backend)
    connection.driver.waiting = 50
    with connection.cork():
        connection.send("12345678")
        assert connection.buffered_amount == 60
    assert connection.buffered_amount == 50


def test_nothing_is_read_while_the_peer_does_not_read(backend):
    connection = slow(backend)
    got = []
    connection.message_listener = lambda data, is_binary: got.append(data)
    connection.received(texts(1, 2))  # what a transport had already
    assert got == []
    connection.driver.waiting = 0
    connection.writable()
    assert got == []
    connection.loop.run_until_idle()
    assert got == ["1", "2"]
    assert connection.is_reading


def test_a_connection_that_is_blocked_in_its_dispatch_stops_reading(backend):
    connection = make_connection(backend, write_limit=100, max_write_buffer=1000)
    got = []

    def listener(data, is_binary):
        got.append(data)
        with connection.cork():
            connection.send(data)

    connection.message_listener = listener
    connection.driver.waiting = 101
    connection.received(texts(1, 2, 3))
    assert got == ["1"]
    assert connection.driver.names() == ["write", "pause"]
    connection.driver.waiting = 0
    connection.writable()
    connection.loop.run_until_idle()
    assert got == ["1", "2", "3"]


async def test_a_send_waits_until_the_peer_has_taken_most_of_it(backend):
    connection = slow(backend, loop=asyncio.get_running_loop())
    first = asyncio.create_task(connection.send("1"))
    second = asyncio.ensure_future(connection.send("2"))
    third = asyncio.create_task(connection.drain())
    fourth = asyncio.gather(connection.send("4"))
    for _ in range(3):
        await asyncio.sleep(0)
    assert not any(task.done() for task in (first, second, third, fourth))
    assert [item.payload for item in connection.driver.frames] == [b"1", b"2", b"4"]
    connection.driver.waiting = 0
    connection.writable()
    assert await asyncio.gather(first, second, third, fourth) == [None, None, None, [None]]
    await connection.send("5")


async def test_the_wait_of_a_send_may_be_cancelled_and_the_message_is_sent(backend):
    connection = slow(backend, loop=asyncio.get_running_loop())
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(connection.send("1"), 0.001)
    task = asyncio.create_task(connection.send("2"))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    connection.driver.waiting = 0
    connection.writable()
    assert [item.payload for item in connection.driver.frames] == [b"1", b"2"]


def test_a_send_that_is_woken_without_reason_waits_on(backend):
    connection = slow(backend)
    waiting = connection.send("1")
    assert waiting.send(None) is waiting
    assert waiting.send(None) is waiting
    connection.driver.waiting = 0
    connection.writable()
    with pytest.raises(StopIteration):
        waiting.send(None)


async def test_a_send_that_waits_is_told_of_the_end(backend):
    """W11."""
    connection = slow(backend, loop=asyncio.get_running_loop())
    task = asyncio.create_task(connection.send("1"))
    await asyncio.sleep(0)
    connection.lost(ConnectionResetError(104, "reset"))
    with pytest.raises(ConnectionClosed) as caught:
        await task
    assert caught.value.__cause__.code == "ECONNRESET"


async def test_a_send_that_is_blocked_again_waits_on(backend):
    connection = slow(backend, loop=asyncio.get_running_loop())
    task = asyncio.create_task(connection.send("1"))
    await asyncio.sleep(0)
    connection.writable()
    with connection.cork():
        connection.send("2")  # and the driver has too much again
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert connection.is_blocked
    assert not task.done()
    connection.driver.waiting = 0
    connection.writable()
    await task


def test_cve_2020_35896_pongs_are_coalesced_while_the_peer_does_not_read(backend):
    connection = make_connection(backend, write_limit=100, max_write_buffer=1000)
    connection.driver.waiting = 101
    pings = b"".join(frame(PING, str(i), key=ZERO) for i in range(100))
    connection.received(pings)
    while not connection.is_blocked:
        connection.loop.run_pending()
    connection.driver.forget()
    # It stopped reading; a driver may still have something, and so may the turn.
    for _ in range(3):
        connection.received(pings)
        connection.loop.run_until_idle()
    assert connection.driver.calls == []
    connection.driver.waiting = 0
    connection.writable()
    connection.loop.run_until_idle()
    assert connection.driver.frames[-1] == Frame(PONG, b"99")
    assert connection.is_reading


def test_pings_that_came_while_the_peer_did_not_read_are_answered_when_it_does(backend):
    connection = slow(backend)
    connection.received(frame(PING, b"1", key=ZERO) + frame(PING, b"2", key=ZERO))
    connection.loop.run_until_idle()
    assert connection.driver.calls == []
    connection.driver.waiting = 0
    connection.writable()
    connection.loop.run_until_idle()
    assert connection.driver.frames[-1] == Frame(PONG, b"2")
    assert connection.is_reading


def test_a_connection_that_is_blocked_again_does_not_read(backend):
    connection = slow(backend)
    connection.received(frame(PING, b"1", key=ZERO) * 300)
    while len(connection.driver.frames) < 300:
        before = len(connection.driver.frames)
        connection.writable()
        connection.loop.run_until_idle()
        assert len(connection.driver.frames) > before
        assert connection.is_blocked
        assert not connection.is_reading
    connection.driver.waiting = 0
    connection.writable()
    connection.loop.run_until_idle()
    assert connection.is_reading


@pytest.mark.parametrize("end", [close(1000, key=ZERO), frame(3, key=ZERO)], ids=["close", "error"])
def test_a_task_that_waits_for_a_slow_peer_answers_all_before_the_end(backend, end):
    connection = make_connection(backend, write_limit=100, max_write_buffer=1000)

    async def echo():
        async for message in connection:
            with connection.cork():  # so that it leaves, and blocks
                connection.send(message)
            await connection.drain()

    connection.loop.create_task(echo()).add_done_callback(lambda task: task.exception())
    connection.loop.run_until_idle()
    connection.driver.waiting = 101
    connection.received(texts(1, 2, 3, 4) + end)
    for _ in range(3):
        connection.loop.run_until_idle()
        assert connection.state is State.OPEN
        connection.writable()
    connection.driver.waiting = 0
    connection.writable()
    connection.loop.run_until_idle()
    *replies, last = connection.driver.frames
    assert [item.payload for item in replies] == [b"1", b"2", b"3", b"4"]
    assert last.opcode == CLOSE
    assert connection.state is State.CLOSING


def test_at_max_write_buffer_nothing_ends_and_one_byte_past_it_the_connection_does(backend):
    connection = make_connection(backend, write_limit=100, max_write_buffer=1000)
    connection.driver.waiting = 1000
    connection.send("x")
    connection.loop.run_until_idle()
    assert connection.state is State.OPEN
    connection.driver.waiting = 1001
    connection.send("x")
    connection.loop.run_until_idle()
    assert connection.state is State.CLOSING
    assert connection.driver.calls[-1] == "abort"
    error = connection.error
    assert type(error) is WriteBufferFull
    assert str(error) == "Write buffer of 1001 bytes exceeds maximum of 1000"
    assert (error.code, error.close_code) == ("WS_ERR_WRITE_BUFFER_FULL", 1008)
    assert (error.size, error.max_size) == (1001, 1000)
    connection.lost(None)
    assert connection.close_code == 1006
    assert connection.driver.names().count("abort") == 1


def test_without_max_write_buffer_it_does_not_end(backend):
    connection = make_connection(backend, write_limit=100, max_write_buffer=None)
    connection.driver.waiting = 2**40
    connection.send("x")
    assert connection.is_blocked
    assert connection.state is State.OPEN


def test_a_slow_peer_that_closes_is_answered_and_its_end_is_read(backend):
    connection = slow(backend)
    connection.received(wire("88 80 M"))
    assert connection.close_received is None
    connection.driver.waiting = 0
    connection.writable()
    connection.loop.run_until_idle()
    assert connection.driver.sent == wire("88 00")
    assert connection.driver.names()[-1] in ("shutdown_write", "resume")
    assert connection.is_reading


def test_writable_of_a_connection_that_is_not_blocked_does_nothing(backend):
    connection = make_connection(backend)
    connection.writable()
    connection.loop.run_until_idle()
    assert connection.driver.calls == []


async def test_a_receiver_is_told_when_a_sender_ends_the_connection_that_it_waited_for(backend):
    connection = make_connection(backend, loop=asyncio.get_running_loop())
    connection.driver.waiting = 10**6

    async def send():
        await connection.send("too much")
        connection.fail(ProtocolError("the sender has enough"))

    receiving = asyncio.create_task(consume(connection))
    sending = asyncio.create_task(send())
    await asyncio.sleep(0)
    connection.driver.waiting = 0
    asyncio.get_running_loop().call_soon(connection.writable)
    await sending
    await asyncio.wait_for(receiving, 10)


async def consume(connection):
    with pytest.raises(ConnectionClosed):
        await connection.recv()
