/* Threads in closed loops: each loads one new key after the other. What a contender of
 * `make bench-threads` has to provide, and what threads.c does with it.
 *
 * A contender links threads.c, calls.c and harness.c, and calls threads_main. By hand, without the
 * driver, one line of figures on standard output:
 *
 *   build/threads_ours_pthread threads=8 memory=0 ms=1000 warm_ms=200 settle_ns=0 in_flight=0
 *
 * settle_ns and in_flight are for the contenders that have them; 0 = as they come. The server is the
 * call_server beside the program, or the one at server=PATH. name= and note= are for the page.
 */
#ifndef BENCH_THREADS_H
#define BENCH_THREADS_H

#include "calls.h"
#include "harness.h"

enum { THREADS_MAX = 32, THREADS_MAX_BATCH = 100, THREADS_CAPACITY = 10000 };

typedef struct threads_setting {
    const char *server; /* for call_open; NULL = in memory */
    unsigned n_threads;
    uint64_t settle_ns;
    uint64_t in_flight;
} threads_setting;

typedef struct threads_contender {
    const char *name;
    const char *note;
    /* Makes what the threads share; fails the reply when it cannot. */
    void (*open)(const threads_setting *setting, bench_reply *reply);
    /* Loads a key from thread number 0 .. n_threads - 1, which itself makes the call that is due: calls of
     * other threads are not counted. False = an error. */
    bool (*load)(unsigned thread, uint64_t key, call_value *out);
    void (*close)(bench_reply *reply);
} threads_contender;

/* Serves the driver, or measures once when argv says threads=. Returns main's exit status. */
int threads_main(int argc, char **argv, const threads_contender *contender);

#endif /* BENCH_THREADS_H */
