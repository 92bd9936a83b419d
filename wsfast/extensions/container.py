"""The container: negotiates the extensions of a connection and sends its messages through them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ..awaitables import Completion
from ..exceptions import (
    InvalidHandshake,
    InvalidState,
    NegotiationError,
    UnexpectedExtension,
    printable,
)
from ..protocol.headers import is_token
from .answers import close_session
from .header import format_extensions, parse_extensions
from .interface import ClientSession, Extension, Session
from .pipeline import Callback, Pipeline

__all__ = ["Extensions"]

_BITS = {"rsv1": 4, "rsv2": 2, "rsv3": 1}


class Extensions:
    """The extensions of one connection. For those who implement the WebSocket protocol.

    A client calls `generate_offer`, then `activate`; a server calls `generate_response`. Then both
    call `valid_frame_rsv` for each frame, `process_incoming_message` and
    `process_outgoing_message` for each message, and `close` at the end, whatever happened before.

    It belongs to one thread. As long as no session answers later it needs no event loop.

    Args:
        extensions: to `add`, in the order of preference.
        strict: read Sec-WebSocket-Extensions as strictly as RFC 6455; see `parse_extensions`.

    Raises:
        TypeError, ValueError: as `add`.
    """

    def __init__(self, extensions: Iterable[Extension] = (), *, strict: bool = False) -> None:
        self.names: tuple[str, ...] = ()
        """The names of the active extensions: in the order that outgoing messages take."""
        self.sessions: tuple[Session, ...] = ()
        """Their sessions, in the same order."""
        self.header: str | None = None
        """What was agreed: the response's Sec-WebSocket-Extensions."""
        self.rsv = 0
        """The bits that they use: 4 for RSV1, 2 for RSV2, 1 for RSV3."""
        self._strict = strict
        self._registered: dict[str, Extension] = {}
        self._offered: dict[str, ClientSession] = {}
        self._negotiated = False
        self._pipeline = Pipeline(())
        for extension in extensions:
            self.add(extension)

    def add(self, extension: Extension) -> None:
        """Register an extension, behind those that are registered.

        Raises:
            TypeError: it lacks an attribute, or has one of the wrong type, or one of this name is
                registered.
            ValueError: its name is not a token.
            InvalidState: the negotiation is over.
        """
        self._check_negotiating()
        if isinstance(extension, type):
            raise TypeError(
                f"an extension is an object, as {extension.__name__}() makes one, not the class"
            )
        name = getattr(extension, "name", None)
        if not isinstance(name, str):
            raise TypeError(f"the name of an extension must be a str, not {name!r}")
        if not is_token(name):
            raise ValueError(f"the name of an extension must be a token, not {name!r}")
        kind = getattr(extension, "type", None)
        if kind != "permessage":
            raise TypeError(f'extension "{name}": type must be "permessage", not {kind!r}')
        for bit in _BITS:
            value = getattr(extension, bit, None)
            if not isinstance(value, bool):
                raise TypeError(f'extension "{name}": {bit} must be a bool, not {value!r}')
        for method in ("create_client_session", "create_server_session"):
            if not callable(getattr(extension, method, None)):
                raise TypeError(f'extension "{name}" has no method {method}()')
        if name in self._registered:
            raise TypeError(f'An extension with name "{name}" is already registered')
        self._registered[name] = extension

    # Negotiation

    def generate_offer(self) -> str | None:
        """Make the client's sessions and their offers.

        Returns:
            The value of the request's Sec-WebSocket-Extensions, None for no such header. Extensions
            that use the same bit may all be in it; the server chooses.

        Raises:
            InvalidState: the negotiation is over.
            TypeError, ValueError: an offer cannot stand in a header.
            Exception: what an extension raises. All sessions are closed then.
        """
        self._check_negotiating()
        self._close_offered()
        offers: list[tuple[str, Any]] = []
        try:
            for name, extension in self._registered.items():
                session = extension.create_client_session()
                if session is None:
                    continue
                self._offered[name] = session
                offer = session.generate_offer()
                if isinstance(offer, Mapping):
                    offers.append((name, offer))
                elif offer:
                    offers += [(name, parameters) for parameters in offer]
                else:
                    close_session(name, self._offered.pop(name))
            return format_extensions(offers) or None
        except BaseException:
            self._close_offered()
            raise

    @property
    def is_offering(self) -> bool:
        """Whether there is a client's offer."""
        return bool(self._offered)

    def activate(self, header: str | None) -> None:
        """Activate what the server accepts, in its order, and close the other sessions.

        Args:
            header: the response's Sec-WebSocket-Extensions, None if there is none.

        Raises:
            InvalidState: the negotiation is over.
            InvalidHeaderFormat: the header is malformed.
            UnexpectedExtension: an extension was not offered.
            NegotiationError: the server accepts one twice, or two that use the same bit, or
                parameters that the session does not, or at which it raises anything else than an
                ``InvalidHandshake``. At any of these the driver must fail the connection with 1010.
                All sessions are closed then.
        """
        self._check_negotiating()
        self._negotiated = True
        active: dict[str, Session] = {}
        owners: dict[str, str] = {}
        try:
            accepted = [] if header is None else parse_extensions(header, strict=self._strict)
            for name, parameters in accepted:
                if name not in self._offered:
                    raise UnexpectedExtension(
                        "Server sent an extension response for unknown extension "
                        f'"{printable(name)}"'
                    )
                if name in active:
                    raise NegotiationError(
                        f'Server sent two extension responses for extension "{name}"'
                    )
                for bit in self._bits(name):
                    if bit in owners:
                        raise NegotiationError(
                            "Server sent two extension responses that use the "
                            f'{bit.upper()} bit: "{owners[bit]}" and "{name}"'
                        )
                    owners[bit] = name
                if not self._accepts(name, parameters):
                    response = printable(format_extensions([(name, parameters)]), 200)
                    raise NegotiationError(
                        f"Server sent unacceptable extension parameters: {response}"
                    )
                active[name] = self._offered[name]
            self._start(active, owners)
            self.header = header
        except BaseException:
            self._close_offered()
            raise
        for name in active:
            del self._offered[name]
        self._close_offered()

    def _accepts(self, name: str, parameters: dict[str, Any]) -> bool:
        try:
            return self._offered[name].activate(parameters) is True
        except InvalidHandshake:
            raise
        except Exception as error:
            raise NegotiationError(f"{name}: {str(error) or type(error).__name__}") from error

    def generate_response(self, header: str | None) -> str | None:
        """Activate what the client offers, in the order of registration.

        An extension is left out when it declines all offers, or when one before it uses the same
        bit.

        Args:
            header: the request's Sec-WebSocket-Extensions, None if there is none.

        Returns:
            The value of the response's Sec-WebSocket-Extensions, None for no such header.

        Raises:
            InvalidState: the negotiation is over.
            InvalidHeaderFormat: the header is malformed.
            TypeError, ValueError: a response cannot stand in a header.
            Exception: what an extension raises. All sessions are closed then.
        """
        self._check_negotiating()
        self._negotiated = True
        offers: dict[str, list[dict[str, Any]]] = {}
        if header is not None:
            for name, parameters in parse_extensions(header, strict=self._strict):
                offers.setdefault(name, []).append(parameters)
        active: dict[str, Session] = {}
        owners: dict[str, str] = {}
        responses = []
        try:
            for name, extension in self._registered.items():
                bits = self._bits(name)
                if name not in offers or any(bit in owners for bit in bits):
                    continue
                session = extension.create_server_session(offers[name])
                if session is None:
                    continue
                active[name] = session
                owners.update(dict.fromkeys(bits, name))
                responses.append((name, session.generate_response()))
            response = format_extensions(responses)
            self._start(active, owners)
        except BaseException:
            close_all(active)
            raise
        self.header = response or None
        return self.header

    def _check_negotiating(self) -> None:
        if self._negotiated:
            raise InvalidState("the extensions of a connection are negotiated once")

    def _bits(self, name: str) -> list[str]:
        """The bits that an extension uses."""
        return [bit for bit in _BITS if getattr(self._registered[name], bit)]

    def _start(self, active: Mapping[str, Session], bits: Iterable[str]) -> None:
        self._pipeline = Pipeline(list(active.items()))
        self.names = tuple(active)
        self.sessions = tuple(active.values())
        self.rsv = sum(_BITS[bit] for bit in bits)

    def _close_offered(self) -> None:
        offered, self._offered = self._offered, {}
        close_all(offered)

    # Messages

    def valid_frame_rsv(self, frame: Any) -> bool:
        """Whether a frame has only RSV bits that an active extension uses.

        They may be set on the first frame of a text or binary message only. If this is False the
        driver must fail the connection with 1002.

        Args:
            frame: a `Frame`, or any object with its ``rsv1``, ``rsv2``, ``rsv3`` and ``opcode``.
        """
        bits = 4 * bool(frame.rsv1) | 2 * bool(frame.rsv2) | bool(frame.rsv3)
        return not bits & ~(self.rsv if frame.opcode in (1, 2) else 0)

    def process_incoming_message(self, message: Any, callback: Callback | None = None) -> Any:
        """Process a message that was received; otherwise as `process_outgoing_message`.

        It goes through the sessions in the reverse order.
        """
        return self._pipeline.process(self._pipeline.incoming, message, callback)

    def process_outgoing_message(self, message: Any, callback: Callback | None = None) -> Any:
        """Process a message before it is sent.

        Messages come out in the order in which they went in. After an error no more messages come
        out in the same direction; the other direction goes on.

        Args:
            message: a `Message`, or any object with its attributes.
            callback: called once with ``(error, message)``, one of which is None; possibly before
                this returns. What it raises when it is called later is logged.

        Returns:
            None if there is a callback. Otherwise the message if all sessions answered at once,
            otherwise a future of the running loop. It may be ignored, and it may be cancelled:
            the message goes through the sessions all the same.

        Raises:
            ExtensionError: a session failed; the driver must fail the connection with its
                ``close_code``. Here, from the future, or as the callback's error.
            ProtocolError: likewise, if that is what the session raised.
            InvalidState: likewise, after ``close()``, or after an error in this direction.
            ConcurrencyError: a session called this while it was called for this direction.
            RuntimeError: there is neither a callback nor a running event loop, and a session
                answers later.
        """
        return self._pipeline.process(self._pipeline.outgoing, message, callback)

    def close(self, callback: Callable[[], object] | None = None) -> Completion[None] | None:
        """Take no more messages, and close each session when it has answered those that it has.

        Args:
            callback: called when all messages have come out and all sessions are closed; at once
                if that is so already.

        Returns:
            None if there is a callback. Otherwise an awaitable of the same, which may be ignored.
        """
        self._negotiated = True
        self._close_offered()
        return self._pipeline.close(callback)


def close_all(sessions: Mapping[str, Session]) -> None:
    """Close sessions that never became active."""
    for name, session in sessions.items():
        close_session(name, session)
