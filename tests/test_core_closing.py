"""The closing handshake (RFC 6455 sections 5.5.1 and 7), for both sides and on both backends.

The ids L1 to L15 are those of the rules for the life of a connection in `ws`.
"""

import array
import gc

import pytest
from frames import BINARY, CLOSE, CONT, PING, PONG, TEXT, ZERO, close, frame, read_frames, wire
from twins import BACKENDS, make_connection, make_protocol

from wsfast.exceptions import (
    ConnectionClosed,
    ConnectionClosedError,
    ConnectionClosedOK,
    NetworkError,
    PayloadTooBig,
    ProtocolError,
    connection_closed,
)
from wsfast.frames import Close, CloseCode, State
from wsfast.options import Options

VALID_CODES = (
    *(1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014),
    *(3000, 3999, 4000, 4999),
)


@pytest.fixture(params=BACKENDS, ids=str)
def backend(request):
    return request.param


@pytest.fixture(params=[True, False], ids=["client", "server"])
def client(request):
    return request.param


def from_peer(client):
    """The masking key of what comes to this side."""
    return {"key": None if client else ZERO}


def from_us(client):
    """The masking key of what this side sends."""
    return {"key": ZERO if client else None}


# The peer begins


@pytest.mark.parametrize("code", VALID_CODES)
def test_l6_the_code_and_the_reason_of_a_close_frame_are_echoed(backend, client, code):
    """L6, K5: every code that may travel."""
    for reason in ("", "because €"):
        protocol = make_protocol(backend, client=client)
        protocol.receive(close(code, reason, **from_peer(client)))
        assert protocol.sent == close(code, reason, **from_us(client))
        assert protocol.close_received == protocol.close_sent == Close(code, reason)
        assert (protocol.close_code, protocol.close_reason) == (code, reason)
        assert protocol.state is State.CLOSING
        assert protocol.error is None
        protocol.receive_eof()
        assert protocol.state is State.CLOSED
        assert (protocol.close_code, protocol.close_reason) == (code, reason)


def test_l6_an_empty_close_frame_is_echoed_as_empty_and_reads_as_1005(backend, client):
    """L6: and nothing else."""
    protocol = make_protocol(backend, client=client)
    protocol.receive(wire("88 00") if client else wire("88 80 M"))
    assert protocol.sent == (wire("88 80 M") if client else wire("88 00"))
    assert (protocol.close_code, protocol.close_reason) == (1005, "")
    assert protocol.close_sent == Close(1005, "")


def test_the_server_ends_the_stream_after_the_handshake_and_the_client_waits_for_that(backend):
    """L18."""
    protocol = make_protocol(backend, client=False)
    protocol.receive(close(1000, key=ZERO))
    echo = ("sent", CLOSE, b"\x03\xe8")
    assert protocol.events == [echo, "closing", ("close", Close(1000, "")), "end"]
    protocol = make_protocol(backend, client=True)
    protocol.receive(close(1000))
    assert protocol.events == [echo, "closing", ("close", Close(1000, ""))]
    protocol.receive_eof()
    assert protocol.events[3:] == ["end", "closed"]


def test_l7_what_follows_a_close_frame_is_ignored_but_counted(backend, client):
    """L7: whatever it is."""
    protocol = make_protocol(backend, client=client)
    more = frame(TEXT, "more", **from_peer(client))
    parts = [close(1000, **from_peer(client)) + more, more, b"\xff\xff\xff"]
    protocol.receive(parts[0])
    seen = len(protocol.events)
    protocol.receive(parts[1])
    protocol.receive(parts[2])
    assert protocol.events[seen:] == []
    assert protocol.messages_received == 0
    assert protocol.frames_received == 1
    assert protocol.wire_bytes_received == sum(len(part) for part in parts)


def test_a_close_inside_a_fragmented_message_is_echoed_normally(backend, client):
    protocol = make_protocol(backend, client=client)
    key = from_peer(client)
    protocol.receive(frame(TEXT, "a", fin=False, **key) + close(1000, **key))
    assert protocol.sent == close(1000, **from_us(client))
    assert protocol.messages_received == 0


# We begin


