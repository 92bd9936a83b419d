"""XOR masking, UTF-8 validation and masking keys, compiled. The pure twin is `_pure/mask.py`."""

from typing_extensions import Buffer

def apply_mask(data: Buffer, key: bytes, phase: int = 0) -> bytes:
    """Mask or unmask a copy of ``data`` (RFC 6455 section 5.3).

    Args:
        data: any contiguous buffer; it is not changed.
        key: the 4 bytes of the masking key.
        phase: the position of ``data`` in its frame's payload.
    """

def apply_mask_in_place(buffer: Buffer, key: bytes, phase: int = 0) -> None:
    """Mask or unmask a writable buffer where it stands. See `apply_mask`."""

def valid_utf8(data: Buffer) -> bool:
    """Whether ``data`` is valid UTF-8: no overlong form, no surrogate, nothing above U+10FFFF."""

class Utf8Validator:
    """Validates UTF-8 that comes in pieces, and fails at the first impossible byte."""

    def feed(self, data: Buffer) -> bool:
        """Take the next piece. False if what came so far cannot begin valid UTF-8."""

    def finish(self) -> bool:
        """Whether the text was valid and ended between two characters; then start a new text."""

def masking_key() -> bytes:
    """A fresh masking key from the operating system's randomness."""

def forget_masking_keys() -> None:
    """Drop the randomness read ahead. A forked child does it by itself."""
