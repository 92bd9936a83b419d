"""The WebSocket of both sides and both styles."""

from __future__ import annotations

import asyncio
import codecs
import secrets
import threading
import uuid
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Mapping
from time import monotonic
from typing import TYPE_CHECKING, Any, NamedTuple

from ._backend import Connection, valid_utf8
from .awaitables import Completion, Deferred, Failed, Operation
from .events import EventSource
from .exceptions import (
    ConcurrencyError,
    ConnectionClosedOK,
    InvalidState,
    KeepaliveTimeout,
)
from .frames import Close, Opcode, State, check_close
from .outbox import Outbox, as_part, read_parts
from .protocol.http import parse_request

if TYPE_CHECKING:
    from collections.abc import Callable

    from .options import Options
    from .protocol.http import Request, Response
    from .typing import Data, DataLike

__all__ = ["Statistics", "WebSocket"]

MAX_PENDING_PINGS = 1024

NOT_OPEN = "the opening handshake is not done; return a Response to refuse the client"


class Statistics(NamedTuple):
    """What went over a connection so far. Wire bytes are those of whole frames."""

    messages_received: int
    messages_sent: int
    bytes_received: int
    bytes_sent: int
    frames_received: int
    frames_sent: int
    fragments_received: int
    fragments_sent: int
    wire_bytes_received: int
    wire_bytes_sent: int
    messages_dropped: int


