"""The container: registration, negotiation and RSV bits; rows XC1-XC10."""

from types import SimpleNamespace

import pytest
from plugged import Plugin

from wsfast.exceptions import (
    ExtensionError,
    InvalidHeaderFormat,
    InvalidParameterName,
    InvalidState,
    NegotiationError,
    UnexpectedExtension,
)
from wsfast.extensions import Extensions, Frame, Message


@pytest.fixture
def deflate():
    return Plugin("deflate", rsv1=True, offer={"mode": "compress"}, response={"mode": "compress"})


@pytest.fixture
def tar():
    """Conflicts with deflate."""
    return Plugin("tar", rsv1=True, offer={"gzip": True}, response={"gzip": True})


@pytest.fixture
def reverse():
    """Conflicts with nothing."""
    return Plugin("reverse", rsv2=True, offer={"utf8": True}, response={"utf8": True})


@pytest.fixture
def plugins(deflate, tar, reverse):
    return deflate, tar, reverse


@pytest.fixture
def client(plugins):
    """All three are offered."""
    extensions = Extensions(plugins)
    extensions.generate_offer()
    return extensions


# add


def test_xc1_extensions_are_added(plugins):
    extensions = Extensions()
    for plugin in plugins:
        assert extensions.add(plugin) is None
    assert extensions.names == ()
    assert extensions.sessions == ()
    assert extensions.rsv == 0


@pytest.mark.parametrize(
    ("attribute", "value", "kind", "text"),
    [
        ("name", 42, TypeError, "the name of an extension must be a str, not 42"),
        ("name", None, TypeError, "the name of an extension must be a str, not None"),
        ("name", "", ValueError, "the name of an extension must be a token, not ''"),
        ("name", "a b", ValueError, "the name of an extension must be a token, not 'a b'"),
        ("type", "perframe", TypeError, "type must be \"permessage\", not 'perframe'"),
        ("type", None, TypeError, 'type must be "permessage", not None'),
        ("rsv1", 42, TypeError, 'extension "deflate": rsv1 must be a bool, not 42'),
        ("rsv2", 42, TypeError, 'extension "deflate": rsv2 must be a bool, not 42'),
        ("rsv3", None, TypeError, 'extension "deflate": rsv3 must be a bool, not None'),
    ],
)
def test_xc1_what_is_no_extension_is_refused(deflate, attribute, value, kind, text):
    setattr(deflate, attribute, value)
    with pytest.raises(kind, match=text):
        Extensions().add(deflate)


def test_xc1_what_has_no_attributes_at_all_is_refused():
    with pytest.raises(TypeError, match="must be a str, not None"):
        Extensions([object()])


def test_xc1_a_name_is_registered_once(deflate):
    with pytest.raises(TypeError, match='extension with name "deflate" is already registered'):
        Extensions([deflate, Plugin("deflate")])


# generate_offer


def test_xc2_the_client_makes_one_session_and_offers_its_parameters(deflate):
    assert Extensions([deflate]).generate_offer() == "deflate; mode=compress"
    assert len(deflate.sessions) == 1


def test_xc2_without_a_session_nothing_is_offered(deflate):
    deflate.session["none"] = True
    assert Extensions([deflate]).generate_offer() is None


def test_xc2_without_extensions_nothing_is_offered():
    assert Extensions().generate_offer() is None


@pytest.mark.parametrize("offer", [None, []], ids=["None", "no parameters"])
def test_xc2_a_session_without_an_offer_is_closed(deflate, reverse, offer):
    class Silent(Plugin):
        def create_client_session(self):
            session = self.create()
            session.offer = offer
            return session

    silent = Silent("silent")
    extensions = Extensions([deflate, silent, reverse])
    assert extensions.generate_offer() == "deflate; mode=compress, reverse; utf8"
    assert silent.closed == [1]
    with pytest.raises(UnexpectedExtension):
        extensions.activate("silent")
    assert silent.closed == [1]


