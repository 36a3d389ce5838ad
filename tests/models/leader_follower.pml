/* Batches among threads: the protocol of runtime/flight.h, batch.h, run.h and drive.h, with their names.
 *
 * N callers; caller i asks for the keys in want[i] (a bit each), as one call. What the C does under
 * one hold of the mutex is one atomic step here; where it lets go, the step ends. Time: a leader's
 * settle time may end whenever its batch is still open; a deadline, a fetch that hangs or fails are
 * faults, at most MAXF of them. The 100 ms look of the C is left out: nothing may depend on it.
 *
 * Proved: everybody returns, whatever hangs (no lost wake-up); no key is fetched twice without a
 * reason (a clear, a failure, a fetch given up); no load that begins after a clear sees what was
 * fetched before it; at most MAX_IN_FLIGHT batches run; nothing stays queued or in flight; no batch
 * is used again while somebody still reads it.
 *
 * Settings: N K MAX_BATCH MAX_IN_FLIGHT MAXF WANT0..3, and -D of
 *     LOOP      the last caller has a callback and an event loop that is late
 *     NESTED    the last caller is a load inside the first fetch function that caller 0 runs
 *     CLEARS    somebody clears a key, then all, after changing the source
 *     GROUPS=k  keys from k on are of another group: they never share a batch with those before
 *     SLOW=i    callers from i on want keys of that group, and the others' settle time takes until they
 *               have returned: one group does not wait for another
 *     CALLING   the last caller is a load in a callback of a batch that caller 0 runs
 *     EXPECT    somebody says _expect(2)
 *     ANNOUNCED=n  n keys are expected from the start, and nothing else sends a batch
 *     CROWD     the settle time never ends once all callers wait, for then nobody is waited for
 *     DISPATCH  somebody calls _dispatch
 *     ASYNC     fetch functions answer one key and return DLOAD_PENDING; a worker ends the batch
 *     NO_LIMIT  a fetch that hangs is not given up (run_limit_ns = DLOAD_NEVER)
 *     ONLY_HANGS  no deadline passes, no fetch fails
 * Mutants: see the M_ macros; run.py has the list, and says what each of them breaks.
 */
#ifndef N
#define N 3
#endif
#ifndef K
#define K 2
#endif
#ifndef MAX_BATCH
#define MAX_BATCH 2
#endif
#ifndef MAX_IN_FLIGHT
#define MAX_IN_FLIGHT 1
#endif
#ifndef MAXF
#define MAXF 1
#endif
#ifndef NB
#define NB (N + 1)
#endif
#ifdef GROUPS
#define NG 2
#define GROUP(k) ((k) >= GROUPS -> 1 : 0)
#else
#define NG 1
#define GROUP(k) 0
#endif
#ifndef ANNOUNCED
#define ANNOUNCED 0
#endif
#define NONE 255

#define FREE    0
#define OPEN    1
#define QUEUED  2
#define RUNNING 3
#define LOST    4

#define AT(b, k)       ((b) * K + (k))
#define WAITS(i, k)    w_batch[(i) * K + (k)]

/* batches */
byte state[NB], group[NB], leader[NB], runner[NB], users[NB];
bool in_fetch[NB], outdated[NB], overdue[NB], gone[NB], pending_[NB], done_[NB];
bool live[NB * K], in_index[NB * K], detached[NB * K], published[NB * K];
byte value[NB * K];
/* the core */
byte open[NG], n_open, queue[NB], n_queue, n_running, n_calling, expect;
/* callers */
byte want[N], w_batch[N * K], pending[N], least[N * K];
bool asleep[N], note[N], timed[N], limited[N], fin[N], hung[N];
byte finished;
/* the cache, the truth, and what the assertions need */
byte cached[K], source[K], cleared[K], fetches[K], excuses[K];
byte faults;
byte passed; /* wake-ups passed on since something happened */
bool inside; /* the nested load, or that of the callback, may begin */

/* For loops; zero between steps, so that they make no states. */
byte a, c, d, e, h, o, any;
bool may_be[N];
inline clean() { a = 0; c = 0; d = 0; e = 0; h = 0; o = 0; any = 0 }

#ifdef NESTED
#define SELF(i) (((i) == N - 1) -> 0 : (i))
#else
#define SELF(i) (i)
#endif
#ifdef LOOP
#define PARKS(i) ((i) != N - 1)
#else
#define PARKS(i) true
#endif

