/* Limits by weight, and entries that are pinned: random operations against a list of what must be there,
 * under every policy; never above the bound, nothing evicted that is pinned or need not go; and the rules
 * one by one, in a cache and in a loader. */
/* locks: NONE SPIN PTHREAD */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct thing {
    uint32_t id;
    uint32_t weight;
};
enum { MAX_THINGS = 40000, N_KEYS = 60 };
#define NO_ID  UINT32_MAX
#define NO_KEY UINT64_MAX

static int32_t n_owners[MAX_THINGS];
static int32_t n_told[MAX_THINGS];
static int32_t n_asked[MAX_THINGS];
static uint32_t weights[MAX_THINGS];
static bool was_cleared[MAX_THINGS];

static inline void thing_ref(struct thing *t)
{
    n_owners[t->id]++;
}

static inline void thing_unref(struct thing *t)
{
    n_owners[t->id]--;
}

static inline uint32_t thing_weight(const struct thing *t)
{
    n_asked[t->id]++;
    return t->weight;
}

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

#include <inttypes.h>
#include <string.h>

#define TICK_NS (UINT64_C(1) << 20)

/* ---- what must be there ---- */

struct entry {
    bool here;
    bool pinned; /* by a call */
    uint32_t id;
    uint64_t end_ns;
};

struct model {
    struct fake_env f;
    uint64_t seed, now_ns;
    size_t capacity;
    uint64_t max_weight;
    bool evicts, ending;
    struct entry e[N_KEYS];
    uint32_t next_id, setting_id; /* setting_id: of the value that is being set */
    uint64_t setting_key, deleting_key;
    size_t n_evicted; /* by it */
    uint64_t most_evicted;
    void *cache;
};

static void model_init(struct model *m, uint64_t seed, size_t capacity, uint64_t max_weight,
                       bool evicts)
{
    memset(m, 0, sizeof *m);
    memset(n_owners, 0, sizeof n_owners);
    memset(n_told, 0, sizeof n_told);
    memset(n_asked, 0, sizeof n_asked);
    memset(was_cleared, 0, sizeof was_cleared);
    fake_env_init(&m->f);
    m->seed = seed;
    m->capacity = capacity;
    m->max_weight = max_weight;
    m->evicts = evicts;
    m->now_ns = 1000 * TICK_NS;
    m->setting_id = NO_ID;
    m->deleting_key = NO_KEY;
}

static uint32_t some_weight(struct model *m)
{
    switch (rng_below(&m->seed, 12)) {
    case 0:
        return 0; /* pinned */
    case 1:
        return (uint32_t)(1 + rng_below(&m->seed, m->max_weight + m->max_weight / 4));
    case 2:
        return (uint32_t)m->max_weight;
    case 3:
        return rng_below(&m->seed, 20) == 0 ? UINT32_MAX : 7;
    default:
        return (uint32_t)(1 + rng_below(&m->seed, 1 + m->max_weight / 10));
    }
}

static uint64_t some_ttl(struct model *m)
{
    return (2 + rng_below(&m->seed, 50)) * TICK_NS;
}

static size_t model_len(const struct model *m)
{
    size_t n = 0;
    for (size_t i = 0; i < N_KEYS; i++) {
        n += m->e[i].here;
    }
    return n;
}

static uint64_t model_weight(const struct model *m)
{
    uint64_t weight = 0;
    for (size_t i = 0; i < N_KEYS; i++) {
        weight += m->e[i].here ? weights[m->e[i].id] : 0;
    }
    return weight;
}

/* What setting a value of this weight must come to. */
static dload_status model_may_set(const struct model *m, uint64_t key, uint32_t weight)
{
    uint64_t fixed_weight = 0;
    size_t n_fixed = 0;
    for (size_t i = 0; i < N_KEYS; i++) {
        const struct entry *e = &m->e[i];
        if (i != key && e->here && (e->pinned || !m->evicts || weights[e->id] == 0)) {
            fixed_weight += weights[e->id];
            n_fixed++;
        }
    }
    if (weight > m->max_weight) {
        return DLOAD_ETOOBIG;
    }
    return fixed_weight + weight > m->max_weight || n_fixed == m->capacity ? DLOAD_EFULL : DLOAD_OK;
}

/* The hook was called. */
static void model_told(struct model *m, uint64_t key, uint32_t id, dload_removal reason)
{
    struct entry *e = &m->e[key];
    bool is_entry = e->here && e->id == id;
    equal(++n_told[id], 1);
    switch (reason) {
    case DLOAD_REMOVED_EVICTED:
        assert_true(is_entry && m->evicts && m->setting_id != NO_ID);
        assert_true(!e->pinned && weights[id] != 0);
        m->n_evicted++;
        if (weights[id] > m->most_evicted) {
            m->most_evicted = weights[id];
        }
        break;
    case DLOAD_REMOVED_EXPIRED:
        assert_true(is_entry && m->now_ns >= e->end_ns);
        break;
    case DLOAD_REMOVED_REPLACED:
        assert_true(is_entry && m->setting_id != NO_ID && m->setting_key == key);
        break;
    case DLOAD_REMOVED_CLEARED:
        assert_true(was_cleared[id] || (is_entry && m->deleting_key == key));
        break;
    case DLOAD_REMOVED_REJECTED:
        equal(id, m->setting_id);
        return;
    case DLOAD_REMOVED_DESTROYED:
        assert_true(is_entry && m->ending);
        break;
    }
    if (is_entry) {
        e->here = false;
    }
}

