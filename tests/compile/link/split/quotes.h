/* One loader in several translation units: this file declares it, quotes.c defines it. */
#ifndef QUOTES_H
#define QUOTES_H

#include <stdint.h>

struct quote {
    double bid, ask;
};

#ifndef QUOTES_LINKAGE
#define QUOTES_LINKAGE DLOAD_LINKAGE_DECLARE
#endif

#define DLOAD_NAME    quotes
#define DLOAD_KEY     uint64_t
#define DLOAD_VALUE   struct quote
#define DLOAD_LOCK    DLOAD_LOCK_PTHREAD
#define DLOAD_LINKAGE QUOTES_LINKAGE
#include "dataloader.h"

/* One loader between the two files that use it. */
#ifdef __cplusplus
extern "C" {
#endif
int quotes_open(quotes *l);
#ifdef __cplusplus
}
#endif

#endif
