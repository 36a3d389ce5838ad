/* Runs the loader of specs/critical.ini: what it fetched, and whether its sections were entered and left. */
#include <stdio.h>

#include "registers.h"

static unsigned inside(const registers *l)
{
    return critical_entered - critical_left + l->mutex.inside;
}

static dload_status fetch(registers_batch *b)
{
    const registers *l = (const registers *)b->ctx;
    printf("fetch");
    for (size_t i = 0; i < b->n; i++) {
        uint16_t value = (uint16_t)(b->keys[i] * 3);
        printf(" %u", (unsigned)b->keys[i]);
        (void)registers_batch_set(b, i, &value);
    }
    printf(", inside %u\n", inside(l));
    return DLOAD_OK;
}

int main(void)
{
    registers l;
    registers_config config = registers_config_preset();
    config.fetch = fetch;
    config.ctx = &l;
    if (registers_init(&l, &config) != DLOAD_OK)
        return 2;
    uint32_t keys[5] = {7, 9, 7, 11, 13};
    uint16_t out[5];
    for (unsigned round = 0; round < 2; round++) {
        if (registers_load_many(&l, keys, 5, out, NULL) != DLOAD_OK)
            return 3;
        for (unsigned i = 0; i < 5; i++)
            printf("%u=%u%s", (unsigned)keys[i], (unsigned)out[i], i < 4 ? " " : "\n");
    }
    printf("%s, inside %u\n", critical_entered > 4 ? "entered" : "not entered", inside(&l));
    (void)registers_close(&l, DLOAD_DRAIN, 0);
    return registers_destroy(&l) == DLOAD_OK ? 0 : 4;
}
