/* Loads, writes and a channel that breaks, in threads: whatever was read while it was up is never older than what
 * the channel has said, and when all is quiet nothing is old. */
/* locks: SPIN PTHREAD */
/* tsan */
#define _POSIX_C_SOURCE 200809L
#define DLOAD_STORE     1
#include "test_loader.h"

#include <pthread.h>
#include <sched.h>
#include <stdio.h>

enum {
    N_KEYS = 24,
    N_LOADERS = 2,
    N_WRITERS = 2,
    N_THREADS = N_LOADERS + N_WRITERS + 1,
    ROOM = 4096
};

static struct shared {
    tl l;
    struct fake_env f;
    dload_sink sink;
    uint64_t source[N_KEYS]; /* versions; atomic */
    uint64_t said[N_KEYS];   /* what the channel has told, while it was up; atomic */
    pthread_mutex_t mutex;   /* of the channel: */
    bool connected;
    struct message {
        uint64_t key, version;
    } messages[ROOM];
    size_t first, n;
    uint64_t seed;
    size_t n_ops;     /* of each thread in a round */
    size_t n_writing; /* writers that have not ended; atomic */
    size_t n_stale, n_hits, n_breaks;
} s;

static dload_status fetch(tl_batch *b)
{
    for (size_t i = 0; i < b->n; i++) {
        uint64_t value = __atomic_load_n(&s.source[b->keys[i]], __ATOMIC_ACQUIRE);
        if (value % 4 == 0) {
            sched_yield(); /* much happens between the source's answer and the loader's hearing it */
        }
        must_ok(tl_batch_set(b, i, &value));
    }
    return DLOAD_OK;
}

static void loads(uint64_t seed)
{
    for (size_t i = 0; i < s.n_ops; i++) {
        uint64_t key = rng_below(&seed, N_KEYS), value = 0;
        uint64_t said = __atomic_load_n(&s.said[key], __ATOMIC_ACQUIRE);
        must_ok(tl_load(&s.l, key, &value));
        /* what the channel had said before this load began was heard, or forgotten with all else */
        if (value < said) {
            __atomic_add_fetch(&s.n_stale, 1, __ATOMIC_RELAXED);
            print_error("key %" PRIu64 ": %" PRIu64 " after %" PRIu64 " was said\n", key, value,
                        said);
        }
    }
}

/* Changes the source, then says so to who is connected. */
static void writes(uint64_t seed)
{
    for (size_t i = 0; i < s.n_ops / 4; i++) {
        uint64_t key = rng_below(&seed, N_KEYS);
        uint64_t version = __atomic_add_fetch(&s.source[key], 1, __ATOMIC_ACQ_REL);
        pthread_mutex_lock(&s.mutex);
        if (s.connected && s.n < ROOM) {
            s.messages[(s.first + s.n++) % ROOM] = (struct message){key, version};
        } else if (s.connected) {
            s.connected = false; /* a slow reader is cut off */
        }
        pthread_mutex_unlock(&s.mutex);
        if (rng_below(&seed, 4) == 0) {
            sched_yield();
        }
    }
    __atomic_sub_fetch(&s.n_writing, 1, __ATOMIC_RELEASE);
}

/* One message, if there is one; says whether the channel is connected. */
static bool hear(struct message *m, bool *any)
{
    pthread_mutex_lock(&s.mutex);
    bool connected = s.connected;
    *any = connected && s.n != 0;
    if (*any) {
        *m = s.messages[s.first];
        s.first = (s.first + 1) % ROOM;
        s.n--;
    }
    pthread_mutex_unlock(&s.mutex);
    return connected;
}

static void connect_to(bool connected)
{
    pthread_mutex_lock(&s.mutex);
    s.connected = connected;
    s.n = 0; /* what was in it is lost */
    pthread_mutex_unlock(&s.mutex);
}

static void tell(const struct message *m)
{
    char text[32];
    int n = snprintf(text, sizeof text, "tl:%" PRIu64, m->key);
    s.sink.key(s.sink.ctx, text, (size_t)n);
    if (m->version > s.said[m->key]) {
        __atomic_store_n(&s.said[m->key], m->version, __ATOMIC_RELEASE);
    }
}

/* The channel: tells what it hears, breaks, finds that out a little later, and connects again. At the end of a round
 * it is up and has told all. */
static void channel(uint64_t seed)
{
    bool more = true;
    while (more) {
        struct message m = {0, 0};
        bool any = false;
        more = __atomic_load_n(&s.n_writing, __ATOMIC_ACQUIRE) != 0;
        if (more && rng_below(&seed, 100) == 0) {
            connect_to(false);
            sched_yield();
        }
        bool connected = hear(&m, &any);
        if (any) {
            tell(&m);
        } else if (!connected) {
            s.sink.down(s.sink.ctx);
            s.n_breaks++;
            sched_yield();
            connect_to(true);
            s.sink.up(s.sink.ctx);
        } else {
            sched_yield();
        }
        more = more || any || !connected;
        if (rng_below(&seed, 500) == 0) {
            s.sink.all(s.sink.ctx);
        }
    }
}

static void run(void *ctx, size_t i)
{
    uint64_t seed = s.seed + i * UINT64_C(0x9e3779b97f4a7c15);
    (void)ctx;
    if (i < N_LOADERS) {
        loads(seed);
    } else if (i < N_LOADERS + N_WRITERS) {
        writes(seed);
    } else {
        channel(seed);
    }
}

static void test_nothing_old_is_left(void **state)
{
    (void)state;
    memset(&s, 0, sizeof s);
    fake_env_init_real(&s.f);
    pthread_mutex_init(&s.mutex, NULL);
    uint64_t seed = test_seed("sink");
    tl_config cfg = tl_config_default();
    cfg.env = &s.f.env;
    cfg.fetch = fetch;
    cfg.shards = 4;
    must_ok(tl_init(&s.l, &cfg));
    must_ok(tl_sink(&s.l, &s.sink));
    s.n_ops = scaled(3000);
    for (size_t round = 0; round < 12; round++) {
        s.seed = rng(&seed);
        s.n_writing = N_WRITERS;
        run_threads(N_THREADS, run, NULL);
        equal(s.n_stale, 0);
        for (int again = 0; again < 2; again++) {
            for (uint64_t key = 0; key < N_KEYS; key++) {
                uint64_t value = 0;
                must_ok(tl_load(&s.l, key, &value));
                equal(value, s.source[key]);
            }
        }
    }
    dload_stats stats = {0};
    must_ok(tl_stats(&s.l, &stats));
    assert_true(stats.hits > 0 && s.n_breaks > 0 && stats.misses > 0);
    print_message("# %zu breaks, %" PRIu64 " hits, %" PRIu64 " misses, %" PRIu64
                  " answers out of date when they came\n",
                  s.n_breaks, stats.hits, stats.misses, stats.cleared_in_flight);
    must_ok(tl_close(&s.l, DLOAD_FAIL, 0));
    must_ok(tl_destroy(&s.l));
    pthread_mutex_destroy(&s.mutex);
    fake_env_check(&s.f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_old_is_left),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
