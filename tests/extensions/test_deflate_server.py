"""What a server answers an offer of permessage-deflate. PD1 to PD12 are rows of the inventory."""

import pytest
from deflating import HELLO, Message, recording_zlib

from wsfast.extensions.deflate import PerMessageDeflate
from wsfast.extensions.deflate_options import DEFAULT_CLIENT_WINDOW_BITS, DEFAULT_WINDOW_BITS

SNCT, CNCT = "server_no_context_takeover", "client_no_context_takeover"
SMWB, CMWB = "server_max_window_bits", "client_max_window_bits"

# What a server without options does of its own.
OWN, ASKED = DEFAULT_WINDOW_BITS, DEFAULT_CLIENT_WINDOW_BITS
WIDE = {"max_window_bits": 15, "request_max_window_bits": 15}

DECLINED = None

# Options, offer, response, then window and takeover of what the server sends and receives.
RELATIVE = {
    "nothing is asked": (WIDE, {}, {}, (15, True), (15, True)),
    "the client asks for no server takeover": (
        *(WIDE, {SNCT: True}, {SNCT: True}, (15, False), (15, True)),
    ),
    "the client has no takeover": (WIDE, {CNCT: True}, {CNCT: True}, (15, True), (15, False)),
    "the client limits our window": (WIDE, {SMWB: 13}, {SMWB: 13}, (13, True), (15, True)),
    "the client's limit is no number of bits": (WIDE, {SMWB: 20}, DECLINED),
    "the client can limit its window": (WIDE, {CMWB: True}, {}, (15, True), (15, True)),
    "the client limits its window": (WIDE, {CMWB: 13}, {CMWB: 13}, (15, True), (13, True)),
    "the client's own limit is no number of bits": (WIDE, {CMWB: 20}, DECLINED),
    "the client limits its window to all of it": (WIDE, {CMWB: 15}, {}, (15, True), (15, True)),
    "no takeover of ours": (
        *(WIDE | {"no_context_takeover": True}, {}, {SNCT: True}, (15, False), (15, True)),
    ),
    "a window of ours is not announced": (
        *({"max_window_bits": 12}, {}, {}, (12, True), (15, True)),
    ),
    "a window of ours below what the client allows": (
        *({"max_window_bits": 12}, {SMWB: 13}, {SMWB: 12}, (12, True), (15, True)),
    ),
    "a window of ours above what the client allows": (
        *({"max_window_bits": 12}, {SMWB: 11}, {SMWB: 11}, (11, True), (15, True)),
    ),
    "the client must have no takeover": (
        *(WIDE | {"request_no_context_takeover": True}, {}, {CNCT: True}, (15, True), (15, False)),
    ),
    "a limit for a client that cannot": (
        *(WIDE | {"request_max_window_bits": 11}, {}, {}, (15, True), (15, True)),
    ),
    "a limit for a client that can": (
        *(WIDE | {"request_max_window_bits": 11}, {CMWB: True}, {CMWB: 11}, (15, True), (11, True)),
    ),
    "a limit below what the client offers": (
        *(WIDE | {"request_max_window_bits": 11}, {CMWB: 12}, {CMWB: 11}, (15, True), (11, True)),
    ),
    "a limit above what the client offers": (
        *(WIDE | {"request_max_window_bits": 11}, {CMWB: 10}, {CMWB: 10}, (15, True), (10, True)),
    ),
    "what is False is not asked": (
        WIDE | {"no_context_takeover": False, "request_no_context_takeover": False},
        *({}, {}, (15, True), (15, True)),
    ),
    "a window of 8 is compressed with 9": (WIDE, {SMWB: 8}, {SMWB: 8}, (9, True), (15, True)),
    "a window of 8 is inflated with 8": (WIDE, {CMWB: 8}, {CMWB: 8}, (15, True), (8, True)),
}

