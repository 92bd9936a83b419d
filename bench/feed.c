/* The bare server in C, without a library and with only the checks that it cannot do without: what
   the system calls cost.

   usage: feed PORT [echo|broadcast|stream] [--count MESSAGES] [--size BYTES]

   echo       answers the messages of a read in one write
   broadcast  at each message sends COUNT messages of SIZE bytes to every client
   stream     after the upgrade sends messages of SIZE bytes as fast as the client takes them,
              COUNT of them in one write; one client after another */
#include "common.h"

#include <getopt.h>
#include <signal.h>

enum { READ_SIZE = 256 * 1024, HEAD_SIZE = 4096 };

struct buffer {
    unsigned char *data;
    size_t size, room;
};

struct client {
    int fd, index;
    bool upgraded, waits_to_write;
    struct buffer input, output; /* what is incomplete, and what the socket did not take */
};

static int epoll;
static unsigned char read_buffer[READ_SIZE];
static struct client *clients[MAX_FILES];
static int client_count;
static unsigned char *message;
static size_t message_size;
static int count_each = 1;
static bool echoes;

static void append(struct buffer *buffer, const unsigned char *data, size_t size) {
    if (buffer->size + size > buffer->room) {
        buffer->room = 2 * (buffer->size + size);
        buffer->data = realloc(buffer->data, buffer->room);
        if (buffer->data == NULL)
            die("out of memory: %zu bytes", buffer->room);
    }
    memcpy(buffer->data + buffer->size, data, size);
    buffer->size += size;
}

static void release(struct buffer *buffer) {
    free(buffer->data);
    *buffer = (struct buffer){0};
}

/* The clients all send the key of load.c or bring their own: its SHA-1 is theirs to check. */

static uint32_t rotate(uint32_t value, int bits) { return value << bits | value >> (32 - bits); }

static void sha1_block(uint32_t state[5], const unsigned char *block) {
    uint32_t w[80], a = state[0], b = state[1], c = state[2], d = state[3], e = state[4];
    for (int i = 0; i < 16; i++)
        w[i] = (uint32_t)block[4 * i] << 24 | (uint32_t)block[4 * i + 1] << 16 |
               (uint32_t)block[4 * i + 2] << 8 | block[4 * i + 3];
    for (int i = 16; i < 80; i++)
        w[i] = rotate(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
    for (int i = 0; i < 80; i++) {
        uint32_t f = i < 20   ? ((b & c) | (~b & d)) + 0x5a827999
                     : i < 40 ? (b ^ c ^ d) + 0x6ed9eba1
                     : i < 60 ? ((b & c) | (b & d) | (c & d)) + 0x8f1bbcdc
                              : (b ^ c ^ d) + 0xca62c1d6;
        uint32_t next = rotate(a, 5) + f + e + w[i];
        e = d;
        d = c;
        c = rotate(b, 30);
        b = a;
        a = next;
    }
    uint32_t sums[5] = {a, b, c, d, e};
    for (int i = 0; i < 5; i++)
        state[i] += sums[i];
}

/* RFC 6455 section 4.2.2: 24 bytes of key and 36 of GUID, which are two blocks with the padding. */
static void accept_key(const char *key, char *accept) {
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    uint32_t state[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
    unsigned char blocks[128] = {0}, digest[21] = {0};
    memcpy(blocks, key, 24);
    memcpy(blocks + 24, "258EAFA5-E914-47DA-95CA-C5AB0DC85B11", 36);
    blocks[60] = 0x80;
    blocks[126] = 60 * 8 >> 8;
    blocks[127] = 60 * 8 & 255;
    sha1_block(state, blocks);
    sha1_block(state, blocks + 64);
    for (int i = 0; i < 20; i++)
        digest[i] = (unsigned char)(state[i / 4] >> (24 - i % 4 * 8));
    for (int i = 0; i < 7; i++) {
        uint32_t three = (uint32_t)digest[3 * i] << 16 | (uint32_t)digest[3 * i + 1] << 8 |
                         digest[3 * i + 2];
        for (int j = 0; j < 4; j++)
            accept[4 * i + j] = letters[three >> (18 - 6 * j) & 63];
    }
    accept[27] = '=';
    accept[28] = '\0';
}

/* Answers the request at the head of `text`; the length of the request, 0 if it is incomplete. */
static size_t answer_request(int fd, const char *text) {
    static const char name[] = "\r\nSec-WebSocket-Key:";
    const char *end = strstr(text, "\r\n\r\n"), *key = strcasestr(text, name);
    char accept[29], response[256];
    if (end == NULL)
        return 0;
    if (key == NULL || end - key < (long)sizeof name + 24)
        die("not a WebSocket request: %s", text);
    key += sizeof name - 1;
    accept_key(key + strspn(key, " "), accept);
    int size = snprintf(response, sizeof response,
                        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                        "Connection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
                        accept);
    if (send(fd, response, (size_t)size, MSG_NOSIGNAL) != size)
        return 0;
    return (size_t)(end + 4 - text);
}

static int listen_on(int port) {
    struct sockaddr_in address = loopback(port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(fd, (struct sockaddr *)&address, sizeof address) != 0 || listen(fd, 1024) != 0)
        die("cannot listen on port %d: %s", port, strerror(errno));
    return fd;
}

/* stream */

static void stream_to(int fd, const unsigned char *data, size_t size) {
    char text[HEAD_SIZE];
    size_t length = 0, request = 0;
    while (request == 0) {
        ssize_t count = recv(fd, text + length, HEAD_SIZE - 1 - length, 0);
        if (count <= 0)
            return;
        length += (size_t)count;
        text[length] = '\0';
        request = answer_request(fd, text);
    }
    /* It blocks while the client is slower, and writes whole bursts only. */
    while (send(fd, data, size, MSG_NOSIGNAL) == (ssize_t)size) {
    }
}

static void run_stream(int listener) {
    unsigned char *data = allocate(message_size * (size_t)count_each);
    for (int i = 0; i < count_each; i++)
        memcpy(data + message_size * (size_t)i, message, message_size);
    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0)
            die("accept: %s", strerror(errno));
        set_nodelay(fd);
        stream_to(fd, data, message_size * (size_t)count_each);
        close(fd);
    }
}

