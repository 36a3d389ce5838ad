/* RISC-V, machine mode: start-up, traps and semihosting. */
#include "port.h"

extern char link_heap[], link_heap_end[];

/* The compiler is not told of the extension: its libgcc is sorted by extensions, and has none with this. */
__asm__(".option arch, +zicsr\n"
        ".section .text.start, \"ax\"\n"
        ".globl start\n"
        "start:\n"
        ".option push\n"
        ".option norelax\n"
        "    la gp, link_small\n"
        ".option pop\n"
        "    la sp, link_stack_end\n"
        "    la t0, trap\n"
        "    csrw mtvec, t0\n"
        "    la t0, link_bss\n"
        "    la t1, link_bss_end\n"
        "1:  bgeu t0, t1, 2f\n"
        "    sb zero, 0(t0)\n"
        "    addi t0, t0, 1\n"
        "    j 1b\n"
        "2:  call main\n"
        "    call port_exit\n"
        /* QEMU knows the trap by the two instructions around it, none of them compressed. */
        ".balign 16\n"
        ".option push\n"
        ".option norvc\n"
        "ask_host:\n"
        "    slli zero, zero, 0x1f\n"
        "    ebreak\n"
        "    srai zero, zero, 7\n"
        "    ret\n"
        ".balign 4\n"
        "trap:\n"
        "    csrr a0, mcause\n"
        "    csrr a1, mepc\n"
        "    csrr a2, mtval\n"
        "    la sp, link_stack_end\n"
        "    j trap_report\n"
        ".option pop\n"
        ".text\n");

long ask_host(long operation, const void *argument);

enum { SYS_WRITE0 = 0x04, SYS_EXIT_EXTENDED = 0x20 };

void port_write(const char *text)
{
    (void)ask_host(SYS_WRITE0, text);
}

void port_exit(int status)
{
    const unsigned long block[2] = {0x20026 /* the program ended by itself */,
                                    (unsigned long)status};
    for (;;) {
        (void)ask_host(SYS_EXIT_EXTENDED, block);
    }
}

void *port_heap(size_t *n_bytes)
{
    *n_bytes = (size_t)(link_heap_end - link_heap);
    return link_heap;
}

static void write_hex(const char *what, unsigned long x)
{
    char text[2 * sizeof x + 1];
    for (unsigned i = 0; i < 2 * sizeof x; i++) {
        text[i] = "0123456789abcdef"[x >> (8 * sizeof x - 4 - 4 * i) & 15];
    }
    text[2 * sizeof x] = '\0';
    port_write(what);
    port_write(text);
}

__attribute__((noreturn, used)) void trap_report(unsigned long cause, unsigned long pc,
                                                 unsigned long value);
void trap_report(unsigned long cause, unsigned long pc, unsigned long value)
{
    write_hex("# fault: mcause 0x", cause);
    write_hex(", mepc 0x", pc);
    write_hex(", mtval 0x", value);
    port_write("\nnot ok - no fault\n");
    port_exit(70);
}

uint64_t port_instructions(void)
{
#if __riscv_xlen == 64
    uint64_t n;
    __asm__ volatile("csrr %0, minstret" : "=r"(n));
    return n;
#else
    uint32_t low, high, again;
    do {
        __asm__ volatile("csrr %0, minstreth\ncsrr %1, minstret\ncsrr %2, minstreth"
                         : "=r"(high), "=r"(low), "=r"(again));
    } while (high != again);
    return (uint64_t)high << 32 | low;
#endif
}
