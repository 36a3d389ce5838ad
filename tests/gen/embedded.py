"""Cases about profile = embedded: what it sets, the header without macros, its sizes."""

import importlib.machinery
import importlib.util
import os
import re
import shutil
import sys

from support import (
    HERE, MEASURE, PROJECT, WARNINGS, copied_project, mkloader, need, read, refused, run, spec_path, succeeded,
    text_of, write)

TESTS = os.path.dirname(HERE)
MEM = {"memcpy", "memmove", "memset", "memcmp"}
SPEC = "[registers]\nkey = uint16_t\nvalue = struct sample\ninclude = \"gen/sensor.h\"\nprofile = embedded\n"
OTHERS = [  # what else the profile allows
    ("id128", "key = id128\nvalue = struct sample\ncapacity = 100\n"), ("fifo", "key = int8_t\nvalue = void *\nevict = fifo\n"),
    ("forever", "key = uint32_t\nvalue = uint64_t\nttl = no\nevict = none\n"),
    ("counted", "key = uint64_t\nvalue = float\nstats = yes\nclock = env\n"),
    ("guarded", "key = uint32_t\nvalue = struct sample\nlock = custom\n"),
    ("wide", "key = bool\nvalue = struct sample\nevict = auto\nlock = none\nmax_queue = 9\n"),
]
LARGE = [  # ... and on cores that have more: these need the compiler's library for 64 bits
    ("large", "key = string\nvalue = blob\ncompact = no\nasync = yes\nevict = s3fifo\n"),
    ("heavy", "key = long\nvalue = struct sample\ncompact = no\nevict = lru\nweight = heaviness\nmax_weight = 900\n"),
    ("waits", "key = uint16_t\nvalue = struct sample\nasync = yes\nsettle_ns = 1ms\n"),
]
# Every line that an expanded header may have for the preprocessor.
ALLOWED = re.compile(r"""\#ifndef\ DLOAD_WRAPPER_registers_H | \#define\ DLOAD_WRAPPER_registers_H
    | \#ifdef\ DLOAD_VERSION | \#error\ "registers\.h\ .* | \#include\ (?:<(?:limits|stdbool|stddef|stdint)\.h>|"gen/sensor\.h")
    | \#ifdef\ __cplusplus | \#if\ !defined\(__cplusplus\) | \#ifdef\ __clang__ | \#if\ .*__(?:ARM_ARCH|BYTE_ORDER|GCC_ATOMIC)_.*
    | \#else | \#endif(?:\ /\*.*)? | \#pragma\ GCC\ diagnostic\ .*
    | \#define\ DLOAD_I_(?:UNUSED|INLINE|NOINLINE|COLD|LOCAL)\s+[_a-z(), A-Z]+
    | \#define\ DLOAD_I_STATIC_ASSERT\(condition,\ text\)\ \w+\(condition,\ text\)
    | \#ifndef\ DLOAD_ASSERT | \#define\ DLOAD_ASSERT\(condition\)\ \(\(void\)0\)
    | \#define\ DLOAD_BYTES(?:_QUEUED)?\(NAME,.* | \#define\ DLOAD_I_(?:CACHE|TABLE|SOLO)_BYTES\(.*
    | \#define\ DLOAD_I_(?:BLOCK_UP|CHECKED|CHAINS(?:_[0-9]+)?|SOLO_BATCHES|SOLO_PARTS)\(.*
    | \#define\ DLOAD_(?:I_)?[A-Z0-9_]+\s+[-+*()<>\w\s]*(?:/\*.*)?""", re.VERBOSE)
PLANTED = """
/* planted: nobody uses these */
typedef struct dload_i_planted {
    int n;
} dload_i_planted;
#define DLOAD_I_PLANTED 77u
DLOAD_I_LOCAL unsigned dload_i_planted_fn(dload_i_planted *p)
{
    return (unsigned)p->n + DLOAD_I_PLANTED;
}
#define DLOAD_I_PLANTED_CALL(p) dload_i_planted_fn(p)
/* planted: somebody uses this */
DLOAD_I_LOCAL int dload_i_planted_used(int n)
{
    return n + 1;
}
#define DLOAD_I_PLANTED_USED(n) dload_i_planted_used((n))
"""


def made(temporary, *options):
    folder = os.path.join(temporary, "made")
    os.makedirs(folder, exist_ok=True)
    succeeded(mkloader(spec_path("embedded"), "-o", folder, *options))
    return os.path.join(folder, "registers.h")


