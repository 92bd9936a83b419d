# The loops over payload bytes. They are inline so that the parser and the core fuse them with
# their own work, and plain so that the compiler vectorises them (SSE2 and NEON are in the
# baseline). Words are moved by memcpy: any alignment is allowed, and nothing beyond n is touched.

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy


cdef inline uint32_t rotate_key(uint32_t key, uint64_t phase) noexcept nogil:
    """The key as seen from the payload's byte number phase on."""
    cdef uint8_t octets[8]
    memcpy(octets, &key, 4)
    memcpy(octets + 4, &key, 4)
    memcpy(&key, octets + (phase & 3), 4)
    return key


cdef inline uint64_t widen_key(uint32_t key) noexcept nogil:
    return (<uint64_t> key) << 32 | key


cdef inline void xor_copy(
    uint8_t* target, const uint8_t* source, size_t n, uint32_t key
) noexcept nogil:
    cdef uint64_t wide = widen_key(key)
    cdef uint64_t word
    cdef uint8_t octets[8]
    cdef size_t i = 0
    while i + 8 <= n:
        memcpy(&word, source + i, 8)
        word = word ^ wide
        memcpy(target + i, &word, 8)
        i += 8
    memcpy(octets, &wide, 8)
    while i < n:
        target[i] = source[i] ^ octets[i & 7]
        i += 1


cdef inline bint xor_copy_is_ascii(
    uint8_t* target, const uint8_t* source, size_t n, uint32_t key
) noexcept nogil:
    """xor_copy, and whether all the bytes written are ASCII."""
    cdef uint64_t wide = widen_key(key)
    cdef uint64_t word
    cdef uint64_t seen = 0
    cdef uint8_t octets[8]
    cdef uint8_t octet
    cdef size_t i = 0
    while i + 8 <= n:
        memcpy(&word, source + i, 8)
        word = word ^ wide
        seen = seen | word
        memcpy(target + i, &word, 8)
        i += 8
    memcpy(octets, &wide, 8)
    while i < n:
        octet = source[i] ^ octets[i & 7]
        seen = seen | octet
        target[i] = octet
        i += 1
    return (seen & 0x8080808080808080u) == 0


cdef inline void xor_in_place(uint8_t* target, size_t n, uint32_t key) noexcept nogil:
    cdef uint64_t wide = widen_key(key)
    cdef uint64_t word
    cdef uint8_t octets[8]
    cdef size_t i = 0
    while i + 8 <= n:
        memcpy(&word, target + i, 8)
        word = word ^ wide
        memcpy(target + i, &word, 8)
        i += 8
    memcpy(octets, &wide, 8)
    while i < n:
        target[i] = target[i] ^ octets[i & 7]
        i += 1


# Where an incremental UTF-8 validation stands between two pieces: how many continuation bytes
# are missing, and the range that the next one must be in (Unicode 3.9, table 3-7).
cdef struct Utf8State:
    uint8_t missing
    uint8_t lowest
    uint8_t highest


cdef inline bint utf8_feed(Utf8State* state, const uint8_t* source, size_t n) noexcept nogil:
    """Whether the bytes so far can begin valid UTF-8; False at the first impossible byte."""
    cdef size_t i = 0
    cdef uint64_t word
    cdef uint8_t octet
    cdef uint8_t missing = state.missing
    cdef uint8_t lowest = state.lowest
    cdef uint8_t highest = state.highest
    while i < n:
        if missing == 0:
            while i + 8 <= n:
                memcpy(&word, source + i, 8)
                if word & 0x8080808080808080u:
                    break
                i += 8
            while i < n and source[i] < 0x80:
                i += 1
            if i == n:
                break
            octet = source[i]
            i += 1
            lowest = 0x80
            highest = 0xBF
            if octet < 0xC2:
                return False  # a continuation byte, or an overlong form of ASCII
            elif octet < 0xE0:
                missing = 1
            elif octet < 0xF0:
                missing = 2
                if octet == 0xE0:
                    lowest = 0xA0  # below: overlong
                elif octet == 0xED:
                    highest = 0x9F  # above: surrogates
            elif octet < 0xF5:
                missing = 3
                if octet == 0xF0:
                    lowest = 0x90  # below: overlong
                elif octet == 0xF4:
                    highest = 0x8F  # above: beyond U+10FFFF
            else:
                return False
        else:
            octet = source[i]
            i += 1
            if octet < lowest or octet > highest:
                return False
            lowest = 0x80
            highest = 0xBF
            missing -= 1
    state.missing = missing
    state.lowest = lowest
    state.highest = highest
    return True


# A masking key that the peer cannot predict (RFC 6455 section 5.3).
cdef uint32_t next_masking_key() except? 0


# The number of 4 bytes of Python's; ValueError if it is anything else.
cdef uint32_t read_key(object key) except? 0
