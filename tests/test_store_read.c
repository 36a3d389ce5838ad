/* The second level is asked before the function (BEHAVIOUR 44 to 48): once a batch, its misses alone are fetched
 * and written back, and nothing that is wrong with it reaches who loads. */
/* locks: NONE SPIN PTHREAD */
#include "test_store_loader.h"

static void asked_once_and_misses_fetched(void **state)
{
    struct fixture *x = *state;
    const uint64_t keys[] = {1, 2, 3, 4};
    fixture_open(x);
    load_all_must(x, keys, 2);
    text_must(&x->r.calls, "B(1,2)");
    equal(script.n_ops[DLOAD_STORE_GET], 1);
    equal(script.n_keys[DLOAD_STORE_GET], 2);
    equal(script.n_ops[DLOAD_STORE_SET], 1);
    equal(script.n_keys[DLOAD_STORE_SET], 2);
    assert_true(script_has(&script, "tl:1") && script_has(&script, "tl:2"));
    load_all_must(x, keys, 2); /* from the cache */
    equal(script.n_ops[DLOAD_STORE_GET], 1);
    forget(x);
    load_all_must(x, keys, 4);
    text_must(&x->r.calls, "B(3,4)");
    equal(script.n_ops[DLOAD_STORE_GET], 2);
    equal(script.n_keys[DLOAD_STORE_GET], 6);
    equal(script.n_keys[DLOAD_STORE_SET], 4); /* only what was missing */
    forget(x);
    load_all_must(x, keys, 4);
    text_must(&x->r.calls, ""); /* nothing is missing, nobody is called */
    dload_stats s = stats_of(x);
    equal(s.store_hits, 6);
    equal(s.store_misses, 4);
    equal(s.store_writes, 4);
    equal(s.store_errors + s.store_refused + s.store_bypassed, 0);
    equal(s.keys, 10);
    char text[16384];
    must_ok(dload_stats_prometheus(&s, "x", text, sizeof text, NULL));
    assert_non_null(strstr(text, "dataloader_store_hits_total{loader=\"x\"} 6\n"));
    assert_non_null(strstr(text, "dataloader_store_writes_total{loader=\"x\"} 4\n"));
}

/* The function answers by the index of what it sees. */
static void indexes_are_those_of_the_function(void **state)
{
    struct fixture *x = *state;
    const uint64_t seen[] = {2, 5, 7}, keys[] = {1, 2, 3, 4, 5, 6, 7, 8};
    uint64_t out[8];
    dload_status st[8];
    fixture_open(x);
    load_all_must(x, seen, 3);
    forget(x);
    text_clear(&x->r.calls);
    x->r.version = 3; /* what was stored is of the version before */
    rec_script(&x->r, 4, ANSWER_FAIL, 0, DLOAD_EFETCH);
    rec_script(&x->r, 6, ANSWER_NOTHING, 0, DLOAD_OK);
    must_ok(tl_load_many(&x->l, keys, 8, out, st));
    text_must(&x->r.calls, "B(1,3,4,6,8)");
    for (size_t i = 0; i < 8; i++) {
        bool was_seen = keys[i] == 2 || keys[i] == 5 || keys[i] == 7;
        dload_status want = keys[i] == 4 ? DLOAD_EFETCH : keys[i] == 6 ? DLOAD_MISSING : DLOAD_OK;
        must(st[i], want);
        if (want == DLOAD_OK) {
            equal(out[i], keys[i] * 10 + (was_seen ? 0 : 3));
        }
    }
}

static void outside_index(struct recorder *r, tl_batch *b)
{
    uint64_t value = 1;
    must(tl_batch_set(b, b->n, &value), DLOAD_EBATCH);
    must(tl_batch_fail(b, SIZE_MAX, DLOAD_EFETCH), DLOAD_EBATCH);
    must(tl_batch_put(b, 1, &value), DLOAD_EBUSY); /* the store answered it */
    value = 70;
    must_ok(tl_batch_put(b, 7, &value)); /* asked for after all */
    must(tl_batch_set(b, b->n - 1, &value), DLOAD_EBUSY);
    r->act = NULL;
    rec_script(r, 7, ANSWER_NOTHING, 0, DLOAD_OK);
}

static void indexes_outside(void **state)
{
    struct fixture *x = *state;
    const uint64_t keys[] = {1, 7};
    fixture_open(x);
    load_all_must(x, keys, 1);
    forget(x);
    x->r.act = outside_index;
    load_all_must(x, keys, 2);
}

