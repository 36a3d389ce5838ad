/* Everybody wants the same key at once: one fetch, whatever becomes of it, and every caller has what it
 * brought. Rules 18, 19, 24, 30, 31, 54. */
/* locks: CUSTOM SPIN PTHREAD */
#define _POSIX_C_SOURCE 200809L
#include "test_loader.h"
#include "test_late.h"

#include <pthread.h>
#include <stdlib.h>

enum { N_THREADS = 64, N_ROUNDS = 200, N_STARTS = 1000 };

static struct shared {
    tl l;
    struct fake_env f;
    pthread_barrier_t round;
    size_t n_rounds;
    uint32_t fetched[N_STARTS]; /* by key, how often; atomic */
    size_t n_calls;             /* of the fetch function; atomic */
    size_t n_bad;               /* atomic */
    size_t n_done;              /* callbacks; atomic */
    size_t
        n_wanted; /* a fetch ends when this many have asked for each key up to its own; 0 = at once */
    dload_status result; /* what every caller is to get */
    /* the batch that another thread ends */
    pthread_mutex_t mutex;
    tl_batch *given; /* under the mutex */
    bool stop;       /* atomic */
    /* lateness */
    uint64_t latest_ns, machine_ns; /* atomic */
    bool no_deadlines;
} s;

static void count(size_t *n)
{
    __atomic_add_fetch(n, 1, __ATOMIC_RELEASE);
}

static size_t n_of(const size_t *n)
{
    return __atomic_load_n(n, __ATOMIC_ACQUIRE);
}

static void bad(bool is_bad)
{
    if (is_bad) {
        count(&s.n_bad);
    }
}

/* ---- the source ---- */

static void note_fetch(const tl_batch *b)
{
    count(&s.n_calls);
    for (size_t i = 0; i < b->n; i++) {
        __atomic_add_fetch(&s.fetched[b->keys[i]], 1, __ATOMIC_RELAXED);
    }
}

/* Until all have asked who are going to; not for ever, should one never come. */
static void await_all(uint64_t key)
{
    uint64_t end_ns = real_ns() + 20 * DLOAD_SECOND;
    while (s.n_wanted != 0 && real_ns() < end_ns) {
        dload_stats st;
        bad(tl_stats(&s.l, &st) != DLOAD_OK);
        if (st.loads >= (key + 1) * s.n_wanted) {
            return;
        }
        (void)late_sleep(100 * DLOAD_MICROSECOND);
    }
    bad(s.n_wanted != 0);
}

static void answer(tl_batch *b)
{
    for (size_t i = 0; i < b->n; i++) {
        uint64_t value = b->keys[i] * 10;
        bad((s.result < 0 ? tl_batch_fail(b, i, s.result) : tl_batch_set(b, i, &value)) !=
            DLOAD_OK);
    }
}

static dload_status fetch_one(tl_batch *b)
{
    note_fetch(b);
    await_all(b->keys[b->n - 1]);
    answer(b);
    return DLOAD_OK;
}

/* The whole call fails, not one key of it. */
static dload_status fetch_nothing(tl_batch *b)
{
    note_fetch(b);
    await_all(b->keys[b->n - 1]);
    return s.result;
}

static dload_status fetch_elsewhere(tl_batch *b)
{
    note_fetch(b);
    pthread_mutex_lock(&s.mutex);
    bad(s.given != NULL);
    s.given = b;
    pthread_mutex_unlock(&s.mutex);
    return DLOAD_PENDING;
}

static tl_batch *take_given(void)
{
    pthread_mutex_lock(&s.mutex);
    tl_batch *b = s.given;
    s.given = NULL;
    pthread_mutex_unlock(&s.mutex);
    return b;
}

static void *answer_elsewhere(void *arg)
{
    (void)arg;
    while (!__atomic_load_n(&s.stop, __ATOMIC_ACQUIRE)) {
        tl_batch *b = take_given();
        if (b == NULL) {
            (void)late_sleep(50 * DLOAD_MICROSECOND);
            continue;
        }
        await_all(b->keys[b->n - 1]);
        answer(b);
        bad(tl_batch_done(b, DLOAD_OK) != DLOAD_OK);
    }
    return NULL;
}

/* ---- a loader ---- */

static tl_config open_config(dload_status (*fetch)(tl_batch *b))
{
    memset(&s, 0, sizeof s);
    fake_env_init_real(&s.f);
    assert_int_equal(pthread_mutex_init(&s.mutex, NULL), 0);
    tl_config cfg = tl_config_default();
    cfg.fetch = fetch;
    cfg.env = &s.f.env;
    return cfg;
}

