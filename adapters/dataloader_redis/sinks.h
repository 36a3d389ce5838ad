/* dataloader_redis/sinks.h -- who is told what a listening connection hears, and who waits for it.
 *
 * SPDX-License-Identifier: MIT
 *
 * Part of dataloader_redis/listen.h, which includes it: the state, and all that other threads than the
 * listener's own call.
 */
#ifndef DLOAD_REDIS_SINKS_H
#define DLOAD_REDIS_SINKS_H

#include "../dataloader_threads/pair.h"
#include "conn.h"

#include <signal.h>

/* Counters since a listener was started. */
typedef struct dload_redis_listen_stats {
    uint64_t n_up;        /* times that it began to hear */
    uint64_t n_lost;      /* times that it stopped */
    uint64_t n_failed;    /* attempts to connect that failed */
    uint64_t n_keys;      /* keys that sinks were told of */
    uint64_t n_all;       /* times that sinks were told to forget everything, up and down aside */
    uint64_t n_foreign;   /* names that are no keys under the prefix: leases, other programs' */
    uint64_t n_ignored;   /* messages that were not what the server sends; forged ones, perhaps */
    uint64_t n_pings;     /* sent */
    uint64_t n_barriers;  /* asked for */
    uint64_t n_data_lost; /* tracking: data connections that were lost while we heard */
    uint64_t n_gaps;      /* channel: numbers that were missing */
    char last_error[160]; /* why it stopped the last time, or could not begin */
} dload_redis_listen_stats;

/* How a listener listens; zeros are the defaults. */
typedef struct dload_redis_listen_config {
    uint64_t ping_ns;   /* default 1 s */
    uint64_t silent_ns; /* default 2 s; more than ping_ns, or it never is quiet enough */
    const dload_store_hooks
        *hooks; /* log() alone is used; NULL = none; must outlive the listener */
    /* Tracking: what the store's keys begin with (dload_redis_store_config.prefix, default "dload:"): sinks are told keys as
     * the store's users know them, and of no others. NULL = names as they are on the server, all that were
     * read. Must outlive the listener */
    const char *prefix;
} dload_redis_listen_config;

#define DLOAD_REDIS_I_N_POLLED 64u

struct dload_redis_listen;

/* What tracking and channel do differently; each runs in the thread with no lock held. Private. */
typedef struct dload_redis_listen_ops {
    const char *name; /* for logs */
    /* Connected: subscribe, and be sure of it before until_ns. */
    dload_status (*hello)(struct dload_redis_listen *l, uint64_t until_ns);
    /* Before sinks are told up, and before they are told down; NULL = nothing. */
    void (*turn)(struct dload_redis_listen *l, bool up);
    /* Something was heard that is no answer to a PING. Not DLOAD_OK: the connection is lost. */
    dload_status (*heard)(struct dload_redis_listen *l, const redisReply *r);
    /* What to poll beside: fills in at most cap, returns how many. NULL = nothing. */
    size_t (*beside)(struct dload_redis_listen *l, struct pollfd *p, uint64_t *serials, size_t cap);
    /* ... and what poll said, n may be 0. True: sinks must forget everything. */
    bool (*looked)(struct dload_redis_listen *l, const struct pollfd *p, const uint64_t *serials,
                   size_t n);
} dload_redis_listen_ops;

typedef struct dload_redis_listen {
    const dload_redis_listen_ops *ops;
    dload_redis_server *server;
    const dload_store_hooks *hooks;
    const char *prefix;
    uint64_t ping_ns, silent_ns;
    pid_t pid; /* of who started it; 0 = not running */
    pthread_t thread;
    int wake[2]; /* a pipe: there is something to do */
    /* under mutex */
    pthread_mutex_t mutex;
    pthread_cond_t changed; /* up, telling, answered, stopping */
    dload_sink *sinks;      /* told up, if up */
    dload_sink *fresh;      /* not yet */
    bool up, stopping, telling, awake;
    uint64_t asked, answered; /* numbers of barriers */
    dload_redis_listen_stats stats;
    /* the thread's */
    dload_redis_conn conn;
    uint64_t n_sent;          /* the number of the last PING */
    uint64_t sent_for;        /* asked, when it was sent */
    uint64_t ponged;          /* asked, as the last answer had it */
    uint64_t probe, probe_ns; /* the one that silence is judged by; 0 = answered */
    uint64_t heard_ns;        /* what was said before this moment has been heard */
} dload_redis_listen;