#include "batches.pml"
#include "calls.pml"

#define OVERDUE(b) (state[b] == RUNNING && overdue[b])
#if NB == 3
#define SOME_OVERDUE (OVERDUE(0) || OVERDUE(1) || OVERDUE(2))
#elif NB == 4
#define SOME_OVERDUE (OVERDUE(0) || OVERDUE(1) || OVERDUE(2) || OVERDUE(3))
#elif NB == 5
#define SOME_OVERDUE (OVERDUE(0) || OVERDUE(1) || OVERDUE(2) || OVERDUE(3) || OVERDUE(4))
#else
#define SOME_OVERDUE \
    (OVERDUE(0) || OVERDUE(1) || OVERDUE(2) || OVERDUE(3) || OVERDUE(4) || OVERDUE(5))
#endif

proctype caller(byte id)
{
    byte send = NONE, led = NONE;
    bool ok, late;
#if defined(NESTED) || defined(CALLING)
    if
    :: id == N - 1 -> (inside || (fin[0] && !inside)); if :: fin[0] -> goto out :: else fi
    :: else
    fi;
#endif
    d_step {
        a = 0;
        do
        :: a < K -> least[id * K + a] = cleared[a]; a++
        :: else -> break
        od;
        a = 0
    };
    atomic { /* a look without the mutex */
        d_step {
            a = 0;
            do
            :: a < K ->
                if
                :: (want[id] & (1 << a)) != 0 && cached[a] != 0 ->
                    assert(cached[a] - 1 >= least[id * K + a]);
                    want[id] = want[id] & ~(1 << a)
                :: else
                fi;
                a++
            :: else -> break
            od;
            a = 0
        };
        if
        :: want[id] == 0 -> goto out
        :: else
        fi
    };
    atomic { ask_all(id); d_step { clean() } };
    /* dload_i_wait */
again:
    atomic {
        if
        :: pending[id] == 0 -> goto out
        :: late -> goto leave
        :: else
        fi;
#ifndef M_TAKE_BEFORE_ABANDON
        abandon_overdue();
        if
        :: pending[id] == 0 -> goto out
        :: else
        fi;
#endif
        take_due(id);
        if
        :: send != NONE ->
#ifndef M_SENDER_KEEPS_LEAD
            nudge(id); /* while this call is busy, somebody else leads what comes next */
#endif
            d_step { run_begin(send, id); clean() };
#if !defined(NESTED) && !defined(CALLING) && !defined(DISPATCH)
            assert(n_running <= MAX_IN_FLIGHT);
#endif
            goto go
        :: else
        fi;
#ifdef M_TAKE_BEFORE_ABANDON
        abandon_overdue();
        if
        :: pending[id] == 0 -> goto out
        :: else
        fi;
#endif
        sleep_until(id)
    };
    atomic {
        if
        :: note[id]
        :: timed[id] && led != NONE && state[led] == OPEN && !NOT_DUE && !SURELY_DUE && PACE(led)
        :: limited[id] && SOME_OVERDUE
#ifndef ONLY_HANGS
        :: faults < MAXF -> faults++; late = true
#endif
        fi;
        if
        :: !note[id] || late -> passed = 0
        :: else
        fi;
        asleep[id] = 0; timed[id] = 0; limited[id] = 0; note[id] = 0;
#ifndef M_LEAD_KEPT
        if
        :: led != NONE && leader[led] == id -> leader[led] = NONE
        :: else
        fi;
#endif
        led = NONE
    };
    goto again;
go:
    run_rest(send, id);
    send = NONE;
    goto again;
leave:
    atomic {
#ifndef M_NO_HANDOFF
        nudge(id); /* the lead, if it was ours, passes on */
#endif
        unwait_all(id);
        d_step { clean() }
    };
out:
    atomic { assert(pending[id] == 0); fin[id] = 1; finished++ }
}

#ifdef LOOP
/* _start, and an event loop that comes to _process when all others are through */
proctype loop(byte id)
{
    byte b;
    bool ok;
    atomic { ask_all(id); d_step { clean() } };
    fin[id] = 1;
    (finished == N - 1);
more:
    atomic {
        d_step { enqueue_all() };
        if
        :: n_queue == 0 -> goto out
        :: else
        fi;
        d_step { b = queue[0]; queue_cut(0); run_begin(b, id); clean() }
    };
    run_rest(b, NONE);
    goto more;
out:
    assert(pending[id] == 0);
    finished++
}
#endif

