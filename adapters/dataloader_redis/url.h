/* dataloader_redis/url.h -- where a Redis or Valkey server is, and what it is to be told first.
 *
 * SPDX-License-Identifier: MIT
 *
 * Part of dataloader_redis/conn.h, which includes it. One text says it all:
 *
 *     redis://[USER:PASSWORD@]HOST[:PORT][/DATABASE][?OPTIONS]
 *     rediss://...                                               the same over TLS
 *     unix://[USER:PASSWORD@]/PATH/TO/SOCKET[?OPTIONS]
 *
 * USER may be empty ("redis://:PASSWORD@HOST"); HOST may be an IPv6 address in brackets. Any byte may be
 * written as %XX, and must be where it would end a part: '@' '/' ':' '?' '&' '%' in a password. OPTIONS are
 * joined by '&':
 *
 *     db=3                        the database, also for unix://
 *     socket=/PATH                a Unix socket in place of HOST and PORT; no TLS is spoken there
 *     ca=FILE                     certificates that are believed in, PEM; without it the system's
 *     cert=FILE key=FILE          our own certificate and its key, when the server asks for one
 *     sni=NAME                    the name asked for, and looked for in the certificate, in place of HOST
 *     name=TEXT                   CLIENT SETNAME
 *     connect_ms=N command_ms=N   timeouts
 *
 * SECRETS  A password appears in no message: texts about a server are made of its parts without user and
 * password (dload_redis_describe), and a URL that cannot be read is not quoted at all. The password
 * lies in the server's memory until dload_redis_server_end, which overwrites it.
 */
#ifndef DLOAD_REDIS_CONN_H
#error "dataloader_redis/url.h: include dataloader_redis/conn.h instead"
#endif

#ifndef DLOAD_REDIS_URL_H
#define DLOAD_REDIS_URL_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A server and how to talk to it. Zeros are the defaults; what the URL says comes before the fields. */
typedef struct dload_redis_config {
    const char *url;                /* NULL = the fields alone */
    const char *host;               /* name or address; NULL = 127.0.0.1 */
    int port;                       /* 0 = 6379 */
    const char *path;               /* Unix socket, in place of host and port; NULL = TCP */
    const char *user;               /* with password; NULL = the server's default user */
    const char *password;           /* NULL = no AUTH */
    int database;                   /* SELECT; 0 = none is sent */
    bool tls;                       /* needs DLOAD_REDIS_TLS 1, see dataloader_redis/tls.h */
    const char *tls_ca;             /* file, PEM; NULL = the system's */
    const char *tls_cert, *tls_key; /* files, PEM; NULL = none; both or neither */
    const char *tls_name;           /* SNI, and what the certificate must say; NULL = host */
    const char *client_name;        /* CLIENT SETNAME; NULL = none */
    uint64_t
        connect_timeout_ns; /* until connected and let in; default 2 s; per address of a host */
    uint64_t command_timeout_ns; /* for a command that brings no time of its own; default 1 s */
    uint64_t pause_ns;           /* before the first attempt to connect again; default 50 ms */
    uint64_t pause_max_ns;       /* it doubles up to this; default 5 s */
    size_t
        max_reply_bytes;  /* a longer reply ends the connection; default 600 MiB, at least 64 KiB */
    size_t max_elements;  /* so does one of more elements, nested ones counted; default 2^20 */
    const dload_env *env; /* memory; NULL = the host's. Must outlive the server */
} dload_redis_config;

struct dload_redis_conn;

/* Who watches the connections of a server: client tracking does. Each may be called by any thread. */
typedef struct dload_redis_watch {
    /* A connection is about to say hello: adds commands (dload_redis_begin ...) that must be answered
     * with OK. NULL = none. Not DLOAD_OK: the connection is not made. */
    dload_status (*hello)(void *ctx, struct dload_redis_conn *c);
    void (*opened)(void *ctx, struct dload_redis_conn *c); /* it is let in */
    /* It is about to be closed, by us or because it broke; its descriptor is still open. Called for
     * those that were opened() alone, by the thread that uses the connection. */
    void (*closed)(void *ctx, struct dload_redis_conn *c);
    void *ctx;
    uint64_t mark; /* connections made under another mark are not to be used; atomic */
} dload_redis_watch;

