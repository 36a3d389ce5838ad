/* Runs the loader of specs/critical.ini: what it fetched, and whether its sections were entered and left. */
#include <stdio.h>

#include "gauges.h"

static unsigned inside(const gauges *l)
{
    return critical_entered - critical_left + l->mutex.inside;
}

static dload_status fetch(gauges_batch *b)
{
    const gauges *l = (const gauges *)b->ctx;
    printf("fetch");
    for (size_t i = 0; i < b->n; i++) {
        uint16_t value = (uint16_t)(b->keys[i] * 3);
        printf(" %u", (unsigned)b->keys[i]);
        (void)gauges_batch_set(b, i, &value);
    }
    printf(", inside %u\n", inside(l));
    return DLOAD_OK;
}

int main(void)
{
    gauges l;
    gauges_config config = gauges_config_preset();
    config.fetch = fetch;
    config.ctx = &l;
    if (gauges_init(&l, &config) != DLOAD_OK)
        return 2;
    uint32_t keys[5] = {7, 9, 7, 11, 13};
    uint16_t out[5];
    for (unsigned round = 0; round < 2; round++) {
        if (gauges_load_many(&l, keys, 5, out, NULL) != DLOAD_OK)
            return 3;
        for (unsigned i = 0; i < 5; i++)
            printf("%u=%u%s", (unsigned)keys[i], (unsigned)out[i], i < 4 ? " " : "\n");
    }
    printf("%s, inside %u\n", critical_entered > 4 ? "entered" : "not entered", inside(&l));
    (void)gauges_close(&l, DLOAD_DRAIN, 0);
    return gauges_destroy(&l) == DLOAD_OK ? 0 : 4;
}
