/* >>second -- the second level of a loader: clears that the store has not heard, and requests that end.
 *
 * What was cleared is deleted in the store, too: until that was acknowledged the key (its group, everything) is neither read from the store
 * nor written to it, so that a store which does not answer never brings an old value back. A delete waits for
 * writes of its key that are under way: they would put back what it removes.
 *
 * The loader's mutex is held everywhere here where nothing else is said, and let go while the store works.
 */
#include "letter.h"

#if defined(DLOAD_STORE) && DLOAD_STORE && !defined(DLOAD_I_SECOND_H)
#define DLOAD_I_SECOND_H

/* ---- clears that the store has not heard ---- */

DLOAD_I_LOCAL bool dload_i_all_unsent(const dload_i_second *s)
{
    return s->all_wanted != s->all_done;
}

/* Is the store to be left alone with this key? May say yes for another one of the same hash. */
DLOAD_I_LOCAL bool dload_i_is_unsent(const dload_i_second *s, uint64_t hash, uint64_t group)
{
    if (dload_i_all_unsent(s))
        return true;
    for (const dload_i_unsent *u = s->unsent; u != NULL; u = u->next) {
        if (u->group == group && (u->is_group || u->hash == hash))
            return true;
    }
    return false;
}

DLOAD_I_LOCAL size_t dload_i_unsent_bytes(const dload_i_unsent *u)
{
    return sizeof *u + u->n_bytes;
}

/* Takes out those that go with this letter and were acknowledged, or, with the letter NULL, that go with none. */
DLOAD_I_LOCAL void dload_i_unsent_cut(dload_i_second *s, const dload_i_letter *t)
{
    dload_i_unsent **at = &s->unsent;
    s->unsent_tail = NULL;
    while (*at != NULL) {
        dload_i_unsent *u = *at;
        dload_status st = t == NULL || u->letter != t ? DLOAD_OK : t->items[u->item].status;
        bool acknowledged =
            st == DLOAD_OK || st == DLOAD_ETOOBIG; /* what is too big was never there */
        if (u->letter == t && acknowledged) {
            *at = u->next;
            s->n_unsent--;
            dload_i_free(s->core->env, u, dload_i_unsent_bytes(u));
            continue;
        }
        if (u->letter == t)
            u->letter = NULL;
        s->unsent_tail = u;
        at = &u->next;
    }
}

/* Everything is to be cleared in the store: nothing else has to be any more. */
DLOAD_I_LOCAL void dload_i_clear_all_later(dload_i_second *s)
{
    s->all_wanted++;
    dload_i_unsent_cut(s, NULL);
}

/* A key's (or group's) text is to be deleted in the store. Where too much is waiting, or no memory is left,
 * everything is. */
DLOAD_I_LOCAL void dload_i_clear_later(dload_i_second *s, uint64_t hash, uint64_t group,
                                       bool is_group, const char *text, size_t n, dload_str tail)
{
    if (dload_i_all_unsent(s) && !s->all_out)
        return; /* it will be cleared with everything */
    dload_i_unsent *u = NULL;
    if (s->n_unsent < DLOAD_I_UNSENT_MAX)
        u = (dload_i_unsent *)dload_i_alloc(s->core->env, sizeof *u + n + tail.len);
    if (u == NULL) {
        dload_i_clear_all_later(s); /* mutant UNSENT_FORGOTTEN */
        return;
    }
    memset(u, 0, sizeof *u);
    u->hash = hash;
    u->group = group;
    u->is_group = is_group;
    u->n_bytes = n + tail.len;
    char *to = (char *)(u + 1);
    if (n != 0)
        memcpy(to, text, n);
    if (tail.len != 0)
        memcpy(to + n, tail.ptr, tail.len);
    *(s->unsent_tail == NULL ? &s->unsent : &s->unsent_tail->next) = u;
    s->unsent_tail = u;
    s->n_unsent++;
}

