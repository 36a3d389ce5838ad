/* Early refreshes, by the chance that their paper gives them, and entries that nobody reads. */
/* locks: NONE SPIN PTHREAD */
#include "test_stale.h"

/* ---- early refreshes ---- */

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

/* A number whose fraction of 2^64 is n in a thousand. */
static uint64_t thousandths(uint64_t n)
{
    return UINT64_MAX / 1000 * n;
}

static struct fixture *open_ahead(void **state, uint32_t pct)
{
    struct fixture *x = *state;
    x->cfg.refresh_ahead_pct = pct;
    x->f.env.random = scripted_random;
    next_random = UINT64_MAX;
    x->r.act = fetch_takes_time;
    x->r.act_ctx = x;
    x->cfg.ttl_ns = 4000 * TICK;
    x->f.now_ns = 5000 * TICK;
    fixture_open(x);
    load_must(x, 2, 20); /* from here on it is known what a fetch takes */
    load_must(x, 1, 10);
    text_must(&x->r.calls, "B(2) B(1)");
    x->r.act = NULL;
    x->r.version = 1;
    return x;
}

static void chance_must(struct fixture *x, uint64_t left, uint64_t below)
{
    struct request req = {0};
    x->f.now_ns += 4000 * TICK - left;
    next_random = thousandths(below + 20); /* the logarithm and its base are approximate */
    load_must(x, 1, 10);
    next_random = thousandths(below - 20);
    must(request_start(x, &req, 1), DLOAD_PENDING);
    load_must(x, 1, 10); /* a draw is for one */
    next_random = 0;
    load_must(x, 1, 10);
    equal(dispatch(x), 1);
    request_must(&req, 11);
    load_must(x, 1, 11);
    equal(stats_of(x).refreshes, 1);
    equal(stats_of(x).stale_hits, 0);
}

static void at_one_fetch_before_the_end_it_is_37_in_100(void **state)
{
    chance_must(open_ahead(state, 100), 100 * TICK, 368);
}

static void at_two_fetches_it_is_13_in_100(void **state)
{
    chance_must(open_ahead(state, 100), 200 * TICK, 135);
}

static void beta_stretches_it(void **state)
{
    chance_must(open_ahead(state, 200), 200 * TICK, 368);
}

static void long_before_the_end_nobody_draws(void **state)
{
    struct fixture *x = open_ahead(state, 100);
    next_random = 0;
    x->f.now_ns += 4000 * TICK - 1700 * TICK;
    load_must(x, 1, 10);
    equal(stats_of(x).refreshes, 0);
}

static void a_failed_early_refresh_costs_nobody_his_value(void **state)
{
    struct fixture *x = open_ahead(state, 100);
    rec_script(&x->r, 1, ANSWER_FAIL, 0, DLOAD_EFETCH);
    next_random = 0;
    x->f.now_ns += 4000 * TICK - 1050 * TICK;
    load_must(x, 1, 10);
    text_must(&x->r.calls, "B(1)");
    load_must(x, 1, 10); /* for a second it is not tried again */
    x->f.now_ns += DLOAD_SECOND - TICK;
    load_must(x, 1, 10);
    text_must(&x->r.calls, "");
    x->f.now_ns += 2 * TICK;
    load_must(x, 1, 10);
    text_must(&x->r.calls, "B(1)");
    equal(stats_of(x).served_on_error, 2);
}

static void peek_draws_nothing(void **state)
{
    struct fixture *x = open_ahead(state, 100);
    next_random = 0;
    x->f.now_ns += 4000 * TICK - 10 * TICK;
    state_must(x, 1, DLOAD_STATE_READY);
    next_random = UINT64_MAX;
    load_must(x, 1, 10);
    text_must(&x->r.calls, "");
}

/* -ln of some fractions of 2^64, in 65536ths, and never further off than 0.012. */
static void logarithms_are_close(void **state)
{
    (void)state;
    static const struct {
        uint64_t r;
        uint32_t want;
    } rows[] = {{UINT64_MAX, 0},
                {UINT64_C(1) << 63, 45426},
                {UINT64_C(1) << 62, 90852},
                {UINT64_C(0xc000000000000000), 18854},
                {UINT64_C(0x5e2d58d8b3bcdf1b), 65536}, /* 1 / e */
                {1, 2907270},
                {0, 2907270}};
    for (size_t i = 0; i < COUNT(rows); i++) {
        uint32_t got = dload_i_neg_ln(rows[i].r);
        assert_in_range((uint64_t)got + 800, rows[i].want, (uint64_t)rows[i].want + 1600);
    }
    uint32_t before = dload_i_neg_ln(1);
    for (uint64_t r = 2; r < UINT64_MAX / 2; r += r / 3 + 1) {
        uint32_t now = dload_i_neg_ln(r);
        assert_true(now <= before);
        before = now;
    }
}

/* ---- idle ---- */

