/* What leases are worth when a server's clock is set, and when another server takes its place: two may fetch, but nothing
 * old is stored over something new. */
/* links: hiredis */
#define _DEFAULT_SOURCE 1
#define DLOAD_STORE     1
#include "dataloader.h"
#include "adapters/dataloader_redis.h"

#include "support.h"
#include "servers/clock_shim.h"
#include "servers/redis_server.h"
#include "test_redis.h"

#define HOLD_NS (30 * DLOAD_SECOND)

/* Two processes' stores, as it were. */
static dload_redis_store a, b;

static void open_both(const char *path)
{
    dload_redis_store_config cfg = {0};
    cfg.server.path = path;
    cfg.server.password = rs.password;
    cfg.server.pause_ns = cfg.server.pause_max_ns = DLOAD_MILLISECOND;
    must_ok(dload_redis_store_init(&a, &cfg, NULL, 0));
    must_ok(dload_redis_store_init(&b, &cfg, NULL, 0));
    a.store.break_after = b.store.break_after = UINT32_MAX;
}

static void end_both(void)
{
    dload_redis_store_end(&a);
    dload_redis_store_end(&b);
}

static dload_status once(dload_redis_store *s, dload_store_kind kind, dload_store_item *item)
{
    dload_store_op op = {0};
    op.kind = kind;
    op.items = item;
    op.n = 1;
    dload_status st = dload_store_run(&s->store, &op);
    dload_store_release(&op);
    return st == DLOAD_OK ? item->status : st;
}

/* Waits out a pause after a connection was lost. */
static dload_status ask(dload_redis_store *s, dload_store_kind kind, const char *key,
                        const char *value, uint64_t *left_ns)
{
    dload_status st = DLOAD_EBACKEND;
    for (int i = 0; i < 2000 && st == DLOAD_EBACKEND; i++) {
        dload_store_item item = {0};
        item.key = key;
        item.key_bytes = strlen(key);
        item.value = value;
        item.value_bytes = value != NULL ? strlen(value) : 0;
        item.ttl_ns = kind == DLOAD_STORE_LEASE ? HOLD_NS : DLOAD_NEVER;
        item.lease[0] = s == &a ? 1 : 2;
        st = once(s, kind, &item);
        if (left_ns != NULL)
            *left_ns = item.ttl_ns;
        if (st == DLOAD_EBACKEND)
            sleep_ms(1);
    }
    return st;
}

static void must_hold(const char *key, const char *value)
{
    dload_store_item item = {0};
    dload_store_op op = {0};
    item.key = key;
    item.key_bytes = strlen(key);
    op.kind = DLOAD_STORE_GET;
    op.items = &item;
    op.n = 1;
    must_ok(dload_store_run(&b.store, &op));
    must_ok(item.status);
    equal(item.value_bytes, strlen(value));
    assert_memory_equal(item.value, value, item.value_bytes);
    dload_store_release(&op);
}

/* ---- clocks ---- */

static struct clock_shim clock_of_server;

static int start_with_clock(void **state)
{
    (void)state;
    if (!clock_shim_make(&clock_of_server))
        return -1;
    clock_shim_arm(&clock_of_server);
    rs.extra = "repl-diskless-sync-delay 0\n"; /* who follows it does so at once */
    bool ok = redis_server_start(&rs);
    clock_shim_disarm();
    return ok ? 0 : -1;
}

static int stop_with_clock(void **state)
{
    (void)state;
    redis_server_stop(&rs);
    clock_shim_end(&clock_of_server);
    return 0;
}

static void set_clock(long long ahead_s)
{
    long long seen_s = 0;
    clock_shim_set(&clock_of_server, ahead_s);
    redisReply *r = ask_aside(1, "TIME");
    equal(r->type, REDIS_REPLY_ARRAY);
    seen_s = strtoll(r->element[0]->str, NULL, 10);
    freeReplyObject(r);
    assert_true(llabs(seen_s - (long long)time(NULL) - ahead_s) <=
                2); /* else nothing is tried here */
}

/* Set forward, a lease is over before its time: the next one has it, and the first stores nothing. */
static void test_redis_clock_forward(void **state)
{
    (void)state;
    open_both(rs.path);
    for (int invalidated = 0; invalidated < 2; invalidated++) {
        set_clock(0);
        must_ok(ask(&a, DLOAD_STORE_DELETE, "k", NULL, NULL));
        must(ask(&a, DLOAD_STORE_LEASE, "k", NULL, NULL), DLOAD_MISSING);
        must(ask(&b, DLOAD_STORE_LEASE, "k", NULL, NULL), DLOAD_EBUSY);
        set_clock(60);
        must(ask(&b, DLOAD_STORE_LEASE, "k", NULL, NULL), DLOAD_MISSING);
        if (invalidated) {
            must_ok(ask(&b, DLOAD_STORE_FILL, "k", "new", NULL));
            must(ask(&a, DLOAD_STORE_FILL, "k", "old", NULL), DLOAD_ELOCK);
        } else {
            must(ask(&a, DLOAD_STORE_FILL, "k", "old", NULL), DLOAD_ELOCK);
            must_ok(ask(&b, DLOAD_STORE_FILL, "k", "new", NULL));
        }
        must_hold("k", "new");
    }
    set_clock(0);
    end_both();
}

