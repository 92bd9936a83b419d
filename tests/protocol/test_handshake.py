import base64
import re

import pytest

from wsfast.exceptions import (
    HeaderLineTooLong,
    InvalidHandshake,
    InvalidHeader,
    InvalidUpgrade,
    NegotiationError,
    RequestLineTooLong,
    TooManyHeaders,
)
from wsfast.protocol import handshake
from wsfast.protocol.handshake import (
    OriginPolicy,
    Upgrade,
    accept_response,
    build_request,
    check_method,
    check_origin,
    check_path,
    check_response,
    check_selected_subprotocol,
    check_subprotocols,
    check_upgrade,
    closing_response,
    generate_key,
    http_date,
    offered_subprotocols,
    rejection,
    select_subprotocol,
    text_response,
)
from wsfast.protocol.headers import Headers
from wsfast.protocol.http import HeadReader, Response, parse_request, parse_response
from wsfast.uri import parse_uri

pytestmark = pytest.mark.usefixtures("http_parser")

KEY = "dGhlIHNhbXBsZSBub25jZQ=="  # RFC 6455 section 1.3
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

REQUEST = (
    b"GET /chat HTTP/1.1\r\n"
    b"Host: server.example.com\r\n"
    b"Upgrade: websocket\r\n"
    b"Connection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    b"Sec-WebSocket-Version: 13\r\n"
    b"\r\n"
)


def replace(line, *lines):
    """The request with other lines instead of the one that starts like this."""
    pattern = rb"(?m)^%b.*\r\n" % re.escape(line)
    assert re.search(pattern, REQUEST)
    return re.sub(pattern, lambda _: b"".join(line + b"\r\n" for line in lines), REQUEST)


def answer(data, *, path=None, origins=None, subprotocols=()):
    """What a server does, in the order of DESIGN section 5."""
    try:
        head, _ = HeadReader().feed(data)
        request = parse_request(head)
        check_method(request)
        check_path(request, path)
        upgrade = check_upgrade(request.headers)
        check_origin(request.headers, upgrade.version, OriginPolicy(origins))
        offered = offered_subprotocols(request.headers)
        subprotocol = select_subprotocol(offered, subprotocols)
        return accept_response(upgrade.key, subprotocol=subprotocol)
    except InvalidHandshake as error:
        return rejection(error)


def text(response):
    return response.body.decode().removeprefix("Failed to open a WebSocket connection: ")


# The server


def test_a_valid_request_is_accepted():
    """F1."""
    assert answer(REQUEST).serialize() == (
        b"HTTP/1.1 101 Switching Protocols\r\n"
        b"Upgrade: websocket\r\n"
        b"Connection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
        b"\r\n"
    )


def test_everything_that_a_101_may_have():
    response = accept_response(
        KEY,
        subprotocol="chat",
        extensions="permessage-deflate",
        server_header="wsfast",
        additional_headers=[("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")],
        date="Thu, 01 Jan 1970 00:00:00 GMT",
    )
    assert response.serialize() == (
        b"HTTP/1.1 101 Switching Protocols\r\n"
        b"Upgrade: websocket\r\n"
        b"Connection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
        b"Sec-WebSocket-Protocol: chat\r\n"
        b"Sec-WebSocket-Extensions: permessage-deflate\r\n"
        b"Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n"
        b"Server: wsfast\r\n"
        b"Set-Cookie: a=1\r\n"
        b"Set-Cookie: b=2\r\n"
        b"\r\n"
    )


@pytest.mark.parametrize("option", ["subprotocol", "extensions", "server_header", "date"])
def test_1_8_uvicorn_cve_2020_7695_a_101_cannot_be_split(option):
    with pytest.raises(ValueError, match=r"^invalid [A-Za-z-]+ header: a\\r\\nX: b$"):
        accept_response(KEY, **{option: "a\r\nX: b"})


def test_1_8_uvicorn_cve_2020_7695_a_101_cannot_be_split_by_additional_headers():
    with pytest.raises(ValueError, match="invalid X header"):
        accept_response(KEY, additional_headers={"X": "a\r\nY: b"})


