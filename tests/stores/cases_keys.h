/* Keys and values of stores: any bytes come back as they were given, and nobody else's do. */
#ifndef DLOAD_TESTS_STORES_CASES_KEYS_H
#define DLOAD_TESTS_STORES_CASES_KEYS_H

#include "store_case.h"

#define BYTES(literal)                 \
    {                                  \
        (literal), sizeof(literal) - 1 \
    }

/* What somebody's quoting, globbing, counting or cutting would trip over. */
static const dload_str store_hostile[] = {
    BYTES(""),
    BYTES("a"),
    BYTES("a\0b"),
    BYTES("a\0c"),
    BYTES("\0"),
    BYTES("\0\0"),
    BYTES("\r\n"),
    BYTES("x\r\nSET injected 1\r\n"),
    BYTES("*1\r\n$8\r\nFLUSHALL\r\n"),
    BYTES("%s%n%d%%"),
    BYTES("%"),
    BYTES("_"),
    BYTES("'; DROP TABLE store; --"),
    BYTES("\"quoted\""),
    BYTES("'"),
    BYTES("''"),
    BYTES("\\"),
    BYTES("\\\\"),
    BYTES("\\x41"),
    BYTES("\\000"),
    BYTES("{tag}rest"),
    BYTES("{"),
    BYTES("}"),
    BYTES("{}"),
    BYTES("{}{tag}"),
    BYTES("a{}b{c}d"),
    BYTES("*"),
    BYTES("?"),
    BYTES("[a-z]"),
    BYTES("[^"),
    BYTES("a*"),
    BYTES("a?"),
    BYTES("\\*"),
    BYTES("$1"),
    BYTES(":1"),
    BYTES("a:b"),
    BYTES("a:"),
    BYTES("lease:a"),
    BYTES("a:lease"),
    BYTES(" "),
    BYTES(" a"),
    BYTES("a "),
    BYTES("A"),
    BYTES("\xff"),
    BYTES("\xff\xff"),
    BYTES("\xc3\xa4"),     /* ä */
    BYTES("a\xcc\x88"),    /* a and its dots apart */
    BYTES("\xc3"),         /* half a character */
    BYTES("\xed\xa0\x80"), /* no character at all */
    BYTES("\xf0\x9f\x98\x80"),
    BYTES("1"),
    BYTES("01"),
    BYTES("1.0"),
    BYTES("NULL"),
    BYTES("-1"),
};
#undef BYTES

enum { STORE_KEY_BYTES_MAX = 65536, N_STORE_RANDOM = 300 };

/* The hostile ones, the longest, and random ones; as many as there is room for. All differ. */
static size_t store_all_keys(struct store_bytes *b, dload_str *keys, size_t cap)
{
    static const char alphabet[] = {'a', 'b', '*',  '?',  '[', ']', '\\', '%', '_',
                                    '{', '}', '\'', '\0', '"', ':', '\r', -1,  '\n'};
    size_t n = 0;
    for (; n < COUNT(store_hostile); n++)
        keys[n] = store_hostile[n];
    keys[n++] = store_pattern(b, STORE_KEY_BYTES_MAX, 1);
    keys[n++] = store_pattern(b, STORE_KEY_BYTES_MAX - 1, 1);
    char *zeros = store_room(b, STORE_KEY_BYTES_MAX);
    memset(zeros, 0, STORE_KEY_BYTES_MAX);
    keys[n++] = str_of(zeros, STORE_KEY_BYTES_MAX);
    uint64_t seed = test_seed("keys of stores");
    for (size_t left = N_STORE_RANDOM; left > 0 && n < cap; left--) {
        /* A number of its own in front: they all differ. */
        size_t n_bytes = 8 + (size_t)rng_below(&seed, 40);
        char *p = store_room(b, n_bytes);
        uint64_t number = n;
        bool any = rng_below(&seed, 2) != 0;
        memcpy(p, &number, 8);
        for (size_t i = 8; i < n_bytes; i++)
            p[i] = any ? (char)rng_below(&seed, 256) : alphabet[rng_below(&seed, sizeof alphabet)];
        keys[n++] = str_of(p, n_bytes);
    }
    return n;
}

