/* Many processes of many threads miss one key: the source is asked once, whether by leases of the store or by a named
 * lock around it; and when who asks is killed, the next one takes over. On a real SQLite file and flock. */
/* locks: PTHREAD */
/* links: sqlite3 */
#define _DEFAULT_SOURCE /* MAP_ANONYMOUS */
#define _POSIX_C_SOURCE 200809L
#define DLOAD_STORE     1
#include "test_loader.h"
#include "adapters/dataloader_flock.h"
#include "adapters/dataloader_sqlite.h"
#include "servers/server.h"

#include <stdio.h>
#include <sys/mman.h>

enum { N_PROCESSES = 8, N_THREADS = 8, N_ROUNDS = 3, MAX_KEYS = 16 };

static char folder[128], file[160], locks[160];

/* In memory of all processes. */
static struct board {
    size_t fetches[MAX_KEYS]; /* of a key; atomic */
    size_t n_bad;             /* atomic */
    size_t n_ready;           /* processes; atomic */
    uint32_t go;              /* the round that has begun; atomic */
    uint64_t key;
    uint64_t lease_ns; /* DLOAD_NEVER = by the lock */
    bool with_locks;
    uint32_t inside;                  /* the first fetch has begun, and stays; atomic */
    uint64_t leases_lost, locks_lost; /* atomic */
} * board;

static bool stays; /* this process never comes out of its fetch */

static dload_status fetch(tl_batch *b)
{
    for (size_t i = 0; i < b->n; i++) {
        uint64_t value = b->keys[i] * 10;
        __atomic_add_fetch(&board->fetches[b->keys[i]], 1, __ATOMIC_ACQ_REL);
        if (stays) {
            __atomic_store_n(&board->inside, 1, __ATOMIC_RELEASE);
        }
        while (stays) {
            sleep_ms(1000);
        }
        sleep_ms(30); /* everybody else misses meanwhile */
        must_ok(tl_batch_set(b, i, &value));
    }
    return DLOAD_OK;
}

static tl l;

static void load_one(void *ctx, size_t i)
{
    uint64_t value = 0;
    (void)ctx;
    (void)i;
    if (tl_load(&l, board->key, &value) != DLOAD_OK || value != board->key * 10) {
        __atomic_add_fetch(&board->n_bad, 1, __ATOMIC_RELAXED);
    }
}

/* One process: a store and a loader of its own. */
static void process(size_t n_rounds)
{
    static dload_sqlite q;
    static dload_flock f;
    dload_sqlite_config at;
    tl_config cfg = tl_config_default();
    memset(&at, 0, sizeof at);
    at.path = file;
    at.timeout_ns = 20 * DLOAD_SECOND;
    must_ok(dload_sqlite_init(&q, &at));
    must_ok(dload_flock_init(&f, locks, NULL));
    cfg.fetch = fetch;
    cfg.store = &q.store;
    cfg.store_timeout_ns = 20 * DLOAD_SECOND;
    cfg.store_lease_ns = board->lease_ns;
    cfg.locks = board->with_locks ? &f.locks : NULL;
    cfg.lock_wait_ns = 30 * DLOAD_SECOND;
    must_ok(tl_init(&l, &cfg));
    for (uint32_t round = 1; round <= n_rounds; round++) {
        __atomic_add_fetch(&board->n_ready, 1, __ATOMIC_RELEASE);
        while (__atomic_load_n(&board->go, __ATOMIC_ACQUIRE) < round) {
            sleep_ms(1);
        }
        run_threads(stays ? 1 : N_THREADS, load_one, NULL);
    }
    dload_stats s = {0};
    must_ok(tl_stats(&l, &s));
    __atomic_add_fetch(&board->leases_lost, s.leases_lost, __ATOMIC_RELAXED);
    __atomic_add_fetch(&board->locks_lost, s.locks_lost + s.locks_missed, __ATOMIC_RELAXED);
    must_ok(tl_close(&l, DLOAD_FAIL, 0));
    must_ok(tl_destroy(&l));
    must_ok(dload_sqlite_destroy(&q));
    dload_flock_destroy(&f);
}

