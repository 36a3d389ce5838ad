/* dataloader_tiered.h -- two stores as one: a near one in front of a far one, any over any.
 *
 * SPDX-License-Identifier: MIT
 *
 *     #define DLOAD_STORE 1
 *     #include "dataloader.h"
 *     #include "dataloader_memory.h"
 *     #include "dataloader_redis.h"            // or any other
 *     #include "dataloader_tiered.h"
 *
 *     static dload_tiered t;
 *     dload_tiered_config cfg = {0};           // what is 0 has its default
 *     cfg.upper = &memory.store;               // asked first
 *     cfg.lower = &redis.store;                // has the truth
 *     cfg.upper_ttl_ns = 10 * DLOAD_SECOND;
 *     dload_status st = dload_tiered_init(&t, &cfg);
 *     config.store = &t.store;                 // of a loader
 *     ...
 *     dload_tiered_destroy(&t);                // and then the tiers
 *
 * WHO IS ASKED WHAT  GET and LEASE: the upper tier, then the lower one for what it lacks; what that has is put
 * above, for what is left of its life and upper_ttl_ns at most. SET, FILL, DELETE and CLEAR: the lower tier and then
 * the upper one, because a reader who missed above would otherwise bring the old value back from below. Leases
 * are the lower tier's. An upper tier must end entries by itself (DLOAD_STORE_TTL).
 *
 * WHAT IS PROMISED  Once a SET, FILL, DELETE or CLEAR has returned, no request through the same dload_tiered that
 * begins then reads what was there before (dataloader_tiered/guard.h says how). What others change in the lower tier is
 * seen here after upper_ttl_ns at the latest; at once where a channel tells (dload_tiered_sink). An upper tier
 * that several processes share is seen by all of them, and so is what one of them puts there late: then upper_ttl_ns is
 * the bound. So let the upper tier be this one's own, in memory.
 *
 * WHEN A TIER FAILS  The upper one: the lower serves, and stats.upper_errors counts. When the upper one failed to remove a
 * key, nothing in it is believed any more: it is passed by until a CLEAR of all of it came through, which is
 * tried with each read. The lower one: what the upper has is answered, the other keys have the lower one's status, and
 * the request is DLOAD_OK; with no hit at all it is that status. A SET, FILL, DELETE or CLEAR that failed below
 * removes above, and says that it failed. The circuit breakers are the tiers' own; this one has none.
 *
 * THREADS, TIME  Any, several at a time. Requests with done are DLOAD_PENDING where the lower tier's are; the upper one
 * is asked in the blocking form always, for upper_timeout_ns at most: put a near one there. timeout_ns is for both
 * tiers together. A write may wait for as long as one upper SET of another thread takes. In a child of fork() every
 * request is DLOAD_EFORK.
 */
#ifndef DLOAD_TIERED_H
#define DLOAD_TIERED_H

#ifndef DLOAD_I_BACKEND_H
#error "dataloader_tiered.h: include dataloader.h with DLOAD_STORE 1 before this header"
#endif
#if DLOAD_FREESTANDING
#error "dataloader_tiered.h: it needs threads; it does not go with DLOAD_FREESTANDING 1"
#endif

#include "dataloader_tiered/guard.h"

#include <unistd.h>

/* What a tiered store is made from; 0 always means the default, but for the tiers. */
typedef struct dload_tiered_config {
    dload_store *upper; /* both must outlive the tiered store */
    dload_store *lower;
    const dload_env *env;      /* clock and memory; NULL = the lower tier's */
    const char *name;          /* for logs and metrics; default "tiered" */
    uint64_t upper_ttl_ns;     /* the longest that a value stays above; default 60 s */
    uint64_t upper_timeout_ns; /* of a request above; default 100 ms */
} dload_tiered_config;