@pytest.mark.parametrize("kind", [list, tuple])
def test_xc2_a_session_may_offer_several_sets_of_parameters(deflate, kind):
    deflate.session["offer"] = kind([{"p": 1}, {}])
    assert Extensions([deflate]).generate_offer() == "deflate; p=1, deflate"


def test_xc2_the_offers_of_the_documentation():
    parameters = {"server_no_context_takeover": True, "server_max_window_bits": 8}
    plugin = Plugin("permessage-deflate", offer=[parameters, {"server_max_window_bits": 15}])
    assert Extensions([plugin]).generate_offer() == (
        "permessage-deflate; server_no_context_takeover; server_max_window_bits=8, "
        "permessage-deflate; server_max_window_bits=15"
    )


def test_xc2_extensions_are_offered_in_the_order_of_registration(deflate, reverse):
    extensions = Extensions([reverse, deflate])
    assert extensions.generate_offer() == "reverse; utf8, deflate; mode=compress"


def test_xc2_extensions_that_conflict_may_both_be_offered(deflate, tar):
    assert Extensions([deflate, tar]).generate_offer() == "deflate; mode=compress, tar; gzip"


def test_offering_again_begins_anew(deflate):
    """As for the request after a redirect."""
    extensions = Extensions([deflate])
    assert extensions.generate_offer() == extensions.generate_offer()
    assert deflate.closed == [1, 0]
    extensions.activate("deflate")
    assert deflate.closed == [1, 0]
    assert extensions.sessions == (deflate.sessions[1],)


@pytest.mark.parametrize("offer", [ValueError("bits"), {"p": False}, {"a b": True}, 5])
def test_an_offer_that_fails_leaves_no_session_open(deflate, reverse, tar, offer):
    reverse.session["offer"] = offer
    extensions = Extensions([deflate, reverse, tar])
    with pytest.raises((ValueError, TypeError)):
        extensions.generate_offer()
    assert deflate.closed == reverse.closed == [1]
    extensions.close()
    assert deflate.closed == reverse.closed == [1]


# activate


@pytest.mark.parametrize("header", [None, ""])
def test_xc3_without_a_header_nothing_is_active(client, plugins, header):
    """XC4: the sessions are closed."""
    client.activate(header)
    assert client.names == ()
    assert [plugin.closed for plugin in plugins] == [[1], [1], [1]]


@pytest.mark.parametrize(
    ("header", "names", "rsv"),
    [
        ("deflate", ("deflate",), 4),
        ("tar", ("tar",), 4),
        ("reverse", ("reverse",), 2),
        ("deflate, reverse", ("deflate", "reverse"), 6),
        ("reverse, tar", ("reverse", "tar"), 6),
    ],
)
def test_xc3_the_server_chooses_extensions_and_their_order(client, plugins, header, names, rsv):
    client.activate(header)
    assert client.names == names
    by_name = {plugin.name: plugin.sessions[0] for plugin in plugins}
    assert client.sessions == tuple(by_name[name] for name in names)
    assert client.rsv == rsv


@pytest.mark.parametrize(
    ("header", "parameters"),
    [
        ("deflate", {}),
        ("deflate; gzip", {"gzip": True}),
        ("deflate; mode=compress", {"mode": "compress"}),
        ('deflate; bits="15"; bits=8', {"bits": [15, 8]}),
    ],
)
def test_xc3_a_session_gets_its_parameters_once(client, deflate, header, parameters):
    client.activate(header)
    assert deflate.sessions[0].activated == [parameters]


def test_xc3_several_sessions_get_their_parameters(client, deflate, reverse):
    client.activate("deflate; a, reverse; b")
    assert deflate.sessions[0].activated == [{"a": True}]
    assert reverse.sessions[0].activated == [{"b": True}]


