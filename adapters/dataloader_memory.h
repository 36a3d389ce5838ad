/* dataloader_memory.h -- a store in this process's memory, on the loader's own cache.
 *
 * SPDX-License-Identifier: MIT
 *
 * The upper tier of a dload_tiered, the store of a program that has no server, and what stands in for one in
 * tests: it knows everything that a server's store does, leases included.
 *
 *     #define DLOAD_STORE 1
 *     #include "dataloader.h"
 *     #include "dataloader_memory.h"
 *
 *     static dload_memory m;
 *     dload_memory_config cfg = {0};           // what is 0 has its default
 *     cfg.max_bytes = 256 << 20;
 *     dload_status st = dload_memory_init(&m, &cfg);
 *     config.store = &m.store;                 // of a loader, or
 *
 *     dload_store_item item = {0};
 *     item.key = "42";
 *     item.key_bytes = 2;
 *     dload_store_op op = {0};
 *     op.kind = DLOAD_STORE_GET;
 *     op.items = &item;
 *     op.n = 1;
 *     st = dload_store_run(&m.store, &op);     // item.status, item.value
 *     dload_store_release(&op);
 *     dload_memory_destroy(&m);
 *
 * BOUNDS  Never more than max_bytes, counted by keys, values and what an entry takes besides, and never more
 * than max_entries; what is used least goes (S3-FIFO). The table for max_entries is there from the start,
 * some 80 bytes an entry, and is not counted. A value may take the share of its shard, max_bytes / 8 or more:
 * DLOAD_ETOOBIG beyond.
 *
 * LIVES  An entry is not read after its ttl_ns by env's clock, and goes at the latest when something is stored.
 *
 * LEASES  Up to max_leases; with more the oldest are lost, and their FILLs come back with DLOAD_ELOCK. A SET ends
 * the lease of its key: what was stored now is newer than what its holder fetches.
 *
 * THREADS  Any, several at a time. GET and SET take one shard's lock for a moment; LEASE, FILL, DROP, DELETE and
 * SET one of 16 locks besides; CLEAR all of them, and looks at every entry. Nothing blocks: timeout_ns and done are
 * not looked at. In a child of fork() every request is DLOAD_EFORK.
 */
#ifndef DLOAD_MEMORY_H
#define DLOAD_MEMORY_H

#ifndef DLOAD_I_BACKEND_H
#error "dataloader_memory.h: include dataloader.h with DLOAD_STORE 1 before this header"
#endif
#if DLOAD_FREESTANDING
#error "dataloader_memory.h: it needs threads; it does not go with DLOAD_FREESTANDING 1"
#endif

#include <pthread.h>

/* ---- two caches: values, and leases ---- */

/* What stands before a value's bytes. Private. */
typedef struct dload_memory_i_head {
    uint64_t expires_ns; /* in env's time; DLOAD_NEVER = does not */
    uint64_t weight;     /* of the entry, in bytes */
} dload_memory_i_head;

DLOAD_I_LOCAL dload_memory_i_head dload_memory_i_head_of(const dload_blob *blob)
{
    dload_memory_i_head head;
    memcpy(&head, blob->ptr, sizeof head);
    return head;
}

DLOAD_I_LOCAL uint64_t dload_memory_i_weigh(const dload_blob *blob)
{
    return dload_memory_i_head_of(blob).weight;
}

typedef struct dload_memory_i_lease {
    uint64_t id[2];
    uint64_t expires_ns;
} dload_memory_i_lease;

#define DLOAD_NAME      dload_memory_i_entries
#define DLOAD_KEY       DLOAD_STRING
#define DLOAD_VALUE     DLOAD_BLOB
#define DLOAD_LOCK      DLOAD_LOCK_PTHREAD
#define DLOAD_EVICT     DLOAD_EVICT_S3FIFO
#define DLOAD_WEIGHT(v) dload_memory_i_weigh(v)
#define DLOAD_STATS     0
#include "dataloader.h"

