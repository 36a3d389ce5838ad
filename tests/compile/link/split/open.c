#include "quotes.h"
#include "quotes.h" /* its guard, and every parameter undefined again, make this harmless */

/* An instance of this file's own beside the shared one. */
#define DLOAD_NAME  local_names
#define DLOAD_KEY   DLOAD_STRING
#define DLOAD_VALUE int
#include "dataloader.h"

static dload_status fetch(quotes_batch *b)
{
    for (size_t i = 0; i < b->n; i++) {
        struct quote q;
        q.bid = (double)b->keys[i];
        q.ask = q.bid + 1.0;
        quotes_batch_set(b, i, &q);
    }
    return DLOAD_OK;
}

int quotes_open(quotes *l)
{
    quotes_config config = quotes_config_default();
    config.fetch = fetch;
    return quotes_init(l, &config) == DLOAD_OK ? 0 : 1;
}
