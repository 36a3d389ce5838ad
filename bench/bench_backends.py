"""make bench-backends: rows through a store, a batch a call and a key a call, and stampedes."""

import os
import pwd
import shutil
import subprocess
import tempfile
import time

from driver import Alias, Contender, ROUNDS, measure
from page import BenchError

TITLE = "Loads through a store"
BATCH = 100
ROWS = (20000, 4000)          # full, QUICK: rows in the store
SINGLES = (2000, 400)         # rows of a round that are asked for one at a time
STAMPEDES = ((1, 8), (2, 8), (4, 8), (8, 8))  # processes, threads
STAMPEDE_ROUNDS = (20, 5)
POSTGRES_FOLDERS = ("/usr/lib/postgresql",)


class StoreContender(Contender):
    """Half of its work is done by a server: nothing tells how much of the time was its own."""

    @staticmethod
    def share(_):
        return 1


class Servers:
    """Servers of our own in a temporary folder, on Unix sockets; ended with the benchmark."""

    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="bench.")
        self.processes = []

    def redis(self):
        """The path of a Redis server's socket, or None."""
        server = shutil.which("redis-server") or shutil.which("valkey-server")
        if server is None:
            return None
        path = os.path.join(self.folder, "redis")
        self.processes.append(subprocess.Popen(
            [server, "--port", "0", "--unixsocket", path, "--save", "", "--appendonly", "no"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        return path if waited(lambda: os.path.exists(path)) else None

    def postgres(self):
        """The URL of a PostgreSQL server, or None."""
        bins = [os.path.join(f, v, "bin") for f in POSTGRES_FOLDERS if os.path.isdir(f)
                for v in sorted(os.listdir(f))]
        bins = [b for b in bins if os.path.exists(os.path.join(b, "initdb"))]
        if not bins:
            return None
        data = os.path.join(self.folder, "pg")
        os.mkdir(data, 0o700)
        as_user = {}
        if os.getuid() == 0:  # PostgreSQL refuses to run as root
            nobody = pwd.getpwnam("nobody")
            os.chmod(self.folder, 0o755)
            os.chown(data, nobody.pw_uid, nobody.pw_gid)
            as_user = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": data}
        initdb = [os.path.join(bins[-1], "initdb"), "-D", os.path.join(data, "d"), "-U", "bench", "-A", "trust",
                  "--no-sync", "--no-locale", "-E", "UTF8"]
        if subprocess.run(initdb, check=False, **as_user, **quiet).returncode != 0:
            return None
        self.processes.append(subprocess.Popen(
            [os.path.join(bins[-1], "postgres"), "-D", os.path.join(data, "d"), "-k", data, "-c",
             "listen_addresses=", "-c", "fsync=off"], **as_user, **quiet))
        ready = [os.path.join(bins[-1], "pg_isready"), "-q", "-h", data]
        if not waited(lambda: subprocess.run(ready, check=False).returncode == 0):
            return None
        return f"postgresql://bench@/postgres?host={data}"

    def end(self):
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def waited(condition):
    for _ in range(200):
        if condition():
            return True
        time.sleep(0.05)
    return False


def opened(find, servers):
    """[(contender, url)], and the url of each store that is there."""
    redis, postgres = servers.redis(), servers.postgres()
    urls = {"memory": "memory", "sqlite": "sqlite:" + os.path.join(servers.folder, "rows.db")}
    if redis:
        urls["redis"] = "unix://" + redis
    if postgres:
        urls["postgresql"] = postgres
    contenders = []
    program = find("backends_ours")
    if program is None:
        raise BenchError("there is no contender: run this through make, which builds them")
    for url in urls.values():
        contenders.append(StoreContender(["env", "BENCH_STORE=" + url] + program))
    if redis and find("backends_hiredis"):
        contenders.append(StoreContender(["env", "BENCH_REDIS=" + redis] + find("backends_hiredis")))
    return contenders, urls


def label(name, batch):
    return f"{name} x {batch}"


def measure_gets(report, contenders):
    n_rows, n_single = ROWS[report.quick], SINGLES[report.quick]
    if report.tiny:
        n_rows, n_single = 400, 100
    for contender in contenders:
        contender.ask("fill", n=n_rows)
    batched = [Alias(c, label(c.name, BATCH), "get", batch=BATCH, n=n_rows) for c in contenders]
    single = [Alias(c, label(c.name, 1), "get", batch=1, n=n_single) for c in contenders]
    # Parts of the work differ: a key a call is asked for fewer rows.
    rounds = measure(report, batched, "get", n_rounds=ROUNDS)
    singles = measure(report, single, "get", n_rounds=ROUNDS)
    rounds.cost_ns.update(singles.cost_ns)
    rounds.answers.update(singles.answers)
    return rounds


def show_gets(report, contenders, rounds):
    report.text(f"\n## Rows from the store, {BATCH} a call and one a call\n\nThe loader's own cache is too small "
                "to matter; values are 104 bytes. µs a key: median of the rounds ± half the interquartile "
                "range. A call's p50 and p99 are medians over the rounds.")
    rows = []
    for contender in contenders:
        for batch in (BATCH, 1):
            name = label(contender.name, batch)
            us = rounds.median(name) / 1000
            rows.append([contender.name, batch, f"{us:.2f} ± {rounds.spread_pct(name):.0f} %", f"{1e6 / us:,.0f}"] +
                        [f"{rounds.median_of(name, lambda a, k=k: a[k]) / 1000:.0f}"
                         for k in ("call_p50_ns", "call_p99_ns")])
    report.table(["contender", "keys a call", "µs a key", "keys/s", "call p50 µs", "call p99 µs"], rows)
    report.bars_plot("", "A row through a store", "store", "µs a key",
                     [c.name for c in contenders],
                     [(f"{batch} a call", [rounds.median(label(c.name, batch)) / 1000 for c in contenders])
                      for batch in (BATCH, 1)], log_y=True)


def show_stampedes(report, find, urls):
    report.text("\n## Stampedes\n\nAll threads of all processes load a key that nobody has, at the same moment; the "
                "source takes 20 ms. Fetches a round; 1 is a perfect store, as many as processes no store at all.")
    rows = []
    program = find("backends_stampede")
    n_rounds = 2 if report.tiny else STAMPEDE_ROUNDS[report.quick]
    for name, url in [("none", "none")] + [(n, u) for n, u in urls.items() if n != "memory"]:
        row = [name]
        for processes, threads in STAMPEDES:
            done = subprocess.run(program + [url, str(processes), str(threads), str(n_rounds)],
                                  capture_output=True, text=True, check=False)
            if done.returncode != 0:
                raise BenchError(f"a stampede of {name}: {done.stderr.strip()}")
            fetches, _, worst_ms = (int(word) for word in done.stdout.split())
            row.append(f"{fetches / n_rounds:.2f} ({worst_ms} ms)")
        rows.append(row)
    report.table(["store"] + [f"{p} x {t}: fetches (slowest load)" for p, t in STAMPEDES], rows)


def ratios(report, rounds):
    ours = "ours-unix"
    rounds.compare(report, "redis_vs_mget", label(ours, BATCH), label("hiredis", BATCH), 1.15)
    rounds.compare(report, "redis_vs_gets", label(ours, BATCH), label("hiredis", 1), 0.1)
    for name in ("sqlite", "postgresql"):
        rounds.compare(report, f"{name}_batched_vs_single", label("ours-" + name, BATCH),
                       label("ours-" + name, 1), 0.2)


def run(report, find, options):
    servers = Servers()
    contenders = []
    try:
        contenders, urls = opened(find, servers)
        report.head(contenders, "uint64 -> 104 bytes over Unix sockets; Redis without persistence, PostgreSQL "
                                "without fsync, an SQLite file in the temporary folder")
        rounds = measure_gets(report, contenders)
        show_gets(report, contenders, rounds)
        show_stampedes(report, find, urls)
        ratios(report, rounds)
    finally:
        for contender in contenders:
            contender.close()
        servers.end()
