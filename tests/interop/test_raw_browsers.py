"""The requests that browsers send, byte for byte, over a plain socket."""

import asyncio
import base64
import contextlib
import hashlib

import pytest

TIMEOUT = 30
KEY = "x3JJHMbDL1EzLkh9GBhXDw=="
GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

CHROME = """\
GET /echo HTTP/1.1
Host: localhost:8080
Connection: Upgrade
Pragma: no-cache
Cache-Control: no-cache
User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) \
Chrome/131.0.0.0 Safari/537.36
Upgrade: websocket
Origin: http://localhost:8080
Sec-WebSocket-Version: 13
Accept-Encoding: gzip, deflate, br, zstd
Accept-Language: en-GB,en;q=0.9,de;q=0.8
Cookie: session=1; theme=dark
Sec-WebSocket-Key: {key}
Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits
"""

FIREFOX = """\
GET /echo HTTP/1.1
Host: localhost:8080
User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:133.0) Gecko/20100101 Firefox/133.0
Accept: */*
Accept-Language: en-GB,en;q=0.5
Accept-Encoding: gzip, deflate, br, zstd
Sec-WebSocket-Version: 13
Origin: http://localhost:8080
Sec-WebSocket-Extensions: permessage-deflate
Sec-WebSocket-Key: {key}
DNT: 1
Sec-GPC: 1
Connection: keep-alive, Upgrade
Cookie: session=1; theme=dark
Sec-Fetch-Dest: empty
Sec-Fetch-Mode: websocket
Sec-Fetch-Site: same-origin
Pragma: no-cache
Cache-Control: no-cache
Upgrade: websocket
"""

SAFARI = """\
GET /echo HTTP/1.1
Host: localhost:8080
Upgrade: websocket
Connection: Upgrade
Sec-WebSocket-Key: {key}
Sec-WebSocket-Version: 13
Sec-WebSocket-Extensions: permessage-deflate
Origin: http://localhost:8080
Sec-Fetch-Mode: websocket
Sec-Fetch-Site: same-origin
Sec-Fetch-Dest: websocket
User-Agent: Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 \
(KHTML, like Gecko) Version/18.1 Safari/605.1.15
Pragma: no-cache
Cache-Control: no-cache
Accept-Encoding: gzip, deflate
Accept-Language: en-GB,en;q=0.9
"""


async def echo(ws):
    async for message in ws:
        await ws.send(message)


@contextlib.asynccontextmanager
async def connection(url):
    reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
    try:
        yield reader, writer
    finally:
        writer.close()
        await writer.wait_closed()


def client_frame(head, content):
    """A frame as a client sends it, shorter than 126 bytes."""
    mask = b"\x37\xfa\x21\x3d"
    masked = bytes(byte ^ mask[i % 4] for i, byte in enumerate(content))
    return bytes([head, 0x80 | len(content)]) + mask + masked


@pytest.mark.parametrize("whole", [True, False], ids=["in one piece", "byte by byte"])
@pytest.mark.parametrize("head", [CHROME, FIREFOX, SAFARI], ids=["Chrome", "Firefox", "Safari"])
async def test_the_request_of_a_browser_is_accepted(serving, head, whole):
    request = head.format(key=KEY).replace("\n", "\r\n").encode() + b"\r\n"
    async with (
        asyncio.timeout(TIMEOUT),
        serving(echo) as url,
        connection(url) as (reader, writer),
    ):
        for piece in [request] if whole else [bytes([byte]) for byte in request]:
            writer.write(piece)
            await writer.drain()
        response = (await reader.readuntil(b"\r\n\r\n")).decode().lower().split("\r\n")
        digest = hashlib.sha1((KEY + GUID).encode()).digest()
        accept = base64.b64encode(digest).decode()
        assert response[0] == "http/1.1 101 switching protocols"
        assert "upgrade: websocket" in response
        assert "connection: upgrade" in response
        assert f"sec-websocket-accept: {accept}".lower() in response
        # No compression is configured, so the offer is declined by saying nothing.
        assert not [line for line in response if line.startswith("sec-websocket-extensions")]

        writer.write(client_frame(0x81, "grün".encode()))
        assert await reader.readexactly(7) == b"\x81\x05" + "grün".encode()
        writer.write(client_frame(0x88, b"\x03\xe9"))
        assert await reader.readexactly(4) == b"\x88\x02\x03\xe9"
        # It is the server that ends the connection.
        assert await reader.read() == b""


async def test_a_frame_right_behind_the_request_is_answered(serving):
    request = FIREFOX.format(key=KEY).replace("\n", "\r\n").encode() + b"\r\n"
    async with (
        asyncio.timeout(TIMEOUT),
        serving(echo) as url,
        connection(url) as (reader, writer),
    ):
        writer.write(request + client_frame(0x82, b"early"))
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
        assert await reader.readexactly(7) == b"\x82\x05early"
        writer.write(client_frame(0x88, b""))
        assert await reader.read() == b"\x88\x00"


async def test_a_whole_conversation_in_one_piece_is_answered_in_order(serving):
    request = FIREFOX.format(key=KEY).replace("\n", "\r\n").encode() + b"\r\n"
    async with (
        asyncio.timeout(TIMEOUT),
        serving(echo) as url,
        connection(url) as (reader, writer),
    ):
        frames = client_frame(0x82, b"early") + client_frame(0x89, b"?") + client_frame(0x88, b"")
        writer.write(request + frames)
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
        # A pong may overtake a reply, but not the close frame.
        answer = await reader.read()
        assert answer in (
            b"\x82\x05early" + b"\x8a\x01?" + b"\x88\x00",
            b"\x8a\x01?" + b"\x82\x05early" + b"\x88\x00",
        )
