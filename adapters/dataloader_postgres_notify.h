/* dataloader_postgres_notify.h -- a PostgreSQL server tells us which keys have changed: LISTEN and NOTIFY.
 *
 * SPDX-License-Identifier: MIT
 *
 *     #define DLOAD_STORE 1
 *     #include "dataloader.h"                           // a loader, e.g. users, with its parameters
 *     #include "dataloader_postgres_notify.h"           // cc ... -lpq -lpthread
 *
 *     static dload_postgres_channel channel;
 *     dload_postgres_channel_config c = {0};
 *     c.pg.url = "postgresql://app@db.example/app";
 *     c.name = "users_changed";
 *     dload_status st = dload_postgres_channel_init(&channel, &c);
 *     users_sink(&users, &sink);                        // or a sink of your own
 *     dload_postgres_channel_add(&channel, &sink);
 *     st = dload_postgres_channel_start(&channel);
 *     ...
 *     dload_postgres_channel_publish(&channel, &key, 1, 0);   // after the commit of a change
 *     dload_postgres_channel_barrier(&channel, 0);            // after that: it is known here, too
 *     ...
 *     dload_postgres_channel_destroy(&channel);
 *
 * BY TRIGGER  Nobody need publish where the table does so itself; the server delivers when the change is committed, and
 * not at all when it is rolled back:
 *
 *     CREATE FUNCTION users_changed() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
 *         IF TG_OP = 'TRUNCATE' THEN PERFORM pg_notify('users_changed', '*'); RETURN NULL; END IF;
 *         IF TG_OP <> 'INSERT' THEN PERFORM pg_notify('users_changed', 'kusers:' || OLD.id); END IF;
 *         IF TG_OP <> 'DELETE' THEN PERFORM pg_notify('users_changed', 'kusers:' || NEW.id); END IF;
 *         RETURN NULL; END $$;
 *     CREATE TRIGGER users_changed AFTER INSERT OR UPDATE OR DELETE ON users
 *         FOR EACH ROW EXECUTE FUNCTION users_changed();
 *     CREATE TRIGGER users_emptied AFTER TRUNCATE ON users EXECUTE FUNCTION users_changed();
 *
 * "users:" is what the keys of the loader called users begin with. What is heard clears the caches of this process alone:
 * where the loader has a second level, too, whoever writes must clear it there as well, after the commit (users_clear).
 *
 * MESSAGES  A payload is text of less than 8000 bytes. 'k' and a key as it is; 'h' and the key's bytes in hexadecimal,
 * as encode(key, 'hex') gives them; '*': forget everything, which is also what _publish says of a key of more than 3998
 * odd bytes. What is none of these is taken for '*', and counted: better forget too much. So whoever may NOTIFY in
 * this database (any user may) can make others forget, but cannot make them take anything for true.
 *
 * WHAT CAN BE LOST  Nothing while the connection lives: messages come once each, in the order of commits. When it is
 * lost sinks are told down(), and up() when we listen again. Silence is found out: every ping_ns (1 s) the server is asked
 * for an answer, and what does not come in silent_ns - ping_ns is a loss; so that after at most silent_ns (2 s) and
 * one turn of the thread nothing stale is served. The connection must be to the server itself: a pooler in
 * transaction mode hears nothing. Keep a hard time to live on what is cached, all the same.
 *
 * THREADS  One of its own from _start to _stop, which calls the sinks. The other functions may be called by any thread, but
 * not by a sink. After fork() the child calls _destroy at most.
 */
#ifndef DLOAD_POSTGRES_NOTIFY_H
#define DLOAD_POSTGRES_NOTIFY_H

#include "dataloader_postgres/array.h"

#include <signal.h>

/* How a channel listens. Zeros are the defaults, but for pg.url and name. */
typedef struct dload_postgres_channel_config {
    dload_postgres_config
        pg; /* the server; max_conns is not looked at: two are used, the second to publish */
    const char *name;   /* a letter or _, then letters, digits, _; 63 at most; case matters */
    uint64_t ping_ns;   /* default 1 s */
    uint64_t silent_ns; /* default 2 s; more than ping_ns */
} dload_postgres_channel_config;

/* Counters since _init. */
typedef struct dload_postgres_channel_counts {
    uint64_t n_up;     /* times that it began to hear */
    uint64_t n_lost;   /* times that it stopped, _stop aside */
    uint64_t n_failed; /* attempts to begin that failed */
    uint64_t n_keys;   /* keys that sinks were told of */
    uint64_t n_all;    /* times that sinks were told to forget everything, up and down aside */
    uint64_t n_odd;    /* ... of them, because a message was not understood */
    uint64_t n_pings;  /* answers asked for, barriers among them */
} dload_postgres_channel_counts;

/* A channel; must stay where it is from _init to _destroy. Private fields. */
typedef struct dload_postgres_channel {
    dload_postgres pool; /* the first connection is the thread's */
    char name[64];
    char listen[80]; /* the statement */
    uint64_t ping_ns, silent_ns;
    bool runs; /* of whoever starts and stops */
    pthread_t thread;
    int wake[2]; /* a pipe: there is something to do */
    /* under mutex */
    pthread_mutex_t mutex;
    pthread_cond_t changed; /* up, telling, answered, stopping */
    dload_sink *sinks;      /* told up, if up */
    dload_sink *fresh;      /* not yet */
    bool up, stopping, telling;
    uint64_t asked, answered; /* numbers of barriers */
    dload_postgres_channel_counts stats;
    /* the thread's */
    bool probing;       /* an answer is awaited ... */
    uint64_t probe_ns;  /* ... since then */
    uint64_t probe_for; /* asked, at that moment */
    uint64_t heard_ns;  /* the last answer */
} dload_postgres_channel;

