/* quotes_desk.h -- what examples/quotes works with: a loader of prices, a store behind it, the market behind both. */
#ifndef QUOTES_DESK_H
#define QUOTES_DESK_H

#include "quotes_market.h"

enum { DESK_SYMBOLS = 32 }; /* most of one call */

typedef struct desk desk;

/* NULL, and a sentence on stderr: the store that the URL names cannot be had. */
desk *desk_open(const char *url, const market *m);
void desk_close(desk *d);

/* Prices by symbol; -1 = there is no such symbol, or it cannot be had (a sentence on stderr says so). */
void desk_prices(desk *d, char *const *symbols, size_t n, int64_t *cents);

/* A new price: to the market first, then every cache forgets the old one. */
bool desk_set(desk *d, const char *symbol, int64_t cents);

/* Do other processes have the same store? */
bool desk_shares(const desk *d);

void desk_print_stats(desk *d);

#endif
