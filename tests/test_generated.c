/* What mkloader writes for profile = embedded (tests/gen/specs/embedded.ini) against a naive table: the thin header here,
 * the one without macros in test_generated_expanded.c. */
#ifndef GENERATED
#define GENERATED "gen/expected/embedded/registers.h"
#endif
#include GENERATED

#include "support.h"

#include <string.h>

#define KEYS     24u
#define CAPACITY 8u
#define BATCH    4u

static uint64_t memory[(DLOAD_BYTES(registers, CAPACITY, BATCH) + 7) / 8];
static dload_block block;
static registers loader;

/* The source, and what a loader may know of it. */
static struct {
    int32_t version[KEYS]; /* of the source: what a fetch brings */
    bool known[KEYS];      /* fetched or put since the last clear */
    int32_t cached[KEYS];  /* ... this version */
    uint64_t until_ns[KEYS];
    uint64_t now_ns;
    unsigned n_fetches, n_keys;
    bool fetched[KEYS]; /* since the operation began */
} naive;

static bool fails(uint16_t key)
{
    return key % 8 == 7;
}

static dload_status fetch(registers_batch *b)
{
    naive.n_fetches++;
    assert_true(b->n >= 1 && b->n <= BATCH);
    for (size_t i = 0; i < b->n; i++) {
        uint16_t key = b->keys[i];
        struct sample s = {naive.version[key], key};
        assert_true(key < KEYS);
        for (size_t k = 0; k < i; k++)
            assert_true(b->keys[k] != key);
        naive.fetched[key] = true;
        naive.n_keys++;
        if (fails(key)) {
            must_ok(registers_batch_fail(b, i, DLOAD_EFETCH));
            continue;
        }
        must_ok(registers_batch_set(b, i, &s));
        naive.known[key] = true;
        naive.cached[key] = s.milli;
        naive.until_ns[key] = naive.now_ns + DLOAD_SECOND + 3 * DLOAD_MILLISECOND;
    }
    return DLOAD_OK;
}

static void begin(void)
{
    registers_config config = registers_config_preset();
    memset(&naive, 0, sizeof naive);
    dload_block_init(&block, memory, sizeof memory);
    config.fetch = fetch;
    config.env = &block.env;
    must_ok(registers_init(&loader, &config));
}

static void end(void)
{
    must_ok(registers_close(&loader, DLOAD_DRAIN, 0));
    must_ok(registers_destroy(&loader));
    equal(block.n_out, 0);
}

/* What one load may yield. */
static void right(uint16_t key, dload_status st, const struct sample *s)
{
    if (fails(key)) {
        equal(st, DLOAD_EFETCH);
        return;
    }
    equal(st, DLOAD_OK);
    equal(s->number, key);
    assert_true(naive.known[key]);
    assert_true(naive.fetched[key] || naive.now_ns < naive.until_ns[key]);
    equal(s->milli, naive.cached[key]);
}

static void load_some(uint64_t *x)
{
    uint16_t keys[12];
    struct sample out[12];
    dload_status statuses[12];
    size_t n = 1 + (size_t)rng_below(x, COUNT(keys));
    for (size_t i = 0; i < n; i++)
        keys[i] = (uint16_t)rng_below(x, KEYS);
    must_ok(registers_load_many(&loader, keys, n, out, statuses));
    for (size_t i = 0; i < n; i++)
        right(keys[i], statuses[i], &out[i]);
}

static unsigned n_done;

static void done(registers_waiter *w)
{
    n_done++;
    right((uint16_t)(uintptr_t)w->ctx, w->status, &w->value);
}

/* Requests that do not block, and the call that sends them. */
static void start_some(uint64_t *x)
{
    registers_waiter w[BATCH];
    unsigned n_pending = 0;
    memset(w, 0, sizeof w);
    n_done = 0;
    for (size_t i = 0; i < COUNT(w); i++) {
        uint16_t key = (uint16_t)rng_below(x, KEYS);
        w[i].done = done;
        w[i].ctx = (void *)(uintptr_t)key;
        dload_status st = registers_start(&loader, key, &w[i]);
        if (st == DLOAD_PENDING)
            n_pending++;
        else
            right(key, st, &w[i].value);
    }
    must_ok(registers_dispatch(&loader, NULL));
    equal(n_done, n_pending);
}

