/* dataloader_postgres/steps.h -- a request to the store: which statement comes next.
 *
 * SPDX-License-Identifier: MIT
 *
 * A part of dataloader_postgres.h, which includes it. Nothing here sends or waits: _i_next says what is to be sent,
 * _i_answered (answers.h) is told what came of it. Who does the sending is a thread that waits (store.h) or an event
 * loop (loop.h).
 */
#ifndef DLOAD_POSTGRES_STEPS_H
#define DLOAD_POSTGRES_STEPS_H

#ifndef DLOAD_POSTGRES_H
#error "dataloader_postgres/steps.h: include dataloader_postgres.h instead"
#endif

/* ---- beginning and end ---- */

/* Sorts by key; equal keys stay in the request's order, which is that of their addresses. */
DLOAD_I_LOCAL int dload_postgres_i_by_key(const void *a, const void *b)
{
    const dload_store_item *x = *(dload_store_item *const *)a;
    const dload_store_item *y = *(dload_store_item *const *)b;
    const size_t n = x->key_bytes < y->key_bytes ? x->key_bytes : y->key_bytes;
    const int by_bytes = memcmp(x->key, y->key, n);
    if (by_bytes != 0)
        return by_bytes;
    if (x->key_bytes != y->key_bytes)
        return x->key_bytes < y->key_bytes ? -1 : 1;
    return x < y ? -1 : x > y;
}

/* A job without a request: it looks at the table, and makes it when it is missing. */
DLOAD_I_LOCAL void dload_postgres_i_begin_none(dload_postgres_job *j, dload_postgres_store *s)
{
    memset(j, 0, sizeof *j);
    j->s = s;
    j->stage = DLOAD_POSTGRES_I_AT_END;
}

/* Begins a request. DLOAD_PENDING: it is for the server; DLOAD_OK: it is through already; DLOAD_ENOMEM, DLOAD_EINVAL. In any case
 * _i_end is to be called. */
DLOAD_I_LOCAL dload_status dload_postgres_i_begin(dload_postgres_job *j, dload_postgres_store *s,
                                                  dload_store_op *op)
{
    const size_t one_bytes = sizeof(uint64_t) + sizeof(dload_store_item *);
    const size_t n_scratch =
        2 * (op->n < DLOAD_POSTGRES_I_MESSAGE_KEYS ? op->n : DLOAD_POSTGRES_I_MESSAGE_KEYS);
    const bool stores = op->kind == DLOAD_STORE_SET || op->kind == DLOAD_STORE_FILL;
    dload_postgres_i_begin_none(j, s);
    if (op->kind >= DLOAD_STORE_N_KINDS)
        return DLOAD_EINVAL;
    if (op->kind == DLOAD_STORE_CLEAR && op->items[0].key_bytes > DLOAD_POSTGRES_I_MAX_KEY_BYTES) {
        op->items[0].status = DLOAD_OK; /* no key begins so */
        return DLOAD_OK;
    }
    if (!dload_i_mul_size(op->n, one_bytes, &j->block_bytes) ||
        j->block_bytes > SIZE_MAX - n_scratch * sizeof *j->scratch)
        return DLOAD_ENOMEM;
    j->block_bytes += n_scratch * sizeof *j->scratch;
    j->block = (uint64_t *)dload_i_alloc(s->store.env, j->block_bytes);
    if (j->block == NULL)
        return DLOAD_ENOMEM;
    j->op = op;
    j->order = (dload_store_item **)(void *)(j->block + op->n);
    j->scratch = j->order + op->n;
    for (size_t i = 0; i < op->n; i++) {
        dload_store_item *item = &op->items[i];
        j->block[i] = item->ttl_ns;
        item->status = DLOAD_ETOOBIG;
        if (item->key_bytes <= DLOAD_POSTGRES_I_MAX_KEY_BYTES &&
            !(stores && item->value_bytes > DLOAD_POSTGRES_I_MAX_BYTES))
            j->order[j->n_order++] = item;
    }
    if (op->kind == DLOAD_STORE_CLEAR)
        j->n_order = 1; /* of the first one only */
    qsort(j->order, j->n_order, sizeof *j->order, dload_postgres_i_by_key);
    return DLOAD_PENDING;
}

