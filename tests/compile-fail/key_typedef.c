/* A typedef hides what is behind it: DLOAD_KEY_AS says so. */
/* expect: DLOAD_KEY must be one of */
#include <stdint.h>
typedef uint32_t user_id;
#define DLOAD_NAME things
#ifdef CONTROL
#define DLOAD_KEY uint32_t
#else
#define DLOAD_KEY user_id
#endif
#define DLOAD_VALUE int
#include "dataloader.h"
