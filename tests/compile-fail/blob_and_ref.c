/* A blob counts its own references. */
/* expect: DLOAD_BLOB brings its own ownership */
#include <stdbool.h>
#include <stdint.h>
#define DLOAD_NAME  things
#define DLOAD_KEY   uint64_t
#define DLOAD_VALUE DLOAD_BLOB
#ifndef CONTROL
#define DLOAD_VALUE_REF(p)   thing_ref(p)
#define DLOAD_VALUE_UNREF(p) thing_unref(p)
#endif
#include "dataloader.h"
