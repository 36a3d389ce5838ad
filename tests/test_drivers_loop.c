/* The table of cases (drivers/table.h) in an event loop. */
/* locks: NONE SPIN PTHREAD */
#include "drivers/driver_loop.h"
#include "drivers/table.h"

int main(void)
{
    return run_table();
}
