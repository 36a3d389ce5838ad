#!/usr/bin/env python3
"""What a loader costs on a microcontroller, and what each switch adds: `make size`.

Every row is one program that uses a cache's or a loader's functions once each, compiled for Cortex-M0 and -M3 with
-Os and linked without start-up code, so that only what is reachable counts. Sizes are exact for a compiler: the page
says which. Limits (--check) are those that the README promises.
"""
import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
CORES = ("cortex-m0", "cortex-m3")
PAGE = os.path.join(ROOT, "bench", "results", "size-arm-none-eabi-gcc-Os.md")
N_ENTRIES = (128, 256)  # bytes an entry are a difference: what is there once cancels out; at 2^n there are most chains

CACHE = """
static regs_cache c;
void use(const regs_cache_config *cfg, uint32_t key, struct value *v, uint64_t now_ns)
{
    regs_cache_init(&c, cfg);
    regs_cache_set(&c, key, v, 1000);
    regs_cache_get(&c, key, v);
    regs_cache_delete(&c, key);
    regs_cache_advance(&c, now_ns);
    regs_cache_clear(&c);
    regs_cache_destroy(&c);
}
"""
LOADER = """
static regs l;
void use(const regs_config *cfg, uint32_t key, struct value *v, uint64_t now_ns)
{
    static const uint32_t keys[4] = {1, 2, 3, 4};
    static struct value values[4];
    static dload_status statuses[4];
    static regs_waiter w;
    regs_init(&l, cfg);
    regs_load(&l, key, v);
    regs_load_many(&l, keys, 4, values, statuses);
    regs_start(&l, key, &w);
    regs_dispatch(&l, NULL);
    regs_process(&l, now_ns);
    regs_prime(&l, key, v, 0);
    regs_clear(&l, key);
    regs_close(&l, DLOAD_DRAIN, 0);
    regs_destroy(&l);
}
dload_status answer(regs_batch *b, size_t i, const struct value *v)
{
    return regs_batch_set(b, i, v);
}
"""
BASE = {"FREESTANDING": "1", "COMPACT": "1", "CLOCK": "DLOAD_CLOCK_MANUAL", "EVICT": "DLOAD_EVICT_CLOCK", "TTL": "1",
        "STATS": "0", "ASYNC": "0"}
# What a row is called, its program, and how it differs from BASE.
ROWS = [
    ("cache alone: TTL, CLOCK", CACHE, {}),
    ("... without `DLOAD_TTL`", CACHE, {"TTL": "0"}),
    ("... `DLOAD_EVICT_FIFO`", CACHE, {"EVICT": "DLOAD_EVICT_FIFO"}),
    ("... `DLOAD_EVICT_NONE`", CACHE, {"EVICT": "DLOAD_EVICT_NONE"}),
    ("... with `DLOAD_STATS`", CACHE, {"STATS": "1"}),
    ("... `DLOAD_LOCK_CUSTOM`", CACHE, {"ASYNC": "1", "LOCK": "DLOAD_LOCK_CUSTOM"}),
    ("... without `DLOAD_COMPACT`", CACHE, {"COMPACT": "0"}),
    ("loader: TTL, CLOCK", LOADER, {}),
    ("... without `DLOAD_TTL`", LOADER, {"TTL": "0"}),
    ("... `DLOAD_EVICT_FIFO`", LOADER, {"EVICT": "DLOAD_EVICT_FIFO"}),
    ("... with `DLOAD_STATS`", LOADER, {"STATS": "1"}),
    ("... without `DLOAD_COMPACT`", LOADER, {"COMPACT": "0"}),
    ("... with `DLOAD_ASYNC`", LOADER, {"ASYNC": "1"}),
    ("... with `DLOAD_ASYNC`, `DLOAD_LOCK_CUSTOM`", LOADER, {"ASYNC": "1", "LOCK": "DLOAD_LOCK_CUSTOM"}),
    ("... with both, and `DLOAD_STATS`", LOADER, {"ASYNC": "1", "LOCK": "DLOAD_LOCK_CUSTOM", "STATS": "1"}),
]
# What is promised of a row: .text and .rodata of cortex-m3, bytes an entry beyond key and value.
LIMITS = {[body for _, body, _ in ROWS].index(CACHE): (4096, 12), [body for _, body, _ in ROWS].index(LOADER): (10240, 12)}
LOCK = ("#define DLOAD_CUSTOM_TYPE uint32_t\n#define DLOAD_CUSTOM_INIT(p) (*(p) = 0)\n"
        "extern void section_enter(void);\nextern void section_leave(void);\n"
        "#define DLOAD_CUSTOM_ENTER(p) ((void)(p), section_enter())\n"
        "#define DLOAD_CUSTOM_LEAVE(p) ((void)(p), section_leave())\n")


