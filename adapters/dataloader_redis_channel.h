/* dataloader_redis_channel.h -- programs tell each other through a Redis server which keys have changed.
 *
 * SPDX-License-Identifier: MIT
 *
 * For caches in front of anything that does not say itself what changes: PostgreSQL behind a pooler, SQLite, an HTTP
 * service. (Redis itself does: dataloader_redis_tracking.h.) Whoever writes also publishes:
 *
 *     #define DLOAD_STORE 1
 *     #include "dataloader.h"
 *     #include "dataloader_redis_channel.h"             // links: hiredis pthread
 *
 *     dload_redis_server server;
 *     dload_redis_channel channel;
 *     dload_redis_server_init(&server, &cfg, why, sizeof why);
 *     dload_redis_channel_init(&channel, &server, dload_str_from("users"), NULL);
 *     dload_redis_channel_add(&channel, &sink);         // a loader's, by NAME_sink, or one of your own
 *     dload_redis_channel_start(&channel);
 *     ...
 *     ... UPDATE users ...; COMMIT;                     // first the change, then the news of it
 *     dload_redis_channel_publish(&channel, &key, 1, 0);
 *     ...
 *     dload_redis_channel_end(&channel);
 *     dload_redis_server_end(&server);
 *
 * WHAT CAN BE LOST  Pub/sub delivers at most once. Each message has a number, counted by the server in the same step
 * in which it is sent (a script: INCR and PUBLISH): when one is missing, sinks are told to forget everything. When
 * the connection is lost, sinks are told down() and, once it is back, up(): a reader that is too slow is cut off
 * by the server (client-output-buffer-limit pubsub), which is such a loss. Silence is found out, see
 * dataloader_redis/listen.h. A writer that dies between its change and its message is found out by nobody: keep a hard
 * time to live on what is cached.
 *
 * WHO PUBLISHES  hears its own messages, too. Whoever may PUBLISH at that server can make others forget, but cannot make
 * them take anything for true.
 *
 * STORED  One key, "dload:seq:" and the channel's name: the number of the last message. Deleting it makes all forget
 * everything, once.
 *
 * THREADS  As in dataloader_redis_tracking.h. Publishing blocks; those who publish take turns.
 */
#ifndef DLOAD_I_BACKEND_H
#error "dataloader_redis_channel.h: include dataloader.h with DLOAD_STORE 1 before this header"
#endif

#ifndef DLOAD_REDIS_CHANNEL_H
#define DLOAD_REDIS_CHANNEL_H

#include "dataloader_redis/listen.h"

#define DLOAD_REDIS_CHANNEL_NAME_BYTES 200u /* the longest name */

/* Keys of one message: more become several. */
#define DLOAD_REDIS_I_CHANNEL_KEYS  1000u
#define DLOAD_REDIS_I_CHANNEL_BYTES 65536u

/* The caller's; must stay where it is from _init to _end. All fields are private. */
typedef struct dload_redis_channel {
    dload_redis_listen listen;
    char name[DLOAD_REDIS_CHANNEL_NAME_BYTES + 16]; /* behind "dload:seq:" */
    size_t name_bytes;                              /* of the name alone */
    /* the listening thread's */
    uint64_t last;     /* the number of the last message that was heard, or that was sent before */
    bool known, first; /* last is one; nothing was heard since we subscribed */
    /* under out_mutex */
    pthread_mutex_t out_mutex;
    dload_redis_conn out;
} dload_redis_channel;

#define DLOAD_REDIS_I_SEQ       "dload:seq:"
#define DLOAD_REDIS_I_SEQ_BYTES 10u

/* ---- asking and publishing ---- */

/* An open connection for commands; out_mutex is held. */
DLOAD_I_LOCAL dload_status dload_redis_i_channel_out(dload_redis_channel *ch, uint64_t until_ns)
{
    if (dload_redis_usable(&ch->out))
        return DLOAD_OK;
    (void)dload_redis_close(&ch->out, DLOAD_ECLOSED, "gone");
    dload_status st = dload_redis_start(&ch->out, ch->listen.server, NULL, 0);
    if (st == DLOAD_OK)
        st = dload_redis_enter(&ch->out, until_ns);
    return st != DLOAD_PENDING
               ? st
               : dload_redis_close(&ch->out, DLOAD_ETIMEDOUT, "not connected in time");
}

