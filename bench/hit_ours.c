/* dataloader.h's cache, alone. The build chooses the variant: HIT_VARIANT is its name in the table;
 * HIT_LOCK, HIT_EVICT and HIT_TTL are the parameters. */
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

#define DLOAD_NAME  ours
#define DLOAD_KEY   uint64_t
#define DLOAD_VALUE hit_value
#define DLOAD_LOCK  HIT_LOCK
#define DLOAD_EVICT HIT_EVICT
#define DLOAD_CLOCK DLOAD_CLOCK_MANUAL
#define DLOAD_TTL   HIT_TTL
#include "dataloader.h"

#define TEXT_OF(x) #x
#define TEXT(x)    TEXT_OF(x)

const char hit_name[] = HIT_VARIANT;
const char hit_note[] = "cache of dataloader.h, the parameters in its name, TTL " TEXT(
    HIT_TTL) ", manual clock, "
             "entries with a TTL that does not pass, own integer hash, its own load, default "
             "shards";

typedef ours_cache hit_table;

/* A TTL that never passes here: entries carry an expiry, and a hit has to look at it. */
#define TTL_NS (HIT_TTL ? 3600 * DLOAD_SECOND : 0)

void *hit_create(size_t capacity)
{
    hit_table *t = malloc(sizeof *t);
    if (t == NULL) {
        return NULL;
    }
    ours_cache_config config = {0};
    config.capacity = capacity;
    config.ttl_ns = TTL_NS;
    if (ours_cache_init(t, &config) != DLOAD_OK) {
        free(t);
        return NULL;
    }
    ours_cache_advance(t, DLOAD_SECOND);
    return t;
}

void hit_destroy(void *table)
{
    ours_cache_destroy(table);
    free(table);
}

static inline void hit_put(hit_table *t, uint64_t key, const hit_value *v)
{
    ours_cache_set(t, key, v, 0);
}

static inline void hit_drop(hit_table *t, uint64_t key)
{
    (void)t;
    (void)key;
}

static inline const hit_value *hit_find(hit_table *t, uint64_t key, hit_value *room)
{
    return ours_cache_get(t, key, room) >= 0 ? room : NULL;
}

/* Batches of 100, the loader's default, through the call for many keys. */
#define HIT_OWN_GET_MANY
size_t hit_get_many(void *table, const uint64_t *keys, size_t n, uint64_t *sum)
{
    enum { BATCH = 100 };
    hit_value values[BATCH];
    dload_status statuses[BATCH];
    uint64_t total = 0;
    size_t n_found = 0;
    for (size_t done = 0; done < n; done += BATCH) {
        size_t step = n - done < BATCH ? n - done : (size_t)BATCH;
        ours_cache_get_many(table, keys + done, step, values, statuses, NULL);
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

size_t hit_own_bytes(void *table)
{
    return ours_cache_bytes(table);
}

#include "hit_loops.h"
