/* dataloader_postgres/channel.h -- a channel's thread, and what programs call.
 *
 * SPDX-License-Identifier: MIT
 *
 * The second half of dataloader_postgres_notify.h, which includes it.
 */
#ifndef DLOAD_POSTGRES_CHANNEL_H
#define DLOAD_POSTGRES_CHANNEL_H

#ifndef DLOAD_POSTGRES_NOTIFY_H
#error "dataloader_postgres/channel.h: include dataloader_postgres_notify.h instead"
#endif

/* ---- the thread ---- */

/* Asks for an answer: a sign of life, and, because what was committed before is delivered before it, a barrier. */
DLOAD_I_LOCAL dload_status dload_postgres_i_probe(dload_postgres_channel *c,
                                                  dload_postgres_conn *conn)
{
    (void)pthread_mutex_lock(&c->mutex);
    c->probe_for = c->asked;
    c->stats.n_pings++;
    (void)pthread_mutex_unlock(&c->mutex);
    c->probing = true;
    c->probe_ns = dload_postgres_i_now();
    if (PQsendQuery(conn->pg, "SELECT 1") == 0)
        return dload_postgres_i_lose(conn, DLOAD_EBACKEND);
    return dload_postgres_i_flush(conn, c->probe_ns + c->silent_ns - c->ping_ns);
}

/* Takes what has come: messages, and perhaps the answer. That is believed only when all that came before it has been
 * told. */
DLOAD_I_LOCAL dload_status dload_postgres_i_hear(dload_postgres_channel *c,
                                                 dload_postgres_conn *conn)
{
    bool answered = false;
    if (PQconsumeInput(conn->pg) == 0)
        return dload_postgres_i_lose(conn, DLOAD_EBACKEND);
    while (c->probing && !answered && PQisBusy(conn->pg) == 0) {
        PGresult *r = PQgetResult(conn->pg);
        answered = r == NULL;
        const bool ok = r == NULL || PQresultStatus(r) == PGRES_TUPLES_OK;
        PQclear(r);
        if (!ok)
            return dload_postgres_i_lose(conn, DLOAD_EBACKEND);
    }
    for (PGnotify *n; (n = PQnotifies(conn->pg)) != NULL;) {
        if (strcmp(n->relname, c->name) == 0)
            dload_postgres_i_heard(c, n->extra);
        PQfreemem(n);
    }
    if (answered) {
        c->probing = false;
        c->heard_ns = dload_postgres_i_now();
        (void)pthread_mutex_lock(&c->mutex);
        c->answered = c->probe_for;
        (void)pthread_cond_broadcast(&c->changed);
        (void)pthread_mutex_unlock(&c->mutex);
    }
    return PQstatus(conn->pg) == CONNECTION_OK ? DLOAD_OK
                                               : dload_postgres_i_lose(conn, DLOAD_EBACKEND);
}

/* Does somebody wait at a barrier that no answer on its way will open? */
DLOAD_I_LOCAL bool dload_postgres_i_wanted(dload_postgres_channel *c, bool *stopping)
{
    (void)pthread_mutex_lock(&c->mutex);
    const bool wanted = c->asked > (c->probing ? c->probe_for : c->answered);
    *stopping = c->stopping;
    (void)pthread_mutex_unlock(&c->mutex);
    return wanted;
}

/* Waits for the server, for other threads, or until until_ns. */
DLOAD_I_LOCAL void dload_postgres_i_idle(dload_postgres_channel *c, int fd, uint64_t until_ns)
{
    struct pollfd f[2];
    char bytes[64];
    const uint64_t now_ns = dload_postgres_i_now();
    uint64_t left_ns = until_ns > now_ns ? until_ns - now_ns : 0;
    left_ns = left_ns < DLOAD_SECOND ? left_ns : DLOAD_SECOND;
    memset(f, 0, sizeof f);
    f[0].fd = c->wake[0];
    f[1].fd = fd;
    f[0].events = f[1].events = POLLIN;
    if (poll(f, fd >= 0 ? 2 : 1, (int)((left_ns + DLOAD_MILLISECOND - 1) / DLOAD_MILLISECOND)) >
            0 &&
        f[0].revents != 0) {
        while (read(c->wake[0], bytes, sizeof bytes) > 0)
            continue;
    }
}

