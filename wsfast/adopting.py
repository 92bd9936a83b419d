"""Driving an asyncio transport that somebody else opened, with TLS started on it or without."""

from __future__ import annotations

import asyncio
import errno
import os
from asyncio.sslproto import SSLProtocol
from typing import TYPE_CHECKING, Any

from .exceptions import ProxyError
from .transport import TransportDriver

if TYPE_CHECKING:
    import socket
    import ssl

__all__ = ["EarlyProtocol", "adopt", "open_tls"]


async def adopt(
    transport: Any,
    target: Any,
    write_limit: int,
    context: ssl.SSLContext | None = None,
    server_hostname: str | None = None,
    ssl_shutdown_timeout: float | None = None,
) -> None:
    """Drive a transport that somebody else opened. If this fails or is cancelled, it is aborted.

    Args:
        transport: connected, and nothing was read from it, or it is of `wsfast.tunnel`; its
            protocol hears no more of it. It may be one of TLS, also where TLS is started.
        target: gets to know what happens.
        write_limit: in bytes, for the transport's buffer.
        context: to start TLS on it first.
        server_hostname: the name to ask for, and that the certificate must have.
        ssl_shutdown_timeout: how long TLS may take to end, in seconds; None for the loop's default.

    Raises:
        OSError: the connection is gone, or TLS cannot be started, for example because of the
            server's certificate.
        ProxyError: there is something in front of the TLS handshake.
    """
    early = transport.get_protocol()
    if not isinstance(early, EarlyProtocol):
        early = EarlyProtocol()
    try:
        if transport.is_closing():
            raise connection_reset()
        through = transport
        if context is not None:
            if early.data:
                raise ProxyError("something came through the proxy before the TLS handshake")
            through = await start_tls(
                transport, early, context, server_hostname, ssl_shutdown_timeout
            )
    except BaseException:
        transport.abort()
        raise
    driver = TransportDriver(target, write_limit)
    driver.take_over(through)
    early.replay(driver)


async def open_tls(
    loop: asyncio.AbstractEventLoop,
    sock: socket.socket,
    protocol: Any,
    context: ssl.SSLContext,
    server_hostname: str | None,
    ssl_shutdown_timeout: float | None,
) -> Any:
    """Start TLS on a connected socket; returns the transport, on which ``protocol`` is.

    If this fails or is cancelled, the caller closes the socket.

    Raises:
        OSError: the connection is gone, or TLS cannot be started.
    """
    if not isinstance(loop, asyncio.BaseEventLoop):
        transport, _ = await loop.create_connection(
            lambda: protocol,
            sock=sock,
            ssl=context,
            server_hostname=server_hostname,
            ssl_shutdown_timeout=ssl_shutdown_timeout,
        )
        return transport
    # asyncio's, cancelled before its handshake has begun, forgets a transport that goes on to read
    # from the file descriptor, whoever has that next.
    transport, _ = await loop.create_connection(PausedProtocol, sock=sock)
    early = EarlyProtocol()
    try:
        through = await start_tls(transport, early, context, server_hostname, ssl_shutdown_timeout)
    except BaseException:
        transport.abort()
        raise
    early.hand_over(through, protocol)
    return through


async def start_tls(
    transport: Any,
    protocol: Any,
    context: ssl.SSLContext,
    server_hostname: str | None,
    ssl_shutdown_timeout: float | None,
) -> Any:
    mend(transport)
    through = await asyncio.get_running_loop().start_tls(
        transport,
        protocol,
        context,
        server_hostname=server_hostname,
        ssl_shutdown_timeout=ssl_shutdown_timeout,
    )
    if through is None:  # as asyncio has it when the connection is gone
        raise connection_reset()
    return through


def connection_reset() -> OSError:
    return ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))


class PausedProtocol(asyncio.Protocol):
    """Of a new transport on which TLS is to be started: all that comes is for TLS."""

    def connection_made(self, transport: Any) -> None:
        transport.pause_reading()


class EarlyProtocol(asyncio.Protocol):
    """Holds what comes before the driver does, which is nearly always nothing.

    Args:
        data: what has come already.
    """

    def __init__(self, data: bytes = b"") -> None:
        self.data = data
        self._eof = False
        self._lost: list[Exception | None] = []

    def data_received(self, data: bytes) -> None:
        self.data += data

    def eof_received(self) -> None:
        self._eof = True

    def connection_lost(self, error: Exception | None) -> None:
        self._lost.append(error)

    def hand_over(self, transport: Any, protocol: Any) -> None:
        """Let a protocol have the transport, and all that came."""
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        self.replay(protocol)

    def replay(self, protocol: Any) -> None:
        """Tell a protocol, which has the transport, all that came."""
        if self.data:
            protocol.data_received(self.data)
        if self._eof:
            protocol.eof_received()
        for error in self._lost:
            protocol.connection_lost(error)


class MendedSSLProtocol(SSLProtocol):
    """Can be aborted by TLS inside of it that fails.

    In Python 3.11, and in 3.12 at first, that calls this method with an argument that it does not
    take: instead of the error there is a TypeError, and after a timeout nothing is closed.
    """

    def _abort(self, error: BaseException | None = None) -> None:
        super()._abort()  # type: ignore[call-arg]


def mend(transport: asyncio.Transport) -> None:
    protocol = getattr(transport, "_ssl_protocol", None)
    if type(protocol) is SSLProtocol and SSLProtocol._abort.__code__.co_argcount == 1:
        protocol.__class__ = MendedSSLProtocol
