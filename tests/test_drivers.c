/* The table of cases (drivers/table.h) where callers are requests and blocking calls of one thread
 * (NONE), or threads (SPIN, PTHREAD). */
/* locks: CUSTOM NONE SPIN PTHREAD */
/* tsan */
#include "drivers/driver.h"
#if TEST_LOCK == DLOAD_LOCK_NONE
#include "drivers/driver_none.h"
#else
#include "drivers/driver_threads.h"
#endif
#include "drivers/table.h"

int main(void)
{
    return run_table();
}
