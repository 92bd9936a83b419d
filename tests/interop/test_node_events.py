"""The events of a client in event style are those of Node's ws, in the same order.

Each scenario is played to a server of ws twice: by a client of ws and by one of wsfast. What they
do is data: the calls that are made when an event comes for the first time.
"""

import asyncio

import pytest

import wsfast

pytestmark = pytest.mark.interop

TIMEOUT = 30

SERVER = """
    const wss = new WebSocketServer({
      noServer: true, maxPayload: 1000, handleProtocols: (names) => names.has('b') ? 'b' : 'other',
    });
    const behaviours = {
      '/echo': (ws) => ws.on('message', (data, binary) => ws.send(data, { binary })),
      '/greet': (ws) => { ws.send('hello'); ws.ping('marco'); ws.send(Buffer.from([1, 2])); },
      '/close': (ws) => ws.close(4000, 'grün'),
      '/nothing': (ws) => ws.close(),
      '/terminate': (ws) => ws.terminate(),
      '/bad': (ws) => { ws.send('good'); ws._socket.write(Buffer.from([0x85, 0x00])); },
      '/masked': (ws) => ws._socket.write(Buffer.from([0x81, 0x80, 0, 0, 0, 0])),
      '/text': (ws) => ws._socket.write(Buffer.from([0x81, 0x01, 0xff])),
      '/reason': (ws) => ws._socket.write(Buffer.from([0x88, 0x03, 0x03, 0xe8, 0xff])),
      '/behind': (ws) => { ws.close(1000); ws._socket.write(Buffer.from([0x81, 0x00])); },
      '/glued': (ws) => {
        ws._socket.cork(); ws.send('one'); ws.send('two'); ws.close(1001); ws._socket.uncork();
      },
    };
    const answers = {
      '/moved': 'HTTP/1.1 302 Found\\r\\nLocation: /close\\r\\n\\r\\n',
      '/loop': 'HTTP/1.1 302 Found\\r\\nLocation: /loop\\r\\n\\r\\n',
      '/away': 'HTTP/1.1 302 Found\\r\\nLocation: ftp://localhost/\\r\\n\\r\\n',
      '/refused': 'HTTP/1.1 401 Unauthorized\\r\\nContent-Length: 2\\r\\n\\r\\nno',
      '/wrong': 'HTTP/1.1 101 Switching Protocols\\r\\nUpgrade: websocket\\r\\n' +
        'Connection: Upgrade\\r\\nSec-WebSocket-Accept: wrong\\r\\n\\r\\n',
      '/end': '',
    };
    const server = http.createServer();
    server.on('upgrade', (request, socket, head) => {
      socket.on('error', () => {});
      if (request.url === '/silent') return;
      if (request.url in answers) socket.end(answers[request.url]);
      else wss.handleUpgrade(request, socket, head, (ws) => {
        ws.on('error', () => {});
        behaviours[request.url](ws);
      });
    });
    await listen(server);
    """

CLIENT = """
    const ws = new WebSocket(url, protocols, options);
    const shown = {
      open: () => [], message: (data, binary) => [data.toString(binary ? 'hex' : 'utf8'), binary],
      ping: (data) => [data.toString()], pong: (data) => [data.toString()],
      close: (code, reason) => [code, reason.toString()], error: (error) => [],
      upgrade: (response) => [response.statusCode], redirect: (url) => [url],
      'unexpected-response': (request, response) => [response.statusCode],
    };
    for (const [name, show] of Object.entries(shown)) {
      if (deciding.includes(name) && !(name in calls)) continue;
      const actions = [...calls[name] ?? []];
      ws.on(name, (...args) => {
        tell(name, ...show(...args));
        for (const [method, ...values] of actions.splice(0)) ws[method](...values);
      });
    }
    for (const [method, ...values] of calls.now ?? []) ws[method](...values);
    """

# A listener for one of these changes what comes; there is one if the scenario has it.
DECIDING = ["redirect", "unexpected-response"]