/* ---- telling ---- */

DLOAD_I_LOCAL void dload_redis_i_log(dload_redis_listen *l, const char *text)
{
    if (l->hooks != NULL && l->hooks->log != NULL)
        l->hooks->log(l->hooks->ctx, l->ops->name, text);
}

DLOAD_I_LOCAL void dload_redis_i_count(dload_redis_listen *l, uint64_t *counter)
{
    pthread_mutex_lock(&l->mutex);
    ++*counter;
    pthread_mutex_unlock(&l->mutex);
}

#define DLOAD_REDIS_I_KEY  1
#define DLOAD_REDIS_I_ALL  2
#define DLOAD_REDIS_I_DOWN 3
#define DLOAD_REDIS_I_UP   4

DLOAD_I_LOCAL void dload_redis_i_tell_one(const dload_sink *s, int what, const char *key, size_t n)
{
    if (what == DLOAD_REDIS_I_KEY)
        s->key(s->ctx, key, n);
    else if (what == DLOAD_REDIS_I_ALL)
        s->all(s->ctx);
    else if (what == DLOAD_REDIS_I_DOWN)
        s->down(s->ctx);
    else
        s->up(s->ctx);
}

/* One at a time tells; meanwhile nobody comes or goes. mutex is held, before and after, but not between. The lists of
 * sinks are changed by who tells, with the mutex: others look at them with it alone. */
DLOAD_I_LOCAL void dload_redis_i_begin_telling(dload_redis_listen *l)
{
    while (l->telling)
        dload_threads_i_wait(&l->changed, &l->mutex, DLOAD_NEVER);
    l->telling = true;
    pthread_mutex_unlock(&l->mutex);
}

DLOAD_I_LOCAL void dload_redis_i_end_telling(dload_redis_listen *l)
{
    pthread_mutex_lock(&l->mutex);
    l->telling = false;
    pthread_cond_broadcast(&l->changed);
}

/* Tells every sink that hears. */
DLOAD_I_LOCAL void dload_redis_i_tell(dload_redis_listen *l, int what, const char *key, size_t n)
{
    pthread_mutex_lock(&l->mutex);
    l->stats.n_keys += what == DLOAD_REDIS_I_KEY;
    l->stats.n_all += what == DLOAD_REDIS_I_ALL;
    dload_redis_i_begin_telling(l);
    for (const dload_sink *s = l->sinks; s != NULL; s = s->next)
        dload_redis_i_tell_one(s, what, key, n);
    dload_redis_i_end_telling(l);
    pthread_mutex_unlock(&l->mutex);
}

/* Sinks that came while we hear begin to hear, too. */
DLOAD_I_LOCAL void dload_redis_i_tell_fresh(dload_redis_listen *l)
{
    pthread_mutex_lock(&l->mutex);
    while (l->fresh != NULL) {
        dload_redis_i_begin_telling(l);
        pthread_mutex_lock(&l->mutex);
        dload_sink *s = l->fresh;
        if (s != NULL) {
            l->fresh = s->next;
            s->next = l->sinks;
            l->sinks = s;
        }
        pthread_mutex_unlock(&l->mutex);
        if (s != NULL)
            s->up(s->ctx);
        dload_redis_i_end_telling(l);
    }
    pthread_mutex_unlock(&l->mutex);
}

/* ---- waking and waiting ---- */

/* The thread has something to do. mutex is held. */
DLOAD_I_LOCAL void dload_redis_i_poke(dload_redis_listen *l)
{
    const char byte = 0;
    if (!l->awake && l->pid != 0)
        l->awake = write(l->wake[1], &byte, 1) == 1;
}

DLOAD_I_LOCAL void dload_redis_i_poked(dload_redis_listen *l)
{
    char bytes[16];
    while (read(l->wake[0], bytes, sizeof bytes) > 0)
        continue;
    pthread_mutex_lock(&l->mutex);
    l->awake = false;
    pthread_mutex_unlock(&l->mutex);
}

