/* dataloader_postgres/store.h -- requests to the store, its beginning and its end.
 *
 * SPDX-License-Identifier: MIT
 *
 * The last part of dataloader_postgres.h, which includes it.
 */
#ifndef DLOAD_POSTGRES_STORE_H
#define DLOAD_POSTGRES_STORE_H

#ifndef DLOAD_POSTGRES_H
#error "dataloader_postgres/store.h: include dataloader_postgres.h instead"
#endif

/* ---- clearing ---- */

/* Removes what begins with a prefix: the ids from it up to the first one that does not begin so, which is the
 * prefix with its last byte that is not 255 raised. */
DLOAD_I_LOCAL dload_status dload_postgres_i_clear(dload_postgres_job *j)
{
    char end[DLOAD_POSTGRES_I_ID_PREFIX];
    dload_store_item *item = &j->op->items[0];
    size_t n = item->key_bytes < sizeof end ? item->key_bytes : sizeof end;
    dload_postgres_values v;
    memset(&v, 0, sizeof v);
    memcpy(end, item->key, n);
    v.value[0] = item->key;
    v.n_bytes[0] = (int)n;
    while (n > 0 && (unsigned char)end[n - 1] == 255)
        n--;
    const int last = n > 0 ? 2 : 1;
    if (n > 0) {
        end[n - 1] = (char)((unsigned char)end[n - 1] + 1);
        v.value[1] = end;
        v.n_bytes[1] = (int)n;
    }
    v.value[last] = item->key;
    v.n_bytes[last] = (int)item->key_bytes;
    item->status = DLOAD_OK;
    return dload_postgres_i_ask(
        j->c, &j->s->statements[n > 0 ? DLOAD_POSTGRES_I_RANGE : DLOAD_POSTGRES_I_FROM], &v,
        j->deadline_ns, NULL);
}

/* ---- requests ---- */

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

/* How many of the items from first on go in one message. */
DLOAD_I_LOCAL size_t dload_postgres_i_cut(const dload_postgres_job *j, size_t first, size_t n_items)
{
    size_t n = 0, n_bytes = 0;
    const bool values = j->op->kind == DLOAD_STORE_SET || j->op->kind == DLOAD_STORE_FILL;
    while (first + n < n_items && n < DLOAD_POSTGRES_I_MESSAGE_KEYS) {
        const dload_store_item *item = j->order[first + n];
        n_bytes += item->key_bytes + (values ? item->value_bytes : 0);
        if (n != 0 && n_bytes > DLOAD_POSTGRES_I_MESSAGE_BYTES)
            break;
        n++;
    }
    return n;
}

DLOAD_I_LOCAL dload_status dload_postgres_i_run_job(dload_postgres_job *j)
{
    switch (j->op->kind) {
    case DLOAD_STORE_GET:
        return dload_postgres_i_get_part(j);
    case DLOAD_STORE_SET:
        return dload_postgres_i_set_part(j);
    case DLOAD_STORE_DELETE:
    case DLOAD_STORE_DROP:
        return dload_postgres_i_delete_part(j);
    case DLOAD_STORE_LEASE:
        return dload_postgres_i_lease_part(j);
    case DLOAD_STORE_FILL:
        return dload_postgres_i_fill_part(j);
    case DLOAD_STORE_CLEAR:
    case DLOAD_STORE_N_KINDS:
        break;
    }
    return DLOAD_EINVAL;
}

/* What a request needs besides the connection. Private. */
typedef struct dload_postgres_request {
    dload_postgres_job job;
    size_t n; /* items in order: those that are not too big */
    uint64_t
        *ttl_ns; /* LEASE: what the items said, for a second attempt; by index; NULL = nothing */
} dload_postgres_request;

/* Results of an attempt that failed, and of one that is through. */
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

