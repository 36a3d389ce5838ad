/* The Redis Cluster store and nodes that mean no good: redirections without end or to nowhere, errors for ever, maps
 * that are none, replies of another kind. Each request ends in its time, with a status of its own for each key. */
/* links: hiredis */
/* tsan */
#define _POSIX_C_SOURCE 200809L
#define DLOAD_STORE     1
#include "dataloader.h"
#include "adapters/dataloader_redis_cluster.h"

#include "support.h"
#include "servers/evil_server.h"

/* What the server answers to anything but its own name and the map; "@" stands for its port. Set before a request,
 * under the server's mutex. */
struct plan {
    const char *says[4]; /* one after the other, then the last for ever; NULL = a value */
    const char *map;     /* NULL = all slots are here */
    size_t n_said, n_maps, n_asking;
};

static struct evil_server evil = {.tcp = true};
static struct plan plan;
static dload_redis_cluster cluster;
static char logged[8192];

static void say(struct evil_answer *a, const char *text)
{
    char port[16];
    (void)snprintf(port, sizeof port, "%d", evil.port);
    for (; *text != '\0'; text++) {
        if (*text == '@')
            evil_text(a, port);
        else
            evil_say(a, text, 1);
    }
}

static void answer(void *ctx, const struct evil_command *c, struct evil_answer *a)
{
    struct plan *p = ctx;
    if (evil_is(c, "SELECT")) {
        evil_text(a, "+OK\r\n");
    } else if (evil_is(c, "CLUSTER")) {
        p->n_maps++;
        say(a, p->map != NULL
                   ? p->map
                   : "*1\r\n*3\r\n:0\r\n:16383\r\n*3\r\n$9\r\n127.0.0.1\r\n:@\r\n$2\r\nid\r\n");
    } else if (evil_is(c, "ASKING")) {
        p->n_asking++;
        evil_text(a, "+OK\r\n");
    } else {
        const size_t which = p->n_said < 3 ? p->n_said : 3;
        const char *says = p->says[which];
        p->n_said++;
        say(a, says != NULL ? says : "*1\r\n$1\r\nv\r\n");
    }
}

static void log_it(void *ctx, const char *store, const char *text)
{
    const size_t n = strlen(logged);
    (void)ctx;
    (void)store;
    (void)snprintf(logged + n, sizeof logged - n, "%s\n", text);
}

static const dload_store_hooks hooks = {NULL, log_it, NULL};

static int start_evil(void **state)
{
    (void)state;
    evil.answer = answer;
    evil.ctx = &plan;
    return evil_start(&evil) ? 0 : -1;
}

static int stop_evil(void **state)
{
    (void)state;
    evil_stop(&evil);
    return 0;
}

/* A store without a map yet, and a plan of four answers. */
static void up(const char *first, const char *second, const char *third, const char *last)
{
    char url[64];
    const char *const urls[] = {url};
    dload_redis_cluster_config cfg;
    memset(&cfg, 0, sizeof cfg);
    (void)snprintf(url, sizeof url, "redis://127.0.0.1:%d", evil.port);
    cfg.urls = urls;
    cfg.n_urls = 1;
    cfg.node.server.command_timeout_ns = 20 * DLOAD_SECOND;
    cfg.node.hooks = &hooks;
    (void)pthread_mutex_lock(&evil.mutex);
    memset(&plan, 0, sizeof plan);
    plan.says[0] = first;
    plan.says[1] = second;
    plan.says[2] = third;
    plan.says[3] = last;
    (void)pthread_mutex_unlock(&evil.mutex);
    logged[0] = '\0';
    must_ok(dload_redis_cluster_init(&cluster, &cfg, NULL, 0));
}

static size_t n_said(void)
{
    (void)pthread_mutex_lock(&evil.mutex);
    const size_t n = plan.n_said;
    (void)pthread_mutex_unlock(&evil.mutex);
    return n;
}

/* One key's status, or the request's. */
static dload_status ask(dload_store_kind kind)
{
    dload_store_item item;
    dload_store_op op;
    memset(&item, 0, sizeof item);
    memset(&op, 0, sizeof op);
    item.key = "key";
    item.key_bytes = 3;
    item.ttl_ns = DLOAD_SECOND;
    op.kind = kind;
    op.items = &item;
    op.n = 1;
    dload_status st = dload_store_run(&cluster.store, &op);
    if (st == DLOAD_OK && item.status == DLOAD_OK && kind == DLOAD_STORE_GET)
        assert_true(item.value_bytes == 1 && *(const char *)item.value == 'v');
    dload_store_release(&op);
    return st != DLOAD_OK ? st : item.status;
}

