/* `make bench-threads`: dataloader.h, called by threads. THREADS_VARIANT and THREADS_LOCK choose.
 *
 * The settings are as they come but for the capacity: up to four batches run side by side, so there
 * are four connections, and a batch takes one that is free.
 */
#include "threads.h"

#include <string.h>

#ifndef THREADS_VARIANT
#define THREADS_VARIANT "ours-pthread"
#endif
#ifndef THREADS_LOCK
#define THREADS_LOCK DLOAD_LOCK_PTHREAD
#endif

#define DLOAD_NAME  ours
#define DLOAD_KEY   uint64_t
#define DLOAD_VALUE call_value
#define DLOAD_LOCK  THREADS_LOCK
#include "dataloader.h"

enum { MAX_CONNECTIONS = 32, DEFAULT_IN_FLIGHT = 4 };

static ours loader;
static call_connection connections[MAX_CONNECTIONS];
static uint64_t n_connections;
static uint32_t free_connections; /* bit i = connection i; by atomic operations */

/* There are as many connections as batches may run: one is always free. */
static unsigned take_connection(void)
{
    uint32_t seen = __atomic_load_n(&free_connections, __ATOMIC_RELAXED);
    while (!__atomic_compare_exchange_n(&free_connections, &seen, seen & (seen - 1), false,
                                        __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) {
    }
    return (unsigned)__builtin_ctz(seen);
}

static dload_status fetch(ours_batch *b)
{
    call_value values[THREADS_MAX_BATCH];
    unsigned at = take_connection();
    call_source(&connections[at], b->keys, b->n, values);
    __atomic_fetch_or(&free_connections, UINT32_C(1) << at, __ATOMIC_RELEASE);
    for (size_t i = 0; i < b->n; i++) {
        ours_batch_set(b, i, &values[i]);
    }
    return DLOAD_OK;
}

static void open_ours(const threads_setting *setting, bench_reply *reply)
{
    ours_config config = ours_config_default();
    config.fetch = fetch;
    config.capacity = THREADS_CAPACITY;
    config.max_batch = THREADS_MAX_BATCH; /* the default */
    if (setting->settle_ns != 0) {
        config.settle_ns = setting->settle_ns;
    }
    n_connections = DEFAULT_IN_FLIGHT;
    if (setting->in_flight != 0 && setting->in_flight < MAX_CONNECTIONS) {
        config.max_in_flight = (size_t)setting->in_flight;
        n_connections = setting->in_flight;
    }
    free_connections = (UINT32_C(1) << n_connections) - 1;
    for (uint64_t i = 0; i < n_connections; i++) {
        if (!call_open(&connections[i], setting->server)) {
            bench_fail(reply, "no connection to the server");
        }
    }
    dload_status st = ours_init(&loader, &config);
    if (st != DLOAD_OK) {
        bench_fail(reply, "init: %s", dload_strerror(st));
    }
}

static bool load_ours(unsigned thread, uint64_t key, call_value *out)
{
    (void)thread;
    return ours_load(&loader, key, out) == DLOAD_OK;
}

static void close_ours(bench_reply *reply)
{
    dload_stats stats = {0};
    ours_stats(&loader, &stats);
    if (stats.keys != stats.misses) {
        bench_fail(reply, "%llu distinct keys missed, %llu sent", (unsigned long long)stats.misses,
                   (unsigned long long)stats.keys);
    }
    dload_status st = ours_close(&loader, DLOAD_DRAIN, 0);
    if (st == DLOAD_OK) {
        st = ours_destroy(&loader);
    }
    if (st != DLOAD_OK) {
        bench_fail(reply, "the end: %s", dload_strerror(st));
    }
    for (uint64_t i = 0; i < n_connections; i++) {
        call_close(&connections[i]);
    }
}

int main(int argc, char **argv)
{
    static const threads_contender contender = {THREADS_VARIANT,
                                                "dataloader.h with the lock in its name; all "
                                                "settings as they come but for the capacity; up "
                                                "to 4 batches side by side, on 4 connections",
                                                open_ours, load_ours, close_ours};
    return threads_main(argc, argv, &contender);
}
