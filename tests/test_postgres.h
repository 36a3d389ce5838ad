/* What the suites that talk to a PostgreSQL server share: the server, stores in it, short requests. */
#ifndef DLOAD_TESTS_POSTGRES_H
#define DLOAD_TESTS_POSTGRES_H

#define DLOAD_STORE 1
#include "dataloader.h"
#include "adapters/dataloader_postgres.h"
#include "servers/postgres_server.h"
#include "support.h"

static struct postgres_server server;

/* A store's log, and what tests look for in it. */
struct pg_log {
    char text[16384];
    size_t n;
};

static inline void pg_logged(void *ctx, const char *text)
{
    static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    struct pg_log *log = ctx;
    (void)pthread_mutex_lock(&mutex);
    size_t n = strlen(text);
    if (log->n + n + 2 < sizeof log->text) {
        memcpy(log->text + log->n, text, n);
        log->n += n;
        log->text[log->n++] = '\n';
        log->text[log->n] = '\0';
    }
    (void)pthread_mutex_unlock(&mutex);
}

/* What a test asks the server by itself: the first column of the first row, as text. One connection for all of them, made
 * anew when the server was. */
static inline void pg_query(const char *sql, char *out, size_t cap_bytes)
{
    static PGconn *pg;
    PGresult *r = NULL;
    for (int attempt = 0; attempt < 2; attempt++) {
        if (pg == NULL)
            pg = PQconnectdb(server.url);
        PQclear(r);
        r = PQexec(pg, sql);
        if (PQstatus(pg) == CONNECTION_OK)
            break;
        if (attempt == 0) {
            PQfinish(pg);
            pg = NULL;
        }
    }
    if (PQresultStatus(r) != PGRES_TUPLES_OK && PQresultStatus(r) != PGRES_COMMAND_OK)
        fail_msg("%s: %s", sql, PQerrorMessage(pg));
    if (out != NULL)
        (void)snprintf(out, cap_bytes, "%s", PQntuples(r) > 0 ? PQgetvalue(r, 0, 0) : "");
    PQclear(r);
}

static inline uint64_t pg_number(const char *sql)
{
    char text[64];
    pg_query(sql, text, sizeof text);
    return strtoull(text, NULL, 10);
}

/* Waits until a query says this number; 5 s at most. */
static inline void pg_wait_for(const char *sql, uint64_t want)
{
    for (int i = 0; i < 500 && pg_number(sql) != want; i++)
        sleep_ms(10);
    equal(pg_number(sql), want);
}

static inline dload_store_item pg_item(const void *key, size_t key_bytes, const void *value,
                                       size_t value_bytes, uint64_t ttl_ns)
{
    dload_store_item item;
    memset(&item, 0, sizeof item);
    item.key = key;
    item.key_bytes = key_bytes;
    item.value = value;
    item.value_bytes = value_bytes;
    item.ttl_ns = ttl_ns;
    item.status = DLOAD_EUSER;
    return item;
}

/* One request of several items; GET and LEASE keep their values until pg_release. */
static inline dload_status pg_run(dload_store *s, dload_store_op *op, dload_store_kind kind,
                                  dload_store_item *items, size_t n)
{
    memset(op, 0, sizeof *op);
    op->kind = kind;
    op->items = items;
    op->n = n;
    return dload_store_run(s, op);
}

static inline void pg_ask(dload_store *s, dload_store_kind kind, dload_store_item *items, size_t n)
{
    dload_store_op op;
    must_ok(pg_run(s, &op, kind, items, n));
    dload_store_release(&op);
}

/* One key: what is there now? */
static inline dload_status pg_get(dload_store *s, const void *key, size_t key_bytes,
                                  const void *value, size_t value_bytes)
{
    dload_store_op op;
    dload_store_item item = pg_item(key, key_bytes, NULL, 0, 0);
    dload_status st = pg_run(s, &op, DLOAD_STORE_GET, &item, 1);
    st = st == DLOAD_OK ? item.status : st;
    if (st == DLOAD_OK) {
        equal(item.value_bytes, value_bytes);
        if (value_bytes != 0)
            assert_memory_equal(item.value, value, value_bytes);
    }
    dload_store_release(&op);
    return st;
}

static inline dload_status pg_set(dload_store *s, const void *key, size_t key_bytes,
                                  const void *value, size_t value_bytes, uint64_t ttl_ns)
{
    dload_store_op op;
    dload_store_item item = pg_item(key, key_bytes, value, value_bytes, ttl_ns);
    dload_status st = pg_run(s, &op, DLOAD_STORE_SET, &item, 1);
    return st == DLOAD_OK ? item.status : st;
}

/* One key of a request with a lease: LEASE, FILL, DROP. */
static inline dload_status pg_lease(dload_store *s, dload_store_kind kind, const char *key,
                                    uint64_t lease, const char *value, uint64_t ttl_ns)
{
    dload_store_op op;
    dload_store_item item =
        pg_item(key, strlen(key), value, value != NULL ? strlen(value) : 0, ttl_ns);
    item.lease[0] = lease;
    item.lease[1] = ~lease;
    dload_status st = pg_run(s, &op, kind, &item, 1);
    dload_store_release(&op);
    return st == DLOAD_OK ? item.status : st;
}

static inline void pg_open(dload_postgres_store *s, const dload_postgres_store_config *config)
{
    dload_postgres_store_config c = *config;
    if (c.pg.url == NULL)
        c.pg.url = server.url;
    if (c.pg.timeout_ns == 0)
        c.pg.timeout_ns = 20 * DLOAD_SECOND; /* the machine may be busy; faults set their own */
    if (c.pg.connect_ns == 0)
        c.pg.connect_ns = 20 * DLOAD_SECOND;
    must_ok(dload_postgres_store_init(s, &c));
}

static inline int pg_group_setup(void **state)
{
    (void)state;
    if (!postgres_server_start(&server, NULL)) {
        FILE *f = fopen(server.log, "r");
        char line[400];
        while (f != NULL && fgets(line, sizeof line, f) != NULL)
            print_message("# %s", line);
        if (f != NULL)
            (void)fclose(f);
        return -1;
    }
    return 0;
}

static inline int pg_group_teardown(void **state)
{
    (void)state;
    postgres_server_stop(&server);
    return 0;
}

#endif /* DLOAD_TESTS_POSTGRES_H */
