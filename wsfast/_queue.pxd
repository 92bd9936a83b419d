from cpython.object cimport PyObject


cdef class MessageQueue:
    cdef PyObject* only
    cdef PyObject** ring
    cdef Py_ssize_t capacity  # a power of two
    cdef Py_ssize_t first
    cdef Py_ssize_t count
    cdef Py_ssize_t whole  # of them, how many end a message

    cpdef int append(self, object item) except -1
    cpdef object take_message(self)
    cpdef object take_parts(self)
    cpdef object take_fragment(self)
    cpdef int drop_incomplete(self) except -1
    cpdef int clear(self) except -1
    cdef object item(self, Py_ssize_t index)
    cdef object pop(self)
    cdef int release_ring(self) noexcept
