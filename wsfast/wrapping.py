"""WebSocket frames over any connection: two events, two methods, and no HTTP."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

from . import engine
from .connection import WebSocket
from .handover import Where, early_data, take_over
from .options import Options, check_flag
from .sweep import Clients

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Buffer

    from .typing import DataLike

__all__ = ["Wrapped", "wrap"]

F = TypeVar("F", bound="Callable[..., Any]")

EVENTS = ("message", "close")


class Wrapped:
    """A connection as `wrap` returns it.

    It lives as long as its connection does, also if nobody keeps it.

    Attributes:
        websocket: the whole `WebSocket`, for what this does not have.
    """

    __slots__ = ("__weakref__", "websocket")

    def __init__(self, websocket: WebSocket) -> None:
        self.websocket = websocket

    def on(self, event: str, listener: F | None = None) -> Any:
        """Call ``listener`` at every ``event``; without a listener, a decorator that does so.

        Args:
            event: "message", which gets a str or bytes and whether it is binary, or "close", which
                gets the code and the reason.
            listener: a function.

        Raises:
            ValueError: there is no such event.
            TypeError: the listener is no function, or is a coroutine function.
        """
        if event not in EVENTS:
            names = ", ".join(EVENTS)
            raise ValueError(f"there is no event {event!r}; the events are {names}")
        return self.websocket.on(event, listener)

    def send(self, data: DataLike) -> Any:
        """Send a message: a str as text, anything bytes-like as binary.

        Await the result to wait while the peer is slow, or ignore it.
        """
        return self.websocket.send(data)

    def close(self, code: int = 1000, reason: str = "") -> Any:
        """Begin the closing handshake. Awaiting the result waits for the connection's end."""
        return self.websocket.close(code, reason)


def wrap(
    where: Where,
    *,
    client: bool = False,
    head: Buffer = b"",
    driver: str | None = None,
    **options: Any,
) -> Wrapped:
    """Speak WebSocket over a connection whose upgrade was done by hand.

    The connection belongs to the result from the call on. See `accept_key` and `upgrade_response`
    for the upgrade.

    Args:
        where: a connected socket, an asyncio transport, or a pair of `asyncio.StreamReader` and
            `asyncio.StreamWriter`.
        client: whether this is the client's end, whose frames are masked.
        head: what was read behind the upgrade.
        driver: "epoll" or "asyncio", for a socket; by default "epoll" where it is to be had.
        options: the limits and timeouts, see `Options`.

    Raises:
        RuntimeError: the connection was handed over before.
        ConnectionError: it is closed.
        TypeError, ValueError: an argument is not valid.
    """
    epoll = engine.choose(driver)
    check_flag("client", client)
    limits = Options.take(options)
    if options:
        raise TypeError(f"there is no option {next(iter(options))!r}")
    head = memoryview(head).tobytes()
    loop = asyncio.get_running_loop()
    early = early_data(where)
    if early is None:
        raise ConnectionAbortedError("the connection is closed already")
    link = take_over(loop, where, Unopened(), limits.write_limit, epoll)
    # They keep it, too.
    clients = Clients.of(loop, limits.sweep_interval)
    websocket = WebSocket(
        None,
        options=limits,
        driver=link,
        loop=loop,
        client=client,
        request=b"",
        release=clients.discard,
    )
    link.target = websocket
    websocket.opened()
    clients.add(websocket)
    if head + early:
        websocket.receive_soon(head + early)
    return Wrapped(websocket)


class Unopened:
    """A driver's target until there is the connection, that is during one call."""

    __slots__ = ()

    def connected(self, driver: Any) -> None:
        pass

    def writable(self) -> None:
        pass
