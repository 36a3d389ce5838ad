/* A fetch function for another loader's batches. */
/* expect-error */
#include <stdint.h>
struct quote {
    double bid;
};
#define DLOAD_NAME  quotes
#define DLOAD_KEY   uint64_t
#define DLOAD_VALUE struct quote
#include "dataloader.h"
#define DLOAD_NAME  names
#define DLOAD_KEY   uint64_t
#define DLOAD_VALUE struct quote
#include "dataloader.h"

#ifdef CONTROL
dload_status fetch(quotes_batch *b);
dload_status fetch(quotes_batch *b)
{
    (void)b;
    return DLOAD_OK;
}
#else
dload_status fetch(names_batch *b);
#endif

void configure(quotes_config *config);
void configure(quotes_config *config)
{
    config->fetch = fetch;
}
