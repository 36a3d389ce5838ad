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
 *     EXPECT    somebody says _expect(2)
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
#define NONE 255

#define FREE    0
#define OPEN    1
#define QUEUED  2
#define RUNNING 3
#define LOST    4

#define AT(b, k)       ((b) * K + (k))
#define WAITS(i, k)    w_batch[(i) * K + (k)]

/* batches */
byte state[NB], leader[NB], runner[NB], users[NB];
bool in_fetch[NB], outdated[NB], overdue[NB], gone[NB], pending_[NB], done_[NB];
bool live[NB * K], in_index[NB * K], detached[NB * K], published[NB * K];
byte value[NB * K];
/* the core */
byte open = NONE, queue[NB], n_queue, n_running, expect;
/* callers */
byte want[N], w_batch[N * K], pending[N], least[N * K];
bool asleep[N], note[N], timed[N], limited[N], fin[N], hung[N];
byte finished;
/* the cache, the truth, and what the assertions need */
byte cached[K], source[K], cleared[K], fetches[K], excuses[K];
byte faults;
bool inside; /* the nested load may begin */

/* For loops; zero between steps, so that they make no states. */
byte a, c, d, e, h, any;
bool may_be[N];
inline clean() { a = 0; c = 0; d = 0; e = 0; h = 0; any = 0 }

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

/* dload_i_joinable */
#ifdef M_CLEAR_ALL_JOINED
#define JOINABLE(b) true
#else
#define JOINABLE(b) (state[b] < RUNNING || !outdated[b])
#endif

inline unpark(i) { note[i] = 1 }

/* any = does caller i run a fetch function that has not returned? */
inline runs_here(i)
{
    any = 0; h = 0;
    do
    :: h < NB -> any = any || (state[h] == RUNNING && in_fetch[h] && runner[h] == SELF(i)); h++
    :: else -> break
    od
}
/* any = dload_i_may_send */
inline may_send(i)
{
#ifdef M_NESTED_TAKES_A_PLACE
    any = n_running < MAX_IN_FLIGHT;
#else
    runs_here(i); any = any || n_running < MAX_IN_FLIGHT;
#endif
}
/* any = dload_i_waits_for */
inline waits_for(i, b)
{
    any = 0; h = 0;
    do
    :: h < K -> any = any || WAITS(i, h) == b; h++
    :: else -> break
    od
}

/* dload_i_batch_give */
inline batch_give(b)
{
    assert(users[b] == 0);
    state[b] = FREE; leader[b] = NONE; outdated[b] = 0; overdue[b] = 0; gone[b] = 0;
    pending_[b] = 0; done_[b] = 0; runner[b] = NONE; h = 0;
    do
    :: h < K ->
        assert(!in_index[AT(b, h)]);
        live[AT(b, h)] = 0; detached[AT(b, h)] = 0; published[AT(b, h)] = 0; value[AT(b, h)] = 0; h++
    :: else -> break
    od
}

/* dload_i_enqueue of the open batch */
inline enqueue()
{
    state[open] = QUEUED; queue[n_queue] = open; n_queue++; expect = 0;
#ifndef M_FULL_NO_WAKE
    if
    :: leader[open] != NONE -> unpark(leader[open])
    :: else
    fi;
#endif
    open = NONE
}
inline queue_cut(at)
{
    n_queue--; h = at;
    do
    :: h < n_queue -> queue[h] = queue[h + 1]; h++
    :: else -> break
    od;
    queue[n_queue] = 0
}

/* dload_i_nudge: somebody who sleeps and can send something, other than but. */
inline nudge(but)
{
    d_step {
        any = 0; a = 0;
        do
        :: a < N -> may_be[a] = 0; a++
        :: else -> break
        od;
        a = 0;
        do
        :: a <= n_queue && !any ->
            e = NONE;
            if
            :: a < n_queue -> e = queue[a]
            :: else -> e = open
            fi;
            if
            :: e != NONE && leader[e] != NONE && leader[e] != but && asleep[leader[e]] ->
                may_send(leader[e]);
                may_be[leader[e]] = any
            :: else
            fi;
            c = 0;
            do
            :: e != NONE && !any && c < N ->
                waits_for(c, e);
#ifdef M_NUDGE_AWAKE
                d = any && PARKS(c) && c != but;
#else
                d = any && PARKS(c) && c != but && asleep[c];
#endif
                may_send(c);
                may_be[c] = d && any;
                any = 0; c++
            :: else -> break
            od;
            c = 0;
            do
            :: c < N -> any = any || may_be[c]; c++
            :: else -> break
            od;
            a++;
#ifdef M_NUDGE_HEAD_ONLY
            if
            :: e != NONE -> any = 1
            :: else
            fi
#endif
        :: else -> break
        od;
        c = 0; any = 0;
        do
        :: c < N -> any = any || may_be[c]; c++
        :: else -> break
        od
    };
    if
    :: !any
    :: may_be[0] -> unpark(0)
    :: may_be[1] -> unpark(1)
#if N > 2
    :: may_be[2] -> unpark(2)
#endif
#if N > 3
    :: may_be[3] -> unpark(3)
#endif
    fi;
    d_step {
        a = 0;
        do
        :: a < N -> may_be[a] = 0; a++
        :: else -> break
        od;
        clean()
    }
}

