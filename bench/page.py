"""A benchmark's page: text, tables, RATIO lines and plots, on standard output and in a file.

Report is what a benchmark writes to. bench/run makes it: the page of a full run goes to
bench/results/<benchmark>-<compiler and flags>.md with its plots beside it, that of a QUICK run, and
that of a run on request elsewhere, to a folder that nobody commits. With SIZES a QUICK run is tiny,
as tests/tools/bench wants it. Plots are SVG by gnuplot; without gnuplot the page says that they are
missing.
"""

import os
import shutil
import subprocess
import time


class BenchError(Exception):
    """A contender failed, or contenders that did the same work disagree."""


PATIENCE_S = (60, 5)     # what repeating rounds may cost in all: full, QUICK

# Lines and bars, told apart on white and on dark paper, and without colours by their order.
COLOURS = ("#1b6ca8", "#d1495b", "#66a182", "#edae49", "#7d5ba6", "#8d6b4f", "#4c9a9a", "#8a8a8a",
           "#2e4057", "#c77dba", "#a3b18a", "#e07a5f")

PLOT_HEAD = """\
set terminal svg size {width},{height} font "sans-serif,12" background "#ffffff"
set output "{output}"
set title "{title}" noenhanced
set xlabel "{x_label}" noenhanced
set ylabel "{y_label}" noenhanced
set key outside right top noenhanced
set grid ytics lc rgb "#dddddd"
set border 3
set tics nomirror noenhanced
set format y "%g"
"""


class Report:
    """Collects the page, and the RATIO lines that come after it.

    name: of the page and the prefix of its plots, or None to write no files
    folder: where they go
    quick, tiny: how much is measured
    """

    def __init__(self, title, quick, name=None, folder=None):
        self.quick = quick
        self.name = name
        self.folder = folder
        self.started = time.monotonic()
        self.ratios = []
        self.n_disturbed = 0
        self.tiny = quick and bool(os.environ.get("SIZES"))  # to see that it runs
        self.patience_s = 0.2 if self.tiny else PATIENCE_S[quick]
        self.machine = machine()
        self.lines = []
        self.text(f"# {title}")

    def sizes(self, full, quick):
        """How many entries tables have: SIZES of the environment, or one of these."""
        asked = os.environ.get("SIZES", "").split()
        return tuple(int(size) for size in asked) or (quick if self.quick else full)

    def text(self, line=""):
        """Writes a line, or several."""
        print(line, flush=True)
        self.lines.append(line)

    def head(self, contenders, setting, facts=()):
        """Says on what, with what and how big this was measured. facts: more (name, value) pairs."""
        self.text(f"\n{'QUICK (smaller: targets count at full size)' if self.quick else 'full'}: "
                  f"{setting}\n")
        for key, value in self.machine + list(facts):
            self.text(f"- {key}: {value}")
        for key in ("compiler", "flags"):
            by_value = {}
            for contender in contenders:
                by_value.setdefault(contender.hello[key], []).append(contender.name)
            for value, names in by_value.items():
                whose = "" if len(by_value) == 1 else f" ({', '.join(names)})"
                self.text(f"- {key}: {value}{whose}")
        if contenders:
            self.text("\nContenders:\n")
        for contender in contenders:
            self.text(f"- **{contender.name}**: {contender.hello['note']}")

    def table(self, header, rows):
        """The first column is text, the others are figures."""
        self.text("\n| " + " | ".join(header) + " |")
        self.text("|---|" + "---:|" * (len(header) - 1))
        for row in rows:
            self.text("| " + " | ".join(str(cell) for cell in row) + " |")

    def ratio(self, metric, value, target, spread_pct=None):
        """One line RATIO <metric> <value> <target> at the end: lower is better, see README.md.
        spread_pct: half the distance between the rounds' quartiles, for the table of targets."""
        self.ratios.append((metric, value, target, spread_pct))

    def targets(self):
        """The table of targets: those whose spread is known."""
        rows = [(metric, f"{value:.3f}", f"± {spread:.0f} %", f"{target:g}",
                 "yes" if value <= target else f"no, {100 * (value / target - 1):.0f} % over")
                for metric, value, target, spread in self.ratios if spread is not None]
        if rows:
            self.text("\n## Targets\n\nRatios: the median of the rounds' own ratios, ± half the "
                      "distance between their quartiles.")
            self.table(("metric", "reached", "spread", "target", "held"), rows)

    def lines_plot(self, what, title, x_label, y_label, series, log_x=False, log_y=False):
        """One line a series over numbers. series: [(label, [(x, y), ...])]; what: see _plot."""
        commands = [f"set logscale {axis}" for axis, log in (("x", log_x), ("y", log_y)) if log]
        if log_x:
            commands.append('set format x "%.0s%c"')
        if not log_y:
            commands.append("set yrange [0:*]")
        parts = []
        for i, (label, points) in enumerate(series):
            commands.append(data_block(f"d{i}", [f"{x:g} {y:.6g}" for x, y in points]))
            parts.append(f'$d{i} using 1:2 with linespoints pt {(7, 5, 9, 11)[i % 4]} ps 0.6 lw 2 '
                         f'lc rgb "{COLOURS[i % len(COLOURS)]}" title "{quoted(label)}"')
        self._plot(what, title, x_label, y_label, commands, parts)

    def bars_plot(self, what, title, x_label, y_label, groups, series, log_y=False):
        """One cluster of bars a group, one bar a series. groups: names; series: [(label, [y or None,
        one per group])]; what: see _plot."""
        commands = ["set style data histograms", "set style histogram clustered gap 1",
                    "set style fill solid 0.9 noborder", "set xtics scale 0",
                    "set logscale y" if log_y else "set yrange [0:*]"]
        parts = []
        rows = [[f'"{quoted(group)}"'] + ["NaN" if y[g] is None else f"{y[g]:.6g}"
                                          for _, y in series] for g, group in enumerate(groups)]
        commands.append(data_block("d", [" ".join(row) for row in rows]))
        for i, (label, _) in enumerate(series):
            parts.append(f'$d using {i + 2}:xtic(1) lc rgb "{COLOURS[i % len(COLOURS)]}" '
                         f'title "{quoted(label)}"')
        self._plot(what, title, x_label, y_label, commands, parts)

    def _plot(self, what, title, x_label, y_label, commands, parts):
        """Writes <name>[-what].svg beside the page and shows it there; what "" = the page's name alone."""
        if self.folder is None or not parts:
            return
        file = self.name + ("-" + what if what else "") + ".svg"
        if shutil.which("gnuplot") is None:
            self.text(f"\n({title}: no plot, because gnuplot is not installed)")
            return
        output = os.path.join(self.folder, file)
        script = PLOT_HEAD.format(width=900, height=450, output=quoted(output), title=quoted(title),
                                  x_label=quoted(x_label), y_label=quoted(y_label))
        script += "\n".join(commands) + "\nplot " + ", ".join(parts) + "\n"
        os.makedirs(self.folder, exist_ok=True)
        done = subprocess.run(["gnuplot"], input=script, capture_output=True, text=True, check=False)
        if done.returncode != 0 or not os.path.exists(output):
            raise BenchError(f"gnuplot: {done.stderr.strip()}")
        self.text(f"\n![{title}]({file})")

    def end(self):
        self.targets()
        self.text(f"\nAttempts at a round during which something else ran: {self.n_disturbed}. "
                  f"Load average at the end: {os.getloadavg()[0]:.1f}. "
                  f"Took {time.monotonic() - self.started:.0f} s.\n")
        for metric, value, target, _ in self.ratios:
            self.text(f"RATIO {metric} {value:.3f} {target:g}")
        if self.folder is not None:
            os.makedirs(self.folder, exist_ok=True)
            with open(os.path.join(self.folder, self.name + ".md"), "w", encoding="utf-8") as file:
                file.write("\n".join(self.lines) + "\n")


