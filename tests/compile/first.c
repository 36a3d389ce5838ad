/* dataloader.h as the very first line: it brings everything it needs, and two loaders of the same
 * file do not know each other. No function of the first is called: that must not warn either. */
#define DLOAD_NAME  unused
#define DLOAD_KEY   uint64_t
#define DLOAD_VALUE int
#include "dataloader.h"

#define DLOAD_NAME  used
#define DLOAD_KEY   uint64_t
#define DLOAD_VALUE int
#include "dataloader.h"

#if defined(DLOAD_NAME) || defined(DLOAD_KEY) || defined(DLOAD_VALUE) || defined(DLOAD_LOCK) ||   \
    defined(DLOAD_EVICT) || defined(DLOAD_TTL) || defined(DLOAD_CLOCK) || defined(DLOAD_STATS) || \
    defined(DLOAD_LINKAGE)
#error "a parameter outlived its loader"
#endif
#define USE_NAME used
#include "use.h"

int main(void)
{
    return used_use(1, 2);
}
