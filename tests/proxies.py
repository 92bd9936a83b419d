"""Proxies that are played by hand, which do to a connection what real ones would not."""

import asyncio
import base64
import contextlib

import pytest
from peers import PATIENCE, echo, raw_server

import wsfast

ESTABLISHED = "HTTP/1.1 200 Connection established\r\n\r\n"


class Tunnels:
    """Play a proxy that opens every tunnel.

    Args:
        answer: the answer to CONNECT.
        credentials: the user name and the password that it asks for.
        chunk: the most bytes that it writes at once of its answer.
    """

    def __init__(self, answer=ESTABLISHED, *, credentials=None, chunk=None):
        self.answer = answer.encode()
        self.credentials = credentials
        self.chunk = chunk or len(self.answer)
        self.heads = []

    async def __call__(self, peer):
        head = await peer.head()
        self.heads.append(head)
        if self.credentials is not None:
            expected = "Basic " + base64.b64encode(":".join(self.credentials).encode()).decode()
            if head.headers.get("proxy-authorization") != expected:
                peer.write(
                    b"HTTP/1.1 407 Proxy Authentication Required\r\n"
                    b"Proxy-Authenticate: Basic\r\nContent-Length: 9\r\n\r\nwho dares"
                )
                return
        host, _, port = head.line.split(" ")[1].rpartition(":")
        reader, writer = await asyncio.open_connection(host.strip("[]"), int(port))
        try:
            for start in range(0, len(self.answer), self.chunk):
                peer.write(self.answer[start : start + self.chunk])
                await peer.writer.drain()
                await asyncio.sleep(0)
            await relay((peer.reader, peer.writer), (reader, writer))
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


async def relay(one, other):
    """Take bytes from each end of two to the other, until both have ended."""

    async def pump(reader, writer):
        with contextlib.suppress(OSError):
            while data := await reader.read(2**16):
                writer.write(data)
                await writer.drain()
            if writer.can_write_eof():
                writer.write_eof()
            else:
                writer.close()

    async with asyncio.TaskGroup() as group:
        group.create_task(pump(one[0], other[1]))
        group.create_task(pump(other[0], one[1]))


@contextlib.asynccontextmanager
async def proxy_of(play, *, user_info="", **options):
    """Run a proxy; gives its address. With ``ssl`` it is one for https:."""
    scheme = "https" if "ssl" in options else "http"
    async with raw_server(play, scheme=scheme, **options) as address:
        yield address.rstrip("/").replace("://", f"://{user_info}@" if user_info else "://")


async def within(awaitable):
    """Wait no longer than a test can."""
    async with asyncio.timeout(PATIENCE):
        return await awaitable


def serve(handler=echo, **options):
    """A server on this machine."""
    return wsfast.serve(handler, "127.0.0.1", 0, **options)


async def round_trip(uri, *messages, **options):
    """Exchange messages; they are of several sizes, unless they are given."""
    async with asyncio.timeout(PATIENCE), wsfast.connect(uri, **options) as ws:
        for message in messages or ("", "gr\xfcn", b"\x00\xff", bytes(65536), b"a" * 2**20):
            await ws.send(message)
            assert await ws.recv() == message
        return ws


async def refused(error, uri, **options):
    """The error, of exactly this class, with which a client does not connect."""
    with pytest.raises(error) as caught:
        await within(wsfast.connect(uri, **options))
    assert type(caught.value) is error
    return caught.value


def server_address(uri):
    """The host and the port in an address, both as text."""
    return uri.split("/")[2].split(":")
