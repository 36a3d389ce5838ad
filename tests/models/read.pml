/* Hits without the lock: i_read_group, i_read_far and i_read_free of typed/read.h, i_look_again of cache.h,
 * against i_put, i_replace, i_remove, i_grow and i_move_in, and i_new_epoch, with their names; take_slot,
 * open and shut of runtime/group.h; pieces of runtime/arena.h.
 *
 * Two keys of the same hash, in a table of one group that may grow to two, a slot in each. One writer stands for all:
 * they take turns by the lock. Weak memory is explicit. A store goes into a buffer: one that releases leaves it
 * after all that are older, a relaxed one when it likes, but for those to its own address. A load happens when
 * the acquiring loads before it in the program have, and what its address was computed from, not sooner;
 * else in any order. Machines on which all see a store at once are meant (x86, ARMv8). What is under the lock
 * is trusted here: the look that ends a call is one step, between two writes.
 *
 * Proved: what a call returns was the key's at some moment of it, and nobody who calls later has anything
 * older; no call follows a pointer to what is freed, or leaves its table; no entry is lost; every call ends
 * after TRIES tries more.
 *
 * Settings: OPS CALLS READERS TRIES, and -D of
 *     STRINGS  keys are bytes behind a pointer
 *     GROWS    a full table grows; otherwise the other key is evicted
 *     FAR      both keys want the same group of the larger table
 *     CLEARS   there is clear_all
 *     NO_REMOVE  nothing is removed, but by eviction
 * Mutants: see the M_ macros; run.py has the list, and says what each of them breaks.
 */
#ifndef OPS
#define OPS 3
#endif
#ifndef CALLS
#define CALLS 1
#endif
#ifndef READERS
#define READERS 1
#endif
#ifndef TRIES
#define TRIES 1
#endif
#ifdef M_SEQ_WRAPS
#define ROUND 4
#else
#define ROUND 64
#endif
#ifdef FAR
#define HOME(k, n) ((n) - 1)
#else
#define HOME(k, n) ((n) == 1 -> 0 : 1 - (k))
#endif
#define NOTHING 8 /* zeros: no key is like that */
#define GARBAGE 9
#ifdef M_SLOTS_NOT_ZEROED
#define FIRST GARBAGE /* what was in the memory before: a pointer, to something that is gone */
#else
#define FIRST NOTHING
#endif

/* Addresses. Table 0 is group and slot 0, table 1 is groups and slots 1 and 2. */
#define N_GROUPS 0
#define GROUPS   1
#define SLOTS    2
#define EPOCH    3
#define SEQ(g)   (4 + (g))
#define TAG(g)   (7 + (g))
#define KEY(s)   (10 + (s)) /* of strings: which piece */
#define META(s)  (13 + (s)) /* of which only the epoch matters; uses are a byte of their own */
#define V0(s)    (16 + (s))
#define V1(s)    (19 + (s))
#define BYTES(p) (22 + (p))
byte mem[25];

/* stores on their way */
#define BUF 4
byte b_at[BUF], b_val[BUF], b_n;
bool b_rel[BUF];
#define SAME(i, j) (b_at[i] == b_at[j])

bool lock, old_freed;
bool piece_used[3], piece_freed[3];
byte version = 1;

/* what is true: before the write that is on its way, after it; has somebody seen it already? */
byte cur[2], nxt[2];
bool seen[2];
byte looks[READERS], ok[READERS]; /* for which key, counted from 1; which values are right, a bit each */

/* What is ordered in the writer, and after which loads a load of the reader comes. */
#ifdef M_OPEN_LATE
#define DATA false
#else
#define DATA true
#endif
#ifdef M_SHUT_EARLY
#define SHUT false
#else
#define SHUT true
#endif
#ifdef M_PUBLISHED_RELAXED
#define PUBLISHED false
#else
#define PUBLISHED true
#endif
#ifdef M_SEQ_READ_LATE
#define SEQ_FIRST true
#else
#define SEQ_FIRST has_seq
#endif
#ifdef M_TAG_READ_LATE
#define TAG_FIRST true
#else
#define TAG_FIRST has_tag
#endif
#if defined(M_KEY_READ_LATE)
#define BYTES_FIRST true
#elif defined(M_BYTES_READ_LATE)
#define BYTES_FIRST has_key
#else
#define BYTES_FIRST (has_key && has_bytes)
#endif
#ifdef M_WORDS_READ_LATE
#define WORDS_FIRST has_meta
#else
#define WORDS_FIRST (has_v0 && has_v1)
#endif

