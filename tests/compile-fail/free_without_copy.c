/* Values freed that were never copied. */
/* expect: DLOAD_VALUE_COPY and DLOAD_VALUE_FREE come together */
#include <stdbool.h>
#include <stdint.h>
struct thing;
void thing_free(struct thing **p);
bool thing_copy(struct thing **to, struct thing *const *from);
#define DLOAD_NAME          things
#define DLOAD_KEY           uint64_t
#define DLOAD_VALUE         struct thing *
#define DLOAD_VALUE_FREE(p) thing_free(p)
#ifdef CONTROL
#define DLOAD_VALUE_COPY(t, f) thing_copy(t, f)
#endif
#include "dataloader.h"
