#!/usr/bin/env python3
"""Checks the models of the batch core and of the cache: right as they are, and wrong with any of their mutants.

    tests/models/run.py            everything
    tests/models/run.py NAME ...   these settings and mutants
    tests/models/run.py --list

Needs spin and a C compiler; builds below build/models. A setting passes when the whole state space
was searched and nothing is wrong in it. A mutant (an -DM_NAME) is killed when the search with it
finds an assertion violated or a process that waits for ever. Each mutant names its twin: the same
mistake in the C code, which tests/mutants plants and a C test has to notice. None: the C code has no
such step to take out yet, and the model is ahead of it.
"""
import concurrent.futures
import glob
import os
import re
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
BUILD = os.path.join(ROOT, "build", "models")
CC = os.environ.get("CC", "cc")
LIMIT_S = 100  # of one search; the longest takes 20 s
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "mutants"))

# name: (model, macros; what they mean stands at its head)
SETTINGS = {
    "three": ("leader_follower", "MAXF=2"),
    "unbatched": ("leader_follower",
                  "K=3 NB=5 MAX_BATCH=1 MAX_IN_FLIGHT=2 WANT0=3 WANT1=2 WANT2=4"),
    "hanging": ("leader_follower",
                "K=3 NB=5 MAX_BATCH=1 MAX_IN_FLIGHT=2 WANT0=3 WANT1=2 WANT2=4 NO_LIMIT"),
    "rest": ("leader_follower", "K=3 NB=5 MAX_IN_FLIGHT=2 WANT0=7 WANT1=4 NO_LIMIT"),
    "one-by-one": ("leader_follower", "MAX_BATCH=1 MAX_IN_FLIGHT=1 WANT2=1"),
    "four": ("leader_follower",
             "N=4 K=5 NB=6 MAX_IN_FLIGHT=2 WANT1=2 WANT2=28 WANT3=16 NO_LIMIT ONLY_HANGS"),
    "loop": ("leader_follower", "LOOP MAX_BATCH=1 WANT1=1 WANT2=2"),
    "nested": ("leader_follower", "NESTED WANT2=2"),
    "nested-deadline": ("leader_follower", "NESTED WANT2=2 MAXF=2"),
    "calling": ("leader_follower", "CALLING WANT2=2"),
    "calling-four": ("leader_follower", "CALLING N=4 NB=5 K=3 WANT1=2 WANT2=1 WANT3=2"),
    "clears": ("leader_follower", "CLEARS N=2 NB=4 WANT1=3"),
    "clears-three": ("leader_follower", "CLEARS NB=4 MAXF=0"),
    "dispatch": ("leader_follower", "DISPATCH"),
    "expect": ("leader_follower", "EXPECT MAX_BATCH=3 K=3 WANT2=4"),
    "announced": ("leader_follower", "ANNOUNCED=3 GROUPS=1 MAX_BATCH=9 K=3 WANT2=4 MAXF=0"),
    "crowd": ("leader_follower", "CROWD MAX_BATCH=9 MAXF=0"),
    "async": ("leader_follower", "ASYNC N=2 NB=3 WANT0=3"),
    "groups": ("leader_follower", "GROUPS=1 SLOW=1 WANT2=2 MAXF=2"),
    "groups-place": ("leader_follower", "GROUPS=2 SLOW=2 K=3 WANT2=4"),
    "groups-two": ("leader_follower", "GROUPS=1 K=3 NB=5 MAX_IN_FLIGHT=2 WANT2=4 MAXF=2"),
    "room": ("room", "N=4 MAX_QUEUE=2 MAXF=2"),
    "room-one": ("room", "NESTED"),
    "room-hangs": ("room", "N=4 MAX_QUEUE=2 MAXF=2 HANGS"),
    "room-closes": ("room", "HANGS CLOSES NO_LIMIT"),
    "crew": ("crew", "T=3 ONCE=1"),
    "crew-leaves": ("crew", "T=3 LEAVES ONCE=1"),
    "crew-meets": ("crew", "T=3 L=4 MEET ONCE=1 LOOKS=1"),
    "crew-meets-left": ("crew", "T=3 L=3 MEET LEAVES ONCE=1 LOOKS=1"),
    "crew-looks": ("crew", "T=3 ONCE=1 LOOKS=2"),
    "crew-crossed": ("crew", "T=3 L=3 CROSSED ONCE=2"),
    "crew-deadline": ("crew", "T=3 MAXF=1"),
    "crew-cancelled": ("crew", "T=3 MAXF=1 CANCEL"),
    "crew-small": ("crew", "T=3 MAXF=2 LEAVES MAX_BATCH=2"),
    "crew-callback": ("crew", "CALLBACK MAXF=1"),
    "crew-others": ("crew", "O=1 MAX_BATCH=1 MAXF=1"),
    "crew-far": ("crew", "O=2 FAR MAX_BATCH=1"),
    "crew-busy": ("crew", "T=3 O=1 BUSY"),
    "wakeup": ("wakeup", ""),
    "wakeup-two": ("wakeup", "WORKERS=2"),
    "read": ("read", "OPS=3"),
    "read-two": ("read", "OPS=2"),
    "read-twice": ("read", "OPS=2 CALLS=2 STRINGS"),
    "read-strings": ("read", "OPS=3 STRINGS"),
    "read-grows": ("read", "OPS=3 GROWS STRINGS FAR"),
    "read-grows-apart": ("read", "OPS=2 GROWS"),
    "read-clears": ("read", "OPS=3 CLEARS NO_REMOVE"),
    "lease": ("lease", ""),
    "lease-three": ("lease", "NP=3"),
    "locked": ("lease", "LOCKED NP=3"),
    "locked-loses": ("lease", "LOCKED LOSES NP=3"),
    "tracking": ("tracking", ""),
    "tracking-two": ("tracking", "THREADS=2 LOADS=2 WRITES=2"),
    "tracking-breaks": ("tracking", "BREAKS=2 WRITES=2 LOADS=2"),
    "barrier": ("barrier", "BREAKS=1"),
    "barrier-breaks": ("barrier", "WRITES=1"),
    "tiered": ("tiered", ""),
    "tiered-three": ("tiered", "NR=3 NW=1"),
    "tiered-twice": ("tiered", "NR=1 READS=2"),
}

