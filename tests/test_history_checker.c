/* The checker of histories: hand-written ones that it must accept, and the same with one thing wrong, which
 * it must reject, by the right rule and no other. */
#include "history/written.h"

/* ---- values ---- */

static void test_whole(void **state)
{
    (void)state;
    struct hist_value v = fetched(1, 0, 7, 10);
    begin(false);
    reads(1, 20, 30, v);
    reads(1, 20, 30, hist_value_of(1, 0, HIST_PRIMED, 8, 0));
    primes(1, 8, 5, 6, false);
    accepted();
    begin(false); /* half of one and half of another */
    v.origin = 8;
    reads(1, 20, 30, v);
    rejected(VALUE);
    begin(false);
    reads(2, 20, 30, fetched(1, 0, 7, 10));
    rejected(VALUE);
    begin(false); /* nobody ever primed it */
    reads(1, 20, 30, hist_value_of(1, 0, HIST_PRIMED, 8, 0));
    rejected(VALUE);
}

static void test_future(void **state)
{
    (void)state;
    begin(false);
    writes(1, 1, 25, 40);
    reads(1, 20, 30, fetched(1, 1, 7, 22));
    accepted();
    begin(false);
    writes(1, 1, 31, 40);
    reads(1, 20, 30, fetched(1, 1, 7, 22));
    rejected(FUTURE);
    begin(false);
    reads(1, 20, 30, fetched(1, 1, 7, 22));
    rejected(FUTURE);
    begin(false); /* version 2 is not there before version 1 */
    writes(1, 2, 22, 40);
    writes(1, 1, 31, 40);
    reads(1, 20, 30, fetched(1, 2, 7, 22));
    rejected(FUTURE);
}

/* ---- clears ---- */

static void test_stale(void **state)
{
    (void)state;
    begin(false); /* the read overlaps the clear; the write was not followed by one */
    writes(1, 1, 10, 11);
    clears(1, 12, 20);
    reads(1, 19, 30, fetched(1, 0, 7, 5));
    writes(2, 1, 10, 11);
    reads(2, 19, 30, fetched(2, 0, 7, 5));
    accepted();
    /* Of a fetch that was sent after the clear began, so that nothing but the version tells. */
    begin(false);
    writes(1, 1, 10, 11);
    clears(1, 12, 20);
    reads(1, 21, 30, fetched(1, 0, 7, 13));
    rejected(STALE);
    begin(false);
    writes(1, 1, 10, 11);
    clears(HIST_ALL, 12, 20);
    reads(1, 21, 30, fetched(1, 0, 7, 13));
    rejected(STALE);
    begin(false); /* the write may have come after the clear */
    writes(1, 1, 10, 13);
    clears(1, 12, 20);
    reads(1, 21, 30, fetched(1, 0, 7, 13));
    accepted();
    begin(false); /* known from an earlier window, and the newer version from this one */
    writes(1, 1, 10, 11);
    check();
    writes(1, 2, 110, 111);
    clears(1, 105, 106);
    reads(1, 121, 130, fetched(1, 0, 7, 120));
    reads(1, 121, 130, fetched(1, 1, 7, 120));
    rejected(STALE);
}

static void test_outdated(void **state)
{
    (void)state;
    begin(false); /* sent while the clear went on: it may have taken effect before */
    clears(1, 12, 20);
    reads(1, 21, 30, fetched(1, 0, 7, 13));
    reads(1, 19, 30, fetched(1, 0, 8, 3));
    accepted();
    begin(false);
    clears(1, 12, 20);
    reads(1, 21, 30, fetched(1, 0, 7, 11));
    rejected(OUTDATED);
    begin(false);
    clears(HIST_ALL, 12, 20);
    reads(1, 21, 30, fetched(1, 0, 7, 11));
    rejected(OUTDATED);
    begin(false); /* of its group, not of another one */
    clears(HIST_GROUP(1), 12, 20);
    reads(1, 21, 30, fetched(1, 0, 7, 11));
    reads(2, 21, 30, fetched(2, 0, 7, 11));
    rejected(OUTDATED);
    begin(false); /* of two clears, the one that began later counts */
    clears(1, 12, 20);
    clears(1, 14, 18);
    reads(1, 21, 30, fetched(1, 0, 7, 13));
    rejected(OUTDATED);
    begin(false); /* in the window before */
    clears(1, 12, 20);
    check();
    reads(1, 121, 130, fetched(1, 0, 7, 11));
    rejected(OUTDATED);
    begin(false);
    clears(HIST_ALL, 12, 20);
    check();
    reads(1, 121, 130, fetched(1, 0, 7, 11));
    rejected(OUTDATED);
    begin(false); /* an error is an answer, too */
    clears(1, 12, 20);
    flies(1, 7, 11, 25, HIST_ERROR);
    fails(1, 21, 30, HIST_ERROR, 7);
    rejected(OUTDATED);
}

