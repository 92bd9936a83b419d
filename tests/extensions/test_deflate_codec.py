"""The contexts of permessage-deflate: vectors, limits and damaged data, with each zlib module."""

import array
import random
import sys
import tracemalloc
import zlib

import pytest
from deflating import HELLO, HELLO_AGAIN, TAIL, make_parameters, raw_deflate, recording_zlib
from twins import BACKENDS
from zlib_ng import zlib_ng

from wsfast.exceptions import PayloadTooBig, ProtocolError

UNLIMITED = 2**63 - 1
MIB = 2**20


@pytest.fixture(params=[zlib, zlib_ng], ids=lambda module: module.__name__)
def module(request):
    return request.param


@pytest.fixture(params=BACKENDS, ids=str)
def make(request, module):
    """Make contexts; both directions with takeover and the largest window, but for the changes."""
    new = request.param.deflate.Deflate
    return lambda **changes: new(make_parameters(**{"zlib": module} | changes))


def inflate(deflate, *fragments, limit=UNLIMITED):
    """A message that comes in fragments, the sum of which is limited."""
    parts = []
    for i, fragment in enumerate(fragments):
        parts.append(deflate.decompress(fragment, limit, i == len(fragments) - 1))
    return b"".join(parts)


def bad_data(deflate, *fragments):
    with pytest.raises(ProtocolError) as caught:
        inflate(deflate, *fragments)
    assert caught.value.code == "WS_ERR_INVALID_COMPRESSED_DATA"
    assert caught.value.close_code == 1007
    assert str(caught.value) == "Invalid WebSocket frame: invalid compressed data"
    return caught.value


def noise(size, seed=0):
    return random.Random(seed).randbytes(size)


# The vectors of RFC 7692 section 7.2.3


def test_a_message_with_one_block_and_a_second_with_takeover(make):
    """Sections 7.2.3.1 and 7.2.3.2"""
    ours, theirs = make(), make()
    assert ours.compress(b"Hello") == HELLO
    assert ours.compress(b"Hello") == HELLO_AGAIN
    assert theirs.decompress(HELLO, 5) == b"Hello"
    assert theirs.decompress(HELLO_AGAIN, 5) == b"Hello"


def test_without_takeover_each_message_stands_alone(make):
    """Section 7.2.3.2 and PD15"""
    ours, theirs = make(takeover=False), make(peer_takeover=False)
    for _ in range(3):
        assert ours.compress(b"Hello") == HELLO
        assert theirs.decompress(HELLO, 5) == b"Hello"
    bad_data(theirs, HELLO_AGAIN)


@pytest.mark.parametrize("size", range(1, 8))
def test_a_message_in_fragments_of_any_size(make, size):
    deflate = make()
    for message in HELLO, HELLO_AGAIN, HELLO_AGAIN:
        fragments = [message[i : i + size] for i in range(0, len(message), size)]
        assert inflate(deflate, *fragments) == b"Hello"


VECTORS = {
    "7.2.3.1 in two fragments": (["f2 48 cd", "c9 c9 07 00"], b"Hello"),
    "7.2.3.3 no compression": (["00 05 00 fa ff 48 65 6c 6c 6f 00"], b"Hello"),
    "7.2.3.4 a final block": (["f3 48 cd c9 c9 07 00 00"], b"Hello"),
    "7.2.3.5 two blocks": (["f2 48 05 00 00 00 ff ff ca c9 c9 07 00"], b"Hello"),
    "7.2.3.6 an empty message": (["00"], b""),
    "an empty block": (["02 00"], b""),
    "nothing at all": ([""], b""),
    "nothing at all in fragments": (["", "", ""], b""),
    "empty fragments around": (["", "f2 48 cd c9 c9 07 00", ""], b"Hello"),
    "PD14 a final block without the empty one after it": (
        ["33 34 32 36 31 35 33 b7 00"],
        b"12345678",
    ),
    "PD14 a final block, and zeros": (["33 34 32 36 31 35 33 b7 00 00 00"], b"12345678"),
    "a final block that the tail completes": (["f2 48 cd c9 c9 07 00 00 00 ff ff 01"], b"Hello"),
    "two final blocks": (["f3 48 cd c9 c9 07 00 f3 48 cd c9 c9 07 00"], b"HelloHello"),
    "two final blocks and an empty one": (
        *(["f3 48 cd c9 c9 07 00 f3 48 cd c9 c9 07 00 00"], b"HelloHello"),
    ),
    "a final block and another": (["f3 48 cd c9 c9 07 00 f2 48 cd c9 c9 07 00"], b"HelloHello"),
    "a final block, an empty one and another": (
        *(["f3 48 cd c9 c9 07 00 00 00 00 ff ff f2 48 cd c9 c9 07 00"], b"HelloHello"),
    ),
    "a final block and one without compression": (
        *(["f3 48 cd c9 c9 07 00 00 05 00 fa ff 48 65 6c 6c 6f 00"], b"HelloHello"),
    ),
    "a final block that another refers to": (
        ["f3 48 cd c9 c9 07 00 f2 00 11 00 00"],
        b"HelloHello",
    ),
    "the tail ends a final block": (["01"], b""),
    "a part of the tail ends a final block": (["03"], b""),
    "empty final blocks": (["03 00 03 00 03 00"], b""),
    "an empty final block before": (["03 00 f2 48 cd c9 c9 07 00"], b"Hello"),
}