def test_xc4_sessions_that_the_server_does_not_mention_are_closed_and_not_activated(
    client, deflate, tar, reverse
):
    client.activate("reverse")
    assert deflate.sessions[0].activated == tar.sessions[0].activated == []
    assert (deflate.closed, tar.closed, reverse.closed) == ([1], [1], [0])


@pytest.mark.parametrize(
    ("header", "kind", "text"),
    [
        ("xml", UnexpectedExtension, 'extension response for unknown extension "xml"'),
        ("deflate, xml", UnexpectedExtension, 'for unknown extension "xml"'),
        (
            "deflate, tar",
            NegotiationError,
            'two extension responses that use the RSV1 bit: "deflate" and "tar"',
        ),
        ("reverse, reverse", NegotiationError, 'two extension responses for extension "reverse"'),
        ("deflate, ", InvalidHeaderFormat, "header: Unexpected end of input"),
        ("x-webkit- -frame", InvalidHeaderFormat, "header: Unexpected character at index 10"),
    ],
)
def test_xc3_a_wrong_response_is_refused_and_closes_all_sessions(
    client, plugins, header, kind, text
):
    """XC9: also the same name twice when it uses no bit."""
    with pytest.raises(kind, match=text):
        client.activate(header)
    assert client.names == ()
    assert client.rsv == 0
    assert [plugin.closed for plugin in plugins] == [[1], [1], [1]]
    client.close()
    assert [plugin.closed for plugin in plugins] == [[1], [1], [1]]


def test_xc9_the_same_name_twice_is_refused_without_any_rsv_bit():
    plain = Plugin("plain")
    extensions = Extensions([plain])
    extensions.generate_offer()
    with pytest.raises(NegotiationError, match='two extension responses for extension "plain"'):
        extensions.activate("plain, plain")
    assert plain.sessions[0].activated == [{}]
    assert plain.closed == [1]


@pytest.mark.parametrize("answer", ["yes", 1, None, False])
def test_xc3_only_true_accepts_the_parameters(client, plugins, deflate, answer):
    deflate.sessions[0].accepts = answer
    with pytest.raises(
        NegotiationError,
        match="^Server sent unacceptable extension parameters: deflate; bits=8$",
    ):
        client.activate("reverse, deflate; bits=8")
    assert [plugin.closed for plugin in plugins] == [[1], [1], [1]]


def test_a_session_that_raises_rejects_the_response_in_its_words(client, plugins, deflate):
    deflate.sessions[0].accepts = ValueError("no such mode")
    with pytest.raises(NegotiationError, match="^deflate: no such mode$") as caught:
        client.activate("reverse, deflate")
    assert caught.value.__cause__ is deflate.sessions[0].accepts
    assert [plugin.closed for plugin in plugins] == [[1], [1], [1]]


def test_a_session_may_raise_what_a_handshake_raises(client, deflate):
    deflate.sessions[0].accepts = InvalidParameterName("x")
    with pytest.raises(InvalidParameterName):
        client.activate("deflate; x")
    assert deflate.closed == [1]


def test_xc3_nothing_is_active_if_nothing_was_offered():
    with pytest.raises(UnexpectedExtension):
        Extensions([Plugin("deflate")]).activate("deflate")


def test_a_strict_container_reads_the_header_as_the_rfc_says(deflate):
    for header, problem in [("", "end of input"), ('deflate; x="a b"', "character at index 13")]:
        extensions = Extensions([deflate], strict=True)
        extensions.generate_offer()
        with pytest.raises(InvalidHeaderFormat, match=f"Unexpected {problem}"):
            extensions.activate(header)
        with pytest.raises(InvalidHeaderFormat, match=f"Unexpected {problem}"):
            Extensions([deflate], strict=True).generate_response(header)
    assert deflate.closed == [1, 1]


# generate_response


def test_xc5_the_server_makes_a_session_for_the_offer(deflate):
    assert Extensions([deflate]).generate_response("deflate; flag") == "deflate; mode=compress"
    assert deflate.offers == [[{"flag": True}]]
    assert len(deflate.sessions) == 1


