/* postgres_server.h -- a PostgreSQL server of a test's own: a new cluster, on a Unix socket in a temporary folder.
 *
 * The cluster is made once (initdb takes a second) and kept in build/servers; each server gets a copy. The
 * superuser, postgres, is let in by the socket; everybody else by password. As root the server runs as the user
 * postgres, or nobody: it refuses to be root's. Call these in the main thread: a server ends with the
 * thread that started it.
 */
#ifndef TESTS_POSTGRES_SERVER_H
#define TESTS_POSTGRES_SERVER_H

#include "server.h"

#include <glob.h>
#include <pwd.h>
#include <sys/stat.h>

struct postgres_server {
    char folder[64]; /* the socket's, too */
    char data[80];
    char log[80];
    char bin[256];
    char url[160]; /* of the superuser */
    int user;      /* -1 = whoever runs the test */
    pid_t pid;
};

__attribute__((__unused__)) static char *postgres_word(const char *text)
{
    return (char *)(uintptr_t)text;
}

/* Where initdb and postgres are; false = they are not. */
__attribute__((__unused__)) static bool postgres_find(char *bin, size_t cap_bytes)
{
    char program[300];
    FILE *f = popen("pg_config --bindir 2>/dev/null", "r");
    bool ok = f != NULL && fgets(bin, (int)cap_bytes, f) != NULL;
    if (f != NULL)
        (void)pclose(f);
    if (ok) {
        bin[strcspn(bin, "\n")] = '\0';
        (void)snprintf(program, sizeof program, "%s/initdb", bin);
        if (access(program, X_OK) == 0)
            return true;
    }
    glob_t found;
    ok = glob("/usr/lib/postgresql/*/bin/initdb", 0, NULL, &found) == 0 && found.gl_pathc > 0;
    if (ok) {
        (void)snprintf(bin, cap_bytes, "%s", found.gl_pathv[found.gl_pathc - 1]);
        *strrchr(bin, '/') = '\0';
        globfree(&found);
    }
    return ok;
}

__attribute__((__unused__)) static bool postgres_write(const char *path, const char *text,
                                                       const char *mode)
{
    FILE *f = fopen(path, mode);
    bool ok = f != NULL && fputs(text, f) >= 0;
    return f != NULL && fclose(f) == 0 && ok;
}

/* Runs a few words as a command, to its end. */
__attribute__((__unused__)) static bool postgres_do(const struct postgres_server *s, int user,
                                                    const char *a, const char *b, const char *c,
                                                    const char *d)
{
    char *const argv[] = {postgres_word(a), postgres_word(b), postgres_word(c), postgres_word(d),
                          NULL};
    return server_command(argv, s->log, user) == 0;
}

/* Makes a cluster in the server's folder. */
__attribute__((__unused__)) static bool postgres_initdb(const struct postgres_server *s)
{
    char program[300], path[160];
    (void)snprintf(program, sizeof program, "%s/initdb", s->bin);
    const char *const args[] = {
        "-D",   s->data,      "-U",        "postgres",       "-A", "trust", "-E",
        "UTF8", "--locale=C", "--no-sync", "--wal-segsize=1"};
    char *argv[2 + sizeof args / sizeof args[0]] = {program};
    for (size_t i = 0; i < sizeof args / sizeof args[0]; i++)
        argv[1 + i] = postgres_word(args[i]);
    if (server_command(argv, s->log, s->user) != 0)
        return false;
    (void)snprintf(path, sizeof path, "%s/pg_hba.conf", s->data);
    return postgres_write(path, "local all postgres trust\nlocal all all scram-sha-256\n", "w");
}

/* A cluster in the server's folder: a copy of the one that is kept, which is made when it is missing. Suites
 * run at the same time: what is kept appears whole, under its name, or not at all. */
__attribute__((__unused__)) static bool postgres_cluster(const struct postgres_server *s)
{
    char kept[400], own[440], name[256];
    (void)snprintf(name, sizeof name, "%s", s->bin);
    for (char *c = name; *c != '\0'; c++)
        *c = *c == '/' ? '_' : *c;
    (void)mkdir("build", 0777);
    (void)mkdir("build/servers", 0777);
    (void)snprintf(kept, sizeof kept, "build/servers/cluster%s_%d", name, s->user);
    (void)snprintf(own, sizeof own, "%s.%d", kept, (int)getpid());
    if (access(kept, F_OK) == 0 && postgres_do(s, -1, "cp", "-a", kept, s->data))
        return true;
    (void)postgres_do(s, -1, "rm", "-rf", s->data, NULL);
    if (!postgres_initdb(s))
        return false;
    if (postgres_do(s, -1, "cp", "-a", s->data, own) && rename(own, kept) != 0)
        (void)postgres_do(s, -1, "rm", "-rf", own, NULL);
    return true;
}

