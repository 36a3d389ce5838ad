/* The Redis Cluster store on three real masters: what every store must do, who is asked what, and what becomes of a
 * node's keys when it fails. */
/* links: hiredis */
/* tsan */
#define _POSIX_C_SOURCE 200809L
#define DLOAD_STORE     1
#include "dataloader.h"
#include "adapters/dataloader_redis_cluster.h"

#include "support.h"
#include "servers/redis_server.h"
#include "stores/cases.h"
#include "test_redis_cluster.h"

/* ---- the table of all stores ---- */

static void stall(struct store_case *x, bool on)
{
    (void)x;
    for (size_t i = 0; i < N_NODES; i++)
        (void)kill(nodes[i].pid, on ? SIGSTOP : SIGCONT);
}

static struct store_case shared_case;

static int up_with(void **state, bool ttls)
{
    dload_redis_cluster_config cfg;
    memset(&cfg, 0, sizeof cfg);
    cfg.node.ttls = ttls;
    open_cluster(&cfg);
    memset(&shared_case, 0, sizeof shared_case);
    shared_case.s = &cluster.store;
    shared_case.stall = stall;
    *state = &shared_case;
    return 0;
}

static int up_plain(void **state)
{
    return up_with(state, false);
}

static int up_with_ttls(void **state)
{
    return up_with(state, true);
}

static int down(void **state)
{
    (void)state;
    dload_redis_cluster_end(&cluster);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORE_CASES("cluster", up_plain, down),
        STORE_CASES("cluster with times", up_with_ttls, down),
    };
    int failed = cmocka_run_group_tests(tests, start_nodes, stop_nodes);
    close_aside();
    return failed;
}
