"""`connect`: how it reaches a server, what it says, and what it makes of answers."""

import asyncio
import base64
import errno
import re
import socket

import pytest
from peers import (
    CLOSE,
    PATIENCE,
    TEXT,
    Accepted,
    accept_of,
    close_payload,
    echo,
    frame,
    hold,
    raw_server,
    uri_of,
)

import wsfast
from wsfast import connecting


async def connect(uri, **options):
    """Connect within a time that a test can wait for."""
    async with asyncio.timeout(PATIENCE):
        return await wsfast.connect(uri, **options)


def answering(text, *, rest=b""):
    """Play a server that answers this, with ``{accept}`` filled in, and closes."""

    async def play(peer):
        head = await peer.head()
        answer = text.replace("{accept}", accept_of(head.headers["sec-websocket-key"]))
        peer.write(answer.replace("\n", "\r\n").encode("iso-8859-1") + rest)

    return play


def switching(*lines, without=()):
    """A 101 with further headers, or without some."""
    headers = [
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Accept: {accept}",
    ]
    kept = [line for line in headers if line.partition(":")[0] not in without]
    return "\n".join(["HTTP/1.1 101 Switching Protocols", *kept, *lines]) + "\n\n"


# --- What it makes of answers -----------------------------------------------------------------

INVALID_UPGRADE = (wsfast.InvalidUpgrade, "Invalid Upgrade header", "WS_ERR_INVALID_UPGRADE")
INVALID_CONNECTION = (wsfast.InvalidUpgrade, "Invalid Connection header", "WS_ERR_INVALID_UPGRADE")
INVALID_ACCEPT = (
    wsfast.InvalidHeader,
    "Invalid Sec-WebSocket-Accept header",
    "WS_ERR_INVALID_HEADER",
)
NOT_REQUESTED = (
    wsfast.NegotiationError,
    "Server sent a subprotocol but none was requested",
    "WS_ERR_NEGOTIATION",
)
EXTENSION = (
    wsfast.UnexpectedExtension,
    "Server sent a Sec-WebSocket-Extensions header but no extension was requested",
    "WS_ERR_UNEXPECTED_EXTENSION",
)


def invalid(message):
    return wsfast.InvalidMessage, message, "WS_ERR_INVALID_HTTP"


def too_large(kind, message):
    return kind, message, "WS_ERR_HANDSHAKE_TOO_LARGE"


def unexpected(status):
    return (
        wsfast.InvalidStatus,
        f"Unexpected server response: {status}",
        "WS_ERR_UNEXPECTED_RESPONSE",
    )


