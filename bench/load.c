/* The load generator: one thread, one epoll instance, many connections. See usage() for the modes.

   Messages are slices of one pattern: which slice depends on the connection and on the number of
   the message. So nothing is built for a message, large ones are sent from the pattern without a
   copy, and an echo that is lost, doubled, mixed up or damaged is noticed. */
#include "common.h"
#include "load_options.h"
#include "statistics.h"

#include <sys/uio.h>

#ifdef WITH_TLS
#include <openssl/err.h>
#include <openssl/ssl.h>
#else
typedef void SSL;
#endif

enum {
    READ_SIZE = 256 * 1024,
    STAGE_SIZE = 256 * 1024,
    STAGED_FRAME = 16 * 1024, /* longer frames are sent without a copy */
    SLIDES = 512,             /* how many slices the pattern has; 4 bytes apart, for the key */
    EDGE = 64,                /* these bytes at both ends of a message are always compared */
    COMPARED = 16,            /* and one in so many messages from end to end */
    AT_ONCE = 64,             /* opening handshakes under way, within any server's backlog */
    OPEN_LOOP_RING = 4096,    /* unanswered messages on a connection with a fixed rate */
    HEAD_SIZE = 2048,
};

enum phase { CONNECTING, SECURING, UPGRADING, OPEN, CLOSED };

struct connection {
    int fd;
    enum phase phase;
    bool flooder, waits_to_write;
    uint32_t id;
    SSL *ssl;
    char *head; /* of the response, while it comes */
    size_t head_length;
    uint64_t allowed, sent, received; /* messages; allowed: so many may be sent by now */
    size_t out_offset, in_offset;     /* within the frame under way */
    uint32_t ring;
    uint64_t *sent_at; /* the times of the last `ring` messages */
};

static struct connection *connections;
static int epoll;
static unsigned char read_buffer[READ_SIZE], stage_buffer[STAGE_SIZE];
static unsigned char *pattern, *masked_pattern;
static unsigned char request_header[14], reply_header[10];
static size_t request_header_size, request_size, reply_header_size, reply_size;
static const unsigned char fixed_key[4] = {0x37, 0xfa, 0x21, 0x3d};

/* What is counted while measuring. */

static bool measuring, stopping;
static uint64_t messages, polite_messages, round_replies;

/* The bytes of messages */

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

/* Sockets and TLS: positive counts of bytes, -1 if it would block, 0 at the end */

#ifdef WITH_TLS
static SSL_CTX *tls_context;

