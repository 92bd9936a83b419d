"""How a connection sends: frames, errors, fragments, corking, and a peer that is slow."""

import asyncio
import gc
import time

import pytest
from frames import BINARY, CLOSE, CONT, KEY, PING, PONG, TEXT, ZERO, Frame, close, frame
from twins import BACKENDS, FakeLoop, RecordingDriver, make_connection, make_protocol

from wsfast.exceptions import ConcurrencyError, ConnectionClosed
from wsfast.options import Options

# How old, in seconds, a send is for the next one to leave at once.
WINDOW = 100e-6


@pytest.fixture(params=BACKENDS, ids=str)
def backend(request):
    return request.param


@pytest.fixture
def wait(backend, monkeypatch):
    """Lets time go by; without it, no time goes by on the pure backend, and little on the other."""
    if backend.name == "compiled":
        return time.sleep

    now = 1000.0

    def wait(seconds):
        nonlocal now
        now += seconds

    monkeypatch.setattr(backend.writing, "monotonic", lambda: now)
    return wait


def undisturbed(attempt):
    """Repeat what a busy machine can disturb: the work of a few microseconds took over 100."""
    for _ in range(50):
        try:
            return attempt()
        except AssertionError as error:
            last = error
    raise last


def texts(*numbers):
    """Text messages to a server, each with a number."""
    return b"".join(frame(TEXT, str(number), key=ZERO) for number in numbers)


# Frames


@pytest.mark.parametrize(
    ("data", "options", "opcode", "payload"),
    [
        ("Hellö", {}, TEXT, b"Hell\xc3\xb6"),
        (b"Hello", {}, BINARY, b"Hello"),
        (bytearray(b"Hello"), {}, BINARY, b"Hello"),
        (memoryview(b"Hello"), {}, BINARY, b"Hello"),
        (memoryview(b"Hello")[::2], {}, BINARY, b"Hlo"),
        ("", {}, TEXT, b""),
        (b"", {}, BINARY, b""),
        ("Hellö", {"binary": True}, BINARY, b"Hell\xc3\xb6"),
        ("Hellö", {"binary": False}, TEXT, b"Hell\xc3\xb6"),
        (b"Hell\xc3\xb6", {"binary": False}, TEXT, b"Hell\xc3\xb6"),
        (b"\xff", {"binary": True}, BINARY, b"\xff"),
        ("a", {"compress": False}, TEXT, b"a"),
    ],
    ids=repr,
)
def test_a_message_is_one_frame_of_the_right_type(backend, data, options, opcode, payload):
    """W7."""
    connection = make_connection(backend)
    connection.send(data, **options)
    assert connection.driver.sent == frame(opcode, payload)
    client = make_connection(backend, client=True)
    client.send(data, **options)
    assert client.driver.sent == frame(opcode, payload, key=ZERO)
    assert (connection.messages_sent, connection.frames_sent) == (1, 1)
    assert (connection.bytes_sent, connection.fragments_sent) == (len(payload), 0)
    assert connection.wire_bytes_sent == len(connection.driver.sent)
    assert client.wire_bytes_sent == len(client.driver.sent)
    assert connection.wire_bytes_received == 0


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 16384, 16385, 65535, 65536, 2**20])
def test_messages_of_every_size(backend, size):
    """SD1."""
    for data in (bytes(size), "x" * size):
        opcode = BINARY if isinstance(data, bytes) else TEXT
        for client in (True, False):
            protocol = make_protocol(backend, client=client)
            protocol.message(data)
            assert protocol.sent == frame(opcode, data, key=ZERO if client else None)
            assert protocol.wire_bytes_sent == len(protocol.sent)
            connection = make_connection(backend, client=client)
            connection.send(data)
            connection.send(b"behind")
            connection.loop.run_until_idle()
            assert connection.driver.sent == protocol.sent + frame(
                BINARY, b"behind", key=ZERO if client else None
            )


