/* Every lock with every eviction policy. */
#define DLOAD_NAME  none_none
#define DLOAD_KEY   uint64_t
#define DLOAD_VALUE uint64_t
#define DLOAD_LOCK  DLOAD_LOCK_NONE
#define DLOAD_EVICT DLOAD_EVICT_NONE
#include "dataloader.h"
#define USE_NAME none_none
#include "use.h"

#define DLOAD_NAME  none_fifo
#define DLOAD_KEY   uint64_t
#define DLOAD_VALUE uint64_t
#define DLOAD_LOCK  DLOAD_LOCK_NONE
#define DLOAD_EVICT DLOAD_EVICT_FIFO
#include "dataloader.h"
#define USE_NAME none_fifo
#include "use.h"

#define DLOAD_NAME  none_clock
#define DLOAD_KEY   uint64_t
#define DLOAD_VALUE uint64_t
#define DLOAD_LOCK  DLOAD_LOCK_NONE
#define DLOAD_EVICT DLOAD_EVICT_CLOCK
#include "dataloader.h"
#define USE_NAME none_clock
#include "use.h"

#define DLOAD_NAME  none_lru
#define DLOAD_KEY   uint64_t
#define DLOAD_VALUE uint64_t
#define DLOAD_LOCK  DLOAD_LOCK_NONE
#define DLOAD_EVICT DLOAD_EVICT_LRU
#include "dataloader.h"
#define USE_NAME none_lru
#include "use.h"

#define DLOAD_NAME  none_sieve
#define DLOAD_KEY   uint64_t
#define DLOAD_VALUE uint64_t
#define DLOAD_LOCK  DLOAD_LOCK_NONE
#define DLOAD_EVICT DLOAD_EVICT_SIEVE
#include "dataloader.h"
#define USE_NAME none_sieve
#include "use.h"

#define DLOAD_NAME  none_s3fifo
#define DLOAD_KEY   uint64_t
#define DLOAD_VALUE uint64_t
#define DLOAD_LOCK  DLOAD_LOCK_NONE
#define DLOAD_EVICT DLOAD_EVICT_S3FIFO
#include "dataloader.h"
#define USE_NAME none_s3fifo
#include "use.h"

#define DLOAD_NAME  none_adaptive
#define DLOAD_KEY   uint64_t
#define DLOAD_VALUE uint64_t
#define DLOAD_LOCK  DLOAD_LOCK_NONE
#define DLOAD_EVICT DLOAD_EVICT_ADAPTIVE
#include "dataloader.h"
#define USE_NAME none_adaptive
#include "use.h"

#define DLOAD_NAME  none_auto
#define DLOAD_KEY   uint64_t
#define DLOAD_VALUE uint64_t
#define DLOAD_LOCK  DLOAD_LOCK_NONE
#define DLOAD_EVICT DLOAD_EVICT_AUTO
#include "dataloader.h"
#define USE_NAME none_auto
#include "use.h"

#define DLOAD_NAME  spin_none
#define DLOAD_KEY   uint64_t
#define DLOAD_VALUE uint64_t
#define DLOAD_LOCK  DLOAD_LOCK_SPIN
#define DLOAD_EVICT DLOAD_EVICT_NONE
#include "dataloader.h"
#define USE_NAME spin_none
#include "use.h"

#define DLOAD_NAME  spin_fifo
#define DLOAD_KEY   uint64_t
#define DLOAD_VALUE uint64_t
#define DLOAD_LOCK  DLOAD_LOCK_SPIN
#define DLOAD_EVICT DLOAD_EVICT_FIFO
#include "dataloader.h"
#define USE_NAME spin_fifo
#include "use.h"

#define DLOAD_NAME  spin_clock
#define DLOAD_KEY   uint64_t
#define DLOAD_VALUE uint64_t
#define DLOAD_LOCK  DLOAD_LOCK_SPIN
#define DLOAD_EVICT DLOAD_EVICT_CLOCK
#include "dataloader.h"
#define USE_NAME spin_clock
#include "use.h"

#define DLOAD_NAME  spin_lru
#define DLOAD_KEY   uint64_t
#define DLOAD_VALUE uint64_t
#define DLOAD_LOCK  DLOAD_LOCK_SPIN
#define DLOAD_EVICT DLOAD_EVICT_LRU
#include "dataloader.h"
#define USE_NAME spin_lru
#include "use.h"

#define DLOAD_NAME  spin_sieve
#define DLOAD_KEY   uint64_t
#define DLOAD_VALUE uint64_t
#define DLOAD_LOCK  DLOAD_LOCK_SPIN
#define DLOAD_EVICT DLOAD_EVICT_SIEVE
#include "dataloader.h"
#define USE_NAME spin_sieve
#include "use.h"

#define DLOAD_NAME  spin_s3fifo
#define DLOAD_KEY   uint64_t
#define DLOAD_VALUE uint64_t
#define DLOAD_LOCK  DLOAD_LOCK_SPIN
#define DLOAD_EVICT DLOAD_EVICT_S3FIFO
#include "dataloader.h"
#define USE_NAME spin_s3fifo
#include "use.h"

