"""Frames that Node's ws is made to send and must not, limits on both sides, and floods."""

import asyncio

import pytest

import wsfast

pytestmark = pytest.mark.interop

TIMEOUT = 30

# What a client writes, with a mask of zeros, and the close code that answers it.
BAD_FROM_CLIENT = {
    "RSV1 without an extension": ("c180 00000000", 1002),
    "RSV2": ("a180 00000000", 1002),
    "RSV3": ("9180 00000000", 1002),
    "opcode 3": ("8380 00000000", 1002),
    "opcode 7": ("8780 00000000", 1002),
    "opcode 11": ("8b80 00000000", 1002),
    "opcode 15": ("8f80 00000000", 1002),
    "a continuation of nothing": ("8080 00000000", 1002),
    "a text in a text": ("0180 00000000 8180 00000000", 1002),
    "a ping without FIN": ("0980 00000000", 1002),
    "a ping of 126 bytes": ("89fe007e 00000000", 1002),
    "no mask": ("8100", 1002),
    "a close of one byte": ("8881 00000000 03", 1002),
    "the close code 1004": ("8882 00000000 03ec", 1002),
    "the close code 5000": ("8882 00000000 1388", 1002),
    "a length in too long a form": ("82fe0001 00000000 00", 1002),
    "a length of 64 bits with the first one set": ("82ff8000000000000000 00000000", 1002),
    "text that is not UTF-8": ("8181 00000000 ff", 1007),
    "text that is not UTF-8 over fragments": ("0181 00000000 c3 8081 00000000 28", 1007),
    "a reason that is not UTF-8": ("8883 00000000 03e8 ff", 1007),
    "a frame of 1025 bytes": ("82fe0401 00000000", 1009),
    "a frame of 2^62 bytes": ("82ff4000000000000000 00000000", 1009),
    "fragments of 1025 bytes": (
        f"02fe0400 00000000 {'00' * 1024} 8081 00000000 00",
        1009,
    ),
}

# The same of a server: no masks.
BAD_FROM_SERVER = {
    "RSV1 without an extension": ("c100", 1002, "WS_ERR_UNEXPECTED_RSV_1"),
    "RSV2": ("a100", 1002, "WS_ERR_UNEXPECTED_RSV_2_3"),
    "opcode 5 without FIN": ("0500", 1002, "WS_ERR_INVALID_OPCODE"),
    "opcode 5": ("8500", 1002, "WS_ERR_INVALID_OPCODE"),
    "opcode 15": ("8f00", 1002, "WS_ERR_INVALID_OPCODE"),
    "a continuation of nothing": ("8000", 1002, "WS_ERR_INVALID_OPCODE"),
    "a pong without FIN": ("0a00", 1002, "WS_ERR_EXPECTED_FIN"),
    "a ping of 126 bytes": ("897e007e", 1002, "WS_ERR_INVALID_CONTROL_PAYLOAD_LENGTH"),
    "a mask": ("8180 00000000", 1002, "WS_ERR_UNEXPECTED_MASK"),
    "a close of one byte": ("8801 03", 1002, "WS_ERR_INVALID_CONTROL_PAYLOAD_LENGTH"),
    "the close code 1005": ("8802 03ed", 1002, "WS_ERR_INVALID_CLOSE_CODE"),
    "a length in too long a form": ("827e0001 00", 1002, "WS_ERR_NON_MINIMAL_PAYLOAD_LENGTH"),
    "text that is not UTF-8": ("8102 c328", 1007, "WS_ERR_INVALID_UTF8"),
    "a frame of 1025 bytes": ("827e0401", 1009, "WS_ERR_UNSUPPORTED_MESSAGE_LENGTH"),
    "a frame of 2^63 - 1 bytes": (
        "827f7fffffffffffffff",
        1009,
        "WS_ERR_UNSUPPORTED_MESSAGE_LENGTH",
    ),
}


async def echo(ws):
    async for message in ws:
        await ws.send(message)


async def test_every_bad_frame_of_a_ws_client_is_answered_with_its_code(script, serving):
    """L11, K5: what came in front of it is delivered; then comes the close frame and the end."""
    seen = []

    async def handler(ws):
        with pytest.raises(wsfast.ConnectionClosedError):
            while True:
                seen.append(await ws.recv())
        await ws.wait_closed()
        seen.append(ws.close_sent.code)

    source = """
        for (const frames of bad) {
          const ws = new WebSocket(url, { perMessageDeflate: false });
          await once(ws, 'open');
          ws._socket.write(Buffer.from('818100000000' + '61' + frames.replaceAll(' ', ''), 'hex'));
          const [code] = await once(ws, 'close');
          tell(code);
        }
        """
    codes = [code for _, code in BAD_FROM_CLIENT.values()]
    async with (
        asyncio.timeout(TIMEOUT),
        serving(handler, max_size=1024) as url,
        script(source, url=url, bad=[frames for frames, _ in BAD_FROM_CLIENT.values()]) as client,
    ):
        told = [code for [code] in await client.ended()]
    assert dict(zip(BAD_FROM_CLIENT, told, strict=True)) == dict(
        zip(BAD_FROM_CLIENT, codes, strict=True)
    )
    assert seen == [item for code in codes for item in ("a", code)]