def test_a_client_uses_a_fresh_key_for_every_frame(backend):
    """SD2."""
    keys = iter([b"\1\2\3\4", KEY, ZERO, b"\xff\0\xff\0", b"abcd"])
    protocol = make_protocol(backend, client=True)
    cls = type(protocol)
    protocol = cls(Options(fragment_size=3), client=True, generate_mask=lambda: next(keys))
    protocol.message("Hello")
    protocol.ping(b"p")
    protocol.receive(frame(PING, b"q"))
    protocol.close()
    assert protocol.sent == b"".join(
        [
            frame(TEXT, "Hel", fin=False, key=b"\1\2\3\4"),
            frame(CONT, "lo", key=KEY),
            frame(PING, b"p", key=ZERO),
            frame(PONG, b"q", key=b"\xff\0\xff\0"),
            close(1000, key=b"abcd"),
        ]
    )


def test_the_keys_of_a_client_are_random(backend):
    """SD2."""
    cls = type(make_protocol(backend))
    protocol = cls(Options(), client=True)
    for _ in range(100):
        protocol.message("a")
    assert len({protocol.sent[i + 2 : i + 6] for i in range(0, 700, 7)}) > 98


@pytest.mark.parametrize("key", [b"abc", "abcd", None, 5], ids=repr)
def test_a_bad_key_of_the_user_is_an_error(backend, key):
    cls = type(make_protocol(backend))
    protocol = cls(Options(), client=True, generate_mask=lambda: key)
    with pytest.raises((ValueError, TypeError)):
        protocol.message("a")
    assert protocol.sent == b""


@pytest.mark.parametrize("size", [1, 20_000, 200_000])
@pytest.mark.parametrize("held", [0, 1, 70_000])
def test_what_is_sent_while_a_key_is_made_goes_first(backend, held, size):
    """Wherever the held bytes are: in the shared buffer, in one of their own, or nowhere."""
    keys = []

    def generate_mask():
        keys.append(KEY)
        if len(keys) == 2:
            connection.send(b"i" * size)
        return KEY

    cls = type(make_connection(backend))
    driver, loop = RecordingDriver(), FakeLoop()
    connection = cls(Options(), driver, loop, client=True, generate_mask=generate_mask)
    with connection.cork():
        connection.send(b"h" * held)
        connection.send(b"o" * 100)
    assert driver.sent == b"".join(
        frame(BINARY, data, key=KEY) for data in (b"h" * held, b"i" * size, b"o" * 100)
    )


def test_what_is_sent_is_not_kept_nor_changed(backend):
    """W16."""
    for client in (True, False):
        connection = make_connection(backend, client=client)
        data = bytearray(b"x" * 20_000)
        with connection.cork():
            connection.send(data)
            data[:] = b"y" * 20_000
            data.append(0)
        payloads = {item.payload for item in connection.driver.frames}
        assert payloads == {b"x" * 20_000}


# Errors


@pytest.mark.parametrize(
    ("data", "options", "error", "words"),
    [
        (5, {}, TypeError, "data must be str or bytes-like, not int"),
        (None, {}, TypeError, "not NoneType"),
        (["a"], {}, TypeError, "not list"),
        ({"a": 1}, {}, TypeError, "not dict"),
        ("\ud800", {}, UnicodeEncodeError, "surrogates not allowed"),
        ("ok \udfff", {"binary": True}, UnicodeEncodeError, "surrogates not allowed"),
        (b"\xff", {"binary": False}, ValueError, "data sent as text must be valid UTF-8"),
        (b"\xe2\x82", {"binary": False}, ValueError, "data sent as text must be valid UTF-8"),
    ],
    ids=repr,
)
def test_bad_arguments_of_send_are_told_at_the_call_and_change_nothing(
    backend, data, options, error, words
):
    """W7: numbers too, which ws sends as text."""
    connection = make_connection(backend)
    with pytest.raises(error, match=words):
        connection.send(data, **options)
    assert connection.driver.calls == []
    assert connection.frames_sent == connection.messages_sent == connection.wire_bytes_sent == 0
    connection.send("still usable")
    assert connection.driver.sent == frame(TEXT, "still usable")
    connection.close()
    with pytest.raises(error, match=words):
        connection.send(data, **options)


