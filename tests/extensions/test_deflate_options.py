"""The options of `PerMessageDeflate`, of both families, and its sessions without a connection."""

import builtins
import copy
import inspect
import sys
import zlib
from types import ModuleType

import pytest
from deflating import HELLO, HELLO_AGAIN, Message, recording_zlib
from zlib_ng import zlib_ng

from wsfast import _backend
from wsfast.exceptions import PayloadTooBig, ProtocolError
from wsfast.extensions import deflate_options
from wsfast.extensions.deflate import DeflateParameters, PerMessageDeflate
from wsfast.extensions.deflate_options import DeflateOptions

NAMES = sorted(DeflateOptions.__annotations__)
BITS = [name for name in NAMES if name.endswith("window_bits")]
FLAGS = [name for name in NAMES if name.endswith("context_takeover")]


def server(**options):
    return PerMessageDeflate(**options).create_server_session([{}])


def client(**options):
    session = PerMessageDeflate(**options).create_client_session()
    assert session.activate(session.generate_offer() | {"client_max_window_bits": 15})
    return session


def test_the_attributes_are_those_of_an_extension():
    extension = PerMessageDeflate()
    assert extension.name == "permessage-deflate"
    assert extension.type == "permessage"
    assert (extension.rsv1, extension.rsv2, extension.rsv3) == (True, False, False)


@pytest.mark.parametrize("name", NAMES)
def test_every_option_is_described(name):
    assert f"\n    {name}: " in inspect.getdoc(PerMessageDeflate)


@pytest.mark.parametrize("name", NAMES)
def test_none_is_the_default_of_every_option(name):
    assert server(**{name: None}).parameters is server().parameters


@pytest.mark.parametrize("field", DeflateParameters._fields)
def test_every_parameter_is_described(field):
    assert f"\n    {field}: " in inspect.getdoc(DeflateParameters)


def test_the_defaults():
    assert server().parameters == DeflateParameters(
        zlib=zlib_ng,
        level=deflate_options.DEFAULT_LEVEL,
        mem_level=deflate_options.DEFAULT_MEM_LEVEL,
        strategy=zlib.Z_DEFAULT_STRATEGY,
        window_bits=deflate_options.DEFAULT_WINDOW_BITS,
        takeover=True,
        dictionary=None,
        deflate_chunk_size=None,
        threshold=0,
        peer_window_bits=15,
        peer_takeover=True,
        peer_dictionary=None,
        inflate_chunk_size=None,
        concurrency_limit=10,
    )


def test_options_reach_the_parameters():
    """PD6, PD7, PD8, PD9"""
    parameters = server(
        zlib="zlib",
        deflate_options={
            "level": 1,
            "mem_level": 2,
            "strategy": zlib.Z_RLE,
            "dictionary": bytearray(b"ours"),
            "chunk_size": 128,
        },
        inflate_options={"dictionary": memoryview(b"theirs"), "chunk_size": 256},
        threshold=7,
        concurrency_limit=0,
        server_no_context_takeover=True,
        client_no_context_takeover=True,
        server_max_window_bits=8,
    ).parameters
    assert parameters == DeflateParameters(
        *(zlib, 1, 2, zlib.Z_RLE, 9, False, b"ours", 128, 7, 15, False, b"theirs", 256, 0)
    )


@pytest.mark.parametrize("name", ["level", "mem_level", "strategy"])
def test_both_families_set_the_compression(name):
    """PD6"""
    assert getattr(server(**{name: 1}).parameters, name) == 1
    assert getattr(client(deflate_options={name: 1}).parameters, name) == 1
    assert getattr(server(deflate_options={name: 1}, **{name: 1}).parameters, name) == 1


@pytest.mark.parametrize(
    ("options", "server_threshold", "client_threshold"),
    [
        ({}, 0, 0),
        ({"no_context_takeover": True}, 1024, 1024),
        ({"request_no_context_takeover": True}, 0, 0),
        ({"server_no_context_takeover": True}, 1024, 0),
        ({"client_no_context_takeover": True}, 0, 1024),
        ({"no_context_takeover": True, "threshold": 0}, 0, 0),
        ({"threshold": 100}, 100, 100),
        ({"no_context_takeover": True, "threshold": 100}, 100, 100),
    ],
)
def test_the_threshold_depends_on_the_own_takeover(options, server_threshold, client_threshold):
    """PD8"""
    assert server(**options).parameters.threshold == server_threshold
    assert client(**options).parameters.threshold == client_threshold


def test_equal_agreements_are_one_object():
    first = PerMessageDeflate(level=3).create_server_session([{"client_max_window_bits": 11}])
    other = PerMessageDeflate(deflate_options={"level": 3}, request_max_window_bits=11)
    second = other.create_server_session([{"client_max_window_bits": True}])
    assert first.parameters is second.parameters
    assert first.deflate is not second.deflate
    assert first.parameters is not server(level=4).parameters


def test_a_session_has_the_contexts_of_the_backend():
    for session in server(), client():
        assert type(session.deflate) is _backend.Deflate
        assert session.deflate.parameters is session.parameters


