/* Snapshots that are not what was written: every bit turned, every place cut, blocks left out, doubled and
 * moved, forged lengths, garbage. Refused, or as if nothing had happened; and the cache has what verified
 * blocks said, nothing else. */
/* locks: NONE */
#define DLOAD_NAME     blobs
#define DLOAD_KEY      DLOAD_STRING
#define DLOAD_VALUE    DLOAD_BLOB
#define DLOAD_CLOCK    DLOAD_CLOCK_MANUAL
#define DLOAD_GROUP    1
#define DLOAD_SNAPSHOT 1
#include "dataloader.h"

#define DLOAD_NAME     reals
#define DLOAD_KEY      double
#define DLOAD_VALUE    uint32_t
#define DLOAD_SNAPSHOT 1
#include "dataloader.h"

#include "test_snapshot.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

static struct tape good, bad;

static int setup(void **state)
{
    (void)state;
    fake_env_init(&env);
    memset(&good, 0, sizeof good);
    memset(&bad, 0, sizeof bad);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    fake_env_check(&env);
    tape_clear(&good);
    tape_clear(&bad);
    return 0;
}

/* ---- a cache whose every entry says whether it is right ---- */

static void fill(blobs_cache *c, uint32_t n, size_t len)
{
    char key[16], bytes[256];
    OPEN(blobs, c, 4096, 1);
    for (uint32_t i = 0; i < n; i++) {
        dload_blob b;
        snprintf(key, sizeof key, "%" PRIu32, i);
        memset(bytes, (int)(i % 251), sizeof bytes);
        must_ok(dload_blob_make(&env.env, bytes, len, &b));
        must_ok(blobs_cache_set_in(c, dload_str_from(key), i, &b, i % 2 ? DLOAD_SECOND : 0));
        dload_blob_release(&b);
    }
}

/* How many of fill's entries are there; nothing else may be. */
static size_t count(blobs_cache *c, uint32_t n, size_t len)
{
    char key[16];
    size_t found = 0;
    for (uint32_t i = 0; i < n; i++) {
        dload_blob b;
        snprintf(key, sizeof key, "%" PRIu32, i);
        if (blobs_cache_get_in(c, dload_str_from(key), i, &b) >= 0) {
            equal(b.len, len);
            for (size_t k = 0; k < len; k++) {
                assert_true(b.ptr[k] == i % 251);
            }
            dload_blob_release(&b);
            found++;
        }
    }
    equal(found, blobs_cache_len(c));
    return found;
}

static void bad_is(const void *bytes, size_t n)
{
    bad.at = bad.n = 0;
    must_ok(tape_write(&bad, bytes, n));
    if (n == 0) {
        bad.n = 0;
    }
}

/* Restores bad into an empty cache. */
static dload_status try_bad(uint32_t n, size_t len, size_t *n_came)
{
    blobs_cache c;
    OPEN(blobs, &c, 4096, 1);
    TAPE_HOW(blobs, how, &bad);
    bad.at = 0;
    dload_status st = blobs_cache_restore(&c, &how, n_came);
    equal(*n_came, count(&c, n, len));
    must_ok(blobs_cache_destroy(&c));
    return st;
}

static bool refused(dload_status st)
{
    return st == DLOAD_ECORRUPT || st == DLOAD_ELAYOUT;
}

static void test_every_bit(void **state)
{
    (void)state;
    blobs_cache c;
    size_t n = 0;
    fill(&c, 12, 9);
    SAVE(blobs, &c, &good, 12);
    must_ok(blobs_cache_destroy(&c));
    for (size_t i = 0; i < good.n; i++) {
        for (int bit = 0; bit < 8; bit++) {
            bad_is(good.bytes, good.n);
            bad.bytes[i] = (unsigned char)(bad.bytes[i] ^ 1u << bit);
            assert_true(refused(try_bad(12, 9, &n)));
        }
        bad_is(good.bytes, good.n);
        bad.bytes[i] = (unsigned char)~bad.bytes[i];
        assert_true(refused(try_bad(12, 9, &n)));
    }
    bad_is(good.bytes, good.n);
    must_ok(try_bad(12, 9, &n));
    equal(n, 12);
}

