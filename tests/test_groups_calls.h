/* The calls of the model of groups: what each is to do, and what it did. */
#ifndef DLOAD_TESTS_GROUPS_CALLS_H
#define DLOAD_TESTS_GROUPS_CALLS_H

#include "test_groups_source.h"

/* ---- requests ---- */

static inline void judge(struct ask *a, dload_status st, uint64_t number)
{
    assert_true(a->waits && a->sent);
    a->waits = false;
    if (a->job->lost && st == DLOAD_ETIMEDOUT) {
        m.n_lost++;
        return;
    }
    must(st, a->want != 0 ? DLOAD_OK : DLOAD_MISSING);
    equal(number, a->want);
}

static inline void done(gl_waiter *w)
{
    struct ask *a = w->ctx;
    judge(a, w->status, w->status >= 0 ? value_end(&w->value) : 0);
}

/* A request is about to be made: in an order that the fetch function can check. */
static inline void expect(struct ask *a, size_t group, size_t key, bool fresh)
{
    struct cell *c = &m.cells[group][key];
    memset(a, 0, sizeof *a);
    a->group = group;
    a->key = key;
    a->waits = true;
    if (fresh) {
        c->job = NULL;
    }
    if (c->job && !c->queued) {
        m.n_joined++;
        a->sent = true;
        a->job = c->job;
        for (size_t i = 0; i < c->job->n; i++) {
            a->want = c->job->keys[i] == key ? c->job->values[i] : a->want;
        }
    }
}

/* A request that is not a hit is in the queue from now on, unless it joined. */
static inline void enter(struct ask *a)
{
    struct cell *c = &m.cells[a->group][a->key];
    if (!a->sent && !c->queued) {
        c->queued = true;
        c->asked = ++m.tick;
    }
}

/* What a hit gave is what is cached. */
static inline void judge_hit(const struct cell *c, dload_status st, uint64_t number)
{
    assert_true(c->cached);
    must_ok(st);
    equal(number, c->value);
    m.n_hits++;
}

/* Is the key cached, now? Evicted ones are forgotten here, too. */
static inline bool is_cached(size_t group, size_t key)
{
    struct cell *c = &m.cells[group][key];
    dload_state state = DLOAD_STATE_ERROR;
    gl_value v;
    dload_status st = gl_peek_in(&m.l, key_of(key), group_of(group), &state, &v);
    if (state == DLOAD_STATE_READY) {
        must_ok(st);
        assert_true(c->cached);
        equal(value_end(&v), c->value);
        return true;
    }
    assert_true(!c->cached || m.evicts);
    m.n_evicted += c->cached;
    c->cached = false;
    dload_state want = c->queued ? DLOAD_STATE_QUEUED
                       : c->job  ? DLOAD_STATE_IN_FLIGHT
                                 : DLOAD_STATE_ABSENT;
    assert_int_equal(state, want);
    must(st, DLOAD_MISSING);
    return false;
}

static inline void load_one(size_t group, size_t key)
{
    bool fresh = below(8) == 0, hit = is_cached(group, key) && !fresh;
    struct ask *a = &m.asks[N_ASKS];
    dload_call call = {.group = group_of(group), .flags = fresh ? DLOAD_FRESH : 0};
    size_t n_fetches = m.n_fetches;
    gl_value v;
    if (!hit) {
        expect(a, group, key, fresh);
        enter(a);
    }
    dload_status st = gl_load_with(&m.l, key_of(key), &call, &v);
    uint64_t number = st >= 0 ? value_end(&v) : 0;
    if (hit) {
        judge_hit(&m.cells[group][key], st, number);
        equal(m.n_fetches, n_fetches);
    } else {
        judge(a, st, number);
    }
}

static inline void load_many(size_t group)
{
    dload_call call = {.group = group_of(group)};
    gl_key keys[N_MANY];
    gl_value v[N_MANY];
    dload_status st[N_MANY];
    bool hit[N_MANY];
    size_t at[N_MANY], n = 1 + below(N_MANY);
    struct cell before[N_KEYS];
    for (size_t i = 0; i < n; i++) {
        at[i] = below(N_KEYS);
        keys[i] = key_of(at[i]);
        hit[i] = is_cached(group, at[i]);
    }
    for (size_t i = 0; i < n; i++) {
        if (!hit[i]) {
            expect(&m.asks[N_ASKS + i], group, at[i], false);
            enter(&m.asks[N_ASKS + i]);
        }
    }
    memcpy(before, m.cells[group], sizeof before);
    must_ok(gl_load_many_with(&m.l, keys, n, &call, v, st));
    for (size_t i = 0; i < n; i++) {
        uint64_t number = st[i] >= 0 ? value_end(&v[i]) : 0;
        if (hit[i]) {
            judge_hit(&before[at[i]], st[i], number);
        } else {
            judge(&m.asks[N_ASKS + i], st[i], number);
        }
    }
}

