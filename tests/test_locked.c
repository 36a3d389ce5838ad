/* Named locks in dispatch: taken when something is missing, the store asked again under them, given back whatever
 * happens; and what happens without them, or when they are lost. */
/* locks: NONE SPIN PTHREAD */
#include "test_store_loader.h"

#include <stdio.h>

/* ---- a provider that does as it is told, and writes down what it is asked, beside what the store is ---- */

static struct script_locks {
    dload_locks locks;
    struct text log;
    dload_status refuses;     /* < 0: what take says */
    const char *refuses_name; /* ... to this name alone; NULL = to all */
    bool loses;               /* check says so */
    bool loses_late;          /* give says so */
    size_t n_held;
    uint64_t last_wait_ns;
    void (*act)(void); /* in take */
} k;

static dload_status k_take(dload_locks *p, dload_str name, uint64_t timeout_ns, dload_held *held)
{
    (void)p;
    text_add(&k.log, "%stake(%.*s)", k.log.len ? " " : "", (int)name.len, name.ptr);
    k.last_wait_ns = timeout_ns;
    if (k.act) {
        k.act();
    }
    if (k.refuses < 0 && (!k.refuses_name || (strlen(k.refuses_name) == name.len &&
                                              memcmp(k.refuses_name, name.ptr, name.len) == 0))) {
        return k.refuses;
    }
    k.n_held++;
    held->impl = &k;
    held->word[0] = name.len;
    return DLOAD_OK;
}

static dload_status k_check(dload_locks *p, dload_held *held)
{
    (void)p;
    assert_ptr_equal(held->impl, &k);
    text_add(&k.log, " check");
    return k.loses ? DLOAD_ELOCK : DLOAD_OK;
}

static dload_status k_give(dload_locks *p, dload_held *held)
{
    (void)p;
    assert_ptr_equal(held->impl, &k);
    held->impl = NULL;
    k.n_held--;
    text_add(&k.log, " give");
    return k.loses || k.loses_late ? DLOAD_ELOCK : DLOAD_OK;
}

static void log_op(struct script_store *t, dload_store_op *op)
{
    static const char *const kinds[] = {"GET", "SET", "DELETE", "CLEAR"};
    (void)t;
    text_add(&k.log, "%s%s", k.log.len ? " " : "", kinds[op->kind]);
}

static void log_fetch(struct recorder *r, tl_batch *b)
{
    (void)r;
    (void)b;
    text_add(&k.log, "%sfetch", k.log.len ? " " : "");
}

static int setup(void **state)
{
    (void)store_setup(state);
    memset(&k, 0, sizeof k);
    k.locks.name = "script";
    k.locks.take = k_take;
    k.locks.check = k_check;
    k.locks.give = k_give;
    fixture.cfg.locks = &k.locks;
    fixture.r.act = log_fetch;
    script.act = log_op;
    return 0;
}

static int teardown(void **state)
{
    int rc = store_teardown(state);
    equal(k.n_held, 0);
    return rc;
}

#define LOCK_RULE(text, fn)             \
    {                                   \
        text, fn, setup, teardown, NULL \
    }

/* ---- with a lock ---- */

static void taken_for_misses_alone(void **state)
{
    struct fixture *x = *state;
    fixture_open(x);
    load_must(x, 1, 10);
    text_must(&k.log, "GET take(dataloader:tl) GET fetch check SET give");
    load_must(x, 1, 10);
    text_must(&k.log, "");
    forget(x);
    load_must(x, 1, 10);
    text_must(&k.log, "GET");
    dload_stats s = stats_of(x);
    equal(s.locks_taken, 1);
    equal(s.locks_missed + s.locks_lost, 0);
    equal(s.store_hits, 1);
    equal(s.store_misses, 1); /* it was asked twice for one key */
    equal(s.store_bypassed, 0);
}

/* Somebody else holds the lock until he has stored what we miss. */
static void somebody_stores_1(void)
{
    tl other;
    tl_config cfg = tl_config_default();
    uint64_t value = 0;
    k.act = NULL;
    script.act = NULL;
    struct recorder r = {0};
    r.version = 5;
    cfg.fetch = rec_fetch;
    cfg.ctx = &r;
    cfg.store = &script.store;
    must_ok(tl_init(&other, &cfg));
    must_ok(tl_load(&other, 1, &value));
    must_ok(tl_close(&other, DLOAD_FAIL, 0));
    must_ok(tl_destroy(&other));
    script.act = log_op;
}

