/* A connection of the load generator: its socket, and TLS. */
#ifndef WSFAST_BENCH_CONNECTION_H
#define WSFAST_BENCH_CONNECTION_H

#include "common.h"
#include "load_options.h"

#include <sys/uio.h>

#ifdef WITH_TLS
#include <openssl/err.h>
#include <openssl/ssl.h>
#else
typedef void SSL;
#endif

enum { READ_SIZE = 256 * 1024 };

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

    /* With compression: the header of the reply under way, its whole size once that is known, where
       in the pool this connection began, and what inflates its replies while they are checked. */
    unsigned char reply_head[10];
    size_t reply_size, first;
    struct checker *checker;
};

static struct connection *connections;
static int epoll;
static unsigned char read_buffer[READ_SIZE];
static bool stopping;
static const unsigned char fixed_key[4] = {0x37, 0xfa, 0x21, 0x3d};

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

#endif
