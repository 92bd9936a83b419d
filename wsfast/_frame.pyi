"""Writing a frame, compiled. The pure twin is `_pure/frame.py`."""

from typing_extensions import Buffer

def encode_frame(
    opcode: int, data: Buffer, fin: bool = True, rsv: int = 0, key: bytes | None = None
) -> bytes:
    """The bytes of a frame (RFC 6455 section 5.2).

    Args:
        opcode: 0 to 15.
        data: the payload.
        fin: whether this is the message's last frame.
        rsv: the three reserved bits as a number; RSV1 is 4.
        key: the masking key, which clients must use and servers must not.
    """
