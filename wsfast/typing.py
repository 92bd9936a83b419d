"""The types that the public API speaks of. The names are those of ``websockets.typing``."""

from __future__ import annotations

import http
import logging
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal, NewType, TypeAlias

if TYPE_CHECKING:
    from .extensions import PerMessageDeflate

__all__ = [
    "BytesLike",
    "Data",
    "DataLike",
    "ExtensionName",
    "ExtensionParameter",
    "HeadersLike",
    "LoggerLike",
    "Origin",
    "StatusLike",
    "Subprotocol",
]

Data: TypeAlias = str | bytes
"""A message as it is received: text is ``str``, binary is ``bytes``."""

BytesLike: TypeAlias = bytes | bytearray | memoryview
"""Bytes as they may be passed in."""

Compression: TypeAlias = "bool | Literal['deflate'] | PerMessageDeflate | None"
"""What ``compression`` may be: True or "deflate" with the defaults, None or False for none."""

DataLike: TypeAlias = str | bytes | bytearray | memoryview
"""A message as it may be sent."""

HeadersLike: TypeAlias = Mapping[str, str] | Iterable[tuple[str, str]]
"""Headers as they may be passed in: a ``Headers``, a mapping, or pairs of name and value."""

LoggerLike: TypeAlias = logging.Logger | logging.LoggerAdapter[Any]
"""A logger, or an adapter around one."""

StatusLike: TypeAlias = http.HTTPStatus | int
"""An HTTP status code."""

Origin = NewType("Origin", str)
"""The value of an Origin header."""

Subprotocol = NewType("Subprotocol", str)
"""The name of a subprotocol in a Sec-WebSocket-Protocol header."""

ExtensionName = NewType("ExtensionName", str)
"""The name of an extension in a Sec-WebSocket-Extensions header."""

ExtensionParameter: TypeAlias = tuple[str, str | None]
"""The name and value of an extension's parameter; the value is None when there is none."""