static void test_every_cut(void **state)
{
    (void)state;
    blobs_cache c;
    size_t n = 0, most = 0;
    fill(&c, 2000, 60); /* some blocks */
    SAVE(blobs, &c, &good, 2000);
    must_ok(blobs_cache_destroy(&c));
    assert_true(good.n > 5 * 32768);
    for (size_t i = 0; i < good.n; i += i < 300 || i + 300 > good.n ? 1 : 97) {
        bad_is(good.bytes, i);
        bad.step = 1000;
        must(try_bad(2000, 60, &n), DLOAD_ECORRUPT);
        assert_true(n >= most); /* what was verified before the cut is there */
        most = n;
    }
    equal(most, 2000);
    bad_is(good.bytes, good.n);
    must_ok(tape_write(&bad, "and more", 8)); /* not ours, and not looked at */
    must_ok(try_bad(2000, 60, &n));
    equal(bad.at, good.n);
}

/* ---- whole blocks ---- */

/* Where the blocks of good begin; the last one is its end. Returns how many blocks there are. */
static size_t blocks(size_t *begin)
{
    size_t n = 0, at = 0;
    while (at < good.n) {
        dload_i_frame f;
        memcpy(&f, good.bytes + at, sizeof f);
        begin[n++] = at;
        at += sizeof f + f.n_bytes;
    }
    begin[n] = at;
    return n;
}

static void add_block(const struct tape *t, const size_t *begin, size_t i)
{
    must_ok(tape_write(&bad, t->bytes + begin[i], begin[i + 1] - begin[i]));
}

static void test_blocks(void **state)
{
    (void)state;
    blobs_cache c;
    size_t begin[64], n = 0;
    struct tape twin;
    memset(&twin, 0, sizeof twin);
    fill(&c, 2000, 60);
    SAVE(blobs, &c, &good, 2000);
    must_ok(blobs_cache_destroy(&c));
    size_t n_blocks = blocks(begin);
    assert_true(n_blocks > 5 && n_blocks < 60);
    for (size_t i = 0; i < n_blocks; i++) {
        bad.n = 0; /* left out */
        for (size_t k = 0; k < n_blocks; k++) {
            if (k != i) {
                add_block(&good, begin, k);
            }
        }
        assert_true(refused(try_bad(2000, 60, &n)));
        if (i + 1 < n_blocks) {
            bad.n = 0; /* doubled */
            for (size_t k = 0; k < n_blocks; k++) {
                add_block(&good, begin, k);
                if (k == i) {
                    add_block(&good, begin, k);
                }
            }
            assert_true(refused(try_bad(2000, 60, &n)));
            bad.n = 0; /* moved */
            for (size_t k = 0; k < n_blocks; k++) {
                add_block(&good, begin, k == i ? i + 1 : k == i + 1 ? i : k);
            }
            assert_true(refused(try_bad(2000, 60, &n)));
        }
    }
    /* a block of another snapshot, of the same place and size */
    fill(&c, 2000, 60);
    TAPE_HOW(blobs, how, &twin);
    how.wall_ns = 5;
    must_ok(blobs_cache_save(&c, &how, NULL));
    must_ok(blobs_cache_destroy(&c));
    equal(twin.n, good.n);
    for (size_t i = 0; i < n_blocks; i++) {
        bad.n = 0;
        for (size_t k = 0; k < n_blocks; k++) {
            add_block(k == i ? &twin : &good, begin, k);
        }
        assert_true(refused(try_bad(2000, 60, &n)));
    }
    tape_clear(&twin);
}