inline store(address, value, releases)
{
    atomic {
        b_n < BUF;
        if
        :: b_n == 0 && (releases) -> mem[address] = value
        :: else -> b_at[b_n] = address; b_val[b_n] = value; b_rel[b_n] = releases; b_n++
        fi
    }
}

active proctype memory()
{
    byte i;
end:
    do
    :: atomic {
            b_n != 0;
            if
            :: i = 0
            :: b_n > 1 && !b_rel[1] && !SAME(1, 0) -> i = 1
            :: b_n > 2 && !b_rel[2] && !SAME(2, 0) && !SAME(2, 1) -> i = 2
            :: b_n > 3 && !b_rel[3] && !SAME(3, 0) && !SAME(3, 1) && !SAME(3, 2) -> i = 3
            fi;
            mem[b_at[i]] = b_val[i]; b_n--;
            do
            :: i < b_n -> b_at[i] = b_at[i + 1]; b_val[i] = b_val[i + 1]; b_rel[i] = b_rel[i + 1]; i++
            :: else -> break
            od;
            b_at[b_n] = 0; b_val[b_n] = 0; b_rel[b_n] = 0; i = 0
        }
    od
}

/* ---- writing; the lock is held ---- */

/* A write of this key begins: who looks for it may have either. */
inline change(whose, to)
{
    d_step {
        nxt[whose] = to; r = 0;
        do
        :: r < READERS ->
            if
            :: looks[r] == whose + 1 -> ok[r] = ok[r] | (1 << to)
            :: else
            fi;
            r++
        :: else -> break
        od;
        r = 0
    }
}

inline open(group_)
{
    atomic { store(SEQ(group_), (seq[group_] + 1) % ROUND, false); seq[group_] = (seq[group_] + 1) % ROUND }
}
inline shut(group_)
{
    atomic { store(SEQ(group_), (seq[group_] + 1) % ROUND, SHUT); seq[group_] = (seq[group_] + 1) % ROUND }
}

#ifdef STRINGS
#define KEY_AT(s) (mem[KEY(s)] < 3 -> mem[BYTES(mem[KEY(s)])] : GARBAGE)
#else
#define KEY_AT(s) mem[KEY(s)]
#endif
/* g = the group of a key, or 3. What is written is in memory between two operations. */
inline locate(whose)
{
    d_step {
        g = mem[GROUPS];
        do
        :: g < mem[GROUPS] + mem[N_GROUPS] && !(mem[TAG(g)] != 0 && KEY_AT(g) == whose) -> g++
        :: else -> break
        od;
        if
        :: g == mem[GROUPS] + mem[N_GROUPS] -> g = 3
        :: else
        fi
    }
}

inline remove(from, gone)
{
    atomic {
        change(gone, 0);
        piece = mem[KEY(from)]
    };
#ifndef M_REMOVED_UNSEEN
    open(from);
#endif
    store(TAG(from), 0, DATA);
#ifndef M_REMOVED_UNSEEN
    shut(from);
#endif
#ifdef STRINGS
    atomic {
        store(BYTES(piece), GARBAGE, true); /* the list of free pieces goes through them */
        piece_used[piece] = 0;
#ifdef M_PIECES_FREED
        piece_freed[piece] = 1;
#endif
    };
#endif
    piece = 0
}

/* The one entry moves to its place in the larger table, which nobody sees yet. */
inline grow()
{
    d_step {
        g = 1 + HOME(KEY_AT(0), 2);
        mem[TAG(g)] = mem[TAG(0)]; mem[KEY(g)] = mem[KEY(0)]; mem[META(g)] = mem[META(0)];
        mem[V0(g)] = mem[V0(0)]; mem[V1(g)] = mem[V1(0)];
        mem[SEQ(g)] = 2; seq[g] = 2
    };
#ifdef M_GROWN_BACKWARDS
    store(N_GROUPS, 2, true); store(GROUPS, 1, true); store(SLOTS, 1, true);
#else
    store(SLOTS, 1, PUBLISHED); store(GROUPS, 1, PUBLISHED); store(N_GROUPS, 2, PUBLISHED);
#endif
#ifdef M_OUTGROWN_FREED
    old_freed = 1;
#endif
    b_n == 0
}

inline fill(into)
{
    store(META(into), mem[EPOCH], DATA);
    store(V0(into), version, DATA);
    store(V1(into), version, DATA)
}

