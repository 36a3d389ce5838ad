/* dataloader_redis/ops.h -- requests of the Redis store as commands; a part of dataloader_redis.h.
 *
 * SPDX-License-Identifier: MIT
 *
 * A request goes over its items once or several times. Each pass sends the items that have a certain status, many in a
 * command or one, as many commands as fit at a time, and the replies change that status: DLOAD_PENDING to what the
 * server says, DLOAD_MISSING to whose lease it is, DLOAD_EAGAIN, for a script that the server did not know,
 * to what its text brings.
 */
#ifndef DLOAD_REDIS_H
#error "dataloader_redis/ops.h: include dataloader_redis.h instead"
#endif

#ifndef DLOAD_REDIS_OPS_H
#define DLOAD_REDIS_OPS_H

#include "scripts.h"

/* What a command does for its items. */
#define DLOAD_REDIS_I_MGET   0u
#define DLOAD_REDIS_I_VALUES 1u /* MGET with what is left of each value's time; a script */
#define DLOAD_REDIS_I_UNLINK 2u /* values and leases */
#define DLOAD_REDIS_I_REVOKE 3u /* leases alone, before SET */
#define DLOAD_REDIS_I_SET    4u
#define DLOAD_REDIS_I_LEASE  5u
#define DLOAD_REDIS_I_FILL   6u
#define DLOAD_REDIS_I_DROP   7u

/* Commands of many items end at so many bytes of names, and no more commands are begun above. */
#define DLOAD_REDIS_I_WINDOW_BYTES ((size_t)1 << 20)

/* Replies that values lie in. */
typedef struct dload_redis_i_results {
    size_t n, cap;
    redisReply **replies; /* behind this */
} dload_redis_i_results;

/* A clear under way; see dataloader_redis/clear.h. */
typedef struct dload_redis_i_walk {
    uint32_t pass; /* 0 = leases, 1 = values, 2 = over */
    bool begun;
    bool scans;    /* a reply to SCAN is to come, behind ... */
    size_t n_owed; /* ... so many to what was sent before */
    char *pattern; /* NULL = none */
    size_t pattern_bytes, pattern_cap;
    char cursor[24];
    dload_status said; /* what an error of the server says */
} dload_redis_i_walk;

/* A request under way. */
typedef struct dload_redis_i_job {
    dload_redis_store *r;
    dload_redis_link *l;
    dload_store_op *op;
    uint64_t until_ns;
    uint32_t chunk;
    uint32_t n_commands;
    uint32_t n_taken; /* of these, whose replies came */
    uint32_t pass;    /* over the items */
    size_t at;        /* items before it were sent in this pass */
    dload_redis_i_walk walk;
    bool hang_up;   /* the server will not do better on this connection */
    bool clustered; /* a clear: each name for itself, and also in slots that move */
    bool gone;      /* ... a name was, when it was its turn, on another node */
    char error[24]; /* the code of the last error that was not about a key */
} dload_redis_i_job;

/* ---- results ---- */

DLOAD_I_LOCAL void dload_redis_i_release(dload_store *s, dload_store_op *op)
{
    dload_redis_i_results *results = (dload_redis_i_results *)op->results;
    for (size_t i = 0; i < results->n; i++)
        dload_redis_reply_free(results->replies[i]);
    dload_i_free(s->env, results, sizeof *results + results->cap * sizeof(redisReply *));
}

/* Keeps a reply until the request is released. False: no memory. */
DLOAD_I_LOCAL bool dload_redis_i_keep_reply(dload_redis_i_job *j, redisReply *reply)
{
    dload_redis_i_results *old = (dload_redis_i_results *)j->op->results;
    if (old == NULL || old->n == old->cap) {
        const size_t n = old != NULL ? old->n : 0, cap = n != 0 ? 2 * n : 4;
        dload_redis_i_results *grown = (dload_redis_i_results *)dload_i_alloc(
            j->r->store.env, sizeof *grown + cap * sizeof(redisReply *));
        if (grown == NULL)
            return false;
        grown->n = n;
        grown->cap = cap;
        grown->replies = (redisReply **)(void *)(grown + 1);
        if (old != NULL) {
            memcpy(grown->replies, old->replies, n * sizeof(redisReply *));
            dload_i_free(j->r->store.env, old, sizeof *old + old->cap * sizeof(redisReply *));
        }
        j->op->results = old = grown;
    }
    old->replies[old->n++] = reply;
    return true;
}

/* ---- names ---- */

