"""How a connection hands out what comes: to a listener, into its queue, turn by turn."""

import pytest
from frames import BINARY, CLOSE, CONT, PING, PONG, TEXT, ZERO, close, frame
from twins import BACKENDS, FakeLoop, make_connection, make_protocol

from wsfast.exceptions import ConnectionClosedOK
from wsfast.frames import Close, State

MIB = 2**20


@pytest.fixture(params=BACKENDS, ids=str)
def backend(request):
    return request.param


def listen(connection):
    """Attach a listener; the list of what it gets."""
    got = []
    connection.message_listener = lambda data, is_binary: got.append(data)
    return got


def texts(*numbers):
    """Text messages to a server, each with a number."""
    return b"".join(frame(TEXT, str(number), key=ZERO) for number in numbers)


async def take(connection, got):
    """Receive all there is."""
    async for message in connection:
        got.append(message)


# Protocol


def test_a_protocol_tells_what_comes_in_order(backend):
    protocol = make_protocol(backend)
    stream = b"".join(
        [
            frame(TEXT, "text", key=ZERO),
            frame(BINARY, b"binary", key=ZERO),
            frame(TEXT, "be", fin=False, key=ZERO),
            frame(PING, b"ping", key=ZERO),
            frame(CONT, "gin", key=ZERO),
            frame(PONG, b"pong", key=ZERO),
        ]
    )
    expected = [
        (TEXT, "text", True),
        (BINARY, b"binary", True),
        ("sent", PONG, b"ping"),
        ("ping", b"ping"),
        (TEXT, "begin", True),
        ("pong", b"pong"),
    ]
    protocol.receive(stream)
    assert protocol.events == expected
    assert protocol.sent == frame(PONG, b"ping")
    other = make_protocol(backend)
    for octet in stream:
        other.receive(bytes([octet]))
    assert other.events == expected
    for each in (protocol, other):
        assert each.messages_received == 3
        assert (each.frames_received, each.fragments_received) == (6, 2)
        assert each.bytes_received == 4 + 6 + 5
        assert each.wire_bytes_received == len(stream)
        assert (each.frames_sent, each.messages_sent, each.wire_bytes_sent) == (1, 0, 6)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_what_a_protocol_gets_is_only_borrowed(backend, kind):
    protocol = make_protocol(backend)
    stream = texts("Hello", "World")
    for size in (1, 3, 7, len(stream)):
        protocol.events.clear()
        for start in range(0, len(stream), size):
            buffer = bytearray(stream[start : start + size])
            lent = kind(buffer)
            protocol.receive(lent)
            if kind is memoryview:
                lent.release()
            buffer[:] = b"\xff" * len(buffer)
            buffer.append(0)  # a BufferError if it were still exported
        assert protocol.events == [(TEXT, "Hello", True), (TEXT, "World", True)]


def test_a_protocol_whose_user_fails_goes_on_with_the_rest(backend):
    protocol = make_protocol(backend)
    fail = True

    def on_message(opcode, data, fin):
        if fail:
            raise RuntimeError("a bug of the user")
        protocol.events.append(data)

    protocol.on_message = on_message
    buffer = bytearray(texts(1, 2, 3))
    with pytest.raises(RuntimeError, match="a bug of the user"):
        protocol.receive(buffer)
    buffer[:] = b"\xff" * len(buffer)
    fail = False
    protocol.receive(b"")
    assert protocol.events == ["2", "3"]


def test_in_fragment_mode_every_data_frame_is_told(backend):
    protocol = make_protocol(backend)
    protocol.fragments = True
    assert protocol.fragments is True
    protocol.receive(frame(TEXT, "a", fin=False, key=ZERO) + frame(CONT, "b", key=ZERO))
    assert protocol.events == [(TEXT, b"a", False), (CONT, b"b", True)]
    assert protocol.messages_received == 1
    protocol.fragments = False
    assert protocol.fragments is False
    protocol.receive(frame(TEXT, "c", fin=False, key=ZERO) + frame(CONT, "d", key=ZERO))
    assert protocol.events[2:] == [(TEXT, "cd", True)]


