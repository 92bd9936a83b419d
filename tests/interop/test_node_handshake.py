"""Node's ws opens a connection to a wsfast server: what it asks for, and what it is told."""

import asyncio
import base64

import pytest

import wsfast

pytestmark = pytest.mark.interop

TIMEOUT = 30


async def echo(ws):
    async for message in ws:
        await ws.send(message)


async def tell_request(ws):
    """A handler that returns what it was asked for."""
    return ws.request


async def requested(script, serving, watch, source, path="", **options):
    """The request of a script's client, which must be let in."""
    watched, done = watch(tell_request)
    async with asyncio.timeout(TIMEOUT), serving(watched, **options) as url:
        async with script(source, url=url + path) as client:
            assert await client.ended() == [["open"], ["close", 1000, ""]]
        return await done


# --- What it asks for -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "header"), [(13, "Origin"), (8, "Sec-WebSocket-Origin")], ids=["13", "8"]
)
async def test_both_versions_of_ws_are_spoken(script, serving, watch, version, header):
    """C17, C19, K6, SV9: the origin has another name in version 8; `verify_client` knows both."""
    infos = []

    def verify(info):
        infos.append((info.origin, info.secure))
        return True

    request = await requested(
        script,
        serving,
        watch,
        f"""
        const origin = 'https://example.com';
        watch(new WebSocket(url, {{ protocolVersion: {version}, origin }}));
        """,
        verify_client=verify,
        origins=["https://example.com"],
    )
    assert request.headers["Sec-WebSocket-Version"] == str(version)
    assert request.headers[header] == "https://example.com"
    assert infos == [("https://example.com", False)]


async def test_the_headers_of_ws_are_seen(script, serving, watch):
    """C21, C22: also credentials, repeated headers, and the path and query as they are."""
    request = await requested(
        script,
        serving,
        watch,
        """
        const headers = { 'X-Single': 'grün', 'X-Several': ['one', 'two'], Cookie: 'a=1; b=2' };
        watch(new WebSocket(url, { headers, auth: 'user:pass:word' }));
        """,
        path="/a%20b/?q=c%26d&e",
    )
    assert request.path == "/a%20b/?q=c%26d&e"
    # Node sends Latin-1.
    assert request.headers["X-Single"] == "grün"
    assert request.headers.get_all("X-Several") == ["one", "two"]
    assert request.headers["Cookie"] == "a=1; b=2"
    credentials = base64.b64encode(b"user:pass:word").decode()
    assert request.headers["Authorization"] == f"Basic {credentials}"


async def test_a_header_that_ws_adds_late_is_seen(script, serving, watch):
    """C9: `finishRequest` of ws decides when the request goes out."""
    request = await requested(
        script,
        serving,
        watch,
        """
        const finishRequest = (request, ws) => setImmediate(() => {
          request.setHeader('X-Late', String(ws.readyState));
          request.end();
        });
        watch(new WebSocket(url, { finishRequest }));
        """,
    )
    assert request.headers["X-Late"] == "0"


async def test_ws_gets_the_subprotocol_that_the_server_prefers(script, serving, watch):
    """W5, SV10: one of those that both know."""
    source = """
        const ws = new WebSocket(url, ['third', 'second', 'first']);
        const [response] = await once(ws, 'upgrade');
        await once(ws, 'close');
        tell(ws.protocol, response.headers['sec-websocket-protocol']);
        """
    watched, done = watch(tell_request)
    async with (
        asyncio.timeout(TIMEOUT),
        serving(watched, subprotocols=["none", "second", "third"]) as url,
        script(source, url=url) as client,
    ):
        assert await client.ended() == [["second", "second"]]
        request = await done
    assert request.headers["Sec-WebSocket-Protocol"] == "third,second,first"


async def test_it_is_ws_that_insists_on_a_subprotocol(script, serving, watch):
    """C5: without a common one the server lets it in."""

    async def handler(ws):
        await ws.wait_closed()
        return ws.subprotocol

    watched, done = watch(handler)
    async with asyncio.timeout(TIMEOUT), serving(watched, subprotocols=["second"]) as url:
        async with script("watch(new WebSocket(url, ['first']))", url=url) as client:
            assert await client.ended() == [
                ["error", "Server sent no subprotocol", None],
                ["close", 1006, ""],
            ]
        assert await done is None


async def test_cookies_of_the_101_are_seen_in_the_upgrade_event_of_ws(script, serving):
    """EV6: each Set-Cookie is a header of its own."""

    def process_response(ws, request, response):
        response.headers["Set-Cookie"] = "a=1"
        response.headers["Set-Cookie"] = "b=2; HttpOnly"

    source = """
        const ws = new WebSocket(url);
        ws.on('upgrade', ({ headers }) => tell(headers['set-cookie']));
        ws.on('open', () => ws.close());
        """
    async with (
        asyncio.timeout(TIMEOUT),
        serving(echo, process_response=process_response) as url,
        script(source, url=url) as client,
    ):
        assert await client.ended() == [[["a=1", "b=2; HttpOnly"]]]


