/* dataloader_postgres/loop_conn.h -- a connection in an event loop: connecting, sending in a pipeline, taking answers.
 *
 * SPDX-License-Identifier: MIT
 *
 * The middle of dataloader_postgres/loop.h, which includes it. All of it is the loop's thread's.
 */
#ifndef DLOAD_POSTGRES_LOOP_CONN_H
#define DLOAD_POSTGRES_LOOP_CONN_H

#ifndef DLOAD_POSTGRES_LOOP_H
#error "dataloader_postgres/loop_conn.h: include dataloader_postgres/loop.h instead"
#endif

/* ---- the end of a request, and of a connection ---- */

/* A request is through. */
DLOAD_I_LOCAL void dload_postgres_loop_i_finish(dload_postgres_loop *p,
                                                dload_postgres_loop_i_job *job, dload_status st)
{
    dload_store_op *op = job->job.op;
    dload_postgres_i_end(&job->job);
    dload_i_free(p->store.env, job, sizeof *job);
    dload_loop_i_ended(&p->queue);
    op->done(op, st);
}

/* A request's connection is gone: it ends with st, or is repeated, if that can be; once. */
DLOAD_I_LOCAL void dload_postgres_loop_i_interrupted(dload_postgres_loop *p,
                                                     dload_postgres_loop_i_job *job,
                                                     dload_status st)
{
    const bool twice = job->job.op->kind != DLOAD_STORE_FILL || !job->changes;
    if (dload_postgres_i_answered(&job->job, st, "", NULL) == DLOAD_OK) {
        dload_postgres_loop_i_finish(p, job, DLOAD_OK); /* it was only purging */
    } else if (st == DLOAD_EBACKEND && twice && !job->again) {
        job->again = true;
        dload_loop_i_put_back(&p->queue, &job->wait, &p->hooks);
    } else {
        dload_postgres_loop_i_finish(p, job, st);
    }
}

/* A connection was closed, by whomever: what was under way on it is interrupted. */
DLOAD_I_LOCAL void dload_postgres_loop_i_gone(dload_postgres_loop *p,
                                              dload_postgres_loop_i_slot *slot, dload_status st)
{
    PQclear(slot->result);
    slot->result = NULL;
    slot->answer = DLOAD_PENDING;
    slot->state = DLOAD_POSTGRES_LOOP_I_CLOSED;
    slot->retires = false;
    slot->preparing = 0;
    slot->n_nothing = 0;
    while (slot->n_asks !=
           0) { /* the last one first: each that is put back stands before the others */
        slot->n_asks--;
        dload_postgres_loop_i_ask *ask =
            &slot->asks[(slot->head + slot->n_asks) % DLOAD_POSTGRES_LOOP_I_ASKS];
        if (ask->job != NULL)
            dload_postgres_loop_i_interrupted(p, ask->job, st);
    }
    slot->n_jobs = 0;
    slot->n_bytes = 0;
}

/* Does somebody wait for an answer that will hardly come, or come too late? */
DLOAD_I_LOCAL bool dload_postgres_loop_i_is_stuck(const dload_postgres_loop_i_slot *slot)
{
    const dload_postgres_loop_i_ask *first = &slot->asks[slot->head];
    return slot->retires || (slot->n_asks != 0 && first->job == NULL && !first->setting);
}

/* May it get one more request? Before the table was looked at one of them is enough to do so. */
DLOAD_I_LOCAL bool dload_postgres_loop_i_has_room(const dload_postgres_loop *p,
                                                  const dload_postgres_loop_i_slot *slot)
{
    const bool usable = __atomic_load_n(&p->pg.usable, __ATOMIC_ACQUIRE) != 0;
    return slot->state == DLOAD_POSTGRES_LOOP_I_READY && !dload_postgres_loop_i_is_stuck(slot) &&
           (slot->n_jobs == 0 || (usable && slot->n_jobs < DLOAD_POSTGRES_LOOP_I_DEPTH &&
                                  slot->n_asks + 2 <= DLOAD_POSTGRES_LOOP_I_ASKS &&
                                  slot->n_bytes < DLOAD_POSTGRES_LOOP_I_WINDOW_BYTES));
}

