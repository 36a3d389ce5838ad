/* Bytes of caches: one cache of each policy, filled and then churned, under an allocator that counts. The
 * build chooses the rest: MEMORY_LOCK, MEMORY_TTL, MEMORY_TEXT (keys are strings of 8 to 64 bytes
 * instead of uint64_t), and MEMORY_VARIANT, its name. */
#include "harness.h"

#include <stdlib.h>
#include <string.h>

typedef struct memory_value {
    uint64_t w[4];
} memory_value;

#if MEMORY_TEXT
#define MEMORY_KEY DLOAD_STRING
#else
#define MEMORY_KEY uint64_t
#endif

#define DLOAD_NAME  m_fifo
#define DLOAD_KEY   MEMORY_KEY
#define DLOAD_VALUE memory_value
#define DLOAD_LOCK  MEMORY_LOCK
#define DLOAD_CLOCK DLOAD_CLOCK_MANUAL
#define DLOAD_TTL   MEMORY_TTL
#define DLOAD_EVICT DLOAD_EVICT_FIFO
#include "dataloader.h"
#define DLOAD_NAME  m_clock
#define DLOAD_KEY   MEMORY_KEY
#define DLOAD_VALUE memory_value
#define DLOAD_LOCK  MEMORY_LOCK
#define DLOAD_CLOCK DLOAD_CLOCK_MANUAL
#define DLOAD_TTL   MEMORY_TTL
#define DLOAD_EVICT DLOAD_EVICT_CLOCK
#include "dataloader.h"
#define DLOAD_NAME  m_lru
#define DLOAD_KEY   MEMORY_KEY
#define DLOAD_VALUE memory_value
#define DLOAD_LOCK  MEMORY_LOCK
#define DLOAD_CLOCK DLOAD_CLOCK_MANUAL
#define DLOAD_TTL   MEMORY_TTL
#define DLOAD_EVICT DLOAD_EVICT_LRU
#include "dataloader.h"
#define DLOAD_NAME  m_sieve
#define DLOAD_KEY   MEMORY_KEY
#define DLOAD_VALUE memory_value
#define DLOAD_LOCK  MEMORY_LOCK
#define DLOAD_CLOCK DLOAD_CLOCK_MANUAL
#define DLOAD_TTL   MEMORY_TTL
#define DLOAD_EVICT DLOAD_EVICT_SIEVE
#include "dataloader.h"
#define DLOAD_NAME  m_s3fifo
#define DLOAD_KEY   MEMORY_KEY
#define DLOAD_VALUE memory_value
#define DLOAD_LOCK  MEMORY_LOCK
#define DLOAD_CLOCK DLOAD_CLOCK_MANUAL
#define DLOAD_TTL   MEMORY_TTL
#define DLOAD_EVICT DLOAD_EVICT_S3FIFO
#include "dataloader.h"
#define DLOAD_NAME  m_adaptive
#define DLOAD_KEY   MEMORY_KEY
#define DLOAD_VALUE memory_value
#define DLOAD_LOCK  MEMORY_LOCK
#define DLOAD_CLOCK DLOAD_CLOCK_MANUAL
#define DLOAD_TTL   MEMORY_TTL
#define DLOAD_EVICT DLOAD_EVICT_ADAPTIVE
#include "dataloader.h"

static const char name[] = MEMORY_VARIANT;
static const char note[] = "caches of dataloader.h, one of each policy, default shards";

/* ---- the allocator that counts ---- */

static struct {
    size_t live_bytes;
    size_t n_allocs;
} heap;

static void *counting_alloc(void *ctx, size_t n_bytes)
{
    (void)ctx;
    heap.live_bytes += n_bytes;
    heap.n_allocs++;
    return malloc(n_bytes);
}

static void counting_free(void *ctx, void *p, size_t n_bytes)
{
    (void)ctx;
    heap.live_bytes -= n_bytes;
    free(p);
}

/* ---- keys ---- */

