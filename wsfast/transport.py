"""The asyncio driver: a connection on any transport of any loop.

A driver is what a connection writes to: `write`, `pause`, `resume`, `shutdown_write`, `abort` and
`get_extra_info`. It tells its target `received`, `eof`, `writable` and `lost`. The target is the
opening handshake first, and then the connection that the handshake makes.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from typing import TYPE_CHECKING, Any, Protocol
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from collections.abc import Sequence

    from typing_extensions import Buffer

__all__ = ["Target", "TransportDriver"]

# All connections of a loop read into one buffer, because asyncio asks for it, fills it and tells
# in one go. Where a read goes on in the background, each has its own.
SHARED = sys.platform != "win32"
BUFFER_SIZE = 256 * 1024 if SHARED else 64 * 1024

# What is larger costs less in a system call of its own than to copy it behind other buffers.
LARGE = 128 * 1024

INTERNET = {socket.AF_INET, socket.AF_INET6}


class ReceiveBuffer:
    """The receive buffer of a loop."""

    __slots__ = ("busy", "view")

    def __init__(self) -> None:
        self.view = memoryview(bytearray(BUFFER_SIZE))
        self.busy = False


receive_buffers: WeakKeyDictionary[asyncio.AbstractEventLoop, ReceiveBuffer] = WeakKeyDictionary()


class Target(Protocol):
    """What a driver reports to."""

    def received(self, data: Any) -> None:
        """Bytes came; they are only lent."""

    def eof(self) -> bool:
        """The peer will send nothing more. True to keep the transport open for writing."""

    def writable(self) -> None:
        """The transport's buffer has shrunk to a quarter of the limit."""

    def lost(self, error: BaseException | None) -> None:
        """The transport is closed."""


class TransportDriver(asyncio.BufferedProtocol):
    """Drives one connection over one asyncio transport.

    Args:
        target: gets to know what happens; `connected(driver)` is called on it first.
        write_limit: in bytes, for the transport's buffer.
    """

    __slots__ = ("_blocked", "_eof", "_shared", "_view", "_write_limit", "target", "transport")

    transport: Any
    _shared: ReceiveBuffer
    _view: memoryview

    def __init__(self, target: Any, write_limit: int) -> None:
        self.target = target
        self._write_limit = write_limit
        self._blocked = False
        self._eof = False

    def take_over(self, transport: Any) -> None:
        """Drive a transport that had another protocol until now, paused or not."""
        if transport.is_closing():
            transport.set_protocol(self)
        else:
            transport.pause_reading()  # uvloop reads on to the last one otherwise
            transport.set_protocol(self)
            if transport.get_write_buffer_size():
                # Nobody knows whether it told its last protocol to pause. With no room at all it
                # has, and will tell this one when it goes on.
                transport.set_write_buffer_limits(high=0)
                self._blocked = True
            transport.resume_reading()
        self.connection_made(transport)

    # From the loop

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self._prepare(transport)
        self.target.connected(self)

    def _prepare(self, transport: Any) -> None:
        loop = asyncio.get_running_loop()
        if loop not in receive_buffers:
            receive_buffers[loop] = ReceiveBuffer()
        self._shared = receive_buffers[loop]
        transport.set_write_buffer_limits(high=self._write_limit, low=self._write_limit // 4)
        for name in "sockname", "peername":
            transport.get_extra_info(name)  # uvloop keeps it, and fails when the socket is closed
        sock = transport.get_extra_info("socket")
        if sock is not None and sock.proto == 0 and sock.family in INTERNET:
            # A socket that a user made; for others the loop did it.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def get_buffer(self, sizehint: int) -> Buffer:
        shared = self._shared
        if shared.busy or not SHARED:
            # Inside a dispatch, that is where the loop is run by its own callback, the shared
            # buffer is in use.
            self._view = memoryview(bytearray(BUFFER_SIZE))
        else:
            self._view = shared.view
        return self._view

    def buffer_updated(self, nbytes: int) -> None:
        shared = self._shared
        data = self._view[:nbytes]
        self._view = shared.view  # a buffer of its own goes with what was read
        nested, shared.busy = shared.busy, True
        try:
            self.target.received(data)
        finally:
            shared.busy = nested

    def data_received(self, data: bytes) -> None:
        """For transports that know no buffered protocols."""
        self.target.received(data)

    def eof_received(self) -> bool:
        self._eof = True
        return bool(self.target.eof())

    def pause_writing(self) -> None:
        self._blocked = True

    def resume_writing(self) -> None:
        self._blocked = False
        self.target.writable()

    def connection_lost(self, exc: BaseException | None) -> None:
        self.target.lost(exc)
        # The connection keeps the driver, for its addresses; the other way would be a cycle.
        self.target = None

    # From the connection

    def write(self, connection: Any, buffers: Sequence[bytes]) -> int:
        """Write; returns how many bytes the transport still has, 0 while below the limit."""
        if len(buffers) == 1:
            self.transport.write(buffers[0])
        elif len(buffers[-1]) < LARGE:
            self.transport.write(b"".join(buffers))
        else:
            self.transport.write(b"".join(buffers[:-1]))
            self.transport.write(buffers[-1])
        return int(self.transport.get_write_buffer_size()) if self._blocked else 0

    def pause(self, connection: Any) -> None:
        """Stop reading."""
        if not self.transport.is_closing():
            self.transport.pause_reading()

    def resume(self, connection: Any) -> None:
        """Read again."""
        if not self.transport.is_closing():
            self.transport.resume_reading()

    def shutdown_write(self, connection: Any) -> None:
        """Send the end of the stream behind what waits to be written, and read on."""
        transport = self.transport
        if self._eof or not transport.can_write_eof():
            # TLS cannot be half-closed: the transport sends a close_notify, waits for the peer's,
            # and discards what comes before it.
            transport.close()
            return
        try:
            transport.write_eof()
        except (OSError, RuntimeError):
            transport.close()

    def abort(self, connection: Any) -> None:
        """Close at once."""
        self.transport.abort()

    def get_extra_info(self, connection: Any, name: str, default: Any = None) -> Any:
        """What asyncio tells about the transport, and "buffered": the bytes that it still has."""
        if name == "buffered":
            return self.transport.get_write_buffer_size()
        return self.transport.get_extra_info(name, default)
