"""The pure twin of `wsfast._core`: the same machine, the same answers. See `_core.pyi`.

The rules of the file are those at the top of `_core.pyx`.
"""

from __future__ import annotations

from threading import get_ident
from typing import TYPE_CHECKING, Any

from ..awaitables import Deferred, Failed
from ..exceptions import ConcurrencyError, ConnectionClosed, NetworkError
from ..offload import LARGE
from .frame import BINARY, CONT, PONG, TEXT
from .parser import FrameReader
from .protocol import CLOSED, IGNORED, OPEN, Protocol
from .queue import MessageQueue
from .reasons import BY_USER, EXTENSIONS_BUSY, QUEUE_FULL, TURN_OVER, WRITES_BLOCKED
from .waiter import SENT
from .waiting import BATCH, FRAGMENT, MESSAGE, Drain, Receive
from .writing import Writer

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..frames import State
    from ..options import Options

__all__ = ["SENT", "Connection", "Drain", "Receive"]

# One connection may not keep the others waiting: a turn ends after as many messages or bytes.
TURN_MESSAGES = 256
TURN_BYTES = 2**20

UNLIMITED = 2**63 - 1

# Why a message takes time.
TO_COMPRESS = 1
IN_FRAGMENTS = 2

# What send() takes by itself.
SENDABLE = (str, bytes, bytearray)


