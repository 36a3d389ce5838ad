/* Owned values with references (REF/UNREF); copies and blobs: test_values_copied.c. Every value
 * made is released exactly once, whichever way it goes: overwritten, evicted, expired, cleared,
 * refused, delivered to nobody, left in a loader that is destroyed. */
/* locks: NONE SPIN PTHREAD */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* ---- a value with references ---- */

struct obj {
    uint64_t magic;
    uint64_t key;
    uint32_t refs;
};

#define OBJ_MAGIC UINT64_C(0x0b1ec7ed)
static size_t objs_live;       /* objects made and not gone */
static size_t objs_refs;       /* references to them */
static size_t objs_wrong;      /* uses of an object that is gone */
static void (*on_unref)(void); /* runs in UNREF: with no lock held */

static struct obj *obj_new(uint64_t key)
{
    struct obj *o = malloc(sizeof *o);
    if (o) {
        *o = (struct obj){OBJ_MAGIC, key, 1};
        objs_live++;
        objs_refs++;
    }
    return o;
}

static void obj_ref(struct obj *o)
{
    objs_wrong += o->magic != OBJ_MAGIC;
    o->refs++;
    objs_refs++;
}

static void obj_unref(struct obj *o)
{
    objs_wrong += o->magic != OBJ_MAGIC;
    objs_refs--;
    if (--o->refs == 0) {
        o->magic = 0;
        objs_live--;
        free(o);
    }
    if (on_unref) {
        on_unref();
    }
}

#define DLOAD_NAME            rl
#define DLOAD_KEY             uint64_t
#define DLOAD_VALUE           struct obj *
#define DLOAD_VALUE_REF(pv)   obj_ref(*(pv))
#define DLOAD_VALUE_UNREF(pv) obj_unref(*(pv))
#define DLOAD_LOCK            TEST_LOCK
#include "dataloader.h"

#include "support.h"

static struct fake_env env;

static int setup(void **state)
{
    (void)state;
    fake_env_init(&env);
    objs_live = objs_refs = objs_wrong = 0;
    on_unref = NULL;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    equal(objs_wrong, 0);
    equal(objs_refs, 0);
    equal(objs_live, 0);
    fake_env_check(&env);
    return 0;
}

/* ---- references ---- */

static void rl_cache_open(rl_cache *c, size_t capacity)
{
    rl_cache_config cfg;
    memset(&cfg, 0, sizeof cfg);
    cfg.env = &env.env;
    cfg.capacity = capacity;
    cfg.shards = 1;
    must_ok(rl_cache_init(c, &cfg));
}

static void rl_put(rl_cache *c, uint64_t key, uint64_t ttl_ns)
{
    struct obj *o = obj_new(key);
    must_ok(rl_cache_set(c, key, &o, ttl_ns));
    obj_unref(o); /* ours; the cache has its own */
}

static void test_values_every_way_out(void **state)
{
    (void)state;
    rl_cache c;
    struct obj *got = NULL, *many[3] = {NULL};
    dload_status st[3];
    rl_cache_open(&c, 10);
    rl_put(&c, 1, 0);
    equal(objs_live, 1);
    must_ok(rl_cache_get(&c, 1, &got));
    equal(got->key, 1);
    equal(got->refs, 2);
    rl_put(&c, 1, 0); /* overwritten: what was handed out stays whole */
    equal(objs_live, 2);
    equal(got->magic, OBJ_MAGIC);
    obj_unref(got);
    equal(objs_live, 1);
    must_ok(rl_cache_delete(&c, 1));
    equal(objs_live, 0);
    for (uint64_t key = 0; key < 50; key++) { /* evicted */
        rl_put(&c, key, 0);
        assert_true(objs_live <= 10);
    }
    must_ok(rl_cache_get_many(&c, (uint64_t[]){49, 777, 49}, 3, many, st, NULL));
    must(st[1], DLOAD_MISSING);
    assert_ptr_equal(many[0], many[2]);
    obj_unref(many[0]);
    obj_unref(many[2]);
    must_ok(rl_cache_clear(&c));
    for (uint64_t key = 0; key < 10; key++) {
        rl_put(&c, key, DLOAD_SECOND);
    }
    env.now_ns += 2 * DLOAD_SECOND; /* expired: by advance */
    must_ok(rl_cache_advance(&c, env.now_ns));
    equal(rl_cache_len(&c), 0);
    equal(objs_live, 0);
    rl_put(&c, 3, 0); /* left to destroy */
    must_ok(rl_cache_destroy(&c));
}

