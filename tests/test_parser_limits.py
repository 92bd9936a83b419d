"""The limits of the frame reader, at the limit and one past it, and the memory that it takes."""

import random
import tracemalloc

import pytest
from frames import BINARY, CONT, KEY, PING, TEXT, ZERO, frame, wire
from twins import BACKENDS, make_protocol, read, read_error

from wsfast.exceptions import PayloadTooBig, TooManyFragments

MIB = 2**20


@pytest.fixture(params=BACKENDS, ids=str)
def parser(request):
    return request.param.parser


# Lengths


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65535, 65536, 65537, 2**20])
@pytest.mark.parametrize("client", [True, False], ids=["client", "server"])
def test_the_boundaries_of_the_length_forms(parser, size, client):
    key = None if client else KEY
    payload = random.Random(size).randbytes(size)
    text = "x" * size
    for opcode, data, expected in ((BINARY, payload, payload), (TEXT, text, text)):
        stream = frame(opcode, data, key=key)
        header = len(stream) - size
        assert header == (2 if size < 126 else 4 if size < 65536 else 10) + (0 if client else 4)
        for chunk in (len(stream), 4096) if size > 1000 else (len(stream), 7, 1):
            reader = parser.FrameReader(client=client)
            assert read(reader, stream, chunk) == [(opcode, expected, True)]
            assert reader.bytes_read == size


@pytest.mark.parametrize("size", [2**23 - 1, 2**23, 2**23 + 1])
def test_1_1_aiohttp_9781_frames_around_8_mib(parser, size):
    payload = bytes(size)
    reader = parser.FrameReader(client=True, max_size=None)
    assert read(reader, frame(BINARY, payload), 2**18) == [(BINARY, payload, True)]


@pytest.mark.parametrize("size", [2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**32 + 5, 2**63 - 1])
def test_huge_lengths_are_compared_as_they_are(parser, size):
    header = frame(BINARY, length=size, key=KEY)
    for limit in (size - 1, 1000):
        reader = parser.FrameReader(client=False, max_size=limit)
        _, error = read_error(reader, header[:10])
        assert isinstance(error, PayloadTooBig)
        assert (error.size, error.max_size, error.close_code) == (size, limit, 1009)
    for limit in (size, None):
        reader = parser.FrameReader(client=False, max_size=limit)
        assert read(reader, header) == []
        assert reader.state == "payload"


@pytest.mark.parametrize("limit", [1, 2**31, 2**32, 2**63 - 1, None])
@pytest.mark.parametrize("name", ["max_size", "max_frame_size"])
@pytest.mark.parametrize("backend", BACKENDS, ids=str)
def test_1_1_ws_4ea355d6_a_limit_reaches_the_reader_as_it_is(backend, name, limit):
    """C14, C16: also above 2^31."""
    options = {"max_size": None, name: limit}
    protocol = make_protocol(backend, **options)
    protocol.receive(frame(BINARY, length=2**63 - 1 if limit is None else limit, key=ZERO))
    assert protocol.error is None
    if limit is not None and limit < 2**63 - 1:
        protocol = make_protocol(backend, **options)
        protocol.receive(frame(BINARY, length=limit + 1, key=ZERO))
        assert (protocol.error.size, protocol.error.max_size) == (limit + 1, limit)


@pytest.mark.parametrize("limit", [None, 2**63 - 1], ids=["no limit", "the largest limit"])
@pytest.mark.parametrize("size", [2**20, 2**31, 2**40, 2**63 - 1])
def test_1_2_cve_2022_35922_nothing_is_allocated_from_a_declared_length(parser, size, limit):
    """C16: nor for what is below the limit."""
    stream = frame(BINARY, length=size, key=KEY)
    tracemalloc.start()
    try:
        reader = parser.FrameReader(client=False, max_size=limit)
        assert read(reader, stream) == []
        assert read(reader, b"abc") == []
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 16_000


def test_the_sum_of_a_message_without_a_limit_cannot_overflow(parser):
    reader = parser.FrameReader(client=False, max_size=None, max_fragments=None)
    _, error = read_error(reader, wire("02 81 M 61 80 ff 7fffffffffffffff"))
    assert error.close_code == 1009
    assert error.size == 2**63


# Limits: each at the limit, and one past it


