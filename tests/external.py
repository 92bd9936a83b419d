"""HTTP servers of other people, which hand the connection over when a request has come."""

import asyncio
import contextlib
import socket

from peers import PATIENCE, Peer, raw_client

KINDS = ["streams", "transport", "socket"]


class External:
    """Where a server listens, as `peers` asks for it."""

    ssl = None

    def __init__(self, address):
        self._address = address

    def address(self):
        return self._address[:2]


@contextlib.asynccontextmanager
async def external(kind, upgrade, **options):
    """A server that calls ``upgrade(head, where, rest)`` for every connection.

    With ``kind`` "socket" it has sockets and no asyncio, with the others what asyncio has.
    """
    run = {"streams": over_streams, "transport": over_transports, "socket": over_sockets}[kind]
    async with run(upgrade, **options) as address:
        yield External(address)


@contextlib.asynccontextmanager
async def over_streams(upgrade, **options):
    failures = []
    tasks = set()

    async def connected(reader, writer):
        tasks.add(asyncio.current_task())
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            result = upgrade(head, (reader, writer), b"")
            if result is not None:
                await result
        except Exception as error:
            failures.append(error)

    server = await asyncio.start_server(connected, "127.0.0.1", 0, **options)
    try:
        yield server.sockets[0].getsockname()
    finally:
        server.close()
        if tasks:
            await asyncio.wait(tasks, timeout=PATIENCE)
        if failures:
            raise failures[0]


@contextlib.asynccontextmanager
async def over_transports(upgrade, **options):
    class Reader(asyncio.Protocol):
        def connection_made(self, transport):
            self.transport = transport
            self.data = b""

        def data_received(self, data):
            self.data += data
            head, blank, rest = self.data.partition(b"\r\n\r\n")
            if blank:
                results.append(upgrade(head + blank, self.transport, rest))

    results = []
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Reader, "127.0.0.1", 0, **options)
    try:
        yield server.sockets[0].getsockname()
    finally:
        server.close()
        await finish(results)


@contextlib.asynccontextmanager
async def over_sockets(upgrade):
    loop = asyncio.get_running_loop()
    listening = socket.create_server(("127.0.0.1", 0))
    listening.setblocking(False)
    results = []

    async def accept():
        while True:
            sock, _ = await loop.sock_accept(listening)
            data = b""
            while b"\r\n\r\n" not in data:
                data += await loop.sock_recv(sock, 2**16)
            head, blank, rest = data.partition(b"\r\n\r\n")
            results.append(upgrade(head + blank, sock, rest))

    accepting = asyncio.create_task(accept())
    try:
        yield listening.getsockname()
    finally:
        accepting.cancel()
        await asyncio.wait([accepting])
        listening.close()
        await finish(results)
        if not accepting.cancelled():
            accepting.result()


async def finish(results):
    for result in results:
        if result is not None:
            async with asyncio.timeout(PATIENCE):
                await result


@contextlib.asynccontextmanager
async def socket_pair():
    """A connected socket, and a raw client at its other end."""
    ours, theirs = socket.socketpair()
    reader, writer = await asyncio.open_connection(sock=theirs)
    peer = Peer(reader, writer, client=True)
    try:
        yield ours, peer
    finally:
        await peer.wait_closed()
        ours.close()


__all__ = ["KINDS", "External", "external", "raw_client", "socket_pair"]