class Trouble(Exception):
    """A program does not compile; str() is what the compiler says."""


def run(*command):
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True)
    if done.returncode != 0:
        raise Trouble("%s\n%s" % (" ".join(command), done.stderr))
    return done.stdout


def program(body, changes):
    switches = dict(BASE, **changes)
    lines = ["#include <stdint.h>", "struct value {\n    uint32_t a, b;\n};"]
    lines += ["#define DLOAD_%s %s" % item for item in switches.items()]
    if "LOCK" in changes:
        lines.append(LOCK)
    lines += ["#define DLOAD_NAME regs", "#define DLOAD_KEY uint32_t", "#define DLOAD_VALUE struct value",
              '#include "dataloader.h"', body]
    if switches["COMPACT"] == "1" and (body is CACHE or switches["ASYNC"] == "0"):  # what DLOAD_BYTES knows
        most = ", 0" if body is CACHE else ", 8"
        lines += ["char block_%d[DLOAD_BYTES(regs, %d%s)];" % (n, n, most) for n in N_ENTRIES]
    lines.append("char itself[sizeof(regs%s)];" % ("_cache" if body is CACHE else ""))
    return "\n".join(lines) + "\n"


def symbols(tool, name):
    """(kind, bytes, name) of each symbol, largest first."""
    found = re.findall(r"^[0-9a-f]+ ([0-9a-f]+) (\w) (\S+)$", run(tool + "nm", "-S", name), re.M)
    return sorted(((kind, int(size, 16), symbol) for size, kind, symbol in found), key=lambda s: (-s[1], s[2]))


def measure(tool, core, source, temporary):
    """What one program takes, as a dict: text, rodata, itself, entry (or None), and its symbols."""
    unit, linked = os.path.join(temporary, "unit.c"), os.path.join(temporary, "unit.elf")
    with open(unit, "w", encoding="utf-8") as f:
        f.write(source)
    # Linked but for what the user brings, so that unused functions and the library's are told apart.
    run(tool + "gcc", "-mcpu=" + core, "-mthumb", "-std=c11", "-ffreestanding", "-Os", "-ffunction-sections",
        "-fdata-sections", "-nostdlib", "-I", ROOT, unit, "-Wl,--gc-sections,--unresolved-symbols=ignore-all,-e,use",
        "-Wl,-u,answer,-u,itself" + "".join(",-u,block_%d" % n for n in N_ENTRIES if "block_%d" % n in source),
        "-o", linked)
    found = symbols(tool, linked)
    size = {symbol: n for _, n, symbol in found}
    blocks = [size.get("block_%d" % n) for n in N_ENTRIES]
    entry = (blocks[1] - blocks[0]) / (N_ENTRIES[1] - N_ENTRIES[0]) - 12 if blocks[0] else None
    sections = dict(re.findall(r"^(\.\w+)\S*\s+(\d+)", run(tool + "size", "-A", linked), re.M))
    return {"text": int(sections.get(".text", 0)), "rodata": int(sections.get(".rodata", 0)),
            "itself": size["itself"], "entry": entry, "symbols": [s for s in found if s[0] in "tT"]}


