/* The timing wheel against a sorted list: what was armed and is still there comes out once its tick
 * has come, and never before; over the wrap of 32-bit ticks, for steps and times of any size, with
 * ends moved both ways, entries gone before their time and slots used again. The rig does what a
 * table does; steps are counted, not timed. */
/* locks: NONE */
/* also plain: DLOAD_NO_SIMD=1 */
/* also asan: DLOAD_NO_SIMD=1 */
#define DLOAD_NAME  unused_loader
#define DLOAD_KEY   int
#define DLOAD_VALUE int
#include "dataloader.h"
#include "support.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* What 64 bits of ns can say. */
#define LAST_TICK (UINT64_MAX >> DLOAD_I_TICK_SHIFT)

struct slot {
    uint64_t due; /* the oracle: full tick; 0 = nobody here, or somebody who does not expire */
    uint32_t expiry;
};

struct end {
    uint64_t due;
    uint32_t slot;
};

struct rig {
    dload_i_wheel w;
    void *lanes;
    uint32_t cap;
    struct slot *slots;
    struct end *list; /* the oracle: who expires, sorted by when */
    uint32_t n_list;
    uint64_t n_looks;  /* spent in dload_i_wheel_next */
    uint64_t n_events; /* slots that expired */
    uint64_t n_turns;
};

static void rig_open(struct rig *r, uint32_t cap, uint64_t now)
{
    memset(r, 0, sizeof *r);
    r->cap = cap;
    size_t n_blocks = dload_i_wheel_blocks_for(cap);
    size_t line_bytes = DLOAD_I_WHEEL_LANES * sizeof(uint32_t);
    r->lanes = aligned_alloc(line_bytes, n_blocks * line_bytes);
    r->w.blocks = calloc(n_blocks, sizeof *r->w.blocks);
    r->slots = calloc(cap, sizeof *r->slots);
    r->list = calloc(cap, sizeof *r->list);
    assert_true(r->lanes && r->w.blocks && r->slots && r->list);
    memset(r->lanes, 0, n_blocks * line_bytes);
    r->w.lanes = r->lanes;
    dload_i_wheel_init(&r->w, cap, now);
}

static void rig_close(struct rig *r)
{
    free(r->lanes);
    free(r->w.blocks);
    free(r->slots);
    free(r->list);
}

/* Where in the list an end is, or would be. */
static uint32_t place(const struct rig *r, uint64_t due, uint32_t slot)
{
    uint32_t from = 0, to = r->n_list;
    while (from < to) {
        uint32_t mid = (from + to) / 2;
        const struct end *e = &r->list[mid];
        if (e->due < due || (e->due == due && e->slot < slot)) {
            from = mid + 1;
        } else {
            to = mid;
        }
    }
    return from;
}

/* The slot's entry goes, however it came to that: the wheel is not told. */
static void rig_leave(struct rig *r, uint32_t slot)
{
    if (r->slots[slot].due == 0) {
        return;
    }
    uint32_t at = place(r, r->slots[slot].due, slot);
    equal(r->list[at].slot, slot);
    memmove(&r->list[at], &r->list[at + 1], (--r->n_list - at) * sizeof *r->list);
    r->slots[slot].due = 0;
}

static void rig_arm(struct rig *r, uint32_t slot, uint64_t due)
{
    due = due < LAST_TICK ? due : LAST_TICK;
    rig_leave(r, slot);
    uint32_t at = place(r, due, slot);
    memmove(&r->list[at + 1], &r->list[at], (r->n_list++ - at) * sizeof *r->list);
    r->list[at] = (struct end){due, slot};
    r->slots[slot].due = due;
    r->slots[slot].expiry = dload_i_wheel_arm(&r->w, slot, due);
}

static void rig_look(struct rig *r, uint32_t slot)
{
    struct slot *s = &r->slots[slot];
    assert_true(slot < r->cap);
    if (s->due == 0) {
        dload_i_wheel_forget(&r->w, slot);
        return;
    }
    uint64_t end = dload_i_wheel_end(&r->w, slot, s->expiry);
    equal(end, s->due);
    if (end > r->w.now) {
        s->expiry = dload_i_wheel_arm(&r->w, slot, end);
        return;
    }
    dload_i_wheel_forget(&r->w, slot);
    rig_leave(r, slot);
    r->n_events++;
}