@pytest.mark.parametrize(
    ("request_", "status", "reason"),
    [
        (
            b"GET /chat HTTP/1.0\r\n\r\n",
            400,
            "unsupported protocol; expected HTTP/1.1: HTTP/1.0.\n",
        ),
        (
            replace(b"GET", b"GET  /chat HTTP/1.1"),
            400,
            "invalid HTTP request line: GET  /chat HTTP/1.1.\n",
        ),
        (replace(b"Host"), 400, "missing Host header.\n"),
        (replace(b"Host", b"Host: a", b"Host: a"), 400, "there are several Host headers.\n"),
        (
            replace(b"Host", b"Host: a", b"Content-Length: 5"),
            400,
            "a WebSocket handshake cannot have a body.\n",
        ),
        (replace(b"Host", b"Host: a", b" fold"), 400, "a header line starts with a blank.\n"),
        (b"\x16\x03\x01\r\n\r\n", 400, "did not receive a valid HTTP request.\n"),
        (b"GET /" + b"a" * 8192, 414, "the request line is longer than 8192 bytes.\n"),
        (
            replace(b"Host", b"Host: a", b"X: " + b"a" * 8192),
            431,
            "the headers are longer than 8192 bytes a line or 65536 bytes in all.\n",
        ),
        (replace(b"Host", *[b"X: a"] * 129), 431, "there are more than 128 headers.\n"),
    ],
)
def test_1_8_a_broken_request_is_told_what_is_wrong(request_, status, reason):
    response = answer(request_)
    assert (response.status_code, text(response)) == (status, reason)


@pytest.mark.parametrize("method", ["POST", "OPTIONS", "CONNECT", "PUT", "get"])
def test_1_8_any_method_but_get_gets_405(method):
    response = answer(replace(b"GET", f"{method} /chat HTTP/1.1".encode()))
    assert response.status_code == 405
    assert response.headers["Allow"] == "GET"
    assert text(response) == f"the method is {method}; a WebSocket handshake needs GET.\n"


def test_a_head_request_gets_405_without_a_body():
    response = answer(replace(b"GET", b"HEAD /chat HTTP/1.1"))
    assert (response.status_code, response.body) == (405, b"")
    assert int(response.headers["Content-Length"]) > 0


@pytest.mark.parametrize(
    ("target", "path", "status"),
    [
        ("/chat", "/chat", 101),
        ("/chat?a=/b", "/chat", 101),
        ("/chat?", "/chat", 101),
        ("/anything", None, 101),
        ("/chat/", "/chat", 404),
        ("/Chat", "/chat", 404),
        ("/%63hat", "/chat", 404),
        ("/", "/chat", 404),
    ],
)
def test_the_path_is_compared_up_to_the_query(target, path, status):
    response = answer(replace(b"GET", f"GET {target} HTTP/1.1".encode()), path=path)
    assert response.status_code == status


def test_404_does_not_repeat_the_path():
    response = answer(replace(b"GET", b"GET /<script> HTTP/1.1"), path="/chat")
    assert text(response) == "there is no WebSocket at this path.\n"


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        (b"Connection", [b"Connection: upgrade"]),
        (b"Connection", [b"Connection: keep-alive, Upgrade"]),  # Firefox
        (b"Connection", [b"Connection: keep-alive", b"connection: ,UPGRADE\t,"]),
        (b"Upgrade", [b"UPGRADE: WebSocket"]),
        (b"Upgrade", [b"Upgrade:\twebsocket,"]),
    ],
)
def test_1_8_connection_and_upgrade_are_compared_by_token(name, lines):
    assert answer(replace(name, *lines)).status_code == 101


