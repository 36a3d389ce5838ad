/* The five ways in which callers run, behind one face: the cases in cases_*.h say what callers ask
 * for and what must come of it, the driver says what a caller is.
 *
 *     NONE     a request that does not block (_start); what blocks is called from the test itself
 *     PTHREAD  a thread that sleeps in a blocking call
 *     SPIN     the same under the other lock
 *     loop     a request; batches go and answers come in turns that config.wake asks for
 *     fiber    a task that is parked in a blocking call; the test itself is one, too
 *
 * A program includes one driver_*.h, and is that driver. Each of them defines the functions
 * declared here. The clock stands still but for pass_to, under every driver.
 */
#ifndef DLOAD_TESTS_DRIVER_H
#define DLOAD_TESTS_DRIVER_H

#include "test_loader.h"

#include <pthread.h>
#include <stdlib.h>

enum {
    ON_NONE = 1,
    ON_PTHREAD = 2,
    ON_SPIN = 4,
    ON_LOOP = 8,
    ON_FIBER = 16,
    ON_THREADS = ON_PTHREAD | ON_SPIN,
    ON_ALL = 31,
    N_DRIVERS = 5,
    N_RULES = 63
};

static const char *const driver_names[N_DRIVERS] = {"NONE", "PTHREAD", "SPIN", "loop", "fiber"};

/* A row of the table. */
struct test_case {
    uint8_t rule;
    uint8_t drivers; /* ON_* */
    const char *title;
    const char *says; /* given, when, then */
    const char *why;  /* ... a driver is left out; NULL = none is */
    void (*body)(struct fixture *x);
};

#define CASE(rule, drivers, title, says, why, body) \
    {                                               \
        rule, drivers, title, says, why, body       \
    }

/* ---- callers ---- */

enum { N_CALLERS = 32, N_CALLER_KEYS = 32 };

/* One load or load_many, under way or over. */
struct caller {
    struct fixture *x;
    bool asked; /* and not collected */
    size_t n;
    uint64_t keys[N_CALLER_KEYS], out[N_CALLER_KEYS];
    dload_status st[N_CALLER_KEYS];
    dload_status result; /* of the call */
    dload_call call;
    uint32_t ended;                  /* atomic */
    struct request q[N_CALLER_KEYS]; /* where a caller is requests */
    pthread_t thread;                /* where it is a thread */
};

static struct caller callers[N_CALLERS];

/* Somebody who loads one key after another, each once the one before is there, and does not wait
 * for the test. */
struct walker {
    bool (*next)(struct walker *k); /* names the next key; false = there is none */
    void *ctx;
    size_t i;  /* its number */
    size_t at; /* how many keys it had */
    tl *l;     /* where and what to load next */
    uint64_t key;
    uint64_t value; /* of the last one */
    dload_status status;
    size_t n_bad;   /* for next to count what is wrong */
    uint32_t ended; /* atomic */
    tl_waiter w;
};

/* ---- what a driver does ---- */

/* Before the case changes x->cfg, and after it has run. */
static inline void driver_begin(struct fixture *x);
static inline void driver_end(struct fixture *x);

/* Runs the case as what may call the functions below. */
static inline void driver_run(void (*body)(struct fixture *x), struct fixture *x);

/* Makes x->l from x->cfg. With a settle time, callers wait for company from the first batch on:
 * they are not lone ones, which would not wait. */
static inline void open_loader(struct fixture *x);

/* Caller i loads keys (several: load_many) and does not come back yet. When this returns its keys
 * are queued, have joined others or are answered. Nothing goes yet, unless it is full, expected,
 * or the settle time is over. */
static inline void ask_with(struct fixture *x, size_t i, const uint64_t *keys, size_t n,
                            const dload_call *call);

/* Lets what is queued go as it would by itself under this driver; with a settle time in threads:
 * by _dispatch. */
static inline void let_go(struct fixture *x);

/* Lets go what is due at this moment. Fibers: everything is, once all of them wait. */
static inline void tick(struct fixture *x);

/* Moves the clock, and lets go what is due then. Callers leave whose deadline has passed. */
static inline void pass_to(struct fixture *x, uint64_t now_ns);