/* A clear costs nothing now; later operations release a few each, and get done. */
static void test_values_released_after_clear(void **state)
{
    (void)state;
    rl_cache c;
    struct obj *got;
    rl_cache_open(&c, 1000);
    for (uint64_t key = 0; key < 1000; key++) {
        rl_put(&c, key, 0);
    }
    must_ok(rl_cache_clear(&c));
    equal(rl_cache_len(&c), 0);
    for (uint64_t key = 0; key < 1000; key++) {
        must(rl_cache_get(&c, key, &got), DLOAD_MISSING);
    }
    for (uint64_t i = 0; i < 2000; i++) {
        rl_put(&c, 5000 + i % 3, 0);
    }
    equal(objs_live, 3);
    for (uint32_t i = 0; i < 70000; i++) { /* more clears than an epoch has bits for */
        if (i % 100 == 0) {
            rl_put(&c, i, 0);
        }
        must_ok(rl_cache_clear(&c));
        assert_true(objs_live <= 1000);
    }
    equal(rl_cache_len(&c), 0);
    must_ok(rl_cache_destroy(&c));
}

static void test_values_random(void **state)
{
    (void)state;
    uint64_t seed = test_seed("values");
    static const size_t caps[] = {
        1,
        7,
        100,
#ifndef TEST_COMPACT
        DLOAD_UNBOUNDED,
#endif
    };
    for (size_t k = 0; k < COUNT(caps); k++) {
        rl_cache c;
        rl_cache_open(&c, caps[k]);
        for (size_t i = 0, n = scaled(20000); i < n; i++) {
            uint64_t key = rng_below(&seed, 150);
            uint64_t op = rng_below(&seed, 100);
            struct obj *got;
            if (op < 50) {
                rl_put(&c, key, op < 25 ? 0 : 1 + rng_below(&seed, 50 * DLOAD_MILLISECOND));
            } else if (op < 85) {
                if (rl_cache_get(&c, key, &got) == DLOAD_OK) {
                    equal(got->key, key);
                    obj_unref(got);
                }
            } else if (op < 93) {
                must_ok(rl_cache_delete(&c, key));
            } else if (op < 99) {
                env.now_ns += rng_below(&seed, 20 * DLOAD_MILLISECOND);
            } else {
                must_ok(rl_cache_clear(&c));
            }
            assert_true(rl_cache_len(&c) <= objs_live);
        }
        must_ok(rl_cache_destroy(&c));
        equal(objs_live, 0);
    }
}

/* After a jump of the clock, with entries in the wheel and nobody calling advance, a new entry
 * lives for its TTL and no longer. */
static void test_values_clock_jumps(void **state)
{
    (void)state;
    static const uint64_t jumps_s[] = {1, 86400 * 30, UINT64_C(86400) * 365 * 10,
                                       UINT64_C(86400) * 365 * 100, 1};
    for (size_t lags = 0; lags < 3; lags++) {
        rl_cache c;
        struct obj *got = NULL;
        rl_cache_open(&c, 100);
        for (size_t k = 0; k < COUNT(jumps_s); k++) {
            for (uint64_t key = 0; key < 60 * lags; key++) {
                rl_put(&c, 1000 + key, (1 + key) * 86400 * DLOAD_SECOND);
            }
            env.now_ns += jumps_s[k] * DLOAD_SECOND;
            rl_put(&c, k, DLOAD_SECOND);
            must_ok(rl_cache_get(&c, k, &got));
            obj_unref(got);
            env.now_ns += DLOAD_SECOND - 3 * DLOAD_MILLISECOND;
            must_ok(rl_cache_get(&c, k, &got));
            obj_unref(got);
            env.now_ns += 3 * DLOAD_MILLISECOND;
            must(rl_cache_get(&c, k, &got), DLOAD_MISSING);
        }
        must_ok(rl_cache_destroy(&c));
    }
}

