/* Runs the loader of specs/grouped.ini: the same number is another price for another tenant. */
#include <stdio.h>
#include <string.h>

#include "prices.h"

static dload_status fetch(prices_batch *b)
{
    for (size_t i = 0; i < b->n; i++) {
        struct quote q = {(int64_t)b->group * 100 + b->keys[i], "X"};
        printf("fetch %u of %u\n", (unsigned)b->keys[i], (unsigned)b->group);
        (void)prices_batch_set(b, i, &q);
    }
    return DLOAD_OK;
}

/* A snapshot in memory. */
struct memory {
    char bytes[4096];
    size_t n, at;
};

static dload_status to_memory(void *ctx, const void *bytes, size_t n_bytes)
{
    struct memory *m = (struct memory *)ctx;
    if (n_bytes > sizeof m->bytes - m->n)
        return DLOAD_ETOOBIG;
    memcpy(m->bytes + m->n, bytes, n_bytes);
    m->n += n_bytes;
    return DLOAD_OK;
}

static dload_status from_memory(void *ctx, void *bytes, size_t n_bytes, size_t *n_read)
{
    struct memory *m = (struct memory *)ctx;
    *n_read = n_bytes < m->n - m->at ? n_bytes : m->n - m->at;
    memcpy(bytes, m->bytes + m->at, *n_read);
    m->at += *n_read;
    return DLOAD_OK;
}

/* Saves, and restores into another loader: what that has cleared stays cleared. */
static dload_status snapshot(prices *l)
{
    static struct memory memory;
    prices again;
    prices_config config = prices_config_preset();
    prices_snapshot how = {to_memory, from_memory, NULL, NULL, &memory, 0, 0};
    size_t n_saved = 0, n_restored = 0;
    struct quote q = {58, "Y"};
    dload_state state;
    const uint32_t seven = 7, eight = 8;
    config.fetch = fetch;
    if (prices_init(&again, &config) != DLOAD_OK || prices_clear_in(&again, seven, 0) != DLOAD_OK ||
        prices_prime_in(l, eight, 5, &q, 0) != DLOAD_OK ||
        prices_save(l, &how, &n_saved) != DLOAD_OK ||
        prices_restore(&again, &how, &n_restored) != DLOAD_OK)
        return DLOAD_EINVAL;
    q.cents = 0;
    dload_status cleared = prices_peek_in(&again, seven, 0, &state, &q);
    dload_status kept = prices_peek_in(&again, eight, 5, &state, &q);
    printf("saved %u, restored %u: %s, %s %d\n", (unsigned)n_saved, (unsigned)n_restored,
           dload_status_name(cleared), dload_status_name(kept), (int)q.cents);
    (void)prices_close(&again, DLOAD_DRAIN, 0);
    return prices_destroy(&again);
}

int main(void)
{
    prices l;
    prices_config config = prices_config_preset();
    config.fetch = fetch;
    if (!config.queue_wait || prices_init(&l, &config) != DLOAD_OK)
        return 2;
    const uint32_t key = 7;
    for (uint64_t group = 0; group < 6; group++) {
        dload_call call = {0, 0, group % 3};
        struct quote q;
        dload_status st = prices_load_with(&l, key, &call, &q);
        printf("%s %d\n", dload_status_name(st), (int)q.cents);
    }
    struct quote q;
    dload_state state;
    printf("%s\n", dload_status_name(prices_clear_in(&l, key, 1)));
    printf("%s\n", dload_status_name(prices_clear_group(&l, 2)));
    for (uint64_t group = 0; group < 3; group++)
        printf("%s\n", dload_status_name(prices_peek_in(&l, key, group, &state, &q)));
    if (snapshot(&l) != DLOAD_OK)
        return 3;
    (void)prices_close(&l, DLOAD_DRAIN, 0);
    return prices_destroy(&l) == DLOAD_OK ? 0 : 4;
}
