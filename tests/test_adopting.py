"""C24: transports that somebody else opened."""

import asyncio
import errno
import ssl

import pytest
from peers import raw_server, until
from proxies import server_address

from wsfast.adopting import adopt


class Target:
    """What a driver tells."""

    def __init__(self):
        self.told = []

    def connected(self, driver):
        self.driver = driver
        self.told.append("connected")

    def received(self, data):
        self.told.append(bytes(data))

    def eof(self):
        self.told.append("eof")

    def writable(self):
        pass  # the end of a TLS handshake may still have had to be written

    def lost(self, error):
        self.told.append(error)


async def open_transport(uri):
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_connection(asyncio.Protocol, *server_address(uri))
    return transport


@pytest.mark.parametrize("scheme", ["ws", "wss"])
async def test_c24_nothing_is_lost_that_comes_before_the_driver(scheme, files, ca):
    """C24: the server sends, and ends, at once."""
    options, client = {}, None
    if scheme == "wss":
        options["ssl"] = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        options["ssl"].load_cert_chain(files["all"])
        client = ssl.create_default_context(cadata=ca.decode())

    async def play(peer):
        peer.write(b"early")

    target = Target()
    async with raw_server(play, **options) as uri:
        transport = await open_transport(uri)
        transport.pause_reading()
        await adopt(transport, target, 2**16, client, "127.0.0.1")
        await until(lambda: target.told[-1] is None)
    assert target.told == ["connected", b"early", "eof", None]


async def test_c24_a_transport_that_is_closed_already_cannot_be_driven():
    async def play(peer):
        await peer.rest()

    target = Target()
    async with raw_server(play) as uri:
        transport = await open_transport(uri)
        transport.close()
        with pytest.raises(ConnectionResetError) as caught:
            await adopt(transport, target, 2**16)
    assert caught.value.errno == errno.ECONNRESET
    assert target.told == []


async def test_c24_a_transport_on_which_tls_fails_is_closed(files):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files["all"])

    async def play(peer):
        await peer.rest()

    target = Target()
    async with raw_server(play, ssl=context) as uri:
        transport = await open_transport(uri)
        with pytest.raises(ssl.SSLCertVerificationError):
            await adopt(transport, target, 2**16, ssl.create_default_context(), "127.0.0.1")
        assert transport.is_closing()
    assert target.told == []
