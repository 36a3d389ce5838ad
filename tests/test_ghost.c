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
    uint64_t *ring;
    uint32_t *index;
    uint64_t *list; /* the oracle: oldest first */
    size_t n, limit;
};

static void rig_open(struct rig *r, uint32_t limit)
{
    memset(r, 0, sizeof *r);
    r->limit = limit;
    r->ring = calloc(dload_i_ghost_ring_size(limit) + 1, sizeof *r->ring);
    r->index = calloc(dload_i_ghost_index_size(limit) + 1, sizeof *r->index);
    r->list = calloc(limit + 1, sizeof *r->list);
    assert_true(r->ring && r->index && r->list);
    dload_i_ghost_init(&r->g, limit, r->ring, r->index);
}

static void rig_close(struct rig *r)
{
    free(r->ring);
    free(r->index);
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

static void random_walk(uint64_t seed, uint32_t limit, uint64_t n_hashes, uint64_t spread)
{
    struct rig r;
    rig_open(&r, limit);
    size_t n_taken = 0;
    for (size_t i = 0, n = scaled(20000); i < n; i++) {
        uint64_t hash = 1 + rng_below(&seed, n_hashes) * spread;
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
    }
}

/* Zero is a hash like any other; inside, it means a hole. */
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ghost_random),
        cmocka_unit_test(test_ghost_zero),
        cmocka_unit_test(test_ghost_holes),
    };
    return cmocka_run_group_tests_name("ghost " TEST_STRING(TEST_LOCK), tests, NULL, NULL);
}