static void start_tls(struct connection *c) {
    if (tls_context == NULL) {
        tls_context = SSL_CTX_new(TLS_client_method());
        SSL_CTX_set_mode(tls_context, SSL_MODE_ENABLE_PARTIAL_WRITE |
                                          SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
        SSL_CTX_set_read_ahead(tls_context, 1);
    }
    c->ssl = SSL_new(tls_context);
    SSL_set_fd(c->ssl, c->fd);
    SSL_set_connect_state(c->ssl);
}

static ssize_t tls_result(struct connection *c, int result) {
    if (result > 0)
        return result;
    int error = SSL_get_error(c->ssl, result);
    ERR_clear_error();
    return error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE ? -1 : 0;
}
#endif

static ssize_t receive(struct connection *c, void *buffer, size_t size, int flags) {
#ifdef WITH_TLS
    if (c->ssl != NULL)
        return tls_result(c, SSL_read(c->ssl, buffer, (int)size));
#endif
    ssize_t count = recv(c->fd, buffer, size, flags);
    return count < 0 && errno != EAGAIN ? 0 : count;
}

static ssize_t transmit(struct connection *c, struct iovec *pieces, int count) {
#ifdef WITH_TLS
    if (c->ssl != NULL)
        return tls_result(c, SSL_write(c->ssl, pieces[0].iov_base, (int)pieces[0].iov_len));
#endif
    struct msghdr message = {.msg_iov = pieces, .msg_iovlen = (size_t)count};
    ssize_t sent = sendmsg(c->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    return sent < 0 && errno != EAGAIN ? 0 : sent;
}

static void transmit_small(struct connection *c, const void *data, size_t size) {
    struct iovec piece = {.iov_base = (void *)data, .iov_len = size};
    ssize_t sent = transmit(c, &piece, 1);
    if (sent != (ssize_t)size && !stopping)
        die("the server does not take %zu bytes", size);
}

static void watch(struct connection *c, int operation, uint32_t events) {
    struct epoll_event event = {.events = events, .data.ptr = c};
    if (epoll_ctl(epoll, operation, c->fd, &event) != 0)
        die("epoll_ctl: %s", strerror(errno));
}

static void drop(struct connection *c) {
#ifdef WITH_TLS
    SSL_free(c->ssl);
#endif
    c->ssl = NULL;
    close(c->fd);
    c->phase = CLOSED;
}

/* Sending */

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
static void pump(struct connection *c) {
    bool staged = options.tls || options.random_keys || request_size <= STAGED_FRAME;
    while (c->sent < c->allowed) {
        ssize_t count = staged ? send_staged(c) : send_in_place(c);
        if (count == 0)
            die("the connection was lost while sending: %s", strerror(errno));
        if (count < 0) {
            if (!c->waits_to_write)
                watch(c, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT);
            c->waits_to_write = true;
            return;
        }
        c->out_offset += (size_t)count;
        c->sent += c->out_offset / request_size;
        c->out_offset %= request_size;
    }
    if (c->waits_to_write)
        watch(c, EPOLL_CTL_MOD, EPOLLIN);
    c->waits_to_write = false;
}

static void allow(struct connection *c, uint64_t count, uint64_t time) {
    while (count--)
        c->sent_at[c->allowed++ % c->ring] = time;
}

/* Receiving */

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

static void count_message(struct connection *c, uint64_t time) {
    c->received++;
    round_replies++;
    if (!measuring)
        return;
    messages++;
    if (options.mode == ECHO && !c->flooder) {
        polite_messages++;
        record(time - c->sent_at[(c->received - 1) % c->ring]);
    }
}

static void consume(struct connection *c, const unsigned char *data, size_t size, uint64_t time) {
    while (size > 0) {
        size_t count;
        if (c->in_offset < reply_header_size) {
            count = reply_header_size - c->in_offset;
            count = count < size ? count : size;
            if (memcmp(data, reply_header + c->in_offset, count) != 0)
                die_of_difference(c, data, size);
        } else {
            count = reply_size - c->in_offset;
            count = count < size ? count : size;
            compare(c, data, count);
        }
        data += count;
        size -= count;
        c->in_offset += count;
        if (c->in_offset == reply_size) {
            c->in_offset = 0;
            count_message(c, time);
        }
    }
}

/* The middle of a long message that is not compared: the kernel drops it without a copy. */
static size_t droppable(const struct connection *c) {
    size_t left = reply_size - c->in_offset;
    bool inside = c->in_offset >= reply_header_size + EDGE && left > READ_SIZE + EDGE;
    return inside && !options.tls && !is_compared(c) ? left - EDGE : 0;
}

static uint64_t read_replies(struct connection *c) {
    uint64_t time;
    ssize_t count;
    do {
        size_t drop_size = droppable(c);
        if (drop_size > 0)
            count = receive(c, NULL, drop_size, MSG_TRUNC);
        else
            count = receive(c, read_buffer, READ_SIZE, 0);
        time = now_ns();
        if (count == 0)
            die("the server ended connection %u after %llu messages", c->id,
                (unsigned long long)c->received);
        if (count > 0 && drop_size > 0)
            c->in_offset += (size_t)count;
        else if (count > 0)
            consume(c, read_buffer, (size_t)count, time);
    } while (count > 0 && c->ssl != NULL);
    return time;
}

/* Opening and closing */

static void request_upgrade(struct connection *c) {
    char request[256];
    int size = snprintf(request, sizeof request,
                        "GET / HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\n"
                        "Connection: Upgrade\r\nSec-WebSocket-Key: " HANDSHAKE_KEY "\r\n"
                        "Sec-WebSocket-Version: 13\r\n\r\n",
                        options.port);
    transmit_small(c, request, (size_t)size);
    c->phase = UPGRADING;
    c->head = allocate(HEAD_SIZE);
    c->head_length = 0;
    watch(c, EPOLL_CTL_MOD, EPOLLIN);
}

static void begin(struct connection *c) {
    struct sockaddr_in address = loopback(options.port);
    uint32_t id = (uint32_t)(c - connections);
    *c = (struct connection){.id = id, .phase = CONNECTING};
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0)
        die("socket: %s", strerror(errno));
    set_nodelay(c->fd);
    if (connect(c->fd, (struct sockaddr *)&address, sizeof address) != 0 && errno != EINPROGRESS)
        die("connect: %s", strerror(errno));
    watch(c, EPOLL_CTL_ADD, EPOLLOUT);
}

static void read_head(struct connection *c) {
    ssize_t count = receive(c, c->head + c->head_length, HEAD_SIZE - 1 - c->head_length, 0);
    if (count == 0)
        die("the server ended the opening handshake: %s", c->head);
    if (count < 0)
        return;
    c->head_length += (size_t)count;
    char *end = strstr(c->head, "\r\n\r\n");
    if (end == NULL && c->head_length < HEAD_SIZE - 1)
        return;
    if (end == NULL || strncmp(c->head, "HTTP/1.1 101 ", 13) != 0 ||
        strstr(c->head, HANDSHAKE_ACCEPT) == NULL)
        die("the server refused the opening handshake: %s", c->head);
    if (end + 4 != c->head + c->head_length)
        die("the server sent something before it was asked to");
    free(c->head);
    c->head = NULL;
    c->phase = OPEN;
}

/* Goes on with an opening handshake; true when it is done. */
static bool advance(struct connection *c) {
    if (c->phase == CONNECTING) {
        int error = 0;
        socklen_t size = sizeof error;
        getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &size);
        if (error != 0)
            die("connect: %s", strerror(error));
        if (!options.tls) {
            request_upgrade(c);
            return false;
        }
        c->phase = SECURING;
#ifdef WITH_TLS
        start_tls(c);
    }
    if (c->phase == SECURING) {
        int result = SSL_do_handshake(c->ssl);
        if (result == 1) {
            request_upgrade(c);
            return false;
        }
        int error = SSL_get_error(c->ssl, result);
        if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE)
            die("the TLS handshake failed");
        watch(c, EPOLL_CTL_MOD, error == SSL_ERROR_WANT_READ ? EPOLLIN : EPOLLOUT);
        return false;
#endif
    }
    if (c->phase == UPGRADING)
        read_head(c);
    return c->phase == OPEN;
}