def test_l1_close_changes_the_state_at_once_and_writes_a_frame(backend, client):
    """L1: at the call."""
    protocol = make_protocol(backend, client=client)
    assert (protocol.close_code, protocol.close_reason) == (None, None)
    protocol.close(1001, "going")
    assert protocol.state is State.CLOSING
    assert protocol.sent == close(1001, "going", **from_us(client))
    assert protocol.events == [("sent", CLOSE, b"\x03\xe9going"), "closing"]
    assert protocol.close_sent == Close(1001, "going")
    assert (protocol.close_code, protocol.close_reason) == (None, None)


def test_l3_no_code_is_an_empty_close_frame(backend):
    """L3: masked by a client."""
    protocol = make_protocol(backend, client=False)
    protocol.close(None)
    assert protocol.sent == wire("88 00")
    protocol = make_protocol(backend, client=True)
    protocol.close(None)
    assert protocol.sent == wire("88 80 M")
    assert protocol.close_sent == Close(1005, "")


def test_the_default_code_is_1000(backend):
    protocol = make_protocol(backend)
    protocol.close()
    assert protocol.sent == wire("88 02 03e8")


@pytest.mark.parametrize("code", [*VALID_CODES, CloseCode.GOING_AWAY], ids=str)
def test_every_code_that_may_travel_can_be_sent(backend, code):
    """K5, W14: 1000 to 1003, 1007 to 1014, 3000 to 4999."""
    protocol = make_protocol(backend)
    protocol.close(code, "r" * 123)
    assert protocol.sent == close(code, "r" * 123)
    assert type(protocol.close_sent.code) is int


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ((1005,), ValueError, "code must be 1000 to 1014 but not 1004 to 1006, or 3000 to 4999"),
        ((1006,), ValueError, "not 1006"),
        ((1004,), ValueError, "not 1004"),
        ((1015,), ValueError, "not 1015"),
        ((999,), ValueError, "not 999"),
        ((2999,), ValueError, "not 2999"),
        ((5000,), ValueError, "not 5000"),
        ((0,), ValueError, "not 0"),
        ((-1,), ValueError, "not -1"),
        ((2**64,), ValueError, "not 18446744073709551616"),
        (("1000",), TypeError, "code must be an int or None, not str"),
        ((True,), TypeError, "code must be an int or None, not bool"),
        ((1000.0,), TypeError, "code must be an int or None, not float"),
        ((1000, "r" * 124), ValueError, "reason must be at most 123 bytes of UTF-8"),
        ((1000, "€" * 41 + "r"), ValueError, "reason must be at most 123 bytes of UTF-8"),
        ((None, "why"), ValueError, "a close reason needs a code"),
        ((1000, None), TypeError, "reason must be a str, not NoneType"),
        ((1000, b"why"), TypeError, "reason must be a str, not bytes"),
        ((1000, bytearray(8)), TypeError, "reason must be a str, not bytearray"),
        ((1000, memoryview(b"why")), TypeError, "reason must be a str, not memoryview"),
        ((1000, array.array("f", [1])), TypeError, "reason must be a str, not array"),
        ((1000, "\ud800"), UnicodeEncodeError, "surrogates not allowed"),
    ],
    ids=lambda value: repr(value)[:40] if isinstance(value, tuple) else "",
)
def test_l4_bad_arguments_change_nothing(backend, arguments, error, words):
    """L4, L5, K5, W14: what is wrong is named."""
    for make in (make_protocol, make_connection):
        target = make(backend)
        with pytest.raises(error, match=words):
            target.close(*arguments)
        assert target.state is State.OPEN
        assert target.close_sent is None
        assert target.events == []
        target.message("still usable")
        target.close()
        assert target.state is State.CLOSING
        with pytest.raises(error, match=words):
            target.close(*arguments)


def test_l8_messages_are_delivered_until_the_close_frame_of_the_peer(backend, client):
    """L8: in the state CLOSING."""
    protocol = make_protocol(backend, client=client)
    key = from_peer(client)
    protocol.close(1000)
    sent = protocol.sent
    protocol.receive(frame(TEXT, "late", **key) + frame(PING, b"p", **key))
    assert protocol.events[2:] == [(TEXT, "late", True), ("ping", b"p")]
    assert protocol.close_code is None
    protocol.receive(close(1001, "bye", **key))
    assert protocol.sent == sent  # neither a pong nor another close frame
    assert protocol.events[4:] == [("close", Close(1001, "bye")), *([] if client else ["end"])]
    assert protocol.close_code == 1001
    assert protocol.state is State.CLOSING


