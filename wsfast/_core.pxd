from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from ._parser cimport FrameReader
from ._waiter cimport Waiter
from ._writing cimport Writer


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
    cdef FrameReader reader  # of the life of the connection that it waits in


cdef class Connection(Writer):
    cdef public double deadline
    # Of the subclass, which has no floats for them here: each would be an object.
    cdef public double latency
    cdef public double next_ping
    cdef public double heard
    cdef public object message_listener

    cdef unsigned long thread
    cdef Receive receiver
    cdef list drains
    cdef object latest_pong
    # Small ones together. There are many connections, each with all of these.
    cdef uint32_t max_queue
    cdef public uint32_t messages_dropped  # it stays at the largest number
    cdef uint32_t turn_bytes
    cdef uint16_t turn_messages
    cdef uint8_t outside_tasks  # while dispatching: whether no task runs, and one may be resumed
    cdef uint8_t turn_scheduled

    cdef int turn(self, const uint8_t* data, size_t size, bint outside_tasks) except -1
    cdef int filled(self, size_t size, bint outside_tasks) except -1
    cdef bint has_rest(self) except -1
    cdef bint is_processing(self) except -1
    cdef int schedule_turn(self) except -1
    cdef int take_eof(self) except -1
    cdef int update_reading(self) except -1
    cdef int deliver_otherwise(self, int opcode, object data, bint fin) except -1
    cdef int keep(self, int opcode, object data, bint fin) except -1
    cdef object next_message(self, object decode)
    cdef int count_dropped(self, Py_ssize_t messages) noexcept
    cdef int call_listener(self, object message, bint binary) except -1
    cdef int listener_raised(self) except -1
    cdef int count_for_turn(self, size_t size) noexcept
    cdef int deliver_queue(self) except -1
    cdef int taken(self) except -1
    cdef int takes_time(self, size_t size, bint compress) noexcept
    cdef int wake_drains(self, bint directly) except -1
    cdef int tell_receiver(self) except -1