@pytest.mark.parametrize("name", ["ping", "pong"])
def test_pings_and_pongs_take_at_most_125_bytes(backend, name):
    """W13."""
    opcode = PING if name == "ping" else PONG
    for client in (True, False):
        protocol = make_protocol(backend, client=client)
        send = getattr(protocol, name)
        send()
        send(b"p" * 125)
        send(bytearray(b"q"))
        key = ZERO if client else None
        expected = [frame(opcode, data, key=key) for data in (b"", b"p" * 125, b"q")]
        assert protocol.sent == b"".join(expected)
        with pytest.raises(ValueError, match="must not be greater than 125 bytes"):
            send(b"p" * 126)
        for data in (5, "text", None):
            with pytest.raises(TypeError):
                send(data)
        assert protocol.frames_sent == 3
        assert protocol.messages_sent == protocol.bytes_sent == 0


def test_errors_of_the_state_are_told_when_awaited(backend):
    """W9."""
    connection = make_connection(backend)
    connection.close(1001)
    connection.driver.forget()
    for end in (None, lambda: connection.lost(None)):
        if end:
            end()
        waiting = connection.send("late")
        with pytest.raises(ConnectionClosed, match="sent 1001"):
            waiting.send(None)
        assert connection.driver.calls == []
    assert connection.messages_sent == 0


def test_a_failed_send_that_nobody_awaits_is_told(backend):
    connection = make_connection(backend)
    connection.close()
    connection.send("one")
    gc.collect()
    [error] = [event[1] for event in connection.events if event[0] == "send failed"]
    assert isinstance(error, ConnectionClosed)
    waiting = connection.send("two")
    with pytest.raises(ConnectionClosed):
        waiting.send(None)
    del waiting
    gc.collect()
    assert len([event for event in connection.events if event[0] == "send failed"]) == 1


async def test_failures_of_many_sends_are_gathered(backend):
    """W11."""
    loop = asyncio.get_running_loop()
    connections = [make_connection(backend, loop=loop) for _ in range(4)]
    connections[1].close()
    connections[3].lost(None)
    results = await asyncio.gather(*[c.send("m") for c in connections], return_exceptions=True)
    assert [isinstance(result, ConnectionClosed) for result in results] == [False, True] * 2
    assert results[0] is results[2] is None


async def test_a_send_that_is_done_is_one_stateless_object(backend):
    connection = make_connection(backend, loop=asyncio.get_running_loop())
    sent = connection.send("a")
    assert connection.send("b") is sent
    assert connection.drain() is sent
    for _ in range(2):
        assert await sent is None
        assert await asyncio.create_task(sent) is None
        assert await asyncio.wait_for(sent, 10) is None
    assert await asyncio.gather(sent, connection.send("c")) == [None, None]
    assert asyncio.iscoroutine(sent)
    sent.close()
    with pytest.raises(KeyError):
        sent.throw(KeyError("a"))
    assert await sent is None


# Fragments


def test_a_message_is_sent_in_fragments_by_hand(backend):
    """W10."""
    connection = make_connection(backend)
    assert not connection.is_sending_fragments
    connection.send("a", fin=False)
    assert connection.is_sending_fragments
    connection.send("b", fin=False)
    connection.send(b"c", fin=False)  # bytes continue a text
    connection.ping(b"between")
    connection.send("", fin=True)
    assert not connection.is_sending_fragments
    connection.send("next")
    connection.loop.run_until_idle()
    assert connection.driver.frames == [
        Frame(TEXT, b"a", False),
        Frame(CONT, b"b", False),
        Frame(CONT, b"c", False),
        Frame(PING, b"between"),
        Frame(CONT, b""),
        Frame(TEXT, b"next"),
    ]
    assert (connection.messages_sent, connection.fragments_sent) == (2, 4)
    assert (connection.frames_sent, connection.bytes_sent) == (6, 7)


