/* The table under the cache: searches stay short however often its content was replaced, and keys
 * made to collide are slow but right. */
/* locks: NONE */
/* also plain: DLOAD_NO_SIMD=1 */
/* also asan: DLOAD_NO_SIMD=1 */
#define DLOAD_NAME  tab
#define DLOAD_KEY   uint64_t
#define DLOAD_VALUE uint64_t
#define DLOAD_EVICT DLOAD_EVICT_FIFO
#include "dataloader.h"
#include "support.h"
#include "test_mixer.h"

#include <stdlib.h>
#include <string.h>

static struct fake_env env;

static int setup(void **state)
{
    (void)state;
    fake_env_init(&env);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    fake_env_check(&env);
    return 0;
}

static void tab_open(tab_cache *c, size_t capacity)
{
    tab_cache_config cfg;
    memset(&cfg, 0, sizeof cfg);
    cfg.env = &env.env;
    cfg.capacity = capacity;
    must_ok(tab_cache_init(c, &cfg));
    equal(c->n_shards, 1);
}

/* ---- tags, thirty-two at a time ---- */

/* Few different tags and many neighbours that differ by one: where arithmetic on eight bytes at once would
 * borrow from one to the next. */
static void test_table_tags(void **state)
{
    (void)state;
    uint64_t seed = test_seed("tags");
    static dload_i_group lines[2]; /* on a line of 64 bytes, as in a table */
    dload_i_group *g = (dload_i_group *)(((uintptr_t)lines + 63) & ~(uintptr_t)63);
    for (size_t i = 0; i < scaled(20000); i++) {
        uint8_t base = (uint8_t)rng(&seed);
        uint8_t n_kinds = (uint8_t)(1 + rng_below(&seed, i % 2 == 0 ? 4 : 200));
        for (uint32_t k = 0; k < 32; k++) {
            g->tags[k] = (uint8_t)(base + rng_below(&seed, n_kinds));
        }
        uint8_t tag = (uint8_t)(base + rng_below(&seed, n_kinds));
        uint32_t is = 0;
        for (uint32_t k = 0; k < 32; k++) {
            is |= (uint32_t)(g->tags[k] == tag) << k;
        }
        equal(dload_i_find_tag(g, tag), is);
        equal(dload_i_find_tag_shared(g, tag), is);
    }
}

/* ---- how many groups a search looks at, in hundredths ---- */

static uint64_t groups_per_miss(const tab_cache *c, uint64_t seed)
{
    const tab_shard *s = c->shard;
    uint64_t looked = 0, n = 20000;
    for (uint64_t i = 0; i < n; i++) {
        uint64_t hash = rng(&seed);
        uint32_t at = dload_i_home(hash, s->n_groups), class_ = dload_i_class(hash);
        looked++;
        for (uint32_t k = 1; k < s->n_groups && s->groups[at].over[class_]; k++) {
            at = dload_i_next_group(at, s->n_groups);
            looked++;
        }
    }
    return looked * 100 / n;
}

static uint64_t groups_per_hit(const tab_cache *c, uint64_t *n_found)
{
    const tab_shard *s = c->shard;
    uint64_t looked = 0, n = 0;
    for (uint32_t slot = 0; slot < s->n_groups * DLOAD_I_GROUP_SLOTS; slot++) {
        uint32_t group = slot / DLOAD_I_GROUP_SLOTS;
        if (s->groups[group].tags[slot % DLOAD_I_GROUP_SLOTS]) {
            uint32_t home = dload_i_home(tab_i_hash(s->slots[slot].key), s->n_groups);
            looked += (group + s->n_groups - home) % s->n_groups + 1;
            n++;
        }
    }
    *n_found = n;
    return looked * 100 / n;
}

static void churn(size_t capacity)
{
    tab_cache c;
    uint64_t key = 0, value = 0, found = 0;
    tab_open(&c, capacity);
    for (; key < capacity; key++) {
        must_ok(tab_cache_set(&c, key, &key, 0));
    }
    uint64_t miss_fresh = groups_per_miss(&c, 1), hit_fresh = groups_per_hit(&c, &found);
    equal(found, capacity);
    for (; key < 21 * capacity; key++) {
        must_ok(tab_cache_set(&c, key, &key, 0));
        if (key % 3 == 0) {
            must_ok(tab_cache_delete(&c, key - capacity / 2));
        }
    }
    for (uint64_t last = key + capacity; key < last; key++) {
        must_ok(tab_cache_set(&c, key, &key, 0));
    }
    equal(tab_cache_len(&c), capacity);
    uint64_t miss = groups_per_miss(&c, 2), hit = groups_per_hit(&c, &found);
    equal(found, capacity);
    print_message("capacity %zu: groups per miss %.2f -> %.2f, per hit %.2f -> %.2f\n", capacity,
                  (double)miss_fresh / 100, (double)miss / 100, (double)hit_fresh / 100,
                  (double)hit / 100);
    assert_true(miss <= 2 * miss_fresh && miss < 250);
    assert_true(hit <= hit_fresh + hit_fresh / 4 && hit < 200);
    for (uint64_t k = key - capacity; k < key; k++) {
        must_ok(tab_cache_get(&c, k, &value));
        equal(value, k);
    }
    must_ok(tab_cache_destroy(&c));
}