LARGE = ("four", "clears-three", "dispatch", "wakeup-two", "read", "read-twice", "read-strings", "read-grows",
         "read-grows-apart", "read-clears", "lease-three", "tracking-two", "tiered",
         "tiered-three", "tiered-twice")

# name: (setting that kills it, twin in tests/mutants/mutants.py)
MUTANTS = {
    # the lead passes on
    "NO_HANDOFF": ("three", "deadline_keeps_lead"),
    "SENDER_KEEPS_LEAD": ("four", "sender_keeps_lead"),
    "LEAD_KEPT": ("three", "dead_leader_stays"),
    "FULL_NO_WAKE": ("expect", "enqueue_wakes_nobody"),
    "ONLY_LEADER_SENDS": ("crowd", None),
    # a free place is used
    "FINISH_NO_NUDGE": ("three", "finish_wakes_nobody"),
    "ABANDON_NO_NUDGE": ("one-by-one", "abandon_wakes_nobody"),
    "CALL_NO_NUDGE": ("calling", None),
    "TAKE_BEFORE_ABANDON": ("one-by-one", "takes_before_abandoning"),
    "NUDGE_AWAKE": ("hanging", "wakes_who_is_awake"),
    "NUDGE_HEAD_ONLY": ("loop", "wakes_at_the_head_only"),
    "NUDGE_TIMED": ("groups", None),
    "KEEPS_THE_PLACE": ("groups-place", None),
    "DEAD_STAYS_QUEUED": ("unbatched", "dead_batch_stays_queued"),
    "NESTED_TAKES_A_PLACE": ("nested", "nested_takes_a_place"),
    "NESTED_FOLLOWS": ("nested", "nested_load_follows"),
    "FOLLOWER_NO_LIMIT": ("three", "follower_without_limit"),
    # keys that are expected
    "EXPECT_PER_BATCH": ("announced", None),
    "EXPECT_SENDS_ONE": ("announced", None),
    # answers
    "DELIVER_NO_WAKE": ("three", "answer_wakes_nobody"),
    "NO_LOOK_AGAIN": ("three", "look_again_left_out"),
    "ABANDONED_STAYS": ("three", "late_answer_counts"),
    "GIVE_WHILE_USED": ("async", "batch_given_while_used"),
    # clears
    "NO_DETACH": ("clears", "flight_not_detached_on_clear"),
    "CLEAR_ALL_JOINED": ("clears", "clear_all_is_joined"),
    "CLEARED_STORED": ("clears", "clear_all_in_flight_stored"),
    "TOKEN_LATE": ("clears", "token_taken_late"),
    # the line for room in the queue
    "ROOM_NO_WAKE": ("room-one", None),
    "LINE_NO_NEXT": ("room-one", None),
    "LINE_BACKWARDS": ("room-one", None),
    "BARGES": ("room-one", None),
    "CANCELLED_STAYS_IN_LINE": ("room-one", None),
    "ROOM_NO_LIMIT": ("room-hangs", None),
    "FETCH_WAITS_FOR_ROOM": ("room-one", None),
    "CLOSE_WAKES_NOBODY": ("room-closes", None),
    # threads of a registry
    "COUNTED_TOO_LONG": ("crew-meets", None),
    "ANSWERED_COUNTED": ("crew", None),
    "ROUND_SENDS_AT_ONCE": ("crew", None),
    "ROUND_PARKED": ("crew-meets", None),
    "LEAVER_SENDS_NOTHING": ("crew-leaves", None),
    "LEAVER_GONE": ("crew-meets-left", None),
    "LEAVER_LOOKS_ONCE": ("crew-leaves", None),
    "ROUNDS_OVERLAP": ("crew-looks", None),
    "ROUND_LATE": ("crew-looks", None),
    "AWAKE_COUNTED": ("crew-meets-left", None),
    "WOKEN_STAYS_COUNTED": ("crew-cancelled", None),
    "LATE_COUNTED": ("crew-others", None),
    "DESERTER_STAYS": ("crew-cancelled", None),
    "DESERTER_PARKED": ("crew-cancelled", None),
    "CALLBACKS_LEFT": ("crew-callback", None),
    "FOLLOWS_CREW": ("crew-busy", None),
    # wake-ups without the mutex
    "PARKS_IN_DEBT": ("wakeup", None),
    "OWES_THE_AWAKE": ("wakeup", None),
    "CHAIN_TAKEN_LATE": ("wakeup", None),
    "NEXT_AFTER_PAY": ("wakeup", None),
    "NO_COLLECT": ("wakeup", None),
    "COLLECT_WITHOUT_BED": ("wakeup", None),
    "CANCELLED_NO_COLLECT": ("wakeup", None),
    "SEEN_LATE": ("wakeup", None),
    "NOTE_WITHOUT_BED": ("wakeup", None),
    "SIGNAL_FIRST": ("wakeup", None),
    # hits without the lock: what is ordered
    "OPEN_LATE": ("read-two", "opened_late"),
    "SHUT_EARLY": ("read-two", "shut_early"),
    "SEQ_READ_LATE": ("read-two", "seq_read_late"),
    "TAG_READ_LATE": ("read-two", "tags_ignored"),
    "KEY_READ_LATE": ("read-two", "key_read_late"),
    "BYTES_READ_LATE": ("read-twice", None),
    "WORDS_READ_LATE": ("read-two", "words_read_late"),
    # ... what readers are told
    "REPLACED_UNSEEN": ("read-two", "replaced_unseen"),
    "REMOVED_UNSEEN": ("read-strings", "removed_unseen"),
    "TAKEN_UNSEEN": ("read-two", "taken_unseen"),
    "TAG_BEFORE_OPEN": ("read-two", "tag_before_open"),
    "ODD_SEQ_READ": ("read-two", "odd_seq_read"),
    "SEQ_NOT_CHECKED": ("read-two", "seq_not_checked"),
    "SEQ_WRAPS": ("read", None),
    "EPOCH_IGNORED": ("read-clears", "epoch_ignored"),
    "MISS_NOT_CONFIRMED": ("read-grows-apart", "miss_not_confirmed"),
    "TRIES_FOR_EVER": ("read-two", "tries_for_ever"),
    "USES_WHOLE_WORD": ("read-clears", "uses_whole_word"),
    # ... and the memory that they look at
    "GROUPS_NOT_CHECKED": ("read-grows", "groups_not_checked"),
    "GROUPS_READ_FIRST": ("read-grows-apart", None),
    "GROWN_BACKWARDS": ("read-grows-apart", "grown_backwards"),
    "PUBLISHED_RELAXED": ("read-grows-apart", "grown_backwards"),
    "OUTGROWN_FREED": ("read-grows-apart", "outgrown_freed"),
    "PIECES_FREED": ("read-strings", None),
    "SLOTS_NOT_ZEROED": ("read-grows", "slots_not_zeroed"),
    # leases, between processes: the store's part
    "PLAIN_SET": ("lease", None),
    "GE_CHECK": ("lease", None),
    "TOKEN_REUSE": ("lease", None),
    "DROP_ANY": ("lease", None),
    "DELETE_KEEPS_LEASE": ("lease", None),
    # ... and the loader's; no store can mend a writer who dies before it says what it wrote
    "ALL_FETCH": ("lease", None),
    "DELETE_FIRST": ("lease", None),
    "WRITER_DIES": ("lease", None),
    "LOCKED_UNASKED": ("locked", "locked_unasked"),
    # invalidations over a channel that breaks: the loader's part
    "KEY_KEEPS_FLIGHTS": ("tracking", "sink_key_keeps_flights"),
    "DOWN_KEEPS_CACHE": ("tracking", "sink_down_keeps_cache"),
    "UP_KEEPS_FLIGHTS": ("tracking", "sink_up_keeps_flights"),
    "DEAF_CACHES": ("tracking", "deaf_loader_caches"),
    "STARTS_UP": ("tracking", "sink_starts_up"),
    # ... and the channel's
    "ONE_LOSS": ("tracking", None),
    "NOLOOP": ("tracking", None),
    # ... its barrier, in adapters/
    "PONG_FIRST": ("barrier", None),
    "FLIGHTS_JOINED": ("barrier", None),
    "UP_LAST": ("barrier", None),
    "OLD_MARK": ("barrier", None),
    "D_UNSEEN": ("barrier", None),
    # a store in front of another
    "REFILL_UNCHECKED": ("tiered", "tiered_refill_unchecked"),
    "NO_DRAIN": ("tiered", "tiered_write_does_not_wait"),
    "NUMBER_BEFORE_ONLY": ("tiered", "tiered_write_counts_before_only"),
    "BOTH_FILL": ("tiered", "tiered_two_writes_both_fill"),
    "STAYS_BELIEVED": ("tiered", "tiered_believes_what_stayed"),
    "CLEARS_BESIDE_REFILL": ("tiered", "tiered_clears_beside_a_refill"),
}


