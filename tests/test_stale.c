/* Old values: who refreshes and who does not wait, what becomes of a refresh that hangs, is cancelled or is
 * overtaken by a clear. Rules 39 and 40. */
/* locks: NONE SPIN PTHREAD */
#include "test_stale.h"

/* A loader without the switch. */
#define DLOAD_NAME  plain
#define DLOAD_KEY   int
#define DLOAD_VALUE int
#include "dataloader.h"

/* ---- one refreshes ---- */

static void the_first_refreshes_the_rest_have_the_old_value(void **state)
{
    struct fixture *x = open_with(state, WINDOW, 0);
    struct request first = {0}, second = {0};
    x->f.now_ns += TTL - 1;
    load_must(x, 1, 10);
    state_must(x, 1, DLOAD_STATE_READY);
    x->f.now_ns += 1;
    state_must(x, 1, DLOAD_STATE_STALE);
    must(request_start(x, &first, 1), DLOAD_PENDING);
    must(request_start(x, &second, 1), DLOAD_STALE);
    equal(second.w.value, 10);
    must(second.w.status, DLOAD_STALE);
    equal(second.n_done, 0);
    stale_must(x, 1, 10);
    state_must(x, 1, DLOAD_STATE_STALE);
    text_must(&x->r.calls, "");
    equal(dispatch(x), 1);
    request_must(&first, 11);
    load_must(x, 1, 11);
    state_must(x, 1, DLOAD_STATE_READY);
    text_must(&x->r.calls, "B(1)");
    dload_stats s = stats_of(x);
    equal(s.stale_hits, 2);
    equal(s.refreshes, 1);
    equal(s.misses, 2);
    equal(s.hits, 4);
    equal(s.loads, 6);
}

static void a_blocking_caller_refreshes_and_has_the_new_value(void **state)
{
    struct fixture *x = open_with(state, WINDOW, 0);
    x->f.now_ns += TTL + WINDOW - 1;
    load_must(x, 1, 11);
    text_must(&x->r.calls, "B(1)");
    load_must(x, 1, 11);
    text_must(&x->r.calls, "");
}

static void after_the_window_there_is_nothing(void **state)
{
    struct fixture *x = open_with(state, WINDOW, 0);
    struct request first = {0}, second = {0};
    x->f.now_ns += TTL + WINDOW;
    state_must(x, 1, DLOAD_STATE_ABSENT);
    must(request_start(x, &first, 1), DLOAD_PENDING);
    must(request_start(x, &second, 1), DLOAD_PENDING);
    equal(dispatch(x), 1);
    request_must(&first, 11);
    request_must(&second, 11);
    equal(stats_of(x).refreshes, 0);
    equal(stats_of(x).joins, 1);
}

static void an_old_value_leaves_the_cache_after_its_window(void **state)
{
    struct fixture *x = open_with(state, WINDOW, 0);
    x->f.now_ns += TTL + WINDOW - 1;
    must_ok(tl_process(&x->l, x->f.now_ns));
    equal(stats_of(x).entries, 1);
    x->f.now_ns += TICK;
    must_ok(tl_process(&x->l, x->f.now_ns));
    equal(stats_of(x).entries, 0);
    equal(stats_of(x).expired, 1);
}

static void without_a_window_expiry_is_what_it_was(void **state)
{
    struct fixture *x = open_with(state, 0, 0);
    struct request first = {0}, second = {0};
    x->f.now_ns += TTL;
    state_must(x, 1, DLOAD_STATE_ABSENT);
    must(request_start(x, &first, 1), DLOAD_PENDING);
    must(request_start(x, &second, 1), DLOAD_PENDING);
    equal(dispatch(x), 1);
    request_must(&second, 11);
}

/* A call that asks twice has one answer, and no old one beside it. */
static void a_call_for_many_has_one_answer_a_key(void **state)
{
    struct fixture *x = open_with(state, WINDOW, 0);
    const uint64_t keys[] = {1, 2, 1};
    uint64_t out[3] = {0};
    dload_status statuses[3];
    x->f.now_ns += TTL;
    must_ok(tl_load_many(&x->l, keys, 3, out, statuses));
    text_must(&x->r.calls, "B(1,2)");
    for (size_t i = 0; i < 3; i++) {
        must(statuses[i], DLOAD_OK);
        equal(out[i], keys[i] * 10 + 1);
    }
}

static void a_full_queue_is_no_reason_to_refuse(void **state)
{
    struct fixture *x = *state;
    struct request other = {0}, refresher = {0};
    x->cfg.max_queue = 1;
    x = open_with(state, WINDOW, 0);
    x->f.now_ns += TTL;
    must(request_start(x, &other, 2), DLOAD_PENDING);
    must(request_start(x, &refresher, 1), DLOAD_STALE);
    equal(refresher.w.value, 10);
    must(request_start(x, &refresher, 3), DLOAD_EAGAIN);
    equal(dispatch(x), 1);
    load_must(x, 1, 11);
}