/* dload_store.release: results of an attempt that failed, and of one that is through. */
DLOAD_I_LOCAL void dload_postgres_i_release(dload_store *store, dload_store_op *op)
{
    dload_postgres_kept *kept = (dload_postgres_kept *)op->results;
    while (kept != NULL) {
        dload_postgres_kept *next = kept->next;
        PQclear(kept->result);
        dload_i_free(store->env, kept, sizeof *kept);
        kept = next;
    }
    op->results = NULL;
}

/* What the statement under way was sent with: not needed any more as soon as libpq has it. */
DLOAD_I_LOCAL void dload_postgres_i_free_values(dload_postgres_job *j)
{
    for (int i = 0; i < 4; i++)
        dload_postgres_i_free_bytes(&j->bytes[i], j->s->store.env);
}

/* Leaves the walk over the table to others. */
DLOAD_I_LOCAL void dload_postgres_i_end_purge(dload_postgres_job *j)
{
    if (j->purges)
        __atomic_store_n(&j->s->purging, 0u, __ATOMIC_RELEASE);
    j->purges = false;
}

/* Goes on behind a step of the walk; true: there is nothing left to do. */
DLOAD_I_LOCAL bool dload_postgres_i_leave_purge(dload_postgres_job *j)
{
    const bool last = j->first + j->n >= j->n_order;
    dload_postgres_i_end_purge(j);
    j->stage = last ? DLOAD_POSTGRES_I_AT_END : DLOAD_POSTGRES_I_AT_PART;
    return last;
}

/* An attempt begins: nothing is known of any item. */
DLOAD_I_LOCAL void dload_postgres_i_rewind(dload_postgres_job *j)
{
    const bool usable = __atomic_load_n(&j->s->usable, __ATOMIC_ACQUIRE) != 0;
    dload_postgres_i_free_values(j);
    dload_postgres_i_end_purge(j);
    j->stage = usable ? DLOAD_POSTGRES_I_AT_PART : DLOAD_POSTGRES_I_AT_SHAPE;
    j->first = j->n = 0;
    j->n_tries = 0;
    j->created = false;
    if (j->sweep != NULL)
        j->sweep->n_bytes = 0;
    if (j->op == NULL)
        return;
    dload_postgres_i_release(&j->s->store, j->op);
    for (size_t i = 0; j->op->kind == DLOAD_STORE_LEASE && i < j->op->n; i++)
        j->op->items[i].ttl_ns = j->block[i];
}

/* The request is over, well or not; what it found is the asker's. */
DLOAD_I_LOCAL void dload_postgres_i_end(dload_postgres_job *j)
{
    dload_postgres_i_free_values(j);
    dload_postgres_i_end_purge(j);
    dload_i_free(j->s->store.env, j->block, j->block_bytes);
    j->block = NULL;
}

/* Is the statement under way of the request itself? What is asked about the table may be asked again. */
DLOAD_I_LOCAL bool dload_postgres_i_changes(const dload_postgres_job *j)
{
    return j->stage > DLOAD_POSTGRES_I_AT_PART;
}

/* ---- the next statement ---- */

/* How many of the items from first on go in one message. */
DLOAD_I_LOCAL size_t dload_postgres_i_cut(const dload_postgres_job *j, size_t first)
{
    size_t n = 0, n_bytes = 0;
    const bool values = j->op->kind == DLOAD_STORE_SET || j->op->kind == DLOAD_STORE_FILL;
    while (first + n < j->n_order && n < DLOAD_POSTGRES_I_MESSAGE_KEYS) {
        const dload_store_item *item = j->order[first + n];
        n_bytes += item->key_bytes + (values ? item->value_bytes : 0);
        if (n != 0 && n_bytes > DLOAD_POSTGRES_I_MESSAGE_BYTES)
            break;
        n++;
    }
    return n;
}

