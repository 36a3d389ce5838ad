"""make bench-hit: what a hit, a miss and a replacement cost in a table that has been churned."""

import os

from driver import MIN_ROUNDS, ROUNDS, ask_all, measure, open_contenders
from page import size_name

TITLE = "Hits, misses and replacements after churn"
CHURN = 20
FULL_SIZES = (1000, 100000, 2000000)
QUICK_SIZES = (1000, 100000, 200000)
OURS = ("ours-none", "ours-pthread", "ours-spin")
FILES = ("hit_ours_none", "hit_boost", "hit_absl", "hit_ours_pthread", "hit_ours_spin",
         "hit_std", "hit_stb", "hit_uthash", "hit_glib")
# Other kinds of entry: title, suffix of the programs, metric, and whether keys are 0, 1, 2 ...
KINDS = (("sequential keys, 32 bytes", "", "sequential", True),
         ("random keys, 8 bytes", "_v8", "v8", False),
         ("strings of 8 to 64 bytes, 32 bytes", "_text", "text", False))
# Left out where the other kinds are measured at the largest size, unless ALL is set: filling and churning
# them takes longest.
SLOW = ("stb_ds", "uthash", "GLib")
SLOW_TEXT = SLOW + ("absl", "std", "ours-spin")
QUICK_KIND_SIZES = (1000, 20000)
HIT_PCTS = (25, 50, 75, 90)  # beside misses only and hits only
ZIPF_PCT = 99                # hundredths of the exponent
WRITE_PCTS = (1, 10, 50)
MIXES = tuple({"hit_pct": pct} for pct in HIT_PCTS) + ({"zipf_pct": ZIPF_PCT},) + \
    tuple({"write_pct": pct} for pct in WRITE_PCTS)
# Built only to see where bytes go.
BYTES_FILES = ("hit_ours_fifo", "hit_ours_no_ttl", "hit_ours_no_ttl_fifo")
# The targets at every size.
GOALS = (("ours-none", "boost", 1.25), ("ours-pthread", "boost", 1.6),
         ("ours-spin", "boost", 1.6), ("ours-none", "stb_ds", 0.35),
         ("ours-none", "uthash", 0.35), ("ours-none", "GLib", 0.45))
MISS_GOAL, REPLACE_GOAL = 1.25, 2.5
REPLAY_SIZE, REPLAY_UNIVERSE, REPLAY_GOAL_NS = 100000, 10, 50


