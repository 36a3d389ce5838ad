/* Snapshots and what goes on beside them: time passes, entries come, a loader answers, keys are cleared. What
 * has expired or was cleared does not come back. */
/* locks: NONE SPIN PTHREAD */
#define DLOAD_NAME     ints
#define DLOAD_KEY      uint64_t
#define DLOAD_VALUE    uint64_t
#define DLOAD_LOCK     TEST_LOCK
#define DLOAD_CLOCK    DLOAD_CLOCK_MANUAL
#define DLOAD_SNAPSHOT 1
#include "dataloader.h"

/* The same key and value, other choices: its snapshots are the same. */
#define DLOAD_NAME     other
#define DLOAD_KEY      uint64_t
#define DLOAD_VALUE    uint64_t
#define DLOAD_EVICT    DLOAD_EVICT_NONE
#define DLOAD_STATS    0
#define DLOAD_TTL      0
#define DLOAD_SNAPSHOT 1
#include "dataloader.h"

#include "test_snapshot.h"

/* ---- time ---- */

#define AT(c, ns) must_ok(ints_cache_advance((c), (ns)))
#define S         DLOAD_SECOND

static bool has(ints_cache *c, uint64_t key)
{
    uint64_t v = 0;
    dload_status st = ints_cache_get(c, key, &v);
    assert_true(st == DLOAD_OK || st == DLOAD_MISSING);
    return st == DLOAD_OK;
}

/* Saves c at wall time saved and restores into a new cache at its time now and wall time wall. */
static void carry(ints_cache *c, ints_cache *d, uint64_t now, uint64_t saved, uint64_t wall,
                  size_t want)
{
    TAPE_HOW(ints, how, &tape);
    size_t n = 0;
    tape_clear(&tape);
    how.wall_ns = saved;
    must_ok(ints_cache_save(c, &how, NULL));
    OPEN(ints, d, 100, 1);
    AT(d, now);
    how.wall_ns = wall;
    must_ok(ints_cache_restore(d, &how, &n));
    equal(n, want);
}

static void test_ttl(void **state)
{
    (void)state;
    ints_cache c, d;
    const uint64_t day = 86400 * S, v = 1;
    OPEN(ints, &c, 100, 1);
    AT(&c, 1000 * S);
    must_ok(ints_cache_set(&c, 1, &v, 10 * S));
    must_ok(ints_cache_set(&c, 2, &v, 100 * S));
    must_ok(ints_cache_set(&c, 3, &v, 30 * day)); /* rounds of the wheel */
    must_ok(ints_cache_set(&c, 4, &v, DLOAD_NEVER));
    must_ok(ints_cache_set(&c, 5, &v, 5 * S));
    AT(&c, 1006 * S); /* 5 is gone, 1 has 4 s */
    carry(&c, &d, 50 * day, DLOAD_NEVER, DLOAD_NEVER, 4);
    AT(&d, 50 * day + 4 * S - DLOAD_MILLISECOND * 4);
    assert_true(has(&d, 1));
    AT(&d, 50 * day + 4 * S);
    assert_false(has(&d, 1));
    AT(&d, 50 * day + 94 * S - DLOAD_MILLISECOND * 4);
    assert_true(has(&d, 2));
    AT(&d, 50 * day + 94 * S);
    assert_false(has(&d, 2));
    AT(&d, 80 * day - 6 * S - DLOAD_MILLISECOND * 4);
    assert_true(has(&d, 3));
    AT(&d, 80 * day - 6 * S);
    assert_false(has(&d, 3));
    assert_true(has(&d, 4));
    must_ok(ints_cache_destroy(&d));

    carry(&c, &d, 0, 1 * day, 1 * day + 50 * S, 3); /* 50 s have passed: 1 is gone, 2 has 44 s */
    AT(&d, 44 * S - DLOAD_MILLISECOND * 4);
    assert_true(has(&d, 2));
    AT(&d, 44 * S);
    assert_false(has(&d, 2));
    must_ok(ints_cache_destroy(&d));
    carry(&c, &d, 0, 1 * day, 31 * day, 1); /* a month later */
    must_ok(ints_cache_destroy(&d));
    carry(&c, &d, 0, 2 * day, 1 * day, 4); /* the clock was set back: nothing is known */
    AT(&d, 4 * S);
    assert_false(has(&d, 1));
    must_ok(ints_cache_destroy(&d));
    carry(&c, &d, 0, 1 * day, DLOAD_NEVER, 4);
    must_ok(ints_cache_destroy(&d));
    carry(&c, &d, 0, 0, 0, 4); /* the host's clock: no second has passed */
    must_ok(ints_cache_destroy(&d));
    carry(&c, &d, 0, 1 * S, 0, 1); /* ... and since 1970 some days have */
    must_ok(ints_cache_destroy(&d));

    other_cache o; /* knows no TTL: takes what does not expire, and nothing else */
    OPEN(other, &o, 100, 1);
    RESTORE(other, &o, &tape, 1);
    must_ok(other_cache_destroy(&o));
    must_ok(ints_cache_destroy(&c));
}

