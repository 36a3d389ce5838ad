/* A store that does what a test tells it: keeps entries in memory, fails, lies, damages, waits, and completes
 * requests later. Any thread. A program includes dataloader.h with DLOAD_STORE 1 before. */
#ifndef DLOAD_TESTS_STORE_H
#define DLOAD_TESTS_STORE_H

#include "support.h"
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct script_entry {
    char *key, *value;
    size_t key_bytes, value_bytes;
    uint64_t ttl_ns; /* as it was stored */
};

struct script_store {
    dload_store store;
    pthread_mutex_t mutex;
    struct script_entry *entries;
    size_t n, cap;
    /* what it does; changed by the test between requests */
    dload_status fails[DLOAD_STORE_N_KINDS];     /* < 0: requests of a kind fail so */
    dload_status fails_key[DLOAD_STORE_N_KINDS]; /* < 0: the first key of each does */
    uint64_t says_left_ns;                       /* of what GET finds; 0 = nothing is said */
    int cut;             /* GET leaves so many bytes off; below 0: adds as many */
    size_t damage;       /* GET flips bit 0 of this byte, counted from 1; 0 = none */
    bool swap;           /* GET gives a key the next one's value */
    bool late;           /* requests that may wait do, until script_complete */
    bool at_once;        /* ... are done before run returns DLOAD_PENDING */
    uint32_t fails_1_in; /* a request in so many fails, carried out or not; 0 = none */
    uint64_t seed;       /* ... by this sequence */
    /* Runs in every request, before it is carried out and with no lock held; NULL = nothing. */
    void (*act)(struct script_store *t, dload_store_op *op);
    void *act_ctx;
    /* what it saw */
    size_t n_ops[DLOAD_STORE_N_KINDS], n_keys[DLOAD_STORE_N_KINDS];
    size_t n_results;    /* answers not released */
    uint64_t timeout_ns; /* of the last request */
    dload_store_op *waiting[256];
    size_t n_waiting;
};

static inline size_t script_find(const struct script_store *t, const char *key, size_t key_bytes)
{
    size_t i = 0;
    while (i < t->n &&
           (t->entries[i].key_bytes != key_bytes || memcmp(t->entries[i].key, key, key_bytes) != 0))
        i++;
    return i;
}

static inline void script_remove(struct script_store *t, size_t i)
{
    free(t->entries[i].key);
    free(t->entries[i].value);
    t->entries[i] = t->entries[--t->n];
}

static inline char *script_copy(const void *bytes, size_t n)
{
    char *copy = malloc(n + 1);
    assert_non_null(copy);
    if (n) {
        memcpy(copy, bytes, n);
    }
    return copy;
}

static inline void script_put(struct script_store *t, const char *key, size_t key_bytes,
                              const void *value, size_t value_bytes, uint64_t ttl_ns)
{
    size_t i = script_find(t, key, key_bytes);
    if (i < t->n) {
        script_remove(t, i);
    }
    if (t->n == t->cap) {
        t->cap = t->cap ? t->cap * 2 : 64;
        t->entries = realloc(t->entries, t->cap * sizeof *t->entries);
        assert_non_null(t->entries);
    }
    t->entries[t->n++] =
        (struct script_entry){script_copy(key, key_bytes), script_copy(value, value_bytes),
                              key_bytes, value_bytes, ttl_ns};
}

/* Copies of what is there, so that reading them after the release is noticed. */
static inline void script_get(struct script_store *t, dload_store_op *op)
{
    char **copies = calloc(op->n + 1, sizeof *copies);
    assert_non_null(copies);
    op->results = copies;
    t->n_results++;
    for (size_t i = 0; i < op->n; i++) {
        dload_store_item *item = &op->items[i];
        const dload_store_item *asked = t->swap ? &op->items[(i + 1) % op->n] : item;
        size_t at = script_find(t, asked->key, asked->key_bytes);
        item->status = at < t->n ? DLOAD_OK : DLOAD_MISSING;
        if (at == t->n) {
            continue;
        }
        const struct script_entry *e = &t->entries[at];
        size_t n = e->value_bytes;
        size_t less = t->cut > 0 ? (size_t)t->cut : 0;
        size_t more = t->cut < 0 ? (size_t)-t->cut : 0;
        n = less < n ? n - less : 0;
        copies[i] = calloc(n + more + 1, 1);
        assert_non_null(copies[i]);
        memcpy(copies[i], e->value, n);
        n += more;
        if (t->damage && t->damage <= n) {
            copies[i][t->damage - 1] ^= 1;
        }
        item->value = copies[i];
        item->value_bytes = n;
        item->ttl_ns = t->says_left_ns ? t->says_left_ns : DLOAD_NEVER;
    }
}

