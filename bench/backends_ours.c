/* A loader in front of a store (BENCH_STORE in the environment: an URL of dataloader_any.h) whose cache is too small to
 * matter: what is measured is the way through the store, a batch a call or a key a call. */
#include "backends.h"

#include <stdlib.h>
#include <string.h>

#define DLOAD_NAME  rows
#define DLOAD_KEY   uint64_t
#define DLOAD_VALUE backends_value
#define DLOAD_LOCK  DLOAD_LOCK_PTHREAD
#define DLOAD_STORE 1
#include "dataloader.h"
#include "adapters/dataloader_any.h"

static dload_any second;
static rows loader;
static uint64_t n_fetched;
static uint64_t keys[BACKENDS_BATCH];
static backends_value out[BACKENDS_BATCH];
static dload_status status[BACKENDS_BATCH];

static dload_status fetch(rows_batch *b)
{
    for (size_t i = 0; i < b->n; i++) {
        const backends_value v = backends_value_of(b->keys[i]);
        rows_batch_set(b, i, &v);
    }
    n_fetched += b->n;
    return DLOAD_OK;
}

/* One call for batch keys from first on; false when one is not there or not right. */
static bool load(uint64_t first, size_t batch, uint64_t *checksum)
{
    bool ok = true;
    for (size_t i = 0; i < batch; i++)
        keys[i] = first + i;
    if (batch == 1)
        status[0] = rows_load(&loader, keys[0], &out[0]);
    else
        (void)rows_load_many(&loader, keys, batch, out, status);
    for (size_t i = 0; i < batch; i++) {
        ok = ok && status[i] == DLOAD_OK;
        *checksum += out[i].word[0];
    }
    return ok;
}

/* Opens the store and has it keep the rows 0 .. n - 1. */
static void fill(const bench_args *args, bench_reply *reply)
{
    const char *url = getenv("BENCH_STORE");
    const uint64_t n = bench_arg(args, "n", 1000);
    uint64_t checksum = 0;
    char why[200] = "";
    rows_config config;
    if (dload_any_open(&second, url != NULL ? url : "memory", why, sizeof why) != DLOAD_OK) {
        bench_fail(reply, "%s", why);
        return;
    }
    memset(&config, 0, sizeof config);
    config.fetch = fetch;
    config.capacity = 64;
    config.max_batch = BACKENDS_BATCH;
    config.store = second.store;
    config.store_timeout_ns = 10 * DLOAD_SECOND;
    if (rows_init(&loader, &config) != DLOAD_OK) {
        bench_fail(reply, "no loader");
        return;
    }
    for (uint64_t at = 0; at < n; at += BACKENDS_BATCH) {
        if (!load(at, BACKENDS_BATCH, &checksum)) {
            bench_fail(reply, "row %llu cannot be stored", (unsigned long long)at);
            return;
        }
    }
    n_fetched = 0;
}

/* n rows from first on, in calls of batch keys each. */
static void get(const bench_args *args, bench_reply *reply)
{
    const uint64_t first = bench_arg(args, "first", 0), n = bench_arg(args, "n", 1000);
    const size_t batch = (size_t)bench_arg(args, "batch", 1);
    uint64_t checksum = 0;
    static backends_laps laps;
    bool ok = true;
    bench_start(reply);
    for (uint64_t at = first; at < first + n && ok; at += batch) {
        uint64_t start_ns = bench_now_ns();
        ok = load(at, batch, &checksum);
        backends_laps_add(&laps, bench_now_ns() - start_ns);
    }
    bench_stop(reply, n, checksum);
    backends_laps_put(&laps, reply);
    if (!ok || n_fetched != 0)
        bench_fail(reply, "%llu rows came from the source, not from the store",
                   (unsigned long long)n_fetched);
}

int main(void)
{
    static const bench_command commands[] = {{"fill", fill}, {"get", get}};
    const char *url = getenv("BENCH_STORE");
    char name[32] = "ours-";
    size_t n = url != NULL ? strcspn(url, ":") : 0;
    strncat(name, n != 0 ? url : "memory", n != 0 && n < 20 ? n : 6);
    return bench_serve(name, "a loader, its store behind it", commands, 2);
}
