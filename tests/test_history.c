/* Sixteen threads do everything that a loader allows, and write down what they saw; a checker (history/)
 * holds every answer against the rules. TEST_SCALE=50 is the full size: 16 threads with 10^6 operations
 * each. HISTORY=name runs one phase alone. */
/* locks: PTHREAD SPIN */
#define _POSIX_C_SOURCE 200809L
#include "history/checker.c"
#include "history/ops.h"

/* Operations of one worker in all phases, and in a window. */
enum {
    N_IN_ALL = UNDER_TSAN   ? 60000
               : UNDER_ASAN ? 150000
                            : 200000,
    N_OPERATIONS = N_IN_ALL / HISTORY_GROUPS,
    WINDOW = 20000
};

/* Loads without a deadline of their own, and callbacks, wait so long: then something hangs. */
#define PATIENCE_NS ((UNDER_TSAN || UNDER_ASAN ? 60 : 10) * DLOAD_SECOND)

/* How late a call may return: 100 ms is what is promised, and the sanitizers get more. Beside the workers
 * runs a thread that only sleeps, gives way and takes the loader's mutex for a moment; what that one is
 * held up, the machine does to everybody, a few times over in a call that is woken, waits for the mutex and
 * runs a fetch function. Who waits for a spin lock gives way up to 64 times in a row. */
#define LATE_NS    ((UNDER_TSAN || UNDER_ASAN ? 400 : 100) * DLOAD_MILLISECOND)
#define LATE_TIMES (TEST_LOCK == DLOAD_LOCK_SPIN ? 64 : 8)

/* Every limit that the rules speak of is met in one of them. */
static const struct phase phases[] = {
    {.name = "kept",
     .capacity = DLOAD_UNBOUNDED,
     .max_batch = 32,
     .max_in_flight = 4,
     .percent = 25,
     .pending = 30,
     .wide = 10},
    {.name = "evicted",
     .capacity = 2000,
     .max_batch = 64,
     .max_in_flight = 2,
     .settle_ns = 20 * DLOAD_MICROSECOND,
     .percent = 20,
     .pending = 30,
     .wide = 20},
    {.name = "abandoned",
     .capacity = 512,
     .max_batch = 16,
     .max_in_flight = 2,
     .run_limit_ns = 2 * DLOAD_MILLISECOND,
     .percent = 20,
     .pending = 60,
     .wide = 5},
    {.name = "crowded",
     .capacity = 4096,
     .max_batch = 8,
     .max_in_flight = 1,
     .max_queue = 48,
     .settle_ns = 5 * DLOAD_MICROSECOND,
     .percent = 8,
     .pending = 30,
     .wide = 10},
    {.name = "waiting",
     .capacity = 4096,
     .max_batch = 8,
     .max_in_flight = 2,
     .max_queue = 24,
     .waits = true,
     .percent = 7,
     .pending = 30,
     .wide = 10},
    {.name = "uncached",
     .capacity = DLOAD_NO_CACHE,
     .max_batch = 16,
     .max_in_flight = 4,
     .percent = 8,
     .pending = 30,
     .wide = 10},
    {.name = "together",
     .capacity = 4096,
     .max_batch = 16,
     .max_in_flight = 4,
     .settle_ns = 100 * DLOAD_MICROSECOND,
     .crew = true,
     .percent = 5,
     .pending = 30,
     .wide = 10},
    {.name = "expiring",
     .capacity = 4096,
     .max_batch = 16,
     .max_in_flight = 4,
     .ttl_ns = 3 * DLOAD_MILLISECOND,
     .percent = 5,
     .pending = 30,
     .wide = 10},
    {.name = "held",
     .capacity = 4096,
     .max_batch = 16,
     .max_in_flight = 64,
     .hold_ns = 2 * DLOAD_SECOND,
     .percent = 2,
     .pending = 10,
     .wide = 10},
};

static struct window {
    uint64_t seed;
    size_t n_operations;                  /* of each worker */
    uint64_t check_ns;                    /* spent in the checker so far */
    uint64_t held_up_ns, most_held_up_ns; /* see watch_the_machine; in this window, in all */
} window;

/* ---- threads ---- */

static void worker_ends(void)
{
    pthread_mutex_lock(&w.mutex);
    w.n_busy--;
    pthread_cond_broadcast(&w.more);
    pthread_mutex_unlock(&w.mutex);
}

static void note_late(uint64_t began_ns, uint64_t expected_ns)
{
    uint64_t took_ns = real_ns() - began_ns;
    if (took_ns > expected_ns + window.held_up_ns) {
        window.held_up_ns = took_ns - expected_ns;
    }
}

/* How late a thread is that waits for nobody's answer: so late is the machine, and not the loader. */
static void watch_the_machine(void)
{
    for (bool busy = true; busy;) {
        uint64_t now_ns = real_ns();
        nap_us(1000);
        note_late(now_ns, DLOAD_MILLISECOND);
        now_ns = real_ns();
        (void)sched_yield();
        note_late(now_ns, 0);
        now_ns = real_ns();
        (void)hl_token(&w.l);
        note_late(now_ns, 0);
        pthread_mutex_lock(&w.mutex);
        busy = w.n_busy != 0;
        pthread_mutex_unlock(&w.mutex);
    }
}

