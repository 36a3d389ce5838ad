#!/usr/bin/env python3
"""Tests of gen/mkloader and gen/amalgamate. `run.py` runs all, `run.py --regenerate` rewrites
expected/ and said/ (look at the diff before committing it), `run.py hostile` only names with that word.

One line for every failed case; the last line is `gen: N passed, N failed`.
"""

import argparse
import concurrent.futures
import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True

import hostile  # noqa: E402

HERE = os.path.dirname(os.path.realpath(__file__))
PROJECT = os.path.dirname(os.path.dirname(HERE))
MKLOADER = os.path.join(PROJECT, "gen", "mkloader")
AMALGAMATE = os.path.join(PROJECT, "gen", "amalgamate")
SPECS = ["scalar", "bytes", "owned", "split", "keys"]
LOADERS = {"scalar": ["quotes"], "bytes": ["files", "by_uuid"], "owned": ["pages", "titles"], "split": ["users", "tags"],
           "keys": ["switches", "readings", "accounts", "paints", "bytes"]}
WARNINGS = ["-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wsign-conversion", "-Wshadow", "-Wundef",
            "-Wredundant-decls", "-Werror"]
GCC_LINE = re.compile(r"(?P<file>[^\n]+?):(?P<line>[0-9]+): error: (?P<text>.+)")


class Failed(Exception):
    pass


def run(*command, cwd=None, env=None, stdin=None):
    return subprocess.run(command, cwd=cwd, env=env, input=stdin, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, timeout=60)


def mkloader(*arguments, cwd=None, env=None):
    return run(sys.executable, MKLOADER, *arguments, cwd=cwd, env=env)


def text_of(result):
    return result.stderr.decode("utf-8", "replace") + result.stdout.decode("utf-8", "replace")


def need(condition, message):
    if not condition:
        raise Failed(message)


def succeeded(result, code=0):
    need(result.returncode == code, "exit %d, not %d: %s" % (result.returncode, code, text_of(result)[:600]))
    return result


def read(path):
    with open(path, "rb") as f:
        return f.read()


def write(path, data):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as f:
        f.write(data if isinstance(data, bytes) else data.encode("utf-8"))


def spec_path(spec):
    return os.path.join(HERE, "specs", spec + ".ini")


def expected(spec):
    folder = os.path.join(HERE, "expected", spec)
    return {name: read(os.path.join(folder, name)) for name in sorted(os.listdir(folder))}


def copied_project(temporary):
    """A checkout of its own, for tests that damage templates."""
    for name in ("gen", "templates"):
        shutil.copytree(os.path.join(PROJECT, name), os.path.join(temporary, name),
                        ignore=shutil.ignore_patterns("__pycache__"))
    return temporary


# ---- golden files ----

def golden(spec, temporary):
    succeeded(mkloader(spec_path(spec), "-o", temporary))
    wanted = expected(spec)
    made = {name: read(os.path.join(temporary, name)) for name in sorted(os.listdir(temporary))}
    need(sorted(made) == sorted(wanted), "made %s, expected %s" % (sorted(made), sorted(wanted)))
    for name, data in wanted.items():
        need(made[name] == data, "%s differs from expected/%s/%s (run.py --regenerate, then look)" % (
            name, spec, name))
    succeeded(mkloader(spec_path(spec), "-o", os.path.join(HERE, "expected", spec), "--check"))


def formatted(spec, temporary):
    need(shutil.which("clang-format"), "clang-format is not installed")
    for name in expected(spec):
        path = os.path.join(HERE, "expected", spec, name)
        result = succeeded(run("clang-format", "--style=file", path, cwd=PROJECT))
        need(result.stdout == read(path), "clang-format would change expected/%s/%s" % (spec, name))


# ---- compiled ----

def compiler_flags(compiler, folder):
    language = ["-xc++", "-std=c++11"] if "++" in compiler else ["-xc", "-std=c11"]
    return [compiler] + language + WARNINGS + ["-I", folder, "-I", HERE, "-I", PROJECT]


def headers(spec, temporary, *options):
    """The spec's headers in a folder of their own, with what bracket includes need beside them."""
    folder = os.path.join(temporary, "made")
    os.makedirs(folder, exist_ok=True)
    succeeded(mkloader(spec_path(spec), "-o", folder, *options))
    if "--expand" not in options:
        os.makedirs(os.path.join(folder, "third_party"))
        shutil.copy(os.path.join(PROJECT, "dataloader.h"), os.path.join(folder, "third_party"))
    return folder


