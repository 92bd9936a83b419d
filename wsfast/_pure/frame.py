"""The pure twin of `wsfast._frame`. See `_frame.pyi`."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from .mask import check_key, xor

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["encode_frame", "encode_header"]

CONT, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10

FIN = MASKED = 0x80

pack_header = struct.Struct("!BB").pack
pack_header_16 = struct.Struct("!BBH").pack
pack_header_64 = struct.Struct("!BBQ").pack


def encode_header(opcode: int, length: int, fin: bool, rsv: int, masked: bool) -> bytes:
    """A frame's header without its key."""
    first = (FIN if fin else 0) | rsv << 4 | opcode
    mask_bit = MASKED if masked else 0
    if length < 126:
        return pack_header(first, mask_bit | length)
    if length < 65536:
        return pack_header_16(first, mask_bit | 126, length)
    return pack_header_64(first, mask_bit | 127, length)


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
    if not 0 <= opcode <= 15:
        raise ValueError(f"opcode must be 0 to 15, not {opcode}")
    if not 0 <= rsv <= 7:
        raise ValueError(f"rsv must be 0 to 7, not {rsv}")
    payload = data if type(data) is bytes else bytes(memoryview(data))
    size = len(payload)
    if key is None:
        return encode_header(opcode, size, fin, rsv, False) + payload
    check_key(key, 0)
    return encode_header(opcode, size, fin, rsv, True) + key + xor(payload, key, size)
