/* `make bench-threads` without batches: PLAIN_SHARED 1 = one connection and a mutex around each call,
 * 0 = a connection for each thread. No cache.
 */
#include "threads.h"

#include <pthread.h>

#ifndef PLAIN_SHARED
#define PLAIN_SHARED 1
#endif

static call_connection connections[THREADS_MAX];
static unsigned n_connections;
#if PLAIN_SHARED
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
#endif

static void open_plain(const threads_setting *setting, bench_reply *reply)
{
    n_connections = PLAIN_SHARED ? 1 : setting->n_threads;
    for (unsigned i = 0; i < n_connections; i++) {
        if (!call_open(&connections[i], setting->server)) {
            bench_fail(reply, "no connection to the server");
        }
    }
}

static bool load_plain(unsigned thread, uint64_t key, call_value *out)
{
#if PLAIN_SHARED
    (void)thread;
    pthread_mutex_lock(&mutex);
    call_source(&connections[0], &key, 1, out);
    pthread_mutex_unlock(&mutex);
#else
    call_source(&connections[thread], &key, 1, out);
#endif
    return true;
}

static void close_plain(bench_reply *reply)
{
    (void)reply;
    for (unsigned i = 0; i < n_connections; i++) {
        call_close(&connections[i]);
    }
}

int main(int argc, char **argv)
{
    static const threads_contender contender = {
#if PLAIN_SHARED
        "one-connection",
        "a mutex around each call of one key, no cache",
#else
        "connection-per-thread",
        "each thread calls for one key by itself, no cache",
#endif
        open_plain,
        load_plain,
        close_plain
    };
    return threads_main(argc, argv, &contender);
}
