/* >>flight -- the records of the batch core: waiters, flights, batches, and the index of flights.
 *
 * A flight is one key on its way: a place in a batch. A waiter is one request for it. None of these
 * knows the key's type: keys and values lie in arrays of the typed batch, by the same place, and the
 * typed half joins the two through dload_i_ops.
 *
 *     OPEN     collects keys, one batch a group    core.open
 *     QUEUED   complete, waits for its turn        core.queue
 *     RUNNING  with the fetch function, or pending core.running
 *     LOST     given up; its function still has it core.n_out only
 */
#ifndef DLOAD_I_FLIGHT_H
#define DLOAD_I_FLIGHT_H

#include "env.h"
#include "hash.h"
#include "lock.h"
#include "stats.h"

#define DLOAD_I_OPEN    1
#define DLOAD_I_QUEUED  2
#define DLOAD_I_RUNNING 3
#define DLOAD_I_LOST    4

struct dload_i_batch;
struct dload_i_core;
struct dload_i_publishing;
struct dload_i_ready;
struct dload_registry;

/* One request. Lives on the stack of a blocking call, in the core's pool, or in the caller's waiter. A call
 * for many keys has one for all places of a batch that it opened (many), and one for every key that was in
 * flight already. */
typedef struct dload_i_waiter {
    struct dload_i_waiter *next,
        *prev;                   /* same flight; next also links what is ready to be called */
    struct dload_i_batch *batch; /* NULL = not waiting */
    uint32_t place; /* of the key in the batch; with many, how many places wait for it */
    int32_t status;
    void *out;              /* where the value goes; NULL = nowhere */
    bool source_only;       /* takes no old value when the fetch fails: DLOAD_FRESH */
    bool many;              /* in no flight's list; out and position are those of its first key */
    dload_i_parker *parker; /* who sleeps; NULL = call back */
    struct dload_i_waiter *sib; /* the same call's next request */
    size_t position;            /* in the arrays of that call */
} dload_i_waiter;

/* One key on its way. */
typedef struct dload_i_flight {
    dload_i_waiter *many;        /* who opened it, when that was a call for many keys */
    dload_i_waiter *head, *tail; /* who else waits, in the order of asking */
    uint64_t hash;
    uint64_t ttl_ns; /* how long the answer is kept; DLOAD_I_TTL_DEFAULT = as the loader's values */
    int32_t status;  /* the answer */
    uint8_t answered;   /* there is one */
    uint8_t published;  /* stored and delivered */
    uint8_t detached;   /* cleared since it was sent: out of the index, to be cached nowhere */
    uint8_t dead;       /* nobody wants it any more and it was not sent */
    uint8_t holds;      /* the value at its place is ours to release */
    uint8_t kept;       /* with an error: an old value at its place, 1 past its TTL, 2 not */
    uint8_t second;     /* DLOAD_I_SECOND_ bits */
    uint32_t next_held; /* chain of places to release, + 1; see dload_i_ready */
    uint32_t at;        /* in the arrays of many's call, counted from its first key */
} dload_i_flight;

#define DLOAD_I_TTL_DEFAULT (DLOAD_NEVER - 1)

#define DLOAD_I_SECOND_FRESH 1u  /* the source's answer is wanted: the store is not asked */
#define DLOAD_I_SECOND_HIT   2u  /* the store answered */
#define DLOAD_I_SECOND_KEPT  4u  /* a copy of the value waits to be stored */
#define DLOAD_I_SECOND_BUSY  8u  /* somebody else has the lease */
#define DLOAD_I_SECOND_MINE  16u /* the lease is the batch's */
#define DLOAD_I_SECOND_GIVEN 32u /* ... and a value was sent to end it */
#define DLOAD_I_SECOND_OVER  64u /* the function is through with it */

