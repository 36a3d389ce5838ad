/* Two stores as one: what every store must do, who is asked what, and what happens when a tier fails. */
/* tsan */
#include "test_tiered.h"

#include "stores/cases.h"

static int open_short(void **state)
{
    return open_tiers(state, false, 5 * DLOAD_SECOND, 20 * DLOAD_SECOND);
}

static dload_tiered_stats counters(struct fixture *t)
{
    dload_tiered_stats s;
    dload_tiered_counters(&t->t, &s);
    return s;
}

/* ---- who is asked what ---- */

static void test_reads_fill_above(void **state)
{
    struct fixture *t = *state;
    dload_store_item items[3];
    below_set(t, STR("a"), "1", DLOAD_NEVER);
    below_set(t, STR("b"), "2", 2 * DLOAD_SECOND);
    items[0] = store_item(STR("a"));
    items[1] = store_item(STR("absent"));
    items[2] = store_item(STR("b"));
    dload_store_op op = store_op(DLOAD_STORE_GET, items, 3);
    must_ok(store_ask(&t->x, &op));
    assert_true(store_holds(&items[0], STR("1")));
    must(items[1].status, DLOAD_MISSING);
    assert_true(store_holds(&items[2], STR("2")));
    dload_store_release(&op);
    above_must(t, STR("a"), "1");
    above_must(t, STR("b"), "2");
    equal(n_asked(&t->lower, DLOAD_STORE_GET), 1);
    store_get(&t->x, STR("a"), STR("1"));
    store_get(&t->x, STR("b"), STR("2"));
    equal(n_asked(&t->lower, DLOAD_STORE_GET), 1);
    store_lacks(&t->x, STR("absent")); /* that nothing is there is kept nowhere */
    equal(n_asked(&t->lower, DLOAD_STORE_GET), 2);
    dload_tiered_stats s = counters(t);
    equal(s.upper_hits, 2);
    equal(s.lower_hits, 2);
    equal(s.refills, 2);
    equal(s.refills_dropped + s.upper_errors + s.lower_errors + s.bypassed, 0);
    /* One of both: only what lacks is asked for below. */
    below_set(t, STR("c"), "3", DLOAD_NEVER);
    items[0] = store_item(STR("a"));
    items[1] = store_item(STR("c"));
    uint64_t keys = t->lower.store.stats.keys[DLOAD_STORE_GET];
    op = store_op(DLOAD_STORE_GET, items, 2);
    must_ok(store_ask(&t->x, &op));
    assert_true(store_holds(&items[0], STR("1")));
    assert_true(store_holds(&items[1], STR("3")));
    dload_store_release(&op);
    equal(t->lower.store.stats.keys[DLOAD_STORE_GET] - keys, 1);
}

/* A value stays above for upper_ttl_ns, or what is left of it below. */
static void test_lives_above(void **state)
{
    struct fixture *t = *state;
    const uint64_t cap_ns = 5 * DLOAD_SECOND;
    below_set(t, STR("long"), "1", DLOAD_NEVER);
    store_get(&t->x, STR("long"), STR("1"));
    equal(t->upper.last_ttl_ns, cap_ns);
    below_set(t, STR("short"), "1", DLOAD_SECOND);
    store_get(&t->x, STR("short"), STR("1"));
    assert_true(t->upper.last_ttl_ns <= DLOAD_SECOND);
    store_set(&t->x, STR("set"), STR("1"), DLOAD_NEVER);
    equal(t->upper.last_ttl_ns, cap_ns);
    equal(t->lower.last_ttl_ns, DLOAD_NEVER);
    store_set(&t->x, STR("set"), STR("1"), DLOAD_SECOND);
    equal(t->upper.last_ttl_ns, DLOAD_SECOND);
    equal(t->lower.last_ttl_ns, DLOAD_SECOND);
    must(store_lease(&t->x, STR("filled"), 1, DLOAD_SECOND), DLOAD_MISSING);
    must_ok(store_fill(&t->x, STR("filled"), 1, STR("f")));
    equal(t->upper.last_ttl_ns, cap_ns);
    above_must(t, STR("filled"), "f");
    below_must(t, STR("filled"), "f");
}

