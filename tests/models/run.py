#!/usr/bin/env python3
"""Checks the model of the batch core: right as it is, and wrong with any of its mutants.

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
import os
import re
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
BUILD = os.path.join(ROOT, "build", "models")
MODEL = os.path.join(HERE, "leader_follower.pml")
CC = os.environ.get("CC", "cc")
LIMIT_S = 100  # of one search; the longest takes 20 s
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "mutants"))

# Macros of the model; what they mean stands at its head.
SETTINGS = {
    "three": "MAXF=2",
    "unbatched": "K=3 NB=5 MAX_BATCH=1 MAX_IN_FLIGHT=2 WANT0=3 WANT1=2 WANT2=4",
    "hanging": "K=3 NB=5 MAX_BATCH=1 MAX_IN_FLIGHT=2 WANT0=3 WANT1=2 WANT2=4 NO_LIMIT",
    "rest": "K=3 NB=5 MAX_IN_FLIGHT=2 WANT0=7 WANT1=4 NO_LIMIT",
    "one-by-one": "MAX_BATCH=1 MAX_IN_FLIGHT=1 WANT2=1",
    "four": "N=4 K=5 NB=6 MAX_IN_FLIGHT=2 WANT1=2 WANT2=28 WANT3=16 NO_LIMIT ONLY_HANGS",
    "loop": "LOOP MAX_BATCH=1 WANT1=1 WANT2=2",
    "nested": "NESTED WANT2=2",
    "nested-deadline": "NESTED WANT2=2 MAXF=2",
    "clears": "CLEARS N=2 NB=4 WANT1=3",
    "clears-three": "CLEARS NB=4 MAXF=0",
    "dispatch": "DISPATCH",
    "expect": "EXPECT MAX_BATCH=3 K=3 WANT2=4",
    "async": "ASYNC N=2 NB=3 WANT0=3",
}

# name: (setting that kills it, twin in tests/mutants/mutants.py)
MUTANTS = {
    # the lead passes on
    "NO_HANDOFF": ("three", "deadline_keeps_lead"),
    "SENDER_KEEPS_LEAD": ("four", "sender_keeps_lead"),
    "LEAD_KEPT": ("three", "dead_leader_stays"),
    "FULL_NO_WAKE": ("expect", "enqueue_wakes_nobody"),
    # a free place is used
    "FINISH_NO_NUDGE": ("three", "finish_wakes_nobody"),
    "ABANDON_NO_NUDGE": ("one-by-one", "abandon_wakes_nobody"),
    "TAKE_BEFORE_ABANDON": ("one-by-one", "takes_before_abandoning"),
    "NUDGE_AWAKE": ("hanging", "wakes_who_is_awake"),
    "NUDGE_HEAD_ONLY": ("loop", "wakes_at_the_head_only"),
    "DEAD_STAYS_QUEUED": ("unbatched", "dead_batch_stays_queued"),
    "NESTED_TAKES_A_PLACE": ("nested", "nested_takes_a_place"),
    "NESTED_FOLLOWS": ("nested", "nested_load_follows"),
    "FOLLOWER_NO_LIMIT": ("three", "follower_without_limit"),
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
}


def sh(args, folder, log, limit_s=LIMIT_S):
    with open(os.path.join(folder, log), "w", encoding="utf-8") as out:
        return subprocess.run(args, cwd=folder, stdout=out, stderr=subprocess.STDOUT,
                              stdin=subprocess.DEVNULL, timeout=limit_s, check=False).returncode


def text_of(folder, log):
    with open(os.path.join(folder, log), encoding="utf-8", errors="replace") as f:
        return f.read()


def search(name, macros):
    """What the search found: (states, None) or (states, what is wrong); an exception when it could
    not be made, or did not come to its end."""
    folder = os.path.join(BUILD, name)
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    shutil.copy(MODEL, folder)
    defines = ["-D" + m for m in macros.split()]
    if sh(["spin", "-a", *defines, os.path.basename(MODEL)], folder, "spin.log"):
        raise RuntimeError("spin: " + text_of(folder, "spin.log")[:500])
    # A mutant dies early, so its compile time is what counts.
    level = "-O0" if "M_" in macros else "-O2"
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
    states, wrong = search(name, SETTINGS[name])
    return wrong is None, "%s (%d states)" % (wrong or "nothing wrong", states)


def check_mutant(name):
    setting, twin = MUTANTS[name]
    from mutants import MUTANTS as TWINS  # pylint: disable=import-outside-toplevel
    if twin and twin not in [m["name"] for m in TWINS]:
        return False, "its twin %s is not among tests/mutants" % twin
    _, wrong = search(name, SETTINGS[setting] + " M_" + name)
    return wrong is not None, "%s, with %s" % (wrong or "nobody noticed", setting)


def check_names():
    """The mutants of the model are those of the list."""
    with open(MODEL, encoding="utf-8") as f:
        in_model = set(re.findall(r"\bM_([A-Z_]+)\b", f.read()))
    odd = sorted(in_model ^ set(MUTANTS))
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
