/* What depgraph prints: the comparison of the two graphs, the table, the tree. */
#include "depgraph_stb.h"
#include "depgraph_report.h"
#include "depgraph_source.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define MAX_COMPLAINTS 5
#define MAX_DEPTH      64

/* ---- comparison ---- */

static bool rows_equal(const struct row *a, const struct row *b)
{
    if (a == NULL || b == NULL) {
        return a == b;
    }
    if (strcmp(a->name, b->name) != 0 || strcmp(a->detail, b->detail) != 0 ||
        a->size_kib != b->size_kib || a->n_depends != b->n_depends) {
        return false;
    }
    for (size_t at = 0, i = 0; i < a->n_depends; i++) {
        if (strcmp(a->depends + at, b->depends + at) != 0) {
            return false;
        }
        at += strlen(a->depends + at) + 1;
    }
    return true;
}

static const char *row_name(const struct row *row)
{
    return row != NULL ? row->name : "nothing";
}

static void complain_about_edge(const struct graph *g, const char *name, size_t i)
{
    const struct edge *e = &g->edges[i];

    fprintf(stderr, "  %s: %s -> %s: %s %s, %" PRIu64 " KiB, %" PRIu32 " dependencies\n", name,
            e->from != NO_NODE ? g->nodes[e->from]->name : "(start)", e->wanted, row_name(e->row),
            e->row != NULL ? e->row->detail : "-", e->row != NULL ? e->row->size_kib : 0,
            e->row != NULL ? e->row->n_depends : 0);
}

bool graphs_equal(const struct graph *a, const char *name_a, const struct graph *b,
                  const char *name_b)
{
    size_t n_edges = arrlenu(a->edges) < arrlenu(b->edges) ? arrlenu(a->edges) : arrlenu(b->edges);
    size_t n_nodes = arrlenu(a->nodes) < arrlenu(b->nodes) ? arrlenu(a->nodes) : arrlenu(b->nodes);
    size_t n_wrong = 0;

    if (arrlenu(a->edges) != arrlenu(b->edges) || arrlenu(a->nodes) != arrlenu(b->nodes)) {
        fprintf(stderr, "depgraph: %s has %zu edges and %zu packages, %s has %zu and %zu\n", name_a,
                arrlenu(a->edges), arrlenu(a->nodes), name_b, arrlenu(b->edges), arrlenu(b->nodes));
        n_wrong++;
    }
    for (size_t i = 0; i < n_edges; i++) {
        const struct edge *x = &a->edges[i];
        const struct edge *y = &b->edges[i];
        if (x->from != y->from || x->to != y->to || strcmp(x->wanted, y->wanted) != 0 ||
            !rows_equal(x->row, y->row)) {
            if (n_wrong++ < MAX_COMPLAINTS) {
                fprintf(stderr, "depgraph: edge %zu differs:\n", i);
                complain_about_edge(a, name_a, i);
                complain_about_edge(b, name_b, i);
            }
        }
    }
    for (size_t i = 0; i < n_nodes; i++) {
        n_wrong += !rows_equal(a->nodes[i], b->nodes[i]);
    }
    if (n_wrong > 0) {
        fprintf(stderr, "depgraph: %s and %s differ in %zu places\n", name_a, name_b, n_wrong);
    }
    return n_wrong == 0;
}

static bool row_as_described(const struct row *row, const struct source *s, const struct package *p)
{
    const char *wanted = row->depends;

    if (strcmp(row->name, s->names[p->name].key) != 0 || strlen(row->detail) != p->detail.len ||
        memcmp(row->detail, p->detail.ptr, p->detail.len) != 0 || row->size_kib != p->size_kib ||
        row->n_depends != arrlenu(p->depends)) {
        return false;
    }
    for (size_t i = 0; i < row->n_depends; i++, wanted += strlen(wanted) + 1) {
        if (strcmp(wanted, s->names[p->depends[i].name].key) != 0) {
            return false;
        }
    }
    return true;
}

bool graph_complete(const struct graph *g, const char *name, struct source *source)
{
    size_t n_edges = 0;
    size_t n_missing = 0;
    size_t n_wrong = 0;

    for (size_t i = 0; i < arrlenu(g->edges); i++) {
        const struct edge *e = &g->edges[i];
        uint32_t package = source_find(source, e->wanted);
        bool right =
            (package == NO_PACKAGE) == (e->row == NULL) &&
            (e->row == NULL || row_as_described(e->row, source, &source->packages[package]));
        if (!right && n_wrong++ < MAX_COMPLAINTS) {
            fprintf(stderr, "depgraph: edge %zu is not what %s says:\n", i, source->path);
            complain_about_edge(g, name, i);
        }
        n_edges += e->from != NO_NODE;
        n_missing += e->from != NO_NODE && e->row == NULL;
    }
    if (n_edges != source->n_edges || n_missing != source->n_missing ||
        arrlenu(g->nodes) != arrlenu(source->packages)) {
        fprintf(stderr,
                "depgraph: %s found %zu packages and %zu edges (%zu of them to nothing), %s has %zu"
                " and %zu (%zu)\n",
                name, arrlenu(g->nodes), n_edges, n_missing, source->path,
                arrlenu(source->packages), source->n_edges, source->n_missing);
        n_wrong++;
    }
    return n_wrong == 0;
}

