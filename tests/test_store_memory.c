/* The memory store: what every store must do, its bounds, and a store's counters as text. */
/* tsan */
#define DLOAD_STORE 1
#include "dataloader.h"
#include "adapters/dataloader_memory.h"
#include "support.h"

#include <sys/wait.h>
#include <unistd.h>

#include "stores/cases.h"

struct fixture {
    struct store_case x; /* first: *state is this one */
    struct fake_env f;
    uint64_t now_ns; /* atomic */
    dload_memory m;
};

/* Of the clock that is moved: several threads read it. */
static uint64_t read_clock(void *ctx)
{
    struct fake_env *f = ctx;
    struct fixture *t = (struct fixture *)((char *)f - offsetof(struct fixture, f));
    return __atomic_load_n(&t->now_ns, __ATOMIC_RELAXED);
}

static void pass(struct store_case *x, uint64_t span_ns)
{
    struct fixture *t = x->ctx;
    (void)__atomic_add_fetch(&t->now_ns, span_ns, __ATOMIC_RELAXED);
}

static int open_as(void **state, bool manual)
{
    struct fixture *t = calloc(1, sizeof *t);
    dload_memory_config cfg;
    memset(&cfg, 0, sizeof cfg);
    fake_env_init_real(&t->f);
    t->now_ns = DLOAD_SECOND;
    if (manual)
        t->f.env.now = read_clock;
    cfg.env = &t->f.env;
    if (dload_memory_init(&t->m, &cfg) != DLOAD_OK)
        return -1;
    t->x.s = &t->m.store;
    t->x.ctx = t;
    t->x.pass = manual ? pass : NULL;
    t->x.slack_ns = 3 * DLOAD_MILLISECOND;
    *state = t;
    return 0;
}

static int open_real(void **state)
{
    return open_as(state, false);
}

static int open_manual(void **state)
{
    return open_as(state, true);
}

static int close_memory(void **state)
{
    struct fixture *t = *state;
    dload_memory_destroy(&t->m);
    fake_env_check(&t->f);
    free(t);
    return 0;
}

/* ---- bounds ---- */

/* Never more than it may keep, whatever comes; what is used stays. */
static void test_bounded(void **state)
{
    struct fake_env f;
    dload_memory m;
    dload_memory_config cfg;
    struct store_case x;
    struct store_bytes b = {{NULL}, 0};
    uint64_t seed = test_seed("a bounded store");
    (void)state;
    memset(&cfg, 0, sizeof cfg);
    memset(&x, 0, sizeof x);
    fake_env_init_real(&f);
    cfg.env = &f.env;
    cfg.max_bytes = 200000;
    cfg.max_entries = 500;
    must_ok(dload_memory_init(&m, &cfg));
    size_t empty_bytes = f.live_bytes;
    x.s = &m.store;
    store_set(&x, STR("used"), STR("v"), DLOAD_NEVER);
    char *value = store_room(&b, 5000);
    memset(value, 1, 5000);
    for (uint64_t i = 0; i < 3000; i++) {
        store_set(&x, str_of(&i, 8), str_of(value, (size_t)rng_below(&seed, 5000)), DLOAD_NEVER);
        store_get(&x, STR("used"), STR("v"));
        assert_true(dload_memory_i_entries_cache_weight(&m.entries) <= 200000);
        assert_true(f.live_bytes - empty_bytes <= 220000); /* and that is what it takes */
    }
    for (uint64_t i = 0; i < 3000; i++)
        store_set(&x, str_of(&i, 8), STR(""), DLOAD_NEVER);
    assert_true(dload_memory_i_entries_cache_len(&m.entries) <= 500);
    store_free_bytes(&b);
    dload_memory_destroy(&m);
    fake_env_check(&f);
}

