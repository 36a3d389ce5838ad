/* `make bench-load`: loads through dataloader.h with a fetch function that answers from arithmetic,
 * so that what is measured is the loader. bench/node/peer.js does the same work, key for key.
 *
 * LOAD_VARIANT and LOAD_LOCK choose the variant.
 */
#include "harness.h"

#include <stdlib.h>
#include <time.h>

#ifndef LOAD_VARIANT
#define LOAD_VARIANT "ours"
#endif
#ifndef LOAD_LOCK
#define LOAD_LOCK DLOAD_LOCK_NONE
#endif

typedef struct load_value {
    uint64_t w[4];
} load_value;

#define DLOAD_NAME  ours
#define DLOAD_KEY   uint64_t
#define DLOAD_VALUE load_value
#define DLOAD_LOCK  LOAD_LOCK
#define DLOAD_EVICT DLOAD_EVICT_S3FIFO
#include "dataloader.h"

enum { IDLE_LOADS = 500 };
enum { BATCH = 100, WAITERS = 1000, HIT_LIST = 1 << 16, REQUEST_KEYS = 10, POOL_BYTES = 1 << 18 };

/* Counts what the loader asks of its allocator. */
static uint64_t n_allocs;
static uint64_t alloc_bytes;

static void *count_alloc(void *ctx, size_t n_bytes)
{
    (void)ctx;
    n_allocs++;
    alloc_bytes += n_bytes;
    return malloc(n_bytes);
}

static void count_free(void *ctx, void *p, size_t n_bytes)
{
    (void)ctx;
    (void)n_bytes;
    free(p);
}

static dload_env env;
static ours loader;
static bool have_loader;
static size_t capacity;
static ours_waiter waiters[WAITERS];
static uint64_t done_sum;
static uint64_t n_done;
static uint64_t fetched_ns; /* while idle() measures: time spent in the fetch function */

/* Key number i: small integers in an order without pattern, distinct up to 2^30, so that the peer
 * can hold them in its fastest representation. */
static uint64_t key_number(uint64_t i)
{
    return (i * UINT64_C(2654435761)) & ((UINT64_C(1) << 30) - 1);
}

static dload_status fetch(ours_batch *b)
{
    for (size_t i = 0; i < b->n; i++) {
        uint64_t key = b->keys[i];
        load_value v = {{key, key + 1, key + 2, key + 3}};
        ours_batch_set(b, i, &v);
    }
    return DLOAD_OK;
}

/* fetch, and how long it took. */
static dload_status fetch_timed(ours_batch *b)
{
    uint64_t start_ns = bench_now_ns();
    dload_status st = fetch(b);
    fetched_ns += bench_now_ns() - start_ns;
    return st;
}

static ours_config config_for(size_t n_entries, const dload_env *with)
{
    ours_config config = ours_config_default();
    config.fetch = fetch;
    config.env = with;
    config.capacity = n_entries;
    config.max_batch = BATCH;
    return config;
}

/* Loads n keys from number first on, BATCH at a time; returns the sum of what came. */
static uint64_t load_range(uint64_t first, uint64_t n, bench_reply *reply)
{
    uint64_t keys[BATCH];
    load_value out[BATCH];
    dload_status statuses[BATCH];
    uint64_t sum = 0;
    for (uint64_t done = 0; done < n; done += BATCH) {
        for (size_t i = 0; i < BATCH; i++) {
            keys[i] = key_number(first + done + i);
        }
        dload_status st = ours_load_many(&loader, keys, BATCH, out, statuses);
        if (st != DLOAD_OK) {
            bench_fail(reply, "load_many: %s", dload_strerror(st));
        }
        for (size_t i = 0; i < BATCH; i++) {
            sum += statuses[i] >= 0 ? out[i].w[0] : 0;
        }
    }
    return sum;
}

/* capacity, fill: makes the loader and brings it to its steady state, full and evicting. */
static void setup(const bench_args *args, bench_reply *reply)
{
    if (have_loader) {
        ours_close(&loader, DLOAD_FAIL, 0);
        ours_destroy(&loader);
        have_loader = false;
    }
    capacity = (size_t)bench_arg(args, "capacity", 100000);
    env = *dload_env_default();
    env.alloc = count_alloc;
    env.free = count_free;
    ours_config config = config_for(capacity, &env);
    dload_status st = ours_init(&loader, &config);
    if (st != DLOAD_OK) {
        bench_fail(reply, "init: %s", dload_strerror(st));
        return;
    }
    have_loader = true;
    load_range(0, bench_arg(args, "fill", 0), reply);
}

/* Distinct keys through load_many, BATCH a call: fetch, insert and evict included. */
static void load_many(const bench_args *args, bench_reply *reply)
{
    uint64_t n = bench_arg(args, "n", 100000);
    uint64_t allocs_before = n_allocs;
    uint64_t bytes_before = alloc_bytes;
    bench_start(reply);
    uint64_t sum = load_range(bench_arg(args, "first", 0), n, reply);
    bench_stop(reply, n, sum);
    bench_put(reply, "allocs", n_allocs - allocs_before);
    bench_put(reply, "alloc_bytes", alloc_bytes - bytes_before);
}

