/* dataloader_postgres/table.h -- the table of a store: its statements, and what sessions have.
 *
 * SPDX-License-Identifier: MIT
 *
 * The middle of dataloader_postgres.h, which includes it.
 */
#ifndef DLOAD_POSTGRES_TABLE_H
#define DLOAD_POSTGRES_TABLE_H

#ifndef DLOAD_POSTGRES_H
#error "dataloader_postgres/table.h: include dataloader_postgres.h instead"
#endif

/* A key's id: what is longer than an index takes is cut to 2001 bytes, which no shorter key has. */
#define DLOAD_POSTGRES_I_ID                                             \
    "CASE WHEN octet_length(q.k) <= 2000 THEN q.k ELSE substr(q.k, 1, " \
    "1969) || sha256(q.k) END"
#define DLOAD_POSTGRES_I_ID_PREFIX 1969u
#define DLOAD_POSTGRES_I_LONG      "CASE WHEN octet_length(q.k) > 2000 THEN q.k END"
#define DLOAD_POSTGRES_I_EXPIRES                 \
    "CASE WHEN q.t < 0 THEN 'infinity' ELSE "    \
    "statement_timestamp() + q.t * interval '1 " \
    "microsecond' END"
#define DLOAD_POSTGRES_I_BEGINS " AND substr(coalesce(s.long_key, s.id), 1, octet_length("

/* The statements; @ is the table's name. Every one goes through the primary key: see _i_settings. */
DLOAD_I_LOCAL const char *dload_postgres_i_template(int which)
{
    switch (which) {
    case DLOAD_POSTGRES_I_LOOK:
        return "SELECT q.o, s.value, s.lease, s.expires, statement_timestamp() "
               "FROM unnest($1::bytea[]) WITH ORDINALITY AS q(k, o) "
               "JOIN @ AS s ON s.id = " DLOAD_POSTGRES_I_ID
               " WHERE s.expires > statement_timestamp()";
    case DLOAD_POSTGRES_I_SET:
        return "INSERT INTO @ AS s (id, long_key, value, lease, expires) "
               "SELECT " DLOAD_POSTGRES_I_ID ", " DLOAD_POSTGRES_I_LONG
               ", q.v, NULL, " DLOAD_POSTGRES_I_EXPIRES
               " FROM unnest($1::bytea[], $2::bytea[], $3::int8[]) AS q(k, v, t) "
               "ON CONFLICT (id) DO UPDATE SET value = EXCLUDED.value, lease = NULL, "
               "expires = EXCLUDED.expires";
    case DLOAD_POSTGRES_I_DELETE:
        return "DELETE FROM @ AS s USING unnest($1::bytea[]) AS q(k) WHERE s.id "
               "= " DLOAD_POSTGRES_I_ID;
    case DLOAD_POSTGRES_I_RANGE:
        return "DELETE FROM @ AS s WHERE s.id >= $1 AND s.id < $2" DLOAD_POSTGRES_I_BEGINS
               "$3)) = $3";
    case DLOAD_POSTGRES_I_FROM:
        return "DELETE FROM @ AS s WHERE s.id >= $1" DLOAD_POSTGRES_I_BEGINS "$2)) = $2";
    case DLOAD_POSTGRES_I_CLAIM:
        return "INSERT INTO @ AS s (id, long_key, value, lease, expires) "
               "SELECT " DLOAD_POSTGRES_I_ID ", " DLOAD_POSTGRES_I_LONG
               ", NULL, q.l, " DLOAD_POSTGRES_I_EXPIRES
               " FROM unnest($1::bytea[], $2::bytea[], $3::int8[]) AS q(k, l, t) "
               "ON CONFLICT (id) DO UPDATE SET value = NULL, lease = EXCLUDED.lease, "
               "expires = EXCLUDED.expires "
               "WHERE s.expires <= statement_timestamp() OR s.lease = EXCLUDED.lease";
    case DLOAD_POSTGRES_I_FILL:
        return "UPDATE @ AS s SET value = q.v, lease = NULL, expires = " DLOAD_POSTGRES_I_EXPIRES
               " FROM unnest($1::bytea[], $2::bytea[], $3::bytea[], $4::int8[]) WITH ORDINALITY "
               "AS q(k, l, v, t, o) WHERE s.id = " DLOAD_POSTGRES_I_ID
               " AND s.lease = q.l AND s.expires > statement_timestamp() RETURNING q.o";
    case DLOAD_POSTGRES_I_DROP:
        return "DELETE FROM @ AS s USING unnest($1::bytea[], $2::bytea[]) AS q(k, l) "
               "WHERE s.id = " DLOAD_POSTGRES_I_ID " AND s.lease = q.l";
    case DLOAD_POSTGRES_I_PURGE:
        return "WITH slice AS MATERIALIZED (SELECT s.id, s.expires FROM @ AS s WHERE s.id >= $1 "
               "ORDER BY s.id LIMIT $2), gone AS (DELETE FROM @ AS s USING slice WHERE s.id = "
               "slice.id "
               "AND slice.expires <= statement_timestamp() AND s.expires <= statement_timestamp() "
               "RETURNING 1) SELECT (SELECT count(*) FROM slice), (SELECT count(*) FROM gone), "
               "(SELECT id FROM slice ORDER BY id DESC LIMIT 1)";
    case DLOAD_POSTGRES_I_SHAPE:
        return "SELECT id, long_key, value, lease, expires FROM @ LIMIT 0";
    case DLOAD_POSTGRES_I_INDEX:
        return "SELECT count(*) FROM pg_index AS i JOIN pg_attribute AS a ON a.attrelid = "
               "i.indrelid "
               "AND a.attnum = i.indkey[0] WHERE i.indrelid = '@'::regclass AND i.indisunique "
               "AND i.indnkeyatts = 1 AND i.indpred IS NULL AND a.attname = 'id'";
    default: /* CREATE; ^ is UNLOGGED or nothing */
        return "CREATE ^ TABLE IF NOT EXISTS @ (id bytea PRIMARY KEY, long_key bytea, value bytea, "
               "lease bytea, expires timestamptz NOT NULL)";
    }
}

