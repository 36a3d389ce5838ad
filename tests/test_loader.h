/* The loader most tests use, uint64_t to uint64_t, and a fetch function that can be told what to
 * do and remembers what it was asked: "B(1,2) B(3)".
 *
 * A program that wants other parameters defines them before it includes this file.
 */
#ifndef DLOAD_TESTS_LOADER_H
#define DLOAD_TESTS_LOADER_H

#ifdef TEST_LOCK
#define DLOAD_LOCK TEST_LOCK
#endif
#ifdef TEST_SOLO /* nothing waits: for suites that run with and without */
#define DLOAD_ASYNC 0
#endif
#define DLOAD_NAME  tl
#define DLOAD_KEY   uint64_t
#define DLOAD_VALUE uint64_t
#include "dataloader.h"
#include "support.h"

#include <inttypes.h>
#include <string.h>

/* ---- the fetch function ---- */

enum answer_kind {
    ANSWER_VALUE,  /* with value */
    ANSWER_FAIL,   /* with status */
    ANSWER_NOTHING /* leaves the key without an answer */
};

struct answer {
    uint64_t key;
    enum answer_kind kind;
    uint64_t value;
    dload_status status;
};

struct recorder {
    struct text calls;         /* "B(1,2) B(3)", one B a call */
    struct answer answers[16]; /* for keys that are not answered by key * 10 + version */
    size_t n_answers;
    uint64_t version;  /* added to every value, to tell a second fetch from a first */
    uint64_t extra[8]; /* keys put beside those asked for */
    size_t n_extra;
    dload_status result; /* what each call returns */
    bool backwards;      /* answers the last key first */
    size_t n_calls;
    size_t n_keys;
    size_t depth, deepest; /* of nested calls */
    /* Runs in the call, before the answers; takes itself out when it shall run once. */
    void (*act)(struct recorder *r, tl_batch *b);
    void *act_ctx;
    tl_batch *pending[64]; /* calls that returned DLOAD_PENDING, oldest first */
    size_t n_pending;
};

static inline const struct answer *rec_answer(const struct recorder *r, uint64_t key)
{
    for (size_t i = 0; i < r->n_answers; i++) {
        if (r->answers[i].key == key) {
            return &r->answers[i];
        }
    }
    return NULL;
}

static inline void rec_script(struct recorder *r, uint64_t key, enum answer_kind kind,
                              uint64_t value, dload_status status)
{
    assert_true(r->n_answers < COUNT(r->answers));
    r->answers[r->n_answers++] = (struct answer){key, kind, value, status};
}

static inline uint64_t rec_value(const struct recorder *r, uint64_t key)
{
    return key * 10 + r->version;
}

/* Answers key i of b as the script says. */
static inline void rec_give(struct recorder *r, tl_batch *b, size_t i)
{
    const struct answer *a = rec_answer(r, b->keys[i]);
    uint64_t value = a ? a->value : rec_value(r, b->keys[i]);
    if (!a || a->kind == ANSWER_VALUE) {
        must_ok(tl_batch_set(b, i, &value));
    } else if (a->kind == ANSWER_FAIL) {
        must_ok(tl_batch_fail(b, i, a->status));
    }
}

static inline void rec_give_all(struct recorder *r, tl_batch *b)
{
    for (size_t i = 0; i < b->n; i++) {
        rec_give(r, b, r->backwards ? b->n - 1 - i : i);
    }
    for (size_t i = 0; i < r->n_extra; i++) {
        uint64_t value = rec_value(r, r->extra[i]);
        must_ok(tl_batch_put(b, r->extra[i], &value));
    }
}

static inline dload_status rec_fetch(tl_batch *b)
{
    struct recorder *r = b->ctx;
    TEST_OUTSIDE("is not held in a fetch function");
    r->n_calls++;
    r->n_keys += b->n;
    if (++r->depth > r->deepest) {
        r->deepest = r->depth;
    }
    text_add(&r->calls, "%sB(", r->calls.len ? " " : "");
    for (size_t i = 0; i < b->n; i++) {
        text_add(&r->calls, "%s%" PRIu64, i ? "," : "", b->keys[i]);
    }
    text_add(&r->calls, ")");
    if (r->act) {
        r->act(r, b);
    }
    if (r->result == DLOAD_PENDING) {
        assert_true(r->n_pending < COUNT(r->pending));
        r->pending[r->n_pending++] = b;
    } else {
        rec_give_all(r, b);
    }
    r->depth--;
    return r->result;
}

