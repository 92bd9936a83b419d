# The state machine of a connection after the opening handshake, and what a connection needs around
# it. The pure twin is _pure/core.py; the documentation is in _core.pyi.
#
# Rules of this file:
# 1. Everything that changes the state of a connection, and every rule of closing, limits,
#    fragments and order, is here. Drivers move bytes and users move messages; neither decides.
# 2. Protocol knows no socket, clock or event loop. Connection knows a driver, by its verbs, and a
#    loop, by call_soon.
# 3. User code runs only in deliver() (a listener) and wake() (a task). It may call anything: what
#    was read from self before must be read again after.
# 4. Reading stops for reasons, the bits of `stopped`. What is left of the input is kept in the
#    reader, and comes before what the socket has.
# 5. A close frame or an error is acted on only after what came before it was dealt with: see
#    settled().
# 6. A waiter's callback is dropped only when it was called: a task that is not woken hangs.

from asyncio import CancelledError, current_task
from collections import deque
from collections.abc import Coroutine

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.mem cimport PyMem_Free, PyMem_Realloc
from cpython.unicode cimport PyUnicode_Check
from libc.stdint cimport uint32_t
from libc.string cimport memcpy

from ._mask cimport next_masking_key, read_key, xor_copy
from ._parser cimport BINARY, CLOSE, CONT, MAX_HEADER, PING, PONG, TEXT, FrameReader, write_header

from ._mask import valid_utf8
from .awaitables import Deferred, Failed
from .exceptions import (
    ConcurrencyError,
    ConnectionClosedOK,
    NetworkError,
    ProtocolError,
    WriteBufferFull,
    connection_closed,
)
from .frames import Close, State, is_close_code

cdef extern from *:
    """
    #ifdef _WIN32
    #include <windows.h>
    static double monotonic_seconds(void) {
        LARGE_INTEGER frequency, counter;
        QueryPerformanceFrequency(&frequency);
        QueryPerformanceCounter(&counter);
        return (double) counter.QuadPart / (double) frequency.QuadPart;
    }
    #else
    #include <time.h>
    static double monotonic_seconds(void) {
        struct timespec now;
        clock_gettime(CLOCK_MONOTONIC, &now);
        return (double) now.tv_sec + 1e-9 * (double) now.tv_nsec;
    }
    #endif
    """
    double monotonic_seconds() noexcept nogil

cdef extern from "pythread.h":
    unsigned long PyThread_get_thread_ident() noexcept nogil

cdef extern from "Python.h":
    const char* PyUnicode_AsUTF8AndSize(object text, Py_ssize_t* size) except NULL
    int PyContext_Enter(object context) except -1
    int PyContext_Exit(object context) except -1

cdef enum:
    CONNECTING
    OPEN
    CLOSING
    CLOSED

cdef tuple STATES = tuple(State)

# Above this size the payload is not copied behind its header.
cdef enum:
    COPY_LIMIT = 16384

# Why reading is stopped.
cdef enum:
    BY_USER = 1
    QUEUE_FULL = 2
    WRITES_BLOCKED = 4
    TURN_OVER = 8

# One connection may not keep the others waiting: a turn ends after as many messages or bytes.
cdef enum:
    TURN_MESSAGES = 256
    TURN_BYTES = 1048576

# Sends that follow each other within this time, in seconds, leave together.
cdef double CORK_WINDOW = 100e-6
cdef enum:
    CORK_SIZE = 65536


