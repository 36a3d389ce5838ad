/* The Redis store and a server that answers with anything, late or never: nothing is believed that was not asked for, every
 * request ends in its time, and no reply is ever taken for another request's. */
/* links: hiredis */
/* tsan */
#define _POSIX_C_SOURCE 200809L
#define DLOAD_STORE     1
#include "dataloader.h"
#include "adapters/dataloader_redis.h"

#include "support.h"
#include "servers/evil_server.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif

/* What the server does with what comes after hello. */
static struct script {
    const char *says; /* NULL = as a good server, or the seed's */
    bool hangs, closes;
    bool random; /* something made of seed */
    bool echoes; /* MGET: each key is its own value, after a random pause */
    uint64_t seed;
} script;

static struct evil_server evil;
static dload_redis_store redis;
static pthread_mutex_t logged_mutex = PTHREAD_MUTEX_INITIALIZER;
static char logged[1 << 16]; /* all that hooks were told */
static size_t n_logged;

static void keep_log(const char *text)
{
    (void)pthread_mutex_lock(&logged_mutex);
    size_t n = strlen(text);
    if (n_logged + n < sizeof logged) {
        memcpy(logged + n_logged, text, n);
        n_logged += n;
    }
    (void)pthread_mutex_unlock(&logged_mutex);
}

static void on_log(void *ctx, const char *store, const char *text)
{
    (void)ctx;
    keep_log(store);
    keep_log(text);
}

static const dload_store_hooks hooks = {NULL, on_log, NULL};

/* ---- the server ---- */

/* As Redis would with nothing in it. */
static void answer_well(const struct evil_command *c, struct evil_answer *a)
{
    if (evil_is(c, "MGET")) {
        evil_head(a, '*', (long long)c->n - 1);
        for (size_t i = 1; i < c->n; i++)
            evil_text(a, "$-1\r\n");
    } else if (evil_is(c, "UNLINK") || evil_is(c, "EVALSHA") || evil_is(c, "EVAL")) {
        evil_text(a, ":0\r\n");
    } else if (evil_is(c, "SCAN")) {
        evil_text(a, "*2\r\n$1\r\n0\r\n*0\r\n");
    } else {
        evil_text(a, "+OK\r\n");
    }
}

/* A reply of random shape; depth bounds it. */
static void answer_randomly(struct evil_answer *a, uint64_t *seed, int depth)
{
    static const char *const odd[] = {"$-2\r\n",
                                      "*-2\r\n",
                                      "*2147483647\r\n",
                                      "$536870913\r\n",
                                      "\r\n",
                                      ":\r\n",
                                      ":9223372036854775808\r\n",
                                      "%1\r\n",
                                      "garbage",
                                      "-\r\n",
                                      "+\r\n",
                                      "$0\r\n\r\n",
                                      "*0\r\n",
                                      "$5\r\nab\r\n",
                                      "-NOSCRIPT\r\n",
                                      "-WRONGTYPE\r\n",
                                      "-READONLY\r\n",
                                      "*4294967297\r\n"};
    char bytes[16];
    size_t n = rng_below(seed, sizeof bytes);
    for (size_t i = 0; i < n; i++)
        bytes[i] = (char)rng(seed);
    switch (rng_below(seed, 8)) {
    case 0:
        evil_bulk(a, bytes, n);
        break;
    case 1:
        evil_text(a, "$-1\r\n");
        break;
    case 2:
        evil_head(a, ':', (long long)(int64_t)rng(seed) >> rng_below(seed, 64));
        break;
    case 3:
        evil_text(a, odd[rng_below(seed, COUNT(odd))]);
        break;
    case 4:
        evil_text(a, "+OK\r\n");
        break;
    case 5:
        evil_text(a, "-ERR canary\r\n");
        break;
    default:
        n = rng_below(seed, 5);
        evil_head(a, '*', (long long)n);
        for (size_t i = 0; i < n; i++) {
            if (depth < 9)
                answer_randomly(a, seed, depth + 1);
            else
                evil_text(a, "$-1\r\n");
        }
    }
}

static void answer_by_echo(const struct evil_command *c, struct evil_answer *a)
{
    evil_head(a, '*', (long long)c->n - 1);
    for (size_t i = 1; i < c->n; i++)
        evil_bulk(a, c->arg[i], c->len[i]);
    if (rng_below(&script.seed, 10) == 0)
        a->delay_us = (unsigned)rng_below(&script.seed, 6000);
}

