/* Snapshots in files: the file is the old one or the new one, whenever the saver dies and whatever fails, and
 * nothing is left beside it. */
/* locks: NONE PTHREAD */
#define _GNU_SOURCE
#define DLOAD_NAME     ints
#define DLOAD_KEY      uint64_t
#define DLOAD_VALUE    uint64_t
#define DLOAD_LOCK     TEST_LOCK
#define DLOAD_SNAPSHOT 1
#include "dataloader.h"

#include "test_snapshot.h"

#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>

static char folder[64], path[96], beside[128];

static int setup(void **state)
{
    (void)state;
    fake_env_init(&env);
    snprintf(folder, sizeof folder, "build/snapshot.XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/cache", folder);
    snprintf(beside, sizeof beside, "%s.tmp", path);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    fake_env_check(&env);
    (void)unlink(path);
    (void)unlink(beside);
    assert_int_equal(rmdir(folder), 0); /* nothing else is in it */
    return 0;
}

static bool is_there(const char *name)
{
    struct stat st;
    return stat(name, &st) == 0;
}

/* Generation g of the cache: n entries that say which one it is. */
static void fill(ints_cache *c, uint64_t g, uint64_t n)
{
    for (uint64_t i = 0; i < n; i++) {
        uint64_t v = g * 1000000 + i;
        must_ok(ints_cache_set(c, i, &v, 0));
    }
}

/* Which generation the file has; all n entries must be of it. */
static uint64_t generation(uint64_t n)
{
    ints_cache c;
    size_t came = 0;
    uint64_t first = 0;
    OPEN(ints, &c, 100000, 1);
    must_ok(ints_cache_restore_file(&c, path, NULL, &came));
    equal(came, n);
    must_ok(ints_cache_get(&c, 0, &first));
    for (uint64_t i = 0; i < n; i++) {
        uint64_t v = 0;
        must_ok(ints_cache_get(&c, i, &v));
        equal(v, first + i);
    }
    must_ok(ints_cache_destroy(&c));
    return first / 1000000;
}

static void test_file(void **state)
{
    (void)state;
    ints l, m;
    ints_config cfg = ints_config_default();
    size_t n = 77;
    uint64_t v = 5;
    struct stat st;
    cfg.env = &env.env;
    cfg.fetch = (dload_status(*)(ints_batch *))(uintptr_t)1; /* never called */
    must_ok(ints_init(&l, &cfg));
    must_ok(ints_init(&m, &cfg));
    must(ints_restore_file(&l, path, NULL, &n), DLOAD_MISSING); /* the first start */
    equal(n, 0);
    must_ok(ints_prime(&l, 1, &v, 0));
    must_ok(ints_save_file(&l, path, NULL, &n));
    equal(n, 1);
    assert_false(is_there(beside));
    assert_int_equal(stat(path, &st), 0);
    equal(st.st_mode & 0777, 0600);
    must_ok(ints_restore_file(&m, path, NULL, &n));
    equal(n, 1);
    v = 0;
    must_ok(ints_load(&m, 1, &v));
    equal(v, 5);
    ints_snapshot how;
    memset(&how, 0, sizeof how);
    how.value_version = 2;
    must(ints_restore_file(&m, path, &how, &n), DLOAD_ELAYOUT);
    must_ok(ints_destroy(&l));
    must_ok(ints_destroy(&m));
}

/* ---- the saver is killed ---- */

/* Saves generations g, g + 1, ... for ever; says in *done which was the last that returned. */
static void save_for_ever(uint64_t g, uint64_t n, uint64_t *done)
{
    ints_cache c;
    ints_cache_config cfg = {.capacity = 100000, .shards = 1};
    if (ints_cache_init(&c, &cfg) < 0) {
        _exit(1);
    }
    for (;; g++) {
        for (uint64_t i = 0; i < n; i++) {
            uint64_t v = g * 1000000 + i;
            (void)ints_cache_set(&c, i, &v, 0);
        }
        if (ints_cache_save_file(&c, path, NULL, NULL) < 0) {
            _exit(2);
        }
        __atomic_store_n(done, g, __ATOMIC_RELEASE);
    }
}

static void test_killed(void **state)
{
    (void)state;
    uint64_t seed = test_seed("killed");
    const uint64_t n = 20000;
    ints_cache c;
    uint64_t *done =
        mmap(NULL, sizeof *done, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(done != MAP_FAILED);
    OPEN(ints, &c, 100000, 1);
    fill(&c, 1, n);
    must_ok(ints_cache_save_file(&c, path, NULL, NULL));
    *done = 1;
    size_t n_left = 0;
    for (size_t i = 0; i < scaled(40); i++) {
        uint64_t before = __atomic_load_n(done, __ATOMIC_ACQUIRE);
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            save_for_ever(before + 1, n, done);
        }
        /* somewhere within the first saves */
        const struct timespec span = {0, (long)(2000000 + rng_below(&seed, 30000000))};
        (void)nanosleep(&span, NULL);
        assert_int_equal(kill(child, SIGKILL), 0);
        int status = 0;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status));
        uint64_t after = __atomic_load_n(done, __ATOMIC_ACQUIRE);
        uint64_t found = generation(n);
        /* the last that returned, or the one after it, which was on its way */
        assert_true(found == after || found == after + 1);
        n_left += is_there(beside);
        if (found > after) {
            *done = found;
        }
    }
    printf("# %zu times something was left beside it\n", n_left);
    fill(&c, 777, n); /* what was left is no obstacle, and does not stay */
    must_ok(ints_cache_save_file(&c, path, NULL, NULL));
    equal(generation(n), 777);
    assert_false(is_there(beside));
    must_ok(ints_cache_destroy(&c));
    assert_int_equal(munmap(done, sizeof *done), 0);
}

