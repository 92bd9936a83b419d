"""The frame reader against RFC 6455 section 5: its states, and what it refuses and accepts.

Bytes on the wire are in hex; M is the masking key 00000000.
"""

import random

import pytest
from frames import BINARY, CLOSE, CONT, KEY, PING, PONG, TEXT, ZERO, close, frame, read_frames, wire
from twins import BACKENDS, read, read_error

from wsfast.exceptions import ProtocolError
from wsfast.frames import Close


@pytest.fixture(params=BACKENDS, ids=str)
def parser(request):
    return request.param.parser


# The states of the machine, in which a test stops and resumes

HELLO = wire("81 85 37fa213d 7f9f4d5158")
STOPS = [
    # state, bytes until there, rest, what then comes
    ("info", "", '81 85 M "Hello"', (TEXT, "Hello", True)),
    ("info", "81", '85 M "Hello"', (TEXT, "Hello", True)),
    ("length", "82 fe", "007e M" + "61" * 126, (BINARY, b"a" * 126, True)),
    ("length", "82 fe 00", "7e M" + "61" * 126, (BINARY, b"a" * 126, True)),
    ("length", "82 ff", "0000000000010000 M" + "61" * 65536, (BINARY, b"a" * 65536, True)),
    ("length", "82 ff 00000000000100", "00 M" + "61" * 65536, (BINARY, b"a" * 65536, True)),
    ("masking key", "81 85", 'M "Hello"', (TEXT, "Hello", True)),
    ("masking key", "81 85 37fa21", "3d 7f9f4d5158", (TEXT, "Hello", True)),
    ("masking key", "88 82 37fa", "213d 3412", (CLOSE, Close(1000, ""), True)),
    ("payload", "81 85 37fa213d", "7f9f4d5158", (TEXT, "Hello", True)),
    ("payload", "81 85 37fa213d 7f9f4d", "5158", (TEXT, "Hello", True)),
    ("payload", "89 82 37fa213d 56", "98", (PING, b"ab", True)),
    ("payload", "8a 82 M 61", "62", (PONG, b"ab", True)),
    ("info", '01 82 M "He"', '80 83 M "llo"', (TEXT, "Hello", True)),
    ("payload", '01 82 M "He" 80 83 M "l"', '"lo"', (TEXT, "Hello", True)),
    ("close", "88 82 37fa213d", "3412", (CLOSE, Close(1000, ""), True)),
    ("close", "88 85 37fa213d 341240", "5f54", (CLOSE, Close(1000, "abc"), True)),
]


def test_the_states_are_in_the_order_of_the_machine(parser):
    """RX1, F11."""
    names = ("info", "length", "masking key", "payload", "close", "deliver", "finished")
    assert parser.STATES == names


@pytest.mark.parametrize(
    ("state", "before", "rest", "item"), STOPS, ids=[f"{s[0]}: {s[1] or 'nothing'}" for s in STOPS]
)
def test_the_machine_stops_in_a_state_and_resumes(parser, state, before, rest, item):
    """RX1, F11, F2: at any byte."""
    reader = parser.FrameReader(client=False)
    reader.feed(wire(before))
    assert reader.next() is None
    assert reader.next() is None
    assert reader.state == state
    assert reader.pending == 0
    reader.feed(b"")
    assert reader.next() is None
    assert reader.state == state
    reader.feed(wire(rest))
    assert reader.next() == item
    assert reader.state == ("finished" if item[0] == CLOSE else "deliver")
    assert reader.next() is None
    assert reader.state == ("finished" if item[0] == CLOSE else "info")


def test_there_is_nothing_before_the_first_byte(parser):
    reader = parser.FrameReader(client=False)
    assert reader.next() is None
    assert (reader.state, reader.pending) == ("info", 0)
    reader.feed(HELLO)
    assert reader.next() == (TEXT, "Hello", True)


