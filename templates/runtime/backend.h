/* >>backend -- the store interface: what a second level is asked, and how it is counted.
 *
 * A store keeps byte strings under byte strings: memory, SQLite, Redis, PostgreSQL, or two of them on
 * top of each other. It is known by one function, run, which is given a request for any number of keys;
 * a store that wraps another passes requests on without looking inside. Everybody goes through
 * dload_store_run: there requests are counted, observers told, and a store that keeps failing left alone for a
 * while (the circuit breaker). Nothing here knows a key's or a value's type.
 *
 * Included by whoever defines DLOAD_STORE 1, a loader or, without a DLOAD_NAME, a program that uses
 * stores alone.
 */
#include "env.h"

#if defined(DLOAD_STORE) && DLOAD_STORE && !defined(DLOAD_I_BACKEND_H)
#define DLOAD_I_BACKEND_H

#if DLOAD_I_ONE_THREAD || (DLOAD_FREESTANDING && !DLOAD_I_WIDE_ATOMICS)
#error \
    "dataloader.h: DLOAD_STORE needs atomic numbers of eight bytes, which tcc and small cores do not have"
#endif

/* What a request asks. */
typedef enum dload_store_kind {
    DLOAD_STORE_GET = 0,    /* items' values, by key */
    DLOAD_STORE_SET = 1,    /* stores values, each for its ttl_ns, whatever was there */
    DLOAD_STORE_DELETE = 2, /* removes keys, and revokes their leases */
    DLOAD_STORE_CLEAR =
        3, /* removes every key that begins with items[0].key, and leases likewise */
    DLOAD_STORE_LEASE = 4, /* GET; a key without a value is promised to whoever asks first */
    DLOAD_STORE_FILL = 5,  /* SET by who holds the lease; ends it */
    DLOAD_STORE_DROP = 6,  /* ends a lease without a value: the fetch failed */
    DLOAD_STORE_N_KINDS = 7
} dload_store_kind;

/* What a store can do: dload_store.flags. */
#define DLOAD_STORE_TTL    1u /* ends entries by itself when their ttl_ns passed */
#define DLOAD_STORE_BATCH  2u /* a request for many keys costs less than one for each */
#define DLOAD_STORE_ASYNC  4u /* run may return DLOAD_PENDING, when op->done is set */
#define DLOAD_STORE_LEASES 8u /* knows LEASE, FILL and DROP */

/* One key of a request. Bytes are the asker's until the request is done, but for values of GET and LEASE:
 * those are the store's until dload_store_release. */
typedef struct dload_store_item {
    const char *key; /* any bytes; not NULL */
    size_t key_bytes;
    const void
        *value; /* SET, FILL: in; GET, LEASE: out, while status is DLOAD_OK; NULL when empty */
    size_t value_bytes;
    /* SET, FILL: in, how long to keep it, > 0, DLOAD_NEVER = no end. LEASE: in, how long to hold the lease;
     * out with DLOAD_EBUSY, when to ask again at the latest. GET, LEASE: out with DLOAD_OK, what is left,
     * DLOAD_NEVER when it has no end or the store does not say. */
    uint64_t ttl_ns;
    /* LEASE, FILL, DROP: in, 128 bits that nobody else uses. Who asks again by the same ones, because an answer
     * was lost or a key comes twice in a request, has the lease still. */
    uint64_t lease[2];
    /* GET: OK or MISSING. LEASE: OK, a value; MISSING, the lease is the asker's; EBUSY, it is another's.
     * SET: OK. FILL: OK, or ELOCK: the lease was lost and nothing is stored. DELETE, CLEAR, DROP: OK, were
     * there anything or not. Any: ETOOBIG, EBACKEND, EDECODE, ENOMEM, ETIMEDOUT for this key alone. */
    dload_status status;
} dload_store_item;

struct dload_store;

/* A request. Zero it, fill in the first block; nobody but the store touches it from run to done. */
typedef struct dload_store_op {
    dload_store_kind kind;
    dload_store_item *items; /* the asker's */
    size_t n;
    uint64_t timeout_ns; /* the longest that run may take; 0 = the store's own default */
    /* Called once, from any thread and with no lock of the store's held, when run returned DLOAD_PENDING; the
     * request is the asker's again. NULL = run blocks until it is through. */
    void (*done)(struct dload_store_op *op, dload_status status);
    void *ctx; /* the asker's */

    void *
        results; /* the store's: what the values of GET and LEASE lie in; NULL = nothing to release */
    /* private: dload_store_run's */
    struct dload_store *store;
    void (*then)(struct dload_store_op *op, dload_status status);
    uint64_t started_ns;
    void *inner; /* a wrapping store's */
} dload_store_op;

/* Observers of one store, each NULL or called with no lock held, from the thread that caused it. */
typedef struct dload_store_hooks {
    void (*op)(void *ctx, const char *store, dload_store_kind kind, size_t n_keys,
               dload_status status, uint64_t took_ns);
    /* A sentence for a log: connected, lost, gave up, damaged. Holds no secret and no value. */
    void (*log)(void *ctx, const char *store, const char *text);
    void *ctx;
} dload_store_hooks;

