/* Processes that fork while loaders are busy in other threads. In the child every call on a loader of the
 * parent says DLOAD_EFORK at once, whoever holds its locks for ever by then; a loader made in the child
 * works; the parent notices nothing. */
/* locks: PTHREAD SPIN */
#define _DEFAULT_SOURCE /* MAP_ANONYMOUS */
#define _POSIX_C_SOURCE 200809L
#include <stdbool.h>
#include <stdint.h>

/* Copying a value can be made to stop, with the lock held. */
static bool copy_value(uint64_t *to, const uint64_t *from);
#define DLOAD_VALUE_COPY(to, from) copy_value((to), (from))
#define DLOAD_VALUE_FREE(pv)       ((void)(pv))
#define DLOAD_GROUP                1
#include "test_fork.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>

enum { N_THREADS = 8, N_KEYS = 64 };

static struct shared {
    tl l;
    struct fake_env f;
    dload_registry registry;
    pthread_t threads[N_THREADS];
    size_t n_threads;
    size_t n_bad;    /* atomic */
    size_t n_ok;     /* loads; atomic */
    bool stop;       /* atomic */
    tl_batch *given; /* atomic */
} s;

static int copy_stage; /* 1: the next copy stops; 2: it has; 3: it goes on; atomic */

static void bad(bool is_bad)
{
    if (is_bad) {
        __atomic_add_fetch(&s.n_bad, 1, __ATOMIC_RELAXED);
    }
}

static size_t n_of(const size_t *n)
{
    return __atomic_load_n(n, __ATOMIC_ACQUIRE);
}

/* ---- the child ---- */

/* A call that hangs ends the child, too, by the alarm. */
static void child_is_refused(tl *l)
{
    (void)alarm(5);
    loads_refused(l);
    groups_refused(l);
    if (s.given != NULL) {
        batch_refused(s.given);
    }
    registry_is_quiet(&s.registry);
    rest_refused(l);
    _exit(0);
}

/* Waits for a child, which must have found everything as it should be. */
static bool child_went_well(pid_t pid)
{
    int status = 0;
    pid_t ended;
    do {
        ended = waitpid(pid, &status, 0);
    } while (ended < 0 && errno == EINTR);
    if (pid > 0 && ended == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0) {
        return true;
    }
    print_error("a child ended with status %#x; %s gave %" PRId64 "\n", (unsigned)status,
                report->failed[0] ? report->failed : "the call it was in", report->got);
    return false;
}

/* ---- the parent ---- */

static dload_status fetch_slowly(tl_batch *b)
{
    if (b->keys[0] % 4 == 0) {
        sleep_ms(1);
    }
    for (size_t i = 0; i < b->n; i++) {
        uint64_t value = b->keys[i] * 10;
        bad(tl_batch_set(b, i, &value) != DLOAD_OK);
    }
    return DLOAD_OK;
}

static void judge(uint64_t key, dload_status st, uint64_t out, bool hurried)
{
    bad(st == DLOAD_OK ? out != key * 10 : !hurried || st != DLOAD_ETIMEDOUT);
    if (st == DLOAD_OK) {
        __atomic_add_fetch(&s.n_ok, 1, __ATOMIC_RELAXED);
    }
}

static void *load_until_stopped(void *arg)
{
    uint64_t state = (uint64_t)(uintptr_t)arg, keys[4], out[4];
    dload_status st[4];
    while (!__atomic_load_n(&s.stop, __ATOMIC_ACQUIRE)) {
        dload_call call = {0};
        bool hurried = rng_below(&state, 8) == 0;
        size_t n = rng_below(&state, 2) ? 1 : 4;
        for (size_t i = 0; i < n; i++) {
            keys[i] = rng_below(&state, N_KEYS);
        }
        if (hurried) {
            call.deadline_ns = tl_now(&s.l) + rng_below(&state, 2 * DLOAD_MILLISECOND);
        }
        if (n == 1) {
            st[0] = tl_load_with(&s.l, keys[0], &call, out);
        } else {
            (void)tl_load_many_with(&s.l, keys, n, &call, out, st);
        }
        for (size_t i = 0; i < n; i++) {
            judge(keys[i], st[i], out[i], hurried);
        }
        if (rng_below(&state, 4) == 0) {
            bad(tl_clear(&s.l, keys[0]) != DLOAD_OK);
        }
    }
    return NULL;
}

