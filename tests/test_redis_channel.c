/* Programs tell each other of changes through a Redis server: in order, numbered, and known to be lost when lost. */
/* links: hiredis */
/* tsan */
#define _POSIX_C_SOURCE 200809L
#define DLOAD_STORE     1
#include "dataloader.h"
#include "adapters/dataloader_redis_channel.h"

#include "support.h"
#include "servers/redis_server.h"

#include <pthread.h>
#include <sys/wait.h>

static struct redis_server rs = {.extra = "client-output-buffer-limit pubsub 100kb 0 0\n"};

/* Writes down what it is told, and may be slow. */
struct ear {
    pthread_mutex_t mutex;
    dload_sink sink;
    struct text said;
    uint64_t n_keys, n_bytes, n_all, n_down, n_up;
    uint32_t blocked; /* key() waits while it is 1 */
    bool quiet;       /* counts alone */
};

static void ear_say(struct ear *e, uint64_t *counter, const char *what)
{
    pthread_mutex_lock(&e->mutex);
    ++*counter;
    if (!e->quiet)
        text_add(&e->said, "%s\n", what);
    pthread_mutex_unlock(&e->mutex);
}

static void ear_key(void *ctx, const char *key, size_t n)
{
    struct ear *e = ctx;
    char shown[32];
    for (int i = 0; i < 20000 && __atomic_load_n(&e->blocked, __ATOMIC_ACQUIRE) == 1; i++)
        sleep_ms(1);
    for (size_t i = 0; i < n && i < sizeof shown; i++)
        shown[i] = key[i];
    for (size_t i = 0; i < n && i < sizeof shown - 1; i++)
        shown[i] = shown[i] >= '!' && shown[i] <= '~' ? shown[i] : '.';
    shown[n < sizeof shown ? n : sizeof shown - 1] = '\0';
    pthread_mutex_lock(&e->mutex);
    e->n_bytes += n;
    pthread_mutex_unlock(&e->mutex);
    if (strcmp(shown, "lost") == 0)
        return; /* sent while nobody may have heard */
    ear_say(e, &e->n_keys, shown);
}

static void ear_all(void *ctx)
{
    struct ear *e = ctx;
    ear_say(e, &e->n_all, "ALL");
}

static void ear_down(void *ctx)
{
    struct ear *e = ctx;
    ear_say(e, &e->n_down, "DOWN");
}

static void ear_up(void *ctx)
{
    struct ear *e = ctx;
    ear_say(e, &e->n_up, "UP");
}

static void ear_must(struct ear *e, const char *want)
{
    pthread_mutex_lock(&e->mutex);
    text_must(&e->said, want);
    pthread_mutex_unlock(&e->mutex);
}

static uint64_t ear_count(struct ear *e, const uint64_t *counter)
{
    pthread_mutex_lock(&e->mutex);
    uint64_t n = *counter;
    pthread_mutex_unlock(&e->mutex);
    return n;
}

/* A program that listens and publishes. */
struct program {
    dload_redis_server server;
    dload_redis_channel channel;
    struct ear ear;
};

static struct program a, b;

static void begin(struct program *p, const char *name)
{
    dload_redis_config where = {.path = rs.path, .pause_ns = 1000000};
    memset(p, 0, sizeof *p);
    (void)pthread_mutex_init(&p->ear.mutex, NULL);
    p->ear.sink = (dload_sink){ear_key, ear_all, ear_down, ear_up, &p->ear, NULL, NULL};
    must_ok(dload_redis_server_init(&p->server, &where, NULL, 0));
    must_ok(dload_redis_channel_init(&p->channel, &p->server, dload_str_from(name), NULL));
    dload_redis_channel_add(&p->channel, &p->ear.sink);
    must_ok(dload_redis_channel_start(&p->channel));
    must_ok(dload_redis_channel_wait(&p->channel, 20 * DLOAD_SECOND));
    ear_must(&p->ear, "UP\n");
}

