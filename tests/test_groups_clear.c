/* Clears of groups: what was fetched for a group before its clear is never seen after it, and no other
 * group notices. */
/* locks: NONE SPIN PTHREAD */
#define DLOAD_GROUP 1
#include "test_loader.h"
#include "test_groups.h"
#include <stdlib.h>

/* A cache alone, with strings and owned values. */
#define DLOAD_NAME  shelf
#define DLOAD_KEY   DLOAD_STRING
#define DLOAD_VALUE DLOAD_BLOB
#define DLOAD_LOCK  TEST_LOCK
#define DLOAD_GROUP 1
#include "dataloader.h"

/* One whose values, when they are freed, may do something. */
static void (*on_free)(void);
static void freed(void)
{
    if (on_free) {
        on_free();
    }
}
#define DLOAD_NAME                 crates
#define DLOAD_KEY                  uint64_t
#define DLOAD_VALUE                uint64_t
#define DLOAD_VALUE_COPY(to, from) (*(to) = *(from), true)
#define DLOAD_VALUE_FREE(v)        freed()
#define DLOAD_LOCK                 TEST_LOCK
#define DLOAD_GROUP                1
#include "dataloader.h"

enum { N_GROUPS = 40, N_KEYS = 50 };

/* ---- against flights ---- */

/* Who waited for the running fetch gets it, later loads do not, and it is cached nowhere. */
static void test_groups_clear_in_flight(void **state)
{
    struct fixture *x = *state;
    struct request r[4];
    open_groups(x);
    x->r.result = DLOAD_PENDING;
    must(ask(x, &r[0], 1, 5), DLOAD_PENDING);
    must(ask(x, &r[1], 2, 5), DLOAD_PENDING);
    equal(dispatch(x), 2);
    text_must(&x->r.calls, "1:B(5) 2:B(5)");
    must_ok(tl_clear_group(&x->l, 1));
    equal(state_in(x, 1, 5), DLOAD_STATE_ABSENT);
    equal(state_in(x, 2, 5), DLOAD_STATE_IN_FLIGHT);
    must(ask(x, &r[2], 1, 5), DLOAD_PENDING);
    must(ask(x, &r[3], 2, 5), DLOAD_PENDING); /* joins */
    equal(dispatch(x), 1);
    text_must(&x->r.calls, "1:B(5)");
    group_finish(&x->r);
    request_must(&r[0], 1005);
    equal(r[2].n_done, 0);
    equal(state_in(x, 1, 5), DLOAD_STATE_IN_FLIGHT);
    group_finish(&x->r);
    request_must(&r[1], 2005);
    request_must(&r[3], 2005);
    x->r.version = 1;
    group_finish(&x->r);
    request_must(&r[2], 1105);
    x->r.result = DLOAD_OK;
    load_in_must(x, 1, 5, 1105);
    load_in_must(x, 2, 5, 2005);
    text_must(&x->r.calls, "");
    equal(stats_of(x).cleared_in_flight, 1);
}

/* The old fetch may also end last: what the new one stored stays. */
static void test_groups_clear_old_ends_last(void **state)
{
    struct fixture *x = *state;
    struct request r[2];
    open_groups(x);
    x->r.result = DLOAD_PENDING;
    must(ask(x, &r[0], 1, 5), DLOAD_PENDING);
    equal(dispatch(x), 1);
    tl_batch *old = rec_take(&x->r, 0);
    must_ok(tl_clear_group(&x->l, 1));
    must(ask(x, &r[1], 1, 5), DLOAD_PENDING);
    equal(dispatch(x), 1);
    x->r.version = 1;
    group_finish(&x->r);
    request_must(&r[1], 1105);
    uint64_t value = 1005;
    must_ok(tl_batch_set(old, 0, &value));
    must(tl_batch_put(old, 6, &value), DLOAD_ECANCELED); /* read before the clear, too */
    must_ok(tl_batch_done(old, DLOAD_OK));
    request_must(&r[0], 1005);
    load_in_must(x, 1, 5, 1105);
    equal(state_in(x, 1, 6), DLOAD_STATE_ABSENT);
    text_clear(&x->r.calls);
}