def test_the_machine_stops_after_each_message_and_the_rest_is_pending(parser):
    """F13."""
    reader = parser.FrameReader(client=True)
    reader.feed(wire('81 01 "a" 89 00 82 01 "b" 81'))
    assert (reader.state, reader.pending) == ("info", 9)
    assert reader.next() == (TEXT, "a", True)
    assert (reader.state, reader.pending) == ("deliver", 6)
    assert reader.next() == (PING, b"", True)
    assert (reader.state, reader.pending) == ("deliver", 4)
    assert reader.next() == (BINARY, b"b", True)
    assert (reader.state, reader.pending) == ("deliver", 1)
    assert reader.next() is None
    assert (reader.state, reader.pending) == ("info", 0)
    reader.feed(wire('01 "c"'))
    assert reader.pending == 2
    assert reader.next() == (TEXT, "c", True)
    assert reader.pending == 0


def test_after_a_close_frame_what_follows_is_dropped(parser):
    reader = parser.FrameReader(client=False)
    reader.feed(wire("88 82 M 03e8 81 81 M 61 ff ff"))
    assert reader.next() == (CLOSE, Close(1000, ""), True)
    assert (reader.state, reader.pending) == ("finished", 0)
    assert reader.next() is None
    reader.feed(wire('81 81 M "b"'))
    assert reader.next() is None
    assert reader.pending == 0
    assert reader.frames_read == 1


def test_after_an_error_what_follows_is_dropped(parser):
    reader = parser.FrameReader(client=False)
    items, error = read_error(reader, wire("81 81 M 61 83 80 M 81 81 M 62"))
    assert items == [(TEXT, "a", True)]
    assert error.code == "WS_ERR_INVALID_OPCODE"
    assert (reader.state, reader.pending) == ("finished", 0)
    reader.feed(wire('81 81 M "b"'))
    assert reader.next() is None
    assert reader.state == "finished"
    assert reader.pending == 0


def test_a_stream_in_pieces_of_any_size_gives_the_same(parser):
    """RX1, F2, RX7: a control frame comes out before the message around it."""
    stream = b"".join(
        [
            frame(TEXT, "Hellö", key=KEY),
            frame(TEXT, "He", fin=False, key=KEY),
            frame(PING, b"p" * 125, key=b"\1\2\3\4"),
            frame(CONT, b"", fin=False, key=ZERO),
            frame(CONT, "llo €", key=b"\xff\0\xff\0"),
            frame(BINARY, b"\x00\xff" * 100, key=KEY),
            frame(PONG, b"", key=KEY),
            frame(BINARY, b"x" * 70000, key=KEY),
            close(1001, "going", key=KEY),
        ]
    )
    expected = [
        (TEXT, "Hellö", True),
        (PING, b"p" * 125, True),
        (TEXT, "Hello €", True),
        (BINARY, b"\x00\xff" * 100, True),
        (PONG, b"", True),
        (BINARY, b"x" * 70000, True),
        (CLOSE, Close(1001, "going"), True),
    ]
    for size in [*range(1, 20), 127, 4096, 65536, len(stream)]:
        reader = parser.FrameReader(client=False)
        assert read(reader, stream, size) == expected
        assert (reader.frames_read, reader.fragments_read) == (9, 3)
        assert reader.bytes_read == 6 + 9 + 200 + 70000


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_what_is_fed_is_not_kept_nor_changed(parser, kind):
    """RX9, F17."""
    reader = parser.FrameReader(client=False)
    for piece in (HELLO[:3], HELLO[3:9], HELLO[9:]):
        lent = bytearray(piece)
        data = kind(lent)
        reader.feed(data)
        assert lent == piece
        if kind is not bytes:
            data[:] = b"\xff" * len(data)  # as a driver does with its buffer
        item = reader.next()
    assert item == (TEXT, "Hello", True)


@pytest.mark.parametrize("data", [5, "Hello", None, [1, 2]], ids=repr)
def test_only_bytes_are_fed(parser, data):
    with pytest.raises(TypeError):
        parser.FrameReader(client=False).feed(data)


