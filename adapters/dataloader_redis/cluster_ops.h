/* dataloader_redis/cluster_ops.h -- items' commands and replies; a part of dataloader_redis_cluster.h.
 *
 * SPDX-License-Identifier: MIT
 *
 * What is sent for an item, and what becomes of it by the replies. An item whose slot is elsewhere, or nowhere for now, stays pending and
 * is sent again in the next round, see dataloader_redis/cluster_rounds.h.
 *
 * SET and DELETE touch two names, the lease before the value: else who holds the lease could fill after the value
 * was written. While a slot moves one of them may be here and the other there, and each is sent where it is,
 * one after the other (work.stage).
 */
#ifndef DLOAD_REDIS_CLUSTER_H
#error "dataloader_redis/cluster_ops.h: include dataloader_redis_cluster.h instead"
#endif

#ifndef DLOAD_REDIS_CLUSTER_OPS_H
#define DLOAD_REDIS_CLUSTER_OPS_H

#define DLOAD_REDIS_CLUSTER_I_ASKING \
    100u /* a command that only says that the next one may be answered */

/* What an error says about where its item is. */
#define DLOAD_REDIS_CLUSTER_I_OTHER    0u /* nothing */
#define DLOAD_REDIS_CLUSTER_I_MOVED    1u
#define DLOAD_REDIS_CLUSTER_I_ASK      2u
#define DLOAD_REDIS_CLUSTER_I_LATER    3u /* nowhere just now */
#define DLOAD_REDIS_CLUSTER_I_LOST     4u /* the map may be wrong */
#define DLOAD_REDIS_CLUSTER_I_NOSCRIPT 5u

/* ---- slots of items ---- */

DLOAD_I_LOCAL uint16_t dload_redis_cluster_i_slot(dload_str prefix, const dload_store_item *item)
{
    const char *key = item->key;
    if (prefix.len + item->key_bytes == 0)
        return (uint16_t)dload_redis_slot("%", 1);
    uint32_t crc = dload_redis_i_crc16(0, prefix.ptr, prefix.len);
    if (dload_redis_i_count_escapes(key, item->key_bytes) == 0) {
        crc = dload_redis_i_crc16(crc, key, item->key_bytes);
    } else {
        for (size_t i = 0; i < item->key_bytes; i++) {
            const char *escape = dload_redis_i_escape(key[i]);
            crc =
                dload_redis_i_crc16(crc, escape != NULL ? escape : key + i, escape != NULL ? 3 : 1);
        }
    }
    return (uint16_t)(crc % DLOAD_REDIS_SLOTS);
}

/* ---- what becomes of an item ---- */

DLOAD_I_LOCAL void dload_redis_cluster_i_decide(dload_redis_cluster_i_job *q, uint32_t i,
                                                dload_status st)
{
    q->op->items[i].status = st;
    q->lane->work[i].pending = false;
}

DLOAD_I_LOCAL uint32_t dload_redis_cluster_i_kind_of_error(const redisReply *reply)
{
    static const struct {
        const char *code;
        uint32_t kind;
    } codes[] = {
        {"MOVED ", DLOAD_REDIS_CLUSTER_I_MOVED},     {"ASK ", DLOAD_REDIS_CLUSTER_I_ASK},
        {"TRYAGAIN", DLOAD_REDIS_CLUSTER_I_LATER},   {"LOADING", DLOAD_REDIS_CLUSTER_I_LATER},
        {"CLUSTERDOWN", DLOAD_REDIS_CLUSTER_I_LOST}, {"READONLY", DLOAD_REDIS_CLUSTER_I_LOST},
        {"MASTERDOWN", DLOAD_REDIS_CLUSTER_I_LOST},  {"NOSCRIPT", DLOAD_REDIS_CLUSTER_I_NOSCRIPT}};
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        if (dload_redis_i_begins(reply, codes[i].code))
            return codes[i].kind;
    }
    return DLOAD_REDIS_CLUSTER_I_OTHER;
}

