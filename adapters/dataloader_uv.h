/* dataloader_uv.h -- a loader in a libuv loop: what one turn asks for goes out together.
 *
 * SPDX-License-Identifier: MIT
 *
 * Include it after the loader, once for each loader that is to live in a loop:
 *
 *     #define DLOAD_NAME  users
 *     #define DLOAD_KEY   uint64_t
 *     #define DLOAD_VALUE struct user
 *     #define DLOAD_LOCK  DLOAD_LOCK_PTHREAD       // fetches run in libuv's thread pool
 *     #include "dataloader.h"
 *     #define DLOAD_UV_NAME users
 *     #include "dataloader_uv.h"
 *
 *     static dload_status select_users(users_batch *b) { ... one blocking query ... }
 *
 *     static dload_status fetch(users_batch *b)    // in the loop's thread: must not block
 *     {
 *         struct server *s = b->ctx;
 *         return users_uv_work(&s->uv, b, select_users);
 *     }
 *
 *     users_config cfg = users_config_default();
 *     cfg.fetch = fetch;
 *     cfg.ctx = s;
 *     dload_status st = users_uv_init(&s->uv, loop, &s->users, &cfg);
 *     ...
 *     st = users_start(&s->users, 42, &w);         // done() runs in the loop's thread
 *     ...
 *     st = dload_uv_close(&s->uv, DLOAD_DRAIN, 0, closed);
 *
 * WHEN A BATCH GOES  With settle_ns 0: at the end of the loop's turn (in its check phase, after
 * timers and I/O), so that whatever the callbacks of one turn asked for is one batch, without a
 * delay. With a settle time: when that, max_age_ns, max_batch or _expect says so; libuv's timers
 * count milliseconds, so that times are rounded up to the next one. Answers are delivered in the
 * check phase, too.
 *
 * THREADS  _uv_init, dload_uv_close and uv_run belong to one thread, the loop's. Where the loader's
 * lock allows it, other threads may load from it; done() of their _start runs in the loop's thread.
 * Answers may come from any thread: that of _uv_work, or your own (see dload_uv_hold). Under
 * DLOAD_LOCK_NONE everything, answers included, happens in the loop's thread. Do not use blocking
 * loads in the loop's thread: nothing else goes on meanwhile.
 *
 * THE LOOP'S LIFE  uv_run goes on while a request waits, a batch is out or a close is not through.
 * An idle loader does not keep it running, and costs it nothing.
 */
#ifndef DLOAD_VERSION
#error "dataloader_uv.h: include dataloader.h, with your loader's parameters, before this header"
#endif

#ifndef DLOAD_UV_H
#define DLOAD_UV_H

#if DLOAD_FREESTANDING
#error "dataloader_uv.h: libuv needs a host; it does not go with DLOAD_FREESTANDING 1"
#endif

#include <uv.h>

#if UV_VERSION_MAJOR < 1
#error "dataloader_uv.h: libuv 1.0 or newer is needed"
#endif

/* A loader's functions without its types; made by the second half of this header. Private. */
typedef struct dload_uv_ops {
    uint64_t (*now)(const void *loader);
    dload_status (*process)(void *loader, uint64_t now_ns);
    uint64_t (*next_deadline)(void *loader);
    dload_status (*dispatch)(void *loader, size_t *n_keys);
    dload_status (*close)(void *loader);
    dload_status (*destroy)(void *loader);
} dload_uv_ops;

#define DLOAD_UV_I_OPEN   0
#define DLOAD_UV_I_DRAINS 1 /* closing; what is out is waited for */
#define DLOAD_UV_I_FAILS  2 /* closing; the loader refuses and has failed everything */
#define DLOAD_UV_I_GONE   3 /* the loader is destroyed, the handles are being closed */

/* A loader's place in a loop. Owned by the caller; it and the loader must stay where they are until
 * closed() ran, and may be freed there. */
