"""make bench-hit: what a hit, a miss and a replacement cost in a table that has been churned."""

from driver import ROUNDS, measure, open_contenders
from page import size_name

TITLE = "Hits, misses and replacements after churn"
CHURN = 20
FULL_SIZES = (1000, 100000, 2000000)
QUICK_SIZES = (1000, 100000, 200000)
OURS = ("ours-none", "ours-pthread", "ours-spin")
FILES = ("hit_ours_none", "hit_boost", "hit_absl", "hit_ours_pthread", "hit_ours_spin",
         "hit_stb", "hit_uthash", "hit_glib")
# Built only to see where bytes go.
BYTES_FILES = ("hit_ours_fifo", "hit_ours_no_ttl", "hit_ours_no_ttl_fifo")
# DESIGN's targets at every size; the one that has to hold today is hit_100k_vs_boost.
GOALS = (("ours-none", "boost", 1.25), ("ours-pthread", "boost", 1.6),
         ("ours-spin", "boost", 1.6), ("ours-none", "stb_ds", 0.35),
         ("ours-none", "uthash", 0.35), ("ours-none", "GLib", 0.45))


def counts(size, quick):
    """How many keys a round's list has, how often it is walked, how many replacements it does."""
    n_list = min(max(1 << 16, size), 1 << 21)
    n_lookups = 1 << 19 if quick else 1 << 22
    return {"list": n_list, "passes": max(1, n_lookups // n_list if size < 1000000 else 1),
            "replace": 50000 if quick else 100000 if size < 1000000 else 500000}


def measure_size(report, contenders, size, sequential):
    names = [c.name for c in contenders]
    n = counts(size, report.quick)
    for contender in contenders:
        contender.ask("setup", capacity=size, churn=CHURN, order=sequential, list=n["list"],
                      replace=n["replace"])
    replaced = measure(report, contenders, "replace")
    until = max(answer["next"] for answer in replaced.last.values())
    fingerprints = {c.name: c.ask("list", until=until) for c in contenders}
    # A cache with several shards evicts per shard, so its live keys differ a little: their values
    # are checked against the keys by the contender itself, and not against each other.
    same = len({a["fingerprint"] for a in fingerprints.values()}) == 1
    hits = measure(report, contenders, "hit", same_work=same, passes=n["passes"])
    misses = measure(report, contenders, "miss", passes=n["passes"])
    n_bytes = {c.name: c.ask("bytes") for c in contenders}
    many = [c for c in contenders if c.name in OURS + ("boost",)]
    hits_many = measure(report, many, many_command, same_work=same, passes=n["passes"])
    for contender in contenders:
        contender.ask("drop")

    rows = []
    for name in names:
        rows.append((name, f"{hits.median(name):.1f} ± {hits.spread_pct(name):.0f} %",
                     f"{hits_many.median(name):.1f}" if name in hits_many.cost_ns else "",
                     f"{misses.median(name):.1f}", f"{replaced.median(name):.1f}",
                     f"{overhead_bytes(n_bytes[name]):.1f}", fingerprints[name]["n_live"]))
    report.text(f"\n## {size} entries, {'sequential' if sequential else 'random'} keys\n")
    report.text("ns an operation, median of "
                f"{ROUNDS} rounds (hit ± half the interquartile range); bytes an entry beyond key "
                "and value. *get_many* of boost is a loop over find.")
    report.table(("contender", "hit", "get_many", "miss", "replace", "overhead bytes", "entries"),
                 rows)
    hit_ratios(report, names, hits, hits_many, size)
    return n_bytes


def many_command(contender):
    """The call for many keys where there is one, a loop where there is none."""
    return "hit_many" if contender.name in OURS else "hit"


def overhead_bytes(answer):
    n_bytes = answer["own_bytes"] or answer["heap_bytes"]
    return (n_bytes - answer["payload_bytes"]) / answer["capacity"]


def hit_ratios(report, names, hits, hits_many, size):
    label = size_name(size)
    if "ours-none" not in names:
        return
    if size == 100000 and "boost" in names:
        report.ratio("hit_100k_vs_boost", hits.ratio("ours-none", "boost"), 2.0)
    for ours, peer, target in GOALS:
        if ours in names and peer in names:
            lock = "" if ours == "ours-none" else "_" + ours.partition("-")[2]
            report.ratio(f"hit_{label}{lock}_vs_{peer.lower()}_goal", hits.ratio(ours, peer),
                         target)
    if size == max(QUICK_SIZES if report.quick else FULL_SIZES) and "boost" in names:
        report.ratio(f"get_many_{label}_vs_boost_goal", hits_many.ratio("ours-none", "boost"), 0.75)


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


def run(report, find, options):
    sizes = QUICK_SIZES if report.quick else FULL_SIZES
    contenders = open_contenders([(f, find(f)) for f in FILES])
    report.head(contenders, f"uint64 -> 32 bytes; sizes {', '.join(map(str, sizes))}; "
                            f"{CHURN} x capacity replaced before anything is measured")
    known = {size: measure_size(report, contenders, size, options.sequential) for size in sizes}
    for contender in contenders:
        contender.close()
    extra = open_contenders([(f, find(f)) for f in BYTES_FILES])
    if extra:
        measure_bytes(report, extra, sizes, known)
    for contender in extra:
        contender.close()
