/* What the suites of locks by flock share: a folder, a provider, processes that tell each other how far they are. */
#ifndef DLOAD_TESTS_FLOCK_H
#define DLOAD_TESTS_FLOCK_H

#define _DEFAULT_SOURCE /* MAP_ANONYMOUS */
#define _POSIX_C_SOURCE 200809L
#define DLOAD_STORE     1
#include "dataloader.h"
#include "adapters/dataloader_flock.h"
#include "servers/server.h"
#include "support.h"

#include <dirent.h>
#include <limits.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/resource.h>

extern char **environ;

static char folder[128], locks[160];
static dload_flock f;
static struct fake_env env;
static size_t n_bad;     /* atomic */
static size_t n_counted; /* under the lock "t" */

/* In memory of all processes. */
static struct board {
    size_t count; /* under the lock "count" */
    size_t n_bad; /* atomic */
    pid_t child;  /* of the holder; atomic */
    uint32_t at;  /* how far the holder is; atomic */
} * board;

static inline void bad(bool is_bad)
{
    if (is_bad) {
        __atomic_add_fetch(&n_bad, 1, __ATOMIC_RELAXED);
    }
}

static inline dload_status take_of(dload_flock *of, const char *name, uint64_t timeout_ns,
                                   dload_held *held)
{
    return of->locks.take(&of->locks, dload_str_from(name), timeout_ns, held);
}

static inline dload_status take(const char *name, uint64_t timeout_ns, dload_held *held)
{
    return take_of(&f, name, timeout_ns, held);
}

static inline dload_status give(dload_held *held)
{
    return f.locks.give(&f.locks, held);
}

static inline dload_status check(dload_held *held)
{
    return f.locks.check(&f.locks, held);
}

static inline int begin(void **state)
{
    (void)state;
    assert_true(server_folder(folder, sizeof folder));
    (void)snprintf(locks, sizeof locks, "%s/locks", folder);
    fake_env_init_real(&env);
    memset(board, 0, sizeof *board);
    must_ok(dload_flock_init(&f, locks, &env.env));
    return 0;
}

static inline int end(void **state)
{
    (void)state;
    dload_flock_destroy(&f);
    equal(env.n_live, 0);
    fake_env_check(&env);
    equal(__atomic_load_n(&n_bad, __ATOMIC_RELAXED), 0);
    equal(board->n_bad, 0);
    server_remove(folder);
    return 0;
}

/* The path of the file of a lock. */
static inline const char *file_of(dload_str name)
{
    static char path[sizeof locks + 1 + DLOAD_FLOCK_I_NAME_MAX];
    char file[DLOAD_FLOCK_I_NAME_MAX];
    dload_flock_i_file_name(name, file);
    (void)snprintf(path, sizeof path, "%s/%s", locks, file);
    return path;
}

/* ---- processes ---- */

static inline pid_t start(void (*body)(void))
{
    pid_t pid = fork();
    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        (void)alarm(60);
        body();
        _exit(0);
    }
    assert_true(pid > 0);
    return pid;
}

static inline void went_well(pid_t pid)
{
    int status = 0;
    while (waitpid(pid, &status, 0) < 0) {
        equal(errno, EINTR);
    }
    equal(status, 0);
}

static inline void say(uint32_t at)
{
    __atomic_store_n(&board->at, at, __ATOMIC_RELEASE);
}

static inline void wait_for(uint32_t at)
{
    while (__atomic_load_n(&board->at, __ATOMIC_ACQUIRE) < at) {
        sleep_ms(1);
    }
}

static inline void sleep_for_ever(void)
{
    for (;;) {
        sleep_ms(1000);
    }
}

/* Takes the lock, and keeps it until it is killed. */
static inline void hold(void)
{
    dload_held held;
    if (take("a", 0, &held) != DLOAD_OK) {
        _exit(1);
    }
    say(1);
    sleep_for_ever();
}

/* Before the first test: the memory of all processes. */
static inline bool board_made(void)
{
    board = mmap(NULL, sizeof *board, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return board != MAP_FAILED;
}

#define CASE(name) cmocka_unit_test_setup_teardown(test_##name, begin, end)

#endif
