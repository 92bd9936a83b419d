# What a driver does that is compiled: besides the verbs of any driver (`write`, `pause`, `resume`,
# `shutdown_write`, `abort` and `get_extra_info`) it takes bytes where they are.

cdef class DirectDriver:
    cdef Py_ssize_t send(self, const uint8_t* data, size_t size, bytes owner) except -1:
        """Write; `owner` is the object that data points into, if it may be kept, or None.

        Returns how many bytes wait to be written.
        """
        raise NotImplementedError

    cdef Py_ssize_t send_both(
        self,
        const uint8_t* head,
        size_t head_size,
        const uint8_t* data,
        size_t size,
        bytes owner,
    ) except -1:
        """Like send(), with something in front."""
        raise NotImplementedError