DLOAD_I_LOCAL bool dload_postgres_loop_i_any_ready(const dload_postgres_loop *p)
{
    for (uint32_t i = 0; i < p->n_slots; i++) {
        if (p->slots[i].state == DLOAD_POSTGRES_LOOP_I_READY)
            return true;
    }
    return false;
}

/* ---- sending ---- */

/* A place behind those that wait for their answers. */
DLOAD_I_LOCAL dload_postgres_loop_i_ask *
dload_postgres_loop_i_append(dload_postgres_loop_i_slot *slot)
{
    dload_postgres_loop_i_ask *ask =
        &slot->asks[(slot->head + slot->n_asks++) % DLOAD_POSTGRES_LOOP_I_ASKS];
    memset(ask, 0, sizeof *ask);
    return ask;
}

/* Ends a statement by a mark: behind that the next one is not touched by what becomes of this one. */
DLOAD_I_LOCAL dload_status dload_postgres_loop_i_mark(dload_postgres_loop_i_slot *slot)
{
    return PQpipelineSync(slot->conn.pg) != 0 ? DLOAD_OK
                                              : dload_postgres_i_lose(&slot->conn, DLOAD_EBACKEND);
}

DLOAD_I_LOCAL dload_status dload_postgres_loop_i_set(dload_postgres_loop_i_slot *slot,
                                                     const char *const setting[2], bool may_fail)
{
    dload_postgres_loop_i_ask *ask = dload_postgres_loop_i_append(slot);
    ask->setting = true;
    ask->may_fail = may_fail;
    dload_status st = dload_postgres_i_send_set(&slot->conn, setting[0], setting[1]);
    return st == DLOAD_OK ? dload_postgres_loop_i_mark(slot) : st;
}

/* Sets how long the server is to go on with a statement. */
DLOAD_I_LOCAL dload_status dload_postgres_loop_i_limit(dload_postgres_loop_i_slot *slot,
                                                       uint64_t limit_ns)
{
    char text[24];
    uint64_t ms = 0;
    const char *const setting[2] = {"statement_timeout", text};
    if (!dload_postgres_i_limit_text(&slot->conn, limit_ns, &ms, text))
        return DLOAD_OK;
    slot->conn.statement_ms = ms; /* else the connection is given up */
    return dload_postgres_loop_i_set(slot, setting, false);
}

/* Queues the statement that a request is at. The request is the connection's from here on, also when that is lost. */
DLOAD_I_LOCAL dload_status dload_postgres_loop_i_send(dload_postgres_loop *p,
                                                      dload_postgres_loop_i_slot *slot,
                                                      dload_postgres_loop_i_job *job)
{
    dload_postgres_conn *c = &slot->conn;
    dload_postgres_statement *s = &p->pg.statements[job->job.which];
    const uint64_t id = dload_postgres_i_id(&s->id);
    dload_postgres_loop_i_ask *ask = dload_postgres_loop_i_append(slot);
    dload_status st = DLOAD_OK;
    ask->job = job;
    job->changes = job->changes || dload_postgres_i_changes(&job->job);
    for (int i = 0; i < s->n_params; i++)
        ask->n_bytes += (size_t)job->job.v.n_bytes[i];
    slot->n_bytes += ask->n_bytes;
    if (slot->preparing == 0 && dload_postgres_i_unprepared(c, id)) {
        slot->preparing = ask->preparing = id;
        st = dload_postgres_i_send_prepare(c, s);
        if (st == DLOAD_OK) /* it is known by the time that this one is looked at */
            st = dload_postgres_i_send_as(c, s, &job->job.v, c->n_prepared);
    } else {
        st = dload_postgres_i_send(c, s, &job->job.v);
    }
    dload_postgres_i_free_values(&job->job);
    return st == DLOAD_OK ? dload_postgres_loop_i_mark(slot) : st;
}

