# TLS over the epoll driver: OpenSSL, by Python's ssl module, between two memory buffers.
#
# What one read of the socket brings is decrypted as a whole before it is handed on, and what one
# flush of the connection sends is encrypted into one write. Opening handshakes cost a thousand
# times what a message costs, so that few of them are served in a pass of the loop; the others are
# not read from until it is their turn.

from collections import deque

import ssl

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from libc.stdint cimport uint8_t

from ._engine cimport Engine, SocketDriver

cdef extern from "Python.h":
    object PyMemoryView_FromMemory(char* data, Py_ssize_t size, int flags)
    enum:
        PyBUF_READ
        PyBUF_WRITE

cdef enum:
    PLAINTEXT_SIZE = 262144
    RECORD_SIZE = 16384
    COPY_LIMIT = 1024
    HANDSHAKES = 4  # steps in a pass of the loop


cdef class TlsDriver(SocketDriver):
    cdef object tls  # the SSLObject
    cdef object inner  # what it hands read() and write() on to, for each in a call of its own
    cdef object incoming
    cdef object outgoing
    cdef bint server_side
    cdef bint secured
    cdef bint notified  # whether our close_notify was made
    cdef object keep_session  # called at the first data

    def __init__(
        self, Engine engine, int fd, target, size_t write_limit, make_tls, keep_session, peer=None
    ):
        self.incoming = ssl.MemoryBIO()
        self.outgoing = ssl.MemoryBIO()
        self.tls = make_tls(self.incoming, self.outgoing)
        self.inner = self.tls
        if type(self.tls) is ssl.SSLObject:  # and no class of the user's
            self.inner = getattr(self.tls, "_sslobj", self.tls)
        self.keep_session = keep_session
        self.server_side = self.tls.server_side
        if engine.waiting is None:
            engine.waiting = deque()
        SocketDriver.__init__(self, engine, fd, target, write_limit, peer)

    cdef int begin(self) except -1:
        self.plain = False
        if self.server_side:
            # Which limits the time that the client may take. The first word is the client's.
            self.reports_to.connected(self)
            return 0
        return self.advance()

    cdef int advance(self) except -1:
        """Go on with the handshake, now or in the next pass of the loop."""
        cdef Engine engine = self.engine
        if not engine.handshakes_scheduled:
            engine.handshakes_scheduled = True
            engine.loop.call_soon(next_handshakes, engine)
        if engine.handshakes >= HANDSHAKES:
            engine.waiting.append(self)
            self.pause(None)
            return 0
        engine.handshakes += 1
        return self.shake_hands()

    cdef int shake_hands(self) except -1:
        if self.closing:
            return 0
        try:
            self.tls.do_handshake()
        except ssl.SSLWantReadError:
            self.put_encrypted()
            return 0
        except ssl.SSLError as error:
            self.put_encrypted()  # the alert
            if not self.server_side:
                return self.close(error)
            # What the client sent meanwhile would make of a close a reset, which drops the alert.
            self.reports_to.tls_failed(error)
            return 0
        self.put_encrypted()
        if self.closing:
            return 0
        self.secured = True
        if not self.server_side:
            self.reports_to.connected(self)
        return self.decrypt()

    cdef int take_input(self, const uint8_t* data, size_t size) except -1:
        if self.shut or self.shutting:
            return 0  # only the end is of interest
        self.incoming.write(readable(data, size))
        if not self.secured:
            return self.advance()
        return self.decrypt()

    cdef int decrypt(self) except -1:
        """Hand on all that can be decrypted."""
        cdef uint8_t* plaintext = self.engine.plaintext
        cdef bint private = plaintext is NULL
        if private:
            plaintext = <uint8_t*> PyMem_Malloc(PLAINTEXT_SIZE)
            if plaintext is NULL:
                raise MemoryError
            self.engine.plaintext_view = None
        view = self.engine.plaintext_view
        if view is None:
            view = PyMemoryView_FromMemory(<char*> plaintext, RECORD_SIZE, PyBUF_WRITE)
        # While it is lent, a nested loop gets a buffer of its own.
        self.engine.plaintext = NULL
        try:
            self.decrypt_into(plaintext, view)
        finally:
            if self.engine.plaintext is NULL:
                self.engine.plaintext = plaintext
                self.engine.plaintext_view = view
            else:
                PyMem_Free(plaintext)
        return 0

    cdef int decrypt_into(self, uint8_t* plaintext, object first_room) except -1:
        cdef size_t filled
        cdef ssize_t size
        cdef bint ended = False
        failure = None
        while not self.closing and not ended and failure is None:
            filled = 0
            # It is asked again only where there is something, or it would raise. Each time it gives
            # a whole record: nothing can be left that is not in `incoming`.
            while filled <= PLAINTEXT_SIZE - RECORD_SIZE and self.incoming.pending:
                room = first_room
                if filled:
                    room = PyMemoryView_FromMemory(
                        <char*> plaintext + filled, RECORD_SIZE, PyBUF_WRITE
                    )
                try:
                    size = self.inner.read(RECORD_SIZE, room)
                except ssl.SSLWantReadError:
                    break
                except ssl.SSLError as error:
                    failure = error
                    break
                if size == 0:
                    ended = True  # close_notify
                    break
                filled += size
            self.put_encrypted()  # what TLS itself has to say: an alert, an answer to a key update
            if filled == 0:
                break
            SocketDriver.take_input(self, plaintext, filled)
            if self.keep_session is not None:
                keep_session, self.keep_session = self.keep_session, None
                keep_session(self.tls)
            if self.shut or self.shutting:
                return 0
        if failure is not None:
            return self.close(failure)
        if ended and not self.closing:
            return SocketDriver.take_eof(self)
        return 0

    cdef int take_eof(self) except -1:
        if self.eof or self.shut or self.shutting:
            return SocketDriver.take_eof(self)
        if not self.secured:
            return self.close(ConnectionResetError("connection lost during the TLS handshake"))
        # Without a close_notify the end may be an attacker's (RFC 8446 section 6.1).
        error = ssl.SSLEOFError(ssl.SSL_ERROR_EOF, "connection ended without close_notify")
        error.reason = "UNEXPECTED_EOF_WHILE_READING"  # as OpenSSL has it
        return self.close(error)

    cdef int put_encrypted(self) except -1:
        cdef bytes data = self.outgoing.read()
        if data:
            self.put(<const uint8_t*> PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data), data)
        return 0

    cdef Py_ssize_t send(self, const uint8_t* data, size_t size, bytes owner) except -1:
        if self.encrypt(data, size, owner):
            self.put_encrypted()
        return self.backlog_size

    cdef bint encrypt(self, const uint8_t* data, size_t size, bytes owner) except -1:
        if self.closing or self.shut or self.shutting:
            return False
        try:
            self.inner.write(readable(data, size) if owner is None else owner)
        except ssl.SSLWantReadError:
            # Only a context of the user allows the peer that.
            error = ssl.SSLError(ssl.SSL_ERROR_SSL, "cannot send during a TLS renegotiation")
            error.reason = "NO_RENEGOTIATION"
            self.close(error)
            return False
        except ssl.SSLError as error:
            self.close(error)
            return False
        return True

    cdef Py_ssize_t send_both(
        self,
        const uint8_t* head,
        size_t head_size,
        const uint8_t* data,
        size_t size,
        bytes owner,
    ) except -1:
        if self.encrypt(head, head_size, None) and self.encrypt(data, size, owner):
            self.put_encrypted()
        return self.backlog_size

    def write(self, connection, buffers):
        cdef bytes data = b"".join(buffers)
        return self.send(<const uint8_t*> PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data), data)

    cdef int end_stream(self) except -1:
        """Send the end of the stream, and a close_notify in front of it."""
        self.shutting = False
        if self.secured and not self.notified:
            self.notified = True
            try:
                self.tls.unwrap()
            except ssl.SSLError:
                pass  # the peer's close_notify is not there yet
            self.put_encrypted()
            if self.backlog_size:
                self.shutting = True
                return 0
        return SocketDriver.end_stream(self)

    def get_extra_info(self, connection, name, default=None):
        if name == "ssl_object":
            return self.tls
        if name == "sslcontext":
            return self.tls.context
        if name == "cipher":
            return self.tls.cipher()
        if name == "peercert":
            return self.tls.getpeercert()
        if name == "compression":
            return self.tls.compression()
        return SocketDriver.get_extra_info(self, connection, name, default)


cdef object readable(const uint8_t* data, size_t size):
    """What is lent, for a call of Python: small, a copy of it costs less than a view."""
    if size <= COPY_LIMIT:
        return PyBytes_FromStringAndSize(<const char*> data, size)
    return PyMemoryView_FromMemory(<char*> data, size, PyBUF_READ)


def next_handshakes(Engine engine):
    """Serve handshakes that had to wait."""
    cdef TlsDriver driver
    engine.handshakes_scheduled = False
    engine.handshakes = 0
    while engine.waiting and engine.handshakes < HANDSHAKES:
        driver = engine.waiting.popleft()
        driver.resume(None)
        driver.advance()


def maker(context, server_side, server_hostname=None, resumption=None):
    """Makes the drivers of TLS connections, for `listen` and `adopt`."""

    def make_tls(incoming, outgoing):
        session = None if resumption is None else resumption.take()
        return context.wrap_bio(incoming, outgoing, server_side, server_hostname, session)

    keep_session = None if resumption is None else resumption.keep

    def make(engine, fd, target, write_limit, peer=None):
        return TlsDriver(engine, fd, target, write_limit, make_tls, keep_session, peer)

    return make