/* ---- other threads ---- */

DLOAD_I_LOCAL void dload_redis_i_listen_add(dload_redis_listen *l, dload_sink *sink)
{
    pthread_mutex_lock(&l->mutex);
    dload_redis_i_begin_telling(l);
    pthread_mutex_lock(&l->mutex);
    sink->next = l->fresh;
    l->fresh = sink;
    pthread_mutex_unlock(&l->mutex);
    dload_redis_i_end_telling(l);
    dload_redis_i_poke(l);
    pthread_mutex_unlock(&l->mutex);
}

DLOAD_I_LOCAL void dload_redis_i_listen_remove(dload_redis_listen *l, dload_sink *sink)
{
    dload_sink **const lists[] = {&l->sinks, &l->fresh};
    pthread_mutex_lock(&l->mutex);
    dload_redis_i_begin_telling(l);
    for (size_t i = 0; i < 2; i++) {
        dload_sink **at = lists[i];
        while (*at != NULL && *at != sink)
            at = &(*at)->next;
        if (*at == NULL)
            continue;
        pthread_mutex_lock(&l->mutex);
        *at = sink->next;
        pthread_mutex_unlock(&l->mutex);
        if (i == 0)
            sink->down(sink->ctx);
    }
    dload_redis_i_end_telling(l);
    pthread_mutex_unlock(&l->mutex);
}

/* Waits until it hears. */
DLOAD_I_LOCAL dload_status dload_redis_i_listen_wait(dload_redis_listen *l, uint64_t timeout_ns)
{
    const uint64_t until_ns = dload_i_add_ns(dload_redis_now(), timeout_ns);
    pthread_mutex_lock(&l->mutex);
    while ((!l->up || l->fresh != NULL || l->telling) && !l->stopping &&
           dload_redis_now() < until_ns)
        dload_threads_i_wait(&l->changed, &l->mutex, until_ns);
    dload_status st = l->up && l->fresh == NULL ? DLOAD_OK
                      : l->stopping             ? DLOAD_ECLOSED
                                                : DLOAD_ETIMEDOUT;
    pthread_mutex_unlock(&l->mutex);
    return st;
}

/* While nothing is heard nothing is cached, but what is being fetched just now may be joined by who asks later: those
 * who cannot be told what changed are told to forget it (mutant FLIGHTS_JOINED of tests/models/barrier.pml). */
DLOAD_I_LOCAL void dload_redis_i_forget_flights(dload_redis_listen *l)
{
    dload_redis_i_begin_telling(l);
    for (const dload_sink *s = l->sinks; s != NULL; s = s->next)
        s->all(s->ctx);
    for (const dload_sink *s = l->fresh; s != NULL; s = s->next)
        s->all(s->ctx);
    dload_redis_i_end_telling(l);
}

DLOAD_I_LOCAL dload_status dload_redis_i_listen_barrier(dload_redis_listen *l, uint64_t timeout_ns)
{
    const uint64_t until_ns = dload_i_add_ns(dload_redis_now(), timeout_ns);
    dload_status st = DLOAD_OK;
    pthread_mutex_lock(&l->mutex);
    l->stats.n_barriers++;
    if (!l->up) {
        dload_redis_i_forget_flights(l);
    } else {
        const uint64_t mine = ++l->asked;
        dload_redis_i_poke(l);
        while (l->answered < mine && dload_redis_now() < until_ns)
            dload_threads_i_wait(&l->changed, &l->mutex, until_ns);
        st = l->answered >= mine ? DLOAD_OK : DLOAD_ETIMEDOUT;
    }
    pthread_mutex_unlock(&l->mutex);
    return st;
}

DLOAD_I_LOCAL void dload_redis_i_listen_stats(dload_redis_listen *l, dload_redis_listen_stats *out)
{
    pthread_mutex_lock(&l->mutex);
    *out = l->stats;
    pthread_mutex_unlock(&l->mutex);
}

#endif /* DLOAD_REDIS_SINKS_H */