@pytest.mark.parametrize(("fragments", "text"), VECTORS.values(), ids=VECTORS)
@pytest.mark.parametrize("takeover", [True, False])
def test_a_vector_is_read_twice_and_disturbs_nothing(make, fragments, text, takeover):
    """PD14."""
    deflate = make(peer_takeover=takeover)
    fragments = [bytes.fromhex(fragment) for fragment in fragments]
    for _ in range(2):
        assert inflate(deflate, *fragments) == text
    assert inflate(deflate, HELLO) == b"Hello"


@pytest.mark.parametrize(("fragments", "text"), VECTORS.values(), ids=VECTORS)
def test_a_vector_reads_the_same_wherever_it_is_cut(make, fragments, text):
    whole = bytes.fromhex("".join(fragments))
    for chunk_size in None, 64:
        for first in range(len(whole) + 1):
            for second in range(first, len(whole) + 1):
                deflate = make(inflate_chunk_size=chunk_size)
                cut = whole[:first], whole[first:second], whole[second:]
                assert inflate(deflate, *cut) == text
                assert inflate(deflate, HELLO) == b"Hello"


def test_a_message_after_a_final_block_may_refer_to_it(make):
    deflate = make()
    assert inflate(deflate, bytes.fromhex("f3 48 cd c9 c9 07 00 00")) == b"Hello"
    assert inflate(deflate, HELLO_AGAIN) == b"Hello"


@pytest.mark.parametrize("bits", [9, 15])
@pytest.mark.parametrize("size", [100, 511, 512, 40_000])
def test_blocks_after_a_final_one_may_refer_to_the_whole_window(make, bits, size):
    first = noise(size)
    second = first[-(1 << bits) + 262 :]
    payload = raw_deflate(first, bits=bits, final=True)
    payload += raw_deflate(second, bits=bits, dictionary=first)
    # Otherwise nothing was referred to.
    assert len(payload) < size + 20 + len(second) / 2
    for cut in 0, 1, len(payload) // 2, len(payload) - 3:
        deflate = make(peer_window_bits=bits)
        assert inflate(deflate, payload[:cut], payload[cut:]) == first + second


def test_many_final_blocks_are_read_in_linear_memory_and_only_so_many(make):
    """Each costs us a context, and a peer two bytes."""
    hello = bytes.fromhex("f3 48 cd c9 c9 07 00")
    assert inflate(make(), hello * 1000) == b"Hello" * 1000
    deflate = make()
    bad_data(deflate, bytes.fromhex("03 00") * 100_000)
    # They are counted for each message.
    deflate = make()
    for _ in range(3):
        assert inflate(deflate, *[bytes.fromhex("03 00")] * 1000) == b""
    bad_data(deflate, *[bytes.fromhex("03 00")] * 1025)


# Empty messages and fragments


def test_empty_messages_and_fragments_are_compressed(make):
    """PD18."""
    for takeover in True, False:
        deflate = make(takeover=takeover)
        for _ in range(3):
            assert deflate.compress(b"") == b"\x00"
            assert deflate.compress(b"", False) == b"\x00" + TAIL
            assert deflate.compress(b"", False) == b"\x00" + TAIL
            assert deflate.compress(b"", True) == b"\x00"
        assert deflate.compress(b"Hello", False) == HELLO + TAIL
        assert deflate.compress(b"") == b"\x00"
        assert deflate.compress(b"Hello") == (HELLO_AGAIN if takeover else HELLO)