/* The fetch function may load what it is fetching: there is a value. */
static void load_inside(struct recorder *r, tl_batch *b)
{
    uint64_t got = 0;
    r->act = NULL;
    must(tl_load(r->act_ctx, b->keys[0], &got), DLOAD_STALE);
    equal(got, 10);
}

static void the_fetch_function_sees_the_old_value(void **state)
{
    struct fixture *x = open_with(state, WINDOW, 0);
    x->r.act = load_inside;
    x->r.act_ctx = &x->l;
    x->f.now_ns += TTL;
    load_must(x, 1, 11);
}

/* ---- the refresher leaves ---- */

static void when_the_refresher_cancels_the_next_one_refreshes(void **state)
{
    struct fixture *x = open_with(state, WINDOW, 0);
    struct request first = {0}, second = {0};
    x->f.now_ns += TTL;
    must(request_start(x, &first, 1), DLOAD_PENDING);
    stale_must(x, 1, 10);
    must_ok(tl_cancel(&x->l, &first.w));
    must(request_start(x, &second, 1), DLOAD_PENDING);
    stale_must(x, 1, 10);
    equal(dispatch(x), 1);
    request_must(&second, 11);
    equal(stats_of(x).refreshes, 2);
}

static void a_refresh_that_hangs_is_overtaken_at_its_run_limit(void **state)
{
    struct fixture *x = *state;
    struct request first = {0};
    x->cfg.run_limit_ns = 100 * TICK;
    x = open_with(state, WINDOW, 0);
    x->f.now_ns += TTL;
    x->r.result = DLOAD_PENDING;
    must(request_start(x, &first, 1), DLOAD_PENDING);
    equal(dispatch(x), 1);
    must_ok(tl_cancel(&x->l, &first.w));
    x->f.now_ns += 100 * TICK;
    stale_must(x, 1, 10);
    x->f.now_ns += 1;
    x->r.result = DLOAD_OK;
    x->r.version = 2;
    load_must(x, 1, 12);
    load_must(x, 1, 12);
    text_must(&x->r.calls, "B(1) B(1)");
    must_ok(tl_batch_done(rec_take(&x->r, 0), DLOAD_OK)); /* given up: it changes nothing */
    load_must(x, 1, 12);
}

/* ---- clears ---- */

static void clear_one(struct fixture *x)
{
    must_ok(tl_clear(&x->l, 1));
}

static void clear_everything(struct fixture *x)
{
    must_ok(tl_clear_all(&x->l));
}

/* What was old is gone at once, and what is being fetched is cached nowhere. */
static void clear_while_refreshing(void **state, void (*clear)(struct fixture *x))
{
    struct fixture *x = open_with(state, WINDOW, WINDOW);
    struct request first = {0}, second = {0};
    x->f.now_ns += TTL;
    x->r.result = DLOAD_PENDING;
    must(request_start(x, &first, 1), DLOAD_PENDING);
    equal(dispatch(x), 1);
    stale_must(x, 1, 10);
    clear(x);
    must(request_start(x, &second, 1), DLOAD_PENDING);
    rec_finish(&x->r);
    request_must(&first, 11);
    state_must(x, 1, DLOAD_STATE_QUEUED);
    x->r.version = 2;
    x->r.result = DLOAD_OK;
    equal(dispatch(x), 1);
    request_must(&second, 12);
    load_must(x, 1, 12);
    equal(stats_of(x).cleared_in_flight, 1);
}

static void a_clear_ends_what_is_old_and_what_is_fetched(void **state)
{
    clear_while_refreshing(state, clear_one);
}

static void a_clear_all_ends_what_is_old_and_what_is_fetched(void **state)
{
    clear_while_refreshing(state, clear_everything);
}

static void prime_takes_the_place_of_an_old_value(void **state)
{
    struct fixture *x = open_with(state, WINDOW, 0);
    const uint64_t known = 77;
    x->f.now_ns += TTL;
    must_ok(tl_prime(&x->l, 1, &known, 0));
    load_must(x, 1, 77);
}

/* ---- answers other than a value ---- */

static void missing_ends_the_old_value(void **state)
{
    struct fixture *x = open_with(state, WINDOW, WINDOW);
    uint64_t got = 0;
    rec_script(&x->r, 1, ANSWER_NOTHING, 0, DLOAD_OK);
    x->f.now_ns += TTL;
    must(tl_load(&x->l, 1, &got), DLOAD_MISSING);
    state_must(x, 1, DLOAD_STATE_ABSENT);
    must(tl_load(&x->l, 1, &got), DLOAD_MISSING);
    text_must(&x->r.calls, "B(1) B(1)");
    equal(stats_of(x).entries, 0);
}

static void answer_uncached(struct recorder *r, tl_batch *b)
{
    const uint64_t value = 55;
    r->act = NULL;
    must_ok(tl_batch_set_ttl(b, 0, &value, 0));
    r->result = DLOAD_PENDING;
}

