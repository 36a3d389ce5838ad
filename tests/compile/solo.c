/* DLOAD_ASYNC 0 with keys, values, policies and hashes of every kind; DLOAD_STATS 1 is in test_solo.c. */
enum colour { RED, BLUE = 3 };
struct two {
    int a;
    char b;
};
static unsigned two_weigh(const struct two *t)
{
    return (unsigned)t->a;
}

#define USE_SOLO

#define DLOAD_NAME    by_bool
#define DLOAD_KEY     bool
#define DLOAD_VALUE   int
#define DLOAD_ASYNC   0
#define DLOAD_STATS   0
#define DLOAD_COMPACT 1
#include "dataloader.h"
#define USE_NAME by_bool
#include "use.h"

#define DLOAD_NAME  by_i8
#define DLOAD_KEY   int8_t
#define DLOAD_VALUE int8_t
#define DLOAD_ASYNC 0
#define DLOAD_STATS 0
#define DLOAD_EVICT DLOAD_EVICT_LRU
#define DLOAD_TTL   0
#include "dataloader.h"
#define USE_NAME by_i8
#include "use.h"

#define DLOAD_NAME  by_u32
#define DLOAD_KEY   uint32_t
#define DLOAD_VALUE double
#define DLOAD_ASYNC 0
#define DLOAD_STATS 0
#define DLOAD_EVICT DLOAD_EVICT_ADAPTIVE
#define DLOAD_HASH  DLOAD_HASH_SIP
#include "dataloader.h"
#define USE_NAME by_u32
#include "use.h"

#define DLOAD_NAME    by_float
#define DLOAD_KEY     float
#define DLOAD_VALUE   const char *
#define DLOAD_ASYNC   0
#define DLOAD_STATS   0
#define DLOAD_COMPACT 1
#define DLOAD_TTL     0
#include "dataloader.h"
#define USE_NAME by_float
#include "use.h"

#define DLOAD_NAME      by_double
#define DLOAD_KEY       double
#define DLOAD_VALUE     struct two
#define DLOAD_ASYNC     0
#define DLOAD_STATS     0
#define DLOAD_EVICT     DLOAD_EVICT_SIEVE
#define DLOAD_WEIGHT(p) two_weigh(p)
#include "dataloader.h"
#define USE_NAME by_double
#include "use.h"

#define DLOAD_NAME    by_id
#define DLOAD_KEY     DLOAD_ID128
#define DLOAD_VALUE   struct two
#define DLOAD_ASYNC   0
#define DLOAD_STATS   0
#define DLOAD_COMPACT 1
#define DLOAD_CLOCK   DLOAD_CLOCK_MANUAL
#include "dataloader.h"
#define USE_NAME by_id
#include "use.h"

#define DLOAD_NAME   by_colour
#define DLOAD_KEY    enum colour
#define DLOAD_VALUE  long double
#define DLOAD_ASYNC  0
#define DLOAD_STATS  0
#define DLOAD_KEY_AS unsigned
#define DLOAD_EVICT  DLOAD_EVICT_S3FIFO
#include "dataloader.h"
#define USE_NAME by_colour
#include "use.h"

int main(void)
{
    dload_id128 id;
    struct two two = {3, 'x'};
    int failed = 0;
    memset(&id, 9, sizeof id);
    failed = failed != 0 ? failed : by_bool_use(true, 1);
    failed = failed != 0 ? failed : by_i8_use((int8_t)-3, (int8_t)4);
    failed = failed != 0 ? failed : by_u32_use(7u, 0.5);
    failed = failed != 0 ? failed : by_float_use(1.5f, "text");
    failed = failed != 0 ? failed : by_double_use(-2.5, two);
    failed = failed != 0 ? failed : by_id_use(id, two);
    failed = failed != 0 ? failed : by_colour_use(BLUE, 1.5L);
    return failed;
}
