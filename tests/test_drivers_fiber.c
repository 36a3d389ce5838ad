/* The table of cases (drivers/table.h) where callers are fibers. */
/* locks: NONE SPIN PTHREAD */
/* tsan */
#define _DEFAULT_SOURCE /* MAP_ANONYMOUS */
#include "drivers/driver_fiber.h"
#include "drivers/table.h"

int main(void)
{
    return run_table();
}
