"""make bench-memory: bytes an entry beyond key and value, of a full cache that was churned."""

from driver import open_contenders
from page import size_name

TITLE = "Bytes an entry beyond key and value"
CHURN = 2
FULL_SIZES = (1000, 100000, 2000000)
QUICK_SIZES = (1000, 100000)
DETAIL_SIZE = 100000  # of the table of configurations
LOCKS = ("none", "pthread")
KINDS = ("plain", "plain-ttl", "text", "text-ttl")
POLICIES = ("fifo", "clock", "lru", "sieve", "s3fifo", "adaptive")
PEERS = ("boost", "absl", "std", "stb", "uthash", "glib")
KEY_NAMES = {"plain": "uint64", "text": "strings"}
VALUE_BYTES = 32
TEXT_KEY_BYTES = 36  # the mean of 8 .. 64, which is what the peers' keys have
# A ghost is apart: FIFO has none.
GOALS = (("pthread-plain", "fifo", 28), ("pthread-plain-ttl", "fifo", 32))
GHOST_GOAL = 12


def overhead(answer):
    return (answer["heap_bytes"] - answer["payload_bytes"]) / answer["n_live"]


def measured(series):
    """Those of which there is a figure: a contender may not have been built."""
    return [(label, ys) for label, ys in series if any(y is not None for y in ys)]


def measure_ours(contenders, sizes):
    """(variant, policy, size) -> bytes an entry. All sizes for numbers as keys, one for strings."""
    found = {}
    for contender in contenders:
        variant = contender.name.partition("-")[2]
        for size in sizes:
            if "text" in variant and size != DETAIL_SIZE:
                continue
            for policy in POLICIES:
                found[variant, policy, size] = overhead(
                    contender.ask(policy, capacity=size, churn=CHURN))
    return found


def measure_peers(contenders, sizes, key_bytes):
    """(name, size) -> bytes an entry, as malloc sees them, its headers included."""
    found = {}
    for contender in contenders:
        for size in sizes:
            contender.ask("setup", capacity=size, churn=CHURN, replace=1, list=1)
            answer = contender.ask("bytes")
            contender.ask("drop")
            found[contender.name, size] = answer["heap_bytes"] / size - key_bytes - VALUE_BYTES
    return found


def show_configurations(report, found, size):
    report.text(f"\n## Configurations, {size} entries\n\nKeys are uint64 or strings of 8 to 64 bytes, "
                f"values {VALUE_BYTES} bytes. A lock brings shards, and so small change for each; what "
                "S3FIFO has beyond FIFO is its ghost, and what ADAPTIVE has, what it learns from.")
    rows = []
    for kind in KINDS:
        for lock in LOCKS:
            row = [f"{KEY_NAMES[kind.partition('-')[0]]}, {'TTL' if 'ttl' in kind else 'no TTL'}, "
                   f"{lock.upper()}"]
            for policy in POLICIES:
                value = found.get((f"{lock}-{kind}", policy, size))
                row.append("" if value is None else f"{value:.1f}")
            rows.append(row)
    report.table(["key, TTL, lock"] + [policy.upper() for policy in POLICIES], rows)
    report.bars_plot("", f"Overhead, uint64 to {VALUE_BYTES} bytes, {size_name(size)} entries", "policy",
                     "bytes an entry", [policy.upper() for policy in POLICIES],
                     measured((f"{lock.upper()}{', TTL' if 'ttl' in kind else ''}",
                               [found.get((f"{lock}-{kind}", policy, size)) for policy in POLICIES])
                              for kind in KINDS[:2] for lock in LOCKS))


def show_peers(report, found, peers, text_peers, sizes):
    report.text("\n## Beside hash maps\n\nMaps have neither an order of eviction nor an expiry, and "
                "their bytes depend on where in a doubling they stand. Bytes of peers are malloc's, its "
                "headers included.")
    ours = [(f"ours, {policy.upper()}, {'TTL' if 'ttl' in kind else 'no TTL'}", kind, policy)
            for kind, policy in (("plain", "fifo"), ("plain", "s3fifo"), ("plain-ttl", "s3fifo"))]
    series = []
    for label, kind, policy in ours:
        series.append((label, [found.get((f"none-{kind}", policy, size)) for size in sizes],
                       found.get((f"none-{kind.replace('plain', 'text')}", policy, DETAIL_SIZE))))
    for name in sorted({name for name, _ in peers}):
        series.append((name, [peers[name, size] for size in sizes],
                       text_peers.get((name, DETAIL_SIZE))))
    rows = [[label] + ["" if y is None else f"{y:.1f}" for y in ys + [text]]
            for label, ys, text in series]
    report.table(["contender"] + [f"uint64, {size_name(size)}" for size in sizes] +
                 [f"strings, {size_name(DETAIL_SIZE)}"], rows)
    report.bars_plot("peers", f"Overhead beside hash maps, uint64 to {VALUE_BYTES} bytes", "entries",
                     "bytes an entry", [size_name(size) for size in sizes],
                     measured((label, ys) for label, ys, _ in series))


def ratios(report, found, sizes):
    for size in sizes:
        for variant, policy, target in GOALS:
            if (variant, policy, size) in found and size >= DETAIL_SIZE:
                report.ratio(f"overhead_{size_name(size)}_{variant.replace('-', '_')}_bytes",
                             found[variant, policy, size], target)
        key = ("none-plain", "s3fifo", size)
        if key in found and size >= DETAIL_SIZE:
            report.ratio(f"ghost_{size_name(size)}_bytes",
                         found[key] - found["none-plain", "fifo", size], GHOST_GOAL)


def run(report, find, options):
    sizes = report.sizes(FULL_SIZES, QUICK_SIZES)
    names = [f"memory_{lock}_{kind.replace('-', '_')}" for lock in LOCKS for kind in KINDS]
    ours = open_contenders([(name, find(name)) for name in names])
    peers = open_contenders([(f"hit_{p}", find(f"hit_{p}")) for p in PEERS])
    text_peers = open_contenders([(f"hit_{p}_text", find(f"hit_{p}_text")) for p in PEERS])
    report.head(ours + peers, f"uint64 or strings -> {VALUE_BYTES} bytes; sizes "
                              f"{', '.join(map(str, sizes))}; full, then {CHURN} x capacity replaced")
    our_sizes = sorted(set(sizes) | {DETAIL_SIZE})
    found = measure_ours(ours, our_sizes)
    show_configurations(report, found, DETAIL_SIZE)
    show_peers(report, found, measure_peers(peers, sizes, 8),
               measure_peers(text_peers, [DETAIL_SIZE], TEXT_KEY_BYTES), sizes)
    for contender in ours + peers + text_peers:
        contender.close()
    ratios(report, found, our_sizes)