/* Counters since _init, beside those of the three stores. */
typedef struct dload_tiered_stats {
    uint64_t upper_hits; /* keys found above */
    uint64_t lower_hits; /* ... below */
    uint64_t refills;    /* values put above by reads */
    uint64_t
        refills_dropped; /* ... not put there, because the key changed meanwhile, or nothing is kept above */
    uint64_t upper_errors; /* requests and keys that failed above; the lower tier served */
    uint64_t lower_errors; /* requests that failed below */
    uint64_t bypassed;     /* reads that passed the upper tier by: it was not believed */
} dload_tiered_stats;

/* The caller's, and stays where it is from _init to _destroy. */
typedef struct dload_tiered {
    dload_store store; /* hand &t->store to whoever asks */
    /* private */
    dload_store *upper, *lower;
    uint64_t upper_ttl_ns, upper_timeout_ns;
    dload_tiered_i_guard guard;
    pid_t pid;           /* of the process it was made in */
    uint32_t recovering; /* atomic: somebody clears the upper tier */
    dload_sink sink;
    dload_tiered_stats stats; /* atomic */
} dload_tiered;

/* A request on its way through both tiers; what it read lies in here until it is released. Private. */
typedef struct dload_tiered_i_job {
    dload_tiered *t;
    dload_store_op *outer;
    dload_store_op upper, lower;
    dload_store_item *upper_items; /* n: behind this, as are the next two */
    dload_store_item *lower_items; /* reads: what the upper tier lacks */
    size_t *places;                /* ... and where that is in the outer request */
    size_t n_bytes;
    uint64_t until_ns; /* when the request's time is over; DLOAD_NEVER = the tiers' own */
    dload_tiered_i_pass pass;
} dload_tiered_i_job;

/* ---- jobs ---- */

DLOAD_I_LOCAL dload_tiered_i_job *dload_tiered_i_job_new(dload_tiered *t, dload_store_op *op)
{
    const bool reads = op->kind == DLOAD_STORE_GET || op->kind == DLOAD_STORE_LEASE;
    size_t n_bytes = 0;
    size_t job = dload_i_carve(&n_bytes, 1, sizeof(dload_tiered_i_job));
    size_t upper = dload_i_carve(&n_bytes, op->n, sizeof(dload_store_item));
    size_t lower = dload_i_carve(&n_bytes, reads ? op->n : 0, sizeof(dload_store_item));
    size_t places = dload_i_carve(&n_bytes, reads ? op->n : 0, sizeof(size_t));
    char *block = n_bytes != SIZE_MAX ? (char *)dload_i_alloc(t->store.env, n_bytes) : NULL;
    if (block == NULL)
        return NULL;
    memset(block, 0, upper);
    dload_tiered_i_job *j = (dload_tiered_i_job *)(void *)(block + job);
    j->t = t;
    j->outer = op;
    j->upper_items = (dload_store_item *)(void *)(block + upper);
    j->lower_items = (dload_store_item *)(void *)(block + lower);
    j->places = (size_t *)(void *)(block + places);
    j->n_bytes = n_bytes;
    j->until_ns = op->timeout_ns == 0 ? DLOAD_NEVER
                                      : dload_i_add_ns(dload_i_now(t->store.env), op->timeout_ns);
    return j;
}

DLOAD_I_LOCAL void dload_tiered_i_job_free(dload_tiered_i_job *j)
{
    dload_store_release(&j->upper);
    dload_store_release(&j->lower);
    dload_i_free(j->t->store.env, j, j->n_bytes);
}

/* What the request has left, at most cap_ns; 0 = the store's own default; false = nothing. */
DLOAD_I_LOCAL bool dload_tiered_i_left(const dload_tiered_i_job *j, uint64_t cap_ns,
                                       uint64_t *left_ns)
{
    *left_ns = cap_ns;
    if (j->until_ns == DLOAD_NEVER)
        return true;
    const uint64_t now_ns = dload_i_now(j->t->store.env);
    if (now_ns >= j->until_ns)
        return false;
    if (cap_ns == 0 || j->until_ns - now_ns < cap_ns)
        *left_ns = j->until_ns - now_ns;
    return true;
}