/* Set back, a lease would last for an hour: it is cut by the next one who asks, and its owner may still use it. */
static void test_redis_clock_back(void **state)
{
    uint64_t left_ns = 0;
    (void)state;
    open_both(rs.path);
    must_ok(ask(&a, DLOAD_STORE_DELETE, "k", NULL, NULL));
    must(ask(&a, DLOAD_STORE_LEASE, "k", NULL, NULL), DLOAD_MISSING);
    set_clock(-3600);
    must(ask(&b, DLOAD_STORE_LEASE, "k", NULL, &left_ns), DLOAD_EBUSY);
    assert_true(left_ns <= HOLD_NS);
    must(ask(&b, DLOAD_STORE_LEASE, "k", NULL, &left_ns),
         DLOAD_EBUSY); /* it was cut, not told so */
    assert_true(left_ns <= HOLD_NS);
    must_ok(ask(&a, DLOAD_STORE_FILL, "k", "value", NULL));
    must_hold("k", "value");
    set_clock(0);
    must_ok(ask(&a, DLOAD_STORE_DELETE, "k", NULL, NULL));
    end_both();
}

/* ---- another server in its place ---- */

static struct redis_server second = {.password = "canary", .extra = "repl-diskless-sync-delay 0\n"};
static char place[96]; /* a link to the socket of the server that is asked */

static void put_in_place(const struct redis_server *server)
{
    char next[112];
    (void)snprintf(place, sizeof place, "%s/place", rs.folder);
    (void)snprintf(next, sizeof next, "%s.next", place);
    (void)unlink(next);
    equal(symlink(server->path, next), 0);
    equal(rename(next, place), 0);
}

static bool second_has(const char *what)
{
    char line[128], answer[512];
    (void)snprintf(line, sizeof line, "EXISTS %s\r\n", what);
    return redis_server_ask(&second, line, answer, sizeof answer) && strncmp(answer, ":1", 2) == 0;
}

static void second_must(const char *line)
{
    char answer[512];
    assert_true(redis_server_ask(&second, line, answer, sizeof answer));
    equal(answer[0], '+');
}

/* The second follows the first, up to what it has now. */
static void follow_first(int round)
{
    char line[128], here[16]; /* a new one each time: it keeps what it was sent last */
    (void)snprintf(here, sizeof here, "here%d", round);
    assert_true(redis_server_restart(&second));
    (void)snprintf(line, sizeof line, "REPLICAOF 127.0.0.1 %d\r\n", rs.port);
    second_must(line);
    must_ok(do_aside(3, "SET", here, "x"));
    for (int i = 0; i < 5000 && !second_has(here); i++)
        sleep_ms(2);
    assert_true(second_has(here));
}

/* A lease that the second server never heard of, and one that it did. */
static void test_redis_failover(void **state)
{
    (void)state;
    assert_true(redis_server_start(&second));
    for (int i = 0; i < 4; i++) {
        const bool replicated = i % 2 != 0, first_fills_first = i / 2 != 0;
        if (rs.pid == 0)
            assert_true(redis_server_start(&rs));
        must_ok(do_aside(1, "FLUSHALL"));
        follow_first(i);
        put_in_place(&rs);
        open_both(place);
        if (!replicated)
            second_must("REPLICAOF NO ONE\r\n");
        must(ask(&a, DLOAD_STORE_LEASE, "k", NULL, NULL), DLOAD_MISSING);
        must(ask(&b, DLOAD_STORE_LEASE, "k", NULL, NULL), DLOAD_EBUSY);
        if (replicated) {
            for (int k = 0; k < 5000 && !second_has("{dload:k}lease"); k++)
                sleep_ms(2);
            second_must("REPLICAOF NO ONE\r\n");
        }
        redis_server_kill(&rs);
        put_in_place(&second);
        must(ask(&b, DLOAD_STORE_LEASE, "k", NULL, NULL), replicated ? DLOAD_EBUSY : DLOAD_MISSING);
        /* The source changes, and says so to the server that is there now. */
        must_ok(ask(&b, DLOAD_STORE_DELETE, "k", NULL, NULL));
        must(ask(&b, DLOAD_STORE_LEASE, "k", NULL, NULL), DLOAD_MISSING);
        if (first_fills_first)
            must(ask(&a, DLOAD_STORE_FILL, "k", "old", NULL), DLOAD_ELOCK);
        must_ok(ask(&b, DLOAD_STORE_FILL, "k", "new", NULL));
        if (!first_fills_first)
            must(ask(&a, DLOAD_STORE_FILL, "k", "old", NULL), DLOAD_ELOCK);
        must_hold("k", "new");
        end_both();
    }
    redis_server_stop(&second);
}

/* What was the first server follows the second and refuses to be written to: connections to it are given up. */
static void test_redis_demoted(void **state)
{
    char port[16];
    (void)state;
    if (rs.pid == 0)
        assert_true(redis_server_start(&rs));
    assert_true(redis_server_start(&second));
    put_in_place(&rs);
    open_both(place);
    must_ok(ask(&a, DLOAD_STORE_SET, "k", "one", NULL));
    (void)snprintf(port, sizeof port, "%d", second.port);
    must_ok(do_aside(3, "REPLICAOF", "127.0.0.1", port));
    put_in_place(&second);
    /* The connection that is there leads to the old one still: READONLY, once, then the new one. */
    dload_store_item item = {0};
    item.key = "k", item.key_bytes = 1, item.value = "two", item.value_bytes = 3;
    item.ttl_ns = DLOAD_NEVER;
    must(once(&a, DLOAD_STORE_SET, &item), DLOAD_EBACKEND);
    must_ok(ask(&a, DLOAD_STORE_SET, "k", "two", NULL));
    must_hold("k", "two");
    assert_true(second_has("dload:k"));
    end_both();
    redis_server_stop(&second);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_redis_clock_forward),
        cmocka_unit_test(test_redis_clock_back),
        cmocka_unit_test(test_redis_failover),
        cmocka_unit_test(test_redis_demoted),
    };
    return cmocka_run_group_tests(tests, start_with_clock, stop_with_clock);
}
