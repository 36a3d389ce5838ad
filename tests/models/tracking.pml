/* A loader that hears of changes over a channel that may break: NAME_sink of typed/sink.h with i_store of typed/cache.h
 * and run_held, joinable and publish_one of runtime/run.h, with their names; on the other side Redis' tracking in
 * RESP2's redirect mode: the connection D is read over, I brings the invalidations. One key.
 *
 * The server's steps are atomic, each connection is first in, first out, and what is in it when it breaks is lost.
 * The adapter calls down when either breaks, up when both are there again and D is tracked. What a loader has under
 * its mutex is one step here: the look at what is known and the token of a flight; an answer's being stored or not; each
 * of the sink's functions.
 *
 * Proved: at the end the cache is empty or has what the server has; between down and up it has nothing.
 *
 * Settings: LOADS a thread, THREADS, WRITES; BREAKS connections that may be lost.
 * Mutants: see the M_ macros; run.py has the list, and says what each of them breaks.
 */
#define EMPTY 255
#ifndef LOADS
#define LOADS 3
#endif
#ifndef THREADS
#define THREADS 1
#endif
#ifndef WRITES
#define WRITES 3
#endif
#ifndef BREAKS
#define BREAKS 1
#endif

chan i2c = [4] of { byte };
byte val = 0; /* the server's */
bool tracked = false, d_up = false, i_up = false;
byte breaks = 0, epoch = 0; /* of the connections: what was asked over an old one is not answered */
/* the loader's, under its mutex */
byte cache = EMPTY;
byte clear_seq = 0, clear_all_seq = 0;
#ifdef M_STARTS_UP
bool deaf = false;
#else
bool deaf = true;
#endif
bool lost = true; /* the adapter's */
bool flying[THREADS], detached[THREADS];
byte token[THREADS];
byte n_writers = 0, n_loaders = 0;

/* ---- the server ---- */

inline srv_write(own)
{
  atomic {
    val++;
    if
    :: tracked && d_up && i_up ->
       tracked = false; /* reported once, until it is read again; NOLOOP spends that, too */
       if
       :: own -> skip
       :: !own -> i2c!1
       fi
    :: else -> tracked = false
    fi
  }
}

active proctype Writer()
{
  byte k = 0;
  do
  :: k < WRITES -> srv_write(false); k++
  :: k == WRITES -> break
  od;
  n_writers++
}

active proctype Net()
{
endN:
  do
  :: atomic { breaks < BREAKS && d_up -> d_up = false; tracked = false; breaks++ }
  :: atomic { breaks < BREAKS && i_up -> i_up = false; breaks++ }
  od
}

/* ---- the loader ---- */

inline clear_all()
{
  clear_seq++;
  clear_all_seq = clear_seq;
  cache = EMPTY
}

inline sink_key()
{
  cache = EMPTY;
#ifndef M_KEY_KEEPS_FLIGHTS
  clear_seq++;
  i = 0;
  do
  :: i < THREADS -> detached[i] = detached[i] || flying[i]; i++
  :: else -> i = 0; break
  od
#endif
}

inline sink_down()
{
#ifdef M_DOWN_KEEPS_CACHE
  clear_seq++;
  clear_all_seq = clear_seq;
#else
  clear_all();
#endif
  deaf = true
}

inline sink_up()
{
#ifdef M_UP_KEEPS_FLIGHTS
  cache = EMPTY;
#else
  clear_all();
#endif
  deaf = false
}

inline publish(t)
{
  if
  :: detached[t] || token[t] < clear_all_seq
#ifndef M_DEAF_CACHES
  :: deaf
#endif
  :: else -> cache = v
  fi;
  flying[t] = false;
  assert(!deaf || cache == EMPTY)
}

proctype Load(byte t)
{
  byte k = 0, v, e;
  do
  :: k < LOADS ->
     k++;
     v = EMPTY;
     if
     :: atomic { cache != EMPTY -> assert(!deaf && !lost) } /* a hit */
     :: atomic { cache == EMPTY -> flying[t] = true; detached[t] = false; token[t] = clear_seq; e = epoch };
        if
        :: atomic { d_up && e == epoch -> v = val; tracked = true }; /* the server's answer sets off */
           atomic { publish(t) }
        :: atomic { !(d_up && e == epoch) -> v = val }; /* from the source, as there is no store */
           atomic { publish(t) }
        fi
     fi
#ifdef M_NOLOOP
  :: k < LOADS && !deaf && d_up -> /* an own write that is cached: nobody will report it, nor the next */
     k++;
     srv_write(true);
     v = val;
     atomic {
       if
       :: !deaf -> cache = v
       :: else
       fi
     }
#endif
  :: k == LOADS -> break
  od;
  n_loaders++
}

/* ---- the channel's thread ---- */

active proctype Channel()
{
  byte i = 0;
endC:
  do
  :: atomic { i2c?_ -> sink_key() }
  :: atomic { !i_up && !lost && empty(i2c) -> lost = true; sink_down() }
#ifdef M_ONE_LOSS
  :: atomic { !d_up && !lost -> lost = true } /* only I is watched */
#else
  :: atomic { !d_up && !lost -> lost = true; sink_down() }
#endif
  :: atomic { lost ->
       /* both are made anew: what was on its way in the old ones is gone */
       do
       :: i2c?[_] -> i2c?_
       :: !i2c?[_] -> break
       od;
       epoch++; d_up = true; i_up = true; tracked = false }; /* SUBSCRIBE, then TRACKING ON */
     atomic {
       if
       :: d_up && i_up ->
          lost = false;
#ifdef M_ONE_LOSS
          if
          :: deaf -> sink_up()
          :: else
          fi
#else
          sink_up()
#endif
       :: else /* broken again already */
       fi
     }
  od
}

init
{
  byte j = 0;
  atomic {
    do
    :: j < THREADS -> run Load(j); j++
    :: else -> break
    od
  }
}

active proctype Check()
{
  timeout;
  assert(n_writers == 1 && n_loaders == THREADS && !deaf);
  assert(cache == EMPTY || cache == val)
}