static void end(void)
{
    must_ok(tl_close(&s.l, DLOAD_DRAIN, 0));
    must_ok(tl_destroy(&s.l));
    fake_env_check(&s.f);
    equal(s.n_bad, 0);
    assert_int_equal(pthread_mutex_destroy(&s.mutex), 0);
}

static void check_once(size_t n_keys, size_t n_loads)
{
    dload_stats st;
    must_ok(tl_stats(&s.l, &st));
    equal(st.loads, n_loads);
    equal(st.misses, n_keys);
    equal(st.hits + st.joins, n_loads - n_keys);
    for (size_t key = 0; key < n_keys; key++) {
        equal(s.fetched[key], 1);
    }
}

/* ---- one key, 64 threads, round after round ---- */

static void load_rounds(void *ctx, size_t i)
{
    (void)ctx;
    (void)i;
    for (uint64_t key = 0; key < s.n_rounds; key++) {
        uint64_t out = 1;
        (void)pthread_barrier_wait(&s.round);
        dload_status st = tl_load(&s.l, key, &out);
        bad(st != s.result || out != (st == DLOAD_OK ? key * 10 : 1));
    }
}

static void rounds(const tl_config *cfg)
{
    s.n_rounds = scaled(N_ROUNDS) < N_STARTS ? scaled(N_ROUNDS) : N_STARTS;
    assert_int_equal(pthread_barrier_init(&s.round, NULL, N_THREADS), 0);
    must_ok(tl_init(&s.l, cfg));
    run_threads(N_THREADS, load_rounds, NULL);
    assert_int_equal(pthread_barrier_destroy(&s.round), 0);
    equal(s.n_bad, 0);
    equal(s.n_calls, s.n_rounds);
    check_once(s.n_rounds, s.n_rounds * N_THREADS);
}

/* Nothing holds the fetch: who comes late finds the value cached. */
static void test_stampede_cached(void **state)
{
    (void)state;
    static const uint64_t settles_ns[] = {0, 50 * DLOAD_MICROSECOND};
    for (size_t k = 0; k < COUNT(settles_ns); k++) {
        tl_config cfg = open_config(fetch_one);
        cfg.settle_ns = settles_ns[k];
        rounds(&cfg);
        end();
    }
}

/* Caching is off: all who ask while it is fetched share it, and nothing is kept. */
static void test_stampede_uncached(void **state)
{
    (void)state;
    tl_config cfg = open_config(fetch_one);
    uint64_t out = 0;
    cfg.capacity = DLOAD_NO_CACHE;
    s.n_wanted = N_THREADS;
    rounds(&cfg);
    s.n_wanted = 0;
    must_ok(tl_load(&s.l, 0, &out));
    equal(s.fetched[0], 2);
    end();
}

static void fails(dload_status (*fetch)(tl_batch *b), dload_status result)
{
    tl_config cfg = open_config(fetch);
    uint64_t out = 0;
    s.result = result;
    s.n_wanted = N_THREADS;
    rounds(&cfg);
    s.n_wanted = 0;
    must(tl_load(&s.l, 0, &out), result); /* rule 24: the next one tries again */
    equal(s.fetched[0], 2);
    end();
}

static void test_stampede_failing(void **state)
{
    (void)state;
    fails(fetch_one, (dload_status)(DLOAD_EUSER - 5));
    fails(fetch_nothing, DLOAD_EBACKEND);
}

static void elsewhere(size_t capacity)
{
    pthread_t thread;
    tl_config cfg = open_config(fetch_elsewhere);
    cfg.capacity = capacity;
    s.n_wanted = capacity == DLOAD_NO_CACHE ? N_THREADS : 0;
    assert_int_equal(pthread_create(&thread, NULL, answer_elsewhere, NULL), 0);
    rounds(&cfg);
    __atomic_store_n(&s.stop, true, __ATOMIC_RELEASE);
    assert_int_equal(pthread_join(thread, NULL), 0);
    end();
}

static void test_stampede_pending(void **state)
{
    (void)state;
    elsewhere(0);
    elsewhere(DLOAD_NO_CACHE);
}

/* ---- rule 18: two threads, the same thousand keys ---- */