/* The type-free part of a batch. */
typedef struct dload_i_batch {
    struct dload_i_batch *next; /* open list, queue, running list or free list */
    struct dload_i_batch *prev; /* open list */
    uint64_t group;             /* of all its keys */
    dload_i_flight *flights;
    uint32_t n, cap; /* places in use, and there */
    uint32_t n_dead;
    uint32_t n_published;
    uint32_t n_detached;
    uint32_t n_waiters;
    uint32_t n_calls; /* blocking calls that wait for it, as far as told apart */
    uint8_t state;
    uint8_t in_fetch; /* the function has not returned */
    uint8_t done;     /* _batch_done came before the function returned */
    uint8_t why;      /* dload_trigger */
    uint8_t lingered; /* its leader hoped for more callers than the n_calls_before */
    uint8_t timed;    /* its leader's sleep ends when it is due */
    uint8_t goes;     /* a crew's round found it open; see crew.h */
    uint8_t unwanted; /* ended while somebody was settling up for it */
    uint32_t n_users; /* those who are */
    uint32_t n_calls_before;
    uint32_t n_calls_seen; /* when last_key_ns was set, without a settle time */
    int32_t done_status;
    uint64_t opened_ns, last_key_ns, started_ns, ended_ns; /* ended: the last answers came */
    uint64_t rest_ttl_ns;      /* how long the answer of the keys not answered is kept */
    uint64_t token;            /* clear_seq when it was sent */
    uint64_t runner;           /* env->self() of who runs it */
    dload_i_parker *nested;    /* where its function waits for other batches; see nest.h */
    dload_i_parker *leader;    /* the sleeper that will send it when it is due */
    dload_i_parker *last_call; /* who asked last */
} dload_i_batch;

/* An entry of the index: a hash and where the flight is. Where there are groups, their open batches are
 * in it as well, by the group's mark. */
typedef struct dload_i_ref {
    dload_i_batch *batch; /* NULL = free */
    uint32_t hash;
    uint32_t place; /* DLOAD_I_OPEN_PLACE = the batch itself */
} dload_i_ref;

#define DLOAD_I_OPEN_PLACE UINT32_MAX

/* What the typed half does for the core. Under the mutex but for run, release and call. */
typedef struct dload_i_ops {
    dload_i_batch *(*make)(void *owner);                        /* an empty batch, or NULL */
    void (*unmake)(void *owner, dload_i_batch *b);              /* ... and its end */
    bool (*grow)(void *owner, dload_i_batch *b, uint32_t cap);  /* more places */
    void (*move)(dload_i_batch *b, uint32_t to, uint32_t from); /* a key changes place */
    void (*forget)(void *owner, dload_i_batch *b, uint32_t i);  /* a key's bytes; NULL = none */
    dload_status (*run)(void *owner, dload_i_batch *b);         /* the fetch function */
    /* dload_i_publish_each, with a dload_i_typed of constants */
    void (*publish)(struct dload_i_core *c, dload_i_batch *b, const struct dload_i_publishing *how,
                    struct dload_i_ready *ready);
    void (*release)(dload_i_batch *b, uint32_t i); /* an owned value; NULL = plain */
    void (*call)(dload_i_waiter *w);               /* done() */
    uint64_t (*mark)(const void *owner,
                     uint64_t group); /* a group's, with a secret; NULL = without */
} dload_i_ops;

#define DLOAD_I_CLEAR_SLOTS     64u
#define DLOAD_I_WAITERS_A_BLOCK 64u

typedef struct dload_i_waiter_block {
    struct dload_i_waiter_block *next;
    dload_i_waiter waiters[DLOAD_I_WAITERS_A_BLOCK];
} dload_i_waiter_block;

