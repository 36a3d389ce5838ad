/* The wait for room at the queue's bound: dload_i_wait_room of runtime/drive.h, leave, line_enter and
 * line_leave of runtime/batch.h, with their names.
 *
 * N callers load one key each, of their own, and send it themselves; MAX_QUEUE keys have room. A fetch
 * may hang until all others have returned: then its key keeps its room until somebody gives it up.
 * What the C does under one hold of the mutex is one atomic step here. The 100 ms look of the C is left
 * out: nothing may depend on it.
 *
 * Proved: everybody returns; there are never more keys than have room; who waits longest goes first, as
 * long as nobody leaves early; nobody in the line is gone.
 *
 * Settings: N MAX_QUEUE MAXF, and -D of
 *     HANGS   faults are fetches that hang; otherwise deadlines and cancelled threads
 *     NO_LIMIT  a fetch that hangs is not given up (run_limit_ns = DLOAD_NEVER)
 *     CLOSES  somebody calls _close
 *     NESTED  the fetch function of caller 0 loads, too
 * Mutants: see the M_ macros; run.py has the list, and says what each of them breaks.
 */
#ifndef N
#define N 3
#endif
#ifndef MAX_QUEUE
#define MAX_QUEUE 1
#endif
#ifndef MAXF
#define MAXF 1
#endif

byte n_flights, line[N], n_line, faults, finished;
byte came[N], n_came; /* the line as it should be */
bool asleep[N], note[N], here[N], hung[N], closed;

byte a; /* for loops; zero between steps */

/* Everybody but those who hang has returned. */
#if N == 2
#define ALONE(i) ((i == 0 || finished_(0)) && (i == 1 || finished_(1)))
#else
#define ALONE(i) ((i == 0 || finished_(0)) && (i == 1 || finished_(1)) && (i == 2 || finished_(2)))
#endif
#define finished_(i) (fin[i] || hung[i])
bool fin[N], overdue[N], flies[N];

inline unpark(i) { assert(here[i]); note[i] = 1 }

/* A key has room: dload_i_commit. */
inline enter(i) { n_flights++; flies[i] = 1; assert(n_flights <= MAX_QUEUE) }

/* dload_i_leave */
inline leave()
{
    n_flights--;
#ifndef M_ROOM_NO_WAKE
    if
    :: n_flights + 1 >= MAX_QUEUE && n_line != 0 -> unpark(line[0])
    :: else
    fi
#endif
}

inline line_enter(i)
{
    came[n_came] = i; n_came++;
#ifdef M_LINE_BACKWARDS
    a = n_line;
    do
    :: a != 0 -> line[a] = line[a - 1]; a--
    :: else -> break
    od;
    line[0] = i; n_line++
#else
    line[n_line] = i; n_line++
#endif
}

inline line_leave(i)
{
    a = 0;
    do
    :: a < n_line && line[a] != i -> a++
    :: else -> break
    od;
    if
    :: a < n_line ->
        n_line--;
        do
        :: a < n_line -> line[a] = line[a + 1]; a++
        :: else -> break
        od;
        line[n_line] = 0;
        a = 0;
        do
        :: came[a] != i -> a++
        :: else -> break
        od;
        n_came--;
        do
        :: a < n_came -> came[a] = came[a + 1]; a++
        :: else -> break
        od;
        came[n_came] = 0;
#ifndef M_LINE_NO_NEXT
        if
        :: n_line != 0 && n_flights < MAX_QUEUE -> unpark(line[0])
        :: else
        fi
#endif
    :: else
    fi;
    a = 0
}

/* dload_i_abandon_overdue */
inline abandon_overdue()
{
    a = 0;
    do
    :: a < N ->
        if
        :: overdue[a] && flies[a] -> flies[a] = 0; leave()
        :: else
        fi;
        a++
    :: else -> break
    od;
    a = 0
}
#define OVERDUE(i) (overdue[i] && flies[i])
#if N == 2
#define SOME_OVERDUE (OVERDUE(0) || OVERDUE(1))
#elif N == 3
#define SOME_OVERDUE (OVERDUE(0) || OVERDUE(1) || OVERDUE(2))
#else
#define SOME_OVERDUE (OVERDUE(0) || OVERDUE(1) || OVERDUE(2) || OVERDUE(3))
#endif

/* dload_i_has_turn, of a call that does not come from the line */
#ifdef M_BARGES
#define HAS_TURN true
#else
#define HAS_TURN (n_line == 0)
#endif

proctype caller(byte id)
{
    bool late;
    here[id] = 1;
    atomic {
        if
        :: closed -> goto out
        :: HAS_TURN && n_flights < MAX_QUEUE && !closed ->
            assert(faults != 0 || n_came == 0);
            enter(id); goto flying
        :: else
        fi;
        /* dload_i_wait_room */
        d_step { line_enter(id); abandon_overdue() };
        if
        :: line[0] == id && n_flights < MAX_QUEUE -> d_step { line_leave(id) }; enter(id); goto flying
        :: else -> note[id] = 0; asleep[id] = 1
        fi
    };
nap:
    atomic {
        if
        :: note[id]
#ifdef HANGS
#if !defined(NO_LIMIT) && !defined(M_ROOM_NO_LIMIT)
        :: SOME_OVERDUE
#endif
#else
        :: faults < MAXF -> faults++; late = true
        :: faults < MAXF -> faults++; goto cancelled
#endif
        fi;
        asleep[id] = 0;
        d_step { abandon_overdue() };
        if
        :: closed || late || (line[0] == id && n_flights < MAX_QUEUE) ->
            assert(closed || late || faults != 0 || came[0] == id);
            d_step { line_leave(id) };
            if
            :: closed || late -> goto out
            :: else -> enter(id); goto flying
            fi
        :: else -> note[id] = 0; asleep[id] = 1; goto nap
        fi
    };
flying:
#ifdef NESTED
    /* Refused where the queue is full: what fills it may wait for this fetch. */
#ifdef M_FETCH_WAITS_FOR_ROOM
    if
    :: id == 0 -> n_flights < MAX_QUEUE
    :: else
    fi;
#endif
#endif
#ifdef HANGS
    if
    :: faults < MAXF -> atomic { faults++; overdue[id] = 1; hung[id] = 1 }; ALONE(id)
    :: true
    fi;
#endif
    atomic {
        if
        :: flies[id] -> flies[id] = 0; d_step { leave() }
        :: else
        fi;
        goto out
    };
cancelled: /* dload_i_give_up */
    atomic {
        asleep[id] = 0;
#ifndef M_CANCELLED_STAYS_IN_LINE
        d_step { line_leave(id) }
#endif
    };
out:
    atomic { here[id] = 0; fin[id] = 1; finished++ }
}

#ifdef CLOSES
proctype closer()
{
    atomic {
        closed = 1;
#ifndef M_CLOSE_WAKES_NOBODY
        d_step {
            a = 0;
            do
            :: a < n_line -> unpark(line[a]); a++
            :: else -> break
            od;
            a = 0
        }
#endif
    }
}
#endif

init {
    atomic {
        do
        :: a < N -> run caller(a); a++
        :: else -> break
        od;
        a = 0;
#ifdef CLOSES
        run closer()
#endif
    };
    finished == N; /* everybody returns; a lost wake-up ends here as an invalid end state */
    assert(n_flights == 0 && n_line == 0)
}
