"""The limits and timeouts of a connection, validated once and shared by all of a server's."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import partial
from typing import Any

from .codec import Codec, check_codec
from .data_types import BINARY_TYPES, TEXT_TYPES, check_choice

__all__ = [
    "Options",
    "check_class",
    "check_flag",
    "check_function",
    "check_int",
    "check_logger",
    "check_socket",
    "check_str",
    "check_time",
    "check_timeout",
]

UNLIMITED = 2**63 - 1
# 68 years. What is much more cannot be added to a time.
FOREVER = 2**31


def check_flag(name: str, value: object) -> None:
    """Refuse what is only true or false."""
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be a bool, not {value!r}")


def check_int(name: str, value: object, low: int, high: int = UNLIMITED) -> None:
    """Refuse what is not an int from ``low`` to ``high``."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be an int, not {value!r}")
    if not low <= value <= high:
        limits = f"at least {low}" if high == UNLIMITED else f"from {low} to {high}"
        raise ValueError(f"{name} must be {limits}, not {value!r}")


def check_str(name: str, value: object) -> None:
    """Refuse what is not a str, or is empty."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a str, not {value!r}")
    if not value:
        raise ValueError(f"{name} must not be empty")


def check_class(name: str, value: object, base: type) -> None:
    """Refuse what is not a subclass of ``base``."""
    if not isinstance(value, type) or not issubclass(value, base):
        raise TypeError(f"{name} must be a subclass of {base.__name__}, not {value!r}")


def check_function(name: str, value: object) -> None:
    """Refuse what cannot be called."""
    if value is not None and not callable(value):
        raise TypeError(f"{name} must be a function or None, not {value!r}")


def check_socket(name: str, value: object) -> None:
    """Refuse what is not a socket."""
    if value is not None and not isinstance(value, socket.socket):
        raise TypeError(f"{name} must be a socket or None, not {value!r}")


def check_logger(value: object) -> None:
    """Refuse what has not the methods of a logger that are called."""
    for method in ("debug", "info", "warning", "error", "isEnabledFor"):
        if not callable(getattr(value, method, None)):
            raise TypeError(f"logger must be like a logging.Logger, not {value!r}")


def check_size(name: str, value: object, minimum: int) -> None:
    """Refuse what is not an int of at least ``minimum``, or None, in words that name the option."""
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be an int or None, not {value!r}")
    if not minimum <= value <= UNLIMITED:
        raise ValueError(f"{name} must be at least {minimum} (None for no limit), not {value!r}")


def check_time(name: str, value: object) -> None:
    """Refuse what is no length of time."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} must be a number of seconds, not {value!r}")
    if not 0 < value <= FOREVER:
        raise ValueError(f"{name} must be positive, not {value!r}")


def check_timeout(name: str, value: object) -> None:
    """Refuse what is not a positive number of seconds, or None, in words that name the option."""
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} must be a number of seconds or None, not {value!r}")
    if not 0 < value <= FOREVER:
        raise ValueError(f"{name} must be positive (None for no timeout), not {value!r}")


# Of the options that are neither sizes nor times.
CHECKS: dict[str, Callable[[str, Any], object]] = {
    "codec": lambda name, value: check_codec(value),
    "auto_pong": check_flag,
    "skip_utf8_validation": check_flag,
    "binary_type": partial(check_choice, choices=BINARY_TYPES),
    "text_type": partial(check_choice, choices=TEXT_TYPES),
}


@dataclass(frozen=True, slots=True)
class Options:
    """What `serve`, `connect` and the sans-I/O classes have in common.

    Sizes are bytes, times are seconds, None means no limit.

    Args:
        max_size: of an incoming message.
        max_frame_size: of an incoming frame.
        max_fragments: of an incoming message; empty fragments count.
        fragment_size: outgoing messages above it are split into frames of this size.
        max_queue: messages that wait for ``recv()`` before reading pauses.
        write_limit: bytes that wait to be written before ``await send()`` waits, until a quarter.
        max_write_buffer: bytes that wait to be written before the connection is failed.
        open_timeout: for the whole opening handshake.
        close_timeout: for the closing handshake and the end of the TCP connection.
        ping_interval: between the pings that keep the connection alive.
        ping_timeout: for the pong, and for progress of a blocked write.
        idle_timeout: without a byte from the peer.
        write_timeout: without progress of a blocked write.
        codec: encodes what is sent and decodes what is received, as `HeaderJSON` does.
        auto_pong: answer pings. Otherwise a "ping" listener may, with ``ws.pong(data)``.
        skip_utf8_validation: take text messages and close reasons that are not UTF-8, with U+FFFD
            for what is wrong; with ``text_type="bytes"`` they are handed out as they came.
        binary_type: what binary messages are handed out as: "bytes", "bytearray", "memoryview", or
            "fragments" for a list of bytes, one for each frame.
        text_type: what text messages are handed out as: "str" or "bytes".

    Raises:
        TypeError, ValueError: an option is not valid. The text names it.
    """

    max_size: int | None = 2**20
    max_frame_size: int | None = None
    max_fragments: int | None = 131072
    fragment_size: int | None = None
    max_queue: int | None = 16
    write_limit: int = 2**16
    max_write_buffer: int | None = 2**24
    open_timeout: float | None = 10
    close_timeout: float | None = 10
    ping_interval: float | None = 20
    ping_timeout: float | None = 20
    idle_timeout: float | None = None
    write_timeout: float | None = None
    codec: Codec | None = None
    auto_pong: bool = True
    skip_utf8_validation: bool = False
    binary_type: str = "bytes"
    text_type: str = "str"

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name in CHECKS:
                CHECKS[field.name](field.name, value)
            elif field.name.endswith(("_timeout", "_interval")):
                check_timeout(field.name, value)
            else:
                check_size(field.name, value, minimum=1)
        if self.write_limit is None:
            raise TypeError("write_limit must be an int, not None")
        if self.max_write_buffer is not None and self.max_write_buffer < self.write_limit:
            raise ValueError(
                f"max_write_buffer must be at least write_limit ({self.write_limit}), "
                f"not {self.max_write_buffer}"
            )

        if self.codec is not None:
            for name, value in (("text_type", "str"), ("binary_type", "bytes")):
                if getattr(self, name) != value:
                    raise ValueError(f"{name} is of no use with codec, which gets str and bytes")

    @classmethod
    def take(cls, options: dict[str, Any]) -> Options:
        """Build the options from keyword arguments, which are removed from ``options``."""
        names = [field.name for field in fields(cls) if field.name in options]
        return cls(**{name: options.pop(name) for name in names})

    @property
    def sweep_interval(self) -> float:
        """How often deadlines are looked at: a tenth of the shortest, between 5 ms and 1 s."""
        timeouts = [
            getattr(self, field.name)
            for field in fields(self)
            if field.name.endswith(("_timeout", "_interval"))
        ]
        shortest = min((timeout for timeout in timeouts if timeout is not None), default=10)
        return min(max(shortest / 10, 0.005), 1.0)
