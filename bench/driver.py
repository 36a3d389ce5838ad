"""The side of the harness that asks: processes, rounds, medians.

See harness.h for the lines that contenders speak and README.md for the method. A benchmark is a
module bench_<name>.py with a function run(report, find, options) that uses what is here and writes
to a page.Report.
"""

import concurrent.futures
import os
import statistics
import subprocess
import sys
import time

from page import BenchError

ROUNDS = 9               # measured rounds per contender and command; the median counts
MIN_ROUNDS = 7
RETRIES = 4              # times that a disturbed round may be repeated
UNDISTURBED = 0.96       # a round is disturbed when its process ran for less of the time
OTHERS = 0.15            # or, if it may sleep, when others used more than so much of one core


class Contender:
    """One process under measurement."""

    def __init__(self, argv):
        self.process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        text=True, bufsize=1)
        self.hello = {}
        for line in self.process.stdout:
            key, _, value = line.strip().partition(" ")
            if key == "ready":
                break
            self.hello[key] = value
        else:
            raise BenchError(f"{argv[0]} ended before it was ready")
        self.name = self.hello["name"]

    def ask(self, command, **args):
        """Runs one command; returns the numbers of its answer."""
        words = [command] + [f"{key}={int(value)}" for key, value in args.items()]
        try:
            self.process.stdin.write(" ".join(words) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            raise BenchError(f"{self.name} died before {command}") from None
        line = self.process.stdout.readline()
        if not line:
            raise BenchError(f"{self.name} died during {command}")
        status, *fields = line.split()
        if status != "ok":
            raise BenchError(f"{self.name}, {command}: {line.strip().partition(' ')[2]}")
        answer = {}
        for field in fields:
            key, _, value = field.partition("=")
            answer[key] = int(value)
        return answer

    @staticmethod
    def share(answer):
        """How much of the measured time the contender had to itself; 1 when it cannot be told."""
        return answer["cpu_ns"] / max(answer["wall_ns"], 1) if "cpu_ns" in answer else 1

    def close(self):
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()


def cpu_ns(pid):
    """CPU time of a process with all its threads (clock_getcpuclockid)."""
    return time.clock_gettime_ns(~pid << 3 | 2)


def busy_ns():
    """CPU time of everything on the machine, as the kernel's ticks saw it."""
    with open("/proc/stat", encoding="utf-8") as file:
        fields = [int(word) for word in file.readline().split()[1:9]]
    user, nice, system, _, _, irq, softirq, steal = fields
    ticks = user + nice + system + irq + softirq + steal
    return ticks * 1000000000 // os.sysconf("SC_CLK_TCK")


class WatchedContender(Contender):
    """A contender that may sleep: what counts is how much others ran meanwhile."""

    def ask(self, command, **args):
        start_ns = time.monotonic_ns()
        others_ns = -busy_ns()
        own_ns = -self.own_ns()
        answer = super().ask(command, **args)
        own_ns += self.own_ns()
        others_ns += busy_ns() - own_ns
        answer["others_pct"] = 100 * others_ns // (time.monotonic_ns() - start_ns)
        return answer

    def own_ns(self):
        return cpu_ns(self.process.pid) + time.process_time_ns()

    @staticmethod
    def share(answer):
        return 1 - max(answer["others_pct"] / 100 - OTHERS, 0)


class Alias:
    """A contender that is asked for something of its own under a name of its own, so that one process
    takes part several times in the same rounds."""

    def __init__(self, contender, name, command, **args):
        self.contender = contender
        self.name = name
        self.command = command
        self.args = args
        self.share = contender.share

    def ask(self, _, **args):
        return self.contender.ask(self.command, **dict(args, **self.args))


def spread_pct(values):
    """Half the distance between the quartiles, in percent of the median."""
    low, _, high = statistics.quantiles(values, n=4)
    return 50 * (high - low) / statistics.median(values)


class Rounds:
    """What one command took, round by round, for each contender."""

    def __init__(self):
        self.cost_ns = {}  # name -> [ns per operation, one per round]
        self.answers = {}  # name -> [answer, one per round]

    @property
    def last(self):
        """name -> the answer of the last round."""
        return {name: answers[-1] for name, answers in self.answers.items()}

    def median(self, name):
        return statistics.median(self.cost_ns[name])

    def median_of(self, name, figure):
        """The median over the rounds of figure(answer)."""
        return statistics.median(figure(answer) for answer in self.answers[name])

    def spread_pct(self, name):
        return spread_pct(self.cost_ns[name])

    def ratios(self, ours, peer):
        """The rounds' own ratios: what disturbs a whole round falls out of them."""
        return [a / b for a, b in zip(self.cost_ns[ours], self.cost_ns[peer])]

    def ratio(self, ours, peer):
        """Their median."""
        return statistics.median(self.ratios(ours, peer))

    def compare(self, report, metric, ours, peer, target):
        """Gives the report this ratio, if both took part."""
        if ours in self.cost_ns and peer in self.cost_ns:
            ratios = self.ratios(ours, peer)
            report.ratio(metric, statistics.median(ratios), target, spread_pct(ratios))


def ask_undisturbed(report, contender, command, number, args_of):
    """Measures one round, again when the process was kept from running, as long as the report has
    patience; of several attempts the least disturbed counts. Returns its arguments and answer."""
    best = None
    for attempt in range(RETRIES + 1):
        args = args_of(number * (RETRIES + 1) + attempt)
        start = time.monotonic()
        answer = contender.ask(command, **args)
        share = contender.share(answer)
        if best is None or share > best[0]:
            best = (share, args, answer)
        if share >= UNDISTURBED:
            break
        report.n_disturbed += 1
        report.patience_s -= time.monotonic() - start
        if report.patience_s < 0:
            break
    return best[1:]


def measure(report, contenders, command, n_rounds=ROUNDS, same_work=True, args_of=None, **args):
    """Runs a command n_rounds times on each contender, in turn, in an order that is reversed every
    other round. command may be a function of the contender; args_of(attempt) gives arguments that
    differ from one attempt to the next (below n_attempts(n_rounds)). With same_work, contenders
    that were asked with the same arguments must report the same n_ops and checksum."""
    if n_rounds < MIN_ROUNDS:
        raise BenchError(f"{n_rounds} rounds of {command} are too few")
    result = Rounds()
    for contender in contenders:
        result.cost_ns[contender.name] = []
        result.answers[contender.name] = []
    for number in range(n_rounds):
        order = contenders if number % 2 == 0 else list(reversed(contenders))
        work = {}
        for contender in order:
            asked, answer = ask_undisturbed(
                report, contender, command(contender) if callable(command) else command, number,
                lambda attempt: dict(args, **(args_of(attempt) if args_of else {})))
            work.setdefault(tuple(asked.items()), {})[contender.name] = (answer["n_ops"],
                                                                         answer["checksum"])
            result.cost_ns[contender.name].append(answer["wall_ns"] / answer["n_ops"])
            result.answers[contender.name].append(answer)
        for done in work.values():
            if same_work and len(set(done.values())) > 1:
                raise BenchError(f"{command}: contenders disagree on (operations, checksum): "
                                 f"{done}")
    return result


def ask_all(contenders, command, **args):
    """Asks all of them for something that is not measured, as many at a time as there are processors.
    Returns name -> answer."""
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        answers = pool.map(lambda contender: contender.ask(command, **args), contenders)
        return {contender.name: answer for contender, answer in zip(contenders, answers)}


def n_attempts(n_rounds=ROUNDS):
    """How many different arguments args_of may have to give."""
    return n_rounds * (RETRIES + 1)


def open_contenders(paths, kind=Contender):
    """Starts every contender that was built; says which were not. paths: list of (label, argv)."""
    contenders = []
    for label, argv in paths:
        if argv is None or not os.path.exists(argv[0]) and os.sep in argv[0]:
            print(f"(no contender {label}: see what its build said above)", file=sys.stderr)
            continue
        contenders.append(kind(argv))
    if not contenders:
        raise BenchError("there is no contender: run this through make, which builds them")
    return contenders
