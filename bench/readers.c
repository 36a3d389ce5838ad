/* The part of `make bench-readers` that every contender shares: keys, churn, threads, rounds.
 *
 * A round starts its threads, each on a processor of its own; each looks its own list of live keys up in
 * random order once, to warm up, waits for the others, and then does the measured passes. What counts is the
 * time that the threads were at it, added up, by all their operations: by the clock, so that waiting for a
 * lock counts.
 */
#define _GNU_SOURCE
#include "readers.h"

#include <pthread.h>
#include <sched.h>
#include <time.h>

enum { MAX_THREADS = 8 };

typedef struct reader {
    pthread_t id;
    unsigned number;
    uint64_t *keys;
    uint8_t *writes;    /* NULL when nothing is written */
    uint64_t reads_sum; /* of the keys that one pass looks up */
    uint64_t n_reads;   /* in one pass */
    uint64_t wall_ns;
    uint64_t cpu_ns;
    readers_result result;
} reader;

static struct {
    bool open;
    size_t capacity;
    uint64_t next; /* number of the next key */
    uint64_t *live;
    size_t n_live;
    reader readers[MAX_THREADS];
    size_t n_list; /* keys of a reader */
    uint64_t write_pct;
    uint64_t passes;
    uint64_t stamp; /* of the next writes */
    unsigned n_threads;
    unsigned n_waiting; /* at the gate */
} s;

static uint64_t key_number(uint64_t i)
{
    return bench_mix(i + 1);
}

static void drop_lists(void)
{
    for (unsigned i = 0; i < MAX_THREADS; i++) {
        bench_pages_free(s.readers[i].keys, s.n_list * sizeof *s.readers[i].keys);
        bench_pages_free(s.readers[i].writes, s.n_list);
        s.readers[i].keys = NULL;
        s.readers[i].writes = NULL;
    }
    s.n_list = 0;
}

static void drop(const bench_args *args, bench_reply *reply)
{
    (void)args;
    (void)reply;
    if (s.open) {
        readers_destroy();
        bench_pages_free(s.live, s.capacity * sizeof *s.live);
    }
    s.open = false;
    drop_lists();
}

/* Newest first: shards fill unevenly, so a few keys older than the capacity are there and some newer ones
 * are not. */
static void find_live(void)
{
    s.n_live = 0;
    for (uint64_t i = s.next; i > 0 && s.n_live < s.capacity && s.next - i < 4 * s.capacity; i--) {
        readers_result r = {0, 0, 0};
        uint64_t key = key_number(i - 1);
        readers_work(&key, NULL, 1, 0, &r);
        if (r.n_found == 1) {
            s.live[s.n_live++] = key;
        }
    }
}

/* capacity, churn (times the capacity): fills the table and churns it. */
static void setup(const bench_args *args, bench_reply *reply)
{
    drop(args, reply);
    s.capacity = (size_t)bench_arg(args, "capacity", 1000);
    if (!readers_create(s.capacity)) {
        bench_fail(reply, "the table could not be made");
        return;
    }
    s.open = true;
    s.live = bench_pages(s.capacity * sizeof *s.live);
    uint64_t end = s.capacity * (1 + bench_arg(args, "churn", 20));
    readers_enter();
    for (s.next = 0; s.next < end; s.next++) {
        readers_put(s.next < s.capacity ? 0 : key_number(s.next - s.capacity), key_number(s.next));
    }
    find_live();
    readers_leave();
    readers_settle();
    s.stamp = UINT64_C(1) << 40;
    bench_put(reply, "n_live", s.n_live);
    bench_put(reply, "load_pct", readers_load_pct());
    if (s.n_live == 0) {
        bench_fail(reply, "no live key after the churn");
    }
}