@pytest.mark.parametrize(
    ("name", "lines", "reason"),
    [
        (b"Connection", [], "missing Connection header"),
        (b"Connection", [b"Connection:"], "empty Connection header"),
        (b"Connection", [b"Connection: notupgrade"], "invalid Connection header: notupgrade"),
        (b"Connection", [b"Connection: upgrade2"], "invalid Connection header: upgrade2"),
        (b"Connection", [b"Connection: keep-alive"], "invalid Connection header: keep-alive"),
        (b"Connection", [b"Connection: x upgrade"], "invalid Connection header: x upgrade"),
        (b"Connection", [b"Connection: upgrade\xa0"], r"invalid Connection header: upgrade\xa0"),
        (b"Connection", [b"Connection: upgrade\x85"], r"invalid Connection header: upgrade\x85"),
        (b"Upgrade", [], "missing Upgrade header"),
        (b"Upgrade", [b"Upgrade: websocketx"], "invalid Upgrade header: websocketx"),
        (b"Upgrade", [b"Upgrade: h2c"], "invalid Upgrade header: h2c"),
        (b"Upgrade", [b"Upgrade: websocket, h2c"], "invalid Upgrade header: websocket, h2c"),
        (
            b"Upgrade",
            [b"Upgrade: websocket", b"Upgrade: websocket"],
            "invalid Upgrade header: websocket, websocket",
        ),
        (b"Upgrade", [b"Upgrade: websocket/13"], "invalid Upgrade header: websocket/13"),
        (
            b"Upgrade",
            [b"Upgrade: websoc\xe2\x84\xaaet"],
            "invalid Upgrade header: websoc\xe2\\x84\xaaet",
        ),
    ],
)
def test_1_8_aiohttp_12723_a_request_that_does_not_ask_for_a_websocket_gets_426(
    name, lines, reason
):
    response = answer(replace(name, *lines))
    assert response.status_code == 426
    assert response.headers["Upgrade"] == "websocket"
    assert response.headers["Connection"] == "close, Upgrade"
    assert text(response) == f"{reason}.\n"


def test_1_8_ws_cve_2024_37890_many_headers_cannot_hide_the_upgrade():
    lines = [b"X%d: a" % number for number in range(123)]
    assert answer(replace(b"Host", b"Host: a", *lines)).status_code == 101
    lines.append(b"X: a")
    assert answer(replace(b"Host", b"Host: a", *lines)).status_code == 431


@pytest.mark.parametrize("version", [b"13", b"8", b"  13\t"])
def test_1_8_versions_13_and_8_are_accepted(version):
    """K6: by a server."""
    request = replace(b"Sec-WebSocket-Version", b"Sec-WebSocket-Version:" + version)
    assert answer(request).status_code == 101


@pytest.mark.parametrize(
    "versions",
    [
        [],
        [b""],
        [b"12"],
        [b"14"],
        [b"7"],
        [b"0"],
        [b"013"],
        [b"+13"],
        [b"13.0"],
        [b"1_3"],
        [b"13, 8"],
        [b"13,"],
        [b"13", b"13"],
        [b"13", b"8"],
        [b"1\xb3"],
        [b"1\xef\xbc\x93"],
        [b"13\xa0"],
        [b"13\x85"],
        [b"thirteen"],
    ],
    ids=ascii,
)
def test_1_8_any_other_version_gets_426_with_those_that_would_do(versions):
    lines = [b"Sec-WebSocket-Version: " + version for version in versions]
    response = answer(replace(b"Sec-WebSocket-Version", *lines))
    assert response.status_code == 426
    assert response.headers["Sec-WebSocket-Version"] == "13, 8"
    assert response.headers["Upgrade"] == "websocket"
    assert response.headers["Connection"] == "close, Upgrade"
    assert "Sec-WebSocket-Version header" in text(response)


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        ([], "missing Sec-WebSocket-Key header"),
        ([b""], "invalid Sec-WebSocket-Key header"),
        ([KEY.encode()] * 2, "there are several Sec-WebSocket-Key headers"),
        ([base64.b64encode(bytes(15))], "invalid Sec-WebSocket-Key header"),
        ([base64.b64encode(bytes(17))], "invalid Sec-WebSocket-Key header"),
        ([b"dGhlIHNhbXBsZSBub25jZQ="], "invalid Sec-WebSocket-Key header"),
        ([b"dGhlIHNhbXBsZSBub25jZQ"], "invalid Sec-WebSocket-Key header"),
        ([b"dGhlIHNhbXBsZSBub25j-_=="], "invalid Sec-WebSocket-Key header"),
        ([b"dGhl!!IHNhbXBsZSBub25jZQ=="], "invalid Sec-WebSocket-Key header"),
        ([b"dGhlIHNhbXBs ZSBub25jZQ=="], "invalid Sec-WebSocket-Key header"),
        ([b"dGhlIHNhbXBsZSBub25jZQ==\xa0"], "invalid Sec-WebSocket-Key header"),
        ([b"dGhlIHNhbXBsZSBub25jZ\xe9=="], "invalid Sec-WebSocket-Key header"),
        ([b"1_ ts{P$ \\"], "invalid Sec-WebSocket-Key header"),  # Hixie-76
    ],
)
def test_h4_1_8_a_key_that_is_not_16_bytes_in_base64_gets_400(keys, reason):
    lines = [b"Sec-WebSocket-Key: " + key for key in keys]
    response = answer(replace(b"Sec-WebSocket-Key", *lines))
    assert response.status_code == 400
    expected = "empty Sec-WebSocket-Key header" if keys == [b""] else reason
    assert text(response).startswith(expected)


