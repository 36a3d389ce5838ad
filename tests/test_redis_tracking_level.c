/* Two programs with a loader each, one Redis store as their second level, and client tracking to their caches: what one
 * clears the other never serves again, whatever the store had or had not. */
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
#include "adapters/dataloader_redis.h"
#include "adapters/dataloader_redis_tracking.h"

#include "support.h"
#include "servers/redis_server.h"

#include <pthread.h>

static struct redis_server rs;

/* The source: a version for each key. */
static struct source {
    uint64_t version[8];
    uint32_t n_fetches;
} source;

static size_t max_value_bytes; /* the stores' */

static struct program {
    dload_redis_store redis;
    dload_redis_tracking tracking;
    users loader;
    dload_sink sink;
} a, b;

static dload_status fetch(users_batch *batch)
{
    for (size_t i = 0; i < batch->n; i++)
        must_ok(users_batch_set(batch, i, &source.version[batch->keys[i]]));
    (void)__atomic_add_fetch(&source.n_fetches, 1u, __ATOMIC_RELAXED);
    return DLOAD_OK;
}

static void begin(struct program *p)
{
    dload_redis_store_config where = {.server = {.path = rs.path, .pause_ns = 1000000},
                                      .max_value_bytes = max_value_bytes};
    dload_redis_listen_config listen = {.prefix = "dload:"};
    users_config cfg = users_config_default();
    memset(p, 0, sizeof *p);
    must_ok(dload_redis_store_init(&p->redis, &where, NULL, 0));
    must_ok(dload_redis_tracking_init(&p->tracking, &p->redis.server, &listen));
    cfg.fetch = fetch;
    cfg.capacity = 100;
    cfg.store = &p->redis.store;
    must_ok(users_init(&p->loader, &cfg));
    must_ok(users_sink(&p->loader, &p->sink));
    dload_redis_tracking_add(&p->tracking, &p->sink);
    must_ok(dload_redis_tracking_start(&p->tracking));
    must_ok(dload_redis_tracking_wait(&p->tracking, 20 * DLOAD_SECOND));
}

static void end(struct program *p)
{
    dload_redis_tracking_end(&p->tracking);
    must_ok(users_destroy(&p->loader));
    dload_redis_store_end(&p->redis);
}

static uint64_t load(struct program *p, uint64_t key)
{
    uint64_t version = 0;
    must_ok(users_load(&p->loader, key, &version));
    return version;
}

static bool cached(struct program *p, uint64_t key)
{
    dload_state state = DLOAD_STATE_ABSENT;
    (void)users_peek(&p->loader, key, &state, NULL);
    return state == DLOAD_STATE_READY;
}

/* Changes the source, and says so. */
static void change(struct program *p, uint64_t key)
{
    source.version[key]++;
    must_ok(users_clear(&p->loader, key));
    must_ok(dload_redis_tracking_barrier(&a.tracking, 20 * DLOAD_SECOND));
    must_ok(dload_redis_tracking_barrier(&b.tracking, 20 * DLOAD_SECOND));
}

static int start(void **state)
{
    (void)state;
    if (!redis_server_start(&rs))
        return -1;
    memset(&source, 0, sizeof source);
    begin(&a);
    begin(&b);
    return 0;
}

/* ... with stores that take nothing as long as a value with its head. */
static int start_small(void **state)
{
    max_value_bytes = 8;
    return start(state);
}

static int stop(void **state)
{
    (void)state;
    end(&a);
    end(&b);
    redis_server_stop(&rs);
    max_value_bytes = 0;
    return 0;
}

/* One fetch for both, the second load from the store, the third from the cache; and after a change all over again. */
static void test_tracking_level_shares_and_forgets(void **state)
{
    (void)state;
    for (uint64_t round = 0; round < 20; round++) {
        equal(load(&a, 1), round);
        equal(load(&b, 1), round);
        /* That it was stored has been told, too: heard later, it would end what the next loads cache. */
        must_ok(dload_redis_tracking_barrier(&a.tracking, 20 * DLOAD_SECOND));
        must_ok(dload_redis_tracking_barrier(&b.tracking, 20 * DLOAD_SECOND));
        equal(load(&a, 1), round);
        equal(load(&b, 1), round);
        equal(source.n_fetches, round + 1);
        assert_true(cached(&a, 1));
        assert_true(cached(&b, 1));
        change(round % 2 == 0 ? &a : &b, 1);
        assert_false(cached(&a, 1));
        assert_false(cached(&b, 1));
    }
}

/* What the store did not take it does not track: the change of a key that is not there changes nothing, and is told to
 * nobody. */
static void test_tracking_level_store_refuses_values(void **state)
{
    (void)state;
    for (uint64_t round = 0; round < 10; round++) {
        equal(load(&b, 2), round);
        equal(load(&b, 2), round);
        change(&a, 2);
    }
    equal(load(&b, 2), 10);
}

/* While the breaker leaves the store alone nothing is read there. */
static void test_tracking_level_store_is_left_alone(void **state)
{
    (void)state;
    for (uint64_t round = 0; round < 10; round++) {
        __atomic_store_n(&b.redis.store.closed_until_ns, UINT64_MAX, __ATOMIC_RELAXED);
        equal(load(&b, 3), round);
        equal(load(&b, 3), round);
        change(&a, 3);
    }
    equal(load(&b, 3), 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_tracking_level_shares_and_forgets, start, stop),
        cmocka_unit_test_setup_teardown(test_tracking_level_store_refuses_values, start_small,
                                        stop),
        cmocka_unit_test_setup_teardown(test_tracking_level_store_is_left_alone, start, stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
