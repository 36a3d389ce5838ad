/* dload_block: memory from one block of the caller's, taken in a row, given back in any order. */
#define DLOAD_FREESTANDING 1
#define DLOAD_NAME         bk
#define DLOAD_KEY          uint32_t
#define DLOAD_VALUE        uint64_t
#include "dataloader.h"

#include "support.h"

#include <string.h>

static uint64_t memory[4096];

static void *take(dload_block *b, size_t n_bytes)
{
    return b->env.alloc(b->env.ctx, n_bytes);
}

static void give(dload_block *b, void *p, size_t n_bytes)
{
    b->env.free(b->env.ctx, p, n_bytes);
}

static void pieces_do_not_overlap(void **state)
{
    dload_block b;
    unsigned char *p[8];
    (void)state;
    dload_block_init(&b, memory, 256);
    for (size_t i = 0; i < COUNT(p); i++) {
        p[i] = take(&b, 20 + i / 4); /* each takes 24 */
        assert_non_null(p[i]);
        equal((uintptr_t)p[i] % 8, 0);
        memset(p[i], (int)i + 1, 20 + i / 4);
    }
    for (size_t i = 0; i < COUNT(p); i++) {
        for (size_t k = 0; k < 20 + i / 4; k++) {
            equal(p[i][k], i + 1);
        }
    }
    equal(b.n_used_bytes, 192);
}

static void what_does_not_fit_is_refused(void **state)
{
    dload_block b;
    (void)state;
    dload_block_init(&b, memory, 64);
    assert_null(take(&b, 65));
    assert_null(take(&b, SIZE_MAX));
    void *p = take(&b, 57);
    assert_non_null(p);
    assert_null(take(&b, 1));
    give(&b, p, 57);
    assert_non_null(take(&b, 64));
    assert_null(take(&b, 1));
}

static void the_last_one_comes_back_at_once(void **state)
{
    dload_block b;
    (void)state;
    dload_block_init(&b, memory, 64);
    void *first = take(&b, 30);
    void *second = take(&b, 30);
    give(&b, second, 30);
    assert_ptr_equal(take(&b, 32), second);
    give(&b, first, 30); /* not the last: waits */
    assert_null(take(&b, 8));
    give(&b, second, 32); /* nothing is out any more */
    equal(b.n_used_bytes, 0);
    assert_ptr_equal(take(&b, 64), first);
}

static void memory_may_begin_anywhere(void **state)
{
    (void)state;
    for (size_t skip = 0; skip < 24; skip++) {
        for (size_t n_bytes = 0; n_bytes < 40; n_bytes++) {
            dload_block b;
            char *from = (char *)memory + skip;
            size_t lost = (8 - skip % 8) % 8;
            size_t room = n_bytes < lost ? 0 : (n_bytes - lost) / 8 * 8;
            dload_block_init(&b, from, n_bytes);
            assert_null(take(&b, room + 1));
            char *p = take(&b, room);
            assert_non_null(p);
            equal((uintptr_t)p % 8, 0);
            assert_true(p >= from && p + room <= from + (n_bytes < lost ? lost : n_bytes));
        }
    }
}

/* ---- loaders on a block ---- */

static uint64_t the_time_ns;

static uint64_t block_now(void *ctx)
{
    dload_block *b = ctx;
    assert_ptr_equal(b->memory, memory);
    return the_time_ns;
}

static dload_status fetch(bk_batch *b)
{
    for (size_t i = 0; i < b->n; i++) {
        uint64_t value = b->keys[i] + 1000;
        must_ok(bk_batch_set(b, i, &value));
    }
    return DLOAD_OK;
}

static void a_loader_lives_in_it_again_and_again(void **state)
{
    dload_block b;
    (void)state;
    dload_block_init(&b, memory, sizeof memory);
    b.env.now = block_now;
    for (uint32_t round = 0; round < 20; round++) {
        bk l;
        bk_config cfg = {.fetch = fetch, .env = &b.env, .capacity = 8, .max_batch = 4};
        must_ok(bk_init(&l, &cfg));
        for (uint32_t key = 0; key < 20; key++) {
            uint64_t value = 0;
            must_ok(bk_load(&l, key, &value));
            equal(value, key + 1000);
        }
        must_ok(bk_close(&l, DLOAD_DRAIN, 0));
        must_ok(bk_destroy(&l));
        equal(b.n_used_bytes, 0);
        equal(b.n_out, 0);
        the_time_ns += DLOAD_SECOND;
    }
}

static void a_block_too_small_is_enomem(void **state)
{
    (void)state;
    for (size_t n_bytes = 0;; n_bytes += 8) {
        dload_block b;
        bk_cache c;
        bk_cache_config cfg = {.env = &b.env, .capacity = 16};
        dload_block_init(&b, memory, n_bytes);
        dload_status st = bk_cache_init(&c, &cfg);
        if (st == DLOAD_OK) {
            equal(b.n_used_bytes, n_bytes);
            must_ok(bk_cache_destroy(&c));
            assert_true(n_bytes >= 16 * 12);
            break;
        }
        must(st, DLOAD_ENOMEM);
        equal(b.n_out, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_do_not_overlap),
        cmocka_unit_test(what_does_not_fit_is_refused),
        cmocka_unit_test(the_last_one_comes_back_at_once),
        cmocka_unit_test(memory_may_begin_anywhere),
        cmocka_unit_test(a_loader_lives_in_it_again_and_again),
        cmocka_unit_test(a_block_too_small_is_enomem),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
