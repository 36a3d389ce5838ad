/* Four processes, connections that are cut at random, and the cache is a loader's: its fetch function asks a Redis store, whose
 * server tells it what has changed. See test_redis_storm.h. */
/* locks: PTHREAD */
/* links: hiredis */
/* tsan */
#define _GNU_SOURCE
#define STORM_PREFIX "dload:users:"
#define DLOAD_STORE  1
#define DLOAD_LOCK   TEST_LOCK
#define DLOAD_NAME   users
#define DLOAD_KEY    uint64_t
#define DLOAD_VALUE  int64_t
#include "dataloader.h"
#include "adapters/dataloader_redis.h"
#include "adapters/dataloader_redis_tracking.h"

#include "support.h"
#include "test_redis_storm.h"

static struct program {
    dload_redis_store redis;
    dload_redis_tracking tracking;
    users loader;
    dload_sink sink;
    dload_redis_server plain; /* for writes, which nobody watches */
    dload_redis_conn d[THREADS + 1];
} p;

/* Asks the store for all keys at once; what is not there is 0. */
static dload_status fetch(users_batch *b)
{
    enum { MOST = 16 };
    dload_store_item items[MOST];
    char keys[MOST][32];
    dload_store_op op = {.kind = DLOAD_STORE_GET, .items = items, .n = b->n};
    if (b->n > MOST)
        return DLOAD_ETOOBIG;
    memset(items, 0, sizeof items);
    for (size_t i = 0; i < b->n; i++) {
        items[i].key = keys[i];
        items[i].key_bytes =
            (size_t)snprintf(keys[i], sizeof keys[i], "users:%lu", (unsigned long)b->keys[i]);
    }
    dload_status st = dload_store_run(&p.redis.store, &op);
    for (size_t i = 0; i < b->n && st == DLOAD_OK; i++) {
        char text[32] = "";
        int64_t value = 0;
        if (items[i].status == DLOAD_OK && items[i].value_bytes < sizeof text)
            memcpy(text, items[i].value, items[i].value_bytes);
        else if (items[i].status != DLOAD_MISSING)
            return DLOAD_EBACKEND;
        value = strtoll(text, NULL, 10);
        st = users_batch_set(b, i, &value);
    }
    dload_store_release(&op);
    return st;
}

static bool storm_open(void)
{
    dload_redis_store_config where = {.max_connections = THREADS + 1};
    dload_redis_config plain = {.path = rs.path, .command_timeout_ns = 10 * DLOAD_SECOND};
    dload_redis_listen_config listen = {.prefix = "dload:"};
    users_config cfg = users_config_default();
    where.server = plain;
    where.server.pause_ns = 1000000;
    where.server.pause_max_ns = 20000000;
    cfg.fetch = fetch;
    cfg.capacity = 1000;
    storm_tracking = &p.tracking;
    if (dload_redis_store_init(&p.redis, &where, NULL, 0) != DLOAD_OK ||
        dload_redis_tracking_init(&p.tracking, &p.redis.server, &listen) != DLOAD_OK ||
        dload_redis_server_init(&p.plain, &plain, NULL, 0) != DLOAD_OK ||
        users_init(&p.loader, &cfg) != DLOAD_OK || users_sink(&p.loader, &p.sink) != DLOAD_OK)
        return false;
    p.redis.store.break_after = UINT32_MAX; /* cuts are what this is about */
    dload_redis_tracking_add(&p.tracking, &p.sink);
    return true;
}

static void storm_close(void)
{
    for (size_t i = 0; i < COUNT(p.d); i++)
        (void)dload_redis_close(&p.d[i], DLOAD_OK, NULL);
    dload_redis_tracking_end(&p.tracking);
    must_ok(users_destroy(&p.loader));
    dload_redis_store_end(&p.redis);
    dload_redis_server_end(&p.plain);
}

static int64_t storm_load(size_t thread, size_t i)
{
    int64_t value = 0;
    (void)thread;
    return users_load(&p.loader, i, &value) == DLOAD_OK ? value : -1;
}

static int64_t storm_write(size_t thread, size_t i)
{
    dload_redis_conn *d = &p.d[thread];
    redisReply *r = NULL;
    int64_t value = -1;
    char name[48];
    if (!dload_redis_usable(d)) {
        (void)dload_redis_close(d, DLOAD_OK, NULL);
        if (dload_redis_open(d, &p.plain) != DLOAD_OK)
            return -1;
    }
    (void)snprintf(name, sizeof name, STORM_PREFIX "%zu", i);
    dload_redis_begin(d, 2);
    dload_redis_text(d, "INCR");
    dload_redis_text(d, name);
    if (dload_redis_get(d, dload_redis_until(d, 0), &r) == DLOAD_OK)
        value = r->type == REDIS_REPLY_INTEGER ? r->integer : -1;
    if (r != NULL)
        freeReplyObject(r);
    return value;
}

static bool storm_cached(size_t i, int64_t *value)
{
    dload_state state = DLOAD_STATE_ABSENT;
    return users_peek(&p.loader, i, &state, value) == DLOAD_OK && state == DLOAD_STATE_READY;
}

static uint64_t storm_hits(void)
{
    dload_stats stats;
    memset(&stats, 0, sizeof stats);
    (void)users_stats(&p.loader, &stats);
    return stats.hits;
}

static void test_tracking_loader_calm(void **state)
{
    (void)state;
    storm_run("test_tracking_loader_calm", scaled(2000), 0);
}

static void test_tracking_loader_cuts(void **state)
{
    (void)state;
    storm_run("test_tracking_loader_cuts", scaled(8000), 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tracking_loader_calm),
        cmocka_unit_test(test_tracking_loader_cuts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