/* It is to be sent to where the map says after a pause, if it was not too often yet. */
DLOAD_I_LOCAL void dload_redis_cluster_i_later(dload_redis_cluster_i_work *w)
{
    const uint32_t n = w->n_retries < 6 ? w->n_retries : 6;
    w->n_retries++;
    w->target = NULL;
    w->asking = false;
    w->not_before_ns = dload_i_add_ns(dload_redis_now(), (10 * DLOAD_MILLISECOND) << n);
}

/* MOVED and ASK: where to. False: the address is none. */
DLOAD_I_LOCAL bool dload_redis_cluster_i_sent_on(dload_redis_cluster_i_job *q,
                                                 dload_redis_member *m,
                                                 const dload_redis_i_command *command, bool moved,
                                                 const redisReply *reply)
{
    dload_redis_cluster_i_work *w = &q->lane->work[command->first];
    const size_t code = moved ? 6 : 4;
    dload_redis_address at;
    if (!dload_redis_i_redirect(reply->str + code, (size_t)reply->len - code, m->at.host, &at))
        return false;
    w->n_redirects++;
    w->target = dload_redis_cluster_i_member(q, &at);
    w->asking = !moved;
    dload_i_store_add(moved ? &q->cl->n_moved : &q->cl->n_asked, 1);
    if (moved) {
        q->moved = dload_redis_i_map_moved(q->map, w->slot, &at) || q->moved;
        q->renew = q->hinted = true;
        q->hint = at;
        if (w->target == m)
            dload_redis_cluster_i_later(w); /* to where it came from: somebody is mistaken */
    } else if (w->stage == 0 && (q->what == DLOAD_REDIS_I_SET || q->what == DLOAD_REDIS_I_UNLINK)) {
        /* This name is there, or nowhere; where the other one is remains to be seen. */
        w->stage = command->what == DLOAD_REDIS_I_SET ? 2 : 1;
    }
    return true;
}

/* Takes an error that says that an item is not here, or not now. False: it says something else, or nonsense. */
DLOAD_I_LOCAL bool dload_redis_cluster_i_turned_away(dload_redis_cluster_i_job *q,
                                                     dload_redis_member *m,
                                                     const dload_redis_i_command *command,
                                                     const redisReply *reply)
{
    dload_redis_cluster_i_work *w = &q->lane->work[command->first];
    const uint32_t kind = dload_redis_cluster_i_kind_of_error(reply);
    switch (kind) {
    case DLOAD_REDIS_CLUSTER_I_MOVED:
    case DLOAD_REDIS_CLUSTER_I_ASK:
        if (!dload_redis_cluster_i_sent_on(q, m, command, kind == DLOAD_REDIS_CLUSTER_I_MOVED,
                                           reply))
            return false;
        break;
    case DLOAD_REDIS_CLUSTER_I_LATER:
    case DLOAD_REDIS_CLUSTER_I_LOST:
        q->renew = q->renew || kind == DLOAD_REDIS_CLUSTER_I_LOST;
        q->down = q->down || dload_redis_i_begins(reply, "CLUSTERDOWN The cluster is down");
        if (q->what == DLOAD_REDIS_I_UNLINK && w->stage == 0 &&
            dload_redis_i_begins(reply, "TRYAGAIN")) {
            w->stage = 1; /* one name is here and one is there */
            w->n_redirects++;
            w->target = NULL;
            w->asking = false;
        } else {
            dload_redis_cluster_i_later(w);
        }
        break;
    case DLOAD_REDIS_CLUSTER_I_NOSCRIPT:
        if (w->by_text)
            return false;
        w->by_text = true;
        w->target = m;
        break;
    default:
        return false;
    }
    w->again = true;
    q->op->items[command->first].status = q->wanted; /* whatever its other command came to */
    return true;
}

