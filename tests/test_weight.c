/* Limits by weight, and entries that are pinned: the rules one by one, in a cache and in a loader. Random
 * operations: test_weight_model.c. */
/* locks: NONE SPIN PTHREAD */
#include "test_things.h"

static inline uint32_t thing_weight(const struct thing *t)
{
    return t->weight;
}

/* nobody is told */
#define DLOAD_NAME   shared
#define DLOAD_KEY    uint64_t
#define DLOAD_VALUE  struct thing
#define DLOAD_LOCK   TEST_LOCK
#define DLOAD_EVICT  DLOAD_EVICT_S3FIFO
#define DLOAD_WEIGHT thing_weight
#include "dataloader.h"
#define DLOAD_NAME   growing
#define DLOAD_KEY    uint64_t
#define DLOAD_VALUE  struct thing
#define DLOAD_LOCK   TEST_LOCK
#define DLOAD_EVICT  DLOAD_EVICT_LRU
#define DLOAD_WEIGHT thing_weight
#include "dataloader.h"
/* with a loader: owned, and nobody is told */
#define DLOAD_NAME        wl
#define DLOAD_KEY         uint64_t
#define DLOAD_VALUE       struct thing
#define DLOAD_LOCK        TEST_LOCK
#define DLOAD_VALUE_REF   thing_ref
#define DLOAD_VALUE_UNREF thing_unref
#define DLOAD_GROUP       1
#define DLOAD_WEIGHT      thing_weight
#include "dataloader.h"
/* pins without weights */
#define DLOAD_NAME  pl
#define DLOAD_KEY   uint64_t
#define DLOAD_VALUE uint64_t
#define DLOAD_LOCK  TEST_LOCK
#define DLOAD_TTL   0
#include "dataloader.h"
#include "support.h"

#include <string.h>

/* ---- shares ---- */

static uint32_t next_id;

static struct thing thing_of(uint32_t weight)
{
    struct thing t = {next_id++, weight};
    assert_true(t.id < MAX_THINGS);
    return t;
}

/* Each shard has its share, the first ones the remainder, and none has nothing. */
static void test_weight_shares(void **state)
{
    (void)state;
    for (uint64_t max_weight = 1; max_weight < 40; max_weight++) {
        shared_cache c;
        shared_cache_config cfg;
        uint64_t sum = 0;
        memset(&cfg, 0, sizeof cfg);
        cfg.capacity = 64;
        cfg.shards = 8;
        cfg.max_weight = max_weight;
        must_ok(shared_cache_init(&c, &cfg));
        for (uint32_t i = 0; i < c.n_shards; i++) {
            uint64_t share = c.shard[i].max_weight;
            assert_true(share >= 1);
            assert_true(share == max_weight / c.n_shards || share == max_weight / c.n_shards + 1);
            sum += share;
        }
        equal(sum, max_weight);
        next_id = 0;
        for (uint64_t key = 0; key < 200; key++) {
            struct thing t = thing_of(1 + (uint32_t)(key % 3));
            dload_status st = shared_cache_set(&c, key, &t, 0);
            assert_true(st == DLOAD_OK || st == DLOAD_ETOOBIG);
            assert_true(shared_cache_weight(&c) <= max_weight);
        }
        must_ok(shared_cache_destroy(&c));
    }
}

/* Without a limit weights are summed, and pin; a table that grows takes them along. */
static void test_weight_without_a_limit(void **state)
{
    (void)state;
    growing_cache c;
    growing_cache_config cfg;
    memset(&cfg, 0, sizeof cfg);
    cfg.capacity = DLOAD_UNBOUNDED;
    cfg.max_weight = 10;
    must(growing_cache_init(&c, &cfg), DLOAD_EINVAL);
    cfg.max_weight = 0;
    must_ok(growing_cache_init(&c, &cfg));
    next_id = 0;
    uint64_t sum = 0;
    for (uint64_t key = 0; key < 3000; key++) {
        struct thing t = thing_of((uint32_t)(key * 1000));
        sum += t.weight;
        must_ok(growing_cache_set(&c, key, &t, 0));
    }
    equal(growing_cache_weight(&c), sum);
    for (uint64_t key = 0; key < 3000; key += 2) {
        must_ok(growing_cache_delete(&c, key));
        sum -= key * 1000;
    }
    equal(growing_cache_weight(&c), sum);
    struct thing huge = thing_of(UINT32_MAX);
    must(growing_cache_set(&c, 1, &huge, 0), DLOAD_ETOOBIG);
    equal(growing_cache_weight(&c), sum - 1000);
    must_ok(growing_cache_destroy(&c));
}

/* ---- pins ---- */

