/* Memory that runs out: every public call survives the failure of its n-th allocation, for every n,
 * once and for good; it says DLOAD_ENOMEM or does its work; nothing leaks, and the loader works
 * afterwards. One body a case, run again and again by fail_until_ok(). */
/* locks: NONE SPIN PTHREAD */
#define DLOAD_NAME  ul
#define DLOAD_KEY   uint64_t
#define DLOAD_VALUE uint64_t
#define DLOAD_LOCK  TEST_LOCK
#include "dataloader.h"

#define DLOAD_NAME  bl
#define DLOAD_KEY   DLOAD_STRING
#define DLOAD_VALUE DLOAD_BLOB
#define DLOAD_LOCK  TEST_LOCK
#include "dataloader.h"

#include "support.h"
#include <stdio.h>
#include <string.h>

static struct fake_env *env; /* of the run */

static void arm(void)
{
    fake_env_arm(env);
}

static void disarm(void)
{
    fake_env_disarm(env);
}

/* The call worked, or was told that there is no memory, and that only when there was none. */
static bool worked(dload_status st)
{
    if (st != DLOAD_OK && (st != DLOAD_ENOMEM || !env->n_failed)) {
        fail_msg("%s (%d) after %zu refused allocations", dload_status_name(st), (int)st,
                 env->n_failed);
    }
    return st == DLOAD_OK;
}

/* ---- integer keys, plain values ---- */

static dload_status ul_fetch(ul_batch *b)
{
    for (size_t i = 0; i < b->n; i++) {
        uint64_t value = b->keys[i] * 10;
        (void)worked(ul_batch_set(b, i, &value));
    }
    if (b->keys[0] == 500) {
        for (uint64_t key = 600; key < 640; key++) {
            uint64_t value = key * 10;
            dload_status st = ul_batch_put(b, key, &value);
            if (st != DLOAD_EBUSY) { /* asked for in this batch, and answered above */
                (void)worked(st);
            }
        }
    }
    return b->ctx ? DLOAD_PENDING : DLOAD_OK;
}

static ul_config ul_cfg(struct fake_env *f)
{
    ul_config cfg = ul_config_default();
    env = f;
    cfg.fetch = ul_fetch;
    cfg.env = &f->env;
    cfg.shards = 1; /* so that it has to grow */
    return cfg;
}

/* What every loader must still do, whatever happened to it. */
static void ul_usable(ul *l)
{
    uint64_t out[50], keys[50];
    dload_status st[50];
    disarm();
    for (uint64_t i = 0; i < 50; i++) {
        keys[i] = 900 + i;
    }
    must_ok(ul_load_many(l, keys, 50, out, st));
    for (uint64_t i = 0; i < 50; i++) {
        must_ok(st[i]);
        equal(out[i], keys[i] * 10);
    }
}

static void ul_end(ul *l)
{
    ul_usable(l);
    must_ok(ul_close(l, DLOAD_DRAIN, 0));
    must_ok(ul_destroy(l));
}

static void oom_init(struct fake_env *f)
{
    ul l;
    ul_config cfg = ul_cfg(f);
    arm();
    if (worked(ul_init(&l, &cfg))) {
        ul_end(&l);
    }
    cfg.capacity = DLOAD_UNBOUNDED;
    cfg.shards = 8;
    if (worked(ul_init(&l, &cfg))) {
        ul_end(&l);
    }
}

static void oom_load(struct fake_env *f)
{
    ul l;
    ul_config cfg = ul_cfg(f);
    uint64_t out;
    must_ok(ul_init(&l, &cfg));
    arm();
    for (uint64_t key = 0; key < 20; key++) {
        if (worked(ul_load(&l, key, &out))) {
            equal(out, key * 10);
        }
        if (worked(ul_load(&l, key, &out))) {
            equal(out, key * 10);
        }
    }
    ul_end(&l);
}

static void oom_load_many(struct fake_env *f)
{
    ul l;
    ul_config cfg = ul_cfg(f);
    enum { N = 700 }; /* several batches, duplicates, growing pools */
    static uint64_t keys[N], out[N];
    static dload_status st[N];
    cfg.capacity = DLOAD_UNBOUNDED;
    must_ok(ul_init(&l, &cfg));
    for (size_t i = 0; i < N; i++) {
        keys[i] = i % 650;
    }
    arm();
    dload_status all = ul_load_many(&l, keys, N, out, st);
    bool call_worked = worked(all);
    for (size_t i = 0; i < N; i++) {
        bool key_worked = worked(st[i]);
        assert_true(key_worked || !call_worked);
        if (key_worked) {
            equal(out[i], keys[i] * 10);
        }
    }
    ul_end(&l);
}

struct asked {
    ul_waiter w;
    size_t n_done;
};

static void asked_done(ul_waiter *w)
{
    struct asked *a = w->ctx;
    a->n_done++;
    (void)worked(w->status);
}