/* What is said some times and then not any more is gone through; how often it was asked is counted. */
static void test_redis_cluster_turned_away_and_back(void **state)
{
    static const struct {
        const char *says[2];
        size_t n_asking;
    } cases[] = {
        {{"-TRYAGAIN not now\r\n", "-TRYAGAIN not now\r\n"}, 0},
        {{"-LOADING it\r\n", "-CLUSTERDOWN it is\r\n"}, 0},
        {{"-READONLY a replica\r\n", "-MASTERDOWN it is\r\n"}, 0},
        {{"-MOVED 1 127.0.0.1:@\r\n", "-MOVED 1 :@\r\n"}, 0},
        {{"-ASK 1 127.0.0.1:@\r\n", NULL}, 1},
        {{"-MOVED 1 localhost:@\r\n", "-ASK 1 127.0.0.1:@\r\n"}, 1},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        up(cases[i].says[0], cases[i].says[1], NULL, NULL);
        must_ok(ask(DLOAD_STORE_GET));
        assert_int_equal(n_said(), cases[i].says[1] != NULL ? 3 : 2);
        assert_int_equal(plan.n_asking, cases[i].n_asking);
        dload_redis_cluster_end(&cluster);
    }
}

/* What is said for ever ends all the same, after a number of times. */
static void test_redis_cluster_turned_away_for_ever(void **state)
{
    static const struct {
        const char *says;
        size_t n; /* how often it is asked */
    } cases[] = {
        {"-TRYAGAIN not now\r\n", 5},         {"-LOADING it\r\n", 5},
        {"-CLUSTERDOWN it is\r\n", 5},        {"-READONLY a replica\r\n", 5},
        {"-MOVED 1 127.0.0.1:@\r\n", 5}, /* to itself: it is given time */
        {"-ASK 1 127.0.0.1:@\r\n", 9},        {"-NOSCRIPT what\r\n", 1},
        {"-ERR whatever MOVED 1 h:1\r\n", 1}, {"-MOVED\r\n", 1},
    };
    static const dload_store_kind kinds[] = {DLOAD_STORE_GET, DLOAD_STORE_DROP};
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        for (size_t k = 0; k < COUNT(kinds); k++) {
            const bool no_script = strncmp(cases[i].says, "-NOSCRIPT", 9) == 0;
            up(cases[i].says, cases[i].says, cases[i].says, cases[i].says);
            must(ask(kinds[k]), DLOAD_EBACKEND);
            assert_int_equal(n_said(), no_script ? 2 : cases[i].n); /* once more, by its text */
            dload_redis_cluster_end(&cluster);
        }
    }
}

/* When all of the cluster is down the breaker sees it, and nobody waits for it any more. One slot that nobody serves is
 * that slot's matter. */
static void test_redis_cluster_is_down(void **state)
{
    static const char *const says[] = {"-CLUSTERDOWN The cluster is down\r\n",
                                       "-CLUSTERDOWN Hash slot not served\r\n"};
    (void)state;
    for (size_t i = 0; i < COUNT(says); i++) {
        up(says[i], says[i], says[i], says[i]);
        cluster.store.break_ns = cluster.store.break_max_ns = 60 * DLOAD_SECOND;
        for (size_t n = 0; n < 6; n++)
            must(ask(DLOAD_STORE_GET), DLOAD_EBACKEND);
        assert_int_equal(cluster.store.stats.errors, i == 0 ? 5 : 0);
        assert_int_equal(cluster.store.stats.key_errors, i == 0 ? 0 : 6);
        assert_int_equal(cluster.store.stats.refused, i == 0 ? 1 : 0);
        dload_redis_cluster_end(&cluster);
    }
}

/* To and fro between two names of one node: a number of redirections. */
static void test_redis_cluster_moved_in_circles(void **state)
{
    (void)state;
    up("-MOVED 1 localhost:@\r\n", "-MOVED 1 127.0.0.1:@\r\n", "-MOVED 1 localhost:@\r\n",
       "-ASK 1 localhost:@\r\n");
    must(ask(DLOAD_STORE_GET), DLOAD_EBACKEND);
    assert_int_equal(n_said(), 9);
    dload_redis_cluster_end(&cluster);
}

/* Sent to where nobody is, or to what is no address. */
static void test_redis_cluster_moved_to_nowhere(void **state)
{
    static const char *const says[] = {"-MOVED 1 127.0.0.1:1\r\n",     "-ASK 1 127.0.0.1:1\r\n",
                                       "-MOVED 1 127.0.0.1:0\r\n",     "-MOVED 1 127.0.0.1\r\n",
                                       "-MOVED 16384 127.0.0.1:@\r\n", "-MOVED x y:z\r\n",
                                       "-MOVED 1 %s%n:1\r\n",          "-ASK 1 ../../x:1\r\n"};
    (void)state;
    for (size_t i = 0; i < COUNT(says); i++) {
        up(says[i], says[i], says[i], says[i]);
        must(ask(DLOAD_STORE_GET), DLOAD_EBACKEND);
        dload_redis_cluster_end(&cluster);
    }
}

