/* A loader as firmware has it: no libc, a static block for all memory, a 32-bit
 * counter of milliseconds that wraps for a clock, the compact table, nothing
 * that waits. 200,000 random operations against an array, where everything is
 * predicted but who is evicted; a full table that lives long; too little
 * memory. Fits a core with 16 KB, and needs neither 64-bit multiplication nor
 * division: see tests/freestanding. */
#define DLOAD_FREESTANDING 1
#define DLOAD_NAME         fw
#define DLOAD_KEY          uint32_t
#define DLOAD_VALUE        uint64_t
#define DLOAD_COMPACT      1
#define DLOAD_ASYNC        0
#include "dataloader.h"

#include "support.h"

#include <string.h>

enum {
    N_KEYS = 60,
    ROOM = 64,  /* entries: nobody is evicted */
    TIGHT = 24, /* ... somebody is */
    MAX_BATCH = 8,
    N_OPS = 50000, /* of each kind of random test */
    TTL_MS = 400,
    N_WAITERS = 4
};

#define BLOCK_BYTES DLOAD_BYTES(fw, ROOM, MAX_BATCH)

static uint64_t memory[(BLOCK_BYTES + 7) / 8];
static dload_block block;

/* ---- the clock: a counter of 32 bits, near its end when a test begins ---- */

static dload_ticks ticks;
static uint32_t counter; /* ms; wraps */

static uint64_t board_now(void *ctx)
{
    (void)ctx;
    return dload_ticks_ns(&ticks, counter);
}

/* Milliseconds since the first look, as the model has them. */
static uint64_t passed_ms;

static void pass_ms(uint32_t ms)
{
    counter += ms;
    passed_ms += ms;
    (void)board_now(NULL); /* somebody looks once a round at least */
}

static void board_begin(size_t n_bytes)
{
    dload_block_init(&block, memory, n_bytes);
    memset(&ticks, 0, sizeof ticks);
    ticks.tick_ns = 1000000;
    counter = UINT32_MAX - 3000;
    passed_ms = counter;
    block.env.now = board_now;
    (void)board_now(NULL);
}

/* ---- chance, in 32 bits ---- */

static uint32_t chance;

static void chance_begin(const char *who)
{
    chance = (uint32_t)test_seed(who) | 1u;
}

static uint32_t below(uint32_t n)
{
    chance ^= chance << 13;
    chance ^= chance >> 17;
    chance ^= chance << 5;
    return (chance >> 16) * n >> 16;
}

/* ---- the array that knows better ---- */

static struct known {
    uint64_t value;
    uint64_t end_ms; /* it may not be there from here on ... */
    bool here;       /* ... if it is at all; UINT64_MAX = it does not end */
} known[N_KEYS];

static uint64_t version; /* what the source answers with */

static uint64_t source_value(uint32_t key)
{
    return (version << 8) + key;
}

/* Every sixteenth key has no value. */
static bool source_has(uint32_t key)
{
    return (key & 15u) != 15u;
}

static bool is_there(uint32_t key)
{
    return known[key].here && passed_ms < known[key].end_ms;
}

/* The clock of entries goes in steps of 1.05 ms, and an entry ends early rather
 * than late. */
static bool may_be_gone(uint32_t key)
{
    return !is_there(key) || passed_ms + 2 >= known[key].end_ms;
}

static void know(uint32_t key, uint64_t value, uint32_t ttl_ms)
{
    known[key].here = true;
    known[key].value = value;
    known[key].end_ms = ttl_ms ? passed_ms + ttl_ms : UINT64_MAX;
}

static void forget_all(void)
{
    memset(known, 0, sizeof known);
}

static size_t n_known(void)
{
    size_t n = 0;
    for (uint32_t key = 0; key < N_KEYS; key++) {
        n += is_there(key);
    }
    return n;
}

static uint64_t ms_in_ns(uint32_t ms)
{
    uint64_t low = (ms & 0xfffu) * UINT32_C(1000000), high = (ms >> 12) * UINT32_C(1000000);
    return low + (high << 12); /* below 2^24 ms; cores without a wide
                                multiplication have this one */
}

/* Seldom half a round of the counter, or nearly a whole one. */
static void pass_some(void)
{
    uint32_t how = below(400);
    pass_ms(how == 0 ? UINT32_C(0x80000000) : how == 1 ? UINT32_MAX - below(5000) : below(40));
}

/* ---- a cache alone ---- */

