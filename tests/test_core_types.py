"""The types in which messages are handed out, validation that is skipped, pings left unanswered."""

import asyncio

import pytest
from deflating import let_compress
from frames import BINARY, CONT, PING, PONG, TEXT, ZERO, close, frame, pieces
from twins import BACKENDS, make_connection, make_protocol

from wsfast.exceptions import ConcurrencyError
from wsfast.frames import Close

# A text in two fragments that are cut inside of a character.
EURO = frame(TEXT, b"\xe2\x82", fin=False, key=ZERO) + frame(CONT, b"\xac!", key=ZERO)
# A message in three fragments, of which one is empty.
PARTS = (
    frame(BINARY, b"\x01\x02", fin=False, key=ZERO)
    + frame(CONT, b"", fin=False, key=ZERO)
    + frame(CONT, b"\x03", key=ZERO)
)
WHOLE = frame(BINARY, b"\x04", key=ZERO)
TEXTS = frame(TEXT, "plain", key=ZERO) + frame(TEXT, "é", key=ZERO) + EURO

# What `binary_type` makes of PARTS and WHOLE.
BINARY_MESSAGES = {
    "bytes": [b"\x01\x02\x03", b"\x04"],
    "bytearray": [bytearray(b"\x01\x02\x03"), bytearray(b"\x04")],
    "memoryview": [memoryview(b"\x01\x02\x03"), memoryview(b"\x04")],
    "fragments": [[b"\x01\x02", b"", b"\x03"], [b"\x04"]],
}


@pytest.fixture(params=BACKENDS, ids=str)
def backend(request):
    return request.param


@pytest.fixture(params=["listener", "recv", "iteration", "batch"])
def take(request):
    """Takes the messages of bytes that come, in one of the ways that there are."""
    return {"listener": listened, "recv": received, "iteration": iterated, "batch": taken_at_once}[
        request.param
    ]


def listened(connection, data):
    got = []
    connection.message_listener = lambda message, is_binary: got.append(message)
    connection.received(data)
    return got


def in_task(connection, data, coroutine):
    """Let a task receive all messages of the data, which ends the connection."""
    task = connection.loop.create_task(coroutine)
    connection.loop.run_until_idle()
    connection.received(data)
    connection.loop.run_until_idle()
    connection.received(close(1000, key=ZERO))
    connection.loop.run_until_idle()
    return task.result()


def received(connection, data):
    async def receive():
        got = []
        while not connection.close_received:
            try:
                got.append(await connection.recv())
            except Exception:
                break
        return got

    return in_task(connection, data, receive())


def iterated(connection, data):
    async def receive():
        return [message async for message in connection]

    return in_task(connection, data, receive())


def taken_at_once(connection, data):
    async def receive():
        got = []
        while not connection.close_received:
            try:
                got += await connection.recv_batch()
            except Exception:
                break
        return got

    return in_task(connection, data, receive())


def recv(connection, decode=None):
    """The next message, which is there."""

    async def receive():
        return await connection.recv(decode)

    task = connection.loop.create_task(receive())
    connection.loop.run_until_idle()
    return task.result()


def same(got, expected):
    return got == expected and [type(item) for item in got] == [type(item) for item in expected]


# Binary messages


@pytest.mark.parametrize("binary_type", BINARY_MESSAGES)
def test_binary_messages_are_of_the_type_that_is_wanted(backend, take, binary_type):
    """W1, K4."""
    connection = make_connection(backend, binary_type=binary_type)
    assert connection.binary_type == binary_type
    assert same(take(connection, PARTS + WHOLE), BINARY_MESSAGES[binary_type])


@pytest.mark.parametrize("binary_type", BINARY_MESSAGES)
@pytest.mark.parametrize("size", [1, 2, 7])
def test_the_type_does_not_depend_on_how_the_bytes_come(backend, binary_type, size):
    connection = make_connection(backend, binary_type=binary_type)
    got = []
    connection.message_listener = lambda message, is_binary: got.append(message)
    for piece in pieces(PARTS + WHOLE, size):
        connection.received(piece)
    assert same(got, BINARY_MESSAGES[binary_type])


@pytest.mark.parametrize("binary_type", BINARY_MESSAGES)
def test_the_binary_type_is_nothing_to_text(backend, take, binary_type):
    """W1, K4."""
    connection = make_connection(backend, binary_type=binary_type)
    assert take(connection, TEXTS) == ["plain", "é", "€!"]


def test_the_binary_type_may_change_from_one_message_to_the_next(backend):
    """W1, K4."""
    connection = make_connection(backend)
    got = []

    def listener(message, is_binary):
        got.append(message)
        connection.binary_type = types.pop(0)

    types = ["fragments", "bytearray", "memoryview", "bytes"]
    expected = [BINARY_MESSAGES[name][0] for name in ["bytes", *types[:3]]]
    connection.message_listener = listener
    for _ in expected:
        connection.received(PARTS)
    assert same(got, expected)


