# The sending side of a connection: what holds frames back, and how they leave. The pure twin is
# _pure/writing.py; the documentation is in _writing.pyi.
#
# Frames that follow each other in the same breath leave together (DESIGN: cork). Nothing that was
# read from self before the driver is called holds after: a finalizer may send.

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memcpy

from ._clock cimport monotonic_seconds
from ._driver cimport DirectDriver
from ._frame cimport CONT, MAX_HEADER, write_header
from ._held cimport Held, make_room, release, take
from ._mask cimport xor_copy
from ._parser cimport FrameReader
from ._protocol cimport CLOSED, COPY_LIMIT, OPEN, WRITES_BLOCKED, Protocol, make_key

from .exceptions import WriteBufferFull

# Reading stops while more than this waits in front of the driver: a few large messages may.
cdef size_t SENDS_LIMIT = 1048576

# Sends that follow each other within this time, in seconds, leave together.
cdef double CORK_WINDOW = 100e-6


cdef class Writer(Protocol):
    def __dealloc__(self):
        self.drop_held()

    cdef int set_up_writing(self, object driver, object loop) except -1:
        """Begin a life, the first or another."""
        self.use_driver(driver)
        self.loop = loop
        self.outbox = None
        self.write_limit = self.options.write_limit
        self.drop_held()
        self.last_write = 0
        self.broadcasts = None
        self.cork_depth = 0
        self.dispatching = self.is_lost = self.blocked = self.flush_scheduled = False
        return 0

    def use_driver(self, driver):
        self.driver = driver
        self.direct = driver if isinstance(driver, DirectDriver) else None

    cdef int stop(self, int reason) except -1:
        """Stop reading for a reason."""
        return 0

    cdef int go_on(self, int reason) except -1:
        """This reason not to read is gone."""
        return 0

    cdef int emit(
        self, int opcode, int rsv, const uint8_t* payload, size_t size, bint fin, object owner
    ) except -1:
        """Send a frame at once, or hold it with what follows in the same breath (DESIGN: cork)."""
        cdef uint32_t key = 0
        if self.client:
            # Before room is reserved: this may be the user's function, which may send.
            key = make_key(self)
        if self.is_lost:
            return 0
        cdef double now = monotonic_seconds()
        cdef bint hold = self.should_hold(now)
        cdef bint large = size > COPY_LIMIT and not self.client and not self.cork_depth
        cdef uint8_t* target = self.reserve(MAX_HEADER if large else size + MAX_HEADER)
        cdef size_t header_size = write_header(target, opcode, size, fin, rsv, self.client)
        if large:
            # The payload leaves from where it is, behind what is held.
            self.held.size += header_size
            return self.transmit_held(payload, size, owner)
        if self.client:
            memcpy(target + header_size, &key, 4)
            header_size += 4
            xor_copy(target + header_size, payload, size, key)
        else:
            memcpy(target + header_size, payload, size)
        self.held.size += header_size + size
        return self.written(now, hold)

    cdef int send_in_fragments(
        self, int opcode, int rsv, const uint8_t* payload, size_t size, bint fin, object owner
    ) except -1:
        """Send a message in fragments; if there is an outbox, it does so as the peer takes them."""
        if self.outbox is None or self.stacked:
            return Protocol.send_in_fragments(self, opcode, rsv, payload, size, fin, owner)
        data = PyBytes_FromStringAndSize(<const char*> payload, size)
        self.outbox.rest = (opcode, rsv, data, 0, bool(fin))
        return 0

    def send_rest(self, int opcode, int rsv, bytes data, size_t start, bint fin):
        cdef size_t size = PyBytes_GET_SIZE(data)
        cdef size_t end
        if self.ready_state != OPEN:
            raise self.closed_error()
        while start < size and not self.blocked and self.ready_state == OPEN:
            end = min(start + self.fragment_size, size)
            self.fragments_sent += 1
            self.send_frame(
                opcode,
                rsv,
                <const uint8_t*> PyBytes_AS_STRING(data) + start,
                end - start,
                fin and end == size,
                None,
            )
            opcode = CONT
            rsv = 0
            start = end
            if self.held.size > <size_t> self.write_limit:
                self.flush()  # to see whether it is slow
        return None if start == size else (opcode, rsv, data, start, bool(fin))

    cdef bint should_hold(self, double now) noexcept:
        cdef bint recent = now - self.last_write < CORK_WINDOW
        self.last_write = now
        if self.cork_depth:
            return True
        if self.held_since and (
            now - self.held_since >= CORK_WINDOW
            or self.held.size + self.prepared_size > CORK_SIZE
        ):
            return False
        return recent or (
            self.dispatching
            and (self.reader.position != self.reader.end or self.queue.count > 0)
        )

    cdef uint8_t* reserve(self, size_t size) except NULL:
        """Room for size bytes at the end of what is held."""
        if self.prepared is not None:
            self.flush_prepared()
        return make_room(&self.held, size)

    cdef int drop_held(self) noexcept:
        release(&self.held)
        self.held_since = 0
        self.prepared = None
        self.prepared_size = 0
        return 0

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
        if self.prepared is not None and not self.cork_depth:
            self.flush_prepared()
        if self.held.size and not self.cork_depth and self.ready_state != CLOSED:
            self.transmit_held(NULL, 0, None)
        return 0

    cdef int transmit_held(self, const uint8_t* payload, size_t size, object owner) except -1:
        """Send what is held, and a payload behind it if there is one."""
        cdef Held held = take(&self.held)  # Python code may run below, a finalizer that sends
        cdef Py_ssize_t waiting
        self.held_since = 0
        try:
            if self.direct is None:
                buffers = (PyBytes_FromStringAndSize(<char*> held.start, held.size),)
                if payload is not NULL:
                    if owner is None:
                        owner = PyBytes_FromStringAndSize(<const char*> payload, size)
                    buffers += (owner,)
                return self.transmit(buffers)
            if payload is NULL:
                waiting = self.direct.send(held.start, held.size, None)
            else:
                waiting = self.direct.send_both(held.start, held.size, payload, size, owner)
        finally:
            release(&held)
        return self.limit_waiting(waiting)

    cdef int flush_prepared(self) except -1:
        frames = self.prepared
        self.prepared = None
        self.prepared_size = 0
        self.held_since = 0
        return self.transmit(frames)

    cdef int flush_all(self) except -1:
        """Send what is held, corked or not: nothing can follow."""
        cdef int depth = self.cork_depth
        self.cork_depth = 0
        self.flush()
        self.cork_depth = depth
        return 0

    def cork(self):
        """Hold what is sent inside a ``with`` block until its end."""
        return Cork(self)

    @property
    def is_blocked(self):
        """Whether more waits to be written than the limit allows."""
        return bool(self.blocked)

    @property
    def buffered_amount(self):
        """How many bytes wait to be written."""
        return self.held.size + self.prepared_size + self.driver.get_extra_info(self, "buffered")

    cdef int transmit(self, object buffers) except -1:
        cdef Py_ssize_t waiting
        if self.ready_state == CLOSED:
            return 0
        waiting = self.driver.write(self, buffers)
        return self.limit_waiting(waiting)

    cdef int limit_waiting(self, Py_ssize_t waiting) except -1:
        """Act on how many bytes the driver could not write yet."""
        if waiting > self.write_limit:
            if not self.blocked:
                self.blocked = True
                self.stop_behind_writes(WRITES_BLOCKED)
            self.limit_buffer(waiting)
        return 0

    cdef int stop_behind_writes(self, int reason) except -1:
        """Do not read what would be answered while the answers do not leave.

        That is for the server to do. If clients did it, too, two ends that are both in the middle
        of sending would wait for each other to read.
        """
        if not self.client:
            self.stop(reason)
        return 0

    cdef int limit_buffer(self, size_t size) except -1:
        """Fail the connection if so much waits that it is not to be kept."""
        limit = self.options.max_write_buffer
        if limit is not None and size > <size_t> limit:
            self.abort_with(WriteBufferFull(size, limit))
        return 0

    def sends_waiting(self, int reason, size_t size):
        cdef size_t limit = max(<size_t> self.write_limit, SENDS_LIMIT)
        if self.discarding or self.ready_state == CLOSED:
            return
        if size > limit:
            self.stop_behind_writes(reason)
        elif size <= limit // 4:
            self.go_on(reason)
        self.limit_buffer(size)

    def abort(self, error=None):
        self.abort_with(error)

    cdef int abort_with(self, object error) except -1:
        if self.ready_state == CLOSED:
            return 0
        self.discarding = True
        if self.error is None:
            self.error = error
        self.drop_held()
        self.begin_closing()
        self.driver.abort(self)
        return 0


cdef class Cork:
    cdef Writer connection
    cdef FrameReader reader  # of the life of the connection that it corks

    def __init__(self, Writer connection):
        self.connection = connection

    def __enter__(self):
        self.reader = self.connection.reader
        self.connection.cork_depth += 1

    def __exit__(self, *_):
        if self.connection.reader is self.reader:
            self.connection.cork_depth -= 1
            self.connection.flush()
