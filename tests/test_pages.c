/* Large pages: a large table asks for them, a small one does not, nor one in memory of the caller's own; and
 * it makes no difference to what a cache holds or says. */
/* locks: NONE PTHREAD */
/* also plain: DLOAD_LARGE_PAGES=0 */
#define DLOAD_NAME  pg
#define DLOAD_KEY   uint64_t
#define DLOAD_VALUE uint64_t
#define DLOAD_LOCK  TEST_LOCK
#include "dataloader.h"
#include "support.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#ifdef DLOAD_I_ADVICE
enum { ASKS = 1 };
#else
enum { ASKS = 0 };
#endif

/* Can the kernel be asked at all? */
static bool kernel_listens(void)
{
    FILE *f = fopen("/sys/kernel/mm/transparent_hugepage/enabled", "r");
    if (f != NULL) {
        (void)fclose(f);
    }
    return f != NULL;
}

/* Is p in memory for which large pages were asked? */
static bool asked_for(const void *p)
{
    FILE *f = fopen("/proc/self/smaps", "r");
    char line[512];
    bool here = false, asked = false;
    while (f != NULL && fgets(line, sizeof line, f) != NULL) {
        uintptr_t from = 0, to = 0;
        if (sscanf(line, "%" SCNxPTR "-%" SCNxPTR " ", &from, &to) == 2) {
            here = from <= (uintptr_t)p && (uintptr_t)p < to;
        } else if (here && strncmp(line, "VmFlags:", 8) == 0) {
            asked = asked || strstr(line, " hg") != NULL;
        }
    }
    if (f != NULL) {
        (void)fclose(f);
    }
    return asked;
}

static void fill(pg_cache *c, const dload_env *env, size_t capacity)
{
    pg_cache_config cfg;
    memset(&cfg, 0, sizeof cfg);
    cfg.capacity = capacity;
    cfg.env = env;
    cfg.shards = 1;
    must_ok(pg_cache_init(c, &cfg));
    for (uint64_t k = 0; k < capacity; k++) {
        must_ok(pg_cache_set(c, k, &k, 0));
    }
    equal(pg_cache_len(c), capacity);
    for (uint64_t k = 0; k < capacity; k += 97) {
        uint64_t value = 0;
        must_ok(pg_cache_get(c, k, &value));
        equal(value, k);
    }
}

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#elif defined(__has_feature)
#define SANITIZED __has_feature(address_sanitizer)
#else
#define SANITIZED 0
#endif

enum { LARGE = 200000, SMALL = 1000 };

static void test_large_table(void **state)
{
    (void)state;
    struct fake_env f;
    fake_env_init(&f);
    pg_cache c, own;
    fill(&c, NULL, LARGE);
    fill(&own, &f.env, LARGE);
    const char *block = (const char *)c.shard[0].block;
    assert_true(c.shard[0].block_bytes >= (size_t)1 << 22);
    if (ASKS) {
        equal((uintptr_t)block % ((size_t)1 << 21), 0);
    }
    if (kernel_listens()) {
        equal(asked_for(block), ASKS);
        equal(asked_for(block + ((size_t)1 << 21)), ASKS);
    }
    /* What is one's own stays that, and what is counted is what was asked for. */
    assert_false(asked_for(own.shard[0].block));
    equal(pg_cache_bytes(&c), pg_cache_bytes(&own));
    equal(pg_cache_bytes(&own), f.live_bytes);
    must_ok(pg_cache_destroy(&own));
    must_ok(pg_cache_destroy(&c));
    fake_env_check(&f);
}

static void test_small_table(void **state)
{
    (void)state;
    pg_cache c;
    fill(&c, NULL, SMALL);
    assert_false(asked_for(c.shard[0].block));
    assert_true((uintptr_t)c.shard[0].block % ((size_t)1 << 21) !=
                0); /* it wastes nothing on that either */
    must_ok(pg_cache_destroy(&c));
}

#if !SANITIZED
/* A block that nobody can have is refused as before. */
static void test_too_large(void **state)
{
    (void)state;
    const dload_env *env = dload_env_default();
    volatile size_t n_bytes = SIZE_MAX - 64;
    assert_null(env->alloc(env->ctx, n_bytes));
    n_bytes = SIZE_MAX / 2;
    assert_null(env->alloc(env->ctx, n_bytes));
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_large_table),
        cmocka_unit_test(test_small_table),
#if !SANITIZED /* those end the program */
        cmocka_unit_test(test_too_large),
#endif
    };
    return cmocka_run_group_tests_name("pages", tests, NULL, NULL);
}