# Wrong options


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("levels", "there is no option 'levels'; do you mean 'level'?"),
        ("memLevel", "there is no option 'memLevel'; do you mean 'mem_level'?"),
        (
            "serverNoContextTakeover",
            "there is no option 'serverNoContextTakeover'; "
            "do you mean 'server_no_context_takeover'?",
        ),
        ("window_bits", "there is no option 'window_bits'; do you mean 'max_window_bits'?"),
        ("xyz", "there is no option 'xyz'"),
    ],
)
def test_an_unknown_option_is_named_with_the_nearest_one(name, text):
    for make in PerMessageDeflate, PerMessageDeflate().configure:
        with pytest.raises(TypeError) as caught:
            make(**{name: 1})
        assert str(caught.value) == text


MAPPINGS = ["deflate_options", "inflate_options"]


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        *[({name: 7}, ValueError, f"{name} must be from 8 to 15, not 7") for name in BITS],
        *[({name: 16}, ValueError, f"{name} must be from 8 to 15, not 16") for name in BITS],
        *[({name: 8.0}, TypeError, f"{name} must be an int, not 8.0") for name in BITS],
        *[({name: "9"}, TypeError, f"{name} must be an int, not '9'") for name in BITS],
        *[({name: 1}, TypeError, f"{name} must be a bool, not 1") for name in FLAGS],
        (
            {"server_max_window_bits": True},
            *(TypeError, "server_max_window_bits must be an int, not True"),
        ),
        ({"max_window_bits": False}, TypeError, "max_window_bits must be an int, not False"),
        ({"level": 10}, ValueError, "level must be from -1 to 9, not 10"),
        ({"level": -2}, ValueError, "level must be from -1 to 9, not -2"),
        ({"level": True}, TypeError, "level must be an int, not True"),
        ({"mem_level": 0}, ValueError, "mem_level must be from 1 to 9, not 0"),
        ({"strategy": 5}, ValueError, "strategy must be from 0 to 4, not 5"),
        ({"threshold": -1}, ValueError, "threshold must be at least 0, not -1"),
        ({"threshold": 1.5}, TypeError, "threshold must be an int, not 1.5"),
        ({"concurrency_limit": -1}, ValueError, "concurrency_limit must be at least 0, not -1"),
        ({"max_size": 0}, ValueError, "max_size must be at least 1, not 0"),
        ({"zlib": "gzip"}, ValueError, "zlib must be a module, 'zlib' or 'zlib_ng', not 'gzip'"),
        ({"zlib": 5}, TypeError, "zlib must be a module, 'zlib' or 'zlib_ng', not 5"),
        *[({name: 5}, TypeError, f"{name} must be a mapping, not 5") for name in MAPPINGS],
        *[
            ({name: {"foo": 1}}, TypeError, f"there is no option 'foo' in {name}")
            for name in MAPPINGS
        ],
        *[
            (
                {name: {"window_bits": 9}},
                TypeError,
                f"{name} has no 'window_bits', for the window is negotiated: use max_window_bits "
                "and request_max_window_bits, or server_max_window_bits and "
                "client_max_window_bits",
            )
            for name in MAPPINGS
        ],
        (
            {"deflate_options": {"level": 10}},
            *(ValueError, "deflate_options['level'] must be from -1 to 9, not 10"),
        ),
        (
            {"inflate_options": {"chunk_size": 63}},
            *(ValueError, "inflate_options['chunk_size'] must be at least 64, not 63"),
        ),
        (
            {"deflate_options": {"dictionary": "text"}},
            *(TypeError, "deflate_options['dictionary'] must be bytes, not 'text'"),
        ),
        (
            {"inflate_options": {"level": 1}},
            *(TypeError, "there is no option 'level' in inflate_options"),
        ),
    ],
    ids=str,
)
def test_a_bad_value_is_named_when_the_extension_is_made(options, error, text):
    for make in PerMessageDeflate, PerMessageDeflate().configure:
        with pytest.raises(error) as caught:
            make(**options)
        assert str(caught.value) == text


@pytest.mark.parametrize(
    ("first", "second", "side"),
    [
        (("max_window_bits", 12), ("server_max_window_bits", 11), " on a server"),
        (("max_window_bits", 12), ("client_max_window_bits", 11), " on a client"),
        (("request_max_window_bits", 12), ("client_max_window_bits", 11), " on a server"),
        (("request_max_window_bits", 12), ("server_max_window_bits", 11), " on a client"),
        (("no_context_takeover", True), ("server_no_context_takeover", False), " on a server"),
        (("no_context_takeover", False), ("client_no_context_takeover", True), " on a client"),
        *[
            ((f"request{name}", True), (f"{side}{name}", False), where)
            for name in ("_no_context_takeover",)
            for side, where in (("client", " on a server"), ("server", " on a client"))
        ],
    ],
)
def test_the_families_must_not_contradict_each_other(first, second, side):
    with pytest.raises(ValueError) as caught:
        PerMessageDeflate(**dict([first, second]))
    assert str(caught.value) == (
        f"{first[0]}={first[1]!r} and {second[0]}={second[1]!r} are two values for one thing{side}"
        "; give one of them"
    )


