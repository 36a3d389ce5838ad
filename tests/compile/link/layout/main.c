/* A caller compiled with other parameters than small.c must be told so, not corrupt memory. */
#define DLOAD_NAME    things
#define DLOAD_KEY     uint64_t
#define DLOAD_VALUE   uint64_t
#define DLOAD_STATS   1
#define DLOAD_LINKAGE DLOAD_LINKAGE_DECLARE
#include "dataloader.h"

static dload_status fetch(things_batch *b)
{
    (void)b;
    return DLOAD_OK;
}

int main(void)
{
    static things l;
    things_config config;
    memset(&config, 0, sizeof config);
    config.fetch = fetch;
    return things_init(&l, &config) == DLOAD_ELAYOUT ? 0 : 1;
}
