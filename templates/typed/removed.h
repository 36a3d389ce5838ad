/* >>removed -- the end of what left the cache: the hook is told, owned values are released.
 *
 * No lock is held here, except while a string key's bytes are given back.
 */
#ifndef DLOAD_I_HAVE_REMOVED
#define DLOAD_I_HAVE_REMOVED

#include "stale.h"

#if DLOAD_I_BODIES

#if !DLOAD_COMPACT
/* The reason that goes with an entry: whoever comes to remove it, it had been cleared or had expired
 * before that, or not. The shard's lock is held. */
DLOAD_I_INLINE dload_removal DLOAD_I_FN(i_why)(const DLOAD_I_CACHE *c, const DLOAD_I_SHARD *s,
                                               const DLOAD_I_SLOT *e, dload_removal reason)
{
#if DLOAD_ON_REMOVE
    if (DLOAD_I_FN(i_is_dead)(DLOAD_I_META(e)))
        return DLOAD_I_FN(i_died_of)(DLOAD_I_META(e));
    if (DLOAD_I_FN(i_outdated)(s, DLOAD_I_META(e)))
        return DLOAD_REMOVED_CLEARED;
    if (!DLOAD_I_FN(i_valid)(c, s, e))
        return DLOAD_REMOVED_EXPIRED;
#endif
    (void)c;
    (void)s;
    (void)e;
    return reason;
}
#endif

/* The end of a value that left shard s. */
DLOAD_I_LOCAL void DLOAD_I_FN(i_end)(DLOAD_I_CACHE *c, DLOAD_I_SHARD *s, DLOAD_I_FN(removed) * old)
{
#if DLOAD_ON_REMOVE
#if DLOAD_I_IS_STRING
    const DLOAD_I_K key = old->key;
    const bool stored = old->stored;
#endif
    if (c->on_remove != NULL)
        c->on_remove(c->remove_ctx, old);
#endif
    DLOAD_I_FN(i_release)(&old->value);
#if DLOAD_ON_REMOVE && DLOAD_I_IS_STRING
    if (stored && key.len != 0) {
        DLOAD_I_ACQUIRE(&s->lock);
        dload_i_arena_drop(&s->arena, key.ptr, key.len);
        DLOAD_I_RELEASE(&s->lock);
    }
#endif
    (void)c;
    (void)s;
}

/* The end of an item's value that the cache did not take. */
DLOAD_I_LOCAL void DLOAD_I_FN(i_reject)(DLOAD_I_CACHE *c, DLOAD_I_SHARD *s,
                                        const DLOAD_I_FN(item) * item)
{
    DLOAD_I_FN(removed) old;
    old.value = *item->value;
#if DLOAD_ON_REMOVE
    DLOAD_I_FN(i_leave_key)(&old, item);
#if DLOAD_GROUP
    old.group = item->id.group;
#endif
    old.reason = DLOAD_REMOVED_REJECTED;
#endif
    DLOAD_I_FN(i_end)(c, s, &old);
}

#endif /* DLOAD_I_BODIES */
#endif /* DLOAD_I_HAVE_REMOVED */
