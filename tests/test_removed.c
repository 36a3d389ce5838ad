/* What config.on_remove is told: each value that leaves the cache, once, with its key and why; before it is
 * released, with no lock held. Values are numbered and counted, so that none is lost, told of twice or
 * released twice. What the hook may do itself: test_removed_inside.c. */
/* locks: NONE SPIN PTHREAD */
#include "test_removed.h"

static void test_removed_reasons(void **state)
{
    (void)state;
    static struct watcher w;
    own_cache c;
    own_open(&w, &c, 3);
    must_ok(own_put(&c, 1, 10, 0));
    must_ok(own_put(&c, 1, 11, 0));
    text_must(&w.log, "1:10 replaced");
    must_ok(own_put(&c, 2, 12, DLOAD_SECOND));
    must_ok(own_put(&c, 3, 13, 0));
    must_ok(own_put(&c, 4, 14, 0));
    text_must(&w.log, "1:11 evicted");
    must_ok(own_cache_advance(&c, 2 * DLOAD_SECOND));
    text_must(&w.log, "2:12 expired");
    must_ok(own_cache_delete(&c, 3));
    must_ok(own_cache_delete(&c, 3));
    text_must(&w.log, "3:13 cleared");
    must_ok(own_cache_clear(&c));
#ifndef TEST_COMPACT
    text_must(&w.log, ""); /* lazily: */
#endif
    must_ok(own_cache_advance(&c, 0));
    text_must(&w.log, "4:14 cleared");
    must_ok(own_put(&c, 5, 15, 0));
    must_ok(own_cache_pin(&c, 5));
    must_ok(own_put(&c, 6, 16, 0));
    must_ok(own_cache_pin(&c, 6));
    must_ok(own_put(&c, 7, 17, 0));
    must_ok(own_cache_pin(&c, 7));
    text_must(&w.log, "");
    must(own_put(&c, 8, 18, 0), DLOAD_EFULL);
    text_must(&w.log, "8:18 rejected");
    must_ok(own_cache_delete(&c, 6));
    must_ok(own_cache_delete(&c, 7));
    text_clear(&w.log);
    must_ok(own_cache_destroy(&c));
    text_must(&w.log, "5:15 destroyed");
    all_told(&w, 10, 9);
}

/* Whoever comes to remove it: what had expired, expired, and what had been cleared, was cleared. More of them
 * than one operation cleans up, so that stores and deletes meet some. */
static void test_removed_for_what_came_first(void **state)
{
    (void)state;
    static struct watcher w;
    for (int how = 0; how < 8; how++) {
        str_cache c;
        struct thing t;
        bool clear = how & 1, destroy = how == 6 || how == 7;
        str_open(&w, &c, 200, 0);
        for (t.id = 0; t.id < 200; t.id++) {
            must_ok(str_cache_set(&c, key_of(t.id), &t, clear ? 0 : DLOAD_SECOND));
        }
        if (clear) {
            must_ok(str_cache_clear(&c));
        } else {
            w.f.now_ns += 2 * DLOAD_SECOND;
        }
        for (uint32_t i = 0; i < 200 && !destroy; i++) {
            t.id = 200 + i;
            if (how < 2) {
                must_ok(str_cache_set(&c, key_of(i), &t, 0)); /* in its place */
            } else if (how < 4) {
                must_ok(str_cache_delete(&c, key_of(i)));
            } else {
                must_ok(str_cache_set(&c, key_of(200 + i), &t, 0)); /* at capacity */
            }
        }
        if (destroy) {
            must_ok(str_cache_destroy(&c));
        }
        equal(count(&w.log, clear ? "cleared" : "expired"), 200);
        equal(w.n_calls, 200);
        if (!destroy) {
            must_ok(str_cache_destroy(&c));
        }
        fake_env_check(&w.f);
    }
}

/* ---- from a loader ---- */

