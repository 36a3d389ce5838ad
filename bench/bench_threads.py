"""make bench-threads: loads by threads in closed loops, against what one does without a loader."""

import os
import shutil
import subprocess
import tempfile

from driver import WatchedContender, cpu_ns, measure, open_contenders
from page import BenchError

TITLE = "Threads: new keys in closed loops"
THREADS = (1, 2, 4, 8)
MS = (280, 55)       # measured in a round: full, QUICK
WARM_MS = (60, 15)   # before that, for the loader to find its settle time
PATIENCE_S = (30, 4)
SETTLE_NS = 20000    # set by hand, to see what finding it costs

OURS = "ours-pthread"
TUNED = "ours-settle-by-hand"
SPIN = "ours-spin"
NODE = "graphql/dataloader"
ONE = "one-connection"
PARALLEL = "connection-per-thread"
BY_HAND = "by-hand"

# What the source is: the command's argument, who takes part, and how rates are written.
ROUND_TRIP = "a call takes 200 us, whatever the number of keys"
IN_MEMORY = "a call is arithmetic in memory"
SOURCES = (
    (ROUND_TRIP, 0, (OURS, TUNED, NODE, ONE, PARALLEL, BY_HAND)),
    (IN_MEMORY, 1, (OURS, SPIN, NODE, ONE, PARALLEL, BY_HAND)),
)


class LoopContender(WatchedContender):
    """A contender that shares its work with call_server."""

    server_pid = None  # of call_server, which works for every contender

    def own_ns(self):
        return super().own_ns() + cpu_ns(self.server_pid)


class Server:
    """call_server, for as long as the with lasts."""

    def __init__(self, argv):
        self.folder = tempfile.TemporaryDirectory(prefix="bench-threads-")
        self.path = os.path.join(self.folder.name, "socket")
        self.process = subprocess.Popen(argv + [self.path], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)
        if self.process.stdout.readline() != "ready\n":
            raise BenchError("call_server does not start")

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()
        self.folder.cleanup()


def command_lines(report, find, server):
    """[(label, argv)] of the contenders."""
    at = f"server={server.path}"

    def built(name, *more):
        found = find(name)
        return found and found + [at, *more]

    lines = [
        (OURS, built("threads_ours_pthread")),
        (TUNED, built("threads_ours_pthread", f"name={TUNED}", f"settle_ns={SETTLE_NS}",
                      f"note={OURS} with a settle time of {SETTLE_NS / 1000:g} us")),
        (SPIN, built("threads_ours_spin")),
        (ONE, built("threads_plain_shared")),
        (PARALLEL, built("threads_plain_parallel")),
        (BY_HAND, built("load_byhand")),
    ]
    node = shutil.which("node")
    packages = find("node/node_modules/dataloader/package.json")
    if node and packages:
        folder = packages[0].rsplit("/node_modules/", 1)[0]
        script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "node", "loops.js")
        lines.insert(3, (NODE, [node, script, folder, server.path]))
    else:
        missing = "node" if not node else "its npm package"
        report.text(f"\n{NODE}: not measured, because {missing} is not installed.")
    return lines


def check(contender, answer):
    """What a contender says of itself must be possible. Values it has checked one by one."""
    n_at_the_edges = 100 * max(THREADS)  # loads that were out when a thread began or ended
    if abs(answer["keys"] - answer["n_ops"]) > n_at_the_edges:
        raise BenchError(f"{contender}: {answer['n_ops']} loads of new keys, but {answer['keys']} "
                         "keys were asked for")
    if not answer["calls"] <= answer["keys"] <= answer["calls"] * max(answer["largest"], 1):
        raise BenchError(f"{contender}: calls and keys do not fit: {answer}")


def show(report, names, memory, rounds):
    per_ns = 1e3 if memory else 1e6  # loads in a ns -> M loads/s, k loads/s
    rows = []
    for name in names:
        def of(figure, digits):
            return f"{rounds.median_of(name, figure):.{digits}f}"
        vs = f"{rounds.ratio(OURS, name):.3f}" if OURS in names else ""
        rows.append([
            name,
            of(lambda a: a["n_ops"] * per_ns / a["wall_ns"], 2),
            f"{rounds.spread_pct(name):.0f} %",
            of(lambda a: a["calls"] / a["n_ops"], 3),
            of(lambda a: a["keys"] / max(a["calls"], 1), 2),
            of(lambda a: a["largest"], 0),
            of(lambda a: a["p50_ns"] / 1000, 2),
            of(lambda a: a["p99_ns"] / 1000, 2),
            of(lambda a: a["used_ns"] / a["n_ops"] / 1000, 3),
            vs,
        ])
    rate = "M loads/s" if memory else "k loads/s"
    delay = "p50 us" if memory else "added p50 us"
    report.table(["contender", rate, "spread", "calls a load", "keys a call", "largest", delay,
                  "p99", "CPU us a load", "ours costs"], rows)


def ratios(report, names, rounds):
    """Of eight threads and the round trip."""
    if OURS not in names:
        return
    if ONE in names:
        report.ratio("t8_200us_cost_vs_one_connection", rounds.ratio(OURS, ONE), 0.167)
    if PARALLEL in names:
        def calls(name):
            return rounds.median_of(name, lambda a: a["calls"] / a["n_ops"])
        report.ratio("t8_200us_calls_vs_parallel", calls(OURS) / calls(PARALLEL), 0.167)
        report.ratio("t8_200us_cost_vs_parallel", rounds.ratio(OURS, PARALLEL), 1.11)


def measure_all(report, contenders):
    ms, warm_ms = MS[report.quick], WARM_MS[report.quick]
    for title, memory, members in SOURCES:
        taking_part = [c for c in contenders if c.name in members]
        names = [c.name for c in taking_part]
        for n_threads in THREADS:
            rounds = measure(report, taking_part, "run", same_work=False,
                             n_rounds=7 if report.quick else 9, threads=n_threads, memory=memory,
                             ms=ms, warm_ms=warm_ms)
            for name, answers in rounds.answers.items():
                for answer in answers:
                    check(name, answer)
            report.text(f"\n## {n_threads} thread{'s' if n_threads > 1 else ''}, {title}")
            show(report, names, memory, rounds)
            if n_threads == 8 and not memory:
                ratios(report, names, rounds)


def run(report, find, options):
    server_argv = find("call_server")
    if server_argv is None:
        raise BenchError("there is no call_server: run this through make, which builds it")
    report.patience_s = PATIENCE_S[report.quick]
    with Server(server_argv) as server:
        LoopContender.server_pid = server.process.pid
        contenders = open_contenders(command_lines(report, find, server), LoopContender)
        report.head(contenders, f"{MS[report.quick]} ms a round after {WARM_MS[report.quick]} ms of "
                                "warm-up; uint64 -> 32 bytes (node: small integer -> object of "
                                "four numbers)")
        measure_all(report, contenders)
        for contender in contenders:
            contender.close()
