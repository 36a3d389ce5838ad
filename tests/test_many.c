/* Many keys at once in a cache that is too large to be near: block by block, and the same as one by one. */
/* locks: NONE SPIN PTHREAD */
#include <stdint.h>

typedef struct wide {
    uint64_t words[4];
} wide;

#define DLOAD_NAME  dl
#define DLOAD_KEY   double
#define DLOAD_VALUE wide
#define DLOAD_LOCK  TEST_LOCK
#include "dataloader.h"
#define DLOAD_NAME  sl
#define DLOAD_KEY   DLOAD_STRING
#define DLOAD_VALUE DLOAD_BLOB
#define DLOAD_LOCK  TEST_LOCK
#include "dataloader.h"
#include "support.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { CAPACITY = 40000, N_MANY = 1000 };

static void test_same_as_one_by_one(void **state)
{
    (void)state;
    uint64_t seed = test_seed("many");
    dl_cache c;
    dl_cache_config cfg;
    memset(&cfg, 0, sizeof cfg);
    cfg.capacity = CAPACITY;
    cfg.ttl_ns = DLOAD_SECOND * 1000;
    must_ok(dl_cache_init(&c, &cfg));
    assert_true(dl_i_is_far(&c));
    for (uint64_t k = 0; k < CAPACITY; k++) {
        wide value = {{k, ~k, k * 3, 7}};
        must_ok(dl_cache_set(&c, (double)k, &value, 0));
    }
    static double keys[N_MANY];
    static wide out[N_MANY], one;
    static dload_status st[N_MANY];
    size_t n_rounds = scaled(60);
    for (size_t round = 0; round < n_rounds; round++) {
        size_t n = (size_t)rng_below(&seed, N_MANY + 1);
        for (size_t i = 0; i < n; i++) {
            uint64_t what = rng_below(&seed, 20);
            keys[i] = what == 0             ? NAN
                      : what == 1 && i != 0 ? keys[i - 1]
                                            : (double)rng_below(&seed, CAPACITY * 5 / 4);
        }
        memset(out, 0x5a, sizeof out);
        size_t n_hits = 99, hits = 0;
        must_ok(dl_cache_get_many(&c, keys, n, out, st, &n_hits));
        for (size_t i = 0; i < n; i++) {
            must(dl_cache_get(&c, keys[i], &one), st[i]);
            if (isnan(keys[i])) {
                must(st[i], DLOAD_EKEY);
            }
            if (st[i] == DLOAD_OK) {
                assert_memory_equal(&out[i], &one, sizeof one);
                equal(out[i].words[0], (uint64_t)keys[i]);
                hits++;
            } else {
                equal(out[i].words[1], UINT64_C(0x5a5a5a5a5a5a5a5a));
            }
        }
        equal(n_hits, hits);
    }
    must_ok(dl_cache_destroy(&c));
}

/* ---- through a loader, with strings and owned values ---- */

static size_t n_fetched;

static dload_status fetch(sl_batch *b)
{
    for (size_t i = 0; i < b->n; i++) {
        must_ok(sl_batch_set_bytes(b, i, b->keys[i].ptr, b->keys[i].len));
    }
    n_fetched += b->n;
    return DLOAD_OK;
}

static void test_load_many_strings(void **state)
{
    (void)state;
    static char texts[N_MANY][24];
    static dload_str keys[N_MANY];
    static dload_blob out[N_MANY];
    static dload_status st[N_MANY];
    struct fake_env f;
    fake_env_init_real(&f);
    sl l;
    sl_config cfg = sl_config_default();
    cfg.fetch = fetch;
    cfg.env = &f.env;
    cfg.capacity = CAPACITY;
    must_ok(sl_init(&l, &cfg));
    assert_true(sl_i_is_far(&l.cache));
    for (size_t i = 0; i < N_MANY; i++) {
        keys[i].len = (size_t)snprintf(texts[i], sizeof texts[i], "key number %zu", i / 2);
        keys[i].ptr = texts[i];
    }
    n_fetched = 0;
    for (size_t round = 0; round < 3; round++) {
        must_ok(sl_load_many(&l, keys, N_MANY, out, st));
        for (size_t i = 0; i < N_MANY; i++) {
            must_ok(st[i]);
            equal(out[i].len, keys[i].len);
            assert_memory_equal(out[i].ptr, keys[i].ptr, keys[i].len);
            dload_blob_release(&out[i]);
        }
        equal(n_fetched, N_MANY / 2);
    }
    must_ok(sl_close(&l, DLOAD_DRAIN, 0));
    must_ok(sl_destroy(&l));
    fake_env_check(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_as_one_by_one),
        cmocka_unit_test(test_load_many_strings),
    };
    return cmocka_run_group_tests_name("many", tests, NULL, NULL);
}
