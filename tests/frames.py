"""Frames in plain Python, slow and obvious: what the tests take for the truth."""

from __future__ import annotations

import re
from typing import NamedTuple

CONT, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10

ZERO = b"\0\0\0\0"
KEY = b"\x37\xfa\x21\x3d"


def xor(data, key, phase=0):
    """RFC 6455 section 5.3, byte by byte."""
    return bytes(octet ^ key[(phase + i) % 4] for i, octet in enumerate(data))


def frame(opcode, payload=b"", *, fin=True, rsv=0, key=None, length=None, width=None):
    """The bytes of a frame, right or wrong.

    Args:
        payload: str or bytes, not masked.
        key: the masking key; None for an unmasked frame.
        length: what the header announces, if it is not the truth.
        width: 7, 16 or 64: how the length is written, if it is not the shortest form.
    """
    if isinstance(payload, str):
        payload = payload.encode()
    if length is None:
        length = len(payload)
    if width is None:
        width = 7 if length < 126 else 16 if length < 65536 else 64
    mask_bit = 0 if key is None else 0x80
    out = bytearray([fin << 7 | rsv << 4 | opcode])
    if width == 7:
        out.append(mask_bit | length)
    else:
        out.append(mask_bit | (126 if width == 16 else 127))
        out += length.to_bytes(width // 8, "big")
    if key is None:
        return bytes(out + payload)
    return bytes(out + key + xor(payload, key))


def close(code=None, reason="", **options):
    """The bytes of a close frame."""
    if isinstance(reason, str):
        reason = reason.encode()
    payload = b"" if code is None else code.to_bytes(2, "big") + reason
    return frame(CLOSE, payload, **options)


def wire(text):
    """Bytes as they are written in a table: hex, "text" in quotes, M for the masking key of zeros.

    ``wire('81 85 M "Hello"')``
    """
    out = b""
    for quoted, digits, key in re.findall(r'"([^"]*)"|([0-9a-f]+)|(M)', text):
        out += quoted.encode() + bytes.fromhex(digits) + (ZERO if key else b"")
    return out


class Frame(NamedTuple):
    """A frame that was read back."""

    opcode: int
    payload: bytes
    fin: bool = True
    rsv: int = 0
    key: bytes | None = None


def read_frames(data):
    """All frames in ``data``, which must end with the last of them."""
    frames = []
    position = 0

    def take(size):
        nonlocal position
        assert position + size <= len(data), "the last frame is incomplete"
        position += size
        return data[position - size : position]

    while position < len(data):
        first, second = take(2)
        length = second & 0x7F
        if length == 126:
            length = int.from_bytes(take(2), "big")
        elif length == 127:
            length = int.from_bytes(take(8), "big")
        key = take(4) if second & 0x80 else None
        payload = take(length)
        if key is not None:
            payload = xor(payload, key)
        frames.append(Frame(first & 15, payload, bool(first & 0x80), first >> 4 & 7, key))
    return frames


def pieces(data, size):
    """``data`` in pieces of ``size`` bytes."""
    return [data[start : start + size] for start in range(0, len(data), size)]
