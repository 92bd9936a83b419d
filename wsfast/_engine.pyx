# The epoll driver: plain sockets on Linux, without a transport of the event loop for each.
#
# Rules of this file:
# 1. The loop watches one file descriptor, that of our epoll instance, and a call of the loop serves
#    hundreds of sockets. While there are few sockets the loop watches each, which is quicker then.
# 2. All sockets are read into one buffer. Whoever gets it keeps what it needs before it returns.
#    The payload of a large frame is read to where it will stay.
# 3. A socket gets one read, or a megabyte of a large frame, in a turn: no peer can starve others.
# 4. Nothing is reported from inside a call of the connection: ends are told by the loop.
# 5. A file descriptor is closed in one place, close(), after it left the tables: its number may be
#    another connection's in the next moment.

from collections import deque

import os
import socket
import weakref

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from libc.errno cimport EAGAIN, EINTR
from libc.errno cimport errno as last_error
from libc.stdint cimport uint16_t, uint32_t
from libc.string cimport memset
from posix.unistd cimport close as close_fd

from ._core cimport Connection
from ._waiter cimport is_nested, no_task_runs

cdef extern from "<sys/epoll.h>" nogil:
    ctypedef union epoll_data_t:
        int fd
    struct epoll_event:
        uint32_t events
        epoll_data_t data
    enum:
        EPOLLIN
        EPOLLOUT
        EPOLLERR
        EPOLLHUP
        EPOLL_CLOEXEC
        EPOLL_CTL_ADD
        EPOLL_CTL_DEL
        EPOLL_CTL_MOD
    int epoll_create1(int flags)
    int epoll_ctl(int epoll, int operation, int fd, epoll_event* event)
    int epoll_wait(int epoll, epoll_event* events, int count, int timeout)

cdef extern from "<sys/uio.h>" nogil:
    struct iovec:
        void* iov_base
        size_t iov_len

cdef extern from "<sys/socket.h>" nogil:
    struct sockaddr:
        unsigned short sa_family
    struct msghdr:
        iovec* msg_iov
        size_t msg_iovlen
    enum:
        AF_INET
        AF_INET6
        AF_UNIX
        MSG_DONTWAIT
        MSG_NOSIGNAL
        SHUT_WR
    ssize_t recv(int fd, void* buffer, size_t size, int flags)
    ssize_t c_send "send"(int fd, const void* data, size_t size, int flags)
    ssize_t sendmsg(int fd, const msghdr* message, int flags)
    int shutdown(int fd, int how)
    int getsockname(int fd, sockaddr* address, unsigned int* size)
    int getpeername(int fd, sockaddr* address, unsigned int* size)

cdef extern from "<netinet/in.h>" nogil:
    struct in_addr:
        pass
    struct in6_addr:
        pass
    struct sockaddr_in:
        uint16_t sin_port
        in_addr sin_addr
    struct sockaddr_in6:
        uint16_t sin6_port
        uint32_t sin6_flowinfo
        in6_addr sin6_addr
        uint32_t sin6_scope_id
    enum:
        INET6_ADDRSTRLEN
    uint16_t ntohs(uint16_t number)
    uint32_t ntohl(uint32_t number)

cdef extern from "<arpa/inet.h>" nogil:
    const char* inet_ntop(int family, const void* address, char* text, unsigned int size)

cdef enum:
    BUFFER_SIZE = 262144
    EVENTS = 256  # sockets served in one call of the loop
    FEW = 8  # above, the loop watches our epoll
    BUFFERS = 64  # written at once
    LARGE = 16384  # what is left of a frame that is read to where it will stay
    TURN_BYTES = 1048576


