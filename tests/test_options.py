"""Options are validated, never coerced: a bad value raises at the call, in words that name it."""

import asyncio
import re
import socket
import ssl
from dataclasses import fields

import pytest
import trustme

import wsfast

IDENTITY = trustme.CA().issue_cert("localhost").private_key_and_cert_chain_pem.bytes()
URI = "ws://localhost/"
SECURE = "wss://localhost/"

SIZES = [
    "max_size",
    "max_frame_size",
    "max_fragments",
    "fragment_size",
    "max_queue",
    "max_write_buffer",
    "write_limit",
]
TIMES = [
    "open_timeout",
    "close_timeout",
    "ping_interval",
    "ping_timeout",
    "idle_timeout",
    "write_timeout",
]
FLAGS = ["auto_pong", "skip_utf8_validation"]
# With what is not one of them.
CHOICES = {
    "binary_type": (["bytes", "bytearray", "memoryview", "fragments"], "blob"),
    "text_type": (["str", "bytes"], "bytearray"),
}


def server(**options):
    return wsfast.WebSocketServer("localhost", 0, **options)


def serve(**options):
    return wsfast.serve(print, "localhost", 0, **options)


def connect(**options):
    return wsfast.connect(URI, **options)


def connect_securely(**options):
    return wsfast.connect(SECURE, **options)


everywhere = pytest.mark.parametrize("make", [server, serve, connect, connect_securely])
on_servers = pytest.mark.parametrize("make", [server, serve])
in_clients = pytest.mark.parametrize("make", [connect, connect_securely])


def refused(make, name, value, kind=(TypeError, ValueError)):
    """The text with which an option is refused; it must have the option's name."""
    with pytest.raises(kind) as caught:
        make(**{name: value})
    assert re.search(rf"\b{name}\b", str(caught.value)), caught.value
    return str(caught.value)


# --- Limits and timeouts ----------------------------------------------------------------------


def test_the_tables_of_this_file_are_complete():
    assert {field.name for field in fields(wsfast.Options)} == {
        *SIZES,
        *TIMES,
        *FLAGS,
        *CHOICES,
        "codec",
    }


@everywhere
@pytest.mark.parametrize("name", SIZES)
@pytest.mark.parametrize("value", [0, -1, 2**63])
def test_sizes_have_a_range(make, name, value):
    """C14: other than in ws, where what does not fit into 32 bits is no limit."""
    text = refused(make, name, value, ValueError)
    assert repr(value) in text


@everywhere
@pytest.mark.parametrize("name", SIZES)
@pytest.mark.parametrize("value", [1.0, "1024", True, b"1", [1]])
def test_sizes_are_of_the_type_int(make, name, value):
    """C14: nothing is coerced."""
    text = refused(make, name, value, TypeError)
    assert repr(value) in text


@everywhere
@pytest.mark.parametrize("name", TIMES)
@pytest.mark.parametrize("value", [0, -1, -0.5, float("inf"), float("nan"), 10**400])
def test_times_are_positive_and_finite(make, name, value):
    assert repr(value) in refused(make, name, value, ValueError)


@everywhere
@pytest.mark.parametrize("name", TIMES)
@pytest.mark.parametrize("value", ["10", True, b"1", [1]])
def test_times_are_numbers(make, name, value):
    assert repr(value) in refused(make, name, value, TypeError)


@everywhere
@pytest.mark.parametrize("name", FLAGS)
@pytest.mark.parametrize("value", [None, 0, 1, "yes"])
def test_flags_are_true_or_false(make, name, value):
    assert repr(value) in refused(make, name, value, TypeError)


@everywhere
@pytest.mark.parametrize("name", CHOICES)
def test_choices_are_by_name(make, name):
    """W1: an unknown type is refused; ws ignores it."""
    choices, other = CHOICES[name]
    for choice in choices:
        assert getattr(make(**{name: choice}).options, name) == choice
    text = refused(make, name, other, ValueError)
    assert all(repr(value) in text for value in [*choices, other])
    assert "bytes" in refused(make, name, bytes, TypeError)


