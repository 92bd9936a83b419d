"""Driving what somebody else connected: a socket, a transport, or a pair of streams."""

from __future__ import annotations

import asyncio
import socket
import ssl
from typing import TYPE_CHECKING, Any, TypeAlias

from . import engine
from .transport import TransportDriver

if TYPE_CHECKING:
    Where: TypeAlias = (
        asyncio.Transport | socket.socket | tuple[asyncio.StreamReader, asyncio.StreamWriter]
    )
else:
    Where = Any

__all__ = ["Where", "early_data", "take_over"]

USED = "it was handed over before, or is closed"


def early_data(where: Where) -> bytes | None:
    """What a stream has read already; None if nobody is there any more.

    Raises:
        TypeError: ``where`` is nothing that can be driven.
        RuntimeError: it was handed over before.
    """
    if isinstance(where, socket.socket):
        if isinstance(where, ssl.SSLSocket):
            raise TypeError("an SSLSocket cannot be taken over; use asyncio for TLS")
        if where.type != socket.SOCK_STREAM:
            raise TypeError(f"the socket must be one of streams, not {where!r}")
        if where.fileno() < 0:
            raise RuntimeError(f"the socket cannot be used: {USED}")
        return b""
    transport = transport_of(where)
    if isinstance(transport.get_protocol(), TransportDriver):
        raise RuntimeError("the transport cannot be used: it was handed over before")
    if transport.is_closing():
        return None
    return take_buffer(where[0]) if isinstance(where, tuple) else b""


def transport_of(where: Any) -> Any:
    """The transport itself, or that of a pair of streams."""
    if isinstance(where, tuple) and len(where) == 2 and hasattr(where[0], "read"):
        where = getattr(where[1], "transport", None)
    if not hasattr(where, "set_protocol"):
        raise TypeError(
            "a connection must be a transport, a socket, or a pair of StreamReader and "
            f"StreamWriter, not {where!r}"
        )
    return where


def take_buffer(reader: asyncio.StreamReader) -> bytes | None:
    """What waits in a reader; None at the end of the stream."""
    reading = reader.read(2**31)
    try:
        reading.send(None)
    except StopIteration as stop:
        data: bytes = stop.value
        return None if reader.at_eof() else data
    except OSError:
        return None
    reading.close()  # it would have to wait: there is nothing
    return b""


def take_over(
    loop: asyncio.AbstractEventLoop, where: Where, target: Any, write_limit: int, epoll: bool
) -> Any:
    """Drive a connection, which is ours from now on, after `early_data` was asked for.

    ``target`` is told `connected` before this returns the driver.
    """
    if isinstance(where, socket.socket):
        if epoll:
            return engine.adopt(loop, where, target, write_limit, None, None, None)
        return SocketDriver(target, write_limit, socket.socket(fileno=where.detach()), loop)
    transport = transport_of(where)
    driver: TransportDriver
    if isinstance(where, tuple):
        driver = StreamsDriver(target, write_limit, where, transport.get_protocol())
    else:
        driver = TransportDriver(target, write_limit)
    driver.take_over(transport)
    return driver


class StreamsDriver(TransportDriver):
    """Drives a transport that came in a pair of streams.

    A ``StreamWriter`` that nobody has any more closes its transport, so they are kept. Their
    protocol is told of the end, for who waits for `StreamWriter.wait_closed`.
    """

    __slots__ = ("_protocol", "_streams")

    def __init__(self, target: Any, write_limit: int, streams: Any, protocol: Any) -> None:
        super().__init__(target, write_limit)
        self._streams = streams
        self._protocol = protocol

    def connection_lost(self, exc: BaseException | None) -> None:
        super().connection_lost(exc)
        self._protocol.connection_lost(exc)
        self._streams = self._protocol = None


class SocketDriver(TransportDriver):
    """Drives a socket, for which asyncio makes a transport in the next passes of the loop."""

    __slots__ = ("_connecting", "_paused")

    def __init__(
        self, target: Any, write_limit: int, sock: socket.socket, loop: asyncio.AbstractEventLoop
    ) -> None:
        super().__init__(target, write_limit)
        self.transport = FutureTransport(sock)
        self._paused = False
        self._connecting: asyncio.Task[None] | None = loop.create_task(self._connect(loop, sock))
        target.connected(self)

    async def _connect(self, loop: asyncio.AbstractEventLoop, sock: socket.socket) -> None:
        try:
            await loop.connect_accepted_socket(lambda: self, sock)
        except BaseException:  # the loop ends, for instance
            sock.close()
            self.connection_lost(None)
            raise
        self._connecting = None
        if self._paused:
            super().pause(None)

    def connection_made(self, transport: Any) -> None:
        before, self.transport = self.transport, transport
        self._prepare(transport)
        before.hand_over(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        if self.target is not None:
            super().connection_lost(exc)

    def pause(self, connection: Any) -> None:
        # asyncio begins to read in any case.
        self._paused = True
        if self._connecting is None:
            super().pause(connection)

    def resume(self, connection: Any) -> None:
        self._paused = False
        if self._connecting is None:
            super().resume(connection)


class FutureTransport:
    """Keeps for a transport that is not there yet what it will have to do."""

    __slots__ = ("_calls", "_closing", "_sock")

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._calls: list[tuple[Any, ...]] = []
        self._closing = False

    def hand_over(self, transport: Any) -> None:
        """The transport is there."""
        for name, *arguments in self._calls:
            getattr(transport, name)(*arguments)

    def write(self, data: bytes) -> None:
        if not self._closing:
            self._calls.append(("write", data))

    def write_eof(self) -> None:
        self._calls.append(("write_eof",))

    def close(self) -> None:
        self._closing = True
        self._calls.append(("close",))

    def abort(self) -> None:
        self._closing = True
        self._calls.append(("abort",))

    def can_write_eof(self) -> bool:
        return True

    def is_closing(self) -> bool:
        return self._closing

    def get_write_buffer_size(self) -> int:
        return 0

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        if name == "socket":
            return self._sock
        try:
            if name == "sockname":
                return self._sock.getsockname()
            if name == "peername":
                return self._sock.getpeername()
        except OSError:
            pass
        return default
