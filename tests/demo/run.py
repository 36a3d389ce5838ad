#!/usr/bin/env python3
"""run.py [NAME...] -- tests of examples/depgraph and the other examples, all or those whose name
contains a NAME.

What depgraph counts is counted here once more, by a reader of its own. Malformed and damaged inputs
go through a build with the address and undefined behaviour sanitizers. SEED= and FUZZ= (how many
damaged inputs) choose what is damaged. Prints TAP lines; the last line is "demo: N passed, N failed".
"""

import collections
import errno
import os
import pty
import random
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time

import reference
from cases import (MALFORMED, QUICKSTART, SAMPLE, SAMPLE_TREE, SAMPLE_TREE_1, big_input, damage)

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BORDERS = "examples/data/borders.txt"
SYSTEM = "/var/lib/dpkg/status"
WORK = "build/demo-test"
SEED = int(os.environ.get("SEED", "1"))
FUZZ = int(os.environ.get("FUZZ", "250"))
SANITIZERS = "-O1 -g -fsanitize=address,undefined -fno-sanitize-recover=undefined"

Done = collections.namedtuple("Done", "status out err")


class Failure(Exception):
    """A test's finding."""


def check(condition, what, done=None):
    if not condition:
        raise Failure(what + (repr_of(done) if done else ""))


def repr_of(done):
    return "\n  status %s\n  stdout: %r\n  stderr: %r" % (done.status, done.out[-1500:], done.err[-1500:])


def build(kind, flags):
    """Builds the examples by the Makefile's own rules; returns their folder."""
    folder = "%s/%s" % (WORK, kind)
    targets = ["%s/%s" % (folder, name) for name in ("depgraph", "quickstart", "request_scope")]
    done = subprocess.run(["make", "-s", "--no-print-directory", "EXDIR=" + folder,
                           "GEN=" + folder + "/gen", "CFLAGS=" + flags] + targets,
                          capture_output=True, text=True, errors="replace", check=False)
    if done.returncode != 0:
        print("not ok - the examples build (%s)" % kind)
        print(re.sub(r"^", "# ", (done.stdout + done.stderr)[-3000:], flags=re.M))
        print("demo: 0 passed, 1 failed")
        sys.exit(1)
    return folder


