/* DLOAD_REFRESH beside a loader without it, with groups, strings and owned values. */
#define DLOAD_NAME    rates
#define DLOAD_KEY     DLOAD_STRING
#define DLOAD_VALUE   DLOAD_BLOB
#define DLOAD_REFRESH 1
#define DLOAD_GROUP   1
#define DLOAD_LOCK    DLOAD_LOCK_PTHREAD
#include "dataloader.h"

#define DLOAD_NAME    counts
#define DLOAD_KEY     uint64_t
#define DLOAD_VALUE   int
#define DLOAD_REFRESH 1
#define DLOAD_CLOCK   DLOAD_CLOCK_MANUAL
#define DLOAD_STATS   0
#include "dataloader.h"

#define DLOAD_NAME  others
#define DLOAD_KEY   uint64_t
#define DLOAD_VALUE int
#include "dataloader.h"

static dload_status fetch(rates_batch *b)
{
    (void)b;
    return DLOAD_OK;
}

static dload_status count(counts_batch *b)
{
    (void)b;
    return DLOAD_OK;
}

static dload_status fetch_others(others_batch *b)
{
    (void)b;
    return DLOAD_OK;
}

int main(void)
{
    rates l;
    rates_config config = rates_config_default();
    config.fetch = fetch;
    config.ttl_ns = DLOAD_SECOND;
    config.stale_ns = DLOAD_SECOND;
    counts n;
    counts_config counting = counts_config_default();
    counting.fetch = count;
    counting.idle_ttl_ns = DLOAD_SECOND;
    others o;
    others_config other = others_config_default();
    other.fetch = fetch_others;
    bool good = rates_init(&l, &config) == DLOAD_OK && counts_init(&n, &counting) == DLOAD_OK &&
                others_init(&o, &other) == DLOAD_OK;
    dload_blob blob;
    int value = 0;
    good = good && rates_load(&l, dload_str_from("a"), &blob) == DLOAD_MISSING &&
           counts_load(&n, 1, &value) == DLOAD_MISSING &&
           others_load(&o, 1, &value) == DLOAD_MISSING;
    good = rates_close(&l, DLOAD_FAIL, 0) == DLOAD_OK && rates_destroy(&l) == DLOAD_OK && good;
    good = counts_close(&n, DLOAD_FAIL, 0) == DLOAD_OK && counts_destroy(&n) == DLOAD_OK && good;
    good = others_close(&o, DLOAD_FAIL, 0) == DLOAD_OK && others_destroy(&o) == DLOAD_OK && good;
    return good ? 0 : 1;
}
