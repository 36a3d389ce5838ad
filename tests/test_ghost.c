/* The memory of evicted keys against a list: what is in it, in which order it forgets; with hashes
 * that spread and with hashes that all look alike. */
/* locks: NONE */
/* also plain: DLOAD_NO_SIMD=1 */
/* also asan: DLOAD_NO_SIMD=1 */
#define DLOAD_NAME  unused_loader
#define DLOAD_KEY   int
#define DLOAD_VALUE int
#include "dataloader.h"
#include "support.h"

#include <stdlib.h>
#include <string.h>

struct rig {
    dload_i_ghost g;
    void *memory;
    uint64_t *list; /* the oracle: oldest first */
    size_t n, limit;
};

static void rig_open(struct rig *r, uint32_t limit)
{
    memset(r, 0, sizeof *r);
    r->limit = limit;
    /* A bucket is a cache line, and loaded as one. */
    size_t n_bytes = (dload_i_ghost_pieces(limit) + 1) * sizeof(dload_i_ghost_bucket);
    r->memory = aligned_alloc(64, n_bytes); /* two cache lines are a bucket */
    r->list = calloc(limit + 1, sizeof *r->list);
    assert_true(r->memory && r->list);
    memset(r->memory, 0, n_bytes);
    dload_i_ghost_init(&r->g, limit, r->memory);
}

static void rig_close(struct rig *r)
{
    free(r->memory);
    free(r->list);
}

/* The cache never adds what is there: a key is in the ghost or in the cache. */
static void rig_add(struct rig *r, uint64_t hash)
{
    dload_i_ghost_add(&r->g, hash);
    if (!r->limit) {
        return;
    }
    if (r->n == r->limit) {
        memmove(r->list, r->list + 1, (r->n - 1) * sizeof r->list[0]);
        r->n--;
    }
    r->list[r->n++] = hash;
    equal(r->g.n_live, r->n);
}

static bool rig_take(struct rig *r, uint64_t hash)
{
    bool want = false;
    for (size_t i = 0; i < r->n && !want; i++) {
        if (r->list[i] == hash) {
            want = true;
            memmove(&r->list[i], &r->list[i + 1], (r->n - i - 1) * sizeof r->list[0]);
        }
    }
    r->n -= want;
    equal(dload_i_ghost_take(&r->g, hash), want);
    equal(r->g.n_live, r->n);
    return want;
}

#define NEIGHBOURS UINT64_C(3)

static void random_walk(uint64_t seed, uint32_t limit, uint64_t n_hashes, uint64_t spread)
{
    struct rig r;
    rig_open(&r, limit);
    /* As after many evictions: times come to their end, and are counted anew, on the way. */
    r.g.first = r.g.next = INT32_MAX - (uint32_t)rng_below(&seed, 9000);
    size_t n_taken = 0;
    for (size_t i = 0, n = scaled(20000); i < n; i++) {
        uint64_t hash = 1 + rng_below(&seed, n_hashes) * spread;
        if (spread == NEIGHBOURS) { /* an eighth of the homes, side by side, for all */
            hash = (hash % 8 << 58) | hash / NEIGHBOURS;
        }
        uint64_t mood = rng_below(&seed, 10);
        bool was = rig_take(&r, hash);
        n_taken += was;
        /* In stretches more is taken than added, or the other way round. */
        if (mood < (i / 1000 % 2 ? 9u : 5u)) {
            rig_add(&r, hash);
        }
    }
    assert_true(!limit || n_taken > 0);
    /* What is left is what the list says, to the last one. */
    while (r.n) {
        assert_true(rig_take(&r, r.list[rng_below(&seed, r.n)]));
    }
    rig_close(&r);
}

static void test_ghost_random(void **state)
{
    (void)state;
    static const uint32_t limits[] = {0, 1, 2, 3, 8, 9, 90, 300};
    uint64_t seed = test_seed("ghost");
    for (size_t i = 0; i < COUNT(limits); i++) {
        uint64_t n = 2 * limits[i] + 3;
        random_walk(rng(&seed), limits[i], n, UINT64_C(0x9e3779b97f4a7c15)); /* well spread */
        random_walk(rng(&seed), limits[i], n, 1);                            /* high halves alike */
        random_walk(rng(&seed), limits[i], n, UINT64_C(1) << 32);            /* low halves alike */
        random_walk(rng(&seed), limits[i], n, NEIGHBOURS);
    }
}

/* Zero is a hash like any other, also where places are free and all zeros. */
static void test_ghost_zero(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r, 4);
    assert_false(dload_i_ghost_take(&r.g, 0));
    dload_i_ghost_add(&r.g, 0);
    assert_true(dload_i_ghost_take(&r.g, 0));
    assert_false(dload_i_ghost_take(&r.g, 0));
    rig_close(&r);
}

/* Most of it taken out again and again, so that it is all holes: it still holds what it promises.
 * */
static void test_ghost_holes(void **state)
{
    (void)state;
    struct rig r;
    uint64_t next = 1;
    rig_open(&r, 50);
    for (int round = 0; round < 200; round++) {
        for (int i = 0; i < 50; i++) {
            rig_add(&r, next++ * UINT64_C(0x9e3779b97f4a7c15));
        }
        for (uint64_t i = 0; i < 49; i++) { /* all but the oldest */
            assert_true(rig_take(&r, r.list[1]));
        }
        assert_true(rig_take(&r, r.list[0]));
    }
    rig_close(&r);
}

/* A key that its home had no room for is found for as long as it is remembered, also when an older one,
 * which is forgotten before it, went the same way after it. */
static void test_ghost_passed_twice(void **state)
{
    (void)state;
    struct rig r;
    uint64_t n = 0;
    uint64_t home[3];
    rig_open(&r, 33);
    uint64_t step = UINT64_C(0xffffffffffffffff) / r.g.n_buckets;
    assert_true(r.g.n_buckets > 4); /* the homes are the first, the second, and one far from them */
    for (uint64_t i = 0; i < 3; i++) {
        home[i] = (step * (i < 2 ? i : 4) + step / 2) >> 32 << 32;
    }
    for (int i = 0; i < 16; i++) { /* the last one sends the first on, to the second home */
        rig_add(&r, home[0] + n++);
    }
    uint64_t sent =
        home[1] + n; /* the first of those, which the last of them sends on, after the other */
    for (int i = 0; i < 16; i++) {
        rig_add(&r, home[1] + n++);
    }
    assert_true(rig_take(&r, sent + 5)); /* room for what the first home sends on */
    rig_add(&r, home[0] + n++);
    rig_add(&r, home[1] + n++); /* ... which goes further at once */
    for (int i = 0; i < 3; i++) {
        rig_add(&r, home[2] + n++);
    }
    assert_false(rig_take(&r, home[0] + 1)); /* the older one is forgotten */
    assert_true(rig_take(&r, sent));
    rig_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ghost_random),
        cmocka_unit_test(test_ghost_zero),
        cmocka_unit_test(test_ghost_holes),
        cmocka_unit_test(test_ghost_passed_twice),
    };
    return cmocka_run_group_tests_name("ghost " TEST_STRING(TEST_LOCK), tests, NULL, NULL);
}
