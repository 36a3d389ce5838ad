/* One kind of loader for test_read.c: readers without the lock against writers. Included once a kind, with
 *
 *   CASE               its name, and the loader's prefix
 *   KEY_OF(k)          the key number k, as an expression; n_texts of them exist for strings
 *   VALUE              the value type; every word of it is made from key and version
 *   DLOAD_KEY ...      and what else the loader wants
 */
#define CASE_CAT_(a, b) a##_##b
#define CASE_CAT(a, b)  CASE_CAT_(a, b)
#define C(word)         CASE_CAT(CASE, word)

#define DLOAD_NAME  CASE
#define DLOAD_VALUE VALUE
#define DLOAD_LOCK  TEST_LOCK
#include "dataloader.h"
#include "support.h"

static C(cache) C(cache_);

static void C(fill)(VALUE *value, uint64_t k, uint64_t version)
{
    unsigned char *bytes = (unsigned char *)value;
    for (size_t i = 0; i < sizeof *value; i++) {
        bytes[i] = (unsigned char)(version + k * 7);
    }
}

/* The version of a value, modulo 256; a torn one is counted. */
static uint64_t C(version)(const VALUE *value, uint64_t k)
{
    const unsigned char *bytes = (const unsigned char *)value;
    for (size_t i = 1; i < sizeof *value; i++) {
        bad(bytes[i] != bytes[0]);
    }
    return (unsigned char)(bytes[0] - k * 7);
}

/* Thread 0 and 1 write the even and the odd keys, with versions that only grow; the others read. floor says
 * which versions a read that begins now may still see. */
static void C(race)(void *ctx, size_t thread)
{
    uint64_t seed = *(const uint64_t *)ctx + thread;
    size_t n = scaled(6000);
    VALUE value;
    for (size_t i = 0;
         thread < 2 && (i < n || __atomic_load_n(&n_hits, __ATOMIC_RELAXED) < ENOUGH_HITS); i++) {
        uint64_t k = rng_below(&seed, N_KEYS / 2) * 2 + thread;
        uint64_t version = __atomic_load_n(&versions[k], __ATOMIC_RELAXED) + 1;
        if (version % 4 == 3) {
            bad(C(cache_delete)(&C(cache_), KEY_OF(k)) != DLOAD_OK);
        } else {
            C(fill)(&value, k, version);
            bad(C(cache_set)(&C(cache_), KEY_OF(k), &value, DLOAD_SECOND * 1000) != DLOAD_OK);
        }
        __atomic_store_n(&versions[k], version, __ATOMIC_SEQ_CST);
    }
    if (thread < 2) {
        __atomic_add_fetch(&n_ended, 1, __ATOMIC_SEQ_CST);
    }
    while (thread >= 2 && __atomic_load_n(&n_ended, __ATOMIC_SEQ_CST) < 2) {
        uint64_t k = rng_below(&seed, N_KEYS);
        uint64_t before = __atomic_load_n(&versions[k], __ATOMIC_SEQ_CST);
        memset(&value, 0x5a, sizeof value);
        dload_status st = C(cache_get)(&C(cache_), KEY_OF(k), &value);
        uint64_t after = __atomic_load_n(&versions[k], __ATOMIC_SEQ_CST) + 1;
        if (st == DLOAD_OK) {
            /* in before .. after, which may be more than 256 apart: then nothing is known */
            uint64_t ahead = (C(version)(&value, k) - before) & 255u;
            bad(after - before < 256 && before + ahead > after);
            count(&n_hits);
        } else {
            bad(st != DLOAD_MISSING);
            for (size_t i = 0; i < sizeof value; i++) {
                bad(((unsigned char *)&value)[i] != 0x5a); /* out is written by a hit only */
            }
        }
    }
}

static void C(case)(size_t capacity)
{
    struct fake_env f;
    uint64_t seed = test_seed(TEST_STRING(CASE));
    fake_env_init_real(&f);
    C(cache_config) cfg;
    memset(&cfg, 0, sizeof cfg);
    cfg.env = &f.env;
    cfg.capacity = capacity;
    cfg.shards = 2;
    must_ok(C(cache_init)(&C(cache_), &cfg));
    memset(versions, 0, sizeof versions);
    n_bad = n_ended = n_hits = 0;
    run_threads(5, C(race), &seed);
    equal(n_bad, 0);
    must_ok(C(cache_destroy)(&C(cache_)));
    fake_env_check(&f);
}

#undef C
#undef CASE_CAT
#undef CASE_CAT_
#undef CASE
#undef KEY_OF
#undef VALUE
