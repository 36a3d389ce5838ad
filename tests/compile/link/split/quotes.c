#define QUOTES_LINKAGE DLOAD_LINKAGE_DEFINE
#include "quotes.h"
