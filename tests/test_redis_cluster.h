/* What the suites of the Redis Cluster store share: three masters, a store on them, and ways to look behind its back. */
#ifndef DLOAD_TESTS_REDIS_CLUSTER_H
#define DLOAD_TESTS_REDIS_CLUSTER_H

#define N_NODES 3u

static struct redis_server nodes[N_NODES];
static dload_redis_cluster cluster;

__attribute__((__unused__)) static int start_nodes(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_NODES; i++)
        nodes[i].extra = "cluster-require-full-coverage no\n";
    return redis_cluster_start(nodes, N_NODES) ? 0 : -1;
}

__attribute__((__unused__)) static int stop_nodes(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_NODES; i++)
        redis_server_stop(&nodes[i]);
    return 0;
}

/* A store that knows the first node alone. */
__attribute__((__unused__)) static void open_cluster(dload_redis_cluster_config *cfg)
{
    const char *const urls[] = {nodes[0].url};
    char why[160];
    cfg->urls = urls;
    cfg->n_urls = 1;
    if (dload_redis_cluster_init(&cluster, cfg, why, sizeof why) != DLOAD_OK)
        fail_msg("%s", why);
}

__attribute__((__unused__)) static dload_store_item item_of(const char *key)
{
    dload_store_item item;
    memset(&item, 0, sizeof item);
    item.key = key;
    item.key_bytes = strlen(key);
    item.status = DLOAD_PENDING;
    return item;
}

__attribute__((__unused__)) static dload_store_op op_of(dload_store_kind kind,
                                                        dload_store_item *items, size_t n)
{
    dload_store_op op;
    memset(&op, 0, sizeof op);
    op.kind = kind;
    op.items = items;
    op.n = n;
    return op;
}

/* A request whose values are not looked at. */
__attribute__((__unused__)) static dload_status run(dload_store_kind kind, dload_store_item *items,
                                                    size_t n)
{
    dload_store_op op = op_of(kind, items, n);
    dload_status st = dload_store_run(&cluster.store, &op);
    dload_store_release(&op);
    return st;
}

/* ---- asking nodes aside ---- */

static dload_redis_conn aside[N_NODES];
static dload_redis_server aside_of[N_NODES];

static dload_redis_conn *open_aside(size_t node)
{
    dload_redis_conn *c = &aside[node];
    if (aside_of[node].block == NULL) {
        dload_redis_config cfg;
        memset(&cfg, 0, sizeof cfg);
        cfg.url = nodes[node].unix_url;
        must_ok(dload_redis_server_init(&aside_of[node], &cfg, NULL, 0));
    }
    if (c->state != DLOAD_REDIS_READY || !dload_redis_usable(c)) {
        if (c->server != NULL)
            (void)dload_redis_close(c, DLOAD_OK, NULL);
        must_ok(dload_redis_open(c, &aside_of[node]));
    }
    return c;
}

__attribute__((__unused__)) static void close_aside(void)
{
    for (size_t i = 0; i < N_NODES; i++) {
        if (aside[i].server != NULL)
            (void)dload_redis_close(&aside[i], DLOAD_OK, NULL);
        dload_redis_server_end(&aside_of[i]);
        memset(&aside[i], 0, sizeof aside[i]);
    }
}

/* The answer of a node to a command of texts, for freeReplyObject. */
__attribute__((__unused__)) static redisReply *ask_node(size_t node, size_t n_args, ...)
{
    dload_redis_conn *c = open_aside(node);
    redisReply *r = NULL;
    va_list list;
    va_start(list, n_args);
    dload_redis_begin(c, n_args);
    for (size_t i = 0; i < n_args; i++)
        dload_redis_text(c, va_arg(list, const char *));
    va_end(list);
    must_ok(dload_redis_get(c, dload_redis_until(c, 20 * DLOAD_SECOND), &r));
    return r;
}

/* A number that a node says, or that stands behind word in what it says; -1 = it says something else. */
static long long number_in(redisReply *r, const char *word)
{
    const char *p =
        word != NULL && r->type == REDIS_REPLY_STRING ? strstr(r->str, word) : (const char *)NULL;
    long long n = r->type == REDIS_REPLY_INTEGER ? r->integer : -1;
    if (p != NULL)
        n = strtoll(p + strlen(word), NULL, 10);
    freeReplyObject(r);
    return n;
}

/* How often a node was told so. */
__attribute__((__unused__)) static long long commands_of(size_t node, const char *command)
{
    char word[64];
    (void)snprintf(word, sizeof word, "cmdstat_%s:calls=", command);
    return number_in(ask_node(node, 2, "INFO", "commandstats"), word);
}

__attribute__((__unused__)) static long long keys_of(size_t node)
{
    return number_in(ask_node(node, 1, "DBSIZE"), NULL);
}

/* Which node has this slot, as node 0 .. 2 by port; N_NODES = nobody. */
__attribute__((__unused__)) static size_t node_of_port(int port)
{
    for (size_t i = 0; i < N_NODES; i++) {
        if (nodes[i].port == port)
            return i;
    }
    return N_NODES;
}

/* A key of our own whose slot the node had when the cluster was started: "key12". */
__attribute__((__unused__)) static void key_on(size_t node, size_t number, char *key, size_t cap)
{
    for (size_t n = 0, seen = 0;; n++) {
        char name[64];
        (void)snprintf(key, cap, "key%zu", n);
        const int len = snprintf(name, sizeof name, "dload:%s", key);
        const uint32_t slot = dload_redis_slot(name, (size_t)len);
        if (slot >= node * 16384 / N_NODES && slot < (node + 1) * 16384 / N_NODES &&
            seen++ == number)
            return;
    }
}

#endif /* DLOAD_TESTS_REDIS_CLUSTER_H */
