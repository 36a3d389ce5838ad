/* config.on_remove while it runs: what it finds in the cache, and what it may do there and in the loader; when one
 * value displaces many, and when the hook stores and so is called inside itself. */
/* locks: NONE SPIN PTHREAD */
#include "test_removed.h"

/* ---- strings, groups and weights ---- */

/* Inside the first telling: all that were displaced are gone, even those not yet told of; their keys can be
 * set again, and cleaning up goes by them. */
static void act_look(struct watcher *w, uint64_t key)
{
    struct thing t;
    (void)key;
    w->act = NULL;
    for (uint32_t id = 0; id < 99; id++) {
        must(str_cache_get_in(w->s, key_of(id), 3, &t), DLOAD_MISSING);
    }
    must_ok(str_cache_get_in(w->s, key_of(99), 3, &t));
    must_ok(str_cache_get_in(w->s, key_of(7), 1, &t));
    equal(str_cache_weight(w->s), 100);
    equal(str_cache_len(w->s), 2);
    must_ok(str_cache_clear_group(w->s, 3));
    must_ok(str_cache_advance(w->s, w->f.now_ns));
    t.id = 100;
    must_ok(str_cache_set_in(w->s, key_of(50), 3, &t, 0));
    must_ok(str_cache_get_in(w->s, key_of(50), 3, &t));
    equal(t.id, 100);
    equal(str_cache_len(w->s), 2);
}

static void test_removed_before_all_are_told(void **state)
{
    (void)state;
    static struct watcher w;
    str_cache c;
    str_open(&w, &c, 100, 100);
    w.s = &c;
    struct thing t;
    for (t.id = 0; t.id < 100; t.id++) {
        must_ok(str_cache_set_in(&c, key_of(t.id), 3, &t, 0));
    }
    t.id = 998; /* weighs 99 */
    w.act = act_look;
    must_ok(str_cache_set_in(&c, key_of(7), 1, &t, 0));
    equal(w.n_calls, 100); /* by the weight 99, and one by the clear inside */
    equal(count(&w.log, "evicted"), 99);
    equal(count(&w.log, "cleared"), 1);
    must_ok(str_cache_get_in(&c, key_of(50), 3, &t));
    must_ok(str_cache_destroy(&c));
    equal(count(&w.log, "destroyed"), 2);
    for (uint32_t id = 0; id <= 100; id++) {
        equal(n_told[id], 1);
    }
    fake_env_check(&w.f);
}

static void test_removed_heavy_displaces_many(void **state)
{
    (void)state;
    static struct watcher w;
    str_cache c;
    str_open(&w, &c, 200, 100);
    struct thing t;
    for (t.id = 0; t.id < 100; t.id++) {
        must_ok(str_cache_set_in(&c, key_of(t.id), 3, &t, 0));
    }
    equal(w.n_calls, 0);
    equal(str_cache_weight(&c), 100);
    t.id = 998; /* weighs 99 */
    must_ok(str_cache_set_in(&c, key_of(7), 1, &t, 0));
    equal(w.n_calls, 99);
    equal(str_cache_weight(&c), 100);
    equal(str_cache_len(&c), 2);
    for (uint32_t id = 0; id < 99; id++) {
        equal(n_told[id], 1);
    }
    assert_non_null(strstr(w.log.buf, "3:0 evicted"));
    assert_non_null(strstr(w.log.buf, "983:98 evicted"));
    text_clear(&w.log);
    t.id = 999; /* 100: alone */
    must_ok(str_cache_set_in(&c, key_of(7), 1, &t, 0));
    assert_non_null(strstr(w.log.buf, "71:998 replaced"));
    assert_non_null(strstr(w.log.buf, "993:99 evicted"));
    equal(w.n_calls, 101);
    must_ok(str_cache_destroy(&c));
    equal(w.n_calls, 102);
    fake_env_check(&w.f);
}

/* ---- from inside the hook ---- */

/* The next thing that nobody has seen, under this key. */
static void act_set(struct watcher *w, uint64_t key)
{
    uint64_t got_key = 1;
    struct thing t;
    (void)key;
    if (own_cache_get(w->c, got_key, &t) == DLOAD_OK) {
        thing_unref(&t);
    }
    (void)own_cache_len(w->c);
    if (w->depth < 3 && next_id < 35000) {
        uint32_t id = next_id++;
        w->depth++;
        must_ok(own_put(w->c, 100 + id, id, 0));
        must_ok(own_cache_delete(w->c, 100 + id - 1));
        w->depth--;
    }
}

static void test_removed_hook_enters_the_cache(void **state)
{
    (void)state;
    static struct watcher w;
    own_cache c;
    uint64_t seed = test_seed("removed, from the hook");
    uint64_t now_ns = 0;
    own_open(&w, &c, 20);
    w.quiet = true;
    w.act = act_set;
    next_id = 0;
    for (size_t i = 0; i < scaled(600) && next_id < 30000; i++) {
        uint32_t id = next_id++;
        uint64_t ttl_ns = rng_below(&seed, 2) ? DLOAD_SECOND : 0;
        must_ok(own_put(&c, rng_below(&seed, 40), id, ttl_ns));
        uint64_t op = rng_below(&seed, 20);
        if (op < 3) {
            must_ok(own_cache_delete(&c, rng_below(&seed, 40)));
        } else if (op < 5) {
            must_ok(own_cache_advance(&c, now_ns += DLOAD_SECOND / 2));
        } else if (op == 5) {
            must_ok(own_cache_clear(&c));
        }
    }
    w.act = NULL;
    must_ok(own_cache_destroy(&c));
    all_told(&w, 0, next_id);
}

static void act_load(struct watcher *w, uint64_t key)
{
    if (w->depth < 2) {
        w->depth++;
        own_take(w->l, (key + 11) % 50, 0);
        must_ok(own_clear(w->l, (key + 12) % 50));
        w->depth--;
    }
}

static void test_removed_hook_enters_the_loader(void **state)
{
    (void)state;
    static struct watcher w;
    own l;
    uint64_t seed = test_seed("removed, from a loader's hook");
    own_loader(&w, &l, 10);
    w.quiet = true;
    w.act = act_load;
    next_id = 0;
    for (size_t i = 0; i < scaled(600) && next_id < 30000; i++) {
        own_take(&l, rng_below(&seed, 50), rng_below(&seed, 4) == 0 ? DLOAD_FRESH : 0);
        if (rng_below(&seed, 50) == 0) {
            must_ok(own_clear_all(&l));
        }
    }
    w.act = NULL;
    must_ok(own_close(&l, DLOAD_DRAIN, 0));
    must_ok(own_destroy(&l));
    all_told(&w, 0, next_id);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_removed_heavy_displaces_many),
        cmocka_unit_test(test_removed_before_all_are_told),
        cmocka_unit_test(test_removed_hook_enters_the_cache),
        cmocka_unit_test(test_removed_hook_enters_the_loader),
    };
    return cmocka_run_group_tests_name("removed, inside " TEST_STRING(TEST_LOCK), tests, NULL,
                                       NULL);
}