@everywhere
def test_none_is_no_limit(make):
    names = {*SIZES, *TIMES} - {"write_limit"}
    options = make(**dict.fromkeys(names)).options
    assert {getattr(options, name) for name in names} == {None}


@everywhere
def test_the_write_limit_cannot_be_left_out(make):
    refused(make, "write_limit", None)


@everywhere
def test_the_write_buffer_takes_at_least_what_the_write_limit_allows(make):
    assert make(write_limit=100, max_write_buffer=100)
    with pytest.raises(ValueError, match=r"max_write_buffer must be at least write_limit \(100\)"):
        make(write_limit=100, max_write_buffer=99)


@everywhere
def test_the_defaults_are_bounded(make):
    """M8, M10, M19, K3, C8, C13: ten seconds to close, and none is unlimited by default."""
    options = make().options
    assert options == wsfast.Options(
        max_size=2**20,
        max_frame_size=None,
        max_fragments=131072,
        fragment_size=None,
        max_queue=16,
        write_limit=65536,
        max_write_buffer=2**24,
        open_timeout=10,
        close_timeout=10,
        ping_interval=20,
        ping_timeout=20,
        idle_timeout=None,
        write_timeout=None,
    )


# --- Of both ----------------------------------------------------------------------------------


@everywhere
@pytest.mark.parametrize("name", ["max_payload", "maxSize", "timeout", "hosts"])
def test_an_option_that_does_not_exist_is_refused(make, name):
    with pytest.raises(TypeError, match=f"there is no option '{name}'"):
        make(**{name: 1})


@everywhere
@pytest.mark.parametrize("value", ["chat", [5], [""], ["a b"], ["a,b"], ["a", "a"], ["é"], 5])
def test_subprotocols_are_a_list_of_different_tokens(make, value):
    """C5."""
    with pytest.raises((TypeError, ValueError), match="subprotocol"):
        make(subprotocols=value)


@everywhere
@pytest.mark.parametrize("value", ["mine", 5, None])
def test_the_logger_is_a_logger(make, value):
    refused(make, "logger", value)


@everywhere
@pytest.mark.parametrize("value", ["uring", 5, ""])
def test_the_driver_is_one_of_those_there_are(make, value):
    refused(make, "driver", value)


# --- TLS --------------------------------------------------------------------------------------


@on_servers
@pytest.mark.parametrize("value", [True, "cert.pem", b"x"])
def test_the_context_of_a_server_is_a_context(make, value):
    refused(make, "ssl", value, TypeError)


@pytest.mark.parametrize("value", [True, "cert.pem", b"x"])
def test_the_context_of_a_client_is_a_context(value):
    refused(connect_securely, "ssl", value, TypeError)


@pytest.mark.parametrize("make", [server, connect_securely])
@pytest.mark.parametrize("name", ["cert", "ca"])
def test_a_context_and_certificates_exclude_each_other(make, name):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with pytest.raises(ValueError, match=f"give either ssl or {name}, not both"):
        make(ssl=context, **{name: "file.pem"})


@pytest.mark.parametrize("make", [server, connect_securely])
@pytest.mark.parametrize("value", ["yes", 1, 0])
def test_whether_to_verify_is_a_bool(make, value):
    """Above all 0, which would not turn it off, and "no", which is true."""
    refused(make, "verify", value, TypeError)


@pytest.mark.parametrize("make", [server, connect_securely])
def test_a_context_of_the_user_is_not_changed_by_verify(make):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with pytest.raises(ValueError, match="give either ssl or verify, not both"):
        make(ssl=context, verify=False)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"key": "key.pem"}, "key needs cert"),
        ({"ca": "ca.pem"}, "ca needs cert"),
        ({"verify": True}, "verify needs"),
        ({"verify": False}, "verify needs"),
        ({"cert": IDENTITY, "verify": True}, "verify needs ca, the certificates that clients must"),
    ],
)
def test_what_a_server_needs_for_tls_is_told(options, message):
    """M9."""
    with pytest.raises(ValueError, match=message):
        server(**options)