/* A server, ready to be connected to. Made by dload_redis_server_init from a config that may go
 * away; then constant, but for watch, which is set before the first connection is made. */
typedef struct dload_redis_server {
    dload_str host, path, user, password, tls_ca, tls_cert, tls_key, tls_name, client_name;
    int port;
    int database;
    bool tls;
    uint64_t connect_timeout_ns, command_timeout_ns, pause_ns, pause_max_ns;
    size_t max_reply_bytes, max_elements;
    const dload_env *env;
    dload_redis_watch *watch; /* NULL = nobody; must outlive the connections */
    void *tls_context;        /* made by the first connection over TLS; atomic; private */
    char *block;              /* what the texts above lie in, each with a NUL behind it */
    size_t block_bytes, block_len;
} dload_redis_server;

/* ---- texts ---- */

/* Keeps n bytes; decode: %XX becomes a byte. False: a broken %XX, or a NUL where none may be. There is
 * room: what is decoded is not longer than what the block was made for. */
DLOAD_I_LOCAL bool dload_redis_i_keep(dload_redis_server *s, const char *p, size_t n, bool decode,
                                      bool any_byte, dload_str *out)
{
    char *to = s->block + s->block_len;
    size_t len = 0;
    for (size_t i = 0; i < n; i++) {
        unsigned byte = (unsigned char)p[i];
        if (decode && byte == '%') {
            byte = 0;
            for (size_t k = 1; k <= 2; k++) {
                char h = i + k < n ? p[i + k] : 'x';
                bool digit = h >= '0' && h <= '9', low = h >= 'a' && h <= 'f';
                if (!digit && !low && !(h >= 'A' && h <= 'F'))
                    return false;
                byte = byte * 16 + (unsigned)(h - (digit ? '0' : low ? 'a' - 10 : 'A' - 10));
            }
            i += 2;
        }
        if (byte == 0 && !any_byte)
            return false;
        to[len++] = (char)byte;
    }
    to[len] = '\0';
    s->block_len += len + 1;
    out->ptr = to;
    out->len = len;
    return true;
}

/* A number of digits alone, up to most; false otherwise. */
DLOAD_I_LOCAL bool dload_redis_i_number(const char *p, size_t n, uint64_t most, uint64_t *value)
{
    uint64_t v = 0;
    for (size_t i = 0; i < n; i++) {
        if (p[i] < '0' || p[i] > '9' || v > most)
            return false;
        v = v * 10 + (uint64_t)(p[i] - '0');
    }
    *value = v;
    return n != 0 && n <= 12 && v <= most;
}

/* Where c is among n bytes, or n. */
DLOAD_I_LOCAL size_t dload_redis_i_find(const char *p, size_t n, char c)
{
    size_t at = 0;
    while (at < n && p[at] != c)
        at++;
    return at;
}

/* ---- URLs ---- */

#define DLOAD_REDIS_I_MOST_MS 3600000u

