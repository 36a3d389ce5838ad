/* DLOAD_KEY_AS of another sign. */
/* expect: DLOAD_KEY_AS must have DLOAD_KEY */
#include <stdint.h>
typedef int32_t user_id;
#define DLOAD_NAME things
#define DLOAD_KEY  user_id
#ifdef CONTROL
#define DLOAD_KEY_AS int32_t
#else
#define DLOAD_KEY_AS uint32_t
#endif
#define DLOAD_VALUE int
#include "dataloader.h"