LINES = "the headers are longer than 8192 bytes a line or 65536 bytes in all"
BAD_ANSWERS = {
    "no Upgrade": (switching(without=["Upgrade"]), *INVALID_UPGRADE),
    "another Upgrade": (switching("Upgrade: h2c", without=["Upgrade"]), *INVALID_UPGRADE),
    "two Upgrades": (switching("Upgrade: h2c"), *INVALID_UPGRADE),
    "no Connection": (switching(without=["Connection"]), *INVALID_CONNECTION),
    "another Connection": (
        switching("Connection: notupgrade", without=["Connection"]),
        *INVALID_CONNECTION,
    ),
    "no Accept": (switching(without=["Sec-WebSocket-Accept"]), *INVALID_ACCEPT),
    "a wrong Accept": (
        switching(f"Sec-WebSocket-Accept: {accept_of('x')}", without=["Sec-WebSocket-Accept"]),
        *INVALID_ACCEPT,
    ),
    "two Accepts": (switching("Sec-WebSocket-Accept: {accept}"), *INVALID_ACCEPT),
    "a subprotocol": (switching("Sec-WebSocket-Protocol: chat"), *NOT_REQUESTED),
    "an empty subprotocol": (switching("Sec-WebSocket-Protocol: "), *NOT_REQUESTED),
    "an extension": (switching("Sec-WebSocket-Extensions: permessage-deflate"), *EXTENSION),
    "an empty extension": (switching("Sec-WebSocket-Extensions: "), *EXTENSION),
    "200": ("HTTP/1.1 200 OK\nContent-Length: 2\n\nhi", *unexpected(200)),
    "301": ("HTTP/1.1 301 Moved\nLocation: ws://b/\n\n", *unexpected(301)),
    "302 without Location": ("HTTP/1.1 302 Found\n\n", *unexpected(302)),
    "401": ("HTTP/1.1 401 Unauthorized\nWWW-Authenticate: Basic\n\n", *unexpected(401)),
    "426": ("HTTP/1.1 426 Upgrade Required\nSec-WebSocket-Version: 14\n\n", *unexpected(426)),
    "500 without a reason": ("HTTP/1.1 500\n\n", *unexpected(500)),
    "too many interim responses": (
        "HTTP/1.1 103 Early Hints\nLink: x\n\n" * 9,
        *too_large(wsfast.SecurityError, "more than 8 interim responses"),
    ),
    "HTTP/1.0": (
        "HTTP/1.0 101 Switching Protocols\n\n",
        *invalid("unsupported protocol; expected HTTP/1.1: HTTP/1.0"),
    ),
    "something else": ("SSH-2.0-OpenSSH\n", *invalid("did not receive a valid HTTP response")),
    "+101": ("HTTP/1.1 +101 x\n\n", *invalid("invalid HTTP status line: HTTP/1.1 +101 x")),
    "1_0": ("HTTP/1.1 1_0 x\n\n", *invalid("invalid HTTP status line: HTTP/1.1 1_0 x")),
    "a folded line": (
        switching("X: a", " b"),
        *invalid("a header line starts with a blank"),
    ),
    "nothing": ("", *invalid("connection closed while reading HTTP status line")),
    "half a status line": (
        "HTTP/1.1 10",
        *invalid("connection closed while reading HTTP status line"),
    ),
    "half the headers": (
        "HTTP/1.1 101 Switching Protocols\nUpgrade: web",
        *invalid("connection closed while reading HTTP headers"),
    ),
    "half a body": (
        "HTTP/1.1 403 Forbidden\nContent-Length: 5\n\nno",
        *invalid("connection closed while reading HTTP body"),
    ),
    "a long status line": (
        "HTTP/1.1 101 " + "x" * 8192 + "\n\n",
        *too_large(wsfast.StatusLineTooLong, "the status line is longer than 8192 bytes"),
    ),
    "a long header": (
        switching("X: " + "x" * 8192),
        *too_large(wsfast.HeaderLineTooLong, LINES),
    ),
    "many headers": (
        switching(*["X: x"] * 130),
        *too_large(wsfast.TooManyHeaders, "there are more than 128 headers"),
    ),
    **{
        f"Content-Length: {length}": (
            f"HTTP/1.1 404 Not Found\nContent-Length: {length}\n\nx",
            *too_large(wsfast.SecurityError, f"invalid Content-Length header: {length}"),
        )
        for length in ("1_000", "+5", "-5", "0x5", "1" + "0" * 30)
    },
    "a long body": (
        f"HTTP/1.1 404 Not Found\nContent-Length: {2**20 + 1}\n\nx",
        *too_large(
            wsfast.SecurityError, "the body of the response is longer than 1048576 bytes"
        ),
    ),
    "a body without an end": (
        "HTTP/1.1 404 Not Found\n\n" + "x" * (2**20 + 1),
        *too_large(
            wsfast.SecurityError, "the body of the response is longer than 1048576 bytes"
        ),
    ),
    "two framings": (
        "HTTP/1.1 404 Not Found\nContent-Length: 1\nTransfer-Encoding: chunked\n\nx",
        *too_large(
            wsfast.SecurityError, "the response says more than once where its body ends"
        ),
    ),
}  # fmt: skip