def test_the_binary_type_may_change_inside_of_a_message(backend):
    connection = make_connection(backend)
    connection.received(PARTS[:8])
    connection.binary_type = "fragments"
    connection.received(PARTS[8:])
    assert b"".join(recv(connection)) == b"\x01\x02\x03"


@pytest.mark.parametrize("name", ["binary_type", "text_type"])
def test_an_unknown_type_is_refused_and_changes_nothing(backend, name):
    """W1: ws ignores it."""
    connection = make_connection(backend)
    before = getattr(connection, name)
    with pytest.raises(ValueError, match=f"{name} must be .* not 'blob'"):
        setattr(connection, name, "blob")
    with pytest.raises(TypeError, match=f"{name} must be a str"):
        setattr(connection, name, None)
    assert getattr(connection, name) == before


def test_a_listener_gets_a_message_of_more_fragments_than_the_queue_takes(backend):
    connection = make_connection(backend, binary_type="fragments", max_queue=2)
    got = []
    connection.message_listener = lambda message, is_binary: got.append(message)
    connection.received(frame(BINARY, b"0", fin=False, key=ZERO))
    for number in range(1, 9):
        connection.received(frame(CONT, b"%d" % number, fin=False, key=ZERO))
    assert connection.is_reading
    connection.received(frame(CONT, b"9", key=ZERO) + WHOLE)
    assert got == [[b"%d" % number for number in range(10)], [b"\x04"]]


def test_fragments_that_nobody_receives_pause_reading(backend):
    connection = make_connection(backend, binary_type="fragments", max_queue=2)
    for _ in range(2):
        connection.received(WHOLE)
    assert not connection.is_reading
    assert recv(connection) == [b"\x04"]
    assert recv(connection) == [b"\x04"]
    connection.loop.run_until_idle()
    assert connection.is_reading


def test_what_came_before_a_listener_was_attached_is_of_the_type_that_is_wanted_then(backend):
    connection = make_connection(backend)
    connection.received(PARTS + TEXTS)
    connection.binary_type = "bytearray"
    connection.text_type = "bytes"
    got = []
    connection.message_listener = lambda *message: got.append(message)
    connection.deliver_soon()
    connection.loop.run_until_idle()
    assert got == [
        (bytearray(b"\x01\x02\x03"), True),
        (b"plain", False),
        ("é".encode(), False),
        ("€!".encode(), False),
    ]


def test_discard_drops_messages_of_all_types(backend):
    connection = make_connection(backend, binary_type="fragments", text_type="bytes")
    got = []
    connection.message_listener = lambda *message: got.append(message)
    connection.received(PARTS[:8])
    connection.discard()
    connection.received(PARTS[8:] + TEXTS + PARTS)
    assert got == []


def test_the_listener_still_excludes_recv(backend):
    connection = make_connection(backend, binary_type="fragments")
    connection.message_listener = print
    with pytest.raises(ConcurrencyError):
        recv(connection)


# Text


def test_text_may_be_handed_out_as_bytes(backend, take):
    connection = make_connection(backend, text_type="bytes")
    assert connection.text_type == "bytes"
    assert take(connection, TEXTS) == [b"plain", "é".encode(), "€!".encode()]


def test_a_listener_is_told_that_bytes_are_text(backend):
    connection = make_connection(backend, text_type="bytes")
    got = []
    connection.message_listener = lambda *message: got.append(message)
    connection.received(EURO + WHOLE)
    assert got == [("€!".encode(), False), (b"\x04", True)]


@pytest.mark.parametrize("text_type", ["str", "bytes"])
@pytest.mark.parametrize("binary_type", ["bytes", "bytearray", "memoryview", "fragments"])
def test_what_recv_is_asked_for_wins(backend, text_type, binary_type):
    connection = make_connection(backend, text_type=text_type, binary_type=binary_type)
    connection.received((EURO + PARTS) * 2)
    got = [recv(connection, True), recv(connection, True)]
    got += [recv(connection, False), recv(connection, False)]
    assert same(got, ["€!", "\1\2\3", "€!".encode(), b"\1\2\3"])


@pytest.mark.parametrize("text_type", ["str", "bytes"])
@pytest.mark.parametrize("binary_type", ["bytes", "fragments"])
def test_text_is_validated_in_all_types(backend, text_type, binary_type):
    for bad in (b"\xff", b"ok\xc3", b"\xed\xa0\x80"):
        for data in (
            frame(TEXT, bad, key=ZERO),
            frame(TEXT, bad[:1], fin=False, key=ZERO) + frame(CONT, bad[1:], key=ZERO),
        ):
            for size in (1, 100):
                connection = make_connection(backend, text_type=text_type, binary_type=binary_type)
                for piece in pieces(data, size):
                    connection.received(piece)
                assert connection.close_sent.code == 1007, bad


