/* The Redis store in a loop of three functions and poll, and a server that answers late, wrongly or never: each request ends
 * once and in its time, and never by another's reply. */
/* links: hiredis */
/* tsan */
#define _POSIX_C_SOURCE 200809L
#define DLOAD_STORE     1
#include "dataloader.h"
#include "adapters/dataloader_redis/loop.h"

#include "support.h"
#include "servers/evil_server.h"
#include "stores/loop_case.h"

/* ---- the loop ---- */

static dload_redis_loop redis;

/* Turns until nothing is pending; _process is called when a hook said so, and not otherwise. */
static void turn(void)
{
    while (dload_redis_loop_pending(&redis) != 0) {
        mini_turn();
        dload_redis_loop_process(&redis);
    }
}

/* ---- the server ---- */

static struct script {
    bool random;
    bool twice; /* each key is answered two times */
    uint64_t seed;
} script;

static struct evil_server evil;

static void follow(struct script next)
{
    (void)pthread_mutex_lock(&evil.mutex);
    script = next;
    (void)pthread_mutex_unlock(&evil.mutex);
}

/* Keys are their own values, sometimes later than anybody waits for; or whatever comes to mind. */
static void answer(void *ctx, const struct evil_command *c, struct evil_answer *a)
{
    static const char *const odd[] = {"+OK\r\n",
                                      ":1\r\n",
                                      "$-1\r\n",
                                      "*0\r\n",
                                      "*1\r\n$1\r\nx\r\n",
                                      "*2\r\n$-1\r\n$-1\r\n",
                                      "-ERR no\r\n",
                                      "-NOSCRIPT\r\n",
                                      "nonsense",
                                      "*2\r\n$1\r\n0\r\n*0\r\n",
                                      "*9\r\n",
                                      "$100\r\nx",
                                      "",
                                      "*1\r\n$1\r\nx\r\n*1\r\n$1\r\ny\r\n"};
    (void)ctx;
    if (evil_is(c, "SELECT")) {
        evil_text(a, "+OK\r\n");
        a->delay_us = rng_below(&script.seed, 20) == 0 ? 30000 : 0;
        return;
    }
    if (script.random) {
        evil_text(a, odd[rng_below(&script.seed, COUNT(odd))]);
        a->closes = rng_below(&script.seed, 8) == 0;
        a->hangs = rng_below(&script.seed, 16) == 0;
        return;
    }
    for (int times = script.twice ? 2 : 1; times != 0; times--) {
        evil_head(a, '*', (long long)c->n - 1);
        for (size_t i = 1; i < c->n; i++)
            evil_bulk(a, c->arg[i], c->len[i]);
    }
    if (script.twice)
        return;
    if (rng_below(&script.seed, 10) == 0)
        a->delay_us = (unsigned)rng_below(&script.seed, 12000);
}

/* ---- the client ---- */

enum { N_ASKS = 40 };

static struct pair {
    dload_store_op op;
    dload_store_item items[2];
    char keys[2][24];
    size_t n_done;
    dload_status st;
} pairs[N_ASKS];

static size_t n_ok, n_late;

static void pair_asked(dload_store_op *op, dload_status st)
{
    struct pair *a = op->ctx;
    a->n_done++;
    a->st = st;
}

static void ask(struct pair *a, dload_store_kind kind, size_t number)
{
    memset(a, 0, sizeof *a);
    for (size_t k = 0; k < 2; k++) {
        a->items[k].key = a->keys[k];
        a->items[k].key_bytes =
            (size_t)snprintf(a->keys[k], sizeof a->keys[k], "%zu.%zu", number, k);
        a->items[k].ttl_ns = DLOAD_SECOND;
        if (kind == DLOAD_STORE_SET || kind == DLOAD_STORE_FILL)
            a->items[k].value = "v", a->items[k].value_bytes = 1;
    }
    a->op.kind = kind;
    a->op.items = a->items;
    a->op.n = kind == DLOAD_STORE_CLEAR ? 1 : 2;
    a->op.done = pair_asked;
    a->op.ctx = a;
    must(dload_store_run(&redis.store, &a->op), DLOAD_PENDING);
}

