/* The Redis Cluster store on three real masters: what every store must do, who is asked what, and what becomes of a
 * node's keys when it fails. */
/* links: hiredis */
/* tsan */
#define _POSIX_C_SOURCE 200809L
#define DLOAD_STORE     1
#include "dataloader.h"
#include "adapters/dataloader_redis_cluster.h"

#include "support.h"
#include "servers/redis_server.h"
#include "stores/cases.h"
#include "test_redis_cluster.h"

/* ---- the table of all stores ---- */

static void stall(struct store_case *x, bool on)
{
    (void)x;
    for (size_t i = 0; i < N_NODES; i++)
        (void)kill(nodes[i].pid, on ? SIGSTOP : SIGCONT);
}

/* Nothing that is logged has the password in it. */
static size_t n_logged;

static void log_it(void *ctx, const char *store, const char *text)
{
    (void)ctx;
    (void)__atomic_add_fetch(&n_logged, 1, __ATOMIC_RELAXED);
    if (strcmp(store, "redis-cluster") != 0 || strstr(text, "canary") != NULL ||
        strncmp(text, "redis: ", 7) != 0)
        abort();
}

static const dload_store_hooks hooks = {NULL, log_it, NULL};

static size_t n_told; /* how often on_topology was called */

static void told(void *ctx)
{
    (void)ctx;
    (void)__atomic_add_fetch(&n_told, 1, __ATOMIC_RELAXED);
}

static struct store_case shared_case;

static int up_with(void **state, bool ttls)
{
    dload_redis_cluster_config cfg;
    memset(&cfg, 0, sizeof cfg);
    cfg.node.ttls = ttls;
    cfg.node.hooks = &hooks;
    cfg.on_topology = told;
    n_told = 0;
    open_cluster(&cfg);
    memset(&shared_case, 0, sizeof shared_case);
    shared_case.s = &cluster.store;
    shared_case.stall = stall;
    *state = &shared_case;
    return 0;
}

static int up_plain(void **state)
{
    return up_with(state, false);
}

static int up_with_ttls(void **state)
{
    return up_with(state, true);
}

static int down(void **state)
{
    (void)state;
    dload_redis_cluster_end(&cluster);
    return 0;
}

/* ---- where keys are ---- */

/* Slots as the server counts them, of names with anything in them. */
static void test_redis_cluster_slots_agree(void **state)
{
    static const char alphabet[] = {'{', '}', 'a', '%', '\n', 'b'};
    uint64_t seed = test_seed("slots of names");
    (void)state;
    for (size_t i = scaled(300); i > 0; i--) {
        char name[16], key[16], stored[64];
        const size_t n = (size_t)rng_below(&seed, 12);
        for (size_t k = 0; k < n; k++)
            name[k] = alphabet[rng_below(&seed, sizeof alphabet)];
        name[n] = '\0';
        memcpy(key, name, sizeof key);
        assert_int_equal(number_in(ask_node(0, 3, "CLUSTER", "KEYSLOT", name), NULL),
                         dload_redis_slot(name, n));
        /* An item's slot is that of its name, and of its lease's. */
        dload_store_item item = item_of(key);
        const dload_str prefix = cluster.node.prefix;
        size_t n_bytes = dload_redis_i_name_bytes(prefix, key, n);
        stored[0] = '{';
        dload_redis_i_put_name(stored + 1, n_bytes, prefix, key, n);
        memcpy(stored + 1 + n_bytes, DLOAD_REDIS_I_BEHIND, DLOAD_REDIS_I_BEHIND_BYTES);
        const uint32_t slot = dload_redis_cluster_i_slot(prefix, &item);
        assert_int_equal(slot, dload_redis_slot(stored + 1, n_bytes));
        assert_int_equal(slot, dload_redis_slot(stored, 1 + n_bytes + DLOAD_REDIS_I_BEHIND_BYTES));
    }
}

