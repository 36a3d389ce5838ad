/* dataloader_postgres/pipeline.h -- several questions on one connection, sent before they are answered.
 *
 * SPDX-License-Identifier: MIT
 *
 * The second half of dataloader_postgres_fetch.h, which includes it.
 */
#ifndef DLOAD_POSTGRES_PIPELINE_H
#define DLOAD_POSTGRES_PIPELINE_H

#ifndef DLOAD_POSTGRES_FETCH_H
#error "dataloader_postgres/pipeline.h: include dataloader_postgres_fetch.h instead"
#endif

/* Questions that may be out at a time: what comes back is held in memory until it is looked at. */
#define DLOAD_POSTGRES_I_WINDOW 16u

/* Questions on their way. Private. */
typedef struct dload_postgres_asks {
    dload_postgres_ask *asks;
    size_t n;
} dload_postgres_asks;

/* What a failure is called where it is a fetch that failed. */
DLOAD_I_LOCAL dload_status dload_postgres_i_fetch_status(dload_status st)
{
    return st == DLOAD_EBACKEND || st == DLOAD_EFULL ? DLOAD_EFETCH : st;
}

/* One question by itself. A statement that the server refuses is the question's failure, not the connection's. */
DLOAD_I_LOCAL dload_status dload_postgres_i_one(dload_postgres_conn *c, dload_postgres_ask *a,
                                                uint64_t deadline_ns)
{
    dload_postgres_values v;
    PGresult *r = NULL;
    memset(&v, 0, sizeof v);
    v.value[0] = a->array.at;
    v.n_bytes[0] = (int)a->array.n_bytes;
    dload_status st = dload_postgres_i_ask(c, &a->statement, &v, deadline_ns, &r);
    if (st == DLOAD_OK) {
        a->status = dload_postgres_i_rows(a, r);
        PQclear(r);
    } else if (c->pg != NULL && !dload_postgres_i_forgot(c->sqlstate)) {
        a->status = dload_postgres_i_fetch_status(st);
        st = DLOAD_OK;
    }
    return st;
}

/* Queues a question and a mark after it: behind that the next one is not touched by what becomes of this one. */
DLOAD_I_LOCAL dload_status dload_postgres_i_enqueue(dload_postgres_conn *c, dload_postgres_ask *a,
                                                    uint64_t deadline_ns)
{
    dload_postgres_values v;
    memset(&v, 0, sizeof v);
    v.value[0] = a->array.at;
    v.n_bytes[0] = (int)a->array.n_bytes;
    dload_status st = dload_postgres_i_send(c, &a->statement, &v);
    if (st == DLOAD_OK && PQpipelineSync(c->pg) == 0)
        st = dload_postgres_i_lose(c, DLOAD_EBACKEND);
    return st == DLOAD_OK ? dload_postgres_i_flush(c, deadline_ns) : st;
}

/* Takes one question's answer, up to its mark. */
DLOAD_I_LOCAL dload_status dload_postgres_i_dequeue(dload_postgres_conn *c, dload_postgres_ask *a,
                                                    uint64_t deadline_ns)
{
    PGresult *r = NULL;
    dload_status answer = DLOAD_PENDING;
    c->sqlstate[0] = '\0';
    for (;;) {
        dload_status st = dload_postgres_i_result(c, deadline_ns, &r);
        if (st != DLOAD_OK)
            return st;
        if (r == NULL)
            continue; /* between an answer and its mark */
        const ExecStatusType what = PQresultStatus(r);
        if (what == PGRES_PIPELINE_SYNC) {
            PQclear(r);
            break;
        }
        if (what == PGRES_TUPLES_OK && answer == DLOAD_PENDING)
            answer = dload_postgres_i_rows(a, r);
        else if (answer == DLOAD_PENDING)
            answer = dload_postgres_i_fetch_status(dload_postgres_i_refused(c, r));
        PQclear(r);
        if (c->pg == NULL)
            return DLOAD_EBACKEND;
    }
    if (answer == DLOAD_PENDING)
        return dload_postgres_i_lose(c, DLOAD_EBACKEND);
    if (!dload_postgres_i_forgot(c->sqlstate))
        a->status = answer;
    return DLOAD_OK;
}

/* Sends and takes; a question whose status is not PENDING has its answer. */
DLOAD_I_LOCAL dload_status dload_postgres_i_pipeline(dload_postgres_conn *c, dload_postgres_asks *q,
                                                     uint64_t deadline_ns)
{
    size_t first = 0, next = 0, n_out = 0;
    bool forgot = false;
    dload_status st = DLOAD_OK;
    if (PQenterPipelineMode(c->pg) == 0)
        return dload_postgres_i_lose(c, DLOAD_EBACKEND);
    while (st == DLOAD_OK) {
        while (next < q->n && q->asks[next].status != DLOAD_PENDING)
            next++;
        if (next < q->n && n_out < DLOAD_POSTGRES_I_WINDOW) {
            st = dload_postgres_i_enqueue(c, &q->asks[next++], deadline_ns);
            n_out++;
        } else if (n_out != 0) {
            while (q->asks[first].status != DLOAD_PENDING)
                first++;
            st = dload_postgres_i_dequeue(c, &q->asks[first++], deadline_ns);
            forgot = forgot || dload_postgres_i_forgot(c->sqlstate);
            n_out--;
        } else {
            break;
        }
    }
    if (st == DLOAD_OK && PQexitPipelineMode(c->pg) == 0)
        st = dload_postgres_i_lose(c, DLOAD_EBACKEND);
    if (st == DLOAD_OK && forgot) { /* those are PENDING still */
        (void)snprintf(c->sqlstate, sizeof c->sqlstate, "26000");
        st = DLOAD_EBACKEND;
    }
    return st;
}