class WebSocket(EventSource, Connection):
    """A WebSocket connection, as `connect` returns it and as a server hands it to its handler.

    Use it as an asynchronous iterator of messages, which ends when the connection is closed
    normally, or with `recv`; or attach listeners with `on`. It is also a context manager that
    closes the connection.

    It belongs to the thread of its event loop. On another thread `send`, `recv`, `ping` and
    `close` only record their arguments and act when the loop awaits them, as with
    `asyncio.run_coroutine_threadsafe`.
    """

    __slots__ = (
        "__dict__",
        "__weakref__",
        "_bytes_checked",
        "_close_deadline",
        "_closed_waiters",
        "_id",
        "_last_activity",
        "_listeners",
        "_next_ping",
        "_pings",
        "_pong_deadline",
        "_release",
        "_request",
        "_response",
        "_send_failure_told",
        "_written_checked",
        "latency",
        "server",
        "subprotocol",
        "url",
    )

    EVENTS = frozenset({"open", "message", "ping", "pong", "close", "error"})

    def __init__(
        self,
        options: Options,
        driver: Any,
        loop: asyncio.AbstractEventLoop,
        *,
        client: bool,
        request: Request | bytes,
        release: Callable[[WebSocket], None],
        server: Any = None,
        url: str | None = None,
        generate_mask: Callable[[], bytes] | None = None,
    ) -> None:
        Connection.__init__(
            self,
            options,
            driver,
            loop,
            client=client,
            state=State.CONNECTING,
            generate_mask=generate_mask,
        )
        self._listeners = ()
        self._request = request
        self._release = release
        self._response: Response | None = None
        self._id: uuid.UUID | None = None
        self._pings: dict[bytes, tuple[float, asyncio.Future[float] | None]] | None = None
        self._closed_waiters: list[asyncio.Future[None]] | None = None
        self._close_deadline: float | None = None
        self._next_ping = 0.0
        self._pong_deadline: float | None = None
        self._last_activity = 0.0
        self._bytes_checked = 0
        self._written_checked: tuple[int, float] | None = None
        self._send_failure_told = False
        self.subprotocol: str | None = None
        self.latency = 0.0
        self.server = server
        self.url = url

    def __repr__(self) -> str:
        side = "client" if self.client else "server"
        return f"<WebSocket {side} {self.state.name} {self.remote_address}>"

    # Attributes

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
        return Statistics(*(getattr(self, name) for name in Statistics._fields))

    @property
    def buffered_amount(self) -> int:
        """How many bytes wait to be sent: compressed, processed by extensions, and written."""
        waiting = super().buffered_amount
        if self.outbox is not None:
            waiting += self.outbox.size
        if self.negotiated is not None:
            waiting += self.negotiated.size
        return waiting

    # Sending

    if TYPE_CHECKING:
        # In the core, where it is compiled.
        def send(
            self,
            data: DataLike | Iterable[DataLike] | AsyncIterable[DataLike] | Any,
            *,
            binary: bool | None = None,
            compress: bool = True,
            fin: bool = True,
        ) -> Operation[None]:
            """Send a message.

            The message is on its way when `send` returns. Awaiting the result waits while the peer
            is slow: while more than ``write_limit`` bytes wait to be written, until a quarter of
            it. Cancelling the wait does not take the message back.

            Args:
                data: a str is sent as text, anything bytes-like as binary. The items of an
                    iterable or an asynchronous iterable, and what is read from a file-like object,
                    are the fragments of one message.
                binary: True or False to choose the type, whatever ``data`` is.
                compress: False to send it uncompressed where compression was negotiated.
                fin: False if further calls continue the message.

            Raises:
                TypeError, ValueError, UnicodeEncodeError: at the call; nothing is sent.
                ConnectionClosed: when awaited.
                ConcurrencyError: when awaited; fragments of two messages would mix.
            """

        def recv(self, decode: bool | None = None) -> Operation[Data]:
            """Receive the next message: str if it is text, bytes if it is binary.

            Cancelling it loses nothing.

            Args:
                decode: True to get str, False to get bytes, whatever the message is.

            Raises:
                ConnectionClosed: when awaited; the connection is closed, and all messages that
                    came before were received.
                ConcurrencyError: when awaited; another call receives, or a listener is attached.
            """

    def send_other(self, data: Any, binary: bool | None, fin: bool, compress: bool) -> Any:
        if isinstance(data, Mapping):
            raise TypeError("data cannot be a mapping; send json.dumps(data) instead")
        if hasattr(data, "read"):
            return self._send_parts(read_parts(data), binary, fin, compress)
        if isinstance(data, AsyncIterable):
            return self._send_parts(data, binary, fin, compress)
        try:
            view = memoryview(data)
        except TypeError:
            pass
        else:
            return self.send(view.tobytes(), binary=binary, fin=fin, compress=compress)
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

    def _send_parts(
        self, parts: AsyncIterable[Any], binary: bool | None, fin: bool, compress: bool
    ) -> Any:
        if self.state is not State.OPEN:
            return Failed(self, self.closed_error)
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
            return Failed(self, self.closed_error)
        if self.is_sending_fragments:
            return Failed(self, ConcurrencyError("cannot send another message between fragments"))
        with self.cork():
            for item in encoded[:-1]:
                self.message(item, binary=binary, fin=False, compress=compress)
            self.message(encoded[-1], binary=binary, fin=fin, compress=compress)
        return self.drain()

    def send_failed(self, error: BaseException) -> None:
        """Tell "error", once, of a send that nobody awaited."""
        if not self._send_failure_told:
            self._send_failure_told = True
            if not self.loop.is_closed():
                self.loop.call_soon(self.emit, "error", error)

    def ping(self, data: str | bytes | None = None) -> Any:  # type: ignore[override]
        """Send a ping.

        Args:
            data: at most 125 bytes. By default it is random.

        Returns:
            Awaitable for a future with the latency in seconds: ``await (await ws.ping())``.

        Raises:
            ValueError: at the call; ``data`` is too long.
            ConcurrencyError: at the call; a ping with the same data waits for its pong.
            ConnectionClosed: when awaited.
        """
        if threading.get_ident() != self._thread:
            return Deferred(self.ping, data)
        payload = secrets.token_bytes(4) if data is None else as_bytes(data)
        if len(payload) > 125:
            raise ValueError("The data size must not be greater than 125 bytes")
        if self._pings is None:
            self._pings = {}
        if payload in self._pings:
            raise ConcurrencyError("already waiting for a pong with the same data")
        if len(self._pings) >= MAX_PENDING_PINGS:
            raise ConcurrencyError(f"{MAX_PENDING_PINGS} pings wait for their pongs")
        if self.state is not State.OPEN:
            return Failed(self, self.closed_error)
        Connection.ping(self, payload)
        future: asyncio.Future[float] = self.loop.create_future()
        self._pings[payload] = (monotonic(), future)
        return Completion(lambda: Pending(future))

    def pong(self, data: str | bytes = b"") -> Any:  # type: ignore[override]
        """Send a pong that nobody asked for, as a sign of life (RFC 6455 section 5.5.3)."""
        if threading.get_ident() != self._thread:
            return Deferred(self.pong, data)
        payload = as_bytes(data)
        if len(payload) > 125:
            raise ValueError("The data size must not be greater than 125 bytes")
        if self.state is not State.OPEN:
            return Failed(self, self.closed_error)
        Connection.pong(self, payload)
        return self.drain()

    # Receiving

    if TYPE_CHECKING:

        def recv_batch(self, decode: bool | None = None) -> Operation[list[Data]]:
            """Receive all messages that wait, or the next if there is none.

            For feeds: a task that wakes once for a burst does a fraction of the work. Otherwise it
            is like `recv`.
            """

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
        self.fragments = True
        try:
            opcode, data, fin = await self.recv_fragment()
            if decode is None:
                decode = opcode == Opcode.TEXT
            decoder = codecs.getincrementaldecoder("utf-8")()
            while True:
                if not decode:
                    yield data.encode() if isinstance(data, str) else data
                else:
                    yield data if isinstance(data, str) else decoder.decode(data, fin)
                if fin:
                    return
                _, data, fin = await self.recv_fragment()
        finally:
            self.fragments = False

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
        if self.state is State.CONNECTING:
            check_close(code, reason)
            return Failed(self, InvalidState(NOT_OPEN))
        if self.outbox is not None:
            check_close(code, reason)
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
        self.abort()

    async def wait_closed(self) -> None:
        """Wait until the connection is closed."""
        if self.state is State.CLOSED:
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
        now = monotonic()
        options = self.options
        if options.idle_timeout is not None:
            self._last_activity = now
        if options.ping_interval is not None:
            self._next_ping = now + options.ping_interval
        # The first tick finds the next deadline.

    def on_control(self, opcode: int, data: bytes | Close) -> None:
        if opcode == Opcode.PING:
            if self._listeners:
                self.emit("ping", data)
        elif opcode == Opcode.PONG:
            self._receive_pong(data)  # type: ignore[arg-type]
            if self._listeners:
                self.emit("pong", data)

    def _receive_pong(self, data: bytes) -> None:
        """Take a pong for all pings up to the one with its data (RFC 6455 section 5.5.3)."""
        pings = self._pings
        if not pings or data not in pings:
            return
        now = monotonic()
        for payload in list(pings):
            sent, future = pings.pop(payload)
            if future is None:
                self._pong_deadline = None
            elif not future.done():
                future.set_result(now - sent)
            if payload == data:
                self.latency = now - sent
                return

    def on_closing(self) -> None:
        self.deadline = 0.0
        if self.outbox is not None:
            self.outbox.stop()
        if self.options.close_timeout is not None and self._close_deadline is None:
            self._close_deadline = monotonic() + self.options.close_timeout

    def closed_error(self) -> Exception:
        error = Connection.closed_error(self)
        if self.state is State.CONNECTING:
            error.__cause__ = InvalidState(NOT_OPEN)
        return error

    def on_closed(self) -> None:
        self._release(self)
        if self.outbox is not None:  # the transport was lost while the connection was open
            self.outbox.stop()
        for _, future in (self._pings or {}).values():
            if future is not None and not future.done():
                future.set_exception(self.closed_error())
                future.exception()  # nobody has to look at it
        self._pings = None
        for waiter in self._closed_waiters or ():
            if not waiter.done():
                waiter.set_result(None)
        if self._listeners:
            if self.error is not None:
                self.emit("error", self.error)
            self.emit("close", self.close_code, self.close_reason)

    # Timeouts

    def on_deadline(self, now: float) -> float:
        """Do what is due; returns when to look again."""
        if self.state is State.CLOSED:
            return float("inf")
        if self.state is State.CLOSING:
            if self._close_deadline is None:
                return float("inf")
            if now >= self._close_deadline:
                # With both close frames there is only the peer's end of the transport missing.
                self.abort(None if self.was_clean else closing_timeout())
            return self._close_deadline
        options = self.options
        try:
            due = min(
                self._rest(now),
                self._check_ending(now),
                self._check_writing(now),
                self._check_ping(now) if options.ping_interval is not None else float("inf"),
                self._check_idle(now) if options.idle_timeout is not None else float("inf"),
            )
        except Exception as error:
            # A masking key cannot be had. The others, who have the same clock, must not suffer.
            self.abort(error)
            return 0.0
        return due if self.state is State.OPEN else 0.0

    def _rest(self, now: float) -> float:
        """Free the compressor of a connection that sends nothing."""
        if self.deflate is None:
            return float("inf") if self.negotiated is None else self.negotiated.rest(now)
        # It may be in use by a thread.
        return self.deflate.rest(now) if self.outbox is None else now + 1

    def _check_ending(self, now: float) -> float:
        """End a connection whose end waits for too long: for extensions, or in the outbox."""
        ending = self.is_ending or (self.outbox is not None and self.outbox.is_closing)
        if not ending or self.options.close_timeout is None:
            self._close_deadline = None
            return float("inf")
        if self._close_deadline is None:
            self._close_deadline = now + self.options.close_timeout
        elif now >= self._close_deadline:
            self.abort(closing_timeout())
        return self._close_deadline

    def _check_writing(self, now: float) -> float:
        """Fail a connection whose writes are blocked and make no progress."""
        options = self.options
        timeouts = [t for t in (options.ping_timeout, options.write_timeout) if t is not None]
        if not timeouts:
            return float("inf")
        timeout = min(timeouts)
        if not self.is_blocked:
            self._written_checked = None
            return now + timeout / 2
        written = self.wire_bytes_sent - super().buffered_amount
        if self._written_checked is None or self._written_checked[0] != written:
            self._written_checked = (written, now)
        elif now - self._written_checked[1] >= timeout:
            self.abort(
                KeepaliveTimeout(
                    f"the peer read nothing for {timeout} seconds", "WS_ERR_WRITE_TIMEOUT"
                )
            )
        return now + timeout / 4

    def _check_ping(self, now: float) -> float:
        """Send a ping in every interval, and fail a connection that does not answer it."""
        options = self.options
        assert options.ping_interval is not None
        if self._pong_deadline is not None:
            if not self.is_reading:
                # It is we who do not read the pong.
                self._pong_deadline = now + (options.ping_timeout or 0)
            elif now >= self._pong_deadline:
                self.fail(KeepaliveTimeout("keepalive ping timeout", "WS_ERR_KEEPALIVE_TIMEOUT"))
                return 0.0
        if now >= self._next_ping:
            self._next_ping = now + options.ping_interval
            if self._pings is None:
                self._pings = {}
            if len(self._pings) < MAX_PENDING_PINGS:
                payload = secrets.token_bytes(4)
                self._pings[payload] = (now, None)
                Connection.ping(self, payload)
                if self._pong_deadline is None and options.ping_timeout is not None:
                    self._pong_deadline = now + options.ping_timeout
        if self._pong_deadline is not None:
            return min(self._next_ping, self._pong_deadline)
        return self._next_ping

    def _check_idle(self, now: float) -> float:
        """Fail a connection on which nothing came for too long."""
        timeout = self.options.idle_timeout
        assert timeout is not None
        if self.wire_bytes_received != self._bytes_checked or not self.is_reading:
            self._bytes_checked = self.wire_bytes_received
            self._last_activity = now
        elif now - self._last_activity >= timeout:
            self.fail(
                KeepaliveTimeout(f"nothing came for {timeout} seconds", "WS_ERR_IDLE_TIMEOUT", 1001)
            )
            return 0.0
        return now + timeout / 4

    # Events

    def _listeners_changed(self, event: str) -> None:
        if event != "message":
            return
        events = self._listeners[::2]
        count = events.count("message")
        if count == 1:
            self.message_listener = self._listeners[2 * events.index("message") + 1]
        else:
            self.message_listener = self._fan_out if count else None
        self.deliver_soon()

    def _fan_out(self, data: Data, is_binary: bool) -> None:
        self.emit("message", data, is_binary)


class Pending:
    """Keeps a future from being awaited by the `Completion` that hands it over."""

    __slots__ = ("future",)

    def __init__(self, future: asyncio.Future[float]) -> None:
        self.future = future

    def __await__(self) -> Any:
        return self.future
        yield


def closing_timeout() -> KeepaliveTimeout:
    """The error of a connection whose end took too long."""
    return KeepaliveTimeout("timed out while closing", "WS_ERR_CLOSE_TIMEOUT")


def as_bytes(data: Any) -> bytes:
    """The payload of a ping or a pong."""
    if isinstance(data, str):
        return data.encode()
    try:
        return memoryview(data).tobytes()
    except TypeError:
        raise TypeError(f"data must be str or bytes-like, not {type(data).__name__}") from None
