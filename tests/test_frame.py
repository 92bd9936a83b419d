"""The frames that are written, against RFC 6455 section 5.2."""

import random

import pytest
from frames import BINARY, CLOSE, CONT, KEY, PING, PONG, TEXT, ZERO, frame, wire, xor
from twins import BACKENDS, read

from wsfast.protocol import FrameReader, encode_frame


@pytest.fixture(params=BACKENDS, ids=str)
def backend(request):
    return request.param


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        # RFC 6455 section 5.7
        ((TEXT, b"Hello"), '81 05 "Hello"'),
        ((TEXT, b"Hello", True, 0, KEY), "81 85 37fa213d 7f9f4d5158"),
        ((TEXT, b"Hel", False), '01 03 "Hel"'),
        ((CONT, b"lo"), '80 02 "lo"'),
        ((PING, b"Hello"), '89 05 "Hello"'),
        ((PONG, b"Hello", True, 0, KEY), "8a 85 37fa213d 7f9f4d5158"),
        ((BINARY, b"a" * 256), "82 7e 0100" + "61" * 256),
        ((BINARY, b"a" * 65536), "82 7f 0000000000010000" + "61" * 65536),
        # The boundaries
        ((BINARY, b""), "82 00"),
        ((BINARY, b"", True, 0, KEY), "82 80 37fa213d"),
        ((BINARY, b"a" * 125), "82 7d" + "61" * 125),
        ((BINARY, b"a" * 126), "82 7e 007e" + "61" * 126),
        ((BINARY, b"a" * 127), "82 7e 007f" + "61" * 127),
        ((BINARY, b"a" * 65535), "82 7e ffff" + "61" * 65535),
        ((BINARY, b"a" * 65535, True, 0, ZERO), "82 fe ffff M" + "61" * 65535),
        ((BINARY, b"a" * 65536, True, 0, ZERO), "82 ff 0000000000010000 M" + "61" * 65536),
        # The bits
        ((TEXT, b"", True, 4), "c1 00"),
        ((TEXT, b"", True, 2), "a1 00"),
        ((TEXT, b"", True, 1), "91 00"),
        ((15, b"", False, 7), "7f 00"),
        ((0, b"", False, 0, ZERO), "00 80 M"),
        ((CLOSE, b"\x03\xe8"), "88 02 03e8"),
    ],
    ids=lambda value: value[:30] if isinstance(value, str) else "",
)
def test_frames_are_written_in_their_shortest_form(backend, arguments, expected):
    """F3, SD1."""
    written = backend.frame.encode_frame(*arguments)
    assert type(written) is bytes
    assert written == wire(expected)


def test_every_length_and_key_is_written_like_the_byte_loop(backend):
    """SD4, F4."""
    source = random.Random(3).randbytes(300)
    for size in range(301):
        payload = source[:size]
        for key in (None, KEY, ZERO):
            written = backend.frame.encode_frame(BINARY, payload, key=key)
            assert written == frame(BINARY, payload, key=key)
    assert written[-300:] == source
    assert xor(source, KEY) == backend.frame.encode_frame(BINARY, source, key=KEY)[-300:]


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_the_payload_is_any_buffer_and_is_not_changed(backend, kind):
    """W16."""
    payload = kind(b"Hello")
    assert backend.frame.encode_frame(TEXT, payload, key=KEY) == wire("81 85 37fa213d 7f9f4d5158")
    assert payload == b"Hello"


@pytest.mark.parametrize("data", [5, "Hello", None, [1, 2]], ids=repr)
def test_1_4_cve_2016_10518_a_number_is_no_payload(backend, data):
    with pytest.raises(TypeError):
        backend.frame.encode_frame(BINARY, data)
    with pytest.raises(TypeError):
        backend.frame.encode_frame(BINARY, data, key=KEY)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"opcode": 16}, "opcode must be 0 to 15, not 16"),
        ({"opcode": -1}, "opcode must be 0 to 15, not -1"),
        ({"rsv": 8}, "rsv must be 0 to 7, not 8"),
        ({"rsv": -1}, "rsv must be 0 to 7, not -1"),
        ({"key": b"abc"}, "a masking key is 4 bytes, not b'abc'"),
    ],
    ids=str,
)
def test_bad_arguments_of_a_frame_are_named(backend, options, words):
    arguments = {"opcode": 1, "data": b"", **options}
    with pytest.raises(ValueError) as caught:
        backend.frame.encode_frame(**arguments)
    assert str(caught.value) == words


def test_what_is_written_is_read(backend):
    """E4: by `FrameReader`."""
    for opcode, data in ((TEXT, "Hellö"), (BINARY, b"\0" * 70000), (PING, b""), (PONG, b"p")):
        payload = data.encode() if isinstance(data, str) else data
        for key in (None, KEY):
            reader = backend.parser.FrameReader(client=key is None)
            stream = backend.frame.encode_frame(opcode, payload, key=key)
            assert read(reader, stream) == [(opcode, data, True)]


def test_frames_are_written_and_read_by_hand():
    """E4, F4: what ws calls Sender and Receiver are two names of `wsfast.protocol`."""
    written = encode_frame(TEXT, b"He", False, key=KEY) + encode_frame(CONT, b"llo", key=ZERO)
    assert written == wire("01 82 37fa213d 7f9f 80 83 M") + b"llo"
    reader = FrameReader(client=False)
    reader.feed(written)
    assert reader.next() == (TEXT, "Hello", True)
    assert reader.next() is None
