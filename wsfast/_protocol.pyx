# The state machine of a connection after the opening handshake. The pure twin is
# _pure/protocol.py; the documentation is in _protocol.pyi.
#
# Rules of this file:
# 1. Everything that changes the state of a connection, and every rule of closing, of fragments and
#    of order, is here. Drivers move bytes and users move messages; neither decides.
# 2. It knows no socket, no clock and no event loop.
# 3. User code runs only in deliver() (a listener) and settled() (a task). It may call anything:
#    what was read from self before must be read again after.
# 4. A close frame or an error is acted on only after what came before it was dealt with: see
#    settled().

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.buffer cimport PyBUF_READ, PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.memoryview cimport PyMemoryView_FromMemory
from cpython.unicode cimport PyUnicode_Check
from libc.string cimport memcpy

from ._mask cimport next_masking_key, read_key, xor_copy
from ._deflate cimport Deflate
from ._frame cimport BINARY, CLOSE, CONT, MAX_HEADER, PING, PONG, TEXT, write_header
from ._parser cimport FrameReader

from ._mask import valid_utf8
from . import data_types
from .closing import shorten
from .data_types import as_type, check_choice
from .exceptions import ConcurrencyError, InvalidState, connection_closed
from .frames import Close, State, check_close, is_close_code

cdef extern from "Python.h":
    const char* PyUnicode_AsUTF8AndSize(object text, Py_ssize_t* size) except NULL

cdef tuple STATES = tuple(State)
cdef tuple TEXT_TYPES = data_types.TEXT_TYPES
cdef tuple BINARY_TYPES = data_types.BINARY_TYPES

# Where numbers of 32 bits stay.
cdef uint64_t LARGEST = 0xFFFFFFFF

# What permessage-deflate has for itself (RFC 7692 section 6).
cdef enum:
    RSV1 = 4