/* The batch core of one loader. */
typedef struct dload_i_core {
    const dload_i_ops *ops;
    const dload_i_sync *sync;
    const dload_env *env;
    const dload_hooks *hooks;
    void *owner; /* the typed loader */
    void *mutex;
    uint32_t max_batch, max_in_flight, max_queue;
    uint64_t settle_ns, max_age_ns, run_limit_ns;
    const uint32_t
        *fork_now; /* with a lock: the process's epoch, and the one the loader was made in */
    uint32_t fork_epoch;
    bool threaded;   /* callers wait for each other */
    bool bounded;    /* max_in_flight bounds blocking calls, too: there may be others */
    bool grouped;    /* keys have groups; otherwise there is one open batch at most */
    bool queue_wait; /* at the queue's bound blocking calls wait */
    bool closed;
    bool tell_queued;     /* the hook is to be told of a new open batch */
    bool tell_wake;       /* the loop is to be told that there is something to do */
    uint32_t company;     /* > 0: recent batches had several callers, so lingering pays */
    uint32_t n_callers;   /* blocking calls that wait now */
    uint32_t peak;        /* ... at most, since a batch ended */
    uint32_t crowd;       /* ... as many as lately waited side by side; see pace.h */
    uint64_t fetch_ns;    /* what a batch lately took; 0 = not known yet */
    uint64_t ended_ns;    /* when the last one ended */
    uint32_t expect;      /* keys announced for the open batches; 0 = none */
    uint32_t n_open_keys; /* in them, those that nobody wants left out */
    dload_i_batch *open, *open_tail; /* oldest first */
    dload_i_batch *queue, *queue_tail;
    dload_i_batch *running;
    dload_i_batch *free_;
    uint32_t n_running; /* RUNNING: what max_in_flight bounds */
    uint32_t n_out;     /* RUNNING, LOST and in the batch_end hook: what _destroy waits for */
    uint32_t n_calling; /* threads in callbacks of a batch, which keep no place of its own busy */
    uint32_t n_flights; /* keys in batches, not published */
    dload_i_ref *refs;
    uint32_t n_refs, refs_cap; /* cap is 2^n or 0 */
    dload_i_waiter *free_waiters;
    dload_i_waiter_block *waiter_blocks;
    struct dload_i_core *next_in_registry;
    struct dload_registry *registry;
    dload_i_parker *owed;             /* answered, and to be woken once the mutex is free */
    dload_i_parker *line, *line_tail; /* blocking calls that wait for room, first come first */
    dload_i_parker *closers;
    void (*wake)(
        void *wake_ctx); /* loop mode: callbacks wait for _process, and this announces them */
    void *wake_ctx;
    dload_i_waiter *ready, *ready_tail;       /* what waits for it */
    uint64_t clear_seq;                       /* clears so far */
    uint64_t clear_all_seq;                   /* clear_seq of the last clear_all */
    uint64_t last_clear[DLOAD_I_CLEAR_SLOTS]; /* clear_seq of the last clear, by hash */
    dload_stats stats;
} dload_i_core;

/* Loaders that are dispatched together (registry.h), and threads that are waited for (crew.h). Fields are
 * private. Lives anywhere; must not move while loaders or threads are in it. */
typedef struct dload_registry {
    dload_i_core *first; /* loaders in the order in which they came */
    uint32_t n_loaders;
    /* Threads that joined << 16, and those of them that are parked: one word, so that each change tells
     * who is the last. Atomic. */
    uint32_t crew;
    dload_i_spin round; /* taken before any loader's mutex */
    /* What the last to park does: crew.h, which only programs whose threads join pay for. Atomic. */
    bool (*park)(dload_i_core *c, struct dload_i_parker *p);
} dload_registry;

/* In a child process? Then its locks may be held for ever. */
DLOAD_I_INLINE bool dload_i_core_forked(const dload_i_core *c)
{
    return c->fork_now != NULL && DLOAD_I_LOAD_RELAXED(c->fork_now) != c->fork_epoch;
}

/* ---- the index of flights: open addressing, linear probing, no tombstones ---- */

DLOAD_I_INLINE uint32_t dload_i_ref_hash(uint64_t hash)
{
    return (uint32_t)(hash >> 32);
}

/* By what a group itself is known. */
DLOAD_I_INLINE uint64_t dload_i_mark(const dload_i_core *c, uint64_t group)
{
    return c->ops->mark != NULL ? c->ops->mark(c->owner, group) : dload_i_group_mark(group);
}

