/* Stores without a loader: the interface, and nothing that names a key. */
#define DLOAD_STORE 1
#include "dataloader.h"

static dload_status nothing(dload_store *s, dload_store_op *op)
{
    (void)s;
    for (size_t i = 0; i < op->n; i++)
        op->items[i].status = DLOAD_MISSING;
    return DLOAD_OK;
}

int main(void)
{
    dload_store s;
    dload_store_op op;
    dload_store_item item;
    memset(&s, 0, sizeof s);
    memset(&op, 0, sizeof op);
    memset(&item, 0, sizeof item);
    s.name = "nothing";
    s.env = dload_env_default();
    s.run = nothing;
    item.key = "k";
    item.key_bytes = 1;
    op.kind = DLOAD_STORE_GET;
    op.items = &item;
    op.n = 1;
    dload_status st = dload_store_run(&s, &op);
    dload_store_release(&op);
    return st == DLOAD_OK && item.status == DLOAD_MISSING && s.stats.misses == 1 ? 0 : 1;
}
