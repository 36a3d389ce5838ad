/* dataloader_redis/reply.h -- replies of many values in a few blocks of memory.
 *
 * SPDX-License-Identifier: MIT
 *
 * Part of dataloader_redis/conn.h, which includes it. hiredis takes two allocations for each string of an array,
 * which is a third of what a client spends on an MGET. On connections with conn.lean set, arrays that
 * are replies by themselves lie in one block with their elements and most of their strings, and have to be given to
 * dload_redis_reply_free; everything else is as hiredis makes it. The block knows itself by a number in a field
 * that an array does not use.
 */
#ifndef DLOAD_REDIS_CONN_H
#error "dataloader_redis/reply.h: include dataloader_redis/conn.h instead"
#endif

#ifndef DLOAD_REDIS_REPLY_H
#define DLOAD_REDIS_REPLY_H

#define DLOAD_REDIS_I_LEAN          0x6e61656cLL
#define DLOAD_REDIS_I_LEAN_ELEMENTS ((size_t)1024) /* that have room in the first block */
#define DLOAD_REDIS_I_LEAN_CHUNK    ((size_t)32 << 10)

/* More room. What follows it is handed out from the front. */
typedef struct dload_redis_i_chunk {
    struct dload_redis_i_chunk *next;
    size_t used_bytes, cap_bytes; /* of what follows */
    size_t pad;                   /* what follows begins at a multiple of 16 */
} dload_redis_i_chunk;

typedef struct dload_redis_i_lean {
    redisReply root;
    void *many;                  /* element pointers, when they are too many for the block */
    dload_redis_i_chunk *chunks; /* the newest first */
    dload_redis_i_chunk first;
} dload_redis_i_lean;

/* Gives a reply of a connection back. NULL: nothing. Any thread. */
DLOAD_I_UNUSED static void dload_redis_reply_free(void *reply)
{
    dload_redis_i_lean *l = (dload_redis_i_lean *)reply;
    if (reply == NULL)
        return;
    if (l->root.type != REDIS_REPLY_ARRAY || l->root.integer != DLOAD_REDIS_I_LEAN) {
        freeReplyObject(reply);
        return;
    }
    while (l->chunks != &l->first) {
        dload_redis_i_chunk *next = l->chunks->next;
        free(l->chunks);
        l->chunks = next;
    }
    free(l->many);
    free(l);
}

/* n_bytes of the reply's own, or NULL. */
DLOAD_I_LOCAL void *dload_redis_i_lean_take(dload_redis_i_lean *l, size_t n_bytes)
{
    dload_redis_i_chunk *c = l->chunks;
    if (n_bytes > SIZE_MAX / 2)
        return NULL;
    n_bytes = (n_bytes + 15) & ~(size_t)15;
    if (n_bytes > c->cap_bytes - c->used_bytes) {
        const size_t cap = n_bytes > DLOAD_REDIS_I_LEAN_CHUNK ? n_bytes : DLOAD_REDIS_I_LEAN_CHUNK;
        c = (dload_redis_i_chunk *)malloc(sizeof *c + cap);
        if (c == NULL)
            return NULL;
        c->used_bytes = 0;
        c->cap_bytes = cap;
        c->next = l->chunks;
        l->chunks = c;
    }
    void *p = (char *)(c + 1) + c->used_bytes;
    c->used_bytes += n_bytes;
    return p;
}

/* The block that a part of a reply belongs to; NULL = none, hiredis makes it. */
DLOAD_I_LOCAL dload_redis_i_lean *dload_redis_i_lean_of(const redisReadTask *task)
{
    if (task->parent == NULL)
        return NULL;
    while (task->parent != NULL)
        task = task->parent;
    dload_redis_i_lean *l = (dload_redis_i_lean *)task->obj;
    return l->root.type == REDIS_REPLY_ARRAY && l->root.integer == DLOAD_REDIS_I_LEAN ? l : NULL;
}

/* One more part, in its place in the array that it is in. */
DLOAD_I_LOCAL redisReply *dload_redis_i_lean_part(dload_redis_i_lean *l, const redisReadTask *task,
                                                  int type)
{
    redisReply *r = (redisReply *)dload_redis_i_lean_take(l, sizeof *r);
    if (r == NULL)
        return NULL;
    memset(r, 0, sizeof *r);
    r->type = type;
    ((redisReply *)task->parent->obj)->element[task->idx] = r;
    return r;
}

DLOAD_I_LOCAL void *dload_redis_i_lean_string(const redisReadTask *task, char *str, size_t len)
{
    dload_redis_i_lean *l = dload_redis_i_lean_of(task);
    if (l == NULL)
        return ((dload_redis_conn *)task->privdata)->made.createString(task, str, len);
    redisReply *r = dload_redis_i_lean_part(l, task, task->type);
    if (r == NULL || len > SIZE_MAX / 4)
        return NULL;
    r->str = (char *)dload_redis_i_lean_take(l, len + 1);
    if (r->str == NULL)
        return NULL;
    memcpy(r->str, str, len);
    r->str[len] = '\0';
    r->len = len;
    return r;
}

