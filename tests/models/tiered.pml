/* Two tiers, adapters/dataloader_tiered.h and its guard: reads refill the upper one while writes change the lower one.
 * One key, whose versions are numbers; the upper tier has one of them, or nothing.
 *
 * Reader asks above, then below, and puts what it found above. Writer changes the lower tier, then puts its own version
 * above, when it was alone, or removes what is there. The upper tier may fail to remove: then nothing in it is
 * believed, and a reader clears it.
 *
 * Proved: who begins to read after a write has returned reads that version or a later one; at the end the upper
 * tier has nothing, or what the lower one has, or is not believed; nobody waits for ever.
 *
 * Settings: NR readers with READS reads each, NW writers, FAILS removals that fail.
 * Mutants: see the M_ macros; run.py has the list.
 */
#ifndef NR
#define NR 2
#endif
#ifndef NW
#define NW 2
#endif
#ifndef READS
#define READS 1
#endif
#ifndef FAILS
#define FAILS 1
#endif
#define EMPTY 255

byte lower = 0, upper = EMPTY, least = 0; /* least: the last version whose write has returned */
byte gen = 0, changed = 0, dirty = 0, fails = FAILS, over = 0;
bit epoch = 0;
byte refills[2];
bool draining = false, recovering = false;

/* _change and _drain: the mutex is held but for the waits. */
inline number()
{
  gen++;
  changed = gen
}

inline drain()
{
  if
  :: refills[0] + refills[1] == 0
  :: else ->
    atomic { !draining -> draining = true; old = epoch; epoch = 1 - epoch };
    atomic { refills[old] == 0 -> draining = false }
  fi
}

/* An upper DELETE or CLEAR. */
inline remove()
{
  if
  :: upper = EMPTY
  :: atomic { fails > 0 -> fails-- };
#ifndef M_STAYS_BELIEVED
    dirty++
#endif
  fi
}

inline recover()
{
  if
  :: atomic { dirty != 0 && !recovering -> recovering = true; seen = dirty };
#ifndef M_CLEARS_BESIDE_REFILL
    atomic { number() };
    drain();
#endif
    if
    :: upper = EMPTY;
      atomic { if :: dirty == seen -> number(); dirty = 0 :: else fi }
    :: atomic { fails > 0 -> fails-- }
    fi;
    recovering = false
  :: else
  fi
}

/* _refill_begin to _refill_end */
inline refill()
{
  mine = 2;
  atomic {
#ifdef M_REFILL_UNCHECKED
    if :: dirty == 0 -> mine = epoch; refills[mine]++ :: else fi
#else
    if :: changed <= began && dirty == 0 -> mine = epoch; refills[mine]++ :: else fi
#endif
  };
  if
  :: mine != 2 -> upper = v; atomic { refills[mine]--; mine = 2 }
  :: else
  fi
}

proctype Reader()
{
  byte want, v, began, seen, n = 0, mine;
  bit old;
  do
  :: n == READS -> break
  :: else ->
    n++;
    want = least;
    recover();
    v = EMPTY;
    if :: dirty == 0 -> v = upper :: else fi;
    if
    :: v == EMPTY -> began = gen; v = lower; assert(v >= want); refill()
    :: else -> assert(v >= want)
    fi
  od;
  atomic { v = 0; want = 0; began = 0; over++ }
}

proctype Writer()
{
  byte my, g, mine = 2;
  bit old;
  bool alone, used;
  atomic { number(); g = gen };
  atomic { lower++; my = lower };
  atomic {
    alone = (changed == g);
#ifdef M_NUMBER_BEFORE_ONLY
    skip
#else
    number();
    g = gen
#endif
  };
#ifndef M_NO_DRAIN
  drain();
#endif
  atomic {
    used = (dirty == 0);
#ifdef M_BOTH_FILL
    alone = true;
#else
    alone = alone && changed == g;
#endif
    if :: alone && used -> mine = epoch; refills[mine]++ :: else fi
  };
  if
  :: mine != 2 ->
    upper = my;
    atomic { refills[mine]--; mine = 2 }
  :: mine == 2 && used -> remove()
  :: else
  fi;
  atomic { if :: my > least -> least = my :: else fi; my = 0; g = 0; over++ }
}

init
{
  byte i;
  atomic {
    i = 0;
    do :: i < NR -> run Reader(); i++ :: else -> break od;
    i = 0;
    do :: i < NW -> run Writer(); i++ :: else -> break od;
    i = 0
  };
  over == NR + NW;
  assert(dirty != 0 || upper == EMPTY || upper == lower);
  assert(refills[0] + refills[1] == 0 && !draining)
}