static void a_value_not_to_be_cached_ends_the_old_one(void **state)
{
    struct fixture *x = open_with(state, WINDOW, 0);
    struct request first = {0}, second = {0};
    x->f.now_ns += TTL;
    x->r.act = answer_uncached;
    must(request_start(x, &first, 1), DLOAD_PENDING);
    equal(dispatch(x), 1);
    request_must(&first, 55);
    must_ok(tl_batch_done(rec_take(&x->r, 0), DLOAD_OK));
    x->r.result = DLOAD_OK;
    must(request_start(x, &first, 1), DLOAD_PENDING);
    must(request_start(x, &second, 1), DLOAD_PENDING);
    equal(dispatch(x), 1);
    request_must(&second, 11);
}

static void a_cached_error_is_never_stale(void **state)
{
    struct fixture *x = *state;
    uint64_t got = 0;
    x->cfg.missing_ttl_ns = 10 * TICK;
    rec_script(&x->r, 2, ANSWER_NOTHING, 0, DLOAD_OK);
    x = open_with(state, WINDOW, WINDOW);
    must(tl_load(&x->l, 2, &got), DLOAD_MISSING);
    x->f.now_ns += 10 * TICK - 1;
    must(tl_load(&x->l, 2, &got), DLOAD_MISSING);
    text_must(&x->r.calls, "B(2)");
    x->f.now_ns += 1;
    state_must(x, 2, DLOAD_STATE_ABSENT);
    must(tl_load(&x->l, 2, &got), DLOAD_MISSING);
    text_must(&x->r.calls, "B(2)");
}

/* ---- refreshes are not uses ---- */

static void a_refresh_is_no_use(void **state)
{
    struct fixture *x = *state;
    struct request first = {0};
    x->cfg.capacity = 2; /* CLOCK, in one shard */
    x->cfg.shards = 1;
    x = open_with(state, WINDOW, 0);
    load_must(x, 2, 21);
    x->f.now_ns += TTL;
    must(request_start(x, &first, 1), DLOAD_PENDING);
    equal(dispatch(x), 1);
    request_must(&first, 11);
    load_must(x, 3, 31); /* 1 is the oldest, and was not read since */
    state_must(x, 1, DLOAD_STATE_ABSENT);
    state_must(x, 2, DLOAD_STATE_STALE);
}

/* ---- configuration ---- */

static dload_status plain_fetch(plain_batch *b)
{
    (void)b;
    return DLOAD_OK;
}

static void without_the_switch_the_fields_are_refused(void **state)
{
    (void)state;
    for (int i = 0; i < 5; i++) {
        plain l;
        plain_config cfg = plain_config_default();
        cfg.fetch = plain_fetch;
        cfg.stale_ns = i == 0;
        cfg.stale_error_ns = i == 1;
        cfg.refresh_ahead_pct = i == 2;
        cfg.idle_ttl_ns = i == 3;
        must(plain_init(&l, &cfg), i < 4 ? DLOAD_EINVAL : DLOAD_OK);
        if (i == 4) {
            must_ok(plain_close(&l, DLOAD_FAIL, 0));
            must_ok(plain_destroy(&l));
        }
    }
    plain_cache c;
    const plain_cache_config cfg = {.idle_ttl_ns = 1};
    must(plain_cache_init(&c, &cfg), DLOAD_EINVAL);
}

static void beta_has_a_range(void **state)
{
    struct fixture *x = *state;
    x->cfg.refresh_ahead_pct = 1001;
    must(tl_init(&x->l, &x->cfg), DLOAD_EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RULE("40 the first refreshes, the rest have the old value",
             the_first_refreshes_the_rest_have_the_old_value),
        RULE("40 a blocking caller refreshes", a_blocking_caller_refreshes_and_has_the_new_value),
        RULE("40 after the window there is nothing", after_the_window_there_is_nothing),
        RULE("an old value leaves after its window",
             an_old_value_leaves_the_cache_after_its_window),
        RULE("without a window expiry is what it was", without_a_window_expiry_is_what_it_was),
        RULE("a call for many has one answer a key", a_call_for_many_has_one_answer_a_key),
        RULE("a full queue is no reason to refuse", a_full_queue_is_no_reason_to_refuse),
        RULE("the fetch function sees the old value", the_fetch_function_sees_the_old_value),
        RULE("the refresher cancels", when_the_refresher_cancels_the_next_one_refreshes),
        RULE("a refresh hangs", a_refresh_that_hangs_is_overtaken_at_its_run_limit),
        RULE("clear while refreshing", a_clear_ends_what_is_old_and_what_is_fetched),
        RULE("clear_all while refreshing", a_clear_all_ends_what_is_old_and_what_is_fetched),
        RULE("prime over an old value", prime_takes_the_place_of_an_old_value),
        RULE("missing ends the old value", missing_ends_the_old_value),
        RULE("uncached ends the old value", a_value_not_to_be_cached_ends_the_old_one),
        RULE("a cached error is never stale", a_cached_error_is_never_stale),
        RULE("a refresh is no use", a_refresh_is_no_use),
        RULE("without the switch", without_the_switch_the_fields_are_refused),
        RULE("beta has a range", beta_has_a_range),
    };
    return cmocka_run_group_tests_name("stale", tests, NULL, NULL);
}
