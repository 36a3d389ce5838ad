/* Runs the loaders of specs/keys.ini, one for each sort of scalar key, all in one unit. */
#include <stdio.h>

union cell {
    int i;
    float f;
};

#include "switches.h"
#include "readings.h"
#include "sensors.h"
#include "accounts.h"
#include "paints.h"
#include "bytes.h"

static const char *const words[2] = {"off", "on"};
static char text[] = "paint";
static char *const list[1] = {text};
static union cell cells[256];

static dload_status fetch_flag(switches_batch *b)
{
    for (size_t i = 0; i < b->n; i++)
        (void)switches_batch_set(b, i, &words[b->keys[i] ? 1 : 0]);
    return DLOAD_OK;
}

static dload_status fetch_reading(readings_batch *b)
{
    for (size_t i = 0; i < b->n; i++) {
        unsigned long n = (unsigned long)(b->keys[i] * 2);
        (void)readings_batch_set(b, i, &n);
    }
    return DLOAD_OK;
}

static dload_status fetch_account(accounts_batch *b)
{
    for (size_t i = 0; i < b->n; i++) {
        colour c = b->keys[i] == 9 ? GREEN : RED;
        (void)accounts_batch_set(b, i, &c);
    }
    return DLOAD_OK;
}

static dload_status fetch_paint(paints_batch *b)
{
    for (size_t i = 0; i < b->n; i++) {
        char *const *all = list;
        (void)paints_batch_set(b, i, &all);
    }
    return DLOAD_OK;
}

static dload_status fetch_byte(bytes_batch *b)
{
    for (size_t i = 0; i < b->n; i++) {
        union cell *c = &cells[b->keys[i]];
        c->i = b->keys[i];
        (void)bytes_batch_set(b, i, &c);
    }
    return DLOAD_OK;
}

static int run_switches(void)
{
    switches l;
    switches_config config = switches_config_default();
    config.fetch = fetch_flag;
    if (switches_init(&l, &config) != DLOAD_OK)
        return 2;
    const char *word = NULL;
    (void)switches_load(&l, true, &word);
    printf("%s\n", word);
    (void)switches_close(&l, DLOAD_DRAIN, 0);
    return switches_destroy(&l) == DLOAD_OK ? 0 : 3;
}

static int run_readings(void)
{
    readings l;
    readings_config config = readings_config_default();
    config.fetch = fetch_reading;
    if (readings_init(&l, &config) != DLOAD_OK)
        return 2;
    unsigned long n = 0;
    (void)readings_load(&l, 10.5, &n);
    printf("%lu\n", n);
    (void)readings_close(&l, DLOAD_DRAIN, 0);
    return readings_destroy(&l) == DLOAD_OK ? 0 : 3;
}

static int run_accounts(void)
{
    accounts l;
    accounts_config config = accounts_config_default();
    config.fetch = fetch_account;
    if (accounts_init(&l, &config) != DLOAD_OK)
        return 2;
    user_id id = 9;
    colour c = RED;
    (void)accounts_load(&l, id, &c);
    printf("%d\n", (int)c);
    (void)accounts_close(&l, DLOAD_DRAIN, 0);
    return accounts_destroy(&l) == DLOAD_OK ? 0 : 3;
}

static int run_paints(void)
{
    paints l;
    paints_config config = paints_config_default();
    config.fetch = fetch_paint;
    if (paints_init(&l, &config) != DLOAD_OK)
        return 2;
    enum colour c = BLUE;
    char *const *all = NULL;
    (void)paints_load(&l, c, &all);
    printf("%s\n", all[0]);
    (void)paints_close(&l, DLOAD_DRAIN, 0);
    return paints_destroy(&l) == DLOAD_OK ? 0 : 3;
}

static int run_bytes(void)
{
    bytes l;
    bytes_config config = bytes_config_preset();
    config.fetch = fetch_byte;
    if (bytes_init(&l, &config) != DLOAD_OK)
        return 2;
    uint8_t key = 200;
    union cell *cell = NULL;
    (void)bytes_load(&l, key, &cell);
    printf("%d %u %u\n", cell->i, (unsigned)(config.timeout_ns / DLOAD_MILLISECOND),
           (unsigned)config.settle_ns);
    (void)bytes_close(&l, DLOAD_DRAIN, 0);
    return bytes_destroy(&l) == DLOAD_OK ? 0 : 3;
}

static dload_status fetch_sensor(sensors_batch *b)
{
    for (size_t i = 0; i < b->n; i++) {
        uint32_t value = (uint32_t)b->keys[i] << 16 | (uint32_t)b->n;
        (void)sensors_batch_set(b, i, &value);
    }
    return DLOAD_OK;
}

/* Nothing waits here, and all memory is an array of the size that it says. */
static int run_sensors(void)
{
    static uint64_t memory[DLOAD_BYTES(sensors, DLOAD_NO_CACHE, 8) / 8];
    dload_block block;
    dload_block_init(&block, memory, sizeof memory);
    sensors l;
    sensors_config config = sensors_config_preset();
    config.fetch = fetch_sensor;
    config.env = &block.env;
    config.capacity = DLOAD_NO_CACHE;
    if (sensors_init(&l, &config) != DLOAD_OK)
        return 2;
    const uint16_t keys[] = {3, 4};
    uint32_t out[2] = {0, 0};
    (void)sensors_load_many(&l, keys, 2, out, NULL);
    printf("%x %x\n", (unsigned)out[0], (unsigned)out[1]);
    (void)sensors_close(&l, DLOAD_DRAIN, 0);
    return sensors_destroy(&l) == DLOAD_OK ? 0 : 3;
}

int main(void)
{
    return run_switches() != 0 || run_readings() != 0 || run_accounts() != 0 || run_paints() != 0 ||
           run_bytes() != 0 || run_sensors() != 0;
}