/* Counters since a store was made. */
typedef struct dload_store_stats {
    uint64_t ops[DLOAD_STORE_N_KINDS];  /* requests */
    uint64_t keys[DLOAD_STORE_N_KINDS]; /* keys in them */
    uint64_t hits;                      /* keys that GET or LEASE found */
    uint64_t misses;                    /* ... did not find */
    uint64_t errors;                    /* requests that failed as a whole */
    uint64_t key_errors;                /* keys that failed by themselves */
    uint64_t refused;     /* requests refused at once, because the store kept failing */
    uint64_t leases_lost; /* FILLs that came too late */
    uint64_t run_ns;      /* time in requests */
} dload_store_stats;

/* A store, as its users see it: the first member of whatever an adapter makes. Fields up to hooks are
 * set by the adapter's _init, hooks by the user before the first request; the rest is private. */
typedef struct dload_store {
    const char *name;     /* "sqlite", for logs and metrics */
    uint32_t flags;       /* DLOAD_STORE_TTL ... */
    const dload_env *env; /* clock and memory; not NULL */
    /* DLOAD_OK: through, and each item has its status. DLOAD_PENDING: op->done will be called. Anything
     * else: nothing is known of any item (what SET and DELETE did so far stays). May be called from any
     * thread, by several at a time. A kind that a store does not know is DLOAD_EINVAL. */
    dload_status (*run)(struct dload_store *s, dload_store_op *op);
    /* Frees op->results, which is not NULL; the items need not be there any more. */
    void (*release)(struct dload_store *s, dload_store_op *op);
    const dload_store_hooks *hooks; /* must outlive the store; NULL = none */
    /* The breaker: after so many failures in a row requests are refused for a while, which doubles up to
     * break_max_ns as long as the first one let through fails too. 0 = 5, 100 ms, 5 s. */
    uint32_t break_after;
    uint64_t break_ns, break_max_ns;
    uint32_t n_failed; /* in a row */
    uint64_t closed_until_ns;
    uint64_t closed_for_ns;
    dload_store_stats stats;
} dload_store;

/* ---- requests ---- */

/* Does this status say that the store is not well? What one key or one caller did wrong does not, nor does a
 * queue that is full for now: it says so at once, and what it is full of will tell. */
DLOAD_I_LOCAL bool dload_i_store_ill(dload_status st)
{
    return st < 0 && st != DLOAD_EINVAL && st != DLOAD_ETOOBIG && st != DLOAD_ENOMEM &&
           st != DLOAD_EAGAIN && st != DLOAD_ECANCELED && st != DLOAD_ECLOSED && st != DLOAD_EFORK;
}

/* May a request go? While the store is left alone only the first one after each pause may. */
DLOAD_I_LOCAL bool dload_i_store_open(dload_store *s, uint64_t now_ns)
{
    uint64_t until_ns = DLOAD_I_LOAD_RELAXED(&s->closed_until_ns);
    if (until_ns == 0)
        return true;
    if (now_ns < until_ns)
        return false;
    uint64_t next_ns = dload_i_add_ns(now_ns, DLOAD_I_LOAD_RELAXED(&s->closed_for_ns));
    return __atomic_compare_exchange_n(&s->closed_until_ns, &until_ns, next_ns, false,
                                       __ATOMIC_RELAXED, __ATOMIC_RELAXED);
}

/* What a request's end says about the store's health. */
DLOAD_I_LOCAL void dload_i_store_health(dload_store *s, dload_status st, uint64_t now_ns)
{
    if (!dload_i_store_ill(st)) {
        if (DLOAD_I_LOAD_RELAXED(&s->n_failed) != 0)
            DLOAD_I_STORE_RELAXED(&s->n_failed, 0u);
        if (DLOAD_I_LOAD_RELAXED(&s->closed_until_ns) != 0)
            DLOAD_I_STORE_RELAXED(&s->closed_until_ns, (uint64_t)0);
        return;
    }
    const uint32_t after = s->break_after != 0 ? s->break_after : 5u;
    uint32_t n_failed = __atomic_add_fetch(&s->n_failed, 1u, __ATOMIC_RELAXED);
    if (n_failed < after)
        return;
    const uint64_t first_ns = s->break_ns != 0 ? s->break_ns : 100 * DLOAD_MILLISECOND;
    const uint64_t most_ns = s->break_max_ns != 0 ? s->break_max_ns : 5 * DLOAD_SECOND;
    uint64_t for_ns = n_failed == after ? first_ns : DLOAD_I_LOAD_RELAXED(&s->closed_for_ns) * 2;
    for_ns = for_ns < most_ns ? for_ns : most_ns;
    DLOAD_I_STORE_RELAXED(&s->closed_for_ns, for_ns);
    DLOAD_I_STORE_RELAXED(&s->closed_until_ns, dload_i_add_ns(now_ns, for_ns));
}

DLOAD_I_INLINE void dload_i_store_add(uint64_t *counter, uint64_t n)
{
    if (n != 0)
        (void)__atomic_add_fetch(counter, n, __ATOMIC_RELAXED);
}

