"""The pure twin of `wsfast._mask`: same functions, same answers. See `_mask.pyi`."""

from __future__ import annotations

import codecs
import os
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


from_bytes = int.from_bytes

# What is masked as one number; a larger payload is masked in blocks, to stay in the caches.
BLOCK_SIZE = 4096
# 00000001 00000001 ... in as many steps as the index says: a key is repeated by multiplication with
# it, because bytes turn into a number and back one by one, which is what takes the time here.
STEP = 64
ONES = [
    from_bytes(b"\x00\x00\x00\x01" * (size // 4), "big") for size in range(0, BLOCK_SIZE + 1, STEP)
]


def xor(data: bytes, key: bytes, size: int) -> bytes:
    """The XOR of a payload and the repeated key."""
    if size > BLOCK_SIZE:
        return xor_blocks(data, key, size)
    repeated = from_bytes(key, "big") * ONES[(size + STEP - 1) // STEP]
    if size % STEP:
        repeated >>= (STEP - size % STEP) * 8
    return (from_bytes(data, "big") ^ repeated).to_bytes(size, "big")


def xor_blocks(data: bytes, key: bytes, size: int) -> bytes:
    """The XOR of a large payload and the repeated key."""
    if key == b"\x00\x00\x00\x00":
        return data
    repeated = from_bytes(key, "big") * ONES[-1]
    rest = size % BLOCK_SIZE
    blocks = [
        (from_bytes(data[i : i + BLOCK_SIZE], "big") ^ repeated).to_bytes(BLOCK_SIZE, "big")
        for i in range(0, size - rest, BLOCK_SIZE)
    ]
    if rest:
        blocks.append(xor(data[-rest:], key, rest))
    return b"".join(blocks)


def apply_mask(data: Buffer, key: bytes, phase: int = 0) -> bytes:
    """Mask or unmask a copy of ``data``."""
    key = check_key(key, phase)
    if type(data) is not bytes:
        with memoryview(data).cast("B") as view:
            data = view.tobytes()
    return xor(data, key, len(data))


def apply_mask_in_place(buffer: Buffer, key: bytes, phase: int = 0) -> None:
    """Mask or unmask a writable buffer where it stands."""
    key = check_key(key, phase)
    with memoryview(buffer).cast("B") as view:
        if view.readonly:
            raise BufferError("Object is not writable.")
        view[:] = xor(view.tobytes(), key, len(view))


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
            piece = data if type(data) is bytes else bytes(memoryview(data))
            if self._tail:
                piece = self._tail + piece
            elif piece.isascii():
                return True
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
