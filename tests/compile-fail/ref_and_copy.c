/* A value is shared or copied, not both. */
/* expect: DLOAD_VALUE_REF/UNREF and DLOAD_VALUE_COPY/FREE exclude each other */
#include <stdbool.h>
#include <stdint.h>
struct thing;
void thing_ref(struct thing **p);
void thing_unref(struct thing **p);
void thing_free(struct thing **p);
bool thing_copy(struct thing **to, struct thing *const *from);
#define DLOAD_NAME           things
#define DLOAD_KEY            uint64_t
#define DLOAD_VALUE          struct thing *
#define DLOAD_VALUE_REF(p)   thing_ref(p)
#define DLOAD_VALUE_UNREF(p) thing_unref(p)
#ifndef CONTROL
#define DLOAD_VALUE_COPY(t, f) thing_copy(t, f)
#define DLOAD_VALUE_FREE(p)    thing_free(p)
#endif
#include "dataloader.h"
