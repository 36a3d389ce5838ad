/* dataloader_postgres/answers.h -- a request to the store: what an answer of the server means for it.
 *
 * SPDX-License-Identifier: MIT
 *
 * The second half of dataloader_postgres/steps.h; dataloader_postgres.h includes both.
 */
#ifndef DLOAD_POSTGRES_ANSWERS_H
#define DLOAD_POSTGRES_ANSWERS_H

#ifndef DLOAD_POSTGRES_STEPS_H
#error "dataloader_postgres/answers.h: include dataloader_postgres.h instead"
#endif

/* ---- rows ---- */

/* The item that a row of a result speaks of; NULL = it is none of ours. */
DLOAD_I_LOCAL dload_store_item *dload_postgres_i_item(const dload_postgres_job *j,
                                                      const PGresult *r, int row)
{
    int64_t place = 0;
    if (!dload_postgres_i_int(r, row, 0, &place) || place < 1 || (uint64_t)place > j->n_about)
        return NULL;
    return j->about[place - 1];
}

/* A row of LOOK: place, value, lease, expires, now. */
DLOAD_I_LOCAL void dload_postgres_i_row(const dload_postgres_job *j, const PGresult *r, int row)
{
    dload_store_item *item = dload_postgres_i_item(j, r, row);
    if (item == NULL || PQgetlength(r, row, 3) != 8 || PQgetlength(r, row, 4) != 8)
        return;
    const int64_t expires_us = (int64_t)dload_postgres_i_get(PQgetvalue(r, row, 3), 8);
    const int64_t now_us = (int64_t)dload_postgres_i_get(PQgetvalue(r, row, 4), 8);
    const uint64_t left_us = expires_us > now_us ? (uint64_t)expires_us - (uint64_t)now_us : 1;
    const bool endless = expires_us == INT64_MAX || left_us > UINT64_MAX / DLOAD_MICROSECOND;
    const uint64_t left_ns = endless ? DLOAD_NEVER : left_us * DLOAD_MICROSECOND;
    if (PQgetisnull(r, row, 1) == 0) {
        const int n_bytes = PQgetlength(r, row, 1);
        item->value = n_bytes != 0 ? PQgetvalue(r, row, 1) : NULL;
        item->value_bytes = (size_t)n_bytes;
        item->ttl_ns = left_ns;
        item->status = DLOAD_OK;
    } else if (j->op->kind == DLOAD_STORE_LEASE && PQgetlength(r, row, 2) == 16) {
        const char *lease = PQgetvalue(r, row, 2);
        if (dload_postgres_i_get(lease, 8) == item->lease[0] &&
            dload_postgres_i_get(lease + 8, 8) == item->lease[1]) {
            item->status = DLOAD_MISSING; /* it is ours */
        } else {
            item->ttl_ns = left_ns;
            item->status = DLOAD_EBUSY;
        }
    }
}

/* ---- answers ---- */

/* Is the table ours? */
DLOAD_I_LOCAL dload_status dload_postgres_i_take_shape(dload_postgres_job *j, dload_status st,
                                                       const char *sqlstate, const PGresult *r)
{
    if (st == DLOAD_EBACKEND && strcmp(sqlstate, "42P01") == 0 && !j->s->no_create && !j->created) {
        j->created = true;
        j->stage = DLOAD_POSTGRES_I_AT_CREATE;
        return DLOAD_OK;
    }
    bool ours = strcmp(sqlstate, "42703") != 0; /* no such column */
    if (st != DLOAD_OK && ours)
        return st;
    ours = ours && PQnfields(r) == 5 && PQftype(r, 4) == DLOAD_POSTGRES_I_TIMESTAMPTZ;
    for (int i = 0; ours && i < 4; i++)
        ours = PQftype(r, i) == DLOAD_POSTGRES_I_BYTEA;
    j->stage = DLOAD_POSTGRES_I_AT_INDEX;
    return ours ? DLOAD_OK : DLOAD_ELAYOUT;
}

DLOAD_I_LOCAL dload_status dload_postgres_i_take_index(dload_postgres_job *j, const PGresult *r)
{
    int64_t n_indexes = 0;
    if (PQntuples(r) != 1 || !dload_postgres_i_int(r, 0, 0, &n_indexes) || n_indexes <= 0)
        return DLOAD_ELAYOUT;
    __atomic_store_n(&j->s->usable, 1u, __ATOMIC_RELEASE);
    j->stage = DLOAD_POSTGRES_I_AT_PART;
    return DLOAD_OK;
}