def test_a_compressed_message_of_no_bytes_does_not_disturb_the_next(make):
    deflate = make()
    assert deflate.decompress(HELLO, 5) == b"Hello"
    assert deflate.decompress(b"", 5) == b""
    assert deflate.decompress(HELLO_AGAIN, 5) == b"Hello"
    assert deflate.decompress(b"", 5, False) == b""
    assert deflate.decompress(b"", 5) == b""
    assert deflate.decompress(HELLO_AGAIN, 5) == b"Hello"


# Limits (PD13)


def too_big(deflate, *fragments, limit):
    with pytest.raises(PayloadTooBig) as caught:
        inflate(deflate, *fragments, limit=limit)
    assert caught.value.code == "WS_ERR_UNSUPPORTED_MESSAGE_LENGTH"
    assert caught.value.close_code == 1009
    size = caught.value.max_size
    assert str(caught.value) == f"Message size of {size + 1} exceeds maximum of {size}"
    return caught.value


@pytest.mark.parametrize("chunk_size", [None, 64, 1000, 10_000])
@pytest.mark.parametrize("final", [False, True])
@pytest.mark.parametrize("size", [1, 63, 64, 65, 1000, 10_000, 70_000])
def test_a_message_may_be_as_large_as_the_limit_and_no_larger(make, size, chunk_size, final):
    for data in bytes(size), noise(size):
        payload = raw_deflate(data, final=final)
        make_one = lambda: make(inflate_chunk_size=chunk_size)  # noqa: E731
        assert inflate(make_one(), payload, limit=size) == data
        assert too_big(make_one(), payload, limit=size - 1).max_size == size - 1
        for cut in 1, len(payload) // 2, len(payload) - 1:
            fragments = payload[:cut], payload[cut:]
            assert inflate(make_one(), *fragments, limit=size) == data
            too_big(make_one(), *fragments, limit=size - 1)


def test_what_several_streams_inflate_to_is_limited_together(make):
    payload = raw_deflate(bytes(100), final=True) * 3
    for chunk_size in None, 64:
        deflate = make(inflate_chunk_size=chunk_size)
        assert inflate(deflate, payload, limit=300) == bytes(300)
        too_big(deflate, payload, limit=299)


def test_a_limit_of_nothing(make):
    assert make().decompress(b"\x00", 0) == b""
    assert make().decompress(b"", 0) == b""
    too_big(make(), HELLO, limit=0)


@pytest.mark.parametrize("limit", [sys.maxsize - 1, sys.maxsize, 2**63 - 1])
def test_a_limit_that_is_none(make, limit):
    assert make().decompress(HELLO, limit) == b"Hello"
    assert make(inflate_chunk_size=64).decompress(HELLO, limit) == b"Hello"


# 48 KiB that inflate to 50 MB.
BOMB = raw_deflate(bytes(50_000_000))


def peak_of(function):
    tracemalloc.start()
    try:
        function()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("chunk_size", [None, 64, 16384])
def test_a_bomb_takes_no_more_memory_than_its_limit_allows(make, chunk_size):
    assert len(BOMB) < 50_000
    deflate = make(inflate_chunk_size=chunk_size)
    assert peak_of(lambda: too_big(deflate, BOMB, limit=MIB)) < 3 * MIB
    deflate = make(inflate_chunk_size=chunk_size)
    assert peak_of(lambda: too_big(deflate, BOMB, limit=25)) < MIB / 2


def test_a_bomb_in_fragments_takes_no_more(make):
    size = len(BOMB) // 100 + 1
    fragments = [BOMB[i : i + size] for i in range(0, len(BOMB), size)]
    deflate = make()
    assert peak_of(lambda: too_big(deflate, *fragments, limit=MIB)) < 3 * MIB


def test_a_large_input_for_a_small_limit(make):
    payload = raw_deflate(noise(MIB))
    too_big(make(), payload, limit=25)


# Damaged data


