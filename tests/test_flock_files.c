/* The files behind named locks by flock: removed ones, planted ones, their names, and what runs out. */
/* tsan */
#include "test_flock.h"

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
    const struct CMUnitTest tests[] = {
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
    return board_made() ? cmocka_run_group_tests(tests, NULL, NULL) : 1;
}