static void open_all(void) {
    int begun = 0, done = 0;
    struct epoll_event events[AT_ONCE];
    while (done < options.connections) {
        while (begun < options.connections && begun - done < AT_ONCE)
            begin(&connections[begun++]);
        int count = epoll_wait(epoll, events, AT_ONCE, 30000);
        if (count == 0)
            die("the server does not answer the opening handshake");
        for (int i = 0; i < count; i++) {
            struct connection *c = events[i].data.ptr;
            if (c->phase != OPEN && advance(c))
                done++;
        }
    }
}

/* Closes politely, and waits a bounded time, so that the server is done with it as well. */
static void close_all(void) {
    unsigned char frame[8] = {0x80 | CLOSE, 0x82, 0, 0, 0, 0, 1000 >> 8, 1000 & 255};
    struct epoll_event events[512];
    int left = 0;
    stopping = true;
    for (int i = 0; i < options.connections; i++) {
        struct connection *c = &connections[i];
        if (c->out_offset == 0 && !options.pending_byte && options.declare == 0) {
            transmit_small(c, frame, sizeof frame);
            left++;
        } else {
            drop(c);
        }
    }
    uint64_t deadline = now_ns() + 5000000000u;
    while (left > 0 && now_ns() < deadline) {
        int count = epoll_wait(epoll, events, 512, 100);
        for (int i = 0; i < count; i++) {
            struct connection *c = events[i].data.ptr;
            ssize_t size = recv(c->fd, read_buffer, READ_SIZE, 0);
            /* Over TLS a server waits for our end in turn: its first answer is enough. */
            if (size == 0 || (size < 0 && errno != EAGAIN) || c->ssl != NULL) {
                drop(c);
                left--;
            }
        }
    }
    for (int i = 0; i < options.connections; i++)
        if (connections[i].phase != CLOSED)
            drop(&connections[i]);
    stopping = false;
}

/* Until whoever started this closes our standard input, or for a minute. */
static void hold(void) {
    fd_set set;
    struct timeval limit = {.tv_sec = 60};
    FD_ZERO(&set);
    FD_SET(STDIN_FILENO, &set);
    fflush(stdout);
    select(STDIN_FILENO + 1, &set, NULL, NULL, &limit);
}

/* The modes */