/* Lets whoever sleeps look at the clock, so that one who goes too early is seen. */
static inline void give_time(struct fixture *x);

/* Has caller i come back? */
static inline bool has_ended(struct fixture *x, size_t i);

/* Waits until it has; must be called before i is used again. */
static inline void collect(struct fixture *x, size_t i);

/* What a caller gets that leaves at its deadline. Where nobody sleeps it withdraws its request. */
static inline dload_status leaving_status(void);

/* Loads from here and now, blocking. In a loop: _start, and turns until the answers are there. */
static inline dload_status load_with(struct fixture *x, uint64_t key, const dload_call *call,
                                     uint64_t *out);
static inline dload_status load_many_with(struct fixture *x, const uint64_t *keys, size_t n,
                                          const dload_call *call, uint64_t *out, dload_status *st);

/* While the test blocks next, somebody calls fn once n_out batches are out. */
static inline void meanwhile(struct fixture *x, size_t n_out, void (*fn)(struct fixture *x));

/* _close, again and again where it cannot wait. */
static inline dload_status close_loader(struct fixture *x, dload_close_mode mode,
                                        uint64_t deadline_ns);

/* n callers of their own run fn(x, i): at the same time where they can, else one after another. */
static inline void each_caller(struct fixture *x, size_t n,
                               void (*fn)(struct fixture *x, size_t i));

/* Lets n walkers walk to their ends. */
static inline void walk(struct fixture *x, struct walker *walkers, size_t n);

/* The same as one crew: what they ask for goes when all of them wait (dload_registry_join). */
static inline void walk_as_crew(struct fixture *x, struct walker *walkers, size_t n);

/* For further loaders: what belongs into their configurations. */
static inline const dload_env *driver_env(struct fixture *x);
static inline dload_registry *driver_registry(void);

/* Keys and requests in the counters that are the driver's own; see stats_now. */
static inline dload_stats driver_stats(struct fixture *x);

/* Keys that the driver itself keeps in the queue while callers are asked. */
static inline size_t driver_keys(void);

/* How many callers are many: 1,000, or as many as a sanitizer has memory for. */
static inline size_t driver_crowd(void);

/* The driver: ON_*. */
static inline unsigned driver_bit(void);

/* ---- the clock ---- */

static inline uint64_t clock_now(void *ctx)
{
    struct fake_env *f = ctx;
    return __atomic_load_n(&f->now_ns, __ATOMIC_ACQUIRE);
}

static inline void clock_set(struct fixture *x, uint64_t now_ns)
{
    if (now_ns > clock_now(&x->f)) {
        __atomic_store_n(&x->f.now_ns, now_ns, __ATOMIC_RELEASE);
    }
}

/* ---- the fetch function: a recorder that several threads may call ---- */

static pthread_mutex_t record_mutex = PTHREAD_MUTEX_INITIALIZER;

static inline void record_call(struct recorder *r, const tl_batch *b, bool text)
{
    (void)pthread_mutex_lock(&record_mutex);
    r->n_calls++;
    r->n_keys += b->n;
    if (++r->depth > r->deepest) {
        r->deepest = r->depth;
    }
    if (text) {
        text_add(&r->calls, "%sB(", r->calls.len ? " " : "");
        for (size_t i = 0; i < b->n; i++) {
            text_add(&r->calls, "%s%" PRIu64, i ? "," : "", b->keys[i]);
        }
        text_add(&r->calls, ")");
    }
    (void)pthread_mutex_unlock(&record_mutex);
}

static inline dload_status record_answers(struct recorder *r, tl_batch *b)
{
    if (r->act) {
        r->act(r, b);
    }
    dload_status result = r->result;
    if (result != DLOAD_PENDING) {
        rec_give_all(r, b);
    }
    (void)pthread_mutex_lock(&record_mutex);
    r->depth--;
    if (result == DLOAD_PENDING) {
        assert_true(r->n_pending < COUNT(r->pending));
        r->pending[r->n_pending++] = b;
    }
    (void)pthread_mutex_unlock(&record_mutex);
    return result;
}

static inline dload_status fetch_recorded(tl_batch *b)
{
    record_call(b->ctx, b, true);
    return record_answers(b->ctx, b);
}