def built(spec, compiler, temporary, *options):
    """Compiles and links the spec's driver; returns the program's path."""
    folder = headers(spec, temporary, *options)
    command = compiler_flags(compiler, folder)
    if "--expand" in options:
        command = command[:-2]  # without -I of the project: expanded headers need no dataloader.h
    program = os.path.join(temporary, "program")
    if spec != "split":
        succeeded(run(*command, os.path.join(HERE, "drive_%s.c" % spec), "-o", program))
        return program
    objects = []
    units = [(command, os.path.join(HERE, "drive_split.c")), (command, os.path.join(HERE, "drive_split_other.c"))]
    in_c = compiler_flags("gcc", folder)  # the definitions are C even when their users are C++
    units += [(in_c, os.path.join(folder, "users.c")), (in_c, os.path.join(folder, "tags.c"))]
    for flags, unit in units:
        objects.append(os.path.join(temporary, os.path.basename(unit) + ".o"))
        succeeded(run(*flags, "-c", unit, "-o", objects[-1]))
    succeeded(run(compiler, *objects, "-o", program, "-pthread"))
    return program


def need_same_words(spec, printed):
    """Every build of a driver prints what said/<spec>.txt has."""
    said = read(os.path.join(HERE, "said", spec + ".txt"))
    need(printed == said, "prints %r, said/%s.txt has %r" % (printed, spec, said))


def compiled(spec, compiler, temporary):
    need_same_words(spec, succeeded(run(built(spec, compiler, temporary))).stdout)


def expanded(spec, compiler, temporary):
    """The expanded header behaves as the thin one does, and has no parameters in it."""
    program = built(spec, compiler, temporary, "--expand")
    need_same_words(spec, succeeded(run(program)).stdout)
    parameters = re.findall(r"^#undef (\w+)", read(os.path.join(PROJECT, "templates/typed/undef.h")).decode(), re.M)
    for loader in LOADERS[spec]:
        text = read(os.path.join(temporary, "made", loader + ".h")).decode()
        code = re.sub(r'/\*.*?\*/|"(?:\\.|[^"\\])*"', " ", text, flags=re.DOTALL)
        kept = re.findall(r"#undef (\w+)", code)  # decided by the compiler: still macros, and taken back
        left = sorted(set(re.findall(r"\w+", code)) & set(parameters) - set(kept))
        need(not left, "%s.h still has %s" % (loader, ", ".join(left)))
        need('#include "dataloader.h"' not in code and "dataloader.h\"" not in code, "includes dataloader.h")


def expanded_beside_thin(temporary):
    """An expanded and a thin header share one runtime in one translation unit, in either order."""
    one = headers("scalar", os.path.join(temporary, "a"), "--expand")
    other = headers("bytes", os.path.join(temporary, "b"))
    for order in (("quotes.h", "files.h"), ("files.h", "quotes.h")):
        unit = os.path.join(temporary, "unit.c")
        write(unit, "".join('#include "%s"\n' % name for name in order) + "int main(void)\n{\n    return 0;\n}\n")
        for compiler in ("gcc", "g++"):
            succeeded(run(*compiler_flags(compiler, one), "-I", other, "-fsyntax-only", unit))


STRICT = [  # what stands in for the key, per compiler family: must it compile?
    ("UINT64_C(42)", True), ("key", True), ("(uint64_t)small", True), ("quotes_id()", True),
    ("42", False), ("small", False), ("1.5", False), ("-1", False), ("'a'", False), ("(int)key", False),
    ("&key", False), ("true", False), ("0", False), ("42u", False),
]


def strict(compiler, temporary):
    """One unit with a call a line: every bad line is reported with our words, no good one is."""
    spec = os.path.join(temporary, "strict.ini")
    write(spec, "[quotes]\nkey = uint64_t\nvalue = int\nstrict = yes\n")
    succeeded(mkloader(spec, "-o", temporary))
    calls = ["quotes_load(l, %s, &v)", "quotes_start(l, %s, w)", "quotes_clear(l, %s)", "quotes_cache_get(c, %s, &v)",
             "quotes_prime(l, %s, &v, 0)"]
    lines = ['#include "quotes.h"', "uint64_t quotes_id(void);",
             "void f(quotes *l, quotes_cache *c, quotes_waiter *w, uint64_t key, int small);",
             "void f(quotes *l, quotes_cache *c, quotes_waiter *w, uint64_t key, int small) { int v = small; (void)key;"]
    verdicts = {}
    for expression, good in STRICT:
        for call in calls:
            lines.append("(void)" + call % expression + ";")
            verdicts[len(lines)] = good
    unit = os.path.join(temporary, "unit.c")
    write(unit, "\n".join(lines + ["}", ""]))
    limit = "-ferror-limit=0" if "clang" in compiler else "-fmax-errors=0"
    result = run(*compiler_flags(compiler, temporary), limit, "-fsyntax-only", unit)
    named = {int(n) for n in re.findall(r"unit\.c:([0-9]+):", text_of(result))}
    for number, good in verdicts.items():
        need(good != (number in named), "%s %s with %s" % (
            lines[number - 1], "does not compile" if good else "compiles", compiler))
    errors = [line for line in text_of(result).splitlines() if " error: " in line]
    n_bad = sum(1 for good in verdicts.values() if not good)
    need(len(errors) == n_bad, "%d errors for %d bad lines" % (len(errors), n_bad))
    need(text_of(result).count("key_must_be_exactly_uint64_t") >= n_bad, "errors without our words")


