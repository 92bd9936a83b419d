"""A WebSocket as a stream of bytes: `create_websocket_stream`.

`WebSocketTransport` makes a connection look like the transports of asyncio, so that the readers and
writers are asyncio's own.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from ._backend import SENT, valid_utf8
from .exceptions import (
    ConcurrencyError,
    ConnectionClosed,
    ConnectionClosedOK,
    WebSocketException,
)
from .frames import State

if TYPE_CHECKING:
    from .connection import WebSocket

__all__ = ["WebSocketTransport", "create_websocket_stream"]

# What a stream takes more although it is full. See `WebSocketTransport._received`.
MAX_OVERRUN = 2**20


def create_websocket_stream(
    ws: WebSocket, *, limit: int = 65536, text: bool = False
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Read and write a connection as a stream of bytes, as `asyncio.open_connection` does a socket.

    Every ``write`` sends one message; an empty one sends nothing. When reading, the boundaries of
    messages are lost, and text comes as UTF-8. What is written before the connection is open is
    sent when it is; one that cannot be opened raises when reading.

    Reading from the peer pauses while twice ``limit`` bytes wait to be read, and ``drain`` waits
    while more than the connection's ``write_limit`` wait to be written. No message may be larger
    than the peer's ``max_size``, so that much is best written in parts.

    A WebSocket has no half-closed state: ``write_eof`` begins the closing handshake, and the peer
    sends only what it sends before its own close frame. ``close`` does the same and reads no more.
    The end of the stream is where ``async for message in ws`` ends; where that raises, so do the
    reader and ``wait_closed``, that what was cut off does not pass for the whole.

    Args:
        ws: the connection; from now on it is the stream's: ``recv`` is not possible.
        limit: of the reader's buffer, in bytes, as for `asyncio.open_connection`.
        text: True to send text messages; each ``write`` must be valid UTF-8.

    Raises:
        ConcurrencyError: at the call; the connection has a listener for messages, or a stream.
        ConnectionClosed: when writing, or reading; the connection is closed.
        ValueError: at the call; the connection would be followed by another (``reconnect``), or
            its messages are not bytes (``codec``). When writing with ``text``; the data is not
            valid UTF-8.
        RuntimeError: when writing after ``write_eof``.
    """
    loop = ws.loop
    reader = asyncio.StreamReader(limit=limit, loop=loop)
    protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
    transport = WebSocketTransport(ws, protocol, text=text)
    return reader, asyncio.StreamWriter(transport, protocol, reader, loop)