/* Rows of LOOK, whose result is kept for the values in it. */
DLOAD_I_LOCAL dload_status dload_postgres_i_keep(dload_postgres_job *j, PGresult *r)
{
    dload_postgres_kept *kept = NULL;
    if (PQnfields(r) == 5)
        kept = (dload_postgres_kept *)dload_i_alloc(j->s->store.env, sizeof *kept);
    if (kept == NULL) {
        const dload_status st = PQnfields(r) == 5 ? DLOAD_ENOMEM : DLOAD_EBACKEND;
        PQclear(r);
        return st;
    }
    kept->result = r;
    kept->next = (dload_postgres_kept *)j->op->results;
    j->op->results = kept;
    for (int row = 0; row < PQntuples(r); row++)
        dload_postgres_i_row(j, r, row);
    return DLOAD_OK;
}

/* What nobody has is claimed, each key once, and looked at again, for what became of the claims. In between the row may
 * be gone, when somebody deleted the key: then it is asked for again soon. */
DLOAD_I_LOCAL void dload_postgres_i_looked(dload_postgres_job *j)
{
    const bool claims = j->op->kind == DLOAD_STORE_LEASE && j->stage == DLOAD_POSTGRES_I_AT_LOOK;
    j->stage = DLOAD_POSTGRES_I_AT_PART;
    if (!claims)
        return;
    dload_store_item **once = j->scratch;
    j->rest = j->scratch + j->n;
    j->n_rest = j->n_about = 0;
    j->about = once;
    for (size_t i = 0; i < j->n; i++) {
        dload_store_item *item = j->order[j->first + i];
        if (item->status != DLOAD_PENDING)
            continue;
        if (j->n_rest == 0 || !dload_postgres_i_same(j->rest[j->n_rest - 1], item))
            once[j->n_about++] = item;
        j->rest[j->n_rest++] = item;
        item->status = DLOAD_EBUSY;
    }
    if (j->n_rest != 0)
        j->stage = DLOAD_POSTGRES_I_AT_CLAIM;
}

DLOAD_I_LOCAL void dload_postgres_i_claimed(dload_postgres_job *j)
{
    for (size_t i = 0; i < j->n_rest; i++) /* what LOOK says of them replaces it */
        j->rest[i]->ttl_ns = DLOAD_MILLISECOND;
    j->about = j->rest;
    j->n_about = j->n_rest;
    j->stage = DLOAD_POSTGRES_I_AT_AGAIN;
}

/* After so many keys written: one step of the walk over the table. */
DLOAD_I_LOCAL void dload_postgres_i_wrote(dload_postgres_job *j, const PGresult *r)
{
    const dload_store_kind kind = j->op->kind;
    dload_postgres_store *s = j->s;
    for (int row = 0; kind == DLOAD_STORE_FILL && row < PQntuples(r); row++) {
        dload_store_item *item = dload_postgres_i_item(j, r, row);
        if (item != NULL)
            item->status = DLOAD_OK;
    }
    j->stage = DLOAD_POSTGRES_I_AT_PART;
    if (kind != DLOAD_STORE_FILL && kind != DLOAD_STORE_SET)
        return;
    const uint64_t n = __atomic_add_fetch(&s->n_written, j->n_about, __ATOMIC_RELAXED);
    if (s->purge_every == SIZE_MAX || n < s->purge_every ||
        __atomic_exchange_n(&s->purging, 1u, __ATOMIC_ACQUIRE) != 0)
        return;
    __atomic_store_n(&s->n_written, 0, __ATOMIC_RELAXED);
    j->purges = true;
    j->stage = DLOAD_POSTGRES_I_AT_PURGE;
}

/* Moves on behind the rows that were looked at. */
DLOAD_I_LOCAL void dload_postgres_i_purged(dload_postgres_job *j, const PGresult *r)
{
    dload_postgres_cursor *at = j->sweep != NULL ? j->sweep : &j->s->purge;
    int64_t n_seen = 0, n_gone = 0;
    bool more = false;
    if (PQntuples(r) == 1 && dload_postgres_i_int(r, 0, 0, &n_seen) &&
        dload_postgres_i_int(r, 0, 1, &n_gone)) {
        const size_t n_bytes = (size_t)PQgetlength(r, 0, 2);
        more = (uint64_t)n_seen >= dload_postgres_i_purge_rows(j) && n_bytes < sizeof at->at;
        at->n_bytes = 0;
        if (more) { /* the next id after the last one: it with a NUL */
            memcpy(at->at, PQgetvalue(r, 0, 2), n_bytes);
            at->at[n_bytes] = '\0';
            at->n_bytes = n_bytes + 1;
        }
        (void)__atomic_add_fetch(&j->s->n_purged, (uint64_t)n_gone, __ATOMIC_RELAXED);
    }
    if (j->op != NULL)
        (void)dload_postgres_i_leave_purge(j);
    else if (!more)
        j->stage = DLOAD_POSTGRES_I_AT_END;
}