/* A key that is queued will be fetched after the clear: it is sent once, and cached. */
static void test_groups_clear_queued(void **state)
{
    struct fixture *x = *state;
    struct request r[4];
    x->cfg.max_batch = 2;
    open_groups(x);
    must(ask(x, &r[0], 1, 5), DLOAD_PENDING);
    must(ask(x, &r[1], 1, 6), DLOAD_PENDING); /* complete */
    must(ask(x, &r[2], 1, 7), DLOAD_PENDING); /* open */
    must_ok(tl_clear_group(&x->l, 1));
    equal(state_in(x, 1, 5), DLOAD_STATE_QUEUED);
    must(ask(x, &r[3], 1, 7), DLOAD_PENDING);
    equal(dispatch(x), 3);
    text_must(&x->r.calls, "1:B(5,6) 1:B(7)");
    load_in_must(x, 1, 5, 1005);
    load_in_must(x, 1, 7, 1007);
    text_must(&x->r.calls, "");
}

static void clear_in_fetch(struct recorder *r, tl_batch *b)
{
    r->act = NULL;
    must_ok(tl_clear_group(b->owner, b->group));
}

/* From inside the fetch function of the group, too. */
static void test_groups_clear_inside(void **state)
{
    struct fixture *x = *state;
    open_groups(x);
    x->r.act = clear_in_fetch;
    load_in_must(x, 1, 5, 1005);
    equal(state_in(x, 1, 5), DLOAD_STATE_ABSENT);
    x->r.version = 1;
    load_in_must(x, 1, 5, 1105);
    load_in_must(x, 1, 5, 1105);
    text_must(&x->r.calls, "1:B(5) 1:B(5)");
}

/* A batch of a cleared group that was given up: its late answers go nowhere. */
static void test_groups_clear_then_abandon(void **state)
{
    struct fixture *x = *state;
    struct request r[2];
    x->cfg.run_limit_ns = 100;
    x->r.result = DLOAD_PENDING;
    open_groups(x);
    must(ask(x, &r[0], 1, 5), DLOAD_PENDING);
    equal(dispatch(x), 1);
    must_ok(tl_clear_group(&x->l, 1));
    must_ok(tl_clear_group(&x->l, 1)); /* twice */
    must_ok(tl_clear_in(&x->l, 5, 1));
    x->f.now_ns += 101;
    must_ok(tl_process(&x->l, x->f.now_ns));
    request_must_fail(&r[0], DLOAD_ETIMEDOUT);
    must_ok(tl_clear_group(&x->l, 1)); /* given up: nothing to outdate */
    x->r.result = DLOAD_OK;
    load_in_must(x, 1, 5, 1005);
    must_ok(tl_batch_done(rec_take(&x->r, 0), DLOAD_OK));
    load_in_must(x, 1, 5, 1005);
    text_clear(&x->r.calls);
}

/* ---- against entries ---- */

/* Fills every group, clears a few: those are fetched again and nobody else is. */
static void clear_some(struct fixture *x, size_t capacity, bool all_before)
{
    x->cfg.capacity = capacity;
    x->cfg.missing_ttl_ns = DLOAD_NEVER;
    open_groups(x);
    uint64_t keys[N_KEYS], out[N_KEYS];
    for (uint64_t k = 0; k < N_KEYS; k++) {
        keys[k] = k * k * 31;
    }
    for (int round = 0; round < 2; round++) {
        for (uint64_t g = 0; g < N_GROUPS; g++) {
            dload_call call = {.group = g << 40};
            must_ok(tl_load_many_with(&x->l, keys, N_KEYS, &call, out, NULL));
        }
        if (round == 0 && all_before) {
            must_ok(tl_clear_all(&x->l)); /* entries that are not there, but still in the table */
        }
    }
    x->r.n_keys = 0;
    for (uint64_t g = 0; g < N_GROUPS; g += 4) {
        must_ok(tl_clear_group(&x->l, g << 40));
    }
    equal(stats_of(x).entries, N_GROUPS / 4 * 3 * N_KEYS);
    for (uint64_t g = 0; g < N_GROUPS; g++) {
        equal(state_in(x, g << 40, keys[3]), g % 4 ? DLOAD_STATE_READY : DLOAD_STATE_ABSENT);
        dload_call call = {.group = g << 40};
        must_ok(tl_load_many_with(&x->l, keys, N_KEYS, &call, out, NULL));
        equal(out[3], value_in(&x->r, g << 40, keys[3]));
    }
    equal(x->r.n_keys, N_GROUPS / 4 * N_KEYS);
    text_clear(&x->r.calls);
}

