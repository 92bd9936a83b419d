"""The pure twin of `wsfast._writing`: what holds frames back, and how they leave."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Any

from ..exceptions import WriteBufferFull
from .frame import CONT
from .protocol import CLOSED, OPEN, Protocol
from .reasons import WRITES_BLOCKED

if TYPE_CHECKING:
    from .queue import MessageQueue

__all__ = ["Cork", "Writer"]

# Sends that follow each other within this time, in seconds, leave together.
CORK_WINDOW = 100e-6
CORK_SIZE = 65536

# Reading stops while more than this waits in front of the driver: a few large messages may.
SENDS_LIMIT = 2**20


class Writer(Protocol):
    """A `Protocol` that holds frames back and lets them leave together, by a driver."""

    __slots__ = (
        "_blocked",
        "_cork_depth",
        "_dispatching",
        "_flush_scheduled",
        "_held",
        "_held_since",
        "_held_size",
        "_last_write",
        "_lost",
        "_queue",
        "broadcasts",
        "driver",
        "loop",
        "outbox",
    )

    _queue: MessageQueue

    def _set_up_writing(self, driver: Any, loop: Any) -> None:
        """Begin a life, the first or another."""
        self.driver = driver
        self.loop = loop
        self.outbox: Any = None
        self._dispatching = False
        self._lost = False
        self._blocked = False
        self._held: list[bytes] = []
        self._held_size = 0
        self._held_since = 0.0
        self._last_write = 0.0
        self._cork_depth = 0
        self._flush_scheduled = False
        self.broadcasts: Any = None  # the round of the last one that it got

    def use_driver(self, driver: Any) -> None:
        """There is a transport now."""
        self.driver = driver

    def _stop(self, reason: int) -> None:
        """Stop reading for a reason."""

    def _go_on(self, reason: int) -> None:
        """This reason not to read is gone."""

    def write(self, *buffers: bytes, following: Any = None) -> None:
        """Send at once, or hold what follows in the same breath (DESIGN: cork).

        `following` is the round of broadcasts that this one follows others in, and leaves with.
        """
        if self._lost or self.state is CLOSED:
            return
        now = monotonic()
        recent = now - self._last_write < CORK_WINDOW
        self._last_write = now
        held = self._held
        hold = recent or (self._dispatching and (self._queue or self._reader.pending))
        if self._cork_depth:
            hold = True
        elif held and (now - self._held_since >= CORK_WINDOW or self._held_size > CORK_SIZE):
            hold = False
        if following is not None and self._held_size <= CORK_SIZE:
            hold = True
        if not hold:
            if held:
                held.extend(buffers)
                self._flush()
            else:
                self._transmit(buffers)
            return
        if not held:
            self._held_since = now
        for buffer in buffers:
            held.append(buffer)
            self._held_size += len(buffer)
        if not self._dispatching and not self._cork_depth and not self._flush_scheduled:
            self._flush_scheduled = True
            if following is not None:
                following.holding.append(self)
            else:
                self.loop.call_soon(self._scheduled_flush)

    def _send_in_fragments(self, opcode: int, rsv: int, payload: bytes, fin: bool) -> None:
        """Send a message in fragments; if there is an outbox, it does so as the peer takes them."""
        if self.outbox is None or self._stacked:
            super()._send_in_fragments(opcode, rsv, payload, fin)
        else:
            self.outbox.rest = (opcode, rsv, payload, 0, fin)

    def send_rest(
        self, opcode: int, rsv: int, data: bytes, start: int, fin: bool
    ) -> tuple[int, int, bytes, int, bool] | None:
        """Send of a message in fragments what a slow peer takes."""
        if self.state is not OPEN:
            raise self.closed_error()
        assert self.options.fragment_size is not None
        size = len(data)
        while start < size and not self._blocked and self.state is OPEN:
            end = min(start + self.options.fragment_size, size)
            self.fragments_sent += 1
            self._send_frame(opcode, rsv, data[start:end], fin and end == size)
            opcode = CONT
            rsv = 0
            start = end
            if self._held_size > self.options.write_limit:
                self._flush()  # to see whether it is slow
        return None if start == size else (opcode, rsv, data, start, fin)

    def send_prepared(self, frame: bytes, size: int, following: Any) -> None:
        """Send a frame that was made for several connections."""
        self._count_sent(size)
        self.frames_sent += 1
        self.wire_bytes_sent += len(frame)
        self.write(frame, following=following)

    @property
    def is_blocked(self) -> bool:
        """Whether more waits to be written than the limit allows."""
        return self._blocked

    def cork(self) -> Cork:
        """Hold what is sent inside a ``with`` block until its end."""
        return Cork(self)

    @property
    def buffered_amount(self) -> int:
        """How many bytes wait to be written."""
        return self._held_size + int(self.driver.get_extra_info(self, "buffered"))

    def _scheduled_flush(self) -> None:
        self._flush_scheduled = False
        self._flush()

    def _flush(self) -> None:
        if self._held and not self._cork_depth and self.state is not CLOSED:
            held, self._held = self._held, []
            self._held_size = 0
            self._transmit(held)

    def _flush_all(self) -> None:
        """Send what is held, corked or not: nothing can follow."""
        depth, self._cork_depth = self._cork_depth, 0
        self._flush()
        self._cork_depth = depth

    def _transmit(self, buffers: Any) -> None:
        waiting = self.driver.write(self, buffers)
        if not waiting:
            return
        options = self.options
        if waiting > options.write_limit:
            if not self._blocked:
                self._blocked = True
                self._stop_behind_writes(WRITES_BLOCKED)
            if options.max_write_buffer is not None and waiting > options.max_write_buffer:
                self.abort(WriteBufferFull(waiting, options.max_write_buffer))

    def _stop_behind_writes(self, reason: int) -> None:
        """Do not read what would be answered while the answers do not leave.

        That is for the server to do. If clients did it, too, two ends that are both in the middle
        of sending would wait for each other to read.
        """
        if not self.client:
            self._stop(reason)

    def sends_waiting(self, reason: int, size: int) -> None:
        """Do not read while too much waits in front of the driver."""
        if self._discarding or self.state is CLOSED:
            return
        options = self.options
        limit = max(options.write_limit, SENDS_LIMIT)
        if size > limit:
            self._stop_behind_writes(reason)
        elif size <= limit // 4:
            self._go_on(reason)
        if options.max_write_buffer is not None and size > options.max_write_buffer:
            self.abort(WriteBufferFull(size, options.max_write_buffer))

    def abort(self, error: BaseException | None = None) -> None:
        """End the connection at once, without a close frame."""
        if self.state is CLOSED:
            return
        self._discarding = True
        if self.error is None:
            self.error = error
        self._held.clear()
        self._held_size = 0
        self._begin_closing()
        self.driver.abort(self)


class Cork:
    """Holds what a connection sends until the end of a ``with`` block."""

    __slots__ = ("_connection", "_reader")

    def __init__(self, connection: Writer) -> None:
        self._connection = connection

    def __enter__(self) -> None:
        self._reader = self._connection._reader  # of the life of the connection that it corks
        self._connection._cork_depth += 1

    def __exit__(self, *_: object) -> None:
        if self._connection._reader is self._reader:
            self._connection._cork_depth -= 1
            self._connection._flush()