@pytest.mark.parametrize(
    "payload",
    [
        "ff ff ff ff",
        "06",
        "00 05 00 fa fe 48 65 6c 6c 6f 00",
        "f2 00 11 00 00",
        # After a final block.
        "f3 48 cd c9 c9 07 00 ff",
        "f3 48 cd c9 c9 07 00 00 00 00 00 00 00 01",
        "f3 48 cd c9 c9 07 00 ff ff",
    ],
)
def test_what_is_not_deflate_is_refused_wherever_it_is_cut(make, module, payload):
    payload = bytes.fromhex(payload)
    for chunk_size in None, 64:
        for cut in range(len(payload) + 1):
            deflate = make(inflate_chunk_size=chunk_size)
            error = bad_data(deflate, payload[:cut], payload[cut:])
            assert isinstance(error.__cause__, module.error)
            # Not of use in a connection, but nothing of the message is left.
            assert inflate(deflate, HELLO) == b"Hello"


def test_after_a_limit_nothing_of_the_message_is_left(make):
    deflate = make()
    with pytest.raises(PayloadTooBig):
        inflate(deflate, HELLO[:3], HELLO[3:], limit=4)
    assert inflate(deflate, HELLO) == b"Hello"


def test_a_distance_beyond_the_negotiated_window_is_refused(make):
    compressor = zlib.compressobj(6, zlib.DEFLATED, -15)
    data = noise(1000)
    messages = [compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH) for _ in range(2)]
    first, second = [message.removesuffix(TAIL) for message in messages]
    assert len(second) < 20
    for deflate in make(peer_window_bits=9), make(peer_window_bits=8):
        assert inflate(deflate, first) == data
        bad_data(deflate, second)
    deflate = make(peer_window_bits=10)
    assert [inflate(deflate, message) for message in (first, second)] == [data, data]


def test_damage_at_random_raises_nothing_else(make):
    rng = random.Random(7)
    seen = set()
    for i in range(2000):
        deflate = make(peer_takeover=rng.random() < 0.5)
        payload = bytearray(raw_deflate(text(rng)[:900], final=i % 2 == 0))
        for _ in range(rng.randrange(4)):
            payload[rng.randrange(len(payload))] = rng.randrange(256)
        payload = bytes(payload)
        try:
            inflate(deflate, payload[:7], payload[7:], limit=1000)
        except ProtocolError as error:
            seen.add(error.close_code)
        else:
            seen.add(None)
    assert seen == {None, 1007, 1009}


# Contexts (PD15, PD16)


def test_contexts_are_made_when_they_are_needed_and_with_what_was_agreed(make, module):
    recording, compressors, inflaters = recording_zlib(module)
    deflate = make(
        zlib=recording,
        level=1,
        mem_level=2,
        strategy=3,
        window_bits=9,
        peer_window_bits=8,
        dictionary=b"ours",
        peer_dictionary=b"theirs",
    )
    assert compressors == inflaters == []
    for _ in range(3):
        deflate.compress(b"Hello")
    assert (compressors, inflaters) == ([(1, 8, -9, 2, 3, b"ours")], [])
    for _ in range(3):
        assert deflate.decompress(b"", 5) == b""
    assert inflaters == []
    for _ in range(3):
        deflate.decompress(HELLO, 5)
    assert inflaters == [(-8, b"theirs")]
    deflate.close()
    deflate.close()
    deflate.compress(b"Hello")
    deflate.decompress(HELLO, 5)
    assert (len(compressors), len(inflaters)) == (2, 2)


def test_without_takeover_a_fragmented_message_has_one_context(make, module):
    recording, compressors, inflaters = recording_zlib(module)
    deflate = make(zlib=recording, takeover=False, peer_takeover=False)
    for count in range(1, 4):
        deflate.compress(b"Hel", False)
        deflate.compress(b"lo", True)
        inflate(deflate, HELLO[:3], HELLO[3:])
        # The compressor has forgotten the message before, and is used again.
        assert (len(compressors), len(inflaters)) == (1, count)


def test_without_takeover_connections_share_compressors_that_remember_nothing(make, module):
    recording, compressors, _ = recording_zlib(module)
    one, other = (make(zlib=recording, takeover=False) for _ in range(2))
    for _ in range(3):
        assert one.compress(b"Hello") == other.compress(b"Hello") == HELLO
    assert len(compressors) == 1
    # In the middle of a message each needs its own.
    starts = [deflate.compress(b"Hel", False) for deflate in (one, other)]
    assert len(compressors) == 2
    for deflate, start in zip((one, other), starts, strict=True):
        assert inflate(make(), start, deflate.compress(b"lo")) == b"Hello"


