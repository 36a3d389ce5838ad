/* >>second_level -- a batch asks the store before the function, and gives it what the function answered.
 *
 * The function sees the keys that the store did not answer: b->keys and b->n are those, and the index that
 * it answers by is translated. What the store answered is published before the function is called. Answers go
 * to the store once the function is through, in one request; whatever was cleared since the batch was sent is
 * not among them. No failure of the store is anybody's answer.
 *
 * No lock is held here where nothing else is said: this runs where the fetch function runs.
 */
#ifndef DLOAD_I_HAVE_SECOND
#define DLOAD_I_HAVE_SECOND

#include "leased.h"

#if DLOAD_I_BODIES && DLOAD_STORE

/* Where a batch is. */
#ifndef DLOAD_I_STAGE_OPEN
#define DLOAD_I_STAGE_NONE 0u /* the function has not been called */
#define DLOAD_I_STAGE_OPEN 1u /* its answers are to be stored */
#define DLOAD_I_STAGE_DONE 2u /* they were, or are not to be any more */
#endif

/* ---- memory of a batch ---- */

DLOAD_I_LOCAL size_t DLOAD_I_FN(i_second_bytes)(uint32_t cap, size_t *kept_at, size_t *places_at)
{
    size_t total = 0;
    (void)dload_i_carve(&total, cap, sizeof(DLOAD_I_K));
    *kept_at = dload_i_carve(&total, cap, sizeof(DLOAD_I_V));
    *places_at = dload_i_carve(&total, cap, sizeof(uint32_t));
    return total;
}

DLOAD_I_LOCAL void DLOAD_I_FN(i_second_give)(DLOAD_I_BATCH *b)
{
    size_t unused = 0;
    if (b->second_cap != 0)
        dload_i_free(b->owner->core.env, b->second,
                     DLOAD_I_FN(i_second_bytes)(b->second_cap, &unused, &unused));
    b->second = NULL;
    b->second_cap = 0;
}

/* Room for all places of the batch; false when there is no memory. */
DLOAD_I_LOCAL bool DLOAD_I_FN(i_second_room)(DLOAD_I_BATCH *b)
{
    if (b->base.n <= b->second_cap)
        return true;
    size_t kept_at = 0, places_at = 0;
    size_t n_bytes = DLOAD_I_FN(i_second_bytes)(b->base.cap, &kept_at, &places_at);
    DLOAD_I_FN(i_second_give)(b);
    char *block = n_bytes == SIZE_MAX ? NULL : (char *)dload_i_alloc(b->owner->core.env, n_bytes);
    if (block == NULL)
        return false;
    b->second = block;
    b->second_cap = b->base.cap;
    b->asked = (DLOAD_I_K *)(void *)block;
    b->kept = (DLOAD_I_V *)(void *)(block + kept_at);
    b->places = (uint32_t *)(void *)(block + places_at);
    return true;
}

/* ---- reading ---- */

/* Adds the key at place i; NULL when there is no memory. */
DLOAD_I_LOCAL dload_i_mark_of *DLOAD_I_FN(i_add_place)(dload_i_letter *t, const DLOAD_I_BATCH *b,
                                                       uint32_t i)
{
    char text[DLOAD_I_KEYTEXT_MAX];
    dload_str tail;
    size_t n = DLOAD_I_FN(i_key_text)(text, b->base.group, &b->own_keys[i], &tail);
    dload_i_mark_of *m = dload_i_letter_add(t, text, n, tail);
    if (m != NULL) {
        m->hash = b->base.flights[i].hash;
        m->place = i;
    }
    return m;
}

DLOAD_I_LOCAL uint64_t DLOAD_I_FN(i_group_of)(const DLOAD_I_BATCH *b)
{
    return DLOAD_GROUP ? b->base.group : 0;
}

/* The request for what the store may be asked for and has not answered, or NULL: nothing, or no memory. The
 * mutex is held. */
