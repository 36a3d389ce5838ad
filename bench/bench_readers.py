"""make bench-readers: hits by threads of a cache that they share, against concurrent maps."""

import os

from driver import MIN_ROUNDS, ROUNDS, Alias, WatchedContender, ask_all, measure, open_contenders
from page import size_name

TITLE = "Hits by threads that share a cache"
CHURN = 20
FULL_SIZES = (1000, 100000)
QUICK_SIZES = (1000, 20000)
WRITE_PCTS = (0, 1, 10)
MAX_THREADS = 8
LOOKUPS = {0: (1 << 21, 1 << 17), 1: (1 << 20, 1 << 16), 10: (1 << 19, 1 << 16)}  # full, QUICK
FILES = ("readers_ours_pthread", "readers_ours_spin", "readers_ours_pthread_no_stats",
         "readers_ours_spin_no_stats", "readers_ck", "readers_rcu_qsbr", "readers_rcu_memb",
         "readers_tbb", "readers_cuckoo", "readers_uthash")
# Ours in metrics; peers in metrics with their targets at 1 k and above it. Of rculfhash the flavour that is
# faster counts.
OURS = (("ours-pthread", ""), ("ours-spin", "_spin"))
PEERS = (("ck_ht", "ck_ht", 0.4, 0.5), ("rculfhash-qsbr", "rculfhash", 0.4, 0.5),
         ("TBB", "tbb", 0.33, 0.33), ("libcuckoo", "libcuckoo", 0.33, 0.33))
TWO_THREADS = 1.05
# Those in which any thread may write.
WRITERS = ("rculfhash-qsbr", "rculfhash-memb", "TBB", "libcuckoo", "rwlock+uthash")
WRITES_TARGET = 0.5


def thread_counts():
    n_cores = min(os.cpu_count() or 1, MAX_THREADS)
    return tuple(sorted({1, 2, n_cores}))


def label(name, n_threads):
    return f"{name} by {n_threads}"


def measure_size(report, contenders, size):
    """Returns {write_pct: rounds} and name -> load in percent."""
    answers = ask_all(contenders, "setup", capacity=size, churn=CHURN)
    by_writes = {}
    for write_pct in WRITE_PCTS:
        n_list = 1 << 12 if report.tiny else 1 << 14 if report.quick else 1 << 17
        ask_all(contenders, "plan", list=n_list, write_pct=write_pct)
        taking_part = [Alias(c, label(c.name, n), "run", threads=n)
                       for c in contenders for n in thread_counts()]
        by_writes[write_pct] = measure(report, taking_part, "run", same_work=False,
                                       n_rounds=MIN_ROUNDS if report.quick else ROUNDS,
                                       passes=2 if report.tiny else
                                       LOOKUPS[write_pct][report.quick] // n_list)
    ask_all(contenders, "drop")
    return by_writes, {name: answer["load_pct"] for name, answer in answers.items()}


def show(report, names, size, by_writes, load_pct):
    header = ["contender"]
    for write_pct in WRITE_PCTS:
        header += [f"{write_pct} % writes, {n} thread{'s' if n > 1 else ''}"
                   for n in thread_counts()]
    rows = []
    for name in names:
        row = [name]
        for rounds in by_writes.values():
            row += [f"{rounds.median(label(name, n)):.1f} ± {rounds.spread_pct(label(name, n)):.0f} %"
                    for n in thread_counts()]
        rows.append(row + [f"{load_pct[name]} %" if load_pct[name] else "see above"])
    report.text(f"\n## {size} entries\n\nns an operation and thread, median of the rounds ± half the "
                "interquartile range; load: entries by buckets or slots.")
    report.table(header + ["load"], rows)


def ratios(report, size, by_writes):
    hits = by_writes[0]
    at = size_name(size)
    for ours, suffix in OURS:
        two = label(ours, 2)
        for peer, metric, small, large in PEERS:
            hits.compare(report, f"readers_{at}_t2{suffix}_vs_{metric}", two, label(peer, 2),
                         small if size <= 1000 else large)
        hits.compare(report, f"readers_{at}_t2{suffix}_vs_t1", two, label(ours, 1), TWO_THREADS)
        writes = by_writes[1]
        there = [label(peer, 2) for peer in WRITERS if label(peer, 2) in writes.cost_ns]
        if there:
            best = min(there, key=writes.median)
            writes.compare(report, f"readers_{at}_t2{suffix}_1pct_writes_vs_best", two, best,
                           WRITES_TARGET)


def run(report, find, options):
    sizes = report.sizes(FULL_SIZES, QUICK_SIZES)
    contenders = open_contenders([(f, find(f)) for f in FILES], WatchedContender)
    names = [c.name for c in contenders]
    report.head(contenders, f"uint64 -> 32 bytes; sizes {', '.join(map(str, sizes))}; {CHURN} x capacity "
                            "replaced before; keys in random order, all of them there; threads on "
                            "processors of their own")
    report.text("\nboost::concurrent_flat_map is not among them: it needs boost 1.83, newer than what "
                "bench/boost-headers unpacks.")
    plot = []
    for size in sizes:
        by_writes, load_pct = measure_size(report, contenders, size)
        show(report, names, size, by_writes, load_pct)
        ratios(report, size, by_writes)
        plot.append(by_writes)
    for contender in contenders:
        contender.close()
    groups = [f"{size_name(size)}, {write_pct} %" for size in sizes for write_pct in WRITE_PCTS]
    report.bars_plot("", "Two threads", "entries, writes", "ns an operation and thread", groups,
                     [(name, [rounds.median(label(name, 2)) for by_writes in plot
                              for rounds in by_writes.values()]) for name in names], log_y=True)