#ifdef DISPATCH
proctype dispatcher()
{
    byte b, n;
    bool ok;
    atomic {
        d_step { enqueue_all() };
        n = n_queue
    };
more:
    atomic {
        if
        :: n == 0 || n_queue == 0 -> goto out
        :: else
        fi;
        d_step { n--; b = queue[0]; queue_cut(0); run_begin(b, NONE); clean() }
    };
    run_rest(b, NONE);
    goto more;
out:
    skip
}
#endif

#ifdef EXPECT
proctype expecter()
{
    atomic {
        d_step {
            expect = 2;
            open_keys();
            if
            :: d >= 2 -> enqueue_all()
            :: else
            fi;
            clean()
        }
    }
}
#endif

#ifdef CLEARS
proctype clearer()
{
    byte k;
    atomic { if :: k = 0 :: k = K - 1 fi; source[k]++ };
    atomic { /* _clear: i_outdate and i_drop */
        d_step {
            a = 0;
            do
            :: a < NB ->
                if
#ifndef M_NO_DETACH
                :: state[a] == RUNNING && in_index[AT(a, k)] && JOINABLE(a) ->
                    detached[AT(a, k)] = 1; in_index[AT(a, k)] = 0
#endif
                :: else
                fi;
                a++
            :: else -> break
            od;
            cached[k] = 0; excuses[k]++; cleared[k] = source[k]; clean()
        }
    };
    atomic { source[0]++; source[K - 1]++ };
    atomic { /* _clear_all */
        d_step {
            a = 0;
            do
            :: a < NB -> outdated[a] = outdated[a] || state[a] == RUNNING; a++
            :: else -> break
            od;
            a = 0;
            do
            :: a < K -> cached[a] = 0; excuses[a]++; cleared[a] = source[a]; a++
            :: else -> break
            od;
            clean()
        }
    }
}
#endif

#ifdef ASYNC
/* _batch_done from another thread */
proctype worker()
{
    byte b;
    bool mine;
end:
    do
    :: atomic {
        (pending_[0] || pending_[1] || pending_[2]);
        if
        :: pending_[0] -> b = 0
        :: pending_[1] -> b = 1
        :: pending_[2] -> b = 2
        fi;
        pending_[b] = 0;
        if
        :: in_fetch[b] -> done_[b] = 1; mine = false
        :: else ->
            mine = true;
            d_step { if :: state[b] == RUNNING -> publish_all(b, true, NONE) :: else fi; clean() }
        fi
       };
       atomic {
        if
        :: mine -> finish_end(b)
        :: else
        fi;
        b = 0; mine = false
       }
    od
}
#endif

#ifndef WANT0
#define WANT0 1
#endif
#ifndef WANT1
#define WANT1 2
#endif
#ifndef WANT2
#define WANT2 1
#endif
#ifndef WANT3
#define WANT3 3
#endif

init {
    byte j;
    atomic {
        d_step {
            j = 0;
            do
            :: j < NB -> leader[j] = NONE; runner[j] = NONE; j++
            :: else -> break
            od;
            j = 0;
            do
            :: j < N * K -> w_batch[j] = NONE; j++
            :: else -> break
            od;
            j = 0;
            do
            :: j < NG -> open[j] = NONE; j++
            :: else -> break
            od;
            expect = ANNOUNCED;
            want[0] = WANT0; want[1] = WANT1;
#if N > 2
            want[2] = WANT2;
#endif
#if N > 3
            want[3] = WANT3;
#endif
            j = 0
        };
        do
        :: j < N ->
            if
#ifdef LOOP
            :: j == N - 1 -> run loop(j)
#endif
            :: else -> run caller(j)
            fi;
            j++
        :: else -> break
        od;
#ifdef DISPATCH
        run dispatcher();
#endif
#ifdef EXPECT
        run expecter();
#endif
#ifdef CLEARS
        run clearer();
#endif
#ifdef ASYNC
        run worker();
#endif
        j = 0
    };
    finished == N; /* everybody returns; a lost wake-up ends here as an invalid end state */
#if defined(DISPATCH) || defined(EXPECT) || defined(CLEARS)
    _nr_pr == 1;
#endif
#ifndef ASYNC
    assert(n_open == 0 && n_queue == 0 && n_running == 0);
    j = 0;
    do
    :: j < NB -> assert(state[j] == FREE); j++
    :: else -> break
    od
#endif
}