/* list, write_pct: lays out what each thread asks for. */
static void plan(const bench_args *args, bench_reply *reply)
{
    (void)reply;
    drop_lists();
    s.n_list = (size_t)bench_arg(args, "list", 1 << 16);
    s.write_pct = bench_arg(args, "write_pct", 0);
    for (unsigned t = 0; t < MAX_THREADS; t++) {
        reader *r = &s.readers[t];
        r->number = t;
        r->keys = bench_pages(s.n_list * sizeof *r->keys);
        r->writes = s.write_pct == 0 ? NULL : bench_pages(s.n_list);
        r->reads_sum = 0;
        r->n_reads = 0;
        for (size_t i = 0; i < s.n_list; i++) {
            uint64_t dice = bench_mix((UINT64_C(0x10000000000) * (t + 1)) + i);
            r->keys[i] = s.live[dice % s.n_live];
            bool write = bench_mix(dice) % 100 < s.write_pct;
            if (r->writes != NULL) {
                r->writes[i] = write;
            }
            if (!write) {
                r->n_reads++;
                r->reads_sum += r->keys[i];
            }
        }
    }
}

static uint64_t thread_cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
}

/* Processor number n of those that this process may use. */
static void pin(unsigned n)
{
    cpu_set_t may;
    cpu_set_t one;
    CPU_ZERO(&one);
    if (sched_getaffinity(0, sizeof may, &may) != 0) {
        return;
    }
    n %= (unsigned)CPU_COUNT(&may);
    for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (CPU_ISSET(cpu, &may) && n-- == 0) {
            CPU_SET(cpu, &one);
            sched_setaffinity(0, sizeof one, &one);
            return;
        }
    }
}

static void *work(void *arg)
{
    reader *r = arg;
    uint64_t stamp = s.stamp + ((uint64_t)r->number << 32);
    readers_result warm = {0, 0, 0};
    pin(r->number);
    readers_enter();
    readers_work(r->keys, r->writes, s.n_list, stamp, &warm);
    r->result.torn |= warm.torn;
    __atomic_add_fetch(&s.n_waiting, 1, __ATOMIC_SEQ_CST);
    while (__atomic_load_n(&s.n_waiting, __ATOMIC_ACQUIRE) != s.n_threads) {
        sched_yield();
    }
    uint64_t wall_ns = bench_now_ns();
    uint64_t cpu_ns = thread_cpu_ns();
    for (uint64_t p = 0; p < s.passes; p++) {
        readers_work(r->keys, r->writes, s.n_list, stamp + (p + 1) * s.n_list, &r->result);
    }
    r->wall_ns = bench_now_ns() - wall_ns;
    r->cpu_ns = thread_cpu_ns() - cpu_ns;
    readers_leave();
    return NULL;
}

/* threads, passes: one round. */
static void run(const bench_args *args, bench_reply *reply)
{
    s.n_threads = (unsigned)bench_arg(args, "threads", 1);
    s.passes = bench_arg(args, "passes", 1);
    s.n_waiting = 0;
    if (s.n_threads > MAX_THREADS || s.n_list == 0) {
        bench_fail(reply, "run: after plan, and with at most %d threads", MAX_THREADS);
        return;
    }
    for (unsigned t = 0; t < s.n_threads; t++) {
        s.readers[t].result = (readers_result){0, 0, 0};
        if (pthread_create(&s.readers[t].id, NULL, work, &s.readers[t]) != 0) {
            bench_fail(reply, "no thread");
            return;
        }
    }
    uint64_t sum = 0;
    for (unsigned t = 0; t < s.n_threads; t++) {
        reader *r = &s.readers[t];
        pthread_join(r->id, NULL);
        reply->wall_ns += r->wall_ns;
        reply->cpu_ns += r->cpu_ns;
        sum += r->result.sum;
        if (r->result.n_found != s.passes * r->n_reads) {
            bench_fail(reply, "found %llu of %llu keys that are there",
                       (unsigned long long)r->result.n_found,
                       (unsigned long long)(s.passes * r->n_reads));
        } else if (r->result.torn != 0 || r->result.sum != s.passes * r->reads_sum) {
            bench_fail(reply, "a value was torn, or another key's");
        }
    }
    s.stamp += UINT64_C(1) << 36;
    bench_put_measured(reply, s.n_threads * s.passes * s.n_list, sum);
}

int main(void)
{
    static const bench_command commands[] = {
        {"setup", setup}, {"plan", plan}, {"run", run}, {"drop", drop}};
    return bench_serve(readers_name, readers_note, commands, sizeof commands / sizeof commands[0]);
}