static void test_writes_go_below_first(void **state)
{
    struct fixture *t = *state;
    static const dload_store_kind kinds[] = {DLOAD_STORE_SET, DLOAD_STORE_DELETE,
                                             DLOAD_STORE_CLEAR};
    for (size_t i = 0; i < COUNT(kinds); i++) {
        struct aside a;
        uint32_t before = n_asked(&t->upper, kinds[i]);
        scripted_set(&t->lower.shuts, 1u << kinds[i]);
        aside_start(&a, t, kinds[i], STR("k"), "v");
        scripted_await(&t->lower, 1);
        equal(n_asked(&t->upper, kinds[i]), before);
        scripted_set(&t->lower.shuts, 0);
        aside_join(&a);
        must_ok(a.status);
        equal(n_asked(&t->upper, kinds[i]), before + 1);
    }
}

static void test_leases_are_the_lower_ones(void **state)
{
    struct fixture *t = *state;
    must(store_lease(&t->x, STR("k"), 1, DLOAD_SECOND), DLOAD_MISSING);
    struct store_case below = tier(&t->far_memory.store);
    must(store_lease(&below, STR("k"), 2, DLOAD_SECOND), DLOAD_EBUSY);
    must(store_fill(&t->x, STR("k"), 2, STR("wrong")), DLOAD_ELOCK);
    above_must(t, STR("k"), NULL);
    must_ok(store_drop(&t->x, STR("k"), 1));
    must(store_lease(&below, STR("k"), 2, DLOAD_SECOND), DLOAD_MISSING);
    equal(n_asked(&t->upper, DLOAD_STORE_LEASE) + n_asked(&t->upper, DLOAD_STORE_FILL) +
              n_asked(&t->upper, DLOAD_STORE_DROP),
          0);
    /* A hit above needs no lease. */
    store_set(&t->x, STR("hit"), STR("v"), DLOAD_NEVER);
    uint32_t n = n_asked(&t->lower, DLOAD_STORE_LEASE);
    must_ok(store_lease(&t->x, STR("hit"), 3, DLOAD_SECOND));
    equal(n_asked(&t->lower, DLOAD_STORE_LEASE), n);
}

/* ---- the upper tier fails ---- */

static void test_upper_fails_to_read(void **state)
{
    struct fixture *t = *state;
    store_set(&t->x, STR("k"), STR("v"), DLOAD_NEVER);
    scripted_set(&t->upper.fails, GETS | SETS);
    store_get(&t->x, STR("k"), STR("v"));
    equal(counters(t).upper_errors, 2); /* the GET and its refill */
    scripted_set(&t->upper.fails, 0);
    scripted_set(&t->upper.fails_keys, GETS | SETS);
    store_get(&t->x, STR("k"), STR("v"));
    equal(counters(t).upper_errors, 4);
    scripted_set(&t->upper.fails_keys, 0);
    equal(counters(t).bypassed, 0); /* nothing that it has is wrong */
    uint32_t n = n_asked(&t->lower, DLOAD_STORE_GET);
    store_get(&t->x, STR("k"), STR("v"));
    equal(n_asked(&t->lower, DLOAD_STORE_GET), n);
    equal(t->t.store.stats.errors + t->t.store.stats.key_errors, 0);
}

static void log_text(void *ctx, const char *store, const char *text)
{
    text_add(ctx, "%s: %s. ", store, text);
}

