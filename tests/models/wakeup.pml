/* How an answer wakes a caller without the loader's mutex: answered_all, core_unlock and rest of
 * runtime/run.h, batch.h and drive.h, with note, pay, collect and park of lock_pthread.h.
 *
 * S callers sleep in beds of their own: a mutex, a condition variable, a count of notes; all of it is
 * memory of the call, gone when that returns. Caller 0 also is a sender: it answers the others, and may
 * be itself, before it sleeps. Workers end batches from threads of their own; a nudger wakes whoever
 * sleeps, with the loader's mutex held. MAXF calls pass their deadline or are cancelled in their sleep;
 * no sleep ends by itself otherwise, so that nothing hangs on the 100 ms look of the C. When all calls
 * have returned the loader may be destroyed.
 *
 * Proved: everybody who is answered wakes up; nobody touches a call's memory after it returned, nor the
 * loader's after it may be gone.
 *
 * Settings: S WORKERS NUDGES MAXF. Mutants: see the M_ macros; run.py has the list.
 */
#ifndef S
#define S 2
#endif
#ifndef WORKERS
#define WORKERS 1
#endif
#ifndef NUDGES
#define NUDGES 1
#endif
#ifndef MAXF
#define MAXF 1
#endif
#define NONE 255
#define SOME 16 /* counts of notes go round, but later than this */

/* the loader */
bool mutex, loader = true;
byte owed_chain = NONE;
/* the calls */
byte pending[S], notes[S], next_owed[S];
bool alive[S], asleep[S], promised[S], owed[S];
bool bed[S], waiting[S]; /* the bed's mutex; who waits for its condition */
byte faults, finished;

#define WAITS(i) (alive[i] && pending[i] != 0)
#if S == 2
#define SOMEBODY_WAITS (WAITS(0) || WAITS(1))
#define SOMEBODY_SLEEPS (asleep[0] || asleep[1])
#else
#define SOMEBODY_WAITS (WAITS(0) || WAITS(1) || WAITS(2))
#define SOMEBODY_SLEEPS (asleep[0] || asleep[1] || asleep[2])
#endif

inline lock() { atomic { !mutex; mutex = 1 } }

/* dload_i_pthread_note; the caller has looked that the call is alive for other reasons than luck */
inline note(p, pays)
{
#ifndef M_NOTE_WITHOUT_BED
    atomic { assert(alive[p]); !bed[p]; bed[p] = 1 };
#endif
#ifdef M_SIGNAL_FIRST
    atomic { assert(alive[p]); waiting[p] = 0; bed[p] = 0 };
    atomic { assert(alive[p]); !bed[p]; bed[p] = 1; notes[p] = (notes[p] + 1) % SOME };
#else
    atomic { assert(alive[p]); notes[p] = (notes[p] + 1) % SOME };
#endif
    if
    :: pays -> atomic { assert(alive[p]); owed[p] = 0 }
    :: else
    fi;
#ifndef M_SIGNAL_FIRST
    atomic { assert(alive[p]); waiting[p] = 0 };
#endif
#ifndef M_NOTE_WITHOUT_BED
    atomic { assert(alive[p]); bed[p] = 0 }
#endif
}

/* dload_i_core_unlock */
inline core_unlock()
{
#ifdef M_CHAIN_TAKEN_LATE
    atomic { owes = owed_chain; mutex = 0 };
    owed_chain = NONE;
#else
    atomic { owes = owed_chain; owed_chain = NONE; mutex = 0 };
#endif
    do
    :: owes != NONE ->
        atomic { assert(alive[owes]); next = next_owed[owes]; assert(loader) };
        note(owes, true);
#ifdef M_NEXT_AFTER_PAY
        atomic { assert(alive[owes]); next = next_owed[owes] };
#endif
        owes = next
    :: else -> next = NONE; break
    od
}

/* dload_i_answered_all; the mutex is held */
inline answer(p)
{
    pending[p] = 0;
    if
#ifndef M_OWES_THE_AWAKE
    :: !asleep[p]
#endif
    :: else -> promised[p] = 1; owed[p] = 1; next_owed[p] = owed_chain; owed_chain = p
    fi
}

