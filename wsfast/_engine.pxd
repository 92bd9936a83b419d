from libc.stdint cimport uint8_t

from ._core cimport Connection
from ._driver cimport DirectDriver


# Of a sockaddr of any family.
cdef enum:
    ADDRESS_SIZE = 128


cdef class Engine:
    cdef readonly object loop
    cdef int epoll
    cdef uint8_t* buffer
    cdef bint busy
    cdef bint outside_tasks  # in a call of the loop: whether no task runs
    cdef bint nested  # whether the loop watches our epoll, not each socket
    cdef list drivers  # by file descriptor, with gaps of None
    cdef readonly int count
    cdef object __weakref__
    cdef uint8_t* plaintext  # what TLS decrypts to; NULL while it is lent
    cdef object plaintext_view  # of its beginning
    cdef object waiting  # TLS handshakes that wait for their turn
    cdef int handshakes
    cdef bint handshakes_scheduled

    cdef int attach(self, SocketDriver driver) except -1
    cdef bint has(self, int fd) noexcept
    cdef int detach(self, SocketDriver driver) except -1
    cdef int nest(self) except -1
    cdef int watch(self, SocketDriver driver, int operation) except -1


cdef class SocketDriver(DirectDriver):
    cdef readonly Engine engine
    cdef object reports_to
    cdef Connection connection  # what it reports to, once that is one
    cdef int fd
    cdef size_t write_limit
    cdef object backlog
    cdef size_t backlog_size
    cdef size_t backlog_offset  # of its first item, what was written of it
    cdef bytes own_address  # as the system has them, None before they are asked for
    cdef bytes peer_address
    cdef object sock  # made when asked for
    # Flags. There are many connections, each with many of them.
    cdef uint8_t watched
    cdef uint8_t plain  # no TLS
    cdef uint8_t reading
    cdef uint8_t writing  # whether the backlog waits for the socket
    cdef uint8_t eof
    cdef uint8_t shut  # whether the end of the stream was sent
    cdef uint8_t shutting  # whether it is to be sent behind the backlog
    cdef uint8_t closing
    cdef uint8_t sock_made

    cdef int begin(self) except -1
    cdef int readable(self) except -1
    cdef int take_input(self, const uint8_t* data, size_t size) except -1
    cdef Py_ssize_t put(self, const uint8_t* data, size_t size, bytes owner) except -1
    cdef Py_ssize_t write_together(self, tuple buffers) except -1
    cdef int receive_frame(self) except -1
    cdef int take_eof(self) except -1
    cdef int ask_addresses(self) except -1
    cdef int drain(self) except -1
    cdef int keep(self, object item, size_t offset, size_t size) except -1
    cdef int update(self) except -1
    cdef int end_stream(self) except -1
    cdef int close(self, object error) except -1
    cdef int broken(self, int number) except -1
