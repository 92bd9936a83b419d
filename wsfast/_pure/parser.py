"""The pure twin of `wsfast._parser`: the same machine, the same answers. See `_parser.pyi`.

The states, and the rules of the file, are those at the top of `_parser.pyx`. Two things differ,
because plain Python is fast with large pieces and slow with small steps: a message that is all
there in one frame does not go through the machine, and a payload is unmasked as one number.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..closing import parse_close
from ..exceptions import PayloadTooBig, TooManyFragments, wire_error
from .frame import BINARY, CLOSE, CONT, FIN, MASKED, PONG, TEXT
from .mask import Utf8Validator, xor

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from ..frames import Close
    from .deflate import Deflate

__all__ = ["STATES", "FrameReader"]

STATES = ("info", "length", "masking key", "payload", "close", "deliver", "finished")
INFO, LENGTH, KEY, PAYLOAD, CLOSE_PAYLOAD, DELIVER, FINISHED = range(7)

UNLIMITED = 2**63 - 1
# Where sizes in 32 bits stay.
LARGEST = 2**32 - 1

# Why each frame is handed out by itself; see the compiled twin.
BY_FRAGMENTS = 1
BY_BOUNDARIES = 2


class FrameReader:
    """Turns bytes into messages, strictly by RFC 6455 section 5.

    It can stop at any byte, retains at most ``max_size`` bytes and half as many of slack, and
    takes linear time.

    Args:
        client: True to read what a server sends (unmasked), False for what a client sends.
        max_size: the largest message, in bytes. None: no limit.
        max_frame_size: the largest data frame, in bytes. None: no limit.
        max_fragments: the most frames of a message; empty ones count. None: no limit.
        fragments: hand out every data frame by itself instead of whole messages.
        skip_utf8_validation: take text that is not UTF-8, and hand it out as bytes.

    Attributes:
        fragments: see above. It may be changed at any time.
        boundaries: whether every data frame is handed out by itself, like ``fragments``, for
            another reason.
        decode_text: whether text messages are handed out as str.
        message_rsv: the reserved bits of the last message.
        pending: how many of the bytes fed are not read yet.
        frames_read: how many frame headers were read.
        fragments_read: how many of them belong to fragmented messages.
        bytes_read: how many bytes of messages came, decompressed; the payloads as announced where
            not.
        biggest_read: how many bytes the biggest message had, decompressed; counted up to
            2**32 - 1.
    """

    __slots__ = (
        "_allowed_rsv",
        "_as_they_are",
        "_buffer",
        "_client",
        "_current",
        "_deflate",
        "_each_frame",
        "_encoded",
        "_end",
        "_fin",
        "_handed_out",
        "_header_size",
        "_inflated",
        "_input",
        "_key",
        "_length",
        "_length_7",
        "_mask_bit",
        "_masked",
        "_max_fragments",
        "_max_frame_size",
        "_max_size",
        "_max_whole",
        "_message_fragments",
        "_message_opcode",
        "_message_size",
        "_opcode",
        "_position",
        "_remaining",
        "_str_opcode",
        "_utf8",
        "_valid_opcode",
        "biggest_read",
        "bytes_read",
        "fragments_read",
        "frames_read",
        "message_rsv",
        "pending",
    )

    def __init__(
        self,
        *,
        client: bool,
        max_size: int | None = 2**20,
        max_frame_size: int | None = None,
        max_fragments: int | None = 131072,
        fragments: bool = False,
        skip_utf8_validation: bool = False,
    ) -> None:
        self._client = client
        self._max_size = UNLIMITED if max_size is None else max_size
        self._max_frame_size = UNLIMITED if max_frame_size is None else max_frame_size
        self._max_fragments = UNLIMITED if max_fragments is None else max_fragments
        self._mask_bit = 0 if client else MASKED
        self._header_size = 2 if client else 6
        self._max_whole = min(self._max_size, self._max_frame_size)
        self._each_frame = BY_FRAGMENTS if fragments else 0
        # Of the messages that must be valid UTF-8, and that are handed out as str: TEXT or none.
        self._valid_opcode = 0 if skip_utf8_validation else TEXT
        self._str_opcode = self._valid_opcode
        # What extensions have for themselves, and who inflates messages with RSV1.
        self._allowed_rsv = 0
        self._deflate: Deflate | None = None
        self._as_they_are = False
        self.frames_read = 0
        self.fragments_read = 0
        self.bytes_read = 0
        self.biggest_read = 0

        self._input = b""
        self._position = 0
        self._end = 0
        # How many of the bytes fed are not looked at yet.
        self.pending = 0

        self._current = INFO
        self._opcode = 0
        self._fin = False
        self._masked = False
        self._length_7 = 0
        self._length = 0
        self._remaining = 0
        self._key = b""

        # The message being read; a control frame inside it has its bytes in _buffer's place.
        self._message_opcode = 0
        self._message_size = 0
        self._message_fragments = 0
        self._handed_out = False
        self._encoded = False  # its payload is not yet its data
        self._inflated = 0
        self.message_rsv = 0
        self._buffer: bytearray | None = None
        self._utf8: Utf8Validator | None = None

    @property
    def fragments(self) -> bool:
        """Whether every data frame is handed out by itself."""
        return bool(self._each_frame & BY_FRAGMENTS)

    @fragments.setter
    def fragments(self, value: bool) -> None:
        self._each_frame = self._each_frame & ~BY_FRAGMENTS | (BY_FRAGMENTS if value else 0)

    @property
    def boundaries(self) -> bool:
        """Whether every data frame is handed out by itself, for another reason."""
        return bool(self._each_frame & BY_BOUNDARIES)

    @boundaries.setter
    def boundaries(self, value: bool) -> None:
        self._each_frame = self._each_frame & ~BY_BOUNDARIES | (BY_BOUNDARIES if value else 0)

    @property
    def decode_text(self) -> bool:
        """Whether text messages are handed out as str."""
        return self._str_opcode == TEXT

    @decode_text.setter
    def decode_text(self, value: bool) -> None:
        self._str_opcode = self._valid_opcode if value else 0

    def keep_counters(self, last: FrameReader) -> None:
        """Go on counting where another has stopped."""
        self.frames_read = last.frames_read
        self.fragments_read = last.fragments_read
        self.bytes_read = last.bytes_read
        self.biggest_read = last.biggest_read

    def note_size(self, size: int) -> None:
        """A message of so many bytes is complete."""
        if size > self.biggest_read:
            self.biggest_read = min(size, LARGEST)
        self._inflated = 0

    def allow(self, rsv: int, deflate: Deflate | None) -> None:
        """Accept reserved bits on the first frames of messages, as extensions define them.

        Args:
            rsv: the bits as a number; RSV1 is 4.
            deflate: decompresses messages with RSV1. None: all messages are handed out as they
                came, text also as bytes, and never in fragments.
        """
        self._allowed_rsv = rsv
        self._deflate = deflate
        self._as_they_are = deflate is None

    @property
    def state(self) -> str:
        """Where the reader is: one of `STATES`."""
        return STATES[self._current]

    def feed(self, data: Buffer) -> None:
        """Give the reader more of the stream. Nothing is read before `next`."""
        if type(data) is memoryview:
            data = data.tobytes()
        elif type(data) is not bytes:
            data = bytes(memoryview(data))
        self.pending += len(data)
        if self._position < self._end:
            data = self._input[self._position :] + data
        self._input = data
        self._position = 0
        self._end = len(data)

    def next(self) -> tuple[int, str | bytes | Close, bool] | None:
        """The next opcode, data and fin; None when more bytes are needed.

        Data is str for a text message, bytes for a binary message, a ping, a pong, and for every
        data frame in fragment mode (opcode 0 from the second on), and a `Close` for a close frame.
        After a close frame or an error what follows is dropped.

        Raises:
            ProtocolError: the peer broke the protocol, or a limit (PayloadTooBig,
                TooManyFragments). Its ``close_code`` is what to tell the peer.
        """
        frame: tuple[int, Any, bool] | None
        try:
            frame = self._read_whole()
            if frame is None:
                frame = self._advance()
                # Without a frame what is left is the known beginning of something longer.
                self.pending = 0 if frame is None else self._end - self._position
        except BaseException:
            self.give_up()
            raise
        return frame

    def _read_whole(self) -> tuple[int, str | bytes, bool] | None:
        """Read a message in one frame that is all there, as nearly all are, at a third of the cost.

        None, and nothing is read, if there is anything else or anything is wrong with it: that is
        for the machine.
        """
        position = self._position
        end = self._end
        current = self._current
        if (
            end - position < 4
            or (current != DELIVER and current != INFO)
            or self._message_opcode
            or self._each_frame
            or self._as_they_are
        ):
            return None
        source = self._input
        opcode = source[position] ^ FIN
        deflate = None
        if opcode & 0x40 and self._deflate is not None:
            deflate = self._deflate
            opcode ^= 0x40
        if opcode != TEXT and opcode != BINARY:
            return None
        # With the wrong mask bit the length is too large.
        length = source[position + 1] ^ self._mask_bit
        start = position + self._header_size
        if length > 125:
            length = source[position + 2] << 8 | source[position + 3] if length == 126 else 0
            if length < 126:
                return None
            start += 2
        stop = start + length
        if stop > end or length > self._max_whole:
            return None
        data: Any = source[start:stop]
        if not self._client:
            data = xor(data, source[start - 4 : start], length)
        if deflate is not None:
            self.frames_read += 1
            data = deflate.decompress(data, self._max_size)
            length = len(data)
            self.bytes_read += length
        if opcode == self._valid_opcode:
            try:
                text = data.decode()
            except UnicodeDecodeError:
                if deflate is None:
                    return None
                raise wire_error("WS_ERR_INVALID_UTF8") from None
            if opcode == self._str_opcode:
                data = text
        if length > self.biggest_read:
            self.biggest_read = length
        self._current = DELIVER
        self._position = stop
        self.pending = end - stop
        if deflate is None:
            self.frames_read += 1
            self.bytes_read += length
        return opcode, data, True

    def _advance(self) -> tuple[int, str | bytes | Close, bool] | None:
        while True:
            current = self._current
            if current == INFO or current == DELIVER:
                self._current = INFO
                position = self._position
                if self._end - position < 2:
                    return None
                self._position = position + 2
                self._read_info(self._input[position], self._input[position + 1])

            elif current == LENGTH:
                size = 2 if self._length_7 == 126 else 8
                position = self._position
                if self._end - position < size:
                    return None
                self._position = position + size
                length = int.from_bytes(self._input[position : position + size], "big")
                if length >> 63:
                    raise wire_error("WS_ERR_NEGATIVE_PAYLOAD_LENGTH")
                if length < (126 if size == 2 else 65536):
                    raise wire_error("WS_ERR_NON_MINIMAL_PAYLOAD_LENGTH", length)
                self._check_length(length)

            elif current == KEY:
                position = self._position
                if self._end - position < 4:
                    return None
                self._position = position + 4
                self._key = self._input[position : position + 4]
                self._current = CLOSE_PAYLOAD if self._opcode == CLOSE else PAYLOAD

            elif current == PAYLOAD:
                if self._opcode >= CLOSE:
                    if self._end - self._position < self._length:
                        return None
                    self._current = DELIVER
                    return self._opcode, self._take(self._length), True
                if not self._read_data():
                    return None
                if self._fin or (self._each_frame and not self._as_they_are):
                    self._current = DELIVER
                    return self._deliver()
                self._current = INFO

            elif current == CLOSE_PAYLOAD:
                if self._end - self._position < self._length:
                    return None
                close = parse_close(self._take(self._length), not self._valid_opcode)
                self.give_up()
                return CLOSE, close, True

            else:
                self._position = self._end
                return None

    def give_up(self) -> None:
        """Read nothing more, and keep nothing."""
        self._current = FINISHED
        self._input = b""
        self._position = self._end = self.pending = 0
        self._buffer = None

    def _read_info(self, first: int, second: int) -> None:
        opcode = first & 0x0F
        length_7 = second & 0x7F
        self._opcode = opcode
        self._fin = first > 0x7F
        self._masked = second > 0x7F
        self._length_7 = length_7
        self.frames_read += 1

        if first & 0x70:
            # They are of the message, and on its first frame (RFC 7692 section 6).
            refused = first & ~(self._allowed_rsv << 4 if CONT < opcode < CLOSE else 0)
            if refused & 0x30:
                raise wire_error("WS_ERR_UNEXPECTED_RSV_2_3")
            if refused & 0x40:
                raise wire_error("WS_ERR_UNEXPECTED_RSV_1")
        if opcode > PONG or BINARY < opcode < CLOSE:
            raise wire_error("WS_ERR_INVALID_OPCODE", opcode)
        if opcode >= CLOSE:
            if not self._fin:
                raise wire_error("WS_ERR_EXPECTED_FIN")
            if length_7 > 125 or (opcode == CLOSE and length_7 == 1):
                raise wire_error("WS_ERR_INVALID_CONTROL_PAYLOAD_LENGTH", length_7)
        elif (opcode == CONT) != (self._message_opcode != 0):
            # A continuation of nothing, or a new message inside a fragmented one.
            raise wire_error("WS_ERR_INVALID_OPCODE", opcode)
        if self._masked and self._client:
            raise wire_error("WS_ERR_UNEXPECTED_MASK")
        if not self._masked and not self._client:
            raise wire_error("WS_ERR_EXPECTED_MASK")

        if CONT < opcode < CLOSE:
            self.message_rsv = first >> 4 & 7
            self._encoded = self.message_rsv != 0 or self._as_they_are
        if length_7 < 126:
            self._check_length(length_7)
        else:
            self._current = LENGTH

    def _check_length(self, length: int) -> None:
        """Refuse by size before the payload comes, then go on to the masking key or the payload."""
        if self._opcode < CLOSE:
            if length > self._max_frame_size:
                raise PayloadTooBig(length, self._max_frame_size)
            max_payload = self._max_size
            if self._encoded:
                # Extensions make a bit more of some messages, and deflate also of each fragment.
                max_payload += (max_payload >> 3) + 64 + 16 * self._message_fragments
            if length > max_payload - self._message_size:
                raise PayloadTooBig(
                    self._message_size + length,
                    self._max_size,
                    "Message" if self._message_opcode else "Frame",
                )
            if self._message_opcode == 0:
                self._message_opcode = self._opcode
            self._message_fragments += 1
            if self._message_fragments > self._max_fragments:
                raise TooManyFragments(self._max_fragments)
            self._message_size += length
            if not self._encoded or self._as_they_are:
                self.bytes_read += length
            if self._opcode == CONT or not self._fin:
                self.fragments_read += 1
        self._length = self._remaining = length
        if self._masked:
            self._current = KEY
        else:
            self._current = CLOSE_PAYLOAD if self._opcode == CLOSE else PAYLOAD

    def _take(self, size: int) -> bytes:
        """The next bytes of the payload, unmasked."""
        position = self._position
        self._position = position + size
        data = self._input[position : position + size]
        return xor(data, self._key, size) if self._masked else data

    def _read_data(self) -> bool:
        """Read the payload of a data frame into the message; True when it is complete."""
        size = self._end - self._position
        if size >= self._remaining:
            size = self._remaining
            if self._fin and self._buffer is None and size == self._length and not self._handed_out:
                return True  # _deliver() takes a whole message straight from the input
        if size:
            data = self._take(size)
            phase = size & 3
            self._key = self._key[phase:] + self._key[:phase]
            self._remaining -= size
            if self._message_opcode == self._valid_opcode and not self._encoded:
                self._validate(data)
            if self._buffer is None:
                self._buffer = bytearray(data)
            else:
                self._buffer += data
        if self._remaining:
            return False
        if self._fin and not self._encoded:
            self._finish_text()
        return True

    def _finish_text(self) -> None:
        if self._utf8 is not None and not self._utf8.finish():
            raise wire_error("WS_ERR_INVALID_UTF8")

    def _validate(self, data: bytes) -> None:
        if self._utf8 is None:
            self._utf8 = Utf8Validator()
        if not self._utf8.feed(data):
            raise wire_error("WS_ERR_INVALID_UTF8")

    def _deliver(self) -> tuple[int, str | bytes, bool]:
        """Hand out the message, or in fragment mode what came of it since the last time."""
        opcode = CONT if self._handed_out else self._message_opcode
        fin = self._fin
        data: Any
        if self._buffer is None:
            data = self._take(self._remaining)
        else:
            data, self._buffer = self._buffer, None
        if self._encoded:
            data = self._decode(data, fin)
        elif (
            self._message_opcode == self._valid_opcode
            and not self._handed_out
            and (fin or not self._each_frame)
        ):
            try:
                text = data.decode()
            except UnicodeDecodeError:
                raise wire_error("WS_ERR_INVALID_UTF8") from None
            if not self._each_frame and self._str_opcode:
                data = text
        if type(data) is bytearray:
            data = bytes(data)
        self._handed_out = not fin
        if fin:
            self.note_size(self._inflated if self._encoded else self._message_size)
            self._message_opcode = 0
            self._message_size = 0
            self._message_fragments = 0
            self._utf8 = None
        return opcode, data, fin

    def _decode(self, data: bytes | bytearray, fin: bool) -> str | bytes | bytearray:
        """The data of a payload that an extension encoded; for Python's as it came."""
        if self._deflate is None:
            return data
        data = self._deflate.decompress(data, self._max_size, fin)
        self.bytes_read += len(data)
        self._inflated += len(data)
        if self._message_opcode != self._valid_opcode:
            return data
        if self._each_frame or self._handed_out or not self._str_opcode:
            self._validate(data)
            if fin:
                self._finish_text()
            return data
        try:
            return data.decode()
        except UnicodeDecodeError:
            raise wire_error("WS_ERR_INVALID_UTF8") from None