/* One name=value of a URL; what is wrong with it, or NULL. */
DLOAD_I_LOCAL const char *dload_redis_i_option(dload_redis_server *s, const char *p, size_t n)
{
    static const char *const names[] = {"socket", "ca", "cert", "key", "sni", "name"};
    dload_str *const texts[] = {&s->path,    &s->tls_ca,   &s->tls_cert,
                                &s->tls_key, &s->tls_name, &s->client_name};
    const size_t name_len = dload_redis_i_find(p, n, '=');
    const char *value = p + name_len + 1;
    uint64_t number = 0;
    if (name_len == n)
        return "an option without a value";
    const size_t len = n - name_len - 1;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strlen(names[i]) == name_len && memcmp(names[i], p, name_len) == 0)
            return dload_redis_i_keep(s, value, len, true, false, texts[i]) ? NULL : "a broken %XX";
    }
    if (name_len == 2 && memcmp(p, "db", 2) == 0) {
        if (!dload_redis_i_number(value, len, 1000000, &number))
            return "a database that is not a number";
        s->database = (int)number;
        return NULL;
    }
    bool connects = name_len == 10 && memcmp(p, "connect_ms", 10) == 0;
    if (!connects && !(name_len == 10 && memcmp(p, "command_ms", 10) == 0))
        return "an option that nobody knows";
    if (!dload_redis_i_number(value, len, DLOAD_REDIS_I_MOST_MS, &number) || number == 0)
        return "a timeout outside 1 ms to one hour";
    *(connects ? &s->connect_timeout_ns : &s->command_timeout_ns) = number * DLOAD_MILLISECOND;
    return NULL;
}

/* HOST[:PORT] */
DLOAD_I_LOCAL const char *dload_redis_i_host(dload_redis_server *s, const char *p, size_t n)
{
    uint64_t port = 0;
    size_t len = dload_redis_i_find(p, n, ':');
    if (n != 0 && p[0] == '[') {
        len = dload_redis_i_find(p, n, ']');
        if (len == n || !dload_redis_i_keep(s, p + 1, len - 1, true, false, &s->host))
            return "an IPv6 address without its ]";
        len++;
    } else if (len != 0 && !dload_redis_i_keep(s, p, len, true, false, &s->host)) {
        return "a broken %XX";
    }
    if (len == n)
        return NULL;
    if (p[len] != ':' || !dload_redis_i_number(p + len + 1, n - len - 1, 65535, &port) || port == 0)
        return "a port that is not one";
    s->port = (int)port;
    return NULL;
}

/* [USER]:PASSWORD */
DLOAD_I_LOCAL const char *dload_redis_i_user(dload_redis_server *s, const char *p, size_t n)
{
    const size_t user = dload_redis_i_find(p, n, ':');
    s->user.ptr = NULL;
    s->user.len = 0;
    if (user == n)
        return "a user without a password";
    if (user != 0 && !dload_redis_i_keep(s, p, user, true, true, &s->user))
        return "a broken %XX";
    return dload_redis_i_keep(s, p + user + 1, n - user - 1, true, true, &s->password)
               ? NULL
               : "a broken %XX";
}

/* Reads a URL; what is wrong with it, or NULL. */
DLOAD_I_LOCAL const char *dload_redis_i_url(dload_redis_server *s, const char *url)
{
    size_t n = strlen(url);
    const bool is_unix = n >= 7 && memcmp(url, "unix://", 7) == 0;
    const bool is_tls = n >= 9 && memcmp(url, "rediss://", 9) == 0;
    const char *wrong = NULL;
    uint64_t database = 0;
    if (!is_unix && !is_tls && (n < 8 || memcmp(url, "redis://", 8) != 0))
        return "it begins with none of redis:// rediss:// unix://";
    const char *p = url + (is_unix ? 7 : is_tls ? 9 : 8);
    n -= (size_t)(p - url);
    s->tls = s->tls || is_tls;

    const size_t query = dload_redis_i_find(p, n, '?');
    const size_t slash = dload_redis_i_find(p, query, '/');
    const size_t at = dload_redis_i_find(p, slash, '@');
    const char *host = at < slash ? p + at + 1 : p;
    const size_t host_len = slash - (size_t)(host - p);
    if (at < slash)
        wrong = dload_redis_i_user(s, p, at);
    if (wrong == NULL && !is_unix && memchr(host, '@', query - (size_t)(host - p)) != NULL)
        return "an @ or / in user or password that is not written as %40 or %2F";
    if (wrong == NULL && is_unix && (host_len != 0 || slash == query))
        return "unix:// is followed by a path that begins with /";
    if (wrong == NULL && is_unix &&
        !dload_redis_i_keep(s, p + slash, query - slash, true, false, &s->path))
        return "a broken %XX";
    if (wrong == NULL && !is_unix) {
        wrong = dload_redis_i_host(s, host, host_len);
        if (wrong == NULL && query > slash + 1) {
            if (!dload_redis_i_number(p + slash + 1, query - slash - 1, 1000000, &database))
                return "a database that is not a number";
            s->database = (int)database;
        }
    }
    for (size_t i = query + 1; i < n && wrong == NULL;) {
        const size_t len = dload_redis_i_find(p + i, n - i, '&');
        wrong = dload_redis_i_option(s, p + i, len);
        i += len + 1;
    }
    return wrong;
}