@pytest.mark.parametrize("key", ["dGhlIHNhbXBsZSBub25jZQ==\n", KEY + "\r\n", "\n" + KEY])
def test_1_8_a_key_with_a_line_end_is_refused_also_behind_the_parser(key):
    headers = Headers(
        [
            ("Upgrade", "websocket"),
            ("Connection", "Upgrade"),
            ("Sec-WebSocket-Version", "13"),
        ]
    )
    headers.add_received(b"Sec-WebSocket-Key", key.encode())
    with pytest.raises(InvalidHeader):
        check_upgrade(headers)


def test_the_checks_return_what_the_answer_needs():
    request = parse_request(replace(b"Sec-WebSocket-Version", b"Sec-WebSocket-Version: 8"))
    assert check_upgrade(request.headers) == Upgrade(8, KEY)


def test_the_checks_are_made_in_order():
    faults = [
        ((b"GET", b"POST /other HTTP/1.1"), 405),
        ((b"GET", b"GET /other HTTP/1.1"), 404),
        ((b"Upgrade",), 426),
        ((b"Sec-WebSocket-Version", b"Sec-WebSocket-Version: 14"), 426),
        ((b"Sec-WebSocket-Key",), 400),
        ((b"Host", b"Host: a", b"Origin: http://evil.example"), 403),
    ]
    request = REQUEST
    statuses = []
    for (line, *lines), _ in reversed(faults):
        pattern = rb"(?m)^%b.*\r\n" % line
        request = re.sub(pattern, b"".join(line + b"\r\n" for line in lines), request)
        statuses.append(answer(request, path="/chat", origins=[None]).status_code)
    assert statuses == [status for _, status in reversed(faults)]


# Origins and subprotocols


def test_1_10_an_origin_that_is_not_allowed_gets_403():
    request = replace(b"Host", b"Host: a", b"Origin: https://evil.example")
    response = answer(request, origins=["https://a.com"])
    assert (response.status_code, text(response)) == (
        403,
        "invalid Origin header: https://evil.example.\n",
    )


def test_1_10_a_missing_origin_gets_403():
    response = answer(REQUEST, origins=["https://a.com"])
    assert (response.status_code, text(response)) == (403, "missing Origin header.\n")


@pytest.mark.parametrize("origins", [None, ["https://a.com"]])
def test_1_10_two_origins_get_403(origins):
    request = replace(b"Host", b"Host: a", *[b"Origin: https://a.com"] * 2)
    response = answer(request, origins=origins)
    assert (response.status_code, text(response)) == (403, "there are several Origin headers.\n")


