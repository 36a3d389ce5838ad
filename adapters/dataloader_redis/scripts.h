/* dataloader_redis/scripts.h -- what Redis runs for the store and its locks; a part of dataloader_redis.h.
 *
 * SPDX-License-Identifier: MIT
 *
 * A script's text never changes with what it is for: names are KEYS, and everything else is ARGV. The digests are what the
 * server knows the texts by (tests/test_redis.c compares); with a wrong one it would work, but send the text each time.
 * tests/models/lease.pml is the model: DEL_KEEPS_LEASE and GE_CHECK are its mutants that break without the
 * comparison here.
 */
#ifndef DLOAD_REDIS_SCRIPTS_H
#define DLOAD_REDIS_SCRIPTS_H

typedef struct dload_redis_i_script {
    const char *sha1;
    const char *text;
} dload_redis_i_script;

/* KEYS names. For each its value, or nil, and what is left of its time in ms, negative without an end. */
DLOAD_I_UNUSED static const dload_redis_i_script dload_redis_i_values = {
    "c84b660684d28eff686585b0cc4b5f29aafd8103",
    "local a = redis.call('MGET', unpack(KEYS))\n"
    "local out = {}\n"
    "for i, name in ipairs(KEYS) do\n"
    "  out[2 * i - 1] = a[i]\n"
    "  out[2 * i] = a[i] and redis.call('PTTL', name) or -1\n"
    "end\n"
    "return out\n"};

/* KEYS value, lease; ARGV nonce, ms. The value and what is left of its time; 0: the lease is the asker's, also
 * when it was before; n: another's for n ms more. One that has far longer to go than the asker would get is of a time
 * when the server's clock was ahead: it ends soon, so that a holder who died then keeps nobody waiting for an hour. */
DLOAD_I_UNUSED static const dload_redis_i_script dload_redis_i_lease = {
    "1498bff3c723d78a8dda0a9a29fae9fd29392f90",
    "local v = redis.call('GET', KEYS[1])\n"
    "if v then return {v, redis.call('PTTL', KEYS[1])} end\n"
    "if redis.call('SET', KEYS[2], ARGV[1], 'NX', 'PX', ARGV[2]) then return 0 end\n"
    "if redis.call('GET', KEYS[2]) == ARGV[1] then return 0 end\n"
    "local left = redis.call('PTTL', KEYS[2])\n"
    "if left > 10 * ARGV[2] then\n"
    "  redis.call('PEXPIRE', KEYS[2], ARGV[2])\n"
    "  left = tonumber(ARGV[2])\n"
    "end\n"
    "return left > 0 and left or 1\n"};

/* KEYS value, lease; ARGV nonce, bytes, ms or nothing = no end. 1: stored; 0: the lease was lost. */
DLOAD_I_UNUSED static const dload_redis_i_script dload_redis_i_fill = {
    "0c73c8c58eede6da2b815b377b2e517b0257981c",
    "if redis.call('GET', KEYS[2]) ~= ARGV[1] then return 0 end\n"
    "if ARGV[3] == '' then redis.call('SET', KEYS[1], ARGV[2])\n"
    "else redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3]) end\n"
    "redis.call('DEL', KEYS[2])\n"
    "return 1\n"};

/* KEYS lease or lock; ARGV nonce. 1: it was held, and is over; 0: it was not. */
DLOAD_I_UNUSED static const dload_redis_i_script dload_redis_i_drop = {
    "3c9c9e0fad36a4c131785264072fb16c2f7347b2",
    "if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end\n"
    "return redis.call('DEL', KEYS[1])\n"};

/* KEYS lock; ARGV nonce, ms. 0: it is the asker's, also when it was before; n: another's for n ms more. */
DLOAD_I_UNUSED static const dload_redis_i_script dload_redis_i_lock_script = {
    "1303ce21e056a356d19a17dc8f4fe47c50a4ab90",
    "if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then return 0 end\n"
    "if redis.call('GET', KEYS[1]) == ARGV[1] then return 0 end\n"
    "local left = redis.call('PTTL', KEYS[1])\n"
    "return left > 0 and left or 1\n"};

/* KEYS lock; ARGV nonce, ms. 1: it is held, for so long from now; 0: it was lost. */
DLOAD_I_UNUSED static const dload_redis_i_script dload_redis_i_prolong = {
    "fa10737eb65586aa8cdcbb86c892e2c1bbc3fb1d",
    "if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end\n"
    "return redis.call('PEXPIRE', KEYS[1], ARGV[2])\n"};

#endif /* DLOAD_REDIS_SCRIPTS_H */
