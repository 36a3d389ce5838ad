/* Runs the loader of specs/scalar.ini and prints what it saw; the thin and the expanded header, in C
 * and in C++, must print the same. */
#include <stdio.h>

#include "quotes.h"

static dload_status fetch(quotes_batch *b)
{
    printf("fetch");
    for (size_t i = 0; i < b->n; i++) {
        printf(" %u", (unsigned)b->keys[i]);
        if (b->keys[i] % 7 == 0) {
            (void)quotes_batch_fail(b, i, DLOAD_EFETCH);
            continue;
        }
        struct quote q;
        memset(&q, 0, sizeof q);
        q.cents = (int64_t)b->keys[i] * 100;
        q.symbol[0] = (char)('a' + (int)(b->keys[i] % 26));
        if (b->keys[i] != 5)
            (void)quotes_batch_set(b, i, &q);
    }
    printf("\n");
    return DLOAD_OK;
}

int main(void)
{
    quotes l;
    quotes_config config = quotes_config_preset();
    if (config.capacity != 1000 || config.max_batch != 4 || config.ttl_ns != 300 * DLOAD_SECOND)
        return 2;
    config.fetch = fetch;
    if (quotes_init(&l, &config) != DLOAD_OK)
        return 3;
    uint64_t keys[10];
    struct quote out[10];
    dload_status statuses[10];
    for (unsigned i = 0; i < 10; i++)
        keys[i] = i < 8 ? i : i - 4;
    memset(out, 0, sizeof out);
    dload_status st = quotes_load_many(&l, keys, 10, out, statuses);
    printf("many %s\n", dload_status_name(st));
    for (unsigned i = 0; i < 10; i++)
        printf("%u %s %d\n", i, dload_status_name(statuses[i]), (int)out[i].cents);
    struct quote one;
    printf("load %s", dload_status_name(quotes_load(&l, 3, &one)));
    printf(" %d\n", (int)one.cents);
    printf("clear %s\n", dload_status_name(quotes_clear(&l, 3)));
    printf("load %s\n", dload_status_name(quotes_load(&l, 3, &one)));
    one.cents = 77;
    printf("prime %s\n", dload_status_name(quotes_prime(&l, 100, &one, 0)));
    printf("load %s", dload_status_name(quotes_load(&l, 100, &one)));
    printf(" %d\n", (int)one.cents);
    dload_stats stats;
    printf("stats %s\n", dload_status_name(quotes_stats(&l, &stats)));
    printf("loads %u hits %u joins %u batches %u keys %u\n", (unsigned)stats.loads,
           (unsigned)stats.hits, (unsigned)stats.joins, (unsigned)stats.batches,
           (unsigned)stats.keys);
    printf("close %s\n", dload_status_name(quotes_close(&l, DLOAD_DRAIN, 0)));
    printf("destroy %s\n", dload_status_name(quotes_destroy(&l)));
    return 0;
}