/* ---- while others go on ---- */

static struct {
    other_cache *c;
    uint64_t next;
} grower;

static void grow(void *ctx)
{
    (void)ctx;
    for (int i = 0; i < 500 && grower.next < 1040000; i++, grower.next++) {
        must_ok(other_cache_set(grower.c, grower.next, &grower.next, 0));
    }
}

static void test_growth_meanwhile(void **state)
{
    (void)state;
    other_cache c, d;
    OPEN(other, &c, DLOAD_UNBOUNDED, 0);
    OPEN(other, &d, DLOAD_UNBOUNDED, 0);
    for (uint64_t i = 0; i < 20000; i++) {
        must_ok(other_cache_set(&c, i, &i, 0));
    }
    grower.c = &c;
    grower.next = 1000000;
    tape.act = grow;
    TAPE_HOW(other, how, &tape);
    size_t n = 0;
    must_ok(other_cache_save(&c, &how, &n));
    assert_true(n >= 20000 && grower.next > 1007000);
    tape.act = NULL;
    must_ok(other_cache_restore(&d, &how, &n));
    for (uint64_t i = 0; i < 20000; i++) {
        uint64_t v = 0;
        must_ok(other_cache_get(&d, i, &v));
        equal(v, i);
    }
    must_ok(other_cache_destroy(&c));
    must_ok(other_cache_destroy(&d));
}

/* ---- a loader's cache ---- */

static size_t n_fetched;

static dload_status fetch(ints_batch *b)
{
    for (size_t i = 0; i < b->n; i++) {
        uint64_t v = b->keys[i] + 1000;
        n_fetched++;
        if (b->keys[i] % 10 == 9) {
            must_ok(ints_batch_fail(b, i, DLOAD_EFETCH));
        } else if (b->keys[i] % 10 != 8) {
            must_ok(ints_batch_set(b, i, &v));
        }
    }
    return DLOAD_OK;
}

static uint64_t keep_errors(void *ctx, dload_status status)
{
    (void)ctx;
    (void)status;
    return 1000 * S;
}

static void loader_open(ints *l)
{
    ints_config cfg = ints_config_default();
    cfg.fetch = fetch;
    cfg.env = &env.env;
    cfg.missing_ttl_ns = 1000 * S;
    cfg.error_ttl = keep_errors;
    must_ok(ints_init(l, &cfg));
}

static void loader_close(ints *l)
{
    must_ok(ints_close(l, DLOAD_FAIL, 0));
    must_ok(ints_destroy(l));
}

static void test_loader(void **state)
{
    (void)state;
    ints l, m;
    uint64_t v = 0, keys[40], out[40];
    size_t n = 0;
    loader_open(&l);
    loader_open(&m);
    for (uint64_t i = 0; i < 40; i++) {
        keys[i] = i;
    }
    must_ok(ints_load_many(&l, keys, 40, out, NULL));
    TAPE_HOW(ints, how, &tape);
    must_ok(ints_save(&l, &how, &n));
    equal(n, 36); /* 4 failed: that is of the moment; 4 are missing: that is an answer */

    ints_waiter w;
    memset(&w, 0, sizeof w);
    must(ints_start(&m, 3, &w), DLOAD_PENDING);
    must_ok(ints_clear(&m, 4));
    v = 5555;
    must_ok(ints_prime(&m, 5, &v, 0));
    must_ok(ints_restore(&m, &how, &n));
    equal(n, 33); /* not what is on its way, was cleared, or is there */
    must_ok(ints_dispatch(&m, NULL));
    must_ok(w.status);
    n_fetched = 0;
    must_ok(ints_load_many(&m, keys, 40, out, NULL));
    equal(n_fetched, 5); /* 4, and those that failed */
    equal(out[3], 1003);
    equal(out[5], 5555);
    equal(out[6], 1006);
    must(ints_load(&m, 8, &v), DLOAD_MISSING);

    must_ok(ints_clear_all(&m)); /* all that the snapshot has was cleared */
    tape_rewind(&tape);
    must_ok(ints_restore(&m, &how, &n));
    equal(n, 0);
    loader_close(&l);
    loader_close(&m);
}

