/* Messages that are compressed with permessage-deflate (RFC 7692).

   They come from a file, options.size bytes each, and are compressed and masked before anything is
   measured: sending one is a write of bytes that are there. With context takeover the messages of
   the file are one stream, so they have to be sent in their order, and all over again from the
   first, which refers to nothing before it, as a sender may choose at any time. Without it every
   message is a stream of its own, and a connection may begin with any.

   Before the measurement the replies are inflated and compared with what was sent. While measuring
   they are counted by their headers: what they hold costs a server time, not us. */
#ifndef WSFAST_BENCH_DEFLATE_H
#define WSFAST_BENCH_DEFLATE_H

#include "connection.h"

#include <sys/stat.h>
#include <sys/uio.h>

#ifdef WITH_ZLIB
#include <zlib.h>
#endif

enum {
    COMPRESSED = 0x40,       /* RSV1: RFC 7692 section 6 */
    CHECKED = 16,            /* so many replies are checked on each connection, */
    CHECKED_TO_THE_END = 4,  /* and on so many connections a whole round through the file as well */
    CHECKED_BROADCASTS = 4,  /* of those that come everywhere */
};

static struct {
    size_t count;
    unsigned char *messages; /* as they are */
    unsigned char *frames;   /* as they are sent, one after the other */
    size_t *starts;          /* of the frames, and where the last one ends */
} pool;

static int unchecked; /* connections whose replies are still to be checked */

/* The opening handshake */

static void write_offer(char *target, size_t room) {
    snprintf(target, room,
             "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=%d; "
             "client_max_window_bits=%d%s%s\r\n",
             options.server_bits, options.client_bits,
             options.server_no_takeover ? "; server_no_context_takeover" : "",
             options.client_no_takeover ? "; client_no_context_takeover" : "");
}

/* Servers are compared with the same parameters: one that agreed to others is not measured. */
static void check_agreement(const char *head) {
    static const char name[] = "\r\nSec-WebSocket-Extensions:";
    const char *found = strcasestr(head, name);
    if (found == NULL)
        die("the server does not compress: %s", head);
    found += sizeof name - 1;
    int server_bits = 15, client_bits = 15;
    bool server_no_takeover = false, client_no_takeover = false, known = true;
    char value[256], *rest = value;
    snprintf(value, sizeof value, "%.*s", (int)strcspn(found, "\r"), found);
    for (char *part = strsep(&rest, ";"); part != NULL; part = strsep(&rest, ";")) {
        char word[64] = "";
        sscanf(part, " %63s", word);
        if (strcmp(word, "server_no_context_takeover") == 0)
            server_no_takeover = true;
        else if (strcmp(word, "client_no_context_takeover") == 0)
            client_no_takeover = true;
        else if (sscanf(word, "server_max_window_bits=%d", &server_bits) != 1 &&
                 sscanf(word, "client_max_window_bits=%d", &client_bits) != 1)
            known = known && strcmp(word, "permessage-deflate") == 0;
    }
    if (!known || server_bits != options.server_bits || client_bits != options.client_bits ||
        server_no_takeover != options.server_no_takeover ||
        client_no_takeover != options.client_no_takeover)
        die("the server wants other parameters:%.*s", (int)strcspn(found, "\r"), found);
}

/* What is sent */

static void read_pool(void) {
    struct stat status;
    FILE *file = fopen(options.messages, "rb");
    if (file == NULL || fstat(fileno(file), &status) != 0)
        die("cannot read %s", options.messages);
    size_t size = (size_t)status.st_size;
    if (size == 0 || size % options.size != 0)
        die("%s does not hold messages of %zu bytes", options.messages, options.size);
    pool.count = size / options.size;
    pool.messages = allocate(size);
    if (fread(pool.messages, 1, size, file) != size)
        die("cannot read %s", options.messages);
    fclose(file);
}

/* Where in the pool a message of a connection is. */
static size_t index_of(const struct connection *c, uint64_t message) {
    return (c->first + message) % pool.count;
}

static size_t deflated_size(const struct connection *c, uint64_t message) {
    size_t index = index_of(c, message);
    return pool.starts[index + 1] - pool.starts[index];
}

/* Frames that follow one another are one piece. */
static ssize_t send_deflated(struct connection *c) {
    struct iovec pieces[2];
    size_t index = index_of(c, c->sent), left = (size_t)(c->allowed - c->sent);
    size_t end = left < pool.count - index ? index + left : pool.count, start = pool.starts[index];
    pieces[0].iov_base = pool.frames + start + c->out_offset;
    pieces[0].iov_len = pool.starts[end] - start - c->out_offset;
    left -= end - index;
    pieces[1].iov_base = pool.frames;
    pieces[1].iov_len = pool.starts[left < pool.count ? left : pool.count];
    return transmit(c, pieces, left > 0 ? 2 : 1);
}

/* What comes */

/* The size of the frame under way, as soon as its header tells; 0 before. */
static size_t frame_size(const struct connection *c) {
    const unsigned char *head = c->reply_head;
    if (c->in_offset < 2)
        return 0;
    size_t bytes = head[1] < 126 ? 0 : head[1] == 126 ? 2 : 8, length = head[1];
    if (head[0] != (0x80 | COMPRESSED | options.opcode) || head[1] > 127)
        die("reply %llu of connection %u begins with %02x %02x: not a compressed message in one "
            "frame", (unsigned long long)c->received, c->id, head[0], head[1]);
    if (c->in_offset < 2 + bytes)
        return 0;
    if (bytes > 0)
        length = 0;
    for (size_t i = 0; i < bytes; i++)
        length = length << 8 | head[2 + i];
    return 2 + bytes + length;
}

