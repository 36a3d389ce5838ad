/* A snapshot knows nothing of how its keys were hashed: it comes back under another secret, with other
 * shards, and without SipHash; and no byte of the secret is in it. */
/* locks: NONE PTHREAD */
#define DLOAD_NAME     sip
#define DLOAD_KEY      uint64_t
#define DLOAD_VALUE    uint64_t
#define DLOAD_LOCK     TEST_LOCK
#define DLOAD_GROUP    1
#define DLOAD_HASH     DLOAD_HASH_SIP
#define DLOAD_SNAPSHOT 1
#include "dataloader.h"
#define DLOAD_NAME     fast
#define DLOAD_KEY      uint64_t
#define DLOAD_VALUE    uint64_t
#define DLOAD_LOCK     TEST_LOCK
#define DLOAD_GROUP    1
#define DLOAD_SNAPSHOT 1
#include "dataloader.h"
#include "test_snapshot.h"

enum { N = 500 };

static void open_sip(sip_cache *c, uint64_t secret, size_t n_shards)
{
    sip_cache_config cfg;
    memset(&cfg, 0, sizeof cfg);
    cfg.env = &env.env;
    cfg.capacity = (size_t)4 * N;
    cfg.shards = n_shards;
    cfg.hash_key[0] = secret;
    cfg.hash_key[1] = ~secret;
    must_ok(sip_cache_init(c, &cfg));
}

#define FILL(name, c)                                                \
    for (uint64_t i = 0; i < N; i++) {                               \
        uint64_t value = i * 7;                                      \
        must_ok(name##_cache_set_in((c), i % 5, i * 64, &value, 0)); \
    }

#define MUST_HAVE(name, c)                                              \
    for (uint64_t i = 0; i < N; i++) {                                  \
        uint64_t got = 0;                                               \
        must_ok(name##_cache_get_in((c), i % 5, i * 64, &got));         \
        equal(got, i * 7);                                              \
        must(name##_cache_get_in((c), 5, i * 64, &got), DLOAD_MISSING); \
    }

static bool holds(const struct tape *t, uint64_t word)
{
    for (size_t at = 0; at + sizeof word <= t->n; at++) {
        if (memcmp(t->bytes + at, &word, sizeof word) == 0) {
            return true;
        }
    }
    return false;
}

static void test_snapshot_secret(void **state)
{
    (void)state;
    const uint64_t secret = UINT64_C(0x5ec2e75ec2e75ec2);
    sip_cache a, b;
    fast_cache f;
    open_sip(&a, secret, 4);
    FILL(sip, &a);
    SAVE(sip, &a, &tape, N);
    assert_true(holds(&tape, 64 * (N - 1)));
    assert_false(holds(&tape, secret) || holds(&tape, ~secret));
    open_sip(&b, 1, 8);
    RESTORE(sip, &b, &tape, N);
    MUST_HAVE(sip, &b);
    OPEN(fast, &f, (size_t)4 * N, 2);
    RESTORE(fast, &f, &tape, N);
    MUST_HAVE(fast, &f);
    tape_clear(&tape);
    /* and the way back */
    SAVE(fast, &f, &tape, N);
    must_ok(sip_cache_clear(&a));
    RESTORE(sip, &a, &tape, N);
    MUST_HAVE(sip, &a);
    must_ok(sip_cache_destroy(&a));
    must_ok(sip_cache_destroy(&b));
    must_ok(fast_cache_destroy(&f));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SNAPSHOT_TEST(test_snapshot_secret),
    };
    return cmocka_run_group_tests_name("snapshot, secret " TEST_STRING(TEST_LOCK), tests, NULL,
                                       NULL);
}
