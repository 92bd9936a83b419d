# The header of a frame (RFC 6455 section 5.2): how it is written, and when it is refused. The pure
# twin is _pure/frame.py; the documentation is in _frame.pyi.

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport uint32_t
from libc.string cimport memcpy

from ._mask cimport read_key, xor_copy

from .exceptions import wire_error


cdef size_t write_header(
    uint8_t* target, int opcode, uint64_t length, bint fin, int rsv, bint masked
) noexcept nogil:
    """Write a frame's header without its key; target has room for 10 bytes. Returns the size."""
    cdef int i
    cdef uint8_t mask_bit = 0x80 if masked else 0
    target[0] = <uint8_t> ((0x80 if fin else 0) | rsv << 4 | opcode)
    if length < 126:
        target[1] = mask_bit | <uint8_t> length
        return 2
    if length < 65536:
        target[1] = mask_bit | 126
        target[2] = <uint8_t> (length >> 8)
        target[3] = <uint8_t> length
        return 4
    target[1] = mask_bit | 127
    for i in range(8):
        target[2 + i] = <uint8_t> (length >> (56 - 8 * i))
    return 10


def encode_frame(int opcode, data, bint fin=True, int rsv=0, key=None):
    """The bytes of a frame (RFC 6455 section 5.2).

    Args:
        opcode: 0 to 15.
        data: the payload.
        fin: whether this is the message's last frame.
        rsv: the three reserved bits as a number; RSV1 is 4.
        key: the masking key, which clients must use and servers must not.
    """
    cdef Py_buffer view
    cdef uint8_t header[MAX_HEADER]
    cdef size_t size
    cdef uint32_t number = 0
    cdef uint8_t* target
    if not 0 <= opcode <= 15:
        raise ValueError(f"opcode must be 0 to 15, not {opcode}")
    if not 0 <= rsv <= 7:
        raise ValueError(f"rsv must be 0 to 7, not {rsv}")
    if key is not None:
        number = read_key(key)
    PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
    try:
        size = write_header(header, opcode, view.len, fin, rsv, key is not None)
        if key is not None:
            memcpy(header + size, &number, 4)
            size += 4
        frame = PyBytes_FromStringAndSize(NULL, size + view.len)
        target = <uint8_t*> PyBytes_AS_STRING(frame)
        memcpy(target, header, size)
        if number:
            xor_copy(target + size, <const uint8_t*> view.buf, view.len, number)
        else:
            memcpy(target + size, view.buf, view.len)
    finally:
        PyBuffer_Release(&view)
    return frame


cdef int check_info(
    uint8_t first, uint8_t second, bint client, bint in_message, uint8_t allowed_rsv
) except -1:
    """Refuse what is wrong with the first two bytes of a frame that is not simply one of data."""
    cdef int opcode = first & 0x0F
    cdef bint fin = first >> 7
    cdef bint masked = second >> 7
    cdef uint8_t length_7 = second & 0x7F
    # They are of the message, and on its first frame (RFC 7692 section 6).
    cdef uint8_t refused = first & ~(allowed_rsv << 4 if CONT < opcode < CLOSE else 0)
    if refused & 0x30:
        raise wire_error("WS_ERR_UNEXPECTED_RSV_2_3")
    if refused & 0x40:
        raise wire_error("WS_ERR_UNEXPECTED_RSV_1")
    if opcode > PONG or BINARY < opcode < CLOSE:
        raise wire_error("WS_ERR_INVALID_OPCODE", opcode)
    if opcode >= CLOSE:
        if not fin:
            raise wire_error("WS_ERR_EXPECTED_FIN")
        if length_7 > 125 or opcode == CLOSE and length_7 == 1:
            raise wire_error("WS_ERR_INVALID_CONTROL_PAYLOAD_LENGTH", length_7)
    elif (opcode == CONT) != in_message:
        # A continuation of nothing, or a new message inside a fragmented one.
        raise wire_error("WS_ERR_INVALID_OPCODE", opcode)
    if masked and client:
        raise wire_error("WS_ERR_UNEXPECTED_MASK")
    if not masked and not client:
        raise wire_error("WS_ERR_EXPECTED_MASK")
    return 0