/* ---- it cannot be written ---- */

static void test_no_space(void **state)
{
    (void)state;
    const uint64_t n = 20000;
    ints_cache c;
    struct rlimit before, limit;
    size_t saved = 77;
    OPEN(ints, &c, 100000, 1);
    fill(&c, 1, n);
    must_ok(ints_cache_save_file(&c, path, NULL, NULL));
    fill(&c, 2, n);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    for (rlim_t size = 0; size < 400000;
         size += 50001) { /* a write in the middle comes back short */
        limit = before;
        limit.rlim_cur = size;
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
        errno = 0;
        dload_status st = ints_cache_save_file(&c, path, NULL, &saved);
        int said = errno;
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
        must(st, DLOAD_EIO);
        assert_int_equal(said, EFBIG);
        equal(saved, 0);
        assert_false(is_there(beside));
        equal(generation(n), 1);
    }
    (void)signal(SIGXFSZ, handler);
    must_ok(ints_cache_save_file(&c, path, NULL, &saved));
    equal(saved, n);
    equal(generation(n), 2);
    must_ok(ints_cache_destroy(&c));
}

static void test_paths(void **state)
{
    (void)state;
    ints_cache c;
    char name[200];
    size_t n = 77;
    OPEN(ints, &c, 100, 1);
    fill(&c, 1, 10);
    snprintf(name, sizeof name, "%s/no/cache", folder);
    must(ints_cache_save_file(&c, name, NULL, NULL), DLOAD_EIO);
    must(ints_cache_restore_file(&c, name, NULL, &n), DLOAD_MISSING);
    must(ints_cache_save_file(&c, folder, NULL, NULL), DLOAD_EIO); /* a folder is not replaced */
    snprintf(name, sizeof name, "%s.tmp", folder);
    assert_false(is_there(name));
    must(ints_cache_restore_file(&c, folder, NULL, &n), DLOAD_EIO);
    must(ints_cache_save_file(&c, "", NULL, NULL), DLOAD_EIO);
    (void)unlink(".tmp");
    if (geteuid() != 0) { /* root may write everywhere */
        assert_int_equal(chmod(folder, 0500), 0);
        must(ints_cache_save_file(&c, path, NULL, NULL), DLOAD_EIO);
        assert_int_equal(chmod(folder, 0700), 0);
    }
    assert_int_equal(symlink("elsewhere", beside), 0); /* nobody makes us write somewhere else */
    must(ints_cache_save_file(&c, path, NULL, NULL), DLOAD_EIO);
    snprintf(name, sizeof name, "%s/elsewhere", folder);
    assert_false(is_there(name));
    assert_int_equal(unlink(beside), 0);
    must_ok(ints_cache_save_file(&c, path, NULL, NULL));
    equal(generation(10), 1);
    must_ok(ints_cache_destroy(&c));
}

/* Two savers of one file: the second is told, whoever it is, and the first is not disturbed. */
static void test_two_savers(void **state)
{
    (void)state;
    ints_cache c;
    dload_i_file f;
    OPEN(ints, &c, 100, 1);
    fill(&c, 1, 10);
    must_ok(ints_cache_save_file(&c, path, NULL, NULL));
    must_ok(dload_i_file_create(&f, &env.env, path));
    fill(&c, 2, 10);
    must(ints_cache_save_file(&c, path, NULL, NULL), DLOAD_EBUSY);
    assert_true(is_there(beside));
    must(dload_i_file_commit(&f, DLOAD_EFETCH), DLOAD_EFETCH); /* it fails: the file is as it was */
    assert_false(is_there(beside));
    equal(generation(10), 1);
    must_ok(ints_cache_save_file(&c, path, NULL, NULL));
    equal(generation(10), 2);
    must_ok(ints_cache_destroy(&c));
}

static void test_forked(void **state)
{
    (void)state;
    ints_cache c;
    OPEN(ints, &c, 100, 1);
    fill(&c, 1, 10);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) { /* without a lock a child may save what it has inherited */
        dload_status want = TEST_LOCK == DLOAD_LOCK_NONE ? DLOAD_OK : DLOAD_EFORK;
        _exit(ints_cache_save_file(&c, path, NULL, NULL) == want ? 0 : 1);
    }
    int status = 1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    must_ok(ints_cache_destroy(&c));
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_file),  TEST(test_killed),     TEST(test_no_space),
        TEST(test_paths), TEST(test_two_savers), TEST(test_forked),
    };
    return cmocka_run_group_tests_name("snapshot_crash", tests, NULL, NULL);
}