static void store_keys_come_back(void **state)
{
    struct store_case *x = store_begin(state);
    struct store_bytes b = {{NULL}, 0};
    enum { CAP = COUNT(store_hostile) + 3 + N_STORE_RANDOM };
    static dload_str keys[CAP];
    size_t n = store_all_keys(&b, keys, CAP);
    for (size_t i = 0; i < n; i++)
        store_lacks(x, keys[i]);
    for (size_t i = 0; i < n; i++)
        store_set(x, keys[i], store_pattern(&b, 8 + i % 5, i), DLOAD_NEVER);
    for (size_t i = 0; i < n; i++)
        store_get(x, keys[i], store_pattern(&b, 8 + i % 5, i));
    /* One goes, the others stay. */
    for (size_t i = 0; i < n; i += 2)
        store_delete(x, keys[i]);
    for (size_t i = 0; i < n; i++) {
        if (i % 2 == 0)
            store_lacks(x, keys[i]);
        else
            store_get(x, keys[i], store_pattern(&b, 8 + i % 5, i));
    }
    store_free_bytes(&b);
}

/* The same in one request: no key is mistaken for its neighbour. */
static void store_keys_come_back_together(void **state)
{
    struct store_case *x = store_begin(state);
    struct store_bytes b = {{NULL}, 0};
    enum { CAP = COUNT(store_hostile) + 3 + N_STORE_RANDOM };
    static dload_str keys[CAP];
    static dload_store_item items[CAP];
    size_t n = store_all_keys(&b, keys, CAP);
    for (size_t i = 0; i < n; i++)
        items[i] = store_item_set(keys[i], store_pattern(&b, i % 17, i), DLOAD_NEVER);
    store_must(x, DLOAD_STORE_SET, items, n);
    for (size_t i = 0; i < n; i++) {
        must_ok(items[i].status);
        items[i] = store_item(keys[n - 1 - i]);
    }
    dload_store_op op = store_op(DLOAD_STORE_GET, items, n);
    must_ok(store_ask(x, &op));
    for (size_t i = 0; i < n; i++)
        assert_true(store_holds(&items[i], store_pattern(&b, (n - 1 - i) % 17, n - 1 - i)));
    dload_store_release(&op);
    store_free_bytes(&b);
}

static void store_values_come_back(void **state)
{
    struct store_case *x = store_begin(state);
    struct store_bytes b = {{NULL}, 0};
    static const size_t sizes[] = {0,    1,     2,     7,     8,     255,     256,    1023,
                                   4096, 65535, 65536, 65537, 99999, 1 << 18, 1 << 20};
    char every[256];
    for (size_t i = 0; i < sizeof every; i++)
        every[i] = (char)i;
    store_set(x, STR("every"), str_of(every, sizeof every), DLOAD_NEVER);
    for (size_t i = 0; i < sizeof every; i++) /* ... and each alone */
        store_set(x, str_of(every + i, 1), str_of(every + i, 1), DLOAD_NEVER);
    store_get(x, STR("every"), str_of(every, sizeof every));
    for (size_t i = 0; i < sizeof every; i++)
        store_get(x, str_of(every + i, 1), str_of(every + i, 1));
    for (size_t i = 0; i < COUNT(sizes); i++) {
        dload_str value = store_pattern(&b, sizes[i], i);
        store_set(x, STR("one"), value, DLOAD_NEVER); /* longer and longer */
        store_get(x, STR("one"), value);
    }
    for (size_t i = COUNT(sizes); i-- > 0;) {
        dload_str value = store_pattern(&b, sizes[i], i + 100);
        store_set(x, STR("one"), value, DLOAD_NEVER); /* and shorter again */
        store_get(x, STR("one"), value);
    }
    store_free_bytes(&b);
}

/* Nothing is not the same as a value without bytes. */
static void store_empty_is_not_missing(void **state)
{
    struct store_case *x = store_begin(state);
    dload_store_item item = store_item(STR("e"));
    store_set(x, STR("e"), STR(""), DLOAD_NEVER);
    store_set(x, STR(""), STR(""), DLOAD_NEVER);
    must_ok(store_one(x, DLOAD_STORE_GET, &item));
    equal(item.value_bytes, 0);
    store_get(x, STR(""), STR(""));
    store_delete(x, STR("e"));
    store_lacks(x, STR("e"));
    store_get(x, STR(""), STR(""));
    store_set(x, STR("e"), STR("x"), DLOAD_NEVER);
    store_set(x, STR("e"), STR(""), DLOAD_NEVER);
    store_get(x, STR("e"), STR(""));
}

