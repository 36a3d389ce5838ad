/* What drive_split_other.c offers to drive_split.c. */
#ifndef TESTS_GEN_DRIVE_SPLIT_H
#define TESTS_GEN_DRIVE_SPLIT_H

#include "users.h"

#ifdef __cplusplus
extern "C" {
#endif
/* The cents of a key, or -1. */
int other_load(users *l, uint64_t key);
#ifdef __cplusplus
}
#endif

#endif