/* An entry is missing and nobody was told: may it? */
static void model_missing(struct model *m, uint64_t key)
{
    struct entry *e = &m->e[key];
    assert_true(m->evicts && !e->pinned && weights[e->id] != 0);
    e->here = false;
}

static void model_advanced(struct model *m)
{
    for (size_t i = 0; i < N_KEYS; i++) {
        m->e[i].here = m->e[i].here && m->now_ns < m->e[i].end_ns;
    }
}

static void model_clear(struct model *m)
{
    for (size_t i = 0; i < N_KEYS; i++) {
        was_cleared[m->e[i].id] = was_cleared[m->e[i].id] || m->e[i].here;
        m->e[i].here = false;
    }
}

/* clang-format off */
#define MODEL       told_fifo
#define MODEL_EVICT DLOAD_EVICT_FIFO
#define MODEL_TOLD  1
#include "test_weight_model.h"
#define MODEL       told_clock
#define MODEL_EVICT DLOAD_EVICT_CLOCK
#define MODEL_TOLD  1
#include "test_weight_model.h"
#define MODEL       told_lru
#define MODEL_EVICT DLOAD_EVICT_LRU
#define MODEL_TOLD  1
#include "test_weight_model.h"
#define MODEL       told_sieve
#define MODEL_EVICT DLOAD_EVICT_SIEVE
#define MODEL_TOLD  1
#include "test_weight_model.h"
#define MODEL       told_s3fifo
#define MODEL_EVICT DLOAD_EVICT_S3FIFO
#define MODEL_TOLD  1
#include "test_weight_model.h"
#define MODEL       told_adaptive
#define MODEL_EVICT DLOAD_EVICT_ADAPTIVE
#define MODEL_TOLD  1
#include "test_weight_model.h"
#define MODEL       told_none
#define MODEL_EVICT DLOAD_EVICT_NONE
#define MODEL_TOLD  1
#include "test_weight_model.h"
#define MODEL       plain_lru
#define MODEL_EVICT DLOAD_EVICT_LRU
#define MODEL_TOLD  0
#include "test_weight_model.h"
#define MODEL       plain_s3fifo
#define MODEL_EVICT DLOAD_EVICT_S3FIFO
#define MODEL_TOLD  0
#include "test_weight_model.h"
/* clang-format on */

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
        plain_s3fifo_cache c;
        plain_s3fifo_cache_config cfg;
        uint64_t sum = 0;
        memset(&cfg, 0, sizeof cfg);
        cfg.capacity = 64;
        cfg.shards = 8;
        cfg.max_weight = max_weight;
        must_ok(plain_s3fifo_cache_init(&c, &cfg));
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
            dload_status st = plain_s3fifo_cache_set(&c, key, &t, 0);
            assert_true(st == DLOAD_OK || st == DLOAD_ETOOBIG);
            assert_true(plain_s3fifo_cache_weight(&c) <= max_weight);
        }
        must_ok(plain_s3fifo_cache_destroy(&c));
    }
}

/* Without a limit weights are summed, and pin; a table that grows takes them along. */
static void test_weight_without_a_limit(void **state)
{
    (void)state;
    plain_lru_cache c;
    plain_lru_cache_config cfg;
    memset(&cfg, 0, sizeof cfg);
    cfg.capacity = DLOAD_UNBOUNDED;
    cfg.max_weight = 10;
    must(plain_lru_cache_init(&c, &cfg), DLOAD_EINVAL);
    cfg.max_weight = 0;
    must_ok(plain_lru_cache_init(&c, &cfg));
    next_id = 0;
    uint64_t sum = 0;
    for (uint64_t key = 0; key < 3000; key++) {
        struct thing t = thing_of((uint32_t)(key * 1000));
        sum += t.weight;
        must_ok(plain_lru_cache_set(&c, key, &t, 0));
    }
    equal(plain_lru_cache_weight(&c), sum);
    for (uint64_t key = 0; key < 3000; key += 2) {
        must_ok(plain_lru_cache_delete(&c, key));
        sum -= key * 1000;
    }
    equal(plain_lru_cache_weight(&c), sum);
    struct thing huge = thing_of(UINT32_MAX);
    must(plain_lru_cache_set(&c, 1, &huge, 0), DLOAD_ETOOBIG);
    equal(plain_lru_cache_weight(&c), sum - 1000);
    must_ok(plain_lru_cache_destroy(&c));
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
        cmocka_unit_test(told_fifo_test),
        cmocka_unit_test(told_clock_test),
        cmocka_unit_test(told_lru_test),
        cmocka_unit_test(told_sieve_test),
        cmocka_unit_test(told_s3fifo_test),
        cmocka_unit_test(told_adaptive_test),
        cmocka_unit_test(told_none_test),
        cmocka_unit_test(plain_lru_test),
        cmocka_unit_test(plain_s3fifo_test),
        cmocka_unit_test(test_weight_shares),
        cmocka_unit_test(test_weight_without_a_limit),
        cmocka_unit_test(test_weight_pinned_are_not_searched),
        cmocka_unit_test(test_weight_in_a_loader),
        cmocka_unit_test(test_weight_prime_and_errors),
    };
    return cmocka_run_group_tests_name("weight " TEST_STRING(TEST_LOCK), tests, NULL, NULL);
}
