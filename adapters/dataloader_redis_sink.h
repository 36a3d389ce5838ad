/* dataloader_redis_sink.h -- who is told which keys changed, when what is heard of are names in Redis.
 *
 * SPDX-License-Identifier: MIT
 *
 *     #include "dataloader_redis_sink.h"               // links: hiredis pthread
 *
 *     dload_redis_store redis;                         // see dataloader_redis.h
 *     dload_redis_tracking tracking;                   // see dataloader_redis_tracking.h
 *     dload_sink users_in;
 *     dload_redis_name_sink names;
 *     ...
 *     dload_redis_tracking_init(&tracking, &redis.server, NULL);  // before the store's first request
 *     users_sink(&users, &users_in);                   // a loader's, or your own
 *     dload_redis_name_sink_init(&names, &redis, &users_in);
 *     dload_redis_tracking_add(&tracking, &names.sink);
 *     dload_redis_tracking_start(&tracking);
 *     ...
 *     dload_redis_tracking_stop(&tracking);            // in this order
 *     dload_redis_store_end(&redis);
 *     dload_redis_tracking_end(&tracking);
 *
 * Client tracking tells names as the server has them ("dload:users:42"), loaders know the store's keys ("users:42"). What
 * is no value of the store (a lease, another program's name) is passed on to nobody. Each sink of a
 * tracking has a name sink of its own. Not needed behind a channel, which tells keys as they were published.
 */
#ifndef DLOAD_I_BACKEND_H
#error "dataloader_redis_sink.h: include dataloader.h with DLOAD_STORE 1 before this header"
#endif

#ifndef DLOAD_REDIS_SINK_H
#define DLOAD_REDIS_SINK_H

#include "dataloader_redis.h"
#include "dataloader_redis_tracking.h"

/* A sink in front of another. The caller's; it, the store and the inner sink must stay while it is told. */
typedef struct dload_redis_name_sink {
    dload_sink sink; /* add this to a tracking */
    dload_sink *inner;
    const dload_redis_store *redis;
} dload_redis_name_sink;

/* A name changed. Longer ones than the stack has room for are rare; without memory for one, everything is
 * forgotten: what is not told stays wrong. */
DLOAD_I_LOCAL void dload_redis_i_name_changed(void *ctx, const char *name, size_t name_bytes)
{
    const dload_redis_name_sink *s = (const dload_redis_name_sink *)ctx;
    char near_by[512];
    char *key = near_by;
    size_t key_bytes = 0;
    if (name_bytes > sizeof near_by)
        key = (char *)dload_i_alloc(s->redis->store.env, name_bytes);
    if (key == NULL)
        s->inner->all(s->inner->ctx);
    else if (dload_redis_key_of_name(s->redis->prefix.ptr, name, name_bytes, key, &key_bytes))
        s->inner->key(s->inner->ctx, key, key_bytes);
    if (key != near_by)
        dload_i_free(s->redis->store.env, key, name_bytes);
}

DLOAD_I_LOCAL void dload_redis_i_names_all(void *ctx)
{
    const dload_redis_name_sink *s = (const dload_redis_name_sink *)ctx;
    s->inner->all(s->inner->ctx);
}

DLOAD_I_LOCAL void dload_redis_i_names_down(void *ctx)
{
    const dload_redis_name_sink *s = (const dload_redis_name_sink *)ctx;
    s->inner->down(s->inner->ctx);
}

DLOAD_I_LOCAL void dload_redis_i_names_up(void *ctx)
{
    const dload_redis_name_sink *s = (const dload_redis_name_sink *)ctx;
    s->inner->up(s->inner->ctx);
}

/* Puts a sink in front of inner that takes this store's names. Allocates nothing; nothing is to be ended. */
DLOAD_I_UNUSED static void dload_redis_name_sink_init(dload_redis_name_sink *s,
                                                      const dload_redis_store *redis,
                                                      dload_sink *inner)
{
    memset(s, 0, sizeof *s);
    s->sink.key = dload_redis_i_name_changed;
    s->sink.all = dload_redis_i_names_all;
    s->sink.down = dload_redis_i_names_down;
    s->sink.up = dload_redis_i_names_up;
    s->sink.ctx = s;
    s->inner = inner;
    s->redis = redis;
}

#endif /* DLOAD_REDIS_SINK_H */