/* dload_i_publish place k of b, with dload_i_deliver */
inline publish(b, k, ok)
{
    published[AT(b, k)] = 1;
    if
    :: !detached[AT(b, k)] -> assert(in_index[AT(b, k)]); in_index[AT(b, k)] = 0
    :: else
    fi;
    c = 0;
    do
    :: c < N ->
        if
        :: WAITS(c, k) == b ->
            WAITS(c, k) = NONE; pending[c]--;
            assert(!(ok) || value[AT(b, k)] >= least[c * K + k]); /* nothing from before a clear */
#ifndef M_DELIVER_NO_WAKE
            if
            :: pending[c] == 0 && PARKS(c) -> unpark(c)
            :: else
            fi
#endif
        :: else
        fi;
        c++
    :: else -> break
    od;
    if
#ifdef M_CLEARED_STORED
    :: state[b] == RUNNING && (ok) -> cached[k] = 1 + value[AT(b, k)]
#else
    :: state[b] == RUNNING && (ok) && !detached[AT(b, k)] && !outdated[b] ->
        cached[k] = 1 + value[AT(b, k)]
#endif
    :: else -> excuses[k]++ /* not kept: it may be fetched again */
    fi
}
/* dload_i_publish_all; only = the key alone, or NONE */
inline publish_all(b, ok, only)
{
    a = 0;
    do
    :: a < K ->
        if
        :: live[AT(b, a)] && !published[AT(b, a)] && (only == NONE || only == a) -> publish(b, a, ok)
        :: else
        fi;
        a++
    :: else -> break
    od
}

/* dload_i_abandon of everything overdue */
inline abandon_overdue()
{
    d_step {
        d = 0; e = 0;
        do
        :: e < NB ->
            if
            :: state[e] == RUNNING && overdue[e] ->
                assert(n_running > 0); n_running--; d = 1;
#ifndef M_ABANDONED_STAYS
                state[e] = LOST;
#endif
                publish_all(e, false, NONE)
            :: else
            fi;
            e++
        :: else -> break
        od;
    };
#ifndef M_ABANDON_NO_NUDGE
    if
    :: d -> nudge(NONE)
    :: else
    fi;
#endif
    d_step { clean() }
}

/* The second half of dload_i_finish */
inline finish_end(b)
{
    d_step {
        if
        :: state[b] == RUNNING -> assert(n_running > 0); n_running--; state[b] = LOST
        :: else
        fi;
#ifndef M_GIVE_WHILE_USED
        if
        :: users[b] != 0 -> gone[b] = 1
        :: else ->
#endif
            batch_give(b)
#ifndef M_GIVE_WHILE_USED
        fi
#endif
        ; clean()
    };
#ifndef M_FINISH_NO_NUDGE
    nudge(NONE)
#endif
}

/* dload_i_run up to the fetch function: b is out of the queue */
inline run_begin(b, who)
{
    state[b] = RUNNING; in_fetch[b] = 1; runner[b] = SELF(who); n_running++;
    a = 0;
    do
    :: a < K ->
        if
        :: live[AT(b, a)] ->
            fetches[a]++;
            assert(fetches[a] <= 1 + excuses[a]);
            c = 0;
            do
            :: c < NB ->
                assert(c == b || state[c] != RUNNING || !in_index[AT(c, a)] || !JOINABLE(c));
                c++
            :: else -> break
            od
        :: else
        fi;
        a++
    :: else -> break
    od
}
#ifdef NO_LIMIT
#define LIMIT 0
#else
#define LIMIT 1
#endif

/* A fetch that hangs, given up or not, goes on when nobody is left who can go on without it. */
#ifdef NO_LIMIT
#define WAITS_FOR(i, b) (WAITS(i, 0) == b || WAITS(i, 1 % K) == b || WAITS(i, 2 % K) == b || \
                         WAITS(i, 3 % K) == b || WAITS(i, 4 % K) == b)