def test_a_key_of_a_client_needs_a_certificate():
    with pytest.raises(ValueError, match="key needs cert"):
        connect_securely(key="key.pem")


@pytest.mark.parametrize("name", ["ssl", "cert", "key", "ca", "verify", "server_hostname"])
def test_options_for_tls_are_refused_for_an_address_without_tls(name):
    """Whoever gives them believes to be safe."""
    value = {"ssl": ssl.create_default_context(), "verify": True}.get(name, "x")
    text = refused(connect, name, value, ValueError)
    assert "use wss:" in text


@pytest.mark.parametrize("make", [server, connect_securely])
def test_a_file_that_does_not_exist_is_named(make, tmp_path):
    path = str(tmp_path / "none.pem")
    for options in {"cert": path}, {"cert": b"", "key": path}:
        with pytest.raises(FileNotFoundError, match="none.pem"):
            make(**options)


@pytest.mark.parametrize("make", [server, connect_securely])
@pytest.mark.parametrize("value", [5, ["cert.pem"], True])
def test_certificates_are_paths_or_bytes(make, value):
    refused(make, "cert", value, TypeError)


@pytest.mark.parametrize("make", [server, connect_securely])
@pytest.mark.parametrize("data", [b"", b"junk", b"\xff"])
def test_what_is_not_pem_is_told(make, data, tmp_path):
    with pytest.raises(ValueError, match="cert is not a PEM certificate and its key"):
        make(cert=data)
    with pytest.raises(ValueError, match="cert and key are not a PEM certificate and its key"):
        make(cert=data, key=data)


@pytest.mark.parametrize("data", [b"", b"junk", b"\xff"])
def test_authorities_that_are_not_pem_are_told(data, tmp_path):
    with pytest.raises(ValueError, match="ca has no certificates in PEM"):
        connect_securely(ca=data)
    path = tmp_path / "ca.pem"
    path.write_bytes(data)
    with pytest.raises(ValueError, match="ca has no certificates in PEM"):
        connect_securely(ca=path)


# --- Of a server ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"port": 0, "unix_path": "/tmp/x"},
        {"unix_path": "/tmp/x", "sock": socket.socket},
        {"port": 0, "sock": socket.socket},
    ],
)
def test_a_server_has_exactly_one_address(options):
    """SV1."""
    match = 'give exactly one of "port", "sock", "unix_path" and "no_server"'
    with pytest.raises(ValueError, match=match):
        wsfast.WebSocketServer(**options)


@pytest.mark.parametrize("value", ["80", 80.0, True, -1, 65536])
def test_the_port_of_a_server_is_an_int_in_its_range(value):
    refused(wsfast.WebSocketServer, "port", value)


@pytest.mark.parametrize("value", [5, ["localhost", 5], b"localhost"])
def test_the_host_of_a_server_is_a_name_or_several(value):
    with pytest.raises(TypeError, match=r"\bhost\b"):
        wsfast.WebSocketServer(value, 0)


@on_servers
@pytest.mark.parametrize("value", ["chat", "", 5, b"/chat"])
def test_the_path_begins_with_a_slash(make, value):
    refused(make, "path", value)


@pytest.mark.parametrize("value", [5, b"/tmp/x", ""])
def test_the_path_of_a_unix_socket_is_a_str(value):
    refused(wsfast.WebSocketServer, "unix_path", value)


@pytest.mark.parametrize("value", [5, "socket"])
def test_the_socket_of_a_server_is_a_socket(value):
    refused(wsfast.WebSocketServer, "sock", value)


@on_servers
@pytest.mark.parametrize("value", [0, -1, "10", True, 1.5])
def test_max_connections_is_at_least_1(make, value):
    refused(make, "max_connections", value)