DLOAD_I_LOCAL void dload_i_ref_insert(dload_i_core *c, dload_i_ref ref)
{
    uint32_t mask = c->refs_cap - 1;
    uint32_t i = ref.hash & mask;
    while (c->refs[i].batch != NULL)
        i = (i + 1) & mask;
    c->refs[i] = ref;
}

/* Room for a key, and for a batch that it opens, at most half full. False when there is no memory. */
DLOAD_I_LOCAL bool dload_i_refs_reserve(dload_i_core *c)
{
    if ((c->n_refs + 2) * 2 <= c->refs_cap)
        return true;
    uint32_t cap = c->refs_cap == 0 ? 64 : c->refs_cap * 2;
    dload_i_ref *refs = (dload_i_ref *)dload_i_alloc(c->env, cap * sizeof *refs);
    if (refs == NULL)
        return false;
    memset(refs, 0, cap * sizeof *refs);
    dload_i_ref *old = c->refs;
    uint32_t old_cap = c->refs_cap;
    c->refs = refs;
    c->refs_cap = cap;
    for (uint32_t i = 0; i < old_cap; i++) {
        if (old[i].batch != NULL)
            dload_i_ref_insert(c, old[i]);
    }
    dload_i_free(c->env, old, old_cap * sizeof *old);
    return true;
}

/* The flight's own entry: by identity, so that a newer flight of the same key is never touched. */
DLOAD_I_LOCAL dload_i_ref *dload_i_ref_of(dload_i_core *c, const dload_i_batch *b, uint32_t place)
{
    uint32_t mask = c->refs_cap - 1;
    uint64_t hash =
        place == DLOAD_I_OPEN_PLACE ? dload_i_mark(c, b->group) : b->flights[place].hash;
    uint32_t i = dload_i_ref_hash(hash) & mask;
    while (c->refs[i].batch != b || c->refs[i].place != place)
        i = (i + 1) & mask;
    return &c->refs[i];
}

DLOAD_I_LOCAL void dload_i_ref_remove(dload_i_core *c, dload_i_ref *ref)
{
    uint32_t mask = c->refs_cap - 1;
    uint32_t gap = (uint32_t)(ref - c->refs);
    for (uint32_t j = (gap + 1) & mask; c->refs[j].batch != NULL; j = (j + 1) & mask) {
        uint32_t home = c->refs[j].hash & mask;
        if (((j - home) & mask) < ((j - gap) & mask))
            continue; /* moving it back would pass its home */
        c->refs[gap] = c->refs[j];
        gap = j;
    }
    c->refs[gap].batch = NULL;
    c->n_refs--;
}

/* ---- clears ---- */

/* May a new request join this flight? Not when everything was cleared after it was sent. */
DLOAD_I_INLINE bool dload_i_joinable(const dload_i_core *c, const dload_i_batch *b)
{
    return b->state < DLOAD_I_RUNNING || b->token >= c->clear_all_seq;
}

DLOAD_I_LOCAL void dload_i_note_clear(dload_i_core *c, uint64_t hash)
{
    c->last_clear[(hash >> 20) % DLOAD_I_CLEAR_SLOTS] = ++c->clear_seq;
}

/* Was a key with this hash, or everything, cleared after the token was taken? May say yes for a
 * neighbour: then a value is not cached that could have been. */
DLOAD_I_LOCAL bool dload_i_cleared_since(const dload_i_core *c, uint64_t hash, uint64_t token)
{
    return c->clear_all_seq > token || c->last_clear[(hash >> 20) % DLOAD_I_CLEAR_SLOTS] > token;
}

/* A flight that was sent is out of date: later requests start another one. */
DLOAD_I_LOCAL void dload_i_detach(dload_i_core *c, dload_i_ref *ref)
{
    ref->batch->flights[ref->place].detached = 1;
    ref->batch->n_detached++;
    dload_i_ref_remove(c, ref);
}

/* Everything of a group that was sent is out of date. */
DLOAD_I_UNUSED static void dload_i_outdate_group(dload_i_core *c, uint64_t group)
{
    dload_i_note_clear(c, dload_i_mark(c, group));
    for (dload_i_batch *b = c->running; b != NULL; b = b->next) {
        for (uint32_t i = 0; i < b->n && b->group == group; i++) {
            if (!b->flights[i].published && !b->flights[i].detached)
                dload_i_detach(c, dload_i_ref_of(c, b, i));
        }
    }
}