static void test_groups_clear_entries(void **state)
{
    clear_some(*state, 4096, false);
}

static void test_groups_clear_unbounded(void **state)
{
    clear_some(*state, DLOAD_UNBOUNDED, false);
}

static void test_groups_clear_after_all(void **state)
{
    clear_some(*state, 4096, true);
}

static void test_groups_clear_uncached(void **state)
{
    struct fixture *x = *state;
    x->cfg.capacity = DLOAD_NO_CACHE;
    open_groups(x);
    load_in_must(x, 1, 5, 1005);
    must_ok(tl_clear_group(&x->l, 1));
    load_in_must(x, 1, 5, 1005);
    text_must(&x->r.calls, "1:B(5) 1:B(5)");
}

/* ---- against values read outside ---- */

static void test_groups_tokens(void **state)
{
    struct fixture *x = *state;
    open_groups(x);
    uint64_t value = 4;
    dload_token before = tl_token(&x->l);
    must_ok(tl_put_if_in(&x->l, 5, 1, &value, before));
    load_in_must(x, 1, 5, 4);
    equal(state_in(x, 0, 5), DLOAD_STATE_ABSENT);
    before = tl_token(&x->l);
    must_ok(tl_clear_group(&x->l, 1));
    for (uint64_t key = 0; key < N_KEYS; key++) {
        must(tl_put_if_in(&x->l, key, 1, &value, before), DLOAD_ECANCELED);
        equal(state_in(x, 1, key), DLOAD_STATE_ABSENT);
    }
    /* Of other groups, those are refused that look like it to the record of clears: a few. */
    size_t n_refused = 0;
    for (uint64_t group = 2; group < 202; group++) {
        before = tl_token(&x->l);
        must_ok(tl_clear_group(&x->l, 1));
        dload_status st = tl_put_if_in(&x->l, 5, group, &value, before);
        assert_true(st == DLOAD_OK || st == DLOAD_ECANCELED);
        n_refused += st != DLOAD_OK;
    }
    assert_true(n_refused < 20);
    must_ok(tl_put_if_in(&x->l, 5, 1, &value, tl_token(&x->l)));
    before = tl_token(&x->l);
    must_ok(tl_clear_all(&x->l));
    must(tl_put_if_in(&x->l, 5, 1, &value, before), DLOAD_ECANCELED);
    before = tl_token(&x->l);
    must_ok(tl_clear_in(&x->l, 5, 1));
    must(tl_put_if_in(&x->l, 5, 1, &value, before), DLOAD_ECANCELED);
}

/* ---- a cache alone ---- */

static dload_blob blob_of(struct fixture *x, uint64_t group, uint64_t key)
{
    dload_blob blob = {NULL, 0};
    uint64_t both[2] = {group, key};
    must_ok(dload_blob_make(&x->f.env, both, sizeof both, &blob));
    return blob;
}

static dload_str text_of(uint64_t key, char *buf)
{
    memset(buf, 'a', 40);
    memcpy(buf, &key, sizeof key);
    return (dload_str){buf, key % 40};
}

static void shelf_fill(struct fixture *x, shelf_cache *c)
{
    char buf[40];
    for (uint64_t g = 0; g < N_GROUPS; g++) {
        for (uint64_t key = 0; key < 40; key++) {
            dload_blob blob = blob_of(x, g, key);
            must_ok(shelf_cache_set_in(c, text_of(key, buf), g, &blob, 0));
            dload_blob_release(&blob);
        }
    }
}