static void end(struct program *p)
{
    dload_redis_channel_end(&p->channel);
    dload_redis_server_end(&p->server);
}

static void publish(struct program *p, const char *key)
{
    dload_str k = dload_str_from(key);
    must_ok(dload_redis_channel_publish(&p->channel, &k, 1, 20 * DLOAD_SECOND));
}

static void heard(struct program *p, const char *want)
{
    must_ok(dload_redis_channel_barrier(&p->channel, 20 * DLOAD_SECOND));
    ear_must(&p->ear, want);
}

static dload_redis_listen_stats stats(struct program *p)
{
    dload_redis_listen_stats s;
    dload_redis_channel_stats(&p->channel, &s);
    return s;
}

static void outside(const char *request, const char *want)
{
    char answer[512];
    assert_true(redis_server_ask(&rs, request, answer, sizeof answer));
    if (strncmp(answer, want, strlen(want)) != 0)
        fail_msg("%s gave %s", request, answer);
}

static int start(void **state)
{
    (void)state;
    return redis_server_start(&rs) ? 0 : -1;
}

static int stop(void **state)
{
    (void)state;
    redis_server_stop(&rs);
    return 0;
}

static void test_channel_is_heard_by_all(void **state)
{
    const dload_str keys[] = {
        {"a b\r\n", 5}, {NULL, 0}, {"3:x", 3}, {"%s{}\0'", 6}, {"last", 4},
    };
    (void)state;
    begin(&a, "users");
    begin(&b, "users");
    publish(&a, "one");
    publish(&b, "two");
    heard(&a, "one\ntwo\n");
    heard(&b, "one\ntwo\n");
    must_ok(dload_redis_channel_publish(&a.channel, keys, COUNT(keys), 0));
    must_ok(dload_redis_channel_publish(&a.channel, NULL, 0, 0));
    must_ok(dload_redis_channel_publish(&a.channel, keys, 0, 0)); /* nothing to say */
    heard(&b, "a.b..\n\n3:x\n%s{}.'\nlast\nALL\n");
    heard(&a, "a.b..\n\n3:x\n%s{}.'\nlast\nALL\n");
    equal(stats(&b).n_gaps, 0);
    equal(stats(&b).n_ignored, 0);
    end(&a);
    ear_must(&a.ear, "DOWN\n");
    publish(&b, "alone");
    heard(&b, "alone\n");
    end(&b);
}

static void test_channel_names_are_apart(void **state)
{
    (void)state;
    begin(&a, "users");
    begin(&b, "user");
    publish(&a, "one");
    heard(&b, "");
    heard(&a, "one\n");
    end(&a);
    end(&b);
}

/* More than a message takes, and keys longer than one. */
static void test_channel_many_and_long_keys(void **state)
{
    enum { N = 2500 };
    static dload_str keys[N];
    char *big = calloc(1, 200000);
    (void)state;
    begin(&a, "users");
    a.ear.quiet = true;
    for (size_t i = 0; i < N; i++)
        keys[i] = (dload_str){big, i};
    must_ok(dload_redis_channel_publish(&a.channel, keys, 1001, 0));
    must_ok(dload_redis_channel_barrier(&a.channel, 0));
    equal(ear_count(&a.ear, &a.ear.n_keys), 1001);
    equal(ear_count(&a.ear, &a.ear.n_bytes), 1000 * 1001 / 2);
    keys[0].len = 65536; /* below the limit that the server has for a reader */
    must_ok(dload_redis_channel_publish(&a.channel, keys, 1, 0));
    must_ok(dload_redis_channel_barrier(&a.channel, 0));
    equal(ear_count(&a.ear, &a.ear.n_keys), 1002);
    equal(stats(&a).n_gaps, 0);
    end(&a);
    free(big);
}

