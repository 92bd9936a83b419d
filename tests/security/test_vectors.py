"""What went wrong in other WebSocket libraries, end to end. The ids are those of the advisories."""

import asyncio
import base64
import logging
import random
import re
import weakref

import pytest
from peers import (
    BINARY,
    CLOSE,
    CONT,
    KEY,
    MASK,
    PATIENCE,
    TEXT,
    Accepted,
    accept_of,
    against_client,
    against_server,
    client_of,
    close_payload,
    echo,
    exchange,
    frame,
    hold,
    parse_close,
    raw_client,
    raw_server,
    request,
    until,
    uri_of,
)

import wsfast
from wsfast.protocol import http


def serve(handler=echo, **options):
    return wsfast.serve(handler, "127.0.0.1", 0, **options)


def with_lines(*lines):
    """The request with further header lines in front of the others."""
    head, _, rest = request().partition(b"\r\n")
    return b"\r\n".join([head, *lines, rest])


def with_headers(**headers):
    return request(**headers)


@pytest.fixture(params=["h11", "httptools"])
def http_parser(request, monkeypatch):
    if request.param not in http.PARSERS:
        pytest.skip(f"{request.param} is not installed")
    monkeypatch.setattr(http, "HTTP_PARSER", request.param)


# --- The opening handshake of a server (security 1.8, 1.11; ws-features 7) ---------------------

