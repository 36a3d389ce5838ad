/* A blob is not copied. */
/* expect: DLOAD_BLOB brings its own ownership */
#include <stdbool.h>
#include <stdint.h>
#define DLOAD_NAME  things
#define DLOAD_KEY   uint64_t
#define DLOAD_VALUE DLOAD_BLOB
#ifndef CONTROL
#define DLOAD_VALUE_COPY(t, f) thing_copy(t, f)
#define DLOAD_VALUE_FREE(p)    thing_free(p)
#endif
#include "dataloader.h"
