"""The client's side without I/O."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..exceptions import InvalidHandshake, InvalidState
from ..extensions import Extensions
from ..extensions.negotiation import activate_extensions, close_reason
from ..extensions.stack import attach
from ..typing import HeadersLike
from ..uri import WebSocketURI, parse_uri
from . import handshake
from .base import EventProtocol
from .headers import Bearer
from .http import Request, Response, ResponseReader

__all__ = ["ClientProtocol"]


class ClientProtocol(EventProtocol):
    """A WebSocket client's connection without I/O.

    Send the request with `send_request(protocol.connect())`. The `Response` comes as an event; if
    it is not acceptable there is a ``handshake_error``, else the connection is open.

    Args:
        uri: the address.
        subprotocols: to offer, in the order of preference.
        require_subprotocol: whether to refuse a server that selects none of them.
        origin: the Origin header.
        additional_headers: further headers of the request.
        auth: (user name, password) or "user name:password" for Basic authentication, or a `Bearer`;
            a user name and a password in the address come first.
        user_agent_header: the User-Agent header; None for none.
        protocol_version: 13 or 8.
        options: as for `EventProtocol`.
    """

    def __init__(
        self,
        uri: str | WebSocketURI,
        *,
        subprotocols: Sequence[str] | None = None,
        require_subprotocol: bool = False,
        origin: str | None = None,
        additional_headers: HeadersLike | None = None,
        auth: str | tuple[str, str] | Bearer | None = None,
        user_agent_header: str | None = handshake.USER_AGENT,
        protocol_version: int = 13,
        generate_mask: Callable[[], bytes] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(client=True, generate_mask=generate_mask, **options)
        self.uri = parse_uri(uri) if isinstance(uri, str) else uri
        self._subprotocols = handshake.check_subprotocols(subprotocols or ())
        self._require_subprotocol = require_subprotocol
        self._key = handshake.generate_key()
        self._response_reader = ResponseReader()
        self._extensions = Extensions(self._available, strict=True)
        self._request = handshake.build_request(
            self.uri,
            self._key,
            subprotocols=self._subprotocols,
            extensions=self._extensions.generate_offer(),
            origin=origin,
            additional_headers=additional_headers or (),
            auth=auth,
            user_agent=user_agent_header,
            version=protocol_version,
        )

    def connect(self) -> Request:
        """The request to send; its headers may still be changed."""
        return self._request

    def send_request(self, request: Request) -> None:
        """Send the request.

        Raises:
            InvalidState: it was sent.
        """
        if self.request is not None:
            raise InvalidState("the request was sent already")
        self.request = request
        self.write(request.serialize())

    def receive_handshake(self, data: bytes) -> bytes | None:
        try:
            result = self._response_reader.feed(data)
            if result is None:
                return None
            response, rest = result
            self._check(response)
        except InvalidHandshake as error:
            self._fail_handshake(error)
            return None
        return bytes(rest)

    def receive_handshake_eof(self) -> None:
        try:
            self._check(self._response_reader.eof())
        except InvalidHandshake as error:
            self._fail_handshake(error)

    def _check(self, response: Response) -> None:
        self.response = response
        self._events.append(response)
        self.subprotocol = handshake.check_response(
            response,
            self._key,
            subprotocols=self._subprotocols,
            require_subprotocol=self._require_subprotocol,
        )
        try:
            activate_extensions(response.headers, self._extensions)
        except InvalidHandshake as error:
            # The server believes that the connection is open (RFC 6455 section 7.4.1).
            self.open()
            self.close(1010, close_reason(error))
            raise
        attach(self, self._extensions)
        self.open()

    def _fail_handshake(self, error: InvalidHandshake) -> None:
        self.handshake_error = error
        self.write_eof()
