/* Runs the loader of specs/grouped.ini: the same number is another price for another tenant. */
#include <stdio.h>

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
    (void)prices_close(&l, DLOAD_DRAIN, 0);
    return prices_destroy(&l) == DLOAD_OK ? 0 : 4;
}
