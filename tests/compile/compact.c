/* DLOAD_COMPACT with keys, values, policies and clocks of every kind. */
struct shared {
    int n_refs;
};
static void shared_ref(struct shared *s)
{
    s->n_refs++;
}
static void shared_unref(struct shared *s)
{
    s->n_refs--;
}

#define DLOAD_NAME    by_bool
#define DLOAD_KEY     bool
#define DLOAD_VALUE   int
#define DLOAD_COMPACT 1
#define DLOAD_EVICT   DLOAD_EVICT_NONE
#include "dataloader.h"
#define USE_NAME by_bool
#include "use.h"

#define DLOAD_NAME    by_i8
#define DLOAD_KEY     int8_t
#define DLOAD_VALUE   int8_t
#define DLOAD_COMPACT 1
#define DLOAD_EVICT   DLOAD_EVICT_FIFO
#define DLOAD_TTL     0
#include "dataloader.h"
#define USE_NAME by_i8
#include "use.h"

#define DLOAD_NAME    by_u16
#define DLOAD_KEY     uint16_t
#define DLOAD_VALUE   double
#define DLOAD_COMPACT 1
#define DLOAD_EVICT   DLOAD_EVICT_CLOCK
#define DLOAD_STATS   0
#include "dataloader.h"
#define USE_NAME by_u16
#include "use.h"

#define DLOAD_NAME    by_u64
#define DLOAD_KEY     uint64_t
#define DLOAD_VALUE   uint64_t
#define DLOAD_COMPACT 1
#define DLOAD_CLOCK   DLOAD_CLOCK_MANUAL
#include "dataloader.h"
#define USE_NAME by_u64
#include "use.h"

#define DLOAD_NAME      by_double
#define DLOAD_KEY       double
#define DLOAD_VALUE     int
#define DLOAD_COMPACT   1
#define DLOAD_ON_REMOVE 1
#include "dataloader.h"
#define USE_NAME by_double
#include "use.h"

#define DLOAD_NAME    by_float
#define DLOAD_KEY     float
#define DLOAD_VALUE   int
#define DLOAD_COMPACT 1
#define DLOAD_CLOCK   DLOAD_CLOCK_COARSE
#include "dataloader.h"
#define USE_NAME by_float
#include "use.h"

#define DLOAD_NAME            by_id
#define DLOAD_KEY             DLOAD_ID128
#define DLOAD_VALUE           struct shared *
#define DLOAD_COMPACT         1
#define DLOAD_VALUE_REF(pv)   shared_ref(*(pv))
#define DLOAD_VALUE_UNREF(pv) shared_unref(*(pv))
#define DLOAD_ON_REMOVE       1
#include "dataloader.h"
#define USE_NAME by_id
#include "use.h"

#define DLOAD_NAME    blobs
#define DLOAD_KEY     uint32_t
#define DLOAD_VALUE   DLOAD_BLOB
#define DLOAD_COMPACT 1
#define DLOAD_TTL     0
#include "dataloader.h"
#define USE_NAME blobs
#include "use.h"

/* a critical section that counts how often it was entered and not left */
#define DLOAD_CUSTOM_TYPE     int
#define DLOAD_CUSTOM_INIT(p)  (*(p) = 0)
#define DLOAD_CUSTOM_ENTER(p) (++*(p))
#define DLOAD_CUSTOM_LEAVE(p) (--*(p))
#define DLOAD_NAME            critical
#define DLOAD_KEY             int64_t
#define DLOAD_VALUE           double
#define DLOAD_LOCK            DLOAD_LOCK_CUSTOM
#define DLOAD_COMPACT         1
#include "dataloader.h"
#define USE_NAME critical
#include "use.h"

int main(void)
{
    dload_id128 id;
    struct shared one = {1};
    dload_blob no_bytes;
    int failed = 0;
    memset(&id, 7, sizeof id);
    memset(&no_bytes, 0, sizeof no_bytes);
    failed |= by_bool_use(true, 2);
    failed |= by_i8_use(-1, 2);
    failed |= by_u16_use(1, 2);
    failed |= by_u64_use(1, 2);
    failed |= by_double_use(1, 2);
    failed |= by_float_use(1, 2);
    failed |= by_id_use(id, &one);
    failed |= blobs_use(1, no_bytes);
    failed |= critical_use(-5, 2);
    return failed;
}
