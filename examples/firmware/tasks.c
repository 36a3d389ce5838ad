/* tasks.c -- the tasks, and the two ways in which they come to their readings. */
#include "tasks.h"

#include "bus.h"
#include "readings.h"

#define ROUND_US 1000u /* the hub looks every millisecond who is due */
#define T(r)     BUS_REG(BUS_THERMO, r)
#define W(r)     BUS_REG(BUS_WEATHER, r)
#define M(r)     BUS_REG(BUS_MOTION, r)

static const uint16_t balance_regs[] = {M(0), M(1), M(2), M(3), M(4), M(5)};
static const uint16_t gesture_regs[] = {M(0), M(1), M(2), M(6)};
static const uint16_t alarm_regs[] = {T(0), T(1), T(2), T(3), T(4), T(5), T(6), T(7)};
static const uint16_t fan_regs[] = {T(0), T(1), T(2), T(3)};
static const uint16_t display_regs[] = {T(0), T(3), W(0), W(1), W(2), M(7)};
static const uint16_t radio_regs[TASKS_MAX_REGS] = {T(0), T(1), T(2), T(3), T(4), T(5), T(6), T(7),
                                                    W(0), W(1), W(2), W(3), W(4), W(5), M(0), M(1),
                                                    M(2), M(3), M(4), M(5), M(6), M(7)};

#define TASK(name, period_us, regs)                           \
    {                                                         \
        name, period_us, sizeof(regs) / sizeof(regs)[0], regs \
    }
const struct task tasks[] = {
    TASK("balance", 10000, balance_regs),  TASK("gestures", 20000, gesture_regs),
    TASK("alarm", 50000, alarm_regs),      TASK("fans", 100000, fan_regs),
    TASK("display", 250000, display_regs), TASK("radio", 500000, radio_regs),
};
#define N_TASKS (sizeof tasks / sizeof tasks[0])
const size_t n_tasks = N_TASKS;

uint32_t tasks_life_us(uint16_t reg)
{
    switch (reg >> 8) {
    case BUS_MOTION:
        return 8000;
    case BUS_THERMO:
        return 200000;
    default:
        return 1000000;
    }
}

/* ---- what both ways share: rounds, and judging what came ---- */

/* A task has a reading. It may be as old as its register allows, and as the round took. */
static void judge(struct tally *t, uint16_t reg, const struct reading *r, uint32_t round_us)
{
    const uint32_t now_us = bus_now_us();
    const uint32_t age_us = now_us - r->taken_us;
    t->n_got++;
    t->n_wrong += r->value != bus_truth(reg, r->taken_us);
    t->n_old += age_us > tasks_life_us(reg) + (now_us - round_us);
    t->oldest_us = age_us > t->oldest_us ? age_us : t->oldest_us;
}

/* One of the two ways: begin and end of a round, and in between each task that is due asks. */
struct way {
    void (*begin)(void);
    void (*ask)(size_t task, struct tally *t);
    void (*end)(void);
};

/* A round a millisecond, or as soon as the one before has ended. */
static void run_rounds(uint32_t run_us, struct tally *t, const struct way *way)
{
    uint32_t due_us[N_TASKS];
    const uint32_t begin_us = bus_now_us();
    *t = (struct tally){0, 0, 0, 0, 0, 0};
    for (size_t i = 0; i < N_TASKS; i++)
        due_us[i] = begin_us;
    while (bus_now_us() - begin_us < run_us) {
        const uint32_t round_us = bus_now_us();
        way->begin();
        for (size_t i = 0; i < N_TASKS; i++) {
            if ((int32_t)(round_us - due_us[i]) < 0)
                continue;
            due_us[i] += tasks[i].period_us;
            t->n_wanted += (uint32_t)tasks[i].n_regs;
            way->ask(i, t);
        }
        way->end();
        const uint32_t took_us = bus_now_us() - round_us;
        t->longest_us = took_us > t->longest_us ? took_us : t->longest_us;
        bus_wait_until(round_us + ROUND_US);
    }
}

/* ---- alone ---- */

