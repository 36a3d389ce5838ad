/* Loaders with a secret in their hash beside one without: integers, strings in groups, identifiers. */
#define DLOAD_NAME  sip_number
#define DLOAD_KEY   uint32_t
#define DLOAD_VALUE double
#define DLOAD_HASH  DLOAD_HASH_SIP
#include "dataloader.h"
#define USE_NAME sip_number
#include "use.h"

#define DLOAD_NAME  fast_number
#define DLOAD_KEY   uint32_t
#define DLOAD_VALUE double
#define DLOAD_HASH  DLOAD_HASH_FAST
#include "dataloader.h"
#define USE_NAME fast_number
#include "use.h"

#define DLOAD_NAME  sip_float
#define DLOAD_KEY   float
#define DLOAD_VALUE double
#define DLOAD_HASH  DLOAD_HASH_SIP
#define DLOAD_LOCK  DLOAD_LOCK_PTHREAD
#define DLOAD_GROUP 1
#include "dataloader.h"
#define USE_NAME sip_float
#include "use.h"

#define DLOAD_NAME  sip_text
#define DLOAD_KEY   DLOAD_STRING
#define DLOAD_VALUE int
#define DLOAD_HASH  DLOAD_HASH_SIP
#define DLOAD_GROUP 1
#include "dataloader.h"

#define DLOAD_NAME  sip_id
#define DLOAD_KEY   DLOAD_ID128
#define DLOAD_VALUE int
#define DLOAD_HASH  DLOAD_HASH_SIP
#define DLOAD_LOCK  DLOAD_LOCK_SPIN
#include "dataloader.h"

static int use_text(void)
{
    static const char bytes[] = "text";
    sip_text_cache c;
    dload_str key;
    int value = 4, got = 0;
    key.ptr = bytes;
    key.len = 4;
    if (sip_text_cache_init(&c, NULL) != DLOAD_OK)
        return 1;
    int bad = sip_text_cache_set_in(&c, key, 7, &value, 0) != DLOAD_OK ||
              sip_text_cache_get_in(&c, key, 7, &got) != DLOAD_OK || got != 4 ||
              sip_text_cache_get_in(&c, key, 8, &got) != DLOAD_MISSING;
    (void)sip_text_cache_destroy(&c);
    return bad;
}

static int use_id(void)
{
    sip_id_cache c;
    dload_id128 key;
    int value = 5, got = 0;
    memset(&key, 3, sizeof key);
    if (sip_id_cache_init(&c, NULL) != DLOAD_OK)
        return 1;
    int bad = sip_id_cache_set(&c, key, &value, 0) != DLOAD_OK ||
              sip_id_cache_get(&c, key, &got) != DLOAD_OK || got != 5;
    (void)sip_id_cache_destroy(&c);
    return bad;
}

int main(void)
{
    return sip_number_use(1, 2.0) || fast_number_use(1, 2.0) || sip_float_use(1, 2.0) ||
           use_text() || use_id();
}