def sh(args, folder, log, limit_s=LIMIT_S):
    with open(os.path.join(folder, log), "w", encoding="utf-8") as out:
        return subprocess.run(args, cwd=folder, stdout=out, stderr=subprocess.STDOUT,
                              stdin=subprocess.DEVNULL, timeout=limit_s, check=False).returncode


def text_of(folder, log):
    with open(os.path.join(folder, log), encoding="utf-8", errors="replace") as f:
        return f.read()


def search(name, model, macros):
    """What the search found: (states, None) or (states, what is wrong); an exception when it could
    not be made, or did not come to its end."""
    folder = os.path.join(BUILD, name)
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    for part in glob.glob(os.path.join(HERE, "*.pml")):
        shutil.copy(part, folder)
    defines = ["-D" + m for m in macros.split()]
    if sh(["spin", "-a", *defines, model + ".pml"], folder, "spin.log"):
        raise RuntimeError("spin: " + text_of(folder, "spin.log")[:500])
    # Most searches are short, and mutants die early: their compile time is what counts.
    level = "-O2" if name in LARGE else "-O0"
    if sh([CC, level, "-w", "-DSAFETY", "-DCOLLAPSE", "-DVECTORSZ=1024", "-DMEMLIM=1000",
           "-o", "pan", "pan.c"], folder, "cc.log"):
        raise RuntimeError("cc: " + text_of(folder, "cc.log")[:500])
    sh(["./pan", "-m100000"], folder, "pan.log")
    log = text_of(folder, "pan.log")
    states = re.search(r"(\d+) states, stored", log)
    errors = re.search(r"errors: (\d+)", log)
    if not states or not errors:
        raise RuntimeError("the search did not end well: " + log[-500:])
    wrong = re.search(r"^pan:\d+: (.*)$", log, re.M)
    if errors.group(1) == "0" and (wrong or "Search not completed" in log or "too small" in log):
        raise RuntimeError("not everything was searched: " + log[:500])
    return int(states.group(1)), wrong.group(1) if wrong else None