static void oom_start(struct fake_env *f)
{
    ul l;
    ul_config cfg = ul_cfg(f);
    enum { N = 250 };
    static struct asked a[N];
    bool waits[N];
    memset(a, 0, sizeof a);
    cfg.settle_ns = DLOAD_SECOND;
    must_ok(ul_init(&l, &cfg));
    arm();
    for (uint64_t i = 0; i < N; i++) {
        a[i].w.done = asked_done;
        a[i].w.ctx = &a[i];
        dload_status st = ul_start(&l, i % 240, &a[i].w);
        waits[i] = st == DLOAD_PENDING;
        if (!waits[i]) {
            assert_false(worked(st));
        }
    }
    size_t cancelled = 3;
    while (cancelled < N && !waits[cancelled]) {
        cancelled++;
    }
    if (cancelled < N) {
        must_ok(ul_cancel(&l, &a[cancelled].w));
    }
    dload_status sent = ul_dispatch(&l, NULL);
    if (!worked(sent)) { /* what could not be sent is still queued, or was told */
        disarm();
        must_ok(ul_dispatch(&l, NULL));
    }
    size_t silent = 0;
    for (size_t i = 0; i < N; i++) {
        assert_true(a[i].n_done <= (waits[i] ? 1u : 0u));
        silent += waits[i] && !a[i].n_done;
    }
    equal(silent, cancelled < N ? 1 : 0); /* the one that was cancelled */
    ul_end(&l);
}

static void oom_prime(struct fake_env *f)
{
    ul l;
    ul_config cfg = ul_cfg(f);
    uint64_t out = 0;
    cfg.capacity = DLOAD_UNBOUNDED;
    must_ok(ul_init(&l, &cfg));
    arm();
    for (uint64_t key = 0; key < 600; key++) {
        dload_status st = ul_prime(&l, key, &key, 0);
        if (worked(st)) {
            must_ok(ul_peek(&l, key, &(dload_state){DLOAD_STATE_ABSENT}, &out));
            equal(out, key);
        }
    }
    (void)worked(ul_prime_error(&l, 1000, DLOAD_EBACKEND, DLOAD_NEVER));
    (void)worked(ul_put_if(&l, 1001, &(uint64_t){7}, ul_token(&l)));
    uint64_t keys[40], values[40];
    for (uint64_t i = 0; i < 40; i++) {
        keys[i] = values[i] = 2000 + i;
    }
    (void)worked(ul_prime_many(&l, keys, values, 40, 0, NULL));
    must_ok(ul_clear(&l, 1));
    must_ok(ul_clear_many(&l, keys, 40));
    must_ok(ul_clear_all(&l));
    ul_end(&l);
}

static void oom_batch_put(struct fake_env *f)
{
    ul l;
    ul_config cfg = ul_cfg(f);
    uint64_t out;
    cfg.capacity = DLOAD_UNBOUNDED;
    must_ok(ul_init(&l, &cfg));
    arm();
    if (worked(ul_load(&l, 500, &out))) {
        equal(out, 5000);
    }
    ul_end(&l);
}

static void oom_close(struct fake_env *f)
{
    for (int mode = DLOAD_DRAIN; mode <= DLOAD_FAIL; mode++) {
        ul l;
        ul_config cfg = ul_cfg(f);
        static struct asked a[150];
        memset(a, 0, sizeof a);
        cfg.settle_ns = DLOAD_SECOND;
        must_ok(ul_init(&l, &cfg));
        disarm();
        for (uint64_t i = 0; i < COUNT(a); i++) {
            a[i].w.ctx = &a[i];
            must(ul_start(&l, i, &a[i].w), DLOAD_PENDING);
        }
        f->armed = true; /* goes on counting where it was */
        dload_status st = ul_close(&l, (dload_close_mode)mode, 0);
        if (!worked(st)) {
            disarm();
            must_ok(ul_close(&l, (dload_close_mode)mode, 0));
        }
        disarm();
        must_ok(ul_destroy(&l));
    }
}

/* A loader that is thrown away in the middle of everything, with expired and cleared entries. */
static void oom_mixed(struct fake_env *f)
{
    ul l;
    ul_config cfg = ul_cfg(f);
    uint64_t seed = 5, out;
    cfg.capacity = 30;
    cfg.ttl_ns = DLOAD_SECOND;
    arm();
    if (!worked(ul_init(&l, &cfg))) {
        return;
    }
    for (int i = 0; i < 400; i++) {
        uint64_t key = rng_below(&seed, 80);
        switch (rng_below(&seed, 6)) {
        case 0:
            must_ok(ul_clear(&l, key));
            break;
        case 1:
            (void)worked(ul_prime(&l, key, &(uint64_t){key * 10}, DLOAD_OVERWRITE));
            break;
        case 2:
            f->now_ns += 50 * DLOAD_MILLISECOND;
            must_ok(ul_process(&l, f->now_ns));
            break;
        default:
            if (worked(ul_load(&l, key, &out))) {
                equal(out, key * 10);
            }
        }
    }
    ul_end(&l);
}

/* ---- string keys, blob values ---- */

static size_t key_text(char *buf, size_t cap, size_t i)
{
    /* 5 to 400 bytes, so that every size of piece is asked for. */
    int n = snprintf(buf, cap, "key %zu", i);
    size_t len = (size_t)n + i * 7 % 395;
    memset(buf + n, 'x', len - (size_t)n);
    return len;
}

