/* >>chains -- what every compact table has in common: its links, its meta words, its memory.
 *
 * DLOAD_COMPACT is for memories of kilobytes: slots in one array, and chains through them by 16-bit links. A
 * hit is some comparisons along a chain of one or two slots; nothing is allocated after the start.
 */
#ifndef DLOAD_I_CHAINS_H
#define DLOAD_I_CHAINS_H

#include "evict.h"

#define DLOAD_I_CHAIN_END   0xffffu
#define DLOAD_I_COMPACT_MAX 65534u /* slots */

/* Bits of meta beside DLOAD_I_META_ERROR; see slots.h. */
#define DLOAD_I_END_HIGH     0x0fffu
#define DLOAD_I_CHAIN_USED   0x1000u
#define DLOAD_I_CHAIN_PINNED 0x2000u
#define DLOAD_I_CHAIN_ENDS   0x4000u

/* Chains of a table with n slots: the largest power of two that is not above n. A constant when n is one. */
#define DLOAD_I_CHAINS_2(n)  ((n) >= 2 ? 2 : 1)
#define DLOAD_I_CHAINS_4(n)  ((n) >= 8 ? 8 : (n) >= 4 ? 4 : DLOAD_I_CHAINS_2(n))
#define DLOAD_I_CHAINS_6(n)  ((n) >= 32 ? 32 : (n) >= 16 ? 16 : DLOAD_I_CHAINS_4(n))
#define DLOAD_I_CHAINS_8(n)  ((n) >= 128 ? 128 : (n) >= 64 ? 64 : DLOAD_I_CHAINS_6(n))
#define DLOAD_I_CHAINS_10(n) ((n) >= 512 ? 512 : (n) >= 256 ? 256 : DLOAD_I_CHAINS_8(n))
#define DLOAD_I_CHAINS_12(n) ((n) >= 2048 ? 2048 : (n) >= 1024 ? 1024 : DLOAD_I_CHAINS_10(n))
#define DLOAD_I_CHAINS_14(n) ((n) >= 8192 ? 8192 : (n) >= 4096 ? 4096 : DLOAD_I_CHAINS_12(n))
#define DLOAD_I_CHAINS(n)    ((n) >= 32768 ? 32768 : (n) >= 16384 ? 16384 : DLOAD_I_CHAINS_14(n))

/* Bytes of such a table's block; what i_table_bytes says at run time. */
#define DLOAD_I_TABLE_BYTES(slot_bytes, n) \
    ((size_t)(n) * (slot_bytes) + (size_t)DLOAD_I_CHAINS(n) * sizeof(uint16_t))

/* The same at run time, in fewer instructions. */
DLOAD_I_LOCAL uint32_t dload_i_chains(uint32_t n)
{
    uint32_t n_chains = 1;
    while (n_chains * 2 <= n)
        n_chains *= 2;
    return n_chains;
}

/* A time in ticks, in halves that a 32-bit machine has. */
DLOAD_I_INLINE uint64_t dload_i_tick_of(uint64_t time_ns)
{
    uint32_t high = (uint32_t)(time_ns >> 32);
    return (uint64_t)(high >> 20) << 32 | (uint32_t)(high << 12 | (uint32_t)time_ns >> 20);
}

/* ttl_ns * part / 2^16 in multiplications of 32 bits; part is 0 .. 2^16. */
DLOAD_I_LOCAL uint64_t dload_i_part_of(uint64_t ttl_ns, uint32_t part)
{
    uint32_t high = (uint32_t)(ttl_ns >> 32);
    uint32_t low = (uint32_t)ttl_ns;
    uint32_t mid = (high & 0xffffu) * part;
    uint64_t sum = (uint64_t)((high >> 16) * part) << 32;
    sum += (uint64_t)(mid >> 16) << 32 | mid << 16;
    return sum + (low >> 16) * part + ((low & 0xffffu) * part >> 16);
}

/* The chains of a cache that has no table: one, and empty. */
DLOAD_I_LOCAL uint16_t *dload_i_no_chains(void)
{
    static const uint16_t none = DLOAD_I_CHAIN_END;
    return (uint16_t *)(uintptr_t)&none; /* nobody writes to it */
}

#endif /* DLOAD_I_CHAINS_H */
