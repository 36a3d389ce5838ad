/* >>letter -- a request to a loader's store, with everything it needs: keys, values, and whose they are.
 *
 * Letters are kept and used again. Keys and values lie in one block that may move while the letter is written;
 * dload_i_letter_close fills in the pointers. A letter belongs to whoever took it; the loader's mutex is needed
 * to take one and to give it back.
 */
#include "drive.h"
#include "stored.h"

#if defined(DLOAD_STORE) && DLOAD_STORE && !defined(DLOAD_I_LETTER_H)
#define DLOAD_I_LETTER_H

#define DLOAD_I_UNSENT_MAX  1024u /* clears waiting; with more, everything is cleared in the store */
#define DLOAD_I_DELETE_MAX  256u  /* of them in one request */
#define DLOAD_I_LETTER_KEEP (256u * 1024u) /* bytes that a letter keeps for the next request */
#ifndef DLOAD_I_RETRY_NS
#define DLOAD_I_RETRY_NS (100 * DLOAD_MILLISECOND) /* after a delete that failed */
#endif
#define DLOAD_I_STORE_NAME_MAX 64u

struct dload_i_second;

/* What is known of one item of a letter. */
typedef struct dload_i_mark_of {
    uint64_t hash;
    uint64_t ttl_ns; /* SET */
    size_t key_at;   /* in bytes */
    size_t value_at; /* SET: in bytes */
    uint32_t place;  /* in the batch */
    int32_t status;  /* SET: the answer's */
} dload_i_mark_of;

typedef struct dload_i_letter {
    dload_store_op op;
    struct dload_i_letter *next;
    struct dload_i_second *second;
    dload_i_batch *batch; /* GET: whose */
    dload_store_item *items;
    dload_i_mark_of *marks;
    uint32_t n, cap;
    char *bytes; /* keys, and values to be stored */
    size_t n_bytes, cap_bytes;
    uint64_t group;   /* of all keys */
    uint64_t all_seq; /* CLEAR of everything: how often that was wanted when it went; 0 = of less */
    dload_status status; /* how a GET ended */
} dload_i_letter;

/* A clear that the store has not acknowledged. The text that follows has no name before it. */
typedef struct dload_i_unsent {
    struct dload_i_unsent *next;
    dload_i_letter *letter; /* what is on its way with it; NULL = nothing */
    uint64_t hash;
    uint64_t group;
    size_t n_bytes;
    uint32_t item; /* in the letter */
    bool is_group; /* all keys of the group */
} dload_i_unsent;

/* A blocking call of a loader whose store is asynchronous: what it sends itself blocks, too, because nobody would
 * go on with it while the loop's own thread sits there. */
typedef struct dload_i_blocked {
    struct dload_i_blocked *next;
    uint64_t self;
} dload_i_blocked;

/* The second level of one loader. */
typedef struct dload_i_second {
    dload_store *store; /* NULL = none */
    dload_i_core *core;
    uint64_t timeout_ns; /* of a request */
    bool is_async;       /* requests do not block; the loop goes on with what they brought */
    bool only_hits;      /* the cache takes only what the store had: see dload_sink.only_reads */
    char prefix[DLOAD_I_STORE_NAME_MAX + 2]; /* the name and a colon */
    size_t prefix_bytes;
    uint64_t layout;
    uint64_t lease_ns;  /* 0 = without leases */
    uint64_t leases[2]; /* the last one's name: nobody else's is near it */
    dload_i_letter *free_;
    dload_i_letter *writing; /* SETs that are under way */
    dload_i_letter *got;     /* GETs that the loop has to go on with */
    dload_i_unsent *unsent, *unsent_tail;
    uint32_t n_unsent;
    uint64_t all_wanted, all_done; /* CLEARs of everything: wanted, acknowledged up to */
    bool all_out;                  /* one is on its way */
    uint64_t retry_at_ns;          /* a delete failed: not before that again */
    dload_i_blocked *blocked;      /* callers inside blocking calls; only with is_async */
    uint32_t n_out; /* letters at the store, or just back from it: what _destroy waits for */
} dload_i_second;

/* ---- letters ---- */

DLOAD_I_LOCAL dload_i_letter *dload_i_letter_take(dload_i_second *s, dload_store_kind kind)
{
    dload_i_letter *t = s->free_;
    if (t != NULL) {
        s->free_ = t->next;
    } else {
        t = (dload_i_letter *)dload_i_alloc(s->core->env, sizeof *t);
        if (t == NULL)
            return NULL;
        memset(t, 0, sizeof *t);
    }
    memset(&t->op, 0, sizeof t->op);
    t->op.kind = kind;
    t->op.timeout_ns = s->timeout_ns;
    t->next = NULL;
    t->second = s;
    t->batch = NULL;
    t->n = 0;
    t->n_bytes = 0;
    t->group = t->all_seq = 0;
    return t;
}

