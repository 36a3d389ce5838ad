/* What the workers do: every call of the loader, each written down with when it began and returned. */
#ifndef DLOAD_TESTS_HISTORY_OPS_H
#define DLOAD_TESTS_HISTORY_OPS_H

#include "history/source.h"

/* A request that does not block, and what became of it. Written by the callback, wherever that runs. */
struct asked {
    hl_waiter w;
    uint64_t start, end;
    uint32_t key;
    uint32_t n_called; /* atomic */
    bool fresh, cancelled;
    dload_status status;
    struct hist_value value;
};

/* ---- reads ---- */

static void note_read(struct hist_read *r, dload_status st, const struct hist_value *value)
{
    me->n_full += st == DLOAD_EAGAIN;
    me->n_circles += st == DLOAD_EDEADLK;
    if (st == DLOAD_OK) {
        r->outcome = HIST_VALUE;
        r->value = *value;
    } else if (st <= DLOAD_EUSER) {
        r->outcome = HIST_ERROR;
        r->value.origin = (uint32_t)(DLOAD_EUSER - (int)st);
    } else if (st == DLOAD_MISSING) {
        r->outcome = HIST_MISSING;
    } else if (st == DLOAD_ETIMEDOUT) {
        r->outcome = HIST_TIMEOUT;
    } else if (st == DLOAD_EAGAIN) {
        r->outcome = HIST_FULL;
    } else if (st == DLOAD_EDEADLK) {
        r->outcome = HIST_CIRCLE;
    } else {
        call_must(false, "load", st);
        return;
    }
    (void)hist_add(&me->log, HIST_READS, r);
}

static void note_span(enum hist_what what, uint32_t key, uint64_t start)
{
    struct hist_span span = {.start = start, .end = stamp(), .key = key};
    (void)hist_add(&me->log, what, &span);
}

static uint64_t some_span_ns(void)
{
    uint64_t most_ns = (200 * DLOAD_MICROSECOND) << rng_below(&me->rng, 7);
    return 200 * DLOAD_MICROSECOND + rng_below(&me->rng, most_ns);
}

/* Options of a call for this key; in a queue that is full, most calls have to go. */
static dload_call call_for(struct hist_read *r)
{
    r->may_fail = w.phase->max_queue != 0 && (!w.phase->waits || r->nested);
    return (dload_call){.deadline_ns = r->deadline,
                        .flags = r->fresh ? DLOAD_FRESH : 0,
                        .group = r->key % HISTORY_GROUPS};
}

static void load(bool ends, bool fresh)
{
    uint32_t key = some_key();
    uint64_t span_ns = ends || w.phase->hold_ns != 0 ? some_span_ns() : 0;
    struct hist_read r = {.key = key, .fresh = fresh, .start = stamp()};
    struct hist_value out;
    dload_status st;
    me->n_keys_asked++;
    r.deadline = span_ns != 0 ? r.start + span_ns : 0;
    dload_call call = call_for(&r);
    if (HISTORY_GROUPS == 1 && span_ns == 0 && !fresh) {
        st = hl_load(&w.l, key_of(key), &out);
    } else {
        st = hl_load_with(&w.l, key_of(key), &call, &out);
    }
    r.end = stamp();
    if (fresh) {
        note_span(HIST_FRESH, key, r.start);
    }
    note_read(&r, st, &out);
}

/* From inside the fetch function: with a deadline, because two of them may wait for each other. */
static void load_nested(void)
{
    uint32_t key = some_key();
    struct hist_value out;
    struct hist_read r = {.key = key, .nested = true, .start = stamp()};
    r.deadline = r.start + 5 * DLOAD_MILLISECOND;
    dload_call call = call_for(&r);
    me->n_keys_asked++;
    dload_status st = hl_load_with(&w.l, key_of(key), &call, &out);
    r.end = stamp();
    note_read(&r, st, &out);
}