# Listeners


def test_a_listener_gets_str_for_text_and_bytes_for_binary(backend):
    connection = make_connection(backend)
    got = []
    connection.message_listener = lambda data, is_binary: got.append((data, is_binary))
    connection.received(frame(TEXT, "é", key=ZERO) + frame(BINARY, b"\xff", key=ZERO))
    connection.received(frame(TEXT, "", key=ZERO) + frame(BINARY, b"", key=ZERO))
    assert got == [("é", False), (b"\xff", True), ("", False), (b"", True)]
    assert all(type(is_binary) is bool for _, is_binary in got)


def test_what_a_listener_raises_is_reported_and_does_not_stop_the_reading(backend):
    """EV9: in the middle of a read."""
    connection = make_connection(backend)
    got = []

    def listener(data, is_binary):
        got.append(data)
        raise ValueError(data)

    connection.message_listener = listener
    connection.received(texts(1, 2, 3))
    assert got == ["1", "2", "3"]
    reported = [(event, str(error)) for event, error in connection.events]
    assert reported == [("listener failed", number) for number in "123"]
    assert connection.state is State.OPEN
    connection.received(texts(4))
    assert got[3:] == ["4"]


def test_what_a_listener_raises_for_a_message_that_waited_is_reported_too(backend):
    connection = make_connection(backend)
    connection.received(texts(1, 2))

    def listener(data, is_binary):
        raise ValueError(data)

    connection.message_listener = listener
    connection.deliver_soon()
    connection.loop.run_until_idle()
    assert [str(error) for _, error in connection.events] == ["1", "2"]
    assert connection.is_reading


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_what_ends_the_program_passes_through_and_the_rest_is_kept(backend, error):
    connection = make_connection(backend)
    got = []

    def listener(data, is_binary):
        got.append(data)
        if data == "1":
            raise error

    connection.message_listener = listener
    buffer = bytearray(texts(1, 2, 3))
    with pytest.raises(error):
        connection.received(memoryview(buffer))
    buffer[:] = b"\xff" * len(buffer)
    connection.received(texts(4))
    assert got == ["1", "2", "3", "4"]
    assert connection.events == []


def test_a_listener_gets_a_message_of_fragments_when_it_is_complete(backend):
    connection = make_connection(backend)
    connection.fragments = True
    connection.received(frame(TEXT, "a", fin=False, key=ZERO))
    got = listen(connection)
    connection.deliver_soon()
    connection.loop.run_until_idle()
    assert got == []
    connection.received(frame(CONT, "b", key=ZERO))
    connection.deliver_soon()
    connection.loop.run_until_idle()
    assert got == ["ab"]


def test_a_listener_may_take_itself_away(backend):
    connection = make_connection(backend)
    got = []

    def listener(data, is_binary):
        got.append(data)
        connection.message_listener = None

    connection.message_listener = listener
    connection.received(texts(1, 2, 3))
    assert got == ["1"]
    rest = listen(connection)
    connection.deliver_soon()
    connection.loop.run_until_idle()
    assert rest == ["2", "3"]


def test_a_listener_attached_later_gets_what_waits_and_then_what_comes(backend):
    connection = make_connection(backend)
    connection.received(texts(1, 2))
    got = listen(connection)
    connection.deliver_soon()
    assert got == []
    connection.received(texts(3))  # before the pass of the loop
    connection.loop.run_until_idle()
    assert got == ["1", "2", "3"]
    connection.received(texts(4))
    assert got == ["1", "2", "3", "4"]
    assert connection.is_reading


def test_a_listener_attached_without_a_word_gets_what_waits_with_the_next_read(backend):
    connection = make_connection(backend)
    connection.received(texts(1, 2))
    got = listen(connection)
    connection.received(texts(3))
    assert got == ["1", "2", "3"]


