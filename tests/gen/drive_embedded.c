/* Runs the loader of specs/embedded.ini in one static block, and prints what it saw. */
#include <stdio.h>

#include "registers.h"

static uint64_t memory[(DLOAD_BYTES(registers, 8, 4) + 7) / 8];
static unsigned n_fetches;

static dload_status fetch(registers_batch *b)
{
    printf("fetch %u:", ++n_fetches);
    for (size_t i = 0; i < b->n; i++) {
        printf(" %u", (unsigned)b->keys[i]);
        struct sample s;
        s.milli = (int32_t)b->keys[i] * 1000 + 7;
        s.number = n_fetches;
        if (b->keys[i] % 10 == 9)
            (void)registers_batch_fail(b, i, DLOAD_EFETCH);
        else if (b->keys[i] % 10 != 8)
            (void)registers_batch_set(b, i, &s);
    }
    printf("\n");
    return DLOAD_OK;
}

static void done(registers_waiter *w)
{
    printf("done %s", dload_status_name(w->status));
    if (w->status >= 0)
        printf(" %d", (int)w->value.milli);
    printf("\n");
}

static void load(registers *l, uint16_t key)
{
    struct sample s;
    dload_status st = registers_load(l, key, &s);
    printf("load %u %s", (unsigned)key, dload_status_name(st));
    if (st >= 0)
        printf(" %d of fetch %u", (int)s.milli, (unsigned)s.number);
    printf("\n");
}

static void run(registers *l)
{
    const uint16_t keys[7] = {1, 2, 1, 8, 9, 3, 4};
    struct sample out[7];
    dload_status statuses[7];
    memset(out, 0, sizeof out);
    printf("many %s\n", dload_status_name(registers_load_many(l, keys, 7, out, statuses)));
    for (unsigned i = 0; i < 7; i++)
        printf("%u %s %d\n", i, dload_status_name(statuses[i]), (int)out[i].milli);
    load(l, 2);
    printf("clear %s\n", dload_status_name(registers_clear(l, 2)));
    load(l, 2);
    for (unsigned i = 0; i < 20; i++) /* more than there is room for */
        load(l, (uint16_t)(100 + i * 10));
    printf("%u entries\n", (unsigned)registers_cache_len(&l->cache));
    load(l, 290);
    printf("later %s\n", dload_status_name(registers_cache_advance(&l->cache, 2 * DLOAD_SECOND)));
    load(l, 290);

    registers_waiter w[3];
    memset(w, 0, sizeof w);
    for (unsigned i = 0; i < 3; i++) {
        w[i].done = done;
        printf("start %s\n",
               dload_status_name(registers_start(l, (uint16_t)(500 + (i > 0)), &w[i])));
    }
    printf("dispatch %s\n", dload_status_name(registers_dispatch(l, NULL)));
    struct sample mine = {-5, 0};
    printf("prime %s\n", dload_status_name(registers_prime(l, 600, &mine, 0)));
    load(l, 600);
}

int main(void)
{
    dload_block block;
    dload_block_init(&block, memory, sizeof memory);
    registers l;
    registers_config config = registers_config_preset();
    if (config.capacity != 8 || config.max_batch != 4 || config.ttl_ns != DLOAD_SECOND)
        return 2;
    config.fetch = fetch;
    config.env = &block.env;
    if (registers_init(&l, &config) != DLOAD_OK)
        return 3;
    run(&l);
    printf("close %s\n", dload_status_name(registers_close(&l, DLOAD_DRAIN, 0)));
    printf("destroy %s\n", dload_status_name(registers_destroy(&l)));
    return block.n_out == 0 ? 0 : 4;
}