static void print_rates(const struct usage *start, const struct usage *end, double connect_rate) {
    double seconds = (double)(end->wall - start->wall) / 1e9;
    printf("{\"messages\": %llu, \"rate\": %.1f, \"polite_rate\": %.1f, \"connect_rate\": %.1f, ",
           (unsigned long long)messages, (double)messages / seconds,
           (double)polite_messages / seconds, connect_rate);
    if (recorded > 0)
        printf("\"p50\": %.2f, \"p99\": %.2f, \"p999\": %.2f, \"max\": %.2f, ", percentile_us(0.5),
               percentile_us(0.99), percentile_us(0.999), (double)longest / 1000);
    print_usage(start, end);
    printf("}\n");
}

static void exchange(struct connection *c, uint32_t events) {
    uint64_t time = events & EPOLLIN ? read_replies(c) : now_ns();
    uint64_t depth = (uint64_t)(c->flooder ? options.flood_depth : options.depth);
    if (stopping || (options.rate > 0 && !c->flooder)) {
        /* Nothing more, or at its own time. */
    } else if (c->flooder || options.sliding) {
        allow(c, c->received + depth - c->allowed, time);
    } else if (c->received == c->allowed) {
        allow(c, depth, time);
    }
    pump(c);
}

/* Sends what is due at the fixed rate. Latencies count from when a message was due. */
static void send_due(double *due, uint64_t *turn) {
    int polite = options.connections - options.flooders;
    for (double now = (double)now_ns(); *due <= now; *due += 1e9 / options.rate) {
        struct connection *c = &connections[*turn % (uint64_t)polite];
        if (c->allowed - c->received == c->ring)
            return; /* far too slow; it stays due */
        allow(c, 1, (uint64_t)*due);
        pump(c);
        ++*turn;
    }
}

static void wait_and_exchange(int milliseconds) {
    struct epoll_event events[512];
    int count = epoll_wait(epoll, events, 512, milliseconds);
    for (int i = 0; i < count; i++)
        exchange(events[i].data.ptr, events[i].events);
}

/* A part ends in time, except that it gets up to 10 s more for what is slow: very many
   connections, or very large messages. */
static bool is_over(uint64_t time, uint64_t end_at, bool too_few) {
    return time >= end_at && (!too_few || time - end_at >= 10000000000u);
}

static void run_echo(double connect_rate) {
    for (int i = 0; i < options.connections; i++) {
        struct connection *c = &connections[i];
        c->flooder = i >= options.connections - options.flooders;
        c->ring = (uint32_t)(c->flooder         ? options.flood_depth
                             : options.rate > 0 ? OPEN_LOOP_RING
                                                : options.depth);
        c->sent_at = allocate(c->ring * sizeof *c->sent_at);
        if (c->flooder || options.rate == 0)
            exchange(c, 0);
    }
    uint64_t begin_at = now_ns() + (uint64_t)(options.warmup * 1e9), end_at = UINT64_MAX, turn = 0;
    uint64_t few = (uint64_t)options.connections;
    double due = (double)now_ns();
    struct usage start = {0};
    for (uint64_t time = now_ns(); !is_over(time, end_at, messages < 2 * few); time = now_ns()) {
        if (!measuring && is_over(time, begin_at, round_replies < few)) {
            measuring = true;
            start = usage_of(options.pid);
            end_at = start.wall + (uint64_t)(options.seconds * 1e9);
        }
        if (options.rate > 0)
            send_due(&due, &turn);
        wait_and_exchange(options.rate > 0 ? 0 : 10);
    }
    struct usage end = usage_of(options.pid);
    measuring = false;
    stopping = true;
    uint64_t unanswered = 1;
    for (uint64_t deadline = now_ns() + 10000000000u; unanswered > 0 && now_ns() < deadline;) {
        wait_and_exchange(10);
        unanswered = 0;
        for (int i = 0; i < options.connections; i++)
            unanswered += connections[i].allowed - connections[i].received;
    }
    if (unanswered > 0 && options.rate == 0)
        die("%llu messages were not answered within 10 s", (unsigned long long)unanswered);
    print_rates(&start, &end, connect_rate);
}

static void ask(struct connection *c) {
    static const unsigned char go[8] = {0x80 | TEXT, 0x82, 0, 0, 0, 0, 'g', 'o'};
    transmit_small(c, go, sizeof go);
}

