/* The timing wheel against a list: what was armed and not cancelled comes out once its tick has
 * come, and never before; over the wrap of 32-bit ticks, for steps and times of any size. */
/* locks: NONE */
#define DLOAD_NAME  unused_loader
#define DLOAD_KEY   int
#define DLOAD_VALUE int
#include "dataloader.h"
#include "support.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct rig {
    dload_i_wheel w;
    uint32_t cap;
    uint32_t *expiry;  /* what the wheel reads */
    uint64_t *due;     /* the oracle: full tick of each slot; 0 = not armed */
    uint64_t n_armed;  /* by the oracle */
    uint64_t n_looks;  /* spent in dload_i_wheel_next */
    uint64_t n_events; /* slots that came out */
};

static void rig_open(struct rig *r, uint32_t cap, uint32_t chunk_slots, uint64_t now)
{
    memset(r, 0, sizeof *r);
    r->cap = cap;
    r->w.chunk_slots = chunk_slots;
    r->w.chunks = calloc(dload_i_chunks_for(cap, chunk_slots), dload_i_chunk_bytes(chunk_slots));
    r->w.where = calloc(cap, sizeof *r->w.where);
    r->w.rounds = calloc(cap, sizeof *r->w.rounds);
    r->expiry = calloc(cap, sizeof *r->expiry);
    r->due = calloc(cap, sizeof *r->due);
    assert_true(r->w.chunks && r->w.where && r->w.rounds && r->expiry && r->due);
    r->w.expiry = (const char *)r->expiry;
    r->w.stride_bytes = sizeof *r->expiry;
    dload_i_wheel_init(&r->w, cap, now);
}

static void rig_close(struct rig *r)
{
    free(r->w.chunks);
    free(r->w.where);
    free(r->w.rounds);
    free(r->expiry);
    free(r->due);
}

static void rearm(void *slots, uint32_t slot)
{
    ((struct rig *)slots)->expiry[slot] += DLOAD_I_WHEEL_ROUND;
}

static void rig_arm(struct rig *r, uint32_t slot, uint64_t due)
{
    uint64_t ahead = due > r->w.now ? due - r->w.now : 0;
    uint64_t rounds = ahead ? (ahead - 1) / DLOAD_I_WHEEL_ROUND : 0;
    if (r->due[slot]) {
        dload_i_wheel_cancel(&r->w, slot);
    } else {
        r->n_armed++;
    }
    assert_true(rounds <= UINT16_MAX);
    r->w.rounds[slot] = (uint16_t)rounds;
    r->expiry[slot] = (uint32_t)(due - rounds * DLOAD_I_WHEEL_ROUND);
    r->due[slot] = due;
    dload_i_wheel_arm(&r->w, slot);
    equal(r->w.n_armed, r->n_armed);
}

static void rig_cancel(struct rig *r, uint32_t slot)
{
    dload_i_wheel_cancel(&r->w, slot);
    r->n_armed -= r->due[slot] != 0;
    r->due[slot] = 0;
    equal(r->w.n_armed, r->n_armed);
}

/* Everything that is due leaves, by budgets of the given size. */
static void rig_drain(struct rig *r, uint32_t budget)
{
    for (;;) {
        uint32_t left = budget;
        uint32_t slot = dload_i_wheel_next(&r->w, &left, rearm, r);
        r->n_looks += budget - left;
        if (slot == DLOAD_I_NO_SLOT) {
            if (left) {
                assert_true(dload_i_wheel_idle(&r->w));
                return;
            }
            continue;
        }
        assert_true(slot < r->cap);
        if (!r->due[slot] || r->due[slot] > r->w.now) {
            fail_msg("slot %" PRIu32 ", due at %" PRIu64 ", came at %" PRIu64, slot, r->due[slot],
                     r->w.now);
        }
        r->due[slot] = 0;
        r->n_armed--;
        r->n_events++;
    }
}

static void rig_advance(struct rig *r, uint64_t tick, uint32_t budget)
{
    bool more;
    rig_drain(r, budget);
    do {
        more = dload_i_wheel_turn(&r->w, tick);
        rig_drain(r, budget);
    } while (more);
    equal(r->w.n_armed, r->n_armed);
    for (uint32_t slot = 0; slot < r->cap; slot++) {
        if (r->due[slot] && r->due[slot] <= r->w.now) {
            fail_msg("slot %" PRIu32 " was due at %" PRIu64 " and is not out at %" PRIu64, slot,
                     r->due[slot], r->w.now);
        }
    }
}

/* A distance in ticks: mostly near, sometimes on a level's border, sometimes years. */
static uint64_t distance(uint64_t *seed)
{
    switch (rng_below(seed, 8)) {
    case 0:
        return rng_below(seed, 4);
    case 1: {
        uint64_t border = UINT64_C(1) << (6 * (1 + rng_below(seed, 5)));
        return border - 2 + rng_below(seed, 5);
    }
    case 2:
        return rng_below(seed, UINT64_C(1) << (30 + rng_below(seed, 13))); /* up to 146 years */
    case 3:
        return DLOAD_I_WHEEL_ROUND - 2 + rng_below(seed, 5);
    default:
        return rng_below(seed, UINT64_C(1) << (1 + rng_below(seed, 20)));
    }
}