static inline void script_clear(struct script_store *t, const dload_store_item *prefix)
{
    for (size_t i = t->n; i-- > 0;) {
        if (t->entries[i].key_bytes >= prefix->key_bytes &&
            memcmp(t->entries[i].key, prefix->key, prefix->key_bytes) == 0) {
            script_remove(t, i);
        }
    }
}

static inline void script_change(struct script_store *t, dload_store_op *op)
{
    for (size_t i = 0; i < op->n; i++) {
        dload_store_item *item = &op->items[i];
        item->status = DLOAD_OK;
        size_t at = script_find(t, item->key, item->key_bytes);
        if (op->kind == DLOAD_STORE_SET) {
            script_put(t, item->key, item->key_bytes, item->value, item->value_bytes, item->ttl_ns);
        } else if (op->kind == DLOAD_STORE_CLEAR) {
            script_clear(t, item);
        } else if (at < t->n) {
            script_remove(t, at);
        }
    }
}

/* Carries a request out; the mutex is not held. */
static inline dload_status script_do(struct script_store *t, dload_store_op *op)
{
    if (t->act) {
        t->act(t, op);
    }
    pthread_mutex_lock(&t->mutex);
    dload_status st = t->fails[op->kind];
    bool fails = t->fails_1_in && rng_below(&t->seed, t->fails_1_in) == 0;
    if (fails && rng_below(&t->seed, 2)) {
        st = DLOAD_EBACKEND;
    }
    t->n_ops[op->kind]++;
    t->n_keys[op->kind] += op->n;
    t->timeout_ns = op->timeout_ns;
    if (st >= 0 && op->kind == DLOAD_STORE_GET) {
        script_get(t, op);
    } else if (st >= 0) {
        script_change(t, op);
    }
    if (st >= 0 && t->fails_key[op->kind] < 0) {
        op->items[0].status = t->fails_key[op->kind];
    }
    if (fails && st >= 0) {
        st = DLOAD_ETIMEDOUT;
    }
    pthread_mutex_unlock(&t->mutex);
    return st;
}

static inline dload_status script_run(dload_store *s, dload_store_op *op)
{
    struct script_store *t = (struct script_store *)(void *)s;
    if (op->kind > DLOAD_STORE_CLEAR) {
        return DLOAD_EINVAL;
    }
    if (!op->done || !(t->late || t->at_once)) {
        return script_do(t, op);
    }
    if (t->at_once) {
        op->done(op, script_do(t, op));
        return DLOAD_PENDING;
    }
    pthread_mutex_lock(&t->mutex);
    assert_true(t->n_waiting < COUNT(t->waiting));
    t->waiting[t->n_waiting++] = op;
    pthread_mutex_unlock(&t->mutex);
    return DLOAD_PENDING;
}

/* Carries out and ends the i-th request that waits. */
static inline void script_complete(struct script_store *t, size_t i)
{
    pthread_mutex_lock(&t->mutex);
    assert_true(i < t->n_waiting);
    dload_store_op *op = t->waiting[i];
    t->n_waiting--;
    memmove(&t->waiting[i], &t->waiting[i + 1], (t->n_waiting - i) * sizeof t->waiting[0]);
    pthread_mutex_unlock(&t->mutex);
    op->done(op, script_do(t, op));
}

static inline void script_release(dload_store *s, dload_store_op *op)
{
    struct script_store *t = (struct script_store *)(void *)s;
    char **copies = op->results;
    for (size_t i = 0; i < op->n; i++) {
        free(copies[i]);
    }
    free(copies);
    pthread_mutex_lock(&t->mutex);
    t->n_results--;
    pthread_mutex_unlock(&t->mutex);
}

static inline void script_init(struct script_store *t, const dload_env *env)
{
    memset(t, 0, sizeof *t);
    t->store.name = "script";
    t->store.flags = DLOAD_STORE_BATCH | DLOAD_STORE_ASYNC;
    t->store.env = env;
    t->store.run = script_run;
    t->store.release = script_release;
    t->store.break_after = UINT32_MAX; /* a test that wants the breaker says so */
    pthread_mutex_init(&t->mutex, NULL);
}

static inline void script_end(struct script_store *t)
{
    equal(t->n_results, 0);
    equal(t->n_waiting, 0);
    while (t->n) {
        script_remove(t, t->n - 1);
    }
    free(t->entries);
    pthread_mutex_destroy(&t->mutex);
}

/* Is there an entry under this text? */
static inline bool script_has(struct script_store *t, const char *key)
{
    pthread_mutex_lock(&t->mutex);
    bool has = script_find(t, key, strlen(key)) < t->n;
    pthread_mutex_unlock(&t->mutex);
    return has;
}

#endif /* DLOAD_TESTS_STORE_H */
