/* A call to the source, the same for every contender of `make bench-threads`.
 *
 * Either arithmetic in memory, or a round trip: a request over a connection to call_server, whose
 * answer comes CALL_NS after the request was sent, whatever the number of keys. The thread that asked
 * sleeps in recv meanwhile, as with a database, and a connection carries one call at a time.
 */
#ifndef BENCH_CALLS_H
#define BENCH_CALLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { CALL_NS = 200000, CALL_MAX_KEYS = 1024 };

typedef struct call_value {
    uint64_t w[4];
} call_value;

/* What goes to the server: this, then n keys. Back come n values. */
typedef struct call_request {
    uint64_t sent_ns; /* CLOCK_MONOTONIC, which is the same in every process */
    uint64_t n;       /* 1 .. CALL_MAX_KEYS */
} call_request;

/* One connection; fd < 0 = the source is in memory. Used by one thread at a time. */
typedef struct call_connection {
    int fd;
} call_connection;

/* What one thread asked of the source since it last reset its counts. */
typedef struct call_counts {
    uint64_t calls;
    uint64_t keys;
    uint64_t largest; /* keys in a call */
} call_counts;

/* What a key is worth, everywhere. */
static inline call_value call_value_of(uint64_t key)
{
    call_value v = {{key, key + 1, key + 2, key + 3}};
    return v;
}

/* Connects to the server at path; NULL = in memory. False when there is none. */
bool call_open(call_connection *c, const char *path);
void call_close(call_connection *c);

/* Asks for n keys, 1 .. CALL_MAX_KEYS: values[i] is that of keys[i]. Ends the process with a message
 * when the connection breaks: a benchmark has nothing better to do. */
void call_source(call_connection *c, const uint64_t *keys, size_t n, call_value *values);

/* The counts of the thread that calls, over all connections; call_counts_reset begins anew. A thread's
 * own, because a counter that threads share would cost more than a call in memory. */
call_counts call_counts_mine(void);
void call_counts_reset(void);

#endif /* BENCH_CALLS_H */
