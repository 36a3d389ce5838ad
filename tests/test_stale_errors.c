/* Old values when a fetch fails: who has them, for how long, and when it is tried again. Rules 40 and 54. */
/* locks: NONE SPIN PTHREAD */
#include "test_stale.h"

#ifdef TEST_LOCK
#define DLOAD_LOCK TEST_LOCK
#endif
#define DLOAD_NAME    bl
#define DLOAD_KEY     DLOAD_STRING
#define DLOAD_VALUE   DLOAD_BLOB
#define DLOAD_REFRESH 1
#include "dataloader.h"

/* ---- a refresh that fails ---- */

static void without_the_wish_the_refresher_has_the_error(void **state)
{
    struct fixture *x = open_with(state, WINDOW, 0);
    struct request first = {0};
    uint64_t got = 0;
    x->r.result = DLOAD_EFETCH;
    rec_script(&x->r, 1, ANSWER_NOTHING, 0, DLOAD_OK);
    x->f.now_ns += TTL;
    must(request_start(x, &first, 1), DLOAD_PENDING);
    stale_must(x, 1, 10);
    equal(dispatch(x), 1);
    request_must_fail(&first, DLOAD_EFETCH);
    must(tl_load(&x->l, 1, &got), DLOAD_EFETCH);
    text_must(&x->r.calls, "B(1) B(1)");
    x->r.result = DLOAD_OK;
    x->r.n_answers = 0;
    load_must(x, 1, 11);
}

static void on_an_error_the_old_value_serves_and_nobody_tries_again_for_a_while(void **state)
{
    struct fixture *x = open_with(state, 0, 320 * TICK);
    struct request first = {0}, second = {0};
    rec_script(&x->r, 1, ANSWER_FAIL, 0, DLOAD_EFETCH);
    x->f.now_ns += TTL;
    state_must(x, 1, DLOAD_STATE_ABSENT);
    must(request_start(x, &first, 1), DLOAD_PENDING);
    must(request_start(x, &second, 1), DLOAD_PENDING); /* no stale_ns: everybody waits */
    equal(dispatch(x), 1);
    must(first.w.status, DLOAD_STALE);
    equal(first.w.value, 10);
    must(second.w.status, DLOAD_STALE);
    equal(stats_of(x).served_on_error, 2);
    equal(stats_of(x).fetch_errors, 1);
    state_must(x, 1, DLOAD_STATE_STALE);
    x->f.now_ns += 20 * TICK; /* a sixteenth of 320, and the one it was rounded up to */
    stale_must(x, 1, 10);
    text_must(&x->r.calls, "B(1)");
    x->f.now_ns += TICK;
    stale_must(x, 1, 10);
    text_must(&x->r.calls, "B(1)");
    equal(stats_of(x).served_on_error, 3);
    x->f.now_ns += 320 * TICK - 21 * TICK;
    uint64_t got = 0;
    must(tl_load(&x->l, 1, &got), DLOAD_EFETCH);
}

static void the_pause_after_an_error_is_a_second_at_most(void **state)
{
    struct fixture *x = open_with(state, WINDOW, DLOAD_NEVER);
    rec_script(&x->r, 1, ANSWER_FAIL, 0, DLOAD_EFETCH);
    x->f.now_ns += TTL;
    stale_must(x, 1, 10);
    text_must(&x->r.calls, "B(1)");
    x->f.now_ns += DLOAD_SECOND - 2 * TICK;
    stale_must(x, 1, 10);
    text_must(&x->r.calls, "");
    x->f.now_ns += 2 * TICK;
    stale_must(x, 1, 10);
    text_must(&x->r.calls, "B(1)");
    x->f.now_ns += 400 * 24 * 3600 * DLOAD_SECOND; /* over a year: ticks wrapped eight times */
    stale_must(x, 1, 10);
    text_must(&x->r.calls, "B(1)");
    for (int i = 0; i < 20; i++) { /* and again, a few days at a time */
        x->f.now_ns += 3 * 24 * 3600 * DLOAD_SECOND;
        must_ok(tl_process(&x->l, x->f.now_ns));
        stale_must(x, 1, 10);
        text_must(&x->r.calls, "B(1)");
    }
    x->r.n_answers = 0;
    x->f.now_ns += DLOAD_SECOND;
    load_must(x, 1, 11);
}

static void a_fresh_load_has_the_error_beside_one_that_has_the_old_value(void **state)
{
    struct fixture *x = open_with(state, 0, WINDOW);
    struct request first = {0}, second = {0};
    const dload_call call = {.flags = DLOAD_FRESH};
    rec_script(&x->r, 1, ANSWER_FAIL, 0, DLOAD_EFETCH);
    x->f.now_ns += TTL;
    must(request_start(x, &first, 1), DLOAD_PENDING);
    second.w.done = request_done;
    second.w.ctx = &second;
    must(tl_start_with(&x->l, 1, &call, &second.w), DLOAD_PENDING);
    equal(dispatch(x), 1);
    must(first.w.status, DLOAD_STALE);
    request_must_fail(&second, DLOAD_EFETCH);
}