static void load_thousand(void *ctx, size_t i)
{
    uint64_t keys[N_STARTS], *out = ctx;
    out += i * N_STARTS;
    for (uint64_t k = 0; k < N_STARTS; k++) {
        keys[k] = i ? N_STARTS - 1 - k : k;
    }
    bad(tl_load_many(&s.l, keys, N_STARTS, out, NULL) != DLOAD_OK);
    for (size_t k = 0; k < N_STARTS; k++) {
        bad(out[k] != keys[k] * 10);
    }
}

static dload_status fetch_held(tl_batch *b)
{
    note_fetch(b);
    await_all(0);
    answer(b);
    return DLOAD_OK;
}

static void test_stampede_two_threads(void **state)
{
    (void)state;
    static const struct {
        size_t capacity, max_batch;
    } cases[] = {{2000, 100}, {2000, 7}, {2000, 1000}, {DLOAD_NO_CACHE, 1000}};
    static uint64_t out[2 * N_STARTS];
    for (size_t k = 0; k < COUNT(cases); k++) {
        for (size_t round = 0; round < scaled(10); round++) {
            tl_config cfg = open_config(fetch_held);
            cfg.capacity = cases[k].capacity;
            cfg.max_batch = cases[k].max_batch;
            s.n_wanted = cfg.capacity == DLOAD_NO_CACHE ? 2 * N_STARTS : 0;
            must_ok(tl_init(&s.l, &cfg));
            run_threads(2, load_thousand, out);
            check_once(N_STARTS, 2 * N_STARTS);
            end();
        }
    }
}

/* ---- a thousand waiters that do not block ---- */

static struct started {
    tl_waiter w;
    uint32_t n_done;
} started[N_STARTS];

static void started_done(tl_waiter *w)
{
    uint32_t *n_done = w->ctx;
    bad(w->status != DLOAD_OK || w->value != 0);
    (*n_done)++;
    count(&s.n_done);
}

enum { N_STARTERS = 8 };

/* The last thread sends the key when half of them have asked; the others join while it is fetched. */
static void start_some(void *ctx, size_t i)
{
    (void)ctx;
    for (size_t k = i; i < N_STARTERS && k < N_STARTS; k += N_STARTERS) {
        started[k].w.done = started_done;
        started[k].w.ctx = &started[k].n_done;
        bad(tl_start(&s.l, 0, &started[k].w) != DLOAD_PENDING);
    }
    dload_stats st = {0};
    while (i == N_STARTERS && st.loads < N_STARTS / 2) {
        bad(tl_stats(&s.l, &st) != DLOAD_OK);
    }
    bad(i == N_STARTERS && tl_dispatch(&s.l, NULL) != DLOAD_OK);
}

static void test_stampede_starts(void **state)
{
    (void)state;
    for (size_t round = 0; round < scaled(20); round++) {
        tl_config cfg = open_config(round % 2 ? fetch_one : fetch_elsewhere);
        pthread_t thread;
        cfg.capacity = round % 4 < 2 ? DLOAD_NO_CACHE : 0;
        memset(started, 0, sizeof started);
        s.n_wanted = N_STARTS;
        must_ok(tl_init(&s.l, &cfg));
        assert_int_equal(pthread_create(&thread, NULL, answer_elsewhere, NULL), 0);
        run_threads(N_STARTERS + 1, start_some, NULL);
        for (unsigned ms = 0; n_of(&s.n_done) < N_STARTS && ms < 20000; ms++) {
            sleep_ms(1);
        }
        __atomic_store_n(&s.stop, true, __ATOMIC_RELEASE);
        assert_int_equal(pthread_join(thread, NULL), 0);
        for (size_t k = 0; k < N_STARTS; k++) {
            equal(started[k].n_done, 1);
        }
        equal(s.n_calls, 1);
        check_once(1, N_STARTS);
        end();
    }
}

/* ---- a fetch that hangs ---- */

/* Sleeps as the others do, and remembers by how much that alone is late. */
static void *measure_machine(void *arg)
{
    (void)arg;
    while (!__atomic_load_n(&s.stop, __ATOMIC_ACQUIRE)) {
        late_note(&s.machine_ns, late_sleep(2 * DLOAD_MILLISECOND));
    }
    return NULL;
}