static void act(void *ctx, size_t i)
{
    (void)ctx;
    me = &w.actors[i];
    me->rng = window.seed * 31 + i;
    if (i < N_WORKERS) {
        if (w.phase->crew) {
            (void)dload_registry_join(&w.registry);
        }
        for (size_t n = 0; n < window.n_operations; n++) {
            operate();
        }
        if (w.phase->crew) {
            (void)dload_registry_leave(&w.registry);
        }
        end_requests(PATIENCE_NS);
        worker_ends();
        return;
    }
    if (i == N_WORKERS) {
        watch_the_machine();
        return;
    }
    struct job job;
    while (next_job(&job)) {
        end_job(&job);
    }
}

/* ---- a window ---- */

static void check_quiet(struct hist *h)
{
    size_t n_keys = 0;
    uint64_t next_ns = hl_next_deadline(&w.l);
    must_ok(hl_dispatch(&w.l, &n_keys));
    if (next_ns != DLOAD_NEVER || n_keys != 0) {
        hist_breach(h, HIST_RULE_QUIET, "%zu keys were left in the queue", n_keys);
    }
    for (uint32_t key = 0; key < N_KEYS; key++) {
        dload_state state = DLOAD_STATE_ABSENT;
        (void)peek_at(key, &state, NULL);
        if (state == DLOAD_STATE_READY) {
            peek(key);
        } else if (state != DLOAD_STATE_ABSENT) {
            hist_breach(h, HIST_RULE_QUIET, "key %" PRIu32 " was left in state %d", key,
                        (int)state);
        }
    }
}

static void check_counters(struct hist *h)
{
    dload_stats st;
    struct actor sum = {0};
    must_ok(hl_stats(&w.l, &st));
    for (size_t i = 0; i < N_ACTORS; i++) {
        const struct actor *a = &w.actors[i];
        sum.n_keys_asked += a->n_keys_asked;
        sum.n_full += a->n_full;
        sum.n_circles += a->n_circles;
        sum.n_cancelled += a->n_cancelled;
        sum.n_fetches += a->n_fetches;
        sum.n_keys_fetched += a->n_keys_fetched;
    }
    /* A key that found no room was not counted; a nested load that closed a circle may have been. A
     * load_many with a deadline that waits for room may not get to ask for its last keys. */
    size_t most = sum.n_keys_asked - sum.n_full, least = most - sum.n_circles;
    bool may_be_full = w.phase->max_queue != 0;
    if (st.loads > most || (st.loads < least && !may_be_full) ||
        st.loads != st.hits + st.joins + st.misses) {
        hist_breach(h, HIST_RULE_QUIET, "%zu loads, not %zu to %zu", (size_t)st.loads, least, most);
    }
    if (st.batches != sum.n_fetches || st.keys != sum.n_keys_fetched || st.keys > st.misses ||
        st.cancelled != sum.n_cancelled) {
        hist_breach(h, HIST_RULE_QUIET,
                    "%zu batches, not %zu; %zu keys, not %zu; %zu cancelled, not %zu",
                    (size_t)st.batches, sum.n_fetches, (size_t)st.keys, sum.n_keys_fetched,
                    (size_t)st.cancelled, sum.n_cancelled);
    }
}

static void run_window(struct hist *h)
{
    w.n_busy = N_WORKERS;
    window.seed++;
    window.held_up_ns = 0;
    run_threads(N_ACTORS - 1, act, NULL);
    uint64_t start_ns = real_ns();
    me = &w.actors[N_ACTORS - 1];
    check_quiet(h);
    check_counters(h);
    struct hist_log logs[N_ACTORS];
    for (size_t i = 0; i < N_ACTORS; i++) {
        me = &w.actors[i];
        note_requests();
        if (me->n_odd != 0) {
            hist_breach(h, HIST_RULE_CALLS, "%s: %s", me->odd, dload_status_name(me->odd_status));
        }
        logs[i] = me->log;
    }
    if (window.held_up_ns > window.most_held_up_ns) {
        window.most_held_up_ns = window.held_up_ns;
    }
    hist_allow_late(h, LATE_NS + LATE_TIMES * window.held_up_ns);
    (void)hist_check(h, logs, N_ACTORS);
    for (size_t i = 0; i < N_ACTORS; i++) {
        w.actors[i].log = logs[i];
        hist_log_clear(&w.actors[i].log);
    }
    window.check_ns += real_ns() - start_ns;
}

/* ---- a phase ---- */

