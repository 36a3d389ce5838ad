/* redis_server.h -- a real Redis (or Valkey) server for tests: a Unix socket and a port, a password and TLS when wanted.
 *
 *     struct redis_server rs = {.password = "secret", .tls = true, .extra = "maxmemory 10mb\n"};
 *     assert_true(redis_server_start(&rs));       // waits until it answers
 *     ... rs.path, rs.port, rs.tls_port, rs.ca, rs.url ...
 *     redis_server_stop(&rs);                     // and its folder
 *
 * It keeps nothing on disk and dies with the test. redis_server_kill and redis_server_start again = a restart at the
 * same place, with nothing in it.
 */
#ifndef TESTS_REDIS_SERVER_H
#define TESTS_REDIS_SERVER_H

#include "server.h"

#include <stdarg.h>
#include <sys/un.h>

struct redis_server {
    /* set before the start; zeros are defaults */
    const char *password; /* requirepass */
    const char *extra;    /* more lines of redis.conf, each ended by \n */
    bool tls;             /* a TLS port, with a certificate for localhost and 127.0.0.1 */
    bool cluster;         /* cluster-enabled; see redis_cluster_start */
    /* read only */
    pid_t pid; /* 0 = not running */
    int port, tls_port, bus_port;
    char folder[64];
    char path[96]; /* the Unix socket; also once it is no more there */
    char ca[96], cert[96], key[96];
    char url[160];     /* redis://[:password@]127.0.0.1:port */
    char tls_url[320]; /* rediss://... with ca= */
    char unix_url[192];
};

/* Is there a server on this machine? */
__attribute__((__unused__)) static const char *redis_server_program(void)
{
    static const char *const names[] = {"redis-server", "valkey-server"};
    for (size_t i = 0; i < 2; i++) {
        char *const argv[] = {(char *)(uintptr_t)names[i], (char *)(uintptr_t) "--version", NULL};
        if (server_command(argv, "/dev/null", -1) == 0)
            return names[i];
    }
    return NULL;
}

/* Runs a line of the shell, all of its output to log; its exit status. */
__attribute__((__unused__, __format__(printf, 2, 3))) static int
redis_server_shell(const char *log, const char *format, ...)
{
    char line[1024];
    va_list list;
    va_start(list, format);
    int n = vsnprintf(line, sizeof line, format, list);
    va_end(list);
    char *const argv[] = {(char *)(uintptr_t) "/bin/sh", (char *)(uintptr_t) "-c", line, NULL};
    return n > 0 && (size_t)n < sizeof line ? server_command(argv, log, -1) : -1;
}

/* One exchange over the Unix socket in inline form, for set-up and for looking from the side: sends request (ended by
 * \r\n), gives the first bytes of what is answered. False: no server. */
__attribute__((__unused__)) static bool
redis_server_ask(const struct redis_server *rs, const char *request, char *answer, size_t cap_bytes)
{
    struct sockaddr_un at;
    struct timeval limit = {2, 0};
    char line[512];
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int n = rs->password != NULL
                ? snprintf(line, sizeof line, "AUTH %s\r\n%s", rs->password, request)
                : snprintf(line, sizeof line, "%s", request);
    memset(&at, 0, sizeof at);
    at.sun_family = AF_UNIX;
    (void)snprintf(at.sun_path, sizeof at.sun_path, "%s", rs->path);
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    bool ok = fd >= 0 && connect(fd, (struct sockaddr *)(void *)&at, sizeof at) == 0 &&
              send(fd, line, (size_t)n, MSG_NOSIGNAL) == n;
    ssize_t got = 0;
    if (ok && rs->password != NULL) {
        char byte = 0;
        while (byte != '\n' && (got = recv(fd, &byte, 1, 0)) == 1)
            continue;
        ok = got == 1;
    }
    got = ok ? recv(fd, answer, cap_bytes - 1, 0) : -1;
    answer[got > 0 ? got : 0] = '\0';
    if (fd >= 0)
        (void)close(fd);
    return ok && got > 0;
}