def test_l9_another_close_does_nothing(backend, client):
    """L9: in no state."""
    for make in (make_protocol, make_connection):
        target = make(backend, client=client)
        target.close(1000, "first")
        target.close(1001, "second")
        assert target.close_sent == Close(1000, "first")
        (target.receive if make is make_protocol else target.received)(
            close(1000, **from_peer(client))
        )
        target.close(1001, "third")
        target.receive_eof() if make is make_protocol else target.lost(None)
        seen = list(target.events)
        target.close(1001, "fourth")
        assert target.events == seen
        assert target.state is State.CLOSED
        assert target.close_sent == Close(1000, "first")
        assert target.frames_sent == 1


def test_close_frames_that_cross_are_one_each(backend, client):
    protocol = make_protocol(backend, client=client)
    protocol.close(1000, "ours")
    protocol.receive(close(4000, "theirs", **from_peer(client)))
    assert protocol.frames_sent == 1
    assert protocol.close_received == Close(4000, "theirs")
    assert protocol.close_sent == Close(1000, "ours")
    error = protocol.closed_error()
    assert (error.rcvd_then_sent, error.close_code, error.reason) == (False, 4000, "theirs")


def test_after_close_nothing_is_sent(backend, client):
    """W9."""
    protocol = make_protocol(backend, client=client)
    protocol.close()
    sent = protocol.sent
    for call in (protocol.message, protocol.ping, protocol.pong):
        with pytest.raises(ConnectionClosed, match="sent 1000"):
            call(b"data")
    protocol.receive(frame(PING, **from_peer(client)))
    assert protocol.sent == sent
    assert protocol.messages_sent == 0


# The end of the stream


def test_l13_the_end_of_the_stream_without_a_close_frame_is_1006(backend, client):
    """L13: on both sides."""
    protocol = make_protocol(backend, client=client)
    protocol.receive_eof()
    assert protocol.events == ["end", "closed"]
    assert (protocol.close_code, protocol.close_reason) == (1006, "")
    assert str(protocol.closed_error()) == "no close frame received or sent"
    protocol.receive_eof()
    assert protocol.events == ["end", "closed"]


def test_l13_a_connection_answers_the_half_close_of_its_peer(backend, client):
    """L13: by the end of its own stream."""
    connection = make_connection(backend, client=client)
    connection.send("before")
    assert connection.eof() is False
    assert connection.driver.names() == ["write", "shutdown_write"]
    assert connection.state is State.CLOSING
    assert connection.events == ["closing"]
    assert connection.close_code is None
    connection.lost(None)
    assert connection.events == ["closing", "closed"]
    assert (connection.close_code, connection.close_reason) == (1006, "")
    assert connection.error is None


def test_an_incomplete_message_is_not_delivered_at_the_end(backend, client):
    protocol = make_protocol(backend, client=client)
    protocol.receive(frame(TEXT, "whole", **from_peer(client))[:-1])
    protocol.receive_eof()
    assert protocol.events == ["end", "closed"]


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (ConnectionResetError(104, "Connection reset by peer"), "ECONNRESET", "reset by peer"),
        (BrokenPipeError(32, "Broken pipe"), "EPIPE", "Broken pipe"),
        (TimeoutError(), "WS_ERR_NETWORK", "TimeoutError"),
    ],
    ids=["reset", "pipe", "without a number"],
)
def test_a_lost_transport_is_1006_and_the_error_is_kept(backend, client, error, code, words):
    connection = make_connection(backend, client=client)
    connection.lost(error)
    assert connection.close_code == 1006
    assert type(connection.error) is NetworkError
    assert connection.error.code == code
    assert words in str(connection.error)
    assert connection.error.__cause__ is error
    assert connection.closed_error().__cause__ is connection.error
    connection.lost(None)
    connection.received(frame(TEXT, **from_peer(client)))
    assert connection.events == ["closed"]


def test_a_reset_after_the_close_frame_of_the_peer_is_no_error(backend, client):
    connection = make_connection(backend, client=client)
    connection.received(close(1000, **from_peer(client)))
    connection.lost(ConnectionResetError(104, "Connection reset by peer"))
    assert connection.error is None
    assert type(connection.closed_error()) is ConnectionClosedOK