/* Is a write under way that would undo this one? */
DLOAD_I_LOCAL bool dload_i_is_written(const dload_i_second *s, const dload_i_unsent *u)
{
    for (const dload_i_letter *t = s->writing; t != NULL; t = t->next) {
        for (uint32_t i = 0; i < t->n && t->group == u->group; i++) {
            if (u->is_group || t->marks[i].hash == u->hash)
                return true;
        }
    }
    return false;
}

/* ---- requests that end ---- */

DLOAD_I_LOCAL uint64_t dload_i_letter_failures(const dload_i_letter *t, dload_status st)
{
    uint64_t n = 0;
    for (uint32_t i = 0; i < t->n && st >= 0; i++)
        n += t->items[i].status < 0 && t->items[i].status != DLOAD_MISSING &&
             t->items[i].status != DLOAD_ELOCK;
    return st >= 0 ? n : 1;
}

/* Answers whose lease was lost are delivered, and cached nowhere: mutant LOST_CACHED. Returns how many. Those that
 * the store did not take leave their leases to be dropped: others would wait for them until they end. */
DLOAD_I_LOCAL uint32_t dload_i_leases_lost(const dload_i_letter *t)
{
    uint32_t n_lost = 0;
    for (uint32_t i = 0; i < t->n && t->op.kind == DLOAD_STORE_FILL; i++) {
        const bool lost = t->items[i].status == DLOAD_ELOCK;
        n_lost += lost;
        if (t->batch == NULL)
            continue;
        dload_i_flight *f = &t->batch->flights[t->marks[i].place];
        if (!lost) {
            if (t->items[i].status < 0)
                f->second &= (uint8_t)~DLOAD_I_SECOND_GIVEN;
            continue;
        }
        if (!f->answered)
            f->status = t->marks[i].status;
        f->answered = 1;
        f->ttl_ns = 0;
    }
    return n_lost;
}

/* A SET, FILL, DROP, DELETE or CLEAR is through, and its letter with it. */
DLOAD_I_LOCAL void dload_i_letter_ends(dload_i_second *s, dload_i_letter *t, dload_status st)
{
    dload_stats *stats = &s->core->stats;
    const uint64_t n_failed = dload_i_letter_failures(t, st);
    stats->store_errors += n_failed;
    if (t->op.kind == DLOAD_STORE_DROP) {
        dload_i_letter_give(s, t);
        return;
    }
    if (t->op.kind == DLOAD_STORE_SET || t->op.kind == DLOAD_STORE_FILL) {
        const uint32_t n_lost = st >= 0 ? dload_i_leases_lost(t) : 0;
        stats->leases_lost += n_lost;
        dload_i_letter **at = &s->writing;
        while (*at != t)
            at = &(*at)->next;
        *at = t->next;
        stats->store_writes += st >= 0 ? t->n - n_failed - n_lost : 0;
    } else {
        for (uint32_t i = 0; i < t->n && st < 0; i++)
            t->items[i].status = st;
        if (t->all_seq != 0) {
            s->all_out = false;
            if (t->items[0].status == DLOAD_OK)
                s->all_done = t->all_seq;
        } else {
            dload_i_unsent_cut(s, t);
        }
        stats->store_deletes += st >= 0 ? t->n - n_failed : 0;
        if (n_failed != 0)
            s->retry_at_ns = dload_i_add_ns(dload_i_now(s->core->env), DLOAD_I_RETRY_NS);
        if (dload_i_all_unsent(s) && !s->all_out)
            dload_i_unsent_cut(s, NULL);
    }
    dload_i_letter_give(s, t);
}

