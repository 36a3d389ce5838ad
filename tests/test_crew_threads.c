/* Threads of a registry for real: a batch a level, however they are scheduled; and nobody waits for ever,
 * whoever leaves, is cancelled, is late, or loads without having joined. */
/* locks: SPIN PTHREAD */
#define _POSIX_C_SOURCE 200809L
#include "test_loader.h"
#include "test_late.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>

enum { MAX_THREADS = 16, N_LEVELS = 4, MAX_JOBS = 64 };

/* How a crew is made up and what it does. */
struct plan {
    size_t n_threads, n_levels, n_rounds;
    size_t n_first;   /* loaders among which the first level is spread */
    size_t max_batch; /* 0 = the default */
    bool leave_early; /* thread i after i % n_levels + 1 levels, and each in its own round */
    bool pending;     /* answers come from another thread */
    bool callbacks;   /* a request that does not wait beside each load */
    bool outsider;    /* somebody else loads, too */
    size_t max_in_flight;
};

static struct shared {
    const struct plan *plan;
    dload_registry registry;
    struct fake_env f;
    tl first[2], level[N_LEVELS];
    uint64_t seed;
    pthread_barrier_t joined;
    pthread_mutex_t mutex;
    tl_batch *jobs[MAX_JOBS]; /* under the mutex */
    size_t n_jobs;            /* under the mutex */
    size_t n_bad, n_through;  /* atomic */
} s;

static void bad(bool is_bad)
{
    if (is_bad) {
        __atomic_add_fetch(&s.n_bad, 1, __ATOMIC_RELAXED);
    }
}

/* Gives the processor away, or not, so that every order comes up. */
static void dither(uint64_t *state)
{
    uint64_t how = rng_below(state, 16);
    for (uint64_t i = 0; i < how / 4; i++) {
        sched_yield();
    }
    if (how == 0) {
        (void)late_sleep(rng_below(state, 100 * DLOAD_MICROSECOND));
    }
}

/* ---- the source ---- */

static void answer(tl_batch *b)
{
    for (size_t i = 0; i < b->n; i++) {
        uint64_t value = b->keys[i] + 1;
        bad(tl_batch_set(b, i, &value) != DLOAD_OK);
    }
}

static dload_status fetch(tl_batch *b)
{
    uint64_t state = b->keys[0] * 31 + s.seed;
    dither(&state);
    if (s.plan->pending) {
        pthread_mutex_lock(&s.mutex);
        bad(s.n_jobs == MAX_JOBS);
        s.jobs[s.n_jobs++] = b;
        pthread_mutex_unlock(&s.mutex);
        return DLOAD_PENDING;
    }
    answer(b);
    return DLOAD_OK;
}

/* Ends what is pending until everybody is through. */
static void answer_pending(void)
{
    for (;;) {
        pthread_mutex_lock(&s.mutex);
        tl_batch *b = s.n_jobs > 0 ? s.jobs[--s.n_jobs] : NULL;
        pthread_mutex_unlock(&s.mutex);
        if (b) {
            answer(b);
            bad(tl_batch_done(b, DLOAD_OK) != DLOAD_OK);
        } else if (__atomic_load_n(&s.n_through, __ATOMIC_ACQUIRE) == s.plan->n_threads) {
            return;
        } else {
            sched_yield();
        }
    }
}

/* ---- members ---- */

static tl *loader_of(size_t thread, size_t level)
{
    return level == 0 && s.plan->n_first > 1 ? &s.first[thread % 2] : &s.level[level];
}

static void count_call(tl_waiter *w)
{
    bad(w->status != DLOAD_OK);
    __atomic_add_fetch((size_t *)w->ctx, 1, __ATOMIC_RELEASE);
}

/* A request that nobody waits for: it goes with the others, or with the next ones. */
static void start_beside(tl *l, uint64_t key, tl_waiter *w, size_t *n_called, size_t *n_started)
{
    memset(w, 0, sizeof *w);
    w->done = count_call;
    w->ctx = n_called;
    dload_status st = tl_start(l, key, w);
    *n_started += st == DLOAD_PENDING;
    bad(st != DLOAD_PENDING && st != DLOAD_OK);
}