cdef class Protocol:
    def __init__(self, options, *, bint client, state=State.OPEN, generate_mask=None):
        self.options = options
        self.client = client
        self.ready_state = state
        self.generate_mask = generate_mask
        self.reader = FrameReader(
            client=client,
            max_size=options.max_size,
            max_frame_size=options.max_frame_size,
            max_fragments=options.max_fragments,
        )

    # Hooks

    def on_message(self, opcode, data, fin):
        pass

    def on_control(self, opcode, data):
        pass

    def on_closing(self):
        pass

    def on_closed(self):
        pass

    def write(self, *buffers):
        pass

    def write_eof(self):
        pass

    def settle(self):
        return True

    def answer_ping(self, data):
        self.send_bytes(PONG, data, True)

    cdef int deliver(self, int opcode, object data, bint fin) except -1:
        self.on_message(opcode, data, bool(fin))
        return 0

    cdef int answer(self, object data) except -1:
        self.answer_ping(data)
        return 0

    cdef bint settled(self) except -1:
        return self.settle()

    cdef int emit(
        self, int opcode, const uint8_t* payload, size_t size, bint fin, object owner
    ) except -1:
        """Write a frame. `owner` is the bytes that payload points into, or None."""
        cdef uint8_t header[MAX_HEADER]
        cdef uint32_t key = 0
        cdef size_t header_size = write_header(header, opcode, size, fin, 0, self.client)
        cdef uint8_t* target
        if self.client:
            key = make_key(self)
            memcpy(header + header_size, &key, 4)
            header_size += 4
        elif size > COPY_LIMIT:
            if owner is None:
                owner = PyBytes_FromStringAndSize(<const char*> payload, size)
            self.write(PyBytes_FromStringAndSize(<char*> header, header_size), owner)
            return 0
        frame = PyBytes_FromStringAndSize(NULL, header_size + size)
        target = <uint8_t*> PyBytes_AS_STRING(frame)
        memcpy(target, header, header_size)
        if self.client:
            xor_copy(target + header_size, payload, size, key)
        else:
            memcpy(target + header_size, payload, size)
        self.write(frame)
        return 0

    cdef int eof_out(self) except -1:
        self.write_eof()
        return 0

    # Input

    @property
    def state(self):
        return STATES[self.ready_state]

    @property
    def fragments(self):
        return bool(self.reader.fragments)

    @fragments.setter
    def fragments(self, bint value):
        self.reader.fragments = value

    @property
    def frames_received(self):
        return self.reader.frames_read

    @property
    def fragments_received(self):
        return self.reader.fragments_read

    @property
    def bytes_received(self):
        return self.reader.bytes_read

    def open(self):
        self.ready_state = OPEN

    def receive(self, data):
        cdef Py_buffer view
        PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        try:
            self.wire_bytes_received += view.len
            if self.discarding:
                return
            if self.reader.position != self.reader.end:
                self.reader.feed(data)
            else:
                self.reader.lend(<const uint8_t*> view.buf, view.len)
            if not self.stopped:
                self.process()
        finally:
            if self.discarding:
                self.reader.position = self.reader.end
            else:
                self.reader.retain()
            PyBuffer_Release(&view)

    def receive_eof(self):
        if self.ready_state != CLOSED:
            self.discarding = True
            self.eof_out()
            self.end()

    cdef int process(self) except -1:
        """Deal with the frames of the input, until it ends or reading is stopped."""
        cdef FrameReader reader = self.reader
        cdef int opcode
        while not self.stopped and not self.discarding:
            item = self.postponed
            if item is None:
                try:
                    if not reader.advance():
                        return 0
                except ProtocolError as error:
                    item = error
                else:
                    opcode = reader.opcode
                    data = reader.data
                    reader.data = None
                    if opcode <= BINARY:
                        if reader.fin:
                            self.messages_received += 1
                        self.deliver(opcode, data, reader.fin)
                        continue
                    if opcode != CLOSE:
                        if opcode == PING and self.ready_state == OPEN:
                            self.answer(data)
                        self.on_control(opcode, data)
                        continue
                    item = data
            if not self.settled():
                self.postponed = item
                return 0
            self.postponed = None
            if self.discarding:
                return 0
            if isinstance(item, Close):
                self.receive_close(item)
            else:
                self.fail_with(item)
        return 0

    cdef int receive_close(self, object close) except -1:
        """Answer a close frame, or end the handshake that we began (RFC 6455 section 5.5.1)."""
        self.discarding = True
        self.close_received = close
        if self.close_sent is None:
            self.received_first = True
            self.send_close(close)
        self.on_control(CLOSE, close)
        # The server closes the TCP connection first (RFC 6455 section 7.1.1).
        if not self.client:
            self.eof_out()
        return 0

    cdef int end(self) except -1:
        self.ready_state = CLOSED
        self.on_closed()
        return 0

    # Output

    def message(self, data, *, binary=None, bint fin=True):
        self.send_message(data, binary, fin)

    def ping(self, data=b""):
        self.send_control(PING, data)

    def pong(self, data=b""):
        self.send_control(PONG, data)

    def close(self, code=1000, reason=""):
        close = check_close(code, reason)
        if self.ready_state == OPEN:
            self.send_close(close)

    def fail(self, error):
        self.fail_with(error)

    @property
    def close_code(self):
        if self.close_received is not None:
            return self.close_received.code
        return 1006 if self.ready_state == CLOSED else None

    @property
    def close_reason(self):
        if self.close_received is not None:
            return self.close_received.reason
        return "" if self.ready_state == CLOSED else None

    def closed_error(self):
        error = connection_closed(self.close_received, self.close_sent, bool(self.received_first))
        error.__cause__ = self.error
        return error

    cdef int fail_with(self, object error) except -1:
        if self.discarding or self.ready_state == CLOSED:
            return 0
        self.discarding = True
        self.error = error
        if self.close_sent is None:
            reason = str(error).encode()[:123].decode(errors="ignore")
            self.send_close(Close(getattr(error, "close_code", 1011), reason))
        self.eof_out()
        return 0

    cdef int send_message(self, object data, object binary, bint fin) except -1:
        cdef const uint8_t* payload
        cdef Py_ssize_t size
        cdef int opcode
        cdef int wire_opcode
        cdef size_t fragment_size
        cdef bint text = PyUnicode_Check(data)
        if text:
            payload = <const uint8_t*> PyUnicode_AsUTF8AndSize(data, &size)
            opcode = BINARY if binary else TEXT
            owner = None
        else:
            owner = data if type(data) is bytes else bytes(memoryview(data))
            payload = <const uint8_t*> PyBytes_AS_STRING(owner)
            size = PyBytes_GET_SIZE(owner)
            opcode = TEXT if binary is False else BINARY
            if opcode == TEXT and fin and not self.sending and not valid_utf8(owner):
                raise ValueError("data sent as text must be valid UTF-8")
        if self.ready_state != OPEN:
            raise self.closed_error()
        wire_opcode = opcode
        if self.sending:
            if self.sending != opcode and (text or binary is not None):
                raise ConcurrencyError("cannot send another message before the last fragment")
            wire_opcode = CONT
        if self.options.fragment_size is not None:
            fragment_size = self.options.fragment_size
            while <size_t> size > fragment_size:
                self.send_frame(wire_opcode, payload, fragment_size, False, None)
                self.fragments_sent += 1
                wire_opcode = CONT
                payload += fragment_size
                size -= fragment_size
                owner = None
        if fin:
            self.messages_sent += 1
            self.sending = 0
        elif not self.sending:
            self.sending = opcode
        if not fin or wire_opcode == CONT:
            self.fragments_sent += 1
        self.send_frame(wire_opcode, payload, size, fin, owner)
        return 0

    cdef int send_control(self, int opcode, object data) except -1:
        cdef bytes payload = data if type(data) is bytes else bytes(memoryview(data))
        if len(payload) > 125:
            raise ValueError("The data size must not be greater than 125 bytes")
        if self.ready_state != OPEN:
            raise self.closed_error()
        self.send_bytes(opcode, payload, True)
        return 0

    cdef int send_close(self, object close) except -1:
        cdef bytes payload = b""
        self.close_sent = close
        if close.code != 1005:
            payload = close.code.to_bytes(2, "big") + close.reason.encode()
        self.send_bytes(CLOSE, payload, True)
        self.begin_closing()
        return 0

    cdef int begin_closing(self) except -1:
        if self.ready_state != CLOSING:
            self.ready_state = CLOSING
            self.on_closing()
        return 0

    cdef int send_bytes(self, int opcode, bytes payload, bint fin) except -1:
        return self.send_frame(
            opcode,
            <const uint8_t*> PyBytes_AS_STRING(payload),
            PyBytes_GET_SIZE(payload),
            fin,
            payload,
        )

    cdef int send_frame(
        self, int opcode, const uint8_t* payload, size_t size, bint fin, object owner
    ) except -1:
        self.frames_sent += 1
        if opcode <= BINARY:
            self.bytes_sent += size
        self.wire_bytes_sent += (
            size + (2 if size < 126 else 4 if size < 65536 else 10) + (4 if self.client else 0)
        )
        return self.emit(opcode, payload, size, fin, owner)


