/* The resolved graph: nodes, edges, and where to begin. */
#include "depgraph_stb.h"
#include "depgraph_graph.h"
#include "depgraph_source.h"

void graph_free(struct graph *g)
{
    for (size_t i = 0; i < arrlenu(g->edges); i++) {
        row_unref(g->edges[i].row);
    }
    for (size_t i = 0; i < arrlenu(g->nodes); i++) {
        row_unref(g->nodes[i]);
    }
    arrfree(g->edges);
    arrfree(g->nodes);
    shfree(g->index);
}

void graph_add(struct graph *g, uint32_t from, const char *wanted, struct row *row)
{
    struct edge edge = {.from = from, .to = NO_NODE, .wanted = wanted, .row = row};

    if (row != NULL) {
        ptrdiff_t at = shgeti(g->index, stb_key(row->name));
        if (at < 0) {
            edge.to = (uint32_t)arrlenu(g->nodes);
            shput(g->index, stb_key(row->name), edge.to);
            arrput(g->nodes, row_ref(row));
        } else {
            edge.to = g->index[at].value;
        }
    }
    arrput(g->edges, edge);
}

bool graph_roots(struct graph *g, const struct source *source, const char ***roots)
{
    bool first_time = arrlenu(g->edges) == 0;

    arrsetlen(*roots, 0);
    if (first_time) {
        for (size_t i = 0; i < arrlenu(source->packages); i++) {
            if (!source->packages[i].wanted) {
                arrput(*roots, source->names[source->packages[i].name].key);
            }
        }
    }
    while (arrlenu(*roots) == 0 && g->next_root < arrlenu(source->packages)) {
        const char *name = source->names[source->packages[g->next_root++].name].key;
        if (shgeti(g->index, stb_key(name)) < 0) {
            arrput(*roots, name);
        }
    }
    return arrlenu(*roots) > 0;
}
