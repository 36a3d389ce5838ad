/* dataloader_redis_cluster.h -- a store on a Redis Cluster, for those who outgrew one server.
 *
 * SPDX-License-Identifier: MIT
 *
 *     #define DLOAD_STORE 1
 *     #include "dataloader.h"                          // with or without a loader
 *     #include "dataloader_redis_cluster.h"            // links: hiredis, pthread
 *
 *     static const char *const seeds[] = {"redis://:secret@10.0.0.1", "redis://10.0.0.2"};
 *     dload_redis_cluster cluster;
 *     dload_redis_cluster_config cfg = {0};
 *     char why[160];
 *     cfg.urls = seeds, cfg.n_urls = 2;
 *     if (dload_redis_cluster_init(&cluster, &cfg, why, sizeof why) != DLOAD_OK)
 *         return complain(why);
 *     loader_config.store = &cluster.store;            // or dload_store_run(&cluster.store, &op)
 *     ...
 *     dload_redis_cluster_end(&cluster);
 *
 * What is stored how, and what leases are, is as dataloader_redis.h says: a value and its lease lie in one slot. No
 * connection is made before the first request.
 *
 * WHERE KEYS ARE  The first request asks a seed, then the next one, who has which slot (CLUSTER SLOTS). Requests are split by
 * what was answered; each node's part is sent in one write, to all nodes before the first answer is waited for. The
 * map is asked for again when a node says that a slot moved (MOVED), that it is a replica or that the cluster is
 * down, and when a node cannot be reached: by one request at a time, and after pauses that grow as long as nothing
 * is different. A slot that moved to a node that is known is remembered at once. A seed needs not be a master, and is not
 * asked once other nodes are known, unless none of those answers.
 *
 * COMMANDS  Redis refuses commands for keys in several slots, so that each key has one of its own: GET costs a
 * server more here than on a single server. CLEAR walks through all masters one after the other, see below.
 *
 * WHILE SLOTS MOVE  GET, SET, DELETE and DROP do what they say while a slot is on its way from node to node, key by key (ASK). LEASE
 * of a key without a value, and FILL, need two keys in one place, which Redis cannot promise then (TRYAGAIN): these are
 * tried again for a while, and end as DLOAD_EBACKEND: the asker fetches for itself. An item is sent on
 * config.max_redirects times and tried again config.max_retries times, all in its request's time; then it
 * is DLOAD_EBACKEND. CLEAR looks for open slots before and after, and goes through all nodes again when it saw one or a key
 * that was gone: it misses a key that is moved twice meanwhile.
 *
 * WHEN A NODE FAILS  Keys of a node that cannot be reached are DLOAD_EBACKEND or DLOAD_ETIMEDOUT, each for itself; the others have
 * their answers. The node is left alone for a while, as dataloader_redis.h says of a server. A request fails as a whole, and the
 * breaker counts it, when no key was answered and no master is known to have answered the last time it was asked, or when
 * one says that all of the cluster is down: set cluster-require-full-coverage no, or one dead master takes all
 * others with it.
 *
 * TLS  Each node must have a certificate for the host that the map says (cluster-announce-hostname), or all for the one that
 * sni= says in the first URL.
 *
 * WHAT IS REMEMBERED OF A NODE  on_topology is called when a slot moved, once for each, or a map differs from the one before, by the request that
 * noticed and before it goes on to the new node: what was heard of changes there is void, everything must be forgotten. Hang a
 * list of dload_sink on it by dload_redis_cluster_tell, one for each loader. (A loader with a sink caches nothing until one of
 * its sinks was told up(): by its channel, or, when it has no channel, once by you.) Client tracking is a
 * matter between a client and one node; this store has none. A channel (dataloader_redis_channel.h) needs a server of
 * its own, or the node that has its key.
 *
 * THREADS  Any number. A request takes a lane, which has one connection to each node that it needed so far, of
 * config.node.max_connections lanes. The request's own thread does everything. In the child of a fork()
 * requests are DLOAD_EFORK.
 */
#ifndef DLOAD_I_BACKEND_H
#error "dataloader_redis_cluster.h: include dataloader.h with DLOAD_STORE 1 before this header"
#endif

#ifndef DLOAD_REDIS_CLUSTER_H
#define DLOAD_REDIS_CLUSTER_H

#include "dataloader_redis.h"
#include "dataloader_redis/slots.h"

/* Zeros are the defaults, but for urls. */
typedef struct dload_redis_cluster_config {
    const char *const *urls; /* any nodes; user, password and TLS of the first are everybody's */
    size_t n_urls;           /* 1 to 64 */
    /* What all nodes have in common: names, sizes, timeouts. server.url, .host and .port are not looked at, chunk
     * neither; max_connections is per node. hooks are the store's. */
    dload_redis_store_config node;
    uint32_t max_redirects; /* of one item; default 8, most 100 */
    uint32_t max_retries;   /* of one item; default 4, most 100; after 10 ms, 20 ms ... */
    /* See above; NULL = not wanted. From the thread of a request, no lock held; must not ask this store. */
    void (*on_topology)(void *ctx);
    void *topology_ctx;
} dload_redis_cluster_config;

