from libc.stdint cimport uint8_t, uint16_t

from ._driver cimport DirectDriver
from ._held cimport Held
from ._protocol cimport Protocol
from ._queue cimport MessageQueue


# Above, what is held leaves.
cdef enum:
    CORK_SIZE = 65536


cdef class Writer(Protocol):
    cdef readonly object driver
    cdef DirectDriver direct  # the driver, if it is compiled
    cdef readonly object loop
    cdef public object outbox
    cdef MessageQueue queue
    cdef Py_ssize_t write_limit

    cdef Held held
    cdef double held_since
    cdef double last_write
    cdef object broadcasts  # the Round of the last one that it got
    cdef list prepared  # frames that are held where they are; nothing else is held then
    cdef size_t prepared_size
    # Small ones together. There are many connections, each with all of these.
    cdef uint16_t cork_depth
    cdef uint8_t dispatching
    cdef uint8_t is_lost
    cdef uint8_t blocked
    cdef uint8_t flush_scheduled
    # These two are of reading, and have room here.
    cdef uint8_t reading
    cdef uint8_t eof_received

    cdef int set_up_writing(self, object driver, object loop) except -1
    cdef int stop(self, int reason) except -1
    cdef int go_on(self, int reason) except -1
    cdef bint should_hold(self, double now) noexcept
    cdef uint8_t* reserve(self, size_t size) except NULL
    cdef int written(self, double now, bint hold) except -1
    cdef int flush(self) except -1
    cdef int transmit_held(self, const uint8_t* payload, size_t size, object owner) except -1
    cdef int flush_prepared(self) except -1
    cdef int flush_all(self) except -1
    cdef int drop_held(self) noexcept
    cdef int transmit(self, object buffers) except -1
    cdef int limit_waiting(self, Py_ssize_t waiting) except -1
    cdef int stop_behind_writes(self, int reason) except -1
    cdef int limit_buffer(self, size_t size) except -1
    cdef int abort_with(self, object error) except -1
