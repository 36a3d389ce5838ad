/* test_redis_storm.h -- processes that read and write the same counters through caches which a Redis server keeps right,
 * while connections are cut at random. When it is quiet again no cache may hold an old value, and nobody may
 * ever have missed a write of its own.
 *
 * What cache that is the suite says, in five functions; each may be called by several threads, numbered from 0.
 */
#ifndef TESTS_REDIS_STORM_H
#define TESTS_REDIS_STORM_H

#include "servers/redis_server.h"

#include <pthread.h>
#include <sys/mman.h>

enum {
    PROCESSES = 4,
    THREADS = 2 /* and one that reads when those are through */,
    STORM_KEYS = 64
};

static struct redis_server rs;

/* A process's own tracking, set by storm_open. */
static dload_redis_tracking *storm_tracking;

static bool storm_open(void);
static void storm_close(void);
static int64_t storm_load(size_t thread, size_t i);  /* through the cache; -1 = failed */
static int64_t storm_write(size_t thread, size_t i); /* one more; -1 = failed, perhaps written */
static bool storm_cached(size_t i, int64_t *value);  /* is it cached now? */
static uint64_t storm_hits(void);

/* What processes tell each other. */
static struct storm {
    uint32_t n_writing; /* processes that are not through */
    uint32_t quiet;     /* nobody writes, nobody cuts */
    struct counts {
        uint64_t n_writes, n_own_missed, n_reads, n_refused, n_hits, n_lost, n_data_lost, n_checked,
            n_stale;
    } of[PROCESSES];
} * storm_shared;

static struct one {
    struct counts *counts;
    uint64_t seed;
    size_t n_writes; /* for each thread */
    pthread_mutex_t mutex;
} one;

static void *one_thread(void *arg)
{
    const size_t me = (size_t)(uintptr_t)arg;
    struct counts mine = {0};
    uint64_t seed = one.seed + me * 7919;
    while (mine.n_writes < one.n_writes) {
        size_t i = rng_below(&seed, STORM_KEYS);
        if (rng_below(&seed, 3) != 0) {
            mine.n_reads++;
            mine.n_refused += storm_load(me, i) < 0;
            continue;
        }
        int64_t version = storm_write(me, i);
        mine.n_writes++;
        if (version < 0 ||
            dload_redis_tracking_barrier(storm_tracking, 30 * DLOAD_SECOND) != DLOAD_OK) {
            mine.n_refused++;
            continue;
        }
        int64_t seen = storm_load(me, i);
        mine.n_refused += seen < 0;
        mine.n_own_missed += seen >= 0 && seen < version;
    }
    pthread_mutex_lock(&one.mutex);
    one.counts->n_writes += mine.n_writes;
    one.counts->n_reads += mine.n_reads;
    one.counts->n_refused += mine.n_refused;
    one.counts->n_own_missed += mine.n_own_missed;
    pthread_mutex_unlock(&one.mutex);
    return NULL;
}

/* Every value that is still cached against the server's, by a connection that nobody watches. */
static bool one_check(void)
{
    for (size_t i = 0; i < STORM_KEYS; i++) {
        char request[64], answer[64];
        int64_t value = 0;
        const bool ready = storm_cached(i, &value);
        (void)snprintf(request, sizeof request, "GET " STORM_PREFIX "%zu\r\n", i);
        if (!redis_server_ask(&rs, request, answer, sizeof answer) || answer[0] != '$')
            return false;
        const char *line = strchr(answer, '\n');
        const int64_t now = answer[1] == '-' || line == NULL ? 0 : strtoll(line + 1, NULL, 10);
        one.counts->n_checked += ready;
        one.counts->n_stale += ready && value != now;
    }
    return true;
}

static int one_process(size_t n, uint64_t seed, size_t n_writes)
{
    dload_redis_listen_stats stats;
    pthread_t threads[THREADS];
    (void)pthread_mutex_init(&one.mutex, NULL);
    one.counts = &storm_shared->of[n];
    one.seed = seed + n * 104729;
    one.n_writes = n_writes / PROCESSES / THREADS;
    if (!storm_open())
        return 2;
    if (dload_redis_tracking_start(storm_tracking) != DLOAD_OK ||
        dload_redis_tracking_wait(storm_tracking, 30 * DLOAD_SECOND) != DLOAD_OK)
        return 3;
    for (size_t i = 0; i < THREADS; i++) {
        if (pthread_create(&threads[i], NULL, one_thread, (void *)(uintptr_t)i) != 0)
            return 4;
    }
    for (size_t i = 0; i < THREADS; i++)
        (void)pthread_join(threads[i], NULL);
    (void)__atomic_sub_fetch(&storm_shared->n_writing, 1u, __ATOMIC_SEQ_CST);
    /* Those who are through read on, so that there is something cached when it is quiet. */
    for (size_t i = 0; __atomic_load_n(&storm_shared->quiet, __ATOMIC_SEQ_CST) == 0; i++) {
        (void)storm_load(THREADS, i % STORM_KEYS);
        server_nap_ms(1);
    }
    if (dload_redis_tracking_wait(storm_tracking, 30 * DLOAD_SECOND) != DLOAD_OK ||
        dload_redis_tracking_barrier(storm_tracking, 30 * DLOAD_SECOND) != DLOAD_OK || !one_check())
        return 5;
    dload_redis_tracking_stats(storm_tracking, &stats);
    one.counts->n_hits = storm_hits();
    one.counts->n_lost = stats.n_lost;
    one.counts->n_data_lost = stats.n_data_lost;
    storm_close();
    return 0;
}

