/* Signals without SA_RESTART, ten thousand a second, while threads load: every system call underneath
 * is interrupted again and again, and no caller notices. Nobody stalls, nobody leaves before its time
 * without an answer or long after it, and no key stays in flight. */
/* locks: CUSTOM NONE SPIN PTHREAD */
#define _DEFAULT_SOURCE /* setitimer */
#define _POSIX_C_SOURCE 200809L
#include "test_loader.h"
#include "test_late.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/time.h>

#define LOCKED (TEST_LOCK != DLOAD_LOCK_NONE)

enum { N_CALLERS = 12, N_KEYS = 400, MAX_BATCH = 16, MAX_JOBS = 64, N_MANY = 4 };

/* A batch that returned DLOAD_PENDING. */
struct job {
    tl_batch *b;
    uint64_t began_ns;
    uint32_t answered; /* a bit a key */
};

static struct shared {
    tl l;
    struct fake_env f;
    uint64_t seed, end_ns;
    pthread_mutex_t mutex;        /* of the jobs */
    struct job jobs[MAX_JOBS];    /* under the mutex */
    size_t n_jobs;                /* under the mutex */
    pthread_t hit[N_CALLERS + 1]; /* whom the storm hits */
    size_t n_ready, n_through;    /* threads; atomic */
    bool calm;                    /* the storm is over; atomic */
    size_t n_bad;                 /* atomic */
    size_t n_loads, n_timeouts;   /* atomic */
    uint64_t latest_ns;           /* of those that left after their deadline; atomic */
    uint64_t machine_ns;          /* how late the machine was at worst; atomic */
    size_t n_interrupted;         /* waits of env->wait; atomic */
} s;

/* ---- signals ---- */

static size_t n_signals, n_inside; /* atomic */
static _Thread_local volatile sig_atomic_t inside;
static _Thread_local uint64_t fetched_ns; /* what this call spent in the fetch function */

static void on_signal(int sig)
{
    (void)sig;
    __atomic_add_fetch(&n_signals, 1, __ATOMIC_RELAXED);
    if (inside) {
        __atomic_add_fetch(&n_inside, 1, __ATOMIC_RELAXED);
    }
}

static void catch_signal(int sig)
{
    struct sigaction act;
    memset(&act, 0, sizeof act);
    act.sa_handler = on_signal; /* without SA_RESTART */
    assert_int_equal(sigaction(sig, &act, NULL), 0);
}

/* ---- the source ---- */

static void count(size_t *n)
{
    __atomic_add_fetch(n, 1, __ATOMIC_RELAXED);
}

static void bad(bool is_bad)
{
    if (is_bad) {
        count(&s.n_bad);
    }
}

/* Half of the keys are answered at once, some in a moment, and some when nobody waits any more. */
static uint64_t delay_ns(uint64_t key)
{
    static const uint64_t ms[] = {0, 0, 0, 0, 1, 4, 0, 60};
    return ms[key % 8] * DLOAD_MILLISECOND;
}

static bool is_hanging(uint64_t key)
{
    return key % 8 == 7;
}

static bool is_slow(uint64_t key)
{
    return key % 8 == 6;
}

/* Answers what is due; true when that was all. */
static bool job_step(struct job *j)
{
    uint64_t age_ns = real_ns() - j->began_ns;
    bool all = true;
    for (size_t i = 0; i < j->b->n; i++) {
        uint32_t bit = UINT32_C(1) << i;
        if (!(j->answered & bit) && age_ns >= delay_ns(j->b->keys[i])) {
            uint64_t value = j->b->keys[i] * 10;
            bad(tl_batch_set(j->b, i, &value) != DLOAD_OK);
            j->answered |= bit;
        }
        all = all && (j->answered & bit);
    }
    return all;
}

/* True while there is something to answer later. */
static bool answer_due(void)
{
    pthread_mutex_lock(&s.mutex);
    for (size_t i = 0; i < s.n_jobs;) {
        if (job_step(&s.jobs[i])) {
            bad(tl_batch_done(s.jobs[i].b, DLOAD_OK) != DLOAD_OK);
            s.jobs[i] = s.jobs[--s.n_jobs];
        } else {
            i++;
        }
    }
    bool any = s.n_jobs != 0;
    pthread_mutex_unlock(&s.mutex);
    return any;
}

static dload_status fetch(tl_batch *b)
{
    uint64_t began_ns = real_ns();
    struct job j = {b, began_ns, 0};
    bool slow = false;
    for (size_t i = 0; i < b->n; i++) {
        slow = slow || is_slow(b->keys[i]);
    }
    if (slow) {
        (void)late_sleep(2 * DLOAD_MILLISECOND);
    }
    dload_status st = DLOAD_OK;
    if (!job_step(&j)) {
        pthread_mutex_lock(&s.mutex);
        st = s.n_jobs < MAX_JOBS ? DLOAD_PENDING : DLOAD_EFETCH;
        if (st == DLOAD_PENDING) {
            s.jobs[s.n_jobs++] = j;
        }
        pthread_mutex_unlock(&s.mutex); /* from here on the batch may be gone */
    }
    fetched_ns += real_ns() - began_ns;
    return st;
}