/* Who waits for what the store has does not wait for the function. */
static void look_at_first(struct recorder *r, tl_batch *b)
{
    uint64_t out = 0;
    dload_state state = DLOAD_STATE_ABSENT;
    equal(b->n, 1);
    must_ok(tl_peek(&fixture.l, 1, &state, &out));
    equal(out, 10);
    r->act = NULL;
}

static void hits_come_first(void **state)
{
    struct fixture *x = *state;
    const uint64_t keys[] = {1, 2};
    struct text log = {{0}, 0};
    struct request one = {.log = &log}, two = {.log = &log};
    fixture_open(x);
    load_all_must(x, keys, 1);
    forget(x);
    x->r.act = look_at_first;
    must(request_start(x, &one, 1), DLOAD_PENDING);
    must(request_start(x, &two, 2), DLOAD_PENDING);
    equal(dispatch(x), 2);
    text_must(&log, "1=10 2=20");
    assert_null(x->r.act);
}

static void never_above_max_batch(void **state)
{
    struct fixture *x = *state;
    uint64_t keys[100];
    for (uint64_t i = 0; i < 100; i++) {
        keys[i] = i;
    }
    x->cfg.max_batch = 16;
    fixture_open(x);
    for (int round = 0; round < 2; round++) {
        load_all_must(x, keys, 100);
        equal(script.n_ops[DLOAD_STORE_GET], 7u * (unsigned)(round + 1));
        forget(x);
    }
    equal(x->r.n_calls, 7);
}

static void fresh_bypasses(void **state)
{
    struct fixture *x = *state;
    dload_call call = {0};
    uint64_t out[2], keys[] = {1, 2};
    dload_status st[2];
    fixture_open(x);
    load_all_must(x, keys, 2);
    x->r.version = 1;
    call.flags = DLOAD_FRESH;
    must_ok(tl_load_with(&x->l, 1, &call, out));
    equal(out[0], 11);
    equal(script.n_ops[DLOAD_STORE_GET], 1);
    must_ok(tl_load_many_with(&x->l, keys, 2, &call, out, st));
    equal(out[1], 21);
    equal(script.n_ops[DLOAD_STORE_GET], 1);
    equal(stats_of(x).store_bypassed, 3);
    forget(x); /* but what came is stored */
    load_must(x, 1, 11);
    load_must(x, 2, 21);
    equal(x->r.n_calls, 3);
}

/* A fresh request that joins a key which was not sent makes it fresh. */
static void fresh_joins(void **state)
{
    struct fixture *x = *state;
    dload_call call = {.flags = DLOAD_FRESH};
    struct request old = {0}, fresh = {0};
    fixture_open(x);
    load_must(x, 1, 10);
    forget(x);
    x->r.version = 1;
    must(request_start(x, &old, 1), DLOAD_PENDING);
    fresh.w.done = request_done;
    fresh.w.ctx = &fresh;
    must(tl_start_with(&x->l, 1, &call, &fresh.w), DLOAD_PENDING);
    equal(dispatch(x), 1);
    request_must(&old, 11);
    request_must(&fresh, 11);
}

static void without_caching_untouched(void **state)
{
    struct fixture *x = *state;
    const uint64_t keys[] = {1, 2};
    x->cfg.capacity = DLOAD_NO_CACHE;
    fixture_open(x);
    load_all_must(x, keys, 2);
    load_all_must(x, keys, 2);
    must_ok(tl_clear(&x->l, 1));
    must_ok(tl_clear_all(&x->l));
    for (int kind = 0; kind < DLOAD_STORE_N_KINDS; kind++) {
        equal(script.n_ops[kind], 0);
    }
}

/* Each way to fail: the load works, counters tell, and the function is asked. */
static void failures_are_misses(void **state)
{
    struct fixture *x = *state;
    const uint64_t keys[] = {1, 2, 3};
    fixture_open(x);
    load_all_must(x, keys, 3);
    for (int how = 0; how < 7; how++) {
        dload_stats before = stats_of(x);
        size_t n_calls = x->r.n_calls;
        script.fails[DLOAD_STORE_GET] = how == 0   ? DLOAD_EBACKEND
                                        : how == 1 ? DLOAD_ETIMEDOUT
                                                   : DLOAD_OK;
        script.fails[DLOAD_STORE_SET] = how == 0 ? DLOAD_EBACKEND : DLOAD_OK;
        script.fails_key[DLOAD_STORE_GET] = how == 2 ? DLOAD_ETOOBIG : DLOAD_OK;
        script.damage = how == 3 ? 20 : 0;
        script.cut = how == 4 ? 1 : how == 5 ? -8 : 0;
        script.swap = how == 6;
        forget(x);
        load_all_must(x, keys, 3);
        dload_stats after = stats_of(x);
        equal(x->r.n_calls, n_calls + 1);
        equal(after.store_hits - before.store_hits, how == 2 ? 2 : 0);
        equal(after.store_misses - before.store_misses, how == 2 ? 1 : 3);
        equal(after.store_errors - before.store_errors, how == 0 ? 2 : how < 3 ? 1 : 0);
        equal(after.store_refused - before.store_refused, how < 3 ? 0 : 3);
    }
}

