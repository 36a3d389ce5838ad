/* A pointer where one key is wanted. */
/* expect-error */
#include <stdint.h>
struct quote {
    double bid;
};
#define DLOAD_NAME  quotes
#define DLOAD_KEY   uint64_t
#define DLOAD_VALUE struct quote
#include "dataloader.h"

dload_status call(quotes *l, const uint64_t *key, struct quote *out);
dload_status call(quotes *l, const uint64_t *key, struct quote *out)
{
#ifdef CONTROL
    return quotes_load(l, *key, out);
#else
    return quotes_load(l, key, out);
#endif
}
