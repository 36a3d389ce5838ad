/* A stampede: processes with threads that all miss one key at the same moment. How often is the source asked?
 *
 *     backends_stampede URL PROCESSES THREADS ROUNDS     prints: fetches loads worst_ms
 *
 * Each round has a key of its own; all threads of all processes wait at a barrier in shared memory, then load it. The source
 * takes 20 ms, so that who is late finds the fetch under way. URL none is the loader without a store. */
#include "backends.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define DLOAD_NAME  stampede
#define DLOAD_KEY   uint64_t
#define DLOAD_VALUE backends_value
#define DLOAD_LOCK  DLOAD_LOCK_PTHREAD
#define DLOAD_STORE 1
#include "dataloader.h"
#include "adapters/dataloader_any.h"

enum { MOST_THREADS = 64, FETCH_MS = 20 };

typedef struct shared {
    pthread_barrier_t barrier;
    uint64_t n_fetches, n_loads, worst_ns, n_wrong;
} shared;

static shared *s;
static stampede loader;
static uint64_t first_key, n_rounds;

static dload_status fetch(stampede_batch *b)
{
    const struct timespec ts = {0, FETCH_MS * 1000000L};
    (void)__atomic_add_fetch(&s->n_fetches, b->n, __ATOMIC_RELAXED);
    (void)nanosleep(&ts, NULL);
    for (size_t i = 0; i < b->n; i++) {
        const backends_value v = backends_value_of(b->keys[i]);
        stampede_batch_set(b, i, &v);
    }
    return DLOAD_OK;
}

static void *caller(void *unused)
{
    (void)unused;
    for (uint64_t round = 0; round < n_rounds; round++) {
        backends_value v;
        (void)pthread_barrier_wait(&s->barrier);
        const uint64_t start_ns = bench_now_ns();
        dload_status st = stampede_load(&loader, first_key + round, &v);
        const uint64_t took_ns = bench_now_ns() - start_ns;
        uint64_t worst_ns = __atomic_load_n(&s->worst_ns, __ATOMIC_RELAXED);
        while (took_ns > worst_ns &&
               !__atomic_compare_exchange_n(&s->worst_ns, &worst_ns, took_ns, false,
                                            __ATOMIC_RELAXED, __ATOMIC_RELAXED))
            continue;
        (void)__atomic_add_fetch(&s->n_loads, 1, __ATOMIC_RELAXED);
        if (st != DLOAD_OK || v.word[0] != backends_value_of(first_key + round).word[0])
            (void)__atomic_add_fetch(&s->n_wrong, 1, __ATOMIC_RELAXED);
    }
    return NULL;
}

/* One process. */
static int serve(const char *url, int n_threads)
{
    static dload_any second;
    pthread_t threads[MOST_THREADS];
    char why[200] = "";
    stampede_config config;
    if (dload_any_open(&second, url, why, sizeof why) != DLOAD_OK) {
        fprintf(stderr, "%s\n", why);
        return 2;
    }
    memset(&config, 0, sizeof config);
    config.fetch = fetch;
    config.store = second.store;
    if (stampede_init(&loader, &config) != DLOAD_OK)
        return 2;
    for (int i = 0; i < n_threads; i++) {
        if (pthread_create(&threads[i], NULL, caller, NULL) != 0)
            return 2;
    }
    for (int i = 0; i < n_threads; i++)
        (void)pthread_join(threads[i], NULL);
    (void)stampede_close(&loader, DLOAD_DRAIN, 0);
    (void)stampede_destroy(&loader);
    dload_any_close(&second);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc != 5) {
        fprintf(stderr, "usage: backends_stampede URL PROCESSES THREADS ROUNDS\n");
        return 2;
    }
    const int n_processes = atoi(argv[2]), n_threads = atoi(argv[3]);
    int worst = 0;
    pthread_barrierattr_t attr;
    n_rounds = (uint64_t)atoi(argv[4]);
    first_key = bench_now_ns(); /* nobody has asked for these before */
    if (n_threads < 1 || n_threads > MOST_THREADS || n_processes < 1)
        return 2;
    s = mmap(NULL, sizeof *s, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (s == MAP_FAILED)
        return 2;
    (void)pthread_barrierattr_init(&attr);
    (void)pthread_barrierattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
    (void)pthread_barrier_init(&s->barrier, &attr, (unsigned)(n_processes * n_threads));
    for (int i = 0; i < n_processes; i++) {
        if (fork() == 0)
            _exit(serve(argv[1], n_threads));
    }
    for (int i = 0, status = 0; i < n_processes; i++) {
        (void)wait(&status);
        worst = WIFEXITED(status) && WEXITSTATUS(status) == 0 ? worst : 1;
    }
    if (worst != 0 || s->n_wrong != 0)
        return 1;
    printf("%llu %llu %llu\n", (unsigned long long)s->n_fetches, (unsigned long long)s->n_loads,
           (unsigned long long)(s->worst_ns / 1000000));
    return 0;
}