/* ---- servers ---- */

/* Forgets a server and its password. Its connections are closed, and its watch has ended. */
DLOAD_I_UNUSED static void dload_redis_server_end(dload_redis_server *s);

/* The fields of a configuration, before the URL has its say; false: no memory. */
DLOAD_I_LOCAL bool dload_redis_i_fields(dload_redis_server *s, const dload_redis_config *cfg)
{
    const char *const in[] = {cfg->host,     cfg->path,     cfg->user,
                              cfg->password, cfg->tls_ca,   cfg->tls_cert,
                              cfg->tls_key,  cfg->tls_name, cfg->client_name};
    dload_str *const out[] = {&s->host,     &s->path,    &s->user,     &s->password,   &s->tls_ca,
                              &s->tls_cert, &s->tls_key, &s->tls_name, &s->client_name};
    const size_t n = sizeof in / sizeof in[0];
    s->block_bytes = 16 + (cfg->url != NULL ? strlen(cfg->url) + n : 0);
    for (size_t i = 0; i < n; i++)
        s->block_bytes += in[i] != NULL ? strlen(in[i]) + 1 : 0;
    s->block = (char *)dload_i_alloc(s->env, s->block_bytes);
    if (s->block == NULL)
        return false;
    (void)dload_redis_i_keep(s, "127.0.0.1", 9, false, false, &s->host);
    for (size_t i = 0; i < n; i++) {
        if (in[i] != NULL)
            (void)dload_redis_i_keep(s, in[i], strlen(in[i]), false, false, out[i]);
    }
    return true;
}

DLOAD_I_LOCAL const char *dload_redis_i_check(const dload_redis_server *s)
{
    if (s->port < 1 || s->port > 65535)
        return "the port is not one";
    if (s->database < 0)
        return "the database is negative";
    if (s->path.len > 107)
        return "the socket's path is longer than 107 bytes";
    if (s->user.ptr != NULL && s->password.ptr == NULL)
        return "a user without a password";
    if ((s->tls_cert.ptr != NULL) != (s->tls_key.ptr != NULL))
        return "a certificate without its key, or a key without its certificate";
#if !defined(DLOAD_REDIS_TLS) || !DLOAD_REDIS_TLS
    if (s->tls)
        return "TLS is asked for, but this program was built without DLOAD_REDIS_TLS 1";
#endif
    return s->tls && s->path.ptr != NULL ? "no TLS is spoken on a Unix socket" : NULL;
}

/* Reads a configuration.
 *
 * s: the caller's. cfg: may be NULL, which is 127.0.0.1:6379. why: gets the reason of DLOAD_EINVAL, without
 * any part of a secret; NULL = not wanted. Connects to nothing.
 * Returns DLOAD_OK; DLOAD_EINVAL; DLOAD_ENOMEM. Owns: s, one block of memory, until dload_redis_server_end. */