#define DLOAD_NAME  dload_memory_i_leases
#define DLOAD_KEY   DLOAD_STRING
#define DLOAD_VALUE dload_memory_i_lease
#define DLOAD_LOCK  DLOAD_LOCK_PTHREAD
#define DLOAD_EVICT DLOAD_EVICT_FIFO
#define DLOAD_STATS 0
#include "dataloader.h"

/* What an entry takes besides its bytes, more or less: a slot, the blob's head, two allocations. */
#define DLOAD_MEMORY_I_ENTRY_BYTES 160u
#define DLOAD_MEMORY_I_LOCKS       16u

/* What a memory store is made from; 0 always means the default. */
typedef struct dload_memory_config {
    const dload_env *env; /* clock and memory, must outlive the store; NULL = the host's */
    uint64_t max_bytes;   /* keys, values and entries together; default 64 MiB */
    size_t max_entries;   /* default: one for each KiB of max_bytes, 1,024 to 2^20 */
    size_t max_leases;    /* out at a time; default 16,384 */
    size_t max_key_bytes; /* longer ones are DLOAD_ETOOBIG; default 128 KiB; 4 MiB at most */
} dload_memory_config;

/* A memory store. The caller's, and stays where it is from _init to _destroy. */
typedef struct dload_memory {
    dload_store store; /* hand &m->store to whoever asks */
    /* private */
    dload_memory_i_entries_cache entries;
    dload_memory_i_leases_cache leases;
    /* By the key's hash: nobody comes between a look at a key's lease and what follows from it. Taken before the
     * caches' own locks, all of them only in rising order. */
    pthread_mutex_t locks[DLOAD_MEMORY_I_LOCKS];
    uint32_t fork_epoch;
} dload_memory;

/* What a GET or LEASE found. Private. */
typedef struct dload_memory_i_results {
    size_t n_bytes; /* of the block */
    size_t n;
    dload_blob *blobs; /* behind this */
} dload_memory_i_results;

/* ---- one key ---- */

DLOAD_I_LOCAL dload_str dload_memory_i_key(const dload_store_item *item)
{
    dload_str key;
    key.ptr = item->key;
    key.len = item->key_bytes;
    return key;
}

DLOAD_I_LOCAL pthread_mutex_t *dload_memory_i_lock_of(dload_memory *m, dload_str key)
{
    return &m->locks[dload_i_hash_bytes(key.ptr, key.len) % DLOAD_MEMORY_I_LOCKS];
}

/* Reads a key; *blob is the caller's to release when it is there. */
DLOAD_I_LOCAL dload_status dload_memory_i_get(dload_memory *m, dload_store_item *item,
                                              dload_blob *blob)
{
    dload_status st = dload_memory_i_entries_cache_get(&m->entries, dload_memory_i_key(item), blob);
    if (st < 0)
        return st;
    const dload_memory_i_head head = dload_memory_i_head_of(blob);
    const uint64_t now_ns = dload_i_now(m->store.env);
    if (head.expires_ns <= now_ns) { /* the cache's own clock has coarser ticks */
        dload_blob_release(blob);
        return DLOAD_MISSING;
    }
    item->value_bytes = blob->len - sizeof head;
    item->value = item->value_bytes != 0 ? (const char *)blob->ptr + sizeof head : NULL;
    item->ttl_ns = head.expires_ns == DLOAD_NEVER ? DLOAD_NEVER : head.expires_ns - now_ns;
    return DLOAD_OK;
}

/* Makes what is to be stored for an item. */
DLOAD_I_LOCAL dload_status dload_memory_i_make(dload_memory *m, const dload_store_item *item,
                                               dload_blob *blob)
{
    dload_memory_i_head head;
    const size_t most_bytes = (size_t)1 << 30;
    if (item->ttl_ns == 0 || (item->value == NULL && item->value_bytes != 0))
        return DLOAD_EINVAL;
    if (item->value_bytes > most_bytes || item->key_bytes > most_bytes)
        return DLOAD_ETOOBIG;
    head.expires_ns = dload_i_add_ns(dload_i_now(m->store.env), item->ttl_ns);
    head.weight = DLOAD_MEMORY_I_ENTRY_BYTES + item->key_bytes + item->value_bytes;
    dload_status st = dload_blob_make(m->store.env, NULL, sizeof head + item->value_bytes, blob);
    if (st < 0)
        return st;
    char *to = (char *)(uintptr_t)blob->ptr; /* nobody else has it yet */
    memcpy(to, &head, sizeof head);
    if (item->value_bytes != 0)
        memcpy(to + sizeof head, item->value, item->value_bytes);
    return DLOAD_OK;
}