DLOAD_I_LOCAL dload_i_letter *DLOAD_I_FN(i_question)(DLOAD_NAME *l, DLOAD_I_BATCH *b, bool again)
{
    dload_i_second *s = &l->second;
    uint64_t group = DLOAD_I_FN(i_group_of)(b);
    const dload_store_kind kind = s->lease_ns != 0 ? DLOAD_STORE_LEASE : DLOAD_STORE_GET;
    dload_i_letter *t = DLOAD_I_FN(i_second_room)(b) ? dload_i_letter_take(s, kind) : NULL;
    b->ask_in_ns = DLOAD_NEVER;
    for (uint32_t i = 0; i < b->base.n; i++) {
        dload_i_flight *f = &b->base.flights[i];
        if (again && (f->answered || (f->second & DLOAD_I_SECOND_OVER) != 0))
            continue;
        f->second &= (uint8_t)~DLOAD_I_SECOND_BUSY; /* unless the store says so again */
        if (t == NULL)
            continue;
        bool fresh = (f->second & DLOAD_I_SECOND_FRESH) != 0; /* mutant FRESH_FROM_STORE */
        bool hit = (f->second & DLOAD_I_SECOND_HIT) != 0;
        if (!fresh && !hit && !dload_i_is_unsent(s, f->hash, group) /* mutant UNSENT_READ */)
            (void)DLOAD_I_FN(i_add_place)(t, b, i);
    }
    uint32_t n = t != NULL ? t->n : 0;
    l->core.stats.store_bypassed += again ? 0 : b->base.n - n;
    if (n == 0) {
        if (t != NULL)
            dload_i_letter_give(s, t);
        return NULL;
    }
    t->batch = &b->base;
    t->group = group;
    dload_i_letter_keys(t);
    dload_i_letter_close(t);
    for (uint32_t i = 0; i < t->n && kind == DLOAD_STORE_LEASE; i++)
        dload_i_lease_item(&t->items[i], b->lease, s->lease_ns);
    s->n_out++;
    return t;
}

/* Makes a value of a stored body. */
DLOAD_I_LOCAL dload_status DLOAD_I_FN(i_unpack)(const DLOAD_NAME *l, const dload_i_stored *h,
                                                const char *body, DLOAD_I_V *value)
{
    if (l->cfg.decode != NULL)
        return h->kind != DLOAD_I_STORED_VALUE ||
                       l->cfg.decode(l->cfg.ctx, body, (size_t)h->n_bytes, value) < 0
                   ? DLOAD_EDECODE
                   : DLOAD_OK;
#if DLOAD_I_VALUE_IS_BLOB
    value->ptr = NULL;
    value->len = 0;
    return h->kind == DLOAD_I_STORED_NULL
               ? DLOAD_OK
               : dload_blob_make(l->core.env, body, (size_t)h->n_bytes, value);
#else
    if (h->kind != DLOAD_I_STORED_VALUE || h->n_bytes != sizeof *value)
        return DLOAD_EDECODE;
    memcpy(value, body, sizeof *value);
    return DLOAD_OK;
#endif
}

/* How long an answer that the store has may be kept here: never longer than one of the function's own. 0 =
 * it is not to be used. */
DLOAD_I_LOCAL uint64_t DLOAD_I_FN(i_left_here)(const DLOAD_NAME *l, const dload_i_stored *h,
                                               uint64_t at_store_ns)
{
    uint64_t own_ns = h->kind == DLOAD_I_STORED_STATUS
                          ? DLOAD_I_FN(i_error_ttl)(l, (dload_status)h->status)
                          : l->cache.ttl_ns;
    uint64_t left_ns = dload_i_stored_left(h, dload_i_clock_wall(), at_store_ns);
    return left_ns < own_ns ? left_ns : own_ns;
}

/* Item i of what the store said becomes its key's answer. DLOAD_OK; DLOAD_MISSING: it is not there; what is wrong
 * with it otherwise. */
