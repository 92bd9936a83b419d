"""Compressed messages on their way in: RFC 7692's vectors, limits, and what peers may misuse."""

import asyncio
import random
import tracemalloc
import weakref
import zlib

import pytest
from deflating import HELLO, HELLO_AGAIN, let_compress, raw_deflate, recording_zlib
from frames import BINARY, CONT, PING, TEXT, ZERO, close, frame, pieces, wire
from twins import BACKENDS, describe, make_connection, make_protocol

from wsfast.exceptions import ConnectionClosedError
from wsfast.frames import Close, State

MIB = 2**20
RSV1 = 4


@pytest.fixture(params=BACKENDS, ids=str)
def backend(request):
    return request.param


def make_server(backend, parameters=None, **options):
    """The server's end of a compressed connection."""
    return let_compress(backend, make_protocol(backend, **options), **(parameters or {}))


def receive(protocol, data, size=None):
    """What came of ``data``, which arrives in pieces: the events but for the end."""
    for piece in pieces(data, size or max(len(data), 1)):
        protocol.receive(piece)
    return [event for event in protocol.events if isinstance(event[0], int)]


def compressed(*parts, opcode=TEXT, final=True):
    """The frames of a compressed message to a server, from its compressed parts."""
    frames = []
    for i, part in enumerate(parts):
        fin = final and i == len(parts) - 1
        frames.append(frame(CONT if i else opcode, part, fin=fin, rsv=0 if i else RSV1, key=ZERO))
    return b"".join(frames)


def refused(protocol, code, text, close_code):
    """The protocol must have failed like this."""
    error = protocol.error
    assert (getattr(error, "code", None), str(error)) == (code, text)
    assert error.close_code == protocol.close_sent.code == close_code
    assert protocol.state is State.CLOSING


# What is valid

ACCEPTED = {
    "7.2.3.1 one block": ("c1 87 M f248cdc9c90700", ["Hello"]),
    "7.2.3.1 two frames": ("41 83 M f248cd 80 84 M c9c90700", ["Hello"]),
    "7.2.3.2 the second refers to the first": (
        "c1 87 M f248cdc9c90700 c1 85 M f200110000",
        ["Hello", "Hello"],
    ),
    "7.2.3.3 without compression": ("c1 8b M 000500faff48656c6c6f00", ["Hello"]),
    "7.2.3.4 BFINAL, then normal": (
        "c1 88 M f348cdc9c9070000 c1 87 M f248cdc9c90700",
        ["Hello", "Hello"],
    ),
    "7.2.3.5 two blocks": ("c1 8d M f2480500 0000ffffcac9c90700", ["Hello"]),
    "7.2.3.6 empty": ("c1 81 M 00 c1 87 M f248cdc9c90700", ["", "Hello"]),
    "an empty block": ("c1 82 M 0200 c1 87 M f248cdc9c90700", ["", "Hello"]),
    "no bytes at all": ("c1 80 M c1 87 M f248cdc9c90700 c1 80 M", ["", "Hello", ""]),
    "no bytes in fragments": (
        "41 80 M 00 80 M 80 80 M c1 87 M f248cdc9c90700",
        ["", "Hello"],
    ),
    "empty fragments around": ("41 80 M 00 87 M f248cdc9c90700 80 80 M", ["Hello"]),
    "binary": ("c2 87 M f248cdc9c90700", [b"Hello"]),
    "#12988 a ping inside": ("41 83 M f248cd 89 80 M 80 84 M c9c90700", ["Hello"]),
    "#13302 a ping before": ("89 80 M c1 87 M f248cdc9c90700", ["Hello"]),
    "not compressed between compressed ones": (
        'c1 87 M f248cdc9c90700 81 82 M "Hi" c1 85 M f200110000',
        ["Hello", "Hi", "Hello"],
    ),
    "not compressed, in frames": (
        'c1 87 M f248cdc9c90700 01 81 M "H" 80 81 M "i" c1 85 M f200110000',
        ["Hello", "Hi", "Hello"],
    ),
    "with a mask": (
        "c1 87 37fa213d c5b2ecf4fefd21",
        ["Hello"],
    ),
}


