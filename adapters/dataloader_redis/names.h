/* dataloader_redis/names.h -- what keys are called in Redis; a part of dataloader_redis.h.
 *
 * SPDX-License-Identifier: MIT
 *
 * A key is stored under prefix and key, its lease under the same in braces, with "lease" behind:
 *
 *     users:42       dload:users:42        {dload:users:42}lease
 *     50% {sale}     dload:50%25 %7Bsale%7D
 *     (no bytes)     dload:                and "%" when the prefix is empty as well
 *
 * Redis Cluster hashes what stands in the first braces of a name, or the whole name when it has none: both names
 * lie in one slot, so that one script may touch both. That is why braces in keys are written as %7B and %7D,
 * and percent signs as %25. Everything else is itself, NUL and line ends included. No two keys share a name, and a
 * key begins with a text exactly when its name begins with that text's name.
 */
#ifndef DLOAD_I_BACKEND_H
#error "dataloader_redis/names.h: include dataloader.h with DLOAD_STORE 1 before this header"
#endif

#ifndef DLOAD_REDIS_NAMES_H
#define DLOAD_REDIS_NAMES_H

#define DLOAD_REDIS_I_BEHIND       "}lease"
#define DLOAD_REDIS_I_BEHIND_BYTES ((size_t)6)

/* The escape for a byte, three characters, or NULL when it stands for itself. */
DLOAD_I_LOCAL const char *dload_redis_i_escape(char byte)
{
    switch (byte) {
    case '%':
        return "%25";
    case '{':
        return "%7B";
    case '}':
        return "%7D";
    default:
        return NULL;
    }
}

/* How many bytes of a key need an escape. */
DLOAD_I_LOCAL size_t dload_redis_i_count_escapes(const char *key, size_t key_bytes)
{
    size_t n = 0;
    for (size_t i = 0; i < key_bytes; i++)
        n += key[i] == '%' || key[i] == '{' || key[i] == '}';
    return n;
}

/* Writes a key with its escapes and returns how many bytes that took: key_bytes and two for each escape. */
DLOAD_I_LOCAL size_t dload_redis_i_put_escaped(char *to, const char *key, size_t key_bytes,
                                               size_t n_escapes)
{
    char *p = to;
    if (n_escapes == 0) {
        memcpy(to, key, key_bytes);
        return key_bytes;
    }
    for (size_t i = 0; i < key_bytes; i++) {
        const char *escape = dload_redis_i_escape(key[i]);
        if (escape == NULL) {
            *p++ = key[i];
            continue;
        }
        memcpy(p, escape, 3);
        p += 3;
    }
    return (size_t)(p - to);
}

/* May this be a prefix? Braces and percent signs would break the rules above. */
DLOAD_I_LOCAL bool dload_redis_i_prefix_ok(const char *prefix)
{
    return dload_redis_i_count_escapes(prefix, strlen(prefix)) == 0;
}

/* Bytes of a key's name. */
DLOAD_I_LOCAL size_t dload_redis_i_name_bytes(dload_str prefix, const char *key, size_t key_bytes)
{
    if (prefix.len + key_bytes == 0)
        return 1;
    return prefix.len + key_bytes + 2 * dload_redis_i_count_escapes(key, key_bytes);
}

/* Writes a key's name of name_bytes, as the function above says. */
DLOAD_I_LOCAL void dload_redis_i_put_name(char *to, size_t name_bytes, dload_str prefix,
                                          const char *key, size_t key_bytes)
{
    if (prefix.len + key_bytes == 0) {
        *to = '%';
        return;
    }
    if (prefix.len != 0)
        memcpy(to, prefix.ptr, prefix.len);
    (void)dload_redis_i_put_escaped(to + prefix.len, key, key_bytes,
                                    (name_bytes - prefix.len - key_bytes) / 2);
}

/* The byte that two hexadecimal digits of ours stand for, or -1. */
DLOAD_I_LOCAL int dload_redis_i_unescape(const char *digits)
{
    if (memcmp(digits, "25", 2) == 0)
        return '%';
    if (memcmp(digits, "7B", 2) == 0)
        return '{';
    return memcmp(digits, "7D", 2) == 0 ? '}' : -1;
}

/* The key of a name, for who hears of names: tracking, keyspace events, redis-cli.
 *
 * key has room for name_bytes, or is NULL; *key_bytes is how many bytes it has. False: not the name of a
 * value of this prefix (another program's, or a lease), and nothing is said of key. prefix NULL = "dload:". Any
 * thread; no allocation; O(name_bytes). */
DLOAD_I_UNUSED static bool dload_redis_key_of_name(const char *prefix, const char *name,
                                                   size_t name_bytes, char *key, size_t *key_bytes)
{
    prefix = prefix != NULL ? prefix : "dload:";
    const size_t prefix_bytes = strlen(prefix);
    size_t n = 0;
    if (name_bytes < prefix_bytes || memcmp(name, prefix, prefix_bytes) != 0)
        return false;
    if (prefix_bytes == 0 && name_bytes == 1 && name[0] == '%') {
        *key_bytes = 0;
        return true;
    }
    for (size_t i = prefix_bytes; i < name_bytes; i++) {
        int byte = (unsigned char)name[i];
        if (byte == '{' || byte == '}')
            return false;
        if (byte == '%') {
            byte = name_bytes - i > 2 ? dload_redis_i_unescape(name + i + 1) : -1;
            if (byte < 0)
                return false;
            i += 2;
        }
        if (key != NULL)
            key[n] = (char)byte;
        n++;
    }
    *key_bytes = n;
    return prefix_bytes + n != 0;
}

/* Writes a name, or the beginning of one, so that Redis' patterns take each byte as itself: at most twice as
 * many bytes. Returns how many. */
DLOAD_I_LOCAL size_t dload_redis_i_put_glob(char *to, const char *name, size_t name_bytes)
{
    char *p = to;
    for (size_t i = 0; i < name_bytes; i++) {
        if (name[i] == '*' || name[i] == '?' || name[i] == '[' || name[i] == ']' || name[i] == '\\')
            *p++ = '\\';
        *p++ = name[i];
    }
    return (size_t)(p - to);
}

#endif /* DLOAD_REDIS_NAMES_H */
