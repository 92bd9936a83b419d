import base64
import re

import pytest

from wsfast.exceptions import (
    InvalidHeader,
    InvalidStatus,
    InvalidUpgrade,
    NegotiationError,
)
from wsfast.protocol.handshake import accept_key, build_request, check_response, generate_key
from wsfast.protocol.http import parse_response
from wsfast.uri import parse_uri

both_parsers = pytest.mark.usefixtures("http_parser")

KEY = "dGhlIHNhbXBsZSBub25jZQ=="  # RFC 6455 section 1.3
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

# The request


def request_lines(uri="ws://localhost/", **options):
    options.setdefault("user_agent", None)
    lines = build_request(parse_uri(uri), KEY, **options).serialize().split(b"\r\n")
    assert lines[-2:] == [b"", b""]
    return lines[:-2]


def test_a_request_has_what_rfc_6455_asks_for():
    assert request_lines("ws://server.example.com/chat?a=b") == [
        b"GET /chat?a=b HTTP/1.1",
        b"Host: server.example.com",
        b"Upgrade: websocket",
        b"Connection: Upgrade",
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        b"Sec-WebSocket-Version: 13",
    ]


def test_everything_that_a_request_may_have():
    lines = request_lines(
        subprotocols=["chat", "superchat"],
        extensions="permessage-deflate",
        origin="http://example.com",
        auth="user:pass",
        user_agent="test",
        additional_headers=[("Cookie", "a=1"), ("X", "y"), ("X", "z")],
    )
    assert lines[6:] == [
        b"Sec-WebSocket-Protocol: chat,superchat",
        b"Sec-WebSocket-Extensions: permessage-deflate",
        b"Origin: http://example.com",
        b"Authorization: Basic dXNlcjpwYXNz",
        b"User-Agent: test",
        b"Cookie: a=1",
        b"X: y",
        b"X: z",
    ]


def test_the_user_agent_names_us_by_default():
    request = build_request(parse_uri("ws://localhost/"), KEY)
    assert request.headers["User-Agent"].startswith("wsfast/")


@pytest.mark.parametrize(
    ("uri", "host"),
    [
        ("ws://localhost:80/", b"localhost"),
        ("wss://localhost:443/", b"localhost"),
        ("ws://localhost:443/", b"localhost:443"),
        ("wss://localhost:80/", b"localhost:80"),
        ("http://localhost:8080/", b"localhost:8080"),
        ("ws://[::1]/", b"[::1]"),
        ("ws://[::1]:8080/", b"[::1]:8080"),
        ("ws://b\xfccher.example/", b"xn--bcher-kva.example"),
        ("ws+unix:/tmp/socket:/", b"localhost"),
    ],
)
def test_c23_the_host_leaves_out_a_default_port(uri, host):
    assert request_lines(uri)[1] == b"Host: " + host


def test_version_8_has_its_own_origin_header():
    assert request_lines(version=8, origin="http://a.com")[5:] == [
        b"Sec-WebSocket-Version: 8",
        b"Sec-WebSocket-Origin: http://a.com",
    ]


@pytest.mark.parametrize("version", [0, 7, 9, 14, "13", None])
def test_c19_any_other_version_is_refused(version):
    """C19, K6: by a client, when it is set."""
    with pytest.raises(
        ValueError, match=r"^Unsupported protocol version: .* \(supported versions: 8, 13\)$"
    ):
        request_lines(version=version)


@pytest.mark.parametrize(
    "name",
    [
        "Connection",
        "UPGRADE",
        "Sec-WebSocket-Key",
        "sec-websocket-version",
        "Sec-WebSocket-Protocol",
        "Sec-WebSocket-Extensions",
        "Content-Length",
        "Transfer-Encoding",
    ],
)
def test_c21_additional_headers_cannot_change_the_handshake(name):
    with pytest.raises(ValueError, match=f"^additional_headers cannot have {name.lower()}"):
        request_lines(additional_headers={name: "x"})


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("hOST", {}),
        ("Origin", {"origin": "http://a.com"}),
        ("Authorization", {"auth": "a:b", "uri": "ws://c:d@localhost/"}),
        ("User-agent", {"user_agent": "a"}),
    ],
)
def test_c21_other_headers_can_be_overridden(name, options):
    lines = request_lines(additional_headers={name: "x"}, **options)
    found = [line for line in lines if line.lower().startswith(name.lower().encode() + b":")]
    assert found == [f"{name}: x".encode()]


