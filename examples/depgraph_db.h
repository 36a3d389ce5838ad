/* The packages in SQLite: a database in a temporary file that is gone when the program is, however
 * the program ends. */
#ifndef DEPGRAPH_DB_H
#define DEPGRAPH_DB_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>

#include "depgraph_row.h"

struct source;
struct progress;

struct db {
    sqlite3 *handle;
    uint64_t n_queries; /* statements run to resolve the graph; whoever runs one counts it */
};

/* Makes the database and writes the packages into it. Both say what went wrong on stderr. db_close
 * is due whatever they return. */
bool db_open(struct db *db);
bool db_fill(struct db *db, const struct source *source, struct progress *progress);
void db_close(struct db *db);

/* Prepares a statement; NULL after saying why not. */
sqlite3_stmt *db_prepare(struct db *db, const char *sql);

/* Says on stderr what SQLite complains about; returns false. */
bool db_fail(struct db *db, const char *doing);

/* Bytes in the database file. */
uint64_t db_bytes(struct db *db);

#endif