/* Stores an item. The lock of its key is held. A value that does not get in takes along the older one. */
DLOAD_I_LOCAL dload_status dload_memory_i_set(dload_memory *m, const dload_store_item *item)
{
    dload_blob blob;
    dload_status st = dload_memory_i_make(m, item, &blob);
    if (st >= 0) {
        st = dload_memory_i_entries_cache_set(&m->entries, dload_memory_i_key(item), &blob,
                                              item->ttl_ns);
        dload_blob_release(&blob);
    }
    if (st < 0 && st != DLOAD_EINVAL)
        (void)dload_memory_i_entries_cache_delete(&m->entries, dload_memory_i_key(item));
    return st;
}

/* Who has the lease of a key? The lock of the key is held. */
DLOAD_I_LOCAL bool dload_memory_i_leased(dload_memory *m, const dload_store_item *item,
                                         dload_memory_i_lease *lease, uint64_t now_ns)
{
    return dload_memory_i_leases_cache_get(&m->leases, dload_memory_i_key(item), lease) ==
               DLOAD_OK &&
           lease->expires_ns > now_ns;
}

DLOAD_I_LOCAL bool dload_memory_i_has_lease(dload_memory *m, const dload_store_item *item)
{
    dload_memory_i_lease lease;
    return dload_memory_i_leased(m, item, &lease, dload_i_now(m->store.env)) &&
           lease.id[0] == item->lease[0] && lease.id[1] == item->lease[1];
}

/* A value, or the lease, or how long to wait for whoever has it. */
DLOAD_I_LOCAL dload_status dload_memory_i_ask(dload_memory *m, dload_store_item *item,
                                              dload_blob *blob)
{
    dload_status st = dload_memory_i_get(m, item, blob);
    if (st != DLOAD_MISSING)
        return st;
    pthread_mutex_t *lock = dload_memory_i_lock_of(m, dload_memory_i_key(item));
    (void)pthread_mutex_lock(lock);
    st = dload_memory_i_get(m, item, blob); /* it may have been filled just now */
    if (st == DLOAD_MISSING) {
        dload_memory_i_lease lease;
        const uint64_t now_ns = dload_i_now(m->store.env);
        if (dload_memory_i_leased(m, item, &lease, now_ns) &&
            (lease.id[0] != item->lease[0] || lease.id[1] != item->lease[1])) {
            item->ttl_ns = lease.expires_ns - now_ns;
            st = DLOAD_EBUSY;
        } else {
            lease.id[0] = item->lease[0];
            lease.id[1] = item->lease[1];
            lease.expires_ns = dload_i_add_ns(now_ns, item->ttl_ns);
            dload_status kept =
                item->ttl_ns == 0 ? DLOAD_EINVAL
                                  : dload_memory_i_leases_cache_set(
                                        &m->leases, dload_memory_i_key(item), &lease, item->ttl_ns);
            st = kept < 0 ? kept : DLOAD_MISSING;
        }
    }
    (void)pthread_mutex_unlock(lock);
    return st;
}

