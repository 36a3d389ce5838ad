/* Loaders of several processes over one Redis server, by its locks and by its leases: what all of them miss at a time is fetched once, also when
 * the one that fetches is killed, and goes on without the server. */
/* links: hiredis */
#define _DEFAULT_SOURCE 1
#define DLOAD_STORE     1
#define DLOAD_NAME      users
#define DLOAD_KEY       uint64_t
#define DLOAD_VALUE     uint64_t
#define DLOAD_LOCK      DLOAD_LOCK_PTHREAD
#include "dataloader.h"
#include "adapters/dataloader_redis_lock.h"

#include "support.h"
#include "servers/redis_server.h"
#include "test_redis.h"

#include <sys/mman.h>

enum { N_PROCESSES = 8, N_THREADS = 8 };

/* Shared between the processes. */
struct fleet {
    uint32_t go;                         /* atomic */
    size_t n_fetches, n_served, n_wrong; /* atomic */
    pid_t first;                         /* atomic: who fetches */
    bool die;                            /* the first one waits to be killed */
    bool by_locks;                       /* named locks; else the store's leases */
};

static struct fleet *fleet;
static users loader;

static dload_status fetch(users_batch *b)
{
    size_t nth = __atomic_add_fetch(&fleet->n_fetches, 1, __ATOMIC_RELAXED);
    if (nth == 1)
        __atomic_store_n(&fleet->first, getpid(), __ATOMIC_RELEASE);
    sleep_ms(nth == 1 && fleet->die ? 60000 : 20);
    for (size_t i = 0; i < b->n; i++) {
        uint64_t value = b->keys[i] * 3;
        if (users_batch_set(b, i, &value) != DLOAD_OK)
            return DLOAD_EFETCH;
    }
    return DLOAD_OK;
}

static void load_one(void *ctx, size_t i)
{
    uint64_t value = 0;
    (void)ctx;
    (void)i;
    while (__atomic_load_n(&fleet->go, __ATOMIC_ACQUIRE) == 0)
        sleep_ms(1);
    bool right = users_load(&loader, 7, &value) == DLOAD_OK && value == 21;
    __atomic_add_fetch(right ? &fleet->n_served : &fleet->n_wrong, 1, __ATOMIC_RELAXED);
}

/* One process of the fleet. */
static void sail(void)
{
    static dload_redis_locks locks;
    dload_redis_store_config cfg = {0};
    users_config loads = users_config_default();
    cfg.server.url = rs.unix_url;
    cfg.server.command_timeout_ns = 10 * DLOAD_SECOND;
    loads.fetch = fetch;
    loads.store_timeout_ns = 10 * DLOAD_SECOND;
    loads.lock_wait_ns = 20 * DLOAD_SECOND;
    if (dload_redis_store_init(&redis, &cfg, NULL, 0) != DLOAD_OK ||
        dload_redis_locks_init(&locks, &redis, fleet->die ? 1500 * DLOAD_MILLISECOND : 0) !=
            DLOAD_OK)
        _exit(1);
    loads.store = &redis.store;
    loads.store_lease_ns = fleet->by_locks ? DLOAD_NEVER /* without leases */
                           : fleet->die    ? 1500 * DLOAD_MILLISECOND
                                           : 10 * DLOAD_SECOND;
    loads.locks = fleet->by_locks ? &locks.locks : NULL;
    if (users_init(&loader, &loads) != DLOAD_OK)
        _exit(2);
    run_threads(N_THREADS, load_one, NULL);
    if (users_destroy(&loader) != DLOAD_OK)
        _exit(3);
    dload_redis_store_end(&redis);
    _exit(0);
}

static void run_fleet(bool by_locks, bool die, bool server)
{
    pid_t pids[N_PROCESSES];
    fleet = mmap(NULL, sizeof *fleet, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(fleet != MAP_FAILED);
    fleet->die = die;
    fleet->by_locks = by_locks;
    if (server)
        must_ok(do_aside(1, "FLUSHALL"));
    for (size_t i = 0; i < N_PROCESSES; i++) {
        pids[i] = fork();
        if (pids[i] == 0)
            sail();
    }
    __atomic_store_n(&fleet->go, 1, __ATOMIC_RELEASE);
    if (die) {
        pid_t first = 0;
        for (int i = 0; i < 10000 && first == 0; i++) {
            sleep_ms(1);
            first = __atomic_load_n(&fleet->first, __ATOMIC_ACQUIRE);
        }
        assert_true(first > 0);
        equal(kill(first, SIGKILL), 0);
    }
    for (size_t i = 0; i < N_PROCESSES; i++) {
        int status = 0;
        equal(waitpid(pids[i], &status, 0), pids[i]);
        if (!WIFSIGNALED(status))
            equal(status, 0);
        else
            assert_true(die);
    }
    equal(fleet->n_wrong, 0);
}

static void test_redis_fleet_fetches_once(void **state)
{
    (void)state;
    for (int by_locks = 0; by_locks < 2; by_locks++) {
        run_fleet(by_locks != 0, false, true);
        equal(fleet->n_fetches, 1);
        equal(fleet->n_served, N_PROCESSES * N_THREADS);
        (void)munmap(fleet, sizeof *fleet);
    }
}

static void test_redis_fleet_loses_its_first(void **state)
{
    (void)state;
    for (int by_locks = 0; by_locks < 2; by_locks++) {
        run_fleet(by_locks != 0, true, true);
        equal(fleet->n_fetches, 2);
        equal(fleet->n_served, (N_PROCESSES - 1) * N_THREADS);
        (void)munmap(fleet, sizeof *fleet);
    }
}

/* Without a server each fetches for itself, at once. */
static void test_redis_fleet_without_server(void **state)
{
    (void)state;
    redis_server_kill(&rs);
    for (int by_locks = 0; by_locks < 2; by_locks++) {
        uint64_t from_ns = real_ns();
        run_fleet(by_locks != 0, false, false);
        assert_true(real_ns() - from_ns < 15 * DLOAD_SECOND); /* nobody waited for a lock */
        equal(fleet->n_fetches, N_PROCESSES);
        equal(fleet->n_served, N_PROCESSES * N_THREADS);
        (void)munmap(fleet, sizeof *fleet);
    }
    assert_true(redis_server_start(&rs));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_redis_fleet_fetches_once),
        cmocka_unit_test(test_redis_fleet_loses_its_first),
        cmocka_unit_test(test_redis_fleet_without_server),
    };
    return cmocka_run_group_tests(tests, start_server, stop_server);
}