/* The same, told by the store; no lock is held. Whatever waits for it is the loop's to do. */
DLOAD_I_UNUSED static void dload_i_letter_done(dload_store_op *op, dload_status st)
{
    dload_i_letter *t = (dload_i_letter *)(void *)op; /* op is its first member */
    dload_i_second *s = t->second;
    dload_i_core *c = s->core;
    dload_i_core_lock(c);
    if (op->kind == DLOAD_STORE_GET || op->kind == DLOAD_STORE_LEASE) {
        t->status = st;
        t->next = NULL;
        dload_i_letter **at = &s->got;
        while (*at != NULL)
            at = &(*at)->next;
        *at = t; /* batches go on in the order in which the store answered */
    } else {
        dload_i_letter_ends(s, t, st);
    }
    dload_i_core_unlock(c);
    c->wake(c->wake_ctx);
    dload_i_core_lock(c);
    s->n_out--; /* only now may the loader be destroyed */
    dload_i_core_unlock(c);
}

/* Sends a closed letter that is no GET, and ends it unless the store will; a thread that is cancelled meanwhile
 * goes on to there. Lets go of the mutex. */
DLOAD_I_LOCAL dload_status dload_i_letter_send(dload_i_second *s, dload_i_letter *t)
{
    const dload_i_sync *sync = s->core->sync;
    int before = sync->hold != NULL ? sync->hold() : 0;
    s->n_out++;
    dload_i_core_unlock(s->core);
    t->op.done = s->is_async ? dload_i_letter_done : NULL;
    dload_status st = dload_store_run(s->store, &t->op);
    dload_i_core_lock(s->core);
    if (st != DLOAD_PENDING) { /* otherwise the letter may be gone */
        dload_i_letter_ends(s, t, st);
        s->n_out--;
    }
    if (sync->hold != NULL)
        sync->unhold(before);
    return st;
}

/* ---- sending clears ---- */

/* The next request of those that are waiting, or NULL. */
DLOAD_I_LOCAL dload_i_letter *dload_i_next_clear(dload_i_second *s)
{
    const dload_str none = {NULL, 0};
    if (dload_i_all_unsent(s)) {
        /* Mutant CLEAR_BESIDE_WRITE */
        dload_i_letter *t =
            s->all_out || s->writing != NULL ? NULL : dload_i_letter_take(s, DLOAD_STORE_CLEAR);
        if (t != NULL && dload_i_letter_add(t, NULL, 0, none) == NULL) {
            dload_i_letter_give(s, t);
            t = NULL;
        }
        if (t != NULL) {
            t->all_seq = s->all_wanted;
            s->all_out = true;
        }
        return t;
    }
    dload_i_letter *t = NULL;
    for (dload_i_unsent *u = s->unsent; u != NULL; u = u->next) {
        dload_store_kind kind = u->is_group ? DLOAD_STORE_CLEAR : DLOAD_STORE_DELETE;
        if (u->letter != NULL || (t != NULL && t->op.kind != kind) || dload_i_is_written(s, u))
            continue;
        if (t == NULL && (t = dload_i_letter_take(s, kind)) == NULL)
            return NULL;
        if (dload_i_letter_add(t, (const char *)(u + 1), u->n_bytes, none) == NULL)
            break;
        u->letter = t;
        u->item = t->n - 1;
        if (t->n == (u->is_group ? 1u : DLOAD_I_DELETE_MAX))
            break;
    }
    if (t != NULL && t->n == 0) {
        dload_i_letter_give(s, t);
        return NULL;
    }
    return t;
}

/* Is there a clear that could be sent, and when? DLOAD_NEVER = no. */
DLOAD_I_LOCAL uint64_t dload_i_clears_at(const dload_i_second *s)
{
    if (dload_i_all_unsent(s))
        return s->all_out || s->writing != NULL ? DLOAD_NEVER : s->retry_at_ns;
    for (const dload_i_unsent *u = s->unsent; u != NULL; u = u->next) {
        if (u->letter == NULL && !dload_i_is_written(s, u))
            return s->retry_at_ns;
    }
    return DLOAD_NEVER;
}

