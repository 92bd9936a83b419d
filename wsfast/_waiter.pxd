cdef class Waiter:
    cdef public object _asyncio_future_blocking
    cdef object loop
    cdef object callback
    cdef object context
    cdef object cancelled
    cdef bint waiting

    cdef int begin(self) except -1
    cdef object poll(self)
    cdef object step(self)
    cdef int end(self) except -1
    cdef int forget(self) except -1
    cdef bint wake(self, bint directly) except -1


cdef bint no_task_runs(object loop)
cdef bint is_nested(object loop)
