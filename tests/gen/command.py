"""Cases about the command line of mkloader: files, modes, exit codes, hostile input."""

import os
import re
import shutil
import stat
import sys

import hostile
from support import (
    MKLOADER, PROJECT, SPECS, copied_project, expected, mkloader, need, read, refused, run,
    spec_path, succeeded, write)


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
    for text, contains in hostile.EMBEDDED:
        yield "embedded " + text, (hostile.GOOD + "profile = embedded\n" + text + "\n").encode(), 5, contains
    for data, line, contains in hostile.SPECS:
        yield repr(data[:40]), data, line, contains


def deterministic(temporary):
    """The same bytes whatever the locale, time zone, hash seed, folder and way to name the files."""
    wanted = {}
    environments = [{}, {"LC_ALL": "C", "TZ": "Asia/Kathmandu"}, {"LC_ALL": "tr_TR.UTF-8", "PYTHONHASHSEED": "1"},
                    {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONHASHSEED": "4711"}]
    for i, extra in enumerate(environments):
        base = os.path.join(temporary, "deep/" * i, "x%d" % i)
        out = os.path.join(base, "out")
        os.makedirs(out)
        for spec in SPECS:
            shutil.copy(spec_path(spec), base)
        env = dict(os.environ, **extra)
        if i % 2:
            specs, folder, where, to_stdout = [spec + ".ini" for spec in SPECS], "out", base, ["--stdout"]
        else:
            specs, folder, where, to_stdout = [os.path.join(base, s + ".ini") for s in SPECS], out, "/", ["-o", "-"]
        succeeded(mkloader(*specs, "-o", folder, cwd=where, env=env))
        made = {name: read(os.path.join(out, name)) for name in sorted(os.listdir(out))}
        made["--expand"] = succeeded(mkloader(*specs, "--expand", *to_stdout, cwd=where, env=env)).stdout
        wanted = wanted or made
        differing = [name for name in made if made[name] != wanted.get(name)]
        need(not differing and len(made) == len(wanted), "%s under %s" % (differing, extra))
    for name, data in wanted.items():
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
    for word in ("--profile", "--sizes", "--expand", "--depfile", "--strict", "--max-batch", "loaders.ini", "Exit status", "--key-as"):
        need(word in text, "--help does not mention %s" % word)
    config = re.search(r"typedef struct DLOAD_I_FN\(config\) \{(.*?)\n\} ", read(os.path.join(
        PROJECT, "templates/typed/types.h")).decode(), re.DOTALL).group(1)
    numbers = re.findall(r"^\s+(?:size_t|uint32_t|uint64_t) (\w+);", config, re.MULTILINE)
    need(len(numbers) >= 10, "the configuration has only %s" % numbers)
    for field in numbers:
        need("--" + field.replace("_", "-") in text, "config.%s is not a key of mkloader" % field)


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
