"""The epoll driver, compiled; Linux only. Its twin is the asyncio driver, `wsfast.transport`."""

import weakref
from asyncio import AbstractEventLoop
from collections.abc import Sequence
from socket import socket
from typing import Any

from ._driver import DirectDriver

class Engine:
    """The sockets of one event loop."""

    @property
    def loop(self) -> AbstractEventLoop: ...
    @property
    def count(self) -> int:
        """How many sockets there are."""

    def __init__(self, loop: AbstractEventLoop) -> None: ...
    def _ready(self) -> None: ...

class SocketDriver(DirectDriver):
    """Drives one connection over one socket, whose file descriptor it owns.

    Args:
        engine: of the connection's event loop.
        fd: a connected socket that does not block.
        target: gets to know what happens, see `wsfast.transport.Target`.
        write_limit: in bytes; the target is told when the backlog has shrunk to a quarter of it.
        peer: the peer's address as the system has it, if it is known.
    """

    target: Any

    @property
    def engine(self) -> Engine: ...
    def __init__(
        self, engine: Engine, fd: int, target: Any, write_limit: int, peer: bytes | None = None
    ) -> None: ...
    def _readable(self) -> None: ...
    def _writable(self) -> None: ...
    def _tell_lost(self, error: BaseException | None) -> None: ...
    def write(self, connection: Any, buffers: Sequence[bytes]) -> int:
        """Write; returns how many bytes wait to be written."""

    def pause(self, connection: Any) -> None:
        """Stop reading."""

    def resume(self, connection: Any) -> None:
        """Read again."""

    def shutdown_write(self, connection: Any) -> None:
        """Send the end of the stream behind what waits to be written, and read on."""

    def abort(self, connection: Any) -> None:
        """Close at once."""

    def get_extra_info(self, connection: Any, name: str, default: Any = None) -> Any:
        """ "peername", "sockname", "socket", and "buffered": the bytes that wait."""

engines: weakref.WeakValueDictionary[int, Engine]

def engine_of(loop: AbstractEventLoop) -> Engine:
    """The engine of an event loop."""

def adopt(
    loop: AbstractEventLoop, sock: socket, target: Any, write_limit: int, tls: Any = None
) -> SocketDriver:
    """Drive a connected socket; the driver owns its file descriptor from now on."""
