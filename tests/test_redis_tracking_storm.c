/* Four processes, connections that are cut at random, and a cache of a few lines that does what such a cache must: see
 * test_redis_storm.h. TEST_SCALE=63 is a hundred thousand writes. */
/* links: hiredis */
/* tsan */
#define _GNU_SOURCE
#define STORM_PREFIX "k"
#include "test_redis_tracking.h"
#include "test_redis_storm.h"

static struct program {
    dload_redis_server server;
    dload_redis_tracking tracking;
    struct cache cache;
    dload_redis_conn d[THREADS + 1]; /* stay open: closing one empties the cache */
} p;

static bool storm_open(void)
{
    dload_redis_config where = {.path = rs.path,
                                .pause_ns = 1000000,
                                .pause_max_ns = 20000000,
                                .command_timeout_ns = 10 * DLOAD_SECOND};
    cache_init(&p.cache);
    storm_tracking = &p.tracking;
    if (dload_redis_server_init(&p.server, &where, NULL, 0) != DLOAD_OK ||
        dload_redis_tracking_init(&p.tracking, &p.server, NULL) != DLOAD_OK)
        return false;
    dload_redis_tracking_add(&p.tracking, &p.cache.sink);
    return true;
}

static void storm_close(void)
{
    for (size_t i = 0; i < COUNT(p.d); i++)
        (void)dload_redis_close(&p.d[i], DLOAD_OK, NULL);
    dload_redis_tracking_end(&p.tracking);
    dload_redis_server_end(&p.server);
}

static int64_t storm_load(size_t thread, size_t i)
{
    return cache_load(&p.cache, &p.d[thread], &p.server, i);
}

static int64_t storm_write(size_t thread, size_t i)
{
    return ask(&p.d[thread], &p.server, "INCR", i);
}

static bool storm_cached(size_t i, int64_t *value)
{
    pthread_mutex_lock(&p.cache.mutex);
    const bool ready = p.cache.ready[i];
    *value = p.cache.value[i];
    pthread_mutex_unlock(&p.cache.mutex);
    return ready;
}

static uint64_t storm_hits(void)
{
    return cache_count(&p.cache, &p.cache.n_hits);
}

static void test_tracking_storm_calm(void **state)
{
    (void)state;
    storm_run("test_tracking_storm_calm", scaled(4000), 0);
}

static void test_tracking_storm_cuts(void **state)
{
    (void)state;
    storm_run("test_tracking_storm_cuts", scaled(16000), 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tracking_storm_calm),
        cmocka_unit_test(test_tracking_storm_cuts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
