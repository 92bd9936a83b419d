from libc.stdint cimport uint8_t, uint64_t


cdef enum:
    CONT = 0
    TEXT = 1
    BINARY = 2
    CLOSE = 8
    PING = 9
    PONG = 10

cdef enum:
    MAX_HEADER = 14


cdef size_t write_header(
    uint8_t* target, int opcode, uint64_t length, bint fin, int rsv, bint masked
) noexcept nogil

cdef int check_info(
    uint8_t first, uint8_t second, bint client, bint in_message, uint8_t allowed_rsv
) except -1
