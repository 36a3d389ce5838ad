/* Somewhere else to put the value. */
/* expect-error */
#include <stdint.h>
struct quote {
    double bid;
};
#define DLOAD_NAME  quotes
#define DLOAD_KEY   uint64_t
#define DLOAD_VALUE struct quote
#include "dataloader.h"

dload_status call(quotes *l, struct quote *out, double *other);
dload_status call(quotes *l, struct quote *out, double *other)
{
#ifdef CONTROL
    (void)other;
    return quotes_load(l, 42, out);
#else
    (void)out;
    return quotes_load(l, 42, other);
#endif
}