/* What could not be removed above is never read again. */
static void upper_fails_to_remove(struct fixture *t, dload_store_kind kind, uint32_t *how,
                                  const char *now)
{
    dload_store_item item = store_item_set(STR("k"), STR("new"), DLOAD_NEVER);
    store_set(&t->x, STR("k"), STR("old"), DLOAD_NEVER);
    store_set(&t->x, STR("kept"), STR("v"), DLOAD_NEVER);
    above_must(t, STR("k"), "old");
    scripted_set(how, DELETES | CLEARS | SETS);
    must_ok(store_one(&t->x, kind, &item)); /* below it is done */
    below_must(t, STR("k"), now);
    uint64_t bypassed = counters(t).bypassed;
    for (int i = 0; i < 3; i++) {
        if (now != NULL)
            store_get(&t->x, STR("k"), str_of(now, strlen(now)));
        else
            store_lacks(&t->x, STR("k"));
    }
    equal(counters(t).bypassed, bypassed + 3);
    above_must(t, STR("k"), "old"); /* there it is, and nobody sees it */
    scripted_set(how, 0);
    if (now != NULL)
        store_get(&t->x, STR("k"), str_of(now, strlen(now))); /* clears the upper tier */
    else
        store_lacks(&t->x, STR("k"));
    equal(counters(t).bypassed, bypassed + 3);
    above_must(t, STR("k"), now);
    store_clear(&t->x, STR(""));
}

static void test_upper_fails_to_remove(void **state)
{
    struct fixture *t = *state;
    dload_store_hooks hooks;
    memset(&hooks, 0, sizeof hooks);
    hooks.log = log_text;
    hooks.ctx = &t->log;
    t->t.store.hooks = &hooks;
    upper_fails_to_remove(t, DLOAD_STORE_DELETE, &t->upper.fails, NULL);
    text_must(&t->log, "tiered: the upper tier did not remove what it had to, and is passed by. "
                       "tiered: the upper tier was cleared, and is asked again. ");
    upper_fails_to_remove(t, DLOAD_STORE_DELETE, &t->upper.fails_keys, NULL);
    upper_fails_to_remove(t, DLOAD_STORE_CLEAR, &t->upper.fails, NULL);
    upper_fails_to_remove(t, DLOAD_STORE_CLEAR, &t->upper.fails_keys, NULL);
    upper_fails_to_remove(t, DLOAD_STORE_SET, &t->upper.fails, "new");
    upper_fails_to_remove(t, DLOAD_STORE_SET, &t->upper.fails_keys, "new");
    t->t.store.hooks = NULL;
}

/* A SET that fails above alone removes what was there. */
static void test_upper_fails_to_set(void **state)
{
    struct fixture *t = *state;
    store_set(&t->x, STR("k"), STR("old"), DLOAD_NEVER);
    scripted_set(&t->upper.fails, SETS);
    store_set(&t->x, STR("k"), STR("new"), DLOAD_NEVER);
    above_must(t, STR("k"), NULL);
    equal(counters(t).upper_errors, 1);
    scripted_set(&t->upper.fails, 0);
    store_get(&t->x, STR("k"), STR("new"));
    equal(counters(t).bypassed, 0);
    above_must(t, STR("k"), "new");
}

/* ---- the lower tier fails ---- */

