/* A fetch function that returns int: C has int and this enum compatible, C++ has not. */
/* expect-error */
/* langs: c++ */
#include <stdint.h>
struct quote {
    double bid;
};
#define DLOAD_NAME  quotes
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
int fetch(quotes_batch *b);
#endif

void configure(quotes_config *config);
void configure(quotes_config *config)
{
    config->fetch = fetch;
}
