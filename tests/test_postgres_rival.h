/* Another program that has rows of the store locked, and whether somebody of ours waits for them. */
#ifndef DLOAD_TESTS_POSTGRES_RIVAL_H
#define DLOAD_TESTS_POSTGRES_RIVAL_H

#include "test_postgres.h"

/* Another program's transaction, which holds rows. */
static inline PGconn *rival_begin(const char *sql)
{
    PGconn *rival = PQconnectdb(server.url);
    PQclear(PQexec(rival, "SET deadlock_timeout = '60s'; BEGIN"));
    PGresult *r = PQexec(rival, sql);
    if (PQresultStatus(r) != PGRES_COMMAND_OK)
        fail_msg("%s: %s", sql, PQerrorMessage(rival));
    PQclear(r);
    return rival;
}

static inline void rival_end(PGconn *rival)
{
    PQclear(PQexec(rival, "COMMIT"));
    PQfinish(rival);
}

/* A new table, also when a test that failed has left one behind, with a rival who has it locked. */
static inline void no_table(void)
{
    pg_query(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE state LIKE 'idle in "
        "transaction%'",
        NULL, 0);
    pg_query("DROP TABLE IF EXISTS t", NULL, 0);
}

/* How many of our sessions wait for a lock. */
static const char blocked[] = "SELECT count(*) FROM pg_stat_activity WHERE application_name = "
                              "'dataloader' AND wait_event_type = "
                              "'Lock'";

#endif /* DLOAD_TESTS_POSTGRES_RIVAL_H */