/* All but one are pinned: whoever searched among them would never be through. */
static void test_weight_pinned_are_not_searched(void **state)
{
    (void)state;
    const size_t n = scaled(100000);
    pl_cache c;
    pl_cache_config cfg;
    memset(&cfg, 0, sizeof cfg);
    cfg.capacity = n;
    cfg.shards = 1;
    must_ok(pl_cache_init(&c, &cfg));
    for (uint64_t key = 0; key < n; key++) {
        must_ok(pl_cache_set(&c, key, &key, 0));
        if (key != n / 2) {
            must_ok(pl_cache_pin(&c, key));
        }
    }
    for (uint64_t key = n; key < 3 * n; key++) {
        must_ok(pl_cache_set(&c, key, &key, 0));
    }
    equal(pl_cache_len(&c), n);
    uint64_t got = 0;
    must(pl_cache_get(&c, n / 2, &got), DLOAD_MISSING);
    must_ok(pl_cache_pin(&c, 3 * n - 1));
    for (uint64_t key = 3 * n; key < 4 * n; key++) {
        must(pl_cache_set(&c, key, &key, 0), DLOAD_EFULL);
    }
    for (uint64_t key = 0; key < n; key++) {
        must(pl_cache_get(&c, key, &got), key == n / 2 ? DLOAD_MISSING : DLOAD_OK);
    }
    must(pl_cache_pin(&c, n / 2), DLOAD_MISSING);
    must_ok(pl_cache_unpin(&c, 0));
    must_ok(pl_cache_unpin(&c, 0)); /* twice is harmless */
    must_ok(pl_cache_set(&c, n, &n, 0));
    must(pl_cache_get(&c, 0, &got), DLOAD_MISSING);
    must_ok(pl_cache_clear(&c));
    must_ok(pl_cache_set(&c, 5, &got, 0)); /* pinned before the clear, not after */
    for (uint64_t key = n; key < 3 * n; key++) {
        must_ok(pl_cache_set(&c, key, &key, 0));
    }
    must(pl_cache_get(&c, 5, &got), DLOAD_MISSING);
    must_ok(pl_cache_destroy(&c));
}

/* ---- in a loader ---- */

struct source {
    uint32_t weights[2000]; /* by key */
    size_t n_fetched;
};

static dload_status wl_fetch(wl_batch *b)
{
    struct source *src = b->ctx;
    for (size_t i = 0; i < b->n; i++) {
        struct thing t = thing_of(src->weights[b->keys[i]]);
        n_owners[t.id] = 1;
        must_ok(wl_batch_move(b, i, &t));
        src->n_fetched++;
    }
    return DLOAD_OK;
}

static void take(wl *l, uint64_t key, uint64_t group)
{
    struct thing t;
    dload_call call;
    memset(&call, 0, sizeof call);
    call.group = group;
    must_ok(wl_load_with(l, key, &call, &t));
    thing_unref(&t);
}

static dload_stats stats_of(wl *l)
{
    dload_stats stats;
    must_ok(wl_stats(l, &stats));
    return stats;
}

static size_t n_owned(void)
{
    size_t n = 0;
    for (uint32_t id = 0; id < next_id; id++) {
        n += n_owners[id] != 0;
    }
    return n;
}

