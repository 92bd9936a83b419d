/* What the load generator and the bare C server share: time, errors, frame headers. */
#ifndef WSFAST_BENCH_COMMON_H
#define WSFAST_BENCH_COMMON_H

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MAX_FILES 20000
#define MAX_MESSAGE ((size_t)1 << 25)
#define TEXT 0x1
#define BINARY 0x2
#define CLOSE 0x8
#define PING 0x9
#define PONG 0xa

/* The example of RFC 6455 section 1.3: always the same, so that the answer is known. */
#define HANDSHAKE_KEY "dGhlIHNhbXBsZSBub25jZQ=="
#define HANDSHAKE_ACCEPT "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

/* What the servers send on their own account, over and over until the size is reached. */
#define FILLER "0123456789abcdef"

__attribute__((noreturn, format(printf, 1, 2))) static inline void die(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    exit(1);
}

static inline void *allocate(size_t size) {
    void *memory = calloc(1, size ? size : 1);
    if (memory == NULL)
        die("out of memory: %zu bytes", size);
    return memory;
}

static inline uint64_t clock_ns(clockid_t clock) {
    struct timespec time;
    clock_gettime(clock, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static inline uint64_t now_ns(void) { return clock_ns(CLOCK_MONOTONIC); }

static inline void fill(unsigned char *target, size_t size) {
    for (size_t i = 0; i < size; i++)
        target[i] = (unsigned char)FILLER[i % (sizeof FILLER - 1)];
}

/* Writes the header of an unfragmented frame without its key; returns its length. */
static inline size_t frame_header(unsigned char *header, int opcode, uint64_t length, bool masked) {
    unsigned char mask = masked ? 0x80 : 0;
    header[0] = (unsigned char)(0x80 | opcode);
    if (length < 126) {
        header[1] = (unsigned char)(mask | length);
        return 2;
    }
    int bytes = length < 65536 ? 2 : 8;
    header[1] = mask | (bytes == 2 ? 126 : 127);
    for (int i = 0; i < bytes; i++)
        header[2 + i] = (unsigned char)(length >> 8 * (bytes - 1 - i));
    return 2 + (size_t)bytes;
}

static inline void raise_file_limit(void) {
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    rlim_t wanted = limit.rlim_max < MAX_FILES ? limit.rlim_max : MAX_FILES;
    if (limit.rlim_cur < wanted) {
        limit.rlim_cur = wanted;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static inline void set_nodelay(int fd) {
    int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

static inline struct sockaddr_in loopback(int port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

#endif