def code_of(text):
    return re.sub(r'/\*.*?\*/|"(?:\\.|[^"\\\n])*"', lambda m: "\n" * m.group().count("\n") or " ", text, flags=re.DOTALL)


def golden(temporary):
    """The header that tests/test_generated_expanded.c runs is what mkloader writes."""
    have = os.path.join(HERE, "expanded", "registers.h")
    need(read(made(temporary, "--expand")) == read(have), "expanded/registers.h is behind (run.py --regenerate, then look)")


def preprocessor_lines(temporary):
    """No macro is left but those that the head names, and the head counts them."""
    text = read(made(temporary, "--expand")).decode()
    lines = [line.strip() for line in re.sub(r"\\\n\s*", "", text).split("\n") if re.match(r"\s*#", line)]
    for line in lines:
        need(ALLOWED.fullmatch(line), "a line that is not documented: %s" % line)
    head = text.split("*/")[0]
    counted = re.findall(r"^ \* +([0-9]+)  (?![A-Z])(.*)$", head.split("LINES FOR THE PREPROCESSOR")[1].split("CONTENTS")[0], re.M)
    need(sum(int(n) for n, _ in counted) == len(lines), "the head counts %s, there are %d" % (counted, len(lines)))
    need(not any(what == "other" for _, what in counted), "the head does not know some: %s" % counted)
    need(not re.search(r"\bDLOAD_I_(?:LOAD|STORE)_\w+\(|\bDLOAD_I_FN\(|\bDLOAD_I_(?:UN)?LIKELY\(", code_of(text)), "macros are left")
    need(len(lines) < 100, "%d lines for the preprocessor" % len(lines))
    need(text.count("\n") < 3000, "%d lines: nobody reads that" % text.count("\n"))


def contents(temporary):
    """The list in the head says where things are."""
    lines = read(made(temporary, "--expand")).decode().split("\n")
    head = "\n".join(lines).split("*/")[0].split("CONTENTS")[1]
    places = re.findall(r"^ \* +([0-9]+)  ([A-Z ]+?) +(\w+)$", head, re.M)
    titles = [(n, line) for n, line in enumerate(lines, 1) if line.startswith("/* ==== ")]
    need([(int(n), "/* ==== %s: %s ==== */" % (what, part)) for n, what, part in places] == titles,
         "the contents say %s, there are %s" % (places, titles))
    for wanted in ("PUBLIC TYPES", "PUBLIC FUNCTIONS", "TABLE", "BATCHES", "MEMORY"):
        need(any(what == wanted for _, what, _ in places), "no section about " + wanted)


def other_loaders(temporary):
    """Each sort of loader that the profile allows compiles, expanded, without libc and without warnings, and
    needs nothing but the mem functions."""
    for name, keys in OTHERS + LARGE:
        spec, header = os.path.join(temporary, name + ".ini"), os.path.join(temporary, name + "s.h")
        types = 'include = "own.h"\n'
        write(os.path.join(temporary, "own.h"), '#include "gen/sensor.h"\nstatic inline uint32_t heaviness(const struct sample *s)\n'
                                                "{\n    return s->number;\n}\n#define DLOAD_CUSTOM_TYPE char\n"
                                                "#define DLOAD_CUSTOM_INIT(p) ((void)(p))\n"
                                                "#define DLOAD_CUSTOM_ENTER(p) ((void)(*(p) = 1))\n"
                                                "#define DLOAD_CUSTOM_LEAVE(p) ((void)(*(p) = 0))\n")
        write(spec, "[%ss]\nprofile = embedded\n%s%s" % (name, keys, types))
        succeeded(mkloader(spec, "--expand", "-o", temporary))
        unit = os.path.join(temporary, name + ".c")
        write(unit, unit_of(header, name + "s"))
        bare("gcc", unit, temporary)
        bare("clang", unit, temporary)
        for compiler in CROSS:
            if shutil.which(compiler.split()[0]) and (name, keys) in OTHERS:
                bare(compiler, unit, temporary)


CROSS = ["arm-none-eabi-gcc -mcpu=cortex-m0 -mthumb", "arm-none-eabi-gcc -mcpu=cortex-m3 -mthumb",
         "riscv64-unknown-elf-gcc -march=rv32imac -mabi=ilp32"]