def test_l14_what_was_read_before_the_end_is_delivered_before_it(backend, client):
    """L14: also what waits because of a pause."""
    connection = make_connection(backend, client=client)
    connection.message_listener = lambda data, is_binary: connection.events.append(data)
    connection.pause()
    key = from_peer(client)
    stream = b"".join(frame(TEXT, str(i), **key) for i in range(343))
    connection.received(stream + close(1001, **key))
    assert connection.events == []
    connection.lost(None)
    assert connection.events[:343] == [str(i) for i in range(343)]
    assert connection.events[-1] == "closed"
    assert connection.close_code == 1001


def test_l15_what_was_sent_before_leaves_before_the_close_frame(backend, client):
    """L15: in order."""
    connection = make_connection(backend, client=client)
    for i in range(5):
        connection.send(str(i))
    connection.close()
    payloads = [item.payload for item in connection.driver.frames]
    assert payloads == [b"0", b"1", b"2", b"3", b"4", b"\x03\xe8"]


def test_l15_what_is_corked_leaves_before_the_close_frame(backend, client):
    """L15: a cork holds nothing longer."""
    connection = make_connection(backend, client=client)
    with connection.cork():
        connection.send("a")
        connection.close()
        assert connection.driver.calls == []
    assert [item.payload for item in connection.driver.frames] == [b"a", b"\x03\xe8"]


@pytest.mark.parametrize("how", ["error", "close", "eof"])
def test_nothing_is_written_behind_the_end_of_the_stream(backend, how):
    connection = make_connection(backend)
    with connection.cork():
        connection.send("a")
        if how == "error":
            connection.fail(ProtocolError("wrong"))
        elif how == "close":
            connection.received(close(1000, key=ZERO))
        else:
            connection.eof()
    connection.loop.run_until_idle()
    assert connection.driver.names() == ["write", "shutdown_write"]
    assert connection.driver.frames[0].opcode == TEXT


# Errors of the peer

ERRORS = {
    # the table of section 1.9 of our notes on ws
    "WS_ERR_UNEXPECTED_RSV_2_3": ("91 80 M", 1002),
    "WS_ERR_UNEXPECTED_RSV_1": ("c1 80 M", 1002),
    "WS_ERR_INVALID_OPCODE": ("83 80 M", 1002),
    "WS_ERR_EXPECTED_FIN": ("09 80 M", 1002),
    "WS_ERR_INVALID_CONTROL_PAYLOAD_LENGTH": ("89 fe", 1002),
    "WS_ERR_EXPECTED_MASK": ("81 00", 1002),
    "WS_ERR_NON_MINIMAL_PAYLOAD_LENGTH": ("81 fe 0005", 1002),
    "WS_ERR_NEGATIVE_PAYLOAD_LENGTH": ("81 ff 8000000000000000", 1002),
    "WS_ERR_UNSUPPORTED_MESSAGE_LENGTH": ("81 ff 0000000000100001", 1009),
    "WS_ERR_TOO_MANY_BUFFERED_PARTS": ("01 80 M 00 80 M 00 80 M 00 80 M", 1009),
    "WS_ERR_INVALID_CLOSE_CODE": ("88 82 M 03ed", 1002),
    "WS_ERR_INVALID_UTF8": ("81 81 M ff", 1007),
}


@pytest.mark.parametrize("code", ERRORS)
def test_l11_an_error_of_the_peer_is_answered_with_its_code_and_reading_stops(backend, code):
    """L11: 1002, 1007 or 1009, the last also where ws has 1008."""
    text, close_code = ERRORS[code]
    connection = make_connection(backend, max_fragments=3)
    got = []
    connection.message_listener = lambda data, is_binary: got.append(data)
    connection.received(wire(text))
    assert connection.error.code == code
    assert connection.error.close_code == close_code
    assert connection.close_sent == Close(close_code, str(connection.error))
    assert connection.driver.sent == close(close_code, str(connection.error))
    assert connection.driver.names() == ["write", "shutdown_write"]
    assert connection.state is State.CLOSING
    assert connection.events == ["closing"]
    # Neither a message nor the close frame of the peer is of interest now.
    connection.received(wire('81 81 M "a" 88 82 M 03ea'))
    connection.eof()
    connection.lost(None)
    assert got == []
    assert connection.close_received is None
    assert (connection.close_code, connection.close_reason) == (1006, "")
    error = connection.closed_error()
    assert type(error) is ConnectionClosedError
    assert error.__cause__ is connection.error
    assert connection.events == ["closing", "closed"]


