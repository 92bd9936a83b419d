"""The events of a server's connections in event style are those of Node's ws, in the same order.

Each scenario is what a client of ws does as soon as it is connected: to a server of ws, and to one
of wsfast. Both echo messages.
"""

import asyncio

import pytest

import wsfast

pytestmark = pytest.mark.interop

TIMEOUT = 30

SERVER = """
    const wss = new WebSocketServer({ port: 0, host: '127.0.0.1', maxPayload: 1000 });
    await once(wss, 'listening');
    tell(wss.address().port);
    wss.on('connection', (ws) => {
      watch(ws).on('message', (data, binary) => ws.send(data, { binary }));
    });
    """

CLIENT = """
    const ws = new WebSocket(url, { perMessageDeflate: false });
    ws.on('error', () => {});
    await once(ws, 'open');
    for (const [name, ...values] of calls) {
      if (name === 'write') ws._socket.write(Buffer.from(values[0].replaceAll(' ', ''), 'hex'));
      else if (name === 'end') ws._socket.end();
      else ws[name](...values);
    }
    await new Promise((resolve) => ws.on('close', resolve));
    """

# A zero mask is written out as M.
SCENARIOS = {
    "a message and a close": [["send", "text"], ["close", 1000, "done"]],
    "messages of both types": [["send", "one"], ["write", "8282 M 0001"], ["close", 4000]],
    "fragments around a ping": [
        ["send", "one, ", {"fin": False}],
        ["ping", "between"],
        ["send", "two", {"fin": True}],
        ["close"],
    ],
    "a ping and a pong": [["ping", "ping"], ["pong", "pong"], ["close", 1001]],
    "a close without a code": [["close"]],
    "a terminate": [["terminate"]],
    "a message and an end": [["send", "last"], ["end"]],
    "half a message and an end": [["write", "8185 M 61"], ["end"]],
    "half a head and an end": [["write", "81"], ["end"]],
    "an end": [["end"]],
    "a message and a bad opcode": [["send", "good"], ["write", "8380 M"]],
    "no mask": [["send", "good"], ["write", "8100"]],
    "a text that is not UTF-8": [["write", "8182 M c328"]],
    "a reason that is not UTF-8": [["write", "8883 M 03e8ff"]],
    "a close code that must not be sent": [["write", "8882 M 03ed"]],
    "a close of one byte": [["write", "8881 M 00"]],
    "too large a message": [["send", "x" * 1001]],
    "too large fragments": [
        ["send", "x" * 1000, {"fin": False}],
        ["send", "x", {"fin": True}],
    ],
    "frames behind a close frame": [["write", "8882 M 03e8 8181 M 61 8380 M"]],
    "a ping behind a bad frame": [["write", "8380 M 8980 M"]],
    "two bad frames": [["write", "8380 M 8380 M"]],
    "a close inside a message": [["send", "one", {"fin": False}], ["close", 1000]],
}


async def seen_by_ws(script, script_server, calls):
    async with script_server(SERVER) as (server, url):
        async with script(CLIENT, url=url, calls=calls) as client:
            await client.ended()
        told = []
        while not told or told[-1][0] != "close":
            told.append(await server.told())
        return told


async def seen_by_wsfast(script, calls):
    told = []
    closed = asyncio.Event()
    server = wsfast.WebSocketServer(host="127.0.0.1", port=0, max_size=1000)

    @server.on("connection")
    def connection(ws, request):
        ws.on("ping", lambda data: told.append(["ping", data.decode()]))
        ws.on("pong", lambda data: told.append(["pong", data.decode()]))
        ws.on("error", lambda error: told.append(["error", error.code]))

        @ws.on("message")
        def message(data, is_binary):
            told.append(["message", data.hex() if is_binary else data, is_binary])
            ws.send(data)

        @ws.on("close")
        def close(code, reason):
            told.append(["close", code, reason])
            closed.set()

    async with server:
        url = f"ws://127.0.0.1:{server.address()[1]}"
        async with script(CLIENT, url=url, calls=calls) as client:
            await client.ended()
        await closed.wait()
    return told


@pytest.mark.parametrize("name", SCENARIOS)
async def test_the_events_of_a_server_are_those_of_ws(script, script_server, name):
    """EV2 to EV5, L3, L6, L7, L8, L11, L13, RX7: errors have the same code."""
    calls = [
        [part.replace("M", "00000000") if call[0] == "write" else part for part in call]
        for call in SCENARIOS[name]
    ]
    async with asyncio.timeout(TIMEOUT):
        theirs = await seen_by_ws(script, script_server, calls)
        ours = await seen_by_wsfast(script, calls)
    # The words of ours say more.
    assert ours == [event[:1] + event[2:] if event[0] == "error" else event for event in theirs]
