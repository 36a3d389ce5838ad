/* dataloader_redis/run.h -- requests of the Redis store from beginning to end; a part of dataloader_redis.h.
 *
 * SPDX-License-Identifier: MIT
 *
 * A request goes on as far as what has come from the server lets it, and says so when it has to wait: who waits is
 * a thread (here) or an event loop (dataloader_redis/loop.h).
 */
#ifndef DLOAD_REDIS_OPS_H
#error "dataloader_redis/run.h: include dataloader_redis.h instead"
#endif

#ifndef DLOAD_REDIS_RUN_H
#define DLOAD_REDIS_RUN_H

#include "clear.h"

/* ---- going on ---- */

/* A pass over the items: what is sent for those of a status. */
typedef struct dload_redis_i_pass {
    uint32_t what;
    dload_status wanted;
    bool by_text;
} dload_redis_i_pass;

/* A request's pass that is on. Those with an odd number send scripts' texts for what the one before them was refused.
 * False: there was the last one. */
DLOAD_I_LOCAL bool dload_redis_i_pass_of(const dload_redis_i_job *j, dload_redis_i_pass *p)
{
    static const uint8_t n_passes[DLOAD_STORE_N_KINDS] = {2, 1, 1, 0, 4, 2, 2};
    static const uint32_t what[DLOAD_STORE_N_KINDS] = {
        DLOAD_REDIS_I_MGET, DLOAD_REDIS_I_SET,  DLOAD_REDIS_I_UNLINK, DLOAD_REDIS_I_UNLINK,
        DLOAD_REDIS_I_MGET, DLOAD_REDIS_I_FILL, DLOAD_REDIS_I_DROP};
    if (j->pass >= n_passes[j->op->kind])
        return false;
    p->what = what[j->op->kind];
    if (p->what == DLOAD_REDIS_I_MGET && j->pass >= 2)
        p->what = DLOAD_REDIS_I_LEASE;
    else if (p->what == DLOAD_REDIS_I_MGET && j->r->ttls)
        p->what = DLOAD_REDIS_I_VALUES;
    p->by_text = j->pass % 2 != 0;
    p->wanted = p->by_text ? DLOAD_EAGAIN : j->pass == 2 ? DLOAD_MISSING : DLOAD_PENDING;
    return true;
}

/* Takes the next reply. DLOAD_PENDING: it did not come yet. */
DLOAD_I_LOCAL dload_status dload_redis_i_take_one(dload_redis_i_job *j, dload_status wanted)
{
    redisReply *reply = NULL;
    dload_status st = dload_redis_next(&j->l->conn, &reply);
    if (st != DLOAD_OK)
        return st;
    bool ok = dload_redis_i_accept(j, &j->l->commands[j->n_taken++], wanted, &reply);
    if (reply != NULL)
        dload_redis_reply_free(reply);
    return ok ? DLOAD_OK
              : dload_redis_close(&j->l->conn, DLOAD_EBACKEND,
                                  "a reply of another kind than asked for");
}

/* As many commands as fit at a time, of a pass. */
DLOAD_I_LOCAL dload_status dload_redis_i_queue_some(dload_redis_i_job *j,
                                                    const dload_redis_i_pass *p)
{
    dload_redis_conn *c = &j->l->conn;
    const uint32_t most = p->what == DLOAD_REDIS_I_SET ? j->chunk + 1 : 1;
    j->n_commands = j->n_taken = 0;
    while (j->at < j->op->n && j->n_commands + most <= DLOAD_REDIS_I_COMMANDS &&
           c->out_len < DLOAD_REDIS_I_WINDOW_BYTES)
        j->at = dload_redis_i_queue(j, p->what, j->at, p->wanted, p->by_text);
    return c->state == DLOAD_REDIS_READY ? dload_redis_i_send(c) : c->status;
}

/* Goes on with a request whose connection is ready, as far as is possible without waiting. Returns DLOAD_OK: all replies
 * came, see dload_redis_i_conclude; DLOAD_PENDING: poll, and dload_redis_step; otherwise it has failed. */
DLOAD_I_LOCAL dload_status dload_redis_i_go_on(dload_redis_i_job *j)
{
    dload_redis_i_pass p;
    dload_status st = DLOAD_OK;
    if (j->op->kind == DLOAD_STORE_CLEAR)
        return dload_redis_i_go_on_clearing(j);
    while (st == DLOAD_OK && dload_redis_i_pass_of(j, &p)) {
        if (j->n_taken < j->n_commands) {
            st = dload_redis_i_take_one(j, p.wanted);
        } else if (j->at < j->op->n) {
            st = dload_redis_i_queue_some(j, &p);
        } else {
            j->pass++;
            j->at = 0;
            j->n_commands = j->n_taken = 0;
        }
    }
    return st;
}

