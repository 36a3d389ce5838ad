#include "quotes.h"

int main(void)
{
    quotes l;
    const uint64_t keys[3] = {7, 8, 7};
    struct quote out[3];
    if (quotes_open(&l) != 0)
        return 1;
    if (quotes_load_many(&l, keys, 3, out, NULL) != DLOAD_OK)
        return 2;
    if (out[0].bid != 7.0 || out[1].bid != 8.0 || out[2].ask != 8.0)
        return 3;
    if (quotes_close(&l, DLOAD_DRAIN, 0) != DLOAD_OK || quotes_destroy(&l) != DLOAD_OK)
        return 4;
    return 0;
}
