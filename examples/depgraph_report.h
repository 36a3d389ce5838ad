/* What depgraph prints: the comparison of the two graphs, the table, the tree. */
#ifndef DEPGRAPH_REPORT_H
#define DEPGRAPH_REPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "depgraph_graph.h"

struct source;

/* A line of the table. */
struct way {
    char name[48];
    uint64_t n_queries;
    bool loader; /* the figures below mean something */
    struct loader_figures figures;
    double ms; /* the fastest round: what else the machine does can only add to it */
};

/* Compares everything that two walks found: every edge with its two ends and the row at its end, and
 * every package. Says on stderr where they differ (the first few places); true = they do not. */
bool graphs_equal(const struct graph *a, const char *name_a, const struct graph *b,
                  const char *name_b);

/* Checks that a walk found what the input describes: as many packages and dependencies, and rows
 * that say what the file says. */
bool graph_complete(const struct graph *g, const char *name, struct source *source);

void print_table(const struct way *ways, size_t n_ways, const struct source *source,
                 size_t n_rounds);

/* The tree below one package, depth levels deep. */
void print_tree(const struct graph *g, const char *name, unsigned depth);

#endif
