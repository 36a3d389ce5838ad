/* A batch of one loader answered through another's function. */
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

dload_status call(quotes_batch *b, names_batch *other, const struct quote *value);
dload_status call(quotes_batch *b, names_batch *other, const struct quote *value)
{
#ifdef CONTROL
    (void)other;
    return quotes_batch_set(b, 0, value);
#else
    (void)b;
    return quotes_batch_set(other, 0, value);
#endif
}