ABSOLUTE = {
    "PD1 no options": ({}, {}, {}, (OWN, True), (15, True)),
    "PD1 no options, a hint": (
        *({}, {CMWB: True}, {} if ASKED == 15 else {CMWB: ASKED}, (OWN, True), (ASKED, True)),
    ),
    "PD2 forced": ({SNCT: True}, {}, {SNCT: True}, (OWN, False), (15, True)),
    "PD2 forced and offered": ({SNCT: True}, {SNCT: True}, {SNCT: True}, (OWN, False), (15, True)),
    "PD2 refused": ({SNCT: False}, {SNCT: True}, DECLINED),
    "PD2 refused and not offered": ({SNCT: False}, {}, {}, (OWN, True), (15, True)),
    "PD3 forced": ({CNCT: True}, {}, {CNCT: True}, (OWN, True), (15, False)),
    "PD3 offered": ({}, {CNCT: True}, {CNCT: True}, (OWN, True), (15, False)),
    "PD3 not acknowledged": ({CNCT: False}, {CNCT: True}, {}, (OWN, True), (15, True)),
    "PD4 announced though not offered": ({SMWB: 10}, {}, {SMWB: 10}, (10, True), (15, True)),
    "PD4 less than offered": ({SMWB: 12}, {SMWB: 14}, {SMWB: 12}, (12, True), (15, True)),
    "PD4 as offered": ({SMWB: 12}, {SMWB: 12}, {SMWB: 12}, (12, True), (15, True)),
    "PD4 more than offered": ({SMWB: 11}, {SMWB: 10}, DECLINED),
    "PD4 no limit is accepted": ({SMWB: False}, {SMWB: 15}, DECLINED),
    "PD4 no limit is accepted, none offered": ({SMWB: False}, {}, {}, (OWN, True), (15, True)),
    "PD5 required and absent": ({CMWB: 10}, {}, DECLINED),
    "PD5 required and possible": ({CMWB: 11}, {CMWB: True}, {CMWB: 11}, (OWN, True), (11, True)),
    "PD5 required and offered": ({CMWB: 11}, {CMWB: 13}, {CMWB: 11}, (OWN, True), (11, True)),
    "PD5 never more than offered": ({CMWB: 11}, {CMWB: 9}, {CMWB: 9}, (OWN, True), (9, True)),
    "PD5 required in full": ({CMWB: 15}, {CMWB: True}, {CMWB: 15}, (OWN, True), (15, True)),
    "PD5 a number is echoed": ({CMWB: True}, {CMWB: 11}, {CMWB: 11}, (OWN, True), (11, True)),
    "PD5 left to the client": ({CMWB: False}, {CMWB: 11}, {}, (OWN, True), (15, True)),
    "PD5 left to the client, a hint": ({CMWB: False}, {CMWB: True}, {}, (OWN, True), (15, True)),
    "all of it is offered": (
        {"max_window_bits": 15},
        {SNCT: True, CNCT: True, SMWB: 10, CMWB: 11},
        {SNCT: True, CNCT: True, SMWB: 10, CMWB: 11},
        *((10, False), (11, False)),
    ),
    "all of it is configured": (
        {SNCT: True, CNCT: True, SMWB: 12, CMWB: 11},
        {SMWB: 14, CMWB: 13},
        {SNCT: True, CNCT: True, SMWB: 12, CMWB: 11},
        *((12, False), (11, False)),
    ),
    "both families say the same": (
        {SMWB: 11, "max_window_bits": 11, CMWB: 11, "request_max_window_bits": 11},
        *({CMWB: True}, {SMWB: 11, CMWB: 11}, (11, True), (11, True)),
    ),
    "one family gives the window, the other what is said of it": (
        {SMWB: False, "max_window_bits": 11, CMWB: True, "request_max_window_bits": 10},
        *({CMWB: True}, {CMWB: 10}, (11, True), (10, True)),
    ),
}

TABLE = RELATIVE | ABSOLUTE
ACCEPTED = {name: row for name, row in TABLE.items() if row[2] is not DECLINED}


@pytest.mark.parametrize("row", TABLE.values(), ids=TABLE)
def test_an_offer_is_answered(row):
    """PD2, PD3, PD4, PD5."""
    options, offer, response, *agreed = row
    session = PerMessageDeflate(**options).create_server_session([offer])
    if response is DECLINED:
        assert session is None
        return
    assert list(session.generate_response().items()) == list(response.items())
    agreement = session.parameters
    assert [
        (agreement.window_bits, agreement.takeover),
        (agreement.peer_window_bits, agreement.peer_takeover),
    ] == agreed


