/* dataloader_postgres/pool.h -- connecting, statements, and who uses which connection.
 *
 * SPDX-License-Identifier: MIT
 *
 * The second half of dataloader_postgres/conn.h, which includes it.
 */
#ifndef DLOAD_POSTGRES_POOL_H
#define DLOAD_POSTGRES_POOL_H

#ifndef DLOAD_POSTGRES_CONN_H
#error "dataloader_postgres/pool.h: include dataloader_postgres/conn.h instead"
#endif

/* What a statement is sent with: arrays in the server's binary form. Private. */
typedef struct dload_postgres_values {
    const char *value[4]; /* NULL = an SQL NULL */
    int n_bytes[4];
} dload_postgres_values;

/* ---- statements ---- */

/* A number for a statement, given when it is asked for first. */
DLOAD_I_LOCAL uint64_t dload_postgres_i_id(uint64_t *place)
{
    static uint64_t last;
    uint64_t id = __atomic_load_n(place, __ATOMIC_ACQUIRE);
    if (id == 0) {
        uint64_t own = __atomic_add_fetch(&last, 1, __ATOMIC_RELAXED);
        if (__atomic_compare_exchange_n(place, &id, own, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
            id = own;
    }
    return id;
}

/* The number under which a connection has prepared a statement, or n_prepared. */
DLOAD_I_LOCAL uint32_t dload_postgres_i_prepared(const dload_postgres_conn *c, uint64_t id)
{
    uint32_t i = 0;
    while (i < c->n_prepared && c->prepared[i] != id)
        i++;
    return i;
}

/* Queues a statement, by the name of prepared statement i, or, with another i, by its text; what is queued is sent by
 * _i_flush. */
DLOAD_I_LOCAL dload_status dload_postgres_i_send_as(dload_postgres_conn *c,
                                                    const dload_postgres_statement *s,
                                                    const dload_postgres_values *v, uint32_t i)
{
    static const int binary[4] = {1, 1, 1, 1};
    const char *const *values = v != NULL ? v->value : NULL;
    const int *n_bytes = v != NULL ? v->n_bytes : NULL;
    int ok = 0;
    c->sent = true;
    if (i < DLOAD_POSTGRES_I_MAX_PREPARED) {
        char name[24];
        (void)snprintf(name, sizeof name, "dload_%u", (unsigned)i);
        ok = PQsendQueryPrepared(c->pg, name, s->n_params, values, n_bytes, binary, 1);
    } else {
        ok = PQsendQueryParams(c->pg, s->sql, s->n_params, s->types, values, n_bytes, binary, 1);
    }
    return ok != 0 ? DLOAD_OK : dload_postgres_i_lose(c, DLOAD_EBACKEND);
}

/* Queues a statement as the connection knows it. */
DLOAD_I_LOCAL dload_status dload_postgres_i_send(dload_postgres_conn *c,
                                                 dload_postgres_statement *s,
                                                 const dload_postgres_values *v)
{
    const uint32_t i = dload_postgres_i_prepared(c, dload_postgres_i_id(&s->id));
    return dload_postgres_i_send_as(c, s, v, i < c->n_prepared ? i : DLOAD_POSTGRES_I_MAX_PREPARED);
}

/* Is this one to be prepared: not yet known, and there is room for one more? */
DLOAD_I_LOCAL bool dload_postgres_i_unprepared(const dload_postgres_conn *c, uint64_t id)
{
    return !c->pool->config.pooled && c->n_prepared < DLOAD_POSTGRES_I_MAX_PREPARED &&
           dload_postgres_i_prepared(c, id) == c->n_prepared;
}

/* Queues the making of prepared statement n_prepared; it is one when the server has said so. */
DLOAD_I_LOCAL dload_status dload_postgres_i_send_prepare(dload_postgres_conn *c,
                                                         const dload_postgres_statement *s)
{
    char name[24];
    (void)snprintf(name, sizeof name, "dload_%u", (unsigned)c->n_prepared);
    return PQsendPrepare(c->pg, name, s->sql, s->n_params, s->types) != 0
               ? DLOAD_OK
               : dload_postgres_i_lose(c, DLOAD_EBACKEND);
}

/* Has a connection know a statement, when it may and has room for one more. */
DLOAD_I_LOCAL dload_status dload_postgres_i_prepare(dload_postgres_conn *c,
                                                    dload_postgres_statement *s,
                                                    uint64_t deadline_ns)
{
    const uint64_t id = dload_postgres_i_id(&s->id);
    if (!dload_postgres_i_unprepared(c, id))
        return DLOAD_OK;
    dload_status st = dload_postgres_i_send_prepare(c, s);
    if (st == DLOAD_OK)
        st = dload_postgres_i_answer(c, deadline_ns, NULL);
    if (st == DLOAD_OK)
        c->prepared[c->n_prepared++] = id;
    return st;
}

/* One statement and its answer. */
DLOAD_I_LOCAL dload_status dload_postgres_i_ask(dload_postgres_conn *c, dload_postgres_statement *s,
                                                const dload_postgres_values *v,
                                                uint64_t deadline_ns, PGresult **out)
{
    c->sqlstate[0] = '\0';
    dload_status st = dload_postgres_i_prepare(c, s, deadline_ns);
    if (st == DLOAD_OK)
        st = dload_postgres_i_send(c, s, v);
    return st == DLOAD_OK ? dload_postgres_i_answer(c, deadline_ns, out) : st;
}

/* ---- connecting ---- */

/* Queues a setting of the session's. Names and values are texts of ours or the user's, and are sent as such. */
DLOAD_I_LOCAL dload_status dload_postgres_i_send_set(dload_postgres_conn *c, const char *name,
                                                     const char *value)
{
    static const Oid types[2] = {DLOAD_POSTGRES_I_TEXT, DLOAD_POSTGRES_I_TEXT};
    const char *const values[2] = {name, value};
    return PQsendQueryParams(c->pg, "SELECT set_config($1, $2, false)", 2, types, values, NULL,
                             NULL, 0) != 0
               ? DLOAD_OK
               : dload_postgres_i_lose(c, DLOAD_EBACKEND);
}

DLOAD_I_LOCAL dload_status dload_postgres_i_set(dload_postgres_conn *c, const char *name,
                                                const char *value, uint64_t deadline_ns)
{
    dload_status st = dload_postgres_i_send_set(c, name, value);
    return st == DLOAD_OK ? dload_postgres_i_answer(c, deadline_ns, NULL) : st;
}

/* The server ends a statement by itself, soon after we stopped waiting for it. True: it has to be told so, by this
 * text, and *ms is what it has then; 0 = it never does. */
DLOAD_I_LOCAL bool dload_postgres_i_limit_text(const dload_postgres_conn *c, uint64_t limit_ns,
                                               uint64_t *ms, char text[24])
{
    *ms = limit_ns / DLOAD_MILLISECOND + (limit_ns % DLOAD_MILLISECOND != 0);
    *ms = *ms > INT32_MAX ? 0 : *ms;
    (void)snprintf(text, 24, "%lu", (unsigned long)*ms);
    return !c->pool->config.pooled && c->statement_ms != *ms &&
           !(*ms != 0 && c->statement_ms > *ms); /* what is longer than needed does no harm */
}

DLOAD_I_LOCAL dload_status dload_postgres_i_limit(dload_postgres_conn *c, uint64_t limit_ns,
                                                  uint64_t deadline_ns)
{
    char text[24];
    uint64_t ms = 0;
    if (!dload_postgres_i_limit_text(c, limit_ns, &ms, text))
        return DLOAD_OK;
    dload_status st = dload_postgres_i_set(c, "statement_timeout", text, deadline_ns);
    if (st == DLOAD_OK)
        c->statement_ms = ms;
    return st;
}

/* What else a session has, one after the other: name and value of setting i. False: there was the last one.
 * A session behind a pooler is somebody else's in the next moment: nothing may be set there. */
DLOAD_I_LOCAL bool dload_postgres_i_setting(const dload_postgres_conn *c, size_t i,
                                            const char *setting[2], bool *may_fail)
{
    const char *const *s = c->pool->settings;
    if (c->pool->config.pooled)
        return false;
    for (; s != NULL && s[0] != NULL && i != 0; s += 2)
        i--;
    *may_fail = s == NULL || s[0] == NULL; /* not on every system that a server runs on */
    setting[0] = *may_fail ? "client_connection_check_interval" : s[0];
    setting[1] = *may_fail ? "1000" : s[1];
    return !*may_fail || (i == 0 && PQserverVersion(c->pg) >= 140000);
}

DLOAD_I_LOCAL dload_status dload_postgres_i_session(dload_postgres_conn *c, uint64_t deadline_ns)
{
    const char *setting[2];
    bool may_fail = false;
    dload_status st = dload_postgres_i_limit(c, c->pool->config.timeout_ns, deadline_ns);
    for (size_t i = 0; st == DLOAD_OK && dload_postgres_i_setting(c, i, setting, &may_fail); i++) {
        st = dload_postgres_i_set(c, setting[0], setting[1], deadline_ns);
        if (may_fail && c->pg != NULL)
            st = DLOAD_OK;
    }
    return st;
}

/* Goes through libpq's steps of connecting. */
DLOAD_I_LOCAL dload_status dload_postgres_i_handshake(PGconn *pg, uint64_t deadline_ns)
{
    PostgresPollingStatusType step = PGRES_POLLING_WRITING;
    while (step != PGRES_POLLING_OK) {
        if (step == PGRES_POLLING_FAILED || PQstatus(pg) == CONNECTION_BAD || PQsocket(pg) < 0)
            return DLOAD_EBACKEND;
        short events = step == PGRES_POLLING_READING ? POLLIN : POLLOUT;
        if (dload_postgres_i_poll(PQsocket(pg), events, deadline_ns) == 0)
            return DLOAD_ETIMEDOUT;
        step = PQconnectPoll(pg);
    }
    return PQsetnonblocking(pg, 1) == 0 ? DLOAD_OK : DLOAD_EBACKEND;
}

/* A server's notices (a table that was there already) are nobody's business here. */
DLOAD_I_LOCAL void dload_postgres_i_notice(void *ctx, const PGresult *r)
{
    (void)ctx;
    (void)r;
}

/* No attempt to connect for a while, longer each time. */
DLOAD_I_LOCAL void dload_postgres_i_back_off(dload_postgres *p)
{
    (void)pthread_mutex_lock(&p->mutex);
    uint64_t for_ns = p->down_for_ns == 0 ? p->config.backoff_ns : 2 * p->down_for_ns;
    p->down_for_ns = for_ns < p->config.backoff_max_ns ? for_ns : p->config.backoff_max_ns;
    p->down_until_ns =
        dload_i_add_ns(dload_postgres_i_now(), dload_postgres_i_spread(p, p->down_for_ns));
    (void)pthread_mutex_unlock(&p->mutex);
}

/* Begins to connect; false = no memory. What precedes the url can be overruled by it, what follows cannot. */
DLOAD_I_LOCAL bool dload_postgres_i_connect_start(dload_postgres_conn *c)
{
    static const char *const keys[] = {"fallback_application_name", "dbname", "client_encoding",
                                       NULL};
    const char *const values[] = {"dataloader", c->pool->url, "UTF8", NULL};
    c->n_prepared = 0;
    c->statement_ms = 0;
    c->sent = c->lost = false;
    c->sqlstate[0] = '\0';
    c->pg = PQconnectStartParams(keys, values, 1);
    if (c->pg == NULL)
        return false;
    (void)PQsetNoticeReceiver(c->pg, dload_postgres_i_notice, NULL);
    return true;
}

/* A connection could not be made. */
DLOAD_I_LOCAL dload_status dload_postgres_i_not_connected(dload_postgres_conn *c, dload_status st)
{
    char text[DLOAD_POSTGRES_I_TEXT_BYTES] = "";
    if (c->pg != NULL) /* else it was lost, and that was said */
        dload_postgres_i_clean(c->pool,
                               st == DLOAD_ETIMEDOUT ? "no answer in time" : PQerrorMessage(c->pg),
                               text, sizeof text);
    dload_postgres_i_close(c);
    dload_postgres_i_back_off(c->pool);
    if (text[0] != '\0')
        dload_postgres_i_say(c->pool, "cannot connect", text);
    return st;
}

/* ... or it was. */
DLOAD_I_LOCAL void dload_postgres_i_connected(dload_postgres *p)
{
    (void)pthread_mutex_lock(&p->mutex);
    p->down_for_ns = p->down_until_ns = 0;
    (void)pthread_mutex_unlock(&p->mutex);
    (void)__atomic_add_fetch(&p->n_connects, 1, __ATOMIC_RELAXED);
    if (p->config.log != NULL)
        p->config.log(p->config.log_ctx, "connected");
}

/* May a connection be made now? */
DLOAD_I_LOCAL bool dload_postgres_i_may_connect(dload_postgres *p)
{
    (void)pthread_mutex_lock(&p->mutex);
    const bool may = dload_postgres_i_now() >= p->down_until_ns;
    (void)pthread_mutex_unlock(&p->mutex);
    return may;
}

/* Makes a connection, whatever the backoff says. */
DLOAD_I_LOCAL dload_status dload_postgres_i_connect(dload_postgres_conn *c, uint64_t deadline_ns)
{
    const uint64_t until_ns = dload_i_add_ns(dload_postgres_i_now(), c->pool->config.connect_ns);
    deadline_ns = deadline_ns < until_ns ? deadline_ns : until_ns;
    if (!dload_postgres_i_connect_start(c))
        return DLOAD_ENOMEM;
    dload_status st = dload_postgres_i_handshake(c->pg, deadline_ns);
    if (st == DLOAD_OK)
        st = dload_postgres_i_session(c, deadline_ns);
    if (st != DLOAD_OK)
        return dload_postgres_i_not_connected(c, st);
    dload_postgres_i_connected(c->pool);
    return DLOAD_OK;
}

/* Has a connection ready: one that the server ended while it was idle is made anew, unless it is not yet
 * time to try again. */
DLOAD_I_LOCAL dload_status dload_postgres_i_ready(dload_postgres_conn *c, uint64_t deadline_ns)
{
    c->sent = c->lost = false;
    c->sqlstate[0] = '\0';
    if (c->pg != NULL) {
        struct pollfd f;
        f.fd = PQsocket(c->pg);
        f.events = POLLIN;
        f.revents = 0;
        if (poll(&f, 1, 0) > 0 && (PQconsumeInput(c->pg) == 0 || PQstatus(c->pg) != CONNECTION_OK))
            (void)dload_postgres_i_lose(c, DLOAD_EBACKEND);
    }
    c->lost = false;
    if (c->pg != NULL)
        return DLOAD_OK;
    return dload_postgres_i_may_connect(c->pool) ? dload_postgres_i_connect(c, deadline_ns)
                                                 : DLOAD_EBACKEND;
}

/* ---- the pool ---- */

/* A connection that nobody uses, one that is connected if there is one; waits until then. */
DLOAD_I_LOCAL dload_status dload_postgres_i_take(dload_postgres *p, uint64_t deadline_ns,
                                                 dload_postgres_conn **out)
{
    if (p->pid != getpid())
        return DLOAD_EFORK;
    dload_postgres_conn *c = NULL;
    (void)pthread_mutex_lock(&p->mutex);
    for (;;) {
        for (size_t i = 0; i < p->config.max_conns; i++) {
            dload_postgres_conn *one = &p->conns[i];
            if (!one->busy && (c == NULL || (c->pg == NULL && one->pg != NULL)))
                c = one;
        }
        uint64_t now_ns = dload_postgres_i_now();
        if (c != NULL || now_ns >= deadline_ns)
            break;
        dload_threads_i_wait(&p->freed, &p->mutex, deadline_ns);
    }
    if (c != NULL)
        c->busy = true;
    (void)pthread_mutex_unlock(&p->mutex);
    *out = c;
    return c != NULL ? DLOAD_OK : DLOAD_ETIMEDOUT;
}

DLOAD_I_LOCAL void dload_postgres_i_give(dload_postgres_conn *c)
{
    dload_postgres *p = c->pool;
    (void)pthread_mutex_lock(&p->mutex);
    c->busy = false;
    (void)pthread_cond_signal(&p->freed);
    (void)pthread_mutex_unlock(&p->mutex);
}

/* Is a prepared statement gone (a pooler gave us another session), or of a table that has changed? */
DLOAD_I_LOCAL bool dload_postgres_i_forgot(const char *sqlstate)
{
    return strcmp(sqlstate, "26000") == 0 || strcmp(sqlstate, "0A000") == 0;
}

/* Runs work on a connection. What was lost is tried once more on a new one: always when nothing had been
 * sent, else only what may run twice. */
DLOAD_I_LOCAL dload_status dload_postgres_i_with(
    dload_postgres *p, uint64_t timeout_ns, bool twice,
    dload_status (*work)(dload_postgres_conn *c, void *ctx, uint64_t deadline_ns), void *ctx)
{
    const uint64_t deadline_ns = dload_postgres_i_deadline(p, timeout_ns);
    dload_postgres_conn *c = NULL;
    dload_status st = dload_postgres_i_take(p, deadline_ns, &c);
    if (st != DLOAD_OK)
        return st;
    for (int attempt = 0; attempt < 2; attempt++) {
        st = dload_postgres_i_ready(c, deadline_ns);
        if (st == DLOAD_OK && timeout_ns > p->config.timeout_ns)
            st = dload_postgres_i_limit(c, timeout_ns, deadline_ns);
        c->sent = false;
        if (st == DLOAD_OK)
            st = work(c, ctx, deadline_ns);
        if (st == DLOAD_EBACKEND && c->pg != NULL && dload_postgres_i_forgot(c->sqlstate))
            dload_postgres_i_close(c);
        else if (st != DLOAD_EBACKEND || !c->lost || (c->sent && !twice))
            break;
    }
    dload_postgres_i_give(c);
    return st;
}

/* ---- beginning and end ---- */

/* Keeps the password, to look for it in texts; false = the string cannot be parsed, or no memory is left. */
DLOAD_I_LOCAL dload_status dload_postgres_i_parse(dload_postgres *p, const char *url)
{
    dload_status st = DLOAD_OK;
    PQconninfoOption *options = NULL;
    if (strchr(url, '=') != NULL || strstr(url, "://") != NULL) { /* else the name of a database */
        options = PQconninfoParse(url, NULL); /* its text may quote the password: not asked for */
        if (options == NULL)
            return DLOAD_EINVAL;
    }
    for (PQconninfoOption *o = options; o != NULL && o->keyword != NULL; o++) {
        if (strcmp(o->keyword, "password") != 0 || o->val == NULL || o->val[0] == '\0')
            continue;
        p->password_bytes = strlen(o->val);
        p->password = (char *)dload_i_alloc(p->env, p->password_bytes + 1);
        if (p->password == NULL)
            st = DLOAD_ENOMEM;
        else
            memcpy(p->password, o->val, p->password_bytes + 1);
    }
    PQconninfoFree(options);
    p->url_bytes = strlen(url) + 1;
    p->url = (char *)dload_i_alloc(p->env, p->url_bytes);
    if (p->url == NULL)
        st = DLOAD_ENOMEM;
    else
        memcpy(p->url, url, p->url_bytes);
    return st;
}

DLOAD_I_LOCAL void dload_postgres_i_free_texts(dload_postgres *p)
{
    dload_i_free(p->env, p->url, p->url_bytes);
    dload_i_free(p->env, p->password, p->password_bytes + 1);
    p->url = p->password = NULL;
}

/* Prepares a pool; connects to nobody yet, so that a program starts while its server does not run.
 * Returns DLOAD_OK; DLOAD_EINVAL: no url, one that cannot be parsed, a number out of range; DLOAD_ENOMEM. */
DLOAD_I_LOCAL dload_status dload_postgres_init(dload_postgres *p,
                                               const dload_postgres_config *config)
{
    if (p == NULL || config == NULL || config->url == NULL ||
        config->max_conns > DLOAD_POSTGRES_I_MAX_CONNS)
        return DLOAD_EINVAL;
    memset(p, 0, sizeof *p);
    p->env = config->env != NULL ? config->env : dload_env_default();
    p->config = *config;
    p->config.url = NULL;
    p->config.max_conns = config->max_conns != 0 ? config->max_conns : 4;
    p->config.timeout_ns = config->timeout_ns != 0 ? config->timeout_ns : 2 * DLOAD_SECOND;
    p->config.connect_ns = config->connect_ns != 0 ? config->connect_ns : 2 * DLOAD_SECOND;
    p->config.backoff_ns = config->backoff_ns != 0 ? config->backoff_ns : 50 * DLOAD_MILLISECOND;
    p->config.backoff_max_ns =
        config->backoff_max_ns != 0 ? config->backoff_max_ns : 5 * DLOAD_SECOND;
    p->pid = getpid();
    p->chance = dload_postgres_i_now() ^ (uint64_t)p->pid << 32;
    for (size_t i = 0; i < DLOAD_POSTGRES_I_MAX_CONNS; i++)
        p->conns[i].pool = p;
    dload_status st = dload_postgres_i_parse(p, config->url);
    if (st == DLOAD_OK && !dload_threads_i_pair_init(&p->mutex, &p->freed))
        st = DLOAD_ENOMEM;
    if (st != DLOAD_OK)
        dload_postgres_i_free_texts(p);
    return st;
}

/* Closes the connections. Nobody may be inside a call; p is over. */
DLOAD_I_LOCAL void dload_postgres_destroy(dload_postgres *p)
{
    for (size_t i = 0; i < DLOAD_POSTGRES_I_MAX_CONNS; i++)
        dload_postgres_i_close(&p->conns[i]);
    (void)pthread_cond_destroy(&p->freed);
    (void)pthread_mutex_destroy(&p->mutex);
    dload_postgres_i_free_texts(p);
}

/* ---- a statement by hand ---- */

DLOAD_I_LOCAL dload_status dload_postgres_i_simple(dload_postgres_conn *c, void *ctx,
                                                   uint64_t deadline_ns)
{
    c->sent = true;
    if (PQsendQuery(c->pg, (const char *)ctx) == 0)
        return dload_postgres_i_lose(c, DLOAD_EBACKEND);
    return dload_postgres_i_answer(c, deadline_ns, NULL);
}

/* Runs statements that bring no answer, separated by semicolons: a table to make, a trigger, "SELECT 1" to see
 * whether the server is there. sql is the program's own text: never put a key into one. timeout_ns 0 = the
 * pool's. Returns DLOAD_OK; DLOAD_EBACKEND, DLOAD_ETIMEDOUT ... (dload_postgres_error says more); DLOAD_EFORK.
 * Any thread. */
DLOAD_I_LOCAL dload_status dload_postgres_run(dload_postgres *p, const char *sql,
                                              uint64_t timeout_ns)
{
    return dload_postgres_i_with(p, timeout_ns, false, dload_postgres_i_simple,
                                 (void *)(uintptr_t)sql);
}

#endif /* DLOAD_POSTGRES_POOL_H */
