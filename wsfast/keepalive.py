"""A connection's clock: pings that keep it alive, and what ends it when time runs out.

Nothing here has a timer of its own: one sweep looks at many connections (see `sweep`), and each
says when to look at it again.
"""

from __future__ import annotations

import asyncio
import secrets
import threading
from time import monotonic
from typing import TYPE_CHECKING, Any

from ._backend import Connection
from .awaitables import Completion, Deferred, Failed
from .exceptions import ConcurrencyError, KeepaliveTimeout
from .frames import State

if TYPE_CHECKING:
    from collections.abc import Callable

    from .options import Options

__all__ = ["TimedConnection", "as_bytes"]

MAX_PENDING_PINGS = 1024

NEVER = float("inf")


class TimedConnection(Connection):
    """A connection with its timeouts.

    Args:
        options: the limits and timeouts.
        driver: what it writes to.
        loop: the event loop it belongs to.
        client: whether this is the client's side.
        generate_mask: returns the 4 bytes of the next masking key.
    """

    __slots__ = (
        "_bytes_noted",
        "_close_deadline",
        "_idle_since",
        "_pings",
        "_pong_deadline",
        "_written_checked",
    )

    def __init__(
        self,
        options: Options,
        driver: Any,
        loop: asyncio.AbstractEventLoop,
        *,
        client: bool,
        generate_mask: Callable[[], bytes] | None,
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
        self._pings: dict[bytes, tuple[float, asyncio.Future[float] | None]] | None = None
        self._close_deadline: float | None = None
        self._pong_deadline: float | None = None
        self._idle_since = 0.0
        self._bytes_noted = 0
        self._written_checked: tuple[int, float] | None = None

    # Pings

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
            return Failed(self, self.not_open_error)
        Connection.ping(self, payload)
        future: asyncio.Future[float] = self.loop.create_future()
        self._pings[payload] = (monotonic(), future)
        return Completion(lambda: Pending(future))

    def receive_pong(self, data: bytes) -> bool:
        """Take a pong for all pings up to the one with its data (RFC 6455 section 5.5.3).

        Returns whether there is one.
        """
        now = monotonic()
        self._note_received(now)
        pings = self._pings
        if not pings or data not in pings:
            return False
        for payload in list(pings):
            sent, future = pings.pop(payload)
            if future is None:
                self._pong_deadline = None
            elif not future.done():
                future.set_result(now - sent)
            if payload == data:
                self.latency = now - sent
                break
        return True

    def give_up_pings(self) -> None:
        """No pong will come."""
        for _, future in (self._pings or {}).values():
            if future is not None and not future.done():
                future.set_exception(self.closed_error())
                future.exception()  # nobody has to look at it
        self._pings = None

    @property
    def missed_pings(self) -> int:
        """How many keepalive pings in a row had no answer when the next one was sent."""
        if not self._pings:
            return 0
        return max(sum(future is None for _, future in self._pings.values()) - 1, 0)

    # Signs of life

    @property
    def last_received(self) -> float:
        """When the peer was last heard of, as `time.monotonic` has it: at first, the opening.

        Nothing is done for it when bytes come. They are noticed when somebody asks here, at pongs,
        and when timeouts are looked after: with the defaults every ten seconds. So it is never
        too early, and too late by less than that. Of a closed connection it is what was noticed.
        """
        if self.state is not State.CLOSED:
            self._note_received(monotonic())
        return self.heard

    def _note_received(self, now: float) -> None:
        """Look whether anything came since the last time."""
        if self.wire_bytes_received != self._bytes_noted:
            self._bytes_noted = self.wire_bytes_received
            self.heard = now

    def not_open_error(self) -> Exception:
        """What a call raises that needs an open connection."""
        return self.closed_error()

    # Deadlines

    def start_clock(self) -> None:
        """The connection is open. The first tick finds the next deadline."""
        self.heard = now = monotonic()
        self._bytes_noted = self.wire_bytes_received  # not 0 in a further life
        if self.options.ping_interval is not None:
            self.next_ping = now + self.options.ping_interval

    def on_closing(self) -> None:
        self.deadline = 0.0
        if self.options.close_timeout is not None and self._close_deadline is None:
            self._close_deadline = monotonic() + self.options.close_timeout

    def on_deadline(self, now: float) -> float:
        """Do what is due; returns when to look again."""
        if self.state is State.CLOSED:
            return NEVER
        if self.state is State.CLOSING:
            if self._close_deadline is None:
                return NEVER
            if now >= self._close_deadline:
                # With both close frames there is only the peer's end of the transport missing.
                both = self.close_sent is not None and self.close_received is not None
                self.abort(None if both else closing_timeout())
            return self._close_deadline
        options = self.options
        self._note_received(now)
        try:
            due = min(
                self._rest(now),
                self._check_ending(now),
                self._check_writing(now),
                self._check_ping(now) if options.ping_interval is not None else NEVER,
                self._check_idle(now) if options.idle_timeout is not None else NEVER,
            )
        except Exception as error:
            # A masking key cannot be had. The others, who have the same clock, must not suffer.
            self.abort(error)
            return 0.0
        return due if self.state is State.OPEN else 0.0

    def _rest(self, now: float) -> float:
        """Free the compressor of a connection that sends nothing."""
        if self.deflate is None:
            return NEVER if self.negotiated is None else self.negotiated.rest(now)
        # It may be in use by a thread.
        return self.deflate.rest(now) if self.outbox is None else now + 1

    def _check_ending(self, now: float) -> float:
        """End a connection whose end waits for too long: for extensions, or in the outbox."""
        ending = self.is_ending or (self.outbox is not None and self.outbox.is_closing)
        if not ending or self.options.close_timeout is None:
            self._close_deadline = None
            return NEVER
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
            return NEVER
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
        if now >= self.next_ping:
            self.next_ping = now + options.ping_interval
            if self._pings is None:
                self._pings = {}
            if len(self._pings) < MAX_PENDING_PINGS:
                payload = secrets.token_bytes(4)
                self._pings[payload] = (now, None)
                Connection.ping(self, payload)
                if self._pong_deadline is None and options.ping_timeout is not None:
                    self._pong_deadline = now + options.ping_timeout
        if self._pong_deadline is not None:
            return min(self.next_ping, self._pong_deadline)
        return self.next_ping

    def _check_idle(self, now: float) -> float:
        """Fail a connection on which nothing came for too long."""
        timeout = self.options.idle_timeout
        assert timeout is not None
        if not self.is_reading:
            self._idle_since = now
        elif now - max(self.heard, self._idle_since) >= timeout:
            self.fail(
                KeepaliveTimeout(f"nothing came for {timeout} seconds", "WS_ERR_IDLE_TIMEOUT", 1001)
            )
            return 0.0
        return now + timeout / 4


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