static inline void start_one(size_t group, size_t key)
{
    struct ask *a = m.asks;
    while (a->waits && a < m.asks + N_ASKS) {
        a++;
    }
    if (a == m.asks + N_ASKS) {
        return;
    }
    bool hit = is_cached(group, key);
    dload_call call = {.group = group_of(group)};
    if (!hit) {
        expect(a, group, key, false);
        enter(a);
    }
    memset(&a->w, 0, sizeof a->w);
    a->w.done = done;
    a->w.ctx = a;
    dload_status st = gl_start_with(&m.l, key_of(key), &call, &a->w);
    if (hit) {
        judge_hit(&m.cells[group][key], st, value_end(&a->w.value));
    } else {
        must(st, DLOAD_PENDING);
    }
}

static inline void cancel_one(void)
{
    struct ask *a = &m.asks[below(N_ASKS)];
    if (!a->waits) {
        return;
    }
    must_ok(gl_cancel(&m.l, &a->w));
    a->waits = false;
    bool wanted = a->sent;
    for (const struct ask *b = m.asks; b < m.asks + N_ASKS; b++) {
        wanted = wanted || (b->waits && !b->sent && b->group == a->group && b->key == a->key);
    }
    if (!wanted) {
        m.cells[a->group][a->key].queued = false;
    }
}

/* ---- clears ---- */

/* As if written first, sometimes. Later loads neither join nor trust what was sent before. */
static inline void cleared(size_t group, size_t key)
{
    struct cell *c = &m.cells[group][key];
    c->version++;
    c->cached = false;
    c->job = NULL;
    c->cleared = ++m.tick;
}

static inline void clear_some(void)
{
    size_t group = below(N_GROUPS), key = below(N_KEYS), how = below(20);
    if (how < 10) {
        cleared(group, key);
        must_ok(gl_clear_in(&m.l, key_of(key), group_of(group)));
        return;
    }
    for (size_t g = 0; g < N_GROUPS; g++) {
        for (key = 0; key < N_KEYS && (g == group || how == 19); key++) {
            cleared(g, key);
        }
    }
    must_ok(how == 19 ? gl_clear_all(&m.l) : gl_clear_group(&m.l, group_of(group)));
}

static inline void bring(size_t group, size_t key)
{
    struct cell *c = &m.cells[group][key];
    uint32_t flags = below(2) ? DLOAD_OVERWRITE : 0;
    if (key == N_KEYS - 1 || (is_cached(group, key) && flags == 0)) {
        return;
    }
    c->version++;
    uint64_t number = number_of(group, key);
    gl_value v = value_make(number);
    must_ok(gl_prime_in(&m.l, key_of(key), group_of(group), &v, flags));
    (void)value_end(&v);
    c->job = NULL;
    c->cached = true;
    c->value = number;
}

/* A value read outside, and cleared meanwhile or not. */
static inline void bring_if(size_t group, size_t key)
{
    struct cell *c = &m.cells[group][key];
    if (key == N_KEYS - 1) {
        return;
    }
    uint64_t number = number_of(group, key), tick = m.tick;
    dload_token token = gl_token(&m.l);
    for (size_t n = below(3); n > 0; n--) {
        clear_some();
    }
    gl_value v = value_make(number);
    dload_status st = gl_put_if_in(&m.l, key_of(key), group_of(group), &v, token);
    (void)value_end(&v);
    if (st == DLOAD_OK) {
        assert_true(c->cleared <= tick);
        c->job = NULL;
        c->cached = true;
        c->value = number;
    } else {
        must(st, DLOAD_ECANCELED);
        m.n_refused += c->cleared <= tick; /* a look-alike was cleared, which is allowed */
    }
    m.n_put++;
}

#endif /* DLOAD_TESTS_GROUPS_CALLS_H */