/* Listens until the connection is lost or the thread is to end. */
DLOAD_I_LOCAL void dload_postgres_i_listen(dload_postgres_channel *c, dload_postgres_conn *conn)
{
    bool stopping = false;
    dload_status st = DLOAD_OK;
    while (st == DLOAD_OK) {
        dload_postgres_i_tell_fresh(c);
        const bool wanted = dload_postgres_i_wanted(c, &stopping);
        const uint64_t now_ns = dload_postgres_i_now();
        if (stopping)
            return;
        if (c->probing && now_ns - c->probe_ns >= c->silent_ns - c->ping_ns) {
            (void)dload_postgres_i_lose(conn, DLOAD_ETIMEDOUT);
            return;
        }
        if (!c->probing && (wanted || now_ns - c->heard_ns >= c->ping_ns))
            st = dload_postgres_i_probe(c, conn);
        if (st != DLOAD_OK)
            return;
        dload_postgres_i_idle(c, PQsocket(conn->pg),
                              c->probing ? c->probe_ns + c->silent_ns - c->ping_ns
                                         : c->heard_ns + c->ping_ns);
        st = dload_postgres_i_hear(c, conn);
    }
}

/* Connects and listens; false = neither was possible. */
DLOAD_I_LOCAL bool dload_postgres_i_life(dload_postgres_channel *c)
{
    dload_postgres_conn *conn = &c->pool.conns[0];
    const uint64_t deadline_ns = dload_postgres_i_deadline(&c->pool, 0);
    c->probing = false;
    conn->lost = false;
    dload_status st = dload_postgres_i_connect(conn, deadline_ns);
    if (st == DLOAD_OK) {
        st = dload_postgres_i_simple(conn, c->listen, deadline_ns);
        if (st != DLOAD_OK)
            dload_postgres_i_back_off(&c->pool);
    }
    if (st == DLOAD_OK) {
        c->heard_ns = dload_postgres_i_now();
        dload_postgres_i_turn(c, true);
        dload_postgres_i_listen(c, conn);
        dload_postgres_i_turn(c, false);
    } else {
        (void)pthread_mutex_lock(&c->mutex);
        c->stats.n_failed++;
        (void)pthread_mutex_unlock(&c->mutex);
    }
    dload_postgres_i_close(conn);
    return st == DLOAD_OK;
}

DLOAD_I_LOCAL void *dload_postgres_i_thread(void *arg)
{
    dload_postgres_channel *c = (dload_postgres_channel *)arg;
    bool stopping = false;
    while (!stopping) {
        const bool listened = dload_postgres_i_life(c);
        (void)pthread_mutex_lock(&c->pool.mutex);
        const uint64_t until_ns = listened ? 0 : c->pool.down_until_ns;
        (void)pthread_mutex_unlock(&c->pool.mutex);
        (void)pthread_mutex_lock(&c->mutex);
        while (!c->stopping && dload_postgres_i_now() < until_ns)
            dload_threads_i_wait(&c->changed, &c->mutex, until_ns);
        stopping = c->stopping;
        (void)pthread_mutex_unlock(&c->mutex);
    }
    return NULL;
}

/* ---- for programs ---- */

/* Makes c ready; connects to nobody yet. Returns DLOAD_OK; DLOAD_EINVAL: no url, a name that is none, silent_ns not more
 * than ping_ns; DLOAD_ENOMEM. */
