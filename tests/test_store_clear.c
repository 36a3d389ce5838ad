/* A clear reaches the store, too; until the store has said so, the key bypasses it: what a store that does not
 * answer still has is never served. */
/* locks: NONE SPIN PTHREAD */
#include "test_store_loader.h"

static void clears_reach_it(void **state)
{
    struct fixture *x = *state;
    const uint64_t keys[] = {1, 2, 3, 4};
    fixture_open(x);
    script_put(&script, "other:1", 7, "x", 1, 1);
    load_all_must(x, keys, 4);
    must_ok(tl_clear(&x->l, 1));
    equal(script.n_ops[DLOAD_STORE_DELETE], 1);
    equal(script.n, 4);
    must_ok(tl_clear_many(&x->l, keys + 1, 2)); /* in one request */
    equal(script.n_ops[DLOAD_STORE_DELETE], 2);
    equal(script.n_keys[DLOAD_STORE_DELETE], 3);
    equal(script.n, 2);
    must_ok(tl_clear_all(&x->l));
    equal(script.n_ops[DLOAD_STORE_CLEAR], 1);
    equal(script.n, 1);
    assert_true(script_has(&script, "other:1")); /* another loader's */
    x->r.version = 1;
    load_all_must(x, keys, 4);
    equal(stats_of(x).store_deletes, 4);
    equal(stats_of(x).store_unsent, 0);
}

static void local_ones_do_not(void **state)
{
    struct fixture *x = *state;
    fixture_open(x);
    load_must(x, 1, 10);
    x->r.version = 1;
    must_ok(tl_clear_local(&x->l, 1));
    load_must(x, 1, 10);
    must_ok(tl_clear_all_local(&x->l));
    load_must(x, 1, 10);
    equal(script.n_ops[DLOAD_STORE_DELETE] + script.n_ops[DLOAD_STORE_CLEAR], 0);
}

/* The store does not hear the clear: it is neither read nor written for that key until it does. */
static void unheard(void **state)
{
    struct fixture *x = *state;
    const uint64_t keys[] = {1, 2};
    fixture_open(x);
    load_all_must(x, keys, 2);
    script.fails[DLOAD_STORE_DELETE] = DLOAD_ETIMEDOUT;
    must_ok(tl_clear(&x->l, 1));
    equal(stats_of(x).store_unsent, 1);
    x->r.version = 1;
    forget(x);
    uint64_t out[2];
    dload_status st[2];
    must_ok(tl_load_many(&x->l, keys, 2, out, st));
    equal(out[0], 11);
    equal(out[1], 20); /* this one is not concerned */
    assert_true(script_has(&script, "tl:1"));
    size_t n_tries = script.n_ops[DLOAD_STORE_DELETE];
    x->f.now_ns += 10 * DLOAD_MILLISECOND;
    forget(x);
    load_must(x, 1, 11); /* not tried again at once */
    equal(script.n_ops[DLOAD_STORE_DELETE], n_tries);
    script.fails[DLOAD_STORE_DELETE] = DLOAD_OK;
    x->f.now_ns += DLOAD_SECOND;
    forget(x);
    x->r.version = 2;
    load_must(x, 1, 12); /* the delete went first */
    equal(script.n_ops[DLOAD_STORE_DELETE], n_tries + 1);
    equal(stats_of(x).store_unsent, 0);
    forget(x);
    load_must(x, 1, 12);
    equal(script.n_keys[DLOAD_STORE_SET], 3);
}

/* One key of a delete fails: the others are through. */
static void one_of_many(void **state)
{
    struct fixture *x = *state;
    const uint64_t keys[] = {1, 2, 3};
    fixture_open(x);
    load_all_must(x, keys, 3);
    script.fails_key[DLOAD_STORE_DELETE] = DLOAD_EBACKEND;
    must_ok(tl_clear_many(&x->l, keys, 3));
    equal(stats_of(x).store_unsent, 1);
    script.fails_key[DLOAD_STORE_DELETE] = DLOAD_ETOOBIG; /* then it was never there */
    must_ok(tl_clear_many(&x->l, keys, 1));
    equal(stats_of(x).store_unsent, 0);
}

/* All of it, unheard. */
static void everything_unheard(void **state)
{
    struct fixture *x = *state;
    const uint64_t keys[] = {1, 2};
    fixture_open(x);
    load_all_must(x, keys, 2);
    script.fails[DLOAD_STORE_CLEAR] = DLOAD_EBACKEND;
    script.fails[DLOAD_STORE_DELETE] = DLOAD_EBACKEND;
    must_ok(tl_clear(&x->l, 1));
    must_ok(tl_clear_all(&x->l));
    equal(stats_of(x).store_unsent, 1);
    must_ok(tl_clear(&x->l, 2));
    equal(stats_of(x).store_unsent, 1);
    x->r.version = 1;
    load_all_must(x, keys, 2);
    forget(x);
    load_all_must(x, keys, 2);
    equal(x->r.n_calls, 3);
    equal(stats_of(x).store_bypassed, 4);
    memset(script.fails, 0, sizeof script.fails);
    must_ok(tl_clear_all(&x->l));
    equal(script.n, 0);
    equal(stats_of(x).store_unsent, 0);
    load_all_must(x, keys, 2);
    equal(script.n, 2);
}

