"""A wsfast client asks servers of Node: what ws refuses and adds, and answers that are wrong."""

import asyncio

import pytest

import wsfast

pytestmark = pytest.mark.interop

TIMEOUT = 30

# A server of ws on its own; `options` is JavaScript.
SERVER = """
    const server = http.createServer();
    const wss = new WebSocketServer({{ server, {options} }});
    wss.on('connection', (ws, request) => ws.send(JSON.stringify(request.headers)));
    {more}
    await listen(server);
    """


def ws_server(script_server, options="", more=""):
    return script_server(SERVER.format(options=options, more=more))


# --- What ws says ------------------------------------------------------------------------------

REFUSALS = {
    "at once": ("() => false", 401, {}, "Unauthorized"),
    "later": ("(info, callback) => setImmediate(callback, false)", 401, {}, "Unauthorized"),
    "with a code": ("(info, callback) => callback(false, 404)", 404, {}, "Not Found"),
    "with a body and headers": (
        "(info, callback) => callback(false, 503, 'later', { 'Retry-After': 120 })",
        503,
        {"Retry-After": "120"},
        "later",
    ),
    "with a challenge": (
        "(info, callback) => callback(false, 401, '', { 'WWW-Authenticate': 'Basic' })",
        401,
        {"WWW-Authenticate": "Basic"},
        "Unauthorized",
    ),
}


@pytest.mark.parametrize("name", REFUSALS)
async def test_a_refusal_by_verify_client_of_ws_is_told(script_server, name):
    """SV7, SV8: `InvalidStatus` has the response with its status, its headers and its body."""
    verify, status, headers, body = REFUSALS[name]
    async with (
        asyncio.timeout(TIMEOUT),
        ws_server(script_server, f"verifyClient: {verify}") as (_, url),
    ):
        with pytest.raises(wsfast.InvalidStatus) as caught:
            await wsfast.connect(url)
    response = caught.value.response
    assert caught.value.code == "WS_ERR_UNEXPECTED_RESPONSE"
    assert str(caught.value) == f"Unexpected server response: {status}"
    assert (response.status_code, response.body.decode()) == (status, body)
    assert headers.items() <= dict(response.headers.raw_items()).items()


@pytest.mark.parametrize(
    ("version", "origin"), [(13, "Origin"), (8, "Sec-WebSocket-Origin")], ids=["13", "8"]
)
async def test_verify_client_of_ws_knows_the_origin_and_lets_in(script_server, version, origin):
    """C17, C19, SV9: in both versions."""
    verify = "({ origin, secure }) => origin === 'https://example.com' && !secure"
    async with (
        asyncio.timeout(TIMEOUT),
        ws_server(script_server, f"verifyClient: {verify}") as (_, url),
        wsfast.connect(url, protocol_version=version, origin="https://example.com") as ws,
    ):
        seen = await ws.recv()
        assert f'"sec-websocket-version":"{version}"' in seen
        assert f'"{origin.lower()}":"https://example.com"' in seen


async def test_a_path_that_ws_does_not_serve_is_400(script_server):
    """SV4: it is 400 from ws."""
    async with asyncio.timeout(TIMEOUT), ws_server(script_server, "path: '/chat'") as (_, url):
        async with wsfast.connect(f"{url}/chat?q=1") as ws:
            assert await ws.recv()
        with pytest.raises(wsfast.InvalidStatus) as caught:
            await wsfast.connect(f"{url}/chat/")
    assert caught.value.response.status_code == 400


async def test_a_ws_server_that_is_closing_answers_503(script_server):
    """SE7: while the others are still connected."""
    source = """
        const wss = new WebSocketServer({ noServer: true });
        const server = http.createServer();
        server.on('upgrade', (request, socket, head) => {
          wss.handleUpgrade(request, socket, head, (ws) => { wss.close(); ws.send('closing'); });
        });
        await listen(server);
        """
    async with asyncio.timeout(TIMEOUT), script_server(source) as (_, url):
        async with wsfast.connect(url) as ws:
            assert await ws.recv() == "closing"
            with pytest.raises(wsfast.InvalidStatus) as caught:
                await wsfast.connect(url)
        assert caught.value.response.status_code == 503


