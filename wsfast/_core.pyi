"""A connection, compiled. The pure twin is `_pure/core.py`."""

from collections.abc import Callable
from typing import Any

from typing_extensions import Buffer

from ._waiter import SENT as SENT
from ._waiter import Waiter
from ._writing import Writer
from .awaitables import Operation
from .frames import State
from .options import Options

class Connection(Writer):
    """A `Protocol` with what a connection needs around it.

    That is a queue of messages or a listener, awaitables for receiving and sending that wake the
    task straight from the driver's call, corking, and limits for what waits on either side.

    Args:
        options: the limits and timeouts.
        driver: has `write`, `pause`, `resume`, `shutdown_write`, `abort` and `get_extra_info`; see
            `wsfast.transport`. It calls `received`, `eof`, `writable` and `lost`.
        loop: an event loop, or anything with its `call_soon`.
        client, state, generate_mask: as for `Protocol`.
    """

    deadline: float
    latency: float
    next_ping: float
    heard: float
    message_listener: Callable[[Any, bool], object] | None
    messages_dropped: int
    _thread: int

    def __init__(
        self,
        options: Options,
        driver: Any,
        loop: Any,
        *,
        client: bool,
        state: State = ...,
        generate_mask: Callable[[], bytes] | None = None,
    ) -> None: ...
    def on_deadline(self, now: float) -> float:
        """The deadline is reached; returns the next."""

    def listener_failed(self, error: BaseException) -> None:
        """A message listener raised an exception."""

    def send_other(self, data: Any, binary: bool | None, fin: bool, compress: bool) -> Any:
        """Send what is neither str nor bytes-like."""

    def send_large(self, data: Any, binary: bool | None) -> Any:
        """Send a message that takes long to compress."""

    def send_by_and_by(self, data: Any, binary: bool | None, compress: bool) -> Any:
        """Send a large message in fragments."""

    def send_failed(self, error: BaseException) -> None:
        """A send failed, and nobody awaited it."""

    def send_closed(self, data: Any, binary: bool | None, fin: bool, compress: bool) -> Any:
        """Send while the connection is not open."""

    def received(self, data: Buffer) -> None:
        """From the driver: bytes came. They are only lent."""

    def receive_soon(self, data: bytes) -> None:
        """Bytes came with the opening handshake. The next pass of the loop deals with them.

        By then whoever waited for the connection waits for its messages.
        """

    def eof(self) -> bool:
        """From the driver: the peer will send nothing more. True to keep the transport open."""

    def writable(self) -> None:
        """From the driver: what waited to be written has shrunk to a quarter of the limit."""

    def lost(self, error: BaseException | None) -> None:
        """From the driver: the transport is closed."""

    def tick(self, now: float) -> None:
        """From the driver's clock: act if the deadline is reached."""

    def pause(self) -> None:
        """Stop reading. A few messages that are read already may still come."""

    def resume(self) -> None:
        """Read again."""

    def deliver_soon(self) -> None:
        """Hand to a listener just attached what waits in the queue."""

    @property
    def is_ending(self) -> bool:
        """Whether the end has come, and waits for what extensions have of the messages before."""

    @property
    def is_paused(self) -> bool:
        """Whether `pause` was called, and `resume` was not."""

    @property
    def is_reading(self) -> bool:
        """Whether the peer's bytes are read."""

    def discard(self) -> None:
        """Drop the messages that wait and all that come."""

    def recv(self, decode: bool | None = None) -> Operation[Any]:
        """Receive the next message: str if it is text, bytes if it is binary.

        Cancelling it loses nothing.

        Args:
            decode: True to get str, False to get bytes, whatever the message is.

        Raises:
            ConnectionClosed: when awaited; the connection is closed, and all messages that
                came before were received.
            ConcurrencyError: when awaited; another call receives, or a listener is attached.
        """

    def recv_fragment(self) -> Operation[tuple[int, Any, bool]]:
        """Receive the next frame of a message: opcode, data and fin."""

    def recv_batch(self, decode: bool | None = None) -> Operation[list[Any]]:
        """Receive all messages that wait, or the next if there is none.

        For feeds: a task that wakes once for a burst does a fraction of the work. Otherwise it
        is like `recv`.
        """

    def __aiter__(self) -> Connection: ...
    def __anext__(self) -> Operation[Any]: ...
    def send(
        self, data: Any, *, binary: bool | None = None, compress: bool = True, fin: bool = True
    ) -> Operation[None]:
        """Send a message.

        The message is on its way when `send` returns. Awaiting the result waits while the peer
        is slow: while more than ``write_limit`` bytes wait to be written, until a quarter of
        it. Cancelling the wait does not take the message back.

        A failure that nobody awaits is told to "error", once. Without a listener for it, the
        logger is told if the connection was closed, and else the loop's exception handler.

        Args:
            data: a str is sent as text, anything bytes-like as binary. The items of an
                iterable or an asynchronous iterable, and what is read from a file-like object,
                are the fragments of one message.
            binary: True or False to choose the type, whatever ``data`` is.
            compress: False to send it uncompressed where compression was negotiated.
            fin: False if further calls continue the message.

        Raises:
            TypeError, ValueError, UnicodeEncodeError: at the call; nothing is sent.
            ConnectionClosed: when awaited.
            ConcurrencyError: when awaited; fragments of two messages would mix.
        """

    @property
    def is_sending_fragments(self) -> bool:
        """Whether a message was begun with ``fin=False`` and not finished."""

    def drain(self) -> Operation[None]:
        """Wait while the connection is blocked."""

class Receive(Waiter):
    """The awaitable of `Connection.recv`."""

class Drain(Waiter):
    """The awaitable of a `Connection.send` that found the peer slow."""