/* SET, DELETE, FILL and DROP of one key: what they do about its lease and its value, in one step. */
DLOAD_I_LOCAL dload_status dload_memory_i_change(dload_memory *m, dload_store_kind kind,
                                                 const dload_store_item *item)
{
    const dload_str key = dload_memory_i_key(item);
    dload_status st = DLOAD_OK;
    pthread_mutex_t *lock = dload_memory_i_lock_of(m, key);
    (void)pthread_mutex_lock(lock);
    const bool by_lease = kind == DLOAD_STORE_FILL || kind == DLOAD_STORE_DROP;
    if (by_lease && !dload_memory_i_has_lease(m, item)) {
        st = kind == DLOAD_STORE_FILL ? DLOAD_ELOCK : DLOAD_OK;
    } else {
        st = dload_memory_i_leases_cache_delete(&m->leases, key);
        if (kind == DLOAD_STORE_SET || kind == DLOAD_STORE_FILL)
            st = dload_memory_i_set(m, item);
        else if (kind == DLOAD_STORE_DELETE)
            st = dload_memory_i_entries_cache_delete(&m->entries, key);
    }
    (void)pthread_mutex_unlock(lock);
    return st;
}

/* ---- requests ---- */

/* All keys that begin so, and their leases: no FILL is halfway through meanwhile. */
DLOAD_I_LOCAL dload_status dload_memory_i_clear(dload_memory *m, dload_store_item *item)
{
    const dload_str prefix = dload_memory_i_key(item);
    for (size_t i = 0; i < DLOAD_MEMORY_I_LOCKS; i++)
        (void)pthread_mutex_lock(&m->locks[i]);
    (void)dload_memory_i_leases_i_clear_some(&m->leases, 0, &prefix);
    (void)dload_memory_i_entries_i_clear_some(&m->entries, 0, &prefix);
    for (size_t i = DLOAD_MEMORY_I_LOCKS; i-- > 0;)
        (void)pthread_mutex_unlock(&m->locks[i]);
    item->status = DLOAD_OK;
    return DLOAD_OK;
}

/* GET and LEASE: blobs for all keys, NULL where there is none. */
DLOAD_I_LOCAL dload_status dload_memory_i_read(dload_memory *m, dload_store_op *op)
{
    size_t n_bytes = 0;
    if (!dload_i_mul_size(op->n, sizeof(dload_blob), &n_bytes) ||
        n_bytes > SIZE_MAX - sizeof(dload_memory_i_results))
        return DLOAD_ENOMEM;
    n_bytes += sizeof(dload_memory_i_results);
    dload_memory_i_results *r = (dload_memory_i_results *)dload_i_alloc(m->store.env, n_bytes);
    if (r == NULL)
        return DLOAD_ENOMEM;
    r->n_bytes = n_bytes;
    r->n = op->n;
    r->blobs = (dload_blob *)(void *)(r + 1);
    op->results = r;
    for (size_t i = 0; i < op->n; i++) {
        dload_store_item *item = &op->items[i];
        r->blobs[i].ptr = NULL;
        r->blobs[i].len = 0;
        item->status = op->kind == DLOAD_STORE_GET ? dload_memory_i_get(m, item, &r->blobs[i])
                                                   : dload_memory_i_ask(m, item, &r->blobs[i]);
    }
    return DLOAD_OK;
}

DLOAD_I_LOCAL dload_status dload_memory_i_run(dload_store *s, dload_store_op *op)
{
    dload_memory *m = (dload_memory *)(void *)s;
    if (m->fork_epoch != dload_i_watch_forks())
        return DLOAD_EFORK;
    switch (op->kind) {
    case DLOAD_STORE_GET:
    case DLOAD_STORE_LEASE:
        return dload_memory_i_read(m, op);
    case DLOAD_STORE_SET:
    case DLOAD_STORE_DELETE:
    case DLOAD_STORE_FILL:
    case DLOAD_STORE_DROP:
        for (size_t i = 0; i < op->n; i++)
            op->items[i].status = dload_memory_i_change(m, op->kind, &op->items[i]);
        return DLOAD_OK;
    case DLOAD_STORE_CLEAR:
        return dload_memory_i_clear(m, &op->items[0]);
    case DLOAD_STORE_N_KINDS:
    default:
        return DLOAD_EINVAL;
    }
}

