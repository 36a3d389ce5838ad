/* DLOAD_BYTES: a block of so many bytes serves a loader from init to destroy, and one step less does not
 * even let it begin. Array sizes at file scope are made of it here. */
#define DLOAD_FREESTANDING 1
#include <stdint.h>

struct pair {
    uint32_t a, b;
};

struct odd {
    char text[13];
};

#define DLOAD_NAME    regs
#define DLOAD_KEY     uint32_t
#define DLOAD_VALUE   struct pair
#define DLOAD_ASYNC   0
#define DLOAD_COMPACT 1
#define DLOAD_STATS   0
#include "dataloader.h"

#define DLOAD_NAME    bits
#define DLOAD_KEY     uint8_t
#define DLOAD_VALUE   uint8_t
#define DLOAD_TTL     0
#define DLOAD_ASYNC   0
#define DLOAD_COMPACT 1
#include "dataloader.h"

#define DLOAD_NAME    wide
#define DLOAD_KEY     DLOAD_ID128
#define DLOAD_VALUE   struct odd
#define DLOAD_EVICT   DLOAD_EVICT_FIFO
#define DLOAD_ASYNC   0
#define DLOAD_COMPACT 1
#include "dataloader.h"

/* A cache alone may belong to any loader. */
#define DLOAD_NAME    plain
#define DLOAD_KEY     uint16_t
#define DLOAD_VALUE   uint32_t
#define DLOAD_COMPACT 1
#include "dataloader.h"

#include "support.h"

#include <string.h>

static uint64_t room[1 << 16];

/* A key of each type that is worth n, and a value that has to do with it. */
static uint32_t regs_key_of(uint32_t n)
{
    return n * 2654435761u;
}

static uint8_t bits_key_of(uint32_t n)
{
    return (uint8_t)n;
}

static dload_id128 wide_key_of(uint32_t n)
{
    dload_id128 id;
    memset(&id, 7, sizeof id);
    memcpy(&id.bytes[5], &n, sizeof n);
    return id;
}

/* What a loader of any type does in its life, in a block of n_bytes: DLOAD_OK when all of it could be done, and
 * nothing more was asked for than in the beginning. */
