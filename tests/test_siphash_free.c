/* DLOAD_HASH_SIP where there is no system to draw a secret from: the environment gives one, or the
 * configuration, or the loader is not made. */
/* locks: NONE */
#define DLOAD_FREESTANDING 1
#define DLOAD_NAME         fs
#define DLOAD_KEY          uint32_t
#define DLOAD_VALUE        uint32_t
#define DLOAD_HASH         DLOAD_HASH_SIP
#include "dataloader.h"
#include "support.h"

#include <string.h>

static dload_status fetch_none(fs_batch *b)
{
    (void)b;
    return DLOAD_OK;
}

static void test_siphash_freestanding(void **state)
{
    (void)state;
    for (int cached = 0; cached < 2; cached++) {
        struct fake_env f;
        fs l;
        fake_env_init(&f);
        fs_config cfg = fs_config_default();
        cfg.env = &f.env;
        cfg.fetch = fetch_none;
        cfg.capacity = cached ? 100 : DLOAD_NO_CACHE;
        assert_non_null(f.env.random);
        must_ok(fs_init(&l, &cfg));
        must_ok(fs_destroy(&l));
        f.env.random = NULL;
        must(fs_init(&l, &cfg), DLOAD_EINVAL);
        must_ok(fs_destroy(&l));
        assert_non_null(strstr(dload_strerror(DLOAD_EINVAL), "hash_key"));
        cfg.hash_key[0] = 1;
        must_ok(fs_init(&l, &cfg));
        must_ok(fs_destroy(&l));
        fake_env_check(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_siphash_freestanding),
    };
    return cmocka_run_group_tests_name("siphash, freestanding " TEST_STRING(TEST_LOCK), tests, NULL,
                                       NULL);
}