DLOAD_I_LOCAL void *dload_redis_i_lean_integer(const redisReadTask *task, long long value)
{
    dload_redis_i_lean *l = dload_redis_i_lean_of(task);
    if (l == NULL)
        return ((dload_redis_conn *)task->privdata)->made.createInteger(task, value);
    redisReply *r = dload_redis_i_lean_part(l, task, REDIS_REPLY_INTEGER);
    if (r != NULL)
        r->integer = value;
    return r;
}

DLOAD_I_LOCAL void *dload_redis_i_lean_nil(const redisReadTask *task)
{
    dload_redis_i_lean *l = dload_redis_i_lean_of(task);
    return l == NULL ? ((dload_redis_conn *)task->privdata)->made.createNil(task)
                     : dload_redis_i_lean_part(l, task, REDIS_REPLY_NIL);
}

#if HIREDIS_MAJOR >= 1
/* Nobody asks for what servers send in RESP3 only: a nil of the block stands for it. */
DLOAD_I_LOCAL void *dload_redis_i_lean_double(const redisReadTask *task, double value, char *str,
                                              size_t len)
{
    return dload_redis_i_lean_of(task) != NULL
               ? dload_redis_i_lean_nil(task)
               : ((dload_redis_conn *)task->privdata)->made.createDouble(task, value, str, len);
}

DLOAD_I_LOCAL void *dload_redis_i_lean_bool(const redisReadTask *task, int value)
{
    return dload_redis_i_lean_of(task) != NULL
               ? dload_redis_i_lean_nil(task)
               : ((dload_redis_conn *)task->privdata)->made.createBool(task, value);
}
#endif

/* An array that is a reply by itself: the block, with room for its elements and, guessed, their strings. */
DLOAD_I_LOCAL void *dload_redis_i_lean_root(size_t n)
{
    const size_t here = n < DLOAD_REDIS_I_LEAN_ELEMENTS ? n : DLOAD_REDIS_I_LEAN_ELEMENTS;
    const size_t cap = here * (sizeof(redisReply) + sizeof(redisReply *) + 16 + 160);
    dload_redis_i_lean *l = (dload_redis_i_lean *)malloc(sizeof *l + cap);
    if (l == NULL)
        return NULL;
    memset(l, 0, sizeof *l);
    l->root.type = REDIS_REPLY_ARRAY;
    l->root.integer = DLOAD_REDIS_I_LEAN;
    l->root.elements = n;
    l->chunks = &l->first;
    l->first.cap_bytes = cap;
    if (n == here) { /* always has room */
        l->root.element = (redisReply **)dload_redis_i_lean_take(l, n * sizeof(redisReply *));
        memset(l->root.element, 0, n * sizeof(redisReply *));
    } else {
        l->many = calloc(n, sizeof(redisReply *));
        l->root.element = (redisReply **)l->many;
    }
    if (l->root.element == NULL) {
        dload_redis_reply_free(l);
        return NULL;
    }
    return l;
}

/* hiredis makes room for as many elements as an array announces: ours looks first. */
DLOAD_I_LOCAL void *dload_redis_i_array(const redisReadTask *task, dload_redis_count n)
{
    dload_redis_conn *c = (dload_redis_conn *)task->privdata;
    dload_redis_i_lean *l = dload_redis_i_lean_of(task);
    if ((size_t)n > c->server->max_elements - c->n_elements)
        return NULL; /* hiredis calls that out of memory; a count below zero is a large size */
    c->n_elements += (size_t)n;
    if (task->parent == NULL && c->lean && task->type == REDIS_REPLY_ARRAY)
        return dload_redis_i_lean_root((size_t)n);
    if (l == NULL)
        return c->made.createArray(task, n);
    redisReply *r = dload_redis_i_lean_part(l, task, task->type);
    if (r == NULL || n == 0)
        return r;
    r->element = (redisReply **)dload_redis_i_lean_take(l, (size_t)n * sizeof(redisReply *));
    if (r->element == NULL)
        return NULL;
    memset(r->element, 0, (size_t)n * sizeof(redisReply *));
    r->elements = (size_t)n;
    return r;
}

DLOAD_I_LOCAL dload_status dload_redis_i_reader(dload_redis_conn *c)
{
    c->reader = redisReaderCreate();
    if (c->reader == NULL)
        return DLOAD_ENOMEM;
    c->made = *c->reader->fn;
    c->fn = c->made;
    c->fn.createString = dload_redis_i_lean_string;
    c->fn.createArray = dload_redis_i_array;
    c->fn.createInteger = dload_redis_i_lean_integer;
    c->fn.createNil = dload_redis_i_lean_nil;
#if HIREDIS_MAJOR >= 1
    c->fn.createDouble = dload_redis_i_lean_double;
    c->fn.createBool = dload_redis_i_lean_bool;
#endif
    c->fn.freeObject = dload_redis_reply_free;
    c->reader->fn = &c->fn;
    c->reader->privdata = c;
    c->reader->maxbuf = 1u << 20;
    c->n_elements = 0;
    return DLOAD_OK;
}

#endif /* DLOAD_REDIS_REPLY_H */
