/* Old values against a model: random loads, answers, failures, clears, primes, cancellations and jumps of
 * the clock, each outcome foretold by a list of keys and a list of flights. Rule 40 for every order. */
/* locks: NONE SPIN PTHREAD */
#include "test_stale.h"

enum { N_KEYS = 6, N_FLIGHTS = 64, N_REQUESTS = 48 };

/* What is known of one key. */
struct known {
    bool there, error;
    uint64_t value;
    uint64_t end;   /* ticks */
    uint64_t retry; /* until when a failed refresh is not tried again */
    uint64_t read;  /* when last */
};

/* One fetch on its way. */
struct journey {
    bool used, sent, detached;
    uint64_t key;
};

enum asked { FREE, WAITS, DONE };

struct ask {
    struct request req;
    enum asked state;
    bool source_only;
    size_t flight;
};

static struct model {
    struct known keys[N_KEYS];
    struct journey flights[N_FLIGHTS];
    struct ask asks[N_REQUESTS];
    uint64_t tick, ttl, stale, error, missing, idle;
    uint64_t rand;
    uint64_t next_value;
    size_t n_stale, n_kept; /* answers of these kinds */
} m;

enum age { NONE, FRESH, STALE, SPARE };

static uint64_t longest(void)
{
    return m.stale > m.error ? m.stale : m.error;
}

/* Idle entries go within an eighth of their time: which tick it is, is left to them. */
static void let_idle_go(struct fixture *x, uint64_t key)
{
    struct known *k = &m.keys[key];
    if (m.idle == 0 || !k->there || m.tick < k->read + m.idle) {
        return;
    }
    dload_state state = DLOAD_STATE_ABSENT;
    uint64_t value = 0;
    (void)tl_peek(&x->l, key, &state, &value);
    bool gone = state == DLOAD_STATE_ABSENT || state == DLOAD_STATE_QUEUED ||
                state == DLOAD_STATE_IN_FLIGHT;
    assert_true(gone || m.tick < k->read + m.idle + m.idle / 8 + 3);
    k->there = !gone;
}

static enum age age_of(const struct known *k)
{
    if (!k->there) {
        return NONE;
    }
    if (m.tick < k->end) {
        return FRESH;
    }
    uint64_t late = m.tick - k->end;
    if (k->error || late >= longest()) {
        return NONE;
    }
    if (late < m.stale || (late < m.error && k->retry > m.tick)) {
        return STALE;
    }
    return late < m.error ? SPARE : NONE;
}

static size_t flight_of(uint64_t key)
{
    for (size_t i = 0; i < N_FLIGHTS; i++) {
        if (m.flights[i].used && !m.flights[i].detached && m.flights[i].key == key) {
            return i;
        }
    }
    return N_FLIGHTS;
}

static size_t free_flight(void)
{
    size_t i = 0;
    while (i < N_FLIGHTS && m.flights[i].used) {
        i++;
    }
    assert_true(i < N_FLIGHTS);
    return i;
}

static size_t waiters_of(size_t flight)
{
    size_t n = 0;
    for (size_t i = 0; i < N_REQUESTS; i++) {
        n += m.asks[i].state == WAITS && m.asks[i].flight == flight;
    }
    return n;
}

static void store(uint64_t key, bool error, uint64_t value, uint64_t ttl)
{
    m.keys[key] = (struct known){true, error, value, m.tick + ttl, m.tick, m.tick};
}

/* ---- operations ---- */

static void op_load(struct fixture *x, uint64_t key, bool source_only)
{
    size_t i = 0;
    while (i < N_REQUESTS && m.asks[i].state != FREE) {
        i++;
    }
    if (i == N_REQUESTS) {
        return;
    }
    struct ask *a = &m.asks[i];
    struct known *k = &m.keys[key];
    enum age age = age_of(k);
    size_t flight = flight_of(key);
    dload_call call = {.flags = source_only ? DLOAD_FRESH : 0};
    memset(&a->req, 0, sizeof a->req);
    a->req.w.done = request_done;
    a->req.w.ctx = &a->req;
    dload_status st = tl_start_with(&x->l, key, &call, &a->req.w);
    bool waits = age == NONE || age == SPARE || source_only ||
                 (age == STALE && flight == N_FLIGHTS && k->retry <= m.tick);
    if (age == FRESH || age == STALE) {
        k->read = source_only ? k->read : m.tick;
    }
    if (!waits) {
        must(st, age == STALE ? DLOAD_STALE : k->error ? DLOAD_MISSING : DLOAD_OK);
        if (st >= 0) {
            equal(a->req.w.value, k->value);
        }
        m.n_stale += age == STALE;
        return;
    }
    must(st, DLOAD_PENDING);
    if (source_only && flight != N_FLIGHTS && m.flights[flight].sent) {
        m.flights[flight].detached = true;
        flight = N_FLIGHTS;
    }
    if (flight == N_FLIGHTS) {
        flight = free_flight();
        m.flights[flight] = (struct journey){true, false, false, key};
    }
    a->state = WAITS;
    a->source_only = source_only;
    a->flight = flight;
}

