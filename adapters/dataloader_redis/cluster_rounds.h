/* dataloader_redis/cluster_rounds.h -- requests as rounds over all nodes; a part of dataloader_redis_cluster.h.
 *
 * SPDX-License-Identifier: MIT
 *
 * In each round every item that is not decided is given to a node, all nodes are written to, then read from as they answer. Then the map
 * is asked for again if something was amiss; what was sent elsewhere, put off or whose node failed is for the next round.
 */
#ifndef DLOAD_REDIS_CLUSTER_H
#error "dataloader_redis/cluster_rounds.h: include dataloader_redis_cluster.h instead"
#endif

#ifndef DLOAD_REDIS_CLUSTER_ROUNDS_H
#define DLOAD_REDIS_CLUSTER_ROUNDS_H

/* ---- rounds ---- */

/* Gives an item to a node. */
DLOAD_I_LOCAL void dload_redis_cluster_i_give(dload_redis_cluster_i_job *q, uint32_t i)
{
    dload_redis_cluster_i_work *w = &q->lane->work[i];
    dload_redis_member *m = w->target;
    if (m == NULL) {
        const uint32_t which = dload_redis_i_master_of(q->map, w->slot);
        if (which == DLOAD_REDIS_I_NO_MASTER) {
            q->renew = true;
            dload_redis_cluster_i_later(w);
            if (w->n_retries > q->cl->max_retries)
                dload_redis_cluster_i_decide(q, i, DLOAD_EBACKEND);
            return;
        }
        m = dload_redis_cluster_i_of_master(q, which);
    }
    if (m == NULL) {
        dload_redis_cluster_i_decide(q, i, DLOAD_ENOMEM);
        return;
    }
    w->next = DLOAD_REDIS_CLUSTER_I_NONE;
    if (m->first == DLOAD_REDIS_CLUSTER_I_NONE)
        m->first = m->unsent = i;
    else
        q->lane->work[m->last].next = i;
    m->last = i;
}

/* Gives every item that is due to a node. Returns how many are not decided, and *next_ns: 0, or when the first one is
 * due, when none is yet. */
DLOAD_I_LOCAL size_t dload_redis_cluster_i_deal(dload_redis_cluster_i_job *q, uint64_t *next_ns)
{
    const uint64_t now_ns = dload_redis_now();
    size_t n_pending = 0;
    *next_ns = DLOAD_NEVER;
    for (uint32_t k = 0; k < q->lane->n_members; k++) {
        dload_redis_member *m = q->lane->members[k];
        m->first = m->last = m->unsent = DLOAD_REDIS_CLUSTER_I_NONE;
    }
    for (uint32_t i = 0; i < (uint32_t)q->op->n; i++) {
        dload_redis_cluster_i_work *w = &q->lane->work[i];
        if (!w->pending)
            continue;
        if (w->not_before_ns > now_ns) {
            *next_ns = w->not_before_ns < *next_ns ? w->not_before_ns : *next_ns;
        } else {
            dload_redis_cluster_i_give(q, i);
            *next_ns = 0;
        }
        n_pending += w->pending;
    }
    return n_pending;
}

/* Writes to every node that was given something. */
DLOAD_I_LOCAL void dload_redis_cluster_i_start(dload_redis_cluster_i_job *q)
{
    for (uint32_t k = 0; k < q->lane->n_members; k++) {
        dload_redis_member *m = q->lane->members[k];
        if (m->first == DLOAD_REDIS_CLUSTER_I_NONE)
            continue;
        memset(&m->job, 0, sizeof m->job);
        m->job.r = &q->cl->node;
        m->job.l = &m->link;
        m->job.op = q->op;
        m->job.until_ns = q->until_ns;
        m->job.chunk = 1;
        m->n_taken = 0;
        m->busy = true;
        if (dload_redis_cluster_i_paused(q, m)) {
            dload_redis_cluster_i_fail(q, m, DLOAD_EBACKEND);
        } else if (dload_redis_cluster_i_connect(q, m) != DLOAD_OK) {
            dload_redis_cluster_i_ill(q, m, true);
            dload_redis_cluster_i_log(q->cl, m, m->link.conn.error);
            dload_redis_cluster_i_fail(q, m, m->link.conn.status);
        } else {
            dload_redis_cluster_i_advance(q, m);
        }
    }
}

/* Waits until a node that is busy can be gone on with, and goes on. False: none is busy. */
DLOAD_I_LOCAL bool dload_redis_cluster_i_turn(dload_redis_cluster_i_job *q)
{
    dload_redis_lane *lane = q->lane;
    uint64_t until_ns = q->until_ns, now_ns = dload_redis_now();
    nfds_t n = 0;
    for (uint32_t k = 0; k < lane->n_members; k++) {
        const dload_redis_member *m = lane->members[k];
        if (!m->busy)
            continue;
        if (m->link.conn.state != DLOAD_REDIS_READY && m->link.connect_until_ns < until_ns)
            until_ns = m->link.connect_until_ns;
        lane->polled[n].fd = m->link.conn.fd;
        lane->polled[n].events = (short)dload_redis_wants(&m->link.conn);
        lane->polled[n++].revents = 0;
    }
    if (n == 0)
        return false;
    const uint64_t ms = until_ns > now_ns ? (until_ns - now_ns - 1) / DLOAD_MILLISECOND + 1 : 0;
    const int n_ready = poll(lane->polled, n, ms < 60000 ? (int)ms : 60000);
    now_ns = dload_redis_now();
    n = 0;
    for (uint32_t k = 0; k < lane->n_members; k++) {
        dload_redis_member *m = lane->members[k];
        if (!m->busy)
            continue;
        if (n_ready > 0 && lane->polled[n].revents != 0)
            dload_redis_cluster_i_advance(q, m);
        n++;
        if (m->busy)
            dload_redis_cluster_i_expire(q, m, now_ns);
    }
    return true;
}

