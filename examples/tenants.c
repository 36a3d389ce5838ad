/* tenants -- one loader for all tenants of a service. With DLOAD_GROUP 1 a key is known by (group, key): the
 * same number means another invoice with another tenant, a batch is about one tenant only, and what one of
 * them has cached no other can get. */
#include <stdio.h>

#define DLOAD_NAME  invoices
#define DLOAD_KEY   uint64_t
#define DLOAD_VALUE int /* cents */
#define DLOAD_GROUP 1
#include "dataloader.h"

enum { APPLE_FARM = 1, BOOK_SHOP = 2 };

/* What a database per tenant, or a query "WHERE tenant = ? AND id IN (...)", would know. */
static const struct {
    uint64_t tenant, id;
    int cents;
} table[] = {
    {APPLE_FARM, 1, 1200}, {APPLE_FARM, 2, 450}, {BOOK_SHOP, 1, 9900}, {BOOK_SHOP, 3, 2500}};

/* All keys are of b->group: one tenant's database is asked, with that tenant's rights. */
static dload_status fetch_invoices(invoices_batch *b)
{
    printf("  fetch for tenant %d:", (int)b->group);
    for (size_t i = 0; i < b->n; i++) {
        printf(" %d", (int)b->keys[i]);
        for (size_t k = 0; k < sizeof table / sizeof *table; k++) {
            if (table[k].tenant == b->group && table[k].id == b->keys[i]) {
                invoices_batch_set(b, i, &table[k].cents);
            }
        }
    }
    printf("\n");
    return DLOAD_OK;
}

/* Shows the invoices 1 to 3 of a tenant. */
static void show(invoices *l, uint64_t tenant)
{
    const uint64_t ids[] = {1, 2, 3};
    const dload_call call = {.group = tenant};
    int cents[3];
    dload_status status[3];

    printf("tenant %d\n", (int)tenant);
    invoices_load_many_with(l, ids, 3, &call, cents, status);
    for (size_t i = 0; i < 3; i++) {
        if (status[i] >= DLOAD_OK) {
            printf("  invoice %d: %d.%02d\n", (int)ids[i], cents[i] / 100, cents[i] % 100);
        }
    }
}

int main(void)
{
    invoices_config config = {.fetch = fetch_invoices, .missing_ttl_ns = 60 * DLOAD_SECOND};
    invoices l;
    dload_state state;
    int cents = 0;

    if (invoices_init(&l, &config) != DLOAD_OK) {
        return 1;
    }
    show(&l, APPLE_FARM);
    show(&l, BOOK_SHOP);  /* other invoices under the same numbers, and another fetch */
    show(&l, APPLE_FARM); /* cached */

    printf("the apple farm leaves\n");
    invoices_clear_group(&l, APPLE_FARM); /* all that is cached of it, and nothing else */
    bool gone = invoices_peek_in(&l, 1, APPLE_FARM, &state, NULL) == DLOAD_MISSING;
    bool stays = invoices_peek_in(&l, 1, BOOK_SHOP, &state, &cents) == DLOAD_OK && cents == 9900;
    printf("  its invoice 1 is %s, the book shop's is %s\n", gone ? "forgotten" : "still there",
           stays ? "still cached" : "lost");

    invoices_close(&l, DLOAD_DRAIN, 0);
    return invoices_destroy(&l) == DLOAD_OK && gone && stays ? 0 : 1;
}
