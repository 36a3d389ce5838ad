/* The form of a value in a store, and a store used without a loader: every bit of a value is checked, another
 * key's, layout's or version's value is refused, TTLs work where the store knows none. */
#define DLOAD_STORE 1
#include "dataloader.h"

#include "test_store.h"

static dload_str str(const char *text)
{
    return dload_str_from(text);
}

struct alone {
    struct fake_env f;
    struct script_store t;
};

static int setup(void **state)
{
    static struct alone alone;
    fake_env_init(&alone.f);
    script_init(&alone.t, &alone.f.env);
    *state = &alone;
    return 0;
}

static int teardown(void **state)
{
    struct alone *x = *state;
    script_end(&x->t);
    fake_env_check(&x->f);
    return 0;
}

static void get_must(struct alone *x, const char *key, const char *want)
{
    dload_blob got = {NULL, 0};
    must_ok(dload_store_get(&x->t.store, str(key), &got));
    equal(got.len, strlen(want));
    assert_memory_equal(got.ptr, want, got.len);
    dload_blob_release(&got);
}

static void plain_calls(void **state)
{
    struct alone *x = *state;
    dload_store *s = &x->t.store;
    dload_blob got;
    must(dload_store_get(s, str("a"), &got), DLOAD_MISSING);
    must_ok(dload_store_set(s, str("a"), "one", 3, DLOAD_NEVER));
    must_ok(dload_store_set(s, str("ab"), "two", 3, DLOAD_SECOND));
    must_ok(dload_store_set(s, str("b"), NULL, 0, DLOAD_NEVER));
    must_ok(dload_store_set(s, str(""), "none", 4, DLOAD_NEVER));
    get_must(x, "a", "one");
    get_must(x, "ab", "two");
    get_must(x, "b", "");
    get_must(x, "", "none");
    must_ok(dload_store_set(s, str("a"), "three", 5, DLOAD_NEVER));
    get_must(x, "a", "three");
    must(dload_store_set(s, str("a"), "x", 1, 0), DLOAD_EINVAL);
    must(dload_store_set(s, str("a"), NULL, 1, 1), DLOAD_EINVAL);
    must(dload_store_set(s, str("a"), "x", ((size_t)1 << 30) + 1, 1), DLOAD_ETOOBIG);
    must_ok(dload_store_delete(s, str("a")));
    must_ok(dload_store_delete(s, str("a")));
    must(dload_store_get(s, str("a"), &got), DLOAD_MISSING);
    must_ok(dload_store_clear(s, str("a")));
    must(dload_store_get(s, str("ab"), &got), DLOAD_MISSING);
    get_must(x, "b", "");
    must_ok(dload_store_clear(s, str("")));
    equal(x->t.n, 0);
    dload_str any = {"\r\n%s\0{}'", 9};
    must_ok(dload_store_set(s, any, any.ptr, any.len, DLOAD_NEVER));
    must_ok(dload_store_get(s, any, &got));
    assert_memory_equal(got.ptr, any.ptr, any.len);
    dload_blob_release(&got);
}

/* A store that never forgets: the TTL in the value does. */
static void ttl_without_the_stores_help(void **state)
{
    struct alone *x = *state;
    dload_blob got;
    must_ok(dload_store_set(&x->t.store, str("k"), "v", 1, 30 * DLOAD_MILLISECOND));
    equal(x->t.entries[0].ttl_ns, 30 * DLOAD_MILLISECOND);
    sleep_ms(40);
    must(dload_store_get(&x->t.store, str("k"), &got), DLOAD_MISSING);
}

static void failures_are_told(void **state)
{
    struct alone *x = *state;
    dload_store *s = &x->t.store;
    dload_blob got;
    must_ok(dload_store_set(s, str("k"), "v", 1, DLOAD_NEVER));
    for (int kind = 0; kind <= DLOAD_STORE_CLEAR; kind++) {
        x->t.fails[kind] = DLOAD_ETIMEDOUT;
    }
    must(dload_store_get(s, str("k"), &got), DLOAD_ETIMEDOUT);
    must(dload_store_set(s, str("k"), "v", 1, 1), DLOAD_ETIMEDOUT);
    must(dload_store_delete(s, str("k")), DLOAD_ETIMEDOUT);
    must(dload_store_clear(s, str("k")), DLOAD_ETIMEDOUT);
    memset(x->t.fails, 0, sizeof x->t.fails);
    x->t.fails_key[DLOAD_STORE_GET] = DLOAD_ETOOBIG;
    must(dload_store_get(s, str("k"), &got), DLOAD_ETOOBIG);
    x->t.fails_key[DLOAD_STORE_GET] = DLOAD_OK;
    x->t.cut = 1;
    must(dload_store_get(s, str("k"), &got), DLOAD_ECORRUPT);
    x->t.cut = -1;
    must(dload_store_get(s, str("k"), &got), DLOAD_ECORRUPT);
    x->t.cut = 0;
    fake_env_arm(&x->f);
    x->f.fail_at = 1;
    must(dload_store_get(s, str("k"), &got), DLOAD_ENOMEM);
    fake_env_disarm(&x->f);
    fake_env_arm(&x->f);
    x->f.fail_at = 1;
    must(dload_store_set(s, str("k"), "v", 1, 1), DLOAD_ENOMEM);
    fake_env_disarm(&x->f);
    get_must(x, "k", "v");
}