static void test_table_churn(void **state)
{
    (void)state;
    churn(100);
    churn(5000);
    churn(scaled(100000));
}

/* When everything has gone, nothing is left of it: all counters are back at zero. */
static void test_table_empties(void **state)
{
    (void)state;
    tab_cache c;
    uint64_t seed = test_seed("table");
    tab_open(&c, 2000);
    for (int round = 0; round < 5; round++) {
        for (int i = 0; i < 10000; i++) {
            uint64_t key = rng_below(&seed, 3000);
            must_ok(rng_below(&seed, 3) ? tab_cache_set(&c, key, &key, 0)
                                        : tab_cache_delete(&c, key));
        }
        for (uint64_t key = 0; key < 3000; key++) {
            must_ok(tab_cache_delete(&c, key));
        }
        equal(tab_cache_len(&c), 0);
        for (uint32_t g = 0; g < c.shard->n_groups; g++) {
            for (size_t i = 0; i < 16; i++) {
                equal(c.shard->groups[g].tags[i], 0);
            }
            for (size_t i = 0; i < 8; i++) {
                equal(c.shard->groups[g].over[i], 0);
            }
        }
    }
    must_ok(tab_cache_destroy(&c));
}

/* ---- keys made to collide ---- */

/* Against an array of what is there: sets, deletes and gets on n keys that share what mask keeps.
 * */
static void collide(uint64_t mask, size_t n)
{
    tab_cache c;
    uint64_t seed = 99;
    uint64_t *keys = calloc(n, sizeof *keys);
    uint64_t *here = calloc(n, sizeof *here); /* the value + 1, or 0 */
    assert_true(keys && here);
    for (size_t i = 0; i < n; i++) {
        uint64_t h = (UINT64_C(0xfedcba9876543210) & mask) | (rng(&seed) & ~mask);
        keys[i] = key_of_hash(h);
    }
    tab_open(&c, n + n / 4);
    for (size_t step = 0; step < 20 * n; step++) {
        size_t i = (size_t)rng_below(&seed, n);
        uint64_t value = step, got = 0;
        switch (rng_below(&seed, 3)) {
        case 0:
            must_ok(tab_cache_delete(&c, keys[i]));
            here[i] = 0;
            break;
        case 1:
            must_ok(tab_cache_set(&c, keys[i], &value, 0));
            here[i] = value + 1;
            break;
        default:
            must(tab_cache_get(&c, keys[i], &got), here[i] ? DLOAD_OK : DLOAD_MISSING);
            equal(here[i] ? got + 1 : 0, here[i]);
        }
    }
    for (size_t i = 0; i < n; i++) {
        uint64_t got = 0;
        must(tab_cache_get(&c, keys[i], &got), here[i] ? DLOAD_OK : DLOAD_MISSING);
        equal(here[i] ? got + 1 : 0, here[i]);
    }
    must_ok(tab_cache_destroy(&c));
    free(keys);
    free(here);
}

static void test_table_collisions(void **state)
{
    (void)state;
    collide(UINT64_C(0xffffffff00000000), 1500); /* one home, one class */
    collide(UINT64_C(0x00000000000000ff), 1500); /* one tag */
    collide(UINT64_C(0xffffffff000000ff), 1500); /* all three: each search compares every key */
    collide(UINT64_C(0xfffffff8000000ff), 1500); /* one home, every class */
}

/* A counter that has been full is no count any more, and must not bring the others down. */
static void test_table_saturated_counters(void **state)
{
    (void)state;
    tab_cache c;
    uint64_t value = 1, got;
    enum { N = 400 };
    static uint64_t keys[N];
    tab_open(&c, 3 * N);
    for (uint64_t i = 0; i < N; i++) {
        keys[i] = key_of_hash((UINT64_C(0x40000000) << 32) | (i << 8) | 7);
        must_ok(tab_cache_set(&c, keys[i], &value, 0));
    }
    /* The first ones live in the home group; without them the counters still lead to the last. */
    for (size_t i = 0; i < N - 1; i++) {
        must_ok(tab_cache_delete(&c, keys[i]));
        must_ok(tab_cache_get(&c, keys[N - 1], &got));
        must(tab_cache_get(&c, keys[i], &got), DLOAD_MISSING);
    }
    for (size_t i = 0; i < N - 1; i++) {
        must_ok(tab_cache_set(&c, keys[i], &value, 0));
    }
    for (size_t i = 0; i < N; i++) {
        must_ok(tab_cache_get(&c, keys[i], &got));
    }
    equal(tab_cache_len(&c), N);
    must_ok(tab_cache_destroy(&c));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_table_tags, setup, teardown),
        cmocka_unit_test_setup_teardown(test_table_churn, setup, teardown),
        cmocka_unit_test_setup_teardown(test_table_empties, setup, teardown),
        cmocka_unit_test_setup_teardown(test_table_collisions, setup, teardown),
        cmocka_unit_test_setup_teardown(test_table_saturated_counters, setup, teardown),
    };
    return cmocka_run_group_tests_name("table " TEST_STRING(TEST_LOCK), tests, NULL, NULL);
}