static void test_lower_fails(void **state)
{
    struct fixture *t = *state;
    dload_store_item items[2];
    store_set(&t->x, STR("above"), STR("v"), DLOAD_NEVER);
    below_set(t, STR("below"), "w", DLOAD_NEVER);
    scripted_set(&t->lower.fails, ALL);
    t->lower.fails_as = DLOAD_ETIMEDOUT;
    items[0] = store_item(STR("below"));
    items[1] = store_item(STR("above"));
    dload_store_op op = store_op(DLOAD_STORE_GET, items, 2);
    must_ok(store_ask(&t->x, &op));
    must(items[0].status, DLOAD_ETIMEDOUT);
    assert_true(store_holds(&items[1], STR("v")));
    dload_store_release(&op);
    items[0] = store_item(STR("below"));
    must(store_one(&t->x, DLOAD_STORE_GET, &items[0]), DLOAD_ETIMEDOUT);
    equal(counters(t).lower_errors, 2);
    equal(t->t.store.stats.key_errors, 1);
    equal(t->t.store.stats.errors, 1);
    /* Whether it was changed below is not known: above it goes. */
    items[0] = store_item_set(STR("above"), STR("new"), DLOAD_NEVER);
    must(store_one(&t->x, DLOAD_STORE_SET, &items[0]), DLOAD_ETIMEDOUT);
    above_must(t, STR("above"), NULL);
    scripted_set(&t->lower.fails, 0);
    store_get(&t->x, STR("above"), STR("v"));
    above_must(t, STR("above"), "v");
    scripted_set(&t->lower.fails, ALL);
    must(store_one(&t->x, DLOAD_STORE_DELETE, &items[0]), DLOAD_ETIMEDOUT);
    above_must(t, STR("above"), NULL);
    scripted_set(&t->lower.fails, 0);
    scripted_set(&t->lower.fails_keys, SETS); /* ... and one by one */
    store_get(&t->x, STR("above"), STR("v"));
    must(store_one(&t->x, DLOAD_STORE_SET, &items[0]), DLOAD_ETIMEDOUT);
    above_must(t, STR("above"), NULL);
}

/* ---- time ---- */

static void test_time_is_for_both(void **state)
{
    struct fixture *t = *state;
    dload_store_item item = store_item(STR("k"));
    dload_store_op op = store_op(DLOAD_STORE_GET, &item, 1);
    below_set(t, STR("k"), "v", DLOAD_NEVER);
    op.timeout_ns = 30 * DLOAD_MILLISECOND;
    scripted_set(&t->upper.shuts, GETS);
    must(store_ask(&t->x, &op), DLOAD_ETIMEDOUT); /* the upper one took all of it */
    equal(n_asked(&t->lower, DLOAD_STORE_GET), 0);
    dload_store_release(&op);
    scripted_set(&t->upper.shuts, 0);
    op = store_op(DLOAD_STORE_GET, &item, 1);
    op.timeout_ns = 3600 * DLOAD_SECOND;
    must_ok(store_ask(&t->x, &op));
    equal(t->upper.last_timeout_ns, 20 * DLOAD_SECOND);
    assert_true(t->lower.last_timeout_ns <= 3600 * DLOAD_SECOND);
    assert_true(t->lower.last_timeout_ns > 3000 * DLOAD_SECOND);
    dload_store_release(&op);
    store_delete(&t->x, STR("k"));
    equal(t->lower.last_timeout_ns, 0);
}

/* ---- the asynchronous form ---- */

static void test_hits_above_are_through(void **state)
{
    struct fixture *t = *state;
    struct store_wait w = {0, DLOAD_PENDING};
    dload_store_item item = store_item(STR("k"));
    dload_store_op op = store_op(DLOAD_STORE_GET, &item, 1);
    store_set(&t->x, STR("k"), STR("v"), DLOAD_NEVER);
    op.done = store_was_done;
    op.ctx = &w;
    must_ok(dload_store_run(&t->t.store, &op)); /* and not pending */
    assert_true(store_holds(&item, STR("v")));
    dload_store_release(&op);
    store_clear(&t->x, STR(""));
    below_set(t, STR("k"), "w", DLOAD_NEVER);
    item = store_item(STR("k"));
    must(dload_store_run(&t->t.store, &op), DLOAD_PENDING);
    while (__atomic_load_n(&w.n_done, __ATOMIC_ACQUIRE) == 0)
        sleep_ms(1);
    must_ok(w.status);
    assert_true(store_holds(&item, STR("w")));
    dload_store_release(&op);
    equal(w.n_done, 1);
}

static void test_failures_with_done(void **state)
{
    test_lower_fails(state);
}

/* ---- memory, processes, configurations ---- */

