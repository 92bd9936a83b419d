/* Messages that are slices of one pattern: which slice depends on the connection and on the number
   of the message. So nothing is built for a message, large ones are sent from the pattern without
   a copy, and an echo that is lost, doubled, mixed up or damaged is noticed. */
#ifndef WSFAST_BENCH_PATTERN_H
#define WSFAST_BENCH_PATTERN_H

#include "connection.h"

enum {
    STAGE_SIZE = 256 * 1024,
    STAGED_FRAME = 16 * 1024, /* longer frames are sent without a copy */
    SLIDES = 512,             /* how many slices the pattern has; 4 bytes apart, for the key */
    EDGE = 64,                /* these bytes at both ends of a message are always compared */
    COMPARED = 16,            /* and one in so many messages from end to end */
};

static unsigned char stage_buffer[STAGE_SIZE];
static unsigned char *pattern, *masked_pattern;
static unsigned char request_header[14], reply_header[10];
static size_t request_header_size, request_size, reply_header_size, reply_size;

static size_t slide(const struct connection *c, uint64_t message) {
    return options.mode == ECHO ? (c->id * 37 + message) % SLIDES * 4 : 0;
}

static void make_patterns(void) {
    size_t size = options.size + 4 * SLIDES;
    pattern = allocate(size);
    masked_pattern = allocate(size);
    if (options.mode == ECHO) {
        uint64_t state = 0x9e3779b97f4a7c15;
        for (size_t i = 0; i < size; i++) {
            state = state * 6364136223846793005u + 1442695040888963407u;
            pattern[i] = (unsigned char)(' ' + (state >> 33) % 95);
        }
    } else {
        fill(pattern, size);
    }
    for (size_t i = 0; i < size; i++)
        masked_pattern[i] = pattern[i] ^ fixed_key[i & 3];
    request_header_size = frame_header(request_header, options.opcode, options.size, true);
    memcpy(request_header + request_header_size, fixed_key, 4);
    request_header_size += 4;
    request_size = request_header_size + options.size;
    int answer = options.opcode == PING ? PONG : options.opcode;
    reply_header_size = frame_header(reply_header, answer, options.size, false);
    reply_size = reply_header_size + options.size;
}

/* Copies what comes at `offset` of a frame; returns how much. */
static size_t copy_frame(const struct connection *c, uint64_t message, size_t offset,
                         unsigned char *target, size_t room) {
    size_t left = request_size - offset, count = left < room ? left : room, done = 0;
    unsigned char header[14];
    const unsigned char *key = header + request_header_size - 4;
    memcpy(header, request_header, sizeof header);
    if (options.random_keys) {
        /* A function of the message, so that a write that was cut short can go on. */
        uint64_t mixed = ((uint64_t)c->id << 40 ^ message) * 0x9e3779b97f4a7c15;
        uint32_t random = (uint32_t)(mixed >> 32);
        memcpy(header + request_header_size - 4, &random, 4);
    }
    while (done < count && offset + done < request_header_size) {
        target[done] = header[offset + done];
        done++;
    }
    size_t position = offset + done - request_header_size, from = slide(c, message) + position;
    if (!options.random_keys)
        memcpy(target + done, masked_pattern + from, count - done);
    else
        for (size_t i = 0; i < count - done; i++)
            target[done + i] = pattern[from + i] ^ key[(position + i) & 3];
    return count;
}

static ssize_t send_staged(struct connection *c) {
    size_t used = 0, offset = c->out_offset;
    for (uint64_t message = c->sent; message < c->allowed && used < STAGE_SIZE; message++) {
        used += copy_frame(c, message, offset, stage_buffer + used, STAGE_SIZE - used);
        offset = 0;
    }
    struct iovec piece = {.iov_base = stage_buffer, .iov_len = used};
    return transmit(c, &piece, 1);
}

static ssize_t send_in_place(struct connection *c) {
    struct iovec pieces[64];
    int count = 0;
    size_t offset = c->out_offset;
    for (uint64_t message = c->sent; message < c->allowed && count < 63; message++) {
        if (offset < request_header_size) {
            pieces[count].iov_base = request_header + offset;
            pieces[count++].iov_len = request_header_size - offset;
            offset = request_header_size;
        }
        size_t position = offset - request_header_size;
        pieces[count].iov_base = masked_pattern + slide(c, message) + position;
        pieces[count++].iov_len = options.size - position;
        offset = 0;
    }
    return transmit(c, pieces, count);
}

/* Sends what is allowed, as far as the socket takes it. */
static ssize_t send_slices(struct connection *c) {
    bool staged = options.tls || options.random_keys || request_size <= STAGED_FRAME;
    return staged ? send_staged(c) : send_in_place(c);
}

__attribute__((noreturn)) static void die_of_difference(const struct connection *c,
                                                        const unsigned char *data, size_t size) {
    fprintf(stderr, "message %llu of connection %u differs at byte %zu of its frame; got",
            (unsigned long long)c->received, c->id, c->in_offset);
    for (size_t i = 0; i < size && i < 16; i++)
        fprintf(stderr, " %02x", data[i]);
    fputc('\n', stderr);
    exit(1);
}

static bool is_compared(const struct connection *c) { return c->received % COMPARED == 0; }

/* Compares a piece of a payload, at least where it lies within the message's edges. */
static void compare(const struct connection *c, const unsigned char *data, size_t size) {
    size_t position = c->in_offset - reply_header_size, end = position + size;
    const unsigned char *expected = pattern + slide(c, c->received) + position;
    size_t head = position < EDGE ? EDGE - position : 0;
    size_t tail = options.size > EDGE ? options.size - EDGE : 0;
    if (is_compared(c) || size <= head)
        head = size;
    if (memcmp(data, expected, head) != 0)
        die_of_difference(c, data, size);
    if (end > tail && head < size) {
        size_t from = tail > position ? tail - position : 0;
        if (memcmp(data + from, expected + from, size - from) != 0)
            die_of_difference(c, data + from, size - from);
    }
}

/* The middle of a long message that is not compared: the kernel drops it without a copy. */
static size_t droppable(const struct connection *c) {
    size_t left = reply_size - c->in_offset;
    bool inside = c->in_offset >= reply_header_size + EDGE && left > READ_SIZE + EDGE;
    return inside && !options.tls && !is_compared(c) ? left - EDGE : 0;
}

#endif