typedef struct dload_uv {
    void *data;      /* the caller's own */
    uv_loop_t *loop; /* read only */
    int uv_error;    /* what libuv said when _uv_init failed because of it; see uv_strerror */
    /* private: the loader */
    const dload_uv_ops *ops;
    void *loader;
    const dload_env *env;
    dload_hooks hooks; /* ours, in front of the caller's */
    const dload_hooks *user_hooks;
    bool endless; /* no run_limit_ns: no timer keeps the loop running while a batch is out */
    /* private: the loop's thread only */
    uv_thread_t thread;
    uv_async_t async; /* other threads: there is something to do */
    uv_timer_t timer; /* until the next deadline */
    uv_idle_t idle;   /* while something is to be done in this turn: poll must not block */
    uv_check_t check; /* ... and this is where it is done */
    bool turning;     /* inside _process: what comes up is seen when it returned */
    uint64_t close_ns;
    dload_status close_status;
    void (*closed)(struct dload_uv *u, dload_status status);
    uint32_t n_handles;
    /* private: any thread */
    uint32_t state;   /* DLOAD_UV_I_*; atomic, written in the loop's thread */
    uint32_t n_out;   /* batches that were sent and are not done; atomic */
    uv_mutex_t mutex; /* of n_held */
    uint32_t n_held;
} dload_uv;

/* A batch on its way to the thread pool. Private. */
typedef struct dload_uv_job {
    uv_work_t req;
    dload_uv *uv;
    size_t n_bytes; /* of the typed job around this one */
} dload_uv_job;

DLOAD_I_LOCAL uint32_t dload_uv_i_state(const dload_uv *u)
{
    return __atomic_load_n(&u->state, __ATOMIC_ACQUIRE);
}

DLOAD_I_LOCAL void dload_uv_i_set_state(dload_uv *u, uint32_t state)
{
    __atomic_store_n(&u->state, state, __ATOMIC_RELEASE);
}

DLOAD_I_LOCAL bool dload_uv_i_in_loop(const dload_uv *u)
{
    uv_thread_t self = uv_thread_self();
    return uv_thread_equal(&self, &u->thread) != 0;
}

/* ---- turns ---- */

DLOAD_I_LOCAL void dload_uv_i_turn(dload_uv *u);

DLOAD_I_LOCAL void dload_uv_i_on_check(uv_check_t *check)
{
    dload_uv_i_turn((dload_uv *)check->data);
}

DLOAD_I_LOCAL void dload_uv_i_on_idle(uv_idle_t *idle)
{
    (void)
        idle; /* that it is active is all: poll returns at once, and the loop has a reason to run */
}

/* There is something to do in this turn of the loop, or, after its check phase, in the next one. */
DLOAD_I_LOCAL void dload_uv_i_arm(dload_uv *u)
{
    (void)uv_idle_start(&u->idle, dload_uv_i_on_idle);
    (void)uv_check_start(&u->check, dload_uv_i_on_check);
}

DLOAD_I_LOCAL void dload_uv_i_on_async(uv_async_t *async)
{
    dload_uv_i_arm((dload_uv *)async->data);
}

DLOAD_I_LOCAL void dload_uv_i_on_timer(uv_timer_t *timer)
{
    dload_uv_i_arm((dload_uv *)timer->data);
}

/* config.wake: any thread. */
DLOAD_I_LOCAL void dload_uv_i_wake(void *ctx)
{
    dload_uv *u = (dload_uv *)ctx;
    if (!dload_uv_i_in_loop(u))
        (void)uv_async_send(&u->async);
    else if (!u->turning)
        dload_uv_i_arm(u);
}

/* Has the loop to run for batches that no timer stands for? */
DLOAD_I_LOCAL void dload_uv_i_keep_alive(dload_uv *u)
{
    bool out = u->endless && __atomic_load_n(&u->n_out, __ATOMIC_ACQUIRE) != 0;
    if (out || dload_uv_i_state(u) != DLOAD_UV_I_OPEN)
        uv_ref((uv_handle_t *)&u->async);
    else
        uv_unref((uv_handle_t *)&u->async);
}

/* What the next turn is for, and when. */
DLOAD_I_LOCAL void dload_uv_i_plan(dload_uv *u)
{
    uint64_t now_ns = u->ops->now(u->loader);
    uint64_t at_ns = u->ops->next_deadline(u->loader);
    if (dload_uv_i_state(u) == DLOAD_UV_I_DRAINS && u->close_ns < at_ns)
        at_ns = u->close_ns;
    (void)uv_timer_stop(&u->timer);
    if (at_ns <= now_ns) {
        dload_uv_i_arm(u);
    } else if (at_ns != DLOAD_NEVER) {
        /* The loop's own clock may be behind, and then this rings early: the turn finds nothing to
         * do and plans again. */
        uint64_t ms = (at_ns - now_ns - 1) / DLOAD_MILLISECOND + 1;
        (void)uv_timer_start(&u->timer, dload_uv_i_on_timer, ms, 0);
    }
    dload_uv_i_keep_alive(u);
}

