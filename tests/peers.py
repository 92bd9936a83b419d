"""Peers that speak HTTP and frames by hand, and other helpers of the tests over real sockets."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import socket
import struct
from typing import NamedTuple

import wsfast

# How long anything may take that should come at once: a test that waits longer has failed.
PATIENCE = 10

KEY = "dGhlIHNhbXBsZSBub25jZQ=="  # RFC 6455 section 1.3
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
MASK = bytes.fromhex("37fa213d")  # RFC 6455 section 5.7

CONT, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10


class Frame(NamedTuple):
    """A frame that came, with its payload unmasked."""

    opcode: int
    payload: bytes
    fin: bool = True
    masked: bool = False


class Head(NamedTuple):
    """The head of an HTTP message, and what came with it of a body."""

    line: str
    headers: dict[str, str]

    @property
    def status(self):
        return int(self.line.split(" ")[1])


def frame(opcode, payload=b"", *, fin=True, rsv=0, mask=None, length=None):
    """The bytes of a frame; ``length`` to lie about the length."""
    if isinstance(payload, str):
        payload = payload.encode()
    length = len(payload) if length is None else length
    first = fin << 7 | rsv << 4 | opcode
    bit = 0x80 if mask is not None else 0
    if length < 126:
        header = struct.pack("!BB", first, bit | length)
    elif length < 2**16:
        header = struct.pack("!BBH", first, bit | 126, length)
    else:
        header = struct.pack("!BBQ", first, bit | 127, length)
    if mask is None:
        return header + payload
    return header + mask + unmask(payload, mask)


def unmask(payload, key):
    return bytes(byte ^ key[index % 4] for index, byte in enumerate(payload))


def close_payload(code, reason=""):
    return struct.pack("!H", code) + reason.encode()


def accept_of(key):
    guid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
    return base64.b64encode(hashlib.sha1((key + guid).encode()).digest()).decode()


def request(path="/", *, without=(), **changed):
    """A request to open a WebSocket: ``host="x"`` sets a header, ``without`` leaves some out."""
    headers = {
        "Host": "localhost",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": KEY,
        "Sec-WebSocket-Version": "13",
    }
    for name, value in changed.items():
        name = name.replace("_", "-")
        known = next((known for known in headers if known.lower() == name.lower()), name)
        headers[known] = value
    lines = [f"GET {path} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in headers.items() if name not in without]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("iso-8859-1")


class Peer:
    """One end of a connection, frame by frame.

    Args:
        client: whether it masks its frames, as a client must.
    """

    def __init__(self, reader, writer, *, client):
        self.reader = reader
        self.writer = writer
        self.client = client
        self.socket = writer.get_extra_info("socket")
        self.request = None

    # Out

    def write(self, data):
        """Send bytes, or hex."""
        self.writer.write(bytes.fromhex(data) if isinstance(data, str) else data)

    def send(self, opcode, payload=b"", **options):
        """Send a frame."""
        if self.client:
            options.setdefault("mask", MASK)
        self.write(frame(opcode, payload, **options))

    def close(self, code=1000, reason=""):
        """Send a close frame."""
        self.send(CLOSE, b"" if code is None else close_payload(code, reason))

    def write_eof(self):
        self.writer.write_eof()

    def reset(self):
        """End the connection with a RST."""
        raw = self.writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    # In

    def stop_reading(self):
        self.writer.transport.pause_reading()

    def go_on_reading(self):
        self.writer.transport.resume_reading()

    async def read(self, size):
        """That many bytes, in hex."""
        return (await self.exactly(size)).hex()

    async def exactly(self, size):
        async with asyncio.timeout(PATIENCE):
            return await self.reader.readexactly(size)

    async def rest(self):
        """All bytes until the end of the stream."""
        async with asyncio.timeout(PATIENCE):
            return await self.reader.read()

    async def frame(self):
        """The next frame."""
        first, second = await self.exactly(2)
        length = second & 0x7F
        if length == 126:
            (length,) = struct.unpack("!H", await self.exactly(2))
        elif length == 127:
            (length,) = struct.unpack("!Q", await self.exactly(8))
        key = await self.exactly(4) if second & 0x80 else None
        payload = await self.exactly(length)
        if key is not None:
            payload = unmask(payload, key)
        return Frame(
            first & 0x7F if first & 0x70 else first & 0x0F, payload, first > 127, bool(key)
        )

    async def closed(self):
        """The code and the reason of a close frame, which must be next, and be the last."""
        came = await self.frame()
        assert came.opcode == CLOSE, came
        assert await self.rest() == b""
        return parse_close(came.payload)

    async def head(self):
        """The head of an HTTP message."""
        async with asyncio.timeout(PATIENCE):
            text = (await self.reader.readuntil(b"\r\n\r\n")).decode("iso-8859-1")
        line, *lines = text.removesuffix("\r\n\r\n").split("\r\n")
        headers = {}
        for item in lines:
            name, _, value = item.partition(": ")
            headers[name.lower()] = value
        return Head(line, headers)

    async def response(self):
        """The head of a response and its body, behind which nothing comes."""
        return await self.head(), (await self.rest()).decode()

    # Both

    async def accept(self, **headers):
        """As a server: read the request and answer it with 101."""
        self.request = await self.head()
        headers = {
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Accept": accept_of(self.request.headers["sec-websocket-key"]),
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        lines = [f"{name}: {value}" for name, value in headers.items() if value is not None]
        head = "\r\n".join(["HTTP/1.1 101 Switching Protocols", *lines]) + "\r\n\r\n"
        self.write(head.encode("iso-8859-1"))

    async def wait_closed(self):
        self.writer.close()
        try:
            async with asyncio.timeout(PATIENCE):
                await self.writer.wait_closed()
        except TimeoutError:
            self.writer.transport.abort()
            raise
        except OSError:
            pass


def parse_close(payload):
    if not payload:
        return (1005, "")
    return struct.unpack("!H", payload[:2])[0], payload[2:].decode()


@contextlib.asynccontextmanager
async def raw_client(server, data=None, **options):
    """A connection to a server that `serving` runs; with ``data``, those bytes are sent."""
    address = server.address()
    if isinstance(address, str):
        reader, writer = await asyncio.open_unix_connection(address, **options)
    else:
        reader, writer = await asyncio.open_connection(*address, **options)
    peer = Peer(reader, writer, client=True)
    try:
        if data is not None:
            peer.write(data)
        yield peer
    finally:
        await peer.wait_closed()


@contextlib.asynccontextmanager
async def client_of(server, path="/", *, ssl=None, limit=2**16, **headers):
    """A raw client behind its opening handshake, which reads ahead twice ``limit``."""
    options = {"limit": limit} if ssl is None else {"ssl": ssl, "limit": limit}
    async with raw_client(server, request(path, **headers), **options) as peer:
        head = await peer.head()
        assert head.status == 101, (head, await peer.rest())
        yield peer


async def exchange(server, data):
    """What a server answers to these bytes: the head and the body."""
    async with raw_client(server, data) as peer:
        return await peer.response()


@contextlib.asynccontextmanager
async def raw_server(play, host="127.0.0.1", *, unix_path=None, scheme="ws", **options):
    """A server that leaves every connection to ``play(peer)``; gives its address."""
    failures = []
    tasks = set()

    async def run(reader, writer):
        tasks.add(asyncio.current_task())
        peer = Peer(reader, writer, client=False)
        try:
            await play(peer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the client gave up, as it may
        except Exception as error:
            failures.append(error)
        finally:
            await peer.wait_closed()

    if unix_path is not None:
        server = await asyncio.start_unix_server(run, unix_path, **options)
        uri = f"ws+unix:{unix_path}:/"
    else:
        server = await asyncio.start_server(run, host, 0, **options)
        port = server.sockets[0].getsockname()[1]
        uri = f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}/"
    try:
        yield uri
    finally:
        server.close()
        for _ in range(3):  # so long it takes until what was accepted has its task
            await asyncio.sleep(0)
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=PATIENCE)
            assert not late, "the raw server is still at work"
        if failures:
            raise failures[0]


async def hold(peer):
    """Play a server that accepts, and closes when the client does."""
    await peer.accept()
    while (await peer.frame()).opcode != CLOSE:
        pass
    peer.close()
    await peer.wait_closed()


def uri_of(server, path="/"):
    """The address of a WebSocketServer."""
    address = server.address()
    if isinstance(address, str):
        return f"ws+unix:{address}:{path}"
    host, port = address
    scheme = "ws" if server.ssl is None else "wss"
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}{path}"


async def echo(ws):
    async for message in ws:
        await ws.send(message)


async def until(condition):
    """Wait for something that has no event of its own."""
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0)


class Unhandled:
    """What goes to the loop's exception handler during a test."""

    def __enter__(self):
        self.contexts = []
        self.loop = asyncio.get_running_loop()
        self.before = self.loop.get_exception_handler()
        self.loop.set_exception_handler(lambda loop, context: self.contexts.append(context))
        return self.contexts

    def __exit__(self, *_):
        self.loop.set_exception_handler(self.before)


