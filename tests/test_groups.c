/* Groups: (group, key) is what a flight and an entry are known by. A batch has keys of one group, and
 * what is said of one group is never said of another. */
/* locks: NONE SPIN PTHREAD */
#define DLOAD_GROUP 1
#include "test_loader.h"
#include "test_groups.h"
#include <stdlib.h>

/* The same keys without groups. */
#define DLOAD_NAME  ungrouped
#define DLOAD_KEY   uint64_t
#define DLOAD_VALUE uint64_t
#define DLOAD_LOCK  TEST_LOCK
#include "dataloader.h"
/* ---- what a key is known by ---- */

static void test_groups_flights(void **state)
{
    struct fixture *x = *state;
    struct request r[5];
    open_groups(x);
    must(ask(x, &r[0], 1, 5), DLOAD_PENDING);
    must(ask(x, &r[1], 2, 5), DLOAD_PENDING);
    must(ask(x, &r[2], 1, 6), DLOAD_PENDING);
    must(ask(x, &r[3], 2, 5), DLOAD_PENDING); /* joins */
    must(ask(x, &r[4], 0, 5), DLOAD_PENDING);
    equal(stats_of(x).joins, 1);
    equal(dispatch(x), 4);
    text_must(&x->r.calls, "1:B(5,6) 2:B(5) 0:B(5)");
    request_must(&r[0], 1005);
    request_must(&r[1], 2005);
    request_must(&r[2], 1006);
    request_must(&r[3], 2005);
    request_must(&r[4], 5);
}

static void test_groups_entries(void **state)
{
    struct fixture *x = *state;
    const uint64_t far[] = {0, 1, 2, UINT64_MAX, UINT64_C(1) << 32, UINT64_C(1) << 63};
    x->cfg.shards = 1; /* one table for all, wherever their hashes would go */
    open_groups(x);
    for (size_t i = 0; i < COUNT(far); i++) {
        load_in_must(x, far[i], 5, far[i] * 1000 + 5);
    }
    equal(x->r.n_calls, COUNT(far));
    x->r.version = 1;
    for (size_t i = 0; i < COUNT(far); i++) {
        load_in_must(x, far[i], 5, far[i] * 1000 + 5);
        equal(state_in(x, far[i], 5), DLOAD_STATE_READY);
        equal(state_in(x, far[i], 6), DLOAD_STATE_ABSENT);
    }
    equal(x->r.n_calls, COUNT(far));
    equal(stats_of(x).hits, COUNT(far));
}

/* What dload_i_mix64 made h of. */
static uint64_t unmix(uint64_t h)
{
    uint64_t a = 1, b = 1; /* inverses of its two factors, more bits right each time */
    for (int i = 0; i < 6; i++) {
        a *= 2 - UINT64_C(0xd6e8feb86659fd93) * a;
        b *= 2 - UINT64_C(0x9e3779b97f4a7c15) * b;
    }
    uint64_t x = h ^ h >> 29 ^ h >> 58;
    x *= b;
    x ^= x >> 32;
    x *= a;
    x ^= x >> 29 ^ x >> 58;
    equal(dload_i_mix64(x), h);
    return x;
}

/* Groups that differ from 7 in a bit of their hash, or of their mark, that chooses nothing: every key is
 * in the same place with the same tag. Only the comparison of groups tells them apart. */
