/* DLOAD_KEY_AS of another size. */
/* expect: DLOAD_KEY_AS must have DLOAD_KEY */
#include <stdint.h>
typedef uint64_t user_id;
#define DLOAD_NAME things
#define DLOAD_KEY  user_id
#ifdef CONTROL
#define DLOAD_KEY_AS uint64_t
#else
#define DLOAD_KEY_AS uint32_t
#endif
#define DLOAD_VALUE int
#include "dataloader.h"