def test_l11_a_client_refuses_masked_frames(backend):
    """L11, F12."""
    protocol = make_protocol(backend, client=True)
    protocol.receive(wire('81 85 M "Hello"'))
    assert protocol.error.code == "WS_ERR_UNEXPECTED_MASK"
    assert read_frames(protocol.sent)[0].payload[:2] == b"\x03\xea"
    assert protocol.events[-1] == "end"


def test_l12_errors_in_both_directions_close_cleanly(backend):
    """L12: 1006 on both sides."""
    client, server = make_protocol(backend, client=True), make_protocol(backend, client=False)
    client.receive(wire("85 00"))
    server.receive(wire("85 00"))
    from_client, from_server = client.sent, server.sent
    client.receive(from_server)
    server.receive(from_client)
    for protocol in (client, server):
        protocol.receive_eof()
        assert protocol.frames_sent == 1
        assert protocol.close_code == 1006
        assert protocol.error.code == "WS_ERR_INVALID_OPCODE"


def test_an_error_after_our_close_frame_sends_no_other(backend, client):
    protocol = make_protocol(backend, client=client)
    protocol.close(1000)
    protocol.receive(wire("83 00") if client else wire("83 80"))
    assert protocol.frames_sent == 1
    assert protocol.error.code == "WS_ERR_INVALID_OPCODE"
    assert protocol.events[-1] == "end"
    assert protocol.close_sent == Close(1000, "")


def test_the_reason_of_an_error_is_cut_at_a_character(backend):
    protocol = make_protocol(backend)
    protocol.fail(ProtocolError("x" + "€" * 60))
    assert protocol.close_sent == Close(1002, "x" + "€" * 40)
    assert len(protocol.sent) == 2 + 2 + 121


@pytest.mark.parametrize(
    ("error", "code", "reason"),
    [
        (ValueError("oops"), 1011, "oops"),
        (PayloadTooBig(2, 1), 1009, "Frame size of 2 exceeds maximum of 1"),
        (connection_closed(None, None, None), 1011, "no close frame received or sent"),
        (
            connection_closed(Close(1005, ""), None, None),
            *(1011, "received 1005 (no status received [internal]); no close frame sent"),
        ),
        (ValueError("\ud800"), 1011, "?"),
    ],
    ids=["any", "with a code", "1006", "1005", "a surrogate"],
)
def test_any_error_can_end_a_connection_and_only_codes_that_may_travel_do(
    backend, error, code, reason
):
    for make in (make_protocol, make_connection):
        target = make(backend)
        target.fail(error)
        assert target.close_sent == Close(code, reason)
        assert target.error is error
        assert target.state is State.CLOSING
        target.fail(ValueError("another"))
        assert target.error is error
        assert target.frames_sent == 1


def test_the_first_error_is_the_one_that_is_told(backend):
    """EV5."""
    connection = make_connection(backend)
    connection.fail(ValueError("first"))
    connection.abort(ValueError("second"))
    connection.lost(OSError(104, "third"))
    assert str(connection.error) == "first"
    connection = make_connection(backend)
    connection.lost(OSError(104, "first"))
    connection.fail(ValueError("second"))
    connection.abort(ValueError("third"))
    assert connection.error.code == "ECONNRESET"
    assert connection.driver.calls == []


def test_what_waits_to_be_read_is_given_up_when_a_connection_fails(backend):
    connection = make_connection(backend)
    connection.message_listener = lambda data, is_binary: connection.fail(ValueError("enough"))
    connection.received(frame(TEXT, "a", key=ZERO) * 600)
    assert connection.messages_received == 1
    assert connection.loop.run_until_idle() == 0
    assert connection.driver.names() == ["write", "shutdown_write"]
    assert connection.is_reading  # to find the end of the stream


def test_what_follows_a_close_frame_in_a_later_turn_is_given_up(backend, client):
    connection = make_connection(backend, client=client)
    connection.message_listener = lambda data, is_binary: None
    key = from_peer(client)
    message = frame(TEXT, "a", **key)
    connection.received(message * 300 + close(1000, **key) + message * 600)
    connection.loop.run_until_idle()
    assert connection.messages_received == 300
    assert connection.is_reading
    names = connection.driver.names()
    assert names[:2] == ["pause", "write"]
    assert names[-1] == "resume"


