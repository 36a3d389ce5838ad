"""make bench-missratio: what the policies miss, on real traces where those are and on generated ones, their
regret against the best of each cell, and requests a second."""

import array
import bisect
import csv
import itertools
import os
import random
import shutil
import statistics
import subprocess
import tempfile

from driver import ask_all, measure, open_contenders
from page import BenchError

TITLE = "Misses by eviction policy"
POLICIES = ("FIFO", "CLOCK", "LRU", "SIEVE", "S3FIFO", "ADAPTIVE")
OURS = "ADAPTIVE"
VARIANTS = ("ROOM_2", "ROOM_8", "LUCK_32", "LUCK_128", "LEAP_8", "LEAP_32", "START_5", "START_20",
            "LEAST_50", "LEAST_200")
NUMBERS = {"ROOM": 4, "LUCK": 64, "LEAP": 16, "START": 10, "LEAST": 100}
TRACES = ("arc-OLTP", "arc-P3", "orm-busy")
MEAN_PP, WORST_PP = 1.0, 4.0  # of regret, on these
SIZES = (64, 512, 4096)       # of caches for generated requests
N_FULL, N_QUICK, N_TINY = 400000, 60000, 6000
# Requests a second: uniform keys, so many times the capacity of them.
REPLAY_CAP, REPLAY_RANGE, REPLAY_NS = 10000, 20, 50
HIT_MOST = 1.05               # a hit, against S3FIFO's


def zipf(rng, n_keys, exponent):
    """A function that draws a rank from 0, by 1 / (rank + 1) ** exponent."""
    sums = list(itertools.accumulate((rank + 1) ** -exponent for rank in range(n_keys)))
    return lambda: bisect.bisect(sums, rng.random() * sums[-1])


def popular(n):
    draw = zipf(random.Random(1), 20000, 0.9)
    return [draw() for _ in range(n)]


