/* >>key -- what may be a key, and how several fields become one.
 *
 * A key is a primitive, a byte string or 16 bytes. The kind is found by pasting the type's name, not
 * by sizeof or _Generic, so that a struct or a pointer meets our sentence before any other error.
 */
#ifndef DLOAD_I_KEY_H
#define DLOAD_I_KEY_H

#include "port.h"
#include "status.h"

/* A byte string: not NUL-terminated, any bytes. Loaders copy it before a call returns. */
typedef struct dload_str {
    const char *ptr; /* may be NULL when len is 0 */
    size_t len;      /* bytes */
} dload_str;

/* A 16-byte identifier, e.g. a UUID. */
typedef struct dload_id128 {
    uint8_t bytes[16];
} dload_id128;

/* A dload_str over a C string, which must outlive its use. text is not NULL. O(length). */
DLOAD_I_LOCAL dload_str dload_str_from(const char *text)
{
    dload_str s;
    s.ptr = text;
    s.len = 0;
    while (text[s.len] != '\0')
        s.len++;
    return s;
}

#define DLOAD_I_KIND_UNKNOWN 0
#define DLOAD_I_KIND_INTEGER 1
#define DLOAD_I_KIND_BOOL    2
#define DLOAD_I_KIND_FLOAT   3
#define DLOAD_I_KIND_DOUBLE  4
#define DLOAD_I_KIND_STRING  5
#define DLOAD_I_KIND_ID128   6

/* Pasting DLOAD_I_TYPE_ and the type gives "~, kind," for a name we know; what follows the name
 * (the star of a pointer, a second word) becomes the third argument, which must be empty. */
#define DLOAD_I_TYPE_bool         ~, DLOAD_I_KIND_BOOL,
#define DLOAD_I_TYPE__Bool        ~, DLOAD_I_KIND_BOOL,
#define DLOAD_I_TYPE_char         ~, DLOAD_I_KIND_INTEGER,
#define DLOAD_I_TYPE_int          ~, DLOAD_I_KIND_INTEGER,
#define DLOAD_I_TYPE_unsigned     ~, DLOAD_I_KIND_INTEGER,
#define DLOAD_I_TYPE_long         ~, DLOAD_I_KIND_INTEGER,
#define DLOAD_I_TYPE_size_t       ~, DLOAD_I_KIND_INTEGER,
#define DLOAD_I_TYPE_int8_t       ~, DLOAD_I_KIND_INTEGER,
#define DLOAD_I_TYPE_int16_t      ~, DLOAD_I_KIND_INTEGER,
#define DLOAD_I_TYPE_int32_t      ~, DLOAD_I_KIND_INTEGER,
#define DLOAD_I_TYPE_int64_t      ~, DLOAD_I_KIND_INTEGER,
#define DLOAD_I_TYPE_uint8_t      ~, DLOAD_I_KIND_INTEGER,
#define DLOAD_I_TYPE_uint16_t     ~, DLOAD_I_KIND_INTEGER,
#define DLOAD_I_TYPE_uint32_t     ~, DLOAD_I_KIND_INTEGER,
#define DLOAD_I_TYPE_uint64_t     ~, DLOAD_I_KIND_INTEGER,
#define DLOAD_I_TYPE_float        ~, DLOAD_I_KIND_FLOAT,
#define DLOAD_I_TYPE_double       ~, DLOAD_I_KIND_DOUBLE,
#define DLOAD_I_TYPE_DLOAD_STRING ~, DLOAD_I_KIND_STRING,
#define DLOAD_I_TYPE_DLOAD_ID128  ~, DLOAD_I_KIND_ID128,
#define DLOAD_I_TYPE_dload_str    ~, DLOAD_I_KIND_STRING,
#define DLOAD_I_TYPE_dload_id128  ~, DLOAD_I_KIND_ID128,
#define DLOAD_I_VTYPE_DLOAD_BLOB  ~, DLOAD_I_VKIND_BLOB,
#define DLOAD_I_VTYPE_dload_blob  ~, DLOAD_I_VKIND_BLOB,
#define DLOAD_I_VKIND_BLOB        1

