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

/* ---- flights ---- */

static void test_lost(void **state)
{
    (void)state;
    begin(false); /* who asked before may have been answered before */
    loses(7, 10, 10 + LIMIT + 5);
    reads(1, 10 + LIMIT, 10 + LIMIT + 20, fetched(1, 0, 7, 10));
    accepted();
    begin(false);
    loses(7, 10, 10 + LIMIT + 5);
    reads(1, 10 + LIMIT + 6, 10 + LIMIT + 20, fetched(1, 0, 7, 10));
    rejected(LOST);
    begin(false); /* what was found first counts */
    loses(7, 10, 10 + LIMIT + 5);
    loses(7, 10, 10 + LIMIT + 50);
    reads(1, 10 + LIMIT + 6, 10 + LIMIT + 20, fetched(1, 0, 7, 10));
    rejected(LOST);
    begin(false); /* in the window before */
    loses(7, 10, 10 + LIMIT + 5);
    check();
    reads(1, 9000, 9001, fetched(1, 0, 7, 10));
    rejected(LOST);
    begin(false);
    loses(7, 10, 10 + LIMIT);
    rejected(ABANDONED);
}

static void test_flight(void **state)
{
    (void)state;
    begin(false);
    flies(1, 7, 10, 20, HIST_VALUE);
    flies(1, 8, 21, 30, HIST_VALUE);
    flies(2, 9, 15, 25, HIST_VALUE);
    accepted();
    begin(false);
    flies(1, 7, 10, 20, HIST_VALUE);
    flies(1, 8, 19, 30, HIST_VALUE);
    rejected(FLIGHT);
    begin(false); /* the first of three goes on: two pairs */
    flies(1, 7, 10, 50, HIST_VALUE);
    flies(1, 8, 19, 30, HIST_VALUE);
    flies(1, 9, 31, 40, HIST_VALUE);
    rejected_n(FLIGHT, 2);
    begin(false);
    flies(1, 7, 10, 20, HIST_VALUE);
    flies(1, 7, 10, 20, HIST_VALUE);
    rejected(TWICE);
    begin(false); /* one clear allows one more */
    flies(1, 7, 10, 50, HIST_VALUE);
    clears(1, 12, 13);
    flies(1, 8, 19, 40, HIST_VALUE);
    flies(1, 9, 31, 60, HIST_VALUE);
    rejected(FLIGHT);
    begin(false); /* what came before the first was sent, or after the second was */
    clears(1, 5, 9);
    flies(1, 7, 10, 50, HIST_VALUE);
    flies(1, 8, 19, 40, HIST_VALUE);
    clears(1, 20, 21);
    rejected(FLIGHT);
}

static void test_flight_excuses(void **state)
{
    (void)state;
    begin(false);
    for (uint32_t key = 0; key < N_KEYS; key++) {
        flies(key, 7, 10, 50, HIST_VALUE);
        flies(key, 8, 19, 40, HIST_VALUE);
    }
    clears(0, 18, 25);
    primes(1, 9, 5, 11, false);
    puts_if(2, 10, 11, 12, 13, HIST_VALUE);
    asks_fresh(3, 12, 30);
    accepted();
    begin(false);
    flies(1, 7, 10, 50, HIST_VALUE);
    flies(1, 8, 19, 40, HIST_VALUE);
    clears(HIST_ALL, 18, 25);
    check();
    flies(1, 9, 110, 150, HIST_VALUE);
    flies(1, 10, 119, 140, HIST_VALUE);
    clears(HIST_GROUP(1), 118, 125);
    accepted();
    begin(false); /* given up after its time */
    flies(1, 7, 10, 5000, HIST_VALUE);
    flies(1, 8, 10 + LIMIT + 1, 5000, HIST_VALUE);
    accepted();
    begin(false);
    flies(1, 7, 10, 5000, HIST_VALUE);
    flies(1, 8, 10 + LIMIT, 5000, HIST_VALUE);
    rejected(FLIGHT);
}

static void test_again(void **state)
{
    (void)state;
    for (int never_evicts = 0; never_evicts < 2; never_evicts++) {
        begin(never_evicts != 0);
        flies(1, 7, 10, 20, HIST_VALUE);
        flies(1, 8, 30, 40, HIST_VALUE);
        verdict_must(never_evicts ? HIST_RULE_AGAIN : HIST_N_RULES, 1, __FILE__, __LINE__);
        begin(never_evicts != 0); /* from one window to the next */
        flies(1, 7, 10, 20, HIST_VALUE);
        check();
        flies(1, 8, 130, 140, HIST_VALUE);
        verdict_must(never_evicts ? HIST_RULE_AGAIN : HIST_N_RULES, 1, __FILE__, __LINE__);
    }
    begin(
        true); /* when it was delivered is not known, but soon after it was answered, or too late */
    for (uint32_t key = 0; key < 2; key++) {
        uint64_t answered = key == 0 ? 20 : LIMIT;
        struct hist_flight f = {
            .key = key, .origin = 7, .sent = 10, .end = answered, .gone = HIST_NEVER};
        f.outcome = HIST_VALUE;
        (void)hist_add(&records, HIST_FLIGHTS, &f);
        flies(key, 8, answered + 10, answered + 20, HIST_VALUE);
    }
    rejected(AGAIN);
    begin(true); /* errors are not kept; a clear, in this window or one before; given up */
    flies(0, 7, 10, 20, HIST_ERROR);
    flies(0, 8, 30, 40, HIST_VALUE);
    flies(1, 7, 10, 20, HIST_VALUE);
    flies(1, 8, 30, 40, HIST_VALUE);
    clears(1, 25, 35);
    clears(0, 45, 46);
    check();
    flies(0, 9, 130, 140, HIST_VALUE);
    flies(2, 10, 110, 120 + LIMIT, HIST_VALUE);
    flies(2, 11, 130 + LIMIT, 140 + LIMIT, HIST_VALUE);
    accepted();
}

