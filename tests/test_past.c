/* What a queue remembers of its evictions, against a list: what is there, how long ago it went, when it
 * was used; with hashes that spread and with hashes that all look alike. */
/* locks: NONE */
#define DLOAD_NAME  unused_loader
#define DLOAD_KEY   int
#define DLOAD_VALUE int
#include "dataloader.h"
#include "support.h"

#include <stdlib.h>
#include <string.h>

struct gone {
    uint64_t hash;
    uint32_t used;
    bool hole;
};

struct rig {
    dload_i_past p;
    dload_i_gone *ring;
    uint32_t *head;
    struct gone *list; /* the oracle: every eviction ever, oldest first */
    size_t n;
};

static void rig_open(struct rig *r, uint32_t limit, size_t n)
{
    memset(r, 0, sizeof *r);
    r->ring = calloc(limit, sizeof *r->ring);
    r->head = calloc(dload_i_past_chains(limit), sizeof *r->head);
    r->list = calloc(n, sizeof *r->list);
    assert_true(r->ring && r->head && r->list);
    dload_i_past_init(&r->p, limit, r->ring, r->head);
}

static void rig_close(struct rig *r)
{
    free(r->ring);
    free(r->head);
    free(r->list);
}

static size_t rig_first(const struct rig *r)
{
    return r->n > r->p.limit ? r->n - r->p.limit : 0;
}

static bool rig_take(struct rig *r, uint64_t hash)
{
    uint32_t used = 0, want_used = 0;
    size_t age = 0;
    for (size_t i = rig_first(r); i < r->n; i++) {
        if (!r->list[i].hole && r->list[i].hash == hash) {
            age = r->n - i;
            want_used = r->list[i].used;
            r->list[i].hole = true;
        }
    }
    equal(dload_i_past_take(&r->p, hash, &used), age);
    equal(used, want_used);
    return age != 0;
}

static void rig_add(struct rig *r, uint64_t hash, uint32_t used)
{
    dload_i_past_add(&r->p, hash, used);
    r->list[r->n++] = (struct gone){hash, used, false};
    size_t n_live = 0;
    for (size_t i = rig_first(r); i < r->n; i++) {
        n_live += !r->list[i].hole;
    }
    equal(r->p.n_live, n_live);
}

static void random_walk(uint64_t seed, uint32_t limit, uint64_t spread)
{
    struct rig r;
    size_t n = scaled(10000), n_taken = 0;
    rig_open(&r, limit, n);
    for (size_t i = 0; i < n; i++) {
        uint64_t hash = (1 + rng_below(&seed, 2 * limit + 3)) * spread;
        n_taken += rig_take(&r, hash);
        if (rng_below(&seed, 10) < (i / 1000 % 2 ? 9u : 4u)) {
            rig_add(&r, hash, (uint32_t)rng(&seed));
        }
    }
    assert_true(n_taken > 0);
    for (size_t i = rig_first(&r); i < r.n; i++) {
        rig_take(&r, r.list[i].hash);
    }
    equal(r.p.n_live, 0);
    rig_close(&r);
}

static void test_past_random(void **state)
{
    (void)state;
    static const uint32_t limits[] = {1, 2, 3, 8, 9, 90, 300};
    uint64_t seed = test_seed("past");
    for (size_t i = 0; i < COUNT(limits); i++) {
        random_walk(rng(&seed), limits[i], UINT64_C(0x9e3779b97f4a7c15)); /* well spread */
        random_walk(rng(&seed), limits[i], 1);                            /* one chain */
        random_walk(rng(&seed), limits[i], UINT64_C(1) << 32); /* prints are chains' twins */
    }
}

/* A print of zero would be a hole. */
static void test_past_zero(void **state)
{
    (void)state;
    struct rig r;
    uint32_t used = 0;
    rig_open(&r, 4, 4);
    equal(dload_i_past_take(&r.p, 0, &used), 0);
    rig_add(&r, 0, 7);
    rig_add(&r, UINT64_C(5) << 32 | 5, 9); /* halves that cancel each other */
    assert_true(rig_take(&r, UINT64_C(5) << 32 | 5));
    assert_true(rig_take(&r, 0));
    assert_false(rig_take(&r, 0));
    rig_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_past_random),
        cmocka_unit_test(test_past_zero),
    };
    return cmocka_run_group_tests_name("past " TEST_STRING(TEST_LOCK), tests, NULL, NULL);
}
