"""Messages of every length form between wsfast and Node's ws, in both directions."""

import asyncio
import json

import pytest

import wsfast

pytestmark = pytest.mark.interop

TIMEOUT = 30
SIZES = [0, 1, 125, 126, 65535, 65536, 2**20]


async def echo(ws):
    async for message in ws:
        await ws.send(message)


# --- A wsfast client and a ws server ---------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
async def test_a_ws_server_echoes_text_of_every_length_form(ws_server, payload, size):
    text = payload(size).decode()
    async with asyncio.timeout(TIMEOUT), wsfast.connect(f"{ws_server}/echo") as ws:
        await ws.send(text)
        assert await ws.recv() == text


@pytest.mark.parametrize("size", SIZES)
async def test_a_ws_server_echoes_bytes_of_every_length_form(ws_server, payload, size):
    async with asyncio.timeout(TIMEOUT), wsfast.connect(f"{ws_server}/echo") as ws:
        await ws.send(payload(size))
        assert await ws.recv() == payload(size)


async def test_a_thousand_messages_in_flight_come_back_from_ws_in_order(ws_server):
    messages = [f"message {number}" for number in range(1000)]
    async with asyncio.timeout(TIMEOUT), wsfast.connect(f"{ws_server}/echo") as ws:

        async def send():
            for message in messages:
                await ws.send(message)

        sending = asyncio.create_task(send())
        assert [await ws.recv() for _ in messages] == messages
        await sending


@pytest.mark.parametrize("count", [2, 3, 7])
@pytest.mark.parametrize("size", [0, 10, 70000])
async def test_fragments_from_ws_with_pings_between_are_one_message(
    ws_server, payload, count, size
):
    url = f"{ws_server}/fragments?count={count}"
    async with asyncio.timeout(TIMEOUT), wsfast.connect(url) as ws:
        await ws.send(payload(size))
        assert await ws.recv() == payload(size)
        await ws.send(payload(size).decode())
        assert await ws.recv() == payload(size).decode()


async def test_fragments_from_ws_can_be_received_one_by_one(ws_server, payload):
    url = f"{ws_server}/fragments?count=3"
    async with asyncio.timeout(TIMEOUT), wsfast.connect(url) as ws:
        await ws.send(payload(3000))
        parts = [part async for part in ws.recv_streaming()]
        assert b"".join(parts) == payload(3000)


async def test_manual_fragments_reach_ws_as_one_message(ws_server):
    async with asyncio.timeout(TIMEOUT), wsfast.connect(f"{ws_server}/echo") as ws:
        await ws.send("one, ", fin=False)
        await ws.ping()
        await ws.send("two")
        assert await ws.recv() == "one, two"


async def test_a_ping_from_ws_is_answered_with_its_payload(ws_server):
    async with asyncio.timeout(TIMEOUT), wsfast.connect(f"{ws_server}/ping?data=marco") as ws:
        assert await ws.recv() == "pong marco"


async def test_ws_gets_the_headers_of_the_request(ws_server):
    headers = {"X-Custom": "value", "Cookie": "a=1; b=2"}
    connecting = wsfast.connect(
        f"{ws_server}/request?q=a%20b", additional_headers=headers, origin="https://example.com"
    )
    async with asyncio.timeout(TIMEOUT), connecting as ws:
        seen = json.loads(await ws.recv())
    assert seen["url"] == "/request?q=a%20b"
    assert seen["headers"]["x-custom"] == "value"
    assert seen["headers"]["cookie"] == "a=1; b=2"
    assert seen["headers"]["origin"] == "https://example.com"
    assert seen["headers"]["host"] == ws_server.removeprefix("ws://")
    assert seen["headers"]["sec-websocket-version"] == "13"


# --- A ws client and a wsfast server ---------------------------------------------------------


@pytest.mark.parametrize("binary", [False, True])
async def test_wsfast_echoes_messages_of_every_length_form_to_ws(serving, script, binary):
    source = """
        const ws = new WebSocket(url, { perMessageDeflate: false });
        await once(ws, 'open');
        for (const size of sizes) {
          const data = Buffer.from(Uint8Array.from({ length: size }, (_, i) => i % 128));
          ws.send(data, { binary });
          const [back, isBinary] = await once(ws, 'message');
          tell(back.equals(data), isBinary);
        }
        ws.close();
        """
    async with (
        asyncio.timeout(TIMEOUT),
        serving(echo) as url,
        script(source, url=url, sizes=SIZES, binary=binary) as client,
    ):
        assert await client.ended() == [[True, binary]] * len(SIZES)