static void test_groups_look_alike(void **state)
{
    struct fixture *x = *state;
    struct request r[6];
    const uint64_t groups[] = {7, unmix(dload_i_group_hash(7) ^ 1u << 8),
                               ~unmix(dload_i_group_mark(7) ^ 1u << 8)};
    open_groups(x);
    for (int round = 0; round < 2; round++) {
        x->r.result = round == 0 ? DLOAD_PENDING : DLOAD_OK;
        for (size_t i = 0; i < 6; i++) {
            must(ask(x, &r[i], groups[i % 3], i / 3), DLOAD_PENDING);
        }
        equal(x->r.n_calls, round * 3);
        equal(dispatch(x), 6);
        equal(x->r.n_calls, round * 3 + 3);
        for (size_t i = 0; round == 0 && i < 6; i++) {
            equal(state_in(x, groups[i % 3], i / 3), DLOAD_STATE_IN_FLIGHT);
            equal(state_in(x, groups[i % 3], 2), DLOAD_STATE_ABSENT);
        }
        while (x->r.n_pending) {
            group_finish(&x->r);
        }
        for (size_t i = 0; i < 6; i++) {
            request_must(&r[i], value_in(&x->r, groups[i % 3], i / 3));
            load_in_must(x, groups[i % 3], i / 3, value_in(&x->r, groups[i % 3], i / 3));
        }
        must_ok(tl_clear_group(&x->l, groups[0]));
        equal(state_in(x, groups[0], 0), DLOAD_STATE_ABSENT);
        equal(state_in(x, groups[1], 0), DLOAD_STATE_READY);
        equal(state_in(x, groups[2], 1), DLOAD_STATE_READY);
        must_ok(tl_clear_in(&x->l, 0, groups[1]));
        equal(state_in(x, groups[2], 0), DLOAD_STATE_READY);
        must_ok(tl_clear_all(&x->l));
    }
    text_clear(&x->r.calls);
}

/* Calls without a group mean group 0, in both directions. */
static void test_groups_zero(void **state)
{
    struct fixture *x = *state;
    struct request r;
    uint64_t value = 9, got = 0;
    dload_state is = DLOAD_STATE_ERROR;
    open_groups(x);
    load_must(x, 1, 1);
    load_in_must(x, 0, 1, 1);
    load_in_must(x, 0, 2, 2);
    load_must(x, 2, 2);
    equal(x->r.n_calls, 2);
    must_ok(tl_clear_in(&x->l, 1, 0));
    must(tl_peek(&x->l, 1, &is, NULL), DLOAD_MISSING);
    must_ok(tl_prime_in(&x->l, 1, 0, &value, 0));
    load_must(x, 1, 9);
    must_ok(tl_clear(&x->l, 2));
    equal(state_in(x, 0, 2), DLOAD_STATE_ABSENT);
    must_ok(tl_prime(&x->l, 2, &value, 0));
    must_ok(tl_cache_get_in(&x->l.cache, 2, 0, &got));
    equal(got, 9);
    must(request_start(x, &r, 3), DLOAD_PENDING);
    equal(state_in(x, 0, 3), DLOAD_STATE_QUEUED);
    must_ok(tl_cancel(&x->l, &r.w));
    must_ok(tl_clear_group(&x->l, 0));
    equal(stats_of(x).entries, 0);
}

/* A loader without groups does not lose one in silence. */
static dload_status fetch_ungrouped(ungrouped_batch *b)
{
    for (size_t i = 0; i < b->n; i++) {
        must_ok(ungrouped_batch_set(b, i, &b->keys[i]));
    }
    return DLOAD_OK;
}

static void test_groups_not_allowed(void **state)
{
    struct fixture *x = *state;
    ungrouped l;
    ungrouped_config cfg = {.fetch = fetch_ungrouped, .env = &x->f.env};
    ungrouped_waiter w = {.ctx = NULL};
    dload_call call = {.group = 1};
    uint64_t key = 4, out = 0;
    dload_status st = DLOAD_OK;
    must_ok(ungrouped_init(&l, &cfg));
    must(ungrouped_load_with(&l, key, &call, &out), DLOAD_EINVAL);
    must(ungrouped_load_many_with(&l, &key, 1, &call, &out, &st), DLOAD_EINVAL);
    must(ungrouped_start_with(&l, key, &call, &w), DLOAD_EINVAL);
    call.group = 0;
    must_ok(ungrouped_load_with(&l, key, &call, &out));
    equal(out, 4);
    must_ok(ungrouped_close(&l, DLOAD_DRAIN, 0));
    must_ok(ungrouped_destroy(&l));
}

/* ---- batches ---- */

