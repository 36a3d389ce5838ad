/* dataloader.h -- a DataLoader for C: batch keyed fetches, fetch a key once, cache what came back.
 *
 * SPDX-License-Identifier: MIT
 * Made from templates/ by gen/amalgamate: change the parts, not this file.
 *
 * A loader stands between code that asks for one key at a time and a source that answers many at
 * once. Requests for different keys go out together, in one call of your fetch function; requests
 * for the same key share one fetch, however many callers there are; answers are cached. Key type,
 * value type, lock and eviction policy are fixed at compile time, once per loader:
 *
 *     struct user { int age; char name[24]; };
 *
 *     #define DLOAD_NAME  users
 *     #define DLOAD_KEY   uint64_t
 *     #define DLOAD_VALUE struct user
 *     #include "dataloader.h"
 *
 *     static dload_status fetch(users_batch *b)             // one query for all b->n keys
 *     {
 *         for (size_t i = 0; i < b->n; i++) {
 *             struct user u;
 *             if (db_find(b->ctx, b->keys[i], &u))
 *                 users_batch_set(b, i, &u);                // not answered = DLOAD_MISSING
 *         }
 *         return DLOAD_OK;
 *     }
 *
 *     users l;
 *     users_config cfg = users_config_default();
 *     cfg.fetch = fetch;
 *     cfg.ctx = db;
 *     dload_status st = users_init(&l, &cfg);
 *     struct user u;
 *     st = users_load(&l, 42, &u);                          // one key, or
 *     st = users_load_many(&l, keys, n, out, statuses);     // n keys in ceil(misses / max_batch) calls
 *     users_close(&l, DLOAD_DRAIN, 0);
 *     users_destroy(&l);
 *
 * Include the header again, with another DLOAD_NAME, for another loader.
 *
 * PARAMETERS, defined before the include and undefined by it
 *
 *   DLOAD_NAME         required  the loader's type, and the prefix of its functions
 *   DLOAD_KEY          required  bool, char, int8_t .. uint64_t, int, unsigned, long, size_t, float,
 *                                double, DLOAD_STRING (dload_str: bytes, copied in), DLOAD_ID128
 *   DLOAD_KEY_AS       -         the primitive behind a DLOAD_KEY that is a typedef or an enum
 *   DLOAD_VALUE        required  any copyable type, aligned to 16 at most, or DLOAD_BLOB
 *   DLOAD_VALUE_REF    -         REF(v): one more owner of *v, after a plain copy; v is a VALUE *
 *   DLOAD_VALUE_UNREF  -         UNREF(v): one owner less
 *   DLOAD_VALUE_COPY   -         COPY(to, from): a deep copy; true when it worked
 *   DLOAD_VALUE_FREE   -         FREE(v): the end of a copy
 *   DLOAD_LOCK         _NONE     DLOAD_LOCK_NONE, _SPIN, _PTHREAD; _CUSTOM: see CRITICAL SECTIONS
 *   DLOAD_EVICT        _AUTO     DLOAD_EVICT_NONE, _FIFO, _CLOCK, _LRU, _SIEVE, _S3FIFO, _AUTO
 *                                (CLOCK below 256 entries a shard, S3FIFO from there), _ADAPTIVE
 *   DLOAD_TTL          1         0 = entries never expire; saves 9 to 20 bytes an entry
 *   DLOAD_REFRESH      0         1 = values past their TTL, early refreshes, idle TTLs; 16 bytes an entry
 *   DLOAD_GROUP        0         1 = a key is known by its group, too (dload_call.group, a tenant or a
 *                                transaction): batches, joins and the cache never mix groups
 *   DLOAD_CLOCK        _ENV      what expiry goes by: DLOAD_CLOCK_ENV (env->now), _COARSE (fast, 1 to
 *                                10 ms late), _PRECISE, _MANUAL (what _cache_advance said last)
 *   DLOAD_HASH         _FAST     DLOAD_HASH_FAST; DLOAD_HASH_SIP for keys that somebody may choose to do
 *                                harm: SipHash-1-3 with a secret (config.hash_key)
 *   DLOAD_STATS        1         0 = hits are not counted
 *   DLOAD_ASYNC        1         0 = one caller, and nothing waits: see NOTHING WAITS; saves 13 KB of a
 *                                loader's 15 on Cortex-M3
 *   DLOAD_SNAPSHOT     0         1 = _save and _restore, their _file forms, and the same for a cache alone;
 *                                hosted: includes <fcntl.h>, <unistd.h> and what else files take
 *   DLOAD_STORE        0         1 = config.store is a second level, and config.locks are named locks; see
 *                                SECOND LEVEL. Without a DLOAD_NAME: stores alone, no loader
 *   DLOAD_WEIGHT       -         WEIGHT(v): what *v weighs, v a const VALUE *; see WEIGHT
 *   DLOAD_ON_REMOVE    0         1 = config.on_remove is told what leaves the cache, and why
 *   DLOAD_COMPACT      0         1 = a cache for memories of kilobytes: 9 or 10 bytes an entry beside key and
 *                                value; see COMPACT
 *   DLOAD_LINKAGE      _STATIC   DLOAD_LINKAGE_STATIC; _DECLARE in headers and _DEFINE in one file
 *
 * And for the whole translation unit, before the first include:
 *
 *   DLOAD_FREESTANDING 0         1 = no libc: memory, clock and waiting come from config.env
 *   DLOAD_XXHASH       0         1 = byte strings are hashed by XXH3 from <xxhash.h>
 *   DLOAD_LARGE_PAGES  1       0 = blocks of 4 MiB and more, of malloc's, do not ask Linux for large pages
 *   DLOAD_NO_SIMD      0       1 = tags are compared without SSE2 or NEON
 *   DLOAD_LOOSE_POINTERS 0       1 = a wrong batch or key array type only warns, as the compiler does
 *   DLOAD_ASSERT(c)    nothing   how to check our own invariants
 *   DLOAD_CUSTOM_TYPE  -         what a critical section remembers; these five are DLOAD_LOCK_CUSTOM's
 *   DLOAD_CUSTOM_INIT(p) -       makes one ready, once, in _init
 *   DLOAD_CUSTOM_ENTER(p) -      begins the section
 *   DLOAD_CUSTOM_LEAVE(p) -      ends it
 *   DLOAD_CUSTOM_DESTROY(p) nothing its end, in _destroy
 *
 * WHEN A BATCH GOES  With max_batch keys, on _dispatch, with the last key that _expect announced; without a
 * lock as soon as a blocking call waits for it; in loops when _process comes and settle_ns or max_age_ns
 * passed. Under a lock with settle_ns 0 a lone caller's goes at once; callers who have had company wait
 * for an eighth of what a fetch takes, 1 ms at most, for those who were there lately, and up to half a
 * fetch for those whose answers are due by then. At most max_in_flight run side by side, but for what
 * _dispatch sends. At max_queue a call gets DLOAD_EAGAIN, or, with queue_wait, waits for room until its
 * deadline; _start and calls from inside a fetch function never wait for room.
 *
 * KEYS THAT SOMEBODY CHOOSES  The default hash is known to everybody, so that whoever chooses keys can make
 * many of them want the same place. With DLOAD_HASH_SIP that takes the secret: without it keys collide by
 * chance only. It covers keys, groups, and keys on their way. A hit takes some 100 instructions more, with
 * integers and with short strings alike (x86-64, counted by callgrind).
 * With either hash, and any keys, putting an entry looks at 128 groups of 32 slots at most; where they are
 * full an entry among them is evicted, or with DLOAD_EVICT_NONE and without a capacity the new one refused
 * (DLOAD_EFULL; a load delivers it all the same). stats.long_probes counts what goes a quarter of that way:
 * where it grows, somebody chooses keys.
 *
 * OWNERSHIP  Plain values are copied by assignment. With REF/UNREF, COPY/FREE or DLOAD_BLOB every value
 * that a call hands out is the caller's to release (dload_blob_release for blobs). REF and COPY run
 * under a lock and must not call a loader; UNREF and FREE run with no lock held and may.
 *
 * WEIGHT  With DLOAD_WEIGHT each value is asked once, when it comes into the cache, what it weighs, 0 to
 * 2^31 - 1; WEIGHT runs under a lock, and must not call a loader. config.max_weight bounds the sum, beside
 * capacity, which bounds the entries: room is made before a value comes in, and a call then costs as
 * much as it evicts. Each shard has an equal share; a value over it is delivered to who asked and cached
 * nowhere (DLOAD_ETOOBIG where a call brought it; counted as too_heavy), and what it was to replace goes.
 *
 * PINS  The policy leaves a pinned entry alone, by _pin, by DLOAD_PIN for _prime, or by a weight of 0: it
 * still expires and can be cleared or replaced. When only pinned entries are left to evict, what comes
 * is refused (DLOAD_EFULL). A pin lasts until _unpin or until its entry goes.
 *
 * REMOVALS  With DLOAD_ON_REMOVE config.on_remove is told of every value that leaves the cache, once, with
 * key and reason, no lock held, and before the value is released. It may call any function; one that stores
 * may evict, and so be called inside itself.
 *
 * THREADS  May it be called from ...?      another thread   fetch function, callback, hook
 *   _init, _destroy                        no               no
 *   _close                                 yes              not from its own fetch function (EBUSY)
 *   everything else under a lock           yes              yes; waiting for a key of the batch
 *                                                           that is being fetched is DLOAD_EDEADLK
 *   everything else under NONE             no               yes, likewise
 *
 * HITS AMONG THREADS  Under SPIN and PTHREAD, on machines with 64-bit pointers, a hit of _load, _start,
 * _cache_get or _load_many (up to its first miss) takes no lock when values are copied byte by byte (no
 * REF, COPY or DLOAD_BLOB) and have 512 bytes at most: the entry is copied between two looks at a sequence
 * number of its group of slots. After 16 looks that met a writer, the shard's lock decides; so it does for every
 * miss, every cached error and what may have expired. A hit writes the entry's byte of uses, when its policy
 * still counts (S3FIFO and ADAPTIVE up to 3, CLOCK and SIEVE 1), and a counter (DLOAD_STATS): fifteen threads at
 * a time have a cache line each, the others share one. LRU takes the lock for an entry's first hit in a tick of 1.05 ms, with DLOAD_TTL
 * 0 for each. Tables that a DLOAD_UNBOUNDED cache outgrew stay until _destroy, at most as much as the
 * one in use; so do the bytes of string keys, which later keys use again.
 *
 * CRITICAL SECTIONS  Under DLOAD_LOCK_CUSTOM the lock is yours: macros that a project defines once, before the
 * first include. For FreeRTOS, for Zephyr, and for a main loop beside interrupts on a Cortex-M:
 *
 *     #define DLOAD_CUSTOM_TYPE     char                    // nothing to remember: these nest by themselves
 *     #define DLOAD_CUSTOM_INIT(p)  ((void)(p))
 *     #define DLOAD_CUSTOM_ENTER(p) taskENTER_CRITICAL()
 *     #define DLOAD_CUSTOM_LEAVE(p) taskEXIT_CRITICAL()
 *
 *     struct section { struct k_spinlock lock; k_spinlock_key_t key; };
 *     #define DLOAD_CUSTOM_TYPE     struct section
 *     #define DLOAD_CUSTOM_INIT(p)  ((p)->lock = (struct k_spinlock){0})
 *     #define DLOAD_CUSTOM_ENTER(p) do { k_spinlock_key_t k = k_spin_lock(&(p)->lock); (p)->key = k; } while (0)
 *     #define DLOAD_CUSTOM_LEAVE(p) k_spin_unlock(&(p)->lock, (p)->key)
 *
 *     #define DLOAD_CUSTOM_TYPE     uint32_t                // CMSIS; the mask as it was
 *     #define DLOAD_CUSTOM_INIT(p)  (*(p) = 0)
 *     #define DLOAD_CUSTOM_ENTER(p) do { uint32_t m = __get_PRIMASK(); __disable_irq(); *(p) = m; } while (0)
 *     #define DLOAD_CUSTOM_LEAVE(p) __set_PRIMASK(*(p))
 *
 * A loader has two, and enters the second, its cache's, inside the first, at times; neither inside itself. Whatever
 * p says, they keep everybody out who may call the loader, and the compiler from moving memory accesses over
 * them. No compare-and-swap is needed; there is one shard, and hits enter a section. No fetch function, hook or
 * callback runs inside; REF, COPY and WEIGHT do, and so do env's now, alloc, free, random, self and wake. FreeRTOS
 * wants no call of its own inside: there wake is NULL, and wait looks again after vTaskDelay(1).
 * A section is short, but not of one length: _load_many and the end of a batch are in it for a time that grows
 * with their keys, one key of which costs as much as a few look-ups.
 * Several tasks need env->self (xTaskGetCurrentTaskHandle, k_current_get): otherwise one that waits for another's
 * batch is taken for one that waits for itself (DLOAD_EDEADLK). With env->wait they meet as threads do: one leads,
 * the others wait in env->wait, outside every section. Without it each call sends what is queued by itself, and one
 * that would have to wait, because another task's batch has its key or max_in_flight batches run, returns
 * DLOAD_EAGAIN: ask again later, and find the answer in the cache. Nothing ever spins. A wait that looks once a
 * tick is enough, and needs no wake:
 *
 *     static dload_status wait(void *ctx, const uint32_t *word, uint32_t seen, uint64_t until_ns)
 *     {
 *         while (*(const volatile uint32_t *)word == seen && now(ctx) < until_ns)
 *             vTaskDelay(1);                               // Zephyr: k_sleep(K_TICKS(1))
 *         return DLOAD_OK;
 *     }
 *
 * FORK  Under PTHREAD, SPIN and CUSTOM (where hosted) every call in a child returns DLOAD_EFORK for a loader of the parent, before
 * any lock: locks may be held there by threads that the child does not have. Make a loader after fork(). A child
 * that was forked inside a fetch function must not return from it.
 *
 * GROUPS  With DLOAD_GROUP 1 a key is known by (group, key): dload_call.group says which, calls without one
 * mean group 0. Groups share capacity and limits, and nothing else: a batch has keys of one group
 * (b->group), and no answer crosses. _clear_group forgets one.
 *
 * OLD VALUES  With DLOAD_REFRESH 1 an entry may outlive its TTL. For stale_ns the first load of its key fetches it
 * anew, like any miss; while that fetch is queued or runs, other loads have the old value at once, with the
 * status DLOAD_STALE. When the first one leaves before the batch went, or its batch is over run_limit_ns,
 * the next load is the first. With stale_error_ns, a fetch that fails with anything but DLOAD_MISSING
 * gives who waits for it the old value, DLOAD_STALE again; for a sixteenth of stale_error_ns, a second at
 * most, loads then have it without a fetch. refresh_ahead_pct: a load within 16 * beta * delta of the TTL's
 * end, delta being what a fetch lately took, refreshes with the chance e^(-left / (beta * delta)); the
 * others keep the value, and so does that one when the fetch fails. With idle_ttl_ns what was not read for
 * so long goes, an eighth later at the latest. A clear, DLOAD_MISSING and an answer with TTL 0 end the
 * old value. A refresh is no use of an entry. DLOAD_FRESH gets the source's answer, whatever it is. Cached
 * errors are never handed out late. Exact to a tick of 1.05 ms; windows are rounded down.
 *
 * COMPACT  With DLOAD_COMPACT 1 the cache is one block of memory, taken by _init: slots, and chains through them by
 * 16-bit links. An entry takes, beside key and value, 8 bytes (4 with DLOAD_TTL 0) and one or two more for its
 * chain, where the value's alignment does not want more; 65,534 entries at most, EVICT NONE, FIFO or CLOCK (_AUTO is CLOCK), DLOAD_LOCK_NONE or _CUSTOM, any
 * key but strings. There is no 64-bit multiplication or division in it, no shard, and nothing grows
 * (DLOAD_UNBOUNDED is DLOAD_EINVAL). FIFO and CLOCK go round the slots: where an entry was cleared the next new one
 * takes its place in the order. _set into a full cache looks at every entry, once in a tick of 1.05 ms at most, when
 * one may have expired, and so does _advance; _clear costs O(capacity), too, and releases at once what it removed.
 * Under DLOAD_LOCK_NONE an interrupt handler may call _cache_get and _peek whatever it interrupted, when values are
 * plain: neither waits nor allocates, and DLOAD_EAGAIN says that the program is just changing the table. The
 * handler runs on the program's core, and its hits may be missing in the counters. env->now, when the
 * clock is that, is then called from there, too.
 *
 * SNAPSHOTS  With DLOAD_SNAPSHOT 1 _save_file writes what is cached to a file, and _restore_file puts it back
 * when the program starts again: what was used most first, until the cache is full, each entry with what is
 * left of its TTL. Other calls go on meanwhile; each entry of a snapshot was there at some moment of
 * the save. The file is replaced in one step, by a crash not at all; a damaged one is refused whole.
 * It is checked against damage, not against forgery: keep it where only you can write. See NAME_snapshot.
 *
 * SECOND LEVEL  With DLOAD_STORE 1 and config.store a batch asks the store first, in one request for all its keys,
 * hands out at once what that had, and calls the fetch function with the rest (b->keys, b->n; not at all when
 * nothing is left). What the function answered is stored, in one request, before who waits for it is told; after
 * DLOAD_PENDING in _batch_done. Errors and missing keys are stored only for as long as missing_ttl_ns and
 * error_ttl say; what _batch_put and _prime bring is not. DLOAD_FRESH and early refreshes do not ask the store,
 * and without caching (DLOAD_NO_CACHE) it is never touched.
 * Nothing that is wrong with the store reaches who loads: a request that fails, takes longer than
 * store_timeout_ns, or brings what is damaged, too old or of another layout is a miss, and counted (stats.store_*).
 * Each value has a head of 56 bytes: its layout (kind of key, kind and size of value, store_version), its end
 * by the calendar clock, its TTL, and a checksum over all of it and its key. That is against damage: whoever can
 * write to the store can forge. An entry lives here as long as it has left there, and never longer than ttl_ns.
 * Keys are NAME:key, or NAME:group:key: numbers in decimal, float and double the digits of their bits in hexadecimal,
 * 16 bytes as 32 of them, strings as they are. Two loaders of one store_name share what is stored.
 * _clear and its kin delete in the store, too, before they return (under config.wake: in the next _process).
 * Where that fails it is tried again with later batches, and until the store has acknowledged it those keys are
 * neither read from it nor written to it; over 1,024 of them, everything is cleared there. Answers that were
 * being stored when their key was cleared are deleted afterwards. _clear returns DLOAD_OK all the same:
 * stats.store_unsent says what the store has not heard, and _destroy forgets it.
 * So much holds within one process. Between processes one may still store what it read before another cleared:
 * there values are as old as their TTL at most. _clear_local forgets what this process has; NAME_sink lets a
 * channel do that.
 * With config.wake a store that can (DLOAD_STORE_ASYNC) does not block: _process sends its requests and goes on
 * with batches that it answered; writes are not waited for, and _destroy is DLOAD_EBUSY while a request is
 * out. Batches that a blocking call sends ask the store blocking. A blocking call in the loop's own thread must
 * not wait for a key that the loop is asking the store for: nobody would go on with it.
 * Programs use stores alone by dload_store_get, _set, _delete and _clear, or dload_store_run.
 *
 * NOTHING WAITS  With DLOAD_ASYNC 0 a loader has one caller at a time, and a fetch function answers before it
 * returns (DLOAD_PENDING: the keys that it left out get DLOAD_EINVAL). A batch goes when a blocking call waits for
 * it, on _dispatch and on _process; so tasks of a loop _start what they want, and share what the loop dispatches.
 * No deadlines, settle times, hooks, registries or locks; _expect, _next_deadline, _batch_done and _batch_cancelled
 * are not declared, nor, with DLOAD_STATS 0, is _stats. Keys are scalars or DLOAD_ID128, values plain.
 * All memory is taken in _init: max_queue keys may wait, in whole batches, beside one batch that runs; a blocking
 * call that finds no place sends what waits longest. A _load_many has as many requests at a time as there are places,
 * and sends what it has when they are used up. A fetch function may load as long as a batch is free (DLOAD_EAGAIN).
 * A miss looks through all keys that are on their way. DLOAD_BYTES says how much memory it is:
 *
 *     static uint64_t memory[(DLOAD_BYTES(regs, 32, 8) + 7) / 8];
 *     static dload_block block;
 *     dload_block_init(&block, memory, sizeof memory);
 *     block.env.now = now;                                  // perhaps through dload_ticks_ns
 *     cfg.env = &block.env;
 *
 * CHAINS  Loaders of one dload_registry are dispatched together, so that N callers who load from A and then
 * from B cost two batches. Loops and fibers: dload_registry_dispatch when all callers wait. Threads:
 * each calls dload_registry_join, and whoever waits last sends.
 *
 * CANCELLATION  Under PTHREAD a thread that is cancelled while it waits leaves its batch as at a deadline,
 * and passes the lead on. While the fetch function runs in it, cancellation waits. Owned values that its
 * _load_many has already received are lost: nobody is left to release them.
 *
 * WHAT A CLEAR PROMISES  A load that begins after _clear returned never yields what was fetched before
 * it. A fetch that was running serves those who waited for it, and is cached nowhere. With a store: SECOND LEVEL.
 *
 * CONTENTS (search for the marks)
 *   once a translation unit: >>port >>status >>key >>env >>pool >>block >>ticks >>blob >>hash >>lock >>busy
 *                            >>arena >>group >>ghost >>fifo >>past >>evict >>adaptive >>chains >>wheel >>chance
 *                            >>stats >>flight >>solo
 *                            >>nest >>batch >>pace
 *                            >>run >>crew >>drive >>registry >>carry >>backend >>named >>stored >>store_stats
 *                            >>letter >>second >>locking >>leasing
 *   once a loader: >>params >>fork >>lock_pthread >>custom >>snapshot >>snapshot_file >>worth >>draw >>siphash
 *                  >>types >>slots >>loader >>api >>leave >>ident >>entry >>table >>keytext >>stale >>removed >>weight
 *                  >>read >>reach >>store >>compact >>compact_cache >>cache >>shards >>many >>pin >>solo_batches >>owed >>ops
 *                  >>answer >>locked >>leased >>second_level >>run_second >>refresh >>load >>solo_calls >>outside >>sink
 *                  >>control >>save >>restore >>undef
 */
/* A name of the user's own, or -Wshadow, never decides whether this compiles without warnings. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wshadow"

/* ==== runtime/port.h ==== */

/* >>port -- compilers, platforms and the few things that C spells differently everywhere.
 *
 * Nothing here knows what a loader is. Feature macros are always 0 or 1, so that -Wundef finds a
 * misspelt one.
 */
#ifndef DLOAD_I_PORT_H
#define DLOAD_I_PORT_H

#define DLOAD_VERSION          100 /* 10000 * major + 100 * minor + patch */
#define DLOAD_VERSION_STRING   "0.1.0"
#define DLOAD_TEMPLATE_VERSION 1 /* of what generated wrappers rely on */

#ifndef DLOAD_FREESTANDING
#define DLOAD_FREESTANDING 0
#endif
#ifndef DLOAD_XXHASH
#define DLOAD_XXHASH 0
#endif
#ifndef DLOAD_NO_SIMD
#define DLOAD_NO_SIMD 0
#endif
#ifndef DLOAD_LARGE_PAGES
#define DLOAD_LARGE_PAGES 1
#endif
#ifndef DLOAD_LOOSE_POINTERS
#define DLOAD_LOOSE_POINTERS 0
#endif

/* A strict -std=c11 hides the monotonic clock; asking for it adds names and removes none. It helps
 * when this header comes first; env.h copes when it does not. */
#if !DLOAD_FREESTANDING && defined(__STRICT_ANSI__) && !defined(_POSIX_C_SOURCE) && \
    !defined(_GNU_SOURCE)
#define _POSIX_C_SOURCE 200809L
#endif

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#if DLOAD_FREESTANDING
/* Every compiler may call these by itself, so that a freestanding program has them anyway. */
#ifdef __cplusplus
extern "C" {
#endif
void *memcpy(void *to, const void *from, size_t n_bytes);
void *memmove(void *to, const void *from, size_t n_bytes);
void *memset(void *to, int byte, size_t n_bytes);
int memcmp(const void *a, const void *b, size_t n_bytes);
#ifdef __cplusplus
}
#endif
#else
#include <string.h>
#endif

/* Choices start at 1: a misspelt one is 0 to the preprocessor and meets our #error. */
#define DLOAD_LOCK_NONE    1
#define DLOAD_LOCK_SPIN    2
#define DLOAD_LOCK_PTHREAD 3
#define DLOAD_LOCK_CUSTOM  4

#define DLOAD_EVICT_NONE     1
#define DLOAD_EVICT_FIFO     2
#define DLOAD_EVICT_CLOCK    3
#define DLOAD_EVICT_LRU      4
#define DLOAD_EVICT_SIEVE    5
#define DLOAD_EVICT_S3FIFO   6
#define DLOAD_EVICT_AUTO     7
#define DLOAD_EVICT_ADAPTIVE 8

#define DLOAD_HASH_FAST 1
#define DLOAD_HASH_SIP  2

#define DLOAD_CLOCK_ENV     1
#define DLOAD_CLOCK_COARSE  2
#define DLOAD_CLOCK_PRECISE 3
#define DLOAD_CLOCK_MANUAL  4

#define DLOAD_LINKAGE_STATIC  1
#define DLOAD_LINKAGE_DECLARE 2
#define DLOAD_LINKAGE_DEFINE  3

/* Times are uint64_t nanoseconds. */
#define DLOAD_MICROSECOND UINT64_C(1000)
#define DLOAD_MILLISECOND UINT64_C(1000000)
#define DLOAD_SECOND      UINT64_C(1000000000)
#define DLOAD_NEVER       UINT64_MAX

/* Special values of config.capacity. */
#define DLOAD_UNBOUNDED SIZE_MAX
#define DLOAD_NO_CACHE  (SIZE_MAX - 1u)

/* Flags: of _prime, and of dload_call.flags. */
#define DLOAD_OVERWRITE 1u /* replace what is cached */
#define DLOAD_FRESH     2u /* fetch even when the cache has it */
#define DLOAD_PIN       4u /* _prime: the entry is not evicted; see _pin */

#define DLOAD_I_TEXT_OF_(x)       #x
#define DLOAD_I_TEXT_OF(x)        DLOAD_I_TEXT_OF_(x)
#define DLOAD_I_CAT_(a, b)        a##b
#define DLOAD_I_CAT(a, b)         DLOAD_I_CAT_(a, b)
#define DLOAD_I_JOIN_(name, word) name##_##word
#define DLOAD_I_JOIN(name, word)  DLOAD_I_JOIN_(name, word)

#if defined(__TINYC__)
/* Knows neither atomics nor variables of a thread's own: loaders of one thread, DLOAD_LOCK_NONE. */
#define DLOAD_I_ONE_THREAD 1
#define DLOAD_I_UNUSED
#define DLOAD_I_INLINE      static inline
#define DLOAD_I_NOINLINE    static
#define DLOAD_I_COLD        static
#define DLOAD_I_LIKELY(x)   (x)
#define DLOAD_I_UNLIKELY(x) (x)
#define DLOAD_I_PREFETCH(p) ((void)(p))
#elif defined(__GNUC__) || defined(__clang__)
#define DLOAD_I_ONE_THREAD  0
#define DLOAD_I_UNUSED      __attribute__((__unused__))
#define DLOAD_I_INLINE      __attribute__((__unused__, __always_inline__)) static inline
#define DLOAD_I_NOINLINE    __attribute__((__unused__, __noinline__)) static
/* What a program runs once, or when something is wrong: small rather than fast. */
#define DLOAD_I_COLD        __attribute__((__unused__, __noinline__, __cold__)) static
#define DLOAD_I_LIKELY(x)   __builtin_expect(!!(x), 1)
#define DLOAD_I_UNLIKELY(x) __builtin_expect(!!(x), 0)
#define DLOAD_I_PREFETCH(p) __builtin_prefetch((p), 0, 3)
#else
#error "dataloader.h: this compiler is not supported yet: gcc, clang and tcc are"
#endif
#define DLOAD_I_LOCAL DLOAD_I_UNUSED static

#ifdef __cplusplus
#define DLOAD_I_STATIC_ASSERT(condition, text) static_assert(condition, text)
#else
#define DLOAD_I_STATIC_ASSERT(condition, text) _Static_assert(condition, text)
#endif

/* Our invariants; off unless the user defines DLOAD_ASSERT(condition). */
#ifndef DLOAD_ASSERT
#define DLOAD_ASSERT(condition) ((void)0)
#endif

/* Can eight bytes be read and written at once? */
#if defined(__GCC_ATOMIC_LLONG_LOCK_FREE) && __GCC_ATOMIC_LLONG_LOCK_FREE == 2 && \
    UINTPTR_MAX > 0xffffffffu
#define DLOAD_I_WIDE_ATOMICS 1
#else
#define DLOAD_I_WIDE_ATOMICS 0
#endif
/* Is there a compare-and-swap? A core without has no second processor. */
#if DLOAD_I_ONE_THREAD
#define DLOAD_I_SWAPS 0
#elif !DLOAD_FREESTANDING || \
    (defined(__GCC_ATOMIC_INT_LOCK_FREE) && __GCC_ATOMIC_INT_LOCK_FREE == 2)
#define DLOAD_I_SWAPS 1
#else
#define DLOAD_I_SWAPS 0
#endif

/* Atomics on plain fields: _Atomic in a struct would keep C++ out. */
#if DLOAD_I_ONE_THREAD
#define DLOAD_I_LOAD_AS(p, order)     (*(p))
#define DLOAD_I_STORE_AS(p, v, order) ((void)(*(p) = (v)))
#elif !DLOAD_I_WIDE_ATOMICS
/* Eight bytes would be a call into a library that may not be there. They are under a lock, or do no harm when
 * torn (of an address only one half is not 0); a time that is read without one is a dload_i_moment. */
#define DLOAD_I_LOAD_AS(p, order) \
    (sizeof *(p) > sizeof(void *) ? *(p) : __atomic_load_n((p), (order)))
#define DLOAD_I_STORE_AS(p, v, order) \
    (sizeof *(p) > sizeof(void *) ? (void)(*(p) = (v)) : __atomic_store_n((p), (v), (order)))
#else
#define DLOAD_I_LOAD_AS(p, order)     __atomic_load_n((p), (order))
#define DLOAD_I_STORE_AS(p, v, order) __atomic_store_n((p), (v), (order))
#endif
#define DLOAD_I_LOAD_RELAXED(p)     DLOAD_I_LOAD_AS(p, __ATOMIC_RELAXED)
#define DLOAD_I_LOAD_ACQUIRE(p)     DLOAD_I_LOAD_AS(p, __ATOMIC_ACQUIRE)
#define DLOAD_I_STORE_RELAXED(p, v) DLOAD_I_STORE_AS(p, v, __ATOMIC_RELAXED)
#define DLOAD_I_STORE_RELEASE(p, v) DLOAD_I_STORE_AS(p, v, __ATOMIC_RELEASE)

#define DLOAD_I_ALIGNOF(type) __alignof__(type)

/* Reference counts. Without compare-and-swap there is one thread, and interrupts that only read. */
#if !DLOAD_I_SWAPS
#define DLOAD_I_ADD(p, v) (*(p) += (v))
#define DLOAD_I_SUB(p, v) (*(p) -= (v))
#else
#define DLOAD_I_ADD(p, v) __atomic_add_fetch((p), (v), __ATOMIC_RELAXED)
#define DLOAD_I_SUB(p, v) __atomic_sub_fetch((p), (v), __ATOMIC_ACQ_REL)
#endif

/* The rest of what threads need; where there is one, things as they are. */
#if DLOAD_I_ONE_THREAD
#define DLOAD_I_ADD_ORDERED(p, v) DLOAD_I_ADD(p, v)
#define DLOAD_I_SUB_ORDERED(p, v) DLOAD_I_SUB(p, v)
#define DLOAD_I_TAKE(p)           (*(p) != 0 || (*(p) = 1, false))
#define DLOAD_I_COMPILER_FENCE()  ((void)0)
#define DLOAD_I_OF_PROGRAM        static
#define DLOAD_I_OF_THREAD         static
#else
#define DLOAD_I_ADD_ORDERED(p, v) __atomic_add_fetch((p), (v), __ATOMIC_SEQ_CST)
#define DLOAD_I_SUB_ORDERED(p, v) __atomic_sub_fetch((p), (v), __ATOMIC_SEQ_CST)
#define DLOAD_I_TAKE(p)           (__atomic_exchange_n((p), 1u, __ATOMIC_ACQUIRE) != 0)
#define DLOAD_I_COMPILER_FENCE()  __atomic_signal_fence(__ATOMIC_SEQ_CST)
/* A variable that all translation units share, and one of each thread. */
#define DLOAD_I_OF_PROGRAM        __attribute__((__weak__))
#define DLOAD_I_OF_THREAD         __attribute__((__weak__)) __thread
#endif

/* A time that one writer at a time sets, and never back, while others read it without a lock. */
#if DLOAD_I_WIDE_ATOMICS
typedef uint64_t dload_i_moment;

DLOAD_I_INLINE uint64_t dload_i_moment_of(const dload_i_moment *m)
{
    return DLOAD_I_LOAD_RELAXED(m);
}

DLOAD_I_INLINE void dload_i_moment_set(dload_i_moment *m, uint64_t now_ns)
{
    DLOAD_I_STORE_RELAXED(m, now_ns);
}
#else
/* In words of four bytes. Written from last to first and read from first to last: where both upper halves
 * are the same, the lower one is of their time; where not, time passes from one to the other just now. */
typedef struct dload_i_moment {
    uint32_t high, low, next_high;
} dload_i_moment;

DLOAD_I_INLINE uint64_t dload_i_moment_of(const dload_i_moment *m)
{
    uint32_t high = DLOAD_I_LOAD_ACQUIRE(&m->high);
    uint32_t low = DLOAD_I_LOAD_ACQUIRE(&m->low);
    uint32_t next_high = DLOAD_I_LOAD_ACQUIRE(&m->next_high);
    return (uint64_t)next_high << 32 | (high == next_high ? low : 0u);
}

DLOAD_I_INLINE void dload_i_moment_set(dload_i_moment *m, uint64_t now_ns)
{
    DLOAD_I_STORE_RELEASE(&m->next_high, (uint32_t)(now_ns >> 32));
    DLOAD_I_STORE_RELEASE(&m->low, (uint32_t)now_ns);
    DLOAD_I_STORE_RELEASE(&m->high, (uint32_t)(now_ns >> 32));
}
#endif

/* Tells the processor that this is a waiting loop. */
DLOAD_I_INLINE void dload_i_pause(void)
{
#if DLOAD_I_ONE_THREAD
#elif defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ __volatile__("yield" ::: "memory");
#endif
}

/* The index of the lowest set bit; x is not 0. */
DLOAD_I_INLINE uint32_t dload_i_ctz32(uint32_t x)
{
#if DLOAD_I_ONE_THREAD || \
    (DLOAD_FREESTANDING && !defined(__x86_64__) && !defined(__i386__) && !defined(__aarch64__))
    /* Without an instruction for it the compiler would call into libgcc. */
    uint32_t n = 0;
    for (; (x & 0xffu) == 0; x >>= 8)
        n += 8;
    for (; (x & 1u) == 0; x >>= 1)
        n++;
    return n;
#else
    return (uint32_t)__builtin_ctz(x);
#endif
}

DLOAD_I_INLINE uint32_t dload_i_ctz64(uint64_t x)
{
    return (uint32_t)x != 0 ? dload_i_ctz32((uint32_t)x) : 32 + dload_i_ctz32((uint32_t)(x >> 32));
}

/* The smallest power of two that is >= x; x is 1 .. 2^31. */
DLOAD_I_INLINE uint32_t dload_i_pow2_up(uint32_t x)
{
    uint32_t p = 1;
    while (p < x)
        p <<= 1;
    return p;
}

/* a * b, or false when it does not fit. */
DLOAD_I_INLINE bool dload_i_mul_size(size_t a, size_t b, size_t *out)
{
    if (b != 0 && a > SIZE_MAX / b)
        return false;
    *out = a * b;
    return true;
}

/* a + b for times and deadlines: DLOAD_NEVER stays never, and nothing wraps. */
DLOAD_I_INLINE uint64_t dload_i_add_ns(uint64_t a_ns, uint64_t b_ns)
{
    return a_ns > DLOAD_NEVER - b_ns ? DLOAD_NEVER : a_ns + b_ns;
}

/* Plans one block for several arrays: where an array of n items of item_bytes goes, and *total_bytes
 * grows by it. Arrays begin on 64-byte lines. A total of SIZE_MAX means that it does not fit. */
DLOAD_I_NOINLINE size_t dload_i_carve(size_t *total_bytes, size_t n, size_t item_bytes)
{
    size_t n_bytes = 0;
    size_t at = *total_bytes;
    if (at > SIZE_MAX - 64 || !dload_i_mul_size(n, item_bytes, &n_bytes)) {
        *total_bytes = SIZE_MAX;
        return 0;
    }
    at = (at + 63) & ~(size_t)63;
    *total_bytes = n_bytes > SIZE_MAX - 64 - at ? SIZE_MAX : at + n_bytes;
    return at;
}

#endif /* DLOAD_I_PORT_H */

/* ==== runtime/status.h ==== */

/* >>status -- one list gives the enum and the texts.
 *
 * A status is a value, never an exception: st >= 0 exactly when the out-parameter was written.
 * A text names the knob to turn, so that a log line is enough to mend the cause.
 */
#ifndef DLOAD_I_STATUS_H
#define DLOAD_I_STATUS_H

/* clang-format off */
#define DLOAD_I_STATUS_MAP(X)                                                                      \
    X(OK, 0, "ok")                                                                                 \
    X(STALE, 1, "ok, but the value is past its TTL (config.stale_ns allows it)")                   \
    X(PENDING, -1, "not yet: the answer comes later (fetch functions and _start only)")            \
    X(MISSING, -2, "the source has no value for this key")                                         \
    X(EINVAL, -3, "invalid argument or configuration (see the range beside each config field; "    \
                  "DLOAD_HASH_SIP: no hash_key, and no env->random to draw one from)")             \
    X(ENOMEM, -4, "out of memory (config.env->alloc returned NULL)")                               \
    X(EFULL, -5, "no room: raise config.capacity or choose a policy that evicts")                  \
    X(ETOOBIG, -6, "key or value over its limit (config.max_key_bytes, config.max_weight / shards)") \
    X(EKEY, -7, "this key can never be one: NaN, or a string without bytes behind its length")     \
    X(EFETCH, -8, "the fetch function failed")                                                     \
    X(EBATCH, -9, "the fetch function answered a key index outside its batch")                     \
    X(EBACKEND, -10, "the second-level store failed (the load itself goes on from the source)")    \
    X(EDECODE, -11, "a stored value could not be decoded")                                         \
    X(EAGAIN, -12, "would have to wait: set env->wait, or raise config.max_queue")                 \
    X(ETIMEDOUT, -13, "deadline passed (config.timeout_ns, dload_call.deadline_ns)")               \
    X(ECANCELED, -14, "cancelled, or cleared since the token was taken")                           \
    X(EDEADLK, -15, "this load would wait for the batch it is called from")                        \
    X(ECLOSED, -16, "the loader is closed")                                                        \
    X(EBUSY, -17, "a batch is out or the waiter is already being completed: try again later")      \
    X(EFORK, -18, "the loader belongs to the parent process: initialise one after fork()")         \
    X(ELOCK, -19, "a named lock was lost or could not be taken")                                   \
    X(ELAYOUT, -20, "made with other DLOAD_ parameters: caller and implementation, or a snapshot") \
    X(ECORRUPT, -21, "damaged: a snapshot's checksum is wrong, or memory was overwritten")         \
    X(EIO, -22, "a file could not be written, read or replaced (errno says why)")
/* clang-format on */

#define DLOAD_I_STATUS_ENUM(name, value, text) DLOAD_##name = (value),
typedef enum dload_status {
    DLOAD_I_STATUS_MAP(DLOAD_I_STATUS_ENUM)
    /* Codes of your own go from here down: (dload_status)(DLOAD_EUSER - n). */
    DLOAD_EUSER = -1000,
    DLOAD_I_STATUS_WIDTH = -2147483647 /* keeps the enum a signed 32-bit type everywhere */
} dload_status;
#undef DLOAD_I_STATUS_ENUM

/* The text of a status: constant, never NULL, nothing to free. Any thread; O(number of codes). */
static inline const char *dload_strerror(dload_status status)
{
#define DLOAD_I_STATUS_TEXT(name, value, text) \
    case DLOAD_##name:                         \
        return text;
    switch ((int)status) {
        DLOAD_I_STATUS_MAP(DLOAD_I_STATUS_TEXT)
    default:
        break;
    }
#undef DLOAD_I_STATUS_TEXT
    return (int)status <= (int)DLOAD_EUSER ? "a code of the fetch function's own"
                                           : "unknown status";
}

/* The name of a status ("EAGAIN"), for logs and metrics; "EUSER" for codes of the user's own. */
static inline const char *dload_status_name(dload_status status)
{
#define DLOAD_I_STATUS_NAME(name, value, text) \
    case DLOAD_##name:                         \
        return #name;
    switch ((int)status) {
        DLOAD_I_STATUS_MAP(DLOAD_I_STATUS_NAME)
    default:
        break;
    }
#undef DLOAD_I_STATUS_NAME
    return (int)status <= (int)DLOAD_EUSER ? "EUSER" : "unknown";
}

#endif /* DLOAD_I_STATUS_H */

/* ==== runtime/key.h ==== */

/* >>key -- what may be a key, and how several fields become one.
 *
 * A key is a primitive, a byte string or 16 bytes. The kind is found by pasting the type's name, not
 * by sizeof or _Generic, so that a struct or a pointer meets our sentence before any other error.
 */
#ifndef DLOAD_I_KEY_H
#define DLOAD_I_KEY_H

/* A byte string: not NUL-terminated, any bytes. Loaders copy it before a call returns. */
typedef struct dload_str {
    const char *ptr; /* may be NULL when len is 0 */
    size_t len;      /* bytes */
} dload_str;

/* A 16-byte identifier, e.g. a UUID. */
typedef struct dload_id128 {
    uint8_t bytes[16];
} dload_id128;

/* A dload_str over a C string, which must outlive its use. text is not NULL. O(length). */
DLOAD_I_LOCAL dload_str dload_str_from(const char *text)
{
    dload_str s;
    s.ptr = text;
    s.len = 0;
    while (text[s.len] != '\0')
        s.len++;
    return s;
}

#define DLOAD_I_KIND_UNKNOWN 0
#define DLOAD_I_KIND_INTEGER 1
#define DLOAD_I_KIND_BOOL    2
#define DLOAD_I_KIND_FLOAT   3
#define DLOAD_I_KIND_DOUBLE  4
#define DLOAD_I_KIND_STRING  5
#define DLOAD_I_KIND_ID128   6

/* Pasting DLOAD_I_TYPE_ and the type gives "~, kind," for a name we know; what follows the name
 * (the star of a pointer, a second word) becomes the third argument, which must be empty. */
#define DLOAD_I_TYPE_bool         ~, DLOAD_I_KIND_BOOL,
#define DLOAD_I_TYPE__Bool        ~, DLOAD_I_KIND_BOOL,
#define DLOAD_I_TYPE_char         ~, DLOAD_I_KIND_INTEGER,
#define DLOAD_I_TYPE_int          ~, DLOAD_I_KIND_INTEGER,
#define DLOAD_I_TYPE_unsigned     ~, DLOAD_I_KIND_INTEGER,
#define DLOAD_I_TYPE_long         ~, DLOAD_I_KIND_INTEGER,
#define DLOAD_I_TYPE_size_t       ~, DLOAD_I_KIND_INTEGER,
#define DLOAD_I_TYPE_int8_t       ~, DLOAD_I_KIND_INTEGER,
#define DLOAD_I_TYPE_int16_t      ~, DLOAD_I_KIND_INTEGER,
#define DLOAD_I_TYPE_int32_t      ~, DLOAD_I_KIND_INTEGER,
#define DLOAD_I_TYPE_int64_t      ~, DLOAD_I_KIND_INTEGER,
#define DLOAD_I_TYPE_uint8_t      ~, DLOAD_I_KIND_INTEGER,
#define DLOAD_I_TYPE_uint16_t     ~, DLOAD_I_KIND_INTEGER,
#define DLOAD_I_TYPE_uint32_t     ~, DLOAD_I_KIND_INTEGER,
#define DLOAD_I_TYPE_uint64_t     ~, DLOAD_I_KIND_INTEGER,
#define DLOAD_I_TYPE_float        ~, DLOAD_I_KIND_FLOAT,
#define DLOAD_I_TYPE_double       ~, DLOAD_I_KIND_DOUBLE,
#define DLOAD_I_TYPE_DLOAD_STRING ~, DLOAD_I_KIND_STRING,
#define DLOAD_I_TYPE_DLOAD_ID128  ~, DLOAD_I_KIND_ID128,
#define DLOAD_I_TYPE_dload_str    ~, DLOAD_I_KIND_STRING,
#define DLOAD_I_TYPE_dload_id128  ~, DLOAD_I_KIND_ID128,
#define DLOAD_I_VTYPE_DLOAD_BLOB  ~, DLOAD_I_VKIND_BLOB,
#define DLOAD_I_VTYPE_dload_blob  ~, DLOAD_I_VKIND_BLOB,
#define DLOAD_I_VKIND_BLOB        1

/* Each list below is padded, because a variadic macro wants at least one argument for its dots. */
#define DLOAD_I_EXPAND(x)            x
#define DLOAD_I_SECOND_(a, b, ...)   b
#define DLOAD_I_THIRD_(a, b, c, ...) c
#define DLOAD_I_SECOND(...)          DLOAD_I_EXPAND(DLOAD_I_SECOND_(__VA_ARGS__))
#define DLOAD_I_THIRD(...)           DLOAD_I_EXPAND(DLOAD_I_THIRD_(__VA_ARGS__))
/* 1 when rest is empty: only then do DLOAD_I_PAIR and the parentheses meet. */
#define DLOAD_I_PAIR()         ~, 1
#define DLOAD_I_IS_EMPTY(rest) DLOAD_I_SECOND(DLOAD_I_PAIR rest(), 0, ~)
#define DLOAD_I_LOOK_UP(...) \
    (DLOAD_I_SECOND(__VA_ARGS__, 0, ~) * DLOAD_I_IS_EMPTY(DLOAD_I_THIRD(__VA_ARGS__, ~, ~, ~)))
#define DLOAD_I_KIND_OF_(type)  DLOAD_I_LOOK_UP(DLOAD_I_TYPE_##type)
#define DLOAD_I_KIND_OF(type)   DLOAD_I_KIND_OF_(type)
#define DLOAD_I_VKIND_OF_(type) DLOAD_I_LOOK_UP(DLOAD_I_VTYPE_##type)
#define DLOAD_I_VKIND_OF(type)  DLOAD_I_VKIND_OF_(type)

/* ---- composite keys ----
 *
 * dload_key_enc builds one DLOAD_STRING out of several fields, so that different fields never give
 * the same bytes: every field is written as one type byte and a fixed or length-prefixed body.
 *
 *     char buf[64];
 *     dload_key_enc e = dload_key_enc_begin(buf, sizeof buf);
 *     dload_key_enc_u64(&e, tenant);
 *     dload_key_enc_str(&e, name);
 *     dload_str key;
 *     dload_status st = dload_key_enc_end(&e, &key);
 */
typedef struct dload_key_enc {
    char *buf;
    size_t cap_bytes;
    size_t n_bytes; /* what was written, or would have been */
} dload_key_enc;

/* Starts a key in the caller's buffer, which must outlive the key's use. */
DLOAD_I_LOCAL dload_key_enc dload_key_enc_begin(char *buf, size_t cap_bytes)
{
    dload_key_enc e;
    e.buf = buf;
    e.cap_bytes = cap_bytes;
    e.n_bytes = 0;
    return e;
}

DLOAD_I_LOCAL void dload_i_enc_bytes(dload_key_enc *e, const void *bytes, size_t n)
{
    if (n != 0 && e->n_bytes <= e->cap_bytes && n <= e->cap_bytes - e->n_bytes)
        memcpy(e->buf + e->n_bytes, bytes, n);
    e->n_bytes = n > SIZE_MAX - e->n_bytes ? SIZE_MAX : e->n_bytes + n;
}

DLOAD_I_LOCAL void dload_i_enc_tagged(dload_key_enc *e, unsigned char tag, uint64_t v)
{
    unsigned char b[9];
    b[0] = tag;
    for (int i = 0; i < 8; i++)
        b[1 + i] = (unsigned char)(v >> (56 - 8 * i)); /* big-endian: the same on every machine */
    dload_i_enc_bytes(e, b, sizeof b);
}

/* Appends an unsigned field. */
DLOAD_I_LOCAL void dload_key_enc_u64(dload_key_enc *e, uint64_t v)
{
    dload_i_enc_tagged(e, 'u', v);
}

/* Appends a signed field; 1 as signed and 1 as unsigned are different fields. */
DLOAD_I_LOCAL void dload_key_enc_i64(dload_key_enc *e, int64_t v)
{
    dload_i_enc_tagged(e, 'i', (uint64_t)v);
}

/* Appends a byte string, length first. */
DLOAD_I_LOCAL void dload_key_enc_str(dload_key_enc *e, dload_str s)
{
    dload_i_enc_tagged(e, 's', s.len);
    dload_i_enc_bytes(e, s.ptr, s.len);
}

/* Ends the key. DLOAD_OK and *key, which points into the buffer; DLOAD_ETOOBIG when it was too small,
 * and then e->n_bytes is the size it needs. */
DLOAD_I_LOCAL dload_status dload_key_enc_end(const dload_key_enc *e, dload_str *key)
{
    if (e->n_bytes > e->cap_bytes)
        return DLOAD_ETOOBIG;
    key->ptr = e->buf;
    key->len = e->n_bytes;
    return DLOAD_OK;
}

#endif /* DLOAD_I_KEY_H */

/* ==== runtime/env.h ==== */

/* >>env -- what a loader needs from the outside: clock, memory, chance, identity and waiting.
 *
 * One run-time struct, so that tests, fibers and firmware bring their own; a member that is NULL is
 * a thing the loader does without.
 */
#ifndef DLOAD_I_ENV_H
#define DLOAD_I_ENV_H

typedef struct dload_env {
    uint64_t (*now)(void *ctx); /* monotonic, ns; NULL = time stands still at what _process said */
    void *(*alloc)(void *ctx, size_t n_bytes); /* aligned as malloc; NULL result = none left */
    void (*free)(void *ctx, void *p, size_t n_bytes); /* p is not NULL; n_bytes as allocated */
    uint64_t (*random)(void *ctx); /* for TTL jitter; NULL = a fixed sequence. With
                                    DLOAD_HASH_SIP also for secrets; NULL = the system's */
    uint64_t (*self)(void *ctx); /* who is calling: a thread or a fiber, never 0; NULL = only one */
    /* Blocks, or pumps what completes batches, until *word may differ from seen or it is until_ns;
     * may return early. DLOAD_OK, or an error that ends the wait. NULL = the lock's own way. */
    dload_status (*wait)(void *ctx, const uint32_t *word, uint32_t seen, uint64_t until_ns);
    void (*wake)(void *ctx, const uint32_t *word); /* ends waits on word; NULL = nothing to do */
    /* May the current caller be parked in wait, so that other callers of the same thread go on? Then a
     * blocking call sends nothing by itself: whoever runs the callers dispatches when all of them
     * wait (see registry.h). NULL = never. */
    bool (*parks)(void *ctx);
    void *ctx; /* handed to each of these */
} dload_env;

/* How a close treats what is still queued. */
typedef enum dload_close_mode {
    DLOAD_DRAIN = 1, /* send it and deliver it */
    DLOAD_FAIL = 2   /* end it with DLOAD_ECLOSED */
} dload_close_mode;

/* Options of one call; zeros are the defaults. */
typedef struct dload_call {
    uint64_t deadline_ns; /* absolute, in _now() time; 0 = config.timeout_ns from now */
    uint32_t flags;       /* DLOAD_FRESH: do not take the answer from the cache */
    uint64_t group;       /* DLOAD_GROUP 1: the keys' group; without it only 0 is allowed */
} dload_call;

/* What _peek found. */
typedef enum dload_state {
    DLOAD_STATE_ABSENT = 0,
    DLOAD_STATE_QUEUED = 1,    /* asked for, not sent */
    DLOAD_STATE_IN_FLIGHT = 2, /* being fetched */
    DLOAD_STATE_READY = 3,
    DLOAD_STATE_STALE = 4, /* past its TTL, still allowed */
    DLOAD_STATE_ERROR = 5  /* an error is cached */
} dload_state;

/* Why a value left the cache, or did not get into it; see config.on_remove. */
typedef enum dload_removal {
    DLOAD_REMOVED_EVICTED = 1,  /* the policy made room */
    DLOAD_REMOVED_EXPIRED = 2,  /* its TTL had passed, whatever it was then removed for */
    DLOAD_REMOVED_REPLACED = 3, /* another value came for its key, were it to be refused itself */
    DLOAD_REMOVED_CLEARED = 4,  /* _clear and its kin, _cache_delete */
    DLOAD_REMOVED_REJECTED = 5, /* never got in: too heavy, no room, or no memory */
    DLOAD_REMOVED_DESTROYED = 6 /* the cache ended */
} dload_removal;

/* A moment in the history of clears; see _token and _put_if. */
typedef uint64_t dload_token;

DLOAD_I_LOCAL uint64_t dload_i_now(const dload_env *env)
{
    return env->now != NULL ? env->now(env->ctx) : 0;
}

DLOAD_I_LOCAL void *dload_i_alloc(const dload_env *env, size_t n_bytes)
{
    return env->alloc != NULL ? env->alloc(env->ctx, n_bytes) : NULL;
}

DLOAD_I_LOCAL void dload_i_free(const dload_env *env, void *p, size_t n_bytes)
{
    if (p != NULL)
        env->free(env->ctx, p, n_bytes);
}

DLOAD_I_LOCAL uint64_t dload_i_self(const dload_env *env)
{
    return env->self != NULL ? env->self(env->ctx) : 1;
}

DLOAD_I_LOCAL bool dload_i_parks(const dload_env *env)
{
    return env->parks != NULL && env->wait != NULL && env->parks(env->ctx);
}

#if DLOAD_FREESTANDING

/* Freestanding: no clock and no memory; a loader gets an env of the caller's own. */
DLOAD_I_LOCAL const dload_env *dload_env_default(void)
{
    static const dload_env none = {NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL};
    return &none;
}

#else

#include <stdlib.h>
#include <time.h>
#ifdef _WIN32
#error "dataloader.h: Windows is not supported yet"
#endif

#ifndef CLOCK_MONOTONIC
/* A strict -std=c11 with <time.h> included before us hid these; the C library has them all the same. */
#define DLOAD_I_CLOCK_PRECISE 1
#define DLOAD_I_CLOCK_COARSE  6
#ifdef __cplusplus
extern "C" {
#endif
int clock_gettime(int clock_id, struct timespec *ts);
int nanosleep(const struct timespec *wanted, struct timespec *left);
#ifdef __cplusplus
}
#endif
#else
#define DLOAD_I_CLOCK_PRECISE CLOCK_MONOTONIC
#ifdef CLOCK_MONOTONIC_COARSE
#define DLOAD_I_CLOCK_COARSE CLOCK_MONOTONIC_COARSE
#elif defined(__linux__)
#define DLOAD_I_CLOCK_COARSE 6
#else
#define DLOAD_I_CLOCK_COARSE CLOCK_MONOTONIC
#endif
#endif

/* 22 ns on the machine this was measured on; exact. */
DLOAD_I_LOCAL uint64_t dload_i_clock_precise(void *ctx)
{
    struct timespec ts;
    (void)ctx;
    (void)clock_gettime(DLOAD_I_CLOCK_PRECISE, &ts);
    return (uint64_t)ts.tv_sec * DLOAD_SECOND + (uint64_t)ts.tv_nsec;
}

/* 5 ns there; behind by up to one tick of the kernel, 1 to 10 ms. */
DLOAD_I_LOCAL uint64_t dload_i_clock_coarse(void *ctx)
{
    struct timespec ts;
    (void)ctx;
    (void)clock_gettime(DLOAD_I_CLOCK_COARSE, &ts);
    return (uint64_t)ts.tv_sec * DLOAD_SECOND + (uint64_t)ts.tv_nsec;
}

/* Gives the processor away for about so long; less than a second. */
DLOAD_I_LOCAL void dload_i_nap(uint64_t span_ns)
{
    struct timespec ts;
    ts.tv_sec = 0;
    ts.tv_nsec = (long)span_ns;
    (void)nanosleep(&ts, NULL);
}

/* Blocks of four million bytes and more, the tables of large caches, begin on a large page and ask for such:
 * a hit somewhere in a table of many megabytes otherwise waits for an address translation too. Advice is all it
 * is: where the kernel has none to give, or the allocator no such place, the block is an ordinary one. */
#if DLOAD_LARGE_PAGES && defined(__linux__) && (defined(__x86_64__) || defined(__aarch64__))
#define DLOAD_I_LARGE_PAGE ((size_t)1 << 21)
#include <sys/mman.h>
#ifdef MADV_HUGEPAGE
#define DLOAD_I_ADVICE MADV_HUGEPAGE
#elif !defined(__cplusplus)
#define DLOAD_I_ADVICE 14 /* hidden by a strict -std=c11, like the clock above */
int madvise(void *p, size_t n_bytes, int advice);
#endif
#endif

#ifdef DLOAD_I_ADVICE
DLOAD_I_LOCAL void *dload_i_large_alloc(size_t n_bytes)
{
    const size_t last = DLOAD_I_LARGE_PAGE - 1;
    void *p = n_bytes > SIZE_MAX - last
                  ? NULL
                  : aligned_alloc(DLOAD_I_LARGE_PAGE, (n_bytes + last) & ~last);
    if (p != NULL)
        (void)madvise(p, n_bytes & ~last, DLOAD_I_ADVICE);
    return p;
}
#endif

DLOAD_I_COLD void *dload_i_host_alloc(void *ctx, size_t n_bytes)
{
    void *p = NULL;
    (void)ctx;
#ifdef DLOAD_I_ADVICE
    if (n_bytes >= 2 * DLOAD_I_LARGE_PAGE)
        p = dload_i_large_alloc(n_bytes);
#endif
    return p != NULL ? p : malloc(n_bytes);
}

DLOAD_I_LOCAL void dload_i_host_free(void *ctx, void *p, size_t n_bytes)
{
    (void)ctx;
    (void)n_bytes;
    free(p);
}

/* A thread is known by the address of a variable of its own. */
DLOAD_I_LOCAL uint64_t dload_i_host_self(void *ctx)
{
#if DLOAD_I_ONE_THREAD
    static char mine;
#else
    static __thread char mine;
#endif
    (void)ctx;
    return (uint64_t)(uintptr_t)&mine;
}

/* The host's monotonic clock, malloc and threads. Constant, never NULL. */
DLOAD_I_LOCAL const dload_env *dload_env_default(void)
{
    static const dload_env host = {dload_i_clock_precise,
                                   dload_i_host_alloc,
                                   dload_i_host_free,
                                   NULL,
                                   dload_i_host_self,
                                   NULL,
                                   NULL,
                                   NULL,
                                   NULL};
    return &host;
}

#endif /* DLOAD_FREESTANDING */

#endif /* DLOAD_I_ENV_H */

/* ==== runtime/pool.h ==== */

/* >>pool -- an allocator over one block, for loaders that live as long as a request.
 *
 * A loader made and destroyed per request asks for the same few blocks each time. A pool hands them
 * out by advancing a pointer and takes everything back at once: no malloc, no search, no list.
 */
#ifndef DLOAD_I_POOL_H
#define DLOAD_I_POOL_H

typedef struct dload_pool {
    dload_env env; /* pass &pool.env as config.env; its clock and waiting are the parent's */
    char *block;
    size_t cap_bytes;
    size_t n_used_bytes;
    size_t high_bytes; /* the most that was ever in use, overflow included: the block to ask for */
    size_t over_bytes; /* of n_used: what did not fit and came from the parent */
    const dload_env *parent;
} dload_pool;

#define DLOAD_I_POOL_ALIGN 16u

DLOAD_I_LOCAL void *dload_i_pool_alloc(void *ctx, size_t n_bytes)
{
    dload_pool *pool = (dload_pool *)ctx;
    if (n_bytes > SIZE_MAX - DLOAD_I_POOL_ALIGN)
        return NULL;
    size_t n = (n_bytes + DLOAD_I_POOL_ALIGN - 1) & ~(size_t)(DLOAD_I_POOL_ALIGN - 1);
    void *p = NULL;
    if (n <= pool->cap_bytes - pool->n_used_bytes) {
        p = pool->block + pool->n_used_bytes;
        pool->n_used_bytes += n;
    } else {
        p = dload_i_alloc(pool->parent, n_bytes);
        if (p == NULL)
            return NULL;
        pool->over_bytes += n;
    }
    if (pool->n_used_bytes + pool->over_bytes > pool->high_bytes)
        pool->high_bytes = pool->n_used_bytes + pool->over_bytes;
    return p;
}

DLOAD_I_LOCAL void dload_i_pool_free(void *ctx, void *p, size_t n_bytes)
{
    dload_pool *pool = (dload_pool *)ctx;
    size_t n = (n_bytes + DLOAD_I_POOL_ALIGN - 1) & ~(size_t)(DLOAD_I_POOL_ALIGN - 1);
    uintptr_t at = (uintptr_t)p;
    uintptr_t first = (uintptr_t)pool->block;
    if (at < first || at >= first + pool->cap_bytes) {
        pool->over_bytes -= n;
        dload_i_free(pool->parent, p, n_bytes);
    } else if (at + n == first + pool->n_used_bytes) {
        pool->n_used_bytes -= n; /* the last one out goes back; the others wait for the reset */
    }
}

/* The rest of the env is the parent's, with the parent's own ctx. */
DLOAD_I_LOCAL uint64_t dload_i_pool_now(void *ctx)
{
    const dload_env *parent = ((dload_pool *)ctx)->parent;
    return parent->now(parent->ctx);
}

DLOAD_I_LOCAL uint64_t dload_i_pool_random(void *ctx)
{
    const dload_env *parent = ((dload_pool *)ctx)->parent;
    return parent->random(parent->ctx);
}

DLOAD_I_LOCAL uint64_t dload_i_pool_self(void *ctx)
{
    const dload_env *parent = ((dload_pool *)ctx)->parent;
    return parent->self(parent->ctx);
}

DLOAD_I_LOCAL dload_status dload_i_pool_wait(void *ctx, const uint32_t *word, uint32_t seen,
                                             uint64_t until_ns)
{
    const dload_env *parent = ((dload_pool *)ctx)->parent;
    return parent->wait(parent->ctx, word, seen, until_ns);
}

DLOAD_I_LOCAL void dload_i_pool_wake(void *ctx, const uint32_t *word)
{
    const dload_env *parent = ((dload_pool *)ctx)->parent;
    parent->wake(parent->ctx, word);
}

DLOAD_I_LOCAL bool dload_i_pool_parks(void *ctx)
{
    const dload_env *parent = ((dload_pool *)ctx)->parent;
    return parent->parks(parent->ctx);
}

/* Prepares a pool over the caller's block, which is 16-byte aligned and outlives the pool. What does
 * not fit comes from parent (NULL = dload_env_default()). One thread at a time. O(1). */
DLOAD_I_LOCAL void dload_pool_init(dload_pool *pool, void *block, size_t n_bytes,
                                   const dload_env *parent)
{
    pool->parent = parent != NULL ? parent : dload_env_default();
    pool->env.now = pool->parent->now != NULL ? dload_i_pool_now : NULL;
    pool->env.alloc = dload_i_pool_alloc;
    pool->env.free = dload_i_pool_free;
    pool->env.random = pool->parent->random != NULL ? dload_i_pool_random : NULL;
    pool->env.self = pool->parent->self != NULL ? dload_i_pool_self : NULL;
    pool->env.wait = pool->parent->wait != NULL ? dload_i_pool_wait : NULL;
    pool->env.wake = pool->parent->wake != NULL ? dload_i_pool_wake : NULL;
    pool->env.parks = pool->parent->parks != NULL ? dload_i_pool_parks : NULL;
    pool->env.ctx = pool;
    pool->block = (char *)block;
    pool->cap_bytes = n_bytes;
    pool->n_used_bytes = 0;
    pool->high_bytes = 0;
    pool->over_bytes = 0;
}

/* Takes the whole block back, once every loader on it is destroyed. O(1). */
DLOAD_I_LOCAL void dload_pool_reset(dload_pool *pool)
{
    pool->n_used_bytes = 0;
}

#endif /* DLOAD_I_POOL_H */

/* ==== runtime/block.h ==== */

/* >>block -- an allocator over one block of the caller's, for machines without malloc.
 *
 * A loader that was made for it (see DLOAD_BYTES) asks for its memory in _init, a few times, and gives it
 * back in _destroy, so that advancing a mark is all it takes. What is freed last comes back at once, and all
 * of it when nothing is out any more: the same block serves the next _init. There is no parent to fall back
 * on: what does not fit is DLOAD_ENOMEM.
 */
#ifndef DLOAD_I_BLOCK_H
#define DLOAD_I_BLOCK_H

/* One block of memory as an env. Several loaders and caches may share it. */
typedef struct dload_block {
    dload_env env;    /* pass &block.env as config.env; set env.now, whose ctx is the dload_block */
    char *memory;     /* private, as all that follows */
    size_t cap_bytes; /* may be read: what there is, */
    size_t n_used_bytes; /* ... and what of it is out */
    size_t n_out;        /* pieces that are out */
} dload_block;

/* Pieces begin on multiples of this: enough for anything but values that are aligned to 16. */
#define DLOAD_I_BLOCK_ALIGN 8u

/* What a piece of n bytes takes. A macro, because array sizes are made of it. */
#define DLOAD_I_BLOCK_UP(n) \
    (((n) + (DLOAD_I_BLOCK_ALIGN - 1u)) & ~(size_t)(DLOAD_I_BLOCK_ALIGN - 1u))

DLOAD_I_LOCAL void *dload_i_block_alloc(void *ctx, size_t n_bytes)
{
    dload_block *block = (dload_block *)ctx;
    size_t left = block->cap_bytes - block->n_used_bytes; /* whole steps, both of them */
    if (n_bytes > left)
        return NULL;
    void *p = block->memory + block->n_used_bytes;
    block->n_used_bytes += DLOAD_I_BLOCK_UP(n_bytes);
    block->n_out++;
    return p;
}

DLOAD_I_LOCAL void dload_i_block_free(void *ctx, void *p, size_t n_bytes)
{
    dload_block *block = (dload_block *)ctx;
    size_t from = (size_t)((char *)p - block->memory);
    if (from + DLOAD_I_BLOCK_UP(n_bytes) == block->n_used_bytes)
        block->n_used_bytes = from; /* the last one out is the first one back */
    if (--block->n_out == 0)
        block->n_used_bytes = 0;
}

/* Makes an env of the n_bytes at memory, which stay the caller's, may be static, and must outlive every loader
 * on them. They are best aligned to 8: of others the bytes up to the next multiple of 8 are not used. Values that
 * are aligned to 16 need another env. The clock stands still until env.now is set. One thread at a time. O(1). */
DLOAD_I_LOCAL void dload_block_init(dload_block *block, void *memory, size_t n_bytes)
{
    size_t skip = (size_t)(0u - (uintptr_t)memory) & (DLOAD_I_BLOCK_ALIGN - 1u);
    memset(block, 0, sizeof *block);
    block->env.alloc = dload_i_block_alloc;
    block->env.free = dload_i_block_free;
    block->env.ctx = block;
    block->memory = (char *)memory + skip;
    block->cap_bytes = n_bytes < skip ? 0 : (n_bytes - skip) & ~(size_t)(DLOAD_I_BLOCK_ALIGN - 1u);
}

/* The bytes of the block that a loader NAME with DLOAD_ASYNC 0 needs, of this capacity and max_batch; with max_batch
 * 0 those of a cache alone. Constant, so that a static array can have them:
 *
 *     static uint64_t memory[(DLOAD_BYTES(regs, 32, 8) + 7) / 8];
 *
 * Takes that much, all of it in _init, and nothing later; one step of 8 less is DLOAD_ENOMEM. The cache has
 * DLOAD_COMPACT 1, or capacity is DLOAD_NO_CACHE; for others this does not compile. A block for several is as large
 * as their sum. */
#define DLOAD_BYTES(NAME, capacity, max_batch) \
    DLOAD_BYTES_QUEUED(NAME, capacity, max_batch, max_batch)

/* The same with a config.max_queue of its own. */
#define DLOAD_BYTES_QUEUED(NAME, capacity, max_batch, max_queue)               \
    (DLOAD_I_CACHE_BYTES(NAME, capacity) +                                     \
     ((max_batch) == 0 ? 0 : DLOAD_I_SOLO_BYTES(NAME, max_batch, max_queue)) + \
     DLOAD_I_CHECKED((max_batch) == 0 || NAME##_i_bounded))

/* 0, or what does not compile. */
#define DLOAD_I_CHECKED(condition) (sizeof(char[(condition) ? 1 : -1]) - 1)

/* A cache's table; see chains.h. */
#define DLOAD_I_CACHE_BYTES(NAME, capacity)                                         \
    (((capacity) == DLOAD_NO_CACHE                                                  \
          ? 0                                                                       \
          : DLOAD_I_BLOCK_UP(DLOAD_I_TABLE_BYTES(NAME##_i_slot_bytes, capacity))) + \
     DLOAD_I_CHECKED((capacity) == DLOAD_NO_CACHE || NAME##_i_slot_bytes != 0))

#endif /* DLOAD_I_BLOCK_H */

/* ==== runtime/ticks.h ==== */

/* >>ticks -- a counter of 32 bits that wraps, as the nanoseconds that everything here is measured in.
 *
 * Timers of microcontrollers count up and start over after 2^32 ticks, 49 days of milliseconds or 71 minutes
 * of microseconds. Differences between two looks are right as long as no more than one round lies between them;
 * they are summed up.
 */
#ifndef DLOAD_I_TICKS_H
#define DLOAD_I_TICKS_H

/* A counter that is extended. Zero it, set tick_ns; for an env it belongs beside the counter:
 *
 *     static dload_ticks clock = {1000000, 0, 0};            // a tick is a millisecond
 *     static uint64_t now(void *ctx) { (void)ctx; return dload_ticks_ns(&clock, millis()); }
 */
typedef struct dload_ticks {
    uint32_t tick_ns;    /* ns a tick */
    uint32_t last_ticks; /* private: the counter at the last look */
    uint64_t total_ns;   /* private: time until then */
} dload_ticks;

/* a * b in four parts, for cores that multiply 32 bits into 32. */
DLOAD_I_INLINE uint64_t dload_i_mul_halves(uint32_t a, uint32_t b)
{
    uint32_t low = (a & 0xffffu) * (b & 0xffffu);
    uint32_t left = (a >> 16) * (b & 0xffffu);
    uint32_t right = (a & 0xffffu) * (b >> 16);
    uint32_t middle = (low >> 16) + (left & 0xffffu) + (right & 0xffffu);
    uint32_t high = (a >> 16) * (b >> 16) + (left >> 16) + (right >> 16) + (middle >> 16);
    return (uint64_t)high << 32 | (middle << 16 | (low & 0xffffu));
}

/* a * b, without the compiler's library. */
DLOAD_I_INLINE uint64_t dload_i_mul_wide(uint32_t a, uint32_t b)
{
#if DLOAD_FREESTANDING && (defined(__ARM_ARCH_6M__) || defined(__ARM_ARCH_8M_BASE__))
    return dload_i_mul_halves(a, b);
#else
    return (uint64_t)a * b;
#endif
}

/* The time in ns since the counter was 0, at a look that finds it at now_ticks: what env.now returns. It never
 * goes back, and wraps after 584 years, as long as somebody looks once in 2^32 ticks; a loader looks when it
 * is called. A look that interrupts another one spoils it: where interrupt handlers ask for the time, too, as
 * _cache_get does, it goes into a critical section. Allocates nothing; O(1). */
DLOAD_I_LOCAL uint64_t dload_ticks_ns(dload_ticks *t, uint32_t now_ticks)
{
    t->total_ns += dload_i_mul_wide(now_ticks - t->last_ticks, t->tick_ns);
    t->last_ticks = now_ticks;
    return t->total_ns;
}

#endif /* DLOAD_I_TICKS_H */

/* ==== runtime/blob.h ==== */

/* >>blob -- DLOAD_BLOB values: byte strings with a reference count.
 *
 * A blob is two words; the count and the allocator stand in front of the bytes, so that a blob may
 * outlive the loader it came from, and its bytes never move or change.
 */
#ifndef DLOAD_I_BLOB_H
#define DLOAD_I_BLOB_H

typedef struct dload_blob {
    const uint8_t *ptr; /* NULL = no blob; the bytes are 8-byte aligned and immutable */
    size_t len;         /* bytes */
} dload_blob;

/* What stands before the bytes. The allocator is copied: the env may be gone before the blob. */
typedef struct dload_i_blob_head {
    void (*free)(void *ctx, void *p, size_t n_bytes);
    void *ctx;
    size_t len;
    uint32_t refs; /* atomic */
    uint32_t pad;
} dload_i_blob_head;

DLOAD_I_INLINE dload_i_blob_head *dload_i_blob_head_of(dload_blob blob)
{
    return (dload_i_blob_head *)(uintptr_t)(blob.ptr - sizeof(dload_i_blob_head));
}

/* Makes a blob with a copy of n_bytes bytes, which the caller releases. env NULL = the host's, and its
 * allocator must live as long as the blob. bytes may be NULL: then they are zero.
 * Returns DLOAD_OK, DLOAD_ENOMEM, DLOAD_ETOOBIG. */
DLOAD_I_LOCAL dload_status dload_blob_make(const dload_env *env, const void *bytes, size_t n_bytes,
                                           dload_blob *out)
{
    if (env == NULL)
        env = dload_env_default();
    if (n_bytes > SIZE_MAX - sizeof(dload_i_blob_head))
        return DLOAD_ETOOBIG;
    char *block = (char *)dload_i_alloc(env, sizeof(dload_i_blob_head) + n_bytes);
    if (block == NULL)
        return DLOAD_ENOMEM;
    dload_i_blob_head *head = (dload_i_blob_head *)(void *)block;
    head->free = env->free;
    head->ctx = env->ctx;
    head->len = n_bytes;
    head->refs = 1;
    head->pad = 0;
    if (bytes == NULL)
        memset(block + sizeof *head, 0, n_bytes);
    else if (n_bytes != 0)
        memcpy(block + sizeof *head, bytes, n_bytes);
    out->ptr = (const uint8_t *)block + sizeof *head;
    out->len = n_bytes;
    return DLOAD_OK;
}

/* One more owner of the same bytes. Any thread; no allocation. */
DLOAD_I_LOCAL dload_blob dload_blob_retain(dload_blob blob)
{
    if (blob.ptr != NULL)
        (void)DLOAD_I_ADD(&dload_i_blob_head_of(blob)->refs, 1u);
    return blob;
}

/* One owner less; the last one frees the bytes. Clears *blob. Any thread. */
DLOAD_I_LOCAL void dload_blob_release(dload_blob *blob)
{
    if (blob->ptr != NULL) {
        dload_i_blob_head *head = dload_i_blob_head_of(*blob);
        if (DLOAD_I_SUB(&head->refs, 1u) == 0)
            head->free(head->ctx, head, sizeof *head + head->len);
    }
    blob->ptr = NULL;
    blob->len = 0;
}

#endif /* DLOAD_I_BLOB_H */

/* ==== runtime/hash.h ==== */

/* >>hash -- from key bytes to 64 bits.
 *
 * How the bits are used: 32..63 choose the home group (and, low ones first, the overflow class),
 * 0..7 are the tag, 11..18 choose the shard. A mixer must therefore spread every input bit over both
 * halves. The integer mixer is a bijection: no two integers share a hash. Strings, 16-byte identifiers and
 * everything under DLOAD_HASH_SIP do by chance, once in 2^64 pairs; entries are told apart by their keys
 * all the same. What remembers keys that have left (ghost.h, past.h) keeps less of a hash, and says how much.
 */
#ifndef DLOAD_I_HASH_H
#define DLOAD_I_HASH_H

#if DLOAD_XXHASH
#ifndef XXH_INLINE_ALL
#define XXH_INLINE_ALL
#endif
#include <xxhash.h>
#endif

/* For integer keys: fold, multiply, fold, multiply, each of which can be undone. It stands before everything
 * else that a hit does. The first fold brings the high bits down, where a multiplication spreads them; the
 * second breaks the regularity that one multiplication keeps, by which one stride in some fifty fills few
 * groups. The amounts of the folds come from measuring strides, grids, pointers, floats and reversed
 * counters: test_hash_patterns.c has them, and holds each to what random numbers give. Folds by 32 alone
 * would lose pairs of equal halves, x << 32 | x. Keys that somebody chooses to do harm need
 * DLOAD_HASH_SIP. */
DLOAD_I_INLINE uint64_t dload_i_mix_int(uint64_t x)
{
    x ^= x >> 31;
    x *= UINT64_C(0xd6e8feb86659fd93);
    x ^= x >> 33;
    x *= UINT64_C(0xd6e8feb86659fd93);
    return x;
}

/* Where every input bit has to reach every output bit: two multiplications, with folds between them
 * and a fold after them, for the low bits (the structure of MurmurHash3's finaliser). Also a bijection. */
DLOAD_I_INLINE uint64_t dload_i_mix64(uint64_t x)
{
    x ^= x >> 29;
    x *= UINT64_C(0xd6e8feb86659fd93);
    x ^= x >> 32;
    x *= UINT64_C(0x9e3779b97f4a7c15);
    x ^= x >> 29;
    return x;
}

/* The same for 32 bits, where that is what the machine multiplies: DLOAD_COMPACT's. Who takes its lower bits
 * folds it once more. */
DLOAD_I_INLINE uint32_t dload_i_mix32(uint32_t x)
{
    x ^= x >> 16;
    x *= 0x9e3779b1u;
    x ^= x >> 15;
    x *= 0x85a2e6d3u;
    return x;
}

/* What a group adds to the hashes of its keys; group 0 adds nothing. */
DLOAD_I_INLINE uint64_t dload_i_group_hash(uint64_t group)
{
    return dload_i_mix64(group);
}

/* By what a group itself is known: the clear of all of it, and its open batch. */
DLOAD_I_INLINE uint64_t dload_i_group_mark(uint64_t group)
{
#if DLOAD_FREESTANDING
    uint32_t h = dload_i_mix32(dload_i_mix32((uint32_t)~group) + (uint32_t)(group >> 32));
    return (uint64_t)h << 32 | (uint32_t)~h; /* h twice would be made a multiplication */
#else
    return dload_i_mix64(~group);
#endif
}

DLOAD_I_INLINE uint64_t dload_i_read64(const unsigned char *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

/* The same on every machine. */
DLOAD_I_INLINE uint64_t dload_i_read64_le(const unsigned char *p)
{
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    uint64_t v = 0;
    for (unsigned i = 8; i-- > 0;)
        v = (v << 8) | p[i];
    return v;
#else
    return dload_i_read64(p);
#endif
}

DLOAD_I_INLINE uint64_t dload_i_turn(uint64_t x, int bits)
{
    return (x << bits) | (x >> (64 - bits));
}

#if !DLOAD_XXHASH
/* One word into the state: scrambled by itself, then into the state by a turn and a multiplication, so
 * that no difference in one word is undone by one in the next (the shape of XXH64's tail). */
DLOAD_I_INLINE uint64_t dload_i_hash_word(uint64_t h, uint64_t word)
{
    word *= UINT64_C(0x9e3779b97f4a7c15);
    h ^= dload_i_turn(word, 31) * UINT64_C(0xd6e8feb86659fd93);
    return dload_i_turn(h, 27) * UINT64_C(0xd6e8feb86659fd93) + UINT64_C(0x2545f4914f6cdd1d);
}

/* Our own for byte strings where xxhash.h is not at hand: eight bytes a step, the tail zero-padded and
 * told apart by the length. */
DLOAD_I_LOCAL uint64_t dload_i_hash_bytes(const void *bytes, size_t n_bytes)
{
    const unsigned char *p = (const unsigned char *)bytes;
    uint64_t h = dload_i_mix64((uint64_t)n_bytes + 1);
    size_t left = n_bytes;
    for (; left >= 8; left -= 8, p += 8)
        h = dload_i_hash_word(h, dload_i_read64(p));
    if (left != 0) {
        unsigned char tail[8] = {0, 0, 0, 0, 0, 0, 0, 0};
        memcpy(tail, p, left);
        h = dload_i_hash_word(h, dload_i_read64(tail));
    }
    return dload_i_mix64(h);
}
#else
DLOAD_I_LOCAL uint64_t dload_i_hash_bytes(const void *bytes, size_t n_bytes)
{
    return XXH3_64bits(bytes, n_bytes);
}
#endif

#endif /* DLOAD_I_HASH_H */

/* ==== runtime/lock.h ==== */

/* >>lock -- mutual exclusion and waiting: none, spin, and the face that pthread.h's part fills.
 *
 * Two uses. Shard locks are on the path of a hit: their type and calls are chosen at compile time,
 * through the DLOAD_I_LOCK_* macros of the instance. The loader's mutex is taken on misses only: the
 * type-free core reaches it through dload_i_sync, so that the core exists once for all strategies.
 */
#ifndef DLOAD_I_LOCK_H
#define DLOAD_I_LOCK_H

struct dload_i_waiter;

/* Where a blocking call waits: one per call, on its stack; the completer of its last key wakes it. */
typedef struct dload_i_parker {
    uint32_t pending; /* keys not answered; under the mutex */
    uint32_t n_notes; /* wake-ups sent; read without a lock while waiting */
    void *os;         /* the condition variable, where there is one */
    struct dload_i_parker *next_owed;
    bool promised; /* a wake-up comes without the mutex: the call may not return before; under it */
    bool owed;     /* ... and has not come; under the bed's own mutex */
    struct dload_i_waiter *first, *last; /* the call's requests, in the order of its keys */
    dload_status *statuses;              /* of a call for many keys: where they go, or NULL */
    /* The end of a sleeper that is cancelled: gives its requests up; mutex held. NULL = nothing to do. */
    void (*give_up)(struct dload_i_parker *p);
    void *core;        /* for give_up */
    bool pooled;       /* the requests come from the core's pool */
    int cancel_before; /* the caller's cancellation state, in force while it sleeps */
    bool asleep;       /* in park: a wake-up is heard; under the mutex */
    bool inside;       /* called by a fetch function: needs no place of its own among the running */
    bool in_crew;      /* the thread joined the loader's registry; see crew.h */
    bool counted;      /* ... and counts as parked there; under the mutex */
    bool waits;        /* counts in the core's n_callers */
    bool in_line;      /* waits for room in the queue; see batch.h */
    bool has_turn;     /* ... and comes from there */
    struct dload_i_parker *next_in_line;
} dload_i_parker;

/* What the core does with a mutex. hold and unhold keep the thread from being cancelled; NULL where threads
 * are not. */
typedef struct dload_i_sync {
    int (*hold)(void);
    void (*unhold)(int before);
    void (*lock)(void *mutex);
    void (*unlock)(void *mutex);
    /* Waits until woken or until_ns of env's clock, mutex held before and after; may return early. */
    dload_status (*park)(void *mutex, dload_i_parker *p, const dload_env *env, uint64_t until_ns);
    void (*unpark)(dload_i_parker *p, const dload_env *env); /* mutex held */
    /* Wakes without the mutex whoever is owed that; NULL = unpark does. And waits for that, mutex held. */
    void (*pay)(dload_i_parker *p);
    void (*collect)(dload_i_parker *p);
} dload_i_sync;

/* ---- none ---- */

typedef struct dload_i_no_lock {
    char unused;
} dload_i_no_lock;

DLOAD_I_LOCAL void dload_i_none_lock(void *mutex)
{
    (void)mutex;
}

/* Waiting through the user's hook, with the mutex released around it. */
DLOAD_I_LOCAL dload_status dload_i_env_park(const dload_i_sync *sync, void *mutex,
                                            dload_i_parker *p, const dload_env *env,
                                            uint64_t until_ns)
{
    uint32_t seen = p->n_notes;
    sync->unlock(mutex);
    dload_status st = env->wait(env->ctx, &p->n_notes, seen, until_ns);
    sync->lock(mutex);
    return st;
}

DLOAD_I_LOCAL dload_status dload_i_none_park(void *mutex, dload_i_parker *p, const dload_env *env,
                                             uint64_t until_ns)
{
    static const dload_i_sync none = {NULL, NULL, dload_i_none_lock, dload_i_none_lock, NULL, NULL,
                                      NULL, NULL};
    if (env->wait == NULL)
        return DLOAD_EAGAIN;
    return dload_i_env_park(&none, mutex, p, env, until_ns);
}

DLOAD_I_LOCAL void dload_i_env_unpark(dload_i_parker *p, const dload_env *env)
{
    DLOAD_I_STORE_RELEASE(&p->n_notes, p->n_notes + 1);
    if (env->wake != NULL)
        env->wake(env->ctx, &p->n_notes);
}

DLOAD_I_LOCAL const dload_i_sync *dload_i_sync_none(void)
{
    static const dload_i_sync sync = {
        NULL, NULL, dload_i_none_lock, dload_i_none_lock, dload_i_none_park, dload_i_env_unpark,
        NULL, NULL};
    return &sync;
}

/* ---- spin ---- */

typedef struct dload_i_spin {
    uint32_t taken; /* atomic; 0 or 1 */
} dload_i_spin;

#define DLOAD_I_SPINS 64u /* looks before the processor is given away */

#if !DLOAD_FREESTANDING
#include <sched.h>
#endif

/* A holder may have lost its processor: after some rounds, let it run. Whoever yields often is put behind
 * everybody else by some schedulers, for a second at worst: soon it naps instead. */
DLOAD_I_LOCAL void dload_i_spin_yield(unsigned round)
{
#if !DLOAD_FREESTANDING
    if (round >= DLOAD_I_SPINS) {
        if (round < DLOAD_I_SPINS + 2)
            (void)sched_yield();
        else
            dload_i_nap(50 * DLOAD_MICROSECOND);
        return;
    }
#else
    (void)round;
#endif
    dload_i_pause();
}

DLOAD_I_NOINLINE void dload_i_spin_slow(dload_i_spin *lock)
{
    for (unsigned round = 0;; round++) {
        /* Look before trying, so that waiting threads share the line instead of fighting for it. */
        if (DLOAD_I_LOAD_RELAXED(&lock->taken) == 0 && !DLOAD_I_TAKE(&lock->taken))
            return;
        dload_i_spin_yield(round);
    }
}

DLOAD_I_INLINE void dload_i_spin_lock(dload_i_spin *lock)
{
    if (DLOAD_I_UNLIKELY(DLOAD_I_TAKE(&lock->taken)))
        dload_i_spin_slow(lock);
}

DLOAD_I_INLINE void dload_i_spin_unlock(dload_i_spin *lock)
{
    DLOAD_I_STORE_RELEASE(&lock->taken, 0u);
}

DLOAD_I_LOCAL void dload_i_spin_lock_fn(void *mutex)
{
    dload_i_spin_lock((dload_i_spin *)mutex);
}

DLOAD_I_LOCAL void dload_i_spin_unlock_fn(void *mutex)
{
    dload_i_spin_unlock((dload_i_spin *)mutex);
}

/* Without a hook to wait with: looks again and again for as long as a quick fetch takes, then yields, then
 * naps, so that a slow fetch does not cost a processor for every caller that waits. */
DLOAD_I_LOCAL dload_status dload_i_spin_park(void *mutex, dload_i_parker *p, const dload_env *env,
                                             uint64_t until_ns)
{
    static const dload_i_sync spin = {
        NULL, NULL, dload_i_spin_lock_fn, dload_i_spin_unlock_fn, NULL, NULL, NULL, NULL};
    if (env->wait != NULL)
        return dload_i_env_park(&spin, mutex, p, env, until_ns);
    (void)until_ns;
    uint32_t seen = p->n_notes;
    dload_i_spin_unlock_fn(mutex);
    for (unsigned round = 0;
         round <= DLOAD_I_SPINS + 2 && DLOAD_I_LOAD_ACQUIRE(&p->n_notes) == seen; round++)
        dload_i_spin_yield(round);
    dload_i_spin_lock_fn(mutex);
    return DLOAD_OK;
}

DLOAD_I_LOCAL const dload_i_sync *dload_i_sync_spin(void)
{
    static const dload_i_sync sync = {NULL,
                                      NULL,
                                      dload_i_spin_lock_fn,
                                      dload_i_spin_unlock_fn,
                                      dload_i_spin_park,
                                      dload_i_env_unpark,
                                      NULL,
                                      NULL};
    return &sync;
}

#endif /* DLOAD_I_LOCK_H */

/* ==== runtime/busy.h ==== */

/* >>busy -- no lock, but interrupt handlers that read: DLOAD_COMPACT under DLOAD_LOCK_NONE.
 *
 * Whoever changes something says so while it lasts. An interrupt handler on the same core that comes in
 * between sees it, and leaves with DLOAD_EAGAIN; one that sees nothing runs to its end before anything
 * changes. So a byte is enough, and nobody waits. Only the compiler could spoil the order.
 */
#ifndef DLOAD_I_BUSY_H
#define DLOAD_I_BUSY_H

typedef struct dload_i_busy {
    volatile uint8_t is;
} dload_i_busy;

DLOAD_I_INLINE void dload_i_busy_begin(dload_i_busy *busy)
{
    busy->is = 1;
    DLOAD_I_COMPILER_FENCE();
}

DLOAD_I_INLINE void dload_i_busy_end(dload_i_busy *busy)
{
    DLOAD_I_COMPILER_FENCE();
    busy->is = 0;
}

/* Is nobody changing anything? Then the caller may read. */
DLOAD_I_INLINE bool dload_i_busy_not(const dload_i_busy *busy)
{
    bool quiet = busy->is == 0;
    DLOAD_I_COMPILER_FENCE();
    return quiet;
}

DLOAD_I_LOCAL void dload_i_busy_lock(void *mutex)
{
    dload_i_busy_begin((dload_i_busy *)mutex);
}

DLOAD_I_LOCAL void dload_i_busy_unlock(void *mutex)
{
    dload_i_busy_end((dload_i_busy *)mutex);
}

DLOAD_I_LOCAL dload_status dload_i_busy_park(void *mutex, dload_i_parker *p, const dload_env *env,
                                             uint64_t until_ns)
{
    static const dload_i_sync busy = {
        NULL, NULL, dload_i_busy_lock, dload_i_busy_unlock, NULL, NULL, NULL, NULL};
    if (env->wait == NULL)
        return DLOAD_EAGAIN;
    return dload_i_env_park(&busy, mutex, p, env, until_ns);
}

DLOAD_I_LOCAL const dload_i_sync *dload_i_sync_busy(void)
{
    static const dload_i_sync sync = {
        NULL, NULL, dload_i_busy_lock, dload_i_busy_unlock, dload_i_busy_park, dload_i_env_unpark,
        NULL, NULL};
    return &sync;
}

#endif /* DLOAD_I_BUSY_H */

/* ==== runtime/words.h ==== */

/* >>words -- memory that one thread writes while others read it: copied in words, each of them atomically.
 *
 * The writer brackets its stores with a sequence number (group.h); a reader that finds the same even
 * number before and after has seen one state. Loads acquire and stores release, which costs nothing on
 * x86 and lets every tool see what is ordered by what (fences would be as correct, but thread
 * sanitizers do not follow them). Model: H.-J. Boehm, "Can Seqlocks Get Along With Programming Language
 * Memory Models?", MSPC 2012.
 */
#ifndef DLOAD_I_WORDS_H
#define DLOAD_I_WORDS_H

#if DLOAD_I_WIDE_ATOMICS

typedef uint64_t __attribute__((__may_alias__)) dload_i_word8;
typedef uint32_t __attribute__((__may_alias__)) dload_i_word4;
typedef uint16_t __attribute__((__may_alias__)) dload_i_word2;

/* Words of how many bytes an object is copied in, and how many there are. Objects of eight bytes and more
 * are aligned for the widest. */
#define DLOAD_I_UNIT(n_bytes, align)   ((n_bytes) >= 8 || (align) >= 8 ? (size_t)8 : (size_t)(align))
#define DLOAD_I_N_WORDS(n_bytes, unit) (((n_bytes) + (unit)-1) / (unit))
#define DLOAD_I_WORDS_MAX(n_bytes)     ((n_bytes) >= 8 ? ((n_bytes) + 7) / 8 : (size_t)8)

DLOAD_I_INLINE uint64_t dload_i_load_word(const void *p, size_t unit)
{
    switch (unit) {
    case 8:
        return DLOAD_I_LOAD_ACQUIRE((const dload_i_word8 *)p);
    case 4:
        return DLOAD_I_LOAD_ACQUIRE((const dload_i_word4 *)p);
    case 2:
        return DLOAD_I_LOAD_ACQUIRE((const dload_i_word2 *)p);
    default:
        return DLOAD_I_LOAD_ACQUIRE((const uint8_t *)p);
    }
}

DLOAD_I_INLINE void dload_i_store_word(void *p, uint64_t word, size_t unit)
{
    switch (unit) {
    case 8:
        DLOAD_I_STORE_RELEASE((dload_i_word8 *)p, word);
        break;
    case 4:
        DLOAD_I_STORE_RELEASE((dload_i_word4 *)p, (uint32_t)word);
        break;
    case 2:
        DLOAD_I_STORE_RELEASE((dload_i_word2 *)p, (uint16_t)word);
        break;
    default:
        DLOAD_I_STORE_RELEASE((uint8_t *)p, (uint8_t)word);
        break;
    }
}

/* A word of private memory; the last one of eight bytes may be short, and is filled up with zeros. */
DLOAD_I_INLINE uint64_t dload_i_peek_word(const void *p, size_t n_bytes, size_t unit)
{
    uint64_t word8 = 0;
    uint32_t word4 = 0;
    uint16_t word2 = 0;
    switch (unit) {
    case 8:
        memcpy(&word8, p, n_bytes < 8 ? n_bytes : 8);
        return word8;
    case 4:
        memcpy(&word4, p, 4);
        return word4;
    case 2:
        memcpy(&word2, p, 2);
        return word2;
    default:
        return *(const uint8_t *)p;
    }
}

/* Shared to private registers; then, once they are known to belong together, to the caller's memory. */
DLOAD_I_INLINE void dload_i_words_load(uint64_t *words, const void *from, size_t n_bytes,
                                       size_t unit)
{
#if defined(__clang__)
#pragma clang loop unroll_count(8)
#elif defined(__GNUC__)
#pragma GCC unroll 8
#endif
    for (size_t i = 0; i < DLOAD_I_N_WORDS(n_bytes, unit); i++)
        words[i] = dload_i_load_word((const char *)from + i * unit, unit);
}

DLOAD_I_INLINE void dload_i_words_give(void *to, const uint64_t *words, size_t n_bytes, size_t unit)
{
    char *out = (char *)to;
#if defined(__clang__)
#pragma clang loop unroll_count(8)
#elif defined(__GNUC__)
#pragma GCC unroll 8
#endif
    for (size_t i = 0; i < n_bytes / unit; i++) {
        uint32_t word4 = (uint32_t)words[i];
        uint16_t word2 = (uint16_t)words[i];
        uint8_t word1 = (uint8_t)words[i];
        memcpy(out + i * unit,
               unit == 8   ? (const void *)&words[i]
               : unit == 4 ? (const void *)&word4
               : unit == 2 ? (const void *)&word2
                           : (const void *)&word1,
               unit);
    }
    if (n_bytes % unit != 0)
        memcpy(out + n_bytes / unit * unit, &words[n_bytes / unit], n_bytes % unit);
}

/* Private memory to shared. */
DLOAD_I_INLINE void dload_i_words_store(void *to, const void *from, size_t n_bytes, size_t unit)
{
    for (size_t i = 0; i < DLOAD_I_N_WORDS(n_bytes, unit); i++) {
        dload_i_store_word(
            (char *)to + i * unit,
            dload_i_peek_word((const char *)from + i * unit, n_bytes - i * unit, unit), unit);
    }
}

/* Are n bytes of shared memory, aligned and padded to words of eight, the same as these? */
DLOAD_I_INLINE bool dload_i_words_same(const void *shared, const void *p, size_t n_bytes)
{
    const char *a = (const char *)shared;
    const char *b = (const char *)p;
    for (; n_bytes >= 8; n_bytes -= 8, a += 8, b += 8) {
        if (dload_i_load_word(a, 8) != dload_i_peek_word(b, 8, 8))
            return false;
    }
    if (n_bytes == 0)
        return true;
    uint64_t last = 0;
    memcpy(&last, b, n_bytes);
    return dload_i_load_word(a, 8) == last; /* the padding is zero */
}

#endif /* DLOAD_I_WIDE_ATOMICS */

#endif /* DLOAD_I_WORDS_H */

/* ==== runtime/arena.h ==== */

/* >>arena -- memory for the bytes of string keys.
 *
 * Pieces come in fixed sizes, are taken from chunks and return to a list of their size; chunks are
 * kept until destroy. So a cache that replaces its content for ever allocates nothing once warm, and a
 * reader that is about to find its slot changed never touches memory that was given away.
 */
#ifndef DLOAD_I_ARENA_H
#define DLOAD_I_ARENA_H

#define DLOAD_I_ARENA_CLASSES 40u   /* 8, 16, 24, 32, then two sizes an octave: up to 8 MiB */
#define DLOAD_I_ARENA_CHUNK   4096u /* bytes of a chunk for small pieces, its header included */
#define DLOAD_I_ARENA_MAX     (UINT32_C(1) << 22)

/* A stored key: its bytes, and what of its hash is needed to find its home again. */
typedef struct dload_i_skey {
    const char *ptr; /* NULL when len is 0 */
    uint32_t len;
    uint32_t hash_hi;
} dload_i_skey;

typedef struct dload_i_chunk {
    struct dload_i_chunk *next;
    size_t n_bytes;
} dload_i_chunk;

typedef struct dload_i_arena {
    const dload_env *env;
    void *free_
        [DLOAD_I_ARENA_CLASSES]; /* pieces given back; each begins with the next one's address */
    dload_i_chunk *chunks;
    char *at; /* unused rest of the newest small chunk */
    size_t left_bytes;
    size_t n_bytes; /* all chunks together */
} dload_i_arena;

/* The class of a piece of n bytes, and that class's size; n is 1 .. DLOAD_I_ARENA_MAX. */
DLOAD_I_LOCAL uint32_t dload_i_arena_class(size_t n, size_t *size)
{
    if (n <= 32) {
        uint32_t class_ = (uint32_t)((n + 7) / 8) - 1;
        *size = (size_t)(class_ + 1) * 8;
        return class_;
    }
    uint32_t class_ = 4;
    size_t octave = 32;
    for (;; octave *= 2, class_ += 2) {
        if (n <= octave + octave / 2) {
            *size = octave + octave / 2;
            return class_;
        }
        if (n <= octave * 2) {
            *size = octave * 2;
            return class_ + 1;
        }
    }
}

DLOAD_I_LOCAL void dload_i_arena_init(dload_i_arena *a, const dload_env *env)
{
    memset(a, 0, sizeof *a);
    a->env = env;
}

DLOAD_I_LOCAL void dload_i_arena_destroy(dload_i_arena *a)
{
    while (a->chunks != NULL) {
        dload_i_chunk *chunk = a->chunks;
        a->chunks = chunk->next;
        dload_i_free(a->env, chunk, chunk->n_bytes);
    }
}

/* n bytes, 8-byte aligned, or NULL. */
DLOAD_I_NOINLINE char *dload_i_arena_take(dload_i_arena *a, size_t n)
{
    size_t size = 0;
    uint32_t class_ = dload_i_arena_class(n, &size);
    if (a->free_[class_] != NULL) {
        char *piece = (char *)a->free_[class_];
        memcpy(&a->free_[class_], piece, sizeof(void *));
        return piece;
    }
    if (size > a->left_bytes) {
        /* A large piece gets a chunk of its own, and the rest of the small one stays in use. */
        bool large = size > DLOAD_I_ARENA_CHUNK / 4;
        size_t n_bytes = large ? size + sizeof(dload_i_chunk) : (size_t)DLOAD_I_ARENA_CHUNK;
        dload_i_chunk *chunk = (dload_i_chunk *)dload_i_alloc(a->env, n_bytes);
        if (chunk == NULL)
            return NULL;
        chunk->next = a->chunks;
        chunk->n_bytes = n_bytes;
        a->chunks = chunk;
        a->n_bytes += n_bytes;
        char *first = (char *)chunk + sizeof *chunk;
        if (large)
            return first;
        a->at = first;
        a->left_bytes = n_bytes - sizeof *chunk;
    }
    char *piece = a->at;
    a->at += size;
    a->left_bytes -= size;
    return piece;
}

/* Pieces are whole words: a reader without the lock may be looking at this one, and finds out later that
 * it was not the key's any more. */
DLOAD_I_LOCAL void dload_i_arena_write(char *piece, const void *from, size_t n)
{
#if DLOAD_I_WIDE_ATOMICS
    dload_i_words_store(piece, from, n, 8);
#else
    memcpy(piece, from, n);
#endif
}

DLOAD_I_LOCAL void dload_i_arena_give(dload_i_arena *a, const char *piece, size_t n)
{
    size_t size = 0;
    uint32_t class_ = dload_i_arena_class(n, &size);
    char *p = (char *)(uintptr_t)piece;
    dload_i_arena_write(p, &a->free_[class_], sizeof(void *));
    a->free_[class_] = p;
}

/* Stores a copy of a key's bytes. False when there is no memory. */
DLOAD_I_LOCAL bool dload_i_arena_put(dload_i_arena *a, const char *ptr, size_t len,
                                     const char **out)
{
    *out = NULL;
    if (len == 0)
        return true;
    char *piece = dload_i_arena_take(a, len);
    if (piece == NULL)
        return false;
    dload_i_arena_write(piece, ptr, len);
    *out = piece;
    return true;
}

DLOAD_I_LOCAL void dload_i_arena_drop(dload_i_arena *a, const char *ptr, size_t len)
{
    if (len != 0)
        dload_i_arena_give(a, ptr, len);
}

#endif /* DLOAD_I_ARENA_H */

/* ==== runtime/group.h ==== */

/* >>group -- thirty-two one-byte tags, and the counters that say when a search may stop: one cache line.
 *
 * A table is an array of groups and, by the same number, an array of slots. A key's home group
 * follows from its hash; when that is full, the next ones are tried. Each group counts, in sixteen
 * classes by hash, the keys that wanted to live in it or passed over it and live further on: a search
 * that finds its class at zero is over. The counters go down on removal, so that a table that has
 * replaced its content many times over searches as short as a fresh one. Nothing ever moves.
 * Thirty-two rather than sixteen, because a larger group overflows less: at 80 % load and after any
 * amount of replacing, 7 % of the keys live outside their home instead of 19 %.
 */
#ifndef DLOAD_I_GROUP_H
#define DLOAD_I_GROUP_H

#if defined(__SSE2__) && !DLOAD_NO_SIMD
#include <emmintrin.h>
#define DLOAD_I_SSE2 1
#else
#define DLOAD_I_SSE2 0
#endif
#if defined(__ARM_NEON) && defined(__aarch64__) && !DLOAD_NO_SIMD
#include <arm_neon.h>
#define DLOAD_I_NEON 1
#else
#define DLOAD_I_NEON 0
#endif

#define DLOAD_I_GROUP_SLOTS 32u
#define DLOAD_I_OVER_MAX    255u
#define DLOAD_I_NO_SLOT     UINT32_MAX
#define DLOAD_I_LONG_PROBE  32u /* groups from home; an entry that has to go so far is counted */

typedef struct dload_i_group {
    uint8_t tags[32];  /* 0 = free */
    uint8_t over[16];  /* keys that passed over, by class; stays at 255 once there */
    size_t seq;        /* for readers without a lock: odd while an entry of the group changes */
    uint32_t stale[2]; /* by queue, a bit a slot: see fifo.h */
} dload_i_group;

/* Which of the 32 tags match, a bit each. */
typedef uint32_t dload_i_match;

DLOAD_I_INLINE uint8_t dload_i_tag(uint64_t hash)
{
    uint8_t tag = (uint8_t)hash;
    return (uint8_t)(tag + (tag == 0));
}

DLOAD_I_INLINE uint32_t dload_i_class(uint64_t hash)
{
    return (uint32_t)(hash >> 32) & 15u;
}

/* The high half times the number of groups: any number will do, not only powers of two. */
DLOAD_I_INLINE uint32_t dload_i_home(uint64_t hash, uint32_t n_groups)
{
    return (uint32_t)(((hash >> 32) * n_groups) >> 32);
}

DLOAD_I_INLINE uint32_t dload_i_next_group(uint32_t group, uint32_t n_groups)
{
    return group + 1 == n_groups ? 0 : group + 1;
}

#if DLOAD_I_SSE2

DLOAD_I_INLINE dload_i_match dload_i_match_tags(__m128i lo, __m128i hi, uint8_t tag)
{
    /* one multiplication and one shuffle, where _mm_set1_epi8 takes three shuffles before SSSE3 */
    __m128i all = _mm_shuffle_epi32(_mm_cvtsi32_si128((int)(tag * UINT32_C(0x01010101))), 0);
    return (uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(lo, all)) |
           (uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(hi, all)) << 16;
}

DLOAD_I_INLINE dload_i_match dload_i_find_tag(const dload_i_group *g, uint8_t tag)
{
    return dload_i_match_tags(_mm_load_si128((const __m128i *)(const void *)g->tags),
                              _mm_load_si128((const __m128i *)(const void *)(g->tags + 16)), tag);
}

/* The same while another thread may write a tag: eight at a time, each time atomically. What is read after
 * them is no older than they are (mutant TAG_READ_LATE). */
DLOAD_I_INLINE dload_i_match dload_i_find_tag_shared(const dload_i_group *g, uint8_t tag)
{
    const uint64_t *words = (const uint64_t *)(const void *)g->tags;
    __m128i lo = _mm_set_epi64x((long long)DLOAD_I_LOAD_ACQUIRE(&words[1]),
                                (long long)DLOAD_I_LOAD_ACQUIRE(&words[0]));
    __m128i hi = _mm_set_epi64x((long long)DLOAD_I_LOAD_ACQUIRE(&words[3]),
                                (long long)DLOAD_I_LOAD_ACQUIRE(&words[2]));
    return dload_i_match_tags(lo, hi, tag);
}

#elif DLOAD_I_NEON

DLOAD_I_INLINE dload_i_match dload_i_match_tags(uint8x16_t lo, uint8x16_t hi, uint8_t tag)
{
    static const uint8_t weights[16] = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
    uint8x16_t weight = vld1q_u8(weights);
    uint8x16_t all = vdupq_n_u8(tag);
    lo = vandq_u8(vceqq_u8(lo, all), weight);
    hi = vandq_u8(vceqq_u8(hi, all), weight);
    /* three pairwise sums bring eight weighted bytes into one, four times over */
    uint8x16_t sum = vpaddq_u8(lo, hi);
    sum = vpaddq_u8(sum, sum);
    sum = vpaddq_u8(sum, sum);
    return vgetq_lane_u32(vreinterpretq_u32_u8(sum), 0);
}

DLOAD_I_INLINE dload_i_match dload_i_find_tag(const dload_i_group *g, uint8_t tag)
{
    return dload_i_match_tags(vld1q_u8(g->tags), vld1q_u8(g->tags + 16), tag);
}

/* The same while another thread may write a tag: eight at a time, each time atomically. */
DLOAD_I_INLINE dload_i_match dload_i_find_tag_shared(const dload_i_group *g, uint8_t tag)
{
    const uint64_t *words = (const uint64_t *)(const void *)g->tags;
    uint64x2_t lo = vcombine_u64(vcreate_u64(DLOAD_I_LOAD_ACQUIRE(&words[0])),
                                 vcreate_u64(DLOAD_I_LOAD_ACQUIRE(&words[1])));
    uint64x2_t hi = vcombine_u64(vcreate_u64(DLOAD_I_LOAD_ACQUIRE(&words[2])),
                                 vcreate_u64(DLOAD_I_LOAD_ACQUIRE(&words[3])));
    return dload_i_match_tags(vreinterpretq_u8_u64(lo), vreinterpretq_u8_u64(hi), tag);
}

#else

/* Eight tags at once: bytes of x that are zero become 0x80, exactly (the shorter trick borrows), and
 * one multiplication gathers those bits in the top byte. */
DLOAD_I_INLINE uint32_t dload_i_zero_bytes(uint64_t x)
{
    const uint64_t low7 = UINT64_C(0x7f7f7f7f7f7f7f7f);
    uint64_t zero = ~(((x & low7) + low7) | x | low7);
    return (uint32_t)(((zero >> 7) * UINT64_C(0x0102040810204080)) >> 56);
}

DLOAD_I_INLINE uint64_t dload_i_tag_word(const uint8_t *p)
{
    uint64_t v = 0;
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    for (unsigned i = 8; i-- > 0;)
        v = (v << 8) | p[i];
#else
    memcpy(&v, p, sizeof v);
#endif
    return v;
}

DLOAD_I_INLINE dload_i_match dload_i_match_tags(uint64_t w0, uint64_t w1, uint64_t w2, uint64_t w3,
                                                uint8_t tag)
{
    const uint64_t all = UINT64_C(0x0101010101010101) * tag;
    return dload_i_zero_bytes(w0 ^ all) | dload_i_zero_bytes(w1 ^ all) << 8 |
           dload_i_zero_bytes(w2 ^ all) << 16 | dload_i_zero_bytes(w3 ^ all) << 24;
}

DLOAD_I_INLINE dload_i_match dload_i_find_tag(const dload_i_group *g, uint8_t tag)
{
    return dload_i_match_tags(dload_i_tag_word(g->tags), dload_i_tag_word(g->tags + 8),
                              dload_i_tag_word(g->tags + 16), dload_i_tag_word(g->tags + 24), tag);
}

#if DLOAD_I_WIDE_ATOMICS
DLOAD_I_INLINE uint64_t dload_i_tag_word_shared(const dload_i_group *g, unsigned i)
{
    uint64_t word = DLOAD_I_LOAD_ACQUIRE(&((const uint64_t *)(const void *)g->tags)[i]);
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    word = __builtin_bswap64(word);
#endif
    return word;
}

/* The same while another thread may write a tag: eight at a time, each time atomically. */
DLOAD_I_INLINE dload_i_match dload_i_find_tag_shared(const dload_i_group *g, uint8_t tag)
{
    return dload_i_match_tags(dload_i_tag_word_shared(g, 0), dload_i_tag_word_shared(g, 1),
                              dload_i_tag_word_shared(g, 2), dload_i_tag_word_shared(g, 3), tag);
}
#endif

#endif

DLOAD_I_INLINE bool dload_i_match_any(dload_i_match m)
{
    return m != 0;
}

DLOAD_I_INLINE uint32_t dload_i_match_first(dload_i_match m)
{
    return dload_i_ctz32(m);
}

DLOAD_I_INLINE dload_i_match dload_i_match_rest(dload_i_match m)
{
    return m & (m - 1);
}

/* Around every change to an entry that readers without a lock must not see half of; the lock is held.
 * What changes in between is stored with release, one word at a time: see read.h. */
DLOAD_I_INLINE void dload_i_group_open(dload_i_group *g)
{
    DLOAD_I_STORE_RELAXED(&g->seq, g->seq + 1);
}

DLOAD_I_INLINE void dload_i_group_shut(dload_i_group *g)
{
    DLOAD_I_STORE_RELEASE(&g->seq, g->seq + 1);
}

/* Takes the first free slot of a group, which is left open: before the tag is there, since what the slot held
 * last would be found by it, and until the caller has written the entry (mutant TAG_BEFORE_OPEN). */
DLOAD_I_INLINE uint32_t dload_i_take_in(dload_i_group *g, dload_i_match free_, uint64_t hash)
{
    uint32_t i = dload_i_match_first(free_);
    dload_i_group_open(g);
    DLOAD_I_STORE_RELEASE(&g->tags[i], dload_i_tag(hash));
    return i;
}

/* Takes the count of a key that lives in group end out of the groups that it passed over from at on. A
 * counter that reached its maximum is no count any more and stays. */
DLOAD_I_NOINLINE void dload_i_give_far(dload_i_group *groups, uint32_t n_groups, uint32_t class_,
                                       uint32_t at, uint32_t end)
{
    for (; at != end; at = dload_i_next_group(at, n_groups)) {
        if (groups[at].over[class_] < DLOAD_I_OVER_MAX)
            DLOAD_I_STORE_RELAXED(&groups[at].over[class_], (uint8_t)(groups[at].over[class_] - 1));
    }
}

/* The same from the home on, however full it is. */
DLOAD_I_NOINLINE uint32_t dload_i_take_far(dload_i_group *groups, uint32_t n_groups, uint64_t hash,
                                           uint32_t reach, uint64_t *n_long)
{
    uint32_t at = dload_i_home(hash, n_groups);
    uint32_t class_ = dload_i_class(hash);
    uint32_t tried = 0;
    for (; tried < n_groups && tried < reach; tried++) {
        dload_i_group *g = &groups[at];
        dload_i_match free_ = dload_i_find_tag(g, 0);
        if (dload_i_match_any(free_)) {
            *n_long += tried >= DLOAD_I_LONG_PROBE;
            return at * DLOAD_I_GROUP_SLOTS + dload_i_take_in(g, free_, hash);
        }
        if (g->over[class_] < DLOAD_I_OVER_MAX)
            DLOAD_I_STORE_RELAXED(&g->over[class_], (uint8_t)(g->over[class_] + 1));
        at = dload_i_next_group(at, n_groups);
    }
    ++*n_long;
    dload_i_give_far(groups, n_groups, class_, dload_i_home(hash, n_groups), at);
    return DLOAD_I_NO_SLOT;
}

/* Takes a free slot for hash and counts it in every group passed over; there is one: tables are never
 * filled beyond 80 %. Its group is left open. */
DLOAD_I_INLINE uint32_t dload_i_take_slot(dload_i_group *groups, uint32_t n_groups, uint64_t hash,
                                          uint32_t reach, uint64_t *n_long)
{
    uint32_t at = dload_i_home(hash, n_groups);
    dload_i_match free_ = dload_i_find_tag(&groups[at], 0);
    if (DLOAD_I_LIKELY(dload_i_match_any(free_)))
        return at * DLOAD_I_GROUP_SLOTS + dload_i_take_in(&groups[at], free_, hash);
    return dload_i_take_far(groups, n_groups, hash, reach, n_long);
}

/* Gives the slot of a key with this hash back. */
DLOAD_I_INLINE void dload_i_give_slot(dload_i_group *groups, uint32_t n_groups, uint64_t hash,
                                      uint32_t slot)
{
    uint32_t home = dload_i_home(hash, n_groups);
    uint32_t end = slot / DLOAD_I_GROUP_SLOTS;
    DLOAD_I_STORE_RELEASE(&groups[end].tags[slot % DLOAD_I_GROUP_SLOTS], 0);
    if (DLOAD_I_UNLIKELY(home != end))
        dload_i_give_far(groups, n_groups, dload_i_class(hash), home, end);
}

/* The groups that a search for the key in slot passes over. */
DLOAD_I_INLINE uint32_t dload_i_groups_passed(uint32_t n_groups, uint64_t hash, uint32_t slot)
{
    uint32_t home = dload_i_home(hash, n_groups);
    uint32_t at = slot / DLOAD_I_GROUP_SLOTS;
    return at >= home ? at - home : at + n_groups - home;
}

/* A table in which nothing is ever found: what a cache that is off looks into. */
DLOAD_I_LOCAL dload_i_group *dload_i_no_groups(void)
{
    static dload_i_group none[1];
    return none;
}

/* How many groups a table for n entries needs to stay under 80 % load; one may be full. */
DLOAD_I_INLINE uint32_t dload_i_groups_for(uint32_t n)
{
    if (n <= DLOAD_I_GROUP_SLOTS)
        return 1;
    uint64_t slots = (uint64_t)n + n / 4 + 1;
    return (uint32_t)((slots + DLOAD_I_GROUP_SLOTS - 1) / DLOAD_I_GROUP_SLOTS);
}

/* ... and how many slots: in a single group the lowest free one is taken, so that n suffice. */
DLOAD_I_INLINE uint32_t dload_i_slots_for(uint32_t n)
{
    return n <= DLOAD_I_GROUP_SLOTS ? n : dload_i_groups_for(n) * DLOAD_I_GROUP_SLOTS;
}

#endif /* DLOAD_I_GROUP_H */

/* ==== runtime/ghost.h ==== */

/* >>ghost -- the keys that S3-FIFO evicted from its small queue not long ago.
 *
 * A queue with look-up, and the look-up is all there is. Each key gets the time of its eviction, a count,
 * and lives in a bucket of two cache lines: fifteen marks, 32 bits of hashes, and fifteen times, looked at side
 * by side. The queue is a window of times: a key older than its first is forgotten without being touched, and
 * whoever comes next takes its place. What a full bucket passed on, always its oldest key, it knows by time
 * as well: when the last of those is forgotten nobody looks further any more. So a key that is not in
 * the ghost, which is what most are, costs one line, and remembering another two.
 *
 * A key that is taken out leaves a hole in the window: a bit for each time says whether its key is still
 * there, so that exactly the oldest goes when one too many is. When holes have used up the spare
 * quarter of those bits, times are counted anew without them, which costs each entry a constant share.
 *
 * Keys are told apart by bucket and mark: one look in 2^28 takes one for another, which then comes into the
 * main queue too early, and nothing else.
 */
#ifndef DLOAD_I_GHOST_H
#define DLOAD_I_GHOST_H

#define DLOAD_I_BUCKET 15u /* keys of a bucket */

typedef struct dload_i_ghost_bucket {
    uint32_t marks[DLOAD_I_BUCKET];
    uint32_t passed;                    /* the latest time of a key that found no room here */
    uint32_t times[DLOAD_I_BUCKET + 1]; /* 0 = free; the last one is not used */
} dload_i_ghost_bucket;

typedef struct dload_i_ghost {
    dload_i_ghost_bucket *buckets;
    uint64_t *there;  /* a bit each time: its key has not been taken */
    uint32_t *before; /* scratch of _recount: how many bits before each word */
    uint32_t n_buckets;
    uint32_t n_bits;   /* the longest window */
    uint32_t limit;    /* keys remembered; 0 = none */
    uint32_t n_live;   /* keys there */
    uint32_t first;    /* the window: its oldest time, ... */
    uint32_t next;     /* ... and the one after its newest */
    uint32_t first_at; /* the bit of first */
} dload_i_ghost;

DLOAD_I_INLINE uint32_t dload_i_ghost_buckets(uint32_t limit)
{
    return limit == 0 ? 0 : limit / 21 * 2 + 3; /* full by 70 % */
}

/* 64-bit words of bits; as many 32-bit words of scratch. */
DLOAD_I_INLINE uint32_t dload_i_ghost_words(uint32_t limit)
{
    return limit == 0 ? 0 : limit / 64 + limit / 256 + 2;
}

/* How many pieces of memory a ghost takes, each a bucket's size. */
DLOAD_I_INLINE size_t dload_i_ghost_pieces(uint32_t limit)
{
    size_t n_words = dload_i_ghost_words(limit);
    return dload_i_ghost_buckets(limit) +
           (n_words * (sizeof(uint64_t) + sizeof(uint32_t)) + sizeof(dload_i_ghost_bucket) - 1) /
               sizeof(dload_i_ghost_bucket);
}

/* memory is zeroed, for as many pieces as above, and aligned to 64 bytes. */
DLOAD_I_LOCAL void dload_i_ghost_init(dload_i_ghost *g, uint32_t limit, void *memory)
{
    uint32_t n_words = dload_i_ghost_words(limit);
    memset(g, 0, sizeof *g);
    g->n_buckets = dload_i_ghost_buckets(limit);
    g->buckets = (dload_i_ghost_bucket *)memory;
    g->there = (uint64_t *)(void *)(g->buckets + g->n_buckets);
    g->before = (uint32_t *)(void *)(g->there + n_words);
    g->n_bits = n_words * 64;
    g->limit = limit;
    g->first = g->next = 1; /* so that 0 is a time long gone */
}

/* ---- one bucket ---- */

DLOAD_I_INLINE uint32_t dload_i_ghost_mark(uint64_t hash)
{
    return (uint32_t)(hash ^ hash >> 28);
}

DLOAD_I_INLINE dload_i_ghost_bucket *dload_i_ghost_home(const dload_i_ghost *g, uint64_t hash)
{
    return &g->buckets[dload_i_home(hash, g->n_buckets)];
}

DLOAD_I_INLINE dload_i_ghost_bucket *dload_i_ghost_further(const dload_i_ghost *g,
                                                           dload_i_ghost_bucket *b)
{
    return b + 1 == g->buckets + g->n_buckets ? g->buckets : b + 1;
}

/* Brings what looking for a hash begins with near. */
DLOAD_I_INLINE void dload_i_ghost_prefetch(const dload_i_ghost *g, uint64_t hash)
{
    DLOAD_I_PREFETCH(dload_i_ghost_home(g, hash)->marks);
}

/* Is a time before the window? Times stay below 2^31, so that their differences have signs. */
DLOAD_I_INLINE bool dload_i_ghost_gone(const dload_i_ghost *g, uint32_t time)
{
    return time < g->first;
}

#if DLOAD_I_SSE2
/* The signs of sixteen numbers, a bit each, but for the last one's. */
DLOAD_I_INLINE uint32_t dload_i_ghost_signs(__m128i a, __m128i b, __m128i c, __m128i d)
{
    __m128i bytes = _mm_packs_epi16(_mm_packs_epi32(a, b), _mm_packs_epi32(c, d));
    return (uint32_t)_mm_movemask_epi8(bytes) & 0x7fffu;
}
#endif

/* Which marks of a bucket are this one: a bit each. */
DLOAD_I_INLINE uint32_t dload_i_ghost_match(const dload_i_ghost_bucket *b, uint32_t mark)
{
#if DLOAD_I_SSE2
    const __m128i *at = (const __m128i *)(const void *)b->marks;
    __m128i all = _mm_shuffle_epi32(_mm_cvtsi32_si128((int)mark), 0);
    return dload_i_ghost_signs(
        _mm_cmpeq_epi32(_mm_load_si128(at), all), _mm_cmpeq_epi32(_mm_load_si128(at + 1), all),
        _mm_cmpeq_epi32(_mm_load_si128(at + 2), all), _mm_cmpeq_epi32(_mm_load_si128(at + 3), all));
#else
    uint32_t found = 0;
    for (uint32_t i = 0; i < DLOAD_I_BUCKET; i++)
        found |= (uint32_t)(b->marks[i] == mark) << i;
    return found;
#endif
}

/* Which places of a bucket are free: a bit each. */
DLOAD_I_INLINE uint32_t dload_i_ghost_free(const dload_i_ghost *g, const dload_i_ghost_bucket *b)
{
#if DLOAD_I_SSE2
    const __m128i *at = (const __m128i *)(const void *)b->times;
    __m128i all = _mm_shuffle_epi32(_mm_cvtsi32_si128((int)g->first), 0);
    return dload_i_ghost_signs(
        _mm_sub_epi32(_mm_load_si128(at), all), _mm_sub_epi32(_mm_load_si128(at + 1), all),
        _mm_sub_epi32(_mm_load_si128(at + 2), all), _mm_sub_epi32(_mm_load_si128(at + 3), all));
#else
    uint32_t free_ = 0;
    for (uint32_t i = 0; i < DLOAD_I_BUCKET; i++)
        free_ |= (uint32_t)dload_i_ghost_gone(g, b->times[i]) << i;
    return free_;
#endif
}

/* ---- the window ---- */

/* The bit of a time in the window. */
DLOAD_I_INLINE uint32_t dload_i_ghost_bit(const dload_i_ghost *g, uint32_t time)
{
    uint32_t at = g->first_at + (time - g->first);
    return at >= g->n_bits ? at - g->n_bits : at;
}

/* The oldest key leaves the window, and the holes before it. */
DLOAD_I_INLINE void dload_i_ghost_forget(dload_i_ghost *g)
{
    uint32_t at = g->first_at;
    uint32_t n_holes = 0;
    while ((g->there[at / 64] >> (at % 64) & 1) == 0) {
        at = at + 1 == g->n_bits ? 0 : at + 1;
        n_holes++;
    }
    g->there[at / 64] ^= UINT64_C(1) << (at % 64);
    g->first_at = at + 1 == g->n_bits ? 0 : at + 1;
    g->first += n_holes + 1;
    g->n_live--;
}

DLOAD_I_LOCAL uint32_t dload_i_count_bits(uint64_t x)
{
    x -= (x >> 1) & UINT64_C(0x5555555555555555);
    x = (x & UINT64_C(0x3333333333333333)) + ((x >> 2) & UINT64_C(0x3333333333333333));
    x = (x + (x >> 4)) & UINT64_C(0x0f0f0f0f0f0f0f0f);
    return (uint32_t)((x * UINT64_C(0x0101010101010101)) >> 56);
}

/* How many keys are there that went before time. */
DLOAD_I_LOCAL uint32_t dload_i_ghost_rank(const dload_i_ghost *g, uint32_t time)
{
    uint32_t rank[2];
    uint32_t at[2] = {g->first_at, dload_i_ghost_bit(g, time)};
    for (int i = 0; i < 2; i++) {
        uint64_t below = (UINT64_C(1) << (at[i] % 64)) - 1;
        rank[i] = g->before[at[i] / 64] + dload_i_count_bits(g->there[at[i] / 64] & below);
    }
    return at[1] >= at[0] ? rank[1] - rank[0] : g->n_live - rank[0] + rank[1];
}

/* What a time will be when there are no holes before it. */
DLOAD_I_LOCAL uint32_t dload_i_ghost_anew(const dload_i_ghost *g, uint32_t time)
{
    return dload_i_ghost_gone(g, time) ? 0 : 1 + dload_i_ghost_rank(g, time);
}

/* Counts times anew, from 1, without holes. O(limit). */
DLOAD_I_COLD void dload_i_ghost_recount(dload_i_ghost *g)
{
    uint32_t n_words = g->n_bits / 64;
    g->before[0] = 0;
    for (uint32_t i = 1; i < n_words; i++)
        g->before[i] = g->before[i - 1] + dload_i_count_bits(g->there[i - 1]);
    for (uint32_t i = 0; i < g->n_buckets; i++) {
        dload_i_ghost_bucket *b = &g->buckets[i];
        for (uint32_t j = 0; j < DLOAD_I_BUCKET; j++)
            b->times[j] = dload_i_ghost_anew(g, b->times[j]);
        b->passed = dload_i_ghost_anew(g, b->passed);
    }
    memset(g->there, 0, n_words * sizeof *g->there);
    g->first = 1;
    g->first_at = 0;
    g->next = 1 + g->n_live;
    for (uint32_t i = 0; i < g->n_live; i++)
        g->there[i / 64] |= UINT64_C(1) << (i % 64);
}

/* ---- the queue ---- */

/* Takes a hash out; true when it was there. */
DLOAD_I_LOCAL bool dload_i_ghost_take(dload_i_ghost *g, uint64_t hash)
{
    if (g->limit == 0)
        return false;
    uint32_t mark = dload_i_ghost_mark(hash);
    dload_i_ghost_bucket *b = dload_i_ghost_home(g, hash);
    for (uint32_t tried = 0; tried < g->n_buckets; tried++) {
        uint32_t found = dload_i_ghost_match(b, mark);
        for (; DLOAD_I_UNLIKELY(found != 0); found &= found - 1) {
            uint32_t *time = &b->times[dload_i_ctz32(found)];
            if (dload_i_ghost_gone(g, *time))
                continue;
            uint32_t at = dload_i_ghost_bit(g, *time);
            g->there[at / 64] &= ~(UINT64_C(1) << (at % 64));
            g->n_live--;
            *time = 0;
            return true;
        }
        if (DLOAD_I_LIKELY(dload_i_ghost_gone(g, b->passed)))
            return false;
        b = dload_i_ghost_further(g, b);
    }
    return false;
}

/* A key finds no room in its home: the oldest key of each bucket on the way gives way to a younger one. So
 * those that live away from home are the old ones, of whom a bucket soon need not know any more. */
DLOAD_I_NOINLINE void dload_i_ghost_squeeze(const dload_i_ghost *g, dload_i_ghost_bucket *b,
                                            uint32_t mark, uint32_t time)
{
    uint32_t free_ = 0;
    for (; (free_ = dload_i_ghost_free(g, b)) == 0; b = dload_i_ghost_further(g, b)) {
        uint32_t oldest = 0;
        for (uint32_t i = 1; i < DLOAD_I_BUCKET; i++)
            oldest = b->times[i] < b->times[oldest] ? i : oldest;
        if (b->times[oldest] < time) {
            uint32_t gives_way[2] = {b->marks[oldest], b->times[oldest]};
            b->marks[oldest] = mark;
            b->times[oldest] = time;
            mark = gives_way[0];
            time = gives_way[1];
        }
        b->passed = b->passed > time ? b->passed : time;
    }
    b->marks[dload_i_ctz32(free_)] = mark;
    b->times[dload_i_ctz32(free_)] = time;
}

/* Remembers a hash as the newest, forgetting the oldest when full. */
DLOAD_I_LOCAL void dload_i_ghost_add(dload_i_ghost *g, uint64_t hash)
{
    if (g->limit == 0)
        return;
    if (DLOAD_I_LIKELY(g->n_live == g->limit))
        dload_i_ghost_forget(g);
    if (DLOAD_I_UNLIKELY(g->next - g->first == g->n_bits || g->next > (uint32_t)INT32_MAX))
        dload_i_ghost_recount(g);
    uint32_t time = g->next;
    uint32_t mark = dload_i_ghost_mark(hash);
    dload_i_ghost_bucket *b = dload_i_ghost_home(g, hash);
    uint32_t free_ = dload_i_ghost_free(g, b);
    uint32_t at = dload_i_ghost_bit(g, time);
    g->n_live++;
    g->next = time + 1;
    g->there[at / 64] |= UINT64_C(1) << (at % 64);
    if (DLOAD_I_LIKELY(free_ != 0)) {
        b->marks[dload_i_ctz32(free_)] = mark;
        b->times[dload_i_ctz32(free_)] = time;
    } else {
        dload_i_ghost_squeeze(g, b, mark, time);
    }
}

#endif /* DLOAD_I_GHOST_H */

/* ==== runtime/fifo.h ==== */

/* >>fifo -- first in, first out, of slot numbers: what FIFO, CLOCK and S3-FIFO keep their order in.
 *
 * A queue is a chain of chunks, each one cache line: fifteen slot numbers and the position of the next
 * chunk. So an entry costs 4.3 bytes, and whoever comes or goes touches memory that the one before it has
 * touched. Both queues of S3-FIFO take their chunks from one pool.
 *
 * What leaves from anywhere but the tail (a delete, an expiry) leaves its reference behind, stale.
 * References to one slot stand in the order in which they came, so the stale ones are always the older
 * ones: knowing how many a slot has is knowing which they are, even when the slot has a new entry
 * since. A bit in the slot's group says that there is one; how many more there are stands in a small
 * table. When the chunks or that table run out, all stale references are taken out at once. Both have
 * room for a share of the capacity, so that each removal pays a constant share of it.
 */
#ifndef DLOAD_I_FIFO_H
#define DLOAD_I_FIFO_H

#define DLOAD_I_CHAIN      15u /* references of a chunk; the word after them is its successor */
#define DLOAD_I_NO_REF     UINT32_MAX
#define DLOAD_I_QUEUES     2u /* of one pool, at most: as many as a group has masks */
#define DLOAD_I_MORE_SHARE 32u

typedef struct dload_i_fifo {
    uint32_t tail; /* position of the oldest reference */
    uint32_t head; /* ... and of where the next one goes; = tail: there is none */
    uint32_t n;    /* entries: references that are not stale */
} dload_i_fifo;

/* Stale references of a slot beyond the one that its group's bit stands for. */
typedef struct dload_i_more {
    uint32_t id; /* slot * 2 + queue + 1; 0 = free */
    uint32_t n;
} dload_i_more;

typedef struct dload_i_fifos {
    uint32_t *refs;        /* chunks of 16 words; a position is an index of it */
    dload_i_group *groups; /* whose bits say which slots have stale references */
    uint32_t free_chunk;   /* position; linked through its last word */
    uint32_t n_stale;
    dload_i_more *more;
    uint32_t more_size;
    uint32_t n_more;
    dload_i_fifo q[DLOAD_I_QUEUES];
} dload_i_fifos;

/* ---- sizes, for cap entries ---- */

DLOAD_I_INLINE uint32_t dload_i_fifo_chunks(uint32_t cap)
{
    /* Each queue has a chunk that is not full at both ends; a sixteenth is for stale references. */
    return (cap + cap / 16 + 16) / DLOAD_I_CHAIN + 1 + 2 * DLOAD_I_QUEUES;
}

DLOAD_I_INLINE uint32_t dload_i_fifo_more_size(uint32_t cap)
{
    return cap / DLOAD_I_MORE_SHARE + 4;
}

/* ---- chunks ---- */

DLOAD_I_INLINE bool dload_i_fifo_at_link(uint32_t pos)
{
    return (pos & DLOAD_I_CHAIN) == DLOAD_I_CHAIN;
}

DLOAD_I_LOCAL void dload_i_fifo_chunk_give(dload_i_fifos *qs, uint32_t chunk)
{
    qs->refs[chunk | DLOAD_I_CHAIN] = qs->free_chunk;
    qs->free_chunk = chunk;
}

DLOAD_I_LOCAL uint32_t dload_i_fifo_chunk_take(dload_i_fifos *qs)
{
    uint32_t chunk = qs->free_chunk;
    DLOAD_ASSERT(chunk != DLOAD_I_NO_REF);
    qs->free_chunk = qs->refs[chunk | DLOAD_I_CHAIN];
    return chunk;
}

/* refs, with room for dload_i_fifo_chunks(cap) chunks, and more are zeroed. */
DLOAD_I_LOCAL void dload_i_fifos_init(dload_i_fifos *qs, uint32_t cap, uint32_t *refs,
                                      dload_i_more *more, dload_i_group *groups)
{
    qs->refs = refs;
    qs->groups = groups;
    qs->more = more;
    qs->more_size = dload_i_fifo_more_size(cap);
    qs->n_more = 0;
    qs->n_stale = 0;
    qs->free_chunk = DLOAD_I_NO_REF;
    for (uint32_t i = dload_i_fifo_chunks(cap); i-- > 0;)
        dload_i_fifo_chunk_give(qs, i * (DLOAD_I_CHAIN + 1));
    for (uint32_t i = 0; i < DLOAD_I_QUEUES; i++) {
        qs->q[i].tail = qs->q[i].head = dload_i_fifo_chunk_take(qs);
        qs->q[i].n = 0;
    }
}

/* ---- stale references ---- */

/* Where the count of a slot is, or where it would be. The table is never full. */
DLOAD_I_LOCAL dload_i_more *dload_i_more_at(const dload_i_fifos *qs, uint32_t id)
{
    uint32_t at = (uint32_t)(((uint64_t)(id * UINT32_C(0x9e3779b1)) * qs->more_size) >> 32);
    while (qs->more[at].id != 0 && qs->more[at].id != id)
        at = at + 1 == qs->more_size ? 0 : at + 1;
    return &qs->more[at];
}

/* Is the oldest reference to slot in queue which a stale one? Then it no longer counts. */
DLOAD_I_NOINLINE bool dload_i_stale_drop(dload_i_fifos *qs, uint32_t which, uint32_t slot)
{
    uint32_t *mask = &qs->groups[slot / DLOAD_I_GROUP_SLOTS].stale[which];
    uint32_t bit = UINT32_C(1) << (slot % DLOAD_I_GROUP_SLOTS);
    if ((*mask & bit) == 0)
        return false;
    qs->n_stale--;
    if (qs->n_more != 0) {
        dload_i_more *more = dload_i_more_at(qs, slot * 2 + which + 1);
        if (more->n != 0) {
            more->n--;
            return true;
        }
    }
    *mask &= ~bit;
    return true;
}

/* Takes the stale references out of one queue. */
DLOAD_I_LOCAL void dload_i_fifo_pack(dload_i_fifos *qs, uint32_t which)
{
    dload_i_fifo *q = &qs->q[which];
    uint32_t from = q->tail;
    uint32_t to = from;
    while (from != q->head) {
        if (dload_i_fifo_at_link(from))
            from = qs->refs[from];
        uint32_t slot = qs->refs[from++];
        if (dload_i_stale_drop(qs, which, slot))
            continue;
        if (dload_i_fifo_at_link(to))
            to = qs->refs[to];
        qs->refs[to++] = slot;
    }
    uint32_t last = q->head & ~DLOAD_I_CHAIN;
    for (uint32_t chunk = to & ~DLOAD_I_CHAIN; chunk != last;) {
        uint32_t next = qs->refs[chunk | DLOAD_I_CHAIN];
        if (chunk != (to & ~DLOAD_I_CHAIN))
            dload_i_fifo_chunk_give(qs, chunk);
        chunk = next;
    }
    if (last != (to & ~DLOAD_I_CHAIN))
        dload_i_fifo_chunk_give(qs, last);
    q->head = to;
}

DLOAD_I_COLD void dload_i_fifos_pack(dload_i_fifos *qs)
{
    for (uint32_t i = 0; i < DLOAD_I_QUEUES; i++)
        dload_i_fifo_pack(qs, i);
    DLOAD_ASSERT(qs->n_stale == 0);
    memset(qs->more, 0, qs->more_size * sizeof *qs->more);
    qs->n_more = 0;
}

/* The newest reference to slot, which is not stale, becomes so. */
DLOAD_I_NOINLINE void dload_i_stale_add(dload_i_fifos *qs, uint32_t which, uint32_t slot)
{
    uint32_t *mask = &qs->groups[slot / DLOAD_I_GROUP_SLOTS].stale[which];
    uint32_t bit = UINT32_C(1) << (slot % DLOAD_I_GROUP_SLOTS);
    if ((*mask & bit) != 0) {
        uint32_t id = slot * 2 + which + 1;
        dload_i_more *more = dload_i_more_at(qs, id);
        if (more->id == 0 && qs->n_more + 1 > qs->more_size / 4 * 3) {
            dload_i_fifos_pack(qs);
            *mask |= bit;
        } else {
            qs->n_more += more->id == 0;
            more->id = id;
            more->n++;
        }
    } else {
        *mask |= bit;
    }
    qs->n_stale++;
}

/* ---- coming and going ---- */

/* The head's chunk is full: another one. */
DLOAD_I_NOINLINE uint32_t dload_i_fifo_extend(dload_i_fifos *qs, dload_i_fifo *q)
{
    if (qs->free_chunk == DLOAD_I_NO_REF)
        dload_i_fifos_pack(qs);
    if (!dload_i_fifo_at_link(q->head))
        return q->head;
    uint32_t chunk = dload_i_fifo_chunk_take(qs);
    qs->refs[q->head] = chunk;
    return chunk;
}

DLOAD_I_INLINE void dload_i_fifo_push(dload_i_fifos *qs, uint32_t which, uint32_t slot)
{
    dload_i_fifo *q = &qs->q[which];
    uint32_t at = q->head;
    if (DLOAD_I_UNLIKELY(dload_i_fifo_at_link(at)))
        at = dload_i_fifo_extend(qs, q);
    qs->refs[at] = slot;
    q->head = at + 1;
    q->n++;
}

/* The tail's chunk has been read: on to the next. */
DLOAD_I_NOINLINE uint32_t dload_i_fifo_next(dload_i_fifos *qs, dload_i_fifo *q)
{
    uint32_t next = qs->refs[q->tail];
    dload_i_fifo_chunk_give(qs, q->tail & ~DLOAD_I_CHAIN);
    q->tail = next;
    return next;
}

/* The oldest entry of a queue that has one. */
DLOAD_I_INLINE uint32_t dload_i_fifo_oldest(dload_i_fifos *qs, uint32_t which)
{
    dload_i_fifo *q = &qs->q[which];
    for (;; q->tail++) {
        uint32_t at = q->tail;
        if (DLOAD_I_UNLIKELY(dload_i_fifo_at_link(at)))
            at = dload_i_fifo_next(qs, q);
        uint32_t slot = qs->refs[at];
        if (DLOAD_I_LIKELY(qs->n_stale == 0) || !dload_i_stale_drop(qs, which, slot))
            return slot;
    }
}

/* Takes out what dload_i_fifo_oldest has just returned. */
DLOAD_I_INLINE void dload_i_fifo_pop(dload_i_fifos *qs, uint32_t which)
{
    qs->q[which].tail++;
    qs->q[which].n--;
}

/* Takes an entry out that may not be the oldest. */
DLOAD_I_NOINLINE void dload_i_fifo_cut_far(dload_i_fifos *qs, uint32_t which, uint32_t slot)
{
    if (dload_i_fifo_oldest(qs, which) != slot)
        dload_i_stale_add(qs, which, slot);
    else
        qs->q[which].tail++;
    qs->q[which].n--;
}

/* Takes an entry out, wherever it stands. */
DLOAD_I_INLINE void dload_i_fifo_cut(dload_i_fifos *qs, uint32_t which, uint32_t slot)
{
    uint32_t at = qs->q[which].tail;
    if (DLOAD_I_LIKELY(qs->n_stale == 0 && !dload_i_fifo_at_link(at) && qs->refs[at] == slot))
        dload_i_fifo_pop(qs, which);
    else
        dload_i_fifo_cut_far(qs, which, slot);
}

/* Who is the n-th oldest, more or less: for prefetching alone. The last of a chunk stands in for those
 * after it, and what is stale has a line, too. */
DLOAD_I_INLINE uint32_t dload_i_fifo_ahead(const dload_i_fifos *qs, uint32_t which, uint32_t n)
{
    uint32_t at = qs->q[which].tail;
    uint32_t last = at | DLOAD_I_CHAIN;
    at = at + n < last ? at + n : last - 1;
    return qs->refs[at];
}

#endif /* DLOAD_I_FIFO_H */

/* ==== runtime/past.h ==== */

/* >>past -- what one queue evicted lately: which keys, when each was last used, how long ago it went.
 *
 * A ring in the order of eviction and chains through it by hash. A hash taken out leaves a hole that is
 * never packed, so that the way back from the newest position is the number of evictions since. Links
 * lead to older positions only: one that does not belongs to somebody who has used the position since,
 * and there a chain ends. 14 bytes a position. Two keys are taken for one when their chains and 32 bits
 * of their hashes agree; then one is believed to come back.
 */
#ifndef DLOAD_I_PAST_H
#define DLOAD_I_PAST_H

typedef struct dload_i_gone {
    uint32_t print; /* of the hash; 0 = hole */
    uint32_t used;  /* when, by the policy's clock */
    uint32_t next;  /* position of the next older one of its chain + 1; 0 = none */
} dload_i_gone;

typedef struct dload_i_past {
    dload_i_gone *ring;
    uint32_t *head;  /* by hash: position of the newest of a chain + 1; 0 = none */
    uint32_t limit;  /* positions */
    uint32_t n_head; /* chains */
    uint32_t at;     /* position that comes next */
    uint32_t span;   /* positions in use, holes included */
    uint32_t n_live; /* holes not included */
} dload_i_past;

DLOAD_I_INLINE uint32_t dload_i_past_chains(uint32_t limit)
{
    return limit == 0 ? 0 : limit / 2 + 1;
}

/* ring and head are zeroed memory for limit positions and as many chains as above. */
DLOAD_I_LOCAL void dload_i_past_init(dload_i_past *p, uint32_t limit, dload_i_gone *ring,
                                     uint32_t *head)
{
    memset(p, 0, sizeof *p);
    p->ring = ring;
    p->head = head;
    p->limit = limit;
    p->n_head = dload_i_past_chains(limit);
}

DLOAD_I_INLINE uint32_t dload_i_past_chain(const dload_i_past *p, uint64_t hash)
{
    return (uint32_t)(((hash >> 32) * p->n_head) >> 32);
}

/* Brings what looking for a hash begins with near. */
DLOAD_I_INLINE void dload_i_past_prefetch(const dload_i_past *p, uint64_t hash)
{
    DLOAD_I_PREFETCH(&p->head[dload_i_past_chain(p, hash)]);
}

DLOAD_I_INLINE uint32_t dload_i_past_print(uint64_t hash)
{
    uint32_t print = (uint32_t)(hash ^ (hash >> 32));
    return print + (print == 0);
}

/* Evictions since the one at a position: 1 for the newest, limit for the oldest. */
DLOAD_I_INLINE uint32_t dload_i_past_age(const dload_i_past *p, uint32_t pos)
{
    return pos < p->at ? p->at - pos : p->at + (p->limit - pos);
}

/* Takes a hash out. How many evictions ago it went, and *used; 0 when it is not there. */
DLOAD_I_LOCAL uint32_t dload_i_past_take(dload_i_past *p, uint64_t hash, uint32_t *used)
{
    if (p->n_live == 0)
        return 0;
    uint32_t print = dload_i_past_print(hash);
    uint32_t newer = 0;
    for (uint32_t at = p->head[dload_i_past_chain(p, hash)]; at != 0;) {
        dload_i_gone *gone = &p->ring[at - 1];
        uint32_t age = dload_i_past_age(p, at - 1);
        if (age <= newer || age > p->span)
            return 0;
        if (gone->print == print) {
            gone->print = 0;
            p->n_live--;
            *used = gone->used;
            return age;
        }
        newer = age;
        at = gone->next;
    }
    return 0;
}

/* Remembers a hash as the newest, forgetting the oldest when the ring is full. */
DLOAD_I_LOCAL void dload_i_past_add(dload_i_past *p, uint64_t hash, uint32_t used)
{
    dload_i_gone *gone = &p->ring[p->at];
    uint32_t *head = &p->head[dload_i_past_chain(p, hash)];
    p->n_live += gone->print == 0;
    p->span += p->span < p->limit;
    gone->print = dload_i_past_print(hash);
    gone->used = used;
    gone->next = *head;
    *head = p->at + 1;
    p->at = p->at + 1 == p->limit ? 0 : p->at + 1;
}

/* ---- what the adaptive policy keeps: see adaptive.h ---- */

#define DLOAD_I_SHARE_ONE      (UINT64_C(1) << 16) /* an entry, in units of the target */
#define DLOAD_I_ADAPTIVE_ROOM  4u   /* a miss counts when a 4th of the cache would have spared it */
#define DLOAD_I_ADAPTIVE_LUCK  64u  /* every 64th that leaves small is promoted */
#define DLOAD_I_ADAPTIVE_LEAP  16u  /* the target moves by 1 to 16 entries */
#define DLOAD_I_ADAPTIVE_START 10u  /* small begins as a 10th, S3-FIFO's share */
#define DLOAD_I_ADAPTIVE_LEAST 100u /* ... and is never less than a 100th */

typedef struct dload_i_adaptive {
    dload_i_past of_small, of_main;
    uint32_t *since; /* by slot: when it came, or was last given another round in main */
    uint64_t target; /* small's size; DLOAD_I_SHARE_ONE is an entry */
    uint64_t least;  /* what the target never goes below */
    uint32_t cap;
    uint32_t room;    /* evictions since which a miss counts */
    uint32_t now;     /* evictions */
    uint32_t leaving; /* left small since the last lucky one */
    bool comes_back;  /* the key that is coming in now goes to main */
} dload_i_adaptive;

/* What small's memory is long; as long as S3-FIFO's. */
DLOAD_I_INLINE uint32_t dload_i_adaptive_past(uint32_t cap)
{
    return (uint32_t)((uint64_t)cap * 9 / 10) + (cap < 2);
}

/* Main's, from which less leaves. */
DLOAD_I_INLINE uint32_t dload_i_adaptive_past_main(uint32_t cap)
{
    return (uint32_t)((uint64_t)cap * 9 / 20) + (cap < 3);
}

/* Words of its arrays: three a position, one a slot, one a chain. */
DLOAD_I_LOCAL size_t dload_i_adaptive_words(uint32_t cap, size_t n_slots)
{
    size_t of_small = dload_i_adaptive_past(cap);
    size_t of_main = dload_i_adaptive_past_main(cap);
    return 3 * (of_small + of_main) + n_slots + dload_i_past_chains((uint32_t)of_small) +
           dload_i_past_chains((uint32_t)of_main);
}

/* a and words are zeroed memory. */
DLOAD_I_LOCAL void dload_i_adaptive_init(dload_i_adaptive *a, uint32_t *words, uint32_t cap)
{
    uint32_t of_small = dload_i_adaptive_past(cap);
    uint32_t of_main = dload_i_adaptive_past_main(cap);
    dload_i_gone *ring = (dload_i_gone *)(void *)words;
    uint32_t *heads = words + 3 * ((size_t)of_small + of_main);
    dload_i_past_init(&a->of_small, of_small, ring, heads);
    heads += dload_i_past_chains(of_small);
    dload_i_past_init(&a->of_main, of_main, ring + of_small, heads);
    a->since = heads + dload_i_past_chains(of_main);
    a->room = cap / DLOAD_I_ADAPTIVE_ROOM + (cap < DLOAD_I_ADAPTIVE_ROOM);
    a->cap = cap;
    a->least = DLOAD_I_SHARE_ONE * cap / DLOAD_I_ADAPTIVE_LEAST;
    if (a->least < DLOAD_I_SHARE_ONE)
        a->least = DLOAD_I_SHARE_ONE;
    a->target = DLOAD_I_SHARE_ONE * cap / DLOAD_I_ADAPTIVE_START;
    if (a->target < a->least)
        a->target = a->least;
}

#endif /* DLOAD_I_PAST_H */

/* ==== runtime/evict.h ==== */

/* >>evict -- who leaves when room is needed: policies on slot numbers.
 *
 * A hit changes at most two bits in its own slot's meta word (LRU moves a link); everything else
 * happens when an entry comes or goes. The rules are the textbook ones, to the letter, so that miss
 * counts can be compared with published ones: FIFO, CLOCK (second chance), LRU, SIEVE (Zhang et al.,
 * NSDI 2024; it can freeze on traces where most entries are seen twice), S3-FIFO (Yang et al., SOSP
 * 2023, promotion at two uses). The one of our own is in adaptive.h.
 */
#ifndef DLOAD_I_EVICT_H
#define DLOAD_I_EVICT_H

/* The meta word of a slot; see the slot's type. The uses have a byte to themselves, the only one that a
 * reader without the lock may write: a store that comes late then changes nothing but a count. */
#define DLOAD_I_META_USES    0xffu
#define DLOAD_I_META_MAIN    0x100u
#define DLOAD_I_META_EXPIRES 0x200u
#define DLOAD_I_META_PINNED  0x400u  /* in no queue: the policy does not know of it */
#define DLOAD_I_META_DRAWN   0x800u  /* with DLOAD_REFRESH: to be refreshed early */
#define DLOAD_I_META_REASON  12u     /* three bits from there on: see weight.h */
#define DLOAD_I_META_ERROR   0x8000u /* next to the epoch: one comparison finds both */
#define DLOAD_I_EPOCH_ONE    0x10000u
#define DLOAD_I_EPOCH_MASK   0xffff0000u

/* LRU and SIEVE move entries from the middle, and keep their order in links: head is the newest side,
 * tail the oldest. */
typedef struct dload_i_list {
    uint32_t head, tail;
} dload_i_list;

typedef struct dload_i_link {
    uint32_t newer, older; /* slots, or DLOAD_I_NO_SLOT */
} dload_i_link;

/* The queues of the others; S3-FIFO has both, and its meta bit says which one an entry is in. */
#define DLOAD_I_SMALL 0u
#define DLOAD_I_MAIN  1u

typedef struct dload_i_evict {
    dload_i_fifos queues; /* FIFO, CLOCK, S3-FIFO */
    dload_i_link *links;  /* LRU, SIEVE: by slot; else NULL */
    dload_i_list list;
    char *meta;          /* meta word of slot 0; */
    size_t stride_bytes; /* ... and from one to the next */
    uint32_t kind;       /* DLOAD_EVICT_NONE .. ADAPTIVE; AUTO is resolved at init */
    uint32_t max_uses;   /* where a hit stops counting: 0, 1 or 3 */
    uint32_t main_limit;
    uint32_t hand; /* SIEVE: where it goes on; DLOAD_I_NO_SLOT = at the tail */
    dload_i_ghost ghost;
    /* the full hash of a slot's key, for what ADAPTIVE remembers */
    uint64_t (*hash_of)(const void *slot, const uint64_t *hash_key);
    const uint64_t *hash_key;   /* NULL = a hash without a secret */
    dload_i_adaptive *adaptive; /* ADAPTIVE's; else NULL */
} dload_i_evict;

DLOAD_I_INLINE uint32_t *dload_i_meta(const dload_i_evict *e, uint32_t slot)
{
    return (uint32_t *)(void *)(e->meta + (size_t)slot * e->stride_bytes);
}

/* Readers may count a use meanwhile: every access is atomic, none needs an order. */
DLOAD_I_INLINE uint32_t dload_i_meta_of(const dload_i_evict *e, uint32_t slot)
{
    return DLOAD_I_LOAD_RELAXED(dload_i_meta(e, slot));
}

DLOAD_I_INLINE void dload_i_meta_set(const dload_i_evict *e, uint32_t slot, uint32_t meta)
{
    DLOAD_I_STORE_RELAXED(dload_i_meta(e, slot), meta);
}

/* The byte of a meta word that counts uses. */
DLOAD_I_INLINE uint8_t *dload_i_uses(uint32_t *meta)
{
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    return (uint8_t *)meta + 3;
#else
    return (uint8_t *)meta;
#endif
}

/* Counts one use, up to max; written only when it changes, so that a popular entry's line stays clean. */
DLOAD_I_INLINE void dload_i_count_use(uint32_t *meta, uint32_t seen, uint32_t max)
{
    if (DLOAD_I_UNLIKELY((seen & DLOAD_I_META_USES) < max))
        DLOAD_I_STORE_RELAXED(dload_i_uses(meta), (uint8_t)((seen & DLOAD_I_META_USES) + 1));
}

/* AUTO: tiny caches do better with CLOCK, all others with S3-FIFO (see the traces' regret table). */
DLOAD_I_LOCAL uint32_t dload_i_evict_kind(uint32_t asked, uint32_t cap)
{
    if (asked != DLOAD_EVICT_AUTO)
        return asked;
    return cap < 256 ? DLOAD_EVICT_CLOCK : DLOAD_EVICT_S3FIFO;
}

DLOAD_I_INLINE uint32_t dload_i_ghost_limit(uint32_t kind, uint32_t cap)
{
    return kind == DLOAD_EVICT_S3FIFO ? (uint32_t)((uint64_t)cap * 9 / 10) : 0;
}

DLOAD_I_INLINE bool dload_i_evict_has_links(uint32_t kind)
{
    return kind == DLOAD_EVICT_LRU || kind == DLOAD_EVICT_SIEVE;
}

DLOAD_I_INLINE bool dload_i_evict_has_queues(uint32_t kind)
{
    return kind != DLOAD_EVICT_NONE && !dload_i_evict_has_links(kind);
}

/* Sets up everything but queues, links, meta and the ghost's memory. */
DLOAD_I_LOCAL void dload_i_evict_init(dload_i_evict *e, uint32_t kind, uint32_t cap)
{
    e->kind = kind;
    e->max_uses = kind == DLOAD_EVICT_S3FIFO || kind == DLOAD_EVICT_ADAPTIVE ? 3
                  : kind == DLOAD_EVICT_CLOCK || kind == DLOAD_EVICT_SIEVE   ? 1
                                                                             : 0;
    e->list.head = e->list.tail = DLOAD_I_NO_SLOT;
    e->main_limit = cap - (cap / 10 > 1 ? cap / 10 : 1);
    e->hand = DLOAD_I_NO_SLOT;
}

DLOAD_I_LOCAL void dload_i_list_push(dload_i_evict *e, uint32_t slot)
{
    e->links[slot].newer = DLOAD_I_NO_SLOT;
    e->links[slot].older = e->list.head;
    if (e->list.head != DLOAD_I_NO_SLOT)
        e->links[e->list.head].newer = slot;
    else
        e->list.tail = slot;
    e->list.head = slot;
}

DLOAD_I_LOCAL void dload_i_list_cut(dload_i_evict *e, uint32_t slot)
{
    dload_i_link link = e->links[slot];
    if (link.newer != DLOAD_I_NO_SLOT)
        e->links[link.newer].older = link.older;
    else
        e->list.head = link.older;
    if (link.older != DLOAD_I_NO_SLOT)
        e->links[link.older].newer = link.newer;
    else
        e->list.tail = link.newer;
}

/* A hit under LRU. */
DLOAD_I_LOCAL void dload_i_lru_touch(dload_i_evict *e, uint32_t slot)
{
    if (e->list.head == slot)
        return;
    dload_i_list_cut(e, slot);
    dload_i_list_push(e, slot);
}

/* A new entry; its meta word has no uses and no main bit. */
DLOAD_I_INLINE void dload_i_evict_insert(dload_i_evict *e, uint32_t asked, uint32_t slot,
                                         bool was_ghost)
{
    if (e->kind == DLOAD_EVICT_NONE)
        return;
    if (asked == DLOAD_EVICT_ADAPTIVE)
        e->adaptive->since[slot] = e->adaptive->now;
    if (dload_i_evict_has_links(asked)) {
        dload_i_list_push(e, slot);
        return;
    }
    if (was_ghost)
        dload_i_meta_set(e, slot, dload_i_meta_of(e, slot) | DLOAD_I_META_MAIN);
    dload_i_fifo_push(&e->queues, was_ghost ? DLOAD_I_MAIN : DLOAD_I_SMALL, slot);
}

/* An entry goes, whatever the reason. */
DLOAD_I_INLINE void dload_i_evict_remove(dload_i_evict *e, uint32_t asked, uint32_t slot)
{
    if (e->kind == DLOAD_EVICT_NONE)
        return;
    if (dload_i_evict_has_links(asked)) {
        if (e->hand == slot)
            e->hand = e->links[slot].newer;
        dload_i_list_cut(e, slot);
        return;
    }
    bool in_main = (dload_i_meta_of(e, slot) & DLOAD_I_META_MAIN) != 0;
    dload_i_fifo_cut(&e->queues, in_main ? DLOAD_I_MAIN : DLOAD_I_SMALL, slot);
}

/* The same for a policy's choice, which in a queue is the oldest. */
DLOAD_I_INLINE void dload_i_evict_pop(dload_i_evict *e, uint32_t asked, uint32_t slot)
{
    if (dload_i_evict_has_links(asked))
        dload_i_evict_remove(e, asked, slot);
    else
        dload_i_fifo_pop(&e->queues, (dload_i_meta_of(e, slot) & DLOAD_I_META_MAIN) != 0);
}

/* Brings the entry after next of a queue near: by the time it is asked for, its line and its group's are
 * there. Who is rotated on the way there was brought before. */
DLOAD_I_INLINE void dload_i_evict_prefetch(const dload_i_evict *e, uint32_t which)
{
    uint32_t slot = dload_i_fifo_ahead(&e->queues, which, 2);
    DLOAD_I_PREFETCH(dload_i_meta(e, slot));
    DLOAD_I_PREFETCH(&e->queues.groups[slot / DLOAD_I_GROUP_SLOTS]);
}

DLOAD_I_LOCAL uint32_t dload_i_clock_victim(dload_i_evict *e)
{
    for (;;) {
        uint32_t slot = dload_i_fifo_oldest(&e->queues, DLOAD_I_SMALL);
        dload_i_evict_prefetch(e, DLOAD_I_SMALL);
        uint32_t meta = dload_i_meta_of(e, slot);
        if ((meta & DLOAD_I_META_USES) == 0)
            return slot;
        dload_i_meta_set(e, slot, meta & ~DLOAD_I_META_USES);
        dload_i_fifo_pop(&e->queues, DLOAD_I_SMALL);
        dload_i_fifo_push(&e->queues, DLOAD_I_SMALL, slot);
    }
}

DLOAD_I_LOCAL uint32_t dload_i_sieve_victim(dload_i_evict *e)
{
    uint32_t slot = e->hand != DLOAD_I_NO_SLOT ? e->hand : e->list.tail;
    for (;;) {
        uint32_t meta = dload_i_meta_of(e, slot);
        if ((meta & DLOAD_I_META_USES) == 0)
            break;
        dload_i_meta_set(e, slot, meta & ~DLOAD_I_META_USES);
        uint32_t newer = e->links[slot].newer;
        slot = newer != DLOAD_I_NO_SLOT ? newer : e->list.tail;
    }
    e->hand = slot; /* removing it moves the hand on */
    return slot;
}

/* From main: used entries go round again, with one use less. */
DLOAD_I_LOCAL uint32_t dload_i_main_victim(dload_i_evict *e)
{
    for (;;) {
        uint32_t slot = dload_i_fifo_oldest(&e->queues, DLOAD_I_MAIN);
        dload_i_evict_prefetch(e, DLOAD_I_MAIN);
        uint32_t meta = dload_i_meta_of(e, slot);
        if ((meta & DLOAD_I_META_USES) == 0)
            return slot;
        dload_i_meta_set(e, slot, meta - 1);
        dload_i_fifo_pop(&e->queues, DLOAD_I_MAIN);
        dload_i_fifo_push(&e->queues, DLOAD_I_MAIN, slot);
    }
}

/* From small, whose entries with two uses are promoted until one has fewer, even when main grows past
 * its limit meanwhile; only when small runs empty is main asked. Who leaves small is to be remembered. */
DLOAD_I_LOCAL uint32_t dload_i_s3fifo_victim(dload_i_evict *e, bool *remember)
{
    dload_i_fifos *qs = &e->queues;
    if (qs->q[DLOAD_I_MAIN].n > e->main_limit)
        return dload_i_main_victim(e);
    while (qs->q[DLOAD_I_SMALL].n != 0) {
        uint32_t slot = dload_i_fifo_oldest(qs, DLOAD_I_SMALL);
        dload_i_evict_prefetch(e, DLOAD_I_SMALL);
        uint32_t meta = dload_i_meta_of(e, slot);
        if ((meta & DLOAD_I_META_USES) < 2) {
            *remember = true;
            return slot;
        }
        dload_i_meta_set(e, slot, (meta & ~DLOAD_I_META_USES) | DLOAD_I_META_MAIN);
        dload_i_fifo_pop(qs, DLOAD_I_SMALL);
        dload_i_fifo_push(qs, DLOAD_I_MAIN, slot);
    }
    return dload_i_main_victim(e);
}

#endif /* DLOAD_I_EVICT_H */

/* ==== runtime/adaptive.h ==== */

/* >>adaptive -- DLOAD_EVICT_ADAPTIVE: S3-FIFO's two queues with borders that are learned. Ours.
 *
 * New entries come into small; one that was used twice by the time it reaches small's end goes on to
 * main, which gives used entries another round. A hit counts a use and does nothing else. Three things
 * are learned, all of them from misses:
 *
 * HOW LARGE SMALL IS. Each queue remembers what it evicted. A miss that the queue would have spared us,
 *   had it been up to a quarter of the cache larger, asks for room: small's for a larger target, main's
 *   for a smaller one. As in ARC (Megiddo, Modha, FAST 2003) it weighs by how much longer the other
 *   queue's memory is. Beyond a quarter a miss says nothing: in a loop of twice the capacity everything
 *   comes back, and no border would help. Small can become everything (then this is FIFO, which a cache
 *   of some dozen entries or one whose keys are used twice and never again wants) or a hundredth.
 *
 * WHOM MAIN TAKES BACK. A key that comes back replaces main's oldest entry only when that one has been
 *   idle for longer than the key has: LIRS's rule (Jiang, Zhang, SIGMETRICS 2002), read off the times
 *   at which entries went to the newer end of main. Without it a loop flushes main; with it a loop that
 *   does not fit keeps what fits, and a new phase finds a main that has been idle and gives way.
 *
 * THAT IT MIGHT BE WRONG. One in 64 entries that leave small goes to main all the same. Of a loop that is
 *   longer than all memory, those are the ones that are still there when they come round, and main
 *   fills with them (bimodal insertion; Qureshi and others, ISCA 2007). Elsewhere it costs a 64th.
 *
 * The clock is the number of evictions, modulo 2^32; luck gives main no rest that long.
 */
#ifndef DLOAD_I_ADAPTIVE_H
#define DLOAD_I_ADAPTIVE_H

/* ---- its queues ---- */

/* The oldest entry of a queue, just looked up, goes to the newer end of main with so many uses. */
DLOAD_I_LOCAL void dload_i_adaptive_keep(dload_i_evict *e, uint32_t queue, uint32_t slot,
                                         uint32_t uses)
{
    uint32_t meta = dload_i_meta_of(e, slot) & ~DLOAD_I_META_USES;
    dload_i_meta_set(e, slot, meta | DLOAD_I_META_MAIN | uses);
    dload_i_fifo_pop(&e->queues, queue);
    dload_i_fifo_push(&e->queues, DLOAD_I_MAIN, slot);
    e->adaptive->since[slot] = e->adaptive->now;
}

DLOAD_I_INLINE uint32_t dload_i_adaptive_uses(const dload_i_evict *e, uint32_t slot)
{
    return dload_i_meta_of(e, slot) & DLOAD_I_META_USES;
}

/* ---- learning ---- */

/* A miss that a larger queue would have spared us: small gets more or less. */
DLOAD_I_LOCAL void dload_i_adaptive_learn(dload_i_adaptive *a, bool more, uint32_t n_own,
                                          uint32_t n_other)
{
    uint64_t step = DLOAD_I_SHARE_ONE * n_other / n_own;
    if (step < DLOAD_I_SHARE_ONE)
        step = DLOAD_I_SHARE_ONE;
    if (step > DLOAD_I_SHARE_ONE * DLOAD_I_ADAPTIVE_LEAP)
        step = DLOAD_I_SHARE_ONE * DLOAD_I_ADAPTIVE_LEAP;
    if (more)
        a->target = a->target + step < DLOAD_I_SHARE_ONE * a->cap ? a->target + step
                                                                  : DLOAD_I_SHARE_ONE * a->cap;
    else
        a->target = a->target > a->least + step ? a->target - step : a->least;
}

/* Is small, with so many entries more, under its target? Then the next to leave is one of main's. */
DLOAD_I_INLINE bool dload_i_adaptive_main_gives(const dload_i_evict *e, uint32_t n_more)
{
    uint64_t n_small = e->queues.q[DLOAD_I_SMALL].n;
    return n_small == 0 || (e->queues.q[DLOAD_I_MAIN].n != 0 &&
                            DLOAD_I_SHARE_ONE * (n_small + n_more) < e->adaptive->target);
}

/* Has main's oldest entry been idle for longer than a key that was used then? One that was used since it
 * was looked at goes round instead, and the next one stands for main. */
DLOAD_I_LOCAL bool dload_i_adaptive_outlasts(dload_i_evict *e, uint32_t used)
{
    uint32_t slot = dload_i_fifo_oldest(&e->queues, DLOAD_I_MAIN);
    uint32_t uses = dload_i_adaptive_uses(e, slot);
    if (uses != 0) {
        dload_i_adaptive_keep(e, DLOAD_I_MAIN, slot, uses - 1);
        slot = dload_i_fifo_oldest(&e->queues, DLOAD_I_MAIN);
        if (dload_i_adaptive_uses(e, slot) != 0)
            return false;
    }
    uint32_t now = e->adaptive->now;
    return now - e->adaptive->since[slot] > now - used;
}

/* A key is about to come in that was not there. True when its place is in main. */
DLOAD_I_LOCAL bool dload_i_adaptive_meet(dload_i_evict *e, uint64_t hash, bool full)
{
    dload_i_adaptive *a = e->adaptive;
    uint32_t used = 0;
    uint32_t n_small = a->of_small.n_live;
    uint32_t n_main = a->of_main.n_live;
    bool of_small = true;
    uint32_t age = dload_i_past_take(&a->of_small, hash, &used);
    if (age == 0) {
        of_small = false;
        age = dload_i_past_take(&a->of_main, hash, &used);
    }
    a->comes_back = age != 0;
    if (age == 0)
        return false;
    if (age <= a->room)
        dload_i_adaptive_learn(a, of_small, of_small ? n_small : n_main,
                               of_small ? n_main : n_small);
    if (full && e->queues.q[DLOAD_I_MAIN].n != 0 && dload_i_adaptive_main_gives(e, 0))
        a->comes_back = dload_i_adaptive_outlasts(e, used);
    return a->comes_back;
}

/* ---- who leaves ---- */

/* The key's time goes with it: when it came or, in main, when it was last given another round. */
DLOAD_I_LOCAL void dload_i_adaptive_forget(dload_i_evict *e, dload_i_past *past, uint32_t slot)
{
    uint64_t hash = e->hash_of(e->meta + (size_t)slot * e->stride_bytes, e->hash_key);
    dload_i_past_add(past, hash, e->adaptive->since[slot]);
    e->adaptive->now++;
}

DLOAD_I_LOCAL uint32_t dload_i_adaptive_victim(dload_i_evict *e)
{
    dload_i_adaptive *a = e->adaptive;
    for (;;) {
        uint32_t queue =
            dload_i_adaptive_main_gives(e, a->comes_back ? 0 : 1) ? DLOAD_I_MAIN : DLOAD_I_SMALL;
        uint32_t slot = dload_i_fifo_oldest(&e->queues, queue);
        dload_i_evict_prefetch(e, queue);
        uint32_t uses = dload_i_adaptive_uses(e, slot);
        if (queue == DLOAD_I_MAIN) {
            if (uses != 0) {
                dload_i_adaptive_keep(e, queue, slot, uses - 1);
                continue;
            }
            dload_i_adaptive_forget(e, &a->of_main, slot);
            return slot;
        }
        if (uses < 2 && ++a->leaving < DLOAD_I_ADAPTIVE_LUCK) {
            dload_i_adaptive_forget(e, &a->of_small, slot);
            return slot;
        }
        if (uses < 2)
            a->leaving = 0;
        dload_i_adaptive_keep(e, queue, slot, 0);
    }
}

#endif /* DLOAD_I_ADAPTIVE_H */

/* ==== runtime/policy.h ==== */

/* >>policy -- what a cache asks of its policy, whichever that is: was the key here, and who leaves next?
 *
 * asked is DLOAD_EVICT, a constant: a loader compiles the policies that it can have, and no other.
 */
#ifndef DLOAD_I_POLICY_H
#define DLOAD_I_POLICY_H

/* Brings what dload_i_evict_meet begins with near. */
DLOAD_I_INLINE void dload_i_evict_prefetch_key(const dload_i_evict *e, uint32_t asked,
                                               uint64_t hash)
{
    if (asked == DLOAD_EVICT_ADAPTIVE) {
        dload_i_past_prefetch(&e->adaptive->of_small, hash);
        dload_i_past_prefetch(&e->adaptive->of_main, hash);
    } else {
        dload_i_ghost_prefetch(&e->ghost, hash);
    }
}

/* A key is about to come in that was not there. True when the policy wants it in main. */
DLOAD_I_INLINE bool dload_i_evict_meet(dload_i_evict *e, uint32_t asked, uint64_t hash, bool full)
{
    if (asked == DLOAD_EVICT_ADAPTIVE)
        return dload_i_adaptive_meet(e, hash, full);
    return dload_i_ghost_take(&e->ghost, hash);
}

/* Who leaves next; the caller removes it, and gives its hash to the ghost when *remember says so. There is at
 * least one entry, and a policy that evicts. */
DLOAD_I_INLINE uint32_t dload_i_evict_victim(dload_i_evict *e, uint32_t asked, bool *remember)
{
    if (asked == DLOAD_EVICT_AUTO) /* see dload_i_evict_kind */
        return e->kind == DLOAD_EVICT_CLOCK ? dload_i_clock_victim(e)
                                            : dload_i_s3fifo_victim(e, remember);
    switch (asked) {
    case DLOAD_EVICT_CLOCK:
        return dload_i_clock_victim(e);
    case DLOAD_EVICT_SIEVE:
        return dload_i_sieve_victim(e);
    case DLOAD_EVICT_S3FIFO:
        return dload_i_s3fifo_victim(e, remember);
    case DLOAD_EVICT_ADAPTIVE:
        return dload_i_adaptive_victim(e);
    case DLOAD_EVICT_LRU:
        return e->list.tail;
    default: /* FIFO */
        dload_i_evict_prefetch(e, DLOAD_I_SMALL);
        return dload_i_fifo_oldest(&e->queues, DLOAD_I_SMALL);
    }
}

#endif /* DLOAD_I_POLICY_H */

/* ==== runtime/chains.h ==== */

/* >>chains -- what every compact table has in common: its links, its meta words, its memory.
 *
 * DLOAD_COMPACT is for memories of kilobytes: slots in one array, and chains through them by 16-bit links. A
 * hit is some comparisons along a chain of one or two slots; nothing is allocated after the start.
 */
#ifndef DLOAD_I_CHAINS_H
#define DLOAD_I_CHAINS_H

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

/* ==== runtime/wheel.h ==== */

/* >>wheel -- when entries expire: a hierarchical timing wheel on blocks of slots.
 *
 * Each slot has a lane, four bytes that say when its entry expires. Sixteen lanes are a block, one cache
 * line, and it is blocks that sit on the wheel, each at a tick no later than the first of its lanes: five
 * levels of 64 buckets, where a tick is 2^20 ns and a bucket of level l spans 64^l ticks. A block sits on
 * the lowest level whose 64 buckets reach its tick, and moves down as time comes near (Varghese and
 * Lauck, SOSP 1987).
 *
 * So arming an entry writes its lane, and moves its block only when it is the first to expire there.
 * Nothing is ever cancelled: when a block's tick has come its lanes are read again, and the table says
 * which of those that are due belong to an entry. Each lane is looked at for nothing at most once each
 * time it was written. Memory is what init was given, whatever the entries do.
 *
 * Ticks are 44 bits, and compare as 32. What expires more than 2^29 ticks (six days) ahead is far: its lane
 * has the high bits of its tick, and until it comes near its slot's expiry is a tick at which it is still
 * fresh, of which the low bits are the missing ones.
 */
#ifndef DLOAD_I_WHEEL_H
#define DLOAD_I_WHEEL_H

#define DLOAD_I_TICK_SHIFT   20u /* ns to ticks */
#define DLOAD_I_WHEEL_LEVELS 5u
#define DLOAD_I_WHEEL_ROUND  (UINT32_C(1) << 29)          /* ticks: the longest step of time */
#define DLOAD_I_WHEEL_TODO   (DLOAD_I_WHEEL_LEVELS * 64u) /* the bucket of what time has come to */
#define DLOAD_I_WHEEL_LANES  16u                          /* slots a block */
#define DLOAD_I_FAR_SHIFT    13u /* bits of its tick that a far lane lacks */
#define DLOAD_I_NO_BLOCK     UINT32_MAX
#define DLOAD_I_LIST_END     (UINT32_C(1) << 31) /* | bucket: nothing comes after */

typedef struct dload_i_wheel_block {
    uint32_t tick; /* none of its lanes expires before it */
    uint32_t next; /* block, or DLOAD_I_LIST_END | bucket; DLOAD_I_NO_BLOCK = not on the wheel */
    uint32_t prev; /* block; of a bucket's first one, the last */
} dload_i_wheel_block;

/* A lane is 0 when nothing expires; with bit 0, the tick's low 31 bits; without, and then it is not 0,
 * the tick's bits from DLOAD_I_FAR_SHIFT on. */
typedef struct dload_i_wheel {
    uint64_t
        now; /* tick everything is measured from; written relaxed, for readers without a lock */
    uint32_t n_on;   /* blocks on the wheel */
    uint32_t *lanes; /* by slot */
    dload_i_wheel_block *blocks;
    uint64_t used[DLOAD_I_WHEEL_LEVELS];            /* bit b: bucket b is not empty */
    uint32_t first[DLOAD_I_WHEEL_LEVELS * 64u + 1]; /* block; the last bucket is _TODO */
} dload_i_wheel;

/* ---- sizes ---- */

DLOAD_I_INLINE size_t dload_i_wheel_blocks_for(size_t n_slots)
{
    return (n_slots + DLOAD_I_WHEEL_LANES - 1) / DLOAD_I_WHEEL_LANES;
}

/* blocks has room for dload_i_wheel_blocks_for(n_slots); lanes has as many lines of zeros. */
DLOAD_I_LOCAL void dload_i_wheel_init(dload_i_wheel *w, size_t n_slots, uint64_t now)
{
    w->now = now;
    w->n_on = 0;
    memset(w->used, 0, sizeof w->used);
    for (uint32_t i = 0; i <= DLOAD_I_WHEEL_TODO; i++)
        w->first[i] = DLOAD_I_NO_BLOCK;
    for (size_t i = 0; i < dload_i_wheel_blocks_for(n_slots); i++)
        w->blocks[i].next = DLOAD_I_NO_BLOCK;
}

/* ---- blocks in buckets ---- */

/* The lowest level on which tick, which is ahead of now, is fewer than 64 buckets ahead; its bucket there. */
DLOAD_I_INLINE uint32_t dload_i_wheel_bucket(uint32_t now, uint32_t tick)
{
    uint32_t level = 0;
    uint32_t shift = 0;
    for (uint32_t ahead = tick - now; ahead >= 64; ahead >>= 6) {
        level++;
        shift += 6;
    }
    if ((((tick >> shift) - (now >> shift)) & (UINT32_MAX >> shift)) >=
        64) { /* by what was cut off */
        level++;
        shift += 6;
    }
    return level * 64 + ((tick >> shift) & 63u);
}

/* Puts a block that is not on the wheel there, for tick. */
DLOAD_I_INLINE void dload_i_wheel_link(dload_i_wheel *w, uint32_t block, uint32_t tick)
{
    uint32_t now = (uint32_t)w->now;
    uint32_t bucket = DLOAD_I_WHEEL_TODO;
    if ((int32_t)(tick - now) > 0) {
        bucket = dload_i_wheel_bucket(now, tick);
        w->used[bucket / 64] |= UINT64_C(1) << (bucket % 64);
    }
    dload_i_wheel_block *b = &w->blocks[block];
    uint32_t first = w->first[bucket];
    b->tick = tick;
    if (first == DLOAD_I_NO_BLOCK) {
        b->prev = block;
        b->next = DLOAD_I_LIST_END | bucket;
    } else {
        b->prev = w->blocks[first].prev;
        b->next = first;
        w->blocks[first].prev = block;
    }
    w->first[bucket] = block;
    w->n_on++;
}

/* Takes the first block of _TODO from the wheel. */
DLOAD_I_INLINE void dload_i_wheel_pop(dload_i_wheel *w, uint32_t block)
{
    dload_i_wheel_block *b = &w->blocks[block];
    bool is_last = (b->next & DLOAD_I_LIST_END) != 0;
    w->first[DLOAD_I_WHEEL_TODO] = is_last ? DLOAD_I_NO_BLOCK : b->next;
    if (!is_last)
        w->blocks[b->next].prev = b->prev;
    b->next = DLOAD_I_NO_BLOCK;
    w->n_on--;
}

DLOAD_I_LOCAL void dload_i_wheel_unlink(dload_i_wheel *w, uint32_t block)
{
    dload_i_wheel_block *b = &w->blocks[block];
    dload_i_wheel_block *before = &w->blocks[b->prev];
    bool is_last = (b->next & DLOAD_I_LIST_END) != 0;
    w->n_on--;
    if ((before->next & DLOAD_I_LIST_END) != 0) { /* it is the first: before is the last */
        uint32_t bucket = before->next & ~DLOAD_I_LIST_END;
        w->first[bucket] = is_last ? DLOAD_I_NO_BLOCK : b->next;
        if (!is_last)
            w->blocks[b->next].prev = b->prev;
        else if (bucket < DLOAD_I_WHEEL_TODO)
            w->used[bucket / 64] &= ~(UINT64_C(1) << (bucket % 64));
    } else {
        before->next = b->next;
        uint32_t after = is_last ? w->first[b->next & ~DLOAD_I_LIST_END] : b->next;
        w->blocks[after].prev = b->prev;
    }
    b->next = DLOAD_I_NO_BLOCK;
}

/* All blocks of a bucket that has some go to the end of _TODO. */
DLOAD_I_LOCAL void dload_i_wheel_detach(dload_i_wheel *w, uint32_t bucket)
{
    uint32_t first = w->first[bucket];
    uint32_t last = w->blocks[first].prev;
    uint32_t head = w->first[DLOAD_I_WHEEL_TODO];
    w->blocks[last].next = DLOAD_I_LIST_END | DLOAD_I_WHEEL_TODO;
    if (head == DLOAD_I_NO_BLOCK) {
        w->first[DLOAD_I_WHEEL_TODO] = first;
    } else {
        w->blocks[w->blocks[head].prev].next = first;
        w->blocks[first].prev = w->blocks[head].prev;
        w->blocks[head].prev = last;
    }
    w->first[bucket] = DLOAD_I_NO_BLOCK;
    w->used[bucket / 64] &= ~(UINT64_C(1) << (bucket % 64));
}

/* ---- entries ---- */

/* Arms the slot for end, a tick of which at most 44 bits are used, whatever it was armed for before. Returns
 * what the slot's expiry is to be: the low bits of a tick at which it has expired if it is near, and before
 * which it is fresh in any case, as seen within a round from the wheel's time. */
DLOAD_I_NOINLINE uint32_t dload_i_wheel_arm_any(dload_i_wheel *w, uint32_t slot, uint64_t end)
{
    const uint64_t low = (UINT64_C(1) << DLOAD_I_FAR_SHIFT) - 1;
    uint32_t block = slot / DLOAD_I_WHEEL_LANES;
    uint64_t tick = end > w->now ? end : w->now;
    if (DLOAD_I_LIKELY(tick - w->now <= DLOAD_I_WHEEL_ROUND + low)) {
        w->lanes[slot] = (uint32_t)(tick << 1 | 1);
    } else {
        w->lanes[slot] = (uint32_t)(end >> DLOAD_I_FAR_SHIFT << 1);
        tick = ((w->now + DLOAD_I_WHEEL_ROUND) & ~low) | (end & low);
    }
    if (w->blocks[block].next != DLOAD_I_NO_BLOCK) {
        if (DLOAD_I_LIKELY((int32_t)((uint32_t)tick - w->blocks[block].tick) >= 0))
            return (uint32_t)tick;
        dload_i_wheel_unlink(w, block);
    }
    dload_i_wheel_link(w, block, (uint32_t)tick);
    return (uint32_t)tick;
}

/* The same; most of the time the block is on the wheel for an earlier tick. */
DLOAD_I_INLINE uint32_t dload_i_wheel_arm(dload_i_wheel *w, uint32_t slot, uint64_t end)
{
    const dload_i_wheel_block *b = &w->blocks[slot / DLOAD_I_WHEEL_LANES];
    if (DLOAD_I_UNLIKELY(b->next == DLOAD_I_NO_BLOCK || end - w->now > DLOAD_I_WHEEL_ROUND ||
                         (int32_t)((uint32_t)end - b->tick) < 0))
        return dload_i_wheel_arm_any(w, slot, end);
    w->lanes[slot] = (uint32_t)(end << 1 | 1);
    return (uint32_t)end;
}

/* The slot's lane is of no entry: it will not be asked for again. */
DLOAD_I_INLINE void dload_i_wheel_forget(dload_i_wheel *w, uint32_t slot)
{
    w->lanes[slot] = 0;
}

/* The tick for which the slot was armed, exactly, or the one at which that had passed already. */
DLOAD_I_INLINE uint64_t dload_i_wheel_end(const dload_i_wheel *w, uint32_t slot, uint32_t expiry)
{
    const uint32_t low = (UINT32_C(1) << DLOAD_I_FAR_SHIFT) - 1;
    uint32_t lane = w->lanes[slot];
    if ((lane & 1) == 0 && lane != 0)
        return (uint64_t)(lane >> 1) << DLOAD_I_FAR_SHIFT | (expiry & low);
    return w->now + (uint64_t)(int64_t)(int32_t)(expiry - (uint32_t)w->now);
}

/* ---- time ---- */

/* Which of a level's buckets time passes over on its way from now to tick. */
DLOAD_I_LOCAL uint64_t dload_i_wheel_passed(uint32_t level, uint32_t now, uint32_t tick)
{
    uint32_t shift = level * 6;
    uint32_t from = now >> shift;
    uint32_t steps = ((tick >> shift) - from) & (UINT32_MAX >> shift);
    if (steps >= 64)
        return UINT64_MAX;
    if (steps == 0)
        return 0;
    uint64_t run = (UINT64_C(1) << steps) - 1;
    uint32_t turn = (from + 1) & 63u;
    return turn == 0 ? run : (run << turn) | (run >> (64 - turn));
}

DLOAD_I_INLINE bool dload_i_wheel_idle(const dload_i_wheel *w)
{
    return w->first[DLOAD_I_WHEEL_TODO] == DLOAD_I_NO_BLOCK;
}

/* Moves time towards tick, by at most one round, and everything it passes to what is to be looked at; a
 * tick in the past is ignored. True when there is further to go: once the looks are done, call again. Only
 * when the wheel is idle. O(levels + buckets passed). */
DLOAD_I_NOINLINE bool dload_i_wheel_turn(dload_i_wheel *w, uint64_t tick)
{
    if (tick <= w->now)
        return false;
    uint64_t to = tick;
    if (w->n_on != 0 && tick - w->now > DLOAD_I_WHEEL_ROUND)
        to = w->now + DLOAD_I_WHEEL_ROUND; /* ticks compare as 32-bit numbers: no longer steps */
    for (uint32_t level = 0; level < DLOAD_I_WHEEL_LEVELS; level++) {
        uint64_t due = w->used[level];
        if (due != 0)
            due &= dload_i_wheel_passed(level, (uint32_t)w->now, (uint32_t)to);
        while (due != 0) {
            dload_i_wheel_detach(w, level * 64 + dload_i_ctz64(due));
            due &= due - 1;
        }
    }
    DLOAD_I_STORE_RELAXED(&w->now, to);
    return to != tick;
}

/* Reads a block's lanes: a bit for each that is due or far, and in *ahead how many ticks ahead the first of
 * the others is, 0 when there is none. */
#if DLOAD_I_SSE2

/* The smaller numbers of two vectors. */
DLOAD_I_INLINE __m128i dload_i_wheel_min(__m128i a, __m128i b)
{
    __m128i less = _mm_cmpgt_epi32(a, b);
    return _mm_or_si128(_mm_and_si128(less, b), _mm_andnot_si128(less, a));
}

/* Four lanes: which need no look; and *key orders those that are due later by their distance, as signed
 * numbers, with INT32_MAX for the others. */
DLOAD_I_INLINE __m128i dload_i_wheel_four(const uint32_t *lanes, __m128i now_lane, __m128i *key)
{
    __m128i lane = _mm_load_si128((const __m128i *)(const void *)lanes);
    __m128i gap = _mm_sub_epi32(lane, now_lane);
    __m128i is_near = _mm_srai_epi32(_mm_slli_epi32(lane, 31), 31);
    __m128i later = _mm_and_si128(_mm_cmpgt_epi32(gap, _mm_setzero_si128()), is_near);
    *key = _mm_add_epi32(_mm_and_si128(gap, later), _mm_set1_epi32(INT32_MAX));
    return _mm_or_si128(later, _mm_cmpeq_epi32(lane, _mm_setzero_si128()));
}

DLOAD_I_INLINE uint32_t dload_i_wheel_read(const uint32_t *lanes, uint32_t now, uint32_t *ahead)
{
    const __m128i now_lane = _mm_set1_epi32((int32_t)(now << 1 | 1));
    __m128i key[4];
    __m128i a = dload_i_wheel_four(lanes, now_lane, &key[0]);
    __m128i b = dload_i_wheel_four(lanes + 4, now_lane, &key[1]);
    __m128i c = dload_i_wheel_four(lanes + 8, now_lane, &key[2]);
    __m128i d = dload_i_wheel_four(lanes + 12, now_lane, &key[3]);
    __m128i others = _mm_packs_epi16(_mm_packs_epi32(a, b), _mm_packs_epi32(c, d));
    __m128i least =
        dload_i_wheel_min(dload_i_wheel_min(key[0], key[1]), dload_i_wheel_min(key[2], key[3]));
    least = dload_i_wheel_min(least, _mm_shuffle_epi32(least, 0x4e));
    least = dload_i_wheel_min(least, _mm_shuffle_epi32(least, 0xb1));
    *ahead = ((uint32_t)_mm_cvtsi128_si32(least) - (uint32_t)INT32_MAX) / 2;
    return (uint32_t)_mm_movemask_epi8(others) ^ 0xffffu;
}

#else

DLOAD_I_INLINE uint32_t dload_i_wheel_read(const uint32_t *lanes, uint32_t now, uint32_t *ahead)
{
    uint32_t looks = 0;
    uint32_t least = UINT32_MAX;
    for (uint32_t i = 0; i < DLOAD_I_WHEEL_LANES; i++) {
        uint32_t lane = lanes[i];
        uint32_t gap = lane - (now << 1 | 1);
        bool later = (int32_t)gap > 0 && (lane & 1) != 0;
        looks |= (uint32_t)(!later && lane != 0) << i;
        least = later && gap < least ? gap : least;
    }
    *ahead = least == UINT32_MAX ? 0 : least / 2;
    return looks;
}

#endif

/* The next slots to look at: a bit each from *first on, or 0 when there is none within *budget looks, each of
 * which lowers it. Who gives a whole block's worth gets further. The caller asks for the end of each slot,
 * and before the next call forgets it or, when that has not come yet, arms it again. */
DLOAD_I_NOINLINE uint32_t dload_i_wheel_next(dload_i_wheel *w, uint32_t *budget, uint32_t *first)
{
    uint32_t now = (uint32_t)w->now;
    while (*budget > 0 && !dload_i_wheel_idle(w)) {
        uint32_t block = w->first[DLOAD_I_WHEEL_TODO];
        const dload_i_wheel_block *b = &w->blocks[block];
        if ((b->next & DLOAD_I_LIST_END) == 0)
            DLOAD_I_PREFETCH(w->lanes + (size_t)b->next * DLOAD_I_WHEEL_LANES);
        (*budget)--;
        if ((int32_t)(b->tick - now) > 0) { /* to a lower level */
            dload_i_wheel_pop(w, block);
            dload_i_wheel_link(w, block, b->tick);
            continue;
        }
        *first = block * DLOAD_I_WHEEL_LANES;
        uint32_t ahead = 0;
        uint32_t looks = dload_i_wheel_read(w->lanes + *first, now, &ahead);
        for (uint32_t rest = looks & (looks - 1); rest != 0; rest &= rest - 1) {
            if (*budget == 0)
                return 0; /* the block is looked at all at once, the next time */
            (*budget)--;
        }
        dload_i_wheel_pop(w, block);
        if (ahead != 0)
            dload_i_wheel_link(w, block, now + ahead);
        if (looks != 0)
            return looks;
    }
    return 0;
}

#endif /* DLOAD_I_WHEEL_H */

/* ==== runtime/chance.h ==== */

/* >>chance -- logarithms of random numbers, without floating point. */
#ifndef DLOAD_I_CHANCE_H
#define DLOAD_I_CHANCE_H

/* -ln(r / 2^64) in 1/65536ths; 0 counts as 1. Leading zeros are the whole part of -log2, and a parabola
 * through the rest is within 0.01 of it. */
DLOAD_I_LOCAL uint32_t dload_i_neg_ln(uint64_t r)
{
    uint32_t zeros = 0;
    r = r != 0 ? r : 1;
    for (uint32_t step = 32; step != 0; step /= 2) {
        if (r >> (64 - step) == 0) {
            r <<= step;
            zeros += step;
        }
    }
    uint64_t f = (r >> 47) & 0xffff; /* r is 2^63 * (1 + f / 65536) */
    uint64_t log2_f = f + f * (65536 - f) / 65536 * 22545 / 65536;
    uint64_t neg_log2 = (uint64_t)(zeros + 1) * 65536 - log2_f;
    return (uint32_t)(neg_log2 * 45426 / 65536); /* ln 2 */
}

#endif /* DLOAD_I_CHANCE_H */

/* ==== runtime/stats.h ==== */

/* >>stats -- what a loader counts, who may watch it, and its counters as Prometheus text. */
#ifndef DLOAD_I_STATS_H
#define DLOAD_I_STATS_H

/* Why a batch went. */
typedef enum dload_trigger {
    DLOAD_BY_SIZE = 0,     /* max_batch keys */
    DLOAD_BY_SETTLE = 1,   /* no new key for settle_ns */
    DLOAD_BY_AGE = 2,      /* the oldest key waited max_age_ns */
    DLOAD_BY_EXPLICIT = 3, /* _dispatch */
    DLOAD_BY_EXPECT = 4,   /* the last of the keys that _expect announced */
    DLOAD_BY_IDLE = 5,     /* its callers had nothing else to wait for */
    DLOAD_BY_CLOSE = 6,    /* _close(DLOAD_DRAIN) */
    DLOAD_N_TRIGGERS = 7
} dload_trigger;

/* Counters since _init. Once a loader is quiet, loads = hits + joins + misses. */
typedef struct dload_stats {
    uint64_t loads;           /* keys asked for */
    uint64_t hits;            /* answered from the cache, cached errors included */
    uint64_t joins;           /* found in a batch that somebody else had asked for */
    uint64_t misses;          /* put into a batch */
    uint64_t stale_hits;      /* hits of values past their TTL: DLOAD_STALE */
    uint64_t refreshes;       /* misses of keys that had a value all the same, old or soon to be */
    uint64_t served_on_error; /* requests that got an old value because the fetch failed */
    uint64_t batches;         /* calls of the fetch function, or batches that a store answered */
    uint64_t keys;            /* keys in them */
    uint64_t largest_batch;   /* keys in the largest */
    uint64_t fetch_errors;    /* keys that ended with an error other than MISSING */
    uint64_t stores;          /* answers cached */
    uint64_t store_skipped;   /* values delivered but not cached: no room, or no memory */
    uint64_t evictions;       /* entries removed to make room */
    uint64_t expired;         /* entries removed because their TTL passed */
    uint64_t cleared_in_flight; /* answers cached nowhere, because of a clear during the fetch */
    uint64_t abandoned;         /* batches given up at run_limit_ns or by _close */
    uint64_t late_answers;      /* answers to batches already given up */
    uint64_t timeouts;          /* blocking calls that left at their deadline */
    uint64_t cancelled;         /* requests withdrawn by _cancel */
    uint64_t by_trigger[DLOAD_N_TRIGGERS]; /* batches, by why they went */
    uint64_t entries;                      /* in the cache now */
    uint64_t pinned;                       /* of these, entries that the policy leaves alone */
    uint64_t weight;                       /* of all entries; 0 without DLOAD_WEIGHT */
    uint64_t
        long_probes; /* entries whose place was over 32 groups (1,024 slots) from where their keys' hashes
                           * want them; keys that nobody chose yield none: see DLOAD_HASH_SIP */
    /* With config.store, otherwise 0; batches and keys count what the store answered, too. */
    uint64_t store_hits;   /* keys that the store answered */
    uint64_t store_misses; /* keys that it was asked for and did not answer, whatever the reason */
    uint64_t
        store_bypassed; /* keys that it was not asked for: DLOAD_FRESH, or a clear it has not heard */
    uint64_t store_errors;  /* requests, or single keys of them, that failed */
    uint64_t store_refused; /* values that were damaged, too old, or of another layout */
    uint64_t store_writes;  /* answers stored */
    uint64_t store_deletes; /* clears acknowledged */
    uint64_t store_unsent;  /* clears not acknowledged yet */
    uint64_t leases_waited; /* keys that somebody else was fetching */
    uint64_t
        leases_lost; /* answers not stored, because their lease was over: expired, or cleared */
    /* With config.locks, otherwise 0. */
    uint64_t locks_taken;  /* named locks */
    uint64_t locks_missed; /* ... that were not to be had, or not in time: the batch went without */
    uint64_t locks_lost;   /* ... that were not ours any more when the function was through */
    uint64_t too_heavy;    /* values that were over a shard's share of config.max_weight */
} dload_stats;

/* Observers, each NULL or called with no lock held, from the thread that caused it; they may call any
 * function of any loader. */
typedef struct dload_hooks {
    void (*queued)(void *ctx); /* the open batch got its first key; a scheduler may _dispatch */
    void (*batch_start)(void *ctx, size_t n_keys, dload_trigger why);
    void (*batch_end)(void *ctx, size_t n_keys, dload_status status, uint64_t run_ns);
    void *ctx;
} dload_hooks;

/* ---- text ---- */

typedef struct dload_i_text {
    char *buf;
    size_t cap_bytes;
    size_t n_bytes;
} dload_i_text;

DLOAD_I_LOCAL void dload_i_text_put(dload_i_text *t, const char *s)
{
    for (; *s != '\0'; s++) {
        if (t->n_bytes + 1 < t->cap_bytes)
            t->buf[t->n_bytes] = *s;
        t->n_bytes++;
    }
}

DLOAD_I_LOCAL void dload_i_text_u64(dload_i_text *t, uint64_t v)
{
    char digits[21];
    size_t at = sizeof digits - 1;
    digits[at] = '\0';
    do {
        digits[--at] = (char)('0' + (char)(v % 10));
        v /= 10;
    } while (v != 0);
    dload_i_text_put(t, digits + at);
}

/* A label value: backslash, quote and newline are escaped as the format asks. */
DLOAD_I_LOCAL void dload_i_text_label(dload_i_text *t, const char *s)
{
    for (; *s != '\0'; s++) {
        char one[3] = {*s, '\0', '\0'};
        if (*s == '\\' || *s == '"' || *s == '\n') {
            one[0] = '\\';
            one[1] = *s == '\n' ? 'n' : *s;
        }
        dload_i_text_put(t, one);
    }
}

DLOAD_I_LOCAL void dload_i_text_metric(dload_i_text *t, const char *metric, const char *type,
                                       const char *loader, uint64_t value)
{
    dload_i_text_put(t, "# TYPE dataloader_");
    dload_i_text_put(t, metric);
    dload_i_text_put(t, type);
    dload_i_text_put(t, "dataloader_");
    dload_i_text_put(t, metric);
    dload_i_text_put(t, "{loader=\"");
    dload_i_text_label(t, loader);
    dload_i_text_put(t, "\"} ");
    dload_i_text_u64(t, value);
    dload_i_text_put(t, "\n");
}

/* Writes the counters in Prometheus' text format, labelled loader="name", NUL-terminated.
 * *n_bytes (may be NULL) is the length of the whole text. DLOAD_OK; DLOAD_ETOOBIG when it was longer
 * than cap_bytes - 1, and then it is cut. buf may be NULL when cap_bytes is 0. */
DLOAD_I_LOCAL dload_status dload_stats_prometheus(const dload_stats *stats, const char *name,
                                                  char *buf, size_t cap_bytes, size_t *n_bytes)
{
    static const char *const triggers[DLOAD_N_TRIGGERS] = {"size",   "settle", "age",  "explicit",
                                                           "expect", "idle",   "close"};
    static const char counter[] = " counter\n";
    static const char gauge[] = " gauge\n";
    dload_i_text t;
    t.buf = buf;
    t.cap_bytes = cap_bytes;
    t.n_bytes = 0;
    dload_i_text_metric(&t, "loads_total", counter, name, stats->loads);
    dload_i_text_metric(&t, "hits_total", counter, name, stats->hits);
    dload_i_text_metric(&t, "joins_total", counter, name, stats->joins);
    dload_i_text_metric(&t, "misses_total", counter, name, stats->misses);
    dload_i_text_metric(&t, "stale_hits_total", counter, name, stats->stale_hits);
    dload_i_text_metric(&t, "refreshes_total", counter, name, stats->refreshes);
    dload_i_text_metric(&t, "served_on_error_total", counter, name, stats->served_on_error);
    dload_i_text_metric(&t, "keys_total", counter, name, stats->keys);
    dload_i_text_metric(&t, "largest_batch_keys", gauge, name, stats->largest_batch);
    dload_i_text_metric(&t, "fetch_errors_total", counter, name, stats->fetch_errors);
    dload_i_text_metric(&t, "stores_total", counter, name, stats->stores);
    dload_i_text_metric(&t, "stores_skipped_total", counter, name, stats->store_skipped);
    dload_i_text_metric(&t, "evictions_total", counter, name, stats->evictions);
    dload_i_text_metric(&t, "expired_total", counter, name, stats->expired);
    dload_i_text_metric(&t, "cleared_in_flight_total", counter, name, stats->cleared_in_flight);
    dload_i_text_metric(&t, "abandoned_total", counter, name, stats->abandoned);
    dload_i_text_metric(&t, "late_answers_total", counter, name, stats->late_answers);
    dload_i_text_metric(&t, "timeouts_total", counter, name, stats->timeouts);
    dload_i_text_metric(&t, "cancelled_total", counter, name, stats->cancelled);
    dload_i_text_metric(&t, "entries", gauge, name, stats->entries);
    dload_i_text_metric(&t, "pinned_entries", gauge, name, stats->pinned);
    dload_i_text_metric(&t, "weight", gauge, name, stats->weight);
    dload_i_text_metric(&t, "long_probes_total", counter, name, stats->long_probes);
    dload_i_text_metric(&t, "too_heavy_total", counter, name, stats->too_heavy);
    dload_i_text_metric(&t, "store_hits_total", counter, name, stats->store_hits);
    dload_i_text_metric(&t, "store_misses_total", counter, name, stats->store_misses);
    dload_i_text_metric(&t, "store_bypassed_total", counter, name, stats->store_bypassed);
    dload_i_text_metric(&t, "store_errors_total", counter, name, stats->store_errors);
    dload_i_text_metric(&t, "store_refused_total", counter, name, stats->store_refused);
    dload_i_text_metric(&t, "store_writes_total", counter, name, stats->store_writes);
    dload_i_text_metric(&t, "store_deletes_total", counter, name, stats->store_deletes);
    dload_i_text_metric(&t, "store_unsent", gauge, name, stats->store_unsent);
    dload_i_text_metric(&t, "leases_waited_total", counter, name, stats->leases_waited);
    dload_i_text_metric(&t, "leases_lost_total", counter, name, stats->leases_lost);
    dload_i_text_metric(&t, "locks_taken_total", counter, name, stats->locks_taken);
    dload_i_text_metric(&t, "locks_missed_total", counter, name, stats->locks_missed);
    dload_i_text_metric(&t, "locks_lost_total", counter, name, stats->locks_lost);
    dload_i_text_put(&t, "# TYPE dataloader_batches_total counter\n");
    for (size_t i = 0; i < DLOAD_N_TRIGGERS; i++) {
        dload_i_text_put(&t, "dataloader_batches_total{loader=\"");
        dload_i_text_label(&t, name);
        dload_i_text_put(&t, "\",trigger=\"");
        dload_i_text_put(&t, triggers[i]);
        dload_i_text_put(&t, "\"} ");
        dload_i_text_u64(&t, stats->by_trigger[i]);
        dload_i_text_put(&t, "\n");
    }
    if (cap_bytes != 0)
        buf[t.n_bytes < cap_bytes ? t.n_bytes : cap_bytes - 1] = '\0';
    if (n_bytes != NULL)
        *n_bytes = t.n_bytes;
    return t.n_bytes < cap_bytes ? DLOAD_OK : DLOAD_ETOOBIG;
}

#endif /* DLOAD_I_STATS_H */

/* ==== runtime/flight.h ==== */

/* >>flight -- the records of the batch core: waiters, flights, batches, and the index of flights.
 *
 * A flight is one key on its way: a place in a batch. A waiter is one request for it. None of these
 * knows the key's type: keys and values lie in arrays of the typed batch, by the same place, and the
 * typed half joins the two through dload_i_ops.
 *
 *     OPEN     collects keys, one batch a group    core.open
 *     QUEUED   complete, waits for its turn        core.queue
 *     RUNNING  with the fetch function, or pending core.running
 *     LOST     given up; its function still has it core.n_out only
 */
#ifndef DLOAD_I_FLIGHT_H
#define DLOAD_I_FLIGHT_H

#define DLOAD_I_OPEN    1
#define DLOAD_I_QUEUED  2
#define DLOAD_I_RUNNING 3
#define DLOAD_I_LOST    4

struct dload_i_batch;
struct dload_i_core;
struct dload_i_publishing;
struct dload_i_ready;
struct dload_registry;

/* One request. Lives on the stack of a blocking call, in the core's pool, or in the caller's waiter. A call
 * for many keys has one for all places of a batch that it opened (many), and one for every key that was in
 * flight already. */
typedef struct dload_i_waiter {
    struct dload_i_waiter *next,
        *prev;                   /* same flight; next also links what is ready to be called */
    struct dload_i_batch *batch; /* NULL = not waiting */
    uint32_t place; /* of the key in the batch; with many, how many places wait for it */
    int32_t status;
    void *out;              /* where the value goes; NULL = nowhere */
    bool source_only;       /* takes no old value when the fetch fails: DLOAD_FRESH */
    bool many;              /* in no flight's list; out and position are those of its first key */
    dload_i_parker *parker; /* who sleeps; NULL = call back */
    struct dload_i_waiter *sib; /* the same call's next request */
    size_t position;            /* in the arrays of that call */
} dload_i_waiter;

/* One key on its way. */
typedef struct dload_i_flight {
    dload_i_waiter *many;        /* who opened it, when that was a call for many keys */
    dload_i_waiter *head, *tail; /* who else waits, in the order of asking */
    uint64_t hash;
    uint64_t ttl_ns; /* how long the answer is kept; DLOAD_I_TTL_DEFAULT = as the loader's values */
    int32_t status;  /* the answer */
    uint8_t answered;   /* there is one */
    uint8_t published;  /* stored and delivered */
    uint8_t detached;   /* cleared since it was sent: out of the index, to be cached nowhere */
    uint8_t dead;       /* nobody wants it any more and it was not sent */
    uint8_t holds;      /* the value at its place is ours to release */
    uint8_t kept;       /* with an error: an old value at its place, 1 past its TTL, 2 not */
    uint8_t second;     /* DLOAD_I_SECOND_ bits */
    uint32_t next_held; /* chain of places to release, + 1; see dload_i_ready */
    uint32_t at;        /* in the arrays of many's call, counted from its first key */
} dload_i_flight;

#define DLOAD_I_TTL_DEFAULT (DLOAD_NEVER - 1)

#define DLOAD_I_SECOND_FRESH 1u  /* the source's answer is wanted: the store is not asked */
#define DLOAD_I_SECOND_HIT   2u  /* the store answered */
#define DLOAD_I_SECOND_KEPT  4u  /* a copy of the value waits to be stored */
#define DLOAD_I_SECOND_BUSY  8u  /* somebody else has the lease */
#define DLOAD_I_SECOND_MINE  16u /* the lease is the batch's */
#define DLOAD_I_SECOND_GIVEN 32u /* ... and a value was sent to end it */
#define DLOAD_I_SECOND_OVER  64u /* the function is through with it */

/* The type-free part of a batch. */
typedef struct dload_i_batch {
    struct dload_i_batch *next; /* open list, queue, running list or free list */
    struct dload_i_batch *prev; /* open list */
    uint64_t group;             /* of all its keys */
    dload_i_flight *flights;
    uint32_t n, cap; /* places in use, and there */
    uint32_t n_dead;
    uint32_t n_published;
    uint32_t n_detached;
    uint32_t n_waiters;
    uint32_t n_calls; /* blocking calls that wait for it, as far as told apart */
    uint8_t state;
    uint8_t in_fetch; /* the function has not returned */
    uint8_t done;     /* _batch_done came before the function returned */
    uint8_t why;      /* dload_trigger */
    uint8_t lingered; /* its leader hoped for more callers than the n_calls_before */
    uint8_t timed;    /* its leader's sleep ends when it is due */
    uint8_t goes;     /* a crew's round found it open; see crew.h */
    uint8_t unwanted; /* ended while somebody was settling up for it */
    uint32_t n_users; /* those who are */
    uint32_t n_calls_before;
    uint32_t n_calls_seen; /* when last_key_ns was set, without a settle time */
    int32_t done_status;
    uint64_t opened_ns, last_key_ns, started_ns, ended_ns; /* ended: the last answers came */
    uint64_t rest_ttl_ns;      /* how long the answer of the keys not answered is kept */
    uint64_t token;            /* clear_seq when it was sent */
    uint64_t runner;           /* env->self() of who runs it */
    dload_i_parker *nested;    /* where its function waits for other batches; see nest.h */
    dload_i_parker *leader;    /* the sleeper that will send it when it is due */
    dload_i_parker *last_call; /* who asked last */
} dload_i_batch;

/* An entry of the index: a hash and where the flight is. Where there are groups, their open batches are
 * in it as well, by the group's mark. */
typedef struct dload_i_ref {
    dload_i_batch *batch; /* NULL = free */
    uint32_t hash;
    uint32_t place; /* DLOAD_I_OPEN_PLACE = the batch itself */
} dload_i_ref;

#define DLOAD_I_OPEN_PLACE UINT32_MAX

/* What the typed half does for the core. Under the mutex but for run, release and call. */
typedef struct dload_i_ops {
    dload_i_batch *(*make)(void *owner);                        /* an empty batch, or NULL */
    void (*unmake)(void *owner, dload_i_batch *b);              /* ... and its end */
    bool (*grow)(void *owner, dload_i_batch *b, uint32_t cap);  /* more places */
    void (*move)(dload_i_batch *b, uint32_t to, uint32_t from); /* a key changes place */
    void (*forget)(void *owner, dload_i_batch *b, uint32_t i);  /* a key's bytes; NULL = none */
    dload_status (*run)(void *owner, dload_i_batch *b);         /* the fetch function */
    /* dload_i_publish_each, with a dload_i_typed of constants */
    void (*publish)(struct dload_i_core *c, dload_i_batch *b, const struct dload_i_publishing *how,
                    struct dload_i_ready *ready);
    void (*release)(dload_i_batch *b, uint32_t i); /* an owned value; NULL = plain */
    void (*call)(dload_i_waiter *w);               /* done() */
    uint64_t (*mark)(const void *owner,
                     uint64_t group); /* a group's, with a secret; NULL = without */
} dload_i_ops;

#define DLOAD_I_CLEAR_SLOTS     64u
#define DLOAD_I_WAITERS_A_BLOCK 64u

typedef struct dload_i_waiter_block {
    struct dload_i_waiter_block *next;
    dload_i_waiter waiters[DLOAD_I_WAITERS_A_BLOCK];
} dload_i_waiter_block;

/* The batch core of one loader. */
typedef struct dload_i_core {
    const dload_i_ops *ops;
    const dload_i_sync *sync;
    const dload_env *env;
    const dload_hooks *hooks;
    void *owner; /* the typed loader */
    void *mutex;
    uint32_t max_batch, max_in_flight, max_queue;
    uint64_t settle_ns, max_age_ns, run_limit_ns;
    const uint32_t
        *fork_now; /* with a lock: the process's epoch, and the one the loader was made in */
    uint32_t fork_epoch;
    bool threaded;   /* callers wait for each other */
    bool bounded;    /* max_in_flight bounds blocking calls, too: there may be others */
    bool grouped;    /* keys have groups; otherwise there is one open batch at most */
    bool queue_wait; /* at the queue's bound blocking calls wait */
    bool closed;
    bool tell_queued;     /* the hook is to be told of a new open batch */
    bool tell_wake;       /* the loop is to be told that there is something to do */
    uint32_t company;     /* > 0: recent batches had several callers, so lingering pays */
    uint32_t n_callers;   /* blocking calls that wait now */
    uint32_t peak;        /* ... at most, since a batch ended */
    uint32_t crowd;       /* ... as many as lately waited side by side; see pace.h */
    uint64_t fetch_ns;    /* what a batch lately took; 0 = not known yet */
    uint64_t ended_ns;    /* when the last one ended */
    uint32_t expect;      /* keys announced for the open batches; 0 = none */
    uint32_t n_open_keys; /* in them, those that nobody wants left out */
    dload_i_batch *open, *open_tail; /* oldest first */
    dload_i_batch *queue, *queue_tail;
    dload_i_batch *running;
    dload_i_batch *free_;
    uint32_t n_running; /* RUNNING: what max_in_flight bounds */
    uint32_t n_out;     /* RUNNING, LOST and in the batch_end hook: what _destroy waits for */
    uint32_t n_calling; /* threads in callbacks of a batch, which keep no place of its own busy */
    uint32_t n_flights; /* keys in batches, not published */
    dload_i_ref *refs;
    uint32_t n_refs, refs_cap; /* cap is 2^n or 0 */
    dload_i_waiter *free_waiters;
    dload_i_waiter_block *waiter_blocks;
    struct dload_i_core *next_in_registry;
    struct dload_registry *registry;
    dload_i_parker *owed;             /* answered, and to be woken once the mutex is free */
    dload_i_parker *line, *line_tail; /* blocking calls that wait for room, first come first */
    dload_i_parker *closers;
    void (*wake)(
        void *wake_ctx); /* loop mode: callbacks wait for _process, and this announces them */
    void *wake_ctx;
    dload_i_waiter *ready, *ready_tail;       /* what waits for it */
    uint64_t clear_seq;                       /* clears so far */
    uint64_t clear_all_seq;                   /* clear_seq of the last clear_all */
    uint64_t last_clear[DLOAD_I_CLEAR_SLOTS]; /* clear_seq of the last clear, by hash */
    dload_stats stats;
} dload_i_core;

/* Loaders that are dispatched together (registry.h), and threads that are waited for (crew.h). Fields are
 * private. Lives anywhere; must not move while loaders or threads are in it. */
typedef struct dload_registry {
    dload_i_core *first; /* loaders in the order in which they came */
    uint32_t n_loaders;
    /* Threads that joined << 16, and those of them that are parked: one word, so that each change tells
     * who is the last. Atomic. */
    uint32_t crew;
    dload_i_spin round; /* taken before any loader's mutex */
    /* What the last to park does: crew.h, which only programs whose threads join pay for. Atomic. */
    bool (*park)(dload_i_core *c, struct dload_i_parker *p);
} dload_registry;

/* In a child process? Then its locks may be held for ever. */
DLOAD_I_INLINE bool dload_i_core_forked(const dload_i_core *c)
{
    return c->fork_now != NULL && DLOAD_I_LOAD_RELAXED(c->fork_now) != c->fork_epoch;
}

/* ---- the index of flights: open addressing, linear probing, no tombstones ---- */

DLOAD_I_INLINE uint32_t dload_i_ref_hash(uint64_t hash)
{
    return (uint32_t)(hash >> 32);
}

/* By what a group itself is known. */
DLOAD_I_INLINE uint64_t dload_i_mark(const dload_i_core *c, uint64_t group)
{
    return c->ops->mark != NULL ? c->ops->mark(c->owner, group) : dload_i_group_mark(group);
}

DLOAD_I_LOCAL void dload_i_ref_insert(dload_i_core *c, dload_i_ref ref)
{
    uint32_t mask = c->refs_cap - 1;
    uint32_t i = ref.hash & mask;
    while (c->refs[i].batch != NULL)
        i = (i + 1) & mask;
    c->refs[i] = ref;
}

/* Room for a key, and for a batch that it opens, at most half full. False when there is no memory. */
DLOAD_I_LOCAL bool dload_i_refs_reserve(dload_i_core *c)
{
    if ((c->n_refs + 2) * 2 <= c->refs_cap)
        return true;
    uint32_t cap = c->refs_cap == 0 ? 64 : c->refs_cap * 2;
    dload_i_ref *refs = (dload_i_ref *)dload_i_alloc(c->env, cap * sizeof *refs);
    if (refs == NULL)
        return false;
    memset(refs, 0, cap * sizeof *refs);
    dload_i_ref *old = c->refs;
    uint32_t old_cap = c->refs_cap;
    c->refs = refs;
    c->refs_cap = cap;
    for (uint32_t i = 0; i < old_cap; i++) {
        if (old[i].batch != NULL)
            dload_i_ref_insert(c, old[i]);
    }
    dload_i_free(c->env, old, old_cap * sizeof *old);
    return true;
}

/* The flight's own entry: by identity, so that a newer flight of the same key is never touched. */
DLOAD_I_LOCAL dload_i_ref *dload_i_ref_of(dload_i_core *c, const dload_i_batch *b, uint32_t place)
{
    uint32_t mask = c->refs_cap - 1;
    uint64_t hash =
        place == DLOAD_I_OPEN_PLACE ? dload_i_mark(c, b->group) : b->flights[place].hash;
    uint32_t i = dload_i_ref_hash(hash) & mask;
    while (c->refs[i].batch != b || c->refs[i].place != place)
        i = (i + 1) & mask;
    return &c->refs[i];
}

DLOAD_I_LOCAL void dload_i_ref_remove(dload_i_core *c, dload_i_ref *ref)
{
    uint32_t mask = c->refs_cap - 1;
    uint32_t gap = (uint32_t)(ref - c->refs);
    for (uint32_t j = (gap + 1) & mask; c->refs[j].batch != NULL; j = (j + 1) & mask) {
        uint32_t home = c->refs[j].hash & mask;
        if (((j - home) & mask) < ((j - gap) & mask))
            continue; /* moving it back would pass its home */
        c->refs[gap] = c->refs[j];
        gap = j;
    }
    c->refs[gap].batch = NULL;
    c->n_refs--;
}

/* ---- clears ---- */

/* May a new request join this flight? Not when everything was cleared after it was sent. */
DLOAD_I_INLINE bool dload_i_joinable(const dload_i_core *c, const dload_i_batch *b)
{
    return b->state < DLOAD_I_RUNNING || b->token >= c->clear_all_seq;
}

DLOAD_I_LOCAL void dload_i_note_clear(dload_i_core *c, uint64_t hash)
{
    c->last_clear[(hash >> 20) % DLOAD_I_CLEAR_SLOTS] = ++c->clear_seq;
}

/* Was a key with this hash, or everything, cleared after the token was taken? May say yes for a
 * neighbour: then a value is not cached that could have been. */
DLOAD_I_LOCAL bool dload_i_cleared_since(const dload_i_core *c, uint64_t hash, uint64_t token)
{
    return c->clear_all_seq > token || c->last_clear[(hash >> 20) % DLOAD_I_CLEAR_SLOTS] > token;
}

/* A flight that was sent is out of date: later requests start another one. */
DLOAD_I_LOCAL void dload_i_detach(dload_i_core *c, dload_i_ref *ref)
{
    ref->batch->flights[ref->place].detached = 1;
    ref->batch->n_detached++;
    dload_i_ref_remove(c, ref);
}

/* Everything of a group that was sent is out of date. */
DLOAD_I_UNUSED static void dload_i_outdate_group(dload_i_core *c, uint64_t group)
{
    dload_i_note_clear(c, dload_i_mark(c, group));
    for (dload_i_batch *b = c->running; b != NULL; b = b->next) {
        for (uint32_t i = 0; i < b->n && b->group == group; i++) {
            if (!b->flights[i].published && !b->flights[i].detached)
                dload_i_detach(c, dload_i_ref_of(c, b, i));
        }
    }
}

/* ---- waiters ---- */

/* Does any request of this call wait for b? */
DLOAD_I_LOCAL bool dload_i_waits_for(const dload_i_parker *p, const dload_i_batch *b)
{
    for (const dload_i_waiter *w = p->first; w != NULL; w = w->sib) {
        if (w->batch == b)
            return true;
    }
    return false;
}

/* One request more for keys of b. */
DLOAD_I_LOCAL void dload_i_enlist(dload_i_waiter *w, dload_i_batch *b)
{
    DLOAD_I_STORE_RELEASE(&w->batch, b);                    /* nest.h reads it without this mutex */
    DLOAD_I_STORE_RELAXED(&b->n_waiters, b->n_waiters + 1); /* _batch_cancelled reads it unlocked */
    if (w->parker != NULL) {
        w->parker->pending++;
        if (b->last_call != w->parker) {
            b->last_call = w->parker;
            b->n_calls++;
        }
    }
}

DLOAD_I_LOCAL void dload_i_wait_for(dload_i_waiter *w, dload_i_batch *b, uint32_t place)
{
    dload_i_flight *f = &b->flights[place];
    w->many = false;
    w->place = place;
    w->status = DLOAD_PENDING;
    w->next = NULL;
    w->prev = f->tail;
    *(f->tail != NULL ? &f->tail->next : &f->head) = w;
    f->tail = w;
    dload_i_enlist(w, b);
}

/* A request that waits for nothing any more; true when it was the last one of its call. */
DLOAD_I_LOCAL bool dload_i_delist(dload_i_waiter *w)
{
    dload_i_batch *b = w->batch;
    DLOAD_I_STORE_RELAXED(&b->n_waiters, b->n_waiters - 1);
    DLOAD_I_STORE_RELEASE(&w->batch, NULL);
    return w->parker != NULL && --w->parker->pending == 0;
}

/* Takes a request out of its flight. */
DLOAD_I_LOCAL void dload_i_unlink(dload_i_waiter *w)
{
    dload_i_flight *f = &w->batch->flights[w->place];
    if (w->prev != NULL)
        w->prev->next = w->next;
    else
        f->head = w->next;
    if (w->next != NULL)
        w->next->prev = w->prev;
    else
        f->tail = w->prev;
    (void)dload_i_delist(w);
}

/* Is there a request record for a call with many keys? False when there is no memory. */
DLOAD_I_LOCAL bool dload_i_waiter_reserve(dload_i_core *c)
{
    if (c->free_waiters != NULL)
        return true;
    dload_i_waiter_block *block =
        (dload_i_waiter_block *)dload_i_alloc(c->env, sizeof(dload_i_waiter_block));
    if (block == NULL)
        return false;
    block->next = c->waiter_blocks;
    c->waiter_blocks = block;
    for (uint32_t i = DLOAD_I_WAITERS_A_BLOCK; i-- > 0;) {
        block->waiters[i].sib = c->free_waiters;
        c->free_waiters = &block->waiters[i];
    }
    return true;
}

/* The one that is there: the last request of p's call, which begins with out and position. */
DLOAD_I_LOCAL dload_i_waiter *dload_i_waiter_take(dload_i_core *c, dload_i_parker *p, void *out,
                                                  size_t position)
{
    dload_i_waiter *w = c->free_waiters;
    c->free_waiters = w->sib;
    w->out = out;
    w->parker = p;
    w->position = position;
    w->sib = NULL;
    *(p->last != NULL ? &p->last->sib : &p->first) = w;
    p->last = w;
    return w;
}

DLOAD_I_LOCAL void dload_i_waiter_give(dload_i_core *c, dload_i_waiter *w)
{
    w->sib = c->free_waiters;
    c->free_waiters = w;
}

#endif /* DLOAD_I_FLIGHT_H */

/* ==== runtime/solo.h ==== */

/* >>solo -- the records of a loader with DLOAD_ASYNC 0: one caller, and answers that come before a call returns.
 *
 * Nothing waits there, so that there is nobody to wake, no deadline, no leader, and no index of flights: the few
 * keys that are on their way are looked through. Batches, their places and the requests are one block of memory,
 * taken by _init.
 */
#ifndef DLOAD_I_SOLO_H
#define DLOAD_I_SOLO_H

struct dload_i_asker;

/* One request for a key on its way: part of the caller's waiter, or of a blocking call, or of the block. */
typedef struct dload_i_ask {
    struct dload_i_ask
        *next; /* for the same key, in the order of asking; or spare; or to call back */
    struct dload_i_asker *asker; /* the blocking call; NULL = call back */
    size_t at;                   /* in the arrays of that call */
} dload_i_ask;

/* A blocking call, on its stack. */
typedef struct dload_i_asker {
    dload_i_ask own;        /* its first request that has to wait */
    void *out;              /* values by position */
    dload_status *statuses; /* by position; NULL = not wanted */
    uint32_t n_pending;     /* requests that have no answer yet */
    uint32_t flags;         /* dload_call.flags */
} dload_i_asker;

/* A key on its way: a place in a batch. Key and value lie in arrays of the batch, by the same number. */
typedef struct dload_i_seat {
    uint64_t ttl_ns; /* how long the answer is kept; DLOAD_I_TTL_DEFAULT = as the loader's values */
    dload_i_ask *first; /* who asked */
    int32_t status;     /* the answer */
    bool answered;      /* there is one */
    bool detached;      /* cleared since it was sent: nobody joins, and it is cached nowhere */
} dload_i_seat;

#define DLOAD_I_SOLO_CLEARS 8u   /* clears are remembered by hash, one each */
#define DLOAD_I_SOLO_MAX    255u /* batches */

/* One batch collects or waits while another one runs; more where more keys may wait. With a max_batch of 0,
 * whose result nobody wants, nothing is divided by it. */
#define DLOAD_I_SOLO_BATCHES(max_batch, max_queue)                   \
    (1u + ((size_t)(max_queue) + (max_batch) - ((max_batch) != 0)) / \
              ((max_batch) + ((max_batch) == 0)))

/* What a loader asks its allocator for, beside its cache. */
#define DLOAD_I_SOLO_BYTES(NAME, max_batch, max_queue)                                 \
    DLOAD_I_SOLO_PARTS(sizeof(NAME##_key), sizeof(NAME##_value), sizeof(NAME##_batch), \
                       DLOAD_I_SOLO_BATCHES(max_batch, max_queue),                     \
                       DLOAD_I_SOLO_BATCHES(max_batch, max_queue) * (max_batch))

#define DLOAD_I_SOLO_PARTS(key_bytes, value_bytes, batch_bytes, n_batches, n_places) \
    (DLOAD_I_BLOCK_UP((n_places) * (value_bytes)) +                                  \
     DLOAD_I_BLOCK_UP((n_places) * sizeof(dload_i_seat)) +                           \
     DLOAD_I_BLOCK_UP((n_batches) * (batch_bytes)) +                                 \
     DLOAD_I_BLOCK_UP((n_places) * sizeof(dload_i_ask)) +                            \
     DLOAD_I_BLOCK_UP((n_places) * (key_bytes)))

#endif /* DLOAD_I_SOLO_H */

/* ==== runtime/nest.h ==== */

/* >>nest -- loads from inside a fetch function, and the circles they can close.
 *
 * A fetch function may load, from any loader. Then its batch waits for another batch, whose function may
 * wait in turn, in other threads, until somebody waits for the first one. Each batch knows where its
 * runner waits (nested), each waiter its batch: whoever begins such a wait writes that down and follows
 * the arrows under one lock, so that the one who closes a circle sees it whole and is told
 * DLOAD_EDEADLK. Loads from anywhere else never come here.
 *
 * The lock and the thread's current batch are shared by all translation units of a program (weak
 * definitions), because a circle may go through loaders of several.
 */
#ifndef DLOAD_I_NEST_H
#define DLOAD_I_NEST_H

/* Would a caller that waits for b wait for itself? */
DLOAD_I_INLINE bool dload_i_is_own(const dload_i_core *c, const dload_i_batch *b)
{
    return b->state == DLOAD_I_RUNNING && b->in_fetch && b->runner == dload_i_self(c->env);
}

DLOAD_I_LOCAL bool dload_i_runs_here(const dload_i_core *c)
{
    uint64_t self = dload_i_self(c->env);
    for (const dload_i_batch *b = c->running; b != NULL; b = b->next) {
        if (b->in_fetch && b->runner == self)
            return true;
    }
    return false;
}

#if DLOAD_FREESTANDING

/* Does a fetch function call? */
DLOAD_I_LOCAL bool dload_i_nested(const dload_i_core *c)
{
    return dload_i_runs_here(c);
}

/* One thread: what is not its own batch is no circle. */
DLOAD_I_INLINE dload_i_batch *dload_i_nest_enter(dload_i_batch *b)
{
    return b;
}

DLOAD_I_INLINE void dload_i_nest_leave(dload_i_batch *outer)
{
    (void)outer;
}

DLOAD_I_INLINE bool dload_i_nest_wait(dload_i_core *c, dload_i_parker *p)
{
    (void)c;
    (void)p;
    return true;
}

DLOAD_I_INLINE void dload_i_nest_end(dload_i_core *c)
{
    (void)c;
}

#else

#ifdef __cplusplus
extern "C" {
#endif
/* The innermost batch whose function runs in this thread. */
DLOAD_I_OF_THREAD struct dload_i_batch *dload_i_nest_current;
/* Guards nested of every batch, and is held while arrows are followed. */
DLOAD_I_OF_PROGRAM dload_i_spin dload_i_nest_lock;
#ifdef __cplusplus
}
#endif

/* Does a fetch function call, of whatever loader? */
DLOAD_I_LOCAL bool dload_i_nested(const dload_i_core *c)
{
    (void)c;
    return dload_i_nest_current != NULL;
}

#define DLOAD_I_NEST_MAX 64u /* waits that one search follows; beyond, the deadline decides */

/* A function begins to run in this thread; returns what to leave with. */
DLOAD_I_LOCAL dload_i_batch *dload_i_nest_enter(dload_i_batch *b)
{
    dload_i_batch *outer = dload_i_nest_current;
    dload_i_nest_current = b;
    return outer;
}

DLOAD_I_LOCAL void dload_i_nest_leave(dload_i_batch *outer)
{
    dload_i_nest_current = outer;
}

/* The wait that this request's answer waits for: that of the runner of its batch, if it is blocked. A
 * batch that ends meanwhile and runs again for others must not be taken for the one waited for: the
 * request lets go of it before that, so that a second look tells. */
DLOAD_I_LOCAL dload_i_parker *dload_i_nest_next(const dload_i_waiter *w, uint64_t self,
                                                bool *circle)
{
    dload_i_batch *b = DLOAD_I_LOAD_ACQUIRE(&w->batch);
    if (b == NULL || !DLOAD_I_LOAD_ACQUIRE(&b->in_fetch))
        return NULL;
    bool own = DLOAD_I_LOAD_ACQUIRE(&b->runner) == self;
    dload_i_parker *next = b->nested;
    if (DLOAD_I_LOAD_ACQUIRE(&w->batch) != b)
        return NULL;
    *circle = *circle || own;
    return next;
}

/* Follows all arrows from p; true when one leads back to this thread. */
DLOAD_I_COLD bool dload_i_nest_circle(dload_i_parker *p, uint64_t self)
{
    dload_i_parker *found[DLOAD_I_NEST_MAX];
    uint32_t n_found = 1;
    bool circle = false;
    found[0] = p;
    for (uint32_t at = 0; at < n_found && !circle; at++) {
        for (const dload_i_waiter *w = found[at]->first; w != NULL && !circle; w = w->sib) {
            dload_i_parker *next = dload_i_nest_next(w, self, &circle);
            uint32_t i = 0;
            while (next != NULL && i < n_found && found[i] != next)
                i++;
            if (next != NULL && i == n_found && n_found < DLOAD_I_NEST_MAX)
                found[n_found++] = next;
        }
    }
    return circle;
}

/* This thread is about to wait as p says. False when it would wait for itself. */
DLOAD_I_LOCAL bool dload_i_nest_wait(dload_i_core *c, dload_i_parker *p)
{
    dload_i_batch *current = dload_i_nest_current;
    if (current == NULL || !c->threaded)
        return true;
    dload_i_spin_lock(&dload_i_nest_lock);
    current->nested = p;
    bool circle = dload_i_nest_circle(p, dload_i_self(c->env));
    if (circle)
        current->nested = NULL;
    dload_i_spin_unlock(&dload_i_nest_lock);
    return !circle;
}

DLOAD_I_LOCAL void dload_i_nest_end(dload_i_core *c)
{
    dload_i_batch *current = dload_i_nest_current;
    if (current == NULL || !c->threaded)
        return;
    dload_i_spin_lock(&dload_i_nest_lock);
    current->nested = NULL;
    dload_i_spin_unlock(&dload_i_nest_lock);
}

#endif /* DLOAD_FREESTANDING */

#endif /* DLOAD_I_NEST_H */

/* ==== runtime/batch.h ==== */

/* >>batch -- the first half of the state machine: batches come and go, keys enter and leave them.
 *
 * Every function here is called with the loader's mutex held and holds it again on return. Nothing waits
 * here, and nothing is sent: that is run.h and drive.h.
 */
#ifndef DLOAD_I_BATCH_H
#define DLOAD_I_BATCH_H

DLOAD_I_INLINE void dload_i_core_lock(dload_i_core *c)
{
    c->sync->lock(c->mutex);
}

/* Whoever lets go of the mutex also wakes the callers who were answered under it: mutant
 * DELIVER_NO_WAKE. The chain is taken while the mutex is held (mutant CHAIN_TAKEN_LATE), and a link read
 * before its owner is paid (mutant NEXT_AFTER_PAY). */
DLOAD_I_NOINLINE void dload_i_core_unlock(dload_i_core *c)
{
    dload_i_parker *p = c->owed;
    c->owed = NULL;
    c->sync->unlock(c->mutex);
    while (p != NULL) {
        dload_i_parker *next = p->next_owed;
        c->sync->pay(p); /* p may be gone */
        p = next;
    }
}

/* May one more batch run beside those that do? */
DLOAD_I_INLINE bool dload_i_has_place(const dload_i_core *c)
{
    return c->n_running < c->max_in_flight + c->n_calling;
}

/* A call of a registry's threads does not count as parked any more; see crew.h. */
DLOAD_I_LOCAL void dload_i_uncount(dload_i_core *c, dload_i_parker *p)
{
#if DLOAD_FREESTANDING
    (void)c;
    (void)p; /* no crews there */
#else
    if (p->counted)
        (void)DLOAD_I_SUB_ORDERED(&c->registry->crew, 1u);
    p->counted = false;
#endif
}

/* Wakes a sleeper, who from now on is awake for its crew as well: mutant COUNTED_TOO_LONG. */
DLOAD_I_NOINLINE void dload_i_wake(dload_i_core *c, dload_i_parker *p)
{
    dload_i_uncount(c, p);
    c->sync->unpark(p, c->env);
}

/* ---- batches come and go ---- */

DLOAD_I_NOINLINE dload_i_batch *dload_i_batch_take(dload_i_core *c)
{
    dload_i_batch *b = c->free_;
    if (b != NULL)
        c->free_ = b->next;
    else
        b = c->ops->make(c->owner);
    if (b == NULL)
        return NULL;
    b->next = NULL;
    b->n = b->n_dead = b->n_published = b->n_detached = b->n_waiters = 0;
    b->n_calls = b->n_calls_seen = 0;
    b->state = DLOAD_I_OPEN;
    b->in_fetch = b->done = b->lingered = b->timed = b->goes = 0;
    b->leader = b->last_call = NULL;
    return b;
}

DLOAD_I_NOINLINE void dload_i_batch_give(dload_i_core *c, dload_i_batch *b)
{
    if (c->ops->forget != NULL) {
        for (uint32_t i = 0; i < b->n; i++)
            c->ops->forget(c->owner, b, i);
    }
    b->n = 0;
    b->next = c->free_;
    c->free_ = b;
}

/* Closes the gaps that cancelled keys left, keeping the order. The batch has not been sent. */
DLOAD_I_NOINLINE void dload_i_compact(dload_i_core *c, dload_i_batch *b)
{
    if (b->n_dead == 0)
        return;
    uint32_t to = 0;
    for (uint32_t i = 0; i < b->n; i++) {
        if (b->flights[i].dead) {
            if (c->ops->forget != NULL)
                c->ops->forget(c->owner, b, i);
            continue;
        }
        if (to != i) {
            dload_i_ref_of(c, b, i)->place = to;
            b->flights[to] = b->flights[i];
            c->ops->move(b, to, i);
            for (dload_i_waiter *w = b->flights[to].head; w != NULL; w = w->next)
                w->place = to;
        }
        to++;
    }
    b->n = to;
    b->n_dead = 0;
}

/* ---- open batches ---- */

/* The open batch of a group, or NULL. */
DLOAD_I_LOCAL dload_i_batch *dload_i_open_of(const dload_i_core *c, uint64_t group)
{
    if (!c->grouped || c->open == NULL || c->open->group == group)
        return c->open;
    uint32_t mask = c->refs_cap - 1;
    uint32_t hash = dload_i_ref_hash(dload_i_mark(c, group));
    for (uint32_t i = hash & mask; c->refs[i].batch != NULL; i = (i + 1) & mask) {
        if (c->refs[i].place == DLOAD_I_OPEN_PLACE && c->refs[i].batch->group == group)
            return c->refs[i].batch;
    }
    return NULL;
}

DLOAD_I_LOCAL void dload_i_ref_add(dload_i_core *c, dload_i_batch *b, uint32_t place, uint64_t hash)
{
    dload_i_ref ref;
    ref.batch = b;
    ref.hash = dload_i_ref_hash(hash);
    ref.place = place;
    dload_i_ref_insert(c, ref);
    c->n_refs++;
}

/* A batch has its first key. */
DLOAD_I_LOCAL void dload_i_open_add(dload_i_core *c, dload_i_batch *b)
{
    b->next = NULL;
    b->prev = c->open_tail;
    *(c->open_tail == NULL ? &c->open : &c->open_tail->next) = b;
    c->open_tail = b;
    if (c->grouped)
        dload_i_ref_add(c, b, DLOAD_I_OPEN_PLACE, dload_i_mark(c, b->group));
    b->opened_ns = dload_i_now(c->env);
    b->last_key_ns = b->opened_ns;
    c->tell_wake = c->wake != NULL;
    c->tell_queued = c->hooks != NULL && c->hooks->queued != NULL;
}

DLOAD_I_LOCAL void dload_i_open_cut(dload_i_core *c, dload_i_batch *b)
{
    *(b->prev == NULL ? &c->open : &b->prev->next) = b->next;
    *(b->next == NULL ? &c->open_tail : &b->next->prev) = b->prev;
    c->n_open_keys -= b->n - b->n_dead;
    if (c->grouped)
        dload_i_ref_remove(c, dload_i_ref_of(c, b, DLOAD_I_OPEN_PLACE));
    if (c->open == NULL)
        c->expect = 0;
}

/* An open batch is complete. */
DLOAD_I_NOINLINE void dload_i_enqueue(dload_i_core *c, dload_i_batch *b, dload_trigger why)
{
    dload_i_open_cut(c, b);
    b->state = DLOAD_I_QUEUED;
    c->tell_wake = c->wake != NULL;
    b->why = (uint8_t)why;
    b->next = NULL;
    *(c->queue == NULL ? &c->queue : &c->queue_tail->next) = b;
    c->queue_tail = b;
    if (b->leader != NULL)
        dload_i_wake(c, b->leader); /* it need not linger any more: mutant FULL_NO_WAKE */
}

DLOAD_I_LOCAL void dload_i_enqueue_all(dload_i_core *c, dload_trigger why)
{
    while (c->open != NULL)
        dload_i_enqueue(c, c->open, why);
}

DLOAD_I_LOCAL dload_i_batch *dload_i_queue_pop(dload_i_core *c, dload_i_batch *before)
{
    dload_i_batch **at = before == NULL ? &c->queue : &before->next;
    dload_i_batch *b = *at;
    *at = b->next;
    if (c->queue_tail == b)
        c->queue_tail = before;
    b->next = NULL;
    return b;
}

/* ---- keys enter ---- */

/* A place in the open batch of a group for a key that is in no flight; commit or unreserve it.
 * DLOAD_OK, DLOAD_EAGAIN at the queue's bound, DLOAD_ENOMEM. */
DLOAD_I_LOCAL dload_status dload_i_reserve(dload_i_core *c, uint64_t group, dload_i_batch **batch,
                                           uint32_t *place)
{
    if (c->n_flights >= c->max_queue)
        return DLOAD_EAGAIN;
    if (!dload_i_refs_reserve(c))
        return DLOAD_ENOMEM;
    dload_i_batch *b = dload_i_open_of(c, group);
    if (b == NULL) {
        b = dload_i_batch_take(c);
        if (b == NULL)
            return DLOAD_ENOMEM;
        b->group = group;
    }
    if (b->n == b->cap)
        dload_i_compact(c, b);
    if (b->n == b->cap) {
        uint32_t cap = b->cap * 2 < c->max_batch ? b->cap * 2 : c->max_batch;
        if (!c->ops->grow(c->owner, b, cap))
            return DLOAD_ENOMEM;
    }
    *batch = b;
    *place = b->n;
    return DLOAD_OK;
}

/* The key could not be written. */
DLOAD_I_LOCAL void dload_i_unreserve(dload_i_core *c, dload_i_batch *b)
{
    if (b->n == 0)
        dload_i_batch_give(c, b); /* taken for it alone */
}

DLOAD_I_INLINE void dload_i_flight_begin(dload_i_flight *f, uint64_t hash)
{
    memset(f, 0, sizeof *f);
    f->hash = hash;
    f->ttl_ns = DLOAD_I_TTL_DEFAULT;
    f->status = DLOAD_MISSING;
}

/* How many keys can follow the last one into its batch, with no look at anything but the index, while the
 * mutex is not let go of? The one that completes the batch is not among them. */
DLOAD_I_LOCAL uint32_t dload_i_room_behind(const dload_i_core *c, const dload_i_batch *b)
{
    if (b->state != DLOAD_I_OPEN || c->settle_ns != 0 || c->expect != 0 || c->line != NULL ||
        c->tell_queued || c->tell_wake)
        return 0;
    uint32_t room = b->cap - b->n;
    uint32_t to_full = c->max_batch - 1 - (b->n - b->n_dead);
    uint32_t to_bound = c->max_queue - c->n_flights;
    uint32_t to_grow =
        c->refs_cap / 2 - c->n_refs; /* the index; reserving left room for one more */
    room = room < to_full ? room : to_full;
    room = room < to_bound ? room : to_bound;
    return room < to_grow ? room : to_grow;
}

/* One of those; false when the index has a key of its hash, which may be the same. */
DLOAD_I_INLINE bool dload_i_follow(dload_i_core *c, dload_i_batch *b, uint64_t hash)
{
    uint32_t mask = c->refs_cap - 1;
    uint32_t h = dload_i_ref_hash(hash);
    uint32_t i = h & mask;
    for (; c->refs[i].batch != NULL; i = (i + 1) & mask) {
        if (c->refs[i].hash == h)
            return false;
    }
    c->refs[i].batch = b;
    c->refs[i].hash = h;
    c->refs[i].place = b->n;
    dload_i_flight_begin(&b->flights[b->n], hash);
    b->n++;
    c->n_refs++;
    c->n_flights++;
    c->n_open_keys++;
    c->stats.misses++;
    return true;
}

/* The reserved place has its key now. */
DLOAD_I_LOCAL void dload_i_commit(dload_i_core *c, dload_i_batch *b, uint64_t hash)
{
    dload_i_flight_begin(&b->flights[b->n], hash);
    dload_i_ref_add(c, b, b->n, hash);
    c->n_flights++;
    if (b->n == 0)
        dload_i_open_add(c, b);
    else if (c->settle_ns != 0)
        b->last_key_ns = dload_i_now(c->env);
    b->n++;
    c->n_open_keys++;
    if (b->n - b->n_dead >= c->max_batch)
        dload_i_enqueue(c, b, DLOAD_BY_SIZE);
    else if (c->expect != 0 && c->n_open_keys >= c->expect)
        dload_i_enqueue_all(c, DLOAD_BY_EXPECT);
}

/* ---- keys leave ---- */

/* n keys are in no batch any more: there is room for whoever waits longest for it. Without this they wait
 * for their next look: mutant ROOM_NO_WAKE. */
DLOAD_I_LOCAL void dload_i_leave(dload_i_core *c, uint32_t n)
{
    bool was_full = n != 0 && c->n_flights >= c->max_queue;
    c->n_flights -= n;
    if (was_full && c->line != NULL)
        dload_i_wake(c, c->line);
}

/* A call waits for room behind those who came before it. */
DLOAD_I_LOCAL void dload_i_line_enter(dload_i_core *c, dload_i_parker *p)
{
    p->in_line = true;
    p->next_in_line = NULL;
    *(c->line == NULL ? &c->line : &c->line_tail->next_in_line) = p;
    c->line_tail = p;
}

/* ... and does not any more: what room is left is for the next. */
DLOAD_I_LOCAL void dload_i_line_leave(dload_i_core *c, dload_i_parker *p)
{
    if (!p->in_line)
        return;
    p->in_line = false;
    dload_i_parker *before = NULL;
    for (dload_i_parker *q = c->line; q != p; q = q->next_in_line)
        before = q;
    *(before == NULL ? &c->line : &before->next_in_line) = p->next_in_line;
    if (c->line_tail == p)
        c->line_tail = before;
    if (c->line != NULL && c->n_flights < c->max_queue)
        dload_i_wake(c, c->line); /* mutant LINE_NO_NEXT */
}

/* Nobody is left who would send this batch: mutant DEAD_STAYS_QUEUED. */
DLOAD_I_LOCAL void dload_i_drop_dead(dload_i_core *c, dload_i_batch *b)
{
    if (b->state == DLOAD_I_OPEN) {
        dload_i_open_cut(c, b);
        if (c->open == NULL)
            c->tell_queued = false;
    } else {
        dload_i_batch *before = NULL;
        for (dload_i_batch *q = c->queue; q != b; q = q->next)
            before = q;
        (void)dload_i_queue_pop(c, before);
    }
    dload_i_batch_give(c, b);
}

/* A key that nobody wants leaves a batch that was not sent. */
DLOAD_I_LOCAL void dload_i_unwant(dload_i_core *c, dload_i_batch *b, uint32_t place)
{
    dload_i_flight *f = &b->flights[place];
    if (b->state >= DLOAD_I_RUNNING || f->head != NULL || f->many != NULL)
        return;
    f->dead = 1;
    b->n_dead++;
    c->n_open_keys -= b->state == DLOAD_I_OPEN;
    dload_i_leave(c, 1);
    dload_i_ref_remove(c, dload_i_ref_of(c, b, place));
    if (b->n_dead == b->n)
        dload_i_drop_dead(c, b);
}

/* A request gives up: with many, all its keys that were not answered, which get status. */
DLOAD_I_NOINLINE void dload_i_unwait(dload_i_core *c, dload_i_waiter *w, dload_status status)
{
    dload_i_batch *b = w->batch;
    uint32_t place = w->place;
    w->status = status;
    if (!w->many) {
        dload_i_unlink(w);
        dload_i_unwant(c, b, place);
        return;
    }
    (void)dload_i_delist(w);
    for (uint32_t i = 0; i < b->n; i++) { /* b may end with its last key, and then b->n is 0 */
        dload_i_flight *f = &b->flights[i];
        if (f->many != w)
            continue;
        f->many = NULL;
        if (w->parker->statuses != NULL)
            w->parker->statuses[w->position + f->at] = status;
        dload_i_unwant(c, b, i);
    }
}

#endif /* DLOAD_I_BATCH_H */

/* ==== runtime/pace.h ==== */

/* >>pace -- when an open batch goes by itself: the settle time that was set, or the one that is found.
 *
 * With config.settle_ns a batch goes after a pause in the arrivals. Without it the core watches its
 * callers: how many wait side by side (crowd), and what a fetch takes. A lone caller never lingers. One
 * who has had company lingers for a small part of a fetch, and no longer than until everybody is there
 * who was there lately: callers who were served together come back together. All under the mutex.
 */
#ifndef DLOAD_I_PACE_H
#define DLOAD_I_PACE_H

#define DLOAD_I_LINGER_PART   8u /* of a fetch: what lingering may add to a load */
#define DLOAD_I_LINGER_MAX_NS DLOAD_MILLISECOND
#define DLOAD_I_LINGER_MIN_NS DLOAD_MICROSECOND /* less is not worth a look at the clock */
#define DLOAD_I_COMPANY_MAX   8u

/* A call begins to wait. */
DLOAD_I_LOCAL void dload_i_pace_enter(dload_i_core *c, dload_i_parker *p)
{
    p->waits = true;
    if (++c->n_callers > c->peak)
        c->peak = c->n_callers;
}

DLOAD_I_LOCAL void dload_i_pace_leave(dload_i_core *c, dload_i_parker *p)
{
    c->n_callers -= p->waits;
    p->waits = false;
}

/* A batch ended: what it teaches. Company is the hope for more callers. It comes with a batch that had
 * several, and goes with those that had one; without a settle time it grows step by step, and a leader who
 * lingered in vain takes one back. */
DLOAD_I_LOCAL void dload_i_pace_learn(dload_i_core *c, const dload_i_batch *b)
{
    uint64_t run_ns = b->ended_ns - b->started_ns;
    bool found = c->settle_ns == 0;
    bool alone = b->n_calls <= 1 || (found && b->lingered && b->n_calls <= b->n_calls_before);
    if (alone)
        c->company -= c->company > 0;
    else if (found && c->company < DLOAD_I_COMPANY_MAX)
        c->company++;
    else
        c->company = DLOAD_I_COMPANY_MAX;
    c->fetch_ns = c->fetch_ns == 0 ? run_ns : c->fetch_ns - c->fetch_ns / 8 + run_ns / 8;
    c->ended_ns = b->ended_ns;
    if (c->peak >= c->crowd)
        c->crowd = c->peak;
    else
        c->crowd -= (c->crowd - c->peak + 3) / 4; /* who went away is waited for a few times more */
    c->peak = c->n_callers;
}

/* When b goes by itself, and why. For loops: they come round by themselves, and find nothing. */
DLOAD_I_LOCAL uint64_t dload_i_settled_at(const dload_i_core *c, const dload_i_batch *b,
                                          dload_trigger *why)
{
    uint64_t settle_ns = dload_i_add_ns(b->last_key_ns, c->settle_ns);
    uint64_t age_ns = dload_i_add_ns(b->opened_ns, c->max_age_ns);
    *why = settle_ns <= age_ns ? DLOAD_BY_SETTLE : DLOAD_BY_AGE;
    return settle_ns <= age_ns ? settle_ns : age_ns;
}

/* What n calls wait together; on small machines in units of a microsecond, about, which they can multiply. */
DLOAD_I_INLINE uint64_t dload_i_waited(uint64_t span_ns, uint32_t n_calls)
{
#if DLOAD_FREESTANDING
    return dload_i_mul_wide((uint32_t)(span_ns >> 10), n_calls);
#else
    return span_ns * n_calls;
#endif
}

/* The end of a running batch whose callers are worth waiting for. If b goes now, they will wait for it in
 * their turn, or both go on out of step: the few wait for the many, measured by all their waiting. */
DLOAD_I_LOCAL uint64_t dload_i_worth_awaiting(const dload_i_core *c, const dload_i_batch *b)
{
    uint64_t from_ns = DLOAD_NEVER;
    for (const dload_i_batch *r = c->running; r != NULL; r = r->next) {
        uint64_t end_ns = r->started_ns + c->fetch_ns;
        uint64_t left_ns = end_ns > b->opened_ns ? end_ns - b->opened_ns : 0;
        if (end_ns < from_ns &&
            dload_i_waited(left_ns, b->n_calls) < dload_i_waited(c->fetch_ns - left_ns, r->n_calls))
            from_ns = end_ns;
    }
    return from_ns;
}

/* Without a settle time: how long it pays to linger. */
DLOAD_I_LOCAL uint64_t dload_i_found_at(const dload_i_core *c, const dload_i_batch *b,
                                        dload_trigger *why)
{
    uint64_t part_ns = c->fetch_ns / DLOAD_I_LINGER_PART;
    if (part_ns > DLOAD_I_LINGER_MAX_NS)
        part_ns = DLOAD_I_LINGER_MAX_NS;
    if (part_ns < DLOAD_I_LINGER_MIN_NS)
        return 0;
    uint64_t from_ns = b->opened_ns;
    if (c->n_callers >= c->crowd) {
        /* Everybody waits. Those of a running batch will be back when it ends. */
        from_ns = dload_i_worth_awaiting(c, b);
        if (from_ns == DLOAD_NEVER)
            return 0;
    } else if (c->ended_ns > from_ns) {
        from_ns = c->ended_ns < from_ns + c->fetch_ns ? c->ended_ns : from_ns + c->fetch_ns;
    }
    *why = DLOAD_BY_SETTLE;
    /* While they keep coming, up to twice as long. */
    uint64_t due_ns = b->last_key_ns + part_ns / 2;
    due_ns = due_ns > from_ns + part_ns ? due_ns : from_ns + part_ns;
    return due_ns < from_ns + 2 * part_ns ? due_ns : from_ns + 2 * part_ns;
}

/* The same for a blocking call that waits for b. */
DLOAD_I_NOINLINE uint64_t dload_i_due_at(const dload_i_core *c, const dload_i_batch *b,
                                         const dload_i_parker *p, dload_trigger *why)
{
    if (p->in_crew) { /* goes when all are parked; only an age bounds that */
        *why = DLOAD_BY_AGE;
        return c->max_age_ns == 0 ? DLOAD_NEVER : dload_i_add_ns(b->opened_ns, c->max_age_ns);
    }
    *why = DLOAD_BY_IDLE;
    if (c->company == 0 && b->n_calls <= 1 && c->expect == 0)
        return 0; /* no hope of more */
    if (c->settle_ns != 0)
        return dload_i_settled_at(c, b, why);
    if (c->expect != 0) { /* announced, but not for ever */
        *why = DLOAD_BY_AGE;
        return b->opened_ns + DLOAD_I_LINGER_MAX_NS;
    }
    return dload_i_found_at(c, b, why);
}

#endif /* DLOAD_I_PACE_H */

/* ==== runtime/run.h ==== */

/* >>run -- the second half of the state machine: batches are sent, answers are published.
 *
 * Every function here is called with the loader's mutex held and holds it again on return; where one
 * lets go in between, because user code runs, it says so. Nothing waits here: that is drive.h.
 */
#ifndef DLOAD_I_RUN_H
#define DLOAD_I_RUN_H

/* ---- answers leave ---- */

/* What one publisher owes once the mutex is released: callbacks, in order, and owned values to release.
 * A chain, not a range: other threads may publish other places of the same batch meanwhile. */
typedef struct dload_i_ready {
    dload_i_waiter *head, *tail;
    uint32_t held; /* place + 1 of the first value to release; 0 = none */
} dload_i_ready;

/* A call has all its answers. */
DLOAD_I_LOCAL void dload_i_answered_all(dload_i_core *c, dload_i_parker *p)
{
    dload_i_uncount(c, p);
    dload_i_pace_leave(c, p);
    if (!p->asleep)
        return; /* it looks by itself */
    if (c->sync->pay == NULL || c->env->wait != NULL) {
        dload_i_wake(c, p);
        return;
    }
    p->promised = p->owed = true; /* nobody else has heard of that yet */
    p->next_owed = c->owed;
    c->owed = p;
}

/* Which places of a batch to publish: those that are answered; with all set, the rest too, as status. */
typedef struct dload_i_publishing {
    uint32_t from, to;
    bool all;
    bool unindexed; /* they are out of the index */
    dload_status status;
    uint64_t ttl_ns; /* how long that is kept */
} dload_i_publishing;

/* What publishing asks of the typed half; constants, where a loop over a batch is compiled. */
typedef struct dload_i_typed {
    size_t value_bytes;
    dload_status (*copy)(dload_i_batch *b, uint32_t i, void *out); /* a value for a waiter */
    bool (*store)(void *owner, dload_i_batch *b, uint32_t i); /* into the cache; false = skipped */
    void (*keep)(void *owner, dload_i_batch *b, uint32_t i);  /* an old value; NULL = never */
} dload_i_typed;

/* The answer at place i goes to everybody who waits for it. */
DLOAD_I_INLINE void dload_i_deliver(dload_i_core *c, dload_i_batch *b, uint32_t i,
                                    dload_i_typed typed, dload_i_ready *ready)
{
    dload_i_flight *f = &b->flights[i];
    dload_i_waiter *listed = f->head;
    dload_i_waiter *w = f->many != NULL ? f->many : listed;
    f->many = f->head = f->tail = NULL; /* all of them leave */
    while (w != NULL) {
        bool many = w->many;
        char *out = (char *)w->out + (many ? f->at * typed.value_bytes : 0);
        int32_t status = f->status;
        if (f->kept != 0 && !w->source_only) {
            status = f->kept == 1 ? DLOAD_STALE : DLOAD_OK;
            c->stats.served_on_error++;
        }
        if (status >= 0 && w->out != NULL) {
            dload_status st = typed.copy(b, i, out);
            if (st < 0)
                status = st;
        }
        if (many) {
            dload_status *statuses = w->parker->statuses;
            if (statuses != NULL)
                statuses[w->position + f->at] = (dload_status)status;
            if (--w->place == 0 && dload_i_delist(w))
                dload_i_answered_all(c, w->parker);
            w = listed;
            continue;
        }
        dload_i_waiter *next = w->next;
        w->status = status;
        bool last = dload_i_delist(w);
        if (w->parker == NULL) {
            w->next = NULL;
            *(ready->tail != NULL ? &ready->tail->next : &ready->head) = w;
            ready->tail = w;
        } else if (last) {
            dload_i_answered_all(c, w->parker);
        }
        w = next;
    }
}

/* Later requests for the key at place i find it elsewhere. */
DLOAD_I_LOCAL void dload_i_unindex(dload_i_core *c, dload_i_batch *b, uint32_t i)
{
    if (!b->flights[i].detached)
        dload_i_ref_remove(c, dload_i_ref_of(c, b, i));
}

/* The same for all of b at once, when nothing else is in the index; false when that does not pay. */
DLOAD_I_LOCAL bool dload_i_unindex_all(dload_i_core *c, const dload_i_batch *b)
{
    if (b->n_detached + b->n_published != 0 || c->n_refs != b->n || c->refs_cap > b->n * 8)
        return false;
    memset(c->refs, 0, c->refs_cap * sizeof *c->refs);
    c->n_refs = 0;
    return true;
}

/* To the waiters, into the cache: the answer at place i, which is out of the index, is known to all at
 * once. */
DLOAD_I_INLINE void dload_i_publish_one(dload_i_core *c, dload_i_batch *b, uint32_t i,
                                        dload_i_typed typed, dload_i_ready *ready)
{
    dload_i_flight *f = &b->flights[i];
    f->published = 1;
    if (f->status < 0 && f->status != DLOAD_MISSING)
        c->stats.fetch_errors++;
    if (f->status < 0 && b->state >= DLOAD_I_RUNNING && typed.keep != NULL)
        typed.keep(c->owner, b, i); /* an old value may do instead */
    dload_i_deliver(c, b, i, typed, ready);
    if (b->state != DLOAD_I_RUNNING)
        return; /* never sent, or given up: nothing to store, and _finish releases */
    if (f->detached || b->token < c->clear_all_seq)
        c->stats
            .cleared_in_flight++; /* fetched before a clear, cached nowhere: mutant CLEARED_STORED */
    else if (typed.store(c->owner, b, i))
        c->stats.stores++;
    else if (f->status >= 0)
        c->stats.store_skipped++;
    if (f->holds) {
        f->holds = 0; /* the chain has it now */
        f->next_held = ready->held;
        ready->held = i + 1;
    }
}

/* The body of dload_i_ops.publish. */
DLOAD_I_INLINE void dload_i_publish_each(dload_i_core *c, dload_i_batch *b,
                                         const dload_i_publishing *how, dload_i_typed typed,
                                         dload_i_ready *ready)
{
    uint32_t n = 0;
    for (uint32_t i = how->from; i < how->to; i++) {
        dload_i_flight *f = &b->flights[i];
        if (f->published || !(f->answered || how->all))
            continue;
        if (!how->unindexed)
            dload_i_unindex(c, b, i);
        if (!f->answered) {
            f->answered = 1;
            f->status = how->status;
            f->ttl_ns = how->ttl_ns;
        }
        dload_i_publish_one(c, b, i, typed, ready);
        n++;
    }
    b->n_published += n;
    dload_i_leave(c, n);
}

/* ---- who may send is told ---- */

/* Wakes p when it sleeps and may send a batch, and is not but: mutant NUDGE_AWAKE. */
DLOAD_I_LOCAL bool dload_i_nudge_sleeper(dload_i_core *c, dload_i_parker *p,
                                         const dload_i_parker *but)
{
    if (p == NULL || p == but || !p->asleep || !(dload_i_has_place(c) || p->inside))
        return false;
    dload_i_wake(c, p);
    return true;
}

/* Wakes one who sleeps for b and may send it, other than but. */
DLOAD_I_LOCAL bool dload_i_nudge_one(dload_i_core *c, dload_i_batch *b, const dload_i_parker *but)
{
    bool woken = dload_i_nudge_sleeper(c, b->leader, but);
    for (uint32_t i = 0; i < b->n && !woken; i++) {
        if (b->flights[i].many != NULL)
            woken = dload_i_nudge_sleeper(c, b->flights[i].many->parker, but);
        for (dload_i_waiter *w = b->flights[i].head; w != NULL && !woken; w = w->next)
            woken = dload_i_nudge_sleeper(c, w->parker, but);
    }
    return woken;
}

/* A batch may go: tell somebody who sleeps and can send it. Without this a batch waits for its callers'
 * next look: mutant NO_HANDOFF. The head of the queue may have callbacks only, or callers who are
 * busy: mutant NUDGE_HEAD_ONLY. */
DLOAD_I_NOINLINE void dload_i_nudge(dload_i_core *c, const dload_i_parker *but)
{
    if (!c->threaded)
        return;
    for (dload_i_batch *b = c->queue; b != NULL; b = b->next) {
        if (dload_i_nudge_one(c, b, but))
            return;
    }
    for (dload_i_batch *b = c->open; b != NULL; b = b->next) {
        /* Who has a timer may go on sleeping, and then another batch needs the place: mutant NUDGE_TIMED. */
        if (dload_i_nudge_one(c, b, but) && !b->timed)
            return;
    }
}

/* ---- what publishing leaves to do ---- */

/* Calls back, without the mutex. */
DLOAD_I_LOCAL void dload_i_call_all(dload_i_core *c, dload_i_ready *ready)
{
    if (ready->head == NULL)
        return;
    c->n_calling++;         /* a callback that loads must not wait for its own batch's place */
    dload_i_nudge(c, NULL); /* nor anybody else: mutant CALL_NO_NUDGE */
    dload_i_core_unlock(c);
    for (dload_i_waiter *w = ready->head; w != NULL;) {
        dload_i_waiter *next = w->next;
        c->ops->call(w); /* w is the caller's again */
        w = next;
    }
    ready->head = ready->tail = NULL;
    dload_i_core_lock(c);
    c->n_calling--;
}

/* In loop mode callbacks are for the loop's thread. */
DLOAD_I_LOCAL void dload_i_defer(dload_i_core *c, dload_i_ready *ready)
{
    if (c->wake == NULL || ready->head == NULL)
        return;
    if (c->ready_tail != NULL)
        c->ready_tail->next = ready->head;
    else
        c->ready = ready->head;
    c->ready_tail = ready->tail;
    ready->head = ready->tail = NULL;
    dload_i_core_unlock(c);
    c->wake(c->wake_ctx);
    dload_i_core_lock(c);
}

/* The function is through with b; but whoever is still settling up for it gives it back last. */
DLOAD_I_LOCAL void dload_i_let_go(dload_i_core *c, dload_i_batch *b)
{
    if (b->n_users != 0)
        b->unwanted = 1;
    else
        dload_i_batch_give(c, b);
}

/* Pays what is owed, without the mutex. A callback may end the batch meanwhile: it is not used again
 * before this is through with it, mutant GIVE_WHILE_USED. */
DLOAD_I_NOINLINE void dload_i_settle_up(dload_i_core *c, dload_i_batch *b, dload_i_ready *ready)
{
    if (b != NULL)
        b->n_users++;
    dload_i_defer(c, ready);
    dload_i_call_all(c, ready);
    if (ready->held != 0) {
        dload_i_core_unlock(c);
        for (uint32_t at = ready->held; at != 0;) {
            uint32_t next = b->flights[at - 1].next_held;
            c->ops->release(b, at - 1);
            at = next;
        }
        dload_i_core_lock(c);
    }
    if (b != NULL && --b->n_users == 0 && b->unwanted) {
        b->unwanted = 0;
        dload_i_batch_give(c, b);
    }
}

/* Publishes what is answered; with all set, the rest too, as status. Lets go of the mutex. */
DLOAD_I_NOINLINE void dload_i_publish_all(dload_i_core *c, dload_i_batch *b, bool all,
                                          dload_status status)
{
    dload_i_ready ready = {NULL, NULL, 0};
    dload_i_publishing how = {0, b->n, all, false, status, all ? b->rest_ttl_ns : 0};
    how.unindexed = all && dload_i_unindex_all(c, b);
    c->ops->publish(c, b, &how, &ready);
    dload_i_settle_up(c, b, &ready);
}

/* ---- batches run ---- */

DLOAD_I_LOCAL void dload_i_running_cut(dload_i_core *c, dload_i_batch *b)
{
    dload_i_batch **at = &c->running;
    while (*at != b)
        at = &(*at)->next;
    *at = b->next;
    b->next = NULL;
    c->n_running--;
}

/* Values that were answered before their batch was given up. Lets go of the mutex. */
DLOAD_I_LOCAL void dload_i_release_lost(dload_i_core *c, dload_i_batch *b)
{
    if (c->ops->release == NULL)
        return;
    dload_i_core_unlock(c);
    for (uint32_t i = 0; i < b->n; i++) {
        if (b->flights[i].holds)
            c->ops->release(b, i);
    }
    dload_i_core_lock(c);
}

/* The function is through with b. Lets go of the mutex; b is gone afterwards. */
DLOAD_I_NOINLINE void dload_i_finish(dload_i_core *c, dload_i_batch *b, dload_status status)
{
    if (b->state == DLOAD_I_RUNNING)
        dload_i_publish_all(c, b, true, status < 0 ? status : DLOAD_MISSING);
    if (b->state == DLOAD_I_RUNNING)
        dload_i_running_cut(c, b);
    else
        dload_i_release_lost(c, b);
    uint32_t n_keys = b->n;
    uint64_t started_ns = b->started_ns;
    dload_i_pace_learn(c, b);
    dload_i_let_go(c, b);
    dload_i_nudge(c, NULL); /* mutant FINISH_NO_NUDGE */
    for (dload_i_parker *p = c->closers; p != NULL; p = p->next_in_line)
        c->sync->unpark(p, c->env);
    bool wake = c->wake != NULL && (c->queue != NULL || c->open != NULL);
    bool hook = c->hooks != NULL && c->hooks->batch_end != NULL;
    if (wake || hook) {
        dload_i_core_unlock(c);
        if (hook) {
            uint64_t run_ns = dload_i_now(c->env) - started_ns;
            c->hooks->batch_end(c->hooks->ctx, n_keys, status, run_ns);
        }
        if (wake)
            c->wake(c->wake_ctx); /* a batch that waited for its turn may go */
        dload_i_core_lock(c);
    }
    c->n_out--; /* only now may the loader be destroyed */
}

/* The part of it that the fetch function runs in: the mutex is held on return only. */
DLOAD_I_INLINE void dload_i_run_fetch(dload_i_core *c, dload_i_batch *b)
{
    dload_i_batch *outer = dload_i_nest_enter(b);
    dload_status status = c->ops->run(c->owner, b);
    dload_i_nest_leave(outer);
    dload_i_core_lock(c);
    DLOAD_I_STORE_RELEASE(&b->in_fetch, (uint8_t)0);
    b->ended_ns = dload_i_now(c->env);
    if (status == DLOAD_PENDING && !b->done) {
        if (b->state == DLOAD_I_RUNNING)
            dload_i_publish_all(c, b, false, DLOAD_OK);
        return;
    }
    dload_i_finish(c, b, status == DLOAD_PENDING ? (dload_status)b->done_status : status);
}

/* dload_i_run, in a thread that cannot be cancelled. */
DLOAD_I_NOINLINE uint32_t dload_i_run_held(dload_i_core *c, dload_i_batch *b)
{
    dload_i_compact(c, b);
    uint32_t n_keys = b->n;
    if (n_keys == 0) { /* everybody cancelled */
        dload_i_batch_give(c, b);
        return 0;
    }
    b->state = DLOAD_I_RUNNING;
    b->token =
        c->clear_seq; /* clears from here on concern what this call returns: mutant TOKEN_LATE */
    DLOAD_I_STORE_RELEASE(&b->runner, dload_i_self(c->env));
    DLOAD_I_STORE_RELEASE(&b->in_fetch, (uint8_t)1); /* after the runner: nest.h reads both */
    b->started_ns = dload_i_now(c->env);
    b->next = c->running;
    c->running = b;
    c->n_running++;
    c->n_out++;
    c->stats.batches++;
    c->stats.keys += n_keys;
    c->stats.by_trigger[b->why]++;
    if (n_keys > c->stats.largest_batch)
        c->stats.largest_batch = n_keys;
    dload_trigger why = (dload_trigger)b->why;
    dload_i_core_unlock(c);
    if (c->hooks != NULL && c->hooks->batch_start != NULL)
        c->hooks->batch_start(c->hooks->ctx, n_keys, why);
    dload_i_run_fetch(c, b);
    return n_keys;
}

/* Sends a batch that is out of the queue: calls the fetch function without the mutex. Returns how many
 * keys went; b is gone, or pending. A cancelled thread would leave the batch out for ever, so that
 * cancellation waits meanwhile. */
DLOAD_I_NOINLINE uint32_t dload_i_run(dload_i_core *c, dload_i_batch *b)
{
    if (c->sync->hold == NULL)
        return dload_i_run_held(c, b);
    int before = c->sync->hold();
    uint32_t n_keys = dload_i_run_held(c, b);
    c->sync->unhold(before);
    return n_keys;
}

/* Gives up a running batch: who waits gets status, its keys can be loaded again, and what its function
 * still answers changes nothing. Lets go of the mutex. */
DLOAD_I_COLD void dload_i_abandon(dload_i_core *c, dload_i_batch *b, dload_status status)
{
    dload_i_ready ready = {NULL, NULL, 0};
    dload_i_publishing how = {0, b->n, true, false, status, 0};
    dload_i_running_cut(c, b);
    b->state = DLOAD_I_LOST; /* mutant ABANDONED_STAYS */
    c->stats.abandoned++;
    c->ops->publish(c, b, &how, &ready);
    dload_i_nudge(c, NULL); /* mutant ABANDON_NO_NUDGE */
    /* The function may end the batch as soon as the mutex is free: b is not used after. */
    dload_i_settle_up(c, NULL, &ready);
}

/* Gives up every batch that ran longer than run_limit_ns. Lets go of the mutex. */
DLOAD_I_COLD void dload_i_abandon_overdue(dload_i_core *c, uint64_t now_ns)
{
    if (c->run_limit_ns == DLOAD_NEVER)
        return;
    dload_i_batch *b = c->running;
    while (b != NULL) {
        bool overdue = now_ns > dload_i_add_ns(b->started_ns, c->run_limit_ns);
        if (overdue)
            dload_i_abandon(c, b, DLOAD_ETIMEDOUT);
        b = overdue ? c->running : b->next; /* the list may have changed meanwhile */
    }
}

/* An answer for place i was recorded by the typed half: from inside the function it is published when
 * that returns, so that a batch costs one walk; afterwards at once. Lets go of the mutex. */
DLOAD_I_LOCAL void dload_i_answered(dload_i_core *c, dload_i_batch *b, uint32_t i)
{
    if (b->in_fetch)
        return;
    b->ended_ns = dload_i_now(c->env);
    dload_i_ready ready = {NULL, NULL, 0};
    dload_i_publishing how = {i, i + 1, false, false, DLOAD_OK, 0};
    c->ops->publish(c, b, &how, &ready);
    dload_i_settle_up(c, b, &ready);
}

/* May place i be answered? DLOAD_OK, DLOAD_EBATCH, DLOAD_EBUSY, or DLOAD_ECANCELED when given up. */
DLOAD_I_LOCAL dload_status dload_i_may_answer(dload_i_core *c, const dload_i_batch *b, size_t i)
{
    if (b->state == DLOAD_I_LOST) {
        c->stats.late_answers++;
        return DLOAD_ECANCELED;
    }
    if (i >= b->n)
        return DLOAD_EBATCH;
    return b->flights[i].answered ? DLOAD_EBUSY : DLOAD_OK;
}

/* _batch_done. Lets go of the mutex; b may be gone. */
DLOAD_I_LOCAL void dload_i_done(dload_i_core *c, dload_i_batch *b, dload_status status)
{
    if (b->in_fetch) {
        b->done = 1;
        b->done_status = status;
    } else {
        b->ended_ns = dload_i_now(c->env);
        dload_i_finish(c, b, status);
    }
}

#endif /* DLOAD_I_RUN_H */

/* ==== runtime/crew.h ==== */

/* >>crew -- a registry and the threads that joined it: batches go when all of them wait.
 *
 * N threads that load from A, and with the answer from B, cost two batches when B is sent to only once
 * all of them wait for it. A thread that joins promises to come back soon: while it runs, nobody's batch
 * goes but by size, age or _dispatch. Who parks last finds nobody running, and sends what was gathered
 * in every loader of the registry. A call stops counting as parked when somebody wakes it, not when its
 * thread runs: otherwise the first one awake would take the others for parked and send for itself alone.
 * A round first gathers, then sends (model: tests/models).
 */
#ifndef DLOAD_I_CREW_H
#define DLOAD_I_CREW_H

#if DLOAD_FREESTANDING

DLOAD_I_INLINE void dload_i_crew_enter(const dload_i_core *c, dload_i_parker *p)
{
    (void)c;
    p->in_crew = false;
}

DLOAD_I_INLINE void dload_i_crew_desert(dload_i_core *c, dload_i_parker *p)
{
    (void)c;
    (void)p;
}

DLOAD_I_INLINE bool dload_i_crew_park(dload_i_core *c, dload_i_parker *p)
{
    (void)c;
    (void)p;
    return false;
}

#else

#ifdef __cplusplus
extern "C" {
#endif
/* The registry that this thread joined. Shared by all translation units, as in nest.h. */
DLOAD_I_OF_THREAD dload_registry *dload_i_crew_mine;
#ifdef __cplusplus
}
#endif

#define DLOAD_I_CREW_ONE (UINT32_C(1) << 16) /* one thread more */

/* A call begins to wait: as one of the crew? Not from inside a fetch function, which others wait for. */
DLOAD_I_LOCAL void dload_i_crew_enter(const dload_i_core *c, dload_i_parker *p)
{
    p->in_crew = c->threaded && c->registry != NULL && dload_i_crew_mine == c->registry &&
                 !dload_i_nested(c);
}

/* Does this say that everybody is parked? */
DLOAD_I_INLINE bool dload_i_crew_idle(uint32_t crew)
{
    return crew >> 16 == (crew & 0xffff);
}

/* Does any blocking call wait for b? If not, nobody but a round may send it. */
DLOAD_I_LOCAL bool dload_i_has_caller(const dload_i_batch *b)
{
    for (uint32_t i = 0; i < b->n; i++) {
        if (b->flights[i].many != NULL)
            return true;
        for (const dload_i_waiter *w = b->flights[i].head; w != NULL; w = w->next) {
            if (w->parker != NULL)
                return true;
        }
    }
    return false;
}

/* Everybody is parked: marks what is open now, and wakes nobody meanwhile. Whoever woke up would ask on, and
 * what it opens is the next level's: mutant ROUND_SENDS_AT_ONCE. Rounds exclude each other until their
 * thread does not count as parked any more: who woke up by itself may have found itself the last one
 * beside another. Returns whether there is something to send. r->round is held, and no mutex. */
DLOAD_I_LOCAL bool dload_i_crew_gather(dload_registry *r)
{
    bool found = false;
    if (!dload_i_crew_idle(DLOAD_I_LOAD_ACQUIRE(&r->crew)))
        return false;
    for (dload_i_core *c = r->first; c != NULL; c = c->next_in_registry) {
        if (dload_i_core_forked(c))
            return false;
        dload_i_core_lock(c);
        for (dload_i_batch *b = c->open; b != NULL; b = b->next) {
            b->goes = 1;
            found = true;
        }
        for (const dload_i_batch *b = c->queue; b != NULL && !found; b = b->next)
            found = dload_i_has_place(c) && !dload_i_has_caller(b);
        dload_i_core_unlock(c);
    }
    return found;
}

/* Sends what was gathered: wakes somebody for each batch that is not p's own (p may be NULL), and runs
 * those that only callbacks wait for. No mutex is held. */
DLOAD_I_LOCAL void dload_i_crew_send(dload_registry *r, const dload_i_parker *p)
{
    for (dload_i_core *c = r->first; c != NULL; c = c->next_in_registry) {
        dload_i_core_lock(c);
        for (dload_i_batch *b = c->open, *next = NULL; b != NULL; b = next) {
            next = b->next;
            if (b->goes)
                dload_i_enqueue(c, b, DLOAD_BY_IDLE);
        }
        dload_i_batch *before = NULL;
        for (dload_i_batch *b = c->queue; b != NULL && dload_i_has_place(c);) {
            if (dload_i_has_caller(b)) {
                /* p's requests are all of one loader, whose mutex alone guards them. */
                if (p == NULL || p->core != (void *)c || !dload_i_waits_for(p, b))
                    (void)dload_i_nudge_one(c, b, p);
                before = b;
                b = b->next;
                continue;
            }
            (void)dload_i_run(c, dload_i_queue_pop(c, before));
            before = NULL; /* the queue may be another one now */
            b = c->queue;
        }
        dload_i_core_unlock(c);
    }
}

/* dload_registry.park: a call of c is about to sleep, as one of the crew. The last one sends instead, and
 * does not count as parked meanwhile: true = look again. Lets go of the mutex. */
DLOAD_I_NOINLINE bool dload_i_crew_park_last(dload_i_core *c, dload_i_parker *p)
{
    dload_registry *r = c->registry;
    p->counted = true;
    if (!dload_i_crew_idle(DLOAD_I_ADD_ORDERED(&r->crew, 1u)))
        return false;
    dload_i_core_unlock(c);
    dload_i_spin_lock(&r->round);
    bool found = dload_i_crew_gather(r);
    dload_i_core_lock(c);
    if (found)
        dload_i_uncount(c, p);
    dload_i_core_unlock(c);
    dload_i_spin_unlock(&r->round);
    if (found)
        dload_i_crew_send(r, p);
    dload_i_core_lock(c);
    return true; /* even if nothing was sent: something may have come for it meanwhile */
}

/* A call of c is about to sleep: true = look again instead. Lets go of the mutex. */
DLOAD_I_LOCAL bool dload_i_crew_park(dload_i_core *c, dload_i_parker *p)
{
    return p->in_crew && !p->counted && DLOAD_I_LOAD_ACQUIRE(&c->registry->park)(c, p);
}

/* Makes this thread one of those whose loads from the registry's loaders are sent together, once all of
 * them wait. Join before the first of the threads begins to load. Under DLOAD_LOCK_NONE it has no
 * effect. DLOAD_OK; DLOAD_EBUSY when the thread is in a registry already; DLOAD_EINVAL. O(1). */
DLOAD_I_LOCAL dload_status dload_registry_join(dload_registry *r)
{
    if (r == NULL || dload_i_crew_mine != NULL)
        return r == NULL ? DLOAD_EINVAL : DLOAD_EBUSY;
    dload_i_crew_mine = r;
    DLOAD_I_STORE_RELEASE(&r->park, &dload_i_crew_park_last);
    (void)DLOAD_I_ADD_ORDERED(&r->crew, DLOAD_I_CREW_ONE);
    return DLOAD_OK;
}

/* A thread was cancelled in its sleep: nobody waits for it any more. The others see it when they look
 * again, within 100 ms. */
DLOAD_I_LOCAL void dload_i_crew_desert(dload_i_core *c, dload_i_parker *p)
{
    dload_i_uncount(c, p);
    if (dload_i_crew_mine != NULL)
        (void)DLOAD_I_SUB_ORDERED(&dload_i_crew_mine->crew, DLOAD_I_CREW_ONE);
    dload_i_crew_mine = NULL;
}

/* The end of that; a thread that has nothing more to load leaves, so that the others do not wait for it.
 * One that is cancelled in a load leaves by itself. DLOAD_OK; DLOAD_EINVAL when it is not in r. May
 * run fetch functions that only callbacks wait for. */
DLOAD_I_LOCAL dload_status dload_registry_leave(dload_registry *r)
{
    if (r == NULL || dload_i_crew_mine != r)
        return DLOAD_EINVAL;
    dload_i_crew_mine = NULL;
    for (;;) {
        uint32_t crew = DLOAD_I_SUB_ORDERED(&r->crew, DLOAD_I_CREW_ONE);
        if (crew == 0 || !dload_i_crew_idle(crew))
            return DLOAD_OK;
        dload_i_spin_lock(&r->round);
        bool found = dload_i_crew_gather(r);
        if (found) /* it is still there while it sends for the others, and then leaves once more */
            (void)DLOAD_I_ADD_ORDERED(&r->crew, DLOAD_I_CREW_ONE);
        dload_i_spin_unlock(&r->round);
        if (!found)
            return DLOAD_OK;
        dload_i_crew_send(r, NULL);
    }
}

#endif /* DLOAD_FREESTANDING */

#endif /* DLOAD_I_CREW_H */

/* ==== runtime/drive.h ==== */

/* >>drive -- who sends a batch, and when: blocking callers, explicit dispatch, event loops, close.
 *
 * None: a blocking call sends what is queued by itself. Threads: the first caller that has to wait for
 * an open batch leads it, lingers while more keys may come, and sends it; there is no thread of our
 * own (leader/follower; checked as a model, tests/models). Loop: _process and _next_deadline.
 * The mutex is held on entry and on return, and let go whenever user code runs or a caller sleeps.
 */
#ifndef DLOAD_I_DRIVE_H
#define DLOAD_I_DRIVE_H

/* A fetch function that loads must not wait for its own place among the running ones. */
DLOAD_I_LOCAL bool dload_i_may_send(const dload_i_core *c)
{
    return dload_i_has_place(c) || dload_i_runs_here(c);
}

/* The open batch that this call waits for, or NULL. Its keys share one group, so that there is one. */
DLOAD_I_LOCAL dload_i_batch *dload_i_open_for(const dload_i_core *c, const dload_i_parker *p)
{
    if (c->open == NULL)
        return NULL;
    if (!c->grouped)
        return dload_i_waits_for(p, c->open) ? c->open : NULL;
    for (const dload_i_waiter *w = p->first; w != NULL; w = w->sib) {
        if (w->batch != NULL && w->batch->state == DLOAD_I_OPEN)
            return w->batch;
    }
    return NULL;
}

/* The batch that a blocking call should send now, out of the queue; NULL = wait. */
DLOAD_I_NOINLINE dload_i_batch *dload_i_take_due(dload_i_core *c, const dload_i_parker *p,
                                                 uint64_t now_ns)
{
    /* Under parks others of this thread go on, and may ask for more. */
    if (dload_i_parks(c->env) || (c->bounded && !dload_i_may_send(c)))
        return NULL;
    if (!c->threaded) {
        if (c->queue == NULL) {
            dload_i_batch *b = dload_i_open_for(c, p);
            if (b == NULL)
                return NULL;
            dload_i_enqueue(c, b, DLOAD_BY_IDLE);
        }
        return dload_i_queue_pop(c, NULL);
    }
    dload_i_batch *before = NULL;
    for (dload_i_batch *b = c->queue; b != NULL; before = b, b = b->next) {
        if (dload_i_waits_for(p, b))
            return dload_i_queue_pop(c, before);
    }
    dload_i_batch *b = dload_i_open_for(c, p);
    dload_trigger why = DLOAD_BY_IDLE;
    if (b == NULL)
        return NULL;
    if (c->settle_ns == 0 && b->n_calls != b->n_calls_seen) {
        b->n_calls_seen = b->n_calls; /* one look at the clock a call is enough */
        b->last_key_ns = now_ns;
    }
    if (now_ns < dload_i_due_at(c, b, p, &why))
        return NULL;
    before = c->queue_tail;
    dload_i_enqueue(c, b, why);
    return dload_i_queue_pop(c, before);
}

/* When a sleeper has to look for batches that hang, those included that are sent while it sleeps: mutant
 * FOLLOWER_NO_LIMIT. */
DLOAD_I_NOINLINE uint64_t dload_i_next_look(const dload_i_core *c)
{
    uint64_t until_ns = dload_i_add_ns(dload_i_add_ns(dload_i_now(c->env), c->run_limit_ns), 1);
    for (const dload_i_batch *b = c->running; b != NULL; b = b->next) {
        uint64_t end_ns = dload_i_add_ns(b->started_ns, c->run_limit_ns);
        if (end_ns < until_ns)
            until_ns = dload_i_add_ns(end_ns, 1);
    }
    return until_ns;
}

/* How long a blocking call may sleep; it takes the lead of an open batch that has no leader. */
DLOAD_I_NOINLINE uint64_t dload_i_sleep_until(dload_i_core *c, dload_i_parker *p,
                                              dload_i_batch **led)
{
    uint64_t until_ns = dload_i_next_look(c);
    dload_i_batch *b = dload_i_parks(c->env) ? NULL : dload_i_open_for(c, p);
    if (b == NULL)
        return until_ns; /* who is parked cannot send, and so not lead */
    bool place = dload_i_has_place(c);
    bool may_send = place || p->inside;
    /* A leader of a crew waits for its crew; who is not of it does not: mutant FOLLOWS_CREW. */
    bool other_leads = b->leader != NULL && b->leader != p && (p->in_crew || !b->leader->in_crew);
    /* One who may send does not wait for a leader who may not: mutant NESTED_FOLLOWS. */
    if (other_leads && (place || b->leader->inside || !may_send))
        return until_ns;
    dload_trigger why = DLOAD_BY_IDLE;
    uint64_t due_ns = dload_i_due_at(c, b, p, &why);
    b->leader = p;
    *led = b;
    b->timed = may_send && due_ns < until_ns;
    if (!may_send)
        return until_ns;
    if (!b->lingered)
        b->n_calls_before = b->n_calls;
    b->lingered = 1;
    return b->timed ? due_ns : until_ns;
}

/* A call of _close does not wait any more, if it did. */
DLOAD_I_LOCAL void dload_i_closer_leave(dload_i_core *c, const dload_i_parker *p)
{
    dload_i_parker **at = &c->closers;
    while (*at != NULL && *at != p)
        at = &(*at)->next_in_line;
    if (*at != NULL)
        *at = p->next_in_line;
}

/* A sleeper ends without waking up: its thread was cancelled. Its requests leave as at a deadline, and
 * the lead, if it had it, passes on: otherwise the others wait for a dead leader. */
DLOAD_I_UNUSED static void dload_i_give_up(dload_i_parker *p)
{
    dload_i_core *c = (dload_i_core *)p->core;
    for (dload_i_waiter *w = p->first; w != NULL;) {
        dload_i_waiter *next = w->sib;
        if (w->batch != NULL)
            dload_i_unwait(c, w, DLOAD_ECANCELED);
        if (p->pooled)
            dload_i_waiter_give(c, w);
        w = next;
    }
    for (dload_i_batch *b = c->open; b != NULL; b = b->next) {
        if (b->leader == p) {
            b->leader = NULL; /* mutant LEAD_KEPT */
            b->timed = 0;
        }
    }
    for (dload_i_batch *b = c->queue; b != NULL; b = b->next) {
        if (b->leader == p)
            b->leader = NULL;
    }
    dload_i_line_leave(c, p);
    dload_i_pace_leave(c, p);
    dload_i_crew_desert(c, p);
    dload_i_closer_leave(c, p);
    dload_i_nudge(c, p);
}

/* Sleeps until somebody has something for p, or until_ns; one of a crew counts as parked meanwhile. */
DLOAD_I_LOCAL dload_status dload_i_rest(dload_i_core *c, dload_i_parker *p, uint64_t until_ns)
{
    if (c->owed != NULL) {
        dload_i_core_unlock(c); /* others first; meanwhile anything may have happened */
        dload_i_core_lock(c);
        return DLOAD_OK;
    }
    p->asleep = true;
    dload_status st = c->sync->park(c->mutex, p, c->env, until_ns);
    p->asleep = false;
    dload_i_uncount(c, p);
    return st;
}

/* dload_i_wait, for a call that waits for itself nowhere. */
DLOAD_I_NOINLINE dload_status dload_i_wait_loop(dload_i_core *c, dload_i_parker *p,
                                                uint64_t deadline_ns)
{
    dload_i_batch *led = NULL;
    while (p->pending != 0) {
        uint64_t now_ns = dload_i_now(c->env);
        if (now_ns >= deadline_ns)
            return DLOAD_ETIMEDOUT;
        dload_i_abandon_overdue(c, now_ns); /* its place may be ours: mutant TAKE_BEFORE_ABANDON */
        if (p->pending == 0)
            break;
        p->inside = dload_i_runs_here(c);
        dload_i_batch *b = dload_i_take_due(c, p, now_ns);
        if (b != NULL) {
            dload_i_uncount(c, p);
            /* While this call is busy, somebody else leads: mutant SENDER_KEEPS_LEAD. */
            dload_i_nudge(c, p);
            (void)dload_i_run(c, b);
            continue;
        }
        if (dload_i_crew_park(c, p))
            continue;
        uint64_t until_ns = dload_i_sleep_until(c, p, &led);
        dload_status st = dload_i_rest(c, p, until_ns < deadline_ns ? until_ns : deadline_ns);
        /* Somebody else may lead now, or nobody: batches are never freed before destroy. */
        if (led != NULL && led->leader == p) {
            led->leader = NULL;
            led->timed = 0;
        }
        if (st < 0)
            return st;
    }
    return DLOAD_OK;
}

/* Waits until every request of this call is answered: sends what is due, leads, sleeps.
 * DLOAD_OK; DLOAD_ETIMEDOUT or what env->wait said, and then some are not answered. */
DLOAD_I_NOINLINE dload_status dload_i_wait(dload_i_core *c, dload_i_parker *p, uint64_t deadline_ns)
{
    if (!dload_i_nest_wait(c, p))
        return DLOAD_EDEADLK;
    dload_i_pace_enter(c, p);
    dload_i_crew_enter(c, p);
    dload_status st = dload_i_wait_loop(c, p, deadline_ns);
    if (p->promised)
        c->sync->collect(p); /* mutant NO_COLLECT */
    p->promised = false;
    dload_i_uncount(c, p);
    dload_i_pace_leave(c, p);
    dload_i_nest_end(c);
    if (p->pending == 0)
        return DLOAD_OK;
    dload_i_nudge(c, p); /* the lead, if it was ours, passes on: mutant NO_HANDOFF */
    return st;
}

/* Callbacks that waited for this thread, in the order of their answers. */
DLOAD_I_LOCAL void dload_i_call_back(dload_i_core *c)
{
    dload_i_ready ready = {c->ready, NULL, 0};
    c->ready = c->ready_tail = NULL;
    dload_i_call_all(c, &ready);
}

/* Sends what is queued now, and only that: what callbacks add is for the next call. Returns keys. */
DLOAD_I_NOINLINE size_t dload_i_dispatch(dload_i_core *c, dload_trigger why)
{
    size_t n_keys = 0;
    dload_i_enqueue_all(c, why);
    uint32_t n_batches = 0;
    for (const dload_i_batch *b = c->queue; b != NULL; b = b->next)
        n_batches++;
    while (n_batches-- > 0 && c->queue != NULL)
        n_keys += dload_i_run(c, dload_i_queue_pop(c, NULL));
    dload_i_call_back(c);
    return n_keys;
}

/* May this call take room now? Those who wait in line for it come first; calls that may not wait do not
 * stand behind them. */
DLOAD_I_LOCAL bool dload_i_has_turn(const dload_i_core *c, const dload_i_parker *p)
{
    return c->line == NULL || p == NULL || p->has_turn || dload_i_nested(c);
}

/* The queue is full: waits until there is room for a key, where that is wanted. DLOAD_OK, and it is worth
 * asking again; DLOAD_EAGAIN when this call may not wait; DLOAD_ECLOSED, DLOAD_ETIMEDOUT, or what
 * env->wait said. A fetch function never waits here: what fills the queue may wait for it. */
DLOAD_I_COLD dload_status dload_i_wait_room(dload_i_core *c, dload_i_parker *p,
                                            uint64_t deadline_ns)
{
    if (!c->queue_wait || dload_i_nested(c))
        return DLOAD_EAGAIN;
    if (!c->threaded && !dload_i_parks(c->env))
        (void)dload_i_dispatch(c, DLOAD_BY_IDLE); /* nobody else makes room */
    dload_status st = DLOAD_OK;
    dload_i_crew_enter(c, p);
    dload_i_line_enter(c, p);
    while (st >= 0 && !c->closed && (c->line != p || c->n_flights >= c->max_queue)) {
        uint64_t now_ns = dload_i_now(c->env);
        if (now_ns >= deadline_ns) {
            st = DLOAD_ETIMEDOUT;
            break;
        }
        dload_i_abandon_overdue(c, now_ns);
        if ((c->line == p && c->n_flights < c->max_queue) || dload_i_crew_park(c, p))
            continue;
        uint64_t look_ns = dload_i_next_look(c);
        st = dload_i_rest(c, p, look_ns < deadline_ns ? look_ns : deadline_ns);
    }
    dload_i_uncount(c, p);
    dload_i_line_leave(c, p);
    p->has_turn = st >= 0;
    return c->closed ? DLOAD_ECLOSED : st;
}

/* An event loop's turn at now_ns. */
DLOAD_I_LOCAL void dload_i_process(dload_i_core *c, uint64_t now_ns)
{
    dload_i_call_back(c);
    dload_i_abandon_overdue(c, now_ns);
    for (dload_i_batch *b = c->open, *next = NULL; b != NULL && dload_i_may_send(c); b = next) {
        dload_trigger why = DLOAD_BY_SETTLE;
        next = b->next;
        if (now_ns >= dload_i_settled_at(c, b, &why))
            dload_i_enqueue(c, b, why);
    }
    uint32_t n_batches = 0;
    for (const dload_i_batch *b = c->queue; b != NULL; b = b->next)
        n_batches++;
    while (n_batches-- > 0 && c->queue != NULL && dload_i_may_send(c))
        (void)dload_i_run(c, dload_i_queue_pop(c, NULL));
    dload_i_call_back(c);
}

/* When dload_i_process has something to do; a time that has passed means at once. */
DLOAD_I_LOCAL uint64_t dload_i_deadline(const dload_i_core *c)
{
    uint64_t at_ns = DLOAD_NEVER;
    if (c->ready != NULL)
        return 0;
    for (const dload_i_batch *b = c->running; b != NULL && c->run_limit_ns != DLOAD_NEVER;
         b = b->next) {
        uint64_t end_ns = dload_i_add_ns(dload_i_add_ns(b->started_ns, c->run_limit_ns), 1);
        at_ns = end_ns < at_ns ? end_ns : at_ns;
    }
    if (!dload_i_has_place(c))
        return at_ns; /* a batch has to end first */
    if (c->queue != NULL)
        return c->queue->opened_ns;
    for (const dload_i_batch *b = c->open; b != NULL; b = b->next) {
        dload_trigger why = DLOAD_BY_SETTLE;
        uint64_t due_ns = dload_i_settled_at(c, b, &why);
        at_ns = due_ns < at_ns ? due_ns : at_ns;
    }
    return at_ns;
}

DLOAD_I_LOCAL void dload_i_expect(dload_i_core *c, uint32_t n)
{
    c->expect = n;
    if (n != 0 && c->n_open_keys >= n)
        dload_i_enqueue_all(c, DLOAD_BY_EXPECT);
}

/* ---- the end ---- */

/* Ends every key that was not sent with status. */
DLOAD_I_LOCAL void dload_i_fail_queued(dload_i_core *c, dload_status status)
{
    dload_i_enqueue_all(c, DLOAD_BY_CLOSE);
    while (c->queue != NULL) {
        dload_i_batch *b = dload_i_queue_pop(c, NULL);
        dload_i_ready ready = {NULL, NULL, 0};
        dload_i_compact(c, b);
        dload_i_publishing how = {0, b->n, true, false, status, 0};
        c->ops->publish(c, b, &how, &ready);
        dload_i_settle_up(c, b, &ready);
        dload_i_batch_give(c, b);
    }
}

/* _close, with the parker of the caller. */
DLOAD_I_LOCAL dload_status dload_i_close(dload_i_core *c, dload_close_mode mode, dload_i_parker *p,
                                         uint64_t deadline_ns)
{
    if (dload_i_runs_here(c))
        return DLOAD_EBUSY; /* from inside the fetch function: it would wait for itself */
    DLOAD_I_STORE_RELAXED(&c->closed, true);
    for (dload_i_parker *q = c->line; q != NULL; q = q->next_in_line)
        dload_i_wake(c, q);
    if (mode == DLOAD_FAIL)
        dload_i_fail_queued(c, DLOAD_ECLOSED);
    else
        while (c->queue != NULL || c->open != NULL)
            (void)dload_i_dispatch(c, DLOAD_BY_CLOSE);
    dload_status st = DLOAD_OK;
    while (c->n_running != 0 && st == DLOAD_OK) {
        uint64_t now_ns = dload_i_now(c->env);
        dload_i_abandon_overdue(c, now_ns);
        if (c->n_running == 0)
            break;
        if (now_ns >= deadline_ns) {
            st = DLOAD_ETIMEDOUT;
            break;
        }
        p->next_in_line = c->closers;
        c->closers = p;
        uint64_t look_ns = dload_i_next_look(c);
        st = dload_i_rest(c, p, look_ns < deadline_ns ? look_ns : deadline_ns);
        dload_i_closer_leave(c, p);
    }
    /* Nobody is left behind; only a drain that cannot wait here may be called again. */
    while (c->running != NULL && !(mode == DLOAD_DRAIN && st == DLOAD_EAGAIN))
        dload_i_abandon(c, c->running, mode == DLOAD_FAIL ? DLOAD_ECLOSED : DLOAD_ETIMEDOUT);
    dload_i_call_back(c);
    return c->n_running == 0 && st == DLOAD_EAGAIN ? DLOAD_OK : st;
}

#endif /* DLOAD_I_DRIVE_H */

/* ==== runtime/registry.h ==== */

/* >>registry -- loaders that are dispatched together, so that chains of loads batch by level.
 *
 * N callers that load from A, and with the answer from B, cost two batches when both loaders are sent
 * to only once all callers wait. A registry is that list of loaders; whoever knows that all callers
 * wait (an event loop at the end of its turn, a scheduler of fibers) dispatches it.
 */
#ifndef DLOAD_I_REGISTRY_H
#define DLOAD_I_REGISTRY_H

/* Prepares a registry; loaders enter it by config.registry and leave it by _destroy. Loaders enter, leave
 * and are dispatched from one thread at a time, and none enters or leaves while a thread is joined. */
DLOAD_I_LOCAL void dload_registry_init(dload_registry *r)
{
    memset(r, 0, sizeof *r);
}

DLOAD_I_LOCAL void dload_i_registry_add(dload_registry *r, dload_i_core *c)
{
    dload_i_core **at = &r->first;
    while (*at != NULL)
        at = &(*at)->next_in_registry;
    *at = c;
    c->next_in_registry = NULL;
    r->n_loaders++;
}

DLOAD_I_LOCAL void dload_i_registry_remove(dload_registry *r, dload_i_core *c)
{
    dload_i_core **at = &r->first;
    while (*at != c)
        at = &(*at)->next_in_registry;
    *at = c->next_in_registry;
    r->n_loaders--;
}

/* Is a key queued, or a callback waiting, in any loader? */
DLOAD_I_LOCAL bool dload_registry_pending(const dload_registry *r)
{
    bool pending = false;
    for (dload_i_core *c = r->first; c != NULL && !pending; c = c->next_in_registry) {
        if (dload_i_core_forked(c))
            continue;
        dload_i_core_lock(c);
        pending = c->open != NULL || c->queue != NULL || c->ready != NULL;
        dload_i_core_unlock(c);
    }
    return pending;
}

/* Sends what is queued in every loader, once: what callbacks add goes with the next round. Adds the
 * number of keys sent to *n_keys (may be NULL). Returns whether there was anything to do. */
DLOAD_I_LOCAL bool dload_registry_round(dload_registry *r, size_t *n_keys)
{
    bool any = false;
    for (dload_i_core *c = r->first; c != NULL; c = c->next_in_registry) {
        if (dload_i_core_forked(c))
            continue;
        dload_i_core_lock(c);
        if (c->open != NULL || c->queue != NULL || c->ready != NULL) {
            any = true;
            size_t n = dload_i_dispatch(c, DLOAD_BY_IDLE);
            if (n_keys != NULL)
                *n_keys += n;
        }
        dload_i_core_unlock(c);
    }
    return any;
}

/* Sends what is queued in every loader, again and again, until nothing is queued anywhere: one batch a
 * level, however many callers there are. Answers that are still pending do not count as queued. */
DLOAD_I_LOCAL size_t dload_registry_dispatch(dload_registry *r)
{
    size_t n_keys = 0;
    while (dload_registry_round(r, &n_keys)) {
    }
    return n_keys;
}

#endif /* DLOAD_I_REGISTRY_H */

/* ==== runtime/carry.h ==== */

/* >>carry -- what values need that leave the process: a checksum, a clock that goes on, clean padding.
 *
 * Included by the first loader that has DLOAD_SNAPSHOT or DLOAD_STORE, so that nobody else compiles it.
 */

#if ((defined(DLOAD_SNAPSHOT) && DLOAD_SNAPSHOT) || (defined(DLOAD_STORE) && DLOAD_STORE)) && \
    !defined(DLOAD_I_CARRY_H)
#define DLOAD_I_CARRY_H

/* Padding would carry out of the process whatever lay there before. */
#ifdef __has_builtin
#if __has_builtin(__builtin_clear_padding)
#define DLOAD_I_CLEAR_PADDING(value) __builtin_clear_padding(value)
#endif
#endif
#ifndef DLOAD_I_CLEAR_PADDING
#define DLOAD_I_CLEAR_PADDING(value) ((void)(value))
#endif

/* Every step can be undone, so that two inputs which differ within one word never have one sum; others do
 * by chance of 2^-64. (The round is that of XXH64's tail, Collet 2012.) It is part of the form: unlike the
 * hash of a table it may never change. */
DLOAD_I_INLINE uint64_t dload_i_sum_word(uint64_t sum, uint64_t word)
{
    word *= UINT64_C(0x9fb21c651e98df25);
    word = (word << 31) | (word >> 33);
    sum ^= word * UINT64_C(0xd6e8feb86659fd93);
    sum = (sum << 27) | (sum >> 37);
    return sum * UINT64_C(0xd6e8feb86659fd93) + UINT64_C(0x52dce729da3ed7bb);
}

DLOAD_I_LOCAL uint64_t dload_i_sum(uint64_t seed, const void *bytes, size_t n_bytes)
{
    const char *p = (const char *)bytes;
    uint64_t sum = dload_i_sum_word(seed, (uint64_t)n_bytes);
    uint64_t word = 0;
    for (; n_bytes >= sizeof word; n_bytes -= sizeof word, p += sizeof word) {
        memcpy(&word, p, sizeof word);
        sum = dload_i_sum_word(sum, word);
    }
    word = 0;
    if (n_bytes != 0)
        memcpy(&word, p, n_bytes);
    sum = dload_i_sum_word(sum, word);
    sum ^= sum >> 32; /* the last multiplication leaves the low bits weak */
    return sum * UINT64_C(0x9fb21c651e98df25);
}

/* ns by a clock that goes on while the program does not; DLOAD_NEVER = there is none. */
#if DLOAD_FREESTANDING
DLOAD_I_LOCAL uint64_t dload_i_clock_wall(void)
{
    return DLOAD_NEVER;
}
#else
#ifdef CLOCK_REALTIME
#define DLOAD_I_CLOCK_WALL CLOCK_REALTIME
#else
#define DLOAD_I_CLOCK_WALL 0 /* a strict -std=c11 with <time.h> included before us hides it */
#endif
DLOAD_I_LOCAL uint64_t dload_i_clock_wall(void)
{
    struct timespec ts;
    (void)clock_gettime(DLOAD_I_CLOCK_WALL, &ts);
    return (uint64_t)ts.tv_sec * DLOAD_SECOND + (uint64_t)ts.tv_nsec;
}
#endif

#endif /* DLOAD_I_CARRY_H */

/* ==== runtime/backend.h ==== */

/* >>backend -- the store interface: what a second level is asked, and how it is counted.
 *
 * A store keeps byte strings under byte strings: memory, SQLite, Redis, PostgreSQL, or two of them on
 * top of each other. It is known by one function, run, which is given a request for any number of keys;
 * a store that wraps another passes requests on without looking inside. Everybody goes through
 * dload_store_run: there requests are counted, observers told, and a store that keeps failing left alone for a
 * while (the circuit breaker). Nothing here knows a key's or a value's type.
 *
 * Included by whoever defines DLOAD_STORE 1, a loader or, without a DLOAD_NAME, a program that uses
 * stores alone.
 */

#if defined(DLOAD_STORE) && DLOAD_STORE && !defined(DLOAD_I_BACKEND_H)
#define DLOAD_I_BACKEND_H

#if DLOAD_I_ONE_THREAD || (DLOAD_FREESTANDING && !DLOAD_I_WIDE_ATOMICS)
#error \
    "dataloader.h: DLOAD_STORE needs atomic numbers of eight bytes, which tcc and small cores do not have"
#endif

/* What a request asks. */
typedef enum dload_store_kind {
    DLOAD_STORE_GET = 0,    /* items' values, by key */
    DLOAD_STORE_SET = 1,    /* stores values, each for its ttl_ns, whatever was there */
    DLOAD_STORE_DELETE = 2, /* removes keys, and revokes their leases */
    DLOAD_STORE_CLEAR =
        3, /* removes every key that begins with items[0].key, and leases likewise */
    DLOAD_STORE_LEASE = 4, /* GET; a key without a value is promised to whoever asks first */
    DLOAD_STORE_FILL = 5,  /* SET by who holds the lease; ends it */
    DLOAD_STORE_DROP = 6,  /* ends a lease without a value: the fetch failed */
    DLOAD_STORE_N_KINDS = 7
} dload_store_kind;

/* What a store can do: dload_store.flags. */
#define DLOAD_STORE_TTL    1u /* ends entries by itself when their ttl_ns passed */
#define DLOAD_STORE_BATCH  2u /* a request for many keys costs less than one for each */
#define DLOAD_STORE_ASYNC  4u /* run may return DLOAD_PENDING, when op->done is set */
#define DLOAD_STORE_LEASES 8u /* knows LEASE, FILL and DROP */

/* One key of a request. Bytes are the asker's until the request is done, but for values of GET and LEASE:
 * those are the store's until dload_store_release. */
typedef struct dload_store_item {
    const char *key; /* any bytes; not NULL */
    size_t key_bytes;
    const void
        *value; /* SET, FILL: in; GET, LEASE: out, while status is DLOAD_OK; NULL when empty */
    size_t value_bytes;
    /* SET, FILL: in, how long to keep it, > 0, DLOAD_NEVER = no end. LEASE: in, how long to hold the lease;
     * out with DLOAD_EBUSY, when to ask again at the latest. GET, LEASE: out with DLOAD_OK, what is left,
     * DLOAD_NEVER when it has no end or the store does not say. */
    uint64_t ttl_ns;
    /* LEASE, FILL, DROP: in, 128 bits that nobody else uses. Who asks again by the same ones, because an answer
     * was lost or a key comes twice in a request, has the lease still. */
    uint64_t lease[2];
    /* GET: OK or MISSING. LEASE: OK, a value; MISSING, the lease is the asker's; EBUSY, it is another's.
     * SET: OK. FILL: OK, or ELOCK: the lease was lost and nothing is stored. DELETE, CLEAR, DROP: OK, were
     * there anything or not. Any: ETOOBIG, EBACKEND, EDECODE, ENOMEM, ETIMEDOUT for this key alone. */
    dload_status status;
} dload_store_item;

struct dload_store;

/* A request. Zero it, fill in the first block; nobody but the store touches it from run to done. */
typedef struct dload_store_op {
    dload_store_kind kind;
    dload_store_item *items; /* the asker's */
    size_t n;
    uint64_t timeout_ns; /* the longest that run may take; 0 = the store's own default */
    /* Called once, from any thread and with no lock of the store's held, when run returned DLOAD_PENDING; the
     * request is the asker's again. NULL = run blocks until it is through. */
    void (*done)(struct dload_store_op *op, dload_status status);
    void *ctx; /* the asker's */

    void *
        results; /* the store's: what the values of GET and LEASE lie in; NULL = nothing to release */
    /* private: dload_store_run's */
    struct dload_store *store;
    void (*then)(struct dload_store_op *op, dload_status status);
    uint64_t started_ns;
    void *inner; /* a wrapping store's */
} dload_store_op;

/* Observers of one store, each NULL or called with no lock held, from the thread that caused it. */
typedef struct dload_store_hooks {
    void (*op)(void *ctx, const char *store, dload_store_kind kind, size_t n_keys,
               dload_status status, uint64_t took_ns);
    /* A sentence for a log: connected, lost, gave up, damaged. Holds no secret and no value. */
    void (*log)(void *ctx, const char *store, const char *text);
    void *ctx;
} dload_store_hooks;

/* Counters since a store was made. */
typedef struct dload_store_stats {
    uint64_t ops[DLOAD_STORE_N_KINDS];  /* requests */
    uint64_t keys[DLOAD_STORE_N_KINDS]; /* keys in them */
    uint64_t hits;                      /* keys that GET or LEASE found */
    uint64_t misses;                    /* ... did not find */
    uint64_t errors;                    /* requests that failed as a whole */
    uint64_t key_errors;                /* keys that failed by themselves */
    uint64_t refused;     /* requests refused at once, because the store kept failing */
    uint64_t leases_lost; /* FILLs that came too late */
    uint64_t run_ns;      /* time in requests */
} dload_store_stats;

/* A store, as its users see it: the first member of whatever an adapter makes. Fields up to hooks are
 * set by the adapter's _init, hooks by the user before the first request; the rest is private. */
typedef struct dload_store {
    const char *name;     /* "sqlite", for logs and metrics */
    uint32_t flags;       /* DLOAD_STORE_TTL ... */
    const dload_env *env; /* clock and memory; not NULL */
    /* DLOAD_OK: through, and each item has its status. DLOAD_PENDING: op->done will be called. Anything
     * else: nothing is known of any item (what SET and DELETE did so far stays). May be called from any
     * thread, by several at a time. A kind that a store does not know is DLOAD_EINVAL. */
    dload_status (*run)(struct dload_store *s, dload_store_op *op);
    /* Frees op->results, which is not NULL; the items need not be there any more. */
    void (*release)(struct dload_store *s, dload_store_op *op);
    const dload_store_hooks *hooks; /* must outlive the store; NULL = none */
    /* The breaker: after so many failures in a row requests are refused for a while, which doubles up to
     * break_max_ns as long as the first one let through fails too. 0 = 5, 100 ms, 5 s. */
    uint32_t break_after;
    uint64_t break_ns, break_max_ns;
    uint32_t n_failed; /* in a row */
    uint64_t closed_until_ns;
    uint64_t closed_for_ns;
    dload_store_stats stats;
} dload_store;

/* ---- requests ---- */

/* Does this status say that the store is not well? What one key or one caller did wrong does not, nor does a
 * queue that is full for now: it says so at once, and what it is full of will tell. */
DLOAD_I_LOCAL bool dload_i_store_ill(dload_status st)
{
    return st < 0 && st != DLOAD_EINVAL && st != DLOAD_ETOOBIG && st != DLOAD_ENOMEM &&
           st != DLOAD_EAGAIN && st != DLOAD_ECANCELED && st != DLOAD_ECLOSED && st != DLOAD_EFORK;
}

/* May a request go? While the store is left alone only the first one after each pause may. */
DLOAD_I_LOCAL bool dload_i_store_open(dload_store *s, uint64_t now_ns)
{
    uint64_t until_ns = DLOAD_I_LOAD_RELAXED(&s->closed_until_ns);
    if (until_ns == 0)
        return true;
    if (now_ns < until_ns)
        return false;
    uint64_t next_ns = dload_i_add_ns(now_ns, DLOAD_I_LOAD_RELAXED(&s->closed_for_ns));
    return __atomic_compare_exchange_n(&s->closed_until_ns, &until_ns, next_ns, false,
                                       __ATOMIC_RELAXED, __ATOMIC_RELAXED);
}

/* What a request's end says about the store's health. */
DLOAD_I_LOCAL void dload_i_store_health(dload_store *s, dload_status st, uint64_t now_ns)
{
    if (!dload_i_store_ill(st)) {
        if (DLOAD_I_LOAD_RELAXED(&s->n_failed) != 0)
            DLOAD_I_STORE_RELAXED(&s->n_failed, 0u);
        if (DLOAD_I_LOAD_RELAXED(&s->closed_until_ns) != 0)
            DLOAD_I_STORE_RELAXED(&s->closed_until_ns, (uint64_t)0);
        return;
    }
    const uint32_t after = s->break_after != 0 ? s->break_after : 5u;
    uint32_t n_failed = __atomic_add_fetch(&s->n_failed, 1u, __ATOMIC_RELAXED);
    if (n_failed < after)
        return;
    const uint64_t first_ns = s->break_ns != 0 ? s->break_ns : 100 * DLOAD_MILLISECOND;
    const uint64_t most_ns = s->break_max_ns != 0 ? s->break_max_ns : 5 * DLOAD_SECOND;
    uint64_t for_ns = n_failed == after ? first_ns : DLOAD_I_LOAD_RELAXED(&s->closed_for_ns) * 2;
    for_ns = for_ns < most_ns ? for_ns : most_ns;
    DLOAD_I_STORE_RELAXED(&s->closed_for_ns, for_ns);
    DLOAD_I_STORE_RELAXED(&s->closed_until_ns, dload_i_add_ns(now_ns, for_ns));
}

DLOAD_I_INLINE void dload_i_store_add(uint64_t *counter, uint64_t n)
{
    if (n != 0)
        (void)__atomic_add_fetch(counter, n, __ATOMIC_RELAXED);
}

/* Counts what a request brought, and tells who watches. */
DLOAD_I_LOCAL void dload_i_store_count(dload_store *s, const dload_store_op *op, dload_status st)
{
    const uint64_t now_ns = dload_i_now(s->env);
    const bool asks = op->kind == DLOAD_STORE_GET || op->kind == DLOAD_STORE_LEASE;
    uint64_t hits = 0, misses = 0, failed = 0, lost = 0;
    for (size_t i = 0; i < op->n && st >= 0; i++) {
        dload_status one = op->items[i].status;
        hits += asks && one == DLOAD_OK;
        misses += asks && (one == DLOAD_MISSING || one == DLOAD_EBUSY);
        lost += op->kind == DLOAD_STORE_FILL && one == DLOAD_ELOCK;
        failed += one < 0 && one != DLOAD_MISSING && one != DLOAD_EBUSY && one != DLOAD_ELOCK;
    }
    dload_i_store_add(&s->stats.ops[op->kind], 1);
    dload_i_store_add(&s->stats.keys[op->kind], op->n);
    dload_i_store_add(&s->stats.hits, hits);
    dload_i_store_add(&s->stats.misses, misses);
    dload_i_store_add(&s->stats.key_errors, failed);
    dload_i_store_add(&s->stats.leases_lost, lost);
    dload_i_store_add(&s->stats.errors, st < 0);
    dload_i_store_add(&s->stats.run_ns, now_ns - op->started_ns);
    dload_i_store_health(s, st, now_ns);
    if (s->hooks != NULL && s->hooks->op != NULL)
        s->hooks->op(s->hooks->ctx, s->name, op->kind, op->n, st, now_ns - op->started_ns);
}

/* The end of a request that did not block. */
DLOAD_I_UNUSED static void dload_i_store_done(dload_store_op *op, dload_status st)
{
    dload_i_store_count(op->store, op, st);
    op->done = op->then;
    op->done(op, st); /* op may be gone */
}

/* Asks a store: the one way in, for loaders and for programs.
 *
 * op is the caller's, and so are its items and all bytes that it points at; they must stay until the
 * request is through. With op->done NULL it blocks. Returns DLOAD_OK, and each item has its status;
 * DLOAD_PENDING, and op->done is called once, perhaps before this returns; DLOAD_EINVAL for a kind that the
 * store does not know; DLOAD_EBACKEND, and at once (no system call) while the breaker is open; any other status of the
 * store's. After GET and LEASE, also failed ones, call dload_store_release. Any thread. */
DLOAD_I_UNUSED static dload_status dload_store_run(dload_store *s, dload_store_op *op)
{
    if (op->kind >= DLOAD_STORE_N_KINDS || (op->n != 0 && op->items == NULL))
        return DLOAD_EINVAL;
    op->results = NULL;
    op->store = s;
    op->started_ns = dload_i_now(s->env);
    if (op->n == 0)
        return DLOAD_OK;
    if (!dload_i_store_open(s, op->started_ns)) {
        dload_i_store_add(&s->stats.refused, 1);
        return DLOAD_EBACKEND;
    }
    if (op->done != NULL) {
        op->then = op->done;
        op->done = dload_i_store_done;
    }
    dload_status st = s->run(s, op);
    if (st == DLOAD_PENDING)
        return st;
    if (op->done != NULL)
        op->done = op->then;
    dload_i_store_count(s, op, st);
    return st;
}

/* Gives the values of a GET or LEASE back; they may not be read afterwards. Once for each request that
 * is through, by whoever asked; a second call does nothing. Any thread. */
DLOAD_I_UNUSED static void dload_store_release(dload_store_op *op)
{
    if (op->results != NULL && op->store != NULL)
        op->store->release(op->store, op);
    op->results = NULL;
}

/* A sentence for the log, when somebody listens; for adapters. */
DLOAD_I_UNUSED static void dload_store_log(dload_store *s, const char *text)
{
    if (s->hooks != NULL && s->hooks->log != NULL)
        s->hooks->log(s->hooks->ctx, s->name, text);
}

/* ---- invalidation ---- */

/* Who is to be told that keys changed in the store: a loader (NAME_sink), or a program. What tells is a channel: Redis
 * tracking, a pub/sub subscription, NOTIFY. Called by the channel's thread, or by one that waits for the channel (a
 * barrier, the removal of a sink), one at a time and with no lock held. A loader that has a sink in a channel caches
 * nothing between down and up, and begins as after a down. */
typedef struct dload_sink {
    void (*key)(void *ctx, const char *key, size_t key_bytes); /* forget it; not ours = ignored */
    void (*all)(void *ctx);                                    /* forget everything */
    void (*down)(void *ctx); /* nothing is heard from now on: forget everything, cache nothing */
    void (*up)(void *ctx);   /* changes are heard again: forget everything, cache */
    void *ctx;
    struct dload_sink *next; /* the channel's: of the same channel */
    /* Called by a channel that tells only of what was read from the store (Redis tracking), before its first up: what the
     * store did not have, or did not take, may not be cached, since nobody would tell of it. NULL = no matter. */
    void (*only_reads)(void *ctx);
} dload_sink;

#endif /* DLOAD_STORE */

/* ==== runtime/named.h ==== */

/* >>named -- locks known by a name, which whoever runs the program provides: in this process, in a file, on a server.
 *
 * A loader with config.locks takes the lock of its name before it calls the fetch function, so that one
 * process at a time fetches; then it asks the store again, where the last one has put what it found. Such a
 * lock may be lost while it is held (its server was restarted, its time ran out): then two fetch the
 * same, and what is stored is decided by the store's leases or by the last clear, never by the lock.
 */

#if defined(DLOAD_STORE) && DLOAD_STORE && !defined(DLOAD_I_NAMED_H)
#define DLOAD_I_NAMED_H

/* A lock that is held. Lives with whoever took it; the fields are the provider's. */
typedef struct dload_held {
    uint64_t word[4];
    void *impl; /* NULL = nothing is held */
} dload_held;

/* A provider of named locks: the first member of whatever an adapter makes. */
typedef struct dload_locks {
    const char *name; /* "flock", for logs */
    /* Takes the lock called so, waiting timeout_ns at most, 0 = not at all. Names are any bytes. DLOAD_OK
     * and *held; DLOAD_ETIMEDOUT: somebody else has it; DLOAD_ELOCK: it cannot be taken (no server, no
     * such folder); DLOAD_EINVAL, DLOAD_ENOMEM. Any thread; not taken twice by one caller. */
    dload_status (*take)(struct dload_locks *p, dload_str name, uint64_t timeout_ns,
                         dload_held *held);
    /* Is it held still? DLOAD_OK, or DLOAD_ELOCK: lost. Prolongs those that end by themselves. */
    dload_status (*check)(struct dload_locks *p, dload_held *held);
    /* Gives it back. DLOAD_OK; DLOAD_ELOCK: it had been lost. Either way *held is over. */
    dload_status (*give)(struct dload_locks *p, dload_held *held);
} dload_locks;

#endif /* DLOAD_STORE */

/* ==== runtime/stored.h ==== */

/* >>stored -- the form of a value in a store, and a store used without a loader.
 *
 * A value is a head of 56 bytes and a body. The head says what it is, of which layout, how long, and
 * until when; its checksum goes over the head, the key and the body. So a flipped bit, a value of another
 * program or version, one cut short and one that came back under another key are all found before the
 * body is looked at. It is a check against damage, not against forgery: who can write to the store can
 * write what passes.
 *
 * The time at which it ends is in it twice, by the calendar clock and as the TTL it was stored with: a
 * clock that was set back cannot make it live longer than that again.
 */

#if defined(DLOAD_STORE) && DLOAD_STORE && !defined(DLOAD_I_STORED_H)
#define DLOAD_I_STORED_H

#define DLOAD_I_STORED_MARK    UINT32_C(0x31564c44) /* "DLV1" where the lowest byte comes first */
#define DLOAD_I_STORED_VERSION 1u
#define DLOAD_I_STORED_VALUE   1u
#define DLOAD_I_STORED_NULL    2u                  /* a blob without bytes */
#define DLOAD_I_STORED_STATUS  3u                  /* an answer without a value */
#define DLOAD_I_STORED_MAX     ((uint64_t)1 << 30) /* bytes of a body at most */
#define DLOAD_I_STORED_PLAIN \
    UINT64_C(0x6e69616c70) /* layout of what programs store by themselves */

typedef struct dload_i_stored {
    uint32_t mark;
    uint16_t version;
    uint16_t kind;
    uint64_t layout;
    uint64_t n_bytes;   /* of the body */
    uint64_t expiry_ns; /* by the calendar clock; DLOAD_NEVER = none, or no such clock */
    uint64_t ttl_ns;    /* as it was stored; DLOAD_NEVER = none */
    int32_t status;     /* of an answer without a value, otherwise 0 */
    uint32_t zero;
    uint64_t sum;
} dload_i_stored;

DLOAD_I_STATIC_ASSERT(sizeof(dload_i_stored) == 56, "dataloader.h: a stored head has no padding");

DLOAD_I_LOCAL uint64_t dload_i_stored_sum(const dload_i_stored *h, dload_str key, const void *body)
{
    uint64_t sum = dload_i_sum(0, h, offsetof(dload_i_stored, sum));
    sum = dload_i_sum(sum, key.ptr, key.len);
    return dload_i_sum(sum, body, (size_t)h->n_bytes);
}

/* Writes the head before the body that lies behind its place. Of h, kind, layout, n_bytes, ttl_ns and status are
 * set. */
DLOAD_I_LOCAL void dload_i_stored_seal(dload_i_stored *h, dload_str key, uint64_t wall_ns,
                                       char *place)
{
    h->mark = DLOAD_I_STORED_MARK;
    h->version = DLOAD_I_STORED_VERSION;
    h->zero = 0;
    h->expiry_ns = wall_ns == DLOAD_NEVER ? DLOAD_NEVER : dload_i_add_ns(wall_ns, h->ttl_ns);
    h->sum = dload_i_stored_sum(h, key, place + sizeof *h);
    memcpy(place, h, sizeof *h);
}

/* How long a value is still good. at_store_ns: what the store says; DLOAD_NEVER = nothing. 0 = it is not. */
DLOAD_I_LOCAL uint64_t dload_i_stored_left(const dload_i_stored *h, uint64_t wall_ns,
                                           uint64_t at_store_ns)
{
    uint64_t left_ns = h->ttl_ns < at_store_ns ? h->ttl_ns : at_store_ns;
    if (h->ttl_ns == DLOAD_NEVER)
        return left_ns;
    if (wall_ns == DLOAD_NEVER || h->expiry_ns == DLOAD_NEVER)
        return at_store_ns == DLOAD_NEVER ? 0 : left_ns; /* nobody knows how old it is */
    if (wall_ns >= h->expiry_ns)
        return 0;
    return h->expiry_ns - wall_ns < left_ns ? h->expiry_ns - wall_ns : left_ns;
}

/* Checks what a store gave for key: all of it. DLOAD_OK, *h and *body; DLOAD_ELAYOUT: another layout or
 * version; DLOAD_ECORRUPT. */
DLOAD_I_LOCAL dload_status dload_i_stored_open(const void *bytes, size_t n_bytes, uint64_t layout,
                                               dload_str key, dload_i_stored *h, const char **body)
{
    if (bytes == NULL || n_bytes < sizeof *h)
        return DLOAD_ECORRUPT;
    memcpy(h, bytes, sizeof *h);
    *body = (const char *)bytes + sizeof *h;
    if (h->mark != DLOAD_I_STORED_MARK || h->n_bytes != n_bytes - sizeof *h)
        return DLOAD_ECORRUPT;
    if (h->version != DLOAD_I_STORED_VERSION)
        return DLOAD_ELAYOUT; /* what its other fields mean is not ours to say */
    if (h->sum != dload_i_stored_sum(h, key, *body) || h->kind - 1u >= DLOAD_I_STORED_STATUS ||
        (h->kind != DLOAD_I_STORED_VALUE && h->n_bytes != 0) ||
        (h->kind == DLOAD_I_STORED_STATUS) != (h->status < 0) || h->status == DLOAD_PENDING)
        return DLOAD_ECORRUPT;
    return h->layout == layout ? DLOAD_OK : DLOAD_ELAYOUT;
}

/* ---- numbers in keys: one form each, so that different keys never have one text ---- */

/* Bytes of a key's text, a string's own apart: 32 digits, or 20 and a sign; a group's 20 and a colon. */
#define DLOAD_I_KEYTEXT_MAX 64u

/* Decimal, without zeros in front; room for 20 digits. Returns how many. */
DLOAD_I_LOCAL size_t dload_i_dec_put(char *to, uint64_t v)
{
    size_t n = 1;
    for (uint64_t rest = v / 10; rest != 0; rest /= 10)
        n++;
    for (size_t i = n; i-- > 0; v /= 10)
        to[i] = (char)('0' + (char)(v % 10));
    return n;
}

/* The reverse; false when it is not that form. */
DLOAD_I_LOCAL bool dload_i_dec_get(const char *text, size_t n, uint64_t *v)
{
    if (n == 0 || n > 20 || (n > 1 && text[0] == '0'))
        return false;
    *v = 0;
    for (size_t i = 0; i < n; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        const uint64_t digit = (uint64_t)(text[i] - '0');
        if (*v > (UINT64_MAX - digit) / 10)
            return false;
        *v = *v * 10 + digit;
    }
    return true;
}

/* n_digits lower-case hexadecimal digits, the highest first. */
DLOAD_I_LOCAL void dload_i_hex_put(char *to, uint64_t v, size_t n_digits)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = n_digits; i-- > 0; v >>= 4)
        to[i] = digits[v & 15];
}

DLOAD_I_LOCAL bool dload_i_hex_get(const char *text, size_t n_digits, uint64_t *v)
{
    *v = 0;
    for (size_t i = 0; i < n_digits; i++) {
        const bool is_letter = text[i] >= 'a' && text[i] <= 'f';
        if (!is_letter && (text[i] < '0' || text[i] > '9'))
            return false;
        *v = *v << 4 | (uint64_t)(is_letter ? text[i] - 'a' + 10 : text[i] - '0');
    }
    return true;
}

/* ---- a store without a loader: bytes by key ---- */

DLOAD_I_LOCAL dload_status dload_i_store_one(dload_store *s, dload_store_kind kind,
                                             dload_store_op *op, dload_store_item *item)
{
    memset(op, 0, sizeof *op);
    op->kind = kind;
    op->items = item;
    op->n = 1;
    dload_status st = dload_store_run(s, op);
    return st >= 0 ? item->status : st;
}

DLOAD_I_LOCAL void dload_i_store_key(dload_store_item *item, dload_str key)
{
    memset(item, 0, sizeof *item);
    item->key = key.ptr != NULL ? key.ptr : "";
    item->key_bytes = key.len;
    item->ttl_ns = DLOAD_NEVER;
}

/* Reads a value that dload_store_set stored: a new blob from s->env, which the caller releases.
 * Returns DLOAD_OK; DLOAD_MISSING: not there, or its TTL has passed, whether the store knows TTLs or not;
 * DLOAD_ECORRUPT: damaged; DLOAD_ELAYOUT: something else, a loader's value; DLOAD_ENOMEM; what the store said.
 * Blocks, for the store's own timeout at most. Any thread. */
DLOAD_I_UNUSED static dload_status dload_store_get(dload_store *s, dload_str key, dload_blob *out)
{
    dload_store_op op;
    dload_store_item item;
    dload_i_stored h;
    const char *body = NULL;
    dload_i_store_key(&item, key);
    dload_status st = dload_i_store_one(s, DLOAD_STORE_GET, &op, &item);
    if (st == DLOAD_OK)
        st =
            dload_i_stored_open(item.value, item.value_bytes, DLOAD_I_STORED_PLAIN, key, &h, &body);
    if (st == DLOAD_OK && dload_i_stored_left(&h, dload_i_clock_wall(), item.ttl_ns) == 0)
        st = DLOAD_MISSING;
    if (st == DLOAD_OK)
        st = dload_blob_make(s->env, body, (size_t)h.n_bytes, out);
    dload_store_release(&op);
    return st;
}

/* Stores n_bytes (bytes may be NULL when 0) under key for ttl_ns > 0, DLOAD_NEVER = without end, whatever was
 * there. Returns DLOAD_OK; DLOAD_EINVAL for a TTL of 0; DLOAD_ETOOBIG over 1 GiB or over the store's limit;
 * DLOAD_ENOMEM; what the store said, and then the old value, the new one or none is there. Blocks; allocates a
 * copy for the call. Any thread. */
DLOAD_I_UNUSED static dload_status dload_store_set(dload_store *s, dload_str key, const void *bytes,
                                                   size_t n_bytes, uint64_t ttl_ns)
{
    dload_store_op op;
    dload_store_item item;
    dload_i_stored h;
    if (ttl_ns == 0 || (bytes == NULL && n_bytes != 0))
        return DLOAD_EINVAL;
    if (n_bytes > DLOAD_I_STORED_MAX)
        return DLOAD_ETOOBIG;
    char *block = (char *)dload_i_alloc(s->env, sizeof h + n_bytes);
    if (block == NULL)
        return DLOAD_ENOMEM;
    memset(&h, 0, sizeof h);
    h.kind = DLOAD_I_STORED_VALUE;
    h.layout = DLOAD_I_STORED_PLAIN;
    h.n_bytes = n_bytes;
    h.ttl_ns = ttl_ns;
    if (n_bytes != 0)
        memcpy(block + sizeof h, bytes, n_bytes);
    dload_i_stored_seal(&h, key, dload_i_clock_wall(), block);
    dload_i_store_key(&item, key);
    item.value = block;
    item.value_bytes = sizeof h + n_bytes;
    item.ttl_ns = ttl_ns;
    dload_status st = dload_i_store_one(s, DLOAD_STORE_SET, &op, &item);
    dload_i_free(s->env, block, sizeof h + n_bytes);
    return st;
}

/* Removes a key; absent is no error. Returns DLOAD_OK, or what the store said. Blocks. Any thread. */
DLOAD_I_UNUSED static dload_status dload_store_delete(dload_store *s, dload_str key)
{
    dload_store_op op;
    dload_store_item item;
    dload_i_store_key(&item, key);
    return dload_i_store_one(s, DLOAD_STORE_DELETE, &op, &item);
}

/* Removes every key that begins with prefix, all keys when it is empty. Returns as dload_store_delete. */
DLOAD_I_UNUSED static dload_status dload_store_clear(dload_store *s, dload_str prefix)
{
    dload_store_op op;
    dload_store_item item;
    dload_i_store_key(&item, prefix);
    return dload_i_store_one(s, DLOAD_STORE_CLEAR, &op, &item);
}

#endif /* DLOAD_STORE */

/* ==== runtime/store_stats.h ==== */

/* >>store_stats -- a store's counters: read at one time, and as Prometheus text. */

#if defined(DLOAD_STORE) && DLOAD_STORE && !defined(DLOAD_I_STORE_STATS_H)
#define DLOAD_I_STORE_STATS_H

DLOAD_I_LOCAL uint64_t dload_i_store_counter(const uint64_t *counter)
{
    return DLOAD_I_LOAD_RELAXED(counter);
}

/* Copies a store's counters, while others use it; each is exact, their sums are once it is quiet. */
DLOAD_I_UNUSED static void dload_store_counters(const dload_store *s, dload_store_stats *out)
{
    for (size_t i = 0; i < DLOAD_STORE_N_KINDS; i++) {
        out->ops[i] = dload_i_store_counter(&s->stats.ops[i]);
        out->keys[i] = dload_i_store_counter(&s->stats.keys[i]);
    }
    out->hits = dload_i_store_counter(&s->stats.hits);
    out->misses = dload_i_store_counter(&s->stats.misses);
    out->errors = dload_i_store_counter(&s->stats.errors);
    out->key_errors = dload_i_store_counter(&s->stats.key_errors);
    out->refused = dload_i_store_counter(&s->stats.refused);
    out->leases_lost = dload_i_store_counter(&s->stats.leases_lost);
    out->run_ns = dload_i_store_counter(&s->stats.run_ns);
}

/* One line: metric{store="label"} value, with kind="kind" when that is not NULL. */
DLOAD_I_LOCAL void dload_i_text_store(dload_i_text *t, const char *metric, const char *label,
                                      const char *kind, uint64_t value)
{
    dload_i_text_put(t, "dataloader_store_");
    dload_i_text_put(t, metric);
    dload_i_text_put(t, "{store=\"");
    dload_i_text_label(t, label);
    if (kind != NULL) {
        dload_i_text_put(t, "\",kind=\"");
        dload_i_text_put(t, kind);
    }
    dload_i_text_put(t, "\"} ");
    dload_i_text_u64(t, value);
    dload_i_text_put(t, "\n");
}

DLOAD_I_LOCAL void dload_i_text_store_type(dload_i_text *t, const char *metric, const char *type)
{
    dload_i_text_put(t, "# TYPE dataloader_store_");
    dload_i_text_put(t, metric);
    dload_i_text_put(t, type);
}

DLOAD_I_LOCAL void dload_i_text_store_kinds(dload_i_text *t, const char *metric, const char *label,
                                            const uint64_t *values)
{
    static const char *const kinds[DLOAD_STORE_N_KINDS] = {"get",   "set",  "delete", "clear",
                                                           "lease", "fill", "drop"};
    dload_i_text_store_type(t, metric, " counter\n");
    for (size_t i = 0; i < DLOAD_STORE_N_KINDS; i++)
        dload_i_text_store(t, metric, label, kinds[i], values[i]);
}

/* Writes a store's counters in Prometheus' text format, labelled store="label" (NULL = the store's name),
 * NUL-terminated; each tier of a tiered store has its own. breaker_open is 1 while requests are
 * refused. *n_bytes (may be NULL) is the length of the whole text. DLOAD_OK; DLOAD_ETOOBIG when it was
 * longer than cap_bytes - 1, and then it is cut. buf may be NULL when cap_bytes is 0. Any thread; allocates
 * nothing. */
DLOAD_I_UNUSED static dload_status dload_store_prometheus(const dload_store *s, const char *label,
                                                          char *buf, size_t cap_bytes,
                                                          size_t *n_bytes)
{
    dload_store_stats now;
    dload_i_text t;
    t.buf = buf;
    t.cap_bytes = cap_bytes;
    t.n_bytes = 0;
    if (label == NULL)
        label = s->name;
    dload_store_counters(s, &now);
    const struct {
        const char *metric;
        uint64_t value;
    } plain[] = {
        {"hits_total", now.hits},
        {"misses_total", now.misses},
        {"errors_total", now.errors},
        {"key_errors_total", now.key_errors},
        {"refused_total", now.refused},
        {"leases_lost_total", now.leases_lost},
        {"run_nanoseconds_total", now.run_ns},
    };
    dload_i_text_store_kinds(&t, "requests_total", label, now.ops);
    dload_i_text_store_kinds(&t, "keys_total", label, now.keys);
    for (size_t i = 0; i < sizeof plain / sizeof plain[0]; i++) {
        dload_i_text_store_type(&t, plain[i].metric, " counter\n");
        dload_i_text_store(&t, plain[i].metric, label, NULL, plain[i].value);
    }
    const bool open = DLOAD_I_LOAD_RELAXED(&s->closed_until_ns) > dload_i_now(s->env);
    dload_i_text_store_type(&t, "breaker_open", " gauge\n");
    dload_i_text_store(&t, "breaker_open", label, NULL, open);
    if (cap_bytes != 0)
        buf[t.n_bytes < cap_bytes ? t.n_bytes : cap_bytes - 1] = '\0';
    if (n_bytes != NULL)
        *n_bytes = t.n_bytes;
    return t.n_bytes < cap_bytes ? DLOAD_OK : DLOAD_ETOOBIG;
}

#endif /* DLOAD_STORE */

/* ==== runtime/letter.h ==== */

/* >>letter -- a request to a loader's store, with everything it needs: keys, values, and whose they are.
 *
 * Letters are kept and used again. Keys and values lie in one block that may move while the letter is written;
 * dload_i_letter_close fills in the pointers. A letter belongs to whoever took it; the loader's mutex is needed
 * to take one and to give it back.
 */

#if defined(DLOAD_STORE) && DLOAD_STORE && !defined(DLOAD_I_LETTER_H)
#define DLOAD_I_LETTER_H

#define DLOAD_I_UNSENT_MAX  1024u /* clears waiting; with more, everything is cleared in the store */
#define DLOAD_I_DELETE_MAX  256u  /* of them in one request */
#define DLOAD_I_LETTER_KEEP (256u * 1024u) /* bytes that a letter keeps for the next request */
#ifndef DLOAD_I_RETRY_NS
#define DLOAD_I_RETRY_NS (100 * DLOAD_MILLISECOND) /* after a delete that failed */
#endif
#define DLOAD_I_STORE_NAME_MAX 64u

struct dload_i_second;

/* What is known of one item of a letter. */
typedef struct dload_i_mark_of {
    uint64_t hash;
    uint64_t ttl_ns; /* SET */
    size_t key_at;   /* in bytes */
    size_t value_at; /* SET: in bytes */
    uint32_t place;  /* in the batch */
    int32_t status;  /* SET: the answer's */
} dload_i_mark_of;

typedef struct dload_i_letter {
    dload_store_op op;
    struct dload_i_letter *next;
    struct dload_i_second *second;
    dload_i_batch *batch; /* GET: whose */
    dload_store_item *items;
    dload_i_mark_of *marks;
    uint32_t n, cap;
    char *bytes; /* keys, and values to be stored */
    size_t n_bytes, cap_bytes;
    uint64_t group;   /* of all keys */
    uint64_t all_seq; /* CLEAR of everything: how often that was wanted when it went; 0 = of less */
    dload_status status; /* how a GET ended */
} dload_i_letter;

/* A clear that the store has not acknowledged. The text that follows has no name before it. */
typedef struct dload_i_unsent {
    struct dload_i_unsent *next;
    dload_i_letter *letter; /* what is on its way with it; NULL = nothing */
    uint64_t hash;
    uint64_t group;
    size_t n_bytes;
    uint32_t item; /* in the letter */
    bool is_group; /* all keys of the group */
} dload_i_unsent;

/* A blocking call of a loader whose store is asynchronous: what it sends itself blocks, too, because nobody would
 * go on with it while the loop's own thread sits there. */
typedef struct dload_i_blocked {
    struct dload_i_blocked *next;
    uint64_t self;
} dload_i_blocked;

/* The second level of one loader. */
typedef struct dload_i_second {
    dload_store *store; /* NULL = none */
    dload_i_core *core;
    uint64_t timeout_ns; /* of a request */
    bool is_async;       /* requests do not block; the loop goes on with what they brought */
    bool only_hits;      /* the cache takes only what the store had: see dload_sink.only_reads */
    char prefix[DLOAD_I_STORE_NAME_MAX + 2]; /* the name and a colon */
    size_t prefix_bytes;
    uint64_t layout;
    uint64_t lease_ns;  /* 0 = without leases */
    uint64_t leases[2]; /* the last one's name: nobody else's is near it */
    dload_i_letter *free_;
    dload_i_letter *writing; /* SETs that are under way */
    dload_i_letter *got;     /* GETs that the loop has to go on with */
    dload_i_unsent *unsent, *unsent_tail;
    uint32_t n_unsent;
    uint64_t all_wanted, all_done; /* CLEARs of everything: wanted, acknowledged up to */
    bool all_out;                  /* one is on its way */
    uint64_t retry_at_ns;          /* a delete failed: not before that again */
    dload_i_blocked *blocked;      /* callers inside blocking calls; only with is_async */
    uint32_t n_out; /* letters at the store, or just back from it: what _destroy waits for */
} dload_i_second;

/* ---- letters ---- */

DLOAD_I_LOCAL dload_i_letter *dload_i_letter_take(dload_i_second *s, dload_store_kind kind)
{
    dload_i_letter *t = s->free_;
    if (t != NULL) {
        s->free_ = t->next;
    } else {
        t = (dload_i_letter *)dload_i_alloc(s->core->env, sizeof *t);
        if (t == NULL)
            return NULL;
        memset(t, 0, sizeof *t);
    }
    memset(&t->op, 0, sizeof t->op);
    t->op.kind = kind;
    t->op.timeout_ns = s->timeout_ns;
    t->next = NULL;
    t->second = s;
    t->batch = NULL;
    t->n = 0;
    t->n_bytes = 0;
    t->group = t->all_seq = 0;
    return t;
}

/* What the letter holds on to. */
DLOAD_I_LOCAL void dload_i_letter_empty(dload_i_letter *t, size_t keep_bytes)
{
    const dload_env *env = t->second->core->env;
    if (t->cap_bytes > keep_bytes) {
        dload_i_free(env, t->bytes, t->cap_bytes);
        t->bytes = NULL;
        t->cap_bytes = 0;
    }
    if (keep_bytes == 0) {
        dload_i_free(env, t->items, t->cap * sizeof *t->items);
        dload_i_free(env, t->marks, t->cap * sizeof *t->marks);
    }
}

DLOAD_I_LOCAL void dload_i_letter_give(dload_i_second *s, dload_i_letter *t)
{
    dload_i_letter_empty(t, DLOAD_I_LETTER_KEEP);
    t->next = s->free_;
    s->free_ = t;
}

/* Room for n items in all; false when there is no memory. No lock is needed: the letter is the caller's. */
DLOAD_I_LOCAL bool dload_i_letter_items(dload_i_letter *t, uint32_t n)
{
    const dload_env *env = t->second->core->env;
    if (n <= t->cap)
        return true;
    uint32_t cap = dload_i_pow2_up(n);
    dload_store_item *items = (dload_store_item *)dload_i_alloc(env, cap * sizeof *items);
    dload_i_mark_of *marks = (dload_i_mark_of *)dload_i_alloc(env, cap * sizeof *marks);
    if (items == NULL || marks == NULL) {
        dload_i_free(env, items, cap * sizeof *items);
        dload_i_free(env, marks, cap * sizeof *marks);
        return false;
    }
    if (t->n != 0)
        memcpy(marks, t->marks, t->n * sizeof *marks); /* items are filled in last */
    dload_i_free(env, t->items, t->cap * sizeof *t->items);
    dload_i_free(env, t->marks, t->cap * sizeof *t->marks);
    t->items = items;
    t->marks = marks;
    t->cap = cap;
    return true;
}

/* Room for n bytes behind what is there; they may move until the letter is closed. */
DLOAD_I_LOCAL bool dload_i_letter_bytes(dload_i_letter *t, size_t n)
{
    const dload_env *env = t->second->core->env;
    if (n <= t->cap_bytes - t->n_bytes)
        return true;
    if (n > SIZE_MAX / 4 - t->n_bytes)
        return false;
    size_t cap = t->cap_bytes * 2 > t->n_bytes + n ? t->cap_bytes * 2 : t->n_bytes + n + 1024;
    char *bytes = (char *)dload_i_alloc(env, cap);
    if (bytes == NULL)
        return false;
    if (t->n_bytes != 0)
        memcpy(bytes, t->bytes, t->n_bytes);
    dload_i_free(env, t->bytes, t->cap_bytes);
    t->bytes = bytes;
    t->cap_bytes = cap;
    return true;
}

DLOAD_I_LOCAL void dload_i_letter_put(dload_i_letter *t, const void *bytes, size_t n)
{
    if (n != 0)
        memcpy(t->bytes + t->n_bytes, bytes, n);
    t->n_bytes += n;
}

/* One more item: the loader's name, text and tail. NULL when there is no memory. */
DLOAD_I_LOCAL dload_i_mark_of *dload_i_letter_add(dload_i_letter *t, const char *text, size_t n,
                                                  dload_str tail)
{
    const dload_i_second *s = t->second;
    if (!dload_i_letter_items(t, t->n + 1) ||
        !dload_i_letter_bytes(t, s->prefix_bytes + n + tail.len))
        return NULL;
    dload_i_mark_of *m = &t->marks[t->n++];
    memset(m, 0, sizeof *m);
    m->key_at = t->n_bytes;
    dload_i_letter_put(t, s->prefix, s->prefix_bytes);
    dload_i_letter_put(t, text, n);
    dload_i_letter_put(t, tail.ptr, tail.len);
    m->value_at = t->n_bytes;
    return m;
}

/* The key of item i, which lies where the bytes lie now. Only right while nothing but keys is in them, or
 * for a key whose end is written down. */
DLOAD_I_LOCAL dload_str dload_i_letter_key(const dload_i_letter *t, uint32_t i)
{
    dload_str key;
    key.ptr = t->bytes + t->marks[i].key_at;
    key.len = t->items[i].key_bytes;
    return key;
}

/* All keys are there: how long each is. */
DLOAD_I_LOCAL void dload_i_letter_keys(dload_i_letter *t)
{
    for (uint32_t i = 0; i < t->n; i++) {
        memset(&t->items[i], 0, sizeof t->items[i]);
        t->items[i].key_bytes = t->marks[i].value_at - t->marks[i].key_at;
    }
}

/* Nothing moves any more. */
DLOAD_I_LOCAL void dload_i_letter_close(dload_i_letter *t)
{
    for (uint32_t i = 0; i < t->n; i++) {
        dload_store_item *item = &t->items[i];
        item->key = t->bytes + t->marks[i].key_at;
        item->ttl_ns = DLOAD_NEVER;
        if (t->op.kind == DLOAD_STORE_SET || t->op.kind == DLOAD_STORE_FILL) {
            item->value = t->bytes + t->marks[i].value_at;
            item->ttl_ns = t->marks[i].ttl_ns;
        }
    }
    t->op.items = t->items;
    t->op.n = t->n;
}

#endif /* DLOAD_STORE */

/* ==== runtime/second.h ==== */

/* >>second -- the second level of a loader: clears that the store has not heard, and requests that end.
 *
 * What was cleared is deleted in the store, too: until that was acknowledged the key (its group, everything) is neither read from the store
 * nor written to it, so that a store which does not answer never brings an old value back. A delete waits for
 * writes of its key that are under way: they would put back what it removes.
 *
 * The loader's mutex is held everywhere here where nothing else is said, and let go while the store works.
 */

#if defined(DLOAD_STORE) && DLOAD_STORE && !defined(DLOAD_I_SECOND_H)
#define DLOAD_I_SECOND_H

/* ---- clears that the store has not heard ---- */

DLOAD_I_LOCAL bool dload_i_all_unsent(const dload_i_second *s)
{
    return s->all_wanted != s->all_done;
}

/* Is the store to be left alone with this key? May say yes for another one of the same hash. */
DLOAD_I_LOCAL bool dload_i_is_unsent(const dload_i_second *s, uint64_t hash, uint64_t group)
{
    if (dload_i_all_unsent(s))
        return true;
    for (const dload_i_unsent *u = s->unsent; u != NULL; u = u->next) {
        if (u->group == group && (u->is_group || u->hash == hash))
            return true;
    }
    return false;
}

DLOAD_I_LOCAL size_t dload_i_unsent_bytes(const dload_i_unsent *u)
{
    return sizeof *u + u->n_bytes;
}

/* Takes out those that go with this letter and were acknowledged, or, with the letter NULL, that go with none. */
DLOAD_I_LOCAL void dload_i_unsent_cut(dload_i_second *s, const dload_i_letter *t)
{
    dload_i_unsent **at = &s->unsent;
    s->unsent_tail = NULL;
    while (*at != NULL) {
        dload_i_unsent *u = *at;
        dload_status st = t == NULL || u->letter != t ? DLOAD_OK : t->items[u->item].status;
        bool acknowledged =
            st == DLOAD_OK || st == DLOAD_ETOOBIG; /* what is too big was never there */
        if (u->letter == t && acknowledged) {
            *at = u->next;
            s->n_unsent--;
            dload_i_free(s->core->env, u, dload_i_unsent_bytes(u));
            continue;
        }
        if (u->letter == t)
            u->letter = NULL;
        s->unsent_tail = u;
        at = &u->next;
    }
}

/* Everything is to be cleared in the store: nothing else has to be any more. */
DLOAD_I_LOCAL void dload_i_clear_all_later(dload_i_second *s)
{
    s->all_wanted++;
    dload_i_unsent_cut(s, NULL);
}

/* A key's (or group's) text is to be deleted in the store. Where too much is waiting, or no memory is left,
 * everything is. */
DLOAD_I_LOCAL void dload_i_clear_later(dload_i_second *s, uint64_t hash, uint64_t group,
                                       bool is_group, const char *text, size_t n, dload_str tail)
{
    if (dload_i_all_unsent(s) && !s->all_out)
        return; /* it will be cleared with everything */
    dload_i_unsent *u = NULL;
    if (s->n_unsent < DLOAD_I_UNSENT_MAX)
        u = (dload_i_unsent *)dload_i_alloc(s->core->env, sizeof *u + n + tail.len);
    if (u == NULL) {
        dload_i_clear_all_later(s); /* mutant UNSENT_FORGOTTEN */
        return;
    }
    memset(u, 0, sizeof *u);
    u->hash = hash;
    u->group = group;
    u->is_group = is_group;
    u->n_bytes = n + tail.len;
    char *to = (char *)(u + 1);
    if (n != 0)
        memcpy(to, text, n);
    if (tail.len != 0)
        memcpy(to + n, tail.ptr, tail.len);
    *(s->unsent_tail == NULL ? &s->unsent : &s->unsent_tail->next) = u;
    s->unsent_tail = u;
    s->n_unsent++;
}

/* Is a write under way that would undo this one? */
DLOAD_I_LOCAL bool dload_i_is_written(const dload_i_second *s, const dload_i_unsent *u)
{
    for (const dload_i_letter *t = s->writing; t != NULL; t = t->next) {
        for (uint32_t i = 0; i < t->n && t->group == u->group; i++) {
            if (u->is_group || t->marks[i].hash == u->hash)
                return true;
        }
    }
    return false;
}

/* ---- requests that end ---- */

DLOAD_I_LOCAL uint64_t dload_i_letter_failures(const dload_i_letter *t, dload_status st)
{
    uint64_t n = 0;
    for (uint32_t i = 0; i < t->n && st >= 0; i++)
        n += t->items[i].status < 0 && t->items[i].status != DLOAD_MISSING &&
             t->items[i].status != DLOAD_ELOCK;
    return st >= 0 ? n : 1;
}

/* Answers whose lease was lost are delivered, and cached nowhere: mutant LOST_CACHED. Returns how many. Those that
 * the store did not take leave their leases to be dropped: others would wait for them until they end. */
DLOAD_I_LOCAL uint32_t dload_i_leases_lost(const dload_i_letter *t)
{
    uint32_t n_lost = 0;
    for (uint32_t i = 0; i < t->n && t->op.kind == DLOAD_STORE_FILL; i++) {
        const bool lost = t->items[i].status == DLOAD_ELOCK;
        n_lost += lost;
        if (t->batch == NULL)
            continue;
        dload_i_flight *f = &t->batch->flights[t->marks[i].place];
        if (!lost) {
            if (t->items[i].status < 0)
                f->second &= (uint8_t)~DLOAD_I_SECOND_GIVEN;
            continue;
        }
        if (!f->answered)
            f->status = t->marks[i].status;
        f->answered = 1;
        f->ttl_ns = 0;
    }
    return n_lost;
}

/* A SET, FILL, DROP, DELETE or CLEAR is through, and its letter with it. */
DLOAD_I_LOCAL void dload_i_letter_ends(dload_i_second *s, dload_i_letter *t, dload_status st)
{
    dload_stats *stats = &s->core->stats;
    const uint64_t n_failed = dload_i_letter_failures(t, st);
    stats->store_errors += n_failed;
    if (t->op.kind == DLOAD_STORE_DROP) {
        dload_i_letter_give(s, t);
        return;
    }
    if (t->op.kind == DLOAD_STORE_SET || t->op.kind == DLOAD_STORE_FILL) {
        const uint32_t n_lost = st >= 0 ? dload_i_leases_lost(t) : 0;
        stats->leases_lost += n_lost;
        dload_i_letter **at = &s->writing;
        while (*at != t)
            at = &(*at)->next;
        *at = t->next;
        stats->store_writes += st >= 0 ? t->n - n_failed - n_lost : 0;
    } else {
        for (uint32_t i = 0; i < t->n && st < 0; i++)
            t->items[i].status = st;
        if (t->all_seq != 0) {
            s->all_out = false;
            if (t->items[0].status == DLOAD_OK)
                s->all_done = t->all_seq;
        } else {
            dload_i_unsent_cut(s, t);
        }
        stats->store_deletes += st >= 0 ? t->n - n_failed : 0;
        if (n_failed != 0)
            s->retry_at_ns = dload_i_add_ns(dload_i_now(s->core->env), DLOAD_I_RETRY_NS);
        if (dload_i_all_unsent(s) && !s->all_out)
            dload_i_unsent_cut(s, NULL);
    }
    dload_i_letter_give(s, t);
}

/* The same, told by the store; no lock is held. Whatever waits for it is the loop's to do. */
DLOAD_I_UNUSED static void dload_i_letter_done(dload_store_op *op, dload_status st)
{
    dload_i_letter *t = (dload_i_letter *)(void *)op; /* op is its first member */
    dload_i_second *s = t->second;
    dload_i_core *c = s->core;
    dload_i_core_lock(c);
    if (op->kind == DLOAD_STORE_GET || op->kind == DLOAD_STORE_LEASE) {
        t->status = st;
        t->next = NULL;
        dload_i_letter **at = &s->got;
        while (*at != NULL)
            at = &(*at)->next;
        *at = t; /* batches go on in the order in which the store answered */
    } else {
        dload_i_letter_ends(s, t, st);
    }
    dload_i_core_unlock(c);
    c->wake(c->wake_ctx);
    dload_i_core_lock(c);
    s->n_out--; /* only now may the loader be destroyed */
    dload_i_core_unlock(c);
}

/* Sends a closed letter that is no GET, and ends it unless the store will; a thread that is cancelled meanwhile
 * goes on to there. Lets go of the mutex. */
DLOAD_I_LOCAL dload_status dload_i_letter_send(dload_i_second *s, dload_i_letter *t)
{
    const dload_i_sync *sync = s->core->sync;
    int before = sync->hold != NULL ? sync->hold() : 0;
    s->n_out++;
    dload_i_core_unlock(s->core);
    t->op.done = s->is_async ? dload_i_letter_done : NULL;
    dload_status st = dload_store_run(s->store, &t->op);
    dload_i_core_lock(s->core);
    if (st != DLOAD_PENDING) { /* otherwise the letter may be gone */
        dload_i_letter_ends(s, t, st);
        s->n_out--;
    }
    if (sync->hold != NULL)
        sync->unhold(before);
    return st;
}

/* ---- sending clears ---- */

/* The next request of those that are waiting, or NULL. */
DLOAD_I_LOCAL dload_i_letter *dload_i_next_clear(dload_i_second *s)
{
    const dload_str none = {NULL, 0};
    if (dload_i_all_unsent(s)) {
        /* Mutant CLEAR_BESIDE_WRITE */
        dload_i_letter *t =
            s->all_out || s->writing != NULL ? NULL : dload_i_letter_take(s, DLOAD_STORE_CLEAR);
        if (t != NULL && dload_i_letter_add(t, NULL, 0, none) == NULL) {
            dload_i_letter_give(s, t);
            t = NULL;
        }
        if (t != NULL) {
            t->all_seq = s->all_wanted;
            s->all_out = true;
        }
        return t;
    }
    dload_i_letter *t = NULL;
    for (dload_i_unsent *u = s->unsent; u != NULL; u = u->next) {
        dload_store_kind kind = u->is_group ? DLOAD_STORE_CLEAR : DLOAD_STORE_DELETE;
        if (u->letter != NULL || (t != NULL && t->op.kind != kind) || dload_i_is_written(s, u))
            continue;
        if (t == NULL && (t = dload_i_letter_take(s, kind)) == NULL)
            return NULL;
        if (dload_i_letter_add(t, (const char *)(u + 1), u->n_bytes, none) == NULL)
            break;
        u->letter = t;
        u->item = t->n - 1;
        if (t->n == (u->is_group ? 1u : DLOAD_I_DELETE_MAX))
            break;
    }
    if (t != NULL && t->n == 0) {
        dload_i_letter_give(s, t);
        return NULL;
    }
    return t;
}

/* Is there a clear that could be sent, and when? DLOAD_NEVER = no. */
DLOAD_I_LOCAL uint64_t dload_i_clears_at(const dload_i_second *s)
{
    if (dload_i_all_unsent(s))
        return s->all_out || s->writing != NULL ? DLOAD_NEVER : s->retry_at_ns;
    for (const dload_i_unsent *u = s->unsent; u != NULL; u = u->next) {
        if (u->letter == NULL && !dload_i_is_written(s, u))
            return s->retry_at_ns;
    }
    return DLOAD_NEVER;
}

/* Sends the clears that wait, but for those that a write holds up. at_once: even if one failed a moment ago. */
DLOAD_I_NOINLINE void dload_i_send_clears(dload_i_second *s, bool at_once)
{
    while (s->unsent != NULL || dload_i_all_unsent(s)) {
        if (!at_once && dload_i_now(s->core->env) < s->retry_at_ns)
            return;
        dload_i_letter *t = dload_i_next_clear(s);
        if (t == NULL && dload_i_clears_at(s) != DLOAD_NEVER) /* no memory */
            s->retry_at_ns = dload_i_add_ns(dload_i_now(s->core->env), DLOAD_I_RETRY_NS);
        if (t == NULL)
            return;
        dload_i_letter_keys(t);
        dload_i_letter_close(t);
        uint64_t errors = s->core->stats.store_errors;
        dload_status st = dload_i_letter_send(s, t);
        if (st != DLOAD_PENDING && s->core->stats.store_errors != errors)
            return; /* later */
    }
}

/* ---- blocking calls ---- */

DLOAD_I_LOCAL void dload_i_blocked_enter(dload_i_second *s, dload_i_blocked *call)
{
    call->self = dload_i_self(s->core->env);
    call->next = s->blocked;
    s->blocked = call;
}

DLOAD_I_LOCAL void dload_i_blocked_leave(dload_i_second *s, const dload_i_blocked *call)
{
    dload_i_blocked **at = &s->blocked;
    while (*at != NULL && *at != call)
        at = &(*at)->next;
    if (*at != NULL)
        *at = call->next;
}

/* May a batch that is sent here come back later? */
DLOAD_I_LOCAL bool dload_i_may_come_back(const dload_i_second *s)
{
    const dload_i_blocked *call = s->blocked;
    if (!s->is_async || call == NULL)
        return s->is_async;
    uint64_t self = dload_i_self(s->core->env);
    while (call != NULL && call->self != self)
        call = call->next;
    return call == NULL; /* mutant BLOCKED_COMES_BACK */
}

/* ---- batches whose keys the store was asked for ---- */

/* Goes on with what the store said: the typed half is called again, as dload_i_run calls it. */
DLOAD_I_LOCAL void dload_i_go_on(dload_i_core *c, dload_i_batch *b)
{
    if (b->state != DLOAD_I_RUNNING) {
        dload_i_finish(c, b, DLOAD_ETIMEDOUT); /* given up meanwhile */
        return;
    }
    int before = c->sync->hold != NULL ? c->sync->hold() : 0;
    DLOAD_I_STORE_RELEASE(&b->runner, dload_i_self(c->env));
    DLOAD_I_STORE_RELEASE(&b->in_fetch, (uint8_t)1);
    dload_i_core_unlock(c);
    dload_i_run_fetch(c, b);
    if (c->sync->hold != NULL)
        c->sync->unhold(before);
}

/* The end. No lock is needed. */
DLOAD_I_LOCAL void dload_i_second_end(dload_i_second *s)
{
    while (s->free_ != NULL) {
        dload_i_letter *t = s->free_;
        s->free_ = t->next;
        dload_i_letter_empty(t, 0);
        dload_i_free(s->core->env, t, sizeof *t);
    }
    while (s->unsent != NULL) {
        dload_i_unsent *u = s->unsent;
        s->unsent = u->next;
        dload_i_free(s->core->env, u, dload_i_unsent_bytes(u));
    }
}

/* Is this a name that a store may have before its keys? */
DLOAD_I_LOCAL bool dload_i_store_named(dload_i_second *s, const char *name)
{
    size_t n = 0;
    for (; name[n] != '\0'; n++) {
        char ch = name[n];
        bool ok = (ch >= 'A' && ch <= 'Z') || (ch >= 'a' && ch <= 'z') ||
                  (ch >= '0' && ch <= '9') || ch == '_' || ch == '.' || ch == '-';
        if (!ok || n == DLOAD_I_STORE_NAME_MAX)
            return false;
        s->prefix[n] = ch;
    }
    s->prefix[n] = ':';
    s->prefix_bytes = n + 1;
    return n != 0;
}

#endif /* DLOAD_STORE */

/* ==== runtime/locking.h ==== */

/* >>locking -- the named locks of one loader: one, or stripes of it that keys are spread over.
 *
 * Several stripes are taken in ascending order, so that two processes never hold what the other one waits for.
 * Whatever cannot be taken in time is done without: the work is then perhaps done twice.
 */

#if defined(DLOAD_STORE) && DLOAD_STORE && !defined(DLOAD_I_LOCKING_H)
#define DLOAD_I_LOCKING_H

#define DLOAD_I_LOCK_NAME_MAX 200u
#define DLOAD_I_STRIPES_MAX   64u

typedef struct dload_i_locking {
    dload_locks *locks; /* NULL = none */
    uint64_t wait_ns;
    uint32_t n_stripes;
    size_t name_bytes;
    char name[DLOAD_I_LOCK_NAME_MAX + 4]; /* and a slash and a stripe's number */
} dload_i_locking;

/* Prepares it; prefix and name are put together. DLOAD_EINVAL when something is out of its range. */
DLOAD_I_LOCAL dload_status dload_i_locking_init(dload_i_locking *k, dload_locks *locks,
                                                const char *prefix, const char *name,
                                                uint32_t n_stripes, uint64_t wait_ns)
{
    size_t n_prefix = dload_str_from(prefix).len, n = dload_str_from(name).len;
    if (locks->take == NULL || locks->check == NULL || locks->give == NULL ||
        n_stripes > DLOAD_I_STRIPES_MAX || n == 0 || n > DLOAD_I_LOCK_NAME_MAX - n_prefix)
        return DLOAD_EINVAL;
    memcpy(k->name, prefix, n_prefix);
    memcpy(k->name + n_prefix, name, n);
    k->name_bytes = n_prefix + n;
    k->locks = locks;
    k->n_stripes = n_stripes != 0 ? n_stripes : 1;
    k->wait_ns = wait_ns != 0 ? wait_ns : 5 * DLOAD_SECOND;
    return DLOAD_OK;
}

/* The lock that keys of a hash are under, which every process computes alike. */
DLOAD_I_LOCAL uint64_t dload_i_stripe_bit(const dload_i_locking *k, uint64_t hash)
{
    return UINT64_C(1) << (dload_i_mix64(hash) >> 32) % k->n_stripes;
}

DLOAD_I_LOCAL uint32_t dload_i_n_stripes(uint64_t stripes)
{
    uint32_t n = 0;
    for (; stripes != 0; stripes &= stripes - 1)
        n++;
    return n;
}

/* Takes the wanted stripes, by until_ns of env's clock; held has a place for each that there is. Returns those that
 * were taken. */
DLOAD_I_LOCAL uint64_t dload_i_locks_take(const dload_i_locking *k, const dload_env *env,
                                          uint64_t wanted, uint64_t until_ns, dload_held *held)
{
    char text[sizeof k->name];
    dload_str name;
    uint64_t taken = 0;
    memcpy(text, k->name, k->name_bytes);
    name.ptr = text;
    for (uint32_t i = 0; i < k->n_stripes; i++) {
        if ((wanted >> i & 1) == 0)
            continue;
        name.len = k->name_bytes;
        if (k->n_stripes > 1) {
            text[name.len++] = '/';
            if (i >= 10)
                text[name.len++] = (char)('0' + (char)(i / 10));
            text[name.len++] = (char)('0' + (char)(i % 10));
        }
        uint64_t now_ns = dload_i_now(env);
        uint64_t left_ns = now_ns < until_ns ? until_ns - now_ns : 0;
        if (k->locks->take(k->locks, name, left_ns, &held[i]) == DLOAD_OK)
            taken |= UINT64_C(1) << i;
    }
    return taken;
}

/* How many of them are not ours any more; prolongs the others. */
DLOAD_I_LOCAL uint32_t dload_i_locks_lost(const dload_i_locking *k, uint64_t taken,
                                          dload_held *held)
{
    uint32_t n_lost = 0;
    for (uint32_t i = 0; i < k->n_stripes; i++)
        n_lost += (taken >> i & 1) != 0 && k->locks->check(k->locks, &held[i]) != DLOAD_OK;
    return n_lost;
}

/* Gives them back, the last one first, and says how many had been lost. */
DLOAD_I_LOCAL uint32_t dload_i_locks_give(const dload_i_locking *k, uint64_t taken,
                                          dload_held *held)
{
    uint32_t n_lost = 0;
    for (uint32_t i = k->n_stripes; i-- > 0;)
        n_lost += (taken >> i & 1) != 0 && k->locks->give(k->locks, &held[i]) != DLOAD_OK;
    return n_lost;
}

#endif /* DLOAD_STORE */

/* ==== runtime/leasing.h ==== */

/* >>leasing -- leases: what they are known by, and waiting for those of others.
 *
 * A lease is an identity, not a promise: it may end before its holder is through, and then what the holder
 * brings is not stored. Whoever waits asks for the value first and for the lease second, again and again: when a
 * holder dies one of them is the next, never all.
 */

#if defined(DLOAD_STORE) && DLOAD_STORE && !defined(DLOAD_I_LEASING_H)
#define DLOAD_I_LEASING_H

#define DLOAD_I_ASK_FIRST_NS (5 * DLOAD_MILLISECOND) /* the first pause before asking again */
#define DLOAD_I_ASK_LAST_NS  (200 * DLOAD_MILLISECOND)

/* 128 bits for one batch: random ones, counted on. The mutex is held. */
DLOAD_I_LOCAL void dload_i_lease_draw(dload_i_second *s, uint64_t lease[2])
{
    s->leases[1]++;
    memcpy(lease, s->leases, sizeof s->leases);
}

DLOAD_I_LOCAL void dload_i_lease_item(dload_store_item *item, const uint64_t lease[2],
                                      uint64_t lease_ns)
{
    item->lease[0] = lease[0];
    item->lease[1] = lease[1];
    item->ttl_ns = lease_ns;
}

/* Can this loader's callers wait at all? Loops cannot, nor who has no way to. */
DLOAD_I_LOCAL bool dload_i_may_rest(const dload_i_core *c)
{
    return c->wake == NULL && (!DLOAD_FREESTANDING || c->env->wait != NULL);
}

/* Does nothing until then, by env's clock, or for a little less. No lock is held. */
DLOAD_I_LOCAL void dload_i_idle_for(const dload_env *env, uint64_t span_ns)
{
    uint64_t until_ns = dload_i_add_ns(dload_i_now(env), span_ns);
    uint32_t word = 0;
    if (env->wait != NULL) {
        (void)env->wait(env->ctx, &word, 0, until_ns);
        return;
    }
#if !DLOAD_FREESTANDING
    dload_i_nap(span_ns < DLOAD_SECOND ? span_ns : DLOAD_SECOND - 1);
#endif
}

/* A pause a quarter more or less than it is: those who wait do not all come back at once. */
DLOAD_I_LOCAL uint64_t dload_i_ask_pause(uint64_t pause_ns, uint64_t salt)
{
    return pause_ns - pause_ns / 4 + dload_i_mix64(salt) % (pause_ns / 2);
}

#endif /* DLOAD_STORE */

#if !defined(DLOAD_STORE) || defined(DLOAD_NAME) || defined(DLOAD_KEY) /* stores alone */

/* ==== typed/params.h ==== */

/* >>params -- the parameters of one loader: required ones, defaults, and what is not allowed.
 *
 * Everything a user may have got wrong is said here, in a sentence that names the macro and its
 * allowed values; the parts below may then assume that each parameter is defined and valid.
 */
#ifndef DLOAD_I_HAVE_PARAMS
#define DLOAD_I_HAVE_PARAMS

#ifndef DLOAD_NAME
#error "dataloader.h: DLOAD_NAME is missing: define it as the loader's type name and prefix"
#endif
#ifndef DLOAD_KEY
#error "dataloader.h: DLOAD_KEY is missing: define it as a primitive type, e.g. uint64_t"
#endif
#ifndef DLOAD_VALUE
#error "dataloader.h: DLOAD_VALUE is missing: define it as any copyable type, or DLOAD_BLOB"
#endif

/* ---- choices ---- */
#ifndef DLOAD_LOCK
#define DLOAD_LOCK DLOAD_LOCK_NONE
#endif
#if DLOAD_LOCK < DLOAD_LOCK_NONE || DLOAD_LOCK > DLOAD_LOCK_CUSTOM
#error \
    "dataloader.h: DLOAD_LOCK must be DLOAD_LOCK_NONE, DLOAD_LOCK_SPIN, DLOAD_LOCK_PTHREAD or DLOAD_LOCK_CUSTOM"
#endif
#if DLOAD_I_ONE_THREAD && DLOAD_LOCK != DLOAD_LOCK_NONE
#error "dataloader.h: DLOAD_LOCK must be DLOAD_LOCK_NONE with tcc, which has no atomics"
#endif
#if DLOAD_LOCK == DLOAD_LOCK_PTHREAD && DLOAD_FREESTANDING
#error \
    "dataloader.h: DLOAD_LOCK_PTHREAD needs a hosted build: DLOAD_FREESTANDING allows NONE, SPIN and CUSTOM"
#endif
#if DLOAD_LOCK == DLOAD_LOCK_CUSTOM
#if !defined(DLOAD_CUSTOM_TYPE)
#error \
    "dataloader.h: DLOAD_LOCK_CUSTOM needs DLOAD_CUSTOM_TYPE: what a critical section remembers, e.g. uint32_t for the interrupt mask it found, or char for nothing"
#endif
#if !defined(DLOAD_CUSTOM_INIT)
#error \
    "dataloader.h: DLOAD_LOCK_CUSTOM needs DLOAD_CUSTOM_INIT(p): makes *p, a DLOAD_CUSTOM_TYPE, ready; ((void)(p)) when there is nothing to do"
#endif
#if !defined(DLOAD_CUSTOM_ENTER) || !defined(DLOAD_CUSTOM_LEAVE)
#error \
    "dataloader.h: DLOAD_LOCK_CUSTOM needs DLOAD_CUSTOM_ENTER(p) and DLOAD_CUSTOM_LEAVE(p): the critical section"
#endif
#if !DLOAD_I_SWAPS && DLOAD_I_VKIND_OF(DLOAD_VALUE) == DLOAD_I_VKIND_BLOB
#error \
    "dataloader.h: DLOAD_BLOB under DLOAD_LOCK_CUSTOM needs a core with compare-and-swap, for its reference counts: use a plain value, or DLOAD_VALUE_REF and _UNREF of your own"
#endif
#endif

#ifndef DLOAD_EVICT
#define DLOAD_EVICT DLOAD_EVICT_AUTO
#endif
#if DLOAD_EVICT < DLOAD_EVICT_NONE || DLOAD_EVICT > DLOAD_EVICT_ADAPTIVE
#error \
    "dataloader.h: DLOAD_EVICT must be DLOAD_EVICT_NONE, _FIFO, _CLOCK, _LRU, _SIEVE, _S3FIFO, _ADAPTIVE or _AUTO"
#endif

#ifndef DLOAD_CLOCK
#define DLOAD_CLOCK DLOAD_CLOCK_ENV
#endif
#if DLOAD_CLOCK < DLOAD_CLOCK_ENV || DLOAD_CLOCK > DLOAD_CLOCK_MANUAL
#error "dataloader.h: DLOAD_CLOCK must be DLOAD_CLOCK_ENV, _COARSE, _PRECISE or _MANUAL"
#endif
#if DLOAD_FREESTANDING && (DLOAD_CLOCK == DLOAD_CLOCK_COARSE || DLOAD_CLOCK == DLOAD_CLOCK_PRECISE)
#error "dataloader.h: DLOAD_FREESTANDING has no clock of its own: use DLOAD_CLOCK_ENV or _MANUAL"
#endif

#ifndef DLOAD_HASH
#define DLOAD_HASH DLOAD_HASH_FAST
#endif
#if DLOAD_HASH != DLOAD_HASH_FAST && DLOAD_HASH != DLOAD_HASH_SIP
#error "dataloader.h: DLOAD_HASH must be DLOAD_HASH_FAST or DLOAD_HASH_SIP"
#endif

#ifndef DLOAD_LINKAGE
#define DLOAD_LINKAGE DLOAD_LINKAGE_STATIC
#endif
#if DLOAD_LINKAGE < DLOAD_LINKAGE_STATIC || DLOAD_LINKAGE > DLOAD_LINKAGE_DEFINE
#error "dataloader.h: DLOAD_LINKAGE must be DLOAD_LINKAGE_STATIC, _DECLARE or _DEFINE"
#endif

/* ---- switches ---- */
#ifndef DLOAD_TTL
#define DLOAD_TTL 1
#endif
#if DLOAD_TTL != 0 && DLOAD_TTL != 1
#error "dataloader.h: DLOAD_TTL must be 0 (entries never expire) or 1"
#endif
#ifndef DLOAD_REFRESH
#define DLOAD_REFRESH 0
#endif
#if DLOAD_REFRESH != 0 && DLOAD_REFRESH != 1
#error \
    "dataloader.h: DLOAD_REFRESH must be 0 or 1 (values past their TTL, early refreshes, idle TTLs)"
#endif
#if DLOAD_REFRESH && !DLOAD_TTL
#error "dataloader.h: DLOAD_REFRESH needs DLOAD_TTL 1: what never expires is never past its TTL"
#endif
#ifndef DLOAD_GROUP
#define DLOAD_GROUP 0
#endif
#if DLOAD_GROUP != 0 && DLOAD_GROUP != 1
#error "dataloader.h: DLOAD_GROUP must be 0 or 1 (a key is known by its group, too)"
#endif
#ifndef DLOAD_STATS
#define DLOAD_STATS 1
#endif
#if DLOAD_STATS != 0 && DLOAD_STATS != 1
#error "dataloader.h: DLOAD_STATS must be 0 (no counters) or 1"
#endif
#ifndef DLOAD_ASYNC
#define DLOAD_ASYNC 1
#endif
#if DLOAD_ASYNC != 0 && DLOAD_ASYNC != 1
#error "dataloader.h: DLOAD_ASYNC must be 0 (one caller, and nothing waits) or 1"
#endif

#ifndef DLOAD_SNAPSHOT
#define DLOAD_SNAPSHOT 0
#endif
#if DLOAD_SNAPSHOT != 0 && DLOAD_SNAPSHOT != 1
#error "dataloader.h: DLOAD_SNAPSHOT must be 0 or 1 (the cache can be saved and restored)"
#endif
#ifndef DLOAD_STORE
#define DLOAD_STORE 0
#endif
#if DLOAD_STORE != 0 && DLOAD_STORE != 1
#error "dataloader.h: DLOAD_STORE must be 0 or 1 (config.store is a second level)"
#endif
#ifndef DLOAD_ON_REMOVE
#define DLOAD_ON_REMOVE 0
#endif
#if DLOAD_ON_REMOVE != 0 && DLOAD_ON_REMOVE != 1
#error \
    "dataloader.h: DLOAD_ON_REMOVE must be 0 or 1 (config.on_remove is told what leaves the cache)"
#endif
#ifdef DLOAD_WEIGHT
#define DLOAD_I_WEIGHED 1
#else
#define DLOAD_I_WEIGHED 0
#endif
#ifndef DLOAD_COMPACT
#define DLOAD_COMPACT 0
#endif
#if DLOAD_COMPACT != 0 && DLOAD_COMPACT != 1
#error "dataloader.h: DLOAD_COMPACT must be 0 or 1 (the cache is small rather than fast)"
#endif

/* ---- the key: recognised by name, because sizeof says nothing about meaning ---- */
#ifdef DLOAD_KEY_AS
#define DLOAD_I_KEY_NAME DLOAD_KEY_AS
#else
#define DLOAD_I_KEY_NAME DLOAD_KEY
#endif
#define DLOAD_I_KEY_KIND DLOAD_I_KIND_OF(DLOAD_I_KEY_NAME)
#if DLOAD_I_KEY_KIND == DLOAD_I_KIND_UNKNOWN
#error \
    "dataloader.h: DLOAD_KEY must be one of bool, char, int8_t .. int64_t, uint8_t .. uint64_t, int, unsigned, long, size_t, float, double, DLOAD_STRING or DLOAD_ID128; for a typedef or an enum name the primitive behind it in DLOAD_KEY_AS; a struct or pointer is never a key (dload_key_enc makes one DLOAD_STRING of several fields)"
#endif
#if defined(DLOAD_KEY_AS) && \
    (DLOAD_I_KEY_KIND == DLOAD_I_KIND_STRING || DLOAD_I_KEY_KIND == DLOAD_I_KIND_ID128)
#error \
    "dataloader.h: DLOAD_KEY_AS must be a scalar: use DLOAD_KEY DLOAD_STRING or DLOAD_ID128 itself"
#endif

#if DLOAD_COMPACT
#if DLOAD_LOCK == DLOAD_LOCK_SPIN || DLOAD_LOCK == DLOAD_LOCK_PTHREAD
#error "dataloader.h: DLOAD_COMPACT needs DLOAD_LOCK_NONE or DLOAD_LOCK_CUSTOM"
#endif
#if DLOAD_EVICT == DLOAD_EVICT_AUTO
#undef DLOAD_EVICT
#define DLOAD_EVICT DLOAD_EVICT_CLOCK
#elif DLOAD_EVICT > DLOAD_EVICT_CLOCK
#error "dataloader.h: DLOAD_COMPACT knows DLOAD_EVICT_NONE, _FIFO, _CLOCK and _AUTO, which is CLOCK"
#endif
#if DLOAD_I_KEY_KIND == DLOAD_I_KIND_STRING
#error "dataloader.h: DLOAD_COMPACT has no DLOAD_STRING keys: use a scalar or DLOAD_ID128"
#endif
#if DLOAD_HASH == DLOAD_HASH_SIP
#error "dataloader.h: DLOAD_COMPACT has a hash of its own: DLOAD_HASH_SIP does not go with it"
#endif
#if DLOAD_REFRESH
#error "dataloader.h: DLOAD_COMPACT knows one time of an entry, its end: no DLOAD_REFRESH"
#endif
#if DLOAD_GROUP
#error "dataloader.h: DLOAD_COMPACT does not know groups: no DLOAD_GROUP"
#endif
#if DLOAD_I_WEIGHED
#error "dataloader.h: DLOAD_COMPACT counts entries: no DLOAD_WEIGHT"
#endif
#if DLOAD_SNAPSHOT
#error "dataloader.h: DLOAD_COMPACT has no snapshots: no DLOAD_SNAPSHOT"
#endif
#if DLOAD_STORE
#error "dataloader.h: DLOAD_COMPACT has no second level: no DLOAD_STORE"
#endif
#endif

/* ---- the value: plain, referenced, copied, or a blob ---- */
#define DLOAD_I_VALUE_IS_BLOB (DLOAD_I_VKIND_OF(DLOAD_VALUE) == DLOAD_I_VKIND_BLOB)
#if defined(DLOAD_VALUE_REF) != defined(DLOAD_VALUE_UNREF)
#error "dataloader.h: DLOAD_VALUE_REF and DLOAD_VALUE_UNREF come together: define both or neither"
#endif
#if defined(DLOAD_VALUE_COPY) != defined(DLOAD_VALUE_FREE)
#error "dataloader.h: DLOAD_VALUE_COPY and DLOAD_VALUE_FREE come together: define both or neither"
#endif
#if defined(DLOAD_VALUE_REF) && defined(DLOAD_VALUE_COPY)
#error "dataloader.h: DLOAD_VALUE_REF/UNREF and DLOAD_VALUE_COPY/FREE exclude each other"
#endif
#if DLOAD_I_VALUE_IS_BLOB && (defined(DLOAD_VALUE_REF) || defined(DLOAD_VALUE_COPY))
#error "dataloader.h: DLOAD_BLOB brings its own ownership: leave DLOAD_VALUE_REF/COPY undefined"
#endif
#if DLOAD_I_VALUE_IS_BLOB || defined(DLOAD_VALUE_REF) || defined(DLOAD_VALUE_COPY)
#define DLOAD_I_OWNED 1
#else
#define DLOAD_I_OWNED 0
#endif

#if !DLOAD_ASYNC
#if DLOAD_LOCK != DLOAD_LOCK_NONE
#error "dataloader.h: DLOAD_ASYNC 0 needs DLOAD_LOCK_NONE: nobody waits for another caller"
#endif
#if DLOAD_I_KEY_KIND == DLOAD_I_KIND_STRING
#error "dataloader.h: DLOAD_ASYNC 0 has no DLOAD_STRING keys: use a scalar or DLOAD_ID128"
#endif
#if DLOAD_I_OWNED || DLOAD_ON_REMOVE
#error \
    "dataloader.h: DLOAD_ASYNC 0 is for plain values: no DLOAD_VALUE_REF, _COPY, DLOAD_BLOB or DLOAD_ON_REMOVE"
#endif
#if DLOAD_REFRESH || DLOAD_GROUP || DLOAD_SNAPSHOT || DLOAD_STORE
#error \
    "dataloader.h: DLOAD_ASYNC 0 does not go with DLOAD_REFRESH, DLOAD_GROUP, DLOAD_SNAPSHOT or DLOAD_STORE"
#endif
#endif

/* How values leave the process unless there is an encode: 0 not at all, 1 as they lie in memory, 2 as a blob's
 * bytes; with one, 3. */
#if DLOAD_I_VALUE_IS_BLOB
#define DLOAD_I_VALUE_FORM 2u
#elif DLOAD_I_OWNED
#define DLOAD_I_VALUE_FORM 0u
#else
#define DLOAD_I_VALUE_FORM 1u
#endif

/* Has what leaves the cache to be dealt with once no lock is held? May it be more than one value for one
 * that came? And does a batch, which stores under the loader's mutex, have to remember that? */
#if DLOAD_I_OWNED || DLOAD_ON_REMOVE
#define DLOAD_I_LEAVES 1
#else
#define DLOAD_I_LEAVES 0
#endif
#if DLOAD_I_LEAVES && DLOAD_I_WEIGHED
#define DLOAD_I_KILLS 1
#else
#define DLOAD_I_KILLS 0
#endif
#if DLOAD_I_KILLS || DLOAD_ON_REMOVE
#define DLOAD_I_OWES 1
#else
#define DLOAD_I_OWES 0
#endif

/* ---- shorthands of this instance ---- */
#define DLOAD_I_FN(word)  DLOAD_I_JOIN(DLOAD_NAME, word)
#define DLOAD_I_IS_STRING (DLOAD_I_KEY_KIND == DLOAD_I_KIND_STRING)
#define DLOAD_I_THREADED  (DLOAD_LOCK != DLOAD_LOCK_NONE)
/* Are there processors that run side by side, and so many locks? A critical section is one for all. */
#define DLOAD_I_SHARDED (DLOAD_LOCK == DLOAD_LOCK_SPIN || DLOAD_LOCK == DLOAD_LOCK_PTHREAD)
/* Do hits read without the lock? Values that are copied byte by byte can be; see read.h. */
#define DLOAD_I_LOCKLESS \
    (DLOAD_I_SHARDED && !DLOAD_COMPACT && !DLOAD_I_OWNED && DLOAD_I_WIDE_ATOMICS)
#define DLOAD_I_BODIES (DLOAD_LINKAGE != DLOAD_LINKAGE_DECLARE)
#if DLOAD_STATS
#define DLOAD_I_COUNT_HIT(s) ((void)(s)->hits++)
#else
#define DLOAD_I_COUNT_HIT(s) ((void)(s))
#endif
#if DLOAD_LINKAGE == DLOAD_LINKAGE_STATIC
#define DLOAD_I_API DLOAD_I_UNUSED static
/* A hit is worth having in the caller's loop, unless size counts. */
#if defined(__OPTIMIZE__) && !defined(__OPTIMIZE_SIZE__)
#define DLOAD_I_HOT DLOAD_I_INLINE
#else
#define DLOAD_I_HOT DLOAD_I_UNUSED static inline
#endif
#else
#define DLOAD_I_API
#define DLOAD_I_HOT
#endif

#endif /* DLOAD_I_HAVE_PARAMS */

/* ==== runtime/fork.h ==== */

/* >>fork -- how a child process knows that a loader is its parent's.
 *
 * In a child, locks may be held for ever by threads that are not there. Loaders with a lock remember the
 * epoch they were made in; the handler begins a new one in the child, and every call compares before any
 * lock. Included once, by the first loader that has a lock, so that nobody else gets <pthread.h>.
 */

#if DLOAD_LOCK != DLOAD_LOCK_NONE && !DLOAD_FREESTANDING && !defined(DLOAD_I_FORK_H)
#define DLOAD_I_FORK_H

#include <pthread.h>

DLOAD_I_UNUSED static uint32_t dload_i_fork_epoch;

DLOAD_I_UNUSED static void dload_i_in_child(void)
{
    DLOAD_I_STORE_RELAXED(&dload_i_fork_epoch, dload_i_fork_epoch + 1);
}

DLOAD_I_UNUSED static void dload_i_watch_forks_once(void)
{
    (void)pthread_atfork(NULL, NULL, dload_i_in_child);
}

/* The epoch of this process; the handler is in place from the first call on. */
DLOAD_I_LOCAL uint32_t dload_i_watch_forks(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, dload_i_watch_forks_once);
    return DLOAD_I_LOAD_RELAXED(&dload_i_fork_epoch);
}

#endif /* DLOAD_I_FORK_H */

/* ==== runtime/lock_pthread.h ==== */

/* >>lock_pthread -- the pthread strategy, and the choice of strategy for one loader.
 *
 * The first half is included once, by the first loader that asks for DLOAD_LOCK_PTHREAD, so that
 * nobody else gets <pthread.h>; the second half once a loader.
 */

#if DLOAD_LOCK == DLOAD_LOCK_PTHREAD && !defined(DLOAD_I_LOCK_PTHREAD_H)
#define DLOAD_I_LOCK_PTHREAD_H

#include <pthread.h>

/* A strict -std=c11 with <pthread.h> or <time.h> included before us hid this one. */
#if defined(__GLIBC__) && !defined(__USE_XOPEN2K)
#ifdef __cplusplus
extern "C" {
#endif
int pthread_condattr_setclock(pthread_condattr_t *attr, int clock_id);
#ifdef __cplusplus
}
#endif
#endif

/* ---- mutex and condition variable ---- */

DLOAD_I_LOCAL void dload_i_pthread_lock(void *mutex)
{
    (void)pthread_mutex_lock((pthread_mutex_t *)mutex);
}

DLOAD_I_LOCAL void dload_i_pthread_unlock(void *mutex)
{
    (void)pthread_mutex_unlock((pthread_mutex_t *)mutex);
}

DLOAD_I_LOCAL int dload_i_pthread_hold(void)
{
    int before = 0;
    (void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before);
    return before;
}

DLOAD_I_LOCAL void dload_i_pthread_unhold(int before)
{
    (void)pthread_setcancelstate(before, &before);
}

/* Where one call sleeps. A mutex of its own, so that who is woken finds no other lock taken: signalled
 * under the loader's, eight sleepers would wake up to queue for that. */
typedef struct dload_i_bed {
    pthread_mutex_t mutex;
    pthread_cond_t cond;
} dload_i_bed;

/* A condition variable on the monotonic clock. */
DLOAD_I_LOCAL bool dload_i_bed_init(dload_i_bed *bed)
{
    pthread_condattr_t attr;
    if (pthread_condattr_init(&attr) != 0)
        return false;
    bool ok = pthread_condattr_setclock(&attr, DLOAD_I_CLOCK_PRECISE) == 0 &&
              pthread_cond_init(&bed->cond, &attr) == 0;
    (void)pthread_condattr_destroy(&attr);
    if (ok && pthread_mutex_init(&bed->mutex, NULL) != 0) {
        (void)pthread_cond_destroy(&bed->cond);
        ok = false;
    }
    return ok;
}

DLOAD_I_LOCAL void dload_i_bed_destroy(dload_i_bed *bed)
{
    (void)pthread_mutex_destroy(&bed->mutex);
    (void)pthread_cond_destroy(&bed->cond);
}

/* ---- waking ---- */

/* Under the bed's mutex: else the note falls between a sleeper's look and its sleep. Mutant NOTE_WITHOUT_BED;
 * counted after the signal, mutant SIGNAL_FIRST, it wakes somebody who sees nothing new. */
DLOAD_I_LOCAL void dload_i_pthread_note(dload_i_parker *p, bool pays)
{
    dload_i_bed *bed = (dload_i_bed *)p->os;
    (void)pthread_mutex_lock(&bed->mutex);
    DLOAD_I_STORE_RELEASE(&p->n_notes, p->n_notes + 1);
    p->owed = p->owed && !pays;
    (void)pthread_cond_signal(&bed->cond);
    (void)pthread_mutex_unlock(&bed->mutex); /* p may be gone */
}

DLOAD_I_LOCAL void dload_i_pthread_unpark(dload_i_parker *p, const dload_env *env)
{
    if (env->wait != NULL) {
        dload_i_env_unpark(p, env);
        return;
    }
    dload_i_pthread_note(p, false);
}

DLOAD_I_LOCAL void dload_i_pthread_pay(dload_i_parker *p)
{
    dload_i_pthread_note(p, true);
}

/* The other end of a debt: not before it is paid may the call return, and its bed be gone. Under the bed's
 * mutex, which the payer holds to the end: mutant COLLECT_WITHOUT_BED. */
DLOAD_I_LOCAL void dload_i_pthread_collect(dload_i_parker *p)
{
    dload_i_bed *bed = (dload_i_bed *)p->os;
    bool owed = true;
    while (owed) {
        (void)pthread_mutex_lock(&bed->mutex);
        owed = p->owed;
        (void)pthread_mutex_unlock(&bed->mutex);
        if (owed)
            (void)sched_yield();
    }
}

/* ---- sleeping ---- */

typedef struct dload_i_nap_ctx {
    dload_i_parker *parker;
    void *mutex;
} dload_i_nap_ctx;

DLOAD_I_LOCAL void dload_i_pthread_cancelled(void *arg)
{
    dload_i_nap_ctx *nap = (dload_i_nap_ctx *)arg;
    dload_i_parker *p = nap->parker;
    dload_i_bed *bed = (dload_i_bed *)p->os;
    (void)pthread_mutex_unlock(&bed->mutex);
    dload_i_pthread_lock(nap->mutex);
    if (p->give_up != NULL)
        p->give_up(p);
    dload_i_pthread_collect(p); /* mutant CANCELLED_NO_COLLECT */
    dload_i_pthread_unlock(nap->mutex);
    dload_i_bed_destroy(bed);
}

/* A leader that lingers for so short a time gives the processor away first, to those whom it lingers for. A
 * few times: whoever yields often is put behind everybody else. True: a note came after the SEEN ones, or the
 * time is over. */
#define DLOAD_I_SHORT_NS (100 * DLOAD_MICROSECOND)
#define DLOAD_I_YIELDS   8u

DLOAD_I_LOCAL bool dload_i_pthread_yield(void *mutex, const dload_i_parker *p, uint32_t seen,
                                         uint64_t end_ns)
{
    bool done = false;
    dload_i_pthread_unlock(mutex);
    for (unsigned i = 0; i < DLOAD_I_YIELDS && !done; i++) {
        (void)sched_yield();
        done = DLOAD_I_LOAD_ACQUIRE(&p->n_notes) != seen || dload_i_clock_precise(NULL) >= end_ns;
    }
    dload_i_pthread_lock(mutex);
    return done;
}

/* Waits at most 100 ms at a time: some releases of glibc lose a wake-up (bug 25847), and the clock of
 * env may be another than the system's. The caller looks again after every return. */
DLOAD_I_LOCAL dload_status dload_i_pthread_park(void *mutex, dload_i_parker *p,
                                                const dload_env *env, uint64_t until_ns)
{
    static const dload_i_sync sync = {
        NULL, NULL, dload_i_pthread_lock, dload_i_pthread_unlock, NULL, NULL, NULL, NULL};
    if (env->wait != NULL)
        return dload_i_env_park(&sync, mutex, p, env, until_ns);
    uint64_t now_ns = dload_i_now(env);
    uint64_t span_ns = until_ns > now_ns ? until_ns - now_ns : 0;
    if (span_ns > 100 * DLOAD_MILLISECOND)
        span_ns = 100 * DLOAD_MILLISECOND;
    uint64_t end_ns = dload_i_clock_precise(NULL) + span_ns;
    /* Once, and before the mutex is given up for the first time: a wake-up is paid after the mutex is free,
     * so that one which comes between two looks would be taken for an old one. Mutant SEEN_LATE. */
    uint32_t seen = DLOAD_I_LOAD_ACQUIRE(&p->n_notes);
    if (span_ns <= DLOAD_I_SHORT_NS && dload_i_pthread_yield(mutex, p, seen, end_ns))
        return DLOAD_OK;
    struct timespec ts;
    ts.tv_sec = (time_t)(end_ns / DLOAD_SECOND);
    ts.tv_nsec = (long)(end_ns % DLOAD_SECOND);
    dload_i_bed *bed = (dload_i_bed *)p->os;
    dload_i_nap_ctx nap = {p, mutex};
    dload_i_pthread_unlock(mutex);
    (void)pthread_mutex_lock(&bed->mutex);
    /* The only place where a cancelled thread may end: everywhere else it would hold what others need.
     * The handler leaves the call as a passed deadline would. */
    pthread_cleanup_push(dload_i_pthread_cancelled, &nap);
    dload_i_pthread_unhold(p->cancel_before);
    int rc = 0;
    while (p->n_notes == seen && rc == 0)
        rc = pthread_cond_timedwait(&bed->cond, &bed->mutex, &ts);
    (void)dload_i_pthread_hold();
    pthread_cleanup_pop(0);
    (void)pthread_mutex_unlock(&bed->mutex);
    dload_i_pthread_lock(mutex);
    return DLOAD_OK;
}

DLOAD_I_LOCAL const dload_i_sync *dload_i_sync_pthread(void)
{
    static const dload_i_sync sync = {dload_i_pthread_hold, dload_i_pthread_unhold,
                                      dload_i_pthread_lock, dload_i_pthread_unlock,
                                      dload_i_pthread_park, dload_i_pthread_unpark,
                                      dload_i_pthread_pay,  dload_i_pthread_collect};
    return &sync;
}

#endif /* DLOAD_I_LOCK_PTHREAD_H */

/* ---- the strategy of this loader ---- */
#ifndef DLOAD_I_HAVE_LOCK
#define DLOAD_I_HAVE_LOCK
#if DLOAD_LOCK == DLOAD_LOCK_PTHREAD
#define DLOAD_I_LOCK_T          pthread_mutex_t
#define DLOAD_I_LOCK_INIT(m)    (pthread_mutex_init((m), NULL) == 0)
#define DLOAD_I_LOCK_DESTROY(m) ((void)pthread_mutex_destroy(m))
#define DLOAD_I_ACQUIRE(m)      ((void)pthread_mutex_lock(m))
#define DLOAD_I_RELEASE(m)      ((void)pthread_mutex_unlock(m))
#define DLOAD_I_SYNC            dload_i_sync_pthread()
#define DLOAD_I_LEAVE(l) \
    ((l)->core.owed == NULL ? DLOAD_I_RELEASE(&(l)->mutex) : dload_i_core_unlock(&(l)->core))
#define DLOAD_I_COND_T          dload_i_bed
#define DLOAD_I_COND_INIT(c)    dload_i_bed_init(c)
#define DLOAD_I_COND_DESTROY(c) dload_i_bed_destroy(c)
#define DLOAD_I_HOLD()          dload_i_pthread_hold()
#define DLOAD_I_UNHOLD(before)  dload_i_pthread_unhold(before)
#else
#if DLOAD_LOCK == DLOAD_LOCK_SPIN
#define DLOAD_I_LOCK_T          dload_i_spin
#define DLOAD_I_LOCK_INIT(m)    ((m)->taken = 0, true)
#define DLOAD_I_ACQUIRE(m)      dload_i_spin_lock(m)
#define DLOAD_I_RELEASE(m)      dload_i_spin_unlock(m)
#define DLOAD_I_LOCK_DESTROY(m) ((void)(m))
#define DLOAD_I_SYNC            dload_i_sync_spin()
#elif DLOAD_LOCK == DLOAD_LOCK_CUSTOM
#define DLOAD_I_LOCK_T          DLOAD_CUSTOM_TYPE /* functions in custom.h */
#define DLOAD_I_LOCK_INIT(m)    DLOAD_I_FN(i_custom_init)(m)
#define DLOAD_I_LOCK_DESTROY(m) DLOAD_I_FN(i_custom_destroy)(m)
#define DLOAD_I_ACQUIRE(m)      DLOAD_I_FN(i_custom_enter)(m)
#define DLOAD_I_RELEASE(m)      DLOAD_I_FN(i_custom_leave)(m)
#define DLOAD_I_SYNC            DLOAD_I_FN(i_custom_sync)()
#elif DLOAD_COMPACT
#define DLOAD_I_LOCK_T          dload_i_busy
#define DLOAD_I_LOCK_INIT(m)    ((m)->is = 0, true)
#define DLOAD_I_LOCK_DESTROY(m) ((void)(m))
#define DLOAD_I_ACQUIRE(m)      dload_i_busy_begin(m)
#define DLOAD_I_RELEASE(m)      dload_i_busy_end(m)
#define DLOAD_I_SYNC            dload_i_sync_busy()
#else
#define DLOAD_I_LOCK_T          dload_i_no_lock
#define DLOAD_I_LOCK_INIT(m)    ((m)->unused = 0, true)
#define DLOAD_I_LOCK_DESTROY(m) ((void)(m))
#define DLOAD_I_ACQUIRE(m)      ((void)(m))
#define DLOAD_I_RELEASE(m)      ((void)(m))
#define DLOAD_I_SYNC            dload_i_sync_none()
#endif
#define DLOAD_I_LEAVE(l)        DLOAD_I_RELEASE(&(l)->mutex) /* nobody is owed a wake-up */
#define DLOAD_I_COND_T          char
#define DLOAD_I_COND_INIT(c)    (*(c) = 0, true)
#define DLOAD_I_COND_DESTROY(c) ((void)(c))
#define DLOAD_I_HOLD()          0
#define DLOAD_I_UNHOLD(before)  ((void)(before))
#endif
#if DLOAD_LOCK != DLOAD_LOCK_NONE && !DLOAD_FREESTANDING
#define DLOAD_I_FORK_EPOCH dload_i_watch_forks()
#define DLOAD_I_FORK_NOW   (&dload_i_fork_epoch)
#define DLOAD_I_FORKED(cache) \
    DLOAD_I_UNLIKELY(DLOAD_I_LOAD_RELAXED(&dload_i_fork_epoch) != (cache)->fork_epoch)
#else
#define DLOAD_I_FORK_EPOCH    0
#define DLOAD_I_FORK_NOW      NULL
#define DLOAD_I_FORKED(cache) ((void)(cache), false)
#endif
#define DLOAD_I_MUTEX_T DLOAD_I_LOCK_T
/* Around what only reads. False: an interrupt handler came in while somebody writes, and does not wait. */
#if DLOAD_COMPACT && DLOAD_LOCK == DLOAD_LOCK_NONE
#define DLOAD_I_LOOK(m)   dload_i_busy_not(m)
#define DLOAD_I_LOOKED(m) ((void)(m))
#else
#define DLOAD_I_LOOK(m)   (DLOAD_I_ACQUIRE(m), true)
#define DLOAD_I_LOOKED(m) DLOAD_I_RELEASE(m)
#endif
#endif /* DLOAD_I_HAVE_LOCK */

/* ==== typed/custom.h ==== */

/* >>custom -- the strategy whose lock is the user's own critical section: DLOAD_LOCK_CUSTOM.
 *
 * For an RTOS, or for a main loop and its interrupts: one lock of the loader and one of its cache, each a
 * DLOAD_CUSTOM_TYPE, the second sometimes entered inside the first. No compare-and-swap is needed: what
 * tasks share is touched inside a section, or is one aligned word.
 *
 * Waiting is env->wait's, outside every section. Without it a call sends its batch by itself, and one that
 * would have to wait for another task's is told DLOAD_EAGAIN: here nothing ever spins.
 */
#ifndef DLOAD_I_HAVE_CUSTOM
#define DLOAD_I_HAVE_CUSTOM

#if DLOAD_LOCK == DLOAD_LOCK_CUSTOM

DLOAD_I_INLINE bool DLOAD_I_FN(i_custom_init)(DLOAD_CUSTOM_TYPE *p)
{
    (void)p; /* a section that needs no memory looks at none */
    DLOAD_CUSTOM_INIT(p);
    return true;
}

DLOAD_I_INLINE void DLOAD_I_FN(i_custom_destroy)(DLOAD_CUSTOM_TYPE *p)
{
    (void)p;
#ifdef DLOAD_CUSTOM_DESTROY
    DLOAD_CUSTOM_DESTROY(p);
#endif
}

DLOAD_I_INLINE void DLOAD_I_FN(i_custom_enter)(DLOAD_CUSTOM_TYPE *p)
{
    (void)p;
    DLOAD_CUSTOM_ENTER(p);
}

DLOAD_I_INLINE void DLOAD_I_FN(i_custom_leave)(DLOAD_CUSTOM_TYPE *p)
{
    (void)p;
    DLOAD_CUSTOM_LEAVE(p);
}

DLOAD_I_LOCAL void DLOAD_I_FN(i_custom_lock)(void *mutex)
{
    DLOAD_I_FN(i_custom_enter)((DLOAD_CUSTOM_TYPE *)mutex);
}

DLOAD_I_LOCAL void DLOAD_I_FN(i_custom_unlock)(void *mutex)
{
    DLOAD_I_FN(i_custom_leave)((DLOAD_CUSTOM_TYPE *)mutex);
}

/* Mutant CUSTOM_WAITS_INSIDE. */
DLOAD_I_LOCAL dload_status DLOAD_I_FN(i_custom_park)(void *mutex, dload_i_parker *p,
                                                     const dload_env *env, uint64_t until_ns)
{
    static const dload_i_sync sync = {
        NULL, NULL, DLOAD_I_FN(i_custom_lock), DLOAD_I_FN(i_custom_unlock), NULL, NULL, NULL, NULL};
    if (env->wait == NULL)
        return DLOAD_EAGAIN;
    return dload_i_env_park(&sync, mutex, p, env, until_ns);
}

DLOAD_I_LOCAL const dload_i_sync *DLOAD_I_FN(i_custom_sync)(void)
{
    static const dload_i_sync sync = {NULL,
                                      NULL,
                                      DLOAD_I_FN(i_custom_lock),
                                      DLOAD_I_FN(i_custom_unlock),
                                      DLOAD_I_FN(i_custom_park),
                                      dload_i_env_unpark,
                                      NULL,
                                      NULL};
    return &sync;
}

#endif /* DLOAD_LOCK_CUSTOM */
#endif /* DLOAD_I_HAVE_CUSTOM */

/* ==== runtime/stripe.h ==== */

/* >>stripe -- counters that many threads raise at once: each thread has a cache line to itself.
 *
 * A hit without the lock may write nothing that another thread's hit looks at. The first fifteen threads
 * that are alive at once own a stripe each and raise it with a load and a store; whoever comes later
 * shares the last one, with an atomic addition. A thread gives its stripe back when it ends.
 */
#ifndef DLOAD_I_STRIPE_H
#define DLOAD_I_STRIPE_H

#define DLOAD_I_STRIPES 16u /* the last is shared */

typedef struct dload_i_stripe {
    uint64_t n;
    char apart[64 - sizeof(uint64_t)];
} dload_i_stripe;

DLOAD_I_LOCAL uint64_t dload_i_stripe_sum(const dload_i_stripe *stripes)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < DLOAD_I_STRIPES; i++)
        sum += DLOAD_I_LOAD_RELAXED(&stripes[i].n);
    return sum;
}

#endif /* DLOAD_I_STRIPE_H */

/* For loaders with a lock only: nobody else gets <pthread.h>. */
#if defined(DLOAD_I_LOCKLESS) && DLOAD_I_LOCKLESS && !defined(DLOAD_I_STRIPE_COUNT_H)
#define DLOAD_I_STRIPE_COUNT_H
#if DLOAD_FREESTANDING

DLOAD_I_INLINE void dload_i_stripe_count(dload_i_stripe *stripes)
{
    (void)__atomic_add_fetch(&stripes[DLOAD_I_STRIPES - 1].n, 1u, __ATOMIC_RELAXED);
}

#else

#include <pthread.h>

#ifdef __cplusplus
extern "C" {
#endif
/* Shared by all translation units of a program: which stripes have an owner, and this thread's number,
 * counted from 1; 0 = not asked yet. */
__attribute__((__weak__)) uint32_t dload_i_stripes_owned;
__attribute__((__weak__)) __thread uint32_t dload_i_stripe_mine;
#ifdef __cplusplus
}
#endif

DLOAD_I_UNUSED static pthread_key_t dload_i_stripe_key;
DLOAD_I_UNUSED static bool dload_i_stripe_has_key;

/* A thread ends; destructors that run after this one may still load. */
DLOAD_I_UNUSED static void dload_i_stripe_end(void *arg)
{
    uint32_t mine = (uint32_t)(uintptr_t)arg;
    dload_i_stripe_mine = DLOAD_I_STRIPES;
    (void)__atomic_and_fetch(&dload_i_stripes_owned, ~(UINT32_C(1) << (mine - 1)),
                             __ATOMIC_RELEASE);
}

DLOAD_I_UNUSED static void dload_i_stripe_once(void)
{
    dload_i_stripe_has_key = pthread_key_create(&dload_i_stripe_key, dload_i_stripe_end) == 0;
}

/* This thread's first count: finds a stripe without an owner, or the shared one. */
DLOAD_I_LOCAL uint32_t dload_i_stripe_claim(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, dload_i_stripe_once);
    uint32_t owned = DLOAD_I_LOAD_RELAXED(&dload_i_stripes_owned);
    uint32_t mine = 0;
    for (;;) {
        for (mine = 1; mine < DLOAD_I_STRIPES && (owned >> (mine - 1) & 1u) != 0; mine++) {
        }
        if (mine == DLOAD_I_STRIPES || !dload_i_stripe_has_key)
            return DLOAD_I_STRIPES;
        if (__atomic_compare_exchange_n(&dload_i_stripes_owned, &owned,
                                        owned | (UINT32_C(1) << (mine - 1)), false,
                                        __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
            break;
    }
    if (pthread_setspecific(dload_i_stripe_key, (void *)(uintptr_t)mine) == 0)
        return mine;
    (void)__atomic_and_fetch(&dload_i_stripes_owned, ~(UINT32_C(1) << (mine - 1)),
                             __ATOMIC_RELEASE);
    return DLOAD_I_STRIPES;
}

DLOAD_I_NOINLINE void dload_i_stripe_slow(dload_i_stripe *stripes)
{
    if (dload_i_stripe_mine == 0)
        dload_i_stripe_mine = dload_i_stripe_claim();
    (void)__atomic_add_fetch(&stripes[dload_i_stripe_mine - 1].n, 1u, __ATOMIC_RELAXED);
}

DLOAD_I_INLINE void dload_i_stripe_count(dload_i_stripe *stripes)
{
    uint32_t at = dload_i_stripe_mine - 1;
    if (DLOAD_I_UNLIKELY(at >= DLOAD_I_STRIPES - 1)) {
        dload_i_stripe_slow(stripes);
        return;
    }
    DLOAD_I_STORE_RELAXED(&stripes[at].n, DLOAD_I_LOAD_RELAXED(&stripes[at].n) + 1);
}

#endif
#endif /* DLOAD_I_LOCKLESS */

/* ==== runtime/snapshot.h ==== */

/* >>snapshot -- the form in which entries leave the process: blocks that say what they are and can be checked.
 *
 * A snapshot is a row of blocks: one that opens it, any number with entries, one that ends it. A block is a
 * frame of 48 bytes and a body. The frame has a mark, which reads differently on a machine of another byte
 * order, a version, the layout of what is inside, the length, and two checksums: of the body, and of the
 * frame itself, begun with the checksum of the block before. So a flipped bit, a missing, doubled or moved
 * block and the blocks of another snapshot are all found, and a length is known to be right before it is
 * used. A single value with a frame of its own (the chain begins at 0) is the same thing with one block.
 *
 * Nothing here knows a key or a value, or where the bytes go. Included by the first loader that has
 * DLOAD_SNAPSHOT, so that nobody else compiles it.
 */

#if DLOAD_SNAPSHOT && !defined(DLOAD_I_SNAPSHOT_H)
#define DLOAD_I_SNAPSHOT_H

#define DLOAD_I_FRAME_MARK    UINT32_C(0x31534c44) /* "DLS1" where the lowest byte comes first */
#define DLOAD_I_FRAME_SWAPPED UINT32_C(0x444c5331)
#define DLOAD_I_FRAME_VERSION 1u
#define DLOAD_I_FRAME_OPENS   1u
#define DLOAD_I_FRAME_ENTRIES 2u
#define DLOAD_I_FRAME_ENDS    3u
#define DLOAD_I_FRAME_MAX     (UINT32_C(1) << 30) /* bytes of a body at most */
#define DLOAD_I_SNAP_BYTES    32768u /* of a block, as long as one entry is no longer */

typedef struct dload_i_frame {
    uint32_t mark;
    uint16_t version;
    uint16_t kind;
    uint64_t layout;
    uint64_t n_bytes;   /* of the body */
    uint32_t n_entries; /* in it */
    uint32_t index;     /* of the block, from 0 */
    uint64_t body_sum;
    uint64_t frame_sum; /* of all above, begun with the frame_sum of the block before */
} dload_i_frame;

DLOAD_I_STATIC_ASSERT(sizeof(dload_i_frame) == 48, "dataloader.h: a frame has no padding");

/* ---- the frame ---- */

DLOAD_I_LOCAL void dload_i_frame_seal(dload_i_frame *f, const void *body, uint64_t chain)
{
    f->mark = DLOAD_I_FRAME_MARK;
    f->version = DLOAD_I_FRAME_VERSION;
    f->body_sum = dload_i_sum(0, body, (size_t)f->n_bytes);
    f->frame_sum = dload_i_sum(chain, f, offsetof(dload_i_frame, frame_sum));
}

/* Is this frame one that we can read, and whole? Its body is not looked at. DLOAD_OK; DLOAD_ELAYOUT of
 * another version, byte order or layout; DLOAD_ECORRUPT. */
DLOAD_I_LOCAL dload_status dload_i_frame_check(const dload_i_frame *f, uint64_t layout,
                                               uint64_t chain)
{
    if (f->mark == DLOAD_I_FRAME_SWAPPED)
        return DLOAD_ELAYOUT;
    if (f->mark != DLOAD_I_FRAME_MARK)
        return DLOAD_ECORRUPT;
    if (f->version != DLOAD_I_FRAME_VERSION)
        return DLOAD_ELAYOUT; /* what its other fields mean is not ours to say */
    if (f->frame_sum != dload_i_sum(chain, f, offsetof(dload_i_frame, frame_sum)) ||
        f->n_bytes > DLOAD_I_FRAME_MAX)
        return DLOAD_ECORRUPT;
    return f->layout == layout ? DLOAD_OK : DLOAD_ELAYOUT;
}

/* ---- a row of blocks, written or read ---- */

typedef struct dload_i_snap {
    const dload_env *env;
    dload_status (*write)(void *ctx, const void *bytes, size_t n_bytes);
    dload_status (*read)(void *ctx, void *bytes, size_t n_bytes, size_t *n_read);
    void *ctx;
    char *buf; /* a block: its frame, its body */
    size_t cap_bytes;
    size_t n_bytes; /* of the body: written so far, or there to be read */
    size_t at;      /* reading: how much of it was taken */
    uint64_t layout;
    uint64_t chain;   /* frame_sum of the block before */
    uint64_t n_total; /* entries in all blocks before */
    uint32_t n_entries;
    uint32_t index;
    uint16_t kind; /* reading: of the block in buf */
} dload_i_snap;

/* What the first block says. */
typedef struct dload_i_snap_info {
    uint64_t wall_ns; /* when the save began, by a clock that goes on; DLOAD_NEVER = not known */
    uint64_t spare;
} dload_i_snap_info;

/* Everything but write, read and ctx. */
DLOAD_I_LOCAL dload_status dload_i_snap_begin(dload_i_snap *s, const dload_env *env,
                                              uint64_t layout)
{
    memset(s, 0, sizeof *s);
    s->env = env;
    s->layout = layout;
    s->buf = (char *)dload_i_alloc(env, DLOAD_I_SNAP_BYTES);
    if (s->buf == NULL)
        return DLOAD_ENOMEM;
    s->cap_bytes = DLOAD_I_SNAP_BYTES;
    return DLOAD_OK;
}

DLOAD_I_LOCAL void dload_i_snap_end(dload_i_snap *s)
{
    dload_i_free(s->env, s->buf, s->cap_bytes);
    s->buf = NULL;
}

/* Makes the buffer larger; the first n_keep bytes stay. */
DLOAD_I_LOCAL dload_status dload_i_snap_grow(dload_i_snap *s, size_t cap_bytes, size_t n_keep)
{
    char *buf = (char *)dload_i_alloc(s->env, cap_bytes);
    if (buf == NULL)
        return DLOAD_ENOMEM;
    memcpy(buf, s->buf, n_keep);
    dload_i_free(s->env, s->buf, s->cap_bytes);
    s->buf = buf;
    s->cap_bytes = cap_bytes;
    return DLOAD_OK;
}

/* What a callback returns when it does not work is what the call returns; none of them may say PENDING. */
DLOAD_I_LOCAL dload_status dload_i_snap_said(dload_status st)
{
    if (st >= 0)
        return DLOAD_OK;
    return st == DLOAD_PENDING ? DLOAD_EINVAL : st;
}

/* Sends the block off, even an empty one, and begins the next. */
DLOAD_I_LOCAL dload_status dload_i_snap_flush(dload_i_snap *s, uint16_t kind)
{
    dload_i_frame f;
    memset(&f, 0, sizeof f);
    f.kind = kind;
    f.layout = s->layout;
    f.n_bytes = s->n_bytes;
    f.n_entries = s->n_entries;
    f.index = s->index++;
    dload_i_frame_seal(&f, s->buf + sizeof f, s->chain);
    memcpy(s->buf, &f, sizeof f);
    dload_status st = s->write(s->ctx, s->buf, sizeof f + s->n_bytes);
    s->chain = f.frame_sum;
    s->n_total += s->n_entries;
    s->n_entries = 0;
    s->n_bytes = 0;
    return dload_i_snap_said(st);
}

/* Room for one more entry of n bytes, in this block or in the next. DLOAD_ETOOBIG when no block is so
 * large. */
DLOAD_I_LOCAL dload_status dload_i_snap_room(dload_i_snap *s, size_t n)
{
    dload_status st = DLOAD_OK;
    if (n > DLOAD_I_FRAME_MAX)
        return DLOAD_ETOOBIG;
    if (s->n_bytes != 0 && n > s->cap_bytes - sizeof(dload_i_frame) - s->n_bytes)
        st = dload_i_snap_flush(s, DLOAD_I_FRAME_ENTRIES);
    if (st >= 0 && n > s->cap_bytes - sizeof(dload_i_frame))
        st = dload_i_snap_grow(s, n + sizeof(dload_i_frame), sizeof(dload_i_frame));
    return st;
}

/* Where the next byte of the body goes. */
DLOAD_I_LOCAL char *dload_i_snap_tail(const dload_i_snap *s)
{
    return s->buf + sizeof(dload_i_frame) + s->n_bytes;
}

/* There is room. */
DLOAD_I_LOCAL void dload_i_snap_put(dload_i_snap *s, const void *bytes, size_t n)
{
    if (n != 0)
        memcpy(dload_i_snap_tail(s), bytes, n);
    s->n_bytes += n;
}

/* ---- reading ---- */

DLOAD_I_LOCAL dload_status dload_i_snap_read(dload_i_snap *s, size_t at, size_t n)
{
    while (n != 0) {
        size_t n_read = 0;
        dload_status st = dload_i_snap_said(s->read(s->ctx, s->buf + at, n, &n_read));
        if (st < 0)
            return st;
        if (n_read == 0 || n_read > n)
            return n_read == 0 ? DLOAD_ECORRUPT : DLOAD_EINVAL;
        at += n_read;
        n -= n_read;
    }
    return DLOAD_OK;
}

/* Reads a body of n bytes. The buffer never grows beyond twice of what really came: a length is not
 * believed before. */
DLOAD_I_LOCAL dload_status dload_i_snap_body(dload_i_snap *s, size_t n)
{
    size_t at = sizeof(dload_i_frame);
    size_t end = at + n;
    for (;;) {
        size_t step = end - at < s->cap_bytes - at ? end - at : s->cap_bytes - at;
        dload_status st = dload_i_snap_read(s, at, step);
        at += step;
        if (st < 0 || at == end)
            return st;
        st = dload_i_snap_grow(s, end - at < at ? end : at * 2, at);
        if (st < 0)
            return st;
    }
}

/* Reads the next block and checks all of it. DLOAD_OK, and kind, n_entries and the body are there. */
DLOAD_I_LOCAL dload_status dload_i_snap_next(dload_i_snap *s)
{
    dload_i_frame f;
    s->n_total += s->n_entries;
    s->n_entries = 0;
    s->at = s->n_bytes = 0;
    dload_status st = dload_i_snap_read(s, 0, sizeof f);
    if (st < 0)
        return st;
    memcpy(&f, s->buf, sizeof f);
    st = dload_i_frame_check(&f, s->layout, s->chain);
    if (st < 0)
        return st;
    bool first = s->index == 0;
    if (f.index != s->index || first != (f.kind == DLOAD_I_FRAME_OPENS) ||
        f.kind > DLOAD_I_FRAME_ENDS)
        return DLOAD_ECORRUPT;
    st = dload_i_snap_body(s, (size_t)f.n_bytes);
    if (st < 0)
        return st;
    if (f.body_sum != dload_i_sum(0, s->buf + sizeof f, (size_t)f.n_bytes))
        return DLOAD_ECORRUPT;
    s->kind = f.kind;
    s->chain = f.frame_sum;
    s->n_entries = f.n_entries;
    s->n_bytes = (size_t)f.n_bytes;
    s->index++;
    return DLOAD_OK;
}

/* The next n bytes of the body, or NULL when there are fewer. */
DLOAD_I_LOCAL const char *dload_i_snap_take(dload_i_snap *s, uint64_t n)
{
    if (n > s->n_bytes - s->at)
        return NULL;
    const char *p = s->buf + sizeof(dload_i_frame) + s->at;
    s->at += (size_t)n;
    return p;
}

/* The same, copied to where it can be used. */
DLOAD_I_LOCAL bool dload_i_snap_get(dload_i_snap *s, void *to, size_t n)
{
    const char *p = dload_i_snap_take(s, n);
    if (p != NULL)
        memcpy(to, p, n);
    return p != NULL;
}

/* The first block and the last one. */
DLOAD_I_LOCAL dload_status dload_i_snap_put_info(dload_i_snap *s, uint64_t wall_ns)
{
    dload_i_snap_info info;
    info.wall_ns = wall_ns;
    info.spare = 0;
    dload_i_snap_put(s, &info, sizeof info);
    return dload_i_snap_flush(s, DLOAD_I_FRAME_OPENS);
}

DLOAD_I_LOCAL dload_status dload_i_snap_get_info(dload_i_snap *s, uint64_t *wall_ns)
{
    dload_i_snap_info info;
    dload_status st = dload_i_snap_next(s);
    if (st < 0)
        return st;
    if (!dload_i_snap_get(s, &info, sizeof info))
        return DLOAD_ECORRUPT;
    *wall_ns = info.wall_ns;
    return DLOAD_OK;
}

DLOAD_I_LOCAL dload_status dload_i_snap_put_total(dload_i_snap *s)
{
    dload_status st = s->n_bytes != 0 ? dload_i_snap_flush(s, DLOAD_I_FRAME_ENTRIES) : DLOAD_OK;
    if (st < 0)
        return st;
    dload_i_snap_put(s, &s->n_total, sizeof s->n_total);
    return dload_i_snap_flush(s, DLOAD_I_FRAME_ENDS);
}

/* The last block was just read. */
DLOAD_I_LOCAL dload_status dload_i_snap_get_total(dload_i_snap *s)
{
    uint64_t n_total = 0;
    return dload_i_snap_get(s, &n_total, sizeof n_total) && n_total == s->n_total ? DLOAD_OK
                                                                                  : DLOAD_ECORRUPT;
}

/* Reads everything from the first block to the last one, and keeps nothing. */
DLOAD_I_LOCAL dload_status dload_i_snap_verify(dload_i_snap *s)
{
    uint64_t wall_ns = 0;
    dload_status st = dload_i_snap_get_info(s, &wall_ns);
    while (st >= 0) {
        st = dload_i_snap_next(s);
        if (st >= 0 && s->kind == DLOAD_I_FRAME_ENDS)
            return dload_i_snap_get_total(s);
    }
    return st;
}

/* How much of a TTL has passed since the save: nothing when one of the clocks is not known, or the
 * second is behind the first. */
DLOAD_I_LOCAL uint64_t dload_i_snap_age(uint64_t saved_ns, uint64_t wall_ns)
{
    return saved_ns == DLOAD_NEVER || wall_ns == DLOAD_NEVER || wall_ns < saved_ns
               ? 0
               : wall_ns - saved_ns;
}

#endif /* DLOAD_I_SNAPSHOT_H */

/* ==== runtime/snapshot_file.h ==== */

/* >>snapshot_file -- a snapshot in a file: written beside it, synced, and put in its place in one step.
 *
 * Whoever crashes, at whatever point, leaves the file as it was or the new one. What was written beside it
 * has the file's name and ".tmp", and a lock: two savers exclude each other, and what a crash has left
 * there is used again by the next save. Hosted programs only.
 */

#if DLOAD_SNAPSHOT && !DLOAD_FREESTANDING && !defined(DLOAD_I_SNAPSHOT_FILE_H)
#define DLOAD_I_SNAPSHOT_FILE_H

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* A strict -std=c11 with a header of the C library included before us hides some of these. */
#ifdef O_CLOEXEC
#define DLOAD_I_O_CLOEXEC O_CLOEXEC
#else
#define DLOAD_I_O_CLOEXEC 0
#endif
#ifdef O_NOFOLLOW
#define DLOAD_I_O_NOFOLLOW O_NOFOLLOW
#else
#define DLOAD_I_O_NOFOLLOW 0
#endif
#ifndef _POSIX_C_SOURCE
#ifdef __cplusplus
extern "C" {
#endif
int fsync(int fd);
#ifdef __cplusplus
}
#endif
#endif

typedef struct dload_i_file {
    const dload_env *env;
    char *names; /* the file's, what is written beside it, and their folder's, each with its NUL */
    size_t n_names;
    const char *path, *beside, *folder;
    int fd;
} dload_i_file;

DLOAD_I_LOCAL int dload_i_file_open(const char *path, int flags)
{
    int fd = -1;
    do
        fd = open(path, flags | DLOAD_I_O_CLOEXEC, 0600);
    while (fd < 0 && errno == EINTR);
    return fd;
}

DLOAD_I_LOCAL void dload_i_file_close(dload_i_file *f)
{
    int kept = errno; /* what is said of the failure, not of the cleaning up */
    if (f->fd >= 0)
        (void)close(f->fd);
    f->fd = -1;
    dload_i_free(f->env, f->names, f->n_names);
    f->names = NULL;
    errno = kept;
}

/* ---- writing ---- */

DLOAD_I_LOCAL dload_status dload_i_file_write(void *ctx, const void *bytes, size_t n_bytes)
{
    const dload_i_file *f = (const dload_i_file *)ctx;
    const char *p = (const char *)bytes;
    while (n_bytes != 0) {
        ssize_t n = write(f->fd, p, n_bytes);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return DLOAD_EIO;
        p += n;
        n_bytes -= (size_t)n;
    }
    return DLOAD_OK;
}

/* Is what we have open still what has the name beside? Another saver may have put it in the file's place
 * after we opened it and before we had the lock. */
DLOAD_I_LOCAL bool dload_i_file_is_beside(const dload_i_file *f)
{
    struct stat ours, there;
    return fstat(f->fd, &ours) == 0 && stat(f->beside, &there) == 0 &&
           ours.st_dev == there.st_dev && ours.st_ino == there.st_ino;
}

/* What a crash has left there goes. (ftruncate() is one of the hidden ones, with a type that is hidden, too.) */
DLOAD_I_LOCAL dload_status dload_i_file_empty(const dload_i_file *f)
{
    int fd = dload_i_file_open(f->beside, O_WRONLY | O_TRUNC | DLOAD_I_O_NOFOLLOW);
    if (fd < 0)
        return DLOAD_EIO;
    (void)close(fd);
    return DLOAD_OK;
}

/* Opens what will be the file. DLOAD_EBUSY while another save to it goes on. */
DLOAD_I_LOCAL dload_status dload_i_file_create(dload_i_file *f, const dload_env *env,
                                               const char *path)
{
    size_t len = strlen(path);
    size_t folder = len;
    while (folder > 0 && path[folder - 1] != '/')
        folder--;
    memset(f, 0, sizeof *f);
    f->env = env;
    f->fd = -1;
    f->n_names = 3 * len + 16;
    f->names = (char *)dload_i_alloc(env, f->n_names);
    if (f->names == NULL)
        return DLOAD_ENOMEM;
    char *beside = f->names + len + 1, *in = beside + len + 5;
    memcpy(f->names, path, len + 1);
    memcpy(beside, path, len);
    memcpy(beside + len, ".tmp", 5);
    memcpy(in, folder != 0 ? path : ".", folder != 0 ? folder : 1);
    in[folder != 0 ? folder : 1] = '\0';
    f->path = f->names;
    f->beside = beside;
    f->folder = in;
    for (int i = 0; i < 100; i++) {
        f->fd = dload_i_file_open(f->beside, O_WRONLY | O_CREAT | DLOAD_I_O_NOFOLLOW);
        if (f->fd < 0)
            return DLOAD_EIO;
        if (flock(f->fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK)
            return DLOAD_EBUSY; /* where there are no locks, there is nothing to wait for */
        if (dload_i_file_is_beside(f))
            return dload_i_file_empty(f);
        (void)close(f->fd);
        f->fd = -1;
    }
    return DLOAD_EBUSY;
}

/* Makes the folder remember its new entry. */
DLOAD_I_LOCAL dload_status dload_i_file_sync_folder(const dload_i_file *f)
{
    int fd = dload_i_file_open(f->folder, O_RDONLY);
    if (fd < 0)
        return DLOAD_EIO;
    bool done =
        fsync(fd) == 0 || errno == EINVAL; /* some file systems have nothing to sync there */
    int kept = errno;
    (void)close(fd);
    errno = kept;
    return done ? DLOAD_OK : DLOAD_EIO;
}

/* The end of a save that went as st says: the file is replaced, or what was written is removed. */
DLOAD_I_LOCAL dload_status dload_i_file_commit(dload_i_file *f, dload_status st)
{
    if (st >= 0 && fsync(f->fd) != 0)
        st = DLOAD_EIO;
    if (st >= 0 && rename(f->beside, f->path) != 0)
        st = DLOAD_EIO;
    if (st >= 0) {
        st = dload_i_file_sync_folder(f);
    } else {
        int kept = errno;
        (void)unlink(f->beside); /* before the lock goes: nobody else's */
        errno = kept;
    }
    dload_i_file_close(f);
    return st;
}

/* ---- reading ---- */

DLOAD_I_LOCAL dload_status dload_i_file_read(void *ctx, void *bytes, size_t n_bytes, size_t *n_read)
{
    const dload_i_file *f = (const dload_i_file *)ctx;
    ssize_t n = -1;
    do
        n = read(f->fd, bytes, n_bytes);
    while (n < 0 && errno == EINTR);
    *n_read = n > 0 ? (size_t)n : 0;
    return n < 0 ? DLOAD_EIO : DLOAD_OK;
}

/* DLOAD_MISSING when there is no such file. */
DLOAD_I_LOCAL dload_status dload_i_file_find(dload_i_file *f, const dload_env *env,
                                             const char *path)
{
    memset(f, 0, sizeof *f);
    f->env = env;
    f->fd = dload_i_file_open(path, O_RDONLY);
    if (f->fd >= 0)
        return DLOAD_OK;
    return errno == ENOENT ? DLOAD_MISSING : DLOAD_EIO;
}

/* Back to the first byte. */
DLOAD_I_LOCAL dload_status dload_i_file_rewind(const dload_i_file *f)
{
    return lseek(f->fd, 0, SEEK_SET) == 0 ? DLOAD_OK : DLOAD_EIO;
}

#endif /* DLOAD_I_SNAPSHOT_FILE_H */

/* ==== runtime/worth.h ==== */

/* >>worth -- for snapshots: what an entry is worth to its policy, and an entry that comes back.
 *
 * Included by the first loader that has DLOAD_SNAPSHOT.
 */

#if DLOAD_SNAPSHOT && !defined(DLOAD_I_WORTH_H)
#define DLOAD_I_WORTH_H

#define DLOAD_I_WORTH_MAX 32u

/* Is the worth of an entry in its meta word? FIFO and LRU have it in the order of their queue alone. */
DLOAD_I_INLINE bool dload_i_worth_in_meta(const dload_i_evict *e)
{
    return e->kind != DLOAD_EVICT_FIFO && e->kind != DLOAD_EVICT_LRU;
}

/* 1 .. DLOAD_I_WORTH_MAX, more is better: the main queue before the small one, then uses. */
DLOAD_I_LOCAL uint8_t dload_i_worth(const dload_i_evict *e, uint32_t slot)
{
    uint32_t meta = dload_i_meta_of(e, slot);
    uint32_t uses = (meta & DLOAD_I_META_USES) < 3 ? meta & DLOAD_I_META_USES : 3;
    return (uint8_t)(1 + uses + ((meta & DLOAD_I_META_MAIN) != 0 ? 4 : 0));
}

/* The worth of the entry that i of n are older than. */
DLOAD_I_LOCAL uint8_t dload_i_worth_at(uint32_t i, uint32_t n)
{
    uint32_t band = i < n ? (uint32_t)((uint64_t)i * DLOAD_I_WORTH_MAX / n) : DLOAD_I_WORTH_MAX - 1;
    return (uint8_t)(band + 1);
}

/* FIFO: the queue from the oldest side on. The last reference to a slot is the one that counts. */
DLOAD_I_LOCAL void dload_i_worth_by_queue(const dload_i_evict *e, uint8_t *worth)
{
    const dload_i_fifos *qs = &e->queues;
    const dload_i_fifo *q = &qs->q[DLOAD_I_SMALL];
    uint32_t n = 0;
    for (uint32_t at = q->tail; at != q->head; n++) {
        if (dload_i_fifo_at_link(at))
            at = qs->refs[at];
        worth[qs->refs[at++]] = dload_i_worth_at(n, q->n + qs->n_stale);
    }
}

/* Where a look through a list has come to, from the newest side on. */
typedef struct dload_i_walk {
    uint32_t next, last; /* slots */
    uint32_t n_seen;
} dload_i_walk;

DLOAD_I_LOCAL void dload_i_walk_begin(dload_i_walk *w)
{
    w->next = w->last = DLOAD_I_NO_SLOT;
    w->n_seen = 0;
}

/* LRU: gives the next n entries of the list, which has n_all, their worth by their place in it. The list may
 * have changed since the last call: when the place is lost, the entries that are left (older than all that
 * were seen) keep none. False at the end. */
DLOAD_I_LOCAL bool dload_i_walk_on(const dload_i_evict *e, dload_i_walk *w, uint8_t *worth,
                                   uint32_t n_all, uint32_t n)
{
    uint32_t slot = w->n_seen == 0 ? e->list.head : w->next;
    if (slot == DLOAD_I_NO_SLOT || (w->n_seen != 0 && e->links[slot].newer != w->last))
        return false;
    for (; n > 0 && slot != DLOAD_I_NO_SLOT; n--) {
        w->n_seen++;
        worth[slot] = dload_i_worth_at(w->n_seen < n_all ? n_all - w->n_seen : 0, n_all);
        w->last = slot;
        slot = e->links[slot].older;
    }
    w->next = slot;
    return slot != DLOAD_I_NO_SLOT;
}

/* ---- coming back ---- */

/* Links the entry at the oldest side. */
DLOAD_I_LOCAL void dload_i_list_put_back(dload_i_evict *e, uint32_t slot)
{
    e->links[slot].older = DLOAD_I_NO_SLOT;
    e->links[slot].newer = e->list.tail;
    if (e->list.tail != DLOAD_I_NO_SLOT)
        e->links[e->list.tail].older = slot;
    else
        e->list.head = slot;
    e->list.tail = slot;
}

/* The same for a queue that has references. */
DLOAD_I_LOCAL void dload_i_fifo_put_back(dload_i_fifos *qs, uint32_t which, uint32_t slot)
{
    dload_i_fifo *q = &qs->q[which];
    if ((q->tail & DLOAD_I_CHAIN) == 0) {
        if (qs->free_chunk == DLOAD_I_NO_REF)
            dload_i_fifos_pack(qs);
        uint32_t chunk = dload_i_fifo_chunk_take(qs);
        qs->refs[chunk | DLOAD_I_CHAIN] = q->tail;
        q->tail = chunk | DLOAD_I_CHAIN;
    }
    qs->refs[--q->tail] = slot;
    q->n++;
}

/* Takes the newest reference of a queue back, if it is slot's and does not begin a chunk: a head never stands
 * there (but in a queue that nobody has been in). */
DLOAD_I_LOCAL bool dload_i_fifo_take_back(dload_i_fifos *qs, uint32_t which, uint32_t slot)
{
    dload_i_fifo *q = &qs->q[which];
    if (q->head == q->tail || (q->head & DLOAD_I_CHAIN) < 2 || qs->refs[q->head - 1] != slot)
        return false;
    q->head--;
    q->n--;
    return true;
}

/* An entry that was just inserted is one that was here before: it has its uses and its queue again, and is
 * older than all others. (The first one of a queue stays where it is.) */
DLOAD_I_LOCAL void dload_i_evict_revive(dload_i_evict *e, uint32_t slot, uint32_t uses,
                                        bool in_main)
{
    if (e->kind == DLOAD_EVICT_NONE)
        return;
    uint32_t meta = dload_i_meta_of(e, slot);
    uint32_t which = (meta & DLOAD_I_META_MAIN) != 0 ? DLOAD_I_MAIN : DLOAD_I_SMALL;
    if (e->links != NULL) {
        dload_i_evict_remove(e, e->kind, slot);
        dload_i_list_put_back(e, slot);
    } else if (dload_i_fifo_take_back(&e->queues, which, slot)) {
        bool two = e->kind == DLOAD_EVICT_S3FIFO || e->kind == DLOAD_EVICT_ADAPTIVE;
        which = in_main && two ? DLOAD_I_MAIN : DLOAD_I_SMALL;
        if (e->queues.q[which].head == e->queues.q[which].tail)
            dload_i_fifo_push(&e->queues, which, slot);
        else
            dload_i_fifo_put_back(&e->queues, which, slot);
    }
    meta &= ~(DLOAD_I_META_USES | DLOAD_I_META_MAIN);
    meta |= which == DLOAD_I_MAIN ? DLOAD_I_META_MAIN : 0;
    dload_i_meta_set(e, slot, meta | (uses < e->max_uses ? uses : e->max_uses));
}

#endif /* DLOAD_I_WORTH_H */

/* ==== runtime/draw.h ==== */

/* >>draw -- 128 bits that nobody can guess, and nobody else has. Included by who needs such. */

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

/* ==== runtime/siphash.h ==== */

/* >>siphash -- a hash with a secret, for keys that somebody else chooses.
 *
 * SipHash (Aumasson and Bernstein, "SipHash: a fast short-input PRF", INDOCRYPT 2012), written from the
 * paper: four words of state, a compression of c rounds for each eight bytes of the message and a
 * finalisation of d. The paper's choice is 2-4, for a code that anybody may see. Tables use 1-3: who chooses
 * keys sees no hash, only how long calls take. Aumasson: "I would be very surprised if SipHash-1-3
 * introduced weaknesses for hash tables" (quoted in rust-lang/rust, issue 29754); Rust's and CPython's
 * tables use it. 2-4 is here for the paper's vectors. Included once, by the first loader with
 * DLOAD_HASH_SIP, so that nobody else carries it.
 */

#if DLOAD_HASH == DLOAD_HASH_SIP && !defined(DLOAD_I_SIPHASH_H)
#define DLOAD_I_SIPHASH_H

typedef struct dload_i_sip {
    uint64_t v0, v1, v2, v3;
} dload_i_sip;

DLOAD_I_INLINE void dload_i_sip_rounds(dload_i_sip *s, int n)
{
    for (; n > 0; n--) {
        s->v0 += s->v1;
        s->v2 += s->v3;
        s->v1 = dload_i_turn(s->v1, 13) ^ s->v0;
        s->v3 = dload_i_turn(s->v3, 16) ^ s->v2;
        s->v0 = dload_i_turn(s->v0, 32);
        s->v2 += s->v1;
        s->v0 += s->v3;
        s->v1 = dload_i_turn(s->v1, 17) ^ s->v2;
        s->v3 = dload_i_turn(s->v3, 21) ^ s->v0;
        s->v2 = dload_i_turn(s->v2, 32);
    }
}

DLOAD_I_INLINE void dload_i_sip_begin(dload_i_sip *s, const uint64_t hash_key[2])
{
    /* the paper's constants: "somepseudorandomlygeneratedbytes" */
    s->v0 = hash_key[0] ^ UINT64_C(0x736f6d6570736575);
    s->v1 = hash_key[1] ^ UINT64_C(0x646f72616e646f6d);
    s->v2 = hash_key[0] ^ UINT64_C(0x6c7967656e657261);
    s->v3 = hash_key[1] ^ UINT64_C(0x7465646279746573);
}

/* Eight bytes of the message, as a little-endian number; c rounds. */
DLOAD_I_INLINE void dload_i_sip_word(dload_i_sip *s, uint64_t word, int c)
{
    s->v3 ^= word;
    dload_i_sip_rounds(s, c);
    s->v0 ^= word;
}

/* The end of a message of n_bytes: its last n_bytes % 8 bytes are in tail, the rest of tail is 0. */
DLOAD_I_INLINE uint64_t dload_i_sip_end(dload_i_sip *s, uint64_t tail, size_t n_bytes, int c, int d)
{
    dload_i_sip_word(s, tail | (uint64_t)(n_bytes & 0xff) << 56, c);
    s->v2 ^= 0xff;
    dload_i_sip_rounds(s, d);
    return s->v0 ^ s->v1 ^ s->v2 ^ s->v3;
}

/* The rest of a message, n_bytes at p, after n_before bytes in whole words, and its end. */
DLOAD_I_INLINE uint64_t dload_i_sip_rest(dload_i_sip *s, const void *bytes, size_t n_bytes,
                                         size_t n_before, int c, int d)
{
    const unsigned char *p = (const unsigned char *)bytes;
    size_t left = n_bytes;
    for (; left >= 8; left -= 8, p += 8)
        dload_i_sip_word(s, dload_i_read64_le(p), c);
    uint64_t tail = 0;
    while (left-- > 0)
        tail = tail << 8 | p[left];
    return dload_i_sip_end(s, tail, n_before + n_bytes, c, d);
}

/* What tables use: 1-3, of one or two words and of bytes. Not inlined: a hit that wants this pays for it
 * elsewhere than in the code of every caller. */
DLOAD_I_NOINLINE uint64_t dload_i_sip_words(const uint64_t hash_key[2], const uint64_t *words,
                                            size_t n)
{
    dload_i_sip s;
    dload_i_sip_begin(&s, hash_key);
    for (size_t i = 0; i < n; i++)
        dload_i_sip_word(&s, words[i], 1);
    return dload_i_sip_end(&s, 0, n * 8, 1, 3);
}

/* ... with a group before the bytes, or without. */
DLOAD_I_NOINLINE uint64_t dload_i_sip_bytes(const uint64_t hash_key[2], const uint64_t *group,
                                            const void *bytes, size_t n_bytes)
{
    dload_i_sip s;
    dload_i_sip_begin(&s, hash_key);
    if (group != NULL)
        dload_i_sip_word(&s, *group, 1);
    return dload_i_sip_rest(&s, bytes, n_bytes, group != NULL ? 8 : 0, 1, 3);
}

/* By what a group itself is known; see dload_i_group_mark. No key's message ends like this one: a length
 * of 255 modulo 256 has seven bytes of tail behind at least 31 words. */
DLOAD_I_UNUSED static uint64_t dload_i_sip_mark(const uint64_t hash_key[2], uint64_t group)
{
    dload_i_sip s;
    dload_i_sip_begin(&s, hash_key);
    dload_i_sip_word(&s, group, 1);
    return dload_i_sip_end(&s, 0, 0xff, 1, 3);
}

#endif /* DLOAD_I_SIPHASH_H */

/* ==== typed/types.h ==== */

/* >>types -- the structs of one loader. Fields marked "private" may change in any release. */
#ifndef DLOAD_I_HAVE_TYPES
#define DLOAD_I_HAVE_TYPES

/* The key and the value as this loader sees them; a DLOAD_STRING key is a dload_str. */
#if DLOAD_I_IS_STRING
typedef dload_str DLOAD_I_FN(key);
#elif DLOAD_I_KEY_KIND == DLOAD_I_KIND_ID128
typedef dload_id128 DLOAD_I_FN(key);
#else
typedef DLOAD_KEY DLOAD_I_FN(key);
#endif
#if DLOAD_I_VALUE_IS_BLOB
typedef dload_blob DLOAD_I_FN(value);
#else
typedef DLOAD_VALUE DLOAD_I_FN(value);
#endif
#define DLOAD_I_K  DLOAD_I_FN(key)
#define DLOAD_I_ID DLOAD_I_FN(i_ident)
#define DLOAD_I_V  DLOAD_I_FN(value)

#ifdef DLOAD_KEY_AS
/* 0 unsigned, 1 signed, 2 float, 3 double. Where C++ cannot compute with an enum's values, its sign is
 * taken as given. */
#ifdef __cplusplus
#define DLOAD_I_SIGN(type)                         \
    ((type)(__is_enum(type) ? 0 : 0.5) != (type)0  \
         ? (sizeof(type) == sizeof(float) ? 2 : 3) \
         : (int)((type)(__is_enum(type) ? 0 : -1) < (type)(__is_enum(type) ? 0 : 1)))
#define DLOAD_I_SAME_SIGN(type, as) (__is_enum(type) || DLOAD_I_SIGN(type) == DLOAD_I_SIGN(as))
#else
#define DLOAD_I_SIGN(type) \
    _Generic((type)0, float : 2, double : 3, default : (int)((type)-1 < (type)1))
#define DLOAD_I_SAME_SIGN(type, as) (DLOAD_I_SIGN(type) == DLOAD_I_SIGN(as))
#endif
DLOAD_I_STATIC_ASSERT(sizeof(DLOAD_KEY) == sizeof(DLOAD_KEY_AS) &&
                          DLOAD_I_SAME_SIGN(DLOAD_KEY, DLOAD_KEY_AS),
                      "dataloader.h: DLOAD_KEY_AS must have DLOAD_KEY's size, sign and kind");
#endif

/* A value that leaves the cache. */
typedef struct DLOAD_I_FN(removed) {
#if DLOAD_ON_REMOVE
    DLOAD_I_K key; /* a string's bytes may be read until the hook returns */
#if DLOAD_GROUP
    uint64_t group;
#endif
    dload_removal reason;
    bool stored; /* private: the key's bytes are to be given back */
#endif
    DLOAD_I_V value; /* released afterwards, when it is owned: keep one more reference, or a copy */
} DLOAD_I_FN(removed);

#if DLOAD_ASYNC

/* What storing the answer at one place of a batch left to do once the mutex is free. Private. */
typedef struct DLOAD_I_FN(i_owed) {
    DLOAD_I_FN(removed) old;
    uint32_t todo; /* DLOAD_I_OWED_ bits */
} DLOAD_I_FN(i_owed);

/* One batch, as the fetch function sees it. It lives until the function returned, or, after
 * DLOAD_PENDING, until _batch_done. */
typedef struct DLOAD_I_FN(batch) {
    dload_i_batch base;    /* private */
    const DLOAD_I_K *keys; /* keys asked for, each once, in the order of first request */
    size_t n;              /* how many; 1 .. config.max_batch */
    void *ctx;             /* config.ctx */
#if DLOAD_GROUP
    uint64_t group; /* of all keys: dload_call.group */
#endif
    uint64_t deadline_ns; /* when run_limit_ns ends, in env->now time; DLOAD_NEVER = no limit */
    DLOAD_I_K *own_keys;  /* private: what keys points at */
    DLOAD_I_V *values;    /* private: answers, by the same index */
#if DLOAD_STORE
    dload_i_letter *got; /* private: what the store said, to go on with */
    void *second;        /* private: the block of the next three */
    DLOAD_I_K *asked;    /* private: what keys points at when the store answered some */
    DLOAD_I_V *kept;     /* private: answers to be stored, by place */
    uint32_t *places;    /* private: of asked */
    uint32_t second_cap; /* private: places there */
    dload_held *held;    /* private: named locks, a place a stripe */
    uint64_t locked;     /* private: stripes that are held, a bit each */
    uint64_t lease[2];   /* private: what its leases in the store are known by */
    uint64_t ask_in_ns;  /* private: when a lease of somebody else's may end */
    bool left;     /* private: the function returned DLOAD_PENDING, and nobody looks after it */
    bool resumes;  /* private: ended by _batch_done, with keys left that others had leases of */
    uint8_t stage; /* private: DLOAD_I_STAGE_ */
#endif
#if DLOAD_I_OWES
    DLOAD_I_FN(i_owed) * owed; /* private: by the same index */
#endif
    struct DLOAD_NAME *owner; /* private */
} DLOAD_I_FN(batch);

/* A request that does not block; owned by the caller until done() ran, _cancel returned DLOAD_OK,
 * or _start returned anything but DLOAD_PENDING. Zero it, set done and ctx, pass it to _start. */
typedef struct DLOAD_I_FN(waiter) {
    dload_i_waiter base;                         /* private */
    dload_status status;                         /* result, valid in done() and after a hit */
    void (*done)(struct DLOAD_I_FN(waiter) * w); /* runs once, with no lock held; NULL = none */
    void *ctx;                                   /* the caller's own */
    DLOAD_I_V value; /* valid while status >= 0; owned values are the caller's to release */
} DLOAD_I_FN(waiter);

#else

/* One batch, as the fetch function sees it. It lives until the function returned. */
typedef struct DLOAD_I_FN(batch) {
    const DLOAD_I_K *keys; /* keys asked for, each once, in the order of first request */
    size_t n;              /* how many; 1 .. config.max_batch */
    void *ctx;             /* config.ctx */
    DLOAD_I_K *own_keys;   /* private, as all that follows: what keys points at */
    DLOAD_I_V *values;     /* answers, by the same index */
    dload_i_seat *seats;
    struct DLOAD_I_FN(batch) * next; /* in the queue */
    struct DLOAD_NAME *owner;
    uint32_t n_seats; /* in use */
    uint32_t token;   /* clears so far when it was sent */
    uint8_t state;    /* 0 = free, or DLOAD_I_OPEN, _QUEUED, _RUNNING */
} DLOAD_I_FN(batch);

/* A request that does not block; owned by the caller until done() ran, _cancel returned DLOAD_OK,
 * or _start returned anything but DLOAD_PENDING. Set done and ctx, pass it to _start. */
typedef struct DLOAD_I_FN(waiter) {
    dload_i_ask base;                            /* private */
    dload_status status;                         /* result, valid in done() and after a hit */
    void (*done)(struct DLOAD_I_FN(waiter) * w); /* runs once; NULL = none */
    void *ctx;                                   /* the caller's own */
    DLOAD_I_V value;                             /* valid while status >= 0 */
} DLOAD_I_FN(waiter);

#endif /* DLOAD_ASYNC */

/* What a loader is made from. Start from _config_default() or zeros: 0 always means the default. */
typedef struct DLOAD_I_FN(config) {
    /* Answers a batch: DLOAD_OK, DLOAD_PENDING, or the error of every key not yet answered. Required. */
    dload_status (*fetch)(DLOAD_I_FN(batch) * b);
    void *ctx;            /* handed to fetch in b->ctx; may be NULL */
    const dload_env *env; /* clock, allocator ..., must outlive the loader; NULL = the host's */
#if DLOAD_ASYNC
    const dload_hooks *hooks; /* observers, must outlive the loader; NULL = none */
    /* Event loops: announces, from any thread and with no lock held, that _process has something to do.
     * done() then runs inside _process and _dispatch only. NULL = done() runs where the answer came. */
    void (*wake)(void *wake_ctx);
    void *wake_ctx;           /* handed to wake */
    dload_registry *registry; /* loaders to dispatch together, must outlive the loader; NULL = none.
                         Under a lock, for threads that joined it; see dload_registry_join */
#endif
    size_t capacity; /* entries cached; default 4096; DLOAD_NO_CACHE; DLOAD_UNBOUNDED grows */
#if DLOAD_I_WEIGHED
    uint64_t
        max_weight; /* of all values, in DLOAD_WEIGHT's unit, beside capacity, which then is a number.
                    Each shard has an equal share; what is heavier than that is delivered, and not
                    cached. default 0 = no limit */
#endif
#if DLOAD_ON_REMOVE
    /* Told of every value that leaves the cache, once, and of every one that does not get in, before it
     * is released; cached errors are no values. Gets config.ctx. With no lock held, from the thread whose
     * call removed it, and may call any function of any loader, but for this one's when the reason is
     * DESTROYED. What _clear_all removed comes as it is cleaned up: a few with each later store or
     * miss, all of it in _process, at the latest in _destroy. NULL = nobody is told. */
    void (*on_remove)(void *ctx, DLOAD_I_FN(removed) * removed);
#endif
    size_t
        shards; /* locks over the cache; default 16; always 1 under NONE and CUSTOM; rounded down to 2^n, <= 256 */
    uint64_t ttl_ns;         /* life of an entry; default DLOAD_NEVER */
    uint64_t missing_ttl_ns; /* life of a DLOAD_MISSING answer; default 0 = not cached */
    uint32_t ttl_jitter_pct; /* shortens each TTL by up to so many percent; default 0; 0 .. 90 */
#if DLOAD_ASYNC
    /* The next four need DLOAD_REFRESH 1: without it only 0 is allowed. */
    uint64_t
        stale_ns; /* after its TTL a value stays for so long: one load of the key fetches it anew,
                         the others have the old one at once, with DLOAD_STALE; default 0 = does not */
    uint64_t
        stale_error_ns; /* ... and when its fetch fails (an error other than MISSING), those who
                         wait for it have the old value, with DLOAD_STALE; default 0 = the error */
    uint32_t
        refresh_ahead_pct; /* before a TTL ends, one load in a while fetches anew: XFetch's beta in
                         percent; 100 suits most; default 0 = never; 0 .. 1000 */
    uint64_t idle_ttl_ns;  /* an entry that was not read for so long goes, within an eighth more;
                         default 0 = whenever its TTL ends */
#endif
    /* How long to keep an error other than MISSING: a TTL in ns, DLOAD_NEVER, 0 = drop; NULL = drop all.
     * Called with no lock held. */
    uint64_t (*error_ttl)(void *ctx, dload_status status);
    size_t max_batch; /* keys a call; default 100; 1 = no batching; <= 2^20 */
#if DLOAD_ASYNC
    uint64_t settle_ns;   /* a batch goes when no new key came for so long; default 0 = is found */
    uint64_t max_age_ns;  /* ... or when its oldest key is so old; default 10 * settle_ns */
    size_t max_in_flight; /* batches running side by side, but for _dispatch's; default 4 */
#endif
    size_t
        max_queue; /* keys waiting or running; default 65536. With DLOAD_ASYNC 0: keys waiting, rounded up
                         to whole batches; default max_batch; <= 254 batches */
#if DLOAD_ASYNC
    bool queue_wait; /* at max_queue: no = DLOAD_EAGAIN, yes = blocking calls wait; default no */
    uint64_t timeout_ns;   /* longest wait of a blocking call; default 30 s; DLOAD_NEVER */
    uint64_t run_limit_ns; /* longest run of a batch; default 60 s; DLOAD_NEVER; then abandoned */
#endif
    size_t max_key_bytes; /* DLOAD_STRING only; default 65536; beyond: DLOAD_ETOOBIG */
#if DLOAD_STORE
    /* The second level, asked for what the cache does not have, and given what the function answered; see SECOND
     * LEVEL. Must outlive the loader. NULL = none */
    dload_store *store;
    const char *
        store_name; /* keys in the store begin with it and a colon: 1 .. 64 of [A-Za-z0-9_.-], copied;
                         NULL = DLOAD_NAME */
    uint32_t
        store_version; /* of what a value means: a stored one of another is a miss; default 0 */
    uint64_t
        store_timeout_ns; /* longest request to the store, and no longer than run_limit_ns; default 1 s */
    uint64_t store_ttl_ns; /* life of a value in the store; default 0 = as in the cache */
    /* A store that knows leases promises a missing key to whoever asks first, for so long; others wait for what it
     * stores, and only who has the lease still can store. So a key is fetched once by all processes, and not
     * stored any more when it was cleared meanwhile. With leases DLOAD_FRESH removes the key from the store.
     * In loops nobody waits: keys that others have a lease of are fetched, and not stored. So it is where a
     * function returned DLOAD_PENDING: once _batch_done was called for the others it is called from there
     * with those that are left. default 10 s; DLOAD_NEVER = without leases */
    uint64_t store_lease_ns;
    /* For values that are more than their bytes; get ctx, run with no lock held, and may be called by several
     * threads. encode puts *value into bytes, *n_bytes of them; where cap_bytes are too few, says how many it
     * takes and is called again. decode makes a value, which is the loader's then. An error: not stored; a miss.
     * NULL = plain values are stored as they lie in memory, blobs as their bytes; others cannot be. */
    dload_status (*encode)(void *ctx, const DLOAD_I_V *value, void *bytes, size_t cap_bytes,
                           size_t *n_bytes);
    dload_status (*decode)(void *ctx, const void *bytes, size_t n_bytes, DLOAD_I_V *value);
    /* Named locks, held while the function fetches, so that one process at a time does; the store is asked again
     * when a lock is there. Blocks the caller, and so does not go with wake (DLOAD_EINVAL). Whoever answers after
     * DLOAD_PENDING gives the lock back in _batch_done, from whatever thread. A fetch from inside this loader's
     * fetch function takes no lock. With or without a store; must outlive the loader. NULL = none */
    dload_locks *locks;
    const char *lock_name; /* 1 .. 200 bytes, copied; NULL = "dataloader:" and the store's name */
    uint32_t
        lock_stripes; /* locks that keys are spread over, alike in every process: NAME/0, NAME/1 ...;
                         default 1 = one batch of the name at a time; <= 64 */
    uint64_t
        lock_wait_ns; /* longest wait for a batch's locks; then it fetches without; default 5 s */
#endif
#if DLOAD_HASH == DLOAD_HASH_SIP
    /* The secret of the hash, 128 bits that nobody can guess; default 0, 0 = one of this loader's own, from
     * env->random (which then must be fit for secrets), without that from the system (getrandom,
     * getentropy). DLOAD_EINVAL when neither gives one, as in a freestanding build without env->random. */
    uint64_t hash_key[2];
#endif
} DLOAD_I_FN(config);

/* What a cache without a loader is made from; fields as in the loader's configuration. */
typedef struct DLOAD_I_FN(cache_config) {
    const dload_env *env;
    size_t capacity;
#if DLOAD_I_WEIGHED
    uint64_t max_weight;
#endif
#if DLOAD_ON_REMOVE
    void (*on_remove)(void *ctx, DLOAD_I_FN(removed) * removed);
    void *ctx; /* handed to on_remove */
#endif
    size_t shards;
    uint64_t ttl_ns;
    uint32_t ttl_jitter_pct;
    uint64_t idle_ttl_ns;
    size_t max_key_bytes;
#if DLOAD_HASH == DLOAD_HASH_SIP
    uint64_t hash_key[2];
#endif
} DLOAD_I_FN(cache_config);

/* What an entry or a flight is known by. Private. */
typedef struct DLOAD_I_FN(i_ident) {
    uint64_t hash;
    DLOAD_I_K key;
#if DLOAD_GROUP
    uint64_t group;
#endif
} DLOAD_I_FN(i_ident);

#endif /* DLOAD_I_HAVE_TYPES */

/* ==== typed/slots.h ==== */

/* >>slots -- where one loader's entries live: slots, shards, and the cache that has them. All fields are private. */
#ifndef DLOAD_I_HAVE_SLOTS
#define DLOAD_I_HAVE_SLOTS

#if DLOAD_COMPACT

/* Where an entry lives. The end of its TTL is a tick of 44 bits: the upper 12 are in meta.
 *
 *   meta  bits 0..11 of the end, 12 used since the hand came by, 13 pinned, 14 expires,
 *         15 an error instead of a value (also where there is no entry)
 *         of a value that waits to be released: bits 0..2 dload_removal, and bit 11
 */
typedef struct DLOAD_I_FN(slot) {
    union {
        DLOAD_I_V value;
        int32_t status; /* with bit 15 of meta */
    } u;
    DLOAD_I_K key;
#if DLOAD_TTL
    uint32_t end; /* with bit 14 of meta */
#endif
    uint16_t next; /* of its chain: the slot, or DLOAD_I_END */
    uint16_t meta;
} DLOAD_I_FN(slot);

/* The table: slots, and by hash the first slot of each chain, in one block. */
typedef struct DLOAD_I_FN(shard) {
    DLOAD_I_FN(slot) * slots;
    uint16_t *heads;
    DLOAD_I_LOCK_T lock;
    uint16_t mask;     /* chains - 1 */
    uint16_t cap;      /* slots */
    uint16_t n_live;   /* entries */
    uint16_t n_pinned; /* of these */
    uint16_t vacant;   /* chain of slots without an entry */
    uint16_t hand;     /* where the policy looks next */
#if DLOAD_I_LEAVES
    uint16_t dead; /* chain of values that wait to be released, and of no other chain */
#endif
#if DLOAD_TTL
    uint64_t tick;    /* the time that has been: it does not go back */
    uint64_t soonest; /* no entry ends before */
#endif
    uint32_t hits; /* DLOAD_STATS; those of interrupt handlers may be missing */
    uint32_t evictions;
    uint32_t expired;
    uint32_t skipped;
} DLOAD_I_FN(shard);

/* A cache: the same one inside every loader, and usable alone. */
typedef struct DLOAD_I_FN(cache) {
    DLOAD_I_FN(shard) one;
    const dload_env *env;
    uint64_t ttl_ns;
    uint64_t manual_ns;   /* DLOAD_CLOCK_MANUAL: what _cache_advance said last */
    uint16_t n_shards;    /* 1; 0 = caching is off */
    uint16_t n_locks;     /* 1, also when it is off; 0 = destroyed */
    uint32_t jitter_part; /* of the TTL, in 2^16ths */
    uint32_t seed;        /* of the jitter when env->random is NULL */
    uint32_t fork_epoch;  /* with a lock: of the process it was made in */
    size_t max_key_bytes;
#if DLOAD_ON_REMOVE
    void (*on_remove)(void *ctx, DLOAD_I_FN(removed) * removed);
    void *remove_ctx;
#endif
} DLOAD_I_FN(cache);

#define DLOAD_I_SHARD_AT(c, i) ((void)(i), &(c)->one)

#else

/* What readers without the lock copy word by word is aligned for the widest. */
#if DLOAD_I_LOCKLESS
#define DLOAD_I_SHARED(type) __attribute__((__aligned__(sizeof(type) >= 8 ? 8 : 1)))
#else
#define DLOAD_I_SHARED(type)
#endif

/* Where an entry lives: what a hit touches and nothing else. Private.
 *
 *   meta  bits 0..7 uses since the policy last looked, 8 in the main queue (S3-FIFO), 9 expires,
 *         10 pinned (with bit 8: dead, see weight.h), 11 somebody is to refresh it early,
 *         15 an error instead of a value, 16..31 epoch (an entry of another epoch was cleared by
 *         clear_all and is not there)
 */
typedef struct DLOAD_I_FN(slot) {
    uint32_t meta;
#if DLOAD_TTL
    uint32_t
        expiry; /* tick before which it is fresh; exact when near, see _wheel_arm; with bit 9 */
#endif
#if DLOAD_REFRESH
    /* expiry says here how far a hit need not look at the rest, all of it with bit 9 of meta; see stale.h */
    uint32_t gone;  /* tick after which the entry is gone */
    uint32_t retry; /* tick until which a refresh that failed is not tried again */
    uint64_t end;   /* tick at which its TTL ends */
#endif
#if DLOAD_GROUP
    uint64_t group;
#endif
#if DLOAD_I_IS_STRING
    dload_i_skey key;
#else
    DLOAD_I_K key DLOAD_I_SHARED(DLOAD_I_K);
#endif
    union {
        DLOAD_I_V value DLOAD_I_SHARED(DLOAD_I_V);
        int32_t status; /* with bit 15 of meta */
    } u;
} DLOAD_I_FN(slot);

/* Between threads, what many read and what few write lie on cache lines of their own. */
#if DLOAD_I_SHARDED
#define DLOAD_I_APART __attribute__((__aligned__(64)))
#else
#define DLOAD_I_APART
#endif

/* A part of the cache with a lock of its own. Private. */
typedef struct DLOAD_I_FN(shard) {
    /* what a hit looks at */
    dload_i_group *groups DLOAD_I_APART; /* n_groups of 32 tags each, 64-byte aligned */
    DLOAD_I_FN(slot) * slots;            /* by the same number */
    uint32_t n_groups;
    uint32_t epoch;    /* of live entries, in the place it has in meta */
    uint32_t max_uses; /* where a hit stops counting; 0 = the policy does not ask */
#if DLOAD_TTL
    uint64_t tick;     /* the wheel's time */
#endif
    /* what only writers do */
    DLOAD_I_LOCK_T lock DLOAD_I_APART;
    uint32_t n_live;        /* entries of this epoch */
    uint32_t n_used;        /* ... and of older ones not reaped yet */
    uint32_t n_pinned;      /* of these, entries that are in no queue */
    uint32_t n_live_pinned; /* ... and of this epoch */
    uint32_t cap;           /* n_live never exceeds it */
    uint32_t reach; /* no entry lives further than so many groups from home, itself one of them */
    uint32_t reap_group; /* next group to look at for entries of older epochs */
    uint32_t since_reap; /* clear_all calls since the last complete reap */
    void *block;         /* what groups and slots and the side arrays were carved from */
    size_t block_bytes;
#if DLOAD_I_LOCKLESS
    void *outgrown; /* blocks of smaller tables, which a reader may still look at: a list */
    size_t outgrown_bytes;
#endif
    dload_i_evict evict;
#if DLOAD_TTL
    dload_i_wheel wheel;
#endif
#if DLOAD_I_IS_STRING
    dload_i_arena arena;
#endif
#if DLOAD_I_WEIGHED
    uint32_t *weights;      /* by slot; see weight.h */
    uint64_t max_weight;    /* weight never exceeds it; UINT64_MAX = no limit */
    uint64_t weight;        /* of the entries of this epoch */
    uint64_t pinned_weight; /* of those that a call pinned */
    uint64_t too_heavy;     /* values over max_weight */
#endif
#if DLOAD_I_KILLS
    uint32_t dead; /* chain of evicted entries whose values wait to be released; see weight.h */
    uint32_t n_dead;
#endif
    uint64_t hits;        /* DLOAD_STATS; under the lock; see also cache.stripes */
    uint64_t evictions;   /* entries the policy removed to make room */
    uint64_t expired;     /* entries removed because their TTL passed */
    uint64_t long_probes; /* entries that had to be put far from home; see reach.h */
    uint64_t skipped;     /* values not cached: no room, or no memory */
} DLOAD_I_FN(shard);

/* A cache: the same one inside every loader, and usable alone. Private fields. */
typedef struct DLOAD_I_FN(cache) {
#if !DLOAD_I_SHARDED
    DLOAD_I_FN(shard) one; /* without locks one shard is enough, and a hit need not look for it */
#endif
    DLOAD_I_FN(shard) * shard;
#if DLOAD_I_SHARDED
    void *block;             /* what the shards were carved from */
#endif
#if DLOAD_I_LOCKLESS && DLOAD_STATS
    dload_i_stripe *stripes; /* hits without the lock, a counter a thread */
#endif
    uint32_t n_shards;       /* 2^n; 0 = caching is off */
    uint32_t jitter_pct;
    uint64_t ttl_ns;
    size_t max_key_bytes;
    bool unbounded;
    uint32_t fork_epoch; /* with a lock: of the process it was made in */
#if DLOAD_STORE
    bool deaf; /* changes in the store may go unheard: nothing is cached; atomic, see sink.h */
#endif
    const dload_env *env;
    dload_i_moment manual; /* DLOAD_CLOCK_MANUAL: what _cache_advance said last, ns */
    uint64_t seed;         /* of the jitter when env->random is NULL */
#if DLOAD_REFRESH
    uint64_t stale_ticks;  /* an entry may be handed out after its TTL for so long, */
    uint64_t error_ticks;  /* for so long when its fetch failed, */
    uint64_t keep_ticks;   /* and stays for so long: the longer of both */
    uint64_t idle_ticks;
    uint32_t retry_ticks;
    uint32_t ahead_pct;
    uint64_t ahead_ns; /* XFetch's beta * delta; atomic */
#endif
#if DLOAD_ON_REMOVE
    void (*on_remove)(void *ctx, DLOAD_I_FN(removed) * removed);
    void *remove_ctx;
#endif
#if DLOAD_HASH == DLOAD_HASH_SIP
    uint64_t hash_key[2];
#endif
} DLOAD_I_FN(cache);

#define DLOAD_I_SHARD_AT(c, i) (&(c)->shard[i])

#endif /* DLOAD_COMPACT */
#endif /* DLOAD_I_HAVE_SLOTS */

/* ==== typed/loader.h ==== */

/* >>loader -- one loader: the struct itself, and what its calls work with. */
#ifndef DLOAD_I_HAVE_LOADER
#define DLOAD_I_HAVE_LOADER

/* A value on its way into the cache. Private. */
typedef struct DLOAD_I_FN(item) {
    DLOAD_I_FN(i_ident) id;
    const DLOAD_I_V *value; /* moved into the cache when that took it; not used with an error */
    int32_t status;         /* >= 0, or the error to cache */
    uint64_t ttl_ns;
    uint64_t now_ns;
    DLOAD_I_FN(removed) old; /* with garbage: a value that had to go, for the caller to deal with */
    bool garbage;
#if DLOAD_I_WEIGHED
    uint32_t weight;
#endif
#if DLOAD_I_KILLS
    bool dead; /* more had to go: the shard has them */
#endif
} DLOAD_I_FN(item);

#if DLOAD_ASYNC
/* A blocking call's place to sleep. Private. */
typedef struct DLOAD_I_FN(sleeper) {
    dload_i_parker parker;
    DLOAD_I_COND_T cond;
#if DLOAD_STORE
    dload_i_blocked blocked;
#endif
} DLOAD_I_FN(sleeper);
#endif

#if DLOAD_SNAPSHOT
/* How a snapshot is made, and restored. Zeros are the defaults; what one direction does not need is not
 * looked at. No callback runs with a lock held, and each may call the loader. */
typedef struct DLOAD_I_FN(snapshot) {
    /* Takes n_bytes, all of them: DLOAD_OK, or an error, which ends the save and is its result. */
    dload_status (*write)(void *ctx, const void *bytes, size_t n_bytes);
    /* Gives 1 .. n_bytes bytes and says how many, 0 at the end; an error ends the call, as above. */
    dload_status (*read)(void *ctx, void *bytes, size_t n_bytes, size_t *n_read);
    /* For values that are more than their bytes: puts *value into bytes, *n_bytes of them; where cap_bytes are
     * too few, says how many it takes and is called again. With an error the entry is left out.
     * NULL = plain values are written as they lie in memory, blobs as their bytes; others cannot be. */
    dload_status (*encode)(void *ctx, const DLOAD_I_V *value, void *bytes, size_t cap_bytes,
                           size_t *n_bytes);
    /* The reverse: makes a value, which is the cache's then. With an error the entry is left out. */
    dload_status (*decode)(void *ctx, const void *bytes, size_t n_bytes, DLOAD_I_V *value);
    void *ctx;              /* handed to each of these */
    uint64_t value_version; /* of what a value means: a snapshot of another is refused; default 0 */
    /* The time by a clock that goes on while the program does not, ns: what passes between save and restore
     * is taken off the TTLs. 0 = the host's calendar clock (freestanding: not known); DLOAD_NEVER = not
     * known, and then nothing is taken off. A clock that went back takes nothing off. */
    uint64_t wall_ns;
} DLOAD_I_FN(snapshot);
#endif

/* What two translation units must agree on. */
#define DLOAD_I_FINGERPRINT                                                                      \
    ((uint64_t)DLOAD_TEMPLATE_VERSION << 56 | (uint64_t)(DLOAD_HASH == DLOAD_HASH_SIP) << 55 |   \
     (uint64_t)DLOAD_REFRESH << 54 | (uint64_t)(DLOAD_LOCK & 3) << 52 |                          \
     (uint64_t)DLOAD_EVICT << 48 | (uint64_t)DLOAD_CLOCK << 44 | (uint64_t)DLOAD_TTL << 43 |     \
     (uint64_t)DLOAD_STATS << 42 | (uint64_t)DLOAD_I_OWNED << 41 | (uint64_t)DLOAD_GROUP << 40 | \
     (uint64_t)DLOAD_I_KEY_KIND << 36 | (uint64_t)(sizeof(DLOAD_I_K) & 0xff) << 28 |             \
     (uint64_t)(!DLOAD_ASYNC) << 47 | (uint64_t)DLOAD_I_WEIGHED << 27 |                          \
     (uint64_t)DLOAD_ON_REMOVE << 26 |                                                           \
     ((uint64_t)sizeof(DLOAD_I_V) * 31 + sizeof(DLOAD_NAME) + DLOAD_COMPACT * 7919u) %           \
         (UINT64_C(1) << 26))

#if DLOAD_ASYNC

/* A loader. All fields are private; the struct is public so that it can live anywhere. It must not
 * be moved or copied between _init and _destroy. */
typedef struct DLOAD_NAME {
    dload_i_core core;
    DLOAD_I_FN(cache) cache;
    DLOAD_I_FN(config) cfg;
    DLOAD_I_MUTEX_T mutex; /* flights and batches; taken before a shard's lock, never after */
#if DLOAD_I_IS_STRING
    dload_i_arena arena; /* key bytes of batches; under the mutex */
#endif
#if DLOAD_STORE
    dload_i_second second; /* under the mutex */
    dload_i_locking locking;
#endif
} DLOAD_NAME;

#else

/* What is on its way. Private. */
typedef struct DLOAD_I_FN(i_core) {
    dload_status (*fetch)(DLOAD_I_FN(batch) * b);
    void *ctx;
    uint64_t (*error_ttl)(void *ctx, dload_status status);
    uint64_t missing_ttl_ns;
    DLOAD_I_FN(batch) * batches; /* n_batches of them, in block */
    DLOAD_I_FN(batch) * queue;   /* those that wait, oldest first */
    DLOAD_I_FN(batch) * last;    /* ... and the newest, which may be open */
    dload_i_ask *spare;          /* requests for calls with many keys */
    void *block;
    size_t block_bytes;
    uint32_t n_batches, max_batch;
    uint32_t clear_seq;                       /* clears so far */
    uint32_t last_clear[DLOAD_I_SOLO_CLEARS]; /* clear_seq of the last clear, by hash */
    uint8_t n_running;                        /* fetch functions that have not returned */
    uint8_t n_out;                            /* ... or whose callbacks run */
    bool closed;
#if DLOAD_STATS
    dload_stats stats;
#endif
} DLOAD_I_FN(i_core);

/* A loader. All fields are private; the struct is public so that it can live anywhere. It must not
 * be moved or copied between _init and _destroy. */
typedef struct DLOAD_NAME {
    DLOAD_I_FN(i_core) core;
    DLOAD_I_FN(cache) cache;
    DLOAD_I_MUTEX_T mutex; /* of nothing: what both kinds of loader share takes it */
} DLOAD_NAME;

#endif /* DLOAD_ASYNC */

/* What DLOAD_BYTES counts with: is all memory taken in the beginning, and what does a slot of a compact cache take? */
enum {
    DLOAD_I_FN(i_bounded) = !DLOAD_ASYNC,
    DLOAD_I_FN(i_slot_bytes) = DLOAD_COMPACT ? sizeof(DLOAD_I_FN(slot)) : 0
};

#endif /* DLOAD_I_HAVE_LOADER */

/* ==== typed/api.h ==== */

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

/* ==== typed/leave.h ==== */

/* >>leave -- what an entry leaves behind: its value, and its weight.
 *
 * Everything here works on one shard whose lock is held, like table.h.
 */
#ifndef DLOAD_I_HAVE_LEAVE
#define DLOAD_I_HAVE_LEAVE

#if DLOAD_I_BODIES

/* Records what left and why, for _i_end. */
DLOAD_I_INLINE void DLOAD_I_FN(i_leave)(const DLOAD_I_FN(slot) * e, dload_removal reason,
                                        DLOAD_I_FN(removed) * old)
{
    old->value = e->u.value;
#if DLOAD_ON_REMOVE
#if DLOAD_I_IS_STRING
    old->key.ptr = e->key.ptr;
    old->key.len = e->key.len;
#else
    old->key = e->key;
#endif
#if DLOAD_GROUP
    old->group = e->group;
#endif
    old->reason = reason;
    old->stored = true;
#endif
    (void)reason;
}

/* The entry that left a value stays, and its key with it: what is told is the key that the caller gave,
 * which outlives the telling. */
DLOAD_I_INLINE void DLOAD_I_FN(i_leave_key)(DLOAD_I_FN(removed) * old,
                                            const DLOAD_I_FN(item) * item)
{
#if DLOAD_ON_REMOVE
    old->key = item->id.key;
    old->stored = false;
#endif
    (void)old;
    (void)item;
}

#if !DLOAD_COMPACT

/* An entry that was evicted, and whose value waits for its end: see weight.h. Pinned entries are never
 * in the main queue, so that the two bits together are free for it. */
DLOAD_I_INLINE bool DLOAD_I_FN(i_is_dead)(uint32_t meta)
{
    const uint32_t dead = DLOAD_I_META_PINNED | DLOAD_I_META_MAIN;
    return DLOAD_I_KILLS && (meta & dead) == dead;
}

/* Why: not where uses are, since a reader without the lock may count one late (mutant REASON_AMONG_USES). */
DLOAD_I_INLINE dload_removal DLOAD_I_FN(i_died_of)(uint32_t meta)
{
    return (dload_removal)(meta >> DLOAD_I_META_REASON & 7u);
}

/* Is it of an epoch before the last clear_all? */
DLOAD_I_INLINE bool DLOAD_I_FN(i_outdated)(const DLOAD_I_FN(shard) * s, uint32_t meta)
{
    return ((meta ^ s->epoch) & DLOAD_I_EPOCH_MASK) != 0 && !DLOAD_I_FN(i_is_dead)(meta);
}

/* ... and how many are there? */
DLOAD_I_INLINE uint32_t DLOAD_I_FN(i_n_outdated)(const DLOAD_I_FN(shard) * s)
{
#if DLOAD_I_KILLS
    return s->n_used - s->n_live - s->n_dead;
#else
    return s->n_used - s->n_live;
#endif
}

#endif /* !DLOAD_COMPACT */

#if DLOAD_I_WEIGHED
#define DLOAD_I_WEIGHT_MAX 0x7fffffffu
#define DLOAD_I_WEIGHT_PIN 0x80000000u /* beside a weight: a call pinned the entry */
#endif

#if !DLOAD_COMPACT
/* The entry in slot, which is live or not, weighs nothing any more. */
DLOAD_I_INLINE void DLOAD_I_FN(i_unweigh)(DLOAD_I_FN(shard) * s, uint32_t slot, bool live)
{
#if DLOAD_I_WEIGHED
    uint32_t weight = s->weights[slot];
    if (live) {
        s->weight -= weight & DLOAD_I_WEIGHT_MAX;
        s->pinned_weight -= (weight & DLOAD_I_WEIGHT_PIN) != 0 ? weight & DLOAD_I_WEIGHT_MAX : 0;
    }
    s->weights[slot] = 0;
#endif
    (void)s;
    (void)slot;
    (void)live;
}
#endif

#endif /* DLOAD_I_BODIES */
#endif /* DLOAD_I_HAVE_LEAVE */

/* ==== typed/ident.h ==== */

/* >>ident -- what a key is known by: its hash, with the loader's secret when it has one, and its group. */
#ifndef DLOAD_I_HAVE_IDENT
#define DLOAD_I_HAVE_IDENT

#if DLOAD_I_BODIES

#define DLOAD_I_SHARD DLOAD_I_FN(shard)
#define DLOAD_I_SLOT  DLOAD_I_FN(slot)
#define DLOAD_I_CACHE DLOAD_I_FN(cache)

/* The secret of a cache's hash, and of one of its shards. */
#if DLOAD_HASH == DLOAD_HASH_SIP
#define DLOAD_I_HASH_KEY(c) ((c)->hash_key)
#else
#define DLOAD_I_HASH_KEY(c) NULL
#endif

#if DLOAD_COMPACT
/* The hash of a key: the upper half is the better one, and the lower one not the same. */
DLOAD_I_INLINE uint64_t DLOAD_I_FN(i_hash)(DLOAD_I_K key)
{
    uint32_t h = 0;
#if DLOAD_I_KEY_KIND == DLOAD_I_KIND_INTEGER || DLOAD_I_KEY_KIND == DLOAD_I_KIND_BOOL
    h = dload_i_mix32((uint32_t)key);
    if (sizeof key > 4)
        h = dload_i_mix32(h + (uint32_t)((uint64_t)key >> 32));
#else
    uint32_t words[(sizeof key + 3) / 4];
    memcpy(words, &key, sizeof key);
    for (size_t i = 0; i < sizeof key / 4; i++)
        h = dload_i_mix32(h + words[i]);
#endif
    return (uint64_t)(h ^ h >> 16) << 32 | h;
}
#elif DLOAD_HASH == DLOAD_HASH_FAST
/* The hash of a key, without its group. */
DLOAD_I_INLINE uint64_t DLOAD_I_FN(i_hash)(DLOAD_I_K key)
{
#if DLOAD_I_IS_STRING
    return dload_i_hash_bytes(key.ptr, key.len);
#elif DLOAD_I_KEY_KIND == DLOAD_I_KIND_ID128
    return dload_i_mix64(dload_i_read64(key.bytes) ^ dload_i_mix64(dload_i_read64(key.bytes + 8)));
#elif DLOAD_I_KEY_KIND == DLOAD_I_KIND_FLOAT || DLOAD_I_KEY_KIND == DLOAD_I_KIND_DOUBLE
    uint64_t bits = 0;
    memcpy(&bits, &key, sizeof key);
    return dload_i_mix64(bits);
#else
    return dload_i_mix_int((uint64_t)key);
#endif
}
#endif

/* The hash of a key in its group. A secret goes over both: two hashes joined by xor would let a group be
 * chosen to cancel a key. */
DLOAD_I_INLINE uint64_t DLOAD_I_FN(i_hash_in)(const uint64_t *hash_key, DLOAD_I_K key,
                                              uint64_t group)
{
#if DLOAD_HASH == DLOAD_HASH_FAST
    (void)hash_key;
    (void)group;
    return DLOAD_I_FN(i_hash)(key) ^ (DLOAD_GROUP ? dload_i_group_hash(group) : 0);
#elif DLOAD_I_IS_STRING
    return dload_i_sip_bytes(hash_key, DLOAD_GROUP ? &group : NULL, key.ptr, key.len);
#else
    uint64_t words[3] = {group, 0, 0};
    size_t n = 2;
#if DLOAD_I_KEY_KIND == DLOAD_I_KIND_ID128
    words[1] = dload_i_read64_le(key.bytes);
    words[2] = dload_i_read64_le(key.bytes + 8);
    n = 3;
#elif DLOAD_I_KEY_KIND == DLOAD_I_KIND_FLOAT || DLOAD_I_KEY_KIND == DLOAD_I_KIND_DOUBLE
    memcpy(&words[1], &key, sizeof key);
#else
    words[1] = (uint64_t)key;
#endif
    return DLOAD_GROUP ? dload_i_sip_words(hash_key, words, n)
                       : dload_i_sip_words(hash_key, words + 1, n - 1);
#endif
}

/* What key is known by in group; the key is in its one form. */
DLOAD_I_INLINE DLOAD_I_ID DLOAD_I_FN(i_id)(const DLOAD_I_CACHE *c, DLOAD_I_K key, uint64_t group)
{
    DLOAD_I_ID id;
    id.hash = DLOAD_I_FN(i_hash_in)(DLOAD_I_HASH_KEY(c), key, group);
    id.key = key;
    (void)c;
#if DLOAD_GROUP
    id.group = group;
#endif
    (void)group;
    return id;
}

#endif /* DLOAD_I_BODIES */
#endif /* DLOAD_I_HAVE_IDENT */

/* ==== typed/entry.h ==== */

/* >>entry -- what an entry is made of, in whatever table: its key in its one form, its value, the time.
 *
 * No user code runs but the REF and COPY hooks of owned values.
 */
#ifndef DLOAD_I_HAVE_ENTRY
#define DLOAD_I_HAVE_ENTRY

#if DLOAD_I_BODIES

/* ---- keys ---- */

/* Brings a key to its one form; DLOAD_EKEY or DLOAD_ETOOBIG when it cannot be a key. */
DLOAD_I_INLINE dload_status DLOAD_I_FN(i_canon)(DLOAD_I_K *key, size_t max_key_bytes)
{
#if DLOAD_COMPACT && DLOAD_I_KEY_KIND == DLOAD_I_KIND_FLOAT
    uint32_t bits = 0; /* without a comparison that a small core has in a library */
    memcpy(&bits, key, sizeof bits);
    if (bits << 1 > 0xff000000u)
        return DLOAD_EKEY;
    if (bits << 1 == 0)
        *key = 0;
#elif DLOAD_COMPACT && DLOAD_I_KEY_KIND == DLOAD_I_KIND_DOUBLE
    uint64_t bits = 0;
    memcpy(&bits, key, sizeof bits);
    if (bits << 1 > UINT64_C(0xffe) << 52)
        return DLOAD_EKEY;
    if (bits << 1 == 0)
        *key = 0;
#elif DLOAD_I_KEY_KIND == DLOAD_I_KIND_FLOAT || DLOAD_I_KEY_KIND == DLOAD_I_KIND_DOUBLE
    if (!(*key <= 0) && !(*key > 0))
        return DLOAD_EKEY; /* NaN is not even equal to itself */
    if (!(*key < 0) && !(*key > 0))
        *key = 0; /* -0.0 */
#elif DLOAD_I_IS_STRING
    if (key->ptr == NULL && key->len != 0)
        return DLOAD_EKEY;
    if (key->len > max_key_bytes)
        return DLOAD_ETOOBIG;
#endif
    (void)key;
    (void)max_key_bytes;
    return DLOAD_OK;
}

DLOAD_I_INLINE bool DLOAD_I_FN(i_same)(const DLOAD_I_K *a, const DLOAD_I_K *b)
{
#if DLOAD_I_IS_STRING
    return a->len == b->len && (a->len == 0 || memcmp(a->ptr, b->ptr, a->len) == 0);
#elif DLOAD_I_KEY_KIND == DLOAD_I_KIND_INTEGER || DLOAD_I_KEY_KIND == DLOAD_I_KIND_BOOL
    return *a == *b;
#else
    return memcmp(a, b, sizeof *a) == 0;
#endif
}

/* ---- values ---- */

/* Another owner of the same value, or a copy of it. */
DLOAD_I_INLINE dload_status DLOAD_I_FN(i_copy)(DLOAD_I_V *to, const DLOAD_I_V *from)
{
#if DLOAD_I_VALUE_IS_BLOB
    *to = dload_blob_retain(*from);
#elif defined(DLOAD_VALUE_COPY)
    if (!(DLOAD_VALUE_COPY(to, from)))
        return DLOAD_ENOMEM;
#else
    *to = *from;
#if defined(DLOAD_VALUE_REF)
    DLOAD_VALUE_REF(to);
#endif
#endif
    return DLOAD_OK;
}

/* The end of an owned value; no lock is held. */
DLOAD_I_INLINE void DLOAD_I_FN(i_release)(DLOAD_I_V *value)
{
#if DLOAD_I_VALUE_IS_BLOB
    dload_blob_release(value);
#elif defined(DLOAD_VALUE_FREE)
    DLOAD_VALUE_FREE(value);
#elif defined(DLOAD_VALUE_UNREF)
    DLOAD_VALUE_UNREF(value);
#endif
    (void)value;
}

/* ---- time ---- */

#if DLOAD_COMPACT

/* Now, for whoever holds the lock: it may be the lock that keeps the two halves of a time together. */
DLOAD_I_INLINE uint64_t DLOAD_I_FN(i_time)(const DLOAD_I_CACHE *c)
{
    (void)c;
#if DLOAD_CLOCK == DLOAD_CLOCK_ENV
    if (c->env->now != NULL)
        return c->env->now(c->env->ctx);
#endif
#if DLOAD_CLOCK == DLOAD_CLOCK_COARSE
    return dload_i_clock_coarse(NULL);
#elif DLOAD_CLOCK == DLOAD_CLOCK_PRECISE
    return dload_i_clock_precise(NULL);
#else
    return c->manual_ns;
#endif
}

/* ... and for others. */
DLOAD_I_INLINE uint64_t DLOAD_I_FN(i_now)(const DLOAD_I_CACHE *c)
{
#if DLOAD_I_THREADED && (DLOAD_CLOCK == DLOAD_CLOCK_ENV || DLOAD_CLOCK == DLOAD_CLOCK_MANUAL)
    DLOAD_I_SHARD *s = (DLOAD_I_SHARD *)(uintptr_t)&c->one;
    DLOAD_I_ACQUIRE(&s->lock);
    uint64_t now_ns = DLOAD_I_FN(i_time)(c);
    DLOAD_I_RELEASE(&s->lock);
    return now_ns;
#else
    return DLOAD_I_FN(i_time)(c);
#endif
}

/* The caller says what time it is. */
DLOAD_I_INLINE void DLOAD_I_FN(i_set_now)(DLOAD_I_CACHE *c, uint64_t now_ns)
{
    DLOAD_I_ACQUIRE(&c->one.lock);
    if (now_ns > c->manual_ns)
        c->manual_ns = now_ns;
    DLOAD_I_RELEASE(&c->one.lock);
}

#else

DLOAD_I_INLINE uint64_t DLOAD_I_FN(i_now)(const DLOAD_I_CACHE *c)
{
#if DLOAD_CLOCK == DLOAD_CLOCK_COARSE
    (void)c;
    return dload_i_clock_coarse(NULL);
#elif DLOAD_CLOCK == DLOAD_CLOCK_PRECISE
    (void)c;
    return dload_i_clock_precise(NULL);
#else
#if DLOAD_CLOCK == DLOAD_CLOCK_ENV
    if (c->env->now != NULL)
        return c->env->now(c->env->ctx);
#endif
    return dload_i_moment_of(&c->manual);
#endif
}

/* The caller says what time it is. */
DLOAD_I_INLINE void DLOAD_I_FN(i_set_now)(DLOAD_I_CACHE *c, uint64_t now_ns)
{
    if (c->n_shards != 0)
        DLOAD_I_ACQUIRE(&c->shard[0].lock);
    if (now_ns > dload_i_moment_of(&c->manual))
        dload_i_moment_set(&c->manual, now_ns);
    if (c->n_shards != 0)
        DLOAD_I_RELEASE(&c->shard[0].lock);
}

#endif /* DLOAD_COMPACT */

#if DLOAD_TTL

#if DLOAD_COMPACT

/* A TTL in ns, shortened by up to jitter_pct percent. */
DLOAD_I_LOCAL uint64_t DLOAD_I_FN(i_jitter)(DLOAD_I_CACHE *c, uint64_t ttl_ns)
{
    if (c->jitter_part == 0)
        return ttl_ns;
    uint32_t r = 0;
    if (c->env->random != NULL) {
        r = (uint32_t)(c->env->random(c->env->ctx) >> 32);
    } else {
        c->seed += 0x9e3779b9u; /* a fixed sequence: Weyl's, mixed */
        r = dload_i_mix32(c->seed);
    }
    return ttl_ns - dload_i_part_of(ttl_ns, (r >> 16) * c->jitter_part >> 16);
}

#else

DLOAD_I_LOCAL uint64_t DLOAD_I_FN(i_random)(DLOAD_I_CACHE *c)
{
    if (c->env->random != NULL)
        return c->env->random(c->env->ctx);
    /* a fixed sequence: Weyl's, mixed; a lost update between threads does no harm */
    uint64_t r = DLOAD_I_LOAD_RELAXED(&c->seed) + UINT64_C(0x9e3779b97f4a7c15);
    DLOAD_I_STORE_RELAXED(&c->seed, r);
    return dload_i_mix64(r);
}

/* A TTL in ns, shortened by up to jitter_pct percent. */
DLOAD_I_LOCAL uint64_t DLOAD_I_FN(i_jitter)(DLOAD_I_CACHE *c, uint64_t ttl_ns)
{
    if (c->jitter_pct == 0)
        return ttl_ns;
    uint64_t r = DLOAD_I_FN(i_random)(c);
    uint64_t span_ns = ttl_ns / 100 * c->jitter_pct;
    return ttl_ns - (span_ns / 65536 * (r >> 48) + span_ns % 65536 * (r >> 48) / 65536);
}

#endif /* DLOAD_COMPACT */

#endif /* DLOAD_TTL */

#endif /* DLOAD_I_BODIES */
#endif /* DLOAD_I_HAVE_ENTRY */

/* ==== typed/table.h ==== */

/* >>table -- the entries of one shard: compare, expire, find, read.
 *
 * Everything here works on one shard whose lock is held. No user code runs but the REF and COPY
 * hooks of owned values; what has to be released goes back to the caller, who does it unlocked.
 */
#ifndef DLOAD_I_HAVE_TABLE
#define DLOAD_I_HAVE_TABLE

#if DLOAD_I_BODIES && !DLOAD_COMPACT

/* An entry's meta word: readers without the lock may count a use at any time. */
#define DLOAD_I_META(e)           DLOAD_I_LOAD_RELAXED(&(e)->meta)
#define DLOAD_I_META_WRITE(e, to) DLOAD_I_STORE_RELEASE(&(e)->meta, (to))

/* ---- entries ---- */

/* Is this entry the one? */
DLOAD_I_INLINE bool DLOAD_I_FN(i_is)(const DLOAD_I_SLOT *e, const DLOAD_I_ID *id)
{
#if DLOAD_GROUP
    if (e->group != id->group)
        return false;
#endif
#if DLOAD_I_IS_STRING
    const DLOAD_I_K *key = &id->key;
    return e->key.hash_hi == (uint32_t)(id->hash >> 32) && e->key.len == key->len &&
           (key->len == 0 || memcmp(e->key.ptr, key->ptr, key->len) == 0);
#else
    return DLOAD_I_FN(i_same)(&e->key, &id->key);
#endif
}

/* The hash of an entry's key. */
DLOAD_I_UNUSED static uint64_t DLOAD_I_FN(i_hash_of)(const void *slot, const uint64_t *hash_key)
{
    const DLOAD_I_SLOT *e = (const DLOAD_I_SLOT *)slot;
    DLOAD_I_K key;
#if DLOAD_I_IS_STRING
    key.ptr = e->key.ptr;
    key.len = e->key.len;
#else
    key = e->key;
#endif
#if DLOAD_GROUP
    return DLOAD_I_FN(i_hash_in)(hash_key, key, e->group);
#else
    return DLOAD_I_FN(i_hash_in)(hash_key, key, 0);
#endif
}

/* ... or as much of it as finding its home takes. */
DLOAD_I_INLINE uint64_t DLOAD_I_FN(i_home_hash)(const DLOAD_I_SHARD *s, const DLOAD_I_SLOT *e)
{
#if DLOAD_I_IS_STRING
    (void)s;
    return (uint64_t)e->key.hash_hi << 32;
#else
    return DLOAD_I_FN(i_hash_of)(e, s->evict.hash_key);
#endif
}

/* ---- time ---- */

#if DLOAD_TTL

#if DLOAD_REFRESH
#define DLOAD_I_DUE gone /* the field that the wheel goes by */

/* In stale.h: what an entry's times are where there is more than one. */
DLOAD_I_NOINLINE bool DLOAD_I_FN(i_expired_far)(const DLOAD_I_CACHE *c, const DLOAD_I_SHARD *s,
                                                const DLOAD_I_SLOT *e);
DLOAD_I_NOINLINE bool DLOAD_I_FN(i_hold)(const DLOAD_I_CACHE *c, DLOAD_I_SHARD *s, DLOAD_I_SLOT *e);
DLOAD_I_LOCAL void DLOAD_I_FN(i_arm)(DLOAD_I_CACHE *c, DLOAD_I_SHARD *s, uint32_t slot,
                                     uint64_t now_ns, uint64_t ttl_ns);
DLOAD_I_LOCAL void DLOAD_I_FN(i_rearm)(DLOAD_I_SHARD *s, uint32_t slot, uint64_t end);
#else
#define DLOAD_I_DUE expiry

/* Has an entry that expires done so? Exact for any distance between now and the wheel's time. */
DLOAD_I_NOINLINE bool DLOAD_I_FN(i_expired_far)(const DLOAD_I_CACHE *c, const DLOAD_I_SHARD *s,
                                                const DLOAD_I_SLOT *e)
{
    const dload_i_wheel *w = &s->wheel;
    uint64_t tick = DLOAD_I_FN(i_now)(c) >> DLOAD_I_TICK_SHIFT;
    if (tick < w->now)
        tick = w->now; /* the clock went back: time does not */
    return tick >= dload_i_wheel_end(w, (uint32_t)(e - s->slots), e->expiry);
}
#endif

/* The same for a hit: while time has not come to expiry, and ticks compare as 32-bit numbers, the entry
 * is fresh however far its end is, which the wheel knows on a line of its own. */
DLOAD_I_INLINE bool DLOAD_I_FN(i_expired)(const DLOAD_I_CACHE *c, DLOAD_I_SHARD *s, DLOAD_I_SLOT *e)
{
#if DLOAD_CLOCK == DLOAD_CLOCK_MANUAL
    uint64_t tick = s->tick; /* setting the time turns the wheel */
#else
    uint64_t tick = DLOAD_I_FN(i_now)(c) >> DLOAD_I_TICK_SHIFT;
#endif
    if (DLOAD_I_LIKELY(tick - s->tick <= DLOAD_I_WHEEL_ROUND &&
                       (int32_t)((uint32_t)tick - e->expiry) < 0))
        return false;
#if DLOAD_REFRESH
    return !DLOAD_I_FN(i_hold)(c, s, e);
#else
    return DLOAD_I_FN(i_expired_far)(c, s, e);
#endif
}

#if !DLOAD_REFRESH

/* The slot's end, which was far, has come nearer. */
DLOAD_I_LOCAL void DLOAD_I_FN(i_rearm)(DLOAD_I_SHARD *s, uint32_t slot, uint64_t end)
{
    DLOAD_I_STORE_RELEASE(&s->slots[slot].expiry, dload_i_wheel_arm(&s->wheel, slot, end));
}

/* Sets the expiry of the entry in slot, whose meta is otherwise complete. */
DLOAD_I_LOCAL void DLOAD_I_FN(i_arm)(DLOAD_I_CACHE *c, DLOAD_I_SHARD *s, uint32_t slot,
                                     uint64_t now_ns, uint64_t ttl_ns)
{
    if (ttl_ns >= DLOAD_NEVER - 1)
        return;
    uint64_t end_ns = dload_i_add_ns(now_ns, DLOAD_I_FN(i_jitter)(c, ttl_ns));
    DLOAD_I_SLOT *e = &s->slots[slot];
    DLOAD_I_STORE_RELEASE(&e->expiry,
                          dload_i_wheel_arm(&s->wheel, slot, end_ns >> DLOAD_I_TICK_SHIFT));
    DLOAD_I_META_WRITE(e, DLOAD_I_META(e) | DLOAD_I_META_EXPIRES);
}

#endif /* !DLOAD_REFRESH */

#endif /* DLOAD_TTL */

/* ---- finding ---- */

/* Searches on from the home group, which passed the key's class on. */
DLOAD_I_NOINLINE DLOAD_I_SLOT *DLOAD_I_FN(i_find_far)(const DLOAD_I_SHARD *s, DLOAD_I_ID id)
{
    uint32_t at = dload_i_home(id.hash, s->n_groups);
    uint8_t tag = dload_i_tag(id.hash);
    for (uint32_t tried = 1; tried < s->n_groups && tried < s->reach; tried++) {
        at = dload_i_next_group(at, s->n_groups);
        const dload_i_group *g = &s->groups[at];
        for (dload_i_match m = dload_i_find_tag(g, tag); dload_i_match_any(m);
             m = dload_i_match_rest(m)) {
            DLOAD_I_SLOT *e = &s->slots[at * DLOAD_I_GROUP_SLOTS + dload_i_match_first(m)];
            if (DLOAD_I_FN(i_is)(e, &id))
                return e;
        }
        if (g->over[dload_i_class(id.hash)] == 0)
            break;
    }
    return NULL;
}

/* The entry of a key, whatever its epoch and expiry, or NULL. */
DLOAD_I_INLINE DLOAD_I_SLOT *DLOAD_I_FN(i_find)(const DLOAD_I_SHARD *s, const DLOAD_I_ID *id)
{
    uint32_t at = dload_i_home(id->hash, s->n_groups);
    const dload_i_group *g = &s->groups[at];
    for (dload_i_match m = dload_i_find_tag(g, dload_i_tag(id->hash)); dload_i_match_any(m);
         m = dload_i_match_rest(m)) {
        DLOAD_I_SLOT *e = s->slots + (size_t)at * DLOAD_I_GROUP_SLOTS + dload_i_match_first(m);
        if (DLOAD_I_LIKELY(DLOAD_I_FN(i_is)(e, id)))
            return e;
    }
    if (DLOAD_I_LIKELY(g->over[dload_i_class(id->hash)] == 0))
        return NULL;
    return DLOAD_I_FN(i_find_far)(s, *id);
}

/* The same where a call more does not matter: everywhere but on a hit. */
DLOAD_I_NOINLINE DLOAD_I_SLOT *DLOAD_I_FN(i_locate)(const DLOAD_I_SHARD *s, const DLOAD_I_ID *id)
{
    return DLOAD_I_FN(i_find)(s, id);
}

DLOAD_I_INLINE uint32_t DLOAD_I_FN(i_slot_of)(const DLOAD_I_SHARD *s, const DLOAD_I_SLOT *e)
{
    return (uint32_t)(e - s->slots);
}

/* Is the entry there for a reader?*/
DLOAD_I_INLINE bool DLOAD_I_FN(i_valid)(const DLOAD_I_CACHE *c, const DLOAD_I_SHARD *s,
                                        const DLOAD_I_SLOT *e)
{
    if (DLOAD_I_UNLIKELY(((DLOAD_I_META(e) ^ s->epoch) & DLOAD_I_EPOCH_MASK) != 0))
        return false;
#if DLOAD_TTL
    if ((DLOAD_I_META(e) & DLOAD_I_META_EXPIRES) != 0 && DLOAD_I_FN(i_expired_far)(c, s, e))
        return false;
#endif
    (void)c;
    return true;
}

/* Where a hit stops counting. */
#if DLOAD_EVICT == DLOAD_EVICT_AUTO
#define DLOAD_I_MAX_USES(s) ((s)->max_uses)
#elif DLOAD_EVICT == DLOAD_EVICT_S3FIFO || DLOAD_EVICT == DLOAD_EVICT_ADAPTIVE
#define DLOAD_I_MAX_USES(s) 3u
#elif DLOAD_EVICT == DLOAD_EVICT_CLOCK || DLOAD_EVICT == DLOAD_EVICT_SIEVE
#define DLOAD_I_MAX_USES(s) 1u
#else
#define DLOAD_I_MAX_USES(s) 0u
#endif

/* Counts a use of the entry, as its policy wants it. */
DLOAD_I_INLINE void DLOAD_I_FN(i_touch)(DLOAD_I_SHARD *s, DLOAD_I_SLOT *e)
{
#if DLOAD_EVICT == DLOAD_EVICT_LRU
    if (s->evict.links != NULL && (DLOAD_I_META(e) & DLOAD_I_META_PINNED) == 0)
        dload_i_lru_touch(&s->evict, DLOAD_I_FN(i_slot_of)(s, e));
#if DLOAD_I_LOCKLESS && DLOAD_TTL
    /* Until the next tick, readers need not come here for this entry. */
    DLOAD_I_STORE_RELAXED(dload_i_uses(&e->meta), (uint8_t)s->tick);
#endif
#else
    dload_i_count_use(&e->meta, DLOAD_I_META(e), DLOAD_I_MAX_USES(s));
#endif
    (void)s;
    (void)e;
}

/* A cleared entry, or a cached error: neither is what a hit usually is. */
DLOAD_I_NOINLINE dload_status DLOAD_I_FN(i_read_rare)(DLOAD_I_SHARD *s, DLOAD_I_SLOT *e)
{
    if ((DLOAD_I_META(e) & DLOAD_I_EPOCH_MASK) != s->epoch)
        return DLOAD_PENDING;
    DLOAD_I_FN(i_touch)(s, e);
    DLOAD_I_COUNT_HIT(s);
    return (dload_status)e->u.status;
}

/* A hit: DLOAD_OK and *out, or the cached error. A miss: DLOAD_PENDING. */
DLOAD_I_INLINE dload_status DLOAD_I_FN(i_read)(const DLOAD_I_CACHE *c, DLOAD_I_SHARD *s,
                                               const DLOAD_I_ID *id, DLOAD_I_V *out)
{
    DLOAD_I_SLOT *e = DLOAD_I_FN(i_find)(s, id);
    if (DLOAD_I_UNLIKELY(e == NULL))
        return DLOAD_PENDING;
    uint32_t meta = DLOAD_I_META(e) ^ s->epoch;
#if DLOAD_TTL
    if ((meta & DLOAD_I_META_EXPIRES) != 0 && DLOAD_I_FN(i_expired)(c, s, e))
        return DLOAD_PENDING;
#endif
    (void)c;
    if (DLOAD_I_UNLIKELY(meta >= DLOAD_I_META_ERROR)) { /* one comparison for both */
        dload_status st = DLOAD_I_FN(i_read_rare)(s, e);
        return st < 0 ? st : DLOAD_ECORRUPT; /* so that compilers see: no success without a value */
    }
    DLOAD_I_FN(i_touch)(s, e);
    DLOAD_I_COUNT_HIT(s);
    return DLOAD_I_FN(i_copy)(out, &e->u.value);
}

#endif /* DLOAD_I_BODIES && !DLOAD_COMPACT */
#endif /* DLOAD_I_HAVE_TABLE */

/* ==== typed/keytext.h ==== */

/* >>keytext -- a loader's key as bytes for a store, and back.
 *
 *     <name>:<key>   or, with DLOAD_GROUP,   <name>:<group>:<key>
 *
 * Integers and groups are decimal, bool 0 or 1, float and double the hexadecimal digits of their bits, 16
 * bytes 32 digits, strings their bytes as they are, last, so that no escape is needed. A key has one text,
 * on every machine, and a text at most one key: so keys can be read back out of it.
 */
#ifndef DLOAD_I_HAVE_KEYTEXT
#define DLOAD_I_HAVE_KEYTEXT

#if DLOAD_I_BODIES && DLOAD_STORE

#define DLOAD_I_SIGNED ((DLOAD_I_KEY_NAME)-1 < (DLOAD_I_KEY_NAME)1)

/* What comes after the name's colon and before the key; returns its length. */
DLOAD_I_LOCAL size_t DLOAD_I_FN(i_group_text)(char *to, uint64_t group)
{
#if DLOAD_GROUP
    size_t n = dload_i_dec_put(to, group);
    to[n] = ':';
    return n + 1;
#else
    (void)to;
    (void)group;
    return 0;
#endif
}

/* The text of a key in its one form. bytes may stay behind in the key when it is a string: *tail. */
DLOAD_I_LOCAL size_t DLOAD_I_FN(i_key_text)(char *to, uint64_t group, const DLOAD_I_K *key,
                                            dload_str *tail)
{
    size_t n = DLOAD_I_FN(i_group_text)(to, group);
    tail->ptr = NULL;
    tail->len = 0;
#if DLOAD_I_IS_STRING
    to[n] = '\0'; /* a compiler would fear that nobody has written there */
    *tail = *key;
#elif DLOAD_I_KEY_KIND == DLOAD_I_KIND_BOOL
    to[n++] = *key ? '1' : '0';
#elif DLOAD_I_KEY_KIND == DLOAD_I_KIND_ID128
    for (size_t i = 0; i < sizeof key->bytes; i++, n += 2)
        dload_i_hex_put(to + n, key->bytes[i], 2);
#elif DLOAD_I_KEY_KIND == DLOAD_I_KIND_FLOAT
    uint32_t bits = 0;
    memcpy(&bits, key, sizeof bits);
    dload_i_hex_put(to + n, bits, 8);
    n += 8;
#elif DLOAD_I_KEY_KIND == DLOAD_I_KIND_DOUBLE
    uint64_t bits = 0;
    memcpy(&bits, key, sizeof bits);
    dload_i_hex_put(to + n, bits, 16);
    n += 16;
#else
    uint64_t v = (uint64_t)*key;
    if (DLOAD_I_SIGNED && v >> 63 != 0) {
        to[n++] = '-';
        v = 0 - v;
    }
    n += dload_i_dec_put(to + n, v);
#endif
    return n;
}

/* The key in a text without its group; false when there is none. A string's bytes stay where they are. */
DLOAD_I_LOCAL bool DLOAD_I_FN(i_text_key)(const char *text, size_t n, DLOAD_I_K *key)
{
#if DLOAD_I_IS_STRING
    key->ptr = text;
    key->len = n;
    return true;
#elif DLOAD_I_KEY_KIND == DLOAD_I_KIND_BOOL
    *key = (DLOAD_I_K)(n == 1 && text[0] == '1');
    return n == 1 && (text[0] == '0' || text[0] == '1');
#elif DLOAD_I_KEY_KIND == DLOAD_I_KIND_ID128
    uint64_t byte = 0;
    bool ok = n == 2 * sizeof key->bytes;
    for (size_t i = 0; ok && i < sizeof key->bytes; i++) {
        ok = dload_i_hex_get(text + 2 * i, 2, &byte);
        key->bytes[i] = (uint8_t)byte;
    }
    return ok;
#elif DLOAD_I_KEY_KIND == DLOAD_I_KIND_FLOAT || DLOAD_I_KEY_KIND == DLOAD_I_KIND_DOUBLE
    uint64_t bits = 0;
    if (n != 2 * sizeof *key || !dload_i_hex_get(text, n, &bits))
        return false;
#if DLOAD_I_KEY_KIND == DLOAD_I_KIND_FLOAT
    uint32_t half = (uint32_t)bits;
    memcpy(key, &half, sizeof half);
#else
    memcpy(key, &bits, sizeof bits);
#endif
    return true;
#else
    uint64_t v = 0;
    bool negative = DLOAD_I_SIGNED && n != 0 && text[0] == '-';
    if (!dload_i_dec_get(text + negative, n - negative, &v))
        return false;
    *key = (DLOAD_I_K)(negative ? 0 - v : v);
    return true;
#endif
}

/* A key and its group out of their text, without the name before it. DLOAD_OK; DLOAD_EKEY: no text that this
 * loader writes. A string's bytes stay where they are. */
DLOAD_I_LOCAL dload_status DLOAD_I_FN(i_text_parse)(const char *text, size_t n,
                                                    size_t max_key_bytes, uint64_t *group,
                                                    DLOAD_I_K *key)
{
    char again[DLOAD_I_KEYTEXT_MAX];
    dload_str tail;
    size_t at = 0;
    *group = 0;
#if DLOAD_GROUP
    while (at < n && text[at] != ':')
        at++;
    if (at == n || !dload_i_dec_get(text, at, group))
        return DLOAD_EKEY;
    at++;
#endif
    if (!DLOAD_I_FN(i_text_key)(text + at, n - at, key) ||
        DLOAD_I_FN(i_canon)(key, max_key_bytes) < 0)
        return DLOAD_EKEY;
    size_t n_again = DLOAD_I_FN(i_key_text)(again, *group, key, &tail);
    return n_again + tail.len == n && memcmp(again, text, n_again) == 0 ? DLOAD_OK : DLOAD_EKEY;
}

#endif /* DLOAD_I_BODIES && DLOAD_STORE */
#endif /* DLOAD_I_HAVE_KEYTEXT */

/* ==== typed/remove.h ==== */

/* >>remove -- entries leave a shard: one by one, because they expired, or because all was cleared.
 *
 * Everything here works on one shard whose lock is held. What has to be released goes back to the
 * caller, who does it unlocked.
 */
#ifndef DLOAD_I_HAVE_REMOVE
#define DLOAD_I_HAVE_REMOVE

#if DLOAD_I_BODIES && !DLOAD_COMPACT

/* Who the policy gives up, remembered if it wants that; there is somebody. *hash gets as much of the hash of
 * its key as finding its home takes. */
DLOAD_I_LOCAL uint32_t DLOAD_I_FN(i_victim)(DLOAD_I_SHARD *s, uint64_t *hash)
{
    bool remember = false;
    uint32_t slot = dload_i_evict_victim(&s->evict, DLOAD_EVICT, &remember);
    const DLOAD_I_SLOT *e = &s->slots[slot];
    *hash = DLOAD_I_FN(i_home_hash)(s, e);
    if (remember)
        dload_i_ghost_add(&s->evict.ghost,
                          DLOAD_I_IS_STRING ? DLOAD_I_FN(i_hash_of)(e, s->evict.hash_key) : *hash);
    return slot;
}

/* Gives the slot of an entry back that the policy and the counts have let go; hash has what finding its home
 * takes. True when *old is a value that left, for the caller to deal with, unlocked. */
DLOAD_I_INLINE bool DLOAD_I_FN(i_vacate)(DLOAD_I_SHARD *s, uint32_t slot, uint64_t hash,
                                         dload_removal reason, DLOAD_I_FN(removed) * old)
{
    DLOAD_I_SLOT *e = &s->slots[slot];
    bool leaves = DLOAD_I_LEAVES && (DLOAD_I_META(e) & DLOAD_I_META_ERROR) == 0;
    dload_i_group *g = &s->groups[slot / DLOAD_I_GROUP_SLOTS];
    dload_i_group_open(g); /* mutant REMOVED_UNSEEN */
    dload_i_give_slot(s->groups, s->n_groups, hash, slot);
    dload_i_group_shut(g);
#if DLOAD_I_IS_STRING
    if (!(DLOAD_ON_REMOVE && leaves)) /* the hook reads them first */
        dload_i_arena_drop(&s->arena, e->key.ptr, e->key.len);
#endif
    if (leaves)
        DLOAD_I_FN(i_leave)(e, reason, old);
    return leaves;
}

/* Takes an entry out. True when *old is a value that left, for the caller to deal with, unlocked. */
DLOAD_I_NOINLINE bool DLOAD_I_FN(i_remove)(DLOAD_I_SHARD *s, uint32_t slot, dload_removal reason,
                                           DLOAD_I_FN(removed) * old)
{
    const DLOAD_I_SLOT *e = &s->slots[slot];
    const uint32_t meta = DLOAD_I_META(e);
    bool pinned = (meta & DLOAD_I_META_PINNED) != 0;
    s->n_pinned -= pinned;
    if (!pinned)
        dload_i_evict_remove(&s->evict, DLOAD_EVICT, slot);
    bool live = (meta & DLOAD_I_EPOCH_MASK) == s->epoch;
    DLOAD_I_FN(i_unweigh)(s, slot, live);
    s->n_live -= live;
    s->n_live_pinned -= live && pinned;
    s->n_used--;
    if (s->n_used == s->n_live)
        s->since_reap = 0;
    return DLOAD_I_FN(i_vacate)(s, slot, DLOAD_I_FN(i_home_hash)(s, e), reason, old);
}

/* An entry of an older epoch; there is one. */
DLOAD_I_LOCAL uint32_t DLOAD_I_FN(i_stale)(DLOAD_I_SHARD *s)
{
    for (;; s->reap_group = dload_i_next_group(s->reap_group, s->n_groups)) {
        uint32_t first = s->reap_group * DLOAD_I_GROUP_SLOTS;
        for (uint32_t i = 0; i < DLOAD_I_GROUP_SLOTS; i++) {
            if (s->groups[s->reap_group].tags[i] != 0 &&
                DLOAD_I_FN(i_outdated)(s, DLOAD_I_META(&s->slots[first + i])))
                return first + i;
        }
    }
}

/* Is there something to remove that nobody asked for: expired, or of an older epoch? May say yes once a
 * tick for nothing. */
DLOAD_I_INLINE bool DLOAD_I_FN(i_untidy)(const DLOAD_I_SHARD *s, uint64_t now_ns)
{
    bool untidy = DLOAD_I_FN(i_n_outdated)(s) != 0;
#if DLOAD_TTL
    untidy =
        untidy || now_ns >> DLOAD_I_TICK_SHIFT > s->wheel.now || !dload_i_wheel_idle(&s->wheel);
#endif
    (void)now_ns;
    return untidy;
}

#if DLOAD_TTL

/* Looks at up to *left slots whose time has come, and removes what expired; the values go to old[].
 * Returns how many values there are, and whether there is more to look at. */
DLOAD_I_LOCAL uint32_t DLOAD_I_FN(i_expire)(DLOAD_I_SHARD *s, uint64_t now_ns,
                                            DLOAD_I_FN(removed) * old, uint32_t *left, bool *more)
{
    dload_i_wheel *w = &s->wheel;
    uint32_t n_old = 0;
    bool further = true;
    while (*left > 0 && (further || !dload_i_wheel_idle(w))) {
        if (dload_i_wheel_idle(w)) {
            further = dload_i_wheel_turn(w, now_ns >> DLOAD_I_TICK_SHIFT);
            DLOAD_I_STORE_RELAXED(&s->tick, w->now);
        }
        uint32_t first = 0;
        uint32_t looks = dload_i_wheel_next(w, left, &first);
        for (; looks != 0; looks &= looks - 1) {
            uint32_t slot = first + dload_i_ctz32(looks);
            DLOAD_I_SLOT *e = &s->slots[slot];
            uint64_t end = dload_i_wheel_end(w, slot, e->DLOAD_I_DUE);
            if (s->groups[slot / DLOAD_I_GROUP_SLOTS].tags[slot % DLOAD_I_GROUP_SLOTS] == 0 ||
                (DLOAD_I_META(e) & DLOAD_I_META_EXPIRES) == 0) {
                dload_i_wheel_forget(w, slot); /* its entry went before its time */
            } else if (end > w->now) {
                DLOAD_I_FN(i_rearm)(s, slot, end);
            } else {
                dload_i_wheel_forget(w, slot);
                bool live = (DLOAD_I_META(e) & DLOAD_I_EPOCH_MASK) == s->epoch;
                s->expired += live;
                n_old += DLOAD_I_FN(i_remove)(s, slot,
                                              live ? DLOAD_REMOVED_EXPIRED : DLOAD_REMOVED_CLEARED,
                                              DLOAD_I_LEAVES ? &old[n_old] : NULL);
            }
        }
    }
    *more = further || !dload_i_wheel_idle(w);
    return n_old;
}

#endif

/* Removes up to max entries that expired or belong to an older epoch; their values go to old[], where
 * there is room for max (NULL when nobody wants them). Returns how many values there are; *more says that work is left. */
DLOAD_I_NOINLINE uint32_t DLOAD_I_FN(i_tidy)(DLOAD_I_SHARD *s, uint64_t now_ns,
                                             DLOAD_I_FN(removed) * old, uint32_t max, bool *more)
{
    uint32_t n_old = 0;
    uint32_t left = max;
    *more = false;
#if DLOAD_TTL
    n_old = DLOAD_I_FN(i_expire)(s, now_ns, old, &left, more);
#else
    (void)now_ns;
#endif
    while (DLOAD_I_FN(i_n_outdated)(s) != 0 && left >= DLOAD_I_GROUP_SLOTS) {
        uint32_t first = s->reap_group * DLOAD_I_GROUP_SLOTS;
        for (uint32_t i = first; i < first + DLOAD_I_GROUP_SLOTS; i++) {
            if (s->groups[s->reap_group].tags[i - first] != 0 &&
                DLOAD_I_FN(i_outdated)(s, DLOAD_I_META(&s->slots[i])))
                n_old += DLOAD_I_FN(i_remove)(s, i, DLOAD_REMOVED_CLEARED,
                                              DLOAD_I_LEAVES ? &old[n_old] : NULL);
        }
        s->reap_group = dload_i_next_group(s->reap_group, s->n_groups);
        left -= DLOAD_I_GROUP_SLOTS;
    }
    *more = *more || DLOAD_I_FN(i_n_outdated)(s) != 0;
    return n_old;
}

#endif /* DLOAD_I_BODIES && !DLOAD_COMPACT */
#endif /* DLOAD_I_HAVE_REMOVE */

/* ==== typed/stale.h ==== */

/* >>stale -- the times of an entry that may be old, refreshed early, or forgotten for want of readers.
 *
 * With DLOAD_REFRESH an entry has three times. Its TTL ends at end. Until gone it may still be handed out:
 * stale_ns, or stale_error_ns when its fetch fails; the wheel removes it then, or when it was idle for
 * too long. Up to expiry a hit need not look at any of that. What is behind expiry takes the shard's
 * lock and is looked at here: is it to be refreshed early (XFetch: Vattani, Chierichetti and Lowenstein,
 * VLDB 2015), and how much longer does it stay now that it was read? So a hit is as cheap as without.
 *
 * Everything here works on one shard whose lock is held, like table.h.
 */
#ifndef DLOAD_I_HAVE_STALE
#define DLOAD_I_HAVE_STALE

#if DLOAD_I_BODIES && DLOAD_REFRESH

#ifndef DLOAD_I_AGE_NONE
#define DLOAD_I_AGE_NONE  0 /* cannot be handed out */
#define DLOAD_I_AGE_FRESH 1
#define DLOAD_I_AGE_STALE 2 /* past its TTL, and still allowed */
#define DLOAD_I_AGE_SPARE 3 /* only when its fetch fails */

#define DLOAD_I_LAST_TICK (UINT64_MAX >> DLOAD_I_TICK_SHIFT)
#define DLOAD_I_AHEAD_SPAN \
    16u /* delta * beta: what is earlier than so many has no chance to speak of */
#define DLOAD_I_AHEAD_MAX (UINT64_C(1) << 40) /* ns; so that nothing below wraps */
#define DLOAD_I_RETRY_PART \
    16u /* of stale_error_ns: how long a refresh that failed is not tried again, */
#define DLOAD_I_RETRY_MAX ((uint32_t)(DLOAD_SECOND >> DLOAD_I_TICK_SHIFT)) /* and at most */
#endif

/* What the configuration says, in ticks, rounded down: nothing is handed out longer than asked for. */
DLOAD_I_LOCAL void DLOAD_I_FN(i_set_windows)(DLOAD_I_CACHE *c, uint64_t stale_ns, uint64_t error_ns,
                                             uint32_t ahead_pct, uint64_t idle_ns)
{
    const uint64_t longest = DLOAD_I_LAST_TICK / 4;
    c->stale_ticks = stale_ns >> DLOAD_I_TICK_SHIFT;
    c->error_ticks = error_ns >> DLOAD_I_TICK_SHIFT;
    c->stale_ticks = c->stale_ticks < longest ? c->stale_ticks : longest;
    c->error_ticks = c->error_ticks < longest ? c->error_ticks : longest;
    c->keep_ticks = c->stale_ticks > c->error_ticks ? c->stale_ticks : c->error_ticks;
    c->retry_ticks = DLOAD_I_RETRY_MAX;
    if (c->error_ticks != 0 && c->error_ticks / DLOAD_I_RETRY_PART < DLOAD_I_RETRY_MAX)
        c->retry_ticks = (uint32_t)(c->error_ticks / DLOAD_I_RETRY_PART) + 1;
    c->ahead_pct = ahead_pct;
    c->idle_ticks = idle_ns >> DLOAD_I_TICK_SHIFT;
    if (idle_ns != 0) /* a part of a tick cannot be told apart: nothing goes too soon */
        c->idle_ticks = c->idle_ticks < longest ? c->idle_ticks + 1 : 0;
}

/* Now, in ticks; the wheel's time when the clock is behind it. */
DLOAD_I_LOCAL uint64_t DLOAD_I_FN(i_tick)(const DLOAD_I_CACHE *c, const DLOAD_I_SHARD *s)
{
#if DLOAD_CLOCK == DLOAD_CLOCK_MANUAL
    (void)c;
    return s->wheel.now;
#else
    uint64_t tick = DLOAD_I_FN(i_now)(c) >> DLOAD_I_TICK_SHIFT;
    return tick > s->wheel.now ? tick : s->wheel.now;
#endif
}

/* The tick at which the wheel removes an entry that expires. */
DLOAD_I_LOCAL uint64_t DLOAD_I_FN(i_gone)(const DLOAD_I_SHARD *s, const DLOAD_I_SLOT *e)
{
    return dload_i_wheel_end(&s->wheel, (uint32_t)(e - s->slots), e->gone);
}

/* Did a refresh of the entry fail a moment ago? */
DLOAD_I_LOCAL bool DLOAD_I_FN(i_failed_lately)(const DLOAD_I_SLOT *e, uint64_t tick)
{
    return e->retry - (uint32_t)tick - 1 < DLOAD_I_RETRY_MAX;
}

/* May the entry be handed out at tick? */
DLOAD_I_LOCAL int DLOAD_I_FN(i_age)(const DLOAD_I_CACHE *c, const DLOAD_I_SHARD *s,
                                    const DLOAD_I_SLOT *e, uint64_t tick)
{
    if (((DLOAD_I_META(e) ^ s->epoch) & DLOAD_I_EPOCH_MASK) != 0)
        return DLOAD_I_AGE_NONE;
    if ((DLOAD_I_META(e) & DLOAD_I_META_EXPIRES) == 0)
        return DLOAD_I_AGE_FRESH;
    if (tick >= DLOAD_I_FN(i_gone)(s, e))
        return DLOAD_I_AGE_NONE;
    if (tick < e->end)
        return DLOAD_I_AGE_FRESH;
    if ((DLOAD_I_META(e) & DLOAD_I_META_ERROR) != 0)
        return DLOAD_I_AGE_NONE;
    if (tick - e->end < c->stale_ticks)
        return DLOAD_I_AGE_STALE;
    return DLOAD_I_FN(i_failed_lately)(e, tick) ? DLOAD_I_AGE_STALE : DLOAD_I_AGE_SPARE;
}

DLOAD_I_NOINLINE bool DLOAD_I_FN(i_expired_far)(const DLOAD_I_CACHE *c, const DLOAD_I_SHARD *s,
                                                const DLOAD_I_SLOT *e)
{
    uint64_t tick = DLOAD_I_FN(i_tick)(c, s);
    return tick >= e->end || tick >= DLOAD_I_FN(i_gone)(s, e);
}

/* From which tick on early refreshes are drawn for. */
DLOAD_I_LOCAL uint64_t DLOAD_I_FN(i_ahead_from)(const DLOAD_I_CACHE *c, const DLOAD_I_SLOT *e)
{
    uint64_t span_ns = DLOAD_I_LOAD_RELAXED(&c->ahead_ns) * DLOAD_I_AHEAD_SPAN;
    uint64_t span = span_ns >> DLOAD_I_TICK_SHIFT;
    return e->end > span ? e->end - span : 0;
}

/* When an entry goes that everybody reads. */
DLOAD_I_LOCAL uint64_t DLOAD_I_FN(i_latest)(const DLOAD_I_CACHE *c, const DLOAD_I_SLOT *e)
{
    return e->end + ((DLOAD_I_META(e) & DLOAD_I_META_ERROR) != 0 ? 0 : c->keep_ticks);
}

/* When an entry goes that is written or read at tick. */
DLOAD_I_LOCAL uint64_t DLOAD_I_FN(i_goes_at)(const DLOAD_I_CACHE *c, const DLOAD_I_SLOT *e,
                                             uint64_t tick)
{
    uint64_t gone = DLOAD_I_FN(i_latest)(c, e);
    uint64_t idle = tick + c->idle_ticks + c->idle_ticks / 8 + 1;
    return c->idle_ticks != 0 && idle < gone ? idle : gone;
}

/* How far hits need not look at the entry: nobody draws yet, and who reads it need not make it stay. */
DLOAD_I_LOCAL void DLOAD_I_FN(i_set_horizon)(const DLOAD_I_CACHE *c, const DLOAD_I_SHARD *s,
                                             DLOAD_I_SLOT *e)
{
    uint64_t now = s->wheel.now;
    uint64_t gone = DLOAD_I_FN(i_gone)(s, e);
    uint64_t horizon = DLOAD_I_FN(i_ahead_from)(c, e);
    if (gone < DLOAD_I_FN(i_latest)(c, e) && horizon > gone - c->idle_ticks)
        horizon = gone - c->idle_ticks;
    horizon = horizon > now ? horizon : now;
    if (horizon - now > DLOAD_I_WHEEL_ROUND)
        horizon = now + DLOAD_I_WHEEL_ROUND; /* ticks compare as 32-bit numbers */
    DLOAD_I_STORE_RELEASE(&e->expiry, (uint32_t)horizon);
}

DLOAD_I_LOCAL void DLOAD_I_FN(i_schedule)(DLOAD_I_SHARD *s, uint32_t slot, uint64_t gone)
{
    s->slots[slot].gone = dload_i_wheel_arm(&s->wheel, slot, gone);
}

/* Sets the times of the entry in slot, whose meta is otherwise complete. */
DLOAD_I_LOCAL void DLOAD_I_FN(i_arm)(DLOAD_I_CACHE *c, DLOAD_I_SHARD *s, uint32_t slot,
                                     uint64_t now_ns, uint64_t ttl_ns)
{
    DLOAD_I_SLOT *e = &s->slots[slot];
    bool ends = ttl_ns < DLOAD_NEVER - 1;
    if (!ends && c->idle_ticks == 0)
        return;
    uint64_t end_ns = ends ? dload_i_add_ns(now_ns, DLOAD_I_FN(i_jitter)(c, ttl_ns)) : DLOAD_NEVER;
    uint64_t tick = now_ns >> DLOAD_I_TICK_SHIFT;
    tick = tick > s->wheel.now ? tick : s->wheel.now;
    e->end = end_ns >> DLOAD_I_TICK_SHIFT;
    if (e->end > DLOAD_I_LAST_TICK - c->keep_ticks)
        e->end = DLOAD_I_LAST_TICK - c->keep_ticks;
    e->retry = (uint32_t)tick;
    DLOAD_I_META_WRITE(e, DLOAD_I_META(e) | DLOAD_I_META_EXPIRES);
    DLOAD_I_FN(i_schedule)(s, slot, DLOAD_I_FN(i_goes_at)(c, e, tick));
    DLOAD_I_FN(i_set_horizon)(c, s, e);
}

/* The tick at which the slot's entry is gone was far, and has come nearer. A horizon that lies behind
 * stays within reach of 32-bit numbers. */
DLOAD_I_LOCAL void DLOAD_I_FN(i_rearm)(DLOAD_I_SHARD *s, uint32_t slot, uint64_t end)
{
    DLOAD_I_SLOT *e = &s->slots[slot];
    uint32_t now = (uint32_t)s->wheel.now;
    if ((int32_t)(e->expiry - now) < 0)
        DLOAD_I_STORE_RELEASE(&e->expiry, now);
    DLOAD_I_FN(i_schedule)(s, slot, end);
}

/* Is a reader at tick the one who refreshes early? Its chance is e^(-left / (beta * delta)). */
DLOAD_I_LOCAL bool DLOAD_I_FN(i_draw)(const DLOAD_I_CACHE *c, const DLOAD_I_SLOT *e, uint64_t tick)
{
    uint64_t scale_ns = DLOAD_I_LOAD_RELAXED(&c->ahead_ns);
    if (scale_ns == 0 || tick < DLOAD_I_FN(i_ahead_from)(c, e))
        return false;
    uint64_t left_ns = (e->end - tick) << DLOAD_I_TICK_SHIFT;
    uint64_t r = DLOAD_I_FN(i_random)((DLOAD_I_CACHE *)(uintptr_t)c); /* its seed is atomic */
    return (dload_i_neg_ln(r) * scale_ns) >> 16 >= left_ns;
}

/* An entry that is read at tick stays for an idle time from then on; an eighth more, so that few readers have
 * to see to it. */
DLOAD_I_LOCAL void DLOAD_I_FN(i_stay)(const DLOAD_I_CACHE *c, DLOAD_I_SHARD *s, DLOAD_I_SLOT *e,
                                      uint64_t tick)
{
    uint64_t gone = DLOAD_I_FN(i_goes_at)(c, e, tick);
    uint64_t before = DLOAD_I_FN(i_gone)(s, e);
    if (before < gone && before <= tick + c->idle_ticks)
        DLOAD_I_FN(i_schedule)(s, DLOAD_I_FN(i_slot_of)(s, e), gone);
}

/* A reader came by behind the entry's horizon. True when it is a hit, and then it stays as long as a read
 * entry does; false when it is past its time, or when this reader is to refresh it. */
DLOAD_I_NOINLINE bool DLOAD_I_FN(i_hold)(const DLOAD_I_CACHE *c, DLOAD_I_SHARD *s, DLOAD_I_SLOT *e)
{
    uint32_t slot = DLOAD_I_FN(i_slot_of)(s, e);
    uint64_t tick = DLOAD_I_FN(i_tick)(c, s);
    if (DLOAD_I_FN(i_age)(c, s, e, tick) != DLOAD_I_AGE_FRESH)
        return false;
    DLOAD_I_FN(i_stay)(c, s, e, tick);
    DLOAD_I_FN(i_set_horizon)(c, s, e);
    if ((DLOAD_I_META(e) & DLOAD_I_META_ERROR) != 0 || DLOAD_I_FN(i_failed_lately)(e, tick) ||
        !DLOAD_I_FN(i_draw)(c, e, tick))
        return true;
    dload_i_meta_set(&s->evict, slot, DLOAD_I_META(e) | DLOAD_I_META_DRAWN);
    return false;
}

#endif /* DLOAD_I_BODIES && DLOAD_REFRESH */
#endif /* DLOAD_I_HAVE_STALE */

/* ==== typed/removed.h ==== */

/* >>removed -- the end of what left the cache: the hook is told, owned values are released.
 *
 * No lock is held here, except while a string key's bytes are given back.
 */
#ifndef DLOAD_I_HAVE_REMOVED
#define DLOAD_I_HAVE_REMOVED

#if DLOAD_I_BODIES

#if !DLOAD_COMPACT
/* The reason that goes with an entry: whoever comes to remove it, it had been cleared or had expired
 * before that, or not. The shard's lock is held. */
DLOAD_I_INLINE dload_removal DLOAD_I_FN(i_why)(const DLOAD_I_CACHE *c, const DLOAD_I_SHARD *s,
                                               const DLOAD_I_SLOT *e, dload_removal reason)
{
#if DLOAD_ON_REMOVE
    if (DLOAD_I_FN(i_is_dead)(DLOAD_I_META(e)))
        return DLOAD_I_FN(i_died_of)(DLOAD_I_META(e));
    if (DLOAD_I_FN(i_outdated)(s, DLOAD_I_META(e)))
        return DLOAD_REMOVED_CLEARED;
    if (!DLOAD_I_FN(i_valid)(c, s, e))
        return DLOAD_REMOVED_EXPIRED;
#endif
    (void)c;
    (void)s;
    (void)e;
    return reason;
}
#endif

/* The end of a value that left shard s. */
DLOAD_I_LOCAL void DLOAD_I_FN(i_end)(DLOAD_I_CACHE *c, DLOAD_I_SHARD *s, DLOAD_I_FN(removed) * old)
{
#if DLOAD_ON_REMOVE
#if DLOAD_I_IS_STRING
    const DLOAD_I_K key = old->key;
    const bool stored = old->stored;
#endif
    if (c->on_remove != NULL)
        c->on_remove(c->remove_ctx, old);
#endif
    DLOAD_I_FN(i_release)(&old->value);
#if DLOAD_ON_REMOVE && DLOAD_I_IS_STRING
    if (stored && key.len != 0) {
        DLOAD_I_ACQUIRE(&s->lock);
        dload_i_arena_drop(&s->arena, key.ptr, key.len);
        DLOAD_I_RELEASE(&s->lock);
    }
#endif
    (void)c;
    (void)s;
}

/* The end of an item's value that the cache did not take. */
DLOAD_I_LOCAL void DLOAD_I_FN(i_reject)(DLOAD_I_CACHE *c, DLOAD_I_SHARD *s,
                                        const DLOAD_I_FN(item) * item)
{
    DLOAD_I_FN(removed) old;
    old.value = *item->value;
#if DLOAD_ON_REMOVE
    DLOAD_I_FN(i_leave_key)(&old, item);
#if DLOAD_GROUP
    old.group = item->id.group;
#endif
    old.reason = DLOAD_REMOVED_REJECTED;
#endif
    DLOAD_I_FN(i_end)(c, s, &old);
}

#endif /* DLOAD_I_BODIES */
#endif /* DLOAD_I_HAVE_REMOVED */

/* ==== typed/weight.h ==== */

/* >>weight -- entries that are not all alike: some weigh more, some are not to be evicted.
 *
 * A pinned entry is in no queue of the policy, so that an eviction never meets it and costs the same
 * however many are pinned. A call pins an entry, or a weight of 0 does; a call's pin lasts as long as the
 * entry and whatever value it gets.
 *
 * One heavy value may displace many light ones, under locks that let nobody run: the evicted die where
 * they are. A dead entry is out of the queue, weighs nothing and does not expire, and its tag is not its
 * key's any more, so that nobody finds it; it is in a chain through the weights, and whoever evicted it
 * ends its value once no lock is held. So there is no list that could be too short. Values that are plain
 * and that nobody watches just go.
 *
 * Everything here works on one shard whose lock is held, but for _i_drain.
 */
#ifndef DLOAD_I_HAVE_WEIGHT
#define DLOAD_I_HAVE_WEIGHT

#if DLOAD_I_BODIES && !DLOAD_COMPACT

/* ---- pins ---- */

/* Takes an entry out of its queue, or puts it back as a new one. */
DLOAD_I_LOCAL void DLOAD_I_FN(i_set_pinned)(DLOAD_I_SHARD *s, uint32_t slot, bool pinned)
{
    uint32_t meta = dload_i_meta_of(&s->evict, slot);
    if (((meta & DLOAD_I_META_PINNED) != 0) == pinned)
        return;
    bool live = (meta & DLOAD_I_EPOCH_MASK) == s->epoch;
    if (pinned) {
        dload_i_evict_remove(&s->evict, DLOAD_EVICT, slot);
        dload_i_meta_set(&s->evict, slot, (meta & ~DLOAD_I_META_MAIN) | DLOAD_I_META_PINNED);
        s->n_pinned++;
        s->n_live_pinned += live;
    } else {
        dload_i_meta_set(&s->evict, slot, meta & ~(DLOAD_I_META_PINNED | DLOAD_I_META_USES));
        dload_i_evict_insert(&s->evict, DLOAD_EVICT, slot, false);
        s->n_pinned--;
        s->n_live_pinned -= live;
    }
}

/* What a call asks for. */
DLOAD_I_LOCAL void DLOAD_I_FN(i_pin_slot)(DLOAD_I_SHARD *s, uint32_t slot, bool pinned)
{
#if DLOAD_I_WEIGHED
    uint32_t weight = s->weights[slot];
    if (((weight & DLOAD_I_WEIGHT_PIN) != 0) != pinned) {
        s->weights[slot] = weight ^ DLOAD_I_WEIGHT_PIN;
        weight &= DLOAD_I_WEIGHT_MAX;
        s->pinned_weight = pinned ? s->pinned_weight + weight : s->pinned_weight - weight;
    }
    if (s->weights[slot] == 0 && (DLOAD_I_META(&s->slots[slot]) & DLOAD_I_META_ERROR) == 0)
        pinned = true; /* it weighs nothing */
#endif
    DLOAD_I_FN(i_set_pinned)(s, slot, pinned);
}

/* ---- weights ---- */

/* The entry in slot has a new value: item's. */
DLOAD_I_INLINE void DLOAD_I_FN(i_weigh_in)(DLOAD_I_SHARD *s, uint32_t slot,
                                           const DLOAD_I_FN(item) * item)
{
#if DLOAD_I_WEIGHED
    uint32_t pin = s->weights[slot] & DLOAD_I_WEIGHT_PIN;
    DLOAD_I_FN(i_unweigh)(s, slot, true);
    s->weights[slot] = pin | item->weight;
    s->weight += item->weight;
    s->pinned_weight += pin != 0 ? item->weight : 0;
    DLOAD_I_FN(i_set_pinned)(s, slot, pin != 0 || (item->weight == 0 && item->status >= 0));
#endif
    (void)s;
    (void)slot;
    (void)item;
}

#if DLOAD_I_KILLS

/* The entry in slot, which has a value and is not pinned, dies. */
DLOAD_I_LOCAL void DLOAD_I_FN(i_kill)(DLOAD_I_SHARD *s, uint32_t slot, dload_removal reason)
{
    DLOAD_I_SLOT *e = &s->slots[slot];
    dload_i_group *g = &s->groups[slot / DLOAD_I_GROUP_SLOTS];
    uint8_t *tag = &g->tags[slot % DLOAD_I_GROUP_SLOTS];
    bool live = (DLOAD_I_META(e) & DLOAD_I_EPOCH_MASK) == s->epoch;
    dload_i_evict_remove(&s->evict, DLOAD_EVICT, slot);
    DLOAD_I_FN(i_unweigh)(s, slot, live);
    s->n_live -= live;
    s->n_pinned++; /* no queue has it */
    dload_i_group_open(g);
    DLOAD_I_STORE_RELEASE(tag, (uint8_t)(*tag == UINT8_MAX ? 1 : *tag + 1));
    DLOAD_I_META_WRITE(e, ((s->epoch - DLOAD_I_EPOCH_ONE) & DLOAD_I_EPOCH_MASK) |
                              DLOAD_I_META_PINNED | DLOAD_I_META_MAIN |
                              (uint32_t)reason << DLOAD_I_META_REASON);
    dload_i_group_shut(g);
    s->weights[slot] = s->dead;
    s->dead = slot;
    s->n_dead++;
}

/* Takes a dead entry out; there is one. Its value is in *old. */
DLOAD_I_LOCAL bool DLOAD_I_FN(i_bury)(DLOAD_I_SHARD *s, DLOAD_I_FN(removed) * old)
{
    uint32_t slot = s->dead;
    s->dead = s->weights[slot];
    s->n_dead--;
    return DLOAD_I_FN(i_remove)(s, slot, DLOAD_I_FN(i_died_of)(DLOAD_I_META(&s->slots[slot])), old);
}

#define DLOAD_I_DRAIN_MAX 16u /* values that one hold of the lock takes out */

/* Ends all that died in s. No lock is held. */
DLOAD_I_LOCAL void DLOAD_I_FN(i_drain)(DLOAD_I_CACHE *c, DLOAD_I_SHARD *s)
{
    DLOAD_I_FN(removed) old[DLOAD_I_DRAIN_MAX];
    bool more = true;
    while (more) {
        uint32_t n_old = 0;
        DLOAD_I_ACQUIRE(&s->lock);
        while (n_old < DLOAD_I_DRAIN_MAX && s->n_dead != 0)
            n_old += DLOAD_I_FN(i_bury)(s, &old[n_old]);
        more = s->n_dead != 0;
        DLOAD_I_RELEASE(&s->lock);
        for (uint32_t i = 0; i < n_old; i++)
            DLOAD_I_FN(i_end)(c, s, &old[i]);
    }
}

#endif /* DLOAD_I_KILLS */

#if DLOAD_I_WEIGHED

/* The policy gives an entry up for its weight. */
DLOAD_I_LOCAL void DLOAD_I_FN(i_evict_weight)(const DLOAD_I_CACHE *c, DLOAD_I_SHARD *s,
                                              uint32_t slot, DLOAD_I_FN(item) * item)
{
    const DLOAD_I_SLOT *e = &s->slots[slot];
    s->evictions += (DLOAD_I_META(e) & DLOAD_I_EPOCH_MASK) == s->epoch;
#if DLOAD_I_KILLS
    if ((DLOAD_I_META(e) & DLOAD_I_META_ERROR) == 0) {
        DLOAD_I_FN(i_kill)(s, slot, DLOAD_I_FN(i_why)(c, s, e, DLOAD_REMOVED_EVICTED));
        item->dead = true;
        return;
    }
#endif
    (void)DLOAD_I_FN(i_remove)(s, slot, DLOAD_REMOVED_EVICTED, NULL);
    (void)c;
    (void)item;
}

/* Can a value of this weight come in, if everything leaves that may? */
DLOAD_I_LOCAL dload_status DLOAD_I_FN(i_may_weigh)(DLOAD_I_SHARD *s, uint64_t weight)
{
    if (weight > DLOAD_I_WEIGHT_MAX || weight > s->max_weight) {
        s->too_heavy++;
        return DLOAD_ETOOBIG;
    }
    if (weight > s->max_weight - s->pinned_weight)
        return DLOAD_EFULL;
    if (s->evict.kind == DLOAD_EVICT_NONE && weight > s->max_weight - s->weight)
        return DLOAD_EFULL;
    return DLOAD_OK;
}

/* Weighs what comes in, and makes room for it in the place of *at, or beside all others when that is
 * NULL. *at becomes NULL when the policy gave up that very entry, and also when the value cannot come
 * in: then what it was to replace is out of date, and goes. DLOAD_OK, DLOAD_ETOOBIG, DLOAD_EFULL. */
DLOAD_I_LOCAL dload_status DLOAD_I_FN(i_make_light)(const DLOAD_I_CACHE *c, DLOAD_I_SHARD *s,
                                                    DLOAD_I_FN(item) * item, DLOAD_I_SLOT **at)
{
    uint64_t weight = item->status < 0 ? 0 : (uint64_t)(DLOAD_WEIGHT(item->value));
    uint32_t own = *at != NULL ? DLOAD_I_FN(i_slot_of)(s, *at) : DLOAD_I_NO_SLOT;
    uint64_t hash = 0;
    dload_removal why = DLOAD_REMOVED_REPLACED;
    if (*at != NULL) {
        why = DLOAD_I_FN(i_why)(c, s, *at, why);
        uint32_t pin = s->weights[own] & DLOAD_I_WEIGHT_PIN;
        DLOAD_I_FN(i_unweigh)(s, own, !DLOAD_I_FN(i_outdated)(s, DLOAD_I_META(*at)));
        s->weights[own] = pin;
    }
    dload_status st = DLOAD_I_FN(i_may_weigh)(s, weight);
    while (st >= 0 && weight > s->max_weight - s->weight) {
        uint32_t slot = DLOAD_I_FN(i_victim)(s, &hash); /* there is one: not all of it is pinned */
        if (slot == own)
            break;
        DLOAD_I_FN(i_evict_weight)(c, s, slot, item);
    }
    bool itself = st >= 0 && weight > s->max_weight - s->weight;
    if (*at != NULL && (st < 0 || itself)) {
        item->garbage = DLOAD_I_FN(i_remove)(s, own, why, &item->old);
        *at = NULL;
    }
    while (st >= 0 && weight > s->max_weight - s->weight)
        DLOAD_I_FN(i_evict_weight)(c, s, DLOAD_I_FN(i_victim)(s, &hash), item);
    item->weight = (uint32_t)weight;
    return st;
}

#endif /* DLOAD_I_WEIGHED */

#endif /* DLOAD_I_BODIES && !DLOAD_COMPACT */
#endif /* DLOAD_I_HAVE_WEIGHT */

/* ==== typed/read.h ==== */

/* >>read -- a hit without the lock.
 *
 * A reader copies the entry between two looks at the sequence number of its group: even and the same, and
 * key, value and expiry belong together. What it finds that way is a hit, whatever else happens to the
 * table meanwhile. What it does not find proves nothing: an error, an entry that may have expired, or a
 * writer in the way, and the caller looks again under the lock. A key of which there is no trace
 * (DLOAD_MISSING) may be on its way in, unless the caller holds the mutex under which keys come in. Nothing shared is written but the entry's count of uses, and that only when it changes.
 *
 * Table memory stays what it is until the cache is destroyed, grown out of or not, and so do the bytes of
 * string keys: a reader that comes late reads something old, and then finds the sequence changed.
 * tests/models/read.pml is this protocol, with what it rests on taken out bit by bit.
 */
#ifndef DLOAD_I_HAVE_READ
#define DLOAD_I_HAVE_READ

#if DLOAD_I_BODIES && DLOAD_I_LOCKLESS

#define DLOAD_I_READ_TRIES 16u /* then the lock: writers must not starve a reader */
#define DLOAD_I_READ_BYTES \
    512u /* of values that fit between two looks; larger ones take the lock */

/* Is this the entry's key, in memory that may be changing? */
DLOAD_I_INLINE bool DLOAD_I_FN(i_reads_as)(const DLOAD_I_SLOT *e, const DLOAD_I_ID *id)
{
#if DLOAD_GROUP
    if (DLOAD_I_LOAD_ACQUIRE(&e->group) != id->group)
        return false;
#endif
#if DLOAD_I_IS_STRING
    const char *ptr = DLOAD_I_LOAD_ACQUIRE(&e->key.ptr);
    return DLOAD_I_LOAD_ACQUIRE(&e->key.hash_hi) == (uint32_t)(id->hash >> 32) &&
           DLOAD_I_LOAD_ACQUIRE(&e->key.len) == id->key.len &&
           (id->key.len == 0 || dload_i_words_same(ptr, id->key.ptr, id->key.len));
#elif DLOAD_I_KEY_KIND == DLOAD_I_KIND_ID128
    return dload_i_words_same(&e->key, &id->key, sizeof e->key);
#else
    DLOAD_I_K key;
    __atomic_load(&e->key, &key, __ATOMIC_ACQUIRE);
    return DLOAD_I_FN(i_same)(&key, &id->key);
#endif
}

/* May the entry be read as it is: of this epoch, a value, surely not expired? */
DLOAD_I_INLINE bool DLOAD_I_FN(i_surely_fresh)(const DLOAD_I_CACHE *c, const DLOAD_I_SHARD *s,
                                               const DLOAD_I_SLOT *e, uint32_t meta)
{
    uint32_t differs = meta ^ DLOAD_I_LOAD_RELAXED(&s->epoch);
    if (DLOAD_I_UNLIKELY(differs >= DLOAD_I_META_ERROR))
        return false;
#if DLOAD_TTL
    if ((meta & DLOAD_I_META_EXPIRES) != 0) {
        uint32_t expiry = DLOAD_I_LOAD_ACQUIRE(&e->expiry);
        uint64_t turned = DLOAD_I_LOAD_RELAXED(&s->tick);
#if DLOAD_CLOCK == DLOAD_CLOCK_MANUAL
        uint64_t tick = turned;
#else
        uint64_t tick = DLOAD_I_FN(i_now)(c) >> DLOAD_I_TICK_SHIFT;
#endif
        return tick - turned <= DLOAD_I_WHEEL_ROUND && (int32_t)((uint32_t)tick - expiry) < 0;
    }
#endif
    (void)c;
    (void)e;
    return true;
}

/* Counts the use, as far as a reader may. False: the policy wants the lock for that. */
DLOAD_I_INLINE bool DLOAD_I_FN(i_used)(DLOAD_I_SHARD *s, DLOAD_I_SLOT *e, uint32_t meta)
{
#if DLOAD_EVICT == DLOAD_EVICT_LRU && DLOAD_TTL
    /* Moving the entry takes the lock, and is done once a tick; see i_touch. */
    (void)e;
    return (meta & DLOAD_I_META_USES) == (uint8_t)DLOAD_I_LOAD_RELAXED(&s->tick);
#elif DLOAD_EVICT == DLOAD_EVICT_LRU
    (void)e;
    (void)meta;
    return s->max_uses == 0;
#else
    dload_i_count_use(&e->meta, meta, DLOAD_I_MAX_USES(s));
    (void)s;
    return true;
#endif
}

/* The entry of a key in one group, if it is there and can be had; DLOAD_MISSING when it is not there,
 * DLOAD_EBUSY when a writer was in the way, DLOAD_PENDING otherwise. */
DLOAD_I_INLINE dload_status DLOAD_I_FN(i_read_group)(const DLOAD_I_CACHE *c, DLOAD_I_SHARD *s,
                                                     const dload_i_group *g, DLOAD_I_SLOT *slots,
                                                     const dload_i_group *groups,
                                                     const DLOAD_I_ID *id, DLOAD_I_V *out)
{
    enum { UNIT = DLOAD_I_UNIT(sizeof(DLOAD_I_V), DLOAD_I_ALIGNOF(DLOAD_I_V)) };
    uint64_t words[DLOAD_I_WORDS_MAX(sizeof(DLOAD_I_V))];
    size_t seq = DLOAD_I_LOAD_ACQUIRE(&g->seq); /* mutant SEQ_READ_LATE */
    if (DLOAD_I_UNLIKELY((seq & 1u) != 0))
        return DLOAD_EBUSY; /* mutant ODD_SEQ_READ */
    for (dload_i_match m = dload_i_find_tag_shared(g, dload_i_tag(id->hash)); dload_i_match_any(m);
         m = dload_i_match_rest(m)) {
        DLOAD_I_SLOT *e = slots + dload_i_match_first(m);
        if (DLOAD_I_UNLIKELY(!DLOAD_I_FN(i_reads_as)(e, id)))
            continue;
        uint32_t meta = DLOAD_I_LOAD_ACQUIRE(&e->meta);
        if (DLOAD_I_UNLIKELY(!DLOAD_I_FN(i_surely_fresh)(c, s, e, meta)))
            return DLOAD_PENDING;
        dload_i_words_load(words, &e->u.value, sizeof(DLOAD_I_V), UNIT);
        /* The same state from first to last, and of the table that is in use: mutant SEQ_NOT_CHECKED. */
        if (DLOAD_I_UNLIKELY(DLOAD_I_LOAD_RELAXED(&g->seq) != seq ||
                             DLOAD_I_LOAD_RELAXED(&s->groups) != groups))
            return DLOAD_EBUSY;
        if (DLOAD_I_UNLIKELY(!DLOAD_I_FN(i_used)(s, e, meta)))
            return DLOAD_PENDING;
        dload_i_words_give(out, words, sizeof(DLOAD_I_V), UNIT);
#if DLOAD_STATS
        dload_i_stripe_count(c->stripes);
#endif
        return DLOAD_OK;
    }
    return DLOAD_MISSING;
}

/* Keys that live outside their home group. */
DLOAD_I_NOINLINE dload_status DLOAD_I_FN(i_read_far)(const DLOAD_I_CACHE *c, DLOAD_I_SHARD *s,
                                                     DLOAD_I_ID id, DLOAD_I_V *out)
{
    uint32_t n_groups = DLOAD_I_LOAD_ACQUIRE(&s->n_groups);
    const dload_i_group *groups = DLOAD_I_LOAD_ACQUIRE(&s->groups);
    DLOAD_I_SLOT *slots = DLOAD_I_LOAD_ACQUIRE(&s->slots);
    uint32_t reach = DLOAD_I_LOAD_RELAXED(&s->reach); /* too short while a table grows: no harm */
    uint32_t at = dload_i_home(id.hash, n_groups);
    for (uint32_t tried = 1; tried < n_groups && tried < reach; tried++) {
        if (DLOAD_I_LOAD_RELAXED(&groups[at].over[dload_i_class(id.hash)]) == 0)
            break;
        at = dload_i_next_group(at, n_groups);
        dload_status st = DLOAD_I_FN(i_read_group)(
            c, s, &groups[at], slots + (size_t)at * DLOAD_I_GROUP_SLOTS, groups, &id, out);
        if (st != DLOAD_MISSING)
            return st;
    }
    return DLOAD_MISSING;
}

/* A hit's DLOAD_OK and *out; otherwise nothing is known: DLOAD_EBUSY invites to try again, DLOAD_PENDING
 * says that only the lock will tell, and DLOAD_MISSING that nothing was seen. The number of groups is
 * read first: a table that grows is published in the opposite order, so that no home lies outside. */
DLOAD_I_INLINE dload_status DLOAD_I_FN(i_read_free)(const DLOAD_I_CACHE *c, DLOAD_I_SHARD *s,
                                                    const DLOAD_I_ID *id, DLOAD_I_V *out)
{
    if (sizeof(DLOAD_I_V) > DLOAD_I_READ_BYTES)
        return DLOAD_PENDING;
    uint32_t n_groups = DLOAD_I_LOAD_ACQUIRE(&s->n_groups);
    const dload_i_group *groups = DLOAD_I_LOAD_ACQUIRE(&s->groups);
    DLOAD_I_SLOT *slots = DLOAD_I_LOAD_ACQUIRE(&s->slots);
    uint32_t at = dload_i_home(id->hash, n_groups);
    const dload_i_group *g = &groups[at];
    dload_status st = DLOAD_I_FN(i_read_group)(c, s, g, slots + (size_t)at * DLOAD_I_GROUP_SLOTS,
                                               groups, id, out);
    if (DLOAD_I_LIKELY(st != DLOAD_MISSING))
        return st;
    if (DLOAD_I_LOAD_RELAXED(&g->over[dload_i_class(id->hash)]) == 0)
        return DLOAD_MISSING;
    return DLOAD_I_FN(i_read_far)(c, s, *id, out);
}

#endif /* DLOAD_I_BODIES && DLOAD_I_LOCKLESS */
#endif /* DLOAD_I_HAVE_READ */

/* ==== typed/reach.h ==== */

/* >>reach -- how far from its home an entry may live.
 *
 * Whoever knows the hash can choose keys that all want the same place, and each would be put, and looked for,
 * behind all the others: n keys in n * n steps. So no entry is put further than DLOAD_I_REACH groups from
 * its home. A key that finds these full displaces an entry among them, as in a cache of sets: its policy is
 * not asked, since the one that it would choose is somewhere else. Without a policy the key is refused. Keys
 * that nobody chose do not come near this: among 4 million of them, replaced many times, the furthest was 12
 * groups from home. DLOAD_HASH_SIP keeps chosen keys from coming near it, too.
 *
 * Everything here works on one shard whose lock is held.
 */
#ifndef DLOAD_I_HAVE_REACH
#define DLOAD_I_HAVE_REACH

#if DLOAD_I_BODIES && !DLOAD_COMPACT

#define DLOAD_I_REACH 128u /* groups from home; see also DLOAD_I_LONG_PROBE */

/* The entry that is to go so that a key at home in group at finds a place; DLOAD_I_NO_SLOT = none may. One of
 * an older epoch, one that was not used, any other: the first of each kind from home on, in a group that has
 * one. Where in the group the search begins changes, so that not the same place is emptied each time. */
DLOAD_I_LOCAL uint32_t DLOAD_I_FN(i_nearest_victim)(const DLOAD_I_SHARD *s, uint32_t at)
{
    uint32_t turn = (uint32_t)s->long_probes;
    uint32_t best = DLOAD_I_NO_SLOT;
    for (uint32_t tried = 0; tried < DLOAD_I_REACH && best == DLOAD_I_NO_SLOT; tried++) {
        for (uint32_t i = 0; i < DLOAD_I_GROUP_SLOTS; i++) {
            uint32_t slot = at * DLOAD_I_GROUP_SLOTS + (turn + i) % DLOAD_I_GROUP_SLOTS;
            uint32_t meta = DLOAD_I_META(&s->slots[slot]);
            if (DLOAD_I_FN(i_outdated)(s, meta))
                return slot;
            if (s->evict.kind == DLOAD_EVICT_NONE || (meta & DLOAD_I_META_PINNED) != 0)
                continue;
            bool idle = (meta & DLOAD_I_META_USES) == 0;
            if (best == DLOAD_I_NO_SLOT ||
                (idle && (DLOAD_I_META(&s->slots[best]) & DLOAD_I_META_USES) != 0))
                best = slot;
        }
        at = dload_i_next_group(at, s->n_groups);
    }
    return best;
}

/* The home group is full. DLOAD_PENDING: there is a place within reach. DLOAD_OK: there is now, and
 * item->garbage as in _i_put. DLOAD_EFULL: there is none. */
DLOAD_I_COLD dload_status DLOAD_I_FN(i_reach)(const DLOAD_I_CACHE *c, DLOAD_I_SHARD *s,
                                              DLOAD_I_FN(item) * item)
{
    uint32_t home = dload_i_home(item->id.hash, s->n_groups);
    uint32_t far = 0;
    for (uint32_t at = home; far < DLOAD_I_REACH && far < s->n_groups; far++) {
        if (dload_i_match_any(dload_i_find_tag(&s->groups[at], 0)))
            break;
        at = dload_i_next_group(at, s->n_groups);
    }
    if (far < DLOAD_I_REACH)
        return DLOAD_PENDING;
    s->long_probes++;
    uint32_t slot = DLOAD_I_FN(i_nearest_victim)(s, home);
    if (slot == DLOAD_I_NO_SLOT)
        return DLOAD_EFULL;
    s->evictions += !DLOAD_I_FN(i_outdated)(s, DLOAD_I_META(&s->slots[slot]));
    dload_removal why = DLOAD_I_FN(i_why)(c, s, &s->slots[slot], DLOAD_REMOVED_EVICTED);
    item->garbage = DLOAD_I_FN(i_remove)(s, slot, why, &item->old);
    return DLOAD_OK;
}

/* Is the key's home group full, where keys have been far from home before? The first that finds no place
 * without that is refused: so that this costs nothing where it never comes to that. */
DLOAD_I_INLINE bool DLOAD_I_FN(i_crowded)(const DLOAD_I_SHARD *s, uint64_t hash)
{
    return DLOAD_I_UNLIKELY(s->long_probes != 0) &&
           !dload_i_match_any(dload_i_find_tag(&s->groups[dload_i_home(hash, s->n_groups)], 0));
}

#endif /* DLOAD_I_BODIES && !DLOAD_COMPACT */
#endif /* DLOAD_I_HAVE_REACH */

/* ==== typed/store.h ==== */

/* >>store -- a shard's memory: its layout, its growth, and the entry that comes in.
 *
 * Everything here works on one shard whose lock is held, like table.h.
 */
#ifndef DLOAD_I_HAVE_STORE
#define DLOAD_I_HAVE_STORE

#if DLOAD_I_BODIES && !DLOAD_COMPACT

/* ---- memory ---- */

/* At the end of a block that a table has grown out of, where readers have no lock: they may look at it
 * until the shard is destroyed. */
typedef struct DLOAD_I_FN(i_outgrown) {
    void *next; /* the end of the block before */
    size_t n_bytes;
} DLOAD_I_FN(i_outgrown);

/* A reader without the lock may come to a slot before any key does, and what memory held before may look
 * like one, whose bytes are long gone: mutant SLOTS_NOT_ZEROED. */
DLOAD_I_INLINE void DLOAD_I_FN(i_blank_slots)(DLOAD_I_SLOT *slots, size_t n_slots)
{
#if DLOAD_I_IS_STRING && DLOAD_I_LOCKLESS
    memset(slots, 0, n_slots * sizeof *slots);
#endif
    (void)slots;
    (void)n_slots;
}

/* One block for all arrays of a shard of cap entries. False when there is no memory; then the shard is
 * as it was. The old block, if any, stays the caller's. */
DLOAD_I_COLD bool DLOAD_I_FN(i_shard_alloc)(const dload_env *env, DLOAD_I_SHARD *s, uint32_t cap,
                                            uint32_t kind)
{
    uint32_t n_groups = dload_i_groups_for(cap);
    size_t n_slots = dload_i_slots_for(cap);
    uint32_t ghosts = dload_i_ghost_limit(kind, cap);
    size_t total = 0;
    size_t slots_at = dload_i_carve(&total, n_slots, sizeof(DLOAD_I_SLOT));
    size_t links_at =
        dload_i_carve(&total, dload_i_evict_has_links(kind) ? n_slots : 0, sizeof(dload_i_link));
    bool queues = dload_i_evict_has_queues(kind);
#if DLOAD_TTL
    size_t n_blocks = dload_i_wheel_blocks_for(n_slots);
    size_t blocks_at = dload_i_carve(&total, n_blocks, sizeof(dload_i_wheel_block));
#endif
    size_t zeroed_at = dload_i_carve(&total, n_groups, sizeof(dload_i_group));
    size_t refs_at = dload_i_carve(&total, queues ? dload_i_fifo_chunks(cap) : 0,
                                   (DLOAD_I_CHAIN + 1) * sizeof(uint32_t));
    size_t more_at =
        dload_i_carve(&total, queues ? dload_i_fifo_more_size(cap) : 0, sizeof(dload_i_more));
    size_t ghost_at =
        dload_i_carve(&total, dload_i_ghost_pieces(ghosts), sizeof(dload_i_ghost_bucket));
    bool adaptive = DLOAD_EVICT == DLOAD_EVICT_ADAPTIVE && kind == DLOAD_EVICT_ADAPTIVE;
    size_t adaptive_at = dload_i_carve(&total, adaptive, sizeof(dload_i_adaptive));
    size_t words_at = dload_i_carve(&total, adaptive ? dload_i_adaptive_words(cap, n_slots) : 0,
                                    sizeof(uint32_t));
#if DLOAD_TTL
    size_t lanes_at = dload_i_carve(&total, n_blocks, DLOAD_I_WHEEL_LANES * sizeof(uint32_t));
#endif
#if DLOAD_I_WEIGHED
    size_t weights_at = dload_i_carve(&total, n_slots, sizeof(uint32_t));
#endif
    const size_t more = 64 + sizeof(DLOAD_I_FN(i_outgrown));
    if (total > SIZE_MAX - more)
        return false;
    char *block = (char *)dload_i_alloc(env, total + more);
    if (block == NULL)
        return false;
    char *base = (char *)(((uintptr_t)block + 63) & ~(uintptr_t)63);
    memset(base + zeroed_at, 0, total - zeroed_at);
    s->block = block;
    s->block_bytes = total + more;
    s->n_groups = n_groups;
    s->groups = (dload_i_group *)(void *)(base + zeroed_at);
    s->slots = (DLOAD_I_SLOT *)(void *)(base + slots_at);
    DLOAD_I_FN(i_blank_slots)(s->slots, n_slots);
    s->cap = cap;
    s->reach = DLOAD_I_REACH;
    s->reap_group = 0;
    s->evict.links =
        dload_i_evict_has_links(kind) ? (dload_i_link *)(void *)(base + links_at) : NULL;
    if (queues)
        dload_i_fifos_init(&s->evict.queues, cap, (uint32_t *)(void *)(base + refs_at),
                           (dload_i_more *)(void *)(base + more_at), s->groups);
    s->evict.meta = base + slots_at;
    s->evict.stride_bytes = sizeof(DLOAD_I_SLOT);
    s->evict.hash_of = DLOAD_I_FN(i_hash_of);
    dload_i_evict_init(&s->evict, kind, cap);
    dload_i_ghost_init(&s->evict.ghost, ghosts, base + ghost_at);
    s->evict.adaptive = adaptive ? (dload_i_adaptive *)(void *)(base + adaptive_at) : NULL;
    if (adaptive)
        dload_i_adaptive_init(s->evict.adaptive, (uint32_t *)(void *)(base + words_at), cap);
#if DLOAD_TTL
    s->wheel.blocks = (dload_i_wheel_block *)(void *)(base + blocks_at);
    s->wheel.lanes = (uint32_t *)(void *)(base + lanes_at);
    dload_i_wheel_init(&s->wheel, n_slots, s->wheel.now);
#endif
#if DLOAD_I_WEIGHED
    s->weights = (uint32_t *)(void *)(base + weights_at);
#endif
    return true;
}

/* Gives the shard's block back, or keeps it for readers. */
DLOAD_I_LOCAL void DLOAD_I_FN(i_outgrow)(const dload_env *env, DLOAD_I_SHARD *s)
{
#if DLOAD_I_LOCKLESS
    DLOAD_I_FN(i_outgrown) last = {s->outgrown, s->block_bytes};
    memcpy((char *)s->block + s->block_bytes - sizeof last, &last, sizeof last);
    s->outgrown = (char *)s->block + s->block_bytes - sizeof last;
    s->outgrown_bytes += s->block_bytes;
    (void)env;
#else
    dload_i_free(env, s->block, s->block_bytes);
#endif
}

DLOAD_I_LOCAL void DLOAD_I_FN(i_free_outgrown)(const dload_env *env, DLOAD_I_SHARD *s)
{
#if DLOAD_I_LOCKLESS
    while (s->outgrown != NULL) {
        DLOAD_I_FN(i_outgrown) last;
        memcpy(&last, s->outgrown, sizeof last);
        dload_i_free(env, (char *)s->outgrown + sizeof last - last.n_bytes, last.n_bytes);
        s->outgrown = last.next;
    }
#endif
    (void)env;
    (void)s;
}

/* The shard lives in wide's memory from now on. Published so that a reader who sees the new number of
 * groups also sees the new arrays: mutant GROWN_BACKWARDS. */
DLOAD_I_LOCAL void DLOAD_I_FN(i_move_in)(const dload_env *env, DLOAD_I_SHARD *s,
                                         const DLOAD_I_SHARD *wide)
{
    DLOAD_I_FN(i_outgrow)(env, s);
    DLOAD_I_STORE_RELAXED(&s->reach, wide->reach);
    DLOAD_I_STORE_RELEASE(&s->slots, wide->slots);
    DLOAD_I_STORE_RELEASE(&s->groups, wide->groups);
    DLOAD_I_STORE_RELEASE(&s->n_groups, wide->n_groups);
    s->cap = wide->cap;
    s->reap_group = wide->reap_group;
    s->block = wide->block;
    s->block_bytes = wide->block_bytes;
    s->evict = wide->evict;
#if DLOAD_I_WEIGHED
    s->weights = wide->weights;
#endif
#if DLOAD_TTL
    s->wheel = wide->wheel;
#endif
}

/* Doubles an unbounded shard: every entry finds a place in a table twice the size. */
DLOAD_I_COLD bool DLOAD_I_FN(i_grow)(const DLOAD_I_CACHE *c, DLOAD_I_SHARD *s)
{
    DLOAD_I_SHARD wide; /* readers go on in the old table until the new one is complete */
    memset(&wide, 0, sizeof wide);
#if DLOAD_TTL
    wide.wheel.now = s->wheel.now;
#endif
    if (s->cap > (UINT32_C(1) << 29) ||
        !DLOAD_I_FN(i_shard_alloc)(c->env, &wide, s->cap * 2, DLOAD_EVICT_NONE))
        return false;
    wide.evict.hash_key = s->evict.hash_key;
    uint32_t n_slots = s->n_groups * DLOAD_I_GROUP_SLOTS;
    for (uint32_t i = 0; i < n_slots; i++) {
        if (s->groups[i / DLOAD_I_GROUP_SLOTS].tags[i % DLOAD_I_GROUP_SLOTS] == 0)
            continue;
        const DLOAD_I_SLOT *e = &s->slots[i];
        uint64_t hash = DLOAD_I_FN(i_hash_of)(e, s->evict.hash_key);
        uint32_t slot =
            dload_i_take_far(wide.groups, wide.n_groups, hash, UINT32_MAX, &wide.long_probes);
        wide.slots[slot] = *e;
        uint32_t far = dload_i_groups_passed(wide.n_groups, hash, slot);
        wide.reach = far < wide.reach ? wide.reach : far + 1;
#if DLOAD_I_WEIGHED
        wide.weights[slot] = s->weights[i];
#endif
#if DLOAD_TTL
        if ((DLOAD_I_META(e) & DLOAD_I_META_EXPIRES) != 0)
            wide.slots[slot].DLOAD_I_DUE = dload_i_wheel_arm(
                &wide.wheel, slot, dload_i_wheel_end(&s->wheel, i, e->DLOAD_I_DUE));
#endif
        dload_i_group_shut(&wide.groups[slot / DLOAD_I_GROUP_SLOTS]);
    }
    DLOAD_I_FN(i_move_in)(c->env, s, &wide);
    return true;
}

/* ... for an entry that finds no room. */
DLOAD_I_LOCAL dload_status DLOAD_I_FN(i_grow_for)(const DLOAD_I_CACHE *c, DLOAD_I_SHARD *s,
                                                  DLOAD_I_FN(item) * item)
{
    if (!DLOAD_I_FN(i_grow)(c, s))
        return DLOAD_ENOMEM;
    return DLOAD_I_FN(i_reach)(c, s, item) == DLOAD_EFULL ? DLOAD_EFULL : DLOAD_OK;
}

/* ---- the entry that comes in ---- */

/* The words of a live slot, as readers without the lock want them written. */
DLOAD_I_INLINE void DLOAD_I_FN(i_write_value)(DLOAD_I_SLOT *e, const DLOAD_I_V *value)
{
#if DLOAD_I_LOCKLESS
    dload_i_words_store(&e->u.value, value, sizeof *value,
                        DLOAD_I_UNIT(sizeof *value, DLOAD_I_ALIGNOF(DLOAD_I_V)));
#else
    e->u.value = *value;
#endif
}

DLOAD_I_INLINE void DLOAD_I_FN(i_write_key)(DLOAD_I_SLOT *e, const DLOAD_I_ID *id,
                                            const char *bytes)
{
#if DLOAD_GROUP
    DLOAD_I_STORE_RELEASE(&e->group, id->group);
#endif
#if DLOAD_I_IS_STRING
    DLOAD_I_STORE_RELEASE(&e->key.ptr, bytes);
    DLOAD_I_STORE_RELEASE(&e->key.len, (uint32_t)id->key.len);
    DLOAD_I_STORE_RELEASE(&e->key.hash_hi, (uint32_t)(id->hash >> 32));
#elif !DLOAD_I_LOCKLESS
    e->key = id->key;
#elif DLOAD_I_KEY_KIND == DLOAD_I_KIND_ID128
    dload_i_words_store(&e->key, &id->key, sizeof e->key, 8);
#else
    __atomic_store(&e->key, (DLOAD_I_K *)(uintptr_t)&id->key, __ATOMIC_RELEASE);
#endif
    (void)bytes;
}

/* Writes what the entry is; its key and the rest of its meta word are there. */
DLOAD_I_INLINE void DLOAD_I_FN(i_fill)(DLOAD_I_CACHE *c, DLOAD_I_SHARD *s, uint32_t slot,
                                       const DLOAD_I_FN(item) * item)
{
    DLOAD_I_SLOT *e = &s->slots[slot];
    if (item->status < 0) {
        DLOAD_I_META_WRITE(e, DLOAD_I_META(e) | DLOAD_I_META_ERROR);
        DLOAD_I_STORE_RELEASE(&e->u.status, item->status);
    } else {
        DLOAD_I_FN(i_write_value)(e, item->value);
    }
#if DLOAD_TTL
    DLOAD_I_FN(i_arm)(c, s, slot, item->now_ns, item->ttl_ns);
#endif
    DLOAD_I_FN(i_weigh_in)(s, slot, item);
    (void)c;
}

/* An entry that is there is to have a new value: what it has leaves, and its group is open from now on. Its
 * uses stay: writing is not reading. */
DLOAD_I_NOINLINE void DLOAD_I_FN(i_reopen)(DLOAD_I_CACHE *c, DLOAD_I_SHARD *s, uint32_t slot,
                                           DLOAD_I_FN(item) * item)
{
    DLOAD_I_SLOT *e = &s->slots[slot];
    uint32_t meta = DLOAD_I_META(e);
    if (DLOAD_I_LEAVES && (meta & DLOAD_I_META_ERROR) == 0) {
        DLOAD_I_FN(i_leave)(e, DLOAD_I_FN(i_why)(c, s, e, DLOAD_REMOVED_REPLACED), &item->old);
        DLOAD_I_FN(i_leave_key)(&item->old, item); /* the entry keeps its own */
        item->garbage = true;
    }
    uint32_t keep = DLOAD_I_META_USES | DLOAD_I_META_MAIN | DLOAD_I_META_PINNED;
    bool cleared = (meta & DLOAD_I_EPOCH_MASK) != s->epoch;
    if (cleared) {
        s->n_live++; /* an entry from before a clear_all comes back to life, as a new one */
        DLOAD_I_FN(i_unweigh)(s, slot, false);
        if ((meta & DLOAD_I_META_PINNED) != 0)
            s->n_pinned--;
        else
            dload_i_evict_remove(&s->evict, DLOAD_EVICT, slot);
        keep = 0;
    }
    dload_i_group *g = &s->groups[slot / DLOAD_I_GROUP_SLOTS];
    dload_i_group_open(g); /* mutant REPLACED_UNSEEN */
    DLOAD_I_META_WRITE(e, (meta & keep) | s->epoch);
    if (cleared)
        dload_i_evict_insert(&s->evict, DLOAD_EVICT, slot, false);
    (void)c;
}

/* The policy's choice leaves. Nothing is cleared: every entry is live. */
DLOAD_I_LOCAL void DLOAD_I_FN(i_evict)(const DLOAD_I_CACHE *c, DLOAD_I_SHARD *s,
                                       DLOAD_I_FN(item) * item)
{
    uint64_t hash = 0;
    uint32_t slot = DLOAD_I_FN(i_victim)(s, &hash);
    dload_removal why = DLOAD_I_FN(i_why)(c, s, &s->slots[slot], DLOAD_REMOVED_EVICTED);
    dload_i_evict_pop(&s->evict, DLOAD_EVICT, slot);
    DLOAD_I_FN(i_unweigh)(s, slot, true);
    item->garbage = DLOAD_I_FN(i_vacate)(s, slot, hash, why, &item->old);
    s->n_live--;
    s->n_used--;
    s->evictions++;
}

/* Room for one more entry: at capacity somebody leaves, and where too many keys want the same place.
 * DLOAD_EFULL when nobody may, DLOAD_ENOMEM. */
DLOAD_I_LOCAL dload_status DLOAD_I_FN(i_make_room)(const DLOAD_I_CACHE *c, DLOAD_I_SHARD *s,
                                                   DLOAD_I_FN(item) * item)
{
    if (DLOAD_I_UNLIKELY(DLOAD_I_FN(i_crowded)(s, item->id.hash))) {
        dload_status st = DLOAD_I_FN(i_reach)(c, s, item);
        if (st == DLOAD_EFULL && c->unbounded && s->n_used > s->cap / 2)
            return DLOAD_I_FN(i_grow_for)(c, s, item); /* it may be the table that is small */
        if (st != DLOAD_PENDING)
            return st;
    }
    if (s->n_used < s->cap)
        return DLOAD_OK;
#if DLOAD_I_KILLS
    if (s->n_dead != 0) {
        item->garbage = DLOAD_I_FN(i_bury)(s, &item->old);
        return DLOAD_OK;
    }
#endif
    if (s->n_used > s->n_live) { /* what was cleared goes before anything that is there */
        item->garbage =
            DLOAD_I_FN(i_remove)(s, DLOAD_I_FN(i_stale)(s), DLOAD_REMOVED_CLEARED, &item->old);
        return DLOAD_OK;
    }
    if (c->unbounded)
        return DLOAD_I_FN(i_grow_for)(c, s, item);
    if (s->evict.kind == DLOAD_EVICT_NONE || s->n_pinned == s->n_used)
        return DLOAD_EFULL;
    DLOAD_I_FN(i_evict)(c, s, item);
    return DLOAD_OK;
}

/* A place for an entry that is not there, with its key; evicts when full. *slot, whose group is open from
 * now on. */
DLOAD_I_LOCAL dload_status DLOAD_I_FN(i_make_entry)(const DLOAD_I_CACHE *c, DLOAD_I_SHARD *s,
                                                    DLOAD_I_FN(item) * item, uint32_t *slot)
{
    const char *bytes = NULL;
#if DLOAD_I_IS_STRING
    if (!dload_i_arena_put(&s->arena, item->id.key.ptr, item->id.key.len, &bytes))
        return DLOAD_ENOMEM;
#endif
    bool was_ghost = dload_i_evict_meet(&s->evict, DLOAD_EVICT, item->id.hash, s->n_used >= s->cap);
    dload_status st = DLOAD_I_FN(i_make_room)(c, s, item);
    uint32_t at = DLOAD_I_NO_SLOT;
    if (DLOAD_I_LIKELY(st >= 0)) {
        at = dload_i_take_slot(s->groups, s->n_groups, item->id.hash, s->reach, &s->long_probes);
        if (DLOAD_I_UNLIKELY(at == DLOAD_I_NO_SLOT))
            st = DLOAD_EFULL;
    }
    if (DLOAD_I_UNLIKELY(st < 0)) {
#if DLOAD_I_IS_STRING
        dload_i_arena_drop(&s->arena, bytes, item->id.key.len);
#endif
        return st;
    }
    DLOAD_I_SLOT *e = &s->slots[at];
    DLOAD_I_FN(i_write_key)(e, &item->id, bytes);
    DLOAD_I_META_WRITE(e, s->epoch);
    s->n_used++;
    s->n_live++;
    dload_i_evict_insert(&s->evict, DLOAD_EVICT, at, was_ghost);
    *slot = at;
    return DLOAD_OK;
}

/* Puts an entry in place of an older one of the same key, or as a new one; evicts when full.
 * DLOAD_OK, and item->value now belongs to the cache; DLOAD_EFULL, DLOAD_ENOMEM or, while changes of keys may
 * go unheard, DLOAD_ECANCELED, and it does not.
 * In either case item->garbage says that item->old is to be released, unlocked. */
DLOAD_I_NOINLINE dload_status DLOAD_I_FN(i_put)(DLOAD_I_CACHE *c, DLOAD_I_SHARD *s,
                                                DLOAD_I_FN(item) * item)
{
    dload_status st = DLOAD_OK;
    uint32_t slot = 0;
    bool more = false;
    item->garbage = false;
#if DLOAD_I_KILLS
    item->dead = false;
#endif
#if DLOAD_STORE
    if (DLOAD_I_UNLIKELY(DLOAD_I_LOAD_RELAXED(&c->deaf)))
        return DLOAD_ECANCELED; /* mutant DEAF_CACHES */
#endif
    if (!DLOAD_I_LEAVES && DLOAD_I_UNLIKELY(DLOAD_I_FN(i_untidy)(s, item->now_ns)))
        (void)DLOAD_I_FN(i_tidy)(s, item->now_ns, NULL, DLOAD_I_GROUP_SLOTS, &more);
    dload_i_evict_prefetch_key(&s->evict, DLOAD_EVICT, item->id.hash);
    DLOAD_I_SLOT *e = DLOAD_I_FN(i_find)(s, &item->id);
#if DLOAD_I_WEIGHED
    st = DLOAD_I_FN(i_make_light)(c, s, item, &e);
#endif
    if (e != NULL && st >= 0) {
        slot = DLOAD_I_FN(i_slot_of)(s, e);
        DLOAD_I_FN(i_reopen)(c, s, slot, item); /* mutant REPLACED_UNSEEN */
    } else if (st >= 0) {
        st = DLOAD_I_FN(i_make_entry)(c, s, item, &slot);
    }
    if (DLOAD_I_UNLIKELY(st < 0)) {
        s->skipped++;
        return st;
    }
    DLOAD_I_FN(i_fill)(c, s, slot, item);
    dload_i_group_shut(&s->groups[slot / DLOAD_I_GROUP_SLOTS]);
    return DLOAD_OK;
}

#endif /* DLOAD_I_BODIES && !DLOAD_COMPACT */
#endif /* DLOAD_I_HAVE_STORE */

/* ==== typed/compact.h ==== */

/* >>compact -- the table of DLOAD_COMPACT: slots and chains. Finds, expires, removes.
 *
 * It stands in for table.h, remove.h, weight.h, reach.h and store.h, and has the same functions for those above.
 * Where ticks have 44 bits nothing ever wraps, so that nobody has to come by in time: an entry past its end is
 * no hit, and its place is found when one is needed, or by _advance.
 *
 * Everything here works with the lock held. What has to be released goes back to the caller, who does it
 * unlocked; a value for which there is no way back just now waits in a chain of the dead.
 */
#ifndef DLOAD_I_HAVE_COMPACT
#define DLOAD_I_HAVE_COMPACT

#if DLOAD_I_BODIES && DLOAD_COMPACT

#define DLOAD_I_META(e) ((uint32_t)(e)->meta)

/* ---- finding ---- */

/* Where the link to the first slot of a hash's chain is. */
DLOAD_I_INLINE uint16_t *DLOAD_I_FN(i_head)(const DLOAD_I_SHARD *s, uint64_t hash)
{
    return &s->heads[(uint32_t)(hash >> 32) & s->mask];
}

/* The entry of a key, expired or not, or NULL. */
DLOAD_I_NOINLINE DLOAD_I_SLOT *DLOAD_I_FN(i_locate)(const DLOAD_I_SHARD *s, const DLOAD_I_ID *id)
{
    for (uint32_t at = *DLOAD_I_FN(i_head)(s, id->hash); at != DLOAD_I_CHAIN_END;) {
        DLOAD_I_SLOT *e = &s->slots[at];
        if (DLOAD_I_FN(i_same)(&e->key, &id->key))
            return e;
        at = e->next;
    }
    return NULL;
}

DLOAD_I_INLINE uint32_t DLOAD_I_FN(i_slot_of)(const DLOAD_I_SHARD *s, const DLOAD_I_SLOT *e)
{
    return (uint32_t)(e - s->slots);
}

/* ---- time ---- */

#if DLOAD_TTL

/* Has an entry ended by tick? */
DLOAD_I_INLINE bool DLOAD_I_FN(i_ended)(const DLOAD_I_SLOT *e, uint64_t tick)
{
    uint32_t meta = e->meta;
    if ((meta & DLOAD_I_CHAIN_ENDS) == 0)
        return false;
    return tick >= ((uint64_t)(meta & DLOAD_I_END_HIGH) << 32 | e->end);
}

/* Now, in ticks; a clock that went back does not take time along. */
DLOAD_I_LOCAL uint64_t DLOAD_I_FN(i_tick)(const DLOAD_I_CACHE *c)
{
    uint64_t tick = dload_i_tick_of(DLOAD_I_FN(i_time)(c));
    return tick > c->one.tick ? tick : c->one.tick;
}

/* Sets the end of an entry that has none. */
DLOAD_I_LOCAL void DLOAD_I_FN(i_arm)(DLOAD_I_CACHE *c, DLOAD_I_SLOT *e, uint64_t now_ns,
                                     uint64_t ttl_ns)
{
    if (ttl_ns >= DLOAD_NEVER - 1)
        return;
    uint64_t end = dload_i_tick_of(dload_i_add_ns(now_ns, DLOAD_I_FN(i_jitter)(c, ttl_ns)));
    e->end = (uint32_t)end;
    e->meta = (uint16_t)(e->meta | DLOAD_I_CHAIN_ENDS | (uint32_t)(end >> 32));
    if (end < c->one.soonest)
        c->one.soonest = end;
}

#endif /* DLOAD_TTL */

/* Is the entry there for a reader? */
DLOAD_I_INLINE bool DLOAD_I_FN(i_valid)(const DLOAD_I_CACHE *c, const DLOAD_I_SHARD *s,
                                        const DLOAD_I_SLOT *e)
{
    (void)c;
    (void)s;
    (void)e;
#if DLOAD_TTL
    return (e->meta & DLOAD_I_CHAIN_ENDS) == 0 || !DLOAD_I_FN(i_ended)(e, DLOAD_I_FN(i_tick)(c));
#else
    return true;
#endif
}

/* The reason that goes with an entry: whoever comes to remove it, it had expired before that, or not. */
DLOAD_I_INLINE dload_removal DLOAD_I_FN(i_why)(const DLOAD_I_CACHE *c, const DLOAD_I_SHARD *s,
                                               const DLOAD_I_SLOT *e, dload_removal reason)
{
    return DLOAD_ON_REMOVE && !DLOAD_I_FN(i_valid)(c, s, e) ? DLOAD_REMOVED_EXPIRED : reason;
}

/* ---- reading ---- */

/* A hit: DLOAD_OK and *out, or the cached error. A miss: DLOAD_PENDING. An interrupt handler may be here while
 * the program is anywhere but between DLOAD_I_ACQUIRE and DLOAD_I_RELEASE: it writes a bit that says "used", and a
 * counter, and so may the program, which then loses one of the two. */
DLOAD_I_LOCAL dload_status DLOAD_I_FN(i_read)(const DLOAD_I_CACHE *c, DLOAD_I_SHARD *s,
                                              const DLOAD_I_ID *id, DLOAD_I_V *out)
{
    DLOAD_I_SLOT *e = DLOAD_I_FN(i_locate)(s, id);
    if (e == NULL || !DLOAD_I_FN(i_valid)(c, s, e))
        return DLOAD_PENDING;
#if DLOAD_EVICT == DLOAD_EVICT_CLOCK
    e->meta = (uint16_t)(e->meta | DLOAD_I_CHAIN_USED);
#endif
    DLOAD_I_COUNT_HIT(s);
    if ((e->meta & DLOAD_I_META_ERROR) != 0) {
        dload_status st = (dload_status)e->u.status;
        return st < 0 ? st : DLOAD_ECORRUPT; /* so that compilers see: no success without a value */
    }
    return DLOAD_I_FN(i_copy)(out, &e->u.value);
}

/* ---- removing ---- */

/* Takes a slot out of its chain, and out of the counts. */
DLOAD_I_LOCAL DLOAD_I_SLOT *DLOAD_I_FN(i_unlink)(DLOAD_I_SHARD *s, uint32_t slot)
{
    DLOAD_I_SLOT *e = &s->slots[slot];
    uint16_t *link = DLOAD_I_FN(i_head)(s, DLOAD_I_FN(i_hash)(e->key));
    while (*link != slot)
        link = &s->slots[*link].next;
    *link = e->next;
    s->n_live--;
    s->n_pinned = (uint16_t)(s->n_pinned - ((e->meta & DLOAD_I_CHAIN_PINNED) != 0));
    return e;
}

DLOAD_I_INLINE void DLOAD_I_FN(i_give)(DLOAD_I_SHARD *s, uint32_t slot)
{
    DLOAD_I_SLOT *e = &s->slots[slot];
    e->meta = DLOAD_I_META_ERROR;
    e->next = s->vacant;
    s->vacant = (uint16_t)slot;
}

/* Takes an entry out. True when *old is a value that left, for the caller to deal with, unlocked. */
DLOAD_I_NOINLINE bool DLOAD_I_FN(i_remove)(DLOAD_I_SHARD *s, uint32_t slot, dload_removal reason,
                                           DLOAD_I_FN(removed) * old)
{
    const DLOAD_I_SLOT *e = DLOAD_I_FN(i_unlink)(s, slot);
    bool leaves = DLOAD_I_LEAVES && (e->meta & DLOAD_I_META_ERROR) == 0;
    if (leaves)
        DLOAD_I_FN(i_leave)(e, reason, old);
    DLOAD_I_FN(i_give)(s, slot);
    return leaves;
}

/* The same where nobody takes the value: it waits. */
DLOAD_I_LOCAL void DLOAD_I_FN(i_discard)(DLOAD_I_SHARD *s, uint32_t slot, dload_removal reason)
{
#if DLOAD_I_LEAVES
    DLOAD_I_SLOT *e = DLOAD_I_FN(i_unlink)(s, slot);
    if ((e->meta & DLOAD_I_META_ERROR) == 0) {
        e->meta = (uint16_t)reason;
        e->next = s->dead;
        s->dead = (uint16_t)slot;
        return;
    }
    DLOAD_I_FN(i_give)(s, slot);
#else
    (void)DLOAD_I_FN(i_remove)(s, slot, reason, NULL);
#endif
}

#if DLOAD_I_LEAVES
/* One of those that wait: false when there is none, otherwise *old is for the caller to deal with. */
DLOAD_I_LOCAL bool DLOAD_I_FN(i_bury)(DLOAD_I_SHARD *s, DLOAD_I_FN(removed) * old)
{
    uint32_t slot = s->dead;
    if (slot == DLOAD_I_CHAIN_END)
        return false;
    const DLOAD_I_SLOT *e = &s->slots[slot];
    s->dead = e->next;
    DLOAD_I_FN(i_leave)(e, (dload_removal)e->meta, old);
    DLOAD_I_FN(i_give)(s, slot);
    return true;
}
#endif

/* Time has come to tick: what has ended goes. Looks at each slot, but only when one may have ended. */
DLOAD_I_LOCAL void DLOAD_I_FN(i_expire)(DLOAD_I_SHARD *s, uint64_t tick)
{
#if DLOAD_TTL
    if (tick > s->tick)
        s->tick = tick;
    if (s->tick < s->soonest)
        return;
    uint64_t soonest = UINT64_MAX;
    for (uint32_t slot = 0; slot < s->cap; slot++) {
        const DLOAD_I_SLOT *e = &s->slots[slot];
        if ((e->meta & DLOAD_I_CHAIN_ENDS) == 0)
            continue;
        uint64_t end = (uint64_t)(e->meta & DLOAD_I_END_HIGH) << 32 | e->end;
        if (end <= s->tick) {
            s->expired++;
            DLOAD_I_FN(i_discard)(s, slot, DLOAD_REMOVED_EXPIRED);
        } else if (end < soonest) {
            soonest = end;
        }
    }
    s->soonest = soonest;
#endif
    (void)s;
    (void)tick;
}

/* Forgets every entry; values that have to be released wait. True when there are such. */
DLOAD_I_LOCAL bool DLOAD_I_FN(i_forget)(DLOAD_I_SHARD *s, dload_removal reason)
{
#if DLOAD_I_LEAVES
    for (uint32_t i = 0; i <= s->mask; i++) {
        while (s->heads[i] != DLOAD_I_CHAIN_END)
            DLOAD_I_FN(i_discard)(s, s->heads[i], reason);
    }
    return s->dead != DLOAD_I_CHAIN_END;
#else
    memset(s->heads, 0xff, ((size_t)s->mask + 1) * sizeof *s->heads);
    s->n_live = s->n_pinned = s->hand = 0;
    s->vacant = DLOAD_I_CHAIN_END;
    for (uint32_t slot = s->cap; slot-- > 0;)
        DLOAD_I_FN(i_give)(s, slot);
    (void)reason;
    return false;
#endif
}

#endif /* DLOAD_I_BODIES && DLOAD_COMPACT */
#endif /* DLOAD_I_HAVE_COMPACT */

/* ==== typed/compact_cache.h ==== */

/* >>compact_cache -- the cache on a compact table: what comes in, who leaves for it, from init to destroy.
 *
 * One table, one lock; with DLOAD_LOCK_NONE that is a word which interrupt handlers look at, see busy.h.
 */
#ifndef DLOAD_I_HAVE_COMPACT_CACHE
#define DLOAD_I_HAVE_COMPACT_CACHE

#if DLOAD_I_BODIES && DLOAD_COMPACT

/* ---- the entry that comes in ---- */

/* Who leaves: the hand goes round the slots, and passes by what is pinned, and once by what was used. Every
 * slot has an entry, and not all are pinned. */
DLOAD_I_INLINE uint32_t DLOAD_I_FN(i_victim)(DLOAD_I_SHARD *s)
{
    for (;;) {
        uint32_t slot = s->hand;
        DLOAD_I_SLOT *e = &s->slots[slot];
        s->hand = (uint16_t)(slot + 1 == s->cap ? 0 : slot + 1);
        if ((e->meta & (DLOAD_I_CHAIN_PINNED | DLOAD_I_CHAIN_USED)) == 0)
            return slot;
        if ((e->meta & DLOAD_I_CHAIN_PINNED) == 0)
            e->meta = (uint16_t)(e->meta & ~DLOAD_I_CHAIN_USED);
    }
}

/* A vacant slot: one that is, one whose entry has ended, or whose entry leaves for this. DLOAD_I_CHAIN_END
 * when there is none. */
DLOAD_I_LOCAL uint32_t DLOAD_I_FN(i_room)(const DLOAD_I_CACHE *c, DLOAD_I_SHARD *s,
                                          DLOAD_I_FN(item) * item)
{
    if (s->vacant == DLOAD_I_CHAIN_END)
        DLOAD_I_FN(i_expire)(s, dload_i_tick_of(item->now_ns));
#if DLOAD_I_LEAVES
    if (s->vacant == DLOAD_I_CHAIN_END)
        item->garbage = DLOAD_I_FN(i_bury)(s, &item->old);
#endif
    if (s->vacant == DLOAD_I_CHAIN_END && DLOAD_EVICT != DLOAD_EVICT_NONE &&
        s->n_pinned != s->n_live) {
        uint32_t slot = DLOAD_I_FN(i_victim)(s);
        s->evictions++;
        item->garbage = DLOAD_I_FN(i_remove)(s, slot, DLOAD_REMOVED_EVICTED, &item->old);
    }
    (void)c;
    return s->vacant;
}

/* An entry that is there is to have a new value: what it has leaves. Its use and its pin stay. */
DLOAD_I_LOCAL void DLOAD_I_FN(i_reopen)(DLOAD_I_SLOT *e, DLOAD_I_FN(item) * item)
{
    if (DLOAD_I_LEAVES && (e->meta & DLOAD_I_META_ERROR) == 0) {
        DLOAD_I_FN(i_leave)(e, DLOAD_REMOVED_REPLACED, &item->old);
        DLOAD_I_FN(i_leave_key)(&item->old, item);
        item->garbage = true;
    }
    e->meta = (uint16_t)(e->meta & (DLOAD_I_CHAIN_PINNED | DLOAD_I_CHAIN_USED));
}

/* Puts an entry in place of an older one of the same key, or as a new one; evicts when full.
 * DLOAD_OK, and item->value now belongs to the cache; DLOAD_EFULL, and it does not.
 * In either case item->garbage says that item->old is to be released, unlocked. */
DLOAD_I_LOCAL dload_status DLOAD_I_FN(i_put)(DLOAD_I_CACHE *c, DLOAD_I_FN(item) * item)
{
    DLOAD_I_SHARD *s = &c->one;
    item->garbage = false;
    DLOAD_I_SLOT *e = DLOAD_I_FN(i_locate)(s, &item->id);
#if DLOAD_TTL
    uint64_t tick = dload_i_tick_of(item->now_ns);
    if (e != NULL && DLOAD_I_FN(i_ended)(e, tick > s->tick ? tick : s->tick)) {
        s->expired++;
        DLOAD_I_FN(i_discard)(s, DLOAD_I_FN(i_slot_of)(s, e), DLOAD_REMOVED_EXPIRED);
        e = NULL; /* a new one, with neither use nor pin */
    }
#endif
    if (e != NULL) {
        DLOAD_I_FN(i_reopen)(e, item);
    } else {
        uint32_t slot = DLOAD_I_FN(i_room)(c, s, item);
        if (slot == DLOAD_I_CHAIN_END) {
            s->skipped++;
            return DLOAD_EFULL;
        }
        uint16_t *head = DLOAD_I_FN(i_head)(s, item->id.hash);
        e = &s->slots[slot];
        s->vacant = e->next;
        e->key = item->id.key;
        e->next = *head;
        e->meta = 0;
        *head = (uint16_t)slot;
        s->n_live++;
    }
    if (item->status < 0) {
        e->meta = (uint16_t)(e->meta | DLOAD_I_META_ERROR);
        e->u.status = item->status;
    } else {
        e->u.value = *item->value;
    }
#if DLOAD_TTL
    DLOAD_I_FN(i_arm)(c, e, item->now_ns, item->ttl_ns);
#endif
    return DLOAD_OK;
}

/* ---- the functions that stand in for cache.h's ---- */

#define DLOAD_I_TIDY_MAX 32u /* values that one operation releases at most */

DLOAD_I_INLINE DLOAD_I_SHARD *DLOAD_I_FN(i_shard)(const DLOAD_I_CACHE *c, uint64_t hash)
{
    (void)hash;
    return (DLOAD_I_SHARD *)(uintptr_t)&c->one;
}

/* Looks a key up and counts the use: a hit's status, DLOAD_PENDING, or DLOAD_EAGAIN in an interrupt handler
 * that came in while somebody writes. */
DLOAD_I_NOINLINE dload_status DLOAD_I_FN(i_look)(DLOAD_I_CACHE *c, const DLOAD_I_ID *id,
                                                 DLOAD_I_V *out)
{
    DLOAD_I_SHARD *s = &c->one;
    if (!DLOAD_I_LOOK(&s->lock))
        return DLOAD_EAGAIN;
    dload_status st = DLOAD_I_FN(i_read)(c, s, id, out);
    DLOAD_I_LOOKED(&s->lock);
    return st;
}

DLOAD_I_INLINE dload_status DLOAD_I_FN(i_lookup)(DLOAD_I_CACHE *c, const DLOAD_I_ID *id,
                                                 DLOAD_I_V *out, bool quick)
{
    (void)quick;
    return DLOAD_I_FN(i_look)(c, id, out);
}

/* Removes what has ended, and releases what waits for that, unlocked; with max_rounds 0, to the end. */
DLOAD_I_LOCAL void DLOAD_I_FN(i_sweep)(DLOAD_I_CACHE *c, DLOAD_I_SHARD *s, uint64_t now_ns,
                                       uint32_t max_rounds)
{
    DLOAD_I_ACQUIRE(&s->lock);
    DLOAD_I_FN(i_expire)(s, dload_i_tick_of(now_ns));
    DLOAD_I_RELEASE(&s->lock);
#if DLOAD_I_LEAVES
    bool more = true;
    for (uint32_t i = 0; more && (max_rounds == 0 || i < max_rounds * DLOAD_I_TIDY_MAX); i++) {
        DLOAD_I_FN(removed) old;
        DLOAD_I_ACQUIRE(&s->lock);
        more = DLOAD_I_FN(i_bury)(s, &old);
        DLOAD_I_RELEASE(&s->lock);
        if (more)
            DLOAD_I_FN(i_end)(c, s, &old);
    }
#endif
    (void)c;
    (void)max_rounds;
}

/* Puts an item under the lock; releases nothing, so that the loader's mutex may be held. */
DLOAD_I_LOCAL dload_status DLOAD_I_FN(i_store)(DLOAD_I_CACHE *c, DLOAD_I_FN(item) * item)
{
    DLOAD_I_ACQUIRE(&c->one.lock);
    dload_status st = DLOAD_I_FN(i_put)(c, item);
    DLOAD_I_RELEASE(&c->one.lock);
    return st;
}

/* Around a store from outside, with no lock held: see cache.h. */
DLOAD_I_INLINE void DLOAD_I_FN(i_before_store)(DLOAD_I_CACHE *c, const DLOAD_I_FN(item) * item)
{
#if DLOAD_I_LEAVES
    DLOAD_I_FN(i_sweep)(c, &c->one, item->now_ns, 1);
#endif
    (void)c;
    (void)item;
}

DLOAD_I_INLINE void DLOAD_I_FN(i_after_store)(DLOAD_I_CACHE *c, DLOAD_I_FN(item) * item,
                                              dload_status st)
{
#if DLOAD_I_LEAVES
    if (st < 0 && item->status >= 0)
        DLOAD_I_FN(i_reject)(c, &c->one, item);
    if (item->garbage)
        DLOAD_I_FN(i_end)(c, &c->one, &item->old);
#endif
    (void)c;
    (void)item;
    (void)st;
}

/* Takes a key out; its value, if any, comes back in *old, for _i_end. */
DLOAD_I_LOCAL bool DLOAD_I_FN(i_drop)(DLOAD_I_CACHE *c, const DLOAD_I_ID *id,
                                      DLOAD_I_FN(removed) * old)
{
    DLOAD_I_SHARD *s = &c->one;
    bool has_old = false;
    DLOAD_I_ACQUIRE(&s->lock);
    const DLOAD_I_SLOT *e = DLOAD_I_FN(i_locate)(s, id);
    if (e != NULL)
        has_old = DLOAD_I_FN(i_remove)(s, DLOAD_I_FN(i_slot_of)(s, e),
                                       DLOAD_I_FN(i_why)(c, s, e, DLOAD_REMOVED_CLEARED), old);
    DLOAD_I_RELEASE(&s->lock);
    return has_old;
}

/* Forgets every entry. Not 0: there are values to be released, by _i_full_sweep, unlocked. */
DLOAD_I_LOCAL uint32_t DLOAD_I_FN(i_new_epoch)(DLOAD_I_CACHE *c)
{
    bool waiting = false;
    if (c->n_shards != 0) {
        DLOAD_I_ACQUIRE(&c->one.lock);
        waiting = DLOAD_I_FN(i_forget)(&c->one, DLOAD_REMOVED_CLEARED);
        DLOAD_I_RELEASE(&c->one.lock);
    }
    return waiting;
}

DLOAD_I_LOCAL void DLOAD_I_FN(i_full_sweep)(DLOAD_I_CACHE *c)
{
    DLOAD_I_FN(i_sweep)(c, &c->one, 0, 0);
}

/* The policy leaves an entry alone, or no longer: then it is as if it had just come. */
DLOAD_I_LOCAL void DLOAD_I_FN(i_pin_slot)(DLOAD_I_SHARD *s, uint32_t slot, bool pinned)
{
    DLOAD_I_SLOT *e = &s->slots[slot];
    if (((e->meta & DLOAD_I_CHAIN_PINNED) != 0) == pinned)
        return;
    e->meta = (uint16_t)((e->meta & ~DLOAD_I_CHAIN_USED) ^ DLOAD_I_CHAIN_PINNED);
    s->n_pinned = (uint16_t)(pinned ? s->n_pinned + 1 : s->n_pinned - 1);
}

/* ---- life ---- */

/* Bytes of the block of a table with cap slots; see DLOAD_I_TABLE_BYTES. */
DLOAD_I_INLINE size_t DLOAD_I_FN(i_table_bytes)(const DLOAD_I_SHARD *s)
{
    return s->cap * sizeof *s->slots + ((size_t)s->mask + 1) * sizeof *s->heads;
}

DLOAD_I_API dload_status DLOAD_I_FN(cache_init)(DLOAD_I_CACHE *c,
                                                const DLOAD_I_FN(cache_config) * config)
{
    DLOAD_I_FN(cache_config) cfg;
    memset(&cfg, 0, sizeof cfg);
    if (config != NULL)
        cfg = *config;
    memset(c, 0, sizeof *c);
    DLOAD_I_SHARD *s = &c->one;
    size_t capacity = cfg.capacity != 0 ? cfg.capacity : 4096;
    c->env = cfg.env != NULL ? cfg.env : dload_env_default();
    c->ttl_ns = cfg.ttl_ns != 0 ? cfg.ttl_ns : DLOAD_NEVER;
    c->jitter_part = cfg.ttl_jitter_pct * 41943u >> 6; /* 2^22 / 100: rounded down */
    c->fork_epoch = DLOAD_I_FORK_EPOCH;
#if DLOAD_ON_REMOVE
    c->on_remove = cfg.on_remove;
    c->remove_ctx = cfg.ctx;
#endif
    s->heads = dload_i_no_chains();
    if (!DLOAD_I_LOCK_INIT(&s->lock))
        return DLOAD_ENOMEM;
    c->n_locks = 1;
    if (capacity == DLOAD_NO_CACHE)
        return DLOAD_OK;
    if (cfg.ttl_jitter_pct > 90 || cfg.idle_ttl_ns != 0 || cfg.shards > 256 ||
        capacity > DLOAD_I_COMPACT_MAX || c->env->alloc == NULL || c->env->free == NULL) {
        (void)DLOAD_I_FN(cache_destroy)(c);
        return DLOAD_EINVAL;
    }
    s->cap = (uint16_t)capacity;
    s->mask = (uint16_t)(dload_i_chains(s->cap) - 1);
    s->slots = (DLOAD_I_SLOT *)dload_i_alloc(c->env, DLOAD_I_FN(i_table_bytes)(s));
    if (s->slots == NULL) {
        (void)DLOAD_I_FN(cache_destroy)(c);
        return DLOAD_ENOMEM;
    }
    s->heads = (uint16_t *)(void *)(s->slots + s->cap);
    c->n_shards = 1;
#if DLOAD_TTL
    s->tick = dload_i_tick_of(DLOAD_I_FN(i_time)(c));
    s->soonest = UINT64_MAX;
#endif
    memset(s->heads, 0xff, ((size_t)s->mask + 1) * sizeof *s->heads);
    s->vacant = DLOAD_I_CHAIN_END;
#if DLOAD_I_LEAVES
    s->dead = DLOAD_I_CHAIN_END;
#endif
    for (uint32_t slot = s->cap; slot-- > 0;)
        DLOAD_I_FN(i_give)(s, slot);
    return DLOAD_OK;
}

DLOAD_I_API dload_status DLOAD_I_FN(cache_destroy)(DLOAD_I_CACHE *c)
{
    DLOAD_I_SHARD *s = &c->one;
    if (c->n_shards != 0) {
#if DLOAD_I_LEAVES
        DLOAD_I_FN(i_sweep)(c, s, DLOAD_TTL ? DLOAD_I_FN(i_now)(c) : 0, 0);
        if (DLOAD_I_FN(i_forget)(s, DLOAD_REMOVED_DESTROYED))
            DLOAD_I_FN(i_sweep)(c, s, 0, 0);
#endif
        dload_i_free(c->env, s->slots, DLOAD_I_FN(i_table_bytes)(s));
    }
    if (c->n_locks != 0) /* also of a cache that is off: mutant compact_lock_kept */
        DLOAD_I_LOCK_DESTROY(&s->lock);
    s->heads = dload_i_no_chains();
    s->mask = 0;
    c->n_shards = 0;
    c->n_locks = 0;
    return DLOAD_OK;
}

DLOAD_I_API size_t DLOAD_I_FN(cache_len)(DLOAD_I_CACHE *c)
{
    return DLOAD_I_FORKED(c) ? 0 : DLOAD_I_LOAD_RELAXED(&c->one.n_live);
}

DLOAD_I_API size_t DLOAD_I_FN(cache_bytes)(DLOAD_I_CACHE *c)
{
    return c->n_shards == 0 ? 0 : DLOAD_I_FN(i_table_bytes)(&c->one);
}

#endif /* DLOAD_I_BODIES && DLOAD_COMPACT */
#endif /* DLOAD_I_HAVE_COMPACT_CACHE */

/* ==== typed/cache.h ==== */

/* >>cache -- the cache: shards, their locks, and the public calls on a cache alone.
 *
 * Shards are locked here, and in removed.h and weight.h where something is given back. What is released
 * is released after the lock is let go.
 */
#ifndef DLOAD_I_HAVE_CACHE
#define DLOAD_I_HAVE_CACHE

#if DLOAD_I_BODIES

#if !DLOAD_COMPACT

#define DLOAD_I_TIDY_MAX 32u /* entries that one operation cleans up at most */

DLOAD_I_INLINE DLOAD_I_SHARD *DLOAD_I_FN(i_shard)(const DLOAD_I_CACHE *c, uint64_t hash)
{
#if DLOAD_I_SHARDED
    return &c->shard[(uint32_t)(hash >> 11) & (c->n_shards - 1)];
#else
    (void)hash;
    return c->shard;
#endif
}

/* What is known of a key under its shard's lock: a hit's status, or DLOAD_PENDING. */
DLOAD_I_INLINE dload_status DLOAD_I_FN(i_look_locked)(DLOAD_I_CACHE *c, const DLOAD_I_ID *id,
                                                      DLOAD_I_V *out)
{
    if (DLOAD_I_UNLIKELY(c->n_shards == 0))
        return DLOAD_PENDING;
    DLOAD_I_SHARD *s = DLOAD_I_FN(i_shard)(c, id->hash);
    DLOAD_I_ACQUIRE(&s->lock);
    dload_status st = DLOAD_I_FN(i_read)(c, s, id, out);
    DLOAD_I_RELEASE(&s->lock);
    return st;
}

#if DLOAD_I_LOCKLESS
/* After a look without the lock that found nothing: a few more while a writer is in the way, then one
 * that is sure. */
DLOAD_I_NOINLINE dload_status DLOAD_I_FN(i_look_again)(DLOAD_I_CACHE *c, DLOAD_I_ID id,
                                                       DLOAD_I_V *out, dload_status st)
{
    DLOAD_I_SHARD *s = DLOAD_I_FN(i_shard)(c, id.hash);
    for (uint32_t i = 0; i < DLOAD_I_READ_TRIES && st == DLOAD_EBUSY; i++) {
        dload_i_pause();
        st = DLOAD_I_FN(i_read_free)(c, s, &id, out);
    }
    return st == DLOAD_OK ? st : DLOAD_I_FN(i_look_locked)(c, &id, out);
}
#endif

/* Looks a key up and counts the use: a hit's status, or DLOAD_PENDING. With quick, a key that a look without
 * the lock sees nothing of is not looked for again: for callers who hold the loader's mutex, under which all
 * keys come in, or look once more when they do. */
DLOAD_I_INLINE dload_status DLOAD_I_FN(i_lookup)(DLOAD_I_CACHE *c, const DLOAD_I_ID *id,
                                                 DLOAD_I_V *out, bool quick)
{
    (void)quick;
#if DLOAD_I_LOCKLESS
    if (DLOAD_I_UNLIKELY(c->n_shards == 0))
        return DLOAD_PENDING;
    dload_status st = DLOAD_I_FN(i_read_free)(c, DLOAD_I_FN(i_shard)(c, id->hash), id, out);
    if (DLOAD_I_LIKELY(st == DLOAD_OK))
        return DLOAD_OK;
    if (quick && st == DLOAD_MISSING)
        return DLOAD_PENDING;
    return DLOAD_I_FN(i_look_again)(c, *id, out, st);
#elif DLOAD_I_THREADED
    return DLOAD_I_FN(i_look_locked)(c, id, out);
#else
    return DLOAD_I_FN(i_read)(c, &c->one, id, out);
#endif
}

/* The same, quick and not inlined: for the calls where a hit is one answer among others. */
DLOAD_I_NOINLINE dload_status DLOAD_I_FN(i_look)(DLOAD_I_CACHE *c, const DLOAD_I_ID *id,
                                                 DLOAD_I_V *out)
{
    return DLOAD_I_FN(i_lookup)(c, id, out, true);
}

/* Cleans one shard up, unlocking to release what it removed. With max_rounds 0, to the end. */
DLOAD_I_LOCAL void DLOAD_I_FN(i_sweep)(DLOAD_I_CACHE *c, DLOAD_I_SHARD *s, uint64_t now_ns,
                                       uint32_t max_rounds)
{
    DLOAD_I_FN(removed) old[DLOAD_I_TIDY_MAX];
    bool more = true;
    for (uint32_t round = 0; more && (max_rounds == 0 || round < max_rounds); round++) {
        DLOAD_I_ACQUIRE(&s->lock);
        uint32_t n = DLOAD_I_FN(i_tidy)(s, now_ns, old, DLOAD_I_TIDY_MAX, &more);
        DLOAD_I_RELEASE(&s->lock);
        for (uint32_t i = 0; i < n; i++)
            DLOAD_I_FN(i_end)(c, s, &old[i]);
    }
}

/* Puts an item under its shard's lock; releases nothing, so that the loader's mutex may be held. */
DLOAD_I_LOCAL dload_status DLOAD_I_FN(i_store)(DLOAD_I_CACHE *c, DLOAD_I_FN(item) * item)
{
    DLOAD_I_SHARD *s = DLOAD_I_FN(i_shard)(c, item->id.hash);
    DLOAD_I_ACQUIRE(&s->lock);
    dload_status st = DLOAD_I_FN(i_put)(c, s, item);
    DLOAD_I_RELEASE(&s->lock);
    return st;
}

/* Around a store from outside, with no lock held. Before it, values that wait to go make room, a few at
 * a time (where nobody is told and nothing is owned they go under the lock, see _i_put); after it, those
 * that had to leave, and, when st says so, the one that did not get in, which is released here. */
DLOAD_I_INLINE void DLOAD_I_FN(i_before_store)(DLOAD_I_CACHE *c, const DLOAD_I_FN(item) * item)
{
#if DLOAD_I_LEAVES
    DLOAD_I_FN(i_sweep)(c, DLOAD_I_FN(i_shard)(c, item->id.hash), item->now_ns, 1);
#else
    (void)c;
    (void)item;
#endif
}

DLOAD_I_INLINE void DLOAD_I_FN(i_after_store)(DLOAD_I_CACHE *c, DLOAD_I_FN(item) * item,
                                              dload_status st)
{
    DLOAD_I_SHARD *s = DLOAD_I_FN(i_shard)(c, item->id.hash);
    if (st < 0 && item->status >= 0)
        DLOAD_I_FN(i_reject)(c, s, item);
    if (item->garbage)
        DLOAD_I_FN(i_end)(c, s, &item->old);
#if DLOAD_I_KILLS
    if (item->dead)
        DLOAD_I_FN(i_drain)(c, s);
#endif
    (void)s;
}

/* Takes a key out; its value, if any, comes back in *old, for _i_end_of. */
DLOAD_I_LOCAL bool DLOAD_I_FN(i_drop)(DLOAD_I_CACHE *c, const DLOAD_I_ID *id,
                                      DLOAD_I_FN(removed) * old)
{
    if (c->n_shards == 0)
        return false;
    DLOAD_I_SHARD *s = DLOAD_I_FN(i_shard)(c, id->hash);
    bool has_old = false;
    DLOAD_I_ACQUIRE(&s->lock);
    const DLOAD_I_SLOT *e = DLOAD_I_FN(i_locate)(s, id);
    if (e != NULL)
        has_old = DLOAD_I_FN(i_remove)(s, DLOAD_I_FN(i_slot_of)(s, e),
                                       DLOAD_I_FN(i_why)(c, s, e, DLOAD_REMOVED_CLEARED), old);
    DLOAD_I_RELEASE(&s->lock);
    return has_old;
}

/* Makes every entry invisible at once: entries carry the epoch they belong to. Returns how many shards
 * have gone through nearly all 2^16 epochs and need _i_full_sweep, unlocked, before the next. */
DLOAD_I_LOCAL uint32_t DLOAD_I_FN(i_new_epoch)(DLOAD_I_CACHE *c)
{
    uint32_t n_full = 0;
    for (uint32_t i = 0; i < c->n_shards; i++) {
        DLOAD_I_SHARD *s = &c->shard[i];
        DLOAD_I_ACQUIRE(&s->lock);
        s->since_reap = s->n_used == 0 ? 0 : s->since_reap + 1;
        DLOAD_I_STORE_RELEASE(&s->epoch, s->epoch + DLOAD_I_EPOCH_ONE);
        s->n_live = s->n_live_pinned = 0;
#if DLOAD_I_WEIGHED
        s->weight = s->pinned_weight = 0;
#endif
        n_full += s->since_reap >= 0xff00;
        DLOAD_I_RELEASE(&s->lock);
    }
    return n_full;
}

/* Removes every entry of an older epoch, so that epochs may start over. */
DLOAD_I_NOINLINE void DLOAD_I_FN(i_full_sweep)(DLOAD_I_CACHE *c)
{
    for (uint32_t i = 0; i < c->n_shards; i++)
        DLOAD_I_FN(i_sweep)(c, &c->shard[i], 0, 0);
}

#endif /* !DLOAD_COMPACT */

/* ---- reading and writing ---- */

DLOAD_I_INLINE dload_status DLOAD_I_FN(i_cache_get)(DLOAD_I_CACHE *c, uint64_t group, DLOAD_I_K key,
                                                    DLOAD_I_V *out)
{
    dload_status st = DLOAD_I_FN(i_canon)(&key, c->max_key_bytes);
    if (DLOAD_I_UNLIKELY(st < 0 || out == NULL))
        return out == NULL ? DLOAD_EINVAL : st;
    if (DLOAD_I_FORKED(c))
        return DLOAD_EFORK;
    DLOAD_I_ID id = DLOAD_I_FN(i_id)(c, key, group);
    st = DLOAD_I_FN(i_lookup)(c, &id, out, false);
    return st == DLOAD_PENDING ? DLOAD_MISSING : st;
}

DLOAD_I_HOT dload_status DLOAD_I_FN(cache_get)(DLOAD_I_CACHE *c, DLOAD_I_K key, DLOAD_I_V *out)
{
    return DLOAD_I_FN(i_cache_get)(c, 0, key, out);
}

DLOAD_I_LOCAL dload_status DLOAD_I_FN(i_cache_set)(DLOAD_I_CACHE *c, uint64_t group, DLOAD_I_K key,
                                                   const DLOAD_I_V *value, uint64_t ttl_ns)
{
    if (value == NULL || DLOAD_I_FORKED(c))
        return value == NULL ? DLOAD_EINVAL : DLOAD_EFORK;
    dload_status st = DLOAD_I_FN(i_canon)(&key, c->max_key_bytes);
    if (st < 0 || c->n_shards == 0)
        return st < 0 ? st : DLOAD_EFULL;
    DLOAD_I_V copy;
    st = DLOAD_I_FN(i_copy)(&copy, value);
    if (st < 0)
        return st;
    DLOAD_I_FN(item) item;
    item.id = DLOAD_I_FN(i_id)(c, key, group);
    item.value = &copy;
    item.status = DLOAD_OK;
    item.ttl_ns = ttl_ns != 0 ? ttl_ns : c->ttl_ns;
    item.now_ns = DLOAD_TTL ? DLOAD_I_FN(i_now)(c) : 0;
    DLOAD_I_FN(i_before_store)(c, &item);
    st = DLOAD_I_FN(i_store)(c, &item);
    DLOAD_I_FN(i_after_store)(c, &item, st);
    return st;
}

DLOAD_I_API dload_status DLOAD_I_FN(cache_set)(DLOAD_I_CACHE *c, DLOAD_I_K key,
                                               const DLOAD_I_V *value, uint64_t ttl_ns)
{
    return DLOAD_I_FN(i_cache_set)(c, 0, key, value, ttl_ns);
}

DLOAD_I_LOCAL dload_status DLOAD_I_FN(i_cache_delete)(DLOAD_I_CACHE *c, uint64_t group,
                                                      DLOAD_I_K key)
{
    if (DLOAD_I_FORKED(c))
        return DLOAD_EFORK;
    dload_status st = DLOAD_I_FN(i_canon)(&key, c->max_key_bytes);
    if (st < 0)
        return st;
    DLOAD_I_FN(removed) old;
    DLOAD_I_ID id = DLOAD_I_FN(i_id)(c, key, group);
    if (DLOAD_I_FN(i_drop)(c, &id, &old))
        DLOAD_I_FN(i_end)(c, DLOAD_I_FN(i_shard)(c, id.hash), &old);
    return DLOAD_OK;
}

DLOAD_I_API dload_status DLOAD_I_FN(cache_delete)(DLOAD_I_CACHE *c, DLOAD_I_K key)
{
    return DLOAD_I_FN(i_cache_delete)(c, 0, key);
}

DLOAD_I_API dload_status DLOAD_I_FN(cache_clear)(DLOAD_I_CACHE *c)
{
    if (DLOAD_I_FORKED(c))
        return DLOAD_EFORK;
    if (DLOAD_I_FN(i_new_epoch)(c) != 0)
        DLOAD_I_FN(i_full_sweep)(c);
    return DLOAD_OK;
}

DLOAD_I_API dload_status DLOAD_I_FN(cache_advance)(DLOAD_I_CACHE *c, uint64_t now_ns)
{
    if (DLOAD_I_FORKED(c))
        return DLOAD_EFORK;
    DLOAD_I_FN(i_set_now)(c, now_ns);
    for (uint32_t i = 0; i < c->n_shards; i++)
        DLOAD_I_FN(i_sweep)(c, DLOAD_I_SHARD_AT(c, i), now_ns, 0);
    return DLOAD_OK;
}

#if DLOAD_GROUP || DLOAD_I_IS_STRING

/* Is an entry among those that a walk removes: of a group, or with a key that begins with prefix? */
DLOAD_I_INLINE bool DLOAD_I_FN(i_is_among)(const DLOAD_I_SLOT *e, uint64_t group,
                                           const dload_str *prefix)
{
#if DLOAD_GROUP
    if (prefix == NULL)
        return e->group == group;
#endif
#if DLOAD_I_IS_STRING
    return e->key.len >= prefix->len &&
           (prefix->len == 0 || memcmp(e->key.ptr, prefix->ptr, prefix->len) == 0);
#endif
    (void)e;
    (void)group;
    (void)prefix;
    return false;
}

/* Removes up to DLOAD_I_TIDY_MAX of them from slot *at on; *at is where to go on, n_slots at the end. Returns
 * how many values there are to release. */
DLOAD_I_LOCAL uint32_t DLOAD_I_FN(i_cut_some)(const DLOAD_I_CACHE *c, DLOAD_I_SHARD *s,
                                              uint64_t group, const dload_str *prefix, uint32_t *at,
                                              DLOAD_I_FN(removed) * old)
{
    uint32_t n_slots = s->n_groups * DLOAD_I_GROUP_SLOTS;
    uint32_t n_old = 0;
    for (; *at < n_slots && n_old < DLOAD_I_TIDY_MAX; ++*at) {
        DLOAD_I_SLOT *e = &s->slots[*at];
        if (s->groups[*at / DLOAD_I_GROUP_SLOTS].tags[*at % DLOAD_I_GROUP_SLOTS] == 0 ||
            DLOAD_I_FN(i_is_dead)(DLOAD_I_META(e)) || !DLOAD_I_FN(i_is_among)(e, group, prefix))
            continue;
        dload_removal why = DLOAD_I_FN(i_why)(c, s, e, DLOAD_REMOVED_CLEARED);
        n_old += DLOAD_I_FN(i_remove)(s, *at, why, &old[n_old]);
    }
    return n_old;
}

/* Removes every entry of a group, or, when prefix is not NULL, whose key begins with it. */
DLOAD_I_LOCAL dload_status DLOAD_I_FN(i_clear_some)(DLOAD_I_CACHE *c, uint64_t group,
                                                    const dload_str *prefix)
{
    if (DLOAD_I_FORKED(c))
        return DLOAD_EFORK;
    for (uint32_t i = 0; i < c->n_shards; i++) {
        DLOAD_I_SHARD *s = &c->shard[i];
        DLOAD_I_FN(removed) old[DLOAD_I_TIDY_MAX];
        uint32_t at = 0;
        uint32_t n_groups = 0;
        bool more = true;
        while (more) {
            DLOAD_I_ACQUIRE(&s->lock);
            if (n_groups != s->n_groups)
                at = 0; /* it grew, and entries moved */
            n_groups = s->n_groups;
            uint32_t n_old = DLOAD_I_FN(i_cut_some)(c, s, group, prefix, &at, old);
            more = at < n_groups * DLOAD_I_GROUP_SLOTS;
            DLOAD_I_RELEASE(&s->lock);
            for (uint32_t k = 0; k < n_old; k++)
                DLOAD_I_FN(i_end)(c, s, &old[k]);
        }
    }
    return DLOAD_OK;
}

#endif /* DLOAD_GROUP || DLOAD_I_IS_STRING */

#if DLOAD_GROUP

DLOAD_I_HOT dload_status DLOAD_I_FN(cache_get_in)(DLOAD_I_CACHE *c, DLOAD_I_K key, uint64_t group,
                                                  DLOAD_I_V *out)
{
    return DLOAD_I_FN(i_cache_get)(c, group, key, out);
}

DLOAD_I_API dload_status DLOAD_I_FN(cache_set_in)(DLOAD_I_CACHE *c, DLOAD_I_K key, uint64_t group,
                                                  const DLOAD_I_V *value, uint64_t ttl_ns)
{
    return DLOAD_I_FN(i_cache_set)(c, group, key, value, ttl_ns);
}

DLOAD_I_API dload_status DLOAD_I_FN(cache_delete_in)(DLOAD_I_CACHE *c, DLOAD_I_K key,
                                                     uint64_t group)
{
    return DLOAD_I_FN(i_cache_delete)(c, group, key);
}

DLOAD_I_API dload_status DLOAD_I_FN(cache_clear_group)(DLOAD_I_CACHE *c, uint64_t group)
{
    return DLOAD_I_FN(i_clear_some)(c, group, NULL);
}

#endif /* DLOAD_GROUP */

#endif /* DLOAD_I_BODIES */
#endif /* DLOAD_I_HAVE_CACHE */

/* ==== typed/shards.h ==== */

/* >>shards -- a cache's shards: how many, where they live, from init to destroy. */
#ifndef DLOAD_I_HAVE_SHARDS
#define DLOAD_I_HAVE_SHARDS

#if DLOAD_I_BODIES && !DLOAD_COMPACT

/* Capacity of shard i of n: equal shares, the remainder to the first ones. */
DLOAD_I_INLINE uint32_t DLOAD_I_FN(i_share)(size_t capacity, uint32_t n, uint32_t i)
{
    return (uint32_t)(capacity / n + (i < capacity % n));
}

DLOAD_I_LOCAL dload_status DLOAD_I_FN(i_shard_init)(DLOAD_I_CACHE *c, uint32_t i, size_t capacity)
{
    DLOAD_I_SHARD *s = &c->shard[i];
    uint32_t cap = c->unbounded ? 48u : DLOAD_I_FN(i_share)(capacity, c->n_shards, i);
    uint32_t kind = c->unbounded ? DLOAD_EVICT_NONE : dload_i_evict_kind(DLOAD_EVICT, cap);
#if DLOAD_TTL
    s->tick = s->wheel.now = DLOAD_I_FN(i_now)(c) >> DLOAD_I_TICK_SHIFT;
#endif
    s->evict.hash_key = DLOAD_I_HASH_KEY(c);
    if (!DLOAD_I_FN(i_shard_alloc)(c->env, s, cap, kind))
        return DLOAD_ENOMEM;
    s->max_uses = kind == DLOAD_EVICT_LRU ? 1 : s->evict.max_uses;
    if (!DLOAD_I_LOCK_INIT(&s->lock)) {
        dload_i_free(c->env, s->block, s->block_bytes);
        s->block = NULL;
        return DLOAD_ENOMEM;
    }
#if DLOAD_I_IS_STRING
    dload_i_arena_init(&s->arena, c->env);
#endif
    return DLOAD_OK;
}

DLOAD_I_LOCAL uint32_t DLOAD_I_FN(i_shard_count)(size_t capacity, size_t asked)
{
    size_t n = asked != 0 ? asked : 16u;
    uint32_t n_shards = 1;
    while (DLOAD_I_SHARDED && n_shards * 2 <= n && n_shards < 256 &&
           (asked != 0 ? n_shards * 2 <= capacity : capacity / (n_shards * 2) >= 64))
        n_shards *= 2;
    return n_shards;
}

#if DLOAD_I_SHARDED

/* Shards and the counters of hits without a lock, in one block. */
DLOAD_I_INLINE size_t DLOAD_I_FN(i_shards_bytes)(uint32_t n_shards)
{
    size_t n = 64 + n_shards * sizeof(DLOAD_I_SHARD);
    return n + (DLOAD_I_LOCKLESS && DLOAD_STATS ? DLOAD_I_STRIPES * sizeof(dload_i_stripe) : 0);
}

DLOAD_I_LOCAL bool DLOAD_I_FN(i_carve_shards)(DLOAD_I_CACHE *c, uint32_t n_shards)
{
    size_t n_bytes = DLOAD_I_FN(i_shards_bytes)(n_shards);
    c->block = dload_i_alloc(c->env, n_bytes);
    if (c->block == NULL)
        return false;
    memset(c->block, 0, n_bytes);
    c->shard = (DLOAD_I_SHARD *)(((uintptr_t)c->block + 63) & ~(uintptr_t)63);
#if DLOAD_I_LOCKLESS && DLOAD_STATS
    c->stripes = (dload_i_stripe *)(void *)(c->shard + n_shards);
#endif
    return true;
}

#endif

DLOAD_I_API dload_status DLOAD_I_FN(cache_init)(DLOAD_I_CACHE *c,
                                                const DLOAD_I_FN(cache_config) * config)
{
    DLOAD_I_FN(cache_config) cfg;
    memset(&cfg, 0, sizeof cfg);
    if (config != NULL)
        cfg = *config;
    memset(c, 0, sizeof *c);
    size_t capacity = cfg.capacity != 0 ? cfg.capacity : 4096;
    c->env = cfg.env != NULL ? cfg.env : dload_env_default();
    c->ttl_ns = cfg.ttl_ns != 0 ? cfg.ttl_ns : DLOAD_NEVER;
    c->jitter_pct = cfg.ttl_jitter_pct;
    c->max_key_bytes = cfg.max_key_bytes != 0 ? cfg.max_key_bytes : 65536;
    c->unbounded = capacity == DLOAD_UNBOUNDED;
#if DLOAD_ON_REMOVE
    c->on_remove = cfg.on_remove;
    c->remove_ctx = cfg.ctx;
#endif
    c->fork_epoch = DLOAD_I_FORK_EPOCH;
#if !DLOAD_I_SHARDED
    c->shard = &c->one;
    c->one.groups = dload_i_no_groups();
    c->one.n_groups = 1;
#endif
#if DLOAD_HASH == DLOAD_HASH_SIP
    memcpy(c->hash_key, cfg.hash_key, sizeof c->hash_key);
    if ((c->hash_key[0] | c->hash_key[1]) == 0 && !dload_i_draw_hash_key(c->env, c->hash_key))
        return DLOAD_EINVAL;
#endif
    if (capacity == DLOAD_NO_CACHE)
        return DLOAD_OK;
    if (cfg.ttl_jitter_pct > 90 || (!DLOAD_REFRESH && cfg.idle_ttl_ns != 0) || cfg.shards > 256 ||
        c->max_key_bytes > DLOAD_I_ARENA_MAX || (capacity > (UINT32_C(1) << 30) && !c->unbounded) ||
        (c->env->alloc == NULL) || (c->env->free == NULL))
        return DLOAD_EINVAL;
#if DLOAD_REFRESH
    DLOAD_I_FN(i_set_windows)(c, 0, 0, 0, cfg.idle_ttl_ns);
#endif
    uint32_t n_shards = DLOAD_I_FN(i_shard_count)(capacity, cfg.shards);
#if DLOAD_I_WEIGHED
    if (cfg.max_weight != 0 && c->unbounded)
        return DLOAD_EINVAL; /* only a table of a fixed size has a policy */
    while (cfg.max_weight != 0 && cfg.max_weight < n_shards)
        n_shards /= 2;
#endif
#if DLOAD_I_SHARDED
    if (!DLOAD_I_FN(i_carve_shards)(c, n_shards))
        return DLOAD_ENOMEM;
#endif
    c->n_shards = n_shards;
    for (uint32_t i = 0; i < n_shards; i++) {
        dload_status st = DLOAD_I_FN(i_shard_init)(c, i, capacity);
        if (st < 0) {
            (void)DLOAD_I_FN(cache_destroy)(c);
            return st;
        }
#if DLOAD_I_WEIGHED
        c->shard[i].max_weight = cfg.max_weight == 0
                                     ? UINT64_MAX
                                     : cfg.max_weight / n_shards + (i < cfg.max_weight % n_shards);
#endif
    }
    return DLOAD_OK;
}

/* Ends the values of a shard that nobody uses any more. */
DLOAD_I_LOCAL void DLOAD_I_FN(i_release_all)(DLOAD_I_CACHE *c, DLOAD_I_SHARD *s)
{
    for (uint32_t i = 0; DLOAD_I_LEAVES && i < s->n_groups * DLOAD_I_GROUP_SLOTS; i++) {
        if (s->groups[i / DLOAD_I_GROUP_SLOTS].tags[i % DLOAD_I_GROUP_SLOTS] == 0 ||
            (DLOAD_I_META(&s->slots[i]) & DLOAD_I_META_ERROR) != 0)
            continue;
        DLOAD_I_FN(removed) old;
        DLOAD_I_FN(i_leave)(&s->slots[i], DLOAD_REMOVED_DESTROYED, &old);
        DLOAD_I_FN(i_end)(c, s, &old);
    }
}

DLOAD_I_API dload_status DLOAD_I_FN(cache_destroy)(DLOAD_I_CACHE *c)
{
    for (uint32_t i = 0; i < c->n_shards; i++) {
        DLOAD_I_SHARD *s = &c->shard[i];
        if (s->block == NULL)
            continue; /* init did not come so far */
#if DLOAD_ON_REMOVE
        /* While the hook may still enter the cache: what had gone before this. */
        DLOAD_I_FN(i_sweep)(c, s, DLOAD_TTL ? DLOAD_I_FN(i_now)(c) : 0, 0);
#endif
        DLOAD_I_FN(i_release_all)(c, s);
#if DLOAD_I_IS_STRING
        dload_i_arena_destroy(&s->arena);
#endif
        DLOAD_I_FN(i_free_outgrown)(c->env, s);
        dload_i_free(c->env, s->block, s->block_bytes);
        DLOAD_I_LOCK_DESTROY(&s->lock);
    }
#if DLOAD_I_SHARDED
    dload_i_free(c->env, c->block, DLOAD_I_FN(i_shards_bytes)(c->n_shards));
    c->block = NULL;
    c->shard = NULL;
#else
    c->one.groups = dload_i_no_groups();
    c->one.n_groups = 1;
#endif
    c->n_shards = 0;
    return DLOAD_OK;
}

DLOAD_I_API size_t DLOAD_I_FN(cache_len)(DLOAD_I_CACHE *c)
{
    size_t n = 0;
    for (uint32_t i = 0; i < c->n_shards && !DLOAD_I_FORKED(c); i++) {
        DLOAD_I_ACQUIRE(&c->shard[i].lock);
        n += c->shard[i].n_live;
        DLOAD_I_RELEASE(&c->shard[i].lock);
    }
    return n;
}

DLOAD_I_API size_t DLOAD_I_FN(cache_bytes)(DLOAD_I_CACHE *c)
{
    size_t n = 0;
#if DLOAD_I_SHARDED
    if (c->n_shards != 0)
        n = DLOAD_I_FN(i_shards_bytes)(c->n_shards);
#endif
    for (uint32_t i = 0; i < c->n_shards && !DLOAD_I_FORKED(c); i++) {
        DLOAD_I_ACQUIRE(&c->shard[i].lock);
        n += c->shard[i].block_bytes;
#if DLOAD_I_LOCKLESS
        n += c->shard[i].outgrown_bytes;
#endif
#if DLOAD_I_IS_STRING
        n += c->shard[i].arena.n_bytes;
#endif
        DLOAD_I_RELEASE(&c->shard[i].lock);
    }
    return n;
}

#endif /* DLOAD_I_BODIES && !DLOAD_COMPACT */
#endif /* DLOAD_I_HAVE_SHARDS */

/* ==== typed/many.h ==== */

/* >>many -- looking many keys up at once: their memory is on its way before the first is compared.
 *
 * In a table that the processor's caches do not hold, a look-up waits twice: for the line of tags, then
 * for the slot. So keys go in blocks: all are hashed and their tags asked for, then the slots that the
 * tags point at, and only then each is looked up, by the hash that is there (the idea of DRAMHiT, Narayanan
 * et al., EuroSys 2023). In a small table nothing waits, and asking would only cost.
 */
#ifndef DLOAD_I_HAVE_MANY
#define DLOAD_I_HAVE_MANY

#if DLOAD_I_BODIES

#if DLOAD_COMPACT

#define DLOAD_I_MANY 1u

/* A small table is near. */
DLOAD_I_INLINE bool DLOAD_I_FN(i_is_far)(const DLOAD_I_CACHE *c)
{
    (void)c;
    return false;
}

#else

#define DLOAD_I_MANY       16u                   /* keys of a block */
#define DLOAD_I_MANY_BYTES (UINT32_C(512) << 10) /* of slots; a smaller table is near anyway */

/* Is the cache too large to be near? */
DLOAD_I_INLINE bool DLOAD_I_FN(i_is_far)(const DLOAD_I_CACHE *c)
{
    return c->n_shards != 0 && (size_t)DLOAD_I_LOAD_RELAXED(&c->shard[0].n_groups) * c->n_shards *
                                       DLOAD_I_GROUP_SLOTS * sizeof(DLOAD_I_SLOT) >
                                   DLOAD_I_MANY_BYTES;
}

#endif /* DLOAD_COMPACT */

/* What a key is known by, or why it can be no key. */
DLOAD_I_INLINE dload_status DLOAD_I_FN(i_identify)(const DLOAD_I_CACHE *c, uint64_t group,
                                                   DLOAD_I_K key, DLOAD_I_ID *id)
{
    dload_status st = DLOAD_I_FN(i_canon)(&key, c->max_key_bytes);
    if (st >= 0)
        *id = DLOAD_I_FN(i_id)(c, key, group);
    return st;
}

/* Identifies a block of keys, the first DLOAD_I_MANY of n, and asks for what looking them up will need.
 * Touches nothing that a lock protects, but where reading it without one is allowed. */
DLOAD_I_LOCAL void DLOAD_I_FN(i_fetch_ahead)(const DLOAD_I_CACHE *c, uint64_t group,
                                             const DLOAD_I_K *keys, size_t n, DLOAD_I_ID *ids,
                                             dload_status *statuses)
{
#if DLOAD_COMPACT
    (void)n;
    statuses[0] = DLOAD_I_FN(i_identify)(c, group, keys[0], &ids[0]);
#else
    const dload_i_group *groups[DLOAD_I_MANY];
    const DLOAD_I_SLOT *slots[DLOAD_I_MANY];
    uint8_t tags[DLOAD_I_MANY];
    size_t n_asked = 0;
    size_t n_keys = n < DLOAD_I_MANY ? n : DLOAD_I_MANY;
    for (size_t i = 0; i < n_keys; i++) {
        statuses[i] = DLOAD_I_FN(i_identify)(c, group, keys[i], &ids[i]);
        if (statuses[i] < 0)
            continue;
        uint64_t hash = ids[i].hash;
        const DLOAD_I_SHARD *s = DLOAD_I_FN(i_shard)(c, hash);
        uint32_t at = dload_i_home(hash, DLOAD_I_LOAD_ACQUIRE(&s->n_groups));
        groups[n_asked] = DLOAD_I_LOAD_ACQUIRE(&s->groups) + at;
        slots[n_asked] = DLOAD_I_LOAD_ACQUIRE(&s->slots) + (size_t)at * DLOAD_I_GROUP_SLOTS;
        tags[n_asked] = dload_i_tag(hash);
        DLOAD_I_PREFETCH(groups[n_asked++]);
    }
#if DLOAD_I_LOCKLESS || !DLOAD_I_THREADED
    for (size_t i = 0; i < n_asked; i++) {
#if DLOAD_I_LOCKLESS
        dload_i_match m = dload_i_find_tag_shared(groups[i], tags[i]);
#else
        dload_i_match m = dload_i_find_tag(groups[i], tags[i]);
#endif
        if (!dload_i_match_any(m))
            continue;
        const char *slot = (const char *)(slots[i] + dload_i_match_first(m));
        DLOAD_I_PREFETCH(slot);
        DLOAD_I_PREFETCH(slot + sizeof(DLOAD_I_SLOT) - 1);
    }
#endif
    (void)slots;
    (void)tags;
#endif /* DLOAD_COMPACT */
}

DLOAD_I_API dload_status DLOAD_I_FN(cache_get_many)(DLOAD_I_CACHE *c, const DLOAD_I_K *keys,
                                                    size_t n, DLOAD_I_V *out,
                                                    dload_status *statuses, size_t *n_hits)
{
    if (n != 0 && (keys == NULL || out == NULL || statuses == NULL))
        return DLOAD_EINVAL;
    bool far = !DLOAD_I_FORKED(c) && DLOAD_I_FN(i_is_far)(c);
    DLOAD_I_ID ids[DLOAD_I_MANY];
    size_t hits = 0;
    for (size_t i = 0; i < n; i++) {
        size_t at = i % DLOAD_I_MANY;
        if (!far) {
            statuses[i] = DLOAD_I_FN(cache_get)(c, keys[i], &out[i]);
        } else {
            if (at == 0)
                DLOAD_I_FN(i_fetch_ahead)(c, 0, keys + i, n - i, ids, statuses + i);
            if (statuses[i] >= 0) {
                dload_status st = DLOAD_I_FN(i_lookup)(c, &ids[at], &out[i], false);
                statuses[i] = st == DLOAD_PENDING ? DLOAD_MISSING : st;
            }
        }
        hits += statuses[i] >= 0;
    }
    if (n_hits != NULL)
        *n_hits = hits;
    return DLOAD_OK;
}

#endif /* DLOAD_I_BODIES */
#endif /* DLOAD_I_HAVE_MANY */

/* ==== typed/pin.h ==== */

/* >>pin -- what is pinned, and what all of it weighs: the public calls; and what a cache has counted. */
#ifndef DLOAD_I_HAVE_PIN
#define DLOAD_I_HAVE_PIN

#if DLOAD_I_BODIES

/* Pins the entry of a key, or lets it go again. DLOAD_MISSING when there is none. */
DLOAD_I_LOCAL dload_status DLOAD_I_FN(i_pin)(DLOAD_I_CACHE *c, const DLOAD_I_ID *id, bool pinned)
{
    dload_status st = DLOAD_MISSING;
    if (c->n_shards == 0)
        return st;
    DLOAD_I_SHARD *s = DLOAD_I_FN(i_shard)(c, id->hash);
    DLOAD_I_ACQUIRE(&s->lock);
    const DLOAD_I_SLOT *e = DLOAD_I_FN(i_locate)(s, id);
    if (e != NULL && DLOAD_I_FN(i_valid)(c, s, e)) {
        DLOAD_I_FN(i_pin_slot)(s, DLOAD_I_FN(i_slot_of)(s, e), pinned);
        st = DLOAD_OK;
    }
    DLOAD_I_RELEASE(&s->lock);
    return st;
}

DLOAD_I_LOCAL dload_status DLOAD_I_FN(i_cache_pin)(DLOAD_I_CACHE *c, uint64_t group, DLOAD_I_K key,
                                                   bool pinned)
{
    if (DLOAD_I_FORKED(c))
        return DLOAD_EFORK;
    dload_status st = DLOAD_I_FN(i_canon)(&key, c->max_key_bytes);
    if (st < 0)
        return st;
    DLOAD_I_ID id = DLOAD_I_FN(i_id)(c, key, group);
    return DLOAD_I_FN(i_pin)(c, &id, pinned);
}

DLOAD_I_API dload_status DLOAD_I_FN(cache_pin)(DLOAD_I_CACHE *c, DLOAD_I_K key)
{
    return DLOAD_I_FN(i_cache_pin)(c, 0, key, true);
}

DLOAD_I_API dload_status DLOAD_I_FN(cache_unpin)(DLOAD_I_CACHE *c, DLOAD_I_K key)
{
    return DLOAD_I_FN(i_cache_pin)(c, 0, key, false);
}

DLOAD_I_API dload_status DLOAD_I_FN(pin)(DLOAD_NAME *l, DLOAD_I_K key)
{
    return DLOAD_I_FN(i_cache_pin)(&l->cache, 0, key, true);
}

DLOAD_I_API dload_status DLOAD_I_FN(unpin)(DLOAD_NAME *l, DLOAD_I_K key)
{
    return DLOAD_I_FN(i_cache_pin)(&l->cache, 0, key, false);
}

#if DLOAD_GROUP

DLOAD_I_API dload_status DLOAD_I_FN(cache_pin_in)(DLOAD_I_CACHE *c, DLOAD_I_K key, uint64_t group)
{
    return DLOAD_I_FN(i_cache_pin)(c, group, key, true);
}

DLOAD_I_API dload_status DLOAD_I_FN(cache_unpin_in)(DLOAD_I_CACHE *c, DLOAD_I_K key, uint64_t group)
{
    return DLOAD_I_FN(i_cache_pin)(c, group, key, false);
}

DLOAD_I_API dload_status DLOAD_I_FN(pin_in)(DLOAD_NAME *l, DLOAD_I_K key, uint64_t group)
{
    return DLOAD_I_FN(i_cache_pin)(&l->cache, group, key, true);
}

DLOAD_I_API dload_status DLOAD_I_FN(unpin_in)(DLOAD_NAME *l, DLOAD_I_K key, uint64_t group)
{
    return DLOAD_I_FN(i_cache_pin)(&l->cache, group, key, false);
}

#endif /* DLOAD_GROUP */

#if DLOAD_I_WEIGHED

DLOAD_I_API uint64_t DLOAD_I_FN(cache_weight)(DLOAD_I_CACHE *c)
{
    uint64_t weight = 0;
    for (uint32_t i = 0; i < c->n_shards && !DLOAD_I_FORKED(c); i++) {
        DLOAD_I_ACQUIRE(&c->shard[i].lock);
        weight += c->shard[i].weight;
        DLOAD_I_RELEASE(&c->shard[i].lock);
    }
    return weight;
}

#endif /* DLOAD_I_WEIGHED */

/* Adds what the cache has counted to a loader's counters. */
DLOAD_I_LOCAL void DLOAD_I_FN(i_cache_stats)(DLOAD_I_CACHE *c, dload_stats *stats)
{
    for (uint32_t i = 0; i < c->n_shards; i++) {
        DLOAD_I_SHARD *s = DLOAD_I_SHARD_AT(c, i);
        DLOAD_I_ACQUIRE(&s->lock);
        stats->hits += s->hits;
        stats->evictions += s->evictions;
        stats->expired += s->expired;
        stats->entries += s->n_live;
#if DLOAD_COMPACT
        stats->pinned += s->n_pinned;
#else
        stats->long_probes += s->long_probes;
        stats->pinned += s->n_live_pinned;
#endif
#if DLOAD_I_WEIGHED
        stats->weight += s->weight;
        stats->too_heavy += s->too_heavy;
#endif
        DLOAD_I_RELEASE(&s->lock);
    }
#if DLOAD_I_LOCKLESS && DLOAD_STATS
    if (c->n_shards != 0)
        stats->hits += dload_i_stripe_sum(c->stripes);
#endif
}

#endif /* DLOAD_I_BODIES */
#endif /* DLOAD_I_HAVE_PIN */

/* ==== typed/solo.h ==== */

/* >>solo_batches -- batches under DLOAD_ASYNC 0: keys enter, the function is called, answers leave.
 *
 * Takes the place of ops.h, and of the batch core under it. User code runs in two places, the fetch function and
 * callbacks, and may call the loader there: nothing is half done then. There is no lock; what is taken as one tells
 * interrupt handlers that look (_peek) that something is changing.
 */
#ifndef DLOAD_I_HAVE_SOLO
#define DLOAD_I_HAVE_SOLO

#if DLOAD_I_BODIES && !DLOAD_ASYNC

#define DLOAD_I_BATCH  DLOAD_I_FN(batch)
#define DLOAD_I_WAITER DLOAD_I_FN(waiter)

#if DLOAD_STATS
#define DLOAD_I_COUNT(l, field, n) ((void)((l)->core.stats.field += (n)))
#else
#define DLOAD_I_COUNT(l, field, n) ((void)(l), (void)(n))
#endif

/* ---- keys enter ---- */

/* The batch and the place of a key on its way that a request may join; NULL = none. */
DLOAD_I_LOCAL DLOAD_I_BATCH *DLOAD_I_FN(i_flight)(const DLOAD_NAME *l, const DLOAD_I_K *key,
                                                  uint32_t *place)
{
    for (uint32_t k = 0; k < l->core.n_batches; k++) {
        DLOAD_I_BATCH *b = &l->core.batches[k];
        for (uint32_t i = 0; i < b->n_seats; i++) {
            if (!b->seats[i].detached && DLOAD_I_FN(i_same)(&b->own_keys[i], key)) {
                *place = i;
                return b;
            }
        }
    }
    return NULL;
}

/* The batch that collects keys; NULL when all are in use. */
DLOAD_I_LOCAL DLOAD_I_BATCH *DLOAD_I_FN(i_open)(DLOAD_NAME *l)
{
    DLOAD_I_BATCH *b = l->core.last;
    if (b != NULL && b->state == DLOAD_I_OPEN)
        return b;
    for (uint32_t k = 0; k < l->core.n_batches; k++) {
        b = &l->core.batches[k];
        if (b->state != 0)
            continue;
        b->state = DLOAD_I_OPEN;
        b->next = NULL;
        *(l->core.last != NULL ? &l->core.last->next : &l->core.queue) = b;
        l->core.last = b;
        return b;
    }
    return NULL;
}

/* i_ask, with the mutex held. */
DLOAD_I_INLINE dload_status DLOAD_I_FN(i_ask_held)(DLOAD_NAME *l, const DLOAD_I_K *key,
                                                   uint32_t flags, dload_i_ask *ask)
{
    uint32_t place = 0;
    DLOAD_I_BATCH *b = DLOAD_I_FN(i_flight)(l, key, &place);
    if (b != NULL && b->state == DLOAD_I_RUNNING) {
        if ((flags & DLOAD_FRESH) != 0) {
            b->seats[place].detached = true; /* what is being fetched is not fresh enough */
            b = NULL;
        } else if (ask->asker != NULL) {
            return DLOAD_EDEADLK; /* called from its function, which would wait for itself */
        }
    }
    if (b == NULL) {
        b = DLOAD_I_FN(i_open)(l);
        if (b == NULL)
            return DLOAD_EAGAIN;
        place = b->n_seats++;
        memset(&b->seats[place], 0, sizeof b->seats[place]);
        b->seats[place].ttl_ns = DLOAD_I_TTL_DEFAULT;
        b->own_keys[place] = *key;
        if (b->n_seats == l->core.max_batch)
            b->state = DLOAD_I_QUEUED;
        DLOAD_I_COUNT(l, misses, 1u);
    } else {
        DLOAD_I_COUNT(l, joins, 1u);
    }
    dload_i_ask **at = &b->seats[place].first;
    while (*at != NULL)
        at = &(*at)->next;
    *at = ask;
    ask->next = NULL;
    return DLOAD_PENDING;
}

/* A request for a key that is not cached: DLOAD_PENDING, or why it cannot wait. */
DLOAD_I_NOINLINE dload_status DLOAD_I_FN(i_ask)(DLOAD_NAME *l, const DLOAD_I_K *key, uint32_t flags,
                                                dload_i_ask *ask)
{
    DLOAD_I_ACQUIRE(&l->mutex);
    dload_status st = DLOAD_I_FN(i_ask_held)(l, key, flags, ask);
    DLOAD_I_LEAVE(l);
    return st;
}

/* ---- answers leave ---- */

/* How long an answer without a value is kept: 0 = not at all. Asks the user. */
DLOAD_I_LOCAL uint64_t DLOAD_I_FN(i_error_ttl)(const DLOAD_NAME *l, dload_status status)
{
    if (status == DLOAD_MISSING)
        return l->core.missing_ttl_ns;
    return l->core.error_ttl != NULL ? l->core.error_ttl(l->core.ctx, status) : 0;
}

/* An answer into the cache. */
DLOAD_I_LOCAL bool DLOAD_I_FN(i_store_seat)(DLOAD_NAME *l, const DLOAD_I_BATCH *b, uint32_t i,
                                            uint64_t now_ns)
{
    const dload_i_seat *f = &b->seats[i];
    DLOAD_I_FN(item) item;
    item.ttl_ns = f->ttl_ns == DLOAD_I_TTL_DEFAULT ? l->cache.ttl_ns : f->ttl_ns;
    if (item.ttl_ns == 0 || l->cache.n_shards == 0)
        return false;
    item.id = DLOAD_I_FN(i_id)(&l->cache, b->own_keys[i], 0);
    item.value = &b->values[i];
    item.status = f->status;
    item.now_ns = now_ns;
    return DLOAD_I_FN(i_store)(&l->cache, &item) >= 0;
}

/* The answer at place i to all who asked; returns the new end of those who are to be called back. */
DLOAD_I_LOCAL dload_i_ask **DLOAD_I_FN(i_deliver)(DLOAD_NAME *l, const DLOAD_I_BATCH *b, uint32_t i,
                                                  dload_i_ask **ready)
{
    const dload_status status = (dload_status)b->seats[i].status;
    for (dload_i_ask *w = b->seats[i].first, *next = NULL; w != NULL; w = next) {
        dload_i_asker *asker = w->asker;
        DLOAD_I_V *out = NULL;
        next = w->next;
        if (asker == NULL) {
            DLOAD_I_WAITER *waiter = (DLOAD_I_WAITER *)(void *)w; /* its first member */
            waiter->status = status;
            out = &waiter->value;
            w->next = NULL;
            *ready = w;
            ready = &w->next;
        } else {
            out = (DLOAD_I_V *)asker->out + w->at;
            if (asker->statuses != NULL)
                asker->statuses[w->at] = status;
            asker->n_pending--;
            w->asker = NULL;
            if (w != &asker->own) {
                w->next = l->core.spare;
                l->core.spare = w;
            }
        }
        if (status >= 0)
            *out = b->values[i];
    }
    return ready;
}

/* Ends a batch that is out of the queue: keys without an answer get status, and what was fetched is cached. The
 * batch is free again when callbacks run. */
DLOAD_I_NOINLINE void DLOAD_I_FN(i_publish)(DLOAD_NAME *l, DLOAD_I_BATCH *b, dload_status status)
{
    bool ran = b->state == DLOAD_I_RUNNING;
    uint64_t rest_ttl_ns = ran ? DLOAD_I_FN(i_error_ttl)(l, status) : 0;
    uint64_t now_ns = DLOAD_TTL && ran ? DLOAD_I_FN(i_now)(&l->cache) : 0;
    dload_i_ask *ready = NULL;
    dload_i_ask **end = &ready;
    DLOAD_I_ACQUIRE(&l->mutex);
    for (uint32_t i = 0; i < b->n_seats; i++) {
        dload_i_seat *f = &b->seats[i];
        if (!f->answered) {
            f->status = status;
            f->ttl_ns = rest_ttl_ns;
        }
        DLOAD_I_COUNT(l, fetch_errors, f->status < 0 && f->status != DLOAD_MISSING);
        end = DLOAD_I_FN(i_deliver)(l, b, i, end);
        if (!ran)
            continue;
        if (f->detached)
            DLOAD_I_COUNT(l, cleared_in_flight, 1u);
        else if (DLOAD_I_FN(i_store_seat)(l, b, i, now_ns))
            DLOAD_I_COUNT(l, stores, 1u);
        else
            DLOAD_I_COUNT(l, store_skipped, f->status >= 0);
    }
    b->n_seats = 0;
    b->state = 0;
    DLOAD_I_LEAVE(l);
    while (ready != NULL) {
        DLOAD_I_WAITER *w = (DLOAD_I_WAITER *)(void *)ready; /* its first member */
        ready = ready->next;
        if (w->done != NULL)
            w->done(w); /* w is the caller's again */
    }
}

/* Takes the batch out that waits longest. */
DLOAD_I_LOCAL DLOAD_I_BATCH *DLOAD_I_FN(i_pop)(DLOAD_NAME *l)
{
    DLOAD_I_BATCH *b = l->core.queue;
    l->core.queue = b->next;
    if (l->core.last == b)
        l->core.last = NULL;
    return b;
}

/* Sends it. Returns how many keys went. */
DLOAD_I_NOINLINE uint32_t DLOAD_I_FN(i_send)(DLOAD_NAME *l, dload_trigger why)
{
    DLOAD_I_BATCH *b = DLOAD_I_FN(i_pop)(l);
    uint32_t n_keys = b->n_seats;
    DLOAD_I_COUNT(l, by_trigger[b->state == DLOAD_I_QUEUED ? DLOAD_BY_SIZE : why], 1u);
    DLOAD_I_COUNT(l, batches, 1u);
    DLOAD_I_COUNT(l, keys, n_keys);
#if DLOAD_STATS
    if (n_keys > l->core.stats.largest_batch)
        l->core.stats.largest_batch = n_keys;
#endif
    (void)why;
    b->state = DLOAD_I_RUNNING;
    b->keys = b->own_keys;
    b->n = n_keys;
    b->ctx = l->core.ctx;
    b->token = l->core.clear_seq;
    l->core.n_running++;
    l->core.n_out++;
    dload_status st = l->core.fetch(b);
    l->core.n_running--;
    if (st == DLOAD_PENDING)
        st = DLOAD_EINVAL; /* nobody could end it */
    DLOAD_I_FN(i_publish)(l, b, st < 0 ? st : DLOAD_MISSING);
    l->core.n_out--; /* only now may the loader be destroyed */
    return n_keys;
}

/* ---- clears ---- */

/* What was sent before brings nothing any more: later loads neither join nor trust it. */
DLOAD_I_LOCAL void DLOAD_I_FN(i_outdate)(DLOAD_NAME *l, const DLOAD_I_ID *id)
{
    uint32_t place = 0;
    DLOAD_I_BATCH *b = DLOAD_I_FN(i_flight)(l, &id->key, &place);
    l->core.last_clear[(uint32_t)(id->hash >> 32) % DLOAD_I_SOLO_CLEARS] = ++l->core.clear_seq;
    if (b != NULL && b->state == DLOAD_I_RUNNING)
        b->seats[place].detached =
            true; /* one that is queued will be fetched after this: it stays */
}

DLOAD_I_LOCAL void DLOAD_I_FN(i_outdate_all)(DLOAD_NAME *l)
{
    l->core.clear_seq++;
    for (uint32_t i = 0; i < DLOAD_I_SOLO_CLEARS; i++)
        l->core.last_clear[i] = l->core.clear_seq;
    for (uint32_t k = 0; k < l->core.n_batches; k++) {
        DLOAD_I_BATCH *b = &l->core.batches[k];
        for (uint32_t i = 0; i < b->n_seats && b->state == DLOAD_I_RUNNING; i++)
            b->seats[i].detached = true;
    }
}

/* Is a key on its way: waiting, or being fetched? */
DLOAD_I_LOCAL dload_state DLOAD_I_FN(i_way)(const DLOAD_NAME *l, const DLOAD_I_ID *id)
{
    uint32_t place = 0;
    const DLOAD_I_BATCH *b = DLOAD_I_FN(i_flight)(l, &id->key, &place);
    if (b == NULL)
        return DLOAD_STATE_ABSENT;
    return b->state == DLOAD_I_RUNNING ? DLOAD_STATE_IN_FLIGHT : DLOAD_STATE_QUEUED;
}

/* Was the key cleared since the token was taken? May say yes for a neighbour, and for a key that was cleared 2^31
 * clears ago: then a value is not cached that could have been. */
DLOAD_I_LOCAL bool DLOAD_I_FN(i_cleared_since)(const DLOAD_NAME *l, const DLOAD_I_ID *id,
                                               dload_token token)
{
    uint32_t last = l->core.last_clear[(uint32_t)(id->hash >> 32) % DLOAD_I_SOLO_CLEARS];
    return last - (uint32_t)token - 1u < UINT32_C(1) << 31;
}

/* ---- the fetch function's side ---- */

DLOAD_I_LOCAL dload_status DLOAD_I_FN(i_answer)(DLOAD_I_BATCH *b, size_t i, dload_status status,
                                                const DLOAD_I_V *value, bool moved, uint64_t ttl_ns)
{
    (void)moved; /* plain values are copied either way */
    if (status >= 0 && value == NULL)
        return DLOAD_EINVAL;
    if (i >= b->n_seats)
        return DLOAD_EBATCH;
    dload_i_seat *f = &b->seats[i];
    if (f->answered)
        return DLOAD_EBUSY;
    if (status >= 0)
        b->values[i] = *value;
    f->status = status;
    f->ttl_ns = ttl_ns;
    f->answered = true;
    return DLOAD_OK;
}

DLOAD_I_API dload_status DLOAD_I_FN(batch_put)(DLOAD_I_BATCH *b, DLOAD_I_K key,
                                               const DLOAD_I_V *value)
{
    struct DLOAD_NAME *l = b->owner;
    dload_status st = DLOAD_I_FN(i_canon)(&key, l->cache.max_key_bytes);
    if (st < 0 || value == NULL)
        return value == NULL ? DLOAD_EINVAL : st;
    for (uint32_t i = 0; i < b->n_seats; i++) {
        if (DLOAD_I_FN(i_same)(&b->own_keys[i], &key)) /* asked for after all */
            return DLOAD_I_FN(i_answer)(b, i, DLOAD_OK, value, false, DLOAD_I_TTL_DEFAULT);
    }
    DLOAD_I_FN(item) item;
    item.id = DLOAD_I_FN(i_id)(&l->cache, key, 0);
    if (DLOAD_I_FN(i_cleared_since)(l, &item.id, b->token))
        return DLOAD_ECANCELED;
    if (l->cache.n_shards == 0)
        return DLOAD_OK;
    DLOAD_I_V copy = *value;
    item.value = &copy;
    item.status = DLOAD_OK;
    item.ttl_ns = l->cache.ttl_ns;
    item.now_ns = DLOAD_TTL ? DLOAD_I_FN(i_now)(&l->cache) : 0;
    st = DLOAD_I_FN(i_store)(&l->cache, &item);
    DLOAD_I_COUNT(l, stores, st >= 0);
    return st;
}

#endif /* DLOAD_I_BODIES && !DLOAD_ASYNC */
#endif /* DLOAD_I_HAVE_SOLO */

/* ==== typed/owed.h ==== */

/* >>owed -- what storing a batch's answers leaves to do, until the loader's mutex is free.
 *
 * An answer is stored under the mutex, where nobody may be told and nothing released. What comes of it is
 * noted at the answer's place, and the core comes back to that place later.
 */
#ifndef DLOAD_I_HAVE_OWED
#define DLOAD_I_HAVE_OWED

#if DLOAD_I_BODIES

#define DLOAD_I_OWED_VALUE    1u /* the answer is ours to release */
#define DLOAD_I_OWED_REJECTED 2u /* ... it did not get into the cache */
#define DLOAD_I_OWED_OLD      4u /* a value that left for it */
#define DLOAD_I_OWED_DEAD     8u /* more of them, which the shard has */

/* The value at place i is a copy of the batch's own. True when there is something to do later. */
DLOAD_I_LOCAL bool DLOAD_I_FN(i_owe_value)(DLOAD_I_FN(batch) * b, uint32_t i)
{
#if DLOAD_I_OWES
    b->owed[i].todo = DLOAD_I_OWNED ? DLOAD_I_OWED_VALUE : 0;
#endif
    (void)b;
    (void)i;
    return DLOAD_I_OWNED != 0;
}

/* A value left for the key at place i, where no other one is. */
DLOAD_I_LOCAL bool DLOAD_I_FN(i_owe_old)(DLOAD_I_FN(batch) * b, uint32_t i,
                                         const DLOAD_I_FN(removed) * old)
{
#if DLOAD_I_OWES
    b->owed[i].old = *old;
    b->owed[i].todo = DLOAD_I_OWED_OLD;
#else
    b->values[i] = old->value;
#endif
    return true;
}

#if DLOAD_I_OWES

/* Where the notes of a batch's cap places lie, after all else in its block. */
DLOAD_I_LOCAL size_t DLOAD_I_FN(i_owed_at)(size_t *total_bytes, uint32_t cap)
{
    return dload_i_carve(total_bytes, cap, sizeof(DLOAD_I_FN(i_owed)));
}

/* Notes what storing item, the answer at place i, came to. True when there is something to do later. */
DLOAD_I_LOCAL bool DLOAD_I_FN(i_owe)(DLOAD_I_FN(batch) * b, uint32_t i,
                                     const DLOAD_I_FN(item) * item, dload_status st)
{
    DLOAD_I_FN(i_owed) *owed = &b->owed[i];
    owed->todo = 0;
    if (st < 0 && item->status >= 0)
        owed->todo = DLOAD_I_OWED_VALUE | DLOAD_I_OWED_REJECTED;
    if (item->garbage) {
        owed->old = item->old;
        owed->todo |= DLOAD_I_OWED_OLD;
    }
#if DLOAD_I_KILLS
    if (item->dead)
        owed->todo |= DLOAD_I_OWED_DEAD;
#endif
    return owed->todo != 0;
}

/* Does it. No lock is held. */
DLOAD_I_LOCAL void DLOAD_I_FN(i_settle)(DLOAD_I_FN(batch) * b, uint32_t i)
{
    DLOAD_I_CACHE *c = &b->owner->cache;
    DLOAD_I_FN(i_owed) *owed = &b->owed[i];
    uint32_t todo = owed->todo;
    owed->todo = 0;
    if ((todo & DLOAD_I_OWED_REJECTED) == 0) {
        if ((todo & DLOAD_I_OWED_VALUE) != 0)
            DLOAD_I_FN(i_release)(&b->values[i]);
        if (todo <= DLOAD_I_OWED_VALUE)
            return; /* it may never have come near the cache */
    }
    DLOAD_I_SHARD *s = DLOAD_I_FN(i_shard)(c, b->base.flights[i].hash);
    if ((todo & DLOAD_I_OWED_REJECTED) != 0) {
        DLOAD_I_FN(item) item;
        item.id.key = b->own_keys[i];
#if DLOAD_GROUP
        item.id.group = b->base.group;
#endif
        item.value = &b->values[i];
        DLOAD_I_FN(i_reject)(c, s, &item);
    }
    if ((todo & DLOAD_I_OWED_OLD) != 0)
        DLOAD_I_FN(i_end)(c, s, &owed->old);
#if DLOAD_I_KILLS
    if ((todo & DLOAD_I_OWED_DEAD) != 0)
        DLOAD_I_FN(i_drain)(c, s);
#endif
}

#endif /* DLOAD_I_OWES */

#endif /* DLOAD_I_BODIES */
#endif /* DLOAD_I_HAVE_OWED */

/* ==== typed/ops.h ==== */

/* >>ops -- what the batch core asks of the typed half: batches in memory, the fetch call, answers.
 *
 * The core calls these with the loader's mutex held, but for _i_run, _i_release_at and _i_call.
 */
#ifndef DLOAD_I_HAVE_OPS
#define DLOAD_I_HAVE_OPS

#if DLOAD_I_BODIES && DLOAD_ASYNC

#define DLOAD_I_BATCH  DLOAD_I_FN(batch)
#define DLOAD_I_WAITER DLOAD_I_FN(waiter)

/* How many places a batch starts with; doubled up to max_batch. */
#define DLOAD_I_FIRST_PLACES 16u

DLOAD_I_INLINE DLOAD_I_BATCH *DLOAD_I_FN(i_batch)(dload_i_batch *b)
{
    return (DLOAD_I_BATCH *)(void *)b; /* base is the first member */
}

/* Where the arrays of a batch with cap places lie in its one block; returns the block's size. */
DLOAD_I_LOCAL size_t DLOAD_I_FN(i_places)(uint32_t cap, size_t *values_at, size_t *flights_at)
{
    size_t total = 0;
    (void)dload_i_carve(&total, cap, sizeof(DLOAD_I_K));
    *values_at = dload_i_carve(&total, cap, sizeof(DLOAD_I_V));
    *flights_at = dload_i_carve(&total, cap, sizeof(dload_i_flight));
#if DLOAD_I_OWES
    (void)DLOAD_I_FN(i_owed_at)(&total, cap);
#endif
    return total;
}

DLOAD_I_COLD bool DLOAD_I_FN(i_grow_batch)(void *owner, dload_i_batch *base, uint32_t cap)
{
    struct DLOAD_NAME *l = (struct DLOAD_NAME *)owner;
    DLOAD_I_BATCH *b = DLOAD_I_FN(i_batch)(base);
    size_t values_at = 0, flights_at = 0;
    size_t n_bytes = DLOAD_I_FN(i_places)(cap, &values_at, &flights_at);
    char *block = n_bytes == SIZE_MAX ? NULL : (char *)dload_i_alloc(l->core.env, n_bytes);
    if (block == NULL)
        return false;
    if (base->n != 0) { /* no value is there before the batch was sent */
        memcpy(block, b->own_keys, base->n * sizeof(DLOAD_I_K));
        memcpy(block + flights_at, base->flights, base->n * sizeof(dload_i_flight));
    }
    if (base->cap != 0) {
        size_t unused = 0;
        dload_i_free(l->core.env, b->own_keys, DLOAD_I_FN(i_places)(base->cap, &unused, &unused));
    }
    b->own_keys = (DLOAD_I_K *)(void *)block;
    b->values = (DLOAD_I_V *)(void *)(block + values_at);
    base->flights = (dload_i_flight *)(void *)(block + flights_at);
#if DLOAD_I_OWES
    size_t owed_at = flights_at + cap * sizeof(dload_i_flight);
    b->owed = (DLOAD_I_FN(i_owed) *)(void *)(block + DLOAD_I_FN(i_owed_at)(&owed_at, cap));
#endif
    base->cap = cap;
    return true;
}

DLOAD_I_UNUSED static dload_i_batch *DLOAD_I_FN(i_make_batch)(void *owner)
{
    struct DLOAD_NAME *l = (struct DLOAD_NAME *)owner;
    DLOAD_I_BATCH *b = (DLOAD_I_BATCH *)dload_i_alloc(l->core.env, sizeof *b);
    if (b == NULL)
        return NULL;
    memset(b, 0, sizeof *b);
    b->owner = l;
    uint32_t cap =
        l->core.max_batch < DLOAD_I_FIRST_PLACES ? l->core.max_batch : DLOAD_I_FIRST_PLACES;
    if (!DLOAD_I_FN(i_grow_batch)(owner, &b->base, cap)) {
        dload_i_free(l->core.env, b, sizeof *b);
        return NULL;
    }
    return &b->base;
}

#if DLOAD_STORE
/* In second.h, locked.h and run_second.h. */
DLOAD_I_LOCAL void DLOAD_I_FN(i_second_give)(DLOAD_I_BATCH *b);
DLOAD_I_LOCAL void DLOAD_I_FN(i_locked_give)(DLOAD_I_BATCH *b);
DLOAD_I_LOCAL dload_status DLOAD_I_FN(i_run_second)(DLOAD_NAME *l, DLOAD_I_BATCH *b);
DLOAD_I_LOCAL void DLOAD_I_FN(i_keep_answer)(DLOAD_NAME *l, DLOAD_I_BATCH *b, uint32_t i);
#endif

DLOAD_I_UNUSED static void DLOAD_I_FN(i_unmake_batch)(void *owner, dload_i_batch *base)
{
    struct DLOAD_NAME *l = (struct DLOAD_NAME *)owner;
    DLOAD_I_BATCH *b = DLOAD_I_FN(i_batch)(base);
    size_t unused = 0;
    dload_i_free(l->core.env, b->own_keys, DLOAD_I_FN(i_places)(base->cap, &unused, &unused));
#if DLOAD_STORE
    DLOAD_I_FN(i_second_give)(b);
    DLOAD_I_FN(i_locked_give)(b);
#endif
    dload_i_free(l->core.env, b, sizeof *b);
}

DLOAD_I_UNUSED static void DLOAD_I_FN(i_move_key)(dload_i_batch *base, uint32_t to, uint32_t from)
{
    DLOAD_I_BATCH *b = DLOAD_I_FN(i_batch)(base);
    b->own_keys[to] = b->own_keys[from];
}

#if DLOAD_I_IS_STRING
DLOAD_I_UNUSED static void DLOAD_I_FN(i_forget_key)(void *owner, dload_i_batch *base, uint32_t i)
{
    struct DLOAD_NAME *l = (struct DLOAD_NAME *)owner;
    DLOAD_I_K *key = &DLOAD_I_FN(i_batch)(base)->own_keys[i];
    dload_i_arena_drop(&l->arena, key->ptr, key->len);
}
#endif

/* How long an answer without a value is kept: 0 = not at all. Asks the user, so no lock is held. */
DLOAD_I_LOCAL uint64_t DLOAD_I_FN(i_error_ttl)(const DLOAD_NAME *l, dload_status status)
{
    if (status >= 0 || status == DLOAD_MISSING)
        return l->cfg.missing_ttl_ns; /* what the function left out is missing */
    return l->cfg.error_ttl != NULL ? l->cfg.error_ttl(l->cfg.ctx, status) : 0;
}

#if DLOAD_STORE
/* Is there a second level? Without caching it is not touched. */
DLOAD_I_INLINE bool DLOAD_I_FN(i_has_second)(const DLOAD_NAME *l)
{
    return l->second.store != NULL && l->cache.n_shards != 0;
}
#endif

DLOAD_I_UNUSED static dload_status DLOAD_I_FN(i_run)(void *owner, dload_i_batch *base)
{
    struct DLOAD_NAME *l = (struct DLOAD_NAME *)owner;
    DLOAD_I_BATCH *b = DLOAD_I_FN(i_batch)(base);
    b->keys = b->own_keys;
    b->n = base->n;
    b->ctx = l->cfg.ctx;
#if DLOAD_GROUP
    b->group = base->group;
#endif
    b->deadline_ns = dload_i_add_ns(base->started_ns, l->core.run_limit_ns);
#if DLOAD_STORE
    if (DLOAD_I_FN(i_has_second)(l) || l->locking.locks != NULL)
        return DLOAD_I_FN(i_run_second)(l, b);
#endif
    dload_status st = l->cfg.fetch(b);
    if (st != DLOAD_PENDING) /* afterwards b belongs to whoever ends it */
        base->rest_ttl_ns = DLOAD_I_FN(i_error_ttl)(l, st);
    return st;
}

DLOAD_I_INLINE dload_status DLOAD_I_FN(i_copy_out)(dload_i_batch *base, uint32_t i, void *out)
{
    return DLOAD_I_FN(i_copy)((DLOAD_I_V *)out, &DLOAD_I_FN(i_batch)(base)->values[i]);
}

#if DLOAD_REFRESH
/* In refresh.h: the old value of a key, when there is an answer. */
DLOAD_I_UNUSED static void DLOAD_I_FN(i_keep_at)(void *owner, dload_i_batch *base, uint32_t i);
DLOAD_I_NOINLINE bool DLOAD_I_FN(i_settle_old)(DLOAD_NAME *l, dload_i_batch *base, uint32_t i);
#endif

DLOAD_I_INLINE bool DLOAD_I_FN(i_store_at)(void *owner, dload_i_batch *base, uint32_t i)
{
    struct DLOAD_NAME *l = (struct DLOAD_NAME *)owner;
    DLOAD_I_BATCH *b = DLOAD_I_FN(i_batch)(base);
    dload_i_flight *f = &base->flights[i];
#if DLOAD_REFRESH
    if (DLOAD_I_FN(i_settle_old)(l, base, i))
        return false;
#endif
#if DLOAD_STORE
    DLOAD_I_FN(i_keep_answer)(l, b, i);
    /* What the store never had or did not take could change unheard: mutant untracked_is_cached. */
    if (l->second.only_hits && DLOAD_I_FN(i_has_second)(l) && (f->second & DLOAD_I_SECOND_HIT) == 0)
        return false;
#endif
    uint64_t ttl_ns = f->ttl_ns == DLOAD_I_TTL_DEFAULT ? l->cache.ttl_ns : f->ttl_ns;
    if (ttl_ns == 0 || l->cache.n_shards == 0)
        return false;
    DLOAD_I_FN(item) item;
    item.id.hash = f->hash;
    item.id.key = b->own_keys[i];
#if DLOAD_GROUP
    item.id.group = base->group;
#endif
    item.value = &b->values[i];
    item.status = f->status;
    item.ttl_ns = ttl_ns;
#if DLOAD_CLOCK == DLOAD_CLOCK_ENV
    /* one look at the clock for all answers of a batch */
    item.now_ns = l->core.env->now != NULL ? base->ended_ns : DLOAD_I_FN(i_now)(&l->cache);
#else
    item.now_ns = DLOAD_I_FN(i_now)(&l->cache);
#endif
    dload_status st = DLOAD_I_FN(i_store)(&l->cache, &item);
#if DLOAD_I_OWES
    f->holds = DLOAD_I_FN(i_owe)(b, i, &item, st);
    return st >= 0;
#else
    if (st < 0)
        return false;
#if DLOAD_I_OWNED
    /* The value moved into the cache; what had to go takes its place until the mutex is released. */
    f->holds = item.garbage;
    if (item.garbage)
        b->values[i] = item.old.value;
#endif
    return true;
#endif
}

#if DLOAD_I_LEAVES
DLOAD_I_UNUSED static void DLOAD_I_FN(i_release_at)(dload_i_batch *base, uint32_t i)
{
    base->flights[i].holds = 0;
#if DLOAD_I_OWES
    DLOAD_I_FN(i_settle)(DLOAD_I_FN(i_batch)(base), i);
#else
    DLOAD_I_FN(i_release)(&DLOAD_I_FN(i_batch)(base)->values[i]);
#endif
}
#endif

DLOAD_I_UNUSED static void DLOAD_I_FN(i_publish)(dload_i_core *c, dload_i_batch *base,
                                                 const dload_i_publishing *how,
                                                 dload_i_ready *ready)
{
    const dload_i_typed typed = {
        sizeof(DLOAD_I_V),
        DLOAD_I_FN(i_copy_out),
        DLOAD_I_FN(i_store_at),
#if DLOAD_REFRESH
        DLOAD_I_FN(i_keep_at),
#else
        NULL,
#endif
    };
    dload_i_publish_each(c, base, how, typed, ready);
}

DLOAD_I_UNUSED static void DLOAD_I_FN(i_call)(dload_i_waiter *base)
{
    DLOAD_I_WAITER *w = (DLOAD_I_WAITER *)(void *)base; /* base is the first member */
    w->status = (dload_status)base->status;
    if (w->done != NULL)
        w->done(w);
}

#if DLOAD_HASH == DLOAD_HASH_SIP && DLOAD_GROUP
DLOAD_I_UNUSED static uint64_t DLOAD_I_FN(i_mark)(const void *owner, uint64_t group)
{
    return dload_i_sip_mark(((const DLOAD_NAME *)owner)->cache.hash_key, group);
}
#endif

DLOAD_I_UNUSED static const dload_i_ops *DLOAD_I_FN(i_ops)(void)
{
    static const dload_i_ops ops = {
        DLOAD_I_FN(i_make_batch),
        DLOAD_I_FN(i_unmake_batch),
        DLOAD_I_FN(i_grow_batch),
        DLOAD_I_FN(i_move_key),
#if DLOAD_I_IS_STRING
        DLOAD_I_FN(i_forget_key),
#else
        NULL,
#endif
        DLOAD_I_FN(i_run),
        DLOAD_I_FN(i_publish),
#if DLOAD_I_LEAVES
        DLOAD_I_FN(i_release_at),
#else
        NULL,
#endif
        DLOAD_I_FN(i_call),
#if DLOAD_HASH == DLOAD_HASH_SIP && DLOAD_GROUP
        DLOAD_I_FN(i_mark),
#else
        NULL,
#endif
    };
    return &ops;
}

#endif /* DLOAD_I_BODIES && DLOAD_ASYNC */
#endif /* DLOAD_I_HAVE_OPS */

/* ==== typed/answer.h ==== */

/* >>answer -- the fetch function's side: answering the keys of a batch, and more keys than asked. */
#ifndef DLOAD_I_HAVE_ANSWER
#define DLOAD_I_HAVE_ANSWER

#if DLOAD_I_BODIES

#if DLOAD_ASYNC

/* Records the answer at place i, and publishes it when the function has returned already. With st < 0 there
 * is no value. *moved says that *value is ours whatever happens, and afterwards, whether it is to be released. The
 * mutex is held. */
DLOAD_I_INLINE dload_status DLOAD_I_FN(i_answer_held)(DLOAD_I_BATCH *b, size_t i,
                                                      dload_status status, const DLOAD_I_V *value,
                                                      bool *moved, uint64_t ttl_ns)
{
    struct DLOAD_NAME *l = b->owner;
    dload_status st = dload_i_may_answer(&l->core, &b->base, i);
    if (st == DLOAD_OK) {
        dload_i_flight *f = &b->base.flights[i];
        if (status >= 0) {
            if (*moved)
                b->values[i] = *value;
            else
                st = DLOAD_I_FN(i_copy)(&b->values[i], value);
            f->holds = DLOAD_I_OWNED && st >= 0;
#if DLOAD_I_OWES
            b->owed[i].todo = f->holds ? DLOAD_I_OWED_VALUE : 0;
#endif
        }
        f->status = st < 0 ? st : status;
        f->ttl_ns = st < 0 ? 0 : ttl_ns;
        f->answered = 1;
        *moved = false;
        dload_i_answered(&l->core, &b->base, (uint32_t)i);
    }
    return st;
}

DLOAD_I_INLINE void DLOAD_I_FN(i_unwanted)(const DLOAD_I_V *value, bool moved)
{
#if DLOAD_I_OWNED
    if (moved) {
        DLOAD_I_V unwanted = *value;
        DLOAD_I_FN(i_release)(&unwanted);
    }
#else
    (void)value;
    (void)moved;
#endif
}

DLOAD_I_LOCAL dload_status DLOAD_I_FN(i_answer_at)(DLOAD_I_BATCH *b, size_t i, dload_status status,
                                                   const DLOAD_I_V *value, bool moved,
                                                   uint64_t ttl_ns)
{
    if (status >= 0 && value == NULL)
        return DLOAD_EINVAL;
    struct DLOAD_NAME *l = b->owner;
    if (DLOAD_I_FORKED(&l->cache))
        return DLOAD_EFORK;
    DLOAD_I_ACQUIRE(&l->mutex);
    dload_status st = DLOAD_I_FN(i_answer_held)(b, i, status, value, &moved, ttl_ns);
    DLOAD_I_LEAVE(l);
    DLOAD_I_FN(i_unwanted)(value, moved);
    return st;
}

/* The same for the i-th key that the function sees. */
DLOAD_I_INLINE dload_status DLOAD_I_FN(i_answer)(DLOAD_I_BATCH *b, size_t i, dload_status status,
                                                 const DLOAD_I_V *value, bool moved,
                                                 uint64_t ttl_ns)
{
#if DLOAD_STORE
    if (b->keys != b->own_keys)
        i = i < b->n ? b->places[i] : SIZE_MAX;
#endif
    return DLOAD_I_FN(i_answer_at)(b, i, status, value, moved, ttl_ns);
}

#endif /* DLOAD_ASYNC */

DLOAD_I_API dload_status DLOAD_I_FN(batch_set)(DLOAD_I_BATCH *b, size_t i, const DLOAD_I_V *value)
{
    return DLOAD_I_FN(i_answer)(b, i, DLOAD_OK, value, false, DLOAD_I_TTL_DEFAULT);
}

DLOAD_I_API dload_status DLOAD_I_FN(batch_set_ttl)(DLOAD_I_BATCH *b, size_t i,
                                                   const DLOAD_I_V *value, uint64_t ttl_ns)
{
    return DLOAD_I_FN(i_answer)(b, i, DLOAD_OK, value, false, ttl_ns);
}

DLOAD_I_API dload_status DLOAD_I_FN(batch_move)(DLOAD_I_BATCH *b, size_t i, DLOAD_I_V *value)
{
    return DLOAD_I_FN(i_answer)(b, i, DLOAD_OK, value, true, DLOAD_I_TTL_DEFAULT);
}

DLOAD_I_API dload_status DLOAD_I_FN(batch_fail)(DLOAD_I_BATCH *b, size_t i, dload_status status)
{
    if (status >= 0 || status == DLOAD_PENDING)
        return DLOAD_EINVAL;
    uint64_t ttl_ns = DLOAD_I_FN(i_error_ttl)(b->owner, status);
    return DLOAD_I_FN(i_answer)(b, i, status, NULL, false, ttl_ns);
}

#if DLOAD_I_VALUE_IS_BLOB
DLOAD_I_API dload_status DLOAD_I_FN(batch_set_bytes)(DLOAD_I_BATCH *b, size_t i, const void *bytes,
                                                     size_t n_bytes)
{
    dload_blob blob;
    dload_status st = dload_blob_make(b->owner->core.env, bytes, n_bytes, &blob);
    if (st < 0) {
        (void)DLOAD_I_FN(i_answer)(b, i, st, NULL, false, 0);
        return st;
    }
    return DLOAD_I_FN(i_answer)(b, i, DLOAD_OK, &blob, true, DLOAD_I_TTL_DEFAULT);
}
#endif

#if DLOAD_ASYNC /* otherwise in solo.h */

#if DLOAD_STORE
/* In run_second.h. */
DLOAD_I_LOCAL void DLOAD_I_FN(i_fetched)(DLOAD_NAME *l, DLOAD_I_BATCH *b, dload_status status,
                                         uint64_t rest_ttl_ns);
DLOAD_I_LOCAL bool DLOAD_I_FN(i_resume)(DLOAD_NAME *l, DLOAD_I_BATCH *b, dload_status status,
                                        uint64_t rest_ttl_ns);
#endif

/* Was the key, its group or everything cleared after the token was taken? The mutex is held. */
DLOAD_I_LOCAL bool DLOAD_I_FN(i_cleared_since)(const DLOAD_NAME *l, const DLOAD_I_ID *id,
                                               uint64_t token)
{
#if DLOAD_GROUP
    if (dload_i_cleared_since(&l->core, dload_i_mark(&l->core, id->group), token))
        return true;
#endif
    return dload_i_cleared_since(&l->core, id->hash, token);
}

/* The place of a key in this batch, or b->n; the mutex is held. The index knows all but the flights
 * that were cleared or published meanwhile: for those every place is looked at. */
DLOAD_I_LOCAL uint32_t DLOAD_I_FN(i_place_of)(const DLOAD_I_BATCH *b, const DLOAD_I_ID *id)
{
    const dload_i_core *c = &b->owner->core;
    uint32_t h = dload_i_ref_hash(id->hash);
    for (uint32_t i = h & (c->refs_cap - 1); c->refs[i].batch != NULL;
         i = (i + 1) & (c->refs_cap - 1)) {
        if (c->refs[i].batch == &b->base && c->refs[i].hash == h &&
            DLOAD_I_FN(i_same)(&b->own_keys[c->refs[i].place], &id->key))
            return c->refs[i].place;
    }
    bool all_indexed = b->base.n_detached == 0 && b->base.n_published == 0;
    for (uint32_t i = 0; i < b->base.n && !all_indexed; i++) {
        if (b->base.flights[i].hash == id->hash && DLOAD_I_FN(i_same)(&b->own_keys[i], &id->key))
            return i;
    }
    return b->base.n;
}

DLOAD_I_API dload_status DLOAD_I_FN(batch_put)(DLOAD_I_BATCH *b, DLOAD_I_K key,
                                               const DLOAD_I_V *value)
{
    if (value == NULL)
        return DLOAD_EINVAL;
    struct DLOAD_NAME *l = b->owner;
    dload_status st = DLOAD_I_FN(i_canon)(&key, l->cache.max_key_bytes);
    if (st < 0 || DLOAD_I_FORKED(&l->cache))
        return st < 0 ? st : DLOAD_EFORK;
    DLOAD_I_FN(item) item;
    DLOAD_I_V copy;
    item.id = DLOAD_I_FN(i_id)(&l->cache, key, b->base.group);
    item.value = &copy;
    item.status = DLOAD_OK;
    item.ttl_ns = l->cache.ttl_ns;
    item.now_ns = DLOAD_TTL ? DLOAD_I_FN(i_now)(&l->cache) : 0;
    item.garbage = false;
    DLOAD_I_ACQUIRE(&l->mutex);
    uint32_t place = b->base.state == DLOAD_I_LOST ? 0 : DLOAD_I_FN(i_place_of)(b, &item.id);
    if (b->base.state == DLOAD_I_LOST || place < b->base.n) {
        DLOAD_I_LEAVE(l); /* asked for after all */
        return DLOAD_I_FN(i_answer_at)(b, place, DLOAD_OK, value, false, DLOAD_I_TTL_DEFAULT);
    }
    if (DLOAD_I_FN(i_cleared_since)(l, &item.id, b->base.token))
        st = DLOAD_ECANCELED;
    else if (l->cache.n_shards != 0)
        st = DLOAD_I_FN(i_copy)(&copy, value);
    bool copied = st >= 0 && l->cache.n_shards != 0;
    if (copied)
        st = DLOAD_I_FN(i_store)(&l->cache, &item);
    if (copied && st >= 0)
        l->core.stats.stores++;
    DLOAD_I_LEAVE(l);
    if (copied)
        DLOAD_I_FN(i_after_store)(&l->cache, &item, st);
    return st;
}

DLOAD_I_API dload_status DLOAD_I_FN(batch_done)(DLOAD_I_BATCH *b, dload_status status)
{
    struct DLOAD_NAME *l = b->owner;
    if (status == DLOAD_PENDING || DLOAD_I_FORKED(&l->cache))
        return status == DLOAD_PENDING ? DLOAD_EINVAL : DLOAD_EFORK;
    uint64_t ttl_ns = DLOAD_I_FN(i_error_ttl)(l, status);
#if DLOAD_STORE
    if (DLOAD_I_FN(i_has_second)(l) || l->locking.locks != NULL)
        DLOAD_I_FN(i_fetched)(l, b, status, ttl_ns);
    if (DLOAD_I_FN(i_resume)(l, b, status, ttl_ns))
        return DLOAD_OK; /* it goes on with other keys */
#endif
    DLOAD_I_ACQUIRE(&l->mutex);
    b->base.rest_ttl_ns = ttl_ns;
    dload_i_done(&l->core, &b->base, status);
    DLOAD_I_LEAVE(l);
    return DLOAD_OK;
}

DLOAD_I_API bool DLOAD_I_FN(batch_cancelled)(const DLOAD_I_BATCH *b)
{
    return DLOAD_I_LOAD_RELAXED(&b->base.n_waiters) == 0;
}

#endif /* DLOAD_ASYNC */

#endif /* DLOAD_I_BODIES */
#endif /* DLOAD_I_HAVE_ANSWER */

/* ==== typed/locked.h ==== */

/* >>locked -- named locks around the fetch function: one process at a time fetches, and the next one finds
 * what it has stored.
 *
 * A lock is taken when the store has been asked and something is missing; then it is asked again, mutant
 * LOCKED_UNASKED, because whoever held the lock before will have stored just that. A lock that was lost meanwhile
 * may be another's by now, who may have fetched something newer: what came of ours is delivered, not stored.
 *
 * No lock is held here where nothing else is said: this runs where the fetch function runs.
 */
#ifndef DLOAD_I_HAVE_LOCKED
#define DLOAD_I_HAVE_LOCKED

#if DLOAD_I_BODIES && DLOAD_STORE

/* The stripes that the keys which the function would see are under. */
DLOAD_I_LOCAL uint64_t DLOAD_I_FN(i_stripes_of)(const DLOAD_NAME *l, const DLOAD_I_BATCH *b)
{
    const dload_i_locking *k = &l->locking;
    uint64_t stripes = k->n_stripes == 1;
    for (size_t i = 0; i < b->n && k->n_stripes > 1; i++) {
        char text[DLOAD_I_KEYTEXT_MAX];
        dload_str tail;
        size_t n = DLOAD_I_FN(i_key_text)(text, b->base.group, &b->keys[i], &tail);
        uint64_t sum = dload_i_sum(0, text, n);
        stripes |= dload_i_stripe_bit(k, dload_i_sum(sum, tail.ptr, tail.len));
    }
    return stripes;
}

/* Is this batch sent from inside another one's fetch function, in this thread? Then what it would wait for may be
 * what that one holds. */
DLOAD_I_LOCAL bool DLOAD_I_FN(i_is_inner)(DLOAD_NAME *l, const DLOAD_I_BATCH *b)
{
    bool inner = false;
    uint64_t self = dload_i_self(l->core.env);
    DLOAD_I_ACQUIRE(&l->mutex);
    for (const dload_i_batch *other = l->core.running; other != NULL; other = other->next)
        inner = inner || (other != &b->base && other->in_fetch && other->runner == self);
    DLOAD_I_LEAVE(l);
    return inner;
}

/* Takes the locks of a batch: true when it holds one now, and waited for it or not. */
DLOAD_I_LOCAL bool DLOAD_I_FN(i_lock_batch)(DLOAD_NAME *l, DLOAD_I_BATCH *b)
{
    const dload_i_locking *k = &l->locking;
    const dload_env *env = l->core.env;
    if (k->locks == NULL || b->locked != 0 || DLOAD_I_FN(i_is_inner)(l, b))
        return false;
    uint64_t wanted = DLOAD_I_FN(i_stripes_of)(l, b);
    uint64_t until_ns = dload_i_add_ns(dload_i_now(env), k->wait_ns);
    if (b->held == NULL)
        b->held = (dload_held *)dload_i_alloc(env, k->n_stripes * sizeof *b->held);
    if (b->held != NULL)
        b->locked = dload_i_locks_take(
            k, env, wanted, until_ns < b->deadline_ns ? until_ns : b->deadline_ns, b->held);
    DLOAD_I_ACQUIRE(&l->mutex);
    l->core.stats.locks_taken += dload_i_n_stripes(b->locked);
    l->core.stats.locks_missed += dload_i_n_stripes(wanted & ~b->locked);
    DLOAD_I_LEAVE(l);
    return b->locked != 0;
}

DLOAD_I_LOCAL void DLOAD_I_FN(i_count_lost)(DLOAD_NAME *l, uint32_t n_lost)
{
    DLOAD_I_ACQUIRE(&l->mutex);
    l->core.stats.locks_lost += n_lost;
    DLOAD_I_LEAVE(l);
}

/* Before what the function answered is stored: true when every lock is held still. One that is not is given
 * back, and counted, here. */
DLOAD_I_LOCAL bool DLOAD_I_FN(i_holds_locks)(DLOAD_NAME *l, DLOAD_I_BATCH *b)
{
    if (b->locked == 0)
        return true;
    uint32_t n_lost = dload_i_locks_lost(&l->locking, b->locked, b->held);
    if (n_lost == 0)
        return true;
    (void)dload_i_locks_give(&l->locking, b->locked, b->held);
    b->locked = 0;
    DLOAD_I_FN(i_count_lost)(l, n_lost);
    return false;
}

DLOAD_I_LOCAL void DLOAD_I_FN(i_unlock_batch)(DLOAD_NAME *l, DLOAD_I_BATCH *b)
{
    if (b->locked == 0)
        return;
    uint32_t n_lost = dload_i_locks_give(&l->locking, b->locked, b->held);
    b->locked = 0;
    if (n_lost != 0)
        DLOAD_I_FN(i_count_lost)(l, n_lost);
}

/* The end of a batch's memory. */
DLOAD_I_LOCAL void DLOAD_I_FN(i_locked_give)(DLOAD_I_BATCH *b)
{
    dload_i_free(b->owner->core.env, b->held, b->owner->locking.n_stripes * sizeof *b->held);
    b->held = NULL;
}

#endif /* DLOAD_I_BODIES && DLOAD_STORE */
#endif /* DLOAD_I_HAVE_LOCKED */

/* ==== typed/leased.h ==== */

/* >>leased -- leases of a batch: its own, which it fetches for, and those of others, which it waits for.
 *
 * The function is called for what is the batch's own; what it answered is stored and published. Then the store is
 * asked for the rest, until each key is there, is the batch's own, or nobody wants it any more. Where the
 * store does not answer the rest is fetched, too, and not stored.
 */
#ifndef DLOAD_I_HAVE_LEASED
#define DLOAD_I_HAVE_LEASED

#if DLOAD_I_BODIES && DLOAD_STORE

/* What a LEASE said of the key of item i, which it gave no value. The mutex is held. */
DLOAD_I_LOCAL void DLOAD_I_FN(i_note_lease)(DLOAD_I_BATCH *b, const dload_i_letter *t, uint32_t i)
{
    const dload_store_item *item = &t->items[i];
    dload_i_flight *f = &b->base.flights[t->marks[i].place];
    if (item->status == DLOAD_MISSING)
        f->second |= DLOAD_I_SECOND_MINE;
    if (item->status != DLOAD_EBUSY)
        return;
    f->second |= DLOAD_I_SECOND_BUSY;
    f->second &= (uint8_t)~DLOAD_I_SECOND_MINE;
    b->ask_in_ns = item->ttl_ns < b->ask_in_ns ? item->ttl_ns : b->ask_in_ns;
}

/* The text of a key, to be deleted in the store. The mutex is held. */
DLOAD_I_LOCAL void DLOAD_I_FN(i_delete_place)(DLOAD_NAME *l, const DLOAD_I_BATCH *b, uint32_t place)
{
    char text[DLOAD_I_KEYTEXT_MAX];
    dload_str tail;
    size_t n = DLOAD_I_FN(i_key_text)(text, b->base.group, &b->own_keys[place], &tail);
    dload_i_clear_later(&l->second, b->base.flights[place].hash, DLOAD_GROUP ? b->base.group : 0,
                        false, text, n, tail);
}

/* After an answer to LEASE. A value that cannot be used stands in the way of leases: it is deleted. The mutex is
 * held. */
DLOAD_I_LOCAL void DLOAD_I_FN(i_after_lease)(DLOAD_NAME *l, DLOAD_I_BATCH *b,
                                             const dload_i_letter *t, bool again)
{
    for (uint32_t i = 0; i < t->n && t->status >= 0 && t->op.kind == DLOAD_STORE_LEASE; i++) {
        const dload_status st = (dload_status)t->marks[i].status;
        DLOAD_I_FN(i_note_lease)(b, t, i);
        if (t->items[i].status == DLOAD_OK &&
            (st == DLOAD_ECORRUPT || st == DLOAD_ELAYOUT || st == DLOAD_EDECODE))
            DLOAD_I_FN(i_delete_place)(l, b, t->marks[i].place);
        if (t->items[i].status == DLOAD_EBUSY)
            l->core.stats.leases_waited += !again;
    }
}

/* How many places have one of these bits. The mutex is held. */
DLOAD_I_LOCAL uint32_t DLOAD_I_FN(i_count_places)(const DLOAD_I_BATCH *b, uint8_t bits)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < b->base.n; i++)
        n += (b->base.flights[i].second & bits) != 0 && !b->base.flights[i].answered;
    return n;
}

/* Nobody is waited for any more: keys that others have leases of are fetched like those that are nobody's. */
DLOAD_I_LOCAL void DLOAD_I_FN(i_wait_for_none)(DLOAD_NAME *l, DLOAD_I_BATCH *b)
{
    DLOAD_I_ACQUIRE(&l->mutex);
    for (uint32_t i = 0; i < b->base.n; i++)
        b->base.flights[i].second &= (uint8_t)~DLOAD_I_SECOND_BUSY;
    DLOAD_I_LEAVE(l);
}

/* Ends what the batch has leases of and did not fill: mutant LEASE_KEPT. The function is through. */
DLOAD_I_LOCAL void DLOAD_I_FN(i_end_leases)(DLOAD_NAME *l, DLOAD_I_BATCH *b)
{
    dload_i_second *s = &l->second;
    DLOAD_I_ACQUIRE(&l->mutex);
    dload_i_letter *t = dload_i_letter_take(s, DLOAD_STORE_DROP);
    for (uint32_t i = 0; i < b->base.n && t != NULL; i++) {
        dload_i_flight *f = &b->base.flights[i];
        const uint8_t bits =
            f->second & (DLOAD_I_SECOND_MINE | DLOAD_I_SECOND_GIVEN | DLOAD_I_SECOND_OVER);
        char text[DLOAD_I_KEYTEXT_MAX];
        dload_str tail;
        if (bits != DLOAD_I_SECOND_MINE)
            continue;
        size_t n = DLOAD_I_FN(i_key_text)(text, b->base.group, &b->own_keys[i], &tail);
        if (dload_i_letter_add(t, text, n, tail) == NULL)
            break;
    }
    if (t != NULL && t->n == 0)
        dload_i_letter_give(s, t);
    else if (t != NULL) {
        dload_i_letter_keys(t);
        dload_i_letter_close(t);
        for (uint32_t i = 0; i < t->n; i++)
            dload_i_lease_item(&t->items[i], b->lease, s->lease_ns);
        (void)dload_i_letter_send(s, t);
    }
    if (!s->is_async)
        dload_i_send_clears(s, false); /* of values that were in the way, or out of date */
    DLOAD_I_LEAVE(l);
}

/* What was fetched without the store's being asked is not what it has any more: that goes. The mutex is held. */
DLOAD_I_LOCAL void DLOAD_I_FN(i_delete_fresh)(DLOAD_NAME *l, DLOAD_I_BATCH *b)
{
    for (uint32_t i = 0; i < b->base.n; i++) {
        const dload_i_flight *f = &b->base.flights[i];
        if (f->answered &&
            (f->second & (DLOAD_I_SECOND_FRESH | DLOAD_I_SECOND_OVER)) == DLOAD_I_SECOND_FRESH)
            DLOAD_I_FN(i_delete_place)(l, b, i);
    }
}

/* The function is through with the keys that it was called for: those it left out have their answer, too, and
 * all are published. */
DLOAD_I_LOCAL void DLOAD_I_FN(i_end_part)(DLOAD_NAME *l, DLOAD_I_BATCH *b, dload_status status,
                                          uint64_t rest_ttl_ns)
{
    const uint8_t out = DLOAD_I_SECOND_HIT | DLOAD_I_SECOND_BUSY | DLOAD_I_SECOND_OVER;
    for (uint32_t i = 0; i < b->base.n; i++) {
        if ((b->base.flights[i].second & out) != 0)
            continue;
        (void)DLOAD_I_FN(i_answer_at)(b, i, status < 0 ? status : DLOAD_MISSING, NULL, false,
                                      rest_ttl_ns);
    }
    DLOAD_I_ACQUIRE(&l->mutex);
    for (uint32_t i = 0; i < b->base.n; i++) {
        if ((b->base.flights[i].second & out) == 0)
            b->base.flights[i].second |= DLOAD_I_SECOND_OVER;
    }
    if (b->base.state == DLOAD_I_RUNNING) {
        b->base.ended_ns = dload_i_now(l->core.env);
        dload_i_publish_all(&l->core, &b->base, false, DLOAD_OK);
    }
    DLOAD_I_LEAVE(l);
}

/* Waits a little for those who have the leases: true when the store is to be asked again, false when nobody wants
 * the keys any more, and then they have an answer. */
DLOAD_I_LOCAL bool DLOAD_I_FN(i_wait_for_others)(DLOAD_NAME *l, DLOAD_I_BATCH *b,
                                                 uint64_t *pause_ns)
{
    const dload_env *env = l->core.env;
    uint64_t now_ns = dload_i_now(env);
    uint64_t span_ns = dload_i_ask_pause(*pause_ns, now_ns ^ b->lease[1] ^ *pause_ns);
    span_ns = b->ask_in_ns < span_ns ? b->ask_in_ns : span_ns;
    *pause_ns = *pause_ns * 2 < DLOAD_I_ASK_LAST_NS ? *pause_ns * 2 : DLOAD_I_ASK_LAST_NS;
    bool wanted = now_ns < b->deadline_ns && DLOAD_I_LOAD_RELAXED(&b->base.n_waiters) != 0;
    DLOAD_I_ACQUIRE(&l->mutex);
    bool runs = b->base.state == DLOAD_I_RUNNING;
    DLOAD_I_LEAVE(l);
    if (wanted && runs) {
        uint64_t left_ns = b->deadline_ns - now_ns;
        dload_i_idle_for(env, span_ns < left_ns ? span_ns + 1 : left_ns);
        return true;
    }
    for (uint32_t i = 0; i < b->base.n; i++) {
        dload_i_flight *f = &b->base.flights[i];
        if ((f->second & DLOAD_I_SECOND_BUSY) != 0)
            (void)DLOAD_I_FN(i_answer_at)(b, i, DLOAD_ETIMEDOUT, NULL, false, 0);
    }
    return false;
}

#endif /* DLOAD_I_BODIES && DLOAD_STORE */
#endif /* DLOAD_I_HAVE_LEASED */

/* ==== typed/second.h ==== */

/* >>second_level -- a batch asks the store before the function, and gives it what the function answered.
 *
 * The function sees the keys that the store did not answer: b->keys and b->n are those, and the index that
 * it answers by is translated. What the store answered is published before the function is called. Answers go
 * to the store once the function is through, in one request; whatever was cleared since the batch was sent is
 * not among them. No failure of the store is anybody's answer.
 *
 * No lock is held here where nothing else is said: this runs where the fetch function runs.
 */
#ifndef DLOAD_I_HAVE_SECOND
#define DLOAD_I_HAVE_SECOND

#if DLOAD_I_BODIES && DLOAD_STORE

/* Where a batch is. */
#ifndef DLOAD_I_STAGE_OPEN
#define DLOAD_I_STAGE_NONE 0u /* the function has not been called */
#define DLOAD_I_STAGE_OPEN 1u /* its answers are to be stored */
#define DLOAD_I_STAGE_DONE 2u /* they were, or are not to be any more */
#endif

/* ---- memory of a batch ---- */

DLOAD_I_LOCAL size_t DLOAD_I_FN(i_second_bytes)(uint32_t cap, size_t *kept_at, size_t *places_at)
{
    size_t total = 0;
    (void)dload_i_carve(&total, cap, sizeof(DLOAD_I_K));
    *kept_at = dload_i_carve(&total, cap, sizeof(DLOAD_I_V));
    *places_at = dload_i_carve(&total, cap, sizeof(uint32_t));
    return total;
}

DLOAD_I_LOCAL void DLOAD_I_FN(i_second_give)(DLOAD_I_BATCH *b)
{
    size_t unused = 0;
    if (b->second_cap != 0)
        dload_i_free(b->owner->core.env, b->second,
                     DLOAD_I_FN(i_second_bytes)(b->second_cap, &unused, &unused));
    b->second = NULL;
    b->second_cap = 0;
}

/* Room for all places of the batch; false when there is no memory. */
DLOAD_I_LOCAL bool DLOAD_I_FN(i_second_room)(DLOAD_I_BATCH *b)
{
    if (b->base.n <= b->second_cap)
        return true;
    size_t kept_at = 0, places_at = 0;
    size_t n_bytes = DLOAD_I_FN(i_second_bytes)(b->base.cap, &kept_at, &places_at);
    DLOAD_I_FN(i_second_give)(b);
    char *block = n_bytes == SIZE_MAX ? NULL : (char *)dload_i_alloc(b->owner->core.env, n_bytes);
    if (block == NULL)
        return false;
    b->second = block;
    b->second_cap = b->base.cap;
    b->asked = (DLOAD_I_K *)(void *)block;
    b->kept = (DLOAD_I_V *)(void *)(block + kept_at);
    b->places = (uint32_t *)(void *)(block + places_at);
    return true;
}

/* ---- reading ---- */

/* Adds the key at place i; NULL when there is no memory. */
DLOAD_I_LOCAL dload_i_mark_of *DLOAD_I_FN(i_add_place)(dload_i_letter *t, const DLOAD_I_BATCH *b,
                                                       uint32_t i)
{
    char text[DLOAD_I_KEYTEXT_MAX];
    dload_str tail;
    size_t n = DLOAD_I_FN(i_key_text)(text, b->base.group, &b->own_keys[i], &tail);
    dload_i_mark_of *m = dload_i_letter_add(t, text, n, tail);
    if (m != NULL) {
        m->hash = b->base.flights[i].hash;
        m->place = i;
    }
    return m;
}

DLOAD_I_LOCAL uint64_t DLOAD_I_FN(i_group_of)(const DLOAD_I_BATCH *b)
{
    return DLOAD_GROUP ? b->base.group : 0;
}

/* The request for what the store may be asked for and has not answered, or NULL: nothing, or no memory. The
 * mutex is held. */
DLOAD_I_LOCAL dload_i_letter *DLOAD_I_FN(i_question)(DLOAD_NAME *l, DLOAD_I_BATCH *b, bool again)
{
    dload_i_second *s = &l->second;
    uint64_t group = DLOAD_I_FN(i_group_of)(b);
    const dload_store_kind kind = s->lease_ns != 0 ? DLOAD_STORE_LEASE : DLOAD_STORE_GET;
    dload_i_letter *t = DLOAD_I_FN(i_second_room)(b) ? dload_i_letter_take(s, kind) : NULL;
    b->ask_in_ns = DLOAD_NEVER;
    for (uint32_t i = 0; i < b->base.n; i++) {
        dload_i_flight *f = &b->base.flights[i];
        if (again && (f->answered || (f->second & DLOAD_I_SECOND_OVER) != 0))
            continue;
        f->second &= (uint8_t)~DLOAD_I_SECOND_BUSY; /* unless the store says so again */
        if (t == NULL)
            continue;
        bool fresh = (f->second & DLOAD_I_SECOND_FRESH) != 0; /* mutant FRESH_FROM_STORE */
        bool hit = (f->second & DLOAD_I_SECOND_HIT) != 0;
        if (!fresh && !hit && !dload_i_is_unsent(s, f->hash, group) /* mutant UNSENT_READ */)
            (void)DLOAD_I_FN(i_add_place)(t, b, i);
    }
    uint32_t n = t != NULL ? t->n : 0;
    l->core.stats.store_bypassed += again ? 0 : b->base.n - n;
    if (n == 0) {
        if (t != NULL)
            dload_i_letter_give(s, t);
        return NULL;
    }
    t->batch = &b->base;
    t->group = group;
    dload_i_letter_keys(t);
    dload_i_letter_close(t);
    for (uint32_t i = 0; i < t->n && kind == DLOAD_STORE_LEASE; i++)
        dload_i_lease_item(&t->items[i], b->lease, s->lease_ns);
    s->n_out++;
    return t;
}

/* Makes a value of a stored body. */
DLOAD_I_LOCAL dload_status DLOAD_I_FN(i_unpack)(const DLOAD_NAME *l, const dload_i_stored *h,
                                                const char *body, DLOAD_I_V *value)
{
    if (l->cfg.decode != NULL)
        return h->kind != DLOAD_I_STORED_VALUE ||
                       l->cfg.decode(l->cfg.ctx, body, (size_t)h->n_bytes, value) < 0
                   ? DLOAD_EDECODE
                   : DLOAD_OK;
#if DLOAD_I_VALUE_IS_BLOB
    value->ptr = NULL;
    value->len = 0;
    return h->kind == DLOAD_I_STORED_NULL
               ? DLOAD_OK
               : dload_blob_make(l->core.env, body, (size_t)h->n_bytes, value);
#else
    if (h->kind != DLOAD_I_STORED_VALUE || h->n_bytes != sizeof *value)
        return DLOAD_EDECODE;
    memcpy(value, body, sizeof *value);
    return DLOAD_OK;
#endif
}

/* How long an answer that the store has may be kept here: never longer than one of the function's own. 0 =
 * it is not to be used. */
DLOAD_I_LOCAL uint64_t DLOAD_I_FN(i_left_here)(const DLOAD_NAME *l, const dload_i_stored *h,
                                               uint64_t at_store_ns)
{
    uint64_t own_ns = h->kind == DLOAD_I_STORED_STATUS
                          ? DLOAD_I_FN(i_error_ttl)(l, (dload_status)h->status)
                          : l->cache.ttl_ns;
    uint64_t left_ns = dload_i_stored_left(h, dload_i_clock_wall(), at_store_ns);
    return left_ns < own_ns ? left_ns : own_ns;
}

/* Item i of what the store said becomes its key's answer. DLOAD_OK; DLOAD_MISSING: it is not there; what is wrong
 * with it otherwise. */
DLOAD_I_LOCAL dload_status DLOAD_I_FN(i_take_one)(DLOAD_NAME *l, DLOAD_I_BATCH *b,
                                                  const dload_i_letter *t, uint32_t i)
{
    const dload_store_item *item = &t->items[i];
    const uint32_t place = t->marks[i].place;
    dload_i_stored h;
    const char *body = NULL;
    DLOAD_I_V value;
    if (item->status != DLOAD_OK)
        return item->status < 0 ? item->status : DLOAD_EDECODE;
    dload_status st = dload_i_stored_open(item->value, item->value_bytes, l->second.layout,
                                          dload_i_letter_key(t, i), &h, &body);
    if (st < 0)
        return st;
    uint64_t left_ns = DLOAD_I_FN(i_left_here)(l, &h, item->ttl_ns);
    if (left_ns == 0)
        return DLOAD_EDECODE;
    if (!DLOAD_TTL && left_ns != DLOAD_NEVER)
        left_ns = 0; /* delivered, not cached: it would stay for ever */
    if (h.kind != DLOAD_I_STORED_STATUS)
        st = DLOAD_I_FN(i_unpack)(l, &h, body, &value);
    if (st < 0)
        return st == DLOAD_ENOMEM ? st : DLOAD_EDECODE;
    bool moved = h.kind != DLOAD_I_STORED_STATUS;
    DLOAD_I_ACQUIRE(&l->mutex);
    b->base.flights[place].second |= DLOAD_I_SECOND_HIT;
    st = DLOAD_I_FN(i_answer_held)(b, place, moved ? DLOAD_OK : (dload_status)h.status, &value,
                                   &moved, left_ns);
    DLOAD_I_LEAVE(l);
    DLOAD_I_FN(i_unwanted)(&value, moved);
    return st;
}

/* Takes what the store said. Answers are published at once when others still have to be fetched. */
DLOAD_I_LOCAL void DLOAD_I_FN(i_take_answers)(DLOAD_NAME *l, DLOAD_I_BATCH *b, dload_i_letter *t,
                                              bool was_async, bool again)
{
    uint32_t n_hits = 0, n_refused = 0, n_failed = t->status < 0;
    for (uint32_t i = 0; i < t->n && t->status >= 0; i++) {
        dload_status st = DLOAD_I_FN(i_take_one)(l, b, t, i);
        n_hits += st == DLOAD_OK;
        n_refused += st == DLOAD_ECORRUPT || st == DLOAD_ELAYOUT || st == DLOAD_EDECODE;
        n_failed += st < 0 && st != DLOAD_MISSING && st != DLOAD_ECORRUPT && st != DLOAD_ELAYOUT &&
                    st != DLOAD_EDECODE && st != DLOAD_ECANCELED && st != DLOAD_EBUSY;
        t->marks[i].status = st;
    }
    dload_store_release(&t->op);
    DLOAD_I_ACQUIRE(&l->mutex);
    DLOAD_I_FN(i_after_lease)(l, b, t, again);
    dload_stats *stats = &l->core.stats;
    stats->store_hits += n_hits;
    if (again)
        stats->store_misses -= n_hits; /* they were counted before */
    else
        stats->store_misses += t->n - n_hits;
    stats->store_refused += n_refused;
    stats->store_errors += n_failed;
    dload_i_letter_give(&l->second, t);
    if (!was_async)
        l->second.n_out--; /* otherwise whoever brought it does that */
    if (n_hits != 0 && n_hits < b->base.n && b->base.state == DLOAD_I_RUNNING) {
        b->base.ended_ns = dload_i_now(l->core.env);
        dload_i_publish_all(&l->core, &b->base, false, DLOAD_OK);
    }
    DLOAD_I_LEAVE(l);
}

/* What the function is to be called for now: false when that is nothing. Keys that somebody else fetches are left
 * out. */
DLOAD_I_LOCAL bool DLOAD_I_FN(i_narrow)(DLOAD_NAME *l, DLOAD_I_BATCH *b)
{
    const uint8_t out = DLOAD_I_SECOND_HIT | DLOAD_I_SECOND_BUSY | DLOAD_I_SECOND_OVER;
    DLOAD_I_ACQUIRE(&l->mutex);
    uint32_t n = 0, n_out = 0;
    for (uint32_t i = 0; i < b->base.n; i++)
        n_out += (b->base.flights[i].second & out) != 0;
    for (uint32_t i = 0; i < b->base.n && n_out != 0; i++) {
        if ((b->base.flights[i].second & out) != 0)
            continue;
        b->places[n] = i; /* mutant PLACES_NOT_MAPPED */
        b->asked[n++] = b->own_keys[i];
    }
    bool goes_on = b->base.state == DLOAD_I_RUNNING && n_out < b->base.n;
    b->stage = goes_on ? DLOAD_I_STAGE_OPEN : DLOAD_I_STAGE_DONE;
    DLOAD_I_LEAVE(l);
    b->keys = n_out != 0 ? b->asked : b->own_keys;
    b->n = n_out != 0 ? n : b->base.n;
    return goes_on;
}

/* ---- writing ---- */

/* How long place i's answer is to stay in the store; 0 = it is not for it. */
DLOAD_I_LOCAL uint64_t DLOAD_I_FN(i_store_ttl)(const DLOAD_NAME *l, const dload_i_flight *f)
{
    if (f->ttl_ns != DLOAD_I_TTL_DEFAULT)
        return f->ttl_ns;
    return l->cfg.store_ttl_ns != 0 ? l->cfg.store_ttl_ns : l->cache.ttl_ns;
}

/* Copies the value at place i for the store, unless that was done. The mutex is held. */
DLOAD_I_LOCAL bool DLOAD_I_FN(i_keep_value)(DLOAD_I_BATCH *b, uint32_t i)
{
    dload_i_flight *f = &b->base.flights[i];
    if ((f->second & DLOAD_I_SECOND_KEPT) == 0 &&
        (f->published || DLOAD_I_FN(i_copy)(&b->kept[i], &b->values[i]) < 0))
        return false;
    f->second |= DLOAD_I_SECOND_KEPT;
    return true;
}

/* An answer is about to move into the cache before its batch has ended: it is copied for the store. The
 * mutex is held. */
DLOAD_I_LOCAL void DLOAD_I_FN(i_keep_answer)(DLOAD_NAME *l, DLOAD_I_BATCH *b, uint32_t i)
{
    dload_i_flight *f = &b->base.flights[i];
    if (!DLOAD_I_FN(i_has_second)(l) || b->stage != DLOAD_I_STAGE_OPEN || f->status < 0 ||
        (f->second & DLOAD_I_SECOND_HIT) != 0 || b->base.n > b->second_cap ||
        (f->second & DLOAD_I_SECOND_KEPT) != 0 || DLOAD_I_FN(i_store_ttl)(l, f) == 0)
        return;
    if (DLOAD_I_FN(i_copy)(&b->kept[i], &b->values[i]) >= 0)
        f->second |= DLOAD_I_SECOND_KEPT;
}

/* Is the answer at place i to be stored? The mutex is held. */
DLOAD_I_LOCAL bool DLOAD_I_FN(i_is_for_store)(DLOAD_NAME *l, DLOAD_I_BATCH *b, uint32_t i)
{
    const dload_i_flight *f = &b->base.flights[i];
    DLOAD_I_ID id;
    id.hash = f->hash;
    id.key = b->own_keys[i];
#if DLOAD_GROUP
    id.group = b->base.group;
#endif
    return (f->second & (DLOAD_I_SECOND_HIT | DLOAD_I_SECOND_BUSY | DLOAD_I_SECOND_OVER)) == 0 &&
           f->kept == 0 &&
           (l->second.lease_ns == 0 ||
            (f->second & DLOAD_I_SECOND_MINE) != 0) && /* mutant UNLEASED_WRITTEN */
           !(f->detached ||
             DLOAD_I_FN(i_cleared_since)(l, &id, b->base.token)) /* mutant CLEARED_WRITTEN */
           && !dload_i_is_unsent(&l->second, f->hash, DLOAD_I_FN(i_group_of)(b));
}

/* The request that stores what the function answered, with everything but the values; NULL = there is
 * nothing to store, or no memory. The mutex is held. */
DLOAD_I_LOCAL dload_i_letter *DLOAD_I_FN(i_answers_for)(DLOAD_NAME *l, DLOAD_I_BATCH *b,
                                                        dload_status status, uint64_t rest_ttl_ns)
{
    dload_i_second *s = &l->second;
    const bool leased = s->lease_ns != 0;
    dload_i_letter *t = dload_i_letter_take(s, leased ? DLOAD_STORE_FILL : DLOAD_STORE_SET);
    if (t == NULL)
        return NULL;
    t->batch = s->is_async ? NULL : &b->base;
    t->group = DLOAD_I_FN(i_group_of)(b);
    for (uint32_t i = 0; i < b->base.n; i++) {
        dload_i_flight *f = &b->base.flights[i];
        dload_status answer = f->answered  ? (dload_status)f->status
                              : status < 0 ? status
                                           : DLOAD_MISSING;
        uint64_t ttl_ns = f->answered ? DLOAD_I_FN(i_store_ttl)(l, f) : rest_ttl_ns;
        if (ttl_ns == 0 || !DLOAD_I_FN(i_is_for_store)(l, b, i) ||
            (answer >= 0 && !DLOAD_I_FN(i_keep_value)(b, i)))
            continue;
        dload_i_mark_of *m = DLOAD_I_FN(i_add_place)(t, b, i);
        if (m == NULL)
            break;
        m->ttl_ns = ttl_ns;
        m->status = answer;
        f->second |= DLOAD_I_SECOND_GIVEN;
    }
    if (t->n == 0) {
        dload_i_letter_give(s, t);
        return NULL;
    }
    dload_i_letter_keys(t);
    t->next = s->writing;
    s->writing = t; /* from here on deletes of these keys wait: mutant DELETE_BEFORE_WRITE */
    return t;
}

/* Puts a value's bytes behind what the letter has; h->kind and *n_bytes say what they are. */
DLOAD_I_LOCAL bool DLOAD_I_FN(i_pack)(const DLOAD_NAME *l, dload_i_letter *t, DLOAD_I_V *value,
                                      dload_i_stored *h, size_t *n_bytes)
{
    if (l->cfg.encode != NULL) {
        size_t cap = 256;
        for (int i = 0; i < 2; i++) {
            if (cap > DLOAD_I_STORED_MAX || !dload_i_letter_bytes(t, cap))
                return false;
            *n_bytes = 0;
            if (l->cfg.encode(l->cfg.ctx, value, t->bytes + t->n_bytes, cap, n_bytes) < 0)
                return false;
            if (*n_bytes <= cap) {
                t->n_bytes += *n_bytes;
                return true;
            }
            cap = *n_bytes;
        }
        return false; /* it did not keep its word */
    }
#if DLOAD_I_VALUE_IS_BLOB
    const void *bytes = value->ptr;
    *n_bytes = value->len;
    if (bytes == NULL)
        h->kind = DLOAD_I_STORED_NULL;
#else
    const void *bytes = value;
    *n_bytes = sizeof *value;
    DLOAD_I_CLEAR_PADDING(value);
    (void)h;
#endif
    if (*n_bytes > DLOAD_I_STORED_MAX || !dload_i_letter_bytes(t, *n_bytes))
        return false;
    dload_i_letter_put(t, bytes, *n_bytes);
    return true;
}

/* Writes item i's head and body; false when it cannot be. */
DLOAD_I_LOCAL bool DLOAD_I_FN(i_seal_one)(DLOAD_NAME *l, DLOAD_I_BATCH *b, dload_i_letter *t,
                                          uint32_t i, uint64_t wall_ns)
{
    dload_i_mark_of *m = &t->marks[i];
    dload_i_stored h;
    size_t n_bytes = 0;
    memset(&h, 0, sizeof h);
    h.layout = l->second.layout;
    h.ttl_ns = m->ttl_ns;
    h.status = m->status < 0 ? m->status : 0;
    h.kind = m->status < 0 ? DLOAD_I_STORED_STATUS : DLOAD_I_STORED_VALUE;
    if (!dload_i_letter_bytes(t, sizeof h))
        return false;
    m->value_at = t->n_bytes;
    t->n_bytes += sizeof h;
    if (m->status >= 0 && !DLOAD_I_FN(i_pack)(l, t, &b->kept[m->place], &h, &n_bytes)) {
        t->n_bytes = m->value_at;
        return false;
    }
    h.n_bytes = n_bytes;
    dload_i_stored_seal(&h, dload_i_letter_key(t, i), wall_ns, t->bytes + m->value_at);
    t->items[i].value_bytes = sizeof h + n_bytes;
    return true;
}

/* Values that were copied for the store are not needed any more. */
DLOAD_I_LOCAL void DLOAD_I_FN(i_drop_kept)(DLOAD_I_BATCH *b)
{
    for (uint32_t i = 0; i < b->base.n; i++) {
        dload_i_flight *f = &b->base.flights[i];
        if ((f->second & DLOAD_I_SECOND_KEPT) != 0)
            DLOAD_I_FN(i_release)(&b->kept[i]);
        f->second &= (uint8_t)~DLOAD_I_SECOND_KEPT;
    }
}

/* The function is through: what it answered is stored, when it holds its locks still. rest_ttl_ns is for keys that it did not answer. */
DLOAD_I_LOCAL void DLOAD_I_FN(i_write_back)(DLOAD_NAME *l, DLOAD_I_BATCH *b, dload_status status,
                                            uint64_t rest_ttl_ns, bool holds)
{
    dload_i_letter *t = NULL;
    uint32_t n = 0, n_lost = 0;
    DLOAD_I_ACQUIRE(&l->mutex);
    if (holds && b->stage == DLOAD_I_STAGE_OPEN && b->base.state == DLOAD_I_RUNNING &&
        b->base.n <= b->second_cap)
        t = DLOAD_I_FN(i_answers_for)(l, b, status, rest_ttl_ns);
    b->stage = DLOAD_I_STAGE_DONE;
    DLOAD_I_LEAVE(l);
    uint64_t wall_ns = t != NULL ? dload_i_clock_wall() : 0;
    for (uint32_t i = 0; t != NULL && i < t->n; i++) {
        if (!DLOAD_I_FN(i_seal_one)(l, b, t, i, wall_ns))
            t->items[i].value_bytes = 0;
    }
    DLOAD_I_FN(i_drop_kept)(b);
    if (t == NULL)
        return;
    DLOAD_I_ACQUIRE(&l->mutex);
    for (uint32_t i = 0; i < t->n; i++) { /* those without a value are left out */
        bool has_value = t->items[i].value_bytes != 0;
        if (has_value) {
            t->items[n] = t->items[i];
            t->marks[n++] = t->marks[i];
        } else
            b->base.flights[t->marks[i].place].second &= (uint8_t)~DLOAD_I_SECOND_GIVEN;
        n_lost += !has_value;
    }
    t->n = n;
    l->core.stats.store_errors += n_lost;
    dload_i_letter_close(t);
    for (uint32_t i = 0; i < t->n; i++)
        memcpy(t->items[i].lease, b->lease, sizeof b->lease);
    if (t->n != 0)
        (void)dload_i_letter_send(&l->second, t);
    else
        dload_i_letter_ends(&l->second, t, DLOAD_OK);
    if (!l->second.is_async)
        dload_i_send_clears(&l->second, false); /* those that waited for this */
    DLOAD_I_LEAVE(l);
}

#endif /* DLOAD_I_BODIES && DLOAD_STORE */
#endif /* DLOAD_I_HAVE_SECOND */

/* ==== typed/run_second.h ==== */

/* >>run_second -- what a batch goes through instead of the fetch function alone: store, lock, store, function, store.
 *
 * No lock is held here where nothing else is said: this runs where the fetch function runs.
 */
#ifndef DLOAD_I_HAVE_RUN_SECOND
#define DLOAD_I_HAVE_RUN_SECOND

#if DLOAD_I_BODIES && DLOAD_STORE

/* Asks the store for what it may be asked for, and takes what it says; DLOAD_PENDING when it will say so
 * later, and the batch is the loop's. */
DLOAD_I_LOCAL dload_status DLOAD_I_FN(i_ask_store)(DLOAD_NAME *l, DLOAD_I_BATCH *b, bool again)
{
    dload_i_second *s = &l->second;
    DLOAD_I_ACQUIRE(&l->mutex);
    b->stage = DLOAD_I_STAGE_NONE;
    if (!s->is_async)
        dload_i_send_clears(s, false);
    dload_i_letter *t = DLOAD_I_FN(i_question)(l, b, again);
    bool comes_back = dload_i_may_come_back(s);
    DLOAD_I_LEAVE(l);
    if (t == NULL)
        return DLOAD_OK;
    t->op.done = comes_back ? dload_i_letter_done : NULL;
    dload_status st = dload_store_run(s->store, &t->op);
    if (st == DLOAD_PENDING)
        return st;
    t->status = st;
    DLOAD_I_FN(i_take_answers)(l, b, t, false, again);
    return DLOAD_OK;
}

/* The function is through with what it was called for: what it answered goes to the store, leases end, and then the
 * locks go back. */
DLOAD_I_LOCAL void DLOAD_I_FN(i_fetched)(DLOAD_NAME *l, DLOAD_I_BATCH *b, dload_status status,
                                         uint64_t rest_ttl_ns)
{
    bool holds = DLOAD_I_FN(i_holds_locks)(l, b);
    if (DLOAD_I_FN(i_has_second)(l) && l->second.lease_ns != 0) {
        DLOAD_I_ACQUIRE(&l->mutex);
        DLOAD_I_FN(i_delete_fresh)(l, b);
        DLOAD_I_LEAVE(l);
    }
    if (DLOAD_I_FN(i_has_second)(l))
        DLOAD_I_FN(i_write_back)(l, b, status, rest_ttl_ns, holds);
    if (DLOAD_I_FN(i_has_second)(l) && l->second.lease_ns != 0)
        DLOAD_I_FN(i_end_leases)(l, b);
    DLOAD_I_FN(i_unlock_batch)(l, b);
}

/* Calls the function for what is to be fetched now, under the locks. DLOAD_PENDING: it goes on elsewhere. */
DLOAD_I_LOCAL dload_status DLOAD_I_FN(i_fetch_part)(DLOAD_NAME *l, DLOAD_I_BATCH *b)
{
    bool goes_on = true;
    if (DLOAD_I_FN(i_lock_batch)(l, b)) {
        if (DLOAD_I_FN(i_has_second)(l))
            (void)DLOAD_I_FN(i_ask_store)(l, b, true); /* where there are locks there is no loop */
        goes_on = DLOAD_I_FN(i_narrow)(l, b);
    }
    if (!goes_on) {
        DLOAD_I_FN(i_unlock_batch)(l, b);
        return DLOAD_OK;
    }
    dload_status st = l->cfg.fetch(b);
    if (st != DLOAD_PENDING) { /* afterwards b belongs to whoever ends it */
        b->base.rest_ttl_ns = DLOAD_I_FN(i_error_ttl)(l, st);
        DLOAD_I_FN(i_fetched)(l, b, st, b->base.rest_ttl_ns);
    }
    return st;
}

/* Are there keys left that somebody else fetches? The batch's others are through, by status. */
DLOAD_I_LOCAL bool DLOAD_I_FN(i_has_rest)(DLOAD_NAME *l, DLOAD_I_BATCH *b, dload_status status,
                                          uint64_t rest_ttl_ns)
{
    DLOAD_I_ACQUIRE(&l->mutex);
    bool has_rest = l->second.lease_ns != 0 && b->base.state == DLOAD_I_RUNNING &&
                    DLOAD_I_FN(i_count_places)(b, DLOAD_I_SECOND_BUSY) != 0;
    DLOAD_I_LEAVE(l);
    if (has_rest)
        DLOAD_I_FN(i_end_part)(l, b, status, rest_ttl_ns);
    return has_rest;
}

/* _batch_done, when keys are left: the batch is run once more, for those. False: it is through, or whoever called
 * the function goes on with it. */
DLOAD_I_LOCAL bool DLOAD_I_FN(i_resume)(DLOAD_NAME *l, DLOAD_I_BATCH *b, dload_status status,
                                        uint64_t rest_ttl_ns)
{
    DLOAD_I_ACQUIRE(&l->mutex);
    bool left = b->left;
    DLOAD_I_LEAVE(l);
    if (!left || !DLOAD_I_FN(i_has_rest)(l, b, status, rest_ttl_ns))
        return false;
    DLOAD_I_ACQUIRE(&l->mutex);
    for (unsigned round = 0; b->base.in_fetch; round++) { /* it is just being left */
        DLOAD_I_LEAVE(l);
        dload_i_spin_yield(round);
        DLOAD_I_ACQUIRE(&l->mutex);
    }
    b->left = false;
    b->resumes = true;
    dload_i_go_on(&l->core, &b->base);
    DLOAD_I_LEAVE(l);
    return true;
}

/* The function returned DLOAD_PENDING: has _batch_done been called all the same? Otherwise that sees to what is
 * left. */
DLOAD_I_LOCAL bool DLOAD_I_FN(i_is_done)(DLOAD_NAME *l, DLOAD_I_BATCH *b)
{
    DLOAD_I_ACQUIRE(&l->mutex);
    bool done = b->base.done;
    b->left = !done;
    DLOAD_I_LEAVE(l);
    return done;
}

/* What to do about keys that somebody else fetches: true when there are some and they are waited for. */
DLOAD_I_LOCAL bool DLOAD_I_FN(i_waits)(DLOAD_NAME *l, DLOAD_I_BATCH *b, bool may_wait)
{
    DLOAD_I_ACQUIRE(&l->mutex);
    bool busy = l->second.lease_ns != 0 && DLOAD_I_FN(i_count_places)(b, DLOAD_I_SECOND_BUSY) != 0;
    DLOAD_I_LEAVE(l);
    if (busy && !may_wait)
        DLOAD_I_FN(i_wait_for_none)(l, b);
    return busy && may_wait;
}

/* Runs a batch: what the core calls instead of the function, and, when the store took its time or others had leases
 * of some keys, once more. */
DLOAD_I_LOCAL dload_status DLOAD_I_FN(i_run_second)(DLOAD_NAME *l, DLOAD_I_BATCH *b)
{
    const bool has_store = DLOAD_I_FN(i_has_second)(l);
    const bool may_wait = dload_i_may_rest(&l->core) && !b->resumes;
    uint64_t pause_ns = DLOAD_I_ASK_FIRST_NS;
    dload_i_letter *t = b->got;
    bool again = b->resumes;
    b->got = NULL;
    b->resumes = false;
    if (!again && t == NULL) {
        DLOAD_I_ACQUIRE(&l->mutex);
        b->left = false;
        dload_i_lease_draw(&l->second, b->lease);
        DLOAD_I_LEAVE(l);
    }
    for (;;) {
        if (t != NULL)
            DLOAD_I_FN(i_take_answers)(l, b, t, true, again);
        else if (has_store && DLOAD_I_FN(i_ask_store)(l, b, again) == DLOAD_PENDING)
            return DLOAD_PENDING;
        t = NULL;
        again = true;
        bool waits = DLOAD_I_FN(i_waits)(l, b, may_wait);
        if (DLOAD_I_FN(i_narrow)(l, b)) {
            dload_status st = DLOAD_I_FN(i_fetch_part)(l, b);
            if (st == DLOAD_PENDING && !DLOAD_I_FN(i_is_done)(l, b))
                return st;
            dload_status ended = st == DLOAD_PENDING ? (dload_status)b->base.done_status : st;
            if (!DLOAD_I_FN(i_has_rest)(l, b, ended, b->base.rest_ttl_ns))
                return st;
            pause_ns = DLOAD_I_ASK_FIRST_NS;
        } else if (!waits) {
            return DLOAD_OK;
        }
        if (!DLOAD_I_FN(i_wait_for_others)(l, b, &pause_ns))
            return DLOAD_OK;
    }
}

#endif /* DLOAD_I_BODIES && DLOAD_STORE */
#endif /* DLOAD_I_HAVE_RUN_SECOND */

/* ==== typed/refresh.h ==== */

/* >>refresh -- what loads make of old values: one caller fetches the key anew, the rest have what is there.
 *
 * Who is first has a flight like any miss and waits for it; while that flight is on its way, and only
 * then, others are handed the old value. So nothing has to be taken back when the first gives up: with
 * its flight the mark is gone. The mutex is held everywhere here; a shard's lock is taken inside.
 */
#ifndef DLOAD_I_HAVE_REFRESH
#define DLOAD_I_HAVE_REFRESH

#if DLOAD_I_BODIES && DLOAD_REFRESH

DLOAD_I_LOCAL dload_i_ref *DLOAD_I_FN(i_flight)(DLOAD_NAME *l, const DLOAD_I_ID *id);

/* Does nobody refresh this key who would come to an end? Then the flight that is there, if any, is in
 * nobody's way: it hangs, and its caller left. */
DLOAD_I_LOCAL bool DLOAD_I_FN(i_may_refresh)(DLOAD_NAME *l, dload_i_ref *ref)
{
    dload_i_core *c = &l->core;
    if (ref == NULL)
        return true;
    if (ref->batch->state != DLOAD_I_RUNNING || c->run_limit_ns == DLOAD_NEVER ||
        dload_i_now(c->env) <= dload_i_add_ns(ref->batch->started_ns, c->run_limit_ns))
        return false;
    dload_i_detach(c, ref);
    return true;
}

/* Does this very call wait for the flight already? Then it has one answer. */
DLOAD_I_LOCAL bool DLOAD_I_FN(i_waits_itself)(const dload_i_ref *ref, const dload_i_parker *p)
{
    const dload_i_flight *f = &ref->batch->flights[ref->place];
    if (p != NULL && f->many != NULL && f->many->parker == p)
        return true;
    for (const dload_i_waiter *w = f->head; w != NULL; w = w->next) {
        if (p != NULL && w->parker == p)
            return true;
    }
    return false;
}

/* Hands out what the entry has. */
DLOAD_I_LOCAL dload_status DLOAD_I_FN(i_hand_out)(DLOAD_NAME *l, DLOAD_I_SHARD *s, DLOAD_I_SLOT *e,
                                                  int age, DLOAD_I_V *out)
{
    DLOAD_I_FN(i_touch)(s, e);
    DLOAD_I_COUNT_HIT(s);
    if ((DLOAD_I_META(e) & DLOAD_I_META_ERROR) != 0)
        return (dload_status)e->u.status;
    dload_status st = DLOAD_I_FN(i_copy)(out, &e->u.value);
    if (st < 0 || age == DLOAD_I_AGE_FRESH)
        return st;
    l->core.stats.stale_hits++;
    return DLOAD_STALE;
}

/* A request that the cache did not answer at first sight: DLOAD_PENDING when it has to wait for a fetch,
 * otherwise its answer. *looked is set where the key was looked up. */
DLOAD_I_NOINLINE dload_status DLOAD_I_FN(i_old)(DLOAD_NAME *l, const DLOAD_I_ID *id,
                                                uint32_t *flags, bool *looked, dload_i_waiter *w)
{
    dload_i_core *c = &l->core;
    w->source_only = (*flags & DLOAD_FRESH) != 0;
    if (w->source_only || l->cache.n_shards == 0 ||
        (l->cache.keep_ticks == 0 && l->cache.ahead_pct == 0))
        return DLOAD_PENDING;
    dload_status st = DLOAD_PENDING;
    *looked = true;
    DLOAD_I_SHARD *s = DLOAD_I_FN(i_shard)(&l->cache, id->hash);
    DLOAD_I_ACQUIRE(&s->lock);
    DLOAD_I_SLOT *e = DLOAD_I_FN(i_locate)(s, id);
    uint64_t tick = DLOAD_I_FN(i_tick)(&l->cache, s);
    int age = e == NULL ? DLOAD_I_AGE_NONE : DLOAD_I_FN(i_age)(&l->cache, s, e, tick);
    if (age == DLOAD_I_AGE_FRESH || age == DLOAD_I_AGE_STALE) {
        bool wanted = age == DLOAD_I_AGE_STALE ? !DLOAD_I_FN(i_failed_lately)(e, tick)
                                               : (DLOAD_I_META(e) & DLOAD_I_META_DRAWN) != 0;
        dload_i_ref *ref = DLOAD_I_FN(i_flight)(l, id);
        bool has_room = c->n_flights < c->max_queue && dload_i_has_turn(c, w->parker);
        bool refresh = wanted && has_room && DLOAD_I_FN(i_may_refresh)(l, ref);
        if (refresh && DLOAD_STORE && age == DLOAD_I_AGE_FRESH)
            *flags |= DLOAD_FRESH; /* the store has what the cache has */
        if (refresh)
            c->stats.refreshes++;
        else if (ref == NULL || !DLOAD_I_FN(i_waits_itself)(ref, w->parker))
            st = DLOAD_I_FN(i_hand_out)(l, s, e, age, (DLOAD_I_V *)w->out);
        if (age == DLOAD_I_AGE_STALE)
            DLOAD_I_FN(i_stay)(&l->cache, s, e, tick);
    }
    DLOAD_I_RELEASE(&s->lock);
    return st;
}

/* What the key at place i of a batch is known by. */
DLOAD_I_LOCAL DLOAD_I_ID DLOAD_I_FN(i_id_at)(const dload_i_batch *base, uint32_t i)
{
    DLOAD_I_ID id;
    id.hash = base->flights[i].hash;
    id.key = ((const DLOAD_I_BATCH *)(const void *)base)->own_keys[i];
#if DLOAD_GROUP
    id.group = base->group;
#endif
    return id;
}

/* The key at place i was answered with an error: its old value, if it may be handed out, is put at its
 * place for those who wait. For a while nobody tries again. */
DLOAD_I_UNUSED static void DLOAD_I_FN(i_keep_at)(void *owner, dload_i_batch *base, uint32_t i)
{
    struct DLOAD_NAME *l = (struct DLOAD_NAME *)owner;
    dload_i_flight *f = &base->flights[i];
    if (f->status == DLOAD_MISSING || f->status == DLOAD_ECLOSED || f->detached ||
        base->token < l->core.clear_all_seq || l->cache.n_shards == 0)
        return;
    DLOAD_I_ID id = DLOAD_I_FN(i_id_at)(base, i);
    DLOAD_I_SHARD *s = DLOAD_I_FN(i_shard)(&l->cache, id.hash);
    DLOAD_I_ACQUIRE(&s->lock);
    DLOAD_I_SLOT *e = DLOAD_I_FN(i_locate)(s, &id);
    uint64_t tick = DLOAD_I_FN(i_tick)(&l->cache, s);
    int age = e == NULL ? DLOAD_I_AGE_NONE : DLOAD_I_FN(i_age)(&l->cache, s, e, tick);
    bool keep = age == DLOAD_I_AGE_FRESH ||
                (age != DLOAD_I_AGE_NONE && tick - e->end < l->cache.error_ticks);
    if (keep && (DLOAD_I_META(e) & DLOAD_I_META_ERROR) == 0) {
        e->retry = (uint32_t)tick + l->cache.retry_ticks;
        if (DLOAD_I_FN(i_copy)(&DLOAD_I_FN(i_batch)(base)->values[i], &e->u.value) >= 0) {
            f->kept = age == DLOAD_I_AGE_FRESH ? 2 : 1;
            f->holds = DLOAD_I_FN(i_owe_value)(DLOAD_I_FN(i_batch)(base), i);
        }
    }
    DLOAD_I_RELEASE(&s->lock);
}

/* The key's answer is not to be kept: its old value is not either. */
DLOAD_I_LOCAL void DLOAD_I_FN(i_forget_old)(DLOAD_NAME *l, dload_i_batch *base, uint32_t i)
{
    dload_i_flight *f = &base->flights[i];
    DLOAD_I_ID id = DLOAD_I_FN(i_id_at)(base, i);
    if (!DLOAD_I_LEAVES || f->status == DLOAD_MISSING) {
        DLOAD_I_FN(removed) old;
        if (DLOAD_I_FN(i_drop)(&l->cache, &id, &old) && DLOAD_I_LEAVES)
            f->holds = DLOAD_I_FN(i_owe_old)(DLOAD_I_FN(i_batch)(base), i, &old);
        return;
    }
#if DLOAD_I_OWNED
    /* With a value, there is no place for another one to release. */
    DLOAD_I_SHARD *s = DLOAD_I_FN(i_shard)(&l->cache, id.hash);
    DLOAD_I_ACQUIRE(&s->lock);
    DLOAD_I_SLOT *e = DLOAD_I_FN(i_locate)(s, &id);
    uint64_t tick = DLOAD_I_FN(i_tick)(&l->cache, s);
    if (e != NULL && (DLOAD_I_META(e) & DLOAD_I_META_EXPIRES) != 0 &&
        (int32_t)(e->expiry - (uint32_t)tick) <= 0)
        e->end = 0; /* nobody hands it out, and the wheel takes it */
    DLOAD_I_RELEASE(&s->lock);
#endif
}

/* Early refreshes are drawn for by what a fetch takes. */
DLOAD_I_LOCAL void DLOAD_I_FN(i_learn_ahead)(DLOAD_NAME *l, const dload_i_batch *base)
{
    uint64_t run_ns = base->ended_ns - base->started_ns;
    uint64_t delta_ns = l->core.fetch_ns != 0 ? l->core.fetch_ns : run_ns;
    delta_ns = delta_ns < DLOAD_I_AHEAD_MAX ? delta_ns : DLOAD_I_AHEAD_MAX;
    delta_ns = delta_ns * l->cache.ahead_pct / 100;
    delta_ns = delta_ns < DLOAD_I_AHEAD_MAX ? delta_ns : DLOAD_I_AHEAD_MAX;
#if DLOAD_LOCK == DLOAD_LOCK_CUSTOM
    DLOAD_I_ACQUIRE(&l->cache.one.lock); /* eight bytes may be two words: readers have the lock */
    l->cache.ahead_ns = delta_ns;
    DLOAD_I_RELEASE(&l->cache.one.lock);
#else
    DLOAD_I_STORE_RELAXED(&l->cache.ahead_ns, delta_ns);
#endif
}

/* Before an answer is stored. True when there is nothing to store: an old value was kept instead. */
DLOAD_I_NOINLINE bool DLOAD_I_FN(i_settle_old)(DLOAD_NAME *l, dload_i_batch *base, uint32_t i)
{
    const dload_i_flight *f = &base->flights[i];
    if (l->cache.n_shards == 0)
        return false;
    if (l->cache.ahead_pct != 0)
        DLOAD_I_FN(i_learn_ahead)(l, base);
    if (f->kept == 0 && f->ttl_ns == 0 && (f->status >= 0 || f->status == DLOAD_MISSING))
        DLOAD_I_FN(i_forget_old)(l, base, i);
    return f->kept != 0;
}

#endif /* DLOAD_I_BODIES && DLOAD_REFRESH */
#endif /* DLOAD_I_HAVE_REFRESH */

/* ==== typed/load.h ==== */

/* >>load -- asking for a key: blocking, and without.
 *
 * A hit never gets past the shard's lock. A miss joins a flight or opens one, under the loader's mutex,
 * and then waits (drive.h) or is called back.
 */
#ifndef DLOAD_I_HAVE_LOAD
#define DLOAD_I_HAVE_LOAD

#if DLOAD_I_BODIES && DLOAD_ASYNC

#define DLOAD_I_SLEEPER DLOAD_I_FN(sleeper)

#if DLOAD_STORE
/* dload_i_give_up of a call that a loop knows of. The mutex is held. */
DLOAD_I_UNUSED static void DLOAD_I_FN(i_give_up)(dload_i_parker *p)
{
    DLOAD_I_SLEEPER *z = (DLOAD_I_SLEEPER *)(void *)p; /* its first member */
    DLOAD_NAME *l = (DLOAD_NAME *)((dload_i_core *)p->core)->owner;
    dload_i_blocked_leave(&l->second, &z->blocked);
    dload_i_give_up(p);
}
#endif

/* A place to sleep for one call of this thread, which from now on can be cancelled there only. */
DLOAD_I_LOCAL bool DLOAD_I_FN(i_sleeper_init)(DLOAD_NAME *l, DLOAD_I_SLEEPER *z, bool pooled)
{
    memset(&z->parker, 0, sizeof z->parker);
    if (!DLOAD_I_COND_INIT(&z->cond))
        return false;
    z->parker.os = &z->cond;
    z->parker.give_up = dload_i_give_up;
    z->parker.core = &l->core;
    z->parker.pooled = pooled;
    z->parker.cancel_before = DLOAD_I_HOLD();
#if DLOAD_STORE
    if (l->second.is_async) {
        z->parker.give_up = DLOAD_I_FN(i_give_up);
        DLOAD_I_ACQUIRE(&l->mutex);
        dload_i_blocked_enter(&l->second, &z->blocked);
        DLOAD_I_LEAVE(l);
    }
#endif
    return true;
}

DLOAD_I_INLINE void DLOAD_I_FN(i_sleeper_end)(DLOAD_I_SLEEPER *z)
{
#if DLOAD_STORE
    DLOAD_NAME *l = (DLOAD_NAME *)((dload_i_core *)z->parker.core)->owner;
    if (l->second.is_async) {
        DLOAD_I_ACQUIRE(&l->mutex);
        dload_i_blocked_leave(&l->second, &z->blocked);
        DLOAD_I_LEAVE(l);
    }
#endif
    DLOAD_I_COND_DESTROY(&z->cond);
    DLOAD_I_UNHOLD(z->parker.cancel_before);
}

DLOAD_I_INLINE uint64_t DLOAD_I_FN(i_deadline)(const DLOAD_NAME *l, const dload_call *call)
{
    if (call != NULL && call->deadline_ns != 0)
        return call->deadline_ns;
    if (l->cfg.timeout_ns == DLOAD_NEVER)
        return DLOAD_NEVER;
    return dload_i_add_ns(dload_i_now(l->core.env), l->cfg.timeout_ns);
}

/* A group that nobody would look at must not be lost in silence. */
DLOAD_I_INLINE bool DLOAD_I_FN(i_group_allowed)(const dload_call *call)
{
    return DLOAD_GROUP || call == NULL || call->group == 0;
}

/* The flight of a key that a new request may join, or NULL; the mutex is held. */
DLOAD_I_LOCAL dload_i_ref *DLOAD_I_FN(i_flight)(DLOAD_NAME *l, const DLOAD_I_ID *id)
{
    dload_i_core *c = &l->core;
    if (c->n_refs == 0)
        return NULL;
    uint32_t mask = c->refs_cap - 1;
    uint32_t h = dload_i_ref_hash(id->hash);
    for (uint32_t i = h & mask; c->refs[i].batch != NULL; i = (i + 1) & mask) {
        dload_i_ref *ref = &c->refs[i];
#if DLOAD_GROUP
        if (ref->place == DLOAD_I_OPEN_PLACE || ref->batch->group != id->group)
            continue;
#endif
        if (ref->hash == h && dload_i_joinable(c, ref->batch) &&
            DLOAD_I_FN(i_same)(&DLOAD_I_FN(i_batch)(ref->batch)->own_keys[ref->place], &id->key))
            return ref;
    }
    return NULL;
}

/* A key into the open batch of its group; the mutex is held. */
DLOAD_I_LOCAL dload_status DLOAD_I_FN(i_enter)(DLOAD_NAME *l, const DLOAD_I_ID *id,
                                               dload_i_batch **batch, uint32_t *place)
{
#if DLOAD_GROUP
    uint64_t group = id->group;
#else
    uint64_t group = 0;
#endif
    dload_status st = dload_i_reserve(&l->core, group, batch, place);
    if (st < 0)
        return st;
    DLOAD_I_K *own = &DLOAD_I_FN(i_batch)(*batch)->own_keys[*place];
#if DLOAD_I_IS_STRING
    if (!dload_i_arena_put(&l->arena, id->key.ptr, id->key.len, &own->ptr)) {
        dload_i_unreserve(&l->core, *batch);
        return DLOAD_ENOMEM;
    }
    own->len = id->key.len;
#else
    *own = id->key;
#endif
    dload_i_commit(&l->core, *batch, id->hash);
    return DLOAD_OK;
}

#if DLOAD_STORE
/* A key that was not sent is wanted as flags say. */
DLOAD_I_INLINE void DLOAD_I_FN(i_want)(dload_i_batch *b, uint32_t place, uint32_t flags)
{
    if ((flags & DLOAD_FRESH) != 0)
        b->flights[place].second |= DLOAD_I_SECOND_FRESH;
}
#endif

/* Says for what w has to wait, in w->batch and w->place: DLOAD_PENDING, and the caller enlists it. Or an
 * answer at once: a hit, or why it cannot wait. The mutex is held; looked says that the key was not in
 * the cache since it is. */
DLOAD_I_NOINLINE dload_status DLOAD_I_FN(i_ask)(DLOAD_NAME *l, const DLOAD_I_ID *id, uint32_t flags,
                                                bool looked, dload_i_waiter *w)
{
    dload_i_core *c = &l->core;
    if (c->closed)
        return DLOAD_ECLOSED;
#if DLOAD_REFRESH
    dload_status old = DLOAD_I_FN(i_old)(l, id, &flags, &looked, w);
    if (old != DLOAD_PENDING)
        return old;
#endif
    /* Between a look without the mutex and taking it, the answer may have come. */
    if (!looked && (flags & DLOAD_FRESH) == 0) {
        dload_status hit = DLOAD_I_FN(i_look)(&l->cache, id, (DLOAD_I_V *)w->out);
        if (hit != DLOAD_PENDING)
            return hit;
    }
    dload_i_ref *ref = DLOAD_I_FN(i_flight)(l, id);
    if (ref != NULL && (flags & DLOAD_FRESH) != 0 && ref->batch->state >= DLOAD_I_RUNNING) {
        dload_i_detach(c, ref); /* what is being fetched is not fresh enough */
        ref = NULL;
    }
    if (ref != NULL) {
        if (w->parker != NULL && dload_i_is_own(c, ref->batch))
            return DLOAD_EDEADLK;
        c->stats.joins++;
#if DLOAD_STORE
        DLOAD_I_FN(i_want)(ref->batch, ref->place, flags);
#endif
        w->batch = ref->batch;
        w->place = ref->place;
        return DLOAD_PENDING;
    }
    if (!dload_i_has_turn(c, w->parker))
        return DLOAD_EAGAIN;
    dload_i_batch *b = NULL;
    uint32_t place = 0;
    dload_status st = DLOAD_I_FN(i_enter)(l, id, &b, &place);
    if (st < 0)
        return st;
#if DLOAD_STORE
    DLOAD_I_FN(i_want)(b, place, flags);
#endif
    w->batch = b;
    w->place = place;
    if (w->parker != NULL)
        w->parker->has_turn = false;
    c->stats.misses++;
    return DLOAD_PENDING;
}

/* The same for one key, with w enlisted. */
DLOAD_I_LOCAL dload_status DLOAD_I_FN(i_ask_for)(DLOAD_NAME *l, const DLOAD_I_ID *id,
                                                 uint32_t flags, bool looked, dload_i_waiter *w)
{
    dload_status st = DLOAD_I_FN(i_ask)(l, id, flags, looked, w);
    if (st == DLOAD_PENDING)
        dload_i_wait_for(w, w->batch, w->place);
    return st;
}

/* Tells the hook of a new open batch, and the loop that it has something to do; lets go of the mutex. */
DLOAD_I_INLINE void DLOAD_I_FN(i_tell)(DLOAD_NAME *l)
{
    dload_i_core *c = &l->core;
    if (DLOAD_I_LIKELY(!c->tell_queued && !c->tell_wake))
        return;
    bool queued = c->tell_queued;
    bool wake = c->tell_wake;
    c->tell_queued = c->tell_wake = false;
    DLOAD_I_LEAVE(l);
    if (wake)
        c->wake(c->wake_ctx);
    if (queued)
        c->hooks->queued(c->hooks->ctx);
    DLOAD_I_ACQUIRE(&l->mutex);
}

/* ---- one key ---- */

DLOAD_I_NOINLINE dload_status DLOAD_I_FN(i_load_miss)(DLOAD_NAME *l, DLOAD_I_ID id,
                                                      const dload_call *call, DLOAD_I_V *out)
{
    DLOAD_I_SLEEPER z;
    dload_i_waiter w;
    if (!DLOAD_I_FN(i_sleeper_init)(l, &z, false))
        return DLOAD_ENOMEM;
    memset(&w, 0, sizeof w);
    w.out = out;
    w.parker = &z.parker;
    z.parker.first = z.parker.last = &w;
    DLOAD_I_ACQUIRE(&l->mutex);
    uint32_t flags = call != NULL ? call->flags : 0;
    dload_status st = DLOAD_I_FN(i_ask_for)(l, &id, flags, !DLOAD_I_THREADED, &w);
    uint64_t deadline_ns =
        st == DLOAD_PENDING || st == DLOAD_EAGAIN ? DLOAD_I_FN(i_deadline)(l, call) : 0;
    while (st == DLOAD_EAGAIN && (st = dload_i_wait_room(&l->core, &z.parker, deadline_ns)) >= 0)
        st = DLOAD_I_FN(i_ask_for)(l, &id, flags, false, &w);
    l->core.stats.timeouts += st == DLOAD_ETIMEDOUT;
    if (st == DLOAD_PENDING) {
        DLOAD_I_FN(i_tell)(l);
        st = dload_i_wait(&l->core, &z.parker, deadline_ns);
        if (w.batch != NULL) {
            l->core.stats.timeouts += st == DLOAD_ETIMEDOUT;
            dload_i_unwait(&l->core, &w, st);
        } else {
            st = (dload_status)w.status;
        }
    }
    DLOAD_I_LEAVE(l);
    DLOAD_I_FN(i_sleeper_end)(&z);
#if DLOAD_I_LEAVES
    if (l->cache.n_shards != 0)
        DLOAD_I_FN(i_sweep)
    (&l->cache, DLOAD_I_FN(i_shard)(&l->cache, id.hash), DLOAD_I_FN(i_now)(&l->cache), 1);
#endif
    return st;
}

DLOAD_I_HOT dload_status DLOAD_I_FN(load_with)(DLOAD_NAME *l, DLOAD_I_K key, const dload_call *call,
                                               DLOAD_I_V *out)
{
    if (DLOAD_I_UNLIKELY(DLOAD_I_LOAD_RELAXED(&l->core.closed) || out == NULL))
        return out == NULL ? DLOAD_EINVAL : DLOAD_ECLOSED;
    if (DLOAD_I_FORKED(&l->cache))
        return DLOAD_EFORK;
    dload_status st = DLOAD_I_FN(i_canon)(&key, l->cache.max_key_bytes);
    if (DLOAD_I_UNLIKELY(st < 0 || !DLOAD_I_FN(i_group_allowed)(call)))
        return st < 0 ? st : DLOAD_EINVAL;
    DLOAD_I_ID id = DLOAD_I_FN(i_id)(&l->cache, key, call != NULL ? call->group : 0);
    if (call == NULL || (call->flags & DLOAD_FRESH) == 0) {
        st = DLOAD_I_FN(i_lookup)(&l->cache, &id, out, true);
        if (DLOAD_I_LIKELY(st != DLOAD_PENDING))
            return st;
    }
    return DLOAD_I_FN(i_load_miss)(l, id, call, out);
}

DLOAD_I_HOT dload_status DLOAD_I_FN(load)(DLOAD_NAME *l, DLOAD_I_K key, DLOAD_I_V *out)
{
    return DLOAD_I_FN(load_with)(l, key, NULL, out);
}

/* ---- without blocking ---- */

DLOAD_I_API dload_status DLOAD_I_FN(start_with)(DLOAD_NAME *l, DLOAD_I_K key,
                                                const dload_call *call, DLOAD_I_WAITER *w)
{
    if (w == NULL || !DLOAD_I_FN(i_group_allowed)(call))
        return DLOAD_EINVAL;
    uint32_t flags = call != NULL ? call->flags : 0;
    dload_status st = DLOAD_I_FN(i_canon)(&key, l->cache.max_key_bytes);
    memset(&w->base, 0, sizeof w->base);
    if (DLOAD_I_FORKED(&l->cache))
        st = DLOAD_EFORK;
    else if (st >= 0 && DLOAD_I_LOAD_RELAXED(&l->core.closed))
        st = DLOAD_ECLOSED;
    if (st >= 0) {
        DLOAD_I_ID id = DLOAD_I_FN(i_id)(&l->cache, key, call != NULL ? call->group : 0);
        st = (flags & DLOAD_FRESH) != 0 ? DLOAD_PENDING
                                        : DLOAD_I_FN(i_look)(&l->cache, &id, &w->value);
        if (st == DLOAD_PENDING) {
            w->base.out = &w->value;
            w->status = DLOAD_PENDING;
            DLOAD_I_ACQUIRE(&l->mutex);
            st = DLOAD_I_FN(i_ask_for)(l, &id, flags, !DLOAD_I_THREADED, &w->base);
            if (st == DLOAD_PENDING)
                DLOAD_I_FN(i_tell)(l);
            DLOAD_I_LEAVE(l);
            if (st == DLOAD_PENDING)
                return st; /* done() may have run already: w is not touched any more */
        }
    }
    w->status = st;
    return st;
}

DLOAD_I_API dload_status DLOAD_I_FN(start)(DLOAD_NAME *l, DLOAD_I_K key, DLOAD_I_WAITER *w)
{
    return DLOAD_I_FN(start_with)(l, key, NULL, w);
}

DLOAD_I_API dload_status DLOAD_I_FN(cancel)(DLOAD_NAME *l, DLOAD_I_WAITER *w)
{
    if (w == NULL || DLOAD_I_FORKED(&l->cache))
        return w == NULL ? DLOAD_EINVAL : DLOAD_EFORK;
    dload_status st = DLOAD_EBUSY;
    DLOAD_I_ACQUIRE(&l->mutex);
    if (w->base.batch != NULL) {
        dload_i_unwait(&l->core, &w->base, DLOAD_ECANCELED);
        w->status = DLOAD_ECANCELED;
        l->core.stats.cancelled++;
        st = DLOAD_OK;
    }
    DLOAD_I_LEAVE(l);
    return st;
}

#endif /* DLOAD_I_BODIES && DLOAD_ASYNC */
#endif /* DLOAD_I_HAVE_LOAD */

/* ==== typed/load_many.h ==== */

/* >>load_many -- asking for many keys at once.
 *
 * One walk over the keys looks each of them up and puts those that are missing into the open batch, the
 * mutex held from the first of these on; then the call waits for all of them together (drive.h).
 */
#ifndef DLOAD_I_HAVE_LOAD_MANY
#define DLOAD_I_HAVE_LOAD_MANY

#if DLOAD_I_BODIES && DLOAD_ASYNC

/* A call for many keys, while it runs. */
typedef struct DLOAD_I_FN(i_many) {
    struct DLOAD_NAME *loader;
    dload_i_parker *parker;
    dload_i_waiter asked;   /* what is asked for the key at hand */
    dload_i_waiter *opened; /* the request for the keys opened last; NULL = none */
    uint32_t room;          /* how many keys can follow into its batch, see dload_i_room_behind */
    uint64_t group;
    uint64_t deadline_ns;
    uint32_t flags;
    bool locked; /* the mutex is held: from the first miss on */
} DLOAD_I_FN(i_many);

/* The key that was asked for is on its way: writes down that the call waits for it. Keys that the call
 * itself opened share one request a batch; so one that stands there alone costs no record. */
DLOAD_I_LOCAL void DLOAD_I_FN(i_wait_in)(DLOAD_I_FN(i_many) * m, size_t position, DLOAD_I_V *out)
{
    dload_i_core *c = &m->loader->core;
    dload_i_batch *b = m->asked.batch;
    dload_i_flight *f = &b->flights[m->asked.place];
    dload_i_waiter *w = m->opened;
    bool joins = f->many != NULL || f->head != NULL || b->state >= DLOAD_I_RUNNING;
    if (joins || w == NULL || w->batch != b || position - w->position > UINT32_MAX) {
        w = dload_i_waiter_take(c, m->parker, out, position);
        w->source_only = m->asked.source_only;
        if (joins) {
            dload_i_wait_for(w, b, m->asked.place);
            return;
        }
        w->many = true;
        w->place = 0;
        dload_i_enlist(w, b);
        m->opened = w;
    }
    f->many = w;
    f->at = (uint32_t)(position - w->position);
    w->place++;
    m->room = DLOAD_REFRESH || DLOAD_I_IS_STRING ? 0 : dload_i_room_behind(c, b);
}

/* A key goes where the one before it went; false when it has to be asked for. */
DLOAD_I_INLINE bool DLOAD_I_FN(i_follow)(DLOAD_I_FN(i_many) * m, const DLOAD_I_ID *id,
                                         size_t position)
{
    dload_i_waiter *w = m->opened;
    if (m->room == 0 || position - w->position > UINT32_MAX ||
        !dload_i_follow(&m->loader->core, w->batch, id->hash))
        return false;
    dload_i_batch *b = w->batch;
    DLOAD_I_FN(i_batch)(b)->own_keys[b->n - 1] = id->key;
    b->flights[b->n - 1].many = w;
    b->flights[b->n - 1].at = (uint32_t)(position - w->position);
#if DLOAD_STORE
    DLOAD_I_FN(i_want)(b, b->n - 1, m->flags);
#endif
    w->place++;
    m->room--;
    return true;
}

/* Takes a call's requests back: what was answered into its statuses, the rest as st. */
DLOAD_I_LOCAL void DLOAD_I_FN(i_collect)(DLOAD_I_FN(i_many) * m, dload_status st)
{
    dload_i_core *c = &m->loader->core;
    dload_i_parker *p = m->parker;
    while (p->first != NULL) {
        dload_i_waiter *w = p->first;
        p->first = w->sib;
        if (w->batch != NULL)
            dload_i_unwait(c, w, st);
        if (!w->many && p->statuses != NULL)
            p->statuses[w->position] = (dload_status)w->status;
        dload_i_waiter_give(c, w);
    }
    p->last = NULL;
    m->opened = NULL;
}

/* Asks once for a key of the call: as _i_ask. The mutex is held. */
DLOAD_I_LOCAL dload_status DLOAD_I_FN(i_ask_one)(DLOAD_I_FN(i_many) * m, const DLOAD_I_ID *id,
                                                 size_t position, DLOAD_I_V *out, bool looked)
{
    m->room = 0;
    if (!dload_i_waiter_reserve(&m->loader->core))
        return DLOAD_ENOMEM;
    m->asked.out = out;
    dload_status st = DLOAD_I_FN(i_ask)(m->loader, id, m->flags, looked, &m->asked);
    if (st == DLOAD_PENDING)
        DLOAD_I_FN(i_wait_in)(m, position, out);
    return st;
}

/* A key of the call that a look did not find: waits for room, where it may, and then as _i_ask. Takes the
 * mutex for the rest of the call. */
DLOAD_I_NOINLINE dload_status DLOAD_I_FN(i_ask_miss)(DLOAD_I_FN(i_many) * m, const DLOAD_I_ID *id,
                                                     size_t position, DLOAD_I_V *out)
{
    struct DLOAD_NAME *l = m->loader;
    bool looked = m->locked || !DLOAD_I_THREADED;
    if (!m->locked)
        DLOAD_I_ACQUIRE(&l->mutex);
    m->locked = true;
    dload_status st = DLOAD_I_FN(i_ask_one)(m, id, position, out, looked);
    if (st == DLOAD_EAGAIN && m->parker->first != NULL) {
        /* The queue is full, partly of ours: let those finish first. */
        dload_status waited = dload_i_wait(&l->core, m->parker, m->deadline_ns);
        DLOAD_I_FN(i_collect)(m, waited);
        st = waited < 0 ? waited : DLOAD_I_FN(i_ask_one)(m, id, position, out, false);
    }
    while (st == DLOAD_EAGAIN && (st = dload_i_wait_room(&l->core, m->parker, m->deadline_ns)) >= 0)
        st = DLOAD_I_FN(i_ask_one)(m, id, position, out, false);
    if (st == DLOAD_PENDING)
        DLOAD_I_FN(i_tell)(l);
    return st;
}

/* Asks for one key of the call: a hit's status, why it cannot be, or DLOAD_PENDING with a request in the
 * parker's chain. */
DLOAD_I_INLINE dload_status DLOAD_I_FN(i_ask_key)(DLOAD_I_FN(i_many) * m, const DLOAD_I_ID *id,
                                                  size_t position, DLOAD_I_V *out)
{
    if ((m->flags & DLOAD_FRESH) == 0) {
        dload_status st = DLOAD_I_FN(i_look)(&m->loader->cache, id, out);
        if (st != DLOAD_PENDING)
            return st;
    }
    if (DLOAD_I_FN(i_follow)(m, id, position))
        return DLOAD_PENDING;
    return DLOAD_I_FN(i_ask_miss)(m, id, position, out);
}

/* Is this about the call, and not about one key's answer? */
DLOAD_I_INLINE bool DLOAD_I_FN(i_of_call)(dload_status st)
{
    return st == DLOAD_ETIMEDOUT || st == DLOAD_EAGAIN || st == DLOAD_ECLOSED ||
           st == DLOAD_ENOMEM || st == DLOAD_EDEADLK;
}

/* Asks for every key; what is answered at once goes into statuses. No batch goes before all are asked
 * for (up to the queue's bound), so that a key that stands there twice is fetched once, cached or not. */
DLOAD_I_LOCAL dload_status DLOAD_I_FN(i_ask_many)(DLOAD_I_FN(i_many) * m, const DLOAD_I_K *keys,
                                                  size_t n, DLOAD_I_V *out, dload_status *statuses)
{
    const DLOAD_I_CACHE *c = &m->loader->cache;
    dload_status result = DLOAD_OK;
    bool far = DLOAD_I_FN(i_is_far)(c);
    DLOAD_I_ID ids[DLOAD_I_MANY];
    dload_status keyed[DLOAD_I_MANY];
    for (size_t i = 0; i < n; i++) {
        size_t at = far ? i % DLOAD_I_MANY : 0;
        if (!far)
            keyed[0] = DLOAD_I_FN(i_identify)(c, m->group, keys[i], &ids[0]);
        else if (at == 0)
            DLOAD_I_FN(i_fetch_ahead)(c, m->group, keys + i, n - i, ids, keyed);
        dload_status st = keyed[at];
        if (st >= 0)
            st = DLOAD_I_FN(i_ask_key)(m, &ids[at], i, &out[i]);
        if (st == DLOAD_PENDING)
            continue;
        if (statuses != NULL)
            statuses[i] = st;
        if (result == DLOAD_OK && DLOAD_I_FN(i_of_call)(st))
            result = st;
    }
    return result;
}

DLOAD_I_API dload_status DLOAD_I_FN(load_many_with)(DLOAD_NAME *l, const DLOAD_I_K *keys, size_t n,
                                                    const dload_call *call, DLOAD_I_V *out,
                                                    dload_status *statuses)
{
    if ((n != 0 && (keys == NULL || out == NULL)) || !DLOAD_I_FN(i_group_allowed)(call))
        return DLOAD_EINVAL;
    if (n == 0)
        return DLOAD_OK;
    bool forked = DLOAD_I_FORKED(&l->cache);
    if (forked || DLOAD_I_LOAD_RELAXED(&l->core.closed)) {
        dload_status why = forked ? DLOAD_EFORK : DLOAD_ECLOSED;
        for (size_t i = 0; statuses != NULL && i < n; i++)
            statuses[i] = why;
        return why;
    }
    DLOAD_I_SLEEPER z;
    if (!DLOAD_I_FN(i_sleeper_init)(l, &z, true))
        return DLOAD_ENOMEM;
    DLOAD_I_FN(i_many) many;
    many.loader = l;
    many.parker = &z.parker;
    many.parker->statuses = statuses;
    memset(&many.asked, 0, sizeof many.asked);
    many.asked.parker = many.parker;
    many.opened = NULL;
    many.room = 0;
    many.group = call != NULL ? call->group : 0;
    many.flags = call != NULL ? call->flags : 0;
    many.locked = false;
    many.deadline_ns = DLOAD_I_FN(i_deadline)(l, call);
    dload_status result = DLOAD_I_FN(i_ask_many)(&many, keys, n, out, statuses);
    if (many.locked) {
        dload_status st = dload_i_wait(&l->core, &z.parker, many.deadline_ns);
        l->core.stats.timeouts += st == DLOAD_ETIMEDOUT;
        DLOAD_I_FN(i_collect)(&many, st);
        DLOAD_I_LEAVE(l);
        result = result == DLOAD_OK && st < 0 ? st : result;
    }
    DLOAD_I_FN(i_sleeper_end)(&z);
#if DLOAD_I_LEAVES
    for (uint32_t i = 0; many.locked && i < l->cache.n_shards; i++)
        DLOAD_I_FN(i_sweep)
    (&l->cache, DLOAD_I_SHARD_AT(&l->cache, i), DLOAD_I_FN(i_now)(&l->cache), 1);
#endif
    return result;
}

DLOAD_I_API dload_status DLOAD_I_FN(load_many)(DLOAD_NAME *l, const DLOAD_I_K *keys, size_t n,
                                               DLOAD_I_V *out, dload_status *statuses)
{
    return DLOAD_I_FN(load_many_with)(l, keys, n, NULL, out, statuses);
}

#endif /* DLOAD_I_BODIES && DLOAD_ASYNC */
#endif /* DLOAD_I_HAVE_LOAD_MANY */

/* ==== typed/solo_calls.h ==== */

/* >>solo_calls -- the calls of a loader with DLOAD_ASYNC 0: from init to destroy.
 *
 * Takes the place of load.h, load_many.h and control.h.
 */
#ifndef DLOAD_I_HAVE_SOLO_CALLS
#define DLOAD_I_HAVE_SOLO_CALLS

#if DLOAD_I_BODIES && !DLOAD_ASYNC

/* ---- blocking ---- */

/* Asks for one key of a blocking call: a hit's status, why it cannot be, or DLOAD_PENDING. Where there is no room
 * what waits longest is sent. */
DLOAD_I_LOCAL dload_status DLOAD_I_FN(i_ask_key)(DLOAD_NAME *l, dload_i_asker *asker,
                                                 const DLOAD_I_K *key, size_t at)
{
    DLOAD_I_ID id = DLOAD_I_FN(i_id)(&l->cache, *key, 0);
    for (;;) {
        dload_status st = DLOAD_PENDING;
        if (l->core.closed)
            return DLOAD_ECLOSED;
        if ((asker->flags & DLOAD_FRESH) == 0)
            st = DLOAD_I_FN(i_look)(&l->cache, &id, (DLOAD_I_V *)asker->out + at);
        if (st != DLOAD_PENDING)
            return st;
        dload_i_ask *ask = asker->own.asker == NULL ? &asker->own : l->core.spare;
        if (ask != NULL) {
            dload_i_ask *next = ask->next;
            ask->asker = asker;
            ask->at = at;
            st = DLOAD_I_FN(i_ask)(l, key, asker->flags, ask);
            if (st == DLOAD_PENDING) {
                asker->n_pending++;
                if (ask != &asker->own)
                    l->core.spare = next;
                return st;
            }
            ask->asker = NULL;
            if (st != DLOAD_EAGAIN)
                return st;
        }
        if (l->core.queue == NULL)
            return DLOAD_EAGAIN; /* all that there is runs, and this is called from there */
        (void)DLOAD_I_FN(i_send)(l, DLOAD_BY_IDLE);
    }
}

DLOAD_I_API dload_status DLOAD_I_FN(load_many_with)(DLOAD_NAME *l, const DLOAD_I_K *keys, size_t n,
                                                    const dload_call *call, DLOAD_I_V *out,
                                                    dload_status *statuses)
{
    if ((n != 0 && (keys == NULL || out == NULL)) || (call != NULL && call->group != 0))
        return DLOAD_EINVAL;
    dload_status result = DLOAD_OK;
    dload_i_asker asker;
    asker.own.asker = NULL;
    asker.out = out;
    asker.statuses = statuses;
    asker.n_pending = 0;
    asker.flags = call != NULL ? call->flags : 0;
    for (size_t i = 0; i < n; i++) {
        DLOAD_I_K key = keys[i];
        dload_status st = DLOAD_I_FN(i_canon)(&key, l->cache.max_key_bytes);
        if (st >= 0)
            st = DLOAD_I_FN(i_ask_key)(l, &asker, &key, i);
        if (st == DLOAD_PENDING)
            continue;
        if (statuses != NULL)
            statuses[i] = st;
        /* About the call, and not about one key's answer? */
        if (result == DLOAD_OK &&
            (st == DLOAD_EAGAIN || st == DLOAD_ECLOSED || st == DLOAD_EDEADLK))
            result = st;
    }
    while (asker.n_pending != 0)
        (void)DLOAD_I_FN(i_send)(l, DLOAD_BY_IDLE);
    return result;
}

DLOAD_I_API dload_status DLOAD_I_FN(load_many)(DLOAD_NAME *l, const DLOAD_I_K *keys, size_t n,
                                               DLOAD_I_V *out, dload_status *statuses)
{
    return DLOAD_I_FN(load_many_with)(l, keys, n, NULL, out, statuses);
}

DLOAD_I_API dload_status DLOAD_I_FN(load_with)(DLOAD_NAME *l, DLOAD_I_K key, const dload_call *call,
                                               DLOAD_I_V *out)
{
    dload_status status = DLOAD_EINVAL;
    (void)DLOAD_I_FN(load_many_with)(l, &key, 1, call, out, &status);
    return status;
}

DLOAD_I_API dload_status DLOAD_I_FN(load)(DLOAD_NAME *l, DLOAD_I_K key, DLOAD_I_V *out)
{
    return DLOAD_I_FN(load_with)(l, key, NULL, out);
}

/* ---- without blocking ---- */

DLOAD_I_API dload_status DLOAD_I_FN(start_with)(DLOAD_NAME *l, DLOAD_I_K key,
                                                const dload_call *call, DLOAD_I_WAITER *w)
{
    if (w == NULL || (call != NULL && call->group != 0))
        return DLOAD_EINVAL;
    uint32_t flags = call != NULL ? call->flags : 0;
    dload_status st = DLOAD_I_FN(i_canon)(&key, l->cache.max_key_bytes);
    if (st >= 0 && l->core.closed)
        st = DLOAD_ECLOSED;
    if (st >= 0) {
        DLOAD_I_ID id = DLOAD_I_FN(i_id)(&l->cache, key, 0);
        st = (flags & DLOAD_FRESH) != 0 ? DLOAD_PENDING
                                        : DLOAD_I_FN(i_look)(&l->cache, &id, &w->value);
        w->base.asker = NULL;
        if (st == DLOAD_PENDING)
            st = DLOAD_I_FN(i_ask)(l, &key, flags, &w->base);
    }
    w->status = st;
    return st;
}

DLOAD_I_API dload_status DLOAD_I_FN(start)(DLOAD_NAME *l, DLOAD_I_K key, DLOAD_I_WAITER *w)
{
    return DLOAD_I_FN(start_with)(l, key, NULL, w);
}

/* The key at place i of a batch that was not sent is not wanted any more. */
DLOAD_I_LOCAL void DLOAD_I_FN(i_unseat)(DLOAD_NAME *l, DLOAD_I_BATCH *b, uint32_t i)
{
    for (b->n_seats--; i < b->n_seats; i++) {
        b->seats[i] = b->seats[i + 1];
        b->own_keys[i] = b->own_keys[i + 1];
    }
    if (b->n_seats != 0)
        return;
    DLOAD_I_BATCH **at = &l->core.queue;
    DLOAD_I_BATCH *before = NULL;
    for (; *at != b; at = &before->next)
        before = *at;
    *at = b->next;
    if (l->core.last == b)
        l->core.last = before;
    b->state = 0;
}

DLOAD_I_API dload_status DLOAD_I_FN(cancel)(DLOAD_NAME *l, DLOAD_I_WAITER *w)
{
    if (w == NULL)
        return DLOAD_EINVAL;
    for (uint32_t k = 0; k < l->core.n_batches; k++) {
        DLOAD_I_BATCH *b = &l->core.batches[k];
        for (uint32_t i = 0; i < b->n_seats; i++) {
            dload_i_ask **at = &b->seats[i].first;
            while (*at != NULL && *at != &w->base)
                at = &(*at)->next;
            if (*at == NULL)
                continue;
            *at = w->base.next;
            w->status = DLOAD_ECANCELED;
            DLOAD_I_COUNT(l, cancelled, 1u);
            if (b->seats[i].first == NULL && b->state != DLOAD_I_RUNNING) {
                DLOAD_I_ACQUIRE(&l->mutex);
                DLOAD_I_FN(i_unseat)(l, b, i);
                DLOAD_I_LEAVE(l);
            }
            return DLOAD_OK;
        }
    }
    return DLOAD_EBUSY;
}

/* ---- triggers ---- */

/* Sends what is queued now, and only that. Returns how many keys went. */
DLOAD_I_LOCAL size_t DLOAD_I_FN(i_dispatch)(DLOAD_NAME *l, dload_trigger why)
{
    size_t n_keys = 0;
    uint32_t n_batches = 0;
    for (const DLOAD_I_BATCH *b = l->core.queue; b != NULL; b = b->next)
        n_batches++;
    if (l->core.last != NULL)
        l->core.last->state = DLOAD_I_QUEUED; /* what callbacks add goes into another */
    while (n_batches-- > 0 && l->core.queue != NULL && l->core.queue->state == DLOAD_I_QUEUED)
        n_keys += DLOAD_I_FN(i_send)(l, why);
    return n_keys;
}

DLOAD_I_API dload_status DLOAD_I_FN(dispatch)(DLOAD_NAME *l, size_t *n_keys)
{
    size_t n = DLOAD_I_FN(i_dispatch)(l, DLOAD_BY_EXPLICIT);
    if (n_keys != NULL)
        *n_keys = n;
    return DLOAD_OK;
}

DLOAD_I_API dload_status DLOAD_I_FN(process)(DLOAD_NAME *l, uint64_t now_ns)
{
    (void)DLOAD_I_FN(i_dispatch)(l, DLOAD_BY_SETTLE);
    return DLOAD_I_FN(cache_advance)(&l->cache, now_ns);
}

DLOAD_I_API uint64_t DLOAD_I_FN(now)(const DLOAD_NAME *l)
{
    return dload_i_now(l->cache.env);
}

/* ---- life ---- */

DLOAD_I_API DLOAD_I_FN(config) DLOAD_I_FN(config_default)(void)
{
    DLOAD_I_FN(config) cfg;
    memset(&cfg, 0, sizeof cfg);
    cfg.capacity = 4096;
    cfg.ttl_ns = DLOAD_NEVER;
    cfg.max_batch = 100;
    return cfg;
}

/* A part of the loader's block. */
DLOAD_I_LOCAL void *DLOAD_I_FN(i_part)(char **at, size_t n_bytes)
{
    void *part = *at;
    *at += DLOAD_I_BLOCK_UP(n_bytes);
    return part;
}

/* Batches, their places, and one request for each place, in one block. */
DLOAD_I_LOCAL bool DLOAD_I_FN(i_lay_out)(DLOAD_NAME *l, uint32_t n_batches, uint32_t max_batch)
{
    const size_t n_places = (size_t)n_batches * max_batch;
    const size_t n_bytes = DLOAD_I_SOLO_PARTS(sizeof(DLOAD_I_K), sizeof(DLOAD_I_V),
                                              sizeof(DLOAD_I_BATCH), n_batches, n_places);
    const size_t place_bytes = sizeof(DLOAD_I_K) + sizeof(DLOAD_I_V) + sizeof(DLOAD_I_BATCH) +
                               sizeof(dload_i_seat) + sizeof(dload_i_ask);
    char *at =
        n_places > SIZE_MAX / 2 / place_bytes ? NULL : (char *)dload_i_alloc(l->cache.env, n_bytes);
    if (at == NULL)
        return false;
    memset(at, 0, n_bytes);
    l->core.block = at;
    l->core.block_bytes = n_bytes;
    DLOAD_I_V *values = (DLOAD_I_V *)DLOAD_I_FN(i_part)(&at, n_places * sizeof *values);
    dload_i_seat *seats = (dload_i_seat *)DLOAD_I_FN(i_part)(&at, n_places * sizeof *seats);
    l->core.batches = (DLOAD_I_BATCH *)DLOAD_I_FN(i_part)(&at, n_batches * sizeof *l->core.batches);
    dload_i_ask *asks = (dload_i_ask *)DLOAD_I_FN(i_part)(&at, n_places * sizeof *asks);
    DLOAD_I_K *keys = (DLOAD_I_K *)DLOAD_I_FN(i_part)(&at, n_places * sizeof *keys);
    for (size_t i = 0; i < n_places; i++) {
        asks[i].next = l->core.spare;
        l->core.spare = &asks[i];
    }
    for (uint32_t k = 0; k < n_batches; k++) {
        DLOAD_I_BATCH *b = &l->core.batches[k];
        b->own_keys = keys + (size_t)k * max_batch;
        b->values = values + (size_t)k * max_batch;
        b->seats = seats + (size_t)k * max_batch;
        b->owner = l;
    }
    l->core.n_batches = n_batches;
    l->core.max_batch = max_batch;
    return true;
}

DLOAD_I_API dload_status DLOAD_I_FN(init_checked)(DLOAD_NAME *l, const DLOAD_I_FN(config) * config,
                                                  size_t config_bytes, uint64_t fingerprint)
{
    if (l == NULL || config == NULL)
        return DLOAD_EINVAL;
    if (config_bytes != sizeof *config || fingerprint != DLOAD_I_FINGERPRINT)
        return DLOAD_ELAYOUT;
    memset(l, 0, sizeof *l);
    const dload_env *env = config->env != NULL ? config->env : dload_env_default();
    const size_t max_batch = config->max_batch != 0 ? config->max_batch : 100;
    const size_t max_queue = config->max_queue != 0 ? config->max_queue : max_batch;
    uint32_t n_batches = 1;
    for (size_t left = max_queue; left != 0 && n_batches <= DLOAD_I_SOLO_MAX; n_batches++)
        left -= left < max_batch ? left : max_batch; /* no division: not every core has one */
    if (config->fetch == NULL || max_batch > (UINT32_C(1) << 20) || n_batches > DLOAD_I_SOLO_MAX ||
        env->alloc == NULL || env->free == NULL)
        return DLOAD_EINVAL;
    DLOAD_I_FN(cache_config) cache;
    memset(&cache, 0, sizeof cache);
    cache.env = env;
    cache.capacity = config->capacity;
#if DLOAD_I_WEIGHED
    cache.max_weight = config->max_weight;
#endif
    cache.ttl_ns = config->ttl_ns;
    cache.ttl_jitter_pct = config->ttl_jitter_pct;
#if DLOAD_HASH == DLOAD_HASH_SIP
    memcpy(cache.hash_key, config->hash_key, sizeof cache.hash_key);
#endif
    dload_status st = DLOAD_I_FN(cache_init)(&l->cache, &cache);
    if (st < 0)
        return st;
    if (!DLOAD_I_FN(i_lay_out)(l, n_batches, (uint32_t)max_batch)) {
        (void)DLOAD_I_FN(cache_destroy)(&l->cache);
        return DLOAD_ENOMEM;
    }
    l->core.fetch = config->fetch;
    l->core.ctx = config->ctx;
    l->core.error_ttl = config->error_ttl;
    l->core.missing_ttl_ns = config->missing_ttl_ns;
    return DLOAD_OK;
}

DLOAD_I_API dload_status DLOAD_I_FN(close)(DLOAD_NAME *l, dload_close_mode mode,
                                           uint64_t deadline_ns)
{
    (void)deadline_ns; /* nothing waits */
    if (mode != DLOAD_DRAIN && mode != DLOAD_FAIL)
        return DLOAD_EINVAL;
    if (l->core.n_running != 0)
        return DLOAD_EBUSY; /* from inside a fetch function */
    l->core.closed = true;
    while (l->core.queue != NULL) {
        if (mode == DLOAD_DRAIN)
            (void)DLOAD_I_FN(i_send)(l, DLOAD_BY_CLOSE);
        else
            DLOAD_I_FN(i_publish)(l, DLOAD_I_FN(i_pop)(l), DLOAD_ECLOSED);
    }
    return DLOAD_OK;
}

DLOAD_I_API dload_status DLOAD_I_FN(destroy)(DLOAD_NAME *l)
{
    if (l->core.block == NULL)
        return DLOAD_OK; /* never initialised, or destroyed before */
    if (l->core.n_out != 0 || l->core.queue != NULL)
        return DLOAD_EBUSY;
    dload_i_free(l->cache.env, l->core.block, l->core.block_bytes);
    (void)DLOAD_I_FN(cache_destroy)(&l->cache);
    memset(&l->core, 0, sizeof l->core);
    return DLOAD_OK;
}

#if DLOAD_STATS
DLOAD_I_API dload_status DLOAD_I_FN(stats)(DLOAD_NAME *l, dload_stats *stats)
{
    if (stats == NULL)
        return DLOAD_EINVAL;
    *stats = l->core.stats;
    DLOAD_I_FN(i_cache_stats)(&l->cache, stats);
    stats->loads = stats->hits + stats->joins + stats->misses;
    return DLOAD_OK;
}
#endif

#endif /* DLOAD_I_BODIES && !DLOAD_ASYNC */
#endif /* DLOAD_I_HAVE_SOLO_CALLS */

/* ==== typed/outside.h ==== */

/* >>outside -- the loader's cache from outside: prime, put_if, peek and clear.
 *
 * Whatever comes here takes the loader's mutex first: flights that were sent before are told that what
 * they bring is out of date.
 */
#ifndef DLOAD_I_HAVE_OUTSIDE
#define DLOAD_I_HAVE_OUTSIDE

#if DLOAD_I_BODIES

#if DLOAD_ASYNC

/* Under the mutex: later loads neither join nor trust what was sent before. */
DLOAD_I_LOCAL void DLOAD_I_FN(i_outdate)(DLOAD_NAME *l, const DLOAD_I_ID *id)
{
    dload_i_note_clear(&l->core, id->hash);
    dload_i_ref *ref = DLOAD_I_FN(i_flight)(l, id);
    if (ref != NULL && ref->batch->state >= DLOAD_I_RUNNING)
        dload_i_detach(&l->core, ref); /* one that is queued will be fetched after this: it stays */
}

/* ... whatever its key. */
DLOAD_I_INLINE void DLOAD_I_FN(i_outdate_all)(DLOAD_NAME *l)
{
    l->core.clear_all_seq = ++l->core.clear_seq; /* flights sent before are joined no more */
}

/* Is a key on its way: waiting, or being fetched? */
DLOAD_I_LOCAL dload_state DLOAD_I_FN(i_way)(DLOAD_NAME *l, const DLOAD_I_ID *id)
{
    const dload_i_ref *ref = DLOAD_I_FN(i_flight)(l, id);
    if (ref == NULL)
        return DLOAD_STATE_ABSENT;
    return ref->batch->state >= DLOAD_I_RUNNING ? DLOAD_STATE_IN_FLIGHT : DLOAD_STATE_QUEUED;
}

#endif /* DLOAD_ASYNC */

/* Is the key cached, for a reader? Counts no use. */
DLOAD_I_LOCAL bool DLOAD_I_FN(i_has)(DLOAD_NAME *l, const DLOAD_I_ID *id)
{
    DLOAD_I_SHARD *s = DLOAD_I_FN(i_shard)(&l->cache, id->hash);
    DLOAD_I_ACQUIRE(&s->lock);
    const DLOAD_I_SLOT *e = DLOAD_I_FN(i_locate)(s, id);
    bool has = e != NULL && DLOAD_I_FN(i_valid)(&l->cache, s, e);
    DLOAD_I_RELEASE(&s->lock);
    return has;
}

/* The way into the cache of everything that no batch brought: token 0 = unconditionally. */
DLOAD_I_LOCAL dload_status DLOAD_I_FN(i_bring)(DLOAD_NAME *l, uint64_t group, DLOAD_I_K key,
                                               dload_status status, const DLOAD_I_V *value,
                                               uint64_t ttl_ns, uint32_t flags,
                                               const dload_token *token)
{
    if (status >= 0 && value == NULL)
        return DLOAD_EINVAL;
    if (DLOAD_I_FORKED(&l->cache))
        return DLOAD_EFORK;
    dload_status st = DLOAD_I_FN(i_canon)(&key, l->cache.max_key_bytes);
    if (st < 0 || l->cache.n_shards == 0)
        return st;
    DLOAD_I_V copy;
    if (status >= 0 && (st = DLOAD_I_FN(i_copy)(&copy, value)) < 0)
        return st;
    DLOAD_I_FN(item) item;
    item.id = DLOAD_I_FN(i_id)(&l->cache, key, group);
    item.value = &copy;
    item.status = status;
    item.ttl_ns = ttl_ns;
    item.now_ns = DLOAD_TTL ? DLOAD_I_FN(i_now)(&l->cache) : 0;
    item.garbage = false;
#if DLOAD_I_KILLS
    item.dead = false;
#endif
    bool offered = false;
    DLOAD_I_FN(i_before_store)(&l->cache, &item);
    DLOAD_I_ACQUIRE(&l->mutex);
    if (token != NULL && DLOAD_I_FN(i_cleared_since)(l, &item.id, *token)) {
        st = DLOAD_ECANCELED;
    } else if ((flags & DLOAD_OVERWRITE) != 0 || !DLOAD_I_FN(i_has)(l, &item.id)) {
        DLOAD_I_FN(i_outdate)(l, &item.id);
        st = DLOAD_I_FN(i_store)(&l->cache, &item);
        offered = true;
    }
    if ((flags & DLOAD_PIN) != 0 && st >= 0)
        (void)DLOAD_I_FN(i_pin)(&l->cache, &item.id,
                                true); /* the mutex keeps others from evicting it */
    DLOAD_I_LEAVE(l);
    if (!offered && status >= 0)
        DLOAD_I_FN(i_release)(&copy);
    DLOAD_I_FN(i_after_store)(&l->cache, &item, offered ? st : DLOAD_OK);
    return st;
}

DLOAD_I_API dload_status DLOAD_I_FN(prime)(DLOAD_NAME *l, DLOAD_I_K key, const DLOAD_I_V *value,
                                           uint32_t flags)
{
    return DLOAD_I_FN(i_bring)(l, 0, key, DLOAD_OK, value, l->cache.ttl_ns, flags, NULL);
}

DLOAD_I_API dload_status DLOAD_I_FN(prime_many)(DLOAD_NAME *l, const DLOAD_I_K *keys,
                                                const DLOAD_I_V *values, size_t n, uint32_t flags,
                                                dload_status *statuses)
{
    if (n != 0 && (keys == NULL || values == NULL))
        return DLOAD_EINVAL;
    dload_status result = DLOAD_OK;
    for (size_t i = 0; i < n; i++) {
        dload_status st = DLOAD_I_FN(prime)(l, keys[i], &values[i], flags);
        if (statuses != NULL)
            statuses[i] = st;
        if (result == DLOAD_OK)
            result = st;
    }
    return result;
}

DLOAD_I_LOCAL dload_status DLOAD_I_FN(i_prime_error)(DLOAD_NAME *l, uint64_t group, DLOAD_I_K key,
                                                     dload_status status, uint64_t ttl_ns)
{
    if (status >= 0 || status == DLOAD_PENDING || ttl_ns == 0)
        return DLOAD_EINVAL;
    return DLOAD_I_FN(i_bring)(l, group, key, status, NULL, ttl_ns, 0, NULL);
}

DLOAD_I_API dload_status DLOAD_I_FN(prime_error)(DLOAD_NAME *l, DLOAD_I_K key, dload_status status,
                                                 uint64_t ttl_ns)
{
    return DLOAD_I_FN(i_prime_error)(l, 0, key, status, ttl_ns);
}

DLOAD_I_API dload_token DLOAD_I_FN(token)(DLOAD_NAME *l)
{
    if (DLOAD_I_FORKED(&l->cache))
        return 0;
    DLOAD_I_ACQUIRE(&l->mutex);
    dload_token token = l->core.clear_seq;
    DLOAD_I_LEAVE(l);
    return token;
}

DLOAD_I_API dload_status DLOAD_I_FN(put_if)(DLOAD_NAME *l, DLOAD_I_K key, const DLOAD_I_V *value,
                                            dload_token token)
{
    return DLOAD_I_FN(i_bring)(l, 0, key, DLOAD_OK, value, l->cache.ttl_ns, DLOAD_OVERWRITE,
                               &token);
}

DLOAD_I_LOCAL dload_status DLOAD_I_FN(i_peek)(DLOAD_NAME *l, uint64_t group, DLOAD_I_K key,
                                              dload_state *state, DLOAD_I_V *out)
{
    if (state == NULL)
        return DLOAD_EINVAL;
    *state = DLOAD_STATE_ABSENT;
    if (DLOAD_I_FORKED(&l->cache))
        return DLOAD_EFORK;
    dload_status st = DLOAD_I_FN(i_canon)(&key, l->cache.max_key_bytes);
    if (st < 0)
        return st;
    DLOAD_I_ID id = DLOAD_I_FN(i_id)(&l->cache, key, group);
    st = DLOAD_MISSING;
    bool quiet = DLOAD_I_LOOK(&l->mutex);
    if (l->cache.n_shards != 0) {
        DLOAD_I_SHARD *s = DLOAD_I_FN(i_shard)(&l->cache, id.hash);
        if (!DLOAD_I_LOOK(&s->lock))
            return DLOAD_EAGAIN; /* then the mutex is not held: DLOAD_I_LOOK takes none */
        const DLOAD_I_SLOT *e = DLOAD_I_FN(i_locate)(s, &id);
        if (e != NULL && DLOAD_I_FN(i_valid)(&l->cache, s, e)) {
            bool error = (DLOAD_I_META(e) & DLOAD_I_META_ERROR) != 0;
            *state = error ? DLOAD_STATE_ERROR : DLOAD_STATE_READY;
            st = error ? (dload_status)e->u.status : DLOAD_OK;
            if (!error && out != NULL)
                st = DLOAD_I_FN(i_copy)(out, &e->u.value);
        }
#if DLOAD_REFRESH
        else if (e != NULL &&
                 DLOAD_I_FN(i_age)(&l->cache, s, e, DLOAD_I_FN(i_tick)(&l->cache, s)) ==
                     DLOAD_I_AGE_STALE) {
            *state = DLOAD_STATE_STALE;
            st = out != NULL ? DLOAD_I_FN(i_copy)(out, &e->u.value) : DLOAD_OK;
        }
#endif
        DLOAD_I_LOOKED(&s->lock);
    }
    if (*state == DLOAD_STATE_ABSENT && !quiet)
        st = DLOAD_EAGAIN; /* flights are just changing */
    else if (*state == DLOAD_STATE_ABSENT)
        *state = DLOAD_I_FN(i_way)(l, &id);
    DLOAD_I_LOOKED(&l->mutex);
    return st;
}

DLOAD_I_API dload_status DLOAD_I_FN(peek)(DLOAD_NAME *l, DLOAD_I_K key, dload_state *state,
                                          DLOAD_I_V *out)
{
    return DLOAD_I_FN(i_peek)(l, 0, key, state, out);
}

/* ---- clearing ---- */

#if DLOAD_STORE
/* Under the mutex: the store is not asked for the key, nor given it, until it has forgotten it. */
DLOAD_I_LOCAL void DLOAD_I_FN(i_clear_stored)(DLOAD_NAME *l, uint64_t group, const DLOAD_I_ID *id)
{
    char text[DLOAD_I_KEYTEXT_MAX];
    dload_str tail;
    size_t n = DLOAD_I_FN(i_key_text)(text, group, &id->key, &tail);
    dload_i_clear_later(&l->second, id->hash, group, false, text, n, tail);
}

#if DLOAD_GROUP
DLOAD_I_LOCAL void DLOAD_I_FN(i_clear_stored_group)(DLOAD_NAME *l, uint64_t group)
{
    char text[DLOAD_I_KEYTEXT_MAX];
    const dload_str none = {NULL, 0};
    size_t n = DLOAD_I_FN(i_group_text)(text, group);
    dload_i_clear_later(&l->second, 0, group, true, text, n, none);
}
#endif
#endif

/* Tells the store what was cleared: at once, or, where a loop does that, by waking it. */
DLOAD_I_INLINE void DLOAD_I_FN(i_tell_store)(DLOAD_NAME *l)
{
#if DLOAD_STORE
    if (!DLOAD_I_FN(i_has_second)(l) || DLOAD_I_FORKED(&l->cache))
        return;
    if (l->core.wake != NULL) {
        l->core.wake(l->core.wake_ctx);
        return;
    }
    DLOAD_I_ACQUIRE(&l->mutex);
    dload_i_send_clears(&l->second, true);
    DLOAD_I_LEAVE(l);
#endif
    (void)l;
}

/* in_store: where else the key is cleared, though not before _i_tell_store. */
DLOAD_I_LOCAL dload_status DLOAD_I_FN(i_clear)(DLOAD_NAME *l, uint64_t group, DLOAD_I_K key,
                                               bool in_store)
{
    if (DLOAD_I_FORKED(&l->cache))
        return DLOAD_EFORK;
    dload_status st = DLOAD_I_FN(i_canon)(&key, l->cache.max_key_bytes);
    if (st < 0)
        return st;
    DLOAD_I_ID id = DLOAD_I_FN(i_id)(&l->cache, key, group);
    DLOAD_I_FN(removed) old;
    DLOAD_I_ACQUIRE(&l->mutex);
    DLOAD_I_FN(i_outdate)(l, &id);
    bool has_old = DLOAD_I_FN(i_drop)(&l->cache, &id, &old);
#if DLOAD_STORE
    if (in_store && DLOAD_I_FN(i_has_second)(l))
        DLOAD_I_FN(i_clear_stored)(l, group, &id);
#endif
    DLOAD_I_LEAVE(l);
    (void)in_store;
    if (has_old)
        DLOAD_I_FN(i_end)(&l->cache, DLOAD_I_FN(i_shard)(&l->cache, id.hash), &old);
    return DLOAD_OK;
}

DLOAD_I_API dload_status DLOAD_I_FN(clear)(DLOAD_NAME *l, DLOAD_I_K key)
{
    dload_status st = DLOAD_I_FN(i_clear)(l, 0, key, true);
    DLOAD_I_FN(i_tell_store)(l);
    return st;
}

DLOAD_I_API dload_status DLOAD_I_FN(clear_many)(DLOAD_NAME *l, const DLOAD_I_K *keys, size_t n)
{
    if (n != 0 && keys == NULL)
        return DLOAD_EINVAL;
    dload_status result = DLOAD_OK;
    for (size_t i = 0; i < n; i++) {
        dload_status st = DLOAD_I_FN(i_clear)(l, 0, keys[i], true);
        if (result == DLOAD_OK)
            result = st;
    }
    DLOAD_I_FN(i_tell_store)(l);
    return result;
}

DLOAD_I_LOCAL dload_status DLOAD_I_FN(i_clear_all)(DLOAD_NAME *l, bool in_store)
{
    if (DLOAD_I_FORKED(&l->cache))
        return DLOAD_EFORK;
    DLOAD_I_ACQUIRE(&l->mutex);
    DLOAD_I_FN(i_outdate_all)(l);
    uint32_t full = DLOAD_I_FN(i_new_epoch)(&l->cache);
#if DLOAD_STORE
    if (in_store && DLOAD_I_FN(i_has_second)(l))
        dload_i_clear_all_later(&l->second);
#endif
    DLOAD_I_LEAVE(l);
    (void)in_store;
    if (full != 0)
        DLOAD_I_FN(i_full_sweep)(&l->cache);
    return DLOAD_OK;
}

DLOAD_I_API dload_status DLOAD_I_FN(clear_all)(DLOAD_NAME *l)
{
    dload_status st = DLOAD_I_FN(i_clear_all)(l, true);
    DLOAD_I_FN(i_tell_store)(l);
    return st;
}

#if DLOAD_STORE

DLOAD_I_API dload_status DLOAD_I_FN(clear_local)(DLOAD_NAME *l, DLOAD_I_K key)
{
    return DLOAD_I_FN(i_clear)(l, 0, key, false);
}

DLOAD_I_API dload_status DLOAD_I_FN(clear_all_local)(DLOAD_NAME *l)
{
    return DLOAD_I_FN(i_clear_all)(l, false);
}

#endif

#if DLOAD_GROUP

/* ---- in a group ---- */

DLOAD_I_API dload_status DLOAD_I_FN(prime_in)(DLOAD_NAME *l, DLOAD_I_K key, uint64_t group,
                                              const DLOAD_I_V *value, uint32_t flags)
{
    return DLOAD_I_FN(i_bring)(l, group, key, DLOAD_OK, value, l->cache.ttl_ns, flags, NULL);
}

DLOAD_I_API dload_status DLOAD_I_FN(prime_error_in)(DLOAD_NAME *l, DLOAD_I_K key, uint64_t group,
                                                    dload_status status, uint64_t ttl_ns)
{
    return DLOAD_I_FN(i_prime_error)(l, group, key, status, ttl_ns);
}

DLOAD_I_API dload_status DLOAD_I_FN(put_if_in)(DLOAD_NAME *l, DLOAD_I_K key, uint64_t group,
                                               const DLOAD_I_V *value, dload_token token)
{
    return DLOAD_I_FN(i_bring)(l, group, key, DLOAD_OK, value, l->cache.ttl_ns, DLOAD_OVERWRITE,
                               &token);
}

DLOAD_I_API dload_status DLOAD_I_FN(peek_in)(DLOAD_NAME *l, DLOAD_I_K key, uint64_t group,
                                             dload_state *state, DLOAD_I_V *out)
{
    return DLOAD_I_FN(i_peek)(l, group, key, state, out);
}

DLOAD_I_API dload_status DLOAD_I_FN(clear_in)(DLOAD_NAME *l, DLOAD_I_K key, uint64_t group)
{
    dload_status st = DLOAD_I_FN(i_clear)(l, group, key, true);
    DLOAD_I_FN(i_tell_store)(l);
    return st;
}

#if DLOAD_STORE
DLOAD_I_API dload_status DLOAD_I_FN(clear_local_in)(DLOAD_NAME *l, DLOAD_I_K key, uint64_t group)
{
    return DLOAD_I_FN(i_clear)(l, group, key, false);
}
#endif

DLOAD_I_API dload_status DLOAD_I_FN(clear_group)(DLOAD_NAME *l, uint64_t group)
{
    if (DLOAD_I_FORKED(&l->cache))
        return DLOAD_EFORK;
    DLOAD_I_ACQUIRE(&l->mutex);
    dload_i_outdate_group(&l->core, group);
#if DLOAD_STORE
    if (DLOAD_I_FN(i_has_second)(l))
        DLOAD_I_FN(i_clear_stored_group)(l, group);
#endif
    DLOAD_I_LEAVE(l);
    DLOAD_I_FN(i_tell_store)(l);
    /* Entries go without the mutex: what is stored meanwhile was sent after this began. */
    return DLOAD_I_FN(cache_clear_group)(&l->cache, group);
}

#endif /* DLOAD_GROUP */

#endif /* DLOAD_I_BODIES */
#endif /* DLOAD_I_HAVE_OUTSIDE */

/* ==== typed/sink.h ==== */

/* >>sink -- a loader hears that keys changed in its store.
 *
 * What a channel says concerns this process's cache and flights alone: the store has the new value already,
 * or nothing. A loader that may not hear everything is deaf, and caches nothing (i_put looks): what it has
 * could have changed unheard.
 */
#ifndef DLOAD_I_HAVE_SINK
#define DLOAD_I_HAVE_SINK

#if DLOAD_I_BODIES && DLOAD_STORE

/* Takes this loader's name off a store's key; false when it is another's. */
DLOAD_I_LOCAL bool DLOAD_I_FN(i_own_text)(const DLOAD_NAME *l, dload_str *text)
{
    const size_t n = l->second.prefix_bytes;
    if (n == 0 || text->len < n || memcmp(text->ptr, l->second.prefix, n) != 0)
        return false;
    text->ptr += n;
    text->len -= n;
    return true;
}

/* One key changed: what is cached of it goes, and so does what is on its way, but for who waits for that.
 * Without the latter an answer from before the change is cached after it: mutant KEY_KEEPS_FLIGHTS. */
DLOAD_I_UNUSED static void DLOAD_I_FN(i_sink_key)(void *ctx, const char *key, size_t key_bytes)
{
    DLOAD_NAME *l = (DLOAD_NAME *)ctx;
    dload_str text;
    DLOAD_I_K own;
    DLOAD_I_FN(removed) old;
    uint64_t group = 0;
    text.ptr = key;
    text.len = key_bytes;
    if (key == NULL || DLOAD_I_FORKED(&l->cache) || !DLOAD_I_FN(i_own_text)(l, &text) ||
        DLOAD_I_FN(i_text_parse)(text.ptr, text.len, l->cache.max_key_bytes, &group, &own) < 0)
        return;
    DLOAD_I_ID id = DLOAD_I_FN(i_id)(&l->cache, own, group);
    DLOAD_I_ACQUIRE(&l->mutex);
    DLOAD_I_FN(i_outdate)(l, &id);
    bool has_old = DLOAD_I_FN(i_drop)(&l->cache, &id, &old);
    DLOAD_I_LEAVE(l);
    if (has_old)
        DLOAD_I_FN(i_end)(&l->cache, DLOAD_I_FN(i_shard)(&l->cache, id.hash), &old);
}

/* Everything goes, and the loader hears from here on, or does not: one step under the mutex, where answers
 * are stored and tokens taken. Going deaf with the cache kept serves what nobody will say has changed
 * (mutant DOWN_KEEPS_CACHE); hearing again with the flights kept caches what was asked for while nobody
 * listened (mutant UP_KEEPS_FLIGHTS). */
DLOAD_I_LOCAL void DLOAD_I_FN(i_sink_forget)(DLOAD_NAME *l, bool deaf)
{
    if (DLOAD_I_FORKED(&l->cache))
        return;
    DLOAD_I_ACQUIRE(&l->mutex);
    DLOAD_I_STORE_RELAXED(&l->cache.deaf, deaf); /* before the shards' locks: i_put looks inside */
    l->core.clear_all_seq = ++l->core.clear_seq;
    uint32_t full = DLOAD_I_FN(i_new_epoch)(&l->cache);
    DLOAD_I_LEAVE(l);
    if (full != 0)
        DLOAD_I_FN(i_full_sweep)(&l->cache);
}

DLOAD_I_UNUSED static void DLOAD_I_FN(i_sink_all)(void *ctx)
{
    DLOAD_NAME *l = (DLOAD_NAME *)ctx;
    DLOAD_I_FN(i_sink_forget)(l, DLOAD_I_LOAD_RELAXED(&l->cache.deaf));
}

DLOAD_I_UNUSED static void DLOAD_I_FN(i_sink_down)(void *ctx)
{
    DLOAD_I_FN(i_sink_forget)((DLOAD_NAME *)ctx, true);
}

DLOAD_I_UNUSED static void DLOAD_I_FN(i_sink_up)(void *ctx)
{
    DLOAD_I_FN(i_sink_forget)((DLOAD_NAME *)ctx, false);
}

DLOAD_I_UNUSED static void DLOAD_I_FN(i_sink_only_reads)(void *ctx)
{
    DLOAD_NAME *l = (DLOAD_NAME *)ctx;
    if (DLOAD_I_FORKED(&l->cache))
        return;
    DLOAD_I_ACQUIRE(&l->mutex);
    l->second.only_hits = true;
    DLOAD_I_LEAVE(l);
}

DLOAD_I_API dload_status DLOAD_I_FN(sink)(DLOAD_NAME *l, dload_sink *sink)
{
    if (l == NULL || sink == NULL)
        return DLOAD_EINVAL;
    if (DLOAD_I_FORKED(&l->cache))
        return DLOAD_EFORK;
    memset(sink, 0, sizeof *sink);
    sink->key = DLOAD_I_FN(i_sink_key);
    sink->all = DLOAD_I_FN(i_sink_all);
    sink->down = DLOAD_I_FN(i_sink_down);
    sink->up = DLOAD_I_FN(i_sink_up);
    sink->only_reads = DLOAD_I_FN(i_sink_only_reads);
    sink->ctx = l;
    DLOAD_I_FN(i_sink_down)(l); /* nothing is heard yet: mutant STARTS_UP */
    return DLOAD_OK;
}

#endif /* DLOAD_I_BODIES && DLOAD_STORE */
#endif /* DLOAD_I_HAVE_SINK */

/* ==== typed/control.h ==== */

/* >>control -- a loader's life, its triggers and its counters. */
#ifndef DLOAD_I_HAVE_CONTROL
#define DLOAD_I_HAVE_CONTROL

#if DLOAD_I_BODIES && DLOAD_ASYNC

/* ---- life ---- */

DLOAD_I_API DLOAD_I_FN(config) DLOAD_I_FN(config_default)(void)
{
    DLOAD_I_FN(config) cfg;
    memset(&cfg, 0, sizeof cfg);
    cfg.capacity = 4096;
    cfg.ttl_ns = DLOAD_NEVER;
    cfg.max_batch = 100;
    cfg.max_in_flight = 4;
    cfg.max_queue = 65536;
    cfg.timeout_ns = 30 * DLOAD_SECOND;
    cfg.run_limit_ns = 60 * DLOAD_SECOND;
    cfg.max_key_bytes = 65536;
    return cfg;
}

/* Zeros become defaults. DLOAD_EINVAL when a field is out of its range. */
DLOAD_I_LOCAL dload_status DLOAD_I_FN(i_configure)(DLOAD_I_FN(config) * cfg)
{
    const DLOAD_I_FN(config) def = DLOAD_I_FN(config_default)();
    if (cfg->fetch == NULL)
        return DLOAD_EINVAL;
    cfg->max_batch = cfg->max_batch != 0 ? cfg->max_batch : def.max_batch;
    cfg->max_in_flight = cfg->max_in_flight != 0 ? cfg->max_in_flight : def.max_in_flight;
    cfg->max_queue = cfg->max_queue != 0 ? cfg->max_queue : def.max_queue;
    cfg->timeout_ns = cfg->timeout_ns != 0 ? cfg->timeout_ns : def.timeout_ns;
    cfg->run_limit_ns = cfg->run_limit_ns != 0 ? cfg->run_limit_ns : def.run_limit_ns;
#if DLOAD_FREESTANDING /* not every core multiplies */
    for (int i = 0, n = cfg->max_age_ns == 0 ? 10 : 0; i < n; i++)
        cfg->max_age_ns = dload_i_add_ns(cfg->max_age_ns, cfg->settle_ns);
#else
    if (cfg->max_age_ns == 0)
        cfg->max_age_ns = cfg->settle_ns > DLOAD_NEVER / 10 ? DLOAD_NEVER : 10 * cfg->settle_ns;
#endif
    cfg->env = cfg->env != NULL ? cfg->env : dload_env_default();
    if (cfg->max_batch > (UINT32_C(1) << 20) || cfg->max_queue > (UINT32_C(1) << 30) ||
        cfg->max_in_flight > (UINT32_C(1) << 20) || cfg->refresh_ahead_pct > 1000 ||
        (!DLOAD_REFRESH &&
         (cfg->stale_ns | cfg->stale_error_ns | cfg->refresh_ahead_pct | cfg->idle_ttl_ns) != 0) ||
        cfg->env->alloc == NULL || cfg->env->free == NULL)
        return DLOAD_EINVAL;
    return DLOAD_OK;
}

/* Checks the configuration, and prepares the second level. DLOAD_EINVAL also for a store's name, or values
 * that cannot be stored. */
DLOAD_I_LOCAL dload_status DLOAD_I_FN(i_second_init)(DLOAD_NAME *l)
{
    dload_status st = DLOAD_I_FN(i_configure)(&l->cfg);
#if DLOAD_STORE
    dload_i_second *s = &l->second;
    DLOAD_I_FN(config) *cfg = &l->cfg;
    const char *name = cfg->store_name != NULL ? cfg->store_name : DLOAD_I_TEXT_OF(DLOAD_NAME);
    const uint64_t form = cfg->encode != NULL ? 3u : DLOAD_I_VALUE_FORM;
    uint64_t part[6];
    if (st < 0)
        return st;
    bool named = dload_i_store_named(s, name); /* a sink needs it without a store */
    if (!named && (cfg->store != NULL || cfg->store_name != NULL))
        return DLOAD_EINVAL;
    cfg->store_name = NULL; /* copied */
    if (cfg->locks != NULL) {
        bool own = cfg->lock_name != NULL;
        st = dload_i_locking_init(&l->locking, cfg->locks,
                                  own ? "" : "dataloader:", own ? cfg->lock_name : name,
                                  cfg->lock_stripes, cfg->lock_wait_ns);
        cfg->lock_name = NULL; /* copied, too */
        if (st < 0 || cfg->wake != NULL)
            return DLOAD_EINVAL;
    }
    if (cfg->store == NULL)
        return st;
    if (form == 0 || (cfg->encode == NULL) != (cfg->decode == NULL))
        return DLOAD_EINVAL;
    s->store = cfg->store;
    s->core = &l->core;
    s->timeout_ns = cfg->store_timeout_ns != 0 ? cfg->store_timeout_ns : DLOAD_SECOND;
    if (s->timeout_ns > cfg->run_limit_ns)
        s->timeout_ns = cfg->run_limit_ns; /* a batch that waits longer is given up anyway */
    s->is_async = cfg->wake != NULL && (cfg->store->flags & DLOAD_STORE_ASYNC) != 0;
    if ((s->store->flags & DLOAD_STORE_LEASES) != 0 && cfg->store_lease_ns != DLOAD_NEVER) {
        s->lease_ns = cfg->store_lease_ns != 0 ? cfg->store_lease_ns : 10 * DLOAD_SECOND;
        if (!dload_i_draw_hash_key(cfg->env, s->leases))
            return DLOAD_EINVAL;
    }
    part[0] = DLOAD_I_KEY_KIND;
    part[1] = DLOAD_I_IS_STRING ? 0 : sizeof(DLOAD_I_K);
    part[2] = form;
    part[3] = form == 1 ? sizeof(DLOAD_I_V) : 0;
    part[4] = DLOAD_GROUP;
    part[5] = cfg->store_version;
    s->layout = dload_i_sum(0, part, sizeof part);
#endif
    return st;
}

/* How callers meet. Tasks that cannot wait do not lead, follow or linger: each sends for itself. */
DLOAD_I_INLINE void DLOAD_I_FN(i_set_company)(dload_i_core *c)
{
    c->bounded = DLOAD_I_THREADED;
#if DLOAD_LOCK == DLOAD_LOCK_CUSTOM
    c->threaded = c->env->wait != NULL;
#else
    c->threaded = DLOAD_I_THREADED;
#endif
}

DLOAD_I_API dload_status DLOAD_I_FN(init_checked)(DLOAD_NAME *l, const DLOAD_I_FN(config) * config,
                                                  size_t config_bytes, uint64_t fingerprint)
{
    if (l == NULL || config == NULL)
        return DLOAD_EINVAL;
    if (config_bytes != sizeof *config || fingerprint != DLOAD_I_FINGERPRINT)
        return DLOAD_ELAYOUT;
    memset(l, 0, sizeof *l);
    l->cfg = *config;
    dload_status st = DLOAD_I_FN(i_second_init)(l);
    if (st < 0)
        return st;
    DLOAD_I_FN(cache_config) cache;
    memset(&cache, 0, sizeof cache);
    cache.env = l->cfg.env;
    cache.capacity = l->cfg.capacity;
#if DLOAD_I_WEIGHED
    cache.max_weight = l->cfg.max_weight;
#endif
#if DLOAD_ON_REMOVE
    cache.on_remove = l->cfg.on_remove;
    cache.ctx = l->cfg.ctx;
#endif
    cache.shards = l->cfg.shards;
    cache.ttl_ns = l->cfg.ttl_ns;
    cache.ttl_jitter_pct = l->cfg.ttl_jitter_pct;
    cache.idle_ttl_ns = l->cfg.idle_ttl_ns;
    cache.max_key_bytes = l->cfg.max_key_bytes;
#if DLOAD_HASH == DLOAD_HASH_SIP
    memcpy(cache.hash_key, l->cfg.hash_key, sizeof cache.hash_key);
    memset(l->cfg.hash_key, 0, sizeof l->cfg.hash_key); /* one copy of a secret is enough */
#endif
    st = DLOAD_I_FN(cache_init)(&l->cache, &cache);
    if (st < 0)
        return st;
#if DLOAD_REFRESH
    DLOAD_I_FN(i_set_windows)
    (&l->cache, l->cfg.stale_ns, l->cfg.stale_error_ns, l->cfg.refresh_ahead_pct,
     l->cfg.idle_ttl_ns);
#endif
    if (!DLOAD_I_LOCK_INIT(&l->mutex)) {
        (void)DLOAD_I_FN(cache_destroy)(&l->cache);
        return DLOAD_ENOMEM;
    }
#if DLOAD_I_IS_STRING
    dload_i_arena_init(&l->arena, l->cfg.env);
#endif
    dload_i_core *c = &l->core;
    c->ops = DLOAD_I_FN(i_ops)();
    c->sync = DLOAD_I_SYNC;
    c->env = l->cfg.env;
    c->hooks = l->cfg.hooks;
    c->owner = l;
    c->mutex = &l->mutex;
    c->max_batch = (uint32_t)l->cfg.max_batch;
    c->max_in_flight = (uint32_t)l->cfg.max_in_flight;
    c->max_queue = (uint32_t)l->cfg.max_queue;
    c->settle_ns = l->cfg.settle_ns;
    c->max_age_ns = l->cfg.max_age_ns;
    c->run_limit_ns = l->cfg.run_limit_ns;
    c->fork_now = DLOAD_I_FORK_NOW;
    c->fork_epoch = l->cache.fork_epoch;
    DLOAD_I_FN(i_set_company)(c);
    c->grouped = DLOAD_GROUP;
    c->queue_wait = l->cfg.queue_wait;
    c->wake = l->cfg.wake;
    c->wake_ctx = l->cfg.wake_ctx;
    c->registry = l->cfg.registry;
    if (l->cfg.registry != NULL)
        dload_i_registry_add(l->cfg.registry, c);
    return DLOAD_OK;
}

DLOAD_I_API dload_status DLOAD_I_FN(destroy)(DLOAD_NAME *l)
{
    dload_i_core *c = &l->core;
    if (c->ops == NULL)
        return DLOAD_OK; /* never initialised, or destroyed before */
    if (DLOAD_I_FORKED(&l->cache))
        return DLOAD_EFORK;
    DLOAD_I_ACQUIRE(&l->mutex);
    bool busy = c->n_out != 0 || c->ready != NULL || c->open != NULL || c->queue != NULL;
#if DLOAD_STORE
    busy = busy || l->second.n_out != 0;
#endif
    DLOAD_I_LEAVE(l);
    if (busy)
        return DLOAD_EBUSY;
    if (l->cfg.registry != NULL)
        dload_i_registry_remove(l->cfg.registry, c);
    while (c->free_ != NULL) {
        dload_i_batch *b = c->free_;
        c->free_ = b->next;
        c->ops->unmake(l, b);
    }
    while (c->waiter_blocks != NULL) {
        dload_i_waiter_block *block = c->waiter_blocks;
        c->waiter_blocks = block->next;
        dload_i_free(c->env, block, sizeof *block);
    }
    dload_i_free(c->env, c->refs, c->refs_cap * sizeof *c->refs);
#if DLOAD_I_IS_STRING
    dload_i_arena_destroy(&l->arena);
#endif
#if DLOAD_STORE
    dload_i_second_end(&l->second);
#endif
    DLOAD_I_LOCK_DESTROY(&l->mutex);
    (void)DLOAD_I_FN(cache_destroy)(&l->cache);
    memset(c, 0, sizeof *c);
    return DLOAD_OK;
}

DLOAD_I_API dload_status DLOAD_I_FN(close)(DLOAD_NAME *l, dload_close_mode mode,
                                           uint64_t deadline_ns)
{
    if (mode != DLOAD_DRAIN && mode != DLOAD_FAIL)
        return DLOAD_EINVAL;
    if (DLOAD_I_FORKED(&l->cache))
        return DLOAD_EFORK;
    dload_call call;
    memset(&call, 0, sizeof call);
    call.deadline_ns = deadline_ns;
    DLOAD_I_SLEEPER z;
    if (!DLOAD_I_FN(i_sleeper_init)(l, &z, false))
        return DLOAD_ENOMEM;
    DLOAD_I_ACQUIRE(&l->mutex);
    dload_status st = dload_i_close(&l->core, mode, &z.parker, DLOAD_I_FN(i_deadline)(l, &call));
#if DLOAD_STORE
    if (l->second.store != NULL && !l->second.is_async)
        dload_i_send_clears(&l->second, true);
#endif
    DLOAD_I_LEAVE(l);
    DLOAD_I_FN(i_sleeper_end)(&z);
    return st;
}

DLOAD_I_API uint64_t DLOAD_I_FN(now)(const DLOAD_NAME *l)
{
    return dload_i_now(l->core.env);
}

/* ---- triggers ---- */

#if DLOAD_STORE
/* A loop's turn at the second level: sends clears, and goes on with batches that the store has told of, but
 * for those whose first half has not returned. The mutex is held, and let go. */
DLOAD_I_LOCAL void DLOAD_I_FN(i_process_second)(DLOAD_NAME *l)
{
    dload_i_second *s = &l->second;
    if (s->store == NULL)
        return;
    dload_i_send_clears(s, false);
    for (;;) {
        dload_i_letter **at = &s->got;
        while (*at != NULL && (*at)->batch->in_fetch)
            at = &(*at)->next;
        dload_i_letter *t = *at;
        if (t == NULL)
            return;
        *at = t->next;
        dload_i_batch *base = t->batch;
        if (base->state == DLOAD_I_RUNNING) {
            DLOAD_I_FN(i_batch)(base)->got = t;
        } else {
            DLOAD_I_LEAVE(l);
            dload_store_release(&t->op);
            DLOAD_I_ACQUIRE(&l->mutex);
            dload_i_letter_give(s, t);
        }
        dload_i_go_on(&l->core, base);
    }
}
#endif

DLOAD_I_API dload_status DLOAD_I_FN(dispatch)(DLOAD_NAME *l, size_t *n_keys)
{
    if (DLOAD_I_FORKED(&l->cache))
        return DLOAD_EFORK;
    DLOAD_I_ACQUIRE(&l->mutex);
    size_t n = dload_i_dispatch(&l->core, DLOAD_BY_EXPLICIT);
#if DLOAD_STORE
    DLOAD_I_FN(i_process_second)(l);
    dload_i_call_back(&l->core);
#endif
    DLOAD_I_LEAVE(l);
    if (n_keys != NULL)
        *n_keys = n;
    return DLOAD_OK;
}

DLOAD_I_API dload_status DLOAD_I_FN(process)(DLOAD_NAME *l, uint64_t now_ns)
{
    if (DLOAD_I_FORKED(&l->cache))
        return DLOAD_EFORK;
    DLOAD_I_ACQUIRE(&l->mutex);
#if DLOAD_STORE
    DLOAD_I_FN(i_process_second)(l);
#endif
    dload_i_process(&l->core, now_ns);
    DLOAD_I_LEAVE(l);
    return DLOAD_I_FN(cache_advance)(&l->cache, now_ns);
}

DLOAD_I_API uint64_t DLOAD_I_FN(next_deadline)(DLOAD_NAME *l)
{
    if (DLOAD_I_FORKED(&l->cache))
        return DLOAD_NEVER;
    DLOAD_I_ACQUIRE(&l->mutex);
    uint64_t at_ns = dload_i_deadline(&l->core);
#if DLOAD_STORE
    uint64_t clears_ns = dload_i_clears_at(&l->second);
    at_ns = clears_ns < at_ns ? clears_ns : at_ns;
    at_ns = l->second.got != NULL ? 0 : at_ns;
#endif
    DLOAD_I_LEAVE(l);
    return at_ns;
}

DLOAD_I_API dload_status DLOAD_I_FN(expect)(DLOAD_NAME *l, size_t n)
{
    if (DLOAD_I_FORKED(&l->cache))
        return DLOAD_EFORK;
    if (n > l->core.max_batch)
        n = l->core.max_batch; /* a full batch goes anyway */
    DLOAD_I_ACQUIRE(&l->mutex);
    dload_i_expect(&l->core, (uint32_t)n);
    DLOAD_I_FN(i_tell)(l);
    DLOAD_I_LEAVE(l);
    return DLOAD_OK;
}

/* ---- counters ---- */

DLOAD_I_API dload_status DLOAD_I_FN(stats)(DLOAD_NAME *l, dload_stats *stats)
{
    if (stats == NULL)
        return DLOAD_EINVAL;
    if (DLOAD_I_FORKED(&l->cache))
        return DLOAD_EFORK;
    DLOAD_I_ACQUIRE(&l->mutex);
    *stats = l->core.stats;
    DLOAD_I_FN(i_cache_stats)(&l->cache, stats);
#if DLOAD_STORE
    stats->store_unsent = l->second.n_unsent + dload_i_all_unsent(&l->second);
#endif
    DLOAD_I_LEAVE(l);
    stats->loads = stats->hits + stats->joins + stats->misses;
    return DLOAD_OK;
}

#endif /* DLOAD_I_BODIES && DLOAD_ASYNC */
#endif /* DLOAD_I_HAVE_CONTROL */

/* ==== typed/save.h ==== */

/* >>save -- a cache into a snapshot, while other calls go on.
 *
 * First every entry's worth is noted, a byte a slot; then the slots are gone through once for each worth,
 * the highest first, so that whoever reads the snapshot into a smaller cache may stop when it is full.
 * Entries are picked under their shard's lock, a few at a time, and written without it. Entries never change
 * their slot (but for a cache that grows, whose entries are worth the same): whoever is there all the time is
 * found.
 *
 * An entry: flags, uses and two bytes 0; the rest of its TTL in ns, if it expires; its group, if the loader
 * has them; the key, a string's length (4 bytes) before it; the value, a blob's or an encoded one's length
 * (8 bytes) before it, or the status of an error.
 */
#ifndef DLOAD_I_HAVE_SAVE
#define DLOAD_I_HAVE_SAVE

#if DLOAD_I_BODIES && DLOAD_SNAPSHOT

#define DLOAD_I_SNAPSHOT DLOAD_I_FN(snapshot)

/* Flags of an entry. */
#ifndef DLOAD_I_SAVED_EXPIRES
#define DLOAD_I_SAVED_EXPIRES 1u
#define DLOAD_I_SAVED_ERROR   2u
#define DLOAD_I_SAVED_MAIN    4u
#define DLOAD_I_SAVED_NULL    8u /* a blob without bytes */
#define DLOAD_I_SAVED_FLAGS   15u
#define DLOAD_I_SCAN_SLOTS    256u /* looked at under one lock */
#endif

/* An entry on its way out. Private. */
typedef struct DLOAD_I_FN(i_picked) {
    DLOAD_I_V value;
    uint64_t left_ns, group;
    DLOAD_I_K key; /* a string's bytes are in the saver's keys, one after the other */
    int32_t status;
    uint8_t flags, uses;
} DLOAD_I_FN(i_picked);

typedef struct DLOAD_I_FN(i_saver) {
    dload_i_snap out;
    const DLOAD_I_SNAPSHOT *how;
    DLOAD_I_CACHE *c;
    uint8_t *worth; /* by slot, shard after shard; 0 = nothing to write; NULL = all the same */
    size_t n_worth;
    char *keys; /* of the picks, when they are strings */
    size_t keys_cap, keys_len;
    size_t key_wanted; /* a key of so many bytes found no room there */
    uint32_t n_picks;
    uint32_t has[DLOAD_I_WORTH_MAX + 1]; /* how many entries there are of each worth */
    DLOAD_I_FN(i_picked) picks[DLOAD_I_TIDY_MAX];
} DLOAD_I_FN(i_saver);

/* What must be the same on both sides. How it is locked, evicted and counted need not be. */
DLOAD_I_LOCAL uint64_t DLOAD_I_FN(i_layout)(const DLOAD_I_SNAPSHOT *how, bool encoded)
{
    uint64_t form = encoded ? 3u : DLOAD_I_VALUE_FORM;
    uint64_t part[6];
    part[0] = DLOAD_I_KEY_KIND;
    part[1] = DLOAD_I_IS_STRING ? 0 : sizeof(DLOAD_I_K);
    part[2] = form;
    part[3] = form == 1 ? sizeof(DLOAD_I_V) : 0;
    part[4] = DLOAD_GROUP;
    part[5] = how->value_version;
    return dload_i_sum(0, part, sizeof part);
}

DLOAD_I_LOCAL uint64_t DLOAD_I_FN(i_wall)(const DLOAD_I_SNAPSHOT *how)
{
    if (how->wall_ns != 0)
        return how->wall_ns;
    return dload_i_clock_wall();
}

/* ---- what an entry is worth ---- */

/* Notes the worth of a shard's entries; *worth is where its slots begin. */
DLOAD_I_LOCAL void DLOAD_I_FN(i_weigh)(DLOAD_I_FN(i_saver) * v, DLOAD_I_SHARD *s, uint8_t *worth)
{
    uint32_t n_slots = s->n_groups * DLOAD_I_GROUP_SLOTS;
    dload_i_walk walk;
    dload_i_walk_begin(&walk);
    bool in_meta = dload_i_worth_in_meta(&s->evict);
    for (bool more = !in_meta; more;) {
        DLOAD_I_ACQUIRE(&s->lock);
        if (s->evict.links != NULL) {
            more = dload_i_walk_on(&s->evict, &walk, worth, s->n_used, DLOAD_I_SCAN_SLOTS);
        } else {
            dload_i_worth_by_queue(&s->evict, worth);
            more = false;
        }
        DLOAD_I_RELEASE(&s->lock);
    }
    for (uint32_t at = 0; at < n_slots; at += DLOAD_I_GROUP_SLOTS) {
        DLOAD_I_ACQUIRE(&s->lock);
        for (uint32_t i = at; i < at + DLOAD_I_GROUP_SLOTS; i++) {
            if (s->groups[at / DLOAD_I_GROUP_SLOTS].tags[i - at] == 0)
                worth[i] = 0; /* gone since it was seen in the queue */
            else if (in_meta)
                worth[i] = dload_i_worth(&s->evict, i);
            else if (worth[i] == 0)
                worth[i] = 1;
        }
        DLOAD_I_RELEASE(&s->lock);
        for (uint32_t i = at; i < at + DLOAD_I_GROUP_SLOTS; i++)
            v->has[worth[i]]++;
    }
}

DLOAD_I_LOCAL dload_status DLOAD_I_FN(i_weigh_all)(DLOAD_I_FN(i_saver) * v)
{
    DLOAD_I_CACHE *c = v->c;
    v->has[1] = 1;
    if (c->unbounded || DLOAD_EVICT == DLOAD_EVICT_NONE || c->n_shards == 0)
        return DLOAD_OK; /* nothing is known of them */
    for (uint32_t i = 0; i < c->n_shards; i++)
        v->n_worth += (size_t)c->shard[i].n_groups * DLOAD_I_GROUP_SLOTS;
    v->worth = (uint8_t *)dload_i_alloc(c->env, v->n_worth);
    if (v->worth == NULL)
        return DLOAD_ENOMEM;
    memset(v->worth, 0, v->n_worth);
    uint8_t *worth = v->worth;
    for (uint32_t i = 0; i < c->n_shards; i++) {
        DLOAD_I_FN(i_weigh)(v, &c->shard[i], worth);
        worth += (size_t)c->shard[i].n_groups * DLOAD_I_GROUP_SLOTS;
    }
    return DLOAD_OK;
}

/* ---- picking, with the shard's lock held ---- */

#if DLOAD_TTL
/* ns until the entry's TTL ends; 0 = it has, DLOAD_NEVER = it does not. Exact, like i_expired_far. */
DLOAD_I_LOCAL uint64_t DLOAD_I_FN(i_left)(const DLOAD_I_CACHE *c, const DLOAD_I_SHARD *s,
                                          const DLOAD_I_SLOT *e, uint64_t now_ns)
{
    (void)c;
#if DLOAD_REFRESH
    if (now_ns >> DLOAD_I_TICK_SHIFT >= DLOAD_I_FN(i_gone)(s, e))
        return 0;
    if (e->end >= DLOAD_I_LAST_TICK - c->keep_ticks)
        return DLOAD_NEVER; /* it goes when nobody reads it */
    uint64_t end_ns = e->end << DLOAD_I_TICK_SHIFT;
#else
    uint64_t end_ns = dload_i_wheel_end(&s->wheel, (uint32_t)(e - s->slots), e->expiry)
                      << DLOAD_I_TICK_SHIFT;
#endif
    return end_ns > now_ns ? end_ns - now_ns : 0;
}
#endif

/* Makes room for a string key's bytes after those of the other picks, or says how much is wanted. */
DLOAD_I_LOCAL bool DLOAD_I_FN(i_pick_key)(DLOAD_I_FN(i_saver) * v, DLOAD_I_FN(i_picked) * p,
                                          const DLOAD_I_SLOT *e)
{
#if DLOAD_I_IS_STRING
    p->key.ptr = NULL;
    p->key.len = e->key.len;
    if (e->key.len > v->keys_cap - v->keys_len) {
        v->key_wanted = e->key.len;
        return false;
    }
    if (e->key.len != 0)
        memcpy(v->keys + v->keys_len, e->key.ptr, e->key.len);
    v->keys_len += e->key.len;
#else
    (void)v;
    p->key = e->key;
#endif
    return true;
}

/* Picks the entry in slot, if there is one to be saved. False when it has to be asked for again. */
DLOAD_I_LOCAL bool DLOAD_I_FN(i_pick)(DLOAD_I_FN(i_saver) * v, DLOAD_I_SHARD *s, uint32_t slot,
                                      uint64_t now_ns, dload_status *st)
{
    const DLOAD_I_SLOT *e = &s->slots[slot];
    DLOAD_I_FN(i_picked) *p = &v->picks[v->n_picks];
    if (s->groups[slot / DLOAD_I_GROUP_SLOTS].tags[slot % DLOAD_I_GROUP_SLOTS] == 0)
        return true;
    uint32_t meta = DLOAD_I_META(e);
    bool error = (meta & DLOAD_I_META_ERROR) != 0;
    if (((meta ^ s->epoch) & DLOAD_I_EPOCH_MASK) != 0 || (error && e->u.status != DLOAD_MISSING))
        return true;
    p->flags = (uint8_t)((error ? DLOAD_I_SAVED_ERROR : 0) |
                         ((meta & DLOAD_I_META_MAIN) != 0 ? DLOAD_I_SAVED_MAIN : 0));
    p->uses = (uint8_t)(meta & DLOAD_I_META_USES);
    p->left_ns = p->group = 0;
#if DLOAD_TTL
    if ((meta & DLOAD_I_META_EXPIRES) != 0) {
        p->left_ns = DLOAD_I_FN(i_left)(v->c, s, e, now_ns);
        p->flags |= p->left_ns != DLOAD_NEVER ? DLOAD_I_SAVED_EXPIRES : 0;
        if (p->left_ns == 0)
            return true;
    }
#endif
    (void)now_ns;
#if DLOAD_GROUP
    p->group = e->group;
#endif
    if (!DLOAD_I_FN(i_pick_key)(v, p, e))
        return false;
    if (error)
        p->status = e->u.status;
    else
        *st = DLOAD_I_FN(i_copy)(&p->value, &e->u.value);
    if (*st >= 0)
        v->n_picks++;
    return true;
}

/* ---- writing, without a lock ---- */

DLOAD_I_LOCAL void DLOAD_I_FN(i_put_front)(dload_i_snap *out, const DLOAD_I_FN(i_picked) * p)
{
    uint8_t head[4];
    head[0] = p->flags;
    head[1] = p->uses;
    head[2] = head[3] = 0;
    dload_i_snap_put(out, head, sizeof head);
    if ((p->flags & DLOAD_I_SAVED_EXPIRES) != 0)
        dload_i_snap_put(out, &p->left_ns, sizeof p->left_ns);
#if DLOAD_GROUP
    dload_i_snap_put(out, &p->group, sizeof p->group);
#endif
#if DLOAD_I_IS_STRING
    uint32_t len = (uint32_t)p->key.len;
    dload_i_snap_put(out, &len, sizeof len);
    dload_i_snap_put(out, p->key.ptr, p->key.len);
#else
    dload_i_snap_put(out, &p->key, sizeof p->key);
#endif
}

DLOAD_I_LOCAL size_t DLOAD_I_FN(i_front_bytes)(const DLOAD_I_FN(i_picked) * p)
{
    size_t n = 4 + ((p->flags & DLOAD_I_SAVED_EXPIRES) != 0 ? sizeof p->left_ns : 0);
    n += DLOAD_GROUP ? sizeof p->group : 0;
#if DLOAD_I_IS_STRING
    return n + sizeof(uint32_t) + p->key.len;
#else
    return n + sizeof p->key;
#endif
}

/* An entry whose value the user encodes, straight into the block. */
DLOAD_I_LOCAL dload_status DLOAD_I_FN(i_write_encoded)(DLOAD_I_FN(i_saver) * v,
                                                       const DLOAD_I_FN(i_picked) * p, size_t front)
{
    dload_i_snap *out = &v->out;
    size_t before = front + sizeof(uint64_t);
    size_t n = 0;
    for (int i = 0; i < 2; i++) {
        if (n > DLOAD_I_FRAME_MAX)
            return DLOAD_OK; /* left out */
        dload_status st = dload_i_snap_room(out, before + n);
        if (st < 0)
            return st == DLOAD_ETOOBIG ? DLOAD_OK : st;
        size_t cap = out->cap_bytes - sizeof(dload_i_frame) - out->n_bytes - before;
        n = 0;
        if (v->how->encode(v->how->ctx, &p->value, dload_i_snap_tail(out) + before, cap, &n) < 0)
            return DLOAD_OK;
        if (n > cap)
            continue;
        uint64_t n_bytes = n;
        DLOAD_I_FN(i_put_front)(out, p);
        dload_i_snap_put(out, &n_bytes, sizeof n_bytes);
        out->n_bytes += n;
        out->n_entries++;
        return DLOAD_OK;
    }
    return DLOAD_OK; /* it did not keep its word */
}

DLOAD_I_LOCAL dload_status DLOAD_I_FN(i_write_pick)(DLOAD_I_FN(i_saver) * v,
                                                    DLOAD_I_FN(i_picked) * p)
{
    dload_i_snap *out = &v->out;
    bool error = (p->flags & DLOAD_I_SAVED_ERROR) != 0;
    size_t front = DLOAD_I_FN(i_front_bytes)(p);
    if (!error && v->how->encode != NULL)
        return DLOAD_I_FN(i_write_encoded)(v, p, front);
#if DLOAD_I_VALUE_IS_BLOB
    uint64_t len = error ? 0 : p->value.len;
    const void *bytes = error ? NULL : p->value.ptr;
    size_t n = sizeof len + (size_t)len;
    if (!error && bytes == NULL)
        p->flags |= DLOAD_I_SAVED_NULL;
    if (len > DLOAD_I_FRAME_MAX)
        return DLOAD_OK; /* left out */
#else
    size_t n = sizeof p->value;
#endif
    dload_status st = dload_i_snap_room(out, front + (error ? sizeof p->status : n));
    if (st < 0)
        return st == DLOAD_ETOOBIG ? DLOAD_OK : st;
    DLOAD_I_FN(i_put_front)(out, p);
    if (error) {
        dload_i_snap_put(out, &p->status, sizeof p->status);
    } else {
#if DLOAD_I_VALUE_IS_BLOB
        dload_i_snap_put(out, &len, sizeof len);
        dload_i_snap_put(out, bytes, (size_t)len);
#else
        DLOAD_I_CLEAR_PADDING(&p->value);
        dload_i_snap_put(out, &p->value, n);
#endif
    }
    out->n_entries++;
    return DLOAD_OK;
}

/* Writes and releases what was picked. */
DLOAD_I_LOCAL dload_status DLOAD_I_FN(i_write_picks)(DLOAD_I_FN(i_saver) * v, dload_status st)
{
    size_t at = 0;
    for (uint32_t i = 0; i < v->n_picks; i++) {
        DLOAD_I_FN(i_picked) *p = &v->picks[i];
#if DLOAD_I_IS_STRING
        p->key.ptr = v->keys + at;
        at += p->key.len;
#endif
        if (st >= 0)
            st = DLOAD_I_FN(i_write_pick)(v, p);
        if ((p->flags & DLOAD_I_SAVED_ERROR) == 0)
            DLOAD_I_FN(i_release)(&p->value);
    }
    (void)at;
    v->n_picks = 0;
    v->keys_len = 0;
    if (st < 0 || v->key_wanted <= v->keys_cap)
        return st;
    dload_i_free(v->c->env, v->keys, v->keys_cap);
    v->keys_cap = v->key_wanted < 2048 ? 2048 : v->key_wanted;
    v->keys = (char *)dload_i_alloc(v->c->env, v->keys_cap);
    if (v->keys != NULL)
        return st;
    v->keys_cap = 0;
    return DLOAD_ENOMEM;
}

/* ---- the whole ---- */

/* Goes through a shard for the entries of one worth; worth is where its slots begin, or NULL. */
DLOAD_I_LOCAL dload_status DLOAD_I_FN(i_save_shard)(DLOAD_I_FN(i_saver) * v, DLOAD_I_SHARD *s,
                                                    const uint8_t *worth, uint32_t wanted)
{
    dload_status st = DLOAD_OK;
    uint32_t n_groups = 0;
    uint32_t at = 0;
    for (bool more = true; more && st >= 0;) {
        uint64_t now_ns = DLOAD_TTL ? DLOAD_I_FN(i_now)(v->c) : 0;
        DLOAD_I_ACQUIRE(&s->lock);
        if (n_groups != s->n_groups)
            at = 0; /* it grew, and entries moved */
        n_groups = s->n_groups;
        uint32_t n_slots = n_groups * DLOAD_I_GROUP_SLOTS;
        uint32_t end = n_slots - at < DLOAD_I_SCAN_SLOTS ? n_slots : at + DLOAD_I_SCAN_SLOTS;
        for (; at < end && v->n_picks < DLOAD_I_TIDY_MAX && st >= 0; at++) {
            if ((worth == NULL || worth[at] == wanted) &&
                !DLOAD_I_FN(i_pick)(v, s, at, now_ns, &st))
                break;
        }
        more = at < n_slots;
        DLOAD_I_RELEASE(&s->lock);
        st = DLOAD_I_FN(i_write_picks)(v, st);
        while (worth != NULL && at < n_slots && worth[at] != wanted)
            at++;
    }
    return st;
}

DLOAD_I_LOCAL dload_status DLOAD_I_FN(i_save_all)(DLOAD_I_FN(i_saver) * v)
{
    DLOAD_I_CACHE *c = v->c;
    dload_status st = dload_i_snap_put_info(&v->out, DLOAD_I_FN(i_wall)(v->how));
    if (st >= 0)
        st = DLOAD_I_FN(i_weigh_all)(v);
    for (uint32_t wanted = DLOAD_I_WORTH_MAX; wanted > 0; wanted--) {
        const uint8_t *worth = v->worth;
        for (uint32_t i = 0; i < c->n_shards && st >= 0 && v->has[wanted] != 0; i++) {
            st = DLOAD_I_FN(i_save_shard)(v, &c->shard[i], worth, wanted);
            if (worth != NULL)
                worth += (size_t)c->shard[i].n_groups * DLOAD_I_GROUP_SLOTS;
        }
    }
    return st >= 0 ? dload_i_snap_put_total(&v->out) : st;
}

DLOAD_I_LOCAL dload_status DLOAD_I_FN(i_save)(DLOAD_I_CACHE *c, const DLOAD_I_SNAPSHOT *how,
                                              dload_status (*write)(void *, const void *, size_t),
                                              void *ctx, size_t *n)
{
    if (n != NULL)
        *n = 0;
    if (write == NULL || (DLOAD_I_VALUE_FORM == 0 && how->encode == NULL))
        return DLOAD_EINVAL;
    if (DLOAD_I_FORKED(c))
        return DLOAD_EFORK;
    DLOAD_I_FN(i_saver) *v = (DLOAD_I_FN(i_saver) *)dload_i_alloc(c->env, sizeof *v);
    if (v == NULL)
        return DLOAD_ENOMEM;
    memset(v, 0, sizeof *v);
    int before = DLOAD_I_HOLD();
    v->c = c;
    v->how = how;
    dload_status st =
        dload_i_snap_begin(&v->out, c->env, DLOAD_I_FN(i_layout)(how, how->encode != NULL));
    v->out.write = write;
    v->out.ctx = ctx;
    if (st >= 0)
        st = DLOAD_I_FN(i_save_all)(v);
    if (n != NULL && st >= 0)
        *n = (size_t)v->out.n_total;
    dload_i_snap_end(&v->out);
    dload_i_free(c->env, v->worth, v->n_worth);
    dload_i_free(c->env, v->keys, v->keys_cap);
    dload_i_free(c->env, v, sizeof *v);
    DLOAD_I_UNHOLD(before);
    return st;
}

DLOAD_I_API dload_status DLOAD_I_FN(cache_save)(DLOAD_I_CACHE *c, const DLOAD_I_SNAPSHOT *how,
                                                size_t *n)
{
    return how != NULL ? DLOAD_I_FN(i_save)(c, how, how->write, how->ctx, n) : DLOAD_EINVAL;
}

DLOAD_I_API dload_status DLOAD_I_FN(save)(DLOAD_NAME *l, const DLOAD_I_SNAPSHOT *how, size_t *n)
{
    return DLOAD_I_FN(cache_save)(&l->cache, how, n);
}

#if !DLOAD_FREESTANDING

DLOAD_I_API dload_status DLOAD_I_FN(cache_save_file)(DLOAD_I_CACHE *c, const char *path,
                                                     const DLOAD_I_SNAPSHOT *how, size_t *n)
{
    DLOAD_I_SNAPSHOT none;
    dload_i_file f;
    memset(&none, 0, sizeof none);
    if (path == NULL)
        return DLOAD_EINVAL;
    if (DLOAD_I_FORKED(c))
        return DLOAD_EFORK;
    int before = DLOAD_I_HOLD();
    dload_status st = dload_i_file_create(&f, c->env, path);
    if (st >= 0) {
        st = DLOAD_I_FN(i_save)(c, how != NULL ? how : &none, dload_i_file_write, &f, n);
        st = dload_i_file_commit(&f, st);
    } else {
        dload_i_file_close(&f);
    }
    DLOAD_I_UNHOLD(before);
    return st;
}

DLOAD_I_API dload_status DLOAD_I_FN(save_file)(DLOAD_NAME *l, const char *path,
                                               const DLOAD_I_SNAPSHOT *how, size_t *n)
{
    return DLOAD_I_FN(cache_save_file)(&l->cache, path, how, n);
}

#endif

#endif /* DLOAD_I_BODIES && DLOAD_SNAPSHOT */
#endif /* DLOAD_I_HAVE_SAVE */

/* ==== typed/restore.h ==== */

/* >>restore -- a snapshot back into a cache.
 *
 * Every block is checked before anything in it is believed. What is there already, or on its way, is newer
 * than the snapshot and stays; what was cleared stays cleared; nothing is evicted.
 */
#ifndef DLOAD_I_HAVE_RESTORE
#define DLOAD_I_HAVE_RESTORE

#if DLOAD_I_BODIES && DLOAD_SNAPSHOT

typedef struct DLOAD_I_FN(i_restorer) {
    dload_i_snap in;
    const DLOAD_I_SNAPSHOT *how;
    DLOAD_I_CACHE *c;
    DLOAD_NAME *l; /* whose cache it is; NULL = nobody's */
    uint64_t age_ns;
    uint64_t n; /* entries that came */
} DLOAD_I_FN(i_restorer);

/* Puts an entry as one that was used before, under the locks it takes: true when it is in the cache. */
DLOAD_I_LOCAL bool DLOAD_I_FN(i_revive)(DLOAD_I_CACHE *c, DLOAD_I_SHARD *s, DLOAD_I_FN(item) * item,
                                        const DLOAD_I_FN(i_picked) * p, dload_status *st)
{
    const DLOAD_I_SLOT *e = DLOAD_I_FN(i_locate)(s, &item->id);
    if ((e != NULL && ((DLOAD_I_META(e) ^ s->epoch) & DLOAD_I_EPOCH_MASK) == 0) ||
        (!c->unbounded && s->n_live >= s->cap))
        return false;
#if DLOAD_I_WEIGHED
    if (item->status >= 0 && (uint64_t)(DLOAD_WEIGHT(item->value)) > s->max_weight - s->weight)
        return false; /* what came before it is worth more */
#endif
    *st = DLOAD_I_FN(i_put)(c, s, item);
    if (*st < 0)
        return false;
    e = DLOAD_I_FN(i_locate)(s, &item->id);
    if ((DLOAD_I_META(e) & DLOAD_I_META_PINNED) == 0)
        dload_i_evict_revive(&s->evict, DLOAD_I_FN(i_slot_of)(s, e), p->uses,
                             (p->flags & DLOAD_I_SAVED_MAIN) != 0);
    return true;
}

/* Brings one entry, whose value is ours to give or to release. */
DLOAD_I_LOCAL dload_status DLOAD_I_FN(i_bring_back)(DLOAD_I_FN(i_restorer) * r,
                                                    DLOAD_I_FN(i_picked) * p, uint64_t now_ns)
{
    DLOAD_I_CACHE *c = r->c;
    DLOAD_I_FN(item) item;
    bool error = (p->flags & DLOAD_I_SAVED_ERROR) != 0;
    bool came = false;
    dload_status st = DLOAD_OK;
    item.id = DLOAD_I_FN(i_id)(c, p->key, p->group);
    item.value = &p->value;
    item.status = error ? p->status : DLOAD_OK;
    item.ttl_ns = (p->flags & DLOAD_I_SAVED_EXPIRES) != 0 ? p->left_ns : DLOAD_NEVER;
    item.now_ns = now_ns;
    item.garbage = false;
#if DLOAD_I_KILLS
    item.dead = false;
#endif
    DLOAD_I_FN(i_before_store)(c, &item);
    DLOAD_I_SHARD *s = DLOAD_I_FN(i_shard)(c, item.id.hash);
    if (r->l != NULL)
        DLOAD_I_ACQUIRE(&r->l->mutex);
    if (r->l == NULL || (!DLOAD_I_FN(i_cleared_since)(r->l, &item.id, 0) &&
                         DLOAD_I_FN(i_flight)(r->l, &item.id) == NULL)) {
        DLOAD_I_ACQUIRE(&s->lock);
        came = DLOAD_I_FN(i_revive)(c, s, &item, p, &st);
        DLOAD_I_RELEASE(&s->lock);
    }
    if (r->l != NULL)
        DLOAD_I_LEAVE(r->l);
    if (!came && !error)
        DLOAD_I_FN(i_release)(&p->value);
    DLOAD_I_FN(i_after_store)(c, &item, DLOAD_OK);
    r->n += came;
    return st == DLOAD_EFULL ? DLOAD_OK : st;
}

/* ---- from bytes to an entry ---- */

/* DLOAD_ECORRUPT: what the checksum let pass no save has written. DLOAD_ETOOBIG: longer than allowed here. */
DLOAD_I_LOCAL dload_status DLOAD_I_FN(i_take_key)(DLOAD_I_FN(i_restorer) * r,
                                                  DLOAD_I_FN(i_picked) * p)
{
#if DLOAD_I_IS_STRING
    uint32_t len = 0;
    if (!dload_i_snap_get(&r->in, &len, sizeof len))
        return DLOAD_ECORRUPT;
    p->key.ptr = dload_i_snap_take(&r->in, len);
    p->key.len = len;
    if (p->key.ptr == NULL)
        return DLOAD_ECORRUPT;
#elif DLOAD_I_KEY_KIND == DLOAD_I_KIND_BOOL
    uint8_t byte = 0;
    if (!dload_i_snap_get(&r->in, &byte, sizeof byte))
        return DLOAD_ECORRUPT;
    p->key = (DLOAD_I_K)(byte != 0);
#else
    if (!dload_i_snap_get(&r->in, &p->key, sizeof p->key))
        return DLOAD_ECORRUPT;
#endif
    dload_status st = DLOAD_I_FN(i_canon)(&p->key, r->c->max_key_bytes);
    return st == DLOAD_EKEY ? DLOAD_ECORRUPT : st;
}

/* Makes the value; DLOAD_EDECODE when this one is to be left out. wanted: the key may come in. */
DLOAD_I_LOCAL dload_status DLOAD_I_FN(i_take_value)(DLOAD_I_FN(i_restorer) * r,
                                                    DLOAD_I_FN(i_picked) * p, bool wanted)
{
    dload_i_snap *in = &r->in;
    if ((p->flags & DLOAD_I_SAVED_ERROR) != 0)
        return !dload_i_snap_get(in, &p->status, sizeof p->status) || p->status >= 0 ||
                       p->status == DLOAD_PENDING
                   ? DLOAD_ECORRUPT
                   : DLOAD_OK;
    if (DLOAD_I_VALUE_FORM == 1 && r->how->decode == NULL)
        return dload_i_snap_get(in, &p->value, sizeof p->value) ? DLOAD_OK : DLOAD_ECORRUPT;
    uint64_t len = 0;
    if (!dload_i_snap_get(in, &len, sizeof len))
        return DLOAD_ECORRUPT;
    const char *bytes = dload_i_snap_take(in, len);
    if (bytes == NULL)
        return DLOAD_ECORRUPT;
    if (!wanted)
        return DLOAD_EDECODE;
    if (r->how->decode != NULL)
        return r->how->decode(r->how->ctx, bytes, (size_t)len, &p->value) < 0 ? DLOAD_EDECODE
                                                                              : DLOAD_OK;
#if DLOAD_I_VALUE_IS_BLOB
    p->value.ptr = NULL;
    p->value.len = 0;
    if ((p->flags & DLOAD_I_SAVED_NULL) == 0)
        return dload_blob_make(r->c->env, bytes, (size_t)len, &p->value);
#endif
    return DLOAD_OK;
}

/* One entry of the block, which has been verified. */
DLOAD_I_LOCAL dload_status DLOAD_I_FN(i_take_entry)(DLOAD_I_FN(i_restorer) * r, uint64_t now_ns)
{
    DLOAD_I_FN(i_picked) p;
    uint8_t head[4];
    if (!dload_i_snap_get(&r->in, head, sizeof head) || (head[0] & ~DLOAD_I_SAVED_FLAGS) != 0)
        return DLOAD_ECORRUPT;
    p.flags = head[0];
    p.uses = head[1];
    p.left_ns = p.group = 0;
    p.status = DLOAD_OK;
    bool expires = (p.flags & DLOAD_I_SAVED_EXPIRES) != 0;
    if (expires && !dload_i_snap_get(&r->in, &p.left_ns, sizeof p.left_ns))
        return DLOAD_ECORRUPT;
#if DLOAD_GROUP
    if (!dload_i_snap_get(&r->in, &p.group, sizeof p.group))
        return DLOAD_ECORRUPT;
#endif
    dload_status st = DLOAD_I_FN(i_take_key)(r, &p);
    if (st < 0 && st != DLOAD_ETOOBIG)
        return st;
    /* Without TTLs nothing that expires may come in: it would stay for ever. */
    bool wanted =
        st >= 0 && r->c->n_shards != 0 && (!expires || (DLOAD_TTL && p.left_ns > r->age_ns));
    st = DLOAD_I_FN(i_take_value)(r, &p, wanted);
    if (st == DLOAD_EDECODE || (st >= 0 && !wanted))
        return DLOAD_OK;
    if (st < 0)
        return st;
    p.left_ns -= expires ? r->age_ns : 0;
    return DLOAD_I_FN(i_bring_back)(r, &p, now_ns);
}

/* ---- the whole ---- */

DLOAD_I_LOCAL dload_status DLOAD_I_FN(i_restore_all)(DLOAD_I_FN(i_restorer) * r)
{
    dload_i_snap *in = &r->in;
    uint64_t saved_ns = 0;
    dload_status st = dload_i_snap_get_info(in, &saved_ns);
    r->age_ns = dload_i_snap_age(saved_ns, DLOAD_I_FN(i_wall)(r->how));
    while (st >= 0) {
        st = dload_i_snap_next(in);
        if (st < 0)
            break;
        if (in->kind == DLOAD_I_FRAME_ENDS)
            return dload_i_snap_get_total(in);
        uint64_t now_ns = DLOAD_TTL ? DLOAD_I_FN(i_now)(r->c) : 0;
        for (uint32_t i = 0; i < in->n_entries && st >= 0; i++)
            st = DLOAD_I_FN(i_take_entry)(r, now_ns);
        if (st >= 0 && in->at != in->n_bytes)
            st = DLOAD_ECORRUPT;
    }
    return st;
}

DLOAD_I_LOCAL dload_status DLOAD_I_FN(i_restore)(DLOAD_I_CACHE *c, DLOAD_NAME *l,
                                                 const DLOAD_I_SNAPSHOT *how, dload_i_snap *in,
                                                 size_t *n)
{
    if (n != NULL)
        *n = 0;
    if (in->read == NULL || (DLOAD_I_VALUE_FORM == 0 && how->decode == NULL))
        return DLOAD_EINVAL;
    if (DLOAD_I_FORKED(c))
        return DLOAD_EFORK;
    DLOAD_I_FN(i_restorer) r;
    r.how = how;
    r.c = c;
    r.l = l;
    r.age_ns = r.n = 0;
    int before = DLOAD_I_HOLD();
    dload_status st =
        dload_i_snap_begin(&r.in, c->env, DLOAD_I_FN(i_layout)(how, how->decode != NULL));
    r.in.read = in->read;
    r.in.ctx = in->ctx;
    if (st >= 0)
        st = DLOAD_I_FN(i_restore_all)(&r);
    if (n != NULL)
        *n = (size_t)r.n;
    dload_i_snap_end(&r.in);
    DLOAD_I_UNHOLD(before);
    return st;
}

DLOAD_I_LOCAL dload_status DLOAD_I_FN(i_restore_from)(DLOAD_I_CACHE *c, DLOAD_NAME *l,
                                                      const DLOAD_I_SNAPSHOT *how, size_t *n)
{
    dload_i_snap in;
    if (how == NULL)
        return DLOAD_EINVAL;
    memset(&in, 0, sizeof in);
    in.read = how->read;
    in.ctx = how->ctx;
    return DLOAD_I_FN(i_restore)(c, l, how, &in, n);
}

DLOAD_I_API dload_status DLOAD_I_FN(cache_restore)(DLOAD_I_CACHE *c, const DLOAD_I_SNAPSHOT *how,
                                                   size_t *n)
{
    return DLOAD_I_FN(i_restore_from)(c, NULL, how, n);
}

DLOAD_I_API dload_status DLOAD_I_FN(restore)(DLOAD_NAME *l, const DLOAD_I_SNAPSHOT *how, size_t *n)
{
    return DLOAD_I_FN(i_restore_from)(&l->cache, l, how, n);
}

#if !DLOAD_FREESTANDING

/* Checks all of the file, then goes back to its beginning and puts what is in it. */
DLOAD_I_LOCAL dload_status DLOAD_I_FN(i_restore_file)(DLOAD_I_CACHE *c, DLOAD_NAME *l,
                                                      const char *path, const DLOAD_I_SNAPSHOT *how,
                                                      size_t *n)
{
    DLOAD_I_SNAPSHOT none;
    dload_i_snap in;
    dload_i_file f;
    memset(&none, 0, sizeof none);
    how = how != NULL ? how : &none;
    if (n != NULL)
        *n = 0;
    if (path == NULL || (DLOAD_I_VALUE_FORM == 0 && how->decode == NULL))
        return DLOAD_EINVAL;
    if (DLOAD_I_FORKED(c))
        return DLOAD_EFORK;
    int before = DLOAD_I_HOLD();
    dload_status st = dload_i_file_find(&f, c->env, path);
    if (st >= 0) {
        st = dload_i_snap_begin(&in, c->env, DLOAD_I_FN(i_layout)(how, how->decode != NULL));
        in.read = dload_i_file_read;
        in.ctx = &f;
        if (st >= 0)
            st = dload_i_snap_verify(&in);
        dload_i_snap_end(&in);
        if (st >= 0)
            st = dload_i_file_rewind(&f);
        if (st >= 0)
            st = DLOAD_I_FN(i_restore)(c, l, how, &in, n);
    }
    dload_i_file_close(&f);
    DLOAD_I_UNHOLD(before);
    return st;
}

DLOAD_I_API dload_status DLOAD_I_FN(cache_restore_file)(DLOAD_I_CACHE *c, const char *path,
                                                        const DLOAD_I_SNAPSHOT *how, size_t *n)
{
    return DLOAD_I_FN(i_restore_file)(c, NULL, path, how, n);
}

DLOAD_I_API dload_status DLOAD_I_FN(restore_file)(DLOAD_NAME *l, const char *path,
                                                  const DLOAD_I_SNAPSHOT *how, size_t *n)
{
    return DLOAD_I_FN(i_restore_file)(&l->cache, l, path, how, n);
}

#endif

#endif /* DLOAD_I_BODIES && DLOAD_SNAPSHOT */
#endif /* DLOAD_I_HAVE_RESTORE */

/* ==== typed/undef.h ==== */

/* >>undef -- nothing of one loader's parameters is left for the next; order as in the manual. */
#undef DLOAD_NAME
#undef DLOAD_KEY
#undef DLOAD_KEY_AS
#undef DLOAD_VALUE
#undef DLOAD_VALUE_REF
#undef DLOAD_VALUE_UNREF
#undef DLOAD_VALUE_COPY
#undef DLOAD_VALUE_FREE
#undef DLOAD_LOCK
#undef DLOAD_EVICT
#undef DLOAD_TTL
#undef DLOAD_REFRESH
#undef DLOAD_GROUP
#undef DLOAD_CLOCK
#undef DLOAD_HASH
#undef DLOAD_STATS
#undef DLOAD_ASYNC
#undef DLOAD_SNAPSHOT
#undef DLOAD_STORE
#undef DLOAD_WEIGHT
#undef DLOAD_ON_REMOVE
#undef DLOAD_COMPACT
#undef DLOAD_LINKAGE
/* private, by part */
#undef DLOAD_I_HAVE_PARAMS
#undef DLOAD_I_KEY_NAME
#undef DLOAD_I_KEY_KIND
#undef DLOAD_I_VALUE_IS_BLOB
#undef DLOAD_I_OWNED
#undef DLOAD_I_VALUE_FORM
#undef DLOAD_I_WEIGHED
#undef DLOAD_I_LEAVES
#undef DLOAD_I_KILLS
#undef DLOAD_I_OWES
#undef DLOAD_I_FN
#undef DLOAD_I_IS_STRING
#undef DLOAD_I_THREADED
#undef DLOAD_I_SHARDED
#undef DLOAD_I_LOCKLESS
#undef DLOAD_I_SHARED
#undef DLOAD_I_APART
#undef DLOAD_I_META
#undef DLOAD_I_META_WRITE
#undef DLOAD_I_MAX_USES
#undef DLOAD_I_BODIES
#undef DLOAD_I_COUNT_HIT
#undef DLOAD_I_API
#undef DLOAD_I_HOT
#undef DLOAD_I_HAVE_LOCK
#undef DLOAD_I_HAVE_CUSTOM
#undef DLOAD_I_LOCK_T
#undef DLOAD_I_LOCK_INIT
#undef DLOAD_I_LOCK_DESTROY
#undef DLOAD_I_ACQUIRE
#undef DLOAD_I_RELEASE
#undef DLOAD_I_LEAVE
#undef DLOAD_I_SYNC
#undef DLOAD_I_COND_T
#undef DLOAD_I_COND_INIT
#undef DLOAD_I_COND_DESTROY
#undef DLOAD_I_HOLD
#undef DLOAD_I_UNHOLD
#undef DLOAD_I_FORK_EPOCH
#undef DLOAD_I_FORK_NOW
#undef DLOAD_I_FORKED
#undef DLOAD_I_MUTEX_T
#undef DLOAD_I_LOOK
#undef DLOAD_I_LOOKED
#undef DLOAD_I_HAVE_TYPES
#undef DLOAD_I_SIGN
#undef DLOAD_I_SAME_SIGN
#undef DLOAD_I_K
#undef DLOAD_I_ID
#undef DLOAD_I_V
#undef DLOAD_I_FINGERPRINT
#undef DLOAD_I_HAVE_API
#undef DLOAD_I_HAVE_SLOTS
#undef DLOAD_I_HAVE_LOADER
#undef DLOAD_I_HAVE_LEAVE
#undef DLOAD_I_WEIGHT_MAX
#undef DLOAD_I_WEIGHT_PIN
#undef DLOAD_I_HAVE_IDENT
#undef DLOAD_I_SHARD
#undef DLOAD_I_SLOT
#undef DLOAD_I_CACHE
#undef DLOAD_I_HASH_KEY
#undef DLOAD_I_HAVE_ENTRY
#undef DLOAD_I_HAVE_TABLE
#undef DLOAD_I_HAVE_KEYTEXT
#undef DLOAD_I_SIGNED
#undef DLOAD_I_HAVE_REMOVE
#undef DLOAD_I_HAVE_READ
#undef DLOAD_I_READ_TRIES
#undef DLOAD_I_READ_BYTES
#undef DLOAD_I_DUE
#undef DLOAD_I_HAVE_STALE
#undef DLOAD_I_HAVE_REMOVED
#undef DLOAD_I_HAVE_WEIGHT
#undef DLOAD_I_DRAIN_MAX
#undef DLOAD_I_HAVE_REACH
#undef DLOAD_I_REACH
#undef DLOAD_I_HAVE_STORE
#undef DLOAD_I_HAVE_COMPACT
#undef DLOAD_I_HAVE_COMPACT_STORE
#undef DLOAD_I_HAVE_COMPACT_CACHE
#undef DLOAD_I_SHARD_AT
#undef DLOAD_I_HAVE_CACHE
#undef DLOAD_I_HAVE_SHARDS
#undef DLOAD_I_HAVE_MANY
#undef DLOAD_I_MANY
#undef DLOAD_I_MANY_BYTES
#undef DLOAD_I_TIDY_MAX
#undef DLOAD_I_HAVE_PIN
#undef DLOAD_I_HAVE_OWED
#undef DLOAD_I_OWED_VALUE
#undef DLOAD_I_OWED_REJECTED
#undef DLOAD_I_OWED_OLD
#undef DLOAD_I_OWED_DEAD
#undef DLOAD_I_HAVE_SOLO
#undef DLOAD_I_HAVE_SOLO_CALLS
#undef DLOAD_I_COUNT
#undef DLOAD_I_HAVE_OPS
#undef DLOAD_I_BATCH
#undef DLOAD_I_WAITER
#undef DLOAD_I_FIRST_PLACES
#undef DLOAD_I_HAVE_ANSWER
#undef DLOAD_I_HAVE_SECOND
#undef DLOAD_I_HAVE_LOCKED
#undef DLOAD_I_HAVE_LEASED
#undef DLOAD_I_HAVE_RUN_SECOND
#undef DLOAD_I_HAVE_REFRESH
#undef DLOAD_I_HAVE_LOAD
#undef DLOAD_I_HAVE_LOAD_MANY
#undef DLOAD_I_SLEEPER
#undef DLOAD_I_HAVE_OUTSIDE
#undef DLOAD_I_HAVE_SINK
#undef DLOAD_I_HAVE_CONTROL
#undef DLOAD_I_HAVE_SAVE
#undef DLOAD_I_HAVE_RESTORE
#undef DLOAD_I_SNAPSHOT

#else              /* stores alone */
#undef DLOAD_STORE /* stores alone */
#endif             /* stores alone */

#pragma GCC diagnostic pop

/* A list of keys of another type, or a fetch function of another signature, must not compile; gcc
 * before 14 and clang only warn by themselves. DLOAD_LOOSE_POINTERS 1 opts out. */
#if !DLOAD_LOOSE_POINTERS && !defined(__cplusplus)
#pragma GCC diagnostic error "-Wincompatible-pointer-types"
#pragma GCC diagnostic error "-Wint-conversion"
#pragma GCC diagnostic error "-Wpointer-sign"
#ifdef __clang__
#pragma GCC diagnostic error "-Wincompatible-function-pointer-types"
#endif
#endif
