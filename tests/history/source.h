/* The loader under test, its clock, the source of truth behind it, and the fetch function that reads it in
 * every way that is allowed: slowly, later, in pieces, with failures, with more than was asked.
 */
#ifndef DLOAD_TESTS_HISTORY_SOURCE_H
#define DLOAD_TESTS_HISTORY_SOURCE_H

#include "history/history.h"

/* Number k of the history is key k / HISTORY_GROUPS of group k % HISTORY_GROUPS, so that groups share
 * their keys. */
#ifndef HISTORY_GROUPS
#define HISTORY_GROUPS 1
#endif

#define DLOAD_NAME  hl
#define DLOAD_KEY   uint64_t
#define DLOAD_VALUE struct hist_value
#define DLOAD_LOCK  TEST_LOCK
#define DLOAD_GROUP (HISTORY_GROUPS > 1)
#include "dataloader.h"
#include "support.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#if defined(__SANITIZE_THREAD__)
#define UNDER_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define UNDER_TSAN 1
#endif
#endif
#ifndef UNDER_TSAN
#define UNDER_TSAN 0
#endif
#if defined(__SANITIZE_ADDRESS__)
#define UNDER_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define UNDER_ASAN 1
#endif
#endif
#ifndef UNDER_ASAN
#define UNDER_ASAN 0
#endif

enum {
    N_WORKERS = 16,
    N_COMPLETERS = 2,
    N_ACTORS = N_WORKERS + 1 + N_COMPLETERS + 1, /* one watches the machine; the last one is main */
    N_HOT = 64,                                  /* keys that everybody wants */
    N_KEYS = 100000,
    MAX_BATCH = 64,
    MAX_REQUESTS = 4096, /* of one worker in one window */
    MAX_JOBS = 4096
};

/* What a phase of the test tells the loader. */
struct phase {
    const char *name;
    size_t capacity, max_batch, max_in_flight, max_queue;
    uint64_t settle_ns, run_limit_ns, ttl_ns;
    uint64_t
        hold_ns; /* batches that end later are not touched for so long; then loads have deadlines */
    bool waits;  /* for room in the queue */
    bool crew;   /* the workers join a registry */
    unsigned percent; /* of all operations */
    unsigned pending; /* batches that end later, in a thousand */
    unsigned wide;    /* operations that leave the hot keys, in a hundred */
};

struct asked;

/* One thread of the test. */
struct actor {
    struct hist_log log;
    uint64_t rng;
    struct asked *asked; /* requests of this window */
    size_t n_asked;
    size_t open_from, n_open; /* flights of its log that are about to be delivered */
    size_t n_keys_asked, n_full, n_circles, n_cancelled, n_fetches,
        n_keys_fetched; /* in this phase */
    const char *odd;    /* a call that returned what it must not */
    dload_status odd_status;
    size_t n_odd;
};

/* A batch that is ended by a completer. */
struct job {
    hl_batch *batch;
    uint64_t sent, due;
    uint64_t answered; /* bit i: key i was answered by the fetch function */
    uint32_t origin;
};

static struct world {
    hl l;
    hl_config cfg;
    struct fake_env f;
    const struct phase *phase;
    dload_hooks hooks;
    dload_registry registry;
    struct actor actors[N_ACTORS];
    uint64_t clock;          /* atomic */
    uint32_t n_origins;      /* atomic */
    uint32_t source[N_KEYS]; /* versions; atomic */
    pthread_mutex_t mutex;   /* of the jobs */
    pthread_cond_t more;
    struct job jobs[MAX_JOBS];
    size_t n_jobs;
    size_t n_busy; /* workers that are not through yet; under the mutex */
} w = {.mutex = PTHREAD_MUTEX_INITIALIZER, .more = PTHREAD_COND_INITIALIZER};

static __thread struct actor *me;

/* ---- time, chance ---- */

/* Real time, but every reading is later than all readings before it, in any thread: so that "before" means
 * something. Under the thread sanitizer the order must not hide races: to it, the clock orders nothing. */
