/* dataloader_redis_lock.h -- named locks on a Redis or Valkey server, for machines that have nothing else in common.
 *
 * SPDX-License-Identifier: MIT
 *
 *     #define DLOAD_STORE 1
 *     #include "dataloader.h"
 *     #include "dataloader_redis_lock.h"               // links: hiredis, pthread
 *
 *     dload_redis_store redis;                         // its connections are used; see dataloader_redis.h
 *     dload_redis_locks locks;
 *     ...
 *     dload_redis_locks_init(&locks, &redis, 0);
 *     loader_config.locks = &locks.locks;              // or by hand:
 *
 *     dload_held held = {0};
 *     dload_status st = locks.locks.take(&locks.locks, dload_str_from("dataloader:users"), DLOAD_SECOND, &held);
 *     if (st == DLOAD_OK) {
 *         ...
 *         if (locks.locks.check(&locks.locks, &held) != DLOAD_OK) { ... somebody else may have it by now ... }
 *         st = locks.locks.give(&locks.locks, &held);
 *     }
 *
 * WHAT IT IS  A string of 128 random bits under "{dload:NAME}lock", set when it is not there (SET NX PX) and removed by
 * who knows the bits. It ends by itself after hold_ns, so that who dies does not keep it; check asks the server whether it
 * is ours and begins that time anew. The store's CLEAR leaves locks alone.
 *
 * WHEN IT IS LOST  Its time ran out (a holder that was stopped, or did not check), the server was restarted, failed over or
 * evicted it, or its clock was set: Redis measures by the wall clock. Then two may hold it, and until the next check nobody says
 * so. It keeps work from being done twice; it does not make a wrong thing right, see named.h.
 *
 * WAITING  Who waits asks again after 5 ms, 10 ms and so on up to 200 ms, each 75 % to 125 % of that, or when the holder's
 * time ends: nobody is in front of anybody. Other providers keep a queue.
 *
 * THREADS  take, check and give from any thread, for different locks at a time. The child of a fork() has none of its parent's:
 * check and give are DLOAD_ELOCK there. The locks end before their store does.
 */
#ifndef DLOAD_I_NAMED_H
#error "dataloader_redis_lock.h: include dataloader.h with DLOAD_STORE 1 before this header"
#endif

#ifndef DLOAD_REDIS_LOCK_H
#define DLOAD_REDIS_LOCK_H

#include "dataloader_redis.h"

#if defined(__linux__) || defined(__APPLE__)
#include <sys/random.h>
#endif

/* A provider. Must stay where it is while locks are held. */
typedef struct dload_redis_locks {
    dload_locks locks; /* what loaders are given */
    dload_redis_store *redis;
    uint64_t hold_ns;
} dload_redis_locks;

/* A lock that is held: dload_held.impl. Private. */
typedef struct dload_redis_i_lock {
    size_t block_bytes;
    size_t name_bytes; /* of the name in Redis, behind this */
} dload_redis_i_lock;

#define DLOAD_REDIS_I_LOCK       "}lock"
#define DLOAD_REDIS_I_LOCK_BYTES ((size_t)5)

/* 128 bits that nobody can guess. False: the system gives none, or env brings none. */
DLOAD_I_LOCAL bool dload_redis_i_draw(const dload_env *env, uint64_t word[2])
{
    if (env->random != NULL) {
        word[0] = env->random(env->ctx);
        word[1] = env->random(env->ctx);
        return true;
    }
#if defined(__linux__)
    for (int i = 0; i < 16; i++) { /* a signal may interrupt it while the system has just started */
        if (getrandom(word, 2 * sizeof *word, 0) == 2 * sizeof *word)
            return true;
    }
    return false;
#else
    return getentropy(word, 2 * sizeof *word) == 0;
#endif
}

/* {prefix NAME}lock, as the store names things. NULL: no memory. */
DLOAD_I_LOCAL dload_redis_i_lock *dload_redis_i_make_lock(const dload_redis_store *r,
                                                          dload_str name)
{
    const size_t n = dload_redis_i_name_bytes(r->prefix, name.ptr, name.len);
    const size_t name_bytes = 1 + n + DLOAD_REDIS_I_LOCK_BYTES;
    dload_redis_i_lock *lock =
        (dload_redis_i_lock *)dload_i_alloc(r->store.env, sizeof *lock + name_bytes);
    if (lock == NULL)
        return NULL;
    char *p = (char *)(lock + 1);
    p[0] = '{';
    dload_redis_i_put_name(p + 1, n, r->prefix, name.ptr, name.len);
    memcpy(p + 1 + n, DLOAD_REDIS_I_LOCK, DLOAD_REDIS_I_LOCK_BYTES);
    lock->name_bytes = name_bytes;
    lock->block_bytes = sizeof *lock + name_bytes;
    return lock;
}

