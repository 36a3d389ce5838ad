/* dataloader_redis_tracking.h -- a Redis server tells us which keys of ours have changed.
 *
 * SPDX-License-Identifier: MIT
 *
 *     #define DLOAD_STORE 1
 *     #include "dataloader.h"
 *     #include "dataloader_redis_tracking.h"            // links: hiredis pthread
 *
 *     dload_redis_tracking tracking;
 *     dload_redis_listen_config listen = {0};
 *     dload_sink sink;
 *     listen.prefix = "dload:";                         // that of the store
 *     dload_redis_store_init(&redis, &cfg, why, sizeof why);
 *     dload_redis_tracking_init(&tracking, &redis.server, &listen);    // before the store's first request
 *     users_sink(&users, &sink);                        // a loader whose store or source is redis; or a sink of your own
 *     dload_redis_tracking_add(&tracking, &sink);
 *     dload_redis_tracking_start(&tracking);
 *     ...
 *     dload_redis_tracking_barrier(&tracking, 0);       // after a write: it is known here, too
 *     ...
 *     dload_redis_tracking_end(&tracking);              // no requests under way; the loader caches no more
 *     users_destroy(&users);
 *     dload_redis_store_end(&redis);
 *
 * Without a store: any dload_redis_server, and connections that are opened to it.
 *
 * HOW  Redis's client tracking in its RESP2 form: one connection listens to __redis__:invalidate, and every
 * other one to this server says CLIENT TRACKING ON REDIRECT to it. Whatever a connection has read is
 * reported once when it changes, expires, is evicted or flushed, whoever does it; our own writes,
 * too (NOLOOP would lose those silently, and is never used). Redis 6 or newer, or Valkey.
 *
 * WHAT CAN BE LOST  The server forgets what a connection has read when that connection ends, and says so to
 * nobody. So sinks forget everything when a data connection is closed or found dead: look after idle ones
 * as little as possible, and keep them. They are told down() and up() again when the listening one was
 * lost; connections made before that are not used again (dload_redis_usable is false). Between down() and
 * up() nothing may be cached. A listening connection that died silently is found out after silent_ns
 * (default 2 s), a silent data connection by TCP keepalive within 30 s, long before the server itself
 * gives it up.
 *
 * THE BARRIER  holds when a data connection was lost before the write, too, if that is known here by the time of
 * the answer: it is on one machine; between machines the news of a lost connection may come a moment later
 * than the answer on the other one.
 *
 * WHAT IS NOT READ  is not tracked: a loader whose second level is this server caches only what was there (see dload_sink's
 * only_reads). A value that was fetched is cached when the server has taken it and it is read there, the next time.
 *
 * STILL  Keep a hard time to live on what is cached: a server may be wrong, too.
 *
 * THREADS  One thread of its own from _start to _stop, which calls the sinks; so do _barrier and _remove, by the thread that
 * calls them, one at a time. The other functions may be called by any thread, but not by a sink. After fork() the child calls dload_redis_tracking_end at most.
 *
 * MEMORY  None of its own but for what the connection needs; see dataloader_redis/conn.h.
 */
#ifndef DLOAD_I_BACKEND_H
#error "dataloader_redis_tracking.h: include dataloader.h with DLOAD_STORE 1 before this header"
#endif

#ifndef DLOAD_REDIS_TRACKING_H
#define DLOAD_REDIS_TRACKING_H

#include "dataloader_redis/listen.h"
#include "dataloader_redis/names.h"

/* The caller's; must stay where it is from _init to _end. All fields are private. */
typedef struct dload_redis_tracking {
    dload_redis_listen listen;
    dload_redis_watch watch;
    /* under listen.mutex */
    uint64_t id;             /* of the listening connection; 0 = none */
    dload_redis_conn *first; /* the data connections that are open */
    uint64_t n_opened;
    bool lost; /* one of them was lost, and sinks do not know yet */
} dload_redis_tracking;

/* ---- data connections: any thread ---- */

/* One more: has it redirected to whoever listens now, if anybody does. */
DLOAD_I_LOCAL dload_status dload_redis_i_track_hello(void *ctx, dload_redis_conn *c)
{
    dload_redis_tracking *t = (dload_redis_tracking *)ctx;
    pthread_mutex_lock(&t->listen.mutex);
    const uint64_t id = t->id;
    pthread_mutex_unlock(&t->listen.mutex);
    if (c == &t->listen.conn || id == 0)
        return DLOAD_OK;
    (void)dload_redis_begin(c, 5);
    (void)dload_redis_text(c, "CLIENT");
    (void)dload_redis_text(c, "TRACKING");
    (void)dload_redis_text(c, "ON");
    (void)dload_redis_text(c, "REDIRECT");
    return dload_redis_number(c, id);
}

