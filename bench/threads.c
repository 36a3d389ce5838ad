/* See threads.h. */
#define _GNU_SOURCE
#include "threads.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Latencies by size: 64 steps an octave, so a step is at most 1.6 % wide. */
enum { STEP_BITS = 6, N_STEPS = 40 << STEP_BITS, MEMORY_STRIDE = 16 };

typedef struct histogram {
    uint64_t n[N_STEPS];
    uint64_t total;
} histogram;

typedef struct looper {
    pthread_t id;
    unsigned number;
    uint64_t n_loads;  /* in the measured stretch */
    uint64_t sum;      /* of the keys asked for there */
    uint64_t wrong;    /* values that were not the key's, at any time */
    uint64_t failed;   /* loads without a value */
    uint64_t cpu_ns;   /* of this thread, in the measured stretch */
    call_counts calls; /* that this thread made there */
    histogram added;   /* what a load took beyond the call itself, in ns */
} looper;

static const threads_contender *contender;
static looper loopers[THREADS_MAX];
static const char *server_path; /* server= */
static uint64_t settle_ns;
static uint64_t in_flight;

static struct {
    unsigned n_threads;
    unsigned stride;   /* one of so many loads is timed */
    uint64_t call_ns;  /* of one call, 0 in memory */
    uint64_t begin_ns; /* the measured stretch */
    uint64_t end_ns;
} plan;

static unsigned step_of(uint64_t ns)
{
    unsigned octave = 0;
    while (ns >= 2U << STEP_BITS) {
        ns >>= 1;
        octave++;
    }
    unsigned step = (octave << STEP_BITS) + (unsigned)ns;
    return step < N_STEPS ? step : N_STEPS - 1;
}

/* The middle of a step. */
static uint64_t step_ns(unsigned step)
{
    unsigned octave = step < 2U << STEP_BITS ? 0 : (step >> STEP_BITS) - 1;
    uint64_t low = (uint64_t)(step - (octave << STEP_BITS)) << octave;
    return low + ((UINT64_C(1) << octave) >> 1);
}

static uint64_t percentile(const histogram *h, unsigned percent)
{
    uint64_t rank = h->total * percent / 100;
    uint64_t seen = 0;
    for (unsigned i = 0; i < N_STEPS; i++) {
        seen += h->n[i];
        if (seen > rank) {
            return step_ns(i);
        }
    }
    return 0;
}

/* As in load_ours.c: small integers without a pattern, distinct up to 2^30. */
static uint64_t key_number(uint64_t i)
{
    return (i * UINT64_C(2654435761)) & ((UINT64_C(1) << 30) - 1);
}

/* One load, checked. */
static uint64_t load_next(looper *self, uint64_t *at)
{
    call_value v;
    uint64_t key = key_number(*at);
    *at += plan.n_threads;
    if (!contender->load(self->number, key, &v)) {
        self->failed++;
        return key;
    }
    call_value expected = call_value_of(key);
    self->wrong += memcmp(&v, &expected, sizeof v) != 0;
    return key;
}

static uint64_t thread_cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
}

static void *loop(void *arg)
{
    looper *self = arg;
    uint64_t at = self->number;
    bool measured = false;
    /* On a busy machine the stretch may be over before this thread got to run: then one load counts. */
    for (uint64_t start_ns = bench_now_ns(); start_ns < plan.end_ns || !measured;) {
        if (!measured && start_ns >= plan.begin_ns) {
            measured = true;
            call_counts_reset();
            self->cpu_ns = thread_cpu_ns();
            start_ns = bench_now_ns();
        }
        uint64_t sum = load_next(self, &at);
        uint64_t stop_ns = bench_now_ns();
        uint64_t took_ns = stop_ns - start_ns;
        for (unsigned i = 1; i < plan.stride; i++) {
            sum += load_next(self, &at);
        }
        if (measured) {
            uint64_t added_ns = took_ns > plan.call_ns ? took_ns - plan.call_ns : 0;
            self->added.n[step_of(added_ns)]++;
            self->added.total++;
            self->n_loads += plan.stride;
            self->sum += sum;
        }
        start_ns = plan.stride == 1 ? stop_ns : bench_now_ns();
    }
    self->cpu_ns = thread_cpu_ns() - self->cpu_ns;
    self->calls = call_counts_mine();
    return NULL;
}

/* Adds up what the threads found, and answers it. */
static void answer(bench_reply *reply)
{
    static looper all;
    memset(&all, 0, sizeof all);
    for (unsigned t = 0; t < plan.n_threads; t++) {
        const looper *one = &loopers[t];
        all.n_loads += one->n_loads;
        all.sum += one->sum;
        all.wrong += one->wrong;
        all.failed += one->failed;
        all.cpu_ns += one->cpu_ns;
        all.calls.calls += one->calls.calls;
        all.calls.keys += one->calls.keys;
        if (one->calls.largest > all.calls.largest) {
            all.calls.largest = one->calls.largest;
        }
        all.added.total += one->added.total;
        for (unsigned i = 0; i < N_STEPS; i++) {
            all.added.n[i] += one->added.n[i];
        }
    }
    if (all.wrong + all.failed != 0 || all.n_loads == 0) {
        bench_fail(reply, "%" PRIu64 " wrong values, %" PRIu64 " failed loads in %" PRIu64,
                   all.wrong, all.failed, all.n_loads);
    }
    bench_put(reply, "n_ops", all.n_loads);
    bench_put(reply, "wall_ns", plan.end_ns - plan.begin_ns);
    bench_put(reply, "checksum", all.sum);
    bench_put(reply, "calls", all.calls.calls);
    bench_put(reply, "keys", all.calls.keys);
    bench_put(reply, "largest", all.calls.largest);
    bench_put(reply, "p50_ns", percentile(&all.added, 50));
    bench_put(reply, "p99_ns", percentile(&all.added, 99));
    bench_put(reply, "used_ns", all.cpu_ns);
}