#define LIFE(NAME)                                                                                \
    static dload_status NAME##_fetch(NAME##_batch *b)                                             \
    {                                                                                             \
        for (size_t i = 0; i < b->n; i++) {                                                       \
            NAME##_value value;                                                                   \
            memset(&value, 0x5a, sizeof value);                                                   \
            memcpy(&value, &b->keys[i],                                                           \
                   sizeof value < sizeof b->keys[i] ? sizeof value : sizeof b->keys[i]);          \
            must_ok(NAME##_batch_set(b, i, &value));                                              \
        }                                                                                         \
        return DLOAD_OK;                                                                          \
    }                                                                                             \
    static dload_status NAME##_live(size_t n_bytes, size_t capacity, size_t max_batch,            \
                                    size_t max_queue)                                             \
    {                                                                                             \
        static NAME##_waiter w[64];                                                               \
        dload_block b;                                                                            \
        NAME l;                                                                                   \
        NAME##_config cfg = {.fetch = NAME##_fetch,                                               \
                             .env = &b.env,                                                       \
                             .capacity = capacity,                                                \
                             .max_batch = max_batch,                                              \
                             .max_queue = max_queue};                                             \
        dload_block_init(&b, room, n_bytes);                                                      \
        dload_status st = NAME##_init(&l, &cfg);                                                  \
        if (st < 0) {                                                                             \
            equal(b.n_out, 0);                                                                    \
            return st;                                                                            \
        }                                                                                         \
        size_t n_used = b.n_used_bytes;                                                           \
        for (uint32_t round = 0; round < 20; round++) {                                           \
            NAME##_key keys[50];                                                                  \
            NAME##_value out[50];                                                                 \
            memset(w, 0, sizeof w);                                                               \
            for (uint32_t i = 0; i < 64; i++) {                                                   \
                (void)NAME##_start(&l, NAME##_key_of(round * 31 + i), &w[i]);                     \
            }                                                                                     \
            (void)NAME##_cancel(&l, &w[3]);                                                       \
            for (uint32_t i = 0; i < 50; i++) {                                                   \
                keys[i] = NAME##_key_of(round * 7 + i * i % 45);                                  \
            }                                                                                     \
            must_ok(NAME##_load_many(&l, keys, 50, out, NULL));                                   \
            for (uint32_t i = 0; i < 50; i++) {                                                   \
                size_t n = sizeof out[i] < sizeof keys[i] ? sizeof out[i] : sizeof keys[i];       \
                assert_memory_equal(&out[i], &keys[i], n);                                        \
            }                                                                                     \
            must_ok(NAME##_clear(&l, keys[1]));                                                   \
            must_ok(NAME##_process(&l, round *DLOAD_SECOND));                                     \
        }                                                                                         \
        must_ok(NAME##_clear_all(&l));                                                            \
        equal(b.n_used_bytes, n_used);                                                            \
        must_ok(NAME##_destroy(&l));                                                              \
        equal(b.n_used_bytes, 0);                                                                 \
        return n_used == n_bytes ? DLOAD_OK : DLOAD_ETOOBIG;                                      \
    }                                                                                             \
    static void NAME##_shape(size_t n_bytes, size_t capacity, size_t max_batch, size_t max_queue) \
    {                                                                                             \
        must_ok(NAME##_live(n_bytes, capacity, max_batch, max_queue));                            \
        must(NAME##_live(n_bytes - 8, capacity, max_batch, max_queue), DLOAD_ENOMEM);             \
    }

#define SHAPE(NAME, capacity, n)                                  \
    NAME##_shape(DLOAD_BYTES(NAME, capacity, n), capacity, n, 0); \
    NAME##_shape(DLOAD_BYTES_QUEUED(NAME, capacity, n, 20), capacity, n, 20);
#define BATCHES(NAME, capacity) \
    SHAPE(NAME, capacity, 1)    \
    SHAPE(NAME, capacity, 2)    \
    SHAPE(NAME, capacity, 3)    \
    SHAPE(NAME, capacity, 8)    \
    SHAPE(NAME, capacity, 13)   \
    SHAPE(NAME, capacity, 40)
#define SHAPES(NAME)                        \
    static void NAME##_shapes(void **state) \
    {                                       \
        (void)state;                        \
        BATCHES(NAME, 1)                    \
        BATCHES(NAME, 2)                    \
        BATCHES(NAME, 3)                    \
        BATCHES(NAME, 7)                    \
        BATCHES(NAME, 8)                    \
        BATCHES(NAME, 33)                   \
        BATCHES(NAME, 255)                  \
        BATCHES(NAME, 256)                  \
        BATCHES(NAME, 600)                  \
        BATCHES(NAME, DLOAD_NO_CACHE)       \
    }

LIFE(regs)
LIFE(bits)
LIFE(wide)
SHAPES(regs)
SHAPES(bits)
SHAPES(wide)

/* ---- constants ---- */

static uint64_t memory[(DLOAD_BYTES(regs, 32, 8) + 7) / 8];
static uint64_t cache_memory[(DLOAD_BYTES(plain, 100, 0) + 7) / 8];

DLOAD_I_STATIC_ASSERT(DLOAD_BYTES(regs, 32, 8) > DLOAD_BYTES(regs, 31, 8),
                      "it grows with capacity");
DLOAD_I_STATIC_ASSERT(DLOAD_BYTES(regs, 32, 8) > DLOAD_BYTES(regs, 32, 7),
                      "... and with max_batch");

static void an_array_is_enough(void **state)
{
    dload_block b;
    regs l;
    regs_config cfg = {.fetch = regs_fetch, .env = &b.env, .capacity = 32, .max_batch = 8};
    (void)state;
    dload_block_init(&b, memory, sizeof memory);
    must_ok(regs_init(&l, &cfg));
    equal(b.n_used_bytes, sizeof memory);
    must_ok(regs_destroy(&l));
}

static void a_cache_alone_needs_less(void **state)
{
    dload_block b;
    plain_cache c;
    plain_cache_config cfg = {.env = &b.env, .capacity = 100};
    (void)state;
    dload_block_init(&b, cache_memory, sizeof cache_memory - 8);
    must(plain_cache_init(&c, &cfg), DLOAD_ENOMEM);
    dload_block_init(&b, cache_memory, sizeof cache_memory);
    must_ok(plain_cache_init(&c, &cfg));
    for (uint16_t key = 0; key < 1000; key++) {
        uint32_t value = key;
        must_ok(plain_cache_set(&c, key, &value, 0));
    }
    equal(b.n_used_bytes, sizeof cache_memory);
    must_ok(plain_cache_destroy(&c));
}

/* Two in one block: the sum is enough. */
static void sizes_add_up(void **state)
{
    static uint64_t both[(DLOAD_BYTES(regs, 20, 5) + DLOAD_BYTES(bits, 9, 3)) / 8];
    dload_block b;
    regs l;
    bits k;
    regs_config cfg = {.fetch = regs_fetch, .env = &b.env, .capacity = 20, .max_batch = 5};
    bits_config cfg_k = {.fetch = bits_fetch, .env = &b.env, .capacity = 9, .max_batch = 3};
    (void)state;
    dload_block_init(&b, both, sizeof both);
    must_ok(regs_init(&l, &cfg));
    must_ok(bits_init(&k, &cfg_k));
    equal(b.n_used_bytes, sizeof both);
    must_ok(regs_destroy(&l));
    must_ok(bits_destroy(&k));
    equal(b.n_used_bytes, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(regs_shapes),
        cmocka_unit_test(bits_shapes),
        cmocka_unit_test(wide_shapes),
        cmocka_unit_test(an_array_is_enough),
        cmocka_unit_test(a_cache_alone_needs_less),
        cmocka_unit_test(sizes_add_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
