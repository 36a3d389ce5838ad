/* What the suites of the Redis store share: a server, a store on it, and a way to ask the server behind the store's back. */
#ifndef DLOAD_TESTS_REDIS_H
#define DLOAD_TESTS_REDIS_H

static struct redis_server rs = {.password = "canary"};
static dload_redis_store redis;

__attribute__((__unused__)) static int start_server(void **state)
{
    (void)state;
    return redis_server_start(&rs) ? 0 : -1;
}

__attribute__((__unused__)) static int stop_server(void **state)
{
    (void)state;
    redis_server_stop(&rs);
    return 0;
}

/* A request whose values are not looked at. */
__attribute__((__unused__)) static dload_status run(dload_store_kind kind, dload_store_item *items,
                                                    size_t n)
{
    dload_store_op op;
    memset(&op, 0, sizeof op);
    op.kind = kind;
    op.items = items;
    op.n = n;
    dload_status st = dload_store_run(&redis.store, &op);
    dload_store_release(&op);
    return st;
}

/* Items k0, k1 ..., with leases of this asker. */
__attribute__((__unused__)) static void lease_items(dload_store_item *items, size_t n, uint64_t who)
{
    static const char *const keys[] = {"k0", "k1", "k2", "k3", "k4"};
    memset(items, 0, n * sizeof *items);
    assert_true(n <= COUNT(keys));
    for (size_t i = 0; i < n; i++) {
        items[i].key = keys[i];
        items[i].key_bytes = 2;
        items[i].ttl_ns = 600 * DLOAD_SECOND;
        items[i].lease[0] = who;
        items[i].lease[1] = i;
    }
}

/* ---- asking the server aside ---- */

__attribute__((__unused__)) static void open_aside(dload_redis_conn *c)
{
    static dload_redis_server server;
    dload_redis_config cfg = {0};
    if (server.block == NULL) {
        cfg.url = rs.unix_url;
        must_ok(dload_redis_server_init(&server, &cfg, NULL, 0));
    }
    must_ok(dload_redis_open(c, &server));
}

static void begin_list(dload_redis_conn *c, size_t n_args, va_list list)
{
    dload_redis_begin(c, n_args);
    for (size_t i = 0; i < n_args; i++)
        dload_redis_text(c, va_arg(list, const char *));
}

__attribute__((__unused__)) static void begin_aside(dload_redis_conn *c, size_t n_args, ...)
{
    va_list list;
    va_start(list, n_args);
    begin_list(c, n_args, list);
    va_end(list);
}

static redisReply *ask_list(size_t n_args, va_list list)
{
    dload_redis_conn c;
    redisReply *r = NULL;
    open_aside(&c);
    begin_list(&c, n_args, list);
    must_ok(dload_redis_get(&c, dload_redis_until(&c, 20 * DLOAD_SECOND), &r));
    (void)dload_redis_close(&c, DLOAD_OK, NULL);
    return r;
}

/* The answer to a command of texts, for freeReplyObject. */
__attribute__((__unused__)) static redisReply *ask_aside(size_t n_args, ...)
{
    va_list list;
    va_start(list, n_args);
    redisReply *r = ask_list(n_args, list);
    va_end(list);
    return r;
}

/* ... that must not be an error. */
__attribute__((__unused__)) static dload_status do_aside(size_t n_args, ...)
{
    va_list list;
    va_start(list, n_args);
    redisReply *r = ask_list(n_args, list);
    va_end(list);
    dload_status st = r->type == REDIS_REPLY_ERROR ? DLOAD_EBACKEND : DLOAD_OK;
    freeReplyObject(r);
    return st;
}

/* A number of INFO: what stands behind word. */
static uint64_t info(const char *section, const char *word)
{
    redisReply *r = ask_aside(2, "INFO", section);
    const char *p = strstr(r->str, word);
    uint64_t n = p != NULL ? strtoull(p + strlen(word), NULL, 10) : 0;
    freeReplyObject(r);
    return n;
}

/* How often the server was told so. */
__attribute__((__unused__)) static uint64_t commands_of(const char *command)
{
    char word[64];
    (void)snprintf(word, sizeof word, "cmdstat_%s:calls=", command);
    return info("commandstats", word);
}

__attribute__((__unused__)) static uint64_t connections_made(void)
{
    return info("stats", "total_connections_received:");
}

/* A store, and a server with nothing in it. */
__attribute__((__unused__)) static void up(void)
{
    dload_redis_store_config cfg = {0};
    cfg.server.url = rs.unix_url;
    must_ok(do_aside(1, "FLUSHALL"));
    must_ok(dload_redis_store_init(&redis, &cfg, NULL, 0));
}

#endif /* DLOAD_TESTS_REDIS_H */
