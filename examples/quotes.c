/* quotes -- stock prices from a market that bills every call: kept for five minutes, shared by processes.
 *
 *     quotes [--backend=URL] [--market=FILE] [--calls=FILE] get SYMBOL...
 *     quotes [...] set SYMBOL CENTS          a new price; whoever has the old one forgets it
 *     quotes [...] watch SECONDS SYMBOL...   a line whenever a price changes
 *     quotes [--backend=URL]                 a demonstration: two processes side by side
 *
 * URL is memory (each process for itself), none, sqlite:FILE, redis://HOST, unix:///SOCKET or postgresql://HOST/DB; it is
 * the only difference between them. No server is started.
 */
/* may link: sqlite3 hiredis ssl crypto pq */
#define _POSIX_C_SOURCE 200809L
#include "quotes_demo.h"
#include "quotes_desk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static int usage(void)
{
    fprintf(stderr, "usage: quotes [--backend=URL] [--market=FILE] [--calls=FILE]\n"
                    "              [get SYMBOL... | set SYMBOL CENTS | watch SECONDS SYMBOL...]\n"
                    "URL: memory, none, sqlite:FILE, redis://HOST, unix:///SOCKET, "
                    "postgresql://HOST/DATABASE\n");
    return 2;
}

static int get(desk *d, char *const *symbols, size_t n)
{
    int64_t cents[DESK_SYMBOLS];
    int missing = 0;

    desk_prices(d, symbols, n, cents);
    for (size_t i = 0; i < n; i++) {
        if (cents[i] >= 0) {
            printf("%s %lld.%02lld\n", symbols[i], (long long)(cents[i] / 100),
                   (long long)(cents[i] % 100));
        } else {
            printf("%s -\n", symbols[i]);
            missing = 1;
        }
    }
    return missing;
}

static int watch(desk *d, long seconds, char *const *symbols, size_t n)
{
    int64_t cents[DESK_SYMBOLS], shown[DESK_SYMBOLS];
    const struct timespec nap = {0, 100000000};

    for (size_t i = 0; i < n; i++) {
        shown[i] = -2;
    }
    for (long tenth = 0; tenth < seconds * 10; tenth++) {
        desk_prices(d, symbols, n, cents);
        for (size_t i = 0; i < n; i++) {
            if (cents[i] != shown[i]) {
                (void)get(d, symbols + i, 1);
                (void)fflush(stdout);
            }
            shown[i] = cents[i];
        }
        (void)nanosleep(&nap, NULL);
    }
    desk_print_stats(d);
    return 0;
}

/* The command with its arguments. */
static int run(desk *d, char **words, int n)
{
    if (strcmp(words[0], "get") == 0 && n >= 2 && n <= DESK_SYMBOLS) {
        return get(d, words + 1, (size_t)(n - 1));
    }
    if (strcmp(words[0], "set") == 0 && n == 3) {
        return desk_set(d, words[1], strtoll(words[2], NULL, 10)) ? 0 : 1;
    }
    if (strcmp(words[0], "watch") == 0 && n >= 3 && n <= DESK_SYMBOLS) {
        return watch(d, strtol(words[1], NULL, 10), words + 2, (size_t)(n - 2));
    }
    return usage();
}

int main(int argc, char **argv)
{
    const char *url = "memory";
    market m = {"market.txt", NULL, "quotes", 50};
    int at = 1, status = 0;

    for (; at < argc && strncmp(argv[at], "--", 2) == 0; at++) {
        const char *value = strchr(argv[at], '=');
        if (value != NULL && strncmp(argv[at], "--backend=", 10) == 0) {
            url = value + 1;
        } else if (value != NULL && strncmp(argv[at], "--market=", 9) == 0) {
            m.prices = value + 1;
        } else if (value != NULL && strncmp(argv[at], "--calls=", 8) == 0) {
            m.calls = value + 1;
        } else {
            return usage();
        }
    }
    if (at == argc) {
        return demo(url);
    }
    desk *d = desk_open(url, &m);
    if (d == NULL) {
        return 2;
    }
    status = run(d, argv + at, argc - at);
    desk_close(d);
    return status;
}