static uint64_t stamp(void)
{
    uint64_t now = real_ns(), last = __atomic_load_n(&w.clock, __ATOMIC_RELAXED);
    do {
        now = now > last ? now : last + 1;
    } while (!__atomic_compare_exchange_n(&w.clock, &last, now, true,
                                          UNDER_TSAN ? __ATOMIC_RELAXED : __ATOMIC_SEQ_CST,
                                          __ATOMIC_RELAXED));
    return now;
}

static uint64_t env_now(void *ctx)
{
    static __thread unsigned n_readings;
    (void)ctx;
    if ((++n_readings & 127) == 0) {
        (void)sched_yield(); /* with the loader's mutex held: a bad moment to lose the processor */
    }
    return stamp();
}

static bool chance(unsigned n, unsigned of)
{
    return rng_below(&me->rng, of) < n;
}

static void nap_us(uint64_t us)
{
    struct timespec t = {.tv_sec = (time_t)(us / 1000000), .tv_nsec = (long)(us % 1000000 * 1000)};
    nanosleep(&t, NULL);
}

/* Lets others go on, rarely for long. */
static void pause_some(void)
{
    uint64_t mood = rng_below(&me->rng, 1000);
    if (mood < 100) {
        (void)sched_yield();
    } else if (mood < 120) {
        nap_us(20 + rng_below(&me->rng, 100));
    }
}

static uint32_t next_origin(void)
{
    return __atomic_add_fetch(&w.n_origins, 1, __ATOMIC_RELAXED);
}

static uint32_t version_of(uint32_t key)
{
    return __atomic_load_n(&w.source[key], __ATOMIC_ACQUIRE);
}

static uint32_t some_key(void)
{
    bool wide = chance(w.phase->wide, 100);
    return (uint32_t)(wide ? N_HOT + rng_below(&me->rng, N_KEYS - N_HOT)
                           : rng_below(&me->rng, N_HOT));
}

/* ... of the same group as another one. */
static uint32_t some_key_beside(uint32_t other)
{
    return some_key() / HISTORY_GROUPS * HISTORY_GROUPS + other % HISTORY_GROUPS;
}

static uint64_t key_of(uint32_t number)
{
    return number / HISTORY_GROUPS;
}

/* The number of key i of a batch. */
static uint32_t number_of(const hl_batch *b, size_t i)
{
#if HISTORY_GROUPS > 1
    return (uint32_t)(b->keys[i] * HISTORY_GROUPS + b->group);
#else
    return (uint32_t)b->keys[i];
#endif
}

/* A call returned this; was that allowed? */
static void call_must(bool allowed, const char *call, dload_status st)
{
    if (!allowed && me->n_odd++ == 0) {
        me->odd = call;
        me->odd_status = st;
    }
}

/* ---- answers ---- */

static dload_status error_of(uint32_t origin)
{
    return (dload_status)(DLOAD_EUSER - (int)origin);
}

static void note_flight(const struct job *job, size_t i, enum hist_outcome outcome, uint64_t end)
{
    struct hist_flight f = {.sent = job->sent,
                            .end = end,
                            .gone = HIST_NEVER,
                            .key = number_of(job->batch, i),
                            .origin = job->origin,
                            .outcome = (uint8_t)outcome};
    (void)hist_add(&me->log, HIST_FLIGHTS, &f);
}

/* Found now: the job's batch was given up, and who asks after from does not see this origin's value. */
static void note_lost(const struct job *job, uint32_t origin, uint64_t from)
{
    struct hist_lost lost = {
        .from = from, .sent = job->sent, .found = stamp(), .origin = origin, .given_up = true};
    (void)hist_add(&me->log, HIST_LOST, &lost);
}