@pytest.mark.parametrize(
    ("uri", "auth", "credentials"),
    [
        ("ws://localhost/", "a:b", b"a:b"),
        ("ws://localhost/", ("a", "b:c"), b"a:b:c"),
        ("ws://localhost/", "a:b:c", b"a:b:c"),
        ("ws://localhost/", ("\xfc", "\u20ac"), b"\xc3\xbc:\xe2\x82\xac"),
        ("ws://c:d@localhost/", "a:b", b"c:d"),
        ("ws://us%40er:p%3Aw@localhost/", None, b"us@er:p:w"),
        ("ws://token@localhost/", None, b"token:"),
        ("ws://localhost/", None, None),
    ],
)
def test_c22_credentials_come_from_the_address_or_else_from_auth(uri, auth, credentials):
    expected = (
        [] if credentials is None else [b"Authorization: Basic " + base64.b64encode(credentials)]
    )
    assert request_lines(uri, auth=auth)[6:] == expected


def test_auth_without_a_colon_is_refused_without_repeating_it():
    with pytest.raises(ValueError, match="auth must be like") as caught:
        request_lines(auth="secret")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "options", [{"origin": "a\r\nX: y"}, {"user_agent": "\0"}, {"extensions": "\n"}]
)
@pytest.mark.parametrize("name", ["X\r\nY", "X Y", ""])
def test_1_9_headers_that_break_the_request_are_refused(options, name):
    with pytest.raises(ValueError, match="header"):
        request_lines(**options)
    with pytest.raises(ValueError, match="invalid header name"):
        request_lines(additional_headers={name: "a"})


def test_the_key_is_16_random_bytes_in_base64():
    keys = {generate_key() for _ in range(1000)}
    assert len(keys) == 1000
    assert all(re.fullmatch("[A-Za-z0-9+/]{22}==", key) for key in keys)
    assert all(len(base64.b64decode(key, validate=True)) == 16 for key in keys)


def test_the_accept_of_rfc_6455():
    """K2, F10: which has the GUID of its section 1.3."""
    assert accept_key(KEY) == ACCEPT


# What is refused in a response

RESPONSE = (
    b"HTTP/1.1 101 Switching Protocols\r\n"
    b"Upgrade: websocket\r\n"
    b"Connection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
    b"\r\n"
)


def check(old=b"", new=b"", **options):
    assert old in RESPONSE
    return check_response(parse_response(RESPONSE.replace(old, new, 1)), KEY, **options)


def with_line(line, **options):
    return check(b"\r\n\r\n", b"\r\n" + line + b"\r\n\r\n", **options)


@both_parsers
def test_a_valid_response_is_accepted():
    assert check() is None
    assert check(subprotocols=["chat"]) is None


@both_parsers
@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"Upgrade: websocket", b"uPGRADE:WEBSOCKET"),
        (b"Connection: Upgrade", b"connection: keep-alive, upgrade"),
        (b"Switching Protocols", b""),
        (b"Switching Protocols", b"null"),
    ],
)
def test_1_9_tokens_and_the_reason_may_be_written_otherwise(old, new):
    assert check(old, new) is None


