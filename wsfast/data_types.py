"""The types in which messages are handed out: ``text_type`` and ``binary_type``."""

from __future__ import annotations

from typing import Any

from .frames import Opcode

__all__ = ["BINARY_TYPES", "TEXT_TYPES", "as_type", "check_choice"]

TEXT_TYPES = ("str", "bytes")
BINARY_TYPES = ("bytes", "bytearray", "memoryview", "fragments")


def check_choice(name: str, value: object, choices: tuple[str, ...]) -> str:
    """Refuse what is not one of ``choices``."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a str, not {value!r}")
    if value not in choices:
        listed = ", ".join(map(repr, choices[:-1]))
        raise ValueError(f"{name} must be {listed} or {choices[-1]!r}, not {value!r}")
    return value


def as_type(
    opcode: int,
    parts: list[Any],
    text_type: str,
    binary_type: str,
    decode: bool | None = None,
) -> Any:
    """A message in the type that is wanted.

    Args:
        opcode: of the message.
        parts: its fragments; a str is a whole text.
        text_type, binary_type: what is wanted of the connection.
        decode: what is wanted of this message, whatever it is: True for str, False for bytes.
    """
    text = opcode == Opcode.TEXT
    if decode is None:
        if not text:
            return as_binary_type(parts, binary_type)
        decode = text_type == "str"
    data = parts[0] if len(parts) == 1 else b"".join(parts)
    if isinstance(data, str):
        return data if decode else data.encode()
    if decode:
        # Where text is not valid its validation is turned off.
        return data.decode(errors="replace" if text else "strict")
    return data


def as_binary_type(parts: list[bytes], binary_type: str) -> Any:
    """The fragments of a binary message as they are wanted."""
    if binary_type == "fragments":
        return parts
    if binary_type == "bytearray":
        return bytearray().join(parts)
    data = b"".join(parts)
    return memoryview(data) if binary_type == "memoryview" else data
