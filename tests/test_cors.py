"""CORS: the option ``cors``, which tells browsers which pages may read what over HTTP."""

import re

import pytest
from peers import echo, exchange, request

import wsfast
from wsfast import CORS, Headers, Request, Response
from wsfast.protocol.handshake import text_response

GOOD = "https://good.example"
EVIL = "https://evil.example"


def asking(method, path="/", **headers):
    """A request of a page that opens no WebSocket."""
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("iso-8859-1")


def preflight(origin=GOOD, method="GET", **headers):
    headers["Access_Control_Request_Method"] = method
    if origin is not None:
        headers["Origin"] = origin
    return asking("OPTIONS", **headers)


def serve(cors, **options):
    return wsfast.serve(echo, "127.0.0.1", 0, cors=cors, **options)


def allowed(head):
    """The headers of CORS in a response, and Vary."""
    return {
        name: value
        for name, value in head.headers.items()
        if name.startswith("access-control-") or name == "vary"
    }


# --- Preflight requests -----------------------------------------------------------------------


def test_a_preflight_request_is_answered_with_what_is_allowed():
    """M14"""
    cors = CORS([GOOD], ["GET", "POST"], ["X-Token", "Content-Type"], credentials=True, max_age=600)
    asked = Request(
        "/",
        Headers([("Origin", GOOD), ("Access-Control-Request-Method", "POST")]),
        method="OPTIONS",
    )
    response = cors.apply(cors.preflight(asked), asked)
    assert response.serialize() == (
        b"HTTP/1.1 204 No Content\r\n"
        b"Access-Control-Allow-Methods: GET, POST\r\n"
        b"Access-Control-Allow-Headers: X-Token, Content-Type\r\n"
        b"Access-Control-Max-Age: 600\r\n"
        b"Vary: Access-Control-Request-Method, Access-Control-Request-Headers\r\n"
        b"Vary: Origin\r\n"
        b"Access-Control-Allow-Origin: https://good.example\r\n"
        b"Access-Control-Allow-Credentials: true\r\n"
        b"\r\n"
    )


async def test_preflight_requests_are_answered_by_the_server():
    """M14: 204, without a body, at every path; the connection is closed."""
    async with serve(CORS([GOOD]), path="/ws") as server:
        head, body = await exchange(server, preflight())
    assert head.status == 204
    assert body == ""
    assert allowed(head) == {
        "access-control-allow-origin": GOOD,
        "access-control-allow-methods": "GET",
        "vary": "Origin",  # the last of two
    }
    assert head.headers["connection"] == "close"
    assert "content-length" not in head.headers


async def test_preflight_requests_need_no_credentials():
    """M14: browsers send none, whatever the page asks for."""
    auth = wsfast.basic_auth("chat", ("user", "password"))
    async with serve(CORS([GOOD]), process_request=auth) as server:
        head, _ = await exchange(server, preflight())
        assert head.status == 204
        head, _ = await exchange(server, request(origin=GOOD))
        assert head.status == 401
        assert head.headers["access-control-allow-origin"] == GOOD


@pytest.mark.parametrize("origin", [EVIL, "null", "https://good.example.evil", "", None])
async def test_a_preflight_request_of_another_page_is_refused(origin):
    """M14: its origin is in no header."""
    async with serve(CORS([GOOD])) as server:
        head, _ = await exchange(server, preflight(origin))
    assert head.status == 403
    assert allowed(head) == {"vary": "Origin"}


async def test_two_origins_are_none():
    """M14"""
    data = preflight().replace(b"\r\n\r\n", b"\r\nOrigin: https://evil.example\r\n\r\n")
    async with serve(CORS([GOOD])) as server:
        head, _ = await exchange(server, data)
    assert head.status == 403
    assert allowed(head) == {"vary": "Origin"}


@pytest.mark.parametrize("cors", [None, False, CORS("*")])
async def test_other_options_requests_are_refused_like_any_method(cors):
    """M14: 405, and the same without the option."""
    async with serve(cors) as server:
        data = asking("OPTIONS", Origin=GOOD) if cors else preflight()
        head, _ = await exchange(server, data)
    assert head.status == 405
    assert head.headers["allow"] == "GET"


async def test_a_server_that_closes_or_is_full_answers_503():
    """M14"""
    async with (
        serve(CORS([GOOD]), max_connections=1) as server,
        wsfast.connect(f"ws://127.0.0.1:{server.address()[1]}/", origin=GOOD),
    ):
        head, _ = await exchange(server, preflight())
    assert head.status == 503


