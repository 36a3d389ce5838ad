#!/usr/bin/env python3
"""Plants one mistake at a time into a copy of dataloader.h or of an adapter and demands that a test turns red.

    tests/mutants/run.py              all of them
    tests/mutants/run.py NAME ...     these
    tests/mutants/run.py --share N    every N-th, beginning at one that the commit says (or SHARE=, 0 to N-1):
                                      what `make check` has time for; after N commits each had its turn
    tests/mutants/run.py --list

Each mutant (mutants.py) says which part of the header, or which adapters/x.h, it changes, the exact old text, the new
one, and which suites are to notice. Old text that is not found exactly once in that part is an
error, and so is a mutant that does not compile, or a suite that is red without a mutant: a mutant is
killed by a test's verdict, a crash or a hang, and by nothing else.
"""
import concurrent.futures
import os
import re
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, HERE)
sys.dont_write_bytecode = True
from mutants import MUTANTS  # noqa: E402

CC = os.environ.get("CC", "cc")
FLAGS = ["-std=c11", "-O0", "-w"]
TIMEOUT_S = 120  # a hang is a verdict, too; sound suites stay far below it, also on a busy machine
# Small and repeatable: a mutant must not be killed by luck.
ENV = dict(os.environ, TEST_SCALE="2", SEED="7", DLOAD_TESTS=os.path.join(ROOT, "tests"),
           DLOAD_TRACES=os.path.join(HERE, "none"))


class Trouble(Exception):
    """The mutant or its suite is not usable."""


def part_of(header, part):
    """Where a part begins and ends; its banner is written by gen/amalgamate."""
    banners = [(m.group(1), m.start())
               for m in re.finditer(r"^/\* ==== (\S+) ==== \*/$", header, re.M)]
    for i, (name, start) in enumerate(banners):
        if name == part:
            return start, banners[i + 1][1] if i + 1 < len(banners) else len(header)
    raise Trouble("no part %s in dataloader.h" % part)


def mutate(files, mutant):
    """The files with one mistake in them: in a part of dataloader.h, or in an adapter."""
    name = mutant["part"] if mutant["part"].startswith("adapters/") else "dataloader.h"
    header = files[name]
    start, end = (0, len(header)) if name == mutant["part"] else part_of(header, mutant["part"])
    body = header[start:end]
    found = body.count(mutant["old"])
    if found != 1:
        raise Trouble("old text found %d times in %s, not once" % (found, mutant["part"]))
    changed = header[:start] + body.replace(mutant["old"], mutant["new"]) + header[end:]
    return dict(files, **{name: changed})


def read_files():
    """dataloader.h and the adapters, by their names below the root."""
    files = {}
    adapters = [os.path.relpath(os.path.join(folder, a), ROOT).replace(os.sep, "/")
                for folder, _, inside in os.walk(os.path.join(ROOT, "adapters")) for a in inside]
    for name in ["dataloader.h"] + sorted(a for a in adapters if a.endswith(".h")):
        with open(os.path.join(ROOT, *name.split("/")), encoding="utf-8") as f:
            files[name] = f.read()
    return files


def links_of(suite):
    """What its "links:" marker asks for."""
    with open(os.path.join(ROOT, "tests", suite + ".c"), encoding="utf-8") as f:
        found = re.search(r"^/\* links: *(.*?) *\*/", f.read(), re.M)
    return ["-l" + name for name in found.group(1).split()] if found else []


def command(args, **kwargs):
    return subprocess.run(args, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          universal_newlines=True, errors="replace", **kwargs)


def build(include, suite, lock, program, support):
    """include is the folder whose dataloader.h is meant."""
    lock, *defines = lock.split(",")
    section = ["-include", "tests/custom_lock.h", "tests/custom_lock.c"] if lock == "CUSTOM" else []
    done = command([CC, *FLAGS, "-DTEST_LOCK=DLOAD_LOCK_" + lock, *["-D" + d for d in defines], *section,
                    "-I" + include, "-Itests",
                    "tests/%s.c" % suite, support, "-o", program, "-lcmocka", *links_of(suite), "-lpthread"])
    if done.returncode:
        raise Trouble("%s does not compile:\n%s" % (suite, done.stdout[:2000]))