static void load_some(void)
{
    uint64_t keys[24];
    uint32_t numbers[24];
    struct hist_value out[24];
    dload_status statuses[24];
    size_t n = 2 + (size_t)rng_below(&me->rng, COUNT(keys) - 1);
    for (size_t i = 0; i < n; i++) {
        bool again = i > 0 && chance(1, 6);
        numbers[i] = again ? numbers[rng_below(&me->rng, i)] : some_key();
        numbers[i] = numbers[i] / HISTORY_GROUPS * HISTORY_GROUPS + numbers[0] % HISTORY_GROUPS;
        keys[i] = key_of(numbers[i]);
    }
    struct hist_read r = {.key = numbers[0], .start = stamp()};
    r.deadline = w.phase->hold_ns != 0 || chance(1, 4) ? r.start + some_span_ns() : 0;
    dload_call call = call_for(&r);
    dload_status st = hl_load_many_with(&w.l, keys, n, &call, out, statuses);
    r.end = stamp();
    call_must(st == DLOAD_OK || st == DLOAD_ETIMEDOUT || st == DLOAD_EAGAIN, "load_many", st);
    me->n_keys_asked += n;
    for (size_t i = 0; i < n; i++) {
        struct hist_read one = r;
        one.key = numbers[i];
        note_read(&one, statuses[i], &out[i]);
    }
}

/* What differs with groups. */
static dload_status peek_at(uint32_t key, dload_state *state, struct hist_value *out)
{
#if HISTORY_GROUPS > 1
    return hl_peek_in(&w.l, key_of(key), key % HISTORY_GROUPS, state, out);
#else
    return hl_peek(&w.l, key, state, out);
#endif
}

static void peek(uint32_t key)
{
    struct hist_read r = {.key = key, .start = stamp()};
    struct hist_value out;
    dload_state state = DLOAD_STATE_ABSENT;
    dload_status st = peek_at(key, &state, &out);
    r.end = stamp();
    call_must(state != DLOAD_STATE_ERROR && state != DLOAD_STATE_STALE &&
                  st == (state == DLOAD_STATE_READY ? DLOAD_OK : DLOAD_MISSING),
              "peek", st);
    if (st == DLOAD_OK) {
        note_read(&r, st, &out);
    }
}

/* ---- requests ---- */

static void clear(uint32_t key);

/* Runs in whichever thread the answer came, and may call the loader as everybody. */
static void called_back(hl_waiter *waiter)
{
    struct asked *a = waiter->ctx;
    a->end = stamp();
    a->status = waiter->status;
    a->value = waiter->value;
    if (chance(1, 8)) {
        peek(some_key());
    } else if (chance(1, 16)) {
        clear(some_key());
    }
    __atomic_add_fetch(&a->n_called, 1, __ATOMIC_RELEASE);
}

static void start_one(void)
{
    struct asked *a = &me->asked[me->n_asked];
    memset(a, 0, sizeof *a);
    a->key = some_key();
    a->fresh = chance(1, 20);
    a->w.done = called_back;
    a->w.ctx = a;
    a->start = stamp();
    struct hist_read r = {.key = a->key, .start = a->start, .fresh = a->fresh};
    dload_call call = call_for(&r);
    r.may_fail = w.phase->max_queue != 0; /* a request waits for nothing */
    me->n_keys_asked++;
    dload_status st = hl_start_with(&w.l, key_of(a->key), &call, &a->w);
    if (r.fresh) {
        note_span(HIST_FRESH, r.key, r.start);
    }
    if (st == DLOAD_PENDING) {
        me->n_asked++;
        return;
    }
    r.end = stamp();
    note_read(&r, st, &a->w.value);
}

static void cancel_one(struct asked *a)
{
    if (a->cancelled) {
        return;
    }
    dload_status st = hl_cancel(&w.l, &a->w);
    call_must(st == DLOAD_OK || st == DLOAD_EBUSY, "cancel", st);
    a->cancelled = st == DLOAD_OK;
    me->n_cancelled += a->cancelled;
}

static void start_some(void)
{
    size_t n = 1 + (size_t)rng_below(&me->rng, 4), before = me->n_asked;
    for (size_t i = 0; i < n && me->n_asked < MAX_REQUESTS; i++) {
        start_one();
    }
    pause_some();
    for (size_t i = before; i < me->n_asked; i++) {
        if (chance(1, 3)) {
            cancel_one(&me->asked[i]);
        }
    }
    if (chance(1, 2)) {
        (void)hl_dispatch(&w.l, NULL);
    }
    if (me->n_asked != 0 && chance(1, 8)) {
        cancel_one(&me->asked[rng_below(&me->rng, me->n_asked)]);
    }
}

