/* The keys of a batch are not the fetch function's to change. */
/* expect-error */
#include <stdint.h>
struct quote {
    double bid;
};
#define DLOAD_NAME  quotes
#define DLOAD_KEY   uint64_t
#define DLOAD_VALUE struct quote
#include "dataloader.h"

dload_status call(quotes_batch *b);
dload_status call(quotes_batch *b)
{
#ifdef CONTROL
    return b->keys[0] == 7 ? DLOAD_OK : DLOAD_EFETCH;
#else
    b->keys[0] = 7;
    return DLOAD_OK;
#endif
}