/* The number of the last message, as decimal digits; missing = none was sent yet. */
DLOAD_I_LOCAL dload_status dload_redis_i_channel_number(dload_redis_channel *ch, uint64_t until_ns)
{
    redisReply *r = NULL;
    pthread_mutex_lock(&ch->out_mutex);
    dload_status st = dload_redis_i_channel_out(ch, until_ns);
    if (st == DLOAD_OK) {
        (void)dload_redis_begin(&ch->out, 2);
        (void)dload_redis_text(&ch->out, "GET");
        (void)dload_redis_arg(&ch->out, ch->name, DLOAD_REDIS_I_SEQ_BYTES + ch->name_bytes);
        st = dload_redis_get(&ch->out, until_ns, &r);
    }
    pthread_mutex_unlock(&ch->out_mutex);
    ch->known = false;
    if (st == DLOAD_OK && r->type == REDIS_REPLY_STRING) {
        ch->last = strtoull(r->str, NULL, 10);
        ch->known = true;
    } else if (st == DLOAD_OK && r->type != REDIS_REPLY_NIL) {
        st = DLOAD_EBACKEND;
    }
    if (r != NULL)
        freeReplyObject(r);
    return st;
}

/* A number to begin with where there is none: that of a server which lost its own should not go on by chance
 * where we are. Below 2^52, because scripts count in doubles. */
DLOAD_I_LOCAL uint64_t dload_redis_i_channel_chance(const dload_redis_channel *ch)
{
    uint64_t r = dload_redis_now() ^ (uint64_t)(uintptr_t)ch ^ ((uint64_t)getpid() << 40);
    r = (r ^ (r >> 30)) * 0xbf58476d1ce4e5b9u; /* splitmix64 */
    r = (r ^ (r >> 27)) * 0x94d049bb133111ebu;
    return (r ^ (r >> 31)) >> 13;
}

/* One message: "k" and LENGTH:KEY for each key, or "a" for all. */
DLOAD_I_LOCAL dload_status dload_redis_i_channel_send(dload_redis_channel *ch, const char *text,
                                                      size_t n_bytes, uint64_t until_ns)
{
    static const char script[] =
        "if redis.call('EXISTS',KEYS[1])==0 then redis.call('SET',KEYS[1],ARGV[3]) end "
        "local n=redis.call('INCR',KEYS[1]) "
        "redis.call('PUBLISH',ARGV[1],string.format('%.0f',n)..ARGV[2]) return n";
    dload_redis_conn *c = &ch->out;
    redisReply *r = NULL;
    dload_status st = dload_redis_i_channel_out(ch, until_ns);
    if (st != DLOAD_OK)
        return st;
    (void)dload_redis_begin(c, 7);
    (void)dload_redis_text(c, "EVAL");
    (void)dload_redis_arg(c, script, sizeof script - 1);
    (void)dload_redis_text(c, "1");
    (void)dload_redis_arg(c, ch->name, DLOAD_REDIS_I_SEQ_BYTES + ch->name_bytes);
    (void)dload_redis_arg(c, ch->name + DLOAD_REDIS_I_SEQ_BYTES, ch->name_bytes);
    (void)dload_redis_arg(c, text, n_bytes);
    (void)dload_redis_number(c, dload_redis_i_channel_chance(ch));
    st = dload_redis_get(c, until_ns, &r);
    if (st == DLOAD_OK && r->type != REDIS_REPLY_INTEGER)
        st = DLOAD_EBACKEND;
    if (r != NULL)
        freeReplyObject(r);
    return st;
}

/* ---- hearing ---- */

DLOAD_I_LOCAL dload_status dload_redis_i_channel_subscribe(dload_redis_listen *l, uint64_t until_ns)
{
    dload_redis_channel *ch = (dload_redis_channel *)(void *)l;
    redisReply *r = NULL;
    (void)dload_redis_begin(&l->conn, 2);
    (void)dload_redis_text(&l->conn, "SUBSCRIBE");
    (void)dload_redis_arg(&l->conn, ch->name + DLOAD_REDIS_I_SEQ_BYTES, ch->name_bytes);
    dload_status st = dload_redis_get(&l->conn, until_ns, &r);
    const bool ok = st == DLOAD_OK && r->type == REDIS_REPLY_ARRAY && r->elements == 3 &&
                    r->element[0]->type == REDIS_REPLY_STRING && r->element[0]->len == 9;
    if (r != NULL)
        freeReplyObject(r);
    if (st != DLOAD_OK)
        return st;
    if (!ok)
        return dload_redis_close(&l->conn, DLOAD_EBACKEND, "the server does not let us subscribe");
    l->conn.subscribed = true;
    ch->first = true;
    st = dload_redis_i_channel_number(ch, until_ns);
    return st == DLOAD_OK ? DLOAD_OK
                          : dload_redis_close(&l->conn, st, "the channel's number cannot be read");
}

