"""The epoll driver, where there is one."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from ._backend import BACKEND

if TYPE_CHECKING:
    import asyncio
    import socket
    import ssl
    from collections.abc import Callable

    from .sessions import Resumption

    _engine: Any
    _listener: Any
    _tls: Any
elif BACKEND == "compiled" and sys.platform == "linux":
    from . import _engine, _listener, _tls
else:
    _engine = None

__all__ = ["adopt", "choose", "listen"]

DRIVERS = ("epoll", "asyncio")

# What None means; the tests run on either.
default: str | None = None


def choose(driver: str | None) -> bool:
    """Whether to use the epoll driver, from the option ``driver``.

    Raises:
        ValueError: there is no such driver, or not here.
    """
    if driver is None:
        driver = default
    if driver is None:
        return _engine is not None
    if driver not in DRIVERS:
        raise ValueError(f"driver must be one of {', '.join(DRIVERS)} or None, not {driver!r}")
    if driver == "epoll" and _engine is None:
        raise ValueError("the epoll driver needs Linux and the compiled backend")
    return driver == "epoll"


def listen(
    loop: asyncio.AbstractEventLoop,
    sock: socket.socket,
    make_target: Callable[[], Any],
    failed: Callable[[OSError], None],
    write_limit: int,
    context: ssl.SSLContext | None,
) -> Any:
    """Accept the connections of a listening socket, which the result owns until its `close`."""
    tls = None if context is None else _tls.maker(context, True)
    return _listener.listen(loop, sock, make_target, failed, write_limit, tls)


def adopt(
    loop: asyncio.AbstractEventLoop,
    sock: socket.socket,
    target: Any,
    write_limit: int,
    context: ssl.SSLContext | None,
    server_hostname: str | None,
    resumption: Resumption | None,
) -> Any:
    """Drive a connected socket, which the engine owns from now on."""
    tls = None if context is None else _tls.maker(context, False, server_hostname, resumption)
    return _engine.adopt(loop, sock, target, write_limit, tls)