def verdict(program):
    """None when every test passed, else what went wrong, in a few words."""
    try:
        done = command([program], env=ENV, timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired:
        return "hangs"
    if done.returncode < 0:
        return "dies of signal %d" % -done.returncode
    if done.returncode:
        failed = re.findall(r"^\[  (?:FAILED|ERROR )  \] (.*[a-z].*)$", done.stdout, re.M)
        failed = [f for f in failed if not f.startswith("---") and "listed below" not in f]
        return failed[0] if failed else "ends with %d" % done.returncode
    return None


def build_and_run(folder, files, suites, support):
    """The first suite that goes red on these headers, and why; None when none does."""
    for name, text in files.items():
        os.makedirs(os.path.join(folder, *name.split("/")[:-1]), exist_ok=True)
        with open(os.path.join(folder, *name.split("/")), "w", encoding="utf-8") as f:
            f.write(text)
    for suite, lock in suites:
        program = os.path.join(folder, "%s.%s" % (suite, lock))
        build(folder, suite, lock, program, support)
        why = verdict(program)
        os.remove(program)
        if why:
            return "%s (%s): %s" % (suite, lock, why)
    return None


def suites_of(mutant):
    """"test_x", "test_x:LOCK" or "test_x:LOCK,DEFINE=1"."""
    return [tuple((name + ":NONE").split(":")[:2]) for name in mutant["suites"]]


def share(n):
    """Every n-th mutant."""
    first = os.environ.get("SHARE")
    if first is None:
        done = command(["git", "rev-list", "--count", "HEAD"])
        first = done.stdout if done.returncode == 0 else "0"
    first = int(first) % n
    print("# every %dth mutant from number %d on, of %d (SHARE=%d)" % (n, first, len(MUTANTS), first))
    return MUTANTS[first::n]


def main(argv):
    names = [m["name"] for m in MUTANTS]
    if argv == ["--list"]:
        print("\n".join(names))
        return 0
    chosen = MUTANTS
    if argv[:1] == ["--share"]:
        chosen = share(int(argv[1]))
        argv = []
    unknown = [a for a in argv if a not in names]
    if unknown or len(set(names)) != len(names):
        print("mutants: no such mutant, or two of that name: %s" % ", ".join(unknown or names),
              file=sys.stderr)
        return 2
    chosen = [m for m in chosen if not argv or m["name"] in argv]
    files = read_files()
    work = tempfile.mkdtemp(prefix="mutants.")
    os.makedirs(os.path.join(ROOT, "build"), exist_ok=True)  # where suites keep their files
    passed = failed = 0
    try:
        support = os.path.join(work, "support.o")
        done = command([CC, *FLAGS, "-I.", "-Itests", "-c", "tests/support.c", "-o", support])
        if done.returncode:
            print(done.stdout)
            return 2
        jobs = []
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 2) as pool:
            # Without a mutant everything must be green, or a red suite would prove nothing.
            for suite in sorted({s for m in chosen for s in suites_of(m)}):
                folder = os.path.join(work, "none.%s.%s" % suite)
                jobs.append((None, suite,
                             pool.submit(build_and_run, folder, files, [suite], support)))
            for m in chosen:
                folder = os.path.join(work, m["name"])
                jobs.append((m, None, pool.submit(
                    lambda m=m, folder=folder: build_and_run(
                        folder, mutate(files, m), suites_of(m), support))))
            for m, suite, job in jobs:
                try:
                    why = job.result()
                    good = (why is None) == (m is None)
                    text = why or ("green without a mutant" if m is None else "nobody noticed")
                except Trouble as e:
                    good, text = False, str(e)
                label = m["name"] if m else "%s (%s) unchanged" % suite
                if m is not None or not good:
                    print("# %-8s %-28s %s" % ("killed" if good else "FAILED", label, text),
                          flush=True)
                    passed += good
                    failed += not good
    finally:
        shutil.rmtree(work, ignore_errors=True)
    print("mutants: %d passed, %d failed" % (passed, failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