async def test_a_plain_server_of_node_answers_what_it_likes(script_server):
    """EV8: 200 with a body in chunks is no WebSocket either."""
    source = """
        const server = http.createServer((request, response) => {
          response.writeHead(200, { 'Content-Type': 'text/plain', 'X-Kind': 'page' });
          response.write('one, ');
          response.end('two');
        });
        await listen(server);
        """
    async with asyncio.timeout(TIMEOUT), script_server(source) as (_, url):
        with pytest.raises(wsfast.InvalidStatus) as caught:
            await wsfast.connect(url)
    assert caught.value.response.status_code == 200
    assert caught.value.response.headers["X-Kind"] == "page"
    assert caught.value.response.body == b"one, two"


async def test_what_the_headers_event_of_ws_adds_is_in_the_response(script_server):
    """SE3, EV6: cookies are headers of their own."""
    more = "wss.on('headers', (headers) => headers.push('Set-Cookie: a=1', 'Set-Cookie: b=2'));"
    async with (
        asyncio.timeout(TIMEOUT),
        ws_server(script_server, more=more) as (_, url),
        wsfast.connect(url) as ws,
    ):
        assert ws.response.status_code == 101
        assert ws.response.headers.get_all("Set-Cookie") == ["a=1", "b=2"]


async def test_handle_protocols_of_ws_chooses_among_what_was_offered(script_server):
    """SV10, W5: in the order in which they were offered; one that was not is refused."""
    handle = "handleProtocols: (names) => names.has('x') ? 'y' : [...names].at(-1)"
    async with asyncio.timeout(TIMEOUT), ws_server(script_server, handle) as (_, url):
        async with wsfast.connect(url, subprotocols=["a", "b", "c"]) as ws:
            assert ws.subprotocol == "c"
        async with wsfast.connect(url) as ws:
            assert ws.subprotocol is None
        with pytest.raises(wsfast.NegotiationError) as caught:
            await wsfast.connect(url, subprotocols=["x"])
        assert str(caught.value) == "Server sent an invalid subprotocol"


# --- What is wrong -----------------------------------------------------------------------------

# Answers with one of these heads, chosen by the path; {accept} is filled in.
RAW = """
    import { createHash } from 'node:crypto';
    const guid = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';
    const server = net.createServer((socket) => {
      socket.on('error', () => {});
      socket.once('data', (head) => {
        const [, number] = /^GET \\/(\\d+) /.exec(head);
        const [, key] = /sec-websocket-key: (.*)\\r\\n/i.exec(head);
        const accept = createHash('sha1').update(key + guid).digest('base64');
        socket.end(answers[number].replaceAll('\\n', '\\r\\n').replace('{accept}', accept));
      });
    });
    await listen(server);
    """
SWITCHING = "HTTP/1.1 101 Switching Protocols\nConnection: Upgrade\n"
ACCEPTED = f"{SWITCHING}Upgrade: websocket\nSec-WebSocket-Accept: {{accept}}\n"
OFFERED = {"subprotocols": ["foo", "bar"]}
PLAIN = {"compression": None}