# The path, and what is called: at once, or in which event.
CALLS = {
    "a message and a close": ("/echo", {"open": [["send", "hi"]], "message": [["close", 1000]]}),
    "a ping and a close": (
        "/echo",
        {"open": [["ping", "data"]], "pong": [["close", 3000, "grün"]]},
    ),
    "a close without a code": ("/echo", {"open": [["close"]]}),
    "messages, and a close behind them": (
        "/echo",
        {"open": [["send", "one"], ["send", "two"], ["close", 4999]]},
    ),
    "two closes": ("/echo", {"open": [["close", 4000], ["close", 4001]]}),
    "a terminate": ("/echo", {"open": [["terminate"]]}),
    "a terminate behind a close": ("/echo", {"open": [["close"], ["terminate"]]}),
    "a terminate in the close": ("/close", {"close": [["terminate"], ["close"]]}),
    "what is told unasked": ("/greet", {"ping": [["close", 1000]]}),
    "a close by the server": ("/close", {}),
    "a close by the server without a code": ("/nothing", {}),
    "a terminate by the server": ("/terminate", {}),
    "a bad frame": ("/bad", {}),
    "a masked frame": ("/masked", {}),
    "a bad text": ("/text", {}),
    "a bad reason": ("/reason", {}),
    "a frame behind a close frame": ("/behind", {}),
    "messages and a close in one write": ("/glued", {}),
    "messages, a pause and a resume": ("/glued", {"message": [["pause"], ["resume"]]}),
    "too big a message": ("/echo", {"open": [["send", "x" * 1001]]}),
    "a refusal": ("/refused", {}),
    "a wrong accept": ("/wrong", {}),
    "an end": ("/end", {}),
    "a redirect that is not followed": ("/moved", {}),
    "a close at once": ("/echo", {"now": [["close"]]}),
    "a terminate at once": ("/echo", {"now": [["terminate"]]}),
    "a close in the upgrade": ("/echo", {"upgrade": [["close"]]}),
    "a terminate in the upgrade": ("/echo", {"upgrade": [["terminate"]]}),
    "a terminate in the unexpected response": (
        "/refused",
        {"unexpected-response": [["terminate"]]},
    ),
    "a close in the unexpected response": ("/moved", {"unexpected-response": [["close"]]}),
    "a close in the error": ("/refused", {"error": [["close"]]}),
    "a terminate in the error": ("/refused", {"error": [["terminate"]]}),
}
FOLLOWING = {
    "a redirect": ("/moved", {}),
    "a redirect that is told": ("/moved", {"redirect": []}),
    "redirects without end": ("/loop", {"redirect": []}),
    "a redirect to nowhere": ("/away", {"redirect": []}),
    "a close in the redirect": ("/moved", {"redirect": [["close"]]}),
    "a terminate in the redirect": ("/moved", {"redirect": [["terminate"]]}),
}
SUBPROTOCOLS = {
    "a subprotocol": (["a", "b"], {"open": [["close", 1000]]}),
    "a subprotocol that was not offered": (["a"], {}),
}


async def events_of_ws(script, url, calls, protocols, options):
    given = {"calls": calls, "protocols": protocols, "options": options, "deciding": DECIDING}
    async with script(CLIENT, url=url, **given) as client:
        return await client.ended()


async def events_of_wsfast(url, calls, protocols, options):
    told = []
    closed = asyncio.Event()
    ws = wsfast.WebSocket(url, protocols, **options)
    shown = {
        "open": list,
        "message": lambda data, binary: [data.hex() if binary else data, binary],
        "ping": lambda data: [data.decode()],
        "pong": lambda data: [data.decode()],
        "close": lambda code, reason: [code, reason],
        "error": lambda error: [],
        "upgrade": lambda response: [response.status_code],
        "redirect": lambda url, request: [url],
        "unexpected-response": lambda request, response: [response.status_code],
    }

    def call(method, *values):
        if method == "close" and not values:
            values = (None,)  # for which 1000 is the default, other than in ws
        getattr(ws, method)(*values)

    def listener(name, show):
        actions = list(calls.get(name, ()))

        def listen(*arguments):
            told.append([name, *show(*arguments)])
            if name == "close":
                closed.set()
            while actions:
                call(*actions.pop(0))

        return listen

    for name, show in shown.items():
        if name not in DECIDING or name in calls:
            ws.on(name, listener(name, show))
    for action in calls.get("now", ()):
        call(*action)
    await closed.wait()
    return told


async def compare(script, url, calls, protocols=(), ours=None, theirs=None):
    """Both sequences of events must be the same; returns it."""
    seen = await events_of_ws(script, url, calls, list(protocols), theirs or {})
    assert await events_of_wsfast(url, calls, list(protocols), ours or {}) == seen
    return seen


@pytest.fixture
def server(script_server):
    return script_server(SERVER)


@pytest.mark.parametrize("name", CALLS)
async def test_the_events_are_those_of_ws(script, server, name):
    """EV1 to EV6, EV8, L3, L7, L9, L10, L11, W15."""
    path, calls = CALLS[name]
    async with asyncio.timeout(TIMEOUT), server as (_, url):
        seen = await compare(script, url + path, calls)
    assert seen[-1][0] == "close"


@pytest.mark.parametrize("name", FOLLOWING)
async def test_the_events_of_redirects_are_those_of_ws(script, server, name):
    """EV7, RD5."""
    path, calls = FOLLOWING[name]
    async with asyncio.timeout(TIMEOUT), server as (_, url):
        await compare(
            script,
            url + path,
            calls,
            ours={"follow_redirects": True},
            theirs={"followRedirects": True},
        )


@pytest.mark.parametrize("name", SUBPROTOCOLS)
async def test_the_events_with_subprotocols_are_those_of_ws(script, server, name):
    """C5, W5."""
    protocols, calls = SUBPROTOCOLS[name]
    async with asyncio.timeout(TIMEOUT), server as (_, url):
        await compare(script, f"{url}/echo", calls, protocols)


async def test_the_events_of_a_server_that_is_silent_are_those_of_ws(script, server):
    """C13."""
    async with asyncio.timeout(TIMEOUT), server as (_, url):
        seen = await compare(
            script,
            f"{url}/silent",
            {},
            ours={"open_timeout": 0.05},
            theirs={"handshakeTimeout": 50},
        )
    assert seen == [["error"], ["close", 1006, ""]]


async def test_the_events_where_nobody_listens_are_those_of_ws(script):
    """EV5, M15: "error" and then "close"."""
    async with asyncio.timeout(TIMEOUT):
        seen = await compare(script, "ws://127.0.0.1:9", {})
    assert seen == [["error"], ["close", 1006, ""]]
