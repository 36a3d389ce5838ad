/* dataloader_redis/cluster_map.h -- connections to nodes, and the map that says which; a part of dataloader_redis_cluster.h.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef DLOAD_REDIS_CLUSTER_H
#error "dataloader_redis/cluster_map.h: include dataloader_redis_cluster.h instead"
#endif

#ifndef DLOAD_REDIS_CLUSTER_MAP_H
#define DLOAD_REDIS_CLUSTER_MAP_H

#define DLOAD_REDIS_CLUSTER_I_NONE UINT32_MAX

/* Failures in a row after which a node that can be connected to is left alone, too: one may be a request's that had
 * little time. */
#define DLOAD_REDIS_CLUSTER_I_FAILURES 3u

/* A request under way. Private. */
typedef struct dload_redis_cluster_i_job {
    dload_redis_cluster *cl;
    dload_redis_lane *lane;
    dload_redis_map *map; /* in use; NULL = none could be had */
    uint64_t version;     /* of it */
    dload_store_op *op;
    uint64_t until_ns;
    uint32_t what;
    dload_status wanted; /* the status of items that this pass is about, until they are decided */
    bool moved;          /* a slot is elsewhere: to be told */
    bool renew;          /* the map is to be asked for */
    bool down;           /* all of the cluster is, as a node said */
    bool hinted;         /* ... at hint first */
    dload_redis_address hint; /* who is said to have a slot now */
    char error[24];           /* the last code of an error that was not about a key */
} dload_redis_cluster_i_job;

/* A sentence for the log about one node. */
DLOAD_I_LOCAL void dload_redis_cluster_i_log(dload_redis_cluster *cl, const dload_redis_member *m,
                                             const char *text)
{
    char all[512];
    if (cl->store.hooks == NULL)
        return;
    (void)snprintf(all, sizeof all, "redis: node %s:%d: %s", m->at.host, m->at.port,
                   strncmp(text, "redis: ", 7) == 0 ? text + 7 : text);
    dload_store_log(&cl->store, all);
}

/* ---- members ---- */

DLOAD_I_LOCAL void dload_redis_cluster_i_free_member(dload_redis_cluster *cl, dload_redis_member *m)
{
    if (cl->node.pid == getpid())
        (void)dload_redis_close(&m->link.conn, DLOAD_ECLOSED, "it is not needed any more");
    else
        dload_redis_drop(&m->link.conn);
    dload_i_free(cl->store.env, m->link.names, m->link.names_cap);
    dload_i_free(cl->store.env, m, sizeof *m);
}

/* Room for one member more. */
DLOAD_I_LOCAL bool dload_redis_cluster_i_room(dload_redis_cluster *cl, dload_redis_lane *lane)
{
    const dload_env *env = cl->store.env;
    if (lane->n_members < lane->cap_members)
        return true;
    const uint32_t cap = lane->cap_members != 0 ? 2 * lane->cap_members : 4;
    dload_redis_member **members =
        (dload_redis_member **)dload_i_alloc(env, cap * sizeof *lane->members);
    struct pollfd *polled = (struct pollfd *)dload_i_alloc(env, cap * sizeof *lane->polled);
    if (members == NULL || polled == NULL) {
        dload_i_free(env, members, cap * sizeof *members);
        dload_i_free(env, polled, cap * sizeof *polled);
        return false;
    }
    if (lane->n_members != 0)
        memcpy(members, lane->members, lane->n_members * sizeof *members);
    dload_i_free(env, lane->members, lane->cap_members * sizeof *members);
    dload_i_free(env, lane->polled, lane->cap_members * sizeof *polled);
    lane->members = members;
    lane->polled = polled;
    lane->cap_members = cap;
    return true;
}

/* The lane's connection to a node, not necessarily open. NULL: no memory, or too many nodes in one request. */
DLOAD_I_LOCAL dload_redis_member *dload_redis_cluster_i_member(dload_redis_cluster_i_job *q,
                                                               const dload_redis_address *at)
{
    dload_redis_lane *lane = q->lane;
    for (uint32_t i = 0; i < lane->n_members; i++) {
        if (dload_redis_i_same_address(&lane->members[i]->at, at))
            return lane->members[i];
    }
    if (lane->n_members >= 2 * DLOAD_REDIS_I_NODES || !dload_redis_cluster_i_room(q->cl, lane))
        return NULL;
    dload_redis_member *m = (dload_redis_member *)dload_i_alloc(q->cl->store.env, sizeof *m);
    if (m == NULL)
        return NULL;
    memset(m, 0, sizeof *m);
    m->at = *at;
    m->link.conn.fd = -1;
    m->link.conn.server = &q->cl->node.server;
    m->first = m->last = m->unsent = DLOAD_REDIS_CLUSTER_I_NONE;
    m->master = q->map != NULL ? dload_redis_i_find_master(q->map, at) : DLOAD_REDIS_I_NO_MASTER;
    lane->members[lane->n_members++] = m;
    return m;
}

