"""TLS over the epoll driver, compiled; Linux only."""

import ssl
from collections.abc import Callable
from typing import Any

from ._engine import Engine, SocketDriver
from .sessions import Resumption

class TlsDriver(SocketDriver):
    """Drives one connection over one socket with TLS.

    Args:
        make_tls: makes the ``ssl.SSLObject`` from two ``ssl.MemoryBIO``.
        keep_session: called with it when the first data came.
    """

    def __init__(
        self,
        engine: Engine,
        fd: int,
        target: Any,
        write_limit: int,
        make_tls: Callable[[ssl.MemoryBIO, ssl.MemoryBIO], ssl.SSLObject],
        keep_session: Callable[[ssl.SSLObject], None] | None,
        peer: bytes | None = None,
    ) -> None: ...

def next_handshakes(engine: Engine) -> None:
    """Serve handshakes that had to wait for their turn."""

def maker(
    context: ssl.SSLContext,
    server_side: bool,
    server_hostname: str | None = None,
    resumption: Resumption | None = None,
) -> Callable[..., TlsDriver]:
    """What makes the drivers of TLS connections, for `wsfast._engine.listen` and `adopt`."""
