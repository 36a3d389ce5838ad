/* `make bench-threads`: what one writes in an afternoon instead of using dataloader.h.
 *
 * Callers queue up behind one connection. Who finds it free sends everything that is queued as one
 * call; who comes meanwhile sleeps. When the call is back, its callers are woken, each through a
 * condition variable of its own, and the connection is handed to the first of those who came
 * meanwhile. No cache, and two callers of the same key ask for it twice.
 */
#include "threads.h"

#include <pthread.h>
#include <stddef.h>

/* One load; lives on the stack of its caller. All fields are under the mutex. */
typedef struct request {
    uint64_t key;
    call_value value;
    bool done;
    bool leads; /* the connection is this caller's */
    pthread_cond_t wake;
    struct request *next;
} request;

static call_connection connection;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static request *pending; /* not sent yet, the oldest first */
static request **pending_tail = &pending;
static bool busy; /* the connection has a leader */

/* Sends what is queued, the leader's own request first. The mutex is held, and let go meanwhile. */
static void send_pending(const request *leader)
{
    request *batch[THREADS_MAX_BATCH];
    uint64_t keys[THREADS_MAX_BATCH];
    call_value values[THREADS_MAX_BATCH];
    size_t n = 0;
    while (pending != NULL && n < THREADS_MAX_BATCH) {
        batch[n] = pending;
        keys[n++] = pending->key;
        pending = pending->next;
    }
    if (pending == NULL) {
        pending_tail = &pending;
    }
    pthread_mutex_unlock(&mutex);
    call_source(&connection, keys, n, values);
    pthread_mutex_lock(&mutex);
    for (size_t i = 0; i < n; i++) {
        batch[i]->value = values[i];
        batch[i]->done = true;
        if (batch[i] != leader) {
            pthread_cond_signal(&batch[i]->wake);
        }
    }
    busy = pending != NULL;
    if (busy) {
        pending->leads = true;
        pthread_cond_signal(&pending->wake);
    }
}

static bool load_byhand(unsigned thread, uint64_t key, call_value *out)
{
    (void)thread;
    request r = {.key = key, .wake = PTHREAD_COND_INITIALIZER};
    pthread_mutex_lock(&mutex);
    *pending_tail = &r;
    pending_tail = &r.next;
    if (busy) {
        while (!r.done && !r.leads) {
            pthread_cond_wait(&r.wake, &mutex);
        }
    } else {
        busy = true;
        r.leads = true;
    }
    if (r.leads) {
        send_pending(&r); /* r is the oldest, so it is in what goes */
    }
    pthread_mutex_unlock(&mutex);
    pthread_cond_destroy(&r.wake);
    *out = r.value;
    return true;
}

static void open_byhand(const threads_setting *setting, bench_reply *reply)
{
    if (!call_open(&connection, setting->server)) {
        bench_fail(reply, "no connection to the server");
    }
}

static void close_byhand(bench_reply *reply)
{
    if (pending != NULL || busy) {
        bench_fail(reply, "requests were left behind");
    }
    call_close(&connection);
}

int main(int argc, char **argv)
{
    static const threads_contender contender = {
        "by-hand",
        "mutex and condition variables: while a call is out, the next batch gathers; one "
        "connection, no cache, nothing deduplicated",
        open_byhand, load_byhand, close_byhand};
    return threads_main(argc, argv, &contender);
}