/* Is a message of this number the next one? What was sent while we asked for the last number comes with one that
 * is not above it. */
DLOAD_I_LOCAL bool dload_redis_i_channel_next(dload_redis_channel *ch, uint64_t number)
{
    const bool next = !ch->known || number == ch->last + 1 || (ch->first && number <= ch->last);
    ch->last = number;
    ch->known = true;
    ch->first = false;
    return next;
}

/* LENGTH:KEY ...; tells the sinks, or only looks whether it is whole. */
DLOAD_I_LOCAL bool dload_redis_i_channel_keys(dload_redis_listen *l, const char *p, size_t n,
                                              bool tell)
{
    while (n != 0) {
        const size_t digits = dload_redis_i_find(p, n, ':');
        uint64_t len = 0;
        if (digits == n || !dload_redis_i_number(p, digits, n, &len) || len > n - digits - 1)
            return false;
        p += digits + 1;
        if (tell)
            dload_redis_i_tell(l, DLOAD_REDIS_I_KEY, p, (size_t)len);
        p += len;
        n -= digits + 1 + (size_t)len;
    }
    return true;
}

/* ["message", NAME, NUMBER "k" or "a" ...] */
DLOAD_I_LOCAL dload_status dload_redis_i_channel_heard(dload_redis_listen *l, const redisReply *r)
{
    dload_redis_channel *ch = (dload_redis_channel *)(void *)l;
    const bool message = r->type == REDIS_REPLY_ARRAY && r->elements == 3 &&
                         r->element[0]->type == REDIS_REPLY_STRING && r->element[0]->len == 7 &&
                         r->element[2]->type == REDIS_REPLY_STRING;
    const char *p = message ? r->element[2]->str : "";
    const size_t n = message ? r->element[2]->len : 0;
    size_t digits = 0;
    uint64_t number = 0;
    while (digits < n && digits < 19 && p[digits] >= '0' && p[digits] <= '9')
        number = number * 10 + (uint64_t)(p[digits++] - '0');
    const bool keys = digits != 0 && digits < n && p[digits] == 'k';
    const bool all = digits != 0 && digits + 1 == n && p[digits] == 'a';
    if (!all && !(keys && dload_redis_i_channel_keys(l, p + digits + 1, n - digits - 1, false))) {
        dload_redis_i_count(l, &l->stats.n_ignored);
        return DLOAD_OK;
    }
    const bool next = dload_redis_i_channel_next(ch, number);
    if (!next)
        dload_redis_i_count(l, &l->stats.n_gaps);
    if (all || !next)
        dload_redis_i_tell(l, DLOAD_REDIS_I_ALL, NULL, 0);
    else
        (void)dload_redis_i_channel_keys(l, p + digits + 1, n - digits - 1, true);
    return DLOAD_OK;
}

/* ---- for programs ---- */

/* Makes ch ready. name: any bytes, 1 to DLOAD_REDIS_CHANNEL_NAME_BYTES, copied. cfg: NULL = defaults. server may be
 * shared with others, but not with tracking. Returns DLOAD_OK; DLOAD_EINVAL: the name's length, or silent_ns is
 * not more than ping_ns; DLOAD_ENOMEM: no descriptors. */
DLOAD_I_UNUSED static dload_status dload_redis_channel_init(dload_redis_channel *ch,
                                                            dload_redis_server *server,
                                                            dload_str name,
                                                            const dload_redis_listen_config *cfg)
{
    static const dload_redis_listen_ops ops = {
        "redis-channel",
        dload_redis_i_channel_subscribe,
        NULL,
        dload_redis_i_channel_heard,
        NULL,
        NULL,
    };
    memset(ch, 0, sizeof *ch);
    if (name.len == 0 || name.len > DLOAD_REDIS_CHANNEL_NAME_BYTES)
        return DLOAD_EINVAL;
    dload_status st = dload_redis_i_listen_init(&ch->listen, &ops, server, cfg);
    if (st != DLOAD_OK)
        return st;
    memcpy(ch->name, DLOAD_REDIS_I_SEQ, DLOAD_REDIS_I_SEQ_BYTES);
    memcpy(ch->name + DLOAD_REDIS_I_SEQ_BYTES, name.ptr, name.len);
    ch->name_bytes = name.len;
    ch->out.server = server;
    ch->out.fd = -1;
    (void)pthread_mutex_init(&ch->out_mutex, NULL);
    return DLOAD_OK;
}

/* Starts the thread that hears. Publishing needs none. DLOAD_EBUSY: it runs; DLOAD_ENOMEM: no thread. */
DLOAD_I_UNUSED static dload_status dload_redis_channel_start(dload_redis_channel *ch)
{
    return dload_redis_i_listen_start(&ch->listen);
}