@pytest.mark.parametrize("size", [None, 1, 2, 3, 7])
@pytest.mark.parametrize(("data", "messages"), ACCEPTED.values(), ids=ACCEPTED)
def test_a_vector_is_read_however_it_arrives(backend, data, messages, size):
    protocol = make_server(backend)
    got = receive(protocol, wire(data), size)
    assert got == [(TEXT if isinstance(m, str) else BINARY, m, True) for m in messages]
    assert protocol.error is None
    assert protocol.messages_received == len(messages)
    assert protocol.bytes_received == sum(map(len, messages))
    assert protocol.wire_bytes_received == len(wire(data))


@pytest.mark.parametrize(("data", "messages"), ACCEPTED.values(), ids=ACCEPTED)
def test_a_connection_reads_a_vector_in_the_same_way(backend, data, messages):
    for size in None, 1, 5:
        connection = let_compress(backend, make_connection(backend))
        for piece in pieces(wire(data), size or 1000):
            connection.received(piece)
        got = []
        connection.message_listener = lambda data, is_binary, got=got: got.append(data)
        connection.deliver_soon()
        connection.loop.run_until_idle()
        assert got == messages


def test_a_client_reads_the_same_without_masks(backend):
    client = let_compress(backend, make_protocol(backend, client=True))
    assert receive(client, wire("c1 07 f248cdc9c90700 41 83 f2") + b"")[:1] == [
        (TEXT, "Hello", True)
    ]
    assert str(client.error) == "Invalid WebSocket frame: MASK must be clear"


def test_without_takeover_each_message_stands_alone(backend):
    protocol = make_server(backend, {"peer_takeover": False})
    assert receive(protocol, compressed(HELLO) * 2) == [(TEXT, "Hello", True)] * 2
    receive(protocol, compressed(HELLO_AGAIN))
    assert protocol.error.code == "WS_ERR_INVALID_COMPRESSED_DATA"


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_random_messages_in_random_frames_come_out_as_they_went_in(backend, size):
    rng = random.Random(size)
    compressor = zlib.compressobj(wbits=-15)
    stream, expected = [], []
    for _ in range(100):
        data = rng.choice([b"", b"a", rng.randbytes(300), b"many words " * 60])
        if rng.random() < 0.3:
            stream.append(frame(BINARY, data, key=ZERO))
        else:
            flushed = compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH)
            flushed = flushed[:-4]
            cuts = sorted(rng.randrange(len(flushed) + 1) for _ in range(rng.choice([0, 0, 1, 4])))
            parts = [flushed[a:b] for a, b in zip([0, *cuts], [*cuts, None], strict=True)]
            stream.append(compressed(*parts, opcode=BINARY))
        expected.append((BINARY, data, True))
    protocol = make_server(backend)
    assert receive(protocol, b"".join(stream), size) == expected


# What is not

RSV1_SET = (
    "WS_ERR_UNEXPECTED_RSV_1",
    "Invalid WebSocket frame: RSV1 must be clear",
    1002,
)
RSV23_SET = (
    "WS_ERR_UNEXPECTED_RSV_2_3",
    "Invalid WebSocket frame: RSV2 and RSV3 must be clear",
    1002,
)
GARBAGE = (
    "WS_ERR_INVALID_COMPRESSED_DATA",
    "Invalid WebSocket frame: invalid compressed data",
    1007,
)
NOT_UTF8 = (
    "WS_ERR_INVALID_UTF8",
    "Invalid WebSocket frame: invalid UTF-8 sequence",
    1007,
)
REFUSED = {
    "RSV1 on a continuation": ("41 83 M f248cd c0 84 M c9c90700", RSV1_SET),
    "RSV1 on a continuation of what is not compressed": ('01 81 M "H" c0 81 M "i"', RSV1_SET),
    "RSV1 on a ping": ("c9 80 M", RSV1_SET),
    "RSV1 on a ping inside": ("41 83 M f248cd c9 80 M", RSV1_SET),
    "RSV1 on a pong": ("ca 80 M", RSV1_SET),
    "RSV1 on a close frame": ("c8 80 M", RSV1_SET),
    "RSV2": ("a1 80 M", RSV23_SET),
    "RSV3": ("91 80 M", RSV23_SET),
    "RSV1 and RSV2": ("e1 87 M f248cdc9c90700", RSV23_SET),
    "RSV1 and RSV3": ("d1 87 M f248cdc9c90700", RSV23_SET),
    "garbage": ("c1 84 M ffffffff", GARBAGE),
    "garbage in the second frame": ("41 88 M f24805000000ffff 80 84 M ffffffff", GARBAGE),
    "a distance before the beginning": ("c1 85 M f200110000", GARBAGE),
    "not UTF-8": ("c1 83 M fa0f00", NOT_UTF8),
}


