/* dataloader_redis/listen.h -- a connection that only listens, its thread, and who is told what it hears.
 *
 * SPDX-License-Identifier: MIT
 *
 * What dataloader_redis_tracking.h and dataloader_redis_channel.h have in common; they are the ones to include.
 *
 * THE THREAD  connects, subscribes, tells the sinks up(), and hands on what is heard until the connection
 * is lost; then it tells them down() and connects again, after pauses that grow (config of the
 * server). Lost is: an end of file, an error, what is no Redis protocol, and silence.
 *
 * SILENCE  A PING goes out every ping_ns. What was sent before the oldest one that is not answered may
 * have been missed: when that is silent_ns ago, the connection counts as lost. Whoever caches is thus
 * never wrong for longer than silent_ns and what the thread is late, whatever the network does.
 *
 * THE BARRIER  A PING of its own, and the wait for its answer: when it is there everything that the server
 * said before has been told to the sinks.
 */
#ifndef DLOAD_REDIS_LISTEN_H
#define DLOAD_REDIS_LISTEN_H

#include "sinks.h"

/* ---- pings ---- */

DLOAD_I_LOCAL dload_status dload_redis_i_ping(dload_redis_listen *l, uint64_t asked)
{
    l->n_sent++;
    l->sent_for = asked;
    if (l->probe == 0) {
        l->probe = l->n_sent;
        l->probe_ns = dload_redis_now();
    }
    dload_redis_i_count(l, &l->stats.n_pings);
    (void)dload_redis_begin(&l->conn, 2);
    (void)dload_redis_text(&l->conn, "PING");
    /* Which PING, and up to which barrier it answers. */
    char text[48];
    (void)snprintf(text, sizeof text, "%llu %llu", (unsigned long long)l->n_sent,
                   (unsigned long long)asked);
    (void)dload_redis_text(&l->conn, text);
    return dload_redis_i_send(&l->conn);
}

/* Is this an answer to one of our PINGs? */
DLOAD_I_LOCAL bool dload_redis_i_pong(dload_redis_listen *l, const redisReply *r)
{
    if (r->type != REDIS_REPLY_ARRAY || r->elements != 2 ||
        r->element[0]->type != REDIS_REPLY_STRING || r->element[0]->len != 4 ||
        memcmp(r->element[0]->str, "pong", 4) != 0 || r->element[1]->type != REDIS_REPLY_STRING)
        return false;
    char *end = NULL;
    const uint64_t number = strtoull(r->element[1]->str, &end, 10);
    const uint64_t asked = strtoull(end, NULL, 10);
    if (l->probe != 0 && number >= l->probe) {
        l->heard_ns = l->probe_ns;
        l->probe = 0;
    }
    l->ponged = asked > l->ponged ? asked : l->ponged;
    return true;
}

/* ---- the thread ---- */

DLOAD_I_LOCAL bool dload_redis_i_stopping(dload_redis_listen *l)
{
    pthread_mutex_lock(&l->mutex);
    bool stopping = l->stopping;
    pthread_mutex_unlock(&l->mutex);
    return stopping;
}

/* Takes what came; not DLOAD_OK: lost. */
DLOAD_I_LOCAL dload_status dload_redis_i_take(dload_redis_listen *l)
{
    dload_status st = dload_redis_step(&l->conn);
    while (st == DLOAD_OK) {
        redisReply *r = NULL;
        st = dload_redis_next(&l->conn, &r);
        if (st != DLOAD_OK)
            break;
        if (!dload_redis_i_pong(l, r))
            st = l->ops->heard(l, r);
        freeReplyObject(r);
    }
    return st == DLOAD_PENDING ? DLOAD_OK : st;
}

/* Sends what is due; how long there is nothing to do then. */
DLOAD_I_LOCAL dload_status dload_redis_i_due(dload_redis_listen *l, uint64_t *until_ns)
{
    dload_status st = DLOAD_OK;
    pthread_mutex_lock(&l->mutex);
    const uint64_t asked = l->asked;
    pthread_mutex_unlock(&l->mutex);
    const uint64_t now_ns = dload_redis_now();
    if (now_ns - l->heard_ns >= l->silent_ns)
        return dload_redis_close(&l->conn, DLOAD_ETIMEDOUT, "silent for too long");
    if (asked != l->sent_for || (l->probe == 0 && now_ns - l->heard_ns >= l->ping_ns))
        st = dload_redis_i_ping(l, asked);
    *until_ns = l->heard_ns + (l->probe == 0 ? l->ping_ns : l->silent_ns);
    return st;
}

/* Polls what is beside, and the listening connection with it when p has it already: n_own entries of p are filled in.
 * Tells the sinks when something of that was lost. */
