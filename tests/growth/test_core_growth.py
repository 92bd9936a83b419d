"""Reading and writing take time in proportion to the bytes, however they are cut into frames."""

import time

import pytest
from frames import BINARY, CONT, PING, PONG, TEXT, ZERO, close, frame
from twins import BACKENDS, make_connection, make_protocol

pytestmark = pytest.mark.growth

# 2 would be linear, 4 quadratic. It is taken over two doublings, where noise counts less.
LIMIT = 2.6**2


@pytest.fixture(params=BACKENDS, ids=str)
def backend(request):
    return request.param


def measure(function, argument, repeats):
    """The best time of several runs, each of ``repeats`` calls."""
    best = float("inf")
    for _ in range(7):
        start = time.process_time()
        for _ in range(repeats):
            function(argument)
        best = min(best, time.process_time() - start)
    return best


def assert_linear(function, make, size=2**12):
    """``function`` takes linear time for what ``make`` makes of a size."""
    repeats = 1
    while (small := measure(function, make(size), repeats)) < 0.005 and repeats < 4096:
        repeats *= 4
    large = measure(function, make(4 * size), repeats)
    assert large < LIMIT * small, f"{size}: {small:.6f} s, {4 * size}: {large:.6f} s"


def fragments(opcode, part, between=b""):
    """Makes the frames of a message of so many fragments."""

    def make(size):
        first = frame(opcode, part, fin=False, key=ZERO)
        inner = frame(CONT, part, fin=False, key=ZERO)
        last = frame(CONT, part, key=ZERO)
        return [first, *[between + inner] * (size - 2), last]

    return make


FLOODS = {
    "fragments of one byte": fragments(BINARY, b"a"),
    "fragments of one character": fragments(TEXT, "a"),
    "fragments of half a character": fragments(TEXT, "é" * 5),
    "empty fragments": fragments(BINARY, b""),
    "empty text fragments": fragments(TEXT, b""),
    "pings between fragments": fragments(TEXT, "a", frame(PING, b"p", key=ZERO)),
    "empty messages": lambda size: [frame(BINARY, key=ZERO)] * size,
    "messages of one character": lambda size: [frame(TEXT, "a", key=ZERO)] * size,
    "pings": lambda size: [frame(PING, b"p" * 125, key=ZERO)] * size,
    "pongs": lambda size: [frame(PONG, key=ZERO)] * size,
    "one binary message": lambda size: [frame(BINARY, bytes(16 * size), key=ZERO)],
    "one text": lambda size: [frame(TEXT, "€" * 16 * size, key=ZERO)],
    "messages behind a close frame": lambda size: [
        close(1000, key=ZERO),
        *[frame(TEXT, "a", key=ZERO)] * size,
    ],
}


def whole(stream):
    return [b"".join(stream)]


def by_frame(stream):
    return stream


def by_byte(stream):
    data = b"".join(stream)
    return [data[i : i + 1] for i in range(len(data))]


@pytest.mark.parametrize("cut", [whole, by_frame, by_byte], ids=["whole", "by frame", "by byte"])
@pytest.mark.parametrize("flood", FLOODS.values(), ids=FLOODS)
def test_a_reader(backend, flood, cut):
    def read(chunks):
        reader = backend.parser.FrameReader(client=False)
        for chunk in chunks:
            reader.feed(chunk)
            while reader.next() is not None:
                pass

    assert_linear(read, lambda size: cut(flood(size)), 2**9 if cut is by_byte else 2**12)


@pytest.mark.parametrize("cut", [whole, by_frame], ids=["whole", "by frame"])
@pytest.mark.parametrize("flood", FLOODS.values(), ids=FLOODS)
def test_a_protocol(backend, flood, cut):
    cls = backend.protocol.Protocol
    options = make_protocol(backend).options

    def receive(chunks):
        protocol = cls(options, client=False)
        for chunk in chunks:
            protocol.receive(chunk)

    assert_linear(receive, lambda size: cut(flood(size)))


@pytest.mark.parametrize("cut", [whole, by_frame], ids=["whole", "by frame"])
@pytest.mark.parametrize("flood", FLOODS.values(), ids=FLOODS)
def test_a_connection_that_echoes(backend, flood, cut):
    def receive(chunks):
        connection = make_connection(backend)
        connection.message_listener = lambda data, is_binary: connection.send(data)
        for chunk in chunks:
            connection.received(chunk)
            connection.loop.run_until_idle(passes=10**6)

    assert_linear(receive, lambda size: cut(flood(size)))


def test_a_connection_that_is_received_from(backend):
    def receive(stream):
        connection = make_connection(backend, max_queue=None)

        async def take():
            async for _ in connection:
                pass

        connection.received(stream)
        connection.loop.run_until_idle(passes=10**6)
        connection.loop.create_task(take())
        connection.loop.run_until_idle(passes=10**6)
        connection.received(stream + close(1000, key=ZERO))
        connection.loop.run_until_idle(passes=10**6)

    assert_linear(receive, lambda size: frame(TEXT, "a", key=ZERO) * size)


def test_a_connection_that_is_lost_with_much_to_read(backend):
    def receive(stream):
        connection = make_connection(backend)
        connection.message_listener = lambda data, is_binary: None
        connection.pause()
        connection.received(stream)
        connection.lost(None)

    assert_linear(receive, lambda size: frame(TEXT, "a", key=ZERO) * size)


def test_fragments_that_are_received_as_one_message(backend):
    def receive(stream):
        connection = make_connection(backend, max_queue=None)
        connection.fragments = True
        connection.received(stream)
        connection.loop.run_until_idle(passes=10**6)
        connection.loop.create_task(connection.recv())
        connection.loop.run_until_idle()

    make = fragments(BINARY, b"a")
    assert_linear(receive, lambda size: b"".join(make(size)))


@pytest.mark.parametrize("taken", ["by a listener", "by a task", "by nobody"])
def test_fragments_of_a_list_that_come_in_reads_of_their_own(backend, taken):
    def receive(frames):
        connection = make_connection(backend, max_queue=None, binary_type="fragments")
        if taken == "by a listener":
            connection.message_listener = lambda data, is_binary: None
        elif taken == "by a task":
            connection.loop.create_task(connection.recv())
            connection.loop.run_until_idle()
        for item in frames:
            connection.received(item)
        connection.loop.run_until_idle(passes=10**6)
        connection.lost(None)
        connection.loop.run_until_idle()

    assert_linear(receive, fragments(BINARY, b"a"))


SENDS = {
    "small messages": lambda connection, size: [connection.send("a") for _ in range(size)],
    "one message": lambda connection, size: connection.send(b"a" * 64 * size),
    "one text": lambda connection, size: connection.send("é" * 32 * size),
    "fragments": lambda connection, size: [connection.send("a", fin=False) for _ in range(size)],
    "pings": lambda connection, size: [connection.ping(b"p") for _ in range(size)],
}


@pytest.mark.parametrize("client", [True, False], ids=["client", "server"])
@pytest.mark.parametrize("corked", [True, False], ids=["corked", "not corked"])
@pytest.mark.parametrize("send", SENDS.values(), ids=SENDS)
def test_what_is_sent(backend, send, corked, client):
    def run(size):
        connection = make_connection(backend, client=client)
        if corked:
            with connection.cork():
                send(connection, size)
        else:
            send(connection, size)
        connection.loop.run_until_idle()

    assert_linear(run, lambda size: size)


def test_a_message_that_is_split(backend):
    def run(size):
        connection = make_connection(backend, fragment_size=16)
        connection.send(b"a" * 16 * size)
        connection.loop.run_until_idle()

    assert_linear(run, lambda size: size)