LANGUAGES = [("gcc", "c17"), ("gcc", "c2x"), ("clang", "c2x"), ("g++", "c++20"), ("clang++", "c++17")]


def language(compiler, standard, temporary):
    """Every header alone, twice, thin and expanded, under other standards than the usual ones."""
    unit = os.path.join(temporary, "unit.c")
    for form in ((), ("--expand",)):
        for spec in ("scalar", "split"):
            folder = headers(spec, os.path.join(temporary, spec + "".join(form)), *form)
            names = LOADERS[spec]
            write(unit, "".join('#include "%s.h"\n' % name for name in names + names) + "int unit;\n")
            command = [a if not a.startswith("-std=") else "-std=" + standard for a in compiler_flags(compiler, folder)]
            succeeded(run(*command, "-fsyntax-only", unit))


def freestanding(temporary):
    """An expanded header compiles without libc and needs nothing but the mem functions."""
    folder = headers("scalar", temporary, "--expand")
    unit, object_file = os.path.join(temporary, "unit.c"), os.path.join(temporary, "unit.o")
    write(os.path.join(folder, "types.h"), "#include <stdint.h>\nstruct quote {\n    int64_t cents;\n};\n")
    write(unit, '#include "quotes.h"\ndload_status f(quotes *l, struct quote *q);\n'
                "dload_status f(quotes *l, struct quote *q)\n{\n    return quotes_load(l, 1, q);\n}\n")
    command = ["gcc", "-xc", "-std=c11"] + WARNINGS + ["-I", folder, "-Os", "-ffreestanding", "-DDLOAD_FREESTANDING=1"]
    succeeded(run(*command, "-c", unit, "-o", object_file))
    symbols = set(succeeded(run("nm", "-u", object_file)).stdout.decode().split()) - {"U"}
    need(symbols <= {"memcpy", "memmove", "memset", "memcmp"}, "needs %s" % sorted(symbols))


def drift(temporary):
    """A wrapper and a template that differ do not compile: prototype, template number, xxhash."""
    folder = headers("bytes", temporary)
    header = os.path.join(folder, "by_uuid.h")
    good = read(header).decode()
    unit = os.path.join(temporary, "unit.c")
    write(unit, '#include "by_uuid.h"\nint main(void)\n{\n    return 0;\n}\n')
    check = compiler_flags("gcc", folder) + ["-fsyntax-only", unit]
    succeeded(run(*check))
    for old, new, message in (
            ("by_uuid_load(by_uuid *l, dload_id128 key, int *out)", "by_uuid_load(by_uuid *l, dload_str key, int *out)",
             "conflicting types"),
            ("DLOAD_TEMPLATE_VERSION != 1", "DLOAD_TEMPLATE_VERSION != 999", "run mkloader again"),
            ("DLOAD_EVICT_LRU", "DLOAD_EVICT_LUR", "DLOAD_EVICT must be")):
        need(old in good, "the header has no %r" % old)
        write(header, good.replace(old, new))
        result = run(*check)
        need(result.returncode != 0 and message in text_of(result), "%s: %s" % (message, text_of(result)[:300]))
    write(header, good)
    succeeded(run(*check))


def xxhash(temporary):
    """xxhash = yes compiles where xxhash.h is, and says what to do when it comes too late."""
    spec = os.path.join(temporary, "x.ini")
    write(spec, "[plain]\nkey = string\nvalue = int\n[hashed]\nkey = string\nvalue = int\nxxhash = yes\n")
    succeeded(mkloader(spec, "-o", temporary))
    unit = os.path.join(temporary, "unit.c")
    for order, good in ((("hashed.h", "plain.h"), True), (("plain.h", "hashed.h"), False)):
        write(unit, "".join('#include "%s"\n' % name for name in order) + "int main(void)\n{\n    return 0;\n}\n")
        # xxhash.h itself is not clean under all of these warnings; a system folder keeps it quiet.
        result = run(*compiler_flags("gcc", temporary), "-fsyntax-only", unit)
        need((result.returncode == 0) == good, "%s: %s" % (order, text_of(result)[:300]))
        need(good or "define DLOAD_XXHASH 1" in text_of(result), text_of(result)[:300])