static void cache_step(fw_cache *c, bool tight)
{
    uint32_t key = below(N_KEYS), op = below(100);
    uint64_t value = 0;
    if (op < 40) {
        dload_status st = fw_cache_get(c, key, &value);
        if (st == DLOAD_OK) {
            assert_true(is_there(key));
            equal(value, known[key].value);
        } else {
            must(st, DLOAD_MISSING);
            assert_true(tight || may_be_gone(key));
            known[key].here = false;
        }
    } else if (op < 80) {
        uint32_t ttl_ms = below(4) ? 3 + below(2000) : 0;
        value = ++version;
        must_ok(fw_cache_set(c, key, &value, ttl_ms ? ms_in_ns(ttl_ms) : DLOAD_NEVER));
        know(key, value, ttl_ms);
        value = 0;
        must_ok(fw_cache_get(c, key, &value)); /* whoever left for it, it is there */
        equal(value, version);
    } else if (op < 90) {
        must_ok(fw_cache_delete(c, key));
        known[key].here = false;
        must(fw_cache_get(c, key, &value), DLOAD_MISSING);
    } else if (op < 99) {
        pass_some();
        if (op < 93) {
            must_ok(fw_cache_advance(c, board_now(NULL)));
        }
    } else if (below(8) == 0) {
        must_ok(fw_cache_clear(c));
        forget_all();
        equal(fw_cache_len(c), 0);
    }
    assert_true(fw_cache_len(c) <= (tight ? TIGHT : ROOM));
}

static void cache_against_an_array(size_t capacity)
{
    fw_cache c;
    fw_cache_config cfg;
    memset(&cfg, 0, sizeof cfg);
    forget_all();
    board_begin(sizeof memory);
    cfg.env = &block.env;
    cfg.capacity = capacity;
    must_ok(fw_cache_init(&c, &cfg));
    for (uint32_t i = 0; i < N_OPS; i++) {
        cache_step(&c, capacity == TIGHT);
        if ((i & 255u) == 0) {
            must_ok(fw_cache_advance(&c, board_now(NULL)));
            assert_true(fw_cache_len(&c) <= n_known());
        }
    }
    must_ok(fw_cache_destroy(&c));
    equal(block.n_out, 0);
}

static void cache_model(void **state)
{
    (void)state;
    chance_begin("firmware, cache");
    cache_against_an_array(ROOM);
}

static void cache_model_evicting(void **state)
{
    (void)state;
    chance_begin("firmware, cache that evicts");
    cache_against_an_array(TIGHT);
}

/* ---- a loader ---- */

static fw regs;
static uint8_t n_fetched[N_KEYS]; /* since the operation began */
static bool was_cleared[N_KEYS];  /* ... while it was being fetched */
static bool is_not_kept[N_KEYS];  /* ... the last time */
static uint32_t n_calls, n_keys_fetched;

static dload_status fetch(fw_batch *b)
{
    assert_true(b->n > 0 && b->n <= MAX_BATCH);
    n_calls++;
    n_keys_fetched += (uint32_t)b->n;
    for (size_t i = 0; i < b->n; i++) {
        uint32_t key = b->keys[i];
        assert_true(key < N_KEYS);
        n_fetched[key]++;
        is_not_kept[key] = below(32) == 0;
        if (is_not_kept[key]) {
            was_cleared[key] = true;
            must_ok(fw_clear(&regs, key)); /* who waits is served, and that is all */
        }
        if (source_has(key)) {
            uint64_t value = source_value(key);
            must_ok(fw_batch_set(b, i, &value));
        }
    }
    return DLOAD_OK;
}

static void op_begins(void)
{
    n_calls = n_keys_fetched = 0;
    memset(n_fetched, 0, sizeof n_fetched);
    memset(was_cleared, 0, sizeof was_cleared);
}

/* One caller's answer is right: cached, or fetched now, and fetched only when
 * it had to be. */
static void judge(uint32_t key, dload_status st, uint64_t value, bool tight)
{
    bool fetched = n_fetched[key] > 0;
    equal(n_fetched[key], fetched); /* never twice */
    if (!fetched) {
        must_ok(st);
        assert_true(is_there(key));
        equal(value, known[key].value);
        return;
    }
    assert_true(tight || may_be_gone(key));
    if (source_has(key)) {
        must_ok(st);
        equal(value, source_value(key));
    } else {
        must(st, DLOAD_MISSING);
    }
}

/* What an operation fetched is cached from now on. */
static void op_ends(void)
{
    for (uint32_t key = 0; key < N_KEYS; key++) {
        if (n_fetched[key]) {
            known[key].here = false;
            if (source_has(key) && !is_not_kept[key]) {
                know(key, source_value(key), TTL_MS);
            }
        }
    }
    assert_true(n_calls <= n_keys_fetched);
    assert_true(n_calls * MAX_BATCH >= n_keys_fetched);
}