DLOAD_I_LOCAL dload_status DLOAD_I_FN(i_take_one)(DLOAD_NAME *l, DLOAD_I_BATCH *b,
                                                  const dload_i_letter *t, uint32_t i)
{
    const dload_store_item *item = &t->items[i];
    const uint32_t place = t->marks[i].place;
    dload_i_stored h;
    const char *body = NULL;
    DLOAD_I_V value;
    if (item->status != DLOAD_OK)
        return item->status < 0 ? item->status : DLOAD_EDECODE;
    dload_status st = dload_i_stored_open(item->value, item->value_bytes, l->second.layout,
                                          dload_i_letter_key(t, i), &h, &body);
    if (st < 0)
        return st;
    uint64_t left_ns = DLOAD_I_FN(i_left_here)(l, &h, item->ttl_ns);
    if (left_ns == 0)
        return DLOAD_EDECODE;
    if (!DLOAD_TTL && left_ns != DLOAD_NEVER)
        left_ns = 0; /* delivered, not cached: it would stay for ever */
    if (h.kind != DLOAD_I_STORED_STATUS)
        st = DLOAD_I_FN(i_unpack)(l, &h, body, &value);
    if (st < 0)
        return st == DLOAD_ENOMEM ? st : DLOAD_EDECODE;
    bool moved = h.kind != DLOAD_I_STORED_STATUS;
    DLOAD_I_ACQUIRE(&l->mutex);
    b->base.flights[place].second |= DLOAD_I_SECOND_HIT;
    st = DLOAD_I_FN(i_answer_held)(b, place, moved ? DLOAD_OK : (dload_status)h.status, &value,
                                   &moved, left_ns);
    DLOAD_I_LEAVE(l);
    DLOAD_I_FN(i_unwanted)(&value, moved);
    return st;
}

/* Takes what the store said. Answers are published at once when others still have to be fetched. */
DLOAD_I_LOCAL void DLOAD_I_FN(i_take_answers)(DLOAD_NAME *l, DLOAD_I_BATCH *b, dload_i_letter *t,
                                              bool was_async, bool again)
{
    uint32_t n_hits = 0, n_refused = 0, n_failed = t->status < 0;
    for (uint32_t i = 0; i < t->n && t->status >= 0; i++) {
        dload_status st = DLOAD_I_FN(i_take_one)(l, b, t, i);
        n_hits += st == DLOAD_OK;
        n_refused += st == DLOAD_ECORRUPT || st == DLOAD_ELAYOUT || st == DLOAD_EDECODE;
        n_failed += st < 0 && st != DLOAD_MISSING && st != DLOAD_ECORRUPT && st != DLOAD_ELAYOUT &&
                    st != DLOAD_EDECODE && st != DLOAD_ECANCELED && st != DLOAD_EBUSY;
        t->marks[i].status = st;
    }
    dload_store_release(&t->op);
    DLOAD_I_ACQUIRE(&l->mutex);
    DLOAD_I_FN(i_after_lease)(l, b, t, again);
    dload_stats *stats = &l->core.stats;
    stats->store_hits += n_hits;
    if (again)
        stats->store_misses -= n_hits; /* they were counted before */
    else
        stats->store_misses += t->n - n_hits;
    stats->store_refused += n_refused;
    stats->store_errors += n_failed;
    dload_i_letter_give(&l->second, t);
    if (!was_async)
        l->second.n_out--; /* otherwise whoever brought it does that */
    if (n_hits != 0 && n_hits < b->base.n && b->base.state == DLOAD_I_RUNNING) {
        b->base.ended_ns = dload_i_now(l->core.env);
        dload_i_publish_all(&l->core, &b->base, false, DLOAD_OK);
    }
    DLOAD_I_LEAVE(l);
}

/* What the function is to be called for now: false when that is nothing. Keys that somebody else fetches are left
 * out. */
