/* A hierarchical timing wheel of doubly linked lists, as in the textbook: five levels of 64 buckets,
 * a node a slot, lists that move down a level when their time comes. */
#include "wheel.h"

#include <stdlib.h>

enum { LEVELS = 5, N_BUCKETS = LEVELS * 64 };
#define NONE UINT32_MAX

const char *const wheel_name = "lists";
const char *const wheel_note =
    "the same levels and ticks with a doubly linked list a bucket, indices as links";

typedef struct node {
    uint32_t tick;
    uint32_t next;
    uint32_t prev;
    uint32_t bucket; /* NONE = not armed */
} node;

typedef struct wheel {
    uint64_t now;
    uint64_t used[LEVELS];
    uint32_t first[N_BUCKETS];
    uint32_t n_slots;
    node *nodes;
} wheel;

static wheel *wheel_create(uint32_t n_slots, uint64_t now)
{
    wheel *w = calloc(1, sizeof *w);
    if (!w || !(w->nodes = malloc(n_slots * sizeof *w->nodes))) {
        return NULL;
    }
    w->now = now;
    w->n_slots = n_slots;
    for (uint32_t i = 0; i < N_BUCKETS; i++) {
        w->first[i] = NONE;
    }
    for (uint32_t i = 0; i < n_slots; i++) {
        w->nodes[i].bucket = NONE;
    }
    return w;
}

static void wheel_destroy(wheel *w)
{
    free(w->nodes);
    free(w);
}

static size_t wheel_bytes(const wheel *w)
{
    return w->n_slots * sizeof *w->nodes;
}

static void link_slot(wheel *w, uint32_t slot, uint32_t tick)
{
    node *n = &w->nodes[slot];
    uint32_t now = (uint32_t)w->now, level = 0;
    while ((((tick >> (level * 6)) - (now >> (level * 6))) & (UINT32_MAX >> (level * 6))) >= 64) {
        level++;
    }
    uint32_t bucket = level * 64 + ((tick >> (level * 6)) & 63);
    uint32_t first = w->first[bucket];
    *n = (node){tick, first, NONE, bucket};
    if (first != NONE) {
        w->nodes[first].prev = slot;
    }
    w->first[bucket] = slot;
    w->used[level] |= UINT64_C(1) << (bucket % 64);
}

static inline void wheel_set(wheel *w, uint32_t slot, uint64_t end)
{
    node *n = &w->nodes[slot];
    if (n->bucket != NONE) {
        if (n->next != NONE) {
            w->nodes[n->next].prev = n->prev;
        }
        if (n->prev != NONE) {
            w->nodes[n->prev].next = n->next;
        } else {
            w->first[n->bucket] = n->next;
            if (n->next == NONE) {
                w->used[n->bucket / 64] &= ~(UINT64_C(1) << (n->bucket % 64));
            }
        }
    }
    link_slot(w, slot, (uint32_t)end);
}

/* Which buckets of a level lie between the wheel's time and now. */
static uint64_t passed(const wheel *w, uint32_t level, uint64_t now)
{
    uint32_t shift = level * 6;
    uint64_t from = w->now >> shift, steps = (now >> shift) - from;
    if (steps >= 64) {
        return UINT64_MAX;
    }
    uint64_t run = (UINT64_C(1) << steps) - 1;
    uint32_t turn = (uint32_t)(from + 1) & 63;
    return turn ? run << turn | run >> (64 - turn) : run;
}

static uint32_t wheel_expire(wheel *w, uint64_t now, uint32_t *out)
{
    uint32_t n = 0;
    uint32_t due[N_BUCKETS];
    uint32_t n_due = 0;
    for (uint32_t level = 0; level < LEVELS; level++) {
        for (uint64_t set = w->used[level] & passed(w, level, now); set; set &= set - 1) {
            uint32_t bucket = level * 64 + (uint32_t)__builtin_ctzll(set);
            due[n_due++] = w->first[bucket];
            w->first[bucket] = NONE;
            w->used[level] &= ~(UINT64_C(1) << (bucket % 64));
        }
    }
    w->now = now;
    for (uint32_t i = 0; i < n_due; i++) {
        for (uint32_t slot = due[i], next; slot != NONE; slot = next) {
            node *node_ = &w->nodes[slot];
            next = node_->next;
            if ((int32_t)(node_->tick - (uint32_t)now) <= 0) {
                node_->bucket = NONE;
                out[n++] = slot;
            } else {
                link_slot(w, slot, node_->tick);
            }
        }
    }
    return n;
}

#include "wheel_loops.h"
