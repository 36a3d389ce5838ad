/* Many threads and room for one to three keys: all return, nobody waits much longer than its deadline, no
 * key is fetched for nobody, and who is cancelled in line is missed by nobody. */
/* locks: CUSTOM SPIN PTHREAD */
#define _POSIX_C_SOURCE 200809L
#include "test_loader.h"
#include "test_late.h"

#include <pthread.h>
#include <stdlib.h>

enum { N_CALLERS = 16, N_KEYS = 60, N_MANY = 6 };

static struct shared {
    tl l;
    struct fake_env f;
    uint64_t seed, end_ns;
    size_t n_bad, n_loads, n_timeouts, n_refused; /* atomic */
    size_t n_running, most_running;               /* keys being fetched; atomic */
    uint64_t latest_ns, machine_ns, longest_ns;   /* atomic */
    bool open;                                    /* the gate of gated_fetch; atomic */
} s;

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

static _Thread_local uint64_t fetched_ns; /* what this call spent in the fetch function */

static dload_status fetch(tl_batch *b)
{
    uint64_t began_ns = real_ns(), out = 0;
    uint64_t most = __atomic_add_fetch(&s.n_running, b->n, __ATOMIC_RELAXED);
    late_note(&s.most_running, most);
    if (b->keys[0] % 4 == 0) {
        (void)late_sleep(b->keys[0] * 20 * DLOAD_MICROSECOND);
    }
    if (b->keys[0] % 16 == 1) { /* while others wait for room, or there is some */
        dload_status st = tl_load(b->owner, b->keys[0] + 1000, &out);
        bad(st != DLOAD_EAGAIN && (st != DLOAD_OK || out != (b->keys[0] + 1000) * 10));
    }
    for (size_t i = 0; i < b->n; i++) {
        uint64_t value = b->keys[i] * 10;
        bad(tl_batch_set(b, i, &value) != DLOAD_OK);
    }
    __atomic_sub_fetch(&s.n_running, b->n, __ATOMIC_RELAXED);
    fetched_ns += real_ns() - began_ns;
    return DLOAD_OK;
}

/* ---- callers ---- */

static void judge(uint64_t key, dload_status st, uint64_t out, uint64_t deadline_ns)
{
    uint64_t now_ns = tl_now(&s.l);
    count(&s.n_loads);
    if (st == DLOAD_ETIMEDOUT) {
        count(&s.n_timeouts);
        bad(deadline_ns == 0 || now_ns < deadline_ns);
    } else {
        bad(st != DLOAD_OK || out != key * 10);
    }
    if (deadline_ns != 0 && now_ns > deadline_ns + fetched_ns) {
        late_note(&s.latest_ns, now_ns - deadline_ns - fetched_ns);
    }
}

static void load_some(uint64_t *state)
{
    uint64_t keys[N_MANY], out[N_MANY];
    dload_status st[N_MANY];
    dload_call call = {0};
    size_t n = rng_below(state, 4) == 0 ? N_MANY : 1;
    for (size_t i = 0; i < n; i++) {
        keys[i] = rng_below(state, N_KEYS);
    }
    if (rng_below(state, 3) == 0) {
        call.deadline_ns = tl_now(&s.l) + rng_below(state, 4 * DLOAD_MILLISECOND);
    }
    uint64_t began_ns = real_ns();
    fetched_ns = 0;
    if (n == 1) {
        st[0] = tl_load_with(&s.l, keys[0], &call, out);
    } else {
        (void)tl_load_many_with(&s.l, keys, n, &call, out, st);
    }
    late_note(&s.longest_ns, real_ns() - began_ns);
    for (size_t i = 0; i < n; i++) {
        judge(keys[i], st[i], out[i], call.deadline_ns);
    }
}

static void tell(tl_waiter *w)
{
    __atomic_store_n((size_t *)w->ctx, 1, __ATOMIC_RELEASE);
}