def test_a_level_has_one_value():
    with pytest.raises(ValueError) as caught:
        PerMessageDeflate(level=1, deflate_options={"level": 2})
    assert str(caught.value) == (
        "level=1 and deflate_options['level']=2 are two values for one thing; give one of them"
    )


# Derived extensions


def test_configure_gives_a_copy_in_which_the_later_value_wins():
    base = PerMessageDeflate(level=1, mem_level=2)
    derived = base.configure(level=3, threshold=4)
    assert [base.create_server_session([{}]).parameters[i] for i in (1, 2, 8)] == [1, 2, 0]
    assert [derived.create_server_session([{}]).parameters[i] for i in (1, 2, 8)] == [3, 2, 4]
    default = derived.configure(level=None).create_server_session([{}]).parameters
    assert default.level == deflate_options.DEFAULT_LEVEL
    assert repr(base) == "PerMessageDeflate(level=1, mem_level=2)"
    assert repr(derived) == "PerMessageDeflate(level=3, mem_level=2, threshold=4)"


def test_nothing_of_the_caller_is_changed_or_kept():
    options = {"deflate_options": {"level": 1, "chunk_size": 64}, "inflate_options": {}}
    before = copy.deepcopy(options)
    extension = PerMessageDeflate(**options)
    extension.configure(level=1, no_context_takeover=True)
    assert options == before
    options["deflate_options"]["level"] = 9
    assert extension.configure().create_server_session([{}]).parameters.level == 1


def test_configure_keeps_the_class():
    class Mine(PerMessageDeflate):
        pass

    assert type(Mine().configure(level=1)) is Mine


# The module


def test_zlib_ng_is_taken_when_it_is_installed():
    assert server().parameters.zlib is zlib_ng
    assert server(zlib="zlib_ng").parameters.zlib is zlib_ng
    assert server(zlib="zlib").parameters.zlib is zlib
    assert server(zlib=zlib).parameters.zlib is zlib


def test_zlib_is_taken_when_zlib_ng_is_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "zlib_ng", None)
    monkeypatch.setitem(sys.modules, "zlib_ng.zlib_ng", None)
    deflate_options.default_zlib.cache_clear()
    try:
        assert server().parameters.zlib is zlib
        with pytest.raises(ImportError):
            PerMessageDeflate(zlib="zlib_ng")
    finally:
        deflate_options.default_zlib.cache_clear()


def test_a_module_can_be_injected():
    module, compressors, inflaters = recording_zlib()
    session = server(zlib=module)
    session.process_outgoing_message(Message(b"Hello"))
    session.process_incoming_message(Message(HELLO, rsv1=True))
    assert len(compressors) == len(inflaters) == 1


def test_a_module_must_be_like_zlib():
    with pytest.raises(TypeError, match="has no compressobj"):
        PerMessageDeflate(zlib=builtins)
    with pytest.raises(TypeError, match="has no compressobj"):
        PerMessageDeflate(zlib=ModuleType("empty"))


# Sessions


def test_sessions_compress_and_inflate_whole_messages():
    ours, theirs = server(zlib="zlib"), client(zlib="zlib")
    for payload in HELLO, HELLO_AGAIN:
        message = ours.process_outgoing_message(Message(b"Hello", opcode=1))
        assert message == Message(payload, rsv1=True, opcode=1)
        assert theirs.process_incoming_message(message).data == b"Hello"
    assert ours.close() is None
    assert theirs.close() is None


def test_smaller_messages_than_the_threshold_stay_as_they_are():
    """PD8"""
    session = server(threshold=5)
    assert session.process_outgoing_message(Message(b"Hell")) == Message(b"Hell")
    assert session.process_outgoing_message(Message(b"Hello")) == Message(HELLO, rsv1=True)


def test_messages_that_are_not_marked_are_let_through():
    """PD17"""
    message = Message(HELLO)
    assert server().process_incoming_message(message) is message
    assert message == Message(HELLO)


def test_the_size_of_a_message_is_limited():
    """PD13"""
    big = client().process_outgoing_message(Message(bytes(101)))
    with pytest.raises(PayloadTooBig) as caught:
        server(max_size=100).process_incoming_message(big)
    assert (caught.value.size, caught.value.max_size) == (101, 100)
    big = client().process_outgoing_message(Message(bytes(2**20 + 1)))
    with pytest.raises(PayloadTooBig):
        server().process_incoming_message(big)
    big = client().process_outgoing_message(Message(bytes(2**20)))
    assert server().process_incoming_message(big).data == bytes(2**20)


def test_what_is_not_deflate_is_an_error():
    with pytest.raises(ProtocolError) as caught:
        server().process_incoming_message(Message(b"\xff\xff\xff\xff", rsv1=True))
    assert caught.value.close_code == 1007
