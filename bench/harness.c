/* See harness.h. */
#define _GNU_SOURCE
#include "harness.h"

#include <inttypes.h>
#include <malloc.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#ifndef BENCH_FLAGS
#define BENCH_FLAGS "unknown"
#endif

static uint64_t clock_ns(clockid_t id)
{
    struct timespec t;
    clock_gettime(id, &t);
    return (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
}

uint64_t bench_now_ns(void)
{
    return clock_ns(CLOCK_MONOTONIC);
}

void bench_start(bench_reply *reply)
{
    reply->cpu_start_ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
    reply->wall_start_ns = clock_ns(CLOCK_MONOTONIC);
}

void bench_pause(bench_reply *reply)
{
    reply->wall_ns += clock_ns(CLOCK_MONOTONIC) - reply->wall_start_ns;
    reply->cpu_ns += clock_ns(CLOCK_PROCESS_CPUTIME_ID) - reply->cpu_start_ns;
}

void bench_stop(bench_reply *reply, uint64_t n_ops, uint64_t checksum)
{
    bench_pause(reply);
    bench_put_measured(reply, n_ops, checksum);
}

void bench_put_measured(bench_reply *reply, uint64_t n_ops, uint64_t checksum)
{
    bench_put(reply, "n_ops", n_ops);
    bench_put(reply, "wall_ns", reply->wall_ns);
    bench_put(reply, "cpu_ns", reply->cpu_ns);
    bench_put(reply, "checksum", checksum);
}

void bench_put(bench_reply *reply, const char *name, uint64_t value)
{
    if (reply->n == BENCH_MAX_FIELDS) {
        bench_fail(reply, "more than %d fields in an answer", BENCH_MAX_FIELDS);
        return;
    }
    bench_field *f = &reply->field[reply->n++];
    snprintf(f->name, sizeof f->name, "%s", name);
    f->value = value;
}

void bench_fail(bench_reply *reply, const char *format, ...)
{
    if (reply->error[0] != '\0') {
        return;
    }
    va_list list;
    va_start(list, format);
    vsnprintf(reply->error, sizeof reply->error, format, list);
    va_end(list);
}

uint64_t bench_arg(const bench_args *args, const char *name, uint64_t fallback)
{
    for (size_t i = 0; i < args->n; i++) {
        if (strcmp(args->field[i].name, name) == 0) {
            return args->field[i].value;
        }
    }
    return fallback;
}

void *bench_pages(size_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) {
        printf("error no memory for %zu bytes of the harness\n", bytes);
        exit(1);
    }
    return p;
}

void bench_pages_free(void *pages, size_t bytes)
{
    if (pages != NULL) {
        munmap(pages, bytes);
    }
}

size_t bench_heap_bytes(void)
{
    struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd;
}

/* Splits "key=number ..." into args; false when a word is not of that form. */
static bool parse_args(char *text, bench_args *args)
{
    args->n = 0;
    for (char *word = strtok(text, " \n"); word != NULL; word = strtok(NULL, " \n")) {
        char *equals = strchr(word, '=');
        char *end = NULL;
        if (equals == NULL || args->n == BENCH_MAX_FIELDS ||
            (size_t)(equals - word) >= sizeof args->field[0].name) {
            return false;
        }
        bench_field *f = &args->field[args->n++];
        memcpy(f->name, word, (size_t)(equals - word));
        f->name[equals - word] = '\0';
        f->value = strtoull(equals + 1, &end, 10);
        if (end == equals + 1 || *end != '\0') {
            return false;
        }
    }
    return true;
}

static void answer(const bench_reply *reply)
{
    if (reply->error[0] != '\0') {
        printf("error %s\n", reply->error);
    } else {
        printf("ok");
        for (size_t i = 0; i < reply->n; i++) {
            printf(" %s=%" PRIu64, reply->field[i].name, reply->field[i].value);
        }
        printf("\n");
    }
    fflush(stdout);
}

int bench_serve(const char *name, const char *note, const bench_command *commands,
                size_t n_commands)
{
#if defined(__clang__)
    const char *compiler = __VERSION__;
#else
    const char *compiler = "gcc " __VERSION__;
#endif
    printf("name %s\nnote %s\ncompiler %s\nflags %s\nready\n", name, note, compiler, BENCH_FLAGS);
    fflush(stdout);
    char line[1024];
    while (fgets(line, sizeof line, stdin) != NULL) {
        bench_reply reply;
        bench_args args;
        memset(&reply, 0, sizeof reply);
        size_t length = strcspn(line, " \n");
        bool last = line[length] != ' ';
        line[length] = '\0';
        const bench_command *found = NULL;
        for (size_t i = 0; i < n_commands; i++) {
            if (strcmp(commands[i].name, line) == 0) {
                found = &commands[i];
            }
        }
        if (found == NULL) {
            bench_fail(&reply, "unknown command %s", line);
        } else if (!parse_args(last ? line + length : line + length + 1, &args)) {
            bench_fail(&reply, "malformed arguments of %s", line);
        } else {
            found->run(&args, &reply);
        }
        answer(&reply);
    }
    return 0;
}
