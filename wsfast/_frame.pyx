# A frame on its way out (RFC 6455 section 5.2). The pure twin is _pure/frame.py; the documentation
# is in _frame.pyi.

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport uint32_t
from libc.string cimport memcpy

from ._mask cimport read_key, xor_copy


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