static void member(size_t i)
{
    uint64_t state = s.seed + i * 7919;
    tl_waiter beside[N_LEVELS];
    size_t n_called = 0, n_started = 0;
    bad(dload_registry_join(&s.registry) != DLOAD_OK);
    pthread_barrier_wait(&s.joined);
    for (size_t round = 0; round < s.plan->n_rounds; round++) {
        uint64_t at = (round * MAX_THREADS + i) * 1000;
        size_t n_levels = s.plan->n_levels;
        if (s.plan->leave_early && round + 1 == s.plan->n_rounds) {
            n_levels = 1 + i % n_levels;
        }
        for (size_t level = 0; level < n_levels; level++) {
            uint64_t next = 0;
            dither(&state);
            if (s.plan->callbacks) {
                size_t other = (level + 1) % s.plan->n_levels;
                start_beside(&s.level[other], at + 500000000, &beside[level], &n_called,
                             &n_started);
            }
            bad(tl_load(loader_of(i, level), at, &next) != DLOAD_OK || next != at + 1);
            at = next;
        }
        for (unsigned ms = 0; __atomic_load_n(&n_called, __ATOMIC_ACQUIRE) < n_started; ms++) {
            uint64_t out = 0; /* one more wait sends them */
            bad(tl_load(&s.level[0], 900000000 + rng_below(&state, 1000000), &out) != DLOAD_OK);
            bad(ms == 10000);
        }
    }
    bad(dload_registry_leave(&s.registry) != DLOAD_OK);
}

static void part(void *ctx, size_t i)
{
    (void)ctx;
    if (i < s.plan->n_threads) {
        member(i);
        __atomic_add_fetch(&s.n_through, 1, __ATOMIC_RELEASE);
    } else if (s.plan->pending) {
        answer_pending();
    } else {
        uint64_t state = s.seed;
        while (__atomic_load_n(&s.n_through, __ATOMIC_ACQUIRE) < s.plan->n_threads) {
            uint64_t key = 800000000 + rng_below(&state, 1000000), out = 0;
            bad(tl_load(&s.level[rng_below(&state, s.plan->n_levels)], key, &out) != DLOAD_OK ||
                out != key + 1);
            dither(&state);
        }
    }
}

static dload_stats stats(tl *l)
{
    dload_stats st = {0};
    must_ok(tl_stats(l, &st));
    return st;
}

static void run(const struct plan *plan, uint64_t seed)
{
    memset(&s, 0, sizeof s);
    s.plan = plan;
    s.seed = seed;
    fake_env_init_real(&s.f);
    dload_registry_init(&s.registry);
    pthread_mutex_init(&s.mutex, NULL);
    pthread_barrier_init(&s.joined, NULL, (unsigned)plan->n_threads);
    tl_config cfg = tl_config_default();
    cfg.fetch = fetch;
    cfg.env = &s.f.env;
    cfg.registry = &s.registry;
    cfg.max_batch = plan->max_batch;
    cfg.max_in_flight = plan->max_in_flight;
    cfg.capacity = DLOAD_NO_CACHE;
    for (size_t i = 0; i < 2 + N_LEVELS; i++) {
        must_ok(tl_init(i < 2 ? &s.first[i] : &s.level[i - 2], &cfg));
    }
    bool helper = plan->pending || plan->outsider;
    run_threads(plan->n_threads + helper, part, NULL);
    equal(s.n_bad, 0);
    equal(s.registry.crew, 0);
}

static void end(void)
{
    for (size_t i = 0; i < 2 + N_LEVELS; i++) {
        tl *l = i < 2 ? &s.first[i] : &s.level[i - 2];
        must_ok(tl_close(l, DLOAD_DRAIN, 0));
        must_ok(tl_destroy(l));
    }
    fake_env_check(&s.f);
    pthread_barrier_destroy(&s.joined);
    pthread_mutex_destroy(&s.mutex);
}

/* ---- rule 56: a batch a level ---- */

