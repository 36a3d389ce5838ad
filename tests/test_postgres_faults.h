/* What suites of the PostgreSQL store share where something is in its way: a store that counts its memory and keeps its log,
 * requests in threads of their own. */
#ifndef DLOAD_TESTS_POSTGRES_FAULTS_H
#define DLOAD_TESTS_POSTGRES_FAULTS_H

#include "test_postgres_rival.h"

static dload_postgres_store pg;
static struct fake_env memory;
static struct pg_log logged;

static inline void open_pg(uint64_t timeout_ms, size_t max_conns)
{
    dload_postgres_store_config c;
    memset(&c, 0, sizeof c);
    memset(&logged, 0, sizeof logged);
    fake_env_init_real(&memory);
    c.pg.env = &memory.env;
    c.pg.timeout_ns = timeout_ms * DLOAD_MILLISECOND;
    c.pg.max_conns = max_conns;
    c.pg.backoff_max_ns = 200 * DLOAD_MILLISECOND;
    c.pg.log = pg_logged;
    c.pg.log_ctx = &logged;
    c.table = "t";
    pg_open(&pg, &c);
    pg.store.break_after = UINT32_MAX; /* the breaker has a test of its own */
}

static inline void close_pg(void)
{
    dload_postgres_store_destroy(&pg);
    fake_env_check(&memory);
}

static inline int setup(void **state)
{
    (void)state;
    no_table();
    return 0;
}

/* A request in a thread of its own. */
struct errand {
    dload_store_kind kind;
    dload_store_item items[4];
    size_t n;
    uint64_t timeout_ns;
    dload_status st;
    uint32_t over; /* atomic */
    pthread_t thread;
};

static inline void *errand_run(void *arg)
{
    struct errand *e = arg;
    dload_store_op op;
    memset(&op, 0, sizeof op);
    op.kind = e->kind;
    op.items = e->items;
    op.n = e->n;
    op.timeout_ns = e->timeout_ns;
    e->st = dload_store_run(&pg.store, &op);
    dload_store_release(&op);
    __atomic_store_n(&e->over, 1u, __ATOMIC_RELEASE);
    return NULL;
}

static inline void errand_start(struct errand *e, dload_store_kind kind, dload_store_item item)
{
    memset(e, 0, sizeof *e);
    e->kind = kind;
    e->items[0] = item;
    e->n = 1;
    equal(pthread_create(&e->thread, NULL, errand_run, e), 0);
}

static inline dload_status errand_end(struct errand *e)
{
    (void)pthread_join(e->thread, NULL);
    return e->st;
}

/* Ends the one session that waits for a row, and sees it go. */
static inline void end_blocked(void)
{
    char pid[32], sql[100];
    pg_wait_for(blocked, 1);
    pg_query("SELECT pid FROM pg_stat_activity WHERE application_name = 'dataloader' AND "
             "wait_event_type = 'Lock'",
             pid, sizeof pid);
    (void)snprintf(sql, sizeof sql, "SELECT pg_terminate_backend(%s)", pid);
    pg_query(sql, NULL, 0);
    (void)snprintf(sql, sizeof sql, "SELECT count(*) FROM pg_stat_activity WHERE pid = %s", pid);
    pg_wait_for(sql, 0);
}

#endif
