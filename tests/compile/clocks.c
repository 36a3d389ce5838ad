/* Every clock, with and without TTL, with and without counters. */
#define DLOAD_NAME  clock_env_ttl0
#define DLOAD_KEY   uint32_t
#define DLOAD_VALUE double
#define DLOAD_CLOCK DLOAD_CLOCK_ENV
#define DLOAD_TTL   0
#define DLOAD_STATS 0
#include "dataloader.h"
#define USE_NAME clock_env_ttl0
#include "use.h"

#define DLOAD_NAME  clock_env_ttl1
#define DLOAD_KEY   uint32_t
#define DLOAD_VALUE double
#define DLOAD_CLOCK DLOAD_CLOCK_ENV
#define DLOAD_TTL   1
#define DLOAD_STATS 1
#include "dataloader.h"
#define USE_NAME clock_env_ttl1
#include "use.h"

#define DLOAD_NAME  clock_coarse_ttl0
#define DLOAD_KEY   uint32_t
#define DLOAD_VALUE double
#define DLOAD_CLOCK DLOAD_CLOCK_COARSE
#define DLOAD_TTL   0
#define DLOAD_STATS 1
#include "dataloader.h"
#define USE_NAME clock_coarse_ttl0
#include "use.h"

#define DLOAD_NAME  clock_coarse_ttl1
#define DLOAD_KEY   uint32_t
#define DLOAD_VALUE double
#define DLOAD_CLOCK DLOAD_CLOCK_COARSE
#define DLOAD_TTL   1
#define DLOAD_STATS 0
#include "dataloader.h"
#define USE_NAME clock_coarse_ttl1
#include "use.h"

#define DLOAD_NAME  clock_precise_ttl0
#define DLOAD_KEY   uint32_t
#define DLOAD_VALUE double
#define DLOAD_CLOCK DLOAD_CLOCK_PRECISE
#define DLOAD_TTL   0
#define DLOAD_STATS 0
#include "dataloader.h"
#define USE_NAME clock_precise_ttl0
#include "use.h"

#define DLOAD_NAME  clock_precise_ttl1
#define DLOAD_KEY   uint32_t
#define DLOAD_VALUE double
#define DLOAD_CLOCK DLOAD_CLOCK_PRECISE
#define DLOAD_TTL   1
#define DLOAD_STATS 1
#include "dataloader.h"
#define USE_NAME clock_precise_ttl1
#include "use.h"

#define DLOAD_NAME  clock_manual_ttl0
#define DLOAD_KEY   uint32_t
#define DLOAD_VALUE double
#define DLOAD_CLOCK DLOAD_CLOCK_MANUAL
#define DLOAD_TTL   0
#define DLOAD_STATS 1
#include "dataloader.h"
#define USE_NAME clock_manual_ttl0
#include "use.h"

#define DLOAD_NAME  clock_manual_ttl1
#define DLOAD_KEY   uint32_t
#define DLOAD_VALUE double
#define DLOAD_CLOCK DLOAD_CLOCK_MANUAL
#define DLOAD_TTL   1
#define DLOAD_STATS 0
#include "dataloader.h"
#define USE_NAME clock_manual_ttl1
#include "use.h"

int main(void)
{
    int failed = 0;
    failed |= clock_env_ttl0_use(1, 2.0);
    failed |= clock_env_ttl1_use(1, 2.0);
    failed |= clock_coarse_ttl0_use(1, 2.0);
    failed |= clock_coarse_ttl1_use(1, 2.0);
    failed |= clock_precise_ttl0_use(1, 2.0);
    failed |= clock_precise_ttl1_use(1, 2.0);
    failed |= clock_manual_ttl0_use(1, 2.0);
    failed |= clock_manual_ttl1_use(1, 2.0);
    return failed;
}
