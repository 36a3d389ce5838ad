/* A loader of another name, with the same key and value. */
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

dload_status call(quotes *l, names *other, struct quote *out);
dload_status call(quotes *l, names *other, struct quote *out)
{
#ifdef CONTROL
    (void)other;
    return quotes_load(l, 42, out);
#else
    (void)l;
    return quotes_load(other, 42, out);
#endif
}
