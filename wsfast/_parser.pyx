# Frames on their way in (RFC 6455 section 5.2). The pure twin is _pure/parser.py; the
# documentation is in _parser.pyi.
#
# Rules of this file:
# 1. The reader is a machine of the states in _parser_states.pxi. It can stop at any byte and goes
#    on with the next feed.
# 2. A frame is refused as soon as its header shows that it must be: no payload is awaited, and
#    nothing is allocated from a declared length. Buffers grow with the bytes that came.
# 3. Lengths are uint64_t, and limits are compared as `n > limit - have`: nothing can overflow.
# 4. The input is borrowed. Whoever lends it keeps it alive until advance() returned False, or
#    calls retain().

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.object cimport PyObject
from cpython.ref cimport Py_XDECREF
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.string cimport memcpy

from ._frame cimport BINARY, CLOSE, CONT, TEXT, check_info
from ._mask cimport rotate_key, utf8_feed, xor_copy, xor_copy_is_ascii, xor_in_place

from .closing import parse_close
from .exceptions import PayloadTooBig, ProtocolError, TooManyFragments, wire_error

include "_parser_states.pxi"


@cython.final
@cython.no_gc
cdef class FrameReader:
    """Turns bytes into messages, strictly by RFC 6455 section 5.

    It can stop at any byte, retains at most ``max_size`` bytes and half as many of slack, and
    takes linear time.

    Args:
        client: True to read what a server sends (unmasked), False for what a client sends.
        max_size: the largest message, in bytes. None: no limit.
        max_frame_size: the largest data frame, in bytes. None: no limit.
        max_fragments: the most frames of a message; empty ones count. None: no limit.
        fragments: hand out every data frame by itself instead of whole messages.
        skip_utf8_validation: take text that is not UTF-8, and hand it out as bytes.

    Attributes:
        fragments: see above. It may be changed at any time.
        boundaries: whether every data frame is handed out by itself, like ``fragments``, for
            another reason.
        decode_text: whether text messages are handed out as str.
        message_rsv: the reserved bits of the last message.
        pending: how many of the bytes fed are not read yet.
        frames_read: how many frame headers were read.
        fragments_read: how many of them belong to fragmented messages.
        bytes_read: how many bytes of messages came, decompressed; the payloads as announced where
            not.
        biggest_read: how many bytes the biggest message had, decompressed; counted up to
            2**32 - 1.
    """

    def __init__(
        self,
        *,
        bint client,
        max_size=2**20,
        max_frame_size=None,
        max_fragments=131072,
        bint fragments=False,
        bint skip_utf8_validation=False,
    ):
        self.client = client
        self.max_size = limit(max_size)
        self.max_frame_size = limit(max_frame_size)
        self.max_fragments = limit(max_fragments)
        self.each_frame = BY_FRAGMENTS if fragments else 0
        self.valid_opcode = 0 if skip_utf8_validation else TEXT
        self.str_opcode = self.valid_opcode
        self.current = INFO

    def __dealloc__(self):
        Py_XDECREF(self.buffer)

    @property
    def fragments(self):
        return bool(self.each_frame & BY_FRAGMENTS)

    @fragments.setter
    def fragments(self, bint value):
        self.each_frame = self.each_frame & ~BY_FRAGMENTS | (BY_FRAGMENTS if value else 0)

    @property
    def boundaries(self):
        return bool(self.each_frame & BY_BOUNDARIES)

    @boundaries.setter
    def boundaries(self, bint value):
        self.each_frame = self.each_frame & ~BY_BOUNDARIES | (BY_BOUNDARIES if value else 0)

    @property
    def decode_text(self):
        return self.str_opcode == TEXT

    @decode_text.setter
    def decode_text(self, bint value):
        self.str_opcode = self.valid_opcode if value else 0

    cdef int keep_counters(self, FrameReader last) except -1:
        """Go on counting where another has stopped."""
        self.frames_read = last.frames_read
        self.fragments_read = last.fragments_read
        self.bytes_read = last.bytes_read
        self.biggest_read = last.biggest_read
        return 0

    def allow(self, uint8_t rsv, Deflate deflate):
        """Accept reserved bits on the first frames of messages, as extensions define them.

        Args:
            rsv: the bits as a number; RSV1 is 4.
            deflate: decompresses messages with RSV1. None: all messages are handed out as they
                came, text also as bytes, and never in fragments.
        """
        self.allowed_rsv = rsv
        self.deflate = deflate
        self.as_they_are = deflate is None

    @property
    def message_rsv(self):
        return self.rsv

    @property
    def state(self):
        """Where the reader is: one of `STATES`."""
        return STATES[self.current]

    @property
    def pending(self):
        return self.end - self.position

    def feed(self, data):
        """Give the reader more of the stream. Nothing is read before `next`."""
        cdef bytes source
        if self.position != self.end:
            source = PyBytes_FromStringAndSize(<char*> self.position, self.end - self.position)
            source += data
        else:
            source = data if type(data) is bytes else bytes(memoryview(data))
        self.source = source
        self.lend(<const uint8_t*> PyBytes_AS_STRING(source), PyBytes_GET_SIZE(source))

    def next(self):
        """The next opcode, data and fin; None when more bytes are needed.

        Data is str for a text message, bytes for a binary message, a ping, a pong, and for every
        data frame in fragment mode (opcode 0 from the second on), and a `Close` for a close frame.
        After a close frame or an error what follows is dropped.

        Raises:
            ProtocolError: the peer broke the protocol, or a limit (PayloadTooBig,
                TooManyFragments). Its ``close_code`` is what to tell the peer.
        """
        if not self.advance():
            return None
        data = self.data
        self.data = None
        if self.opcode == CLOSE and isinstance(data, ProtocolError):
            raise data
        return self.opcode, data, bool(self.fin)

    cdef void lend(self, const uint8_t* data, size_t size) noexcept:
        """Read from `data` next. The input before must be used up."""
        self.position = data
        self.end = data + size

    cdef int retain(self) except -1:
        """Keep what was lent and is not used up. The lender may then reuse its buffer."""
        if self.position != self.end:
            source = PyBytes_FromStringAndSize(<char*> self.position, self.end - self.position)
            self.lend(<const uint8_t*> PyBytes_AS_STRING(source), PyBytes_GET_SIZE(source))
            self.source = source
        return 0

    cdef bint advance(self) except -1:
        """Read on until there is a message, or a frame, to hand out; False if the input ends.

        Where there is an error to raise it is handed out, as the data of a close frame: the reader
        has finished then, as after that.
        """
        if self.current == DELIVER and self.position == self.end:
            self.current = INFO
            self.source = None
            return False
        try:
            return self.read_whole() or self.read()
        except BaseException as error:
            self.give_up()
            if not isinstance(error, ProtocolError):
                raise
            self.opcode = CLOSE
            self.data = error
            return True

    cdef void give_up(self) noexcept:
        """After an error nothing more is read, and nothing is kept."""
        self.current = FINISHED
        self.position = self.end
        self.drop_buffer()
        self.control = None
        self.source = None

    cdef bint read_whole(self) except -1:
        """Read a message that is all there in one frame of less than 64 KiB, as nearly all are.

        False, and nothing is read, if it is anything else or there is anything wrong with its
        header: that is for the machine.
        """
        cdef const uint8_t* octets = self.position
        cdef size_t available = self.end - octets
        cdef size_t length, start
        cdef int opcode
        if (
            available < 4
            or (self.current != DELIVER and self.current != INFO)
            or self.header_size
            or self.message_opcode
            or self.each_frame
            or self.as_they_are
        ):
            return False
        opcode = octets[0] ^ 0x80
        self.encoded = self.deflate is not None and opcode & 0x40
        if self.encoded:
            opcode ^= 0x40
        if opcode != TEXT and opcode != BINARY:
            return False
        # With the wrong mask bit the length is too large.
        length = octets[1] ^ (0 if self.client else 0x80)
        start = 2
        if length > 125:
            if length != 126:
                return False
            length = <size_t> octets[2] << 8 | octets[3]
            if length < 126:
                return False
            start = 4
        self.key = 0
        if not self.client:
            if available < start + 4:
                return False
            memcpy(&self.key, octets + start, 4)
            start += 4
        if available - start < length or length > self.max_size or length > self.max_frame_size:
            return False
        self.current = DELIVER
        self.position = octets + start
        self.remaining = length
        self.frames_read += 1
        self.opcode = opcode
        self.fin = True
        self.message_opcode = opcode
        if self.encoded:
            self.frame_fin = True
            self.data = self.take_encoded()
            self.note_size(self.inflated)
        else:
            self.bytes_read += length
            self.data = self.take_text() if opcode == self.str_opcode else self.take_buffer()
            if length > self.biggest_read:
                self.biggest_read = <uint32_t> length
        self.message_opcode = 0
        return True

    cdef bint read(self) except -1:
        cdef const uint8_t* octets
        cdef int i, length_size
        while True:
            if self.current == INFO or self.current == DELIVER:
                self.current = INFO
                octets = self.take(2)
                if octets is NULL:
                    break
                self.read_info(octets[0], octets[1])

            elif self.current == LENGTH:
                length_size = 2 if self.length_7 == 126 else 8
                octets = self.take(length_size)
                if octets is NULL:
                    break
                self.length = 0
                for i in range(length_size):
                    self.length = self.length << 8 | octets[i]
                if length_size == 8 and self.length >> 63:
                    raise wire_error("WS_ERR_NEGATIVE_PAYLOAD_LENGTH")
                if self.length < (126 if length_size == 2 else 65536):
                    raise wire_error("WS_ERR_NON_MINIMAL_PAYLOAD_LENGTH", self.length)
                self.check_length()

            elif self.current == KEY:
                octets = self.take(4)
                if octets is NULL:
                    break
                memcpy(&self.key, octets, 4)
                self.current = CLOSE_PAYLOAD if self.frame_opcode == CLOSE else PAYLOAD

            elif self.current == PAYLOAD:
                if self.frame_opcode >= CLOSE:
                    if not self.read_control():
                        break
                    self.current = DELIVER
                    return True
                if not self.read_data():
                    break
                if (
                    self.message_opcode == TEXT
                    and self.frame_fin
                    and self.utf8.missing
                    and not self.encoded
                ):
                    raise wire_error("WS_ERR_INVALID_UTF8")
                if self.frame_fin or self.each_frame and not self.as_they_are:
                    self.deliver()
                    self.current = DELIVER
                    return True
                self.current = INFO

            elif self.current == CLOSE_PAYLOAD:
                if not self.read_control():
                    break
                self.data = parse_close(self.data, self.valid_opcode != TEXT)
                self.current = FINISHED
                self.position = self.end
                return True

            else:
                self.position = self.end
                break
        self.source = None
        return False

    cdef inline const uint8_t* take(self, size_t n) noexcept:
        """The next n (at most 8) bytes of a header, or NULL and what there is of them is kept."""
        cdef const uint8_t* octets = self.position
        if self.header_size or <size_t> (self.end - octets) < n:
            return self.take_in_pieces(n)
        self.position = octets + n
        return octets

    cdef const uint8_t* take_in_pieces(self, size_t n) noexcept:
        cdef size_t available = min(<size_t> (self.end - self.position), n - self.header_size)
        if available == 0:
            return NULL  # there may be no input yet, and memcpy takes no NULL
        memcpy(self.header + self.header_size, self.position, available)
        self.header_size += <uint8_t> available
        self.position += available
        if self.header_size != n:
            return NULL
        self.header_size = 0
        return self.header

    cdef inline int read_info(self, uint8_t first, uint8_t second) except -1:
        cdef int opcode = first & 0x0F
        cdef bint masked = second >> 7
        self.length_7 = second & 0x7F
        self.frame_fin = first >> 7
        self.frame_opcode = opcode
        self.frames_read += 1
        if (
            first & 0x70
            or opcode > BINARY
            or (opcode == CONT) != (self.message_opcode != 0)
            or masked == self.client
        ):
            check_info(first, second, self.client, self.message_opcode != 0, self.allowed_rsv)
        if CONT < opcode < CLOSE:
            self.rsv = first >> 4 & 7
            self.encoded = self.rsv != 0 or self.as_they_are
        if self.length_7 < 126:
            self.length = self.length_7
            self.check_length()
        else:
            self.current = LENGTH
        return 0

    cdef inline int check_length(self) except -1:
        """Refuse by size before the payload comes, then go on to the masking key or the payload."""
        if self.frame_opcode < CLOSE:
            if (
                self.length > self.max_frame_size
                or self.length > self.max_payload() - self.message_size
                or self.message_fragments >= self.max_fragments
            ):
                self.refuse_size()
            if self.message_opcode == 0:
                self.message_opcode = self.frame_opcode
            self.message_fragments += 1
            self.message_size += self.length
            if not self.encoded or self.as_they_are:
                self.bytes_read += self.length
            if self.frame_opcode == CONT or not self.frame_fin:
                self.fragments_read += 1
        self.key = 0
        self.remaining = self.length
        if not self.client:
            self.current = KEY
        else:
            self.current = CLOSE_PAYLOAD if self.frame_opcode == CLOSE else PAYLOAD
        return 0

    cdef inline uint64_t max_payload(self) noexcept:
        """What the frames of a message may have.

        Extensions make a bit more of some messages, and deflate also of each fragment.
        """
        if self.encoded:
            return self.max_size + (self.max_size >> 3) + 64 + 16 * self.message_fragments
        return self.max_size

    cdef int refuse_size(self) except -1:
        if self.length > self.max_frame_size:
            raise PayloadTooBig(self.length, self.max_frame_size)
        if self.length > self.max_payload() - self.message_size:
            raise PayloadTooBig(
                (<object> self.message_size) + self.length,
                self.max_size,
                "Message" if self.message_opcode else "Frame",
            )
        raise TooManyFragments(self.max_fragments)

    cdef bint read_control(self) except -1:
        """Read the payload of a control frame, at most 125 bytes; True when it is complete."""
        cdef size_t n = self.end - self.position
        cdef size_t have = self.length - self.remaining
        if n > self.remaining:
            n = self.remaining
        if self.control is None:
            self.control = PyBytes_FromStringAndSize(NULL, self.length)
        xor_copy(<uint8_t*> PyBytes_AS_STRING(self.control) + have, self.position, n, self.key)
        self.key = rotate_key(self.key, n)
        self.position += n
        self.remaining -= n
        if self.remaining:
            return False
        self.opcode = self.frame_opcode
        self.fin = True
        self.data = self.control
        self.control = None
        return True

    cdef inline bint read_data(self) except -1:
        """Read the payload of a data frame into the message; True when it is complete."""
        cdef size_t n = self.end - self.position
        if n >= self.remaining:
            n = self.remaining
            if (
                self.frame_fin
                and self.stored == 0
                and self.remaining == self.length
                and not self.handed_out
            ):
                return True  # deliver() takes a whole message straight from the input
        if n:
            self.store(n)
        return self.remaining == 0

    cdef int store(self, size_t n) except -1:
        """Move n bytes from the input to the end of the message's buffer, unmasked."""
        cdef uint8_t* target
        cdef size_t capacity = self.capacity()
        cdef size_t needed = self.stored + n
        if needed > capacity:
            # Twice what is there, so that many small fragments cost linear time; what came bounds
            # it, not what was announced.
            capacity = 2 * capacity
            if self.frame_fin and capacity > self.stored + self.remaining:
                capacity = self.stored + self.remaining
            if capacity < needed:
                capacity = needed
            self.resize_buffer(capacity)
        target = self.room_start()
        if not self.is_ascii:
            xor_copy(target, self.position, n, self.key)
        elif not xor_copy_is_ascii(target, self.position, n, self.key):
            self.leave_ascii(n)
        self.position += n
        return self.check_stored(n)

    cdef int check_stored(self, size_t n) except -1:
        """n bytes more are in the buffer, unmasked."""
        if (
            self.message_opcode == self.valid_opcode
            and not self.is_ascii
            and not self.encoded
            and not utf8_feed(&self.utf8, self.room_start(), n)
        ):
            raise wire_error("WS_ERR_INVALID_UTF8")
        self.key = rotate_key(self.key, n)
        self.stored += n
        self.remaining -= n
        return 0

    cdef Py_ssize_t room(self, size_t least) except -1:
        """How many bytes of a large payload may be read straight to where it will stay.

        0 if less than `least` are missing, or if this is not the place to read to.
        """
        cdef size_t capacity
        if (
            self.current != PAYLOAD
            or self.frame_opcode >= CLOSE
            or self.position != self.end
            or self.remaining < least
            or self.buffer is NULL
        ):
            return 0
        capacity = self.capacity()
        if capacity == self.stored:
            # Twice what came. See store().
            capacity = 2 * capacity
            if self.frame_fin and capacity > self.stored + self.remaining:
                capacity = self.stored + self.remaining
            try:
                self.resize_buffer(capacity)
            except MemoryError:
                # Resizing bytes takes them then, and with them what came of the message.
                self.give_up()
                raise
        return min(capacity - self.stored, self.remaining)

    cdef uint8_t* room_start(self) noexcept:
        if self.is_ascii:
            return <uint8_t*> text_data(self.buffer) + self.stored
        return <uint8_t*> bytes_data(self.buffer) + self.stored

    cdef int fill(self, size_t n) except -1:
        """n bytes were read to room_start()."""
        cdef uint8_t* target = self.room_start()
        try:
            if self.is_ascii:
                if not xor_copy_is_ascii(target, target, n, self.key):
                    self.leave_ascii(n)
            elif self.key:
                xor_in_place(target, n, self.key)
            self.check_stored(n)
        except BaseException:
            self.give_up()
            raise
        return 0

    # The buffer of a text is a str while all of it is ASCII, as most text is, and bytes from there
    # on; of anything else it is bytes. So it is handed out as it is.

    cdef size_t capacity(self) noexcept:
        if self.buffer is NULL:
            return 0
        return text_size(self.buffer) if self.is_ascii else bytes_size(self.buffer)

    cdef int resize_buffer(self, size_t size) except -1:
        if self.buffer is NULL:
            self.is_ascii = (
                self.message_opcode == self.str_opcode
                and not self.each_frame
                and not self.handed_out
                and not self.encoded
            )
            self.buffer = new_text(size, 127) if self.is_ascii else new_bytes(NULL, size)
        elif self.is_ascii:
            PyUnicode_Resize(&self.buffer, size)
        else:
            _PyBytes_Resize(&self.buffer, size)
        return 0

    cdef int leave_ascii(self, size_t n) except -1:
        """Go on with bytes; n of them are behind those that are stored."""
        cdef PyObject* text = self.buffer
        self.buffer = new_bytes(NULL, text_size(text))
        memcpy(bytes_data(self.buffer), text_data(text), self.stored + n)
        self.is_ascii = False
        Py_XDECREF(text)
        return 0

    cdef void drop_buffer(self) noexcept:
        cdef PyObject* buffer = self.buffer
        self.buffer = NULL
        self.is_ascii = False
        self.stored = 0
        Py_XDECREF(buffer)

    cdef inline int deliver(self) except -1:
        """Hand out the message, or in fragment mode what came of it since the last time."""
        self.opcode = CONT if self.handed_out else self.message_opcode
        self.fin = self.frame_fin
        if self.encoded:
            self.data = self.take_encoded()
        elif self.message_opcode == self.str_opcode and not self.each_frame and not self.handed_out:
            self.data = self.take_text()
        else:
            self.data = self.take_buffer()
        self.handed_out = not self.fin
        if self.fin:
            self.note_size(self.inflated if self.encoded else self.message_size)
            self.message_opcode = 0
            self.message_size = 0
            self.message_fragments = 0
        return 0

    cdef void note_size(self, uint64_t size) noexcept:
        """A message of so many bytes is complete."""
        if size > self.biggest_read:
            self.biggest_read = <uint32_t> min(size, LARGEST)
        self.inflated = 0

    cdef object take_encoded(self):
        """The data of a payload that an extension encoded; for Python's as it came."""
        cdef bytes data
        cdef Py_ssize_t size
        cdef size_t n = self.remaining
        if self.as_they_are:
            return self.take_buffer()
        if n:
            data = PyBytes_FromStringAndSize(NULL, n + (4 if self.frame_fin else 0))
            xor_copy(<uint8_t*> PyBytes_AS_STRING(data), self.position, n, self.key)
            self.position += n
            self.remaining = 0
            if self.frame_fin:
                memcpy(PyBytes_AS_STRING(data) + n, TAIL, 4)
        else:
            n = self.stored
            if self.frame_fin:
                self.resize_buffer(n + 4)
                memcpy(bytes_data(self.buffer) + n, TAIL, 4)
                self.stored = n + 4
            data = self.take_buffer()
        data = self.deflate.inflate(data, self.max_size, self.frame_fin)
        size = PyBytes_GET_SIZE(data)
        self.bytes_read += size
        self.inflated = <uint32_t> min(<uint64_t> self.inflated + size, LARGEST)
        if self.message_opcode != self.valid_opcode:
            return data
        if (
            self.message_opcode != self.str_opcode
            or self.each_frame
            or self.handed_out
            or not self.frame_fin
        ):
            if size and not utf8_feed(&self.utf8, <uint8_t*> PyBytes_AS_STRING(data), size):
                raise wire_error("WS_ERR_INVALID_UTF8")
            if self.frame_fin and self.utf8.missing:
                raise wire_error("WS_ERR_INVALID_UTF8")
            return data
        try:
            return PyUnicode_DecodeUTF8(PyBytes_AS_STRING(data), size, NULL)
        except UnicodeDecodeError:
            raise wire_error("WS_ERR_INVALID_UTF8") from None

    cdef object take_text(self):
        """The text that came in pieces, or a whole message straight from the input."""
        cdef size_t n = self.remaining
        cdef object text
        cdef uint8_t* target
        if n == 0:
            if self.buffer is NULL:
                return ""
            if self.is_ascii:
                if self.capacity() != self.stored:
                    self.resize_buffer(self.stored)
                text = <object> self.buffer
            else:
                text = PyUnicode_DecodeUTF8(bytes_data(self.buffer), self.stored, NULL)
            self.drop_buffer()
            return text
        # Unmask into a fresh ASCII str, which most text is. Where it is not, the str is used as
        # scratch space to decode from.
        text = PyUnicode_New(n, 127)
        target = <uint8_t*> PyUnicode_DATA(text)
        self.remaining = 0
        if xor_copy_is_ascii(target, self.position, n, self.key):
            self.position += n
            return text
        self.position += n
        try:
            return PyUnicode_DecodeUTF8(<char*> target, n, NULL)
        except UnicodeDecodeError:
            raise wire_error("WS_ERR_INVALID_UTF8") from None

    cdef object take_buffer(self):
        """The bytes that came in pieces, or a whole message straight from the input."""
        cdef size_t n = self.remaining
        cdef object data
        cdef uint8_t* target
        if n:
            data = PyBytes_FromStringAndSize(NULL, n)
            target = <uint8_t*> PyBytes_AS_STRING(data)
            xor_copy(target, self.position, n, self.key)
            self.position += n
            self.remaining = 0
            if self.message_opcode == self.valid_opcode and not self.encoded:
                if not utf8_feed(&self.utf8, target, n) or self.utf8.missing:
                    raise wire_error("WS_ERR_INVALID_UTF8")
            return data
        if self.buffer is NULL:
            return b""
        if self.is_ascii:  # fragments are asked for since it began
            self.leave_ascii(0)
        if self.capacity() != self.stored:
            self.resize_buffer(self.stored)
        data = <object> self.buffer
        self.drop_buffer()
        return data