static void what_nobody_reads_goes(void **state)
{
    struct fixture *x = *state;
    x->cfg.idle_ttl_ns = 800 * TICK;
    x->f.now_ns = 5000 * TICK;
    fixture_open(x);
    load_must(x, 1, 10);
    load_must(x, 2, 20);
    for (int i = 0; i < 20; i++) { /* one of them is read, now and then */
        x->f.now_ns += 780 * TICK;
        load_must(x, 1, 10);
        must_ok(tl_process(&x->l, x->f.now_ns));
        equal(stats_of(x).entries, i == 0 ? 2 : 1);
    }
    text_must(&x->r.calls, "B(1) B(2)");
    x->f.now_ns += 799 * TICK;
    state_must(x, 1, DLOAD_STATE_READY);
    x->f.now_ns += 106 * TICK; /* within an eighth and a tick or two */
    state_must(x, 1, DLOAD_STATE_ABSENT);
    must_ok(tl_process(&x->l, x->f.now_ns));
    equal(stats_of(x).entries, 0);
}

/* However its readers come, a whole idle time passes after the last. */
static void idle_is_measured_from_the_last_read(void **state)
{
    struct fixture *x = *state;
    uint64_t seed = test_seed("idle");
    x->cfg.idle_ttl_ns = 800 * TICK;
    x->cfg.capacity = 100;
    x->f.now_ns = 5000 * TICK;
    fixture_open(x);
    for (size_t i = 0; i < scaled(2000); i++) {
        load_must(x, 1, 10);
        for (uint64_t n = rng_below(&seed, 6); n > 0; n--) {
            x->f.now_ns += rng_below(&seed, 2) == 0 ? 100 * TICK : rng_below(&seed, 220 * TICK);
            load_must(x, 1, 10);
        }
        text_must(&x->r.calls, i == 0 ? "B(1)" : "");
        x->f.now_ns += 800 * TICK;
        state_must(x, 1, DLOAD_STATE_READY);
    }
}

static void reading_does_not_lengthen_a_ttl(void **state)
{
    struct fixture *x = *state;
    x->cfg.idle_ttl_ns = 800 * TICK;
    x->cfg.ttl_ns = 2000 * TICK;
    x->f.now_ns = 5000 * TICK;
    fixture_open(x);
    load_must(x, 1, 10);
    x->r.version = 1;
    for (int i = 0; i < 3; i++) {
        x->f.now_ns += 600 * TICK;
        load_must(x, 1, 10);
    }
    x->f.now_ns += 200 * TICK - 1;
    load_must(x, 1, 10);
    must_ok(tl_process(&x->l, x->f.now_ns));
    equal(stats_of(x).entries, 1);
    x->f.now_ns += 1;
    must_ok(tl_process(&x->l, x->f.now_ns));
    equal(stats_of(x).entries, 0);
    load_must(x, 1, 11);
}

static void a_peek_is_no_read(void **state)
{
    struct fixture *x = *state;
    x->cfg.idle_ttl_ns = 800 * TICK;
    x->f.now_ns = 5000 * TICK;
    fixture_open(x);
    load_must(x, 1, 10);
    x->f.now_ns += 700 * TICK;
    state_must(x, 1, DLOAD_STATE_READY);
    x->f.now_ns += 205 * TICK;
    state_must(x, 1, DLOAD_STATE_ABSENT);
}

static void a_cache_alone_forgets_as_well(void **state)
{
    struct fixture *x = *state;
    tl_cache c;
    tl_cache_config cfg = {.env = &x->f.env, .capacity = 100, .idle_ttl_ns = 80 * TICK};
    uint64_t value = 7, got = 0;
    must_ok(tl_cache_init(&c, &cfg));
    must_ok(tl_cache_set(&c, 1, &value, 0));
    for (int i = 0; i < 10; i++) {
        x->f.now_ns += 79 * TICK;
        must_ok(tl_cache_get(&c, 1, &got));
    }
    x->f.now_ns += 93 * TICK;
    must(tl_cache_get(&c, 1, &got), DLOAD_MISSING);
    must_ok(tl_cache_destroy(&c));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RULE("37 in 100", at_one_fetch_before_the_end_it_is_37_in_100),
        RULE("13 in 100", at_two_fetches_it_is_13_in_100),
        RULE("beta", beta_stretches_it),
        RULE("long before the end", long_before_the_end_nobody_draws),
        RULE("an early refresh fails", a_failed_early_refresh_costs_nobody_his_value),
        RULE("peek draws nothing", peek_draws_nothing),
        RULE("logarithms", logarithms_are_close),
        RULE("idle", what_nobody_reads_goes),
        RULE("idle from the last read", idle_is_measured_from_the_last_read),
        RULE("idle and TTL", reading_does_not_lengthen_a_ttl),
        RULE("idle and peek", a_peek_is_no_read),
        RULE("idle in a cache alone", a_cache_alone_forgets_as_well),
    };
    return cmocka_run_group_tests_name("stale_ahead", tests, NULL, NULL);
}