DLOAD_I_LOCAL void dload_memory_i_release(dload_store *s, dload_store_op *op)
{
    dload_memory_i_results *r = (dload_memory_i_results *)op->results;
    for (size_t i = 0; i < r->n; i++)
        dload_blob_release(&r->blobs[i]);
    dload_i_free(s->env, r, r->n_bytes);
}

/* ---- life ---- */

/* As many shards, up to 16, as leave each at least 8 MiB: the share of one is the most that a value may weigh. */
DLOAD_I_LOCAL size_t dload_memory_i_shards(uint64_t max_bytes)
{
    size_t n = 1;
    while (n < 16 && max_bytes / (n * 2) >= (uint64_t)8 << 20)
        n *= 2;
    return n;
}

DLOAD_I_LOCAL dload_status dload_memory_i_open(dload_memory *m, const dload_memory_config *cfg)
{
    dload_memory_i_entries_cache_config entries;
    dload_memory_i_leases_cache_config leases;
    memset(&entries, 0, sizeof entries);
    memset(&leases, 0, sizeof leases);
    entries.env = leases.env = m->store.env;
    entries.max_weight = cfg->max_bytes != 0 ? cfg->max_bytes : (uint64_t)64 << 20;
    uint64_t n = entries.max_weight >> 10;
    n = n < 1024 ? 1024 : n;
    n = n > 1 << 20 ? 1 << 20 : n;
    entries.capacity = cfg->max_entries != 0 ? cfg->max_entries : (size_t)n;
    entries.shards = dload_memory_i_shards(entries.max_weight);
    entries.max_key_bytes = cfg->max_key_bytes != 0 ? cfg->max_key_bytes : (size_t)128 << 10;
    leases.capacity = cfg->max_leases != 0 ? cfg->max_leases : 16384;
    leases.max_key_bytes = entries.max_key_bytes;
    if (entries.capacity == DLOAD_UNBOUNDED || entries.capacity == DLOAD_NO_CACHE ||
        leases.capacity == DLOAD_UNBOUNDED || leases.capacity == DLOAD_NO_CACHE)
        return DLOAD_EINVAL;
    dload_status st = dload_memory_i_entries_cache_init(&m->entries, &entries);
    if (st < 0)
        return st;
    st = dload_memory_i_leases_cache_init(&m->leases, &leases);
    if (st < 0)
        (void)dload_memory_i_entries_cache_destroy(&m->entries);
    return st;
}

/* Prepares a store; config may be NULL for defaults. Set m->store.hooks and .break_after afterwards, if you like.
 * Returns DLOAD_OK; DLOAD_EINVAL when a field is out of range; DLOAD_ENOMEM. Allocates the tables. */
DLOAD_I_LOCAL dload_status dload_memory_init(dload_memory *m, const dload_memory_config *config)
{
    dload_memory_config cfg;
    memset(&cfg, 0, sizeof cfg);
    if (config != NULL)
        cfg = *config;
    memset(m, 0, sizeof *m);
    m->store.name = "memory";
    m->store.flags = DLOAD_STORE_TTL | DLOAD_STORE_LEASES;
    m->store.env = cfg.env != NULL ? cfg.env : dload_env_default();
    m->store.run = dload_memory_i_run;
    m->store.release = dload_memory_i_release;
    m->fork_epoch = dload_i_watch_forks();
    dload_status st = dload_memory_i_open(m, &cfg);
    if (st < 0)
        return st;
    for (size_t i = 0; i < DLOAD_MEMORY_I_LOCKS; i++)
        (void)pthread_mutex_init(&m->locks[i], NULL); /* glibc's and musl's cannot fail */
    return DLOAD_OK;
}

/* Ends a store; everything in it goes. No request may run, and what was read must have been released. */
DLOAD_I_LOCAL void dload_memory_destroy(dload_memory *m)
{
    (void)dload_memory_i_entries_cache_destroy(&m->entries);
    (void)dload_memory_i_leases_cache_destroy(&m->leases);
    for (size_t i = 0; i < DLOAD_MEMORY_I_LOCKS; i++)
        (void)pthread_mutex_destroy(&m->locks[i]);
}

#endif /* DLOAD_MEMORY_H */
