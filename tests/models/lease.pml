/* Single flight across processes: LEASE, FILL and DROP of a store (runtime/backend.h), with a lock around them that
 * may be lost (config.locks), and a source that is written meanwhile. One key. A lease is an identity, not a
 * promise: work may be done twice, but what is stored is never out of date.
 *
 * P is a loader's fetch in a process of its own: it asks the store, fetches when the lease is its own, fills, or
 * drops when the fetch fails; when the lease is another's it asks again, and at its deadline leaves. The store may
 * lose a lease at any time (Expire). The writer writes the source, then has the store delete the key, which
 * revokes the lease.
 *
 * Proved: at the end the store has nothing, or what the source has; no more fetches run side by side than leases
 * and locks were lost, plus one; no fill is refused without such a loss. With LOCKED, when the store keeps what it
 * got and no lock is lost, the source is asked once.
 *
 * Settings: NP processes, and -D of
 *     LOCKED   each takes the lock of the name first, and asks the store when it has it; the store has no leases
 *     LOSES    ... and the lock may be lost once while it is held
 * Mutants: see the M_ macros; run.py has the list, and says what each of them breaks.
 */
#define EMPTY 255
#ifndef NP
#define NP 2
#endif

byte db = 0;        /* the source */
byte cache = EMPTY; /* the store's value */
byte lease = 0;     /* who may fill; 0 = nobody */
byte last = 0;      /* leases given so far: identities */
byte high = 0;      /* for M_GE_CHECK alone */
byte lock = 0;      /* who holds the name; 0 = nobody */
byte fetching = 0, fetches = 0;
byte expiries = 0, revokes = 0, unlocked = 0, refused = 0;
byte failures = 0, done = 0;
bool written = false;

inline store_lease()
{
#ifdef M_TOKEN_REUSE
  last = 1;
#else
  last++;
#endif
  lease = last;
  my = last
}

/* Under the lock, and in a store without leases, whoever finds nothing fetches. */
inline begin_fetch()
{
  fetching++;
  fetches++;
  assert(fetching <= 1 + expiries + revokes + unlocked)
}

inline store_fill()
{
#ifdef LOCKED
  cache = v
#else
#ifdef M_PLAIN_SET
  cache = v
#else
#ifdef M_GE_CHECK
  if
  :: my >= high -> high = my; cache = v; lease = 0
  :: else
  fi
#else
  if
  :: lease == my -> cache = v; lease = 0
  :: else -> refused++ /* given to who asked, kept nowhere */
  fi
#endif
#endif
#endif
}

inline store_drop()
{
#ifdef M_DROP_ANY
  if
  :: lease == my
  :: else -> refused++
  fi;
  lease = 0
#else
  if
  :: lease == my -> lease = 0
  :: else -> refused++
  fi
#endif
}

proctype P(byte id)
{
  byte my = 0, v, tries = 0;
#ifdef M_LOCKED_UNASKED
  if
  :: cache != EMPTY -> goto out
  :: else
  fi;
#endif
#ifdef LOCKED
  atomic { lock == 0 -> lock = id };
#ifdef M_LOCKED_UNASKED
  goto fetch;
#endif
#endif
again:
  tries++;
  if
  :: atomic { cache != EMPTY -> goto out }
#ifdef LOCKED
  :: atomic { cache == EMPTY -> skip }
#else
  :: atomic { cache == EMPTY && lease == 0 -> store_lease() }
  :: atomic { cache == EMPTY && lease != 0 -> skip };
     if
     :: tries < 3 -> goto again /* the value first, then the lease */
#ifdef M_ALL_FETCH
     :: tries >= 3 -> goto fetch /* who waited long enough fetches, and so do all others */
#else
     :: tries >= 3 -> goto out
#endif
     fi
#endif
  fi;
fetch:
  atomic { begin_fetch() };
  v = db; /* takes long: anything may happen before and after */
  fetching--;
  if
  :: atomic { store_fill() }
#ifndef LOCKED
  :: atomic { failures < 1 -> failures++; store_drop() }
#endif
  fi;
out:
#ifdef LOCKED
  atomic {
    if
    :: lock == id -> lock = 0
    :: else /* it was lost: another has it, or nobody */
    fi
  };
#endif
  atomic { assert(refused <= expiries + revokes); done++ }
}

active proctype Expire()
{
endx:
  do
  :: atomic { expiries < 2 && lease != 0 -> lease = 0; expiries++ }
  od
}

#ifdef LOSES
active proctype Lose()
{
endl:
  do
  :: atomic { unlocked < 1 && lock != 0 -> lock = 0; unlocked++ }
  od
}
#endif

active proctype Writer()
{
  byte k = 0;
#ifdef LOCKED
  goto gone; /* without leases a store has what was stored last: until its TTL ends, that may be old */
#endif
  do
  :: k < 2 ->
#ifdef M_DELETE_FIRST
     atomic { cache = EMPTY; lease = 0; revokes++ };
     db++;
#else
     db++;
#ifdef M_WRITER_DIES
     if
     :: skip
     :: goto gone
     fi;
#endif
     atomic {
       cache = EMPTY;
#ifndef M_DELETE_KEEPS_LEASE
       lease = 0;
       revokes++
#endif
     };
#endif
     k++
  :: k == 2 -> break
  od;
gone:
  written = true
}

init
{
  byte j = 0;
  atomic {
    do
    :: j < NP -> run P(j + 1); j++
    :: else -> break
    od
  }
}

active proctype Check()
{
  timeout;
  assert(written && done == NP);
  assert(cache == EMPTY || cache == db);
#ifdef LOCKED
#ifndef LOSES
  assert(fetches == 1)
#endif
#endif
}