def table(results):
    yield "| | .text M0 | .text M3 | more on M3 | .rodata | struct, bytes | an entry beyond key and value |"
    yield "|---|---|---|---|---|---|---|"
    base = None
    for row, (name, _, _) in enumerate(ROWS):
        m0, m3 = (results[row][core] for core in CORES)
        if not name.startswith("..."):
            base = m3["text"]
        more = "" if not name.startswith("...") else "%+d" % (m3["text"] - base)
        entry = "" if m3["entry"] is None else "%.1f" % m3["entry"]
        yield "| %s | %d | %d | %s | %d | %d | %s |" % (name, m0["text"], m3["text"], more, m3["rodata"], m3["itself"], entry)


def costs():
    """Instructions of each call, by core, as a table."""
    counts, cores = {}, []
    for line in run(os.path.join(ROOT, "tests", "tools", "freestanding_measure")).splitlines():
        core, call, mean, worst = line.split()
        cores += [core] if core not in cores else []
        counts.setdefault(call, {})[core] = "%s / %s" % (mean, worst)
    if not counts:
        raise Trouble("tests/tools/freestanding_measure counted nothing")
    yield "| mean / worst | %s |" % " | ".join(cores)
    yield "|---|" + "---|" * len(cores)
    for call, by_core in counts.items():
        yield "| %s | %s |" % (call.replace("_", " "), " | ".join(by_core[core] for core in cores))


def page(tool, results):
    yield "# Bytes on a microcontroller"
    yield ""
    yield ("`make size`: %s, -Os; key `uint32_t`, value of 8 bytes; each row is one program that calls every function of "
           "the kind once. `DLOAD_FREESTANDING 1`, and `DLOAD_COMPACT 1`, `DLOAD_STATS 0`, `DLOAD_ASYNC 0` where a row does "
           "not say otherwise. Without what the compiler calls: `memcpy`, `memset` and their kin."
           % run(tool + "gcc", "--version").split("\n")[0])
    yield ""
    yield from table(results)
    yield ""
    yield "## Instructions of a call"
    yield ""
    yield ("Counted by QEMU; 64 entries, batches of 8 keys, a TTL, CLOCK, -Os, compiled as the rows above; the fetch "
           "function answers from an array. \"over\": a key that is there; \"evicting\": the cache is full, worst when "
           "every entry was used since the hand came by.")
    yield ""
    yield from costs()
    for row in LIMITS:
        yield ""
        yield "Functions of \"%s\" on a Cortex-M3, by size:" % ROWS[row][0]
        yield ""
        yield ", ".join("`%s` %d" % (symbol, n) for _, n, symbol in results[row]["cortex-m3"]["symbols"] if n >= 32)


def check(results):
    """Prints a verdict a line; False when a promise is not kept."""
    good = True
    for row, (text, entry) in LIMITS.items():
        name, got = ROWS[row][0], results[row]["cortex-m3"]
        for what, is_, most in (("bytes of code", got["text"] + got["rodata"], text), ("bytes an entry", got["entry"], entry)):
            good &= is_ <= most
            print("%s - %s: %g %s, of %d" % ("ok" if is_ <= most else "not ok", name, is_, what, most))
    return good


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--check", action="store_true", help="compare with what is promised; write nothing")
    args = p.parse_args()
    tool = os.environ.get("ARM", "arm-none-eabi-")
    if not shutil.which(tool + "gcc"):
        sys.exit("size: %sgcc is not installed" % tool)
    results = {}
    with tempfile.TemporaryDirectory() as temporary:
        for row, (_, body, changes) in enumerate(ROWS):
            results[row] = {core: measure(tool, core, program(body, changes), temporary) for core in CORES}
    if args.check:
        sys.exit(0 if check(results) else 1)
    text = "\n".join(page(tool, results)) + "\n"
    with open(PAGE, "w", encoding="utf-8") as f:
        f.write(text)
    print(text, end="")


if __name__ == "__main__":
    try:
        main()
    except Trouble as e:
        sys.exit("size: %s" % e)