DLOAD_I_LOCAL void dload_redis_i_track_opened(void *ctx, dload_redis_conn *c)
{
    dload_redis_tracking *t = (dload_redis_tracking *)ctx;
    if (c == &t->listen.conn)
        return;
    pthread_mutex_lock(&t->listen.mutex);
    c->watch_serial = ++t->n_opened;
    c->watch_lost = false;
    c->watch_prev = NULL;
    c->watch_next = t->first;
    if (t->first != NULL)
        t->first->watch_prev = c;
    t->first = c;
    dload_redis_i_poke(&t->listen); /* it is to be polled */
    pthread_mutex_unlock(&t->listen.mutex);
}

DLOAD_I_LOCAL void dload_redis_i_track_closed(void *ctx, dload_redis_conn *c)
{
    dload_redis_tracking *t = (dload_redis_tracking *)ctx;
    if (c == &t->listen.conn)
        return;
    pthread_mutex_lock(&t->listen.mutex);
    if (c->watch_prev != NULL)
        c->watch_prev->watch_next = c->watch_next;
    else
        t->first = c->watch_next;
    if (c->watch_next != NULL)
        c->watch_next->watch_prev = c->watch_prev;
    /* What it read under an earlier mark, or without being tracked, nobody has cached. */
    if (!c->watch_lost && c->mark == t->watch.mark && t->id != 0) {
        t->lost = true;
        dload_redis_i_poke(&t->listen);
    }
    pthread_mutex_unlock(&t->listen.mutex);
}

/* ---- data connections: the thread ---- */

#if defined(__linux__) && !defined(POLLRDHUP)
#define DLOAD_REDIS_I_GONE 0x2000 /* hidden by a strict -std=c11 */
#elif defined(POLLRDHUP)
#define DLOAD_REDIS_I_GONE POLLRDHUP
#else
#define DLOAD_REDIS_I_GONE 0
#endif

