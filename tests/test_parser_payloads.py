"""What the frame reader hands out: fragments, text, and payloads of every length and alignment."""

import random

import pytest
from frames import BINARY, CONT, KEY, PING, TEXT, ZERO, frame, wire
from twins import BACKENDS, read, read_error

from wsfast.exceptions import PayloadTooBig, TooManyFragments


@pytest.fixture(params=BACKENDS, ids=str)
def parser(request):
    return request.param.parser


# Fragment mode


def test_in_fragment_mode_every_data_frame_is_handed_out_by_itself(parser):
    stream = wire(
        '01 81 M "a" 00 80 M 89 81 M "p" 80 82 M "bc" 82 81 M "d" 81 82 M c3a9 02 80 M 80 80 M'
    )
    expected = [
        (TEXT, b"a", False),
        (CONT, b"", False),
        (PING, b"p", True),
        (CONT, b"bc", True),
        (BINARY, b"d", True),
        (TEXT, b"\xc3\xa9", True),
        (BINARY, b"", False),
        (CONT, b"", True),
    ]
    for chunk in (None, 1, 2, 5):
        reader = parser.FrameReader(client=False, fragments=True)
        assert read(reader, stream, chunk) == expected


def test_in_fragment_mode_the_limits_are_the_same(parser):
    options = {"client": False, "fragments": True, "max_size": 5, "max_fragments": 3}
    reader = parser.FrameReader(**options)
    items, error = read_error(reader, wire('02 83 M "abc" 00 82 M "de" 80 81'))
    assert items == [(BINARY, b"abc", False), (CONT, b"de", False)]
    assert (type(error), error.close_code) == (PayloadTooBig, 1009)
    reader = parser.FrameReader(**options)
    items, error = read_error(reader, wire("02 80 M 00 80 M 00 80 M 00 80"))
    assert len(items) == 3
    assert (type(error), error.close_code) == (TooManyFragments, 1009)


def test_fragment_mode_can_begin_and_end_inside_a_message(parser):
    reader = parser.FrameReader(client=False)
    assert read(reader, wire('01 82 M "ab" 00 81 M "c"')) == []
    reader.fragments = True
    # What came before is handed out with the first fragment.
    assert read(reader, wire('00 81 M "d"')) == [(TEXT, b"abcd", False)]
    assert read(reader, wire('00 81 M "e"')) == [(CONT, b"e", False)]
    reader.fragments = False
    assert read(reader, wire("00 81 M c3")) == []
    assert read(reader, wire("80 81 M a9")) == [(CONT, b"\xc3\xa9", True)]
    assert read(reader, wire("81 82 M c3a9")) == [(TEXT, "é", True)]


def test_fragment_mode_can_begin_inside_a_frame(parser):
    for opcode, expected in ((TEXT, "Hello"), (BINARY, b"Hello")):
        reader = parser.FrameReader(client=False)
        stream = frame(opcode, "Hello", key=KEY)
        assert read(reader, stream[:8]) == []
        reader.fragments = True
        assert read(reader, stream[8:]) == [(opcode, b"Hello", True)]
        assert read(reader, stream[:8]) == []
        reader.fragments = False
        assert read(reader, stream[8:]) == [(opcode, expected, True)]


def test_utf_8_is_checked_across_the_borders_of_fragment_mode(parser):
    reader = parser.FrameReader(client=False)
    read(reader, wire("01 81 M c3"))
    reader.fragments = True
    assert read(reader, wire("00 81 M a9")) == [(TEXT, b"\xc3\xa9", False)]
    assert read(reader, wire("00 81 M c3")) == [(CONT, b"\xc3", False)]
    reader.fragments = False
    _, error = read_error(reader, wire("80 80 M"))
    assert error.close_code == 1007


# Text: the fused path takes a whole frame, the other one what comes in pieces

TAILS = {"ascii": "a", "two bytes": "é", "three bytes": "€", "four bytes": "😀"}


@pytest.mark.parametrize("tail", TAILS.values(), ids=TAILS)
def test_text_of_every_length_and_alignment(parser, tail):
    for size in range(131):
        text = "a" * size + tail
        for other in (text, tail + "a" * size):
            for key in (KEY, ZERO):
                stream = frame(TEXT, other, key=key)
                for before in range(8):
                    lead = frame(BINARY, b"." * before, key=key)
                    item = read(parser.FrameReader(client=False), lead + stream)[1]
                    assert item == (TEXT, other, True)
            cut = len(stream) - len(tail.encode()) + 1
            reader = parser.FrameReader(client=False)
            assert read(reader, stream[:cut]) + read(reader, stream[cut:]) == [(TEXT, other, True)]


def test_ascii_text_is_a_compact_ascii_str(parser):
    [(_, text, _)] = read(parser.FrameReader(client=False), frame(TEXT, "a" * 100, key=KEY))
    assert text == "a" * 100
    assert text.isascii()
    assert hash(text) == hash("a" * 100)
    assert text.__sizeof__() == ("a" * 100).__sizeof__()


@pytest.mark.parametrize("bad", [b"\xff", b"\x80", b"\xc3", b"\xed\xa0\x80", b"\xf4\x90"])
def test_invalid_text_of_every_length(parser, bad):
    for size in range(131):
        for payload in (b"a" * size + bad, b"a" * (size // 2) + bad + b"a" * (size - size // 2)):
            for stream in (frame(TEXT, payload, key=KEY), frame(TEXT, payload, key=ZERO)):
                for chunk in (None, 17):
                    reader = parser.FrameReader(client=False)
                    items, error = read_error(reader, stream, chunk)
                    assert items == []
                    assert (error.code, error.close_code) == ("WS_ERR_INVALID_UTF8", 1007)


def test_masked_payloads_of_every_length_start_and_split(parser):
    source = random.Random(7).randbytes(131)
    for size in range(131):
        payload = source[:size]
        stream = frame(BINARY, payload, key=KEY)
        cuts = {0, 1, 5, 6, 7, 8, 6 + size // 2, 6 + max(size - 1, 0)}
        for cut in cuts:
            reader = parser.FrameReader(client=False)
            items = read(reader, stream[:cut]) + read(reader, stream[cut:])
            assert items == [(BINARY, payload, True)]