/* What the sessions of a store have. The planner is left no choice: a plan made while the table was empty
 * would read all of it, for as long as nobody has told the server that it grew; and in the order of the keys
 * rows are always locked in the same one. */
DLOAD_I_LOCAL const char *const *dload_postgres_i_settings(void)
{
    static const char *const settings[] = {"enable_seqscan",
                                           "off",
                                           "enable_bitmapscan",
                                           "off",
                                           "enable_hashjoin",
                                           "off",
                                           "enable_mergejoin",
                                           "off",
                                           "jit",
                                           "off",
                                           "plan_cache_mode",
                                           "force_generic_plan",
                                           NULL,
                                           NULL};
    return settings;
}

/* Writes a template with the names filled in; returns its length without the NUL. to NULL = only that. */
DLOAD_I_LOCAL size_t dload_postgres_i_expand(const char *text, const char *table, bool unlogged,
                                             char *to)
{
    size_t n = 0;
    for (; *text != '\0'; text++) {
        const char *word = *text == '@'   ? table
                           : *text == '^' ? (unlogged ? "UNLOGGED" : "")
                                          : NULL;
        const size_t n_bytes = word != NULL ? strlen(word) : 1;
        if (to != NULL)
            memcpy(to + n, word != NULL ? word : text, n_bytes);
        n += n_bytes;
    }
    if (to != NULL)
        to[n] = '\0';
    return n;
}

DLOAD_I_LOCAL void dload_postgres_i_types(dload_postgres_store *s)
{
    static const unsigned char n_params[DLOAD_POSTGRES_I_N_TEXTS] = {1, 3, 1, 3, 2, 3,
                                                                     4, 2, 2, 0, 0, 0};
    for (int i = 0; i < DLOAD_POSTGRES_I_N_TEXTS; i++) {
        dload_postgres_statement *t = &s->statements[i];
        const bool range = i == DLOAD_POSTGRES_I_RANGE || i == DLOAD_POSTGRES_I_FROM ||
                           i == DLOAD_POSTGRES_I_PURGE;
        t->n_params = n_params[i];
        for (int p = 0; p < 4; p++)
            t->types[p] = range ? DLOAD_POSTGRES_I_BYTEA : DLOAD_POSTGRES_I_BYTEA_ARRAY;
    }
    s->statements[DLOAD_POSTGRES_I_SET].types[2] = DLOAD_POSTGRES_I_INT8_ARRAY;
    s->statements[DLOAD_POSTGRES_I_CLAIM].types[2] = DLOAD_POSTGRES_I_INT8_ARRAY;
    s->statements[DLOAD_POSTGRES_I_FILL].types[3] = DLOAD_POSTGRES_I_INT8_ARRAY;
    s->statements[DLOAD_POSTGRES_I_PURGE].types[1] = DLOAD_POSTGRES_I_INT8;
}

/* Makes the statements of a store: all of them in one block. */
DLOAD_I_LOCAL dload_status dload_postgres_i_texts(dload_postgres_store *s,
                                                  const dload_postgres_store_config *config)
{
    char table[2 * 63 + 6];
    const char *name = config->table != NULL ? config->table : "dload_store";
    if (!dload_postgres_i_name_ok(name) ||
        (config->schema != NULL && !dload_postgres_i_name_ok(config->schema)))
        return DLOAD_EINVAL;
    if (config->schema != NULL)
        (void)snprintf(table, sizeof table, "\"%s\".\"%s\"", config->schema, name);
    else
        (void)snprintf(table, sizeof table, "\"%s\"", name);
    for (int i = 0; i < DLOAD_POSTGRES_I_N_TEXTS; i++)
        s->texts_bytes += 1 + dload_postgres_i_expand(dload_postgres_i_template(i), table,
                                                      config->unlogged, NULL);
    s->texts = (char *)dload_i_alloc(s->store.env, s->texts_bytes);
    if (s->texts == NULL)
        return DLOAD_ENOMEM;
    char *to = s->texts;
    for (int i = 0; i < DLOAD_POSTGRES_I_N_TEXTS; i++) {
        s->statements[i].sql = to;
        to +=
            1 + dload_postgres_i_expand(dload_postgres_i_template(i), table, config->unlogged, to);
    }
    dload_postgres_i_types(s);
    return DLOAD_OK;
}

#endif /* DLOAD_POSTGRES_TABLE_H */