/* Goes on with a request: its next statement, or its end. */
DLOAD_I_LOCAL void dload_postgres_loop_i_go_on(dload_postgres_loop *p,
                                               dload_postgres_loop_i_slot *slot,
                                               dload_postgres_loop_i_job *job)
{
    dload_status st = dload_postgres_i_next(&job->job);
    if (st == DLOAD_PENDING) {
        slot->n_jobs++;
        (void)dload_postgres_loop_i_send(p, slot, job);
    } else {
        dload_postgres_loop_i_finish(p, job, st);
    }
}

/* A connection gets a request that waited. */
DLOAD_I_LOCAL void dload_postgres_loop_i_give(dload_postgres_loop *p,
                                              dload_postgres_loop_i_slot *slot,
                                              dload_postgres_loop_i_job *job)
{
    const uint64_t timeout_ns = job->job.op->timeout_ns;
    dload_status st = DLOAD_OK;
    job->changes = false;
    dload_postgres_i_rewind(&job->job);
    if (timeout_ns > p->pg.pool.config.timeout_ns)
        st = dload_postgres_loop_i_limit(slot, timeout_ns);
    if (st == DLOAD_OK)
        dload_postgres_loop_i_go_on(p, slot, job);
    else
        dload_postgres_loop_i_interrupted(p, job, st);
    if (slot->conn.pg == NULL)
        dload_postgres_loop_i_gone(p, slot, DLOAD_EBACKEND);
}

/* ---- answers ---- */

/* The first statement's answers are all there. */
DLOAD_I_LOCAL void dload_postgres_loop_i_answer(dload_postgres_loop *p,
                                                dload_postgres_loop_i_slot *slot)
{
    dload_postgres_conn *c = &slot->conn;
    const dload_postgres_loop_i_ask ask = slot->asks[slot->head];
    dload_status st = slot->answer;
    PGresult *r = slot->result;
    char sqlstate[6];
    if (st == DLOAD_PENDING || (ask.setting && !ask.may_fail && st != DLOAD_OK)) {
        (void)dload_postgres_i_lose(c, DLOAD_EBACKEND); /* a mark and no answer */
        return;
    }
    memcpy(sqlstate, c->sqlstate, sizeof sqlstate);
    c->sqlstate[0] = '\0';
    slot->answer = DLOAD_PENDING;
    slot->result = NULL;
    slot->head = (slot->head + 1) % DLOAD_POSTGRES_LOOP_I_ASKS;
    slot->n_asks--;
    slot->n_bytes -= ask.n_bytes;
    const bool forgot = !ask.setting && dload_postgres_i_forgot(sqlstate);
    slot->retires = slot->retires || forgot;
    dload_postgres_loop_i_job *job = ask.job;
    if (job == NULL) {
        PQclear(r);
        return;
    }
    slot->n_jobs--;
    st = dload_postgres_i_answered(&job->job, st, sqlstate, r);
    if (st == DLOAD_OK) {
        dload_postgres_loop_i_go_on(p, slot, job);
    } else if (forgot && !job->again) { /* it was refused, and may be asked again, a FILL too */
        job->again = true;
        dload_loop_i_put_back(&p->queue, &job->wait, &p->hooks);
    } else {
        dload_postgres_loop_i_finish(p, job, st);
    }
}