/* A number that is missing, or starts anew: everything is forgotten, once. */
static void test_channel_gaps_are_seen(void **state)
{
    (void)state;
    begin(&a, "users");
    publish(&a, "one");
    outside("INCR dload:seq:users\r\n", ":"); /* as if a message had been lost */
    publish(&a, "two");
    publish(&a, "three");
    heard(&a, "one\nALL\nthree\n");
    outside("DEL dload:seq:users\r\n", ":1");
    publish(&a, "four");
    publish(&a, "five");
    heard(&a, "ALL\nfive\n");
    equal(stats(&a).n_gaps, 2);
    begin(&b, "users"); /* somebody new knows where we are */
    outside("INCR dload:seq:users\r\n", ":");
    publish(&a, "six");
    heard(&b, "ALL\n");
    end(&b);
    end(&a);
}

static void test_channel_forged_messages(void **state)
{
    static const char *const forged[] = {
        "\"\"",   "x",
        "k1:a",   "1",
        "1b",     "1a2",
        "1k1",    "1k2:a",
        "1k:a",   "1k-1:a",
        "1k1:a2", "1k99999999999999999999:a",
        "k",      "99999999999999999999k1:a",
    };
    (void)state;
    begin(&a, "users");
    publish(&a, "one");
    for (size_t i = 0; i < COUNT(forged); i++) {
        char request[128];
        (void)snprintf(request, sizeof request, "PUBLISH users %s\r\n", forged[i]);
        outside(request, ":1");
    }
    outside("EVAL \"return redis.call('PUBLISH','users',string.rep('1',90000))\" 0\r\n", ":1");
    heard(&a, "one\n");
    equal(stats(&a).n_ignored, COUNT(forged) + 1);
    outside("PUBLISH users 12345k1:a\r\n",
            ":1"); /* whole, but not the next one: all that it can do */
    heard(&a, "ALL\n");
    publish(&a, "two");
    publish(&a, "three");
    heard(&a, "ALL\nthree\n");
    end(&a);
}

static void test_channel_is_cut(void **state)
{
    (void)state;
    begin(&a, "users");
    for (uint64_t round = 1; round <= 10; round++) {
        publish(&a, "one");
        heard(&a, "one\n");
        outside("CLIENT KILL TYPE pubsub\r\n", ":1");
        publish(&a, "lost");
        for (int i = 0; i < 10000 && ear_count(&a.ear, &a.ear.n_up) == round; i++)
            sleep_ms(1);
        ear_must(&a.ear, "DOWN\nUP\n");
        outside("CLIENT KILL TYPE normal SKIPME yes\r\n", ":1"); /* the one that publishes */
        publish(&a, "again");
        heard(&a, "again\n");
    }
    equal(stats(&a).n_gaps, 0);
    end(&a);
}

/* A reader that does not keep up is cut off by the server, in the middle of what it has to say. */
static void test_channel_slow_reader(void **state)
{
    char *big = calloc(1, 50000);
    const dload_str key = {big, 50000};
    (void)state;
    begin(&a, "users");
    begin(&b, "users");
    a.ear.quiet = b.ear.quiet = true;
    __atomic_store_n(&b.ear.blocked, 1u, __ATOMIC_RELEASE);
    size_t n = 0;
    for (; n < 400; n++) {
        char answer[64];
        must_ok(dload_redis_channel_publish(&a.channel, &key, 1, 20 * DLOAD_SECOND));
        assert_true(redis_server_ask(&rs, "PUBSUB NUMSUB users\r\n", answer, sizeof answer));
        must_ok(dload_redis_channel_barrier(&a.channel, 20 * DLOAD_SECOND)); /* a keeps up */
        if (strstr(answer, ":1\r\n") != NULL)
            break; /* b has been cut off */
    }
    assert_true(n < 400);
    equal(ear_count(&b.ear, &b.ear.n_down), 0);
    __atomic_store_n(&b.ear.blocked, 0u, __ATOMIC_RELEASE);
    for (int i = 0; i < 20000 && ear_count(&b.ear, &b.ear.n_up) == 1; i++)
        sleep_ms(1);
    equal(ear_count(&b.ear, &b.ear.n_up), 2);
    equal(ear_count(&b.ear, &b.ear.n_down), 1);
    equal(ear_count(&a.ear, &a.ear.n_down), 0);
    end(&a);
    end(&b);
    free(big);
}