@pytest.mark.parametrize("limit", [1, 125, 126, 1000, 65535, 65536, MIB])
@pytest.mark.parametrize("chunk", [None, 3])
def test_max_size_of_a_single_frame(parser, limit, chunk):
    if limit > 1000 and chunk:
        chunk = 1000
    payload = b"a" * limit
    for opcode, data in ((BINARY, payload), (TEXT, payload.decode())):
        reader = parser.FrameReader(client=False, max_size=limit)
        assert read(reader, frame(opcode, payload, key=KEY), chunk) == [(opcode, data, True)]
        assert read(reader, frame(opcode, payload, key=KEY), chunk) == [(opcode, data, True)]
        header = frame(opcode, length=limit + 1, key=KEY)
        _, error = read_error(reader, header[:-4])
        assert isinstance(error, PayloadTooBig)
        assert str(error) == f"Frame size of {limit + 1} exceeds maximum of {limit}"
        assert (error.size, error.max_size) == (limit + 1, limit)


def test_max_size_by_default_is_1_mib(parser):
    """C16, M8, M10."""
    reader = parser.FrameReader(client=True)
    assert read(reader, frame(BINARY, bytes(MIB))) == [(BINARY, bytes(MIB), True)]
    _, error = read_error(reader, frame(BINARY, length=MIB + 1))
    assert str(error) == "Frame size of 1048577 exceeds maximum of 1048576"


def test_max_size_of_the_sum_of_a_message(parser):
    """RX2, F14, C16: control frames do not count, and the next message begins at 0."""
    stream = wire('01 84 M "abcd" 00 80 M 00 85 M "efghi" 89 8a M "0123456789" 80 81 M "j"')
    for chunk in (None, 1):
        reader = parser.FrameReader(client=False, max_size=10)
        expected = [(PING, b"0123456789", True), (TEXT, "abcdefghij", True)]
        assert read(reader, stream, chunk) == expected
        assert read(reader, stream, chunk) == expected  # the sum begins anew
        reader = parser.FrameReader(client=False, max_size=9)
        items, error = read_error(reader, stream, chunk)
        assert items == [(PING, b"0123456789", True)]
        assert str(error) == "Message size of 10 exceeds maximum of 9"
        assert (error.close_code, error.size, error.max_size) == (1009, 10, 9)


def test_1_2_max_size_is_refused_at_the_header_of_the_fragment(parser):
    half = bytes(2**19)
    reader = parser.FrameReader(client=False)
    assert read(reader, frame(BINARY, half, fin=False, key=ZERO)) == []
    _, error = read_error(reader, wire("00 ff 0000000000080001"))
    assert error.close_code == 1009
    assert str(error) == "Message size of 1048577 exceeds maximum of 1048576"


def test_max_frame_size_is_of_every_data_frame(parser):
    """M10"""
    options = {"client": False, "max_frame_size": 4}
    stream = wire('01 84 M "abcd" 80 84 M "efgh" 89 85 M "abcde"')
    expected = [(TEXT, "abcdefgh", True), (PING, b"abcde", True)]
    assert read(parser.FrameReader(**options), stream) == expected
    for text, before in (
        ("82 85", 0),
        ('01 84 M "abcd" 80 85', 0),
        ('81 84 M "abcd" 01 85', 1),
        ("82 fe 0100", 0),
    ):
        items, error = read_error(parser.FrameReader(**options), wire(text))
        assert len(items) == before
        assert isinstance(error, PayloadTooBig)
        assert error.max_size == 4
        assert str(error) == f"Frame size of {error.size} exceeds maximum of 4"


@pytest.mark.parametrize("limit", [1, 2, 5, 4096])
@pytest.mark.parametrize("payload", [b"", b"a"], ids=["empty", "one byte"])
def test_max_fragments_counts_every_frame_of_a_message(parser, limit, payload):
    """RX3, C15: empty ones too."""
    first = frame(TEXT, payload, fin=limit == 1, key=ZERO)
    inner = frame(CONT, payload, fin=False, key=ZERO) + frame(PING, key=ZERO)
    last = frame(CONT, payload, key=ZERO) if limit > 1 else b""
    stream = first + inner * (limit - 2) + last
    message = payload.decode() * limit
    for chunk in (None, 1):
        reader = parser.FrameReader(client=False, max_fragments=limit)
        assert read(reader, stream, chunk)[-1] == (TEXT, message, True)
        assert read(reader, stream, chunk)[-1] == (TEXT, message, True)
        reader = parser.FrameReader(client=False, max_fragments=limit)
        first = frame(TEXT, payload, fin=False, key=ZERO)
        more = first + inner * (limit - 1)
        assert all(item[0] == PING for item in read(reader, more, chunk))
        _, error = read_error(reader, frame(CONT, payload, key=ZERO)[:2])
        assert isinstance(error, TooManyFragments)
        assert str(error) == f"Message has more than {limit} fragments"
        assert (error.code, error.close_code) == ("WS_ERR_TOO_MANY_BUFFERED_PARTS", 1009)
        assert error.max_fragments == limit