/* ETIMEDOUT at its deadline, or at the run limit, neither before nor long after. */
static void load_hanging(void *ctx, size_t i)
{
    const uint64_t *run_limit_ns = ctx;
    uint64_t out = 0, begin_ns = tl_now(&s.l);
    dload_call call = {0};
    if (!s.no_deadlines) {
        call.deadline_ns = begin_ns + (i + 1) * DLOAD_MILLISECOND;
    }
    bad(tl_load_with(&s.l, 0, &call, &out) != DLOAD_ETIMEDOUT);
    uint64_t now_ns = tl_now(&s.l);
    /* The batch began somewhere between the calls, so that its limit is known from one side only. */
    uint64_t due_ns = s.no_deadlines ? begin_ns + *run_limit_ns : call.deadline_ns;
    bad(!s.no_deadlines && now_ns < due_ns);
    late_note(&s.latest_ns, now_ns > due_ns ? now_ns - due_ns : 0);
}

/* True when nobody was late. */
static bool hang(uint64_t run_limit_ns)
{
    pthread_t thread;
    tl_config cfg = open_config(fetch_elsewhere);
    cfg.run_limit_ns = run_limit_ns;
    s.no_deadlines = run_limit_ns != DLOAD_NEVER;
    must_ok(tl_init(&s.l, &cfg));
    assert_int_equal(pthread_create(&thread, NULL, measure_machine, NULL), 0);
    run_threads(N_THREADS, load_hanging, &run_limit_ns);
    __atomic_store_n(&s.stop, true, __ATOMIC_RELEASE);
    assert_int_equal(pthread_join(thread, NULL), 0);
    print_message("# latest %" PRIu64 " us, the machine %" PRIu64 " us\n", s.latest_ns / 1000,
                  s.machine_ns / 1000);
    equal(s.n_bad, 0);
    equal(s.n_calls, 1);
    return s.latest_ns < LATE_NS + s.machine_ns;
}

/* Another process may hold the processor longer than anybody may be late: one of three has to pass
 * without that. All else must hold in each. */
static void test_stampede_hanging(void **state)
{
    (void)state;
    bool on_time = false;
    for (size_t i = 0; i < 3 && !on_time; i++) {
        uint64_t out = 0;
        on_time = hang(DLOAD_NEVER);
        tl_batch *b = take_given();
        assert_true(tl_batch_cancelled(b)); /* rule 55 */
        answer(b);
        must_ok(tl_batch_done(b, DLOAD_OK));
        must_ok(tl_load(&s.l, 0, &out)); /* rule 54: what it brought in the end is cached */
        equal(s.n_calls, 1);
        end();
    }
    assert_true(on_time);
}

static void load_again(void *ctx, size_t i)
{
    uint64_t out = 0;
    (void)ctx;
    (void)i;
    bad(tl_load(&s.l, 0, &out) != DLOAD_OK || out != 0);
}

/* After the run limit the key can be loaded again, by one fetch again; the late answer changes nothing. */
static void test_stampede_run_limit(void **state)
{
    (void)state;
    bool on_time = false;
    for (size_t i = 0; i < 3 && !on_time; i++) {
        pthread_t thread;
        on_time = hang(40 * DLOAD_MILLISECOND);
        tl_batch *late = take_given();
        uint64_t wrong = 12345;
        s.stop = false;
        assert_int_equal(pthread_create(&thread, NULL, answer_elsewhere, NULL), 0);
        run_threads(N_THREADS, load_again, NULL);
        __atomic_store_n(&s.stop, true, __ATOMIC_RELEASE);
        assert_int_equal(pthread_join(thread, NULL), 0);
        equal(s.n_bad, 0);
        equal(s.n_calls, 2);
        must(tl_batch_set(late, 0, &wrong), DLOAD_ECANCELED);
        must_ok(tl_batch_done(late, DLOAD_OK));
        load_again(NULL, 0);
        equal(s.n_calls, 2);
        dload_stats st;
        must_ok(tl_stats(&s.l, &st));
        equal(st.abandoned, 1);
        end();
    }
    assert_true(on_time);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stampede_cached),
        cmocka_unit_test(test_stampede_uncached),
        cmocka_unit_test(test_stampede_failing),
        cmocka_unit_test(test_stampede_pending),
        {"rule 18: 2 threads, one call each for the same 1,000 keys", test_stampede_two_threads,
         NULL, NULL, NULL},
        {"rule 19: 1,000 waiters, one key", test_stampede_starts, NULL, NULL, NULL},
        {"rule 54: a fetch that hangs keeps nobody", test_stampede_hanging, NULL, NULL, NULL},
        {"rule 31: the second try after a run limit is one fetch, too", test_stampede_run_limit,
         NULL, NULL, NULL},
    };
    return cmocka_run_group_tests_name("stampede " TEST_STRING(TEST_LOCK), tests, NULL, NULL);
}