/* ---- through a loader ---- */

static rl loader;
static rl_batch *pending;
static int how; /* to answer: 0 set, 1 move, 2 set_ttl 0, 3 both, 4 pending */

static dload_status rl_fetch(rl_batch *b)
{
    if (how == 4) {
        pending = b;
        return DLOAD_PENDING;
    }
    for (size_t i = 0; i < b->n; i++) {
        struct obj *o = obj_new(b->keys[i]);
        if (how == 1) {
            must_ok(rl_batch_move(b, i, &o));
            continue;
        }
        must_ok(how == 2 ? rl_batch_set_ttl(b, i, &o, 0) : rl_batch_set(b, i, &o));
        if (how == 3) {
            struct obj *second = obj_new(b->keys[i]);
            must(rl_batch_set(b, i, &o), DLOAD_EBUSY);
            must(rl_batch_move(b, i, &second), DLOAD_EBUSY); /* taken over, whatever it returns */
            second = obj_new(1);
            must(rl_batch_move(b, b->n, &second), DLOAD_EBATCH);
            must_ok(rl_batch_put(b, b->keys[i] + 1000, &o));
        }
        obj_unref(o);
    }
    return DLOAD_OK;
}

static void loader_open(size_t capacity)
{
    rl_config cfg = rl_config_default();
    cfg.fetch = rl_fetch;
    cfg.env = &env.env;
    cfg.capacity = capacity;
    cfg.shards = 1;
    how = 0;
    pending = NULL;
    must_ok(rl_init(&loader, &cfg));
}

static void loader_close(void)
{
    must_ok(rl_close(&loader, DLOAD_FAIL, 0));
    must_ok(rl_destroy(&loader));
}

static void test_values_loader(void **state)
{
    (void)state;
    static const size_t caps[] = {100, 3, DLOAD_NO_CACHE};
    for (size_t k = 0; k < COUNT(caps); k++) {
        loader_open(caps[k]);
        for (how = 0; how < 4; how++) {
            struct obj *out[6] = {NULL}, *one = NULL;
            dload_status st[6];
            uint64_t base = 10 * (uint64_t)how;
            uint64_t keys[] = {base, base + 1, base, base + 2, base + 3, base};
            must_ok(rl_load_many(&loader, keys, 6, out, st));
            for (size_t i = 0; i < 6; i++) {
                must_ok(st[i]);
                equal(out[i]->key, keys[i]);
                obj_unref(out[i]);
            }
            must_ok(rl_load(&loader, base, &one));
            equal(one->key, base);
            obj_unref(one);
        }
        loader_close();
        equal(objs_live, 0);
    }
}

struct wants {
    rl_waiter w;
    size_t n_done;
};

static void wants_done(rl_waiter *w)
{
    struct wants *q = w->ctx;
    q->n_done++;
    if (w->status >= 0) {
        obj_unref(w->value);
    }
}

/* Answers that nobody waits for any more, or that come too late, are released as well. */
static void test_values_nobody_there(void **state)
{
    (void)state;
    struct wants q[3];
    loader_open(100);
    memset(q, 0, sizeof q);
    for (size_t i = 0; i < 3; i++) {
        q[i].w.done = wants_done;
        q[i].w.ctx = &q[i];
    }
    how = 4;
    must(rl_start(&loader, 1, &q[0].w), DLOAD_PENDING);
    must(rl_start(&loader, 2, &q[1].w), DLOAD_PENDING);
    must_ok(rl_dispatch(&loader, NULL));
    must_ok(rl_cancel(&loader, &q[0].w));
    must_ok(rl_clear(&loader, 2));
    for (size_t i = 0; i < 2; i++) {
        struct obj *o = obj_new(i + 1);
        must_ok(rl_batch_move(pending, i, &o));
    }
    must_ok(rl_batch_done(pending, DLOAD_OK));
    equal(q[0].n_done, 0);
    equal(q[1].n_done, 1);
    equal(objs_live, 1); /* key 1 is cached, key 2 was cleared */
    /* Abandoned: the late answer is dropped. */
    must(rl_start(&loader, 3, &q[2].w), DLOAD_PENDING);
    must_ok(rl_dispatch(&loader, NULL));
    env.now_ns += 3600 * DLOAD_SECOND;
    must_ok(rl_process(&loader, env.now_ns));
    equal(q[2].n_done, 1);
    struct obj *late = obj_new(3);
    (void)rl_batch_move(pending, 0, &late);
    (void)rl_batch_done(pending, DLOAD_OK);
    equal(objs_live, 1);
    loader_close();
}