@pytest.mark.parametrize("text_type", ["str", "bytes"])
def test_compressed_messages_are_of_the_type_that_is_wanted(backend, text_type):
    sender = make_protocol(backend, client=True, fragment_size=2)
    let_compress(backend, sender, threshold=0)
    sender.message("€€ and €€")
    sender.message(b"\1\2\3 and \1\2\3")
    connection = make_connection(backend, text_type=text_type, binary_type="fragments")
    let_compress(backend, connection)
    got = []
    connection.message_listener = lambda *message: got.append(message)
    for piece in pieces(sender.sent, 3):
        connection.received(piece)
    (text, _), (parts, is_binary) = got
    assert text == ("€€ and €€" if text_type == "str" else "€€ and €€".encode())
    assert type(parts) is list
    assert len(parts) > 2
    assert b"".join(parts) == b"\1\2\3 and \1\2\3"
    assert is_binary is True


# Validation that is skipped

BAD = b"a\xff\xe2\x82z"
REPLACED = "a\ufffd\ufffdz"


@pytest.mark.parametrize(("text_type", "expected"), [("str", REPLACED), ("bytes", BAD)])
@pytest.mark.parametrize("cut", [None, 1, 3, 4])
@pytest.mark.parametrize("binary_type", ["bytes", "fragments"])
@pytest.mark.parametrize("size", [1, 1000])
def test_text_need_not_be_valid(backend, text_type, expected, cut, binary_type, size):
    """C20."""
    connection = make_connection(
        backend, skip_utf8_validation=True, text_type=text_type, binary_type=binary_type
    )
    data = frame(TEXT, BAD, key=ZERO)
    if cut is not None:
        data = frame(TEXT, BAD[:cut], fin=False, key=ZERO) + frame(CONT, BAD[cut:], key=ZERO)
    for piece in pieces(data * 4, size):
        connection.received(piece)
    assert recv(connection) == expected
    assert recv(connection, True) == REPLACED
    assert recv(connection, False) == BAD
    got = []
    connection.message_listener = lambda *message: got.append(message)
    connection.deliver_soon()
    connection.loop.run_until_idle()
    assert got == [(expected, False)]
    assert connection.close_sent is None


def test_what_is_valid_is_handed_out_as_it_is(backend, take):
    """C20."""
    connection = make_connection(backend, skip_utf8_validation=True)
    assert take(connection, TEXTS) == ["plain", "é", "€!"]


def test_inflated_text_need_not_be_valid(backend):
    sender = make_protocol(backend, client=True)
    let_compress(backend, sender, threshold=0)
    sender.message(BAD)
    data = bytearray(sender.sent)
    data[0] ^= TEXT ^ BINARY
    connection = make_connection(backend, skip_utf8_validation=True)
    let_compress(backend, connection)
    connection.received(data)
    assert recv(connection) == REPLACED


@pytest.mark.parametrize("client", [True, False])
def test_the_reason_of_a_close_frame_need_not_be_valid(backend, client):
    key = None if client else ZERO
    connection = make_connection(backend, client=client, skip_utf8_validation=True)
    connection.received(close(3000, b"why\xff", key=key))
    assert connection.close_received == Close(3000, "why\ufffd")
    assert connection.error is None
    assert connection.driver.frames[-1].payload == b"\x0b\xb8" + "why\ufffd".encode()


def test_a_reason_that_got_longer_is_cut_in_the_answer(backend):
    connection = make_connection(backend, skip_utf8_validation=True)
    connection.received(close(3000, b"\xff" * 123, key=ZERO))
    assert connection.close_received.reason == "\ufffd" * 123
    assert connection.close_sent == Close(3000, "\ufffd" * 41)
    assert len(connection.driver.frames[-1].payload) == 125


def test_by_default_the_reason_must_be_valid(backend):
    connection = make_connection(backend)
    connection.received(close(3000, b"why\xff", key=ZERO))
    assert connection.close_sent.code == 1007


# Pings


def test_pings_need_not_be_answered(backend):
    connection = make_connection(backend, auto_pong=False)
    connection.received(frame(PING, b"1", key=ZERO))
    assert connection.events == [("ping", b"1")]
    assert connection.driver.frames == []
    connection.pong(b"1")
    connection.loop.run_until_idle()
    assert [(item.opcode, item.payload) for item in connection.driver.frames] == [(PONG, b"1")]


def test_nobody_is_called_for_pings_if_nobody_listens(backend):
    connection = make_connection(backend)
    connection.tells_pings = False
    connection.received(frame(PING, b"1", key=ZERO) + frame(PONG, b"2", key=ZERO))
    assert connection.events == [("pong", b"2")]
    assert [(item.opcode, item.payload) for item in connection.driver.frames] == [(PONG, b"1")]
    assert connection.pings_received == 1


async def test_types_hold_on_a_real_loop(backend):
    connection = make_connection(backend, loop=asyncio.get_running_loop(), binary_type="fragments")
    receiving = asyncio.create_task(connection.recv())
    await asyncio.sleep(0)
    asyncio.get_running_loop().call_soon(connection.received, PARTS)
    assert await receiving == [b"\x01\x02", b"", b"\x03"]