/* ---- table ---- */

/* 1234567 as "1,234,567". */
static struct quoted count(uint64_t n)
{
    struct quoted q;
    char digits[24];
    int length = snprintf(digits, sizeof digits, "%" PRIu64, n);
    size_t at = 0;

    for (int i = 0; i < length; i++) {
        if (i > 0 && (length - i) % 3 == 0) {
            q.text[at++] = ',';
        }
        q.text[at++] = digits[i];
    }
    q.text[at] = '\0';
    return q;
}

static struct quoted figure(const struct way *way, uint64_t n)
{
    return way->loader ? count(n) : (struct quoted){"-"};
}

void print_table(const struct way *ways, size_t n_ways, const struct source *source,
                 size_t n_rounds)
{
    printf("%-22s %9s %9s %8s %8s %9s %9s %9s %6s\n", "", "edges", "queries", "batches", "largest",
           "hits", "joins", "ms", "ratio");
    for (size_t i = 0; i < n_ways; i++) {
        const struct way *w = &ways[i];
        printf("%-22s %9s %9s %8s %8s %9s %9s %9.2f %6.2f\n", w->name, count(source->n_edges).text,
               count(w->n_queries).text, figure(w, w->figures.n_batches).text,
               figure(w, w->figures.largest_batch).text, figure(w, w->figures.hits).text,
               figure(w, w->figures.joins).text, w->ms, w->ms / ways[0].ms);
    }
    printf("ms: fastest of %zu round%s. ratio: against the query per edge, lower is better.\n",
           n_rounds, n_rounds == 1 ? "" : "s");
}

/* ---- tree ---- */

struct tree {
    const struct graph *graph;
    size_t *first_edge; /* by node; the edges of a node are together */
    unsigned *expanded; /* by node: the level at which its dependencies were printed, 0 = not yet */
    bool *on_path;      /* by node: it is above the line being printed */
    unsigned depth;
    char indent[4 * MAX_DEPTH + 1];
};

static void print_below(struct tree *t, uint32_t node, unsigned level);

/* The rest of a line after its indent: the package and what there is to say about it. */
static void print_package(struct tree *t, const char *wanted, uint32_t node, unsigned level)
{
    const struct row *row = node != NO_NODE ? t->graph->nodes[node] : NULL;

    if (row == NULL) {
        printf("%s (not there)\n", wanted);
        return;
    }
    if (strcmp(wanted, row->name) != 0) {
        printf("%s = ", wanted);
    }
    printf("%s %s", row->name, row->detail);
    if (t->on_path[node]) {
        printf(" (cycle)\n");
    } else if (row->n_depends == 0) {
        printf("\n");
    } else if (t->expanded[node] != 0 && t->expanded[node] <= level) {
        printf(" (see above)\n");
    } else if (level > t->depth) {
        printf(" (+%" PRIu32 ")\n", row->n_depends);
    } else {
        printf("\n");
        t->expanded[node] = level;
        t->on_path[node] = true;
        print_below(t, node, level);
        t->on_path[node] = false;
    }
}

static void print_below(struct tree *t, uint32_t node, unsigned level)
{
    uint32_t n = t->graph->nodes[node]->n_depends;
    char *indent = t->indent + 4 * (size_t)(level - 1);

    for (uint32_t i = 0; i < n; i++) {
        const struct edge *e = &t->graph->edges[t->first_edge[node] + i];
        bool last = i + 1 == n;
        *indent = '\0';
        printf("%s%s", t->indent, last ? "`-- " : "|-- ");
        memcpy(indent, last ? "    " : "|   ", 5);
        print_package(t, e->wanted, e->to, level + 1);
    }
}

void print_tree(const struct graph *g, const char *name, unsigned depth)
{
    struct tree t = {.graph = g, .depth = depth < MAX_DEPTH ? depth : MAX_DEPTH};
    size_t n_nodes = arrlenu(g->nodes);
    uint32_t node = NO_NODE;

    for (size_t i = 0; i < arrlenu(g->edges) && node == NO_NODE; i++) {
        node = strcmp(g->edges[i].wanted, name) == 0 ? g->edges[i].to : NO_NODE;
    }
    for (uint32_t i = 0; i < n_nodes && node == NO_NODE; i++) {
        node = strcmp(g->nodes[i]->name, name) == 0 ? i : NO_NODE;
    }
    if (node == NO_NODE) {
        printf("%s (provided, but nothing depends on it)\n", name);
        return;
    }
    t.first_edge = depgraph_realloc(NULL, n_nodes * sizeof *t.first_edge);
    t.expanded = depgraph_realloc(NULL, n_nodes * sizeof *t.expanded);
    t.on_path = depgraph_realloc(NULL, n_nodes * sizeof *t.on_path);
    memset(t.expanded, 0, n_nodes * sizeof *t.expanded);
    memset(t.on_path, 0, n_nodes * sizeof *t.on_path);
    for (size_t i = arrlenu(g->edges); i > 0; i--) {
        if (g->edges[i - 1].from != NO_NODE) {
            t.first_edge[g->edges[i - 1].from] = i - 1;
        }
    }
    print_package(&t, name, node, 1);
    free(t.first_edge);
    free(t.expanded);
    free(t.on_path);
}
