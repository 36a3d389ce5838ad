"""make bench-wheel: timers set and expired, by the cache's wheel alone, by lists and by a heap."""

from driver import ask_all, measure, open_contenders
from page import BenchError, size_name

TITLE = "Timers: set and expire"
FULL_SIZES = (1000, 100000, 1000000, 10000000)
QUICK_SIZES = (1000, 100000, 1000000)
FILES = ("wheel_ours", "wheel_lists", "wheel_heap")
TICK_NS = 1 << 20
# TTLs are random, up to this; all sets of the second kind have it.
SPANS = (("a minute", 60 * 10**9 // TICK_NS), ("an hour", 3600 * 10**9 // TICK_NS))
EACH = 32          # timers that expire at a look, on average
# What a pair may take.
BOUND_NS = {1000: 25, 100000: 25, 1000000: 60, 10000000: 60}
# ... and by that of a peer, as a set again may.
PEERS = {"lists": 1.0, "heap": 0.5}


def measure_size(report, contenders, size, longest):
    answers = ask_all(contenders, "setup", slots=size, longest=longest, each=EACH)
    if len({answer["checksum"] for answer in answers.values()}) > 1:
        raise BenchError(f"contenders disagree on what expired when: {answers}")
    n_bytes = {name: answer["bytes"] / size for name, answer in answers.items()}
    n_ops = (1 << 17) if report.quick else (1 << 20)
    pairs = measure(report, contenders, "pairs", same_work=False, ops=n_ops)
    sets = measure(report, contenders, "sets", same_work=False, ops=n_ops)
    ask_all(contenders, "drop")
    return pairs, sets, n_bytes


def show(report, names, of_size):
    rows = []
    for name in names:
        for size, (pairs, sets, n_bytes) in of_size.items():
            rows.append([name, str(size), f"{pairs.median(name):.1f} ± {pairs.spread_pct(name):.0f} %",
                         f"{sets.median(name):.1f} ± {sets.spread_pct(name):.0f} %",
                         f"{n_bytes[name]:.1f}"])
    report.table(["contender", "timers", "set + expire", "set again", "bytes a timer"], rows)


def ratios(report, span, of_size):
    suffix = span.split()[-1]
    for size, (pairs, sets, _) in of_size.items():
        metric = f"wheel_{suffix}_{size_name(size)}"
        report.ratio(f"{metric}_pair_ns", pairs.median("ours"), BOUND_NS[size],
                     pairs.spread_pct("ours"))
        for peer, target in PEERS.items():
            pairs.compare(report, f"{metric}_pair_vs_{peer}", "ours", peer, target)
            sets.compare(report, f"{metric}_set_vs_{peer}", "ours", peer, target)


def run(report, find, options):
    sizes = QUICK_SIZES if report.quick else FULL_SIZES
    contenders = open_contenders([(f, find(f)) for f in FILES])
    names = [c.name for c in contenders]
    report.head(contenders, f"{', '.join(map(str, sizes))} timers, all of them armed; TTLs random, up to a "
                            f"minute or an hour; {EACH} expire at a look, on average")
    for span, longest in SPANS:
        of_size = {size: measure_size(report, contenders, size, longest) for size in sizes}
        report.text(f"\n## TTLs up to {span}\n\nns, median of the rounds ± half the interquartile range. "
                    "*set + expire*: one timer that expires and is armed again. *set again*: an armed one "
                    f"is armed for {span} before it expires.")
        show(report, names, of_size)
        ratios(report, span, of_size)
        for which, (what, title) in enumerate((("pairs", "set + expire"), ("sets", "set again"))):
            lines = [(name, [(size, of_size[size][which].median(name)) for size in sizes])
                     for name in names]
            report.lines_plot(f"{what}-{span.split()[-1]}", f"{title}, TTLs up to {span}", "timers",
                              "ns", lines, log_x=True, log_y=True)
    for contender in contenders:
        contender.close()