DLOAD_I_LOCAL bool DLOAD_I_FN(i_narrow)(DLOAD_NAME *l, DLOAD_I_BATCH *b)
{
    const uint8_t out = DLOAD_I_SECOND_HIT | DLOAD_I_SECOND_BUSY | DLOAD_I_SECOND_OVER;
    DLOAD_I_ACQUIRE(&l->mutex);
    uint32_t n = 0, n_out = 0;
    for (uint32_t i = 0; i < b->base.n; i++)
        n_out += (b->base.flights[i].second & out) != 0;
    for (uint32_t i = 0; i < b->base.n && n_out != 0; i++) {
        if ((b->base.flights[i].second & out) != 0)
            continue;
        b->places[n] = i; /* mutant PLACES_NOT_MAPPED */
        b->asked[n++] = b->own_keys[i];
    }
    bool goes_on = b->base.state == DLOAD_I_RUNNING && n_out < b->base.n;
    b->stage = goes_on ? DLOAD_I_STAGE_OPEN : DLOAD_I_STAGE_DONE;
    DLOAD_I_LEAVE(l);
    b->keys = n_out != 0 ? b->asked : b->own_keys;
    b->n = n_out != 0 ? n : b->base.n;
    return goes_on;
}

/* ---- writing ---- */

/* How long place i's answer is to stay in the store; 0 = it is not for it. */
DLOAD_I_LOCAL uint64_t DLOAD_I_FN(i_store_ttl)(const DLOAD_NAME *l, const dload_i_flight *f)
{
    if (f->ttl_ns != DLOAD_I_TTL_DEFAULT)
        return f->ttl_ns;
    return l->cfg.store_ttl_ns != 0 ? l->cfg.store_ttl_ns : l->cache.ttl_ns;
}

/* Copies the value at place i for the store, unless that was done. The mutex is held. */
DLOAD_I_LOCAL bool DLOAD_I_FN(i_keep_value)(DLOAD_I_BATCH *b, uint32_t i)
{
    dload_i_flight *f = &b->base.flights[i];
    if ((f->second & DLOAD_I_SECOND_KEPT) == 0 &&
        (f->published || DLOAD_I_FN(i_copy)(&b->kept[i], &b->values[i]) < 0))
        return false;
    f->second |= DLOAD_I_SECOND_KEPT;
    return true;
}

/* An answer is about to move into the cache before its batch has ended: it is copied for the store. The
 * mutex is held. */
DLOAD_I_LOCAL void DLOAD_I_FN(i_keep_answer)(DLOAD_NAME *l, DLOAD_I_BATCH *b, uint32_t i)
{
    dload_i_flight *f = &b->base.flights[i];
    if (!DLOAD_I_FN(i_has_second)(l) || b->stage != DLOAD_I_STAGE_OPEN || f->status < 0 ||
        (f->second & DLOAD_I_SECOND_HIT) != 0 || b->base.n > b->second_cap ||
        (f->second & DLOAD_I_SECOND_KEPT) != 0 || DLOAD_I_FN(i_store_ttl)(l, f) == 0)
        return;
    if (DLOAD_I_FN(i_copy)(&b->kept[i], &b->values[i]) >= 0)
        f->second |= DLOAD_I_SECOND_KEPT;
}

/* Is the answer at place i to be stored? The mutex is held. */
DLOAD_I_LOCAL bool DLOAD_I_FN(i_is_for_store)(DLOAD_NAME *l, DLOAD_I_BATCH *b, uint32_t i)
{
    const dload_i_flight *f = &b->base.flights[i];
    DLOAD_I_ID id;
    id.hash = f->hash;
    id.key = b->own_keys[i];
#if DLOAD_GROUP
    id.group = b->base.group;
#endif
    return (f->second & (DLOAD_I_SECOND_HIT | DLOAD_I_SECOND_BUSY | DLOAD_I_SECOND_OVER)) == 0 &&
           f->kept == 0 &&
           (l->second.lease_ns == 0 ||
            (f->second & DLOAD_I_SECOND_MINE) != 0) && /* mutant UNLEASED_WRITTEN */
           !(f->detached ||
             DLOAD_I_FN(i_cleared_since)(l, &id, b->base.token)) /* mutant CLEARED_WRITTEN */
           && !dload_i_is_unsent(&l->second, f->hash, DLOAD_I_FN(i_group_of)(b));
}