# --- Other requests ---------------------------------------------------------------------------


def page(ws, request):
    if request.path == "/page":
        return text_response(200, "hello\n", {"Vary": "Cookie"})
    if request.path == "/own":
        return Response(200, "OK", Headers({"Access-Control-Allow-Origin": "*"}), b"for all\n")
    if request.method == "POST":
        return Response(204, "No Content", Headers())
    return None


async def test_answers_of_process_request_have_the_headers():
    """M14"""
    async with serve(
        CORS([GOOD], ["GET", "POST"], credentials=True), process_request=page
    ) as server:
        head, body = await exchange(server, asking("GET", "/page", Origin=GOOD))
        assert (head.status, body) == (200, "hello\n")
        assert allowed(head) == {
            "access-control-allow-origin": GOOD,
            "access-control-allow-credentials": "true",
            "vary": "Origin",
        }
        head, _ = await exchange(server, asking("POST", Origin=GOOD))
        assert head.status == 204
        assert head.headers["access-control-allow-origin"] == GOOD
        for headers in {"Origin": EVIL}, {}:
            head, body = await exchange(server, asking("GET", "/page", **headers))
            assert body == "hello\n"
            assert allowed(head) == {"vary": "Origin"}


async def test_headers_that_a_hook_set_stay():
    """M14"""
    async with serve(CORS([GOOD], credentials=True), process_request=page) as server:
        head, _ = await exchange(server, asking("GET", "/own", Origin=GOOD))
    assert allowed(head) == {"access-control-allow-origin": "*", "vary": "Origin"}


def test_a_response_may_be_used_for_several_requests():
    """M14: the headers are added to a copy."""
    response = Response(200, "OK", Headers({"Vary": "Cookie"}), b"")
    for origin in GOOD, EVIL:
        headers = CORS([GOOD]).apply(response, Request("/", Headers(Origin=origin))).headers
        assert headers.get_all("Vary") == ["Cookie", "Origin"]
        assert headers.get_all("Access-Control-Allow-Origin") == [GOOD] * (origin == GOOD)
    assert list(response.headers.raw_items()) == [("Vary", "Cookie")]


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (asking("POST", Origin=GOOD), 405),
        (asking("GET", "/other", Origin=GOOD), 404),
        (asking("GET", "/ws", Origin=GOOD), 426),
        (request("/ws", origin=GOOD, sec_websocket_version="7"), 426),
        (request("/ws", origin=GOOD, sec_websocket_key="x"), 400),
        (request("/ws", origin=GOOD), 401),
    ],
)
async def test_refusals_have_the_headers_so_that_a_page_sees_why(data, status):
    """M14"""
    async with serve(CORS([GOOD]), path="/ws", verify_client=lambda info: False) as server:
        head, _ = await exchange(server, data)
        assert head.status == status
        assert head.headers["access-control-allow-origin"] == GOOD
        head, _ = await exchange(server, data.replace(b"good", b"evil"))
        assert allowed(head) == {"vary": "Origin"}


async def test_an_error_of_a_hook_is_a_refusal_too(caplog):
    """M14"""

    def process_request(ws, request):
        raise ValueError("broken")

    async with serve(CORS([GOOD]), process_request=process_request) as server:
        head, _ = await exchange(server, request(origin=GOOD))
    assert head.status == 500
    assert head.headers["access-control-allow-origin"] == GOOD


async def test_a_list_of_a_star_is_everybody():
    """M14"""
    async with serve(CORS(["*"])) as server:
        head, _ = await exchange(server, preflight(EVIL))
    assert head.status == 204
    assert allowed(head)["access-control-allow-origin"] == "*"


async def test_a_request_that_cannot_be_read_has_no_origin():
    """M14"""
    async with serve(CORS("*")) as server:
        head, _ = await exchange(server, b"GET / HTTP/1.1\r\nOrigin: https://a.example\0\r\n\r\n")
    assert head.status == 400
    assert allowed(head) == {}


# --- Origins ----------------------------------------------------------------------------------


async def status_of(server, **headers):
    """What comes of opening a WebSocket."""
    try:
        async with wsfast.connect(f"ws://127.0.0.1:{server.address()[1]}/", **headers):
            return 101
    except wsfast.InvalidStatus as error:
        return error.response.status_code


