/* Own writes are read: the barrier of Redis tracking (adapters/dataloader_redis/sinks.h, _listen.h, _tracking.h) in
 * front of a loader's flights and cache, as far as tracking.pml has them. One key; W writes, waits for the barrier, and
 * loads; R loads. Reads go over D, which the server tracks for I; W writes over a connection of its own.
 *
 * The server's steps are atomic, and it answers at once. D and I are streams of their own: that D ended may be seen
 * before or after what I brought. What is one critical section or one call of a sink in the code is one step here.
 *
 * Proved: what W loads after the barrier is what it wrote, or newer; at the end the cache is empty or right.
 *
 * Settings: WRITES, LOADS of R, BREAKS connections that may be lost.
 * Mutants: see the M_ macros; run.py has the list.
 */
#define EMPTY 255
#define INV   100 /* on I: the key changed; anything else is the answer to a PING */
#ifndef WRITES
#define WRITES 2
#endif
#ifndef LOADS
#define LOADS 2
#endif
#ifndef BREAKS
#define BREAKS 2
#endif
#define N 2 /* who loads: 0 = W, 1 = R */

chan i2c = [4] of { byte };
/* the server */
byte val = 0;
bool tracked = false, d_open = false, i_open = false;
byte breaks = 0;
/* the tracking, under its mutex */
byte mark = 0, d_mark = 0; /* odd = D's that say hello are tracked */
bool up = false, d_seen = true /* that D ended */, d_lost = false /* closed, sinks do not know */;
byte asked = 0, answered = 0;
/* its thread's */
byte sent_for = 0, ponged = 0;
/* the loader, under its mutex */
byte cache = EMPTY, clear_seq = 0, clear_all_seq = 0;
bool deaf = true;
bool flying[N], detached[N];
byte token[N], result[N];
byte n_through = 0;

inline srv_write()
{
  val++;
  if
  :: tracked && d_open && i_open -> i2c!INV
  :: else
  fi;
  tracked = false
}

active proctype Net()
{
endN:
  do
  :: atomic { breaks < BREAKS && d_open -> d_open = false; tracked = false; breaks++ }
  :: atomic { breaks < BREAKS && i_open -> i_open = false; breaks++ }
  od
}

/* ---- sinks ---- */

inline sink_all()
{
  clear_seq++;
  clear_all_seq = clear_seq;
  cache = EMPTY
}

inline sink_key()
{
  clear_seq++;
  cache = EMPTY;
  detached[0] = true;
  detached[1] = true
}

/* ---- the loader ---- */

#define JOINABLE(o) (flying[o] && !detached[o] && token[o] >= clear_all_seq)

/* Leaves in v what me is given; d is only ever used by one at a time. */
inline load(me, v)
{
  if
  :: atomic { cache != EMPTY -> v = cache }
  :: atomic { cache == EMPTY && JOINABLE(1 - me) -> skip };
     (!flying[1 - me]); /* joined: whatever that one brings */
     v = result[1 - me]
  :: atomic { cache == EMPTY && !JOINABLE(1 - me) -> flying[me] = true; detached[me] = false; token[me] = clear_seq };
     atomic { /* dload_redis_usable, or another D */
       if
#ifdef M_OLD_MARK
       :: d_open
#else
       :: d_open && d_mark == mark
#endif
       :: else ->
          d_lost = d_lost || (!d_seen && d_mark == mark && up); /* dload_redis_i_track_closed */
          d_open = true; d_seen = false; d_mark = mark; tracked = false
       fi
     };
     if
     :: atomic { d_open -> v = val; tracked = (tracked || d_mark % 2 == 1) }
     :: atomic { !d_open -> v = EMPTY }
     fi;
     atomic { /* publish */
       if
       :: v == EMPTY || detached[me] || token[me] < clear_all_seq || deaf
       :: else -> cache = v
       fi;
       result[me] = v;
       flying[me] = false
     }
  fi
}

proctype R()
{
  byte k = 0, got;
  do
  :: k < LOADS -> k++; load(1, got)
  :: k == LOADS -> break
  od;
  n_through++
}

proctype W()
{
  byte k = 0, got, mine, wrote;
  do
  :: k < WRITES ->
     k++;
     atomic { srv_write(); wrote = val };
     /* dload_redis_i_listen_barrier */
     if
     :: atomic { !up -> skip };
#ifndef M_FLIGHTS_JOINED
        atomic { sink_all() } /* dload_redis_i_forget_flights */
#endif
     :: atomic { up -> asked++; mine = asked };
        (answered >= mine)
     fi;
     load(0, got);
     assert(got == EMPTY || got >= wrote)
  :: k == WRITES -> break
  od;
  n_through++
}

/* ---- the tracking's thread ---- */

/* dload_redis_i_poll: what is known of D by now. */
inline look()
{
  atomic {
    if
#ifndef M_D_UNSEEN
    :: d_lost || (!d_open && !d_seen && d_mark == mark) -> d_lost = false; d_seen = (d_seen || !d_open); sink_all()
#endif
    :: else
    fi
  }
}

active proctype Thread()
{
  byte m;
endT:
  do
  /* connected: dload_redis_i_life, _turn */
  :: !i_open && !up ->
     atomic {
       do
       :: i2c?[_] -> i2c?m
       :: !i2c?[_] -> break
       od;
       i_open = true; sent_for = asked; ponged = asked; answered = asked
     };
     atomic { mark++; d_lost = false; up = true };
     atomic { sink_all(); deaf = false }
  /* dload_redis_i_due */
  :: up && i_open && asked != sent_for ->
     atomic {
       sent_for = asked;
       if
       :: i_open -> i2c!asked
       :: else
       fi
     }
  /* dload_redis_i_take */
  :: up && i2c?[_] ->
     i2c?m;
     if
     :: m == INV -> atomic { sink_key() }
     :: else ->
        ponged = m;
#ifdef M_PONG_FIRST
        atomic { answered = ponged };
        look()
#else
        look(); /* dload_redis_i_release_barriers */
        atomic { answered = ponged }
#endif
     fi
  :: up && (d_lost || (!d_open && !d_seen)) && d_mark == mark -> look()
  /* lost: dload_redis_i_turn */
  :: up && !i_open && empty(i2c) ->
     atomic { mark++ };
#ifdef M_UP_LAST
     atomic { sink_all(); deaf = true };
     atomic { up = false; answered = asked }
#else
     atomic { up = false };
     atomic { sink_all(); deaf = true };
     atomic { answered = asked }
#endif
  od
}

init
{
  atomic { run W(); run R() }
}

active proctype Check()
{
  timeout;
  assert(n_through == 2);
  assert(cache == EMPTY || cache == val)
}