static void what_the_last_one_stored_is_found(void **state)
{
    struct fixture *x = *state;
    fixture_open(x);
    k.act = somebody_stores_1;
    load_must(x, 1, 15);
    text_must(&k.log, "GET take(dataloader:tl) GET give");
    text_must(&x->r.calls, "");
    dload_stats s = stats_of(x);
    equal(s.store_hits, 1);
    equal(s.store_misses, 0);
}

static void the_rest_is_fetched(void **state)
{
    struct fixture *x = *state;
    const uint64_t keys[] = {3, 1, 2};
    uint64_t out[3];
    dload_status st[3];
    fixture_open(x);
    k.act = somebody_stores_1;
    must_ok(tl_load_many(&x->l, keys, 3, out, st));
    text_must(&x->r.calls, "B(3,2)");
    equal(out[0], 30);
    equal(out[1], 15);
    equal(out[2], 20);
    dload_stats s = stats_of(x);
    equal(s.store_hits, 1);
    equal(s.store_misses, 2);
    equal(s.store_writes, 2);
}

static void given_back_when_the_function_fails(void **state)
{
    struct fixture *x = *state;
    uint64_t value = 0;
    fixture_open(x);
    x->r.result = DLOAD_EFETCH;
    rec_script(&x->r, 1, ANSWER_NOTHING, 0, DLOAD_OK);
    must(tl_load(&x->l, 1, &value), DLOAD_EFETCH);
    text_must(&k.log, "GET take(dataloader:tl) GET fetch check give");
    x->r.result = DLOAD_OK;
}

/* A function that answers later has the lock until then. */
static void held_until_the_batch_is_done(void **state)
{
    struct fixture *x = *state;
    tl_waiter w;
    fixture_open(x);
    memset(&w, 0, sizeof w);
    x->r.result = DLOAD_PENDING;
    must(tl_start(&x->l, 1, &w), DLOAD_PENDING);
    must_ok(tl_dispatch(&x->l, NULL));
    text_must(&k.log, "GET take(dataloader:tl) GET fetch");
    equal(k.n_held, 1);
    rec_finish(&x->r);
    text_must(&k.log, " check SET give");
    must_ok(w.status);
    equal(w.value, 10);
}

/* ... also when it was given up in between. */
static void held_by_a_batch_that_was_given_up(void **state)
{
    struct fixture *x = *state;
    tl_waiter w;
    x->cfg.run_limit_ns = DLOAD_SECOND;
    fixture_open(x);
    memset(&w, 0, sizeof w);
    x->r.result = DLOAD_PENDING;
    must(tl_start(&x->l, 1, &w), DLOAD_PENDING);
    must_ok(tl_dispatch(&x->l, NULL));
    x->f.now_ns += 2 * DLOAD_SECOND;
    must_ok(tl_process(&x->l, x->f.now_ns));
    must(w.status, DLOAD_ETIMEDOUT);
    equal(k.n_held, 1);
    text_clear(&k.log);
    must_ok(tl_batch_done(rec_take(&x->r, 0), DLOAD_OK));
    text_must(&k.log, " check give"); /* nothing of it is stored */
    x->r.result = DLOAD_OK;
}

/* A load from inside the fetch function would wait for what its own caller holds. */
static void load_2_inside(struct recorder *r, tl_batch *b)
{
    (void)b;
    r->act = log_fetch;
    text_add(&k.log, " fetch");
    uint64_t value = 0;
    must_ok(tl_load(&fixture.l, 2, &value));
    equal(value, 20);
}

static void taken_once_by_nested_loads(void **state)
{
    struct fixture *x = *state;
    fixture_open(x);
    x->r.act = load_2_inside;
    load_must(x, 1, 10);
    text_must(&k.log, "GET take(dataloader:tl) GET fetch GET fetch SET check SET give");
}

/* ---- stripes ---- */

static void stripes_are_taken_in_order(void **state)
{
    struct fixture *x = *state;
    uint64_t keys[90], out[90];
    dload_status st[90];
    x->cfg.lock_stripes = 12;
    x->cfg.lock_name = "n";
    fixture_open(x);
    for (uint64_t i = 0; i < 90; i++) {
        keys[i] = 1000 - i;
    }
    must_ok(tl_load_many(&x->l, keys, 90, out, st));
    text_must(&k.log,
              "GET take(n/0) take(n/1) take(n/2) take(n/3) take(n/4) take(n/5) take(n/6) take(n/7) "
              "take(n/8) take(n/9) take(n/10) take(n/11) GET fetch check check check check check "
              "check check check check check check check SET give give give give give give give "
              "give give give give give");
    equal(stats_of(x).locks_taken, 12);
}