DLOAD_I_UNUSED static dload_status dload_redis_server_init(dload_redis_server *s,
                                                           const dload_redis_config *cfg, char *why,
                                                           size_t why_bytes)
{
    dload_redis_config none;
    memset(&none, 0, sizeof none);
    cfg = cfg != NULL ? cfg : &none;
    memset(s, 0, sizeof *s);
    s->env = cfg->env != NULL ? cfg->env : dload_env_default();
    s->port = cfg->port != 0 ? cfg->port : 6379;
    s->database = cfg->database;
    s->tls = cfg->tls;
    s->connect_timeout_ns = cfg->connect_timeout_ns;
    s->command_timeout_ns = cfg->command_timeout_ns;
    if (!dload_redis_i_fields(s, cfg))
        return DLOAD_ENOMEM;
    const char *wrong = cfg->url != NULL ? dload_redis_i_url(s, cfg->url) : NULL;
    wrong = wrong != NULL ? wrong : dload_redis_i_check(s);
    if (why != NULL && why_bytes != 0)
        (void)snprintf(why, why_bytes, "%s%s", wrong != NULL ? "redis: " : "",
                       wrong != NULL ? wrong : "");
    if (wrong != NULL) {
        dload_redis_server_end(s);
        return DLOAD_EINVAL;
    }
    s->connect_timeout_ns = s->connect_timeout_ns != 0 ? s->connect_timeout_ns : 2 * DLOAD_SECOND;
    s->command_timeout_ns = s->command_timeout_ns != 0 ? s->command_timeout_ns : DLOAD_SECOND;
    s->pause_ns = cfg->pause_ns != 0 ? cfg->pause_ns : 50 * DLOAD_MILLISECOND;
    s->pause_max_ns = cfg->pause_max_ns != 0 ? cfg->pause_max_ns : 5 * DLOAD_SECOND;
    s->max_reply_bytes = cfg->max_reply_bytes != 0 ? cfg->max_reply_bytes : (size_t)600 << 20;
    s->max_reply_bytes = s->max_reply_bytes > 65536 ? s->max_reply_bytes : 65536;
    s->max_elements = cfg->max_elements != 0 ? cfg->max_elements : (size_t)1 << 20;
    return DLOAD_OK;
}

/* A server in words, without user and password: "redis://127.0.0.1:6379/2". Bytes that are no printable
 * ASCII become '?'. Cut at to_bytes; to is always ended by NUL. Returns to. */
DLOAD_I_UNUSED static const char *dload_redis_describe(const dload_redis_server *s, char *to,
                                                       size_t to_bytes)
{
    const char *secret = s->password.ptr != NULL ? "***@" : "";
    if (s->path.ptr != NULL) {
        (void)snprintf(to, to_bytes, "unix://%s%s", secret, s->path.ptr);
    } else {
        const bool v6 = memchr(s->host.ptr, ':', s->host.len) != NULL;
        (void)snprintf(to, to_bytes, "%s://%s%s%s%s:%d/%d", s->tls ? "rediss" : "redis", secret,
                       v6 ? "[" : "", s->host.ptr, v6 ? "]" : "", s->port, s->database);
    }
    for (char *c = to; *c != '\0'; c++)
        *c = *c >= ' ' && *c <= '~' ? *c : '?';
    return to;
}

/* A URL as it may be logged: its scheme, host, port, path and database; *** stands for user and
 * password. One that cannot be read becomes "redis: " and the reason. Returns to. Allocates for the time of
 * the call (the host's malloc). */
DLOAD_I_UNUSED static const char *dload_redis_mask_url(const char *url, char *to, size_t to_bytes)
{
    dload_redis_config cfg;
    dload_redis_server s;
    memset(&cfg, 0, sizeof cfg);
    cfg.url = url;
    to[0] = '\0';
    if (dload_redis_server_init(&s, &cfg, to, to_bytes) == DLOAD_OK) {
        (void)dload_redis_describe(&s, to, to_bytes);
        dload_redis_server_end(&s);
    }
    return to;
}

#endif /* DLOAD_REDIS_URL_H */
