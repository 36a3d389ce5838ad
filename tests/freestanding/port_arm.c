/* Cortex-M: vectors, start-up and semihosting. Memory is where the linker script says. */
#include "port.h"

extern uint32_t link_data_from[], link_data[], link_data_end[], link_bss[], link_bss_end[];
extern char link_heap[], link_heap_end[], link_stack_end[];

/* ---- semihosting: the debugger, here QEMU, does what a trap asks for ---- */

static int32_t ask_host(uint32_t operation, const void *argument)
{
    register uint32_t r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
    return (int32_t)r0;
}

enum { SYS_WRITE0 = 0x04, SYS_EXIT_EXTENDED = 0x20 };

void port_write(const char *text)
{
    (void)ask_host(SYS_WRITE0, text);
}

void port_exit(int status)
{
    const uint32_t block[2] = {0x20026 /* the program ended by itself */, (uint32_t)status};
    for (;;) {
        (void)ask_host(SYS_EXIT_EXTENDED, block);
    }
}

void *port_heap(size_t *n_bytes)
{
    *n_bytes = (size_t)(link_heap_end - link_heap);
    return link_heap;
}

/* ---- faults ---- */

static void write_hex(const char *what, uint32_t x)
{
    char text[12];
    for (unsigned i = 0; i < 8; i++) {
        text[i] = "0123456789abcdef"[x >> (28 - 4 * i) & 15];
    }
    text[8] = '\0';
    port_write(what);
    port_write(text);
}

__attribute__((noreturn, used)) void fault_report(const uint32_t *frame, uint32_t number)
{
    static const char *const names[] = {"?",         "?",        "NMI",       "HardFault",
                                        "MemManage", "BusFault", "UsageFault"};
    port_write("# fault: ");
    port_write(number < sizeof names / sizeof names[0] ? names[number] : "unexpected interrupt");
    write_hex(", exception 0x", number);
    write_hex(", pc 0x", frame[6]);
    write_hex(", lr 0x", frame[5]);
    port_write("\nnot ok - no fault\n");
    port_exit(70);
}

__attribute__((naked)) static void fault(void)
{
    __asm__("mrs r0, msp\n"
            "mrs r1, ipsr\n"
            "ldr r2, =fault_report\n"
            "bx r2\n");
}

/* ---- start ---- */

#define REGISTER(address) (*(volatile uint32_t *)(uintptr_t)(address))
#define SYST_CSR          REGISTER(0xe000e010)
#define SYST_RVR          REGISTER(0xe000e014)
#define SYST_CVR          REGISTER(0xe000e018)
#define CPACR             REGISTER(0xe000ed88)

__attribute__((noreturn)) void reset(void);
void reset(void)
{
#if defined(__ARM_FP)
    CPACR |= 15u << 20; /* until then any instruction of the FPU faults */
    __asm__ volatile("dsb\nisb");
#endif
    const uint32_t *from = link_data_from;
    for (uint32_t *to = link_data; to != link_data_end; to++) {
        *to = *from++;
    }
    for (uint32_t *to = link_bss; to != link_bss_end; to++) {
        *to = 0;
    }
    SYST_RVR = 0xffffff;
    SYST_CVR = 0;
    SYST_CSR = 5; /* the core's clock, no interrupt */
    port_exit(main());
}

/* SysTick counts down, 24 bits: to be looked at once in a turn at least. */
uint64_t port_instructions(void)
{
    static uint32_t last = 0xffffff;
    static uint64_t sum;
    uint32_t now = SYST_CVR;
    sum += (last - now) & 0xffffff;
    last = now;
    return sum;
}

static void (*on_tick)(void);

static void tick(void)
{
    on_tick();
}

void port_interrupt_every(uint32_t n_clocks, void (*handler)(void))
{
    on_tick = handler;
    SYST_RVR = n_clocks - 1;
    SYST_CVR = 0;
    SYST_CSR = handler ? 7 : 0;
}

__attribute__((section(".vectors"), used)) static void (*const vectors[16])(void) = {
    (void (*)(void))(uintptr_t)link_stack_end,
    reset,
    fault,
    fault,
    fault,
    fault,
    fault,
    fault,
    fault,
    fault,
    fault,
    fault,
    fault,
    fault,
    fault,
    tick,
};
