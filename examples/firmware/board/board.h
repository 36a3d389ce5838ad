/* board.h -- the little of a board that the example needs: a way to say something, and to end.
 *
 * board/nrf51.c is a BBC micro:bit (Cortex-M0, 16 KB RAM, 256 KB flash), real or in QEMU; another board brings
 * another file of these functions and a linker script.
 */
#ifndef BOARD_H
#define BOARD_H

#include <stdint.h>

void board_init(void);

/* Prints text over the UART, at 115200 baud, filled up with blanks to width. */
void board_print(const char *text, unsigned width);

/* ... and a number, to the right of width. */
void board_print_number(uint32_t number, unsigned width);

#endif /* BOARD_H */
