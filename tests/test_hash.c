/* Hashing: every byte of a key counts, hashes spread, and two keys that hash alike are still two
 * keys, in the cache and while they are fetched. */
/* locks: NONE */
#define DLOAD_NAME  hl
#define DLOAD_KEY   DLOAD_STRING
#define DLOAD_VALUE uint64_t
#include "dataloader.h"
#define DLOAD_NAME  il
#define DLOAD_KEY   uint64_t
#define DLOAD_VALUE uint64_t
#include "dataloader.h"
#define DLOAD_NAME  gl
#define DLOAD_KEY   DLOAD_ID128
#define DLOAD_VALUE uint64_t
#include "dataloader.h"
#include "support.h"

#include <stdlib.h>
#include <string.h>

/* ---- every byte counts ---- */

static unsigned bits_of(uint64_t x)
{
    return (unsigned)__builtin_popcountll(x);
}

/* Flipping one bit of a key flips about half of the hash's, in the half that finds the home as
 * well. */
static void must_avalanche(const char *what, size_t i, uint64_t a, uint64_t b)
{
    if (bits_of(a ^ b) < 6 || bits_of((a ^ b) >> 32) < 1) {
        fail_msg("%s: bit %zu flips only %u bits of the hash, %u of its high half", what, i,
                 bits_of(a ^ b), bits_of((a ^ b) >> 32));
    }
}

static void test_hash_every_byte(void **state)
{
    (void)state;
    uint64_t seed = test_seed("hash");
    char text[300];
    for (size_t len = 1; len <= sizeof text; len = len < 80 ? len + 1 : len + 37) {
        uint64_t flips = 0, flipped = 0;
        for (size_t i = 0; i < len; i++) {
            text[i] = (char)rng(&seed);
        }
        uint64_t h = dload_i_hash_bytes(text, len);
        for (size_t bit = 0; bit < 8 * len; bit++) {
            text[bit / 8] = (char)(text[bit / 8] ^ (1 << bit % 8));
            uint64_t other = dload_i_hash_bytes(text, len);
            text[bit / 8] = (char)(text[bit / 8] ^ (1 << bit % 8));
            must_avalanche("string", bit, h, other);
            flips++;
            flipped += bits_of(h ^ other);
        }
        assert_true(flipped >= 24 * flips && flipped <= 40 * flips);
    }
    for (size_t n = 0; n < 200; n++) {
        dload_id128 id;
        for (size_t i = 0; i < 16; i++) {
            id.bytes[i] = (uint8_t)rng(&seed);
        }
        uint64_t h = gl_i_hash(id);
        for (size_t bit = 0; bit < 128; bit++) {
            dload_id128 other = id;
            other.bytes[bit / 8] = (uint8_t)(other.bytes[bit / 8] ^ (1 << bit % 8));
            must_avalanche("id", bit, h, gl_i_hash(other));
        }
    }
    /* Lengths count, too: zeros after zeros are other keys. */
    memset(text, 0, sizeof text);
    for (size_t a = 0; a < 64; a++) {
        for (size_t b = 0; b < a; b++) {
            assert_true(dload_i_hash_bytes(text, a) != dload_i_hash_bytes(text, b));
        }
    }
}

/* ---- keys as they come: sequences, strides, pointers, floats made of bits ---- */

enum { N = 8192 };

/* The groups of a table for N entries at its fullest: the longest queue for one home group. */
static uint32_t fullest_home(uint64_t (*key)(uint64_t i))
{
    static uint32_t count[2 * N];
    uint32_t n_groups = dload_i_groups_for(N), most = 0;
    memset(count, 0, sizeof count);
    for (uint64_t i = 0; i < N; i++) {
        uint32_t home = dload_i_home(il_i_hash(key(i)), n_groups);
        assert_true(home < n_groups);
        count[home]++;
        most = count[home] > most ? count[home] : most;
    }
    return most;
}

static uint64_t in_order(uint64_t i)
{
    return i;
}

static uint64_t by_4096(uint64_t i)
{
    return i << 12;
}

static uint64_t high_half(uint64_t i)
{
    return i << 32;
}

static uint64_t both_halves(uint64_t i)
{
    return i << 32 | i;
}

static uint64_t negative(uint64_t i)
{
    return UINT64_MAX - i;
}

static uint64_t pointers(uint64_t i)
{
    return UINT64_C(0x00007f5500001000) + i * 48;
}

static uint64_t top_bits(uint64_t i)
{
    return i << 51;
}

static uint64_t squares(uint64_t i)
{
    return i * i;
}

