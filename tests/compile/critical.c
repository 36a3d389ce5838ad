/* Loaders whose lock is a critical section of the program's, which counts how deep it is in. */
struct critical {
    int depth_before;
};
static int critical_depth;

#define DLOAD_CUSTOM_TYPE     struct critical
#define DLOAD_CUSTOM_INIT(p)  ((p)->depth_before = 0)
#define DLOAD_CUSTOM_ENTER(p) ((p)->depth_before = critical_depth++)
#define DLOAD_CUSTOM_LEAVE(p) (critical_depth = (p)->depth_before)

#define DLOAD_NAME  critical_plain
#define DLOAD_KEY   uint32_t
#define DLOAD_VALUE double
#define DLOAD_LOCK  DLOAD_LOCK_CUSTOM
#include "dataloader.h"
#define USE_NAME critical_plain
#include "use.h"

#define DLOAD_NAME      critical_all
#define DLOAD_KEY       DLOAD_STRING
#define DLOAD_VALUE     DLOAD_BLOB
#define DLOAD_LOCK      DLOAD_LOCK_CUSTOM
#define DLOAD_REFRESH   1
#define DLOAD_ON_REMOVE 1
#define DLOAD_STORE     1
#define DLOAD_SNAPSHOT  1
#define DLOAD_HASH      DLOAD_HASH_SIP
#include "dataloader.h"
#define USE_NAME critical_all
#include "use.h"

#define DLOAD_NAME   critical_manual
#define DLOAD_KEY    uint64_t
#define DLOAD_VALUE  int
#define DLOAD_LOCK   DLOAD_LOCK_CUSTOM
#define DLOAD_CLOCK  DLOAD_CLOCK_MANUAL
#define DLOAD_GROUP  1
#define DLOAD_STATS  0
#define DLOAD_WEIGHT critical_weight
static uint32_t critical_weight(const int *value)
{
    return (uint32_t)(*value & 7);
}
#include "dataloader.h"
#define USE_NAME critical_manual
#include "use.h"

#define DLOAD_NAME    critical_compact
#define DLOAD_KEY     uint16_t
#define DLOAD_VALUE   int
#define DLOAD_LOCK    DLOAD_LOCK_CUSTOM
#define DLOAD_COMPACT 1
#include "dataloader.h"
#define USE_NAME critical_compact
#include "use.h"

#define DLOAD_NAME  critical_without
#define DLOAD_KEY   uint64_t
#define DLOAD_VALUE int
#include "dataloader.h"
#define USE_NAME critical_without
#include "use.h"

int main(void)
{
    int failed = 0;
    dload_blob blob = {NULL, 0};
    failed |= critical_plain_use(1, 2.0);
    failed |= critical_all_use(dload_str_from("a"), blob);
    failed |= critical_manual_use(1, 2);
    failed |= critical_compact_use(1, 2);
    failed |= critical_without_use(1, 2);
    return failed | critical_depth;
}
