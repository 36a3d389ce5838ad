"""make bench-many: hits by many keys a call, against a loop that looks one up after the other."""

from driver import Alias, ask_all, measure, open_contenders
from page import size_name

TITLE = "Hits by many keys a call"
CHURN = 20
FULL_SIZES = (1000, 100000, 2000000)
QUICK_SIZES = (1000, 100000, 200000)
BATCHES = (10, 100, 1000)
TARGET_BATCH = 100  # the loader's default
FILES = ("hit_ours_none", "hit_ours_pthread", "hit_ours_load", "hit_ours_load_pthread", "hit_boost")
# The call for one key, and the call for many.
CALLS = {"ours-none": ("cache_get", "cache_get_many"), "ours-pthread": ("cache_get", "cache_get_many"),
         "ours-load": ("load", "load_many"), "ours-load-pthread": ("load", "load_many")}
# At the largest size against the peer's loop, at the smallest against our own; ours in metrics.
PEER, TARGET_LARGE, TARGET_SMALL = "boost", 0.75, 1.0
METRICS = {"ours-none": "get_many", "ours-load": "load_many"}


def label(name, batch):
    """Of a contender in a loop (batch 0) or with so many keys a call."""
    return f"{name} x {batch}" if batch else name


def measure_size(report, contenders, size):
    n_list = 1 << 12 if report.tiny else min(max(1 << 16, size), 1 << 21)
    passes = max(1, (1 << 13 if report.tiny else 1 << 17 if report.quick else 1 << 21) // n_list)
    ask_all(contenders, "setup", capacity=size, churn=CHURN, list=n_list, replace=1)
    lists = ask_all(contenders, "list")
    same = len({answer["fingerprint"] for answer in lists.values()}) == 1
    taking_part = []
    for contender in contenders:
        taking_part.append(Alias(contender, label(contender.name, 0), "hit"))
        for batch in BATCHES if contender.name in CALLS else ():
            taking_part.append(Alias(contender, label(contender.name, batch), "hit_many",
                                     batch=batch))
    rounds = measure(report, taking_part, "hits", same_work=same, passes=passes)
    ask_all(contenders, "drop")
    return rounds


def show(report, names, size, rounds):
    rows = []
    for name in names:
        one, many = CALLS.get(name, ("find", ""))
        row = [name, f"{one}, {many}" if many else one]
        for batch in (0,) + BATCHES:
            of = label(name, batch)
            row.append(f"{rounds.median(of):.1f} ± {rounds.spread_pct(of):.0f} %"
                       if of in rounds.cost_ns else "")
        rows.append(row)
    report.text(f"\n## {size} entries\n\nns a hit, median of the rounds ± half the interquartile range.")
    report.table(["contender", "calls", "one at a time"] + [f"{batch} a call" for batch in BATCHES],
                 rows)


def ratios(report, size, sizes, rounds):
    for name, metric in METRICS.items():
        many = label(name, TARGET_BATCH)
        if size == max(sizes):
            rounds.compare(report, f"{metric}_{size_name(size)}_vs_boost", many, PEER, TARGET_LARGE)
        if size == min(sizes):
            rounds.compare(report, f"{metric}_{size_name(size)}_vs_loop", many, label(name, 0),
                           TARGET_SMALL)


def run(report, find, options):
    sizes = report.sizes(FULL_SIZES, QUICK_SIZES)
    contenders = open_contenders([(f, find(f)) for f in FILES])
    names = [c.name for c in contenders]
    report.head(contenders, f"uint64 -> 32 bytes; sizes {', '.join(map(str, sizes))}; {CHURN} x capacity "
                            "replaced before; keys in random order, all of them hits")
    by_size = {}
    for size in sizes:
        by_size[size] = measure_size(report, contenders, size)
        show(report, names, size, by_size[size])
        ratios(report, size, sizes, by_size[size])
    for contender in contenders:
        contender.close()
    bars = []
    for name in names:
        for batch, call in zip((0, TARGET_BATCH), CALLS.get(name, ("find",))):
            bars.append((f"{name} {call}", [by_size[size].median(label(name, batch))
                                            for size in sizes]))
    report.bars_plot("", f"Hits by {TARGET_BATCH} keys a call", "entries", "ns a hit",
                     [size_name(size) for size in sizes], bars, log_y=True)