static void every_bit_counts(void **state)
{
    struct alone *x = *state;
    dload_blob got;
    must_ok(dload_store_set(&x->t.store, str("key"), "a body of bytes", 15, DLOAD_SECOND * 100));
    struct script_entry *e = &x->t.entries[0];
    equal(e->value_bytes, 56 + 15);
    for (size_t bit = 0; bit < e->value_bytes * 8; bit++) {
        e->value[bit / 8] = (char)(e->value[bit / 8] ^ (1 << bit % 8));
        dload_status st = dload_store_get(&x->t.store, str("key"), &got);
        assert_true(st == DLOAD_ECORRUPT || st == DLOAD_ELAYOUT);
        e->value[bit / 8] = (char)(e->value[bit / 8] ^ (1 << bit % 8));
    }
    for (size_t n = 0; n < e->value_bytes; n++) {
        x->t.cut = (int)(e->value_bytes - n);
        must(dload_store_get(&x->t.store, str("key"), &got), DLOAD_ECORRUPT);
    }
    x->t.cut = 0;
    get_must(x, "key", "a body of bytes");
}

static void anothers_value_is_refused(void **state)
{
    struct alone *x = *state;
    dload_blob got;
    must_ok(dload_store_set(&x->t.store, str("a"), "1", 1, DLOAD_NEVER));
    free(x->t.entries[0].key);
    x->t.entries[0].key = script_copy("b", 1);
    must(dload_store_get(&x->t.store, str("b"), &got), DLOAD_ECORRUPT);
    char place[sizeof(dload_i_stored) + 1] = {0};
    dload_i_stored h = {0};
    h.kind = DLOAD_I_STORED_VALUE;
    h.layout = DLOAD_I_STORED_PLAIN + 1;
    h.n_bytes = 1;
    h.ttl_ns = DLOAD_NEVER;
    dload_i_stored_seal(&h, str("c"), 5, place);
    script_put(&x->t, "c", 1, place, sizeof place, DLOAD_NEVER);
    must(dload_store_get(&x->t.store, str("c"), &got), DLOAD_ELAYOUT);
}

/* What is left, by the calendar clock, the TTL and the store. */
static void time_left(void **state)
{
    (void)state;
    dload_i_stored h = {0};
    h.ttl_ns = 100;
    h.expiry_ns = 1100;
    equal(dload_i_stored_left(&h, 1000, DLOAD_NEVER), 100);
    equal(dload_i_stored_left(&h, 1060, DLOAD_NEVER), 40);
    equal(dload_i_stored_left(&h, 1099, DLOAD_NEVER), 1);
    equal(dload_i_stored_left(&h, 1100, DLOAD_NEVER), 0);
    equal(dload_i_stored_left(&h, 9999, DLOAD_NEVER), 0);
    equal(dload_i_stored_left(&h, 10, DLOAD_NEVER), 100); /* the clock was set back */
    equal(dload_i_stored_left(&h, 1000, 7), 7);
    equal(dload_i_stored_left(&h, 1099, 7), 1);
    equal(dload_i_stored_left(&h, DLOAD_NEVER, 7), 7); /* no clock: the store knows */
    equal(dload_i_stored_left(&h, DLOAD_NEVER, DLOAD_NEVER), 0);
    h.expiry_ns = DLOAD_NEVER;
    equal(dload_i_stored_left(&h, 1000, DLOAD_NEVER), 0);
    h.ttl_ns = DLOAD_NEVER;
    equal(dload_i_stored_left(&h, 1000, DLOAD_NEVER), DLOAD_NEVER);
    equal(dload_i_stored_left(&h, DLOAD_NEVER, 7), 7);
}

int main(void)
{
#define CASE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(plain_calls),      CASE(ttl_without_the_stores_help), CASE(failures_are_told),
        CASE(every_bit_counts), CASE(anothers_value_is_refused),   CASE(time_left),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
