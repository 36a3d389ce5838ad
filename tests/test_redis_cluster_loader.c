/* Loaders whose second level is a Redis Cluster: what one fetched the other finds, slots that move make them forget, and a node
 * that is dead costs them nothing but fetches. */
/* locks: PTHREAD */
/* links: hiredis */
/* tsan */
#define _POSIX_C_SOURCE 200809L
#define DLOAD_STORE     1
#define DLOAD_LOCK      TEST_LOCK
#define DLOAD_NAME      users
#define DLOAD_KEY       uint64_t
#define DLOAD_VALUE     uint64_t
#include "dataloader.h"
#include "adapters/dataloader_redis_cluster.h"

#include "support.h"
#include "servers/redis_server.h"
#include "test_redis_cluster.h"

static size_t n_fetched; /* keys; atomic */

static dload_status fetch(users_batch *b)
{
    (void)__atomic_add_fetch(&n_fetched, b->n, __ATOMIC_RELAXED);
    for (size_t i = 0; i < b->n; i++) {
        const uint64_t value = 3 * b->keys[i];
        dload_status st = users_batch_set(b, i, &value);
        if (st != DLOAD_OK)
            return st;
    }
    return DLOAD_OK;
}

static users here;
static dload_sink sink;

static void open_loader(users *l)
{
    users_config cfg = users_config_default();
    cfg.fetch = fetch;
    cfg.capacity = 10000;
    cfg.store = &cluster.store;
    must_ok(users_init(l, &cfg));
}

static int up(void **state)
{
    dload_redis_cluster_config cfg;
    dload_store_item all = item_of("");
    (void)state;
    memset(&cfg, 0, sizeof cfg);
    cfg.on_topology = dload_redis_cluster_tell;
    cfg.topology_ctx = &sink;
    memset(&sink, 0, sizeof sink);
    open_cluster(&cfg);
    must_ok(run(DLOAD_STORE_CLEAR, &all, 1));
    must_ok(all.status);
    open_loader(&here);
    n_fetched = 0;
    return 0;
}

static int down(void **state)
{
    (void)state;
    must_ok(users_destroy(&here));
    dload_redis_cluster_end(&cluster);
    return 0;
}

static void load(users *l, uint64_t key)
{
    uint64_t value = 0;
    must_ok(users_load(l, key, &value));
    assert_int_equal(value, 3 * key);
}

static bool cached(uint64_t key)
{
    dload_state state = DLOAD_STATE_ABSENT;
    uint64_t value = 0;
    return users_peek(&here, key, &state, &value) == DLOAD_OK && state == DLOAD_STATE_READY;
}

/* A key of the loader whose slot the node has. */
static uint64_t user_on(size_t node, size_t number)
{
    for (uint64_t user = 0;; user++) {
        char key[32];
        (void)snprintf(key, sizeof key, "users:%llu", (unsigned long long)user);
        const uint32_t slot = slot_of_key(key);
        if (slot >= node * 16384 / N_NODES && slot < (node + 1) * 16384 / N_NODES && number-- == 0)
            return user;
    }
}

static uint32_t slot_of_user(uint64_t user)
{
    char key[32];
    (void)snprintf(key, sizeof key, "users:%llu", (unsigned long long)user);
    return slot_of_key(key);
}

static void test_redis_cluster_loader_shares(void **state)
{
    enum { N = 500 };
    static uint64_t keys[N], values[N];
    static dload_status st[N];
    users there;
    (void)state;
    for (size_t i = 0; i < N; i++)
        keys[i] = i;
    must_ok(users_load_many(&here, keys, N, values, st));
    assert_int_equal(n_fetched, N);
    open_loader(&there);
    must_ok(users_load_many(&there, keys, N, values, st));
    for (size_t i = 0; i < N; i++) {
        must_ok(st[i]);
        assert_int_equal(values[i], 3 * i);
    }
    assert_int_equal(n_fetched, N);
    for (size_t i = 0; i < N_NODES; i++)
        assert_true(keys_of(i) > N / 6);
    must_ok(users_destroy(&there));
}

/* What it has was told by nodes that may have nothing to say any more. */
static void test_redis_cluster_loader_forgets(void **state)
{
    const uint64_t stays = user_on(0, 0), moves = user_on(1, 0);
    const uint32_t slot = slot_of_user(moves);
    (void)state;
    must_ok(users_sink(&here, &sink));
    load(&here, stays);
    assert_false(cached(stays)); /* it hears nothing yet */
    sink.up(sink.ctx);
    load(&here, stays);
    assert_true(cached(stays));
    load(&here, user_on(2, 0)); /* nothing moved */
    assert_true(cached(stays));
    move_begin(slot, 1, 2);
    load(&here, user_on(1, 1));
    assert_true(cached(stays));
    move_end(slot, 1, 2);
    load(&here, moves);
    assert_false(cached(stays));
    assert_false(cached(moves)); /* it was on its way meanwhile */
    const size_t n = n_fetched;
    load(&here, stays); /* the cluster has it */
    assert_int_equal(n_fetched, n);
    load(&here, moves);
    assert_true(cached(stays) && cached(moves));
    move_begin(slot, 2, 1);
    move_end(slot, 2, 1);
}

/* Everybody's answer is there, whoever is dead. */
static void test_redis_cluster_loader_goes_on(void **state)
{
    (void)state;
    for (size_t i = 0; i < 5; i++)
        load(&here, user_on(i % N_NODES, i));
    redis_server_kill(&nodes[1]);
    n_fetched = 0;
    for (size_t i = 10; i < 40; i++)
        load(&here, user_on(i % N_NODES, i));
    assert_int_equal(n_fetched, 30);
    assert_true(cluster.store.stats.refused == 0); /* what the others have is asked for */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_redis_cluster_loader_shares, up, down),
        cmocka_unit_test_setup_teardown(test_redis_cluster_loader_forgets, up, down),
        cmocka_unit_test_setup_teardown(test_redis_cluster_loader_goes_on, up, down), /* last */
    };
    int failed = cmocka_run_group_tests(tests, start_nodes, stop_nodes);
    close_aside();
    return failed;
}