static tl_config open_config(dload_status (*fetch)(tl_batch *b))
{
    memset(&s, 0, sizeof s);
    memset(&waiting, 0, sizeof waiting);
    copy_stage = 0;
    fake_env_init_real(&s.f);
    report = mmap(NULL, sizeof *report, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(report != MAP_FAILED);
    tl_config cfg = tl_config_default();
    cfg.fetch = fetch;
    cfg.env = &s.f.env;
    cfg.capacity = N_KEYS / 2;
    cfg.max_in_flight = 2;
    dload_registry_init(&s.registry);
    cfg.registry = &s.registry;
    return cfg;
}

static void spawn(size_t n, void *(*body)(void *arg))
{
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(
            pthread_create(&s.threads[s.n_threads++], NULL, body, (void *)(uintptr_t)i), 0);
    }
}

/* The parent goes on as if nothing had been. */
static void end(void)
{
    uint64_t out = 0;
    __atomic_store_n(&s.stop, true, __ATOMIC_RELEASE);
    for (size_t i = 0; i < s.n_threads; i++) {
        assert_int_equal(pthread_join(s.threads[i], NULL), 0);
    }
    must_ok(tl_load(&s.l, N_KEYS, &out));
    equal(out, N_KEYS * 10);
    equal(s.n_bad, 0);
    must_ok(tl_close(&s.l, DLOAD_DRAIN, 0));
    must_ok(tl_destroy(&s.l));
    fake_env_check(&s.f);
    print_message("# %zu loads; the slowest refusal took %" PRIu64 " us\n", s.n_ok,
                  report->slowest_ns / 1000);
    assert_int_equal(munmap(report, sizeof *report), 0);
}

/* ---- while threads load ---- */

static void test_fork_busy(void **state)
{
    (void)state;
    tl_config cfg = open_config(fetch_slowly);
    must_ok(tl_init(&s.l, &cfg));
    spawn(N_THREADS, load_until_stopped);
    for (size_t i = 0; i < scaled(100) && n_of(&s.n_bad) == 0; i++) {
        pid_t pid = fork();
        if (pid == 0) {
            child_is_refused(&s.l);
        }
        bad(!child_went_well(pid));
    }
    bad(n_of(&s.n_ok) == 0);
    end();
}

/* As many as come, without waiting for one before the next. */
static void test_fork_storm(void **state)
{
    (void)state;
    enum { N_ALIVE = 8 };
    pid_t pids[N_ALIVE] = {0};
    size_t n = scaled(500);
    tl_config cfg = open_config(fetch_slowly);
    cfg.settle_ns = 100 * DLOAD_MICROSECOND;
    must_ok(tl_init(&s.l, &cfg));
    spawn(N_THREADS, load_until_stopped);
    uint64_t began_ns = real_ns();
    for (size_t i = 0; i < n + N_ALIVE; i++) {
        pid_t *pid = &pids[i % N_ALIVE];
        bad(*pid != 0 && !child_went_well(*pid));
        bool go_on = i < n && n_of(&s.n_bad) == 0;
        *pid = go_on ? fork() : 0;
        if (go_on && *pid == 0) {
            child_is_refused(&s.l);
        }
    }
    print_message("# %zu forks in %" PRIu64 " ms\n", n, (real_ns() - began_ns) / 1000000);
    end();
}

/* ---- while somebody holds a lock ---- */

