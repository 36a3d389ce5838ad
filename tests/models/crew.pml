/* Threads of a registry: runtime/crew.h, with what it needs of drive.h and run.h, and with their names.
 *
 * T threads have joined. Each loads from loader 0, with the answer from loader 1, then leaves. O
 * others never joined and load once, from loader 0. Each load has a key of its own. What the C does
 * under one hold of a loader's mutex is one atomic step; n_threads and n_parked are one word, which
 * belongs to no mutex. How a wake-up comes without the mutex is in wakeup.pml. The 100 ms look of the C is
 * left out, but where a thread was cancelled: there the C counts on it. LOOKS times somebody wakes up by
 * himself all the same, for that must not break a level in two.
 *
 * Proved: everybody returns; as long as nobody leaves early, a level costs a loader one batch (ONCE);
 * who did not join waits for nobody who did.
 *
 * Settings: T O L LEVELS MAX_BATCH MAX_IN_FLIGHT MAXF LOOKS, and -D of
 *     CROSSED    thread i loads from loader i + level, round and round
 *     MEET       threads load from different loaders first, then all from the last one
 *     FAR        all loads of the crew are from the last loader
 *     LEAVES     thread 0 leaves at once
 *     ONCE=n     no loader sends more than n batches
 *     CANCEL     faults are threads cancelled in their sleep; otherwise deadlines
 *     BUSY       thread 0 begins when those who did not join have returned: they must not wait for it
 *     CALLBACK   somebody calls _start on loader 1
 * Mutants: see the M_ macros; run.py has the list, and says what each of them breaks.
 */
#ifndef T
#define T 2
#endif
#ifndef O
#define O 0
#endif
#ifndef L
#define L 2
#endif
#ifndef LEVELS
#define LEVELS 2
#endif
#ifndef MAX_BATCH
#define MAX_BATCH 9
#endif
#ifndef MAX_IN_FLIGHT
#define MAX_IN_FLIGHT 1
#endif
#ifndef LOOKS
#define LOOKS 0
#endif
#ifndef MAXF
#define MAXF 0
#endif
#if defined(FAR)
#define ROUTE(i, level) (L - 1)
#elif defined(MEET)
#define ROUTE(i, level) ((level) == 0 -> (i) % (L - 1) : L - 1)
#elif defined(CROSSED)
#define ROUTE(i, level) (((i) + (level)) % L)
#else
#define ROUTE(i, level) ((level) % L)
#endif
#define P    (T + O)
#define NB   (P + 1)
#define NONE 255

#define FREE    0
#define OPEN    1
#define QUEUED  2
#define RUNNING 3

/* batches */
byte state[NB], home[NB], leader[NB];
bool callback[NB], goes[NB];
/* loaders */
byte open[L], queue[L * NB], n_queue[L], n_running[L], sent[L];
/* the registry */
byte n_threads, n_parked;
bool round;
/* threads */
byte waits[P];
bool asleep[P], note[P], timed[P], counted[P], look[P], fin[P];
byte finished, faults, looks;

/* For loops; zero between steps, so that they make no states. */
byte a, c, d, any;

#define IN_CREW(i)   ((i) < T)
#define HAS_PLACE(l) (n_running[l] < MAX_IN_FLIGHT)
#define Q(l, i)      queue[(l) * NB + (i)]

inline uncount(i)
{
    if
    :: counted[i] -> assert(n_parked > 0); n_parked--; counted[i] = 0
    :: else
    fi
}

/* Who is woken is not parked any more, even if it is not awake yet. */
inline unpark(i)
{
    note[i] = 1;
#ifndef M_COUNTED_TOO_LONG
    uncount(i)
#endif
}

/* d = how many wait for b */
inline count(b)
{
    c = 0; d = callback[b];
    do
    :: c < P -> d = d + (waits[c] == b); c++
    :: else -> break
    od
}

inline batch_give(b) { state[b] = FREE; home[b] = 0; leader[b] = NONE; callback[b] = 0; goes[b] = 0 }

inline enqueue(l)
{
    state[open[l]] = QUEUED; Q(l, n_queue[l]) = open[l]; n_queue[l]++;
    if
    :: leader[open[l]] != NONE -> unpark(leader[open[l]])
    :: else
    fi;
    open[l] = NONE
}