/* ---- waiters ---- */

/* Does any request of this call wait for b? */
DLOAD_I_LOCAL bool dload_i_waits_for(const dload_i_parker *p, const dload_i_batch *b)
{
    for (const dload_i_waiter *w = p->first; w != NULL; w = w->sib) {
        if (w->batch == b)
            return true;
    }
    return false;
}

/* One request more for keys of b. */
DLOAD_I_LOCAL void dload_i_enlist(dload_i_waiter *w, dload_i_batch *b)
{
    DLOAD_I_STORE_RELEASE(&w->batch, b);                    /* nest.h reads it without this mutex */
    DLOAD_I_STORE_RELAXED(&b->n_waiters, b->n_waiters + 1); /* _batch_cancelled reads it unlocked */
    if (w->parker != NULL) {
        w->parker->pending++;
        if (b->last_call != w->parker) {
            b->last_call = w->parker;
            b->n_calls++;
        }
    }
}

DLOAD_I_LOCAL void dload_i_wait_for(dload_i_waiter *w, dload_i_batch *b, uint32_t place)
{
    dload_i_flight *f = &b->flights[place];
    w->many = false;
    w->place = place;
    w->status = DLOAD_PENDING;
    w->next = NULL;
    w->prev = f->tail;
    *(f->tail != NULL ? &f->tail->next : &f->head) = w;
    f->tail = w;
    dload_i_enlist(w, b);
}

/* A request that waits for nothing any more; true when it was the last one of its call. */
DLOAD_I_LOCAL bool dload_i_delist(dload_i_waiter *w)
{
    dload_i_batch *b = w->batch;
    DLOAD_I_STORE_RELAXED(&b->n_waiters, b->n_waiters - 1);
    DLOAD_I_STORE_RELEASE(&w->batch, NULL);
    return w->parker != NULL && --w->parker->pending == 0;
}

/* Takes a request out of its flight. */
DLOAD_I_LOCAL void dload_i_unlink(dload_i_waiter *w)
{
    dload_i_flight *f = &w->batch->flights[w->place];
    if (w->prev != NULL)
        w->prev->next = w->next;
    else
        f->head = w->next;
    if (w->next != NULL)
        w->next->prev = w->prev;
    else
        f->tail = w->prev;
    (void)dload_i_delist(w);
}

/* Is there a request record for a call with many keys? False when there is no memory. */
DLOAD_I_LOCAL bool dload_i_waiter_reserve(dload_i_core *c)
{
    if (c->free_waiters != NULL)
        return true;
    dload_i_waiter_block *block =
        (dload_i_waiter_block *)dload_i_alloc(c->env, sizeof(dload_i_waiter_block));
    if (block == NULL)
        return false;
    block->next = c->waiter_blocks;
    c->waiter_blocks = block;
    for (uint32_t i = DLOAD_I_WAITERS_A_BLOCK; i-- > 0;) {
        block->waiters[i].sib = c->free_waiters;
        c->free_waiters = &block->waiters[i];
    }
    return true;
}

/* The one that is there: the last request of p's call, which begins with out and position. */
DLOAD_I_LOCAL dload_i_waiter *dload_i_waiter_take(dload_i_core *c, dload_i_parker *p, void *out,
                                                  size_t position)
{
    dload_i_waiter *w = c->free_waiters;
    c->free_waiters = w->sib;
    w->out = out;
    w->parker = p;
    w->position = position;
    w->sib = NULL;
    *(p->last != NULL ? &p->last->sib : &p->first) = w;
    p->last = w;
    return w;
}

DLOAD_I_LOCAL void dload_i_waiter_give(dload_i_core *c, dload_i_waiter *w)
{
    w->sib = c->free_waiters;
    c->free_waiters = w;
}

#endif /* DLOAD_I_FLIGHT_H */
