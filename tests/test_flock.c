/* Named locks between processes: the traps of flock(2), each with the processes that fall into it. */
/* tsan */
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
static size_t n_bad; /* atomic */

/* In memory of all processes. */
static struct board {
    size_t count; /* under the lock "count" */
    size_t n_bad; /* atomic */
    pid_t child;  /* of the holder; atomic */
    uint32_t at;  /* how far the holder is; atomic */
} * board;

static void bad(bool is_bad)
{
    if (is_bad) {
        __atomic_add_fetch(&n_bad, 1, __ATOMIC_RELAXED);
    }
}

static dload_status take_of(dload_flock *of, const char *name, uint64_t timeout_ns,
                            dload_held *held)
{
    return of->locks.take(&of->locks, dload_str_from(name), timeout_ns, held);
}

static dload_status take(const char *name, uint64_t timeout_ns, dload_held *held)
{
    return take_of(&f, name, timeout_ns, held);
}

static dload_status give(dload_held *held)
{
    return f.locks.give(&f.locks, held);
}

static dload_status check(dload_held *held)
{
    return f.locks.check(&f.locks, held);
}

static int begin(void **state)
{
    (void)state;
    assert_true(server_folder(folder, sizeof folder));
    (void)snprintf(locks, sizeof locks, "%s/locks", folder);
    fake_env_init_real(&env);
    memset(board, 0, sizeof *board);
    must_ok(dload_flock_init(&f, locks, &env.env));
    return 0;
}

static int end(void **state)
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
static const char *file_of(dload_str name)
{
    static char path[sizeof locks + 1 + DLOAD_FLOCK_I_NAME_MAX];
    char file[DLOAD_FLOCK_I_NAME_MAX];
    dload_flock_i_file_name(name, file);
    (void)snprintf(path, sizeof path, "%s/%s", locks, file);
    return path;
}

/* ---- processes ---- */

static pid_t start(void (*body)(void))
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

static void went_well(pid_t pid)
{
    int status = 0;
    while (waitpid(pid, &status, 0) < 0) {
        equal(errno, EINTR);
    }
    equal(status, 0);
}

static void say(uint32_t at)
{
    __atomic_store_n(&board->at, at, __ATOMIC_RELEASE);
}

static void wait_for(uint32_t at)
{
    while (__atomic_load_n(&board->at, __ATOMIC_ACQUIRE) < at) {
        sleep_ms(1);
    }
}

static void sleep_for_ever(void)
{
    for (;;) {
        sleep_ms(1000);
    }
}

/* Takes the lock, and keeps it until it is killed. */
static void hold(void)
{
    dload_held held;
    if (take("a", 0, &held) != DLOAD_OK) {
        _exit(1);
    }
    say(1);
    sleep_for_ever();
}

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

static size_t n_counted; /* under the lock "t" */

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

/* ---- files that go ---- */

static void test_a_removed_file_is_no_lock(void **state)
{
    dload_held old, now, again;
    (void)state;
    must_ok(take("a", 0, &old));
    equal(unlink(file_of(dload_str_from("a"))), 0);
    must(check(&old), DLOAD_ELOCK);
    must_ok(take("a", 0, &now)); /* another file: who had the old one is told by check and give */
    must(check(&old), DLOAD_ELOCK);
    must(give(&old), DLOAD_ELOCK);
    must_ok(check(&now)); /* giving the old one took nothing from this one */
    must(take("a", 0, &again), DLOAD_ETIMEDOUT);
    must_ok(give(&now));
}

static void wait_for_it(void *ctx, size_t i)
{
    dload_held *held = ctx;
    if (i == 0) { /* the others wait for the old file: it goes, and another is held in its place */
        sleep_ms(50);
        bad(unlink(file_of(dload_str_from("a"))) != 0);
        dload_held now;
        bad(take("a", 10 * DLOAD_SECOND, &now) != DLOAD_OK);
        bad(give(held) != DLOAD_ELOCK);
        size_t before = __atomic_load_n(&n_counted, __ATOMIC_RELAXED);
        sleep_ms(100);
        bad(__atomic_load_n(&n_counted, __ATOMIC_RELAXED) != before);
        __atomic_store_n(&n_counted, before + 1, __ATOMIC_RELAXED);
        bad(give(&now) != DLOAD_OK);
        return;
    }
    dload_held own;
    bad(take("a", 60 * DLOAD_SECOND, &own) != DLOAD_OK);
    size_t before = __atomic_load_n(&n_counted, __ATOMIC_RELAXED);
    sleep_ms(20);
    __atomic_store_n(&n_counted, before + 1, __ATOMIC_RELAXED);
    bad(give(&own) != DLOAD_OK);
}