/* dload_i_pthread_collect; the mutex is held */
inline collect(p)
{
#ifdef M_COLLECT_WITHOUT_BED
    !owed[p]
#else
    atomic { !bed[p] && !owed[p] }
#endif
}

/* A call's requests are gone; so is its memory. */
inline gone(p) { atomic { assert(!bed[p] && !waiting[p]); alive[p] = 0; notes[p] = 0; finished++ } }

proctype caller(byte id)
{
    byte seen, owes = NONE, next = NONE;
    bool late, sent;
    lock();
    atomic { alive[id] = 1; pending[id] = 1 };
    do
    :: pending[id] == 0 || late -> break
    :: id == 0 && !sent && pending[id] != 0 && !late -> /* it sends a batch, others' keys in it */
        atomic {
            sent = 1; next = 1;
            do
            :: next < S ->
                if
                :: WAITS(next) -> answer(next)
                :: else
                fi;
                next++
            :: else -> break
            od;
            next = NONE;
            if
            :: answer(0)
            :: true
            fi
        }
#ifndef M_PARKS_IN_DEBT
    :: (id != 0 || sent) && pending[id] != 0 && !late && owed_chain != NONE -> /* dload_i_rest */
        core_unlock(); lock()
    :: (id != 0 || sent) && pending[id] != 0 && !late && owed_chain == NONE ->
#else
    :: (id != 0 || sent) && pending[id] != 0 && !late ->
#endif
        /* dload_i_pthread_park */
#ifdef M_SEEN_LATE
        atomic { asleep[id] = 1; mutex = 0 };
        seen = notes[id];
#else
        atomic { asleep[id] = 1; seen = notes[id]; mutex = 0 };
#endif
        atomic { !bed[id]; bed[id] = 1 };
        do
        :: notes[id] != seen || late -> break
        :: else ->
            atomic { waiting[id] = 1; bed[id] = 0 };
            if
            :: !waiting[id]
            :: faults < MAXF -> atomic { faults++; waiting[id] = 0; late = 1 }
            :: faults < MAXF -> atomic { faults++; waiting[id] = 0; goto cancelled }
            fi;
            atomic { !bed[id]; bed[id] = 1 }
        od;
        bed[id] = 0;
        lock();
        atomic { asleep[id] = 0; seen = 0 }
    od;
#ifndef M_NO_COLLECT
    if
    :: promised[id] -> collect(id)
    :: else
    fi;
#endif
    atomic { promised[id] = 0; pending[id] = 0 };
    core_unlock();
    goto out;
cancelled: /* dload_i_pthread_cancelled */
    atomic { !bed[id]; bed[id] = 1 };
    bed[id] = 0;
    lock();
    atomic { asleep[id] = 0; pending[id] = 0 };
#ifndef M_CANCELLED_NO_COLLECT
    collect(id);
#endif
    atomic { assert(owed_chain == NONE); mutex = 0 };
out:
    gone(id)
}

/* _batch_done, somebody else's; it comes late enough that nobody is left out */
proctype worker()
{
    byte owes = NONE, next = NONE;
    do
    :: finished == S -> break
    :: atomic {
            !mutex && SOMEBODY_WAITS;
            mutex = 1; next = 0;
            do
            :: next < S ->
                if
                :: WAITS(next) -> answer(next)
                :: else
                fi;
                next++
            :: else -> break
            od;
            next = NONE
        };
        core_unlock()
    od
}

proctype nudger()
{
    byte n, p;
    do
    :: n < NUDGES ->
        atomic {
            !mutex && (SOMEBODY_SLEEPS || finished == S);
            if
            :: asleep[0] -> p = 0; mutex = 1
            :: asleep[1] -> p = 1; mutex = 1
#if S > 2
            :: asleep[2] -> p = 2; mutex = 1
#endif
            :: finished == S -> goto out
            fi
        };
        note(p, false);
        mutex = 0; n++
    :: else -> break
    od;
out:
    skip
}

init {
    byte i;
    atomic {
        do
        :: i < S -> run caller(i); i++
        :: else -> break
        od;
        i = 0;
        do
        :: i < WORKERS -> run worker(); i++
        :: else -> break
        od;
        run nudger()
    };
    atomic { finished == S; loader = 0 };
    _nr_pr == 1
}
