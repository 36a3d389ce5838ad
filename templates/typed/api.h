/* >>api -- every public function of one loader, documented where it is declared.
 *
 * Threads: under DLOAD_LOCK_NONE all calls on one loader come from one thread at a time. Under SPIN
 * and PTHREAD any thread may call anything but _init and _destroy at any time, fetch functions,
 * callbacks and hooks included: they run with no lock held. "Allocates" speaks of the steady state:
 * pools that have grown once are kept.
 * Pointers to values, keys, waiters and results must not be NULL where nothing else is said: DLOAD_EINVAL.
 * Owned values (REF/UNREF, COPY/FREE, DLOAD_BLOB): a value that a call hands out is the caller's to
 * release; a value passed in with const is copied and stays the caller's.
 */
#ifndef DLOAD_I_HAVE_API
#define DLOAD_I_HAVE_API

#include "loader.h"

#if DLOAD_LINKAGE != DLOAD_LINKAGE_STATIC && defined(__cplusplus)
extern "C" {
#endif

/* ---- life ---- */

/* The configuration with every default written out; set fetch, change what you like. O(1). */
DLOAD_I_API DLOAD_I_FN(config) DLOAD_I_FN(config_default)(void);

/* What _init calls: the same, with the caller's view of the layout. Use _init. */
DLOAD_I_API dload_status DLOAD_I_FN(init_checked)(DLOAD_NAME *l, const DLOAD_I_FN(config) * config,
                                                  size_t config_bytes, uint64_t fingerprint);

/* Ends a loader's life. Everything queued must have been sent or failed: call _close first.
 * Returns DLOAD_OK, or DLOAD_EBUSY while a batch, its batch_end hook or a waiter is out (the loader
 * stays usable).
 * Owns: releases cached values. Threads: no other call may run. O(entries) for owned values. */
DLOAD_I_API dload_status DLOAD_I_FN(destroy)(DLOAD_NAME *l);

/* Refuses new loads from now on. DLOAD_DRAIN sends what is queued and waits for it; DLOAD_FAIL ends
 * what is queued with DLOAD_ECLOSED. deadline_ns is absolute (see _now); 0 = config.timeout_ns.
 * Returns DLOAD_OK; DLOAD_ETIMEDOUT or DLOAD_EAGAIN when a batch is still out. Twice is harmless. */
DLOAD_I_API dload_status DLOAD_I_FN(close)(DLOAD_NAME *l, dload_close_mode mode,
                                           uint64_t deadline_ns);

/* The loader's clock, in ns: what deadlines are measured against. */
DLOAD_I_API uint64_t DLOAD_I_FN(now)(const DLOAD_NAME *l);

/* ---- blocking ---- */

/* Loads one key: from the cache, from the batch that is fetching it, or through a batch.
 * Returns DLOAD_OK and *out; DLOAD_STALE and *out, a value past its TTL (DLOAD_REFRESH 1); DLOAD_MISSING; DLOAD_EKEY, DLOAD_ETOOBIG for the key; DLOAD_EAGAIN (queue
 * full, or no env->wait to wait with); DLOAD_ETIMEDOUT; DLOAD_EDEADLK from the fetch function for a
 * key of its own batch; DLOAD_ECLOSED; DLOAD_ENOMEM; or what the fetch function said.
 * Allocates: nothing. Cost: O(1); a hit takes no lock, or one shard's (see HITS AMONG THREADS). */
DLOAD_I_API dload_status DLOAD_I_FN(load)(DLOAD_NAME *l, DLOAD_I_K key, DLOAD_I_V *out);

/* _load with a deadline (not with DLOAD_ASYNC 0) or flags; call may be NULL. */
DLOAD_I_API dload_status DLOAD_I_FN(load_with)(DLOAD_NAME *l, DLOAD_I_K key, const dload_call *call,
                                               DLOAD_I_V *out);

/* Loads n keys together: out[i] and statuses[i] belong to keys[i], duplicates included.
 * statuses may be NULL. out[i] is written exactly when statuses[i] >= 0.
 * Returns DLOAD_OK when every key was answered, with or without a value; otherwise the first status
 * that is about the call and not about its key (ETIMEDOUT, EAGAIN, ENOMEM, ECLOSED, EINVAL).
 * Allocates: nothing. Cost: one batch per config.max_batch distinct misses. */
DLOAD_I_API dload_status DLOAD_I_FN(load_many)(DLOAD_NAME *l, const DLOAD_I_K *keys, size_t n,
                                               DLOAD_I_V *out, dload_status *statuses);

/* _load_many with a deadline or flags; call may be NULL. */
DLOAD_I_API dload_status DLOAD_I_FN(load_many_with)(DLOAD_NAME *l, const DLOAD_I_K *keys, size_t n,
                                                    const dload_call *call, DLOAD_I_V *out,
                                                    dload_status *statuses);

/* ---- not blocking ---- */

/* Asks for a key and returns at once. DLOAD_OK or DLOAD_STALE: a hit, w->value is set and done() is not
 * called.
 * DLOAD_PENDING: done() will be called once. Negative otherwise: done() is not called. */
DLOAD_I_API dload_status DLOAD_I_FN(start)(DLOAD_NAME *l, DLOAD_I_K key, DLOAD_I_FN(waiter) * w);

/* _start with flags (the deadline of call is not used: cancel instead); call may be NULL. */
DLOAD_I_API dload_status DLOAD_I_FN(start_with)(DLOAD_NAME *l, DLOAD_I_K key,
                                                const dload_call *call, DLOAD_I_FN(waiter) * w);

/* Withdraws a request. DLOAD_OK: done() will never run. DLOAD_EBUSY: too late, it ran or will.
 * A queued key that nobody else wants leaves its batch. O(1). */
DLOAD_I_API dload_status DLOAD_I_FN(cancel)(DLOAD_NAME *l, DLOAD_I_FN(waiter) * w);

/* Sends everything queued, now, from this thread; *n_keys (may be NULL) is how many keys went.
 * Returns DLOAD_OK, also when nothing was queued. */
DLOAD_I_API dload_status DLOAD_I_FN(dispatch)(DLOAD_NAME *l, size_t *n_keys);

/* For event loops: sends the batches that are due at now_ns (with DLOAD_ASYNC 0 all), abandons those over run_limit_ns and
 * removes expired entries. Returns DLOAD_OK. */
DLOAD_I_API dload_status DLOAD_I_FN(process)(DLOAD_NAME *l, uint64_t now_ns);

#if DLOAD_ASYNC
/* When _process wants to be called next, in env->now time; DLOAD_NEVER = nothing is waiting. */
DLOAD_I_API uint64_t DLOAD_I_FN(next_deadline)(DLOAD_NAME *l);

/* Says that n distinct keys are coming: the open batch goes with the n-th, without settling. */
DLOAD_I_API dload_status DLOAD_I_FN(expect)(DLOAD_NAME *l, size_t n);
#endif

/* ---- the fetch function's side; i is the index of a key in b->keys ---- */

/* Answers key i with a copy of *value; the first answer to a key wins.
 * Returns DLOAD_OK; DLOAD_EBATCH when i is outside the batch; DLOAD_EBUSY when it was answered;
 * DLOAD_ENOMEM when the value's copy hook failed (the key is then answered with that). */
DLOAD_I_API dload_status DLOAD_I_FN(batch_set)(DLOAD_I_FN(batch) * b, size_t i,
                                               const DLOAD_I_V *value);

/* _batch_set with a TTL of its own: ns, DLOAD_NEVER, or 0 = deliver but do not cache. */
DLOAD_I_API dload_status DLOAD_I_FN(batch_set_ttl)(DLOAD_I_FN(batch) * b, size_t i,
                                                   const DLOAD_I_V *value, uint64_t ttl_ns);

/* _batch_set that takes *value over instead of copying it, whatever it returns. */
DLOAD_I_API dload_status DLOAD_I_FN(batch_move)(DLOAD_I_FN(batch) * b, size_t i, DLOAD_I_V *value);

/* Answers key i with an error: its waiters get status (negative, not PENDING), the others nothing. */
DLOAD_I_API dload_status DLOAD_I_FN(batch_fail)(DLOAD_I_FN(batch) * b, size_t i,
                                                dload_status status);

/* Caches a key that was not asked for, unless it was cleared since the batch was sent; a key of this
 * batch is answered, as by _batch_set. Returns DLOAD_OK; DLOAD_ECANCELED when it was cleared; DLOAD_EBUSY
 * when it was answered; DLOAD_EKEY, DLOAD_ETOOBIG, DLOAD_ENOMEM, DLOAD_EFULL. O(1), or O(keys) once some of
 * the batch were cleared or published. */
DLOAD_I_API dload_status DLOAD_I_FN(batch_put)(DLOAD_I_FN(batch) * b, DLOAD_I_K key,
                                               const DLOAD_I_V *value);

#if DLOAD_ASYNC
/* Ends a batch whose fetch function returned DLOAD_PENDING: keys not answered get status, or
 * DLOAD_MISSING when it is DLOAD_OK. b is gone afterwards. Any thread. Callbacks run inside. */
DLOAD_I_API dload_status DLOAD_I_FN(batch_done)(DLOAD_I_FN(batch) * b, dload_status status);

/* True once nobody waits for any key of b any more, or b was abandoned: the function may stop. Somebody
 * may still join a key of b until it ends, and gets the status it ends with. */
DLOAD_I_API bool DLOAD_I_FN(batch_cancelled)(const DLOAD_I_FN(batch) * b);
#endif

/* ---- the loader's cache, from outside ---- */

/* Caches a value that the caller knows. A key already cached is left as it is unless flags has
 * DLOAD_OVERWRITE. DLOAD_PIN pins the entry, the one that was there, too. A fetch of it that is running delivers to its waiters and is cached nowhere.
 * Returns DLOAD_OK; DLOAD_EKEY, DLOAD_ETOOBIG, DLOAD_EFULL, DLOAD_ENOMEM; with caching off
 * DLOAD_OK, and nothing is kept. */
DLOAD_I_API dload_status DLOAD_I_FN(prime)(DLOAD_NAME *l, DLOAD_I_K key, const DLOAD_I_V *value,
                                           uint32_t flags);

/* _prime for n keys; statuses may be NULL. Returns the first status that is not DLOAD_OK. */
DLOAD_I_API dload_status DLOAD_I_FN(prime_many)(DLOAD_NAME *l, const DLOAD_I_K *keys,
                                                const DLOAD_I_V *values, size_t n, uint32_t flags,
                                                dload_status *statuses);

/* Caches an answer without a value: loads of key return status until it is cleared or
 * ttl_ns passed (DLOAD_NEVER = does not). A key already cached is left as it is: _clear it first.
 * Returns as _prime; DLOAD_EINVAL when status is not an error, or ttl_ns is 0. */
DLOAD_I_API dload_status DLOAD_I_FN(prime_error)(DLOAD_NAME *l, DLOAD_I_K key, dload_status status,
                                                 uint64_t ttl_ns);

/* A token to take before reading the source by oneself; see _put_if. */
DLOAD_I_API dload_token DLOAD_I_FN(token)(DLOAD_NAME *l);

/* Caches a value that the caller read after it took token, unless the key was cleared since
 * (DLOAD_ECANCELED: what was read may be old). Otherwise as _prime with DLOAD_OVERWRITE. */
DLOAD_I_API dload_status DLOAD_I_FN(put_if)(DLOAD_NAME *l, DLOAD_I_K key, const DLOAD_I_V *value,
                                            dload_token token);

/* Looks without loading and without counting as a use. *state (DLOAD_EINVAL when NULL) says what there is;
 * *out (may be NULL) is written when the state is DLOAD_STATE_READY or _STALE.
 * Returns DLOAD_OK then, DLOAD_MISSING otherwise, or the cached error's status; with DLOAD_COMPACT an interrupt
 * handler may get DLOAD_EAGAIN, and then nothing is known. */
DLOAD_I_API dload_status DLOAD_I_FN(peek)(DLOAD_NAME *l, DLOAD_I_K key, dload_state *state,
                                          DLOAD_I_V *out);

/* The policy leaves the key's entry alone from now on, or no longer (then it is as if it had just come).
 * It still expires, and can be cleared; a new value for the key inherits the pin. A cached error can be
 * pinned. What a weight of 0 pins, _unpin leaves pinned. DLOAD_OK; DLOAD_MISSING when there is no entry;
 * DLOAD_EKEY, DLOAD_ETOOBIG. Allocates nothing; O(1). */
DLOAD_I_API dload_status DLOAD_I_FN(pin)(DLOAD_NAME *l, DLOAD_I_K key);
DLOAD_I_API dload_status DLOAD_I_FN(unpin)(DLOAD_NAME *l, DLOAD_I_K key);

/* Forgets a key. Loads that begin after this returned never see what was fetched before it; a
 * fetch that is running serves those who wait for it and is cached nowhere. Absent is no error. With a store:
 * deletes the key there, for which it blocks up to store_timeout_ns, and allocates; see SECOND LEVEL. */
DLOAD_I_API dload_status DLOAD_I_FN(clear)(DLOAD_NAME *l, DLOAD_I_K key);

/* _clear for n keys. Returns the first status that is not DLOAD_OK; the others are cleared. */
DLOAD_I_API dload_status DLOAD_I_FN(clear_many)(DLOAD_NAME *l, const DLOAD_I_K *keys, size_t n);

#if DLOAD_GROUP
/* The same for a key of a group; the functions above are for group 0. */
DLOAD_I_API dload_status DLOAD_I_FN(prime_in)(DLOAD_NAME *l, DLOAD_I_K key, uint64_t group,
                                              const DLOAD_I_V *value, uint32_t flags);
DLOAD_I_API dload_status DLOAD_I_FN(prime_error_in)(DLOAD_NAME *l, DLOAD_I_K key, uint64_t group,
                                                    dload_status status, uint64_t ttl_ns);
DLOAD_I_API dload_status DLOAD_I_FN(put_if_in)(DLOAD_NAME *l, DLOAD_I_K key, uint64_t group,
                                               const DLOAD_I_V *value, dload_token token);
DLOAD_I_API dload_status DLOAD_I_FN(peek_in)(DLOAD_NAME *l, DLOAD_I_K key, uint64_t group,
                                             dload_state *state, DLOAD_I_V *out);
DLOAD_I_API dload_status DLOAD_I_FN(pin_in)(DLOAD_NAME *l, DLOAD_I_K key, uint64_t group);
DLOAD_I_API dload_status DLOAD_I_FN(unpin_in)(DLOAD_NAME *l, DLOAD_I_K key, uint64_t group);
DLOAD_I_API dload_status DLOAD_I_FN(clear_in)(DLOAD_NAME *l, DLOAD_I_K key, uint64_t group);

/* Forgets every key of a group, with what _clear promises for each of them. Looks at every entry of the
 * cache, one shard at a time: O(capacity). */
DLOAD_I_API dload_status DLOAD_I_FN(clear_group)(DLOAD_NAME *l, uint64_t group);
#endif

#if DLOAD_STORE
/* Forgets what this process has cached, and leaves the store alone: for who was told that the store has
 * changed. Otherwise as _clear, _clear_all and _clear_in. */
DLOAD_I_API dload_status DLOAD_I_FN(clear_local)(DLOAD_NAME *l, DLOAD_I_K key);
DLOAD_I_API dload_status DLOAD_I_FN(clear_all_local)(DLOAD_NAME *l);
#if DLOAD_GROUP
DLOAD_I_API dload_status DLOAD_I_FN(clear_local_in)(DLOAD_NAME *l, DLOAD_I_K key, uint64_t group);
#endif
#endif

/* Forgets everything, in time that does not depend on how much that is; O(shards). With a store: every key that
 * begins with store_name there, too. */
DLOAD_I_API dload_status DLOAD_I_FN(clear_all)(DLOAD_NAME *l);

#if DLOAD_STORE
/* Fills *sink with what a channel calls when keys changed in the store: give it to the channel, and end that before
 * the loader. It concerns the cache and the flights of this loader, never the store; keys of other names are
 * ignored. From here on the loader caches nothing until the channel says that it hears (up), and so it is again
 * between each down and up: loads go to the store and the source and are delivered, _prime and its kin return
 * DLOAD_ECANCELED. Behind a channel that tells only of what was read from the store (Redis tracking) a loader with
 * that store caches only what the store had: a value that was fetched is cached when it is read there, the next
 * time. Such a channel tells nothing of what _prime, _put_if, _batch_put and _restore bring.
 * Returns DLOAD_OK; DLOAD_EINVAL for NULL. The sink's functions: any thread under a lock, the loader's own
 * without one; they wait for no fetch. key costs as much as _clear, the others O(shards). */
DLOAD_I_API dload_status DLOAD_I_FN(sink)(DLOAD_NAME *l, dload_sink *sink);
#endif

#if DLOAD_ASYNC || DLOAD_STATS
/* Fills *stats with the counters since _init; consistent once the loader is quiet. O(shards). */
DLOAD_I_API dload_status DLOAD_I_FN(stats)(DLOAD_NAME *l, dload_stats *stats);
#endif

/* ---- the cache alone ---- */

/* Prepares a cache. config may be NULL for defaults. Returns DLOAD_OK, DLOAD_EINVAL, DLOAD_ENOMEM. */
DLOAD_I_API dload_status DLOAD_I_FN(cache_init)(DLOAD_I_FN(cache) * c,
                                                const DLOAD_I_FN(cache_config) * config);

/* Releases every value and all memory. No other call may run. */
DLOAD_I_API dload_status DLOAD_I_FN(cache_destroy)(DLOAD_I_FN(cache) * c);

/* Reads an entry and counts the use. DLOAD_OK and *out, or DLOAD_MISSING; with DLOAD_COMPACT an interrupt handler
 * may get DLOAD_EAGAIN. Allocates nothing; O(1). */
DLOAD_I_API dload_status DLOAD_I_FN(cache_get)(DLOAD_I_FN(cache) * c, DLOAD_I_K key,
                                               DLOAD_I_V *out);

/* Reads n entries: out[i] is written exactly when statuses[i] >= 0. *n_hits may be NULL. */
DLOAD_I_API dload_status DLOAD_I_FN(cache_get_many)(DLOAD_I_FN(cache) * c, const DLOAD_I_K *keys,
                                                    size_t n, DLOAD_I_V *out,
                                                    dload_status *statuses, size_t *n_hits);

/* Writes an entry with a TTL in ns: 0 = the cache's own, DLOAD_NEVER = none. Evicts when full.
 * Returns DLOAD_OK; DLOAD_EFULL (policy NONE, or only pinned entries are left), DLOAD_ENOMEM, DLOAD_EKEY,
 * DLOAD_ETOOBIG (the key, or a value over its shard's share of max_weight). */
DLOAD_I_API dload_status DLOAD_I_FN(cache_set)(DLOAD_I_FN(cache) * c, DLOAD_I_K key,
                                               const DLOAD_I_V *value, uint64_t ttl_ns);

/* Removes an entry; absent is no error: DLOAD_OK, or DLOAD_EKEY. */
DLOAD_I_API dload_status DLOAD_I_FN(cache_delete)(DLOAD_I_FN(cache) * c, DLOAD_I_K key);

/* As _pin and _unpin. */
DLOAD_I_API dload_status DLOAD_I_FN(cache_pin)(DLOAD_I_FN(cache) * c, DLOAD_I_K key);
DLOAD_I_API dload_status DLOAD_I_FN(cache_unpin)(DLOAD_I_FN(cache) * c, DLOAD_I_K key);

#if DLOAD_GROUP
/* The same for a key of a group; the functions above are for group 0. */
DLOAD_I_API dload_status DLOAD_I_FN(cache_get_in)(DLOAD_I_FN(cache) * c, DLOAD_I_K key,
                                                  uint64_t group, DLOAD_I_V *out);
DLOAD_I_API dload_status DLOAD_I_FN(cache_set_in)(DLOAD_I_FN(cache) * c, DLOAD_I_K key,
                                                  uint64_t group, const DLOAD_I_V *value,
                                                  uint64_t ttl_ns);
DLOAD_I_API dload_status DLOAD_I_FN(cache_delete_in)(DLOAD_I_FN(cache) * c, DLOAD_I_K key,
                                                     uint64_t group);
DLOAD_I_API dload_status DLOAD_I_FN(cache_pin_in)(DLOAD_I_FN(cache) * c, DLOAD_I_K key,
                                                  uint64_t group);
DLOAD_I_API dload_status DLOAD_I_FN(cache_unpin_in)(DLOAD_I_FN(cache) * c, DLOAD_I_K key,
                                                    uint64_t group);

/* Removes every entry of a group, and releases it. O(capacity). */
DLOAD_I_API dload_status DLOAD_I_FN(cache_clear_group)(DLOAD_I_FN(cache) * c, uint64_t group);
#endif

/* Removes every entry, O(shards); owned values are released a few per later operation (DLOAD_COMPACT: at once, and
 * O(capacity)). */
DLOAD_I_API dload_status DLOAD_I_FN(cache_clear)(DLOAD_I_FN(cache) * c);

/* Removes what expired by now_ns and releases it; with DLOAD_CLOCK_MANUAL this sets the time.
 * A clock that goes back is ignored. O(shards + expired), for a jump of any size (DLOAD_COMPACT: O(capacity) when
 * an entry may have expired). */
DLOAD_I_API dload_status DLOAD_I_FN(cache_advance)(DLOAD_I_FN(cache) * c, uint64_t now_ns);

/* Entries in the cache, expired ones that were not yet removed included. */
DLOAD_I_API size_t DLOAD_I_FN(cache_len)(DLOAD_I_FN(cache) * c);

#if DLOAD_I_WEIGHED
/* What the values in the cache weigh together, expired ones that were not yet removed included; never
 * above max_weight. O(shards). */
DLOAD_I_API uint64_t DLOAD_I_FN(cache_weight)(DLOAD_I_FN(cache) * c);
#endif

/* Bytes the cache holds from its allocator, string keys included, the owned values not. */
DLOAD_I_API size_t DLOAD_I_FN(cache_bytes)(DLOAD_I_FN(cache) * c);

#if DLOAD_SNAPSHOT

/* ---- snapshots: DLOAD_SNAPSHOT 1 ---- */

/* Writes what is cached through how->write, what was used most first: keys, values, groups, what is left of
 * each TTL, and DLOAD_MISSING answers; other errors, and what has expired, are not. *n (may be NULL) is
 * how many entries there are; each was there at some moment of the call, and one that was there all the time is
 * in it, once (an unbounded cache that grows meanwhile: at least once).
 * Plain values are written as they lie in memory; compilers that can (gcc from 11 on) zero their padding.
 * Returns DLOAD_OK; what write said; DLOAD_EINVAL without write, or without encode for values with REF or
 * COPY; DLOAD_ENOMEM; DLOAD_EFORK. An entry of more than 1 GiB is left out.
 * Threads: any; holds a shard's lock for 32 entries at a time (FIFO: once for a look through its queue). Allocates for its own length: 32 KiB, a byte a
 * slot, and the longest entry. O(capacity). */
DLOAD_I_API dload_status DLOAD_I_FN(save)(DLOAD_NAME *l, const DLOAD_I_FN(snapshot) * how,
                                          size_t *n);

/* Puts back what _save wrote, read through how->read, until the cache is full. Nothing that is there, in flight
 * or was cleared since _init changes, and nothing is evicted; *n (may be NULL) is how many entries came.
 * TTLs have what was left of them at the save, less the time that passed (see how->wall_ns), less
 * config.ttl_jitter_pct. Reads on to the last block even when the cache is full, and not beyond.
 * Returns DLOAD_OK; DLOAD_ECORRUPT: damaged, or ends early; DLOAD_ELAYOUT: another key, value,
 * value_version, byte order or version of the form; what read said; DLOAD_EINVAL, DLOAD_ENOMEM,
 * DLOAD_EFORK. After an error the *n entries of the blocks before it, each verified, are in the cache.
 * Whatever the snapshot says, no more memory is taken than twice what was read, and the cache's own. */
DLOAD_I_API dload_status DLOAD_I_FN(restore)(DLOAD_NAME *l, const DLOAD_I_FN(snapshot) * how,
                                             size_t *n);

/* The same for a cache alone. A key that is cleared while this runs may come back. */
DLOAD_I_API dload_status DLOAD_I_FN(cache_save)(DLOAD_I_FN(cache) * c,
                                                const DLOAD_I_FN(snapshot) * how, size_t *n);
DLOAD_I_API dload_status DLOAD_I_FN(cache_restore)(DLOAD_I_FN(cache) * c,
                                                   const DLOAD_I_FN(snapshot) * how, size_t *n);

#if !DLOAD_FREESTANDING
/* _save to a file, which its owner alone may read. It is replaced in one step, after the new one is on the
 * disk: a crash at any moment leaves the old one or the new one. What is written meanwhile is beside it, by the
 * name of path and ".tmp", and removed when the save fails. how may be NULL; write and read are not used.
 * Returns as _save; DLOAD_EIO, and errno says why; DLOAD_EBUSY while another save to path runs, of any
 * process. */
DLOAD_I_API dload_status DLOAD_I_FN(save_file)(DLOAD_NAME *l, const char *path,
                                               const DLOAD_I_FN(snapshot) * how, size_t *n);

/* _restore from a file; how may be NULL. The file is checked from beginning to end before the first entry is
 * put: when it is damaged, or of another layout, the cache does not change.
 * Returns as _restore; DLOAD_MISSING when there is no such file; DLOAD_EIO, and errno says why. */
DLOAD_I_API dload_status DLOAD_I_FN(restore_file)(DLOAD_NAME *l, const char *path,
                                                  const DLOAD_I_FN(snapshot) * how, size_t *n);

/* The same for a cache alone. */
DLOAD_I_API dload_status DLOAD_I_FN(cache_save_file)(DLOAD_I_FN(cache) * c, const char *path,
                                                     const DLOAD_I_FN(snapshot) * how, size_t *n);
DLOAD_I_API dload_status DLOAD_I_FN(cache_restore_file)(DLOAD_I_FN(cache) * c, const char *path,
                                                        const DLOAD_I_FN(snapshot) * how,
                                                        size_t *n);
#endif
#endif

/* ---- inlined, so that the caller's own view of the parameters reaches the implementation ---- */

/* Prepares a loader. Copies *config. Returns DLOAD_OK; DLOAD_EINVAL when a field is out of range or
 * fetch is NULL; DLOAD_ENOMEM; DLOAD_ELAYOUT when this file and the implementation's were compiled
 * with different DLOAD_ parameters. Allocates: the table, at once when capacity is bounded; with DLOAD_ASYNC 0
 * all that it will ever need, see DLOAD_BYTES. */
DLOAD_I_UNUSED static inline dload_status DLOAD_I_FN(init)(DLOAD_NAME *l,
                                                           const DLOAD_I_FN(config) * config)
{
    return DLOAD_I_FN(init_checked)(l, config, sizeof *config, DLOAD_I_FINGERPRINT);
}

#if DLOAD_I_VALUE_IS_BLOB
/* Answers key i with a new blob of n_bytes copied from bytes; otherwise as _batch_set. */
DLOAD_I_API dload_status DLOAD_I_FN(batch_set_bytes)(DLOAD_I_FN(batch) * b, size_t i,
                                                     const void *bytes, size_t n_bytes);
#endif

#if DLOAD_LINKAGE != DLOAD_LINKAGE_STATIC && defined(__cplusplus)
}
#endif

#endif /* DLOAD_I_HAVE_API */