/* Asks without blocking, and withdraws or sends. */
static void start_one(uint64_t *state)
{
    size_t done = 0; /* atomic */
    tl_waiter w;
    memset(&w, 0, sizeof w);
    w.done = tell;
    w.ctx = &done;
    dload_status st = tl_start(&s.l, rng_below(state, N_KEYS), &w);
    if (st == DLOAD_EAGAIN) {
        count(&s.n_refused);
    } else if (st == DLOAD_PENDING) {
        if (rng_below(state, 2)) {
            bad(tl_dispatch(&s.l, NULL) != DLOAD_OK);
        }
        bool gone = tl_cancel(&s.l, &w) == DLOAD_OK;
        for (int ms = 0; !gone && !__atomic_load_n(&done, __ATOMIC_ACQUIRE); ms++) {
            bad(ms == 20000);
            sleep_ms(1);
        }
    }
}

static void call_until_end(void *ctx, size_t i)
{
    (void)ctx;
    uint64_t state = s.seed + i * 7919;
    for (size_t n = 0; n < 20 || real_ns() < s.end_ns; n++) {
        if (rng_below(&state, 16) == 0) {
            late_note(&s.machine_ns, late_sleep(rng_below(&state, 2 * DLOAD_MILLISECOND)));
        }
        if (rng_below(&state, 16) == 0) {
            start_one(&state);
        } else {
            load_some(&state);
        }
    }
}

/* False when somebody was late, which may be the machine's doing. */
static bool crowd(size_t max_queue, size_t max_batch, uint64_t settle_ns)
{
    memset(&s, 0, sizeof s);
    fake_env_init_real(&s.f);
    s.seed = test_seed("room crowd");
    tl_config cfg = tl_config_default();
    cfg.fetch = fetch;
    cfg.env = &s.f.env;
    cfg.capacity = DLOAD_NO_CACHE;
    cfg.max_queue = max_queue;
    cfg.max_batch = max_batch;
    cfg.queue_wait = true;
    cfg.settle_ns = settle_ns;
    must_ok(tl_init(&s.l, &cfg));
    s.end_ns = real_ns() + scaled(500) * DLOAD_MILLISECOND;
    run_threads(N_CALLERS, call_until_end, NULL);
    dload_stats st;
    must_ok(tl_stats(&s.l, &st));
    print_message(
        "# room for %zu: %zu loads, %zu timed out, %zu refused, %zu keys at once; longest "
        "%" PRIu64 " us, latest %" PRIu64 " us, the machine %" PRIu64 " us\n",
        max_queue, s.n_loads, s.n_timeouts, s.n_refused, s.most_running, s.longest_ns / 1000,
        s.latest_ns / 1000, s.machine_ns / 1000);
    equal(s.n_bad, 0);
    assert_true(s.n_timeouts > 0 && s.n_loads > s.n_timeouts);
    assert_true(s.most_running <= max_queue);
    assert_null(s.l.core.line);
    equal(s.l.core.n_flights, 0);
    must_ok(tl_close(&s.l, DLOAD_DRAIN, 0));
    must_ok(tl_destroy(&s.l));
    fake_env_check(&s.f);
    return s.latest_ns < LATE_NS + s.machine_ns;
}

static void test_room_crowd(void **state)
{
    (void)state;
    static const uint64_t settles[] = {0, 0, 100 * DLOAD_MICROSECOND, 0};
    static const size_t queues[] = {1, 2, 3, 3}, batches[] = {100, 100, 2, 1};
    for (size_t i = 0; i < COUNT(queues); i++) {
        int n = 0;
        while (n < 3 && !crowd(queues[i], batches[i], settles[i])) {
            n++;
        }
        assert_true(n < 3); /* one in three has to pass without another process in the way */
    }
}

/* ---- closing, and a thread that is cancelled ---- */

static dload_status gated_fetch(tl_batch *b)
{
    while (!__atomic_load_n(&s.open, __ATOMIC_ACQUIRE)) {
        sleep_ms(1);
    }
    for (size_t i = 0; i < b->n; i++) {
        uint64_t value = b->keys[i] * 10;
        (void)tl_batch_set(b, i, &value);
    }
    return DLOAD_OK;
}

static size_t line_length(void)
{
    size_t n = 0;
    dload_i_core_lock(&s.l.core);
    for (const dload_i_parker *p = s.l.core.line; p != NULL; p = p->next_in_line) {
        n++;
    }
    dload_i_core_unlock(&s.l.core);
    return n;
}