static pid_t start(size_t n_rounds, bool stay)
{
    pid_t pid = fork();
    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        (void)alarm(100);
        stays = stay;
        process(n_rounds);
        _exit(0);
    }
    assert_true(pid > 0);
    return pid;
}

static void went_well(pid_t pid)
{
    int status = 0;
    while (waitpid(pid, &status, 0) < 0) {
        equal(errno, EINTR);
    }
    equal(status, 0);
}

static void begin(uint64_t lease_ns, bool with_locks)
{
    assert_true(server_folder(folder, sizeof folder));
    (void)snprintf(file, sizeof file, "%s/store.db", folder);
    (void)snprintf(locks, sizeof locks, "%s/locks", folder);
    memset(board, 0, sizeof *board);
    board->lease_ns = lease_ns;
    board->with_locks = with_locks;
}

static void wait_ready(size_t n)
{
    while (__atomic_load_n(&board->n_ready, __ATOMIC_ACQUIRE) < n) {
        sleep_ms(1);
    }
}

static void one_fetch(void)
{
    pid_t pids[N_PROCESSES];
    for (size_t i = 0; i < N_PROCESSES; i++) {
        pids[i] = start(N_ROUNDS, false);
    }
    for (uint32_t round = 1; round <= N_ROUNDS; round++) {
        wait_ready(N_PROCESSES * round);
        board->key = round;
        __atomic_store_n(&board->go, round, __ATOMIC_RELEASE);
    }
    for (size_t i = 0; i < N_PROCESSES; i++) {
        went_well(pids[i]);
    }
    equal(board->n_bad, 0);
    equal(board->leases_lost + board->locks_lost, 0);
    for (uint32_t round = 1; round <= N_ROUNDS; round++) {
        equal(board->fetches[round], 1);
    }
    server_remove(folder);
}

/* The one who fetches is killed in the middle of it. */
static void the_next_takes_over(void)
{
    pid_t pids[4];
    board->key = 1;
    __atomic_store_n(&board->go, 1, __ATOMIC_RELEASE);
    pid_t first = start(1, true);
    while (__atomic_load_n(&board->inside, __ATOMIC_ACQUIRE) == 0) {
        sleep_ms(1);
    }
    for (size_t i = 0; i < COUNT(pids); i++) {
        pids[i] = start(1, false);
    }
    wait_ready(1 + COUNT(pids));
    sleep_ms(100);
    equal(__atomic_load_n(&board->fetches[1], __ATOMIC_ACQUIRE), 1); /* the others wait */
    server_end(first, SIGKILL);
    for (size_t i = 0; i < COUNT(pids); i++) {
        went_well(pids[i]);
    }
    equal(board->n_bad, 0);
    equal(board->fetches[1], 2); /* one of them, and not all */
    server_remove(folder);
}

static void test_one_fetch_by_leases(void **state)
{
    (void)state;
    begin(30 * DLOAD_SECOND, false);
    one_fetch();
}

static void test_one_fetch_by_a_lock(void **state)
{
    (void)state;
    begin(DLOAD_NEVER, true);
    one_fetch();
}

static void test_one_fetch_by_both(void **state)
{
    (void)state;
    begin(30 * DLOAD_SECOND, true);
    one_fetch();
}

static void test_a_killed_holder_of_a_lease(void **state)
{
    (void)state;
    begin(3 * DLOAD_SECOND, false);
    the_next_takes_over();
}

static void test_a_killed_holder_of_a_lock(void **state)
{
    (void)state;
    begin(DLOAD_NEVER, true);
    the_next_takes_over();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_fetch_by_leases),
        cmocka_unit_test(test_one_fetch_by_a_lock),
        cmocka_unit_test(test_one_fetch_by_both),
        cmocka_unit_test(test_a_killed_holder_of_a_lease),
        cmocka_unit_test(test_a_killed_holder_of_a_lock),
    };
    board = mmap(NULL, sizeof *board, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (board == MAP_FAILED) {
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