class Connection(Writer):
    """The protocol with what a connection needs around it: queue, wake-up, cork, limits."""

    __slots__ = (
        "_drains",
        "_eof",
        "_latest_pong",
        "_max_queue",
        "_reading",
        "_receiver",
        "_thread",
        "_turn_bytes",
        "_turn_messages",
        "_turn_scheduled",
        "deadline",
        "heard",
        "latency",
        "message_listener",
        "messages_dropped",
        "next_ping",
    )

    def __init__(
        self,
        options: Options,
        driver: Any,
        loop: Any,
        *,
        client: bool,
        state: State = OPEN,
        generate_mask: Callable[[], bytes] | None = None,
    ) -> None:
        first = not hasattr(self, "_reader")
        Protocol.__init__(self, options, client=client, state=state, generate_mask=generate_mask)
        self._set_up_writing(driver, loop)
        self.deadline = self.latency = self.next_ping = self.heard = 0.0
        self._thread = get_ident()
        self._max_queue = UNLIMITED if options.max_queue is None else options.max_queue
        self._reading = True
        self._turn_messages = 0
        self._turn_bytes = 0
        self._turn_scheduled = False
        self._eof = False
        self._latest_pong: bytes | None = None
        if first:
            self.message_listener: Callable[[Any, bool], object] | None = None
            self.messages_dropped = 0
            self._receiver: Receive | None = None
            self._drains: list[Drain] = []
            self._queue = MessageQueue()
        else:
            self._queue.drop_incomplete()  # what came whole in the life before is still to be had
            # Who waits since the life before looks again, and waits for what comes now.
            if self._receiver is not None:
                self._receiver.wake(False)
            self._wake_drains(False)

    # Hooks of the subclass

    def on_deadline(self, now: float) -> float:
        """The deadline is reached; returns the next."""
        return now + 3600

    def listener_failed(self, error: BaseException) -> None:
        """A message listener raised an exception."""

    def send_other(self, data: Any, binary: bool | None, fin: bool, compress: bool) -> Any:
        """Send what is neither str nor bytes-like."""
        raise TypeError(f"data must be str or bytes-like, not {type(data).__name__}")

    def send_large(self, data: Any, binary: bool | None) -> Any:
        """Send what takes long to compress."""
        self._send_message(data, binary, True, True)
        return self.drain()

    def send_by_and_by(self, data: Any, binary: bool | None, compress: bool) -> Any:
        """Send a large message in fragments."""
        self._send_message(data, binary, True, compress)
        return self.drain()

    def send_failed(self, error: BaseException) -> None:
        """A send failed, and nobody awaited it."""

    def send_closed(self, data: Any, binary: bool | None, fin: bool, compress: bool) -> Any:
        """Send while the connection is not open."""
        return Failed(self, self.closed_error)

    # From the driver

    def received(self, data: Any) -> None:
        """A turn: deal with input; then wake the receiver, once; then send what was held."""
        if self.state is CLOSED:
            self._deliver_queue()  # the listener was attached at last
            return
        nested, self._dispatching = self._dispatching, True
        self._turn_messages = self._turn_bytes = 0
        queue = self._queue
        try:
            if queue and self.message_listener is not None:
                self._deliver_queue()
            if data is not None:
                self.receive(data)
            elif not self._stopped:
                self._process()
            receiver = self._receiver
            if receiver is not None and (queue or self._discarding):
                receiver.wake(True)
        finally:
            self._dispatching = nested
            if self._held:
                self._flush()
        if (
            queue
            or self._stopped
            or not self._reading
            or self._reader.pending
            or self._postponed is not None
        ):
            self._end_turn()

    def _end_turn(self) -> None:
        """See whether the limits of the queue and of a turn allow to go on."""
        if (
            len(self._queue) >= self._max_queue
            and self._receiver is None
            and self.close_sent is None
            and self.message_listener is None
        ):
            self._stopped |= QUEUE_FULL
        if not self._has_rest():
            self._stopped &= ~TURN_OVER
        elif not self._stopped & ~TURN_OVER:
            self._schedule_turn()
        self._update_reading()

    def receive_soon(self, data: bytes) -> None:
        """Bytes came with the opening handshake. The next pass of the loop deals with them."""
        self.wire_bytes_received += len(data)
        self._reader.feed(data)
        self._schedule_turn()

    def eof(self) -> bool:
        """The peer will send nothing more. True if there is still something to deal with."""
        self._eof = True
        if self._has_rest() or self._is_processing():
            self.deadline = 0.0
            return True
        self._receive_eof()
        return False

    def writable(self) -> None:
        """What waited to be written has shrunk to a quarter of the limit."""
        self._blocked = False
        pong, self._latest_pong = self._latest_pong, None
        if pong is not None and self.state is OPEN:
            self._send_control_frame(PONG, pong)
        nested, self._dispatching = self._dispatching, True
        try:
            self._wake_drains(True)
        finally:
            self._dispatching = nested
            self._flush()
        if self._discarding:  # who was woken ended it
            self._tell_receiver()
        if not self._blocked:  # again, by the pong or by who was woken
            self._go_on(WRITES_BLOCKED)

    def lost(self, error: BaseException | None) -> None:
        """The transport is closed."""
        if self.state is CLOSED:
            return
        self._stopped = 0
        self._lost = True
        self._held.clear()
        self._held_size = 0
        # What came before the end is delivered before the end is told.
        self._deliver_queue()
        while not self._discarding and self._has_rest():
            self._stopped = 0
            self._process()
        self._discarding = True
        if error is not None and self.error is None and self.close_received is None:
            self.error = NetworkError.wrap(error)
        self._end()
        if self._receiver is not None:
            self._receiver.wake(self._dispatching)
        self._wake_drains(self._dispatching)

    def _wake_drains(self, directly: bool) -> None:
        drains, self._drains = self._drains, []
        for drain in drains:
            drain.wake(directly)

    def tick(self, now: float) -> None:
        """Time went by."""
        if now >= self.deadline:
            self.deadline = self.on_deadline(now)

    # Reading

    def _has_rest(self) -> bool:
        """Whether there is input that reading stopped before."""
        return not self._discarding and (
            self._reader.pending > 0
            or self._postponed is not None
            or (self._stacked and len(self.negotiated.ready) > 0)
        )

    @property
    def is_ending(self) -> bool:
        """Whether the end has come, and waits for what extensions have of the messages before."""
        return self._is_processing() and (self._eof or self._postponed is not None)

    def _is_processing(self) -> bool:
        """Whether extensions have messages that came."""
        return self._stacked and not self._discarding and self.negotiated.incoming > 0

    def on_processed(self) -> None:
        self._stopped &= ~EXTENSIONS_BUSY
        if not self._dispatching and self.state is not CLOSED:
            self._schedule_turn()

    def _schedule_turn(self) -> None:
        self._stopped |= TURN_OVER
        if not self._turn_scheduled:
            self._turn_scheduled = True
            self.loop.call_soon(self._next_turn, self._reader)

    def _next_turn(self, reader: FrameReader) -> None:
        """Go on where the last turn stopped."""
        if reader is not self._reader:
            return  # the life that it was scheduled in is over
        self._turn_scheduled = False
        self._stopped &= ~TURN_OVER
        self.received(None)
        if (
            self._eof
            and self.state is not CLOSED
            and not self._has_rest()
            and not self._is_processing()
        ):
            self._receive_eof()

    def _receive_eof(self) -> None:
        self._discarding = True
        self._flush_all()
        self._begin_closing()
        self.driver.shutdown_write(self)
        self._tell_receiver()

    def _update_reading(self) -> None:
        reading = not self._stopped
        if reading is not self._reading and not self._lost:
            self._reading = reading
            if reading:
                self.driver.resume(self)
            else:
                self.driver.pause(self)

    def _stop(self, reason: int) -> None:
        self._stopped |= reason
        if not self._dispatching:
            self._update_reading()

    def _go_on(self, reason: int) -> None:
        self._stopped &= ~reason
        if self._dispatching or self._stopped & ~TURN_OVER:
            return
        if self._has_rest():
            self._schedule_turn()  # before what the socket has
        else:
            self._update_reading()

    def _settled(self) -> bool:
        if self._lost:
            return True
        if self._is_processing():
            self.deadline = 0.0
        return super()._settled()

    def settle(self) -> bool:
        """Wake the receiver before a close frame or an error is acted on."""
        if not self._queue:
            return True
        if self._receiver is not None and not self._receiver.wake(self._dispatching):
            # The receiver runs in the next pass of the loop, and we go on behind it.
            self._schedule_turn()
            return False
        # It may be waiting for the peer to read its replies, with messages left: then writable()
        # goes on.
        return not (self._drains and self._queue)

    def on_message(self, opcode: int, data: Any, fin: bool) -> None:
        """Hand a message to the listener or put it into the queue."""
        self._turn_messages += 1
        self._turn_bytes += len(data)
        if self._turn_messages >= TURN_MESSAGES or self._turn_bytes >= TURN_BYTES:
            self._stopped |= TURN_OVER
        if self._handling:
            self._deliver_otherwise(opcode, data, fin)
        elif self.message_listener is not None and not self._queue:
            self._call_listener(data, opcode != TEXT)
        else:
            self._keep(opcode, data, fin)

    def _deliver_otherwise(self, opcode: int, data: Any, fin: bool) -> None:
        """Deliver in another type, in which a listener gets only whole messages; or not at all."""
        if self._handling & IGNORED:
            self.messages_dropped += fin
            return
        if self.message_listener is not None and not self._queue and fin and opcode != CONT:
            self._call_listener(self._typed(opcode, [data]), opcode != TEXT)
        else:
            self._keep(opcode, data, fin)
            if fin:
                self._deliver_queue()

    def _keep(self, opcode: int, data: Any, fin: bool) -> None:
        """Put a message into the queue, or a fragment of one."""
        queue = self._queue
        if (
            self.close_sent is not None
            and len(queue) >= self._max_queue
            and self._receiver is None
            and self.message_listener is None
        ):
            # Reading goes on to find the peer's close frame, and nobody takes the messages.
            self.messages_dropped += 1
            return
        if type(data) is not str and (opcode != BINARY or not fin):
            data = (opcode, data, fin)
        queue.append(data)

    def _call_listener(self, message: Any, is_binary: bool) -> None:
        assert self.message_listener is not None
        try:
            self.message_listener(message, is_binary)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:
            self.listener_failed(error)

    def _deliver_queue(self) -> None:
        """Hand to a listener what came before it was attached."""
        while self._queue and self.message_listener is not None and not self._stopped & BY_USER:
            taken = self._queue.take_parts()
            if taken is None:
                return
            opcode, parts = taken
            self._call_listener(self._typed(opcode, parts), opcode != TEXT)
        self._stopped &= ~QUEUE_FULL

    def _next_message(self, decode: bool | None) -> Any:
        """Take a message of the queue, or None, in the type that is wanted."""
        if decode is None and not self._handling:
            return self._queue.take_message()
        taken = self._queue.take_parts()
        return None if taken is None else self._typed(*taken, decode)

    def answer_ping(self, data: bytes) -> None:
        """Send the pong; while writes are blocked only the latest (RFC 6455 section 5.5.3)."""
        self._turn_messages += 1
        if self._turn_messages >= TURN_MESSAGES:
            self._stopped |= TURN_OVER
        if self._blocked:
            self._latest_pong = data
        else:
            self._send_control_frame(PONG, data)

    def pause(self) -> None:
        """Stop reading. A few messages that are read already may still come."""
        if self.state is OPEN and not self._lost:
            self._stop(BY_USER)

    def resume(self) -> None:
        """Read again."""
        self._go_on(BY_USER)
        self.deliver_soon()

    def deliver_soon(self) -> None:
        """Hand to a listener just attached what waits in the queue."""
        if self._queue and self.message_listener is not None:
            self._schedule_turn()

    @property
    def is_paused(self) -> bool:
        """Whether `pause` was called, and `resume` was not."""
        return bool(self._stopped & BY_USER)

    @property
    def is_reading(self) -> bool:
        """Whether the peer's bytes are read."""
        return not self._stopped

    def discard(self) -> None:
        """Drop the messages that wait and all that come."""
        self._handling |= IGNORED
        self.messages_dropped += self._queue.whole
        self._queue.clear()
        self._go_on(QUEUE_FULL)

    def recv(self, decode: bool | None = None) -> Any:
        """Receive the next message: str if it is text, bytes if it is binary.

        Cancelling it loses nothing.

        Args:
            decode: True to get str, False to get bytes, whatever the message is.

        Raises:
            ConnectionClosed: when awaited; the connection is closed, and all messages that
                came before were received.
            ConcurrencyError: when awaited; another call receives, or a listener is attached.
        """
        if get_ident() != self._thread:
            return Deferred(self.recv, decode)
        return Receive(self, MESSAGE, decode)

    def recv_fragment(self) -> Any:
        """Receive the next frame of a message, as (opcode, data, fin)."""
        return Receive(self, FRAGMENT)

    def recv_batch(self, decode: bool | None = None) -> Any:
        """Receive all messages that wait, or the next if there is none.

        For feeds: a task that wakes once for a burst does a fraction of the work. Otherwise it
        is like `recv`.
        """
        if get_ident() != self._thread:
            return Deferred(self.recv_batch, decode)
        return Receive(self, BATCH, decode)

    def __aiter__(self) -> Connection:
        return self

    def __anext__(self) -> Any:
        return Receive(self, MESSAGE, None, True)

    # Writing

    def send(
        self, data: Any, *, binary: bool | None = None, compress: bool = True, fin: bool = True
    ) -> Any:
        """Send a message.

        The message is on its way when `send` returns. Awaiting the result waits while the peer
        is slow: while more than ``write_limit`` bytes wait to be written, until a quarter of
        it. Cancelling the wait does not take the message back.

        A failure that nobody awaits is told to "error", once. Without a listener for it, the
        logger is told if the connection was closed, and else the loop's exception handler.

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
        if get_ident() != self._thread:
            return Deferred(self.send, data, binary=binary, compress=compress, fin=fin)
        if not isinstance(data, SENDABLE):
            try:
                view = memoryview(data)
            except TypeError:
                return self.send_other(data, binary, fin, compress)
            data = view.tobytes()
        if self.outbox is not None:
            return self.outbox.put(data, binary, fin, compress)
        if (
            (self.deflate is not None or self.options.fragment_size is not None)
            and fin
            and not self._sending
            and self.state is OPEN
        ):
            takes_time = self._takes_time(len(data), compress)
            if takes_time == TO_COMPRESS:
                return self.send_large(data, binary)
            if takes_time == IN_FRAGMENTS:
                return self.send_by_and_by(data, binary, bool(compress))
        try:
            self._send_message(data, binary, fin, compress)
        except ConnectionClosed:
            return self.send_closed(data, binary, fin, compress)
        except ConcurrencyError as error:
            # Its frames would keep the awaitable alive, and the failure would be told late.
            return Failed(self, error.with_traceback(None))
        if self._stacked:
            return self.negotiated.sent()
        if self._blocked:
            return Drain(self)
        return SENT

    def _takes_time(self, size: int, compress: bool) -> int:
        """Whether a message is to be compressed in a thread, or leaves as its fragments are taken.

        0 if it is neither.
        """
        if compress and self.deflate is not None and size >= LARGE:
            return TO_COMPRESS
        options = self.options
        if (
            options.fragment_size is not None
            and size > max(options.fragment_size, options.write_limit)
            and not self._stacked
        ):
            return IN_FRAGMENTS
        return 0

    @property
    def is_sending_fragments(self) -> bool:
        """Whether a message was begun with ``fin=False`` and not finished."""
        return self._sending != 0

    def drain(self) -> Any:
        """Wait while the connection is blocked."""
        return Drain(self) if self._blocked else SENT

    def write_eof(self) -> None:
        """Send what is held and the end of the stream."""
        self._flush_all()
        self._stopped = 0
        if not self._dispatching:
            self._update_reading()
        if not self._eof and not self._lost:
            self.driver.shutdown_write(self)
        self._tell_receiver()

    def _tell_receiver(self) -> None:
        """No message will come: whoever waits need not wait for the end of the transport."""
        if self._receiver is not None and not self._dispatching:
            self._receiver.wake(False)

    def close(self, code: int | None = 1000, reason: str = "") -> None:
        """Begin the closing handshake, and read on to find the peer's close frame."""
        Protocol.close(self, code, reason)
        self._flush()
        self._go_on(BY_USER | QUEUE_FULL)