def test_a_dictionary_is_never_forgotten_by_a_shared_compressor(make):
    one, other = (make(takeover=False, dictionary=b"Hello") for _ in range(2))
    peer = make(peer_takeover=False, peer_dictionary=b"Hello")
    for deflate in (one, other, one):
        compressed = deflate.compress(b"Hello")
        assert compressed == bytes.fromhex("f2 00 11 00 00")
        assert inflate(peer, compressed) == b"Hello"


def test_a_compressor_rests_when_it_is_not_used_for_a_while(make, module):
    recording, compressors, _ = recording_zlib(module)
    deflate, peer = make(zlib=recording), make()
    assert inflate(peer, deflate.compress(b"Hello")) == b"Hello"
    assert deflate.rest(100.0) == deflate.rest(101.0) == 130.0
    assert inflate(peer, deflate.compress(b"Hello")) == b"Hello"
    assert deflate.rest(130.0) == 160.0
    assert len(compressors) == 1
    # Nothing was sent between 130 and 160.
    assert deflate.rest(160.0) == 190.0
    assert inflate(peer, deflate.compress(b"Hello")) == b"Hello"
    assert len(compressors) == 2


def test_after_forgetting_a_message_refers_to_nothing_before_it(make):
    deflate, peer = make(), make()
    assert deflate.compress(b"Hello") == HELLO
    deflate.forget()
    assert deflate.compress(b"Hello") == HELLO
    assert deflate.compress(b"Hello") == HELLO_AGAIN
    # A peer with takeover notices nothing.
    for payload in HELLO, HELLO, HELLO_AGAIN:
        assert peer.decompress(payload, 5) == b"Hello"


def test_after_a_failure_nothing_refers_to_what_was_not_sent(make):
    deflate = make(deflate_chunk_size=None)
    assert deflate.compress(b"Hello") == HELLO
    with pytest.raises(TypeError):
        deflate.compress("Hello")
    assert deflate.compress(b"Hello") == HELLO


def test_a_preset_dictionary_is_known_to_every_context(make):
    ours = make(dictionary=b"Hello", takeover=False)
    theirs = make(peer_dictionary=b"Hello", peer_takeover=False)
    for _ in range(2):
        payload = ours.compress(b"Hello")
        assert payload == HELLO_AGAIN
        assert theirs.decompress(payload, 5) == b"Hello"
    bad_data(make(), HELLO_AGAIN)


WORDS = b"what both ends know of each message"


def words(number):
    """A message that the dictionary is good for, at another distance each time."""
    return b"%d: " % number + WORDS + b"!" * number


def test_a_dictionary_is_of_no_use_for_a_compressor_that_is_made_again(make):
    """The peer's window ends with the message before then, and not with the dictionary."""
    ours, theirs = make(dictionary=WORDS), make(peer_dictionary=WORDS)
    assert inflate(theirs, ours.compress(words(1))) == words(1)
    for now in 100.0, 200.0:
        ours.rest(now)
    assert inflate(theirs, ours.compress(words(2))) == words(2)
    with pytest.raises(TypeError):
        ours.compress("what fails")
    assert inflate(theirs, ours.compress(words(3))) == words(3)


@pytest.mark.parametrize("takeover", [True, False])
@pytest.mark.parametrize("backend", BACKENDS, ids=str)
def test_a_message_for_all_and_the_next_refer_to_no_dictionary_that_the_peer_is_behind(
    backend, takeover
):
    parameters = make_parameters(dictionary=WORDS, takeover=takeover)
    theirs = make_parameters(peer_dictionary=WORDS, peer_takeover=takeover)
    for before in 0, 1:
        ours, peer = (backend.deflate.Deflate(item) for item in (parameters, theirs))
        for i in range(before):
            assert inflate(peer, ours.compress(words(i))) == words(i)
        for i in range(2, 4):
            assert inflate(peer, backend.deflate.compress_alone(parameters, words(i))) == words(i)
            ours.forget()
        for i in range(4, 6):
            assert inflate(peer, ours.compress(words(i))) == words(i)


def test_a_dictionary_is_of_no_use_in_the_middle_of_a_message(make):
    ours = make(dictionary=WORDS, takeover=False)
    theirs = make(peer_dictionary=WORDS, peer_takeover=False)
    for _ in range(2):
        start = ours.compress(words(1), False)
        assert len(start) < len(WORDS) // 2
        for now in 100.0, 200.0:
            ours.rest(now)
        end = ours.compress(words(2))
        assert inflate(theirs, start, end) == words(1) + words(2)


