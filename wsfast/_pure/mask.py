"""The pure twin of `wsfast._mask`: same functions, same answers. See `_mask.pyi`."""

from __future__ import annotations

import codecs
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = [
    "Utf8Validator",
    "apply_mask",
    "apply_mask_in_place",
    "forget_masking_keys",
    "masking_key",
    "valid_utf8",
]


def check_key(key: bytes, phase: int) -> bytes:
    if not isinstance(key, bytes) or len(key) != 4:
        raise ValueError(f"a masking key is 4 bytes, not {key!r}")
    if phase < 0:
        raise OverflowError("can't convert negative value to uint64_t")
    phase &= 3
    return key[phase:] + key[:phase]


def xor(data: Buffer, key: bytes, size: int) -> bytes:
    """The XOR of the whole payload as one number: plain Python's fastest way."""
    repeated = key * (size // 4) + key[: size % 4]
    order = sys.byteorder
    number = int.from_bytes(data, order) ^ int.from_bytes(repeated, order)
    return number.to_bytes(size, order)


def apply_mask(data: Buffer, key: bytes, phase: int = 0) -> bytes:
    """Mask or unmask a copy of ``data``."""
    key = check_key(key, phase)
    with memoryview(data).cast("B") as view:
        return xor(view, key, len(view))


def apply_mask_in_place(buffer: Buffer, key: bytes, phase: int = 0) -> None:
    """Mask or unmask a writable buffer where it stands."""
    key = check_key(key, phase)
    with memoryview(buffer).cast("B") as view:
        if view.readonly:
            raise BufferError("Object is not writable.")
        view[:] = xor(view, key, len(view))


def valid_utf8(data: Buffer) -> bool:
    """Whether ``data`` is valid UTF-8."""
    try:
        codecs.utf_8_decode(data, "strict", True)
    except UnicodeDecodeError:
        return False
    return True


class Utf8Validator:
    """Validates UTF-8 that comes in pieces, and fails at the first impossible byte."""

    __slots__ = ("_failed", "_tail")

    def __init__(self) -> None:
        self._tail = b""
        self._failed = False

    def feed(self, data: Buffer) -> bool:
        """Take the next piece. False if what came so far cannot begin valid UTF-8."""
        if not self._failed:
            piece = self._tail + bytes(memoryview(data))
            try:
                # Not final: an incomplete character at the end is kept, at most three bytes.
                _, consumed = codecs.utf_8_decode(piece, "strict", False)
            except UnicodeDecodeError:
                self._failed = True
            else:
                self._tail = tail = piece[consumed:]
                # The codec waits for the third byte of a surrogate, which could be let pass.
                self._failed = tail[:1] == b"\xed" and tail[1:] >= b"\xa0"
        return not self._failed

    def finish(self) -> bool:
        """Whether the text was valid and ended between two characters; then start a new text."""
        complete = not self._failed and not self._tail
        self._tail = b""
        self._failed = False
        return complete


# Masking keys are cut from a block of the operating system's randomness: a system call for each
# would cost more than the rest of the frame. A forked child starts with an empty block, or two
# processes would use the same keys.
POOL_SIZE = 4096

pool: list[bytes] = []


def masking_key() -> bytes:
    """A fresh masking key from the operating system's randomness."""
    if not pool:
        block = os.urandom(POOL_SIZE)
        pool.extend(block[i : i + 4] for i in range(0, POOL_SIZE, 4))
    return pool.pop()


def forget_masking_keys() -> None:
    """Drop the randomness read ahead."""
    pool.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=forget_masking_keys)
