/* nrf51.c -- a BBC micro:bit: start, UART, end. Registers: nRF51 Series Reference Manual, chapter 29 (UART).
 *
 * Ends through semihosting when a debugger or an emulator listens; without one that stops the core, which is as good
 * an end.
 */
#include "board.h"

#include <stddef.h>

extern uint32_t link_data_from[], link_data[], link_data_end[], link_bss[], link_bss_end[],
    link_stack[];

int main(void);
void board_reset(void);

/* ---- the UART ---- */

#define UART_BASE     0x40002000u
#define UART(offset)  (*(volatile uint32_t *)(UART_BASE + (offset)))
#define UART_STARTTX  UART(0x008)
#define UART_TXDRDY   UART(0x11c)
#define UART_ENABLE   UART(0x500)
#define UART_PSELTXD  UART(0x50c)
#define UART_TXD      UART(0x51c)
#define UART_BAUDRATE UART(0x524)

void board_init(void)
{
    UART_PSELTXD = 24; /* the pin that goes to the USB side */
    UART_BAUDRATE = 0x01d7e000;
    UART_ENABLE = 4;
    UART_STARTTX = 1;
}

static void put(char c)
{
    UART_TXDRDY = 0;
    UART_TXD = (uint8_t)c;
    while (UART_TXDRDY == 0)
        continue;
}

void board_print(const char *text, unsigned width)
{
    unsigned n = 0;
    for (; text[n] != '\0'; n++) {
        if (text[n] == '\n')
            put('\r');
        put(text[n]);
    }
    for (; n < width; n++)
        put(' ');
}

void board_print_number(uint32_t number, unsigned width)
{
    char digits[12];
    unsigned at = sizeof digits - 1;
    digits[at] = '\0';
    do {
        digits[--at] = (char)('0' + number % 10);
        number /= 10;
    } while (number != 0);
    for (unsigned n = (unsigned)sizeof digits - 1 - at; n < width; n++)
        put(' ');
    board_print(&digits[at], 0);
}

/* ---- the end ---- */

/* SYS_EXIT_EXTENDED of Arm's "Semihosting for AArch32 and AArch64". */
static void stop(uint32_t code)
{
    const uint32_t arguments[2] = {0x20026 /* the application ended */, code};
    register uint32_t r0 __asm__("r0") = 0x20;
    register const uint32_t *r1 __asm__("r1") = arguments;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
    for (;;)
        continue;
}

static void fault(void)
{
    stop(3);
}

/* ---- the start ---- */

void board_reset(void)
{
    uint32_t *to = link_data;
    for (const uint32_t *from = link_data_from; to < link_data_end;)
        *to++ = *from++;
    for (to = link_bss; to < link_bss_end;)
        *to++ = 0;
    stop((uint32_t)main());
}

/* The first stack, then start, NMI and fault; the example uses no interrupt. */
struct vectors {
    uint32_t *stack;
    void (*handlers[15])(void);
};
__attribute__((__section__(".vectors"), __used__)) static const struct vectors vectors = {
    link_stack, {board_reset, fault, fault}};