/* ---- the upper tier ---- */

/* Asks it in the blocking form. False: it failed, or one of the keys did; counted. */
DLOAD_I_LOCAL bool dload_tiered_i_above(dload_tiered *t, dload_store_op *op, dload_store_kind kind,
                                        dload_store_item *items, size_t n, uint64_t timeout_ns)
{
    uint64_t n_failed = 0;
    memset(op, 0, sizeof *op);
    op->kind = kind;
    op->items = items;
    op->n = n;
    op->timeout_ns = timeout_ns;
    dload_status st = dload_store_run(t->upper, op);
    if (st < 0)
        n_failed = 1;
    for (size_t i = 0; i < n && st >= 0; i++)
        n_failed += items[i].status < 0 && items[i].status != DLOAD_MISSING;
    dload_i_store_add(&t->stats.upper_errors, n_failed);
    return n_failed == 0;
}

/* Removes keys above, or all of them with a prefix; otherwise nothing above is believed from now on. */
DLOAD_I_LOCAL void dload_tiered_i_remove(dload_tiered *t, dload_store_kind kind,
                                         dload_store_item *items, size_t n)
{
    dload_store_op op;
    if (n == 0 || dload_tiered_i_above(t, &op, kind, items, n, t->upper_timeout_ns))
        return;
    if (dload_tiered_i_distrust(&t->guard)) /* mutant STAYS_BELIEVED */
        dload_store_log(&t->store,
                        "the upper tier did not remove what it had to, and is passed by");
}

/* Clears the upper tier, so that it can be believed again; one thread at a time tries. Refills from before have ended
 * first, and none begins meanwhile: else an old one could land after the clear. */
DLOAD_I_LOCAL void dload_tiered_i_recover(dload_tiered *t)
{
    dload_store_op op;
    dload_store_item all;
    const uint32_t n_dirty = DLOAD_I_LOAD_ACQUIRE(&t->guard.n_dirty);
    if (n_dirty == 0 || __atomic_exchange_n(&t->recovering, 1u, __ATOMIC_ACQ_REL) != 0)
        return;
    memset(&all, 0, sizeof all);
    all.key = "";
    (void)dload_tiered_i_changed(&t->guard, DLOAD_TIERED_I_ALL); /* mutant CLEARS_BESIDE_REFILL */
    if (dload_tiered_i_above(t, &op, DLOAD_STORE_CLEAR, &all, 1, t->upper_timeout_ns) &&
        dload_tiered_i_trust(&t->guard, n_dirty))
        dload_store_log(&t->store, "the upper tier was cleared, and is asked again");
    DLOAD_I_STORE_RELEASE(&t->recovering, 0u);
}

/* ---- reads ---- */

/* What was found goes to the outer item. */
DLOAD_I_LOCAL void dload_tiered_i_give(dload_store_item *to, const dload_store_item *from)
{
    to->value = from->value;
    to->value_bytes = from->value_bytes;
    to->ttl_ns = from->ttl_ns;
    to->status = from->status;
}