def test_xc5_the_session_gets_all_offers_of_its_name(deflate, reverse):
    extensions = Extensions([deflate, reverse])
    extensions.generate_response("deflate; a, reverse, deflate; b")
    assert deflate.offers == [[{"a": True}, {"b": True}]]
    assert reverse.offers == [[{}]]


def test_the_offers_of_the_documentation_are_passed_as_it_says():
    plugin = Plugin("permessage-deflate", response={"server_max_window_bits": 8})
    response = Extensions([plugin]).generate_response(
        "permessage-deflate; server_no_context_takeover; server_max_window_bits=8, "
        "permessage-deflate; server_max_window_bits=15"
    )
    assert plugin.offers == [
        [
            {"server_no_context_takeover": True, "server_max_window_bits": 8},
            {"server_max_window_bits": 15},
        ]
    ]
    assert response == "permessage-deflate; server_max_window_bits=8"


@pytest.mark.parametrize("header", ["deflate, reverse", "reverse, deflate"])
def test_xc5_responses_come_in_the_order_of_registration(plugins, header):
    extensions = Extensions(plugins)
    assert extensions.generate_response(header) == "deflate; mode=compress, reverse; utf8"
    assert extensions.names == ("deflate", "reverse")
    assert extensions.sessions == (plugins[0].sessions[0], plugins[2].sessions[0])
    assert extensions.rsv == 6


def test_xc5_what_was_not_offered_gets_no_session(plugins, deflate, tar):
    assert Extensions(plugins).generate_response("reverse") == "reverse; utf8"
    assert deflate.offers == tar.offers == []


def test_xc5_what_conflicts_gets_no_session(plugins, tar):
    assert Extensions(plugins).generate_response("tar, deflate") == "deflate; mode=compress"
    assert tar.offers == []


def test_xc5_the_bit_of_one_that_declines_is_free_for_the_next(plugins, deflate):
    deflate.session["none"] = True
    extensions = Extensions(plugins)
    assert extensions.generate_response("deflate, tar") == "tar; gzip"
    assert extensions.names == ("tar",)
    assert deflate.offers == [[{}]]


@pytest.mark.parametrize("header", [None, "", "xml", "xml; a=1, json"])
def test_xc5_there_is_no_response_when_nothing_is_accepted(plugins, header):
    extensions = Extensions(plugins)
    assert extensions.generate_response(header) is None
    assert extensions.names == ()


def test_xc5_a_malformed_offer_is_refused(plugins):
    with pytest.raises(InvalidHeaderFormat, match="Unexpected character at index 10"):
        Extensions(plugins).generate_response("x-webkit- -frame")


@pytest.mark.parametrize("response", [RuntimeError("no"), {"p": False}, None, 5])
def test_a_response_that_fails_leaves_no_session_open(plugins, deflate, reverse, response):
    class Failing(Plugin):
        def create_server_session(self, offers):
            session = self.create()
            session.response = response
            return session

    failing = Failing("failing", rsv3=True)
    extensions = Extensions([deflate, failing, reverse])
    with pytest.raises((RuntimeError, TypeError)):
        extensions.generate_response("deflate, failing, reverse")
    assert deflate.closed == failing.closed == [1]
    assert extensions.names == ()


def test_an_extension_that_cannot_make_a_session_leaves_no_session_open(deflate, reverse):
    def fail(*_):
        raise RuntimeError("no")

    reverse.create_server_session = reverse.create_client_session = fail
    for negotiate in [Extensions.generate_offer, lambda x: x.generate_response("deflate, reverse")]:
        with pytest.raises(RuntimeError, match="no"):
            negotiate(Extensions([deflate, reverse]))
    assert deflate.closed == [1, 1]


