/* The commands of bench-wheel that every contender shares. */
#include "wheel.h"

static struct {
    void *timers;
    wheel_round round;
} s;

static void drop(const bench_args *args, bench_reply *reply)
{
    (void)args;
    (void)reply;
    if (s.timers) {
        wheel_close(s.timers);
        bench_pages_free(s.round.out, s.round.n_slots * sizeof *s.round.out);
    }
    s.timers = NULL;
}

/* slots, longest (ticks), each (how many expire at a look): arms every slot at random, and lets time
 * pass until the first of them are forgotten. The answer has a checksum of all of that, because rounds
 * that are repeated leave contenders at different times. */
static void setup(const bench_args *args, bench_reply *reply)
{
    drop(args, reply);
    wheel_round *r = &s.round;
    r->n_slots = (uint32_t)bench_arg(args, "slots", 1000);
    r->longest = bench_arg(args, "longest", 1000);
    r->step = r->longest * bench_arg(args, "each", 32) / 2 / r->n_slots;
    r->step = r->step ? r->step : 1;
    r->now = 12345;
    r->checksum = 0;
    r->out = bench_pages(r->n_slots * sizeof *r->out);
    s.timers = wheel_open(r);
    if (!s.timers) {
        bench_fail(reply, "no memory");
        return;
    }
    r->n_ops = 2 * (uint64_t)r->n_slots;
    wheel_pairs(s.timers, r);
    r->n_ops = r->n_slots / 2 + 1000;
    wheel_sets(s.timers, r);
    wheel_pairs(s.timers, r);
    bench_put(reply, "checksum", r->checksum);
    bench_put(reply, "bytes", wheel_size(s.timers));
}

/* ops: one round of pairs, or of sets. */
static void measure(const bench_args *args, bench_reply *reply,
                    void (*run)(void *timers, wheel_round *r))
{
    wheel_round *r = &s.round;
    uint64_t n_ops = bench_arg(args, "ops", 100000);
    r->n_ops = n_ops / 8; /* other processes had the caches in between */
    run(s.timers, r);
    r->n_ops = n_ops;
    r->checksum = 0;
    bench_start(reply);
    run(s.timers, r);
    bench_stop(reply, r->n_done, r->checksum);
}

static void pairs(const bench_args *args, bench_reply *reply)
{
    measure(args, reply, wheel_pairs);
}

static void sets(const bench_args *args, bench_reply *reply)
{
    measure(args, reply, wheel_sets);
}

int main(void)
{
    static const bench_command commands[] = {
        {"setup", setup},
        {"pairs", pairs},
        {"sets", sets},
        {"drop", drop},
    };
    return bench_serve(wheel_name, wheel_note, commands, sizeof commands / sizeof commands[0]);
}