class Accepted:
    """A handler that hands its connections to the test, and holds them until they are closed."""

    def __init__(self):
        self.connections = asyncio.Queue()

    async def __call__(self, ws):
        self.connections.put_nowait(ws)
        await ws.wait_closed()

    async def get(self):
        async with asyncio.timeout(PATIENCE):
            return await self.connections.get()


@contextlib.asynccontextmanager
async def pair(server_options=None, **options):
    """Both ends of a connection: the client's and the server's."""
    handler = Accepted()
    async with (
        wsfast.serve(handler, "127.0.0.1", 0, **(server_options or {})) as server,
        wsfast.connect(uri_of(server), **options) as ws,
    ):
        yield ws, await handler.get()


@contextlib.asynccontextmanager
async def against_client(**options):
    """A raw client, and the server's end of its connection."""
    handler = Accepted()
    async with (
        wsfast.serve(handler, "127.0.0.1", 0, **options) as server,
        client_of(server) as peer,
    ):
        yield peer, await handler.get()


@contextlib.asynccontextmanager
async def against_server(**options):
    """A raw server, which has accepted, and the client's end of its connection."""
    peers = asyncio.Queue()
    done = asyncio.Event()

    async def play(peer):
        await peer.accept()
        peers.put_nowait(peer)
        await done.wait()

    async with raw_server(play) as uri:
        try:
            ws = await wsfast.connect(uri, **options)
            yield await peers.get(), ws
            ws.terminate()
            await ws.wait_closed()
        finally:
            done.set()