struct caller {
    pthread_t thread;
    uint64_t key;
    dload_status st;
    uint64_t ended_ns;
};

static void *load_key(void *arg)
{
    struct caller *c = arg;
    uint64_t out = 0;
    c->st = tl_load(&s.l, c->key, &out);
    bad(c->st == DLOAD_OK && out != c->key * 10);
    c->ended_ns = real_ns();
    return NULL;
}

/* One fetches, behind its gate; the others are in line, in this order. */
static void open_line(struct caller *c, size_t n)
{
    memset(&s, 0, sizeof s);
    fake_env_init_real(&s.f);
    tl_config cfg = tl_config_default();
    cfg.fetch = gated_fetch;
    cfg.env = &s.f.env;
    cfg.max_queue = 1;
    cfg.queue_wait = true;
    must_ok(tl_init(&s.l, &cfg));
    for (size_t i = 0; i < n; i++) {
        c[i] = (struct caller){.key = i + 1, .st = DLOAD_PENDING};
        assert_int_equal(pthread_create(&c[i].thread, NULL, load_key, &c[i]), 0);
        dload_state there = DLOAD_STATE_ABSENT;
        while (i == 0 ? there != DLOAD_STATE_IN_FLIGHT : line_length() != i) {
            (void)tl_peek(&s.l, 1, &there, NULL);
            sleep_ms(1);
        }
    }
}

static void end_line(void)
{
    must_ok(tl_close(&s.l, DLOAD_DRAIN, 0));
    must_ok(tl_destroy(&s.l));
    fake_env_check(&s.f);
    equal(s.n_bad, 0);
}

static void open_gate(void)
{
    __atomic_store_n(&s.open, true, __ATOMIC_RELEASE);
}

static void *close_loader(void *arg)
{
    struct caller *c = arg;
    c->st = tl_close(&s.l, DLOAD_DRAIN, 0);
    return NULL;
}

static void test_room_closed_by_another(void **state)
{
    (void)state;
    struct caller c[5], closer = {.st = DLOAD_PENDING};
    open_line(c, 5);
    uint64_t began_ns = real_ns();
    assert_int_equal(pthread_create(&closer.thread, NULL, close_loader, &closer), 0);
    for (size_t i = 1; i < 5; i++) {
        pthread_join(c[i].thread, NULL);
        must(c[i].st, DLOAD_ECLOSED);
        assert_true(c[i].ended_ns < began_ns + 20 * DLOAD_SECOND); /* not their deadline */
    }
    open_gate();
    pthread_join(c[0].thread, NULL);
    must_ok(c[0].st);
    pthread_join(closer.thread, NULL);
    must_ok(closer.st);
    end_line();
}

#if TEST_LOCK == DLOAD_LOCK_PTHREAD
/* The first, the last and one between them, while nobody could be served, and the head just when it was. */
static void test_room_cancelled(void **state)
{
    (void)state;
    struct caller c[8];
    open_line(c, 8);
    static const size_t leaves[] = {1, 7, 4};
    for (size_t i = 0; i < COUNT(leaves); i++) {
        void *result = NULL;
        assert_int_equal(pthread_cancel(c[leaves[i]].thread), 0);
        assert_int_equal(pthread_join(c[leaves[i]].thread, &result), 0);
        assert_ptr_equal(result, PTHREAD_CANCELED);
        equal(line_length(), 6 - i);
    }
    (void)pthread_cancel(c[2].thread);
    open_gate();
    for (size_t i = 0; i < 7; i++) {
        if (i != 1 && i != 4) {
            pthread_join(c[i].thread, NULL);
            assert_true(c[i].st == DLOAD_OK || i == 2);
        }
    }
    assert_null(s.l.core.line);
    end_line();
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        {"sixteen threads, room for three and less", test_room_crowd, NULL, NULL, NULL},
        {"closed by another thread", test_room_closed_by_another, NULL, NULL, NULL},
#if TEST_LOCK == DLOAD_LOCK_PTHREAD
        {"threads that are cancelled in line", test_room_cancelled, NULL, NULL, NULL},
#endif
    };
    return cmocka_run_group_tests_name("room, threads " TEST_STRING(TEST_LOCK), tests, NULL, NULL);
}