/* Has the other side hung up? For those that poll cannot be asked about. */
DLOAD_I_LOCAL bool dload_redis_i_track_dead(const dload_redis_conn *c)
{
    char byte;
    ssize_t n = recv(c->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    return n == 0 || (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR);
}

DLOAD_I_LOCAL size_t dload_redis_i_track_beside(dload_redis_listen *l, struct pollfd *p,
                                                uint64_t *serials, size_t cap)
{
    dload_redis_tracking *t = (dload_redis_tracking *)(void *)l;
    size_t n = 0;
    pthread_mutex_lock(&l->mutex);
    for (dload_redis_conn *c = t->first; c != NULL; c = c->watch_next) {
        if (c->watch_lost || c->mark != t->watch.mark)
            continue;
        if (n == cap || DLOAD_REDIS_I_GONE == 0) {
            c->watch_lost = dload_redis_i_track_dead(c); /* each second, that is */
            t->lost = t->lost || c->watch_lost;
            continue;
        }
        p[n].fd = c->fd;
        p[n].events = DLOAD_REDIS_I_GONE;
        p[n].revents = 0;
        serials[n++] = c->watch_serial;
    }
    if (t->lost)
        dload_redis_i_poke(l); /* not to sleep over it */
    pthread_mutex_unlock(&l->mutex);
    return n;
}

/* A descriptor may be another's by now: connections are known by their numbers. */
DLOAD_I_LOCAL bool dload_redis_i_track_looked(dload_redis_listen *l, const struct pollfd *p,
                                              const uint64_t *serials, size_t n)
{
    dload_redis_tracking *t = (dload_redis_tracking *)(void *)l;
    pthread_mutex_lock(&l->mutex);
    for (size_t i = 0; i < n; i++) {
        dload_redis_conn *c = t->first;
        if ((p[i].revents & (DLOAD_REDIS_I_GONE | POLLHUP | POLLERR)) == 0)
            continue;
        while (c != NULL && c->watch_serial != serials[i])
            c = c->watch_next;
        if (c != NULL)
            c->watch_lost = t->lost = true;
    }
    const bool lost = t->lost;
    t->lost = false;
    l->stats.n_data_lost += lost;
    pthread_mutex_unlock(&l->mutex);
    return lost;
}

/* ---- the listening connection ---- */

/* CLIENT ID, and SUBSCRIBE with its confirmation. */
DLOAD_I_LOCAL dload_status dload_redis_i_track_subscribe(dload_redis_listen *l, uint64_t until_ns)
{
    dload_redis_tracking *t = (dload_redis_tracking *)(void *)l;
    dload_redis_conn *c = &l->conn;
    redisReply *r = NULL;
    uint64_t id = 0;
    (void)dload_redis_begin(c, 2);
    (void)dload_redis_text(c, "CLIENT");
    (void)dload_redis_text(c, "ID");
    dload_status st = dload_redis_get(c, until_ns, &r);
    if (st == DLOAD_OK && r->type == REDIS_REPLY_INTEGER && r->integer > 0)
        id = (uint64_t)r->integer;
    if (r != NULL)
        freeReplyObject(r);
    if (st != DLOAD_OK)
        return st;
    if (id == 0)
        return dload_redis_close(c, DLOAD_EBACKEND, "the server does not know CLIENT ID");
    (void)dload_redis_begin(c, 2);
    (void)dload_redis_text(c, "SUBSCRIBE");
    (void)dload_redis_text(c, "__redis__:invalidate");
    st = dload_redis_get(c, until_ns, &r);
    const bool ok = st == DLOAD_OK && r->type == REDIS_REPLY_ARRAY && r->elements == 3 &&
                    r->element[0]->type == REDIS_REPLY_STRING && r->element[0]->len == 9;
    if (r != NULL)
        freeReplyObject(r);
    if (st != DLOAD_OK)
        return st;
    if (!ok)
        return dload_redis_close(c, DLOAD_EBACKEND, "the server does not let us subscribe");
    c->subscribed = true;
    pthread_mutex_lock(&l->mutex);
    t->id = id;
    pthread_mutex_unlock(&l->mutex);
    return DLOAD_OK;
}

/* Connections of before may not be used after: they are redirected to somebody else, or to nobody. */
DLOAD_I_LOCAL void dload_redis_i_track_turn(dload_redis_listen *l, bool up)
{
    dload_redis_tracking *t = (dload_redis_tracking *)(void *)l;
    pthread_mutex_lock(&l->mutex);
    if (!up)
        t->id = 0;
    t->lost = false;
    __atomic_store_n(&t->watch.mark, t->watch.mark + 1, __ATOMIC_RELEASE);
    pthread_mutex_unlock(&l->mutex);
}

/* ["message", "__redis__:invalidate", [key, ...] or nil]; what anybody PUBLISHes there comes as a string
 * in the third place, and counts for nothing. */
DLOAD_I_LOCAL dload_status dload_redis_i_track_heard(dload_redis_listen *l, const redisReply *r)
{
    bool ours = r->type == REDIS_REPLY_ARRAY && r->elements == 3 &&
                r->element[0]->type == REDIS_REPLY_STRING && r->element[0]->len == 7 &&
                memcmp(r->element[0]->str, "message", 7) == 0;
    const redisReply *what = ours ? r->element[2] : NULL;
    ours = ours && (what->type == REDIS_REPLY_NIL || what->type == REDIS_REPLY_ARRAY);
    if (!ours) {
        dload_redis_i_count(l, &l->stats.n_ignored);
        return DLOAD_OK;
    }
    if (what->type == REDIS_REPLY_NIL)
        dload_redis_i_tell(l, DLOAD_REDIS_I_ALL, NULL, 0);
    for (size_t i = 0; what->type == REDIS_REPLY_ARRAY && i < what->elements; i++) {
        redisReply *name = what->element[i];
        size_t n = name->len;
        if (name->type != REDIS_REPLY_STRING)
            dload_redis_i_count(l, &l->stats.n_ignored);
        else if (l->prefix != NULL && /* in its place: a key is no longer than its name */
                 !dload_redis_key_of_name(l->prefix, name->str, name->len, name->str, &n))
            dload_redis_i_count(l, &l->stats.n_foreign);
        else
            dload_redis_i_tell(l, DLOAD_REDIS_I_KEY, name->str, n);
    }
    return DLOAD_OK;
}

/* ---- for programs ---- */

/* Makes t ready, and puts it before server's connections: none may be open yet. cfg: NULL = defaults.
 * Returns DLOAD_OK; DLOAD_EINVAL: silent_ns is not more than ping_ns, or somebody watches the server already;
 * DLOAD_ENOMEM: no descriptors. */
DLOAD_I_UNUSED static dload_status dload_redis_tracking_init(dload_redis_tracking *t,
                                                             dload_redis_server *server,
                                                             const dload_redis_listen_config *cfg)
{
    static const dload_redis_listen_ops ops = {
        "redis-tracking",          dload_redis_i_track_subscribe, dload_redis_i_track_turn,
        dload_redis_i_track_heard, dload_redis_i_track_beside,    dload_redis_i_track_looked,
    };
    memset(t, 0, sizeof *t);
    if (server->watch != NULL)
        return DLOAD_EINVAL;
    dload_status st = dload_redis_i_listen_init(&t->listen, &ops, server, cfg);
    if (st != DLOAD_OK)
        return st;
    t->watch.hello = dload_redis_i_track_hello;
    t->watch.opened = dload_redis_i_track_opened;
    t->watch.closed = dload_redis_i_track_closed;
    t->watch.ctx = t;
    server->watch = &t->watch;
    return DLOAD_OK;
}

/* Starts the thread. The server need not be there: it is tried again and again. DLOAD_EBUSY: it
 * runs; DLOAD_ENOMEM: no thread. */
DLOAD_I_UNUSED static dload_status dload_redis_tracking_start(dload_redis_tracking *t)
{
    return dload_redis_i_listen_start(&t->listen);
}

/* Ends the thread; sinks are told down(). Waits for what it does: an attempt to connect, a sink. May be
 * started again. Not running: nothing. */
DLOAD_I_UNUSED static void dload_redis_tracking_stop(dload_redis_tracking *t)
{
    dload_redis_i_listen_stop(&t->listen);
}

/* ... and gives everything back. No other connection of the server is in use just now; those that are open may
 * be used on, and nobody hears what they read. The server must still be there. */
DLOAD_I_UNUSED static void dload_redis_tracking_end(dload_redis_tracking *t)
{
    dload_redis_i_listen_end(&t->listen);
    t->listen.server->watch = NULL;
}

/* One more to be told; it is told up() first, at once when we hear already. The sink is the caller's and
 * stays until _remove or _end; it is in one listener's list alone. */
DLOAD_I_UNUSED static void dload_redis_tracking_add(dload_redis_tracking *t, dload_sink *sink)
{
    if (sink->only_reads != NULL)
        sink->only_reads(sink->ctx);
    dload_redis_i_listen_add(&t->listen, sink);
}

/* It is told nothing any more, but down() in the end, by this thread, if it was up. Waits while the thread
 * is telling. */
DLOAD_I_UNUSED static void dload_redis_tracking_remove(dload_redis_tracking *t, dload_sink *sink)
{
    dload_redis_i_listen_remove(&t->listen, sink);
}

/* Waits until changes are heard and all sinks know. DLOAD_OK; DLOAD_ETIMEDOUT; DLOAD_ECLOSED: stopped. */
DLOAD_I_UNUSED static dload_status dload_redis_tracking_wait(dload_redis_tracking *t,
                                                             uint64_t timeout_ns)
{
    return dload_redis_i_listen_wait(&t->listen, timeout_ns);
}

/* For reading one's own writes: after a write was answered, on whatever connection, this returns when the
 * sinks have been told of it. timeout_ns 0 = the silence that ends the connection: whatever happens,
 * the answer is known then. Returns DLOAD_OK, also when nothing is heard (sinks cache nothing then);
 * DLOAD_ETIMEDOUT: not known. Costs one exchange with the server, shared by all who wait. */
DLOAD_I_UNUSED static dload_status dload_redis_tracking_barrier(dload_redis_tracking *t,
                                                                uint64_t timeout_ns)
{
    return dload_redis_i_listen_barrier(&t->listen,
                                        timeout_ns != 0 ? timeout_ns : 2 * t->listen.silent_ns);
}

/* The counters up to now. */
DLOAD_I_UNUSED static void dload_redis_tracking_stats(dload_redis_tracking *t,
                                                      dload_redis_listen_stats *out)
{
    dload_redis_i_listen_stats(&t->listen, out);
}

#endif /* DLOAD_REDIS_TRACKING_H */
