"""The opening handshake on a connection that another server accepted and read the request of."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from .accepting import ServerHandshake
from .exceptions import InvalidHandshake, InvalidMessage
from .handover import Where, early_data, take_over
from .protocol.headers import Headers
from .protocol.http import Request, Response, parse_request

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from .connection import WebSocket
    from .server import WebSocketServer

__all__ = ["Where", "handle_upgrade"]


def handle_upgrade(
    server: WebSocketServer, request: Request | Buffer, where: Where, head: Buffer
) -> asyncio.Future[WebSocket | None]:
    """See `WebSocketServer.handle_upgrade`."""
    if not isinstance(request, Request):
        request = as_bytes("request", request, "a wsfast.Request or bytes-like")
    elif not isinstance(request.headers, Headers):
        raise TypeError(f"the request's headers must be a Headers, not {request.headers!r}")
    head = as_bytes("head", head)
    early = early_data(where)
    if server._closing is None:
        server._enter()
    opening = UpgradeHandshake(server)
    if early is None:
        server.logger.debug("the client was gone before its upgrade")
        opening.finish(None)
        if isinstance(where, tuple):
            where[1].close()
        return opening.done
    take_over(server.loop, where, opening, server.options.write_limit, server._epoll)
    opening.begin(request, head + early)
    return opening.done


def as_bytes(name: str, data: Any, kind: str = "bytes-like") -> bytes:
    """Refuse what is not bytes."""
    try:
        return memoryview(data).tobytes()
    except TypeError:
        raise TypeError(f"{name} must be {kind}, not {type(data).__name__}") from None


class UpgradeHandshake(ServerHandshake):
    """A handshake whose result somebody waits for."""

    __slots__ = ("done",)

    announces = False  # that is left to the user

    def __init__(self, server: WebSocketServer) -> None:
        super().__init__(server)
        self.done: asyncio.Future[WebSocket | None] = server.loop.create_future()
        self.done.add_done_callback(self._forsaken)

    def begin(self, request: Request | bytes, rest: bytes) -> None:
        """Take the request, and what came behind it."""
        if isinstance(request, bytes):
            self.received(request + rest)
            return
        self._started = True
        self._reader = None
        self._rest = rest
        self._request = request
        try:
            request = check_request(request)
        except InvalidHandshake as error:
            self._refuse(error)
        else:
            self._begin(request, request)

    def finish(self, websocket: WebSocket | None) -> None:
        """Tell the result, which is the first one."""
        if not self.done.done():
            self.done.set_result(websocket)
        elif websocket is not None:
            websocket.terminate()  # nobody waits for it any more

    def _forsaken(self, done: asyncio.Future[WebSocket | None]) -> None:
        if done.cancelled() and not self._answered:
            self.abort()

    def _answer(self, response: Response | bytes) -> None:
        if not self._answered:
            super()._answer(response)
            if self._driver.target is self._ws:
                self.finish(self._ws)

    def _hang_up(self) -> None:
        super()._hang_up()
        self.finish(None)

    def lost(self, error: BaseException | None) -> None:
        super().lost(error)
        self.finish(None)


def check_request(request: Request) -> Request:
    """Hold a request that another server parsed to the rules for those that we read.

    Raises:
        InvalidMessage: it breaks one.
    """
    if request.protocol != "HTTP/1.1":
        raise InvalidMessage(f"unsupported protocol; expected HTTP/1.1: {request.protocol}")
    try:
        head = request.serialize()
    except (TypeError, ValueError) as error:
        raise InvalidMessage(str(error)) from error
    path = parse_request(head).path
    # An absolute target becomes a path.
    return request if path == request.path else replace(request, path=path)
