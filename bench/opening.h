/* Opening and closing handshakes. */
#ifndef WSFAST_BENCH_OPENING_H
#define WSFAST_BENCH_OPENING_H

#include "connection.h"
#include "deflate.h"

enum {
    AT_ONCE = 64, /* opening handshakes under way, within any server's backlog */
    HEAD_SIZE = 2048,
};

static void request_upgrade(struct connection *c) {
    char offer[256] = "", request[512];
    if (options.deflate)
        write_offer(offer, sizeof offer);
    int size = snprintf(request, sizeof request,
                        "GET / HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\n"
                        "Connection: Upgrade\r\nSec-WebSocket-Key: " HANDSHAKE_KEY "\r\n"
                        "Sec-WebSocket-Version: 13\r\n%s\r\n",
                        options.port, offer);
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
    if (options.deflate)
        check_agreement(c->head);
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

#endif
