/* DLOAD_KEY_AS is for scalars. */
/* expect: DLOAD_KEY_AS must be a scalar */
#include <stdint.h>
typedef uint32_t user_id;
#define DLOAD_NAME things
#define DLOAD_KEY  user_id
#ifdef CONTROL
#define DLOAD_KEY_AS uint32_t
#else
#define DLOAD_KEY_AS DLOAD_STRING
#endif
#define DLOAD_VALUE int
#include "dataloader.h"