def test_a_listener_that_pauses_gets_nothing_more_until_it_resumes(backend):
    connection = make_connection(backend)
    got = []

    def listener(data, is_binary):
        got.append(data)
        connection.pause()

    connection.message_listener = listener
    connection.received(texts(1, 2, 3))
    assert got == ["1"]
    assert connection.is_paused
    assert connection.driver.calls == ["pause"]
    connection.received(texts(4))  # a transport may deliver what it has read
    connection.loop.run_until_idle()
    assert got == ["1"]
    for expected in ("2", "3", "4"):
        connection.resume()
        connection.loop.run_until_idle()
        assert got[-1] == expected
    connection.resume()
    connection.loop.run_until_idle()
    assert got == ["1", "2", "3", "4"]
    assert connection.driver.calls[-1] == "resume"


def test_a_listener_that_pauses_in_the_queue_gets_the_rest_when_it_resumes(backend):
    connection = make_connection(backend, max_queue=2)
    connection.received(texts(1, 2, 3))
    got = []

    def listener(data, is_binary):
        got.append(data)
        connection.pause()

    connection.message_listener = listener
    connection.deliver_soon()
    for count in (1, 2, 3):
        connection.loop.run_until_idle()
        assert len(got) == count
        connection.resume()
    connection.loop.run_until_idle()
    assert got == ["1", "2", "3"]
    assert not connection.is_paused
    assert connection.is_reading
    assert connection.driver.calls[-1] == "resume"


# What came with the opening handshake


def test_what_came_with_the_handshake_is_dealt_with_in_the_next_pass_and_first(backend):
    connection = make_connection(backend)
    connection.receive_soon(texts(1, 2))
    got = listen(connection)
    assert got == []
    connection.received(texts(3))
    connection.loop.run_until_idle()
    assert got == ["1", "2", "3"]
    assert connection.wire_bytes_received == len(texts(1, 2, 3))
    assert connection.is_reading


def test_what_came_with_the_handshake_comes_before_the_end(backend):
    connection = make_connection(backend)
    connection.receive_soon(texts(1) + close(1001, key=ZERO))
    assert connection.eof() is True
    got = listen(connection)
    connection.lost(None)
    assert got == ["1"]
    assert connection.close_code == 1001
    connection.loop.run_until_idle()
    assert connection.events[-1] == "closed"


# Turns


def test_a_turn_ends_after_256_messages_and_goes_on_in_the_next_pass(backend):
    connection = make_connection(backend)
    got = listen(connection)
    connection.received(texts(*range(600)))
    assert got == [str(i) for i in range(256)]
    assert connection.driver.calls == ["pause"]
    assert not connection.is_reading
    assert not connection.is_paused
    connection.loop.run_pending()
    assert len(got) == 512
    connection.loop.run_pending()
    assert got == [str(i) for i in range(600)]
    assert connection.driver.calls == ["pause", "resume"]
    assert connection.loop.run_until_idle() == 0
    assert connection.is_reading


def test_a_read_of_256_messages_needs_no_further_turn(backend):
    connection = make_connection(backend)
    got = listen(connection)
    connection.received(texts(*range(256)))
    assert len(got) == 256
    assert connection.driver.calls == []
    assert connection.is_reading
    connection.received(texts(256))
    assert len(got) == 257


