/* DLOAD_GROUP beside a loader without groups, and a registry that threads join. */
#define DLOAD_NAME  of_tenant
#define DLOAD_KEY   DLOAD_STRING
#define DLOAD_VALUE int
#define DLOAD_GROUP 1
#define DLOAD_LOCK  DLOAD_LOCK_PTHREAD
#include "dataloader.h"

#define DLOAD_NAME  of_all
#define DLOAD_KEY   uint64_t
#define DLOAD_VALUE int
#define DLOAD_LOCK  DLOAD_LOCK_SPIN
#include "dataloader.h"

static dload_status fetch(of_tenant_batch *b)
{
    for (size_t i = 0; i < b->n; i++) {
        int n = (int)(b->keys[i].len + b->group);
        (void)of_tenant_batch_set(b, i, &n);
    }
    return DLOAD_OK;
}

static dload_status fetch_all(of_all_batch *b)
{
    (void)b;
    return DLOAD_OK;
}

int main(void)
{
    dload_registry registry;
    dload_registry_init(&registry);
    of_tenant l;
    of_tenant_config config = of_tenant_config_default();
    config.fetch = fetch;
    config.registry = &registry;
    of_all other;
    of_all_config other_config = of_all_config_default();
    other_config.fetch = fetch_all;
    if (of_tenant_init(&l, &config) != DLOAD_OK || of_all_init(&other, &other_config) != DLOAD_OK)
        return 1;
    int bad = dload_registry_join(&registry) != DLOAD_OK;
    for (uint64_t group = 0; group < 3; group++) {
        dload_call call = {0, 0, group};
        int n = 0;
        dload_status st = of_tenant_load_with(&l, dload_str_from("four"), &call, &n);
        bad = bad || st != DLOAD_OK || n != 4 + (int)group;
    }
    bad = bad || of_tenant_clear_group(&l, 1) != DLOAD_OK;
    bad = bad || dload_registry_leave(&registry) != DLOAD_OK;
    /* A group that nobody would look at is refused. */
    dload_call call = {0, 0, 1};
    int n = 0;
    bad = bad || of_all_load_with(&other, 1, &call, &n) != DLOAD_EINVAL;
    (void)of_tenant_close(&l, DLOAD_DRAIN, 0);
    (void)of_all_close(&other, DLOAD_DRAIN, 0);
    return of_all_destroy(&other) != DLOAD_OK || of_tenant_destroy(&l) != DLOAD_OK || bad;
}