/* Writes {name}lease of an item and returns where; the name itself begins at 1. NULL: no memory. */
DLOAD_I_LOCAL const char *dload_redis_i_name(dload_redis_i_job *j, const dload_store_item *item,
                                             size_t *name_bytes)
{
    dload_redis_link *l = j->l;
    const size_t n = dload_redis_i_name_bytes(j->r->prefix, item->key, item->key_bytes);
    if (n + 1 + DLOAD_REDIS_I_BEHIND_BYTES > l->names_cap) {
        const size_t cap = 2 * (n + 64);
        char *names = (char *)dload_i_alloc(j->r->store.env, cap);
        if (names == NULL)
            return NULL;
        dload_i_free(j->r->store.env, l->names, l->names_cap);
        l->names = names;
        l->names_cap = cap;
    }
    l->names[0] = '{';
    dload_redis_i_put_name(l->names + 1, n, j->r->prefix, item->key, item->key_bytes);
    memcpy(l->names + 1 + n, DLOAD_REDIS_I_BEHIND, DLOAD_REDIS_I_BEHIND_BYTES);
    *name_bytes = n;
    return l->names;
}

/* Adds an item's names to a command: that of its value, of its lease, or both. */
DLOAD_I_LOCAL void dload_redis_i_add_names(dload_redis_i_job *j, const dload_store_item *item,
                                           bool value, bool lease)
{
    size_t n = 0;
    const char *name = dload_redis_i_name(j, item, &n);
    if (name == NULL) {
        (void)dload_redis_close(&j->l->conn, DLOAD_ENOMEM, "no memory for a name");
        return;
    }
    if (value)
        (void)dload_redis_arg(&j->l->conn, name + 1, n);
    if (lease)
        (void)dload_redis_arg(&j->l->conn, name, n + 1 + DLOAD_REDIS_I_BEHIND_BYTES);
}

/* ---- sending ---- */

/* A time in milliseconds, at least one. */
DLOAD_I_LOCAL uint64_t dload_redis_i_ms(uint64_t span_ns)
{
    return span_ns > DLOAD_MILLISECOND ? span_ns / DLOAD_MILLISECOND : 1;
}

DLOAD_I_LOCAL void dload_redis_i_add_nonce(dload_redis_conn *c, const uint64_t lease[2])
{
    char hex[33];
    (void)snprintf(hex, sizeof hex, "%016llx%016llx", (unsigned long long)lease[0],
                   (unsigned long long)lease[1]);
    (void)dload_redis_arg(c, hex, 32);
}

/* Begins a command that calls a script, by its text or its digest. */
DLOAD_I_LOCAL void dload_redis_i_call(dload_redis_conn *c, const dload_redis_i_script *script,
                                      bool by_text, size_t n_names, size_t n_more)
{
    (void)dload_redis_begin(c, 3 + n_names + n_more);
    (void)dload_redis_text(c, by_text ? "EVAL" : "EVALSHA");
    (void)dload_redis_text(c, by_text ? script->text : script->sha1);
    (void)dload_redis_number(c, n_names);
}

DLOAD_I_LOCAL void dload_redis_i_note(dload_redis_i_job *j, uint32_t what, size_t first,
                                      size_t last)
{
    dload_redis_i_command *command = &j->l->commands[j->n_commands++];
    command->what = what;
    command->first = (uint32_t)first;
    command->last = (uint32_t)last;
}

/* One command for several items, those of [first, last) whose status is wanted. */
DLOAD_I_LOCAL void dload_redis_i_queue_many(dload_redis_i_job *j, uint32_t what, bool by_text,
                                            size_t first, size_t last, dload_status wanted)
{
    dload_redis_conn *c = &j->l->conn;
    size_t n = 0;
    for (size_t i = first; i < last; i++)
        n += j->op->items[i].status == wanted;
    if (what == DLOAD_REDIS_I_VALUES) {
        dload_redis_i_call(c, &dload_redis_i_values, by_text, n, 0);
    } else {
        const bool unlinks = what != DLOAD_REDIS_I_MGET;
        (void)dload_redis_begin(c, 1 + (what == DLOAD_REDIS_I_UNLINK ? 2 * n : n));
        (void)dload_redis_text(c, unlinks ? "UNLINK" : "MGET");
    }
    for (size_t i = first; i < last; i++) {
        if (j->op->items[i].status == wanted)
            dload_redis_i_add_names(j, &j->op->items[i], what != DLOAD_REDIS_I_REVOKE,
                                    what == DLOAD_REDIS_I_UNLINK || what == DLOAD_REDIS_I_REVOKE);
    }
    dload_redis_i_note(j, what, first, last);
}

