/* dataloader_redis/cluster_clear.h -- removing keys on all masters; a part of dataloader_redis_cluster.h.
 *
 * SPDX-License-Identifier: MIT
 *
 * Each master is walked through as dataloader_redis/clear.h does it. A key that is moved from a node that was not walked through yet
 * to one that was is missed. When anything says that slots moved (a slot that is open before or after, another map, a name that was found
 * and is gone), all are walked through once more: what moved is where it went to by then.
 */
#ifndef DLOAD_REDIS_CLUSTER_H
#error "dataloader_redis/cluster_clear.h: include dataloader_redis_cluster.h instead"
#endif

#ifndef DLOAD_REDIS_CLUSTER_CLEAR_H
#define DLOAD_REDIS_CLUSTER_CLEAR_H

/* Connects to a node and waits for that. */
DLOAD_I_LOCAL dload_status dload_redis_cluster_i_enter(dload_redis_cluster_i_job *q,
                                                       dload_redis_member *m)
{
    dload_redis_conn *c = &m->link.conn;
    if (dload_redis_cluster_i_paused(q, m))
        return DLOAD_EBACKEND;
    dload_status st = dload_redis_cluster_i_connect(q, m);
    if (st == DLOAD_OK)
        st = dload_redis_enter(
            c, q->until_ns < m->link.connect_until_ns ? q->until_ns : m->link.connect_until_ns);
    if (st == DLOAD_PENDING && dload_redis_now() < m->link.connect_until_ns)
        return DLOAD_ETIMEDOUT; /* the next who needs it goes on with it */
    if (st == DLOAD_PENDING)
        st = dload_redis_close(c, DLOAD_ETIMEDOUT, "not connected in time");
    if (st != DLOAD_OK) {
        dload_redis_cluster_i_ill(q, m, true);
        dload_redis_cluster_i_log(q->cl, m, c->error);
    }
    return st;
}

/* Does this node give a slot away, or take one? It says so of itself alone: "... myself,master ... [93-<-id]". */
DLOAD_I_LOCAL dload_status dload_redis_cluster_i_is_open(dload_redis_cluster_i_job *q,
                                                         dload_redis_member *m, bool *open)
{
    dload_redis_conn *c = &m->link.conn;
    redisReply *reply = NULL;
    dload_status st = dload_redis_cluster_i_enter(q, m);
    if (st != DLOAD_OK)
        return st;
    (void)dload_redis_begin(c, 2);
    (void)dload_redis_text(c, "CLUSTER");
    (void)dload_redis_text(c, "NODES");
    st = dload_redis_get(c, q->until_ns, &reply);
    if (st != DLOAD_OK)
        return st;
    const char *line = reply->type == REDIS_REPLY_STRING ? strstr(reply->str, "myself") : NULL;
    if (line != NULL)
        *open = *open || memchr(line, '[', strcspn(line, "\n")) != NULL;
    else
        st = DLOAD_EBACKEND;
    dload_redis_reply_free(reply);
    return st;
}

/* One node: removes what is there. *moves is set when slots move. */
DLOAD_I_LOCAL dload_status dload_redis_cluster_i_clear_node(dload_redis_cluster_i_job *q,
                                                            dload_redis_member *m, bool *moves)
{
    dload_status st = dload_redis_cluster_i_is_open(q, m, moves);
    if (st == DLOAD_OK) {
        memset(&m->job, 0, sizeof m->job);
        m->job.r = &q->cl->node;
        m->job.l = &m->link;
        m->job.op = q->op;
        m->job.until_ns = q->until_ns;
        m->job.chunk = 1;
        m->job.clustered = true;
        st = dload_redis_i_clear(&m->job);
        *moves = *moves || m->job.gone;
        if (m->job.error[0] != '\0')
            memcpy(q->error, m->job.error, sizeof q->error);
    }
    if (st == DLOAD_OK)
        st = q->op->items[0].status;
    if (st == DLOAD_OK)
        st = dload_redis_cluster_i_is_open(q, m, moves);
    if (st == DLOAD_OK)
        dload_redis_cluster_i_well(q, m);
    return st;
}

/* All nodes, by the newest map. *moves: it should be done once more. A node that fails does not keep the others from
 * being cleared. */
DLOAD_I_LOCAL dload_status dload_redis_cluster_i_clear_all(dload_redis_cluster_i_job *q,
                                                           bool *moves)
{
    dload_status st = dload_redis_cluster_i_renew(q, true);
    const uint64_t version = q->version, n_moved = DLOAD_I_LOAD_RELAXED(&q->cl->n_moved);
    if (st != DLOAD_OK)
        return st;
    for (uint32_t i = 0; i < q->map->n_masters; i++) {
        dload_redis_member *m = dload_redis_cluster_i_of_master(q, i);
        dload_status one = m != NULL ? dload_redis_cluster_i_clear_node(q, m, moves) : DLOAD_ENOMEM;
        st = one != DLOAD_OK ? one : st;
    }
    if (st == DLOAD_OK)
        st = dload_redis_cluster_i_renew(q, true);
    *moves = *moves || q->version != version || DLOAD_I_LOAD_RELAXED(&q->cl->n_moved) != n_moved;
    return st;
}

/* CLEAR. */
DLOAD_I_LOCAL dload_status dload_redis_cluster_i_clear(dload_redis_cluster_i_job *q)
{
    bool moves = false, again = false;
    dload_status st = dload_redis_cluster_i_clear_all(q, &moves);
    if (st == DLOAD_OK && moves)
        st = dload_redis_cluster_i_clear_all(q, &again);
    for (size_t i = 0; i < q->op->n; i++)
        q->op->items[i].status = i == 0 ? st : DLOAD_EINVAL; /* there is one prefix */
    return DLOAD_OK;
}

#endif /* DLOAD_REDIS_CLUSTER_CLEAR_H */