static void test_groups_cache_alone(void **state)
{
    struct fixture *x = *state;
    static const size_t capacities[] = {DLOAD_UNBOUNDED, 40 * N_GROUPS * 2};
    char buf[40];
    dload_blob got;
    for (size_t i = 0; i < COUNT(capacities); i++) {
        shelf_cache c;
        shelf_cache_config cfg = {.env = &x->f.env, .capacity = capacities[i], .shards = 1};
        must_ok(shelf_cache_init(&c, &cfg));
        size_t n_live = x->f.n_live;
        shelf_fill(x, &c);
        equal(shelf_cache_len(&c), 40 * N_GROUPS);
        must_ok(shelf_cache_delete_in(&c, text_of(7, buf), 3));
        must_ok(shelf_cache_clear_group(&c, 5));
        must_ok(shelf_cache_clear_group(&c, 12345)); /* nobody's */
        equal(shelf_cache_len(&c), 40 * N_GROUPS - 41);
        for (uint64_t g = 0; g < N_GROUPS; g++) {
            for (uint64_t key = 0; key < 40; key++) {
                bool gone = g == 5 || (g == 3 && key == 7);
                dload_status want = gone ? DLOAD_MISSING : DLOAD_OK;
                must(shelf_cache_get_in(&c, text_of(key, buf), g, &got), want);
                if (!gone) {
                    const uint64_t both[2] = {g, key};
                    assert_memory_equal(got.ptr, both, sizeof both);
                    dload_blob_release(&got);
                }
            }
        }
        must(shelf_cache_get(&c, text_of(9, buf), &got), DLOAD_OK); /* group 0 */
        dload_blob_release(&got);
        for (uint64_t g = 0; g < N_GROUPS; g++) {
            must_ok(shelf_cache_clear_group(&c, g));
        }
        equal(shelf_cache_len(&c), 0);
        assert_true(x->f.n_live < n_live + 64); /* the table and its key bytes, no values */
        must_ok(shelf_cache_destroy(&c));
    }
}

enum { FULL = 48 * 16 }; /* entries, and the table grows with the next one */

static crates_cache growing;

/* No lock is held: another group may come in, and then the table moves. */
static void bring_others(void)
{
    on_free = NULL;
    for (uint64_t i = 0; i < FULL; i++) {
        must_ok(crates_cache_set_in(&growing, i, 0, &i, 0));
    }
}

/* Which entries overflow into which part of a full table is another matter for each group. */
static void test_groups_clear_grows(void **state)
{
    struct fixture *x = *state;
    for (uint64_t group = 1; group < 200; group++) {
        crates_cache_config cfg = {.env = &x->f.env, .capacity = DLOAD_UNBOUNDED, .shards = 1};
        must_ok(crates_cache_init(&growing, &cfg));
        for (uint64_t i = 0; i < FULL; i++) {
            must_ok(crates_cache_set_in(&growing, i, group, &i, 0));
        }
        size_t bytes = crates_cache_bytes(&growing);
        on_free = bring_others;
        must_ok(crates_cache_clear_group(&growing, group));
        assert_true(crates_cache_bytes(&growing) > bytes);
        equal(crates_cache_len(&growing), FULL);
        for (uint64_t i = 0; i < FULL; i++) {
            uint64_t got = 0;
            must(crates_cache_get_in(&growing, i, group, &got), DLOAD_MISSING);
            must_ok(crates_cache_get_in(&growing, i, 0, &got));
            equal(got, i);
        }
        must_ok(crates_cache_destroy(&growing));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RULE("a fetch that runs is out of date", test_groups_clear_in_flight),
        RULE("... also when it ends last", test_groups_clear_old_ends_last),
        RULE("a queued key stays queued", test_groups_clear_queued),
        RULE("cleared by its own fetch function", test_groups_clear_inside),
        RULE("cleared, and then abandoned", test_groups_clear_then_abandon),
        RULE("entries of other groups stay", test_groups_clear_entries),
        RULE("... in a cache that grows", test_groups_clear_unbounded),
        RULE("... after a clear of all", test_groups_clear_after_all),
        RULE("a group without a cache", test_groups_clear_uncached),
        RULE("tokens", test_groups_tokens),
        RULE("a cache alone", test_groups_cache_alone),
        RULE("a table that grows meanwhile", test_groups_clear_grows),
    };
    return cmocka_run_group_tests_name("groups, clears " TEST_STRING(TEST_LOCK), tests, NULL, NULL);
}
