# A connection: the state machine of _protocol.pyx, and what a connection needs around it; its
# sending side is _writing.pyx. The pure twin is _pure/core.py; the documentation is in _core.pyi.
#
# Rules of this file:
# 1. Connection knows a driver, by its verbs (see _driver.pyx), and a loop, by call_soon.
# 2. User code runs only in deliver() (a listener) and wake() (a task). It may call anything: what
#    was read from self before must be read again after.
# 3. Reading stops for reasons, the bits of `stopped`. What is left of the input is kept in the
#    reader, and comes before what the socket has.
# 4. A waiter's callback is dropped only when it was called: a task that is not woken hangs.

from cpython.buffer cimport (
    PyBUF_SIMPLE,
    PyBuffer_Release,
    PyObject_CheckBuffer,
    PyObject_GetBuffer,
)
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF

from ._frame cimport BINARY, CONT, PONG, TEXT
from ._protocol cimport (
    BY_USER,
    CLOSED,
    EXTENSIONS_BUSY,
    IGNORED,
    OPEN,
    QUEUE_FULL,
    TURN_OVER,
    WRITES_BLOCKED,
    Protocol,
)
from ._parser cimport FrameReader
from ._queue cimport MessageQueue
from ._waiter cimport Waiter, no_task_runs
from ._writing cimport Writer

from ._waiter import SENT
from . import offload
from .awaitables import Deferred, Failed
from .exceptions import ConcurrencyError, ConnectionClosed, NetworkError, ProtocolError
from .frames import State

cdef extern from *:
    """
    /* For what is called without Cython's check: its exception is set, and to be raised. */
    static inline int raise_what_is_set(void) { return -1; }
    """
    int raise_what_is_set() except -1

cdef extern from "Python.h":
    PyObject* PyObject_Vectorcall(
        object function, PyObject* const* arguments, size_t count, PyObject* names
    )

cdef extern from "pythread.h":
    unsigned long PyThread_get_thread_ident() noexcept nogil

# One connection may not keep the others waiting: a turn ends after as many messages or bytes.
cdef enum:
    TURN_MESSAGES = 256
    TURN_BYTES = 1048576

cdef Py_ssize_t LARGE = offload.LARGE

# The largest number of 32 bits. No queue is as long.
cdef uint32_t NO_LIMIT = 0xFFFFFFFF

# Why a message takes time.
cdef enum:
    TO_COMPRESS = 1
    IN_FRAGMENTS = 2

# What nearly all connections have. It stays empty.
cdef MessageQueue EMPTY = MessageQueue()