static dload_status bl_fetch(bl_batch *b)
{
    for (size_t i = 0; i < b->n; i++) {
        if (i % 2) {
            (void)worked(bl_batch_set_bytes(b, i, b->keys[i].ptr, b->keys[i].len));
            continue;
        }
        dload_blob v;
        if (!worked(dload_blob_make(b->owner->cfg.env, b->keys[i].ptr, b->keys[i].len, &v))) {
            must_ok(bl_batch_fail(b, i, DLOAD_ENOMEM));
            continue;
        }
        if (i % 4) {
            (void)worked(bl_batch_move(b, i, &v));
        } else {
            (void)worked(bl_batch_set(b, i, &v));
            dload_blob_release(&v);
        }
    }
    return DLOAD_OK;
}

static void bl_must(dload_str key, dload_blob *got)
{
    equal(got->len, key.len);
    assert_memory_equal(got->ptr, key.ptr, key.len);
    dload_blob_release(got);
}

static void oom_blobs(struct fake_env *f)
{
    bl l;
    bl_config cfg = bl_config_default();
    enum { N = 60 };
    static char text[N][512];
    dload_str keys[N];
    dload_blob out[N];
    dload_status st[N];
    env = f;
    cfg.fetch = bl_fetch;
    cfg.env = &f->env;
    cfg.capacity = 40;
    for (size_t i = 0; i < N; i++) {
        keys[i] = (dload_str){text[i], key_text(text[i], sizeof text[i], i)};
    }
    arm();
    if (!worked(bl_init(&l, &cfg))) {
        return;
    }
    (void)worked(bl_load_many(&l, keys, N, out, st));
    for (size_t i = 0; i < N; i++) {
        if (worked(st[i])) {
            bl_must(keys[i], &out[i]);
        }
    }
    dload_blob one;
    if (worked(dload_blob_make(&f->env, "primed", 6, &one))) {
        if (worked(bl_prime(&l, keys[0], &one, DLOAD_OVERWRITE))) {
            dload_blob back;
            must_ok(bl_load(&l, keys[0], &back));
            equal(back.len, 6);
            dload_blob_release(&back);
        }
        dload_blob_release(&one);
    }
    must_ok(bl_clear(&l, keys[0]));
    disarm();
    for (size_t i = 0; i < N; i++) {
        must_ok(bl_load(&l, keys[i], &out[i]));
        bl_must(keys[i], &out[i]);
    }
    must_ok(bl_close(&l, DLOAD_DRAIN, 0));
    must_ok(bl_destroy(&l));
}

/* ---- the cache alone ---- */

static void oom_cache(struct fake_env *f)
{
    bl_cache c;
    bl_cache_config cfg;
    memset(&cfg, 0, sizeof cfg);
    env = f;
    cfg.env = &f->env;
    cfg.capacity = DLOAD_UNBOUNDED;
    arm();
    if (!worked(bl_cache_init(&c, &cfg))) {
        return;
    }
    for (size_t i = 0; i < 300; i++) {
        char text[512];
        dload_str key = {text, key_text(text, sizeof text, i)};
        dload_blob v, got;
        if (!worked(dload_blob_make(&f->env, text, key.len, &v))) {
            continue;
        }
        if (worked(bl_cache_set(&c, key, &v, i % 3 ? 0 : DLOAD_SECOND))) {
            must_ok(bl_cache_get(&c, key, &got));
            bl_must(key, &got);
        }
        dload_blob_release(&v);
        if (i % 100 == 99) {
            must_ok(bl_cache_clear(&c));
        }
    }
    f->now_ns += 2 * DLOAD_SECOND;
    must_ok(bl_cache_advance(&c, f->now_ns));
    disarm();
    must_ok(bl_cache_destroy(&c));
}

static size_t injected;

#define CASE(name)                                              \
    static void test_oom_##name(void **state)                   \
    {                                                           \
        (void)state;                                            \
        size_t n = fail_until_ok(#name, oom_##name);            \
        print_message("%s: %zu failures injected\n", #name, n); \
        assert_true(n >= 2);                                    \
        injected += n;                                          \
    }
CASE(init)
CASE(load)
CASE(load_many)
CASE(start)
CASE(prime)
CASE(batch_put)
CASE(mixed)
CASE(blobs)
CASE(cache)

/* A close need not allocate at all, so there may be nothing to fail. */
static void test_oom_close(void **state)
{
    (void)state;
    injected += fail_until_ok("close", oom_close);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_oom_init),      cmocka_unit_test(test_oom_load),
        cmocka_unit_test(test_oom_load_many), cmocka_unit_test(test_oom_start),
        cmocka_unit_test(test_oom_prime),     cmocka_unit_test(test_oom_batch_put),
        cmocka_unit_test(test_oom_close),     cmocka_unit_test(test_oom_mixed),
        cmocka_unit_test(test_oom_blobs),     cmocka_unit_test(test_oom_cache),
    };
    int failed = cmocka_run_group_tests_name("oom " TEST_STRING(TEST_LOCK), tests, NULL, NULL);
    printf("%zu allocation failures injected\n", injected);
    return failed;
}