/* Each node is asked for its own keys, through one connection, and once for the map. */
static void test_redis_cluster_split(void **state)
{
    enum { N = 3000 };
    static char keys[N][16];
    static dload_store_item items[N];
    long long n_all = 0, n_connections[N_NODES];
    (void)state;
    for (size_t i = 0; i < N_NODES; i++) {
        freeReplyObject(ask_node(i, 1, "FLUSHALL"));
        freeReplyObject(ask_node(i, 2, "CONFIG", "RESETSTAT"));
        n_connections[i] =
            number_in(ask_node(i, 2, "INFO", "stats"), "total_connections_received:");
    }
    for (size_t i = 0; i < N; i++) {
        (void)snprintf(keys[i], sizeof keys[i], "%zu", i);
        items[i] = item_of(keys[i]);
        items[i].value = keys[i];
        items[i].value_bytes = strlen(keys[i]);
        items[i].ttl_ns = DLOAD_NEVER;
    }
    must_ok(run(DLOAD_STORE_SET, items, N));
    dload_store_op op = op_of(DLOAD_STORE_GET, items, N);
    must_ok(dload_store_run(&cluster.store, &op));
    for (size_t i = 0; i < N; i++) {
        must_ok(items[i].status);
        assert_int_equal(items[i].value_bytes, strlen(keys[i]));
        assert_memory_equal(items[i].value, keys[i], items[i].value_bytes);
    }
    dload_store_release(&op);
    for (size_t i = 0; i < N_NODES; i++) {
        const long long n = keys_of(i);
        assert_true(n > N / 5);
        n_all += n;
        assert_int_equal(commands_of(i, "mget"), n);
        assert_int_equal(commands_of(i, "set"), n);
        assert_int_equal(number_in(ask_node(i, 2, "INFO", "stats"), "total_connections_received:"),
                         n_connections[i] + 1);
    }
    assert_int_equal(n_all, N);
    assert_int_equal(cluster.n_renewed, 1);
    assert_int_equal(cluster.n_moved + cluster.n_asked, 0);
    dload_store_item all = item_of("");
    must_ok(run(DLOAD_STORE_CLEAR, &all, 1));
    must_ok(all.status);
    for (size_t i = 0; i < N_NODES; i++)
        assert_int_equal(keys_of(i), 0);
}

/* A clear leaves what is not ours, on every node. */
static void test_redis_cluster_clears_its_own(void **state)
{
    dload_store_item all = item_of("");
    (void)state;
    for (size_t i = 0; i < N_NODES; i++) {
        char key[24], name[48];
        key_on(i, 0, key, sizeof key);
        (void)snprintf(name, sizeof name, "{dload:%s}x", key);
        freeReplyObject(ask_node(i, 3, "SET", name, "another program's"));
        assert_int_equal(keys_of(i), 1);
    }
    must_ok(run(DLOAD_STORE_CLEAR, &all, 1));
    must_ok(all.status);
    for (size_t i = 0; i < N_NODES; i++) {
        assert_int_equal(keys_of(i), 1);
        freeReplyObject(ask_node(i, 1, "FLUSHALL"));
    }
}

/* Scripts are told to each node that does not know them, once. */
static void test_redis_cluster_scripts(void **state)
{
    enum { EACH = 5 };
    char keys[N_NODES * EACH][24];
    dload_store_item items[N_NODES * EACH];
    (void)state;
    for (size_t i = 0; i < COUNT(keys); i++)
        key_on(i % N_NODES, i / N_NODES, keys[i], sizeof keys[i]);
    for (size_t i = 0; i < N_NODES; i++)
        freeReplyObject(ask_node(i, 2, "SCRIPT", "FLUSH"));
    for (int round = 0; round < 2; round++) {
        long long n_texts[N_NODES];
        for (size_t i = 0; i < N_NODES; i++)
            n_texts[i] = commands_of(i, "eval");
        for (size_t i = 0; i < COUNT(items); i++) {
            items[i] = item_of(keys[i]);
            items[i].ttl_ns = 600 * DLOAD_SECOND;
            items[i].lease[0] = 1;
        }
        must_ok(run(DLOAD_STORE_LEASE, items, COUNT(items)));
        for (size_t i = 0; i < COUNT(items); i++)
            must(items[i].status, DLOAD_MISSING);
        for (size_t i = 0; i < N_NODES && round == 1; i++)
            assert_int_equal(commands_of(i, "eval"), n_texts[i]);
        must_ok(run(DLOAD_STORE_DROP, items, COUNT(items)));
    }
}