static void test_a_file_goes_while_others_wait(void **state)
{
    dload_held held;
    (void)state;
    n_counted = 0;
    must_ok(take("a", 0, &held));
    run_threads(4, wait_for_it, &held);
    equal(n_counted, 4);
}

static void test_the_folder_goes(void **state)
{
    dload_held held, again;
    char away[176];
    (void)state;
    must_ok(take("a", 0, &held));
    (void)snprintf(away, sizeof away, "%s.away", locks);
    equal(rename(locks, away), 0);
    must(check(&held), DLOAD_ELOCK);
    must(take("a", 0, &again), DLOAD_ELOCK);
    equal(mkdir(locks, 0700), 0);
    must_ok(take("a", 0, &again));
    must(check(&held), DLOAD_ELOCK);
    must(give(&held), DLOAD_ELOCK);
    must_ok(give(&again));
}

/* ---- what somebody planted ---- */

static void test_planted_files_are_refused(void **state)
{
    dload_held held;
    char target[176];
    struct stat st;
    (void)state;
    (void)snprintf(target, sizeof target, "%s/target", folder);
    equal(symlink(target, file_of(dload_str_from("link"))), 0);
    must(take("link", 0, &held), DLOAD_ELOCK);
    assert_true(stat(target, &st) != 0); /* nothing was made behind it */
    int fd = open(target, O_RDWR | O_CREAT, 0600);
    assert_true(fd >= 0);
    must(take("link", 0, &held), DLOAD_ELOCK);
    equal(flock(fd, LOCK_EX | LOCK_NB), 0); /* nor was it locked */
    (void)close(fd);
    equal(mkfifo(file_of(dload_str_from("pipe")), 0600), 0);
    must(take("pipe", 0, &held), DLOAD_ELOCK);
    equal(mkdir(file_of(dload_str_from("folder")), 0700), 0);
    must(take("folder", 0, &held), DLOAD_ELOCK);
    if (geteuid() == 0) {
        fd = open(file_of(dload_str_from("theirs")), O_RDWR | O_CREAT, 0666);
        assert_true(fd >= 0 && fchown(fd, 65534, 65534) == 0);
        (void)close(fd);
        must(take("theirs", 0, &held), DLOAD_ELOCK);
    }
}

static void refused(const char *path)
{
    dload_flock other;
    must(dload_flock_init(&other, path, NULL), DLOAD_ELOCK);
    dload_flock_destroy(&other);
}

static void test_folders_that_are_not_private(void **state)
{
    dload_flock other;
    dload_held held;
    char path[176];
    (void)state;
    (void)snprintf(path, sizeof path, "%s/linked", folder);
    equal(symlink(locks, path), 0);
    refused(path);
    (void)snprintf(path, sizeof path, "%s/file", folder);
    int fd = open(path, O_RDWR | O_CREAT, 0600);
    assert_true(fd >= 0);
    (void)close(fd);
    refused(path);
    (void)snprintf(path, sizeof path, "%s/none/below", folder);
    refused(path);
    (void)snprintf(path, sizeof path, "%s/open", folder);
    equal(mkdir(path, 0700), 0);
    equal(chmod(path, 0750), 0);
    refused(path);
    equal(chmod(path, 0700), 0);
    must_ok(dload_flock_init(&other, path, NULL));
    equal(chmod(path, 0701), 0); /* later */
    must(take_of(&other, "a", 0, &held), DLOAD_ELOCK);
    if (geteuid() == 0) {
        equal(chmod(path, 0700), 0);
        equal(chown(path, 65534, 65534), 0);
        must(take_of(&other, "a", 0, &held), DLOAD_ELOCK);
        refused(path);
    }
    dload_flock_destroy(&other);
    must(dload_flock_init(&other, "locks", NULL), DLOAD_EINVAL);
    must(dload_flock_init(&other, "", NULL), DLOAD_EINVAL);
    must(dload_flock_init(&other, NULL, NULL), DLOAD_EINVAL);
    must(dload_flock_init(NULL, locks, NULL), DLOAD_EINVAL);
    dload_flock_destroy(NULL);
}

/* ---- names ---- */

/* Entries of a folder. All in ours have names of hexadecimal digits and are ours alone. */
static size_t n_files(const char *path, bool ours)
{
    size_t n = 0;
    DIR *d = opendir(path);
    assert_non_null(d);
    for (const struct dirent *e = readdir(d); e != NULL; e = readdir(d)) {
        struct stat st;
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) {
            continue;
        }
        n++;
        if (ours) {
            equal(strspn(e->d_name + 1, "0123456789abcdef"), strlen(e->d_name) - 1);
            equal(fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW), 0);
            equal(st.st_mode, S_IFREG | 0600);
            equal(st.st_size, 0);
        }
    }
    (void)closedir(d);
    return n;
}

