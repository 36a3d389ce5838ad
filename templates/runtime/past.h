/* >>past -- what one queue evicted lately: which keys, when each was last used, how long ago it went.
 *
 * A ring in the order of eviction and chains through it by hash. A hash taken out leaves a hole that is
 * never packed, so that the way back from the newest position is the number of evictions since. Links
 * lead to older positions only: one that does not belongs to somebody who has used the position since,
 * and there a chain ends. 14 bytes a position. Two keys are taken for one when their chains and 32 bits
 * of their hashes agree; then one is believed to come back.
 */
#ifndef DLOAD_I_PAST_H
#define DLOAD_I_PAST_H

#include "port.h"

typedef struct dload_i_gone {
    uint32_t print; /* of the hash; 0 = hole */
    uint32_t used;  /* when, by the policy's clock */
    uint32_t next;  /* position of the next older one of its chain + 1; 0 = none */
} dload_i_gone;

typedef struct dload_i_past {
    dload_i_gone *ring;
    uint32_t *head;  /* by hash: position of the newest of a chain + 1; 0 = none */
    uint32_t limit;  /* positions */
    uint32_t n_head; /* chains */
    uint32_t at;     /* position that comes next */
    uint32_t span;   /* positions in use, holes included */
    uint32_t n_live; /* holes not included */
} dload_i_past;

DLOAD_I_INLINE uint32_t dload_i_past_chains(uint32_t limit)
{
    return limit == 0 ? 0 : limit / 2 + 1;
}

/* ring and head are zeroed memory for limit positions and as many chains as above. */
DLOAD_I_LOCAL void dload_i_past_init(dload_i_past *p, uint32_t limit, dload_i_gone *ring,
                                     uint32_t *head)
{
    memset(p, 0, sizeof *p);
    p->ring = ring;
    p->head = head;
    p->limit = limit;
    p->n_head = dload_i_past_chains(limit);
}

DLOAD_I_INLINE uint32_t dload_i_past_chain(const dload_i_past *p, uint64_t hash)
{
    return (uint32_t)(((hash >> 32) * p->n_head) >> 32);
}

/* Brings what looking for a hash begins with near. */
DLOAD_I_INLINE void dload_i_past_prefetch(const dload_i_past *p, uint64_t hash)
{
    DLOAD_I_PREFETCH(&p->head[dload_i_past_chain(p, hash)]);
}

DLOAD_I_INLINE uint32_t dload_i_past_print(uint64_t hash)
{
    uint32_t print = (uint32_t)(hash ^ (hash >> 32));
    return print + (print == 0);
}

/* Evictions since the one at a position: 1 for the newest, limit for the oldest. */
DLOAD_I_INLINE uint32_t dload_i_past_age(const dload_i_past *p, uint32_t pos)
{
    return pos < p->at ? p->at - pos : p->at + (p->limit - pos);
}

/* Takes a hash out. How many evictions ago it went, and *used; 0 when it is not there. */
DLOAD_I_LOCAL uint32_t dload_i_past_take(dload_i_past *p, uint64_t hash, uint32_t *used)
{
    if (p->n_live == 0)
        return 0;
    uint32_t print = dload_i_past_print(hash);
    uint32_t newer = 0;
    for (uint32_t at = p->head[dload_i_past_chain(p, hash)]; at != 0;) {
        dload_i_gone *gone = &p->ring[at - 1];
        uint32_t age = dload_i_past_age(p, at - 1);
        if (age <= newer || age > p->span)
            return 0;
        if (gone->print == print) {
            gone->print = 0;
            p->n_live--;
            *used = gone->used;
            return age;
        }
        newer = age;
        at = gone->next;
    }
    return 0;
}

