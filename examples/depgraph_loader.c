/* The same graph through a loader: breadth first, and each level of the walk is one load_many.
 *
 * The walk says what it wants, duplicates and all. The loader finds out what has to be asked for: a
 * name that the cache has is a hit, one that was named before in the same level is a join, and what
 * is left goes to the database, max_batch names a query.
 */
#include "depgraph_stb.h"
#include "depgraph_db.h"
#include "depgraph_graph.h"
#include "depgraph_progress.h"
#include "depgraph_source.h"
#include "package_loader.h"

#include <stdio.h>
#include <string.h>

/* What the fetch function needs: config.ctx. */
struct packages {
    struct db *db;
    sqlite3_stmt *query; /* takes the names of a batch as one JSON array */
    char *json;          /* that array; stb_ds array, kept from batch to batch */
    const char *fault;   /* tests only: what to falsify */
    uint64_t n_rows;
};

/* For the test of the comparison: answers that are wrong in one place, each in another way. */
static dload_status answer_wrongly(package_loader_batch *b, size_t i, struct row *row, int fault)
{
    struct row *other;

    switch (fault) {
    case 'r': /* another version */
        ((char *)(uintptr_t)row->detail)[0] ^= 1;
        return package_loader_batch_move(b, i, &row);
    case 's': /* another size */
        row->size_kib++;
        return package_loader_batch_move(b, i, &row);
    case 'm': /* nothing */
        row_unref(row);
        return DLOAD_OK;
    default: /* the answer to another key */
        other = row_ref(row);
        package_loader_batch_move(b, i, &row);
        return package_loader_batch_move(b, (i + 1) % b->n, &other);
    }
}

/* All names of a batch in one parameter: one statement serves batches of every size, and each answer
 * says by its index which key it belongs to. Against a list of parameters, median of 15 rounds, the
 * whole resolution as a ratio to a query per edge, for 823 packages / for 63,436, batches of 100:
 * json_each 0.36 / 0.32; "VALUES(0, ?), (1, ?) ..." joined to the table 0.39 / 0.31; "IN (?, ? ...)"
 * and a search for the key of each row 0.47 / 0.41. */
static const char batch_query[] = "SELECT asked.key, " ROW_COLUMNS " FROM json_each(?1) asked"
                                  " CROSS JOIN name n ON n.name = asked.value"
                                  " CROSS JOIN package p ON p.id = n.package";