/* All replies of an item are there. */
DLOAD_I_LOCAL void dload_redis_cluster_i_answered(dload_redis_cluster_i_job *q, uint32_t i)
{
    dload_redis_cluster_i_work *w = &q->lane->work[i];
    if (w->again) {
        if (w->n_redirects > q->cl->max_redirects || w->n_retries > q->cl->max_retries)
            dload_redis_cluster_i_decide(q, i, DLOAD_EBACKEND);
    } else if (w->stage == 1 && q->op->items[i].status == q->wanted) {
        w->stage = 2; /* the lease is revoked */
        w->target = NULL;
        w->asking = false;
    } else {
        w->pending = false;
    }
}

/* Takes a reply. False: the connection cannot be used any more. */
DLOAD_I_LOCAL bool dload_redis_cluster_i_reply(dload_redis_cluster_i_job *q, dload_redis_member *m,
                                               redisReply **reply)
{
    const dload_redis_i_command *command = &m->link.commands[m->n_taken++];
    dload_redis_cluster_i_work *w = &q->lane->work[command->first];
    if (command->what == DLOAD_REDIS_CLUSTER_I_ASKING)
        return true; /* if it was refused, so is the next */
    const bool error = (*reply)->type == REDIS_REPLY_ERROR;
    w->n_owed--;
    /* When a lease was not revoked, it does not matter what became of the value: both are sent again. */
    if (!w->again && !(error && dload_redis_cluster_i_turned_away(q, m, command, *reply))) {
        if (!dload_redis_i_accept(&m->job, command, q->wanted, reply)) {
            w->n_owed++;
            return false;
        }
        if (error)
            memcpy(q->error, m->job.error, sizeof q->error);
        if (error &&
            q->op->items[command->first].status == DLOAD_EAGAIN) /* no script, by its text */
            q->op->items[command->first].status = DLOAD_EBACKEND;
    }
    if (w->n_owed == 0)
        dload_redis_cluster_i_answered(q, command->first);
    return true;
}

/* ---- one node ---- */

DLOAD_I_LOCAL void dload_redis_cluster_i_begin_value_unlink(dload_redis_cluster_i_job *q,
                                                            dload_redis_member *m, uint32_t i)
{
    (void)dload_redis_begin(&m->link.conn, 2);
    (void)dload_redis_text(&m->link.conn, "UNLINK");
    dload_redis_i_add_names(&m->job, &q->op->items[i], true, false);
    dload_redis_i_note(&m->job, DLOAD_REDIS_I_UNLINK, i, (size_t)i + 1);
}

/* Begins the one or two commands of an item. */
DLOAD_I_LOCAL void dload_redis_cluster_i_begin(dload_redis_cluster_i_job *q, dload_redis_member *m,
                                               uint32_t i)
{
    dload_redis_cluster_i_work *w = &q->lane->work[i];
    const bool sets = q->what == DLOAD_REDIS_I_SET, two = sets && w->stage == 0;
    for (uint32_t k = 0; k < (two ? 2u : 1u); k++) {
        if (w->asking) {
            (void)dload_redis_begin(&m->link.conn, 1);
            (void)dload_redis_text(&m->link.conn, "ASKING");
            dload_redis_i_note(&m->job, DLOAD_REDIS_CLUSTER_I_ASKING, i, (size_t)i + 1);
        }
        if (w->stage == 1 || (two && k == 0))
            dload_redis_i_queue_many(&m->job, DLOAD_REDIS_I_REVOKE, false, i, (size_t)i + 1,
                                     q->wanted);
        else if (w->stage == 2 && !sets)
            dload_redis_cluster_i_begin_value_unlink(q, m, i);
        else if (q->what < DLOAD_REDIS_I_SET)
            dload_redis_i_queue_many(&m->job, q->what, w->by_text, i, (size_t)i + 1, q->wanted);
        else
            dload_redis_i_queue_one(&m->job, q->what, w->by_text, i);
    }
    w->n_owed = two ? 2 : 1;
    w->again = false;
}

