/* The command line of the load generator. */
#ifndef WSFAST_BENCH_LOAD_OPTIONS_H
#define WSFAST_BENCH_LOAD_OPTIONS_H

#include "common.h"

#include <getopt.h>

enum mode { ECHO, RECEIVE, BROADCAST, IDLE, HANDSHAKES };
static struct {
    enum mode mode;
    int port, pid, connections, depth, flooders, flood_depth, per_round, opcode;
    size_t size;
    uint64_t declare;
    double rate, warmup, seconds;
    bool tls, random_keys, sliding, pending_byte, hold, with_closing;
    bool deflate, server_no_takeover, client_no_takeover;
    int server_bits, client_bits, level, mem_level;
    const char *messages; /* the path of the pool */
} options = {
    .connections = 100,
    .depth = 1,
    .flood_depth = 256,
    .per_round = 1,
    .opcode = TEXT,
    .size = 32,
    .warmup = 0.2,
    .seconds = 1,
    .server_bits = 15,
    .client_bits = 15,
    .level = 6,
    .mem_level = 8,
};

static void usage(void) {
    fputs("usage: load --port PORT [options]\n"
          "  --connections N --size BYTES --binary --ping --random-keys --tls --pid SERVER\n"
          "  --warmup SECONDS --seconds SECONDS\n"
          "  echo (the mode without another option):\n"
          "    --depth D        messages in flight on each connection; the next D are sent when\n"
          "                     all replies are in, or with --sliding one for each reply\n"
          "    --rate R         so many messages a second over all connections, answered or not\n"
          "    --flooders F     F connections keep 256 messages (--flood-depth) in flight\n"
          "    --hold           keep the connections open until standard input ends\n"
          "  --receive          ask once on each connection, then only read\n"
          "  --broadcast K      ask on one connection, wait for K messages on all, ask again\n"
          "  --handshakes       open all connections, close them, open them again; closing counts\n"
          "                     only with --with-closing\n"
          "  --idle             open all, and hold them; first send one byte of a frame\n"
          "                     (--pending-byte) or a header for --declare BYTES\n"
          "  permessage-deflate, whose answers are checked before anything is measured:\n"
          "    --deflate FILE   messages of --size bytes, one after the other\n"
          "    --server-bits N --client-bits N                   windows, 9 to 15 (15)\n"
          "    --server-no-takeover --client-no-takeover         whose messages stand alone\n"
          "    --level N --mem-level N                           of what is sent (6, 8)\n",
          stderr);
    exit(2);
}

static double number(const char *name, const char *text, double low, double high) {
    char *end;
    double value = strtod(text, &end);
    if (*end != '\0' || !(value >= low && value <= high))
        die("--%s must be from %g to %g", name, low, high);
    return value;
}

static void parse_options(int argc, char **argv) {
    static const struct option known[] = {
        {"port", 1, NULL, 'p'},       {"pid", 1, NULL, 'P'},          {"connections", 1, NULL, 'c'},
        {"depth", 1, NULL, 'd'},      {"size", 1, NULL, 's'},         {"binary", 0, NULL, 'b'},
        {"random-keys", 0, NULL, 'k'}, {"tls", 0, NULL, 't'},         {"rate", 1, NULL, 'r'},
        {"flooders", 1, NULL, 'f'},   {"flood-depth", 1, NULL, 'F'},  {"sliding", 0, NULL, 'S'},
        {"warmup", 1, NULL, 'w'},     {"seconds", 1, NULL, 'm'},      {"hold", 0, NULL, 'h'},
        {"receive", 0, NULL, 'R'},    {"broadcast", 1, NULL, 'B'},    {"handshakes", 0, NULL, 'H'},
        {"idle", 0, NULL, 'i'},       {"pending-byte", 0, NULL, '1'}, {"declare", 1, NULL, 'D'},
        {"with-closing", 0, NULL, 'C'}, {"ping", 0, NULL, 'g'},
        {"deflate", 1, NULL, 'z'},    {"server-bits", 1, NULL, 'v'},  {"client-bits", 1, NULL, 'V'},
        {"level", 1, NULL, 'l'},      {"mem-level", 1, NULL, 'L'},
        {"server-no-takeover", 0, NULL, 'n'}, {"client-no-takeover", 0, NULL, 'N'},
        {0},
    };
    int which, index = 0;
    while ((which = getopt_long(argc, argv, "", known, &index)) != -1) {
        const char *name = known[index].name;
        switch (which) {
        case 'p': options.port = (int)number(name, optarg, 1, 65535); break;
        case 'P': options.pid = (int)number(name, optarg, 1, 1 << 22); break;
        case 'c': options.connections = (int)number(name, optarg, 1, MAX_FILES - 100); break;
        case 'd': options.depth = (int)number(name, optarg, 1, 4096); break;
        case 's': options.size = (size_t)number(name, optarg, 1, (double)MAX_MESSAGE); break;
        case 'b': options.opcode = BINARY; break;
        case 'g': options.opcode = PING; break;
        case 'k': options.random_keys = true; break;
        case 't': options.tls = true; break;
        case 'r': options.rate = number(name, optarg, 1, 1e8); break;
        case 'f': options.flooders = (int)number(name, optarg, 0, 10000); break;
        case 'F': options.flood_depth = (int)number(name, optarg, 1, 65536); break;
        case 'S': options.sliding = true; break;
        case 'w': options.warmup = number(name, optarg, 0, 60); break;
        case 'm': options.seconds = number(name, optarg, 0.01, 60); break;
        case 'h': options.hold = true; break;
        case 'R': options.mode = RECEIVE; break;
        case 'B':
            options.mode = BROADCAST;
            options.per_round = (int)number(name, optarg, 1, 1024);
            break;
        case 'H': options.mode = HANDSHAKES; break;
        case 'C': options.with_closing = true; break;
        case 'i': options.mode = IDLE; break;
        case '1': options.pending_byte = true; break;
        case 'D': options.declare = (uint64_t)number(name, optarg, 1, (double)MAX_MESSAGE); break;
        case 'z':
            options.deflate = true;
            options.messages = optarg;
            break;
        case 'v': options.server_bits = (int)number(name, optarg, 9, 15); break;
        case 'V': options.client_bits = (int)number(name, optarg, 9, 15); break;
        case 'l': options.level = (int)number(name, optarg, 0, 9); break;
        case 'L': options.mem_level = (int)number(name, optarg, 1, 9); break;
        case 'n': options.server_no_takeover = true; break;
        case 'N': options.client_no_takeover = true; break;
        default: usage();
        }
    }
    if (optind != argc || options.port == 0)
        usage();
    if (options.opcode == PING && options.size > 125)
        die("a ping has at most 125 bytes");
    if (options.flooders >= options.connections && options.flooders > 0)
        die("--flooders must be less than --connections");
    if (options.deflate && options.opcode == PING)
        die("a ping is not compressed");
#ifndef WITH_ZLIB
    if (options.deflate)
        die("built without zlib (Debian: zlib1g-dev)");
#endif
#ifndef WITH_TLS
    if (options.tls)
        die("built without TLS");
#endif
}

#endif
