"""A peer that does TLS by hand, so that it sees how a connection ends and can end it wrongly."""

from __future__ import annotations

import asyncio
import contextlib
import ssl

from peers import PATIENCE, Peer


class TlsPeer:
    """One end of a TLS connection: what is read and written is plaintext, unless it is ``raw``.

    Args:
        server_hostname: of the other end, if that is the server.
    """

    def __init__(self, reader, writer, context, *, client, server_hostname=None, session=None):
        self.reader = reader
        self.writer = writer
        self.ended = False
        self.incoming = ssl.MemoryBIO()
        self.outgoing = ssl.MemoryBIO()
        self.tls = context.wrap_bio(
            self.incoming, self.outgoing, not client, server_hostname, session
        )

    async def step(self, function, *arguments):
        """Call something of the SSLObject as often as it wants more of what the peer sends."""
        async with asyncio.timeout(PATIENCE):
            while True:
                try:
                    return function(*arguments)
                except ssl.SSLWantReadError:
                    self.flush()
                    if data := await self.reader.read(2**16):
                        self.incoming.write(data)
                    else:
                        self.incoming.write_eof()
                finally:
                    self.flush()

    def flush(self):
        data = self.outgoing.read()
        if data and not self.ended:
            self.writer.write(data)

    async def shake_hands(self):
        await self.step(self.tls.do_handshake)

    def write(self, data):
        self.tls.write(data)
        self.flush()

    def write_raw(self, data):
        """Send bytes around TLS."""
        self.writer.write(data)

    async def exactly(self, size):
        data = b""
        while len(data) < size:
            data += await self.read(size - len(data)) or self.fail()
        return data

    def fail(self):
        raise AssertionError("the connection ended")

    async def read(self, size=2**16):
        """Some bytes; none once the peer has sent its close_notify.

        Raises:
            ssl.SSLEOFError: the stream ends without one.
        """
        try:
            return await self.step(self.tls.read, size)
        except ssl.SSLZeroReturnError:
            return b""  # and ours was sent

    async def head(self):
        data = b""
        while not data.endswith(b"\r\n\r\n"):
            data += await self.exactly(1)
        return data.decode()

    async def end(self):
        """Wait for close_notify, answer it, and return what came in front; nothing comes behind."""
        data = b""
        while more := await self.read():
            data += more
        self.close_notify()
        async with asyncio.timeout(PATIENCE):
            assert await self.reader.read() == b""
        return data

    def close_notify(self):
        with contextlib.suppress(ssl.SSLWantReadError):
            self.tls.unwrap()
        self.flush()

    def write_eof(self):
        """End the stream, without a close_notify if none was sent."""
        self.ended = True
        self.writer.write_eof()


@contextlib.asynccontextmanager
async def tls_client(server, context, server_hostname="localhost", **options):
    """A connection to a server behind the TLS handshake."""
    reader, writer = await asyncio.open_connection(*server.address())
    peer = TlsPeer(reader, writer, context, client=True, server_hostname=server_hostname, **options)
    try:
        await peer.shake_hands()
        yield peer
    finally:
        await Peer(reader, writer, client=True).wait_closed()
