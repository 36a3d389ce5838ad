/* At steady state a load allocates nothing: not for a hit, a join, a miss or an eviction, whatever
 * the key; with blob values, one block for the value itself. */
/* locks: NONE SPIN PTHREAD */
#include "test_loader.h"

#define DLOAD_NAME  al
#define DLOAD_KEY   DLOAD_STRING
#define DLOAD_VALUE uint64_t
#define DLOAD_LOCK  TEST_LOCK
#include "dataloader.h"

#define DLOAD_NAME  bl
#define DLOAD_KEY   uint64_t
#define DLOAD_VALUE DLOAD_BLOB
#define DLOAD_LOCK  TEST_LOCK
#include "dataloader.h"

#include <stdio.h>

/* ---- integer keys ---- */

static dload_status fetch_plain(tl_batch *b)
{
    for (size_t i = 0; i < b->n; i++) {
        uint64_t value = b->keys[i] * 10;
        must_ok(tl_batch_set(b, i, &value));
    }
    return DLOAD_OK;
}

enum { N = 250 };

/* One round of everything: keys of its own, each twice, so that there are misses and joins; then
 * again, which are hits or, once the cache is over, misses; then one by one; then not blocking. */
static void one_round(struct fixture *x, uint64_t round)
{
    static uint64_t keys[2 * N], out[2 * N];
    static dload_status st[2 * N];
    static struct request q[N];
    uint64_t one;
    for (uint64_t i = 0; i < 2 * N; i++) {
        keys[i] = round * N + i % N;
    }
    must_ok(tl_load_many(&x->l, keys, 2 * N, out, st));
    must_ok(tl_load_many(&x->l, keys, N / 2, out, st));
    for (size_t i = 0; i < N; i++) {
        must_ok(tl_load(&x->l, keys[i], &one));
        equal(one, keys[i] * 10);
    }
    memset(q, 0, sizeof q);
    for (size_t i = 0; i < N; i++) {
        (void)request_start(x, &q[i], 1000000 + round * N / 2 + i / 2);
    }
    must_ok(tl_clear(&x->l, keys[3]));
    must_ok(tl_dispatch(&x->l, NULL));
    x->f.now_ns += 10 * DLOAD_MILLISECOND;
    must_ok(tl_process(&x->l, x->f.now_ns));
    if (round % 5 == 4) {
        must_ok(tl_clear_all(&x->l));
    }
}

static void steady(struct fixture *x, size_t capacity, uint64_t ttl_ns)
{
    x->cfg.fetch = fetch_plain;
    x->cfg.capacity = capacity;
    x->cfg.ttl_ns = ttl_ns;
    fixture_open(x);
    uint64_t round = 0;
    for (; round < 10; round++) {
        one_round(x, round);
    }
    size_t allocs = x->f.n_allocs, blocks = x->f.n_live;
    dload_stats before = stats_of(x);
    for (; round < 60; round++) {
        one_round(x, round);
    }
    dload_stats after = stats_of(x);
    equal(x->f.n_allocs, allocs);
    equal(x->f.n_live, blocks);
    /* And all four did happen. */
    assert_true(after.misses > before.misses + 10000);
    assert_true(after.joins > before.joins + 1000);
    if (capacity != DLOAD_NO_CACHE) {
        assert_true(after.hits > before.hits + 1000);
        assert_true(after.evictions > before.evictions + 1000);
    }
    fixture_close(x);
    fake_env_check(&x->f);
}

static void test_alloc_integers(void **state)
{
    steady(*state, 300, DLOAD_NEVER);
}

static void test_alloc_integers_with_ttl(void **state)
{
    steady(*state, 300, 35 * DLOAD_MILLISECOND);
}

static void test_alloc_uncached(void **state)
{
    steady(*state, DLOAD_NO_CACHE, DLOAD_NEVER);
}

/* A hit allocates nothing from the first on. */
static void test_alloc_first_hit(void **state)
{
    struct fixture *x = *state;
    uint64_t out;
    fixture_open(x);
    must_ok(tl_prime(&x->l, 1, &(uint64_t){5}, 0));
    size_t allocs = x->f.n_allocs;
    must_ok(tl_load(&x->l, 1, &out));
    must_ok(tl_load_many(&x->l, (uint64_t[]){1, 1, 1}, 3, (uint64_t[3]){0}, NULL));
    equal(x->f.n_allocs, allocs);
}

/* ---- string keys ---- */

static dload_status fetch_lengths(al_batch *b)
{
    for (size_t i = 0; i < b->n; i++) {
        uint64_t value = b->keys[i].len;
        must_ok(al_batch_set(b, i, &value));
    }
    return DLOAD_OK;
}

