# The bytes that a connection holds before they leave.
#
# Nearly always there is one connection that sends, and what it sends is small: there is one buffer
# for all, which belongs to one of them from its first held byte until the flush. Whoever finds it
# taken gets a buffer of its own. An idle connection has none.

from cpython.mem cimport PyMem_Free, PyMem_Malloc, PyMem_Realloc
from libc.stdint cimport uint8_t
from libc.string cimport memcpy

cdef extern from *:
    """
    enum { SHARED_SIZE = 65536 };
    static uint8_t shared_buffer[SHARED_SIZE];
    static int shared_buffer_taken = 0;
    """
    enum:
        SHARED_SIZE
    uint8_t* shared_buffer
    bint shared_buffer_taken


cdef struct Held:
    uint8_t* start
    size_t size
    size_t capacity


cdef inline uint8_t* make_room(Held* held, size_t size) except NULL:
    """Room for size bytes at the end of what is held."""
    if held.size + size > held.capacity:
        grow(held, held.size + size)
    return held.start + held.size


cdef inline int grow(Held* held, size_t needed) except -1:
    global shared_buffer_taken
    cdef uint8_t* start
    if held.start is NULL and needed <= SHARED_SIZE and not shared_buffer_taken:
        shared_buffer_taken = True
        held.start = shared_buffer
        held.capacity = SHARED_SIZE
        return 0
    if held.capacity and needed < 2 * held.capacity:
        needed = 2 * held.capacity
    if held.start is shared_buffer:
        start = <uint8_t*> PyMem_Malloc(needed)
        if start is not NULL:
            memcpy(start, held.start, held.size)
            shared_buffer_taken = False
    else:
        start = <uint8_t*> PyMem_Realloc(held.start, needed)
    if start is NULL:
        raise MemoryError
    held.start = start
    held.capacity = needed
    return 0


cdef inline Held take(Held* held) noexcept:
    """All that is held, which is to be released; what is sent from now on gets another buffer."""
    cdef Held taken = held[0]
    held.start = NULL
    held.size = 0
    held.capacity = 0
    return taken


cdef inline int release(Held* held) noexcept:
    global shared_buffer_taken
    if held.start is shared_buffer:
        shared_buffer_taken = False
    else:
        PyMem_Free(held.start)
    held.start = NULL
    held.size = 0
    held.capacity = 0
    return 0