static void open_loader(const struct phase *phase)
{
    w.phase = phase;
    w.n_origins = 0;
    memset(w.source, 0, sizeof w.source);
    fake_env_init_real(&w.f);
    w.f.env.now = env_now;
    w.hooks = (dload_hooks){.batch_end = batch_ended};
    w.cfg = hl_config_default();
    w.cfg.fetch = fetch;
    w.cfg.env = &w.f.env;
    w.cfg.hooks = &w.hooks;
    w.cfg.capacity = phase->capacity;
    w.cfg.max_batch = phase->max_batch;
    w.cfg.max_in_flight = phase->max_in_flight;
    w.cfg.max_queue = phase->max_queue;
    w.cfg.settle_ns = phase->settle_ns;
    w.cfg.run_limit_ns = phase->run_limit_ns != 0 ? phase->run_limit_ns : 60 * DLOAD_SECOND;
    w.cfg.ttl_ns = phase->ttl_ns;
    w.cfg.timeout_ns = PATIENCE_NS;
    w.cfg.queue_wait = phase->waits;
    dload_registry_init(&w.registry);
    w.cfg.registry = phase->crew ? &w.registry : NULL;
    must_ok(hl_init(&w.l, &w.cfg));
    for (size_t i = 0; i < N_ACTORS; i++) {
        struct asked *asked = calloc(MAX_REQUESTS, sizeof *asked);
        assert_non_null(asked);
        w.actors[i] = (struct actor){.asked = asked};
    }
}

static void close_loader(struct hist *h)
{
    dload_status st = hl_close(&w.l, DLOAD_DRAIN, 0);
    dload_status ended = hl_destroy(&w.l);
    if (st != DLOAD_OK || ended != DLOAD_OK || w.f.n_live != 0 || w.f.n_broken != 0) {
        hist_breach(h, HIST_RULE_QUIET, "close %s, destroy %s, %zu blocks leaked, %zu broken",
                    dload_status_name(st), dload_status_name(ended), w.f.n_live, w.f.n_broken);
    }
    for (size_t i = 0; i < N_ACTORS; i++) {
        hist_log_free(&w.actors[i].log);
        free(w.actors[i].asked);
    }
}

/* What was seen, so that a green run can be told from an idle one. */
static void report(const struct phase *phase, const struct hist *h, size_t n, uint64_t took_ns)
{
    print_message("# %s: %zu operations, %zu reads, %zu clears, %zu primes and put_ifs, %zu keys "
                  "fetched, %zu answers refused or lost, %zu requests; at most %" PRIu64
                  " us late, the machine %" PRIu64 " us; %.1f s, %.1f s of it checking\n",
                  phase->name, n * N_WORKERS, hist_seen(h, HIST_READS), hist_seen(h, HIST_CLEARS),
                  hist_seen(h, HIST_BRINGS), hist_seen(h, HIST_FLIGHTS), hist_seen(h, HIST_LOST),
                  hist_seen(h, HIST_REQUESTS), hist_latest_ns(h) / 1000,
                  window.most_held_up_ns / 1000, (double)took_ns / 1e9,
                  (double)window.check_ns / 1e9);
}

static void must_hold(const struct hist *h)
{
    size_t n_breaches = 0;
    for (enum hist_rule rule = (enum hist_rule)0; rule < HIST_N_RULES; rule++) {
        if (hist_breaches(h, rule) != 0) {
            n_breaches += hist_breaches(h, rule);
            print_error("# %s, broken %zu times: %s\n#   first: %s\n", hist_rule_name(rule),
                        hist_breaches(h, rule), hist_rule_text(rule), hist_first_breach(h, rule));
        }
    }
    if (n_breaches != 0) {
        fail_msg("the history is rejected: %zu breaches", n_breaches);
    }
}

static void test_phase(void **state)
{
    const struct phase *phase = *state;
    const char *only = getenv("HISTORY");
    if (only && strcmp(only, phase->name) != 0) {
        skip();
    }
    window.seed = test_seed(phase->name) * 1000;
    window.check_ns = 0;
    window.most_held_up_ns = 0;
    open_loader(phase);
    uint64_t ticks_ns = UINT64_C(2) << 20; /* entries expire by ticks of 2^20 ns */
    struct hist_setup setup = {.n_keys = N_KEYS,
                               .ttl_ns = phase->ttl_ns != 0 ? phase->ttl_ns + ticks_ns : 0,
                               .run_limit_ns = w.cfg.run_limit_ns,
                               .late_ns = LATE_NS,
                               .never_evicts = phase->capacity == DLOAD_UNBOUNDED,
                               .n_groups = HISTORY_GROUPS};
    struct hist *h = hist_new(&setup);
    assert_non_null(h);
    size_t n = scaled((size_t)N_OPERATIONS * phase->percent / 100), done = 0;
    uint64_t start_ns = real_ns();
    while (done < n && hist_breaches(h, HIST_RULE_CALLED) == 0) {
        window.n_operations = n - done < WINDOW ? n - done : WINDOW;
        run_window(h);
        done += window.n_operations;
    }
    close_loader(h);
    report(phase, h, done, real_ns() - start_ns);
    must_hold(h);
    hist_free(h);
}

int main(void)
{
    struct CMUnitTest tests[COUNT(phases)];
    static struct phase states[COUNT(phases)];
    for (size_t i = 0; i < COUNT(phases); i++) {
        states[i] = phases[i];
        tests[i] = (struct CMUnitTest){phases[i].name, test_phase, NULL, NULL, &states[i]};
    }
    return cmocka_run_group_tests_name("history " TEST_STRING(TEST_LOCK), tests, NULL, NULL);
}
