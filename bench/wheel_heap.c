/* A binary heap in an array, as in the textbook, with the place of each slot so that an armed one can
 * be moved. */
#include "wheel.h"

#include <stdlib.h>

#define NONE UINT32_MAX

const char *const wheel_name = "heap";
const char *const wheel_note =
    "a binary heap in an array: (end, slot) in one word, and where each slot is";

typedef struct wheel {
    uint64_t *item;  /* end << 32 | slot; the smallest at 0 */
    uint32_t *where; /* by slot: index into item, or NONE */
    uint32_t n_items;
    uint32_t n_slots;
} wheel;

static wheel *wheel_create(uint32_t n_slots, uint64_t now)
{
    (void)now;
    wheel *w = calloc(1, sizeof *w);
    if (w) {
        w->item = malloc(n_slots * sizeof *w->item);
        w->where = malloc(n_slots * sizeof *w->where);
    }
    if (!w || !w->item || !w->where) {
        return NULL;
    }
    w->n_slots = n_slots;
    for (uint32_t i = 0; i < n_slots; i++) {
        w->where[i] = NONE;
    }
    return w;
}

static void wheel_destroy(wheel *w)
{
    free(w->item);
    free(w->where);
    free(w);
}

static size_t wheel_bytes(const wheel *w)
{
    return w->n_slots * (sizeof *w->item + sizeof *w->where);
}

static inline void put(wheel *w, uint32_t at, uint64_t item)
{
    w->item[at] = item;
    w->where[(uint32_t)item] = at;
}

static void sift_up(wheel *w, uint32_t at, uint64_t item)
{
    while (at > 0 && item < w->item[(at - 1) / 2]) {
        put(w, at, w->item[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    put(w, at, item);
}

static void sift_down(wheel *w, uint32_t at, uint64_t item)
{
    for (;;) {
        uint64_t child = 2 * (uint64_t)at + 1;
        if (child >= w->n_items) {
            break;
        }
        child += child + 1 < w->n_items && w->item[child + 1] < w->item[child];
        if (item <= w->item[child]) {
            break;
        }
        put(w, at, w->item[child]);
        at = (uint32_t)child;
    }
    put(w, at, item);
}

static inline void wheel_set(wheel *w, uint32_t slot, uint64_t end)
{
    uint64_t item = end << 32 | slot;
    uint32_t at = w->where[slot];
    if (at == NONE) {
        sift_up(w, w->n_items++, item);
    } else if (item < w->item[at]) {
        sift_up(w, at, item);
    } else {
        sift_down(w, at, item);
    }
}

static uint32_t wheel_expire(wheel *w, uint64_t now, uint32_t *out)
{
    uint32_t n = 0;
    while (w->n_items > 0 && w->item[0] >> 32 <= now) {
        uint32_t slot = (uint32_t)w->item[0];
        w->where[slot] = NONE;
        if (--w->n_items > 0) {
            sift_down(w, 0, w->item[w->n_items]);
        }
        out[n++] = slot;
    }
    return n;
}

#include "wheel_loops.h"