DLOAD_I_LOCAL dload_status dload_postgres_channel_init(dload_postgres_channel *c,
                                                       const dload_postgres_channel_config *config)
{
    if (c == NULL || config == NULL || !dload_postgres_i_name_ok(config->name))
        return DLOAD_EINVAL;
    memset(c, 0, sizeof *c);
    c->ping_ns = config->ping_ns != 0 ? config->ping_ns : DLOAD_SECOND;
    c->silent_ns = config->silent_ns != 0 ? config->silent_ns : 2 * DLOAD_SECOND;
    if (c->silent_ns <= c->ping_ns)
        return DLOAD_EINVAL;
    (void)snprintf(c->name, sizeof c->name, "%s", config->name);
    (void)snprintf(c->listen, sizeof c->listen, "LISTEN \"%s\"", config->name);
    dload_postgres_config pg = config->pg;
    pg.max_conns = 2;
    dload_status st = dload_postgres_init(&c->pool, &pg);
    if (st != DLOAD_OK)
        return st;
    c->pool.conns[0].busy = true; /* the thread's: nobody else is given it */
    if (!dload_threads_i_pair_init(&c->mutex, &c->changed)) {
        dload_postgres_destroy(&c->pool);
        return DLOAD_ENOMEM;
    }
    if (pipe(c->wake) != 0) {
        (void)pthread_cond_destroy(&c->changed);
        (void)pthread_mutex_destroy(&c->mutex);
        dload_postgres_destroy(&c->pool);
        return DLOAD_ENOMEM;
    }
    for (size_t i = 0; i < 2; i++) {
        (void)fcntl(c->wake[i], F_SETFD, FD_CLOEXEC);
        (void)fcntl(c->wake[i], F_SETFL, O_NONBLOCK);
    }
    return DLOAD_OK;
}

/* Starts the thread. The server need not be there: it is tried again and again. Returns DLOAD_OK; DLOAD_EBUSY: it
 * runs; DLOAD_ENOMEM: no thread; DLOAD_EFORK. */
DLOAD_I_LOCAL dload_status dload_postgres_channel_start(dload_postgres_channel *c)
{
    sigset_t all, before;
    if (c->pool.pid != getpid())
        return DLOAD_EFORK;
    if (c->runs)
        return DLOAD_EBUSY;
    c->stopping = false;
    (void)sigfillset(&all); /* signals are for the program's own threads */
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    c->runs = pthread_create(&c->thread, NULL, dload_postgres_i_thread, c) == 0;
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return c->runs ? DLOAD_OK : DLOAD_ENOMEM;
}

/* The thread has something to do. */
DLOAD_I_LOCAL void dload_postgres_i_poke(dload_postgres_channel *c)
{
    const char byte = 0;
    ssize_t n = write(c->wake[1], &byte, 1); /* full = it will wake anyway */
    (void)n;
}

/* Ends the thread; sinks are told down(). Waits for what it does: an attempt to connect, a sink. May be started
 * again. Not running: nothing. */
DLOAD_I_LOCAL void dload_postgres_channel_stop(dload_postgres_channel *c)
{
    if (!c->runs || c->pool.pid != getpid())
        return;
    (void)pthread_mutex_lock(&c->mutex);
    c->stopping = true;
    (void)pthread_cond_broadcast(&c->changed);
    (void)pthread_mutex_unlock(&c->mutex);
    dload_postgres_i_poke(c);
    (void)pthread_join(c->thread, NULL);
    c->runs = false;
}

/* Stops, and gives everything back. Nobody may be inside a call. */
DLOAD_I_LOCAL void dload_postgres_channel_destroy(dload_postgres_channel *c)
{
    dload_postgres_channel_stop(c);
    (void)close(c->wake[0]);
    (void)close(c->wake[1]);
    if (c->pool.pid == getpid()) { /* in a child: whoever held or waited for these is not here */
        (void)pthread_cond_destroy(&c->changed);
        (void)pthread_mutex_destroy(&c->mutex);
    }
    dload_postgres_destroy(&c->pool);
}

/* One more to be told; up() comes first, at once when we hear already. The sink is the caller's and stays until
 * _remove or _destroy; it is in one channel's list alone. Any thread. */
DLOAD_I_LOCAL void dload_postgres_channel_add(dload_postgres_channel *c, dload_sink *sink)
{
    (void)pthread_mutex_lock(&c->mutex);
    sink->next = c->fresh;
    c->fresh = sink;
    (void)pthread_mutex_unlock(&c->mutex);
    dload_postgres_i_poke(c);
}