/* One command for one item. */
DLOAD_I_LOCAL void dload_redis_i_queue_one(dload_redis_i_job *j, uint32_t what, bool by_text,
                                           size_t at)
{
    dload_redis_conn *c = &j->l->conn;
    const dload_store_item *item = &j->op->items[at];
    const bool ends = item->ttl_ns != DLOAD_NEVER;
    switch (what) {
    case DLOAD_REDIS_I_SET:
        (void)dload_redis_begin(c, ends ? 5 : 3);
        (void)dload_redis_text(c, "SET");
        dload_redis_i_add_names(j, item, true, false);
        (void)dload_redis_arg(c, item->value, item->value_bytes);
        if (ends) {
            (void)dload_redis_text(c, "PX");
            (void)dload_redis_number(c, dload_redis_i_ms(item->ttl_ns));
        }
        break;
    case DLOAD_REDIS_I_LEASE:
        dload_redis_i_call(c, &dload_redis_i_lease, by_text, 2, 2);
        dload_redis_i_add_names(j, item, true, true);
        dload_redis_i_add_nonce(c, item->lease);
        (void)dload_redis_number(c, dload_redis_i_ms(item->ttl_ns));
        break;
    case DLOAD_REDIS_I_FILL:
        dload_redis_i_call(c, &dload_redis_i_fill, by_text, 2, 3);
        dload_redis_i_add_names(j, item, true, true);
        dload_redis_i_add_nonce(c, item->lease);
        (void)dload_redis_arg(c, item->value, item->value_bytes);
        if (ends)
            (void)dload_redis_number(c, dload_redis_i_ms(item->ttl_ns));
        else
            (void)dload_redis_text(c, "");
        break;
    default:
        dload_redis_i_call(c, &dload_redis_i_drop, by_text, 1, 1);
        dload_redis_i_add_names(j, item, false, true);
        dload_redis_i_add_nonce(c, item->lease);
        break;
    }
    dload_redis_i_note(j, what, at, at + 1);
}

/* Where the command that begins with item first ends: after chunk items, or some bytes. */
DLOAD_I_LOCAL size_t dload_redis_i_chunk_end(const dload_redis_i_job *j, size_t first,
                                             dload_status wanted)
{
    size_t n = 0, n_bytes = 0, i = first;
    for (; i < j->op->n && n < j->chunk && n_bytes < DLOAD_REDIS_I_WINDOW_BYTES; i++) {
        if (j->op->items[i].status != wanted)
            continue;
        n++;
        n_bytes += j->op->items[i].key_bytes;
    }
    return i;
}

/* Sends the next command or commands, from item at on; returns where the next ones begin. */
DLOAD_I_LOCAL size_t dload_redis_i_queue(dload_redis_i_job *j, uint32_t what, size_t at,
                                         dload_status wanted, bool by_text)
{
    while (at < j->op->n && j->op->items[at].status != wanted)
        at++;
    if (at == j->op->n)
        return at;
    if (what > DLOAD_REDIS_I_SET) {
        dload_redis_i_queue_one(j, what, by_text, at);
        return at + 1;
    }
    const size_t end = dload_redis_i_chunk_end(j, at, wanted);
    if (what != DLOAD_REDIS_I_SET) {
        dload_redis_i_queue_many(j, what, by_text, at, end, wanted);
        return end;
    }
    dload_redis_i_queue_many(j, DLOAD_REDIS_I_REVOKE, false, at, end, wanted);
    for (; at < end; at++) {
        if (j->op->items[at].status == wanted)
            dload_redis_i_queue_one(j, what, false, at);
    }
    return end;
}

/* ---- taking ---- */

DLOAD_I_LOCAL bool dload_redis_i_begins(const redisReply *reply, const char *code)
{
    const size_t n = strlen(code);
    return reply->len >= n && memcmp(reply->str, code, n) == 0;
}

/* What an error says about the items of its command. Its text is not passed on but for the code: it may quote
 * the command. */
DLOAD_I_LOCAL dload_status dload_redis_i_refusal(dload_redis_i_job *j, const redisReply *reply)
{
    size_t n = 0;
    if (dload_redis_i_begins(reply, "NOSCRIPT"))
        return DLOAD_EAGAIN;
    if (dload_redis_i_begins(reply, "WRONGTYPE"))
        return DLOAD_EDECODE;
    while (n < reply->len && n + 1 < sizeof j->error && reply->str[n] >= 'A' &&
           reply->str[n] <= 'Z')
        n++;
    memcpy(j->error, reply->str, n);
    j->error[n] = '\0';
    /* A replica, or one that wants a password by now: behind the same name there may be another. */
    if (dload_redis_i_begins(reply, "READONLY") || dload_redis_i_begins(reply, "NOAUTH"))
        j->hang_up = true;
    return DLOAD_EBACKEND;
}

