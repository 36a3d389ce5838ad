/* A loader in a libuv loop whose second level is Redis in the same loop: no thread but the loop's, and nothing in it waits. */
/* locks: NONE PTHREAD */
/* links: hiredis uv */
#define _POSIX_C_SOURCE 200809L
#define DLOAD_STORE     1
#define DLOAD_NAME      users
#define DLOAD_KEY       uint64_t
#define DLOAD_VALUE     uint64_t
#define DLOAD_LOCK      TEST_LOCK
#include "dataloader.h"
#define DLOAD_UV_NAME users
#include "adapters/dataloader_uv.h"
#include "adapters/dataloader_redis/uv.h"

#include "support.h"
#include "servers/redis_server.h"

enum { N_KEYS = 250 };

static struct redis_server rs = {.password = "canary"};

static struct world {
    uv_loop_t loop;
    dload_uv uv;
    users l;
    dload_redis_uv redis;
    size_t n_fetched, n_batches;
    users_waiter w[N_KEYS];
    size_t n_done;
} x;

static dload_status fetch(users_batch *b)
{
    x.n_batches++;
    x.n_fetched += b->n;
    for (size_t i = 0; i < b->n; i++) {
        uint64_t value = b->keys[i] * 3;
        must_ok(users_batch_set(b, i, &value));
    }
    return DLOAD_OK;
}

static void done(users_waiter *w)
{
    must_ok(w->status);
    equal(w->value, (uint64_t)(w - x.w) * 3);
    x.n_done++;
}

/* All keys in one turn of the loop. */
static void load_all(void)
{
    x.n_done = 0;
    for (size_t i = 0; i < N_KEYS; i++) {
        memset(&x.w[i], 0, sizeof x.w[i]);
        x.w[i].done = done;
        dload_status st = users_start(&x.l, i, &x.w[i]);
        if (st == DLOAD_OK)
            done(&x.w[i]); /* from the cache */
        else
            must(st, DLOAD_PENDING);
    }
    (void)uv_run(&x.loop, UV_RUN_DEFAULT);
    equal(x.n_done, N_KEYS);
}

static void no_more(dload_redis_uv *u)
{
    u->data = NULL;
}

static void store_not_needed(dload_uv *u, dload_status st)
{
    (void)u;
    must_ok(st);
    dload_redis_uv_close(&x.redis, no_more);
}

static void test_redis_loop_loader(void **state)
{
    dload_redis_store_config cfg = {0};
    users_config loads = users_config_default();
    const dload_store_stats *stats = &x.redis.loop.store.stats;
    (void)state;
    memset(&x, 0, sizeof x);
    assert_true(redis_server_start(&rs));
    equal(uv_loop_init(&x.loop), 0);
    cfg.server.url = rs.unix_url;
    cfg.server.pause_ns = cfg.server.pause_max_ns = DLOAD_MILLISECOND;
    must_ok(dload_redis_uv_init(&x.redis, &x.loop, &cfg, NULL, 0));
    x.redis.data = &x;
    x.redis.loop.store.break_after = UINT32_MAX;
    loads.fetch = fetch;
    loads.max_batch = 100;
    loads.store = &x.redis.loop.store;
    must_ok(users_uv_init(&x.uv, &x.loop, &x.l, &loads));

    load_all(); /* from the source */
    equal(x.n_fetched, N_KEYS);
    equal(stats->keys[DLOAD_STORE_SET] + stats->keys[DLOAD_STORE_FILL], N_KEYS);
    load_all(); /* from the cache */
    equal(stats->keys[DLOAD_STORE_GET] + stats->keys[DLOAD_STORE_LEASE], N_KEYS);
    must_ok(users_clear_all_local(&x.l));
    load_all(); /* from the store */
    equal(x.n_fetched, N_KEYS);
    equal(stats->hits, N_KEYS);
    must_ok(users_clear_all_local(&x.l));
    redis_server_kill(&rs);
    load_all(); /* from the source again */
    equal(x.n_fetched, 2 * N_KEYS);
    assert_true(redis_server_start(&rs));
    for (int i = 0; i < 2000 && stats->hits == N_KEYS; i++) {
        must_ok(users_clear_all_local(&x.l));
        load_all();
        sleep_ms(1);
    }
    assert_true(stats->hits > N_KEYS); /* the store is used again */

    must_ok(dload_uv_close(&x.uv, DLOAD_DRAIN, 0, store_not_needed));
    while (uv_run(&x.loop, UV_RUN_DEFAULT) != 0)
        continue;
    assert_null(x.redis.data);
    equal(uv_loop_close(&x.loop), 0);
    redis_server_stop(&rs);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_redis_loop_loader),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
