/* depgraph -- resolves the dependency graph of a package database, with a query per edge and through
 * a loader, and shows what the difference is.
 *
 *     depgraph [--input FILE] [--package NAME] [--depth N] [--batch N]
 *
 * The packages of the input go into SQLite. Then the whole graph is resolved from there: beginning at
 * the packages that nothing depends on, for every dependency the row of the package at its other end
 * is read. Once the naive way (depgraph_naive.c), twice through a loader that gen/mkloader made from
 * loaders.ini (depgraph_loader.c): with batches of one key, which shows what not asking twice is
 * worth, and with batches of --batch keys. All must find the same graph, and the one in the file.
 *
 * An edge is one dependency (Pre-Depends or Depends): versions and architectures are left out, and of
 * alternatives "a | b" the first that is installed counts, by itself or through a package that
 * provides it; if none is, the first counts, and is reported as not there.
 *
 * Exit status: 0, the ways agree; 1, they differ; 2, the input or the arguments are no good.
 */
#define _POSIX_C_SOURCE 200809L
#include "depgraph_stb.h"
#include "depgraph_db.h"
#include "depgraph_graph.h"
#include "depgraph_progress.h"
#include "depgraph_report.h"
#include "depgraph_source.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define SYSTEM_DATABASE "/var/lib/dpkg/status"
#define SHIPPED_DATA    "examples/data/borders.txt"
#define MAX_ROUNDS      25
#define ENOUGH_MS       1000.0 /* no further round after so long */
#define MAX_BATCH       10000

enum { SAME = 0, DIFFERENT = 1, NO_GOOD = 2 };

struct options {
    const char *input;
    const char *package;
    unsigned depth;
    size_t batch;
};

static const char usage[] =
    "usage: depgraph [--input FILE] [--package NAME] [--depth N] [--batch N]\n"
    "  --input FILE    a dpkg status file, an apt Packages file or a borders file; default: this\n"
    "                  system's " SYSTEM_DATABASE ", or else " SHIPPED_DATA "\n"
    "  --package NAME  whose tree to print\n"
    "  --depth N       how deep, 1 to 64; default 2\n"
    "  --batch N       most keys a query, 1 to 10000; default 100\n";

static bool parse_number(const char *option, const char *text, unsigned long max,
                         unsigned long *number)
{
    char *end;

    *number = strtoul(text, &end, 10);
    if (*text < '0' || *text > '9' || *end != '\0' || *number < 1 || *number > max) {
        fprintf(stderr, "depgraph: --%s: expected a number from 1 to %lu, found '%s'\n", option,
                max, text);
        return false;
    }
    return true;
}

/* False when the program is to end with *status. */
static bool parse_options(int argc, char **argv, struct options *o, int *status)
{
    static const struct option known[] = {
        {"input", required_argument, NULL, 'i'}, {"package", required_argument, NULL, 'p'},
        {"depth", required_argument, NULL, 'd'}, {"batch", required_argument, NULL, 'b'},
        {"help", no_argument, NULL, 'h'},        {NULL, 0, NULL, 0},
    };
    unsigned long number;
    int option;

    *o = (struct options){.depth = 2, .batch = 100};
    *status = NO_GOOD;
    while ((option = getopt_long(argc, argv, "i:p:d:b:h", known, NULL)) != -1) {
        switch (option) {
        case 'i':
            o->input = optarg;
            break;
        case 'p':
            o->package = optarg;
            break;
        case 'd':
            if (!parse_number("depth", optarg, 64, &number)) {
                return false;
            }
            o->depth = (unsigned)number;
            break;
        case 'b':
            if (!parse_number("batch", optarg, MAX_BATCH, &number)) {
                return false;
            }
            o->batch = number;
            break;
        case 'h':
            fputs(usage, stdout);
            *status = SAME;
            return false;
        default:
            fputs(usage, stderr);
            return false;
        }
    }
    if (optind < argc) {
        fprintf(stderr, "depgraph: unexpected argument '%s'\n%s", argv[optind], usage);
        return false;
    }
    return true;
}

/* The input when none is named. The shipped file is looked for where the project is: in the current
 * folder, and where it is as seen from build/examples. */
static const char *default_input(const char *program, char *path, size_t n_path)
{
    const char *slash = strrchr(program, '/');
    int n_folder = slash != NULL ? (int)(slash - program) + 1 : 0;

    if (access(SYSTEM_DATABASE, R_OK) == 0) {
        return SYSTEM_DATABASE;
    }
    if (access(SHIPPED_DATA, R_OK) == 0 ||
        snprintf(path, n_path, "%.*s../../%s", n_folder, program, SHIPPED_DATA) >= (int)n_path) {
        return SHIPPED_DATA;
    }
    return path;
}

/* The package whose tree to print: the one asked for, or one that is in most inputs, or else the one
 * that depends on most. NULL after saying that there is no such package. */