/* Takes what libpq has next. */
DLOAD_I_LOCAL void dload_postgres_loop_i_take(dload_postgres_loop *p,
                                              dload_postgres_loop_i_slot *slot, PGresult *r)
{
    dload_postgres_conn *c = &slot->conn;
    dload_postgres_loop_i_ask *ask = &slot->asks[slot->head];
    const ExecStatusType what = r != NULL ? PQresultStatus(r) : PGRES_EMPTY_QUERY;
    const bool good = what == PGRES_TUPLES_OK || what == PGRES_COMMAND_OK;
    slot->n_nothing = r == NULL ? slot->n_nothing + 1 : 0;
    if (r == NULL) { /* between answers, and before a mark */
        if (slot->n_nothing > 3)
            (void)dload_postgres_i_lose(c, DLOAD_EBACKEND);
    } else if (what == PGRES_PIPELINE_SYNC) {
        dload_postgres_loop_i_answer(p, slot);
    } else if (what == PGRES_COPY_IN || what == PGRES_COPY_OUT || what == PGRES_COPY_BOTH) {
        (void)dload_postgres_i_lose(c, DLOAD_EBACKEND); /* nobody here copies */
    } else if (slot->answer != DLOAD_PENDING) {
        /* behind a refusal: what was to follow was passed over */
    } else if (ask->preparing != 0) {
        if (good)
            c->prepared[c->n_prepared++] = ask->preparing;
        else
            slot->answer = dload_postgres_i_refused(c, r);
        ask->preparing = slot->preparing = 0;
    } else if (good) {
        slot->answer = DLOAD_OK;
        slot->result = r;
        return; /* kept until the mark */
    } else {
        slot->answer = dload_postgres_i_refused(c, r);
    }
    PQclear(r);
}

/* Reads what came. */
DLOAD_I_LOCAL void dload_postgres_loop_i_read(dload_postgres_loop *p,
                                              dload_postgres_loop_i_slot *slot)
{
    dload_postgres_conn *c = &slot->conn;
    const bool alive = PQconsumeInput(c->pg) != 0; /* if not: what came before is still good */
    while (c->pg != NULL && slot->n_asks != 0 && PQisBusy(c->pg) == 0)
        dload_postgres_loop_i_take(p, slot, PQgetResult(c->pg));
    if (c->pg != NULL && slot->n_asks == 0 && PQisBusy(c->pg) == 0) {
        PQclear(PQgetResult(c->pg)); /* libpq is idle only behind the NULL that follows a mark */
        const PGTransactionStatusType in = PQtransactionStatus(c->pg);
        if (in == PQTRANS_INTRANS || in == PQTRANS_INERROR)
            (void)dload_postgres_i_lose(c, DLOAD_EBACKEND); /* the next one would be in it, too */
    }
    if (c->pg != NULL && (!alive || PQstatus(c->pg) != CONNECTION_OK))
        (void)dload_postgres_i_lose(c, DLOAD_EBACKEND);
    if (c->pg != NULL && slot->retires && slot->n_jobs == 0)
        dload_postgres_i_close(c);
}

/* ---- connecting ---- */

/* False = no memory. */
DLOAD_I_LOCAL bool dload_postgres_loop_i_start(dload_postgres_loop_i_slot *slot)
{
    dload_postgres_conn *c = &slot->conn;
    if (!dload_postgres_i_connect_start(c))
        return false;
    slot->state = DLOAD_POSTGRES_LOOP_I_CONNECTING;
    slot->until_ns = dload_i_add_ns(dload_postgres_i_now(), c->pool->config.connect_ns);
    slot->wants = POLLOUT;
    slot->renewed = true;
    return true;
}

/* All settings at once; requests come behind their answers. */
DLOAD_I_LOCAL dload_status dload_postgres_loop_i_session(dload_postgres_loop_i_slot *slot)
{
    dload_postgres_conn *c = &slot->conn;
    const char *setting[2];
    bool may_fail = false;
    if (PQsetnonblocking(c->pg, 1) != 0 || PQenterPipelineMode(c->pg) == 0)
        return DLOAD_EBACKEND;
    slot->state = DLOAD_POSTGRES_LOOP_I_SESSION;
    dload_status st = dload_postgres_loop_i_limit(slot, c->pool->config.timeout_ns);
    for (size_t i = 0; st == DLOAD_OK && dload_postgres_i_setting(c, i, setting, &may_fail); i++)
        st = dload_postgres_loop_i_set(slot, setting, may_fail);
    return st;
}

