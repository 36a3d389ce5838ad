/* What the cases of stores share: the store as a suite hands it over, and requests made and checked.
 *
 * A suite's setup makes a struct store_case and puts a pointer to it into *state; everything but s may be
 * left 0. The cases ask the store in one form: blocking, or with done when async says so.
 */
#ifndef DLOAD_TESTS_STORE_CASE_H
#define DLOAD_TESTS_STORE_CASE_H

#ifndef DLOAD_I_BACKEND_H
#error "store_case.h: include dataloader.h with DLOAD_STORE 1, and support.h, before"
#endif

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct store_case {
    dload_store *s;
    bool async; /* requests have done, and may be pending */
    /* async: lets the store go on where it has no thread of its own, e.g. one turn of a loop, from the thread that
     * asked; NULL = waiting is enough. Cases with several threads are left out then. */
    void (*pump)(struct store_case *x);
    /* Moves the store's clock; NULL = time passes by itself, and cases of TTLs wait for it. */
    void (*pass)(struct store_case *x, uint64_t span_ns);
    /* Nobody answers the store's requests from now on, or somebody does again (a server that is stopped, a
     * file that somebody else has locked); NULL = such a thing does not happen to it. */
    void (*stall)(struct store_case *x, bool on);
    uint64_t slack_ns; /* by how much a TTL may be off; 0 = 50 ms */
    void *ctx;         /* the suite's */
};

/* ---- requests ---- */

struct store_wait {
    uint32_t n_done;
    dload_status status;
};

__attribute__((__unused__)) static void store_was_done(dload_store_op *op, dload_status st)
{
    struct store_wait *w = op->ctx;
    w->status = st;
    (void)__atomic_add_fetch(&w->n_done, 1, __ATOMIC_RELEASE);
}

/* Asks in the suite's form and waits for the end. Any thread, unless there is a pump. */
__attribute__((__unused__)) static dload_status store_ask(struct store_case *x, dload_store_op *op)
{
    struct store_wait w = {0, DLOAD_PENDING};
    op->done = x->async ? store_was_done : NULL;
    op->ctx = &w;
    dload_status st = dload_store_run(x->s, op);
    if (st != DLOAD_PENDING)
        return st;
    uint64_t start_ns = real_ns();
    while (__atomic_load_n(&w.n_done, __ATOMIC_ACQUIRE) == 0) {
        if (real_ns() - start_ns > 60 * DLOAD_SECOND) {
            fprintf(stderr, "a request of %s is not done after a minute\n", x->s->name);
            abort(); /* it may end yet, into a place that is gone */
        }
        if (x->pump != NULL) {
            x->pump(x);
        } else {
            struct timespec ts = {0, 20000};
            (void)nanosleep(&ts, NULL);
        }
    }
    return w.status;
}

__attribute__((__unused__)) static dload_store_op store_op(dload_store_kind kind,
                                                           dload_store_item *items, size_t n)
{
    dload_store_op op;
    memset(&op, 0, sizeof op);
    op.kind = kind;
    op.items = items;
    op.n = n;
    return op;
}

__attribute__((__unused__)) static dload_store_item store_item(dload_str key)
{
    dload_store_item item;
    memset(&item, 0, sizeof item);
    item.key = key.ptr;
    item.key_bytes = key.len;
    item.status = DLOAD_PENDING; /* no store's answer */
    return item;
}

__attribute__((__unused__)) static dload_store_item store_item_set(dload_str key, dload_str value,
                                                                   uint64_t ttl_ns)
{
    dload_store_item item = store_item(key);
    item.value = value.len != 0 ? value.ptr : NULL;
    item.value_bytes = value.len;
    item.ttl_ns = ttl_ns;
    return item;
}

__attribute__((__unused__)) static dload_store_item store_item_lease(dload_str key, uint64_t who,
                                                                     uint64_t hold_ns)
{
    dload_store_item item = store_item(key);
    item.lease[0] = UINT64_C(0x5eed) + who;
    item.lease[1] = ~who;
    item.ttl_ns = hold_ns;
    return item;
}

/* A request that must come through, and whose values are not looked at. */
#define store_must(x, kind, items, n) store_must_((x), (kind), (items), (n), __FILE__, __LINE__)
__attribute__((__unused__)) static void store_must_(struct store_case *x, dload_store_kind kind,
                                                    dload_store_item *items, size_t n,
                                                    const char *file, int line)
{
    dload_store_op op = store_op(kind, items, n);
    dload_status st = store_ask(x, &op);
    must_(st, DLOAD_OK, "the request", file, line);
    dload_store_release(&op);
}

/* One key, whose own status is returned. */
__attribute__((__unused__)) static dload_status
store_one(struct store_case *x, dload_store_kind kind, dload_store_item *item)
{
    dload_store_op op = store_op(kind, item, 1);
    dload_status st = store_ask(x, &op);
    dload_store_release(&op);
    return st < 0 ? st : item->status;
}

#define store_set(x, key, value, ttl_ns) \
    store_set_((x), (key), (value), (ttl_ns), __FILE__, __LINE__)