/* Every request is through, or will never be. */
static void end_requests(uint64_t patience_ns)
{
    uint64_t until_ns = stamp() + patience_ns;
    for (size_t i = 0; i < me->n_asked; i++) {
        struct asked *a = &me->asked[i];
        while (!a->cancelled && __atomic_load_n(&a->n_called, __ATOMIC_ACQUIRE) == 0 &&
               stamp() < until_ns) {
            (void)hl_dispatch(&w.l, NULL);
            if (__atomic_load_n(&a->n_called, __ATOMIC_ACQUIRE) == 0) {
                nap_us(200);
            }
        }
    }
}

/* Once nobody calls back any more. */
static void note_requests(void)
{
    for (size_t i = 0; i < me->n_asked; i++) {
        const struct asked *a = &me->asked[i];
        struct hist_request q = {.start = a->start, .key = a->key, .cancelled = a->cancelled};
        q.n_called = __atomic_load_n(&a->n_called, __ATOMIC_ACQUIRE);
        (void)hist_add(&me->log, HIST_REQUESTS, &q);
        if (q.n_called != 0) {
            struct hist_read r = {
                .key = a->key, .start = a->start, .end = a->end, .fresh = a->fresh};
            note_read(&r, a->status, &a->value);
        }
    }
    me->n_asked = 0;
}

/* ---- writes ---- */

static uint32_t write_one(uint32_t key)
{
    struct hist_write wr = {.key = key, .start = stamp()};
    wr.version = __atomic_add_fetch(&w.source[key], 1, __ATOMIC_ACQ_REL);
    wr.end = stamp();
    (void)hist_add(&me->log, HIST_WRITES, &wr);
    return wr.version;
}

static void clear(uint32_t key)
{
    uint64_t start = stamp();
#if HISTORY_GROUPS > 1
    dload_status st = hl_clear_in(&w.l, key_of(key), key % HISTORY_GROUPS);
#else
    dload_status st = hl_clear(&w.l, key);
#endif
    note_span(HIST_CLEARS, key, start);
    call_must(st == DLOAD_OK, "clear", st);
}

static void write_and_clear(void)
{
    uint32_t key = some_key();
    (void)write_one(key);
    clear(key);
}

/* Keys of group 0: the call has no other. */
static void write_and_clear_many(void)
{
    uint64_t keys[6];
    uint32_t numbers[6];
    size_t n = 1 + (size_t)rng_below(&me->rng, COUNT(keys));
    for (size_t i = 0; i < n; i++) {
        numbers[i] = some_key_beside(0);
        keys[i] = key_of(numbers[i]);
        (void)write_one(numbers[i]);
    }
    uint64_t start = stamp();
    dload_status st = hl_clear_many(&w.l, keys, n);
    uint64_t end = stamp();
    call_must(st == DLOAD_OK, "clear_many", st);
    for (size_t i = 0; i < n; i++) {
        struct hist_span span = {.start = start, .end = end, .key = numbers[i]};
        (void)hist_add(&me->log, HIST_CLEARS, &span);
    }
}

#if HISTORY_GROUPS > 1
static void write_and_clear_group(void)
{
    uint32_t key = some_key();
    for (size_t i = 0; i < 4; i++) {
        (void)write_one(some_key_beside(key));
    }
    uint64_t start = stamp();
    dload_status st = hl_clear_group(&w.l, key % HISTORY_GROUPS);
    note_span(HIST_CLEARS, HIST_GROUP(key % HISTORY_GROUPS), start);
    call_must(st == DLOAD_OK, "clear_group", st);
}
#endif

static void write_and_clear_all(void)
{
    for (size_t i = 0; i < 8; i++) {
        (void)write_one(some_key());
    }
    uint64_t start = stamp();
    dload_status st = hl_clear_all(&w.l);
    note_span(HIST_CLEARS, HIST_ALL, start);
    call_must(st == DLOAD_OK, "clear_all", st);
}