/* Waits until it answers, ten seconds at most. */
__attribute__((__unused__)) static bool redis_server_answers(struct redis_server *rs)
{
    char answer[64];
    for (int i = 0; i < 2000; i++) {
        if (redis_server_ask(rs, "PING\r\n", answer, sizeof answer) &&
            strncmp(answer, "+PONG", 5) == 0)
            return true;
        if (waitpid(rs->pid, NULL, WNOHANG) == rs->pid) {
            rs->pid = 0;
            return false; /* it ended by itself: its log says why */
        }
        server_nap_ms(5);
    }
    return false;
}

/* A certificate of its own authority, for today. */
__attribute__((__unused__)) static bool redis_server_certificate(struct redis_server *rs)
{
    char log[96];
    (void)snprintf(log, sizeof log, "%s/openssl.log", rs->folder);
    (void)snprintf(rs->ca, sizeof rs->ca, "%s/ca.pem", rs->folder);
    (void)snprintf(rs->cert, sizeof rs->cert, "%s/cert.pem", rs->folder);
    (void)snprintf(rs->key, sizeof rs->key, "%s/key.pem", rs->folder);
    return redis_server_shell(
               log,
               "cd %s && umask 077 && openssl req -x509 -newkey ec -pkeyopt "
               "ec_paramgen_curve:prime256v1 -nodes -keyout ca.key -out ca.pem -days 2 "
               "-subj '/CN=test authority'",
               rs->folder) == 0 &&
           redis_server_shell(log,
                              "cd %s && umask 077 && openssl req -newkey ec -pkeyopt "
                              "ec_paramgen_curve:prime256v1 -nodes -keyout key.pem -out cert.csr "
                              "-subj '/CN=localhost' && printf "
                              "'subjectAltName=DNS:localhost,IP:127.0.0.1\\n' >ext && openssl x509 "
                              "-req -in cert.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 "
                              "-extfile ext -out cert.pem",
                              rs->folder) == 0;
}

__attribute__((__unused__)) static bool redis_server_configure(struct redis_server *rs)
{
    char name[96];
    (void)snprintf(name, sizeof name, "%s/redis.conf", rs->folder);
    FILE *f = fopen(name, "w");
    if (f == NULL)
        return false;
    (void)fprintf(
        f,
        "port %d\nbind 127.0.0.1\nunixsocket %s\nunixsocketperm 700\nsave \"\"\nappendonly no\n"
        "dir %s\ndaemonize no\nloglevel notice\n%s",
        rs->port, rs->path, rs->folder, rs->extra != NULL ? rs->extra : "");
    if (rs->cluster) /* without cluster-port it is port + 10000, which may be none */
        (void)fprintf(f, "cluster-enabled yes\ncluster-node-timeout 2000\ncluster-port %d\n",
                      rs->bus_port);
    if (rs->password != NULL)
        (void)fprintf(f, "requirepass %s\nmasterauth %s\n", rs->password, rs->password);
    if (rs->tls)
        (void)fprintf(f,
                      "tls-port %d\ntls-ca-cert-file %s\ntls-cert-file %s\ntls-key-file %s\n"
                      "tls-auth-clients no\n",
                      rs->tls_port, rs->ca, rs->cert, rs->key);
    return fclose(f) == 0;
}

/* Starts it, at first in a folder and on ports of its own, later where it was; false when it cannot be, and why is in
 * FOLDER/log. */
