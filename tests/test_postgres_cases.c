/* The PostgreSQL store does what every store must do, asked by callers that wait and by callers that do not. */
/* links: pq */
/* tsan */
#include "test_postgres.h"
#include "adapters/dataloader_worker.h"
#include "stores/cases.h"

static dload_postgres_store pg;
static struct fake_env memory;
static dload_worker worker;
static struct store_case pg_case;

static void stall(struct store_case *x, bool on)
{
    (void)x;
    postgres_signal(&server, on ? SIGSTOP : SIGCONT);
}

static int open_pg(void **state)
{
    dload_postgres_store_config c;
    memset(&c, 0, sizeof c);
    memset(&pg_case, 0, sizeof pg_case);
    fake_env_init_real(&memory);
    c.pg.env = &memory.env;
    c.unlogged = true;
    pg_open(&pg, &c);
    pg_case.s = &pg.store;
    pg_case.stall = stall;
    *state = &pg_case;
    return 0;
}

static int close_pg(void **state)
{
    (void)state;
    dload_postgres_store_destroy(&pg);
    fake_env_check(&memory);
    return 0;
}

/* Requests with done, which threads carry out. */
static int open_async(void **state)
{
    dload_worker_config c;
    (void)open_pg(state);
    memset(&c, 0, sizeof c);
    c.inner = &pg.store;
    c.env = &memory.env;
    c.n_threads = 4;
    must_ok(dload_worker_init(&worker, &c));
    pg_case.s = &worker.store;
    pg_case.async = true;
    return 0;
}

static int close_async(void **state)
{
    must_ok(dload_worker_destroy(&worker));
    return close_pg(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORE_CASES("postgres", open_pg, close_pg),
        STORE_CASES("postgres, with done", open_async, close_async),
    };
    return cmocka_run_group_tests(tests, pg_group_setup, pg_group_teardown);
}