/* With caching off both of these do nothing. */
static void note_bring(struct hist_bring *b, dload_status st)
{
    b->outcome = st == DLOAD_ECANCELED ? HIST_REFUSED : HIST_VALUE;
    call_must(st == DLOAD_OK || (st == DLOAD_ECANCELED && b->kind == HIST_PUT_IF), "prime", st);
    if (w.cfg.capacity != DLOAD_NO_CACHE) {
        (void)hist_add(&me->log, HIST_BRINGS, b);
    }
}

/* A writer that brings the new value along, or a reader that happens to know one. */
static void prime(bool overwrite)
{
    struct hist_bring b = {
        .key = some_key(), .origin = next_origin(), .kind = HIST_PRIMED, .replaces = overwrite};
    uint32_t version = overwrite ? write_one(b.key) : version_of(b.key);
    struct hist_value v = hist_value_of(b.key, version, HIST_PRIMED, b.origin, 0);
    b.start = stamp();
    uint32_t flags = overwrite ? DLOAD_OVERWRITE : 0;
#if HISTORY_GROUPS > 1
    dload_status st = hl_prime_in(&w.l, key_of(b.key), b.key % HISTORY_GROUPS, &v, flags);
#else
    dload_status st = hl_prime(&w.l, b.key, &v, flags);
#endif
    b.end = stamp();
    note_bring(&b, st);
}

/* Reads the source by itself, and keeps what it read unless it was cleared meanwhile. */
static void put_if(void)
{
    struct hist_bring b = {
        .key = some_key(), .origin = next_origin(), .kind = HIST_PUT_IF, .replaces = true};
    b.token_start = stamp();
    dload_token token = hl_token(&w.l);
    b.token_end = stamp();
    struct hist_value v =
        hist_value_of(b.key, version_of(b.key), HIST_PUT_IF, b.origin, b.token_end);
    pause_some();
    b.start = stamp();
#if HISTORY_GROUPS > 1
    dload_status st = hl_put_if_in(&w.l, key_of(b.key), b.key % HISTORY_GROUPS, &v, token);
#else
    dload_status st = hl_put_if(&w.l, b.key, &v, token);
#endif
    b.end = stamp();
    note_bring(&b, st);
}

/* ---- one operation ---- */

static void look_at_stats(void)
{
    dload_stats st;
    dload_status got = hl_stats(&w.l, &st);
    call_must(got == DLOAD_OK, "stats", got);
    bool bounded = w.cfg.capacity < DLOAD_NO_CACHE;
    call_must(!bounded || st.entries <= w.cfg.capacity, "stats: more entries than capacity", got);
}

static void operate(void)
{
    uint64_t what = rng_below(&me->rng, 2000);
    dload_status st = DLOAD_OK;
    if (what < 1200) {
        load(false, false);
    } else if (what < 1280) {
        load(true, false);
    } else if (what < 1300) {
        load(false, true);
    } else if (what < 1400) {
        load_some();
    } else if (what < 1520) {
        start_some();
    } else if (what < 1640) {
        write_and_clear();
    } else if (what < 1660) {
        write_and_clear_many();
    } else if (what < 1661) {
        write_and_clear_all();
#if HISTORY_GROUPS > 1
    } else if (what < 1664) {
        write_and_clear_group();
#endif
    } else if (what < 1680) {
        clear(some_key());
    } else if (what < 1700) {
        prime(true);
    } else if (what < 1720) {
        prime(false);
    } else if (what < 1820) {
        put_if();
    } else if (what < 1960) {
        peek(some_key());
    } else if (what < 1980) {
        st = hl_dispatch(&w.l, NULL);
    } else if (what < 1992) {
        st = hl_process(&w.l, stamp());
    } else if (what < 1996) {
        st = hl_expect(&w.l, 1 + (size_t)rng_below(&me->rng, 6)); /* they may never come */
    } else {
        look_at_stats();
    }
    call_must(st == DLOAD_OK, "dispatch, process or expect", st);
}

#endif /* DLOAD_TESTS_HISTORY_OPS_H */
