/* What calls cost on an emulated core, in instructions, as QEMU counts them. Run by
 * tests/tools/freestanding_measure; prints "name mean worst" for each call, of every entry of a full table. */
#define DLOAD_NAME    fw
#define DLOAD_KEY     uint32_t
#define DLOAD_VALUE   uint64_t
#define DLOAD_COMPACT 1
#define DLOAD_ASYNC   0
#include "dataloader.h"

#include "support.h"

#include <string.h>

#include "port.h"

enum { ROOM = 64, MAX_BATCH = 8 };

static uint64_t memory[(DLOAD_BYTES(fw, ROOM, MAX_BATCH) + 7) / 8];
static dload_block block;
static uint32_t now_ms;
static fw l;

static uint64_t board_now(void *ctx)
{
    (void)ctx;
    return (uint64_t)now_ms << 20; /* as cheap as a clock can be: what is measured is not its */
}

static dload_status fetch(fw_batch *b)
{
    for (size_t i = 0; i < b->n; i++) {
        uint64_t value = b->keys[i];
        (void)fw_batch_set(b, i, &value);
    }
    return DLOAD_OK;
}

/* ---- counting ---- */

static uint64_t began;
static uint32_t overhead, per_instructions = 1, instructions = 1;

__attribute__((noinline)) static void count_from_here(void)
{
    began = port_instructions();
}

/* Instructions since then: the counter may be a clock that every instruction moves on by the same. */
__attribute__((noinline)) static uint32_t counted(void)
{
    uint64_t n = port_instructions() - began;
    return (uint32_t)(((n > overhead ? n - overhead : 0) * instructions + per_instructions / 2) /
                      per_instructions);
}

#define NOPS_10  "nop\nnop\nnop\nnop\nnop\nnop\nnop\nnop\nnop\nnop\n"
#define NOPS_100 NOPS_10 NOPS_10 NOPS_10 NOPS_10 NOPS_10 NOPS_10 NOPS_10 NOPS_10 NOPS_10 NOPS_10

static void calibrate(void **state)
{
    (void)state;
    count_from_here();
    overhead = counted();
    count_from_here();
    __asm__ volatile(NOPS_100 NOPS_100);
    per_instructions = counted(); /* of what the counter counts */
    instructions = 200;
    assert_true(per_instructions >= instructions); /* finer than an instruction */
    count_from_here();
    __asm__ volatile(NOPS_100);
    uint32_t n = counted();
    assert_in_range(n, 99, 101);
}

static struct cost {
    uint64_t sum;
    uint32_t n, worst;
} cost;

static void add_cost(uint32_t n)
{
    cost.sum += n;
    cost.n++;
    cost.worst = n > cost.worst ? n : cost.worst;
}

static void say(const char *what)
{
    assert_true(cost.worst > 0);
    print_message("# %s %u %u\n", what, (unsigned)(cost.sum / cost.n), (unsigned)cost.worst);
    memset(&cost, 0, sizeof cost);
}

/* ---- the calls ---- */

static int open_loader(void **state)
{
    fw_config cfg = fw_config_default();
    (void)state;
    memset(&cost, 0, sizeof cost);
    dload_block_init(&block, memory, sizeof memory);
    block.env.now = board_now;
    now_ms = 1000;
    cfg.env = &block.env;
    cfg.fetch = fetch;
    cfg.capacity = ROOM;
    cfg.max_batch = MAX_BATCH;
    cfg.ttl_ns = UINT64_C(3600) << 30;
    must_ok(fw_init(&l, &cfg));
    return 0;
}

static int close_loader(void **state)
{
    (void)state;
    must_ok(fw_close(&l, DLOAD_DRAIN, 0));
    must_ok(fw_destroy(&l));
    return 0;
}

/* Keys as a bus has them: near each other, and some far away. */
static uint32_t key_of(uint32_t i)
{
    return i & 1u ? i : i << 8 | 3u;
}

static void fill(uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        uint64_t value = i;
        must_ok(fw_cache_set(&l.cache, key_of(i), &value, 0));
    }
}