HANDSHAKES = {
    "CVE-2024-37890 headers that hide Upgrade": (with_lines(*[b"X: y"] * 2000), 431),
    "CVE-2021-32640 blanks in Sec-WebSocket-Protocol": (
        with_headers(sec_websocket_protocol="a" + " " * 8000 + "b"),
        400,
    ),
    "CVE-2021-32640 blanks and commas": (
        with_headers(sec_websocket_protocol="a" + " ," * 4000),
        400,
    ),
    "1000 subprotocols": (
        with_headers(sec_websocket_protocol=",".join(map(str, range(1000)))),
        101,
    ),
    "NSP-550 constructor": (with_headers(sec_websocket_extensions="constructor"), 101),
    "NSP-550 __proto__": (with_headers(sec_websocket_extensions="__proto__; __class__=1"), 101),
    "CVE-2026-54277 a long line in segments": (with_lines(b"X: " + b"y" * 8190), 431),
    "aiohttp 12723 Connection: notupgrade": (with_headers(connection="notupgrade"), 426),
    "aiohttp 12746 Upgrade: websocketx": (with_headers(upgrade="websocketx"), 426),
    "CVE-2026-59898 version 8 without Connection": (
        request(sec_websocket_version="8", without=["Connection"]),
        426,
    ),
    "CVE-2026-59898 version 8 with another Upgrade": (
        request(sec_websocket_version="8", upgrade="h2c"),
        426,
    ),
    "CVE-2026-34525 two Hosts": (with_lines(b"Host: evil"), 400),
    "CVE-2025-69224 digits of another script": (
        with_headers(sec_websocket_version="1３".encode().decode("iso-8859-1")),
        426,
    ),
    "CVE-2025-69224 Content-Length 1_0": (with_headers(content_length="1_0"), 400),
    "CVE-2025-69224 Content-Length +0": (with_headers(content_length="+0"), 400),
    "CVE-2026-55517 a subprotocol that is not ASCII": (
        with_headers(sec_websocket_protocol="ch\xe4t"),
        400,
    ),
    "CVE-2026-48710 a slash in Host": (with_headers(host="a/b"), 400),
    "CVE-2026-48710 a query in Host": (with_headers(host="a?b"), 400),
    "CVE-2026-48710 a fragment in Host": (with_headers(host="a#b"), 400),
    "nes-331 a Cookie that cannot be parsed": (with_headers(cookie='a="\xff; ;=;,'), 101),
    "websockets-1735 a header that is not ASCII": (with_headers(x_name="J\xfcrgen"), 101),
    "smuggling by Content-Length": (with_headers(content_length="5") + b"GET /", 400),
    "smuggling by Transfer-Encoding": (with_headers(transfer_encoding="chunked"), 400),
    "smuggling by Transfer-Encoding: identity": (with_headers(transfer_encoding="identity"), 400),
    "smuggling by two lengths": (with_lines(b"Content-Length: 0", b"Content-Length: 5"), 400),
    "smuggling by an obsolete folding": (with_lines(b"X: a", b" Host: evil"), 400),
    "smuggling by a bare LF": (with_lines(b"X: a\nHost: evil"), 400),
    "smuggling by a bare CR": (with_lines(b"X: a\rHost: evil"), 400),
    "smuggling by a blank before the colon": (with_lines(b"Content-Length : 5"), 400),
    "smuggling by \\x0b": (with_lines(b"Transfer-Encoding:\x0bchunked"), 400),
    "blanks that are none: \\x85": (with_headers(upgrade="\x85websocket"), 426),
    "blanks that are none: \\xa0": (with_headers(connection="\xa0Upgrade"), 426),
    "ws without HTTP/1.1": (request().replace(b"HTTP/1.1", b"HTTP/1.0"), 400),
    "ws without Host": (request(without=["Host"]), 400),
    "Hixie-76": (
        b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key1: 18x 6]8vM;54 *(5:  {   U1]8  z [  8\r\n"
        b"Sec-WebSocket-Key2: 1_ tx7X d  <  nw  334J702) 7]o}` 0\r\n\r\nTm[K T2u",
        426,
    ),
    "HTTP/2 with prior knowledge": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
}  # fmt: skip


@pytest.mark.parametrize("size", [1000, 100_000])
@pytest.mark.parametrize(("data", "status"), HANDSHAKES.values(), ids=HANDSHAKES.keys())
async def test_a_handshake_is_answered_as_it_must_be(data, status, size, http_parser):
    async with serve(subprotocols=["chat"]) as server, raw_client(server) as peer:
        for start in range(0, len(data), size):
            peer.write(data[start : start + size])
            await asyncio.sleep(0)
        head = await peer.head()
        assert head.status == status
        if status != 101:
            assert "close" in head.headers["connection"]
            await peer.rest()


@pytest.mark.parametrize("value", ["J\xfcrgen", "\xa0x\xa0", "a\x85b", "a\tb", "\x80\xff"])
async def test_headers_are_iso_8859_1_and_only_blanks_are_stripped(value):
    """websockets 1735; and str.strip() would take more than blanks."""
    handler = Accepted()
    async with serve(handler) as server, client_of(server, x_name=f" \t{value}\t "):
        assert (await handler.get()).request.headers["X-Name"] == value


async def test_tunnels_are_not_opened_by_a_wrong_version():
    """A proxy switches to tunnel mode at any answer: it must be the last one (0ang3el)."""
    async with serve() as server:
        smuggled = (
            request(sec_websocket_version="777") + b"GET /private HTTP/1.1\r\nHost: a\r\n\r\n"
        )
        head, body = await exchange(server, smuggled)
    assert head.status == 426
    assert head.headers["sec-websocket-version"] == "13, 8"
    assert "close" in head.headers["connection"]
    assert body.count("HTTP/1.1") == 0


BREAKS = ["a\r\nX-Injected: b", "a\nb", "a\rb", "a\0b"]


@pytest.mark.parametrize("value", BREAKS)
async def test_header_injection_by_a_hook_sends_nothing_of_it(value, caplog):
    """CVE-2020-7695"""

    def process_response(ws, request, response):
        response.headers["X-Name"] = value

    def process_request(ws, request):
        return wsfast.Response(200, value, wsfast.Headers(), b"")

    for hook in process_response, process_request:
        async with serve(**{hook.__name__: hook}) as server:
            head, body = await exchange(server, request())
        assert head.status == 500
        assert "x-injected" not in head.headers
        assert "Injected" not in body
        assert "opening handshake failed" in caplog.text


@pytest.mark.parametrize(
    "uri",
    [
        "ws://host/\r\nX: 1",
        "ws://host/a b\r\n",
        "ws://h%0d%0a/",
        "ws://host\r\n/",
        "ws://user%0d%0a:x@host/",
        "ws://user:x\r\n@host/",
        "ws://host/?a\nb",
        "ws://host/#fragment",
        "ws://host:0/",
        "ws://host:65536/",
        "ws://host:８０/",
        "ws:///path",
        "ws://[fe80::1%25eth0]/",
        "ftp://host/",
    ],
)
def test_addresses_that_would_inject_or_mislead_are_refused(uri):
    """tetsuo-pulse 3489, CVE-2026-1527"""
    with pytest.raises(wsfast.InvalidURI) as caught:
        wsfast.connect(uri)
    assert "\r" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", BREAKS)
@pytest.mark.parametrize("name", ["origin", "user_agent_header", "additional_headers", "auth"])
def test_options_that_would_inject_are_refused(name, value):
    """CVE-2026-1527"""
    given = {"additional_headers": {"X": value}, "auth": ("user", value)}.get(name, value)
    with pytest.raises(ValueError, match="header|Basic credentials"):
        wsfast.connect("ws://host/", **{name: given})


@pytest.mark.parametrize("value", [*BREAKS, "a b", "a,b", "é"])
def test_subprotocols_that_would_inject_are_refused(value):
    """tetsuo-pulse 3489"""
    with pytest.raises(ValueError, match="subprotocol"):
        wsfast.connect("ws://host/", subprotocols=[value])
    with pytest.raises(ValueError, match="subprotocol"):
        wsfast.WebSocketServer("", 1, subprotocols=[value])


# --- Origins and credentials (security 1.10) ---------------------------------------------------

FOREIGN = {
    "CVE-2019-13611 any": "https://evil.com",
    "CVE-2018-14732 none at all": None,
    "CVE-2022-42975 a wildcard is no pattern": "https://sub.a.com",
    "coder e11dd4e another scheme": "http://a.com",
    "another port": "https://a.com:8443",
    "a suffix": "https://a.com.evil",
    "a prefix": "https://xa.com",
    "null": "null",
    "empty": "",
    "a path": "https://a.com/",
    "userinfo": "https://a.com@evil.com",
    "two": "https://a.com, https://evil.com",
}


@pytest.mark.parametrize("origin", FOREIGN.values(), ids=FOREIGN.keys())
async def test_foreign_pages_may_not_use_the_cookies_of_a_user(origin):
    headers = {"cookie": "session=secret"}
    if origin is not None:
        headers["origin"] = origin
    async with serve(origins=["https://a.com", re.compile(r"https://b\.com")]) as server:
        head, body = await exchange(server, request(**headers))
    assert head.status == 403
    assert "secret" not in body


@pytest.mark.parametrize("password", ["é", "wrong", "", "a" * 5000, "\udc80"])
async def test_any_password_is_only_wrong(password, caplog):
    """CVE-2021-33880, and compare_digest() of str that is not ASCII"""
    token = base64.b64encode(f"user:{password}".encode(errors="surrogateescape")).decode()
    guard = wsfast.basic_auth('quote " me', ("user", "right"))
    async with serve(process_request=guard) as server:
        for authorization in f"Basic {token}", f"basic  {token}", "Basic ===", "Bearer x", "":
            head, body = await exchange(server, request(authorization=authorization))
            assert head.status == 401
            assert head.headers["www-authenticate"].startswith(r'Basic realm="quote \" me"')
            assert token not in body
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


# --- Frames ------------------------------------------------------------------------------------


async def test_cve_2016_10518_numbers_are_no_sizes():
    """ping(5) sent five bytes of somebody's memory; bytes(5) is the trap in Python."""
    async with against_client() as (peer, ws):
        for call in ws.ping, ws.pong, ws.send:
            with pytest.raises(TypeError, match="not int"):
                call(5)
        ws.pong(b"end")
        assert (await peer.frame()).payload == b"end"


@pytest.mark.parametrize("reason", [b"x", memoryview(b"x"), 5, None, ["x"]])
async def test_ws_8_20_1_reasons_are_str(reason):
    async with against_client() as (peer, ws):
        with pytest.raises(TypeError, match="reason must be a str"):
            ws.close(1000, reason)
        assert ws.state is wsfast.State.OPEN
        ws.close()
        assert (await peer.frame()).payload == close_payload(1000)


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
async def test_cve_2016_10542_messages_are_bounded_by_default(opcode):
    async with against_client() as (peer, _):
        peer.send(opcode, "", length=2**20 + 1)
        reason = "Frame size of 1048577 exceeds maximum of 1048576"
        assert await peer.closed() == (1009, reason)
    async with against_server() as (peer, _):
        peer.send(opcode, "", length=2**62)
        reason = f"Frame size of {2**62} exceeds maximum of 1048576"
        assert await peer.closed() == (1009, reason)


@pytest.mark.parametrize("payload", [b"", b"x"])
async def test_ws_8_21_0_tiny_fragments_are_counted(payload):
    async with against_client(max_size=2**20) as (peer, _):
        peer.send(BINARY, payload, fin=False)
        peer.write(frame(CONT, payload, fin=False, mask=MASK) * 131_072)
        assert await peer.closed() == (1009, "Message has more than 131072 fragments")


async def test_ws_1_1_2_keys_and_masks_do_not_come_from_the_random_module():
    def seen():
        random.seed(1)
        return asyncio.gather(*[first_key_and_mask() for _ in range(2)])

    found = [*await seen(), *await seen()]
    assert len({key for key, _ in found}) == 4
    assert len({mask for _, mask in found}) == 4


async def first_key_and_mask():
    found = []

    async def play(peer):
        await peer.accept()
        header = await peer.exactly(6)
        found.append((peer.request.headers["sec-websocket-key"], header[2:]))

    async with raw_server(play) as uri:
        ws = await wsfast.connect(uri)
        ws.send("")
        await ws.wait_closed()
    return found[0]


async def test_cve_2025_10148_no_two_frames_have_the_same_mask():
    masks = []

    async def play(peer):
        await peer.accept()
        masks.extend([(await peer.exactly(6))[2:] for _ in range(100)])
        assert (await peer.frame()).opcode == CLOSE
        peer.close()

    async with raw_server(play) as uri, wsfast.connect(uri) as ws:
        ws.send([b""] * 50)
        for _ in range(50):
            ws.send(b"")
    assert len(set(masks)) == 100
    assert bytes(4) not in masks


# --- Logs and error texts (security 1.12) ------------------------------------------------------

TRICKS = ["\x1b[2J\x1b[1;1H", "\x07\x7f", "\x85\x9b31m", "\u2028INFO fake", "\r\nINFO fake"]


def assert_harmless(caplog):
    assert caplog.records
    for record in caplog.records:
        assert record.getMessage().isprintable(), record.getMessage()


@pytest.mark.parametrize("trick", TRICKS)
async def test_cve_2020_7694_what_a_client_sends_is_escaped_in_the_log(trick, caplog):
    caplog.set_level(logging.DEBUG, "wsfast")
    raw = trick.encode("utf-8")
    requests = [
        b"GET /" + raw + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nX" + raw + b": y\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a" + raw + b"\r\n\r\n",
        request(origin="https://a").replace(b"https://a", b"https://a" + raw),
        request(upgrade="x").replace(b"Upgrade: x", b"Upgrade: x" + raw),
        raw + b"\r\n\r\n",
    ]
    async with serve(origins=["https://b"]) as server:
        for data in requests:
            head, body = await exchange(server, data)
            assert head.status in (400, 403, 426)
            assert body.removesuffix("\n").isprintable()
    assert_harmless(caplog)


@pytest.mark.parametrize("trick", TRICKS)
async def test_cve_2020_7694_the_reason_of_a_close_frame_is_escaped_in_the_log(trick, caplog):
    caplog.set_level(logging.DEBUG, "wsfast")
    async with serve() as server, client_of(server) as peer:
        peer.close(4000, f"bye{trick}")
        assert await peer.closed() == (4000, f"bye{trick}")
        await peer.wait_closed()
        await until(lambda: "connection closed" in caplog.text)
    assert_harmless(caplog)


async def test_the_texts_of_exceptions_are_fit_for_a_terminal():
    async with against_client() as (peer, ws):
        peer.close(4000, "\x1b[2J\r\nfake")
        with pytest.raises(wsfast.ConnectionClosedError) as caught:
            await ws.recv()
        assert str(caught.value).isprintable()
        assert caught.value.reason == "\x1b[2J\r\nfake"


async def test_cve_2025_47287_a_bad_client_costs_one_line_and_no_traceback(caplog):
    caplog.set_level(logging.INFO, "wsfast")
    async with serve() as server:
        for _ in range(5):
            await exchange(server, b"GET / HTTP/1.1\r\n" + b"X: " + b"y" * 9000)
        async with client_of(server) as peer:
            peer.write(b"\xff" * 1000)
            assert (await peer.closed())[0] == 1002
    lines = [record for record in caplog.records if record.levelno == logging.INFO]
    assert len(lines) == 6 + 3  # and those about listening and closing
    assert not [record for record in caplog.records if record.levelno > logging.INFO]
    assert all(len(record.getMessage()) < 200 for record in caplog.records)
    assert not any(record.exc_info for record in caplog.records)


async def test_internals_stay_inside(caplog):
    """Neither the body of a 500 nor the reason of a 1011 tells what failed."""

    async def handler(ws):
        raise RuntimeError("secret")

    async with serve(handler) as server, client_of(server) as peer:
        assert parse_close((await peer.frame()).payload) == (1011, "")

    async with serve(process_request=lambda ws, request: 1 / 0) as server:
        _, body = await exchange(server, request())
    assert body == "Failed to open a WebSocket connection: the server has an internal error.\n"
    assert "secret" in caplog.text
    assert "ZeroDivisionError" in caplog.text


async def test_the_reason_of_a_close_frame_is_cut_at_a_character():
    class Failure(wsfast.WebSocketException):
        close_code = 1011

    async with against_client() as (peer, ws):
        ws.fail(Failure("ä" * 100))
        assert await peer.closed() == (1011, "ä" * 61)


async def test_the_log_does_not_keep_a_connection_alive(caplog):
    """websockets 17: a logger that remembers its records is no reason to keep a connection."""
    caplog.set_level(logging.INFO, "wsfast")
    handler = Accepted()
    async with serve(handler) as server:
        async with client_of(server) as peer:
            reference = weakref.ref(await handler.get())
            peer.close()
            await peer.rest()
        await until(lambda: not server._tasks)
        await until(lambda: reference() is None)


# --- Concurrency, cancellation, life (security 1.15) -------------------------------------------


async def test_a_cancelled_recv_puts_back_what_came_in_the_same_pass():
    """websockets 17"""
    async with against_client() as (peer, ws):
        for number in range(10):
            receiving = asyncio.create_task(ws.recv())
            await asyncio.sleep(0)
            ws.on("ping", lambda data, receiving=receiving: receiving.cancel())
            peer.write(frame(9, b"", mask=MASK) + frame(TEXT, str(number), mask=MASK))
            try:
                message = await receiving
            except asyncio.CancelledError:
                async with asyncio.timeout(PATIENCE):
                    message = await ws.recv()
            ws.off("ping")
            assert message == str(number)


async def test_those_who_wait_are_released_when_the_transport_is_lost():
    """uvicorn 0.54: asyncio never calls resume_writing() of a lost transport."""
    async with against_client(max_write_buffer=None) as (peer, ws):
        peer.stop_reading()
        while not ws.is_blocked:
            ws.send(bytes(2**20))
        waiting = [
            asyncio.create_task(awaitable)
            for awaitable in (ws.send("x"), ws.drain(), ws.recv(), ws.wait_closed())
        ]
        pong = await ws.ping()
        peer.reset()
        async with asyncio.timeout(PATIENCE):
            results = await asyncio.gather(*waiting, pong, return_exceptions=True)
        assert [type(result) for result in results] == [
            *[wsfast.ConnectionClosedError] * 3,
            type(None),
            wsfast.ConnectionClosedError,
        ]


async def test_a_lost_connection_leaves_no_timer_behind():
    """uvicorn 0.52"""
    async with raw_server(hold) as uri:
        ws = await wsfast.connect(uri, ping_interval=1, ping_timeout=1, idle_timeout=1)
        reference = weakref.ref(ws)
        ws.terminate()
        await ws.wait_closed()
        del ws
        await until(lambda: reference() is None)


async def test_a_handshake_that_drips_is_closed_at_open_timeout():
    """slow-loris, after the head's first line as well as inside of a header"""
    async with serve(open_timeout=0.1) as server:
        for beginning in b"G", b"GET / HTTP/1.1\r\nHost: a\r\nX: ":
            async with raw_client(server, beginning) as peer:
                while not peer.writer.transport.is_closing():
                    peer.write(b"x")
                    await asyncio.sleep(0.01)


async def test_a_client_that_only_connects_is_closed_at_open_timeout():
    async with serve(open_timeout=0.1) as server, raw_client(server) as peer:
        assert await peer.rest() == b""


async def test_a_key_of_another_handshake_does_not_fit():
    async def play(peer):
        await peer.accept(Sec_WebSocket_Accept=accept_of(KEY))

    async with raw_server(play) as uri:
        with pytest.raises(wsfast.InvalidHeader, match="Invalid Sec-WebSocket-Accept header"):
            await wsfast.connect(uri)


async def test_ws_8_8_1_headers_of_the_handshake_cannot_be_overridden():
    for name in "Sec-WebSocket-Key", "sec-websocket-version", "Connection", "Upgrade":
        with pytest.raises(ValueError, match="additional_headers cannot have"):
            wsfast.connect("ws://host/", additional_headers={name: "x"})


async def test_nobody_is_let_in_by_a_protocol_that_was_not_offered():
    async with (
        serve(subprotocols=["chat"]) as server,
        wsfast.connect(uri_of(server), subprotocols=["other"]) as ws,
    ):
        assert ws.subprotocol is None