/* What cannot get in is that key's trouble, and does not leave an older value behind. */
static void test_too_large(void **state)
{
    struct fixture *t = *state;
    struct store_bytes b = {{NULL}, 0};
    enum { LARGE = (8 << 20) + 1, LONG = 200 << 10 };
    dload_store_item items[3];
    char *large = store_room(&b, LARGE);
    memset(large, 1, LARGE);
    store_set(&t->x, STR("k"), STR("old"), DLOAD_NEVER);
    items[0] = store_item_set(STR("k"), str_of(large, LARGE), DLOAD_NEVER);
    items[1] = store_item_set(str_of(large, LONG), STR("v"), DLOAD_NEVER);
    items[2] = store_item_set(STR("good"), STR("v"), DLOAD_NEVER);
    store_must(&t->x, DLOAD_STORE_SET, items, 3);
    must(items[0].status, DLOAD_ETOOBIG);
    must(items[1].status, DLOAD_ETOOBIG);
    must_ok(items[2].status);
    store_lacks(&t->x, STR("k"));
    items[0] = store_item(str_of(large, LONG));
    items[1] = store_item(STR("good"));
    store_must(&t->x, DLOAD_STORE_GET, items, 2);
    must(items[0].status, DLOAD_ETOOBIG);
    must_ok(items[1].status);
    equal(t->m.store.stats.key_errors, 3);
    store_set(&t->x, STR("k"), STR("here"), DLOAD_NEVER);
    items[0] = store_item_set(STR("k"), STR("v"), 0); /* no life at all */
    items[1] = store_item_set(STR("k"), str_of(NULL, 1), DLOAD_NEVER);
    items[1].value_bytes = 1;
    store_must(&t->x, DLOAD_STORE_SET, items, 2);
    must(items[0].status, DLOAD_EINVAL);
    must(items[1].status, DLOAD_EINVAL);
    store_get(&t->x, STR("k"), STR("here")); /* a caller's mistake changes nothing */
    store_free_bytes(&b);
}

/* Leases are bounded as well: the oldest are lost, and say so. */
static void test_leases_bounded(void **state)
{
    dload_memory m;
    dload_memory_config cfg;
    struct store_case x;
    size_t n_lost = 0;
    (void)state;
    memset(&cfg, 0, sizeof cfg);
    memset(&x, 0, sizeof x);
    cfg.max_leases = 64;
    must_ok(dload_memory_init(&m, &cfg));
    x.s = &m.store;
    for (uint64_t i = 0; i < 1000; i++)
        must(store_lease(&x, str_of(&i, 8), 1, STORE_HOLD_NS), DLOAD_MISSING);
    for (uint64_t i = 0; i < 1000; i++) {
        dload_status st = store_fill(&x, str_of(&i, 8), 1, STR("v"));
        n_lost += st == DLOAD_ELOCK;
        if (st == DLOAD_OK)
            store_get(&x, str_of(&i, 8), STR("v"));
        else
            store_lacks(&x, str_of(&i, 8));
    }
    equal(n_lost, 1000 - 64);
    equal(m.store.stats.leases_lost, 1000 - 64);
    dload_memory_destroy(&m);
}

static void without_memory(struct fake_env *f)
{
    dload_memory m;
    dload_memory_config cfg;
    dload_store_item item = store_item_set(STR("k"), STR("v"), DLOAD_NEVER);
    dload_store_op op = store_op(DLOAD_STORE_SET, &item, 1);
    memset(&cfg, 0, sizeof cfg);
    cfg.env = &f->env;
    fake_env_arm(f);
    dload_status st = dload_memory_init(&m, &cfg);
    if (st == DLOAD_OK) {
        st = dload_store_run(&m.store, &op);
        st = st == DLOAD_OK ? item.status : st;
        dload_status set = st;
        if (st == DLOAD_OK) {
            op.kind = DLOAD_STORE_GET;
            st = dload_store_run(&m.store, &op);
            dload_store_release(&op);
        }
        fake_env_disarm(f);
        op.kind = DLOAD_STORE_GET; /* and it works again, or was never told */
        must_ok(dload_store_run(&m.store, &op));
        must(item.status, set == DLOAD_OK ? DLOAD_OK : DLOAD_MISSING);
        dload_store_release(&op);
        dload_memory_destroy(&m);
    }
    fake_env_disarm(f);
    must(st, f->n_failed != 0 ? DLOAD_ENOMEM : DLOAD_OK);
}

static void test_without_memory(void **state)
{
    (void)state;
    assert_true(fail_until_ok("memory store", without_memory) > 4);
}