/* Counts what a request brought, and tells who watches. */
DLOAD_I_LOCAL void dload_i_store_count(dload_store *s, const dload_store_op *op, dload_status st)
{
    const uint64_t now_ns = dload_i_now(s->env);
    const bool asks = op->kind == DLOAD_STORE_GET || op->kind == DLOAD_STORE_LEASE;
    uint64_t hits = 0, misses = 0, failed = 0, lost = 0;
    for (size_t i = 0; i < op->n && st >= 0; i++) {
        dload_status one = op->items[i].status;
        hits += asks && one == DLOAD_OK;
        misses += asks && (one == DLOAD_MISSING || one == DLOAD_EBUSY);
        lost += op->kind == DLOAD_STORE_FILL && one == DLOAD_ELOCK;
        failed += one < 0 && one != DLOAD_MISSING && one != DLOAD_EBUSY && one != DLOAD_ELOCK;
    }
    dload_i_store_add(&s->stats.ops[op->kind], 1);
    dload_i_store_add(&s->stats.keys[op->kind], op->n);
    dload_i_store_add(&s->stats.hits, hits);
    dload_i_store_add(&s->stats.misses, misses);
    dload_i_store_add(&s->stats.key_errors, failed);
    dload_i_store_add(&s->stats.leases_lost, lost);
    dload_i_store_add(&s->stats.errors, st < 0);
    dload_i_store_add(&s->stats.run_ns, now_ns - op->started_ns);
    dload_i_store_health(s, st, now_ns);
    if (s->hooks != NULL && s->hooks->op != NULL)
        s->hooks->op(s->hooks->ctx, s->name, op->kind, op->n, st, now_ns - op->started_ns);
}

/* The end of a request that did not block. */
DLOAD_I_UNUSED static void dload_i_store_done(dload_store_op *op, dload_status st)
{
    dload_i_store_count(op->store, op, st);
    op->done = op->then;
    op->done(op, st); /* op may be gone */
}

/* Asks a store: the one way in, for loaders and for programs.
 *
 * op is the caller's, and so are its items and all bytes that it points at; they must stay until the
 * request is through. With op->done NULL it blocks. Returns DLOAD_OK, and each item has its status;
 * DLOAD_PENDING, and op->done is called once, perhaps before this returns; DLOAD_EINVAL for a kind that the
 * store does not know; DLOAD_EBACKEND, and at once (no system call) while the breaker is open; any other status of the
 * store's. After GET and LEASE, also failed ones, call dload_store_release. Any thread. */
DLOAD_I_UNUSED static dload_status dload_store_run(dload_store *s, dload_store_op *op)
{
    if (op->kind >= DLOAD_STORE_N_KINDS || (op->n != 0 && op->items == NULL))
        return DLOAD_EINVAL;
    op->results = NULL;
    op->store = s;
    op->started_ns = dload_i_now(s->env);
    if (op->n == 0)
        return DLOAD_OK;
    if (!dload_i_store_open(s, op->started_ns)) {
        dload_i_store_add(&s->stats.refused, 1);
        return DLOAD_EBACKEND;
    }
    if (op->done != NULL) {
        op->then = op->done;
        op->done = dload_i_store_done;
    }
    dload_status st = s->run(s, op);
    if (st == DLOAD_PENDING)
        return st;
    if (op->done != NULL)
        op->done = op->then;
    dload_i_store_count(s, op, st);
    return st;
}

/* Gives the values of a GET or LEASE back; they may not be read afterwards. Once for each request that
 * is through, by whoever asked; a second call does nothing. Any thread. */
DLOAD_I_UNUSED static void dload_store_release(dload_store_op *op)
{
    if (op->results != NULL && op->store != NULL)
        op->store->release(op->store, op);
    op->results = NULL;
}

/* A sentence for the log, when somebody listens; for adapters. */
DLOAD_I_UNUSED static void dload_store_log(dload_store *s, const char *text)
{
    if (s->hooks != NULL && s->hooks->log != NULL)
        s->hooks->log(s->hooks->ctx, s->name, text);
}

/* ---- invalidation ---- */

/* Who is to be told that keys changed in the store: a loader (NAME_sink), or a program. What tells is a channel: Redis
 * tracking, a pub/sub subscription, NOTIFY. Called by the channel's thread, or by one that waits for the channel (a
 * barrier, the removal of a sink), one at a time and with no lock held. A loader that has a sink in a channel caches
 * nothing between down and up, and begins as after a down. */
typedef struct dload_sink {
    void (*key)(void *ctx, const char *key, size_t key_bytes); /* forget it; not ours = ignored */
    void (*all)(void *ctx);                                    /* forget everything */
    void (*down)(void *ctx); /* nothing is heard from now on: forget everything, cache nothing */
    void (*up)(void *ctx);   /* changes are heard again: forget everything, cache */
    void *ctx;
    struct dload_sink *next; /* the channel's: of the same channel */
    /* Called by a channel that tells only of what was read from the store (Redis tracking), before its first up: what the
     * store did not have, or did not take, may not be cached, since nobody would tell of it. NULL = no matter. */
    void (*only_reads)(void *ctx);
} dload_sink;

#endif /* DLOAD_STORE */
