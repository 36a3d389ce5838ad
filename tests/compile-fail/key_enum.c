/* An enum without DLOAD_KEY_AS. */
/* expect: DLOAD_KEY must be one of */
enum colour { RED, GREEN };
#define DLOAD_NAME things
#ifdef CONTROL
#define DLOAD_KEY int
#else
#define DLOAD_KEY enum colour
#endif
#define DLOAD_VALUE int
#include "dataloader.h"
