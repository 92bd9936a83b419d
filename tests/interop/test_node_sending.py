"""What Node's ws and wsfast send to each other: every kind of data, pings, and pauses."""

import asyncio

import pytest

import wsfast

pytestmark = pytest.mark.interop

TIMEOUT = 30


async def all_messages(ws):
    """A handler that returns what came, and how it ended."""
    messages = [message async for message in ws]
    return messages, ws.close_code


async def echo(ws):
    async for message in ws:
        await ws.send(message)


# --- A ws client and a wsfast server ---------------------------------------------------------


async def from_client(script, serving, watch, source, **options):
    """What a wsfast server receives from a script that is a client."""
    watched, done = watch(all_messages)
    async with asyncio.timeout(TIMEOUT), serving(watched, **options) as url:
        async with script(source, url=url) as client:
            await client.ended()
        return await done


async def test_data_of_every_kind_arrives_from_ws(script, serving, watch):
    """W7: text, bytes, a view (only its slice), ArrayBuffer, Blob, and empty ones."""
    messages, code = await from_client(
        script,
        serving,
        watch,
        """
        const ws = new WebSocket(url);
        await once(ws, 'open');
        const bytes = Uint8Array.of(0, 1, 2, 3, 4, 5, 6, 7);
        ws.send('grün €');
        ws.send(Buffer.from('buffer'));
        ws.send(bytes.subarray(2, 5));
        ws.send(new Uint16Array(bytes.buffer, 2, 2));
        ws.send(new DataView(bytes.buffer, 7));
        ws.send(bytes.buffer);
        ws.send(new Blob(['blob', bytes.subarray(0, 2)]));
        ws.send('');
        ws.send(Buffer.alloc(0));
        ws.send();
        ws.send(new Blob([]));
        ws.send(Buffer.from('bytes as text'), { binary: false });
        ws.send('text as bytes', { binary: true });
        ws.close(1000);
        """,
    )
    assert messages == [
        "grün €",
        b"buffer",
        bytes.fromhex("020304"),
        bytes.fromhex("02030405"),
        bytes.fromhex("07"),
        bytes.fromhex("0001020304050607"),
        b"blob\x00\x01",
        "",
        b"",
        b"",
        b"",
        "bytes as text",
        b"text as bytes",
    ]
    assert code == 1000


@pytest.mark.parametrize("compression", [None, "deflate"])
async def test_four_mebibytes_arrive_from_ws_and_go_back(script, serving, compression):
    """W7: large messages of both types, with compression and without."""
    size = 2**22
    source = """
        const ws = new WebSocket(url, { perMessageDeflate: compressed, maxPayload: size });
        await once(ws, 'open');
        const data = Buffer.alloc(size);
        for (let i = 0; i < size; i++) data[i] = (i * i) % 127;
        for (const binary of [true, false]) {
          ws.send(data, { binary });
          const [back, isBinary] = await once(ws, 'message');
          tell(back.equals(data), isBinary);
        }
        ws.close();
        """
    async with (
        asyncio.timeout(TIMEOUT),
        serving(echo, max_size=size, compression=compression) as url,
        script(source, url=url, size=size, compressed=compression is not None) as client,
    ):
        assert await client.ended() == [[True, True], [True, False]]


@pytest.mark.parametrize("compression", [None, "deflate"])
async def test_fragments_of_ws_by_hand_are_one_message(script, serving, watch, compression):
    """W10: the first fragment decides about the type and about compression; empty ones count."""
    messages, code = await from_client(
        script,
        serving,
        watch,
        """
        const ws = new WebSocket(url);
        await once(ws, 'open');
        for (const compress of [true, false]) {
          ws.send('one, ', { compress, fin: false });
          ws.ping('between');
          ws.send('', { fin: false });
          ws.send(Buffer.from('two'), { binary: true, fin: true });
          ws.send(Buffer.from('three, '), { compress, fin: false });
          ws.send('', { fin: false });
          ws.send('four', { fin: true });
          ws.send('', { compress, fin: false });
          ws.send('', { fin: true });
        }
        ws.close();
        """,
        compression=compression,
    )
    assert messages == ["one, two", b"three, four", ""] * 2
    assert code == 1005


