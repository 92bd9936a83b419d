cimport cython
from libc.stdint cimport uint8_t, uint64_t


@cython.final
cdef class Deflate:
    cdef readonly object parameters
    cdef list idle
    cdef uint64_t threshold  # smaller messages are sent as they are
    cdef object compressor
    cdef double next_rest
    cdef object decompressor
    cdef object inflater  # instead, once something came that was not simply a whole message
    cdef uint8_t takeover
    cdef uint8_t peer_takeover
    cdef uint8_t forgetful
    cdef uint8_t used
    cdef uint8_t closed  # perhaps while a thread is at work
    cdef uint8_t begun  # the peer's window no longer ends with the dictionary

    cpdef void forget(self) noexcept
    cdef bytes deflate(self, object data, bint fin)
    cdef bytes inflate(self, bytes data, uint64_t limit, bint fin)
    cdef object leave_fast_path(self)
