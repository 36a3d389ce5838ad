/* What test_hash asks of hashes, asked of XXH3. */
/* locks: NONE */
#define DLOAD_XXHASH 1
#include "test_hash.c"