static const char *choose_package(struct source *s, const char *asked)
{
    static const char *const usual[] = {"git", "curl", "wget", "apt", "Switzerland"};
    const struct package *most = &s->packages[0];

    if (asked != NULL && source_find(s, asked) == NO_PACKAGE) {
        const char *nearest = source_nearest(s, asked);
        fprintf(stderr, "depgraph: there is no '%s' in %s%s%s%s\n", asked, s->path,
                nearest != NULL ? "; did you mean '" : "", nearest != NULL ? nearest : "",
                nearest != NULL ? "'?" : "");
        return NULL;
    }
    for (size_t i = 0; asked == NULL && i < sizeof usual / sizeof *usual; i++) {
        asked = source_find(s, usual[i]) != NO_PACKAGE ? usual[i] : NULL;
    }
    for (size_t i = 0; i < arrlenu(s->packages); i++) {
        most = arrlenu(s->packages[i].depends) > arrlenu(most->depends) ? &s->packages[i] : most;
    }
    return asked != NULL ? asked : s->names[most->name].key;
}

/* One walk, timed, in one transaction: what it reads does not change under it, and the file is locked
 * once and not for each query. */
static bool resolve(struct db *db, const struct source *s, struct way *way, size_t max_batch,
                    struct graph *g, struct progress *progress, double *ms)
{
    uint64_t begun_ns = monotonic_ns();
    bool ok;

    db->n_queries = 0;
    sqlite3_exec(db->handle, "BEGIN", NULL, NULL, NULL);
    ok = way->loader ? resolve_with_loader(db, s, max_batch, g, &way->figures, progress)
                     : resolve_naive(db, s, g, progress);
    sqlite3_exec(db->handle, "COMMIT", NULL, NULL, NULL);
    way->n_queries = db->n_queries;
    *ms = (double)(monotonic_ns() - begun_ns) / 1e6;
    return ok;
}

/* All the ways, in rounds; the table, and the tree from the graph that the loader found. */
static int compare_ways(struct db *db, struct source *s, const struct options *o,
                        const char *package, struct progress *progress)
{
    struct way ways[3] = {{.name = "a query per edge"}, {.loader = true}, {.loader = true}};
    size_t batch[3] = {0, 1, o->batch};
    size_t n_ways = o->batch > 1 ? 3 : 2;
    struct graph graphs[3] = {{0}};
    double total_ms = 0;
    size_t n_rounds = 0;
    int status = SAME;

    for (size_t i = 1; i < n_ways; i++) {
        snprintf(ways[i].name, sizeof ways[i].name, "loader, batches of %zu", batch[i]);
    }
    while (status == SAME && n_rounds < MAX_ROUNDS && (n_rounds == 0 || total_ms < ENOUGH_MS)) {
        for (size_t k = 0; k < n_ways && status == SAME; k++) {
            size_t i = (k + n_rounds) % n_ways; /* each way goes first in turn */
            double ms;
            graph_free(&graphs[i]);
            graphs[i] = (struct graph){0};
            if (!resolve(db, s, &ways[i], batch[i], &graphs[i], progress, &ms)) {
                status = NO_GOOD;
            }
            total_ms += ms;
            if (n_rounds == 0 || ms < ways[i].ms) {
                ways[i].ms = ms;
            }
        }
        for (size_t i = 0; i < n_ways && status != NO_GOOD; i++) {
            if (!graph_complete(&graphs[i], ways[i].name, s) ||
                !graphs_equal(&graphs[0], ways[0].name, &graphs[i], ways[i].name)) {
                status = DIFFERENT;
            }
        }
        n_rounds++;
    }
    if (status != NO_GOOD) {
        print_table(ways, n_ways, s, n_rounds);
    }
    if (status == SAME) {
        printf("same graph every time: %zu %s, %zu edges, each row as in the input\n\n",
               arrlenu(graphs[0].nodes), s->nouns, s->n_edges);
        print_tree(&graphs[n_ways - 1], package, o->depth);
    }
    for (size_t i = 0; i < n_ways; i++) {
        graph_free(&graphs[i]);
    }
    return status;
}

int main(int argc, char **argv)
{
    char path[4096];
    struct options o;
    struct progress progress;
    struct source source;
    struct db db = {0};
    const char *package = NULL;
    int status;

    if (!parse_options(argc, argv, &o, &status)) {
        return status;
    }
    progress_init(&progress);
    if (o.input == NULL) {
        o.input = default_input(argv[0], path, sizeof path);
    }
    status = NO_GOOD;
    if (source_read(&source, o.input, &progress)) {
        package = choose_package(&source, o.package);
    }
    if (package != NULL && db_open(&db) && db_fill(&db, &source, &progress)) {
        printf("%s: %zu %s, %zu edges", source.path, arrlenu(source.packages), source.nouns,
               source.n_edges);
        if (source.n_missing > 0) {
            printf(", %zu of them to what is not there", source.n_missing);
        }
        printf("\nSQLite %s, %.2f MB in a temporary file\n\n", sqlite3_libversion(),
               (double)db_bytes(&db) / 1e6);
        status = compare_ways(&db, &source, &o, package, &progress);
    }
    db_close(&db);
    source_free(&source);
    if (fflush(stdout) != 0 || ferror(stdout)) {
        fputs("depgraph: the output could not be written\n", stderr);
        status = NO_GOOD;
    }
    return status;
}
