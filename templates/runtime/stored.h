/* >>stored -- the form of a value in a store, and a store used without a loader.
 *
 * A value is a head of 56 bytes and a body. The head says what it is, of which layout, how long, and
 * until when; its checksum goes over the head, the key and the body. So a flipped bit, a value of another
 * program or version, one cut short and one that came back under another key are all found before the
 * body is looked at. It is a check against damage, not against forgery: who can write to the store can
 * write what passes.
 *
 * The time at which it ends is in it twice, by the calendar clock and as the TTL it was stored with: a
 * clock that was set back cannot make it live longer than that again.
 */
#include "named.h"
#include "blob.h"

#if defined(DLOAD_STORE) && DLOAD_STORE && !defined(DLOAD_I_STORED_H)
#define DLOAD_I_STORED_H

#include "carry.h"
#include "backend.h"

#define DLOAD_I_STORED_MARK    UINT32_C(0x31564c44) /* "DLV1" where the lowest byte comes first */
#define DLOAD_I_STORED_VERSION 1u
#define DLOAD_I_STORED_VALUE   1u
#define DLOAD_I_STORED_NULL    2u                  /* a blob without bytes */
#define DLOAD_I_STORED_STATUS  3u                  /* an answer without a value */
#define DLOAD_I_STORED_MAX     ((uint64_t)1 << 30) /* bytes of a body at most */
#define DLOAD_I_STORED_PLAIN \
    UINT64_C(0x6e69616c70) /* layout of what programs store by themselves */

typedef struct dload_i_stored {
    uint32_t mark;
    uint16_t version;
    uint16_t kind;
    uint64_t layout;
    uint64_t n_bytes;   /* of the body */
    uint64_t expiry_ns; /* by the calendar clock; DLOAD_NEVER = none, or no such clock */
    uint64_t ttl_ns;    /* as it was stored; DLOAD_NEVER = none */
    int32_t status;     /* of an answer without a value, otherwise 0 */
    uint32_t zero;
    uint64_t sum;
} dload_i_stored;

DLOAD_I_STATIC_ASSERT(sizeof(dload_i_stored) == 56, "dataloader.h: a stored head has no padding");

DLOAD_I_LOCAL uint64_t dload_i_stored_sum(const dload_i_stored *h, dload_str key, const void *body)
{
    uint64_t sum = dload_i_sum(0, h, offsetof(dload_i_stored, sum));
    sum = dload_i_sum(sum, key.ptr, key.len);
    return dload_i_sum(sum, body, (size_t)h->n_bytes);
}

/* Writes the head before the body that lies behind its place. Of h, kind, layout, n_bytes, ttl_ns and status are
 * set. */
DLOAD_I_LOCAL void dload_i_stored_seal(dload_i_stored *h, dload_str key, uint64_t wall_ns,
                                       char *place)
{
    h->mark = DLOAD_I_STORED_MARK;
    h->version = DLOAD_I_STORED_VERSION;
    h->zero = 0;
    h->expiry_ns = wall_ns == DLOAD_NEVER ? DLOAD_NEVER : dload_i_add_ns(wall_ns, h->ttl_ns);
    h->sum = dload_i_stored_sum(h, key, place + sizeof *h);
    memcpy(place, h, sizeof *h);
}

/* How long a value is still good. at_store_ns: what the store says; DLOAD_NEVER = nothing. 0 = it is not. */
DLOAD_I_LOCAL uint64_t dload_i_stored_left(const dload_i_stored *h, uint64_t wall_ns,
                                           uint64_t at_store_ns)
{
    uint64_t left_ns = h->ttl_ns < at_store_ns ? h->ttl_ns : at_store_ns;
    if (h->ttl_ns == DLOAD_NEVER)
        return left_ns;
    if (wall_ns == DLOAD_NEVER || h->expiry_ns == DLOAD_NEVER)
        return at_store_ns == DLOAD_NEVER ? 0 : left_ns; /* nobody knows how old it is */
    if (wall_ns >= h->expiry_ns)
        return 0;
    return h->expiry_ns - wall_ns < left_ns ? h->expiry_ns - wall_ns : left_ns;
}