/* Does it answer? "rejecting" is an answer, but not one to begin with. */
__attribute__((__unused__)) static bool postgres_up(const struct postgres_server *s)
{
    PGconn *pg = PQconnectdb(s->url);
    bool up = PQstatus(pg) == CONNECTION_OK;
    PQfinish(pg);
    return up;
}

/* Starts the server of a folder, again, too; waits until it answers. After kill -9 its last processes may
 * still hold what the next one needs, which then ends at once and is started anew. */
__attribute__((__unused__)) static bool postgres_start(struct postgres_server *s)
{
    char program[300];
    (void)snprintf(program, sizeof program, "%s/postgres", s->bin);
    char *const argv[] = {program, postgres_word("-D"), s->data, NULL};
    for (int i = 0; i < 1000; i++) {
        int status = 0;
        if (s->pid > 0 && waitpid(s->pid, &status, WNOHANG) == s->pid)
            s->pid = 0;
        if (s->pid <= 0) {
            if (i > 0)
                server_nap_ms(50);
            s->pid = server_spawn(argv, s->log, s->user);
        }
        if (s->pid > 0 && postgres_up(s))
            return true;
        server_nap_ms(10);
    }
    return false;
}

/* Makes a cluster and starts its server; false = it cannot be had, see s->log. settings are lines of
 * postgresql.conf, NULL = none. */
__attribute__((__unused__)) static bool postgres_server_start(struct postgres_server *s,
                                                              const char *settings)
{
    char path[160], text[512];
    memset(s, 0, sizeof *s);
    s->user = -1;
    if (!postgres_find(s->bin, sizeof s->bin) || !server_folder(s->folder, sizeof s->folder))
        return false;
    if (geteuid() == 0) {
        const struct passwd *who = getpwnam("postgres");
        who = who != NULL ? who : getpwnam("nobody");
        if (who == NULL)
            return false;
        s->user = (int)who->pw_uid;
        if (chown(s->folder, who->pw_uid, (gid_t)-1) != 0)
            return false;
    }
    (void)snprintf(s->data, sizeof s->data, "%s/data", s->folder);
    (void)snprintf(s->log, sizeof s->log, "%s/log", s->folder);
    (void)snprintf(s->url, sizeof s->url,
                   "host=%s user=postgres dbname=postgres "
                   "options=-cclient_min_messages=warning",
                   s->folder);
    (void)snprintf(text, sizeof text,
                   "listen_addresses = ''\nunix_socket_directories = '%s'\nfsync = off\n"
                   "full_page_writes = off\nshared_buffers = 32MB\nmax_connections = 60\n%s",
                   s->folder, settings != NULL ? settings : "");
    (void)snprintf(path, sizeof path, "%s/postgresql.conf", s->data);
    return postgres_cluster(s) && postgres_write(path, text, "a") && postgres_start(s);
}

/* Sends a signal to the server's first process and to all that it started; the first one first. */
__attribute__((__unused__)) static void postgres_signal(const struct postgres_server *s, int signo)
{
    char path[64];
    long child = 0;
    (void)kill(s->pid, signo);
    (void)snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)s->pid, (int)s->pid);
    FILE *f = fopen(path, "r");
    while (f != NULL && fscanf(f, "%ld", &child) == 1)
        (void)kill((pid_t)child, signo);
    if (f != NULL)
        (void)fclose(f);
}

/* Ends the server as a power failure would. */
__attribute__((__unused__)) static void postgres_kill(struct postgres_server *s)
{
    if (s->pid <= 0)
        return;
    (void)kill(s->pid, SIGSTOP); /* it must not start new ones meanwhile */
    postgres_signal(s, SIGKILL);
    server_end(s->pid, SIGKILL);
    s->pid = 0;
}

/* Ends the server and removes its folder. */
__attribute__((__unused__)) static void postgres_server_stop(struct postgres_server *s)
{
    postgres_signal(s, SIGCONT);
    server_end(s->pid, SIGQUIT);
    s->pid = 0;
    server_remove(s->folder);
}

#endif /* TESTS_POSTGRES_SERVER_H */
