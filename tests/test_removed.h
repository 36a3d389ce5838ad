/* Caches and loaders whose config.on_remove writes down what it is told; see test_removed.c. */
#ifndef DLOAD_TESTS_REMOVED_H
#define DLOAD_TESTS_REMOVED_H

#include "test_things.h"

#define DLOAD_NAME        own
#define DLOAD_KEY         uint64_t
#define DLOAD_VALUE       struct thing
#define DLOAD_VALUE_REF   thing_ref
#define DLOAD_VALUE_UNREF thing_unref
#define DLOAD_LOCK        TEST_LOCK
#define DLOAD_CLOCK       DLOAD_CLOCK_MANUAL
#define DLOAD_EVICT       DLOAD_EVICT_FIFO
#define DLOAD_ON_REMOVE   1
#include "dataloader.h"
/* plain values, string keys, groups, and weights */
#define DLOAD_NAME      str
#define DLOAD_KEY       DLOAD_STRING
#define DLOAD_VALUE     struct thing
#define DLOAD_LOCK      TEST_LOCK
#define DLOAD_EVICT     DLOAD_EVICT_FIFO
#define DLOAD_GROUP     1
#define DLOAD_WEIGHT(v) ((v)->id % 1000 < 900 ? 1u : (v)->id % 1000 - 899)
#define DLOAD_ON_REMOVE 1
#include "dataloader.h"
#include "support.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static int32_t n_told[MAX_THINGS];
static const char *const reasons[] = {"?",       "evicted",  "expired",  "replaced",
                                      "cleared", "rejected", "destroyed"};

struct watcher {
    struct fake_env f;
    struct text log; /* "7:70 evicted" */
    bool quiet;
    size_t n_calls;
    void (*act)(struct watcher *w, uint64_t key); /* inside the hook */
    own_cache *c;
    own *l;
    str_cache *s;
    int depth;
};

static inline void watch(struct watcher *w, uint64_t key, uint32_t id, dload_removal reason)
{
    assert_true(reason >= DLOAD_REMOVED_EVICTED && reason <= DLOAD_REMOVED_DESTROYED);
    n_told[id]++;
    w->n_calls++;
    if (!w->quiet) {
        text_add(&w->log, "%s%" PRIu64 ":%u %s", w->log.len ? ", " : "", key, (unsigned)id,
                 reasons[reason]);
    }
    if (w->act) {
        w->act(w, key);
    }
}

static inline void own_gone(void *ctx, own_removed *r)
{
    assert_true(n_owners[r->value.id] > 0); /* not yet released */
    watch(ctx, r->key, r->value.id, r->reason);
}

static inline void str_gone(void *ctx, str_removed *r)
{
    char text[32];
    assert_true(r->key.len < sizeof text);
    memcpy(text, r->key.ptr, r->key.len); /* may be read */
    text[r->key.len] = 0;
    unsigned key = 0;
    equal(sscanf(text, "key %u", &key), 1);
    watch(ctx, key * 10 + r->group, r->value.id, r->reason);
}

static inline void watcher_init(struct watcher *w)
{
    memset(w, 0, sizeof *w);
    memset(n_owners, 0, sizeof n_owners);
    memset(n_told, 0, sizeof n_told);
    fake_env_init(&w->f);
}

static inline void own_open(struct watcher *w, own_cache *c, size_t capacity)
{
    own_cache_config cfg;
    memset(&cfg, 0, sizeof cfg);
    watcher_init(w);
    cfg.env = &w->f.env;
    cfg.capacity = capacity;
    cfg.shards = 1;
    cfg.on_remove = own_gone;
    cfg.ctx = w;
    must_ok(own_cache_init(c, &cfg));
    w->c = c;
}

/* Every value that was ever put was told of once, and nobody owns any. */
static inline void all_told(struct watcher *w, uint32_t first, uint32_t n)
{
    for (uint32_t id = first; id < first + n; id++) {
        if (n_told[id] != 1 || n_owners[id] != 0) {
            fail_msg("value %u: told %d times, %d owners", (unsigned)id, (int)n_told[id],
                     (int)n_owners[id]);
        }
    }
    fake_env_check(&w->f);
}

static inline dload_status own_put(own_cache *c, uint64_t key, uint32_t id, uint64_t ttl_ns)
{
    struct thing t = {id, 0};
    n_owners[id]++; /* ours, for the time of the call */
    dload_status st = own_cache_set(c, key, &t, ttl_ns);
    n_owners[id]--;
    return st;
}

static char key_text[32];

static inline dload_str key_of(unsigned key)
{
    (void)snprintf(key_text, sizeof key_text, "key %u", key);
    return dload_str_from(key_text);
}

static inline void str_open(struct watcher *w, str_cache *c, size_t capacity, uint64_t max_weight)
{
    str_cache_config cfg;
    memset(&cfg, 0, sizeof cfg);
    watcher_init(w);
    cfg.env = &w->f.env;
    cfg.capacity = capacity;
    cfg.max_weight = max_weight;
    cfg.shards = 1;
    cfg.on_remove = str_gone;
    cfg.ctx = w;
    must_ok(str_cache_init(c, &cfg));
}

static inline size_t count(const struct text *log, const char *word)
{
    size_t n = 0;
    for (const char *at = strstr(log->buf, word); at; at = strstr(at + 1, word)) {
        n++;
    }
    return n;
}

/* ---- a loader ---- */

static uint32_t next_id;

/* Answers key k with a new value, from 1000 on not at all. */
static inline dload_status own_fetch(own_batch *b)
{
    for (size_t i = 0; i < b->n; i++) {
        if (b->keys[i] < 1000) {
            struct thing t = {next_id++, 0};
            n_owners[t.id]++;
            must_ok(own_batch_set(b, i, &t));
            n_owners[t.id]--;
        }
    }
    return DLOAD_OK;
}

static inline void own_take(own *l, uint64_t key, uint32_t flags)
{
    struct thing t;
    dload_call call;
    memset(&call, 0, sizeof call);
    call.flags = flags;
    must_ok(own_load_with(l, key, &call, &t));
    thing_unref(&t);
}

static inline void own_loader(struct watcher *w, own *l, size_t capacity)
{
    own_config cfg = own_config_default();
    watcher_init(w);
    cfg.env = &w->f.env;
    cfg.fetch = own_fetch;
    cfg.ctx = w;
    cfg.capacity = capacity;
    cfg.shards = 1;
    cfg.missing_ttl_ns = DLOAD_SECOND;
    cfg.on_remove = own_gone;
    must_ok(own_init(l, &cfg));
    w->l = l;
}

#endif /* DLOAD_TESTS_REMOVED_H */