# Strictness: what a peer can do wrong (RFC 6455 sections 5.1 to 5.5 and 8.1). The groups are those
# of the advisories for other libraries: 1 lengths, 4 control frames, 5 close frames, 6 UTF-8,
# 7 reserved bits, opcodes, masks and fragments. Each is refused at the first byte that shows it:
# the last one, or the one before the bar. S is what comes to a server, C what comes to a client.

REFUSED = {
    "1.1 CVE-2020-27813 MSB set": "S 82 ff 8000000000000000 | M : 1002 NEGATIVE_PAYLOAD_LENGTH",
    "1.1 all ones": "S 82 ff ffffffffffffffff | M : 1002 NEGATIVE_PAYLOAD_LENGTH",
    "1.1 CVE-2026-27889 huge": "S 82 ff 7fffffffffffffff | M : 1009 UNSUPPORTED_MESSAGE_LENGTH",
    "1.1 above max_size": "S 82 ff 0000000000100001 | M : 1009 UNSUPPORTED_MESSAGE_LENGTH",
    "1.1 CVE-2026-1528 to a client": "C 82 7f 7fffffffffffffff : 1009 UNSUPPORTED_MESSAGE_LENGTH",
    "1.1 the sum overflows": (
        "S 02 81 M 61 80 ff 7fffffffffffffff | M : 1009 UNSUPPORTED_MESSAGE_LENGTH"
    ),
    "1.1 16 bits for 5": 'S 81 fe 0005 | M "Hello" : 1002 NON_MINIMAL_PAYLOAD_LENGTH',
    "1.1 16 bits for 125": "S 81 fe 007d | M : 1002 NON_MINIMAL_PAYLOAD_LENGTH",
    "1.1 64 bits for 5": 'S 81 ff 0000000000000005 | M "Hello" : 1002 NON_MINIMAL_PAYLOAD_LENGTH',
    "1.1 64 bits for 65535": "S 81 ff 000000000000ffff | M : 1002 NON_MINIMAL_PAYLOAD_LENGTH",
    "1.1 16 bits for 1, to a client": "C 82 7e 0001 | aa : 1002 NON_MINIMAL_PAYLOAD_LENGTH",
    "1.4 fragmented ping": "S 09 80 | M : 1002 EXPECTED_FIN",
    "1.4 fragmented pong": "S 0a 80 | M : 1002 EXPECTED_FIN",
    "1.4 fragmented close": "S 08 80 | M : 1002 EXPECTED_FIN",
    "1.4 ping of 126": "S 89 fe | 007e M : 1002 INVALID_CONTROL_PAYLOAD_LENGTH",
    "1.4 ping of 64 bits": "S 89 ff | 0000000000010000 M : 1002 INVALID_CONTROL_PAYLOAD_LENGTH",
    "1.4 pong of 126": "S 8a fe | 007e M : 1002 INVALID_CONTROL_PAYLOAD_LENGTH",
    "1.5 close of 1": "S 88 81 | M 03 : 1002 INVALID_CONTROL_PAYLOAD_LENGTH",
    "1.5 close of 126": "S 88 fe | 007e M : 1002 INVALID_CONTROL_PAYLOAD_LENGTH",
    "1.5 bad reason": "S 88 84 M 03e8 c328 : 1007 INVALID_UTF8",
    "1.5 truncated reason": "S 88 83 M 03e8 c3 : 1007 INVALID_UTF8",
    "1.5 a surrogate in the reason": "S 88 85 M 03e8 eda080 : 1007 INVALID_UTF8",
    "1.6 fail fast in a fragment": "S 01 82 M eda0 | 80 81 M 80 : 1007 INVALID_UTF8",
    "1.6 fail fast in a frame": "S 81 8a M 48656c6c6f eda0 | 80 6161 : 1007 INVALID_UTF8",
    "1.6 surrogate": "S 81 83 M eda0 | 80 : 1007 INVALID_UTF8",
    "1.6 overlong": "S 81 82 M c0 | 80 : 1007 INVALID_UTF8",
    "1.6 above U+10FFFF": "S 81 84 M f490 | 8080 : 1007 INVALID_UTF8",
    "1.6 five bytes": "S 81 85 M f8 | 88808080 : 1007 INVALID_UTF8",
    "1.6 ff": "S 81 81 M ff : 1007 INVALID_UTF8",
    "1.6 continuation": "S 81 81 M 80 : 1007 INVALID_UTF8",
    "1.6 truncated": "S 81 82 M e282 : 1007 INVALID_UTF8",
    "1.6 truncated in the last fragment": "S 01 81 M c3 80 80 M : 1007 INVALID_UTF8",
    "1.6 truncated, to a client": "C 81 02 e282 : 1007 INVALID_UTF8",
    "1.7 RSV1": "S c1 80 | M : 1002 UNEXPECTED_RSV_1",
    "1.7 RSV2": "S a1 80 | M : 1002 UNEXPECTED_RSV_2_3",
    "1.7 RSV3": "S 91 80 | M : 1002 UNEXPECTED_RSV_2_3",
    "1.7 RSV1, 2 and 3": "S f1 80 | M : 1002 UNEXPECTED_RSV_2_3",
    "1.7 RSV1 on a ping": "S c9 80 | M : 1002 UNEXPECTED_RSV_1",
    "1.7 RSV1 on a continuation": "S 01 81 M 61 c0 80 | M : 1002 UNEXPECTED_RSV_1",
    "1.7 unmasked": 'S 81 05 | "Hello" : 1002 EXPECTED_MASK',
    "1.7 unmasked ping": "S 89 00 : 1002 EXPECTED_MASK",
    "1.7 unmasked close": "S 88 00 : 1002 EXPECTED_MASK",
    "1.7 masked": 'C 81 85 | M "Hello" : 1002 UNEXPECTED_MASK',
    "1.7 masked ping": "C 89 80 | M : 1002 UNEXPECTED_MASK",
    "1.7 masked continuation": "C 01 01 61 80 81 | M 61 : 1002 UNEXPECTED_MASK",
    "1.7 continuation of nothing": "S 80 80 | M : 1002 INVALID_OPCODE",
    "1.7 continuation of a whole message": "S 81 81 M 61 80 81 | M 61 : 1002 INVALID_OPCODE",
    "1.7 text inside a message": "S 01 81 M 61 81 81 | M 62 : 1002 INVALID_OPCODE",
    "1.7 binary inside a message": "S 01 81 M 61 02 81 | M 62 : 1002 INVALID_OPCODE",
}
REFUSED |= {
    f"1.5 close code {code}": f"S 88 82 M {code:04x} : 1002 INVALID_CLOSE_CODE"
    for code in (0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 1999, 2000, 2999, 5000, 65535)
}
REFUSED |= {
    f"1.7 opcode {opcode:x} fin {fin}": f"S {fin << 7 | opcode:02x} 80 | M : 1002 INVALID_OPCODE"
    for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)
    for fin in (0, 1)
}