/* For cases with more keys than a text of calls takes. */
static inline dload_status fetch_counted(tl_batch *b)
{
    record_call(b->ctx, b, false);
    return record_answers(b->ctx, b);
}

static inline size_t n_pending(struct fixture *x)
{
    (void)pthread_mutex_lock(&record_mutex);
    size_t n = x->r.n_pending;
    (void)pthread_mutex_unlock(&record_mutex);
    return n;
}

/* Takes the i-th pending batch out of the record, oldest first. */
static inline tl_batch *take_pending(struct fixture *x, size_t i)
{
    (void)pthread_mutex_lock(&record_mutex);
    tl_batch *b = rec_take(&x->r, i);
    (void)pthread_mutex_unlock(&record_mutex);
    return b;
}

/* Answers and ends the oldest pending batch. */
static inline void finish(struct fixture *x)
{
    tl_batch *b = take_pending(x, 0);
    rec_give_all(&x->r, b);
    must_ok(tl_batch_done(b, DLOAD_OK));
}

static inline void finish_all(struct fixture *x)
{
    while (n_pending(x)) {
        finish(x);
    }
}

/* ---- further loaders ---- */

/* DRIVER_LOADER(T, K, V); after a loader of another type: T_bring_up, T_take_down, and T_get, which
 * is load_with for it. This one is for drivers under which the test may block. */
#define DRIVER_LOADER_BLOCKING(T, K, V)                                        \
    static inline void T##_bring_up(struct fixture *x, T *l, T##_config *cfg)  \
    {                                                                          \
        cfg->env = driver_env(x);                                              \
        cfg->registry = driver_registry();                                     \
        must_ok(T##_init(l, cfg));                                             \
    }                                                                          \
    static inline void T##_take_down(struct fixture *x, T *l)                  \
    {                                                                          \
        (void)x;                                                               \
        must_ok(T##_close(l, DLOAD_FAIL, 0));                                  \
        must_ok(T##_destroy(l));                                               \
    }                                                                          \
    static inline dload_status T##_get(struct fixture *x, T *l, K key, V *out) \
    {                                                                          \
        (void)x;                                                               \
        return T##_load(l, key, out);                                          \
    }                                                                          \
    struct T##_has_driver

/* ---- the frame of a case ---- */

static inline struct caller *caller_make(struct fixture *x, size_t i, const uint64_t *keys,
                                         size_t n, const dload_call *call)
{
    assert_true(i < N_CALLERS && n > 0 && n <= N_CALLER_KEYS);
    struct caller *c = &callers[i];
    assert_false(c->asked);
    memset(c, 0, sizeof *c);
    c->x = x;
    c->asked = true;
    c->n = n;
    memcpy(c->keys, keys, n * sizeof *keys);
    if (call) {
        c->call = *call;
    }
    return c;
}

/* A caller that blocks, from its first line to its last. */
static inline void caller_load(struct caller *c)
{
    tl *l = &c->x->l;
    if (c->n == 1) {
        c->result = tl_load_with(l, c->keys[0], &c->call, &c->out[0]);
        c->st[0] = c->result;
    } else {
        c->result = tl_load_many_with(l, c->keys, c->n, &c->call, c->out, c->st);
    }
    __atomic_store_n(&c->ended, 1, __ATOMIC_RELEASE);
}

static int driver_setup(void **state)
{
    void *unused = NULL;
    (void)state;
    (void)fixture_setup(&unused);
    memset(callers, 0, sizeof callers);
    struct fixture *x = &fixture;
    x->f.env.now = clock_now;
    x->cfg.fetch = fetch_recorded;
    x->cfg.timeout_ns = DLOAD_NEVER; /* the clock stands still: who waits for ever shall be seen */
    driver_begin(x);
    return 0;
}

static int driver_teardown(void **state)
{
    (void)state;
    struct fixture *x = &fixture;
    driver_end(x);
    fake_env_check(&x->f);
    return 0;
}

static void driver_case(void **state)
{
    const struct test_case *row = *state;
    driver_run(row->body, &fixture);
}

#endif /* DLOAD_TESTS_DRIVER_H */
