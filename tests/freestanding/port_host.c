/* A host, of any byte order and width, also under qemu-user: the same suites with the host's libc. */
#include <stdio.h>
#include <stdlib.h>

#include "port.h"

void port_write(const char *text)
{
    (void)fputs(text, stdout);
    (void)fflush(stdout);
}

void port_exit(int status)
{
    exit(status);
}

uint64_t port_instructions(void)
{
    return 0;
}
