/* dataloader_redis/uv.h -- the Redis store in a libuv loop.
 *
 * SPDX-License-Identifier: MIT
 *
 *     #define DLOAD_STORE 1
 *     #include "dataloader.h"
 *     #include "dataloader_redis/uv.h"                 // links: hiredis, uv, pthread
 *
 *     static dload_redis_uv redis;
 *     dload_redis_store_config cfg = {0};
 *     cfg.server.url = "redis://:secret@10.0.0.7";
 *     if (dload_redis_uv_init(&redis, loop, &cfg, why, sizeof why) != DLOAD_OK)
 *         return complain(why);
 *     loader_config.store = &redis.loop.store;         // a loader's of dataloader_uv.h, say
 *     ...
 *     dload_redis_uv_close(&redis, closed);            // closed(&redis) runs in the loop: free it there
 *
 * It keeps the loop running while a request is under way, and not otherwise. Everything else is as dataloader_redis/loop.h says;
 * the loop's thread is the one that runs it.
 */
#ifndef DLOAD_I_BACKEND_H
#error "dataloader_redis/uv.h: include dataloader.h with DLOAD_STORE 1 before this header"
#endif

#ifndef DLOAD_REDIS_UV_H
#define DLOAD_REDIS_UV_H

#include "loop.h"
#include "../dataloader_loop/uv.h"

/* A store in a loop. The caller's; it must stay where it is until closed() ran. */
typedef struct dload_redis_uv {
    void *data;            /* the caller's own */
    dload_redis_loop loop; /* loop.store is the store */
    dload_loop_uv handles; /* private */
    void (*closed)(struct dload_redis_uv *u);
} dload_redis_uv;

DLOAD_I_LOCAL void dload_redis_uv_i_process(void *store)
{
    dload_redis_loop_process(&((dload_redis_uv *)store)->loop);
}

DLOAD_I_LOCAL uint32_t dload_redis_uv_i_pending(void *store)
{
    return dload_redis_loop_pending(&((dload_redis_uv *)store)->loop);
}

DLOAD_I_LOCAL void dload_redis_uv_i_closed(void *store)
{
    dload_redis_uv *u = (dload_redis_uv *)store;
    u->closed(u); /* u may be gone */
}

/* Ends what is under way with DLOAD_ECLOSED, and frees what the store has; closed is called in the loop, once, when libuv is through
 * with its handles. closed must not be NULL. No other thread may make requests any more. Once; not from inside done. */
DLOAD_I_UNUSED static void dload_redis_uv_close(dload_redis_uv *u,
                                                void (*closed)(dload_redis_uv *u))
{
    dload_redis_loop_close(&u->loop);
    u->closed = closed;
    dload_redis_loop_end(&u->loop);
    dload_loop_uv_i_close(&u->handles, dload_redis_uv_i_closed);
}

/* Makes a store in a loop. cfg, why and statuses as for dload_redis_store_init; also DLOAD_ENOMEM when libuv has no handle left. The
 * thread that calls this is the loop's. Nothing is to be closed when it fails. */
DLOAD_I_UNUSED static dload_status dload_redis_uv_init(dload_redis_uv *u, uv_loop_t *loop,
                                                       const dload_redis_store_config *cfg,
                                                       char *why, size_t why_bytes)
{
    void *data = u->data;
    memset(u, 0, sizeof *u);
    u->data = data;
    u->handles.store = u;
    u->handles.process = dload_redis_uv_i_process;
    u->handles.pending = dload_redis_uv_i_pending;
    const dload_loop_hooks hooks = dload_loop_uv_i_hooks(&u->handles, loop);
    dload_status st = dload_redis_loop_init(&u->loop, cfg, &hooks, 0, why, why_bytes);
    if (st != DLOAD_OK)
        return st;
    if (!dload_loop_uv_i_open(&u->handles, u->loop.store.env, u->loop.n_slots)) {
        dload_redis_loop_end(&u->loop);
        return DLOAD_ENOMEM;
    }
    return DLOAD_OK;
}

#endif /* DLOAD_REDIS_UV_H */