inline replace(there)
{
#ifndef M_REPLACED_UNSEEN
    open(there);
#endif
    fill(there);
#ifndef M_REPLACED_UNSEEN
    shut(there)
#endif
}

/* A key that is not there. */
inline enter(mine)
{
#ifdef STRINGS
    atomic {
        piece = 0;
        do
        :: piece_used[piece] -> piece++
        :: else -> break
        od;
        piece_used[piece] = 1;
        store(BYTES(piece), mine, true)
    };
#endif
    if
#ifdef GROWS
    :: mem[N_GROUPS] == 1 && mem[TAG(0)] != 0 -> grow()
#else
    :: mem[TAG(0)] != 0 -> piece_of_key = piece; remove(0, 1 - mine); piece = piece_of_key; b_n == 0
#endif
    :: else
    fi;
    /* dload_i_take_slot */
    atomic {
        g = mem[GROUPS] + HOME(mine, mem[N_GROUPS]);
        if
        :: mem[TAG(g)] != 0 -> g = 3 - g
        :: else
        fi;
        assert(mem[TAG(g)] == 0)
    };
#ifdef M_TAG_BEFORE_OPEN
    store(TAG(g), 1, DATA);
#endif
    open(g);
#ifdef M_TAKEN_UNSEEN
    shut(g);
#endif
#ifndef M_TAG_BEFORE_OPEN
    store(TAG(g), 1, DATA);
#endif
#ifdef STRINGS
    store(KEY(g), piece, DATA);
#else
    store(KEY(g), mine, DATA);
#endif
    fill(g);
#ifndef M_TAKEN_UNSEEN
    shut(g);
#endif
    piece = 0; piece_of_key = 0
}

proctype writer()
{
    byte n, key, g, piece, piece_of_key, r, seq[3];
    do
    :: n < OPS ->
        atomic {
            lock = 1; n++;
            if
            :: key = 0
            :: key = 1
            fi;
            locate(key);
            /* what is there is there, and what is cleared is not */
            assert(g == 3 -> cur[key] == 0 : (mem[META(g)] == mem[EPOCH]) == (cur[key] != 0))
        };
        if
        :: atomic { version++; change(key, version) };
            if
            :: g != 3 -> replace(g)
            :: else -> enter(key)
            fi
#ifndef NO_REMOVE
        :: g != 3 -> remove(g, key)
#endif
#ifdef CLEARS
        :: atomic { change(0, 0); change(1, 0); store(EPOCH, mem[EPOCH] + 1, true) }
#endif
        fi;
        atomic { /* whoever takes the lock next sees all of it */
            b_n == 0;
            cur[0] = nxt[0]; cur[1] = nxt[1]; seen[0] = 0; seen[1] = 0; g = 0; key = 0; lock = 0
        }
    :: else -> break
    od
}

/* ---- reading ---- */

/* A call returns: the value was the key's, and whoever begins later sees it or something newer. */
inline answer(is)
{
    assert((ok[id] & (1 << is)) != 0);
    if
    :: is == nxt[key] && is != cur[key] -> seen[key] = 1
    :: else
    fi;
    looks[id] = 0; ok[id] = 0
}

inline forget()
{
    has_seq = 0; has_tag = 0; has_key = 0; has_bytes = 0; has_meta = 0; has_epoch = 0; has_v0 = 0; has_v1 = 0;
    has_end = 0; has_groups = 0; s1 = 0; s2 = 0; tag = 0; k = 0; bytes = 0; meta = 0; epoch = 0; v0 = 0; v1 = 0;
    again = 0
}

#define OTHERS (has_tag && has_key && has_bytes && has_meta)
#define ALL    (has_seq && OTHERS && has_epoch && has_v0 && has_v1 && has_end && has_groups)