static void test_version_and_order(void **state)
{
    (void)state;
    blobs_cache c;
    size_t n = 0;
    fill(&c, 3, 9);
    SAVE(blobs, &c, &good, 3);
    must_ok(blobs_cache_destroy(&c));
    bad_is(good.bytes, good.n);
    dload_i_frame *f = (dload_i_frame *)(void *)bad.bytes;
    f->version++;
    must(try_bad(3, 9, &n), DLOAD_ELAYOUT);
    bad_is(good.bytes, good.n);
    for (size_t i = 0; i < 2; i++) { /* as a machine of the other byte order writes it */
        unsigned char b = bad.bytes[i];
        bad.bytes[i] = bad.bytes[3 - i];
        bad.bytes[3 - i] = b;
    }
    must(try_bad(3, 9, &n), DLOAD_ELAYOUT);
    bad_is("", 0);
    must(try_bad(3, 9, &n), DLOAD_ECORRUPT);
}

/* ---- forged: the checksums are right, what they stand for is not ---- */

/* Seals all of bad's blocks anew. Bodies keep their lengths. */
static void seal_bad(void)
{
    uint64_t chain = 0;
    for (size_t at = 0; at + sizeof(dload_i_frame) <= bad.n;) {
        dload_i_frame f;
        memcpy(&f, bad.bytes + at, sizeof f);
        if (f.n_bytes > bad.n - at - sizeof f) {
            f.frame_sum = dload_i_sum(chain, &f, offsetof(dload_i_frame, frame_sum));
            memcpy(bad.bytes + at, &f, sizeof f);
            return;
        }
        dload_i_frame_seal(&f, bad.bytes + at + sizeof f, chain);
        memcpy(bad.bytes + at, &f, sizeof f);
        chain = f.frame_sum;
        at += sizeof f + (size_t)f.n_bytes;
    }
}

/* A length that nothing stands behind costs no memory. */
static void test_huge_lengths(void **state)
{
    (void)state;
    blobs_cache c;
    size_t begin[64];
    fill(&c, 12, 9);
    SAVE(blobs, &c, &good, 12);
    must_ok(blobs_cache_destroy(&c));
    assert_true(blocks(begin) == 3);
    const uint64_t lens[] = {1u << 20,          1u << 30,   (1u << 30) + 1,
                             UINT64_C(1) << 32, UINT64_MAX, UINT64_MAX - 47};
    OPEN(blobs, &c, 100, 1);
    size_t before = env.live_bytes;
    for (size_t i = 0; i < COUNT(lens); i++) {
        for (size_t block = 0; block < 3; block++) {
            size_t n = 0;
            bad_is(good.bytes, good.n);
            memcpy(bad.bytes + begin[block] + offsetof(dload_i_frame, n_bytes), &lens[i], 8);
            seal_bad();
            TAPE_HOW(blobs, how, &bad);
            fake_env_arm(&env);
            size_t allocs = env.n_allocs;
            must(blobs_cache_restore(&c, &how, &n), DLOAD_ECORRUPT);
            assert_true(env.n_allocs - allocs < 40);
            fake_env_disarm(&env);
            bad.at = 0;
        }
    }
    must_ok(blobs_cache_clear(&c));
    must_ok(blobs_cache_advance(&c, 1)); /* releases what block 1 brought */
    equal(env.live_bytes >= before, 1);
    must_ok(blobs_cache_destroy(&c));
}

/* Any body at all under right checksums: nothing is read or written beyond it (the sanitizers watch), and
 * the call ends. */
static void test_forged(void **state)
{
    (void)state;
    uint64_t seed = test_seed("forged snapshots");
    blobs_cache c, d;
    size_t n_ok = 0, n_bad = 0;
    fill(&c, 12, 9);
    SAVE(blobs, &c, &good, 12);
    must_ok(blobs_cache_destroy(&c));
    for (size_t i = 0; i < scaled(20000); i++) {
        size_t n = 0;
        bad_is(good.bytes, good.n);
        for (uint64_t k = 1 + rng_below(&seed, 4); k-- > 0;) {
            size_t at = (size_t)rng_below(&seed, good.n);
            bad.bytes[at] = (unsigned char)(rng_below(&seed, 4) ? rng(&seed) : 0xff);
        }
        seal_bad();
        OPEN(blobs, &d, 4096, 1);
        TAPE_HOW(blobs, how, &bad);
        dload_status st = blobs_cache_restore(&d, &how, &n);
        assert_true(st == DLOAD_OK || refused(st));
        n_ok += st == DLOAD_OK;
        n_bad += st != DLOAD_OK;
        assert_true(n <= 4096 && n == blobs_cache_len(&d));
        must_ok(blobs_cache_destroy(&d));
    }
    assert_true(n_ok > 0 && n_bad > 0);
}