static void clear(uint16_t key)
{
    must_ok(registers_clear(&loader, key));
    naive.known[key] = false;
}

static void put(uint16_t key, int32_t version)
{
    struct sample s = {version, key};
    must_ok(registers_prime(&loader, key, &s, DLOAD_OVERWRITE));
    naive.known[key] = true;
    naive.cached[key] = version;
    naive.until_ns[key] = naive.now_ns + DLOAD_SECOND + 3 * DLOAD_MILLISECOND;
}

static void look(uint16_t key)
{
    struct sample s;
    dload_status st = registers_cache_get(&loader.cache, key, &s);
    if (st == DLOAD_OK)
        right(key, st, &s);
    else
        equal(st, DLOAD_MISSING);
}

/* Random operations: nothing comes that is older than a clear, past its TTL, or another key's. */
static void a_model_agrees(void **state)
{
    uint64_t x = test_seed("generated");
    size_t n = scaled(100000);
    (void)state;
    begin();
    for (size_t i = 0; i < n; i++) {
        uint16_t key = (uint16_t)rng_below(&x, KEYS);
        memset(naive.fetched, 0, sizeof naive.fetched);
        switch (rng_below(&x, 8)) {
        case 0:
            clear(key);
            break;
        case 1:
            naive.version[key]++; /* which nobody tells the loader */
            break;
        case 2:
            naive.now_ns += rng_below(&x, DLOAD_SECOND / 4);
            must_ok(registers_cache_advance(&loader.cache, naive.now_ns));
            break;
        case 3:
            if (!fails(key))
                put(key, (int32_t)rng_below(&x, 1000));
            break;
        case 4:
            look(key);
            break;
        case 5:
            start_some(&x);
            break;
        default:
            load_some(&x);
        }
        assert_true(registers_cache_len(&loader.cache) <= CAPACITY);
    }
    assert_true(naive.n_fetches > n / 50 && naive.n_keys > naive.n_fetches);
    end();
}

/* The block that DLOAD_BYTES names is enough, again and again, and a step less is not. */
static void a_block_is_exact(void **state)
{
    registers_config config = registers_config_preset();
    (void)state;
    config.fetch = fetch;
    config.env = &block.env;
    for (int i = 0; i < 3; i++) {
        begin();
        equal(block.n_used_bytes, sizeof memory);
        end();
    }
    dload_block_init(&block, memory, sizeof memory - 8);
    equal(registers_init(&loader, &config), DLOAD_ENOMEM);
    equal(block.n_out, 0);
}

/* Twelve keys are three batches, and what is cached none. */
static void keys_go_together(void **state)
{
    const uint16_t keys[] = {0, 1, 2, 3, 4, 5, 6, 8, 9, 10, 11, 12, 0, 1};
    struct sample out[COUNT(keys)];
    dload_status statuses[COUNT(keys)];
    (void)state;
    begin();
    must_ok(registers_load_many(&loader, keys, COUNT(keys), out, statuses));
    equal(naive.n_fetches, 3);
    equal(naive.n_keys, 12);
    for (size_t i = 0; i < COUNT(keys); i++)
        right(keys[i], statuses[i], &out[i]);
    memset(naive.fetched, 0, sizeof naive.fetched);
    must_ok(registers_load(&loader, 12, &out[0]));
    equal(naive.n_fetches, 3);
    end();
}

/* A second after it came a value has to be fetched anew. */
static void values_expire(void **state)
{
    struct sample s;
    (void)state;
    begin();
    must_ok(registers_load(&loader, 3, &s));
    naive.version[3] = 5;
    must_ok(registers_cache_advance(&loader.cache, DLOAD_SECOND - 3 * DLOAD_MILLISECOND));
    must_ok(registers_load(&loader, 3, &s));
    equal(s.milli, 0);
    equal(naive.n_fetches, 1);
    naive.fetched[3] = false;
    must_ok(registers_cache_advance(&loader.cache, DLOAD_SECOND + 3 * DLOAD_MILLISECOND));
    must_ok(registers_load(&loader, 3, &s));
    equal(s.milli, 5);
    equal(naive.n_fetches, 2);
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_model_agrees),
        cmocka_unit_test(a_block_is_exact),
        cmocka_unit_test(keys_go_together),
        cmocka_unit_test(values_expire),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
