/* A text where a number is wanted. */
/* expect-error */
#include <stdint.h>
struct quote {
    double bid;
};
#define DLOAD_NAME  quotes
#define DLOAD_KEY   uint64_t
#define DLOAD_VALUE struct quote
#include "dataloader.h"

dload_status call(quotes *l, struct quote *out);
dload_status call(quotes *l, struct quote *out)
{
#ifdef CONTROL
    return quotes_load(l, 42, out);
#else
    return quotes_load(l, "42", out);
#endif
}