/* The request that stores what the function answered, with everything but the values; NULL = there is
 * nothing to store, or no memory. The mutex is held. */
DLOAD_I_LOCAL dload_i_letter *DLOAD_I_FN(i_answers_for)(DLOAD_NAME *l, DLOAD_I_BATCH *b,
                                                        dload_status status, uint64_t rest_ttl_ns)
{
    dload_i_second *s = &l->second;
    const bool leased = s->lease_ns != 0;
    dload_i_letter *t = dload_i_letter_take(s, leased ? DLOAD_STORE_FILL : DLOAD_STORE_SET);
    if (t == NULL)
        return NULL;
    t->batch = s->is_async ? NULL : &b->base;
    t->group = DLOAD_I_FN(i_group_of)(b);
    for (uint32_t i = 0; i < b->base.n; i++) {
        dload_i_flight *f = &b->base.flights[i];
        dload_status answer = f->answered  ? (dload_status)f->status
                              : status < 0 ? status
                                           : DLOAD_MISSING;
        uint64_t ttl_ns = f->answered ? DLOAD_I_FN(i_store_ttl)(l, f) : rest_ttl_ns;
        if (ttl_ns == 0 || !DLOAD_I_FN(i_is_for_store)(l, b, i) ||
            (answer >= 0 && !DLOAD_I_FN(i_keep_value)(b, i)))
            continue;
        dload_i_mark_of *m = DLOAD_I_FN(i_add_place)(t, b, i);
        if (m == NULL)
            break;
        m->ttl_ns = ttl_ns;
        m->status = answer;
        f->second |= DLOAD_I_SECOND_GIVEN;
    }
    if (t->n == 0) {
        dload_i_letter_give(s, t);
        return NULL;
    }
    dload_i_letter_keys(t);
    t->next = s->writing;
    s->writing = t; /* from here on deletes of these keys wait: mutant DELETE_BEFORE_WRITE */
    return t;
}

/* Puts a value's bytes behind what the letter has; h->kind and *n_bytes say what they are. */
DLOAD_I_LOCAL bool DLOAD_I_FN(i_pack)(const DLOAD_NAME *l, dload_i_letter *t, DLOAD_I_V *value,
                                      dload_i_stored *h, size_t *n_bytes)
{
    if (l->cfg.encode != NULL) {
        size_t cap = 256;
        for (int i = 0; i < 2; i++) {
            if (cap > DLOAD_I_STORED_MAX || !dload_i_letter_bytes(t, cap))
                return false;
            *n_bytes = 0;
            if (l->cfg.encode(l->cfg.ctx, value, t->bytes + t->n_bytes, cap, n_bytes) < 0)
                return false;
            if (*n_bytes <= cap) {
                t->n_bytes += *n_bytes;
                return true;
            }
            cap = *n_bytes;
        }
        return false; /* it did not keep its word */
    }
#if DLOAD_I_VALUE_IS_BLOB
    const void *bytes = value->ptr;
    *n_bytes = value->len;
    if (bytes == NULL)
        h->kind = DLOAD_I_STORED_NULL;
#else
    const void *bytes = value;
    *n_bytes = sizeof *value;
    DLOAD_I_CLEAR_PADDING(value);
    (void)h;
#endif
    if (*n_bytes > DLOAD_I_STORED_MAX || !dload_i_letter_bytes(t, *n_bytes))
        return false;
    dload_i_letter_put(t, bytes, *n_bytes);
    return true;
}

