/* Named locks between processes: who excludes whom, who dies, who has children. The files and names behind them have a
 * suite of their own, test_flock_files.c. */
/* tsan */
#include "test_flock.h"

/* ---- who excludes whom ---- */

static void count_in_process(void)
{
    const size_t n = scaled(60);
    for (size_t i = 0; i < n; i++) {
        dload_held held;
        bool ok = take("count", 60 * DLOAD_SECOND, &held) == DLOAD_OK;
        size_t count = *(volatile size_t *)&board->count;
        if (i % 8 == 0) {
            sleep_ms(1); /* so that whoever does not wait is seen */
        }
        *(volatile size_t *)&board->count = count + 1;
        if (!ok || check(&held) != DLOAD_OK || give(&held) != DLOAD_OK) {
            __atomic_add_fetch(&board->n_bad, 1, __ATOMIC_RELAXED);
        }
    }
}

static void test_processes_exclude_each_other(void **state)
{
    pid_t pids[8];
    (void)state;
    for (size_t i = 0; i < COUNT(pids); i++) {
        pids[i] = start(count_in_process);
    }
    for (size_t i = 0; i < COUNT(pids); i++) {
        went_well(pids[i]);
    }
    equal(board->count, COUNT(pids) * scaled(60));
}

static void count_in_thread(void *ctx, size_t i)
{
    (void)ctx;
    (void)i;
    const size_t n = scaled(30);
    for (size_t k = 0; k < n; k++) {
        dload_held held;
        bad(take("t", 60 * DLOAD_SECOND, &held) != DLOAD_OK);
        size_t before = __atomic_load_n(&n_counted, __ATOMIC_RELAXED);
        sleep_ms(k % 8 == 0);
        __atomic_store_n(&n_counted, before + 1, __ATOMIC_RELAXED);
        bad(give(&held) != DLOAD_OK);
    }
}

static void test_threads_exclude_each_other(void **state)
{
    (void)state;
    run_threads(8, count_in_thread, NULL);
    equal(n_counted, 8 * scaled(30));
}

static void test_several_names_are_held(void **state)
{
    dload_held a, b, again;
    (void)state;
    must_ok(take("a", 0, &a));
    must_ok(take("b", 0, &b));
    must(take("a", 0, &again), DLOAD_ETIMEDOUT);
    must(take("b", 10 * DLOAD_MILLISECOND, &again), DLOAD_ETIMEDOUT);
    must(check(&again), DLOAD_ELOCK);
    must_ok(check(&a));
    must_ok(give(&a));
    must(give(&a), DLOAD_ELOCK);
    must_ok(take("a", 0, &again));
    must_ok(give(&again));
    must_ok(give(&b));
}

/* ---- who dies, who stops ---- */

static void test_a_killed_holder_frees_it(void **state)
{
    dload_held held;
    (void)state;
    pid_t pid = start(hold);
    wait_for(1);
    must(take("a", 0, &held), DLOAD_ETIMEDOUT);
    server_end(pid, SIGKILL);
    must_ok(take("a", 0, &held));
    must_ok(give(&held));
}

static void test_a_stopped_holder_is_not_waited_for(void **state)
{
    dload_held held;
    (void)state;
    pid_t pid = start(hold);
    wait_for(1);
    equal(kill(pid, SIGSTOP), 0);
    uint64_t began_ns = real_ns();
    must(take("a", 100 * DLOAD_MILLISECOND, &held), DLOAD_ETIMEDOUT);
    assert_true(real_ns() - began_ns >= 100 * DLOAD_MILLISECOND);
    server_end(pid, SIGKILL);
    must_ok(take("a", 0, &held));
    must_ok(give(&held));
}

/* ---- children ---- */

static dload_held parents;

static void do_as_the_parent(void)
{
    dload_held own;
    bool ok = check(&parents) == DLOAD_ELOCK && take("a", 0, &own) == DLOAD_ETIMEDOUT &&
              give(&parents) == DLOAD_ELOCK && give(&parents) == DLOAD_ELOCK &&
              take("a", 0, &own) == DLOAD_ETIMEDOUT && take("b", 0, &own) == DLOAD_OK &&
              check(&own) == DLOAD_OK;
    say(1);
    if (!ok) {
        _exit(1);
    }
    sleep_for_ever();
}

