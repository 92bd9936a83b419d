"""The server's side without I/O."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from ..exceptions import InvalidHandshake, InvalidState
from ..extensions.negotiation import accept_extensions
from ..extensions.stack import attach
from ..frames import State
from . import handshake
from .base import EventProtocol
from .http import HeadReader, Request, Response, parse_request

if TYPE_CHECKING:
    from ..extensions import Extensions

__all__ = ["ServerProtocol"]


class ServerProtocol(EventProtocol):
    """A WebSocket server's connection without I/O.

    When the `Request` comes as an event, answer it with `accept`, `reject` or `send_response`. A
    request that is not valid HTTP is answered by itself.

    Args:
        path: accept requests only for this path; None for every path.
        origins: the origins that may connect, see `WebSocketServer`; None for all.
        subprotocols: those that the server speaks, in its order of preference.
        server_header: the Server header; None for none.
        options: as for `EventProtocol`.
    """

    def __init__(
        self,
        *,
        path: str | None = None,
        origins: Iterable[str | re.Pattern[str] | None] | None = None,
        subprotocols: Sequence[str] | None = None,
        server_header: str | None = handshake.SERVER,
        generate_mask: Callable[[], bytes] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(client=False, generate_mask=generate_mask, **options)
        self._path = path
        self._origins = handshake.OriginPolicy(origins)
        self._subprotocols = handshake.check_subprotocols(subprotocols or ())
        self._server_header = server_header
        self._head_reader: HeadReader | None = HeadReader()
        self._rest = b""
        self._extensions: Extensions | None = None

    def receive_handshake(self, data: bytes) -> bytes | None:
        if self._head_reader is None:
            self._rest += data  # until the request is answered
            return None
        try:
            result = self._head_reader.feed(data)
            if result is None:
                return None
            self._head_reader = None
            head, self._rest = result
            self.request = parse_request(head)
        except InvalidHandshake as error:
            self._refuse(error)
        else:
            self._events.append(self.request)
        return None

    def receive_handshake_eof(self) -> None:
        if self._head_reader is not None:
            try:
                self._head_reader.eof()
            except InvalidHandshake as error:
                self.handshake_error = error

    def accept(self, request: Request) -> Response:
        """Check the request; the response to send: 101, or what is wrong with the request."""
        try:
            handshake.check_method(request)
            handshake.check_path(request, self._path)
            upgrade = handshake.check_upgrade(request.headers)
            handshake.check_origin(request.headers, upgrade.version, self._origins)
            offered = handshake.offered_subprotocols(request.headers)
            extensions = accept_extensions(request.headers, self._available)
        except InvalidHandshake as error:
            self.handshake_error = error
            return handshake.rejection(error)
        self.subprotocol = handshake.select_subprotocol(offered, self._subprotocols)
        self._drop_extensions()
        self._extensions = extensions
        return handshake.accept_response(
            upgrade.key,
            subprotocol=self.subprotocol,
            extensions=None if extensions is None else extensions.header,
            server_header=self._server_header,
        )

    def _drop_extensions(self) -> None:
        if self._extensions is not None:
            self._extensions.close()
            self._extensions = None

    def reject(self, status: int, text: str) -> Response:
        """A plain-text response to send instead."""
        return handshake.text_response(status, text)

    def send_response(self, response: Response) -> None:
        """Send the response. A 101 opens the connection; any other ends it.

        Raises:
            InvalidState: there is no request, or it was answered.
            ValueError: it has other extensions than `accept` agreed on; none is fine.
        """
        if self.state is not State.CONNECTING or self._head_reader is not None or self._eof_sent:
            raise InvalidState("there is no request to answer")
        if response.status_code != 101:
            self.response = response
            self._drop_extensions()
            self.write(handshake.closing_response(response).serialize())
            self.write_eof()
            if self.handshake_error is None:
                self.handshake_error = InvalidHandshake(f"rejected with {response.status_code}")
            return
        header = response.headers.get("Sec-WebSocket-Extensions")
        if header is None:
            self._drop_extensions()
        elif self._extensions is None or header != self._extensions.header:
            raise ValueError("the extensions are not those of accept()")
        self.response = response
        self.write(response.serialize())
        if self._extensions is not None:
            attach(self, self._extensions)
        self.open()
        rest, self._rest = self._rest, b""
        if rest:
            self.receive(rest)

    def _refuse(self, error: InvalidHandshake) -> None:
        self._head_reader = None
        self.handshake_error = error
        self.send_response(handshake.rejection(error))