/* Everything whose time has come is looked at, by budgets of the given size. */
static void rig_drain(struct rig *r, uint32_t budget)
{
    while (!dload_i_wheel_idle(&r->w)) {
        uint32_t left = budget, first = 0, n = 0;
        uint32_t looks = dload_i_wheel_next(&r->w, &left, &first);
        assert_true(left < budget);
        r->n_looks += budget - left;
        for (; looks; looks &= looks - 1) {
            uint32_t slot = first + (uint32_t)__builtin_ctz(looks);
            n++;
            rig_look(r, slot);
        }
        assert_true(n <= budget - left);
    }
}

static void rig_advance(struct rig *r, uint64_t tick, uint32_t budget)
{
    bool more;
    uint64_t before = r->w.now;
    rig_drain(r, budget);
    do {
        more = dload_i_wheel_turn(&r->w, tick);
        r->n_turns++;
        rig_drain(r, budget);
    } while (more);
    equal(r->w.now, tick > before ? tick : before);
    if (r->n_list && r->list[0].due <= r->w.now) {
        fail_msg("slot %" PRIu32 " was due at %" PRIu64 " and is not out at %" PRIu64,
                 r->list[0].slot, r->list[0].due, r->w.now);
    }
}

/* What a reader concludes from expiry and the wheel's time alone must be true: fresh is fresh. When
 * nothing waits to be looked at, it knows so of everything that is there. */
static void check_readers(const struct rig *r, uint64_t *seed)
{
    for (uint32_t i = 0; i < r->n_list; i++) {
        const struct end *e = &r->list[i];
        uint32_t expiry = r->slots[e->slot].expiry;
        uint64_t tick = r->w.now + rng_below(seed, DLOAD_I_WHEEL_ROUND + 1);
        if ((int32_t)((uint32_t)tick - expiry) < 0) {
            assert_true(tick < e->due);
        }
        assert_true(!dload_i_wheel_idle(&r->w) || (int32_t)((uint32_t)r->w.now - expiry) < 0);
        equal(dload_i_wheel_end(&r->w, e->slot, expiry), e->due);
    }
}

/* A distance in ticks: mostly near, sometimes on a border, sometimes all that 64 bits of ns can say. */
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
        return DLOAD_I_WHEEL_ROUND - 2 + rng_below(seed, 5) +
               (rng_below(seed, 2) << DLOAD_I_FAR_SHIFT);
    default:
        return rng_below(seed, UINT64_C(1) << (1 + rng_below(seed, 20)));
    }
}

/* A step of time; years are rare, so that a walk is over before time is. */
static uint64_t later(const struct rig *r, uint64_t *seed)
{
    uint64_t d = distance(seed);
    if (d >> 34 && rng_below(seed, 50)) {
        d >>= 14;
    }
    return d < LAST_TICK - r->w.now ? r->w.now + d : LAST_TICK;
}

static void random_walk(uint64_t seed, uint32_t cap, uint64_t now)
{
    struct rig r;
    rig_open(&r, cap, now);
    size_t n = scaled(8000);
    for (size_t i = 0; i < n; i++) {
        uint32_t slot = (uint32_t)rng_below(&seed, cap);
        switch (rng_below(&seed, 12)) {
        case 0:
        case 1:
            rig_leave(&r, slot);
            break;
        case 2:
            rig_advance(&r, later(&r, &seed), DLOAD_I_WHEEL_LANES + (uint32_t)rng_below(&seed, 9));
            check_readers(&r, &seed);
            break;
        case 3: /* the clock goes back, and time stands still */
            rig_advance(&r, r.w.now - rng_below(&seed, r.w.now + 1), 32);
            break;
        case 4: /* time has come, and only some of what is due is looked at */
            if (dload_i_wheel_idle(&r.w)) {
                (void)dload_i_wheel_turn(&r.w, later(&r, &seed));
            } else {
                uint32_t left = 1 + (uint32_t)rng_below(&seed, 20), first = 0;
                uint32_t looks = dload_i_wheel_next(&r.w, &left, &first);
                for (; looks; looks &= looks - 1) {
                    rig_look(&r, first + (uint32_t)__builtin_ctz(looks));
                }
            }
            check_readers(&r, &seed);
            break;
        case 5: /* an end moved a little, either way */
            if (r.slots[slot].due > r.w.now) {
                uint64_t ahead = r.slots[slot].due - r.w.now;
                rig_arm(&r, slot, r.w.now + 1 + rng_below(&seed, 2 * ahead));
            }
            break;
        default:
            rig_arm(&r, slot, r.w.now + 1 + distance(&seed));
        }
    }
    rig_advance(&r, LAST_TICK, UINT32_MAX);
    equal(r.n_list, 0);
    equal(r.w.n_on, 0);
    rig_close(&r);
}

