from libc.stdint cimport uint8_t, uint64_t

from ._parser cimport FrameReader


cdef class Protocol:
    cdef readonly object options
    cdef readonly bint client
    cdef readonly object close_sent
    cdef readonly object close_received
    cdef readonly object error
    cdef readonly uint64_t messages_received
    cdef readonly uint64_t messages_sent
    cdef readonly uint64_t frames_sent
    cdef readonly uint64_t fragments_sent
    cdef readonly uint64_t bytes_sent
    cdef readonly uint64_t wire_bytes_received
    cdef readonly uint64_t wire_bytes_sent

    cdef FrameReader reader
    cdef object generate_mask
    cdef int ready_state
    cdef int sending  # the opcode of the outgoing message under way
    cdef bint received_first
    cdef bint discarding
    cdef int stopped  # why reading is stopped; 0 if it is not
    cdef object postponed

    # What subclasses in Python do by on_message, answer_ping, settle and write.
    cdef int deliver(self, int opcode, object data, bint fin) except -1
    cdef int answer(self, object data) except -1
    cdef bint settled(self) except -1
    cdef int emit(
        self, int opcode, const uint8_t* payload, size_t size, bint fin, object owner
    ) except -1
    cdef int eof_out(self) except -1

    cdef int process(self) except -1
    cdef int receive_close(self, object close) except -1
    cdef int end(self) except -1
    cdef int fail_with(self, object error) except -1
    cdef int send_message(self, object data, object binary, bint fin) except -1
    cdef int send_frame(
        self, int opcode, const uint8_t* payload, size_t size, bint fin, object owner
    ) except -1
    cdef int send_bytes(self, int opcode, bytes payload, bint fin) except -1
    cdef int send_control(self, int opcode, object data) except -1
    cdef int send_close(self, object close) except -1
    cdef int begin_closing(self) except -1


cdef class Waiter:
    cdef public bint _asyncio_future_blocking
    cdef Connection connection
    cdef object callback
    cdef object context
    cdef object cancelled
    cdef bint waiting

    cdef int begin(self) except -1
    cdef bint poll(self) except -1
    cdef int forget(self) except -1


cdef class Receive(Waiter):
    cdef object decode
    cdef bint iterating
    cdef bint fragment


cdef class Drain(Waiter):
    pass


cdef class Connection(Protocol):
    cdef readonly object driver
    cdef readonly object loop
    cdef public double deadline
    cdef public object outbox
    cdef public object message_listener
    cdef public uint64_t messages_dropped

    cdef unsigned long thread
    cdef object queue
    cdef Receive receiver
    cdef bint ignore_messages
    cdef bint dispatching
    cdef bint reading
    cdef size_t turn_messages
    cdef size_t turn_bytes
    cdef bint turn_scheduled
    cdef bint eof_received
    cdef Py_ssize_t max_queue
    cdef Py_ssize_t write_limit
    cdef Py_ssize_t max_write_buffer

    cdef list drains
    cdef bint blocked
    cdef object latest_pong
    cdef uint8_t* held
    cdef size_t held_size
    cdef size_t held_capacity
    cdef double held_since
    cdef double last_write
    cdef int cork_depth
    cdef bint flush_scheduled

    cdef int turn(self, object data) except -1
    cdef bint has_rest(self) noexcept
    cdef int schedule_turn(self) except -1
    cdef int take_eof(self) except -1
    cdef int update_reading(self) except -1
    cdef int stop(self, int reason) except -1
    cdef int go_on(self, int reason) except -1
    cdef int count_for_turn(self, size_t size) noexcept
    cdef int deliver_queue(self) except -1
    cdef object take_message(self)
    cdef object take_fragment(self)
    cdef int taken(self) except -1
    cdef bint wake(self, Waiter waiter) except -1
    cdef bint should_hold(self, double now) noexcept
    cdef uint8_t* reserve(self, size_t size) except NULL
    cdef int written(self, double now, bint hold) except -1
    cdef int flush(self) except -1
    cdef int release_held(self) noexcept
    cdef int transmit(self, object buffers) except -1
    cdef int abort_with(self, object error) except -1
