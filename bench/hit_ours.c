/* dataloader.h's cache, alone, or with HIT_LOADER a loader of which everything is in its cache. The build
 * chooses the variant: HIT_VARIANT is its name in the table; HIT_LOCK, HIT_EVICT and HIT_TTL are the
 * parameters. */
#include "hit.h"

#include <stdlib.h>

#ifndef HIT_VARIANT
#define HIT_VARIANT "ours"
#endif
#ifndef HIT_LOCK
#define HIT_LOCK DLOAD_LOCK_NONE
#endif
#ifndef HIT_EVICT
#define HIT_EVICT DLOAD_EVICT_S3FIFO
#endif
#ifndef HIT_TTL
#define HIT_TTL 1
#endif

#ifndef HIT_LOADER
#define HIT_LOADER 0
#endif

#define DLOAD_NAME ours
#if HIT_TEXT
#define DLOAD_KEY DLOAD_STRING
#else
#define DLOAD_KEY uint64_t
#endif
#define DLOAD_VALUE hit_value
#define DLOAD_LOCK  HIT_LOCK
#define DLOAD_EVICT HIT_EVICT
#define DLOAD_CLOCK DLOAD_CLOCK_MANUAL
#define DLOAD_TTL   HIT_TTL
#include "dataloader.h"

#if HIT_TEXT
typedef dload_str ours_key;
#else
typedef uint64_t ours_key;
#endif

#define TEXT_OF(x) #x
#define TEXT(x)    TEXT_OF(x)

const char hit_name[] = HIT_VARIANT;
const char hit_note[] = "cache of dataloader.h, the parameters in its name, TTL " TEXT(
    HIT_TTL) ", manual clock, "
             "entries with a TTL that does not pass, own integer hash, its own load, default "
             "shards";

/* A TTL that never passes here: entries carry an expiry, and a hit has to look at it. */
#define TTL_NS (HIT_TTL ? 3600 * DLOAD_SECOND : 0)

#if HIT_TEXT
static inline ours_key key_of(hit_key key)
{
    ours_key k = {key.bytes, key.n};
    return k;
}
#else
static inline ours_key key_of(hit_key key)
{
    return key;
}
#endif

#if HIT_LOADER
typedef ours hit_table;

/* Only look-ups that shall miss come here. */
static dload_status fetch(ours_batch *b)
{
    for (size_t i = 0; i < b->n; i++) {
        ours_batch_fail(b, i, DLOAD_MISSING);
    }
    return DLOAD_OK;
}

static dload_status table_init(hit_table *t, size_t capacity)
{
    ours_config config = ours_config_default();
    config.fetch = fetch;
    config.capacity = capacity;
    config.ttl_ns = TTL_NS;
    return ours_init(t, &config);
}

static void table_destroy(hit_table *t)
{
    ours_close(t, DLOAD_DRAIN, 0);
    ours_destroy(t);
}

static inline void hit_put(hit_table *t, hit_key key, const hit_value *v)
{
    ours_prime(t, key_of(key), v, DLOAD_OVERWRITE);
}

static inline const hit_value *hit_find(hit_table *t, hit_key key, hit_value *room)
{
    return ours_load(t, key_of(key), room) >= 0 ? room : NULL;
}

static inline void find_many(hit_table *t, const ours_key *keys, size_t n, hit_value *values,
                             dload_status *statuses)
{
    ours_load_many(t, keys, n, values, statuses);
}

size_t hit_own_bytes(void *table)
{
    return ours_cache_bytes(&((hit_table *)table)->cache);
}
#else
typedef ours_cache hit_table;

static dload_status table_init(hit_table *t, size_t capacity)
{
    ours_cache_config config = {0};
    config.capacity = capacity;
    config.ttl_ns = TTL_NS;
    dload_status st = ours_cache_init(t, &config);
    if (st == DLOAD_OK) {
        ours_cache_advance(t, DLOAD_SECOND);
    }
    return st;
}

static void table_destroy(hit_table *t)
{
    ours_cache_destroy(t);
}

static inline void hit_put(hit_table *t, hit_key key, const hit_value *v)
{
    ours_cache_set(t, key_of(key), v, 0);
}

static inline const hit_value *hit_find(hit_table *t, hit_key key, hit_value *room)
{
    return ours_cache_get(t, key_of(key), room) >= 0 ? room : NULL;
}

static inline void find_many(hit_table *t, const ours_key *keys, size_t n, hit_value *values,
                             dload_status *statuses)
{
    ours_cache_get_many(t, keys, n, values, statuses, NULL);
}

size_t hit_own_bytes(void *table)
{
    return ours_cache_bytes(table);
}
#endif

void *hit_create(size_t capacity)
{
    hit_table *t = malloc(sizeof *t);
    if (t != NULL && table_init(t, capacity) != DLOAD_OK) {
        free(t);
        t = NULL;
    }
    return t;
}

void hit_destroy(void *table)
{
    table_destroy(table);
    free(table);
}

#define HIT_EVICTS
static inline void hit_drop(hit_table *t, hit_key key)
{
    (void)t;
    (void)key;
}

#define HIT_OWN_SET
static inline void hit_set(hit_table *t, hit_key key, const hit_value *v)
{
    hit_put(t, key, v);
}

#define HIT_OWN_GET_MANY
size_t hit_get_many(void *table, const hit_key *keys, size_t n, size_t batch, uint64_t *sum)
{
    enum { MAX_BATCH = 1000 };
    hit_value values[MAX_BATCH];
    dload_status statuses[MAX_BATCH];
    if (batch > MAX_BATCH) {
        return 0;
    }
    uint64_t total = 0;
    size_t n_found = 0;
    for (size_t done = 0; done < n; done += batch) {
        size_t step = n - done < batch ? n - done : batch;
#if HIT_TEXT
        ours_key asked[MAX_BATCH];
        for (size_t i = 0; i < step; i++) {
            asked[i] = key_of(keys[done + i]);
        }
#else
        const ours_key *asked = keys + done;
#endif
        find_many(table, asked, step, values, statuses);
        for (size_t i = 0; i < step; i++) {
            if (statuses[i] >= 0) {
                total += hit_sum(&values[i]);
                n_found++;
            }
        }
    }
    *sum += total;
    return n_found;
}

#include "hit_loops.h"