/* Checks what a store gave for key: all of it. DLOAD_OK, *h and *body; DLOAD_ELAYOUT: another layout or
 * version; DLOAD_ECORRUPT. */
DLOAD_I_LOCAL dload_status dload_i_stored_open(const void *bytes, size_t n_bytes, uint64_t layout,
                                               dload_str key, dload_i_stored *h, const char **body)
{
    if (bytes == NULL || n_bytes < sizeof *h)
        return DLOAD_ECORRUPT;
    memcpy(h, bytes, sizeof *h);
    *body = (const char *)bytes + sizeof *h;
    if (h->mark != DLOAD_I_STORED_MARK || h->n_bytes != n_bytes - sizeof *h)
        return DLOAD_ECORRUPT;
    if (h->version != DLOAD_I_STORED_VERSION)
        return DLOAD_ELAYOUT; /* what its other fields mean is not ours to say */
    if (h->sum != dload_i_stored_sum(h, key, *body) || h->kind - 1u >= DLOAD_I_STORED_STATUS ||
        (h->kind != DLOAD_I_STORED_VALUE && h->n_bytes != 0) ||
        (h->kind == DLOAD_I_STORED_STATUS) != (h->status < 0) || h->status == DLOAD_PENDING)
        return DLOAD_ECORRUPT;
    return h->layout == layout ? DLOAD_OK : DLOAD_ELAYOUT;
}

/* ---- numbers in keys: one form each, so that different keys never have one text ---- */

/* Bytes of a key's text, a string's own apart: 32 digits, or 20 and a sign; a group's 20 and a colon. */
#define DLOAD_I_KEYTEXT_MAX 64u

/* Decimal, without zeros in front; room for 20 digits. Returns how many. */
DLOAD_I_LOCAL size_t dload_i_dec_put(char *to, uint64_t v)
{
    size_t n = 1;
    for (uint64_t rest = v / 10; rest != 0; rest /= 10)
        n++;
    for (size_t i = n; i-- > 0; v /= 10)
        to[i] = (char)('0' + (char)(v % 10));
    return n;
}

/* The reverse; false when it is not that form. */
DLOAD_I_LOCAL bool dload_i_dec_get(const char *text, size_t n, uint64_t *v)
{
    if (n == 0 || n > 20 || (n > 1 && text[0] == '0'))
        return false;
    *v = 0;
    for (size_t i = 0; i < n; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        const uint64_t digit = (uint64_t)(text[i] - '0');
        if (*v > (UINT64_MAX - digit) / 10)
            return false;
        *v = *v * 10 + digit;
    }
    return true;
}

/* n_digits lower-case hexadecimal digits, the highest first. */
DLOAD_I_LOCAL void dload_i_hex_put(char *to, uint64_t v, size_t n_digits)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = n_digits; i-- > 0; v >>= 4)
        to[i] = digits[v & 15];
}

DLOAD_I_LOCAL bool dload_i_hex_get(const char *text, size_t n_digits, uint64_t *v)
{
    *v = 0;
    for (size_t i = 0; i < n_digits; i++) {
        const bool is_letter = text[i] >= 'a' && text[i] <= 'f';
        if (!is_letter && (text[i] < '0' || text[i] > '9'))
            return false;
        *v = *v << 4 | (uint64_t)(is_letter ? text[i] - 'a' + 10 : text[i] - '0');
    }
    return true;
}

/* ---- a store without a loader: bytes by key ---- */

DLOAD_I_LOCAL dload_status dload_i_store_one(dload_store *s, dload_store_kind kind,
                                             dload_store_op *op, dload_store_item *item)
{
    memset(op, 0, sizeof *op);
    op->kind = kind;
    op->items = item;
    op->n = 1;
    dload_status st = dload_store_run(s, op);
    return st >= 0 ? item->status : st;
}

DLOAD_I_LOCAL void dload_i_store_key(dload_store_item *item, dload_str key)
{
    memset(item, 0, sizeof *item);
    item->key = key.ptr != NULL ? key.ptr : "";
    item->key_bytes = key.len;
    item->ttl_ns = DLOAD_NEVER;
}