static void test_groups_load_many(void **state)
{
    struct fixture *x = *state;
    const uint64_t keys[] = {3, 1, 3, 2};
    uint64_t out[4];
    dload_status st[4];
    struct request r;
    open_groups(x);
    load_in_must(x, 7, 1, 7001);
    load_in_must(x, 8, 3, 8003);
    must(ask(x, &r, 8, 2), DLOAD_PENDING);
    text_must(&x->r.calls, "7:B(1) 8:B(3)");
    dload_call call = {.group = 7};
    must_ok(tl_load_many_with(&x->l, keys, 4, &call, out, st));
    text_must(&x->r.calls, "7:B(3,2)");
    for (size_t i = 0; i < 4; i++) {
        must_ok(st[i]);
        equal(out[i], 7000 + keys[i]);
    }
    equal(r.n_done, 0);
    equal(dispatch(x), 1);
    request_must(&r, 8002);
}

/* Open batches go oldest first; one that was complete before is ahead of them. */
static void test_groups_order(void **state)
{
    struct fixture *x = *state;
    struct request r[8];
    x->cfg.max_batch = 3; /* of each group */
    open_groups(x);
    const uint64_t groups[] = {4, 9, 2, 9, 4, 9, 9, 2};
    for (uint64_t i = 0; i < COUNT(r); i++) {
        must(ask(x, &r[i], groups[i], i), DLOAD_PENDING);
    }
    equal(dispatch(x), 8);
    text_must(&x->r.calls, "9:B(1,3,5) 4:B(0,4) 2:B(2,7) 9:B(6)");
    equal(stats_of(x).by_trigger[DLOAD_BY_SIZE], 1);
    equal(stats_of(x).by_trigger[DLOAD_BY_EXPLICIT], 3);
}

/* What is announced is announced for all groups together. */
static void test_groups_expect(void **state)
{
    struct fixture *x = *state;
    struct request r[4];
    x->cfg.settle_ns = DLOAD_SECOND;
    open_groups(x);
    must_ok(tl_expect(&x->l, 3));
    must(ask(x, &r[0], 1, 1), DLOAD_PENDING);
    must(ask(x, &r[1], 2, 1), DLOAD_PENDING);
    must(ask(x, &r[3], 2, 1), DLOAD_PENDING); /* the same key is not one more */
    must_ok(tl_process(&x->l, x->f.now_ns));
    text_must(&x->r.calls, "");
    must(ask(x, &r[2], 1, 2), DLOAD_PENDING);
    must_ok(tl_process(&x->l, x->f.now_ns));
    text_must(&x->r.calls, "1:B(1,2) 2:B(1)");
    equal(stats_of(x).by_trigger[DLOAD_BY_EXPECT], 2);
    /* Who left does not count. */
    must_ok(tl_expect(&x->l, 2));
    must(ask(x, &r[0], 3, 1), DLOAD_PENDING);
    must(ask(x, &r[1], 4, 1), DLOAD_PENDING);
    text_must(&x->r.calls, "");
    must_ok(tl_process(&x->l, x->f.now_ns));
    text_must(&x->r.calls, "3:B(1) 4:B(1)");
    must_ok(tl_expect(&x->l, 2));
    must(ask(x, &r[0], 5, 1), DLOAD_PENDING);
    must_ok(tl_cancel(&x->l, &r[0].w));
    must(ask(x, &r[1], 6, 1), DLOAD_PENDING);
    must_ok(tl_process(&x->l, x->f.now_ns));
    text_must(&x->r.calls, ""); /* the promise went with the last key; 6 settles */
    x->f.now_ns += DLOAD_SECOND;
    must_ok(tl_process(&x->l, x->f.now_ns));
    text_must(&x->r.calls, "6:B(1)");
    must(ask(x, &r[0], 7, 1), DLOAD_PENDING);
    must(ask(x, &r[1], 7, 2), DLOAD_PENDING);
    must_ok(tl_cancel(&x->l, &r[1].w));
    must_ok(tl_expect(&x->l, 2));
    must_ok(tl_process(&x->l, x->f.now_ns));
    text_must(&x->r.calls, "");
    must(ask(x, &r[1], 8, 2), DLOAD_PENDING);
    must_ok(tl_process(&x->l, x->f.now_ns));
    text_must(&x->r.calls, "7:B(1) 8:B(2)");
}

