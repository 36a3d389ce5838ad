/* Client tracking behind the Redis store: whatever way a key of its is changed, who read it through the store hears its
 * name as the store knows it. */
/* links: hiredis */
/* tsan */
#define _POSIX_C_SOURCE 200809L
#define DLOAD_STORE     1
#include "dataloader.h"
#include "adapters/dataloader_redis.h"
#include "adapters/dataloader_redis_tracking.h"

#include "support.h"
#include "servers/redis_server.h"
#include "test_redis.h"

/* A sink that writes down what it is told. */
static struct ear {
    pthread_mutex_t mutex;
    char keys[64][1200];
    size_t key_bytes[64];
    size_t n_keys, n_all, n_up, n_down;
} ear = {.mutex = PTHREAD_MUTEX_INITIALIZER};

static void ear_key(void *ctx, const char *key, size_t n)
{
    (void)ctx;
    (void)pthread_mutex_lock(&ear.mutex);
    if (ear.n_keys < COUNT(ear.keys) && n <= sizeof ear.keys[0]) {
        memcpy(ear.keys[ear.n_keys], key, n);
        ear.key_bytes[ear.n_keys] = n;
    }
    ear.n_keys++;
    (void)pthread_mutex_unlock(&ear.mutex);
}

static void count_up(size_t *counter)
{
    (void)pthread_mutex_lock(&ear.mutex);
    (*counter)++;
    (void)pthread_mutex_unlock(&ear.mutex);
}

static void ear_all(void *ctx)
{
    (void)ctx;
    count_up(&ear.n_all);
}

static void ear_down(void *ctx)
{
    (void)ctx;
    count_up(&ear.n_down);
}

static void ear_up(void *ctx)
{
    (void)ctx;
    count_up(&ear.n_up);
}

static dload_sink sink = {ear_key, ear_all, ear_down, ear_up, NULL, NULL, NULL};

/* Has the ear heard of this key? Forgets all that it heard. */
static bool heard(const char *key, size_t n)
{
    bool yes = false;
    (void)pthread_mutex_lock(&ear.mutex);
    for (size_t i = 0; i < ear.n_keys && i < COUNT(ear.keys); i++)
        yes = yes || (ear.key_bytes[i] == n && memcmp(ear.keys[i], key, n) == 0);
    ear.n_keys = 0;
    (void)pthread_mutex_unlock(&ear.mutex);
    return yes;
}

static dload_store_item item_of(const char *key, size_t key_bytes)
{
    dload_store_item item = {0};
    item.key = key;
    item.key_bytes = key_bytes;
    item.value = "v";
    item.value_bytes = 1;
    item.ttl_ns = DLOAD_NEVER;
    return item;
}

static dload_status ask_other(dload_redis_store *other, dload_store_kind kind,
                              dload_store_item item)
{
    dload_store_op op = {0};
    op.kind = kind;
    op.items = &item;
    op.n = 1;
    item.lease[0] = 9;
    if (kind == DLOAD_STORE_LEASE)
        item.ttl_ns = 600 * DLOAD_SECOND;
    dload_status st = dload_store_run(&other->store, &op);
    dload_store_release(&op);
    return st == DLOAD_OK ? item.status : st;
}

static void test_redis_heard_keys(void **state)
{
    static char big[1000];
    static const char *const texts[] = {"users:42", "", "{a}b", "50%", "a\r\n*", "%7B"};
    dload_redis_tracking tracking;
    dload_redis_listen_config listen = {.prefix = "dload:"};
    dload_redis_store other;
    dload_redis_store_config cfg = {0};
    (void)state;
    up();
    cfg.server.url = rs.unix_url;
    must_ok(dload_redis_store_init(&other, &cfg, NULL, 0));
    must_ok(dload_redis_tracking_init(&tracking, &redis.server, &listen));
    dload_redis_tracking_add(&tracking, &sink);
    must_ok(dload_redis_tracking_start(&tracking));
    must_ok(dload_redis_tracking_wait(&tracking, 10 * DLOAD_SECOND));
    memset(big, '}', sizeof big);
    for (size_t i = 0; i <= COUNT(texts); i++) {
        const char *key = i < COUNT(texts) ? texts[i] : big;
        const size_t n = i < COUNT(texts) ? strlen(key) : sizeof big;
        dload_store_item item = item_of(key, n);
        static const dload_store_kind kinds[] = {DLOAD_STORE_SET, DLOAD_STORE_DELETE,
                                                 DLOAD_STORE_LEASE, DLOAD_STORE_FILL,
                                                 DLOAD_STORE_CLEAR};
        for (size_t k = 0; k < COUNT(kinds); k++) {
            /* Read in either way, then changed by somebody else. */
            must_ok(run(k % 2 == 0 ? DLOAD_STORE_GET : DLOAD_STORE_LEASE, &item, 1));
            if (k % 2 != 0)
                must_ok(run(DLOAD_STORE_DROP, &item, 1));
            (void)heard(key, n);
            item = item_of(key, n);
            dload_status st = ask_other(&other, kinds[k], item);
            must(st, kinds[k] == DLOAD_STORE_LEASE ? DLOAD_MISSING : DLOAD_OK);
            must_ok(dload_redis_tracking_barrier(&tracking, 10 * DLOAD_SECOND));
            /* A lease that is granted changes no value. */
            assert_true(heard(key, n) == (kinds[k] != DLOAD_STORE_LEASE));
        }
        must_ok(run(DLOAD_STORE_GET, &item, 1));
        item = item_of(key, n);
        must_ok(run(DLOAD_STORE_SET, &item, 1)); /* by ourselves */
        must_ok(dload_redis_tracking_barrier(&tracking, 10 * DLOAD_SECOND));
        assert_true(heard(key, n));
    }
    equal(ear.n_up, 1);
    equal(ear.n_down, 0);
    equal(ear.n_all, 0);
    must_ok(do_aside(1, "FLUSHALL"));
    must_ok(dload_redis_tracking_barrier(&tracking, 10 * DLOAD_SECOND));
    assert_true(ear.n_all > 0);
    dload_redis_store_end(&other);
    dload_redis_tracking_stop(&tracking);
    dload_redis_store_end(&redis); /* a data connection ends: before the tracking does */
    dload_redis_tracking_end(&tracking);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_redis_heard_keys),
    };
    return cmocka_run_group_tests(tests, start_server, stop_server);
}