@pytest.mark.parametrize("row", ACCEPTED.values(), ids=ACCEPTED)
def test_contexts_are_made_as_agreed_and_as_often(row):
    """PD15, PD16"""
    options, offer, _, (window_bits, _), (peer_window_bits, peer_takeover) = row
    module, compressors, inflaters = recording_zlib()
    extension = PerMessageDeflate(**options, zlib=module, level=1, mem_level=2, strategy=3)
    session = extension.configure(threshold=0).create_server_session([offer])
    assert compressors == inflaters == []
    for _ in range(2):
        assert session.process_incoming_message(Message(HELLO, rsv1=True)).data == b"Hello"
        assert session.process_outgoing_message(Message(b"Hello")).rsv1
    # Without takeover it is the same one, which has forgotten the first message.
    assert compressors == [(1, 8, -window_bits, 2, 3)]
    assert inflaters == [(-peer_window_bits,)] * (1 if peer_takeover else 2)


BITS = ["08", "010", "+10", "1e1", "١٠", "", "abc", "10", 7, 16, 0, -8, 8.0, 10.5]
REPEATED = [[10, 10], [10, 12], [True, True], ["10"]]
FLAGS = [10, 0, 1, "true", "", False, [True, True]]
MALFORMED = [
    *[(SMWB, value) for value in [*BITS, *REPEATED, True, False]],
    *[(CMWB, value) for value in [*BITS, *REPEATED, False]],
    *[(name, value) for name in (SNCT, CNCT) for value in FLAGS],
    *[("foo", True), ("server_max_window_bit", 10), ("__class__", True), ("", True)],
    *[("Server_No_Context_Takeover", True)],
]
malformed = pytest.mark.parametrize(("name", "value"), MALFORMED)


@malformed
def test_a_wrong_parameter_spoils_its_offer(name, value):
    """PD11, PD12: it is declined, not an error of the handshake."""
    assert PerMessageDeflate().create_server_session([{name: value}]) is None


@malformed
def test_a_wrong_parameter_does_not_spoil_the_next_offer(name, value):
    session = PerMessageDeflate().create_server_session([{name: value}, {CNCT: True}])
    assert session.generate_response() == {CNCT: True}


def test_the_first_acceptable_offer_in_the_client_order_wins():
    """PD10"""
    extension = PerMessageDeflate(server_max_window_bits=11)
    session = extension.create_server_session([{SMWB: 10}, {CNCT: True}, {}])
    assert session.generate_response() == {CNCT: True, SMWB: 11}
    session = extension.create_server_session([{SMWB: 10}, {}, {CNCT: True}])
    assert session.generate_response() == {SMWB: 11}


@pytest.mark.parametrize("offers", [[], [{SMWB: 10}], [{SMWB: 10}, {SMWB: 9}, {"foo": True}]])
def test_without_an_acceptable_offer_there_is_no_session(offers):
    """PD10, PD12"""
    assert PerMessageDeflate(server_max_window_bits=11).create_server_session(offers) is None


def test_equal_offers_are_not_taken_for_the_same_when_they_are_written_differently():
    extension = PerMessageDeflate()
    for _ in range(2):
        assert extension.create_server_session([{CMWB: 10}]) is not None
        assert extension.create_server_session([{CMWB: 10.0}]) is None
        assert extension.create_server_session([{CMWB: "10"}]) is None
        assert extension.create_server_session([{CMWB: True}]) is not None
        assert extension.create_server_session([{CMWB: 1}]) is None


def test_strangers_cannot_fill_the_memory_with_offers():
    extension = PerMessageDeflate()
    for number in range(10_000):
        extension.create_server_session([{f"foo{number}": True}])
    extension.create_server_session([{"foo" * 1000: True}])
    assert len(extension._answers) <= 64
    assert sum(map(len, extension._answers)) < 64 * 256


def test_a_response_is_the_own_object_of_its_session():
    extension = PerMessageDeflate(server_no_context_takeover=True)
    extension.create_server_session([{}]).generate_response().clear()
    assert extension.create_server_session([{}]).generate_response() == {SNCT: True}


def test_an_offer_is_not_changed():
    offer = {CMWB: 13}
    PerMessageDeflate(**{SMWB: 10, CMWB: 9, SNCT: True}).create_server_session([offer])
    assert offer == {CMWB: 13}
