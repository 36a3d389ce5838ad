/* 32-bit keys on the cache side. */
/* expect-error */
#include <stdint.h>
struct quote {
    double bid;
};
#define DLOAD_NAME  quotes
#define DLOAD_KEY   uint64_t
#define DLOAD_VALUE struct quote
#include "dataloader.h"

dload_status call(quotes *l, const uint32_t *narrow, const uint64_t *wide,
                  const struct quote *values);
dload_status call(quotes *l, const uint32_t *narrow, const uint64_t *wide,
                  const struct quote *values)
{
#ifdef CONTROL
    (void)narrow;
    return quotes_prime_many(l, wide, values, 3, 0, NULL);
#else
    (void)wide;
    return quotes_prime_many(l, narrow, values, 3, 0, NULL);
#endif
}
