/* server.h -- real servers for tests: a folder of their own, a process that ends with the test.
 *
 * What is special to one kind of server lies beside this: redis_server.h, postgres_server.h. Nothing here asserts; a server
 * that cannot be had is for the suite to fail on.
 */
#ifndef TESTS_SERVER_H
#define TESTS_SERVER_H

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* A folder that is removed by server_remove; short, because socket paths are. False: errno says why. */
__attribute__((__unused__)) static bool server_folder(char *path, size_t cap_bytes)
{
    const char *under = getenv("TMPDIR");
    int n = snprintf(path, cap_bytes, "%s/dload.XXXXXX",
                     under != NULL && strlen(under) < 40 ? under : "/tmp");
    return n > 0 && (size_t)n < cap_bytes && mkdtemp(path) != NULL;
}

__attribute__((__unused__)) static void server_nap_ms(long ms)
{
    struct timespec ts = {ms / 1000, (ms % 1000) * 1000000};
    while (nanosleep(&ts, &ts) != 0 && errno == EINTR)
        continue;
}

/* Runs argv[0] with what it says going to log; it is killed when this process ends, however that
 * happens. user >= 0: as that user and group. Returns its pid, or -1. */
__attribute__((__unused__)) static pid_t server_spawn(char *const argv[], const char *log, int user)
{
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid != 0)
        return pid;
    int fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0644);
    int null = open("/dev/null", O_RDONLY);
    if (fd < 0 || null < 0 || dup2(null, 0) < 0 || dup2(fd, 1) < 0 || dup2(fd, 2) < 0)
        _exit(126);
    if (user >= 0 && (setgid((gid_t)user) != 0 || setuid((uid_t)user) != 0))
        _exit(126);
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* after setuid, which clears it */
    if (getppid() != parent)
        _exit(126);
    (void)execvp(argv[0], argv);
    _exit(127);
}

/* Runs a command to its end and returns its exit status, or -1. */
__attribute__((__unused__)) static int server_command(char *const argv[], const char *log, int user)
{
    int status = 0;
    pid_t pid = server_spawn(argv, log, user);
    if (pid < 0)
        return -1;
    while (waitpid(pid, &status, 0) < 0) {
        if (errno != EINTR)
            return -1;
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* Ends a server by a signal and waits for it. */
__attribute__((__unused__)) static void server_end(pid_t pid, int signo)
{
    int status = 0;
    if (pid <= 0)
        return;
    (void)kill(pid, SIGCONT);
    (void)kill(pid, signo);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        continue;
}

/* Removes a folder of server_folder and all in it. */
__attribute__((__unused__)) static void server_remove(const char *path)
{
    char *const argv[] = {(char *)(uintptr_t) "rm", (char *)(uintptr_t) "-rf",
                          (char *)(uintptr_t)path, NULL};
    (void)server_command(argv, "/dev/null", -1);
}

/* A port of 127.0.0.1 that nobody listened at just now; 0 when there is none. */
__attribute__((__unused__)) static int server_free_port(void)
{
    struct sockaddr_in at;
    socklen_t n_bytes = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    memset(&at, 0, sizeof at);
    at.sin_family = AF_INET;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    bool ok = fd >= 0 && bind(fd, (struct sockaddr *)(void *)&at, sizeof at) == 0 &&
              getsockname(fd, (struct sockaddr *)(void *)&at, &n_bytes) == 0;
    if (fd >= 0)
        (void)close(fd);
    return ok ? ntohs(at.sin_port) : 0;
}

#endif /* TESTS_SERVER_H */
