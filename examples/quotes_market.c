/* quotes_market.c -- see quotes_market.h. */
#define _POSIX_C_SOURCE 200809L
#include "quotes_market.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { LINE_BYTES = 256, PATH_BYTES = 1024 };

/* A line of the file of prices; false when it is a comment, or none. */
static bool parse(char *line, const char **symbol, int64_t *cents)
{
    char *end = line;
    while (*end != '\0' && !isspace((unsigned char)*end)) {
        end++;
    }
    if (end == line || *end == '\0' || *line == '#') {
        return false;
    }
    *end = '\0';
    *symbol = line;
    *cents = strtoll(end + 1, NULL, 10);
    return true;
}

/* One write for the whole line: those of several processes do not mix. */
static void bill(const market *m, const market_line *lines, size_t n)
{
    char text[LINE_BYTES * 16];
    FILE *f = m->calls != NULL ? fopen(m->calls, "a") : NULL;
    size_t at = (size_t)snprintf(text, sizeof text, "%s", m->who);

    if (f == NULL) {
        return;
    }
    for (size_t i = 0; i < n && at + lines[i].symbol_bytes + 2 < sizeof text; i++) {
        text[at++] = ' ';
        memcpy(text + at, lines[i].symbol, lines[i].symbol_bytes);
        at += lines[i].symbol_bytes;
    }
    text[at++] = '\n';
    (void)setvbuf(f, NULL, _IOFBF, sizeof text);
    (void)fwrite(text, 1, at, f);
    (void)fclose(f);
}

bool market_ask(const market *m, market_line *lines, size_t n)
{
    char line[LINE_BYTES];
    const char *symbol = NULL;
    int64_t cents = 0;
    struct timespec delay = {m->delay_ms / 1000, (long)(m->delay_ms % 1000) * 1000000};
    FILE *f = fopen(m->prices, "r");

    if (f == NULL) {
        return false;
    }
    bill(m, lines, n);
    for (size_t i = 0; i < n; i++) {
        lines[i].known = false;
    }
    while (fgets(line, sizeof line, f) != NULL) {
        if (!parse(line, &symbol, &cents)) {
            continue;
        }
        for (size_t i = 0; i < n; i++) {
            if (lines[i].symbol_bytes == strlen(symbol) &&
                memcmp(lines[i].symbol, symbol, lines[i].symbol_bytes) == 0) {
                lines[i].cents = cents;
                lines[i].known = true;
            }
        }
    }
    (void)fclose(f);
    (void)nanosleep(&delay, NULL);
    return true;
}

/* Copies every price but that of symbol. */
static void copy_others(const char *from, FILE *to, const char *symbol)
{
    char line[LINE_BYTES];
    char kept[LINE_BYTES];
    const char *other = NULL;
    int64_t cents = 0;
    FILE *f = fopen(from, "r");

    if (f == NULL) {
        return; /* the first price of all */
    }
    while (fgets(line, sizeof line, f) != NULL) {
        memcpy(kept, line, sizeof kept);
        if (!parse(line, &other, &cents) || strcmp(other, symbol) != 0) {
            (void)fputs(kept, to);
        }
    }
    (void)fclose(f);
}

bool market_set(const market *m, const char *symbol, int64_t cents)
{
    char path[PATH_BYTES];
    int n = snprintf(path, sizeof path, "%s.%ld", m->prices, (long)getpid());
    FILE *f = n > 0 && (size_t)n < sizeof path ? fopen(path, "w") : NULL;
    bool ok = false;

    if (f == NULL) {
        return false;
    }
    copy_others(m->prices, f, symbol);
    ok = fprintf(f, "%s %lld\n", symbol, (long long)cents) > 0;
    ok = fclose(f) == 0 && ok;
    return ok && rename(path, m->prices) == 0;
}

void market_billed(const market *m, size_t *n_calls, size_t *n_symbols)
{
    int c = 0;
    FILE *f = m->calls != NULL ? fopen(m->calls, "r") : NULL;

    *n_calls = *n_symbols = 0;
    if (f == NULL) {
        return;
    }
    while ((c = getc(f)) != EOF) {
        *n_calls += c == '\n';
        *n_symbols += c == ' ';
    }
    (void)fclose(f);
}
