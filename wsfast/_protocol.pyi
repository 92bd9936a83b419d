"""The state machine of a connection, compiled. The pure twin is `_pure/protocol.py`."""

from collections.abc import Callable
from typing import Any

from typing_extensions import Buffer

from ._deflate import Deflate
from .extensions.stack import Agreed, Stack
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

    Attributes:
        biggest_sent: bytes of the biggest message before it was compressed. This and the numbers
            of pings and pongs are counted up to 2**32 - 1.
        tells_pings: whether `on_control` is called for pings; False where nobody listens.

    When it is closed, ``__init__`` may be called again, and another life begins: the counters go
    on, the binary and the text type and the listener stay, and everything else is as new.
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
    biggest_sent: int
    pings_received: int
    pings_sent: int
    pongs_received: int
    pongs_sent: int
    fragments: bool
    tells_pings: bool
    negotiated: Agreed | Stack | None

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
    def biggest_received(self) -> int:
        """How many bytes the biggest message had that came, decompressed."""

    @property
    def text_type(self) -> str:
        """What text messages are handed out as: "str" or "bytes".

        It may be set, for the messages to come.
        """

    @text_type.setter
    def text_type(self, value: str) -> None: ...
    @property
    def binary_type(self) -> str:
        """What binary messages are handed out as.

        "bytes", "bytearray", "memoryview", or "fragments" for a list of bytes, one for each frame.
        It may be set, for the messages to come.
        """

    @binary_type.setter
    def binary_type(self, value: str) -> None: ...
    @property
    def close_code(self) -> int | None:
        """The received close code: 1005 if the frame had none, 1006 if no frame came.

        None while the connection is open.
        """

    @property
    def close_reason(self) -> str | None:
        """The received close reason, None while the connection is open."""

    def on_message(self, opcode: int, data: str | bytes, fin: bool) -> None:
        """A message came; in fragment mode, a data frame with its bytes.

        With the binary type "fragments" frames come, too; text is bytes if it is not to be decoded.
        """

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

    def on_processed(self) -> None:
        """Extensions have processed an incoming message that took them some time."""

    def use_deflate(self, agreed: Agreed, deflate: Deflate) -> None:
        """Use permessage-deflate, alone. `wsfast.extensions.stack.attach` calls this.

        Args:
            agreed: what was agreed.
            deflate: the contexts.
        """

    def use_stack(self, stack: Stack) -> None:
        """Let all messages go through extensions. `wsfast.extensions.stack.attach` calls this."""

    def open(self) -> None:
        """The opening handshake is done."""

    def receive(self, data: Buffer) -> None:
        """Take bytes from the peer. They are only borrowed."""

    def receive_eof(self) -> None:
        """Take the end of the peer's stream."""

    def message(
        self,
        data: str | Buffer,
        *,
        binary: bool | None = None,
        fin: bool = True,
        compress: bool = True,
    ) -> None:
        """Send a message, or a fragment of one.

        Args:
            data: str is text, anything bytes-like is binary.
            binary: to choose the type, whatever ``data`` is.
            fin: False if further calls continue the message.
            compress: False to send it uncompressed; the first fragment decides.

        Raises:
            TypeError, ValueError, UnicodeEncodeError: ``data`` cannot be sent.
            ConnectionClosed: the connection is not open.
            ConcurrencyError: a message of the other type is not finished.
        """

    @property
    def deflate(self) -> Deflate | None:
        """The contexts of permessage-deflate, if it is in use alone."""

    def send_deflated(self, opcode: int, compressed: bytes, size: int) -> None:
        """Send a message that was compressed, in its turn, with `deflate`.

        Args:
            opcode: of the message.
            compressed: what `Deflate.compress` returned.
            size: of the message before, in bytes.

        Raises:
            ConnectionClosed: the connection is not open.
        """

    def send_processed(self, opcode: int, rsv: int, data: bytes) -> bool:
        """Send a message as extensions have made it. False if nothing can be sent any more."""

    def sends_waiting(self, reason: int, size: int) -> None:
        """Messages wait to be compressed, or to be processed by extensions.

        Args:
            reason: for not reading while that is too much; a bit.
            size: of these messages, in bytes.
        """

    def finish_close(self, close: Close) -> None:
        """Send the close frame that waited for the extensions."""

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
