/* Owned values, continued: copies (COPY/FREE), whose copying may fail, and blobs. */
/* locks: NONE SPIN PTHREAD */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* ---- a value that is copied, and whose copying may fail ---- */

static size_t texts_live;
static size_t texts_fail_at; /* the how-manieth copy fails from now; 0 = none */

static bool text_copy(char **to, char *const *from)
{
    if (texts_fail_at && --texts_fail_at == 0) {
        return false;
    }
    size_t n_bytes = strlen(*from) + 1;
    *to = malloc(n_bytes);
    if (!*to) {
        return false;
    }
    memcpy(*to, *from, n_bytes);
    texts_live++;
    return true;
}

static void text_free(char **v)
{
    texts_live--;
    free(*v);
    *v = NULL;
}

#define DLOAD_NAME                 xl
#define DLOAD_KEY                  DLOAD_STRING
#define DLOAD_VALUE                char *
#define DLOAD_VALUE_COPY(to, from) text_copy((to), (from))
#define DLOAD_VALUE_FREE(pv)       text_free(pv)
#define DLOAD_LOCK                 TEST_LOCK
#include "dataloader.h"

#define DLOAD_NAME  bl
#define DLOAD_KEY   uint64_t
#define DLOAD_VALUE DLOAD_BLOB
#define DLOAD_LOCK  TEST_LOCK
#include "dataloader.h"

/* No policy: a full cache refuses what is new. */
#define DLOAD_NAME                 nl
#define DLOAD_KEY                  uint64_t
#define DLOAD_VALUE                char *
#define DLOAD_VALUE_COPY(to, from) text_copy((to), (from))
#define DLOAD_VALUE_FREE(pv)       text_free(pv)
#define DLOAD_LOCK                 TEST_LOCK
#define DLOAD_EVICT                DLOAD_EVICT_NONE
#include "dataloader.h"

#include "support.h"
#include <stdio.h>

static struct fake_env env;

static int setup(void **state)
{
    (void)state;
    fake_env_init(&env);
    texts_live = texts_fail_at = 0;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    equal(texts_live, 0);
    fake_env_check(&env);
    return 0;
}

/* ---- copies ---- */

static dload_status xl_fetch(xl_batch *b)
{
    for (size_t i = 0; i < b->n; i++) {
        char text[300];
        char *p = text;
        snprintf(text, sizeof text, "value of %.*s", (int)b->keys[i].len, b->keys[i].ptr);
        dload_status st = xl_batch_set(b, i, &p);
        assert_true(st == DLOAD_OK || st == DLOAD_ENOMEM);
        memset(text, '#', sizeof text); /* the copy is the loader's own */
    }
    return DLOAD_OK;
}

/* The how-manieth copy fails, for every one until none did. */
static void test_values_copied_may_fail(void **state)
{
    (void)state;
    for (size_t nth = 1;; nth++) {
        xl l;
        xl_config cfg = xl_config_default();
        dload_str keys[4] = {dload_str_from("a"), dload_str_from("b"), dload_str_from("a"),
                             dload_str_from("")};
        char *out[4] = {NULL};
        dload_status st[4];
        size_t failed = 0;
        cfg.fetch = xl_fetch;
        cfg.env = &env.env;
        cfg.capacity = 2;
        must_ok(xl_init(&l, &cfg));
        texts_fail_at = nth;
        for (int round = 0; round < 2; round++) {
            (void)xl_load_many(&l, keys, 4, out, st);
            for (size_t i = 0; i < 4; i++) {
                if (st[i] >= 0) {
                    assert_int_equal(strncmp(out[i], "value of ", 9), 0);
                    assert_int_equal(strncmp(out[i] + 9, keys[i].ptr, keys[i].len), 0);
                    text_free(&out[i]);
                } else {
                    must(st[i], DLOAD_ENOMEM);
                    failed++;
                }
            }
        }
        char *one = NULL, primed[] = "primed";
        char *p = primed;
        dload_status ps = xl_prime(&l, keys[1], &p, DLOAD_OVERWRITE);
        assert_true(ps == DLOAD_OK || ps == DLOAD_ENOMEM);
        failed += ps != DLOAD_OK;
        bool none_failed = texts_fail_at != 0;
        texts_fail_at = 0;
        must_ok(xl_load(&l, keys[1], &one));
        text_free(&one);
        must_ok(xl_close(&l, DLOAD_FAIL, 0));
        must_ok(xl_destroy(&l));
        equal(texts_live, 0);
        if (none_failed) {
            equal(failed, 0);
            assert_true(nth > 8);
            break;
        }
    }
}