/* echo and broadcast */

static void watch(struct client *client, int operation, uint32_t events) {
    struct epoll_event event = {.events = events, .data.ptr = client};
    epoll_ctl(epoll, operation, client->fd, &event);
}

static void end(struct client *client) {
    close(client->fd);
    release(&client->input);
    release(&client->output);
    clients[client->index] = clients[--client_count];
    clients[client->index]->index = client->index;
    free(client);
}

static void transmit(struct client *client, const unsigned char *data, size_t size) {
    if (client->output.size == 0) {
        ssize_t sent = send(client->fd, data, size, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent == (ssize_t)size)
            return;
        if (sent < 0 && errno != EAGAIN)
            return; /* the next read tells */
        data += sent > 0 ? sent : 0;
        size -= sent > 0 ? (size_t)sent : 0;
    }
    append(&client->output, data, size);
    if (!client->waits_to_write)
        watch(client, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT);
    client->waits_to_write = true;
}

static void transmit_rest(struct client *client) {
    struct buffer rest = client->output;
    client->output = (struct buffer){0};
    client->waits_to_write = false;
    watch(client, EPOLL_CTL_MOD, EPOLLIN);
    transmit(client, rest.data, rest.size);
    release(&rest);
}

static void broadcast(void) {
    for (int i = 0; i < count_each; i++)
        for (int j = 0; j < client_count; j++)
            if (clients[j]->upgraded)
                transmit(clients[j], message, message_size);
}

/* The target is at least 4 bytes in front of the payload, so that nothing unread is overwritten. */
static void unmask(unsigned char *target, const unsigned char *payload, const unsigned char key[8],
                   size_t length) {
    uint64_t key_word, word;
    size_t i = 0;
    memcpy(&key_word, key, 8);
    for (; i + 8 <= length; i += 8) {
        memcpy(&word, payload + i, 8);
        word ^= key_word;
        memcpy(target + i, &word, 8);
    }
    for (; i < length; i++)
        target[i] = payload[i] ^ key[i & 3];
}

/* Handles the frames in `data`, in place: the answers are not longer than what they answer.
   Returns how much is left at the end; -1 if the connection is to be ended. */