#define STUCK(i, b) (fin[i] || hung[i] || WAITS_FOR(i, b))
#else
#define STUCK(i, b) (fin[i] || hung[i])
#endif
#if N == 2
#define ALL_STUCK(b) (STUCK(0, b) && STUCK(1, b))
#elif N == 3
#define ALL_STUCK(b) (STUCK(0, b) && STUCK(1, b) && STUCK(2, b))
#else
#define ALL_STUCK(b) (STUCK(0, b) && STUCK(1, b) && STUCK(2, b) && STUCK(3, b))
#endif

/* dload_i_run from the fetch function on; who runs it, NONE = not one of the callers */
inline run_rest(b, who)
{
    atomic {
        d_step {
            a = 0;
            do
            :: a < K -> value[AT(b, a)] = (live[AT(b, a)] -> source[a] : 0); a++
            :: else -> break
            od;
            clean()
        };
        ok = true;
        if
        :: true
#ifndef ONLY_HANGS
        :: faults < MAXF -> faults++; ok = false
#endif
        #ifdef NESTED
        :: faults < MAXF && who != NONE && who != 0 && who != N - 1 -> /* a nested load is its caller's hang */
#else
        :: faults < MAXF && who != NONE ->
#endif
            faults++; overdue[b] = LIMIT; hung[who] = 1
        fi
    };
#ifdef NESTED
    if
    :: who == 0 && !hung[0] && !inside -> inside = 1; fin[N - 1] /* the fetch function loads */
    :: else
    fi;
#endif
    if
    :: who != NONE && hung[who] -> ALL_STUCK(b)
    :: else
    fi;
#ifdef ASYNC
    pending_[b] = 1; /* the worker may end it from here on */
    atomic {
        if
        :: who != NONE -> hung[who] = 0
        :: else
        fi;
        in_fetch[b] = 0;
        if
        :: done_[b]
        :: else -> users[b]++; d_step { if :: state[b] == RUNNING -> publish_all(b, ok, 0) :: else fi; clean() }
        fi;
        d_step { clean() };
        if
        :: done_[b] -> goto ended
        :: else
        fi
    };
    atomic { /* after dload_i_settle_up */
        users[b]--;
        if
        :: gone[b] && users[b] == 0 -> d_step { batch_give(b); clean() }
        :: else
        fi;
        goto sent
    };
ended:
#endif
    atomic {
        d_step {
            in_fetch[b] = 0;
            if
            :: who != NONE -> hung[who] = 0
            :: else
            fi;
#ifdef M_TOKEN_LATE
            outdated[b] = 0;
#endif
            if
            :: state[b] == RUNNING -> publish_all(b, ok, NONE)
            :: else
            fi;
            clean()
        }
    };
    atomic { finish_end(b) } /* dload_i_settle_up let go in between */
#ifdef ASYNC
sent: skip
#endif
}

/* i_ask for every key that is still missing; the cache is looked into again under the mutex */
inline ask_all(id)
{
    d_step {
        c = 0;
        do
        :: c < K && (want[id] & (1 << c)) != 0 && WAITS(id, c) == NONE ->
            if
#ifndef M_NO_LOOK_AGAIN
            :: cached[c] != 0 -> assert(cached[c] - 1 >= least[id * K + c])
#endif
            :: else ->
                e = NONE; a = 0;
                do
                :: a < NB ->
                    if
                    :: in_index[AT(a, c)] && JOINABLE(a) -> e = a
                    :: else
                    fi;
                    a++
                :: else -> break
                od;
                if
                :: e != NONE && PARKS(id) && in_fetch[e] && state[e] == RUNNING &&
                   runner[e] == SELF(id) -> skip /* DLOAD_EDEADLK */
                :: e != NONE && !(PARKS(id) && in_fetch[e] && state[e] == RUNNING &&
                   runner[e] == SELF(id)) -> WAITS(id, c) = e; pending[id]++
                :: else ->
                    if
                    :: open == NONE -> /* dload_i_batch_take */
                        a = 0;
                        do
                        :: a < NB && state[a] != FREE -> a++
                        :: else -> break
                        od;
                        assert(a < NB);
                        open = a; state[open] = OPEN; leader[open] = NONE
                    :: else
                    fi;
                    /* dload_i_commit */
                    live[AT(open, c)] = 1; in_index[AT(open, c)] = 1;
                    WAITS(id, c) = open; pending[id]++;
                    a = 0; d = 0;
                    do
                    :: a < K -> d = d + live[AT(open, a)]; a++
                    :: else -> break
                    od;
                    if
                    :: d >= MAX_BATCH || (expect != 0 && d >= expect) -> enqueue()
                    :: else
                    fi
                fi
            fi;
            c++
        :: c < K && !((want[id] & (1 << c)) != 0 && WAITS(id, c) == NONE) -> c++
        :: c >= K -> break
        od
    }
}

