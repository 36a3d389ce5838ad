/* Part of leader_follower.pml: a batch runs; keys enter and leave; who sends, who leads, who sleeps
 * (runtime/run.h, batch.h, drive.h, typed/load.h).
 */
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
#if defined(NESTED) || defined(CALLING)
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
#ifdef CALLING
    if
    :: who == 0 && !inside ->
        atomic {
            n_calling++;
#ifndef M_CALL_NO_NUDGE
            nudge(NONE);
#endif
            inside = 1
        };
        fin[N - 1]; /* a callback loads */
        n_calling--
    :: else
    fi;
#endif
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
                    open_of(GROUP(c));
                    if
                    :: o == NONE -> /* dload_i_batch_take */
                        a = 0;
                        do
                        :: a < NB && state[a] != FREE -> a++
                        :: else -> break
                        od;
                        assert(a < NB);
                        o = a; open[n_open] = o; n_open++;
                        state[o] = OPEN; group[o] = GROUP(c); leader[o] = NONE
                    :: else
                    fi;
                    /* dload_i_commit */
                    live[AT(o, c)] = 1; in_index[AT(o, c)] = 1;
                    WAITS(id, c) = o; pending[id]++;
                    a = 0; d = 0;
                    do
                    :: a < K -> d = d + live[AT(o, a)]; a++
                    :: else -> break
                    od;
                    if
                    :: d >= MAX_BATCH -> enqueue(o)
                    :: else ->
#ifndef M_EXPECT_PER_BATCH
                        open_keys();
#endif
                        if
#ifdef M_EXPECT_SENDS_ONE
                        :: expect != 0 && d >= expect -> enqueue(o)
#else
                        :: expect != 0 && d >= expect -> enqueue_all()
#endif
                        :: else
                        fi
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
                    :: !any && state[e] == OPEN -> open_cut(e); batch_give(e)
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

/* When an open batch is due: never, at once, or some time */
#if ANNOUNCED
#define NOT_DUE (expect != 0)
#else
#define NOT_DUE false
#endif
#ifdef CROWD
#define SURELY_DUE (EVERYBODY_WAITS && n_running == 0)
#else
#define SURELY_DUE false
#endif
#if N == 2
#define EVERYBODY_WAITS (pending[0] && pending[1])
#elif N == 3
#define EVERYBODY_WAITS (pending[0] && pending[1] && pending[2])
#else
#define EVERYBODY_WAITS (pending[0] && pending[1] && pending[2] && pending[3])
#endif
#ifdef SLOW
#define PACE(b) (group[b] == 1 || (FAST(0) && FAST(1) && FAST(2)))
#define FAST(i) ((i) < SLOW || fin[i] || hung[i])
#else
#define PACE(b) true
#endif

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
        :: d && send == NONE -> open_for(id)
        :: else -> o = NONE
        fi;
#ifdef M_ONLY_LEADER_SENDS
        if
        :: o != NONE && leader[o] != NONE && leader[o] != id -> o = NONE
        :: else
        fi;
#endif
        a = 0; c = 0; d = 0; e = 0; h = 0; any = 0
    };
    if
    :: o != NONE && !NOT_DUE -> /* lone, settled or too old */
        d_step { send = o; enqueue(send); n_queue--; queue[n_queue] = 0; clean() }
    :: !(o != NONE && SURELY_DUE) -> o = 0 /* not yet, or nothing of ours */
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
        open_for(id);
        d = o != NONE;
        if
        :: d -> may_send(id); c = any
        :: else -> c = 0
        fi;
        if
        :: d && leader[o] != NONE && leader[o] != id -> may_send(leader[o]); e = any
        :: else -> e = 0
        fi;
        if
        :: d && (leader[o] == NONE || leader[o] == id) -> leader[o] = id; led = o; timed[id] = c
#ifndef M_NESTED_FOLLOWS
        :: d && leader[o] != NONE && leader[o] != id && c && !e ->
            leader[o] = id; led = o; timed[id] = c /* who leads may not send: we may */
#endif
        :: else
        fi;
        note[id] = 0; asleep[id] = 1; clean()
    };
#if defined(GROUPS) && !defined(M_KEEPS_THE_PLACE)
    if
    :: timed[id] -> /* a place that this call may use some time is for others meanwhile */
        nudge_find(id);
        passed = passed + any;
        assert(passed <= N); /* nobody passes it back */
        nudge_wake()
    :: else
    fi
#endif
}