/* Each batch settles and ages by its own keys. */
static void test_groups_settle(void **state)
{
    struct fixture *x = *state;
    struct request r[4];
    x->cfg.settle_ns = 100;
    x->cfg.max_age_ns = 150;
    open_groups(x);
    uint64_t begin_ns = x->f.now_ns;
    must(ask(x, &r[0], 1, 1), DLOAD_PENDING);
    x->f.now_ns = begin_ns + 60;
    must(ask(x, &r[1], 2, 1), DLOAD_PENDING);
    x->f.now_ns = begin_ns + 90;
    must(ask(x, &r[2], 1, 2), DLOAD_PENDING);
    equal(tl_next_deadline(&x->l), begin_ns + 150); /* the age of 1, before 2 has settled */
    must_ok(tl_process(&x->l, begin_ns + 149));
    text_must(&x->r.calls, "");
    must_ok(tl_process(&x->l, begin_ns + 150));
    text_must(&x->r.calls, "1:B(1,2)");
    equal(tl_next_deadline(&x->l), begin_ns + 160);
    must_ok(tl_process(&x->l, begin_ns + 160));
    text_must(&x->r.calls, "2:B(1)");
}

/* Two thousand groups at once, each found by its next key, whoever left in between. */
static void test_groups_many_open(void **state)
{
    struct fixture *x = *state;
    enum { N_GROUPS = 2000 };
    struct request *r = calloc(3 * N_GROUPS, sizeof *r);
    assert_non_null(r);
    open_groups(x);
    for (size_t i = 0; i < N_GROUPS; i++) {
        must(ask(x, &r[i], i * i, 1), DLOAD_PENDING);
    }
    for (size_t i = 0; i < N_GROUPS; i += 4) { /* their batches go, and come again */
        must_ok(tl_cancel(&x->l, &r[i].w));
    }
    for (size_t i = 0; i < N_GROUPS; i += 4) {
        must(ask(x, &r[i], i * i, 1), DLOAD_PENDING);
    }
    for (size_t i = N_GROUPS; i-- > 0;) {
        must(ask(x, &r[N_GROUPS + i], i * i, 2), DLOAD_PENDING);
        must(ask(x, &r[2 * N_GROUPS + i], i * i, 1), DLOAD_PENDING);
    }
    equal(stats_of(x).joins, N_GROUPS);
    equal(dispatch(x), 2 * N_GROUPS);
    equal(x->r.n_calls, N_GROUPS);
    for (size_t i = 0; i < N_GROUPS; i++) {
        request_must(&r[i], i * i * 1000 + 1);
        request_must(&r[N_GROUPS + i], i * i * 1000 + 2);
        request_must(&r[2 * N_GROUPS + i], i * i * 1000 + 1);
    }
    text_clear(&x->r.calls);
    free(r);
}

/* ---- what happens to one batch happens to no other ---- */

static void test_groups_abandoned(void **state)
{
    struct fixture *x = *state;
    struct request r[3];
    x->cfg.run_limit_ns = 100;
    x->r.result = DLOAD_PENDING;
    open_groups(x);
    must(ask(x, &r[0], 1, 5), DLOAD_PENDING);
    equal(dispatch(x), 1);
    x->f.now_ns += 60;
    must(ask(x, &r[1], 2, 5), DLOAD_PENDING);
    equal(dispatch(x), 1);
    x->f.now_ns += 60;
    must_ok(tl_process(&x->l, x->f.now_ns));
    request_must_fail(&r[0], DLOAD_ETIMEDOUT);
    equal(r[1].n_done, 0);
    must(ask(x, &r[2], 1, 5), DLOAD_PENDING); /* can be loaded again */
    equal(state_in(x, 1, 5), DLOAD_STATE_QUEUED);
    equal(state_in(x, 2, 5), DLOAD_STATE_IN_FLIGHT);
    tl_batch *late = rec_take(&x->r, 0);
    uint64_t value = 1;
    must(tl_batch_set(late, 0, &value), DLOAD_ECANCELED);
    must_ok(tl_batch_done(late, DLOAD_OK));
    group_finish(&x->r);
    request_must(&r[1], 2005);
    equal(state_in(x, 1, 5), DLOAD_STATE_QUEUED);
    x->r.result = DLOAD_OK;
    equal(dispatch(x), 1);
    request_must(&r[2], 1005);
    equal(stats_of(x).abandoned, 1);
}