/* An answer that is one: what it says, and where the request stands then. r is the job's. */
DLOAD_I_LOCAL dload_status dload_postgres_i_understand(dload_postgres_job *j, PGresult *r)
{
    dload_status st = DLOAD_OK;
    switch (j->stage) {
    case DLOAD_POSTGRES_I_AT_LOOK:
    case DLOAD_POSTGRES_I_AT_AGAIN:
        st = dload_postgres_i_keep(j, r);
        if (st == DLOAD_OK)
            dload_postgres_i_looked(j);
        return st;
    case DLOAD_POSTGRES_I_AT_INDEX:
        st = dload_postgres_i_take_index(j, r);
        break;
    case DLOAD_POSTGRES_I_AT_CREATE:
        j->stage = DLOAD_POSTGRES_I_AT_SHAPE;
        break;
    case DLOAD_POSTGRES_I_AT_CLAIM:
        dload_postgres_i_claimed(j);
        break;
    case DLOAD_POSTGRES_I_AT_WRITE:
        dload_postgres_i_wrote(j, r);
        break;
    case DLOAD_POSTGRES_I_AT_PURGE:
        dload_postgres_i_purged(j, r);
        break;
    default:
        break;
    }
    PQclear(r);
    return st;
}

/* May the request be through, or go on, though this statement failed? lost: the connection with it. */
DLOAD_I_LOCAL bool dload_postgres_i_bears(dload_postgres_job *j, const char *sqlstate, bool lost)
{
    if (!lost && strncmp(sqlstate, "40", 2) == 0 && j->n_tries < 3) {
        j->n_tries++; /* given up for another one's sake: a deadlock, which the other has left now */
        (void)__atomic_add_fetch(&j->s->n_retries, 1, __ATOMIC_RELAXED);
        return true;
    }
    if (j->stage == DLOAD_POSTGRES_I_AT_CREATE && !lost) {
        /* Others may be making it at the same moment: their success is a failure of ours that the next look does not
         * see any more. */
        j->stage = DLOAD_POSTGRES_I_AT_SHAPE;
        return true;
    }
    if (j->stage != DLOAD_POSTGRES_I_AT_PURGE || j->op == NULL)
        return false;
    return dload_postgres_i_leave_purge(j) || !lost;
}

/* What came of the statement that _i_next named: st, with sqlstate when the server said no ("" = the connection is
 * lost), and the result, which is the job's from now on. DLOAD_OK: go on with _i_next; otherwise the attempt has
 * failed. */
DLOAD_I_LOCAL dload_status dload_postgres_i_answered(dload_postgres_job *j, dload_status st,
                                                     const char *sqlstate, PGresult *r)
{
    const bool lost = st != DLOAD_OK && sqlstate[0] == '\0';
    dload_postgres_i_free_values(j);
    if (j->stage == DLOAD_POSTGRES_I_AT_SHAPE && !lost) {
        st = dload_postgres_i_take_shape(j, st, sqlstate, r);
        PQclear(r);
    } else if (st != DLOAD_OK) {
        PQclear(r);
        if (dload_postgres_i_bears(j, sqlstate, lost))
            return DLOAD_OK;
    } else {
        j->n_tries = 0;
        st = dload_postgres_i_understand(j, r);
    }
    if (st == DLOAD_ELAYOUT)
        dload_postgres_i_say(&j->s->pool, "the table has another shape, or no unique index on id",
                             "");
    if (st == DLOAD_EBACKEND && (strcmp(sqlstate, "42P01") == 0 || strcmp(sqlstate, "42703") == 0))
        __atomic_store_n(&j->s->usable, 0u, __ATOMIC_RELEASE); /* look at the table again */
    return st;
}

#endif /* DLOAD_POSTGRES_ANSWERS_H */
