"""make bench-load: what a load costs that is a miss, a join, a hit, or the whole of a request."""

import os
import shutil
from collections import namedtuple

from driver import measure, n_attempts, open_contenders

TITLE = "Loads: misses in batches, joins, hits, requests"
CAPACITY = 100000
FILES = ("load_ours_none", "load_ours_pthread")
OURS = "ours-none"
THREADED = "ours-pthread"
NODE = "graphql/dataloader"
HIT_KEYS = 1 << 29  # numbers of keys that no other shape asks for

# A shape of work: the command, its arguments, n at full size and QUICK, how many key numbers one n
# takes, the metric's name against node; name and target in ns of what it costs by itself, or None; the
# target against node.
Shape = namedtuple("Shape", "what command args n n_quick keys metric metric_ns target_ns "
                            "target_node")
SHAPES = (
    Shape("load_many of distinct keys, 100 a call: fetch, insert, evict", "load_many", {},
          200000, 50000, 1, "load_many", "load_many_distinct_ns", 40, 0.1),
    Shape("distinct keys started singly, dispatched, delivered, 100 at a time", "start_complete",
          {}, 200000, 50000, 1, "start_complete", "start_complete_ns", 60, 0.1),
    Shape("join: start of a key already in flight", "join", {"deliver": 0}, 200, 50, 1, "join",
          "join_ns", 20, 0.5),
    Shape("join and its delivery", "join", {"deliver": 1}, 200, 50, 1, "join_deliver", None, None,
          0.1),
    Shape("load of a cached key", "hit", {"passes": 16, "first": HIT_KEYS}, None, None, 0,
          "load_hit", None, None, 0.2),
    Shape("request scope: loader made and destroyed, nothing loaded", "request", {"use": 0},
          20000, 5000, 0, "request_empty", None, None, None),
    Shape("request scope: made, 2 x 10 keys loaded, destroyed", "request",
          {"use": 1, "first": 0}, 20000, 5000, 0, "request", None, None, 0.2),
)


def measure_shapes(report, contenders):
    """Returns [(shape, rounds)]. Every attempt at a round has keys that were never asked for."""
    n_fill = 3 * CAPACITY  # full and evicting before anything is measured
    for contender in contenders:
        contender.ask("setup", capacity=CAPACITY, fill=n_fill)
    at = n_fill
    results = []
    for shape in SHAPES:
        args = dict(shape.args)
        args_of = None
        if shape.n is not None:
            args["n"] = shape.n_quick if report.quick else shape.n
        if shape.keys:
            n_keys = args["n"] * shape.keys
            args_of = lambda attempt, base=at, step=n_keys: {"first": base + attempt * step}
            at += n_attempts() * n_keys
        results.append((shape, measure(report, contenders, shape.command, args_of=args_of,
                                       **args)))
    return results


def show(report, names, results):
    ours = [name for name in names if name != NODE]
    rows = []
    allocs = []
    for shape, rounds in results:
        row = [shape.what] + [f"{rounds.median(name):.1f}" for name in names]
        if NODE in names and OURS in names:
            row.append(f"{rounds.ratio(OURS, NODE):.3f}")
        rows.append(row)
        allocs.append([shape.what] + [rounds.last[name]["allocs"] for name in ours])
    last = {shape.metric: rounds.last for shape, rounds in results}
    report.text("\n## Cost\n\nns a key (a request: ns a request), median of the rounds.")
    header = ["shape"] + names
    report.table(header + [f"{OURS} / node"] if NODE in names and OURS in names else header, rows)
    report.text("\n## Allocations\n\nCalls of the loader's allocator in one whole round at steady "
                "state (a request's loader lives in a dload_pool: what does not fit would count).")
    report.table(["shape"] + ours, allocs)
    for name in ours:
        answer = last["request"][name]
        report.text(f"\n{name}: the struct has {answer['loader_bytes']} bytes, a request's pool "
                    f"used {answer['pool_high_bytes']}.")


def show_idle(report, idle):
    p99_us = idle.median_of(THREADED, lambda answer: answer["p99_ns"]) / 1000
    report.text(f"\nA lone load, {THREADED}: one thread, a new key after each pause of 200 us, takes "
                f"{idle.median(THREADED) / 1000:.2f} us beyond the fetch function (p99 {p99_us:.2f}).")


def ratios(report, names, results, idle):
    if idle is not None:
        report.ratio("idle_latency_us", idle.median(THREADED) / 1000, 2)
    if OURS not in names:
        return
    for shape, rounds in results:
        if shape.target_ns is not None:
            report.ratio(shape.metric_ns, rounds.median(OURS), shape.target_ns)
    n_bytes = sum(rounds.last[OURS]["alloc_bytes"] for _, rounds in results)
    report.ratio("steady_state_allocated_bytes", n_bytes, 0)
    if NODE in names:
        for shape, rounds in results:
            if shape.target_node is not None:
                report.ratio(f"{shape.metric}_vs_node", rounds.ratio(OURS, NODE),
                             shape.target_node)


def run(report, find, options):
    node = shutil.which("node")
    packages = find("node/node_modules/dataloader/package.json")
    script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "node", "peer.js")
    paths = [(f, find(f)) for f in FILES]
    if node and packages:
        folder = packages[0].rsplit("/node_modules/", 1)[0]
        paths.append((NODE, [node, script, folder]))
    else:
        missing = "node" if not node else "its npm package"
        report.text(f"\n{NODE}: not measured, because {missing} is not installed.")
    contenders = open_contenders(paths)
    report.head(contenders, f"capacity {CAPACITY}, batches of 100, uint64 -> 32 bytes "
                            "(node: small integer -> object of four numbers)")
    results = measure_shapes(report, contenders)
    threaded = [contender for contender in contenders if contender.name == THREADED]
    idle = measure(report, threaded, "idle") if threaded else None
    for contender in contenders:
        contender.close()
    names = [c.name for c in contenders]
    show(report, names, results)
    if idle is not None:
        show_idle(report, idle)
    ratios(report, names, results, idle)