cdef class Engine:
    # The sockets of one event loop.

    def __init__(self, loop):
        self.loop = loop
        self.drivers = []
        self.buffer = <uint8_t*> PyMem_Malloc(BUFFER_SIZE)
        if self.buffer is NULL:
            raise MemoryError

    def __cinit__(self):
        self.epoll = -1

    def __dealloc__(self):
        PyMem_Free(self.buffer)
        PyMem_Free(self.plaintext)
        if self.epoll >= 0:
            close_fd(self.epoll)

    cdef int attach(self, SocketDriver driver) except -1:
        while driver.fd >= len(self.drivers):
            self.drivers.append(None)
        self.drivers[driver.fd] = driver
        self.count += 1
        try:
            if self.count > FEW and not self.nested and not is_nested(self.loop):
                self.nest()
            self.watch(driver, EPOLL_CTL_ADD)
        except BaseException:
            self.drivers[driver.fd] = None
            self.count -= 1
            raise
        return 0

    cdef bint has(self, int fd) noexcept:
        return fd < len(self.drivers) and self.drivers[fd] is not None

    cdef int detach(self, SocketDriver driver) except -1:
        self.watch(driver, EPOLL_CTL_DEL)
        self.drivers[driver.fd] = None
        self.count -= 1
        if self.count == 0 and self.nested:
            self.nested = False
            self.loop.remove_reader(self.epoll)
            close_fd(self.epoll)
            self.epoll = -1
        return 0

    cdef int nest(self) except -1:
        """From now on the loop watches our epoll instance, and that the sockets."""
        cdef SocketDriver driver
        self.epoll = epoll_create1(EPOLL_CLOEXEC)
        if self.epoll < 0:
            raise OSError(last_error, os.strerror(last_error))
        for driver in self.drivers:
            if driver is not None and driver.watched:
                self.watch(driver, EPOLL_CTL_DEL)
                self.nested = True
                self.watch(driver, EPOLL_CTL_ADD)
                self.nested = False
        self.nested = True
        self.loop.add_reader(self.epoll, self._ready)
        return 0

    cdef int watch(self, SocketDriver driver, int operation) except -1:
        """Begin, change or end watching for what the driver wants."""
        cdef epoll_event event
        if operation == EPOLL_CTL_DEL and not driver.watched:
            return 0
        driver.watched = operation != EPOLL_CTL_DEL
        if not self.nested:
            if driver.reading and driver.watched:
                self.loop.add_reader(driver.fd, driver._readable)
            else:
                self.loop.remove_reader(driver.fd)
            if driver.writing and driver.watched:
                self.loop.add_writer(driver.fd, driver._writable)
            else:
                self.loop.remove_writer(driver.fd)
            return 0
        event.events = (EPOLLIN if driver.reading else 0) | (EPOLLOUT if driver.writing else 0)
        event.data.fd = driver.fd
        if epoll_ctl(self.epoll, operation, driver.fd, &event) < 0:
            raise OSError(last_error, os.strerror(last_error))
        return 0

    def _ready(self):
        cdef epoll_event events[EVENTS]
        cdef SocketDriver driver
        cdef int i
        cdef int count = epoll_wait(self.epoll, events, EVENTS, 0)
        cdef bint nested = self.outside_tasks
        self.outside_tasks = no_task_runs(self.loop)
        try:
            for i in range(count):
                driver = <SocketDriver> self.drivers[events[i].data.fd]
                if driver is None:
                    continue  # closed by one that was served before it
                if events[i].events & EPOLLOUT:
                    driver.drain()
                if events[i].events & ~<uint32_t> EPOLLOUT:
                    if driver.reading:
                        driver.readable()
                    elif driver.watched and events[i].events & (EPOLLERR | EPOLLHUP):
                        # Told again and again, as long as it is watched. It will be read on
                        # resume().
                        self.watch(driver, EPOLL_CTL_DEL)
        finally:
            self.outside_tasks = nested


