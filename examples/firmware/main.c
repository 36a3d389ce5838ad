/* main.c -- the sensor hub: six tasks, 22 registers, one slow bus. Runs ten seconds of them without the loader and ten
 * with it, and prints over the UART what the bus had to do. The end of the run tells how it went: 0, or what failed.
 */
#include "board/board.h"
#include "bus.h"
#include "tasks.h"

#define RUN_US 10000000u

static void print_row(const char *what, uint32_t alone, uint32_t loaded, const char *unit)
{
    board_print(what, 24);
    board_print_number(alone, 10);
    board_print_number(loaded, 14);
    board_print("  ", 0);
    board_print(unit, 0);
    board_print("\n", 0);
}

static uint32_t all_well(const struct tally *t)
{
    return t->n_got == t->n_wanted && t->n_wrong == 0 && t->n_old == 0;
}

int main(void)
{
    struct tally alone, loaded;
    struct bus_count bus_alone;
    board_init();
    tasks_run_alone(RUN_US, &alone);
    bus_alone = *bus_counted();
    if (!tasks_run_loaded(RUN_US, &loaded)) {
        board_print("the loader could not be set up: is its memory DLOAD_BYTES?\n", 0);
        return 1;
    }
    const struct bus_count *bus = bus_counted();
    board_print("10 s of a sensor hub      without   with loader\n", 0);
    print_row("readings wanted", alone.n_wanted, loaded.n_wanted, "");
    print_row("readings had", alone.n_got, loaded.n_got, "");
    print_row("bus transactions", bus_alone.n_transactions, bus->n_transactions, "");
    print_row("bytes on the wire", bus_alone.n_bytes, bus->n_bytes, "");
    print_row("bus busy", bus_alone.busy_us / 1000, bus->busy_us / 1000, "ms");
    print_row("longest round", alone.longest_us, loaded.longest_us, "us");
    print_row("oldest reading", alone.oldest_us / 1000, loaded.oldest_us / 1000, "ms");
    print_row("too old, or wrong", alone.n_old + alone.n_wrong, loaded.n_old + loaded.n_wrong, "");
    print_row("RAM of the loader", 0, (uint32_t)tasks_loader_bytes(), "bytes");
    return all_well(&alone) && all_well(&loaded) && bus->n_transactions < bus_alone.n_transactions
               ? 0
               : 2;
}