def test_another_message_between_fragments_is_refused_when_awaited(backend):
    """W10."""
    for first, second, options in (
        (b"a", "text", {}),
        ("a", b"b", {"binary": True}),
        ("a", "text", {"binary": True}),
        (b"a", b"b", {"binary": False}),
    ):
        connection = make_connection(backend)
        connection.send(first, fin=False)
        before = connection.driver.sent
        waiting = connection.send(second, **options)
        with pytest.raises(ConcurrencyError, match="before the last fragment"):
            waiting.send(None)
        connection.loop.run_until_idle()
        assert connection.driver.sent == before
        assert connection.is_sending_fragments
        connection.send(first)
        connection.loop.run_until_idle()
        assert connection.driver.frames[-1] == Frame(CONT, b"a")


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 6, 100])
@pytest.mark.parametrize("data", ["abcde", b"abcde", ""], ids=repr)
def test_messages_above_fragment_size_are_split(backend, size, data):
    """SD6, M11: ws has nothing like it."""
    for client in (True, False):
        protocol = make_protocol(backend, client=client, fragment_size=size)
        protocol.message(data)
        payload = b"abcde"[: len(data)]
        parts = [payload[i : i + size] for i in range(0, len(payload), size)] or [b""]
        first = TEXT if isinstance(data, str) else BINARY
        key = ZERO if client else None
        assert protocol.sent == b"".join(
            frame(CONT if i else first, part, fin=i == len(parts) - 1, key=key)
            for i, part in enumerate(parts)
        )
        assert protocol.messages_sent == 1
        assert protocol.fragments_sent == (len(parts) if len(parts) > 1 else 0)
        assert protocol.frames_sent == len(parts)
        assert protocol.bytes_sent == len(data)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_what_is_split_is_not_let_go_before_its_last_fragment(backend, kind):
    payload = b"".join(bytes([i]) * 300 for i in range(200))
    for client in (True, False):
        protocol = make_protocol(backend, client=client, fragment_size=300)
        protocol.message(kind(bytearray(payload)))
        assert [event[2] for event in protocol.events] == [bytes([i]) * 300 for i in range(200)]
        connection = make_connection(backend, client=client, fragment_size=300)
        connection.send(kind(bytearray(payload)))
        connection.loop.run_until_idle()
        assert connection.driver.sent == protocol.sent


def test_fragments_by_hand_are_split_too(backend):
    protocol = make_protocol(backend, fragment_size=2)
    protocol.message("abc", fin=False)
    protocol.message("def")
    assert [event[1:] for event in protocol.events] == [
        (TEXT, b"ab"),
        (CONT, b"c"),
        (CONT, b"de"),
        (CONT, b"f"),
    ]
    assert protocol.sent[0] == 0x01
    assert (protocol.messages_sent, protocol.fragments_sent) == (1, 4)


def test_close_between_fragments_is_possible(backend):
    connection = make_connection(backend)
    connection.send("a", fin=False)
    connection.close(1001)
    assert connection.driver.frames == [Frame(TEXT, b"a", False), Frame(CLOSE, b"\x03\xe9")]


# Corking


def test_a_single_reply_leaves_at_once(backend, wait):
    connection = make_connection(backend)
    left = []

    def listener(data, is_binary):
        connection.send(data)
        left.append(connection.driver.sent)

    connection.message_listener = listener
    for number in (1, 2, 3):
        wait(2 * WINDOW)
        connection.driver.forget()
        connection.received(texts(number))
        assert left[-1] == frame(TEXT, str(number))


def test_a_send_outside_a_dispatch_leaves_at_once(backend, wait):
    connection = make_connection(backend)
    for number in range(3):
        wait(2 * WINDOW)
        connection.send(str(number))
        assert len(connection.driver.writes) == number + 1
    assert not connection.loop.ready


@pytest.mark.usefixtures("wait")
def test_pipelined_replies_of_one_read_leave_in_one_write(backend):
    """SD3."""

    def attempt():
        connection = make_connection(backend)
        connection.message_listener = lambda data, is_binary: connection.send(data)
        connection.received(texts(*range(16)))
        assert len(connection.driver.writes) == 1
        assert connection.driver.sent == b"".join(frame(TEXT, str(i)) for i in range(16))
        assert not connection.loop.ready

    undisturbed(attempt)


@pytest.mark.usefixtures("wait")
def test_replies_of_a_woken_task_leave_in_one_write(backend):
    def attempt():
        connection = make_connection(backend)

        async def echo():
            async for message in connection:
                await connection.send(message)

        task = connection.loop.create_task(echo())
        connection.loop.run_until_idle()
        connection.received(texts(*range(16)))
        task.cancel()
        connection.loop.run_until_idle()
        assert len(connection.driver.writes) == 1
        assert len(connection.driver.frames) == 16

    undisturbed(attempt)


