"""The payload of a close frame (RFC 6455 section 5.5.1)."""

from __future__ import annotations

from .exceptions import wire_error
from .frames import Close, is_close_code

__all__ = ["MAX_REASON", "parse_close", "shorten"]

MAX_REASON = 123
"""Bytes that a control frame has for the reason, besides the code."""


def parse_close(payload: bytes, skip_utf8_validation: bool = False) -> Close:
    """Check and split the payload of a close frame.

    Raises:
        ProtocolError: the code may not stand there, or the reason is not UTF-8.
    """
    if not payload:
        return Close(1005, "")
    code = int.from_bytes(payload[:2], "big")
    if not is_close_code(code):
        raise wire_error("WS_ERR_INVALID_CLOSE_CODE", code)
    try:
        return Close(
            code, payload[2:].decode(errors="replace" if skip_utf8_validation else "strict")
        )
    except UnicodeDecodeError:
        raise wire_error("WS_ERR_INVALID_UTF8") from None


def shorten(reason: str) -> str:
    """As much of a reason as fits, in characters that can be sent."""
    return reason.encode(errors="replace")[:MAX_REASON].decode(errors="ignore")
