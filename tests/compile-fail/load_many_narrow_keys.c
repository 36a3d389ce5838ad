/* 32-bit keys for a loader of 64-bit keys. */
/* expect-error */
#include <stdint.h>
struct quote {
    double bid;
};
#define DLOAD_NAME  quotes
#define DLOAD_KEY   uint64_t
#define DLOAD_VALUE struct quote
#include "dataloader.h"

dload_status call(quotes *l, const uint32_t *narrow, const uint64_t *wide, struct quote *out);
dload_status call(quotes *l, const uint32_t *narrow, const uint64_t *wide, struct quote *out)
{
#ifdef CONTROL
    (void)narrow;
    return quotes_load_many(l, wide, 3, out, NULL);
#else
    (void)wide;
    return quotes_load_many(l, narrow, 3, out, NULL);
#endif
}