/* Each connection asks once; then the server sends as fast as we read. */
static void run_receive(double connect_rate) {
    for (int i = 0; i < options.connections; i++)
        ask(&connections[i]);
    uint64_t begin_at = now_ns() + (uint64_t)(options.warmup * 1e9), end_at = UINT64_MAX;
    struct usage start = {0};
    struct epoll_event events[512];
    for (uint64_t time = now_ns(); time < end_at; time = now_ns()) {
        if (!measuring && time >= begin_at) {
            measuring = true;
            start = usage_of(options.pid);
            end_at = start.wall + (uint64_t)(options.seconds * 1e9);
        }
        int count = epoll_wait(epoll, events, 512, 10);
        for (int i = 0; i < count; i++)
            read_replies(events[i].data.ptr);
    }
    struct usage end = usage_of(options.pid);
    print_rates(&start, &end, connect_rate);
    for (int i = 0; i < options.connections; i++)
        drop(&connections[i]); /* a server that sends all the time would not hear us close */
}

/* One connection asks; the server sends per_round messages to all. The next round begins when all
   of them came, so that nothing but the sending is measured. */
static void run_broadcast(double connect_rate) {
    uint64_t wanted = (uint64_t)options.connections * (uint64_t)options.per_round, rounds = 0;
    uint64_t begin_at = now_ns() + (uint64_t)(options.warmup * 1e9), asked = now_ns();
    uint64_t deadline = begin_at + (uint64_t)(options.seconds * 1e9) + 10000000000u;
    struct usage start = {0}, end = {0};
    struct epoll_event events[512];
    ask(&connections[0]);
    for (;;) {
        int count = epoll_wait(epoll, events, 512, 1000);
        for (int i = 0; i < count; i++)
            read_replies(events[i].data.ptr);
        if (now_ns() > deadline)
            die("only %llu of %llu messages came", (unsigned long long)round_replies,
                (unsigned long long)wanted);
        if (round_replies < wanted)
            continue;
        end = usage_of(options.pid);
        if (measuring) {
            rounds++;
            record(end.wall - asked);
            if (end.wall - start.wall >= (uint64_t)(options.seconds * 1e9))
                break;
        } else if (end.wall >= begin_at) {
            measuring = true;
            start = end;
        }
        round_replies = 0;
        asked = now_ns();
        ask(&connections[0]);
    }
    print_rates(&start, &end, connect_rate);
}

static void run_idle(double connect_rate) {
    unsigned char frame[14] = {0x80 | BINARY};
    size_t size = options.pending_byte ? 1 : 0;
    if (options.declare > 0) {
        size = frame_header(frame, BINARY, options.declare, true);
        memcpy(frame + size, fixed_key, 4);
        size += 4;
    }
    for (int i = 0; size > 0 && i < options.connections; i++)
        transmit_small(&connections[i], frame, size);
    printf("{\"connections\": %d, \"connect_rate\": %.1f}\n", options.connections, connect_rate);
    hold();
}

/* Opens all connections, closes them on the clock or off it, and again until the time is over. */
static void run_handshakes(void) {
    struct usage sum = {0}, zero = {0};
    uint64_t handshakes = 0;
    for (int round = 0; round < 100; round++) {
        struct usage start = usage_of(options.pid);
        open_all();
        if (options.with_closing)
            close_all();
        struct usage end = usage_of(options.pid);
        if (round > 0) { /* the first is the warm-up */
            handshakes += (uint64_t)options.connections;
            sum.wall += end.wall - start.wall;
            sum.own += end.own - start.own;
            sum.server += end.server - start.server;
            sum.user += end.user - start.user;
            sum.system += end.system - start.system;
        }
        if (!options.with_closing)
            close_all();
        if (sum.wall >= (uint64_t)(options.seconds * 1e9))
            break;
    }
    printf("{\"messages\": %llu, \"rate\": %.1f, ", (unsigned long long)handshakes,
           (double)handshakes / ((double)sum.wall / 1e9));
    print_usage(&zero, &sum);
    printf("}\n");
}

int main(int argc, char **argv) {
    parse_options(argc, argv);
    raise_file_limit();
    alarm((unsigned)(options.warmup + options.seconds) + 120);
    make_patterns();
    connections = allocate((size_t)options.connections * sizeof *connections);
    epoll = epoll_create1(EPOLL_CLOEXEC);
    if (options.mode == HANDSHAKES) {
        run_handshakes();
        return 0;
    }
    uint64_t start = now_ns();
    open_all();
    double connect_rate = options.connections / ((double)(now_ns() - start) / 1e9);
    if (options.mode == RECEIVE) {
        run_receive(connect_rate);
        return 0;
    }
    if (options.mode == IDLE)
        run_idle(connect_rate);
    else if (options.mode == BROADCAST)
        run_broadcast(connect_rate);
    else
        run_echo(connect_rate);
    if (options.hold)
        hold();
    close_all();
    return 0;
}
