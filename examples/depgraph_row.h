/* A package as the database gives it back: the value of the loader.
 *
 * A row never changes once it is made, and counts who holds it. So the cache can keep it, hand it to
 * any number of callers and forget it, without copying a byte (DLOAD_VALUE_REF and _UNREF).
 */
#ifndef DEPGRAPH_ROW_H
#define DEPGRAPH_ROW_H

#include <stdint.h>

struct sqlite3_stmt;

struct row {
    uint32_t refs; /* holders; one thread, so a plain count */
    uint32_t n_depends;
    uint64_t size_kib;
    const char *name;
    const char *detail;  /* version, or a country's code */
    const char *depends; /* n_depends names, one behind the other, each NUL-terminated */
};

/* The columns that row_from reads, in its order. */
#define ROW_COLUMNS "p.name, p.detail, p.size_kib, p.n_depends, p.depends"

/* Makes a row of the statement's current result, whose columns from first on are ROW_COLUMNS. The
 * caller holds it. */
struct row *row_from(struct sqlite3_stmt *statement, int first);

static inline struct row *row_ref(struct row *row)
{
    row->refs++;
    return row;
}

void row_unref(struct row *row); /* NULL is allowed */

/* The same two as the loader's parameters: they get the place where the value is. */
static inline void row_share(struct row **row)
{
    row_ref(*row);
}

static inline void row_release(struct row **row)
{
    row_unref(*row);
}

#endif
