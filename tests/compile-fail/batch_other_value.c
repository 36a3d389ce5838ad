/* A value of another type in an answer. */
/* expect-error */
#include <stdint.h>
struct quote {
    double bid;
};
#define DLOAD_NAME  quotes
#define DLOAD_KEY   uint64_t
#define DLOAD_VALUE struct quote
#include "dataloader.h"

dload_status call(quotes_batch *b, const struct quote *value, const double *other);
dload_status call(quotes_batch *b, const struct quote *value, const double *other)
{
#ifdef CONTROL
    (void)other;
    return quotes_batch_set(b, 0, value);
#else
    (void)value;
    return quotes_batch_set(b, 0, other);
#endif
}
