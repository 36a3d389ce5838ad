/* request_scope -- a loader for each request, without malloc: [REQUESTS], default 200000.
 *
 * A server that must not show one user what another one fetched gives each request a loader of its
 * own. With a pool over a block that the worker keeps, making and destroying it costs no malloc: the
 * block is used from its beginning for every request. What does not fit into the block comes from the
 * pool's parent, here one that counts; a count of 0 says that the block is large enough, and
 * pool.high_bytes how large it has to be.
 */
#define _POSIX_C_SOURCE 200809L
#include <inttypes.h>
#include <stdalign.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

struct user {
    uint64_t id;
    uint64_t team;
};
#define DLOAD_NAME  users
#define DLOAD_KEY   uint64_t
#define DLOAD_VALUE struct user
#define DLOAD_LOCK  DLOAD_LOCK_NONE /* a request has one thread */
#define DLOAD_EVICT DLOAD_EVICT_NONE
#define DLOAD_TTL   0 /* nothing outlives the request */
#include "dataloader.h"

#define N_BLOCK_BYTES ((size_t)16 * 1024)

static alignas(64) char block[N_BLOCK_BYTES]; /* one for each worker thread */

struct counter {
    const dload_env *host;
    uint64_t n_mallocs;
};

static void *count_alloc(void *ctx, size_t n_bytes)
{
    struct counter *counter = ctx;

    counter->n_mallocs++;
    return counter->host->alloc(counter->host->ctx, n_bytes);
}

static void count_free(void *ctx, void *p, size_t n_bytes)
{
    struct counter *counter = ctx;

    counter->host->free(counter->host->ctx, p, n_bytes);
}

static dload_status fetch_users(users_batch *b)
{
    for (size_t i = 0; i < b->n; i++) {
        struct user u = {.id = b->keys[i], .team = b->keys[i] % 7};
        users_batch_set(b, i, &u);
    }
    return DLOAD_OK;
}

/* One request: two users in a batch, one of them a second time, which is a hit. Adds to *sum. */
static dload_status handle_request(const dload_env *env, uint64_t number, uint64_t *sum)
{
    users_config config = {.fetch = fetch_users,
                           .env = env,
                           .capacity = 32,
                           .max_batch = 8,
                           .max_queue = 32,
                           .max_in_flight = 1};
    const uint64_t both[] = {number, number + 1};
    struct user found[3] = {{0, 0}};
    users l;
    dload_status status = users_init(&l, &config);

    if (status != DLOAD_OK) {
        return status;
    }
    status = users_load_many(&l, both, 2, found, NULL);
    if (status == DLOAD_OK) {
        status = users_load(&l, number, &found[2]);
    }
    *sum += found[0].team + found[1].team + found[2].team;
    users_close(&l, DLOAD_FAIL, 0);
    users_destroy(&l);
    return status;
}

static double now_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec * 1e9 + (double)ts.tv_nsec;
}

int main(int argc, char **argv)
{
    char *end = NULL;
    uint64_t n_requests = argc > 1 ? strtoull(argv[1], &end, 10) : 200000;
    struct counter counter = {.host = dload_env_default()};
    dload_env counting = *counter.host;
    dload_pool pool;
    uint64_t sum = 0;
    double begun_ns;

    if (argc > 2 || n_requests < 1 || n_requests > 1000000000 ||
        (end != NULL && (*end != '\0' || argv[1][0] < '0' || argv[1][0] > '9'))) {
        fputs("usage: request_scope [REQUESTS], 1 to 1000000000\n", stderr);
        return 2;
    }
    counting.alloc = count_alloc;
    counting.free = count_free;
    counting.ctx = &counter;
    dload_pool_init(&pool, block, sizeof block, &counting);
    begun_ns = now_ns();
    for (uint64_t i = 0; i < n_requests; i++) {
        dload_status status = handle_request(&pool.env, i, &sum);
        if (status != DLOAD_OK) {
            fprintf(stderr, "request %" PRIu64 ": %s\n", i, dload_strerror(status));
            return 1;
        }
        dload_pool_reset(&pool);
    }
    printf("%" PRIu64 " requests: make a loader, load 3 users, destroy it (sum %" PRIu64 ")\n",
           n_requests, sum);
    printf("%.0f ns a request, %" PRIu64 " mallocs, at most %zu of %zu bytes of the pool\n",
           (now_ns() - begun_ns) / (double)n_requests, counter.n_mallocs, pool.high_bytes,
           sizeof block);
    return counter.n_mallocs == 0 ? 0 : 1;
}