cdef uint32_t make_key(Protocol protocol) except? 0:
    if protocol.generate_mask is not None:
        return read_key(protocol.generate_mask())
    return next_masking_key()


cdef object check_close(code, reason):
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


cdef class Connection(Protocol):
    def __init__(
        self, options, driver, loop, *, bint client, state=State.OPEN, generate_mask=None
    ):
        Protocol.__init__(
            self, options, client=client, state=state, generate_mask=generate_mask
        )
        self.driver = driver
        self.loop = loop
        self.thread = PyThread_get_thread_ident()
        self.queue = deque()
        self.reading = True
        self.drains = []
        self.max_queue = -1 if options.max_queue is None else options.max_queue
        self.write_limit = options.write_limit
        self.max_write_buffer = (
            -1 if options.max_write_buffer is None else options.max_write_buffer
        )

    def __dealloc__(self):
        PyMem_Free(self.held)

    # Hooks of the subclass

    def on_deadline(self, now):
        return now + 3600

    def listener_failed(self, error):
        pass

    def send_other(self, data, binary, fin):
        raise TypeError(f"data must be str or bytes-like, not {type(data).__name__}")

    def send_failed(self, error):
        pass

    # From the driver

    def received(self, data):
        self.turn(data)

    def eof(self):
        self.eof_received = True
        if self.has_rest():
            return True
        self.take_eof()
        return False

    def writable(self):
        self.blocked = False
        pong = self.latest_pong
        self.latest_pong = None
        if pong is not None and self.ready_state == OPEN:
            self.send_bytes(PONG, pong, True)
        drains = self.drains
        self.drains = []
        for drain in drains:
            self.wake(drain)
        self.go_on(WRITES_BLOCKED)

    def lost(self, error):
        if self.ready_state == CLOSED:
            return
        self.stopped = 0
        self.reading = False
        self.held_size = 0
        # What came before the end is delivered before the end is told.
        while not self.discarding and self.has_rest():
            self.stopped = 0
            self.process()
        self.discarding = True
        if error is not None and self.error is None and self.close_received is None:
            self.error = NetworkError.wrap(error)
        self.end()
        if self.receiver is not None:
            self.wake(self.receiver)
        drains = self.drains
        self.drains = []
        for drain in drains:
            self.wake(drain)

    def tick(self, double now):
        if now >= self.deadline:
            self.deadline = self.on_deadline(now)

    # Reading

    cdef int turn(self, object data) except -1:
        """Deal with input; then wake the waiting receiver, once; then send what was held."""
        cdef bint nested = self.dispatching
        if self.ready_state == CLOSED:
            return 0
        self.dispatching = True
        self.turn_messages = 0
        self.turn_bytes = 0
        try:
            if self.message_listener is not None and self.queue:
                self.deliver_queue()
            if data is not None:
                Protocol.receive(self, data)
            elif not self.stopped:
                self.process()
            if self.receiver is not None and (self.discarding or self.queue):
                self.wake(self.receiver)
        finally:
            self.dispatching = nested
            self.flush()
        if (
            self.max_queue >= 0
            and self.receiver is None
            and self.close_sent is None
            and len(self.queue) >= self.max_queue
        ):
            self.stopped |= QUEUE_FULL
        if not self.has_rest():
            self.stopped &= ~TURN_OVER
        elif not self.stopped & ~TURN_OVER:
            self.schedule_turn()
        self.update_reading()
        return 0

    cdef bint has_rest(self) noexcept:
        """Whether there is input that reading stopped before."""
        return self.reader.position != self.reader.end or self.postponed is not None

    cdef int schedule_turn(self) except -1:
        self.stopped |= TURN_OVER
        if not self.turn_scheduled:
            self.turn_scheduled = True
            self.loop.call_soon(self._next_turn)
        return 0

    def _next_turn(self):
        self.turn_scheduled = False
        self.stopped &= ~TURN_OVER
        self.turn(None)
        if self.eof_received and self.ready_state != CLOSED and not self.has_rest():
            self.take_eof()

    cdef int take_eof(self) except -1:
        self.discarding = True
        self.flush()
        self.begin_closing()
        self.driver.shutdown_write(self)
        return 0

    cdef int update_reading(self) except -1:
        cdef bint reading = not self.stopped
        if reading != self.reading and self.ready_state != CLOSED:
            self.reading = reading
            if reading:
                self.driver.resume(self)
            else:
                self.driver.pause(self)
        return 0

    cdef int stop(self, int reason) except -1:
        self.stopped |= reason
        if not self.dispatching:
            self.update_reading()
        return 0

    cdef int go_on(self, int reason) except -1:
        self.stopped &= ~reason
        if self.dispatching or self.stopped & ~TURN_OVER:
            return 0
        if self.has_rest():
            self.schedule_turn()  # before what the socket has
        else:
            self.update_reading()
        return 0

    cdef bint settled(self) except -1:
        """Wake the receiver before a close frame or an error is acted on."""
        if self.receiver is None or not self.queue or not self.reading:
            return True
        if self.wake(self.receiver):
            return True
        # The receiver runs in the next pass of the loop, and we go on behind it.
        self.schedule_turn()
        return False

    cdef int deliver(self, int opcode, object data, bint fin) except -1:
        """Hand a message to the listener or put it into the queue."""
        self.count_for_turn(len(data))
        if self.ignore_messages:
            return 0
        listener = self.message_listener
        if listener is not None and not self.queue:
            try:
                listener(data, opcode != TEXT)
            except Exception as error:
                self.listener_failed(error)
            return 0
        if (
            self.close_sent is not None
            and self.max_queue >= 0
            and self.receiver is None
            and len(self.queue) >= self.max_queue
        ):
            # Reading goes on to find the peer's close frame, and nobody takes the messages.
            self.messages_dropped += 1
            return 0
        if self.reader.fragments or not fin or opcode == CONT:
            data = (opcode, data, bool(fin))
        self.queue.append(data)
        return 0

    cdef int count_for_turn(self, size_t size) noexcept:
        self.turn_messages += 1
        self.turn_bytes += size
        if self.turn_messages >= TURN_MESSAGES or self.turn_bytes >= TURN_BYTES:
            self.stopped |= TURN_OVER
        return 0

    cdef int deliver_queue(self) except -1:
        """Hand to a listener what came before it was attached."""
        while self.queue and self.message_listener is not None and not self.stopped & BY_USER:
            message = self.take_message()
            if message is None:
                return 0
            try:
                self.message_listener(message, not isinstance(message, str))
            except Exception as error:
                self.listener_failed(error)
        self.stopped &= ~QUEUE_FULL
        return 0

    cdef int answer(self, object data) except -1:
        """Send the pong; while writes are blocked only the latest (RFC 6455 section 5.5.3)."""
        self.count_for_turn(0)
        if self.blocked:
            self.latest_pong = data
        else:
            self.send_bytes(PONG, data, True)
        return 0

    def pause(self):
        if self.ready_state == OPEN:
            self.stop(BY_USER)

    def resume(self):
        self.go_on(BY_USER)
        self.deliver_soon()

    def deliver_soon(self):
        if self.queue and self.message_listener is not None:
            self.schedule_turn()

    @property
    def is_paused(self):
        return bool(self.stopped & BY_USER)

    @property
    def is_reading(self):
        return not self.stopped

    def discard(self):
        self.ignore_messages = True
        self.queue.clear()
        self.go_on(QUEUE_FULL)

    def recv(self, decode=None):
        if PyThread_get_thread_ident() != self.thread:
            return Deferred(self.recv, decode)
        return new_receive(self, decode, False, False)

    def recv_fragment(self):
        return new_receive(self, None, False, True)

    def __aiter__(self):
        return self

    def __anext__(self):
        return new_receive(self, None, True, False)

    cdef object take_message(self):
        """The next whole message of the queue, or None."""
        queue = self.queue
        while queue:
            message = queue[0]
            if type(message) is not tuple:
                queue.popleft()
                self.taken()
                return message
            if message[0] != CONT:
                break
            queue.popleft()  # the rest of a message that recv_streaming() gave up
        for count, part in enumerate(queue, 1):
            if part[2]:
                parts = [queue.popleft() for _ in range(count)]
                self.taken()
                data = b"".join([data for _, data, _ in parts])
                return data.decode() if parts[0][0] == TEXT else data
        return None

    cdef object take_fragment(self):
        if not self.queue:
            return None
        message = self.queue.popleft()
        self.taken()
        if type(message) is tuple:
            return message
        return (TEXT if isinstance(message, str) else BINARY), message, True

    cdef int taken(self) except -1:
        if self.stopped & QUEUE_FULL and len(self.queue) <= self.max_queue // 4:
            self.go_on(QUEUE_FULL)
        return 0

    cdef bint wake(self, Waiter waiter) except -1:
        """Resume the task that waits: True if it ran, False if it will."""
        callback = waiter.callback
        context = waiter.context
        if callback is None:
            return False
        waiter.callback = None
        if self.dispatching and context is not None and current_task(self.loop) is None:
            # Straight from the dispatch, without a pass of the loop. It cannot be done where the
            # task's context is in use: then the loop does it.
            try:
                PyContext_Enter(context)
            except RuntimeError:
                pass
            else:
                try:
                    callback(waiter)
                finally:
                    PyContext_Exit(context)
                return True
        self.loop.call_soon(callback, waiter, context=context)
        return False

    # Writing

    def send(self, data, *, binary=None, compress=True, bint fin=True):
        if PyThread_get_thread_ident() != self.thread:
            return Deferred(self.send, data, binary=binary, compress=compress, fin=fin)
        if not isinstance(data, (str, bytes, bytearray, memoryview)):
            return self.send_other(data, binary, bool(fin))
        if self.outbox is not None:
            return self.outbox.put(data, binary, bool(fin))
        if self.ready_state != OPEN:
            return Failed(self, self.closed_error)
        try:
            self.send_message(data, binary, fin)
        except ConcurrencyError as error:
            return Failed(self, error)
        if self.blocked:
            return new_drain(self)
        return SENT

    def send_prepared(self, bytes frame, uint64_t size):
        cdef double now
        cdef bint hold
        self.messages_sent += 1
        self.frames_sent += 1
        self.bytes_sent += size
        self.wire_bytes_sent += len(frame)
        now = monotonic_seconds()
        hold = self.should_hold(now)
        if not hold and not self.held_size:
            self.transmit((frame,))
            return
        memcpy(self.reserve(len(frame)), PyBytes_AS_STRING(frame), len(frame))
        self.held_size += len(frame)
        self.written(now, hold)

    @property
    def is_blocked(self):
        return bool(self.blocked)

    @property
    def is_sending_fragments(self):
        return self.sending != 0

    def drain(self):
        return new_drain(self) if self.blocked else SENT

    cdef int emit(
        self, int opcode, const uint8_t* payload, size_t size, bint fin, object owner
    ) except -1:
        """Send a frame at once, or hold it with what follows in the same breath (DESIGN: cork)."""
        cdef double now = monotonic_seconds()
        cdef bint hold = self.should_hold(now)
        cdef bint large = size > COPY_LIMIT and not self.client and owner is not None
        cdef uint8_t* target = self.reserve(MAX_HEADER if large else size + MAX_HEADER)
        cdef size_t header_size = write_header(target, opcode, size, fin, 0, self.client)
        cdef uint32_t key
        if large:
            # The payload leaves from where it is, behind what is held.
            self.held_size += header_size
            data = PyBytes_FromStringAndSize(<char*> self.held, self.held_size)
            self.release_held()
            return self.transmit((data, owner))
        if self.client:
            key = make_key(self)
            memcpy(target + header_size, &key, 4)
            header_size += 4
            xor_copy(target + header_size, payload, size, key)
        else:
            memcpy(target + header_size, payload, size)
        self.held_size += header_size + size
        return self.written(now, hold)

    cdef bint should_hold(self, double now) noexcept:
        cdef bint recent = now - self.last_write < CORK_WINDOW
        self.last_write = now
        if self.cork_depth:
            return True
        if self.held_size and (
            now - self.held_since >= CORK_WINDOW or self.held_size > CORK_SIZE
        ):
            return False
        return recent or (
            self.dispatching
            and (self.reader.position != self.reader.end or len(self.queue) > 0)
        )

    cdef uint8_t* reserve(self, size_t size) except NULL:
        """Room for size bytes at the end of what is held."""
        cdef size_t needed = self.held_size + size
        cdef void* held
        if needed > self.held_capacity:
            if self.held_capacity and needed < 2 * self.held_capacity:
                needed = 2 * self.held_capacity
            held = PyMem_Realloc(self.held, needed)
            if held is NULL:
                raise MemoryError
            self.held = <uint8_t*> held
            self.held_capacity = needed
        return self.held + self.held_size

    cdef int written(self, double now, bint hold) except -1:
        """Flush what is held, or see that it is flushed in time."""
        if not hold:
            return self.flush()
        if self.held_since == 0:
            self.held_since = now
        if not self.dispatching and not self.cork_depth and not self.flush_scheduled:
            self.flush_scheduled = True
            self.loop.call_soon(self._scheduled_flush)
        return 0

    def _scheduled_flush(self):
        self.flush_scheduled = False
        self.flush()

    cdef int flush(self) except -1:
        if self.held_size and not self.cork_depth and self.ready_state != CLOSED:
            data = PyBytes_FromStringAndSize(<char*> self.held, self.held_size)
            self.release_held()
            self.transmit((data,))
        return 0

    cdef int release_held(self) noexcept:
        """An idle connection has no buffer."""
        PyMem_Free(self.held)
        self.held = NULL
        self.held_size = 0
        self.held_capacity = 0
        self.held_since = 0
        return 0

    def cork(self):
        return Cork(self)

    cdef int eof_out(self) except -1:
        self.flush()
        self.stopped = 0
        if not self.dispatching:
            self.update_reading()
        if not self.eof_received:
            self.driver.shutdown_write(self)
        return 0

    def close(self, code=1000, reason=""):
        Protocol.close(self, code, reason)
        self.flush()
        self.go_on(BY_USER | QUEUE_FULL)

    @property
    def buffered_amount(self):
        return self.held_size + self.driver.get_extra_info(self, "buffered")

    cdef int transmit(self, object buffers) except -1:
        cdef Py_ssize_t waiting
        if self.ready_state == CLOSED:
            return 0
        waiting = self.driver.write(self, buffers)
        if waiting > self.write_limit:
            if not self.blocked:
                self.blocked = True
                self.stop(WRITES_BLOCKED)
            if self.max_write_buffer >= 0 and waiting > self.max_write_buffer:
                self.abort_with(WriteBufferFull(waiting, self.max_write_buffer))
        return 0

    def abort(self, error=None):
        self.abort_with(error)

    cdef int abort_with(self, object error) except -1:
        if self.ready_state == CLOSED:
            return 0
        self.discarding = True
        if self.error is None:
            self.error = error
        self.held_size = 0
        self.begin_closing()
        self.driver.abort(self)
        return 0

    @property
    def _thread(self):
        return self.thread


