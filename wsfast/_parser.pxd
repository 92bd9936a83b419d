cimport cython
from cpython.object cimport PyObject
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from ._deflate cimport Deflate
from ._mask cimport Utf8State


# Without the garbage collector's header: what it has for a moment cannot refer to it.
@cython.final
@cython.no_gc
cdef class FrameReader:
    # Of what advance() handed out last.
    cdef object data
    # The contexts for messages with RSV1, if permessage-deflate is in use.
    cdef Deflate deflate
    # For the connection's statistics.
    cdef readonly uint64_t frames_read
    cdef readonly uint64_t fragments_read
    cdef readonly uint64_t bytes_read

    cdef uint64_t max_size
    cdef uint64_t max_frame_size
    cdef uint64_t max_fragments

    # The input: borrowed from the caller until it is used up, or kept by retain().
    cdef const uint8_t* position
    cdef const uint8_t* end
    cdef object source

    # The frame being read.
    cdef uint8_t header[8]
    cdef uint32_t key
    cdef readonly uint32_t biggest_read  # a message, in bytes; it stays at the largest number
    cdef uint64_t length
    cdef uint64_t remaining
    cdef object control

    # The message being read: `stored` bytes of `buffer` are filled, `message_size` in all.
    cdef uint64_t message_size
    cdef uint64_t message_fragments
    cdef PyObject* buffer
    cdef size_t stored
    # Small ones together. There are many connections, each with all of these.
    cdef uint32_t inflated  # bytes of the message
    cdef Utf8State utf8
    cdef uint8_t opcode
    cdef uint8_t fin
    cdef uint8_t client
    cdef uint8_t current
    cdef uint8_t frame_opcode
    cdef uint8_t frame_fin
    cdef uint8_t length_7
    cdef uint8_t header_size
    cdef uint8_t message_opcode
    cdef uint8_t handed_out
    cdef uint8_t is_ascii
    cdef uint8_t each_frame  # is handed out by itself: for which reasons
    cdef uint8_t allowed_rsv
    cdef uint8_t as_they_are  # messages are handed out as bytes, for extensions
    cdef uint8_t rsv  # of the message
    cdef uint8_t encoded  # the message's payload is not yet its data
    cdef uint8_t str_opcode  # of the messages that are handed out as str: TEXT or none
    cdef uint8_t valid_opcode  # of those that must be valid UTF-8: TEXT or none

    cdef void lend(self, const uint8_t* data, size_t size) noexcept
    cdef int retain(self) except -1
    cdef bint advance(self) except -1
    cdef void give_up(self) noexcept
    cdef bint read_whole(self) except -1
    cdef bint read(self) except -1
    cdef const uint8_t* take(self, size_t n) noexcept
    cdef const uint8_t* take_in_pieces(self, size_t n) noexcept
    cdef int read_info(self, uint8_t first, uint8_t second) except -1
    cdef int check_length(self) except -1
    cdef uint64_t max_payload(self) noexcept
    cdef int refuse_size(self) except -1
    cdef bint read_control(self) except -1
    cdef bint read_data(self) except -1
    cdef int store(self, size_t n) except -1
    cdef Py_ssize_t room(self, size_t least) except -1
    cdef uint8_t* room_start(self) noexcept
    cdef int fill(self, size_t n) except -1
    cdef int check_stored(self, size_t n) except -1
    cdef size_t capacity(self) noexcept
    cdef int resize_buffer(self, size_t size) except -1
    cdef int leave_ascii(self, size_t n) except -1
    cdef void drop_buffer(self) noexcept
    cdef int deliver(self) except -1
    cdef void note_size(self, uint64_t size) noexcept
    cdef int keep_counters(self, FrameReader last) except -1
    cdef object take_encoded(self)
    cdef object take_text(self)
    cdef object take_buffer(self)
