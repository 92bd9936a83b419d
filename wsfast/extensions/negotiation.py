"""Extensions in the opening handshake: what both sides have to choose from, and what they agree."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

from ..exceptions import InvalidHandshake, UnexpectedExtension
from .container import Extensions
from .deflate import PerMessageDeflate
from .header import parse_extensions

if TYPE_CHECKING:
    from ..protocol.headers import Headers
    from ..typing import Compression
    from .interface import Extension

__all__ = ["accept_extensions", "activate_extensions", "close_reason", "select_extensions"]


@cache
def default_deflate() -> PerMessageDeflate:
    """What ``compression=True`` means."""
    return PerMessageDeflate()


def select_extensions(
    extensions: Iterable[Extension] | None, compression: Compression, max_size: int | None
) -> tuple[Extension, ...]:
    """Check the options, and put them together.

    The extensions that are given come first, so that they have the reserved bits that they want.
    One of them that is named "permessage-deflate" takes the place of ``compression``.

    Args:
        extensions: those given, in their order.
        compression: True or "deflate", None or False, or a `PerMessageDeflate`.
        max_size: of a message.

    Raises:
        TypeError, ValueError: one of them is not valid. The text names it.
    """
    if isinstance(compression, PerMessageDeflate):
        deflate = [compression]
    elif compression is True or compression == "deflate":
        deflate = [default_deflate()]
    elif compression is None or compression is False:
        deflate = []
    elif compression is PerMessageDeflate:
        raise TypeError("compression must be PerMessageDeflate(), not the class")
    elif isinstance(compression, str):
        raise ValueError(f'compression must be "deflate", not {compression!r}')
    else:
        raise TypeError(
            f'compression must be a bool, None, "deflate" or PerMessageDeflate, not {compression!r}'
        )
    if extensions is None:
        return tuple(deflate)
    if isinstance(extensions, (str, bytes)) or not isinstance(extensions, Iterable):
        raise TypeError(f"extensions must be a list, not {extensions!r}")
    given: list[Any] = list(extensions)
    if not any(getattr(extension, "name", None) == PerMessageDeflate.name for extension in given):
        given += deflate
    Extensions(given)
    return tuple(
        # Beside others it works on its own, and has to know.
        extension.within(max_size) if isinstance(extension, PerMessageDeflate) else extension
        for extension in given
    )


@lru_cache(maxsize=64)
def check_header(header: str) -> None:
    """Check the grammar of what a client offers. Most offer the same as others."""
    parse_extensions(header, strict=True)


def accept_extensions(headers: Headers, extensions: Sequence[Extension]) -> Extensions | None:
    """Answer what a client offers.

    Args:
        headers: those of the request.
        extensions: those that the server has.

    Returns:
        What was agreed; None if that is nothing.

    Raises:
        InvalidHeaderFormat: 400; also if the server has none.
    """
    values = headers.get_all("Sec-WebSocket-Extensions")
    if not values:
        return None
    header = values[0] if len(values) == 1 else ", ".join(values)
    if not extensions:
        check_header(header)
        return None
    container = Extensions(extensions, strict=True)
    return None if container.generate_response(header) is None else container


def activate_extensions(headers: Headers, offered: Extensions) -> None:
    """Take what a server answers.

    Args:
        headers: those of the response.
        offered: what was offered.

    Raises:
        InvalidHandshake: it was not offered, or not so. The server believes that the connection is
            open, and must get the close code 1010 (RFC 6455 section 7.4.1).
    """
    values = headers.get_all("Sec-WebSocket-Extensions")
    if values and not offered.is_offering:
        raise UnexpectedExtension(
            "Server sent a Sec-WebSocket-Extensions header but no extension was requested"
        )
    offered.activate(", ".join(values) if values else None)


def close_reason(error: InvalidHandshake) -> str:
    """What to tell such a server: as much of the error as fits into a close frame."""
    return str(error).encode()[:123].decode(errors="ignore")