/* What becomes of key i: a value, an error of its own, or nothing. */
static enum hist_outcome answer(const struct job *job, size_t i, uint32_t version, uint32_t origin)
{
    uint64_t mood = rng_below(&me->rng, 200);
    uint32_t key = number_of(job->batch, i);
    enum hist_outcome outcome = HIST_VALUE;
    dload_status st;
    if (mood < 3) {
        return HIST_MISSING;
    }
    if (mood < 6) {
        outcome = HIST_ERROR;
        st = hl_batch_fail(job->batch, i, error_of(job->origin));
    } else {
        struct hist_value v = hist_value_of(key, version, HIST_FETCHED, origin, job->sent);
        st = hl_batch_set(job->batch, i, &v);
    }
    call_must(st == DLOAD_OK || st == DLOAD_ECANCELED, "batch_set", st);
    if (st == DLOAD_ECANCELED) {
        /* The function's other answers so far may have been delivered, to those who waited. */
        note_lost(job, origin, origin == job->origin ? stamp() : job->sent);
        return HIST_REFUSED;
    }
    return outcome;
}

/* A key that was not asked for. Nobody sees it when the batch is known to be lost. */
static void put_extra(const struct job *job, bool lost)
{
    uint32_t key = some_key_beside(number_of(job->batch, 0)), origin = next_origin();
    for (size_t i = 0; i < job->batch->n; i++) {
        if (number_of(job->batch, i) == key) {
            return;
        }
    }
    uint32_t version = version_of(key);
    pause_some();
    struct hist_value v = hist_value_of(key, version, HIST_FETCHED, origin, job->sent);
    dload_status st = hl_batch_put(job->batch, key_of(key), &v);
    struct hist_refusal since = {job->sent, stamp()};
    call_must(st == DLOAD_OK || st == DLOAD_ECANCELED, "batch_put", st);
    if (lost || st == DLOAD_ECANCELED) {
        struct hist_lost unseen = {.from = job->sent, .origin = origin};
        (void)hist_add(&me->log, HIST_LOST, &unseen);
    }
    if (st == DLOAD_ECANCELED && since.end - job->sent <= w.cfg.run_limit_ns) {
        (void)hist_add(&me->log, HIST_REFUSALS, &since); /* not given up: cleared */
    }
}

/* Answers the answered key i again, to hear whether the batch was given up meanwhile. */
static bool is_lost(const struct job *job, size_t i)
{
    dload_status st = hl_batch_fail(job->batch, i, error_of(job->origin));
    call_must(st == DLOAD_EBUSY || st == DLOAD_ECANCELED, "batch_fail again", st);
    if (st == DLOAD_ECANCELED) {
        note_lost(job, job->origin, stamp());
    }
    return st == DLOAD_ECANCELED;
}

/* ---- later, from another thread ---- */

static void hand_over(const struct job *job)
{
    pthread_mutex_lock(&w.mutex);
    if (w.n_jobs == MAX_JOBS) {
        abort(); /* more batches than can be running */
    }
    w.jobs[w.n_jobs++] = *job;
    pthread_cond_signal(&w.more);
    pthread_mutex_unlock(&w.mutex);
}

/* False when there will be none any more. */
static bool next_job(struct job *job)
{
    pthread_mutex_lock(&w.mutex);
    while (w.n_jobs == 0 && w.n_busy != 0) {
        pthread_cond_wait(&w.more, &w.mutex);
    }
    bool is_one = w.n_jobs != 0;
    if (is_one) {
        *job = w.jobs[0];
        memmove(&w.jobs[0], &w.jobs[1], --w.n_jobs * sizeof *job);
    }
    pthread_mutex_unlock(&w.mutex);
    return is_one;
}