/* The lane's connection to a master of the map. */
DLOAD_I_LOCAL dload_redis_member *dload_redis_cluster_i_of_master(dload_redis_cluster_i_job *q,
                                                                  uint32_t which)
{
    dload_redis_lane *lane = q->lane;
    if (which >= lane->cap_of_master)
        return dload_redis_cluster_i_member(q, &q->map->masters[which].at);
    if (lane->of_master[which] == NULL)
        lane->of_master[which] = dload_redis_cluster_i_member(q, &q->map->masters[which].at);
    return lane->of_master[which];
}

/* ---- how nodes are ---- */

DLOAD_I_LOCAL dload_redis_master *dload_redis_cluster_i_health(dload_redis_cluster_i_job *q,
                                                               const dload_redis_member *m)
{
    return q->map != NULL && m->master != DLOAD_REDIS_I_NO_MASTER ? &q->map->masters[m->master]
                                                                  : NULL;
}

/* It answered. */
DLOAD_I_LOCAL void dload_redis_cluster_i_well(dload_redis_cluster_i_job *q,
                                              const dload_redis_member *m)
{
    dload_redis_master *h = dload_redis_cluster_i_health(q, m);
    if (h != NULL && DLOAD_I_LOAD_RELAXED(&h->is_well) == 0) {
        DLOAD_I_STORE_RELAXED(&h->is_well, 1u);
        DLOAD_I_STORE_RELAXED(&h->n_failed, 0u);
        DLOAD_I_STORE_RELAXED(&h->pause_until_ns, (uint64_t)0);
    }
}

/* It could not be connected to, or did not answer. Requests that saw the same count once, roughly. */
DLOAD_I_LOCAL void dload_redis_cluster_i_ill(dload_redis_cluster_i_job *q,
                                             const dload_redis_member *m, bool connecting)
{
    dload_redis_master *h = dload_redis_cluster_i_health(q, m);
    const uint64_t now_ns = dload_redis_now();
    if (h == NULL)
        return;
    DLOAD_I_STORE_RELAXED(&h->is_well, 0u);
    if (now_ns < DLOAD_I_LOAD_RELAXED(&h->pause_until_ns))
        return;
    uint32_t n = __atomic_add_fetch(&h->n_failed, 1u, __ATOMIC_RELAXED);
    if (!connecting && n < DLOAD_REDIS_CLUSTER_I_FAILURES)
        return;
    DLOAD_I_STORE_RELAXED(&h->pause_until_ns,
                          now_ns + dload_redis_pause(&q->cl->node.server, n < 32 ? n - 1 : 31, h));
}

DLOAD_I_LOCAL bool dload_redis_cluster_i_paused(dload_redis_cluster_i_job *q,
                                                const dload_redis_member *m)
{
    dload_redis_master *h = dload_redis_cluster_i_health(q, m);
    return h != NULL && dload_redis_now() < DLOAD_I_LOAD_RELAXED(&h->pause_until_ns);
}

/* Begins to connect, or sees that a connection can be used still. */
DLOAD_I_LOCAL dload_status dload_redis_cluster_i_connect(dload_redis_cluster_i_job *q,
                                                         dload_redis_member *m)
{
    dload_redis_conn *c = &m->link.conn;
    if (c->state == DLOAD_REDIS_READY && !dload_redis_usable(c)) {
        (void)dload_redis_close(c, DLOAD_EBACKEND, "an idle connection was lost");
        dload_redis_cluster_i_log(q->cl, m, c->error);
    }
    if (c->state != DLOAD_REDIS_CLOSED)
        return DLOAD_OK;
    m->link.connect_until_ns =
        dload_i_add_ns(dload_redis_now(), q->cl->node.server.connect_timeout_ns);
    dload_status st = dload_redis_start(c, &q->cl->node.server, m->at.host, m->at.port);
    c->lean = true;
    return st;
}

/* ---- maps ---- */

DLOAD_I_LOCAL void dload_redis_cluster_i_leave_map(dload_redis_cluster_i_job *q)
{
    dload_redis_map *gone = NULL;
    if (q->map == NULL)
        return;
    (void)pthread_mutex_lock(&q->cl->node.mutex);
    if (--q->map->n_users == 0)
        gone = q->map;
    (void)pthread_mutex_unlock(&q->cl->node.mutex);
    dload_redis_i_free_map(q->cl->store.env, gone);
    q->map = NULL;
}

/* Takes the newest map into use, and sees where the lane's connections are on it. Those that are not are closed, when
 * nothing is under way (between requests): a fleet that moves on must not leave them behind. */
