/* dataloader_postgres/publish.h -- says that keys have changed.
 *
 * SPDX-License-Identifier: MIT
 *
 * The last part of dataloader_postgres_notify.h, which includes it.
 */
#ifndef DLOAD_POSTGRES_PUBLISH_H
#define DLOAD_POSTGRES_PUBLISH_H

#ifndef DLOAD_POSTGRES_CHANNEL_H
#error "dataloader_postgres/publish.h: include dataloader_postgres_notify.h instead"
#endif

/* The longest payload, and how many go in one statement. */
#define DLOAD_POSTGRES_I_PAYLOAD_BYTES 7999u
#define DLOAD_POSTGRES_I_PAYLOADS      1000u

/* What is to be said. Private. */
typedef struct dload_postgres_news {
    const dload_postgres_channel *c;
    const dload_str *keys;
    size_t n;
} dload_postgres_news;

/* Letters, digits and the like: the same in every encoding that a database may have. */
DLOAD_I_LOCAL bool dload_postgres_i_is_plain(dload_str key)
{
    size_t i = 0;
    while (i < key.len && key.ptr[i] >= ' ' && key.ptr[i] <= '~')
        i++;
    return i == key.len;
}

/* The payload of a key; returns its length. to NULL = only that. */
DLOAD_I_LOCAL size_t dload_postgres_i_payload(dload_str key, char *to)
{
    static const char digits[] = "0123456789abcdef";
    const bool plain = key.len < DLOAD_POSTGRES_I_PAYLOAD_BYTES && dload_postgres_i_is_plain(key);
    const bool fits = plain || key.len <= (DLOAD_POSTGRES_I_PAYLOAD_BYTES - 1) / 2;
    if (to == NULL)
        return !fits ? 1 : plain ? 1 + key.len : 1 + 2 * key.len;
    to[0] = !fits ? '*' : plain ? 'k' : 'h';
    if (!fits)
        return 1;
    for (size_t i = 0; i < key.len; i++) {
        const unsigned char byte = (unsigned char)key.ptr[i];
        if (plain) {
            to[1 + i] = (char)byte;
        } else {
            to[1 + 2 * i] = digits[byte >> 4];
            to[2 + 2 * i] = digits[byte & 15];
        }
    }
    return plain ? 1 + key.len : 1 + 2 * key.len;
}

/* One statement for some of the keys. */
DLOAD_I_LOCAL dload_status dload_postgres_i_news(dload_postgres_conn *conn,
                                                 const dload_postgres_news *news,
                                                 uint64_t deadline_ns)
{
    static dload_postgres_statement notify = {
        "SELECT count(pg_notify($1, p)) FROM unnest($2::text[]) AS p",
        0,
        2,
        {DLOAD_POSTGRES_I_TEXT, DLOAD_POSTGRES_I_TEXT_ARRAY, 0, 0}};
    const dload_env *env = conn->pool->env;
    dload_postgres_bytes b;
    dload_postgres_values v;
    size_t n_bytes = 0;
    for (size_t i = 0; i < news->n; i++)
        n_bytes += dload_postgres_i_payload(news->keys[i], NULL);
    if (!dload_postgres_i_array(&b, env, DLOAD_POSTGRES_I_TEXT, news->n, n_bytes))
        return DLOAD_ENOMEM;
    for (size_t i = 0; i < news->n; i++) {
        dload_postgres_i_put32(&b, (uint32_t)dload_postgres_i_payload(news->keys[i], NULL));
        b.n_bytes += dload_postgres_i_payload(news->keys[i], b.at + b.n_bytes);
    }
    memset(&v, 0, sizeof v);
    v.value[0] = news->c->name;
    v.n_bytes[0] = (int)strlen(news->c->name);
    v.value[1] = b.at;
    v.n_bytes[1] = (int)b.n_bytes;
    dload_status st = dload_postgres_i_ask(conn, &notify, &v, deadline_ns, NULL);
    dload_postgres_i_free_bytes(&b, env);
    return st;
}

DLOAD_I_LOCAL dload_status dload_postgres_i_publish(dload_postgres_conn *conn, void *ctx,
                                                    uint64_t deadline_ns)
{
    const dload_postgres_news *all = (const dload_postgres_news *)ctx;
    dload_status st = DLOAD_OK;
    for (size_t i = 0; i < all->n && st == DLOAD_OK; i += DLOAD_POSTGRES_I_PAYLOADS) {
        dload_postgres_news part = *all;
        part.keys += i;
        part.n = all->n - i < DLOAD_POSTGRES_I_PAYLOADS ? all->n - i : DLOAD_POSTGRES_I_PAYLOADS;
        st = dload_postgres_i_news(conn, &part, deadline_ns);
    }
    return st;
}

/* Tells everybody who listens, this channel too, that these keys of a store changed: after the change, never before
 * ("users:42", as the loader users has them in a store). timeout_ns 0 = the pool's. Returns DLOAD_OK; DLOAD_EBACKEND,
 * DLOAD_ETIMEDOUT: it may or may not have been said, say it again; DLOAD_ENOMEM; DLOAD_EFORK. The channel need not
 * have been started. Any thread. */
DLOAD_I_LOCAL dload_status dload_postgres_channel_publish(dload_postgres_channel *c,
                                                          const dload_str *keys, size_t n,
                                                          uint64_t timeout_ns)
{
    dload_postgres_news news;
    news.c = c;
    news.keys = keys;
    news.n = n;
    if (n == 0)
        return DLOAD_OK;
    return dload_postgres_i_with(&c->pool, timeout_ns, true, dload_postgres_i_publish, &news);
}

#endif /* DLOAD_POSTGRES_PUBLISH_H */
