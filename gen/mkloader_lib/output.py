"""Writing, checking, listing, and dependency files."""

import difflib
import os
import sys

from .contract import amalgamate


def differences(outputs):
    """Unified diffs from the files as they are to what they should be."""
    diffs = []
    for path, text in outputs:
        try:
            with open(path, "rb") as f:
                old = f.read()
        except FileNotFoundError:
            old = b""
        if old == text.encode("utf-8"):
            continue
        name = os.path.basename(path)
        diffs.append("".join(difflib.unified_diff(
            old.decode("utf-8", "replace").splitlines(True), text.splitlines(True), name,
            name + " (as mkloader writes it)")))
    return diffs


def printed(text):
    sys.stdout.buffer.write(text.encode("utf-8", "surrogateescape"))
    sys.stdout.buffer.flush()


def escaped(path):
    """A path in a make rule."""
    for character in ("\n", "\r", "\t"):
        if character in path:
            raise ValueError("a path with a line end or a tab cannot stand in a dependency file")
    return path.replace("$", "$$").replace("#", "\\#").replace(" ", "\\ ").replace(":", "\\:")


def depfile_text(targets, inputs):
    return "%s:%s\n" % (" ".join(escaped(t) for t in targets), "".join(" \\\n  " + escaped(i) for i in inputs))


def write_all(outputs):
    for path, text in outputs:
        amalgamate.written(path, text)