DLOAD_I_LOCAL void dload_redis_cluster_i_use_map(dload_redis_cluster_i_job *q, bool between)
{
    dload_redis_lane *lane = q->lane;
    dload_redis_cluster_i_leave_map(q);
    (void)pthread_mutex_lock(&q->cl->node.mutex);
    q->map = q->cl->map;
    if (q->map != NULL)
        q->map->n_users++;
    const uint64_t version = q->version = q->cl->map_version;
    (void)pthread_mutex_unlock(&q->cl->node.mutex);
    if (q->map == NULL ||
        (version == lane->map_version && lane->n_members <= 2 * q->map->n_masters + 16))
        return;
    if (lane->cap_of_master < q->map->n_masters) {
        dload_i_free(q->cl->store.env, lane->of_master,
                     lane->cap_of_master * sizeof *lane->of_master);
        lane->cap_of_master = q->map->cap_masters;
        lane->of_master = (dload_redis_member **)dload_i_alloc(
            q->cl->store.env, lane->cap_of_master * sizeof *lane->of_master);
        if (lane->of_master == NULL)
            lane->cap_of_master = 0;
    }
    for (uint32_t i = 0; i < lane->cap_of_master; i++)
        lane->of_master[i] = NULL;
    for (uint32_t i = lane->n_members; i-- != 0;) {
        dload_redis_member *m = lane->members[i];
        m->master = dload_redis_i_find_master(q->map, &m->at);
        if (m->master == DLOAD_REDIS_I_NO_MASTER && between) {
            dload_redis_cluster_i_free_member(q->cl, m);
            lane->members[i] = lane->members[--lane->n_members];
        }
    }
    if (between)
        lane->map_version = version;
}

/* A map that somebody answered becomes everybody's, when it is another one. */
DLOAD_I_LOCAL void dload_redis_cluster_i_install(dload_redis_cluster_i_job *q, dload_redis_map *map)
{
    dload_redis_cluster *cl = q->cl;
    dload_redis_map *gone = map;
    (void)pthread_mutex_lock(&cl->node.mutex);
    dload_redis_map *old = cl->map;
    const bool first = old == NULL;
    const bool differs = first || !dload_redis_i_same_map(old, map);
    if (differs) {
        for (uint32_t i = 0; i < map->n_masters && !first; i++) {
            const uint32_t was = dload_redis_i_find_master(old, &map->masters[i].at);
            if (was == DLOAD_REDIS_I_NO_MASTER)
                continue;
            map->masters[i].n_failed = DLOAD_I_LOAD_RELAXED(&old->masters[was].n_failed);
            map->masters[i].is_well = DLOAD_I_LOAD_RELAXED(&old->masters[was].is_well);
            map->masters[i].pause_until_ns =
                DLOAD_I_LOAD_RELAXED(&old->masters[was].pause_until_ns);
        }
        map->n_users = 1;
        cl->map = map;
        cl->map_version++;
        gone = !first && --old->n_users == 0 ? old : NULL;
    }
    cl->n_in_vain = differs ? 0 : cl->n_in_vain;
    (void)pthread_mutex_unlock(&cl->node.mutex);
    dload_redis_i_free_map(cl->store.env, gone);
    dload_i_store_add(&cl->n_renewed, 1);
    if (differs && !first) {
        dload_i_store_add(&cl->n_changed, 1);
        dload_redis_cluster_i_topology(cl);
    }
}

/* Asks one node for the map. */
DLOAD_I_LOCAL dload_status dload_redis_cluster_i_ask(dload_redis_cluster_i_job *q,
                                                     const dload_redis_address *at,
                                                     uint64_t until_ns)
{
    dload_redis_member *m = dload_redis_cluster_i_member(q, at);
    dload_redis_map *map = NULL;
    redisReply *reply = NULL;
    if (m == NULL)
        return DLOAD_ENOMEM;
    dload_redis_conn *c = &m->link.conn;
    const bool fresh = c->state != DLOAD_REDIS_READY;
    if (dload_redis_cluster_i_paused(q, m))
        return DLOAD_EBACKEND;
    dload_status st = dload_redis_cluster_i_connect(q, m);
    if (st == DLOAD_OK)
        st = dload_redis_enter(c, until_ns < m->link.connect_until_ns ? until_ns
                                                                      : m->link.connect_until_ns);
    if (st == DLOAD_PENDING) /* the next who needs it goes on with it, unless it was time enough */
        return dload_redis_now() < m->link.connect_until_ns
                   ? DLOAD_ETIMEDOUT
                   : dload_redis_close(c, DLOAD_ETIMEDOUT, "not connected in time");
    if (st == DLOAD_OK) {
        (void)dload_redis_begin(c, 2);
        (void)dload_redis_text(c, "CLUSTER");
        (void)dload_redis_text(c, "SLOTS");
        st = dload_redis_get(c, until_ns, &reply);
    }
    if (st == DLOAD_OK) {
        st = dload_redis_i_read_map(q->cl->store.env, reply, at->host, &map);
        dload_redis_reply_free(reply);
        if (st == DLOAD_OK) {
            dload_redis_cluster_i_well(q, m);
            dload_redis_cluster_i_install(q, map);
        } else {
            dload_redis_cluster_i_log(q->cl, m, "it does not say who has which slot");
        }
        return st;
    }
    dload_redis_cluster_i_ill(q, m, fresh);
    dload_redis_cluster_i_log(q->cl, m, c->error);
    return st;
}

