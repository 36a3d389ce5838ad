/* hiredis by hand, as one would without a loader: MGET of a batch, or GET after GET, over a Unix socket
 * (BENCH_REDIS in the environment). Values are copied out and looked at, as a loader's callers get them. */
#include "backends.h"
#include "harness.h"

#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { KEY_BYTES = 32 };

static redisContext *connection;
static char keys[BACKENDS_BATCH][KEY_BYTES];
static const char *argv[BACKENDS_BATCH + 1];
static size_t argv_bytes[BACKENDS_BATCH + 1];
static backends_value out[BACKENDS_BATCH];

static void name_key(size_t at, uint64_t id)
{
    argv[at + 1] = keys[at];
    argv_bytes[at + 1] = (size_t)snprintf(keys[at], KEY_BYTES, "raw:%llu", (unsigned long long)id);
}

/* Keys 0 .. n - 1, in pipelines of a batch. */
static void fill(const bench_args *args, bench_reply *reply)
{
    uint64_t n = bench_arg(args, "n", 1000);
    const char *path = getenv("BENCH_REDIS");
    connection = path != NULL ? redisConnectUnix(path) : NULL;
    if (connection == NULL || connection->err != 0) {
        bench_fail(reply, "no redis-server at BENCH_REDIS");
        return;
    }
    for (uint64_t i = 0; i < n; i++) {
        backends_value v = backends_value_of(i);
        void *answer =
            redisCommand(connection, "SET raw:%llu %b", (unsigned long long)i, &v, sizeof v);
        if (answer == NULL) {
            bench_fail(reply, "SET: %s", connection->errstr);
            return;
        }
        freeReplyObject(answer);
    }
}

static bool take(const redisReply *r, backends_value *v)
{
    if (r->type != REDIS_REPLY_STRING || (size_t)r->len != sizeof *v)
        return false;
    memcpy(v, r->str, sizeof *v);
    return true;
}

/* n keys from first on, in calls of batch keys each. */
static void get(const bench_args *args, bench_reply *reply)
{
    uint64_t first = bench_arg(args, "first", 0), n = bench_arg(args, "n", 1000);
    size_t batch = (size_t)bench_arg(args, "batch", 1);
    uint64_t checksum = 0;
    static backends_laps laps;
    argv[0] = batch == 1 ? "GET" : "MGET";
    argv_bytes[0] = strlen(argv[0]);
    bench_start(reply);
    for (uint64_t at = first; at < first + n; at += batch) {
        uint64_t start_ns = bench_now_ns();
        for (size_t i = 0; i < batch; i++)
            name_key(i, at + i);
        redisReply *r = redisCommandArgv(connection, (int)batch + 1, argv, argv_bytes);
        bool ok =
            r != NULL && (batch == 1 || (r->type == REDIS_REPLY_ARRAY && r->elements == batch));
        for (size_t i = 0; ok && i < batch; i++) {
            ok = take(batch == 1 ? r : r->element[i], &out[i]);
            checksum += out[i].word[0];
        }
        freeReplyObject(r);
        if (!ok) {
            bench_fail(reply, "a value is missing");
            return;
        }
        backends_laps_add(&laps, bench_now_ns() - start_ns);
    }
    bench_stop(reply, n, checksum);
    backends_laps_put(&laps, reply);
}

int main(void)
{
    static const bench_command commands[] = {{"fill", fill}, {"get", get}};
    return bench_serve("hiredis", "MGET and GET by hand over a Unix socket", commands, 2);
}