static void load_one(fw *l, bool tight)
{
    uint32_t key = below(N_KEYS);
    uint64_t value = 0;
    dload_status st = fw_load(l, key, &value);
    judge(key, st, value, tight);
}

static void load_some(fw *l, bool tight)
{
    uint32_t keys[20] = {0}, n = below(COUNT(keys) + 1);
    uint64_t values[COUNT(keys)];
    dload_status st[COUNT(keys)];
    for (uint32_t i = 0; i < n; i++) {
        keys[i] = below(N_KEYS);
    }
    must_ok(fw_load_many(l, keys, n, values, st));
    for (uint32_t i = 0; i < n; i++) {
        /* More than the places for requests go in several turns. What is not cached when the next turn comes,
         * because there is no value or no room, or it was cleared, is asked for again. */
        uint32_t key = keys[i];
        if (n_fetched[key] > 1 && (tight || !source_has(key) || was_cleared[key])) {
            n_fetched[key] = 1;
        }
        judge(key, st[i], values[i], tight);
    }
}

static uint32_t n_done;

static void waiter_done(fw_waiter *w)
{
    (void)w;
    n_done++;
}

/* Several tasks ask, one dispatch serves them. */
static void start_some(fw *l, bool tight)
{
    fw_waiter w[N_WAITERS];
    uint32_t keys[N_WAITERS], n_pending = 0;
    size_t n_sent = 0;
    n_done = 0;
    for (uint32_t i = 0; i < N_WAITERS; i++) {
        keys[i] = below(N_KEYS);
        memset(&w[i], 0, sizeof w[i]);
        w[i].done = waiter_done;
        dload_status st = fw_start(l, keys[i], &w[i]);
        n_pending += st == DLOAD_PENDING;
        assert_true(st == DLOAD_PENDING || st == w[i].status);
    }
    equal(n_calls, 0);
    must_ok(fw_dispatch(l, &n_sent));
    equal(n_done, n_pending);
    assert_true(n_sent <= n_pending);
    for (uint32_t i = 0; i < N_WAITERS; i++) {
        judge(keys[i], w[i].status, w[i].value, tight);
    }
}

static void change_something(fw *l, uint32_t op)
{
    uint32_t key = below(N_KEYS);
    uint64_t value = ++version;
    if (op < 3) {
        must_ok(fw_prime(l, key, &value, DLOAD_OVERWRITE));
        know(key, value, TTL_MS);
    } else if (op < 9) {
        must_ok(fw_clear(l, key));
        known[key].here = false;
    } else if (below(20) == 0) {
        must_ok(fw_clear_all(l));
        forget_all();
    }
}

static void loader_step(fw *l, bool tight)
{
    uint32_t op = below(100);
    op_begins();
    if (op < 40) {
        load_one(l, tight);
    } else if (op < 55) {
        load_some(l, tight);
    } else if (op < 75) {
        start_some(l, tight);
    } else if (op < 85) {
        change_something(l, op - 75);
    } else {
        pass_some();
        must_ok(fw_process(l, board_now(NULL)));
    }
    op_ends();
}

static void open_loader(fw *l, size_t capacity, dload_status want)
{
    fw_config cfg = fw_config_default();
    cfg.env = &block.env;
    cfg.fetch = fetch;
    cfg.capacity = capacity;
    cfg.max_batch = MAX_BATCH;
    cfg.ttl_ns = ms_in_ns(TTL_MS);
    must(fw_init(l, &cfg), want);
}

static void close_loader(fw *l)
{
    must_ok(fw_close(l, DLOAD_DRAIN, 0));
    must_ok(fw_destroy(l));
    equal(block.n_out, 0);
    equal(block.n_used_bytes, 0);
}

static void loader_against_an_array(size_t capacity)
{
    fw *l = &regs;
    forget_all();
    board_begin(sizeof memory);
    open_loader(l, capacity, DLOAD_OK);
    size_t n_out = block.n_out;
    for (uint32_t i = 0; i < N_OPS; i++) {
        loader_step(l, capacity == TIGHT);
    }
    equal(block.n_out, n_out); /* nothing was allocated on the way */
    close_loader(l);
}

static void loader_model(void **state)
{
    (void)state;
    chance_begin("firmware, loader");
    loader_against_an_array(ROOM);
}

static void loader_model_evicting(void **state)
{
    (void)state;
    chance_begin("firmware, loader that evicts");
    loader_against_an_array(TIGHT);
}

