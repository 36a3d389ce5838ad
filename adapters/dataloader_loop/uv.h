/* dataloader_loop/uv.h -- what a store in a libuv loop needs of libuv, whichever store it is.
 *
 * SPDX-License-Identifier: MIT
 *
 * Part of the adapters that include it: dataloader_redis/uv.h, dataloader_postgres/uv.h. It keeps the loop running while a
 * request is under way, and not otherwise.
 */
#ifndef DLOAD_I_BACKEND_H
#error "dataloader_loop/uv.h: include the adapter that has it, and dataloader.h before that"
#endif

#ifndef DLOAD_LOOP_UV_H
#define DLOAD_LOOP_UV_H

#include "queue.h"

#include <poll.h>
#include <string.h>
#include <uv.h>

/* A store's handles. Private. */
typedef struct dload_loop_uv {
    void *store;
    void (*process)(void *store);
    uint32_t (*pending)(void *store);
    void (*closed)(void *store); /* NULL = it is not being closed */
    uv_loop_t *uv;
    uv_thread_t thread;
    uv_async_t async;
    uv_timer_t timer;
    uv_poll_t **polls; /* by slot; NULL = none */
    uint32_t n_polls;
    const dload_env *env;
    uint32_t n_handles; /* that closed() waits for */
} dload_loop_uv;

/* Goes on, and holds the loop while there is something to wait for. */
DLOAD_I_LOCAL void dload_loop_uv_i_process(dload_loop_uv *u)
{
    if (u->closed != NULL)
        return;
    u->process(u->store);
    if (u->pending(u->store) != 0)
        uv_ref((uv_handle_t *)&u->async);
    else
        uv_unref((uv_handle_t *)&u->async);
}

DLOAD_I_LOCAL void dload_loop_uv_i_on_async(uv_async_t *async)
{
    dload_loop_uv_i_process((dload_loop_uv *)async->data);
}

DLOAD_I_LOCAL void dload_loop_uv_i_on_timer(uv_timer_t *timer)
{
    dload_loop_uv_i_process((dload_loop_uv *)timer->data);
}

DLOAD_I_LOCAL void dload_loop_uv_i_on_poll(uv_poll_t *poll, int status, int events)
{
    (void)status;
    (void)events; /* the connection finds out by itself */
    dload_loop_uv_i_process((dload_loop_uv *)poll->data);
}

DLOAD_I_LOCAL void dload_loop_uv_i_on_closed(uv_handle_t *handle)
{
    dload_loop_uv *u = (dload_loop_uv *)handle->data;
    if (handle->type == UV_POLL)
        dload_i_free(u->env, handle, sizeof(uv_poll_t));
    if (--u->n_handles == 0 && u->closed != NULL)
        u->closed(u->store); /* u may be gone */
}

/* dload_loop_hooks.watch */
DLOAD_I_LOCAL void dload_loop_uv_i_watch(void *ctx, uint32_t slot, int fd, int events)
{
    dload_loop_uv *u = (dload_loop_uv *)ctx;
    uv_poll_t *poll = u->polls[slot];
    if (events == 0) {
        if (poll != NULL)
            uv_close((uv_handle_t *)poll, dload_loop_uv_i_on_closed);
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
                        dload_loop_uv_i_on_poll);
}

/* dload_loop_hooks.timer: libuv counts milliseconds of its own clock, which is behind by a turn. */
DLOAD_I_LOCAL void dload_loop_uv_i_timer(void *ctx, uint64_t at_ns)
{
    dload_loop_uv *u = (dload_loop_uv *)ctx;
    if (at_ns == DLOAD_NEVER) {
        (void)uv_timer_stop(&u->timer);
        return;
    }
    const uint64_t now_ns = dload_i_clock_precise(NULL);
    const uint64_t ms = at_ns > now_ns ? (at_ns - now_ns) / DLOAD_MILLISECOND + 1 : 0;
    uv_update_time(u->uv);
    (void)uv_timer_start(&u->timer, dload_loop_uv_i_on_timer, ms, 0);
}

/* dload_loop_hooks.wake: a loop with nothing else to do would end before it saw this. */
DLOAD_I_LOCAL void dload_loop_uv_i_wake(void *ctx)
{
    dload_loop_uv *u = (dload_loop_uv *)ctx;
    uv_thread_t self = uv_thread_self();
    if (uv_thread_equal(&self, &u->thread) != 0)
        uv_ref((uv_handle_t *)&u->async);
    (void)uv_async_send(&u->async);
}

/* What the store is given. The thread that calls this is the loop's. */
DLOAD_I_LOCAL dload_loop_hooks dload_loop_uv_i_hooks(dload_loop_uv *u, uv_loop_t *loop)
{
    dload_loop_hooks hooks;
    u->uv = loop;
    u->thread = uv_thread_self();
    hooks.watch = dload_loop_uv_i_watch;
    hooks.timer = dload_loop_uv_i_timer;
    hooks.wake = dload_loop_uv_i_wake;
    hooks.ctx = u;
    return hooks;
}

/* Makes the handles of a store with so many connections. False: no memory, or libuv has no handle left, and nothing is to
 * be closed. */
DLOAD_I_LOCAL bool dload_loop_uv_i_open(dload_loop_uv *u, const dload_env *env, uint32_t n_polls)
{
    u->env = env;
    u->n_polls = n_polls;
    u->polls = (uv_poll_t **)dload_i_alloc(env, n_polls * sizeof *u->polls);
    if (u->polls != NULL)
        memset(u->polls, 0, n_polls * sizeof *u->polls);
    if (u->polls == NULL || uv_async_init(u->uv, &u->async, dload_loop_uv_i_on_async) != 0) {
        dload_i_free(env, u->polls, n_polls * sizeof *u->polls);
        return false;
    }
    (void)uv_timer_init(u->uv, &u->timer); /* cannot fail */
    u->async.data = u->timer.data = u;
    u->n_handles = 2;
    uv_unref((uv_handle_t *)&u->async);
    uv_unref((uv_handle_t *)&u->timer);
    return true;
}

/* The store has ended, and nothing is watched any more: closed(store) is called in the loop, once. */
DLOAD_I_LOCAL void dload_loop_uv_i_close(dload_loop_uv *u, void (*closed)(void *store))
{
    u->closed = closed;
    dload_i_free(u->env, u->polls, u->n_polls * sizeof *u->polls);
    u->polls = NULL;
    uv_close((uv_handle_t *)&u->async, dload_loop_uv_i_on_closed);
    uv_close((uv_handle_t *)&u->timer, dload_loop_uv_i_on_closed);
}

#endif /* DLOAD_LOOP_UV_H */
