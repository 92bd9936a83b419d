# What the FrameReader of _parser.pyx is made of. Its states:
#
#      state        waits for                                   then
#      INFO         2 bytes: fin, rsv, opcode, mask, length     LENGTH, KEY, PAYLOAD or CLOSE
#      LENGTH       2 or 8 bytes of extended length             KEY, PAYLOAD or CLOSE
#      KEY          4 bytes of masking key                      PAYLOAD or CLOSE
#      PAYLOAD      the payload of a data, ping or pong frame   DELIVER, or INFO inside a message
#      CLOSE        the payload of a close frame                FINISHED
#      DELIVER      the next call of next()                     INFO
#      FINISHED     nothing: what follows a close frame or an error is dropped

cdef extern from "Python.h":
    object PyUnicode_New(Py_ssize_t size, Py_UCS4 maxchar)
    void* PyUnicode_DATA(object text)
    char* bytes_data "PyBytes_AS_STRING"(PyObject* buffer)
    Py_ssize_t bytes_size "PyBytes_GET_SIZE"(PyObject* buffer)
    PyObject* new_bytes "PyBytes_FromStringAndSize"(const char* data, Py_ssize_t size) except NULL
    int _PyBytes_Resize(PyObject** buffer, Py_ssize_t size) except -1
    PyObject* new_text "PyUnicode_New"(Py_ssize_t size, Py_UCS4 maxchar) except NULL
    int PyUnicode_Resize(PyObject** text, Py_ssize_t size) except -1
    void* text_data "PyUnicode_DATA"(PyObject* text)
    Py_ssize_t text_size "PyUnicode_GET_LENGTH"(PyObject* text)

cdef enum:
    INFO
    LENGTH
    KEY
    PAYLOAD
    CLOSE_PAYLOAD
    DELIVER
    FINISHED

# Why each frame is handed out by itself: who reads wants them as they come, or wants to see the
# boundaries in what he gets in the end.
cdef enum:
    BY_FRAGMENTS = 1
    BY_BOUNDARIES = 2

STATES = ("info", "length", "masking key", "payload", "close", "deliver", "finished")

cdef uint64_t UNLIMITED = 0x7FFFFFFFFFFFFFFF
# Where sizes in 32 bits stay.
cdef uint64_t LARGEST = 0xFFFFFFFF

# What a sender leaves out at the end of a compressed message (RFC 7692 section 7.2.1).
cdef const char* TAIL = b"\x00\x00\xff\xff"


cdef uint64_t limit(value):
    return UNLIMITED if value is None else value
