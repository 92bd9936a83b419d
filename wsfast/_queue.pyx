# The messages that wait for recv(). The pure twin is _pure/queue.py; the documentation is in
# _queue.pyi.
#
# A message is its str or bytes. A fragment, in fragment mode, is a tuple of opcode, data and fin.
# The only message of a queue is in the queue itself, more are in a ring: an empty queue has no
# other memory, because most connections never have a message waiting.

from cpython.mem cimport PyMem_Free, PyMem_Malloc
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_INCREF

from ._frame cimport BINARY, CONT, TEXT


cdef enum:
    RING = 16  # the size of the smallest, a power of two as all


cdef class MessageQueue:
    def __cinit__(self):
        self.ring = &self.only
        self.capacity = 1

    def __dealloc__(self):
        cdef Py_ssize_t i
        for i in range(self.count):
            Py_DECREF(<object> self.ring[(self.first + i) & (self.capacity - 1)])
        self.release_ring()

    def __len__(self):
        return self.count

    cpdef int append(self, object item) except -1:
        cdef PyObject** ring
        cdef Py_ssize_t capacity
        cdef Py_ssize_t i
        if self.count == self.capacity:
            capacity = max(2 * self.capacity, RING)
            ring = <PyObject**> PyMem_Malloc(capacity * sizeof(PyObject*))
            if ring is NULL:
                raise MemoryError
            for i in range(self.count):
                ring[i] = self.ring[(self.first + i) & (self.capacity - 1)]
            self.release_ring()
            self.ring = ring
            self.capacity = capacity
        Py_INCREF(item)
        self.ring[(self.first + self.count) & (self.capacity - 1)] = <PyObject*> item
        self.count += 1
        self.whole += ends_message(item)
        return 0

    cdef object item(self, Py_ssize_t index):
        return <object> self.ring[(self.first + index) & (self.capacity - 1)]

    cdef object pop(self):
        item = <object> self.ring[self.first]
        Py_DECREF(item)  # the queue's reference; `item` has its own
        self.count -= 1
        self.whole -= ends_message(item)
        if self.count:
            self.first = (self.first + 1) & (self.capacity - 1)
        else:
            self.release_ring()
        return item

    cdef int release_ring(self) noexcept:
        if self.ring != &self.only:
            PyMem_Free(self.ring)
            self.ring = &self.only
            self.capacity = 1
        self.first = 0
        return 0

    cpdef object take_message(self):
        if self.count and type(self.item(0)) is not tuple:
            return self.pop()
        taken = self.take_parts()
        if taken is None:
            return None
        opcode, parts = taken
        data = parts[0] if len(parts) == 1 else b"".join(parts)
        return data.decode() if opcode == TEXT and type(data) is bytes else data

    cpdef object take_parts(self):
        cdef Py_ssize_t i
        while self.count:
            item = self.item(0)
            if type(item) is not tuple:
                self.pop()
                return (TEXT if isinstance(item, str) else BINARY), [item]
            if item[0] != CONT:
                break
            self.pop()  # the rest of a message that recv_streaming() gave up
        # For a message that is not complete nothing is looked through, however often it is asked.
        for i in range(self.count if self.whole else 0):
            if self.item(i)[2]:
                parts = [self.pop() for _ in range(i + 1)]
                return parts[0][0], [part[1] for part in parts]
        return None

    cpdef object take_fragment(self):
        if not self.count:
            return None
        item = self.pop()
        if type(item) is tuple:
            return item
        return (TEXT if isinstance(item, str) else BINARY), item, True

    cpdef int drop_incomplete(self) except -1:
        while self.count:
            item = self.item(self.count - 1)
            if type(item) is not tuple or item[2]:
                return 0
            Py_DECREF(item)  # the queue's reference; `item` has its own
            self.count -= 1
        self.release_ring()
        return 0

    cpdef int clear(self) except -1:
        while self.count:
            self.pop()
        return 0


cdef inline bint ends_message(object item):
    return type(item) is not tuple or (<tuple> item)[2]
