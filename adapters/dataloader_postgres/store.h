/* dataloader_postgres/store.h -- requests that wait, the store's beginning and its end.
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

/* ---- requests ---- */

/* One attempt, waiting for each answer. */
DLOAD_I_LOCAL dload_status dload_postgres_i_drive(dload_postgres_conn *c, void *ctx,
                                                  uint64_t deadline_ns)
{
    dload_postgres_job *j = (dload_postgres_job *)ctx;
    dload_status st = DLOAD_OK;
    dload_postgres_i_rewind(j);
    while (st == DLOAD_OK && (st = dload_postgres_i_next(j)) == DLOAD_PENDING) {
        PGresult *r = NULL;
        const bool changes = dload_postgres_i_changes(j);
        st = dload_postgres_i_ask(c, &j->s->statements[j->which], &j->v, deadline_ns, &r);
        if (st == DLOAD_OK && !changes)
            c->sent = false; /* for all that was sent the request may be begun again */
        st = dload_postgres_i_answered(j, st, c->sqlstate, r);
    }
    return st;
}

/* dload_store.run */
DLOAD_I_LOCAL dload_status dload_postgres_i_run(dload_store *store, dload_store_op *op)
{
    dload_postgres_store *s = (dload_postgres_store *)(void *)store;
    dload_postgres_job j;
    dload_status st = dload_postgres_i_begin(&j, s, op);
    if (st == DLOAD_PENDING)
        st = dload_postgres_i_with(&s->pool, op->timeout_ns, op->kind != DLOAD_STORE_FILL,
                                   dload_postgres_i_drive, &j);
    dload_postgres_i_end(&j);
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
    if (st == DLOAD_OK)
        st = dload_postgres_init(&s->pool, &pg);
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
    dload_i_free(s->store.env, s->texts, s->texts_bytes);
    s->texts = NULL;
}

/* Connects, looks at the table and makes it when it is missing: what the first request would do. For a program
 * that wants to say at its start what is wrong. timeout_ns 0 = the pool's. Returns DLOAD_OK; DLOAD_ELAYOUT: the
 * table is another one's; DLOAD_EBACKEND, DLOAD_ETIMEDOUT: see dload_postgres_error(&s->pool, ...). */
DLOAD_I_LOCAL dload_status dload_postgres_store_open(dload_postgres_store *s, uint64_t timeout_ns)
{
    dload_postgres_job j;
    dload_postgres_i_begin_none(&j, s);
    dload_status st = dload_postgres_i_with(&s->pool, timeout_ns, true, dload_postgres_i_drive, &j);
    dload_postgres_i_end(&j);
    return st;
}

/* Removes every row whose time is over, in steps of 10,000 rows looked at, each a transaction. *n_rows, which
 * may be NULL, is how many. Any thread. Returns as a request does. */
DLOAD_I_LOCAL dload_status dload_postgres_store_purge(dload_postgres_store *s, uint64_t timeout_ns,
                                                      uint64_t *n_rows)
{
    const uint64_t before = __atomic_load_n(&s->n_purged, __ATOMIC_RELAXED);
    dload_postgres_cursor sweep;
    dload_postgres_job j;
    dload_postgres_i_begin_none(&j, s);
    j.sweep = &sweep;
    dload_status st = dload_postgres_i_with(&s->pool, timeout_ns, true, dload_postgres_i_drive, &j);
    dload_postgres_i_end(&j);
    if (n_rows != NULL)
        *n_rows = __atomic_load_n(&s->n_purged, __ATOMIC_RELAXED) - before;
    return st;
}

#endif /* DLOAD_POSTGRES_STORE_H */
