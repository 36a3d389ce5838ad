/* dataloader_redis/tls.h -- TLS between us and a Redis server, by OpenSSL.
 *
 * SPDX-License-Identifier: MIT
 *
 * Part of dataloader_redis/conn.h, which includes it when the program says
 *
 *     #define DLOAD_REDIS_TLS 1                        // links: hiredis ssl crypto
 *
 * before it. Only then rediss:// and config.tls are accepted. It is independent of hiredis's own TLS, which
 * 0.14 does not have.
 *
 * WHAT IS CHECKED  The server's certificate: that it comes from the authority in tls_ca, or from one that the
 * system believes in, and that it is made out for tls_name, or else for the host that was asked for (a name, or
 * an address). There is no way to switch that off. TLS 1.2 and newer.
 *
 * FILES  are read when a server is connected to for the first time; new certificates are seen by a new
 * dload_redis_server.
 */
#ifndef DLOAD_REDIS_CONN_H
#error "dataloader_redis/tls.h: include dataloader_redis/conn.h with DLOAD_REDIS_TLS 1 instead"
#endif

#ifndef DLOAD_REDIS_TLS_H
#define DLOAD_REDIS_TLS_H

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#if OPENSSL_VERSION_NUMBER < 0x10100000L
#error "dataloader_redis/tls.h: OpenSSL 1.1 or newer is needed"
#endif

/* ---- sockets below TLS: OpenSSL's own write without MSG_NOSIGNAL, and so kill us ---- */

DLOAD_I_LOCAL int dload_redis_i_bio_done(BIO *bio, ssize_t n, int again)
{
    BIO_clear_retry_flags(bio);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
        BIO_set_flags(bio, again | BIO_FLAGS_SHOULD_RETRY);
    return (int)n;
}

DLOAD_I_LOCAL int dload_redis_i_bio_write(BIO *bio, const char *p, int n)
{
    dload_redis_conn *c = (dload_redis_conn *)BIO_get_data(bio);
#ifdef MSG_NOSIGNAL
    const int flags = MSG_NOSIGNAL;
#else
    const int flags = 0;
#endif
    return dload_redis_i_bio_done(bio, send(c->fd, p, (size_t)n, flags), BIO_FLAGS_WRITE);
}

DLOAD_I_LOCAL int dload_redis_i_bio_read(BIO *bio, char *p, int n)
{
    dload_redis_conn *c = (dload_redis_conn *)BIO_get_data(bio);
    return dload_redis_i_bio_done(bio, recv(c->fd, p, (size_t)n, 0), BIO_FLAGS_READ);
}

DLOAD_I_LOCAL long dload_redis_i_bio_ctrl(BIO *bio, int what, long n, void *p)
{
    (void)bio, (void)n, (void)p;
    return what == BIO_CTRL_FLUSH ? 1 : 0;
}

/* ---- one for all connections of a server ---- */

typedef struct dload_redis_i_tls {
    SSL_CTX *ctx;
    BIO_METHOD *method;
} dload_redis_i_tls;

DLOAD_I_LOCAL void dload_redis_i_tls_free(dload_redis_i_tls *t)
{
    if (t == NULL)
        return;
    SSL_CTX_free(t->ctx);
    BIO_meth_free(t->method);
    free(t);
}

/* What is wrong with the files, or NULL. */
DLOAD_I_LOCAL const char *dload_redis_i_tls_files(SSL_CTX *ctx, const dload_redis_server *s)
{
    if (s->tls_ca.ptr == NULL) {
        if (SSL_CTX_set_default_verify_paths(ctx) != 1)
            return "TLS: the system's certificates cannot be read";
    } else if (SSL_CTX_load_verify_locations(ctx, s->tls_ca.ptr, NULL) != 1) {
        return "TLS: the file of tls_ca cannot be read, or holds no certificate";
    }
    if (s->tls_cert.ptr == NULL)
        return NULL;
    if (SSL_CTX_use_certificate_chain_file(ctx, s->tls_cert.ptr) != 1)
        return "TLS: the file of tls_cert cannot be read, or holds no certificate";
    if (SSL_CTX_use_PrivateKey_file(ctx, s->tls_key.ptr, SSL_FILETYPE_PEM) != 1)
        return "TLS: the file of tls_key cannot be read, or does not go with tls_cert";
    return NULL;
}

DLOAD_I_LOCAL const char *dload_redis_i_tls_make(dload_redis_i_tls *t, const dload_redis_server *s)
{
    t->ctx = SSL_CTX_new(TLS_client_method());
    t->method = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "dload_redis");
    if (t->ctx == NULL || t->method == NULL ||
        SSL_CTX_set_min_proto_version(t->ctx, TLS1_2_VERSION) != 1 ||
        BIO_meth_set_write(t->method, dload_redis_i_bio_write) != 1 ||
        BIO_meth_set_read(t->method, dload_redis_i_bio_read) != 1 ||
        BIO_meth_set_ctrl(t->method, dload_redis_i_bio_ctrl) != 1)
        return "TLS: no memory";
    SSL_CTX_set_verify(t->ctx, SSL_VERIFY_PEER, NULL);
    (void)SSL_CTX_set_mode(t->ctx,
                           SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    return dload_redis_i_tls_files(t->ctx, s);
}