/* ---- telling ---- */

#define DLOAD_POSTGRES_I_TELL_KEY  1
#define DLOAD_POSTGRES_I_TELL_ALL  2
#define DLOAD_POSTGRES_I_TELL_DOWN 3
#define DLOAD_POSTGRES_I_TELL_UP   4

DLOAD_I_LOCAL void dload_postgres_i_tell_one(const dload_sink *s, int what, dload_str key)
{
    if (what == DLOAD_POSTGRES_I_TELL_KEY)
        s->key(s->ctx, key.ptr, key.len);
    else if (what == DLOAD_POSTGRES_I_TELL_ALL)
        s->all(s->ctx);
    else if (what == DLOAD_POSTGRES_I_TELL_DOWN)
        s->down(s->ctx);
    else
        s->up(s->ctx);
}

/* Tells every sink that knows whether we hear. No lock is held: whoever adds or removes waits, because of telling. */
DLOAD_I_LOCAL void dload_postgres_i_tell(dload_postgres_channel *c, int what, dload_str key)
{
    (void)pthread_mutex_lock(&c->mutex);
    c->telling = true;
    c->stats.n_keys += what == DLOAD_POSTGRES_I_TELL_KEY;
    c->stats.n_all += what == DLOAD_POSTGRES_I_TELL_ALL;
    dload_sink *s = c->sinks;
    (void)pthread_mutex_unlock(&c->mutex);
    for (; s != NULL; s = s->next)
        dload_postgres_i_tell_one(s, what, key);
    (void)pthread_mutex_lock(&c->mutex);
    c->telling = false;
    (void)pthread_cond_broadcast(&c->changed);
    (void)pthread_mutex_unlock(&c->mutex);
}

/* Sinks that were added while we hear begin to hear, too. */
DLOAD_I_LOCAL void dload_postgres_i_tell_fresh(dload_postgres_channel *c)
{
    (void)pthread_mutex_lock(&c->mutex);
    while (c->fresh != NULL) {
        dload_sink *s = c->fresh;
        c->fresh = s->next;
        s->next = c->sinks;
        c->sinks = s;
        c->telling = true;
        (void)pthread_mutex_unlock(&c->mutex);
        s->up(s->ctx);
        (void)pthread_mutex_lock(&c->mutex);
        c->telling = false;
        (void)pthread_cond_broadcast(&c->changed);
    }
    (void)pthread_mutex_unlock(&c->mutex);
}

/* Hearing begins or ends. */
DLOAD_I_LOCAL void dload_postgres_i_turn(dload_postgres_channel *c, bool up)
{
    dload_str none = {NULL, 0};
    if (!up) /* first they cache nothing any more, then barriers are let go */
        dload_postgres_i_tell(c, DLOAD_POSTGRES_I_TELL_DOWN, none);
    (void)pthread_mutex_lock(&c->mutex);
    c->up = up;
    c->telling = up; /* whoever waits for up waits for the sinks, too */
    c->stats.n_up += up;
    c->stats.n_lost += !up && !c->stopping;
    (void)pthread_cond_broadcast(&c->changed);
    (void)pthread_mutex_unlock(&c->mutex);
    if (up)
        dload_postgres_i_tell(c, DLOAD_POSTGRES_I_TELL_UP, none);
}

/* ---- messages ---- */

DLOAD_I_LOCAL int dload_postgres_i_hex(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* The bytes of an even number of hexadecimal digits, in place; false = they are none. */
DLOAD_I_LOCAL bool dload_postgres_i_unhex(char *text, size_t *n_bytes)
{
    const size_t n = strlen(text);
    for (size_t i = 0; i + 1 < n; i += 2) {
        const int high = dload_postgres_i_hex(text[i]), low = dload_postgres_i_hex(text[i + 1]);
        if (high < 0 || low < 0)
            return false;
        text[i / 2] = (char)(unsigned char)(high << 4 | low);
    }
    *n_bytes = n / 2;
    return n % 2 == 0;
}

DLOAD_I_LOCAL void dload_postgres_i_heard(dload_postgres_channel *c, char *payload)
{
    dload_str key = {payload + 1, 0};
    if (payload[0] == 'k') {
        key.len = strlen(key.ptr);
    } else if (payload[0] != 'h' || !dload_postgres_i_unhex(payload + 1, &key.len)) {
        if (strcmp(payload, "*") != 0) {
            (void)pthread_mutex_lock(&c->mutex);
            c->stats.n_odd++;
            (void)pthread_mutex_unlock(&c->mutex);
        }
        dload_postgres_i_tell(c, DLOAD_POSTGRES_I_TELL_ALL, key);
        return;
    }
    dload_postgres_i_tell(c, DLOAD_POSTGRES_I_TELL_KEY, key);
}

#include "dataloader_postgres/channel.h"

#endif /* DLOAD_POSTGRES_NOTIFY_H */
