/* Every kind of key, each in an instance of its own, all in one translation unit. */
#define DLOAD_NAME  by_bool
#define DLOAD_KEY   bool
#define DLOAD_VALUE int
#include "dataloader.h"
#define USE_NAME by_bool
#include "use.h"

#define DLOAD_NAME  by_char
#define DLOAD_KEY   char
#define DLOAD_VALUE int
#include "dataloader.h"
#define USE_NAME by_char
#include "use.h"

#define DLOAD_NAME  by_i8
#define DLOAD_KEY   int8_t
#define DLOAD_VALUE int
#include "dataloader.h"
#define USE_NAME by_i8
#include "use.h"

#define DLOAD_NAME  by_i16
#define DLOAD_KEY   int16_t
#define DLOAD_VALUE int
#include "dataloader.h"
#define USE_NAME by_i16
#include "use.h"

#define DLOAD_NAME  by_i32
#define DLOAD_KEY   int32_t
#define DLOAD_VALUE int
#include "dataloader.h"
#define USE_NAME by_i32
#include "use.h"

#define DLOAD_NAME  by_i64
#define DLOAD_KEY   int64_t
#define DLOAD_VALUE int
#include "dataloader.h"
#define USE_NAME by_i64
#include "use.h"

#define DLOAD_NAME  by_u8
#define DLOAD_KEY   uint8_t
#define DLOAD_VALUE int
#include "dataloader.h"
#define USE_NAME by_u8
#include "use.h"

#define DLOAD_NAME  by_u16
#define DLOAD_KEY   uint16_t
#define DLOAD_VALUE int
#include "dataloader.h"
#define USE_NAME by_u16
#include "use.h"

#define DLOAD_NAME  by_u32
#define DLOAD_KEY   uint32_t
#define DLOAD_VALUE int
#include "dataloader.h"
#define USE_NAME by_u32
#include "use.h"

#define DLOAD_NAME  by_u64
#define DLOAD_KEY   uint64_t
#define DLOAD_VALUE int
#include "dataloader.h"
#define USE_NAME by_u64
#include "use.h"

#define DLOAD_NAME  by_int
#define DLOAD_KEY   int
#define DLOAD_VALUE int
#include "dataloader.h"
#define USE_NAME by_int
#include "use.h"

#define DLOAD_NAME  by_unsigned
#define DLOAD_KEY   unsigned
#define DLOAD_VALUE int
#include "dataloader.h"
#define USE_NAME by_unsigned
#include "use.h"

#define DLOAD_NAME  by_long
#define DLOAD_KEY   long
#define DLOAD_VALUE int
#include "dataloader.h"
#define USE_NAME by_long
#include "use.h"

#define DLOAD_NAME  by_size
#define DLOAD_KEY   size_t
#define DLOAD_VALUE int
#include "dataloader.h"
#define USE_NAME by_size
#include "use.h"

#define DLOAD_NAME  by_float
#define DLOAD_KEY   float
#define DLOAD_VALUE int
#include "dataloader.h"
#define USE_NAME by_float
#include "use.h"

#define DLOAD_NAME  by_double
#define DLOAD_KEY   double
#define DLOAD_VALUE int
#include "dataloader.h"
#define USE_NAME by_double
#include "use.h"

#define DLOAD_NAME  by_string
#define DLOAD_KEY   DLOAD_STRING
#define DLOAD_VALUE int
#include "dataloader.h"
#define USE_NAME by_string
#include "use.h"

#define DLOAD_NAME  by_id128
#define DLOAD_KEY   DLOAD_ID128
#define DLOAD_VALUE int
#include "dataloader.h"
#define USE_NAME by_id128
#include "use.h"

enum colour { RED, GREEN };
#define DLOAD_NAME   by_enum
#define DLOAD_KEY    enum colour
#define DLOAD_KEY_AS unsigned
#define DLOAD_VALUE  int
#include "dataloader.h"
#define USE_NAME by_enum
#include "use.h"

typedef unsigned long long user_id;
#define DLOAD_NAME   by_typedef
#define DLOAD_KEY    user_id
#define DLOAD_KEY_AS uint64_t
#define DLOAD_VALUE  int
#include "dataloader.h"
#define USE_NAME by_typedef
#include "use.h"

int main(void)
{
    dload_id128 id;
    int failed = 0;
    memset(&id, 7, sizeof id);
    failed |= by_bool_use(true, 1);
    failed |= by_char_use('a', 1);
    failed |= by_i8_use(-8, 1);
    failed |= by_i16_use(-16, 1);
    failed |= by_i32_use(-32, 1);
    failed |= by_i64_use(-64, 1);
    failed |= by_u8_use(8, 1);
    failed |= by_u16_use(16, 1);
    failed |= by_u32_use(32u, 1);
    failed |= by_u64_use(64u, 1);
    failed |= by_int_use(1, 1);
    failed |= by_unsigned_use(2u, 1);
    failed |= by_long_use(3L, 1);
    failed |= by_size_use(4u, 1);
    failed |= by_float_use(1.5f, 1);
    failed |= by_double_use(2.5, 1);
    failed |= by_string_use(dload_str_from("a string"), 1);
    failed |= by_id128_use(id, 1);
    failed |= by_enum_use(GREEN, 1);
    failed |= by_typedef_use(5u, 1);
    return failed;
}