/* ---- who may be asked ---- */

static void must_not_open(const char *const *urls, size_t n)
{
    dload_redis_cluster_config cfg;
    char why[160] = "";
    memset(&cfg, 0, sizeof cfg);
    cfg.urls = urls;
    cfg.n_urls = n;
    must(dload_redis_cluster_init(&cluster, &cfg, why, sizeof why), DLOAD_EINVAL);
    assert_true(why[0] != '\0');
    assert_null(strstr(why, "canary"));
}

static void test_redis_cluster_urls(void **state)
{
    static const char *const wrong[] = {"unix:///tmp/x", "redis://h/1", "http://h",
                                        "redis://:canary@h:0", "redis://a\nb"};
    const char *second[] = {"redis://h", NULL};
    (void)state;
    for (size_t i = 0; i < COUNT(wrong); i++) {
        must_not_open(&wrong[i], 1);
        second[1] = wrong[i];
        must_not_open(second, 2);
    }
    must_not_open(wrong, 0);
    must_not_open(NULL, 1);
}

/* Seeds that nobody listens at, that are no cluster, and one that is right: one is enough. */
static void test_redis_cluster_seeds(void **state)
{
    struct redis_server single;
    char nobody[64], key[24];
    dload_redis_cluster_config cfg;
    (void)state;
    memset(&single, 0, sizeof single);
    assert_true(redis_server_start(&single));
    (void)snprintf(nobody, sizeof nobody, "redis://127.0.0.1:%d", server_free_port());
    char first[96];
    (void)snprintf(first, sizeof first, "redis://:canary@127.0.0.1:%d", server_free_port());
    const char *const urls[] = {first, nobody, single.url, nodes[2].url};
    memset(&cfg, 0, sizeof cfg);
    cfg.urls = urls;
    cfg.n_urls = 4;
    must_ok(dload_redis_cluster_init(&cluster, &cfg, NULL, 0));
    for (size_t i = 0; i < N_NODES; i++) {
        dload_store_item item;
        key_on(i, 0, key, sizeof key);
        item = item_of(key);
        must_ok(run(DLOAD_STORE_GET, &item, 1));
        must(item.status, DLOAD_MISSING);
    }
    dload_redis_cluster_end(&cluster);

    /* Without the right one every request fails as a whole, and soon at once. */
    cfg.n_urls = 3;
    must_ok(dload_redis_cluster_init(&cluster, &cfg, NULL, 0));
    cluster.store.break_ns = cluster.store.break_max_ns = 60 * DLOAD_SECOND;
    for (size_t i = 0; i < 8; i++) {
        dload_store_item item = item_of("k");
        must(run(DLOAD_STORE_GET, &item, 1), DLOAD_EBACKEND);
    }
    assert_true(cluster.store.stats.refused != 0);
    dload_redis_cluster_end(&cluster);
    redis_server_stop(&single);
}

/* ---- nodes that fail ---- */

static dload_store_item one_of_each[N_NODES];
static char key_of_each[N_NODES][24];

static dload_status get_one_of_each(uint64_t timeout_ns)
{
    for (size_t i = 0; i < N_NODES; i++) {
        key_on(i, 0, key_of_each[i], sizeof key_of_each[i]);
        one_of_each[i] = item_of(key_of_each[i]);
    }
    dload_store_op op = op_of(DLOAD_STORE_GET, one_of_each, N_NODES);
    op.timeout_ns = timeout_ns;
    dload_status st = dload_store_run(&cluster.store, &op);
    dload_store_release(&op);
    return st;
}

