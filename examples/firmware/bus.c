/* bus.c -- see bus.h. */
#include "bus.h"

#define BIT_US             10u           /* 100 kHz */
#define BYTE_US            (9u * BIT_US) /* eight bits and the answer to them */
#define RUN_BEFORE_WRAP_US 5000000u

struct device {
    uint8_t address;
    uint8_t n_registers;
    int16_t middle;     /* of what a register says */
    uint16_t swing;     /* it goes so far up and down */
    uint32_t period_us; /* in such a time */
};

static const struct device devices[] = {
    {BUS_THERMO, 8, 2150, 400, 60000000u},
    {BUS_WEATHER, 6, 5000, 900, 240000000u},
    {BUS_MOTION, 8, 0, 1000, 700000u},
};

static struct bus_count count;
static uint32_t now_us;

static const struct device *device_of(uint16_t reg)
{
    for (size_t i = 0; i < sizeof devices / sizeof devices[0]; i++) {
        if (devices[i].address == reg >> 8)
            return &devices[i];
    }
    return NULL;
}

void bus_reset(void)
{
    /* Five seconds before the timer wraps, so that every run has that, too. */
    now_us = UINT32_MAX - RUN_BEFORE_WRAP_US;
    count = (struct bus_count){0, 0, 0};
}

const struct bus_count *bus_counted(void)
{
    return &count;
}

uint32_t bus_now_us(void)
{
    return now_us;
}

void bus_wait_until(uint32_t at_us)
{
    if ((int32_t)(at_us - now_us) > 0)
        now_us = at_us;
}

/* A triangle; registers of one device follow each other. */
int32_t bus_truth(uint16_t reg, uint32_t at_us)
{
    const struct device *d = device_of(reg);
    if (d == NULL)
        return 0;
    const uint32_t period = d->period_us / 64; /* so that the product below has room */
    const uint32_t at = (at_us / 64 + (reg & 0xffu) * (period / 8)) % period;
    const uint32_t half = period / 2;
    const uint32_t up = at < half ? at : period - at;
    return d->middle - (int32_t)d->swing + (int32_t)(up / 16 * 2 * d->swing / (half / 16 + 1));
}

int bus_read(uint16_t first, size_t n, struct reading *values)
{
    const struct device *d = device_of(first);
    /* Start, address, register; start again, address, two bytes a register; stop. */
    const uint32_t n_bytes = 3 + 2 * (uint32_t)n;
    const uint32_t took_us = 3 * BIT_US + n_bytes * BYTE_US;
    if (d == NULL || n == 0 || n > d->n_registers || (first & 0xffu) + n > d->n_registers)
        return -1;
    now_us += took_us;
    count.n_transactions++;
    count.n_bytes += n_bytes;
    count.busy_us += took_us;
    for (size_t i = 0; i < n; i++) {
        values[i].value = bus_truth((uint16_t)(first + i), now_us);
        values[i].taken_us = now_us;
    }
    return 0;
}