@pytest.mark.parametrize(
    ("cors", "statuses"),
    [
        (CORS([GOOD]), [101, 403, 403]),
        (CORS([GOOD, None]), [101, 403, 101]),
        (CORS([re.compile(r"https://\w+\.example")]), [101, 101, 403]),
        (CORS("*"), [101, 101, 101]),
    ],
)
async def test_the_same_origins_may_open_websockets(cors, statuses):
    """M14, M13"""
    async with serve(cors) as server:
        for headers, status in zip([{"origin": GOOD}, {"origin": EVIL}, {}], statuses, strict=True):
            assert await status_of(server, **headers) == status


async def test_origins_of_the_server_hold_for_websockets():
    """M14, M13"""
    async with serve(CORS("*"), origins=[GOOD], process_request=page) as server:
        assert await status_of(server, origin=GOOD) == 101
        assert await status_of(server, origin=EVIL) == 403
        head, _ = await exchange(server, asking("GET", "/page", Origin=EVIL))
        assert allowed(head) == {"access-control-allow-origin": "*", "vary": "Cookie"}


async def test_true_stands_for_the_origins_of_the_server():
    """M14"""
    async with serve(True, origins=[GOOD, None], process_request=page) as server:
        head, _ = await exchange(server, asking("GET", "/page", Origin=GOOD))
        assert allowed(head) == {"access-control-allow-origin": GOOD, "vary": "Origin"}
        head, _ = await exchange(server, preflight(EVIL))
        assert head.status == 403
        assert await status_of(server) == 101
        assert await status_of(server, origin=EVIL) == 403


@pytest.mark.parametrize(
    ("origin", "value"),
    [
        ("https://good.example", "https://good.example"),
        ("HTTPS://GOOD.EXAMPLE", "HTTPS://GOOD.EXAMPLE"),  # as browsers compare it
        ("https://good.example:443", "https://good.example:443"),
        ("http://good.example", None),
        ("https://good.example:8443", None),
        ("https://xgood.example", None),
        ("null", None),
    ],
)
def test_1_10_an_origin_is_repeated_as_it_came_or_not_at_all(origin, value):
    """M14"""
    response = CORS([GOOD]).apply(
        Response(200, "OK", Headers(), b""), Request("/", Headers(Origin=origin))
    )
    assert response.headers.get("Access-Control-Allow-Origin") == value


# --- Options ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        {"origins": "*"},
        {"origins": ["*"]},
        {"origins": ("*",)},
        {"origins": [GOOD], "methods": ["*"]},
        {"origins": [GOOD], "headers": ["X-Token", "*"]},
    ],
)
def test_everybody_and_credentials_exclude_each_other(arguments):
    """M14"""
    assert CORS(**arguments)
    with pytest.raises(ValueError, match=r'"\*" and credentials exclude each other'):
        CORS(**arguments, credentials=True)


@pytest.mark.parametrize(
    ("arguments", "kind", "text"),
    [
        ({"origins": None}, TypeError, "origins of CORS must be a list"),
        ({"origins": GOOD}, TypeError, "origins must be a list"),
        ({"origins": ["https://*.example"]}, ValueError, "an origin has no \\*"),
        ({"origins": ["good.example"]}, ValueError, "an origin must be like"),
        ({"origins": "*", "methods": "GET"}, TypeError, "methods of CORS must be a list"),
        ({"origins": "*", "methods": ["GET, POST"]}, ValueError, "methods of CORS is not a token"),
        ({"origins": "*", "methods": [5]}, TypeError, "methods of CORS must be a str"),
        ({"origins": "*", "headers": ["X\r\nY"]}, ValueError, "headers of CORS is not a token"),
        ({"origins": "*", "headers": None}, TypeError, "headers of CORS must be a list"),
        ({"origins": "*", "credentials": 1}, TypeError, "credentials must be a bool"),
        ({"origins": "*", "max_age": -1}, ValueError, "max_age must be at least 0"),
        ({"origins": "*", "max_age": 1.5}, TypeError, "max_age must be an int"),
    ],
)
def test_arguments_are_validated(arguments, kind, text):
    """M14"""
    with pytest.raises(kind, match=text):
        CORS(**arguments)


@pytest.mark.parametrize(
    ("value", "kind", "text"),
    [
        (True, ValueError, "cors=True needs origins"),
        ("*", TypeError, "cors must be a CORS or a bool"),
        ([GOOD], TypeError, "cors must be a CORS or a bool"),
        (CORS, TypeError, "cors must be a CORS or a bool"),
        (1, TypeError, "cors must be a CORS or a bool"),
    ],
)
def test_the_option_is_validated(value, kind, text):
    """M14"""
    with pytest.raises(kind, match=text):
        wsfast.WebSocketServer("localhost", 0, cors=value)
