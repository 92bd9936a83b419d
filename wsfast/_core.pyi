"""The state machine of a connection, compiled. The pure twin is `_pure/core.py`."""

from asyncio import AbstractEventLoop
from collections.abc import Callable
from typing import Any

from typing_extensions import Buffer

from .awaitables import Operation
from .frames import Close, State
from .options import Options

class Protocol:
    """The WebSocket protocol after the opening handshake, without any I/O.

    A subclass overrides the hooks, whose names begin with ``on_`` and ``write``.

    Args:
        options: the limits. The timeouts are of no concern here.
        client: whether this is the client's side.
        state: CONNECTING while the opening handshake goes on; then call `open`.
        generate_mask: returns the 4 bytes of the next masking key.
    """

    options: Options
    client: bool
    close_sent: Close | None
    close_received: Close | None
    error: BaseException | None
    messages_received: int
    messages_sent: int
    frames_sent: int
    fragments_sent: int
    bytes_sent: int
    wire_bytes_received: int
    wire_bytes_sent: int
    fragments: bool

    def __init__(
        self,
        options: Options,
        *,
        client: bool,
        state: State = ...,
        generate_mask: Callable[[], bytes] | None = None,
    ) -> None: ...
    @property
    def state(self) -> State:
        """Where the connection is in its life."""

    @property
    def frames_received(self) -> int:
        """How many frames came."""

    @property
    def fragments_received(self) -> int:
        """How many frames of fragmented messages came."""

    @property
    def bytes_received(self) -> int:
        """How many bytes of payload came."""

    @property
    def close_code(self) -> int | None:
        """The received close code: 1005 if the frame had none, 1006 if no frame came.

        None while the connection is open.
        """

    @property
    def close_reason(self) -> str | None:
        """The received close reason, None while the connection is open."""

    def on_message(self, opcode: int, data: str | bytes, fin: bool) -> None:
        """A message came; in fragment mode, a data frame with its bytes."""

    def on_control(self, opcode: int, data: bytes | Close) -> None:
        """A ping, a pong or a close frame came, and was answered."""

    def on_closing(self) -> None:
        """The closing begins, from either side; the close frame, if any, was written."""

    def on_closed(self) -> None:
        """The connection is closed."""

    def write(self, *buffers: bytes) -> None:
        """These bytes go to the peer."""

    def write_eof(self) -> None:
        """Nothing more goes to the peer; what comes from it is read until its end, and dropped."""

    def settle(self) -> bool:
        """Let what came before a close frame or an error be dealt with.

        Returns False if that takes time; then the frame or error waits for the next `receive`.
        """

    def answer_ping(self, data: bytes) -> None:
        """Send the pong for a ping."""

    def open(self) -> None:
        """The opening handshake is done."""

    def receive(self, data: Buffer) -> None:
        """Take bytes from the peer. They are only borrowed."""

    def receive_eof(self) -> None:
        """Take the end of the peer's stream."""

    def message(self, data: str | Buffer, *, binary: bool | None = None, fin: bool = True) -> None:
        """Send a message, or a fragment of one.

        Args:
            data: str is text, anything bytes-like is binary.
            binary: to choose the type, whatever ``data`` is.
            fin: False if further calls continue the message.

        Raises:
            TypeError, ValueError, UnicodeEncodeError: ``data`` cannot be sent.
            ConnectionClosed: the connection is not open.
            ConcurrencyError: a message of the other type is not finished.
        """

    def ping(self, data: Buffer = b"") -> Any:
        """Send a ping of at most 125 bytes."""

    def pong(self, data: Buffer = b"") -> Any:
        """Send a pong of at most 125 bytes."""

    def close(self, code: int | None = 1000, reason: str = "") -> Any:
        """Begin the closing handshake; nothing happens if it was begun.

        Raises:
            TypeError, ValueError: a code or a reason that cannot be sent.
        """

    def fail(self, error: BaseException) -> None:
        """End the connection because of ``error``.

        The peer gets a close frame with the ``close_code`` of the error, 1011 if it has none, and
        the beginning of its text.
        """

    def closed_error(self) -> Exception:
        """The ConnectionClosed exception for how the connection ended, or is ending."""

class Connection(Protocol):
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

    driver: Any
    loop: AbstractEventLoop
    deadline: float
    outbox: Any
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

    def send_other(self, data: Any, binary: bool | None, fin: bool) -> Any:
        """Send what is neither str nor bytes-like."""

    def send_failed(self, error: BaseException) -> None:
        """A send failed, and nobody awaited it."""

    def received(self, data: Buffer) -> None:
        """From the driver: bytes came. They are only lent."""

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

    def __aiter__(self) -> Connection: ...
    def __anext__(self) -> Operation[Any]: ...
    def send(
        self, data: Any, *, binary: bool | None = None, compress: bool = True, fin: bool = True
    ) -> Operation[None]:
        """Send a message. See `WebSocket.send`."""

    def send_prepared(self, frame: bytes, size: int) -> None:
        """Send a frame that was made for several connections, with ``size`` bytes of payload."""

    @property
    def is_blocked(self) -> bool:
        """Whether more waits to be written than the limit allows."""

    @property
    def is_sending_fragments(self) -> bool:
        """Whether a message was begun with ``fin=False`` and not finished."""

    def drain(self) -> Operation[None]:
        """Wait while the connection is blocked."""

    def cork(self) -> Cork:
        """Hold what is sent inside a ``with`` block until its end."""

    @property
    def buffered_amount(self) -> int:
        """How many bytes wait to be written."""

    def abort(self, error: BaseException | None = None) -> None:
        """Close the transport at once, without a close frame."""

class Cork:
    """The context manager of `Connection.cork`."""

    def __init__(self, connection: Connection) -> None: ...
    def __enter__(self) -> None: ...
    def __exit__(self, *_: object) -> None: ...

class Waiter:
    """What a task waits for: a coroutine to asyncio, and to its task a future."""

    _asyncio_future_blocking: bool

    def __await__(self) -> Waiter: ...
    def __iter__(self) -> Waiter: ...
    def __next__(self) -> Waiter: ...
    def send(self, value: Any) -> Any: ...
    def throw(self, typ: Any, value: Any = None, traceback: Any = None) -> Any: ...
    def close(self) -> None: ...
    def get_loop(self) -> AbstractEventLoop: ...
    def add_done_callback(self, callback: Any, *, context: Any = None) -> None: ...
    def remove_done_callback(self, callback: Any) -> int: ...
    def cancel(self, msg: Any = None) -> bool: ...
    def result(self) -> None: ...

class Receive(Waiter):
    """The awaitable of `Connection.recv`."""

class Drain(Waiter):
    """The awaitable of a `Connection.send` that found the peer slow."""

class Sent:
    """The awaitable of a `Connection.send` that is done."""

    def __await__(self) -> Sent: ...
    def __iter__(self) -> Sent: ...
    def __next__(self) -> None: ...
    def send(self, value: Any) -> Any: ...
    def throw(self, typ: Any, value: Any = None, traceback: Any = None) -> Any: ...
    def close(self) -> None: ...

SENT: Sent
