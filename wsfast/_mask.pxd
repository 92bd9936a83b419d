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


cdef inline void xor_32(uint8_t* target, const uint8_t* source, uint64_t key) noexcept nogil:
    """Mask 32 bytes; source and target may be the same."""
    # All loads come before the first store, so that the compiler may use vectors without asking
    # whether the two overlap; and four words at a time, so that the loops around this do not
    # depend on how they are aligned.
    cdef uint64_t a, b, c, d
    memcpy(&a, source, 8)
    memcpy(&b, source + 8, 8)
    memcpy(&c, source + 16, 8)
    memcpy(&d, source + 24, 8)
    a = a ^ key
    b = b ^ key
    c = c ^ key
    d = d ^ key
    memcpy(target, &a, 8)
    memcpy(target + 8, &b, 8)
    memcpy(target + 16, &c, 8)
    memcpy(target + 24, &d, 8)


cdef inline void xor_copy(
    uint8_t* target, const uint8_t* source, size_t n, uint32_t key
) noexcept nogil:
    cdef uint64_t wide = widen_key(key)
    cdef uint64_t word
    cdef uint8_t octets[8]
    cdef size_t i = 0
    while i + 32 <= n:
        xor_32(target + i, source + i, wide)
        i += 32
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
    cdef uint64_t seen_b = 0
    cdef uint64_t seen_c = 0
    cdef uint64_t seen_d = 0
    cdef uint64_t a, b, c, d
    cdef uint8_t octets[8]
    cdef uint8_t octet
    cdef size_t i = 0
    while i + 32 <= n:
        memcpy(&a, source + i, 8)
        memcpy(&b, source + i + 8, 8)
        memcpy(&c, source + i + 16, 8)
        memcpy(&d, source + i + 24, 8)
        a = a ^ wide
        b = b ^ wide
        c = c ^ wide
        d = d ^ wide
        seen = seen | a
        seen_b = seen_b | b
        seen_c = seen_c | c
        seen_d = seen_d | d
        memcpy(target + i, &a, 8)
        memcpy(target + i + 8, &b, 8)
        memcpy(target + i + 16, &c, 8)
        memcpy(target + i + 24, &d, 8)
        i += 32
    seen = seen | seen_b | seen_c | seen_d
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
    while i + 32 <= n:
        xor_32(target + i, target + i, wide)
        i += 32
    while i + 8 <= n:
        memcpy(&word, target + i, 8)
        word = word ^ wide
        memcpy(target + i, &word, 8)
        i += 8
    memcpy(octets, &wide, 8)
    while i < n:
        target[i] = target[i] ^ octets[i & 7]
        i += 1


# Validation of UTF-8 is a machine of nine states (Unicode 3.9, table 3-7), of which ACCEPT, 0, is
# between two characters. A row of the table has the transitions of one byte: at the offset of each
# state, in bits, the next state. So a step is a load and a shift, whatever the byte, and there is
# nothing to predict.
cdef extern from *:
    """
    enum { ACCEPT = 0, REJECT = 6, MORE_1 = 12, MORE_2 = 18, MORE_3 = 24,
           AFTER_E0 = 30, AFTER_ED = 36, AFTER_F0 = 42, AFTER_F4 = 48 };
    #define WSFAST_TO(from, to) ((uint64_t) (to) << (from))
    /* A byte that begins a character. */
    #define LEAD(to) (WSFAST_TO(ACCEPT, to) | WSFAST_TO(REJECT, REJECT) | \
        WSFAST_TO(MORE_1, REJECT) | WSFAST_TO(MORE_2, REJECT) | WSFAST_TO(MORE_3, REJECT) | \
        WSFAST_TO(AFTER_E0, REJECT) | WSFAST_TO(AFTER_ED, REJECT) | \
        WSFAST_TO(AFTER_F0, REJECT) | WSFAST_TO(AFTER_F4, REJECT))
    /* A byte that goes on with one: behind E0 and F0 the low ones would be overlong forms, behind
       ED the high ones surrogates, behind F4 beyond U+10FFFF. */
    #define TAIL(e0, ed, f0, f4) (WSFAST_TO(ACCEPT, REJECT) | WSFAST_TO(REJECT, REJECT) | \
        WSFAST_TO(MORE_1, ACCEPT) | WSFAST_TO(MORE_2, MORE_1) | WSFAST_TO(MORE_3, MORE_2) | \
        WSFAST_TO(AFTER_E0, e0) | WSFAST_TO(AFTER_ED, ed) | \
        WSFAST_TO(AFTER_F0, f0) | WSFAST_TO(AFTER_F4, f4))
    #define R2(x) x, x
    #define R4(x) R2(x), R2(x)
    #define R8(x) R4(x), R4(x)
    #define R16(x) R8(x), R8(x)
    #define R32(x) R16(x), R16(x)
    static const uint64_t utf8_rows[256] = {
        /* 00-7F */ R32(LEAD(ACCEPT)), R32(LEAD(ACCEPT)), R32(LEAD(ACCEPT)), R32(LEAD(ACCEPT)),
        /* 80-8F */ R16(TAIL(REJECT, MORE_1, REJECT, MORE_2)),
        /* 90-9F */ R16(TAIL(REJECT, MORE_1, MORE_2, REJECT)),
        /* A0-BF */ R32(TAIL(MORE_1, REJECT, MORE_2, REJECT)),
        /* C0-C1 */ R2(LEAD(REJECT)),
        /* C2-DF */ R2(LEAD(MORE_1)), R4(LEAD(MORE_1)), R8(LEAD(MORE_1)), R16(LEAD(MORE_1)),
        /* E0-EF */ LEAD(AFTER_E0), R4(LEAD(MORE_2)), R8(LEAD(MORE_2)), LEAD(AFTER_ED),
                    R2(LEAD(MORE_2)),
        /* F0-F4 */ LEAD(AFTER_F0), R2(LEAD(MORE_3)), LEAD(MORE_3), LEAD(AFTER_F4),
        /* F5-FF */ LEAD(REJECT), R2(LEAD(REJECT)), R8(LEAD(REJECT))
    };
    #undef LEAD
    #undef TAIL
    #undef R2
    #undef R4
    #undef R8
    #undef R16
    #undef R32
    """
    const uint64_t* utf8_rows
    cdef enum:
        REJECT

# Where an incremental validation stands between two pieces: not 0 if a character is incomplete.
cdef struct Utf8State:
    uint8_t missing


cdef inline bint utf8_feed(Utf8State* state, const uint8_t* source, size_t n) noexcept nogil:
    """Whether the bytes so far can begin valid UTF-8."""
    cdef size_t i = 0
    cdef size_t end
    cdef uint64_t word
    cdef uint64_t current = state.missing
    while i < n:
        if current == 0:
            while i + 8 <= n:
                memcpy(&word, source + i, 8)
                if word & 0x8080808080808080u:
                    break
                i += 8
        # Then some bytes of any kind, before asking again.
        end = i + 32 if n - i > 32 else n
        while i < end:
            current = utf8_rows[source[i]] >> (current & 63)
            i += 1
        current = current & 63
        if current == REJECT:
            return False
    state.missing = <uint8_t> current
    return True


# A masking key that the peer cannot predict (RFC 6455 section 5.3).
cdef uint32_t next_masking_key() except? 0


# The number of 4 bytes of Python's; ValueError if it is anything else.
cdef uint32_t read_key(object key) except? 0