/* ---- at random ---- */

struct model {
    bool there;
    uint64_t value, end_ns; /* gone from then on */
};

/* Random operations on a cache that is large enough; from time to time it is saved, with the time that passes,
 * and goes on as another one. What it must have is known. */
static void test_random(void **state)
{
    (void)state;
    uint64_t seed = test_seed("snapshot");
    enum { KEYS = 600 };
    static struct model model[KEYS];
    memset(model, 0, sizeof model);
    ints_cache caches[2];
    ints_cache *c = &caches[0];
    uint64_t now = 1000 * S, wall = 1000000 * S;
    OPEN(ints, c, 2 * KEYS, 1);
    AT(c, now);
    for (size_t i = 0; i < scaled(200000); i++) {
        uint64_t k = rng_below(&seed, KEYS), v = rng(&seed), got = 0;
        uint64_t what = rng_below(&seed, 1000);
        if (what < 400) {
            uint64_t ttl = rng_below(&seed, 3) == 0 ? DLOAD_NEVER : 1 + rng_below(&seed, 1000 * S);
            must_ok(ints_cache_set(c, k, &v, ttl));
            model[k] = (struct model){true, v, ttl == DLOAD_NEVER ? DLOAD_NEVER : now + ttl};
        } else if (what < 500) {
            must_ok(ints_cache_delete(c, k));
            model[k].there = false;
        } else if (what < 505) {
            uint64_t step = rng_below(&seed, 200 * S);
            now += step;
            wall += step;
            AT(c, now);
        } else if (what < 506) {
            must_ok(ints_cache_clear(c));
            memset(model, 0, sizeof model);
        } else if (what < 512) {
            TAPE_HOW(ints, how, &tape);
            size_t n_saved = 0, n = 0;
            uint64_t gap = rng_below(&seed, 2) * rng_below(&seed, 300 * S);
            tape_clear(&tape);
            how.wall_ns = wall;
            must_ok(ints_cache_save(c, &how, &n_saved));
            must_ok(ints_cache_destroy(c));
            c = c == &caches[0] ? &caches[1] : &caches[0];
            OPEN(ints, c, 2 * KEYS, 1 + rng_below(&seed, 8));
            wall += gap;
            uint64_t began = rng_below(&seed, 1000000 * S); /* the new process has another clock */
            for (size_t m = 0; m < KEYS; m++) {
                uint64_t end = model[m].end_ns;
                model[m].there = model[m].there && end > now + gap;
                model[m].end_ns = end == DLOAD_NEVER ? end : end - now - gap + began;
            }
            now = began;
            AT(c, now);
            how.wall_ns = wall;
            must_ok(ints_cache_restore(c, &how, &n));
            assert_true(n <= n_saved);
        }
        dload_status st = ints_cache_get(c, k, &got);
        /* ticks are a millisecond, and every save may cut one off */
        bool must_be = model[k].there && model[k].end_ns > now + 20 * DLOAD_MILLISECOND;
        bool may_be = model[k].there && model[k].end_ns > now;
        assert_true(must_be ? st == DLOAD_OK : may_be || st == DLOAD_MISSING);
        if (st == DLOAD_OK) {
            equal(got, model[k].value);
        }
    }
    must_ok(ints_cache_destroy(c));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SNAPSHOT_TEST(test_ttl),
        SNAPSHOT_TEST(test_growth_meanwhile),
        SNAPSHOT_TEST(test_loader),
        SNAPSHOT_TEST(test_random),
    };
    return cmocka_run_group_tests_name("snapshot time", tests, NULL, NULL);
}
