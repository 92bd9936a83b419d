"""Messages that are more than text or bytes: the option ``codec``, and the codec `HeaderJSON`.

Decoding is part of receiving, not of reading: a message is decoded when it is handed out, so that
whatever came before a bad one is handed out, and answered, before the connection is failed.
"""

from __future__ import annotations

import json
import math
import threading
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

from .awaitables import Completion, Deferred
from .exceptions import ProtocolError

if TYPE_CHECKING:
    from collections.abc import Callable

    from .connection import WebSocket

    Base = WebSocket
else:
    Base = object

__all__ = ["Codec", "HeaderJSON", "HeaderMessage", "check_codec", "decoding_class", "use_codec"]


@runtime_checkable
class Codec(Protocol):
    """What the option ``codec`` takes: how messages are written, and read."""

    def encode(self, message: Any) -> str | bytes:
        """What to send for a message. Exceptions come out of the call of ``send``."""

    def decode(self, data: Any, is_binary: bool) -> Any:
        """The message that was received.

        Raises:
            ProtocolError: it is not a message; the connection is failed with its ``close_code``.
            ValueError: it is not a message; the connection is failed with 1007.
        """


class HeaderMessage(NamedTuple):
    """A message of `HeaderJSON`.

    Args:
        header: any text without a line feed.
        payload: what JSON has: None, bool, int, float, str, and lists and dicts of them.
    """

    header: str
    payload: Any


class HeaderJSON:
    r"""The codec of text messages that are a header, a line feed, and a payload in JSON.

    ``await ws.send(("price", {"EUR": 5}))`` sends ``price\n{"EUR":5}``, which is received as
    ``HeaderMessage("price", {"EUR": 5})``. The payload is the JSON of RFC 8259: without NaN and
    Infinity, either way. A message without a line feed, or with anything else behind it, fails the
    connection with 1007, a binary one with 1003.
    """

    def __init__(self) -> None:
        self._encode = json.JSONEncoder(
            ensure_ascii=False, allow_nan=False, separators=(",", ":")
        ).encode
        self._decode = json.JSONDecoder(parse_constant=refuse_constant, parse_float=finite).decode

    def encode(self, message: tuple[str, Any]) -> str:
        """The text of a message.

        Raises:
            TypeError: it is not a pair whose first is a str, or JSON has no such payload.
            ValueError: the header has a line feed, or the payload is not finite.
        """
        if not isinstance(message, tuple) or len(message) != 2:
            raise TypeError(
                f"a message must be a pair of header and payload, not {type(message).__name__}"
            )
        header, payload = message
        if not isinstance(header, str):
            raise TypeError(f"a header must be a str, not {type(header).__name__}")
        if "\n" in header:
            raise ValueError("a header cannot have a line feed")
        return f"{header}\n{self._encode(payload)}"

    def decode(self, data: Any, is_binary: bool) -> HeaderMessage:
        """Take a message apart.

        Raises:
            ProtocolError: there is no line feed, or no JSON behind it (1007); or it is binary
                (1003).
        """
        if is_binary:
            raise ProtocolError("Invalid message: it must be text", "WS_ERR_INVALID_MESSAGE", 1003)
        text = data if isinstance(data, str) else str(data, "utf-8")
        header, separator, payload = text.partition("\n")
        if not separator:
            raise invalid_message("there is no line feed behind the header")
        try:
            return HeaderMessage(header, self._decode(payload))
        except RecursionError:
            raise invalid_message("the payload is nested too deeply") from None
        except ValueError as error:
            raise invalid_message(f"the payload is not JSON: {error}") from error


def finite(text: str) -> float:
    """A number of JSON. One that is out of range could not be sent on."""
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("a number is out of range")
    return number


def refuse_constant(name: str) -> Any:
    """Python's json reads these, and nobody else does."""
    raise ValueError(f"{name} is not a number")


def invalid_message(problem: str) -> ProtocolError:
    return ProtocolError(f"Invalid message: {problem}", "WS_ERR_INVALID_MESSAGE", 1007)


def check_codec(codec: object) -> None:
    """Refuse what is neither a `Codec` nor None."""
    if codec is None:
        return
    if isinstance(codec, type) or not isinstance(codec, Codec):
        raise TypeError(f"codec must have the methods encode and decode, not {codec!r}")


def use_codec(websocket: WebSocket) -> None:
    """Let a connection that begins encode and decode by ``options.codec``."""
    websocket.__class__ = decoding_class(type(websocket))
    websocket._undecodable = None  # type: ignore[attr-defined]