static void test_values_prime(void **state)
{
    (void)state;
    loader_open(2);
    struct obj *o = obj_new(1), *out;
    dload_state s;
    must_ok(rl_prime(&loader, 1, &o, 0));
    must_ok(rl_prime(&loader, 1, &o, 0)); /* there already: left as it is */
    equal(o->refs, 2);
    must_ok(rl_prime(&loader, 1, &o, DLOAD_OVERWRITE));
    equal(o->refs, 2);
    must_ok(rl_prime(&loader, 2, &o, 0));
    must_ok(rl_prime(&loader, 3, &o, 0)); /* somebody is evicted */
    must_ok(rl_put_if(&loader, 4, &o, rl_token(&loader)));
    dload_token t = rl_token(&loader);
    must_ok(rl_clear_all(&loader));
    must(rl_put_if(&loader, 4, &o, t), DLOAD_ECANCELED);
    must_ok(rl_prime(&loader, 5, &o, 0));
    must_ok(rl_prime_error(&loader, 5, DLOAD_EBACKEND, DLOAD_NEVER)); /* a value becomes an error */
    must_ok(rl_prime(&loader, 5, &o, DLOAD_OVERWRITE));               /* and a value again */
    must_ok(rl_peek(&loader, 5, &s, &out));
    assert_ptr_equal(out, o);
    obj_unref(out);
    loader_close();
    equal(o->refs, 1);
    obj_unref(o);
}

static void load_in_unref(void)
{
    static size_t depth;
    struct obj *out;
    dload_state s;
    if (depth++ == 0) {
        (void)rl_peek(&loader, 1, &s, NULL);
        must_ok(rl_load(&loader, 90000, &out));
        obj_unref(out);
        must_ok(rl_clear(&loader, 90000));
        must(rl_destroy(&loader), DLOAD_EBUSY); /* a batch, or this call, is out */
    }
    depth--;
}

/* Rule 51: a destructor runs with no lock held and may call the loader it comes from. */
static void test_values_destructor_calls_back(void **state)
{
    (void)state;
    struct obj *out[40];
    uint64_t keys[40];
    loader_open(8);
    for (uint64_t round = 0; round < 5; round++) {
        for (uint64_t i = 0; i < 40; i++) {
            keys[i] = 100 * round + i;
        }
        must_ok(rl_load_many(&loader, keys, 40, out, NULL));
        for (size_t i = 0; i < 40; i++) {
            obj_unref(out[i]);
        }
    }
    equal(objs_live, 8);
    on_unref = load_in_unref;
    uint64_t n_before = objs_live;
    struct obj *o = NULL;
    must_ok(rl_load(&loader, 7777, &o)); /* evicts, and the evicted one calls back */
    on_unref = NULL;
    obj_unref(o);
    assert_true(objs_live <= n_before);
    loader_close();
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_values_every_way_out),
        TEST(test_values_released_after_clear),
        TEST(test_values_random),
        TEST(test_values_clock_jumps),
        TEST(test_values_loader),
        TEST(test_values_nobody_there),
        TEST(test_values_prime),
        {"rule 51: so may destructors", test_values_destructor_calls_back, setup, teardown, NULL},
    };
    return cmocka_run_group_tests_name("values " TEST_STRING(TEST_LOCK), tests, NULL, NULL);
}