/* Begins as many of a node's items as go at a time. */
DLOAD_I_LOCAL void dload_redis_cluster_i_fill_window(dload_redis_cluster_i_job *q,
                                                     dload_redis_member *m)
{
    m->job.n_commands = m->n_taken = 0;
    while (m->unsent != DLOAD_REDIS_CLUSTER_I_NONE &&
           m->job.n_commands + 4 <= DLOAD_REDIS_I_COMMANDS &&
           m->link.conn.out_len < DLOAD_REDIS_I_WINDOW_BYTES) {
        dload_redis_cluster_i_begin(q, m, m->unsent);
        m->unsent = q->lane->work[m->unsent].next;
    }
}

/* Its items cannot be asked for there; whether elsewhere, the next map says. */
DLOAD_I_LOCAL void dload_redis_cluster_i_fail(dload_redis_cluster_i_job *q, dload_redis_member *m,
                                              dload_status st)
{
    bool sent = true;
    for (uint32_t i = m->first; i != DLOAD_REDIS_CLUSTER_I_NONE; i = q->lane->work[i].next) {
        dload_redis_cluster_i_work *w = &q->lane->work[i];
        sent = sent && i != m->unsent;
        if (sent && w->n_owed == 0)
            continue; /* answered before */
        w->n_owed = 0;
        w->failed = st;
        w->target = m; /* who it was */
    }
    m->busy = false;
    q->renew = q->renew || st != DLOAD_ENOMEM;
}

/* Goes on with a node as far as is possible without waiting. */
DLOAD_I_LOCAL void dload_redis_cluster_i_advance(dload_redis_cluster_i_job *q,
                                                 dload_redis_member *m)
{
    dload_redis_conn *c = &m->link.conn;
    bool ready = c->state == DLOAD_REDIS_READY, ok = true;
    for (;;) {
        redisReply *reply = NULL;
        if (ready && m->n_taken == m->job.n_commands) {
            if (m->unsent == DLOAD_REDIS_CLUSTER_I_NONE) {
                m->busy = false;
                return;
            }
            dload_redis_cluster_i_fill_window(q, m);
        }
        (void)dload_redis_step(c);
        while (ok && dload_redis_next(c, &reply) == DLOAD_OK) {
            ok = m->n_taken < m->job.n_commands && dload_redis_cluster_i_reply(q, m, &reply);
            if (reply != NULL)
                dload_redis_reply_free(reply);
        }
        if (!ok)
            (void)dload_redis_close(c, DLOAD_EBACKEND, "a reply of another kind than asked for");
        if (c->state == DLOAD_REDIS_CLOSED) {
            if (c->status != DLOAD_ENOMEM) /* that says nothing of the node */
                dload_redis_cluster_i_ill(q, m, !ready);
            dload_redis_cluster_i_log(q->cl, m, c->error);
            dload_redis_cluster_i_fail(q, m, c->status != DLOAD_OK ? c->status : DLOAD_EBACKEND);
            return;
        }
        if (!ready && c->state == DLOAD_REDIS_READY) {
            ready = true;
            dload_redis_cluster_i_log(q->cl, m, "connected");
        } else if (!ready || m->n_taken < m->job.n_commands) {
            return;
        }
        if (m->n_taken != 0)
            dload_redis_cluster_i_well(q, m);
    }
}

/* A node's time is over: that of the request, or of connecting to it. A connection that is being made is gone on with by the
 * next request. */
DLOAD_I_LOCAL void dload_redis_cluster_i_expire(dload_redis_cluster_i_job *q, dload_redis_member *m,
                                                uint64_t now_ns)
{
    dload_redis_conn *c = &m->link.conn;
    const bool connecting = c->state != DLOAD_REDIS_READY;
    if (now_ns < q->until_ns && (!connecting || now_ns < m->link.connect_until_ns))
        return;
    if (!connecting || now_ns >= m->link.connect_until_ns) {
        (void)dload_redis_close(c, DLOAD_ETIMEDOUT, "no answer in time");
        dload_redis_cluster_i_ill(q, m, connecting);
        dload_redis_cluster_i_log(q->cl, m, c->error);
    }
    dload_redis_cluster_i_fail(q, m, DLOAD_ETIMEDOUT);
}

#endif /* DLOAD_REDIS_CLUSTER_OPS_H */