cdef class Protocol:
    def __init__(self, options, *, bint client, state=State.OPEN, generate_mask=None):
        self.set_up(options, client, state, generate_mask)

    cdef int set_up(self, object options, bint client, int state, object generate_mask) except -1:
        cdef FrameReader last = self.reader
        if last is not None and self.ready_state != CLOSED:
            raise InvalidState("the connection is not closed")
        self.reader = FrameReader(
            client=client,
            max_size=options.max_size,
            max_frame_size=options.max_frame_size,
            max_fragments=options.max_fragments,
            skip_utf8_validation=options.skip_utf8_validation,
        )
        if last is None:
            self.tells_pings = True
            self.handling = UNCHECKED if options.skip_utf8_validation else 0
            self.set_text_type(options.text_type)
            self.set_binary_type(options.binary_type)
        else:
            self.begin_again(last)
        self.options = options
        self.client = client
        self.ready_state = state
        self.generate_mask = generate_mask
        self.fragment_size = options.fragment_size or 0
        self.auto_pong = options.auto_pong
        return 0

    cdef int begin_again(self, FrameReader last) except -1:
        """Forget the life before, but for its counters and for what the user has set."""
        last.give_up()  # somebody may be reading from it
        self.reader.keep_counters(last)
        self.set_text_type(self.text_type)
        self.set_binary_type(self.binary_type)
        self.handling &= ~IGNORED
        self.close_sent = self.close_received = self.error = None
        self.negotiated = self.postponed = None
        self.sending = self.unfinished = self.stopped = 0
        self.received_first = self.discarding = self.stacked = self.compressing = False
        return 0

    # Hooks

    def on_message(self, opcode, data, fin):
        pass

    def on_control(self, opcode, data):
        pass

    def on_closing(self):
        pass

    def on_closed(self):
        pass

    def write(self, *buffers):
        pass

    def write_eof(self):
        pass

    def settle(self):
        return True

    def answer_ping(self, data):
        self.send_control_frame(PONG, data)

    cdef int deliver(self, int opcode, object data, bint fin) except -1:
        self.on_message(opcode, data, bool(fin))
        return 0

    cdef int answer(self, object data) except -1:
        self.answer_ping(data)
        return 0

    cdef bint settled(self) except -1:
        if self.stacked and self.negotiated.incoming:
            self.stopped |= EXTENSIONS_BUSY
            return False
        return self.settle()

    cdef int emit(
        self, int opcode, int rsv, const uint8_t* payload, size_t size, bint fin, object owner
    ) except -1:
        """Write a frame. `owner` is the bytes that payload points into, or None."""
        cdef uint8_t header[MAX_HEADER]
        cdef uint32_t key = 0
        cdef size_t header_size = write_header(header, opcode, size, fin, rsv, self.client)
        cdef uint8_t* target
        if self.client:
            key = make_key(self)
            memcpy(header + header_size, &key, 4)
            header_size += 4
        elif size > COPY_LIMIT:
            if owner is None:
                owner = PyBytes_FromStringAndSize(<const char*> payload, size)
            self.write(PyBytes_FromStringAndSize(<char*> header, header_size), owner)
            return 0
        frame = PyBytes_FromStringAndSize(NULL, header_size + size)
        target = <uint8_t*> PyBytes_AS_STRING(frame)
        memcpy(target, header, header_size)
        if self.client:
            xor_copy(target + header_size, payload, size, key)
        else:
            memcpy(target + header_size, payload, size)
        self.write(frame)
        return 0

    cdef int eof_out(self) except -1:
        self.write_eof()
        return 0

    # Types

    @property
    def text_type(self):
        """What text messages are handed out as: "str" or "bytes".

        It may be set, for the messages to come.
        """
        return TEXT_TYPES[bool(self.handling & TEXT_AS_BYTES)]

    @text_type.setter
    def text_type(self, value):
        self.set_text_type(value)

    cdef int set_text_type(self, object value) except -1:
        cdef bint as_bytes = check_choice("text_type", value, TEXT_TYPES) == "bytes"
        self.handling = self.handling & ~TEXT_AS_BYTES | (TEXT_AS_BYTES if as_bytes else 0)
        self.reader.decode_text = not as_bytes
        return 0

    @property
    def binary_type(self):
        """What binary messages are handed out as.

        "bytes", "bytearray", "memoryview", or "fragments" for a list of bytes, one for each frame.
        It may be set, for the messages to come.
        """
        return BINARY_TYPES[self.handling // BINARY_TYPE]

    @binary_type.setter
    def binary_type(self, value):
        self.set_binary_type(value)

    cdef int set_binary_type(self, object value) except -1:
        cdef int place = BINARY_TYPES.index(check_choice("binary_type", value, BINARY_TYPES))
        self.handling = self.handling % BINARY_TYPE + BINARY_TYPE * place
        self.reader.boundaries = value == "fragments"
        return 0

    cdef object typed(self, int opcode, list parts, object decode):
        return as_type(opcode, parts, self.text_type, self.binary_type, decode)

    # Input

    @property
    def state(self):
        """Where the connection is in its life."""
        return STATES[self.ready_state]

    @property
    def fragments(self):
        return self.reader.fragments

    @fragments.setter
    def fragments(self, bint value):
        self.reader.fragments = value

    @property
    def frames_received(self):
        """How many frames came."""
        return self.reader.frames_read

    @property
    def fragments_received(self):
        """How many frames of fragmented messages came."""
        return self.reader.fragments_read

    @property
    def bytes_received(self):
        """How many bytes of payload came."""
        return self.reader.bytes_read

    @property
    def biggest_received(self):
        """How many bytes the biggest message had that came, decompressed."""
        return self.reader.biggest_read

    def use_deflate(self, agreed, Deflate deflate not None):
        self.reader.allow(RSV1, deflate)
        self.negotiated = agreed

    def use_stack(self, stack):
        self.reader.allow(stack.rsv, None)
        self.negotiated = stack
        self.stacked = True

    def open(self):
        """The opening handshake is done."""
        self.ready_state = OPEN

    def receive(self, data):
        """Take bytes from the peer. They are only borrowed."""
        cdef Py_buffer view
        PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        try:
            self.take_input(<const uint8_t*> view.buf, view.len)
        finally:
            PyBuffer_Release(&view)

    cdef int take_input(self, const uint8_t* data, size_t size) except -1:
        """Deal with bytes that are lent for the time of the call."""
        cdef FrameReader reader = self.reader
        self.wire_bytes_received += size
        if self.discarding:
            return 0
        if reader.position != reader.end:
            reader.feed(PyBytes_FromStringAndSize(<const char*> data, size))
        else:
            reader.lend(data, size)
        try:
            if not self.stopped:
                self.process()
        finally:
            if self.discarding:
                reader.position = reader.end
            elif reader.position != reader.end:
                reader.retain()
        return 0

    def receive_eof(self):
        """Take the end of the peer's stream."""
        if self.ready_state != CLOSED:
            self.discarding = True
            self.eof_out()
            self.end()

    cdef int process(self) except -1:
        """Deal with the frames of the input, until it ends or reading is stopped."""
        cdef FrameReader reader = self.reader
        cdef int opcode
        while not self.stopped and not self.discarding:
            if self.stacked and self.negotiated.ready:
                item = self.take_processed()
                if item is None:
                    continue
            else:
                item = self.postponed
            if item is None:
                if not reader.advance():
                    return 0
                opcode = reader.opcode
                item = reader.data
                reader.data = None
                if opcode <= BINARY:
                    if self.stacked:
                        if not self.negotiated.receive(opcode, reader.rsv, item):
                            self.stopped |= EXTENSIONS_BUSY
                        continue
                    if reader.fin:
                        self.messages_received += 1
                    self.deliver(opcode, item, reader.fin)
                    continue
                if opcode != CLOSE:
                    self.receive_control(opcode, item)
                    continue
            if not self.settled():
                self.postponed = item
                return 0
            self.postponed = None
            if self.discarding:
                return 0
            if isinstance(item, Close):
                self.receive_close(item)
            else:
                self.fail_with(item)
        return 0

    cdef int receive_control(self, int opcode, object data) except -1:
        if opcode == PING:
            self.pings_received += self.pings_received != LARGEST
            if self.auto_pong and self.ready_state == OPEN:
                self.answer(data)
            if not self.tells_pings:
                return 0
        else:
            self.pongs_received += self.pongs_received != LARGEST
        self.on_control(opcode, data)
        return 0

    cdef object take_processed(self):
        """Deliver what the extensions have made of a message; or return their error."""
        try:
            opcode, data = self.negotiated.take()
        except Exception as error:
            return error
        self.messages_received += 1
        self.reader.note_size(len(data) if isinstance(data, bytes) else len(data.encode()))
        self.deliver(opcode, data, True)

    def on_processed(self):
        self.stopped &= ~EXTENSIONS_BUSY
        self.process()

    cdef int receive_close(self, object close) except -1:
        """Answer a close frame, or end the handshake that we began (RFC 6455 section 5.5.1)."""
        self.discarding = True
        self.close_received = close
        if self.close_sent is None:
            self.received_first = True
            self.send_close(Close(close.code, shorten(close.reason)))
        self.on_control(CLOSE, close)
        # The server closes the TCP connection first (RFC 6455 section 7.1.1).
        if not self.client:
            self.eof_out()
        return 0

    cdef int end(self) except -1:
        self.ready_state = CLOSED
        if self.stacked:
            self.negotiated.close()
        elif self.reader.deflate is not None:
            self.reader.deflate.close()
        self.on_closed()
        return 0

    # Output

    def message(self, data, *, binary=None, bint fin=True, bint compress=True):
        """Send a message, or a fragment of one.

        Args:
            data: str is text, anything bytes-like is binary.
            binary: to choose the type, whatever ``data`` is.
            fin: False if further calls continue the message.
            compress: False to send it uncompressed; the first fragment decides.

        Raises:
            TypeError, ValueError, UnicodeEncodeError: ``data`` cannot be sent.
            ConnectionClosed: the connection is not open.
            ConcurrencyError: a message of the other type is not finished.
        """
        self.send_message(data, binary, fin, compress)

    def ping(self, data=b""):
        """Send a ping of at most 125 bytes."""
        self.send_control(PING, data)

    def pong(self, data=b""):
        """Send a pong of at most 125 bytes."""
        self.send_control(PONG, data)

    def close(self, code=1000, reason=""):
        """Begin the closing handshake; nothing happens if it was begun.

        Raises:
            TypeError, ValueError: a code or a reason that cannot be sent.
        """
        close = check_close(code, reason)
        if self.ready_state != OPEN:
            return
        if self.stacked and self.negotiated.outgoing:
            self.negotiated.closing = close  # behind what the extensions still have
            self.begin_closing()
        else:
            self.send_close(close)

    def fail(self, error):
        """End the connection because of ``error``.

        The peer gets a close frame with the ``close_code`` of the error, 1011 if it has none, and
        the beginning of its text.
        """
        self.fail_with(error)

    @property
    def close_code(self):
        """The received close code: 1005 if the frame had none, 1006 if no frame came.

        None while the connection is open.
        """
        if self.close_received is not None:
            return self.close_received.code
        return 1006 if self.ready_state == CLOSED else None

    @property
    def close_reason(self):
        """The received close reason, None while the connection is open."""
        if self.close_received is not None:
            return self.close_received.reason
        return "" if self.ready_state == CLOSED else None

    def closed_error(self):
        """The ConnectionClosed exception for how the connection ended, or is ending."""
        error = connection_closed(self.close_received, self.close_sent, bool(self.received_first))
        error.__cause__ = self.error
        return error

    cdef int fail_with(self, object error) except -1:
        if self.discarding or self.ready_state == CLOSED:
            return 0
        self.discarding = True
        self.error = error
        if self.close_sent is None:
            code = getattr(error, "close_code", 1011)
            try:
                self.send_close(Close(code if is_close_code(code) else 1011, shorten(str(error))))
            finally:
                self.eof_out()
        else:
            self.eof_out()
        return 0

    cdef int send_message(self, object data, object binary, bint fin, bint compress) except -1:
        cdef const uint8_t* payload
        cdef Py_ssize_t size
        cdef int opcode
        cdef int wire_opcode
        cdef bint text = PyUnicode_Check(data)
        cdef Deflate deflate = self.reader.deflate
        if text:
            payload = <const uint8_t*> PyUnicode_AsUTF8AndSize(data, &size)
            opcode = BINARY if binary else TEXT
            owner = None
        else:
            # `data` keeps what payload points into.
            owner = data = data if type(data) is bytes else bytes(memoryview(data))
            payload = <const uint8_t*> PyBytes_AS_STRING(owner)
            size = PyBytes_GET_SIZE(owner)
            opcode = TEXT if binary is False else BINARY
            if opcode == TEXT and fin and not self.sending and not valid_utf8(owner):
                raise ValueError("data sent as text must be valid UTF-8")
        if self.ready_state != OPEN:
            raise self.closed_error()
        wire_opcode = opcode
        if self.sending:
            if self.sending != opcode and (text or binary is not None):
                raise ConcurrencyError("cannot send another message before the last fragment")
            wire_opcode = CONT
        if deflate is not None and not self.sending:
            self.compressing = compress and <size_t> size >= deflate.threshold
        if not self.sending:
            self.sending = opcode
        opcode = self.sending
        if fin:
            self.sending = 0
        self.note_size(size, wire_opcode, fin)
        if self.stacked:
            if wire_opcode != CONT:
                self.compressing = compress
            message = PyBytes_FromStringAndSize(<char*> payload, size)
            self.negotiated.send(opcode, message, fin, bool(self.compressing))
            return 0
        self.messages_sent += fin
        self.bytes_sent += size
        if deflate is None or not self.compressing:
            return self.send_data(wire_opcode, 0, payload, size, fin, owner)
        if owner is None:
            owner = PyMemoryView_FromMemory(<char*> payload, size, PyBUF_READ)
        compressed = deflate.deflate(owner, fin)
        size = PyBytes_GET_SIZE(compressed) - (4 if fin else 0)  # without the tail
        return self.send_compressed(wire_opcode, compressed, size, fin)

    cdef inline int note_size(self, uint64_t size, int opcode, bint fin) noexcept:
        """Note the size of a message, or of a fragment of one, that goes out."""
        if not fin or opcode == CONT:
            size = min(size + self.unfinished, LARGEST)
            self.unfinished = 0 if fin else <uint32_t> size
        if fin and size > self.biggest_sent:
            self.biggest_sent = <uint32_t> min(size, LARGEST)
        return 0

    cdef int count_sent(self, uint64_t size) noexcept:
        """Count a whole message."""
        self.messages_sent += 1
        self.bytes_sent += size
        return self.note_size(size, BINARY, True)

    cdef int send_compressed(self, int opcode, bytes compressed, size_t size, bint fin) except -1:
        """Send what was compressed, as much as size says."""
        try:
            self.send_data(
                opcode,
                0 if opcode == CONT else RSV1,
                <const uint8_t*> PyBytes_AS_STRING(compressed),
                size,
                fin,
                None,
            )
        except BaseException:
            # The peer has not got what the next message would refer to.
            self.reader.deflate.forget()
            raise
        return 0

    def send_deflated(self, int opcode, bytes compressed, uint64_t size):
        if self.ready_state != OPEN:
            raise self.closed_error()
        self.count_sent(size)
        self.send_compressed(opcode, compressed, PyBytes_GET_SIZE(compressed), True)

    @property
    def deflate(self):
        return self.reader.deflate

    def send_processed(self, int opcode, int rsv, bytes data):
        if self.close_sent is not None or self.ready_state == CLOSED:
            return False
        self.messages_sent += 1
        self.bytes_sent += PyBytes_GET_SIZE(data)
        self.send_data(
            opcode,
            rsv,
            <const uint8_t*> PyBytes_AS_STRING(data),
            PyBytes_GET_SIZE(data),
            True,
            data,
        )
        return True

    def sends_waiting(self, int reason, size_t size):
        pass

    def finish_close(self, close):
        """Send the close frame that waited for the extensions."""
        if self.close_sent is None and self.ready_state < CLOSED:
            self.send_close(close)

    cdef int send_data(
        self, int opcode, int rsv, const uint8_t* payload, size_t size, bint fin, object owner
    ) except -1:
        """Send a message or a fragment of one, in frames of the size that is wanted."""
        if self.fragment_size and size > <size_t> self.fragment_size:
            return self.send_in_fragments(opcode, rsv, payload, size, fin, owner)
        if not fin or opcode == CONT:
            self.fragments_sent += 1
        return self.send_frame(opcode, rsv, payload, size, fin, owner)

    cdef int send_in_fragments(
        self, int opcode, int rsv, const uint8_t* payload, size_t size, bint fin, object owner
    ) except -1:
        while size > <size_t> self.fragment_size:
            self.fragments_sent += 1
            self.send_frame(opcode, rsv, payload, self.fragment_size, False, None)
            opcode = CONT
            rsv = 0
            payload += self.fragment_size
            size -= self.fragment_size
        self.fragments_sent += 1
        return self.send_frame(opcode, rsv, payload, size, fin, None)

    cdef int send_control(self, int opcode, object data) except -1:
        cdef bytes payload = data if type(data) is bytes else bytes(memoryview(data))
        if len(payload) > 125:
            raise ValueError("The data size must not be greater than 125 bytes")
        if self.ready_state != OPEN:
            raise self.closed_error()
        self.send_control_frame(opcode, payload)
        return 0

    cdef int send_close(self, object close) except -1:
        cdef bytes payload = b""
        self.close_sent = close
        if close.code != 1005:
            payload = close.code.to_bytes(2, "big") + close.reason.encode()
        try:
            self.send_control_frame(CLOSE, payload)
        finally:  # also without a masking key
            self.begin_closing()
        return 0

    cdef int begin_closing(self) except -1:
        if self.ready_state != CLOSING:
            self.ready_state = CLOSING
            self.on_closing()
        return 0

    cdef int send_control_frame(self, int opcode, bytes payload) except -1:
        if opcode == PING:
            self.pings_sent += self.pings_sent != LARGEST
        elif opcode == PONG:
            self.pongs_sent += self.pongs_sent != LARGEST
        return self.send_frame(
            opcode,
            0,
            <const uint8_t*> PyBytes_AS_STRING(payload),
            PyBytes_GET_SIZE(payload),
            True,
            payload,
        )

    cdef int send_frame(
        self, int opcode, int rsv, const uint8_t* payload, size_t size, bint fin, object owner
    ) except -1:
        self.frames_sent += 1
        self.wire_bytes_sent += (
            size + (2 if size < 126 else 4 if size < 65536 else 10) + (4 if self.client else 0)
        )
        return self.emit(opcode, rsv, payload, size, fin, owner)


cdef uint32_t make_key(Protocol protocol) except? 0:
    if protocol.generate_mask is not None:
        return read_key(protocol.generate_mask())
    return next_masking_key()
