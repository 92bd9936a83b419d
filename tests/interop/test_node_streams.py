"""Streams of Node's ws, large payloads that come in parts, and connections that are cut within."""

import asyncio
import hashlib
import io

import pytest

import wsfast

pytestmark = pytest.mark.interop

TIMEOUT = 30


async def echo(ws):
    async for message in ws:
        await ws.send(message)


@pytest.mark.parametrize("compression", [None, "deflate"])
async def test_a_stream_of_ws_comes_back_whole_and_in_order(script, serving, compression):
    """ST2, ST5: both sides wait for each other; nothing is kept beyond the limits of either."""
    source = """
        import { createHash } from 'node:crypto';
        import { pipeline } from 'node:stream/promises';
        const stream = createWebSocketStream(new WebSocket(url));
        const [sent, received] = [createHash('sha1'), createHash('sha1')];
        const chunk = Buffer.alloc(2 ** 16);
        async function* produce() {
          for (let i = 0; i < 256; i++) {
            const data = Buffer.from(chunk.fill(i));
            sent.update(data);
            yield data;
          }
        }
        let size = 0;
        const reading = (async () => {
          for await (const data of stream) {
            received.update(data);
            if ((size += data.length) === 2 ** 24) break;
          }
        })();
        const writing = pipeline(produce, async function (parts) {
          for await (const part of parts) if (!stream.write(part)) await once(stream, 'drain');
        });
        await Promise.all([reading, writing]);
        tell(size, sent.digest('hex') === received.digest('hex'));
        """
    async with (
        asyncio.timeout(TIMEOUT),
        serving(echo, compression=compression) as url,
        script(source, url=url) as client,
    ):
        assert await client.ended() == [[2**24, True]]


class Numbers:
    """Parts that are made one after the other."""

    def __init__(self, count):
        self.count = count

    async def __aiter__(self):
        for number in range(self.count):
            await asyncio.sleep(0)
            yield number.to_bytes(2, "big") * 1000


@pytest.mark.parametrize("compression", [None, "deflate"])
async def test_what_wsfast_sends_in_parts_is_one_message_to_ws(script, serving, compression):
    """W7, W10: iterables, files, fragments; pings go between, a message comes behind."""
    parts = b"".join(number.to_bytes(2, "big") * 1000 for number in range(100))
    text = "grün €" * 50_000

    async def handler(ws):
        sending = asyncio.ensure_future(ws.send(Numbers(100)))
        behind = asyncio.ensure_future(ws.send("behind"))
        await (await ws.ping())
        await asyncio.gather(sending, behind)
        await ws.send(io.BytesIO(parts))
        await ws.send(io.StringIO(text))
        await ws.send(["one, ", "", "two"])
        await ws.send(b"three, ", fin=False)
        await ws.ping()
        await ws.send(b"four")

    source = """
        import { createHash } from 'node:crypto';
        const ws = new WebSocket(url);
        const digest = (data) => createHash('sha1').update(data).digest('hex');
        ws.on('message', (data, binary) => tell(digest(data), binary));
        await once(ws, 'close');
        """

    def digest(data):
        return hashlib.sha1(data).hexdigest()

    async with (
        asyncio.timeout(TIMEOUT),
        serving(handler, compression=compression) as url,
        script(source, url=url) as client,
    ):
        assert await client.ended() == [
            [digest(parts), True],
            [digest(b"behind"), False],
            [digest(parts), True],
            [digest(text.encode()), False],
            [digest(b"one, two"), False],
            [digest(b"three, four"), True],
        ]


CUT = """
    import { randomBytes } from 'node:crypto';
    const data = randomBytes(2 ** 18);
    for (let round = 0; round < 10; round++) {
      const ws = new WebSocket(url, { perMessageDeflate: { threshold: 0 } });
      ws.on('error', () => {});
      ws.on('message', () => cut(ws));
      ws.on('open', () => {
        for (let i = 0; i < 4; i++) ws.send(data);
        if (round % 2) cut(ws);
      });
      await new Promise((resolve) => ws.on('close', resolve));
    }
    """


@pytest.mark.parametrize(
    "cut",
    ["(ws) => ws.terminate()", "(ws) => ws._socket.resetAndDestroy()", "(ws) => ws.close()"],
    ids=["FIN", "RST", "close"],
)
async def test_connections_that_ws_cuts_within_messages_leave_nothing(script, serving, cut):
    """L16, L17: however much is being sent, inflated or deflated; the others are served."""
    ends = []

    async def handler(ws):
        try:
            async for message in ws:
                # Not awaited: all of it waits when the connection is cut.
                for _ in range(4):
                    ws.send(message)
        except wsfast.ConnectionClosedError:
            pass
        await ws.wait_closed()
        ends.append(ws.close_code)

    async with (
        asyncio.timeout(TIMEOUT),
        serving(handler, compression="deflate", max_write_buffer=2**25) as url,
        wsfast.connect(url) as other,
    ):
        async with script(f"const cut = {cut};{CUT}", url=url) as client:
            await client.ended()
        await other.send("still served")
        assert await other.recv() == "still served"
    ends.remove(1000)  # of the other
    assert len(ends) == 10
    assert set(ends) <= {1005, 1006}


async def test_a_crowd_of_ws_clients_comes_and_goes(script, serving):
    """Whichever way they go, nobody is kept."""
    count = 200
    kept = set()

    async def handler(ws):
        kept.add(ws)
        try:
            await echo(ws)
        except wsfast.ConnectionClosedError:
            pass
        await ws.wait_closed()
        kept.remove(ws)

    source = """
        const ways = [
          (ws) => ws.close(), (ws) => ws.close(4000), (ws) => ws.terminate(),
          (ws) => ws._socket.write('garbage'), (ws) => ws._socket.resetAndDestroy(),
        ];
        let echoed = 0;
        await Promise.all(Array.from({ length: count }, async (_, number) => {
          const ws = new WebSocket(url);
          ws.on('error', () => {});
          ws.on('open', () => ws.send(`${number}`));
          ws.on('message', (data) => {
            if (data.toString() === `${number}`) echoed++;
            ways[number % ways.length](ws);
          });
          await new Promise((resolve) => ws.on('close', resolve));
        }));
        tell(echoed);
        """
    async with asyncio.timeout(TIMEOUT), serving(handler) as url:
        async with script(source, url=url, count=count) as client:
            assert await client.ended() == [[count]]
    assert not kept