static void costs_of_a_cache(void **state)
{
    uint64_t value = 0;
    (void)state;
    fill(ROOM);
    for (uint32_t i = 0; i < ROOM; i++) {
        count_from_here();
        dload_status st = fw_cache_get(&l.cache, key_of(i), &value);
        add_cost(counted());
        must_ok(st);
    }
    say("cache_get_hit");
    for (uint32_t i = ROOM; i < 4 * ROOM; i++) {
        count_from_here();
        dload_status st = fw_cache_get(&l.cache, key_of(i), &value);
        add_cost(counted());
        must(st, DLOAD_MISSING);
    }
    say("cache_get_miss");
    for (uint32_t i = 0; i < ROOM; i++) {
        count_from_here();
        dload_status st = fw_cache_set(&l.cache, key_of(i), &value, 0);
        add_cost(counted());
        must_ok(st);
    }
    say("cache_set_over");
    for (uint32_t i = ROOM; i < 4 * ROOM; i++) {
        count_from_here();
        dload_status st = fw_cache_set(&l.cache, key_of(i), &value, 0);
        add_cost(counted());
        must_ok(st);
    }
    say("cache_set_evicting");
    for (uint32_t i = 3 * ROOM; i < 4 * ROOM; i++) {
        count_from_here();
        dload_status st = fw_cache_delete(&l.cache, key_of(i));
        add_cost(counted());
        must_ok(st);
    }
    say("cache_delete");
}

static void costs_of_loads(void **state)
{
    uint64_t value = 0;
    (void)state;
    for (uint32_t i = 0; i < 4 * ROOM; i++) {
        count_from_here();
        dload_status st = fw_load(&l, key_of(i), &value);
        add_cost(counted());
        must_ok(st);
    }
    say("load_fetching");
    for (uint32_t i = 3 * ROOM; i < 4 * ROOM; i++) {
        count_from_here();
        dload_status st = fw_load(&l, key_of(i), &value);
        add_cost(counted());
        must_ok(st);
    }
    say("load_hit");
}

static void costs_of_eight(void **state)
{
    uint32_t keys[MAX_BATCH];
    uint64_t values[MAX_BATCH];
    dload_status st[MAX_BATCH];
    (void)state;
    for (uint32_t i = 0; i < 4 * ROOM; i += MAX_BATCH) {
        for (uint32_t k = 0; k < MAX_BATCH; k++) {
            keys[k] = key_of(i + k);
        }
        count_from_here();
        dload_status all = fw_load_many(&l, keys, MAX_BATCH, values, st);
        add_cost(counted());
        must_ok(all);
    }
    say("load_many_8_fetching");
    for (uint32_t i = 0; i < ROOM; i++) {
        count_from_here();
        dload_status all = fw_load_many(&l, keys, MAX_BATCH, values, st);
        add_cost(counted());
        must_ok(all);
    }
    say("load_many_8_hits");
}

static void waiter_done(fw_waiter *w)
{
    (void)w;
}

static void costs_of_requests(void **state)
{
    static fw_waiter w[MAX_BATCH];
    (void)state;
    for (uint32_t i = 0; i < 4 * ROOM; i += MAX_BATCH) {
        count_from_here();
        for (uint32_t k = 0; k < MAX_BATCH; k++) {
            w[k].done = waiter_done;
            (void)fw_start(&l, key_of(i + k), &w[k]);
        }
        (void)fw_dispatch(&l, NULL);
        add_cost(counted());
        must_ok(w[MAX_BATCH - 1].status);
    }
    say("start_8_dispatch");
}

#define MEASURED(f) cmocka_unit_test_setup_teardown(f, open_loader, close_loader)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(calibrate), MEASURED(costs_of_a_cache),  MEASURED(costs_of_loads),
        MEASURED(costs_of_eight),    MEASURED(costs_of_requests),
    };
    return cmocka_run_group_tests_name("measured", tests, NULL, NULL);
}