/* Takes the i-th pending batch out of the list. */
static inline tl_batch *rec_take(struct recorder *r, size_t i)
{
    assert_true(i < r->n_pending);
    tl_batch *b = r->pending[i];
    r->n_pending--;
    memmove(&r->pending[i], &r->pending[i + 1], (r->n_pending - i) * sizeof r->pending[0]);
    return b;
}

/* Answers and ends the oldest pending batch. */
static inline void rec_finish(struct recorder *r)
{
    tl_batch *b = rec_take(r, 0);
    rec_give_all(r, b);
#ifndef TEST_SOLO
    must_ok(tl_batch_done(b, DLOAD_OK));
#endif
}

/* ---- one loader, its environment and its recorder ---- */

struct fixture {
    struct fake_env f;
    struct recorder r;
    tl_config cfg;
    tl l;
    bool open;
};

static struct fixture fixture;

static inline int fixture_setup(void **state)
{
    memset(&fixture, 0, sizeof fixture);
    fake_env_init(&fixture.f);
    fixture.cfg = tl_config_default();
    fixture.cfg.fetch = rec_fetch;
    fixture.cfg.ctx = &fixture.r;
    fixture.cfg.env = &fixture.f.env;
#ifdef TEST_STORE
    fixture.cfg.store = TEST_STORE; /* a program's second level, for every case */
#endif
    *state = &fixture;
    return 0;
}

/* Makes the loader from x->cfg as the test has changed it. */
static inline void fixture_open(struct fixture *x)
{
    must_ok(tl_init(&x->l, &x->cfg));
    x->open = true;
}

static inline void fixture_close(struct fixture *x)
{
    while (x->r.n_pending) {
        rec_finish(&x->r);
    }
    must_ok(tl_close(&x->l, DLOAD_FAIL, 0));
    must_ok(tl_destroy(&x->l));
    x->open = false;
}

static inline int fixture_teardown(void **state)
{
    struct fixture *x = *state;
    if (x->open) {
        fixture_close(x);
    }
    fake_env_check(&x->f);
    return 0;
}

/* A row of a table of rules. */
#define RULE(text, fn)                                  \
    {                                                   \
        text, fn, fixture_setup, fixture_teardown, NULL \
    }

/* ---- requests that do not block ---- */

struct request {
    tl_waiter w;
    size_t n_done;
    struct text *log;                  /* "1=10" is added when it is done; NULL = nothing */
    void (*then)(struct request *req); /* runs in the callback */
    void *ctx;
    uint64_t key;
};

static inline void request_done(tl_waiter *w)
{
    struct request *req = w->ctx;
    TEST_OUTSIDE("is not held in a callback");
    req->n_done++;
    if (req->log) {
        text_add(req->log, "%s%" PRIu64 "=", req->log->len ? " " : "", req->key);
        if (w->status >= 0) {
            text_add(req->log, "%" PRIu64, w->value);
        } else {
            text_add(req->log, "%s", dload_status_name(w->status));
        }
    }
    if (req->then) {
        req->then(req);
    }
}

static inline dload_status request_start(struct fixture *x, struct request *req, uint64_t key)
{
    req->key = key;
    memset(&req->w, 0, sizeof req->w);
    req->w.done = request_done;
    req->w.ctx = req;
    return tl_start(&x->l, key, &req->w);
}

/* Starts requests for n keys, which must all have to wait. */
static inline void request_start_all(struct fixture *x, struct request *reqs, const uint64_t *keys,
                                     size_t n)
{
    for (size_t i = 0; i < n; i++) {
        must(request_start(x, &reqs[i], keys[i]), DLOAD_PENDING);
    }
}

/* The request was answered once, with this value. */
static inline void request_must(const struct request *req, uint64_t value)
{
    equal(req->n_done, 1);
    must(req->w.status, DLOAD_OK);
    equal(req->w.value, value);
}

static inline void request_must_fail(const struct request *req, dload_status status)
{
    equal(req->n_done, 1);
    must(req->w.status, status);
}

static inline size_t dispatch(struct fixture *x)
{
    size_t n = 12345;
    must_ok(tl_dispatch(&x->l, &n));
    return n;
}

/* A blocking load that must give this value. */
static inline void load_must(struct fixture *x, uint64_t key, uint64_t want)
{
    uint64_t got = 0;
    must_ok(tl_load(&x->l, key, &got));
    equal(got, want);
}

static inline dload_stats stats_of(struct fixture *x)
{
    dload_stats s;
    must_ok(tl_stats(&x->l, &s));
    return s;
}

#endif /* DLOAD_TESTS_LOADER_H */