/* Are these two keys the same? */
DLOAD_I_LOCAL bool dload_postgres_i_same(const dload_store_item *a, const dload_store_item *b)
{
    return a->key_bytes == b->key_bytes && memcmp(a->key, b->key, a->key_bytes) == 0;
}

/* Of a key that is there twice the last one is stored: a statement may not write a row twice. */
DLOAD_I_LOCAL void dload_postgres_i_last_ones(dload_postgres_job *j)
{
    size_t n = 0;
    for (size_t i = 0; i < j->n; i++) {
        if (n != 0 && dload_postgres_i_same(j->scratch[n - 1], j->about[i]))
            n--;
        j->scratch[n++] = j->about[i];
    }
    j->about = j->scratch;
    j->n_about = n;
}

/* The next part of the items, and what its items have as long as the server has said nothing. */
DLOAD_I_LOCAL void dload_postgres_i_begin_part(dload_postgres_job *j)
{
    static const dload_status before[DLOAD_STORE_N_KINDS] = {
        DLOAD_MISSING, DLOAD_OK, DLOAD_OK, DLOAD_OK, DLOAD_PENDING, DLOAD_ELOCK, DLOAD_OK};
    if (j->op == NULL) {
        j->stage = j->sweep != NULL ? DLOAD_POSTGRES_I_AT_PURGE : DLOAD_POSTGRES_I_AT_END;
        return;
    }
    j->first += j->n;
    j->n = dload_postgres_i_cut(j, j->first);
    j->about = j->order + j->first;
    j->n_about = j->n;
    for (size_t i = 0; i < j->n; i++)
        j->about[i]->status = before[j->op->kind];
    if (j->op->kind == DLOAD_STORE_SET)
        dload_postgres_i_last_ones(j);
    j->stage = j->n == 0 ? DLOAD_POSTGRES_I_AT_END
               : j->op->kind == DLOAD_STORE_GET || j->op->kind == DLOAD_STORE_LEASE
                   ? DLOAD_POSTGRES_I_AT_LOOK
                   : DLOAD_POSTGRES_I_AT_WRITE;
}

/* What begins with a prefix: the ids from it up to the first one that does not begin so, which is the
 * prefix with its last byte that is not 255 raised. */
DLOAD_I_LOCAL bool dload_postgres_i_bounds(dload_postgres_job *j)
{
    const dload_store_item *item = j->about[0];
    dload_postgres_bytes *end = &j->bytes[0];
    dload_postgres_values *v = &j->v;
    size_t n =
        item->key_bytes < DLOAD_POSTGRES_I_ID_PREFIX ? item->key_bytes : DLOAD_POSTGRES_I_ID_PREFIX;
    v->value[0] = item->key;
    v->n_bytes[0] = (int)n;
    while (n > 0 && (unsigned char)item->key[n - 1] == 255)
        n--;
    j->which = n > 0 ? DLOAD_POSTGRES_I_RANGE : DLOAD_POSTGRES_I_FROM;
    const int last = n > 0 ? 2 : 1;
    if (n > 0) {
        end->at = (char *)dload_i_alloc(j->s->store.env, n);
        if (end->at == NULL)
            return false;
        memcpy(end->at, item->key, n);
        end->n_bytes = end->cap_bytes = n;
        end->at[n - 1] = (char)((unsigned char)end->at[n - 1] + 1);
        v->value[1] = end->at;
        v->n_bytes[1] = (int)n;
    }
    v->value[last] = item->key;
    v->n_bytes[last] = (int)item->key_bytes;
    return true;
}

/* Where a walk goes on, and how many rows it looks at. */
DLOAD_I_LOCAL uint64_t dload_postgres_i_purge_rows(const dload_postgres_job *j)
{
    return j->op == NULL ? 10000 : 2 * (uint64_t)j->s->purge_every;
}

