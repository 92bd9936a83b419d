"""How connections between Node's ws and wsfast end: close codes, terminate, silent peers."""

import asyncio

import pytest

import wsfast

pytestmark = pytest.mark.interop

TIMEOUT = 30

# K5: every code that may travel, and a reason in UTF-8 of as many bytes as there may be.
CODES = [*range(1000, 1004), *range(1007, 1015), 3000, 3999, 4000, 4999]
REASONS = ["", "grün €", "é" * 61 + "x"]
CLOSES = [(code, REASONS[number % 3]) for number, code in enumerate(CODES)]


def outcome(ws):
    return ws.close_code, ws.close_reason, ws.was_clean


async def test_wsfast_answers_every_close_code_of_a_ws_client(script, serving):
    """K5, L6, W14: also 1012 to 1014; the code and the reason come back."""
    ends = []

    async def handler(ws):
        await ws.wait_closed()
        ends.append(outcome(ws))

    source = """
        for (const [code, reason] of closes) {
          const ws = new WebSocket(url);
          await once(ws, 'open');
          ws.close(code, reason);
          const [answer, text] = await once(ws, 'close');
          tell(answer, text.toString());
        }
        """
    async with (
        asyncio.timeout(TIMEOUT),
        serving(handler) as url,
        script(source, url=url, closes=CLOSES) as client,
    ):
        assert await client.ended() == [list(close) for close in CLOSES]
    assert ends == [(*close, True) for close in CLOSES]


async def test_ws_answers_every_close_code_of_a_wsfast_server(script, serving):
    """K5: and the connection ends cleanly."""
    ends = []

    async def handler(ws):
        await ws.close(*CLOSES[int(ws.request.path[1:])])
        ends.append(outcome(ws))

    source = """
        for (let number = 0; number < count; number++) {
          const [code, reason] = await once(new WebSocket(`${url}/${number}`), 'close');
          tell(code, reason.toString());
        }
        """
    async with (
        asyncio.timeout(TIMEOUT),
        serving(handler) as url,
        script(source, url=url, count=len(CLOSES)) as client,
    ):
        assert await client.ended() == [list(close) for close in CLOSES]
    assert ends == [(*close, True) for close in CLOSES]


async def test_ws_sees_how_a_wsfast_server_lets_it_go(script, serving):
    """W15: by `terminate`, and by the end of its handler."""

    async def handler(ws):
        if ws.request.path == "/terminate":
            ws.terminate()

    source = """
        for (const path of ['/terminate', '/return']) {
          const [code] = await once(new WebSocket(url + path), 'close');
          tell(code);
        }
        """
    async with asyncio.timeout(TIMEOUT), serving(handler) as url, script(source, url=url) as client:
        assert await client.ended() == [[1006], [1000]]


# A server that closes with what the query says, and tells how its connections end.
SERVER = """
    const server = http.createServer();
    const wss = new WebSocketServer({ server });
    wss.on('connection', (ws, request) => {
      ws.on('close', (code, reason) => tell(code, reason.toString()));
      const { searchParams } = new URL(request.url, 'http://localhost');
      if (searchParams.has('empty')) ws.close();
      if (searchParams.has('code')) ws.close(+searchParams.get('code'), searchParams.get('reason'));
      if (searchParams.has('terminate')) ws.terminate();
    });
    await listen(server);
    """


async def test_ws_answers_every_close_code_of_a_wsfast_client(script_server):
    """K5, L6: both sides agree."""
    async with asyncio.timeout(TIMEOUT), script_server(SERVER) as (server, url):
        for code, reason in CLOSES:
            ws = await wsfast.connect(url)
            await ws.close(code, reason)
            assert outcome(ws) == (code, reason, True)
            assert await server.told() == [code, reason]


async def test_wsfast_answers_every_close_code_of_a_ws_server(script_server):
    """K5: the exception of `recv` has them."""
    async with asyncio.timeout(TIMEOUT), script_server(SERVER) as (server, url):
        for code in CODES:
            ws = await wsfast.connect(f"{url}/?code={code}&reason=gr%C3%BCn")
            with pytest.raises(wsfast.ConnectionClosed) as caught:
                await ws.recv()
            assert isinstance(caught.value, wsfast.ConnectionClosedOK) == (code in (1000, 1001))
            assert (caught.value.rcvd.code, caught.value.rcvd.reason) == (code, "grün")
            await ws.wait_closed()
            assert outcome(ws) == (code, "grün", True)
            assert await server.told() == [code, "grün"]