@on_servers
@pytest.mark.parametrize("value", [0, -1, "10", True, None, 1.5])
def test_the_backlog_is_at_least_1(make, value):
    """M8"""
    refused(make, "backlog", value)


@on_servers
@pytest.mark.parametrize("name", ["client_tracking", "reuse_port"])
@pytest.mark.parametrize("value", [1, 0, None, "yes"])
def test_switches_of_a_server_are_of_the_type_bool(make, name, value):
    refused(make, name, value, TypeError)


@on_servers
@pytest.mark.parametrize(
    "name", ["verify_client", "select_subprotocol", "process_request", "process_response"]
)
@pytest.mark.parametrize("value", [True, "f", 5])
def test_hooks_can_be_called(make, name, value):
    refused(make, name, value, TypeError)


@on_servers
@pytest.mark.parametrize(
    "value",
    [
        "https://a.com",
        re.compile("x"),
        5,
        [5],
        ["a.com"],
        ["https://a.com/"],
        ["*"],
        ["https://*.a.com"],
        [b"https://a.com"],
        [re.compile(b"https://a.com")],
    ],
)
def test_origins_are_a_list_of_origins_and_patterns(make, value):
    with pytest.raises((TypeError, ValueError), match="origin"):
        make(origins=value)


@on_servers
@pytest.mark.parametrize("value", ["a\r\nX: b", "a\0", "\u20ac", 5])
def test_the_server_header_cannot_break_out(make, value):
    with pytest.raises((TypeError, ValueError), match="Server header"):
        make(server_header=value)


# --- Of a client ------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [5, None, b"ws://localhost"])
def test_the_address_is_a_str(value):
    with pytest.raises(TypeError, match=r"\buri\b"):
        wsfast.connect(value)


@in_clients
@pytest.mark.parametrize("value", [7, 9, "13", None, 13.0, True])
def test_the_version_is_13_or_8(make, value):
    """C19, K6."""
    with pytest.raises((TypeError, ValueError), match="protocol version"):
        make(protocol_version=value)


@in_clients
@pytest.mark.parametrize("value", [1, 0, None, "yes"])
def test_whether_a_subprotocol_is_required_is_a_bool(make, value):
    refused(make, "require_subprotocol", value, TypeError)


@in_clients
def test_a_subprotocol_cannot_be_required_if_none_is_offered(make):
    refused(make, "require_subprotocol", True, ValueError)


@in_clients
@pytest.mark.parametrize("value", [True, b"abcd", "abcd"])
def test_the_generator_of_masks_can_be_called(make, value):
    refused(make, "generate_mask", value, TypeError)


@in_clients
@pytest.mark.parametrize(
    "value", ["user", 5, ("user",), ("a", "b", "c"), ("a", None), (b"a", b"b"), ["a", 5]]
)
def test_the_credentials_are_a_user_name_and_a_password(make, value):
    refused(make, "auth", value)


@in_clients
@pytest.mark.parametrize("value", [("a:b", "c"), ("a\n", "b"), "a:b\0"])
def test_credentials_that_cannot_be_sent_are_refused(make, value):
    with pytest.raises(ValueError, match="Basic credentials"):
        make(auth=value)


@in_clients
@pytest.mark.parametrize(
    "value",
    [
        {"X": "a\r\nY: b"},
        {"X": "a\nb"},
        {"X": "a\0b"},
        {"X\r\nY": "a"},
        {"X:": "a"},
        {"": "a"},
        {"X": 5},
        {5: "x"},
        {"X": None},
        {"X": "\u20ac"},
        [("X", "a\rb")],
    ],
)
def test_headers_that_would_break_out_are_refused_at_the_call(make, value):
    """M14"""
    with pytest.raises((TypeError, ValueError), match="header"):
        make(additional_headers=value)