/* What is under way for an item. Private. */
typedef struct dload_redis_cluster_i_work {
    uint64_t not_before_ns;
    struct dload_redis_member *target; /* where it was sent to; NULL = where the map says */
    dload_status failed; /* its node could not be asked; DLOAD_OK = it could, or was not */
    uint32_t next;       /* of the same node */
    uint16_t slot;
    uint8_t n_redirects, n_retries;
    uint8_t stage;  /* 0 = both names at once, 1 = its lease alone, 2 = its value alone */
    uint8_t n_owed; /* replies */
    bool pending;   /* not decided */
    bool asking;    /* the target has it though it is not its own yet */
    bool by_text;   /* its node does not know the script */
    bool again;     /* what comes is of no interest: it will be sent again */
} dload_redis_cluster_i_work;

/* A connection to one node, and what a request wants of it. Private. */
typedef struct dload_redis_member {
    dload_redis_link link;
    dload_redis_address at;
    dload_redis_i_job job;
    uint32_t master;              /* in the request's map, or DLOAD_REDIS_I_NO_MASTER */
    uint32_t first, last, unsent; /* of its items; UINT32_MAX = none */
    uint32_t n_taken;             /* commands of the job that are answered */
    bool busy;
} dload_redis_member;

/* What one request at a time uses. Private. */
typedef struct dload_redis_lane {
    struct dload_redis_lane *next; /* idle; under the mutex */
    dload_redis_member **members;
    struct pollfd *polled;
    uint32_t n_members, cap_members;
    dload_redis_member **of_master; /* by number on the map; NULL = look among members */
    uint32_t cap_of_master;
    dload_redis_cluster_i_work *work;
    size_t cap_work;
    uint64_t map_version; /* members are of this map */
} dload_redis_lane;

/* The store. The caller's; it must stay where it is from _init to _end. */
typedef struct dload_redis_cluster {
    dload_store store; /* hand &cluster.store to whoever asks for a store */
    /* Counters since _init, atomic. */
    uint64_t n_moved;   /* items that were sent on for good */
    uint64_t n_asked;   /* items that were sent on this once */
    uint64_t n_renewed; /* maps that were asked for */
    uint64_t n_changed; /* ... and were different */
    /* private: constant */
    dload_redis_store node; /* settings, and the mutex; never asked */
    dload_redis_address *seeds;
    size_t n_seeds;
    uint32_t max_redirects, max_retries;
    void (*on_topology)(void *ctx);
    void *topology_ctx;
    dload_redis_lane *lanes;
    uint32_t n_lanes;
    /* private: under node.mutex */
    dload_redis_lane *idle;
    dload_redis_map *map; /* NULL = not known yet */
    uint64_t map_version;
    bool renewing;
    uint32_t n_in_vain; /* maps that could not be had or were the same, in a row */
    uint64_t renew_after_ns;
} dload_redis_cluster;

/* on_topology for a list of sinks: topology_ctx is the first dload_sink. Each is told to forget everything. */
DLOAD_I_UNUSED static void dload_redis_cluster_tell(void *sinks)
{
    for (dload_sink *s = (dload_sink *)sinks; s != NULL; s = s->next) {
        if (s->all != NULL)
            s->all(s->ctx);
    }
}

DLOAD_I_LOCAL void dload_redis_cluster_i_topology(dload_redis_cluster *cl)
{
    if (cl->on_topology != NULL)
        cl->on_topology(cl->topology_ctx);
}

#include "dataloader_redis/cluster_map.h"
#include "dataloader_redis/cluster_ops.h"
#include "dataloader_redis/cluster_rounds.h"

/* ---- the store's life ---- */

/* Ends a store: closes its connections and frees what it has. No request may be under way, and no values of one
 * unreleased. The child of a fork() may call it for its parent's store: nothing is sent. */
DLOAD_I_UNUSED static void dload_redis_cluster_end(dload_redis_cluster *cl)
{
    const dload_env *env = cl->store.env;
    for (uint32_t i = 0; i < cl->n_lanes && cl->lanes != NULL; i++) {
        dload_redis_lane *lane = &cl->lanes[i];
        for (uint32_t k = 0; k < lane->n_members; k++)
            dload_redis_cluster_i_free_member(cl, lane->members[k]);
        dload_i_free(env, lane->members, lane->cap_members * sizeof *lane->members);
        dload_i_free(env, lane->polled, lane->cap_members * sizeof *lane->polled);
        dload_i_free(env, lane->of_master, lane->cap_of_master * sizeof *lane->of_master);
        dload_i_free(env, lane->work, lane->cap_work * sizeof *lane->work);
    }
    dload_i_free(env, cl->lanes, cl->n_lanes * sizeof *cl->lanes);
    dload_i_free(env, cl->seeds, cl->n_seeds * sizeof *cl->seeds);
    dload_redis_i_free_map(env, cl->map);
    dload_redis_store_end(&cl->node);
    memset(cl, 0, sizeof *cl);
}