static void on_done(ours_waiter *w)
{
    n_done++;
    done_sum += w->status >= 0 ? w->value.w[0] : 0;
}

static void start_one(uint64_t key, ours_waiter *w, bench_reply *reply)
{
    dload_status st = ours_start(&loader, key, w);
    if (st != DLOAD_PENDING) {
        bench_fail(reply, "start: %s", dload_strerror(st));
    }
}

static void prepare_waiters(void)
{
    for (size_t i = 0; i < WAITERS; i++) {
        waiters[i] = (ours_waiter){.done = on_done};
    }
    n_done = 0;
    done_sum = 0;
}

/* Distinct keys, each with a waiter of its own, BATCH at a time, dispatched and delivered. */
static void start_complete(const bench_args *args, bench_reply *reply)
{
    uint64_t n = bench_arg(args, "n", 100000);
    uint64_t first = bench_arg(args, "first", 0);
    uint64_t allocs_before = n_allocs;
    uint64_t bytes_before = alloc_bytes;
    prepare_waiters();
    bench_start(reply);
    for (uint64_t done = 0; done < n; done += BATCH) {
        for (size_t i = 0; i < BATCH; i++) {
            start_one(key_number(first + done + i), &waiters[i], reply);
        }
        ours_dispatch(&loader, NULL);
    }
    bench_stop(reply, n, done_sum);
    bench_put(reply, "allocs", n_allocs - allocs_before);
    bench_put(reply, "alloc_bytes", alloc_bytes - bytes_before);
    if (n_done != n) {
        bench_fail(reply, "%llu of %llu waiters were called", (unsigned long long)n_done,
                   (unsigned long long)n);
    }
}

/* One key at a time, WAITERS - 1 joiners each; deliver=1 measures the delivery too. */
static void join(const bench_args *args, bench_reply *reply)
{
    uint64_t n_keys = bench_arg(args, "n", 100);
    uint64_t first = bench_arg(args, "first", 0);
    bool deliver = bench_arg(args, "deliver", 0) != 0;
    uint64_t allocs_before = n_allocs;
    uint64_t bytes_before = alloc_bytes;
    prepare_waiters();
    for (uint64_t k = 0; k < n_keys; k++) {
        uint64_t key = key_number(first + k);
        start_one(key, &waiters[0], reply);
        bench_start(reply);
        for (size_t i = 1; i < WAITERS; i++) {
            start_one(key, &waiters[i], reply);
        }
        if (!deliver) {
            bench_pause(reply);
        }
        ours_dispatch(&loader, NULL);
        if (deliver) {
            bench_pause(reply);
        }
    }
    bench_put_measured(reply, n_keys * (WAITERS - 1), done_sum);
    bench_put(reply, "allocs", n_allocs - allocs_before);
    bench_put(reply, "alloc_bytes", alloc_bytes - bytes_before);
    if (n_done != n_keys * WAITERS) {
        bench_fail(reply, "%llu waiters were called", (unsigned long long)n_done);
    }
}

/* Loads, one a call, in the full cache: hits all. Keys first .. first + capacity - 1 are loaded
 * before, unmeasured, and the last nine tenths of them asked for, because a cache with several shards
 * keeps a few older keys in place of newer ones. */
static void hit(const bench_args *args, bench_reply *reply)
{
    static uint64_t list[HIT_LIST];
    uint64_t passes = bench_arg(args, "passes", 1);
    uint64_t end = bench_arg(args, "first", 0) + capacity;
    load_range(end - capacity, capacity, reply);
    uint32_t x = 1;
    for (size_t i = 0; i < HIT_LIST; i++) {
        x = x * 1664525U + 1013904223U;
        list[i] = key_number(end - 1 - (x >> 8) % (capacity * 9 / 10));
    }
    dload_stats before;
    dload_stats after;
    ours_stats(&loader, &before);
    uint64_t allocs_before = n_allocs;
    uint64_t bytes_before = alloc_bytes;
    uint64_t sum = 0;
    bench_start(reply);
    for (uint64_t p = 0; p < passes; p++) {
        for (size_t i = 0; i < HIT_LIST; i++) {
            load_value v;
            sum += ours_load(&loader, list[i], &v) >= 0 ? v.w[0] : 0;
        }
    }
    bench_stop(reply, passes * HIT_LIST, sum);
    bench_put(reply, "allocs", n_allocs - allocs_before);
    bench_put(reply, "alloc_bytes", alloc_bytes - bytes_before);
    ours_stats(&loader, &after);
    if (after.misses != before.misses) {
        bench_fail(reply, "%llu of the keys were not cached",
                   (unsigned long long)(after.misses - before.misses));
    }
}