static void ask_alone(size_t task, struct tally *t)
{
    for (size_t i = 0; i < tasks[task].n_regs; i++) {
        struct reading r;
        const uint16_t reg = tasks[task].regs[i];
        const uint32_t begin_us = bus_now_us();
        if (bus_read(reg, 1, &r) == 0)
            judge(t, reg, &r, begin_us);
    }
}

static void nothing_to_do(void)
{
}

void tasks_run_alone(uint32_t run_us, struct tally *tally)
{
    static const struct way alone = {nothing_to_do, ask_alone, nothing_to_do};
    bus_reset();
    run_rounds(run_us, tally, &alone);
}

/* ---- through the loader ---- */

#define CAPACITY  24u
#define MAX_BATCH 24u

static uint64_t memory[(DLOAD_BYTES(readings, CAPACITY, MAX_BATCH) + 7) / 8];
static readings loader;
static dload_ticks ticks; /* makes one time of the timer that wraps */
static readings_waiter waiters[N_TASKS][TASKS_MAX_REGS];
static struct tally *tally_of_run;
static uint32_t round_began_us;

size_t tasks_loader_bytes(void)
{
    return sizeof memory + sizeof loader;
}

/* Answers a batch: neighbouring registers of one device are one transaction. */
static dload_status fetch_readings(readings_batch *b)
{
    uint8_t order[MAX_BATCH];
    struct reading got[MAX_BATCH];
    for (size_t i = 0; i < b->n; i++) { /* by key: a batch is small */
        size_t at = i;
        for (; at > 0 && b->keys[order[at - 1]] > b->keys[i]; at--)
            order[at] = order[at - 1];
        order[at] = (uint8_t)i;
    }
    for (size_t from = 0, to; from < b->n; from = to) {
        const uint16_t first = b->keys[order[from]];
        for (to = from + 1; to < b->n && b->keys[order[to]] == first + (to - from); to++)
            continue;
        const int bad = bus_read(first, to - from, got);
        for (size_t i = from; i < to; i++) {
            if (bad != 0)
                readings_batch_fail(b, order[i], DLOAD_EFETCH);
            else
                readings_batch_set_ttl(b, order[i], &got[i - from],
                                       tasks_life_us(b->keys[order[i]]) * DLOAD_MICROSECOND);
        }
    }
    return DLOAD_OK;
}

static void judge_waiter(const readings_waiter *w)
{
    const uint16_t reg = *(const uint16_t *)w->ctx;
    if (w->status >= 0)
        judge(tally_of_run, reg, &w->value, round_began_us);
}

/* The answer of a batch has come. */
static void on_reading(readings_waiter *w)
{
    judge_waiter(w);
}

/* Time goes on, and what was read too long ago goes. */
static void begin_loaded(void)
{
    round_began_us = bus_now_us();
    (void)readings_process(&loader, dload_ticks_ns(&ticks, round_began_us));
}

static void ask_loaded(size_t task, struct tally *t)
{
    tally_of_run = t;
    for (size_t i = 0; i < tasks[task].n_regs; i++) {
        readings_waiter *w = &waiters[task][i];
        *w = (readings_waiter){0};
        w->done = on_reading;
        w->ctx = (void *)(uintptr_t)&tasks[task].regs[i];
        if (readings_start(&loader, tasks[task].regs[i], w) >= 0)
            judge_waiter(w); /* read a moment ago */
    }
}

/* Everybody who is due has asked: now the bus is. */
static void end_loaded(void)
{
    (void)readings_dispatch(&loader, NULL);
}

bool tasks_run_loaded(uint32_t run_us, struct tally *tally)
{
    static const struct way loaded = {begin_loaded, ask_loaded, end_loaded};
    static dload_block block;
    readings_config config = readings_config_preset();
    bus_reset();
    dload_block_init(&block, memory, sizeof memory);
    ticks = (dload_ticks){1000, bus_now_us(), 0};
    config.env = &block.env;
    config.fetch = fetch_readings;
    if (readings_init(&loader, &config) != DLOAD_OK)
        return false;
    run_rounds(run_us, tally, &loaded);
    return readings_close(&loader, DLOAD_DRAIN, 0) == DLOAD_OK &&
           readings_destroy(&loader) == DLOAD_OK;
}
