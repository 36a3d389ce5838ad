"""Cases that look at what mkloader writes, compile it and run it."""

import os
import re
import shutil

from support import (
    HERE, LOADERS, PROJECT, WARNINGS, expected, mkloader, need, read, run, spec_path, succeeded,
    text_of, write)


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


def compiler_flags(compiler, folder):
    language = ["-xc++", "-std=c++11"] if "++" in compiler else ["-xc", "-std=c11"]
    return [compiler] + language + WARNINGS + ["-I", folder, "-I", HERE, "-I", os.path.dirname(HERE), "-I", PROJECT]


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
        # Decided by the compiler: still macros, and taken back. Or numbers that read better by their names.
        kept = re.findall(r"#undef (\w+)|#define (?=DLOAD_I_\w+ +[0-9])(\w+)|^(?:enum \{|static const \w+) (\w+) =", code, re.M)
        kept = [name for names in kept for name in names if name]
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


def prototypes_complete(temporary):
    """Every function of api.h is in the header, blobs' own only for blobs, groups', snapshots' and stores' own
    only with them (the spec that has groups has all three), weights' only with weights."""
    api = re.sub(r"/\*.*?\*/", "", read(os.path.join(PROJECT, "templates/typed/api.h")).decode(), flags=re.DOTALL)
    words = set(re.findall(r"DLOAD_I_FN\((\w+)\)\(", api)) - {"init_checked"}
    need(len(words) > 30, "found only %s in api.h" % sorted(words))
    grouped = {w for w in words if w.endswith(("_in", "clear_group")) and "_local" not in w}
    need(len(grouped) == 14, "found %s for groups in api.h" % sorted(grouped))
    saving = {w for w in words if re.search("(^|_)(save|restore)(_file)?$", w)}
    need(len(saving) == 8, "found %s for snapshots in api.h" % sorted(saving))
    storing = {w for w in words if w == "sink" or "_local" in w}
    need(len(storing) >= 4, "found %s for stores in api.h" % sorted(storing))
    grouped |= saving | storing
    for spec, name, blob, groups in (("scalar", "quotes", False, False), ("bytes", "files", True, False),
                                     ("grouped", "prices", False, True), ("owned", "titles", False, False)):
        text = expected(spec)[name + ".h"].decode()
        declared = set(re.findall(r"\b%s_(\w+)\([^;=]*\);" % name, text.partition("#include \"dataloader.h\"")[2]))
        missing = words - declared - (set() if blob else {"batch_set_bytes"}) - (set() if groups else grouped) - \
            (set() if name == "titles" else {"cache_weight"})
        need(not missing, "%s.h does not declare %s" % (name, sorted(missing)))
        need(blob or "batch_set_bytes" not in declared, "%s.h declares batch_set_bytes" % name)
        need(groups or not grouped & declared, "%s.h declares %s" % (name, sorted(grouped & declared)))