/* Runs a script for a lock on a connection that is open; ms 0 = it takes none. *answer: its integer. */
DLOAD_I_LOCAL dload_status dload_redis_i_ask_lock(dload_redis_link *l,
                                                  const dload_redis_i_script *script,
                                                  const dload_held *held, uint64_t ms,
                                                  uint64_t until_ns, long long *answer)
{
    const dload_redis_i_lock *lock = (const dload_redis_i_lock *)held->impl;
    dload_redis_conn *c = &l->conn;
    for (int by_text = 0; by_text < 2; by_text++) {
        redisReply *reply = NULL;
        dload_redis_i_call(c, script, by_text != 0, 1, ms != 0 ? 2 : 1);
        (void)dload_redis_arg(c, lock + 1, lock->name_bytes);
        dload_redis_i_add_nonce(c, held->word);
        if (ms != 0)
            (void)dload_redis_number(c, ms);
        dload_status st = dload_redis_get(c, until_ns, &reply);
        if (st != DLOAD_OK)
            return st;
        const bool unknown =
            reply->type == REDIS_REPLY_ERROR && dload_redis_i_begins(reply, "NOSCRIPT");
        const bool ok = reply->type == REDIS_REPLY_INTEGER;
        const bool refused = reply->type == REDIS_REPLY_ERROR;
        *answer = ok ? reply->integer : 0;
        dload_redis_reply_free(reply);
        if (ok)
            return DLOAD_OK;
        if (!refused)
            return dload_redis_close(c, DLOAD_EBACKEND, "a reply of another kind than asked for");
        if (!unknown)
            return DLOAD_EBACKEND;
    }
    return DLOAD_EBACKEND;
}

/* The same on one of the store's connections. */
DLOAD_I_LOCAL dload_status dload_redis_i_lock_call(dload_redis_locks *p,
                                                   const dload_redis_i_script *script,
                                                   const dload_held *held, uint64_t ms,
                                                   long long *answer)
{
    dload_redis_store *r = p->redis;
    if (r->pid != getpid())
        return DLOAD_EFORK;
    const uint64_t until_ns = dload_i_add_ns(dload_redis_now(), r->server.command_timeout_ns);
    dload_redis_link *l = dload_redis_i_take_link(r, until_ns);
    if (l == NULL)
        return DLOAD_ETIMEDOUT;
    dload_status st = dload_redis_i_connect(r, l, until_ns);
    if (st == DLOAD_OK) {
        st = dload_redis_i_ask_lock(l, script, held, ms, until_ns, answer);
        if (st != DLOAD_OK && l->conn.state == DLOAD_REDIS_CLOSED)
            dload_store_log(&r->store, l->conn.error);
    }
    dload_redis_i_give_link(r, l);
    return st;
}

DLOAD_I_LOCAL void dload_redis_i_free_lock(dload_redis_locks *p, dload_held *held)
{
    dload_redis_i_lock *lock = (dload_redis_i_lock *)held->impl;
    if (lock != NULL)
        dload_i_free(p->redis->store.env, lock, lock->block_bytes);
    held->impl = NULL;
}

/* How long to sleep before asking again: about the pause, no longer than the holder has it and we may wait. */
DLOAD_I_LOCAL uint64_t dload_redis_i_lock_pause(const dload_held *held, uint64_t pause_ns,
                                                uint64_t left_ms, uint64_t left_ns)
{
    uint64_t r = dload_redis_now() ^ held->word[0];
    r = (r ^ (r >> 30)) * 0xbf58476d1ce4e5b9u; /* splitmix64 */
    r ^= r >> 27;
    uint64_t nap_ns = pause_ns - pause_ns / 4 + r % (pause_ns / 2 + 1);
    uint64_t held_ns = left_ms < 1000 ? left_ms * DLOAD_MILLISECOND : DLOAD_SECOND;
    nap_ns = nap_ns < held_ns ? nap_ns : held_ns;
    return nap_ns < left_ns ? nap_ns : left_ns;
}