/* More clears than are remembered: then everything is cleared. */
static void too_many(void **state)
{
    struct fixture *x = *state;
    uint64_t keys[100];
    fixture_open(x);
    load_must(x, 999999, 9999990);
    script.fails[DLOAD_STORE_CLEAR] = DLOAD_EBACKEND;
    script.fails[DLOAD_STORE_DELETE] = DLOAD_EBACKEND;
    for (uint64_t i = 0; i < 1100; i += 100) {
        for (uint64_t k = 0; k < 100; k++) {
            keys[k] = i + k;
        }
        must_ok(tl_clear_many(&x->l, keys, 100));
        equal(stats_of(x).store_unsent, i < 1000 ? i + 100 : 1);
    }
    memset(script.fails, 0, sizeof script.fails);
    x->f.now_ns += DLOAD_SECOND;
    forget(x);
    load_must(x, 999999, 9999990);
    equal(script.n_ops[DLOAD_STORE_CLEAR], 2);
    equal(stats_of(x).store_unsent, 0);
    equal(x->r.n_calls, 2);
}

/* A clear comes while the store is asked, while the function runs, or while answers are written: what was old
 * then is not there afterwards. */
struct clears_in {
    dload_store_kind kind;
    bool all;
    size_t n_left;
};

static void clear_now(struct fixture *x, bool all)
{
    if (all) {
        must_ok(tl_clear_all(&x->l));
    } else {
        must_ok(tl_clear(&x->l, 1));
    }
    x->r.version++;
}

static void clear_in_store(struct script_store *t, dload_store_op *op)
{
    struct clears_in *c = t->act_ctx;
    if (op->kind == c->kind && c->n_left) {
        c->n_left--;
        clear_now(&fixture, c->all);
    }
}

static void clear_in_fetch(struct recorder *r, tl_batch *b)
{
    struct clears_in *c = r->act_ctx;
    (void)b;
    r->act = NULL;
    clear_now(&fixture, c->all);
    r->version--; /* what is being fetched is from before */
}

static void meanwhile(void **state)
{
    struct fixture *x = *state;
    fixture_open(x);
    for (int how = 0; how < 8; how++) {
        struct clears_in in = {how & 1 ? DLOAD_STORE_SET : DLOAD_STORE_GET, how & 2, 1};
        uint64_t out = 0;
        script.act_ctx = x->r.act_ctx = &in;
        script.act = how < 4 ? clear_in_store : NULL;
        x->r.act = how < 4 ? NULL : clear_in_fetch;
        must_ok(tl_clear_all(&x->l));
        must_ok(tl_load(&x->l, 1, &out));
        if (how >= 4) {
            x->r.version++;
        }
        script.act = NULL;
        uint64_t now = rec_value(&x->r, 1);
        load_must(x, 1, now); /* not from the cache, nor from the store */
        forget(x);
        load_must(x, 1, now);
        equal(stats_of(x).store_unsent, 0);
    }
}

static void destroyed_unheard(void **state)
{
    struct fixture *x = *state;
    fixture_open(x);
    load_must(x, 1, 10);
    script.fails[DLOAD_STORE_DELETE] = DLOAD_EBACKEND;
    must_ok(tl_clear(&x->l, 1));
    script.fails[DLOAD_STORE_DELETE] = DLOAD_OK;
    must_ok(tl_close(&x->l, DLOAD_DRAIN, 0)); /* tries once more */
    assert_false(script_has(&script, "tl:1"));
    fixture_close(x);
    fixture_open(x);
    script.fails[DLOAD_STORE_DELETE] = DLOAD_EBACKEND;
    load_must(x, 1, 10);
    must_ok(tl_clear(&x->l, 1)); /* forgotten with the loader, and freed */
}

#if TEST_LOCK == DLOAD_LOCK_PTHREAD

/* A thread is cancelled while the store carries its clear out: that is waited for, and nothing stays behind. */
static uint32_t stage; /* atomic: 1 the store has it, 2 it may go on */

static void slow_delete(struct script_store *t, dload_store_op *op)
{
    (void)t;
    if (op->kind == DLOAD_STORE_DELETE) {
        __atomic_store_n(&stage, 1, __ATOMIC_SEQ_CST);
        while (__atomic_load_n(&stage, __ATOMIC_SEQ_CST) != 2) {
            sleep_ms(1); /* where a thread that may be cancelled would end */
        }
    }
}

static void *clears_one(void *ctx)
{
    struct fixture *x = ctx;
    must_ok(tl_clear(&x->l, 1));
    for (;;) {
        sleep_ms(1);
    }
    return NULL;
}

static void cancelled_inside(void **state)
{
    struct fixture *x = *state;
    pthread_t thread;
    void *result = NULL;
    stage = 0;
    fixture_open(x);
    load_must(x, 1, 10);
    script.act = slow_delete;
    equal(pthread_create(&thread, NULL, clears_one, x), 0);
    while (__atomic_load_n(&stage, __ATOMIC_SEQ_CST) == 0) {
        sleep_ms(1);
    }
    equal(pthread_cancel(thread), 0);
    sleep_ms(5);
    __atomic_store_n(&stage, 2, __ATOMIC_SEQ_CST);
    equal(pthread_join(thread, &result), 0);
    assert_ptr_equal(result, PTHREAD_CANCELED);
    script.act = NULL;
    equal(stats_of(x).store_unsent, 0);
    fixture_close(x); /* nothing is out */
}

#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORE_RULE("clears reach the store", clears_reach_it),
        STORE_RULE("local ones do not", local_ones_do_not),
        STORE_RULE("unheard: the key bypasses it", unheard),
        STORE_RULE("one of many", one_of_many),
        STORE_RULE("everything unheard", everything_unheard),
        STORE_RULE("too many", too_many),
        STORE_RULE("clears meanwhile", meanwhile),
        STORE_RULE("a loader that ends", destroyed_unheard),
#if TEST_LOCK == DLOAD_LOCK_PTHREAD
        STORE_RULE("a thread cancelled inside", cancelled_inside),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