cdef class SocketDriver(DirectDriver):
    # Drives one connection over one socket. It owns the file descriptor.

    def __init__(self, Engine engine, int fd, target, size_t write_limit, bytes peer=None):
        self.engine = engine
        self.fd = fd
        self.write_limit = write_limit
        self.peer_address = peer
        self.reading = True
        self.plain = True
        self.reports_to = target
        try:
            engine.attach(self)
        except BaseException:
            self.fd = -1  # it stays the caller's
            raise
        self.begin()

    cdef int begin(self) except -1:
        """The socket is connected."""
        self.reports_to.connected(self)
        return 0

    def __cinit__(self):
        self.fd = -1

    def __dealloc__(self):
        if self.fd >= 0 and not self.sock_made:
            close_fd(self.fd)  # its loop ended before it

    @property
    def target(self):
        return self.reports_to

    @target.setter
    def target(self, target):
        self.reports_to = target
        self.connection = target if isinstance(target, Connection) else None

    # From the loop

    def _readable(self):
        cdef Engine engine = self.engine
        cdef bint nested = engine.outside_tasks
        if self.reading:
            engine.outside_tasks = no_task_runs(engine.loop)
            try:
                self.readable()
            finally:
                engine.outside_tasks = nested

    def _writable(self):
        self.drain()

    cdef int readable(self) except -1:
        cdef Engine engine = self.engine
        cdef uint8_t* buffer = engine.buffer
        cdef ssize_t size
        cdef bint nested = engine.busy
        if self.plain and self.connection is not None and self.connection.reader.room(LARGE):
            return self.receive_frame()
        if nested:
            # Inside a dispatch, that is in a nested loop, the buffer is in use.
            buffer = <uint8_t*> PyMem_Malloc(BUFFER_SIZE)
            if buffer is NULL:
                raise MemoryError
        engine.busy = True
        try:
            size = recv(self.fd, buffer, BUFFER_SIZE, MSG_DONTWAIT)
            if size > 0:
                self.take_input(buffer, size)
            elif size == 0:
                self.take_eof()
            elif last_error != EAGAIN and last_error != EINTR:
                self.broken(last_error)
        finally:
            engine.busy = nested
            if nested:
                PyMem_Free(buffer)
        return 0

    cdef int take_input(self, const uint8_t* data, size_t size) except -1:
        """Hand on what came; it is only lent."""
        if self.connection is not None:
            return self.connection.turn(data, size, self.engine.outside_tasks)
        self.reports_to.received(PyBytes_FromStringAndSize(<const char*> data, size))
        return 0

    cdef int receive_frame(self) except -1:
        """Read the payload of a large frame to where it will stay."""
        cdef Connection connection = self.connection
        cdef size_t total = 0
        cdef size_t room
        cdef ssize_t size
        while total < TURN_BYTES:
            room = connection.reader.room(1)
            if room == 0:
                break
            size = recv(self.fd, connection.reader.room_start(), room, MSG_DONTWAIT)
            if size < 0:
                if last_error != EAGAIN and last_error != EINTR:
                    self.broken(last_error)
                break
            if size == 0:
                self.take_eof()
                return 0
            total += size
            connection.filled(size, self.engine.outside_tasks)
            if <size_t> size < room or self.closing or not self.reading:
                break
        return 0

    cdef int take_eof(self) except -1:
        self.eof = True
        self.reading = False
        try:
            if not self.reports_to.eof() and not self.closing:
                self.end_stream()
        finally:
            self.update()
        return 0

    cdef int drain(self) except -1:
        """Write from the backlog."""
        cdef iovec vectors[BUFFERS]
        cdef msghdr message
        cdef ssize_t size
        cdef size_t length
        cdef int count = 0
        if self.closing or not self.backlog_size:
            return 0
        for item in self.backlog:
            vectors[count].iov_base = PyBytes_AS_STRING(item)
            vectors[count].iov_len = PyBytes_GET_SIZE(item)
            count += 1
            if count == BUFFERS:
                break
        vectors[0].iov_base = <uint8_t*> vectors[0].iov_base + self.backlog_offset
        vectors[0].iov_len -= self.backlog_offset
        memset(&message, 0, sizeof(message))
        message.msg_iov = vectors
        message.msg_iovlen = count
        size = sendmsg(self.fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL)
        if size < 0:
            if last_error != EAGAIN and last_error != EINTR:
                self.broken(last_error)
            return 0
        self.backlog_size -= size
        self.backlog_offset += size
        while self.backlog:
            length = PyBytes_GET_SIZE(self.backlog[0])
            if self.backlog_offset < length:
                break
            self.backlog_offset -= length
            self.backlog.popleft()
        if not self.backlog_size:
            self.backlog = None
            self.writing = False
            self.update()
        if self.backlog_size <= self.write_limit // 4:
            if self.connection is None:
                self.reports_to.writable()
            elif self.connection.blocked:
                self.connection.writable()
        if self.shutting and not self.backlog_size and not self.closing:
            self.end_stream()
        return 0

    # From the connection

    cdef Py_ssize_t send(self, const uint8_t* data, size_t size, bytes owner) except -1:
        return self.put(data, size, owner)

    cdef Py_ssize_t send_both(
        self,
        const uint8_t* head,
        size_t head_size,
        const uint8_t* data,
        size_t size,
        bytes owner,
    ) except -1:
        cdef iovec vectors[2]
        cdef msghdr message
        cdef ssize_t written
        if self.closing or self.shut or self.shutting:
            return 0
        if self.backlog_size:
            self.put(head, head_size, None)
            return self.put(data, size, owner)
        vectors[0].iov_base = <void*> head
        vectors[0].iov_len = head_size
        vectors[1].iov_base = <void*> data
        vectors[1].iov_len = size
        memset(&message, 0, sizeof(message))
        message.msg_iov = vectors
        message.msg_iovlen = 2
        written = sendmsg(self.fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL)
        if written < 0:
            if last_error != EAGAIN and last_error != EINTR:
                self.broken(last_error)
                return 0
            written = 0
        if <size_t> written < head_size:
            rest = PyBytes_FromStringAndSize(<const char*> head + written, head_size - written)
            self.keep(rest, 0, head_size - written)
            written = head_size
        written -= head_size
        if <size_t> written < size:
            if owner is None:
                owner = PyBytes_FromStringAndSize(<const char*> data + written, size - written)
                size -= written
                written = 0
            self.keep(owner, written, size - written)
        return self.backlog_size

    cdef Py_ssize_t put(self, const uint8_t* data, size_t size, bytes owner) except -1:
        """Write to the socket; what it does not take goes into the backlog."""
        cdef ssize_t written = 0
        if self.closing or self.shut or self.shutting:
            return 0
        if not self.backlog_size:
            written = c_send(self.fd, data, size, MSG_DONTWAIT | MSG_NOSIGNAL)
            if written == <ssize_t> size:
                return 0
            if written < 0:
                if last_error != EAGAIN and last_error != EINTR:
                    self.broken(last_error)
                    return 0
                written = 0
        if owner is None or self.backlog_size:
            owner = PyBytes_FromStringAndSize(<const char*> data + written, size - written)
            self.keep(owner, 0, size - written)
        else:
            self.keep(owner, written, size - written)
        return self.backlog_size

    cdef int keep(self, object item, size_t offset, size_t size) except -1:
        """Put an item into the backlog; offset is what was written of it, 0 but for the first."""
        if self.backlog is None:
            self.backlog = deque()
        if not self.backlog:
            self.backlog_offset = offset
        self.backlog.append(item)
        self.backlog_size += size
        if not self.writing:
            self.writing = True
            self.update()
        return 0

    def write(self, connection, buffers):
        cdef bytes data
        cdef Py_ssize_t waiting = self.backlog_size
        if self.plain and len(buffers) > 1 and not self.backlog_size:
            return self.write_together(tuple(buffers))
        for data in buffers:
            waiting = self.send(
                <const uint8_t*> PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data), data
            )
        return waiting

    cdef Py_ssize_t write_together(self, tuple buffers) except -1:
        """Write from where it is, without a system call for each."""
        cdef iovec vectors[BUFFERS]
        cdef msghdr message
        cdef ssize_t written
        cdef ssize_t size
        cdef size_t i
        cdef size_t first = 0
        cdef size_t count
        memset(&message, 0, sizeof(message))
        message.msg_iov = vectors
        while first < <size_t> len(buffers) and not (self.closing or self.shut or self.shutting):
            count = min(<size_t> len(buffers) - first, <size_t> BUFFERS)
            for i in range(count):
                item = buffers[first + i]
                vectors[i].iov_base = PyBytes_AS_STRING(item)
                vectors[i].iov_len = PyBytes_GET_SIZE(item)
            message.msg_iovlen = count
            written = 0
            if not self.backlog_size:
                written = sendmsg(self.fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL)
                if written < 0:
                    if last_error != EAGAIN and last_error != EINTR:
                        self.broken(last_error)
                        return 0
                    written = 0
            for item in buffers[first : first + count]:
                size = PyBytes_GET_SIZE(item)
                if written < size:
                    self.keep(item, written, size - written)
                written = max(written - size, <ssize_t> 0)
            first += count
        return self.backlog_size

    def pause(self, connection):
        if self.reading and not self.closing:
            self.reading = False
            self.update()

    def resume(self, connection):
        if not self.reading and not self.closing and not self.eof:
            self.reading = True
            self.update()

    def shutdown_write(self, connection):
        if self.backlog_size:
            self.shutting = True
        elif not self.closing:
            self.end_stream()

    def abort(self, connection):
        self.close(None)

    def get_extra_info(self, connection, name, default=None):
        if name == "buffered":
            return self.backlog_size
        if name == "peername" or name == "sockname":
            self.ask_addresses()
            return shown(self.peer_address if name == "peername" else self.own_address)
        if name == "socket":
            if self.sock is None and self.fd >= 0:
                self.sock = socket.socket(fileno=self.fd)
                self.sock_made = True  # and closes it, unless close() does
            return default if self.sock is None else self.sock
        return default

    cdef int update(self) except -1:
        """Watch for what is wanted now."""
        if not self.closing:
            self.engine.watch(self, EPOLL_CTL_MOD if self.watched else EPOLL_CTL_ADD)
        return 0

    cdef int end_stream(self) except -1:
        """Send the end of the stream; if the peer's came already, this is the end."""
        self.shutting = False
        if self.eof:
            return self.close(None)
        if not self.shut:
            self.shut = True
            if shutdown(self.fd, SHUT_WR) < 0:
                return self.close(None)
        return 0

    cdef int broken(self, int number) except -1:
        return self.close(OSError(number, os.strerror(number)))

    cdef int close(self, object error) except -1:
        if self.closing:
            return 0
        self.closing = True
        self.reading = False
        self.writing = False
        self.backlog = None
        self.backlog_size = 0
        self.ask_addresses()
        self.engine.detach(self)
        if self.sock is not None:
            self.sock.detach()  # whoever asked for it does not own the file descriptor
        close_fd(self.fd)
        self.fd = -1
        self.engine.loop.call_soon(self._tell_lost, error)
        return 0

    cdef int ask_addresses(self) except -1:
        """Ask for the addresses of both ends, which the system forgets with the socket."""
        cdef uint8_t address[ADDRESS_SIZE]
        cdef unsigned int size = ADDRESS_SIZE
        if self.own_address is None and getsockname(self.fd, <sockaddr*> address, &size) == 0:
            self.own_address = PyBytes_FromStringAndSize(<char*> address, size)
        size = ADDRESS_SIZE
        if self.peer_address is None and getpeername(self.fd, <sockaddr*> address, &size) == 0:
            self.peer_address = PyBytes_FromStringAndSize(<char*> address, size)
        return 0

    def _tell_lost(self, error):
        target = self.reports_to
        self.reports_to = None
        self.connection = None
        target.lost(error)