/* The same, waiting. */
DLOAD_I_LOCAL dload_status dload_redis_i_work(dload_redis_i_job *j)
{
    dload_redis_conn *c = &j->l->conn;
    dload_status st = DLOAD_OK;
    while (st == DLOAD_OK && (st = dload_redis_i_go_on(j)) == DLOAD_PENDING)
        st = dload_redis_i_wait(c, j->until_ns)
                 ? dload_redis_step(c)
                 : dload_redis_close(c, DLOAD_ETIMEDOUT, "no reply in time");
    dload_redis_i_end_walk(j);
    return st;
}

/* A clear on one node of a cluster. */
DLOAD_I_LOCAL dload_status dload_redis_i_clear(dload_redis_i_job *j)
{
    memset(&j->walk, 0, sizeof j->walk);
    return dload_redis_i_work(j);
}

/* ---- requests ---- */

/* Which items go to the server at all. */
DLOAD_I_LOCAL void dload_redis_i_prepare(const dload_redis_store *r, dload_store_op *op)
{
    const bool brings = op->kind == DLOAD_STORE_SET || op->kind == DLOAD_STORE_FILL;
    const bool gets = op->kind == DLOAD_STORE_GET || op->kind == DLOAD_STORE_LEASE;
    for (size_t i = 0; i < op->n; i++) {
        dload_store_item *item = &op->items[i];
        item->status =
            item->key_bytes > r->max_key_bytes || (brings && item->value_bytes > r->max_value_bytes)
                ? DLOAD_ETOOBIG
                : DLOAD_PENDING;
        if (gets) {
            item->value = NULL;
            item->value_bytes = 0;
        }
    }
}

/* What a request came to whose replies all came: DLOAD_EBACKEND when the server refused whatever it was asked. */
DLOAD_I_LOCAL dload_status dload_redis_i_conclude(dload_redis_i_job *j)
{
    size_t n_refused = 0, n_sent = 0;
    for (size_t i = 0; i < j->op->n; i++) {
        dload_store_item *item = &j->op->items[i];
        if (item->status == DLOAD_PENDING || item->status == DLOAD_EAGAIN)
            item->status = DLOAD_EBACKEND; /* it knows no script by its text either */
        n_refused += item->status == DLOAD_EBACKEND;
        n_sent += item->status != DLOAD_ETOOBIG;
    }
    if (n_refused != 0 && j->r->store.hooks != NULL) {
        char text[64];
        (void)snprintf(text, sizeof text, "redis: the server refused commands: %s", j->error);
        dload_store_log(&j->r->store, text);
    }
    if (j->hang_up)
        (void)dload_redis_close(&j->l->conn, DLOAD_EBACKEND, "the server refused commands");
    return n_refused != 0 && n_refused == n_sent ? DLOAD_EBACKEND : DLOAD_OK;
}

/* A connection does not keep what one large request needed. */
DLOAD_I_LOCAL void dload_redis_i_trim(dload_redis_store *r, dload_redis_link *l)
{
    dload_redis_conn *c = &l->conn;
    if (c->out != NULL && c->out_len == 0 && c->out_cap > 4 * DLOAD_REDIS_I_WINDOW_BYTES) {
        dload_i_free(r->server.env, c->out, c->out_cap);
        c->out = NULL;
        c->out_cap = 0;
    }
}

/* Begins a request: nothing is sent yet. DLOAD_EFORK; DLOAD_EINVAL. */
DLOAD_I_LOCAL dload_status dload_redis_i_accept_op(dload_redis_i_job *j, dload_redis_store *r,
                                                   dload_store_op *op)
{
    if (r->pid != getpid())
        return DLOAD_EFORK;
    if (op->n > UINT32_MAX || op->kind >= DLOAD_STORE_N_KINDS)
        return DLOAD_EINVAL;
    memset(j, 0, sizeof *j);
    j->r = r;
    j->op = op;
    j->chunk = r->chunk;
    j->until_ns = dload_i_add_ns(
        dload_redis_now(), op->timeout_ns != 0 ? op->timeout_ns : r->server.command_timeout_ns);
    dload_redis_i_prepare(r, op);
    return DLOAD_OK;
}

/* dload_store.run */
DLOAD_I_LOCAL dload_status dload_redis_i_run(dload_store *s, dload_store_op *op)
{
    dload_redis_store *r = (dload_redis_store *)(void *)s;
    dload_redis_i_job j;
    dload_status st = dload_redis_i_accept_op(&j, r, op);
    if (st != DLOAD_OK)
        return st;
    j.l = dload_redis_i_take_link(r, j.until_ns);
    if (j.l == NULL)
        return DLOAD_ETIMEDOUT;
    st = dload_redis_i_connect(r, j.l, j.until_ns);
    if (st == DLOAD_OK) {
        st = dload_redis_i_work(&j);
        if (st == DLOAD_OK)
            st = dload_redis_i_conclude(&j);
        else if (j.l->conn.state == DLOAD_REDIS_CLOSED)
            dload_store_log(s, j.l->conn.error);
        dload_redis_i_trim(r, j.l);
    }
    dload_redis_i_give_link(r, j.l);
    return st;
}

#endif /* DLOAD_REDIS_RUN_H */