/* Writes item i's head and body; false when it cannot be. */
DLOAD_I_LOCAL bool DLOAD_I_FN(i_seal_one)(DLOAD_NAME *l, DLOAD_I_BATCH *b, dload_i_letter *t,
                                          uint32_t i, uint64_t wall_ns)
{
    dload_i_mark_of *m = &t->marks[i];
    dload_i_stored h;
    size_t n_bytes = 0;
    memset(&h, 0, sizeof h);
    h.layout = l->second.layout;
    h.ttl_ns = m->ttl_ns;
    h.status = m->status < 0 ? m->status : 0;
    h.kind = m->status < 0 ? DLOAD_I_STORED_STATUS : DLOAD_I_STORED_VALUE;
    if (!dload_i_letter_bytes(t, sizeof h))
        return false;
    m->value_at = t->n_bytes;
    t->n_bytes += sizeof h;
    if (m->status >= 0 && !DLOAD_I_FN(i_pack)(l, t, &b->kept[m->place], &h, &n_bytes)) {
        t->n_bytes = m->value_at;
        return false;
    }
    h.n_bytes = n_bytes;
    dload_i_stored_seal(&h, dload_i_letter_key(t, i), wall_ns, t->bytes + m->value_at);
    t->items[i].value_bytes = sizeof h + n_bytes;
    return true;
}

/* Values that were copied for the store are not needed any more. */
DLOAD_I_LOCAL void DLOAD_I_FN(i_drop_kept)(DLOAD_I_BATCH *b)
{
    for (uint32_t i = 0; i < b->base.n; i++) {
        dload_i_flight *f = &b->base.flights[i];
        if ((f->second & DLOAD_I_SECOND_KEPT) != 0)
            DLOAD_I_FN(i_release)(&b->kept[i]);
        f->second &= (uint8_t)~DLOAD_I_SECOND_KEPT;
    }
}

/* The function is through: what it answered is stored, when it holds its locks still. rest_ttl_ns is for keys that it did not answer. */
DLOAD_I_LOCAL void DLOAD_I_FN(i_write_back)(DLOAD_NAME *l, DLOAD_I_BATCH *b, dload_status status,
                                            uint64_t rest_ttl_ns, bool holds)
{
    dload_i_letter *t = NULL;
    uint32_t n = 0, n_lost = 0;
    DLOAD_I_ACQUIRE(&l->mutex);
    if (holds && b->stage == DLOAD_I_STAGE_OPEN && b->base.state == DLOAD_I_RUNNING &&
        b->base.n <= b->second_cap)
        t = DLOAD_I_FN(i_answers_for)(l, b, status, rest_ttl_ns);
    b->stage = DLOAD_I_STAGE_DONE;
    DLOAD_I_LEAVE(l);
    uint64_t wall_ns = t != NULL ? dload_i_clock_wall() : 0;
    for (uint32_t i = 0; t != NULL && i < t->n; i++) {
        if (!DLOAD_I_FN(i_seal_one)(l, b, t, i, wall_ns))
            t->items[i].value_bytes = 0;
    }
    DLOAD_I_FN(i_drop_kept)(b);
    if (t == NULL)
        return;
    DLOAD_I_ACQUIRE(&l->mutex);
    for (uint32_t i = 0; i < t->n; i++) { /* those without a value are left out */
        bool has_value = t->items[i].value_bytes != 0;
        if (has_value) {
            t->items[n] = t->items[i];
            t->marks[n++] = t->marks[i];
        } else
            b->base.flights[t->marks[i].place].second &= (uint8_t)~DLOAD_I_SECOND_GIVEN;
        n_lost += !has_value;
    }
    t->n = n;
    l->core.stats.store_errors += n_lost;
    dload_i_letter_close(t);
    for (uint32_t i = 0; i < t->n; i++)
        memcpy(t->items[i].lease, b->lease, sizeof b->lease);
    if (t->n != 0)
        (void)dload_i_letter_send(&l->second, t);
    else
        dload_i_letter_ends(&l->second, t, DLOAD_OK);
    if (!l->second.is_async)
        dload_i_send_clears(&l->second, false); /* those that waited for this */
    DLOAD_I_LEAVE(l);
}

#endif /* DLOAD_I_BODIES && DLOAD_STORE */
#endif /* DLOAD_I_HAVE_SECOND */