/* ---- a full table that lives long ---- */

/* Slots along all chains, squared: what finding each entry once costs, and
 * more. */
static uint32_t chain_work(const fw_cache *c, uint32_t *longest)
{
    uint32_t work = 0;
    *longest = 0;
    for (uint32_t i = 0; i <= c->one.mask; i++) {
        uint32_t n = 0;
        for (uint16_t at = c->one.heads[i]; at != DLOAD_I_CHAIN_END; at = c->one.slots[at].next) {
            n++;
            assert_true(n <= c->one.cap); /* no circle */
        }
        work += n * n;
        *longest = n > *longest ? n : *longest;
    }
    return work;
}

/* The oldest leaves, a new one comes, 50,000 times: chains at the end are as at
 * the beginning. */
static void soak(void **state)
{
    fw_cache c;
    fw_cache_config cfg;
    uint32_t most_work = 0, most_long = 0, longest;
    (void)state;
    memset(&cfg, 0, sizeof cfg);
    board_begin(sizeof memory);
    cfg.env = &block.env;
    cfg.capacity = ROOM;
    must_ok(fw_cache_init(&c, &cfg));
    for (uint32_t key = 0; key < ROOM; key++) {
        uint64_t value = key;
        must_ok(fw_cache_set(&c, key, &value, DLOAD_NEVER));
    }
    uint32_t first = chain_work(&c, &longest);
    for (uint32_t key = ROOM; key < ROOM + N_OPS; key++) {
        uint64_t value = key, got = 0;
        equal(fw_cache_len(&c), ROOM);
        must_ok(fw_cache_get(&c, key - ROOM, &got));
        equal(got, key - ROOM);
        must_ok(fw_cache_delete(&c, key - ROOM));
        must(fw_cache_get(&c, key - ROOM, &got), DLOAD_MISSING);
        must_ok(fw_cache_set(&c, key, &value, DLOAD_NEVER));
        if ((key & 63u) == 0) {
            uint32_t work = chain_work(&c, &longest);
            most_work = work > most_work ? work : most_work;
            most_long = longest > most_long ? longest : most_long;
        }
    }
    for (uint32_t key = N_OPS; key < ROOM + N_OPS; key++) {
        uint64_t got = 0;
        must_ok(fw_cache_get(&c, key, &got));
        equal(got, key);
    }
    print_message("soak: chain work %u at first, %u at most; the longest chain %u\n",
                  (unsigned)first, (unsigned)most_work, (unsigned)most_long);
    /* 64 entries in 64 chains by chance: 128 on average, and 225 are out of the
   * question. */
    assert_true(most_work < 225);
    assert_true(most_long < 9);
    must_ok(fw_cache_destroy(&c));
}

/* ---- too little memory ---- */

static void every_byte_too_few(void **state)
{
    uint64_t value = 0;
    (void)state;
    /* Each allocation has its turn at being the one that fails. */
    for (size_t n_bytes = 0; n_bytes + 8 <= BLOCK_BYTES; n_bytes += 8) {
        board_begin(n_bytes);
        open_loader(&regs, ROOM, DLOAD_ENOMEM);
        equal(block.n_out, 0);
        must_ok(fw_destroy(&regs)); /* harmless */
    }
    board_begin(BLOCK_BYTES);
    open_loader(&regs, ROOM, DLOAD_OK);
    op_begins();
    must_ok(fw_load(&regs, 1, &value));
    equal(value, source_value(1));
    equal(n_calls, 1);
    close_loader(&regs);
}

static void a_cache_takes_what_is_said(void **state)
{
    fw_cache c;
    fw_cache_config cfg;
    (void)state;
    memset(&cfg, 0, sizeof cfg);
    for (size_t n_bytes = 0; n_bytes <= sizeof memory; n_bytes += 8) {
        board_begin(n_bytes);
        cfg.env = &block.env;
        cfg.capacity = TIGHT;
        bool fits = n_bytes >= DLOAD_BYTES(fw, TIGHT, 0);
        must(fw_cache_init(&c, &cfg), fits ? DLOAD_OK : DLOAD_ENOMEM);
        must_ok(fw_cache_destroy(&c));
        equal(block.n_out, 0);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(cache_model),
        cmocka_unit_test(cache_model_evicting),
        cmocka_unit_test(loader_model),
        cmocka_unit_test(loader_model_evicting),
        cmocka_unit_test(soak),
        cmocka_unit_test(every_byte_too_few),
        cmocka_unit_test(a_cache_takes_what_is_said),
    };
    return cmocka_run_group_tests_name("firmware", tests, NULL, NULL);
}