/* Threads of two programs publish at the same time: nobody misses any of it. */
static void publish_some(void *ctx, size_t i)
{
    (void)ctx;
    for (size_t n = 0; n < scaled(300); n++)
        publish(i % 2 == 0 ? &a : &b, "key");
}

static void test_channel_threads(void **state)
{
    (void)state;
    begin(&a, "users");
    begin(&b, "users");
    a.ear.quiet = b.ear.quiet = true;
    run_threads(6, publish_some, NULL);
    must_ok(dload_redis_channel_barrier(&a.channel, 20 * DLOAD_SECOND));
    must_ok(dload_redis_channel_barrier(&b.channel, 20 * DLOAD_SECOND));
    equal(ear_count(&a.ear, &a.ear.n_keys), 6 * scaled(300));
    equal(ear_count(&b.ear, &b.ear.n_keys), 6 * scaled(300));
    equal(stats(&a).n_gaps + stats(&b).n_gaps, 0);
    end(&a);
    end(&b);
}

static void test_channel_server_is_away(void **state)
{
    const dload_str key = {"k", 1};
    (void)state;
    begin(&a, "users");
    publish(&a, "one");
    heard(&a, "one\n");
    redis_server_kill(&rs);
    for (int i = 0; i < 10000 && ear_count(&a.ear, &a.ear.n_down) == 0; i++)
        sleep_ms(1);
    ear_must(&a.ear, "DOWN\n");
    must(dload_redis_channel_publish(&a.channel, &key, 1, DLOAD_SECOND), DLOAD_EBACKEND);
    assert_true(redis_server_start(&rs));
    must_ok(dload_redis_channel_wait(&a.channel, 20 * DLOAD_SECOND));
    publish(&a, "two");
    heard(&a, "UP\ntwo\n");
    end(&a);
}

static void test_channel_refused(void **state)
{
    char name[DLOAD_REDIS_CHANNEL_NAME_BYTES + 1] = {0};
    dload_redis_config where = {.path = rs.path};
    dload_redis_server s;
    dload_redis_channel ch;
    (void)state;
    must_ok(dload_redis_server_init(&s, &where, NULL, 0));
    must(dload_redis_channel_init(&ch, &s, (dload_str){name, 0}, NULL), DLOAD_EINVAL);
    must(dload_redis_channel_init(&ch, &s, (dload_str){name, sizeof name}, NULL), DLOAD_EINVAL);
    must_ok(dload_redis_channel_init(&ch, &s, (dload_str){name, sizeof name - 1}, NULL));
    must_ok(dload_redis_channel_publish(&ch, NULL, 0, 0)); /* who only publishes needs no thread */
    dload_redis_channel_end(&ch);
    outside("SET dload:seq:bad x\r\n", "+OK");
    must_ok(dload_redis_channel_init(&ch, &s, dload_str_from("bad"), NULL));
    must(dload_redis_channel_publish(&ch, NULL, 0, 0), DLOAD_EBACKEND); /* INCR refuses */
    dload_redis_channel_end(&ch);
    dload_redis_server_end(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_channel_is_heard_by_all),
        cmocka_unit_test(test_channel_names_are_apart),
        cmocka_unit_test(test_channel_many_and_long_keys),
        cmocka_unit_test(test_channel_gaps_are_seen),
        cmocka_unit_test(test_channel_forged_messages),
        cmocka_unit_test(test_channel_is_cut),
        cmocka_unit_test(test_channel_slow_reader),
        cmocka_unit_test(test_channel_threads),
        cmocka_unit_test(test_channel_server_is_away),
        cmocka_unit_test(test_channel_refused),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