# ---- hostile input ----

def refused(result, contains, line=None, file=None):
    need(result.returncode == 2, "exit %d, not 2: %s" % (result.returncode, text_of(result)[:300]))
    need(not result.stdout, "printed something on stdout")
    errors = result.stderr.decode("utf-8")
    need("Traceback" not in errors, errors[-400:])
    need(not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", errors), "control characters in the message: %r" % errors[:300])
    lines = [m for m in map(GCC_LINE.fullmatch, errors.splitlines()) if m]
    need(lines, "no file:line: error: line in %r" % errors[:300])
    for found in lines:
        if contains in found["text"] and (line is None or int(found["line"]) == line) and \
                (file is None or found["file"] == file):
            return
    raise Failed("no message has %r at line %s: %r" % (contains, line, errors[:300]))


def hostile_spec(data, line, contains, temporary):
    spec = os.path.join(temporary, "hostile.ini")
    write(spec, data)
    folder = os.path.join(temporary, "out")
    os.makedirs(folder)
    refused(mkloader("hostile.ini", "-o", "out", cwd=temporary), contains, line, "hostile.ini")
    need(not os.listdir(folder), "wrote %s" % os.listdir(folder))


def hostile_flags(arguments, contains, temporary):
    refused(mkloader(*arguments, cwd=temporary), contains)
    need(not os.listdir(temporary), "wrote %s" % os.listdir(temporary))


def hostile_cases():
    for name, contains in hostile.NAMES:
        yield "[%s]" % name, ("[%s]\nkey = int\nvalue = int\n" % name).encode(), 1, contains
    for key, contains in hostile.KEYS:
        yield "key = " + key, ("[quotes]\nkey = %s\nvalue = int\n" % key).encode(), 2, contains
    for value, contains in hostile.VALUES:
        yield "value = " + value, ("[quotes]\nkey = int\nvalue = %s\n" % value).encode(), 3, contains
    for header, contains in hostile.INCLUDES:
        yield "include = " + header, (hostile.GOOD + "include = %s\n" % header).encode(), 4, contains
    for text, contains in hostile.LINES:
        yield text, (hostile.GOOD + text + "\n").encode(), 4, contains
    for data, line, contains in hostile.SPECS:
        yield repr(data[:40]), data, line, contains


# ---- the command line ----

def deterministic(temporary):
    """The same bytes whatever the locale, time zone, hash seed, folder and way to name the files."""
    wanted = {spec: {} for spec in SPECS}
    environments = [{}, {"LC_ALL": "C", "TZ": "Asia/Kathmandu"}, {"LC_ALL": "tr_TR.UTF-8", "PYTHONHASHSEED": "1"},
                    {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONHASHSEED": "4711"}]
    for i, extra in enumerate(environments):
        base = os.path.join(temporary, "deep/" * i, "x%d" % i)
        os.makedirs(base)
        env = dict(os.environ, **extra)
        for spec in SPECS:
            shutil.copy(spec_path(spec), base)
            out = os.path.join(base, spec)
            os.makedirs(out)
            if i % 2:
                succeeded(mkloader(spec + ".ini", "-o", spec, cwd=base, env=env))
                stdout = succeeded(mkloader(spec + ".ini", "--expand", "--stdout", cwd=base, env=env)).stdout
            else:
                succeeded(mkloader(os.path.join(base, spec + ".ini"), "-o", out, cwd="/", env=env))
                stdout = succeeded(mkloader(os.path.join(base, spec + ".ini"), "--expand", "-o", "-", env=env)).stdout
            made = {name: read(os.path.join(out, name)) for name in sorted(os.listdir(out))}
            made["--expand"] = stdout
            wanted[spec] = wanted[spec] or made
            need(made == wanted[spec], "%s differs under %s" % (spec, extra))
    for spec in SPECS:
        for name, data in wanted[spec].items():
            need(temporary.encode() not in data and PROJECT.encode() not in data, "%s has a path in it" % name)


def check_mode(temporary):
    spec = spec_path("split")
    out = os.path.join(temporary, "out")
    os.makedirs(out)
    result = succeeded(mkloader(spec, "-o", out, "--check"), 1)
    need(b"+#ifndef DLOAD_WRAPPER_users_H" in result.stdout, "no diff for a missing file")
    need(os.listdir(out) == [], "--check wrote something")
    succeeded(mkloader(spec, "-o", out))
    need(succeeded(mkloader(spec, "-o", out, "--check")).stdout == b"", "a diff without a difference")
    header = os.path.join(out, "users.h")
    write(header, read(header).replace(b"uint64_t", b"uint32_t", 1))
    before = read(header)
    result = succeeded(mkloader(spec, "-o", out, "--check"), 1)
    need(b"--- users.h" in result.stdout and b"\n-" in result.stdout, "no diff: %r" % result.stdout[:200])
    need(read(header) == before, "--check wrote the file")
    write(header, before + b"\xff\xfe not text\r\n")
    succeeded(mkloader(spec, "-o", out, "--check"), 1)
    succeeded(mkloader(spec, "-o", out))
    succeeded(mkloader(spec, "-o", out, "--check"))


def unchanged_is_untouched(temporary):
    spec = spec_path("scalar")
    succeeded(mkloader(spec, "-o", temporary))
    header = os.path.join(temporary, "quotes.h")
    os.utime(header, ns=(10**18, 10**18))
    succeeded(mkloader(spec, "-o", temporary))
    need(os.stat(header).st_mtime_ns == 10**18, "an up-to-date file was written again")
    write(header, read(header).replace(b"s3fifo", b"lru"))
    succeeded(mkloader(spec, "-o", temporary))
    need(os.stat(header).st_mtime_ns != 10**18, "an old file was not written")
    need(os.listdir(temporary) == ["quotes.h"], "left %s behind" % os.listdir(temporary))
    need(stat.S_IMODE(os.stat(header).st_mode) & 0o044 == 0o044, "the file is not readable for others")


def stdout_and_lists(temporary):
    spec = spec_path("split")
    result = succeeded(mkloader(spec, "-o", "some dir", "--list-outputs", cwd=temporary))
    need(result.stdout == b"some dir/users.h\nsome dir/users.c\nsome dir/tags.h\nsome dir/tags.c\n",
         "--list-outputs: %r" % result.stdout)
    wanted = expected("split")
    joined = b"".join(wanted[n] for n in ("users.h", "users.c", "tags.h", "tags.c"))
    need(succeeded(mkloader(spec, "--stdout", cwd=temporary)).stdout == joined, "--stdout differs from the files")
    need(succeeded(mkloader(spec, "-o", "-", cwd=temporary)).stdout == joined, "-o - differs from --stdout")
    only = succeeded(mkloader(spec, "--stdout", "--only", "tags", cwd=temporary)).stdout
    need(only == wanted["tags.h"] + wanted["tags.c"], "--only tags differs")
    two = succeeded(mkloader(spec, spec_path("owned"), "--list-outputs", cwd=temporary)).stdout
    need(two.split()[-1] == b"titles.h" and len(two.split()) == 6, "two specs: %r" % two)
    need(os.listdir(temporary) == [], "wrote %s" % os.listdir(temporary))
    refused(mkloader(spec, spec, "--stdout", cwd=temporary), "second [users]")


def flags_and_spec(temporary):
    """Flags give the same code as the spec; only the comment on top differs."""
    result = succeeded(mkloader("--name", "quotes", "--key", "uint64_t", "--value", "struct  quote", "--include", "types.h",
                                "--evict", "s3fifo", "--capacity", "1000", "--ttl-ns", "5m", "--max-batch", "4",
                                "--stdout", cwd=temporary))
    from_spec = expected("scalar")["quotes.h"]
    need(result.stdout.split(b"*/", 1)[1] == from_spec.split(b"*/", 1)[1], "flags and spec give different code")
    command = re.search(rb"Regenerate:  mkloader (.*) -o DIR", result.stdout)
    need(command, "no command to regenerate")
    again = succeeded(run("sh", "-c", '"$0" "$1" %s --stdout' % command.group(1).decode(), sys.executable, MKLOADER,
                          cwd=temporary))
    need(again.stdout == result.stdout, "the command in the header gives another header")


def depfile(temporary):
    """make reads the dependency file and rebuilds exactly when an input changed."""
    folder = os.path.join(temporary, "with space")
    os.makedirs(os.path.join(folder, "out"))
    copied_project(folder)
    shutil.copy(spec_path("split"), os.path.join(folder, "my loaders.ini"))
    local = os.path.join("gen", "mkloader")
    refused(run(sys.executable, local, "my loaders.ini", "-o", "out", cwd=folder), "letters, digits")
    os.rename(os.path.join(folder, "my loaders.ini"), os.path.join(folder, "loaders.ini"))
    succeeded(run(sys.executable, local, "loaders.ini", "-o", "out", "--depfile", "loaders.d", cwd=folder))
    rule = read(os.path.join(folder, "loaders.d")).decode()
    need(rule.startswith("out/users.h out/users.c out/tags.h out/tags.c:"), rule[:100])
    inputs = rule.partition(":")[2].replace("\\\n", " ").split()
    for name in ("loaders.ini", "gen/mkloader", "templates/typed/api.h", "templates/wrapper/wrapper.h.in",
                 "gen/mkloader_lib/render.py"):
        need(name in inputs, "%s is not in %s" % (name, inputs))
    for name in inputs:
        need(os.path.exists(os.path.join(folder, name)), "%s does not exist" % name)
    write(os.path.join(folder, "Makefile"), "all: out/users.h\nout/users.h:\n\t@echo rebuilt\n-include loaders.d\n")
    need(b"rebuilt" not in succeeded(run("make", cwd=folder)).stdout, "rebuilt without a change")
    os.utime(os.path.join(folder, "templates/typed/api.h"), (4 * 10**9, 4 * 10**9))
    need(b"rebuilt" in succeeded(run("make", cwd=folder)).stdout, "a newer template did not rebuild")
    succeeded(run(sys.executable, local, "loaders.ini", "-o", "out", "--depfile", "n.d", "--deptarget", "a b$c", cwd=folder))
    need(read(os.path.join(folder, "n.d")).startswith(b"a\\ b$$c:"), "the target is not escaped")


def version_and_help(temporary):
    version = re.search(r'DLOAD_VERSION_STRING\s+"(.*)"', read(os.path.join(PROJECT, "templates/runtime/port.h")).decode())
    need(succeeded(mkloader("--version")).stdout.decode() == "mkloader %s\n" % version.group(1), "--version")
    text = succeeded(mkloader("--help")).stdout.decode()
    for word in ("--expand", "--depfile", "--strict", "--max-batch", "loaders.ini", "Exit status", "--key-as"):
        need(word in text, "--help does not mention %s" % word)
    config = re.search(r"typedef struct DLOAD_I_FN\(config\) \{(.*?)\n\} ", read(os.path.join(
        PROJECT, "templates/typed/types.h")).decode(), re.DOTALL).group(1)
    numbers = re.findall(r"^\s+(?:size_t|uint32_t|uint64_t) (\w+);", config, re.MULTILINE)
    need(len(numbers) >= 10, "the configuration has only %s" % numbers)
    for field in numbers:
        need("--" + field.replace("_", "-") in text, "config.%s is not a key of mkloader" % field)


def prototypes_complete(temporary):
    """Every function of api.h is in the header, blobs' own only for blobs."""
    api = re.sub(r"/\*.*?\*/", "", read(os.path.join(PROJECT, "templates/typed/api.h")).decode(), flags=re.DOTALL)
    words = set(re.findall(r"DLOAD_I_FN\((\w+)\)\(", api)) - {"init_checked"}
    need(len(words) > 30, "found only %s in api.h" % sorted(words))
    for spec, name, blob in (("scalar", "quotes", False), ("bytes", "files", True)):
        text = expected(spec)[name + ".h"].decode()
        declared = set(re.findall(r"\b%s_(\w+)\([^;=]*\);" % name, text.partition("#include \"dataloader.h\"")[2]))
        missing = words - declared - (set() if blob else {"batch_set_bytes"})
        need(not missing, "%s.h does not declare %s" % (name, sorted(missing)))
        need(blob or "batch_set_bytes" not in declared, "%s.h declares batch_set_bytes" % name)


def damaged_templates(temporary):
    """mkloader says what is missing instead of writing nonsense."""
    copied_project(temporary)
    local = os.path.join("gen", "mkloader")
    shutil.copy(spec_path("scalar"), os.path.join(temporary, "s.ini"))
    port = os.path.join(temporary, "templates/runtime/port.h")
    good = read(port)
    write(port, good.replace(b"DLOAD_VERSION_STRING", b"DLOAD_VERSION_STRNIG"))
    refused(run(sys.executable, local, "s.ini", cwd=temporary), "DLOAD_VERSION_STRING is not there")
    os.unlink(port)
    refused(run(sys.executable, local, "s.ini", cwd=temporary), "cannot read this template")
    need(not os.path.exists(os.path.join(temporary, "quotes.h")), "wrote a header")


def others_are_kept(temporary):
    """A file of the user's that has the name of an output is not replaced; an empty one is."""
    header = os.path.join(temporary, "quotes.h")
    write(header, "struct quote;\n")
    refused(mkloader(spec_path("scalar"), cwd=temporary), "was not written by mkloader", 1, "quotes.h")
    need(read(header) == b"struct quote;\n", "the file was replaced")
    write(header, "")
    succeeded(mkloader(spec_path("scalar"), cwd=temporary))
    need(read(header) == expected("scalar")["quotes.h"], "the empty file was not filled")


def not_writable(temporary):
    os.makedirs(os.path.join(temporary, "quotes.h"))
    refused(mkloader(spec_path("scalar"), cwd=temporary), "")
    need(os.listdir(temporary) == ["quotes.h"], "left %s behind" % os.listdir(temporary))


# ---- amalgamate ----

def small_templates(temporary, parts, top):
    folder = os.path.join(temporary, "templates")
    for name, text in parts.items():
        write(os.path.join(folder, name), text)
    write(os.path.join(folder, "dataloader.h.in"), top)
    return folder


PARTS = {
    "runtime/a.h": '/* a */\n#ifndef A\n#define A\n\n#include <stddef.h>\n#include "xxhash.h"\n\n#endif\n',
    "runtime/b.h": '/* b uses\n\n\n * #include "a.h"\n */\n#ifndef B\n#define B\n\n#include "a.h"\n\n#define X "/*"\n'
                   '#  include "a.h"\nint b; /* keeps "quotes" */\n\n#endif\n',
    "typed/c.h": '#include "../runtime/a.h"\n#include "../runtime/b.h"\nint c;\n',
}
TOP = '/* manual:\n *     #include "dataloader.h"\n */\n#include "runtime/a.h"\n#include "runtime/b.h"\n\n#if 1\n' \
      '#include "typed/c.h"\n#endif\n'
JOINED = '''/* manual:
 *     #include "dataloader.h"
 */

/* ==== runtime/a.h ==== */

/* a */
#ifndef A
#define A

#include <stddef.h>
#include "xxhash.h"

#endif

/* ==== runtime/b.h ==== */

/* b uses


 * #include "a.h"
 */
#ifndef B
#define B

#define X "/*"

int b; /* keeps "quotes" */

#endif

#if 1

/* ==== typed/c.h ==== */

int c;

#endif
'''


def amalgamate_joins(temporary):
    folder = small_templates(temporary, PARTS, TOP)
    result = succeeded(run(sys.executable, AMALGAMATE, "--templates", folder, "--stdout"))
    need(result.stdout.decode() == JOINED, result.stdout.decode())
    out = os.path.join(temporary, "dataloader.h")
    command = [sys.executable, AMALGAMATE, "--templates", folder, "-o", out]
    need(b"+int c;" in succeeded(run(*command, "--check"), 1).stdout, "no diff for a missing file")
    need(not os.path.exists(out), "--check wrote")
    succeeded(run(*command))
    need(read(out).decode() == JOINED, "the file differs from --stdout")
    os.utime(out, ns=(10**18, 10**18))
    succeeded(run(*command))
    need(os.stat(out).st_mtime_ns == 10**18, "an up-to-date file was written again")
    need(succeeded(run(*command, "--check")).stdout == b"", "a diff without a difference")
    write(os.path.join(folder, "typed/c.h"), PARTS["typed/c.h"].replace("int c", "int d"))
    result = succeeded(run(*command, "--check"), 1)
    need(b"-int c;\n+int d;" in result.stdout, "no diff: %r" % result.stdout)
    need(read(out).decode() == JOINED, "--check wrote")


BAD_PARTS = [  # what changes: part or .in, its text; the message
    ("runtime/a.h", '#include "b.h"\n', "runtime/a.h:1: error:", "comes later"),
    ("runtime/a.h", '\n#include "a.h"\n', "runtime/a.h:2: error:", "includes itself"),
    ("runtime/a.h", '#include "../typed/c.h"\n', "runtime/a.h:1: error:", "comes later"),
    ("typed/c.h", '#include "../runtime/d.h"\n', "typed/c.h:1: error:", "does not list"),
    ("typed/c.h", '#include "../runtime/a.h" /* why */\n', "typed/c.h:1: error:", "line of its own"),
    ("typed/c.h", 'int c;\n#line 5\n', "typed/c.h:2: error:", "#line"),
    ("typed/c.h", "int c;\r\n", "typed/c.h:1: error:", "CR"),
    ("typed/c.h", "int c;", "typed/c.h:1: error:", "no newline"),
    ("typed/c.h", "\n/* open\n", "typed/c.h:2: error:", "not closed"),
    ("typed/c.h", b"\n\xff\n", "typed/c.h:2: error:", "not UTF-8"),
    ("dataloader.h.in", TOP + '#include "runtime/a.h"\n', "dataloader.h.in:10: error:", "listed twice"),
    ("dataloader.h.in", '#include "runtime/z.h"\n', "dataloader.h.in:1: error:", "no such part"),
    ("dataloader.h.in", '#include "../a.h"\n', "dataloader.h.in:1: error:", "outside"),
]


def amalgamate_refuses(temporary):
    for i, (name, text, where, message) in enumerate(BAD_PARTS):
        folder = small_templates(os.path.join(temporary, str(i)), dict(PARTS, **{"runtime/d.h": "int d;\n"}), TOP)
        write(os.path.join(folder, name), text)
        out = os.path.join(temporary, "out.h")
        result = succeeded(run(sys.executable, AMALGAMATE, "--templates", folder, "-o", out), 1)
        errors = result.stderr.decode()
        need(where in errors and message in errors, "%s %r: %s" % (name, text, errors))
        need(not os.path.exists(out), "wrote a file")


def dataloader_is_current(temporary):
    succeeded(run(sys.executable, AMALGAMATE, "--check"))


def same_bytes_elsewhere(temporary):
    """The amalgamation of this checkout does not depend on where and under what it runs."""
    wanted = read(os.path.join(PROJECT, "dataloader.h"))
    copied_project(temporary)
    for env in ({"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, {"TZ": "Asia/Kathmandu", "PYTHONHASHSEED": "3"}):
        result = succeeded(run(sys.executable, os.path.join(temporary, "gen/amalgamate"), "--stdout", cwd="/",
                               env=dict(os.environ, **env)))
        need(result.stdout == wanted, "another text under %s" % env)


# ---- the runner ----

def cases():
    for spec in SPECS:
        yield "golden " + spec, golden, (spec,)
        yield "format " + spec, formatted, (spec,)
        for compiler in ("gcc", "clang", "g++"):
            yield "compile %s with %s" % (spec, compiler), compiled, (spec, compiler)
            yield "expand %s with %s" % (spec, compiler), expanded, (spec, compiler)
    yield "expand beside thin", expanded_beside_thin, ()
    for compiler in ("gcc", "clang", "g++", "clang++"):
        yield "strict with " + compiler, strict, (compiler,)
    for compiler, standard in LANGUAGES:
        yield "language %s -std=%s" % (compiler, standard), language, (compiler, standard)
    for function in (freestanding, drift, xxhash, deterministic, check_mode, unchanged_is_untouched, stdout_and_lists, flags_and_spec,
                     depfile, version_and_help, prototypes_complete, damaged_templates, others_are_kept, not_writable, amalgamate_joins,
                     amalgamate_refuses, dataloader_is_current, same_bytes_elsewhere):
        yield function.__name__.replace("_", " "), function, ()
    for what, data, line, contains in hostile_cases():
        yield "hostile %s" % what, hostile_spec, (data, line, contains)
    for arguments, contains in hostile.FLAGS:
        yield "hostile flags %s" % " ".join(arguments), hostile_flags, (arguments, contains)


def result_of(case):
    name, function, arguments = case
    temporary = tempfile.mkdtemp(prefix="gen-")
    try:
        function(*arguments, temporary)
        return None
    except Failed as e:
        return str(e)
    except (OSError, subprocess.TimeoutExpired, UnicodeError) as e:
        return "%s: %s" % (type(e).__name__, e)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def regenerate():
    for spec in SPECS:
        folder = os.path.join(HERE, "expected", spec)
        shutil.rmtree(folder, ignore_errors=True)
        os.makedirs(folder)
        succeeded(mkloader(spec_path(spec), "-o", folder))
        with tempfile.TemporaryDirectory(prefix="gen-") as temporary:
            write(os.path.join(HERE, "said", spec + ".txt"), succeeded(run(built(spec, "gcc", temporary))).stdout)
    return 0


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("words", nargs="*", help="run only the cases whose names have one of these words")
    p.add_argument("--regenerate", action="store_true", help="write expected/ anew")
    args = p.parse_args()
    if args.regenerate:
        return regenerate()
    chosen = [c for c in cases() if not args.words or any(w in c[0] for w in args.words)]
    failed = 0
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 2) as pool:
        for case, message in zip(chosen, pool.map(result_of, chosen)):
            if message is not None:
                failed += 1
                one_line = " | ".join(message.strip().splitlines())[:1000]
                print("FAIL %s: %s" % (case[0].encode("ascii", "backslashreplace").decode(), one_line))
    print("gen: %d passed, %d failed" % (len(chosen) - failed, failed))
    return 1 if failed or not chosen else 0


if __name__ == "__main__":
    sys.exit(main())