/* Each list below is padded, because a variadic macro wants at least one argument for its dots. */
#define DLOAD_I_EXPAND(x)            x
#define DLOAD_I_SECOND_(a, b, ...)   b
#define DLOAD_I_THIRD_(a, b, c, ...) c
#define DLOAD_I_SECOND(...)          DLOAD_I_EXPAND(DLOAD_I_SECOND_(__VA_ARGS__))
#define DLOAD_I_THIRD(...)           DLOAD_I_EXPAND(DLOAD_I_THIRD_(__VA_ARGS__))
/* 1 when rest is empty: only then do DLOAD_I_PAIR and the parentheses meet. */
#define DLOAD_I_PAIR()         ~, 1
#define DLOAD_I_IS_EMPTY(rest) DLOAD_I_SECOND(DLOAD_I_PAIR rest(), 0, ~)
#define DLOAD_I_LOOK_UP(...) \
    (DLOAD_I_SECOND(__VA_ARGS__, 0, ~) * DLOAD_I_IS_EMPTY(DLOAD_I_THIRD(__VA_ARGS__, ~, ~, ~)))
#define DLOAD_I_KIND_OF_(type)  DLOAD_I_LOOK_UP(DLOAD_I_TYPE_##type)
#define DLOAD_I_KIND_OF(type)   DLOAD_I_KIND_OF_(type)
#define DLOAD_I_VKIND_OF_(type) DLOAD_I_LOOK_UP(DLOAD_I_VTYPE_##type)
#define DLOAD_I_VKIND_OF(type)  DLOAD_I_VKIND_OF_(type)

/* ---- composite keys ----
 *
 * dload_key_enc builds one DLOAD_STRING out of several fields, so that different fields never give
 * the same bytes: every field is written as one type byte and a fixed or length-prefixed body.
 *
 *     char buf[64];
 *     dload_key_enc e = dload_key_enc_begin(buf, sizeof buf);
 *     dload_key_enc_u64(&e, tenant);
 *     dload_key_enc_str(&e, name);
 *     dload_str key;
 *     dload_status st = dload_key_enc_end(&e, &key);
 */
typedef struct dload_key_enc {
    char *buf;
    size_t cap_bytes;
    size_t n_bytes; /* what was written, or would have been */
} dload_key_enc;

/* Starts a key in the caller's buffer, which must outlive the key's use. */
DLOAD_I_LOCAL dload_key_enc dload_key_enc_begin(char *buf, size_t cap_bytes)
{
    dload_key_enc e;
    e.buf = buf;
    e.cap_bytes = cap_bytes;
    e.n_bytes = 0;
    return e;
}

DLOAD_I_LOCAL void dload_i_enc_bytes(dload_key_enc *e, const void *bytes, size_t n)
{
    if (n != 0 && e->n_bytes <= e->cap_bytes && n <= e->cap_bytes - e->n_bytes)
        memcpy(e->buf + e->n_bytes, bytes, n);
    e->n_bytes = n > SIZE_MAX - e->n_bytes ? SIZE_MAX : e->n_bytes + n;
}

DLOAD_I_LOCAL void dload_i_enc_tagged(dload_key_enc *e, unsigned char tag, uint64_t v)
{
    unsigned char b[9];
    b[0] = tag;
    for (int i = 0; i < 8; i++)
        b[1 + i] = (unsigned char)(v >> (56 - 8 * i)); /* big-endian: the same on every machine */
    dload_i_enc_bytes(e, b, sizeof b);
}

/* Appends an unsigned field. */
DLOAD_I_LOCAL void dload_key_enc_u64(dload_key_enc *e, uint64_t v)
{
    dload_i_enc_tagged(e, 'u', v);
}

/* Appends a signed field; 1 as signed and 1 as unsigned are different fields. */
DLOAD_I_LOCAL void dload_key_enc_i64(dload_key_enc *e, int64_t v)
{
    dload_i_enc_tagged(e, 'i', (uint64_t)v);
}

/* Appends a byte string, length first. */
DLOAD_I_LOCAL void dload_key_enc_str(dload_key_enc *e, dload_str s)
{
    dload_i_enc_tagged(e, 's', s.len);
    dload_i_enc_bytes(e, s.ptr, s.len);
}

/* Ends the key. DLOAD_OK and *key, which points into the buffer; DLOAD_ETOOBIG when it was too small,
 * and then e->n_bytes is the size it needs. */
DLOAD_I_LOCAL dload_status dload_key_enc_end(const dload_key_enc *e, dload_str *key)
{
    if (e->n_bytes > e->cap_bytes)
        return DLOAD_ETOOBIG;
    key->ptr = e->buf;
    key->len = e->n_bytes;
    return DLOAD_OK;
}

#endif /* DLOAD_I_KEY_H */