def test_max_fragments_by_default_is_131072(parser):
    """C15."""
    reader = parser.FrameReader(client=False)
    assert read(reader, wire("01 80 M") + wire("00 80 M") * 131071) == []
    _, error = read_error(reader, wire("00 80"))
    assert error.close_code == 1009


def test_none_is_no_limit(parser):
    """C15, C16."""
    reader = parser.FrameReader(client=True, max_size=None, max_frame_size=None, max_fragments=None)
    stream = wire("02 00") + wire("00 00") * 200_000 + wire("80 01 61")
    assert read(reader, stream) == [(BINARY, b"a", True)]
    assert reader.fragments_read == 200_002
    payload = bytes(2 * MIB)
    assert read(reader, frame(BINARY, payload)) == [(BINARY, payload, True)]


# Memory


def peak_of(function):
    """The most memory that was in use while ``function`` ran, and what it returned."""
    tracemalloc.start()
    try:
        result = function()
        return tracemalloc.get_traced_memory()[1], result
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("opcode", [TEXT, BINARY], ids=["text", "binary"])
def test_1_2_aiohttp_13350_a_frame_fed_byte_by_byte_takes_less_than_four_times_its_size(
    parser, opcode
):
    """RX4, C14: there are no chunks to be counted, since what came is one buffer."""
    payload = b"a" * 65535
    stream = frame(opcode, payload, key=KEY)

    def run():
        reader = parser.FrameReader(client=False)
        item = None
        for i in range(len(stream)):
            reader.feed(stream[i : i + 1])
            item = reader.next()
        return item

    peak, item = peak_of(run)
    assert item == (opcode, payload.decode() if opcode == TEXT else payload, True)
    assert peak < 4 * len(payload)


@pytest.mark.parametrize("opcode", [TEXT, BINARY], ids=["text", "binary"])
def test_1_2_cve_2026_48779_fragments_of_one_byte_take_less_than_four_times_their_size(
    parser, opcode
):
    """F5."""
    size = 65536
    parts = [frame(opcode, "a", fin=False, key=KEY), frame(CONT, "a", fin=False, key=KEY)]
    last = frame(CONT, "a", key=KEY)

    def run():
        reader = parser.FrameReader(client=False)
        for i in range(size - 1):
            reader.feed(parts[i > 0])
            assert reader.next() is None
        reader.feed(last)
        return reader.next()

    peak, item = peak_of(run)
    assert item == (opcode, "a" * size if opcode == TEXT else b"a" * size, True)
    assert peak < 4 * size


def test_1_2_empty_fragments_take_no_memory(parser):
    """F5."""

    def run():
        reader = parser.FrameReader(client=False)
        reader.feed(wire("02 80 M"))
        empty = wire("00 80 M")
        for _ in range(50_000):
            assert reader.next() is None
            reader.feed(empty)
        assert reader.next() is None
        return reader

    peak, reader = peak_of(run)
    assert reader.fragments_read == 50_001
    assert peak < 10_000


def test_1_2_many_incomplete_frames_keep_what_came_and_no_more(parser):
    """F17."""
    header = frame(BINARY, length=MIB, key=ZERO) + b"a" * 100

    def run():
        readers = [parser.FrameReader(client=False) for _ in range(1000)]
        for reader in readers:
            reader.feed(header)
            assert reader.next() is None
        return readers

    peak, _ = peak_of(run)
    assert peak < 1000 * 1200


def test_a_message_that_grows_in_pieces_keeps_at_most_half_of_slack(parser):
    rng = random.Random(48779)
    for _ in range(20):
        size = rng.randrange(10_000, 200_000)
        payload = rng.randbytes(size)
        stream = b""
        position = 0
        opcode = BINARY
        while position < size:
            step = min(rng.choice([1, 100, 5000]), size - position)
            part = payload[position : position + step]
            position += step
            stream += frame(opcode, part, fin=position == size, key=KEY)
            opcode = CONT
        parts = []
        position = 0
        while position < len(stream):
            step = rng.choice([1, 3, 1000, 4096])
            parts.append(stream[position : position + step])
            position += step
        del stream

        def run(parts=parts):
            reader = parser.FrameReader(client=False)
            item = None
            for part in parts:
                reader.feed(part)
                item = reader.next()
            return item

        peak, item = peak_of(run)
        assert item == (BINARY, payload, True)
        assert peak < 3 * size + 2 * 4096 + 10_000