def decoding_class(websocket_class: type[WebSocket]) -> type[WebSocket]:
    """The class of connections with a codec: those without have nothing of it."""
    if issubclass(websocket_class, Decoding):
        return websocket_class
    decoding = decoding_classes.get(websocket_class)
    if decoding is None:
        # Of the same layout, so that an object of the one may become one of the other.
        members = {"__slots__": (), "__doc__": Decoding.__doc__}
        decoding = type(websocket_class.__name__, (Decoding, websocket_class), members)
        decoding_classes[websocket_class] = decoding
    return decoding


decoding_classes: dict[type[WebSocket], type[WebSocket]] = {}


class Decoding(Base):
    """A connection whose messages are encoded and decoded by ``options.codec``."""

    __slots__ = ()

    if TYPE_CHECKING:
        _decoded_listener: Callable[[Any, bool], object]

        # What the next receiver is told: the message behind those of a batch cannot be decoded.
        _undecodable: Exception | None

    def send(
        self, data: Any, *, binary: bool | None = None, compress: bool = True, fin: bool = True
    ) -> Any:
        """Send a message, encoded. See `WebSocket.send`.

        Args:
            data: what the codec takes.
            binary, compress, fin: as ever, for what the codec returns.

        Raises:
            TypeError: the codec returned neither str nor bytes.
        """
        codec: Any = self.options.codec
        encoded = codec.encode(data)
        if not isinstance(encoded, (str, bytes)):
            raise TypeError(f"a codec must return str or bytes, not {type(encoded).__name__}")
        if threading.get_ident() != self._thread:
            return Deferred(super().send, encoded, binary=binary, compress=compress, fin=fin)
        return super().send(encoded, binary=binary, compress=compress, fin=fin)

    def recv(self, decode: bool | None = None) -> Any:
        """Receive the next message, decoded. See `WebSocket.recv`.

        Args:
            decode: must be None: what a message becomes is the codec's decision.
        """
        check_decode(decode)
        return Completion(lambda: self._receive(super(Decoding, self).recv()))

    def recv_batch(self, decode: bool | None = None) -> Any:
        """Receive all messages that wait, decoded. See `WebSocket.recv_batch`."""
        check_decode(decode)
        return Completion(lambda: self._receive_batch(super(Decoding, self).recv_batch()))

    def __anext__(self) -> Any:
        return Completion(lambda: self._receive(super(Decoding, self).__anext__()))

    async def _receive(self, receiving: Any) -> Any:
        if self._undecodable is not None:
            raise self._fail_decoding(self._undecodable)
        data = await receiving
        try:
            return self._decode(data, not isinstance(data, str))
        except ProtocolError as error:
            raise self._fail_decoding(error)  # noqa: B904 (it is the cause already)

    async def _receive_batch(self, receiving: Any) -> list[Any]:
        if self._undecodable is not None:
            raise self._fail_decoding(self._undecodable)
        messages: list[Any] = []
        for data in await receiving:
            try:
                messages.append(self._decode(data, not isinstance(data, str)))
            except ProtocolError as error:
                if not messages:
                    raise self._fail_decoding(error)  # noqa: B904 (it is the cause already)
                self._undecodable = error
                break
        return messages

    def _decode(self, data: Any, is_binary: bool) -> Any:
        codec: Any = self.options.codec
        try:
            return codec.decode(data, is_binary)
        except ProtocolError:
            raise
        except ValueError as error:
            raise invalid_message(str(error)) from error

    def _fail_decoding(self, error: Exception) -> Exception:
        """Fail the connection; returns what to raise."""
        self._undecodable = error
        self.fail(error)
        self.discard()
        closed = self.closed_error()
        # After the end, of another cause, it would be lost.
        return closed if closed.__cause__ is error else error

    def _listeners_changed(self, event: str) -> None:
        super()._listeners_changed(event)
        if event == "message" and self.message_listener is not None:
            self._decoded_listener = self.message_listener
            self.message_listener = self._deliver

    def _deliver(self, data: Any, is_binary: bool) -> None:
        try:
            message = self._decode(data, is_binary)
        except ProtocolError as error:
            self._fail_decoding(error)
        else:
            self._decoded_listener(message, is_binary)


def check_decode(decode: object) -> None:
    if decode is not None:
        raise TypeError("a connection with a codec decodes by it; recv() takes no decode")