@pytest.mark.parametrize(
    ("offered", "supported", "selected"),
    [
        ([b"a, b"], ["b", "a"], "b"),
        ([b"a", b"b"], ["c", "a"], "a"),
        ([b"a"], ["A"], None),
        ([b"a"], [], None),
        ([], ["a"], None),
    ],
)
def test_the_server_prefers_among_the_offered_subprotocols(offered, supported, selected):
    lines = [b"Sec-WebSocket-Protocol: " + value for value in offered]
    response = answer(replace(b"Host", b"Host: a", *lines), subprotocols=supported)
    assert response.status_code == 101
    assert response.headers.get("Sec-WebSocket-Protocol") == selected


@pytest.mark.parametrize(
    "value", [b"a,,b", b"a b", b"a\x80", b"", b",", b"a;b", b"a, a", b"caf\xc3\xa9"]
)
def test_1_8_granian_2026_malformed_subprotocols_get_400(value):
    response = answer(replace(b"Host", b"Host: a", b"Sec-WebSocket-Protocol: " + value))
    assert response.status_code == 400
    assert text(response).startswith("invalid Sec-WebSocket-Protocol header: ")


def test_1_8_8_kib_of_blanks_in_a_subprotocol_header_are_blanks():
    value = b"a" + b" " * 8160 + b","
    response = answer(replace(b"Host", b"Host: a", b"Sec-WebSocket-Protocol: " + value))
    assert response.status_code == 400


@pytest.mark.parametrize(
    "offer",
    [
        b"permessage-deflate; client_max_window_bits",
        b"constructor",
        b",;x",
        b'a;b="' + b"\\c" * 4000,
        b"x;a=1;a=2",
        b",".join([b"x"] * 500),
    ],
    ids=["a good one", "NSP 550", "malformed", "CVE-2020-7662", "duplicated", "500 offers"],
)
def test_1_8_extensions_are_not_accepted_whatever_they_are(offer):
    response = answer(replace(b"Host", b"Host: a", b"Sec-WebSocket-Extensions: " + offer))
    assert response.status_code == 101
    assert "Sec-WebSocket-Extensions" not in response.headers


@pytest.mark.parametrize("selected", ["b", None])
def test_a_custom_choice_must_have_been_offered(selected):
    assert check_selected_subprotocol(selected, ["a", "b"]) == selected


@pytest.mark.parametrize("selected", ["c", "", "A", 5])
def test_a_custom_choice_that_was_not_offered_is_an_error(selected):
    with pytest.raises(ValueError, match="which the client did not offer"):
        check_selected_subprotocol(selected, ["a", "b"])


@pytest.mark.parametrize(
    "subprotocols", [[""], ["a b"], ["a,b"], ["a", "a"], ["caf\xe9"], ["a\r\nX: y"], ["a\n"]]
)
def test_c5_an_invalid_or_duplicated_subprotocol_is_refused_as_an_option(subprotocols):
    with pytest.raises(ValueError, match="An invalid or duplicated subprotocol was specified"):
        check_subprotocols(subprotocols)
    with pytest.raises(ValueError, match="An invalid or duplicated subprotocol was specified"):
        build_request(parse_uri("ws://localhost"), KEY, subprotocols=subprotocols)


def test_subprotocols_as_one_str_are_refused():
    with pytest.raises(TypeError, match="subprotocols must be a list, not a str"):
        check_subprotocols("chat")


@pytest.mark.parametrize("name", [None, 5, b"chat"])
def test_a_subprotocol_that_is_not_a_str_is_refused(name):
    with pytest.raises(TypeError, match="a subprotocol must be a str, not "):
        check_subprotocols([name])


# Responses that end the connection


