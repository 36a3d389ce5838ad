/* quotes_desk.c -- see quotes_desk.h. The whole of what a service needs: a loader, config.store, a sink. */
#define _POSIX_C_SOURCE 200809L
#include "quotes_desk.h"

#include <stdio.h>
#include <stdlib.h>

struct quote {
    int64_t cents;
};
#define DLOAD_NAME  quotes
#define DLOAD_KEY   DLOAD_STRING
#define DLOAD_VALUE struct quote
#define DLOAD_LOCK  DLOAD_LOCK_PTHREAD
#define DLOAD_STORE 1
#include "dataloader.h"
#include "adapters/dataloader_any.h"

struct desk {
    market market;
    dload_any second;
    dload_sink sink;
    quotes quotes;
};

/* One call of the market for all symbols that neither the cache nor the store had. */
static dload_status fetch_quotes(quotes_batch *b)
{
    market_line lines[DESK_SYMBOLS];

    for (size_t i = 0; i < b->n; i++) {
        lines[i].symbol = b->keys[i].ptr;
        lines[i].symbol_bytes = b->keys[i].len;
    }
    if (!market_ask(b->ctx, lines, b->n)) {
        return DLOAD_EFETCH;
    }
    for (size_t i = 0; i < b->n; i++) {
        const struct quote q = {lines[i].cents};
        if (lines[i].known) {
            quotes_batch_set(b, i, &q);
        }
    }
    return DLOAD_OK;
}

/* The loader, and where the store tells of changes, its ear: prices are then kept for five minutes. Where it does not,
 * they are kept here for a second; in a store of our own only, too. */
static dload_status begin(desk *d, char *why, size_t why_bytes)
{
    const bool tells = dload_any_tells(&d->second);
    quotes_config config = {.fetch = fetch_quotes,
                            .ctx = &d->market,
                            .max_batch = DESK_SYMBOLS,
                            .capacity = 10000,
                            .ttl_ns = (tells ? 300 : 1) * DLOAD_SECOND,
                            .missing_ttl_ns = DLOAD_SECOND,
                            .store = d->second.store,
                            .store_ttl_ns = (desk_shares(d) ? 300 : 1) * DLOAD_SECOND};
    dload_status st = quotes_init(&d->quotes, &config);

    if (st != DLOAD_OK || !tells) {
        return st;
    }
    st = quotes_sink(&d->quotes, &d->sink);
    if (st == DLOAD_OK) {
        st = dload_any_listen(&d->second, &d->sink, why, why_bytes);
    }
    if (st != DLOAD_OK) {
        quotes_destroy(&d->quotes);
    }
    return st;
}

desk *desk_open(const char *url, const market *m)
{
    char why[200] = "";
    desk *d = calloc(1, sizeof *d);
    dload_status st = d != NULL ? dload_any_open(&d->second, url, why, sizeof why) : DLOAD_ENOMEM;

    if (st == DLOAD_OK) {
        d->market = *m;
        st = begin(d, why, sizeof why);
        if (st != DLOAD_OK) {
            dload_any_close(&d->second);
        }
    }
    if (st != DLOAD_OK) {
        fprintf(stderr, "quotes: %s\n", why[0] != '\0' ? why : dload_strerror(st));
        free(d);
        return NULL;
    }
    return d;
}

void desk_close(desk *d)
{
    dload_any_deafen(&d->second);
    quotes_close(&d->quotes, DLOAD_DRAIN, 0);
    quotes_destroy(&d->quotes);
    dload_any_close(&d->second);
    free(d);
}

void desk_prices(desk *d, char *const *symbols, size_t n, int64_t *cents)
{
    dload_str keys[DESK_SYMBOLS];
    struct quote q[DESK_SYMBOLS];
    dload_status status[DESK_SYMBOLS];

    for (size_t i = 0; i < n; i++) {
        keys[i] = dload_str_from(symbols[i]);
    }
    (void)quotes_load_many(&d->quotes, keys, n, q, status);
    for (size_t i = 0; i < n; i++) {
        cents[i] = status[i] >= DLOAD_OK ? q[i].cents : -1;
        if (status[i] < DLOAD_OK && status[i] != DLOAD_MISSING) {
            fprintf(stderr, "quotes: %s: %s\n", symbols[i], dload_strerror(status[i]));
        }
    }
}

bool desk_set(desk *d, const char *symbol, int64_t cents)
{
    return market_set(&d->market, symbol, cents) &&
           quotes_clear(&d->quotes, dload_str_from(symbol)) == DLOAD_OK;
}

bool desk_shares(const desk *d)
{
    return d->second.kind > DLOAD_ANY_IS_MEMORY;
}

void desk_print_stats(desk *d)
{
    dload_stats s;

    if (quotes_stats(&d->quotes, &s) == DLOAD_OK) {

        printf("%-7s %llu asked for: %llu were cached here, %llu joined, %llu in the store, %llu "
               "from the market\n",
               d->market.who, (unsigned long long)s.loads, (unsigned long long)s.hits,
               (unsigned long long)s.joins, (unsigned long long)s.store_hits,
               (unsigned long long)(s.misses - s.store_hits));
    }
}