/* A key is under the same lock in every process, whatever its loader hashes by. */
static void a_key_has_one_stripe(void **state)
{
    struct fixture *x = *state;
    x->cfg.lock_stripes = 64;
    fixture_open(x);
    const struct {
        uint64_t key;
        const char *take;
    } known[] = {{0, NULL}, {1, NULL}, {2, NULL}};
    char first[COUNT(known)][64];
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < COUNT(known); i++) {
            load_must(x, known[i].key, 10 * known[i].key);
            const char *at = strstr(k.log.buf, "take(");
            assert_non_null(at);
            assert_null(strstr(at + 1, "take(")); /* one is enough */
            if (round == 0) {
                (void)snprintf(first[i], sizeof first[i], "%.*s", (int)strcspn(at, ")"), at);
            } else {
                assert_memory_equal(first[i], at, strlen(first[i]));
            }
            text_clear(&k.log);
        }
        must_ok(tl_clear_all(&x->l));
        text_clear(&k.log);
    }
    assert_true(strcmp(first[0], first[1]) != 0 || strcmp(first[1], first[2]) != 0);
}

/* ---- without the lock ---- */

static void not_in_time(void **state)
{
    struct fixture *x = *state;
    x->cfg.lock_wait_ns = 7 * DLOAD_MILLISECOND;
    k.refuses = DLOAD_ETIMEDOUT;
    fixture_open(x);
    load_must(x, 1, 10);
    text_must(&k.log, "GET take(dataloader:tl) fetch SET");
    equal(k.last_wait_ns, 7 * DLOAD_MILLISECOND);
    dload_stats s = stats_of(x);
    equal(s.locks_missed, 1);
    equal(s.locks_taken, 0);
}

static void waits_no_longer_than_the_batch_may_run(void **state)
{
    struct fixture *x = *state;
    x->cfg.run_limit_ns = 2 * DLOAD_SECOND;
    x->cfg.lock_wait_ns = 0; /* 5 s */
    fixture_open(x);
    load_must(x, 1, 10);
    equal(k.last_wait_ns, 2 * DLOAD_SECOND);
}

static void some_stripes_are_not_to_be_had(void **state)
{
    struct fixture *x = *state;
    uint64_t keys[20], out[20];
    dload_status st[20];
    x->cfg.lock_stripes = 2;
    k.refuses = DLOAD_ELOCK;
    k.refuses_name = "dataloader:tl/0";
    fixture_open(x);
    for (uint64_t i = 0; i < 20; i++) {
        keys[i] = i;
    }
    must_ok(tl_load_many(&x->l, keys, 20, out, st));
    text_must(&k.log, "GET take(dataloader:tl/0) take(dataloader:tl/1) GET fetch check SET give");
    dload_stats s = stats_of(x);
    equal(s.locks_missed, 1);
    equal(s.locks_taken, 1);
}

/* A lock that was lost may be another's, who has stored something newer: ours is delivered, and cached here. */
static void lost_is_not_stored(void **state)
{
    struct fixture *x = *state;
    fixture_open(x);
    k.loses = true;
    load_must(x, 1, 10);
    load_must(x, 1, 10);
    text_must(&k.log, "GET take(dataloader:tl) GET fetch check give");
    assert_false(script_has(&script, "tl:1"));
    equal(stats_of(x).locks_lost, 1);
    k.loses = false;
    k.loses_late = true; /* while it was being stored */
    load_must(x, 2, 20);
    equal(stats_of(x).locks_lost, 2);
}

/* ---- beside a store that is not there ---- */

static void without_a_store(void **state)
{
    struct fixture *x = *state;
    x->cfg.store = NULL;
    x->cfg.store_name = "quotes";
    fixture_open(x);
    load_must(x, 1, 10);
    text_must(&k.log, "take(dataloader:quotes) fetch check give");
    x->r.result = DLOAD_PENDING;
    tl_waiter w;
    memset(&w, 0, sizeof w);
    must(tl_start(&x->l, 2, &w), DLOAD_PENDING);
    must_ok(tl_dispatch(&x->l, NULL));
    rec_finish(&x->r);
    equal(w.value, 20);
    text_must(&k.log, "take(dataloader:quotes) fetch check give");
    x->r.result = DLOAD_OK;
}

static void without_a_cache(void **state)
{
    struct fixture *x = *state;
    x->cfg.capacity = DLOAD_NO_CACHE;
    fixture_open(x);
    load_must(x, 1, 10);
    text_must(&k.log, "take(dataloader:tl) fetch check give");
}