@pytest.mark.parametrize(
    ("answer", "kind", "message", "code"), BAD_ANSWERS.values(), ids=BAD_ANSWERS.keys()
)
async def test_a_bad_answer_raises(answer, kind, message, code):
    """The messages are those of ws."""
    async with raw_server(answering(answer)) as uri:
        with pytest.raises(wsfast.WebSocketException) as caught:
            await connect(uri, compression=None, follow_redirects=False)
    assert type(caught.value) is kind
    assert str(caught.value) == message
    assert caught.value.code == code


async def test_the_body_and_the_headers_of_a_refusal_are_kept():
    answer = "HTTP/1.1 401 Unauthorized\nX-Why: a\nContent-Length: 5\n\nsorry"
    async with raw_server(answering(answer)) as uri:
        with pytest.raises(wsfast.InvalidStatus) as caught:
            await connect(uri)
    response = caught.value.response
    assert (response.status_code, response.reason_phrase) == (401, "Unauthorized")
    assert response.headers["x-why"] == "a"
    assert response.body == b"sorry"


@pytest.mark.parametrize("number", [1, 8])
async def test_interim_responses_are_skipped(number):
    async def play(peer):
        peer.write(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" * number)
        await hold(peer)

    async with raw_server(play) as uri, wsfast.connect(uri) as ws:
        assert ws.response.status_code == 101


async def test_frames_glued_behind_the_101_are_processed():
    glued = frame(TEXT, "one") + frame(TEXT, "two") + frame(CLOSE, close_payload(1001))
    async with raw_server(answering(switching(), rest=glued)) as uri:
        ws = await connect(uri)
        assert [message async for message in ws] == ["one", "two"]
        await ws.wait_closed()
        assert ws.close_code == 1001


async def test_an_extension_that_was_not_offered_is_refused_on_the_wire():
    """The server believes that the connection is open: it gets a close frame with 1010."""
    seen = []

    async def play(peer):
        await peer.accept(Sec_WebSocket_Extensions="x-webkit-deflate-frame")
        seen.append(await peer.frame())
        seen.append(await peer.rest())

    async with raw_server(play) as uri:
        with pytest.raises(wsfast.UnexpectedExtension) as caught:
            await connect(uri)
        assert caught.value.close_code == 1010
    (came, rest) = seen
    reason = 'Server sent an extension response for unknown extension "x-webkit-deflate-frame"'
    assert came == (CLOSE, close_payload(1010, reason), True, True)
    assert rest == b""


async def test_a_server_that_goes_on_after_1010_is_cut_off():
    async def play(peer):
        await peer.accept(Sec_WebSocket_Extensions="x")
        while True:
            peer.send(TEXT, "x")
            await peer.writer.drain()
            await asyncio.sleep(0.01)

    async with raw_server(play) as uri:
        with pytest.raises(wsfast.UnexpectedExtension):
            await connect(uri, close_timeout=0.1)


async def test_the_connection_is_closed_after_a_bad_answer():
    seen = []

    async def play(peer):
        await answering(switching(without=["Upgrade"]))(peer)
        seen.append(await peer.rest())

    async with raw_server(play) as uri:
        with pytest.raises(wsfast.InvalidUpgrade):
            await connect(uri)
    assert seen == [b""]


# --- Time -------------------------------------------------------------------------------------


async def accept_and_wait(peer):
    await peer.rest()


async def drip(peer):
    await peer.head()
    peer.write(b"HTTP/1.1 101 Switching Protocols\r\nX: ")
    while not peer.writer.transport.is_closing():
        peer.write(b"x")
        await asyncio.sleep(0.01)


async def drip_a_body(peer):
    await peer.head()
    peer.write(b"HTTP/1.1 403 Forbidden\r\n\r\n")
    while not peer.writer.transport.is_closing():
        peer.write(b"x")
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("play", [accept_and_wait, drip, drip_a_body])
async def test_open_timeout_is_a_deadline_for_the_whole_handshake(play):
    """C13, M19: other than in ws, bytes that keep coming do not help."""
    async with raw_server(play) as uri:
        with pytest.raises(wsfast.OpenTimeout, match=r"^timed out during opening handshake$"):
            await connect(uri, open_timeout=0.1)


async def test_open_timeout_holds_for_the_tcp_connection():
    # The backlog is full, so that no SYN is answered any more.
    with socket.create_server(("127.0.0.1", 0), backlog=0) as sock:
        address = sock.getsockname()
        fillers = []
        try:
            for _ in range(4):
                filler = socket.socket()
                filler.setblocking(False)
                filler.connect_ex(address)
                fillers.append(filler)
            with pytest.raises(TimeoutError, match="timed out during opening handshake"):
                await connect(f"ws://127.0.0.1:{address[1]}", open_timeout=0.2)
        finally:
            for filler in fillers:
                filler.close()


async def test_cancelling_connect_closes_the_connection():
    connected = asyncio.Event()

    async def play(peer):
        connected.set()
        await peer.rest()

    async with raw_server(play) as uri:
        task = asyncio.create_task(connect(uri))
        await connected.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_cancelling_connect_at_the_last_moment_leaves_no_connection_behind(monkeypatch):
    """The handshake is done, and the task that waits for it is cancelled before it runs."""
    answer = connecting.ClientHandshake._answer

    def answer_and_cancel(*arguments):
        answer(*arguments)
        task.cancel()

    monkeypatch.setattr(connecting.ClientHandshake, "_answer", answer_and_cancel)
    handler = Accepted()
    async with wsfast.serve(handler, "127.0.0.1", 0) as server:
        task = asyncio.create_task(connect(uri_of(server)))
        with pytest.raises(asyncio.CancelledError):
            await task
        ws = await handler.get()
        async with asyncio.timeout(PATIENCE):
            await ws.wait_closed()
        assert ws.close_code == 1006


# --- Errors of the network --------------------------------------------------------------------


def closed_port(family=socket.AF_INET, host="127.0.0.1"):
    with socket.socket(family) as sock:
        sock.bind((host, 0))
        return sock.getsockname()[1]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
async def test_a_port_that_nobody_listens_on_is_econnrefused(host):
    """M15"""
    uri = f"ws://{host}:{closed_port()}"
    with pytest.raises(wsfast.NetworkError) as caught:
        await connect(uri)
    error = caught.value
    assert isinstance(error, OSError)
    assert error.code in ("ECONNREFUSED", "EADDRNOTAVAIL")
    assert error.errno == getattr(errno, error.code)
    assert isinstance(error.__cause__, OSError)
    assert "Connect call failed" in str(error) or "refused" in str(error)


async def test_a_unix_socket_that_does_not_exist_is_enoent(tmp_path):
    with pytest.raises(wsfast.NetworkError) as caught:
        await connect(f"ws+unix:{tmp_path}/none:/")
    assert caught.value.code == "ENOENT"


async def test_a_name_that_does_not_resolve_has_the_code_of_the_resolver():
    """M15"""
    with pytest.raises(wsfast.NetworkError) as caught:
        await connect("ws://does-not-exist.invalid/")
    assert re.fullmatch("EAI_[A-Z]+", caught.value.code)


async def test_a_reset_during_the_handshake_is_econnreset():
    """M15, M16"""

    async def play(peer):
        await peer.head()
        peer.reset()

    async with raw_server(play) as uri:
        with pytest.raises(wsfast.NetworkError) as caught:
            await connect(uri)
    assert caught.value.code == "ECONNRESET"


# --- What it says -----------------------------------------------------------------------------


async def request_of(uri_path="/", **options):
    """The head of the request that `connect` sends."""
    heads = []

    async def play(peer):
        heads.append(await peer.head())
        peer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")

    async with raw_server(play) as uri:
        with pytest.raises(wsfast.InvalidStatus):
            await connect(uri.removesuffix("/") + uri_path, **options)
        heads[0].headers["port"] = uri.rpartition(":")[2].removesuffix("/")
    return heads[0]


async def test_the_request_has_what_it_needs_and_no_more():
    """C17, C18, C23: no Origin, compression offered, the port in Host."""
    line, headers = await request_of("/chat?room=1")
    port = headers.pop("port")
    key = headers.pop("sec-websocket-key")
    assert line == "GET /chat?room=1 HTTP/1.1"
    assert headers == {
        "host": f"127.0.0.1:{port}",
        "upgrade": "websocket",
        "connection": "Upgrade",
        "sec-websocket-version": "13",
        "sec-websocket-extensions": "permessage-deflate; client_max_window_bits",
        "user-agent": f"wsfast/{wsfast.__version__}",
    }
    assert len(base64.b64decode(key, validate=True)) == 16


async def test_every_request_has_a_key_of_its_own():
    heads = [await request_of() for _ in range(3)]
    assert len({head.headers["sec-websocket-key"] for head in heads}) == 3


@pytest.mark.parametrize(("version", "name"), [(13, "origin"), (8, "sec-websocket-origin")])
async def test_both_versions_are_spoken(version, name):
    """K6, C17, C19: the origin has another name in version 8."""
    headers = (await request_of(protocol_version=version, origin="https://a")).headers
    assert headers["sec-websocket-version"] == str(version)
    assert headers[name] == "https://a"
    assert len({"origin", "sec-websocket-origin"} & set(headers)) == 1


async def test_version_8_works_from_end_to_end():
    async with (
        wsfast.serve(echo, "127.0.0.1", 0, origins=["https://a"]) as server,
        wsfast.connect(uri_of(server), protocol_version=8, origin="https://a") as ws,
    ):
        await ws.send("hello")
        assert await ws.recv() == "hello"


@pytest.mark.parametrize(
    ("options", "name", "value"),
    [
        ({"user_agent_header": None}, "user-agent", None),
        ({"user_agent_header": "mine"}, "user-agent", "mine"),
        ({"additional_headers": {"User-Agent": "mine"}}, "user-agent", "mine"),
        ({"additional_headers": [("X", "1"), ("Y", "2")]}, "y", "2"),
        ({"additional_headers": wsfast.Headers(X="é")}, "x", "é"),
        ({"additional_headers": {"Host": "other"}}, "host", "other"),
        ({"subprotocols": ["a", "b"]}, "sec-websocket-protocol", "a,b"),
        ({"auth": ("user", "pass:word")}, "authorization", "Basic dXNlcjpwYXNzOndvcmQ="),
        ({"auth": "user:pass:word"}, "authorization", "Basic dXNlcjpwYXNzOndvcmQ="),
        ({"auth": ("ü", "€")}, "authorization", "Basic w7w64oKs"),
        (
            {"auth": ("a", "b"), "additional_headers": {"Authorization": "Bearer x"}},
            "authorization",
            "Bearer x",
        ),
    ],
)
async def test_headers_of_the_request(options, name, value):
    """C21, C22: a header that is given counts instead of what an option says."""
    assert (await request_of(**options)).headers.get(name) == value


async def test_credentials_of_the_address_are_decoded_and_come_first():
    """C22: other than in ws, which sends what is percent-encoded."""

    async def play(peer):
        head = await peer.head()
        credentials = base64.b64decode(head.headers["authorization"].split()[1]).decode()
        peer.write(f"HTTP/1.1 404 {credentials}\r\n\r\n".encode())

    async with raw_server(play) as uri:
        uri = uri.replace("ws://", "ws://us%40er:p%3Aw@")
        with pytest.raises(wsfast.InvalidStatus) as caught:
            await connect(uri, auth=("other", "x"))
    assert caught.value.response.reason_phrase == "us@er:p:w"


async def test_basic_auth_works_from_end_to_end():
    """M14, M19"""
    guard = wsfast.basic_auth("the realm", ("ü", "p€ss"))
    async with wsfast.serve(echo, "127.0.0.1", 0, process_request=guard) as server:
        async with wsfast.connect(uri_of(server), auth=("ü", "p€ss")) as ws:
            assert "authorization" in ws.request.headers
        with pytest.raises(wsfast.InvalidStatus) as caught:
            await connect(uri_of(server), auth=("ü", "wrong"))
    response = caught.value.response
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == 'Basic realm="the realm", charset="UTF-8"'
    assert b"wrong" not in response.body


# --- Subprotocols -----------------------------------------------------------------------------


@pytest.mark.parametrize("offered", [["a"], ["b", "a"]])
async def test_the_subprotocol_of_the_server_is_taken(offered):
    """C5, W5, M5."""

    async def play(peer):
        await peer.accept(Sec_WebSocket_Protocol="a")
        await hold_open(peer)

    async with raw_server(play) as uri, wsfast.connect(uri, subprotocols=offered) as ws:
        assert ws.subprotocol == "a"


async def hold_open(peer):
    assert (await peer.frame()).opcode == CLOSE
    peer.close()


@pytest.mark.parametrize("answer", ["c", "A", "a, b", ""])
async def test_a_subprotocol_that_was_not_offered_is_refused(answer):
    async with raw_server(answering(switching(f"Sec-WebSocket-Protocol: {answer}"))) as uri:
        with pytest.raises(wsfast.NegotiationError, match=r"^Server sent an invalid subprotocol$"):
            await connect(uri, subprotocols=["a", "b"])


async def test_two_subprotocol_headers_are_refused():
    lines = ["Sec-WebSocket-Protocol: a"] * 2
    async with raw_server(answering(switching(*lines))) as uri:
        with pytest.raises(wsfast.NegotiationError, match=r"^Server sent an invalid subprotocol$"):
            await connect(uri, subprotocols=["a", "b"])


async def test_no_subprotocol_is_fine_unless_one_is_required():
    """C5: other than in ws, which fails."""
    async with raw_server(hold) as uri:
        async with wsfast.connect(uri, subprotocols=["a"]) as ws:
            assert ws.subprotocol is None
        with pytest.raises(wsfast.NegotiationError, match=r"^Server sent no subprotocol$"):
            await connect(uri, subprotocols=["a"], require_subprotocol=True)


# --- Where it connects ------------------------------------------------------------------------


async def round_trip(uri, **options):
    async with asyncio.timeout(PATIENCE), wsfast.connect(uri, **options) as ws:
        await ws.send("hello")
        assert await ws.recv() == "hello"
        return ws


async def test_a_unix_socket(tmp_path):
    """C3."""
    heads = []

    async def play(peer):
        heads.append(peer)
        await hold(peer)

    path = f"{tmp_path}/a socket"
    async with raw_server(play, unix_path=path):
        uri = f"ws+unix:{path.replace(' ', '%20')}:/chat?x=1"
        async with asyncio.timeout(PATIENCE), wsfast.connect(uri) as ws:
            assert ws.remote_address == path
    assert heads[0].request.line == "GET /chat?x=1 HTTP/1.1"
    assert heads[0].request.headers["host"] == "localhost"


async def test_an_ipv6_address():
    """C4: the brackets are in the Host header only."""
    try:
        async with wsfast.serve(echo, "::1", 0) as server:
            ws = await round_trip(uri_of(server))
            assert ws.remote_address[0] == "::1"
            assert ws.request.headers["Host"].startswith("[::1]:")
    except OSError:
        pytest.skip("there is no ::1")


async def test_a_name_in_another_script_goes_out_in_ascii():
    async with wsfast.serve(echo, "127.0.0.1", 0) as server:
        ws = await round_trip(
            "ws://bücher.example/straße?q=ü", port=server.address()[1], host="127.0.0.1"
        )
        assert ws.request.headers["Host"] == "xn--bcher-kva.example"
        assert ws.path == "/stra%C3%9Fe?q=%C3%BC"
        assert ws.url == "ws://xn--bcher-kva.example/stra%C3%9Fe?q=%C3%BC"


async def test_http_addresses_mean_the_same():
    """C1, M1: also in `url`."""
    async with wsfast.serve(echo, "127.0.0.1", 0) as server:
        ws = await round_trip(uri_of(server).replace("ws:", "http:"))
        assert ws.url.startswith("ws://")


async def test_a_connected_socket_is_used():
    async with wsfast.serve(echo, "127.0.0.1", 0) as server:
        sock = socket.create_connection(server.address())
        name = sock.getsockname()
        ws = await round_trip("ws://any.example/", sock=sock)
        assert ws.local_address == name
        assert ws.request.headers["Host"] == "any.example"


async def test_a_connected_unix_socket_is_used(tmp_path):
    path = str(tmp_path / "socket")
    async with wsfast.serve(echo, unix_path=path):
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(path)
        await round_trip("ws://any.example/", sock=sock)


async def test_the_local_address_can_be_chosen():
    """C25."""
    async with wsfast.serve(echo, "127.0.0.1", 0) as server:
        ws = await round_trip(uri_of(server), local_address=("127.0.0.2", 0))
        assert ws.local_address[0] == "127.0.0.2"


async def test_small_frames_leave_at_once():
    """C27: TCP_NODELAY."""
    async with raw_server(hold) as uri, wsfast.connect(uri) as ws:
        sock = ws.get_extra_info("socket")
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


# --- Masks ------------------------------------------------------------------------------------


async def frames_of(count, **options):
    """The masking keys and the payloads of what a client sends."""
    keys = []

    async def play(peer):
        await peer.accept()
        for _ in range(count):
            header = await peer.exactly(2)
            assert header == bytes([0x81, 0x83])
            keys.append(await peer.exactly(4))
            await peer.exactly(3)
        await hold_open(peer)

    async with raw_server(play) as uri, wsfast.connect(uri, **options) as ws:
        for _ in range(count):
            await ws.send("abc")
    return keys


async def test_every_frame_has_a_masking_key_of_its_own():
    assert len(set(await frames_of(50))) == 50


async def test_masking_keys_can_be_generated_by_the_user():
    """C12: one for each frame, also one of zeros."""
    numbers = iter(range(1000))
    keys = await frames_of(3, generate_mask=lambda: next(numbers).to_bytes(4, "big"))
    assert keys == [bytes([0, 0, 0, 0]), bytes([0, 0, 0, 1]), bytes([0, 0, 0, 2])]


@pytest.mark.parametrize("key", [b"", b"abc", b"abcde"])
async def test_a_masking_key_of_another_size_sends_nothing(key):
    keys = iter([key])

    async def play(peer):
        await peer.accept()
        assert (await peer.frame()).payload == b"after"
        await hold_open(peer)

    def generate():
        return next(keys, b"good")

    async with raw_server(play) as uri, wsfast.connect(uri, generate_mask=generate) as ws:
        with pytest.raises(ValueError, match="4 bytes"):
            ws.send("before")
        await ws.send("after")


# --- As a context manager ---------------------------------------------------------------------


async def test_leaving_the_block_closes_with_1000_and_an_exception_with_1011():
    codes = []

    async def play(peer):
        await peer.accept()
        came = await peer.frame()
        codes.append(came.payload)
        peer.close()

    async with raw_server(play) as uri:
        async with wsfast.connect(uri):
            pass
        with pytest.raises(RuntimeError):
            async with wsfast.connect(uri):
                raise RuntimeError
    assert codes == [close_payload(1000), close_payload(1011)]


async def test_one_connect_can_be_used_several_times():
    async with raw_server(hold) as uri:
        connecting = wsfast.connect(uri)
        async with connecting as first:
            pass
        async with connecting as second:
            assert second is not first