cdef object shown(bytes address):
    """An address of the system as Python has it; None if there is none."""
    cdef char text[INET6_ADDRSTRLEN]
    cdef const sockaddr_in* ip
    cdef const sockaddr_in6* ip6
    if address is None:
        return None
    family = (<const sockaddr*> PyBytes_AS_STRING(address)).sa_family
    if family == AF_INET:
        ip = <const sockaddr_in*> PyBytes_AS_STRING(address)
        inet_ntop(AF_INET, &ip.sin_addr, text, INET6_ADDRSTRLEN)
        return text.decode(), ntohs(ip.sin_port)
    if family == AF_INET6:
        ip6 = <const sockaddr_in6*> PyBytes_AS_STRING(address)
        inet_ntop(AF_INET6, &ip6.sin6_addr, text, INET6_ADDRSTRLEN)
        return text.decode(), ntohs(ip6.sin6_port), ntohl(ip6.sin6_flowinfo), ip6.sin6_scope_id
    if family == AF_UNIX:
        path = address[2:]
        # A name that begins with NUL is not one of a file, and the NUL belongs to it.
        return path if path[:1] == b"\0" else os.fsdecode(path.partition(b"\0")[0])
    return address


# By the identity of the loop, which lives as long as its engine does. An engine lives as long as
# there are drivers or listeners that have it.
engines = weakref.WeakValueDictionary()


def engine_of(loop):
    engine = engines.get(id(loop))
    if engine is None:
        engine = engines[id(loop)] = Engine(loop)
    return engine


def adopt(loop, sock, target, write_limit, tls=None):
    sock.setblocking(False)
    if sock.family != socket.AF_UNIX:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    make = SocketDriver if tls is None else tls
    driver = make(engine_of(loop), sock.fileno(), target, write_limit)
    driver.get_extra_info(None, "peername")  # while the system knows it
    sock.detach()
    return driver
