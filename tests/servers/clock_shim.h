/* clock_shim.h -- a server whose wall clock a test may set: a library that is loaded in front of its C library.
 *
 *     struct clock_shim clock;
 *     assert_true(clock_shim_make(&clock));
 *     clock_shim_arm(&clock);                   // servers that are started from here on have it
 *     assert_true(redis_server_start(&rs));
 *     clock_shim_disarm();
 *     clock_shim_set(&clock, 60);               // a minute ahead, from now on
 *     ...
 *     clock_shim_end(&clock);
 *
 * gettimeofday alone is replaced, which is what servers ask for their expiries; the monotonic clock goes on as it did.
 */
#ifndef TESTS_CLOCK_SHIM_H
#define TESTS_CLOCK_SHIM_H

#include "server.h"

#include <sys/mman.h>

struct clock_shim {
    char folder[64], library[96], file[96];
    long long *ahead_s; /* shared with the server */
};

static const char clock_shim_source[] =
    "#define _GNU_SOURCE\n"
    "#include <fcntl.h>\n#include <stdlib.h>\n#include <sys/mman.h>\n#include "
    "<sys/time.h>\n#include <time.h>\n"
    "static volatile long long *ahead;\n"
    "int gettimeofday(struct timeval *tv, void *zone)\n{\n"
    "    struct timespec ts;\n    (void)zone;\n"
    "    if (ahead == NULL) {\n"
    "        int fd = open(getenv(\"CLOCK_SHIM\"), O_RDONLY | O_CLOEXEC);\n"
    "        void *p = mmap(NULL, sizeof *ahead, PROT_READ, MAP_SHARED, fd, 0);\n"
    "        if (fd < 0 || p == MAP_FAILED) abort();\n"
    "        ahead = p;\n    }\n"
    "    clock_gettime(CLOCK_REALTIME, &ts);\n"
    "    tv->tv_sec = ts.tv_sec + (time_t)*ahead;\n    tv->tv_usec = ts.tv_nsec / 1000;\n"
    "    return 0;\n}\n";

/* Compiles it; false: no compiler. */
__attribute__((__unused__)) static bool clock_shim_make(struct clock_shim *c)
{
    char source[96], log[96];
    const char *cc = getenv("CC") != NULL ? getenv("CC") : "cc";
    const long long none = 0;
    if (!server_folder(c->folder, sizeof c->folder))
        return false;
    (void)snprintf(source, sizeof source, "%s/shim.c", c->folder);
    (void)snprintf(c->library, sizeof c->library, "%s/shim.so", c->folder);
    (void)snprintf(c->file, sizeof c->file, "%s/ahead", c->folder);
    (void)snprintf(log, sizeof log, "%s/log", c->folder);
    int fd = open(source, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    int ahead = open(c->file, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    char *const argv[] = {(char *)(uintptr_t)cc,
                          (char *)(uintptr_t) "-shared",
                          (char *)(uintptr_t) "-fPIC",
                          (char *)(uintptr_t) "-o",
                          c->library,
                          source,
                          NULL};
    const ssize_t n = (ssize_t)sizeof clock_shim_source - 1;
    bool ok = fd >= 0 && ahead >= 0 && write(fd, clock_shim_source, (size_t)n) == n &&
              write(ahead, &none, sizeof none) == (ssize_t)sizeof none && close(fd) == 0 &&
              server_command(argv, log, -1) == 0;
    c->ahead_s = ok ? mmap(NULL, sizeof *c->ahead_s, PROT_READ | PROT_WRITE, MAP_SHARED, ahead, 0)
                    : MAP_FAILED;
    return c->ahead_s != MAP_FAILED && close(ahead) == 0;
}

__attribute__((__unused__)) static void clock_shim_arm(const struct clock_shim *c)
{
    (void)setenv("CLOCK_SHIM", c->file, 1);
    (void)setenv("LD_PRELOAD", c->library, 1);
}

__attribute__((__unused__)) static void clock_shim_disarm(void)
{
    (void)unsetenv("LD_PRELOAD");
}

/* So many seconds ahead of the real clock; negative = behind. */
__attribute__((__unused__)) static void clock_shim_set(struct clock_shim *c, long long ahead_s)
{
    __atomic_store_n(c->ahead_s, ahead_s, __ATOMIC_SEQ_CST);
}

__attribute__((__unused__)) static void clock_shim_end(struct clock_shim *c)
{
    (void)munmap(c->ahead_s, sizeof *c->ahead_s);
    server_remove(c->folder);
}

#endif /* TESTS_CLOCK_SHIM_H */