/* Work for dload_postgres_i_with. */
DLOAD_I_LOCAL dload_status dload_postgres_i_asks(dload_postgres_conn *c, void *ctx,
                                                 uint64_t deadline_ns)
{
    dload_postgres_asks *q = (dload_postgres_asks *)ctx;
    size_t n_open = 0;
    dload_postgres_ask *last = NULL;
    for (size_t i = 0; i < q->n; i++) {
        dload_postgres_ask *a = &q->asks[i];
        if (a->status != DLOAD_PENDING)
            continue;
        c->sqlstate[0] = '\0';
        dload_status st = dload_postgres_i_prepare(c, &a->statement, deadline_ns);
        if (st != DLOAD_OK && c->pg == NULL)
            return st;
        if (st != DLOAD_OK) {
            a->status =
                dload_postgres_i_fetch_status(st); /* no such table, a mistake in the text */
            continue;
        }
        n_open++;
        last = a;
    }
    if (n_open == 0)
        return DLOAD_OK;
    return n_open == 1 ? dload_postgres_i_one(c, last, deadline_ns)
                       : dload_postgres_i_pipeline(c, q, deadline_ns);
}

/* Asks all questions, several of them in a pipeline on one connection, and hands out their rows, in the calling
 * thread. asks and what they point at are the caller's; each one's status says what became of it: DLOAD_OK, what its
 * row function said first, or as _postgres_fetch's. timeout_ns is for all of them; 0 = the pool's. Blocks.
 * Returns DLOAD_OK, whatever the questions' own status; else that of all that have not been answered: no
 * connection, no answer in time. Allocates from the pool's env. Any thread. */
DLOAD_I_LOCAL dload_status dload_postgres_fetch(dload_postgres *pool, dload_postgres_ask *asks,
                                                size_t n_asks, uint64_t timeout_ns)
{
    dload_postgres_asks q;
    bool open = false;
    for (size_t i = 0; i < n_asks; i++) {
        asks[i].status = dload_postgres_i_ask_init(&asks[i], pool->env);
        open = open || asks[i].status == DLOAD_PENDING;
    }
    q.asks = asks;
    q.n = n_asks;
    dload_status st = DLOAD_OK;
    if (open)
        st = dload_postgres_i_fetch_status(
            dload_postgres_i_with(pool, timeout_ns, true, dload_postgres_i_asks, &q));
    for (size_t i = 0; i < n_asks; i++) {
        if (asks[i].status == DLOAD_PENDING)
            asks[i].status = st != DLOAD_OK ? st : DLOAD_EFETCH;
        dload_postgres_i_ask_free(&asks[i], pool->env);
    }
    return st;
}

/* All keys of a batch: in one question, or in several in a pipeline. failed is told of the keys of those that failed,
 * unless there was one only. */
DLOAD_I_LOCAL dload_status
dload_postgres_i_fetch_all(dload_postgres *pool, dload_postgres_query *q, int key_type, size_t n,
                           bool (*key)(void *ctx, size_t i, dload_postgres_key *key),
                           dload_status (*row)(void *ctx, size_t i, const PGresult *r, int row),
                           void (*failed)(void *ctx, size_t i, dload_status st), void *ctx)
{
    const size_t most = q->max_keys != 0 ? q->max_keys : 5000;
    const size_t n_asks = n == 0 ? 0 : (n - 1) / most + 1;
    dload_postgres_ask one, *asks = &one;
    if (n_asks == 0)
        return DLOAD_OK;
    if (n_asks > 1)
        asks = (dload_postgres_ask *)dload_i_alloc(pool->env, n_asks * sizeof *asks);
    if (asks == NULL)
        return DLOAD_ENOMEM;
    memset(asks, 0, n_asks * sizeof *asks);
    for (size_t i = 0; i < n_asks; i++) {
        asks[i].query = q;
        asks[i].key_type = key_type;
        asks[i].first = i * most;
        asks[i].n = n - i * most < most ? n - i * most : most;
        asks[i].key = key;
        asks[i].row = row;
        asks[i].ctx = ctx;
    }
    dload_status st = dload_postgres_fetch(pool, asks, n_asks, q->timeout_ns);
    if (n_asks == 1)
        return asks[0].status;
    for (size_t i = 0; i < n_asks; i++) {
        for (size_t k = 0; k < asks[i].n && asks[i].status != DLOAD_OK; k++)
            failed(ctx, asks[i].first + k, asks[i].status);
    }
    dload_i_free(pool->env, asks, n_asks * sizeof *asks);
    return st;
}

#endif /* DLOAD_POSTGRES_PIPELINE_H */