/* One attempt. */
DLOAD_I_LOCAL dload_status dload_postgres_i_request(dload_postgres_conn *c, void *ctx,
                                                    uint64_t deadline_ns)
{
    dload_postgres_request *q = (dload_postgres_request *)ctx;
    dload_postgres_job *j = &q->job;
    dload_store_op *op = j->op;
    j->c = c;
    j->deadline_ns = deadline_ns;
    dload_postgres_i_release(&j->s->store, op);
    for (size_t i = 0; q->ttl_ns != NULL && i < op->n; i++)
        op->items[i].ttl_ns = q->ttl_ns[i];
    dload_status st = dload_postgres_i_usable(j->s, c, deadline_ns);
    if (st == DLOAD_OK && op->kind == DLOAD_STORE_CLEAR)
        return dload_postgres_i_clear(j);
    c->sent = false; /* whatever was asked about the table changed nothing of the request's */
    for (j->first = 0; st == DLOAD_OK && j->first < q->n; j->first += j->n) {
        j->n = dload_postgres_i_cut(j, j->first, q->n);
        st = dload_postgres_i_run_job(j);
    }
    if (st == DLOAD_EBACKEND &&
        (strcmp(c->sqlstate, "42P01") == 0 || strcmp(c->sqlstate, "42703") == 0))
        __atomic_store_n(&j->s->usable, 0u, __ATOMIC_RELEASE); /* look at the table again */
    return st;
}

/* dload_store.run */
DLOAD_I_LOCAL dload_status dload_postgres_i_run(dload_store *store, dload_store_op *op)
{
    dload_postgres_store *s = (dload_postgres_store *)(void *)store;
    const size_t one_bytes = sizeof(dload_store_item *) + sizeof(uint64_t);
    dload_postgres_request q;
    size_t n_bytes = 0;
    if (op->kind == DLOAD_STORE_CLEAR && op->items[0].key_bytes > DLOAD_POSTGRES_I_MAX_KEY_BYTES) {
        op->items[0].status = DLOAD_OK; /* no key begins so */
        return DLOAD_OK;
    }
    if (!dload_i_mul_size(op->n, one_bytes, &n_bytes))
        return DLOAD_ENOMEM;
    memset(&q, 0, sizeof q);
    q.job.s = s;
    q.job.op = op;
    uint64_t *block = (uint64_t *)dload_i_alloc(store->env, n_bytes);
    if (block == NULL)
        return DLOAD_ENOMEM;
    q.job.order = (dload_store_item **)(void *)(block + op->n);
    for (size_t i = 0; i < op->n; i++) {
        dload_store_item *item = &op->items[i];
        const bool stores = op->kind == DLOAD_STORE_SET || op->kind == DLOAD_STORE_FILL;
        block[i] = item->ttl_ns;
        item->status = DLOAD_ETOOBIG;
        if (item->key_bytes <= DLOAD_POSTGRES_I_MAX_KEY_BYTES &&
            !(stores && item->value_bytes > DLOAD_POSTGRES_I_MAX_BYTES))
            q.job.order[q.n++] = item;
    }
    q.ttl_ns = op->kind == DLOAD_STORE_LEASE ? block : NULL;
    qsort(q.job.order, q.n, sizeof *q.job.order, dload_postgres_i_by_key);
    const dload_status st = dload_postgres_i_with(
        &s->pool, op->timeout_ns, op->kind != DLOAD_STORE_FILL, dload_postgres_i_request, &q);
    dload_i_free(store->env, block, n_bytes);
    return st;
}

/* ---- beginning and end ---- */

/* Passes what the pool has to say on to the store's own log. */
DLOAD_I_LOCAL void dload_postgres_i_store_says(void *ctx, const char *text)
{
    dload_store_log(&((dload_postgres_store *)ctx)->store, text);
}

/* Prepares a store; connects to nobody yet: that is for the first request, or for dload_postgres_store_open.
 * config is copied, but for env and hooks, which must outlive the store. What the pool logs goes to hooks->log,
 * unless pg.log is set. Returns DLOAD_OK; DLOAD_EINVAL: no url, or one that cannot be parsed, a name that is
 * none; DLOAD_ENOMEM. Allocates: the texts of its statements. */