/* Ends the thread; sinks are told down(). Waits for what it does. May be started again. */
DLOAD_I_UNUSED static void dload_redis_channel_stop(dload_redis_channel *ch)
{
    dload_redis_i_listen_stop(&ch->listen);
}

/* ... and gives everything back; nobody publishes any more. */
DLOAD_I_UNUSED static void dload_redis_channel_end(dload_redis_channel *ch)
{
    const bool child = ch->listen.pid != 0 && ch->listen.pid != getpid();
    dload_redis_i_listen_end(&ch->listen);
    dload_redis_drop(&ch->out);
    if (!child)
        (void)pthread_mutex_destroy(&ch->out_mutex);
}

/* As dload_redis_tracking_add, _remove, _wait, _barrier and _stats. */
DLOAD_I_UNUSED static void dload_redis_channel_add(dload_redis_channel *ch, dload_sink *sink)
{
    dload_redis_i_listen_add(&ch->listen, sink);
}

DLOAD_I_UNUSED static void dload_redis_channel_remove(dload_redis_channel *ch, dload_sink *sink)
{
    dload_redis_i_listen_remove(&ch->listen, sink);
}

DLOAD_I_UNUSED static dload_status dload_redis_channel_wait(dload_redis_channel *ch,
                                                            uint64_t timeout_ns)
{
    return dload_redis_i_listen_wait(&ch->listen, timeout_ns);
}

/* What was published before, by anybody, has been told to our sinks when this returns DLOAD_OK. */
DLOAD_I_UNUSED static dload_status dload_redis_channel_barrier(dload_redis_channel *ch,
                                                               uint64_t timeout_ns)
{
    return dload_redis_i_listen_barrier(&ch->listen,
                                        timeout_ns != 0 ? timeout_ns : 2 * ch->listen.silent_ns);
}

DLOAD_I_UNUSED static void dload_redis_channel_stats(dload_redis_channel *ch,
                                                     dload_redis_listen_stats *out)
{
    dload_redis_i_listen_stats(&ch->listen, out);
}

/* Tells everybody who listens that these keys have changed: after the change is there to be read, never before.
 * keys: any bytes each; NULL: all keys, n is ignored then. timeout_ns: for all of it, connecting included; 0 = the
 * server's command_timeout_ns. Many keys become several messages.
 * Returns DLOAD_OK; DLOAD_ETIMEDOUT, DLOAD_EBACKEND: perhaps not everybody knows: try again, it does no harm;
 * DLOAD_ENOMEM. Any thread. Allocates one message of 64 KiB, or as long as the longest key. */
DLOAD_I_UNUSED static dload_status dload_redis_channel_publish(dload_redis_channel *ch,
                                                               const dload_str *keys, size_t n,
                                                               uint64_t timeout_ns)
{
    const dload_env *env = ch->listen.server->env;
    const uint64_t until_ns = dload_redis_until(&ch->out, timeout_ns);
    size_t cap = 0, longest = 0;
    dload_status st = DLOAD_OK;
    for (size_t i = 0; keys != NULL && i < n; i++)
        longest = keys[i].len > longest ? keys[i].len : longest;
    if (longest > SIZE_MAX / 4)
        return DLOAD_ETOOBIG;
    cap = longest + 32 > DLOAD_REDIS_I_CHANNEL_BYTES ? longest + 32 : DLOAD_REDIS_I_CHANNEL_BYTES;
    char *text = (char *)dload_i_alloc(env, cap);
    if (text == NULL)
        return DLOAD_ENOMEM;
    pthread_mutex_lock(&ch->out_mutex);
    if (keys == NULL)
        st = dload_redis_i_channel_send(ch, "a", 1, until_ns);
    for (size_t i = 0; keys != NULL && i < n && st == DLOAD_OK;) {
        size_t len = 1, n_keys = 0;
        text[0] = 'k';
        for (; i < n && n_keys < DLOAD_REDIS_I_CHANNEL_KEYS && cap - len >= keys[i].len + 24; i++) {
            len += (size_t)snprintf(text + len, 24, "%zu:", keys[i].len);
            if (keys[i].len != 0)
                memcpy(text + len, keys[i].ptr, keys[i].len);
            len += keys[i].len;
            n_keys++;
        }
        st = dload_redis_i_channel_send(ch, text, len, until_ns);
    }
    pthread_mutex_unlock(&ch->out_mutex);
    dload_i_free(env, text, cap);
    return st;
}

#endif /* DLOAD_REDIS_CHANNEL_H */
