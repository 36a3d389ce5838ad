/* Snapshots that cannot be: arguments, layouts, callbacks and memory that fail. What a stream looks like that
 * was damaged: test_snapshot_damage.c. */
/* locks: NONE SPIN PTHREAD */
#define DLOAD_NAME     ints
#define DLOAD_KEY      uint64_t
#define DLOAD_VALUE    uint64_t
#define DLOAD_LOCK     TEST_LOCK
#define DLOAD_CLOCK    DLOAD_CLOCK_MANUAL
#define DLOAD_SNAPSHOT 1
#include "dataloader.h"

struct padded {
    char a;
    double b;
    short c;
};
#define DLOAD_NAME     strs
#define DLOAD_KEY      DLOAD_STRING
#define DLOAD_VALUE    struct padded
#define DLOAD_LOCK     TEST_LOCK
#define DLOAD_SNAPSHOT 1
#include "dataloader.h"

#include "test_snapshot.h"

static void test_arguments(void **state)
{
    (void)state;
    ints_cache c;
    size_t n = 77;
    ints_snapshot none;
    memset(&none, 0, sizeof none);
    OPEN(ints, &c, 100, 1);
    must(ints_cache_save(&c, NULL, &n), DLOAD_EINVAL);
    must(ints_cache_save(&c, &none, &n), DLOAD_EINVAL);
    must(ints_cache_restore(&c, NULL, &n), DLOAD_EINVAL);
    must(ints_cache_restore(&c, &none, &n), DLOAD_EINVAL);
    must(ints_cache_save_file(&c, NULL, NULL, &n), DLOAD_EINVAL);
    must(ints_cache_restore_file(&c, NULL, NULL, &n), DLOAD_EINVAL);
    must_ok(ints_cache_destroy(&c));
    OPEN(ints, &c, DLOAD_NO_CACHE, 0); /* caching off: nothing to save, nowhere to put it */
    SAVE(ints, &c, &tape, 0);
    ints_cache d;
    OPEN(ints, &d, 100, 1);
    RESTORE(ints, &d, &tape, 0);
    uint64_t v = 1;
    must_ok(ints_cache_set(&d, 1, &v, 0));
    tape_clear(&tape);
    SAVE(ints, &d, &tape, 1);
    RESTORE(ints, &c, &tape, 0);
    must_ok(ints_cache_destroy(&d));
    must_ok(ints_cache_destroy(&c));
}

/* Another version of the value, another key, another value: refused, and nothing is read into it. */
static void test_layout(void **state)
{
    (void)state;
    ints_cache c;
    strs_cache s;
    uint64_t v = 1;
    OPEN(ints, &c, 100, 1);
    OPEN(strs, &s, 100, 1);
    must_ok(ints_cache_set(&c, 1, &v, 0));
    SAVE(ints, &c, &tape, 1);
    TAPE_HOW(ints, how, &tape);
    TAPE_HOW(strs, how_s, &tape);
    how.value_version = 1;
    must(ints_cache_restore(&c, &how, NULL), DLOAD_ELAYOUT);
    tape_rewind(&tape);
    must(strs_cache_restore(&s, &how_s, NULL), DLOAD_ELAYOUT);
    equal(strs_cache_len(&s), 0);
    must_ok(ints_cache_destroy(&c));
    must_ok(strs_cache_destroy(&s));
}

/* What a callback says when it fails is what the call says, wherever it fails. */
static void test_callbacks_fail(void **state)
{
    (void)state;
    ints_cache c, d;
    OPEN(ints, &c, 8000, 1);
    for (uint64_t i = 0; i < 8000; i++) {
        must_ok(ints_cache_set(&c, i, &i, 0));
    }
    SAVE(ints, &c, &tape, 8000);
    const size_t whole = tape.n;
    for (size_t at = 1; at < whole; at += 5000) {
        TAPE_HOW(ints, how, &tape);
        size_t n = 77;
        tape.fail_after = at;
        tape.status = (dload_status)(DLOAD_EUSER - 5);
        tape.at = tape.n = 0;
        must(ints_cache_save(&c, &how, &n), tape.status);
        equal(n, 0);
        tape.n = whole;
        OPEN(ints, &d, 8000, 1);
        must(ints_cache_restore(&d, &how, &n), tape.status);
        equal(n, ints_cache_len(&d));
        must_ok(ints_cache_destroy(&d));
        tape.status = DLOAD_PENDING; /* makes no sense here, and must not look like an answer */
        tape.at = 0;
        OPEN(ints, &d, 8000, 1);
        must(ints_cache_restore(&d, &how, &n), DLOAD_EINVAL);
        must_ok(ints_cache_destroy(&d));
    }
    must_ok(ints_cache_destroy(&c));
}

static void without_memory(struct fake_env *f)
{
    static struct tape t;
    strs_cache c, d;
    strs_cache_config cfg = {.env = &f->env, .capacity = 200};
    char key[6000];
    size_t n = 0;
    must_ok(strs_cache_init(&c, &cfg));
    must_ok(strs_cache_init(&d, &cfg));
    for (int i = 0; i < 100; i++) {
        struct padded v = {1, i, 2};
        memset(key, i, sizeof key);
        must_ok(strs_cache_set(&c, (dload_str){key, (size_t)i * 60}, &v, 0));
    }
    tape_clear(&t);
    TAPE_HOW(strs, how, &t);
    fake_env_arm(f);
    dload_status st = strs_cache_save(&c, &how, &n);
    assert_true(st == DLOAD_OK ? n == 100 : st == DLOAD_ENOMEM && n == 0);
    fake_env_disarm(f);
    if (st == DLOAD_OK) {
        fake_env_arm(f);
        st = strs_cache_restore(&d, &how, &n);
        assert_true(st == DLOAD_OK ? n == 100 : st == DLOAD_ENOMEM && n < 100);
        equal(n, strs_cache_len(&d));
        fake_env_disarm(f);
    }
    must_ok(strs_cache_destroy(&c));
    must_ok(strs_cache_destroy(&d));
    tape_clear(&t);
}

static void test_out_of_memory(void **state)
{
    (void)state;
    assert_true(fail_until_ok("snapshot", without_memory) > 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SNAPSHOT_TEST(test_arguments),
        SNAPSHOT_TEST(test_layout),
        SNAPSHOT_TEST(test_callbacks_fail),
        SNAPSHOT_TEST(test_out_of_memory),
    };
    return cmocka_run_group_tests_name("snapshot refused", tests, NULL, NULL);
}
