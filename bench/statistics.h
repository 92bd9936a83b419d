/* What the load generator counts besides messages: latencies and processor time. */
#ifndef WSFAST_BENCH_STATISTICS_H
#define WSFAST_BENCH_STATISTICS_H

#include "common.h"

/* Latencies in logarithmic buckets, 64 to a power of two: at most 1.6 % wide. */
static uint64_t buckets[64 * 64], recorded, longest;

static void record(uint64_t nanoseconds) {
    uint64_t value = nanoseconds < 64 ? 64 : nanoseconds;
    int exponent = 63 - __builtin_clzll(value);
    buckets[exponent * 64 + (int)(value >> (exponent - 6) & 63)]++;
    recorded++;
    if (nanoseconds > longest)
        longest = nanoseconds;
}

static double percentile_us(double share) {
    uint64_t rank = (uint64_t)(share * (double)recorded), seen = 0;
    for (int i = 0; i < 64 * 64; i++) {
        seen += buckets[i];
        if (seen > rank)
            return (double)((uint64_t)(64 + i % 64) << (i / 64 - 6)) / 1000;
    }
    return (double)longest / 1000;
}

/* Processor time of the server and of this process. The sum of the server's is exact; the kernel
   tells user and system apart by its clock tick, so only their proportion is taken from there. */

struct usage {
    uint64_t wall, own, server, user, system;
};

static struct usage usage_of(int pid) {
    struct usage usage = {.wall = now_ns(), .own = clock_ns(CLOCK_PROCESS_CPUTIME_ID)};
    if (pid == 0)
        return usage;
    clockid_t clock;
    char path[64], line[1024];
    if (clock_getcpuclockid(pid, &clock) != 0)
        die("no process %d", pid);
    usage.server = clock_ns(clock);
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    FILE *file = fopen(path, "r");
    if (file == NULL || fgets(line, sizeof line, file) == NULL)
        die("cannot read %s", path);
    fclose(file);
    /* The name is in parentheses and may hold anything; utime and stime are fields 14 and 15. */
    unsigned long long user, system;
    const char *rest = strrchr(line, ')');
    static const char fields[] = ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu";
    if (rest == NULL || sscanf(rest, fields, &user, &system) != 2)
        die("cannot parse %s", path);
    usage.user = user;
    usage.system = system;
    return usage;
}

static void print_usage(const struct usage *start, const struct usage *end) {
    double wall = (double)(end->wall - start->wall), server = (double)(end->server - start->server);
    double user = (double)(end->user - start->user), system = (double)(end->system - start->system);
    double share = user + system > 0 ? user / (user + system) : 0.5;
    printf("\"seconds\": %.4f, \"server_user\": %.6f, \"server_system\": %.6f, "
           "\"server_share\": %.3f, \"load_share\": %.3f",
           wall / 1e9, server * share / 1e9, server * (1 - share) / 1e9, server / wall,
           (double)(end->own - start->own) / wall);
}

#endif