static void test_a_child_neither_has_nor_frees_it(void **state)
{
    dload_held held;
    int status = 0;
    (void)state;
    must_ok(take("a", 0, &parents));
    pid_t pid = start(do_as_the_parent);
    wait_for(1);
    sleep_ms(5);
    equal(waitpid(pid, &status, WNOHANG), 0); /* it found all as it should be */
    must_ok(check(&parents));
    must(take("a", 0, &held), DLOAD_ETIMEDOUT);
    must(take("b", 0, &held), DLOAD_ETIMEDOUT); /* the child's own */
    must_ok(give(&parents));
    must_ok(take("a", 0, &held)); /* though the child lives */
    must_ok(give(&held));
    server_end(pid, SIGKILL);
}

static void have_a_child(bool runs_another_program)
{
    char *const argv[] = {(char *)(uintptr_t) "sleep", (char *)(uintptr_t) "60", NULL};
    pid_t pid = 0;
    if (!runs_another_program) {
        pid = fork();
        if (pid == 0) {
            (void)alarm(60);
            sleep_for_ever();
        }
    } else if (posix_spawnp(&pid, "sleep", NULL, NULL, argv, environ) != 0) {
        _exit(
            1); /* it calls no fork handlers: what the program has open, it has by O_CLOEXEC's leave */
    }
    __atomic_store_n(&board->child, pid, __ATOMIC_RELEASE);
}

static void hold_and_fork(void)
{
    dload_held held;
    if (take("a", 0, &held) != DLOAD_OK) {
        _exit(1);
    }
    have_a_child(false);
    say(1);
    sleep_for_ever();
}

static void hold_and_spawn(void)
{
    dload_held held;
    if (take("a", 0, &held) != DLOAD_OK) {
        _exit(1);
    }
    have_a_child(true);
    say(1);
    sleep_for_ever();
}

static void *wait_while_forking(void *arg)
{
    static dload_held held;
    (void)arg;
    bad(take("a", 60 * DLOAD_SECOND, &held) != DLOAD_OK);
    say(2);
    return NULL;
}

static bool has_file_open(void)
{
    dload_flock_i_list *all = dload_flock_i_all();
    (void)pthread_mutex_lock(&all->mutex);
    bool has = all->first != NULL && all->first->fd >= 0;
    (void)pthread_mutex_unlock(&all->mutex);
    return has;
}

/* Forks while another thread waits: its file is open, and not locked yet. */
static void wait_and_fork(void)
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, wait_while_forking, NULL) != 0) {
        _exit(1);
    }
    while (!has_file_open()) {
        sleep_ms(1);
    }
    have_a_child(false);
    say(1);
    sleep_for_ever();
}

static void child_does_not_keep(void (*body)(void), bool waits)
{
    dload_held held;
    if (waits) {
        must_ok(take("a", 0, &held));
    }
    pid_t pid = start(body);
    wait_for(1);
    if (waits) {
        must_ok(give(&held));
        wait_for(2);
    }
    must(take("a", 0, &held), DLOAD_ETIMEDOUT);
    server_end(pid, SIGKILL);
    pid_t child = __atomic_load_n(&board->child, __ATOMIC_ACQUIRE);
    assert_true(child > 0 && kill(child, 0) == 0); /* it lives */
    must_ok(take("a", 20 * DLOAD_SECOND, &held));  /* and closes its copies as soon as it runs */
    must_ok(give(&held));
    equal(kill(child, SIGKILL), 0);
}

static void test_a_child_does_not_keep_it(void **state)
{
    (void)state;
    child_does_not_keep(hold_and_fork, false);
}

static void test_another_program_does_not_keep_it(void **state)
{
    (void)state;
    child_does_not_keep(hold_and_spawn, false);
}

static void test_a_child_of_who_waits_does_not_keep_it(void **state)
{
    (void)state;
    child_does_not_keep(wait_and_fork, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(processes_exclude_each_other),
        CASE(threads_exclude_each_other),
        CASE(several_names_are_held),
        CASE(a_killed_holder_frees_it),
        CASE(a_stopped_holder_is_not_waited_for),
        CASE(a_child_neither_has_nor_frees_it),
        CASE(a_child_does_not_keep_it),
        CASE(another_program_does_not_keep_it),
        CASE(a_child_of_who_waits_does_not_keep_it),
    };
    return board_made() ? cmocka_run_group_tests(tests, NULL, NULL) : 1;
}