static bool copy_value(uint64_t *to, const uint64_t *from)
{
    int stops = 1;
    *to = *from;
    if (__atomic_load_n(&copy_stage, __ATOMIC_ACQUIRE) == 1 &&
        __atomic_compare_exchange_n(&copy_stage, &stops, 2, false, __ATOMIC_ACQ_REL,
                                    __ATOMIC_ACQUIRE)) {
        while (__atomic_load_n(&copy_stage, __ATOMIC_ACQUIRE) == 2) {
            sleep_ms(1);
        }
    }
    return true;
}

static dload_status fetch_later(tl_batch *b)
{
    if (b->keys[0] == N_KEYS) {
        return fetch_slowly(b); /* of the end */
    }
    __atomic_store_n(&s.given, b, __ATOMIC_RELEASE);
    return DLOAD_PENDING;
}

static void answer_given(void)
{
    tl_batch *b = __atomic_load_n(&s.given, __ATOMIC_ACQUIRE);
    must_ok(fetch_slowly(b));
    must_ok(tl_batch_done(b, DLOAD_OK));
}

static dload_status fetch_then_stop(tl_batch *b)
{
    if (b->keys[0] == 2) {
        return fetch_later(b);
    }
    dload_status st = fetch_slowly(b);
    if (b->keys[0] == 1) {
        __atomic_store_n(&copy_stage, 1, __ATOMIC_RELEASE); /* at the delivery, under the mutex */
    }
    return st;
}

static void waiting_done(tl_waiter *w)
{
    judge((uintptr_t)w->ctx, w->status, w->value, false);
}

/* A request that waits for a batch which is out. */
static void start_waiting(uint64_t key)
{
    waiting.done = waiting_done;
    waiting.ctx = (void *)(uintptr_t)key;
    must(tl_start(&s.l, key, &waiting), DLOAD_PENDING);
    must_ok(tl_dispatch(&s.l, NULL));
}

static void *load_one(void *arg)
{
    uint64_t out = 0;
    (void)arg;
    dload_status st = tl_load(&s.l, 1, &out);
    judge(1, st, out, false);
    return NULL;
}

static void fork_at_copy(void)
{
    spawn(1, load_one);
    for (unsigned ms = 0; ms < 20000 && __atomic_load_n(&copy_stage, __ATOMIC_ACQUIRE) != 2; ms++) {
        sleep_ms(1);
    }
    assert_int_equal(__atomic_load_n(&copy_stage, __ATOMIC_ACQUIRE), 2);
    pid_t pid = fork();
    if (pid == 0) {
        child_is_refused(&s.l);
    }
    bad(!child_went_well(pid));
    __atomic_store_n(&copy_stage, 3, __ATOMIC_RELEASE);
}

/* The mutex is held, by a thread that is not in the child. */
static void test_fork_mutex_held(void **state)
{
    (void)state;
    tl_config cfg = open_config(fetch_then_stop);
    must_ok(tl_init(&s.l, &cfg));
    start_waiting(2);
    fork_at_copy();
    answer_given();
    end();
}

/* A shard is locked, by a hit that copies its value. */
static void test_fork_shard_held(void **state)
{
    (void)state;
    tl_config cfg = open_config(fetch_slowly);
    must_ok(tl_init(&s.l, &cfg));
    (void)load_one(NULL);
    copy_stage = 1;
    fork_at_copy();
    end();
}

/* ---- while callers sleep ---- */

/* All wait for one batch, which is ended after the fork. */
static void test_fork_asleep(void **state)
{
    (void)state;
    tl_config cfg = open_config(fetch_later);
    dload_stats st = {0};
    must_ok(tl_init(&s.l, &cfg));
    start_waiting(1);
    spawn(N_THREADS, load_one);
    for (unsigned ms = 0; ms < 20000 && st.joins < N_THREADS; ms++) {
        sleep_ms(1);
        must_ok(tl_stats(&s.l, &st));
    }
    for (size_t i = 0; i < scaled(20) && n_of(&s.n_bad) == 0; i++) {
        pid_t pid = fork();
        if (pid == 0) {
            child_is_refused(&s.l);
        }
        bad(!child_went_well(pid));
    }
    equal(n_of(&s.n_ok), 0);
    answer_given();
    end();
    equal(s.n_ok, N_THREADS + 1);
}

