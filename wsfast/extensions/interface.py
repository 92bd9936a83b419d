"""What extensions and drivers agree on: frames, messages, and the methods of an extension.

Nothing here needs to be imported or inherited from. Frames and messages may be any objects with
these attributes, and extensions any objects with these methods.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from .header import Parameters

__all__ = ["ClientSession", "Extension", "Frame", "Message", "ServerSession", "Session"]


@dataclass(slots=True)
class Frame:
    """One WebSocket frame of any type (RFC 6455 section 5.2).

    Args:
        final: whether the FIN bit is set.
        rsv1: whether the RSV1 bit is set; ``rsv2`` and ``rsv3`` alike.
        opcode: 0, 1, 2, 8, 9 or 10.
        masked: whether the MASK bit is set.
        masking_key: its 4 bytes if ``masked``, otherwise None.
        payload: the application data, unmasked.
    """

    final: bool = True
    rsv1: bool = False
    rsv2: bool = False
    rsv3: bool = False
    opcode: int = 1
    masked: bool = False
    masking_key: bytes | None = None
    payload: bytes = b""


@dataclass(slots=True)
class Message:
    """A whole message: of its fragments, the bits and the opcode of the first, and all data.

    Sessions may change one and return it, or return another.

    Args:
        rsv1: whether the first frame has the RSV1 bit set; ``rsv2`` and ``rsv3`` alike.
        opcode: 1 for text, 2 for binary.
        data: the payloads of all frames together; bytes for text, too.
    """

    rsv1: bool = False
    rsv2: bool = False
    rsv3: bool = False
    opcode: int = 1
    data: bytes = b""


Process: TypeAlias = Callable[..., Any]
"""How a session processes a message, in one of three styles:

- ``def process(message)`` returns the message, or raises;
- ``async def process(message)``, or a function that returns any awaitable, gives the message, or
  raises, later;
- ``def process(message, callback)`` calls ``callback(None, message)`` or ``callback(error, None)``,
  at once or later, on the same thread. Only the first call counts.
"""


class Session(Protocol):
    """What the sessions of both sides have: one for each connection, not shared.

    Messages come in the order of the wire. A session may work on several at once and finish them in
    any order: the container puts the results in order again. An exception fails the connection,
    with 1010 or with the ``close_code`` of the exception.
    """

    @property
    def process_incoming_message(self) -> Process:
        """Undo to a message that was received what the peer's session did to it."""

    @property
    def process_outgoing_message(self) -> Process:
        """Transform a message that is about to be sent.

        The bits that the extension uses and the opcode of the first frame are those of the result.
        """

    @property
    def close(self) -> Callable[[], object]:
        """Release what the session holds.

        It is called once, when the session has answered all its messages, or when it turns out
        that it is not needed. Nobody waits for it.
        """


class ClientSession(Session, Protocol):
    """A client's session."""

    def generate_offer(self) -> Parameters | Sequence[Parameters] | None:
        """The parameters to offer, a list of them in the order of preference, or None for no offer.

        For example ``[{"server_max_window_bits": 8, "flag": True}, {}]``.
        """

    def activate(self, parameters: dict[str, Any], /) -> bool:
        """Take the parameters of the server's response.

        Returns:
            True to accept them. Anything else rejects them, and the connection fails.
        """


class ServerSession(Session, Protocol):
    """A server's session."""

    def generate_response(self) -> Parameters:
        """The parameters to respond with, ``{}`` if there are none."""


class Extension(Protocol):
    """An extension, which makes a session for each connection."""

    @property
    def name(self) -> str:
        """The name in Sec-WebSocket-Extensions."""

    @property
    def type(self) -> str:
        """Always "permessage"."""

    @property
    def rsv1(self) -> bool:
        """Whether the extension uses the RSV1 bit."""

    @property
    def rsv2(self) -> bool:
        """Whether the extension uses the RSV2 bit."""

    @property
    def rsv3(self) -> bool:
        """Whether the extension uses the RSV3 bit."""

    def create_client_session(self) -> ClientSession | None:
        """Make a client's session; None does without the extension."""

    def create_server_session(self, offers: list[dict[str, Any]], /) -> ServerSession | None:
        """Choose among what the client offers.

        Args:
            offers: the parameters of each offer, in the order of the client's preference.

        Returns:
            The session for one of them; None declines all.
        """