def counts(size, quick, tiny):
    """How many keys a round's list has, how often it is walked, how many replacements it does."""
    if tiny:
        return {"list": 1 << 12, "passes": 2, "replace": 4000}
    n_list = min(max(1 << 16, size), 1 << 21)
    n_lookups = 1 << 18 if quick else 1 << 22
    return {"list": n_list, "passes": max(1, n_lookups // n_list if size < 1000000 else 1),
            "replace": 20000 if quick else 100000 if size < 1000000 else 500000}


def fill(report, contenders, size, n, sequential):
    """Fills and churns all tables, measures replacements, and lays out what the rounds ask for.
    Returns the replacements, how many keys are live, and whether all hold the same."""
    ask_all(contenders, "setup", capacity=size, churn=CHURN, order=sequential, list=n["list"],
            replace=n["replace"])
    replaced = measure(report, contenders, "replace",
                       n_rounds=MIN_ROUNDS if n.get("few") else ROUNDS)
    until = max(answer["next"] for answer in replaced.last.values())
    lists = ask_all(contenders, "list", until=until)
    # A cache with several shards evicts per shard, so its live keys differ a little: their values
    # are checked against the keys by the contender itself, and not against each other.
    same = len({answer["fingerprint"] for answer in lists.values()}) == 1
    return replaced, {name: answer["n_live"] for name, answer in lists.items()}, same


def measure_size(report, contenders, size):
    names = [c.name for c in contenders]
    n = counts(size, report.quick, report.tiny)
    replaced, n_live, same = fill(report, contenders, size, n, False)
    hits = measure(report, contenders, "hit", same_work=same, passes=n["passes"])
    misses = measure(report, contenders, "miss", passes=n["passes"])
    n_bytes = ask_all(contenders, "bytes")
    many = [c for c in contenders if c.name in OURS + ("boost",)]
    hits_many = measure(report, many, many_command, same_work=same, passes=n["passes"])
    chained = measure(report, contenders, "chain", n_rounds=MIN_ROUNDS, same_work=same,
                      passes=max(1, n["passes"] // 4))
    mixes = measure_mixes(report, contenders, same)
    replayed = replay(report, contenders, size)
    for contender in contenders:
        contender.ask("drop")

    rows = []
    for name in names:
        rows.append((name, f"{hits.median(name):.1f} ± {hits.spread_pct(name):.0f} %",
                     f"{hits_many.median(name):.1f}" if name in hits_many.cost_ns else "",
                     f"{misses.median(name):.1f}", f"{replaced.median(name):.1f}",
                     f"{overhead_bytes(n_bytes[name]):.1f}", n_live[name],
                     f"{chained.median(name):.1f}"))
    report.text(f"\n## {size} entries, random keys\n")
    report.text("ns an operation, median of "
                f"{ROUNDS} rounds (hit ± half the interquartile range); bytes an entry beyond key "
                "and value. *get_many* of boost is a loop over find. *chained hit*: each key is known "
                "only when the value before it is, so that look-ups cannot overlap.")
    report.table(("contender", "hit", "get_many", "miss", "replace", "overhead bytes", "entries",
                  "chained hit"), rows)
    show_mixes(report, names, hits, misses, mixes)
    if replayed:
        show_replay(report, size, replayed)
    hit_ratios(report, hits, misses, replaced, hits_many, size)
    return n_bytes, hits, misses, mixes


def many_command(contender):
    """The call for many keys where there is one, a loop where there is none."""
    return "hit_many" if contender.name in OURS else "hit"


def measure_mixes(report, contenders, same):
    n_mixed = 1 << 12 if report.tiny else 1 << 16 if report.quick else 1 << 19
    return [measure(report, contenders, "mix", n_rounds=MIN_ROUNDS, same_work=same, n=n_mixed, **mix)
            for mix in MIXES]


def show_mixes(report, names, hits, misses, mixes):
    ratios = mixes[:len(HIT_PCTS)]
    others = mixes[len(HIT_PCTS):]
    header = ["ns a look-up, hits:", "0 %"] + [f"{pct} %" for pct in HIT_PCTS] + ["100 %"]
    report.table(header, [[name] + [f"{rounds.median(name):.1f}" for rounds in
                                    [misses] + ratios + [hits]] for name in names])
    header = ["ns an operation", f"hits by Zipf {ZIPF_PCT / 100}"] + \
        [f"{pct} % writes" for pct in WRITE_PCTS]
    report.table(header, [[name] + [f"{rounds.median(name):.1f}" for rounds in others]
                          for name in names])


def replay(report, contenders, size):
    """A cache at work, most of whose requests miss; None where it is not measured."""
    taking_part = [c for c in contenders if c.name in OURS + ("boost",)]
    if size != REPLAY_SIZE or not taking_part:
        return None
    n = 1 << 17 if report.quick else 1 << 20
    return measure(report, taking_part, "replay", same_work=False, n=n, universe=REPLAY_UNIVERSE,
                   args_of=lambda attempt: {"first": (1 << 40) + attempt * n})


def show_replay(report, size, rounds):
    report.text(f"\nA cache at work, mostly misses: requests for {REPLAY_UNIVERSE} x {size} random keys, "
                "what is not there is put in and something else goes (boost: the oldest).")
    rows = []
    for name in rounds.cost_ns:
        share = rounds.median_of(name, lambda answer: answer["n_found"] / answer["n_ops"])
        rows.append((name, f"{rounds.median(name):.1f} ± {rounds.spread_pct(name):.0f} %",
                     f"{1000 / rounds.median(name):.1f}", f"{100 * share:.1f} %"))
    report.table(("contender", "ns a request", "M requests/s", "hits"), rows)
    if OURS[0] in rounds.cost_ns:
        report.ratio("replay_mostly_misses_ns_goal", rounds.median(OURS[0]), REPLAY_GOAL_NS,
                     rounds.spread_pct(OURS[0]))


def overhead_bytes(answer):
    n_bytes = answer["own_bytes"] or answer["heap_bytes"]
    return (n_bytes - answer["payload_bytes"]) / answer["capacity"]


def hit_ratios(report, hits, misses, replaced, hits_many, size):
    label = size_name(size)
    if size == 100000:
        hits.compare(report, "hit_100k_vs_boost", "ours-none", "boost", 2.0)
    for ours, peer, target in GOALS:
        lock = "" if ours == "ours-none" else "_" + ours.partition("-")[2]
        hits.compare(report, f"hit_{label}{lock}_vs_{peer.lower()}_goal", ours, peer, target)
    misses.compare(report, f"miss_{label}_vs_boost_goal", "ours-none", "boost", MISS_GOAL)
    replaced.compare(report, f"replace_{label}_vs_boost_goal", "ours-none", "boost", REPLACE_GOAL)
    if size >= QUICK_SIZES[-1]:
        hits_many.compare(report, f"get_many_{label}_vs_boost_goal", "ours-none", "boost", 0.75)


def measure_kind(report, find, sizes, kind):
    """Hits, misses and replacements of another kind of entry, in one table."""
    title, suffix, metric, sequential = kind
    contenders = open_contenders([(f + suffix, find(f + suffix)) for f in FILES])
    cells = {c.name: [] for c in contenders}
    for size in sizes:
        taking_part = contenders
        if size == max(FULL_SIZES) and not os.environ.get("ALL"):
            slow = SLOW_TEXT if suffix == "_text" else SLOW
            taking_part = [c for c in contenders if c.name not in slow]
        n = dict(counts(size, report.quick, report.tiny), few=True)
        n["list"] = min(n["list"], 1 << 20)
        replaced, _, same = fill(report, taking_part, size, n, sequential)
        passes = max(1, n["passes"] // 2)
        hits = measure(report, taking_part, "hit", MIN_ROUNDS, same_work=same, passes=passes)
        misses = measure(report, taking_part, "miss", MIN_ROUNDS, passes=passes)
        for contender in taking_part:
            contender.ask("drop")
        for name, row in cells.items():
            row += [f"{rounds.median(name):.1f}" if name in rounds.cost_ns else ""
                    for rounds in (hits, misses, replaced)]
        hits.compare(report, f"hit_{size_name(size)}_{metric}_vs_boost_goal", "ours-none", "boost",
                     1.25)
    for contender in contenders:
        contender.close()
    report.text(f"\n## {title[0].upper()}{title[1:]}\n\nns an operation, median of {MIN_ROUNDS} rounds."
                f"{notes(contenders) if suffix == '_text' else ''}")
    report.table(["contender"] + [f"{what} {size_name(size)}" for size in sizes
                                  for what in ("hit", "miss", "replace")],
                 [[name] + row for name, row in cells.items()])


def notes(contenders):
    """What contenders say of themselves, where it differs from what the head of the page says."""
    return " How they hold strings:\n\n" + "\n".join(
        f"- **{c.name}**: {c.hello['note']}" for c in contenders if not c.name.startswith("ours"))


def measure_bytes(report, contenders, sizes, known):
    """Overhead with and without what S3-FIFO and TTL add; filled tables are enough for that."""
    header = ["overhead bytes an entry"] + [str(size) for size in sizes]
    rows = {c.name: [c.name] for c in contenders}
    value = {}
    for size in sizes:
        for contender in contenders:
            contender.ask("setup", capacity=size, churn=1, replace=1, list=1)
            value[contender.name, size] = overhead_bytes(contender.ask("bytes"))
            contender.ask("drop")
            rows[contender.name].append(f"{value[contender.name, size]:.1f}")
    ours = [name for name in known[sizes[0]] if name in OURS]
    for name in ours:
        rows[name] = [name] + [f"{overhead_bytes(known[size][name]):.1f}" for size in sizes]
    report.text("\n## Where ours keeps its bytes\n\nTTL and S3-FIFO unless the name says otherwise; "
                "what S3-FIFO needs beyond FIFO is nearly all ghost.")
    report.table(header, [rows[name] for name in ours] + [rows[c.name] for c in contenders])
    for size in sizes:
        label = size_name(size)
        if ("ours-no-ttl-fifo", size) in value:
            report.ratio(f"overhead_{label}_no_ttl_no_ghost_bytes_goal",
                         value["ours-no-ttl-fifo", size], 28)
        if ("ours-fifo", size) in value:
            report.ratio(f"overhead_{label}_ttl_no_ghost_bytes_goal", value["ours-fifo", size], 32)
            if "ours-none" in ours:
                ghost = overhead_bytes(known[size]["ours-none"]) - value["ours-fifo", size]
                report.ratio(f"ghost_{label}_bytes_goal", ghost, 12)


def plots(report, sizes, names, by_size):
    report.bars_plot("", "Hits after churn, uint64 -> 32 bytes", "entries", "ns a hit",
                     [size_name(size) for size in sizes],
                     [(name, [by_size[size][1].median(name) for size in sizes]) for name in names],
                     log_y=True)
    size = sizes[len(sizes) // 2]
    _, hits, misses, mixes = by_size[size]
    steps = [misses] + mixes[:len(HIT_PCTS)] + [hits]
    report.lines_plot("ratio", f"Look-ups at {size_name(size)} entries", "hits, %", "ns a look-up",
                      [(name, [(pct, rounds.median(name)) for pct, rounds in
                               zip((0,) + HIT_PCTS + (100,), steps)]) for name in names])
    steps = [hits] + mixes[-len(WRITE_PCTS):]
    report.lines_plot("writes", f"Hits and writes at {size_name(size)} entries", "writes, %",
                      "ns an operation",
                      [(name, [(pct, rounds.median(name)) for pct, rounds in
                               zip((0,) + WRITE_PCTS, steps)]) for name in names])


def run(report, find, options):
    sizes = report.sizes(FULL_SIZES, QUICK_SIZES)
    contenders = open_contenders([(f, find(f)) for f in FILES])
    report.head(contenders, f"uint64 -> 32 bytes; sizes {', '.join(map(str, sizes))}; "
                            f"{CHURN} x capacity replaced before anything is measured")
    by_size = {size: measure_size(report, contenders, size) for size in sizes}
    for contender in contenders:
        contender.close()
    for kind in KINDS:
        measure_kind(report, find, report.sizes(FULL_SIZES, QUICK_KIND_SIZES), kind)
    extra = open_contenders([(f, find(f)) for f in BYTES_FILES])
    if extra:
        measure_bytes(report, extra, sizes, {size: by_size[size][0] for size in sizes})
    for contender in extra:
        contender.close()
    report.text("\n## Plots")
    plots(report, sizes, [c.name for c in contenders], by_size)
