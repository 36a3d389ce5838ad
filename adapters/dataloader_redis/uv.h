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

#include <uv.h>

/* A store in a loop. The caller's; it must stay where it is until closed() ran. */
typedef struct dload_redis_uv {
    void *data;            /* the caller's own */
    dload_redis_loop loop; /* loop.store is the store */
    /* private */
    uv_loop_t *uv;
    uv_thread_t thread;
    uv_async_t async;
    uv_timer_t timer;
    uv_poll_t **polls; /* by slot; NULL = none */
    uint32_t n_polls;
    const dload_env *env;
    uint32_t n_handles; /* that closed() waits for */
    void (*closed)(struct dload_redis_uv *u);
} dload_redis_uv;

/* Goes on, and holds the loop while there is something to wait for. */
DLOAD_I_LOCAL void dload_redis_uv_i_process(dload_redis_uv *u)
{
    if (u->closed != NULL)
        return;
    dload_redis_loop_process(&u->loop);
    if (dload_redis_loop_pending(&u->loop) != 0)
        uv_ref((uv_handle_t *)&u->async);
    else
        uv_unref((uv_handle_t *)&u->async);
}

DLOAD_I_LOCAL void dload_redis_uv_i_on_async(uv_async_t *async)
{
    dload_redis_uv_i_process((dload_redis_uv *)async->data);
}

DLOAD_I_LOCAL void dload_redis_uv_i_on_timer(uv_timer_t *timer)
{
    dload_redis_uv_i_process((dload_redis_uv *)timer->data);
}

DLOAD_I_LOCAL void dload_redis_uv_i_on_poll(uv_poll_t *poll, int status, int events)
{
    (void)status;
    (void)events; /* the connection finds out by itself */
    dload_redis_uv_i_process((dload_redis_uv *)poll->data);
}

DLOAD_I_LOCAL void dload_redis_uv_i_on_closed(uv_handle_t *handle)
{
    dload_redis_uv *u = (dload_redis_uv *)handle->data;
    if (handle->type == UV_POLL)
        dload_i_free(u->env, handle, sizeof(uv_poll_t));
    if (--u->n_handles == 0 && u->closed != NULL)
        u->closed(u); /* u may be gone */
}

/* dload_redis_loop_hooks.watch */
DLOAD_I_LOCAL void dload_redis_uv_i_watch(void *ctx, uint32_t slot, int fd, int events)
{
    dload_redis_uv *u = (dload_redis_uv *)ctx;
    uv_poll_t *poll = u->polls[slot];
    if (events == 0) {
        if (poll != NULL)
            uv_close((uv_handle_t *)poll, dload_redis_uv_i_on_closed);
        u->polls[slot] = NULL;
        return;
    }
    if (poll == NULL) {
        poll = (uv_poll_t *)dload_i_alloc(u->env, sizeof *poll);
        if (poll == NULL || uv_poll_init(u->uv, poll, fd) != 0) {
            dload_i_free(u->env, poll, sizeof *poll);
            return; /* what is asked on it ends by its time */
        }
        poll->data = u;
        u->n_handles++;
        u->polls[slot] = poll;
        uv_unref((uv_handle_t *)poll);
    }
    (void)uv_poll_start(poll,
                        ((events & POLLIN) != 0 ? UV_READABLE : 0) |
                            ((events & POLLOUT) != 0 ? UV_WRITABLE : 0),
                        dload_redis_uv_i_on_poll);
}

/* dload_redis_loop_hooks.timer: libuv counts milliseconds of its own clock, which is behind by a turn. */
DLOAD_I_LOCAL void dload_redis_uv_i_timer(void *ctx, uint64_t at_ns)
{
    dload_redis_uv *u = (dload_redis_uv *)ctx;
    if (at_ns == DLOAD_NEVER) {
        (void)uv_timer_stop(&u->timer);
        return;
    }
    const uint64_t now_ns = dload_redis_now();
    const uint64_t ms = at_ns > now_ns ? (at_ns - now_ns) / DLOAD_MILLISECOND + 1 : 0;
    uv_update_time(u->uv);
    (void)uv_timer_start(&u->timer, dload_redis_uv_i_on_timer, ms, 0);
}

/* dload_redis_loop_hooks.wake: a loop with nothing else to do would end before it saw this. */
DLOAD_I_LOCAL void dload_redis_uv_i_wake(void *ctx)
{
    dload_redis_uv *u = (dload_redis_uv *)ctx;
    uv_thread_t self = uv_thread_self();
    if (uv_thread_equal(&self, &u->thread) != 0)
        uv_ref((uv_handle_t *)&u->async);
    (void)uv_async_send(&u->async);
}

/* Ends what is under way with DLOAD_ECLOSED, and frees what the store has; closed is called in the loop, once, when libuv is through
 * with its handles. closed must not be NULL. No other thread may make requests any more. Once; not from inside done. */
DLOAD_I_UNUSED static void dload_redis_uv_close(dload_redis_uv *u,
                                                void (*closed)(dload_redis_uv *u))
{
    dload_redis_loop_close(&u->loop);
    u->closed = closed;
    dload_redis_loop_end(&u->loop);
    dload_i_free(u->env, u->polls, u->n_polls * sizeof *u->polls);
    u->polls = NULL;
    uv_close((uv_handle_t *)&u->async, dload_redis_uv_i_on_closed);
    uv_close((uv_handle_t *)&u->timer, dload_redis_uv_i_on_closed);
}

/* Makes a store in a loop. cfg, why and statuses as for dload_redis_store_init; also DLOAD_ENOMEM when libuv has no handle left. The
 * thread that calls this is the loop's. Nothing is to be closed when it fails. */
DLOAD_I_UNUSED static dload_status dload_redis_uv_init(dload_redis_uv *u, uv_loop_t *loop,
                                                       const dload_redis_store_config *cfg,
                                                       char *why, size_t why_bytes)
{
    dload_redis_loop_hooks hooks;
    void *data = u->data;
    memset(u, 0, sizeof *u);
    u->data = data;
    u->uv = loop;
    u->thread = uv_thread_self();
    hooks.watch = dload_redis_uv_i_watch;
    hooks.timer = dload_redis_uv_i_timer;
    hooks.wake = dload_redis_uv_i_wake;
    hooks.ctx = u;
    dload_status st = dload_redis_loop_init(&u->loop, cfg, &hooks, 0, why, why_bytes);
    if (st != DLOAD_OK)
        return st;
    u->env = u->loop.store.env;
    u->n_polls = u->loop.n_slots;
    u->polls = (uv_poll_t **)dload_i_alloc(u->env, u->n_polls * sizeof *u->polls);
    if (u->polls != NULL)
        memset(u->polls, 0, u->n_polls * sizeof *u->polls);
    if (u->polls == NULL || uv_async_init(loop, &u->async, dload_redis_uv_i_on_async) != 0) {
        dload_i_free(u->env, u->polls, u->n_polls * sizeof *u->polls);
        dload_redis_loop_end(&u->loop);
        return DLOAD_ENOMEM;
    }
    (void)uv_timer_init(loop, &u->timer); /* cannot fail */
    u->async.data = u->timer.data = u;
    u->n_handles = 2;
    uv_unref((uv_handle_t *)&u->async);
    uv_unref((uv_handle_t *)&u->timer);
    return DLOAD_OK;
}

#endif /* DLOAD_REDIS_UV_H */