def test_a_session_without_the_methods_of_one_is_refused_and_closed(deflate, reverse):
    reverse.create_server_session = lambda offers: SimpleNamespace(
        generate_response=dict, close=lambda: None
    )
    with pytest.raises(AttributeError, match="process_outgoing_message"):
        Extensions([deflate, reverse]).generate_response("deflate, reverse")
    assert deflate.closed == [1]


# Once


def test_a_connection_is_negotiated_once(deflate):
    server = Extensions([deflate])
    server.generate_response("deflate")
    client = Extensions([deflate])
    client.generate_offer()
    client.activate("deflate")
    closed = Extensions([deflate])
    closed.close()
    for extensions in server, client, closed:
        for again, *arguments in (
            (extensions.generate_offer,),
            (extensions.activate, None),
            (extensions.generate_response, None),
            (extensions.add, Plugin("late")),
        ):
            with pytest.raises(InvalidState, match="negotiated once"):
                again(*arguments)


# valid_frame_rsv


@pytest.mark.parametrize("opcode", [0, 1, 2, 8, 9, 10])
@pytest.mark.parametrize("bits", range(8))
def test_xc6_bits_of_active_extensions_are_valid_on_first_frames_of_data(client, opcode, bits):
    client.activate("deflate, reverse")
    frame = Frame(rsv1=bool(bits & 4), rsv2=bool(bits & 2), rsv3=bool(bits & 1), opcode=opcode)
    assert client.valid_frame_rsv(frame) is (bits == 0 or (opcode in (1, 2) and not bits & 1))


def test_xc6_no_bit_is_valid_without_an_extension():
    extensions = Extensions()
    assert extensions.valid_frame_rsv(Frame())
    for name in "rsv1", "rsv2", "rsv3":
        assert not extensions.valid_frame_rsv(Frame(**{name: True}))


def test_xc6_any_object_with_the_attributes_is_a_frame(client):
    client.activate("deflate")
    assert client.valid_frame_rsv(SimpleNamespace(rsv1=1, rsv2=0, rsv3=None, opcode=2))
    assert not client.valid_frame_rsv(SimpleNamespace(rsv1=1, rsv2=1, rsv3=0, opcode=2))


# Messages, when all sessions answer at once


@pytest.mark.parametrize(
    ("header", "outgoing", "incoming"),
    [
        ("deflate", b"-d", b"-d"),
        ("deflate, reverse", b"-dr", b"-rd"),
        ("reverse, deflate", b"-rd", b"-dr"),
    ],
)
def test_xc10_messages_go_out_in_the_servers_order_and_come_in_the_other_way(
    client, header, outgoing, incoming
):
    client.activate(header)
    assert client.process_outgoing_message(Message(data=b"-")).data == outgoing
    assert client.process_incoming_message(Message(data=b"-")).data == incoming
    results = []
    for process in client.process_outgoing_message, client.process_incoming_message:
        assert process(Message(data=b"-"), lambda *result: results.append(result)) is None
    assert results == [(None, Message(data=outgoing)), (None, Message(data=incoming))]


def test_xc10_on_a_server_the_order_is_that_of_registration(deflate, reverse):
    extensions = Extensions([reverse, deflate])
    extensions.generate_response("deflate, reverse")
    assert extensions.process_outgoing_message(Message(data=b"-")).data == b"-rd"
    assert extensions.process_incoming_message(Message(data=b"-")).data == b"-dr"


@pytest.mark.parametrize("negotiated", [False, True])
def test_xc9_without_active_extensions_messages_stay_as_they_are(deflate, negotiated):
    extensions = Extensions([deflate])
    if negotiated:
        extensions.generate_response(None)
    message = Message(data=b"-")
    assert extensions.process_incoming_message(message) is message
    assert extensions.process_outgoing_message(message) is message
    assert message == Message(data=b"-")


def processes(extensions):
    return {
        "process_incoming_message": extensions.process_incoming_message,
        "process_outgoing_message": extensions.process_outgoing_message,
    }


