/* 32-bit keys to clear. */
/* expect-error */
#include <stdint.h>
struct quote {
    double bid;
};
#define DLOAD_NAME  quotes
#define DLOAD_KEY   uint64_t
#define DLOAD_VALUE struct quote
#include "dataloader.h"

dload_status call(quotes *l, const uint32_t *narrow, const uint64_t *wide);
dload_status call(quotes *l, const uint32_t *narrow, const uint64_t *wide)
{
#ifdef CONTROL
    (void)narrow;
    return quotes_clear_many(l, wide, 3);
#else
    (void)wide;
    return quotes_clear_many(l, narrow, 3);
#endif
}