static void test_outdated_brings(void **state)
{
    (void)state;
    begin(false); /* the prime may have taken effect after the clear */
    primes(1, 7, 5, 13, false);
    clears(1, 12, 20);
    reads(1, 21, 30, hist_value_of(1, 0, HIST_PRIMED, 7, 0));
    accepted();
    begin(false);
    primes(1, 7, 5, 11, false);
    clears(1, 12, 20);
    reads(1, 21, 30, hist_value_of(1, 0, HIST_PRIMED, 7, 0));
    rejected(OUTDATED);
    begin(false); /* a prime that ended before a window is remembered */
    primes(1, 7, 5, 11, false);
    check();
    clears(1, 112, 120);
    reads(1, 121, 130, hist_value_of(1, 0, HIST_PRIMED, 7, 0));
    rejected(OUTDATED);
    begin(
        false); /* a put_if is as old as its token; that it was kept at all is PUT_IF's business */
    puts_if(1, 7, 11, 15, 22, HIST_VALUE);
    clears(1, 12, 20);
    reads(1, 21, 30, hist_value_of(1, 0, HIST_PUT_IF, 7, 11));
    rejected(OUTDATED);
    begin(false); /* a prime says nothing about versions, a put_if does */
    writes(1, 1, 3, 4);
    clears(1, 5, 6);
    primes(1, 7, 8, 9, true);
    reads(1, 10, 11, hist_value_of(1, 0, HIST_PRIMED, 7, 0));
    accepted();
    begin(false);
    writes(1, 1, 3, 4);
    clears(1, 5, 6);
    puts_if(1, 7, 7, 8, 9, HIST_VALUE);
    reads(1, 10, 11, hist_value_of(1, 0, HIST_PUT_IF, 7, 7));
    rejected(STALE);
}

static void test_replaced(void **state)
{
    (void)state;
    begin(false); /* a prime without OVERWRITE need not have done anything */
    primes(1, 8, 12, 20, false);
    reads(1, 21, 30, fetched(1, 0, 7, 11));
    primes(2, 9, 12, 20, true);
    reads(2, 21, 30, fetched(2, 0, 10, 13));
    reads(2, 19, 30, fetched(2, 0, 11, 3));
    reads(2, 21, 30, hist_value_of(2, 0, HIST_PRIMED, 9, 0));
    puts_if(3, 12, 5, 12, 20, HIST_VALUE);
    reads(3, 21, 30, hist_value_of(3, 0, HIST_PUT_IF, 12, 5));
    accepted();
    begin(false);
    primes(1, 8, 12, 20, true);
    reads(1, 21, 30, fetched(1, 0, 7, 11));
    rejected(REPLACED);
    begin(false);
    puts_if(1, 8, 5, 12, 20, HIST_VALUE);
    reads(1, 21, 30, fetched(1, 0, 7, 11));
    rejected(REPLACED);
    begin(false);
    primes(1, 8, 12, 20, true);
    primes(1, 7, 10, 11, true);
    check();
    reads(1, 121, 130, hist_value_of(1, 0, HIST_PRIMED, 7, 0));
    rejected(REPLACED);
}

static void test_put_if(void **state)
{
    (void)state;
    begin(false); /* the token may be newer than the clear, the clear newer than the put */
    clears(1, 10, 14);
    puts_if(1, 7, 11, 15, 16, HIST_VALUE);
    puts_if(2, 8, 11, 15, 25, HIST_VALUE);
    clears(2, 12, 17);
    puts_if(3, 9, 11, 15, 25, HIST_REFUSED);
    clears(3, 12, 17);
    accepted();
    begin(false);
    clears(1, 12, 14);
    puts_if(1, 7, 11, 15, 16, HIST_VALUE);
    rejected(PUT_IF);
    begin(false);
    clears(HIST_ALL, 12, 14);
    puts_if(1, 7, 11, 15, 16, HIST_VALUE);
    rejected(PUT_IF);
    begin(false);
    clears(1, 5, 9);
    puts_if(1, 7, 11, 15, 16, HIST_REFUSED);
    rejected(REFUSED);
    begin(false); /* refused, and kept all the same */
    clears(1, 12, 14);
    puts_if(1, 7, 11, 15, 16, HIST_REFUSED);
    reads(1, 13, 30, hist_value_of(1, 0, HIST_PUT_IF, 7, 11));
    rejected(LOST);
}

static void test_fresh(void **state)
{
    (void)state;
    struct hist_read r = {.key = 1, .start = 20, .end = 30, .fresh = true, .outcome = HIST_VALUE};
    begin(false);
    r.value = fetched(1, 0, 7, 21);
    (void)hist_add(&records, HIST_READS, &r);
    accepted();
    begin(false);
    r.value = fetched(1, 0, 7, 19);
    (void)hist_add(&records, HIST_READS, &r);
    rejected(NOT_FRESH);
    begin(false);
    r.outcome = HIST_MISSING;
    flies(1, 7, 19, 25, HIST_MISSING);
    (void)hist_add(&records, HIST_READS, &r);
    rejected(NOT_FRESH);
}

static void test_expired(void **state)
{
    (void)state;
    begin(false); /* what was fetched has no TTL that the checker could know of */
    h->setup.ttl_ns = TTL;
    primes(1, 7, 10, 20, false);
    reads(1, 20 + TTL, 30 + TTL, hist_value_of(1, 0, HIST_PRIMED, 7, 0));
    reads(1, 9000, 9010, fetched(1, 0, 8, 10));
    accepted();
    begin(false);
    h->setup.ttl_ns = TTL;
    primes(1, 7, 10, 20, false);
    reads(1, 21 + TTL, 30 + TTL, hist_value_of(1, 0, HIST_PRIMED, 7, 0));
    rejected(EXPIRED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole),           cmocka_unit_test(test_future),
        cmocka_unit_test(test_stale),           cmocka_unit_test(test_outdated),
        cmocka_unit_test(test_outdated_brings), cmocka_unit_test(test_replaced),
        cmocka_unit_test(test_put_if),          cmocka_unit_test(test_fresh),
        cmocka_unit_test(test_expired),
    };
    return cmocka_run_group_tests_name("history checker", tests, NULL, NULL);
}