static void store_delete_of_any(void **state)
{
    struct store_case *x = store_begin(state);
    dload_store_item items[5];
    store_delete(x, STR("absent"));
    store_set(x, STR("a"), STR("1"), DLOAD_NEVER);
    store_set(x, STR("b"), STR("2"), DLOAD_NEVER);
    store_set(x, STR("c"), STR("3"), DLOAD_NEVER);
    items[0] = store_item(STR("a"));
    items[1] = store_item(STR("absent"));
    items[2] = store_item(STR("b"));
    items[3] = store_item(STR("a"));
    items[4] = store_item(STR(""));
    store_must(x, DLOAD_STORE_DELETE, items, 5);
    for (size_t i = 0; i < 5; i++)
        must_ok(items[i].status);
    store_lacks(x, STR("a"));
    store_lacks(x, STR("b"));
    store_get(x, STR("c"), STR("3"));
    store_delete(x, STR("a"));
}

/* ---- prefixes ---- */

static bool store_begins(dload_str key, dload_str prefix)
{
    return key.len >= prefix.len &&
           (prefix.len == 0 || memcmp(key.ptr, prefix.ptr, prefix.len) == 0);
}

static void store_prefix_must_fit(struct store_case *x, const dload_str *keys, size_t n,
                                  dload_str prefix)
{
    static dload_store_item items[1000];
    assert_true(n <= COUNT(items));
    for (size_t i = 0; i < n; i++)
        items[i] = store_item_set(keys[i], STR("v"), DLOAD_NEVER);
    store_must(x, DLOAD_STORE_SET, items, n);
    store_clear(x, prefix);
    for (size_t i = 0; i < n; i++)
        items[i] = store_item(keys[i]);
    store_must(x, DLOAD_STORE_GET, items, n);
    for (size_t i = 0; i < n; i++) {
        bool cleared = store_begins(keys[i], prefix);
        if (items[i].status != (cleared ? DLOAD_MISSING : DLOAD_OK))
            fail_msg("after CLEAR of %zu bytes, key %zu of %zu bytes: %s", prefix.len, i,
                     keys[i].len, dload_status_name(items[i].status));
    }
}

static void store_clear_by_prefix(void **state)
{
    struct store_case *x = store_begin(state);
    struct store_bytes b = {{NULL}, 0};
    static const char alphabet[] = {'a', 'A', '*', '?', '[',  ']', '\\',
                                    '%', '_', -1,  -2,  '\0', '\''};
    static dload_str keys[400];
    uint64_t seed = test_seed("prefixes");
    for (size_t i = 0; i < COUNT(keys); i++) {
        size_t n_bytes = (size_t)rng_below(&seed, 5);
        char *p = store_room(&b, n_bytes);
        for (size_t k = 0; k < n_bytes; k++)
            p[k] = alphabet[rng_below(&seed, sizeof alphabet)];
        keys[i] = str_of(p, n_bytes);
    }
    for (size_t i = 0; i < sizeof alphabet; i++)
        store_prefix_must_fit(x, keys, COUNT(keys), str_of(&alphabet[i], 1));
    for (size_t round = scaled(20); round > 0; round--) {
        dload_str prefix = keys[rng_below(&seed, COUNT(keys))];
        prefix.len = prefix.len != 0 ? 1 + (size_t)rng_below(&seed, prefix.len) : 0;
        store_prefix_must_fit(x, keys, COUNT(keys), prefix);
    }
    store_prefix_must_fit(x, keys, COUNT(keys), STR("\xff\xff"));
    store_prefix_must_fit(x, keys, COUNT(keys), STR("no key begins so"));
    store_prefix_must_fit(x, keys, COUNT(keys), STR(""));
    store_clear(x, STR("")); /* of nothing */
    store_free_bytes(&b);
}

#endif /* DLOAD_TESTS_STORES_CASES_KEYS_H */
