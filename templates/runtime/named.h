/* >>named -- locks known by a name, which whoever runs the program provides: in this process, in a file, on a server.
 *
 * A loader with config.locks takes the lock of its name before it calls the fetch function, so that one
 * process at a time fetches; then it asks the store again, where the last one has put what it found. Such a
 * lock may be lost while it is held (its server was restarted, its time ran out): then two fetch the
 * same, and what is stored is decided by the store's leases or by the last clear, never by the lock.
 */
#include "key.h"

#if defined(DLOAD_STORE) && DLOAD_STORE && !defined(DLOAD_I_NAMED_H)
#define DLOAD_I_NAMED_H

/* A lock that is held. Lives with whoever took it; the fields are the provider's. */
typedef struct dload_held {
    uint64_t word[4];
    void *impl; /* NULL = nothing is held */
} dload_held;

/* A provider of named locks: the first member of whatever an adapter makes. */
typedef struct dload_locks {
    const char *name; /* "flock", for logs */
    /* Takes the lock called so, waiting timeout_ns at most, 0 = not at all. Names are any bytes. DLOAD_OK
     * and *held; DLOAD_ETIMEDOUT: somebody else has it; DLOAD_ELOCK: it cannot be taken (no server, no
     * such folder); DLOAD_EINVAL, DLOAD_ENOMEM. Any thread; not taken twice by one caller. */
    dload_status (*take)(struct dload_locks *p, dload_str name, uint64_t timeout_ns,
                         dload_held *held);
    /* Is it held still? DLOAD_OK, or DLOAD_ELOCK: lost. Prolongs those that end by themselves. */
    dload_status (*check)(struct dload_locks *p, dload_held *held);
    /* Gives it back. DLOAD_OK; DLOAD_ELOCK: it had been lost. Either way *held is over. */
    dload_status (*give)(struct dload_locks *p, dload_held *held);
} dload_locks;

#endif /* DLOAD_STORE */
