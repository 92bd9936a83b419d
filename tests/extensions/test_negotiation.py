"""Extensions in the opening handshake, and the options that say which there are."""

from types import SimpleNamespace

import pytest

from wsfast import InvalidHeaderFormat, NegotiationError, UnexpectedExtension
from wsfast.extensions import Extensions, PerMessageDeflate
from wsfast.extensions.negotiation import (
    accept_extensions,
    activate_extensions,
    close_reason,
    select_extensions,
)
from wsfast.protocol.headers import Headers

MIB = 2**20
DEFLATE = PerMessageDeflate()


def header(*values):
    return Headers([("Sec-WebSocket-Extensions", value) for value in values])


def other(name="x-other", rsv1=False):
    """An extension that changes nothing."""
    session = SimpleNamespace(
        generate_offer=dict,
        activate=lambda params: True,
        generate_response=dict,
        process_incoming_message=lambda message: message,
        process_outgoing_message=lambda message: message,
        close=lambda: None,
    )
    return SimpleNamespace(
        name=name,
        type="permessage",
        rsv1=rsv1,
        rsv2=False,
        rsv3=False,
        create_client_session=lambda: session,
        create_server_session=lambda offers: session,
    )


@pytest.mark.parametrize("compression", [True, "deflate"])
def test_compression_by_name_has_the_defaults_and_is_one_object(compression):
    (extension,) = select_extensions(None, compression, MIB)
    assert isinstance(extension, PerMessageDeflate)
    assert select_extensions(None, compression, MIB) == (extension,)


@pytest.mark.parametrize("compression", [None, False])
def test_there_may_be_none(compression):
    assert select_extensions(None, compression, MIB) == ()
    assert select_extensions([], compression, MIB) == ()


def test_extensions_that_are_given_come_before_compression():
    given = other()
    assert select_extensions([given], DEFLATE, MIB) == (given, DEFLATE)
    assert select_extensions(iter([given]), DEFLATE, MIB) == (given, DEFLATE)


def test_a_permessage_deflate_that_is_given_takes_the_place_of_compression():
    given = other("permessage-deflate", rsv1=True)
    assert select_extensions([given], True, MIB) == (given,)
    assert select_extensions([DEFLATE, other()], True, MIB)[0] is DEFLATE


@pytest.mark.parametrize(
    ("extensions", "compression", "error", "words"),
    [
        (None, "gzip", ValueError, "compression must be \"deflate\", not 'gzip'"),
        (None, 1, TypeError, "compression must be a bool, None, "),
        (None, PerMessageDeflate, TypeError, "compression must be PerMessageDeflate(), not the"),
        ("permessage-deflate", None, TypeError, "extensions must be a list, not 'permessage-"),
        (DEFLATE, None, TypeError, "extensions must be a list, not PerMessageDeflate"),
        ([PerMessageDeflate], None, TypeError, "an extension is an object, as PerMessageDefl"),
        (["permessage-deflate"], None, TypeError, "the name of an extension must be a str"),
        ([other(), other()], None, TypeError, 'An extension with name "x-other" is already'),
    ],
)
def test_options_that_are_wrong_are_named(extensions, compression, error, words):
    with pytest.raises(error) as caught:
        select_extensions(extensions, compression, MIB)
    assert str(caught.value).startswith(words)


def test_what_was_agreed_is_the_header_of_the_response():
    agreed = accept_extensions(header("permessage-deflate; client_max_window_bits"), [DEFLATE])
    assert agreed is not None
    assert agreed.names == ("permessage-deflate",)
    assert agreed.header is not None
    assert agreed.header.startswith("permessage-deflate")


def test_several_headers_are_one_list():
    agreed = accept_extensions(header("x-other", "permessage-deflate"), [other(), DEFLATE])
    assert agreed is not None
    assert agreed.names == ("x-other", "permessage-deflate")


@pytest.mark.parametrize(
    "offers", [[], ["x-unknown"], ["permessage-deflate; server_max_window_bits=7"]]
)
def test_nothing_may_be_agreed(offers):
    assert accept_extensions(header(*offers), [DEFLATE]) is None
    assert accept_extensions(header(*offers), []) is None


@pytest.mark.parametrize("value", ["", ",", "a;", "a=1", 'a; b="c d"', "a b", "a; b = c", "ä"])
@pytest.mark.parametrize("extensions", [[], [DEFLATE]], ids=["no extensions", "deflate"])
def test_a_malformed_offer_is_a_bad_request_even_if_nothing_is_to_be_agreed(value, extensions):
    with pytest.raises(InvalidHeaderFormat):
        accept_extensions(header(value), extensions)


def test_the_first_extension_that_wants_a_bit_has_it():
    offers = header("permessage-deflate", "x-other")
    agreed = accept_extensions(offers, select_extensions([other(rsv1=True)], True, MIB))
    assert agreed is not None
    assert agreed.names == ("x-other",)


@pytest.mark.parametrize("value", ["permessage-deflate", "", ",;x"])
def test_1_9_an_extension_that_was_not_offered_is_refused_with_1010(value):
    with pytest.raises(UnexpectedExtension) as caught:
        activate_extensions(header(value), Extensions())
    assert str(caught.value) == (
        "Server sent a Sec-WebSocket-Extensions header but no extension was requested"
    )
    assert caught.value.close_code == 1010


def test_a_client_takes_what_it_offered():
    offered = Extensions([DEFLATE], strict=True)
    assert offered.generate_offer() is not None
    activate_extensions(header("permessage-deflate"), offered)
    assert offered.names == ("permessage-deflate",)


def test_the_server_need_not_accept():
    offered = Extensions([DEFLATE], strict=True)
    offered.generate_offer()
    activate_extensions(Headers(), offered)
    assert offered.names == ()


def test_a_response_with_other_parameters_is_refused():
    offered = Extensions([DEFLATE], strict=True)
    offered.generate_offer()
    with pytest.raises(NegotiationError):
        activate_extensions(header("permessage-deflate; server_max_window_bits=7"), offered)


def test_the_reason_fits_into_a_close_frame():
    assert close_reason(NegotiationError("ä" * 100)) == "ä" * 61
