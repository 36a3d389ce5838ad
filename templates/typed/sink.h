/* >>sink -- a loader hears that keys changed in its store.
 *
 * What a channel says concerns this process's cache and flights alone: the store has the new value already,
 * or nothing. A loader that may not hear everything is deaf, and caches nothing (i_put looks): what it has
 * could have changed unheard.
 */
#ifndef DLOAD_I_HAVE_SINK
#define DLOAD_I_HAVE_SINK

#include "keytext.h"
#include "outside.h"

#if DLOAD_I_BODIES && DLOAD_STORE

/* Takes this loader's name off a store's key; false when it is another's. */
DLOAD_I_LOCAL bool DLOAD_I_FN(i_own_text)(const DLOAD_NAME *l, dload_str *text)
{
    const size_t n = l->second.prefix_bytes;
    if (n == 0 || text->len < n || memcmp(text->ptr, l->second.prefix, n) != 0)
        return false;
    text->ptr += n;
    text->len -= n;
    return true;
}

/* One key changed: what is cached of it goes, and so does what is on its way, but for who waits for that.
 * Without the latter an answer from before the change is cached after it: mutant KEY_KEEPS_FLIGHTS. */
DLOAD_I_UNUSED static void DLOAD_I_FN(i_sink_key)(void *ctx, const char *key, size_t key_bytes)
{
    DLOAD_NAME *l = (DLOAD_NAME *)ctx;
    dload_str text;
    DLOAD_I_K own;
    DLOAD_I_FN(removed) old;
    uint64_t group = 0;
    text.ptr = key;
    text.len = key_bytes;
    if (key == NULL || DLOAD_I_FORKED(&l->cache) || !DLOAD_I_FN(i_own_text)(l, &text) ||
        DLOAD_I_FN(i_text_parse)(text.ptr, text.len, l->cache.max_key_bytes, &group, &own) < 0)
        return;
    DLOAD_I_ID id = DLOAD_I_FN(i_id)(&l->cache, own, group);
    DLOAD_I_ACQUIRE(&l->mutex);
    DLOAD_I_FN(i_outdate)(l, &id);
    bool has_old = DLOAD_I_FN(i_drop)(&l->cache, &id, &old);
    DLOAD_I_LEAVE(l);
    if (has_old)
        DLOAD_I_FN(i_end)(&l->cache, DLOAD_I_FN(i_shard)(&l->cache, id.hash), &old);
}

/* Everything goes, and the loader hears from here on, or does not: one step under the mutex, where answers
 * are stored and tokens taken. Going deaf with the cache kept serves what nobody will say has changed
 * (mutant DOWN_KEEPS_CACHE); hearing again with the flights kept caches what was asked for while nobody
 * listened (mutant UP_KEEPS_FLIGHTS). */
DLOAD_I_LOCAL void DLOAD_I_FN(i_sink_forget)(DLOAD_NAME *l, bool deaf)
{
    if (DLOAD_I_FORKED(&l->cache))
        return;
    DLOAD_I_ACQUIRE(&l->mutex);
    DLOAD_I_STORE_RELAXED(&l->cache.deaf, deaf); /* before the shards' locks: i_put looks inside */
    l->core.clear_all_seq = ++l->core.clear_seq;
    uint32_t full = DLOAD_I_FN(i_new_epoch)(&l->cache);
    DLOAD_I_LEAVE(l);
    if (full != 0)
        DLOAD_I_FN(i_full_sweep)(&l->cache);
}

DLOAD_I_UNUSED static void DLOAD_I_FN(i_sink_all)(void *ctx)
{
    DLOAD_NAME *l = (DLOAD_NAME *)ctx;
    DLOAD_I_FN(i_sink_forget)(l, DLOAD_I_LOAD_RELAXED(&l->cache.deaf));
}

DLOAD_I_UNUSED static void DLOAD_I_FN(i_sink_down)(void *ctx)
{
    DLOAD_I_FN(i_sink_forget)((DLOAD_NAME *)ctx, true);
}

DLOAD_I_UNUSED static void DLOAD_I_FN(i_sink_up)(void *ctx)
{
    DLOAD_I_FN(i_sink_forget)((DLOAD_NAME *)ctx, false);
}

DLOAD_I_UNUSED static void DLOAD_I_FN(i_sink_only_reads)(void *ctx)
{
    DLOAD_NAME *l = (DLOAD_NAME *)ctx;
    if (DLOAD_I_FORKED(&l->cache))
        return;
    DLOAD_I_ACQUIRE(&l->mutex);
    l->second.only_hits = true;
    DLOAD_I_LEAVE(l);
}

DLOAD_I_API dload_status DLOAD_I_FN(sink)(DLOAD_NAME *l, dload_sink *sink)
{
    if (l == NULL || sink == NULL)
        return DLOAD_EINVAL;
    if (DLOAD_I_FORKED(&l->cache))
        return DLOAD_EFORK;
    memset(sink, 0, sizeof *sink);
    sink->key = DLOAD_I_FN(i_sink_key);
    sink->all = DLOAD_I_FN(i_sink_all);
    sink->down = DLOAD_I_FN(i_sink_down);
    sink->up = DLOAD_I_FN(i_sink_up);
    sink->only_reads = DLOAD_I_FN(i_sink_only_reads);
    sink->ctx = l;
    DLOAD_I_FN(i_sink_down)(l); /* nothing is heard yet: mutant STARTS_UP */
    return DLOAD_OK;
}

#endif /* DLOAD_I_BODIES && DLOAD_STORE */
#endif /* DLOAD_I_HAVE_SINK */