static void put_five(struct recorder *r, tl_batch *b)
{
    uint64_t value = value_in(r, b->group, 5) + 50;
    r->act = NULL;
    must_ok(tl_batch_put(b, 5, &value));
}

/* A key put beside those asked for is one of the batch's group, also while others fetch it. */
static void test_groups_put_beside(void **state)
{
    struct fixture *x = *state;
    struct request r[3];
    open_groups(x);
    x->r.result = DLOAD_PENDING;
    must(ask(x, &r[0], 2, 5), DLOAD_PENDING);
    equal(dispatch(x), 1);
    x->r.result = DLOAD_OK;
    x->r.act = put_five;
    load_in_must(x, 1, 4, 1004);
    load_in_must(x, 1, 5, 1055);
    text_must(&x->r.calls, "2:B(5) 1:B(4)");
    equal(r[0].n_done, 0);
    equal(state_in(x, 2, 5), DLOAD_STATE_IN_FLIGHT);
    equal(state_in(x, 0, 5), DLOAD_STATE_ABSENT);
    group_finish(&x->r);
    request_must(&r[0], 2005);
    load_in_must(x, 1, 5, 1055);
}

/* The function of one group may load the same key of another. */
static void load_both(struct recorder *r, tl_batch *b)
{
    uint64_t out = 0;
    dload_call call = {.group = b->group};
    r->act = NULL;
    must(tl_load_with(b->owner, b->keys[0], &call, &out), DLOAD_EDEADLK);
    call.group++;
    must_ok(tl_load_with(b->owner, b->keys[0], &call, &out));
    equal(out, value_in(r, b->group + 1, b->keys[0]));
}

static void test_groups_nested(void **state)
{
    struct fixture *x = *state;
    open_groups(x);
    x->r.act = load_both;
    load_in_must(x, 3, 1, 3001);
    text_must(&x->r.calls, "3:B(1) 4:B(1)");
    load_in_must(x, 4, 1, 4001);
    text_must(&x->r.calls, "");
}

static void test_groups_fresh_and_errors(void **state)
{
    struct fixture *x = *state;
    uint64_t got = 0;
    dload_call call = {.group = 1, .flags = DLOAD_FRESH};
    open_groups(x);
    load_in_must(x, 1, 1, 1001);
    load_in_must(x, 2, 1, 2001);
    x->r.version = 1;
    must_ok(tl_load_with(&x->l, 1, &call, &got));
    equal(got, 1101);
    load_in_must(x, 2, 1, 2001);
    must_ok(tl_prime_error_in(&x->l, 9, 1, DLOAD_EFETCH, DLOAD_NEVER));
    must(load_in(x, 1, 9, &got), DLOAD_EFETCH);
    load_in_must(x, 2, 9, 2109);
    equal(state_in(x, 1, 9), DLOAD_STATE_ERROR);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RULE("flights are known by group and key", test_groups_flights),
        RULE("entries are known by group and key", test_groups_entries),
        RULE("a look-alike in another group is another key", test_groups_look_alike),
        RULE("calls without a group mean group 0", test_groups_zero),
        RULE("without DLOAD_GROUP a group is refused", test_groups_not_allowed),
        RULE("load_many in a group", test_groups_load_many),
        RULE("the order of batches", test_groups_order),
        RULE("keys announced for all groups", test_groups_expect),
        RULE("a settle time each", test_groups_settle),
        RULE("two thousand open batches", test_groups_many_open),
        RULE("an abandoned batch is one group's", test_groups_abandoned),
        RULE("a key put beside stays in the group", test_groups_put_beside),
        RULE("a fetch function loads from another group", test_groups_nested),
        RULE("fresh loads and errors of one group", test_groups_fresh_and_errors),
    };
    return cmocka_run_group_tests_name("groups " TEST_STRING(TEST_LOCK), tests, NULL, NULL);
}