@in_clients
@pytest.mark.parametrize("value", [5, "X: y", ["X: y"]])
def test_headers_are_pairs(make, value):
    refused(make, "additional_headers", value)


@in_clients
@pytest.mark.parametrize(
    "value", ["Cookie: secret", [("Cookie", "secret", 1)], [("X", "y"), "Cookie: secret"]]
)
def test_what_is_no_header_is_not_shown_because_it_may_be_a_password(make, value):
    with pytest.raises(TypeError, match=r"^additional_headers must be .* not (str|tuple)$"):
        make(additional_headers=value)


@in_clients
@pytest.mark.parametrize(
    "name",
    [
        "Connection",
        "UPGRADE",
        "Sec-WebSocket-Key",
        "Sec-WebSocket-Version",
        "Sec-WebSocket-Protocol",
        "Sec-WebSocket-Extensions",
        "Content-Length",
        "Transfer-Encoding",
    ],
)
def test_headers_of_the_handshake_cannot_be_overridden(make, name):
    """C21."""
    with pytest.raises(ValueError, match=f"additional_headers cannot have {name.lower()}"):
        make(additional_headers={name: "x"})


@in_clients
@pytest.mark.parametrize(
    ("name", "header"), [("origin", "Origin"), ("user_agent_header", "User-Agent")]
)
@pytest.mark.parametrize("value", ["a\r\nX: b", "a\0", 5])
def test_headers_with_an_option_of_their_own_cannot_break_out(make, name, header, value):
    with pytest.raises((TypeError, ValueError), match=f"{header} header"):
        make(**{name: value})


@in_clients
@pytest.mark.parametrize("value", ["80", 80.0, True, 0, -1, 65536])
def test_the_port_of_a_client_is_an_int_in_its_range(make, value):
    refused(make, "port", value)


@in_clients
@pytest.mark.parametrize("value", [5, b"localhost", ""])
def test_the_host_of_a_client_is_a_name(make, value):
    refused(make, "host", value)


@in_clients
@pytest.mark.parametrize("value", ["127.0.0.1", ("127.0.0.1",), 5])
def test_the_local_address_is_a_pair(make, value):
    refused(make, "local_address", value)


@in_clients
@pytest.mark.parametrize("value", [5, "socket"])
def test_the_socket_of_a_client_is_a_socket(make, value):
    refused(make, "sock", value)


@in_clients
@pytest.mark.parametrize("name", ["host", "port", "local_address"])
def test_a_socket_and_addresses_exclude_each_other(make, name):
    value = {"host": "localhost", "port": 80, "local_address": ("localhost", 0)}[name]
    with socket.socket() as sock, pytest.raises(ValueError, match=f"give either sock or {name}"):
        make(sock=sock, **{name: value})


@pytest.mark.parametrize("value", [5, b"localhost"])
def test_the_name_for_tls_is_a_str(value):
    refused(connect_securely, "server_hostname", value, TypeError)


def test_where_names_are_verified_there_must_be_one():
    """C26."""
    text = refused(connect_securely, "server_hostname", "", ValueError)
    assert "verify=False" in text
    connect_securely(server_hostname="", verify=False)


# --- All of them ------------------------------------------------------------------------------


def test_options_are_taken_as_they_are_given():
    """C28: and stay as they are."""
    given = {"additional_headers": {"X": "y"}, "subprotocols": ["a"], "max_size": 5}
    before = {
        name: value.copy() if hasattr(value, "copy") else value for name, value in given.items()
    }
    wsfast.connect(URI, **given)
    assert given == before


def test_headers_of_an_iterator_are_kept():
    connecting = wsfast.connect(URI, additional_headers=iter([("X", "y")]))
    for _ in range(2):
        assert connecting.additional_headers["x"] == "y"


async def test_nothing_is_opened_by_the_call():
    before = asyncio.all_tasks()
    wsfast.connect(URI)
    wsfast.serve(print, "localhost", 0)
    assert asyncio.all_tasks() == before