static void without_memory(struct fake_env *f)
{
    dload_memory near_memory, far_memory;
    dload_tiered t;
    dload_tiered_config cfg;
    dload_store_item item = store_item_set(STR("k"), STR("v"), DLOAD_NEVER);
    dload_store_op op = store_op(DLOAD_STORE_SET, &item, 1);
    memset(&cfg, 0, sizeof cfg);
    must_ok(dload_memory_init(&near_memory, NULL));
    must_ok(dload_memory_init(&far_memory, NULL));
    cfg.upper = &near_memory.store;
    cfg.lower = &far_memory.store;
    cfg.env = &f->env;
    must_ok(dload_tiered_init(&t, &cfg));
    fake_env_arm(f);
    dload_status st = dload_store_run(&t.store, &op);
    if (st == DLOAD_OK) {
        must_ok(item.status);
        op.kind = DLOAD_STORE_GET;
        st = dload_store_run(&t.store, &op);
        dload_store_release(&op);
    }
    fake_env_disarm(f);
    must(st, f->n_failed != 0 ? DLOAD_ENOMEM : DLOAD_OK);
    equal(t.store.n_failed, 0);
    dload_tiered_destroy(&t);
    dload_memory_destroy(&near_memory);
    dload_memory_destroy(&far_memory);
}

static void test_without_memory(void **state)
{
    (void)state;
    assert_true(fail_until_ok("tiered store", without_memory) >= 2);
}

static void test_in_a_child(void **state)
{
    struct fixture *t = *state;
    int status = 0;
    store_set(&t->x, STR("k"), STR("v"), DLOAD_NEVER);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        bool good = true;
        for (uint32_t kind = 0; kind < DLOAD_STORE_N_KINDS; kind++) {
            dload_store_item item = store_item_lease(STR("k"), 1, DLOAD_SECOND);
            dload_store_op op = store_op((dload_store_kind)kind, &item, 1);
            good = good && dload_store_run(&t->t.store, &op) == DLOAD_EFORK;
        }
        _exit(good ? 0 : 1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    equal(WEXITSTATUS(status), 0);
    store_get(&t->x, STR("k"), STR("v"));
}

static void test_bad_configurations(void **state)
{
    struct fixture *t = *state;
    dload_tiered tiered;
    dload_tiered_config cfg;
    memset(&cfg, 0, sizeof cfg);
    must(dload_tiered_init(&tiered, NULL), DLOAD_EINVAL);
    cfg.upper = &t->upper.store;
    must(dload_tiered_init(&tiered, &cfg), DLOAD_EINVAL);
    cfg.lower = &t->upper.store;
    must(dload_tiered_init(&tiered, &cfg), DLOAD_EINVAL);
    cfg.lower = &t->lower.store;
    t->upper.store.flags &= ~DLOAD_STORE_TTL;
    must(dload_tiered_init(&tiered, &cfg), DLOAD_EINVAL);
    t->upper.store.flags |= DLOAD_STORE_TTL;
    cfg.name = "mine";
    must_ok(dload_tiered_init(&tiered, &cfg));
    assert_string_equal(tiered.store.name, "mine");
    equal(tiered.store.flags, t->lower.store.flags);
    dload_tiered_destroy(&tiered);
}

#define OWN(body) cmocka_unit_test_setup_teardown(body, open_patient, close_tiers)

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORE_CASES("tiered", open_blocking, close_tiers),
        STORE_CASES("tiered, with done", open_async, close_tiers),
        OWN(test_reads_fill_above),
        cmocka_unit_test_setup_teardown(test_lives_above, open_short, close_tiers),
        OWN(test_writes_go_below_first),
        OWN(test_leases_are_the_lower_ones),
        OWN(test_upper_fails_to_read),
        OWN(test_upper_fails_to_remove),
        OWN(test_upper_fails_to_set),
        OWN(test_lower_fails),
        OWN(test_time_is_for_both),
        cmocka_unit_test_setup_teardown(test_hits_above_are_through, open_patient_async,
                                        close_tiers),
        cmocka_unit_test_setup_teardown(test_failures_with_done, open_patient_async, close_tiers),
        cmocka_unit_test(test_without_memory),
        OWN(test_in_a_child),
        OWN(test_bad_configurations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