def parse_case(case):
    """The role, the bytes that are enough, all of them, the stable code, and the close code."""
    data, answer = case[2:].split(" : ")
    close_code, code = answer.split()
    return case[0] == "C", wire(data.split("|")[0]), wire(data), f"WS_ERR_{code}", int(close_code)


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED)
def test_what_a_peer_must_not_send_is_refused_at_the_first_byte_that_shows_it(parser, case):
    """RX6, RX8, K5, F7, F12: lengths that are not in their shortest form too, which ws takes."""
    client, enough, whole, code, close_code = parse_case(case)
    for data in (enough, whole):
        for size in (len(data), 1, 3):
            for fragments in (False, True):
                reader = parser.FrameReader(client=client, fragments=fragments)
                _, error = read_error(reader, data, size)
                assert (error.code, error.close_code) == (code, close_code)
                assert reader.state == "finished"
    reader = parser.FrameReader(client=client)
    assert len(read(reader, enough[:-1])) <= 1


WORDS = {
    "f1 80": "Invalid WebSocket frame: RSV2 and RSV3 must be clear",
    "c1 80": "Invalid WebSocket frame: RSV1 must be clear",
    "83 80": "Invalid WebSocket frame: invalid opcode 3",
    "80 80": "Invalid WebSocket frame: invalid opcode 0",
    "09 80": "Invalid WebSocket frame: FIN must be set",
    "81 00": "Invalid WebSocket frame: MASK must be set",
    "89 fe": "Invalid WebSocket frame: invalid payload length 126",
    "88 81": "Invalid WebSocket frame: invalid payload length 1",
    "81 fe 0005": "Invalid WebSocket frame: payload length 5 is not in its shortest form",
    "82 ff 8000000000000000": (
        "Invalid WebSocket frame: the first bit of a 64-bit payload length must be clear"
    ),
    "88 82 M 03ed": "Invalid WebSocket frame: invalid status code 1005",
    "81 81 M ff": "Invalid WebSocket frame: invalid UTF-8 sequence",
    "82 ff 0000000000200000": "Frame size of 2097152 exceeds maximum of 1048576",
    "82 ff 7fffffffffffffff": "Frame size of 9223372036854775807 exceeds maximum of 1048576",
    "02 81 M 61 80 ff 7fffffffffffffff": (
        "Message size of 9223372036854775808 exceeds maximum of 1048576"
    ),
}


