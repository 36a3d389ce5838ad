/* dataloader_postgres/uv.h -- the PostgreSQL store in a libuv loop.
 *
 * SPDX-License-Identifier: MIT
 *
 *     #define DLOAD_STORE 1
 *     #include "dataloader.h"
 *     #include "dataloader_postgres/uv.h"              // links: pq, uv, pthread
 *
 *     static dload_postgres_uv pg;
 *     dload_postgres_store_config cfg = {0};
 *     cfg.pg.url = "postgresql://app@10.0.0.9/cache";
 *     if (dload_postgres_uv_init(&pg, loop, &cfg) != DLOAD_OK)
 *         return complain();
 *     loader_config.store = &pg.loop.store;            // a loader's of dataloader_uv.h, say
 *     ...
 *     dload_postgres_uv_close(&pg, closed);            // closed(&pg) runs in the loop: free it there
 *
 * It keeps the loop running while a request is under way, and not otherwise. Everything else is as dataloader_postgres/loop.h
 * says; the loop's thread is the one that runs it.
 */
#ifndef DLOAD_I_BACKEND_H
#error "dataloader_postgres/uv.h: include dataloader.h with DLOAD_STORE 1 before this header"
#endif

#ifndef DLOAD_POSTGRES_UV_H
#define DLOAD_POSTGRES_UV_H

#include "loop.h"
#include "../dataloader_loop/uv.h"

/* A store in a loop. The caller's; it must stay where it is until closed() ran. */
typedef struct dload_postgres_uv {
    void *data;               /* the caller's own */
    dload_postgres_loop loop; /* loop.store is the store */
    dload_loop_uv handles;    /* private */
    void (*closed)(struct dload_postgres_uv *u);
} dload_postgres_uv;

DLOAD_I_LOCAL void dload_postgres_uv_i_process(void *store)
{
    dload_postgres_loop_process(&((dload_postgres_uv *)store)->loop);
}

DLOAD_I_LOCAL uint32_t dload_postgres_uv_i_pending(void *store)
{
    return dload_postgres_loop_pending(&((dload_postgres_uv *)store)->loop);
}

DLOAD_I_LOCAL void dload_postgres_uv_i_closed(void *store)
{
    dload_postgres_uv *u = (dload_postgres_uv *)store;
    u->closed(u); /* u may be gone */
}

/* Ends what is under way with DLOAD_ECLOSED, and frees what the store has; closed is called in the loop, once, when libuv is through
 * with its handles. closed must not be NULL. No other thread may make requests any more. Once; not from inside done. */
DLOAD_I_UNUSED static void dload_postgres_uv_close(dload_postgres_uv *u,
                                                   void (*closed)(dload_postgres_uv *u))
{
    dload_postgres_loop_close(&u->loop);
    u->closed = closed;
    dload_postgres_loop_end(&u->loop);
    dload_loop_uv_i_close(&u->handles, dload_postgres_uv_i_closed);
}

/* Makes a store in a loop. cfg and statuses as for dload_postgres_store_init; also DLOAD_ENOMEM when libuv has no handle
 * left. The thread that calls this is the loop's. Nothing is to be closed when it fails. */
DLOAD_I_UNUSED static dload_status dload_postgres_uv_init(dload_postgres_uv *u, uv_loop_t *loop,
                                                          const dload_postgres_store_config *cfg)
{
    void *data = u->data;
    memset(u, 0, sizeof *u);
    u->data = data;
    u->handles.store = u;
    u->handles.process = dload_postgres_uv_i_process;
    u->handles.pending = dload_postgres_uv_i_pending;
    const dload_loop_hooks hooks = dload_loop_uv_i_hooks(&u->handles, loop);
    dload_status st = dload_postgres_loop_init(&u->loop, cfg, &hooks, 0);
    if (st != DLOAD_OK)
        return st;
    if (!dload_loop_uv_i_open(&u->handles, u->loop.store.env, u->loop.n_slots)) {
        dload_postgres_loop_end(&u->loop);
        return DLOAD_ENOMEM;
    }
    return DLOAD_OK;
}

#endif /* DLOAD_POSTGRES_UV_H */
