/* The load generator: one thread, one epoll instance, many connections. See usage() for the modes. */
#include "common.h"
#include "load_options.h"
#include "connection.h"
#include "deflate.h"
#include "opening.h"
#include "pattern.h"
#include "statistics.h"

enum { OPEN_LOOP_RING = 4096 }; /* unanswered messages on a connection with a fixed rate */

/* What is counted while measuring. */

static bool measuring;
static uint64_t messages, polite_messages, round_replies, reply_bytes;

/* Sending */

static size_t request_size_of(const struct connection *c, uint64_t message) {
    return options.deflate ? deflated_size(c, message) : request_size;
}

/* Sends what is allowed, as far as the socket takes it. */
static void pump(struct connection *c) {
    while (c->sent < c->allowed) {
        ssize_t count = options.deflate ? send_deflated(c) : send_slices(c);
        if (count == 0)
            die("the connection was lost while sending: %s", strerror(errno));
        if (count < 0) {
            if (!c->waits_to_write)
                watch(c, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT);
            c->waits_to_write = true;
            return;
        }
        c->out_offset += (size_t)count;
        for (size_t size; c->out_offset >= (size = request_size_of(c, c->sent)); c->sent++)
            c->out_offset -= size;
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

static void count_message(struct connection *c, size_t frame, uint64_t time) {
    c->received++;
    round_replies++;
    if (!measuring)
        return;
    messages++;
    reply_bytes += frame;
    if (options.mode == ECHO && !c->flooder) {
        polite_messages++;
        record(time - c->sent_at[(c->received - 1) % c->ring]);
    }
}

static void consume_slices(struct connection *c, const unsigned char *data, size_t size, uint64_t time) {
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
            count_message(c, reply_size, time);
        }
    }
}

static void consume(struct connection *c, const unsigned char *data, size_t size, uint64_t time) {
    if (!options.deflate) {
        consume_slices(c, data, size, time);
        return;
    }
    while (size > 0) {
        size_t count = consume_deflated(c, data, size), frame = c->reply_size;
        data += count;
        size -= count;
        if (frame > 0 && c->in_offset == frame) {
            c->in_offset = c->reply_size = 0;
            count_message(c, frame, time);
        }
    }
}

static uint64_t read_replies(struct connection *c) {
    uint64_t time;
    ssize_t count;
    do {
        size_t drop_size = options.deflate ? 0 : droppable(c);
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
    if (options.deflate && messages > 0)
        printf("\"ratio\": %.5f, ", (double)reply_bytes / (double)messages / (double)options.size);
    print_usage(start, end);
    printf("}\n");
}

static void exchange(struct connection *c, uint32_t events) {
    uint64_t time = events & EPOLLIN ? read_replies(c) : now_ns();
    uint64_t depth = (uint64_t)(c->flooder ? options.flood_depth : options.depth);
    if (stopping || (options.rate > 0 && unchecked == 0 && !c->flooder)) {
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

/* Sends nothing more; returns how many messages had no answer within 10 s. */
static uint64_t await_answers(void) {
    uint64_t unanswered = 1;
    stopping = true;
    for (uint64_t deadline = now_ns() + 10000000000u; unanswered > 0 && now_ns() < deadline;) {
        wait_and_exchange(10);
        unanswered = 0;
        for (int i = 0; i < options.connections; i++)
            unanswered += connections[i].allowed - connections[i].received;
    }
    return unanswered;
}

/* Sends the first messages. */
static void begin_echo(void) {
    for (int i = 0; i < options.connections; i++) {
        struct connection *c = &connections[i];
        c->flooder = i >= options.connections - options.flooders;
        c->ring = (uint32_t)(c->flooder         ? options.flood_depth
                             : options.rate > 0 ? OPEN_LOOP_RING
                                                : options.depth);
        c->sent_at = allocate(c->ring * sizeof *c->sent_at);
        exchange(c, 0);
    }
}

static void run_echo(double connect_rate) {
    uint64_t begin_at = now_ns() + (uint64_t)(options.warmup * 1e9), end_at = UINT64_MAX, turn = 0;
    uint64_t few = (uint64_t)options.connections;
    begin_echo();
    double due = (double)now_ns();
    struct usage start = {0};
    for (uint64_t time = now_ns(); !is_over(time, end_at, messages < 2 * few); time = now_ns()) {
        if (unchecked > 0) {
            due = (double)time;
        } else if (!measuring && is_over(time, begin_at, round_replies < few)) {
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
    uint64_t unanswered = await_answers();
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
        } else if (end.wall >= begin_at && unchecked == 0) {
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
    if (unchecked > 0) { /* with compression: not before all of them have used it */
        begin_echo();
        while (unchecked > 0)
            wait_and_exchange(10);
        if (await_answers() > 0)
            die("some messages were not answered within 10 s");
    }
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
    if (options.deflate) {
        read_pool();
        prepare_pool();
    } else {
        make_patterns();
    }
    connections = allocate((size_t)options.connections * sizeof *connections);
    epoll = epoll_create1(EPOLL_CLOEXEC);
    if (options.mode == HANDSHAKES) {
        run_handshakes();
        return 0;
    }
    uint64_t start = now_ns();
    open_all();
    double connect_rate = options.connections / ((double)(now_ns() - start) / 1e9);
    if (options.deflate && options.mode != RECEIVE)
        for (int i = 0; i < options.connections; i++)
            start_checking(&connections[i]);
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