def unit_of(header, name):
    """A unit that needs every public function of the loader."""
    functions = sorted(set(re.findall(r"^(?:DLOAD_I_UNUSED )?static (?:inline )?[^;{=]*?\b(%s_(?!i_)\w+)\(" % name,
                                      read(header).decode(), re.M)))
    need(len(functions) > 30, "found only %s" % functions)
    return '#include "%s"\nextern void (*const all[])(void);\nvoid (*const all[])(void) = {\n%s};\n' % (
        os.path.basename(header), "".join("    (void (*)(void))%s,\n" % f for f in functions))


def bare(compiler, unit, folder):
    """Compiles for a machine without anything; returns the object."""
    object_file = unit[:-2] + ".o"
    tool = compiler.split()[0]
    succeeded(run(*compiler.split(), "-std=c11", *WARNINGS, "-Wno-cast-function-type", "-Os", "-ffreestanding", "-I", folder,
                  "-I", TESTS, "-c", unit, "-o", object_file))
    nm = tool.replace("gcc", "nm") if "-" in tool else "nm"
    undefined = set(succeeded(run(nm, "-u", object_file)).stdout.decode().split()) - {"U"}
    extra = {s for s in undefined if s not in MEM and not s.startswith("__aeabi_mem")}
    need(not extra, "%s: needs %s" % (compiler, sorted(extra)))
    return object_file


def cross(compiler, temporary):
    """The expanded header gives the same machine code as the thin one, on the machines that it is for."""
    if not shutil.which(compiler.split()[0]):
        return
    codes = []
    for options in ((), ("--expand",)):
        folder = os.path.join(temporary, "x" + "".join(options))
        header = made(folder, *options)
        if not options:
            shutil.copy(os.path.join(PROJECT, "dataloader.h"), os.path.dirname(header))
        unit = os.path.join(folder, "unit.c")
        write(unit, unit_of(made(os.path.join(temporary, "names"), "--expand"), "registers"))
        object_file = bare(compiler, unit, os.path.dirname(header))
        dump = compiler.split()[0].replace("gcc", "objdump")
        codes.append(succeeded(run(dump, "-dr", "-j", ".text", object_file)).stdout.split(b"\n", 3)[3])
    need(len(codes[0]) > 50000 and codes[0] == codes[1], "%s: the expanded header is another program" % compiler)


def pruned(temporary):
    """What nobody uses is not in the expanded header; what a public function uses is."""
    copied_project(temporary)
    local = os.path.join(temporary, "gen", "mkloader")
    block = os.path.join(temporary, "templates/runtime/block.h")
    text = read(block).decode()
    need('#include "env.h"\n' in text, "block.h has changed: plant elsewhere")
    text = text.replace('#include "env.h"\n', '#include "env.h"\n' + PLANTED)
    call = "    memset(block, 0, sizeof *block);\n"
    need(call in text, "block.h has changed: plant the call elsewhere")
    write(block, text.replace(call, call + "    block->n_out = (size_t)DLOAD_I_PLANTED_USED(0);\n"))
    succeeded(run(sys.executable, local, spec_path("embedded"), "--expand", "-o", temporary))
    header = read(os.path.join(temporary, "registers.h")).decode()
    need("dload_i_planted_used((0))" in header, "the call is not put in")
    need("int dload_i_planted_used(int n)\n{\n    return n + 1;" in header and "somebody uses this" in header, "what is used is gone")
    need(not re.search(r"dload_i_planted(?!_used)|DLOAD_I_PLANTED|nobody uses these", header), "what nobody uses is there")


TIDIED = [  # code with conditions that macros decided, and what becomes of it
    ("return 1 ? f(a) : 0;", "return f(a);"), ("return 0 ? 7 : f(a);", "return f(a);"), ("x = 1 && a;", "x = a;"),
    ("x = !0;", "x = 1;"), ("f(1 ? a : 0, b);", "f(a, b);"), ("x = 0 || a;", "x = a;"), ("x = 1 && !0 ? a : 0;", "x = a;"),
    ("x = a ? 1 ? b : 0 : c;", "x = a ? b : c;"),
    # What has names in it stays: something might become unused. And what only looks like it.
    ("x = 1 ? a : b;", None), ("x = 0 && a;", None), ("x = a == 1 ? 2 : 3;", None), ("x = a || 1;", None),
    ("x = a + 1 ? 2 : 3;", None), ("x = a < 0 ? 0 : a;", None), ("x = n & 1 && a;", None), ('f("1 && a");', None),
    ("x = 1 /* ? */;", None), ("x = a[1] && b;", None), ("x = a != 0 || b;", None), ("x = !01;", None), ("x = -1 ? 1 : 0;", None),
]


