/* How late a call returned, and how late the machine itself is: tests that bound the first by 100 ms
 * add the second, so that other work on the machine does not fail them. */
#ifndef DLOAD_TESTS_LATE_H
#define DLOAD_TESTS_LATE_H

#include <errno.h>
#include <stdint.h>
#include <time.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define LATE_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define LATE_SANITIZED 1
#endif
#endif

/* What is promised: nobody returns later than this after its deadline. Under a sanitizer everything is
 * slower, and signals wait for a moment that suits it. */
#ifdef LATE_SANITIZED
#define LATE_NS (2000 * DLOAD_MILLISECOND)
#else
#define LATE_NS (100 * DLOAD_MILLISECOND)
#endif

/* Raises *most to at least ns, from any thread. */
static inline void late_note(uint64_t *most, uint64_t ns)
{
    uint64_t seen = __atomic_load_n(most, __ATOMIC_RELAXED);
    while (seen < ns && !__atomic_compare_exchange_n(most, &seen, ns, true, __ATOMIC_RELAXED,
                                                     __ATOMIC_RELAXED)) {
    }
}

/* Sleeps for so long, signals or not; returns by how much it was late. */
static inline uint64_t late_sleep(uint64_t span_ns)
{
    uint64_t end_ns = real_ns() + span_ns;
    struct timespec ts = {.tv_sec = (time_t)(end_ns / DLOAD_SECOND),
                          .tv_nsec = (long)(end_ns % DLOAD_SECOND)};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL) == EINTR) {
    }
    uint64_t now_ns = real_ns();
    return now_ns > end_ns ? now_ns - end_ns : 0;
}

#endif /* DLOAD_TESTS_LATE_H */