def fail_with(error, style):
    """A session's function that fails at once."""

    def plain(message):
        raise error

    def with_callback(message, callback):
        callback(error, None)

    return {"raises": plain, "callback": with_callback}[style]


both_ways = pytest.mark.parametrize(
    "name", ["process_incoming_message", "process_outgoing_message"]
)
both_styles = pytest.mark.parametrize("style", ["raises", "callback"])


@both_ways
@both_styles
def test_xc7_an_error_comes_with_the_name_of_the_extension(name, style):
    error = OSError("ENOENT")
    extensions = Extensions([Plugin("deflate", **{name: fail_with(error, style)})])
    extensions.generate_response("deflate")
    with pytest.raises(ExtensionError, match="^deflate: ENOENT$") as caught:
        processes(extensions)[name](Message())
    assert caught.value.__cause__ is error
    assert caught.value.code == "WS_ERR_EXTENSION"
    assert caught.value.close_code == 1010


@both_ways
@both_styles
def test_xc7_with_a_callback_the_error_is_passed_to_it(name, style):
    extensions = Extensions([Plugin("deflate", **{name: fail_with(OSError("ENOENT"), style)})])
    extensions.generate_response("deflate")
    results = []
    processes(extensions)[name](Message(), lambda *result: results.append(result))
    [(error, message)] = results
    assert str(error) == "deflate: ENOENT"
    assert message is None


@both_styles
def test_xc7_no_session_is_called_after_an_error(style):
    extensions = Extensions(
        [
            Plugin("first", process_outgoing_message=fail_with(OSError("no"), style)),
            Plugin("second"),
            Plugin("third", process_incoming_message=fail_with(OSError("no"), style)),
        ]
    )
    extensions.generate_response("first, second, third")
    for process in processes(extensions).values():
        message = Message()
        with pytest.raises(ExtensionError):
            process(message)
        assert message.data == b""


# Closing


def test_xc8_closing_before_anything_was_negotiated_is_done_at_once():
    done = []
    assert Extensions().close(lambda: done.append(1)) is None
    assert done == [1]


def test_xc8_closing_closes_what_was_only_offered(client, plugins):
    done = []
    client.close(lambda: done.append(1))
    assert done == [1]
    assert [plugin.closed for plugin in plugins] == [[1], [1], [1]]


def test_xc8_closing_again_is_done_at_once_and_closes_nothing_again(client, deflate):
    client.activate("deflate")
    done = []
    for _ in range(3):
        client.close(lambda: done.append(1))
    assert done == [1, 1, 1]
    assert deflate.closed == [1]


async def test_xc8_closing_can_be_awaited_and_need_not_be(client, deflate):
    client.activate("deflate")
    client.close()
    assert deflate.closed == [1]
    assert await client.close() is None
    assert deflate.closed == [1]


@pytest.mark.parametrize("negotiated", [False, True])
def test_pl12_after_closing_messages_are_refused(deflate, negotiated):
    extensions = Extensions([deflate])
    if negotiated:
        extensions.generate_response("deflate")
    extensions.close()
    errors = []
    for process in processes(extensions).values():
        with pytest.raises(InvalidState, match="the extensions are closed"):
            process(Message())
        process(Message(), lambda error, message: errors.append(error))
    assert [type(error) for error in errors] == [InvalidState, InvalidState]


def test_a_session_that_fails_to_close_leaves_no_other_open(caplog, deflate, reverse):
    def close():
        raise RuntimeError("cannot close")

    deflate.session["close"] = close
    extensions = Extensions([deflate, reverse])
    extensions.generate_response("deflate, reverse")
    done = []
    extensions.close(lambda: done.append(1))
    assert done == [1]
    assert reverse.closed == [1]
    [record] = caplog.records
    assert record.name == "wsfast.extensions"
    assert record.getMessage() == "the session of extension deflate failed to close"
    assert str(record.exc_info[1]) == "cannot close"
