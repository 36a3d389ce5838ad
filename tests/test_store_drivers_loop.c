/* The table of cases (drivers/table.h) in an event loop, through a second level that never has anything. */
/* locks: NONE SPIN PTHREAD */
#include "test_store_nothing.h"
#include "drivers/driver_loop.h"
#include "drivers/table.h"

int main(void)
{
    return run_table();
}