static uint64_t keep_errors(void *ctx, dload_status status)
{
    (void)ctx;
    (void)status;
    return DLOAD_NEVER;
}

static void an_error_does_not_take_the_place_of_a_value_that_serves(void **state)
{
    struct fixture *x = *state;
    x->cfg.error_ttl = keep_errors;
    x = open_with(state, 0, WINDOW);
    rec_script(&x->r, 1, ANSWER_FAIL, 0, DLOAD_EFETCH);
    x->f.now_ns += TTL;
    stale_must(x, 1, 10);
    state_must(x, 1, DLOAD_STATE_STALE);
    x->f.now_ns += WINDOW;
    uint64_t got = 0;
    must(tl_load(&x->l, 1, &got), DLOAD_EFETCH);
    state_must(x, 1, DLOAD_STATE_ERROR);
}

static void a_close_does_not_hand_out_old_values(void **state)
{
    struct fixture *x = open_with(state, 0, WINDOW);
    struct request queued = {0}, running = {0};
    x->f.now_ns += TTL;
    x->r.result = DLOAD_PENDING;
    must(request_start(x, &running, 1), DLOAD_PENDING);
    equal(dispatch(x), 1);
    must(request_start(x, &queued, 2), DLOAD_PENDING);
    must(tl_close(&x->l, DLOAD_FAIL, 0), DLOAD_ETIMEDOUT); /* its function keeps it */
    request_must_fail(&running, DLOAD_ECLOSED);
    request_must_fail(&queued, DLOAD_ECLOSED);
    must_ok(tl_batch_done(rec_take(&x->r, 0), DLOAD_OK));
}

/* ---- owned values ---- */

static dload_status blob_result;
static int blob_version;
static bl_batch *blob_pending;

static dload_status blob_fetch(bl_batch *b)
{
    if (blob_result == DLOAD_PENDING) {
        blob_pending = b;
        return DLOAD_PENDING;
    }
    for (size_t i = 0; i < b->n && blob_result == DLOAD_OK; i++) {
        char text[2] = {(char)('a' + blob_version), '\0'};
        must_ok(bl_batch_set_bytes(b, i, text, 1));
    }
    return blob_result;
}

static void blob_must(bl *l, dload_status status, char want)
{
    dload_blob got;
    must(bl_load(l, dload_str_from("key"), &got), status);
    if (status >= 0) {
        equal(((const char *)got.ptr)[0], want);
        dload_blob_release(&got);
    }
}

static void owned_values_are_released_once_each(void **state)
{
    struct fixture *x = *state;
    bl l;
    bl_config cfg = bl_config_default();
    cfg.env = &x->f.env;
    cfg.fetch = blob_fetch;
    cfg.ttl_ns = TTL;
    cfg.stale_ns = cfg.stale_error_ns = 10 * TTL;
    cfg.run_limit_ns = TTL;
    blob_result = DLOAD_OK;
    blob_version = 0;
    must_ok(bl_init(&l, &cfg));
    blob_must(&l, DLOAD_OK, 'a');
    x->f.now_ns += TTL;
    blob_result = DLOAD_EFETCH; /* kept */
    blob_must(&l, DLOAD_STALE, 'a');
    blob_must(&l, DLOAD_STALE, 'a');
    x->f.now_ns += TTL;
    blob_result = DLOAD_PENDING; /* given up, and kept */
    bl_waiter w = {.done = NULL};
    must(bl_start(&l, dload_str_from("key"), &w), DLOAD_PENDING);
    must_ok(bl_dispatch(&l, NULL));
    x->f.now_ns += TTL + TICK;
    must_ok(bl_process(&l, x->f.now_ns));
    must(w.status, DLOAD_STALE);
    dload_blob_release(&w.value);
    must(bl_batch_set_bytes(blob_pending, 0, "z", 1), DLOAD_ECANCELED);
    must_ok(bl_batch_done(blob_pending, DLOAD_OK));
    x->f.now_ns += TTL;
    blob_result = DLOAD_OK; /* replaced */
    blob_version = 1;
    blob_must(&l, DLOAD_OK, 'b');
    x->f.now_ns += TTL;
    blob_result = DLOAD_MISSING; /* dropped */
    blob_must(&l, DLOAD_MISSING, 0);
    must_ok(bl_close(&l, DLOAD_FAIL, 0));
    must_ok(bl_destroy(&l));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RULE("40 an error, without the wish", without_the_wish_the_refresher_has_the_error),
        RULE("40 an error, with it",
             on_an_error_the_old_value_serves_and_nobody_tries_again_for_a_while),
        RULE("the pause after an error", the_pause_after_an_error_is_a_second_at_most),
        RULE("a fresh load has the error",
             a_fresh_load_has_the_error_beside_one_that_has_the_old_value),
        RULE("an error takes no value's place",
             an_error_does_not_take_the_place_of_a_value_that_serves),
        RULE("close hands out nothing old", a_close_does_not_hand_out_old_values),
        RULE("owned values", owned_values_are_released_once_each),
    };
    return cmocka_run_group_tests_name("stale_errors", tests, NULL, NULL);
}
