# XOR masking (RFC 6455 section 5.3) and UTF-8 validation (section 8.1). The pure twin is
# _pure/mask.py; the documentation is in _mask.pyi. The loops are in _mask.pxd.

from cpython.buffer cimport PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.string cimport memset

import os

cdef extern from "Python.h":
    const char* PyBytes_AsString(object) except NULL


cdef uint32_t read_key(object key) except? 0:
    cdef uint32_t number
    if not isinstance(key, bytes) or len(key) != 4:
        raise ValueError(f"a masking key is 4 bytes, not {key!r}")
    memcpy(&number, PyBytes_AsString(key), 4)
    return number


def apply_mask(data, key, uint64_t phase=0):
    cdef Py_buffer view
    cdef uint32_t number = rotate_key(read_key(key), phase)
    PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
    try:
        masked = PyBytes_FromStringAndSize(NULL, view.len)
        xor_copy(<uint8_t*> PyBytes_AS_STRING(masked), <const uint8_t*> view.buf, view.len, number)
    finally:
        PyBuffer_Release(&view)
    return masked


def apply_mask_in_place(buffer, key, uint64_t phase=0):
    cdef Py_buffer view
    cdef uint32_t number = rotate_key(read_key(key), phase)
    PyObject_GetBuffer(buffer, &view, PyBUF_SIMPLE | PyBUF_WRITABLE)
    xor_in_place(<uint8_t*> view.buf, view.len, number)
    PyBuffer_Release(&view)


def valid_utf8(data):
    cdef Py_buffer view
    cdef Utf8State state
    cdef bint valid
    state.missing = 0
    PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
    valid = utf8_feed(&state, <const uint8_t*> view.buf, view.len) and state.missing == 0
    PyBuffer_Release(&view)
    return valid


cdef class Utf8Validator:
    cdef Utf8State state
    cdef bint failed

    def feed(self, data):
        cdef Py_buffer view
        PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        if not self.failed:
            self.failed = not utf8_feed(&self.state, <const uint8_t*> view.buf, view.len)
        PyBuffer_Release(&view)
        return not self.failed

    def finish(self):
        complete = not self.failed and self.state.missing == 0
        self.failed = False
        self.state.missing = 0
        return complete


# Masking keys are cut from a block of the operating system's randomness: a system call for each
# would cost more than the rest of the frame. Used bytes are wiped, and a forked child starts with
# an empty block, or two processes would use the same keys.
cdef enum:
    POOL_SIZE = 4096

cdef uint8_t pool[POOL_SIZE]
cdef size_t pool_position = POOL_SIZE


cdef uint32_t next_masking_key() except? 0:
    global pool_position
    cdef uint32_t key
    if pool_position == POOL_SIZE:
        memcpy(pool, PyBytes_AsString(os.urandom(POOL_SIZE)), POOL_SIZE)
        pool_position = 0
    memcpy(&key, pool + pool_position, 4)
    memset(pool + pool_position, 0, 4)
    pool_position += 4
    return key


def masking_key():
    cdef uint32_t key = next_masking_key()
    return PyBytes_FromStringAndSize(<char*> &key, 4)


def forget_masking_keys():
    global pool_position
    memset(pool, 0, POOL_SIZE)
    pool_position = POOL_SIZE


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=forget_masking_keys)