/* A cached error is no value: nobody is told when it goes. */
static void test_removed_from_a_loader(void **state)
{
    (void)state;
    static struct watcher w;
    own l;
    struct thing t = {0};
    own_loader(&w, &l, 3);
    next_id = 10;
    own_take(&l, 1, 0);
    own_take(&l, 1, DLOAD_FRESH);
    text_must(&w.log, "1:10 replaced");
    own_take(&l, 2, 0);
    must(own_load(&l, 1003, &t), DLOAD_MISSING);
    text_must(&w.log, "");
    own_take(&l, 4, 0);
    text_must(&w.log, "1:11 evicted");
    must_ok(own_clear(&l, 2));
    text_must(&w.log, "2:12 cleared");
    must_ok(own_clear(&l, 1003)); /* an error: nothing to tell */
    text_must(&w.log, "");
    t.id = next_id++;
    n_owners[t.id]++;
    must_ok(own_prime(&l, 5, &t, DLOAD_PIN));
    must_ok(own_prime(&l, 5, &t, 0)); /* there already: not even offered */
    thing_unref(&t);
    text_must(&w.log, "");
    must_ok(own_pin(&l, 4));
    own_take(&l, 6, 0);
    must_ok(own_pin(&l, 6));
    own_take(&l, 7, 0); /* delivered, and no room in the cache */
    text_must(&w.log, "7:16 rejected");
    const uint64_t keys[] = {8, 9, 8};
    struct thing out[3];
    must_ok(own_load_many(&l, keys, 3, out, NULL));
    for (size_t i = 0; i < 3; i++) {
        thing_unref(&out[i]);
    }
    text_must(&w.log, "9:18 rejected, 8:17 rejected");
    must_ok(own_clear_all(&l));
    must_ok(own_process(&l, 3 * DLOAD_SECOND));
    equal(w.log.len != 0, 1);
    text_clear(&w.log);
    own_take(&l, 10, 0);
    must_ok(own_close(&l, DLOAD_DRAIN, 0));
    must_ok(own_destroy(&l));
    text_must(&w.log, "10:19 destroyed");
    all_told(&w, 10, 10);
}

/* ---- nobody listens, or memory fails ---- */

static void test_removed_nobody_listens(void **state)
{
    (void)state;
    static struct watcher w;
    own_cache c;
    own_open(&w, &c, 5);
    c.on_remove = NULL;
    for (uint32_t id = 0; id < 100; id++) {
        must_ok(own_put(&c, id % 9, id, 0));
    }
    must_ok(own_cache_destroy(&c));
    equal(w.n_calls, 0);
    for (uint32_t id = 0; id < 100; id++) {
        equal(n_owners[id], 0);
    }
    fake_env_check(&w.f);
}

static void no_memory(struct fake_env *f)
{
    static struct watcher w;
    str_cache c;
    str_cache_config cfg;
    struct thing t;
    size_t n_stored = 0, n_refused = 0;
    memset(&cfg, 0, sizeof cfg);
    memset(&w, 0, sizeof w);
    w.quiet = true;
    cfg.env = &f->env;
    cfg.capacity = 40;
    cfg.shards = 1;
    cfg.on_remove = str_gone;
    cfg.ctx = &w;
    must_ok(str_cache_init(&c, &cfg));
    fake_env_arm(f);
    for (t.id = 0; t.id < 60; t.id++) {
        dload_status st = str_cache_set(&c, key_of(t.id), &t, 0);
        n_stored += st == DLOAD_OK;
        n_refused += st == DLOAD_ENOMEM;
    }
    fake_env_disarm(f);
    equal(n_stored + n_refused, 60);
    equal(w.n_calls + str_cache_len(&c), 60); /* each was told of, or is here */
    must_ok(str_cache_destroy(&c));
    equal(w.n_calls, 60);
}

static void test_removed_without_memory(void **state)
{
    (void)state;
    assert_true(fail_until_ok("removed", no_memory) > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_removed_reasons),
        cmocka_unit_test(test_removed_for_what_came_first),
        cmocka_unit_test(test_removed_from_a_loader),
        cmocka_unit_test(test_removed_nobody_listens),
        cmocka_unit_test(test_removed_without_memory),
    };
    return cmocka_run_group_tests_name("removed " TEST_STRING(TEST_LOCK), tests, NULL, NULL);
}
