from libc.stdint cimport uint8_t, uint32_t, uint64_t

from ._parser cimport FrameReader


cdef enum:
    CONNECTING
    OPEN
    CLOSING
    CLOSED

# What is unusual about how messages are handed out.
cdef enum:
    IGNORED = 1  # they are dropped
    UNCHECKED = 2  # text need not be UTF-8
    TEXT_AS_BYTES = 4
    BINARY_TYPE = 16  # times the place in BINARY_TYPES

# Above this size the payload is not copied behind its header.
cdef enum:
    COPY_LIMIT = 16384

# Why reading is stopped. There are others in outbox.py and extensions/stack.py.
cdef enum:
    BY_USER = 1
    QUEUE_FULL = 2
    WRITES_BLOCKED = 4
    TURN_OVER = 8
    EXTENSIONS_BUSY = 16


cdef class Protocol:
    cdef readonly object options
    cdef readonly bint client
    cdef uint32_t unfinished  # bytes of the outgoing message under way
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

    # What was agreed, or the stack that all messages go through; None without extensions.
    cdef readonly object negotiated

    cdef FrameReader reader
    cdef Py_ssize_t fragment_size  # 0 if messages are sent whole
    cdef object generate_mask
    cdef object postponed
    # Small ones together. There are many connections, each with all of these. The numbers stay at
    # the largest that there is.
    cdef readonly uint32_t biggest_sent
    cdef readonly uint32_t pings_received
    cdef readonly uint32_t pings_sent
    cdef readonly uint32_t pongs_received
    cdef readonly uint32_t pongs_sent
    cdef uint8_t ready_state
    cdef uint8_t sending  # the opcode of the outgoing message under way
    cdef uint8_t received_first
    cdef uint8_t discarding
    cdef uint8_t stopped  # why reading is stopped; 0 if it is not
    cdef uint8_t stacked  # whether `negotiated` is a stack
    cdef uint8_t compressing  # the outgoing message under way
    cdef uint8_t handling  # what is unusual about how messages are handed out; 0 if nothing is
    cdef uint8_t auto_pong
    cdef public uint8_t tells_pings  # whether on_control is called for them

    cdef int set_text_type(self, object value) except -1
    cdef int set_binary_type(self, object value) except -1
    cdef object typed(self, int opcode, list parts, object decode)
    cdef int set_up(self, object options, bint client, int state, object generate_mask) except -1

    # What subclasses in Python do by on_message, answer_ping, settle and write.
    cdef int deliver(self, int opcode, object data, bint fin) except -1
    cdef int answer(self, object data) except -1
    cdef bint settled(self) except -1
    cdef int emit(
        self, int opcode, int rsv, const uint8_t* payload, size_t size, bint fin, object owner
    ) except -1
    cdef int eof_out(self) except -1

    cdef int take_input(self, const uint8_t* data, size_t size) except -1
    cdef int process(self) except -1
    cdef int receive_control(self, int opcode, object data) except -1
    cdef object take_processed(self)
    cdef int receive_close(self, object close) except -1
    cdef int end(self) except -1
    cdef int fail_with(self, object error) except -1
    cdef int send_message(self, object data, object binary, bint fin, bint compress) except -1
    cdef int begin_again(self, FrameReader last) except -1
    cdef int note_size(self, uint64_t size, int opcode, bint fin) noexcept
    cdef int count_sent(self, uint64_t size) noexcept
    cdef int send_compressed(self, int opcode, bytes compressed, size_t size, bint fin) except -1
    cdef int send_data(
        self, int opcode, int rsv, const uint8_t* payload, size_t size, bint fin, object owner
    ) except -1
    cdef int send_in_fragments(
        self, int opcode, int rsv, const uint8_t* payload, size_t size, bint fin, object owner
    ) except -1
    cdef int send_frame(
        self, int opcode, int rsv, const uint8_t* payload, size_t size, bint fin, object owner
    ) except -1
    cdef int send_control(self, int opcode, object data) except -1
    cdef int send_control_frame(self, int opcode, bytes payload) except -1
    cdef int send_close(self, object close) except -1
    cdef int begin_closing(self) except -1


cdef uint32_t make_key(Protocol protocol) except? 0
