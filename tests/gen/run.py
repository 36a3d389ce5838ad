#!/usr/bin/env python3
"""Tests of gen/mkloader and gen/amalgamate. `run.py` runs all, `run.py --regenerate` rewrites
expected/ and said/ (look at the diff before committing it), `run.py hostile` only names with that word.

One line for every failed case; the last line is `gen: N passed, N failed`.
"""

import argparse
import concurrent.futures
import os
import shutil
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True

import command  # noqa: E402
import compiled  # noqa: E402
import embedded  # noqa: E402
import hostile  # noqa: E402
import joined  # noqa: E402
from support import HERE, SPECS, Failed, mkloader, spec_path, succeeded, write  # noqa: E402

SINGLE = [
    compiled.freestanding, compiled.drift, compiled.xxhash, compiled.prototypes_complete, command.deterministic,
    command.check_mode, command.unchanged_is_untouched, command.stdout_and_lists, command.flags_and_spec,
    command.depfile, command.version_and_help, command.damaged_templates, command.others_are_kept,
    command.not_writable, joined.amalgamate_joins, joined.amalgamate_refuses, joined.dataloader_is_current,
    joined.same_bytes_elsewhere, embedded.golden, embedded.preprocessor_lines, embedded.contents, embedded.other_loaders, embedded.pruned,
    embedded.tidied, embedded.alone, embedded.implied, embedded.expand_refuses, embedded.sizes_file, embedded.measured,
]


def cases():
    """(name, function, arguments) of every case; the function gets a folder of its own besides."""
    for spec in SPECS:
        yield "golden " + spec, compiled.golden, (spec,)
        yield "format " + spec, compiled.formatted, (spec,)
        for compiler in ("gcc", "clang", "g++"):
            yield "compile %s with %s" % (spec, compiler), compiled.compiled, (spec, compiler)
            yield "expand %s with %s" % (spec, compiler), compiled.expanded, (spec, compiler)
    yield "expand beside thin", compiled.expanded_beside_thin, ()
    for compiler in ("gcc", "clang", "g++", "clang++"):
        yield "strict with " + compiler, compiled.strict, (compiler,)
    for compiler in embedded.CROSS:
        yield "same code with " + compiler, embedded.cross, (compiler,)
    for compiler, standard in compiled.LANGUAGES:
        yield "language %s -std=%s" % (compiler, standard), compiled.language, (compiler, standard)
    for function in SINGLE:
        yield function.__name__.replace("_", " "), function, ()
    for what, data, line, contains in command.hostile_cases():
        yield "hostile %s" % what, command.hostile_spec, (data, line, contains)
    for arguments, contains in hostile.FLAGS:
        yield "hostile flags %s" % " ".join(arguments), command.hostile_flags, (arguments, contains)


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
            write(os.path.join(HERE, "said", spec + ".txt"), succeeded(compiled.run(compiled.built(spec, "gcc", temporary))).stdout)
    succeeded(mkloader(spec_path("embedded"), "--expand", "-o", os.path.join(HERE, "expanded")))
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
