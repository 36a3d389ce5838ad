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

/* ---- moving slots ---- */

static char node_ids[N_NODES][64];

static const char *id_of(size_t node)
{
    if (node_ids[node][0] == '\0') {
        redisReply *r = ask_node(node, 2, "CLUSTER", "MYID");
        (void)snprintf(node_ids[node], sizeof node_ids[node], "%s", r->str);
        freeReplyObject(r);
    }
    return node_ids[node];
}

static void set_slot(size_t node, uint32_t slot, const char *how, size_t other)
{
    char number[16];
    (void)snprintf(number, sizeof number, "%u", slot);
    redisReply *r = ask_node(node, 5, "CLUSTER", "SETSLOT", number, how, id_of(other));
    if (r->type != REDIS_REPLY_STATUS)
        fail_msg("SETSLOT %u %s on %zu: %s", slot, how, node, r->str);
    freeReplyObject(r);
}

/* Waits until all nodes know of the last change: a node that takes a slot without knowing the newest epoch would lose
 * it again to who had it. */
static void wait_for_epochs(void)
{
    for (int i = 0; i < 5000; i++) {
        long long epoch[N_NODES];
        for (size_t k = 0; k < N_NODES; k++)
            epoch[k] = number_in(ask_node(k, 2, "CLUSTER", "INFO"), "cluster_current_epoch:");
        if (epoch[0] == epoch[1] && epoch[1] == epoch[2])
            return;
        sleep_ms(1);
    }
    fail_msg("the nodes do not agree on an epoch");
}

/* From here on the slot is on its way. */
__attribute__((__unused__)) static void move_begin(uint32_t slot, size_t from, size_t to)
{
    wait_for_epochs();
    set_slot(to, slot, "IMPORTING", from);
    set_slot(from, slot, "MIGRATING", to);
}

/* Moves one name, which must not be on both sides. */
static void move_name(const char *name, size_t from, size_t to)
{
    char port[16];
    (void)snprintf(port, sizeof port, "%d", nodes[to].port);
    redisReply *r = ask_node(from, 6, "MIGRATE", "127.0.0.1", port, name, "0", "10000");
    if (r->type != REDIS_REPLY_STATUS)
        fail_msg("MIGRATE %s: %s", name, r->str);
    freeReplyObject(r);
}

/* Moves up to so many names of the slot; false: there were none. */
__attribute__((__unused__)) static bool move_some(uint32_t slot, size_t from, size_t to,
                                                  const char *most)
{
    char number[16];
    (void)snprintf(number, sizeof number, "%u", slot);
    redisReply *r = ask_node(from, 4, "CLUSTER", "GETKEYSINSLOT", number, most);
    assert_int_equal(r->type, REDIS_REPLY_ARRAY);
    const size_t n = r->elements;
    for (size_t i = 0; i < n; i++)
        move_name(r->element[i]->str, from, to);
    freeReplyObject(r);
    return n != 0;
}

/* The slot has arrived: everybody is told, who has it first. */
__attribute__((__unused__)) static void move_end(uint32_t slot, size_t from, size_t to)
{
    while (move_some(slot, from, to, "100"))
        continue;
    set_slot(to, slot, "NODE", to);
    set_slot(from, slot, "NODE", to);
    set_slot(N_NODES - from - to, slot, "NODE", to);
}

__attribute__((__unused__)) static uint32_t slot_of_key(const char *key)
{
    char name[64];
    const int len = snprintf(name, sizeof name, "dload:%s", key);
    return dload_redis_slot(name, (size_t)len);
}

#endif /* DLOAD_TESTS_REDIS_CLUSTER_H */