/* Asks above; what is not there is in lower_items. */
DLOAD_I_LOCAL void dload_tiered_i_read_above(dload_tiered_i_job *j)
{
    dload_tiered *t = j->t;
    dload_store_op *op = j->outer;
    uint64_t timeout_ns = 0;
    size_t n_lower = 0;
    if (DLOAD_I_LOAD_RELAXED(&t->guard.n_dirty) != 0)
        dload_tiered_i_recover(t);
    const bool asked = !dload_tiered_i_bypassed(&t->guard) &&
                       dload_tiered_i_left(j, t->upper_timeout_ns, &timeout_ns);
    for (size_t i = 0; i < op->n; i++) {
        memset(&j->upper_items[i], 0, sizeof j->upper_items[i]);
        j->upper_items[i].key = op->items[i].key;
        j->upper_items[i].key_bytes = op->items[i].key_bytes;
        j->upper_items[i].status = DLOAD_MISSING;
    }
    if (asked)
        (void)dload_tiered_i_above(t, &j->upper, DLOAD_STORE_GET, j->upper_items, op->n,
                                   timeout_ns);
    else
        dload_i_store_add(&t->stats.bypassed, 1);
    for (size_t i = 0; i < op->n; i++) {
        if (j->upper_items[i].status == DLOAD_OK) {
            dload_tiered_i_give(&op->items[i], &j->upper_items[i]);
            continue;
        }
        j->lower_items[n_lower] = op->items[i];
        j->places[n_lower++] = i;
    }
    dload_i_store_add(&t->stats.upper_hits, op->n - n_lower);
    j->lower.items = j->lower_items;
    j->lower.n = n_lower;
}

/* Puts above what was found below, unless it changed since. */
DLOAD_I_LOCAL void dload_tiered_i_refill(dload_tiered_i_job *j)
{
    dload_tiered *t = j->t;
    dload_store_op set;
    size_t n_found = 0, n = 0;
    j->pass.stripes = 0;
    for (size_t i = 0; i < j->lower.n; i++) {
        if (j->lower_items[i].status != DLOAD_OK)
            continue;
        n_found++;
        j->pass.stripes |= UINT64_C(1) << dload_tiered_i_stripe(&j->lower_items[i]);
    }
    if (n_found == 0)
        return;
    dload_i_store_add(&t->stats.lower_hits, n_found);
    dload_tiered_i_refill_begin(&t->guard, &j->pass);
    for (size_t i = 0; i < j->lower.n && j->pass.fills; i++) {
        const dload_store_item *from = &j->lower_items[i];
        if (from->status != DLOAD_OK || from->ttl_ns == 0 ||
            !dload_tiered_i_has(j->pass.stripes, from))
            continue;
        j->upper_items[n] = *from;
        if (from->ttl_ns > t->upper_ttl_ns)
            j->upper_items[n].ttl_ns = t->upper_ttl_ns;
        n++;
    }
    if (n != 0)
        (void)dload_tiered_i_above(t, &set, DLOAD_STORE_SET, j->upper_items, n,
                                   t->upper_timeout_ns);
    dload_tiered_i_refill_end(&t->guard, &j->pass);
    dload_i_store_add(&t->stats.refills, n);
    dload_i_store_add(&t->stats.refills_dropped, n_found - n);
}

/* The lower tier has answered a read. */
DLOAD_I_LOCAL dload_status dload_tiered_i_read_end(dload_tiered_i_job *j, dload_status st)
{
    dload_store_op *op = j->outer;
    const bool any_hit = j->lower.n < op->n;
    if (st >= 0)
        dload_tiered_i_refill(j);
    else
        dload_i_store_add(&j->t->stats.lower_errors, 1);
    for (size_t i = 0; i < j->lower.n; i++) {
        if (st < 0)
            op->items[j->places[i]].status = st;
        else
            dload_tiered_i_give(&op->items[j->places[i]], &j->lower_items[i]);
    }
    if (j->upper.results != NULL || j->lower.results != NULL)
        op->results = j;
    else
        dload_tiered_i_job_free(j);
    return any_hit ? DLOAD_OK : st;
}

/* ---- writes ---- */

