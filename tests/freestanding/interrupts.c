/* A timer's interrupt handler looks into a compact cache and a loader that the program is writing to, at any of its
 * instructions, on a Cortex-M: it never sees half of a value, never waits, and is told when it came in the middle.
 * Run by tests/tools/freestanding_interrupts. */
#include <stdint.h>

enum { N_WORDS = 12, N_KEYS = 40, ROOM = 24, MAX_BATCH = 4, N_OPS = 20000 };

struct wide {
    uint32_t words[N_WORDS]; /* the key, and all others alike */
};

#define DLOAD_NAME    fw
#define DLOAD_KEY     uint32_t
#define DLOAD_VALUE   struct wide
#define DLOAD_COMPACT 1
#define DLOAD_ASYNC   0
#include "dataloader.h"

#include "support.h"

#include <string.h>

#include "port.h"

static uint64_t memory[(DLOAD_BYTES(fw, ROOM, MAX_BATCH) + 7) / 8];
static dload_block block;
static fw l;

static uint32_t chance;

static uint32_t below(uint32_t *state, uint32_t n)
{
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return (*state >> 16) * n >> 16;
}

static struct wide whole(uint32_t key, uint32_t word)
{
    struct wide v;
    for (uint32_t i = 1; i < N_WORDS; i++) {
        v.words[i] = word;
    }
    v.words[0] = key;
    return v;
}

/* ---- the handler: only it writes here while the timer is on ---- */

static struct {
    uint32_t chance;
    bool peeks;
    volatile uint32_t n_hits, n_misses, n_busy;
} handler;

static void on_tick(void)
{
    struct wide got;
    uint32_t key = below(&handler.chance, N_KEYS);
    dload_state s = DLOAD_STATE_ABSENT;
    dload_status st =
        handler.peeks ? fw_peek(&l, key, &s, &got) : fw_cache_get(&l.cache, key, &got);
    if (st == DLOAD_OK) {
        handler.n_hits++;
        equal(got.words[0], key);
        for (uint32_t i = 2; i < N_WORDS; i++) {
            equal(got.words[i], got.words[1]);
        }
    } else if (st == DLOAD_MISSING) {
        handler.n_misses++;
    } else {
        must(st, DLOAD_EAGAIN);
        handler.n_busy++;
    }
}

/* ---- what it interrupts ---- */

static dload_status fetch(fw_batch *b)
{
    for (size_t i = 0; i < b->n; i++) {
        struct wide v = whole(b->keys[i], below(&chance, 1000));
        must_ok(fw_batch_set(b, i, &v));
    }
    return DLOAD_OK;
}

static int begin(void **state)
{
    fw_config cfg = fw_config_default();
    (void)state;
    chance = (uint32_t)test_seed("interrupts") | 1u;
    memset(&handler, 0, sizeof handler);
    handler.chance = chance;
    dload_block_init(&block, memory, sizeof memory);
    cfg.env = &block.env;
    cfg.fetch = fetch;
    cfg.capacity = ROOM;
    cfg.max_batch = MAX_BATCH;
    must_ok(fw_init(&l, &cfg));
    return 0;
}

/* The interrupt came often, also in the middle of a write, and what it looked at was there more often than not. */
static int end(void **state)
{
    (void)state;
    port_interrupt_every(0, NULL);
    print_message("# interrupts: %u hits, %u misses, %u busy\n", (unsigned)handler.n_hits,
                  (unsigned)handler.n_misses, (unsigned)handler.n_busy);
    assert_true(handler.n_hits > 1000);
    assert_true(handler.n_misses > 1000);
    assert_true(handler.n_busy > 100);
    must_ok(fw_close(&l, DLOAD_DRAIN, 0));
    must_ok(fw_destroy(&l));
    equal(block.n_out, 0);
    return 0;
}

static void write_to_the_cache(void)
{
    uint32_t key = below(&chance, N_KEYS), op = below(&chance, 100);
    struct wide v = whole(key, below(&chance, 1000)), got;
    if (op < 60) {
        must_ok(fw_cache_set(&l.cache, key, &v, 0));
        must_ok(fw_cache_get(&l.cache, key, &got)); /* an interrupt's look is not in the way */
        equal(got.words[1], v.words[1]);
    } else if (op < 98) {
        must_ok(fw_cache_delete(&l.cache, key));
        must(fw_cache_get(&l.cache, key, &got), DLOAD_MISSING);
    } else {
        must_ok(fw_cache_clear(&l.cache));
        equal(fw_cache_len(&l.cache), 0);
    }
}

static void a_cache_is_read(void **state)
{
    (void)state;
    port_interrupt_every(16 + below(&chance, 8), on_tick);
    for (uint32_t i = 0; i < N_OPS; i++) {
        write_to_the_cache();
    }
}

static void a_loader_is_peeked_at(void **state)
{
    (void)state;
    handler.peeks = true;
    port_interrupt_every(16 + below(&chance, 8), on_tick);
    for (uint32_t i = 0; i < N_OPS; i++) {
        struct wide v;
        uint32_t key = below(&chance, N_KEYS);
        must_ok(fw_load(&l, key, &v));
        equal(v.words[0], key);
        equal(v.words[N_WORDS - 1], v.words[1]);
        if (below(&chance, 4) == 0) {
            must_ok(fw_clear(&l, below(&chance, N_KEYS)));
        }
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_cache_is_read, begin, end),
        cmocka_unit_test_setup_teardown(a_loader_is_peeked_at, begin, end),
    };
    return cmocka_run_group_tests_name("interrupts", tests, NULL, NULL);
}
