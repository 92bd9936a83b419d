"""Compressed messages on their way out: what is compressed, the frames, and failures in between."""

import random
import zlib

import pytest
from deflating import HELLO, HELLO_AGAIN, let_compress, recording_zlib
from frames import BINARY, CONT, TEXT, read_frames, wire
from twins import BACKENDS, make_connection, make_protocol

from wsfast.exceptions import ConcurrencyError, ConnectionClosed
from wsfast.extensions.deflate import DeflateParameters
from wsfast.frames import Close, State
from wsfast.offload import LARGE
from wsfast.options import Options

RSV1 = 4


@pytest.fixture(params=BACKENDS, ids=str)
def backend(request):
    return request.param


@pytest.fixture(params=["protocol", "connection"])
def make(request, backend):
    """Make the server's end of a compressed connection, and the other one reads what it sends."""

    def make(client=False, **options):
        names = set(options) & set(DeflateParameters._fields)
        parameters = {name: options.pop(name) for name in names}
        maker = make_protocol if request.param == "protocol" else make_connection
        connection = let_compress(backend, maker(backend, client=client, **options), **parameters)
        connection.peer = let_compress(
            backend,
            make_protocol(backend, client=not client, max_size=None),
            peer_takeover=parameters.get("takeover", True),
        )
        connection.given = 0
        return connection

    return make


def sent(connection):
    """All bytes that left, those that were held included."""
    if hasattr(connection, "sent"):
        return connection.sent
    connection.loop.run_until_idle()
    return connection.driver.sent


def read(connection):
    """What the other end has read since the last time."""
    peer = connection.peer
    data = sent(connection)
    count = len(peer.events)
    peer.receive(data[connection.given :])
    connection.given = len(data)
    assert peer.error is None
    return [event[:2] for event in peer.events[count:] if isinstance(event[0], int)]


def frames(connection):
    """The frames that left: (opcode, fin, rsv, size of the payload)."""
    return [
        (frame.opcode, frame.fin, frame.rsv, len(frame.payload))
        for frame in read_frames(sent(connection))
    ]


# The bytes


def test_a_message_is_compressed_and_the_next_refers_to_it(make):
    connection = make()
    for _ in range(2):
        connection.message("Hello")
    assert sent(connection) == wire("c1 07 f248cdc9c90700 c1 05 f200110000")


def test_a_client_masks_what_it_compressed(make):
    connection = make(client=True)
    connection.message(b"Hello")
    assert sent(connection) == wire("c2 87 M f248cdc9c90700")


def test_without_takeover_each_message_stands_alone(make):
    connection = make(takeover=False)
    for _ in range(2):
        connection.message("Hello")
    assert sent(connection) == wire("c1 07 f248cdc9c90700") * 2
    assert read(connection) == [(TEXT, "Hello")] * 2


def test_an_empty_message_is_compressed_too(make):
    connection = make()
    for data in "", "Hello", "", b"", "Hello":
        connection.message(data)
    assert read(connection) == [
        (TEXT, ""),
        (TEXT, "Hello"),
        (TEXT, ""),
        (BINARY, b""),
        (TEXT, "Hello"),
    ]
    assert sent(connection).startswith(wire("c1 01 00 c1 07 f248cdc9c90700 c1 01 00 c2 01 00"))


def test_anything_that_can_be_sent_can_be_compressed(make):
    connection = make()
    connection.message("é€😀")
    connection.message(bytearray(b"bytes"))
    connection.message(memoryview(b"0123456789")[::2])
    connection.message("text", binary=True)
    connection.message(b"text", binary=False)
    connection.message(memoryview(bytes(range(16))).cast("I"))
    assert read(connection) == [
        (TEXT, "é€😀"),
        (BINARY, b"bytes"),
        (BINARY, b"02468"),
        (BINARY, b"text"),
        (TEXT, "text"),
        (BINARY, bytes(range(16))),
    ]
    assert {rsv for _, _, rsv, _ in frames(connection)} == {RSV1}


def test_what_is_no_text_is_not_sent_and_the_next_message_is_fine(make):
    connection = make()
    connection.message("Hello")
    with pytest.raises(ValueError, match="valid UTF-8"):
        connection.message(b"\xff", binary=False)
    with pytest.raises(UnicodeEncodeError):
        connection.message("\ud800")
    with pytest.raises(TypeError):
        connection.message(5)
    connection.message("Hello")
    assert sent(connection) == wire("c1 07 f248cdc9c90700 c1 05 f200110000")


# Which messages


def test_a_message_may_be_sent_as_it_is(make):
    connection = make()
    connection.message("Hello")
    connection.message("Hello", compress=False)
    connection.message("Hello")
    assert sent(connection) == wire('c1 07 f248cdc9c90700 81 05 "Hello" c1 05 f200110000')
    assert read(connection) == [(TEXT, "Hello")] * 3