static void set_one_of_each(void)
{
    (void)get_one_of_each(0);
    for (size_t i = 0; i < N_NODES; i++) {
        one_of_each[i].value = "v";
        one_of_each[i].value_bytes = 1;
        one_of_each[i].ttl_ns = DLOAD_NEVER;
    }
    must_ok(run(DLOAD_STORE_SET, one_of_each, N_NODES));
    for (size_t i = 0; i < N_NODES; i++)
        must_ok(one_of_each[i].status);
}

/* A node that says nothing: its keys are late, those of the others have their answers, and afterwards it is as
 * before. */
static void test_redis_cluster_stopped_node(void **state)
{
    (void)state;
    set_one_of_each();
    (void)kill(nodes[1].pid, SIGSTOP);
    for (size_t i = 0; i < 6; i++) {
        must_ok(get_one_of_each(300 * DLOAD_MILLISECOND));
        must_ok(one_of_each[0].status);
        must_ok(one_of_each[2].status);
        assert_true(one_of_each[1].status == DLOAD_ETIMEDOUT ||
                    one_of_each[1].status == DLOAD_EBACKEND);
    }
    (void)kill(nodes[1].pid, SIGCONT);
    for (size_t i = 0;; i++) {
        must_ok(get_one_of_each(0));
        must_ok(one_of_each[0].status);
        if (one_of_each[1].status == DLOAD_OK)
            break;
        assert_true(i < 500);
        sleep_ms(20);
    }
}

/* kill -9: its keys fail, at once after a while; a clear is not done; others go on. When it is there again all is
 * well, with nothing in it. */
static void test_redis_cluster_killed_node(void **state)
{
    dload_store_item all = item_of("");
    (void)state;
    set_one_of_each();
    redis_server_kill(&nodes[1]);
    for (size_t i = 0; i < 20; i++) {
        must_ok(get_one_of_each(0));
        must_ok(one_of_each[0].status);
        must_ok(one_of_each[2].status);
        must(one_of_each[1].status, DLOAD_EBACKEND);
    }
    /* Also alone: the others are well. */
    for (size_t i = 0; i < 8; i++) {
        dload_store_item item = item_of(key_of_each[1]);
        must_ok(run(DLOAD_STORE_GET, &item, 1));
        must(item.status, DLOAD_EBACKEND);
    }
    assert_true(cluster.store.stats.refused == 0);
    must_ok(run(DLOAD_STORE_CLEAR, &all, 1));
    must(all.status, DLOAD_EBACKEND);
    must_ok(get_one_of_each(0));
    must(one_of_each[0].status, DLOAD_MISSING); /* there it was done */
    assert_true(redis_server_start(&nodes[1]));
    for (size_t i = 0;; i++) {
        (void)get_one_of_each(0);
        if (one_of_each[1].status == DLOAD_MISSING)
            break;
        assert_true(i < 500);
        sleep_ms(20);
    }
    set_one_of_each();
    must_ok(get_one_of_each(0));
    must_ok(one_of_each[1].status);
}

/* Another node has the dead one's slot: found by the new map, in the same request. */
static void test_redis_cluster_taken_over(void **state)
{
    (void)state;
    set_one_of_each();
    const uint32_t slot = slot_of_key(key_of_each[1]);
    redis_server_kill(&nodes[1]);
    freeReplyObject(ask_node(0, 2, "CLUSTER", "BUMPEPOCH"));
    set_slot(0, slot, "NODE", 0);
    set_slot(2, slot, "NODE", 0);
    sleep_ms(100); /* after the pause since the map was asked for */
    const uint64_t n_changed = cluster.n_changed;
    must_ok(get_one_of_each(0));
    must_ok(one_of_each[0].status);
    must_ok(one_of_each[2].status);
    must(one_of_each[1].status, DLOAD_MISSING);
    assert_int_equal(cluster.n_changed, n_changed + 1);
    assert_int_equal(n_told, 1);
}

