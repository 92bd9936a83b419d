"""The vocabulary of RFC 6455: opcodes, close codes, close frames and connection states."""

from __future__ import annotations

import enum
from typing import NamedTuple

__all__ = [
    "RSV1",
    "Close",
    "CloseCode",
    "Opcode",
    "State",
    "check_close",
    "is_close_code",
    "visible",
]

RSV1 = 4
"""The reserved bit that permessage-deflate has for itself (RFC 7692 section 6)."""


class Opcode(enum.IntEnum):
    """What a frame carries (RFC 6455 section 5.2)."""

    CONT = 0
    TEXT = 1
    BINARY = 2
    CLOSE = 8
    PING = 9
    PONG = 10


class State(enum.IntEnum):
    """Where a connection is in its life. The numbers are those of the browsers' ``readyState``."""

    CONNECTING = 0
    OPEN = 1
    CLOSING = 2
    CLOSED = 3


class CloseCode(enum.IntEnum):
    """The close codes with a registered meaning (RFC 6455 section 7.4.1 and the IANA registry)."""

    NORMAL_CLOSURE = 1000
    GOING_AWAY = 1001
    PROTOCOL_ERROR = 1002
    UNSUPPORTED_DATA = 1003
    NO_STATUS_RCVD = 1005
    ABNORMAL_CLOSURE = 1006
    INVALID_DATA = 1007
    POLICY_VIOLATION = 1008
    MESSAGE_TOO_BIG = 1009
    MANDATORY_EXTENSION = 1010
    INTERNAL_ERROR = 1011
    SERVICE_RESTART = 1012
    TRY_AGAIN_LATER = 1013
    BAD_GATEWAY = 1014
    TLS_HANDSHAKE = 1015


CLOSE_CODE_NAMES = {
    1000: "OK",
    1001: "going away",
    1002: "protocol error",
    1003: "unsupported data",
    1005: "no status received [internal]",
    1006: "abnormal closure [internal]",
    1007: "invalid frame payload data",
    1008: "policy violation",
    1009: "message too big",
    1010: "mandatory extension",
    1011: "internal error",
    1012: "service restart",
    1013: "try again later",
    1014: "bad gateway",
    1015: "TLS failure [internal]",
}


def is_close_code(code: int) -> bool:
    """Whether ``code`` may stand in a close frame, in either direction.

    1004, 1005, 1006 and 1015 are reserved and never travel; 3000-3999 are registered by
    libraries and 4000-4999 are private (RFC 6455 section 7.4).
    """
    return (1000 <= code <= 1014 and code not in (1004, 1005, 1006)) or 3000 <= code <= 4999


def visible(text: str) -> str:
    """What a peer sent, with control characters escaped, for a log or a terminal."""
    return "".join([c if c.isprintable() else ascii(c)[1:-1] for c in text])


class Close(NamedTuple):
    """The code and the reason of a close frame. A frame without a code reads as 1005."""

    code: int
    reason: str

    def __str__(self) -> str:
        if 3000 <= self.code < 4000:
            name = "registered"
        elif 4000 <= self.code < 5000:
            name = "private use"
        else:
            name = CLOSE_CODE_NAMES.get(self.code, "unknown")
        text = f"{self.code} ({name})"
        return f"{text} {visible(self.reason)}" if self.reason else text


def check_close(code: object, reason: object) -> Close:
    """What an application asks to send in a close frame, if it may stand there.

    Raises:
        TypeError, ValueError: it may not (RFC 6455 section 7.4).
    """
    if not isinstance(reason, str):
        raise TypeError(f"reason must be a str, not {type(reason).__name__}")
    if code is None:
        if reason:
            raise ValueError("a close reason needs a code")
        return Close(1005, "")
    if isinstance(code, bool) or not isinstance(code, int):
        raise TypeError(f"code must be an int or None, not {type(code).__name__}")
    if not is_close_code(code):
        raise ValueError(
            f"code must be 1000 to 1014 but not 1004 to 1006, or 3000 to 4999, not {code}"
        )
    if len(reason.encode()) > 123:
        raise ValueError("reason must be at most 123 bytes of UTF-8")
    return Close(int(code), reason)
