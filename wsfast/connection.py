"""The WebSocket of both sides and both styles."""

from __future__ import annotations

import asyncio
import codecs
import threading
import uuid
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from . import logs
from ._backend import Connection, valid_utf8
from .awaitables import Completion, Deferred, Failed, Operation
from .codec import use_codec
from .events import EventSource
from .exceptions import (
    ConcurrencyError,
    ConnectionClosed,
    ConnectionClosedOK,
    InvalidHandshake,
    InvalidState,
)
from .forwarded import find_client
from .frames import Close, Opcode, State, check_close
from .keepalive import TimedConnection, as_bytes
from .outbox import Outbox, as_part, read_parts
from .protocol.http import parse_request
from .statistics import Statistics, counters

if TYPE_CHECKING:
    from collections.abc import Callable

    from .forwarded import Forwarded
    from .options import Options
    from .protocol.http import Request, Response
    from .reconnection import Reconnection
    from .statistics import ClientStatistics
    from .typing import Data, DataLike, LoggerLike

__all__ = ["WebSocket"]

# What cannot be done yet, on a client and on a server.
NOT_OPEN = "WebSocket is not open: the opening handshake is not done"
REFUSE = f"{NOT_OPEN}; return a Response to refuse the client"


class WebSocket(EventSource, TimedConnection):
    """A WebSocket connection, as `connect` returns it and as a server hands it to its handler.

    Use it as an asynchronous iterator of messages, which ends when the connection is closed
    normally, or with `recv`; or attach listeners with `on`. It is also a context manager that
    closes the connection.

    Made with an address, it connects in the background, as in Node's ``ws``: attach listeners, and
    "open" tells that it is open. If that fails, "error" and "close" tell so; without a listener
    for "error", the loop's exception handler does.

    It belongs to the thread of its event loop. On another thread `send`, `recv`, `ping` and
    `close` only record their arguments and act when the loop awaits them, as with
    `asyncio.run_coroutine_threadsafe`.

    Args:
        url: the address to connect to. Servers and `connect` give None, and what they know as
            keyword arguments; a subclass hands all arguments on.
        subprotocols: to offer, in the order of preference.
        reconnect: whether to connect again when the connection is lost or cannot be made; see
            ``process_exception``, ``reconnect_delays``, ``min_uptime``, ``max_attempts`` and
            ``max_elapsed`` of `connect`. "reconnecting" tells each time, with the delay in seconds
            and the exception; "error" and "close" come once, when there is no further attempt.
            `recv` raises for a connection that is lost while it waits, and then waits for the next.
        resend_limit: with ``reconnect``, how many bytes of messages sent while there is no
            connection are kept for the next; by default none, and such a send fails, as
            always that of an iterable, of a file or of a fragment. They leave behind what listeners
            of "open" send.
        options: as for `connect`, but redirects are followed only with ``follow_redirects=True``.

    Attributes:
        client: whether this is the client's side.
        close_received: the `Close` that came, or None.
        close_sent: the `Close` that was sent, or None.
        error: the exception that ended the connection, or None.
        latency: how long the last pong took, in seconds; 0 before.
        loop: the event loop it belongs to.
        messages_dropped: how many messages `broadcast` left out for it, or came when nobody took
            them.
        options: the limits and timeouts, as `Options`.
        server: the `WebSocketServer` it belongs to, or None.
        state: a `State`: CONNECTING, OPEN, CLOSING, CLOSED.
        subprotocol: the subprotocol that was agreed, or None.
        url: the address, on a client.

    Raises:
        RuntimeError: there is no running event loop.
        InvalidURI, TypeError, ValueError: as `connect`.
    """

    __slots__ = (
        "__dict__",
        "__weakref__",
        "_closed_waiters",
        "_id",
        "_listeners",
        "_reconnection",
        "_release",
        "_request",
        "_response",
        "_send_failure_told",
        "_streams",
        "server",
        "subprotocol",
        "url",
    )

    EVENTS = frozenset(
        {
            "open",
            "message",
            "ping",
            "pong",
            "close",
            "error",
            "upgrade",
            "redirect",
            "unexpected-response",
            "reconnecting",
        }
    )

    def __init__(
        self,
        url: str | None = None,
        subprotocols: Sequence[str] | None = None,
        *,
        reconnect: bool = False,
        resend_limit: int = 0,
        **options: Any,
    ) -> None:
        self._listeners = ()
        self._reconnection: Reconnection | None = None
        self._closed_waiters: list[asyncio.Future[None]] | None = None
        self._id: uuid.UUID | None = None
        self._streams = 0
        if url is None:
            self.begin(**options)
            return
        # It makes WebSockets itself.
        from .client import open_in_background

        open_in_background(self, url, subprotocols, reconnect, resend_limit, options)

    def begin(
        self,
        *,
        options: Options,
        driver: Any,
        loop: asyncio.AbstractEventLoop,
        client: bool,
        request: Request | bytes,
        release: Callable[[WebSocket], None],
        server: Any = None,
        generate_mask: Callable[[], bytes] | None = None,
    ) -> None:
        """Begin a life. Called by whoever opens it, a second time by who connects again."""
        if options.codec is not None:
            use_codec(self)
        TimedConnection.__init__(
            self, options, driver, loop, client=client, generate_mask=generate_mask
        )
        self.tells_pings = "ping" in self._listeners[::2]
        self._request = request
        self._release = release
        self._response: Response | None = None
        self._send_failure_told = False
        self.subprotocol: str | None = None
        self.server = server
        self.url: str | None = None

    def __repr__(self) -> str:
        side = "client" if self.client else "server"
        return f"<WebSocket {side} {self.state.name} {self.remote_address}>"

    # Attributes

    @property
    def reconnects(self) -> bool:
        """Whether it connects again when the connection is lost."""
        return self._reconnection is not None

    @property
    def id(self) -> uuid.UUID:
        """An identifier of this connection, for logs."""
        if self._id is None:
            self._id = uuid.uuid4()
        return self._id

    @property
    def request(self) -> Request:
        """The request that opened the connection."""
        if isinstance(self._request, bytes):
            # Kept as it came: most connections are never asked.
            self._request = parse_request(self._request)
        return self._request

    @property
    def response(self) -> Response | None:
        """The response that opened the connection; None before."""
        if self._response is None and self.server is not None and self.state > State.CONNECTING:
            self._response = self.server.accept_response(self)
        return self._response

    @property
    def path(self) -> str:
        """The path and the query of the request."""
        return self.request.path

    @property
    def extensions(self) -> tuple[str, ...]:
        """The names of the extensions in use, in the order in which messages go out by them."""
        return () if self.negotiated is None else self.negotiated.names

    @property
    def local_address(self) -> Any:
        """The address of this end, as the socket has it."""
        return self.driver.get_extra_info(self, "sockname")

    @property
    def remote_address(self) -> Any:
        """The address of the other end, as the socket has it."""
        return self.driver.get_extra_info(self, "peername")

    @property
    def forwarded(self) -> Forwarded:
        """Where the client is, and what it asked for, as far as ``trusted_proxies`` tell it."""
        return find_client(
            getattr(self.server, "trusted_proxies", None),
            self.local_address if self.client else self.remote_address,
            self.driver.get_extra_info(self, "sslcontext") is not None,
            self.request.headers,
        )

    @property
    def client_address(self) -> tuple[str, int | None] | None:
        """The client's host and port, by `forwarded`; None on a Unix socket.

        The port is None where a proxy does not tell it. The host of a client that no trusted proxy
        names is the one of `remote_address`.
        """
        return self.forwarded.address

    @property
    def client_scheme(self) -> str:
        """ "wss" if the client used TLS, by `forwarded`, else "ws"."""
        return self.forwarded.scheme

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """What asyncio's transports tell by this method: "ssl_object", "socket" and so on."""
        return self.driver.get_extra_info(self, name, default)

    @property
    def was_clean(self) -> bool:
        """Whether close frames went both ways."""
        return self.close_sent is not None and self.close_received is not None

    @property
    def stats(self) -> Statistics:
        """The counters of this connection."""
        return Statistics(*counters(self))

    @property
    def client_stats(self) -> ClientStatistics | None:
        """Attempts, connections and failures of whoever made it; None if nobody connected."""
        return getattr(self._release, "stats", None)

    @property
    def buffered_amount(self) -> int:
        """How many bytes wait to be sent: compressed, processed by extensions, and written."""
        waiting = super().buffered_amount
        if self.outbox is not None:
            waiting += self.outbox.size + self.outbox.rest_size
        if self.negotiated is not None:
            waiting += self.negotiated.size
        return waiting

    # Sending

    if TYPE_CHECKING:
        # In the core, where it is compiled, and with their words.
        def send(
            self,
            data: DataLike | Iterable[DataLike] | AsyncIterable[DataLike] | Any,
            *,
            binary: bool | None = None,
            compress: bool = True,
            fin: bool = True,
        ) -> Operation[None]: ...
        def recv(self, decode: bool | None = None) -> Operation[Data]: ...

    def send_other(self, data: Any, binary: bool | None, fin: bool, compress: bool) -> Any:
        if isinstance(data, Mapping):
            raise TypeError("data cannot be a mapping; send json.dumps(data) instead")
        if hasattr(data, "read"):
            return self._send_parts(read_parts(data), binary, fin, compress)
        if isinstance(data, AsyncIterable):
            return self._send_parts(data, binary, fin, compress)
        if isinstance(data, Iterable):
            return self._send_fragments(data, binary, fin, compress)
        raise TypeError(
            "data must be str, bytes-like, an iterable or asynchronous iterable of them, or "
            f"file-like, not {type(data).__name__}"
        )

    def send_large(self, data: Any, binary: bool | None) -> Any:
        self.outbox = Outbox(self)
        try:
            return self.outbox.put(data, binary)
        except BaseException:
            self.outbox = None
            raise

    def send_by_and_by(self, data: Any, binary: bool | None, compress: bool) -> Any:
        self.outbox = Outbox(self)
        return self.outbox.send_in_fragments(data, binary, compress)

    def _send_parts(
        self, parts: AsyncIterable[Any], binary: bool | None, fin: bool, compress: bool
    ) -> Any:
        if self.state is not State.OPEN:
            return Failed(self, self.not_open_error)
        if self.is_sending_fragments and self.outbox is None:
            return Failed(self, ConcurrencyError("cannot send another message between fragments"))
        if self.outbox is None:
            self.outbox = Outbox(self)
        return self.outbox.put_parts(parts, binary, fin, compress)

    def _send_fragments(
        self, data: Iterable[Any], binary: bool | None, fin: bool, compress: bool
    ) -> Any:
        # All of them are made before the first is sent, so that a bad one sends nothing.
        items = list(data)
        encoded = [as_part(item) for item in items]
        if len({isinstance(item, str) for item in items}) > 1:
            raise TypeError("the fragments of a message must be all str or all bytes-like")
        if not encoded:
            return self.drain()
        if binary is None:
            binary = not isinstance(items[0], str)
        whole = b"".join(encoded)
        if self.outbox is not None:
            return self.outbox.put(whole, binary, fin, compress)
        if not binary and fin and not valid_utf8(whole):
            raise ValueError("data sent as text must be valid UTF-8")
        if self.state is not State.OPEN:
            return Failed(self, self.not_open_error)
        if self.is_sending_fragments:
            return Failed(self, ConcurrencyError("cannot send another message between fragments"))
        with self.cork():
            for item in encoded[:-1]:
                self.message(item, binary=binary, fin=False, compress=compress)
            self.message(encoded[-1], binary=binary, fin=fin, compress=compress)
        return self.drain()

    def send_failed(self, error: BaseException) -> None:
        """Tell "error", once, of a send that nobody awaited; the log behind "close"."""
        if not self._send_failure_told:
            self._send_failure_told = True
            if not self.loop.is_closed():
                self.loop.call_soon(self._tell_send_failure, error)

    def _tell_send_failure(self, error: BaseException) -> None:
        over = self.is_over  # "close" is the last event
        if not over and self.emit("error", error):
            return
        if isinstance(error, ConnectionClosed) or (over and self.listeners("error")):
            # In the event style that a peer is gone is found out by sending.
            logs.send_failed(self._logger, self, error)
            return
        self.loop.call_exception_handler(
            {
                "message": "a send that nobody awaited failed, and there is no 'error' listener",
                "exception": error,
                "websocket": self,
            }
        )

    @property
    def _logger(self) -> LoggerLike:
        owner: Any = self._release if self.server is None else self.server
        logger: LoggerLike = owner.logger
        return logger

    def pong(self, data: str | bytes = b"") -> Any:  # type: ignore[override]
        """Send a pong that nobody asked for, as a sign of life (RFC 6455 section 5.5.3)."""
        if threading.get_ident() != self._thread:
            return Deferred(self.pong, data)
        payload = as_bytes(data)
        if len(payload) > 125:
            raise ValueError("The data size must not be greater than 125 bytes")
        if self.state is not State.OPEN:
            return Failed(self, self.not_open_error)
        Connection.pong(self, payload)
        return self.drain()

    # Receiving

    if TYPE_CHECKING:

        def recv_batch(self, decode: bool | None = None) -> Operation[list[Data]]: ...

    async def batches(self) -> AsyncIterator[list[Data]]:
        """Iterate over lists of messages, as `recv_batch` returns them, until the end."""
        try:
            while True:
                yield await self.recv_batch()
        except ConnectionClosedOK:
            return

    async def recv_streaming(self, decode: bool | None = None) -> AsyncIterator[Data]:
        """Receive the next message frame by frame.

        Args:
            decode: True to get str, False to get bytes, whatever the message is.

        Raises:
            ConnectionClosed, ConcurrencyError: as `recv`.
        """
        # Of one that was left, Python ends the generator when the next is begun already.
        self._streams += 1
        self.fragments = True
        try:
            opcode, data, fin = await self.recv_fragment()
            while opcode == Opcode.CONT:  # the rest of a message that was left
                opcode, data, fin = await self.recv_fragment()
            if decode is None:
                decode = opcode == Opcode.TEXT and self.text_type == "str"
            errors = "replace" if self.options.skip_utf8_validation else "strict"
            decoder = codecs.getincrementaldecoder("utf-8")(errors)
            while True:
                if not decode:
                    yield data.encode() if isinstance(data, str) else data
                else:
                    yield data if isinstance(data, str) else decoder.decode(data, fin)
                if fin:
                    return
                _, data, fin = await self.recv_fragment()
        finally:
            self._streams -= 1
            self.fragments = self._streams > 0

    # Closing

    def close(self, code: int | None = 1000, reason: str = "") -> Any:
        """Begin the closing handshake. Awaiting the result waits for the connection's end.

        Args:
            code: 1000 to 1014 but not 1004 to 1006, 3000 to 4999, or None for no code.
            reason: at most 123 bytes in UTF-8.

        Raises:
            TypeError, ValueError: at the call; the connection stays as it is.
        """
        if threading.get_ident() != self._thread:
            return Deferred(self.close, code, reason)
        check_close(code, reason)
        if self._reconnection is not None:
            self._reconnection.stop()
        if self.state is State.CONNECTING:
            if not self.client:
                return Failed(self, InvalidState(REFUSE))
            self.give_up()
        elif self.outbox is not None:
            self.outbox.close(code, reason)
            self.deadline = 0.0  # the time for it begins
        else:
            self.close_now(code, reason)
        return Completion(self.wait_closed)

    def close_now(self, code: int | None, reason: str) -> None:
        """Begin the closing handshake, in front of whatever waits in the outbox."""
        Connection.close(self, code, reason)

    def terminate(self) -> None:
        """Close the transport at once, without a close frame."""
        if self._reconnection is not None:
            self._reconnection.stop()
        if self.state is State.CONNECTING and self.client:
            self.give_up()
        else:
            self.abort()

    def give_up(self) -> None:
        """The user does not want any more what is not open yet."""
        waiting = self._reconnection is not None and self._reconnection.is_waiting
        self.abort(None if waiting else closed_before())

    @property
    def is_over(self) -> bool:
        """Whether the connection is closed, and there will be no other."""
        return self.state is State.CLOSED and (
            self._reconnection is None or self._reconnection.is_over
        )

    async def wait_closed(self) -> None:
        """Wait until the connection is closed, and will not be open again."""
        if self.is_over:
            return
        if self._closed_waiters is None:
            self._closed_waiters = []
        waiter = self.loop.create_future()
        self._closed_waiters.append(waiter)
        try:
            await waiter
        finally:
            self._closed_waiters.remove(waiter)

    async def __aenter__(self) -> WebSocket:
        return self

    async def __aexit__(self, exc_type: Any, exc_value: Any, traceback: Any) -> None:
        await self.close(1000 if exc_type is None else 1011)

    # Hooks of the core

    def opened(self) -> None:
        """The opening handshake is done; called by whoever did it."""
        self.open()
        self.start_clock()

    def on_control(self, opcode: int, data: bytes | Close) -> None:
        if opcode == Opcode.PING:
            self.emit("ping", data)
        elif opcode == Opcode.PONG:
            if self.receive_pong(data) and self.server is not None:  # type: ignore[arg-type]
                self.server.tally.pong_came(self.latency)
            if self._listeners:
                self.emit("pong", data)

    def on_closing(self) -> None:
        super().on_closing()
        if self.outbox is not None:
            self.outbox.stop()

    def not_open_error(self) -> Exception:
        if self.state is State.CONNECTING:
            return InvalidState(NOT_OPEN if self.client else REFUSE)
        return self.closed_error()

    def connect_again(self, reconnection: Reconnection) -> None:
        """From now on, connect again when the connection is lost."""
        self._reconnection = reconnection

    def tell_open(self) -> None:
        """Tell that the client's connection is open."""
        self.emit("open")
        if self._reconnection is not None:
            self._reconnection.opened(self)

    def send_closed(self, data: Any, binary: bool | None, fin: bool, compress: bool) -> Any:
        if self._reconnection is not None and fin:
            return self._reconnection.keep(self, data, binary, compress)
        return Failed(self, self.not_open_error)

    def on_closed(self) -> None:
        self._release(self)
        if self.outbox is not None:  # the transport was lost while the connection was open
            self.outbox.stop()
        self.give_up_pings()
        if self._reconnection is None or not self._reconnection.begin(self):
            self.tell_closed()

    def tell_closed(self) -> None:
        """Tell everybody that it is over."""
        for waiter in self._closed_waiters or ():
            if not waiter.done():
                waiter.set_result(None)
        error: BaseException | None = None
        if self._reconnection is not None:
            error = self._reconnection.error
        error = error or self.error
        if self._listeners:
            if error is not None:
                self.emit("error", error)
            self.emit("close", self.close_code, self.close_reason)

    # Events

    def _listeners_changed(self, event: str) -> None:
        events = self._listeners[::2]
        self.tells_pings = "ping" in events
        if event != "message":
            return
        count = events.count("message")
        if count == 1:
            self.message_listener = self._listeners[2 * events.index("message") + 1]
        else:
            self.message_listener = self._fan_out if count else None
        self.deliver_soon()

    def _fan_out(self, data: Data, is_binary: bool) -> None:
        self.emit("message", data, is_binary)


def closed_before() -> InvalidHandshake:
    """The error of a client's connection that the user closed before it was open."""
    return InvalidHandshake("WebSocket was closed before the connection was established")