static void up(uint64_t timeout_ns)
{
    static const dload_redis_loop_hooks hooks = {mini_watch, mini_timer, mini_wake, &mini};
    dload_redis_store_config cfg = {0};
    cfg.server.path = evil.path;
    cfg.server.command_timeout_ns = timeout_ns;
    cfg.server.connect_timeout_ns = 50 * DLOAD_MILLISECOND;
    cfg.server.pause_ns = cfg.server.pause_max_ns = 1;
    cfg.max_connections = MINI_SLOTS;
    mini_start();
    must_ok(dload_redis_loop_init(&redis, &cfg, &hooks, 0, NULL, 0));
    redis.store.break_after = UINT32_MAX;
}

static int start(void **state)
{
    (void)state;
    evil.answer = answer;
    return evil_start(&evil) ? 0 : -1;
}

static int stop(void **state)
{
    (void)state;
    evil_stop(&evil);
    return 0;
}

static void down(void)
{
    dload_redis_loop_end(&redis);
    mini_must_be_free();
}

/* Does this request have its own keys' values? */
static void must_be_own(const struct pair *a)
{
    for (size_t k = 0; k < 2; k++) {
        must_ok(a->items[k].status);
        equal(a->items[k].value_bytes, 6 + a->items[k].key_bytes); /* "dload:" */
        assert_memory_equal((const char *)a->items[k].value + 6, a->keys[k], a->items[k].key_bytes);
    }
}

static void test_redis_loop_late_replies(void **state)
{
    (void)state;
    follow((struct script){.seed = test_seed("late replies in a loop")});
    up(6 * DLOAD_MILLISECOND);
    for (size_t round = 0; round < scaled(100); round++) {
        for (size_t i = 0; i < N_ASKS; i++)
            ask(&pairs[i], DLOAD_STORE_GET, round * N_ASKS + i);
        turn();
        for (size_t i = 0; i < N_ASKS; i++) {
            struct pair *a = &pairs[i];
            equal(a->n_done, 1);
            assert_true(a->st == DLOAD_OK || a->st == DLOAD_ETIMEDOUT);
            n_ok += a->st == DLOAD_OK;
            n_late += a->st != DLOAD_OK;
            if (a->st == DLOAD_OK)
                must_be_own(a);
            dload_store_release(&a->op);
        }
    }
    print_message("# %zu in time, %zu late; %zu connections\n", n_ok, n_late, evil.n_connections);
    assert_true(n_ok > 0 && n_late > 0);
    down();
}

/* The second reply to a request is not the first one to the next. */
static void test_redis_loop_double_replies(void **state)
{
    size_t n_good = 0;
    (void)state;
    follow((struct script){.twice = true, .seed = 1});
    up(DLOAD_SECOND);
    for (size_t i = 0; i < scaled(100); i++) {
        ask(&pairs[0], DLOAD_STORE_GET, 2 * i);
        ask(&pairs[1], DLOAD_STORE_GET, 2 * i + 1);
        turn();
        for (size_t k = 0; k < 2; k++) {
            assert_true(pairs[k].st == DLOAD_OK || pairs[k].st == DLOAD_EBACKEND);
            if (pairs[k].st == DLOAD_OK)
                must_be_own(&pairs[k]);
            n_good += pairs[k].st == DLOAD_OK;
            dload_store_release(&pairs[k].op);
        }
    }
    assert_true(n_good > 0);
    down();
}

static void test_redis_loop_random_replies(void **state)
{
    uint64_t seed = test_seed("random replies in a loop");
    (void)state;
    follow((struct script){.random = true, .seed = rng(&seed)});
    up(5 * DLOAD_MILLISECOND);
    for (size_t round = 0; round < scaled(40); round++) {
        for (size_t i = 0; i < N_ASKS; i++)
            ask(&pairs[i], (dload_store_kind)rng_below(&seed, DLOAD_STORE_N_KINDS), i);
        turn();
        for (size_t i = 0; i < N_ASKS; i++) {
            struct pair *a = &pairs[i];
            equal(a->n_done, 1);
            assert_true(a->st == DLOAD_OK || a->st == DLOAD_EBACKEND || a->st == DLOAD_ETIMEDOUT);
            for (size_t k = 0; k < a->op.n && a->st == DLOAD_OK; k++)
                assert_true(a->items[k].status != DLOAD_PENDING &&
                            a->items[k].status != DLOAD_EAGAIN);
            dload_store_release(&a->op);
        }
    }
    down();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_redis_loop_late_replies),
        cmocka_unit_test(test_redis_loop_double_replies),
        cmocka_unit_test(test_redis_loop_random_replies),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
