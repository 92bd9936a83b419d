from libc.stdint cimport uint8_t


cdef class DirectDriver:
    cdef Py_ssize_t send(self, const uint8_t* data, size_t size, bytes owner) except -1
    cdef Py_ssize_t send_both(
        self,
        const uint8_t* head,
        size_t head_size,
        const uint8_t* data,
        size_t size,
        bytes owner,
    ) except -1