/* Reads the seeds' hosts and ports; node.server.url is the first. What is wrong, or DLOAD_OK. */
DLOAD_I_LOCAL dload_status dload_redis_cluster_i_seeds(dload_redis_cluster *cl,
                                                       const dload_redis_cluster_config *cfg,
                                                       char *why, size_t why_bytes)
{
    cl->n_seeds = cfg->n_urls;
    cl->seeds =
        (dload_redis_address *)dload_i_alloc(cl->store.env, cl->n_seeds * sizeof *cl->seeds);
    if (cl->seeds == NULL)
        return DLOAD_ENOMEM;
    for (size_t i = 0; i < cl->n_seeds; i++) {
        dload_redis_config one = cfg->node.server;
        dload_redis_server s;
        one.url = cfg->urls[i];
        dload_status st = dload_redis_server_init(&s, &one, why, why_bytes);
        if (st != DLOAD_OK)
            return st;
        const bool ok = s.path.ptr == NULL && s.database == 0 &&
                        dload_redis_i_address(s.host.ptr, s.host.len, s.port, "", &cl->seeds[i]);
        dload_redis_server_end(&s);
        if (!ok) {
            if (why != NULL && why_bytes != 0)
                (void)snprintf(why, why_bytes,
                               "redis: nodes of a cluster have a host and database 0 alone");
            return DLOAD_EINVAL;
        }
    }
    return DLOAD_OK;
}

DLOAD_I_LOCAL dload_status dload_redis_cluster_i_lanes(dload_redis_cluster *cl, uint32_t n)
{
    cl->lanes = (dload_redis_lane *)dload_i_alloc(cl->store.env, n * sizeof *cl->lanes);
    if (cl->lanes == NULL)
        return DLOAD_ENOMEM;
    memset(cl->lanes, 0, n * sizeof *cl->lanes);
    cl->n_lanes = n;
    while (n-- != 0) {
        cl->lanes[n].next = cl->idle;
        cl->idle = &cl->lanes[n];
    }
    return DLOAD_OK;
}

/* Makes a store; connects to nothing yet.
 *
 * cl is the caller's, uninitialised; what cfg points at may go away, but for env, hooks and topology_ctx. why, of
 * why_bytes, gets a sentence without secrets when this fails; NULL = not wanted. DLOAD_OK; DLOAD_EINVAL: as for
 * dload_redis_store_init, no URLs or too many, a Unix socket, a database; DLOAD_ENOMEM. Allocates 14 KB now, and
 * as much for each connection; 34 KB for the map. */
DLOAD_I_UNUSED static dload_status dload_redis_cluster_init(dload_redis_cluster *cl,
                                                            const dload_redis_cluster_config *cfg,
                                                            char *why, size_t why_bytes)
{
    dload_redis_store_config node = cfg->node;
    const uint32_t n_lanes = node.max_connections != 0 ? node.max_connections : 4;
    memset(cl, 0, sizeof *cl);
    if (cfg->urls == NULL || cfg->n_urls == 0 || cfg->n_urls > 64 || n_lanes > 1024 ||
        cfg->max_redirects > 100 || cfg->max_retries > 100) {
        if (why != NULL && why_bytes != 0)
            (void)snprintf(why, why_bytes,
                           "redis: urls, max_connections, max_redirects or max_retries is out of "
                           "range");
        return DLOAD_EINVAL;
    }
    node.server.url = cfg->urls[0];
    node.max_connections = 1;
    node.chunk = 1;
    dload_status st = dload_redis_store_init(&cl->node, &node, why, why_bytes);
    if (st != DLOAD_OK)
        return st;
    cl->max_redirects = cfg->max_redirects != 0 ? cfg->max_redirects : 8;
    cl->max_retries = cfg->max_retries != 0 ? cfg->max_retries : 4;
    cl->on_topology = cfg->on_topology;
    cl->topology_ctx = cfg->topology_ctx;
    cl->store = cl->node.store;
    cl->store.name = "redis-cluster";
    cl->store.run = dload_redis_cluster_i_run;
    st = dload_redis_cluster_i_seeds(cl, cfg, why, why_bytes);
    if (st == DLOAD_OK)
        st = dload_redis_cluster_i_lanes(cl, n_lanes);
    if (st != DLOAD_OK)
        dload_redis_cluster_end(cl);
    return st;
}

#endif /* DLOAD_REDIS_CLUSTER_H */