/* One of libpq's steps, when the socket is ready for it. */
DLOAD_I_LOCAL dload_status dload_postgres_loop_i_shake(dload_postgres_loop_i_slot *slot)
{
    dload_postgres_conn *c = &slot->conn;
    struct pollfd f;
    f.fd = PQsocket(c->pg);
    f.events = (short)slot->wants;
    f.revents = 0;
    if (f.fd < 0 || PQstatus(c->pg) == CONNECTION_BAD)
        return DLOAD_EBACKEND;
    if (poll(&f, 1, 0) <= 0)
        return DLOAD_OK;
    slot->renewed = true; /* another address is another socket, perhaps by the same number */
    switch (PQconnectPoll(c->pg)) {
    case PGRES_POLLING_READING:
        slot->wants = POLLIN;
        return DLOAD_OK;
    case PGRES_POLLING_WRITING:
        slot->wants = POLLOUT;
        return DLOAD_OK;
    case PGRES_POLLING_OK:
        return dload_postgres_loop_i_session(slot);
    default:
        return DLOAD_EBACKEND;
    }
}

/* Goes on with what a connection does. Not DLOAD_OK: one could not be made, and why. */
DLOAD_I_LOCAL dload_status dload_postgres_loop_i_listen(dload_postgres_loop *p,
                                                        dload_postgres_loop_i_slot *slot)
{
    dload_postgres_conn *c = &slot->conn;
    dload_status st = DLOAD_OK;
    if (slot->state == DLOAD_POSTGRES_LOOP_I_CLOSED)
        return DLOAD_OK;
    const bool was_ready = slot->state == DLOAD_POSTGRES_LOOP_I_READY;
    if (slot->state == DLOAD_POSTGRES_LOOP_I_CONNECTING)
        st = dload_postgres_loop_i_shake(slot);
    else
        dload_postgres_loop_i_read(p, slot);
    if (c->pg == NULL)
        st = DLOAD_EBACKEND;
    else if (slot->state == DLOAD_POSTGRES_LOOP_I_SESSION && slot->n_asks == 0) {
        slot->state = DLOAD_POSTGRES_LOOP_I_READY;
        dload_postgres_i_connected(c->pool);
    } else if (st == DLOAD_OK && slot->state != DLOAD_POSTGRES_LOOP_I_READY &&
               dload_postgres_i_now() >= slot->until_ns)
        st = DLOAD_ETIMEDOUT;
    if (st != DLOAD_OK && !was_ready)
        (void)dload_postgres_i_not_connected(c, st);
    if (c->pg == NULL)
        dload_postgres_loop_i_gone(p, slot, DLOAD_EBACKEND);
    return was_ready ? DLOAD_OK : st;
}

/* ---- time, and the loop ---- */

/* Ends what waits for an answer longer than it may. The answer is dropped when it comes; a connection that nobody waits
 * for any more is closed. */
DLOAD_I_LOCAL void dload_postgres_loop_i_end_late_asks(dload_postgres_loop *p,
                                                       dload_postgres_loop_i_slot *slot,
                                                       uint64_t now_ns)
{
    for (uint32_t i = 0; i < slot->n_asks; i++) {
        dload_postgres_loop_i_ask *ask = &slot->asks[(slot->head + i) % DLOAD_POSTGRES_LOOP_I_ASKS];
        dload_postgres_loop_i_job *job = ask->job;
        if (job == NULL || now_ns < job->wait.until_ns)
            continue;
        ask->job = NULL;
        slot->n_jobs--;
        dload_postgres_loop_i_interrupted(p, job, DLOAD_ETIMEDOUT);
    }
    if (slot->state == DLOAD_POSTGRES_LOOP_I_READY && slot->n_asks != 0 && slot->n_jobs == 0) {
        (void)dload_postgres_i_lose(&slot->conn, DLOAD_ETIMEDOUT);
        dload_postgres_loop_i_gone(p, slot, DLOAD_ETIMEDOUT);
    }
}