cdef class Cork:
    cdef Connection connection

    def __init__(self, Connection connection):
        self.connection = connection

    def __enter__(self):
        self.connection.cork_depth += 1

    def __exit__(self, *_):
        self.connection.cork_depth -= 1
        self.connection.flush()


cdef class Waiter:
    # What a task waits for. It is its own iterator and follows the protocol of asyncio's futures:
    # the task that awaits it gets the object itself, and registers its wake-up with
    # add_done_callback; the value is made when the task runs again, so that a cancelled wait takes
    # nothing with it.

    cdef int begin(self) except -1:
        """Refuse what cannot be waited for."""
        return 0

    cdef bint poll(self) except -1:
        """Raise StopIteration with the result, or the error; or register and return."""
        raise NotImplementedError

    cdef int forget(self) except -1:
        """Take the registration back."""
        return 0

    def __await__(self):
        return self

    def __iter__(self):
        return self

    def __next__(self):
        if not self.waiting:
            self.begin()
        try:
            self.poll()
        except BaseException:
            self.waiting = False
            self.forget()
            raise
        self.waiting = True
        self._asyncio_future_blocking = True
        return self

    def send(self, value):
        return self.__next__()

    def throw(self, typ, value=None, traceback=None):
        self.close()
        if value is None:
            value = typ if isinstance(typ, BaseException) else typ()
        raise value

    def close(self):
        if self.waiting:
            self.waiting = False
            self.forget()

    # The part of asyncio.Future that a task uses

    def get_loop(self):
        return self.connection.loop

    def add_done_callback(self, callback, *, context=None):
        self.callback = callback
        self.context = context

    def remove_done_callback(self, callback):
        count = int(self.callback is not None)
        self.callback = None
        return count

    def cancel(self, msg=None):
        if not self.waiting or self.cancelled is not None:
            return False
        self.cancelled = (msg,) if msg is not None else ()
        callback = self.callback
        self.callback = None
        if callback is not None:
            # Never at once: cancel() is called by other tasks.
            self.connection.loop.call_soon(callback, self, context=self.context)
        return True

    def result(self):
        if self.cancelled is not None:
            arguments = self.cancelled
            self.cancelled = None
            raise CancelledError(*arguments)