/* Appends a string to a JSON text. Bytes from 0x80 on are UTF-8 as they are. */
static void append_json(char **json, dload_str string)
{
    static const char hex[] = "0123456789abcdef";

    arrput(*json, '"');
    for (size_t i = 0; i < string.len; i++) {
        char c = string.ptr[i];
        if (c == '"' || c == '\\') {
            arrput(*json, '\\');
            arrput(*json, c);
        } else if ((unsigned char)c < 0x20) {
            char escape[] = {'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]};
            memcpy(arraddnptr(*json, sizeof escape), escape, sizeof escape);
        } else {
            arrput(*json, c);
        }
    }
    arrput(*json, '"');
}

/* Answers a batch with one query. Names that it finds no package for are left unanswered, which is
 * DLOAD_MISSING for whoever asked. */
static dload_status fetch_packages(package_loader_batch *b)
{
    struct packages *packages = b->ctx;
    sqlite3_stmt *query = packages->query;
    int result;

    arrsetlen(packages->json, 0);
    for (size_t i = 0; i < b->n; i++) {
        arrput(packages->json, i == 0 ? '[' : ',');
        append_json(&packages->json, b->keys[i]);
    }
    arrput(packages->json, ']');
    sqlite3_bind_text64(query, 1, packages->json, arrlenu(packages->json), SQLITE_STATIC,
                        SQLITE_UTF8);
    packages->db->n_queries++;
    while ((result = sqlite3_step(query)) == SQLITE_ROW) {
        size_t i = (size_t)sqlite3_column_int64(query, 0);
        struct row *row = row_from(query, 1);
        if (packages->n_rows++ == 7 && packages->fault != NULL) {
            answer_wrongly(b, i, row, *packages->fault);
        } else {
            package_loader_batch_move(b, i, &row);
        }
    }
    sqlite3_reset(query);
    if (result != SQLITE_DONE) {
        db_fail(packages->db, "reading a batch of packages");
    }
    return result == SQLITE_DONE ? DLOAD_OK : DLOAD_EFETCH;
}

/* Keys asked for together, and room for the answers. stb_ds arrays. */
struct level {
    uint32_t *from; /* the node that wants it */
    const char **wanted;
    dload_str *keys;
    struct row **rows;
    dload_status *statuses;
};

static void level_add(struct level *level, uint32_t from, const char *wanted)
{
    arrput(level->from, from);
    arrput(level->wanted, wanted);
    arrput(level->keys, dload_str_from(wanted));
}

/* Loads the level and adds what came back to the graph. */
static bool level_resolve(struct level *level, package_loader *loader, struct graph *g,
                          struct progress *progress, size_t n_packages)
{
    size_t n = arrlenu(level->keys);
    dload_status status;

    arrsetlen(level->rows, n);
    arrsetlen(level->statuses, n);
    status = package_loader_load_many(loader, level->keys, n, level->rows, level->statuses);
    for (size_t i = 0; i < n; i++) {
        if (level->statuses[i] < DLOAD_OK && level->statuses[i] != DLOAD_MISSING) {
            status = level->statuses[i];
        }
        graph_add(g, level->from[i], level->wanted[i],
                  level->statuses[i] >= DLOAD_OK ? level->rows[i] : NULL);
        progress_step(progress, arrlenu(g->nodes), n_packages);
    }
    arrsetlen(level->from, 0);
    arrsetlen(level->wanted, 0);
    arrsetlen(level->keys, 0);
    if (status != DLOAD_OK) {
        fprintf(stderr, "depgraph: loading packages: %s\n", dload_strerror(status));
    }
    return status == DLOAD_OK;
}

/* The walk: the roots, then all that the level before depends on, until nothing new comes up. */
static bool walk(package_loader *loader, const struct source *source, struct graph *g,
                 struct progress *progress)
{
    struct level level = {0};
    const char **roots = NULL;
    bool ok = true;

    while (ok && graph_roots(g, source, &roots)) {
        for (size_t i = 0; i < arrlenu(roots); i++) {
            level_add(&level, NO_NODE, roots[i]);
        }
        while (ok && arrlenu(level.keys) > 0) {
            ok = level_resolve(&level, loader, g, progress, arrlenu(source->packages));
            for (; ok && g->n_done < arrlenu(g->nodes); g->n_done++) {
                const struct row *row = g->nodes[g->n_done];
                const char *wanted = row->depends;
                for (uint32_t i = 0; i < row->n_depends; i++, wanted += strlen(wanted) + 1) {
                    level_add(&level, (uint32_t)g->n_done, wanted);
                }
            }
        }
    }
    arrfree(roots);
    arrfree(level.from);
    arrfree(level.wanted);
    arrfree(level.keys);
    arrfree(level.rows);
    arrfree(level.statuses);
    return ok;
}

bool resolve_with_loader(struct db *db, const struct source *source, size_t max_batch,
                         struct graph *g, struct loader_figures *figures, struct progress *progress)
{
    struct packages packages = {.db = db};
    package_loader_config config = package_loader_config_preset();
    package_loader loader;
    dload_stats stats;
    dload_status status;
    bool ok;

    packages.fault = getenv("DEPGRAPH_TEST_FAULT");
    packages.query = db_prepare(db, batch_query);
    if (packages.query == NULL) {
        return false;
    }
    config.fetch = fetch_packages;
    config.ctx = &packages;
    config.max_batch = max_batch;
    config.missing_ttl_ns = DLOAD_NEVER; /* a name without a package is not asked for again */
    status = package_loader_init(&loader, &config);
    if (status != DLOAD_OK) {
        fprintf(stderr, "depgraph: making the loader: %s\n", dload_strerror(status));
        sqlite3_finalize(packages.query);
        return false;
    }
    progress_begin(progress, "resolving through the loader", source->nouns);
    ok = walk(&loader, source, g, progress);
    progress_end(progress);
    package_loader_stats(&loader, &stats);
    *figures = (struct loader_figures){stats.batches, stats.largest_batch, stats.hits, stats.joins};
    package_loader_close(&loader, DLOAD_FAIL, 0);
    package_loader_destroy(&loader);
    sqlite3_finalize(packages.query);
    arrfree(packages.json);
    return ok;
}
