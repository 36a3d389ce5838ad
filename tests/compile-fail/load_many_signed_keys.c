/* Signed keys for a loader of unsigned keys. */
/* expect-error */
#include <stdint.h>
struct quote {
    double bid;
};
#define DLOAD_NAME  quotes
#define DLOAD_KEY   uint64_t
#define DLOAD_VALUE struct quote
#include "dataloader.h"

dload_status call(quotes *l, const int64_t *other, const uint64_t *keys, struct quote *out);
dload_status call(quotes *l, const int64_t *other, const uint64_t *keys, struct quote *out)
{
#ifdef CONTROL
    (void)other;
    return quotes_load_many(l, keys, 3, out, NULL);
#else
    (void)keys;
    return quotes_load_many(l, other, 3, out, NULL);
#endif
}
