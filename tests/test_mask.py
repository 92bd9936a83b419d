"""XOR masking, UTF-8 validation and masking keys against the obvious in plain Python."""

import array
import os
import random
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest
from frames import KEY, ZERO, xor
from twins import BACKENDS, BOTH

import wsfast

KEYS = [KEY, ZERO, b"\xff\xff\xff\xff", b"\x00\x01\x02\x03", b"\x80\x00\x00\x01"]
CANARY = b"\xa5" * 16


@pytest.fixture(params=BACKENDS, ids=str)
def mask(request):
    return request.param.mask


def noise(size, seed=0):
    return random.Random(seed).randbytes(size)


# Masking

# RFC 6455 section 5.7
HELLO = bytes.fromhex("7f 9f 4d 51 58")


def test_the_example_of_the_rfc(mask):
    assert mask.apply_mask(b"Hello", KEY) == HELLO
    assert mask.apply_mask(HELLO, KEY) == b"Hello"


@pytest.mark.parametrize("offset", range(16))
def test_every_length_and_alignment_equals_the_byte_loop(mask, offset):
    source = noise(16 + 300, offset)
    for size in range(301):
        expected = xor(source[offset : offset + size], KEY)
        assert mask.apply_mask(memoryview(source)[offset : offset + size], KEY) == expected


@pytest.mark.parametrize("key", KEYS, ids=bytes.hex)
def test_every_phase_and_key_equals_the_byte_loop(mask, key):
    """RX5: a key of zeros too."""
    source = noise(131)
    for phase in (0, 1, 2, 3, 4, 5, 6, 7, 2**32 + 1, 2**63 + 3):
        for size in range(131):
            expected = xor(source[:size], key, phase)
            assert mask.apply_mask(source[:size], key, phase) == expected
            copy = bytearray(source[:size])
            mask.apply_mask_in_place(copy, key, phase)
            assert copy == expected


@pytest.mark.parametrize("offset", range(16))
def test_in_place_no_byte_beside_the_buffer_is_touched(mask, offset):
    source = noise(300, offset)
    for size in range(301):
        room = bytearray(CANARY[:offset] + source[:size] + CANARY)
        with memoryview(room) as whole, whole[offset : offset + size] as view:
            mask.apply_mask_in_place(view, KEY, size)
        assert room == CANARY[:offset] + xor(source[:size], KEY, size) + CANARY


def test_a_payload_in_pieces_is_masked_like_the_whole(mask):
    source = noise(97)
    expected = xor(source, KEY)
    for cut in range(98):
        head, tail = source[:cut], source[cut:]
        assert mask.apply_mask(head, KEY) + mask.apply_mask(tail, KEY, cut) == expected


@pytest.mark.parametrize("size", [65535, 65536, 2**20 + 3])
def test_large_payloads(mask, size):
    source = noise(size)
    masked = mask.apply_mask(source, KEY)
    assert masked[:64] == xor(source[:64], KEY)
    assert masked[-64:] == xor(source[-64:], KEY, size - 64)
    assert mask.apply_mask(masked, KEY) == source


@pytest.mark.parametrize(
    "kind", [bytes, bytearray, memoryview, lambda data: array.array("B", data)]
)
def test_any_contiguous_buffer_is_taken_and_not_changed(mask, kind):
    source = kind(b"Hello")
    masked = mask.apply_mask(source, KEY)
    assert type(masked) is bytes
    assert masked == HELLO
    assert bytes(source) == b"Hello"


def test_a_buffer_of_larger_items_is_taken_by_its_bytes(mask):
    numbers = array.array("I", [1, 2, 3])
    octets = numbers.tobytes()
    assert mask.apply_mask(numbers, KEY) == xor(octets, KEY)
    mask.apply_mask_in_place(numbers, KEY)
    assert numbers.tobytes() == xor(octets, KEY)


@pytest.mark.parametrize(
    "wrap", [bytearray, lambda data: memoryview(bytearray(data)), lambda d: array.array("B", d)]
)
def test_in_place_takes_any_writable_buffer_and_lets_go_of_it(mask, wrap):
    buffer = wrap(b"Hello")
    assert mask.apply_mask_in_place(buffer, KEY) is None
    assert bytes(buffer) == HELLO
    if isinstance(buffer, bytearray):
        buffer.append(0)  # a BufferError if it were still exported


@pytest.mark.parametrize("buffer", [b"Hello", memoryview(b"Hello")], ids=["bytes", "memoryview"])
def test_in_place_refuses_what_is_read_only(mask, buffer):
    with pytest.raises(BufferError):
        mask.apply_mask_in_place(buffer, KEY)
    assert buffer == b"Hello"


@pytest.mark.parametrize("key", [b"", b"abc", b"abcde", bytearray(4), "abcd", 5, None], ids=repr)
def test_a_key_is_four_bytes(mask, key):
    buffer = bytearray(b"Hello")
    for call in (
        lambda: mask.apply_mask(b"Hello", key),
        lambda: mask.apply_mask_in_place(buffer, key),
    ):
        with pytest.raises(ValueError, match="a masking key is 4 bytes, not "):
            call()
    assert buffer == b"Hello"