async def test_no_code_is_1005_on_both_sides(script_server):
    """L3, L6: an empty close frame is answered by an empty one."""
    async with asyncio.timeout(TIMEOUT), script_server(SERVER) as (server, url):
        ws = await wsfast.connect(f"{url}/?empty")
        await ws.wait_closed()
        assert outcome(ws) == (1005, "", True)
        assert await server.told() == [1005, ""]


async def test_terminate_is_1006_on_both_sides(script_server):
    """W15: no close frame is sent, whoever terminates."""
    async with asyncio.timeout(TIMEOUT), script_server(SERVER) as (server, url):
        ws = await wsfast.connect(f"{url}/?terminate")
        await ws.wait_closed()
        assert outcome(ws) == (1006, "", False)
        assert await server.told() == [1006, ""]
        ws = await wsfast.connect(url)
        ws.terminate()
        await ws.wait_closed()
        assert outcome(ws) == (1006, "", False)
        assert await server.told() == [1006, ""]


async def test_a_ws_client_that_terminates_is_1006_on_both_sides(script, serving, watch):
    """W15: also behind a close frame of its own, whose answer it does not wait for."""
    ends = []

    async def handler(ws):
        await ws.wait_closed()
        ends.append(outcome(ws))

    source = """
        for (const close of [false, true]) {
          const ws = watch(new WebSocket(url));
          await once(ws, 'open');
          if (close) ws.close(4000);
          ws.terminate();
          await once(ws, 'close');
        }
        """
    async with asyncio.timeout(TIMEOUT), serving(handler) as url:
        async with script(source, url=url) as client:
            assert await client.ended() == [["open"], ["close", 1006, ""]] * 2
    assert ends[0] == (1006, "", False)
    # The close frame may have left or not.
    assert ends[1][0] in (4000, 1006)


# Accepts, tells the first frame that it gets, and does not answer it.
SILENT = """
    import { createHash } from 'node:crypto';
    const guid = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';
    const server = net.createServer((socket) => {
      socket.on('error', () => {});
      socket.once('data', (head) => {
        const [, key] = /sec-websocket-key: (.*)\\r\\n/i.exec(head);
        const accept = createHash('sha1').update(key + guid).digest('base64');
        socket.write('HTTP/1.1 101 Switching Protocols\\r\\nUpgrade: websocket\\r\\n' +
          `Connection: Upgrade\\r\\nSec-WebSocket-Accept: ${accept}\\r\\n\\r\\n`);
        socket.once('data', (frame) => {
          tell(frame.length, frame[0], frame[1]);
          if (way === 'end') socket.end();
          if (way === 'reset') socket.resetAndDestroy();
        });
        socket.on('close', () => tell('gone'));
      });
    });
    await listen(server);
    """


async def test_a_server_that_never_answers_the_close_frame_is_left(script_server):
    """L2, C8: after `close_timeout` the connection is cut, and it is 1006."""
    async with asyncio.timeout(TIMEOUT), script_server(SILENT, way=None) as (server, url):
        ws = await wsfast.connect(url, close_timeout=0.1)
        await ws.close(1000)
        assert outcome(ws) == (1006, "", False)
        assert ws.close_sent.code == 1000
        assert await server.told() == [8, 0x88, 0x82]
        assert await server.told() == ["gone"]


@pytest.mark.parametrize("way", ["end", "reset"])
async def test_a_server_that_goes_without_a_close_frame_is_1006(script_server, way):
    """L13: by FIN and by RST."""
    async with asyncio.timeout(TIMEOUT), script_server(SILENT, way=way) as (server, url):
        ws = await wsfast.connect(url, compression=None)
        await ws.send("")
        assert await server.told() == [6, 0x81, 0x80]
        with pytest.raises(wsfast.ConnectionClosedError):
            await ws.recv()
        await ws.wait_closed()
        assert outcome(ws) == (1006, "", False)


async def test_a_ws_client_that_never_answers_the_close_frame_is_left(script, serving, watch):
    """L2, SV12: `close_timeout` of the server."""

    async def handler(ws):
        await ws.recv()
        await ws.close(4000)
        return outcome(ws), ws.close_sent.code

    watched, done = watch(handler)
    # Without its listener of "data" ws does not see what comes.
    source = """
        const ws = new WebSocket(url);
        await once(ws, 'open');
        ws._socket.removeAllListeners('data');
        ws._socket.resume();
        ws.send('go on');
        ws.on('error', () => {});
        await once(ws._socket, 'close');
        """
    async with asyncio.timeout(TIMEOUT), serving(watched, close_timeout=0.1) as url:
        async with script(source, url=url) as client:
            assert await done == ((1006, "", False), 4000)
            assert await client.ended() == []