DLOAD_I_LOCAL void dload_redis_i_poll(dload_redis_listen *l, struct pollfd *p, size_t n_own,
                                      uint64_t ms)
{
    uint64_t serials[DLOAD_REDIS_I_N_POLLED];
    size_t n = 0;
    if (l->ops->beside != NULL)
        n = l->ops->beside(l, p + n_own, serials, DLOAD_REDIS_I_N_POLLED);
    if (n_own + n != 0)
        (void)poll(p, (nfds_t)(n_own + n), ms < 1000 ? (int)ms : 1000);
    if (l->ops->looked != NULL && l->ops->looked(l, p + n_own, serials, n))
        dload_redis_i_tell(l, DLOAD_REDIS_I_ALL, NULL, 0);
}

/* Lets those go on whose barrier was answered. What they wrote was reported to us before, unless the connection that
 * had read it was lost even earlier: that is to be seen first, though its loss came to us by another way than the answer
 * (mutant PONG_FIRST of tests/models/barrier.pml). */
DLOAD_I_LOCAL void dload_redis_i_release_barriers(dload_redis_listen *l)
{
    struct pollfd p[DLOAD_REDIS_I_N_POLLED];
    pthread_mutex_lock(&l->mutex);
    const bool waited_for = l->ponged > l->answered;
    pthread_mutex_unlock(&l->mutex);
    if (!waited_for)
        return;
    dload_redis_i_poll(l, p, 0, 0);
    dload_redis_i_tell_fresh(l);
    pthread_mutex_lock(&l->mutex);
    l->answered = l->ponged;
    pthread_cond_broadcast(&l->changed);
    pthread_mutex_unlock(&l->mutex);
}

/* Listens until the connection is lost, or we are to stop; polls what is beside at least once a second. */
DLOAD_I_LOCAL void dload_redis_i_serve(dload_redis_listen *l)
{
    struct pollfd p[2 + DLOAD_REDIS_I_N_POLLED];
    uint64_t until_ns = 0;
    dload_status st = DLOAD_OK;
    while (st == DLOAD_OK && !dload_redis_i_stopping(l)) {
        dload_redis_i_tell_fresh(l);
        st = dload_redis_i_due(l, &until_ns);
        if (st != DLOAD_OK)
            break;
        const uint64_t now_ns = dload_redis_now();
        p[0].fd = l->wake[0];
        p[0].events = POLLIN;
        p[1].fd = l->conn.fd;
        p[1].events = (short)dload_redis_wants(&l->conn);
        p[0].revents = p[1].revents = 0;
        dload_redis_i_poll(l, p, 2,
                           until_ns > now_ns ? (until_ns - now_ns - 1) / DLOAD_MILLISECOND + 1 : 0);
        if (p[0].revents != 0)
            dload_redis_i_poked(l);
        /* First what was heard, then whether it was silent. */
        if (p[1].revents != 0)
            st = dload_redis_i_take(l);
        if (st == DLOAD_OK)
            dload_redis_i_release_barriers(l);
    }
}

/* Hearing begins or ends. Connections of the other kind change their mark first (turn), then sinks are told, then
 * barriers that wait are let go: sinks forgot everything after they were asked for. Barriers that come when
 * hearing has ended see to themselves (mutant UP_LAST). */
DLOAD_I_LOCAL void dload_redis_i_turn(dload_redis_listen *l, bool up)
{
    if (l->ops->turn != NULL)
        l->ops->turn(l, up);
    dload_redis_i_log(l, up ? "connected; what changes is heard" : l->conn.error);
    pthread_mutex_lock(&l->mutex);
    l->up = up;
    l->stats.n_up += up;
    l->stats.n_lost += !up;
    if (!up)
        memcpy(l->stats.last_error, l->conn.error, sizeof l->stats.last_error);
    pthread_mutex_unlock(&l->mutex);
    dload_redis_i_tell(l, up ? DLOAD_REDIS_I_UP : DLOAD_REDIS_I_DOWN, NULL, 0);
    pthread_mutex_lock(&l->mutex);
    if (!up)
        l->answered = l->asked;
    pthread_cond_broadcast(&l->changed);
    pthread_mutex_unlock(&l->mutex);
}

