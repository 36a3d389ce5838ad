/* The resolved graph: what the naive way and the loader each build from what they read. */
#ifndef DEPGRAPH_GRAPH_H
#define DEPGRAPH_GRAPH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "depgraph_row.h"

#define NO_NODE UINT32_MAX

struct db;
struct source;
struct progress;

struct node_index {
    char *key;      /* a row's name */
    uint32_t value; /* its node */
};

struct edge {
    uint32_t from;      /* node, or NO_NODE: the start of a walk */
    uint32_t to;        /* node, or NO_NODE: no package answers to that name */
    const char *wanted; /* the name that was asked for; in the row of from, or the input */
    struct row *row;    /* what came back, NULL for nothing; held by the edge */
};

/* Nodes are in the order in which a walk breadth first comes by them, so they are its queue as well:
 * those before n_done have had their dependencies resolved. */
struct graph {
    struct row **nodes; /* stb_ds array; held */
    struct edge *edges; /* stb_ds array */
    struct node_index *index;
    size_t n_done;
    size_t next_root; /* where graph_roots goes on, as an index of source->packages */
};

void graph_free(struct graph *g);

/* Adds an edge with what was found at its end, which it takes over. The first edge to a package makes
 * it a node. */
void graph_add(struct graph *g, uint32_t from, const char *wanted, struct row *row);

/* Where to begin: the packages that nothing depends on. When all that they lead to is resolved and
 * some packages are still out, those depend on each other in circles: then the first of them.
 * Appends names to *roots (stb_ds array); false = the graph is complete. */
bool graph_roots(struct graph *g, const struct source *source, const char ***roots);

/* The two ways to the same graph. Both return false after saying what went wrong. */

struct loader_figures {
    uint64_t n_batches;
    uint64_t largest_batch;
    uint64_t hits;
    uint64_t joins;
};

bool resolve_naive(struct db *db, const struct source *source, struct graph *g,
                   struct progress *progress);
bool resolve_with_loader(struct db *db, const struct source *source, size_t max_batch,
                         struct graph *g, struct loader_figures *figures,
                         struct progress *progress);

#endif