/* After a SET or FILL: what may be put above is, all else is removed there. */
DLOAD_I_LOCAL void dload_tiered_i_set_above(dload_tiered_i_job *j, dload_status st)
{
    dload_tiered *t = j->t;
    dload_store_op *op = j->outer;
    dload_store_op set;
    size_t n = 0;
    bool failed = false;
    for (size_t i = 0; i < op->n && j->pass.fills; i++) {
        if (st < 0 || op->items[i].status != DLOAD_OK ||
            !dload_tiered_i_has(j->pass.stripes, &op->items[i]))
            continue;
        j->upper_items[n] = op->items[i];
        if (j->upper_items[n].ttl_ns > t->upper_ttl_ns)
            j->upper_items[n].ttl_ns = t->upper_ttl_ns;
        n++;
    }
    if (n != 0)
        failed =
            !dload_tiered_i_above(t, &set, DLOAD_STORE_SET, j->upper_items, n, t->upper_timeout_ns);
    n = 0;
    for (size_t i = 0; i < op->n; i++) {
        const bool put = j->pass.fills && st >= 0 && op->items[i].status == DLOAD_OK &&
                         dload_tiered_i_has(j->pass.stripes, &op->items[i]);
        if (!put || failed)
            j->upper_items[n++] = op->items[i];
    }
    dload_tiered_i_remove(t, DLOAD_STORE_DELETE, j->upper_items, n);
    dload_tiered_i_refill_end(&t->guard, &j->pass);
}

/* The lower tier has answered a write. */
DLOAD_I_LOCAL dload_status dload_tiered_i_write_done(dload_tiered_i_job *j, dload_status st)
{
    dload_tiered *t = j->t;
    dload_store_op *op = j->outer;
    const bool sets = op->kind == DLOAD_STORE_SET || op->kind == DLOAD_STORE_FILL;
    if (st < 0)
        dload_i_store_add(&t->stats.lower_errors, 1);
    if (op->kind != DLOAD_STORE_DROP &&
        dload_tiered_i_write_end(&t->guard, &j->pass, sets && st >= 0)) {
        if (sets) {
            dload_tiered_i_set_above(j, st);
        } else {
            for (size_t i = 0; i < op->n; i++)
                j->upper_items[i] = op->items[i];
            dload_tiered_i_remove(t, op->kind, j->upper_items, op->n);
        }
    }
    dload_tiered_i_job_free(j);
    return st;
}

/* ---- requests ---- */

DLOAD_I_LOCAL bool dload_tiered_i_reads(dload_store_kind kind)
{
    return kind == DLOAD_STORE_GET || kind == DLOAD_STORE_LEASE;
}

DLOAD_I_LOCAL dload_status dload_tiered_i_end(dload_tiered_i_job *j, dload_status st)
{
    return dload_tiered_i_reads(j->outer->kind) ? dload_tiered_i_read_end(j, st)
                                                : dload_tiered_i_write_done(j, st);
}

/* The lower tier's end of a request that did not block. */
DLOAD_I_LOCAL void dload_tiered_i_lower_done(dload_store_op *lower, dload_status st)
{
    dload_tiered_i_job *j = (dload_tiered_i_job *)lower->ctx;
    dload_store_op *op = j->outer;
    st = dload_tiered_i_end(j, st);
    op->done(op, st);
}

DLOAD_I_LOCAL dload_status dload_tiered_i_run(dload_store *s, dload_store_op *op)
{
    dload_tiered *t = (dload_tiered *)(void *)s;
    if ((unsigned)op->kind >= DLOAD_STORE_N_KINDS ||
        (op->kind >= DLOAD_STORE_LEASE && (s->flags & DLOAD_STORE_LEASES) == 0))
        return DLOAD_EINVAL;
    if (t->pid != getpid())
        return DLOAD_EFORK; /* somebody who is not here may hold the guard's mutex */
    dload_tiered_i_job *j = dload_tiered_i_job_new(t, op);
    if (j == NULL)
        return DLOAD_ENOMEM;
    if (dload_tiered_i_reads(op->kind)) {
        dload_tiered_i_read_above(j);
        j->pass.gen = dload_tiered_i_read_begin(&t->guard);
    } else {
        j->lower.items = op->items;
        j->lower.n = op->n;
        j->pass.stripes = op->kind == DLOAD_STORE_CLEAR ? DLOAD_TIERED_I_ALL
                                                        : dload_tiered_i_stripes(op->items, op->n);
        if (op->kind != DLOAD_STORE_DROP)
            dload_tiered_i_write_begin(&t->guard, &j->pass);
    }
    j->lower.kind = op->kind;
    j->lower.ctx = j;
    if (op->done != NULL && (t->lower->flags & DLOAD_STORE_ASYNC) != 0)
        j->lower.done = dload_tiered_i_lower_done;
    dload_status st = j->lower.n == 0 ? DLOAD_OK : DLOAD_ETIMEDOUT;
    if (j->lower.n != 0 && dload_tiered_i_left(j, 0, &j->lower.timeout_ns))
        st = dload_store_run(t->lower, &j->lower);
    return st == DLOAD_PENDING ? st : dload_tiered_i_end(j, st);
}