/* threads, memory, ms, warm_ms: one round. The contender begins anew in each, so all keys are new. */
static void run(const bench_args *args, bench_reply *reply)
{
    bool memory = bench_arg(args, "memory", 0) != 0;
    plan.n_threads = (unsigned)bench_arg(args, "threads", 1);
    plan.stride = memory ? MEMORY_STRIDE : 1;
    plan.call_ns = memory ? 0 : CALL_NS;
    if (plan.n_threads == 0 || plan.n_threads > THREADS_MAX) {
        bench_fail(reply, "1 to %d threads", THREADS_MAX);
        return;
    }
    threads_setting setting = {memory ? NULL : server_path, plan.n_threads, settle_ns, in_flight};
    contender->open(&setting, reply);
    if (reply->error[0] != '\0') {
        return;
    }
    memset(loopers, 0, sizeof loopers);
    plan.begin_ns = bench_now_ns() + bench_arg(args, "warm_ms", 50) * UINT64_C(1000000);
    plan.end_ns = plan.begin_ns + bench_arg(args, "ms", 300) * UINT64_C(1000000);
    for (unsigned t = 0; t < plan.n_threads; t++) {
        loopers[t].number = t;
        if (pthread_create(&loopers[t].id, NULL, loop, &loopers[t]) != 0) {
            printf("error no thread\n");
            exit(1);
        }
    }
    for (unsigned t = 0; t < plan.n_threads; t++) {
        pthread_join(loopers[t].id, NULL);
    }
    contender->close(reply);
    answer(reply);
}

/* Starts the call_server beside this program; it ends when this process does. */
static const char *start_server(const char *self)
{
    static char path[64];
    char program[1024];
    const char *slash = strrchr(self, '/');
    snprintf(program, sizeof program, "%.*s/call_server", slash == NULL ? 1 : (int)(slash - self),
             slash == NULL ? "." : self);
    snprintf(path, sizeof path, "/tmp/call_server.%ld", (long)getpid());
    int input[2];
    int output[2];
    char ready[16];
    if (pipe(input) != 0 || pipe(output) != 0) {
        return NULL;
    }
    pid_t child = fork();
    if (child == 0) {
        dup2(input[0], 0);
        dup2(output[1], 1);
        close(input[1]);
        execl(program, program, path, (char *)NULL);
        fprintf(stderr, "%s: cannot be run\n", program);
        _exit(1);
    }
    close(input[0]);
    close(output[1]);
    return child > 0 && read(output[0], ready, sizeof ready) > 0 ? path : NULL;
}

static int run_by_hand(const bench_args *args)
{
    bench_reply reply;
    memset(&reply, 0, sizeof reply);
    run(args, &reply);
    if (reply.error[0] != '\0') {
        printf("error %s\n", reply.error);
        return 1;
    }
    bench_args answer_of;
    answer_of.n = reply.n;
    memcpy(answer_of.field, reply.field, sizeof reply.field);
    double n = (double)bench_arg(&answer_of, "n_ops", 1);
    double calls = (double)bench_arg(&answer_of, "calls", 1);
    printf("%-20s loads/s %10.0f  calls/load %.3f  batch mean %6.2f max %4" PRIu64
           "  added us p50 %7.2f p99 %7.2f  cpu us/load %6.3f\n",
           contender->name, n * 1e9 / (double)bench_arg(&answer_of, "wall_ns", 1), calls / n,
           calls == 0 ? 0 : (double)bench_arg(&answer_of, "keys", 0) / calls,
           bench_arg(&answer_of, "largest", 0), (double)bench_arg(&answer_of, "p50_ns", 0) / 1e3,
           (double)bench_arg(&answer_of, "p99_ns", 0) / 1e3,
           (double)bench_arg(&answer_of, "used_ns", 0) / 1e3 / n);
    return 0;
}

int threads_main(int argc, char **argv, const threads_contender *given)
{
    static const bench_command commands[] = {{"run", run}};
    static threads_contender named;
    bench_args args = {.n = 0};
    bool by_hand = false;
    named = *given;
    for (int i = 1; i < argc; i++) {
        const char *value = strchr(argv[i], '=');
        if (value++ == NULL || args.n == BENCH_MAX_FIELDS) {
            fprintf(stderr, "%s: not name=value\n", argv[i]);
            return 2;
        }
        bench_field *f = &args.field[args.n++];
        snprintf(f->name, sizeof f->name, "%.*s", (int)(value - argv[i] - 1), argv[i]);
        f->value = strtoull(value, NULL, 10);
        by_hand = by_hand || strcmp(f->name, "threads") == 0;
        if (strcmp(f->name, "server") == 0) {
            server_path = value;
        } else if (strcmp(f->name, "name") == 0) {
            named.name = value;
        } else if (strcmp(f->name, "note") == 0) {
            named.note = value;
        }
    }
    contender = &named;
    settle_ns = bench_arg(&args, "settle_ns", 0);
    in_flight = bench_arg(&args, "in_flight", 0);
    if (server_path == NULL && bench_arg(&args, "memory", 0) == 0) {
        server_path = start_server(argv[0]);
        if (server_path == NULL) {
            fprintf(stderr, "no call_server\n");
            return 1;
        }
    }
    return by_hand ? run_by_hand(&args) : bench_serve(named.name, named.note, commands, 1);
}
