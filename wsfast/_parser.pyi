"""Reading frames, compiled. The pure twin is `_pure/parser.py`."""

from typing import final

from typing_extensions import Buffer

from ._deflate import Deflate
from .frames import Close

STATES: tuple[str, ...]

@final
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

    fragments: bool
    boundaries: bool
    decode_text: bool

    def __init__(
        self,
        *,
        client: bool,
        max_size: int | None = ...,
        max_frame_size: int | None = None,
        max_fragments: int | None = 131072,
        fragments: bool = False,
        skip_utf8_validation: bool = False,
    ) -> None: ...
    def feed(self, data: Buffer) -> None:
        """Give the reader more of the stream. Nothing is read before `next`."""

    def next(self) -> tuple[int, str | bytes | Close, bool] | None:
        """The next opcode, data and fin; None when more bytes are needed.

        Data is str for a text message, bytes for a binary message, a ping, a pong, and for every
        data frame in fragment mode (opcode 0 from the second on), and a `Close` for a close frame.
        After a close frame or an error what follows is dropped.

        Raises:
            ProtocolError: the peer broke the protocol, or a limit (PayloadTooBig,
                TooManyFragments). Its ``close_code`` is what to tell the peer.
        """

    def allow(self, rsv: int, deflate: Deflate | None) -> None:
        """Accept reserved bits on the first frames of messages, as extensions define them.

        Args:
            rsv: the bits as a number; RSV1 is 4.
            deflate: decompresses messages with RSV1. None: all messages are handed out as they
                came, text also as bytes, and never in fragments.
        """

    @property
    def message_rsv(self) -> int: ...
    @property
    def state(self) -> str:
        """Where the reader is: one of `STATES`."""

    @property
    def pending(self) -> int: ...
    @property
    def frames_read(self) -> int: ...
    @property
    def fragments_read(self) -> int: ...
    @property
    def bytes_read(self) -> int: ...
    @property
    def biggest_read(self) -> int: ...
