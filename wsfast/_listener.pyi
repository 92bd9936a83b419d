"""Accepts connections for the epoll driver, compiled; Linux only."""

from asyncio import AbstractEventLoop
from collections.abc import Callable
from socket import socket
from typing import Any

from ._engine import Engine

class Listener:
    """Accepts the connections of one listening socket, which it owns."""

    @property
    def sock(self) -> socket: ...
    def __init__(
        self,
        engine: Engine,
        sock: socket,
        make_target: Callable[[], Any],
        failed: Callable[[OSError], None],
        write_limit: int,
        tls: Any,
    ) -> None: ...
    def _accept(self) -> None: ...
    def _back_off(self, number: int) -> None: ...
    def _try_again(self) -> None: ...
    def close(self) -> None:
        """Stop accepting, and close the socket."""

def listen(
    loop: AbstractEventLoop,
    sock: socket,
    make_target: Callable[[], Any],
    failed: Callable[[OSError], None],
    write_limit: int,
    tls: Any = None,
) -> Listener:
    """Accept the connections of a listening socket.

    Args:
        make_target: makes what a connection's driver reports to.
        failed: called when the system has no file descriptors; it is tried again after a second.
        tls: from `wsfast._tls.maker`.
    """
