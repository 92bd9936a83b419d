# Accepts connections for the epoll driver.

import os
import socket

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.errno cimport ECONNABORTED, EINTR, EMFILE, ENFILE, ENOBUFS, ENOMEM
from libc.errno cimport errno as last_error
from libc.stdint cimport uint8_t
from posix.unistd cimport close as close_fd

from ._engine cimport ADDRESS_SIZE, Engine

from ._engine import SocketDriver, engine_of

cdef extern from "<sys/socket.h>" nogil:
    struct sockaddr:
        pass
    enum:
        SOCK_NONBLOCK
        SOCK_CLOEXEC
    int accept4(int fd, sockaddr* address, unsigned int* size, int flags)
    int setsockopt(int fd, int level, int name, const void* value, unsigned int size)

cdef extern from "<netinet/in.h>" nogil:
    enum:
        IPPROTO_TCP

cdef extern from "<netinet/tcp.h>" nogil:
    enum:
        TCP_NODELAY

cdef enum:
    ACCEPTS = 64  # in one call of the loop


cdef class Listener:
    # Accepts the connections of one listening socket, which it owns.

    cdef readonly object sock
    cdef Engine engine
    cdef object make_target
    cdef object failed
    cdef size_t write_limit
    cdef bint tcp
    cdef bint inherited  # whether all that is accepted has TCP_NODELAY from the listening socket
    cdef object tls
    cdef object retry

    def __init__(self, Engine engine, sock, make_target, failed, size_t write_limit, tls):
        cdef int one = 1
        self.engine = engine
        self.tls = tls
        self.sock = sock
        self.make_target = make_target
        self.failed = failed
        self.write_limit = write_limit
        self.tcp = sock.family != socket.AF_UNIX
        if self.tcp:
            setsockopt(sock.fileno(), IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one))
        sock.setblocking(False)
        engine.loop.add_reader(sock.fileno(), self._accept)

    def _accept(self):
        cdef int listening = self.sock.fileno()
        cdef int one = 1
        cdef int fd
        cdef uint8_t address[ADDRESS_SIZE]
        cdef unsigned int size
        for _ in range(ACCEPTS):
            size = ADDRESS_SIZE
            fd = accept4(listening, <sockaddr*> address, &size, SOCK_NONBLOCK | SOCK_CLOEXEC)
            if fd < 0:
                if last_error in (EMFILE, ENFILE, ENOBUFS, ENOMEM):
                    self._back_off(last_error)
                    return
                if last_error == ECONNABORTED or last_error == EINTR:
                    continue
                self.inherited = True  # what came before it had the option was accepted
                return
            if self.tcp and not self.inherited:
                setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one))
            # Asked later, the system may have forgotten it.
            peer = PyBytes_FromStringAndSize(<char*> address, size)
            make = SocketDriver if self.tls is None else self.tls
            try:
                make(self.engine, fd, self.make_target(), self.write_limit, peer)
            except BaseException:
                if not self.engine.has(fd):
                    close_fd(fd)
                raise

    def _back_off(self, number):
        """There are no file descriptors: try again when some may have been closed."""
        self.engine.loop.remove_reader(self.sock.fileno())
        self.failed(OSError(number, os.strerror(number)))
        self.retry = self.engine.loop.call_later(1, self._try_again)

    def _try_again(self):
        self.retry = None
        self.engine.loop.add_reader(self.sock.fileno(), self._accept)

    def close(self):
        if self.retry is not None:
            self.retry.cancel()
        if self.sock.fileno() >= 0:
            self.engine.loop.remove_reader(self.sock.fileno())
            self.sock.close()


def listen(loop, sock, make_target, failed, write_limit, tls=None):
    return Listener(engine_of(loop), sock, make_target, failed, write_limit, tls)