static void timeouts_are_given(void **state)
{
    struct fixture *x = *state;
    fixture_open(x);
    load_must(x, 1, 10);
    equal(script.timeout_ns, DLOAD_SECOND);
    fixture_close(x);
    x->cfg.store_timeout_ns = 5 * DLOAD_MILLISECOND;
    fixture_open(x);
    load_must(x, 2, 20);
    equal(script.timeout_ns, 5 * DLOAD_MILLISECOND);
    fixture_close(x);
    x->cfg.run_limit_ns = DLOAD_MILLISECOND;
    fixture_open(x);
    load_must(x, 3, 30);
    equal(script.timeout_ns, DLOAD_MILLISECOND);
}

/* Every bit of a stored value: none is accepted when it is wrong. */
static void every_bit(void **state)
{
    struct fixture *x = *state;
    fixture_open(x);
    load_must(x, 1, 10);
    struct script_entry *e = &script.entries[0];
    equal(e->value_bytes, 56 + 8);
    x->r.version = 5;
    for (size_t bit = 0; bit < 64 * 8; bit++) {
        char *copy = script_copy(e->value, e->value_bytes);
        e->value[bit / 8] = (char)(e->value[bit / 8] ^ (1 << bit % 8));
        forget(x);
        load_must(x, 1, 15);                                   /* the source's, not the store's */
        script_put(&script, "tl:1", 4, copy, 64, DLOAD_NEVER); /* as it was */
        e = &script.entries[0];
        free(copy);
    }
    forget(x);
    load_must(x, 1, 10);
    equal(stats_of(x).store_refused, 64 * 8);
}

static void other_layouts(void **state)
{
    struct fixture *x = *state;
    fixture_open(x);
    load_must(x, 1, 10);
    fixture_close(x);
    x->cfg.store_version = 1;
    fixture_open(x);
    x->r.version = 1;
    load_must(x, 1, 11);
    equal(stats_of(x).store_refused, 1);
    forget(x);
    load_must(x, 1, 11);
    equal(stats_of(x).store_hits, 1);
}

static void names(void **state)
{
    struct fixture *x = *state;
    char longest[66];
    static const char *const bad[] = {"", "a:b", "a b", "a\n", "\xc3\xa9", "a*"};
    memset(longest, 'n', sizeof longest);
    longest[64] = '\0';
    x->cfg.store_name = "Shop.users_2-x";
    fixture_open(x);
    load_must(x, 1, 10);
    assert_true(script_has(&script, "Shop.users_2-x:1"));
    fixture_close(x);
    x->cfg.store_name = longest;
    fixture_open(x);
    fixture_close(x);
    longest[64] = 'n';
    longest[65] = '\0';
    must(tl_init(&x->l, &x->cfg), DLOAD_EINVAL);
    for (size_t i = 0; i < COUNT(bad); i++) {
        x->cfg.store_name = bad[i];
        must(tl_init(&x->l, &x->cfg), DLOAD_EINVAL);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORE_RULE("44 asked once a batch, misses alone are fetched and written",
                   asked_once_and_misses_fetched),
        STORE_RULE("44 never above max_batch", never_above_max_batch),
        STORE_RULE("the function's indexes", indexes_are_those_of_the_function),
        STORE_RULE("indexes outside, and keys put", indexes_outside),
        STORE_RULE("hits do not wait for the function", hits_come_first),
        STORE_RULE("fresh loads bypass it", fresh_bypasses),
        STORE_RULE("fresh loads that join", fresh_joins),
        STORE_RULE("47 without caching it is not touched", without_caching_untouched),
        STORE_RULE("45 every failure is a miss", failures_are_misses),
        STORE_RULE("timeouts are given", timeouts_are_given),
        STORE_RULE("48 every bit", every_bit),
        STORE_RULE("48 other layouts", other_layouts),
        STORE_RULE("names", names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
