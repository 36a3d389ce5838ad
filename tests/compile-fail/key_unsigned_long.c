/* Two words: DLOAD_KEY_AS takes them apart. */
/* expect: name the primitive behind it in DLOAD_KEY_AS */
#define DLOAD_NAME things
#ifdef CONTROL
#define DLOAD_KEY uint64_t
#else
#define DLOAD_KEY unsigned long
#endif
#define DLOAD_VALUE int
#include "dataloader.h"
