/* dataloader.h's cache under threads. READERS_VARIANT is its name; READERS_LOCK and READERS_STATS are the
 * parameters. */
#include "readers.h"

#ifndef READERS_VARIANT
#define READERS_VARIANT "ours-pthread"
#endif
#ifndef READERS_LOCK
#define READERS_LOCK DLOAD_LOCK_PTHREAD
#endif
#ifndef READERS_STATS
#define READERS_STATS 1
#endif

#define DLOAD_NAME  ours
#define DLOAD_KEY   uint64_t
#define DLOAD_VALUE readers_value
#define DLOAD_LOCK  READERS_LOCK
#define DLOAD_EVICT DLOAD_EVICT_S3FIFO
#define DLOAD_CLOCK DLOAD_CLOCK_MANUAL
#define DLOAD_STATS READERS_STATS
#include "dataloader.h"

#define TEXT_OF(x) #x
#define TEXT(x)    TEXT_OF(x)

const char readers_name[] = READERS_VARIANT;
const char readers_note[] =
    "cache of dataloader.h, the lock in its name, S3-FIFO, entries with a TTL that does not pass, "
    "manual "
    "clock, DLOAD_STATS " TEXT(
        READERS_STATS) ", default shards, own hash and load; copies out by itself; "
                       "any thread writes";

static ours_cache cache;

bool readers_create(size_t capacity)
{
    ours_cache_config config = {0};
    config.capacity = capacity;
    config.ttl_ns = 3600 * DLOAD_SECOND;
    if (ours_cache_init(&cache, &config) != DLOAD_OK) {
        return false;
    }
    ours_cache_advance(&cache, DLOAD_SECOND);
    return true;
}

void readers_destroy(void)
{
    ours_cache_destroy(&cache);
}

uint64_t readers_load_pct(void)
{
    return 0;
}

void readers_enter(void)
{
}

void readers_leave(void)
{
}

static inline bool find(uint64_t key, readers_value *out)
{
    return ours_cache_get(&cache, key, out) >= 0;
}

static inline void update(uint64_t key, const readers_value *value)
{
    ours_cache_set(&cache, key, value, 0);
}

static inline void quiet(void)
{
}

void readers_put(uint64_t oldest, uint64_t key)
{
    (void)oldest;
    readers_value v = readers_value_of(key, key);
    update(key, &v);
}

void readers_settle(void)
{
}

#include "readers_loop.h"