# The answer, the options of the client, its exception, the stable code, and the message.
WRONG = {
    "no Upgrade": (
        f"{SWITCHING}Sec-WebSocket-Accept: {{accept}}\n\n",
        {},
        wsfast.InvalidUpgrade,
        "WS_ERR_INVALID_UPGRADE",
        "Invalid Upgrade header",
    ),
    "another Upgrade": (
        f"{SWITCHING}Upgrade: foo\nSec-WebSocket-Accept: {{accept}}\n\n",
        {},
        wsfast.InvalidUpgrade,
        "WS_ERR_INVALID_UPGRADE",
        "Invalid Upgrade header",
    ),
    "a wrong accept": (
        f"{SWITCHING}Upgrade: websocket\nSec-WebSocket-Accept: CxYS6+NgJSBG74mdgLvGscRvpns=\n\n",
        {},
        wsfast.InvalidHeader,
        "WS_ERR_INVALID_HEADER",
        "Invalid Sec-WebSocket-Accept header",
    ),
    "a subprotocol unasked": (
        f"{ACCEPTED}Sec-WebSocket-Protocol: foo\n\n",
        {},
        wsfast.NegotiationError,
        "WS_ERR_NEGOTIATION",
        "Server sent a subprotocol but none was requested",
    ),
    "another subprotocol": (
        f"{ACCEPTED}Sec-WebSocket-Protocol: baz\n\n",
        OFFERED,
        wsfast.NegotiationError,
        "WS_ERR_NEGOTIATION",
        "Server sent an invalid subprotocol",
    ),
    "an empty subprotocol": (
        f"{ACCEPTED}Sec-WebSocket-Protocol:\n\n",
        OFFERED,
        wsfast.NegotiationError,
        "WS_ERR_NEGOTIATION",
        "Server sent an invalid subprotocol",
    ),
    "two subprotocols": (
        f"{ACCEPTED}Sec-WebSocket-Protocol: foo, bar\n\n",
        OFFERED,
        wsfast.NegotiationError,
        "WS_ERR_NEGOTIATION",
        "Server sent an invalid subprotocol",
    ),
    "no subprotocol, but one is required": (
        f"{ACCEPTED}\n",
        {**OFFERED, "require_subprotocol": True},
        wsfast.NegotiationError,
        "WS_ERR_NEGOTIATION",
        "Server sent no subprotocol",
    ),
    "an extension unasked": (
        f"{ACCEPTED}Sec-WebSocket-Extensions: foo\n\n",
        PLAIN,
        wsfast.UnexpectedExtension,
        "WS_ERR_UNEXPECTED_EXTENSION",
        "Server sent a Sec-WebSocket-Extensions header but no extension was requested",
    ),
    "another extension": (
        f"{ACCEPTED}Sec-WebSocket-Extensions: foo\n\n",
        {},
        wsfast.UnexpectedExtension,
        "WS_ERR_UNEXPECTED_EXTENSION",
        'Server sent an extension response for unknown extension "foo"',
    ),
    "a malformed extension": (
        f"{ACCEPTED}Sec-WebSocket-Extensions: permessage-deflate;=\n\n",
        {},
        wsfast.InvalidHeaderFormat,
        "WS_ERR_INVALID_HEADER",
        "invalid Sec-WebSocket-Extensions header: Unexpected character at index 19",
    ),
    "an unknown parameter": (
        f"{ACCEPTED}Sec-WebSocket-Extensions: permessage-deflate; foo=bar\n\n",
        {},
        wsfast.NegotiationError,
        "WS_ERR_NEGOTIATION",
        "Server sent unacceptable extension parameters: permessage-deflate; foo=bar",
    ),
    "garbage": (
        "this is not HTTP\n\n",
        {},
        wsfast.InvalidMessage,
        "WS_ERR_INVALID_HTTP",
        "did not receive a valid HTTP response",
    ),
    "nothing": (
        "",
        {},
        wsfast.InvalidMessage,
        "WS_ERR_INVALID_HTTP",
        "connection closed while reading HTTP status line",
    ),
    "half a head": (
        ACCEPTED,
        {},
        wsfast.InvalidMessage,
        "WS_ERR_INVALID_HTTP",
        "connection closed while reading HTTP headers",
    ),
    "200": (
        "HTTP/1.1 200 OK\nContent-Length: 3\n\nfoo",
        {},
        wsfast.InvalidStatus,
        "WS_ERR_UNEXPECTED_RESPONSE",
        "Unexpected server response: 200",
    ),
    "401 and a body until the end": (
        "HTTP/1.1 401 Unauthorized\nConnection: close\n\nfoo",
        {},
        wsfast.InvalidStatus,
        "WS_ERR_UNEXPECTED_RESPONSE",
        "Unexpected server response: 401",
    ),
    "a large header": (
        f"{ACCEPTED}X-Large: {'x' * 8192}\n\n",
        {},
        wsfast.HeaderLineTooLong,
        "WS_ERR_HANDSHAKE_TOO_LARGE",
        "the headers are longer than 8192 bytes a line or 65536 bytes in all",
    ),
}


async def test_every_wrong_answer_is_an_exception_of_its_own(script_server):
    """The cases of ws's "Connection establishing": each has its class, stable code and message."""
    answers = [answer for answer, *_ in WRONG.values()]
    seen = {}
    async with (
        asyncio.timeout(TIMEOUT),
        script_server(RAW, answers=answers) as (_, url),
    ):
        for number, (name, (_, options, *_)) in enumerate(WRONG.items()):
            with pytest.raises(wsfast.InvalidHandshake) as caught:
                await wsfast.connect(f"{url}/{number}", **options)
            seen[name] = [type(caught.value), caught.value.code, str(caught.value)]
    assert seen == {name: list(expected) for name, (_, _, *expected) in WRONG.items()}


async def test_no_subprotocol_is_fine_unless_one_is_required(script_server):
    """DESIGN section 5: RFC 6455 allows it, other than ws."""
    async with asyncio.timeout(TIMEOUT), script_server(RAW, answers=[f"{ACCEPTED}\n"]) as (_, url):
        ws = await wsfast.connect(f"{url}/0", **OFFERED)
        assert ws.subprotocol is None
        await ws.wait_closed()
        assert ws.close_code == 1006