def test_terminate_ends_at_once_without_a_close_frame(backend, client):
    """W15."""
    connection = make_connection(backend, client=client)
    with connection.cork():
        connection.send("held")
        connection.abort(ValueError("why"))
    assert connection.driver.calls == ["abort"]
    assert connection.state is State.CLOSING
    assert connection.events == ["closing"]
    connection.received(frame(TEXT, "late", **from_peer(client)))
    connection.lost(None)
    connection.abort()
    assert connection.events == ["closing", "closed"]
    assert connection.close_code == 1006
    assert str(connection.closed_error().__cause__) == "why"
    assert connection.messages_received == 0
    assert connection.driver.calls == ["abort"]
    assert connection.buffered_amount == 0


# What is told about the end


@pytest.mark.parametrize(
    ("rcvd", "sent", "first", "ok", "words"),
    [
        (None, None, None, False, "no close frame received or sent"),
        (None, 1000, None, False, "sent 1000 (OK); no close frame received"),
        (1000, None, None, False, "received 1000 (OK); no close frame sent"),
        (1000, 1000, True, True, "received 1000 (OK); then sent 1000 (OK)"),
        (1000, 1000, False, True, "sent 1000 (OK); then received 1000 (OK)"),
        (1001, 1001, True, True, "received 1001 (going away); then sent 1001 (going away)"),
        (
            *(1005, 1005, True, True),
            "received 1005 (no status received [internal]); "
            "then sent 1005 (no status received [internal])",
        ),
        (4000, 4000, True, False, "received 4000 (private use); then sent 4000 (private use)"),
        (1011, 1000, False, False, "sent 1000 (OK); then received 1011 (internal error)"),
    ],
)
def test_the_exception_tells_who_closed_and_whether_it_was_normal(
    backend, rcvd, sent, first, ok, words
):
    protocol = make_protocol(backend)
    steps = []
    if sent is not None and not (first and rcvd is not None):
        steps.append(lambda: protocol.close(None if sent == 1005 else sent))
    if rcvd is not None:
        steps.append(lambda: protocol.receive(close(None if rcvd == 1005 else rcvd, key=ZERO)))
    for step in steps:
        step()
    if rcvd is not None and sent is None:
        error = connection_closed(Close(rcvd, ""), None, None)
    else:
        error = protocol.closed_error()
    assert str(error) == words
    assert type(error) is (ConnectionClosedOK if ok else ConnectionClosedError)
    assert error.code == "WS_ERR_CONNECTION_CLOSED"
    assert error.close_code == (1006 if rcvd is None else rcvd)
    if rcvd is not None and sent is not None:
        assert error.rcvd_then_sent is first


def test_a_connection_that_is_gone_leaves_nothing_behind(backend, client):
    key = from_peer(client)

    class Marker:
        pass

    gc.collect()
    for _ in range(3):
        connection = make_connection(backend, client=client)
        marker = connection.marker = Marker()
        connection.message_listener = lambda data, is_binary, marker=marker: None
        connection.received(frame(BINARY, b"a", **key) * 3 + frame(CONT, **key)[:1])
        connection.ping(b"x")
        connection.received(frame(PONG, b"x", **key))
        connection.lost(None)
        del connection, marker
    gc.collect()
    assert not [item for item in gc.get_objects() if type(item) is Marker]


# Without a masking key


class NoKey(Exception):
    """Raised by the function that makes masking keys."""


def no_key():
    raise NoKey


@pytest.mark.parametrize("call", ["close", "fail", "receive", "send"])
def test_a_client_without_a_masking_key_ends_all_the_same(backend, call):
    base = type(make_protocol(backend))
    client = base(Options(), client=True, generate_mask=no_key)
    with pytest.raises(NoKey):
        if call == "close":
            client.close()
        elif call == "fail":
            client.fail(ValueError("no"))
        elif call == "receive":
            client.receive(frame(CONT, b"out of place"))
        else:
            client.message(b"data")
    if call == "send":
        assert client.state is State.OPEN
        return
    assert client.state is State.CLOSING
    assert client.events == (["closing"] if call == "close" else ["closing", "end"])
    assert client.sent == b""
    client.receive_eof()
    assert client.state is State.CLOSED