@pytest.mark.parametrize("data", ["Hello", 5, None, [1, 2]], ids=repr)
def test_what_is_no_buffer_is_refused(mask, data):
    for call in (
        lambda: mask.apply_mask(data, KEY),
        lambda: mask.apply_mask_in_place(data, KEY),
        lambda: mask.valid_utf8(data),
        lambda: mask.Utf8Validator().feed(data),
    ):
        with pytest.raises(TypeError):
            call()


def test_a_negative_phase_is_refused(mask):
    with pytest.raises(OverflowError):
        mask.apply_mask(b"Hello", KEY, -1)


# UTF-8


def is_utf8(data):
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


# What a text can end with before its last character is complete. The last byte of a character is
# any of 64, so that one of them stands for all.
INCOMPLETE = {
    chr(number).encode()[:size]
    for number in range(0x80, 0x110000, 64)
    if not 0xD800 <= number < 0xE000
    for size in range(1, len(chr(number).encode()))
}


def can_begin_utf8(data):
    """Whether some text begins with ``data``."""
    return is_utf8(data) or any(
        data[-size:] in INCOMPLETE and is_utf8(data[:-size]) for size in (1, 2, 3)
    )


TAILS = [b"", b"a", b"\x80", b"\xbf", b"\x80\x80", b"\x80\x80\x80", b"\xc3\xa9", b"\x80a"]


def test_all_strings_of_one_and_two_bytes_and_tails_agree_with_python(mask):
    valid_utf8 = mask.valid_utf8
    for first in range(256):
        one = bytes([first])
        assert valid_utf8(one) == is_utf8(one), one.hex()
        for second in range(256):
            two = bytes([first, second])
            for tail in TAILS if first >= 0x80 else TAILS[:1]:
                assert valid_utf8(two + tail) == is_utf8(two + tail), (two + tail).hex()


def test_all_strings_of_a_long_lead_byte_and_two_more_begin_text_or_do_not(mask):
    for lead in range(0xE0, 0x100):
        for second in range(0x70, 0xD0):
            for third in (0x7F, 0x80, 0xBF, 0xC0):
                data = bytes([lead, second, third])
                for size in (1, 2, 3):
                    validator = mask.Utf8Validator()
                    assert validator.feed(data[:size]) == can_begin_utf8(data[:size]), data.hex()


# The boundaries of Unicode's table 3-7, by id.
VALID = {
    "NUL": "00",
    "last of one byte": "7f",
    "first of two": "c280",
    "last of two": "dfbf",
    "first of three": "e0a080",
    "before the surrogates": "ed9fbf",
    "behind the surrogates": "ee8080",
    "BOM": "efbbbf",
    "U+FFFE": "efbfbe",
    "last of three": "efbfbf",
    "first of four": "f0908080",
    "U+1FFFF": "f09fbfbf",
    "U+10FFFF": "f48fbfbf",
}
# Each with the number of bytes after which it is impossible.
INVALID = {
    "continuation alone": ("80", 1),
    "last continuation alone": ("bf", 1),
    "overlong NUL": ("c080", 1),
    "overlong slash": ("c1af", 1),
    "overlong of three": ("e09fbf", 2),
    "overlong of four": ("f08fbfbf", 2),
    "first surrogate": ("eda080", 2),
    "last surrogate": ("edbfbf", 2),
    "surrogate pair": ("eda080edb080", 2),
    "U+110000": ("f4908080", 2),
    "f5": ("f5808080", 1),
    "five bytes": ("f888808080", 1),
    "six bytes": ("fc8480808080", 1),
    "fe": ("fe", 1),
    "ff": ("ff", 1),
    "broken by ASCII": ("e282" + "41", 3),
    "broken by a lead byte": ("c3c3", 2),
    "broken in the fourth byte": ("f09f98" + "c0", 4),
}


# Around the eight bytes that are looked at together.
BEFORE = [0, 1, 7, 8, 15, 16, 33]


@pytest.mark.parametrize("text", VALID.values(), ids=VALID)
def test_the_first_and_the_last_of_each_form_are_valid_wherever_they_stand(mask, text):
    for before in BEFORE:
        data = b"a" * before + bytes.fromhex(text) + b"b" * 9
        assert mask.valid_utf8(data)
        for cut in range(len(data) + 1):
            validator = mask.Utf8Validator()
            assert validator.feed(data[:cut])
            assert validator.feed(data[cut:])
            assert validator.finish()


@pytest.mark.parametrize(("text", "size"), INVALID.values(), ids=INVALID)
def test_it_fails_at_the_first_impossible_byte(mask, text, size):
    """RX6: ws looks at whole messages only."""
    for before in BEFORE:
        data = b"a" * before + bytes.fromhex(text)
        assert not mask.valid_utf8(data)
        validator = mask.Utf8Validator()
        accepted = [validator.feed(data[i : i + 1]) for i in range(len(data))]
        assert accepted == [i + 1 < before + size for i in range(len(data))]
        assert not validator.finish()
        validator = mask.Utf8Validator()
        assert validator.feed(data[: before + size - 1])
        assert not validator.feed(data[before + size - 1 :])