static void random_walk(uint64_t seed, uint32_t cap, uint32_t chunk_slots, uint64_t now)
{
    struct rig r;
    rig_open(&r, cap, chunk_slots, now);
    size_t n = scaled(6000);
    for (size_t i = 0; i < n; i++) {
        uint32_t slot = (uint32_t)rng_below(&seed, cap);
        switch (rng_below(&seed, 6)) {
        case 0:
            rig_cancel(&r, slot);
            break;
        case 1:
            rig_advance(&r, r.w.now + distance(&seed), 1 + (uint32_t)rng_below(&seed, 9));
            break;
        default:
            rig_arm(&r, slot, r.w.now + 1 + distance(&seed));
        }
    }
    rig_advance(&r, r.w.now + (UINT64_C(1) << 43), UINT32_MAX);
    equal(r.n_armed, 0);
    rig_close(&r);
}

static void test_wheel_random(void **state)
{
    (void)state;
    static const uint32_t chunk_slots[] = {1, 2, 6, 14};
    static const uint32_t caps[] = {1, 2, 5, 64, 500};
    static const uint64_t starts[] = {0, 1, UINT32_MAX - 100, (UINT64_C(1) << 31) - 5,
                                      (UINT64_C(7) << 40) - 3};
    uint64_t seed = test_seed("wheel");
    for (size_t i = 0; i < COUNT(caps); i++) {
        for (size_t j = 0; j < COUNT(chunk_slots); j++) {
            random_walk(rng(&seed), caps[i], chunk_slots[j],
                        starts[rng_below(&seed, COUNT(starts))]);
        }
    }
}

/* Each tick by itself: an entry comes out in exactly the tick it was armed for. */
static void test_wheel_exact_tick(void **state)
{
    (void)state;
    static const uint64_t starts[] = {0, UINT32_MAX - 5000, (UINT64_C(1) << 24) - 4500};
    for (size_t s = 0; s < COUNT(starts); s++) {
        struct rig r;
        rig_open(&r, 9000, 14, starts[s]);
        for (uint32_t slot = 0; slot < 9000; slot++) {
            rig_arm(&r, slot, starts[s] + 1 + slot);
        }
        for (uint64_t tick = 1; tick <= 9000; tick++) {
            dload_i_wheel_turn(&r.w, starts[s] + tick);
            rig_drain(&r, UINT32_MAX);
            equal(r.n_events, tick);
        }
        rig_close(&r);
    }
}

/* Re-arming for ever needs no more chunks than were given, however the entries lie. */
static void test_wheel_chunks_suffice(void **state)
{
    (void)state;
    static const uint32_t chunk_slots[] = {1, 2, 6, 14};
    uint64_t seed = test_seed("wheel chunks");
    for (size_t j = 0; j < COUNT(chunk_slots); j++) {
        for (uint32_t cap = 1; cap <= 2000; cap = cap * 3 + 1) {
            struct rig r;
            rig_open(&r, cap, chunk_slots[j], 77);
            for (uint32_t slot = 0; slot < cap; slot++) {
                rig_arm(&r, slot, 78 + distance(&seed)); /* one or two a bucket */
            }
            for (size_t i = 0; i < 20 * (size_t)cap; i++) {
                uint32_t slot = (uint32_t)rng_below(&seed, cap);
                rig_arm(&r, slot, r.w.now + 1 + distance(&seed));
                if (i % 50 == 0) { /* due, and left lying */
                    (void)dload_i_wheel_turn(&r.w, r.w.now + rng_below(&seed, 5000));
                    uint32_t budget = 1;
                    while (!dload_i_wheel_idle(&r.w)) {
                        uint32_t out = dload_i_wheel_next(&r.w, &budget, rearm, &r);
                        budget = 1;
                        if (out != DLOAD_I_NO_SLOT) {
                            r.due[out] = 0;
                            r.n_armed--;
                            rig_arm(&r, out, r.w.now + 1 + distance(&seed));
                        }
                    }
                }
            }
            rig_advance(&r, r.w.now + (UINT64_C(1) << 43), UINT32_MAX);
            equal(r.n_armed, 0);
            rig_close(&r);
        }
    }
}

/* A jump of any size costs what expired, and not the ticks passed; each entry is looked at once per
 * level at most, and once per round of six days that it waits. */
static void test_wheel_cost(void **state)
{
    (void)state;
    struct rig r;
    uint64_t seed = 1;
    rig_open(&r, 10000, 14, 5);
    for (uint32_t slot = 0; slot < 10000; slot++) {
        rig_arm(&r, slot, 6 + rng_below(&seed, DLOAD_I_WHEEL_ROUND));
    }
    uint64_t start = real_ns();
    rig_advance(&r, UINT64_C(1) << 50, UINT32_MAX); /* 37,000 years */
    equal(r.n_events, 10000);
    assert_true(r.n_looks <= 6 * 10000 + 10000);
    assert_true(real_ns() - start < DLOAD_SECOND);
    rig_advance(&r, UINT64_C(1) << 43, UINT32_MAX); /* the past is ignored */
    equal(r.w.now, UINT64_C(1) << 50);
    rig_close(&r);
    /* Step by step, an entry moves down at most once per level. */
    rig_open(&r, 10000, 14, 5);
    for (uint32_t slot = 0; slot < 10000; slot++) {
        rig_arm(&r, slot, 6 + rng_below(&seed, 300000));
    }
    for (uint64_t tick = 6; r.n_armed; tick++) {
        (void)dload_i_wheel_turn(&r.w, tick);
        rig_drain(&r, UINT32_MAX);
    }
    assert_true(r.n_looks <= DLOAD_I_WHEEL_LEVELS * 10000);
    rig_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wheel_exact_tick),
        cmocka_unit_test(test_wheel_random),
        cmocka_unit_test(test_wheel_chunks_suffice),
        cmocka_unit_test(test_wheel_cost),
    };
    return cmocka_run_group_tests_name("wheel " TEST_STRING(TEST_LOCK), tests, NULL, NULL);
}