class WebSocketTransport(asyncio.Transport):
    """A connection as a transport, for `asyncio.Protocol`.

    ``get_extra_info`` tells what that of the connection does, and the connection as "websocket".

    Args:
        ws: the connection, which may be open or opening.
        protocol: an `asyncio.Protocol`.
        text: whether to send text messages.
    """

    def __init__(
        self, ws: WebSocket, protocol: asyncio.BaseProtocol, *, text: bool = False
    ) -> None:
        super().__init__()
        if ws.reconnects:
            raise ValueError("a stream cannot go on in another connection: reconnect must be False")
        if ws.options.codec is not None:
            raise ValueError("a stream is of bytes: codec must be None")
        if ws.listeners("message"):
            raise ConcurrencyError(
                "the messages have a listener, or are another stream's: there can be one of them"
            )
        self._ws = ws
        self._protocol: Any = protocol
        self._text = text
        self._held: list[bytes] = []  # what was written before the connection was open
        self._held_size = 0
        self._eof = False
        self._closing = False
        self._given_up = False
        self._lost = False
        self._reading = True
        self._overrun = 0
        self._writing = True
        self._unsent: Any = None  # the awaitable of the last message, if it has to wait
        self._draining: asyncio.Task[None] | None = None
        self._error: BaseException | None = None
        self._listeners: dict[str, Any] = {
            "open": self._opened,
            "message": self._received,
            "error": self._failed,
            "close": self._closed,
        }
        self._protocol.connection_made(self)
        for event, listener in self._listeners.items():
            ws.on(event, listener)
        if ws.state is State.CLOSED:
            ws.loop.call_soon(self._closed)  # behind the messages that nobody received

    def __repr__(self) -> str:
        return f"<WebSocketTransport {self._ws!r}>"

    # From the connection

    def _opened(self) -> None:
        held, self._held, self._held_size = self._held, [], 0
        for data in held:
            self._send(data)
        if self._eof:
            self._ws.close()
        elif self._draining is None:
            self._resume_writing()

    def _received(self, data: Any, is_binary: bool) -> None:
        if isinstance(data, str):
            data = data.encode()
        elif isinstance(data, list):  # binary_type="fragments"
            data = b"".join(data)
        if not self._reading and self._ws.state is State.CLOSING:
            # It reads on, to find the peer's close frame.
            self._overrun += len(data)
            if self._overrun > MAX_OVERRUN:
                self._error = WebSocketException("the stream is full, and nobody reads it")
                self._ws.discard()
                return
        if data:
            self._protocol.data_received(data)

    def _failed(self, error: BaseException) -> None:
        self._end(error)
        if self._ws.state is State.OPEN:  # it is a message that could not be sent
            self._ws.discard()
            self._ws.close(1011)

    def _closed(self, *_: Any) -> None:
        error = self._error or self._ws.error or self._ws.closed_error()
        self._end(None if isinstance(error, ConnectionClosedOK) else error)

    def _end(self, error: BaseException | None) -> None:
        if self._lost:
            return
        self._lost = self._closing = True
        for event, listener in self._listeners.items():
            self._ws.off(event, listener)
        self._listeners.clear()  # they refer to the transport
        self._protocol.connection_lost(None if self._given_up else error)

    # asyncio.BaseTransport

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """What the connection tells of the socket; itself by "websocket"."""
        return self._ws if name == "websocket" else self._ws.get_extra_info(name, default)

    def is_closing(self) -> bool:
        """Whether nothing more can be written, or will be read."""
        return self._closing or self._ws.state > State.OPEN

    def close(self) -> None:
        """Close the connection behind what was written, and read no more."""
        if self._closing:
            return
        self._closing = True
        self._ws.discard()
        if self._ws.state is State.CONNECTING and not self._held:
            self._given_up = self._eof = True
            self._ws.close()
        else:
            self.write_eof()

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        protocol: asyncio.BaseProtocol = self._protocol
        return protocol

    # asyncio.ReadTransport

    def is_reading(self) -> bool:
        return self._reading and not self.is_closing()

    def pause_reading(self) -> None:
        self._reading = False
        self._ws.pause()

    def resume_reading(self) -> None:
        self._reading = True
        self._overrun = 0
        self._ws.resume()

    # asyncio.WriteTransport

    def write(self, data: Any) -> None:
        """Send a message. See `create_websocket_stream` for what is raised."""
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise TypeError(f"data must be bytes-like, not {type(data).__name__}")
        if self._eof:
            raise RuntimeError("cannot write after write_eof()")
        if self._closing or self._ws.state > State.OPEN:
            raise self._ws.closed_error()
        if not data:
            return
        if self._ws.state is State.OPEN:
            self._send(data)
            return
        if self._text and not valid_utf8(data):
            raise ValueError("data sent as text must be valid UTF-8")
        self._held.append(bytes(data))
        self._held_size += len(self._held[-1])
        if self._held_size > self._ws.options.write_limit:
            self._pause_writing()

    def _send(self, data: Any) -> None:
        sent: Any = self._ws.send(data, binary=not self._text)
        if sent is not SENT:
            self._unsent = sent
            self._pause_writing()
            if self._draining is None:
                self._draining = self._ws.loop.create_task(self._drain())

    async def _drain(self) -> None:
        """Wait for the last message, which is sent behind those before."""
        try:
            while self._unsent is not None:
                unsent, self._unsent = self._unsent, None
                await unsent
        except ConnectionClosed:
            pass  # as the next write will tell, and the end of the connection
        except Exception as error:
            self._failed(error)
        finally:
            self._draining = None
            self._resume_writing()

    def _pause_writing(self) -> None:
        if self._writing:
            self._writing = False
            self._protocol.pause_writing()

    def _resume_writing(self) -> None:
        if not self._writing and not self._lost:
            self._writing = True
            self._protocol.resume_writing()

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        """Begin the closing handshake, behind what was written."""
        if not self._eof:
            self._eof = True
            if self._ws.state is not State.CONNECTING:
                self._ws.close()

    def get_write_buffer_size(self) -> int:
        return self._ws.buffered_amount + self._held_size

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """The connection's ``write_limit`` and a quarter of it; they cannot be set here."""
        limit = self._ws.options.write_limit
        return limit // 4, limit

    def abort(self) -> None:
        """Close the connection at once, without a close frame."""
        self._closing = self._given_up = True
        self._ws.terminate()