DLOAD_I_LOCAL void dload_postgres_i_purge_values(dload_postgres_job *j)
{
    const dload_postgres_cursor *at = j->sweep != NULL ? j->sweep : &j->s->purge;
    dload_postgres_bytes b = {j->n_rows, 0, sizeof j->n_rows};
    dload_postgres_i_put64(&b, dload_postgres_i_purge_rows(j));
    j->which = DLOAD_POSTGRES_I_PURGE;
    j->v.value[0] = at->at;
    j->v.n_bytes[0] = (int)at->n_bytes;
    j->v.value[1] = j->n_rows;
    j->v.n_bytes[1] = sizeof j->n_rows;
}

/* The arrays of a statement over items. */
DLOAD_I_LOCAL bool dload_postgres_i_item_values(dload_postgres_job *j, int which)
{
    enum { K = DLOAD_POSTGRES_I_KEYS, V = DLOAD_POSTGRES_I_VALUES };
    enum { L = DLOAD_POSTGRES_I_LEASES, T = DLOAD_POSTGRES_I_TTLS };
    static const unsigned char parts[DLOAD_POSTGRES_I_DROP + 1][4] = {
        {K, 0, 0, 0}, {K, V, T, 0}, {K, 0, 0, 0}, {0, 0, 0, 0},
        {0, 0, 0, 0}, {K, L, T, 0}, {K, L, V, T}, {K, L, 0, 0}};
    j->which = which;
    for (int i = 0; i < j->s->statements[which].n_params; i++) {
        if (!dload_postgres_i_part(j, (dload_postgres_part)parts[which][i], &j->bytes[i]))
            return false;
        j->v.value[i] = j->bytes[i].at;
        j->v.n_bytes[i] = (int)j->bytes[i].n_bytes;
    }
    return true;
}

/* Makes the statement of a stage: which one, and its values. False = no memory. */
DLOAD_I_LOCAL bool dload_postgres_i_make(dload_postgres_job *j)
{
    static const int writes[DLOAD_STORE_N_KINDS] = {
        -1, DLOAD_POSTGRES_I_SET,  DLOAD_POSTGRES_I_DELETE, -1,
        -1, DLOAD_POSTGRES_I_FILL, DLOAD_POSTGRES_I_DROP};
    switch (j->stage) {
    case DLOAD_POSTGRES_I_AT_SHAPE:
        j->which = DLOAD_POSTGRES_I_SHAPE;
        return true;
    case DLOAD_POSTGRES_I_AT_INDEX:
        j->which = DLOAD_POSTGRES_I_INDEX;
        return true;
    case DLOAD_POSTGRES_I_AT_CREATE:
        j->which = DLOAD_POSTGRES_I_CREATE;
        return true;
    case DLOAD_POSTGRES_I_AT_LOOK:
    case DLOAD_POSTGRES_I_AT_AGAIN:
        return dload_postgres_i_item_values(j, DLOAD_POSTGRES_I_LOOK);
    case DLOAD_POSTGRES_I_AT_CLAIM:
        return dload_postgres_i_item_values(j, DLOAD_POSTGRES_I_CLAIM);
    case DLOAD_POSTGRES_I_AT_PURGE:
        dload_postgres_i_purge_values(j);
        return true;
    default:
        break;
    }
    return j->op->kind == DLOAD_STORE_CLEAR ? dload_postgres_i_bounds(j)
                                            : dload_postgres_i_item_values(j, writes[j->op->kind]);
}

/* What is to be sent: DLOAD_PENDING, statement which with v. DLOAD_OK: nothing, the request is through. DLOAD_ENOMEM. */
DLOAD_I_LOCAL dload_status dload_postgres_i_next(dload_postgres_job *j)
{
    if (j->stage == DLOAD_POSTGRES_I_AT_PART)
        dload_postgres_i_begin_part(j);
    if (j->stage == DLOAD_POSTGRES_I_AT_END)
        return DLOAD_OK;
    memset(&j->v, 0, sizeof j->v);
    if (dload_postgres_i_make(j))
        return DLOAD_PENDING;
    dload_postgres_i_free_values(j);
    return DLOAD_ENOMEM;
}

#endif /* DLOAD_POSTGRES_STEPS_H */
