/* What a target is to the kit: a way to write, to end, and to count instructions. */
#ifndef DLOAD_TESTS_PORT_H
#define DLOAD_TESTS_PORT_H

#include <stddef.h>
#include <stdint.h>

void port_write(const char *text);

/* Ends the machine; status 0 = all is well. */
__attribute__((noreturn)) void port_exit(int status);

/* Grows by one an instruction where the emulator counts them (-icount), else as it likes. Hosts: 0. */
uint64_t port_instructions(void);

/* Free memory for the heap of libc.c. */
void *port_heap(size_t *n_bytes);

/* Cortex-M: calls handler as an interrupt, every n_clocks of the core's clock, below 2^24; NULL = no more. */
void port_interrupt_every(uint32_t n_clocks, void (*handler)(void));

int main(void);

#endif /* DLOAD_TESTS_PORT_H */