/* Sends the clears that wait, but for those that a write holds up. at_once: even if one failed a moment ago. */
DLOAD_I_NOINLINE void dload_i_send_clears(dload_i_second *s, bool at_once)
{
    while (s->unsent != NULL || dload_i_all_unsent(s)) {
        if (!at_once && dload_i_now(s->core->env) < s->retry_at_ns)
            return;
        dload_i_letter *t = dload_i_next_clear(s);
        if (t == NULL && dload_i_clears_at(s) != DLOAD_NEVER) /* no memory */
            s->retry_at_ns = dload_i_add_ns(dload_i_now(s->core->env), DLOAD_I_RETRY_NS);
        if (t == NULL)
            return;
        dload_i_letter_keys(t);
        dload_i_letter_close(t);
        uint64_t errors = s->core->stats.store_errors;
        dload_status st = dload_i_letter_send(s, t);
        if (st != DLOAD_PENDING && s->core->stats.store_errors != errors)
            return; /* later */
    }
}

/* ---- blocking calls ---- */

DLOAD_I_LOCAL void dload_i_blocked_enter(dload_i_second *s, dload_i_blocked *call)
{
    call->self = dload_i_self(s->core->env);
    call->next = s->blocked;
    s->blocked = call;
}

DLOAD_I_LOCAL void dload_i_blocked_leave(dload_i_second *s, const dload_i_blocked *call)
{
    dload_i_blocked **at = &s->blocked;
    while (*at != NULL && *at != call)
        at = &(*at)->next;
    if (*at != NULL)
        *at = call->next;
}

/* May a batch that is sent here come back later? */
DLOAD_I_LOCAL bool dload_i_may_come_back(const dload_i_second *s)
{
    const dload_i_blocked *call = s->blocked;
    if (!s->is_async || call == NULL)
        return s->is_async;
    uint64_t self = dload_i_self(s->core->env);
    while (call != NULL && call->self != self)
        call = call->next;
    return call == NULL; /* mutant BLOCKED_COMES_BACK */
}

/* ---- batches whose keys the store was asked for ---- */

/* Goes on with what the store said: the typed half is called again, as dload_i_run calls it. */
DLOAD_I_LOCAL void dload_i_go_on(dload_i_core *c, dload_i_batch *b)
{
    if (b->state != DLOAD_I_RUNNING) {
        dload_i_finish(c, b, DLOAD_ETIMEDOUT); /* given up meanwhile */
        return;
    }
    int before = c->sync->hold != NULL ? c->sync->hold() : 0;
    DLOAD_I_STORE_RELEASE(&b->runner, dload_i_self(c->env));
    DLOAD_I_STORE_RELEASE(&b->in_fetch, (uint8_t)1);
    dload_i_core_unlock(c);
    dload_i_run_fetch(c, b);
    if (c->sync->hold != NULL)
        c->sync->unhold(before);
}

/* The end. No lock is needed. */
DLOAD_I_LOCAL void dload_i_second_end(dload_i_second *s)
{
    while (s->free_ != NULL) {
        dload_i_letter *t = s->free_;
        s->free_ = t->next;
        dload_i_letter_empty(t, 0);
        dload_i_free(s->core->env, t, sizeof *t);
    }
    while (s->unsent != NULL) {
        dload_i_unsent *u = s->unsent;
        s->unsent = u->next;
        dload_i_free(s->core->env, u, dload_i_unsent_bytes(u));
    }
}

/* Is this a name that a store may have before its keys? */
DLOAD_I_LOCAL bool dload_i_store_named(dload_i_second *s, const char *name)
{
    size_t n = 0;
    for (; name[n] != '\0'; n++) {
        char ch = name[n];
        bool ok = (ch >= 'A' && ch <= 'Z') || (ch >= 'a' && ch <= 'z') ||
                  (ch >= '0' && ch <= '9') || ch == '_' || ch == '.' || ch == '-';
        if (!ok || n == DLOAD_I_STORE_NAME_MAX)
            return false;
        s->prefix[n] = ch;
    }
    s->prefix[n] = ':';
    s->prefix_bytes = n + 1;
    return n != 0;
}

#endif /* DLOAD_STORE */
