/* test_redis_tracking.h -- a cache of a few counters, kept right by what a channel tells; small enough to be seen to be
 * right: an answer is kept only if nothing was forgotten since before it was asked for.
 *
 * A key's value in the server is a number that only grows, so that stale is what is less than it was.
 */
#ifndef TESTS_REDIS_TRACKING_H
#define TESTS_REDIS_TRACKING_H

#define DLOAD_STORE 1
#include "dataloader.h"
#include "adapters/dataloader_redis_tracking.h"

#include "support.h"
#include "servers/redis_server.h"

#include <pthread.h>

enum { CACHE_KEYS = 64 };

struct cache {
    pthread_mutex_t mutex;
    dload_sink sink;
    bool up;
    uint64_t flushes, gen[CACHE_KEYS];
    bool ready[CACHE_KEYS];
    int64_t value[CACHE_KEYS];
    uint64_t n_key, n_other, n_all, n_down, n_up, n_hits, n_dropped;
};

static void cache_flush(struct cache *c)
{
    c->flushes++;
    for (size_t i = 0; i < CACHE_KEYS; i++)
        c->ready[i] = false;
}

static void cache_key(void *ctx, const char *key, size_t n)
{
    struct cache *c = ctx;
    char text[16] = "";
    size_t i = CACHE_KEYS;
    if (n > 1 && n < sizeof text && key[0] == 'k') {
        memcpy(text, key + 1, n - 1);
        i = strtoull(text, NULL, 10);
    }
    pthread_mutex_lock(&c->mutex);
    if (i < CACHE_KEYS) {
        c->gen[i]++;
        c->ready[i] = false;
        c->n_key++;
    } else {
        c->n_other++;
    }
    pthread_mutex_unlock(&c->mutex);
}

static void cache_all(void *ctx)
{
    struct cache *c = ctx;
    pthread_mutex_lock(&c->mutex);
    cache_flush(c);
    c->n_all++;
    pthread_mutex_unlock(&c->mutex);
}

static void cache_turn(struct cache *c, bool up)
{
    pthread_mutex_lock(&c->mutex);
    cache_flush(c);
    c->up = up;
    c->n_up += up;
    c->n_down += !up;
    pthread_mutex_unlock(&c->mutex);
}

static void cache_down(void *ctx)
{
    cache_turn(ctx, false);
}

static void cache_up(void *ctx)
{
    cache_turn(ctx, true);
}

static void cache_init(struct cache *c)
{
    memset(c, 0, sizeof *c);
    (void)pthread_mutex_init(&c->mutex, NULL);
    c->sink = (dload_sink){cache_key, cache_all, cache_down, cache_up, c, NULL, NULL};
}

__attribute__((__unused__)) static uint64_t cache_count(struct cache *c, const uint64_t *counter)
{
    pthread_mutex_lock(&c->mutex);
    uint64_t n = *counter;
    pthread_mutex_unlock(&c->mutex);
    return n;
}

/* Runs COMMAND k<i>, whose answer is a number or nil, which is 0; -1 = no connection, the next call tries again. */
static int64_t ask(dload_redis_conn *d, dload_redis_server *s, const char *command, size_t i)
{
    char key[16];
    redisReply *r = NULL;
    int64_t value = -1;
    if (!dload_redis_usable(d)) {
        (void)dload_redis_close(d, DLOAD_OK, NULL);
        if (dload_redis_open(d, s) != DLOAD_OK)
            return -1;
    }
    (void)snprintf(key, sizeof key, "k%zu", i);
    dload_redis_begin(d, 2);
    dload_redis_text(d, command);
    dload_redis_text(d, key);
    if (dload_redis_get(d, dload_redis_until(d, 0), &r) != DLOAD_OK)
        return -1;
    if (r->type == REDIS_REPLY_INTEGER)
        value = r->integer;
    else if (r->type == REDIS_REPLY_NIL)
        value = 0;
    else if (r->type == REDIS_REPLY_STRING)
        value = strtoll(r->str, NULL, 10);
    freeReplyObject(r);
    return value;
}

/* From the cache, or from the server and then perhaps into the cache. */
static int64_t cache_load(struct cache *c, dload_redis_conn *d, dload_redis_server *s, size_t i)
{
    pthread_mutex_lock(&c->mutex);
    if (c->ready[i]) {
        int64_t hit = c->value[i];
        c->n_hits++;
        pthread_mutex_unlock(&c->mutex);
        return hit;
    }
    const uint64_t gen = c->gen[i], flushes = c->flushes;
    const bool keep = c->up;
    pthread_mutex_unlock(&c->mutex);
    int64_t value = ask(d, s, "GET", i);
    pthread_mutex_lock(&c->mutex);
    if (value >= 0 && keep && gen == c->gen[i] && flushes == c->flushes) {
        c->value[i] = value;
        c->ready[i] = true;
    } else {
        c->n_dropped++;
    }
    pthread_mutex_unlock(&c->mutex);
    return value;
}

__attribute__((__unused__)) static bool cache_has(struct cache *c, size_t i)
{
    pthread_mutex_lock(&c->mutex);
    bool has = c->ready[i];
    pthread_mutex_unlock(&c->mutex);
    return has;
}

#endif /* TESTS_REDIS_TRACKING_H */