async def test_mask_false_of_a_ws_client_is_answered_with_1002(script, serving):
    """L11: messages, pings and pongs."""
    source = """
        for (const act of [(ws) => ws.send('a', { mask: false }), (ws) => ws.ping('a', false),
                           (ws) => ws.pong('a', false)]) {
          const ws = new WebSocket(url);
          await once(ws, 'open');
          act(ws);
          const [code, reason] = await once(ws, 'close');
          tell(code, reason.toString());
        }
        """
    async with asyncio.timeout(TIMEOUT), serving(echo) as url, script(source, url=url) as client:
        answer = [1002, "Invalid WebSocket frame: MASK must be set"]
        assert await client.ended() == [answer] * 3


BAD_SERVER = """
    const server = http.createServer();
    const wss = new WebSocketServer({ server });
    wss.on('connection', (ws, request) => {
      ws.on('error', () => {});
      ws.on('close', (code) => tell(code));
      ws.send('a');
      ws._socket.write(Buffer.from(request.url.slice(1), 'hex'));
    });
    await listen(server);
    """


async def test_every_bad_frame_of_a_ws_server_is_answered_with_its_code(script_server):
    """L11, EV5: `recv` gives what came in front, and then tells the error by its stable code."""
    async with asyncio.timeout(TIMEOUT), script_server(BAD_SERVER) as (server, url):
        for name, (frames, close_code, code) in BAD_FROM_SERVER.items():
            path = frames.replace(" ", "")
            ws = await wsfast.connect(f"{url}/{path}", compression=None, max_size=1024)
            assert await ws.recv() == "a"
            with pytest.raises(wsfast.ConnectionClosedError) as caught:
                await ws.recv()
            await ws.wait_closed()
            error = caught.value.__cause__
            assert isinstance(error, wsfast.ProtocolError), name
            assert (error.code, error.close_code) == (code, close_code), name
            assert caught.value.sent.code == close_code, name
            assert await server.told() == [close_code], name


async def test_the_error_event_tells_of_a_bad_frame_before_the_close_event(script_server):
    """EV4, EV5: each once."""
    told = asyncio.Queue()
    async with asyncio.timeout(TIMEOUT), script_server(BAD_SERVER) as (_, url):
        ws = await wsfast.connect(f"{url}/8500")
        ws.on("message", lambda data, is_binary: told.put_nowait(data))
        ws.on("error", lambda error: told.put_nowait(error.code))
        ws.on("close", lambda code, reason: told.put_nowait(code))
        assert [await told.get() for _ in range(3)] == ["a", "WS_ERR_INVALID_OPCODE", 1006]
        await ws.wait_closed()
    assert told.empty()


async def test_errors_in_both_directions_end_cleanly(script, serving, watch):
    """L12: each side has failed before it sees the other's close frame, and waits for none."""

    async def handler(ws):
        with pytest.raises(wsfast.ConnectionClosedError):
            await ws.recv()
        await ws.wait_closed()
        return ws.close_sent.code

    watched, done = watch(handler)
    source = """
        const ws = watch(new WebSocket(url));
        await once(ws, 'open');
        ws._socket.write(Buffer.from([0x85, 0x00]));
        ws._receiver.write(Buffer.from([0x85, 0x00]));
        """
    async with (
        asyncio.timeout(TIMEOUT),
        serving(watched) as url,
        script(source, url=url) as client,
    ):
        assert await client.ended() == [
            ["open"],
            ["error", "Invalid WebSocket frame: invalid opcode 5", "WS_ERR_INVALID_OPCODE"],
            ["close", 1006, ""],
        ]
        assert await done == 1002


