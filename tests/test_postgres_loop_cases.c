/* The PostgreSQL store in an event loop does what every store must do. The loop has a thread of its own; requests come from
 * others. */
/* links: pq uv */
/* tsan */
#include "test_postgres_loop.h"
#include "stores/cases.h"

static struct store_case shared_case;

static void stall(struct store_case *x, bool on)
{
    (void)x;
    postgres_signal(&server, on ? SIGSTOP : SIGCONT);
}

static int up_apart(void **state)
{
    static dload_postgres_store_config cfg;
    cfg = loop_config();
    cfg.pg.max_conns = 3;
    apart_up(&loop, start_with, loop_stop, &cfg);
    memset(&shared_case, 0, sizeof shared_case);
    shared_case.s = &pg.loop.store;
    shared_case.async = true;
    shared_case.stall = stall;
    *state = &shared_case;
    return 0;
}

static int down_apart(void **state)
{
    (void)state;
    apart_down();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORE_CASES("postgres in a loop", up_apart, down_apart),
    };
    return cmocka_run_group_tests(tests, pg_group_setup, pg_group_teardown);
}