def tidied(_):
    """Conditions that are decided go, and no others."""
    sys.path.insert(0, os.path.dirname(MEASURE))
    from mkloader_lib import tidy  # pylint: disable=import-outside-toplevel
    for text, wanted in TIDIED:
        have = tidy.decided(text)
        need(have == (text if wanted is None else wanted), "%s became %s" % (text, have))
    text = "    int a;  /* one\n             * more */\n    long_name b; /* two */\n    c;\n"
    need(tidy.aligned(text) == "    int a;       /* one\n                  * more */\n    long_name b; /* two */\n    c;\n",
         "comments became %r" % tidy.aligned(text))


def alone(temporary):
    """Two headers that cannot be together say so: expanded beside any other, thin after a hosted one."""
    thin, expanded = made(os.path.join(temporary, "a")), made(os.path.join(temporary, "b"), "--expand")
    write(os.path.join(temporary, "s.ini"), SPEC.replace("[registers]", "[others]"))
    succeeded(mkloader("s.ini", "--expand", cwd=temporary))
    for include, message in ((["dataloader.h", expanded], "complete by itself"), ([thin, "others.h"], "complete by itself"),
                             ([expanded, "others.h"], "complete by itself"), ([expanded, expanded], None),
                             (["plain.h", thin], "include this before"), ([thin, "plain.h"], None)):
        write(os.path.join(temporary, "plain.h"), "#define DLOAD_NAME plain\n#define DLOAD_KEY int\n#define DLOAD_VALUE int\n"
                                                  '#include "dataloader.h"\n')
        unit = os.path.join(temporary, "unit.c")
        parameters = "#define DLOAD_NAME one\n#define DLOAD_KEY int\n#define DLOAD_VALUE int\n" if include[0] == "dataloader.h" else ""
        write(unit, parameters + "".join('#include "%s"\n' % name for name in include))
        result = run("gcc", "-std=c11", "-fsyntax-only", "-I", temporary, "-I", TESTS, "-I", PROJECT, unit)
        need((result.returncode == 0) == (message is None) and (message or "") in text_of(result),
             "%s: %s" % (include, text_of(result)[:300]))


def implied(temporary):
    """The profile's settings are those of the same section written out; what a section says wins."""
    long = "lock = none\nevict = clock\nclock = manual\ncompact = yes\nstats = no\n"
    texts = []
    for n, keys in enumerate(("", long, "stats = yes\nclock = env\n", "compact = no\nevict = lru\nlock = spin\n")):
        spec = os.path.join(temporary, "s%d.ini" % n)
        write(spec, SPEC + keys)
        texts.append(succeeded(mkloader(spec, "--stdout")).stdout.decode())
    need(code_of(texts[0]) == code_of(texts[1]), "the profile is not what it says it is")
    need(re.search(r"DLOAD_STATS +1", texts[2]) and "DLOAD_CLOCK_ENV" in texts[2], "the section does not win")
    need(re.search(r"DLOAD_COMPACT +0", texts[3]) and "DLOAD_LOCK_SPIN" in texts[3], "the section does not win")
    hosted = succeeded(mkloader("--name", "q", "--key", "int", "--value", "int", "--profile", "hosted", "--stdout")).stdout
    need(b"FREESTANDING" not in hosted and b"COMPACT" not in hosted, "the hosted profile sets something")


def expand_refuses(temporary):
    """What has no place in one file without macros."""
    for keys, message in (("strict = yes\n", "made of macros"), ("emit = h c\n", "divides")):
        write(os.path.join(temporary, "s.ini"), SPEC + keys)
        succeeded(mkloader("s.ini", "--stdout", cwd=temporary))
        refused(mkloader("s.ini", "--stdout", "--expand", cwd=temporary), message, 6, "s.ini")


