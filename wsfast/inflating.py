"""Decompressing messages of permessage-deflate, with all that a peer may do.

A message may come in fragments, have blocks that say they are the last with others behind them
(RFC 7692 section 7.2.3.4), or inflate to more than anybody wants. The contexts of a connection
come here when it is not simply a whole message, see `_deflate.pyx`.
"""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Any

from .exceptions import PayloadTooBig, wire_error

if TYPE_CHECKING:
    from .extensions.deflate import DeflateParameters

__all__ = ["TAIL", "Inflater", "new_context"]

TAIL = b"\x00\x00\xff\xff"
"""What a flush ends with and the wire leaves out (RFC 7692 section 7.2.1)."""

# zlib copies what it did not use of its input. Where that may happen many times in a message the
# input goes in pieces, or the copies would take time that grows with the square of its size.
PIECE = 4096
# How often a message may begin a new stream, which takes a peer two bytes and us a new context.
MAX_STREAMS = 1024

next_block = re.compile(rb"[^\0]").search


def new_context(parameters: DeflateParameters, dictionary: bytes | None) -> Any:
    """A decompressor for what the peer sends."""
    if not dictionary:
        return parameters.zlib.decompressobj(-parameters.peer_window_bits)
    return parameters.zlib.decompressobj(-parameters.peer_window_bits, dictionary)


class Inflater:
    """The context of what a peer sends.

    Args:
        parameters: what was agreed.
        context: the zlib object that read the messages before, if there is one.
    """

    __slots__ = (
        "_context",
        "_ended",
        "_inflated",
        "_inside",
        "_parameters",
        "_recent",
        "_streams",
        "_zeros",
    )

    def __init__(self, parameters: DeflateParameters, context: Any = None) -> None:
        self._parameters = parameters
        self._context = context
        self._begin_message()

    def _begin_message(self) -> None:
        self._inside = False
        self._inflated = 0
        # Whether the last thing read was a final block, how many zero bytes came after it, and how
        # many streams of this message have ended.
        self._ended = False
        self._zeros = self._streams = 0
        # The end of what the message inflated to so far, as much as its blocks can refer to.
        self._recent = bytearray()

    def inflate(self, data: bytes, limit: int, fin: bool) -> bytes:
        """Inflate a message or a fragment; the last has its tail again.

        Raises:
            PayloadTooBig: the message is larger than ``limit``; a byte more of it was inflated.
            ProtocolError: it is not deflate data; the close code is 1007.

        Either is final: nothing more of this peer can be read.
        """
        if not self._inside and len(data) == (4 if fin else 0):
            return b""  # there is not even a block
        self._inside = True
        if self._context is None:
            self._context = new_context(self._parameters, self._parameters.peer_dictionary)
        parts: list[bytes] = []
        try:
            self._inflate_pieces(parts, data, limit, fin)
        except BaseException as error:
            parts.clear()  # the error, which is kept, would keep them
            self._context = None
            self._begin_message()
            if isinstance(error, self._parameters.zlib.error):
                raise wire_error("WS_ERR_INVALID_COMPRESSED_DATA") from error
            raise
        if fin:
            self._begin_message()
            if not self._parameters.peer_takeover:
                self._context = None
        return b"".join(parts)

    def inflate_rest(self, output: bytes, limit: int) -> bytes:
        """The whole of a message that goes on behind a final block, at which its context is.

        Args:
            output: what it inflated to before.
            limit: for the whole message.
        """
        self._inflated = len(output)
        rest = self._context.unused_data
        self._inside = True
        self._end_stream(output)
        return output + self.inflate(rest, limit, True)

    def _inflate_pieces(self, parts: list[bytes], data: bytes, limit: int, fin: bool) -> None:
        self._inside = True
        step = self._parameters.inflate_chunk_size or sys.maxsize
        # One more than allowed, which tells too much from just enough.
        room = min(limit, sys.maxsize - 1) + 1 - self._inflated
        remembered = start = 0
        size = len(data)
        more = False
        while start < size or more:
            if self._ended:
                block = next_block(data, start)
                if block is None or (fin and block.start() == size - 2):
                    # Zero bytes, and the tail: nothing follows. Peers that end each message with
                    # a final block leave the empty block after it out, or do not.
                    self._zeros += size - start
                    break
                self._ended = False
                # They begin a stored block, where more than four are as wrong as four.
                self._context.decompress(bytes(min(self._zeros, 4)))
            context = self._context
            end = min(start + PIECE, size)
            asked = min(step, room)
            parts.append(context.decompress(data[start:end], asked))
            inflated = len(parts[-1])
            room -= inflated
            self._inflated += inflated
            if not room:
                raise PayloadTooBig(self._inflated, limit, "Message")
            if context.eof:
                start = end - len(context.unused_data)
                self._end_stream(b"".join(parts[remembered:]))
                remembered = len(parts)
                more = False
            else:
                start = end - len(context.unconsumed_tail)
                more = inflated == asked
        if not fin:
            self._remember(b"".join(parts[remembered:]))

    def _end_stream(self, output: bytes) -> None:
        """Begin the stream after a final block (RFC 7692 section 7.2.3.4).

        Its blocks may refer to what the message inflated to so far; ``output`` is the last of it.
        """
        self._streams += 1
        if self._streams > MAX_STREAMS:
            raise wire_error("WS_ERR_INVALID_COMPRESSED_DATA")
        self._ended = True
        self._zeros = 0
        self._remember(output)
        window = 1 << self._parameters.peer_window_bits
        dictionary = bytes(self._recent[-window:]) or self._parameters.peer_dictionary
        self._context = new_context(self._parameters, dictionary)

    def _remember(self, output: bytes) -> None:
        window = 1 << self._parameters.peer_window_bits
        self._recent += output
        if len(self._recent) > 2 * window:  # not each time: fragments may be small
            del self._recent[:-window]