__attribute__((__unused__)) static bool redis_server_start(struct redis_server *rs)
{
    char log[96], conf[96];
    const char *program = redis_server_program();
    if (program == NULL)
        return false;
    if (rs->folder[0] == '\0') {
        const char *sign = rs->password != NULL ? "@" : "";
        const char *secret = rs->password != NULL ? rs->password : "";
        const char *colon = rs->password != NULL ? ":" : "";
        if (!server_folder(rs->folder, sizeof rs->folder) || (rs->port = server_free_port()) == 0)
            return false;
        (void)snprintf(rs->path, sizeof rs->path, "%s/redis.sock", rs->folder);
        if (rs->cluster && (rs->bus_port = server_free_port()) == 0)
            return false;
        if (rs->tls && (!redis_server_certificate(rs) || (rs->tls_port = server_free_port()) == 0))
            return false;
        (void)snprintf(rs->url, sizeof rs->url, "redis://%s%s%s127.0.0.1:%d", colon, secret, sign,
                       rs->port);
        (void)snprintf(rs->unix_url, sizeof rs->unix_url, "unix://%s%s%s%s", colon, secret, sign,
                       rs->path);
        (void)snprintf(rs->tls_url, sizeof rs->tls_url, "rediss://%s%s%slocalhost:%d/0?ca=%s",
                       colon, secret, sign, rs->tls_port, rs->ca);
        if (!redis_server_configure(rs))
            return false;
    }
    (void)snprintf(conf, sizeof conf, "%s/redis.conf", rs->folder);
    (void)snprintf(log, sizeof log, "%s/log", rs->folder);
    char *const argv[] = {(char *)(uintptr_t)program, conf, NULL};
    (void)unlink(rs->path); /* left by one that was killed */
    rs->pid = server_spawn(argv, log, -1);
    return rs->pid > 0 && redis_server_answers(rs);
}

/* Kills it as a crash does; it may be started again. */
__attribute__((__unused__)) static void redis_server_kill(struct redis_server *rs)
{
    server_end(rs->pid, SIGKILL);
    rs->pid = 0;
}

__attribute__((__unused__)) static bool redis_server_restart(struct redis_server *rs)
{
    redis_server_kill(rs);
    return redis_server_start(rs);
}

/* The end, with its folder. */
__attribute__((__unused__)) static void redis_server_stop(struct redis_server *rs)
{
    redis_server_kill(rs);
    if (rs->folder[0] != '\0')
        server_remove(rs->folder);
    rs->folder[0] = '\0';
}

/* Starts n servers as one cluster, the 16384 slots in n equal parts; .cluster is set, .tls must not be. */
__attribute__((__unused__)) static bool redis_cluster_start(struct redis_server *nodes, size_t n)
{
    char request[128], answer[1024];
    for (size_t i = 0; i < n; i++) {
        nodes[i].cluster = true;
        if (!redis_server_start(&nodes[i]))
            return false;
        (void)snprintf(request, sizeof request, "CLUSTER ADDSLOTSRANGE %zu %zu\r\n", i * 16384 / n,
                       (i + 1) * 16384 / n - 1);
        if (!redis_server_ask(&nodes[i], request, answer, sizeof answer) || answer[0] != '+')
            return false;
        (void)snprintf(request, sizeof request, "CLUSTER SET-CONFIG-EPOCH %zu\r\n", i + 1);
        (void)redis_server_ask(&nodes[i], request, answer, sizeof answer);
        (void)snprintf(request, sizeof request, "CLUSTER MEET 127.0.0.1 %d %d\r\n", nodes[0].port,
                       nodes[0].bus_port);
        if (i != 0 &&
            (!redis_server_ask(&nodes[i], request, answer, sizeof answer) || answer[0] != '+'))
            return false;
    }
    for (int wait = 0; wait < 4000; wait++) {
        size_t n_ok = 0;
        for (size_t i = 0; i < n; i++) {
            char known[48];
            (void)snprintf(known, sizeof known, "cluster_known_nodes:%zu\r", n);
            n_ok += redis_server_ask(&nodes[i], "CLUSTER INFO\r\n", answer, sizeof answer) &&
                    strstr(answer, "cluster_state:ok") != NULL && strstr(answer, known) != NULL &&
                    strstr(answer, "cluster_slots_assigned:16384\r") != NULL;
        }
        if (n_ok == n)
            return true;
        server_nap_ms(5);
    }
    return false;
}

#endif /* TESTS_REDIS_SERVER_H */
