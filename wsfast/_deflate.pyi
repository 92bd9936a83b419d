"""The contexts of permessage-deflate, compiled. The pure twin is `_pure/deflate.py`."""

from typing import final

from typing_extensions import Buffer

from .extensions.deflate import DeflateParameters

@final
class Deflate:
    """What one connection's messages refer to, in both directions (RFC 7692 section 7.2).

    It takes no memory before the first message, nor, in a direction without context takeover,
    between messages.

    Args:
        parameters: what was agreed.
    """

    parameters: DeflateParameters

    def __init__(self, parameters: DeflateParameters) -> None: ...
    def compress(self, data: Buffer, fin: bool = True) -> bytes:
        """Compress a message, or a fragment of one.

        Args:
            data: the message.
            fin: whether it is the end of the message.
        """

    def decompress(self, data: Buffer, limit: int, fin: bool = True) -> bytes:
        """Decompress a message, or a fragment of one.

        Args:
            data: what came.
            limit: the largest message, in bytes; of all fragments together.
            fin: whether it is the end of the message.

        Raises:
            PayloadTooBig: it is larger than ``limit``.
            ProtocolError: it is not deflate data; the close code is 1007.
        """

    def forget(self) -> None:
        """Let the next message that is sent refer to nothing before it."""

    def rest(self, now: float) -> float:
        """Free the compressor if nothing was sent for 30 seconds; returns when to call again."""

    def close(self) -> None:
        """Free everything."""

def compress_alone(parameters: DeflateParameters, data: Buffer) -> bytes:
    """Compress a message that refers to nothing before it; any number of peers can be sent it."""
