/* What the suites of the PostgreSQL store in a libuv loop share: the loop, and a store in it. */
#ifndef DLOAD_TESTS_POSTGRES_LOOP_H
#define DLOAD_TESTS_POSTGRES_LOOP_H

#include "test_postgres_rival.h"
#include "adapters/dataloader_postgres/uv.h"
#include "stores/loop_case.h"

#include <dirent.h>

static uv_loop_t loop;
static dload_postgres_uv pg;

static size_t n_descriptors;

static inline size_t count_descriptors(void)
{
    size_t n = 0;
    DIR *d = opendir("/proc/self/fd");
    while (d != NULL && readdir(d) != NULL)
        n++;
    if (d != NULL)
        (void)closedir(d);
    return n;
}

static inline int setup(void **state)
{
    uv_loop_t first;
    (void)state;
    no_table();
    equal(uv_loop_init(&first), 0); /* what libuv opens once */
    equal(uv_loop_close(&first), 0);
    n_descriptors = count_descriptors();
    return 0;
}

/* The loop's descriptors are duplicates of libpq's: all of both are closed. */
static inline int teardown(void **state)
{
    (void)state;
    pg_query("SELECT 1", NULL, 0); /* has a connection, as it had */
    equal(count_descriptors(), n_descriptors);
    return 0;
}

static inline dload_postgres_store_config loop_config(void)
{
    dload_postgres_store_config c;
    memset(&c, 0, sizeof c);
    c.pg.url = server.url;
    c.pg.timeout_ns = c.pg.connect_ns = 20 * DLOAD_SECOND; /* the machine may be busy */
    c.pg.backoff_ns = c.pg.backoff_max_ns = DLOAD_MILLISECOND;
    c.unlogged = true;
    c.table = "t";
    return c;
}

static inline bool start_with(void *cfg)
{
    equal(uv_loop_init(&loop), 0);
    n_done = 0;
    if (dload_postgres_uv_init(&pg, &loop, cfg) != DLOAD_OK)
        return false;
    pg.loop.store.break_after = UINT32_MAX; /* the breaker has a test of its own */
    return true;
}

static inline void start_here(uint64_t timeout_ns, size_t max_conns)
{
    dload_postgres_store_config c = loop_config();
    c.pg.timeout_ns = c.pg.connect_ns = timeout_ns;
    c.pg.max_conns = max_conns;
    assert_true(start_with(&c));
}

static inline void was_closed(dload_postgres_uv *u)
{
    u->data = NULL;
}

/* Closes in the loop's thread, and sees that nothing of it is left there. */
static inline void loop_stop(void)
{
    pg.data = &pg;
    dload_postgres_uv_close(&pg, was_closed);
    while (uv_run(&loop, UV_RUN_DEFAULT) != 0)
        continue;
    assert_null(pg.data);
    equal(uv_loop_close(&loop), 0);
}

/* Until nothing is under way. */
static inline void run_loop(void)
{
    equal(uv_run(&loop, UV_RUN_DEFAULT), 0);
}

/* Asks for key number i until the server has answered. */
static inline void loop_until_ok(size_t i, dload_store_kind kind)
{
    for (int k = 0; k < 5000; k++) {
        must(loop_ask(&pg.loop.store, i, kind, 0), DLOAD_PENDING);
        while (!asks[i].done)
            (void)uv_run(&loop, UV_RUN_ONCE);
        if (asks[i].st == DLOAD_OK)
            return;
        dload_store_release(&asks[i].op);
        sleep_ms(1);
    }
    must_ok(asks[i].st);
}

#endif /* DLOAD_TESTS_POSTGRES_LOOP_H */