/* Replies of another kind, or more of them, close the connection; the next request has one that is in order. */
static void test_redis_cluster_other_replies(void **state)
{
    static const char *const says[] = {":1\r\n",      "+OK\r\n",
                                       "*0\r\n",      "*2\r\n$1\r\nv\r\n$1\r\nv\r\n",
                                       "$1\r\nv\r\n", "*1\r\n$1\r\nw\r\n*1\r\n$1\r\nw\r\n",
                                       "garbage\r\n", "*2147483647\r\n"};
    (void)state;
    for (size_t i = 0; i < COUNT(says); i++) {
        up(says[i], NULL, NULL, NULL);
        dload_store_item item;
        dload_store_op op;
        memset(&item, 0, sizeof item);
        memset(&op, 0, sizeof op);
        item.key = "k";
        item.key_bytes = 1;
        op.items = &item;
        op.n = 1;
        dload_status st = dload_store_run(&cluster.store, &op);
        dload_store_release(&op);
        /* One reply too many may come after the request was through. */
        assert_true(st == DLOAD_EBACKEND || item.status == DLOAD_EBACKEND || i == 5);
        for (size_t n = 0; ask(DLOAD_STORE_GET) != DLOAD_OK; n++) { /* not 'w' */
            assert_true(n < 100);
            sleep_ms(10);
        }
        dload_redis_cluster_end(&cluster);
    }
}

/* Nobody's slots, and maps that are none. */
static void test_redis_cluster_wrong_maps(void **state)
{
    static const char *const maps[] = {
        "-ERR This instance has cluster support disabled\r\n",
        "*0\r\n",
        "+OK\r\n",
        "*1\r\n*3\r\n:0\r\n:99999\r\n*2\r\n$9\r\n127.0.0.1\r\n:@\r\n",
        "*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n$9\r\n127.0.0.1\r\n:0\r\n",
        "*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n$5\r\n/etc/\r\n:@\r\n",
        "*1\r\n*3\r\n:0\r\n:0\r\n*2\r\n$9\r\n127.0.0.1\r\n:@\r\n", /* the key's is not among them */
        "*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n$9\r\n127.0.0.1\r\n:1\r\n", /* nobody there */
    };
    (void)state;
    for (size_t i = 0; i < COUNT(maps); i++) {
        up(NULL, NULL, NULL, NULL);
        (void)pthread_mutex_lock(&evil.mutex);
        plan.map = maps[i];
        (void)pthread_mutex_unlock(&evil.mutex);
        must(ask(DLOAD_STORE_GET), DLOAD_EBACKEND);
        must(ask(DLOAD_STORE_CLEAR), DLOAD_EBACKEND);
        assert_int_equal(n_said(), 0);
        /* It is right again. */
        (void)pthread_mutex_lock(&evil.mutex);
        plan.map = NULL;
        (void)pthread_mutex_unlock(&evil.mutex);
        for (size_t n = 0; ask(DLOAD_STORE_GET) != DLOAD_OK; n++) {
            assert_true(n < 500);
            sleep_ms(10);
        }
        dload_redis_cluster_end(&cluster);
    }
}

/* A burst of MOVED asks for the map now and then, not each time. */
static void test_redis_cluster_burst(void **state)
{
    (void)state;
    up("-MOVED 1 localhost:@\r\n", "-MOVED 1 localhost:@\r\n", "-MOVED 1 localhost:@\r\n",
       "-MOVED 1 localhost:@\r\n");
    for (size_t i = 0; i < 8; i++)
        (void)ask(DLOAD_STORE_GET);
    assert_true(n_said() >= 16);
    /* The map is the same each time, so that pauses grow. */
    assert_true(plan.n_maps <= n_said() / 3);
    dload_redis_cluster_end(&cluster);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_redis_cluster_turned_away_and_back),
        cmocka_unit_test(test_redis_cluster_turned_away_for_ever),
        cmocka_unit_test(test_redis_cluster_is_down),
        cmocka_unit_test(test_redis_cluster_moved_in_circles),
        cmocka_unit_test(test_redis_cluster_moved_to_nowhere),
        cmocka_unit_test(test_redis_cluster_other_replies),
        cmocka_unit_test(test_redis_cluster_wrong_maps),
        cmocka_unit_test(test_redis_cluster_burst),
    };
    return cmocka_run_group_tests(tests, start_evil, stop_evil);
}