/* What a request does with its loader: two load_many of REQUEST_KEYS, half of them asked twice. */
static uint64_t use_request(ours *l, uint64_t first, bench_reply *reply)
{
    uint64_t keys[REQUEST_KEYS];
    load_value out[REQUEST_KEYS];
    dload_status statuses[REQUEST_KEYS];
    uint64_t sum = 0;
    for (uint64_t part = 0; part < 2; part++) {
        for (size_t i = 0; i < REQUEST_KEYS; i++) {
            keys[i] = key_number(first + part * (REQUEST_KEYS / 2) + i);
        }
        dload_status st = ours_load_many(l, keys, REQUEST_KEYS, out, statuses);
        if (st != DLOAD_OK) {
            bench_fail(reply, "load_many in a request: %s", dload_strerror(st));
        }
        for (size_t i = 0; i < REQUEST_KEYS; i++) {
            sum += statuses[i] >= 0 ? out[i].w[0] : 0;
        }
    }
    return sum;
}

/* A loader per request, made in a pool over one block; use=0 leaves the loads out. */
static void request(const bench_args *args, bench_reply *reply)
{
    static _Alignas(64) char block[POOL_BYTES];
    uint64_t n = bench_arg(args, "n", 1000);
    uint64_t first = bench_arg(args, "first", 0);
    bool use = bench_arg(args, "use", 1) != 0;
    uint64_t sum = 0;
    uint64_t allocs_before = n_allocs;
    uint64_t bytes_before = alloc_bytes;
    dload_pool pool;
    dload_pool_init(&pool, block, sizeof block, &env);
    bench_start(reply);
    for (uint64_t r = 0; r < n; r++) {
        ours l;
        ours_config config = config_for(64, &pool.env);
        dload_status st = ours_init(&l, &config);
        if (st != DLOAD_OK) {
            bench_fail(reply, "init in a pool: %s", dload_strerror(st));
            break;
        }
        sum += use ? use_request(&l, first + r * REQUEST_KEYS * 2, reply) : 0;
        ours_close(&l, DLOAD_DRAIN, 0);
        st = ours_destroy(&l);
        if (st != DLOAD_OK) {
            bench_fail(reply, "destroy in a pool: %s", dload_strerror(st));
            break;
        }
        dload_pool_reset(&pool);
    }
    bench_stop(reply, n, sum);
    bench_put(reply, "allocs", n_allocs - allocs_before);
    bench_put(reply, "alloc_bytes", alloc_bytes - bytes_before);
    bench_put(reply, "pool_high_bytes", pool.high_bytes);
    bench_put(reply, "loader_bytes", sizeof(ours));
}

static int compare_ns(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* One load of a new key after each pause of pause_ns, by the only thread there is: what the loader
 * adds to the fetch function when there is nothing to wait for. Answers the median as one operation.
 * Includes two looks at the clock, those of the fetch function. */
static void idle(const bench_args *args, bench_reply *reply)
{
    static uint64_t added_ns[IDLE_LOADS];
    uint64_t first = bench_arg(args, "first", 0);
    struct timespec pause = {0, (long)bench_arg(args, "pause_ns", 200000)};
    uint64_t sum = 0;
    ours l;
    ours_config config = config_for(capacity, &env);
    config.fetch = fetch_timed;
    dload_status st = ours_init(&l, &config);
    for (uint64_t i = 0; i < IDLE_LOADS && st == DLOAD_OK; i++) {
        load_value v;
        nanosleep(&pause, NULL);
        uint64_t key = key_number(first + i);
        fetched_ns = 0;
        uint64_t start_ns = bench_now_ns();
        st = ours_load(&l, key, &v);
        added_ns[i] = bench_now_ns() - start_ns - fetched_ns;
        sum += st == DLOAD_OK ? v.w[0] : 0;
    }
    if (st != DLOAD_OK || ours_close(&l, DLOAD_DRAIN, 0) != DLOAD_OK ||
        ours_destroy(&l) != DLOAD_OK) {
        bench_fail(reply, "a lone load: %s", dload_strerror(st));
        return;
    }
    qsort(added_ns, IDLE_LOADS, sizeof added_ns[0], compare_ns);
    bench_put(reply, "n_ops", 1);
    bench_put(reply, "wall_ns", added_ns[IDLE_LOADS / 2]);
    bench_put(reply, "p99_ns", added_ns[IDLE_LOADS * 99 / 100]);
    bench_put(reply, "checksum", sum);
}

int main(void)
{
    static const bench_command commands[] = {
        {"setup", setup},
        {"load_many", load_many},
        {"start_complete", start_complete},
        {"join", join},
        {"hit", hit},
        {"request", request},
        {"idle", idle},
    };
    return bench_serve(LOAD_VARIANT,
                       "dataloader.h with the lock in its name and S3-FIFO, all other parameters "
                       "and settings as they come, statistics on",
                       commands, sizeof commands / sizeof commands[0]);
}