/* One life of the connection. True: it was of use. */
DLOAD_I_LOCAL bool dload_redis_i_life(dload_redis_listen *l)
{
    const uint64_t until_ns = dload_i_add_ns(dload_redis_now(), l->server->connect_timeout_ns);
    l->probe = 0;
    l->heard_ns = dload_redis_now(); /* what is said from here on is heard, or we are not up */
    pthread_mutex_lock(&l->mutex);
    l->sent_for = l->ponged = l->answered = l->asked;
    pthread_mutex_unlock(&l->mutex);
    dload_status st = dload_redis_open(&l->conn, l->server);
    if (st == DLOAD_OK)
        st = l->ops->hello(l, until_ns);
    if (st != DLOAD_OK) {
        (void)dload_redis_close(&l->conn, st, "subscribing failed");
        pthread_mutex_lock(&l->mutex);
        l->stats.n_failed++;
        memcpy(l->stats.last_error, l->conn.error, sizeof l->stats.last_error);
        pthread_mutex_unlock(&l->mutex);
        dload_redis_i_log(l, l->conn.error);
        return false;
    }
    l->heard_ns = dload_redis_now();
    dload_redis_i_turn(l, true);
    dload_redis_i_serve(l);
    (void)dload_redis_close(&l->conn, DLOAD_ECLOSED, "closed");
    dload_redis_i_turn(l, false);
    return true;
}

DLOAD_I_LOCAL void *dload_redis_i_thread(void *arg)
{
    dload_redis_listen *l = (dload_redis_listen *)arg;
    for (uint32_t n = 0; !dload_redis_i_stopping(l);) {
        n = dload_redis_i_life(l) ? 0 : n + (n < 64);
        const uint64_t until_ns = dload_redis_now() + dload_redis_pause(l->server, n, l);
        pthread_mutex_lock(&l->mutex);
        while (!l->stopping && dload_redis_now() < until_ns)
            dload_threads_i_wait(&l->changed, &l->mutex, until_ns);
        pthread_mutex_unlock(&l->mutex);
    }
    return NULL;
}

/* ---- its life ---- */

DLOAD_I_LOCAL dload_status dload_redis_i_listen_init(dload_redis_listen *l,
                                                     const dload_redis_listen_ops *ops,
                                                     dload_redis_server *server,
                                                     const dload_redis_listen_config *cfg)
{
    memset(l, 0, sizeof *l);
    l->ops = ops;
    l->server = server;
    l->hooks = cfg != NULL ? cfg->hooks : NULL;
    l->prefix = cfg != NULL ? cfg->prefix : NULL;
    l->ping_ns = cfg != NULL && cfg->ping_ns != 0 ? cfg->ping_ns : DLOAD_SECOND;
    l->silent_ns = cfg != NULL && cfg->silent_ns != 0 ? cfg->silent_ns : 2 * DLOAD_SECOND;
    l->conn.fd = -1;
    if (l->silent_ns <= l->ping_ns)
        return DLOAD_EINVAL;
    if (pipe(l->wake) != 0)
        return DLOAD_ENOMEM;
    for (size_t i = 0; i < 2; i++) {
        (void)fcntl(l->wake[i], F_SETFD, FD_CLOEXEC);
        (void)fcntl(l->wake[i], F_SETFL, O_NONBLOCK);
    }
    if (dload_threads_i_pair_init(&l->mutex, &l->changed))
        return DLOAD_OK;
    (void)close(l->wake[0]);
    (void)close(l->wake[1]);
    return DLOAD_ENOMEM;
}

DLOAD_I_LOCAL dload_status dload_redis_i_listen_start(dload_redis_listen *l)
{
    pthread_mutex_lock(&l->mutex);
    const bool runs = l->pid != 0;
    l->stopping = false;
    pthread_mutex_unlock(&l->mutex);
    if (runs)
        return DLOAD_EBUSY;
    sigset_t all, before;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all,
                          &before); /* signals are for the program's own threads */
    l->pid = getpid();
    const int failed = pthread_create(&l->thread, NULL, dload_redis_i_thread, l);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failed != 0)
        l->pid = 0;
    return failed == 0 ? DLOAD_OK : DLOAD_ENOMEM;
}

/* In the child of a fork() there is no thread: what is ours is closed without a word. */
DLOAD_I_LOCAL void dload_redis_i_listen_stop(dload_redis_listen *l)
{
    if (l->pid == 0)
        return;
    if (l->pid != getpid()) {
        dload_redis_drop(&l->conn);
        l->pid = 0;
        return;
    }
    pthread_mutex_lock(&l->mutex);
    l->stopping = true;
    dload_redis_i_poke(l);
    pthread_cond_broadcast(&l->changed);
    pthread_mutex_unlock(&l->mutex);
    (void)pthread_join(l->thread, NULL);
    l->pid = 0;
}

DLOAD_I_LOCAL void dload_redis_i_listen_end(dload_redis_listen *l)
{
    const bool child = l->pid != 0 && l->pid != getpid();
    dload_redis_i_listen_stop(l);
    (void)close(l->wake[0]);
    (void)close(l->wake[1]);
    if (child)
        return; /* whoever held or waited for these is not here */
    (void)pthread_cond_destroy(&l->changed);
    (void)pthread_mutex_destroy(&l->mutex);
}

#endif /* DLOAD_REDIS_LISTEN_H */