static void end_job(const struct job *job)
{
    uint64_t now = stamp();
    if (job->due > now) {
        nap_us((job->due - now) / 1000);
    }
    size_t n = job->batch->n, first = (size_t)rng_below(&me->rng, n);
    enum hist_outcome outcomes[MAX_BATCH];
    uint64_t ends[MAX_BATCH];
    bool fails = chance(1, 10);
    for (size_t k = 0; k < n; k++) { /* in another order than they were asked for */
        size_t i = (first + k) % n;
        outcomes[i] = HIST_MISSING;
        if ((job->answered >> i & 1) != 0) {
            continue;
        }
        uint32_t version = version_of(number_of(job->batch, i));
        pause_some();
        ends[i] = stamp();
        outcomes[i] = answer(job, i, version, next_origin());
    }
    if (w.cfg.run_limit_ns < DLOAD_SECOND && chance(1, 4)) {
        nap_us(w.cfg.run_limit_ns / 1000 + 200); /* is abandoned, if anybody looks */
    }
    if (chance(1, 4)) {
        put_extra(job, false);
    }
    uint64_t end = stamp();
    for (size_t i = 0; i < n; i++) {
        if ((job->answered >> i & 1) == 0) {
            bool rest = outcomes[i] == HIST_MISSING;
            note_flight(job, i, rest && fails ? HIST_ERROR : outcomes[i], rest ? end : ends[i]);
        }
    }
    dload_status st = hl_batch_done(job->batch, fails ? error_of(job->origin) : DLOAD_OK);
    call_must(st == DLOAD_OK, "batch_done", st);
}

/* Some keys at once, the rest from a completer. */
static dload_status fetch_later(struct job *job)
{
    size_t n = chance(1, 2) ? job->batch->n : job->batch->n / 2;
    for (size_t i = n; i < job->batch->n; i++) {
        enum hist_outcome outcome =
            answer(job, i, version_of(number_of(job->batch, i)), next_origin());
        if (outcome != HIST_MISSING) {
            job->answered |= UINT64_C(1) << i;
            note_flight(job, i, outcome, stamp());
        }
    }
    job->due = stamp() + w.phase->hold_ns;
    hand_over(job);
    return DLOAD_PENDING;
}

/* ---- the fetch function ---- */

static void load_nested(void);

static dload_status fetch_now(const struct job *job)
{
    size_t n = job->batch->n, answered = n;
    uint32_t versions[MAX_BATCH];
    enum hist_outcome outcomes[MAX_BATCH];
    bool fails = chance(1, 50);
    for (size_t i = 0; i < n; i++) {
        versions[i] = version_of(number_of(job->batch, i));
    }
    pause_some();
    if (chance(1, 50)) {
        load_nested();
    }
    for (size_t i = 0; i < n; i++) {
        bool left_out = fails && chance(1, 2);
        outcomes[i] = left_out ? HIST_MISSING : answer(job, i, versions[i], job->origin);
        answered = outcomes[i] == HIST_VALUE || outcomes[i] == HIST_ERROR ? i : answered;
    }
    if (w.cfg.run_limit_ns < DLOAD_SECOND && chance(1, 20)) {
        nap_us(w.cfg.run_limit_ns / 1000 + 200);
    }
    if (chance(1, 10)) {
        put_extra(job, false);
    }
    uint64_t end = stamp();
    if (end - job->sent > w.cfg.run_limit_ns && answered < n && is_lost(job, answered)) {
        put_extra(job, true); /* too late: must change nothing */
    }
    me->open_from = me->log.lists[HIST_FLIGHTS].n;
    me->n_open = n;
    for (size_t i = 0; i < n; i++) {
        note_flight(job, i, fails && outcomes[i] == HIST_MISSING ? HIST_ERROR : outcomes[i], end);
    }
    return fails ? error_of(job->origin) : DLOAD_OK;
}

static dload_status fetch(hl_batch *b)
{
    struct job job = {.batch = b, .sent = b->deadline_ns - w.cfg.run_limit_ns};
    job.origin = next_origin();
    me->n_fetches++;
    me->n_keys_fetched += b->n;
    return chance(w.phase->pending, 1000) ? fetch_later(&job) : fetch_now(&job);
}

/* Runs in the thread of the function that has just returned, once its answers are out. */
static void batch_ended(void *ctx, size_t n_keys, dload_status status, uint64_t run_ns)
{
    (void)ctx;
    (void)n_keys;
    (void)status;
    (void)run_ns;
    uint64_t gone = me->n_open != 0 ? stamp() : 0;
    while (me->n_open != 0) {
        struct hist_flight *f = hist_at(&me->log, HIST_FLIGHTS, me->open_from + --me->n_open);
        f->gone = gone;
    }
}

#endif /* DLOAD_TESTS_HISTORY_SOURCE_H */