@pytest.mark.parametrize("size", [None, 1, 3])
@pytest.mark.parametrize(("data", "error"), REFUSED.values(), ids=REFUSED)
def test_what_is_wrong_is_refused_however_it_arrives(backend, data, error, size):
    protocol = make_server(backend)
    assert receive(protocol, compressed(b"\x00") + wire(data), size) == [(TEXT, "", True)]
    refused(protocol, *error)
    # Nothing that follows is read.
    receive(protocol, compressed(HELLO))
    assert protocol.messages_received == 1


def test_rsv1_is_refused_where_it_was_not_agreed_on(backend):
    protocol = make_protocol(backend)
    receive(protocol, wire("c1 87 M f248cdc9c90700"))
    refused(protocol, *RSV1_SET)


def test_a_distance_beyond_the_window_is_refused(backend):
    noise = random.Random(1).randbytes(600)
    other = make_protocol(backend, client=True)
    let_compress(backend, other, window_bits=15)
    for _ in range(2):
        other.message(noise)
    protocol = make_server(backend, {"peer_window_bits": 9})
    assert receive(protocol, other.sent) == [(BINARY, noise, True)]
    refused(protocol, *GARBAGE)


TEXTS = {
    "a continuation byte": b"\x80",
    "an overlong form": b"\xc0\x80",
    "a surrogate": b"\xed\xa0\x80",
    "too large": b"\xf4\x90\x80\x80",
    "an end in the middle of a character": "€".encode()[:2],
    "behind ASCII": b"a" * 200 + b"\xff",
    "before ASCII": b"\xff" + b"a" * 200,
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
@pytest.mark.parametrize("fragments", [False, True])
def test_text_that_is_not_utf8_is_refused_wherever_the_frames_are_cut(backend, text, fragments):
    payload = raw_deflate(text)
    for cut in {0, 1, len(payload) // 2, len(payload) - 1, len(payload)}:
        for data in compressed(payload), compressed(payload[:cut], payload[cut:]):
            protocol = make_server(backend)
            protocol.fragments = fragments
            receive(protocol, data)
            refused(protocol, *NOT_UTF8)
            # The same bytes are fine in a binary message.
            protocol = make_server(backend)
            receive(protocol, data.replace(data[:1], bytes([data[0] + 1]), 1))
            assert protocol.events == [(BINARY, text, True)]


def test_a_character_may_be_split_over_frames(backend):
    text = "€😀é" * 20
    compressor = zlib.compressobj(wbits=-15)
    parts = [
        compressor.compress(bytes([byte])) + compressor.flush(zlib.Z_SYNC_FLUSH)
        for byte in text.encode()
    ]
    data = compressed(*parts, b"\0")
    assert receive(make_server(backend), data) == [(TEXT, text, True)]
    protocol = make_server(backend)
    protocol.fragments = True
    got = receive(protocol, data)
    assert [fin for _, _, fin in got] == [False] * len(parts) + [True]
    assert [opcode for opcode, _, _ in got] == [TEXT] + [CONT] * len(parts)
    assert b"".join(part for _, part, _ in got).decode() == text


# Frame by frame


def test_fragments_are_handed_out_as_they_come(backend):
    protocol = make_server(backend)
    protocol.fragments = True
    protocol.receive(wire("41 83 M f248cd"))
    assert protocol.events == [(TEXT, b"He", False)]
    protocol.receive(wire("89 80 M"))
    protocol.receive(wire("80 84 M c9c90700"))
    assert protocol.events[-1] == (CONT, b"llo", True)
    protocol.receive(wire("c1 85 M f200110000"))
    assert protocol.events[-1] == (TEXT, b"Hello", True)
    assert protocol.messages_received == 2


def test_fragments_can_be_asked_for_and_no_longer_in_the_middle(backend):
    data = b"one two three four " * 20
    compressor = zlib.compressobj(wbits=-15)
    parts = [compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH) for _ in range(4)]
    parts[-1] = parts[-1][:-4]
    frames = [
        frame(CONT if i else TEXT, part, fin=i == 3, rsv=0 if i else RSV1, key=ZERO)
        for i, part in enumerate(parts)
    ]
    for on in range(5):
        for off in range(on, 5):
            for size in None, 1:
                protocol = make_server(backend)
                for i, part in enumerate(frames):
                    if i == on:
                        protocol.fragments = True
                    if i == off:
                        protocol.fragments = False
                    receive(protocol, part, size)
                whole = b"".join(
                    item.encode() if isinstance(item, str) else item
                    for _, item, _ in protocol.events
                )
                assert whole == data * 4
                assert protocol.events[-1][2]
                assert protocol.messages_received == 1
                if not off - on or on > 3:  # never asked
                    assert protocol.events == [(TEXT, (data * 4).decode(), True)]
                # The next one is not disturbed.
                protocol.fragments = False
                protocol.receive(compressed(HELLO))
                assert protocol.events[-1] == (TEXT, "Hello", True)


# Limits


def bomb(size=50_000_000):
    return raw_deflate(bytes(size))


def memory_of(function, *arguments):
    """The most memory that a call has at once."""
    tracemalloc.start()
    try:
        function(*arguments)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


BOMB = bomb()


@pytest.mark.parametrize("count", [1, 100])
@pytest.mark.parametrize("fragments", [False, True])
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_a_bomb_takes_no_more_memory_than_the_limit_allows(backend, count, fragments, opcode):
    assert len(BOMB) < 50_000
    parts = pieces(BOMB, -(-len(BOMB) // count))
    data = compressed(*parts, opcode=opcode)
    protocol = make_server(backend, max_size=MIB)
    protocol.fragments = fragments
    # In fragments, what was handed out before is the user's; here it is kept.
    assert memory_of(protocol.receive, data) < 3 * MIB
    assert protocol.error.size > protocol.error.max_size == MIB
    refused(
        protocol,
        protocol.error.code,
        f"Message size of {protocol.error.size} exceeds maximum of {MIB}",
        1009,
    )
    assert sum(len(event[1]) for event in protocol.events if isinstance(event[0], int)) <= MIB


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("end", [b"", b"\xff" * 4])
def test_connections_with_a_bomb_each_keep_nothing_of_it(backend, count, end):
    large = raw_deflate(bytes(MIB // 2)) + bytes.fromhex("00 00 ff ff") if end else BOMB
    data = compressed(*pieces(large, -(-len(large) // count)), end)
    connections = [let_compress(backend, make_connection(backend)) for _ in range(20)]

    def attack():
        for connection in connections:
            connection.received(data)

    assert memory_of(attack) < 10 * MIB
    assert {connection.close_sent.code for connection in connections} == {1007 if end else 1009}


@pytest.mark.parametrize("size", [0, 1, 100, 126, 65536, 70_000])
@pytest.mark.parametrize("frames", [1, 2, 5])
@pytest.mark.parametrize("final", [False, True])
def test_a_message_may_be_as_large_as_the_limit_and_no_larger(backend, size, frames, final):
    for data in bytes(size), random.Random(size).randbytes(size):
        payload = raw_deflate(data, final=final)
        stream = compressed(*pieces(payload, -(-len(payload) // frames)), opcode=BINARY)
        protocol = make_server(backend, max_size=max(size, 1))
        assert receive(protocol, stream) == [(BINARY, data, True)]
        if size > 1:
            protocol = make_server(backend, max_size=size - 1)
            assert receive(protocol, stream) == []
            assert protocol.close_sent.code == 1009
            assert protocol.error.max_size == size - 1


@pytest.mark.parametrize("size", [1, 2])
def test_fragments_that_compression_makes_larger_count_as_what_they_are(backend, size):
    """Each flush takes some bytes, which are not the message's."""
    protocol = make_server(backend, max_size=500)
    message = bytes(range(250)) * 2
    compressor = zlib.compressobj(wbits=-15)
    fragments = [
        compressor.compress(message[i : i + size]) + compressor.flush(zlib.Z_SYNC_FLUSH)
        for i in range(0, 500, size)
    ]
    assert sum(map(len, fragments)) > 3 * 500
    fragments[-1] = fragments[-1][:-4]
    assert receive(protocol, compressed(*fragments, opcode=BINARY)) == [(BINARY, message, True)]


def test_there_may_be_no_limit(backend):
    data = bytes(3 * MIB)
    protocol = make_server(backend, max_size=None)
    stream = compressed(*pieces(raw_deflate(data), 1000), opcode=BINARY)
    assert receive(protocol, stream) == [(BINARY, data, True)]


def test_what_is_too_large_before_it_is_inflated_is_refused_at_its_header(backend):
    protocol = make_server(backend, max_size=1000)
    protocol.receive(wire("c2 fe 07d0"))
    refused(protocol, protocol.error.code, "Frame size of 2000 exceeds maximum of 1000", 1009)


def test_the_frame_size_is_that_on_the_wire(backend):
    data = bytes(10_000)
    payload = raw_deflate(data)
    protocol = make_server(backend, max_frame_size=len(payload))
    assert receive(protocol, compressed(payload, opcode=BINARY)) == [(BINARY, data, True)]
    protocol = make_server(backend, max_frame_size=len(payload) - 1)
    assert receive(protocol, compressed(payload, opcode=BINARY)) == []
    assert protocol.close_sent.code == 1009
    protocol = make_server(backend, max_frame_size=len(payload) - 1)
    parts = payload[:1], payload[1:]
    assert receive(protocol, compressed(*parts, opcode=BINARY)) == [(BINARY, data, True)]


def test_empty_fragments_are_counted(backend):
    protocol = make_server(backend, max_fragments=3)
    stream = compressed(b"", b"", b"", b"")
    assert receive(protocol, stream) == []
    assert protocol.close_sent.code == 1009
    assert type(protocol.error).__name__ == "TooManyFragments"
    protocol = make_server(backend, max_fragments=4)
    assert receive(protocol, stream) == [(TEXT, "", True)]


def test_frames_that_inflate_to_nothing_are_limited_all_the_same(backend):
    protocol = make_server(backend, max_size=1000)
    empty_block = bytes.fromhex("00 00 00 ff ff")
    receive(protocol, compressed(*[empty_block * 10] * 1000))
    assert protocol.close_sent.code == 1009


def test_the_limit_holds_for_each_message_anew(backend):
    protocol = make_server(backend, max_size=5)
    stream = compressed(HELLO) + compressed(HELLO_AGAIN[:1], HELLO_AGAIN[1:]) * 3
    assert receive(protocol, stream) == [(TEXT, "Hello", True)] * 4


# The end


def test_what_came_before_an_error_is_received_first(backend):
    async def main():
        loop = asyncio.get_running_loop()
        connection = let_compress(backend, make_connection(backend, loop=loop))
        connection.received(compressed(HELLO) + compressed(HELLO_AGAIN) + wire("c1 84 M ffffffff"))
        assert [await connection.recv(), await connection.recv()] == ["Hello", "Hello"]
        with pytest.raises(ConnectionClosedError) as caught:
            await connection.recv()
        assert describe(caught.value.__cause__)[0] == "ProtocolError"
        connection.lost(None)

    asyncio.run(main())


def test_a_close_frame_inside_a_compressed_message_is_echoed(backend):
    protocol = make_server(backend)
    receive(protocol, wire("41 83 M f248cd") + close(1000, "bye", key=ZERO))
    assert protocol.close_received == protocol.close_sent == Close(1000, "bye")
    assert protocol.error is None
    protocol.receive_eof()


@pytest.mark.parametrize("how", ["eof", "error", "close"])
def test_contexts_are_freed_when_the_connection_is_closed(backend, how):
    """L16: however it ends."""
    contexts = weakref.WeakSet()

    class Compressor:
        def __init__(self, *arguments):
            made = zlib.compressobj(*arguments)
            self.compress, self.flush = made.compress, made.flush
            contexts.add(self)

    class Inflater:
        eof = False

        def __init__(self, *arguments):
            self.decompress = zlib.decompressobj(*arguments).decompress
            contexts.add(self)

    module, _, _ = recording_zlib()
    module.compressobj, module.decompressobj = Compressor, Inflater
    protocol = make_server(backend, {"zlib": module})
    protocol.receive(compressed(HELLO))
    protocol.message("Hello")
    assert len(contexts) == 2
    if how == "error":
        protocol.fail(ValueError("no"))
    if how == "close":
        protocol.close()
    protocol.receive_eof()
    assert protocol.state is State.CLOSED
    assert len(contexts) == 0


def test_control_frames_are_answered_between_compressed_messages(backend):
    """RX7."""
    protocol = make_server(backend)
    receive(protocol, compressed(HELLO) + frame(PING, b"are you there", key=ZERO))
    assert protocol.sent == wire('8a 0d "are you there"')
