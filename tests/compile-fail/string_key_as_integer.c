/* A number where a dload_str is wanted. */
/* expect-error */
struct quote {
    double bid;
};
#define DLOAD_NAME  texts
#define DLOAD_KEY   DLOAD_STRING
#define DLOAD_VALUE struct quote
#include "dataloader.h"

dload_status call(texts *l, struct quote *out);
dload_status call(texts *l, struct quote *out)
{
#ifdef CONTROL
    return texts_load(l, dload_str_from("42"), out);
#else
    return texts_load(l, 42, out);
#endif
}
