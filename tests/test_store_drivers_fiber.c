/* The table of cases (drivers/table.h) where callers are fibers, through a second level that never has anything. */
/* locks: NONE SPIN PTHREAD */
/* tsan */
#define _DEFAULT_SOURCE /* MAP_ANONYMOUS */
#include "test_store_nothing.h"
#include "drivers/driver_fiber.h"
#include "drivers/table.h"

int main(void)
{
    return run_table();
}
