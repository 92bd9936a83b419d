"""The pure twin of `wsfast._protocol`: the same machine, the same answers. See `_protocol.pyi`.

The rules of the file are those at the top of `_protocol.pyx`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..closing import shorten
from ..data_types import BINARY_TYPES, TEXT_TYPES, as_type, check_choice
from ..exceptions import ConcurrencyError, InvalidState, ProtocolError, connection_closed
from ..frames import RSV1, Close, State, check_close, is_close_code
from .frame import BINARY, CLOSE, CONT, PING, PONG, TEXT, encode_header
from .mask import check_key, masking_key, valid_utf8, xor
from .parser import LARGEST, FrameReader
from .reasons import EXTENSIONS_BUSY

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..options import Options
    from .deflate import Deflate

__all__ = ["IGNORED", "Protocol"]

OPEN = State.OPEN
CLOSING = State.CLOSING
CLOSED = State.CLOSED

# Above this size the payload is not copied behind its header.
COPY_LIMIT = 16384

# What is unusual about how messages are handed out.
IGNORED = 1  # they are dropped
UNCHECKED = 2  # text need not be UTF-8
TEXT_AS_BYTES = 4
BINARY_TYPE = 16  # times the place in BINARY_TYPES

# What is counted over all lives of a connection.
COUNTERS = (
    "biggest_sent",
    "bytes_sent",
    "fragments_sent",
    "frames_sent",
    "messages_received",
    "messages_sent",
    "pings_received",
    "pings_sent",
    "pongs_received",
    "pongs_sent",
    "wire_bytes_received",
    "wire_bytes_sent",
)


class Protocol:
    """The WebSocket protocol after the opening handshake, without any I/O."""

    # Faster than a dictionary of so many attributes, and smaller.
    __slots__ = (
        "_auto_pong",
        "_compressing",
        "_discarding",
        "_generate_mask",
        "_handling",
        "_postponed",
        "_reader",
        "_received_first",
        "_sending",
        "_stacked",
        "_stopped",
        "_unfinished",
        "client",
        "close_received",
        "close_sent",
        "deflate",
        "error",
        "negotiated",
        "options",
        "state",
        "tells_pings",
        *COUNTERS,
    )

    state: State
    biggest_sent: int
    bytes_sent: int
    fragments_sent: int
    frames_sent: int
    messages_received: int
    messages_sent: int
    pings_received: int
    pings_sent: int
    pongs_received: int
    pongs_sent: int
    wire_bytes_received: int
    wire_bytes_sent: int
    _generate_mask: Callable[[], bytes]

    def __init__(
        self,
        options: Options,
        *,
        client: bool,
        state: State = OPEN,
        generate_mask: Callable[[], bytes] | None = None,
    ) -> None:
        last: FrameReader | None = getattr(self, "_reader", None)
        if last is not None and self.state is not CLOSED:
            raise InvalidState("the connection is not closed")
        self._reader = FrameReader(
            client=client,
            max_size=options.max_size,
            max_frame_size=options.max_frame_size,
            max_fragments=options.max_fragments,
            skip_utf8_validation=options.skip_utf8_validation,
        )
        if last is None:
            for name in COUNTERS:
                setattr(self, name, 0)
            self.tells_pings = True
            self._handling = UNCHECKED if options.skip_utf8_validation else 0
            self.text_type = options.text_type
            self.binary_type = options.binary_type
        else:
            # Another life begins. Its counters go on, and what the user has set stays.
            last.give_up()  # somebody may be reading from it
            self._reader.keep_counters(last)
            self._handling &= ~IGNORED
            self.text_type = self.text_type
            self.binary_type = self.binary_type
        self.options = options
        self.client = client
        self.state = state
        self.close_sent: Close | None = None
        self.close_received: Close | None = None
        self.error: BaseException | None = None

        self._generate_mask = masking_key
        if generate_mask is not None:
            self._generate_mask = lambda: check_key(generate_mask(), 0)
        self._auto_pong = options.auto_pong
        self.negotiated: Any = None  # what was agreed, or the stack of extensions
        self._stacked = False
        self.deflate: Deflate | None = None
        self._compressing = False
        self._received_first = False
        self._sending = 0
        self._unfinished = 0  # bytes of the outgoing message under way
        self._postponed: Close | ProtocolError | None = None
        self._discarding = False
        self._stopped = 0

    # Hooks

    def on_message(self, opcode: int, data: str | bytes, fin: bool) -> None:
        """A message came, or in fragment mode a frame of it."""

    def on_control(self, opcode: int, data: bytes | Close) -> None:
        """A ping, a pong or a close frame came and was answered."""

    def on_closing(self) -> None:
        """The closing begins, from either side; the close frame, if any, has left."""

    def on_closed(self) -> None:
        """The connection is closed."""

    def write(self, *buffers: bytes) -> None:
        """A frame goes out."""

    def write_eof(self) -> None:
        """Nothing more goes out, and what comes in is of no interest."""

    def settle(self) -> bool:
        """Let what came before a close frame or an error be dealt with."""
        return True

    def _settled(self) -> bool:
        if self._stacked and self.negotiated.incoming:
            self._stopped |= EXTENSIONS_BUSY
            return False
        return self.settle()

    def answer_ping(self, data: bytes) -> None:
        """Send the pong for a ping."""
        self._send_control_frame(PONG, data)

    def on_processed(self) -> None:
        """Extensions have processed an incoming message that took them some time."""
        self._stopped &= ~EXTENSIONS_BUSY
        self._process()

    # Types

    @property
    def text_type(self) -> str:
        """What text messages are handed out as: "str" or "bytes".

        It may be set, for the messages to come.
        """
        return TEXT_TYPES[bool(self._handling & TEXT_AS_BYTES)]

    @text_type.setter
    def text_type(self, value: str) -> None:
        as_bytes = check_choice("text_type", value, TEXT_TYPES) == "bytes"
        self._handling = self._handling & ~TEXT_AS_BYTES | (TEXT_AS_BYTES if as_bytes else 0)
        self._reader.decode_text = not as_bytes

    @property
    def binary_type(self) -> str:
        """What binary messages are handed out as.

        "bytes", "bytearray", "memoryview", or "fragments" for a list of bytes, one for each frame.
        It may be set, for the messages to come.
        """
        return BINARY_TYPES[self._handling // BINARY_TYPE]

    @binary_type.setter
    def binary_type(self, value: str) -> None:
        place = BINARY_TYPES.index(check_choice("binary_type", value, BINARY_TYPES))
        self._handling = self._handling % BINARY_TYPE + BINARY_TYPE * place
        self._reader.boundaries = value == "fragments"

    def _typed(self, opcode: int, parts: list[Any], decode: bool | None = None) -> Any:
        return as_type(opcode, parts, self.text_type, self.binary_type, decode)

    # Input

    @property
    def fragments(self) -> bool:
        """Whether every data frame is delivered by itself."""
        return self._reader.fragments

    @fragments.setter
    def fragments(self, value: bool) -> None:
        self._reader.fragments = value

    @property
    def frames_received(self) -> int:
        """How many frames came."""
        return self._reader.frames_read

    @property
    def fragments_received(self) -> int:
        """How many frames of fragmented messages came."""
        return self._reader.fragments_read

    @property
    def bytes_received(self) -> int:
        """How many bytes of payload came."""
        return self._reader.bytes_read

    @property
    def biggest_received(self) -> int:
        """How many bytes the biggest message had that came, decompressed."""
        return self._reader.biggest_read

    def use_deflate(self, agreed: Any, deflate: Deflate) -> None:
        """Use permessage-deflate, alone."""
        self._reader.allow(RSV1, deflate)
        self.deflate = deflate
        self.negotiated = agreed

    def use_stack(self, stack: Any) -> None:
        """Let all messages go through extensions."""
        self._reader.allow(stack.rsv, None)
        self.negotiated = stack
        self._stacked = True

    def open(self) -> None:
        """The opening handshake is done."""
        self.state = OPEN

    def receive(self, data: Any) -> None:
        """Take bytes from the peer. They are only borrowed."""
        self.wire_bytes_received += len(data)
        if self._discarding:
            return
        self._reader.feed(data)
        if not self._stopped:
            self._process()

    def receive_eof(self) -> None:
        """Take the end of the peer's stream."""
        if self.state is not CLOSED:
            self._discarding = True
            self.write_eof()
            self._end()

    def _process(self) -> None:
        """Deal with the frames of the input, until it ends or reading is stopped."""
        reader = self._reader
        while not self._stopped and not self._discarding:
            item: Any
            if self._stacked and self.negotiated.ready:
                item = self._take_processed()
                if item is None:
                    continue
            else:
                item = self._postponed
            if item is None:
                try:
                    frame = reader.next()
                except ProtocolError as error:
                    item = error
                else:
                    if frame is None:
                        return
                    opcode, data, fin = frame
                    if opcode <= BINARY:
                        if self._stacked:
                            if not self.negotiated.receive(opcode, reader.message_rsv, data):
                                self._stopped |= EXTENSIONS_BUSY
                            continue
                        if fin:
                            self.messages_received += 1
                        self.on_message(opcode, data, fin)  # type: ignore[arg-type]
                        if not reader.pending and self._postponed is None:
                            return
                        continue
                    if opcode != CLOSE:
                        self._receive_control(opcode, data)  # type: ignore[arg-type]
                        continue
                    item = data
            if not self._settled():
                self._postponed = item
                return
            self._postponed = None
            if self._discarding:
                return
            if isinstance(item, Close):
                self._receive_close(item)
            else:
                self.fail(item)

    def _receive_control(self, opcode: int, data: bytes) -> None:
        if opcode == PING:
            self.pings_received += 1
            if self._auto_pong and self.state is OPEN:
                self.answer_ping(data)
            if not self.tells_pings:
                return
        else:
            self.pongs_received += 1
        self.on_control(opcode, data)

    def _take_processed(self) -> Exception | None:
        """Deliver what the extensions have made of a message; or return their error."""
        try:
            opcode, data = self.negotiated.take()
        except Exception as error:
            return error
        self.messages_received += 1
        self._reader.note_size(len(data) if isinstance(data, bytes) else len(data.encode()))
        self.on_message(opcode, data, True)
        return None

    def _receive_close(self, close: Close) -> None:
        """Answer a close frame, or end the handshake that we began (RFC 6455 section 5.5.1)."""
        self._discarding = True
        self.close_received = close
        if self.close_sent is None:
            self._received_first = True
            self._send_close(Close(close.code, shorten(close.reason)))
        self.on_control(CLOSE, close)
        # The server closes the TCP connection first (RFC 6455 section 7.1.1).
        if not self.client:
            self.write_eof()

    def _end(self) -> None:
        self.state = CLOSED
        if self._stacked:
            self.negotiated.close()
        elif self.deflate is not None:
            self.deflate.close()
        self.on_closed()

    # Output

    def message(
        self,
        data: Any,
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
        self._send_message(data, binary, fin, compress)

    def _send_message(self, data: Any, binary: bool | None, fin: bool, compress: bool) -> None:
        payload: bytes
        if isinstance(data, str):
            payload = data.encode()
            opcode = BINARY if binary else TEXT
        else:
            payload = data if type(data) is bytes else bytes(memoryview(data))
            opcode = TEXT if binary is False else BINARY
            if opcode == TEXT and fin and not self._sending and not valid_utf8(payload):
                raise ValueError("data sent as text must be valid UTF-8")
        if self.state is not OPEN:
            raise self.closed_error()
        deflate = self.deflate
        wire_opcode = CONT
        if not self._sending:
            self._sending = wire_opcode = opcode
            if deflate is not None:
                threshold = deflate.parameters.threshold
                self._compressing = compress and len(payload) >= threshold
        elif self._sending != opcode and (binary is not None or isinstance(data, str)):
            raise ConcurrencyError("cannot send another message before the last fragment")
        opcode = self._sending
        if fin:
            self._sending = 0
        self._note_size(len(payload), wire_opcode, fin)
        if self._stacked:
            if wire_opcode != CONT:
                self._compressing = compress
            self.negotiated.send(opcode, payload, fin, self._compressing)
            return
        if fin:
            self.messages_sent += 1
        self.bytes_sent += len(payload)
        if deflate is None or not self._compressing:
            self._send_data(wire_opcode, 0, payload, fin)
        else:
            self._send_compressed(wire_opcode, deflate.compress(payload, fin), fin)

    def _note_size(self, size: int, opcode: int, fin: bool) -> None:
        """Note the size of a message, or of a fragment of one, that goes out."""
        if not fin or opcode == CONT:
            size = min(size + self._unfinished, LARGEST)
            self._unfinished = 0 if fin else size
        if fin and size > self.biggest_sent:
            self.biggest_sent = min(size, LARGEST)

    def _count_sent(self, size: int) -> None:
        """Count a whole message."""
        self.messages_sent += 1
        self.bytes_sent += size
        self._note_size(size, BINARY, True)

    def _send_compressed(self, opcode: int, compressed: bytes, fin: bool) -> None:
        """Send what was compressed."""
        try:
            self._send_data(opcode, 0 if opcode == CONT else RSV1, compressed, fin)
        except BaseException:
            # The peer has not got what the next message would refer to.
            if self.deflate is not None:
                self.deflate.forget()
            raise

    def send_deflated(self, opcode: int, compressed: bytes, size: int) -> None:
        """Send a message that was compressed, in its turn, with the `deflate`."""
        if self.state is not OPEN:
            raise self.closed_error()
        self._count_sent(size)
        self._send_compressed(opcode, compressed, True)

    def send_processed(self, opcode: int, rsv: int, data: bytes) -> bool:
        """Send a message as extensions have made it. False if nothing can be sent any more."""
        if self.close_sent is not None or self.state is CLOSED:
            return False
        self.messages_sent += 1
        self.bytes_sent += len(data)
        self._send_data(opcode, rsv, data, True)
        return True

    def sends_waiting(self, reason: int, size: int) -> None:
        """So many bytes wait to be compressed, or to be processed by extensions."""

    def finish_close(self, close: Close) -> None:
        """Send the close frame that waited for the extensions."""
        if self.close_sent is None and self.state is not CLOSED:
            self._send_close(close)

    def _send_data(self, opcode: int, rsv: int, payload: bytes, fin: bool) -> None:
        """Send a message or a fragment of one, in frames of the size that is wanted."""
        fragment_size = self.options.fragment_size
        if fragment_size is not None and len(payload) > fragment_size:
            self._send_in_fragments(opcode, rsv, payload, fin)
            return
        if not fin or opcode == CONT:
            self.fragments_sent += 1
        self._send_frame(opcode, rsv, payload, fin)

    def _send_in_fragments(self, opcode: int, rsv: int, payload: bytes, fin: bool) -> None:
        size = self.options.fragment_size
        assert size is not None
        for start in range(0, len(payload), size):
            end = start + size
            self.fragments_sent += 1
            self._send_frame(opcode, rsv, payload[start:end], fin and end >= len(payload))
            opcode = CONT
            rsv = 0

    def ping(self, data: bytes = b"") -> None:
        """Send a ping of at most 125 bytes."""
        self._send_control(PING, data)

    def pong(self, data: bytes = b"") -> None:
        """Send a pong of at most 125 bytes."""
        self._send_control(PONG, data)

    def close(self, code: int | None = 1000, reason: str = "") -> None:
        """Begin the closing handshake; nothing happens if it was begun.

        Raises:
            TypeError, ValueError: a code or a reason that cannot be sent.
        """
        close = check_close(code, reason)
        if self.state is not OPEN:
            return
        if self._stacked and self.negotiated.outgoing:
            self.negotiated.closing = close  # behind what the extensions still have
            self._begin_closing()
        else:
            self._send_close(close)

    def fail(self, error: BaseException) -> None:
        """End the connection because of ``error``.

        The peer gets a close frame with the ``close_code`` of the error, 1011 if it has none, and
        the beginning of its text.
        """
        if self._discarding or self.state is CLOSED:
            return
        self._discarding = True
        self.error = error
        if self.close_sent is None:
            code = getattr(error, "close_code", 1011)
            try:
                self._send_close(Close(code if is_close_code(code) else 1011, shorten(str(error))))
            finally:
                self.write_eof()
        else:
            self.write_eof()

    @property
    def close_code(self) -> int | None:
        """The received close code: 1005 if the frame had none, 1006 if no frame came.

        None while the connection is open.
        """
        if self.close_received is not None:
            return self.close_received.code
        return 1006 if self.state is CLOSED else None

    @property
    def close_reason(self) -> str | None:
        """The received close reason, None while the connection is open."""
        if self.close_received is not None:
            return self.close_received.reason
        return "" if self.state is CLOSED else None

    def closed_error(self) -> Exception:
        """The ConnectionClosed exception for how the connection ended, or is ending."""
        error = connection_closed(self.close_received, self.close_sent, self._received_first)
        error.__cause__ = self.error
        return error

    def _send_control(self, opcode: int, data: Any) -> None:
        payload = data if type(data) is bytes else bytes(memoryview(data))
        if len(payload) > 125:
            raise ValueError("The data size must not be greater than 125 bytes")
        if self.state is not OPEN:
            raise self.closed_error()
        self._send_control_frame(opcode, payload)

    def _begin_closing(self) -> None:
        if self.state is not CLOSING:
            self.state = CLOSING
            self.on_closing()

    def _send_close(self, close: Close) -> None:
        self.close_sent = close
        payload = b""
        if close.code != 1005:
            payload = close.code.to_bytes(2, "big") + close.reason.encode()
        try:
            self._send_control_frame(CLOSE, payload)
        finally:  # also without a masking key
            self._begin_closing()

    def _send_control_frame(self, opcode: int, payload: bytes) -> None:
        if opcode == PING:
            self.pings_sent += 1
        elif opcode == PONG:
            self.pongs_sent += 1
        self._send_frame(opcode, 0, payload, True)

    def _send_frame(self, opcode: int, rsv: int, payload: bytes, fin: bool) -> None:
        size = len(payload)
        self.frames_sent += 1
        if self.client:
            key = self._generate_mask()
            frame = encode_header(opcode, size, fin, rsv, True) + key + xor(payload, key, size)
            self.wire_bytes_sent += len(frame)
            self.write(frame)
            return
        header = encode_header(opcode, size, fin, rsv, False)
        self.wire_bytes_sent += len(header) + size
        if size > COPY_LIMIT:
            self.write(header, payload)
        else:
            self.write(header + payload)