/* When something must be done about it though nothing is heard. */
DLOAD_I_LOCAL uint64_t dload_postgres_loop_i_slot_deadline(const dload_postgres_loop_i_slot *slot)
{
    uint64_t at_ns = DLOAD_NEVER;
    if (slot->state == DLOAD_POSTGRES_LOOP_I_CONNECTING ||
        slot->state == DLOAD_POSTGRES_LOOP_I_SESSION)
        at_ns = slot->until_ns;
    for (uint32_t i = 0; i < slot->n_asks; i++) {
        const dload_postgres_loop_i_job *job =
            slot->asks[(slot->head + i) % DLOAD_POSTGRES_LOOP_I_ASKS].job;
        if (job != NULL && job->wait.until_ns < at_ns)
            at_ns = job->wait.until_ns;
    }
    if (slot->n_asks != 0 && PQsslInUse(slot->conn.pg) != 0) {
        /* What TLS has deciphered already no poll tells of. */
        const uint64_t soon_ns = dload_postgres_i_now() + 10 * DLOAD_MILLISECOND;
        at_ns = soon_ns < at_ns ? soon_ns : at_ns;
    }
    return at_ns;
}

/* Sends what is queued, as far as it goes. */
DLOAD_I_LOCAL void dload_postgres_loop_i_flush(dload_postgres_loop *p,
                                               dload_postgres_loop_i_slot *slot)
{
    if (slot->state != DLOAD_POSTGRES_LOOP_I_SESSION && slot->state != DLOAD_POSTGRES_LOOP_I_READY)
        return;
    const int left = PQflush(slot->conn.pg);
    slot->wants = left > 0 ? POLLIN | POLLOUT : POLLIN;
    if (left >= 0)
        return;
    (void)dload_postgres_i_lose(&slot->conn, DLOAD_EBACKEND);
    if (slot->state == DLOAD_POSTGRES_LOOP_I_SESSION)
        dload_postgres_i_back_off(slot->conn.pool);
    dload_postgres_loop_i_gone(p, slot, DLOAD_EBACKEND);
}

/* Tells the loop what to poll of a slot. */
DLOAD_I_LOCAL void dload_postgres_loop_i_watch(dload_postgres_loop *p, uint32_t at)
{
    dload_postgres_loop_i_slot *slot = &p->slots[at];
    const bool open = slot->state != DLOAD_POSTGRES_LOOP_I_CLOSED;
    if (slot->polled >= 0 && (!open || slot->renewed)) {
        p->hooks.watch(p->hooks.ctx, at, slot->polled, 0);
        (void)close(slot->polled);
        slot->polled = -1;
    }
    if (!open)
        return;
    if (slot->polled < 0) {
        /* libpq closes its descriptor by itself, at any time; this one lives until the loop let go of it. */
        slot->polled = fcntl(PQsocket(slot->conn.pg), F_DUPFD_CLOEXEC, 0);
        slot->events = 0;
        slot->renewed = false;
        if (slot->polled < 0) {
            const bool ready = slot->state == DLOAD_POSTGRES_LOOP_I_READY;
            (void)dload_postgres_i_lose(&slot->conn, DLOAD_EBACKEND); /* no descriptor left */
            if (!ready)
                dload_postgres_i_back_off(slot->conn.pool);
            dload_postgres_loop_i_gone(p, slot, DLOAD_EBACKEND);
            p->hooks.wake(p->hooks.ctx);
            return;
        }
    }
    if (slot->wants != slot->events)
        p->hooks.watch(p->hooks.ctx, at, slot->polled, slot->wants);
    slot->events = slot->wants;
}

#endif /* DLOAD_POSTGRES_LOOP_CONN_H */