static void op_cancel(struct fixture *x)
{
    struct ask *a = &m.asks[rng_below(&m.rand, N_REQUESTS)];
    if (a->state != WAITS) {
        return;
    }
    must_ok(tl_cancel(&x->l, &a->req.w));
    a->state = FREE;
    if (waiters_of(a->flight) == 0 && !m.flights[a->flight].sent) {
        m.flights[a->flight].used = false;
    }
}

/* All that was queued is on its way now; returns how many. */
static size_t all_sent(struct fixture *x)
{
    size_t n = 0;
    for (size_t i = 0; i < N_FLIGHTS; i++) {
        n += m.flights[i].used && !m.flights[i].sent;
        m.flights[i].sent = true;
    }
    text_clear(&x->r.calls);
    return n;
}

static void op_dispatch(struct fixture *x)
{
    size_t n = dispatch(x);
    equal(n, all_sent(x));
}

static void detach(uint64_t key)
{
    for (size_t i = 0; i < N_FLIGHTS; i++) {
        m.flights[i].detached |= m.flights[i].used && m.flights[i].sent && m.flights[i].key == key;
    }
}

static void op_clear(struct fixture *x, uint64_t key)
{
    bool all = rng_below(&m.rand, 6) == 0;
    if (all) {
        must_ok(tl_clear_all(&x->l));
    } else {
        must_ok(tl_clear(&x->l, key));
    }
    for (uint64_t i = 0; i < N_KEYS; i++) {
        if (all || i == key) {
            m.keys[i].there = false;
            detach(i);
        }
    }
}

static void op_prime(struct fixture *x, uint64_t key)
{
    uint64_t value = m.next_value++;
    uint32_t flags = rng_below(&m.rand, 2) == 0 ? DLOAD_OVERWRITE : 0;
    must_ok(tl_prime(&x->l, key, &value, flags));
    if (flags != 0 || age_of(&m.keys[key]) != FRESH) {
        detach(key);
        store(key, false, value, m.ttl);
    }
}

/* What a waiter of a flight that ended with an error or nothing gets. */
static dload_status status_for(const struct ask *a, dload_status st, enum age age, bool kept)
{
    if (!kept || a->source_only) {
        return st;
    }
    return age == FRESH ? DLOAD_OK : DLOAD_STALE;
}

static void check_waiters(size_t flight, dload_status st, uint64_t value, enum age age, bool kept,
                          uint64_t old)
{
    for (size_t i = 0; i < N_REQUESTS; i++) {
        struct ask *a = &m.asks[i];
        if (a->state != WAITS || a->flight != flight) {
            continue;
        }
        equal(a->req.n_done, 1);
        dload_status want = st >= 0 ? st : status_for(a, st, age, kept);
        must(a->req.w.status, want);
        if (want >= 0) {
            equal(a->req.w.value, st >= 0 ? value : old);
        }
        m.n_kept += want == DLOAD_STALE;
        a->state = FREE;
    }
}

/* Ends one fetch, with a value, a value not to be kept, nothing, or an error. */
static void op_finish(struct fixture *x)
{
    if (x->r.n_pending == 0) {
        return;
    }
    tl_batch *b = rec_take(&x->r, rng_below(&m.rand, x->r.n_pending));
    uint64_t key = b->keys[0];
    size_t flight = 0; /* the only one of its key: see two_on_their_way */
    while (!m.flights[flight].used || !m.flights[flight].sent || m.flights[flight].key != key) {
        flight++;
        assert_true(flight < N_FLIGHTS);
    }
    struct journey j = m.flights[flight];
    struct known *k = &m.keys[key];
    enum age age = age_of(k);
    uint64_t old = k->value, value = m.next_value++;
    uint64_t kind = rng_below(&m.rand, 8);
    dload_status st = kind < 4 ? DLOAD_OK : kind == 4 ? DLOAD_MISSING : DLOAD_EFETCH;
    bool kept = st == DLOAD_EFETCH && !j.detached && !k->error &&
                (age == FRESH || ((age == STALE || age == SPARE) && m.tick - k->end < m.error));
    if (st == DLOAD_OK) {
        must_ok(kind == 3 ? tl_batch_set_ttl(b, 0, &value, 0) : tl_batch_set(b, 0, &value));
    } else if (st == DLOAD_EFETCH) {
        must_ok(tl_batch_fail(b, 0, DLOAD_EFETCH));
    }
    must_ok(tl_batch_done(b, DLOAD_OK));
    check_waiters(flight, st, value, age, kept, old);
    m.flights[flight].used = false;
    if (kept) {
        uint64_t pause = m.error == 0 || m.error / 16 >= 953 ? 953 : m.error / 16 + 1;
        k->retry = m.tick + pause;
    }
    if (j.detached || st == DLOAD_EFETCH) {
        return;
    }
    if (kind < 3) {
        store(key, false, value, m.ttl);
    } else if (kind == 4 && m.missing != 0) {
        store(key, true, 0, m.missing);
    } else {
        k->there = false;
    }
}