/* A hook that sleeps with a call that signals interrupt, and returns then, as it may. */
static dload_status wait_napping(void *ctx, const uint32_t *word, uint32_t seen, uint64_t until_ns)
{
    (void)ctx;
    uint64_t now_ns = real_ns();
    uint64_t span_ns = until_ns > now_ns ? until_ns - now_ns : 0;
    if (span_ns > 2 * DLOAD_MILLISECOND) {
        span_ns = 2 * DLOAD_MILLISECOND;
    }
    struct timespec ts = {.tv_nsec = (long)span_ns};
    if (__atomic_load_n(word, __ATOMIC_ACQUIRE) == seen && nanosleep(&ts, NULL) != 0) {
        count(&s.n_interrupted);
    }
    if (!LOCKED) {
        (void)answer_due(); /* who else would */
    }
    return DLOAD_OK;
}

/* ---- callers ---- */

static void judge(uint64_t key, dload_status st, uint64_t out, uint64_t deadline_ns)
{
    uint64_t now_ns = tl_now(&s.l);
    count(&s.n_loads);
    if (st == DLOAD_ETIMEDOUT) {
        count(&s.n_timeouts);
        bad(deadline_ns == 0 || now_ns < deadline_ns); /* stalled, or left before its time */
    } else {
        bad(st != DLOAD_OK || out != key * 10);
    }
    if (deadline_ns != 0 && now_ns > deadline_ns + fetched_ns) {
        late_note(&s.latest_ns, now_ns - deadline_ns - fetched_ns);
    }
}

static void call_once(uint64_t *state)
{
    uint64_t keys[N_MANY], out[N_MANY];
    dload_status st[N_MANY];
    dload_call call = {0};
    size_t n = rng_below(state, 4) == 0 ? N_MANY : 1;
    bool hurried = rng_below(state, 4) == 0;
    for (size_t i = 0; i < n; i++) {
        keys[i] = rng_below(state, N_KEYS);
        hurried = hurried || is_hanging(keys[i]);
    }
    if (hurried) {
        call.deadline_ns = tl_now(&s.l) + rng_below(state, 20 * DLOAD_MILLISECOND);
    }
    fetched_ns = 0;
    inside = 1;
    if (n == 1) {
        st[0] = tl_load_with(&s.l, keys[0], &call, &out[0]);
    } else {
        (void)tl_load_many_with(&s.l, keys, n, &call, out, st);
    }
    inside = 0;
    for (size_t i = 0; i < n; i++) {
        judge(keys[i], st[i], out[i], call.deadline_ns);
    }
}

static void call_until_end(size_t i)
{
    uint64_t state = s.seed + i * 7919;
    /* Some in any case: a busy machine may begin when all should be over. */
    for (size_t n = 0; n < 20 || real_ns() < s.end_ns; n++) {
        if (rng_below(&state, 4) == 0) { /* what a bare sleep in this thread is late by */
            late_note(&s.machine_ns, late_sleep(rng_below(&state, 10 * DLOAD_MILLISECOND)));
        }
        call_once(&state);
    }
}

/* ---- one storm ---- */

/* What the storms differ in. */
struct weather {
    const char *name;
    size_t capacity, max_in_flight;
    uint64_t settle_ns;
    bool env_wait;
};

static tl_config storm_config(const struct weather *w)
{
    memset(&s, 0, sizeof s);
    fake_env_init_real(&s.f);
    s.seed = test_seed(w->name);
    assert_int_equal(pthread_mutex_init(&s.mutex, NULL), 0);
    n_signals = n_inside = 0;
    tl_config cfg = tl_config_default();
    cfg.fetch = fetch;
    cfg.env = &s.f.env;
    cfg.max_batch = MAX_BATCH;
    cfg.capacity = w->capacity;
    cfg.max_in_flight = w->max_in_flight;
    cfg.settle_ns = w->settle_ns;
    s.f.env.wait = w->env_wait ? wait_napping : TEST_WAIT;
    cfg.run_limit_ns = DLOAD_NEVER; /* a time of its own, which is not what this is about */
    return cfg;
}

