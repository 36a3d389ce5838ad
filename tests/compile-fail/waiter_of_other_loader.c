/* A waiter of one loader started on another. */
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

dload_status call(quotes *l, quotes_waiter *w, names_waiter *other);
dload_status call(quotes *l, quotes_waiter *w, names_waiter *other)
{
#ifdef CONTROL
    (void)other;
    return quotes_start(l, 42, w);
#else
    (void)w;
    return quotes_start(l, 42, other);
#endif
}