@pytest.mark.parametrize(("text", "words"), WORDS.items(), ids=WORDS)
def test_an_error_says_what_is_wrong(parser, text, words):
    _, error = read_error(parser.FrameReader(client=False), wire(text))
    assert str(error) == words
    _, error = read_error(parser.FrameReader(client=True), wire("81 80"))
    assert str(error) == "Invalid WebSocket frame: MASK must be clear"


ACCEPTED = {
    "1.1 truncated length waits": ("82 ff 00000000000080", []),
    "1.1 huge but legal, not yet complete": ("82 ff 7fffffffffffff", []),
    "1.1 126 bytes": ("82 fe 007e M" + "61" * 126, [(BINARY, b"a" * 126, True)]),
    "1.4 an unsolicited pong": ('8a 84 M "none"', [(PONG, b"none", True)]),
    "1.4 a ping of 125 bytes": ("89 fd M" + "70" * 125, [(PING, b"p" * 125, True)]),
    "1.4 a ping between fragments": (
        '01 81 M "a" 89 81 M "p" 80 81 M "b"',
        [(PING, b"p", True), (TEXT, "ab", True)],
    ),
    "1.5 an empty close": ("88 80 M", [(CLOSE, Close(1005, ""), True)]),
    "1.5 a close inside a fragmented message": (
        "01 81 M 61 88 82 M 03e8 80 81 M 62",
        [(CLOSE, Close(1000, ""), True)],
    ),
    "1.5 data after a close": ("88 82 M 03e8 81 81 M 61", [(CLOSE, Close(1000, ""), True)]),
    "1.5 a reason of 123 bytes": (
        "88 fd M 03e8" + "72" * 123,
        [(CLOSE, Close(1000, "r" * 123), True)],
    ),
    "1.6 a character in two fragments": ("01 81 M c3 80 81 M a9", [(TEXT, "é", True)]),
    "1.6 a character in four fragments": (
        "01 81 M f0 00 81 M 9f 00 81 M 98 80 81 M 80",
        [(TEXT, "😀", True)],
    ),
    "1.6 a ping inside a character": (
        "01 81 M c3 89 80 M 80 81 M a9",
        [(PING, b"", True), (TEXT, "é", True)],
    ),
    "1.6 NUL": ("81 81 M 00", [(TEXT, "\0", True)]),
    "1.6 a non-character": ("81 83 M efbfbe", [(TEXT, "\ufffe", True)]),
    "1.6 a non-character above the BMP": ("81 84 M f09fbfbf", [(TEXT, "\U0001ffff", True)]),
    "1.6 a BOM": ("81 83 M efbbbf", [(TEXT, "\ufeff", True)]),
    "1.6 anything in a binary message": ("82 83 M eda080", [(BINARY, b"\xed\xa0\x80", True)]),
    "1.6 anything in a ping": ("89 81 M ff", [(PING, b"\xff", True)]),
    "empty text": ("81 80 M", [(TEXT, "", True)]),
    "empty binary": ("82 80 37fa213d", [(BINARY, b"", True)]),
    "empty text in fragments": ("01 80 M 00 80 M 80 80 M", [(TEXT, "", True)]),
    "empty binary in fragments": ("02 80 M 80 80 M", [(BINARY, b"", True)]),
    "an empty last fragment": ('01 81 M "a" 80 80 M', [(TEXT, "a", True)]),
    "an empty first fragment": ('02 80 M 80 81 M "a"', [(BINARY, b"a", True)]),
    "a new key for each fragment": (
        "01 83 37fa213d 7f9f4d 80 82 01020304 6d6d",
        [(TEXT, "Hello", True)],
    ),
}
ACCEPTED |= {
    f"1.5 close code {code}": (f"88 82 M {code:04x}", [(CLOSE, Close(code, ""), True)])
    for code in (
        *(1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014),
        *(3000, 3999, 4000, 4999),
    )
}