/* Nobody is there: requests fail as a whole, for the breaker to see, then at once. */
static void test_redis_cluster_all_killed(void **state)
{
    (void)state;
    (void)get_one_of_each(0);
    for (size_t i = 0; i < N_NODES; i++)
        redis_server_kill(&nodes[i]);
    cluster.store.break_ns = cluster.store.break_max_ns = 60 * DLOAD_SECOND;
    for (size_t i = 0; i < 12; i++)
        assert_true(get_one_of_each(0) < 0);
    assert_true(cluster.store.stats.refused != 0);
    assert_true(n_logged != 0);
}

/* ---- memory, processes ---- */

static void body_of_requests(struct fake_env *f)
{
    dload_redis_cluster_config cfg;
    const char *const urls[] = {nodes[0].url};
    dload_store_item items[2] = {item_of("a{"), item_of("b")};
    memset(&cfg, 0, sizeof cfg);
    cfg.urls = urls;
    cfg.n_urls = 1;
    cfg.node.server.env = &f->env;
    cfg.node.ttls = true;
    fake_env_arm(f);
    if (dload_redis_cluster_init(&cluster, &cfg, NULL, 0) == DLOAD_OK) {
        static const dload_store_kind kinds[] = {DLOAD_STORE_SET,   DLOAD_STORE_GET,
                                                 DLOAD_STORE_CLEAR, DLOAD_STORE_LEASE,
                                                 DLOAD_STORE_FILL,  DLOAD_STORE_DELETE};
        for (size_t k = 0; k < COUNT(kinds); k++) {
            for (size_t i = 0; i < 2; i++) {
                items[i].value = "v";
                items[i].value_bytes = 1;
                items[i].ttl_ns = DLOAD_SECOND;
                items[i].lease[0] = 5;
            }
            dload_status st = run(kinds[k], items, kinds[k] == DLOAD_STORE_CLEAR ? 1 : 2);
            assert_true(st == DLOAD_OK || f->n_failed != 0);
        }
        dload_redis_cluster_end(&cluster);
    }
    fake_env_disarm(f);
}

static void test_redis_cluster_no_memory(void **state)
{
    (void)state;
    assert_true(fail_until_ok("requests to a cluster", body_of_requests) != 0);
}

static void test_redis_cluster_forked(void **state)
{
    (void)state;
    (void)get_one_of_each(0);
    const pid_t pid = fork();
    if (pid == 0) {
        const bool ok = get_one_of_each(0) == DLOAD_EFORK;
        dload_redis_cluster_end(&cluster);
        _exit(ok ? 0 : 1);
    }
    int status = -1;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    must_ok(get_one_of_each(0)); /* the child said nothing to our nodes */
    must(one_of_each[1].status, DLOAD_MISSING);
}

static int start_with_password(void **state)
{
    for (size_t i = 0; i < N_NODES; i++)
        nodes[i].password = "canary";
    return start_nodes(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORE_CASES("cluster", up_plain, down),
        STORE_CASES("cluster with times", up_with_ttls, down),
        cmocka_unit_test_setup_teardown(test_redis_cluster_slots_agree, up_plain, down),
        cmocka_unit_test_setup_teardown(test_redis_cluster_split, up_plain, down),
        cmocka_unit_test_setup_teardown(test_redis_cluster_clears_its_own, up_plain, down),
        cmocka_unit_test_setup_teardown(test_redis_cluster_scripts, up_plain, down),
        cmocka_unit_test(test_redis_cluster_urls),
        cmocka_unit_test(test_redis_cluster_seeds),
        cmocka_unit_test(test_redis_cluster_no_memory),
        cmocka_unit_test_setup_teardown(test_redis_cluster_forked, up_plain, down),
        cmocka_unit_test_setup_teardown(test_redis_cluster_stopped_node, up_plain, down),
        cmocka_unit_test_setup_teardown(test_redis_cluster_killed_node, up_plain, down),
        cmocka_unit_test_setup_teardown(test_redis_cluster_taken_over, up_plain, down),
        cmocka_unit_test_setup_teardown(test_redis_cluster_all_killed, up_plain, down), /* last */
    };
    int failed = cmocka_run_group_tests(tests, start_with_password, stop_nodes);
    close_aside();
    return failed;
}