static void while_the_store_fails(void **state)
{
    struct fixture *x = *state;
    fixture_open(x);
    script.fails[DLOAD_STORE_GET] = script.fails[DLOAD_STORE_SET] = DLOAD_EBACKEND;
    load_must(x, 1, 10);
    text_must(&k.log, "GET take(dataloader:tl) GET fetch check SET give");
}

/* ---- configuration ---- */

static void wake(void *ctx)
{
    (void)ctx;
}

static void configurations(void **state)
{
    struct fixture *x = *state;
    char name[202];
    tl_config cfg = x->cfg;
    memset(name, 'n', sizeof name);
    name[201] = '\0';
    cfg.lock_name = name;
    must(tl_init(&x->l, &cfg), DLOAD_EINVAL);
    cfg.lock_name = "";
    must(tl_init(&x->l, &cfg), DLOAD_EINVAL);
    cfg.lock_name = NULL;
    cfg.lock_stripes = 65;
    must(tl_init(&x->l, &cfg), DLOAD_EINVAL);
    cfg.lock_stripes = 0;
    cfg.wake = wake; /* it would block the loop */
    must(tl_init(&x->l, &cfg), DLOAD_EINVAL);
    cfg.wake = NULL;
    dload_locks none = k.locks;
    none.check = NULL;
    cfg.locks = &none;
    must(tl_init(&x->l, &cfg), DLOAD_EINVAL);
    name[200] = '\0';
    x->cfg.lock_name = name;
    x->cfg.lock_stripes = 64;
    fixture_open(x);
    memset(name, 'x', sizeof name); /* it was copied */
    load_must(x, 1, 10);
    assert_non_null(strstr(k.log.buf, "take(nnnn"));
    assert_null(strstr(k.log.buf, "x"));
}

/* ---- memory ---- */

static void with_failing_memory(struct fake_env *f)
{
    struct recorder r = {0};
    tl l;
    tl_config cfg = fixture.cfg;
    uint64_t keys[30], out[30];
    dload_status st[30];
    r.act = log_fetch;
    cfg.env = &f->env;
    cfg.ctx = &r;
    cfg.lock_stripes = 8;
    text_clear(&k.log);
    fake_env_arm(f);
    dload_status init = tl_init(&l, &cfg);
    if (init == DLOAD_OK) {
        for (uint64_t i = 0; i < 30; i++) {
            keys[i] = i;
        }
        dload_status many = tl_load_many(&l, keys, 30, out, st);
        assert_true(many == DLOAD_OK || many == DLOAD_ENOMEM);
        for (size_t i = 0; i < 30 && many == DLOAD_OK; i++) {
            assert_true(st[i] == DLOAD_ENOMEM || (st[i] == DLOAD_OK && out[i] == i * 10));
        }
        must_ok(tl_close(&l, DLOAD_FAIL, 0));
        must_ok(tl_destroy(&l));
    } else {
        must(init, DLOAD_ENOMEM);
    }
    fake_env_disarm(f);
    equal(k.n_held, 0);
}

static void without_memory(void **state)
{
    (void)state;
    script.act = NULL;
    assert_true(fail_until_ok("locked", with_failing_memory) > 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        LOCK_RULE("taken for misses alone", taken_for_misses_alone),
        LOCK_RULE("what the last one stored is found", what_the_last_one_stored_is_found),
        LOCK_RULE("the rest is fetched", the_rest_is_fetched),
        LOCK_RULE("given back when the function fails", given_back_when_the_function_fails),
        LOCK_RULE("held until the batch is done", held_until_the_batch_is_done),
        LOCK_RULE("held by a batch that was given up", held_by_a_batch_that_was_given_up),
        LOCK_RULE("taken once by nested loads", taken_once_by_nested_loads),
        LOCK_RULE("stripes are taken in order", stripes_are_taken_in_order),
        LOCK_RULE("a key has one stripe", a_key_has_one_stripe),
        LOCK_RULE("not in time", not_in_time),
        LOCK_RULE("waits no longer than the batch may run", waits_no_longer_than_the_batch_may_run),
        LOCK_RULE("some stripes are not to be had", some_stripes_are_not_to_be_had),
        LOCK_RULE("lost is not stored", lost_is_not_stored),
        LOCK_RULE("without a store", without_a_store),
        LOCK_RULE("without a cache", without_a_cache),
        LOCK_RULE("while the store fails", while_the_store_fails),
        LOCK_RULE("configurations", configurations),
        LOCK_RULE("without memory", without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