inline queue_cut(l, at)
{
    n_queue[l]--; c = at;
    do
    :: c < n_queue[l] -> Q(l, c) = Q(l, c + 1); c++
    :: else -> break
    od;
    Q(l, n_queue[l]) = 0; c = 0
}

/* dload_i_nudge_one: any = who sleeps for b and may send it, NONE = nobody; any of them. */
inline nudge_one(l, b, but)
{
    any = NONE;
    if
    :: !HAS_PLACE(l)
    :: else ->
        if
        :: leader[b] != NONE && leader[b] != but && asleep[leader[b]] -> any = leader[b]
        :: else ->
            if
            :: waits[0] == b && asleep[0] && but != 0 -> any = 0
#if P > 1
            :: waits[1] == b && asleep[1] && but != 1 -> any = 1
#endif
#if P > 2
            :: waits[2] == b && asleep[2] && but != 2 -> any = 2
#endif
#if P > 3
            :: waits[3] == b && asleep[3] && but != 3 -> any = 3
#endif
            :: else
            fi
        fi
    fi;
    if
    :: any != NONE -> unpark(any)
    :: else
    fi
}

/* Who woke up by itself, and waits for its turn to gather, has something to do now. */
inline awake_uncount(b)
{
    c = 0;
    do
    :: c < P ->
        if
        :: waits[c] == b && !asleep[c] -> uncount(c)
        :: else
        fi;
        c++
    :: else -> break
    od;
    c = 0
}

/* dload_i_nudge */
inline nudge(l, but)
{
    a = 0; any = NONE;
    do
    :: a < n_queue[l] && any == NONE -> nudge_one(l, Q(l, a), but); a++
    :: else -> break
    od;
    if
    :: any == NONE && open[l] != NONE -> nudge_one(l, open[l], but)
    :: else
    fi;
    a = 0; any = 0
}

/* A request enters the open batch. */
inline ask(l, who, is_callback)
{
    if
    :: open[l] == NONE ->
        a = 0;
        do
        :: state[a] != FREE -> a++
        :: else -> break
        od;
        open[l] = a; state[a] = OPEN; home[a] = l; a = 0
    :: else
    fi;
    if
    :: is_callback -> callback[open[l]] = 1
    :: else -> waits[who] = open[l]
    fi;
    count(open[l]);
    if
    :: d >= MAX_BATCH -> enqueue(l)
    :: else
    fi;
    c = 0; d = 0
}

inline run_begin(l, b)
{
    state[b] = RUNNING; n_running[l]++; sent[l]++;
    assert(n_running[l] <= MAX_IN_FLIGHT);
#ifdef ONCE
    assert(sent[l] <= ONCE)
#else
    sent[l] = 0
#endif
}

/* dload_i_finish: all answers at once */
inline finish(l, b)
{
    c = 0;
    do
    :: c < P ->
        if
        :: waits[c] == b ->
            waits[c] = NONE;
#ifndef M_ANSWERED_COUNTED
            uncount(c);
#endif
            if
            :: asleep[c] -> note[c] = 1
            :: else
            fi
        :: else
        fi;
        c++
    :: else -> break
    od;
    c = 0; n_running[l]--; batch_give(b);
    nudge(l, NONE)
}

/* dload_i_unwait */
inline unwait(l, who)
{
    a = waits[who]; waits[who] = NONE;
    if
    :: a != NONE && state[a] < RUNNING ->
        count(a);
        if
        :: d == 0 && state[a] == OPEN -> open[l] = NONE; batch_give(a)
        :: d == 0 && state[a] == QUEUED ->
            c = 0;
            do
            :: Q(l, c) != a -> c++
            :: else -> break
            od;
            queue_cut(l, c); batch_give(a)
        :: else
        fi
    :: else
    fi;
    a = 0; c = 0; d = 0
}

/* dload_i_take_due: send = the batch that this call is to send, out of the queue, or NONE. A call of the
 * crew sends no open batch; another one does so some time. */
inline take_due(l, who)
{
    a = 0; send = NONE;
    do
    :: HAS_PLACE(l) && a < n_queue[l] && send == NONE ->
        if
        :: Q(l, a) == waits[who] -> send = waits[who]; queue_cut(l, a)
        :: else
        fi;
        a++
    :: else -> break
    od;
    a = 0;
    if
    :: send == NONE && HAS_PLACE(l) && !IN_CREW(who) && waits[who] == open[l] ->
        send = open[l]; enqueue(l); n_queue[l]--; Q(l, n_queue[l]) = 0
    :: true
    fi
}