/* False when somebody was late, which may be the machine's doing. */
static bool storm_check(const struct weather *w, uint64_t began_ns)
{
    uint64_t took_ms = (real_ns() - began_ns) / DLOAD_MILLISECOND + 1;
    print_message("# %zu loads, %zu timed out; %" PRIu64 " signals a second, %zu inside a load; "
                  "latest %" PRIu64 " us, the machine %" PRIu64 " us\n",
                  s.n_loads, s.n_timeouts, n_signals * 1000 / took_ms, n_inside, s.latest_ns / 1000,
                  s.machine_ns / 1000);
    equal(s.n_bad, 0);
    assert_true(s.n_timeouts > 0 && s.n_loads > s.n_timeouts);
    assert_true(n_inside > scaled(100)); /* else this was no storm */
    assert_true(!w->env_wait || s.n_interrupted > scaled(100));
    for (uint64_t key = 0; key < N_KEYS; key++) {
        dload_state there;
        (void)tl_peek(&s.l, key, &there, NULL);
        assert_true(there != DLOAD_STATE_QUEUED && there != DLOAD_STATE_IN_FLIGHT);
    }
    dload_stats st = {0};
    must_ok(tl_stats(&s.l, &st));
    equal(st.hits + st.joins + st.misses, st.loads);
    must_ok(tl_close(&s.l, DLOAD_DRAIN, 0));
    must_ok(tl_destroy(&s.l));
    fake_env_check(&s.f);
    assert_int_equal(pthread_mutex_destroy(&s.mutex), 0);
    return s.latest_ns < LATE_NS + s.machine_ns;
}

#if LOCKED

static size_t n_of(const size_t *n)
{
    return __atomic_load_n(n, __ATOMIC_ACQUIRE);
}

/* Two signals every 100 us, round and round. */
static void blow(void)
{
    size_t at = 0;
    while (n_of(&s.n_ready) < N_CALLERS + 1) {
        sleep_ms(1);
    }
    while (n_of(&s.n_through) < N_CALLERS) {
        for (int k = 0; k < 2; k++) {
            bad(pthread_kill(s.hit[at++ % COUNT(s.hit)], SIGUSR1) != 0);
        }
        (void)late_sleep(100 * DLOAD_MICROSECOND);
    }
    __atomic_store_n(&s.calm, true, __ATOMIC_RELEASE);
}

/* Thread 0 storms, the last one answers what is pending, the others load. */
static void part(void *ctx, size_t i)
{
    (void)ctx;
    if (i == 0) {
        blow();
        return;
    }
    s.hit[i - 1] = pthread_self();
    __atomic_add_fetch(&s.n_ready, 1, __ATOMIC_RELEASE);
    if (i <= N_CALLERS) {
        call_until_end(i);
        __atomic_add_fetch(&s.n_through, 1, __ATOMIC_RELEASE);
    } else {
        while (answer_due() || n_of(&s.n_through) < N_CALLERS) {
            (void)late_sleep(200 * DLOAD_MICROSECOND);
        }
    }
    while (!__atomic_load_n(&s.calm, __ATOMIC_ACQUIRE)) {
        sleep_ms(1); /* a thread that is joined cannot be hit */
    }
}

static void storm(void)
{
    run_threads(N_CALLERS + 2, part, NULL);
}

#else

/* A timer of the process, which has one thread. */
static void storm(void)
{
    struct itimerval timer = {{0, 100}, {0, 100}}; /* 100 us */
    const struct itimerval none = {{0, 0}, {0, 0}};
    assert_int_equal(setitimer(ITIMER_REAL, &timer, NULL), 0);
    call_until_end(1);
    while (answer_due()) {
        (void)late_sleep(DLOAD_MILLISECOND);
    }
    assert_int_equal(setitimer(ITIMER_REAL, &none, NULL), 0);
}

#endif

/* Another process may hold the processor longer than anybody may be late: one storm in three has to
 * pass without that. */
static void weather(const struct weather *w)
{
    catch_signal(LOCKED ? SIGUSR1 : SIGALRM);
    for (int i = 0; i < 3; i++) {
        tl_config cfg = storm_config(w);
        must_ok(tl_init(&s.l, &cfg));
        uint64_t began_ns = real_ns();
        s.end_ns = began_ns + scaled(700) * DLOAD_MILLISECOND;
        storm();
        if (storm_check(w, began_ns)) {
            return;
        }
    }
    fail_msg("somebody was late in each of three storms");
}

#if LOCKED

static void test_storm_cached(void **state)
{
    (void)state;
    const struct weather w = {"storm cached", 64, 8, 0, false};
    weather(&w);
}

static void test_storm_settling(void **state)
{
    (void)state;
    const struct weather w = {"storm settling", DLOAD_NO_CACHE, 8, 300 * DLOAD_MICROSECOND, false};
    weather(&w);
}

/* One batch at a time: callers wait for a place, too. */
static void test_storm_one_at_a_time(void **state)
{
    (void)state;
    const struct weather w = {"storm one at a time", DLOAD_NO_CACHE, 1, 0, false};
    weather(&w);
}

#endif

/* The wait of the environment is interrupted and returns early, each time. */
static void test_storm_env_wait(void **state)
{
    (void)state;
    const struct weather w = {"storm env->wait", 64, 8, 0, true};
    weather(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#if LOCKED
        cmocka_unit_test(test_storm_cached),
        cmocka_unit_test(test_storm_settling),
        cmocka_unit_test(test_storm_one_at_a_time),
#endif
        cmocka_unit_test(test_storm_env_wait),
    };
    return cmocka_run_group_tests_name("storm " TEST_STRING(TEST_LOCK), tests, NULL, NULL);
}