@pytest.mark.parametrize("size", [0, 1, 4, 5, 6])
def test_the_threshold_is_in_bytes_and_what_is_as_large_is_compressed(make, size):
    connection = make(threshold=5)
    connection.message(b"x" * size)
    connection.message("é" * size)
    rsvs = [rsv for _, _, rsv, _ in frames(connection)]
    assert rsvs == [RSV1 if size >= 5 else 0, RSV1 if 2 * size >= 5 else 0]
    assert read(connection) == [(BINARY, b"x" * size), (TEXT, "é" * size)]


def test_control_frames_are_never_compressed(make):
    connection = make()
    connection.ping(b"Hello")
    connection.pong(b"Hello")
    connection.close(1000, "Hello")
    assert sent(connection) == wire('89 05 "Hello" 8a 05 "Hello" 88 07 03e8 "Hello"')


# Fragments


def test_only_the_first_of_the_frames_has_the_bit(make):
    """W10."""
    connection = make(fragment_size=4)
    connection.message(b"Hello")
    connection.message(b"Hello", compress=False)
    assert sent(connection) == wire('42 04 f248cdc9 80 03 c90700 02 04 "Hell" 80 01 "o"')
    assert connection.fragments_sent == 4
    assert read(connection) == [(BINARY, b"Hello")] * 2


def test_the_size_of_fragments_is_that_on_the_wire(make):
    connection = make(fragment_size=7)
    connection.message(b"Hello")
    connection.message(b"Hello" * 1000)
    assert frames(connection)[0] == (BINARY, True, RSV1, 7)
    assert read(connection) == [(BINARY, b"Hello"), (BINARY, b"Hello" * 1000)]
    assert {size for _, fin, _, size in frames(connection) if not fin} == {7}
    assert len(frames(connection)) < 12


def test_a_message_can_be_sent_in_fragments(make):
    connection = make()
    connection.message("Hel", fin=False)
    connection.ping(b"!")
    connection.message("", fin=False)
    connection.message("lo")
    connection.message("Hello")
    assert [frame[:3] for frame in frames(connection)] == [
        (TEXT, False, RSV1),
        (9, True, 0),
        (CONT, False, 0),
        (CONT, True, 0),
        (TEXT, True, RSV1),
    ]
    assert read(connection) == [(TEXT, "Hello")] * 2
    assert connection.messages_sent == 2


def test_each_fragment_can_be_read_as_soon_as_it_comes(make):
    connection = make()
    connection.peer.fragments = True
    for part in b"one", b"two", b"", b"three":
        connection.message(part, fin=False)
        assert [data for _, data in read(connection)] == [part]
    connection.message(b"end")
    assert read(connection) == [(CONT, b"end")]


def test_an_empty_fragment_may_be_the_first_the_last_or_all(make):
    for parts in ["", "a", ""], ["", "", ""], ["a", "", "b", ""], ["a", ""]:
        connection = make()
        for _ in range(2):
            for part in parts[:-1]:
                connection.message(part, fin=False)
            connection.message(parts[-1])
        connection.message("Hello")
        text = "".join(parts)
        assert read(connection) == [(TEXT, text), (TEXT, text), (TEXT, "Hello")]


def test_the_first_fragment_decides(make):
    """W10."""
    for first, option, expected in (b"long", True, RSV1), (b"", True, 0), (b"long", False, 0):
        connection = make(threshold=2)
        connection.message(first, fin=False, compress=option)
        connection.message(b"a long one" * 10, fin=False)
        connection.message(b"", compress=not option)
        connection.message(b"Hello")
        assert [rsv for _, _, rsv, _ in frames(connection)] == [expected, 0, 0, RSV1]
        assert read(connection) == [(BINARY, first + b"a long one" * 10), (BINARY, b"Hello")]


def test_without_takeover_the_fragments_of_a_message_share_a_context(make):
    connection = make(takeover=False)
    noise = random.Random(0).randbytes(200)
    for _ in range(2):
        for _ in range(3):
            connection.message(noise, fin=False)
        connection.message(b"")
    assert read(connection) == [(BINARY, noise * 3)] * 2
    sizes = [size for _, _, _, size in frames(connection)]
    assert sizes[:4] == sizes[4:]
    assert sizes[0] > 200 > 10 * sizes[1]


def test_fragments_and_other_sizes_of_frames_go_together(make):
    connection = make(fragment_size=5)
    for part in b"Hello" * 20, b"World" * 20:
        connection.message(part, fin=False)
    connection.message(b"!")
    connection.message(b"Hello")
    assert read(connection) == [
        (BINARY, b"Hello" * 20 + b"World" * 20 + b"!"),
        (BINARY, b"Hello"),
    ]
    assert [rsv for _, _, rsv, _ in frames(connection)].count(RSV1) == 2


def test_another_message_between_fragments_is_refused_and_harms_nothing(make):
    connection = make()
    connection.message("Hel", fin=False)
    with pytest.raises(ConcurrencyError):
        connection.message(b"binary", binary=True)
    connection.message("lo")
    connection.message("Hello")
    assert read(connection) == [(TEXT, "Hello")] * 2


# Counters