def check_setting(name):
    states, wrong = search(name, *SETTINGS[name])
    return wrong is None, "%s (%d states)" % (wrong or "nothing wrong", states)


def check_mutant(name):
    setting, twin = MUTANTS[name]
    from mutants import MUTANTS as TWINS  # pylint: disable=import-outside-toplevel
    if twin and twin not in [m["name"] for m in TWINS]:
        return False, "its twin %s is not among tests/mutants" % twin
    model, macros = SETTINGS[setting]
    _, wrong = search(name, model, macros + " M_" + name)
    return wrong is not None, "%s, with %s" % (wrong or "nobody noticed", setting)


def check_names():
    """The mutants of the models are those of the list."""
    in_models = set()
    for part in glob.glob(os.path.join(HERE, "*.pml")):
        with open(part, encoding="utf-8") as f:
            in_models |= set(re.findall(r"\bM_([A-Z_]+)\b", f.read()))
    odd = sorted(in_models ^ set(MUTANTS))
    return not odd, "not in both: " + ", ".join(odd) if odd else "all mutants are listed"


def main(argv):
    if argv == ["--list"]:
        print("\n".join([*SETTINGS, *MUTANTS]))
        return 0
    unknown = [a for a in argv if a not in SETTINGS and a not in MUTANTS]
    if unknown or not shutil.which("spin"):
        print("models: %s" % ("no such name: " + ", ".join(unknown) if unknown else "spin is not here"),
              file=sys.stderr)
        return 2
    passed = failed = 0
    with concurrent.futures.ThreadPoolExecutor(min(2, os.cpu_count() or 1)) as pool:
        jobs = [("names", pool.submit(check_names))] if not argv else []
        for names, check in ((SETTINGS, check_setting), (MUTANTS, check_mutant)):
            jobs += [(n, pool.submit(check, n)) for n in names if not argv or n in argv]
        for name, job in jobs:
            try:
                good, text = job.result()
            except (RuntimeError, subprocess.TimeoutExpired) as e:
                good, text = False, str(e)
            print("# %-6s %-22s %s" % ("ok" if good else "FAILED", name, text), flush=True)
            passed += good
            failed += not good
    print("models: %d passed, %d failed" % (passed, failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
