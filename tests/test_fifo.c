/* The queues of the policies by themselves, where a slot is used again while older references to it are still
 * around: against plain lists, and what packing costs. */
/* locks: NONE */
#define DLOAD_NAME  fifo
#define DLOAD_KEY   uint64_t
#define DLOAD_VALUE uint64_t
#define DLOAD_EVICT DLOAD_EVICT_FIFO
#include "dataloader.h"
#include "support.h"

#include <stdlib.h>
#include <string.h>

/* ---- few slots, used again and again ---- */

struct rig {
    dload_i_fifos qs;
    dload_i_group *groups;
    uint32_t *refs;
    dload_i_more *more;
    uint32_t *order[2]; /* the oracle: oldest first */
    uint32_t n[2];
    uint8_t *where; /* by slot: 0 free, 1 + queue */
    uint32_t n_slots, cap, n_used;
};

static void rig_open(struct rig *r, uint32_t cap, uint32_t n_slots)
{
    memset(r, 0, sizeof *r);
    r->cap = cap;
    r->n_slots = n_slots;
    r->groups = calloc(n_slots / 32 + 1, sizeof *r->groups);
    r->refs = calloc((size_t)dload_i_fifo_chunks(cap) * 16, sizeof *r->refs);
    r->more = calloc(dload_i_fifo_more_size(cap), sizeof *r->more);
    r->order[0] = calloc(cap, sizeof *r->order[0]);
    r->order[1] = calloc(cap, sizeof *r->order[1]);
    r->where = calloc(n_slots, 1);
    assert_true(r->groups && r->refs && r->more && r->order[0] && r->order[1] && r->where);
    dload_i_fifos_init(&r->qs, cap, r->refs, r->more, r->groups);
}

static void rig_close(struct rig *r)
{
    free(r->groups);
    free(r->refs);
    free(r->more);
    free(r->order[0]);
    free(r->order[1]);
    free(r->where);
}

static void rig_push(struct rig *r, uint32_t which, uint32_t slot)
{
    dload_i_fifo_push(&r->qs, which, slot);
    r->order[which][r->n[which]++] = slot;
    r->where[slot] = (uint8_t)(1 + which);
    r->n_used++;
}

static void rig_cut(struct rig *r, uint32_t slot)
{
    uint32_t which = r->where[slot] - 1u, i = 0;
    while (r->order[which][i] != slot) {
        i++;
    }
    memmove(&r->order[which][i], &r->order[which][i + 1],
            (r->n[which] - i - 1) * sizeof r->order[0][0]);
    r->n[which]--;
    r->where[slot] = 0;
    r->n_used--;
    dload_i_fifo_cut(&r->qs, which, slot);
}

static void rig_check(struct rig *r, uint32_t which)
{
    equal(r->qs.q[which].n, r->n[which]);
    if (r->n[which]) {
        equal(dload_i_fifo_oldest(&r->qs, which), r->order[which][0]);
    }
}

static void rig_walk(uint64_t seed, uint32_t cap, uint32_t n_slots)
{
    struct rig r;
    rig_open(&r, cap, n_slots);
    for (size_t i = 0, n = scaled(40000); i < n; i++) {
        uint32_t slot = (uint32_t)rng_below(&seed, n_slots);
        uint32_t which = (uint32_t)rng_below(&seed, i / 4000 % 2 ? 2 : 10) == 0;
        if (rng_below(&seed, 8) == 0 && r.n[which]) {
            /* what a promotion does, and a second chance */
            slot = dload_i_fifo_oldest(&r.qs, which);
            rig_cut(&r, slot);
            rig_push(&r, (uint32_t)rng_below(&seed, 2), slot);
        } else if (r.where[slot]) {
            rig_cut(&r, slot);
        } else if (r.n_used < cap) {
            rig_push(&r, which, slot);
        }
        rig_check(&r, which);
    }
    for (uint32_t which = 0; which < 2; which++) {
        while (r.n[which]) {
            rig_check(&r, which);
            rig_cut(&r, r.order[which][0]);
        }
    }
    rig_close(&r);
}

static void test_fifo_order(void **state)
{
    (void)state;
    static const uint32_t caps[] = {1, 2, 3, 9, 10, 13, 14, 15, 16, 17, 31, 100, 1000};
    uint64_t seed = test_seed("fifo order");
    for (size_t i = 0; i < COUNT(caps); i++) {
        rig_walk(rng(&seed), caps[i], caps[i]);
        rig_walk(rng(&seed), caps[i], caps[i] + 1 + caps[i] / 4);
        rig_walk(rng(&seed), caps[i], 2 + (uint32_t)rng_below(&seed, 2 * caps[i]));
    }
}

/* ---- what it costs: packing is the only step that is not constant ---- */

/* n_turns of the worst that the first k slots can do, in an otherwise full queue: all of them pushed
 * and cut again, each time beside the tail. Returns how many times everything was packed. */
static size_t turns(struct rig *r, uint32_t k, size_t n_turns)
{
    size_t n_packed = 0;
    for (size_t i = 0; i < n_turns; i++) {
        uint32_t slot = (uint32_t)(i % k);
        uint32_t before = r->qs.n_stale;
        if (r->where[slot]) {
            dload_i_fifo_cut(&r->qs, 0, slot);
            r->where[slot] = 0;
        } else {
            dload_i_fifo_push(&r->qs, 0, slot);
            r->where[slot] = 1;
        }
        n_packed += r->qs.n_stale < before;
    }
    return n_packed;
}

static void test_fifo_constant_cost(void **state)
{
    (void)state;
    enum { CAP = 100000 };
    for (uint32_t k = 1; k < CAP / 2; k = k * 5 / 2 + 1) {
        struct rig r;
        rig_open(&r, CAP, CAP + CAP / 4);
        for (uint32_t slot = CAP / 2; slot < CAP; slot++) {
            dload_i_fifo_push(&r.qs, 0, slot);
            r.where[slot] = 1;
        }
        size_t n_turns = 10 * (size_t)CAP, n_packed = turns(&r, k, n_turns);
        /* A pack looks at no more references than there is room for. */
        size_t n_steps = n_packed * ((size_t)dload_i_fifo_chunks(CAP) * 15);
        assert_true(n_packed > 0);
        if (n_steps > 32 * n_turns) {
            fail_msg("%u slots: %zu packs for %zu operations", k, n_packed, n_turns);
        }
        rig_close(&r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fifo_order),
        cmocka_unit_test(test_fifo_constant_cost),
    };
    return cmocka_run_group_tests_name("fifo " TEST_STRING(TEST_LOCK), tests, NULL, NULL);
}
