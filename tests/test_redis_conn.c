/* Connections to a real Redis server: what they are told first, what they send, how they end. */
/* links: hiredis */
#define _POSIX_C_SOURCE 200809L
#define DLOAD_STORE     1
#include "dataloader.h"
#include "adapters/dataloader_redis_conn.h"

#include "support.h"
#include "servers/redis_server.h"

static struct redis_server rs = {.password = "canary"};

static int start(void **state)
{
    (void)state;
    return redis_server_start(&rs) ? 0 : -1;
}

static int stop(void **state)
{
    (void)state;
    redis_server_stop(&rs);
    return 0;
}

static void ping(dload_redis_conn *c)
{
    redisReply *r = NULL;
    dload_redis_begin(c, 2);
    dload_redis_text(c, "PING");
    dload_redis_arg(c, "x", 1);
    must_ok(dload_redis_get(c, dload_redis_until(c, 0), &r));
    equal(r->type, REDIS_REPLY_STRING);
    freeReplyObject(r);
}

static void test_redis_conn_urls_connect(void **state)
{
    const char *const urls[] = {rs.url, rs.unix_url};
    (void)state;
    for (size_t i = 0; i < COUNT(urls); i++) {
        dload_redis_config cfg = {.url = urls[i]};
        dload_redis_server s;
        dload_redis_conn c;
        must_ok(dload_redis_server_init(&s, &cfg, NULL, 0));
        must_ok(dload_redis_open(&c, &s));
        ping(&c);
        assert_true(dload_redis_usable(&c));
        (void)dload_redis_close(&c, DLOAD_OK, NULL);
        assert_false(dload_redis_usable(&c));
        dload_redis_server_end(&s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_redis_conn_urls_connect),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