cdef class Connection(Writer):
    def __init__(
        self, options, driver, loop, *, bint client, state=State.OPEN, generate_mask=None
    ):
        self.set_up(options, client, state, generate_mask)
        self.set_up_writing(driver, loop)
        if self.queue is None:
            self.queue = EMPTY
        else:
            self.queue.drop_incomplete()  # what came whole in the life before is still to be had
        self.thread = PyThread_get_thread_ident()
        self.deadline = self.latency = self.next_ping = self.heard = 0
        self.reading = True
        self.turn_scheduled = self.eof_received = False
        self.latest_pong = None
        self.max_queue = min(options.max_queue or NO_LIMIT, NO_LIMIT)
        # Who waits since the life before looks again, and waits for what comes now.
        if self.receiver is not None:
            self.receiver.wake(False)
        self.wake_drains(False)

    # Hooks of the subclass

    def on_deadline(self, now):
        return now + 3600

    def listener_failed(self, error):
        pass

    def send_other(self, data, binary, fin, compress):
        raise TypeError(f"data must be str or bytes-like, not {type(data).__name__}")

    def send_large(self, data, binary):
        self.send_message(data, binary, True, True)
        return self.drain()

    def send_by_and_by(self, data, binary, compress):
        self.send_message(data, binary, True, compress)
        return self.drain()

    def send_failed(self, error):
        pass

    def send_closed(self, data, binary, fin, compress):
        return Failed(self, self.closed_error)

    # From the driver

    def received(self, data):
        cdef Py_buffer view
        PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        try:
            self.turn(<const uint8_t*> view.buf, view.len, no_task_runs(self.loop))
        finally:
            PyBuffer_Release(&view)

    def receive_soon(self, data):
        self.wire_bytes_received += len(data)
        self.reader.feed(data)
        self.schedule_turn()

    def eof(self):
        self.eof_received = True
        if self.has_rest() or self.is_processing():
            self.deadline = 0
            return True
        self.take_eof()
        return False

    def writable(self):
        cdef bint nested
        self.blocked = False
        pong = self.latest_pong
        self.latest_pong = None
        if pong is not None and self.ready_state == OPEN:
            self.send_control_frame(PONG, pong)
        if self.drains is not None:
            nested = self.dispatching
            self.dispatching = True
            try:
                self.wake_drains(True)
            finally:
                self.dispatching = nested
                self.flush()
        if self.discarding:  # who was woken ended it
            self.tell_receiver()
        if not self.blocked:  # again, by the pong or by who was woken
            self.go_on(WRITES_BLOCKED)

    def lost(self, error):
        if self.ready_state == CLOSED:
            return
        self.stopped = 0
        self.is_lost = True
        self.drop_held()
        # What came before the end is delivered before the end is told.
        self.deliver_queue()
        while not self.discarding and self.has_rest():
            self.stopped = 0
            self.process()
        self.discarding = True
        if error is not None and self.error is None and self.close_received is None:
            self.error = NetworkError.wrap(error)
        self.end()
        if self.receiver is not None:
            self.receiver.wake(False)
        self.wake_drains(False)

    cdef int wake_drains(self, bint directly) except -1:
        cdef Drain drain
        drains = self.drains
        if drains is not None:
            self.drains = None
            for drain in drains:
                drain.wake(directly and no_task_runs(self.loop))
        return 0

    def tick(self, double now):
        if now >= self.deadline:
            self.deadline = self.on_deadline(now)

    # Reading

    cdef int turn(self, const uint8_t* data, size_t size, bint outside_tasks) except -1:
        """Deal with input; then wake the waiting receiver, once; then send what was held."""
        cdef bint nested = self.dispatching
        cdef bint nested_outside = self.outside_tasks
        if self.ready_state == CLOSED:
            self.deliver_queue()  # the listener was attached at last
            return 0
        self.dispatching = True
        self.outside_tasks = outside_tasks
        self.turn_messages = 0
        self.turn_bytes = 0
        try:
            if self.message_listener is not None and self.queue.count:
                self.deliver_queue()
            if data is not NULL:
                self.take_input(data, size)
            elif not self.stopped:
                self.process()
            if self.receiver is not None and (self.discarding or self.queue.count):
                self.receiver.wake(self.outside_tasks)
        finally:
            self.dispatching = nested
            self.outside_tasks = nested_outside
            self.flush()
        if (
            self.receiver is None
            and self.close_sent is None
            and self.queue.count >= self.max_queue
            and self.message_listener is None
        ):
            self.stopped |= QUEUE_FULL
        if not self.has_rest():
            self.stopped &= ~TURN_OVER
        elif not self.stopped & ~TURN_OVER:
            self.schedule_turn()
        self.update_reading()
        return 0

    cdef int filled(self, size_t size, bint outside_tasks) except -1:
        """A part of a large frame was read to where it will stay."""
        self.wire_bytes_received += size
        try:
            self.reader.fill(size)
        except ProtocolError as error:
            self.postponed = error
        if self.reader.remaining == 0 or self.postponed is not None:
            return self.turn(NULL, 0, outside_tasks)
        return 0

    cdef bint has_rest(self) except -1:
        """Whether there is input that reading stopped before."""
        return not self.discarding and (
            self.reader.position != self.reader.end
            or self.postponed is not None
            or (self.stacked and self.negotiated.ready)
        )

    @property
    def is_ending(self):
        return self.is_processing() and (self.eof_received or self.postponed is not None)

    cdef bint is_processing(self) except -1:
        """Whether extensions have messages that came."""
        return self.stacked and not self.discarding and self.negotiated.incoming

    def on_processed(self):
        self.stopped &= ~EXTENSIONS_BUSY
        if not self.dispatching and self.ready_state != CLOSED:
            self.schedule_turn()

    cdef int schedule_turn(self) except -1:
        self.stopped |= TURN_OVER
        if not self.turn_scheduled:
            self.turn_scheduled = True
            self.loop.call_soon(self._next_turn, self.reader)
        return 0

    def _next_turn(self, FrameReader reader):
        if reader is not self.reader:
            return  # the life that it was scheduled in is over
        self.turn_scheduled = False
        self.stopped &= ~TURN_OVER
        self.turn(NULL, 0, no_task_runs(self.loop))
        if (
            self.eof_received
            and self.ready_state != CLOSED
            and not self.has_rest()
            and not self.is_processing()
        ):
            self.take_eof()

    cdef int take_eof(self) except -1:
        self.discarding = True
        self.flush_all()
        self.begin_closing()
        self.driver.shutdown_write(self)
        return self.tell_receiver()

    cdef int update_reading(self) except -1:
        cdef bint reading = not self.stopped
        if reading != self.reading and not self.is_lost:
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
        if self.is_lost:
            return True
        if self.is_processing():
            self.stopped |= EXTENSIONS_BUSY
            self.deadline = 0
            return False
        if not self.queue.count:
            return True
        if self.receiver is not None and not self.receiver.wake(self.outside_tasks):
            # The receiver runs in the next pass of the loop, and we go on behind it.
            self.schedule_turn()
            return False
        # It may be waiting for the peer to read its replies, with messages left: then writable()
        # goes on.
        return not (self.drains and self.queue.count)

    cdef int deliver(self, int opcode, object data, bint fin) except -1:
        """Hand a message to the listener or put it into the queue."""
        self.count_for_turn(len(<str> data) if type(data) is str else len(<bytes> data))
        if self.handling:
            return self.deliver_otherwise(opcode, data, fin)
        if self.message_listener is not None and not self.queue.count:
            return self.call_listener(data, opcode != TEXT)
        return self.keep(opcode, data, fin)

    cdef int deliver_otherwise(self, int opcode, object data, bint fin) except -1:
        """Deliver in another type, in which a listener gets only whole messages; or not at all."""
        if self.handling & IGNORED:
            if fin:
                self.count_dropped(1)
            return 0
        if (
            self.message_listener is not None
            and not self.queue.count
            and fin
            and opcode != CONT
        ):
            return self.call_listener(self.typed(opcode, [data], None), opcode != TEXT)
        self.keep(opcode, data, fin)
        return self.deliver_queue() if fin else 0

    cdef int keep(self, int opcode, object data, bint fin) except -1:
        """Put a message into the queue, or a fragment of one."""
        if (
            self.close_sent is not None
            and self.receiver is None
            and self.queue.count >= self.max_queue
            and self.message_listener is None
        ):
            # Reading goes on to find the peer's close frame, and nobody takes the messages.
            self.count_dropped(1)
            return 0
        if type(data) is not str and (opcode != BINARY or not fin):
            data = (opcode, data, bool(fin))
        if self.queue is EMPTY:
            self.queue = MessageQueue()
        self.queue.append(data)
        return 0

    cdef int count_dropped(self, Py_ssize_t messages) noexcept:
        self.messages_dropped += <uint32_t> min(messages, NO_LIMIT - self.messages_dropped)
        return 0

    cdef int call_listener(self, object message, bint binary) except -1:
        cdef PyObject* arguments[2]
        cdef PyObject* result
        cdef object is_binary = binary
        listener = self.message_listener  # which may be replaced while it runs
        arguments[0] = <PyObject*> message
        arguments[1] = <PyObject*> is_binary
        result = PyObject_Vectorcall(listener, arguments, 2, NULL)
        if result is NULL:
            return self.listener_raised()
        Py_DECREF(<object> result)
        return 0

    cdef int listener_raised(self) except -1:
        """Tell what the exception was that is set now. Entering a `try` only here is quicker."""
        try:
            raise_what_is_set()
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:
            self.listener_failed(error)
        return 0

    cdef int count_for_turn(self, size_t size) noexcept:
        self.turn_messages += 1
        self.turn_bytes += <uint32_t> min(size, <size_t> TURN_BYTES)
        if self.turn_messages >= TURN_MESSAGES or self.turn_bytes >= TURN_BYTES:
            self.stopped |= TURN_OVER
        return 0

    cdef int deliver_queue(self) except -1:
        """Hand to a listener what came before it was attached."""
        while self.queue.count and self.message_listener is not None and not self.stopped & BY_USER:
            taken = self.queue.take_parts()
            if taken is None:
                return 0
            opcode, parts = taken
            self.call_listener(self.typed(opcode, parts, None), opcode != TEXT)
        self.stopped &= ~QUEUE_FULL
        return 0

    cdef object next_message(self, object decode):
        """Take a message of the queue, or None, in the type that is wanted."""
        if decode is None and not self.handling:
            return self.queue.take_message()
        taken = self.queue.take_parts()
        return None if taken is None else self.typed(taken[0], taken[1], decode)

    cdef int answer(self, object data) except -1:
        """Send the pong; while writes are blocked only the latest (RFC 6455 section 5.5.3)."""
        self.count_for_turn(0)
        if self.blocked:
            self.latest_pong = data
        else:
            self.send_control_frame(PONG, data)
        return 0

    def pause(self):
        """Stop reading. A few messages that are read already may still come."""
        if self.ready_state == OPEN and not self.is_lost:
            self.stop(BY_USER)

    def resume(self):
        """Read again."""
        self.go_on(BY_USER)
        self.deliver_soon()

    def deliver_soon(self):
        if self.queue.count and self.message_listener is not None:
            self.schedule_turn()

    @property
    def is_paused(self):
        """Whether `pause` was called, and `resume` was not."""
        return bool(self.stopped & BY_USER)

    @property
    def is_reading(self):
        """Whether the peer's bytes are read."""
        return not self.stopped

    def discard(self):
        """Drop the messages that wait and all that come."""
        self.handling |= IGNORED
        self.count_dropped(self.queue.whole)
        self.queue.clear()
        self.go_on(QUEUE_FULL)

    def recv(self, decode=None):
        """Receive the next message: str if it is text, bytes if it is binary.

        Cancelling it loses nothing.

        Args:
            decode: True to get str, False to get bytes, whatever the message is.

        Raises:
            ConnectionClosed: when awaited; the connection is closed, and all messages that
                came before were received.
            ConcurrencyError: when awaited; another call receives, or a listener is attached.
        """
        if PyThread_get_thread_ident() != self.thread:
            return Deferred(self.recv, decode)
        return new_receive(self, decode, False, MESSAGE)

    def recv_fragment(self):
        return new_receive(self, None, False, FRAGMENT)

    def recv_batch(self, decode=None):
        """Receive all messages that wait, or the next if there is none.

        For feeds: a task that wakes once for a burst does a fraction of the work. Otherwise it
        is like `recv`.
        """
        if PyThread_get_thread_ident() != self.thread:
            return Deferred(self.recv_batch, decode)
        return new_receive(self, decode, False, BATCH)

    def __aiter__(self):
        return self

    def __anext__(self):
        return new_receive(self, None, True, MESSAGE)

    cdef int taken(self) except -1:
        if self.stopped & QUEUE_FULL and self.queue.count <= self.max_queue // 4:
            self.go_on(QUEUE_FULL)
        return 0

    # Writing

    def send(self, data, *, binary=None, compress=True, bint fin=True):
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
        cdef int takes_time
        if PyThread_get_thread_ident() != self.thread:
            return Deferred(self.send, data, binary=binary, compress=compress, fin=fin)
        if not isinstance(data, (str, bytes, bytearray)):
            if not PyObject_CheckBuffer(data):
                return self.send_other(data, binary, bool(fin), bool(compress))
            data = memoryview(data).tobytes()
        if self.outbox is not None:
            return self.outbox.put(data, binary, bool(fin), bool(compress))
        if (
            (self.reader.deflate is not None or self.fragment_size)
            and fin
            and not self.sending
            and self.ready_state == OPEN
        ):
            takes_time = self.takes_time(len(data), compress)
            if takes_time == TO_COMPRESS:
                return self.send_large(data, binary)
            if takes_time == IN_FRAGMENTS:
                return self.send_by_and_by(data, binary, bool(compress))
        if self.ready_state == OPEN and not self.sending:
            self.send_message(data, binary, fin, compress)
        else:
            try:
                self.send_message(data, binary, fin, compress)
            except ConnectionClosed:
                return self.send_closed(data, binary, fin, compress)
            except ConcurrencyError as error:
                return Failed(self, error)
        if self.stacked:
            return self.negotiated.sent()
        if self.blocked:
            return new_drain(self)
        return SENT

    cdef int takes_time(self, size_t size, bint compress) noexcept:
        """Whether a message is to be compressed in a thread, or leaves as its fragments are taken.

        0 if it is neither.
        """
        if compress and self.reader.deflate is not None and size >= <size_t> LARGE:
            return TO_COMPRESS
        if (
            self.fragment_size
            and size > <size_t> max(self.fragment_size, self.write_limit)
            and not self.stacked
        ):
            return IN_FRAGMENTS
        return 0

    @property
    def is_sending_fragments(self):
        return self.sending != 0

    def drain(self):
        """Wait while the connection is blocked."""
        return new_drain(self) if self.blocked else SENT

    cdef int eof_out(self) except -1:
        self.flush_all()
        self.stopped = 0
        if not self.dispatching:
            self.update_reading()
        if not self.eof_received and not self.is_lost:
            self.driver.shutdown_write(self)
        return self.tell_receiver()

    cdef int tell_receiver(self) except -1:
        """No message will come: whoever waits need not wait for the end of the transport."""
        if self.receiver is not None and not self.dispatching:
            self.receiver.wake(False)
        return 0

    def close(self, code=1000, reason=""):
        Protocol.close(self, code, reason)
        self.flush()
        self.go_on(BY_USER | QUEUE_FULL)

    @property
    def _thread(self):
        return self.thread


# Of this module, because they and a connection have each other: what a task waits for.
include "_waiting.pxi"