/* Items whose node failed: when the map says another one by now they go there, else they have failed. */
DLOAD_I_LOCAL void dload_redis_cluster_i_settle(dload_redis_cluster_i_job *q)
{
    const bool in_time = dload_redis_now() < q->until_ns;
    for (uint32_t i = 0; i < (uint32_t)q->op->n; i++) {
        dload_redis_cluster_i_work *w = &q->lane->work[i];
        if (!w->pending || w->failed == DLOAD_OK)
            continue;
        const uint32_t which = dload_redis_i_master_of(q->map, w->slot);
        if (in_time && which != DLOAD_REDIS_I_NO_MASTER && w->failed != DLOAD_ENOMEM &&
            !dload_redis_i_same_address(&q->map->masters[which].at, &w->target->at) &&
            w->n_redirects++ < q->cl->max_redirects) {
            w->failed = DLOAD_OK;
            w->target = NULL;
            w->asking = false;
            continue;
        }
        dload_redis_cluster_i_decide(q, i, w->failed);
    }
}

/* What a round brought to light: others are told that slots moved before anything is answered from where they are
 * now, and the map is asked for. */
DLOAD_I_LOCAL void dload_redis_cluster_i_learn(dload_redis_cluster_i_job *q)
{
    if (q->moved)
        dload_redis_cluster_i_topology(q->cl);
    q->moved = false;
    if (q->renew && dload_redis_now() < q->until_ns)
        (void)dload_redis_cluster_i_renew(q, false);
    dload_redis_cluster_i_settle(q);
}

DLOAD_I_LOCAL void dload_redis_cluster_i_nap(uint64_t until_ns)
{
    const uint64_t now_ns = dload_redis_now();
    if (until_ns > now_ns)
        (void)poll(NULL, 0, (int)((until_ns - now_ns - 1) / DLOAD_MILLISECOND + 1));
}

/* Once over all items whose status is wanted. */
DLOAD_I_LOCAL void dload_redis_cluster_i_pass(dload_redis_cluster_i_job *q, uint32_t what,
                                              dload_status wanted)
{
    uint64_t next_ns = 0;
    q->what = what;
    q->wanted = wanted;
    for (uint32_t i = 0; i < (uint32_t)q->op->n; i++) {
        dload_redis_cluster_i_work *w = &q->lane->work[i];
        const uint16_t slot = w->slot;
        memset(w, 0, sizeof *w);
        w->slot = slot;
        w->pending = q->op->items[i].status == wanted;
    }
    while (dload_redis_cluster_i_deal(q, &next_ns) != 0 && dload_redis_now() < q->until_ns) {
        dload_redis_cluster_i_start(q);
        while (dload_redis_cluster_i_turn(q))
            continue;
        dload_redis_cluster_i_learn(q);
        dload_redis_cluster_i_nap(next_ns < q->until_ns ? next_ns : q->until_ns);
    }
    for (uint32_t i = 0; i < (uint32_t)q->op->n; i++) {
        const dload_redis_cluster_i_work *w = &q->lane->work[i];
        if (w->pending) /* who was turned away until now had its time */
            dload_redis_cluster_i_decide(
                q, i, w->n_retries + w->n_redirects != 0 ? DLOAD_EBACKEND : DLOAD_ETIMEDOUT);
    }
}

#include "cluster_clear.h"

/* ---- requests ---- */

/* Sends what a request of this kind takes. */
DLOAD_I_LOCAL dload_status dload_redis_cluster_i_work_on(dload_redis_cluster_i_job *q)
{
    const uint32_t values = q->cl->node.ttls ? DLOAD_REDIS_I_VALUES : DLOAD_REDIS_I_MGET;
    switch (q->op->kind) {
    case DLOAD_STORE_GET:
        dload_redis_cluster_i_pass(q, values, DLOAD_PENDING);
        return DLOAD_OK;
    case DLOAD_STORE_SET:
        dload_redis_cluster_i_pass(q, DLOAD_REDIS_I_SET, DLOAD_PENDING);
        return DLOAD_OK;
    case DLOAD_STORE_DELETE:
        dload_redis_cluster_i_pass(q, DLOAD_REDIS_I_UNLINK, DLOAD_PENDING);
        return DLOAD_OK;
    case DLOAD_STORE_CLEAR:
        return dload_redis_cluster_i_clear(q);
    case DLOAD_STORE_LEASE:
        dload_redis_cluster_i_pass(q, values, DLOAD_PENDING);
        dload_redis_cluster_i_pass(q, DLOAD_REDIS_I_LEASE, DLOAD_MISSING);
        return DLOAD_OK;
    case DLOAD_STORE_FILL:
        dload_redis_cluster_i_pass(q, DLOAD_REDIS_I_FILL, DLOAD_PENDING);
        return DLOAD_OK;
    case DLOAD_STORE_DROP:
        dload_redis_cluster_i_pass(q, DLOAD_REDIS_I_DROP, DLOAD_PENDING);
        return DLOAD_OK;
    default:
        return DLOAD_EINVAL;
    }
}

