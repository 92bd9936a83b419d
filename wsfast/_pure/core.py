"""The pure twin of `wsfast._core`: the same machine, the same answers. See `_core.pyi`.

The rules of the file are those at the top of `_core.pyx`.
"""

from __future__ import annotations

import threading
from asyncio import CancelledError, current_task
from collections import deque
from collections.abc import Coroutine
from time import monotonic
from typing import TYPE_CHECKING, Any

from ..awaitables import Deferred, Failed
from ..exceptions import (
    ConcurrencyError,
    ConnectionClosedOK,
    NetworkError,
    ProtocolError,
    WriteBufferFull,
    connection_closed,
)
from ..frames import Close, State, is_close_code
from .mask import masking_key, valid_utf8, xor
from .parser import BINARY, CLOSE, CONT, PING, PONG, TEXT, FrameReader, encode_header

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..options import Options

__all__ = ["SENT", "Connection", "Drain", "Protocol", "Receive"]

OPEN = State.OPEN
CLOSING = State.CLOSING
CLOSED = State.CLOSED
CONNECTING = State.CONNECTING

# Above this size the payload is not copied behind its header.
COPY_LIMIT = 16384

# Why reading is stopped.
BY_USER = 1
QUEUE_FULL = 2
WRITES_BLOCKED = 4
TURN_OVER = 8

# One connection may not keep the others waiting: a turn ends after as many messages or bytes.
TURN_MESSAGES = 256
TURN_BYTES = 2**20

# Sends that follow each other within this time, in seconds, leave together.
CORK_WINDOW = 100e-6
CORK_SIZE = 65536