/* Reads a value that dload_store_set stored: a new blob from s->env, which the caller releases.
 * Returns DLOAD_OK; DLOAD_MISSING: not there, or its TTL has passed, whether the store knows TTLs or not;
 * DLOAD_ECORRUPT: damaged; DLOAD_ELAYOUT: something else, a loader's value; DLOAD_ENOMEM; what the store said.
 * Blocks, for the store's own timeout at most. Any thread. */
DLOAD_I_UNUSED static dload_status dload_store_get(dload_store *s, dload_str key, dload_blob *out)
{
    dload_store_op op;
    dload_store_item item;
    dload_i_stored h;
    const char *body = NULL;
    dload_i_store_key(&item, key);
    dload_status st = dload_i_store_one(s, DLOAD_STORE_GET, &op, &item);
    if (st == DLOAD_OK)
        st =
            dload_i_stored_open(item.value, item.value_bytes, DLOAD_I_STORED_PLAIN, key, &h, &body);
    if (st == DLOAD_OK && dload_i_stored_left(&h, dload_i_clock_wall(), item.ttl_ns) == 0)
        st = DLOAD_MISSING;
    if (st == DLOAD_OK)
        st = dload_blob_make(s->env, body, (size_t)h.n_bytes, out);
    dload_store_release(&op);
    return st;
}

/* Stores n_bytes (bytes may be NULL when 0) under key for ttl_ns > 0, DLOAD_NEVER = without end, whatever was
 * there. Returns DLOAD_OK; DLOAD_EINVAL for a TTL of 0; DLOAD_ETOOBIG over 1 GiB or over the store's limit;
 * DLOAD_ENOMEM; what the store said, and then the old value, the new one or none is there. Blocks; allocates a
 * copy for the call. Any thread. */
DLOAD_I_UNUSED static dload_status dload_store_set(dload_store *s, dload_str key, const void *bytes,
                                                   size_t n_bytes, uint64_t ttl_ns)
{
    dload_store_op op;
    dload_store_item item;
    dload_i_stored h;
    if (ttl_ns == 0 || (bytes == NULL && n_bytes != 0))
        return DLOAD_EINVAL;
    if (n_bytes > DLOAD_I_STORED_MAX)
        return DLOAD_ETOOBIG;
    char *block = (char *)dload_i_alloc(s->env, sizeof h + n_bytes);
    if (block == NULL)
        return DLOAD_ENOMEM;
    memset(&h, 0, sizeof h);
    h.kind = DLOAD_I_STORED_VALUE;
    h.layout = DLOAD_I_STORED_PLAIN;
    h.n_bytes = n_bytes;
    h.ttl_ns = ttl_ns;
    if (n_bytes != 0)
        memcpy(block + sizeof h, bytes, n_bytes);
    dload_i_stored_seal(&h, key, dload_i_clock_wall(), block);
    dload_i_store_key(&item, key);
    item.value = block;
    item.value_bytes = sizeof h + n_bytes;
    item.ttl_ns = ttl_ns;
    dload_status st = dload_i_store_one(s, DLOAD_STORE_SET, &op, &item);
    dload_i_free(s->env, block, sizeof h + n_bytes);
    return st;
}

/* Removes a key; absent is no error. Returns DLOAD_OK, or what the store said. Blocks. Any thread. */
DLOAD_I_UNUSED static dload_status dload_store_delete(dload_store *s, dload_str key)
{
    dload_store_op op;
    dload_store_item item;
    dload_i_store_key(&item, key);
    return dload_i_store_one(s, DLOAD_STORE_DELETE, &op, &item);
}

/* Removes every key that begins with prefix, all keys when it is empty. Returns as dload_store_delete. */
DLOAD_I_UNUSED static dload_status dload_store_clear(dload_store *s, dload_str prefix)
{
    dload_store_op op;
    dload_store_item item;
    dload_i_store_key(&item, prefix);
    return dload_i_store_one(s, DLOAD_STORE_CLEAR, &op, &item);
}

#endif /* DLOAD_STORE */