/* ---- closing ---- */

DLOAD_I_LOCAL void dload_uv_i_on_closed(uv_handle_t *handle)
{
    dload_uv *u = (dload_uv *)handle->data;
    if (--u->n_handles != 0)
        return;
    uv_mutex_destroy(&u->mutex);
    if (u->closed != NULL)
        u->closed(u, u->close_status); /* u may be gone now */
}

DLOAD_I_LOCAL uint32_t dload_uv_i_n_held(dload_uv *u)
{
    uv_mutex_lock(&u->mutex);
    uint32_t n_held = u->n_held;
    uv_mutex_unlock(&u->mutex);
    return n_held;
}

/* One step towards the end; true when the loader is gone. */
DLOAD_I_LOCAL bool dload_uv_i_end(dload_uv *u)
{
    if (dload_uv_i_state(u) == DLOAD_UV_I_DRAINS) {
        size_t n_keys = 0;
        (void)u->ops->dispatch(u->loader, &n_keys);
        if (n_keys != 0)
            dload_uv_i_arm(u); /* their callbacks may have asked for more, which must not settle */
        bool idle = __atomic_load_n(&u->n_out, __ATOMIC_ACQUIRE) == 0 &&
                    u->ops->next_deadline(u->loader) == DLOAD_NEVER;
        if (!idle && u->ops->now(u->loader) < u->close_ns)
            return false;
        u->close_status = idle ? DLOAD_OK : DLOAD_ETIMEDOUT;
        dload_uv_i_set_state(u, DLOAD_UV_I_FAILS);
    }
    (void)u->ops->close(u->loader); /* what is late is for _destroy to say */
    if (dload_uv_i_n_held(u) != 0 || u->ops->destroy(u->loader) != DLOAD_OK)
        return false;
    dload_uv_i_set_state(u, DLOAD_UV_I_GONE);
    u->n_handles = 4;
    uv_close((uv_handle_t *)&u->async, dload_uv_i_on_closed);
    uv_close((uv_handle_t *)&u->timer, dload_uv_i_on_closed);
    uv_close((uv_handle_t *)&u->idle, dload_uv_i_on_closed);
    uv_close((uv_handle_t *)&u->check, dload_uv_i_on_closed);
    return true;
}

DLOAD_I_LOCAL void dload_uv_i_turn(dload_uv *u)
{
    (void)uv_idle_stop(&u->idle);
    (void)uv_check_stop(&u->check);
    u->turning = true;
    (void)u->ops->process(u->loader, u->ops->now(u->loader));
    bool gone = dload_uv_i_state(u) != DLOAD_UV_I_OPEN && dload_uv_i_end(u);
    u->turning = false;
    if (!gone)
        dload_uv_i_plan(u);
}

/* Ends the loader's life in the loop, and the loader's own; in the loop's thread, callbacks too.
 *   DLOAD_DRAIN  sends what is queued and waits for what is out; what callbacks ask for meanwhile
 *                is still served. It ends when nothing is left to do, or at deadline_ns (absolute,
 *                in _now() time; 0 = 30 s from now; DLOAD_NEVER) as DLOAD_FAIL does.
 *   DLOAD_FAIL   refuses new loads and ends every request with DLOAD_ECLOSED; done() runs in here.
 * Returns at once. Then the loop, which must be run, waits until no fetch function has a batch any
 * more and nobody holds u, destroys the loader, closes the handles and, as the last, calls closed
 * (may be NULL) once: with DLOAD_OK, or DLOAD_ETIMEDOUT after a drain that took too long.
 * Called again it can only turn a drain into a failure.
 * Returns DLOAD_OK; DLOAD_EINVAL.
 * Threads: by the time of closed() no other thread may be inside a call on the loader. */
