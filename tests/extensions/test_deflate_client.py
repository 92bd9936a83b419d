"""What a client offers of permessage-deflate, and which responses it takes."""

import pytest
from deflating import HELLO, Message, recording_zlib

from wsfast.extensions.deflate import PerMessageDeflate
from wsfast.extensions.deflate_options import DEFAULT_WINDOW_BITS

SNCT, CNCT = "server_no_context_takeover", "client_no_context_takeover"
SMWB, CMWB = "server_max_window_bits", "client_max_window_bits"
REQUEST = "request_no_context_takeover"
# What a client without options sends with, if it is not told to take less.
OWN = DEFAULT_WINDOW_BITS

OFFERS = {
    "PD5 the default": ({}, {CMWB: True}),
    "PD2": ({SNCT: True}, {SNCT: True, CMWB: True}),
    "PD2 False is not to ask": ({SNCT: False}, {CMWB: True}),
    "PD3": ({CNCT: True}, {CNCT: True, CMWB: True}),
    "PD3 False": ({CNCT: False}, {CMWB: True}),
    "PD4": ({SMWB: 10}, {SMWB: 10, CMWB: True}),
    "PD4 False is not to ask": ({SMWB: False}, {CMWB: True}),
    "PD5 a number": ({CMWB: 11}, {CMWB: 11}),
    "PD5 a hint": ({CMWB: True}, {CMWB: True}),
    "PD5 not offered": ({CMWB: False}, {}),
    "all of it": (
        {SNCT: True, CNCT: True, SMWB: 10, CMWB: 11},
        {SNCT: True, CNCT: True, SMWB: 10, CMWB: 11},
    ),
    "no takeover": ({"no_context_takeover": True}, {CNCT: True, CMWB: True}),
    "a window": ({"max_window_bits": 9}, {CMWB: 9}),
    "no takeover of the server": ({REQUEST: True}, {SNCT: True, CMWB: True}),
    "a window of the server": ({"request_max_window_bits": 12}, {SMWB: 12, CMWB: True}),
    "a window that is only hinted at": ({"max_window_bits": 9, CMWB: True}, {CMWB: True}),
    "a window that is not told": ({"max_window_bits": 9, CMWB: False}, {}),
}

REFUSED = None

# Options, response, then window and takeover of what the client sends and receives.
RESPONSES = {
    "the default": ({}, {}, (OWN, True), (15, True)),
    "no takeover of the server": ({}, {SNCT: True}, (OWN, True), (15, False)),
    "no takeover of the client": ({}, {CNCT: True}, (OWN, False), (15, True)),
    "a window of the server": ({}, {SMWB: 8}, (OWN, True), (8, True)),
    "the server's window is no number of bits": ({}, {SMWB: 20}, REFUSED),
    "a window of the client, and 8 is compressed with 9": ({}, {CMWB: 8}, (9, True), (15, True)),
    "the client's window is no number of bits": ({}, {CMWB: 20}, REFUSED),
    "more than is needed": ({}, {CMWB: 15}, (OWN, True), (15, True)),
    "no takeover, though it is not acknowledged": (
        *({"no_context_takeover": True}, {}, (OWN, False), (15, True)),
    ),
    "a window, though it is not acknowledged": (
        *({"max_window_bits": 9}, {}, (9, True), (15, True)),
    ),
    "a window above that": ({"max_window_bits": 9}, {CMWB: 10}, REFUSED),
    "a window below that": ({"max_window_bits": 9}, {CMWB: 8}, (9, True), (15, True)),
    "a window as large as can be": ({"max_window_bits": 15}, {}, (15, True), (15, True)),
    "a hint is answered below the window": (
        *({"max_window_bits": 13, CMWB: True}, {CMWB: 12}, (12, True), (15, True)),
    ),
    "a hint is answered above the window": (
        *({"max_window_bits": 13, CMWB: True}, {CMWB: 14}, (13, True), (15, True)),
    ),
    "takeover, though none was requested": ({REQUEST: True}, {}, REFUSED),
    "none as requested": ({REQUEST: True}, {SNCT: True}, (OWN, True), (15, False)),
    "no window, though one was requested": ({"request_max_window_bits": 12}, {}, REFUSED),
    "a larger window than requested": ({"request_max_window_bits": 12}, {SMWB: 13}, REFUSED),
    "the window that was requested": (
        *({"request_max_window_bits": 12}, {SMWB: 12}, (OWN, True), (12, True)),
    ),
    "a smaller window than requested": (
        *({"request_max_window_bits": 12}, {SMWB: 11}, (OWN, True), (11, True)),
    ),
    "PD2 takeover, though none was required": ({SNCT: True}, {}, REFUSED),
    "PD2 none as required": ({SNCT: True}, {SNCT: True}, (OWN, True), (15, False)),
    "PD2 none, though it was not required": ({SNCT: False}, {SNCT: True}, (OWN, True), (15, False)),
    "PD3 advertised": ({CNCT: True}, {}, (OWN, False), (15, True)),
    "PD3 advertised and acknowledged": ({CNCT: True}, {CNCT: True}, (OWN, False), (15, True)),
    "PD3 the server demands what is refused": ({CNCT: False}, {CNCT: True}, REFUSED),
    "PD4 no window, though one was required": ({SMWB: 10}, {}, REFUSED),
    "PD4 a larger window than required": ({SMWB: 10}, {SMWB: 11}, REFUSED),
    "PD4 the window that was required": ({SMWB: 10}, {SMWB: 10}, (OWN, True), (10, True)),
    "PD4 a window that was not asked for": ({SMWB: False}, {SMWB: 10}, (OWN, True), (10, True)),
    "PD5 the own number where there is none": ({CMWB: 10}, {}, (10, True), (15, True)),
    "PD5 more than offered": ({CMWB: 10}, {CMWB: 11}, REFUSED),
    "PD5 as offered": ({CMWB: 10}, {CMWB: 10}, (10, True), (15, True)),
    "PD5 less than offered": ({CMWB: 10}, {CMWB: 9}, (9, True), (15, True)),
    "PD5 not offered": ({CMWB: False}, {CMWB: 10}, REFUSED),
    "PD5 not offered and not received": ({CMWB: False}, {}, (OWN, True), (15, True)),
    "PD11 a hint in a response": ({}, {CMWB: True}, REFUSED),
    "all of it": (
        {SNCT: True, CNCT: True, SMWB: 10, CMWB: 11},
        {SNCT: True, CNCT: True, SMWB: 10, CMWB: 11},
        *((11, False), (10, False)),
    ),
    "all of it, and nothing was asked": (
        {"max_window_bits": 15},
        {SNCT: True, CNCT: True, SMWB: 10, CMWB: 11},
        *((11, False), (10, False)),
    ),
}