/* The server's; of two threads that make it at the same time one wins. NULL: c->error says why. */
DLOAD_I_LOCAL dload_redis_i_tls *dload_redis_i_tls_of(dload_redis_conn *c)
{
    void *known = __atomic_load_n(&c->server->tls_context, __ATOMIC_ACQUIRE);
    if (known != NULL)
        return (dload_redis_i_tls *)known;
    dload_redis_i_tls *t = (dload_redis_i_tls *)calloc(1, sizeof *t);
    const char *wrong = t != NULL ? dload_redis_i_tls_make(t, c->server) : "TLS: no memory";
    if (wrong != NULL) {
        (void)snprintf(c->error, sizeof c->error, "redis: %s", wrong);
        dload_redis_i_tls_free(t);
        ERR_clear_error();
        return NULL;
    }
    if (!__atomic_compare_exchange_n(&c->server->tls_context, &known, (void *)t, false,
                                     __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
        dload_redis_i_tls_free(t);
        t = (dload_redis_i_tls *)known;
    }
    return t;
}

DLOAD_I_LOCAL void dload_redis_i_tls_forget(dload_redis_server *s)
{
    dload_redis_i_tls_free((dload_redis_i_tls *)s->tls_context);
    s->tls_context = NULL;
}

/* ---- one connection ---- */

/* Whose certificate it must be: a name, which is asked for by SNI, or an address. */
DLOAD_I_LOCAL bool dload_redis_i_tls_whom(SSL *ssl, const char *name)
{
    X509_VERIFY_PARAM *param = SSL_get0_param(ssl);
    if (X509_VERIFY_PARAM_set1_ip_asc(param, name) == 1)
        return true;
    ERR_clear_error();
    X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    return X509_VERIFY_PARAM_set1_host(param, name, 0) == 1 &&
           SSL_ctrl(ssl, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name,
                    (void *)(uintptr_t)name) == 1;
}

/* Before the handshake. Not DLOAD_OK: c->error says why, and the caller closes. */
DLOAD_I_LOCAL dload_status dload_redis_i_tls_begin(dload_redis_conn *c)
{
    dload_redis_i_tls *t = dload_redis_i_tls_of(c);
    if (t == NULL)
        return DLOAD_EINVAL;
    SSL *ssl = SSL_new(t->ctx);
    BIO *bio = BIO_new(t->method);
    if (ssl == NULL || bio == NULL ||
        !dload_redis_i_tls_whom(ssl, c->server->tls_name.ptr != NULL ? c->server->tls_name.ptr
                                                                     : c->host)) {
        SSL_free(ssl);
        (void)BIO_free(bio);
        ERR_clear_error();
        (void)snprintf(c->error, sizeof c->error, "redis: TLS: no memory");
        return DLOAD_ENOMEM;
    }
    BIO_set_data(bio, c);
    BIO_set_init(bio, 1);
    SSL_set_bio(ssl, bio, bio);
    SSL_set_connect_state(ssl);
    c->tls = ssl;
    return DLOAD_OK;
}

DLOAD_I_LOCAL void dload_redis_i_tls_end(dload_redis_conn *c)
{
    SSL_free((SSL *)c->tls); /* no goodbye: it could block, and says nothing that close does not */
    c->tls = NULL;
}

/* What came of an operation that did not succeed: -1 = later, 0 = end of file, -2 = closed. */
DLOAD_I_LOCAL int dload_redis_i_tls_failed(dload_redis_conn *c, int result, const char *what)
{
    const SSL *ssl = (const SSL *)c->tls;
    char text[140];
    const int why = SSL_get_error(ssl, result);
    if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE) {
        c->tls_writes = c->tls_writes || why == SSL_ERROR_WANT_WRITE;
        return -1;
    }
    if (why == SSL_ERROR_ZERO_RETURN)
        return 0;
    const long cert = SSL_get_verify_result(ssl);
    const char *reason = cert != X509_V_OK ? X509_verify_cert_error_string(cert)
                                           : ERR_reason_error_string(ERR_peek_error());
    (void)snprintf(text, sizeof text, "TLS: %s: %s", what,
                   reason != NULL ? reason : "the other side is gone");
    ERR_clear_error();
    (void)dload_redis_close(c, DLOAD_EBACKEND, text);
    return -2;
}

/* 1 = agreed; -1 = later; -2 = closed. */
DLOAD_I_LOCAL int dload_redis_i_tls_shake(dload_redis_conn *c)
{
    ERR_clear_error();
    c->tls_writes = false;
    int done = SSL_do_handshake((SSL *)c->tls);
    if (done == 1)
        return 1;
    done = dload_redis_i_tls_failed(c, done, "no agreement");
    if (done == 0)
        (void)dload_redis_close(c, DLOAD_EBACKEND, "TLS: the other side is gone");
    return done == -1 ? -1 : -2;
}

/* As recv or send, one of in and out: bytes; 0 = the end; -1 = not now; -2 = closed. */
DLOAD_I_LOCAL ssize_t dload_redis_i_tls_io(dload_redis_conn *c, void *in, const void *out, size_t n)
{
    ERR_clear_error();
    if (in != NULL)
        c->tls_writes = false; /* whoever writes has something to send, and polls for that anyway */
    const int most = n < (1u << 30) ? (int)n : 1 << 30;
    int done = in != NULL ? SSL_read((SSL *)c->tls, in, most) : SSL_write((SSL *)c->tls, out, most);
    return done > 0 ? done
                    : dload_redis_i_tls_failed(c, done, in != NULL ? "receiving" : "sending");
}

#endif /* DLOAD_REDIS_TLS_H */