def test_bytes_are_counted_before_and_wire_bytes_after(make):
    connection = make()
    data = b"many words " * 1000
    connection.message(data)
    connection.message(data[:500], fin=False)
    connection.message(data[500:])
    connection.message(data, compress=False)
    assert read(connection) == [(BINARY, data)] * 3
    out, peer = connection, connection.peer
    assert out.messages_sent == peer.messages_received == 3
    assert out.bytes_sent == peer.bytes_received == 3 * len(data)
    assert out.wire_bytes_sent == peer.wire_bytes_received == len(sent(connection))
    assert out.wire_bytes_sent < len(data) * 1.05
    assert out.frames_sent == peer.frames_received == 4
    assert out.fragments_sent == peer.fragments_received == 2


# Failures


class NoKey(Exception):
    """The masking key cannot be had."""


def break_mask(failures):
    """A function for masking keys that raises when ``failures`` has something left."""

    def generate_mask():
        if failures:
            raise failures.pop()
        return bytes(4)

    return generate_mask


@pytest.mark.parametrize("takeover", [True, False])
@pytest.mark.parametrize("module", ["protocol", "connection"])
def test_a_message_that_could_not_be_masked_is_one_that_nothing_refers_to(
    backend, takeover, module
):
    failures = []
    maker = make_protocol if module == "protocol" else make_connection
    template = maker(backend, client=True)
    base = type(template)
    arguments = [Options()]
    if module == "connection":
        arguments += [template.driver, template.loop]
    client = base(*arguments, client=True, generate_mask=break_mask(failures))
    let_compress(backend, client, takeover=takeover)
    peer = let_compress(backend, make_protocol(backend), peer_takeover=takeover)
    rng = random.Random(2)
    said = [rng.randbytes(50) for _ in range(5)]
    expected = []
    for number, data in enumerate(said + said):
        if number % 3 == 1:
            failures.append(NoKey())
            with pytest.raises(NoKey):
                client.message(data)
            data = b"instead of " + data
        client.message(data)
        expected.append((BINARY, data, True))
    peer.receive(sent(client))
    assert peer.events == expected
    assert client.state is State.OPEN


@pytest.mark.parametrize("how", ["compress", "flush"])
@pytest.mark.parametrize("takeover", [True, False])
def test_after_a_compressor_that_failed_comes_a_new_one(make, how, takeover):
    failures = []

    class Failing:
        def __init__(self, *arguments):
            self._compressor = zlib.compressobj(*arguments)

        def compress(self, data):
            if failures and how == "compress":
                raise failures.pop()
            return self._compressor.compress(data)

        def flush(self, mode):
            if failures and how == "flush":
                raise failures.pop()
            return self._compressor.flush(mode)

    module, _, _ = recording_zlib()
    module.compressobj = Failing
    connection = make(zlib=module, takeover=takeover)
    connection.message(b"Hello")
    failures.append(MemoryError())
    with pytest.raises(MemoryError):
        connection.message(b"This is lost")
    connection.message(b"This is new")
    connection.message(b"Hello")
    assert read(connection) == [(BINARY, b"Hello"), (BINARY, b"This is new"), (BINARY, b"Hello")]


def test_nothing_is_compressed_when_nothing_can_be_sent(make):
    connection = make()
    connection.message("Hello")
    connection.close()
    before = sent(connection)
    with pytest.raises(ConnectionClosed):
        connection.message("Hello")
    with pytest.raises(ConnectionClosed):
        connection.send_deflated(TEXT, HELLO, 5)
    assert sent(connection) == before
    assert connection.messages_sent == 1
    assert connection.bytes_sent == 5


def test_a_connection_can_be_closed_between_fragments(make):
    """L17."""
    connection = make()
    connection.message("Hel", fin=False)
    connection.close(1000, "bye")
    read(connection)
    assert connection.peer.close_received == Close(1000, "bye")


def test_what_was_compressed_elsewhere_is_sent_as_it_is(make):
    connection = make()
    connection.send_deflated(TEXT, HELLO, 5)
    connection.send_deflated(TEXT, HELLO_AGAIN, 5)
    assert sent(connection) == wire("c1 07 f248cdc9c90700 c1 05 f200110000")
    assert read(connection) == [(TEXT, "Hello")] * 2
    assert (connection.messages_sent, connection.bytes_sent) == (2, 10)


def test_without_a_thread_large_messages_are_compressed_at_once(backend):
    connection = let_compress(backend, make_connection(backend, max_size=None))
    peer = let_compress(backend, make_protocol(backend, client=True, max_size=None))
    data = random.Random(0).randbytes(LARGE)
    for message in data, b"small", data[:-1]:
        connection.send(message)
    connection.loop.run_until_idle()
    peer.receive(connection.driver.sent)
    assert [event[1] for event in peer.events] == [data, b"small", data[:-1]]


# Idle


def test_a_compressor_that_rests_in_the_middle_of_a_message_harms_nothing(make):
    for takeover in True, False:
        connection = make(takeover=takeover)
        noise = random.Random(0).randbytes(100)
        connection.message(noise, fin=False)
        for now in 100.0, 131.0, 162.0:
            connection.deflate.rest(now)
        connection.message(noise, fin=False)
        connection.message(noise)
        connection.message(noise)
        assert read(connection) == [(BINARY, noise * 3), (BINARY, noise)]
