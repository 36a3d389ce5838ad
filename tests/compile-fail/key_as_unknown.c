/* DLOAD_KEY_AS is held to the same list. */
/* expect: DLOAD_KEY must be one of */
#include <stdint.h>
typedef uint64_t user_id;
#define DLOAD_NAME things
#define DLOAD_KEY  user_id
#ifdef CONTROL
#define DLOAD_KEY_AS uint64_t
#else
#define DLOAD_KEY_AS user_id
#endif
#define DLOAD_VALUE int
#include "dataloader.h"
