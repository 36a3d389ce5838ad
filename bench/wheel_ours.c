/* The timing wheel of dataloader.h by itself, used as the cache uses it. */
#define DLOAD_NAME  unused_loader
#define DLOAD_KEY   int
#define DLOAD_VALUE int
#include "dataloader.h"

#include "wheel.h"

#include <stdlib.h>
#include <string.h>

const char *const wheel_name = "ours";
const char *const wheel_note =
    "the wheel of dataloader.h on blocks of slots, and the four bytes of expiry "
    "that an entry has for its readers";

typedef struct wheel {
    dload_i_wheel w;
    uint32_t *expiry; /* as in an entry */
    size_t n_bytes;
} wheel;

static wheel *wheel_create(uint32_t n_slots, uint64_t now)
{
    wheel *w = calloc(1, sizeof *w);
    size_t n_blocks = dload_i_wheel_blocks_for(n_slots);
    size_t line_bytes = DLOAD_I_WHEEL_LANES * sizeof(uint32_t);
    if (w) {
        w->w.lanes = aligned_alloc(64, n_blocks * line_bytes);
        w->w.blocks = malloc(n_blocks * sizeof *w->w.blocks);
        w->expiry = calloc(n_slots, sizeof *w->expiry);
    }
    if (!w || !w->w.lanes || !w->w.blocks || !w->expiry) {
        return NULL;
    }
    memset(w->w.lanes, 0, n_blocks * line_bytes);
    dload_i_wheel_init(&w->w, n_slots, now);
    w->n_bytes = n_blocks * (line_bytes + sizeof *w->w.blocks) + n_slots * sizeof *w->expiry;
    return w;
}

static void wheel_destroy(wheel *w)
{
    free(w->w.lanes);
    free(w->w.blocks);
    free(w->expiry);
    free(w);
}

static size_t wheel_bytes(const wheel *w)
{
    return w->n_bytes;
}

static inline void wheel_set(wheel *w, uint32_t slot, uint64_t end)
{
    w->expiry[slot] = dload_i_wheel_arm(&w->w, slot, end);
}

static uint32_t wheel_expire(wheel *w, uint64_t now, uint32_t *out)
{
    uint32_t n = 0;
    bool further = true;
    while (further || !dload_i_wheel_idle(&w->w)) {
        if (dload_i_wheel_idle(&w->w)) {
            further = dload_i_wheel_turn(&w->w, now);
        }
        uint32_t budget = 32, first = 0;
        uint32_t looks = dload_i_wheel_next(&w->w, &budget, &first);
        for (; looks; looks &= looks - 1) {
            uint32_t slot = first + (uint32_t)__builtin_ctz(looks);
            uint64_t end = dload_i_wheel_end(&w->w, slot, w->expiry[slot]);
            if (end > w->w.now) {
                wheel_set(w, slot, end);
            } else {
                dload_i_wheel_forget(&w->w, slot);
                out[n++] = slot;
            }
        }
    }
    return n;
}

#include "wheel_loops.h"
