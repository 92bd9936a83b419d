"""Random streams of frames, good and bad, are answered by wsfast as by Node's ws."""

import asyncio
import random

import pytest
from peers import (
    BINARY,
    CLOSE,
    CONT,
    MASK,
    PING,
    PONG,
    TEXT,
    Peer,
    close_payload,
    frame,
    raw_server,
    request,
)

import wsfast

pytestmark = pytest.mark.interop

TIMEOUT = 60
STREAMS = 500

SERVER = """
    const wss = new WebSocketServer({ port: 0, host: '127.0.0.1', maxPayload: 1000 });
    await once(wss, 'listening');
    tell(wss.address().port);
    wss.on('connection', (ws) => {
      ws.on('error', () => {});
      ws.on('message', (data, binary) => ws.send(data, { binary }));
    });
    """

CODES = [1000, 1001, 1003, 1012, 3000, 4999, 1004, 1005, 1015, 2999, 5000]


def random_frame(source, mask):
    """Mostly what may come. Text that is no UTF-8 is whole: ws only looks at whole messages."""
    opcode = source.choice([CONT, TEXT, TEXT, BINARY, PING, PONG])
    if source.random() < 0.05:
        opcode = source.choice([3, 7, CLOSE, CLOSE, 11])
    fin = source.random() < (0.95 if opcode >= CLOSE else 0.7)
    size = source.choice([0, 1, 2, 20, 125, 126, 999, 1000, 1001])
    if opcode == CLOSE:
        payload = close_payload(source.choice(CODES), source.choice(["", "bye", "é"]))
        payload = payload[: source.choice([0, 1, 2, None, None])]
    elif opcode in (CONT, TEXT):
        payload = b"a" * size
        if opcode == TEXT and fin and source.random() < 0.1:
            payload = source.choice(["é€😀".encode(), b"\xc3\x28", b"\xed\xa0\x80", b"\xff"])
    else:
        payload = source.randbytes(size if opcode < CLOSE else min(size, 125))
    rsv = source.choice([1, 2, 4]) if source.random() < 0.02 else 0
    if source.random() < 0.02:
        mask = None if mask else MASK
    return frame(opcode, payload, fin=fin, rsv=rsv, mask=mask)


def random_stream(seed, mask):
    """A close frame is at the end; it may come in one write."""
    source = random.Random(seed)
    stream = [random_frame(source, mask) for _ in range(source.randint(1, 8))]
    if source.random() < 0.5:
        stream = [b"".join(stream)]
    return [*stream, frame(CLOSE, close_payload(1000), mask=mask)]


async def answers(peer, stream):
    """What the other side answers, up to its close frame, of which the code counts."""
    for data in stream:
        peer.write(data)
    seen = []
    while not seen or seen[-1][0] != CLOSE:
        came = await peer.frame()
        assert came.fin
        seen.append((came.opcode, came.payload[:2] if came.opcode == CLOSE else came.payload))
    return seen


async def answers_of_server(url, stream):
    host, port = url.removeprefix("ws://").split(":")
    peer = Peer(*await asyncio.open_connection(host, int(port)), client=True)
    try:
        peer.write(request())
        assert (await peer.head()).status == 101
        return await answers(peer, stream)
    finally:
        await peer.wait_closed()


async def test_a_server_answers_random_streams_like_ws(script_server):
    """RX1 to RX7, L6, L7, L11: event style, so that pongs stay among the messages."""
    server = wsfast.WebSocketServer(host="127.0.0.1", port=0, max_size=1000)

    @server.on("connection")
    def connection(ws, request):
        ws.on("error", lambda error: None)
        ws.on("message", lambda data, is_binary: ws.send(data))

    async with asyncio.timeout(TIMEOUT), script_server(SERVER) as (_, theirs), server:
        ours = f"ws://127.0.0.1:{server.address()[1]}"
        for seed in range(STREAMS):
            stream = random_stream(seed, MASK)
            expected = await answers_of_server(theirs, stream)
            assert await answers_of_server(ours, stream) == expected, (seed, b"".join(stream).hex())


CLIENT = """
    for (let seed = 0; seed < count; seed++) {
      const ws = new WebSocket(`${url}ws/${seed}`, { perMessageDeflate: false, maxPayload: 1000 });
      ws.on('error', () => {});
      ws.on('message', (data, binary) => ws.send(data, { binary }));
      await new Promise((resolve) => ws.on('close', resolve));
    }
    """


async def test_a_client_answers_random_streams_like_ws(script):
    """RX1 to RX7, L6, L7, L11."""
    seen = {}

    async def play(peer):
        await peer.accept()
        _, who, number = peer.request.line.split(" ")[1].split("/")
        seed = int(number)
        seen[who, seed] = await answers(peer, random_stream(seed, None))

    async with asyncio.timeout(TIMEOUT), raw_server(play) as url:
        async with script(CLIENT, url=url, count=STREAMS) as client:
            await client.ended()
        for seed in range(STREAMS):
            ws = await wsfast.connect(f"{url}wsfast/{seed}", compression=None, max_size=1000)
            ws.on("error", lambda error: None)
            ws.on("message", lambda data, is_binary, ws=ws: ws.send(data))
            await ws.wait_closed()
            stream = b"".join(random_stream(seed, None)).hex()
            assert seen["wsfast", seed] == seen["ws", seed], (seed, stream)