#ifdef WITH_ZLIB
struct checker {
    z_stream inflater;
    uint64_t until;        /* so many messages are checked */
    bool is_found;         /* whether it is known which message the first reply is */
    unsigned char *output; /* of the message under way, with room for a byte too many */
};

/* Appends a frame to those that are prepared; returns the end of it. */
static unsigned char *append_frame(unsigned char *target, const unsigned char *data, size_t size) {
    size_t header = frame_header(target, COMPRESSED | options.opcode, size, true);
    memcpy(target + header, fixed_key, 4);
    target += header + 4;
    for (size_t i = 0; i < size; i++)
        target[i] = data[i] ^ fixed_key[i & 3];
    return target + size;
}

static void prepare_pool(void) {
    z_stream deflater = {0};
    if (deflateInit2(&deflater, options.level, Z_DEFLATED, -options.client_bits, options.mem_level,
                     Z_DEFAULT_STRATEGY) != Z_OK)
        die("zlib takes no such level, window or memory level");
    size_t room = deflateBound(&deflater, options.size) + 64;
    unsigned char *deflated = allocate(room), *target;
    pool.frames = target = allocate(pool.count * (room + 14));
    pool.starts = allocate((pool.count + 1) * sizeof *pool.starts);
    for (size_t i = 0; i < pool.count; i++) {
        if (options.client_no_takeover)
            deflateReset(&deflater);
        deflater.next_in = pool.messages + i * options.size;
        deflater.avail_in = (uInt)options.size;
        deflater.next_out = deflated;
        deflater.avail_out = (uInt)room;
        deflate(&deflater, Z_SYNC_FLUSH);
        /* RFC 7692 section 7.2.1: without the 00 00 ff ff at its end. */
        target = append_frame(target, deflated, room - deflater.avail_out - 4);
        pool.starts[i + 1] = (size_t)(target - pool.frames);
    }
    deflateEnd(&deflater);
    free(deflated);
}

static void await_reply(struct checker *checker) {
    checker->inflater.next_out = checker->output;
    checker->inflater.avail_out = (uInt)options.size + 1;
}

static void start_checking(struct connection *c) {
    struct checker *checker = c->checker = allocate(sizeof *checker);
    bool echoes = options.mode != BROADCAST;
    checker->output = allocate(options.size + 1);
    checker->is_found = echoes;
    checker->until = echoes ? CHECKED : CHECKED_BROADCASTS;
    if (options.mode == ECHO && c->id < CHECKED_TO_THE_END)
        checker->until += pool.count;
    if (echoes && options.client_no_takeover)
        c->first = c->id * 37;
    if (inflateInit2(&checker->inflater, -options.server_bits) != Z_OK)
        die("zlib does not inflate");
    await_reply(checker);
    unchecked++;
}

static void inflate_piece(struct connection *c, const unsigned char *data, size_t size) {
    z_stream *inflater = &c->checker->inflater;
    inflater->next_in = (unsigned char *)data;
    inflater->avail_in = (uInt)size;
    int result = inflate(inflater, Z_SYNC_FLUSH);
    if ((result != Z_OK && result != Z_BUF_ERROR) || inflater->avail_in > 0)
        die("reply %llu of connection %u does not inflate to %zu bytes: %s",
            (unsigned long long)c->received, c->id, options.size,
            inflater->msg != NULL ? inflater->msg : "it is longer, or its stream ends");
}

/* A server goes on with its broadcasts where it was when the last program left. */
static void find_first(struct connection *c) {
    while (memcmp(c->checker->output, pool.messages + c->first * options.size, options.size) != 0)
        if (++c->first == pool.count)
            die("the first broadcast to connection %u is not in %s", c->id, options.messages);
    c->checker->is_found = true;
}

/* Compares a reply whose end has come with what it should be. */
static void check_reply(struct connection *c) {
    struct checker *checker = c->checker;
    inflate_piece(c, (const unsigned char[]){0x00, 0x00, 0xff, 0xff}, 4);
    if (checker->inflater.avail_out == 1 && !checker->is_found)
        find_first(c);
    size_t index = index_of(c, c->received);
    if (checker->inflater.avail_out != 1 ||
        memcmp(checker->output, pool.messages + index * options.size, options.size) != 0)
        die("reply %llu of connection %u is not what it should be",
            (unsigned long long)c->received, c->id);
    await_reply(checker);
    if (options.server_no_takeover)
        inflateReset(&checker->inflater);
    if (c->received + 1 < checker->until)
        return;
    inflateEnd(&checker->inflater);
    free(checker->output);
    free(checker);
    c->checker = NULL;
    unchecked--;
}
#else
static void prepare_pool(void) {}
static void start_checking(struct connection *c) { c->checker = NULL; }
static void inflate_piece(struct connection *c, const unsigned char *data, size_t size) {
    die("built without zlib: %u %p %zu", c->id, (const void *)data, size);
}
static void check_reply(struct connection *c) { die("built without zlib: %u", c->id); }
#endif

/* Takes what came up to the end of a frame; returns how much that is. */
static size_t consume_deflated(struct connection *c, const unsigned char *data, size_t size) {
    size_t used = 0;
    while (used < size && (c->reply_size = frame_size(c)) == 0)
        c->reply_head[c->in_offset++] = data[used++];
    if (c->reply_size == 0)
        return used;
    size_t left = c->reply_size - c->in_offset, count = left < size - used ? left : size - used;
    if (c->checker != NULL)
        inflate_piece(c, data + used, count);
    c->in_offset += count;
    if (c->checker != NULL && c->in_offset == c->reply_size)
        check_reply(c);
    return used + count;
}

#endif