@pytest.mark.parametrize("tail", ["c3", "e2", "e282", "f0", "f09f", "f09f98"])
def test_a_text_must_not_end_inside_a_character(mask, tail):
    data = b"text" + bytes.fromhex(tail)
    assert not mask.valid_utf8(data)
    validator = mask.Utf8Validator()
    assert validator.feed(data)
    assert not validator.finish()


def test_after_finish_a_new_text_begins(mask):
    validator = mask.Utf8Validator()
    assert validator.finish()
    assert validator.feed(b"\xe2\x82")
    assert not validator.finish()
    assert validator.feed(b"abc")
    assert validator.finish()
    assert not validator.feed(b"\xff")
    assert not validator.feed(b"abc")
    assert not validator.finish()
    assert validator.feed("é".encode())
    assert validator.finish()


def test_random_strings_in_random_pieces_agree_with_python(mask):
    rng = random.Random(6455)
    alphabet = [chr(n) for n in (0x61, 0, 0x7F, 0x80, 0x7FF, 0x800, 0x20AC, 0xD7FF, 0xE000)]
    alphabet += [chr(n) for n in (0xFFFF, 0x10000, 0x1F600, 0x10FFFF)]
    for _ in range(20_000):
        data = bytearray("".join(rng.choices(alphabet, k=rng.randrange(1, 12))).encode())
        for _ in range(rng.choice([0, 0, 1, 2])):
            data[rng.randrange(len(data))] = rng.choice([0x41, 0x80, 0xBF, 0xC0, 0xED, 0xF4, 0xFF])
        if rng.random() < 0.2:
            del data[-1]
        data = bytes(data)
        assert mask.valid_utf8(data) == is_utf8(data), data.hex()
        validator = mask.Utf8Validator()
        position = 0
        possible = True
        while position < len(data):
            size = rng.randrange(0, 5)
            possible = validator.feed(data[position : position + size])
            position += size
            assert possible == can_begin_utf8(data[:position]), (data.hex(), position)
        assert validator.finish() == is_utf8(data), data.hex()


def test_a_validator_retains_at_most_three_bytes(mask):
    piece = b"a" * 100_000 + "😀".encode()[:3]
    last = "😀".encode()[3:]
    validator = mask.Utf8Validator()
    validator.feed(b"")
    tracemalloc.start()
    try:
        for _ in range(10):
            assert validator.feed(piece)
            assert validator.feed(last)
        validator.feed(piece)
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 1000
    assert validator.feed(last)
    assert validator.finish()


# Masking keys


def test_masking_keys_are_four_fresh_bytes(mask):
    """SD2."""
    keys = [mask.masking_key() for _ in range(100_000)]
    assert all(type(key) is bytes and len(key) == 4 for key in keys)
    # Of 100,000 random numbers of 32 bits about one pair is the same.
    assert len(set(keys)) > 99_980
    # Each octet of a key is anything: chi-square with 255 degrees of freedom.
    for position in range(4):
        counts = [0] * 256
        for key in keys:
            counts[key[position]] += 1
        expected = len(keys) / 256
        chi_square = sum((count - expected) ** 2 / expected for count in counts)
        assert 100 < chi_square < 500


def test_masking_keys_come_from_the_system(mask, monkeypatch):
    """SD2."""
    mask.forget_masking_keys()
    asked = []

    def urandom(size):
        asked.append(size)
        return bytes(i % 251 for i in range(size))

    monkeypatch.setattr(os, "urandom", urandom)
    try:
        first = {mask.masking_key() for _ in range(50)}
        mask.forget_masking_keys()
        again = {mask.masking_key() for _ in range(50)}
    finally:
        mask.forget_masking_keys()
    assert first == again
    assert len(asked) == 2


# In a process of its own, because pytest's may have threads.
FORK = """
import importlib, os, sys
mask = importlib.import_module(sys.argv[1])
mask.masking_key()  # so that there is something read ahead
child = os.fork()
keys = [mask.masking_key().hex() for _ in range(100)]
if child:
    os.waitpid(child, 0)
os.write(1, " ".join(keys).encode() + b"\\n")
os._exit(0)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_after_a_fork_parent_and_child_have_different_keys(mask):
    output = subprocess.run(
        [sys.executable, "-c", FORK, mask.__name__],
        cwd=Path(wsfast.__file__).parents[1],
        check=True,
        capture_output=True,
        timeout=60,
    ).stdout
    one, other = [set(line.split()) for line in output.splitlines()]
    assert len(one) > 95
    assert len(other) > 95
    assert len(one & other) < 3


@pytest.mark.skipif(len(BOTH) < 2, reason="needs both backends")
def test_the_twins_have_the_same_names():
    names = [{name for name in dir(backend.mask) if not name.startswith("_")} for backend in BOTH]
    assert set(BOTH[1].mask.__all__) <= names[0] & names[1]