/* dload_locks.take */
DLOAD_I_LOCAL dload_status dload_redis_i_lock_take(dload_locks *locks, dload_str name,
                                                   uint64_t timeout_ns, dload_held *held)
{
    dload_redis_locks *p = (dload_redis_locks *)(void *)locks;
    const uint64_t until_ns = dload_i_add_ns(dload_redis_now(), timeout_ns);
    uint64_t pause_ns = 5 * DLOAD_MILLISECOND;
    memset(held, 0, sizeof *held);
    if ((name.ptr == NULL && name.len != 0) || name.len > p->redis->max_key_bytes)
        return DLOAD_EINVAL;
    if (!dload_redis_i_draw(p->redis->store.env, held->word))
        return DLOAD_ELOCK;
    held->impl = dload_redis_i_make_lock(p->redis, name);
    if (held->impl == NULL)
        return DLOAD_ENOMEM;
    for (;;) {
        long long left_ms = 0;
        dload_status st = dload_redis_i_lock_call(p, &dload_redis_i_lock_script, held,
                                                  dload_redis_i_ms(p->hold_ns), &left_ms);
        if (st == DLOAD_OK && left_ms <= 0)
            return DLOAD_OK;
        const uint64_t now_ns = dload_redis_now();
        if (st != DLOAD_OK || now_ns >= until_ns) {
            dload_redis_i_free_lock(p, held);
            return st == DLOAD_OK ? DLOAD_ETIMEDOUT : st == DLOAD_ENOMEM ? st : DLOAD_ELOCK;
        }
        dload_i_nap(dload_redis_i_lock_pause(held, pause_ns, (uint64_t)left_ms, until_ns - now_ns));
        pause_ns = pause_ns < 100 * DLOAD_MILLISECOND ? 2 * pause_ns : 200 * DLOAD_MILLISECOND;
    }
}

/* dload_locks.check */
DLOAD_I_LOCAL dload_status dload_redis_i_lock_check(dload_locks *locks, dload_held *held)
{
    dload_redis_locks *p = (dload_redis_locks *)(void *)locks;
    long long held_still = 0;
    if (held->impl == NULL)
        return DLOAD_ELOCK;
    dload_status st = dload_redis_i_lock_call(p, &dload_redis_i_prolong, held,
                                              dload_redis_i_ms(p->hold_ns), &held_still);
    return st == DLOAD_OK && held_still == 1 ? DLOAD_OK : DLOAD_ELOCK;
}

/* dload_locks.give */
DLOAD_I_LOCAL dload_status dload_redis_i_lock_give(dload_locks *locks, dload_held *held)
{
    dload_redis_locks *p = (dload_redis_locks *)(void *)locks;
    long long was_held = 0;
    if (held->impl == NULL)
        return DLOAD_ELOCK;
    dload_status st = dload_redis_i_lock_call(p, &dload_redis_i_drop, held, 0, &was_held);
    dload_redis_i_free_lock(p, held);
    return st == DLOAD_OK && was_held == 1 ? DLOAD_OK : DLOAD_ELOCK;
}

/* Prepares a provider on a store's connections and under its prefix; the store must outlive it. hold_ns: how long a lock
 * lasts that its holder neither checks nor gives; 0 = 30 s; DLOAD_EINVAL below a millisecond. Nothing is to be ended. */
DLOAD_I_UNUSED static dload_status
dload_redis_locks_init(dload_redis_locks *p, dload_redis_store *redis, uint64_t hold_ns)
{
    memset(p, 0, sizeof *p);
    if (redis == NULL || (hold_ns != 0 && hold_ns < DLOAD_MILLISECOND) ||
        hold_ns > UINT64_C(1000000) * DLOAD_SECOND)
        return DLOAD_EINVAL;
    p->redis = redis;
    p->hold_ns = hold_ns != 0 ? hold_ns : 30 * DLOAD_SECOND;
    p->locks.name = "redis";
    p->locks.take = dload_redis_i_lock_take;
    p->locks.check = dload_redis_i_lock_check;
    p->locks.give = dload_redis_i_lock_give;
    return DLOAD_OK;
}

#endif /* DLOAD_REDIS_LOCK_H */