#if MEMORY_TEXT
typedef dload_str memory_key;

static memory_key key_of(uint64_t i)
{
    static char bytes[64];
    uint64_t number = bench_mix(i);
    memset(bytes, 'k', sizeof bytes);
    memcpy(bytes, &number, sizeof number);
    memory_key key = {bytes, 8 + (size_t)(number % 57)};
    return key;
}

static size_t key_bytes(memory_key key)
{
    return key.len;
}
#else
typedef uint64_t memory_key;

static memory_key key_of(uint64_t i)
{
    return bench_mix(i);
}

static size_t key_bytes(memory_key key)
{
    return sizeof key;
}
#endif

/* ---- one cache ---- */

/* capacity, churn (times the capacity): what a full cache takes, and what of it are keys and values. */
#define DEFINE_FILL(policy)                                                  \
    static void fill_##policy(const bench_args *args, bench_reply *reply)    \
    {                                                                        \
        uint64_t capacity = bench_arg(args, "capacity", 1000);               \
        uint64_t n = capacity * (1 + bench_arg(args, "churn", 2));           \
        uint64_t n_live = 0, payload_bytes = 0;                              \
        dload_env env = *dload_env_default();                                \
        env.alloc = counting_alloc;                                          \
        env.free = counting_free;                                            \
        m_##policy##_cache_config config;                                    \
        m_##policy##_cache cache;                                            \
        memset(&config, 0, sizeof config);                                   \
        config.env = &env;                                                   \
        config.capacity = (size_t)capacity;                                  \
        config.ttl_ns = MEMORY_TTL ? 3600 * DLOAD_SECOND : 0;                \
        heap.live_bytes = heap.n_allocs = 0;                                 \
        if (m_##policy##_cache_init(&cache, &config) != DLOAD_OK) {          \
            bench_fail(reply, "no memory");                                  \
            return;                                                          \
        }                                                                    \
        bench_put(reply, "n_init_allocs", heap.n_allocs);                    \
        for (uint64_t i = 0; i < n; i++) {                                   \
            memory_value v = {{i, i, i, i}};                                 \
            m_##policy##_cache_set(&cache, key_of(i), &v, 0);                \
        }                                                                    \
        for (uint64_t i = 0; i < n; i++) {                                   \
            memory_value v;                                                  \
            if (m_##policy##_cache_get(&cache, key_of(i), &v) == DLOAD_OK) { \
                n_live++;                                                    \
                payload_bytes += key_bytes(key_of(i)) + sizeof v;            \
            }                                                                \
        }                                                                    \
        bench_put(reply, "n_allocs", heap.n_allocs);                         \
        bench_put(reply, "n_live", n_live);                                  \
        bench_put(reply, "payload_bytes", payload_bytes);                    \
        bench_put(reply, "heap_bytes", heap.live_bytes);                     \
        if (m_##policy##_cache_bytes(&cache) != heap.live_bytes) {           \
            bench_fail(reply, "the cache says %zu bytes, its allocator %zu", \
                       m_##policy##_cache_bytes(&cache), heap.live_bytes);   \
        }                                                                    \
        m_##policy##_cache_destroy(&cache);                                  \
        if (heap.live_bytes != 0) {                                          \
            bench_fail(reply, "%zu bytes are left", heap.live_bytes);        \
        }                                                                    \
    }
DEFINE_FILL(fifo)
DEFINE_FILL(clock)
DEFINE_FILL(lru)
DEFINE_FILL(sieve)
DEFINE_FILL(s3fifo)
DEFINE_FILL(adaptive)

int main(void)
{
    static const bench_command commands[] = {
        {"fifo", fill_fifo},   {"clock", fill_clock},   {"lru", fill_lru},
        {"sieve", fill_sieve}, {"s3fifo", fill_s3fifo}, {"adaptive", fill_adaptive},
    };
    return bench_serve(name, note, commands, sizeof commands / sizeof commands[0]);
}