async def test_a_message_above_max_size_is_answered_to_ws_with_1009(script, serving):
    """C16, RX2: a message of the limit is taken; bigger ones are not, compressed ones neither."""
    source = """
        for (const perMessageDeflate of [false, { threshold: 0 }]) {
          for (const [size, fragments] of [[1024, 1], [1025, 1], [1026, 2]]) {
            const ws = new WebSocket(url, { perMessageDeflate });
            await once(ws, 'open');
            const part = 'x'.repeat(size / fragments);
            for (let left = fragments; left > 0; left--) ws.send(part, { fin: left === 1 });
            ws.on('message', (data) => { tell(data.length); ws.close(1000); });
            const [code] = await once(ws, 'close');
            tell(code);
          }
        }
        """
    async with (
        asyncio.timeout(TIMEOUT),
        serving(echo, max_size=1024, compression="deflate") as url,
        script(source, url=url) as client,
    ):
        assert await client.ended() == [[1024], [1000], [1009], [1009]] * 2


async def test_a_message_above_max_payload_of_ws_is_1009_for_wsfast(script, serving, watch):
    """C16: the sender is told the code and what was wrong."""

    async def handler(ws):
        await ws.send(b"x" * 1025)
        with pytest.raises(wsfast.ConnectionClosedError):
            await ws.recv()
        await ws.wait_closed()
        return ws.close_code

    watched, done = watch(handler)
    source = "watch(new WebSocket(url, { maxPayload: 1024 }));"
    async with (
        asyncio.timeout(TIMEOUT),
        serving(watched) as url,
        script(source, url=url) as client,
    ):
        assert await client.ended() == [
            ["open"],
            ["error", "Max payload size exceeded", "WS_ERR_UNSUPPORTED_MESSAGE_LENGTH"],
            ["close", 1006, ""],
        ]
        assert await done == 1009


async def test_a_message_with_too_many_fragments_is_answered_to_ws_with_1009(script, serving):
    """C15, RX3: empty fragments count; as many as allowed are a message."""
    source = """
        for (const fragments of [4, 5]) {
          const ws = new WebSocket(url);
          await once(ws, 'open');
          for (let left = fragments; left > 0; left--) ws.send('', { fin: left === 1 });
          ws.on('message', (data) => ws.close(1000));
          const [code] = await once(ws, 'close');
          tell(code);
        }
        """
    async with (
        asyncio.timeout(TIMEOUT),
        serving(echo, max_fragments=4) as url,
        script(source, url=url) as client,
    ):
        assert await client.ended() == [[1000], [1009]]


async def test_twenty_thousand_frames_of_ws_in_one_write_are_as_many_messages(
    script, serving, watch
):
    """RX11: parsed one after the other, not one inside the other."""

    async def handler(ws):
        return [message async for message in ws]

    watched, done = watch(handler)
    source = """
        const ws = new WebSocket(url);
        await once(ws, 'open');
        ws._socket.write(Buffer.alloc(20_000 * 6, Buffer.from('818000000000', 'hex')));
        ws.close(1000);
        """
    async with (
        asyncio.timeout(TIMEOUT),
        serving(watched) as url,
        script(source, url=url) as client,
    ):
        assert await done == [""] * 20_000
        assert await client.ended() == []


async def test_twenty_thousand_frames_to_a_client_in_one_write_are_as_many_messages(script_server):
    """RX11: the same on the other side."""
    source = """
        const wss = new WebSocketServer({ port: 0, host: '127.0.0.1' });
        await once(wss, 'listening');
        tell(wss.address().port);
        const [ws] = await once(wss, 'connection');
        ws._socket.write(Buffer.alloc(20_000 * 2, Buffer.from('8200', 'hex')));
        ws.close(1000);
        """
    async with asyncio.timeout(TIMEOUT), script_server(source) as (_, url):
        async with wsfast.connect(url) as ws:
            assert [message async for message in ws] == [b""] * 20_000


async def test_a_flood_of_pings_is_answered_in_bounds_and_lasts_no_longer(script, serving, watch):
    """RFC 6455 section 5.5.3: the last ping is answered, and what comes behind it is served."""

    async def handler(ws):
        await echo(ws)
        return ws.close_code

    watched, done = watch(handler)
    source = """
        const ws = new WebSocket(url);
        await once(ws, 'open');
        const frame = Buffer.concat([Buffer.from('89fd00000000', 'hex'), Buffer.alloc(125, 'x')]);
        ws.pause();
        ws._socket.write(Buffer.alloc(20_000 * frame.length, frame));
        ws.ping('the last');
        ws.send('served');
        let last;
        ws.on('pong', (data) => { last = data.toString(); });
        ws.resume();
        const [message] = await once(ws, 'message');
        tell(last, message.toString());
        ws.close();
        """
    async with (
        asyncio.timeout(TIMEOUT),
        serving(watched) as url,
        script(source, url=url) as client,
    ):
        assert await client.ended() == [["the last", "served"]]
        assert await done == 1005
