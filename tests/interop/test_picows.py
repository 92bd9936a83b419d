"""The client of picows, written in Cython, against a wsfast server."""

import asyncio

import picows
import pytest

import wsfast

TIMEOUT = 30
SIZES = [0, 1, 125, 126, 65535, 65536, 2**20]


class Listener(picows.WSListener):
    """Keeps what comes: (type, payload, fin) of each frame but a close frame."""

    def __init__(self):
        super().__init__()
        self.frames = asyncio.Queue()
        self.closed = None

    def on_ws_frame(self, transport, frame):
        if frame.msg_type == picows.WSMsgType.CLOSE:
            reason = frame.get_close_message() or b""
            self.closed = (int(frame.get_close_code()), reason.decode())
            transport.send_close(frame.get_close_code(), reason)
        else:
            content = frame.get_payload_as_bytes()
            self.frames.put_nowait((frame.msg_type, content, bool(frame.fin)))


async def connect(url, **options):
    return await picows.ws_connect(Listener, url, **options)


async def echo(ws):
    async for message in ws:
        await ws.send(message)


@pytest.mark.parametrize("kind", [picows.WSMsgType.TEXT, picows.WSMsgType.BINARY])
async def test_picows_gets_every_length_form_back(serving, payload, kind):
    async with asyncio.timeout(TIMEOUT), serving(echo) as url:
        transport, listener = await connect(url)
        for size in SIZES:
            transport.send(kind, payload(size))
            assert await listener.frames.get() == (kind, payload(size), True)
        transport.disconnect()
        await transport.wait_disconnected()


async def test_a_thousand_messages_in_flight_come_back_to_picows_in_order(serving):
    expected = [b"message %d" % number for number in range(1000)]
    async with asyncio.timeout(TIMEOUT), serving(echo) as url:
        transport, listener = await connect(url)
        for message in expected:
            transport.send(picows.WSMsgType.BINARY, message)
        received = [await listener.frames.get() for _ in expected]
        assert [content for _, content, _ in received] == expected
        transport.disconnect()
        await transport.wait_disconnected()


async def test_fragments_of_picows_with_a_ping_between_are_one_message(serving):
    async with asyncio.timeout(TIMEOUT), serving(echo) as url:
        transport, listener = await connect(url)
        transport.send(picows.WSMsgType.TEXT, b"one, ", fin=False)
        transport.send_ping(b"between")
        transport.send(picows.WSMsgType.CONTINUATION, b"two", fin=True)
        assert await listener.frames.get() == (picows.WSMsgType.PONG, b"between", True)
        assert await listener.frames.get() == (picows.WSMsgType.TEXT, b"one, two", True)
        transport.disconnect()
        await transport.wait_disconnected()


async def test_picows_answers_a_ping_of_wsfast(serving, watch):
    async def handler(ws):
        return await (await ws.ping(b"are you there"))

    watched, done = watch(handler)
    async with asyncio.timeout(TIMEOUT), serving(watched) as url:
        transport, _ = await connect(url, enable_auto_pong=True)
        assert 0 < await done < TIMEOUT
        await transport.wait_disconnected()


@pytest.mark.parametrize(("code", "reason"), [(1000, ""), (1001, "bye"), (3000, "x"), (4999, "é")])
async def test_close_codes_are_exchanged_with_picows(serving, watch, code, reason):
    async def handler(ws):
        # The first connection is closed by the server, the second by the client.
        if ws.request.path == "/server":
            await ws.close(code, reason)
        await ws.wait_closed()
        return ws.close_code, ws.close_reason, ws.was_clean

    async with asyncio.timeout(TIMEOUT):
        watched, done = watch(handler)
        async with serving(watched) as url:
            transport, listener = await connect(f"{url}/server")
            await transport.wait_disconnected()
            assert listener.closed == (code, reason)
            assert await done == (code, reason, True)
        watched, done = watch(handler)
        async with serving(watched) as url:
            transport, listener = await connect(f"{url}/client")
            transport.send_close(code, reason.encode())
            assert await done == (code, reason, True)
            await transport.wait_disconnected()
            assert listener.closed == (code, reason)


async def test_a_picows_client_that_disconnects_is_1006(serving, watch):
    async def handler(ws):
        with pytest.raises(wsfast.ConnectionClosedError):
            await ws.recv()
        return ws.close_code

    watched, done = watch(handler)
    async with asyncio.timeout(TIMEOUT), serving(watched) as url:
        transport, _ = await connect(url)
        transport.disconnect()
        assert await done == 1006
        await transport.wait_disconnected()
