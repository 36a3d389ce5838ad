/* The harness of every benchmark: a contender is a process that serves commands.
 *
 * bench/run starts one process per contender, keeps them all alive, and asks them in turn (A B C,
 * then C B A, ...) to measure one round. So each contender keeps its own state and allocator, only
 * one of them works at a time, and whatever disturbs the machine disturbs neighbours alike. C, C++
 * and JavaScript contenders speak the same lines:
 *
 *   contender  ->  name <text> / note <text> / compiler <text> / flags <text> / ready
 *   driver     ->  <command> key=number key=number ...
 *   contender  ->  ok key=number ...          or          error <text>
 *
 * A measured command answers n_ops, wall_ns, cpu_ns and checksum; bench/run fails when contenders
 * that did the same work disagree on the checksum. The process ends when its input ends.
 */
#ifndef BENCH_HARNESS_H
#define BENCH_HARNESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { BENCH_MAX_FIELDS = 16, BENCH_ERROR_BYTES = 200 };

/* One key=number pair of a command or of an answer. */
typedef struct bench_field {
    char name[24];
    uint64_t value;
} bench_field;

/* The arguments of a command, as the driver sent them. */
typedef struct bench_args {
    bench_field field[BENCH_MAX_FIELDS];
    size_t n;
} bench_args;

/* What a command answers. Filled by bench_put, bench_stop and bench_fail. */
typedef struct bench_reply {
    bench_field field[BENCH_MAX_FIELDS];
    size_t n;
    uint64_t wall_start_ns; /* set by bench_start */
    uint64_t cpu_start_ns;
    uint64_t wall_ns; /* measured so far, grown by bench_pause */
    uint64_t cpu_ns;
    char error[BENCH_ERROR_BYTES]; /* "" = none */
} bench_reply;

typedef struct bench_command {
    const char *name;
    void (*run)(const bench_args *args, bench_reply *reply);
} bench_command;

/* Serves commands from standard input until it ends. Returns main()'s exit status. */
int bench_serve(const char *name, const char *note, const bench_command *commands,
                size_t n_commands);

/* The number that the driver sent as name, or fallback. */
uint64_t bench_arg(const bench_args *args, const char *name, uint64_t fallback);

/* Adds one number to the answer. */
void bench_put(bench_reply *reply, const char *name, uint64_t value);

/* Turns the answer into an error; the first one wins. The driver prints it and fails. */
void bench_fail(bench_reply *reply, const char *format, ...)
#if defined(__GNUC__)
    __attribute__((format(printf, 2, 3)))
#endif
    ;

/* Mark the begin and the end of what is measured; bench_pause leaves something out until the next
 * bench_start. bench_put_measured answers n_ops, wall_ns, cpu_ns (of the process: the driver repeats
 * a round that was not running all the time) and checksum; bench_stop is pause and put. */
void bench_start(bench_reply *reply);
void bench_pause(bench_reply *reply);
void bench_put_measured(bench_reply *reply, uint64_t n_ops, uint64_t checksum);
void bench_stop(bench_reply *reply, uint64_t n_ops, uint64_t checksum);

uint64_t bench_now_ns(void);

/* Zeroed memory of the harness's own, from the kernel, so that it never shows in bench_heap_bytes.
 * Ends the process with a message when there is none: a benchmark has nothing better to do. */
void *bench_pages(size_t bytes);
void bench_pages_free(void *pages, size_t bytes);

/* Bytes that malloc has handed out to this process, its headers included. */
size_t bench_heap_bytes(void);

/* A bijection on 64-bit numbers (the finaliser of splitmix64): distinct numbers give distinct,
 * random-looking keys, so that no benchmark needs a table to keep its keys apart. */
static inline uint64_t bench_mix(uint64_t x)
{
    x += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

#ifdef __cplusplus
}
#endif

#endif /* BENCH_HARNESS_H */