async def test_messages_of_ws_are_compressed_or_not_as_it_likes(script, serving, watch):
    """W7, PD17: `compress` of a message is a matter of the sender."""
    messages, _ = await from_client(
        script,
        serving,
        watch,
        """
        const ws = new WebSocket(url, { perMessageDeflate: { threshold: 0 } });
        await once(ws, 'open');
        for (const size of [0, 1, 125, 126, 65536]) {
          for (const compress of [true, false, true]) ws.send('x'.repeat(size), { compress });
        }
        ws.close();
        """,
        compression="deflate",
    )
    assert messages == ["x" * size for size in (0, 1, 125, 126, 65536) for _ in range(3)]


@pytest.mark.parametrize(
    "generate",
    ["(mask) => mask.fill(0)", "(mask) => mask.set([1, 2, 3, 4])"],
    ids=["zero", "constant"],
)
async def test_masks_that_ws_generates_are_taken_off(script, serving, generate):
    """C12, RX5: also a mask of zeros."""
    source = f"""
        const ws = watch(new WebSocket(url, {{ generateMask: {generate} }}));
        await once(ws, 'open');
        ws.send('text');
        await once(ws, 'message');
        ws.send(Buffer.from([0, 255]));
        await once(ws, 'message');
        ws.close(3000, 'masked too');
        """
    async with asyncio.timeout(TIMEOUT), serving(echo) as url, script(source, url=url) as client:
        assert await client.ended() == [
            ["open"],
            ["message", "text", False],
            ["message", "00ff", True],
            ["close", 3000, "masked too"],
        ]


async def test_pings_and_pongs_of_ws_carry_data_of_every_kind(script, serving, watch):
    """W13, EV3: text, bytes, a view, nothing, 125 bytes; a pong that nobody asked for is told."""
    heard = []

    async def handler(ws):
        ws.on("ping", lambda data: heard.append(("ping", bytes(data))))
        ws.on("pong", lambda data: heard.append(("pong", bytes(data))))
        await ws.wait_closed()

    watched, done = watch(handler)
    source = """
        const ws = new WebSocket(url);
        await once(ws, 'open');
        const pings = ['grün', Buffer.from('buffer'), Uint8Array.of(9, 1, 2, 9).subarray(1, 3)];
        for (const data of [...pings, undefined, 'x'.repeat(125)]) {
          ws.ping(data);
          const [pong] = await once(ws, 'pong');
          tell(pong.toString('hex'));
        }
        ws.pong('unasked');
        ws.pong();
        ws.close();
        """
    payloads = ["grün".encode(), b"buffer", b"\x01\x02", b"", b"x" * 125]
    async with asyncio.timeout(TIMEOUT), serving(watched) as url:
        async with script(source, url=url) as client:
            assert await client.ended() == [[payload.hex()] for payload in payloads]
        await done
    assert heard == [("ping", payload) for payload in payloads] + [
        ("pong", b"unasked"),
        ("pong", b""),
    ]


async def test_a_ws_client_that_pauses_stops_wsfast_until_it_resumes(script, serving, watch):
    """W4: what is sent meanwhile waits, and comes whole and in order."""
    size, count = 2**18, 128
    waiting = asyncio.Event()

    async def handler(ws):
        if ws.request.path == "/control":
            await waiting.wait()
            return
        assert await ws.recv() == "paused"
        sends = [asyncio.ensure_future(ws.send(bytes([n]) * size)) for n in range(count)]
        pong = await ws.ping()
        assert not sends[-1].done()
        assert not pong.done()
        waiting.set()
        await asyncio.gather(*sends, pong)

    watched, done = watch(handler)

    async def either(ws):
        await (handler if ws.request.path == "/control" else watched)(ws)

    source = """
        const ws = new WebSocket(url);
        await once(ws, 'open');
        const numbers = [];
        ws.on('message', (data) => numbers.push(data[0]));
        ws.pause();
        ws.send('paused');
        await once(new WebSocket(url + '/control'), 'close');
        tell(ws.isPaused, numbers);
        ws.resume();
        await once(ws, 'close');
        tell(ws.isPaused, numbers);
        """
    async with (
        asyncio.timeout(TIMEOUT),
        serving(either, max_write_buffer=2**26) as url,
        script(source, url=url) as client,
    ):
        await done
        assert await client.ended() == [[True, []], [False, list(range(count))]]


