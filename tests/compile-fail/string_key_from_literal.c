/* A C string where a dload_str is wanted: its length is not known. */
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
    return texts_load(l, dload_str_from("AAPL"), out);
#else
    return texts_load(l, "AAPL", out);
#endif
}