static void answer(void *ctx, const struct evil_command *c, struct evil_answer *a)
{
    (void)ctx;
    if (evil_is(c, "SELECT")) {
        evil_text(a, "+OK\r\n");
    } else if (script.random) {
        answer_randomly(a, &script.seed, 0);
        a->closes = rng_below(&script.seed, 16) == 0;
        a->hangs = rng_below(&script.seed, 64) == 0;
    } else if (script.echoes && evil_is(c, "MGET")) {
        answer_by_echo(c, a);
    } else if (script.says != NULL) {
        evil_text(a, script.says);
        a->hangs = script.hangs;
        a->closes = script.closes;
    } else {
        answer_well(c, a);
    }
}

/* ---- the client ---- */

static void follow(struct script next)
{
    (void)pthread_mutex_lock(&evil.mutex);
    script = next;
    (void)pthread_mutex_unlock(&evil.mutex);
}

static void up(uint64_t timeout_ns)
{
    dload_redis_store_config cfg = {0};
    follow((struct script){0});
    cfg.server.path = evil.path;
    cfg.server.command_timeout_ns = timeout_ns;
    cfg.server.pause_ns = cfg.server.pause_max_ns = 1; /* no pauses: many connections fail here */
    cfg.hooks = &hooks;
    must_ok(dload_redis_store_init(&redis, &cfg, NULL, 0));
    redis.store.break_after = UINT32_MAX;
}

static dload_status ask(dload_store_kind kind, dload_store_item *items, size_t n,
                        dload_store_op *op)
{
    static const char *const keys[] = {"k0", "k1", "k2"};
    memset(items, 0, n * sizeof *items);
    memset(op, 0, sizeof *op);
    for (size_t i = 0; i < n; i++) {
        items[i].key = keys[i];
        items[i].key_bytes = 2;
        items[i].ttl_ns = DLOAD_SECOND;
        if (kind == DLOAD_STORE_SET || kind == DLOAD_STORE_FILL) {
            items[i].value = "v";
            items[i].value_bytes = 1;
        }
    }
    op->kind = kind;
    op->items = items;
    op->n = n;
    return dload_store_run(&redis.store, op);
}