def small_files_only():
    """In the child: no file may grow beyond two pages, and writing more is an error, not the end."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))


def run(program, *arguments, env=None, stdout=subprocess.PIPE, limit_s=120, before=None):
    settings = dict(os.environ, ASAN_OPTIONS="detect_leaks=1")
    settings.update(env or {})
    try:
        done = subprocess.run([program, *arguments], stdin=subprocess.DEVNULL, stdout=stdout,
                              stderr=subprocess.PIPE, env=settings, timeout=limit_s,
                              preexec_fn=before, check=False)
    except subprocess.TimeoutExpired:
        raise Failure("%s: still running after %d s" % (arguments, limit_s)) from None
    out = (done.stdout or b"").decode("utf-8", "replace")
    return Done(done.returncode, out, done.stderr.decode("utf-8", "replace"))


class Tests:
    """One method test_... each."""

    def __init__(self, scratch):
        self.plain = build("plain", "-O2 -g")
        self.checked = build("checked", SANITIZERS)
        self.scratch = scratch

    def file(self, content, name="input"):
        path = os.path.join(self.scratch, name)
        with open(path, "wb") as f:
            f.write(content if isinstance(content, bytes) else content.encode())
        return path

    def depgraph(self, content, *arguments, **settings):
        """Runs the checked build on content."""
        path = self.file(content)
        return run(self.checked + "/depgraph", "--input", path, *arguments, **settings)

    # ---- what is found ----

    def agrees(self, path, expected):
        """The figures that depgraph prints are the ones counted here."""
        done = run(self.plain + "/depgraph", "--input", path)
        check(done.status == 0 and done.err == "", "status 0, nothing on stderr", done)
        found = re.search(r": (\d+) \w+, (\d+) edges(?:, (\d+) of them)?", done.out)
        check(found is not None, "first line", done)
        counts = tuple(int(n or 0) for n in found.groups())
        check(counts == expected[:3], "packages, edges, missing: %s, not %s" % (counts, expected[:3]))
        asked, names = expected[1] + expected[3], expected[4]
        rows = {}
        for line in done.out.splitlines():
            cells = re.match(r"(a query per edge|loader, batches of (\d+)) +(\S.*)", line)
            if cells:
                numbers = [0 if n == "-" else float(n.replace(",", "")) for n in cells[3].split()]
                rows[cells[2]] = numbers
        check(set(rows) == {None, "1", "100"}, "three ways: %s" % sorted(map(str, rows)), done)
        check(all(row[0] == expected[1] for row in rows.values()), "edges in the table", done)
        check(rows[None][1] == asked, "queries of the naive way: %s, not %d" % (rows[None][1], asked))
        for size in ("1", "100"):
            _, queries, batches, largest, hits, joins = rows[size][:6]
            check(queries == batches, "a query for each batch", done)
            check(hits + joins == asked - names, "what was asked twice: hits %d + joins %d, not %d"
                  % (hits, joins, asked - names), done)
            check(largest <= int(size), "batches of at most %s" % size, done)
        check(rows["1"][1] == names, "each name once with batches of 1", done)
        check(names / 100 <= rows["100"][1] <= names and rows["100"][1] < rows["1"][1], "batches", done)
        check("same graph" in done.out, "the graphs are compared", done)

    def test_counts_system(self):
        if os.path.exists(SYSTEM):
            with open(SYSTEM, "rb") as f:  # a copy: an installation may be going on
                path = self.file(f.read())
            self.agrees(path, reference.count_status(path))

    def test_counts_borders(self):
        self.agrees(BORDERS, reference.count_borders(BORDERS))

    def test_shipped_data(self):
        """Both sides of every border, alphabetical, no country forgotten."""
        borders = reference.read_borders(BORDERS)
        check(len(borders) == 198 and list(borders) == sorted(borders), "198 countries in order")
        for name, (_, neighbours) in borders.items():
            check(neighbours == sorted(set(neighbours)), name)
            for other in neighbours:
                check(name in borders[other][1], "%s and %s" % (name, other))
        check(len({code for code, _ in borders.values()}) == 198, "codes are different")

    def test_tree(self):
        """Alternatives, virtual names, cycles, repeated and cut subtrees, missing packages."""
        done = self.depgraph(SAMPLE, "--package", "app", "--depth", "3")
        check(done.status == 0, "status", done)
        check(done.out.endswith(SAMPLE_TREE), "tree", done)
        check(": 9 packages, 13 edges, 1 of them to what is not there\n" in done.out, "counts", done)
        done = self.depgraph(SAMPLE, "--package", "app", "--depth", "1")
        check(done.out.endswith(SAMPLE_TREE_1), "tree of depth 1", done)

    def test_same_input_written_otherwise(self):
        """CR LF, a last line without end, folded fields, no Status: the same tree."""
        for content in (SAMPLE.replace("\n", "\r\n"), SAMPLE.rstrip("\n"),
                        SAMPLE.replace(", ", ",\n "), SAMPLE.replace("Depends:", "DEPENDS:"),
                        "\n\n" + SAMPLE + "\n \n\n"):
            done = self.depgraph(content, "--package", "app", "--depth", "3")
            check(done.status == 0 and done.out.endswith(SAMPLE_TREE), "tree", done)

    def test_no_status_fields(self):
        """apt's Packages files: everything counts, the removed package too."""
        content = re.sub(r"(?m)^Status: .*\n", "", SAMPLE)
        done = self.depgraph(content, "--package", "gone")
        check(done.status == 0 and ": 10 packages" in done.out, "counts", done)

    def test_default_package(self):
        done = self.depgraph("Package: one\n\nPackage: two\nDepends: one\n")
        check(done.status == 0 and done.out.endswith("two \n`-- one \n"), "who depends on most", done)

    def test_batch_sizes(self):
        for size in ("1", "2", "3", "7", "10000"):
            done = run(self.checked + "/depgraph", "--input", BORDERS, "--batch", size)
            check(done.status == 0 and "same graph" in done.out, "--batch " + size, done)

    def test_long_chain(self):
        """Thirty thousand levels, each of one package; the tree's depth is limited, so is the stack."""
        n = 30000
        lines = ["Package: p%d\nVersion: 1\nDepends: p%d\n" % (i, i + 1) for i in range(n)]
        path = self.file("\n".join(lines))
        done = run(self.plain + "/depgraph", "--input", path, "--package", "p0", "--depth", "64")
        check(done.status == 0 and "p64" in done.out and "p66" not in done.out, "cut at 64", done)

    # ---- what is refused ----

    def test_malformed(self):
        for content, line, message in MALFORMED:
            done = self.depgraph(content)
            place = "%s:%d: " % (os.path.join(self.scratch, "input"), line)
            check(done.status == 2, "%r is refused" % content[:60], done)
            check(done.err.startswith(place) and message in done.err,
                  "%r: line %d, %s" % (content[:60], line, message), done)
            check(done.out == "" and done.err.count("\n") == 1, "one line, on stderr", done)
            check(all(c >= " " or c == "\n" for c in done.err), "no control characters", done)

    def test_unreadable(self):
        cases = [("/no/such/file", os.strerror(errno.ENOENT)), (self.scratch, os.strerror(errno.EISDIR)),
                 ("/dev/zero", ":1: not a text file"), ("/dev/null", ":1: the file is empty")]
        for path, message in cases:
            done = run(self.plain + "/depgraph", "--input", path, limit_s=20)
            check(done.status == 2 and done.err.startswith(path) and message in done.err, path, done)

    def test_arguments(self):
        cases = [(["--depth", "0"], "1 to 64"), (["--depth", "65"], "1 to 64"), (["--batch", "x"], "--batch"),
                 (["--batch", "-1"], "--batch"), (["--batch", "99999999999999999999"], "--batch"),
                 (["--batch", ""], "--batch"), (["--nonsense"], "usage"), (["extra"], "'extra'"),
                 (["--package"], "usage")]
        for arguments, message in cases:
            done = run(self.checked + "/depgraph", "--input", BORDERS, *arguments)
            check(done.status == 2 and message in done.err and done.out == "", str(arguments), done)
        done = run(self.checked + "/depgraph", "--help")
        check(done.status == 0 and done.out.startswith("usage: ") and done.err == "", "--help", done)

    def test_unknown_package(self):
        for asked, meant in (("Swizerland", "'Switzerland'?"), ("Frnace", "'France'?"), ("xyzzyxyzzy", None),
                             ("", None), ("y" * 5000, None)):
            done = run(self.checked + "/depgraph", "--input", BORDERS, "--package", asked)
            check(done.status == 2 and "there is no '%s'" % asked in done.err, asked, done)
            check(meant in done.err if meant else True, "did you mean %s" % meant, done)
        check("did you mean" not in done.err, "nothing is like %d bytes" % len(asked), done)

    def test_differences_are_found(self):
        """The loader's answers falsified in one place, in each way: status 1, and where."""
        for fault in ("row", "size", "missing", "other"):
            for size in ("7", "100"):
                done = run(self.checked + "/depgraph", "--input", BORDERS, "--batch", size,
                           env={"DEPGRAPH_TEST_FAULT": fault})
                check(done.status == 1, "a wrong %s is found" % fault, done)
                check("differ" in done.err or "is not what" in done.err, "it is said where", done)
                check("same graph" not in done.out, "not called the same", done)

    def test_output_not_written(self):
        with open("/dev/full", "wb") as full:
            done = run(self.plain + "/depgraph", "--input", BORDERS, stdout=full)
        check(done.status == 2 and "could not be written" in done.err, "/dev/full", done)

    # ---- what is left behind ----

    def test_temporary_file(self):
        folder = tempfile.mkdtemp(dir=self.scratch)
        done = run(self.plain + "/depgraph", "--input", BORDERS, env={"TMPDIR": folder})
        check(done.status == 0 and os.listdir(folder) == [], "gone after the end", done)
        done = run(self.plain + "/depgraph", "--input", BORDERS, env={"TMPDIR": folder + "/none"})
        check(done.status == 2 and folder + "/none" in done.err, "no folder, no database", done)
        done = run(self.plain + "/depgraph", "--input", BORDERS, env={"TMPDIR": "x" * 5000})
        check(done.status == 2 and "TMPDIR" in done.err, "a name too long", done)

    def test_full_disk(self):
        done = run(self.checked + "/depgraph", "--input", BORDERS, before=small_files_only)
        check(done.status == 2 and "sqlite says: " in done.err and "same" not in done.out, "refused", done)

    def test_killed(self):
        """At any moment, by any signal: nothing is left."""
        path = self.file(big_input(3000))
        folder = tempfile.mkdtemp(dir=self.scratch)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL):
            for wait_s in (0.03, 0.1, 0.2):
                with subprocess.Popen([self.plain + "/depgraph", "--input", path],
                                      stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                      env=dict(os.environ, TMPDIR=folder)) as child:
                    time.sleep(wait_s)
                    child.send_signal(number)
                    child.wait()
                check(os.listdir(folder) == [], "signal %d after %g s" % (number, wait_s))

    # ---- progress ----

    def test_progress(self):
        path = self.file(big_input(500))
        done = run(self.plain + "/depgraph", "--input", path)
        check(done.err == "", "nothing below a second", done)
        eager = {"DEPGRAPH_TEST": "progress"}
        done = run(self.plain + "/depgraph", "--input", path, env=eager)
        for phase in ("reading", "writing the database", "resolving with a query per edge",
                      "resolving through the loader"):
            check(re.search(r"(?m)^%s: \d+ of \d+ \w+$" % phase, done.err), phase, done)
        check("\r" not in done.err and "\x1b" not in done.err, "plain lines in a log", done)
        ours, theirs = pty.openpty()
        with subprocess.Popen([self.plain + "/depgraph", "--input", path], stdout=subprocess.DEVNULL,
                              stderr=theirs, env=dict(os.environ, **eager)) as child:
            os.close(theirs)
            shown = b""
            while True:
                try:
                    piece = os.read(ours, 4096)
                except OSError:  # Linux: the other side was closed
                    break
                if not piece:
                    break
                shown += piece
            check(child.wait() == 0, "status")
        os.close(ours)
        check(b"\rreading: " in shown and shown.endswith(b"\r\x1b[K") and b"\n" not in shown,
              "one line in place on a terminal, wiped at the end: %r" % shown[-200:])

    # ---- damage ----

    def test_damaged(self):
        """Cut, flipped, doubled and shuffled bytes: status 0 or 2, no crash, no report."""
        chance = random.Random(SEED)
        print("# SEED=%d FUZZ=%d" % (SEED, FUZZ))
        with open(BORDERS, "rb") as f:
            borders = f.read()
        bases = [SAMPLE.encode(), borders[:60] + borders[-1500:], borders]
        if os.path.exists(SYSTEM):
            with open(SYSTEM, "rb") as f:
                bases.append(f.read(12000))
        seen = collections.Counter()
        for i in range(FUZZ):
            content = damage(chance, chance.choice(bases))
            done = self.depgraph(content, "--depth", "9")
            if done.status not in (0, 2) or "Sanitizer" in done.err or "runtime error" in done.err:
                kept = "%s/damaged-%d-%d" % (WORK, SEED, i)
                with open(kept, "wb") as f:
                    f.write(content)
                raise Failure("input kept as %s%s" % (kept, repr_of(done)))
            check(done.status == 0 or re.search(r"^[^\n]*input:\d+: [^\n]+\n$", done.err),
                  "a message with the line", done)
            seen[done.status] += 1
        check(seen[0] > FUZZ / 50 and seen[2] > FUZZ / 50, "some pass, some are refused: %s" % seen)

    def test_huge_lines(self):
        name = "n" * 255
        done = self.depgraph("Package: a\nDepends: " + ", ".join("d%d" % i for i in range(20000)) + "\n")
        check(done.status == 0 and ", 20000 edges, 20000 of them" in done.out, "a long Depends", done)
        done = self.depgraph("Package: %s\nDescription: %s\n" % (name, "x" * 3000000))
        check(done.status == 0 and name in done.out, "a long line that does not matter", done)
        done = self.depgraph("y" * 3000000)
        check(done.status == 2 and len(done.err) < 300, "a short message about a long line", done)

    # ---- the other examples ----

    def test_quickstart(self):
        done = run(self.checked + "/quickstart")
        check(done.status == 0 and done.err == "", "status", done)
        check(done.out == QUICKSTART, "what it prints", done)

    def test_request_scope(self):
        done = run(self.checked + "/request_scope", "1000")
        check(done.status == 0, "status", done)
        done = run(self.plain + "/request_scope")
        found = re.search(r"(\d+) ns a request.*\b0 mallocs", done.out, re.S)
        check(done.status == 0 and found, "0 mallocs, ns a request", done)
        for nonsense in ("0", "x", "-1", "99999999999"):
            done = run(self.plain + "/request_scope", nonsense)
            check(done.status == 2 and done.err != "", nonsense, done)


def main():
    os.chdir(ROOT)
    os.makedirs(WORK, exist_ok=True)
    passed = failed = 0
    with tempfile.TemporaryDirectory() as scratch:
        tests = Tests(scratch)
        for name in sorted(n for n in dir(tests) if n.startswith("test_")):
            if sys.argv[1:] and not any(word in name for word in sys.argv[1:]):
                continue
            try:
                getattr(tests, name)()
            except Failure as failure:
                failed += 1
                print("not ok - demo: %s" % name[5:])
                print(re.sub(r"^", "# ", str(failure), flags=re.M), flush=True)
            else:
                passed += 1
                print("ok - demo: %s" % name[5:], flush=True)
    print("demo: %d passed, %d failed" % (passed, failed))
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