DLOAD_I_LOCAL dload_status dload_uv_close(dload_uv *u, dload_close_mode mode, uint64_t deadline_ns,
                                          void (*closed)(dload_uv *u, dload_status status))
{
    if (u == NULL || (mode != DLOAD_DRAIN && mode != DLOAD_FAIL))
        return DLOAD_EINVAL;
    uint32_t state = dload_uv_i_state(u);
    if (state >= DLOAD_UV_I_FAILS)
        return DLOAD_OK;
    if (state == DLOAD_UV_I_OPEN) {
        u->closed = closed;
        u->close_ns = deadline_ns;
        if (deadline_ns == 0)
            u->close_ns = u->ops->now(u->loader) + 30 * DLOAD_SECOND;
    }
    dload_uv_i_set_state(u, mode == DLOAD_DRAIN ? DLOAD_UV_I_DRAINS : DLOAD_UV_I_FAILS);
    if (mode == DLOAD_FAIL)
        (void)u->ops->close(
            u->loader); /* from now on it refuses; from inside a fetch, from the next turn */
    dload_uv_i_arm(u);
    return DLOAD_OK;
}

/* ---- answers from elsewhere ---- */

/* For threads of your own that answer batches: call it in the fetch function that hands a batch
 * over and returns DLOAD_PENDING, and dload_uv_drop when the thread is through, after its
 * _batch_done. Until then closing waits, so that the loader is not destroyed under a call that has
 * not returned. Without it such threads must have been joined before dload_uv_close.
 * Threads: any. */
DLOAD_I_LOCAL void dload_uv_hold(dload_uv *u)
{
    uv_mutex_lock(&u->mutex);
    u->n_held++;
    uv_mutex_unlock(&u->mutex);
}

/* Ends a hold. u may be gone when it returns. Threads: any. */
DLOAD_I_LOCAL void dload_uv_drop(dload_uv *u)
{
    uv_mutex_lock(&u->mutex);
    u->n_held--;
    if (dload_uv_i_state(u) != DLOAD_UV_I_OPEN)
        (void)uv_async_send(&u->async); /* inside the mutex: whoever closes takes it first */
    uv_mutex_unlock(&u->mutex);
}

/* ---- what stands between the loader and the caller's hooks ---- */

DLOAD_I_LOCAL void dload_uv_i_on_queued(void *ctx)
{
    const dload_hooks *user = ((dload_uv *)ctx)->user_hooks;
    user->queued(user->ctx);
}

DLOAD_I_LOCAL void dload_uv_i_on_batch_start(void *ctx, size_t n_keys, dload_trigger why)
{
    dload_uv *u = (dload_uv *)ctx;
    __atomic_add_fetch(&u->n_out, 1, __ATOMIC_ACQ_REL);
    if (u->user_hooks != NULL && u->user_hooks->batch_start != NULL)
        u->user_hooks->batch_start(u->user_hooks->ctx, n_keys, why);
}

/* The next batch may have waited for this one's end, and nobody may wait for its answers: so the
 * loop is told of every end. */
DLOAD_I_LOCAL void dload_uv_i_on_batch_end(void *ctx, size_t n_keys, dload_status status,
                                           uint64_t run_ns)
{
    dload_uv *u = (dload_uv *)ctx;
    if (u->user_hooks != NULL && u->user_hooks->batch_end != NULL)
        u->user_hooks->batch_end(u->user_hooks->ctx, n_keys, status, run_ns);
    __atomic_sub_fetch(&u->n_out, 1, __ATOMIC_ACQ_REL);
    dload_uv_i_wake(u);
}

/* ---- beginning ---- */

/* What can be done before the loader is there. */
DLOAD_I_LOCAL dload_status dload_uv_i_prepare(dload_uv *u, uv_loop_t *loop, const dload_uv_ops *ops,
                                              const dload_env *env, const dload_hooks *hooks)
{
    memset(u, 0, sizeof *u);
    u->loop = loop;
    u->ops = ops;
    u->env = env != NULL ? env : dload_env_default();
    u->user_hooks = hooks;
    u->hooks.queued = hooks != NULL && hooks->queued != NULL ? dload_uv_i_on_queued : NULL;
    u->hooks.batch_start = dload_uv_i_on_batch_start;
    u->hooks.batch_end = dload_uv_i_on_batch_end;
    u->hooks.ctx = u;
    u->thread = uv_thread_self();
    if (u->env->now == NULL)
        return DLOAD_EINVAL; /* a loop without a clock settles nothing */
    u->uv_error = uv_mutex_init(&u->mutex);
    return u->uv_error == 0 ? DLOAD_OK : DLOAD_ENOMEM;
}