/* What could not be stored leaves nothing older behind. */
static void test_no_memory_for_a_newer_value(void **state)
{
    struct fixture *t = *state;
    dload_store_item item = store_item_set(STR("k"), STR("new"), DLOAD_NEVER);
    store_set(&t->x, STR("k"), STR("old"), DLOAD_NEVER);
    t->f.fail_at = 1;
    fake_env_arm(&t->f);
    must(store_one(&t->x, DLOAD_STORE_SET, &item), DLOAD_ENOMEM);
    fake_env_disarm(&t->f);
    store_lacks(&t->x, STR("k"));
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
            good = good && dload_store_run(&t->m.store, &op) == DLOAD_EFORK;
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
    dload_memory m;
    dload_memory_config cfg;
    (void)state;
    memset(&cfg, 0, sizeof cfg);
    cfg.max_entries = DLOAD_UNBOUNDED;
    must(dload_memory_init(&m, &cfg), DLOAD_EINVAL);
    cfg.max_entries = 0;
    cfg.max_leases = DLOAD_NO_CACHE;
    must(dload_memory_init(&m, &cfg), DLOAD_EINVAL);
    cfg.max_leases = 0;
    cfg.max_key_bytes = (size_t)1 << 30;
    must(dload_memory_init(&m, &cfg), DLOAD_EINVAL);
}

/* ---- counters as text ---- */

static void test_prometheus(void **state)
{
    struct fixture *t = *state;
    static char text[4096], cut[4096];
    size_t n = 0, again = 0;
    dload_store_item items[3];
    store_set(&t->x, STR("a"), STR("1"), DLOAD_NEVER);
    for (size_t i = 0; i < 3; i++)
        items[i] = store_item(i == 0 ? STR("a") : STR("absent"));
    store_must(&t->x, DLOAD_STORE_GET, items, 3);
    t->m.store.stats.run_ns = 12345;
    must_ok(dload_store_prometheus(&t->m.store, "l\"1\"\n", text, sizeof text, &n));
    equal(strlen(text), n);
    static const char *const lines[] = {
        "# TYPE dataloader_store_requests_total counter\n",
        "dataloader_store_requests_total{store=\"l\\\"1\\\"\\n\",kind=\"get\"} 1\n",
        "dataloader_store_requests_total{store=\"l\\\"1\\\"\\n\",kind=\"drop\"} 0\n",
        "dataloader_store_keys_total{store=\"l\\\"1\\\"\\n\",kind=\"get\"} 3\n",
        "dataloader_store_keys_total{store=\"l\\\"1\\\"\\n\",kind=\"set\"} 1\n",
        "dataloader_store_hits_total{store=\"l\\\"1\\\"\\n\"} 1\n",
        "dataloader_store_misses_total{store=\"l\\\"1\\\"\\n\"} 2\n",
        "dataloader_store_run_nanoseconds_total{store=\"l\\\"1\\\"\\n\"} 12345\n",
        "# TYPE dataloader_store_breaker_open gauge\n",
        "dataloader_store_breaker_open{store=\"l\\\"1\\\"\\n\"} 0\n",
    };
    for (size_t i = 0; i < COUNT(lines); i++) {
        if (strstr(text, lines[i]) == NULL)
            fail_msg("no line %s in\n%s", lines[i], text);
    }
    must(dload_store_prometheus(&t->m.store, "l\"1\"\n", NULL, 0, &again), DLOAD_ETOOBIG);
    equal(again, n);
    must(dload_store_prometheus(&t->m.store, "l\"1\"\n", cut, 100, NULL), DLOAD_ETOOBIG);
    equal(strlen(cut), 99);
    assert_memory_equal(cut, text, 99);
    must(dload_store_prometheus(&t->m.store, "l\"1\"\n", cut, n, NULL), DLOAD_ETOOBIG);
    must_ok(dload_store_prometheus(&t->m.store, "l\"1\"\n", cut, n + 1, NULL));
    assert_string_equal(cut, text);
    t->m.store.closed_until_ns = dload_i_now(t->m.store.env) + DLOAD_SECOND;
    must_ok(dload_store_prometheus(&t->m.store, NULL, text, sizeof text, NULL));
    assert_non_null(strstr(text, "dataloader_store_breaker_open{store=\"memory\"} 1\n"));
    t->m.store.closed_until_ns = 0;
}

#define OWN(body) cmocka_unit_test_setup_teardown(body, open_manual, close_memory)

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORE_CASES("memory", open_real, close_memory),
        STORE_CASES("memory, by a clock that is moved", open_manual, close_memory),
        cmocka_unit_test(test_bounded),
        OWN(test_too_large),
        cmocka_unit_test(test_leases_bounded),
        cmocka_unit_test(test_without_memory),
        OWN(test_no_memory_for_a_newer_value),
        OWN(test_in_a_child),
        cmocka_unit_test(test_bad_configurations),
        OWN(test_prometheus),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