/* dload_i_unwait for every request of this call */
inline unwait_all(id)
{
    d_step {
        a = 0;
        do
        :: a < K ->
            e = WAITS(id, a);
            if
            :: e != NONE ->
                WAITS(id, a) = NONE; pending[id]--;
                c = 0; any = 0;
                do
                :: c < N -> any = any || WAITS(c, a) == e; c++
                :: else -> break
                od;
                if
                :: state[e] < RUNNING && !any ->
                    live[AT(e, a)] = 0; in_index[AT(e, a)] = 0;
                    c = 0;
                    do
                    :: c < K -> any = any || live[AT(e, c)]; c++
                    :: else -> break
                    od;
                    if
                    :: !any && state[e] == OPEN -> open = NONE; batch_give(e)
#ifndef M_DEAD_STAYS_QUEUED
                    :: !any && state[e] == QUEUED ->
                        c = 0;
                        do
                        :: queue[c] != e -> c++
                        :: else -> break
                        od;
                        queue_cut(c); batch_give(e)
#endif
                    :: else
                    fi
                :: else
                fi
            :: else
            fi;
            a++
        :: else -> break
        od
    }
}

/* dload_i_take_due for caller id: send = the batch it is to send, out of the queue, or NONE */
inline take_due(id)
{
    d_step {
        send = NONE; e = 0;
        may_send(id);
        d = any; a = 0;
        do
        :: d && a < n_queue && send == NONE ->
            waits_for(id, queue[a]);
            if
            :: any -> send = queue[a]; queue_cut(a)
            :: else
            fi;
            a++
        :: else -> break
        od;
        if
        :: d && send == NONE && open != NONE -> waits_for(id, open); e = any
        :: else
        fi;
        a = e; c = 0; d = 0; e = 0; h = 0; any = 0
    };
    if
    :: a -> /* lone, settled or too old */
        d_step { send = open; enqueue(); n_queue--; queue[n_queue] = 0; clean() }
    :: true -> a = 0 /* not yet, or nothing of ours */
    fi
}

/* dload_i_sleep_until */
inline sleep_until(id)
{
    d_step {
        any = 0; e = 0;
        do
        :: e < NB -> any = any || state[e] == RUNNING; e++
        :: else -> break
        od;
#ifdef M_FOLLOWER_NO_LIMIT
        limited[id] = any;
#else
        limited[id] = 1; /* no sleep is longer than a run may be */
#endif
        timed[id] = 0;
        if
        :: open != NONE -> waits_for(id, open)
        :: else -> any = 0
        fi;
        d = any;
        if
        :: d -> may_send(id); c = any
        :: else -> c = 0
        fi;
        if
        :: d && leader[open] != NONE && leader[open] != id -> may_send(leader[open]); e = any
        :: else -> e = 0
        fi;
        if
        :: d && (leader[open] == NONE || leader[open] == id) -> leader[open] = id; led = open; timed[id] = c
#ifndef M_NESTED_FOLLOWS
        :: d && leader[open] != NONE && leader[open] != id && c && !e ->
            leader[open] = id; led = open; timed[id] = c /* who leads may not send: we may */
#endif
        :: else
        fi;
        note[id] = 0; asleep[id] = 1; clean()
    }
}

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
#ifdef NESTED
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
#if !defined(NESTED) && !defined(DISPATCH)
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
        :: timed[id] && led != NONE && state[led] == OPEN
        :: limited[id] && SOME_OVERDUE
#ifndef ONLY_HANGS
        :: faults < MAXF -> faults++; late = true
#endif
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
        if
        :: open != NONE -> d_step { enqueue() }
        :: else
        fi;
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
        if
        :: open != NONE -> d_step { enqueue() }
        :: else
        fi;
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
            c = 0; a = 0;
            do
            :: open != NONE && a < K -> c = c + live[AT(open, a)]; a++
            :: else -> break
            od;
            if
            :: c >= 2 -> enqueue()
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
    assert(open == NONE && n_queue == 0 && n_running == 0);
    j = 0;
    do
    :: j < NB -> assert(state[j] == FREE); j++
    :: else -> break
    od
#endif
}