/* It is told nothing any more, but down() at the end, by this thread, if it was up. Waits while the thread is
 * telling. Any thread. */
DLOAD_I_LOCAL void dload_postgres_channel_remove(dload_postgres_channel *c, dload_sink *sink)
{
    dload_sink **const lists[2] = {&c->sinks, &c->fresh};
    bool heard = false;
    (void)pthread_mutex_lock(&c->mutex);
    while (c->telling)
        dload_threads_i_wait(&c->changed, &c->mutex, DLOAD_NEVER);
    for (size_t i = 0; i < 2; i++) {
        dload_sink **at = lists[i];
        while (*at != NULL && *at != sink)
            at = &(*at)->next;
        heard = heard || (i == 0 && *at != NULL && c->up);
        if (*at != NULL)
            *at = sink->next;
    }
    (void)pthread_mutex_unlock(&c->mutex);
    if (heard)
        sink->down(sink->ctx);
}

/* Waits until changes are heard and all sinks know. Returns DLOAD_OK; DLOAD_ETIMEDOUT; DLOAD_ECLOSED: stopped. Any
 * thread. */
DLOAD_I_LOCAL dload_status dload_postgres_channel_wait(dload_postgres_channel *c,
                                                       uint64_t timeout_ns)
{
    const uint64_t until_ns = dload_i_add_ns(dload_postgres_i_now(), timeout_ns);
    (void)pthread_mutex_lock(&c->mutex);
    while ((!c->up || c->fresh != NULL || c->telling) && !c->stopping &&
           dload_postgres_i_now() < until_ns)
        dload_threads_i_wait(&c->changed, &c->mutex, until_ns);
    dload_status st = c->stopping                                ? DLOAD_ECLOSED
                      : c->up && c->fresh == NULL && !c->telling ? DLOAD_OK
                                                                 : DLOAD_ETIMEDOUT;
    (void)pthread_mutex_unlock(&c->mutex);
    return st;
}

/* For reading one's own writes: after a change was committed, on whatever connection, this returns when the sinks have
 * been told of it. timeout_ns 0 = silent_ns: within that it is known, or the connection is lost. Returns DLOAD_OK,
 * also when nothing is heard, because then sinks cache nothing; DLOAD_ETIMEDOUT: not known. Costs one exchange with
 * the server, shared by all who wait. Any thread. */
DLOAD_I_LOCAL dload_status dload_postgres_channel_barrier(dload_postgres_channel *c,
                                                          uint64_t timeout_ns)
{
    const uint64_t until_ns =
        dload_i_add_ns(dload_postgres_i_now(), timeout_ns != 0 ? timeout_ns : 2 * c->silent_ns);
    (void)pthread_mutex_lock(&c->mutex);
    const uint64_t mine = ++c->asked;
    (void)pthread_mutex_unlock(&c->mutex);
    dload_postgres_i_poke(c);
    (void)pthread_mutex_lock(&c->mutex);
    const uint64_t n_up = c->stats.n_up;
    while (c->up && c->stats.n_up == n_up && c->answered < mine &&
           dload_postgres_i_now() < until_ns)
        dload_threads_i_wait(&c->changed, &c->mutex, until_ns);
    const bool known = !c->up || c->stats.n_up != n_up || c->answered >= mine;
    (void)pthread_mutex_unlock(&c->mutex);
    return known ? DLOAD_OK : DLOAD_ETIMEDOUT;
}

/* The counters up to now. Any thread. */
DLOAD_I_LOCAL void dload_postgres_channel_stats(dload_postgres_channel *c,
                                                dload_postgres_channel_counts *out)
{
    (void)pthread_mutex_lock(&c->mutex);
    *out = c->stats;
    (void)pthread_mutex_unlock(&c->mutex);
}

#include "publish.h"

#endif /* DLOAD_POSTGRES_CHANNEL_H */