def sizes_file(temporary):
    """--sizes puts a file's figures into the head, and nothing else changes."""
    write(os.path.join(temporary, "s.ini"), SPEC + "capacity = 9\n")
    write(os.path.join(temporary, "n.sizes"), "# a comment\ncortex-m0 4321 12 0 98 12.5 765\n\ncortex-m3 4001 12 0 98 12.5 765\n")
    with_sizes = succeeded(mkloader("s.ini", "--expand", "--stdout", "--sizes", "n.sizes", cwd=temporary)).stdout.decode()
    without = succeeded(mkloader("s.ini", "--expand", "--stdout", cwd=temporary)).stdout.decode()
    need(code_of(with_sizes).strip() == code_of(without).strip(), "the code differs")
    for word in ("cortex-m0   4321       12     0      98      12.5    765", "all memory for capacity = 9", "--expand --sizes n.sizes"):
        need(word in with_sizes, "the head has no %r" % word)
    need("not measured" in without and "not measured" not in with_sizes, "the head does not say whether it was measured")
    os.makedirs(os.path.join(temporary, "out"))
    succeeded(mkloader("s.ini", "--expand", "--sizes", "n.sizes", "-o", "out", "--depfile", "d", cwd=temporary))
    need(b" n.sizes" in read(os.path.join(temporary, "d")), "n.sizes is not in the dependency file")
    for text, line, message in (("", 1, "no sizes"), ("cortex-m0 1 2\n", 1, "3 to 6 numbers"), ("a 1 2 3\na 1 2 3\n", 2, "second line"),
                                ("a*/ 1 2 3\n", 1, "expected a target"), ("m0 1 2 x\n", 1, "3 to 6 numbers"),
                                ("m0 1 2 3\nm3 1 2 3 4 5 6 7\n", 2, "3 to 6 numbers"), ("m0 1 2 -3\n", 1, "3 to 6 numbers"),
                                ("\x1b 1 2 3\n", 1, "expected a target"), ("# " + "x" * 70000, 1, "larger than")):
        write(os.path.join(temporary, "bad.sizes"), text)
        refused(mkloader("s.ini", "--expand", "--stdout", "--sizes", "bad.sizes", cwd=temporary), message, line, "bad.sizes")
    refused(mkloader("s.ini", "--expand", "--stdout", "--sizes", "none", cwd=temporary), "cannot read", 1, "none")
    refused(mkloader("s.ini", "--stdout", "--sizes", "n.sizes", cwd=temporary), "goes with --expand")


def measure_module():
    """gen/measure as a module."""
    sys.path.insert(0, os.path.dirname(MEASURE))
    loader = importlib.machinery.SourceFileLoader("measure", MEASURE)
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("measure", loader))
    loader.exec_module(module)
    return module


def measured(temporary):
    """gen/measure counts what `size` counts, and its sizes of types are those that a program sees."""
    header = made(temporary, "--expand")
    line = succeeded(run(sys.executable, MEASURE, header, "-I", TESTS, "--target", "host=gcc -fno-pie")).stdout.decode().split("\n")[1]
    figures = line.split()
    need(figures[0] == "host" and len(figures) >= 5, line)
    module = measure_module()
    unit, object_file, program = (os.path.join(temporary, n) for n in ("unit.c", "unit.o", "program"))
    write(unit, module.unit(header, read(header).decode()))
    folder = os.path.dirname(header)
    succeeded(run("gcc", "-fno-pie", *module.FLAGS, "-I", folder, "-I", TESTS, "-c", unit, "-o", object_file))
    listed = {name: int(n) for name, n in re.findall(r"^(\.\S+)\s+([0-9]+)", succeeded(run("size", "-A", object_file)).stdout.decode(), re.M)}
    for figure, section in ((figures[1], ".text"), (figures[2], ".rodata")):
        want = sum(n for name, n in listed.items() if name.startswith(section))
        need(int(figure) == want and (want > 0), "%s: %s, not %d" % (section, figure, want))
    write(unit, '#include <stdio.h>\n#include "registers.h"\nint main(void)\n{\n    printf("%zu", sizeof(registers));\n'
                "#ifdef DLOAD_BYTES\n    printf(\" %zu\", (size_t)DLOAD_BYTES(registers, 8, 4));\n#endif\n    return 0;\n}\n")
    succeeded(run("gcc", "-I", folder, "-I", TESTS, unit, "-o", program))
    seen = succeeded(run(program)).stdout.decode().split()
    need([figures[4]] + figures[6:] == seen, "measured %s, a program sees %s" % (figures, seen))
    result = run(sys.executable, MEASURE, os.path.join(HERE, "sensor.h"))
    need(result.returncode == 2 and b"is not what mkloader --expand writes" in result.stderr, text_of(result))
    result = run(sys.executable, MEASURE, header, "-I", TESTS, "--target", "none=no-such-compiler")
    need(result.returncode == 2 and b"no-such-compiler" in result.stderr, text_of(result))