/* Cuts one connection: of those that listen, or of all. */
static bool cut(uint64_t *seed)
{
    static char list[32768];
    char request[64], answer[64];
    size_t n = 0;
    const char *kind = rng_below(seed, 2) == 0 ? "pubsub" : "normal";
    (void)snprintf(request, sizeof request, "CLIENT LIST TYPE %s\r\n", kind);
    if (!redis_server_ask(&rs, request, list, sizeof list))
        return false;
    for (const char *p = list; (p = strstr(p, "id=")) != NULL; p++)
        n++;
    if (n == 0)
        return false;
    const char *p = list;
    for (uint64_t k = rng_below(seed, n) + 1; k != 0; k--)
        p = strstr(p, "id=") + 3;
    (void)snprintf(request, sizeof request, "CLIENT KILL ID %lu\r\n", strtoul(p, NULL, 10));
    return redis_server_ask(&rs, request, answer, sizeof answer) && answer[0] == ':';
}

static void storm_run(const char *name, size_t n_writes, unsigned cut_ms)
{
    uint64_t seed = test_seed(name);
    pid_t pids[PROCESSES];
    struct counts sum = {0};
    size_t n_cuts = 0;
    storm_shared =
        mmap(NULL, sizeof *storm_shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(storm_shared != MAP_FAILED);
    storm_shared->n_writing = PROCESSES;
    assert_true(redis_server_start(&rs));
    for (size_t i = 0; i < PROCESSES; i++) {
        pids[i] = fork();
        if (pids[i] == 0) {
            (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
            _exit(one_process(i, seed, n_writes));
        }
        assert_true(pids[i] > 0);
    }
    while (__atomic_load_n(&storm_shared->n_writing, __ATOMIC_SEQ_CST) != 0) {
        for (size_t i = 0; i < PROCESSES; i++)
            equal(waitpid(pids[i], NULL, WNOHANG),
                  0); /* one that failed would be waited for in vain */
        if (cut_ms != 0)
            n_cuts += cut(&seed);
        sleep_ms(cut_ms != 0 ? 1 + (unsigned)rng_below(&seed, 2 * cut_ms) : 5);
    }
    __atomic_store_n(&storm_shared->quiet, 1u, __ATOMIC_SEQ_CST);
    for (size_t i = 0; i < PROCESSES; i++) {
        int status = 0;
        const struct counts *c = &storm_shared->of[i];
        equal(waitpid(pids[i], &status, 0), pids[i]);
        equal(status, 0);
        sum.n_writes += c->n_writes, sum.n_reads += c->n_reads, sum.n_hits += c->n_hits;
        sum.n_refused += c->n_refused, sum.n_lost += c->n_lost, sum.n_checked += c->n_checked;
        sum.n_data_lost += c->n_data_lost;
        sum.n_stale += c->n_stale, sum.n_own_missed += c->n_own_missed;
    }
    printf("%s: %zu cuts, %lu times nothing heard, %lu readers lost; %lu writes, %lu reads, %lu "
           "from caches, %lu refused; "
           "%lu cached at the end, %lu of them old, %lu own writes missed\n",
           name, n_cuts, (unsigned long)sum.n_lost, (unsigned long)sum.n_data_lost,
           (unsigned long)sum.n_writes, (unsigned long)sum.n_reads, (unsigned long)sum.n_hits,
           (unsigned long)sum.n_refused, (unsigned long)sum.n_checked, (unsigned long)sum.n_stale,
           (unsigned long)sum.n_own_missed);
    redis_server_stop(&rs);
    equal(sum.n_stale, 0);
    equal(sum.n_own_missed, 0);
    assert_true(sum.n_checked != 0);
    assert_true(sum.n_hits != 0);
    assert_true(cut_ms == 0 || (sum.n_lost != 0 && sum.n_data_lost != 0));
    assert_true(cut_ms != 0 || sum.n_refused == 0);
    (void)munmap(storm_shared, sizeof *storm_shared);
}

#endif /* TESTS_REDIS_STORM_H */