class Protocol:
    """The WebSocket protocol after the opening handshake, without any I/O."""

    def __init__(
        self,
        options: Options,
        *,
        client: bool,
        state: State = OPEN,
        generate_mask: Callable[[], bytes] | None = None,
    ) -> None:
        self.options = options
        self.client = client
        self.state = state
        self.close_sent: Close | None = None
        self.close_received: Close | None = None
        self.error: BaseException | None = None
        self.messages_received = 0
        self.messages_sent = 0
        self.frames_sent = 0
        self.fragments_sent = 0
        self.bytes_sent = 0
        self.wire_bytes_received = 0
        self.wire_bytes_sent = 0

        self._generate_mask = generate_mask or masking_key
        self._reader = FrameReader(
            client=client,
            max_size=options.max_size,
            max_frame_size=options.max_frame_size,
            max_fragments=options.max_fragments,
        )
        self._received_first = False
        self._sending = 0
        self._postponed: Close | ProtocolError | None = None
        self._discarding = False
        self._stopped = 0

    # Hooks

    def on_message(self, opcode: int, data: str | bytes, fin: bool) -> None:
        """A message came, or in fragment mode a frame of it."""

    def on_control(self, opcode: int, data: bytes | Close) -> None:
        """A ping, a pong or a close frame came and was answered."""

    def on_closing(self) -> None:
        """The closing begins, from either side; the close frame, if any, has left."""

    def on_closed(self) -> None:
        """The connection is closed."""

    def write(self, *buffers: bytes) -> None:
        """A frame goes out."""

    def write_eof(self) -> None:
        """Nothing more goes out, and what comes in is of no interest."""

    def settle(self) -> bool:
        """Let what came before a close frame or an error be dealt with."""
        return True

    def answer_ping(self, data: bytes) -> None:
        """Send the pong for a ping."""
        self._send_frame(PONG, data, True)

    # Input

    @property
    def fragments(self) -> bool:
        """Whether every data frame is delivered by itself."""
        return self._reader.fragments

    @fragments.setter
    def fragments(self, value: bool) -> None:
        self._reader.fragments = value

    @property
    def frames_received(self) -> int:
        """How many frames came."""
        return self._reader.frames_read

    @property
    def fragments_received(self) -> int:
        """How many frames of fragmented messages came."""
        return self._reader.fragments_read

    @property
    def bytes_received(self) -> int:
        """How many bytes of payload came."""
        return self._reader.bytes_read

    def open(self) -> None:
        """The opening handshake is done."""
        self.state = OPEN

    def receive(self, data: Any) -> None:
        """Take bytes from the peer."""
        self.wire_bytes_received += len(data)
        if self._discarding:
            return
        self._reader.feed(data)
        if not self._stopped:
            self._process()

    def receive_eof(self) -> None:
        """Take the end of the peer's stream."""
        if self.state is not CLOSED:
            self._discarding = True
            self.write_eof()
            self._end()

    def _process(self) -> None:
        """Deal with the frames of the input, until it ends or reading is stopped."""
        reader = self._reader
        while not self._stopped and not self._discarding:
            item: Any = self._postponed
            if item is None:
                try:
                    frame = reader.next()
                except ProtocolError as error:
                    item = error
                else:
                    if frame is None:
                        return
                    opcode, data, fin = frame
                    if opcode <= BINARY:
                        if fin:
                            self.messages_received += 1
                        self.on_message(opcode, data, fin)  # type: ignore[arg-type]
                        continue
                    if opcode != CLOSE:
                        if opcode == PING and self.state is OPEN:
                            self.answer_ping(data)  # type: ignore[arg-type]
                        self.on_control(opcode, data)  # type: ignore[arg-type]
                        continue
                    item = data
            if not self.settle():
                self._postponed = item
                return
            self._postponed = None
            if self._discarding:
                return
            if isinstance(item, Close):
                self._receive_close(item)
            else:
                self.fail(item)

    def _receive_close(self, close: Close) -> None:
        """Answer a close frame, or end the handshake that we began (RFC 6455 section 5.5.1)."""
        self._discarding = True
        self.close_received = close
        if self.close_sent is None:
            self._received_first = True
            self._send_close(close)
        self.on_control(CLOSE, close)
        # The server closes the TCP connection first (RFC 6455 section 7.1.1).
        if not self.client:
            self.write_eof()

    def _end(self) -> None:
        self.state = CLOSED
        self.on_closed()

    # Output

    def message(self, data: Any, *, binary: bool | None = None, fin: bool = True) -> None:
        """Send a message, or a fragment of one."""
        payload: bytes
        if isinstance(data, str):
            payload = data.encode()
            opcode = BINARY if binary else TEXT
        else:
            payload = data if type(data) is bytes else bytes(memoryview(data))
            opcode = TEXT if binary is False else BINARY
            if opcode == TEXT and fin and not self._sending and not valid_utf8(payload):
                raise ValueError("data sent as text must be valid UTF-8")
        if self.state is not OPEN:
            raise self.closed_error()
        if self._sending:
            if self._sending != opcode and (binary is not None or isinstance(data, str)):
                raise ConcurrencyError("cannot send another message before the last fragment")
            wire_opcode = CONT
        else:
            wire_opcode = opcode
        fragment_size = self.options.fragment_size
        if fragment_size is not None and len(payload) > fragment_size:
            first = fragment_size * ((len(payload) - 1) // fragment_size)
            for start in range(0, first, fragment_size):
                self._send_frame(wire_opcode, payload[start : start + fragment_size], False)
                self.fragments_sent += 1
                wire_opcode = CONT
            payload = payload[first:]
        if fin:
            self.messages_sent += 1
            self._sending = 0
        elif not self._sending:
            self._sending = opcode
        if not fin or wire_opcode == CONT:
            self.fragments_sent += 1
        self._send_frame(wire_opcode, payload, fin)

    def ping(self, data: bytes = b"") -> None:
        """Send a ping frame."""
        self._send_control(PING, data)

    def pong(self, data: bytes = b"") -> None:
        """Send a pong frame."""
        self._send_control(PONG, data)

    def close(self, code: int | None = 1000, reason: str = "") -> None:
        """Begin the closing handshake."""
        close = check_close(code, reason)
        if self.state is OPEN:
            self._send_close(close)

    def fail(self, error: BaseException) -> None:
        """End the connection because of an error, which says what to tell the peer."""
        if self._discarding or self.state is CLOSED:
            return
        self._discarding = True
        self.error = error
        if self.close_sent is None:
            reason = str(error).encode()[:123].decode(errors="ignore")
            self._send_close(Close(getattr(error, "close_code", 1011), reason))
        self.write_eof()

    @property
    def close_code(self) -> int | None:
        """The received close code."""
        if self.close_received is not None:
            return self.close_received.code
        return 1006 if self.state is CLOSED else None

    @property
    def close_reason(self) -> str | None:
        """The received close reason."""
        if self.close_received is not None:
            return self.close_received.reason
        return "" if self.state is CLOSED else None

    def closed_error(self) -> Exception:
        """The exception for how the connection ended, or is ending."""
        error = connection_closed(self.close_received, self.close_sent, self._received_first)
        error.__cause__ = self.error
        return error

    def _send_control(self, opcode: int, data: Any) -> None:
        payload = data if type(data) is bytes else bytes(memoryview(data))
        if len(payload) > 125:
            raise ValueError("The data size must not be greater than 125 bytes")
        if self.state is not OPEN:
            raise self.closed_error()
        self._send_frame(opcode, payload, True)

    def _begin_closing(self) -> None:
        if self.state is not CLOSING:
            self.state = CLOSING
            self.on_closing()

    def _send_close(self, close: Close) -> None:
        self.close_sent = close
        payload = b""
        if close.code != 1005:
            payload = close.code.to_bytes(2, "big") + close.reason.encode()
        self._send_frame(CLOSE, payload, True)
        self._begin_closing()

    def _send_frame(self, opcode: int, payload: bytes, fin: bool) -> None:
        size = len(payload)
        self.frames_sent += 1
        if opcode <= BINARY:
            self.bytes_sent += size
        if self.client:
            key = self._generate_mask()
            frame = encode_header(opcode, size, fin, 0, True) + key + xor(payload, key, size)
            self.wire_bytes_sent += len(frame)
            self.write(frame)
            return
        header = encode_header(opcode, size, fin, 0, False)
        self.wire_bytes_sent += len(header) + size
        if size > COPY_LIMIT:
            self.write(header, payload)
        else:
            self.write(header + payload)


def check_close(code: Any, reason: Any) -> Close:
    """Refuse what may not stand in a close frame (RFC 6455 section 7.4)."""
    if not isinstance(reason, str):
        raise TypeError(f"reason must be a str, not {type(reason).__name__}")
    if code is None:
        if reason:
            raise ValueError("a close reason needs a code")
        return Close(1005, "")
    if isinstance(code, bool) or not isinstance(code, int):
        raise TypeError(f"code must be an int or None, not {type(code).__name__}")
    if not is_close_code(code):
        raise ValueError(
            f"code must be 1000 to 1014 but not 1004 to 1006, or 3000 to 4999, not {code}"
        )
    if len(reason.encode()) > 123:
        raise ValueError("reason must be at most 123 bytes of UTF-8")
    return Close(int(code), reason)


class Connection(Protocol):
    """The protocol with what a connection needs around it: queue, wake-up, cork, limits."""

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
        Protocol.__init__(self, options, client=client, state=state, generate_mask=generate_mask)
        self.driver = driver
        self.loop = loop
        self.deadline = 0.0
        self.outbox: Any = None
        self.message_listener: Callable[[Any, bool], object] | None = None
        self.messages_dropped = 0
        self._thread = threading.get_ident()

        self._queue: deque[Any] = deque()
        self._receiver: Receive | None = None
        self._ignore_messages = False
        self._dispatching = False
        self._reading = True
        self._turn_messages = 0
        self._turn_bytes = 0
        self._turn_scheduled = False
        self._eof = False

        self._drains: list[Drain] = []
        self._blocked = False
        self._latest_pong: bytes | None = None
        self._held: list[bytes] = []
        self._held_size = 0
        self._held_since = 0.0
        self._last_write = 0.0
        self._cork_depth = 0
        self._flush_scheduled = False

    # Hooks of the subclass

    def on_deadline(self, now: float) -> float:
        """The deadline is reached; returns the next."""
        return now + 3600

    def listener_failed(self, error: BaseException) -> None:
        """A message listener raised an exception."""

    def send_other(self, data: Any, binary: bool | None, fin: bool) -> Any:
        """Send what is neither str nor bytes-like."""
        raise TypeError(f"data must be str or bytes-like, not {type(data).__name__}")

    def send_failed(self, error: BaseException) -> None:
        """A send failed, and nobody awaited it."""

    # From the driver

    def received(self, data: Any) -> None:
        """Bytes came."""
        self._turn(data)

    def eof(self) -> bool:
        """The peer will send nothing more. True if there is still something to deal with."""
        self._eof = True
        if self._has_rest():
            return True
        self._receive_eof()
        return False

    def writable(self) -> None:
        """What waited to be written has shrunk to a quarter of the limit."""
        self._blocked = False
        pong, self._latest_pong = self._latest_pong, None
        if pong is not None and self.state is OPEN:
            self._send_frame(PONG, pong, True)
        drains, self._drains = self._drains, []
        for drain in drains:
            self._wake(drain)
        self._go_on(WRITES_BLOCKED)

    def lost(self, error: BaseException | None) -> None:
        """The transport is closed."""
        if self.state is CLOSED:
            return
        self._stopped = 0
        self._reading = False
        self._held.clear()
        # What came before the end is delivered before the end is told.
        while not self._discarding and self._has_rest():
            self._stopped = 0
            self._process()
        self._discarding = True
        if error is not None and self.error is None and self.close_received is None:
            self.error = NetworkError.wrap(error)
        self._end()
        if self._receiver is not None:
            self._wake(self._receiver)
        drains, self._drains = self._drains, []
        for drain in drains:
            self._wake(drain)

    def tick(self, now: float) -> None:
        """Time went by."""
        if now >= self.deadline:
            self.deadline = self.on_deadline(now)

    # Reading

    def _turn(self, data: Any = None) -> None:
        """Deal with input; then wake the waiting receiver, once; then send what was held."""
        if self.state is CLOSED:
            return
        nested, self._dispatching = self._dispatching, True
        self._turn_messages = 0
        self._turn_bytes = 0
        try:
            if self._queue and self.message_listener is not None:
                self._deliver_queue()
            if data is not None:
                self.receive(data)
            elif not self._stopped:
                self._process()
            if self._receiver is not None and (self._queue or self._discarding):
                self._wake(self._receiver)
        finally:
            self._dispatching = nested
            self._flush()
        max_queue = self.options.max_queue
        if (
            max_queue is not None
            and len(self._queue) >= max_queue
            and self._receiver is None
            and self.close_sent is None
        ):
            self._stopped |= QUEUE_FULL
        if not self._has_rest():
            self._stopped &= ~TURN_OVER
        elif not self._stopped & ~TURN_OVER:
            self._schedule_turn()
        self._update_reading()

    def _has_rest(self) -> bool:
        """Whether there is input that reading stopped before."""
        return self._reader.pending > 0 or self._postponed is not None

    def _schedule_turn(self) -> None:
        self._stopped |= TURN_OVER
        if not self._turn_scheduled:
            self._turn_scheduled = True
            self.loop.call_soon(self._next_turn)

    def _next_turn(self) -> None:
        """Go on where the last turn stopped."""
        self._turn_scheduled = False
        self._stopped &= ~TURN_OVER
        self._turn()
        if self._eof and self.state is not CLOSED and not self._has_rest():
            self._receive_eof()

    def _receive_eof(self) -> None:
        self._discarding = True
        self._flush()
        self._begin_closing()
        self.driver.shutdown_write(self)

    def _update_reading(self) -> None:
        reading = not self._stopped
        if reading is not self._reading and self.state is not CLOSED:
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

    def settle(self) -> bool:
        """Wake the receiver before a close frame or an error is acted on."""
        if self._receiver is None or not self._queue or not self._reading:
            return True
        if self._wake(self._receiver):
            return True
        # The receiver runs in the next pass of the loop, and we go on behind it.
        self._schedule_turn()
        return False

    def on_message(self, opcode: int, data: Any, fin: bool) -> None:
        """Hand a message to the listener or put it into the queue."""
        self._count_for_turn(len(data))
        if self._ignore_messages:
            return
        listener = self.message_listener
        if listener is not None and not self._queue:
            try:
                listener(data, opcode != TEXT)
            except Exception as error:
                self.listener_failed(error)
            return
        max_queue = self.options.max_queue
        if (
            self.close_sent is not None
            and max_queue is not None
            and len(self._queue) >= max_queue
            and self._receiver is None
        ):
            # Reading goes on to find the peer's close frame, and nobody takes the messages.
            self.messages_dropped += 1
            return
        if self._reader.fragments or not fin or opcode == CONT:
            data = (opcode, data, fin)
        self._queue.append(data)

    def _count_for_turn(self, size: int) -> None:
        self._turn_messages += 1
        self._turn_bytes += size
        if self._turn_messages >= TURN_MESSAGES or self._turn_bytes >= TURN_BYTES:
            self._stopped |= TURN_OVER

    def _deliver_queue(self) -> None:
        """Hand to a listener what came before it was attached."""
        while self._queue and self.message_listener is not None and not self._stopped & BY_USER:
            message = self._take_message()
            if message is None:
                return
            try:
                self.message_listener(message, not isinstance(message, str))
            except Exception as error:
                self.listener_failed(error)
        self._stopped &= ~QUEUE_FULL

    def answer_ping(self, data: bytes) -> None:
        """Send the pong; while writes are blocked only the latest (RFC 6455 section 5.5.3)."""
        self._count_for_turn(0)
        if self._blocked:
            self._latest_pong = data
        else:
            self._send_frame(PONG, data, True)

    def pause(self) -> None:
        """Stop reading."""
        if self.state is OPEN:
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
        """Whether pause() was called, and resume() was not."""
        return bool(self._stopped & BY_USER)

    @property
    def is_reading(self) -> bool:
        """Whether the peer's bytes are read."""
        return not self._stopped

    def discard(self) -> None:
        """Drop the messages that wait and those that come."""
        self._ignore_messages = True
        self._queue.clear()
        self._go_on(QUEUE_FULL)

    def recv(self, decode: bool | None = None) -> Any:
        """Receive the next message."""
        if threading.get_ident() != self._thread:
            return Deferred(self.recv, decode)
        return Receive(self, decode, False, False)

    def recv_fragment(self) -> Any:
        """Receive the next frame of a message, as (opcode, data, fin)."""
        return Receive(self, None, False, True)

    def __aiter__(self) -> Connection:
        return self

    def __anext__(self) -> Any:
        return Receive(self, None, True, False)

    def _take_message(self) -> Any:
        """The next whole message of the queue, or None."""
        queue = self._queue
        while queue:
            message = queue[0]
            if type(message) is not tuple:
                queue.popleft()
                self._taken()
                return message
            if message[0] != CONT:
                break
            queue.popleft()  # the rest of a message that recv_streaming() gave up
        for count, part in enumerate(queue, 1):
            if part[2]:
                parts = [queue.popleft() for _ in range(count)]
                self._taken()
                data = b"".join([data for _, data, _ in parts])
                return data.decode() if parts[0][0] == TEXT else data
        return None

    def _take_fragment(self) -> Any:
        queue = self._queue
        if not queue:
            return None
        message = queue.popleft()
        self._taken()
        if type(message) is tuple:
            return message
        return (TEXT if isinstance(message, str) else BINARY), message, True

    def _taken(self) -> None:
        if self._stopped & QUEUE_FULL:
            max_queue = self.options.max_queue
            if max_queue is None or len(self._queue) <= max_queue // 4:
                self._go_on(QUEUE_FULL)

    def _wake(self, waiter: Waiter) -> bool:
        """Resume the task that waits: True if it ran, False if it will."""
        callback, context = waiter._callback, waiter._context
        if callback is None:
            return False
        waiter._callback = None
        if self._dispatching and context is not None and current_task(self.loop) is None:
            # Straight from the dispatch, without a pass of the loop. It cannot be done where the
            # task's context is in use: then the loop does it.
            try:
                context.run(callback, waiter)
            except RuntimeError:
                if waiter._callback is not None:
                    raise
            else:
                return True
        self.loop.call_soon(callback, waiter, context=context)
        return False

    # Writing

    def send(
        self, data: Any, *, binary: bool | None = None, compress: bool = True, fin: bool = True
    ) -> Any:
        """Send a message."""
        if threading.get_ident() != self._thread:
            return Deferred(self.send, data, binary=binary, compress=compress, fin=fin)
        if not isinstance(data, (str, bytes, bytearray, memoryview)):
            return self.send_other(data, binary, fin)
        if self.outbox is not None:
            return self.outbox.put(data, binary, fin)
        if self.state is not OPEN:
            return Failed(self, self.closed_error)
        try:
            self.message(data, binary=binary, fin=fin)
        except ConcurrencyError as error:
            return Failed(self, error)
        if self._blocked:
            return Drain(self)
        return SENT

    def write(self, *buffers: bytes) -> None:
        """Send at once, or hold what follows in the same breath (DESIGN: cork)."""
        now = monotonic()
        recent = now - self._last_write < CORK_WINDOW
        self._last_write = now
        held = self._held
        hold = recent or (self._dispatching and (self._queue or self._reader.pending))
        if self._cork_depth:
            hold = True
        elif held and (now - self._held_since >= CORK_WINDOW or self._held_size > CORK_SIZE):
            hold = False
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
            self.loop.call_soon(self._scheduled_flush)

    def send_prepared(self, frame: bytes, size: int) -> None:
        """Send a frame that was made for several connections."""
        self.messages_sent += 1
        self.frames_sent += 1
        self.bytes_sent += size
        self.wire_bytes_sent += len(frame)
        self.write(frame)

    @property
    def is_blocked(self) -> bool:
        """Whether more waits to be written than the limit allows."""
        return self._blocked

    @property
    def is_sending_fragments(self) -> bool:
        """Whether a message was begun with ``fin=False`` and not finished."""
        return self._sending != 0

    def drain(self) -> Any:
        """Wait while the connection is blocked."""
        return Drain(self) if self._blocked else SENT

    def cork(self) -> Cork:
        """Hold what is sent inside a ``with`` block until its end."""
        return Cork(self)

    def write_eof(self) -> None:
        """Send what is held and the end of the stream."""
        self._flush()
        self._stopped = 0
        if not self._dispatching:
            self._update_reading()
        if not self._eof:
            self.driver.shutdown_write(self)

    def close(self, code: int | None = 1000, reason: str = "") -> None:
        """Begin the closing handshake, and read on to find the peer's close frame."""
        Protocol.close(self, code, reason)
        self._flush()
        self._go_on(BY_USER | QUEUE_FULL)

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

    def _transmit(self, buffers: Any) -> None:
        if self.state is CLOSED:
            return
        waiting = self.driver.write(self, buffers)
        options = self.options
        if waiting > options.write_limit:
            if not self._blocked:
                self._blocked = True
                self._stop(WRITES_BLOCKED)
            if options.max_write_buffer is not None and waiting > options.max_write_buffer:
                self.abort(WriteBufferFull(waiting, options.max_write_buffer))

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

    __slots__ = ("_connection",)

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def __enter__(self) -> None:
        self._connection._cork_depth += 1

    def __exit__(self, *_: object) -> None:
        self._connection._cork_depth -= 1
        self._connection._flush()


class Waiter(Coroutine[Any, Any, Any]):
    """What a task waits for. It is its own iterator and follows the protocol of asyncio's futures.

    The task that awaits it gets the object itself, and registers its wake-up with
    `add_done_callback`; the value is made when the task runs again, so that a cancelled wait
    takes nothing with it.
    """

    __slots__ = (
        "_asyncio_future_blocking",
        "_callback",
        "_cancelled",
        "_connection",
        "_context",
        "_waiting",
    )

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._asyncio_future_blocking = False
        self._callback: Any = None
        self._context: Any = None
        self._cancelled: Any = None
        self._waiting = False

    def poll(self) -> bool:
        """Raise StopIteration with the result, or the error, or register and return False."""
        raise NotImplementedError

    def forget(self) -> None:
        """Take the registration back."""

    def __await__(self) -> Any:
        return self

    def __iter__(self) -> Any:
        return self

    def __next__(self) -> Any:
        if not self._waiting:
            self.begin()
        try:
            self.poll()
        except BaseException:
            self._waiting = False
            self.forget()
            raise
        self._waiting = True
        self._asyncio_future_blocking = True
        return self

    def begin(self) -> None:
        """Refuse what cannot be waited for."""

    def send(self, value: Any) -> Any:
        return self.__next__()

    def throw(self, typ: Any, value: Any = None, traceback: Any = None) -> Any:
        self.close()
        if value is None:
            value = typ if isinstance(typ, BaseException) else typ()
        raise value

    def close(self) -> None:
        if self._waiting:
            self._waiting = False
            self.forget()

    # The part of asyncio.Future that a task uses

    def get_loop(self) -> Any:
        return self._connection.loop

    def add_done_callback(self, callback: Any, *, context: Any = None) -> None:
        self._callback = callback
        self._context = context

    def remove_done_callback(self, callback: Any) -> int:
        count = int(self._callback is not None)
        self._callback = None
        return count

    def cancel(self, msg: Any = None) -> bool:
        if not self._waiting or self._cancelled is not None:
            return False
        self._cancelled = (msg,) if msg is not None else ()
        callback, self._callback = self._callback, None
        if callback is not None:
            # Never at once: cancel() is called by other tasks.
            self._connection.loop.call_soon(callback, self, context=self._context)
        return True

    def result(self) -> None:
        if self._cancelled is not None:
            arguments, self._cancelled = self._cancelled, None
            raise CancelledError(*arguments)


class Receive(Waiter):
    """The awaitable of `recv`."""

    __slots__ = ("_decode", "_fragment", "_iterating")

    def __init__(
        self, connection: Connection, decode: bool | None, iterating: bool, fragment: bool
    ) -> None:
        Waiter.__init__(self, connection)
        self._decode = decode
        self._iterating = iterating
        self._fragment = fragment

    def begin(self) -> None:
        connection = self._connection
        if connection._receiver is not None:
            raise ConcurrencyError(
                "cannot call recv while another coroutine is already running recv"
            )
        if connection.message_listener is not None:
            raise ConcurrencyError("cannot call recv while a message listener is attached")

    def poll(self) -> bool:
        connection = self._connection
        if connection._queue:
            if self._fragment:
                message = connection._take_fragment()
            else:
                message = connection._take_message()
            if message is not None:
                if self._decode is not None:
                    message = convert(message, self._decode)
                raise StopIteration(message)
        if connection._discarding:
            error = connection.closed_error()
            if self._iterating and isinstance(error, ConnectionClosedOK):
                raise StopAsyncIteration
            raise error
        connection._receiver = self
        # Of a message that comes in fragments there may be more than the queue takes.
        connection._go_on(QUEUE_FULL)
        return False

    def forget(self) -> None:
        if self._connection._receiver is self:
            self._connection._receiver = None


class Drain(Waiter):
    """The awaitable of a `send` that found the peer slow."""

    __slots__ = ()

    def poll(self) -> bool:
        connection = self._connection
        if connection.state is CLOSED:
            raise connection.closed_error()
        if not connection._blocked:
            raise StopIteration
        if not self._waiting or self not in connection._drains:
            connection._drains.append(self)
        return False

    def forget(self) -> None:
        if self in self._connection._drains:
            self._connection._drains.remove(self)


class Sent(Coroutine[Any, Any, None]):
    """The awaitable of a `send` that is done."""

    __slots__ = ()

    def __await__(self) -> Any:
        return self

    def __iter__(self) -> Any:
        return self

    def __next__(self) -> Any:
        raise StopIteration

    def send(self, value: Any) -> Any:
        raise StopIteration

    def throw(self, typ: Any, value: Any = None, traceback: Any = None) -> Any:
        if value is None:
            value = typ if isinstance(typ, BaseException) else typ()
        raise value

    def close(self) -> None:
        pass


SENT = Sent()


def convert(message: Any, decode: bool) -> Any:
    """The message as str or as bytes, as asked for."""
    if decode:
        return message if isinstance(message, str) else message.decode()
    return message.encode() if isinstance(message, str) else message
