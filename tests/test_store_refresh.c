/* Old values and the second level: who refreshes a key asks the store first, but for early refreshes, which want
 * what the source has now; an old value is better than the error of a store and a source that both fail. */
/* locks: NONE SPIN PTHREAD */
#define DLOAD_REFRESH 1
#include "test_store_loader.h"

#define TICK (UINT64_C(1) << 20) /* of expiry, in ns */
#define TTL  (4000 * TICK)

static uint64_t next_random;

static uint64_t scripted_random(void *ctx)
{
    (void)ctx;
    return next_random;
}

static void fetch_takes_time(struct recorder *r, tl_batch *b)
{
    (void)b;
    ((struct fixture *)r->act_ctx)->f.now_ns += 100 * TICK;
}

static struct fixture *open_old(void **state)
{
    struct fixture *x = *state;
    x->cfg.ttl_ns = TTL;
    x->f.now_ns = 5000 * TICK;
    x->f.env.random = scripted_random;
    next_random = UINT64_MAX;
    x->r.act = fetch_takes_time;
    x->r.act_ctx = x;
    fixture_open(x);
    load_must(x, 1, 10);
    text_must(&x->r.calls, "B(1)");
    x->r.act = NULL;
    x->r.version = 1;
    return x;
}

/* Another process has put something newer into the store. */
static void from_the_store(void **state)
{
    struct fixture *x = *state;
    tl other;
    uint64_t out = 0;
    dload_call fresh = {.flags = DLOAD_FRESH};
    x->cfg.stale_ns = TTL;
    (void)open_old(state);
    must_ok(tl_init(&other, &x->cfg));
    must_ok(tl_load_with(&other, 1, &fresh, &out));
    must_ok(tl_close(&other, DLOAD_DRAIN, 0));
    must_ok(tl_destroy(&other));
    text_must(&x->r.calls, "B(1)");
    x->f.now_ns += TTL + TICK;
    load_must(x, 1, 11); /* past its TTL here */
    text_must(&x->r.calls, "");
    equal(stats_of(x).refreshes, 1);
}

static void early_ones_from_the_source(void **state)
{
    struct fixture *x = *state;
    struct request req = {0};
    x->cfg.refresh_ahead_pct = 100;
    (void)open_old(state);
    x->f.now_ns += TTL - 100 * TICK;
    next_random = 0;
    for (int i = 0; i < 2 && request_start(x, &req, 1) != DLOAD_PENDING; i++) {
        equal(i, 0); /* the first draw may only tell that there is one */
    }
    equal(dispatch(x), 1);
    request_must(&req, 11);
    text_must(&x->r.calls, "B(1)");
    equal(script.n_ops[DLOAD_STORE_GET], 1);
    must_ok(tl_clear_all_local(&x->l));
    load_must(x, 1, 11); /* and it is stored */
    text_must(&x->r.calls, "");
}

static void both_fail(void **state)
{
    struct fixture *x = *state;
    uint64_t out = 0;
    x->cfg.stale_error_ns = TTL;
    (void)open_old(state);
    rec_script(&x->r, 1, ANSWER_FAIL, 0, DLOAD_EFETCH);
    script.fails[DLOAD_STORE_GET] = DLOAD_EBACKEND;
    x->f.now_ns += TTL + TICK;
    must(tl_load(&x->l, 1, &out), DLOAD_STALE);
    equal(out, 10);
    equal(script.n_ops[DLOAD_STORE_SET], 1); /* nothing new to store */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORE_RULE("from the store", from_the_store),
        STORE_RULE("early ones from the source", early_ones_from_the_source),
        STORE_RULE("both fail", both_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