/* A good answer after whatever there was: on a new connection when the old one cannot be believed. */
static void must_be_good_again(void)
{
    dload_store_item items[3];
    dload_store_op op;
    follow((struct script){0});
    must_ok(ask(DLOAD_STORE_GET, items, 3, &op));
    for (size_t i = 0; i < 3; i++)
        must(items[i].status, DLOAD_MISSING);
    dload_store_release(&op);
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

/* ---- tests ---- */

/* What a request for three keys makes of an answer: its status and, when that is OK, each key's. */
static const struct evil_case {
    dload_store_kind kind;
    const char *says;
    dload_status st, one[3];
    bool hangs, closes;
} evil_cases[] = {
#define GOOD DLOAD_OK
#define BAD  DLOAD_EDECODE
#define NONE DLOAD_MISSING
#define CLOSED           \
    DLOAD_EBACKEND,      \
    {                    \
        GOOD, GOOD, GOOD \
    }
#define LATE             \
    DLOAD_ETIMEDOUT,     \
    {                    \
        GOOD, GOOD, GOOD \
    }
    {DLOAD_STORE_GET, "*3\r\n$1\r\nx\r\n:1\r\n$-1\r\n", GOOD, {GOOD, BAD, NONE}, 0, 0},
    {DLOAD_STORE_GET, "*3\r\n+x\r\n-x\r\n*1\r\n$1\r\nx\r\n", GOOD, {BAD, BAD, BAD}, 0, 0},
    {DLOAD_STORE_GET, "*3\r\n*-1\r\n$0\r\n\r\n*0\r\n", GOOD, {NONE, GOOD, BAD}, 0, 0},
    {DLOAD_STORE_GET, "*2\r\n$1\r\nx\r\n$1\r\ny\r\n", CLOSED, 0, 0},
    {DLOAD_STORE_GET, "*4\r\n$-1\r\n$-1\r\n$-1\r\n$-1\r\n", CLOSED, 0, 0},
    {DLOAD_STORE_GET, "*0\r\n", CLOSED, 0, 0},
    {DLOAD_STORE_GET, "*-1\r\n", CLOSED, 0, 0},
    {DLOAD_STORE_GET, "$-1\r\n", CLOSED, 0, 0},
    {DLOAD_STORE_GET, ":3\r\n", CLOSED, 0, 0},
    {DLOAD_STORE_GET, "+OK\r\n", CLOSED, 0, 0},
    {DLOAD_STORE_GET, "$3\r\nabc\r\n", CLOSED, 0, 0},
    {DLOAD_STORE_GET, "-ERR canary\r\n", CLOSED, 0, 0},
    {DLOAD_STORE_GET, "*2147483647\r\n", CLOSED, 0, 0},
    {DLOAD_STORE_GET, "*4294967299\r\n$-1\r\n$-1\r\n$-1\r\n", CLOSED, 0, 0},
    {DLOAD_STORE_GET, "*3\r\n$536870913\r\n", LATE, 0, 0},
    {DLOAD_STORE_GET, "*3\r\n$-2\r\n", CLOSED, 0, 0},
    {DLOAD_STORE_GET, "*-7\r\n", CLOSED, 0, 0},
    {DLOAD_STORE_GET, "HTTP/1.1 400 Bad Request\r\n\r\n", CLOSED, 0, 0},
    {DLOAD_STORE_GET, "*3\r\n$1\r\nx\r\n", LATE, 1, 0},
    {DLOAD_STORE_GET, "*3\r\n$1\r\nx\r\n$1\r", CLOSED, 0, 1},
    {DLOAD_STORE_GET, "", LATE, 1, 0},
    {DLOAD_STORE_GET, "", CLOSED, 0, 1},
    {DLOAD_STORE_SET, ":1\r\n", CLOSED, 0, 0}, /* good for UNLINK, not for SET */
    {DLOAD_STORE_SET, "$2\r\nOK\r\n", CLOSED, 0, 0},
    {DLOAD_STORE_SET, "-OOM canary\r\n", CLOSED, 0, 0},
    {DLOAD_STORE_SET, "*1\r\n+OK\r\n", CLOSED, 0, 0},
    {DLOAD_STORE_DELETE, "+OK\r\n", CLOSED, 0, 0},
    {DLOAD_STORE_DELETE, ":6\r\n", GOOD, {GOOD, GOOD, GOOD}, 0, 0},
    {DLOAD_STORE_LEASE, "*3\r\n$-1\r\n$-1\r\n$-1\r\n", CLOSED, 0, 0}, /* to the script */
    {DLOAD_STORE_LEASE, ":0\r\n", CLOSED, 0, 0},                      /* to MGET */
    {DLOAD_STORE_FILL, ":1\r\n", GOOD, {GOOD, GOOD, GOOD}, 0, 0},
    {DLOAD_STORE_FILL, ":2\r\n", GOOD, {DLOAD_ELOCK, DLOAD_ELOCK, DLOAD_ELOCK}, 0, 0},
    {DLOAD_STORE_FILL, "-NOSCRIPT x\r\n", CLOSED, 0, 0}, /* to the text, too */
    {DLOAD_STORE_FILL, "-WRONGTYPE x\r\n", GOOD, {BAD, BAD, BAD}, 0, 0},
    {DLOAD_STORE_FILL, "+1\r\n", CLOSED, 0, 0},
    {DLOAD_STORE_FILL, "$-1\r\n", CLOSED, 0, 0},
    {DLOAD_STORE_DROP, "$1\r\n1\r\n", CLOSED, 0, 0},
    {DLOAD_STORE_DROP, ":1\r\n", GOOD, {GOOD, GOOD, GOOD}, 0, 0},
    {DLOAD_STORE_CLEAR, "*2\r\n$1\r\n0\r\n*1\r\n:1\r\n", CLOSED, 0, 0},
    {DLOAD_STORE_CLEAR, "*2\r\n$2\r\n-1\r\n*0\r\n", CLOSED, 0, 0},
    {DLOAD_STORE_CLEAR, "*2\r\n$30\r\n111111111111111111111111111111\r\n*0\r\n", CLOSED, 0, 0},
    {DLOAD_STORE_CLEAR, "*2\r\n:0\r\n*0\r\n", CLOSED, 0, 0},
    {DLOAD_STORE_CLEAR, "*2\r\n$1\r\n0\r\n$-1\r\n", CLOSED, 0, 0},
    {DLOAD_STORE_CLEAR, "*2\r\n$1\r\n7\r\n*0\r\n", LATE, 0, 0}, /* a walk without an end */
    {DLOAD_STORE_CLEAR, "-ERR canary\r\n", CLOSED, 0, 0},
};

static void test_redis_evil_answers(void **state)
{
    (void)state;
    up(60 * DLOAD_MILLISECOND);
    for (size_t i = 0; i < COUNT(evil_cases); i++) {
        const struct evil_case *c = &evil_cases[i];
        const size_t n = c->kind == DLOAD_STORE_CLEAR ? 1 : 3;
        dload_store_item items[3];
        dload_store_op op;
        follow((struct script){.says = c->says, .hangs = c->hangs, .closes = c->closes});
        uint64_t from_ns = real_ns();
        dload_status st = ask(c->kind, items, n, &op);
        if (st != c->st)
            fail_msg("case %zu: %s, not %s", i, dload_status_name(st), dload_status_name(c->st));
        assert_true(real_ns() - from_ns < 5 * DLOAD_SECOND);
        for (size_t k = 0; k < n && st == DLOAD_OK; k++) {
            if (items[k].status != c->one[k])
                fail_msg("case %zu, key %zu: %s", i, k, dload_status_name(items[k].status));
        }
        dload_store_release(&op);
        must_be_good_again();
    }
    dload_redis_store_end(&redis);
}

/* More bytes than were asked for: the second reply must not wait for the next request. */
static void test_redis_evil_double_reply(void **state)
{
    dload_store_item items[3];
    dload_store_op op;
    (void)state;
    up(DLOAD_SECOND);
    for (size_t i = 0; i < 20; i++) {
        follow((struct script){
            .says = "*3\r\n$3\r\none\r\n$-1\r\n$-1\r\n*3\r\n$3\r\ntwo\r\n$-1\r\n$-1\r\n"});
        dload_status st = ask(DLOAD_STORE_GET, items, 3, &op);
        assert_true(st == DLOAD_OK || st == DLOAD_EBACKEND);
        if (st == DLOAD_OK)
            assert_memory_equal(items[0].value, "one", 3);
        dload_store_release(&op);
        must_be_good_again();
    }
    dload_redis_store_end(&redis);
}

/* Announced lengths reserve nothing. */
static uint64_t peak_kb(void)
{
    char line[128];
    uint64_t kb = 0;
    FILE *f = fopen("/proc/self/status", "r");
    assert_non_null(f);
    while (fgets(line, sizeof line, f) != NULL) {
        if (strncmp(line, "VmPeak:", 7) == 0)
            kb = strtoull(line + 7, NULL, 10);
    }
    (void)fclose(f);
    return kb;
}

static void test_redis_evil_memory(void **state)
{
    static const char *const huge[] = {"*2147483647\r\n", "$2147483647\r\n",
                                       "*3\r\n$536870913\r\nabc", "*1048577\r\n",
                                       "*3\r\n*1048570\r\n*1048570\r\n"};
    (void)state;
    up(30 * DLOAD_MILLISECOND);
    must_be_good_again();
    uint64_t before_kb = peak_kb();
    for (size_t i = 0; i < COUNT(huge); i++) {
        dload_store_item items[3];
        dload_store_op op;
        follow((struct script){.says = huge[i]});
        assert_true(ask(DLOAD_STORE_GET, items, 3, &op) < 0);
        dload_store_release(&op);
        must_be_good_again();
    }
#ifndef SANITIZED
    assert_true(peak_kb() - before_kb < 64 * 1024);
#else
    (void)before_kb;
#endif
    dload_redis_store_end(&redis);
}

/* Replies of random shape to all kinds of requests. */
static void test_redis_evil_random(void **state)
{
    uint64_t seed = test_seed("random replies");
    (void)state;
    up(5 * DLOAD_MILLISECOND);
    for (size_t i = 0; i < scaled(3000); i++) {
        dload_store_kind kind = (dload_store_kind)rng_below(&seed, DLOAD_STORE_N_KINDS);
        dload_store_item items[3];
        dload_store_op op;
        const size_t n = kind == DLOAD_STORE_CLEAR ? 1 : 1 + rng_below(&seed, 3);
        redis.ttls = rng_below(&seed, 2) != 0;
        follow((struct script){.random = true, .seed = rng(&seed)});
        dload_status st = ask(kind, items, n, &op);
        assert_true(st == DLOAD_OK || st == DLOAD_EBACKEND || st == DLOAD_ETIMEDOUT);
        for (size_t k = 0; k < n && st == DLOAD_OK; k++) {
            const bool gets = kind == DLOAD_STORE_GET || kind == DLOAD_STORE_LEASE;
            dload_status one = items[k].status;
            assert_true(one == DLOAD_OK || one == DLOAD_EDECODE || one == DLOAD_EBACKEND ||
                        (gets && one == DLOAD_MISSING) ||
                        (kind == DLOAD_STORE_LEASE && one == DLOAD_EBUSY) ||
                        (kind == DLOAD_STORE_FILL && one == DLOAD_ELOCK));
            if (gets && one == DLOAD_OK) {
                assert_true(items[k].value_bytes < 16 &&
                            (items[k].value != NULL) == (items[k].value_bytes != 0));
                char copy[16]; /* readable to its end */
                memcpy(copy, items[k].value_bytes != 0 ? items[k].value : "", items[k].value_bytes);
            }
        }
        dload_store_release(&op);
        if (i % 16 == 0) {
            redis.ttls = false;
            /* What was sent for the last request may still be answered at random. */
            dload_redis_store_end(&redis);
            up(5 * DLOAD_MILLISECOND);
        }
    }
    dload_redis_store_end(&redis);
}

/* Ten thousand requests, a tenth of them answered late or just too late: never by another's reply. */
struct echoes {
    size_t n_ok, n_late, n_shifted, n_other;
};

static void ask_for_echoes(void *ctx, size_t thread)
{
    struct echoes *e = ctx;
    for (size_t i = 0; i < scaled(2500); i++) {
        char keys[2][24];
        dload_store_item items[2];
        dload_store_op op;
        memset(items, 0, sizeof items);
        memset(&op, 0, sizeof op);
        for (size_t k = 0; k < 2; k++) {
            items[k].key = keys[k];
            items[k].key_bytes =
                (size_t)snprintf(keys[k], sizeof keys[k], "%zu.%zu.%zu", thread, i, k);
        }
        op.kind = DLOAD_STORE_GET;
        op.items = items;
        op.n = 2;
        dload_status st = dload_store_run(&redis.store, &op);
        size_t *counter = st == DLOAD_OK          ? &e->n_ok
                          : st == DLOAD_ETIMEDOUT ? &e->n_late
                                                  : &e->n_other;
        (void)__atomic_add_fetch(counter, 1, __ATOMIC_RELAXED);
        for (size_t k = 0; k < 2 && st == DLOAD_OK; k++) {
            const bool own =
                items[k].status == DLOAD_OK && items[k].value_bytes == 6 + items[k].key_bytes &&
                memcmp((const char *)items[k].value + 6, keys[k], items[k].key_bytes) == 0;
            (void)__atomic_add_fetch(&e->n_shifted, !own, __ATOMIC_RELAXED);
        }
        dload_store_release(&op);
    }
}

static void test_redis_evil_late_replies(void **state)
{
    struct echoes e = {0, 0, 0, 0};
    (void)state;
    up(3 * DLOAD_MILLISECOND);
    follow((struct script){.echoes = true, .seed = test_seed("late replies")});
    run_threads(4, ask_for_echoes, &e);
    print_message("# %zu in time, %zu late, %zu otherwise; %zu connections\n", e.n_ok, e.n_late,
                  e.n_other, evil.n_connections);
    equal(e.n_shifted, 0);
    equal(e.n_other, 0);
    assert_true(e.n_ok > 0);
    assert_true(e.n_late > 0); /* else nothing was tried */
    dload_redis_store_end(&redis);
}

/* Nothing that a server says gets into a log but codes of errors: it may quote a command, and so a value. */
static void test_redis_evil_words_are_not_logged(void **state)
{
    (void)state;
    assert_true(n_logged > 0);
    logged[n_logged < sizeof logged ? n_logged : sizeof logged - 1] = '\0';
    assert_null(strstr(logged, "canary"));
    assert_non_null(strstr(logged, "refused commands: OOM"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_redis_evil_answers),
        cmocka_unit_test(test_redis_evil_double_reply),
        cmocka_unit_test(test_redis_evil_memory),
        cmocka_unit_test(test_redis_evil_words_are_not_logged),
        cmocka_unit_test(test_redis_evil_random),
        cmocka_unit_test(test_redis_evil_late_replies),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
