/* stb_ds's dynamic arrays and string maps, with an allocator that ends the program instead of
 * returning the NULL that stb_ds would write to. Exactly one file defines STB_DS_IMPLEMENTATION. */
#ifndef DEPGRAPH_STB_H
#define DEPGRAPH_STB_H

#include <stdint.h>
#include <stdlib.h>

/* realloc that never returns NULL: a demonstration without memory has nothing left to show. */
void *depgraph_realloc(void *ptr, size_t n_bytes);

#define STBDS_REALLOC(context, ptr, n_bytes) depgraph_realloc((ptr), (n_bytes))
#define STBDS_FREE(context, ptr)             free(ptr)
#include <stb/stb_ds.h>

/* A key for a string map, which takes it without const and leaves it as it is. */
static inline char *stb_key(const char *key)
{
    return (char *)(uintptr_t)key;
}

#endif