static void test_wheel_random(void **state)
{
    (void)state;
    static const uint32_t caps[] = {1, 2, 15, 16, 17, 64, 500};
    static const uint64_t starts[] = {0, 1, UINT32_MAX - 100, (UINT64_C(1) << 31) - 5,
                                      (UINT64_C(3) << 40) - 3};
    uint64_t seed = test_seed("wheel");
    for (size_t i = 0; i < COUNT(caps); i++) {
        random_walk(rng(&seed), caps[i], starts[i % COUNT(starts)]);
    }
}

/* Each tick by itself: an entry comes out in exactly the tick it was armed for. */
static void test_wheel_exact_tick(void **state)
{
    (void)state;
    static const uint64_t starts[] = {0, UINT32_MAX - 5000, (UINT64_C(1) << 24) - 4500};
    for (size_t s = 0; s < COUNT(starts); s++) {
        struct rig r;
        rig_open(&r, 9000, starts[s]);
        for (uint32_t slot = 0; slot < 9000; slot++) {
            rig_arm(&r, slot * 77 % 9000, starts[s] + 1 + slot);
        }
        for (uint64_t tick = 1; tick <= 9000; tick++) {
            dload_i_wheel_turn(&r.w, starts[s] + tick);
            rig_drain(&r, UINT32_MAX);
            equal(r.n_events, tick);
        }
        rig_close(&r);
    }
}

/* The last tick that 64 bits of ns can say is waited for as exactly as any other. */
static void test_wheel_farthest(void **state)
{
    (void)state;
    const uint64_t last = LAST_TICK;
    struct rig r;
    rig_open(&r, 40, 0);
    for (uint32_t slot = 0; slot < 40; slot++) {
        rig_arm(&r, slot, last - slot);
    }
    for (uint64_t tick = last - 60; tick <= last; tick++) {
        rig_advance(&r, tick, 20);
        equal(r.n_events, tick < last - 39 ? 0 : 40 - (last - tick));
    }
    equal(r.n_list, 0);
    rig_close(&r);
}

/* An advance of any size takes as many looks as entries expire, and one a block at most for what was
 * there and went. */
static void test_wheel_looks_of_a_jump(void **state)
{
    (void)state;
    struct rig r;
    uint64_t seed = test_seed("wheel jump");
    const uint32_t n = 4000, n_blocks = (uint32_t)dload_i_wheel_blocks_for(n);
    for (unsigned shift = 0; shift <= 43; shift += 3) {
        rig_open(&r, n, 5);
        for (uint32_t slot = 0; slot < n; slot++) {
            rig_arm(&r, slot, 6 + rng_below(&seed, DLOAD_I_WHEEL_ROUND));
        }
        rig_advance(&r, 5 + (UINT64_C(1) << shift), UINT32_MAX);
        assert_true(r.n_looks <= r.n_events + n_blocks);
        assert_true(r.n_turns <= 2); /* to where everything was out, and all the rest of the way */
        uint64_t n_looks = r.n_looks;
        rig_advance(&r, 4, UINT32_MAX); /* the past is ignored */
        equal(r.n_looks, n_looks);
        for (uint32_t slot = 0; slot < n; slot++) {
            rig_leave(&r, slot);
        }
        rig_advance(&r, LAST_TICK, UINT32_MAX); /* 584 years */
        assert_true(r.n_looks - n_looks <= n);
        equal(r.w.n_on, 0);
        rig_close(&r);
    }
}