@pytest.mark.usefixtures("wait")
def test_pongs_of_one_read_leave_in_one_write(backend):
    def attempt():
        connection = make_connection(backend)
        connection.received(frame(PING, b"p", key=ZERO) * 16)
        assert connection.driver.writes == [frame(PONG, b"p") * 16]

    undisturbed(attempt)


def test_a_slow_listener_does_not_delay_its_replies(backend, wait):
    connection = make_connection(backend)
    lengths = []

    def listener(data, is_binary):
        connection.send(data)
        lengths.append(len(connection.driver.frames))
        wait(2 * WINDOW)

    connection.message_listener = listener
    connection.received(texts(*range(4)))
    # The first is held, because three wait; what is held leaves with the next when it is old.
    assert lengths == [0, 2, 2, 4]


@pytest.mark.usefixtures("wait")
def test_a_burst_outside_a_dispatch_is_two_writes(backend):
    def attempt():
        connection = make_connection(backend)
        for number in range(16):
            connection.send(str(number))
        assert len(connection.driver.writes) == 1
        connection.loop.run_pending()
        assert len(connection.driver.writes) == 2
        assert [item.payload for item in connection.driver.frames] == [
            str(i).encode() for i in range(16)
        ]
        assert connection.loop.run_until_idle() == 0

    undisturbed(attempt)


def test_what_is_held_leaves_with_the_next_send_when_it_is_old(backend, wait):
    connection = make_connection(backend)
    connection.send("1")
    connection.send("2")
    wait(2 * WINDOW)
    connection.send("3")
    assert [item.payload for item in connection.driver.frames] == [b"1", b"2", b"3"]
    connection.loop.run_until_idle()
    assert len(connection.driver.frames) == 3


def test_what_is_held_leaves_when_it_is_large(backend):
    connection = make_connection(backend)
    connection.message_listener = lambda data, is_binary: connection.send(data)
    message = frame(TEXT, "x" * 10_000, key=ZERO)
    connection.received(message * 20)
    assert len(connection.driver.writes) > 1
    assert max(len(data) for data in connection.driver.writes) < 65536 + 20_100
    assert len(connection.driver.frames) == 20


def test_only_the_connection_that_is_dispatched_is_corked_by_its_dispatch(backend, wait):
    loop = FakeLoop()
    one, other = make_connection(backend, loop=loop), make_connection(backend, loop=loop)
    left = []

    def listener(data, is_binary):
        wait(2 * WINDOW)
        other.send(data)
        left.append(len(other.driver.frames))

    one.message_listener = listener
    one.received(texts(1, 2, 3))
    assert left == [1, 2, 3]


def test_cork_holds_until_its_end(backend, wait):
    connection = make_connection(backend)
    with connection.cork():
        for number in range(4):
            connection.send(str(number))
            wait(2 * WINDOW)
        with connection.cork():
            connection.ping(b"p")
        connection.send("x" * 20_000)
        connection.send(b"y" * 20_000)
        connection.loop.run_until_idle()
        assert connection.driver.calls == []
        assert connection.buffered_amount > 40_000
    assert len(connection.driver.writes) == 1
    assert [item.opcode for item in connection.driver.frames] == [1, 1, 1, 1, PING, 1, 2]
    assert connection.buffered_amount == 0


def test_cork_holds_what_was_held_before(backend):
    connection = make_connection(backend)
    connection.send("1")
    connection.send("2")
    with connection.cork():
        connection.send("3")
        connection.loop.run_until_idle()
    connection.loop.run_until_idle()
    assert [item.payload for item in connection.driver.frames] == [b"1", b"2", b"3"]


def test_cork_ends_with_an_exception(backend):
    connection = make_connection(backend)

    def fail():
        with connection.cork():
            connection.send("1")
            raise ValueError("oops")

    with pytest.raises(ValueError, match="oops"):
        fail()
    assert connection.driver.sent == frame(TEXT, "1")


def test_cork_holds_replies_in_a_dispatch(backend):
    connection = make_connection(backend)

    def listener(data, is_binary):
        with connection.cork():
            connection.send("1")
            connection.send("2")
            assert connection.driver.calls == []

    connection.message_listener = listener
    connection.received(texts(1))
    assert connection.driver.writes == [frame(TEXT, "1") + frame(TEXT, "2")]