/* What a request came to: a failure as a whole when all its keys failed and no node is known to be well, or one said that
 * none is. */
DLOAD_I_LOCAL dload_status dload_redis_cluster_i_conclude(dload_redis_cluster_i_job *q)
{
    dload_status worst = DLOAD_OK;
    for (size_t i = 0; i < q->op->n; i++) {
        const dload_status st = q->op->items[i].status;
        if (st != DLOAD_EBACKEND && st != DLOAD_ETIMEDOUT && st != DLOAD_ETOOBIG)
            return DLOAD_OK;
        worst = st != DLOAD_ETOOBIG ? st : worst;
    }
    for (uint32_t i = 0; i < q->map->n_masters && !q->down; i++) {
        if (DLOAD_I_LOAD_RELAXED(&q->map->masters[i].is_well) != 0)
            return DLOAD_OK;
    }
    return worst;
}

/* Room for what is under way for n items. */
DLOAD_I_LOCAL bool dload_redis_cluster_i_work_room(dload_redis_cluster_i_job *q)
{
    dload_redis_lane *lane = q->lane;
    const dload_env *env = q->cl->store.env;
    if (q->op->n <= lane->cap_work)
        return true;
    size_t cap = lane->cap_work != 0 ? lane->cap_work : 64;
    while (cap < q->op->n)
        cap *= 2;
    dload_redis_cluster_i_work *work =
        (dload_redis_cluster_i_work *)dload_i_alloc(env, cap * sizeof *work);
    if (work == NULL)
        return false;
    dload_i_free(env, lane->work, lane->cap_work * sizeof *work);
    lane->work = work;
    lane->cap_work = cap;
    return true;
}

/* A request on its lane. */
DLOAD_I_LOCAL dload_status dload_redis_cluster_i_on_lane(dload_redis_cluster_i_job *q)
{
    dload_status st = DLOAD_OK;
    if (!dload_redis_cluster_i_work_room(q))
        return DLOAD_ENOMEM;
    dload_redis_cluster_i_use_map(q, true);
    if (q->map == NULL)
        st = dload_redis_cluster_i_renew(q, false);
    if (q->map == NULL)
        return st != DLOAD_OK ? st : DLOAD_EBACKEND;
    for (size_t i = 0; i < q->op->n; i++)
        q->lane->work[i].slot = dload_redis_cluster_i_slot(q->cl->node.prefix, &q->op->items[i]);
    st = dload_redis_cluster_i_work_on(q);
    if (st == DLOAD_OK)
        st = dload_redis_cluster_i_conclude(q);
    if (q->error[0] != '\0' && q->cl->store.hooks != NULL) {
        char text[64];
        (void)snprintf(text, sizeof text, "redis: a node refused commands: %s", q->error);
        dload_store_log(&q->cl->store, text);
    }
    for (uint32_t k = 0; k < q->lane->n_members; k++) {
        dload_redis_member *m = q->lane->members[k];
        if (m->job.hang_up)
            (void)dload_redis_close(&m->link.conn, DLOAD_EBACKEND, "the node refused commands");
        m->job.hang_up = false;
        dload_redis_i_trim(&q->cl->node, &m->link);
    }
    return st;
}

/* dload_store.run */
DLOAD_I_LOCAL dload_status dload_redis_cluster_i_run(dload_store *s, dload_store_op *op)
{
    dload_redis_cluster *cl = (dload_redis_cluster *)(void *)s;
    dload_redis_cluster_i_job q;
    if (cl->node.pid != getpid())
        return DLOAD_EFORK;
    if (op->n >= UINT32_MAX || op->kind >= DLOAD_STORE_N_KINDS)
        return DLOAD_EINVAL;
    memset(&q, 0, sizeof q);
    q.cl = cl;
    q.op = op;
    q.until_ns =
        dload_i_add_ns(dload_redis_now(),
                       op->timeout_ns != 0 ? op->timeout_ns : cl->node.server.command_timeout_ns);
    dload_redis_i_prepare(&cl->node, op);
    q.lane = dload_redis_cluster_i_take_lane(cl, q.until_ns);
    if (q.lane == NULL)
        return DLOAD_ETIMEDOUT;
    dload_status st = dload_redis_cluster_i_on_lane(&q);
    dload_redis_cluster_i_leave_map(&q);
    dload_redis_cluster_i_give_lane(cl, q.lane);
    return st;
}

#endif /* DLOAD_REDIS_CLUSTER_ROUNDS_H */
