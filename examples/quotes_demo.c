/* quotes_demo.c -- see quotes_demo.h.
 *
 * london and tokyo are processes that ask for the same three prices at once, and then watch them. This one then
 * changes a price, as a third: it writes to the market, and clears. Both see the new one: told by the
 * store where it can, otherwise when their second is over. What the market bills is counted.
 */
#define _POSIX_C_SOURCE 200809L
#include "quotes_demo.h"
#include "quotes_desk.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { N_SYMBOLS = 3, OLD_CENTS = 18950, NEW_CENTS = 19725, PATIENCE_MS = 10000 };

static char *const symbols[N_SYMBOLS] = {"AAPL", "GOOG", "DDOG"};

static void nap_ms(long ms)
{
    struct timespec ts = {ms / 1000, (ms % 1000) * 1000000};
    (void)nanosleep(&ts, NULL);
}

static void print_prices(const char *who, const char *what, const int64_t *cents)
{
    printf("%-7s %s", who, what);
    for (size_t i = 0; i < N_SYMBOLS; i++) {
        printf("  %s %lld.%02lld", symbols[i], (long long)(cents[i] / 100),
               (long long)(cents[i] % 100));
    }
    printf("\n");
    (void)fflush(stdout);
}

/* A process of the demonstration: tells by a byte that it has its prices, then waits for the change. */
static int office(const char *url, const market *m, int ready)
{
    int64_t cents[N_SYMBOLS];
    bool seen = false;
    desk *d = desk_open(url, m);

    if (d == NULL) {
        return 2;
    }
    desk_prices(d, symbols, N_SYMBOLS, cents);
    print_prices(m->who, "begins with", cents);
    if (write(ready, "r", 1) != 1) {
        return 2;
    }
    for (int ms = 0; ms < PATIENCE_MS && !seen; ms += 20) {
        nap_ms(20);
        desk_prices(d, symbols, N_SYMBOLS, cents);
        seen = cents[0] == NEW_CENTS;
    }
    print_prices(m->who, seen ? "now sees   " : "still sees ", cents);
    desk_print_stats(d);
    (void)fflush(stdout);
    desk_close(d);
    return seen ? 0 : 1;
}

/* Both offices, and the change between. */
static int play(const char *url, market *m, bool *shared)
{
    static const char *const who[2] = {"london", "tokyo"};
    int pipes[2], status = 0, worst = 0;
    pid_t pid[2];
    char byte = 0;
    desk *d = NULL;

    if (pipe(pipes) != 0) {
        return 2;
    }
    (void)fflush(stdout);
    for (int i = 0; i < 2; i++) { /* forked before any loader is made */
        m->who = who[i];
        pid[i] = fork();
        if (pid[i] == 0) {
            _exit(office(url, m, pipes[1]));
        }
    }
    (void)close(pipes[1]);
    for (int i = 0; i < 2; i++) {
        worst = read(pipes[0], &byte, 1) == 1 ? worst : 2;
    }
    m->who = "newyork";
    d = worst == 0 ? desk_open(url, m) : NULL;
    if (d != NULL) {
        *shared = desk_shares(d);
        printf("newyork sets AAPL to %d.%02d, and clears it\n", NEW_CENTS / 100, NEW_CENTS % 100);
        (void)fflush(stdout);
        worst = desk_set(d, symbols[0], NEW_CENTS) ? 0 : 2;
        desk_close(d);
    }
    for (int i = 0; i < 2; i++) {
        (void)waitpid(pid[i], &status, 0);
        worst = WIFEXITED(status) && WEXITSTATUS(status) == 0 ? worst : 1;
    }
    (void)close(pipes[0]);
    return d == NULL ? 2 : worst;
}

int demo(const char *url)
{
    char folder[] = "/tmp/quotes.XXXXXX", prices[64], calls[64];
    market m = {prices, calls, "newyork", 50};
    size_t n_calls = 0, n_symbols = 0;
    bool shared = false;
    int status = 2;

    if (mkdtemp(folder) == NULL) {
        perror("quotes: a temporary folder");
        return 2;
    }
    (void)snprintf(prices, sizeof prices, "%s/prices", folder);
    (void)snprintf(calls, sizeof calls, "%s/calls", folder);
    if (market_set(&m, "AAPL", OLD_CENTS) && market_set(&m, "GOOG", 14120) &&
        market_set(&m, "DDOG", 9975)) {
        status = play(url, &m, &shared);
        market_billed(&m, &n_calls, &n_symbols);
        printf("the market was called %zu times for %zu symbols\n", n_calls, n_symbols);
    }
    (void)remove(calls);
    (void)remove(prices);
    (void)rmdir(folder);
    /* A store that both share: three symbols, and the changed one once more. */
    if (status == 0 && shared && n_symbols > N_SYMBOLS + 1) {
        fprintf(stderr, "quotes: something was fetched twice\n");
        status = 1;
    }
    return status;
}
