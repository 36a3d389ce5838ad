/* >>keytext -- a loader's key as bytes for a store, and back.
 *
 *     <name>:<key>   or, with DLOAD_GROUP,   <name>:<group>:<key>
 *
 * Integers and groups are decimal, bool 0 or 1, float and double the hexadecimal digits of their bits, 16
 * bytes 32 digits, strings their bytes as they are, last, so that no escape is needed. A key has one text,
 * on every machine, and a text at most one key: so keys can be read back out of it.
 */
#ifndef DLOAD_I_HAVE_KEYTEXT
#define DLOAD_I_HAVE_KEYTEXT

#include "table.h"

#if DLOAD_I_BODIES && DLOAD_STORE

#define DLOAD_I_SIGNED ((DLOAD_I_KEY_NAME)-1 < (DLOAD_I_KEY_NAME)1)

/* What comes after the name's colon and before the key; returns its length. */
DLOAD_I_LOCAL size_t DLOAD_I_FN(i_group_text)(char *to, uint64_t group)
{
#if DLOAD_GROUP
    size_t n = dload_i_dec_put(to, group);
    to[n] = ':';
    return n + 1;
#else
    (void)to;
    (void)group;
    return 0;
#endif
}

/* The text of a key in its one form. bytes may stay behind in the key when it is a string: *tail. */
DLOAD_I_LOCAL size_t DLOAD_I_FN(i_key_text)(char *to, uint64_t group, const DLOAD_I_K *key,
                                            dload_str *tail)
{
    size_t n = DLOAD_I_FN(i_group_text)(to, group);
    tail->ptr = NULL;
    tail->len = 0;
#if DLOAD_I_IS_STRING
    to[n] = '\0'; /* a compiler would fear that nobody has written there */
    *tail = *key;
#elif DLOAD_I_KEY_KIND == DLOAD_I_KIND_BOOL
    to[n++] = *key ? '1' : '0';
#elif DLOAD_I_KEY_KIND == DLOAD_I_KIND_ID128
    for (size_t i = 0; i < sizeof key->bytes; i++, n += 2)
        dload_i_hex_put(to + n, key->bytes[i], 2);
#elif DLOAD_I_KEY_KIND == DLOAD_I_KIND_FLOAT
    uint32_t bits = 0;
    memcpy(&bits, key, sizeof bits);
    dload_i_hex_put(to + n, bits, 8);
    n += 8;
#elif DLOAD_I_KEY_KIND == DLOAD_I_KIND_DOUBLE
    uint64_t bits = 0;
    memcpy(&bits, key, sizeof bits);
    dload_i_hex_put(to + n, bits, 16);
    n += 16;
#else
    uint64_t v = (uint64_t)*key;
    if (DLOAD_I_SIGNED && v >> 63 != 0) {
        to[n++] = '-';
        v = 0 - v;
    }
    n += dload_i_dec_put(to + n, v);
#endif
    return n;
}

/* The key in a text without its group; false when there is none. A string's bytes stay where they are. */
DLOAD_I_LOCAL bool DLOAD_I_FN(i_text_key)(const char *text, size_t n, DLOAD_I_K *key)
{
#if DLOAD_I_IS_STRING
    key->ptr = text;
    key->len = n;
    return true;
#elif DLOAD_I_KEY_KIND == DLOAD_I_KIND_BOOL
    *key = (DLOAD_I_K)(n == 1 && text[0] == '1');
    return n == 1 && (text[0] == '0' || text[0] == '1');
#elif DLOAD_I_KEY_KIND == DLOAD_I_KIND_ID128
    uint64_t byte = 0;
    bool ok = n == 2 * sizeof key->bytes;
    for (size_t i = 0; ok && i < sizeof key->bytes; i++) {
        ok = dload_i_hex_get(text + 2 * i, 2, &byte);
        key->bytes[i] = (uint8_t)byte;
    }
    return ok;
#elif DLOAD_I_KEY_KIND == DLOAD_I_KIND_FLOAT || DLOAD_I_KEY_KIND == DLOAD_I_KIND_DOUBLE
    uint64_t bits = 0;
    if (n != 2 * sizeof *key || !dload_i_hex_get(text, n, &bits))
        return false;
#if DLOAD_I_KEY_KIND == DLOAD_I_KIND_FLOAT
    uint32_t half = (uint32_t)bits;
    memcpy(key, &half, sizeof half);
#else
    memcpy(key, &bits, sizeof bits);
#endif
    return true;
#else
    uint64_t v = 0;
    bool negative = DLOAD_I_SIGNED && n != 0 && text[0] == '-';
    if (!dload_i_dec_get(text + negative, n - negative, &v))
        return false;
    *key = (DLOAD_I_K)(negative ? 0 - v : v);
    return true;
#endif
}

/* A key and its group out of their text, without the name before it. DLOAD_OK; DLOAD_EKEY: no text that this
 * loader writes. A string's bytes stay where they are. */
DLOAD_I_LOCAL dload_status DLOAD_I_FN(i_text_parse)(const char *text, size_t n,
                                                    size_t max_key_bytes, uint64_t *group,
                                                    DLOAD_I_K *key)
{
    char again[DLOAD_I_KEYTEXT_MAX];
    dload_str tail;
    size_t at = 0;
    *group = 0;
#if DLOAD_GROUP
    while (at < n && text[at] != ':')
        at++;
    if (at == n || !dload_i_dec_get(text, at, group))
        return DLOAD_EKEY;
    at++;
#endif
    if (!DLOAD_I_FN(i_text_key)(text + at, n - at, key) ||
        DLOAD_I_FN(i_canon)(key, max_key_bytes) < 0)
        return DLOAD_EKEY;
    size_t n_again = DLOAD_I_FN(i_key_text)(again, *group, key, &tail);
    return n_again + tail.len == n && memcmp(again, text, n_again) == 0 ? DLOAD_OK : DLOAD_EKEY;
}

#endif /* DLOAD_I_BODIES && DLOAD_STORE */
#endif /* DLOAD_I_HAVE_KEYTEXT */