def quoted(text):
    """As it stands between gnuplot's double quotes."""
    return text.replace("\\", "\\\\").replace('"', '\\"')


def data_block(name, rows):
    return f"${name} << END_OF_DATA\n" + "\n".join(rows) + "\nEND_OF_DATA"


def first_line(path, prefix=""):
    try:
        with open(path, encoding="utf-8") as file:
            for line in file:
                if line.startswith(prefix):
                    return line.strip()
    except OSError:
        pass
    return ""


def cache_sizes():
    """Sizes of the first core's data caches, as the kernel names them."""
    base = "/sys/devices/system/cpu/cpu0/cache"
    sizes = []
    try:
        for index in sorted(os.listdir(base)):
            if index.startswith("index") and first_line(f"{base}/{index}/type") != "Instruction":
                sizes.append(f"L{first_line(f'{base}/{index}/level')} "
                             f"{first_line(f'{base}/{index}/size')}")
    except OSError:
        return "unknown"
    return ", ".join(sizes)


def machine():
    model = first_line("/proc/cpuinfo", "model name").partition(":")[2].strip() or "unknown CPU"
    memory_kb = int((first_line("/proc/meminfo", "MemTotal").split() or ["", "0"])[1])
    huge = first_line("/sys/kernel/mm/transparent_hugepage/enabled")
    huge = huge[huge.find("[") + 1:huge.find("]")] or "unknown"
    return [
        ("machine", f"{model}, {os.cpu_count()} cores, data caches {cache_sizes()}, "
                    f"{memory_kb / 2**20:.0f} GB"),
        ("system", f"{os.uname().sysname} {os.uname().machine}, transparent huge pages {huge}, "
                   f"load average at the start {os.getloadavg()[0]:.1f}"),
    ]


def size_name(n):
    """1000 -> 1k, 2000000 -> 2m: how sizes stand in metrics."""
    if n >= 1000000:
        return f"{n / 1000000:g}m"
    return f"{n / 1000:g}k" if n >= 1000 else str(n)
