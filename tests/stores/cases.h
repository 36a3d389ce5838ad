/* What every store must do: one table, run by each store's suite.
 *
 *     #define DLOAD_STORE 1
 *     #include "dataloader.h"
 *     #include "adapters/dataloader_x.h"
 *     #include "support.h"
 *     #include "stores/cases.h"
 *
 *     static int open_x(void **state);   // *state = a struct store_case; its store is on an own or a shared server
 *     static int close_x(void **state);
 *
 *     int main(void)
 *     {
 *         const struct CMUnitTest tests[] = {
 *             STORE_CASES("x", open_x, close_x),
 *             STORE_CASES("x, with done", open_x_async, close_x),   // struct store_case.async
 *             cmocka_unit_test(...),                               // what only this store does
 *         };
 *         return cmocka_run_group_tests(tests, start_server, stop_server);
 *     }
 *
 * Each case clears the whole store before it begins.
 */
#ifndef DLOAD_TESTS_STORES_CASES_H
#define DLOAD_TESTS_STORES_CASES_H

#include "cases_batches.h"
#include "cases_keys.h"
#include "cases_leases.h"
#include "cases_model.h"

#define STORE_CASE(who, title, body, setup, teardown)     \
    {                                                     \
        who ": " title, (body), (setup), (teardown), NULL \
    }

#define STORE_CASES(who, up, down)                                                                 \
    STORE_CASE(who, "any key comes back", store_keys_come_back, up, down),                         \
        STORE_CASE(who, "all keys in one request", store_keys_come_back_together, up, down),       \
        STORE_CASE(who, "any value comes back", store_values_come_back, up, down),                 \
        STORE_CASE(who, "an empty value is one", store_empty_is_not_missing, up, down),            \
        STORE_CASE(who, "anything may be deleted", store_delete_of_any, up, down),                 \
        STORE_CASE(who, "a prefix is cleared exactly", store_clear_by_prefix, up, down),           \
        STORE_CASE(who, "batches of 1 to 1000", store_batches, up, down),                          \
        STORE_CASE(who, "a batch of 2 MB", store_heavy_batch, up, down),                           \
        STORE_CASE(who, "lives end", store_lives_end, up, down),                                   \
        STORE_CASE(who, "a new value has a life of its own", store_lives_are_replaced, up, down),  \
        STORE_CASE(who, "long lives", store_long_lives, up, down),                                 \
        STORE_CASE(who, "values stay until released", store_values_stay_until_released, up, down), \
        STORE_CASE(who, "many threads", store_many_threads, up, down),                             \
        STORE_CASE(who, "a request ends in time", store_ends_in_time, up, down),                   \
        STORE_CASE(who, "unknown kinds", store_unknown_kinds, up, down),                           \
        STORE_CASE(who, "counters", store_counts, up, down),                                       \
        STORE_CASE(who, "lease and fill", store_lease_and_fill, up, down),                         \
        STORE_CASE(who, "filled values' lives end", store_filled_lives_end, up, down),             \
        STORE_CASE(who, "a lease is an identity", store_lease_identity, up, down),                 \
        STORE_CASE(who, "leases expire", store_leases_expire, up, down),                           \
        STORE_CASE(who, "leases are revoked", store_leases_are_revoked, up, down),                 \
        STORE_CASE(who, "leases are dropped", store_leases_are_dropped, up, down),                 \
        STORE_CASE(who, "leases of any keys", store_leases_of_many, up, down),                     \
        STORE_CASE(who, "one of many gets the lease", store_one_gets_the_lease, up, down),         \
        STORE_CASE(who, "no fill after a delete", store_no_late_fill, up, down),                   \
        STORE_CASE(who, "as its model says", store_like_its_model, up, down)

#endif /* DLOAD_TESTS_STORES_CASES_H */