__attribute__((__unused__)) static void store_set_(struct store_case *x, dload_str key,
                                                   dload_str value, uint64_t ttl_ns,
                                                   const char *file, int line)
{
    dload_store_item item = store_item_set(key, value, ttl_ns);
    must_(store_one(x, DLOAD_STORE_SET, &item), DLOAD_OK, "SET", file, line);
}

#define store_delete(x, key) store_delete_((x), (key), __FILE__, __LINE__)
__attribute__((__unused__)) static void store_delete_(struct store_case *x, dload_str key,
                                                      const char *file, int line)
{
    dload_store_item item = store_item(key);
    must_(store_one(x, DLOAD_STORE_DELETE, &item), DLOAD_OK, "DELETE", file, line);
}

#define store_clear(x, prefix) store_clear_((x), (prefix), __FILE__, __LINE__)
__attribute__((__unused__)) static void store_clear_(struct store_case *x, dload_str prefix,
                                                     const char *file, int line)
{
    dload_store_item item = store_item(prefix);
    must_(store_one(x, DLOAD_STORE_CLEAR, &item), DLOAD_OK, "CLEAR", file, line);
}

/* Does an item of a GET hold these bytes? */
__attribute__((__unused__)) static bool store_holds(const dload_store_item *item, dload_str value)
{
    return item->status == DLOAD_OK && item->value_bytes == value.len &&
           (value.len == 0 || memcmp(item->value, value.ptr, value.len) == 0);
}

#define store_get(x, key, value) store_get_((x), (key), (value), __FILE__, __LINE__)
__attribute__((__unused__)) static void store_get_(struct store_case *x, dload_str key,
                                                   dload_str value, const char *file, int line)
{
    dload_store_item item = store_item(key);
    dload_store_op op = store_op(DLOAD_STORE_GET, &item, 1);
    must_(store_ask(x, &op), DLOAD_OK, "GET", file, line);
    must_(item.status, DLOAD_OK, "GET's key", file, line);
    equal_(item.value_bytes, value.len, "the value's bytes", file, line);
    if (!store_holds(&item, value))
        fail_msg("%s:%d: GET has other bytes than were stored", file, line);
    dload_store_release(&op);
}

#define store_lacks(x, key) store_lacks_((x), (key), __FILE__, __LINE__)
__attribute__((__unused__)) static void store_lacks_(struct store_case *x, dload_str key,
                                                     const char *file, int line)
{
    dload_store_item item = store_item(key);
    must_(store_one(x, DLOAD_STORE_GET, &item), DLOAD_MISSING, "GET's key", file, line);
}

/* ---- bytes ---- */

/* Bytes that the case frees all at once. */
struct store_bytes {
    char *block[4000];
    size_t n;
};

__attribute__((__unused__)) static char *store_room(struct store_bytes *b, size_t n_bytes)
{
    assert_true(b->n < COUNT(b->block));
    char *p = malloc(n_bytes != 0 ? n_bytes : 1);
    assert_non_null(p);
    b->block[b->n++] = p;
    return p;
}

__attribute__((__unused__)) static void store_free_bytes(struct store_bytes *b)
{
    while (b->n != 0)
        free(b->block[--b->n]);
}

__attribute__((__unused__)) static dload_str str_of(const void *bytes, size_t n_bytes)
{
    dload_str s;
    s.ptr = bytes;
    s.len = n_bytes;
    return s;
}

#define STR(literal) str_of((literal), sizeof(literal) - 1)

/* So many bytes of a sequence that every number begins differently. */
__attribute__((__unused__)) static dload_str store_pattern(struct store_bytes *b, size_t n_bytes,
                                                           uint64_t number)
{
    char *p = store_room(b, n_bytes);
    for (size_t i = 0; i < n_bytes; i += sizeof number) {
        uint64_t word = rng(&number);
        memcpy(p + i, &word, n_bytes - i < sizeof word ? n_bytes - i : sizeof word);
    }
    return str_of(p, n_bytes);
}

__attribute__((__unused__)) static uint64_t store_slack_ns(const struct store_case *x)
{
    return x->slack_ns != 0 ? x->slack_ns : 50 * DLOAD_MILLISECOND;
}

/* Lets time pass: the store's clock is moved, or we sleep. */
__attribute__((__unused__)) static void store_pass(struct store_case *x, uint64_t span_ns)
{
    if (x->pass != NULL)
        x->pass(x, span_ns);
    else
        sleep_ms((unsigned)(span_ns / DLOAD_MILLISECOND + 1));
}

/* Each case begins with an empty store, whoever used the server before. */
__attribute__((__unused__)) static struct store_case *store_begin(void **state)
{
    struct store_case *x = *state;
    store_clear(x, STR(""));
    return x;
}

/* The bytes of the number's key, in b. */
static inline dload_str store_key_of(struct store_bytes *b, uint64_t number)
{
    char *p = store_room(b, 24);
    int n_bytes = snprintf(p, 24, "key %" PRIu64, number);
    return str_of(p, (size_t)n_bytes);
}

#endif /* DLOAD_TESTS_STORE_CASE_H */