/* A value, for an item of GET or LEASE; left_ms < 0 = no end, or not known. */
DLOAD_I_LOCAL void dload_redis_i_found(dload_store_item *item, const redisReply *value,
                                       long long left_ms)
{
    item->status = DLOAD_OK;
    item->value = value->len != 0 ? value->str : NULL;
    item->value_bytes = value->len;
    item->ttl_ns = left_ms < 0 ? DLOAD_NEVER : (uint64_t)left_ms * DLOAD_MILLISECOND;
}

/* Values of a chunk: one element for each item, or two when their times come too. False: another shape.
 * An element that is no string is that item's fault. */
DLOAD_I_LOCAL bool dload_redis_i_accept_values(dload_redis_i_job *j,
                                               const dload_redis_i_command *command,
                                               dload_status wanted, redisReply **reply)
{
    const redisReply *all = *reply;
    const size_t step = command->what == DLOAD_REDIS_I_VALUES ? 2 : 1;
    size_t n = 0, at = 0;
    for (size_t i = command->first; i < command->last; i++)
        n += j->op->items[i].status == wanted;
    if (all->type != REDIS_REPLY_ARRAY || all->elements != n * step)
        return false;
    const bool kept = dload_redis_i_keep_reply(j, *reply);
    for (size_t i = command->first; i < command->last; i++) {
        dload_store_item *item = &j->op->items[i];
        if (item->status != wanted)
            continue;
        const redisReply *value = all->element[at];
        const redisReply *left = step == 2 ? all->element[at + 1] : NULL;
        at += step;
        if (value->type == REDIS_REPLY_NIL)
            item->status = DLOAD_MISSING;
        else if (value->type != REDIS_REPLY_STRING ||
                 (left != NULL && left->type != REDIS_REPLY_INTEGER))
            item->status = DLOAD_EDECODE;
        else if (!kept)
            item->status = DLOAD_ENOMEM;
        else
            dload_redis_i_found(item, value, left != NULL ? left->integer : -1);
    }
    if (kept)
        *reply = NULL;
    return true;
}

/* What the lease script says: [value, what is left], 0 = granted, n = somebody else's for so many ms. */
DLOAD_I_LOCAL bool dload_redis_i_accept_lease(dload_redis_i_job *j, dload_store_item *item,
                                              redisReply **reply)
{
    const redisReply *all = *reply;
    if (all->type == REDIS_REPLY_INTEGER && all->integer >= 0) {
        item->status = all->integer == 0 ? DLOAD_MISSING : DLOAD_EBUSY;
        if (all->integer != 0)
            item->ttl_ns = (uint64_t)all->integer * DLOAD_MILLISECOND;
        return true;
    }
    if (all->type != REDIS_REPLY_ARRAY || all->elements != 2 ||
        all->element[0]->type != REDIS_REPLY_STRING || all->element[1]->type != REDIS_REPLY_INTEGER)
        return false;
    if (!dload_redis_i_keep_reply(j, *reply)) {
        item->status = DLOAD_ENOMEM;
        return true;
    }
    dload_redis_i_found(item, all->element[0], j->r->ttls ? all->element[1]->integer : -1);
    *reply = NULL;
    return true;
}

/* Takes the reply to a command. False: it is of another shape than asked for. */
DLOAD_I_LOCAL bool dload_redis_i_accept(dload_redis_i_job *j, const dload_redis_i_command *command,
                                        dload_status wanted, redisReply **reply)
{
    const redisReply *got = *reply;
    dload_store_item *item = &j->op->items[command->first];
    if (got->type == REDIS_REPLY_ERROR) {
        dload_status st = dload_redis_i_refusal(j, got);
        for (size_t i = command->first; i < command->last; i++) {
            if (j->op->items[i].status == wanted)
                j->op->items[i].status = st;
        }
        return true;
    }
    switch (command->what) {
    case DLOAD_REDIS_I_MGET:
    case DLOAD_REDIS_I_VALUES:
        return dload_redis_i_accept_values(j, command, wanted, reply);
    case DLOAD_REDIS_I_LEASE:
        return dload_redis_i_accept_lease(j, item, reply);
    case DLOAD_REDIS_I_SET:
        if (got->type != REDIS_REPLY_STATUS)
            return false;
        if (item->status == wanted) /* else its lease could not be revoked */
            item->status = DLOAD_OK;
        return true;
    default:
        break;
    }
    if (got->type != REDIS_REPLY_INTEGER)
        return false;
    for (size_t i = command->first; i < command->last && command->what != DLOAD_REDIS_I_REVOKE;
         i++) {
        const bool lost = command->what == DLOAD_REDIS_I_FILL && got->integer != 1;
        if (j->op->items[i].status == wanted)
            j->op->items[i].status = lost ? DLOAD_ELOCK : DLOAD_OK;
    }
    return true;
}

#include "run.h"

#endif /* DLOAD_REDIS_OPS_H */