async def test_frames_that_node_sends_along_with_the_request_are_processed(script, serving, watch):
    """SV6: they come before the answer, which a hook keeps waiting."""
    received = []
    asked = asyncio.Event()
    verified = asyncio.Event()

    async def verify(info):
        asked.set()
        await verified.wait()
        return True

    async def handler(ws):
        received.extend([message async for message in ws])

    source = """
        const frame = Buffer.from('818500000000' + '6561726c79', 'hex');
        const finishRequest = (request) => request.end(() => request.socket.write(frame));
        const ws = new WebSocket(url, { finishRequest });
        await once(ws, 'open');
        ws.send('late');
        ws.close();
        """
    async with (
        asyncio.timeout(TIMEOUT),
        serving(handler, verify_client=verify) as url,
        script(source, url=url) as client,
    ):
        await asked.wait()
        verified.set()
        assert await client.ended() == []
    assert received == ["early", "late"]


async def test_ws_connects_to_a_unix_socket(script, tmp_path, watch):
    """C3: `ws+unix:`, with a path and a query behind the second colon."""
    watched, done = watch(tell_request)
    path = tmp_path / "socket"
    source = """
        const ws = watch(new WebSocket(`ws+unix:${path}:/some/path?query`));
        await once(ws, 'close');
        tell(ws.url);
        """
    async with (
        asyncio.timeout(TIMEOUT),
        wsfast.serve(watched, unix_path=str(path)),
        script(source, path=str(path)) as client,
    ):
        opened, closed, [url] = await client.ended()
        request = await done
    assert (opened, closed) == (["open"], ["close", 1000, ""])
    assert url == f"ws+unix:{path}:/some/path?query"
    assert (request.path, request.headers["Host"]) == ("/some/path?query", "localhost")


async def test_the_handshake_timeout_of_ws_gives_the_server_up(script, serving):
    """C13: a hook that is awaited is cancelled when its client is gone."""
    cancelled = asyncio.Event()

    async def process_request(ws, request):
        try:
            await asyncio.Future()
        finally:
            cancelled.set()

    source = "watch(new WebSocket(url, { handshakeTimeout: 50 }))"
    async with (
        asyncio.timeout(TIMEOUT),
        serving(echo, process_request=process_request, open_timeout=None) as url,
        script(source, url=url) as client,
    ):
        assert await client.ended() == [
            ["error", "Opening handshake has timed out", None],
            ["close", 1006, ""],
        ]
        await cancelled.wait()


# --- What it is told --------------------------------------------------------------------------


def unauthorized(info):
    return wsfast.Response(
        401, "Unauthorized", wsfast.Headers({"WWW-Authenticate": "Basic"}), b"who are you?\n"
    )


def teapot(ws, request):
    return wsfast.Response(418, "", wsfast.Headers({"X-Tea": "green"}), "grün".encode())


LATE = "finishRequest: (request) => {{ {}; request.end(); }}"
REFUSED = "Failed to open a WebSocket connection: "

# The server's options, those of ws, the status, a header of the answer, and how its body begins.
ANSWERS = {
    "a bad extension": (
        {},
        "perMessageDeflate: false, headers: { 'Sec-WebSocket-Extensions': 'a;;b' }",
        400,
        ("connection", "close"),
        f"{REFUSED}invalid Sec-WebSocket-Extensions header",
    ),
    "a bad key": (
        {},
        LATE.format("request.setHeader('Sec-WebSocket-Key', 'short')"),
        400,
        ("content-type", "text/plain; charset=utf-8"),
        f"{REFUSED}invalid Sec-WebSocket-Key header",
    ),
    "verify_client says False": (
        {"verify_client": lambda info: False},
        "",
        401,
        ("connection", "close"),
        "The server refused the client.\n",
    ),
    "verify_client answers": (
        {"verify_client": unauthorized},
        "",
        401,
        ("www-authenticate", "Basic"),
        "who are you?\n",
    ),
    "an origin": ({"origins": [None]}, "origin: 'https://example.com'", 403, (), REFUSED),
    "a path": ({"path": "/chat"}, "", 404, (), REFUSED),
    "a method": ({}, LATE.format("request.method = 'POST'"), 405, ("allow", "GET"), REFUSED),
    "process_request answers": (
        {"process_request": teapot},
        "",
        418,
        ("x-tea", "green"),
        "grün",
    ),
    "no upgrade": (
        {},
        LATE.format("request.setHeader('Upgrade', 'h2c')"),
        426,
        ("upgrade", "websocket"),
        f"{REFUSED}invalid Upgrade header",
    ),
    "a version": (
        {},
        LATE.format("request.setHeader('Sec-WebSocket-Version', '7')"),
        426,
        ("sec-websocket-version", "13, 8"),
        REFUSED,
    ),
    "a large head": ({}, "headers: { 'X-Large': 'x'.repeat(2 ** 17) }", 431, (), REFUSED),
}