/* The handles. Only the first can fail, so that nothing has to be taken back. */
DLOAD_I_LOCAL dload_status dload_uv_i_attach(dload_uv *u, void *loader)
{
    u->uv_error = uv_async_init(u->loop, &u->async, dload_uv_i_on_async);
    if (u->uv_error != 0)
        return u->uv_error == UV_ENOMEM ? DLOAD_ENOMEM : DLOAD_EAGAIN;
    (void)uv_timer_init(u->loop, &u->timer);
    (void)uv_idle_init(u->loop, &u->idle);
    (void)uv_check_init(u->loop, &u->check);
    u->async.data = u->timer.data = u->idle.data = u->check.data = u;
    uv_unref((uv_handle_t *)&u->async);
    uv_unref((uv_handle_t *)&u->check);
    u->loader = loader;
    return DLOAD_OK;
}

#endif /* DLOAD_UV_H */

/* ==== once a loader ==== */

#ifndef DLOAD_UV_NAME
#error "dataloader_uv.h: define DLOAD_UV_NAME, your loader's DLOAD_NAME, before each include"
#else
#define DLOAD_UV_FN(word) DLOAD_I_JOIN(DLOAD_UV_NAME, word)

DLOAD_I_LOCAL uint64_t DLOAD_UV_FN(uv_i_now)(const void *loader)
{
    return DLOAD_UV_FN(now)((const DLOAD_UV_NAME *)loader);
}

DLOAD_I_LOCAL dload_status DLOAD_UV_FN(uv_i_process)(void *loader, uint64_t now_ns)
{
    return DLOAD_UV_FN(process)((DLOAD_UV_NAME *)loader, now_ns);
}

DLOAD_I_LOCAL uint64_t DLOAD_UV_FN(uv_i_next_deadline)(void *loader)
{
    return DLOAD_UV_FN(next_deadline)((DLOAD_UV_NAME *)loader);
}

DLOAD_I_LOCAL dload_status DLOAD_UV_FN(uv_i_dispatch)(void *loader, size_t *n_keys)
{
    return DLOAD_UV_FN(dispatch)((DLOAD_UV_NAME *)loader, n_keys);
}

/* A deadline that has passed: it must not wait here. */
DLOAD_I_LOCAL dload_status DLOAD_UV_FN(uv_i_close)(void *loader)
{
    return DLOAD_UV_FN(close)((DLOAD_UV_NAME *)loader, DLOAD_FAIL, 1);
}

DLOAD_I_LOCAL dload_status DLOAD_UV_FN(uv_i_destroy)(void *loader)
{
    return DLOAD_UV_FN(destroy)((DLOAD_UV_NAME *)loader);
}

/* Prepares the loader l, as _init would, and gives it to the loop; call it in the loop's thread.
 * config is copied; its wake must be NULL, its env must have a clock. From here on dload_uv_close
 * ends l: do not call _close, _destroy or _process. u->data is NULL then, and yours.
 * Returns DLOAD_OK; DLOAD_EINVAL; what _init says; DLOAD_ENOMEM or DLOAD_EAGAIN when libuv has no
 * more memory or files (u->uv_error). After a failure there is nothing to close. */
DLOAD_I_LOCAL dload_status DLOAD_UV_FN(uv_init)(dload_uv *u, uv_loop_t *loop, DLOAD_UV_NAME *l,
                                                const DLOAD_UV_FN(config) * config)
{
    static const dload_uv_ops ops = {DLOAD_UV_FN(uv_i_now),           DLOAD_UV_FN(uv_i_process),
                                     DLOAD_UV_FN(uv_i_next_deadline), DLOAD_UV_FN(uv_i_dispatch),
                                     DLOAD_UV_FN(uv_i_close),         DLOAD_UV_FN(uv_i_destroy)};
    if (u == NULL || loop == NULL || l == NULL || config == NULL || config->wake != NULL)
        return DLOAD_EINVAL;
    dload_status st = dload_uv_i_prepare(u, loop, &ops, config->env, config->hooks);
    if (st < 0)
        return st;
    DLOAD_UV_FN(config) own = *config;
    own.hooks = &u->hooks;
    own.wake = dload_uv_i_wake;
    own.wake_ctx = u;
    u->endless = own.run_limit_ns == DLOAD_NEVER;
    st = DLOAD_UV_FN(init)(l, &own);
    if (st >= 0) {
        st = dload_uv_i_attach(u, l);
        if (st < 0)
            (void)DLOAD_UV_FN(destroy)(l);
    }
    if (st < 0)
        uv_mutex_destroy(&u->mutex);
    return st;
}