proctype reader(byte id)
{
    byte n, key, tries, n_groups, groups, slots, at, far, s1, s2, tag, k, bytes, meta, epoch, v0, v1, again;
    bool has_seq, has_tag, has_key, has_bytes, has_meta, has_epoch, has_v0, has_v1, has_end, has_groups;
next:
    atomic {
        if
        :: n == CALLS -> goto out
        :: n < CALLS && key == key -> n++; key = 0
        :: n < CALLS -> n++; key = 1
        fi;
        looks[id] = key + 1;
        ok[id] = (1 << nxt[key]) | (seen[key] -> 0 : 1 << cur[key]);
        tries = 0
    };
try:
#ifdef M_GROUPS_READ_FIRST
    groups = mem[GROUPS]; slots = mem[SLOTS];
    atomic { n_groups = mem[N_GROUPS]; far = 0; at = HOME(key, n_groups); goto group };
#else
    n_groups = mem[N_GROUPS]; groups = mem[GROUPS];
    atomic { slots = mem[SLOTS]; far = 0; at = HOME(key, n_groups); goto group };
#endif
group:
    do
    :: atomic { !has_seq ->
            assert(groups == 1 || (at == 0 && !old_freed));
            s1 = mem[SEQ(groups + at)]; has_seq = 1;
#ifndef M_ODD_SEQ_READ
            if
            :: s1 % 2 == 1 -> goto busy
            :: else
            fi
#else
            skip
#endif
        }
    :: atomic { !has_tag && SEQ_FIRST -> tag = mem[TAG(groups + at)]; has_tag = 1;
            if
            :: tag == 0 -> goto not_here
            :: else
            fi
        }
    :: atomic { !has_key && SEQ_FIRST && TAG_FIRST ->
            assert(slots == 1 || (at == 0 && !old_freed));
            k = mem[KEY(slots + at)]; has_key = 1;
#ifndef STRINGS
            has_bytes = 1;
            if
            :: k != key -> goto not_here
            :: else
            fi
#endif
        }
#ifdef STRINGS
    :: atomic { has_key && !has_bytes ->
            has_bytes = 1;
            if
            :: k == NOTHING -> goto not_here
            :: else -> assert(k < 3 && !piece_freed[k]); bytes = mem[BYTES(k)]
            fi;
            if
            :: bytes != key -> goto not_here
            :: else
            fi
        }
#endif
    :: atomic { !has_meta && SEQ_FIRST && BYTES_FIRST -> meta = mem[META(slots + at)]; has_meta = 1 }
    :: atomic { has_meta && !has_epoch -> epoch = mem[EPOCH]; has_epoch = 1 }
    :: atomic { has_meta && !has_v0 -> v0 = mem[V0(slots + at)]; has_v0 = 1 }
    :: atomic { has_meta && !has_v1 -> v1 = mem[V1(slots + at)]; has_v1 = 1 }
    :: atomic { has_seq && WORDS_FIRST && !has_end -> s2 = mem[SEQ(groups + at)]; has_end = 1 }
    :: atomic { has_seq && WORDS_FIRST && !has_groups -> again = mem[GROUPS]; has_groups = 1 }
    :: atomic { ALL -> break }
    od;
    atomic {
#ifndef M_EPOCH_IGNORED
        if
        :: meta != epoch -> goto ask
        :: else
        fi;
#endif
#ifndef M_SEQ_NOT_CHECKED
        if
        :: s1 != s2 -> goto busy
        :: else
        fi;
#endif
#ifndef M_GROUPS_NOT_CHECKED
        if
        :: again != groups -> goto busy
        :: else
        fi;
#endif
        assert(v0 == v1); /* not torn */
        answer(v0)
    };
#ifdef M_USES_WHOLE_WORD
    mem[META(slots + at)] = meta;
#endif
    goto done;
not_here:
    atomic {
        if
        :: n_groups == 2 && !far -> far = 1; at = 1 - at; forget(); goto group
        :: else
        fi;
#ifdef M_MISS_NOT_CONFIRMED
        answer(0); goto done
#else
        goto ask
#endif
    };
busy:
    atomic {
        forget();
#ifdef M_TRIES_FOR_EVER
        tries++; assert(tries <= TRIES + 1); goto try
#else
        if
        :: tries < TRIES -> tries++; goto try
        :: else
        fi
#endif
    };
ask: /* i_look_locked */
    atomic { !lock -> answer(cur[key]) };
done:
    atomic { forget(); n_groups = 0; groups = 0; slots = 0; at = 0; far = 0; tries = 0; key = 0; goto next };
out:
    skip
}

init {
    byte i;
    d_step {
        do
        :: i < 3 -> mem[KEY(i)] = FIRST; mem[BYTES(i)] = NOTHING; i++
        :: else -> break
        od;
        mem[N_GROUPS] = 1; mem[TAG(0)] = 1; mem[KEY(0)] = 0; mem[BYTES(0)] = 0; piece_used[0] = 1;
        mem[V0(0)] = 1; mem[V1(0)] = 1; cur[0] = 1; nxt[0] = 1; i = 0
    };
    atomic {
        run writer();
        do
        :: i < READERS -> run reader(i); i++
        :: else -> i = 0; break
        od
    }
}
