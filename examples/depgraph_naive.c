/* The naive way: a query for every edge.
 *
 * This is what a program does that asks for each dependency where it meets it, written with care: the
 * statement is prepared once, a package is expanded once, and (depgraph.c) all is one transaction.
 */
#include "depgraph_stb.h"
#include "depgraph_db.h"
#include "depgraph_graph.h"
#include "depgraph_progress.h"
#include "depgraph_source.h"

#include <string.h>

/* One package by name: *row, or NULL when no package answers to it. */
static bool find(struct db *db, sqlite3_stmt *query, const char *name, struct row **row)
{
    int result;

    sqlite3_bind_text(query, 1, name, -1, SQLITE_STATIC);
    db->n_queries++;
    result = sqlite3_step(query);
    *row = result == SQLITE_ROW ? row_from(query, 0) : NULL;
    sqlite3_reset(query);
    return result == SQLITE_ROW || result == SQLITE_DONE || db_fail(db, "finding a package");
}

/* Resolves what one package depends on. */
static bool expand(struct db *db, sqlite3_stmt *query, struct graph *g, uint32_t node)
{
    const char *wanted = g->nodes[node]->depends;

    for (uint32_t i = 0; i < g->nodes[node]->n_depends; i++) {
        struct row *row;
        if (!find(db, query, wanted, &row)) {
            return false;
        }
        graph_add(g, node, wanted, row);
        wanted += strlen(wanted) + 1;
    }
    return true;
}

bool resolve_naive(struct db *db, const struct source *source, struct graph *g,
                   struct progress *progress)
{
    sqlite3_stmt *query = db_prepare(db, "SELECT " ROW_COLUMNS " FROM name n"
                                         " JOIN package p ON p.id = n.package WHERE n.name = ?");
    const char **roots = NULL;
    bool ok = query != NULL;

    progress_begin(progress, "resolving with a query per edge", source->nouns);
    while (ok && graph_roots(g, source, &roots)) {
        for (size_t i = 0; ok && i < arrlenu(roots); i++) {
            struct row *row = NULL;
            ok = find(db, query, roots[i], &row);
            graph_add(g, NO_NODE, roots[i], row);
        }
        for (; ok && g->n_done < arrlenu(g->nodes); g->n_done++) {
            ok = expand(db, query, g, (uint32_t)g->n_done);
            progress_step(progress, g->n_done, arrlenu(source->packages));
        }
    }
    progress_end(progress);
    arrfree(roots);
    sqlite3_finalize(query);
    return ok;
}