def test_a_turn_ends_after_1_mib(backend):
    connection = make_connection(backend)
    got = listen(connection)
    half = frame(BINARY, bytes(MIB // 2), key=ZERO)
    connection.received(half * 5)
    assert len(got) == 2
    connection.loop.run_pending()
    assert len(got) == 4
    connection.loop.run_pending()
    assert len(got) == 5
    assert connection.driver.calls == ["pause", "resume"]


def test_pings_count_for_a_turn(backend):
    connection = make_connection(backend)
    connection.received(frame(PING, b"p", key=ZERO) * 300)
    assert len(connection.events) == 256
    connection.loop.run_until_idle()
    assert connection.events == [("ping", b"p")] * 300
    assert connection.driver.sent == frame(PONG, b"p") * 300


def test_what_comes_between_two_turns_stays_in_order(backend):
    connection = make_connection(backend)
    got = listen(connection)
    connection.received(texts(*range(300)))
    connection.received(texts(*range(300, 310)))
    assert len(got) == 256
    connection.loop.run_until_idle()
    assert got == [str(i) for i in range(310)]


def test_two_connections_take_turns(backend):
    loop = FakeLoop()
    order = []
    for name in "ab":
        connection = make_connection(backend, loop=loop)
        connection.message_listener = lambda data, is_binary, name=name: order.append(name)
        connection.received(texts(*range(600)))
    loop.run_until_idle()
    runs = "".join(order)
    assert runs == "a" * 256 + "b" * 256 + "a" * 256 + "b" * 256 + "a" * 88 + "b" * 88


def test_a_turn_that_ends_inside_a_frame_leaves_it_for_the_next(backend):
    connection = make_connection(backend)
    got = listen(connection)
    stream = texts(*range(300))
    buffer = bytearray(stream[:-3])
    connection.received(memoryview(buffer))
    buffer[:] = b"\xff" * len(buffer)
    connection.loop.run_until_idle()
    assert len(got) == 299
    connection.received(stream[-3:])
    assert got == [str(i) for i in range(300)]


# The queue


def test_messages_queue_up_to_max_queue_and_then_reading_pauses(backend):
    """RX10."""
    connection = make_connection(backend, max_queue=8)
    connection.received(texts(*range(7)))
    assert connection.driver.calls == []
    connection.received(texts(7))
    assert connection.driver.calls == ["pause"]
    assert not connection.is_reading
    assert not connection.is_paused
    got = []
    task = connection.loop.create_task(take(connection, got))
    connection.loop.run_until_idle()
    assert got == [str(i) for i in range(8)]
    assert connection.driver.calls == ["pause", "resume"]
    connection.received(texts(8))
    assert got[-1] == "8"
    task.cancel()
    connection.loop.run_until_idle()


def test_reading_goes_on_when_a_quarter_of_max_queue_is_left(backend):
    connection = make_connection(backend, max_queue=8)
    connection.received(texts(*range(8)))

    async def take_some(count):
        return [await connection.recv() for _ in range(count)]

    connection.loop.create_task(take_some(5))
    connection.loop.run_until_idle()
    assert connection.driver.calls == ["pause"]
    connection.loop.create_task(take_some(1))
    connection.loop.run_until_idle()
    assert connection.driver.calls == ["pause", "resume"]
    # What waits is below the limit again, so that eight more must come before the next pause.
    connection.received(texts(*range(8, 13)))
    assert connection.driver.calls == ["pause", "resume"]
    connection.received(texts(13))
    assert connection.driver.calls == ["pause", "resume", "pause"]


def test_what_comes_while_reading_is_paused_is_kept_for_later(backend):
    connection = make_connection(backend, max_queue=1)
    connection.received(texts(1))
    connection.received(texts(2, 3))
    assert connection.messages_received == 1
    got = []
    task = connection.loop.create_task(take(connection, got))
    connection.loop.run_until_idle()
    assert got == ["1", "2", "3"]
    assert connection.driver.calls == ["pause", "resume"]
    task.cancel()
    connection.loop.run_until_idle()


def test_a_queue_without_a_limit_never_pauses(backend):
    connection = make_connection(backend, max_queue=None)
    for i in range(2000):
        connection.received(texts(i))
    assert connection.driver.calls == []
    assert connection.messages_received == 2000


def test_the_queue_is_not_full_for_a_task_that_takes_all_of_it(backend):
    connection = make_connection(backend, max_queue=4)
    got = []
    task = connection.loop.create_task(take(connection, got))
    connection.loop.run_until_idle()
    connection.received(texts(*range(100)))
    assert got == [str(i) for i in range(100)]
    assert connection.driver.calls == []
    task.cancel()
    connection.loop.run_until_idle()


def test_1_2_a_peer_that_is_not_received_from_stops_being_read(backend):
    connection = make_connection(backend)
    reads = 0
    while connection.is_reading:
        connection.received(texts(0))
        reads += 1
    assert reads == 16
    assert connection.driver.calls == ["pause"]


def test_after_close_messages_beyond_the_queue_are_dropped_to_find_the_close_frame(backend):
    connection = make_connection(backend, max_queue=2)
    connection.received(texts(1, 2))
    assert connection.driver.calls == ["pause"]
    connection.close()
    assert connection.driver.names() == ["pause", "write", "resume"]
    connection.received(texts(3, 4) + close(1000, key=ZERO))
    assert connection.close_code == 1000
    assert connection.messages_dropped == 2
    assert connection.messages_received == 4
    got = []
    connection.loop.create_task(take(connection, got))
    connection.loop.run_until_idle()
    assert got == ["1", "2"]


# pause, resume and discard


def test_pause_and_resume_reach_the_driver_once(backend):
    connection = make_connection(backend)
    got = listen(connection)
    assert (connection.is_paused, connection.is_reading) == (False, True)
    connection.resume()
    connection.pause()
    connection.pause()
    assert (connection.is_paused, connection.is_reading) == (True, False)
    assert connection.driver.calls == ["pause"]
    connection.resume()
    connection.resume()
    assert (connection.is_paused, connection.is_reading) == (False, True)
    assert connection.driver.calls == ["pause", "resume"]
    connection.received(texts(1))
    assert got == ["1"]


def test_pause_and_resume_in_one_dispatch_do_not_reach_the_driver(backend):
    connection = make_connection(backend)
    got = []

    def listener(data, is_binary):
        got.append(data)
        connection.pause()
        connection.resume()

    connection.message_listener = listener
    connection.received(texts(1, 2, 3))
    assert got == ["1", "2", "3"]
    assert connection.driver.calls == []


def test_what_came_while_paused_is_delivered_before_the_socket_is_read(backend):
    connection = make_connection(backend)
    got = listen(connection)
    connection.pause()
    connection.received(texts(1, 2))
    connection.resume()
    assert got == []
    assert connection.driver.calls == ["pause"]
    connection.loop.run_pending()
    assert got == ["1", "2"]
    assert connection.driver.calls == ["pause", "resume"]


def test_pause_after_close_does_nothing_and_close_ends_a_pause(backend):
    """W4, L7: so that the close frame and the end can come."""
    connection = make_connection(backend)
    connection.pause()
    connection.close()
    assert not connection.is_paused
    assert connection.is_reading
    assert connection.driver.names() == ["pause", "write", "resume"]
    connection.pause()
    assert connection.is_reading
    connection.received(close(1000, key=ZERO))
    assert connection.close_code == 1000


def test_discard_drops_what_waits_and_what_comes(backend):
    connection = make_connection(backend, max_queue=2)
    connection.received(texts(1, 2, 3))
    assert connection.driver.calls == ["pause"]
    connection.discard()
    assert connection.driver.calls == ["pause", "resume"]
    got = listen(connection)
    connection.received(texts(4) * 100 + frame(PING, b"p", key=ZERO) + close(1000, key=ZERO))
    connection.loop.run_until_idle()
    assert got == []
    assert connection.messages_received == 103
    assert connection.messages_dropped == 103
    assert connection.close_code == 1000
    assert [item.opcode for item in connection.driver.frames] == [PONG, CLOSE]


def test_discard_counts_messages_and_not_their_fragments(backend):
    connection = make_connection(backend)
    connection.fragments = True
    connection.received(texts(1) + frame(TEXT, b"a", fin=False, key=ZERO))
    connection.discard()
    assert connection.messages_dropped == 1
    connection.received(frame(CONT, b"b", fin=False, key=ZERO))
    assert connection.messages_dropped == 1
    connection.received(frame(CONT, b"c", key=ZERO))
    assert connection.messages_dropped == 2
    connection.discard()
    assert connection.messages_dropped == connection.messages_received == 2


def test_discard_lets_a_waiting_task_see_the_end(backend):
    connection = make_connection(backend)
    got = []
    task = connection.loop.create_task(take(connection, got))
    connection.loop.run_until_idle()
    connection.discard()
    connection.received(texts(1, 2) + close(1000, key=ZERO))
    connection.loop.run_until_idle()
    assert got == []
    assert task.done()
    assert task.exception() is None


# The end


def test_the_end_of_the_stream_comes_behind_what_waits_to_be_read(backend):
    connection = make_connection(backend)
    got = listen(connection)
    connection.pause()
    connection.received(texts(1, 2))
    assert connection.eof() is True
    assert connection.state is State.OPEN
    connection.resume()
    connection.loop.run_until_idle()
    assert got == ["1", "2"]
    assert connection.state is State.CLOSING
    assert connection.driver.names()[-1] == "shutdown_write"
    connection.lost(None)
    assert connection.close_code == 1006


def test_the_end_of_the_stream_comes_behind_the_turns_that_are_left(backend):
    connection = make_connection(backend)
    replies = []

    def listener(data, is_binary):
        replies.append(data)
        connection.send(data)

    connection.message_listener = listener
    connection.received(texts(*range(600)))
    assert connection.eof() is True
    connection.loop.run_until_idle()
    assert len(replies) == 600
    assert len(connection.driver.frames) == 600
    assert connection.driver.names()[-1] == "shutdown_write"
    assert connection.state is State.CLOSING


def test_a_close_frame_behind_a_pause_is_answered_before_the_end(backend):
    """L14."""
    connection = make_connection(backend)
    connection.pause()
    connection.received(close(1001, key=ZERO))
    assert connection.eof() is True
    connection.resume()
    connection.loop.run_until_idle()
    assert connection.close_received == connection.close_sent == Close(1001, "")
    connection.lost(None)
    assert connection.state is State.CLOSED


def test_a_lost_connection_delivers_what_it_has_and_leaves_its_driver_alone(backend):
    connection = make_connection(backend)
    got = []

    def listener(data, is_binary):
        got.append(data)
        connection.send("nobody reads this")

    connection.message_listener = listener
    connection.pause()
    connection.received(texts(*range(600)) + close(1000, key=ZERO))
    connection.driver.forget()
    connection.lost(None)
    assert len(got) == 600
    assert connection.close_code == 1000
    connection.loop.run_until_idle()
    assert connection.driver.calls == []
    assert connection.buffered_amount == 0
    assert len(got) == 600


def test_a_lost_connection_keeps_what_nobody_received_yet(backend):
    connection = make_connection(backend, max_queue=2)
    connection.received(texts(1, 2))
    connection.received(texts(3, 4, 5) + close(1000, key=ZERO))
    connection.lost(None)
    got = []
    task = connection.loop.create_task(take(connection, got))
    connection.loop.run_until_idle()
    assert got == ["1", "2", "3", "4", "5"]
    assert task.exception() is None
    assert type(connection.closed_error()) is ConnectionClosedOK


def test_pause_and_resume_of_a_lost_connection_do_nothing(backend):
    """W4."""
    connection = make_connection(backend)
    connection.lost(None)
    connection.pause()
    connection.resume()
    connection.discard()
    connection.deliver_soon()
    connection.writable()
    connection.loop.run_until_idle()
    assert connection.driver.calls == []
    assert connection.events == ["closed"]


def test_the_clock_of_the_driver_reaches_the_connection_at_its_deadline(backend):
    connection = make_connection(backend)
    told = []

    def on_deadline(now):
        told.append(now)
        return now + 10

    connection.on_deadline = on_deadline
    connection.deadline = 5.0
    for now in (1.0, 4.9, 5.0, 14.9, 15.0):
        connection.tick(now)
    assert told == [5.0, 15.0]
    assert connection.deadline == 25.0