/* Asks whoever may know: who is said to have a slot, the masters, the seeds. Each gets half of what is left of the
 * time. DLOAD_OK: somebody answered. */
DLOAD_I_LOCAL dload_status dload_redis_cluster_i_ask_all(dload_redis_cluster_i_job *q)
{
    const uint32_t n_masters = q->map != NULL ? q->map->n_masters : 0;
    const uint32_t n_seeds = (uint32_t)q->cl->n_seeds;
    const uint32_t begin = (uint32_t)dload_redis_now(); /* not always the same first */
    dload_status st = DLOAD_EBACKEND;
    for (uint32_t i = q->hinted ? 0 : 1; i < 1 + n_masters + n_seeds; i++) {
        const uint64_t now_ns = dload_redis_now();
        dload_redis_address at;
        if (now_ns >= q->until_ns)
            return DLOAD_ETIMEDOUT;
        if (i == 0)
            at = q->hint;
        else if (i <= n_masters)
            at = q->map->masters[(begin + i) % n_masters].at;
        else
            at = q->cl->seeds[i - 1 - n_masters];
        st = dload_redis_cluster_i_ask(q, &at, now_ns + (q->until_ns - now_ns + 1) / 2);
        if (st == DLOAD_OK)
            return st;
    }
    return st;
}

/* Asks for the map and uses it, if that may be done now: one request at a time does, after a pause that grows as long as it
 * is in vain; forced = at once. Nothing of the request may be under way. */
DLOAD_I_LOCAL dload_status dload_redis_cluster_i_renew(dload_redis_cluster_i_job *q, bool forced)
{
    dload_redis_cluster *cl = q->cl;
    (void)pthread_mutex_lock(&cl->node.mutex);
    /* The first map is everybody's need: nobody waits for another's attempt. */
    const bool may =
        forced || ((!cl->renewing || cl->map == NULL) && dload_redis_now() >= cl->renew_after_ns);
    if (may) {
        cl->renewing = true;
        cl->renew_after_ns =
            dload_redis_now() + dload_redis_pause(&cl->node.server, cl->n_in_vain, cl);
        cl->n_in_vain += cl->n_in_vain < 5; /* not longer than 1.6 s, when pause_ns is 50 ms */
    }
    (void)pthread_mutex_unlock(&cl->node.mutex);
    dload_status st = DLOAD_EBACKEND;
    if (may) {
        st = dload_redis_cluster_i_ask_all(q);
        (void)pthread_mutex_lock(&cl->node.mutex);
        cl->renewing = false;
        if (cl->map == NULL && st == DLOAD_ETIMEDOUT)
            cl->renew_after_ns = 0; /* it was the request that had no time */
        (void)pthread_mutex_unlock(&cl->node.mutex);
    }
    q->renew = q->hinted = false;
    dload_redis_cluster_i_use_map(q, false);
    return st;
}

/* ---- lanes ---- */

/* A lane for one request. NULL: all were in use until then. */
DLOAD_I_LOCAL dload_redis_lane *dload_redis_cluster_i_take_lane(dload_redis_cluster *cl,
                                                                uint64_t until_ns)
{
    dload_redis_store *r = &cl->node;
    (void)pthread_mutex_lock(&r->mutex);
    while (cl->idle == NULL && dload_redis_now() < until_ns)
        dload_threads_i_wait(&r->idle_cond, &r->mutex, until_ns);
    dload_redis_lane *lane = cl->idle;
    if (lane != NULL)
        cl->idle = lane->next;
    (void)pthread_mutex_unlock(&r->mutex);
    return lane;
}

DLOAD_I_LOCAL void dload_redis_cluster_i_give_lane(dload_redis_cluster *cl, dload_redis_lane *lane)
{
    (void)pthread_mutex_lock(&cl->node.mutex);
    lane->next = cl->idle;
    cl->idle = lane;
    (void)pthread_cond_signal(&cl->node.idle_cond);
    (void)pthread_mutex_unlock(&cl->node.mutex);
}

#endif /* DLOAD_REDIS_CLUSTER_MAP_H */
