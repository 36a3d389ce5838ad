/* quotes_market.h -- the source of examples/quotes: a market that knows prices, slow and far away.
 *
 * It is a text file, a line "SYMBOL CENTS" each, so that several processes can share it and a person can change it. Every
 * call, for however many symbols, takes a while and is noted in a second file: what a provider would bill.
 */
#ifndef QUOTES_MARKET_H
#define QUOTES_MARKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct market {
    const char *prices; /* the file of prices */
    const char *calls;  /* the file of calls; NULL = they are not noted */
    const char *who;    /* who asks, for the file of calls */
    unsigned delay_ms;  /* what a call takes */
} market;

/* One symbol of a call. */
typedef struct market_line {
    const char *symbol; /* not NUL-terminated */
    size_t symbol_bytes;
    int64_t cents; /* out */
    bool known;    /* out */
} market_line;

/* The price of each line's symbol, in one call. False: the market cannot be reached. */
bool market_ask(const market *m, market_line *lines, size_t n);

/* Sets a price; the file is replaced in one step. False: it could not be written. */
bool market_set(const market *m, const char *symbol, int64_t cents);

/* Calls noted so far, and the symbols in them. */
void market_billed(const market *m, size_t *n_calls, size_t *n_symbols);

#endif
