/* Part of leader_follower.pml: batches come and go, answers leave, who may send is told (runtime/batch.h and
 * run.h). What the C does under one hold of the mutex is one atomic step.
 */
/* dload_i_joinable */
#ifdef M_CLEAR_ALL_JOINED
#define JOINABLE(b) true
#else
#define JOINABLE(b) (state[b] < RUNNING || !outdated[b])
#endif

#define HAS_PLACE (n_running < MAX_IN_FLIGHT + n_calling)

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
    any = HAS_PLACE;
#else
    runs_here(i); any = any || HAS_PLACE;
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
    state[b] = FREE; group[b] = 0; leader[b] = NONE; outdated[b] = 0; overdue[b] = 0; gone[b] = 0;
    pending_[b] = 0; done_[b] = 0; runner[b] = NONE; h = 0;
    do
    :: h < K ->
        assert(!in_index[AT(b, h)]);
        live[AT(b, h)] = 0; detached[AT(b, h)] = 0; published[AT(b, h)] = 0; value[AT(b, h)] = 0; h++
    :: else -> break
    od
}

/* o = the open batch of a group, or NONE */
inline open_of(g)
{
    o = NONE; h = 0;
    do
    :: h < n_open ->
        if
        :: group[open[h]] == g -> o = open[h]
        :: else
        fi;
        h++
    :: else -> break
    od;
    h = 0
}
/* o = the open batch that caller i waits for, or NONE */
inline open_for(i)
{
    o = NONE; e = 0;
    do
    :: e < n_open ->
        waits_for(i, open[e]);
        if
        :: any -> o = open[e]
        :: else
        fi;
        e++
    :: else -> break
    od;
    any = 0; e = 0; h = 0
}
inline open_cut(b)
{
    h = 0;
    do
    :: open[h] != b -> h++
    :: else -> break
    od;
    n_open--;
    do
    :: h < n_open -> open[h] = open[h + 1]; h++
    :: else -> break
    od;
    open[n_open] = NONE; h = 0;
    if
    :: n_open == 0 -> expect = 0
    :: else
    fi
}
inline enqueue(b)
{
    open_cut(b);
    state[b] = QUEUED; queue[n_queue] = b; n_queue++;
#ifndef M_FULL_NO_WAKE
    if
    :: leader[b] != NONE -> unpark(leader[b])
    :: else
    fi
#endif
}
inline enqueue_all()
{
    do
    :: n_open != 0 -> o = open[0]; enqueue(o)
    :: else -> break
    od;
    o = 0
}
/* d = how many keys are in the open batches */
inline open_keys()
{
    h = 0; a = 0; d = 0;
    do
    :: h < n_open && a == K -> h++; a = 0
    :: h < n_open && a < K -> d = d + live[AT(open[h], a)]; a++
    :: h >= n_open -> break
    od;
    h = 0; a = 0
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

/* dload_i_nudge: somebody who sleeps and can send something, other than but. A leader of an open batch who
 * has a timer comes by himself: the wake-up is for others. */
inline nudge(but)
{
    nudge_find(but);
    nudge_wake()
}
/* any = is there somebody? */
inline nudge_find(but)
{
    d_step {
        any = 0; a = 0;
        do
        :: a < N -> may_be[a] = 0; a++
        :: else -> break
        od;
        a = 0;
        do
        :: a < n_queue + n_open && !any ->
            if
            :: a < n_queue -> e = queue[a]
            :: else -> e = open[a - n_queue]
            fi;
#ifndef M_NUDGE_TIMED
            if
            :: state[e] == OPEN && leader[e] != NONE && timed[leader[e]] -> e = NONE
            :: else
            fi;
#endif
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
    }
}
inline nudge_wake()
{
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
    passed = 0; state[b] = RUNNING; in_fetch[b] = 1; runner[b] = SELF(who); n_running++;
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