# Round trips


@pytest.mark.parametrize("takeover", [True, False])
@pytest.mark.parametrize("bits", range(8, 16))
def test_what_was_compressed_is_inflated_again(make, bits, takeover):
    rng = random.Random(bits)
    for level in (-1, 0, 1, 6, 9):
        ours = make(
            level=level,
            mem_level=rng.randint(1, 9),
            window_bits=max(bits, 9),
            takeover=takeover,
            deflate_chunk_size=rng.choice([None, 64, 1000]),
        )
        theirs = make(
            peer_window_bits=bits,
            peer_takeover=takeover,
            inflate_chunk_size=rng.choice([None, 64, 1000]),
        )
        for _ in range(15):
            fragments = [text(rng) for _ in range(rng.choice([1, 1, 3]))]
            payloads = [
                ours.compress(fragment, i == len(fragments) - 1)
                for i, fragment in enumerate(fragments)
            ]
            data = b"".join(fragments)
            assert inflate(theirs, *payloads, limit=len(data)) == data


def text(rng):
    """What compresses more or less."""
    words = [rng.randbytes(rng.randrange(1, 20)) for _ in range(10)]
    return b"".join(rng.choices(words, k=rng.choice([0, 1, 10, 500, 5000])))


@pytest.mark.parametrize("strategy", range(5))
def test_a_window_of_9_refers_to_nothing_that_a_window_of_8_has_not(make, strategy):
    """zlib has no compressor for 8 bits. The distances of 9 must be less than 256."""
    rng = random.Random(strategy)
    for level in range(-1, 10):
        deflate = make(level=level, strategy=strategy, mem_level=rng.randint(1, 9), window_bits=9)
        inflater = zlib.decompressobj(-8)
        base = rng.randbytes(rng.choice([100, 240, 249, 250, 251, 254, 255, 256, 257, 300]))
        for _ in range(2):
            data = rng.choice([base * 3, base[:40] * 20, text(rng)[:1000]])
            assert byte_by_byte(inflater, deflate.compress(data) + TAIL) == data


def byte_by_byte(inflater, payload):
    """Inflate so that only the window can be referred to, and nothing that was not taken yet."""
    parts = []
    while payload or parts[-1]:
        parts.append(inflater.decompress(payload, 1))
        payload = inflater.unconsumed_tail
    return b"".join(parts)


def test_inflating_byte_by_byte_shows_distances_beyond_the_window():
    data = noise(257) * 2
    with pytest.raises(zlib.error):
        byte_by_byte(zlib.decompressobj(-8), raw_deflate(data) + TAIL)


@pytest.mark.parametrize("chunk_size", [None, 64])
def test_anything_with_bytes_in_it_is_compressed(make, chunk_size):
    numbers = array.array("I", [1, 2, 3] * 100)
    data = numbers.tobytes()
    view = memoryview(data)
    for item in data, bytearray(data), view, numbers, memoryview(numbers), view[:]:
        deflate = make(deflate_chunk_size=chunk_size)
        assert make().decompress(deflate.compress(item), len(data)) == data
    # It can be resized afterwards: nothing holds it.
    buffer = bytearray(data)
    make(deflate_chunk_size=chunk_size).compress(buffer)
    buffer.append(0)


class Stepping:
    """Records the sizes of what goes in and what may come out."""

    def __init__(self, real):
        self.real = real
        self.inputs, self.outputs = [], []

    def compress(self, data):
        self.inputs.append(len(data))
        return self.real.compress(data)

    def decompress(self, data, max_length=0):
        self.outputs.append(max_length)
        return self.real.decompress(data, max_length)

    def __getattr__(self, name):
        return getattr(self.real, name)


def test_chunk_sizes_are_kept(make, module):
    """PD6, PD7"""
    recording, _, _ = recording_zlib(module)
    made = []

    def wrap(function):
        def call(*arguments):
            made.append(Stepping(function(*arguments)))
            return made[-1]

        return call

    recording.compressobj = wrap(module.compressobj)
    recording.decompressobj = wrap(module.decompressobj)
    deflate = make(zlib=recording, deflate_chunk_size=64, inflate_chunk_size=100)
    payload = deflate.compress(bytes(200))
    assert made[0].inputs == [64, 64, 64, 8]
    assert deflate.decompress(payload, 200) == bytes(200)
    assert max(made[1].outputs) == 100