/* ---- errors, deadlines, requests ---- */

static void test_status(void **state)
{
    (void)state;
    begin(false);
    flies(1, 7, 10, 20, HIST_ERROR);
    flies(2, 8, 10, 20, HIST_MISSING);
    fails(1, 15, 25, HIST_ERROR, 7);
    fails(2, 5, 25, HIST_MISSING, 0);
    accepted();
    begin(false); /* over before it was asked: an error that was kept */
    flies(1, 7, 10, 20, HIST_ERROR);
    fails(1, 22, 25, HIST_ERROR, 7);
    rejected(STATUS);
    begin(false); /* of another batch, of another key, of a key that had a value */
    flies(1, 7, 10, 20, HIST_ERROR);
    fails(1, 15, 25, HIST_ERROR, 8);
    fails(2, 15, 25, HIST_ERROR, 7);
    fails(1, 15, 25, HIST_MISSING, 0);
    rejected_n(STATUS, 3);
    begin(false); /* a long one, and short ones of the same key that were over, or not sent yet */
    clears(1, 20, 100);
    flies(1, 7, 10, 80, HIST_ERROR);
    flies(1, 8, 30, 40, HIST_MISSING);
    flies(1, 9, 90, 99, HIST_MISSING);
    fails(1, 60, 85, HIST_ERROR, 7);
    check();
    flies(1, 10, 110, 120, HIST_MISSING);
    accepted();
    begin(false);
    clears(1, 20, 100);
    flies(1, 7, 10, 80, HIST_ERROR);
    flies(1, 8, 30, 40, HIST_MISSING);
    flies(1, 9, 90, 99, HIST_MISSING);
    fails(1, 60, 85, HIST_MISSING, 0);
    rejected(STATUS);
    struct hist_read r = {.key = 1, .start = 15, .end = 25, .may_fail = true, .nested = true};
    for (int allowed = 0; allowed < 2; allowed++) {
        begin(false);
        r.outcome = HIST_FULL;
        (void)hist_add(&records, HIST_READS, &r);
        r.outcome = HIST_CIRCLE;
        (void)hist_add(&records, HIST_READS, &r);
        verdict_must(HIST_RULE_STATUS, r.nested ? 0 : 2, __FILE__, __LINE__);
        r.may_fail = r.nested = false;
    }
}

static void test_deadline(void **state)
{
    (void)state;
    begin(false);
    times_out(1, 20, 30, 30);
    times_out(1, 20, 29 + LATE, 29);
    accepted();
    begin(false);
    times_out(1, 20, 30, 31);
    rejected(EARLY);
    begin(false); /* without a deadline: only when its batch was given up */
    flies(2, 7, 10, 30 + LIMIT, HIST_VALUE);
    times_out(2, 15, 20 + LIMIT, 0);
    accepted();
    begin(false);
    flies(2, 7, 10, 30 + LIMIT, HIST_VALUE);
    times_out(2, 15, 10 + LIMIT, 0);
    rejected(EARLY);
    begin(false); /* with a value, too */
    struct hist_read r = {.key = 1, .start = 20, .end = 30 + LATE, .deadline = 29};
    r.outcome = HIST_VALUE;
    r.value = fetched(1, 0, 7, 25);
    (void)hist_add(&records, HIST_READS, &r);
    rejected(LATE);
}

static void test_called(void **state)
{
    (void)state;
    begin(false);
    requests(1, 1, false);
    requests(1, 0, true);
    accepted();
    begin(false);
    requests(1, 0, false);
    requests(1, 2, false);
    requests(1, 1, true);
    rejected_n(CALLED, 3);
    begin(false); /* what else it says: how much it saw, and what others found */
    clears(1, 10, 11);
    clears(HIST_ALL, 12, 13);
    check();
    clears(1, 20, 21);
    check();
    equal(hist_seen(h, HIST_CLEARS), 3);
    equal(hist_seen(h, HIST_READS), 0);
    hist_breach(h, HIST_RULE_QUIET, "found by %s", "somebody else");
    assert_string_equal(hist_first_breach(h, HIST_RULE_QUIET), "found by somebody else");
    rejected(QUIET);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole),
        cmocka_unit_test(test_future),
        cmocka_unit_test(test_stale),
        cmocka_unit_test(test_outdated),
        cmocka_unit_test(test_outdated_brings),
        cmocka_unit_test(test_replaced),
        cmocka_unit_test(test_put_if),
        cmocka_unit_test(test_fresh),
        cmocka_unit_test(test_lost),
        cmocka_unit_test(test_flight),
        cmocka_unit_test(test_flight_excuses),
        cmocka_unit_test(test_again),
        cmocka_unit_test(test_status),
        cmocka_unit_test(test_deadline),
        cmocka_unit_test(test_called),
    };
    return cmocka_run_group_tests_name("history checker", tests, NULL, NULL);
}
