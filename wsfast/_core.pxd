from libc.stdint cimport uint8_t, uint32_t, uint64_t

from ._driver cimport DirectDriver
from ._held cimport Held
from ._protocol cimport Protocol
from ._queue cimport MessageQueue
from ._waiter cimport Waiter


# Above, what is held leaves.
cdef enum:
    CORK_SIZE = 65536


# What a Receive takes.
cdef enum:
    MESSAGE
    FRAGMENT
    BATCH


cdef class Receive(Waiter):
    cdef Connection connection
    cdef object decode
    cdef bint iterating
    cdef int unit


cdef class Drain(Waiter):
    cdef Connection connection


cdef class Connection(Protocol):
    cdef readonly object driver
    cdef DirectDriver direct  # the driver, if it is compiled
    cdef readonly object loop
    cdef public double deadline
    cdef public object outbox
    cdef public object message_listener
    cdef public uint64_t messages_dropped

    cdef unsigned long thread
    cdef MessageQueue queue
    cdef Receive receiver
    cdef size_t turn_bytes
    cdef Py_ssize_t max_queue
    cdef Py_ssize_t write_limit
    cdef Py_ssize_t max_write_buffer

    cdef list drains
    cdef object latest_pong
    cdef Held held
    cdef double held_since
    cdef double last_write
    cdef int cork_depth
    cdef uint32_t turn_messages
    cdef object broadcasts  # the Round of the last one that it got
    cdef list prepared  # frames that are held where they are; nothing else is held then
    cdef size_t prepared_size
    # Flags. There are many connections, each with many of them.
    cdef uint8_t ignore_messages
    cdef uint8_t dispatching
    cdef uint8_t outside_tasks  # while dispatching: whether no task runs, and one may be resumed
    cdef uint8_t reading
    cdef uint8_t turn_scheduled
    cdef uint8_t eof_received
    cdef uint8_t is_lost
    cdef uint8_t blocked
    cdef uint8_t flush_scheduled

    cdef int turn(self, const uint8_t* data, size_t size, bint outside_tasks) except -1
    cdef int filled(self, size_t size, bint outside_tasks) except -1
    cdef bint has_rest(self) except -1
    cdef bint is_processing(self) except -1
    cdef int schedule_turn(self) except -1
    cdef int take_eof(self) except -1
    cdef int update_reading(self) except -1
    cdef int stop(self, int reason) except -1
    cdef int go_on(self, int reason) except -1
    cdef int call_listener(self, object message, bint binary) except -1
    cdef int listener_raised(self) except -1
    cdef int count_for_turn(self, size_t size) noexcept
    cdef int deliver_queue(self) except -1
    cdef int taken(self) except -1
    cdef bint should_hold(self, double now) noexcept
    cdef uint8_t* reserve(self, size_t size) except NULL
    cdef int written(self, double now, bint hold) except -1
    cdef int flush(self) except -1
    cdef int transmit_held(self, const uint8_t* payload, size_t size, object owner) except -1
    cdef int flush_prepared(self) except -1
    cdef int flush_all(self) except -1
    cdef int tell_receiver(self) except -1
    cdef int drop_held(self) noexcept
    cdef int transmit(self, object buffers) except -1
    cdef int limit_waiting(self, Py_ssize_t waiting) except -1
    cdef int abort_with(self, object error) except -1
