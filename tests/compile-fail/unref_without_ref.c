/* References given back that nobody took. */
/* expect: DLOAD_VALUE_REF and DLOAD_VALUE_UNREF come together */
#include <stdbool.h>
#include <stdint.h>
struct thing;
void thing_ref(struct thing **p);
void thing_unref(struct thing **p);
#define DLOAD_NAME           things
#define DLOAD_KEY            uint64_t
#define DLOAD_VALUE          struct thing *
#define DLOAD_VALUE_UNREF(p) thing_unref(p)
#ifdef CONTROL
#define DLOAD_VALUE_REF(p) thing_ref(p)
#endif
#include "dataloader.h"
