/* The model of groups, with a secret in the hash: keys, groups, and their open batches. */
/* locks: NONE */
#define TEST_HASH DLOAD_HASH_SIP
#include "test_groups_model.c"
