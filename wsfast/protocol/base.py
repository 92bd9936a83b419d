"""What the sans-I/O protocols of both sides have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from .._backend import Protocol
from ..data_types import as_type
from ..exceptions import InvalidState
from ..extensions.negotiation import select_extensions
from ..frames import Close, Opcode, State
from ..options import Options

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from typing_extensions import Buffer

    from ..extensions import Extension
    from ..typing import Compression
    from .http import Request, Response

__all__ = ["Event", "EventProtocol", "Message", "Ping", "Pong"]


class Message(NamedTuple):
    """A message that came, or in fragment mode a fragment of one.

    Args:
        data: str if it is text, bytes if it is binary, or what ``text_type`` and ``binary_type``
            say; in fragment mode always bytes.
        opcode: `Opcode.TEXT` or `Opcode.BINARY`; `Opcode.CONT` for further fragments.
        fin: whether this is the end of the message.
    """

    data: Any
    opcode: Opcode
    fin: bool = True


class Ping(NamedTuple):
    """A ping that came, and was answered unless ``auto_pong`` is off."""

    data: bytes


class Pong(NamedTuple):
    """A pong that came."""

    data: bytes


class EventProtocol(Protocol):
    """A WebSocket connection without I/O: bytes in, events out; calls in, bytes out.

    After every call send what `data_to_send` returns, and look at `events_received`.

    Args:
        client: whether this is the client's side.
        extensions: to use, in the order of preference.
        compression: True, "deflate" or a `PerMessageDeflate` to compress messages; it stands behind
            ``extensions``. Large messages are compressed at the call.
        generate_mask: returns the 4 bytes of the next masking key.
        options: the limits, see `Options`. Time is the caller's.
    """

    def __init__(
        self,
        *,
        client: bool,
        extensions: Iterable[Extension] | None = None,
        compression: Compression = None,
        generate_mask: Callable[[], bytes] | None = None,
        **options: Any,
    ) -> None:
        codec = options.get("codec")
        limits = Options.take(options)
        if codec is not None:
            raise TypeError("codec is an option of connections; here events have the messages")
        if options:
            raise TypeError(f"there is no option {next(iter(options))!r}")
        super().__init__(limits, client=client, state=State.CONNECTING, generate_mask=generate_mask)
        self._available = select_extensions(extensions, compression, limits.max_size)
        self.request: Request | None = None
        self.response: Response | None = None
        self.subprotocol: str | None = None
        self.handshake_error: Exception | None = None
        self._events: list[Event] = []
        self._opcode = Opcode.CONT
        self._parts: list[Any] = []  # of the message that comes
        self._output: list[bytes] = []
        self._eof_sent = False

    def receive_data(self, data: Buffer) -> None:
        """Take bytes from the peer.

        What the peer does wrong is not raised: it is answered, and is the ``error``, or before the
        connection is open the ``handshake_error``.
        """
        if self.state is State.CONNECTING:
            rest = self.receive_handshake(bytes(data)) if self.handshake_error is None else None
            if not rest:
                return
            data = rest
        self.receive(data)

    def receive_eof(self) -> None:
        """Take the end of the peer's stream."""
        if self.state is State.CONNECTING and self.handshake_error is None:
            self.receive_handshake_eof()
        super().receive_eof()

    def receive_handshake(self, data: bytes) -> bytes | None:
        """Take bytes of the opening handshake; returns what came behind it."""
        raise NotImplementedError

    def receive_handshake_eof(self) -> None:
        """Take the end of the stream in the opening handshake."""
        raise NotImplementedError

    def events_received(self) -> list[Event]:
        """The events since the last call."""
        events, self._events = self._events, []
        return events

    def data_to_send(self) -> list[bytes]:
        """The bytes to send since the last call; ``b""`` is the end of the stream."""
        output, self._output = self._output, []
        return output

    def close_expected(self) -> bool:
        """Whether the peer should close the TCP connection now; do not wait for it for ever."""
        return self._eof_sent or (self.close_sent is not None and self.close_received is not None)

    @property
    def extensions(self) -> tuple[str, ...]:
        """The names of the extensions in use."""
        return () if self.negotiated is None else self.negotiated.names

    def send_text(self, data: str, fin: bool = True, compress: bool = True) -> None:
        """Send a text message, or a fragment of one."""
        self._check_open()
        self.message(data, binary=False, fin=fin, compress=compress)

    def send_binary(self, data: Buffer, fin: bool = True, compress: bool = True) -> None:
        """Send a binary message, or a fragment of one."""
        self._check_open()
        self.message(data, binary=True, fin=fin, compress=compress)

    def _check_open(self) -> None:
        if self.state is State.CONNECTING:
            raise InvalidState("the opening handshake is not done")

    # Hooks of the core

    def on_message(self, opcode: int, data: str | bytes, fin: bool) -> None:
        parts = self._parts
        if not parts:
            self._opcode = Opcode(opcode)
            if self.fragments or opcode == Opcode.CONT:
                self._events.append(Message(data, self._opcode, fin))
                return
        # With the binary type "fragments" there may be some.
        parts.append(data)
        if fin:
            self._parts = []
            message = as_type(self._opcode, parts, self.text_type, self.binary_type)
            self._events.append(Message(message, self._opcode))

    def on_control(self, opcode: int, data: bytes | Close) -> None:
        if isinstance(data, Close):
            self._events.append(data)
        else:
            self._events.append(Ping(data) if opcode == Opcode.PING else Pong(data))

    def write(self, *buffers: bytes) -> None:
        self._output.extend(buffers)

    def write_eof(self) -> None:
        if not self._eof_sent:
            self._eof_sent = True
            self._output.append(b"")


if TYPE_CHECKING:
    Event = Request | Response | Message | Ping | Pong | Close
else:
    Event = object