DLOAD_I_LOCAL void dload_tiered_i_release(dload_store *s, dload_store_op *op)
{
    (void)s;
    dload_tiered_i_job_free((dload_tiered_i_job *)op->results);
}

/* ---- life ---- */

/* Prepares a tiered store. Set t->store.hooks afterwards, if you like. Returns DLOAD_OK; DLOAD_EINVAL without both
 * tiers, when they are the same, or when the upper one keeps entries for ever; DLOAD_ENOMEM. Allocates nothing;
 * each request allocates once. */
DLOAD_I_LOCAL dload_status dload_tiered_init(dload_tiered *t, const dload_tiered_config *config)
{
    memset(t, 0, sizeof *t);
    if (config == NULL || config->upper == NULL || config->lower == NULL ||
        config->upper == config->lower || (config->upper->flags & DLOAD_STORE_TTL) == 0)
        return DLOAD_EINVAL;
    t->pid = getpid();
    t->upper = config->upper;
    t->lower = config->lower;
    t->upper_ttl_ns = config->upper_ttl_ns != 0 ? config->upper_ttl_ns : 60 * DLOAD_SECOND;
    t->upper_timeout_ns =
        config->upper_timeout_ns != 0 ? config->upper_timeout_ns : 100 * DLOAD_MILLISECOND;
    t->store.name = config->name != NULL ? config->name : "tiered";
    t->store.flags = t->lower->flags;
    t->store.env = config->env != NULL ? config->env : t->lower->env;
    t->store.run = dload_tiered_i_run;
    t->store.release = dload_tiered_i_release;
    t->store.break_after = UINT32_MAX;
    return dload_tiered_i_guard_init(&t->guard) ? DLOAD_OK : DLOAD_ENOMEM;
}

/* Ends a tiered store, not its tiers. No request may be on its way, and what was read must have been released. */
DLOAD_I_LOCAL void dload_tiered_destroy(dload_tiered *t)
{
    (void)pthread_cond_destroy(&t->guard.quiet);
    (void)pthread_mutex_destroy(&t->guard.mutex);
}

/* Copies the counters, while others ask. Any thread. */
DLOAD_I_LOCAL void dload_tiered_counters(const dload_tiered *t, dload_tiered_stats *out)
{
    out->upper_hits = DLOAD_I_LOAD_RELAXED(&t->stats.upper_hits);
    out->lower_hits = DLOAD_I_LOAD_RELAXED(&t->stats.lower_hits);
    out->refills = DLOAD_I_LOAD_RELAXED(&t->stats.refills);
    out->refills_dropped = DLOAD_I_LOAD_RELAXED(&t->stats.refills_dropped);
    out->upper_errors = DLOAD_I_LOAD_RELAXED(&t->stats.upper_errors);
    out->lower_errors = DLOAD_I_LOAD_RELAXED(&t->stats.lower_errors);
    out->bypassed = DLOAD_I_LOAD_RELAXED(&t->stats.bypassed);
}

#include "dataloader_tiered/channel.h"

#endif /* DLOAD_TIERED_H */