static void op_time(struct fixture *x)
{
    uint64_t steps[] = {1, 1 + rng_below(&m.rand, 20), 1 + rng_below(&m.rand, 2 * m.ttl),
                        1 + rng_below(&m.rand, longest() + 2)};
    m.tick += steps[rng_below(&m.rand, 4)];
    x->f.now_ns = m.tick * TICK;
    if (rng_below(&m.rand, 3) == 0) {
        must_ok(tl_process(&x->l, x->f.now_ns));
        all_sent(x);
    }
}

static void check_key(struct fixture *x, uint64_t key)
{
    dload_state state = DLOAD_STATE_ABSENT;
    uint64_t value = 0;
    (void)tl_peek(&x->l, key, &state, &value);
    const struct known *k = &m.keys[key];
    enum age age = age_of(k);
    size_t flight = flight_of(key);
    dload_state want = DLOAD_STATE_ABSENT;
    if (age == FRESH) {
        want = k->error ? DLOAD_STATE_ERROR : DLOAD_STATE_READY;
    } else if (age == STALE) {
        want = DLOAD_STATE_STALE;
    } else if (flight != N_FLIGHTS) {
        want = m.flights[flight].sent ? DLOAD_STATE_IN_FLIGHT : DLOAD_STATE_QUEUED;
    }
    equal(state, want);
    if (want == DLOAD_STATE_READY || want == DLOAD_STATE_STALE) {
        equal(value, k->value);
    }
}

/* A fetch of a key that has another one under way would make two batches with one key: end it first. */
static bool two_on_their_way(uint64_t key)
{
    for (size_t i = 0; i < N_FLIGHTS; i++) {
        if (m.flights[i].used && m.flights[i].detached && m.flights[i].key == key) {
            return true;
        }
    }
    return false;
}

static void step(struct fixture *x)
{
    uint64_t key = rng_below(&m.rand, N_KEYS);
    for (uint64_t i = 0; i < N_KEYS; i++) {
        let_idle_go(x, i);
    }
    check_key(x, key);
    uint64_t op = rng_below(&m.rand, 32);
    if (op < 14) {
        if (!two_on_their_way(key)) {
            op_load(x, key, op == 0 && flight_of(key) == N_FLIGHTS);
        }
    } else if (op < 19) {
        op_dispatch(x);
    } else if (op < 25) {
        op_finish(x);
    } else if (op < 28) {
        op_time(x);
    } else if (op < 29) {
        op_clear(x, key);
    } else if (op < 30) {
        op_prime(x, key);
    } else {
        op_cancel(x);
    }
}

static void every_outcome_is_foretold(void **state)
{
    uint64_t seed = test_seed("stale model");
    size_t n_stale = 0, n_kept = 0;
    for (size_t run = 0; run < scaled(120); run++) {
        struct fixture *x = *state;
        (void)fixture_setup(state);
        memset(&m, 0, sizeof m);
        m.rand = rng(&seed);
        m.tick = 1000 + rng_below(&m.rand, 1000);
        m.tick +=
            rng_below(&m.rand, 2) * ((UINT64_C(1) << 32) - 2500); /* ticks wrap in the table */
        m.ttl = 1 + rng_below(&m.rand, 300);
        m.stale = rng_below(&m.rand, 3) == 0 ? 0 : rng_below(&m.rand, 400);
        m.error = rng_below(&m.rand, 3) == 0 ? 0 : rng_below(&m.rand, 800);
        if (rng_below(&m.rand, 8) == 0) {
            m.error =
                UINT64_C(1) << (28 + rng_below(&m.rand, 8)); /* over several turns of the wheel */
        }
        m.missing = rng_below(&m.rand, 2) * rng_below(&m.rand, 100);
        m.idle = rng_below(&m.rand, 3) == 0 ? 1 + rng_below(&m.rand, 300) : 0;
        if (m.idle != 0 && m.error > m.stale) {
            m.error = m.stale; /* what is there but does not show would go unseen */
        }
        x->f.now_ns = m.tick * TICK;
        x->cfg.ttl_ns = m.ttl * TICK;
        x->cfg.stale_ns = m.stale * TICK;
        x->cfg.stale_error_ns = m.error * TICK;
        x->cfg.missing_ttl_ns = m.missing * TICK;
        x->cfg.idle_ttl_ns = m.idle * TICK;
        x->cfg.max_batch = 1;
        x->cfg.max_in_flight = 1000;
        x->cfg.run_limit_ns = DLOAD_NEVER;
        x->cfg.capacity = 1000;
        x->r.result = DLOAD_PENDING;
        fixture_open(x);
        for (size_t i = 0; i < 1000; i++) {
            step(x);
        }
        n_stale += m.n_stale;
        n_kept += m.n_kept;
        while (x->r.n_pending != 0) {
            op_finish(x);
        }
        (void)fixture_teardown(state);
    }
    assert_true(n_stale > 0 && n_kept > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_outcome_is_foretold, fixture_setup, NULL),
    };
    return cmocka_run_group_tests_name("stale_model", tests, NULL, NULL);
}
