"""What all cases of tests/gen use: paths, running the tools, saying what went wrong."""

import os
import re
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.realpath(__file__))
PROJECT = os.path.dirname(os.path.dirname(HERE))
MKLOADER = os.path.join(PROJECT, "gen", "mkloader")
MEASURE = os.path.join(PROJECT, "gen", "measure")
AMALGAMATE = os.path.join(PROJECT, "gen", "amalgamate")
SPECS = ["scalar", "bytes", "owned", "split", "keys", "grouped", "embedded", "critical"]
LOADERS = {"scalar": ["quotes"], "bytes": ["files", "by_uuid"], "owned": ["pages", "titles"], "split": ["users", "tags"],
           "keys": ["switches", "readings", "accounts", "paints", "bytes"], "grouped": ["prices"], "embedded": ["registers"], "critical": ["gauges"]}
WARNINGS = ["-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wsign-conversion", "-Wshadow", "-Wundef",
            "-Wredundant-decls", "-Werror"]
GCC_LINE = re.compile(r"(?P<file>[^\n]+?):(?P<line>[0-9]+): error: (?P<text>.+)")


class Failed(Exception):
    pass


def run(*command, cwd=None, env=None, stdin=None):
    return subprocess.run(command, cwd=cwd, env=env, input=stdin, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, timeout=60)


def mkloader(*arguments, cwd=None, env=None):
    # -S: nothing but the standard library can be imported, which is what mkloader promises.
    return run(sys.executable, "-S", MKLOADER, *arguments, cwd=cwd, env=env)


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