def drifting(n):
    """Popular keys; every ten requests a new one comes to the front and all others move back."""
    draw = zipf(random.Random(2), 20000, 1.0)
    return [(1 << 40) + i // 10 - draw() for i in range(n)]


def scanned(n):
    """Popular keys with runs of 2,000 that are used once, a third of all requests."""
    draw = zipf(random.Random(3), 20000, 0.9)
    return [(1 << 41) + i if i // 2000 % 3 == 0 else draw() for i in range(n)]


def looped(n):
    """1,200 keys in a circle, and a tenth of other requests."""
    rng = random.Random(4)
    return [(1 << 42) + rng.randrange(20000) if rng.random() < 0.1 else i % 1200 for i in range(n)]


def twice(n):
    """Every key once or, half of them, once more within 60 requests, and never again."""
    rng, keys, key = random.Random(5), [None] * (n + 61), 1 << 43
    for i in range(n):
        if keys[i] is None:
            keys[i] = key
            again = i + 1 + rng.randrange(60)
            if rng.random() < 0.5 and keys[again] is None:
                keys[again] = key
            key += 1
    return keys[:n]


def working_set(n):
    """Keys around a centre that moves on by one in twenty requests."""
    rng = random.Random(6)
    return [(1 << 44) + int(rng.gauss(i / 20, 300)) for i in range(n)]


def phases(n):
    """All of these, one after the other, twice."""
    kinds = (popular, looped, twice, working_set, scanned, drifting)
    return [key for kind in kinds * 2 for key in kind(n // 12)]


GENERATED = (popular, drifting, scanned, looped, twice, working_set, phases)


def trace_folder():
    here = os.path.dirname(os.path.abspath(__file__))
    return os.environ.get("DLOAD_TRACES") or os.path.join(here, "..", "..", "shared", "traces")


def published():
    """{(trace, capacity): the fewest misses of any policy that does not know the future}"""
    best = {}
    try:
        with open(os.path.join(trace_folder(), "miss-counts.csv"), encoding="utf-8") as file:
            for row in csv.DictReader(file):
                if row["policy"] == "Belady" or row["trace"] not in TRACES:
                    continue
                cell = row["trace"], int(row["cache_objects"])
                for column in ("misses_libcachesim", "misses_refsim"):
                    if row[column]:
                        best[cell] = min(best.get(cell, 1 << 62), int(row[column]))
    except OSError:
        pass
    return best


def replay_all(contenders, capacity):
    """{policy: (misses, requests)}"""
    answers = ask_all(contenders, "replay", capacity=capacity)
    return {name: (answer["n_ops"] - answer["n_hits"], answer["n_ops"])
            for name, answer in answers.items()}


def real_cells(report, contenders, path):
    """[(name of the cell, {policy: (misses, requests)}, best)]"""
    best, cells = {} if report.tiny else published(), []
    if not best or shutil.which("zstd") is None:
        report.text("\nNo real traces: DLOAD_TRACES names no folder with them, or zstd is missing.")
        return cells
    for trace in TRACES:
        with open(path, "wb") as file:
            done = subprocess.run(["zstd", "-dcq", os.path.join(trace_folder(), trace + ".u64.zst")],
                                  stdout=file, check=False)
        if done.returncode != 0:
            raise BenchError(f"cannot unpack {trace}")
        ask_all(contenders, "read")
        for (name, capacity), fewest in sorted(best.items()):
            if name == trace:
                cells.append((f"{trace}, {capacity}", replay_all(contenders, capacity), fewest))
    return cells


def write_keys(path, keys):
    with open(path, "wb") as file:
        array.array("Q", keys).tofile(file)


def generated_cells(report, contenders, path, n):
    """As above; the best is the best of ours."""
    cells = []
    for kind in GENERATED:
        write_keys(path, kind(n))
        ask_all(contenders, "read")
        for capacity in report.sizes(SIZES, SIZES):
            done = replay_all(contenders, capacity)
            fewest = min(done[policy][0] for policy in POLICIES)
            cells.append((f"{kind.__name__}, {capacity}", done, fewest))
    return cells


def regrets(cells, name):
    """Percentage points more than the best, one a cell; a policy that beats the best has none."""
    return [max(0, 100 * (done[name][0] - fewest) / done[name][1]) for _, done, fewest in cells]


def show(report, title, names, cells):
    report.text(f"\n## {title}\n\nMisses in percent of the requests.")
    rows = []
    for cell, done, fewest in cells:
        n = next(iter(done.values()))[1]
        rows.append([cell] + [f"{100 * done[name][0] / n:.2f}" for name in names] +
                    [f"{100 * fewest / n:.2f}"])
    report.table(["trace, entries"] + list(names) + ["best"], rows)
    report.text("\nRegret: percentage points more than the best of a cell.")
    report.table(("policy", "mean", "worst", "its cell"), [
        (name, f"{statistics.mean(regret):.2f}", f"{max(regret):.2f}",
         cells[regret.index(max(regret))][0])
        for name in names for regret in (regrets(cells, name),)])


def plot(report, what, title, cells):
    groups = [cell for cell, _, _ in cells]
    report.bars_plot(what, f"Regret, {title}", "", "percentage points", groups,
                     [(name, regrets(cells, name)) for name in POLICIES])


def sensitivity(report, names, real, generated):
    """ADAPTIVE with one of its numbers halved or doubled."""
    report.text(f"\n## {OURS} with other numbers\n\nRegret in percentage points with one number halved or "
                "doubled; what they mean stands at >>past in the header.")
    rows = []
    for name in [OURS] + [name for name in names if name in VARIANTS]:
        number, _, value = name.partition("_")
        row = [name if not value else f"{number} {value}, not {NUMBERS[number]}"]
        for cells in (real, generated):
            regret = regrets(cells, name) if cells else []
            row += [f"{statistics.mean(regret):.2f}", f"{max(regret):.2f}"] if cells else ["", ""]
        rows.append(row)
    report.table(("numbers", "real: mean", "worst", "generated: mean", "worst"), rows)


def speed(report, contenders, path, n):
    """Mostly misses, and hits only."""
    rng = random.Random(7)
    write_keys(path, [rng.randrange(REPLAY_RANGE * REPLAY_CAP) for _ in range(n)])
    ask_all(contenders, "read")
    missing = measure(report, contenders, "replay", same_work=False, capacity=REPLAY_CAP)
    write_keys(path, [rng.randrange(REPLAY_CAP) for _ in range(n)])
    ask_all(contenders, "read")
    hitting = measure(report, contenders, "replay", same_work=False, capacity=2 * REPLAY_CAP, warm=1)
    report.text(f"\n## Time\n\nOne thread, {REPLAY_CAP} entries. *Mostly misses*: {n} requests for "
                f"{REPLAY_RANGE} x {REPLAY_CAP} keys, each a get and, when it missed, a set that evicts.")
    rows = []
    for name in missing.cost_ns:
        share = missing.median_of(name, lambda answer: answer["n_hits"] / answer["n_ops"])
        n_bytes = missing.last[name]["n_bytes"] / REPLAY_CAP
        rows.append((name, f"{missing.median(name):.1f} ± {missing.spread_pct(name):.0f} %",
                     f"{1000 / missing.median(name):.1f}", f"{100 * share:.1f} %",
                     f"{hitting.median(name):.1f} ± {hitting.spread_pct(name):.0f} %", f"{n_bytes:.1f}"))
    report.table(("policy", "ns a request, mostly misses", "M requests/s", "hits", "ns a hit",
                  "bytes an entry"), rows)
    for name in ("S3FIFO", OURS):
        report.ratio(f"replay_mostly_misses_{name.lower()}_ns", missing.median(name), REPLAY_NS,
                     missing.spread_pct(name))
    hitting.compare(report, "hit_adaptive_vs_s3fifo", OURS, "S3FIFO", HIT_MOST)


def run(report, find, options):
    n = N_TINY if report.tiny else N_QUICK if report.quick else N_FULL
    handle, path = tempfile.mkstemp(prefix="keys-", dir=options.build)
    os.close(handle)
    try:
        files = [f"missratio_{policy}" for policy in POLICIES]
        if not report.quick:
            files += [f"missratio_with_{variant}" for variant in VARIANTS]
        contenders = open_contenders([(f, find(f) and find(f) + [path]) for f in files])
        names = [c.name for c in contenders]
        policies = [c for c in contenders if c.name in POLICIES]
        if [c.name for c in policies] != list(POLICIES):
            raise BenchError("not all policies were built")
        report.head(policies, f"real traces to the unit; generated ones of {n} requests; every request a "
                              "get, a miss a set")
        real = real_cells(report, contenders, path)
        generated = generated_cells(report, contenders, path, n)
        if real:
            show(report, "Real traces; best: of fifteen policies, as published", POLICIES, real)
            plot(report, "real", "real traces", real)
        show(report, "Generated requests; best: of these policies", POLICIES, generated)
        plot(report, "", "generated requests", generated)
        if not report.quick:
            sensitivity(report, names, real, generated)
        speed(report, policies, path, n)
        if real:
            report.ratio("adaptive_regret_mean_pp", statistics.mean(regrets(real, OURS)), MEAN_PP)
            report.ratio("adaptive_regret_worst_pp", max(regrets(real, OURS)), WORST_PP)
        report.ratio("adaptive_generated_regret_mean_pp", statistics.mean(regrets(generated, OURS)), MEAN_PP)
        report.ratio("adaptive_generated_regret_worst_pp", max(regrets(generated, OURS)), WORST_PP)
        for contender in contenders:
            contender.close()
    finally:
        os.unlink(path)