#define DLOAD_NAME  spin_adaptive
#define DLOAD_KEY   uint64_t
#define DLOAD_VALUE uint64_t
#define DLOAD_LOCK  DLOAD_LOCK_SPIN
#define DLOAD_EVICT DLOAD_EVICT_ADAPTIVE
#include "dataloader.h"
#define USE_NAME spin_adaptive
#include "use.h"

#define DLOAD_NAME  spin_auto
#define DLOAD_KEY   uint64_t
#define DLOAD_VALUE uint64_t
#define DLOAD_LOCK  DLOAD_LOCK_SPIN
#define DLOAD_EVICT DLOAD_EVICT_AUTO
#include "dataloader.h"
#define USE_NAME spin_auto
#include "use.h"

#define DLOAD_NAME  pthread_none
#define DLOAD_KEY   uint64_t
#define DLOAD_VALUE uint64_t
#define DLOAD_LOCK  DLOAD_LOCK_PTHREAD
#define DLOAD_EVICT DLOAD_EVICT_NONE
#include "dataloader.h"
#define USE_NAME pthread_none
#include "use.h"

#define DLOAD_NAME  pthread_fifo
#define DLOAD_KEY   uint64_t
#define DLOAD_VALUE uint64_t
#define DLOAD_LOCK  DLOAD_LOCK_PTHREAD
#define DLOAD_EVICT DLOAD_EVICT_FIFO
#include "dataloader.h"
#define USE_NAME pthread_fifo
#include "use.h"

#define DLOAD_NAME  pthread_clock
#define DLOAD_KEY   uint64_t
#define DLOAD_VALUE uint64_t
#define DLOAD_LOCK  DLOAD_LOCK_PTHREAD
#define DLOAD_EVICT DLOAD_EVICT_CLOCK
#include "dataloader.h"
#define USE_NAME pthread_clock
#include "use.h"

#define DLOAD_NAME  pthread_lru
#define DLOAD_KEY   uint64_t
#define DLOAD_VALUE uint64_t
#define DLOAD_LOCK  DLOAD_LOCK_PTHREAD
#define DLOAD_EVICT DLOAD_EVICT_LRU
#include "dataloader.h"
#define USE_NAME pthread_lru
#include "use.h"

#define DLOAD_NAME  pthread_sieve
#define DLOAD_KEY   uint64_t
#define DLOAD_VALUE uint64_t
#define DLOAD_LOCK  DLOAD_LOCK_PTHREAD
#define DLOAD_EVICT DLOAD_EVICT_SIEVE
#include "dataloader.h"
#define USE_NAME pthread_sieve
#include "use.h"

#define DLOAD_NAME  pthread_s3fifo
#define DLOAD_KEY   uint64_t
#define DLOAD_VALUE uint64_t
#define DLOAD_LOCK  DLOAD_LOCK_PTHREAD
#define DLOAD_EVICT DLOAD_EVICT_S3FIFO
#include "dataloader.h"
#define USE_NAME pthread_s3fifo
#include "use.h"

#define DLOAD_NAME  pthread_adaptive
#define DLOAD_KEY   uint64_t
#define DLOAD_VALUE uint64_t
#define DLOAD_LOCK  DLOAD_LOCK_PTHREAD
#define DLOAD_EVICT DLOAD_EVICT_ADAPTIVE
#include "dataloader.h"
#define USE_NAME pthread_adaptive
#include "use.h"

#define DLOAD_NAME  pthread_auto
#define DLOAD_KEY   uint64_t
#define DLOAD_VALUE uint64_t
#define DLOAD_LOCK  DLOAD_LOCK_PTHREAD
#define DLOAD_EVICT DLOAD_EVICT_AUTO
#include "dataloader.h"
#define USE_NAME pthread_auto
#include "use.h"

int main(void)
{
    int failed = 0;
    failed |= none_none_use(1, 2);
    failed |= none_fifo_use(1, 2);
    failed |= none_clock_use(1, 2);
    failed |= none_lru_use(1, 2);
    failed |= none_sieve_use(1, 2);
    failed |= none_s3fifo_use(1, 2);
    failed |= none_adaptive_use(1, 2);
    failed |= none_auto_use(1, 2);
    failed |= spin_none_use(1, 2);
    failed |= spin_fifo_use(1, 2);
    failed |= spin_clock_use(1, 2);
    failed |= spin_lru_use(1, 2);
    failed |= spin_sieve_use(1, 2);
    failed |= spin_s3fifo_use(1, 2);
    failed |= spin_adaptive_use(1, 2);
    failed |= spin_auto_use(1, 2);
    failed |= pthread_none_use(1, 2);
    failed |= pthread_fifo_use(1, 2);
    failed |= pthread_clock_use(1, 2);
    failed |= pthread_lru_use(1, 2);
    failed |= pthread_sieve_use(1, 2);
    failed |= pthread_s3fifo_use(1, 2);
    failed |= pthread_adaptive_use(1, 2);
    failed |= pthread_auto_use(1, 2);
    return failed;
}
