/* DLOAD_KEY_AS of another kind: an integer is not a float. */
/* expect: DLOAD_KEY_AS must have DLOAD_KEY */
#include <stdint.h>
typedef double user_id;
#define DLOAD_NAME things
#define DLOAD_KEY  user_id
#ifdef CONTROL
#define DLOAD_KEY_AS double
#else
#define DLOAD_KEY_AS uint64_t
#endif
#define DLOAD_VALUE int
#include "dataloader.h"