ACCEPTED = {name: row for name, row in RESPONSES.items() if row[2] is not REFUSED}


@pytest.mark.parametrize("row", OFFERS.values(), ids=OFFERS)
def test_a_client_offers(row):
    options, offer = row
    session = PerMessageDeflate(**options).create_client_session()
    assert list(session.generate_offer().items()) == list(offer.items())


@pytest.mark.parametrize("row", RESPONSES.values(), ids=RESPONSES)
def test_a_response_is_taken_or_refused(row):
    options, response, *agreed = row
    session = PerMessageDeflate(**options).create_client_session()
    session.generate_offer()
    if agreed == [REFUSED]:
        assert session.activate(response) is False
        return
    assert session.activate(response) is True
    agreement = session.parameters
    assert [
        (agreement.window_bits, agreement.takeover),
        (agreement.peer_window_bits, agreement.peer_takeover),
    ] == agreed


@pytest.mark.parametrize("row", ACCEPTED.values(), ids=ACCEPTED)
def test_contexts_are_made_as_agreed_and_as_often(row):
    """PD15, PD16"""
    options, response, (window_bits, _), (peer_window_bits, peer_takeover) = row
    module, compressors, inflaters = recording_zlib()
    extension = PerMessageDeflate(**options, zlib=module, level=1, mem_level=2, strategy=3)
    session = extension.configure(threshold=0).create_client_session()
    assert session.activate(response)
    assert compressors == inflaters == []
    for _ in range(2):
        assert session.process_incoming_message(Message(HELLO, rsv1=True)).data == b"Hello"
        assert session.process_outgoing_message(Message(b"Hello")).rsv1
    # Without takeover it is the same one, which has forgotten the first message.
    assert compressors == [(1, 8, -window_bits, 2, 3)]
    assert inflaters == [(-peer_window_bits,)] * (1 if peer_takeover else 2)


BITS = ["08", "010", "+10", "1e1", "١٠", "", "abc", "10", 7, 16, 0, -8, 8.0, 10.5]
WRONG = [*BITS, [10, 10], [10, 12], [True, True], True, False]
FLAGS = [10, 0, 1, "true", "", False, [True, True]]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[(name, value) for name in (SMWB, CMWB) for value in WRONG],
        *[(name, value) for name in (SNCT, CNCT) for value in FLAGS],
        *[("foo", True), ("server_max_window_bit", 10), ("Client_Max_Window_Bits", 10)],
    ],
)
def test_a_wrong_parameter_is_refused(name, value):
    """PD11"""
    session = PerMessageDeflate().create_client_session()
    assert session.activate({name: value}) is False
    assert session.activate({SNCT: True, name: value}) is False


def test_a_session_that_was_refused_can_be_closed():
    session = PerMessageDeflate().create_client_session()
    session.close()
    assert session.activate({"foo": True}) is False
    session.close()