/* A key that can never be one. */
static void test_forged_nan(void **state)
{
    (void)state;
    reals_cache c;
    uint32_t v = 7;
    OPEN(reals, &c, 100, 1);
    must_ok(reals_cache_set(&c, 1.5, &v, 0));
    SAVE(reals, &c, &good, 1);
    must_ok(reals_cache_clear(&c));
    size_t begin[64];
    assert_true(blocks(begin) == 3);
    bad_is(good.bytes, good.n);
    memset(bad.bytes + begin[1] + sizeof(dload_i_frame) + 4, 0xff, 8);
    seal_bad();
    TAPE_HOW(reals, how, &bad);
    size_t n = 77;
    must(reals_cache_restore(&c, &how, &n), DLOAD_ECORRUPT);
    equal(n, 0);
    must_ok(reals_cache_destroy(&c));
}

static void test_garbage(void **state)
{
    (void)state;
    uint64_t seed = test_seed("garbage");
    unsigned char bytes[4096];
    for (size_t i = 0; i < scaled(3000); i++) {
        size_t n = 0, len = (size_t)rng_below(&seed, sizeof bytes);
        for (size_t k = 0; k < len; k++) {
            bytes[k] = (unsigned char)rng(&seed);
        }
        bad_is(bytes, len);
        if (rng_below(&seed, 2) && len > 48) { /* behind a mark and a version that are right */
            dload_i_frame f;
            memcpy(&f, bad.bytes, sizeof f);
            f.mark = DLOAD_I_FRAME_MARK;
            f.version = DLOAD_I_FRAME_VERSION;
            memcpy(bad.bytes, &f, sizeof f);
        }
        assert_true(refused(try_bad(0, 0, &n)));
        equal(n, 0);
    }
}

/* ---- a file is looked at from end to end before anything comes in ---- */

static void test_file(void **state)
{
    (void)state;
    blobs_cache c, d;
    char path[64];
    size_t n = 77;
    snprintf(path, sizeof path, "build/snapshot_damage.%ld", (long)getpid());
    fill(&c, 2000, 60);
    must_ok(blobs_cache_save_file(&c, path, NULL, &n));
    equal(n, 2000);
    FILE *f = fopen(path, "r+b");
    assert_non_null(f);
    OPEN(blobs, &d, 4096, 1);
    assert_int_equal(fseek(f, -60, SEEK_END),
                     0); /* near the end: all blocks but the last two are whole */
    int byte = fgetc(f);
    assert_int_equal(fseek(f, -60, SEEK_END), 0);
    fputc(byte ^ 4, f);
    fflush(f);
    must(blobs_cache_restore_file(&d, path, NULL, &n), DLOAD_ECORRUPT);
    equal(n, 0);
    equal(blobs_cache_len(&d), 0);
    assert_int_equal(fseek(f, -60, SEEK_END), 0);
    fputc(byte, f);
    assert_int_equal(fclose(f), 0);
    must_ok(blobs_cache_restore_file(&d, path, NULL, &n));
    equal(n, count(&d, 2000, 60));
    equal(n, 2000);
    assert_int_equal(unlink(path), 0);
    must(blobs_cache_restore_file(&d, path, NULL, &n), DLOAD_MISSING);
    must_ok(blobs_cache_destroy(&c));
    must_ok(blobs_cache_destroy(&d));
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_every_bit),         TEST(test_every_cut),    TEST(test_blocks),
        TEST(test_version_and_order), TEST(test_huge_lengths), TEST(test_forged),
        TEST(test_forged_nan),        TEST(test_garbage),      TEST(test_file),
    };
    return cmocka_run_group_tests_name("snapshot_damage", tests, NULL, NULL);
}