/* Step by step, a block moves down once a level for each tick it waits for; and waiting for years takes a
 * look at each far entry every six days. */
static void test_wheel_looks_of_steps(void **state)
{
    (void)state;
    struct rig r;
    uint64_t seed = test_seed("wheel steps");
    rig_open(&r, 10000, 5);
    for (uint32_t slot = 0; slot < 10000; slot++) {
        rig_arm(&r, slot, 6 + rng_below(&seed, 300000));
    }
    for (uint64_t tick = 6; r.n_list; tick++) {
        (void)dload_i_wheel_turn(&r.w, tick);
        rig_drain(&r, UINT32_MAX);
    }
    assert_true(r.n_looks <= DLOAD_I_WHEEL_LEVELS * 10000);
    rig_close(&r);
    rig_open(&r, 1000, 5);
    for (uint32_t slot = 0; slot < 1000; slot++) {
        rig_arm(&r, slot, 100 * (uint64_t)DLOAD_I_WHEEL_ROUND);
    }
    rig_advance(&r, 200 * (uint64_t)DLOAD_I_WHEEL_ROUND, 32);
    equal(r.n_events, 1000);
    assert_true(r.n_looks <= 100 * 1000 + 1000);
    rig_close(&r);
}

/* A write costs no more than one look later, wherever it moves the end, however often. */
static void test_wheel_looks_of_writes(void **state)
{
    (void)state;
    struct rig r;
    uint64_t seed = test_seed("wheel writes");
    for (int kind = 0; kind < 3; kind++) {
        rig_open(&r, 64, 5);
        const uint64_t n = 30000;
        for (uint64_t i = 0; i < n; i++) {
            uint32_t slot = (uint32_t)rng_below(&seed, 64);
            uint64_t ahead = kind == 0 ? 1000 : kind == 1 ? n - i : 1 + rng_below(&seed, 50000);
            rig_arm(&r, slot, r.w.now + ahead);
            rig_advance(&r, r.w.now + i % 2, 32);
        }
        assert_true(r.n_looks <= n * (kind == 0 ? 1 : 2));
        rig_close(&r);
    }
}

/* The reading of a block, whichever way this machine does it, against the plain words of its text. */
static void test_wheel_reads_a_block(void **state)
{
    (void)state;
    uint64_t seed = test_seed("wheel block");
    uint32_t *lanes = aligned_alloc(64, DLOAD_I_WHEEL_LANES * sizeof *lanes);
    assert_non_null(lanes);
    for (size_t i = 0, n = scaled(60000); i < n; i++) {
        uint64_t now = rng(&seed) >> 20;
        uint32_t looks = 0, first = 0;
        for (uint32_t k = 0; k < DLOAD_I_WHEEL_LANES; k++) {
            uint64_t kind = rng_below(&seed, i % 7 + 2);
            uint64_t ahead = rng_below(&seed, UINT64_C(1) << rng_below(&seed, 30));
            if (kind == 0) { /* due */
                lanes[k] = (uint32_t)(now - ahead) << 1 | 1;
                looks |= UINT32_C(1) << k;
            } else if (kind == 1) {
                lanes[k] = 0;
            } else if (kind == 2) { /* far */
                lanes[k] = (uint32_t)(rng(&seed) | 2) & ~UINT32_C(1);
                looks |= UINT32_C(1) << k;
            } else {
                lanes[k] = (uint32_t)(now + 1 + ahead) << 1 | 1;
                first = first == 0 || ahead + 1 < first ? (uint32_t)ahead + 1 : first;
            }
        }
        uint32_t got = UINT32_MAX;
        equal(dload_i_wheel_read(lanes, (uint32_t)now, &got), looks);
        equal(got, first);
    }
    free(lanes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wheel_exact_tick),     cmocka_unit_test(test_wheel_random),
        cmocka_unit_test(test_wheel_farthest),       cmocka_unit_test(test_wheel_looks_of_a_jump),
        cmocka_unit_test(test_wheel_looks_of_steps), cmocka_unit_test(test_wheel_looks_of_writes),
        cmocka_unit_test(test_wheel_reads_a_block),
    };
    return cmocka_run_group_tests_name("wheel " TEST_STRING(TEST_LOCK), tests, NULL, NULL);
}
