/* A cache of dataloader.h under one eviction policy, for bench-missratio: replays the keys of a file, as
 * native uint64_t, that the driver names as the first argument and fills anew for each trace.
 * MISSRATIO_EVICT and MISSRATIO_VARIANT are the policy and its name.
 */
#include "harness.h"

#ifndef MISSRATIO_EVICT
#define MISSRATIO_EVICT   DLOAD_EVICT_ADAPTIVE
#define MISSRATIO_VARIANT "ADAPTIVE"
#endif

#define DLOAD_NAME  ours
#define DLOAD_KEY   uint64_t
#define DLOAD_VALUE uint64_t
#define DLOAD_TTL   0
#define DLOAD_EVICT MISSRATIO_EVICT
#include "dataloader.h"

#include <stdio.h>

static const char *path;
static uint64_t *keys;
static size_t n_keys;

static void read_keys(const bench_args *args, bench_reply *reply)
{
    (void)args;
    bench_pages_free(keys, n_keys * sizeof *keys);
    keys = NULL;
    n_keys = 0;
    FILE *file = fopen(path, "rb");
    if (file == NULL || fseek(file, 0, SEEK_END) != 0) {
        bench_fail(reply, "cannot read %s", path);
    } else {
        size_t n = (size_t)ftell(file) / sizeof *keys;
        rewind(file);
        keys = bench_pages(n * sizeof *keys);
        n_keys = n;
        if (fread(keys, sizeof *keys, n, file) != n) {
            bench_fail(reply, "%s ends early", path);
        }
    }
    if (file != NULL) {
        fclose(file);
    }
    bench_put(reply, "n_keys", n_keys);
}

/* Every request a get, a miss a set; the value is the key, so that a wrong answer shows in the sum. */
static void replay(const bench_args *args, bench_reply *reply)
{
    ours_cache cache;
    ours_cache_config config = {0};
    uint64_t n_hits = 0, sum = 0;
    config.capacity = bench_arg(args, "capacity", 1000);
    if (ours_cache_init(&cache, &config) != DLOAD_OK) {
        bench_fail(reply, "no memory for the cache");
        return;
    }
    /* With warm the requests come twice, and only the second time counts. */
    for (uint64_t round = bench_arg(args, "warm", 0) ? 0 : 1; round < 2; round++) {
        n_hits = 0;
        sum = 0;
        bench_start(reply);
        for (size_t i = 0; i < n_keys; i++) {
            uint64_t value;
            if (ours_cache_get(&cache, keys[i], &value) == DLOAD_OK) {
                n_hits++;
                sum += value;
                continue;
            }
            sum += keys[i];
            if (ours_cache_set(&cache, keys[i], &keys[i], 0) != DLOAD_OK) {
                bench_fail(reply, "a value was not cached");
            }
        }
        if (round == 1) {
            bench_stop(reply, n_keys, sum);
        }
    }
    bench_put(reply, "n_hits", n_hits);
    bench_put(reply, "n_bytes", ours_cache_bytes(&cache));
    ours_cache_destroy(&cache);
}

int main(int argc, char **argv)
{
    static const bench_command commands[] = {{"read", read_keys}, {"replay", replay}};
    if (argc != 2) {
        fprintf(stderr, "usage: %s file-of-keys\n", argv[0]);
        return 2;
    }
    path = argv[1];
    return bench_serve(MISSRATIO_VARIANT,
                       "cache of dataloader.h under this policy, no lock, no TTL, uint64 -> uint64",
                       commands, sizeof commands / sizeof commands[0]);
}