/* Remembers a hash as the newest, forgetting the oldest when the ring is full. */
DLOAD_I_LOCAL void dload_i_past_add(dload_i_past *p, uint64_t hash, uint32_t used)
{
    dload_i_gone *gone = &p->ring[p->at];
    uint32_t *head = &p->head[dload_i_past_chain(p, hash)];
    p->n_live += gone->print == 0;
    p->span += p->span < p->limit;
    gone->print = dload_i_past_print(hash);
    gone->used = used;
    gone->next = *head;
    *head = p->at + 1;
    p->at = p->at + 1 == p->limit ? 0 : p->at + 1;
}

/* ---- what the adaptive policy keeps: see adaptive.h ---- */

#define DLOAD_I_SHARE_ONE      (UINT64_C(1) << 16) /* an entry, in units of the target */
#define DLOAD_I_ADAPTIVE_ROOM  4u   /* a miss counts when a 4th of the cache would have spared it */
#define DLOAD_I_ADAPTIVE_LUCK  64u  /* every 64th that leaves small is promoted */
#define DLOAD_I_ADAPTIVE_LEAP  16u  /* the target moves by 1 to 16 entries */
#define DLOAD_I_ADAPTIVE_START 10u  /* small begins as a 10th, S3-FIFO's share */
#define DLOAD_I_ADAPTIVE_LEAST 100u /* ... and is never less than a 100th */

typedef struct dload_i_adaptive {
    dload_i_past of_small, of_main;
    uint32_t *since; /* by slot: when it came, or was last given another round in main */
    uint64_t target; /* small's size; DLOAD_I_SHARE_ONE is an entry */
    uint64_t least;  /* what the target never goes below */
    uint32_t cap;
    uint32_t room;    /* evictions since which a miss counts */
    uint32_t now;     /* evictions */
    uint32_t leaving; /* left small since the last lucky one */
    bool comes_back;  /* the key that is coming in now goes to main */
} dload_i_adaptive;

/* What small's memory is long; as long as S3-FIFO's. */
DLOAD_I_INLINE uint32_t dload_i_adaptive_past(uint32_t cap)
{
    return (uint32_t)((uint64_t)cap * 9 / 10) + (cap < 2);
}

/* Main's, from which less leaves. */
DLOAD_I_INLINE uint32_t dload_i_adaptive_past_main(uint32_t cap)
{
    return (uint32_t)((uint64_t)cap * 9 / 20) + (cap < 3);
}

/* Words of its arrays: three a position, one a slot, one a chain. */
DLOAD_I_LOCAL size_t dload_i_adaptive_words(uint32_t cap, size_t n_slots)
{
    size_t of_small = dload_i_adaptive_past(cap);
    size_t of_main = dload_i_adaptive_past_main(cap);
    return 3 * (of_small + of_main) + n_slots + dload_i_past_chains((uint32_t)of_small) +
           dload_i_past_chains((uint32_t)of_main);
}

/* a and words are zeroed memory. */
DLOAD_I_LOCAL void dload_i_adaptive_init(dload_i_adaptive *a, uint32_t *words, uint32_t cap)
{
    uint32_t of_small = dload_i_adaptive_past(cap);
    uint32_t of_main = dload_i_adaptive_past_main(cap);
    dload_i_gone *ring = (dload_i_gone *)(void *)words;
    uint32_t *heads = words + 3 * ((size_t)of_small + of_main);
    dload_i_past_init(&a->of_small, of_small, ring, heads);
    heads += dload_i_past_chains(of_small);
    dload_i_past_init(&a->of_main, of_main, ring + of_small, heads);
    a->since = heads + dload_i_past_chains(of_main);
    a->room = cap / DLOAD_I_ADAPTIVE_ROOM + (cap < DLOAD_I_ADAPTIVE_ROOM);
    a->cap = cap;
    a->least = DLOAD_I_SHARE_ONE * cap / DLOAD_I_ADAPTIVE_LEAST;
    if (a->least < DLOAD_I_SHARE_ONE)
        a->least = DLOAD_I_SHARE_ONE;
    a->target = DLOAD_I_SHARE_ONE * cap / DLOAD_I_ADAPTIVE_START;
    if (a->target < a->least)
        a->target = a->least;
}

#endif /* DLOAD_I_PAST_H */