static void test_names_are_no_paths(void **state)
{
    static char large[4096];
    (void)state;
    memset(large, '/', sizeof large);
    const dload_str names[] = {{"", 0},
                               {"\0", 1},
                               {"..", 2},
                               {"../../target", 12},
                               {"/", 1},
                               {"/etc/x", 6},
                               {"a\0b", 3},
                               {"a\0c", 3},
                               {"%s%n\r\n{}'\"", 11},
                               {"\377\376", 2},
                               {large, 96},
                               {large, 97},
                               {large, 255},
                               {large, 300},
                               {large, 4095},
                               {large, 4096},
                               {"n", 1},
                               {"6e", 2},
                               {"A", 1},
                               {"a", 1}};
    dload_held held[COUNT(names)], again;
    mode_t mask = umask(0);
    for (size_t i = 0; i < COUNT(names); i++) {
        must_ok(f.locks.take(&f.locks, names[i], 0, &held[i]));
    }
    for (size_t i = 0; i < COUNT(names); i++) {
        must(f.locks.take(&f.locks, names[i], 0, &again), DLOAD_ETIMEDOUT);
        must_ok(give(&held[i]));
    }
    (void)umask(mask);
    equal(n_files(locks, true), COUNT(names));
    equal(n_files(folder, false), 1);
    struct stat st;
    equal(stat(locks, &st), 0);
    equal(st.st_mode, S_IFDIR | 0700);
    dload_str none = {NULL, 3};
    must(f.locks.take(&f.locks, none, 0, &again), DLOAD_EINVAL);
    must(f.locks.take(&f.locks, names[0], 0, NULL), DLOAD_EINVAL);
}

/* Long names that differ in one byte, wherever it is, have files of their own. */
static void test_long_names_have_files_of_their_own(void **state)
{
    char name[300], first[DLOAD_FLOCK_I_NAME_MAX], other[DLOAD_FLOCK_I_NAME_MAX];
    (void)state;
    memset(name, 'x', sizeof name);
    dload_str str = {name, sizeof name};
    dload_flock_i_file_name(str, first);
    assert_true(strlen(first) < sizeof first && strlen(first) <= NAME_MAX);
    for (size_t i = 0; i < sizeof name * 8; i++) {
        name[i / 8] = (char)(name[i / 8] ^ (1 << i % 8));
        dload_flock_i_file_name(str, other);
        assert_string_not_equal(first, other);
        /* not in its readable part alone */
        assert_true(strcmp(first + strlen(first) - 32, other + strlen(other) - 32) != 0);
        name[i / 8] = (char)(name[i / 8] ^ (1 << i % 8));
    }
}

/* ---- what runs out ---- */

static void without_files(void)
{
    dload_held held;
    struct rlimit few = {3, 3};
    if (setrlimit(RLIMIT_NOFILE, &few) != 0 || take("a", 60 * DLOAD_SECOND, &held) != DLOAD_ELOCK ||
        errno != EMFILE || held.impl != NULL) {
        _exit(1);
    }
}

static void test_without_files(void **state)
{
    (void)state;
    went_well(start(without_files));
}

static void with_failing_memory(struct fake_env *e)
{
    dload_flock other;
    dload_held a, b;
    fake_env_arm(e);
    dload_status st = dload_flock_init(&other, locks, &e->env);
    if (st == DLOAD_OK) {
        dload_status st_a = take_of(&other, "a", 0, &a);
        dload_status st_b = take_of(&other, "b", 0, &b);
        assert_true(st_a == DLOAD_OK || st_a == DLOAD_ENOMEM);
        assert_true(st_b == DLOAD_OK || st_b == DLOAD_ENOMEM);
        must(other.locks.give(&other.locks, &a), st_a == DLOAD_OK ? DLOAD_OK : DLOAD_ELOCK);
        must(other.locks.give(&other.locks, &b), st_b == DLOAD_OK ? DLOAD_OK : DLOAD_ELOCK);
        dload_flock_destroy(&other);
    } else {
        must(st, DLOAD_ENOMEM);
    }
    fake_env_disarm(e);
}

static void test_without_memory(void **state)
{
    (void)state;
    assert_true(fail_until_ok("flock", with_failing_memory) >= 3);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(test_##name, begin, end)
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
        CASE(a_removed_file_is_no_lock),
        CASE(a_file_goes_while_others_wait),
        CASE(the_folder_goes),
        CASE(planted_files_are_refused),
        CASE(folders_that_are_not_private),
        CASE(names_are_no_paths),
        CASE(long_names_have_files_of_their_own),
        CASE(without_files),
        CASE(without_memory),
    };
    board = mmap(NULL, sizeof *board, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (board == MAP_FAILED) {
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