static void test_crew_exactly(void **state)
{
    (void)state;
    uint64_t seed = test_seed("crew exactly");
    for (size_t n_threads = 2; n_threads <= MAX_THREADS; n_threads += n_threads < 4 ? 1 : 4) {
        for (size_t n_levels = 1; n_levels <= N_LEVELS; n_levels++) {
            const struct plan plan = {.n_threads = n_threads,
                                      .n_levels = n_levels,
                                      .n_rounds = scaled(200),
                                      .n_first = 1 + n_levels % 2,
                                      .max_in_flight = 1 + n_levels % 3,
                                      .leave_early = n_levels > 2};
            run(&plan, rng(&seed));
            for (size_t i = plan.n_first > 1 ? 1 : 0; i < n_levels; i++) {
                bool last = !plan.leave_early || n_threads > i; /* somebody came so far */
                equal(stats(&s.level[i]).batches, plan.n_rounds - !last);
            }
            for (size_t i = 0; i < 2 && plan.n_first > 1; i++) {
                equal(stats(&s.first[i]).batches, plan.n_rounds);
            }
            end();
        }
    }
}

/* ---- nobody waits for ever ---- */

static void all_through(const char *name, struct plan plan)
{
    uint64_t seed = test_seed(name);
    for (size_t k = 0; k < 4; k++) {
        plan.n_threads = 1 + rng_below(&seed, 8);
        plan.n_levels = 2 + rng_below(&seed, N_LEVELS - 1);
        plan.n_rounds = scaled(100);
        plan.n_first = 1;
        plan.max_in_flight = 1 + rng_below(&seed, 3);
        run(&plan, rng(&seed));
        size_t n_keys = 0;
        for (size_t i = 0; i < N_LEVELS; i++) {
            n_keys += stats(&s.level[i]).keys;
            assert_true(plan.max_batch == 0 || stats(&s.level[i]).largest_batch <= plan.max_batch);
        }
        assert_true(n_keys >= plan.n_threads * plan.n_rounds * plan.n_levels);
        end();
    }
}

static void test_crew_pending(void **state)
{
    (void)state;
    all_through("crew pending", (struct plan){.pending = true});
}

static void test_crew_small_batches(void **state)
{
    (void)state;
    all_through("crew small batches", (struct plan){.max_batch = 2});
}

static void test_crew_callbacks(void **state)
{
    (void)state;
    all_through("crew callbacks", (struct plan){.callbacks = true});
}

static void test_crew_outsider(void **state)
{
    (void)state;
    all_through("crew outsider", (struct plan){.outsider = true});
}

/* ---- one of them is busy, or gone ---- */

struct waiting {
    pthread_t thread;
    dload_status st;
    uint64_t key, deadline_ns, began_ns, ended_ns;
};

static void *wait_as_member(void *arg)
{
    struct waiting *w = arg;
    uint64_t out = 0;
    dload_call call = {.deadline_ns = w->deadline_ns};
    bad(dload_registry_join(&s.registry) != DLOAD_OK);
    pthread_barrier_wait(&s.joined);
    w->began_ns = real_ns();
    w->st = tl_load_with(&s.level[0], w->key, &call, &out);
    w->ended_ns = real_ns();
    bad(dload_registry_leave(&s.registry) != DLOAD_OK);
    return NULL;
}

/* The calling thread is a member, too; three others wait in one batch. */
static void open_waiting(struct waiting *w, uint64_t span_ns)
{
    static const struct plan plan = {.n_threads = 4};
    memset(&s, 0, sizeof s);
    s.plan = &plan;
    fake_env_init_real(&s.f);
    dload_registry_init(&s.registry);
    pthread_barrier_init(&s.joined, NULL, 4);
    tl_config cfg = tl_config_default();
    cfg.fetch = fetch;
    cfg.env = &s.f.env;
    cfg.registry = &s.registry;
    must_ok(tl_init(&s.level[0], &cfg));
    must_ok(dload_registry_join(&s.registry));
    for (size_t i = 0; i < 3; i++) {
        w[i] = (struct waiting){.key = i, .st = DLOAD_PENDING};
        w[i].deadline_ns = span_ns ? real_ns() + span_ns : 0;
        assert_int_equal(pthread_create(&w[i].thread, NULL, wait_as_member, &w[i]), 0);
    }
    pthread_barrier_wait(&s.joined);
    while (stats(&s.level[0]).misses < 3) {
        sleep_ms(1);
    }
}