@pytest.mark.parametrize("name", ANSWERS)
async def test_an_answer_other_than_101_is_unexpected_to_ws(script, serving, name):
    """EV8: with its status, its headers and its whole body; or else it is an error of ws."""
    options, client_options, status, header, begin = ANSWERS[name]
    source = f"""
        const options = {{ {client_options} }};
        const ws = new WebSocket(url, options);
        const [request, response] = await once(ws, 'unexpected-response');
        tell(response.statusCode, response.headers, await text(response));
        watch(new WebSocket(url, options));
        """
    async with (
        asyncio.timeout(TIMEOUT),
        serving(echo, **options) as url,
        script(source, url=url) as client,
    ):
        answer, error, close = await client.ended()
    told, headers, body = answer
    assert told == status
    assert not header or headers[header[0]] == header[1]
    assert body.startswith(begin)
    assert int(headers["content-length"]) == len(body.encode())
    assert error == ["error", f"Unexpected server response: {status}", None]
    assert close == ["close", 1006, ""]


async def test_ws_is_told_503_when_there_is_no_more_room(script, serving):
    """`max_connections`: there is again when somebody left."""
    source = """
        const first = new WebSocket(url);
        await once(first, 'open');
        const [, response] = await once(new WebSocket(url), 'unexpected-response');
        tell(response.statusCode, await text(response));
        first.close();
        await once(first, 'close');
        const third = watch(new WebSocket(url));
        await once(third, 'open');
        third.close(1000);
        """
    async with (
        asyncio.timeout(TIMEOUT),
        serving(echo, max_connections=1) as url,
        script(source, url=url) as client,
    ):
        [status, body], *rest = await client.ended()
    assert status == 503
    assert body
    assert rest == [["open"], ["close", 1000, ""]]


async def test_a_plain_request_of_node_is_answered_in_http(script, serving):
    """426, unless `process_request` has an answer."""
    source = """
        for (const address of [url, url + '/page']) {
          const [response] = await once(http.get(address.replace('ws:', 'http:')), 'response');
          tell(response.statusCode, response.headers.upgrade ?? null, await text(response));
        }
        """

    def page(ws, request):
        if request.path == "/page":
            return wsfast.Response(200, "OK", wsfast.Headers(), b"<p>page</p>")
        return None

    async with (
        asyncio.timeout(TIMEOUT),
        serving(echo, process_request=page) as url,
        script(source, url=url) as client,
    ):
        refused, answered = await client.ended()
    assert refused[:2] == [426, "websocket"]
    assert answered == [200, None, "<p>page</p>"]


# --- Where it is sent -------------------------------------------------------------------------


def redirecting(status, where):
    """A hook that sends everybody from the path "/" to another address."""

    def process_request(ws, request):
        if request.path != "/":
            return None
        return wsfast.Response(status, "", wsfast.Headers({"Location": where}), b"moved\n")

    return process_request


CREDENTIALS = "{ Authorization: 'Bearer token', Cookie: 'session=1', 'X-Other': 'kept' }"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_ws_follows_a_redirect_within_the_server(script, serving, watch, status):
    """C10, RD1: any kind of it; what it has of credentials goes along."""
    watched, done = watch(tell_request)
    source = f"""
        const ws = new WebSocket(url, {{ followRedirects: true, headers: {CREDENTIALS} }});
        await once(ws, 'close');
        tell(ws.url);
        """
    async with (
        asyncio.timeout(TIMEOUT),
        serving(watched, process_request=redirecting(status, "/there?q=1")) as url,
        script(source, url=url) as client,
    ):
        assert await client.ended() == [[f"{url}/there?q=1"]]
        request = await done
    assert request.path == "/there?q=1"
    assert request.headers["Authorization"] == "Bearer token"
    assert request.headers["Cookie"] == "session=1"


async def test_ws_takes_no_credentials_to_another_server(script, serving, watch):
    """RD2: another port is another server."""
    watched, done = watch(tell_request)
    source = f"""
        const ws = new WebSocket(url, {{ followRedirects: true, headers: {CREDENTIALS} }});
        await once(ws, 'close');
        tell(ws.url);
        """
    async with asyncio.timeout(TIMEOUT), serving(watched) as there:
        async with (
            serving(echo, process_request=redirecting(302, f"{there}/there")) as url,
            script(source, url=url) as client,
        ):
            assert await client.ended() == [[f"{there}/there"]]
        request = await done
    assert "Authorization" not in request.headers
    assert "Cookie" not in request.headers
    assert request.headers["X-Other"] == "kept"


async def test_ws_does_not_follow_redirects_without_end_nor_unasked(script, serving):
    """C10, C11: it tells what it was answered."""
    source = """
        for (const options of [{}, { followRedirects: true, maxRedirects: 3 }]) {
          const ws = watch(new WebSocket(url, options));
          let count = 0;
          ws.on('redirect', () => count++);
          await new Promise((resolve) => ws.on('close', resolve));
          tell(count);
        }
        """
    async with (
        asyncio.timeout(TIMEOUT),
        serving(echo, process_request=redirecting(302, "/")) as url,
        script(source, url=url) as client,
    ):
        assert await client.ended() == [
            ["error", "Unexpected server response: 302", None],
            ["close", 1006, ""],
            [0],
            ["error", "Maximum redirects exceeded", None],
            ["close", 1006, ""],
            [3],
        ]