static void test_hash_spreads(void **state)
{
    (void)state;
    static uint64_t (*const kinds[])(uint64_t) = {in_order, by_4096,  high_half, both_halves,
                                                  negative, pointers, top_bits,  squares};
    /* 12.8 keys a home on average; random numbers give about 30 at the most. */
    for (size_t k = 0; k < COUNT(kinds); k++) {
        uint32_t most = fullest_home(kinds[k]);
        if (most > 48) {
            fail_msg("kind %zu: %u keys of %d have the same home", k, most, N);
        }
    }
}

/* ---- two strings that a slot can tell apart by their bytes only ---- */

struct pair {
    char a[16], b[16];
};

/* A slot keeps the high half of a hash and its low byte (the tag): 40 bits. Among two million texts
 * that differ in their last 8 bytes some agree in all of them. */
static size_t find_pairs(struct pair *pairs, size_t cap)
{
    enum { TEXTS = 2000000, SIZE = 1 << 22 };
    uint32_t *table = calloc(SIZE, sizeof *table); /* number of a text + 1 */
    size_t n_pairs = 0;
    assert_non_null(table);
    char text[16] = "the same";
    for (uint64_t i = 0; i < TEXTS && n_pairs < cap; i++) {
        uint64_t state = i, tail = rng(&state);
        memcpy(text + 8, &tail, sizeof tail);
        uint64_t h = dload_i_hash_bytes(text, sizeof text);
        uint64_t seen = (h & UINT64_C(0xffffffff00000000)) | dload_i_tag(h);
        for (size_t at = (size_t)(h >> 32) % SIZE;; at = (at + 1) % SIZE) {
            if (!table[at]) {
                table[at] = (uint32_t)i + 1;
                break;
            }
            char other[16] = "the same";
            uint64_t other_state = table[at] - 1, other_tail = rng(&other_state);
            memcpy(other + 8, &other_tail, sizeof other_tail);
            uint64_t g = dload_i_hash_bytes(other, sizeof other);
            if (((g & UINT64_C(0xffffffff00000000)) | dload_i_tag(g)) == seen) {
                memcpy(pairs[n_pairs].a, other, 16);
                memcpy(pairs[n_pairs++].b, text, 16);
                break;
            }
        }
    }
    free(table);
    return n_pairs;
}

static size_t n_keys;

static dload_status fetch_tails(hl_batch *b)
{
    n_keys += b->n;
    for (size_t i = 0; i < b->n; i++) {
        uint64_t tail;
        memcpy(&tail, b->keys[i].ptr + 8, sizeof tail);
        must_ok(hl_batch_set(b, i, &tail));
    }
    return DLOAD_OK;
}

static void test_hash_twins(void **state)
{
    (void)state;
    static struct pair pairs[4];
    size_t n = find_pairs(pairs, COUNT(pairs));
    print_message("%zu pairs of strings that only their bytes tell apart\n", n);
    assert_true(n >= 1);
    struct fake_env f;
    hl l;
    fake_env_init(&f);
    hl_config cfg = hl_config_default();
    cfg.fetch = fetch_tails;
    cfg.env = &f.env;
    must_ok(hl_init(&l, &cfg));
    for (size_t i = 0; i < n; i++) {
        dload_str keys[] = {{pairs[i].a, 16}, {pairs[i].b, 16}, {pairs[i].a, 16}};
        uint64_t out[3], want[2], one = 0;
        memcpy(&want[0], pairs[i].a + 8, 8);
        memcpy(&want[1], pairs[i].b + 8, 8);
        must_ok(hl_load_many(&l, keys, 3, out, NULL));
        for (int k = 0; k < 3; k++) {
            equal(out[k], want[k % 2]);
            must_ok(hl_load(&l, keys[k], &one));
            equal(one, want[k % 2]);
        }
        equal(n_keys, 2 * (i + 1));
        must_ok(hl_clear(&l, keys[0]));
        dload_state s;
        must_ok(hl_peek(&l, keys[1], &s, &one));
        equal(one, want[1]);
        must(hl_peek(&l, keys[0], &s, &one), DLOAD_MISSING);
    }
    must_ok(hl_close(&l, DLOAD_FAIL, 0));
    must_ok(hl_destroy(&l));
    fake_env_check(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hash_every_byte),
        cmocka_unit_test(test_hash_spreads),
        cmocka_unit_test(test_hash_twins),
    };
    return cmocka_run_group_tests_name("hash " TEST_STRING(TEST_LOCK), tests, NULL, NULL);
}