static ssize_t handle_frames(struct client *client, unsigned char *data, size_t size) {
    size_t position = 0, answered = 0;
    while (size - position >= 6) {
        unsigned char *frame = data + position;
        uint64_t length = frame[1] & 0x7f;
        size_t header = 2;
        if (length >= 126) {
            size_t bytes = length == 126 ? 2 : 8;
            if (size - position < 2 + bytes + 4)
                break;
            length = 0;
            for (size_t i = 0; i < bytes; i++)
                length = length << 8 | frame[2 + i];
            header += bytes;
        }
        if ((frame[1] & 0x80) == 0 || length > MAX_MESSAGE)
            return -1;
        if (size - position < header + 4 + length)
            break;
        int opcode = frame[0] & 0xf;
        if (opcode == CLOSE)
            return -1;
        if (echoes) {
            unsigned char key[8];
            memcpy(key, frame + header, 4);
            memcpy(key + 4, key, 4);
            int answer = opcode == PING ? PONG : opcode;
            size_t size_of_header = frame_header(data + answered, answer, length, false);
            unmask(data + answered + size_of_header, frame + header + 4, key, length);
            answered += size_of_header + length;
        } else {
            broadcast();
        }
        position += header + 4 + length;
    }
    if (answered > 0)
        transmit(client, data, answered);
    return (ssize_t)(size - position);
}

static void handle(struct client *client) {
    ssize_t count = recv(client->fd, read_buffer, READ_SIZE, MSG_DONTWAIT), left;
    if (count == 0 || (count < 0 && errno != EAGAIN)) {
        end(client);
        return;
    }
    if (count < 0)
        return;
    unsigned char *data = read_buffer;
    size_t size = (size_t)count;
    if (client->input.size > 0 || !client->upgraded) {
        append(&client->input, read_buffer, size);
        data = client->input.data;
        size = client->input.size;
    }
    if (!client->upgraded) {
        append(&client->input, (const unsigned char *)"", 1);
        client->input.size--;
        client->upgraded = answer_request(client->fd, (char *)client->input.data) > 0;
        if (client->upgraded)
            release(&client->input); /* our clients wait for the answer */
        return;
    }
    left = handle_frames(client, data, size);
    if (left < 0) {
        end(client);
    } else if (data == client->input.data) {
        if (left == 0) {
            release(&client->input);
            return;
        }
        memmove(client->input.data, data + size - left, (size_t)left);
        client->input.size = (size_t)left;
    } else if (left > 0) {
        append(&client->input, data + size - left, (size_t)left);
    }
}

static void accept_all(int listener) {
    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0)
            return;
        if (client_count == MAX_FILES)
            die("too many clients");
        set_nodelay(fd);
        struct client *client = allocate(sizeof *client);
        client->fd = fd;
        client->index = client_count;
        clients[client_count++] = client;
        watch(client, EPOLL_CTL_ADD, EPOLLIN);
    }
}

static void run_events(int listener) {
    struct epoll_event events[512], event = {.events = EPOLLIN};
    epoll = epoll_create1(EPOLL_CLOEXEC);
    fcntl(listener, F_SETFL, O_NONBLOCK);
    epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
    for (;;) {
        int count = epoll_wait(epoll, events, 512, -1);
        for (int i = 0; i < count; i++) {
            struct client *client = events[i].data.ptr;
            if (client == NULL) {
                accept_all(listener);
                continue;
            }
            if (events[i].events & EPOLLOUT)
                transmit_rest(client);
            if (events[i].events & ~(uint32_t)EPOLLOUT)
                handle(client);
        }
    }
}

static int number(const char *text, int high) {
    int value = text == NULL ? 0 : atoi(text);
    if (value < 1 || value > high)
        die("usage: feed PORT [echo|broadcast|stream] [--count MESSAGES] [--size BYTES]");
    return value;
}

int main(int argc, char **argv) {
    static const struct option known[] = {{"count", 1, NULL, 'c'}, {"size", 1, NULL, 's'}, {0}};
    size_t size = 128;
    int which;
    while ((which = getopt_long(argc, argv, "", known, NULL)) != -1) {
        if (which == 'c')
            count_each = number(optarg, 1024);
        else
            size = (size_t)number(which == 's' ? optarg : NULL, (int)MAX_MESSAGE);
    }
    int port = number(argv[optind], 65535);
    const char *mode = argc > optind + 1 ? argv[optind + 1] : "echo";
    signal(SIGPIPE, SIG_IGN);
    raise_file_limit();
    message = allocate(size + 10);
    message_size = frame_header(message, TEXT, size, false);
    fill(message + message_size, size);
    message_size += size;
    echoes = strcmp(mode, "echo") == 0;
    int listener = listen_on(port);
    if (strcmp(mode, "stream") == 0)
        run_stream(listener);
    else
        run_events(listener);
}