DLOAD_I_LOCAL dload_status dload_postgres_store_init(dload_postgres_store *s,
                                                     const dload_postgres_store_config *config)
{
    if (s == NULL || config == NULL)
        return DLOAD_EINVAL;
    memset(s, 0, sizeof *s);
    dload_postgres_config pg = config->pg;
    if (pg.log == NULL) {
        pg.log = dload_postgres_i_store_says;
        pg.log_ctx = s;
    }
    s->store.name = "postgres";
    s->store.flags = DLOAD_STORE_TTL | DLOAD_STORE_BATCH | DLOAD_STORE_LEASES;
    s->store.env = pg.env != NULL ? pg.env : dload_env_default();
    s->store.run = dload_postgres_i_run;
    s->store.release = dload_postgres_i_release;
    s->store.hooks = config->hooks;
    s->no_create = config->no_create;
    s->purge_every = config->purge_every != 0 ? config->purge_every : 1000;
    dload_status st = dload_postgres_i_texts(s, config);
    if (st == DLOAD_OK && pthread_mutex_init(&s->purge_mutex, NULL) != 0)
        st = DLOAD_ENOMEM;
    if (st == DLOAD_OK) {
        st = dload_postgres_init(&s->pool, &pg);
        if (st != DLOAD_OK)
            (void)pthread_mutex_destroy(&s->purge_mutex);
    }
    if (st != DLOAD_OK) {
        dload_i_free(s->store.env, s->texts, s->texts_bytes);
        s->texts = NULL;
        return st;
    }
    s->pool.settings = dload_postgres_i_settings();
    return DLOAD_OK;
}

/* Closes the connections. Nobody may be inside a call, and all results must have been released. The table
 * stays. */
DLOAD_I_LOCAL void dload_postgres_store_destroy(dload_postgres_store *s)
{
    dload_postgres_destroy(&s->pool);
    (void)pthread_mutex_destroy(&s->purge_mutex);
    dload_i_free(s->store.env, s->texts, s->texts_bytes);
    s->texts = NULL;
}

DLOAD_I_LOCAL dload_status dload_postgres_i_open(dload_postgres_conn *c, void *ctx,
                                                 uint64_t deadline_ns)
{
    return dload_postgres_i_usable((dload_postgres_store *)ctx, c, deadline_ns);
}

/* Connects, looks at the table and makes it when it is missing: what the first request would do. For a program
 * that wants to say at its start what is wrong. timeout_ns 0 = the pool's. Returns DLOAD_OK; DLOAD_ELAYOUT: the
 * table is another one's; DLOAD_EBACKEND, DLOAD_ETIMEDOUT: see dload_postgres_error(&s->pool, ...). */
DLOAD_I_LOCAL dload_status dload_postgres_store_open(dload_postgres_store *s, uint64_t timeout_ns)
{
    return dload_postgres_i_with(&s->pool, timeout_ns, true, dload_postgres_i_open, s);
}

/* A purge of the whole table. Private. */
DLOAD_I_LOCAL dload_status dload_postgres_i_purge(dload_postgres_conn *c, void *ctx,
                                                  uint64_t deadline_ns)
{
    dload_postgres_store *s = (dload_postgres_store *)ctx;
    bool at_end = false;
    dload_status st = dload_postgres_i_usable(s, c, deadline_ns);
    if (st != DLOAD_OK)
        return st;
    (void)pthread_mutex_lock(&s->purge_mutex);
    s->purge_at_bytes = 0;
    while (st == DLOAD_OK && !at_end)
        st = dload_postgres_i_purge_step(s, c, 10000, deadline_ns, &at_end);
    (void)pthread_mutex_unlock(&s->purge_mutex);
    return st;
}

/* Removes every row whose time is over, in steps of 10,000 rows looked at, each a transaction. *n_rows, which
 * may be NULL, is how many. Any thread. Returns as a request does. */
DLOAD_I_LOCAL dload_status dload_postgres_store_purge(dload_postgres_store *s, uint64_t timeout_ns,
                                                      uint64_t *n_rows)
{
    const uint64_t before = __atomic_load_n(&s->n_purged, __ATOMIC_RELAXED);
    dload_status st = dload_postgres_i_with(&s->pool, timeout_ns, true, dload_postgres_i_purge, s);
    if (n_rows != NULL)
        *n_rows = __atomic_load_n(&s->n_purged, __ATOMIC_RELAXED) - before;
    return st;
}

#endif /* DLOAD_POSTGRES_STORE_H */