def test_a_rejection_ends_the_connection_and_says_what_was_wrong():
    response = rejection(InvalidHeader("Sec-WebSocket-Key"), date="Thu, 01 Jan 1970 00:00:00 GMT")
    assert response.serialize() == (
        b"HTTP/1.1 400 Bad Request\r\n"
        b"Content-Type: text/plain; charset=utf-8\r\n"
        b"Connection: close\r\n"
        b"Content-Length: 73\r\n"
        b"Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n"
        b"\r\n"
        b"Failed to open a WebSocket connection: missing Sec-WebSocket-Key header.\n"
    )


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (RequestLineTooLong("x"), 414),
        (HeaderLineTooLong("x"), 431),
        (TooManyHeaders("x"), 431),
        (InvalidHandshake("x"), 400),
        (NegotiationError("x"), 400),
        (InvalidUpgrade("Upgrade"), 426),
    ],
)
def test_an_exception_has_its_status(error, status):
    response = rejection(error)
    assert response.status_code == status
    assert "close" in response.headers["Connection"]
    assert response.headers["Content-Length"] == str(len(response.body))


@pytest.mark.parametrize(
    "error", [ValueError("secret"), RuntimeError("secret"), KeyError("secret")]
)
def test_1_8_any_other_exception_gets_500_and_no_internals(error):
    response = rejection(error)
    assert response.status_code == 500
    assert b"secret" not in response.serialize()


def test_1_12_what_a_rejection_repeats_is_short_and_harmless():
    value = "\x9b2J\x85" + "a" * 8000
    body = rejection(InvalidUpgrade("Upgrade", value)).body.decode()
    assert len(body) < 200
    assert body.rstrip("\n").isprintable()


def test_a_text_response_has_what_it_needs():
    response = text_response(503, "The server is shutting down.\n", {"Retry-After": "5"})
    assert response.serialize() == (
        b"HTTP/1.1 503 Service Unavailable\r\n"
        b"Retry-After: 5\r\n"
        b"Content-Type: text/plain; charset=utf-8\r\n"
        b"Connection: close\r\n"
        b"Content-Length: 29\r\n"
        b"\r\n"
        b"The server is shutting down.\n"
    )


def test_a_status_without_a_name_has_no_reason():
    assert text_response(599, "").serialize().startswith(b"HTTP/1.1 599 \r\n")


@pytest.mark.parametrize(
    ("headers", "completed"),
    [
        ([], [("Connection", "close"), ("Content-Length", "2")]),
        ([("Connection", "keep-alive")], [("Connection", "close"), ("Content-Length", "2")]),
        ([("Connection", "Close, X")], [("Connection", "Close, X"), ("Content-Length", "2")]),
        (
            [("Content-Length", "5"), ("Content-Length", "6")],
            [("Connection", "close"), ("Content-Length", "2")],
        ),
        (
            [("Transfer-Encoding", "chunked")],
            [("Transfer-Encoding", "chunked"), ("Connection", "close")],
        ),
        ([("Date", "d")], [("Date", "d"), ("Connection", "close"), ("Content-Length", "2")]),
    ],
)
def test_1_11_a_response_of_the_user_is_completed_so_that_it_is_the_last(headers, completed):
    given = Response(200, "OK", Headers(headers), b"OK")
    date = None if not any(name == "Date" for name, _ in headers) else "later"
    response = closing_response(given, date=date)
    assert list(response.headers.raw_items()) == completed
    assert list(given.headers.raw_items()) == headers


def test_a_204_has_no_content_length():
    response = closing_response(Response(204, "No Content", Headers()), date="d")
    assert list(response.headers.raw_items()) == [("Connection", "close"), ("Date", "d")]


def test_http_dates():
    assert http_date(784111777.9) == "Sun, 06 Nov 1994 08:49:37 GMT"  # RFC 9110 section 5.6.7


# Both sides


def test_our_server_accepts_what_our_client_sends():
    for version in handshake.VERSIONS:
        request = build_request(
            parse_uri("wss://[::1]:8443/a?b"), generate_key(), subprotocols=["a"], version=version
        )
        response = answer(request.serialize(), subprotocols=["a"])
        key = request.headers["Sec-WebSocket-Key"]
        received = parse_response(response.serialize())
        assert check_response(received, key, subprotocols=["a"]) == "a"