cdef class Receive(Waiter):
    cdef int begin(self) except -1:
        if self.connection.receiver is not None:
            raise ConcurrencyError(
                "cannot call recv while another coroutine is already running recv"
            )
        if self.connection.message_listener is not None:
            raise ConcurrencyError("cannot call recv while a message listener is attached")
        return 0

    cdef bint poll(self) except -1:
        cdef Connection connection = self.connection
        if connection.queue:
            if self.fragment:
                message = connection.take_fragment()
            else:
                message = connection.take_message()
            if message is not None:
                if self.decode is not None:
                    message = convert(message, self.decode)
                raise StopIteration(message)
        if connection.discarding:
            error = connection.closed_error()
            if self.iterating and isinstance(error, ConnectionClosedOK):
                raise StopAsyncIteration
            raise error
        connection.receiver = self
        # Of a message that comes in fragments there may be more than the queue takes.
        connection.go_on(QUEUE_FULL)
        return False

    cdef int forget(self) except -1:
        if self.connection.receiver is self:
            self.connection.receiver = None
        return 0


cdef class Drain(Waiter):
    cdef bint poll(self) except -1:
        cdef Connection connection = self.connection
        if connection.ready_state == CLOSED:
            raise connection.closed_error()
        if not connection.blocked:
            raise StopIteration
        if not self.waiting or self not in connection.drains:
            connection.drains.append(self)
        return False

    cdef int forget(self) except -1:
        if self in self.connection.drains:
            self.connection.drains.remove(self)
        return 0


cdef Receive new_receive(Connection connection, object decode, bint iterating, bint fragment):
    cdef Receive receive = Receive.__new__(Receive)
    receive.connection = connection
    receive.decode = decode
    receive.iterating = iterating
    receive.fragment = fragment
    return receive


cdef Drain new_drain(Connection connection):
    cdef Drain drain = Drain.__new__(Drain)
    drain.connection = connection
    return drain


cdef class Sent:
    def __await__(self):
        return self

    def __iter__(self):
        return self

    def __next__(self):
        raise StopIteration

    def send(self, value):
        raise StopIteration

    def throw(self, typ, value=None, traceback=None):
        if value is None:
            value = typ if isinstance(typ, BaseException) else typ()
        raise value

    def close(self):
        pass


SENT = Sent()

Coroutine.register(Waiter)
Coroutine.register(Sent)


cdef object convert(object message, object decode):
    """The message as str or as bytes, as asked for."""
    if decode:
        return message if isinstance(message, str) else message.decode()
    return message.encode() if isinstance(message, str) else message