/* What the letter holds on to. */
DLOAD_I_LOCAL void dload_i_letter_empty(dload_i_letter *t, size_t keep_bytes)
{
    const dload_env *env = t->second->core->env;
    if (t->cap_bytes > keep_bytes) {
        dload_i_free(env, t->bytes, t->cap_bytes);
        t->bytes = NULL;
        t->cap_bytes = 0;
    }
    if (keep_bytes == 0) {
        dload_i_free(env, t->items, t->cap * sizeof *t->items);
        dload_i_free(env, t->marks, t->cap * sizeof *t->marks);
    }
}

DLOAD_I_LOCAL void dload_i_letter_give(dload_i_second *s, dload_i_letter *t)
{
    dload_i_letter_empty(t, DLOAD_I_LETTER_KEEP);
    t->next = s->free_;
    s->free_ = t;
}

/* Room for n items in all; false when there is no memory. No lock is needed: the letter is the caller's. */
DLOAD_I_LOCAL bool dload_i_letter_items(dload_i_letter *t, uint32_t n)
{
    const dload_env *env = t->second->core->env;
    if (n <= t->cap)
        return true;
    uint32_t cap = dload_i_pow2_up(n);
    dload_store_item *items = (dload_store_item *)dload_i_alloc(env, cap * sizeof *items);
    dload_i_mark_of *marks = (dload_i_mark_of *)dload_i_alloc(env, cap * sizeof *marks);
    if (items == NULL || marks == NULL) {
        dload_i_free(env, items, cap * sizeof *items);
        dload_i_free(env, marks, cap * sizeof *marks);
        return false;
    }
    if (t->n != 0)
        memcpy(marks, t->marks, t->n * sizeof *marks); /* items are filled in last */
    dload_i_free(env, t->items, t->cap * sizeof *t->items);
    dload_i_free(env, t->marks, t->cap * sizeof *t->marks);
    t->items = items;
    t->marks = marks;
    t->cap = cap;
    return true;
}

/* Room for n bytes behind what is there; they may move until the letter is closed. */
DLOAD_I_LOCAL bool dload_i_letter_bytes(dload_i_letter *t, size_t n)
{
    const dload_env *env = t->second->core->env;
    if (n <= t->cap_bytes - t->n_bytes)
        return true;
    if (n > SIZE_MAX / 4 - t->n_bytes)
        return false;
    size_t cap = t->cap_bytes * 2 > t->n_bytes + n ? t->cap_bytes * 2 : t->n_bytes + n + 1024;
    char *bytes = (char *)dload_i_alloc(env, cap);
    if (bytes == NULL)
        return false;
    if (t->n_bytes != 0)
        memcpy(bytes, t->bytes, t->n_bytes);
    dload_i_free(env, t->bytes, t->cap_bytes);
    t->bytes = bytes;
    t->cap_bytes = cap;
    return true;
}

DLOAD_I_LOCAL void dload_i_letter_put(dload_i_letter *t, const void *bytes, size_t n)
{
    if (n != 0)
        memcpy(t->bytes + t->n_bytes, bytes, n);
    t->n_bytes += n;
}

/* One more item: the loader's name, text and tail. NULL when there is no memory. */
DLOAD_I_LOCAL dload_i_mark_of *dload_i_letter_add(dload_i_letter *t, const char *text, size_t n,
                                                  dload_str tail)
{
    const dload_i_second *s = t->second;
    if (!dload_i_letter_items(t, t->n + 1) ||
        !dload_i_letter_bytes(t, s->prefix_bytes + n + tail.len))
        return NULL;
    dload_i_mark_of *m = &t->marks[t->n++];
    memset(m, 0, sizeof *m);
    m->key_at = t->n_bytes;
    dload_i_letter_put(t, s->prefix, s->prefix_bytes);
    dload_i_letter_put(t, text, n);
    dload_i_letter_put(t, tail.ptr, tail.len);
    m->value_at = t->n_bytes;
    return m;
}

/* The key of item i, which lies where the bytes lie now. Only right while nothing but keys is in them, or
 * for a key whose end is written down. */
DLOAD_I_LOCAL dload_str dload_i_letter_key(const dload_i_letter *t, uint32_t i)
{
    dload_str key;
    key.ptr = t->bytes + t->marks[i].key_at;
    key.len = t->items[i].key_bytes;
    return key;
}

/* All keys are there: how long each is. */
DLOAD_I_LOCAL void dload_i_letter_keys(dload_i_letter *t)
{
    for (uint32_t i = 0; i < t->n; i++) {
        memset(&t->items[i], 0, sizeof t->items[i]);
        t->items[i].key_bytes = t->marks[i].value_at - t->marks[i].key_at;
    }
}

/* Nothing moves any more. */
DLOAD_I_LOCAL void dload_i_letter_close(dload_i_letter *t)
{
    for (uint32_t i = 0; i < t->n; i++) {
        dload_store_item *item = &t->items[i];
        item->key = t->bytes + t->marks[i].key_at;
        item->ttl_ns = DLOAD_NEVER;
        if (t->op.kind == DLOAD_STORE_SET || t->op.kind == DLOAD_STORE_FILL) {
            item->value = t->bytes + t->marks[i].value_at;
            item->ttl_ns = t->marks[i].ttl_ns;
        }
    }
    t->op.items = t->items;
    t->op.n = t->n;
}

#endif /* DLOAD_STORE */
