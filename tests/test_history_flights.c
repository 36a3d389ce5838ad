/* The checker of histories: hand-written ones about flights, errors, deadlines and requests. See
 * test_history_checker.c. */
#include "history/written.h"

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
        cmocka_unit_test(test_lost),           cmocka_unit_test(test_flight),
        cmocka_unit_test(test_flight_excuses), cmocka_unit_test(test_again),
        cmocka_unit_test(test_status),         cmocka_unit_test(test_deadline),
        cmocka_unit_test(test_called),
    };
    return cmocka_run_group_tests_name("history flights", tests, NULL, NULL);
}