# --- A wsfast client and a ws server ---------------------------------------------------------

RECORDER = """
    const wss = new WebSocketServer({ noServer: true, maxPayload: 2 ** 23 });
    const server = http.createServer();
    server.on('upgrade', (request, socket, head) => {
      wss.handleUpgrade(request, socket, head, watch);
    });
    await listen(server);
    """


async def test_data_of_every_kind_arrives_at_ws(script_server):
    """W7: text, every bytes-like object (only the slice of a view), iterables, and empty ones."""
    data = bytes(range(8))
    # Each as it is sent, as ws tells it, and whether that is binary.
    table = [
        ("grün €", "grün €", False),
        (data, data.hex(), True),
        (bytearray(data), data.hex(), True),
        (memoryview(data)[2:5], "020304", True),
        (memoryview(data)[::2], "00020406", True),
        (memoryview(data).cast("H")[1:2], "0203", True),
        ("", "", False),
        (b"", "", True),
        (["two ", "parts"], "two parts", False),
        ([b"\x00", b"\x01"], "0001", True),
    ]
    async with asyncio.timeout(TIMEOUT), script_server(RECORDER) as (server, url):
        async with wsfast.connect(url) as ws:
            for sent, told, binary in table:
                await ws.send(sent)
                assert await server.told() == ["message", told, binary]
            await ws.send("text as bytes", binary=True)
            assert await server.told() == ["message", b"text as bytes".hex(), True]
            await ws.send(b"bytes as text", binary=False)
            assert await server.told() == ["message", "bytes as text", False]
        assert await server.told() == ["close", 1000, ""]


async def test_pings_and_pongs_of_wsfast_carry_data_to_ws(script_server):
    """W13: text, bytes and nothing; ws tells a pong that it did not ask for."""
    async with asyncio.timeout(TIMEOUT), script_server(RECORDER) as (server, url):
        async with wsfast.connect(url) as ws:
            for data in ["grün", b"bytes", bytearray(b"array"), "x" * 125]:
                latency = await (await ws.ping(data))
                assert latency > 0
                text = data if isinstance(data, str) else bytes(data).decode()
                assert await server.told() == ["ping", text]
            await ws.pong("unasked")
            assert await server.told() == ["pong", "unasked"]


async def test_what_is_sent_before_a_close_reaches_ws_before_it(script_server):
    """L15: pending messages leave before the close frame."""
    async with asyncio.timeout(TIMEOUT), script_server(RECORDER) as (server, url):
        ws = await wsfast.connect(url, compression="deflate")
        for number in range(100):
            ws.send(f"message {number}")
        await ws.close(4000, "and closed")
        for number in range(100):
            assert await server.told() == ["message", f"message {number}", False]
        assert await server.told() == ["close", 4000, "and closed"]


async def test_a_ws_server_that_pauses_stops_wsfast_until_it_resumes(script_server):
    """W2, W4: `buffered_amount` tells what waits, and awaiting a send waits for it."""
    source = """
        const wss = new WebSocketServer({ port: 0, host: '127.0.0.1' });
        await once(wss, 'listening');
        tell(wss.address().port);
        const [ws] = await once(wss, 'connection');
        ws.pause();
        const [control] = await once(wss, 'connection');
        let count = 0;
        ws.on('message', () => { if (++count === 128) ws.send('all'); });
        ws.resume();
        """
    async with asyncio.timeout(TIMEOUT), script_server(source) as (_, url):
        async with wsfast.connect(url, compression=None, max_write_buffer=2**26) as ws:
            sends = [asyncio.ensure_future(ws.send(b"x" * 2**18)) for _ in range(128)]
            assert ws.buffered_amount > 0
            assert not sends[-1].done()
            async with wsfast.connect(url):
                await asyncio.gather(*sends)
                assert await ws.recv() == "all"
                assert ws.buffered_amount == 0