/* dload_i_sleep_until, and to sleep */
inline sleep(l, who)
{
    timed[who] = 0;
    if
    :: waits[who] == open[l] && (leader[open[l]] == NONE
#ifndef M_FOLLOWS_CREW
        || (!IN_CREW(who) && IN_CREW(leader[open[l]]))
#endif
        ) ->
        leader[open[l]] = who; led = open[l]; timed[who] = HAS_PLACE(l) && !IN_CREW(who)
    :: else
    fi;
    asleep[who] = 1; note[who] = 0
}

#if P == 1
#define WAITED(b) (waits[0] == b)
#elif P == 2
#define WAITED(b) (waits[0] == b || waits[1] == b)
#elif P == 3
#define WAITED(b) (waits[0] == b || waits[1] == b || waits[2] == b)
#else
#define WAITED(b) (waits[0] == b || waits[1] == b || waits[2] == b || waits[3] == b)
#endif

#if O == 0
#define OTHERS true
#elif O == 1
#define OTHERS fin[T]
#else
#define OTHERS (fin[T] && fin[T + 1])
#endif

proctype thread(byte id)
{
    byte l, level, send = NONE, led = NONE, on;
    bool late, found;
#ifdef BUSY
    if
    :: id == 0 -> OTHERS
    :: else
    fi;
#endif
#ifdef LEAVES
    if
    :: id == 0 -> l = NONE; goto leave
    :: else
    fi;
#endif
load:
    l = (IN_CREW(id) -> ROUTE(id, level) : 0);
    d_step { ask(l, id, false) };
again:
    atomic {
        if
        :: waits[id] == NONE || late -> goto done
        :: else
        fi;
        take_due(l, id);
        if
        :: send != NONE ->
            d_step { uncount(id) };
            nudge(l, id);
            d_step { run_begin(l, send) };
            goto go
        :: else
        fi;
        /* dload_i_crew_park */
        if
        :: IN_CREW(id) && !counted[id] ->
            counted[id] = 1; n_parked++;
            if
            :: n_parked == n_threads -> goto gather
            :: else
            fi
        :: else
        fi;
        d_step { sleep(l, id) }
    };
    atomic {
        if
        :: note[id]
        :: timed[id] && led != NONE && state[led] == OPEN
        :: look[id]
        :: IN_CREW(id) && looks < LOOKS -> looks++ /* by itself */
#ifndef CANCEL
        :: faults < MAXF -> faults++; late = true
#else
        :: IN_CREW(id) && faults < MAXF -> faults++; goto cancelled
#endif
        fi;
        d_step {
            asleep[id] = 0; timed[id] = 0; note[id] = 0; look[id] = 0;
#ifndef M_WOKEN_STAYS_COUNTED
            uncount(id);
#endif
            if
            :: led != NONE && leader[led] == id -> leader[led] = NONE
            :: else
            fi;
            led = NONE
        }
    };
    goto again;
go:
    atomic { finish(l, send); send = NONE };
    goto again;
done:
    atomic {
#ifndef M_LATE_COUNTED
        d_step { uncount(id) };
#endif
        if
        :: late -> nudge(l, id); d_step { unwait(l, id) }; late = false
        :: else
        fi;
        assert(!counted[id]) /* the parker is gone */
    };
    level++;
    if
    :: IN_CREW(id) && level < LEVELS -> goto load
    :: !IN_CREW(id) -> goto out
    :: else
    fi;
    l = NONE;
leave: /* dload_registry_leave */
    atomic {
        n_threads--;
        if
#ifndef M_LEAVER_SENDS_NOTHING
        :: n_threads != 0 && n_parked == n_threads
#endif
        :: else -> goto out
        fi
    };
gather: /* dload_i_crew_gather, under the round's lock; l is NONE when this thread leaves */
    atomic {
#ifndef M_ROUNDS_OVERLAP
        !round; round = 1;
#endif
        if
#ifndef M_ROUND_LATE
        :: n_threads != n_parked ->
            round = 0;
            if
            :: l == NONE -> goto out
            :: else -> goto again
            fi
#endif
        :: else
        fi
    };
    on = 0;
    do
    :: on < L ->
        atomic {
            d_step {
                if
                :: open[on] != NONE -> goes[open[on]] = 1; found = true
                :: else
                fi;
                a = 0;
                do
                :: a < n_queue[on] && HAS_PLACE(on) -> found = found || !WAITED(Q(on, a)); a++
                :: else -> break
                od;
                a = 0; on++
            }
        }
    :: else -> on = 0; break
    od;
    atomic {
        if
        :: !found && l == NONE -> round = 0; goto out
        :: !found && l != NONE -> round = 0; goto again
#ifndef CANCEL
        :: !found && l != NONE && faults < MAXF -> round = 0; faults++; late = true; goto again
#endif
#ifdef M_LEAVER_GONE
        :: found && l == NONE
#else
        :: found && l == NONE -> n_threads++
#endif
#ifdef M_ROUND_PARKED
        :: found && l != NONE
#else
        :: found && l != NONE -> uncount(id)
#endif
        fi;
        round = 0
    };
    found = false;
    do /* dload_i_crew_send */
    :: on < L ->
        atomic {
            if
#ifdef M_ROUND_SENDS_AT_ONCE
            :: open[on] != NONE -> d_step { enqueue(on) }
#else
            :: open[on] != NONE && goes[open[on]] -> d_step { enqueue(on) }
#endif
            :: else
            fi;
            a = 0;
            do
            :: a < n_queue[on] && HAS_PLACE(on) && send == NONE ->
                if
                :: Q(on, a) == waits[id] -> a++ /* sent by this thread when it is back */
                :: Q(on, a) != waits[id] && WAITED(Q(on, a)) ->
                    nudge_one(on, Q(on, a), id);
#ifndef M_AWAKE_COUNTED
                    awake_uncount(Q(on, a));
#endif
                    a++
#ifdef M_CALLBACKS_LEFT
                :: else -> a++
#else
                :: else -> send = Q(on, a) /* callbacks only */
#endif
                fi
            :: else -> break
            od;
            if
            :: send != NONE -> d_step { queue_cut(on, a); run_begin(on, send) }
            :: else ->
                a = 0;
                do
                :: a < n_queue[on] -> assert(!HAS_PLACE(on) || WAITED(Q(on, a))); a++
                :: else -> break
                od;
                on++
            fi;
            a = 0; any = 0
        };
        if
        :: send != NONE -> atomic { finish(on, send); send = NONE }
        :: else
        fi
    :: else -> on = 0; break
    od;
    if
#ifdef M_LEAVER_LOOKS_ONCE
    :: l == NONE -> n_threads--; goto out
#else
    :: l == NONE -> goto leave
#endif
    :: else -> goto again
    fi;
cancelled: /* dload_i_give_up */
    atomic {
        d_step {
            asleep[id] = 0; timed[id] = 0; note[id] = 0; look[id] = 0;
            unwait(l, id);
            if
            :: led != NONE && leader[led] == id -> leader[led] = NONE
            :: else
            fi;
            led = NONE;
#ifndef M_DESERTER_PARKED
            uncount(id);
#endif
#ifndef M_DESERTER_STAYS
            n_threads--;
#endif
            a = 0;
            do
            :: a < P -> look[a] = 1; a++
            :: else -> break
            od;
            a = 0
        };
        nudge(l, id)
    };
out:
    atomic { fin[id] = 1; finished++ }
}

#ifdef CALLBACK
/* _start */
proctype starter()
{
    atomic { d_step { ask(L - 1, NONE, true) } }
}
#endif

init {
    atomic {
        d_step {
            a = 0;
            do
            :: a < NB -> leader[a] = NONE; a++
            :: else -> break
            od;
            a = 0;
            do
            :: a < L -> open[a] = NONE; a++
            :: else -> break
            od;
            a = 0;
            do
            :: a < P -> waits[a] = NONE; a++
            :: else -> break
            od;
            a = 0; n_threads = T
        };
        do
        :: a < P -> run thread(a); a++
        :: else -> break
        od;
#ifdef CALLBACK
        run starter();
#endif
        a = 0
    };
    finished == P; /* everybody returns; a lost wake-up ends here as an invalid end state */
    assert(n_parked == 0);
}
