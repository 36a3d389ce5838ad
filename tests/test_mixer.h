/* The integer mixer backwards: keys whose hashes a test chooses. */
#ifndef DLOAD_TESTS_TEST_MIXER_H
#define DLOAD_TESTS_TEST_MIXER_H

#include "support.h"

/* The key that dload_i_mix_int makes hash of: fold, multiply, fold, multiply, each undone. */
static inline uint64_t key_of_hash(uint64_t hash)
{
    uint64_t inverse = UINT64_C(0xd6e8feb86659fd93), key = hash;
    for (int i = 0; i < 6; i++) { /* Newton's iteration doubles the bits that are right */
        inverse *= 2 - UINT64_C(0xd6e8feb86659fd93) * inverse;
    }
    key *= inverse;
    key ^= key >> 33;
    key *= inverse;
    key ^= key >> 31 ^ key >> 62;
    equal(dload_i_mix_int(key), hash);
    return key;
}

#endif /* DLOAD_TESTS_TEST_MIXER_H */