static void test_alloc_strings(void **state)
{
    struct fixture *x = *state;
    al l;
    al_config cfg = al_config_default();
    cfg.fetch = fetch_lengths;
    cfg.env = &x->f.env;
    cfg.capacity = 200;
    cfg.shards = 1; /* several would reach their most, length by length, at different times */
    cfg.max_batch = 50;
    must_ok(al_init(&l, &cfg));
    size_t allocs = 0;
    uint64_t evictions = 0;
    dload_stats s;
    for (unsigned round = 0; round < 200; round++) {
        char text[100][200];
        dload_str keys[100];
        uint64_t out[100];
        for (unsigned i = 0; i < 100; i++) {
            /* Lengths from 12 to 150, the same set in every round, and two keys in a hundred twice.
             * */
            memset(text[i], 'k', sizeof text[i]);
            int n = snprintf(text[i], sizeof text[i], "%06u.%04u.", round, i % 98);
            text[i][n] = 'k';
            keys[i] = (dload_str){text[i], 12 + i % 98};
        }
        must_ok(al_load_many(&l, keys, 100, out, NULL));
        must_ok(al_load_many(&l, keys, 100, out, NULL));
        for (unsigned i = 0; i < 100; i++) {
            equal(out[i], keys[i].len);
        }
        if (round == 60) {
            allocs = x->f.n_allocs;
            must_ok(al_stats(&l, &s));
            evictions = s.evictions;
        }
    }
    equal(x->f.n_allocs, allocs);
    must_ok(al_stats(&l, &s));
    assert_true(s.evictions > evictions + 10000);
    must_ok(al_close(&l, DLOAD_FAIL, 0));
    must_ok(al_destroy(&l));
}

/* ---- blob values ---- */

static dload_status fetch_blobs(bl_batch *b)
{
    for (size_t i = 0; i < b->n; i++) {
        must_ok(bl_batch_set_bytes(b, i, &b->keys[i], sizeof b->keys[i]));
    }
    return DLOAD_OK;
}

static void test_alloc_blobs(void **state)
{
    struct fixture *x = *state;
    bl l;
    bl_config cfg = bl_config_default();
    cfg.fetch = fetch_blobs;
    cfg.env = &x->f.env;
    cfg.capacity = 100;
    must_ok(bl_init(&l, &cfg));
    for (uint64_t round = 0; round < 30; round++) {
        size_t allocs = x->f.n_allocs;
        for (uint64_t i = 0; i < 200; i++) {
            dload_blob out;
            must_ok(bl_load(&l, round * 100 + i % 100, &out));
            dload_blob_release(&out);
        }
        if (round >= 5) {
            equal(x->f.n_allocs, allocs + 100); /* one for each value, none for a hit */
        }
    }
    must_ok(bl_close(&l, DLOAD_FAIL, 0));
    must_ok(bl_destroy(&l));
}

/* ---- a loader per request: a pool instead of malloc ---- */

static void test_alloc_request_scope(void **state)
{
    struct fixture *x = *state;
    static _Alignas(16) char block[256 * 1024];
    dload_pool pool;
    dload_pool_init(&pool, block, sizeof block, &x->f.env);
    x->cfg.env = &pool.env;
    x->cfg.capacity = 200;
    for (int request = 0; request < 100; request++) {
        uint64_t keys[100], out[100];
        for (uint64_t i = 0; i < 100; i++) {
            keys[i] = i * (uint64_t)(request + 1);
        }
        text_clear(&x->r.calls);
        fixture_open(x);
        must_ok(tl_load_many(&x->l, keys, 100, out, NULL));
        equal(out[99], keys[99] * 10);
        fixture_close(x);
        dload_pool_reset(&pool);
    }
    equal(x->f.n_allocs, 0); /* all of it was in the block */
    assert_true(pool.high_bytes > 0 && pool.high_bytes <= sizeof block);
    /* A block that is too small costs mallocs, and nothing else. */
    dload_pool_init(&pool, block, 1000, &x->f.env);
    text_clear(&x->r.calls);
    fixture_open(x);
    load_must(x, 3, 30);
    assert_true(x->f.n_allocs > 0);
    assert_true(pool.high_bytes > 1000);
    fixture_close(x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RULE("no allocation: integer keys", test_alloc_integers),
        RULE("no allocation: integer keys, TTL", test_alloc_integers_with_ttl),
        RULE("no allocation: caching off", test_alloc_uncached),
        RULE("no allocation: the first hit", test_alloc_first_hit),
        RULE("no allocation: string keys", test_alloc_strings),
        RULE("one allocation a blob", test_alloc_blobs),
        RULE("no malloc: a loader per request in a pool", test_alloc_request_scope),
    };
    return cmocka_run_group_tests_name("alloc " TEST_STRING(TEST_LOCK), tests, NULL, NULL);
}