static void close_waiting(void)
{
    must_ok(tl_close(&s.level[0], DLOAD_DRAIN, 0));
    must_ok(tl_destroy(&s.level[0]));
    fake_env_check(&s.f);
    pthread_barrier_destroy(&s.joined);
    equal(s.n_bad, 0);
    equal(s.registry.crew, 0);
}

/* While a member computes, the others leave at their deadlines. */
static void test_crew_deadlines(void **state)
{
    (void)state;
    struct waiting w[3];
    open_waiting(w, 50 * DLOAD_MILLISECOND);
    for (size_t i = 0; i < 3; i++) {
        pthread_join(w[i].thread, NULL);
        must(w[i].st, DLOAD_ETIMEDOUT);
        assert_true(w[i].ended_ns >= w[i].deadline_ns);
        assert_true(w[i].ended_ns < w[i].deadline_ns + 20 * LATE_NS);
    }
    equal(stats(&s.level[0]).batches, 0);
    must_ok(dload_registry_leave(&s.registry));
    close_waiting();
}

/* A member that leaves sends for those who wait. */
static void test_crew_leaves(void **state)
{
    (void)state;
    struct waiting w[3];
    open_waiting(w, 0);
    uint64_t left_ns = real_ns();
    must_ok(dload_registry_leave(&s.registry));
    for (size_t i = 0; i < 3; i++) {
        pthread_join(w[i].thread, NULL);
        must_ok(w[i].st);
        assert_true(w[i].ended_ns < left_ns + 20 * LATE_NS); /* their deadline is after 30 s */
    }
    equal(stats(&s.level[0]).batches, 1);
    close_waiting();
}

#if TEST_LOCK == DLOAD_LOCK_PTHREAD
/* A member that is cancelled while it waits is waited for no more. */
static void test_crew_cancelled(void **state)
{
    (void)state;
    struct waiting w[3];
    for (size_t who = 0; who < 3; who++) {
        void *result = NULL;
        uint64_t out = 0;
        open_waiting(w, 0);
        assert_int_equal(pthread_cancel(w[who].thread), 0);
        assert_int_equal(pthread_join(w[who].thread, &result), 0);
        assert_ptr_equal(result, PTHREAD_CANCELED);
        uint64_t gone_ns = real_ns();
        must_ok(tl_load(&s.level[0], 9, &out)); /* all that are left wait now */
        must_ok(dload_registry_leave(&s.registry));
        for (size_t i = 0; i < 3; i++) {
            if (i != who) {
                pthread_join(w[i].thread, NULL);
                must_ok(w[i].st);
            }
        }
        assert_true(real_ns() < gone_ns + 20 * LATE_NS);
        equal(stats(&s.level[0]).batches, 1);
        equal(stats(&s.level[0]).keys, 3);
        close_waiting();
    }
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        {"rule 56: a batch a level, exactly", test_crew_exactly, NULL, NULL, NULL},
        {"answers from another thread", test_crew_pending, NULL, NULL, NULL},
        {"batches smaller than the crew", test_crew_small_batches, NULL, NULL, NULL},
        {"requests that do not wait", test_crew_callbacks, NULL, NULL, NULL},
        {"a thread that did not join", test_crew_outsider, NULL, NULL, NULL},
        {"deadlines while a member is busy", test_crew_deadlines, NULL, NULL, NULL},
        {"a member that leaves", test_crew_leaves, NULL, NULL, NULL},
#if TEST_LOCK == DLOAD_LOCK_PTHREAD
        {"a member that is cancelled", test_crew_cancelled, NULL, NULL, NULL},
#endif
    };
    return cmocka_run_group_tests_name("crew, threads " TEST_STRING(TEST_LOCK), tests, NULL, NULL);
}