@both_parsers
@pytest.mark.parametrize(
    ("old", "new", "error", "message"),
    [
        (b"Upgrade: websocket\r\n", b"", InvalidUpgrade, "Invalid Upgrade header"),
        (b"websocket", b"foo", InvalidUpgrade, "Invalid Upgrade header"),
        (b"websocket", b"websocket, foo", InvalidUpgrade, "Invalid Upgrade header"),
        (b"websocket", b"websoc\xe2\x84\xaaet", InvalidUpgrade, "Invalid Upgrade header"),
        (b"Connection: Upgrade\r\n", b"", InvalidUpgrade, "Invalid Connection header"),
        (b"Connection: Upgrade", b"Connection: close", InvalidUpgrade, "Invalid Connection header"),
        (
            b"Connection: Upgrade",
            b"Connection: notupgrade",
            InvalidUpgrade,
            "Invalid Connection header",
        ),
        (
            b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n",
            b"",
            InvalidHeader,
            "Invalid Sec-WebSocket-Accept header",
        ),
        (b"s3pPL", b"S3PPL", InvalidHeader, "Invalid Sec-WebSocket-Accept header"),
        (b"xOo=", b"xOp=", InvalidHeader, "Invalid Sec-WebSocket-Accept header"),
        (b"xOo=", b"xOo", InvalidHeader, "Invalid Sec-WebSocket-Accept header"),
        (
            b"Connection: Upgrade",
            b"Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
            InvalidHeader,
            "Invalid Sec-WebSocket-Accept header",
        ),
        (
            b"101 Switching Protocols",
            b"401 Unauthorized",
            InvalidStatus,
            "Unexpected server response: 401",
        ),
        (b"101 Switching Protocols", b"200 OK", InvalidStatus, "Unexpected server response: 200"),
        (
            b"101 Switching Protocols",
            b"100 Continue",
            InvalidStatus,
            "Unexpected server response: 100",
        ),
    ],
)
def test_1_9_a_response_that_does_not_open_a_websocket_is_refused(old, new, error, message):
    with pytest.raises(error) as caught:
        check(old, new)
    assert type(caught.value) is error
    assert str(caught.value) == message


@both_parsers
def test_the_response_is_on_the_exception():
    with pytest.raises(InvalidStatus) as caught:
        check(b"101 Switching Protocols", b"401 Unauthorized")
    assert caught.value.response.status_code == 401
    assert caught.value.code == "WS_ERR_UNEXPECTED_RESPONSE"


@both_parsers
def test_the_selected_subprotocol_is_returned():
    line = b"Sec-WebSocket-Protocol: b"
    assert with_line(line, subprotocols=["a", "b"], require_subprotocol=True) == "b"


@both_parsers
@pytest.mark.parametrize(
    ("line", "options", "message"),
    [
        (b"Sec-WebSocket-Protocol: a", {}, "Server sent a subprotocol but none was requested"),
        (b"Sec-WebSocket-Protocol:", {}, "Server sent a subprotocol but none was requested"),
        (
            b"Sec-WebSocket-Protocol: c",
            {"subprotocols": ["a", "b"]},
            "Server sent an invalid subprotocol",
        ),
        (
            b"Sec-WebSocket-Protocol: A",
            {"subprotocols": ["a", "b"]},
            "Server sent an invalid subprotocol",
        ),
        (
            b"Sec-WebSocket-Protocol:",
            {"subprotocols": ["a", "b"]},
            "Server sent an invalid subprotocol",
        ),
        (
            b"Sec-WebSocket-Protocol: a, b",
            {"subprotocols": ["a", "b"]},
            "Server sent an invalid subprotocol",
        ),
        (
            b"Sec-WebSocket-Protocol: a\r\nSec-WebSocket-Protocol: b",
            {"subprotocols": ["a", "b"]},
            "Server sent an invalid subprotocol",
        ),
        (
            b"X: y",
            {"subprotocols": ["a"], "require_subprotocol": True},
            "Server sent no subprotocol",
        ),
    ],
)
def test_1_9_a_subprotocol_that_was_not_agreed_is_refused(line, options, message):
    with pytest.raises(NegotiationError) as caught:
        with_line(line, **options)
    assert str(caught.value) == message