/* ---- inside a fetch function ---- */

static dload_status fetch_forks(tl_batch *b)
{
    pid_t pid = b->keys[0] % 4 == 1 && n_of(&s.n_bad) == 0 ? fork() : -1;
    if (pid == 0) {
        s.given = b;
        child_is_refused(b->owner); /* does not return, as it must not from a fetch function */
    }
    dload_status st = fetch_slowly(b);
    bad(pid > 0 && !child_went_well(pid));
    return st;
}

static void test_fork_in_fetch(void **state)
{
    (void)state;
    tl_config cfg = open_config(fetch_forks);
    cfg.capacity = DLOAD_NO_CACHE;
    cfg.max_batch = 4;
    cfg.max_in_flight = 4;
    must_ok(tl_init(&s.l, &cfg));
    spawn(N_THREADS, load_until_stopped);
    sleep_ms((unsigned)scaled(300));
    end();
}

/* ---- a loader of the child's own ---- */

static void child_loads(tl *l)
{
    tl_config cfg = tl_config_default();
    uint64_t out = 0;
    cfg.fetch = fetch_slowly;
    SAYS(tl_init(l, &cfg), DLOAD_OK);
    for (uint64_t key = 0; key < 5; key++) {
        SAYS(tl_load(l, key, &out), DLOAD_OK);
        SAYS(out, key * 10);
    }
    SAYS(tl_load(l, 4, &out), DLOAD_OK);
    SAYS(tl_close(l, DLOAD_DRAIN, 0), DLOAD_OK);
    SAYS(tl_destroy(l), DLOAD_OK);
}

/* A child with a loader forks again: its loader is not its child's, either. */
static void child_with_loader(void)
{
    static tl own;
    tl_config cfg = tl_config_default();
    uint64_t out = 0;
    (void)alarm(5);
    dload_registry_init(&s.registry); /* the parent's loader is not in it any more */
    child_loads(&own);                /* anew */
    child_loads(&s.l);                /* in the place of the one that was the parent's */
    cfg.fetch = fetch_slowly;
    cfg.registry = &s.registry;
    SAYS(tl_init(&own, &cfg), DLOAD_OK);
    SAYS(tl_load(&own, 4, &out), DLOAD_OK);
    pid_t pid = fork();
    if (pid == 0) {
        child_is_refused(&own);
    }
    SAYS(child_went_well(pid), true);
    SAYS(tl_load(&own, 5, &out), DLOAD_OK);
    SAYS(out, 50);
    SAYS(tl_destroy(&own), DLOAD_OK);
    _exit(0);
}

static void test_fork_own_loader(void **state)
{
    (void)state;
    tl_config cfg = open_config(fetch_slowly);
    must_ok(tl_init(&s.l, &cfg));
    spawn(N_THREADS, load_until_stopped);
    for (size_t i = 0; i < scaled(20) && n_of(&s.n_bad) == 0; i++) {
        pid_t pid = fork();
        if (pid == 0) {
            child_with_loader();
        }
        bad(!child_went_well(pid));
    }
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fork_busy),       cmocka_unit_test(test_fork_storm),
        cmocka_unit_test(test_fork_mutex_held), cmocka_unit_test(test_fork_shard_held),
        cmocka_unit_test(test_fork_asleep),     cmocka_unit_test(test_fork_in_fetch),
        cmocka_unit_test(test_fork_own_loader),
    };
    return cmocka_run_group_tests_name("fork " TEST_STRING(TEST_LOCK), tests, NULL, NULL);
}
