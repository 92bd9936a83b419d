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
        """Receive the next message. See `WebSocket.recv`."""

    def recv_fragment(self) -> Operation[tuple[int, Any, bool]]:
        """Receive the next frame of a message: opcode, data and fin."""

    def recv_batch(self, decode: bool | None = None) -> Operation[list[Any]]:
        """Receive all messages that wait, at least one. See `WebSocket.recv_batch`."""

    def __aiter__(self) -> Connection: ...
    def __anext__(self) -> Operation[Any]: ...
    def send(
        self, data: Any, *, binary: bool | None = None, compress: bool = True, fin: bool = True
    ) -> Operation[None]:
        """Send a message. See `WebSocket.send`."""

    @property
    def is_sending_fragments(self) -> bool:
        """Whether a message was begun with ``fin=False`` and not finished."""

    def drain(self) -> Operation[None]:
        """Wait while the connection is blocked."""

class Receive(Waiter):
    """The awaitable of `Connection.recv`."""

class Drain(Waiter):
    """The awaitable of a `Connection.send` that found the peer slow."""
