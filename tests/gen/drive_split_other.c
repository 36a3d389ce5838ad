/* The second user of a loader that is defined in a third translation unit. */
#include "users.h"
#include "drive_split.h"

int other_load(users *l, uint64_t key)
{
    struct quote q;
    return users_load(l, key, &q) == DLOAD_OK ? (int)q.cents : -1;
}