/* ---- fetching in libuv's thread pool ---- */

/* A batch with what is to be done with it. Private. */
typedef struct DLOAD_UV_FN(uv_i_job) {
    dload_uv_job base;
    DLOAD_UV_FN(batch) * batch;
    dload_status (*run)(DLOAD_UV_FN(batch) * b);
} DLOAD_UV_FN(uv_i_job);

/* In the pool. */
DLOAD_I_LOCAL void DLOAD_UV_FN(uv_i_work)(uv_work_t *req)
{
    DLOAD_UV_FN(uv_i_job) *job = (DLOAD_UV_FN(uv_i_job) *)req->data;
    dload_status st = DLOAD_ECLOSED; /* everybody has been told so: spare the query */
    if (dload_uv_i_state(job->base.uv) != DLOAD_UV_I_FAILS)
        st = job->run(job->batch);
    (void)DLOAD_UV_FN(batch_done)(job->batch, st == DLOAD_PENDING ? DLOAD_EINVAL : st);
}

/* Back in the loop. */
DLOAD_I_LOCAL void DLOAD_UV_FN(uv_i_worked)(uv_work_t *req, int status)
{
    DLOAD_UV_FN(uv_i_job) *job = (DLOAD_UV_FN(uv_i_job) *)req->data;
    dload_uv *u = job->base.uv;
    if (status == UV_ECANCELED) /* it never ran */
        (void)DLOAD_UV_FN(batch_done)(job->batch, DLOAD_ECANCELED);
    u->env->free(u->env->ctx, job, job->base.n_bytes);
    dload_uv_drop(u);
}

/* For a fetch function: has run, a fetch function that may block, answer b in libuv's thread pool,
 * and ends the batch with what that returns (DLOAD_PENDING is not allowed to it: DLOAD_EINVAL).
 * Return what this returns. run must not touch the loop. A batch that a blocking load of another
 * thread sends is run there, at once. The loader needs a lock: SPIN or PTHREAD.
 * Returns DLOAD_PENDING; what run returned in another thread; DLOAD_ENOMEM; DLOAD_EINVAL without a
 * lock; DLOAD_EAGAIN when libuv refuses the work.
 * Allocates: one block from config.env. */
DLOAD_I_LOCAL dload_status DLOAD_UV_FN(uv_work)(dload_uv *u, DLOAD_UV_FN(batch) * b,
                                                dload_status (*run)(DLOAD_UV_FN(batch) * b))
{
    if (u == NULL || b == NULL || run == NULL || !b->owner->core.threaded)
        return DLOAD_EINVAL;
    if (!dload_uv_i_in_loop(u))
        return run(b);
    DLOAD_UV_FN(uv_i_job) *job =
        (DLOAD_UV_FN(uv_i_job) *)u->env->alloc(u->env->ctx, sizeof(DLOAD_UV_FN(uv_i_job)));
    if (job == NULL)
        return DLOAD_ENOMEM;
    job->base.req.data = job;
    job->base.uv = u;
    job->base.n_bytes = sizeof *job;
    job->batch = b;
    job->run = run;
    dload_uv_hold(u);
    int error =
        uv_queue_work(u->loop, &job->base.req, DLOAD_UV_FN(uv_i_work), DLOAD_UV_FN(uv_i_worked));
    if (error != 0) {
        u->env->free(u->env->ctx, job, sizeof *job);
        dload_uv_drop(u);
        return error == UV_ENOMEM ? DLOAD_ENOMEM : DLOAD_EAGAIN;
    }
    return DLOAD_PENDING;
}

#undef DLOAD_UV_FN
#undef DLOAD_UV_NAME
#endif /* DLOAD_UV_NAME */