static void test_weight_in_a_loader(void **state)
{
    (void)state;
    static struct source src;
    struct fake_env f;
    wl l;
    wl_config cfg = wl_config_default();
    dload_state found;
    memset(&src, 0, sizeof src);
    memset(n_owners, 0, sizeof n_owners);
    next_id = 0;
    fake_env_init(&f);
    cfg.env = &f.env;
    cfg.fetch = wl_fetch;
    cfg.ctx = &src;
    cfg.capacity = 500;
    cfg.shards = 1;
    cfg.max_weight = 100;
    cfg.max_batch = 200;
    must_ok(wl_init(&l, &cfg));
    for (size_t key = 0; key < COUNT(src.weights); key++) {
        src.weights[key] = 1;
    }
    src.weights[1000] = 101; /* more than there may be */
    src.weights[1001] = 80;
    src.weights[1002] = 0;
    for (uint64_t round = 1; round < 3; round++) { /* delivered, cached nowhere */
        take(&l, 1000, 0);
        dload_stats s = stats_of(&l);
        equal(s.too_heavy, round);
        equal(s.store_skipped, round);
        equal(s.entries, 0);
        equal(s.weight, 0);
    }
    uint64_t keys[150];
    struct thing out[150];
    for (size_t i = 0; i < COUNT(keys); i++) {
        keys[i] = i;
    }
    must_ok(wl_load_many(&l, keys, 100, out, NULL));
    for (size_t i = 0; i < 100; i++) {
        thing_unref(&out[i]);
    }
    equal(stats_of(&l).weight, 100);
    take(&l, 1001, 0); /* one displaces eighty */
    equal(stats_of(&l).weight, 100);
    equal(stats_of(&l).evictions, 80);
    equal(stats_of(&l).entries, 21);
    equal(n_owned(), 21); /* the eighty were released before the call returned */
    equal(wl_cache_weight(&l.cache), 100);
    take(&l, 1002, 0);
    equal(stats_of(&l).pinned, 1);
    /* a batch in which the first displace what was there, and the later ones the first */
    must_ok(wl_load_many(&l, keys, 150, out, NULL));
    for (size_t i = 0; i < 150; i++) {
        thing_unref(&out[i]);
    }
    assert_true(stats_of(&l).weight <= 100);
    must_ok(wl_peek(&l, 1002, &found, NULL));
    struct thing t = thing_of(60);
    n_owners[t.id] = 1;
    must_ok(wl_prime(&l, 7, &t, DLOAD_OVERWRITE | DLOAD_PIN));
    thing_unref(&t);
    t = thing_of(41); /* beside what is pinned there is no room for it */
    n_owners[t.id] = 1;
    must(wl_prime(&l, 8, &t, DLOAD_OVERWRITE), DLOAD_EFULL);
    thing_unref(&t);
    equal(stats_of(&l).pinned, 2);
    for (uint64_t key = 100; key < 800; key++) {
        take(&l, key, 0);
    }
    must_ok(wl_peek(&l, 7, &found, NULL));
    must_ok(wl_unpin(&l, 7));
    for (uint64_t key = 100; key < 800; key++) {
        take(&l, key, 0);
    }
    must(wl_peek(&l, 7, &found, NULL), DLOAD_MISSING);
    /* a pin belongs to a key of a group */
    take(&l, 9, 5);
    take(&l, 9, 6);
    must(wl_pin(&l, 9), DLOAD_MISSING);
    must_ok(wl_pin_in(&l, 9, 5));
    equal(stats_of(&l).pinned, 2);
    for (uint64_t key = 100; key < 800; key++) {
        take(&l, key, 0);
    }
    must_ok(wl_peek_in(&l, 9, 5, &found, NULL));
    must(wl_peek_in(&l, 9, 6, &found, NULL), DLOAD_MISSING);
    must_ok(wl_unpin_in(&l, 9, 5));
    must_ok(wl_clear_all(&l));
    equal(stats_of(&l).weight, 0);
    equal(stats_of(&l).pinned, 0);
    take(&l, 1001, 0);
    must_ok(wl_close(&l, DLOAD_DRAIN, 0));
    must_ok(wl_destroy(&l));
    fake_env_check(&f);
    for (uint32_t id = 0; id < next_id; id++) {
        equal(n_owners[id], 0);
    }
}

/* Prime pins what is there, too, and leaves it as it is; errors weigh nothing and are not pinned by that. */
static void test_weight_prime_and_errors(void **state)
{
    (void)state;
    static struct source src;
    wl l;
    wl_config cfg = wl_config_default();
    dload_state found;
    struct thing out;
    memset(n_owners, 0, sizeof n_owners);
    next_id = 0;
    cfg.fetch = wl_fetch;
    cfg.ctx = &src;
    cfg.capacity = 4;
    cfg.shards = 1;
    cfg.max_weight = 10;
    must_ok(wl_init(&l, &cfg));
    struct thing first = thing_of(3), second = thing_of(4);
    n_owners[first.id] = n_owners[second.id] = 1;
    must_ok(wl_prime(&l, 1, &first, 0));
    must_ok(wl_prime(&l, 1, &second, DLOAD_PIN));
    equal(stats_of(&l).pinned, 1);
    equal(stats_of(&l).weight, 3);
    must_ok(wl_load(&l, 1, &out));
    equal(out.id, first.id);
    thing_unref(&out);
    for (uint64_t key = 10; key < 30; key++) {
        must_ok(wl_prime_error(&l, key, DLOAD_MISSING, DLOAD_SECOND));
    }
    equal(stats_of(&l).entries, 4);
    equal(stats_of(&l).pinned, 1);
    equal(stats_of(&l).weight, 3);
    must(wl_peek(&l, 29, &found, &out), DLOAD_MISSING);
    equal(found, DLOAD_STATE_ERROR);
    must_ok(wl_pin(&l, 29));
    must_ok(wl_prime(&l, 29, &second, DLOAD_OVERWRITE)); /* the pin is the key's */
    equal(stats_of(&l).pinned, 2);
    equal(stats_of(&l).weight, 7);
    must(wl_cache_pin(&l.cache, 77), DLOAD_MISSING);
    thing_unref(&first);
    thing_unref(&second);
    must_ok(wl_close(&l, DLOAD_DRAIN, 0));
    must_ok(wl_destroy(&l));
    equal(n_owners[first.id], 0);
    equal(n_owners[second.id], 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_weight_shares),
        cmocka_unit_test(test_weight_without_a_limit),
        cmocka_unit_test(test_weight_pinned_are_not_searched),
        cmocka_unit_test(test_weight_in_a_loader),
        cmocka_unit_test(test_weight_prime_and_errors),
    };
    return cmocka_run_group_tests_name("weight " TEST_STRING(TEST_LOCK), tests, NULL, NULL);
}