@pytest.mark.parametrize(("text", "items"), ACCEPTED.values(), ids=ACCEPTED)
def test_what_a_peer_may_send_is_read_in_any_chunking(parser, text, items):
    """RX5, RX7, F2."""
    data = wire(text)
    for size in (len(data), 1, 2, 3):
        assert read(parser.FrameReader(client=False), data, size) == items
    unmasked = b"".join(
        frame(f.opcode, f.payload, fin=f.fin) for f in (read_frames(data) if items else [])
    )
    assert read(parser.FrameReader(client=True), unmasked) == items


def test_a_valid_message_before_a_bad_frame_is_handed_out_first(parser):
    for bad in ("c1 80 M", "83 80 M", "81 00", "80 80 M", "88 81 M 00", "81 81 M ff"):
        data = wire('81 81 M "a" 82 81 M "b"' + bad)
        for size in (len(data), 1):
            items, _ = read_error(parser.FrameReader(client=False), data, size)
            assert items == [(TEXT, "a", True), (BINARY, b"b", True)]


def test_the_checks_of_a_header_are_in_the_order_of_ws(parser):
    # Everything is wrong with the first; each next one has one mistake less.
    codes = {
        "79 7f": "WS_ERR_UNEXPECTED_RSV_2_3",
        "4b 7f": "WS_ERR_UNEXPECTED_RSV_1",
        "0b 7f": "WS_ERR_INVALID_OPCODE",
        "09 7f": "WS_ERR_EXPECTED_FIN",
        "89 7f": "WS_ERR_INVALID_CONTROL_PAYLOAD_LENGTH",
        "89 7d": "WS_ERR_EXPECTED_MASK",
    }
    for text, code in codes.items():
        _, error = read_error(parser.FrameReader(client=False), wire(text))
        assert error.code == code


def test_rx11_20_000_empty_frames_in_one_chunk_are_read_one_by_one(parser):
    """RX11, F13."""
    reader = parser.FrameReader(client=False)
    items = read(reader, wire("82 80 M") * 20_000)
    assert items == [(BINARY, b"", True)] * 20_000
    assert reader.frames_read == 20_000


def test_a_peer_cannot_raise_anything_but_protocol_errors(parser):
    rng = random.Random(1)
    errors = []
    for _ in range(3000):
        reader = parser.FrameReader(client=rng.random() < 0.5, max_size=rng.choice([None, 50]))
        try:
            read(reader, rng.randbytes(rng.randrange(40)), rng.choice([None, 1, 7]))
        except ProtocolError as error:
            errors.append(error)
    assert {error.close_code for error in errors} == {1002, 1007, 1009}
