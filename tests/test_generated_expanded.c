/* The same for the header that mkloader --expand writes: the whole loader, without macros. */
#define GENERATED "gen/expanded/registers.h"
#include "test_generated.c"