/* ---- blobs ---- */

static dload_status bl_fetch(bl_batch *b)
{
    for (size_t i = 0; i < b->n; i++) {
        must_ok(bl_batch_set_bytes(b, i, &b->keys[i], sizeof b->keys[i]));
    }
    return DLOAD_OK;
}

static void test_values_copied_blobs(void **state)
{
    (void)state;
    bl l;
    bl_config cfg = bl_config_default();
    dload_blob a, b, empty;
    cfg.fetch = bl_fetch;
    cfg.env = &env.env;
    cfg.capacity = 3;
    must_ok(bl_init(&l, &cfg));
    must_ok(bl_load(&l, 5, &a));
    must_ok(bl_load(&l, 5, &b));
    assert_ptr_equal(a.ptr, b.ptr); /* the same bytes, not a copy of them */
    equal(a.len, 8);
    dload_blob_release(&b);
    assert_null(b.ptr);
    for (uint64_t key = 100; key < 120; key++) {
        must_ok(bl_load(&l, key, &b));
        dload_blob_release(&b);
    }
    must_ok(dload_blob_make(&env.env, NULL, 0, &empty));
    equal(empty.len, 0);
    assert_non_null(empty.ptr); /* empty is not missing */
    must_ok(bl_prime(&l, 1, &empty, 0));
    dload_blob_release(&empty);
    must_ok(bl_load(&l, 1, &b));
    equal(b.len, 0);
    dload_blob_release(&b);
    dload_blob_release(&b); /* releasing nothing is nothing */
    must_ok(bl_close(&l, DLOAD_FAIL, 0));
    must_ok(bl_destroy(&l));
    uint64_t still;
    memcpy(&still, a.ptr, sizeof still); /* a blob outlives its loader */
    equal(still, 5);
    dload_blob_release(&a);
}

/* ---- no policy ---- */

static void test_values_copied_set_after_clear(void **state)
{
    (void)state;
    static const size_t caps[] = {1, 10, 500};
    for (size_t k = 0; k < COUNT(caps); k++) {
        nl_cache c;
        nl_cache_config cfg;
        char text[] = "text", *v = text;
        memset(&cfg, 0, sizeof cfg);
        cfg.env = &env.env;
        cfg.capacity = caps[k];
        cfg.shards = 1;
        must_ok(nl_cache_init(&c, &cfg));
        for (int round = 0; round < 4; round++) {
            for (uint64_t key = 0; key < caps[k]; key++) {
                must_ok(nl_cache_set(&c, key + (uint64_t)round * 1000, &v, DLOAD_SECOND));
            }
            must(nl_cache_set(&c, 99999, &v, 0), DLOAD_EFULL);
            /* By turns: they are cleared, or they expire. */
            if (round % 2) {
                must_ok(nl_cache_clear(&c));
            } else {
                env.now_ns += 2 * DLOAD_SECOND;
            }
        }
        must_ok(nl_cache_destroy(&c));
    }
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_values_copied_may_fail),
        TEST(test_values_copied_blobs),
        {"set after clear, no policy", test_values_copied_set_after_clear, setup, teardown, NULL},
    };
    return cmocka_run_group_tests_name("values copied " TEST_STRING(TEST_LOCK), tests, NULL, NULL);
}
