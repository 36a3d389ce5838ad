/* >>draw -- 128 bits that nobody can guess, and nobody else has. Included by who needs such. */
#include "env.h"

#if (DLOAD_HASH == DLOAD_HASH_SIP || DLOAD_STORE) && !defined(DLOAD_I_DRAW_H)
#define DLOAD_I_DRAW_H

#if !DLOAD_FREESTANDING
#if defined(__linux__) || defined(__APPLE__)
#include <sys/random.h>
#else
#include <unistd.h>
#endif
#endif

/* Draws a secret: from env->random, or from the system. False when there is neither. */
DLOAD_I_LOCAL bool dload_i_draw_hash_key(const dload_env *env, uint64_t hash_key[2])
{
    if (env->random != NULL) {
        hash_key[0] = env->random(env->ctx);
        hash_key[1] = env->random(env->ctx);
        return true;
    }
#if DLOAD_FREESTANDING
    return false;
#elif defined(__linux__)
    for (int i = 0; i < 16; i++) { /* a signal may interrupt it while the system has just started */
        if (getrandom(hash_key, 2 * sizeof *hash_key, 0) == 2 * sizeof *hash_key)
            return true;
    }
    return false;
#else
    return getentropy(hash_key, 2 * sizeof *hash_key) == 0;
#endif
}

#endif /* DLOAD_I_DRAW_H */
